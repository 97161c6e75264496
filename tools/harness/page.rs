//! The page of a comparison: one HTML file with its plots inside, and nothing to load.

use std::fmt::Write;

use serde_json::Value;

use crate::capacity::Step;
use crate::compare::{Comparison, Impaired, Results, RungFigures, Who};
use crate::plot::{Plot, Scale, Series, escape};
use crate::report::{Direction, Run};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;\
padding:0 1rem;color:#222}h1,h2{line-height:1.2}table{border-collapse:collapse;margin:1rem 0}\
td,th{padding:.25rem .8rem;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}.plots{display:flex;flex-wrap:wrap;gap:1rem}\
svg{width:35rem;max-width:100%;font-size:12px}.grid{stroke:#ddd}.title{font-weight:bold}\
.x{text-anchor:middle}.y{text-anchor:end}.starved{color:#b00;font-weight:bold}\
pre{white-space:pre-wrap;font-size:13px}";

/// Figures that are shown side by side: field and what it is.
const FIELDS: [(&str, &str); 7] = [
    ("calls_per_core", "calls a core, searched for"),
    ("calls_measured", "calls at which the rest was measured"),
    ("cpu_ms_per_call_second", "CPU, ms per call-second"),
    ("loss_percent", "lost, %, worse direction"),
    ("added_ms_p50", "added delay, ms, p50"),
    ("added_ms_p99", "added delay, ms, p99"),
    ("resident_bytes_per_call", "resident bytes a call"),
];
/// Sections of each engine's object.
const SECTIONS: [(&str, &str); 3] = [
    ("", "Opus narrowband from the browser, as asked for"),
    ("fullband", "Opus fullband from the browser, by default"),
    ("relay", "PCMU on both legs, SRTP to RTP, relayed"),
];
const ENGINES: [(&str, &str); 3] =
    [("linecard", "linecard"), ("codec_only", "codecs alone"), ("peer", "rtpengine")];

/// The page.
pub fn render(object: &Value, results: &Results) -> String {
    let text = |key: &str| escape(object[key].as_str().unwrap_or_default());
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>linecard beside \
         rtpengine</title><style>{STYLE}</style><h1>linecard beside rtpengine</h1>\
         <p>{}; engine on core {}, load on core {}; scheduling {}, loopback delivery by the {}; {}.</p>",
        text("machine"),
        object["cores"]["engine"],
        object["cores"]["generator"],
        text("priority"),
        text("delivery"),
        text("date"),
    );
    let bounds = &object["bounds"];
    let _ = write!(
        out,
        "<p>Two-legged calls, real speech, 50 packets a second each way at random phases; SRTP on the \
         browser's leg, RTP on the trunk's. Both engines run one media thread on the same core, in \
         turns. A run is carried when at most {} % are lost and one packet in a hundred is delayed by \
         more than {} ms. Delays are from the call that sends to the kernel's stamp of arrival; CPU \
         time is the scheduler's, of all threads of the engine. Everything below \"calls a core\" was \
         measured at {} of that.</p>",
        bounds["loss_percent"], bounds["added_ms_p99"], object["usual_load"],
    );
    for why in &results.starved {
        let why = escape(why);
        let _ = write!(out, "<p class=\"starved\">Starved, and therefore no result: {why}</p>");
    }
    for (section, title) in SECTIONS {
        if ENGINES.iter().any(|(engine, _)| !part(object, engine, section).is_null()) {
            let _ = write!(out, "<h2>{title}</h2>{}", table(object, section));
        }
        let name = if section.is_empty() { "narrowband" } else { section };
        let comparison = results.comparisons.iter().find(|comparison| {
            let kind = serde_json::to_value(comparison.browser).unwrap_or_default();
            kind == name || (kind == "pcmu" && name == "relay")
        });
        out.push_str(&comparison.map_or(String::new(), plots));
    }
    if let Some(stall) = &results.stall {
        let _ = write!(out, "<h2>After a stall: {}</h2>", escape(&stall.title));
        let _ = write!(out, "<div class=\"plots\">{}</div>", over_time(stall));
    }
    out.push_str(&loss_table(&results.loss));
    out.push_str(&rung_table(&results.rungs));
    out.push_str(&results.overload.as_ref().map_or(String::new(), overload));
    for line in &results.left_out {
        let _ = write!(out, "<p>Left out: {}</p>", escape(line));
    }
    let _ = write!(out, "<h2>Settings</h2>");
    for (engine, title) in ENGINES {
        let settings = format!("{:#}", part(object, engine, "")["settings"]);
        let _ = write!(out, "<h3>{title}</h3><pre>{}</pre>", escape(&settings));
    }
    out.push_str("</html>\n");
    out
}

/// The tables as text.
pub fn lines(object: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (section, title) in SECTIONS {
        if ENGINES.iter().all(|(engine, _)| part(object, engine, section).is_null()) {
            continue;
        }
        lines.push(format!("{title:<48}{:>14}{:>14}{:>14}", "linecard", "codecs", "rtpengine"));
        for (field, name) in FIELDS {
            let cells = ENGINES.map(|(engine, _)| cell(&part(object, engine, section)[field]));
            let [ours, codecs, peers] = cells;
            lines.push(format!("  {name:<46}{ours:>14}{codecs:>14}{peers:>14}"));
        }
    }
    for rung in object["rungs"].as_array().into_iter().flatten() {
        let name = rung["rung"].as_str().unwrap_or_default();
        let [ours, codecs] = ["linecard_ms", "codec_only_ms"].map(|field| cell(&rung[field]));
        let title = format!("{name}: CPU, ms per call-second");
        lines.push(format!("{title:<48}{ours:>14}{codecs:>14}"));
    }
    lines
}

fn part<'a>(object: &'a Value, engine: &str, section: &str) -> &'a Value {
    match section {
        "" if object[engine]["settings"].is_null() => &Value::Null,
        "" => &object[engine],
        section => &object[engine][section],
    }
}

