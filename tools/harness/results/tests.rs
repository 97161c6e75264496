//! The object of made-up results.

use std::time::Instant;

use linecard::base::clock::WallAnchor;

use super::*;
use crate::machine::{Delivery, Priority};
use crate::report::tests::run;

/// A run of `who` that cost so much.
fn run_of(who: Who, cpu_ms: f64) -> Run {
    let settings = json!({"engine": who.name(), "version": "1", "codec_library": "libopus"});
    let Value::Object(settings) = settings else { panic!("no object") };
    Run { settings, cpu_ms_per_call_second: Some(cpu_ms), ..run() }
}

/// A run of the bare forwarder.
fn forwarded() -> Run {
    let settings = Map::from_iter([("receives".to_owned(), json!("multishot"))]);
    Run { settings, cpu_ms_per_call_second: Some(0.75), ..run() }
}

fn pair(title: &str) -> Pair {
    let runs = Who::BOTH.map(|who| Some(run_of(who, 2.0)));
    Pair { title: title.to_owned(), runs }
}

fn comparison(browser: BrowserKind, codec_ms: Vec<f64>) -> Comparison {
    let figures = Who::BOTH.map(|who| Figures {
        capacity: Capacity { calls: Some(100), curve: Vec::new() },
        at_usual_load: vec![run_of(who, 2.0), run_of(who, 4.0)],
    });
    Comparison {
        browser,
        payload: "24 kb/s".to_owned(),
        figures,
        codec_ms,
        forwarded: vec![forwarded()],
    }
}

fn object(results: &Results) -> Value {
    results.object(&Circumstances {
        machine: "a machine".to_owned(),
        date: WallTime::of(&WallAnchor::now(), Instant::now()),
        cores: Cores { engine: 1, generator: 0 },
        priority: Priority::Fifo,
        delivery: Delivery::Sender,
    })
}

#[test]
fn the_object_has_both_engines_the_codecs_and_their_settings() {
    let comparisons = vec![
        comparison(BrowserKind::Narrowband, vec![1.0, 2.0]),
        comparison(BrowserKind::Fullband, vec![2.4]),
        comparison(BrowserKind::Pcmu, vec![]),
    ];
    let object = object(&Results { comparisons, ..Results::default() });
    assert_eq!(object["starved"], false);
    for engine in ["linecard", "peer"] {
        for part in [&object[engine], &object[engine]["fullband"], &object[engine]["relay"]] {
            assert_eq!(part["settings"]["version"], "1");
            assert_eq!(part["calls_per_core"], 100);
            assert_eq!(part["cpu_ms_per_call_second"], 3.0);
            assert_eq!(part["added_ms_p50"], 0.3);
            assert_eq!(part["added_ms_p99"], 0.9);
            assert_eq!(part["loss_percent"], 0.5);
            assert_eq!(part["resident_bytes_per_call"], 70_000.0);
        }
    }
    let codecs = &object["codec_only"];
    assert_eq!(codecs["settings"]["encoder"], "celt_48k_red");
    assert_eq!(codecs["cpu_ms_per_call_second"], 1.5);
    assert_eq!(codecs["calls_per_core"], 666.0);
    assert_eq!(codecs["share_percent"], 50.0);
    assert_eq!(codecs["fullband"]["share_percent"], 80.0);
    assert!(codecs.get("relay").is_none(), "there are no codecs in a relay");
    assert_eq!(object["versions"]["peer_codec"], "libopus");
}

#[test]
fn every_run_under_stall_loss_and_overload_is_there_with_its_figures() {
    let object = object(&Results {
        stall: Some(pair("a stall")),
        loss: vec![pair("1 %"), Pair { runs: [None, Some(run())], ..pair("5 %") }],
        overload: Some(pair("too many")),
        ..Results::default()
    });
    for (title, pair) in [
        ("a stall", &object["stall"]),
        ("1 %", &object["loss"][0]),
        ("too many", &object["overload"]),
    ] {
        assert_eq!(pair["title"], title);
        for engine in ["linecard", "peer"] {
            assert_eq!(pair[engine]["calls"], 20);
            assert_eq!(pair[engine]["refused"]["after_ms"]["p99"], 4.0);
            let direction = &pair[engine]["browser_to_trunk"];
            assert_eq!(direction["lost_on_purpose"], 12);
            assert_eq!(direction["holes"], 3);
            assert_eq!(direction["timestamp_slips"], 2);
            assert_eq!(direction["added_ms"]["p99"], 0.9);
            assert_eq!(direction["around_stall"]["before_ms"], 0.2);
            assert!(direction["around_stall"]["grew_ms"].as_f64().unwrap() > 0.0);
            assert!(direction.get("added_over_time").is_none(), "what is drawn is on the page");
        }
    }
    assert_eq!(object["loss"][1]["title"], "5 %");
    assert_eq!(object["loss"][1]["linecard"], Value::Null, "it was starved");
}

