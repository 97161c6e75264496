"""What tools/count allows, and that it says so: the judgement only; `tools/test` counts."""

import tomllib

import pytest


@pytest.fixture
def count(script, tmp_path, monkeypatch):
    """tools/count with a baseline of its own and counts that a test makes up."""
    count = script("count")
    count.ROOT, count.BASELINE = tmp_path, tmp_path / "baseline.toml"
    count.build = lambda: None
    monkeypatch.setattr("sys.argv", ["tools/count"])
    count.write_baseline(count.Allowed(5.0, 30), {"line": 10_000, "parser": 100})
    return count


def outcome(count, line, parser, **others):
    """Exit status."""
    count.count = lambda _: {"line": line, "parser": parser, **others}
    try:
        count.main()
    except SystemExit as end:
        return end.code
    return 0


def test_growth_by_six_percent_fails_and_is_named(count, capsys):
    assert outcome(count, 10_600, 100) == 1
    assert "line: 10000 became 10600, +6.0 %" in capsys.readouterr().out


def test_growth_by_four_percent_passes_and_so_does_less_work(count):
    assert outcome(count, 10_400, 100) == 0
    assert outcome(count, 5_000, 50) == 0


def test_a_few_instructions_more_are_no_growth_where_there_are_few(count):
    assert outcome(count, 10_000, 130) == 0
    assert outcome(count, 10_000, 131) == 1


def test_what_is_new_or_missing_fails(count, capsys):
    assert outcome(count, 10_000, 100, other=1) == 1
    assert "other: new, not in the baseline" in capsys.readouterr().out
    count.count = lambda _: {"line": 10_000}
    with pytest.raises(SystemExit, match="1"):
        count.main()
    assert "parser: in the baseline, but not counted any more" in capsys.readouterr().out


def test_what_is_accepted_is_the_new_baseline_with_the_same_tolerances(count, monkeypatch):
    count.write_baseline(count.Allowed(2.5, 10), {"line": 10_000, "parser": 100})
    monkeypatch.setattr("sys.argv", ["tools/count", "--accept"])
    assert outcome(count, 20_000, 100) == 0
    written = tomllib.loads(count.BASELINE.read_text())
    assert (written["tolerance_percent"], written["tolerance_instructions"]) == (2.5, 10)
    assert written["instructions_per_packet"] == {"line": 20_000, "parser": 100}
    monkeypatch.setattr("sys.argv", ["tools/count"])
    assert outcome(count, 20_000, 100) == 0
    assert outcome(count, 20_600, 100) == 1


def test_the_baseline_that_is_kept_holds_five_percent_of_the_packet_line(script):
    count = script("count")
    allowed, baseline = count.read_baseline()
    assert allowed.percent == 5.0
    lines = {name: before for name, before in baseline.items() if name.startswith("line: ")}
    assert len(lines) > 10
    for name, before in lines.items():
        assert allowed.refuses(before, before * 1.06), name
