//! What two linecard programs under the same load were found to be beside each other: the object, the
//! lines and the page.
//!
//! ```text
//!  { starved, starved_runs, left_out, date, machine, …, programs: { other, this },
//!    narrowband, fullband, relay: { browser, payload, calls, turns,
//!        figures: { cpu_ms_per_call_second, …: { other, this, ratio, ratio_by_turn } } } }
//! ```
//!
//! Resident bytes a call are those of another run beside each turn, without 2 MiB pages, of which a process
//! of this size has but twenty: its size would tell how full the last one is.
//!
//! `other` and `this` are medians of all turns, `ratio` is this by the other. When a run was starved,
//! `figures` is called `starved_figures`: it is no result.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::plot::{Plot, Scale, Series, escape};
use super::results::Circumstances;
use super::{STYLE, Subject, cell, plots_of, rows_table};
use crate::ends::material::BrowserKind;
use crate::measure::capacity::believed;
use crate::measure::percentiles::median;
use crate::measure::run::Run;

/// Whose figures come first and second in every pair here.
pub const NAMES: [&str; 2] = ["other", "this"];

/// Of one run.
type Figure = fn(&Run) -> Option<f64>;

/// By field: what it is, and where a run has it.
const FIGURES: [(&str, &str, Figure); 6] = [
    ("calls_per_core", "calls a core at this cost", |run| run.calls_at_this_cost),
    ("cpu_ms_per_call_second", "CPU, ms per call-second", |run| run.cpu_ms_per_call_second),
    ("added_ms_p50", "added delay, ms, p50", |run| run.added_ms().p50),
    ("added_ms_p99", "added delay, ms, p99", |run| run.added_ms().p99),
    ("resident_bytes_per_call", "resident bytes a call", |run| {
        run.resident_bytes_per_call.map(|bytes| bytes as f64)
    }),
    ("loss_percent", "lost, %, worse direction", |run| Some(run.loss_percent())),
];

/// Both programs with one kind of browser.
pub struct Turns {
    /// What the browsers sent...
    pub browser: BrowserKind,
    /// ...in bits and modes.
    pub payload: String,
    /// The load of every turn.
    pub calls: u16,
    /// The other's and this one's, one a turn.
    pub runs: [Vec<Run>; 2],
}

impl Turns {
    fn field(&self) -> &'static str {
        match self.browser {
            BrowserKind::Narrowband => "narrowband",
            BrowserKind::Fullband => "fullband",
            BrowserKind::Pcmu => "relay",
        }
    }

    fn is_void(&self) -> bool {
        self.runs.iter().flatten().any(|run| !believed(run))
    }

    fn figure(&self, of: Figure) -> Value {
        let [other, this] = [0, 1].map(|at| median(self.runs[at].iter().filter_map(of).collect()));
        let by_turn = self.runs[0].iter().zip(&self.runs[1]);
        let by_turn = by_turn.map(|(other, this)| ratio(of(other), of(this)));
        json!({
            "other": other,
            "this": this,
            "ratio": ratio(other, this),
            "ratio_by_turn": by_turn.collect::<Vec<_>>(),
        })
    }

    fn object(&self) -> Value {
        let figures: Map<String, Value> =
            FIGURES.iter().map(|(field, _, of)| ((*field).to_owned(), self.figure(*of))).collect();
        let mut object = json!({
            "browser": self.browser,
            "payload": self.payload,
            "calls": self.calls,
            "turns": self.runs[0].len().min(self.runs[1].len()),
        });
        let name = if self.is_void() { "starved_figures" } else { "figures" };
        object[name] = figures.into();
        object
    }
}

/// This by the other; none by nothing.
fn ratio(other: Option<f64>, this: Option<f64>) -> Option<f64> {
    other.zip(this).filter(|(other, _)| *other > 0.0).map(|(other, this)| this / other)
}

/// Everything that was found.
#[derive(Default)]
pub struct Findings {
    /// Path, size and digest of both.
    pub programs: [Value; 2],
    /// By kind of browser.
    pub kinds: Vec<Turns>,
    /// Runs that stayed starved, and why.
    pub starved: Vec<String>,
    /// What there was no time for.
    pub left_out: Vec<String>,
}

impl Findings {
    /// Whether any of it is no result.
    pub fn is_void(&self) -> bool {
        !self.starved.is_empty()
    }

