//! The load generator as its users meet it: the real programs, real sockets, real speech.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a wrong number fails its test"
)]
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

/// Each direction, with what the engine counted of what it was sent in it.
fn directions(run: &Value) -> [(&Value, &Value); 2] {
    let counted = &run["counted"];
    [(&run["browser_to_trunk"], &counted[0]), (&run["trunk_to_browser"], &counted[1])]
}

fn count(object: &Value, field: &str) -> u64 {
    object[field].as_u64().unwrap_or_else(|| panic!("no {field} in {object:#}"))
}

/// What holds whatever the network does: everything comes out once, in order and on time's line.
fn is_whole(direction: &Value, report: &Value) {
    for field in ["loss_percent", "duplicates", "reordered", "jumps_back", "timestamp_slips"] {
        assert_eq!(direction[field].as_f64(), Some(0.0), "{field}: {report:#}");
    }
}

#[test]
fn what_comes_twice_goes_on_once_and_is_counted() {
    let report = load("twice", &["--calls", "4", "--seconds", "3", "--duplicate", "10"]);
    for (direction, counted) in directions(run_of(&report)) {
        is_whole(direction, &report);
        let duplicated = count(&direction["on_purpose"], "duplicated");
        assert!(duplicated > 0, "{report:#}");
        assert_eq!(count(counted, "duplicates"), duplicated, "{report:#}");
    }
}

#[test]
fn packets_that_are_overtaken_are_put_back_or_counted_late() {
    let report = load(
        "reordered",
        &["--calls", "4", "--seconds", "4", "--reorder", "10", "--reorder-by", "45"],
    );
    for (direction, counted) in directions(run_of(&report)) {
        is_whole(direction, &report);
        let held_back = count(&direction["on_purpose"], "held_back");
        let (put_back, late) = (count(counted, "packets_reordered"), count(counted, "late"));
        // One behind which all others are held back as well comes in order.
        assert!((held_back * 8 / 10..=held_back).contains(&(put_back + late)), "{report:#}");
        assert!(put_back > 0, "{report:#}");
        assert_eq!(counted["packets_lost"], 0, "{report:#}");
    }
}

#[test]
fn bursts_of_loss_are_filled_up_to_their_bound_and_counted() {
    let report =
        load("bursts", &["--calls", "4", "--seconds", "4", "--loss", "10", "--burst", "2"]);
    for (direction, counted) in directions(run_of(&report)) {
        is_whole(direction, &report);
        let (lost, holes) = (count(direction, "lost_on_purpose"), count(direction, "holes"));
        // Of two in a row on average, one in sixty-four bursts is longer than is filled.
        assert!(lost > 0 && holes * 10 <= lost, "{report:#}");
        let on_purpose = count(&direction["on_purpose"], "lost");
        let known = count(counted, "packets_lost");
        // What is lost at the very end is not missed.
        assert!((on_purpose.saturating_sub(20)..=on_purpose).contains(&known), "{report:#}");
    }
}

#[test]
fn a_stalled_sender_loses_nothing() {
    let report = load("stalled", &["--calls", "4", "--seconds", "4", "--stall", "200"]);
    for (direction, counted) in directions(run_of(&report)) {
        is_whole(direction, &report);
        assert!(direction["around_stall"].is_object(), "{report:#}");
        for field in ["packets_lost", "late", "packets_reordered", "frames_concealed"] {
            assert_eq!(counted[field], 0, "{field}: {report:#}");
        }
    }
}

#[test]
fn jitter_alone_takes_nothing_out_of_order() {
    let report = load("jitter", &["--calls", "4", "--seconds", "3", "--jitter", "60"]);
    for (direction, counted) in directions(run_of(&report)) {
        is_whole(direction, &report);
        for field in ["packets_lost", "late", "packets_reordered"] {
            assert_eq!(counted[field], 0, "{field}: {report:#}");
        }
    }
}

#[test]
fn redundancy_goes_both_ways_and_brings_lost_packets_back() {
    let arguments = ["--calls", "4", "--seconds", "3", "--red", "both", "--loss", "5"];
    let report = load("red", &arguments);
    let [(to_trunk, browsers), (to_browser, _)] = directions(run_of(&report));
    is_whole(to_trunk, &report);
    assert_eq!(to_trunk["holes"], 0, "{report:#}");
    assert!(count(browsers, "packets_recovered") > 0, "{report:#}");
    assert!(to_browser["redundant_percent"].as_f64().unwrap() > 50.0, "{report:#}");
}

#[test]
fn browsers_report_that_nothing_is_lost_and_are_sent_no_red_that_they_do_not_offer() {
    // Every browser reports within six seconds.
    let report = load("reports", &["--calls", "4", "--seconds", "5", "--red", "none"]);
    let [_, (to_browser, _)] = directions(run_of(&report));
    let browsers = &run_of(&report)["counted"][0];
    assert_eq!(count(browsers, "reports"), 4, "{report:#}");
    assert!(browsers["round_trip_ms_max"].is_number(), "{report:#}");
    assert_eq!(to_browser["redundant_percent"], 0.0, "{report:#}");
}

