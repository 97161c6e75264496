"""tools/soak: a short run of the real thing, and its judgement on series that a test makes up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "linecard"


def soak(*arguments):
    command = [sys.executable, ROOT / "tools" / "soak", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


def test_a_short_soak_hears_its_calls_and_finds_no_growth(tmp_path):
    report = tmp_path / "soak.json"
    run = soak("--minutes", 0.2, "--calls", 5, "--binary", BINARY, "--json", report)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "verdict: no growth" in run.stdout
    found = json.loads(report.read_text())
    assert (found["minutes"], found["calls_at_a_time"], found["verdict"]) == (0.2, 5, "no growth")
    # Calls end after 10 s at the latest: the first five did, and were heard until then.
    assert found["calls_made"] >= 10
    assert found["packets_heard"] > 1_000
    assert found["calls_refused"] >= 0
    for figure in ("resident_kb", "descriptors"):
        assert found[figure].keys() == {"second_quarter", "last_quarter", "growth_percent"}
        assert found[figure]["last_quarter"] > 10
    assert len(found["samples"]) >= 8
    for sample in found["samples"]:
        assert sample.keys() == {"second", "resident_kb", "descriptors"}


@pytest.fixture
def judge(script):
    """The verdict on these two series."""
    soak = script("soak")

    def verdict(resident_kb, descriptors, heard=1_000):
        samples = list(zip(range(len(resident_kb)), resident_kb, descriptors))
        return soak.judge(samples, heard)[1]
    return verdict


STEADY = [36_000 + wobble % 7 * 20 for wobble in range(1_800)]
FEW = [40] * 1_800


def test_what_stays_or_only_warms_up_is_no_growth(judge):
    assert judge(STEADY, FEW) == "no growth"
    warming = [30_000 + min(second, 300) * 20 for second in range(1_800)]
    assert judge(warming, FEW) == "no growth"
    assert judge(list(reversed(STEADY)), FEW) == "no growth"


def test_memory_that_grows_by_a_kilobyte_a_second_is_growth(judge):
    assert judge([36_000 + second for second in range(1_800)], FEW) == "growth"


def test_one_descriptor_lost_in_ten_minutes_is_growth(judge):
    assert judge(STEADY, [40 + second // 600 for second in range(1_800)]) == "growth"


def test_a_soak_that_heard_nothing_or_saw_little_shows_nothing(judge):
    assert judge(STEADY, FEW, heard=0) == "nothing was heard"
    assert judge(STEADY[:7], FEW[:7]).startswith("too few samples")


@pytest.mark.parametrize("arguments, told", [
    (["--minutes", "0.1"], "--minutes must be 0.2 at least"),
    (["--calls", "0"], "--calls from 1 to 200"),
    (["--binary", "/nowhere/linecard"], "cargo build --release, or name one with --binary"),
])
def test_a_wrong_argument_is_told_what_to_write(arguments, told):
    run = soak(*arguments)
    assert run.returncode == 2
    assert told in run.stderr