#[test]
fn parts_without_a_cost_have_engines_with_settings_and_no_others() {
    let stall_only = object(&Results { stall: Some(pair("a stall")), ..Results::default() });
    for engine in ["linecard", "peer"] {
        assert_eq!(stall_only[engine]["settings"]["version"], "1");
        assert!(stall_only[engine].get("calls_per_core").is_none());
    }
    assert_eq!(stall_only["codec_only"], json!({}));
    for absent in ["loss", "overload", "rungs"] {
        assert!(stall_only.get(absent).is_none(), "{absent} was not measured");
    }
}

#[test]
fn every_rung_stands_beside_its_codecs() {
    let rung = |rung, run| RungFigures { rung, calls: 80, run, codec_only_ms: 1.5 };
    let rungs = vec![rung(Rung::SilkFec, Some(run_of(Who::Linecard, 2.0))), rung(Rung::Celt, None)];
    let object = object(&Results { rungs, ..Results::default() });
    let [silk, celt] = [&object["rungs"][0], &object["rungs"][1]];
    assert_eq!(silk["rung"], "silk_48k_fec");
    assert_eq!(silk["encoder_settings"]["fec"], true);
    assert_eq!(silk["linecard_ms"], 2.0);
    assert_eq!(silk["codec_only_ms"], 1.5);
    assert_eq!(silk["share_percent"], 75.0);
    assert_eq!(silk["added_ms_p99"], 0.9);
    assert_eq!(celt["linecard_ms"], Value::Null, "it was starved");
    assert_eq!(object["codec_only"]["settings"]["encoder"], "each rung's own");
    assert_eq!(object["linecard"]["settings"]["engine"], "linecard");
}

#[test]
fn what_was_starved_makes_the_whole_starved() {
    let starved = vec!["rtpengine, 40 calls: late".to_owned()];
    let object = object(&Results { starved, ..Results::default() });
    assert_eq!(object["starved"], true);
    assert_eq!(object["starved_runs"][0], "rtpengine, 40 calls: late");
}

#[test]
fn the_page_of_parts_without_a_cost_shows_them_and_nothing_that_is_not_there() {
    let results = Results {
        stall: Some(pair("a stall")),
        loss: vec![pair("1 %")],
        overload: Some(pair("too many")),
        ..Results::default()
    };
    let object = object(&results);
    let page = crate::page::render(&object, &results);
    for shown in ["After a stall: a stall", "Under loss", "Overload: too many", "libopus"] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    assert!(!page.contains("null"), "{page}");
    assert!(!page.contains("narrowband from the browser"), "no table of what was not measured");
    let lines = crate::page::lines(&object).join("\n");
    for shown in ["a stall", "holes, both directions", "the slowest refusal", "stall left behind"] {
        assert!(lines.contains(shown), "{shown} in {lines}");
    }
}

#[test]
fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(vec![]), None);
}

#[test]
fn the_sockets_alone_stand_beside_the_codecs() {
    let comparisons =
        vec![comparison(BrowserKind::Narrowband, vec![1.5]), comparison(BrowserKind::Pcmu, vec![])];
    let sockets = vec![SocketFigures {
        strategy: Strategy::OneShotPlain,
        layout: Layout::Shared,
        run: Some(forwarded()),
    }];
    let object = object(&Results { comparisons, sockets, ..Results::default() });
    for part in [&object["sockets_only"], &object["sockets_only"]["relay"]] {
        assert_eq!(part["cpu_ms_per_call_second"], 0.75);
        assert_eq!(part["share_percent"], 25.0);
        assert_eq!(part["settings"]["receives"], "multishot");
    }
    assert_eq!(object["codec_only"]["share_percent"], 50.0);
    let sockets = &object["sockets"][0];
    assert_eq!(sockets["receives"], "one-shot-plain");
    assert_eq!(sockets["trunk_sockets"], "shared");
    assert_eq!(sockets["cpu_ms_per_call_second"], 0.75);
}
