"""tools/fuzz: what it makes of the targets' endings, on a program that a test makes up; `tools/test` runs
the real one."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fuzz(tmp_path):
    """Runs a function of tools/fuzz with a program of these targets: name and exit status."""
    def fuzz(call, **targets):
        program = tmp_path / "program"
        cases = "".join(f"{name}) exit {status} ;;\n" for name, status in targets.items())
        program.write_text(
            "#!/bin/sh\n"
            f"[ -n \"$LINECARD_FUZZ_TARGET\" ] || {{ printf '%s\\n' {' '.join(targets)}; exit; }}\n"
            "echo \"given: $*\"\necho 'stat::number_of_executed_units: 7'\n"
            f"case $LINECARD_FUZZ_TARGET in {cases} esac\n")
        program.chmod(0o755)
        script = f". tools/fuzz; program={program}; kept={tmp_path}; {call}"
        return subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return fuzz


def test_every_target_is_run_and_says_how_much_it_did(fuzz):
    ended = fuzz("fuzz_all 1", one=0, two=0, three=0)
    assert ended.returncode == 0, ended.stderr
    said = sorted(line.split() for line in ended.stdout.splitlines())
    assert said == [[name, "passed,", "7", "inputs"] for name in ("one", "three", "two")]


def test_one_that_fails_is_shown_fails_the_whole_and_stops_no_other(fuzz, tmp_path):
    ended = fuzz("fuzz_all 1", first=77, one=0, two=0, last=1)
    assert ended.returncode != 0
    for line in ("first            FAILED", "last             FAILED", "one              passed", "given: "):
        assert line in ended.stdout
    assert (tmp_path / "failed").read_text().split() in (["first", "last"], ["last", "first"])


def test_a_target_begins_with_its_seeds_and_with_what_it_found_before(fuzz, tmp_path):
    given = fuzz("fuzz sip_transaction 3", sip_transaction=0).stdout
    assert f"given: {tmp_path}/sip_transaction fuzz/seeds/sip src/wire/sip/torture " in given
    assert "-max_total_time=3" in given
    for seeds in (ROOT / "fuzz" / "seeds").iterdir():
        assert any(seeds.iterdir())
        given = fuzz(f"fuzz {seeds.name} 3", **{seeds.name: 0}).stdout
        assert f"fuzz/seeds/{seeds.name} " in given
