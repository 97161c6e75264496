//! The page of a comparison: one HTML file with its plots inside, and nothing to load.

pub mod against;
pub mod plot;
pub mod queries;
pub mod results;
pub mod text;

use std::fmt::Write;

use serde_json::Value;

use crate::measure::capacity::Step;
use crate::measure::run::{Direction, Run};
use crate::page::plot::{Plot, Scale, Series, escape};
use crate::page::results::{Comparison, Pair, Results, Who};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;\
padding:0 1rem;color:#222}h1,h2{line-height:1.2}table{border-collapse:collapse;margin:1rem 0}\
td,th{padding:.25rem .8rem;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}.plots{display:flex;flex-wrap:wrap;gap:1rem}\
svg{width:35rem;max-width:100%;font-size:12px}.grid{stroke:#ddd}.title{font-weight:bold}\
.x{text-anchor:middle}.y{text-anchor:end}.starved{color:#b00;font-weight:bold}\
pre{white-space:pre-wrap;font-size:13px}";

/// Figures that are shown side by side: field and what it is.
const FIELDS: [(&str, &str); 8] = [
    ("calls_per_core", "calls a core, searched for"),
    ("calls_measured", "calls at which the rest was measured"),
    ("cpu_ms_per_call_second", "CPU, ms per call-second"),
    ("share_percent", "share of our CPU time, %"),
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
const ENGINES: [(&str, &str); 4] = [
    ("linecard", "linecard"),
    ("codec_only", "codecs alone"),
    ("sockets_only", "sockets alone"),
    ("peer", "rtpengine"),
];

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
        if let Some(comparison) = comparison {
            let payload = escape(&comparison.payload);
            let _ = write!(out, "<p>The browser's payload: {payload}.</p>{}", plots(comparison));
        }
    }
    if let Some(stall) = &results.stall {
        let _ = write!(out, "<h2>After a stall: {}</h2>", escape(&stall.title));
        let _ =
            write!(out, "{}<div class=\"plots\">{}</div>", stall_table(stall), over_time(stall));
    }
    out.push_str(&loss_table(&results.loss));
    out.push_str(&rung_table(object));
    out.push_str(&socket_table(object));
    if let Some(queries) = object.get("queries") {
        let title = escape(&queries::title(queries));
        let table = rows_table(&queries::HEADS, &queries::rows(queries));
        let _ = write!(out, "<h2>{title}</h2>{table}");
    }
    out.push_str(&results.overload.as_ref().map_or(String::new(), overload));
    for line in &results.left_out {
        let _ = write!(out, "<p>Left out: {}</p>", escape(line));
    }
    let _ = write!(out, "<h2>Settings</h2>");
    for (engine, title) in ENGINES {
        let settings = &object[engine]["settings"];
        if !settings.is_null() {
            let settings = escape(&format!("{settings:#}"));
            let _ = write!(out, "<h3>{title}</h3><pre>{settings}</pre>");
        }
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
        let heads = ENGINES.map(|(_, title)| format!("{title:>15}")).concat();
        lines.push(format!("{title:<48}{heads}"));
        for (field, name) in FIELDS {
            let cells = ENGINES.map(|(engine, _)| cell(&part(object, engine, section)[field]));
            lines.push(format!("  {name:<46}{}", cells.map(|cell| format!("{cell:>15}")).concat()));
        }
    }
    for rung in list(object, "rungs") {
        let name = rung["rung"].as_str().unwrap_or_default();
        let [ours, codecs] = ["linecard_ms", "codec_only_ms"].map(|field| cell(&rung[field]));
        let title = format!("{name}: CPU, ms per call-second");
        lines.push(format!("{title:<48}{ours:>14}{codecs:>14}"));
    }
    lines.extend(object.get("queries").into_iter().flat_map(queries::lines));
    for sockets in list(object, "sockets") {
        let [strategy, layout, calls, ms] = SOCKETS.map(|(field, _)| cell(&sockets[field]));
        let title =
            format!("{strategy}, trunk sockets {layout}, {calls} calls: CPU, ms per call-second");
        lines.push(format!("{title:<77}{ms:>14}"));
    }
    for pair in list(object, "loss").chain(object.get("stall")).chain(object.get("overload")) {
        let title = pair["title"].as_str().unwrap_or_default();
        lines.push(format!("{title:<62}{:>14}{:>14}", "linecard", "rtpengine"));
        for (name, of) in ROWS {
            let [ours, peers] = ["linecard", "peer"].map(|engine| of(&pair[engine]));
            if [&ours, &peers].into_iter().any(|value| !value.is_null()) {
                let [ours, peers] = [ours, peers].map(|value| cell(&value));
                lines.push(format!("  {name:<60}{ours:>14}{peers:>14}"));
            }
        }
    }
    lines
}

/// A row about a run.
type Row = (&'static str, fn(&Value) -> Value);

/// What is printed of a run in which something happened.
const ROWS: [Row; 8] = [
    ("calls", |run| run["calls"].clone()),
    ("calls refused", |run| run["refused"]["calls"].clone()),
    ("the slowest refusal, ms", |run| run["refused"]["after_ms"]["max"].clone()),
    ("holes, both directions", |run| sum(run, |direction| &direction["holes"])),
    ("timestamp slips", |run| sum(run, |direction| &direction["timestamp_slips"])),
    ("lost by the engine, %, worse direction", |run| {
        worse(run, |direction| &direction["loss_percent"])
    }),
    ("added delay, ms, p99, worse direction", |run| {
        worse(run, |direction| &direction["added_ms"]["p99"])
    }),
    ("delay that the stall left behind, ms, worse direction", |run| {
        worse(run, |direction| &direction["around_stall"]["grew_ms"])
    }),
];

fn of_both<'a>(run: &'a Value, of: fn(&'a Value) -> &'a Value) -> [Option<f64>; 2] {
    [&run["browser_to_trunk"], &run["trunk_to_browser"]].map(|direction| of(direction).as_f64())
}

fn worse<'a>(run: &'a Value, of: fn(&'a Value) -> &'a Value) -> Value {
    of_both(run, of).into_iter().flatten().reduce(f64::max).into()
}

fn sum<'a>(run: &'a Value, of: fn(&'a Value) -> &'a Value) -> Value {
    of_both(run, of).into_iter().flatten().reduce(|one, other| one + other).into()
}

fn list<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object[field].as_array().into_iter().flatten()
}

fn part<'a>(object: &'a Value, engine: &str, section: &str) -> &'a Value {
    match section {
        // Settings alone are of an engine that no cost was measured of.
        "" if object[engine].get("cpu_ms_per_call_second").is_none() => &Value::Null,
        "" => &object[engine],
        section => &object[engine][section],
    }
}

