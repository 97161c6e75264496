//! What questions of observers were found to cost: the object and its lines.
//!
//! ```text
//!  queries: { asked_per_second, calls, turns,
//!      figures: { calls_carried, cpu_ms_per_call_second, …: { without, with, ratio, ratio_by_turn } } }
//! ```
//!
//! `without` and `with` are medians of all turns, `ratio` is with by without. When a run was starved,
//! `figures` is called `starved_figures`: it is no result.

use serde_json::{Map, Value, json};

use super::cell;
use crate::measure::percentiles::median;
use crate::measure::run::Run;

/// Of one run.
type Figure = fn(&Run) -> Option<f64>;

/// By field: what it is, and where a run has it.
const FIGURES: [(&str, &str, Figure); 7] = [
    ("calls_at_this_cost", "calls at the media thread's CPU", |run| run.calls_at_this_cost),
    ("cpu_ms_per_call_second", "CPU of the media thread, ms", |run| run.cpu_ms_per_call_second),
    ("call_load_percent", "a call by linecard's measure, %", |run| run.call_load_percent),
    ("added_ms_p50", "added delay, ms, p50", |run| run.added_ms().p50),
    ("added_ms_p99", "added delay, ms, p99", |run| run.added_ms().p99),
    ("loss_percent", "lost, %, worse direction", |run| Some(run.loss_percent())),
    ("answered_per_second", "questions answered, 1/s", |run| {
        run.queries.map(|queries| queries.answered_per_second)
    }),
];
const CARRIED: (&str, &str) = ("calls_carried", "calls a core carries");

/// A run without questions and one with them; absent when starved.
pub type Turn = [Option<Run>; 2];

/// The same calls without questions and with them.
#[derive(Default)]
pub struct Questioned {
    /// With them, that many a second.
    pub asked_per_second: u32,
    /// Calls of each run.
    pub calls: u16,
    /// Turns that were to be had.
    pub turns: u8,
    /// The most calls that were carried, each turn; empty where it was not searched for.
    pub carried: Vec<[Option<u16>; 2]>,
    /// The runs, each turn.
    pub runs: Vec<Turn>,
}

impl Questioned {
    /// The median without questions.
    pub fn carried_without(&self) -> Option<f64> {
        median(self.carried.iter().filter_map(|[without, _]| without.map(f64::from)).collect())
    }

    fn is_void(&self) -> bool {
        self.runs.iter().flatten().any(Option::is_none)
            || self.carried.iter().flatten().any(Option::is_none)
    }

    /// The object.
    pub fn object(&self) -> Value {
        let mut figures = Map::new();
        if !self.carried.is_empty() {
            let carried = self.carried.iter().map(|turn| turn.map(|calls| calls.map(f64::from)));
            figures.insert(CARRIED.0.to_owned(), figure(carried.collect()));
        }
        for (field, _, of) in FIGURES {
            let turns = self.runs.iter().map(|turn| turn.each_ref().map(|run| of(run.as_ref()?)));
            figures.insert(field.to_owned(), figure(turns.collect()));
        }
        let mut object = json!({
            "asked_per_second": self.asked_per_second,
            "calls": self.calls,
            "turns": self.turns,
        });
        let name = if self.is_void() { "starved_figures" } else { "figures" };
        object[name] = figures.into();
        object
    }
}

fn figure(turns: Vec<[Option<f64>; 2]>) -> Value {
    let of = |at: usize| median(turns.iter().filter_map(|turn| turn[at]).collect());
    let ratio = |[without, with]: [Option<f64>; 2]| {
        without
            .zip(with)
            .filter(|(without, _)| *without > 0.0)
            .map(|(without, with)| with / without)
    };
    let (without, with) = (of(0), of(1));
    let by_turn: Vec<_> = turns.iter().map(|turn| ratio(*turn)).collect();
    json!({
        "without": without,
        "with": with,
        "ratio": ratio([without, with]),
        "ratio_by_turn": by_turn,
    })
}

/// Rows of name, without, with, ratio and the least and most ratio of a turn.
pub fn rows(object: &Value) -> Vec<Vec<String>> {
    let figures = object.get("figures").unwrap_or(&object["starved_figures"]);
    let fields = FIGURES.iter().map(|(field, name, _)| (*field, *name));
    let known = [CARRIED].into_iter().chain(fields).filter(|(field, _)| !figures[field].is_null());
    let row = |(field, name): (&str, &str)| {
        let figure = &figures[field];
        let ratios = figure["ratio_by_turn"].as_array().into_iter().flatten();
        let ratios: Vec<f64> = ratios.filter_map(Value::as_f64).collect();
        let (least, most) =
            (ratios.iter().copied().reduce(f64::min), ratios.iter().copied().reduce(f64::max));
        let number =
            |value: Option<f64>| value.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
        vec![
            name.to_owned(),
            cell(&figure["without"]),
            cell(&figure["with"]),
            number(figure["ratio"].as_f64()),
            format!("{} to {}", number(least), number(most)),
        ]
    };
    known.map(row).collect()
}

/// What the rows are about.
pub fn title(object: &Value) -> String {
    let void = if object.get("figures").is_some() { "" } else { "; VOID: a run was starved" };
    format!(
        "{} questions a second: {} calls, {} turns{void}",
        object["asked_per_second"], object["calls"], object["turns"]
    )
}

/// Above the rows.
pub const HEADS: [&str; 5] = ["", "without", "with", "ratio", "ratio by turn"];

/// The rows as text.
pub fn lines(object: &Value) -> Vec<String> {
    let mut lines = vec![title(object)];
    for row in std::iter::once(HEADS.map(str::to_owned).to_vec()).chain(rows(object)) {
        let [name, without, with, ratio, spread] = &row[..] else { continue };
        lines.push(format!("  {name:<34}{without:>13}{with:>13}{ratio:>10}   {spread}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::run::tests::run;

    fn questioned() -> Questioned {
        let costing = |ms| Some(Run { cpu_ms_per_call_second: Some(ms), ..run() });
        Questioned {
            asked_per_second: 10_000,
            calls: 20,
            turns: 3,
            carried: vec![[Some(300), Some(290)], [Some(310), Some(310)], [Some(300), Some(303)]],
            runs: vec![
                [costing(2.0), costing(3.0)],
                [costing(2.0), costing(2.0)],
                [costing(4.0), costing(2.0)],
            ],
        }
    }

    #[test]
    fn a_ratio_is_of_medians_and_every_turn_has_its_own() {
        let object = questioned().object();
        let expected =
            json!({"without": 2.0, "with": 2.0, "ratio": 1.0, "ratio_by_turn": [1.5, 1.0, 0.5]});
        assert_eq!(object["figures"]["cpu_ms_per_call_second"], expected);
        assert_eq!(object["figures"]["calls_carried"]["ratio"], 303.0 / 300.0);
        let text = lines(&object).join("\n");
        for shown in [
            "10000 questions a second: 20 calls, 3 turns",
            "1.000   0.500 to 1.500",
            "calls a core carries",
        ] {
            assert!(text.contains(shown), "{shown} in {text}");
        }
    }

    #[test]
    fn figures_with_a_starved_run_among_them_are_void_and_called_so() {
        let mut questioned = questioned();
        questioned.carried.clear();
        questioned.runs[1][0] = None;
        let object = questioned.object();
        assert!(object.get("figures").is_none() && object["starved_figures"].is_object());
        let text = lines(&object).join("\n");
        assert!(text.contains("VOID") && !text.contains("carries"), "{text}");
    }
}