#[test]
fn g711_is_relayed() {
    let report = load("relay", &["--calls", "2", "--seconds", "1", "--browser", "pcmu"]);
    for direction in ["browser_to_trunk", "trunk_to_browser"] {
        assert_eq!(run_of(&report)[direction]["loss_percent"], 0.0, "{report:#}");
    }
}

/// How often is the machine's matter, and in the report; that nobody is harmed is not.
#[test]
fn an_observer_is_answered_while_calls_are_carried() {
    let report = load("queries", &["--calls", "4", "--seconds", "2", "--queries", "700"]);
    let run = run_of(&report);
    assert_eq!(run["queries"]["asked_per_second"], 700, "{report:#}");
    assert!(run["queries"]["answered_per_second"].as_f64().unwrap() > 10.0, "{report:#}");
    assert!(run["call_load_percent"].as_f64().unwrap() > 0.0, "{report:#}");
    for direction in ["browser_to_trunk", "trunk_to_browser"] {
        assert_eq!(run[direction]["loss_percent"], 0.0, "{report:#}");
    }
}

#[test]
fn what_queries_cost_is_told_beside_what_calls_cost_without() {
    let directory = std::env::temp_dir();
    let [json, page] = ["json", "html"]
        .map(|kind| directory.join(format!("linecard-queries-{}.{kind}", std::process::id())));
    let [json_path, page_path] = [&json, &page].map(|path| path.to_str().unwrap());
    let output = harness(&[
        "compare",
        "--part",
        "queries",
        "--calls",
        "4",
        "--seconds",
        "1",
        "--turns",
        "1",
        "--priority",
        "normal",
        "--json",
        json_path,
        "--page",
        page_path,
    ]);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let drawn = std::fs::read_to_string(&page).unwrap();
    for path in [json, page] {
        std::fs::remove_file(path).unwrap();
    }
    let starved = report["starved"].as_bool().unwrap();
    assert_eq!(output.status.success(), !starved, "{}", stderr(&output));
    let queries = &report["queries"];
    let fixed = ["asked_per_second", "calls", "turns"].map(|field| count(queries, field));
    assert_eq!(fixed, [10_000, 4, 1], "{report:#}");
    let figures = &queries[if starved { "starved_figures" } else { "figures" }];
    assert!(figures.get("calls_carried").is_none(), "with a number nothing is searched for");
    let figure = &figures["cpu_ms_per_call_second"];
    if !starved {
        let [without, with, ratio] =
            ["without", "with", "ratio"].map(|name| figure[name].as_f64().unwrap());
        assert!((ratio - with / without).abs() < 1e-9, "{report:#}");
        assert_eq!(figures["answered_per_second"]["without"], 0.0, "{report:#}");
    }
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    for shown in [&printed, &drawn] {
        assert!(shown.contains("10000 questions a second: 4 calls, 1 turns"), "{shown}");
    }
}

#[test]
fn a_killed_engine_is_followed_by_one_that_everybody_hears_again() {
    let report = load("kill", &["--calls", "4", "--kill"]);
    let deaths = report["deaths"].as_array().unwrap();
    assert!(deaths.len() >= 5, "{report:#}");
    for death in deaths {
        // Who is not heard again has a hole as long as was waited.
        for hole in death["longest_hole_ms"].as_array().unwrap() {
            assert!((0.0..1_900.0).contains(&hole.as_f64().unwrap()), "{report:#}");
        }
        let [ended, served, resumed] = ["ended_ms", "served_ms", "resumed_ms"]
            .map(|field| death["succession"][field].as_f64().unwrap());
        assert!(0.0 < ended && ended < served && served < resumed, "{report:#}");
    }
    assert_eq!(report["packets_unread"], 0, "{report:#}");
    let name = if report["starved"] == true { "starved_figures" } else { "figures" };
    assert!(report[name]["browser_hole_ms"].is_number(), "{report:#}");
}

/// Whatever way it receives, it passes everything on: only then can its costs be compared.
#[test]
fn the_bare_forwarder_passes_every_datagram_on() {
    for engine in [
        "forward",
        "forward:one-shot",
        "forward:one-shot-plain:shared",
        "forward:ready-batch",
        "forward:ready-batch:shared",
        "forward:syscalls:shared",
    ] {
        let report = load("forward", &["--calls", "3", "--seconds", "1", "--engine", engine]);
        for direction in ["browser_to_trunk", "trunk_to_browser"] {
            let direction = &run_of(&report)[direction];
            assert_eq!(direction["loss_percent"], 0.0, "{engine}: {report:#}");
            assert!(direction["sent"].as_u64().unwrap() > 100, "{engine}: {report:#}");
        }
    }
}

/// Turns of a comparison: as many as its users have at night, and one otherwise, for nothing here
/// looks at a figure that time has a part in. `tools/test` tells the depth.
fn turns() -> u64 {
    match std::env::var("LINECARD_DEPTH").as_deref() {
        Ok("night") => 5,
        _ => 1,
    }
}

