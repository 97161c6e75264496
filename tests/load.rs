//! The load generator as its users meet it: the real programs, real sockets, real speech.

#![allow(clippy::unwrap_used)] // helpers of tests may fail as tests do

use std::process::{Command, Output};

use serde_json::Value;

fn harness(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_linecard-harness")).args(arguments).output().unwrap()
}

/// Runs a load at normal priority and gives its JSON.
fn load(name: &str, arguments: &[&str]) -> Value {
    let file = std::env::temp_dir().join(format!("linecard-load-{}-{name}", std::process::id()));
    let path = file.to_str().unwrap();
    let fixed = ["load", "--priority", "normal", "--json", path];
    let output = harness(&[fixed.as_slice(), arguments].concat());
    let text = std::fs::read_to_string(&file).unwrap_or_else(|_| {
        panic!("no report: {}", String::from_utf8_lossy(&output.stderr));
    });
    std::fs::remove_file(&file).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The run, starved or not: these tests look at no figure that time has a part in.
fn run_of(report: &Value) -> &Value {
    report.get("run").unwrap_or(&report["starved_run"])
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn four_calls_come_through_whole_in_both_directions() {
    let report = load("whole", &["--calls", "4", "--seconds", "2"]);
    let run = run_of(&report);
    assert_eq!(run["calls"], 4, "{report:#}");
    for direction in ["browser_to_trunk", "trunk_to_browser"] {
        let direction = &run[direction];
        // Two seconds of four calls; a packet of each may fall on the edge.
        assert!((392..=408).contains(&direction["sent"].as_u64().unwrap()), "{report:#}");
        assert_eq!(direction["loss_percent"], 0.0, "{report:#}");
        assert_eq!(direction["duplicates"], 0);
        assert_eq!(direction["timestamp_slips"], 0);
        assert!(direction["added_ms"]["p99"].as_f64().unwrap() > 0.0);
    }
    assert!(run["cpu_ms_per_call_second"].as_f64().unwrap() > 0.0);
    assert!(run["resident_bytes"].as_u64().unwrap() > 1_000_000);
}

#[test]
fn lost_packets_leave_no_hole_toward_the_trunk() {
    let report = load("lossy", &["--calls", "4", "--seconds", "3", "--loss", "5"]);
    let direction = &run_of(&report)["browser_to_trunk"];
    assert!(direction["lost_on_purpose"].as_u64().unwrap() > 0, "{report:#}");
    assert_eq!(direction["holes"], 0, "{report:#}");
    assert_eq!(direction["timestamp_slips"], 0, "{report:#}");
}

#[test]
fn g711_is_relayed() {
    let report = load("relay", &["--calls", "2", "--seconds", "1", "--browser", "pcmu"]);
    for direction in ["browser_to_trunk", "trunk_to_browser"] {
        assert_eq!(run_of(&report)[direction]["loss_percent"], 0.0, "{report:#}");
    }
}

#[test]
fn a_mistake_is_answered_with_what_to_write() {
    for (arguments, answer) in [
        (["load", "--calls", "0"], "1..=6000"),
        (["load", "--calls", "many"], "invalid digit"),
        (["load", "--browser", "stereo"], "[possible values: narrowband, fullband, pcmu]"),
        (["load", "--loss", "80"], "write a number from 0 to 50, e.g. 5"),
        (["load", "--rung", "fast"], "write one of silk_48k_fec"),
        (["load", "--engine", "asterisk"], "ng://127.0.0.1:2223"),
        (["compare", "--part", "video"], "narrowband, fullband, relay"),
        (["compare", "--page", "/nowhere/page"], "--page /nowhere/page"),
        (["load", "--control", "/nowhere"], "is linecard media running?"),
        (["load", "--engine-core", "999"], "write one of"),
        (["load", "--json", "/nowhere/report"], "--json /nowhere/report"),
    ] {
        let output = harness(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(stderr(&output).contains(answer), "{arguments:?}: {}", stderr(&output));
    }
}