    /// The object.
    pub fn object(&self, around: &Circumstances) -> Value {
        let programs = NAMES.iter().enumerate().map(|(at, name)| {
            let mut program = self.programs[at].clone();
            let run = self.kinds.iter().find_map(|turns| turns.runs[at].first());
            if let Some(run) = run {
                program["settings"] = run.settings.clone().into();
            }
            ((*name).to_owned(), program)
        });
        let mut object = json!({
            "starved": self.is_void(),
            "starved_runs": self.starved,
            "left_out": self.left_out,
            "date": around.date,
            "machine": around.machine,
            "cores": around.cores,
            "priority": around.priority,
            "delivery": around.delivery,
            "programs": programs.collect::<Map<_, _>>(),
        });
        for turns in &self.kinds {
            object[turns.field()] = turns.object();
        }
        object
    }
}

/// A table of one kind of browser: its title and its rows.
fn tables(object: &Value) -> Vec<(String, Vec<Vec<String>>)> {
    let kinds = ["narrowband", "fullband", "relay"].into_iter();
    kinds.filter_map(|kind| object.get(kind).map(|kind| (title(kind), rows(kind)))).collect()
}

fn title(kind: &Value) -> String {
    let text = |field: &str| kind[field].as_str().unwrap_or_default().to_owned();
    let void = if kind.get("figures").is_some() { "" } else { "; VOID: a run was starved" };
    let (calls, turns) = (&kind["calls"], &kind["turns"]);
    format!("{} ({}): {calls} calls, {turns} turns{void}", text("browser"), text("payload"))
}

fn rows(kind: &Value) -> Vec<Vec<String>> {
    let figures = kind.get("figures").unwrap_or(&kind["starved_figures"]);
    let row = |(field, name, _): &(&str, &str, Figure)| {
        let figure = &figures[field];
        let ratios = figure["ratio_by_turn"].as_array().into_iter().flatten();
        let ratios: Vec<f64> = ratios.filter_map(Value::as_f64).collect();
        let (least, most) = ratios.iter().fold((f64::MAX, 0.0_f64), |(least, most), ratio| {
            (least.min(*ratio), most.max(*ratio))
        });
        let spread =
            if ratios.is_empty() { "-".to_owned() } else { format!("{least:.3} to {most:.3}") };
        vec![
            (*name).to_owned(),
            cell(&figure["other"]),
            cell(&figure["this"]),
            figure["ratio"].as_f64().map_or("-".to_owned(), |ratio| format!("{ratio:.3}")),
            spread,
        ]
    };
    FIGURES.iter().map(row).collect()
}

const HEADS: [&str; 5] = ["", "other", "this", "ratio", "ratio by turn"];

/// The tables as text.
pub fn lines(object: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!("machine  {}", text(&object["machine"]))];
    for name in NAMES {
        let program = &object["programs"][name];
        let digest = text(&program["sha256"]).chars().take(12).collect::<String>();
        lines.push(format!("{name:<8} {}, SHA-256 {digest}…", text(&program["path"])));
    }
    for (title, rows) in tables(object) {
        lines.push(title);
        for row in std::iter::once(HEADS.map(str::to_owned).to_vec()).chain(rows) {
            let [name, other, this, ratio, spread] = &row[..] else { continue };
            lines.push(format!("  {name:<30}{other:>13}{this:>13}{ratio:>10}   {spread}"));
        }
    }
    for (heading, field) in [("left out", "left_out"), ("STARVED", "starved_runs")] {
        let said = object[field].as_array().into_iter().flatten();
        lines.extend(said.map(|line| format!("{heading}: {}", text(line))));
    }
    lines
}