fn cell(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(number) if number.fract() == 0.0 => format!("{number:.0}"),
        Some(number) => format!("{number:.3}"),
    }
}

fn table(object: &Value, section: &str) -> String {
    let heads = ENGINES.map(|(_, title)| format!("<th>{title}</th>")).concat();
    let mut out = format!("<table><tr><th></th>{heads}</tr>");
    for (field, name) in FIELDS {
        let cells = ENGINES
            .map(|(engine, _)| format!("<td>{}</td>", cell(&part(object, engine, section)[field])));
        let _ = write!(out, "<tr><td>{name}</td>{}</tr>", cells.concat());
    }
    out.push_str("</table>");
    out
}

const BOTH: [Who; 2] = [Who::Linecard, Who::Peer];

/// What a line of a plot is about.
struct Subject<'a> {
    name: String,
    curve: &'a [Step],
    run: Option<&'a Run>,
}

fn plots(comparison: &Comparison) -> String {
    let subjects = BOTH.into_iter().zip(&comparison.figures).map(|(who, figures)| Subject {
        name: who.name().to_owned(),
        curve: &figures.capacity.curve,
        run: figures.at_usual_load.last(),
    });
    plots_of(&subjects.collect::<Vec<_>>())
}

/// Capacity curve, distribution and delay over time.
fn plots_of(subjects: &[Subject<'_>]) -> String {
    let curves = |point: &dyn Fn(&Step) -> Option<(f64, f64)>| {
        let one = |subject: &Subject<'_>| Series {
            name: subject.name.clone(),
            points: subject.curve.iter().filter_map(point).collect(),
        };
        subjects.iter().map(one).collect::<Vec<_>>()
    };
    let loss = Plot {
        title: "Capacity: loss against calls",
        x_label: "calls",
        y_label: "lost, %",
        y_scale: Scale::Linear,
        series: curves(&|step| Some((f64::from(step.calls), step.loss_percent))),
    };
    let p99 = Plot {
        title: "Capacity: delay against calls",
        x_label: "calls",
        y_label: "added delay, p99, ms",
        y_scale: Scale::Logarithmic,
        series: curves(&|step| Some((f64::from(step.calls), step.added_ms_p99?))),
    };
    let distribution = Plot {
        title: "Delay: distribution",
        x_label: "share of packets, %",
        y_label: "added delay, ms",
        y_scale: Scale::Logarithmic,
        series: directions(subjects, |direction| {
            let quantiles = direction.added_ms_distribution.iter();
            quantiles.enumerate().map(|(percent, ms)| (percent as f64, *ms)).collect()
        }),
    };
    let time = Plot {
        title: "Delay over time: the longest of each tenth of a second",
        x_label: "seconds",
        y_label: "added delay, ms",
        y_scale: Scale::Logarithmic,
        series: directions(subjects, |direction| {
            let moments = direction.added_over_time.iter();
            moments.map(|moment| (moment.second, moment.max_ms)).collect()
        }),
    };
    let searched = subjects.iter().any(|subject| !subject.curve.is_empty());
    let curves = [loss, p99].into_iter().filter(|_| searched);
    let plots: Vec<_> = curves.chain([distribution, time]).map(|plot| plot.svg()).collect();
    format!("<div class=\"plots\">{}</div>", plots.concat())
}

