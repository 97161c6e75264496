//! `tools/load --kill`: for how long nobody hears anything when the media process is killed.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::load::{Bench, linecard};
use super::write_json;
use crate::machine::{self, Tuned};
use crate::measure::kill::{Death, Deaths, TURNS, kill};
use crate::measure::load::Load;
use crate::measure::percentiles::median;

/// Of one death.
type Figure = fn(&Death) -> f64;

/// By name: what it is, and where a death has it.
const FIGURES: [(&str, &str, Figure); 7] = [
    ("browser_hole_ms", "longest hole at a browser, ms", |death| death.longest_hole_ms[0]),
    ("trunk_hole_ms", "longest hole at a trunk, ms", |death| death.longest_hole_ms[1]),
    ("browser_hole_ms_p50", "half of the browsers, ms", |death| death.median_hole_ms[0]),
    ("trunk_hole_ms_p50", "half of the trunks, ms", |death| death.median_hole_ms[1]),
    ("ended_ms", "killed, until the kernel had ended it, ms", |death| death.succession.ended_ms),
    ("served_ms", "until the next one greeted, ms", |death| death.succession.served_ms),
    ("resumed_ms", "until it had every call, ms", |death| death.succession.resumed_ms),
];

impl Bench<'_> {
    /// Kills it, prints and writes what came of that.
    pub fn kill(&mut self, load: &Load, tuned: &Tuned) -> Result<ExitCode, String> {
        let mut engine = linecard(self.arguments, self.around, load)?;
        let deaths = kill(&mut engine, load, &self.material, self.around, &mut self.progress)?;
        drop(engine);
        self.progress.clear();
        println!("machine                {}", machine::description());
        println!("{} calls, killed {TURNS} times; medians, and each time", deaths.calls);
        for (_, title, of) in FIGURES {
            let each: Vec<f64> = deaths.counted().map(of).collect();
            let shown: Vec<String> = each.iter().map(|ms| format!("{ms:.1}")).collect();
            let middle = median(each).map_or("-".to_owned(), |ms| format!("{ms:.1}"));
            println!("{title:<46}{middle:>8}   {}", shown.join(" "));
        }
        println!("{:<46}{:>8}", "packets that could not be read", deaths.bad);
        let starved = deaths.deaths.iter().filter_map(|death| death.starved.as_ref());
        starved.for_each(|why| println!("a time was STARVED, and is no result: {why}"));
        if deaths.is_void() {
            println!("VOID, no result: it was too often");
        }
        if let Some(path) = &self.arguments.json {
            write_json(path, &object(&deaths, self, tuned))?;
        }
        Ok(if deaths.is_void() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn object(deaths: &Deaths, bench: &Bench<'_>, tuned: &Tuned) -> Value {
    let figure = |(name, _, of): (&str, &str, Figure)| {
        (name.to_owned(), json!(median(deaths.counted().map(of).collect())))
    };
    let figures: serde_json::Map<_, _> = FIGURES.into_iter().map(figure).collect();
    let mut object = json!({
        "machine": machine::description(),
        "cores": bench.around.cores,
        "priority": tuned.priority,
        "delivery": tuned.delivery,
        "starved": deaths.is_void(),
        "calls": deaths.calls,
        "deaths": deaths.deaths,
        "packets_unread": deaths.bad,
    });
    object[if deaths.is_void() { "starved_figures" } else { "figures" }] = figures.into();
    object
}