/// The page.
pub fn render(object: &Value, findings: &Findings) -> String {
    let text = |value: &Value| escape(value.as_str().unwrap_or_default());
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Two linecards</title>\
         <style>{STYLE}</style><h1>Two linecards beside each other</h1><p>{}; {}.</p>\
         <p>Both run one media thread on the same core, in turns, under the same calls; medians of all \
         turns. A ratio is this by the other.</p>",
        text(&object["machine"]),
        text(&object["date"]),
    );
    for why in &findings.starved {
        let _ =
            write!(out, "<p class=\"starved\">Starved, and therefore void: {}</p>", escape(why));
    }
    for left in &findings.left_out {
        let _ = write!(out, "<p>Left out: {}</p>", escape(left));
    }
    for ((title, rows), turns) in tables(object).iter().zip(&findings.kinds) {
        let _ = write!(out, "<h2>{}</h2>{}", escape(title), rows_table(&HEADS, rows));
        let subjects = [0, 1].map(|at| Subject {
            name: NAMES[at].to_owned(),
            curve: &[],
            run: turns.runs[at].last(),
        });
        let _ = write!(out, "<div class=\"plots\">{}</div>{}", by_turn(turns), plots_of(&subjects));
    }
    let programs = escape(&format!("{:#}", object["programs"]));
    let _ = writeln!(out, "<h2>Programs</h2><pre>{programs}</pre></html>");
    out
}

/// Cost and delay in each turn.
fn by_turn(turns: &Turns) -> String {
    let series = |of: Figure| {
        let one = |at: usize| Series {
            name: NAMES[at].to_owned(),
            points: (1..)
                .zip(&turns.runs[at])
                .filter_map(|(turn, run)| Some((f64::from(turn), of(run)?)))
                .collect(),
        };
        vec![one(0), one(1)]
    };
    let plot = |title, y_label, of| {
        Plot { title, x_label: "turn", y_label, y_scale: Scale::Linear, series: series(of) }.svg()
    };
    plot("Cost in each turn", "CPU, ms per call-second", |run| run.cpu_ms_per_call_second)
        + &plot("Delay in each turn", "added delay, p99, ms", |run| run.added_ms().p99)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::run::tests::run;

    fn findings(this_ms: [f64; 3], starved: Option<&str>) -> Findings {
        let costing = |ms: f64| Run {
            cpu_ms_per_call_second: Some(ms),
            calls_at_this_cost: Some(1_000.0 / ms),
            resident_bytes_per_call: None,
            ..run()
        };
        let other = [2.0, 4.0, 2.0].map(costing).to_vec();
        let mut this = this_ms.map(costing).to_vec();
        this[0].starved = starved.map(str::to_owned);
        let turns = Turns {
            browser: BrowserKind::Pcmu,
            payload: "64 <kb/s>".to_owned(),
            calls: 20,
            runs: [other, this],
        };
        Findings {
            programs: [json!({"path": "/old/linecard", "sha256": "0123456789abcdef"}), json!({})],
            kinds: vec![turns],
            starved: starved.map(str::to_owned).into_iter().collect(),
            ..Findings::default()
        }
    }

    #[test]
    fn a_ratio_is_of_medians_and_every_turn_has_its_own() {
        let findings = findings([1.0, 1.0, 3.0], None);
        let object = findings.object(&Circumstances::made_up());
        let figure = &object["relay"]["figures"]["cpu_ms_per_call_second"];
        let expected =
            json!({"other": 2.0, "this": 1.0, "ratio": 0.5, "ratio_by_turn": [0.5, 0.25, 1.5]});
        assert_eq!(*figure, expected);
        assert_eq!(object["relay"]["figures"]["calls_per_core"]["ratio"], 2.0);
        assert_eq!((&object["relay"]["turns"], &object["starved"]), (&json!(3), &json!(false)));
        assert!(object.get("narrowband").is_none(), "it was not measured");
        let memory = &object["relay"]["figures"]["resident_bytes_per_call"];
        assert_eq!(memory["ratio"], Value::Null, "nothing by nothing");
        let text = lines(&object).join("\n");
        for shown in
            ["/old/linecard", "0123456789ab…", "0.500   0.250 to 1.500", "20 calls, 3 turns"]
        {
            assert!(text.contains(shown), "{shown} in {text}");
        }
    }

    #[test]
    fn figures_with_a_starved_run_among_them_are_void_and_called_so() {
        let findings = findings([1.0; 3], Some("this, 20 calls: late"));
        let object = findings.object(&Circumstances::made_up());
        assert_eq!(object["starved"], true);
        assert!(object["relay"].get("figures").is_none());
        assert!(object["relay"]["starved_figures"].is_object());
        let page = render(&object, &findings);
        for shown in ["VOID", "this, 20 calls: late", "64 &lt;kb/s&gt;", "Cost in each turn"] {
            assert!(page.contains(shown), "{shown} in {page}");
        }
        assert!(lines(&object).join("\n").contains("STARVED: this, 20 calls: late"));
    }
}