/// A line for each direction of each subject.
fn directions(
    subjects: &[Subject<'_>],
    points: impl Fn(&Direction) -> Vec<(f64, f64)>,
) -> Vec<Series> {
    let mut series = Vec::new();
    for subject in subjects {
        for (place, name) in ["to the trunk", "to the browser"].into_iter().enumerate() {
            let points = subject.run.map_or(Vec::new(), |run| points(run.directions()[place]));
            series.push(Series { name: format!("{}, {name}", subject.name), points });
        }
    }
    series
}

/// The page of one engine under load: what was printed, and its plots.
pub fn single(text: &str, curve: &[Step], run: &Run) -> String {
    let name = run.settings.get("engine").and_then(Value::as_str).unwrap_or("engine").to_owned();
    let title = format!("{} under load", escape(&name));
    let starved = run.starved.as_deref().map_or(String::new(), |why| {
        format!("<p class=\"starved\">Starved, and therefore no result: {}</p>", escape(why))
    });
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style><h1>{title}</h1>{starved}<pre>{}</pre>{}</html>\n",
        escape(text),
        plots_of(&[Subject { name, curve, run: Some(run) }])
    )
}

fn over_time(impaired: &Impaired) -> String {
    let subjects = BOTH.into_iter().zip(&impaired.runs).map(|(who, run)| Subject {
        name: who.name().to_owned(),
        curve: &[],
        run: run.as_ref(),
    });
    let plot = Plot {
        title: "Delay over time, median of each tenth of a second",
        x_label: "seconds",
        y_label: "added delay, ms",
        y_scale: Scale::Linear,
        series: directions(&subjects.collect::<Vec<_>>(), |direction| {
            let moments = direction.added_over_time.iter();
            moments.map(|moment| (moment.second, moment.p50_ms)).collect()
        }),
    };
    plot.svg()
}

fn loss_table(runs: &[Impaired]) -> String {
    if runs.is_empty() {
        return String::new();
    }
    let mut out = "<h2>Under loss</h2><table><tr><th></th><th>engine</th><th>lost on purpose</th>\
        <th>holes left</th><th>timestamp slips</th><th>jumps back</th><th>added p99, ms</th></tr>"
        .to_owned();
    for impaired in runs {
        for (run, who) in impaired.runs.iter().zip(BOTH) {
            let Some(run) = run else { continue };
            for (direction, name) in run.directions().into_iter().zip(["trunk", "browser"]) {
                let _ = write!(
                    out,
                    "<tr><td>{}, toward the {name}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
                     <td>{}</td><td>{}</td></tr>",
                    escape(&impaired.title),
                    who.name(),
                    direction.lost_on_purpose,
                    direction.holes,
                    direction.anomalies.timestamp_slips,
                    direction.anomalies.jumps_back,
                    direction.added_ms.p99.map_or("-".to_owned(), |p99| format!("{p99:.1}")),
                );
            }
        }
    }
    out.push_str("</table>");
    out
}

fn rung_table(rungs: &[RungFigures]) -> String {
    if rungs.is_empty() {
        return String::new();
    }
    let mut out =
        "<h2>Rungs of the encoder ladder, CPU ms per call-second</h2><table><tr><th></th>\
        <th>calls</th><th>linecard</th><th>codecs alone</th><th>codecs' share, %</th></tr>"
            .to_owned();
    for RungFigures { rung, calls, linecard_ms, codec_only_ms } in rungs {
        let share = linecard_ms.map(|linecard_ms| 100.0 * codec_only_ms / linecard_ms);
        let _ = write!(
            out,
            "<tr><td>{rung}</td><td>{calls}</td><td>{}</td><td>{codec_only_ms:.3}</td><td>{}</td></tr>",
            linecard_ms.map_or("-".to_owned(), |ms| format!("{ms:.3}")),
            share.map_or("-".to_owned(), |share| format!("{share:.0}")),
        );
    }
    out.push_str("</table>");
    out
}

fn overload(run: &Run) -> String {
    format!("<h2>Offered half as much again as it carries</h2><pre>{}</pre>", escape(&run.text()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_shows_figures_side_by_side_and_says_what_was_starved() {
        let object = json!({
            "machine": "a <fast> one", "cores": {"engine": 1, "generator": 0}, "priority": "fifo",
            "delivery": "sender", "bounds": {"loss_percent": 0.1, "added_ms_p99": 50.0},
            "linecard": {"settings": {"version": "1"}, "calls_per_core": 321, "added_ms_p50": 0.25},
            "codec_only": {"settings": {}, "cpu_ms_per_call_second": 2.5},
            "peer": {"settings": {"version": "2"}, "calls_per_core": 30},
        });
        let starved = vec!["rtpengine, 40 calls: late".to_owned()];
        let results = Results { starved, ..Results::default() };
        let page = render(&object, &results);
        for shown in ["a &lt;fast&gt; one", "<td>321</td>", "<td>30</td>", "<td>0.250</td>", "late"]
        {
            assert!(page.contains(shown), "{shown} in {page}");
        }
        assert!(!page.contains("relayed</h2>"), "what was not measured has no table");
        assert!(lines(&object).iter().any(|line| line.contains("321")));
    }
}
