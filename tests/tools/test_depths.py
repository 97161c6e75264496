"""tools/test: its steps, its counts and its last line, on logs and steps that a test makes up."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CARGO = """\
running 3 tests
test a_test_that_says_9_passed ... ok
test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.66s
test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s
"""
PYTEST = """\
FAILED tests/calls/test_calls.py::test_an_answer[chromium] - assert 3 failed
========= 2 failed, 17 passed, 1 error in 431.20s (0:07:11) =========
"""
PYTEST_GOOD = "============================== 5 passed in 12.31s ==============================\n"


@pytest.fixture
def run(tmp_path):
    """Runs shell commands with the functions of tools/test, and its logs in a directory of their own."""
    def run(commands, **logs):
        for name, text in logs.items():
            (tmp_path / f"{name.replace('_', '-')}.log").write_text(text)
        script = f". tools/test; logs={tmp_path}; {commands}"
        return subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return run


def test_what_passed_and_failed_is_read_from_result_lines_alone(run):
    counted = run("count passed rust; count failed rust; count passed calls; count failed calls; "
                  "count passed rust calls absent", rust=CARGO, calls=PYTEST)
    assert counted.stdout.split() == ["42", "1", "17", "3", "59"]


def test_the_last_line_is_the_count_of_everything_that_passed(run):
    ended = run("summary", rust=CARGO.splitlines()[2], tools_tests=PYTEST_GOOD, calls=PYTEST_GOOD)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "50 passed")


def test_a_failed_step_is_named_and_makes_the_last_line_tell_what_failed(run):
    ended = run("failed=(lints rust); summary", rust=CARGO, tools_tests=PYTEST_GOOD)
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-2:] == ["Failed: lints rust", "47 passed, 1 failed"]
    assert "Calls:" not in ended.stdout, "they were not run"


def test_calls_that_passed_when_tried_again_passed_and_that_is_said(run):
    logs = {"rust": "", "calls": PYTEST.replace(", 1 error", ""), "calls_again": PYTEST_GOOD}
    ended = run("failed=(calls); summary", **logs)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "19 passed")
    assert "Unsteady:   2 of the calls" in ended.stdout
    ended = run("failed=(calls calls-again); summary", **logs)
    assert ended.stdout.splitlines()[-1] == "17 passed, 2 failed"


def test_every_step_says_its_number_and_a_silent_one_that_it_runs(run):
    ended = run("steps=2 quiet_s=1; step first sleep 3; step second false; echo \"failed: ${failed[*]}\"")
    assert re.search(r"^== \[1/2\] first \(0 s\)$", ended.stdout, re.MULTILINE)
    assert re.search(r"^\.\. first: running for [12] s$", ended.stdout, re.MULTILINE)
    assert re.search(r"^== \[2/2\] second \([3-9] s\)$", ended.stdout, re.MULTILINE)
    assert ended.stdout.splitlines()[-1] == "failed: second"


@pytest.mark.parametrize("depth", ["quick", "full", "night"])
def test_a_depth_has_as_many_steps_as_it_says_and_goes_on_when_one_fails(run, depth):
    stubbed = "step() { step_number=$((step_number + 1)); [ \"$1\" = set-up ]; }; unnumbered_step() { :; }"
    ended = run(f"{stubbed}; {depth}; echo $steps $step_number")
    said, taken = ended.stdout.split()
    assert said == taken


def test_the_quick_tests_are_all_but_those_that_are_named_slow(run):
    ended = run("rust() { echo \"$@\"; }; rust_quick")
    whole, parts = ended.stdout.splitlines()
    assert whole.startswith("--lib --bins ")
    chosen = set(whole.split()) - {"--lib", "--bins", "--test"}
    there = {path.stem for path in (ROOT / "tests").glob("*.rs")}
    there |= {path.parent.name for path in (ROOT / "tests").glob("*/main.rs")}
    slow = set(run("echo ${slow_tests[@]}").stdout.split())
    assert slow <= there and chosen == there - slow
    assert parts.startswith("--test media_process -- --skip ")


def test_every_round_is_run_and_one_that_failed_is_remembered(run):
    ended = run("once() { echo here; [ ! -e $logs/now ] && touch $logs/now && return 1; return 0; }; "
                "again 3 once; echo status $?")
    assert ended.stdout.count("here") == 3
    assert ended.stdout.splitlines()[-1] == "status 1"


def test_an_unknown_depth_is_told_what_to_write(run):
    ended = subprocess.run([ROOT / "tools" / "test", "fast"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "write quick, full, night or calls" in ended.stderr
