//! A run as lines for people.

use crate::ends::impairment::OnPurpose;
use crate::engine::Counted;
use crate::measure::outcome::Queries;
use crate::measure::percentiles::{Percentiles, Refusals};
use crate::measure::run::{Direction, Run};

/// The lines.
pub fn text(run: &Run) -> String {
    let mut lines = cost(run);
    if let Some(Refusals { calls, reason, after_ms }) = &run.refused {
        let after = delays(*after_ms);
        lines.push(row("refused", &format!("{calls} ({reason}) after ms {after}")));
    }
    if !run.impairments.are_none() {
        lines.push(row("network", &format!("{:?}", run.impairments)));
    }
    lines.push(row("lost, %, worse direction", &format!("{:.3}", run.loss_percent())));
    lines.push(row("added ms, worse direction", &delays(run.added_ms())));
    for (name, direction) in
        ["browser to trunk", "trunk to browser"].into_iter().zip(run.directions())
    {
        lines.push(name.to_owned());
        lines.extend(direction_lines(direction));
    }
    if let Some(counted) = run.counted.as_ref().filter(|_| !run.impairments.are_none()) {
        lines.push("counted by the engine of what they sent, over the whole run".to_owned());
        for (name, counted) in ["browsers", "trunks"].into_iter().zip(counted) {
            lines.extend(counted_lines(name, counted));
        }
    }
    if let Some(Queries { asked_per_second, answered_per_second }) = run.queries {
        let asked = format!("{asked_per_second}, {answered_per_second:.0}");
        lines.push(row("questions asked and answered, 1/s", &asked));
    }
    let late = delays(run.generator_late_ms);
    lines.push(row("generator late, ms, p50 / p99 / p99.9 / max", &late));
    lines.push(row("generator's longest backlog", &run.generator_backlog_max.to_string()));
    lines.extend(run.remarks.iter().cloned());
    lines.extend(run.starved.iter().map(|why| format!("STARVED, no result: {why}")));
    lines.join("\n")
}

/// What the calls were, and what they cost.
fn cost(run: &Run) -> Vec<String> {
    let resident_mb = run.resident_bytes as f64 / 1e6;
    let kb_a_call = number(run.resident_bytes_per_call.map(|bytes| bytes as f64 / 1e3), 1);
    vec![
        row("browser sends", run.browser.title()),
        row("calls", &format!("{} for {:.1} s", run.calls, run.seconds)),
        row("CPU, ms per call-second", &number(run.cpu_ms_per_call_second, 3)),
        row("share of the core, %", &number(run.core_percent, 1)),
        row("calls a core at this cost", &number(run.calls_at_this_cost, 0)),
        row("packets/s toward the engine", &format!("{:.0}", run.packets_in_per_second)),
        row("resident, MB; KB a call", &format!("{resident_mb:.1}; {kb_a_call}")),
    ]
}

fn direction_lines(direction: &Direction) -> Vec<String> {
    let (duplicates, anomalies) = (direction.duplicates, direction.anomalies);
    let mut lines = vec![
        row("  lost, %", &format!("{:.3}", direction.loss_percent)),
        row("  added ms, p50 / p99 / p99.9 / max", &delays(direction.added_ms)),
        row(
            "  duplicates, reordered, jumps, slips",
            &list(&[
                duplicates,
                anomalies.reordered,
                anomalies.jumps_back,
                anomalies.timestamp_slips,
            ]),
        ),
    ];
    if let Some(percent) = direction.redundant_percent {
        lines.push(row("  as RED, with the packet before, %", &number(Some(percent), 0)));
    }
    if direction.lost_on_purpose > 0 {
        let (holes, lost) = (direction.holes, direction.lost_on_purpose);
        lines.push(row("  holes left of packets lost", &format!("{holes} of {lost}")));
    }
    if let Some(around) = &direction.around_stall {
        let [before, after] = [around.before_ms, around.after_ms].map(|ms| number(ms, 2));
        let name = format!("  added ms, before the stall and {:.0} s after", around.after_s);
        lines.push(row(&name, &format!("{before}, {after}")));
    }
    let OnPurpose { lost, held_back, duplicated } = direction.on_purpose;
    if lost + held_back + duplicated > 0 {
        let done = list(&[lost, held_back, duplicated]);
        lines.push(row("  done on purpose: lost, held back, twice", &done));
        lines.push(row("  held back until filled", &direction.overtaken.to_string()));
    }
    lines
}

fn counted_lines(name: &str, counted: &Counted) -> [String; 2] {
    let Counted { packets_lost, packets_reordered, late, duplicates, .. } = counted;
    let Counted { packets_recovered, frames_recovered, frames_concealed, .. } = counted;
    [
        row(
            &format!("  {name}: lost, reordered, late, twice"),
            &format!("{packets_lost}, {}", list(&[*packets_reordered, *late, *duplicates])),
        ),
        row(
            &format!("  {name}: from RED, from FEC, concealed"),
            &list(&[*packets_recovered, *frames_recovered, *frames_concealed]),
        ),
    ]
}

fn row(name: &str, value: &str) -> String {
    format!("{name:<46}{value}")
}

fn list(counts: &[u64]) -> String {
    counts.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

fn delays(delays: Percentiles) -> String {
    let Percentiles { p50, p99, p999, max } = delays;
    [p50, p99, p999, max].map(|value| number(value, 2)).join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::run::tests::run;

    #[test]
    fn every_figure_has_its_line_and_what_was_not_measured_a_dash() {
        let mut run = run();
        run.counted = Some([Counted::default(), Counted { late: 7, ..Counted::default() }]);
        run.impairments.loss_percent = 5.0;
        run.resident_bytes_per_call = None;
        run.queries = Some(Queries { asked_per_second: 100, answered_per_second: 99.4 });
        run.starved = Some("late".to_owned());
        let text = text(&run);
        let line = |name: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(name));
            line.unwrap_or_else(|| panic!("{name} in {text}")).to_owned()
        };
        assert!(line("calls ").ends_with("20 for 15.0 s"));
        assert!(line("resident").ends_with("30.0; -"));
        assert!(line("refused").contains("10 (overloaded) after ms 1.00 / 4.00 / - / 5.00"));
        assert!(line("holes left").ends_with("3 of 12"));
        assert!(line("duplicates, reordered").ends_with("0, 0, 0, 2"));
        assert!(line("trunks: lost").ends_with("0, 0, 7, 0"));
        assert!(line("questions").ends_with("100, 99"));
        assert!(line("STARVED").ends_with("late"));
    }
}