#[test]
fn a_program_beside_itself_has_a_ratio_of_every_figure() {
    let directory = std::env::temp_dir();
    let [json, page] = ["json", "html"]
        .map(|kind| directory.join(format!("linecard-against-{}.{kind}", std::process::id())));
    let [json_path, page_path] = [&json, &page].map(|path| path.to_str().unwrap());
    let program = env!("CARGO_BIN_EXE_linecard");
    let turns = turns();
    let load = ["--calls", "4", "--seconds", "1", "--turns", &turns.to_string()].map(str::to_owned);
    let load = load.each_ref().map(String::as_str);
    let output = harness(
        &[
            ["compare", "--against", program, "--priority", "normal", "--part", "narrowband"]
                .as_slice(),
            &["--json", json_path, "--page", page_path],
            &load,
        ]
        .concat(),
    );
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let drawn = std::fs::read_to_string(&page).unwrap();
    for path in [json, page] {
        std::fs::remove_file(path).unwrap();
    }

    let [other, this] = ["other", "this"].map(|name| &report["programs"][name]);
    assert_eq!(other["sha256"], this["sha256"], "{report:#}");
    assert_eq!(other["settings"]["protocol"], this["settings"]["protocol"], "{report:#}");
    // Starved or not: what is no result has another name, and the command fails.
    let starved = report["starved"].as_bool().unwrap();
    assert_eq!(output.status.success(), !starved, "{}", stderr(&output));
    assert_eq!(report["starved_runs"].as_array().unwrap().is_empty(), !starved, "{report:#}");
    let kind = &report["narrowband"];
    assert_eq!((count(kind, "calls"), count(kind, "turns")), (4, turns), "{report:#}");
    let figures = &kind[if starved { "starved_figures" } else { "figures" }];
    for field in ["calls_per_core", "cpu_ms_per_call_second", "added_ms_p50", "added_ms_p99"] {
        let figure = &figures[field];
        let [other, this, ratio] =
            ["other", "this", "ratio"].map(|name| figure[name].as_f64().unwrap());
        assert!((ratio - this / other).abs() < 1e-9, "{field}: {report:#}");
        let by_turn = figure["ratio_by_turn"].as_array().unwrap();
        assert_eq!(by_turn.len() as u64, turns, "{field}: {report:#}");
    }
    for whose in ["other", "this"] {
        assert!(figures["resident_bytes_per_call"][whose].as_f64().unwrap() > 0.0, "{report:#}");
        assert_eq!(figures["loss_percent"][whose], 0.0, "{report:#}");
    }
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    for shown in ["CPU, ms per call-second", "added delay, ms, p99", "ratio by turn", program] {
        assert!(printed.contains(shown), "{shown} in {printed}");
    }
    assert!(drawn.contains("<svg") && drawn.contains("Cost in each turn"), "{drawn}");
}

#[test]
fn a_mistake_is_answered_with_what_to_write() {
    for (arguments, answer) in [
        (["load", "--calls", "0"], "1..=6000"),
        (["load", "--calls", "many"], "invalid digit"),
        (["load", "--browser", "stereo"], "[possible values: narrowband, fullband, pcmu]"),
        (["load", "--loss", "80"], "write a number from 0 to 50, e.g. 5"),
        (["load", "--burst", "4"], "--loss <PERCENT>"),
        (["load", "--queries", "40000"], "0..=30000"),
        (["load", "--engine=none", "--queries=5"], "--queries asks linecard"),
        (["load", "--engine=none", "--kill"], "--kill is for linecard"),
        (["load", "--search", "--kill"], "cannot be used with"),
        (["load", "--red", "maybe"], "[possible values: none, accept, both]"),
        (["load", "--rung", "fast"], "write one of silk_48k_fec"),
        (["load", "--engine", "asterisk"], "ng://127.0.0.1:2223"),
        (["load", "--engine", "forward:fast"], "forward:one-shot:shared"),
        (["compare", "--part", "video"], "narrowband, fullband, relay"),
        (["compare", "--part=stall", "--against=/bin/true"], "narrowband, fullband and relay"),
        (["compare", "--against", "/nowhere/linecard"], "name a linecard program"),
        (["compare", "--turns", "3"], "--against <PROGRAM>"),
        (["compare", "--part=stall", "--calls=3"], "--part queries alone"),
        (["compare", "--page", "/nowhere/page"], "--page /nowhere/page"),
        (["load", "--control", "/nowhere"], "is linecard media running?"),
        (["load", "--rung=celt_48k_red", "--red=none"], "write --red accept"),
        (["load", "--engine=rtpengine", "--red=both"], "rtpengine does not read RED"),
        (["load", "--engine-core", "999"], "write one of"),
        (["load", "--json", "/nowhere/report"], "--json /nowhere/report"),
    ] {
        let output = harness(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(stderr(&output).contains(answer), "{arguments:?}: {}", stderr(&output));
    }
}