fn cell(value: &Value) -> String {
    match (value.as_f64(), value.as_str()) {
        (Some(number), _) if number.fract() == 0.0 => format!("{number:.0}"),
        (Some(number), _) => format!("{number:.3}"),
        (None, Some(text)) => text.to_owned(),
        (None, None) => "-".to_owned(),
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

/// What a line of a plot is about.
struct Subject<'a> {
    name: String,
    curve: &'a [Step],
    run: Option<&'a Run>,
}

fn plots(comparison: &Comparison) -> String {
    let subjects = Who::BOTH.into_iter().zip(&comparison.figures).map(|(who, figures)| Subject {
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

fn over_time(pair: &Pair) -> String {
    let subjects = pair.by_name();
    let subjects =
        subjects.map(|(who, run)| Subject { name: who.name().to_owned(), curve: &[], run });
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

fn stall_table(stall: &Pair) -> String {
    let ms = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let mut rows = Vec::new();
    each_direction(stall, |title, direction| {
        let Some(around) = &direction.around_stall else { return };
        let [before, after] = [ms(around.before_ms), ms(around.after_ms)];
        let grew = ms(around.grew_ms);
        rows.push(vec![title, before, after, format!("{:.1}", around.after_s), grew]);
    });
    let heads = ["", "before, ms", "after, ms", "so many s after", "grew by, ms"];
    format!("<p>Medians of the added delay.</p>{}", rows_table(&heads, &rows))
}

fn loss_table(runs: &[Pair]) -> String {
    if runs.is_empty() {
        return String::new();
    }
    let heads =
        ["", "lost on purpose", "holes left", "timestamp slips", "jumps back", "added p99, ms"];
    let mut rows = Vec::new();
    for pair in runs {
        each_direction(pair, |title, direction| {
            let p99 = direction.added_ms.p99.map_or("-".to_owned(), |p99| format!("{p99:.1}"));
            let counts = [
                direction.lost_on_purpose,
                direction.holes,
                direction.anomalies.timestamp_slips,
                direction.anomalies.jumps_back,
            ];
            let title = format!("{}: {title}", pair.title);
            rows.push([vec![title], counts.map(|n| n.to_string()).to_vec(), vec![p99]].concat());
        });
    }
    format!("<h2>Under loss</h2>{}", rows_table(&heads, &rows))
}

/// Both directions of both engines, as far as they were measured.
fn each_direction(pair: &Pair, mut row: impl FnMut(String, &Direction)) {
    for (who, run) in pair.by_name() {
        let directions = run.map(Run::directions).into_iter().flatten();
        for (direction, name) in directions.zip(["trunk", "browser"]) {
            row(format!("{}, toward the {name}", who.name()), direction);
        }
    }
}

fn rows_table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let row = |cells: &[String], tag: &str| {
        let cells = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    let heads = row(&heads.iter().map(ToString::to_string).collect::<Vec<_>>(), "th");
    let rows: String = rows.iter().map(|cells| row(cells, "td")).collect();
    format!("<table>{heads}{rows}</table>")
}

fn rung_table(object: &Value) -> String {
    let fields = ["calls", "linecard_ms", "codec_only_ms", "share_percent", "added_ms_p99"];
    let rows = list(object, "rungs").map(|rung| {
        let name = rung["rung"].as_str().unwrap_or_default().to_owned();
        [vec![name], fields.map(|field| cell(&rung[field])).to_vec()].concat()
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let heads =
        ["", "calls", "linecard", "codecs alone", "codecs' share, %", "added delay, ms, p99"];
    let title = "Rungs of the encoder ladder, CPU ms per call-second";
    format!("<h2>{title}</h2>{}", rows_table(&heads, &rows))
}

/// What is shown of a bare forwarder.
const SOCKETS: [(&str, &str); 4] = [
    ("receives", "receives"),
    ("trunk_sockets", "sockets of the trunks"),
    ("calls", "calls"),
    ("cpu_ms_per_call_second", "CPU, ms per call-second"),
];

fn socket_table(object: &Value) -> String {
    let rows: Vec<_> = list(object, "sockets")
        .map(|sockets| SOCKETS.map(|(field, _)| cell(&sockets[field])).to_vec())
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let title = "Sockets alone: a bare forwarder with each way of receiving";
    format!("<h2>{title}</h2>{}", rows_table(&SOCKETS.map(|(_, head)| head), &rows))
}

fn overload(pair: &Pair) -> String {
    let texts = pair.by_name().filter_map(|(who, run)| {
        Some(format!("<h3>{}</h3><pre>{}</pre>", who.name(), escape(&text::text(run?))))
    });
    format!("<h2>Overload: {}</h2>{}", escape(&pair.title), texts.collect::<String>())
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
            "linecard": {"settings": {"version": "1"}, "calls_per_core": 321, "added_ms_p50": 0.25,
                         "cpu_ms_per_call_second": 2.9},
            "codec_only": {"settings": {}, "cpu_ms_per_call_second": 2.5},
            "peer": {"settings": {"version": "2"}, "calls_per_core": 30, "cpu_ms_per_call_second": 19.0},
            "sockets": [{"receives": "one-shot", "trunk_sockets": "each", "calls": 400,
                         "cpu_ms_per_call_second": 1.5}],
        });
        let starved = vec!["rtpengine, 40 calls: late".to_owned()];
        let results = Results { starved, ..Results::default() };
        let page = render(&object, &results);
        let sockets = "<td>one-shot</td><td>each</td><td>400</td><td>1.500</td>";
        for shown in
            ["a &lt;fast&gt; one", "<td>321</td>", "<td>30</td>", "<td>0.250</td>", "late", sockets]
        {
            assert!(page.contains(shown), "{shown} in {page}");
        }
        assert!(!page.contains("relayed</h2>"), "what was not measured has no table");
        assert!(lines(&object).iter().any(|line| line.contains("321")));
    }
}
