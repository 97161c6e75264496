//! What a comparison found out, and the one object that programs read it from.
//!
//! ```text
//!  { starved, machine, versions, …,
//!    linecard, peer:  { settings, figures with narrowband, fullband: {…}, relay: {…} }
//!    codec_only:      { settings, cpu_ms_per_call_second, share_percent, fullband: {…} }
//!    sockets_only:    { the same of a bare forwarder, with relay: {…} }
//!    stall, overload: { title, linecard: run, peer: run }
//!    loss:            [ the same for each rate ]
//!    rungs:           [ our engine and the codecs alone on each rung ]
//!    sockets:         [ a bare forwarder with each way of receiving ]
//!    queries:         { ours without and with questions of observers, see queries.rs } }
//! ```
//!
//! What was not measured is not there; a run that was starved is null.

use linecard::audio::ladder::Rung;
use linecard::audio::opus;
use linecard::signal::records::WallTime;
use serde_json::{Map, Value, json};

use crate::baseline::forward::{Layout, Strategy};
use crate::ends::material::BrowserKind;
use crate::machine::{self, Cores, Delivery, Priority, Tuned};
use crate::measure::capacity::{Capacity, USUAL_LOAD};
use crate::measure::percentiles::median;
use crate::measure::run::Run;
use crate::measure::search::Bounds;
use crate::page::queries::Questioned;

/// What our engine begins a call with when the browser offers RED, as Chromium does. Fixed here, so
/// that the engine and the bare codec loop do the same.
pub const RUNG: Rung = Rung::CeltRed;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Our media process.
    Linecard,
    /// rtpengine.
    Peer,
}

impl Who {
    /// In the order of every pair here.
    pub const BOTH: [Who; 2] = [Who::Linecard, Who::Peer];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Who::Linecard => "linecard",
            Who::Peer => "rtpengine",
        }
    }

    /// Its field in the object.
    fn field(self) -> &'static str {
        match self {
            Who::Linecard => "linecard",
            Who::Peer => "peer",
        }
    }
}

/// What was found out about one engine with one kind of browser.
#[derive(Debug, Default)]
pub struct Figures {
    /// What was searched for.
    pub capacity: Capacity,
    /// At four fifths of that, one run a round.
    pub at_usual_load: Vec<Run>,
}

impl Figures {
    fn median(&self, of: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        median(self.at_usual_load.iter().filter_map(of).collect())
    }

    /// Of the runs at the usual load.
    pub fn cpu_ms_per_call_second(&self) -> Option<f64> {
        self.median(|run| run.cpu_ms_per_call_second)
    }

    fn object(&self) -> Value {
        json!({
            "settings": self.at_usual_load.first().map(|run| run.settings.clone()),
            "calls_per_core": self.capacity.calls,
            "calls_measured": self.at_usual_load.first().map(|run| run.calls),
            "cpu_ms_per_call_second": self.cpu_ms_per_call_second(),
            "loss_percent": self.median(|run| Some(run.loss_percent())),
            "added_ms_p50": self.median(|run| run.added_ms().p50),
            "added_ms_p99": self.median(|run| run.added_ms().p99),
            "packets_in_per_second": self.median(|run| Some(run.packets_in_per_second)),
            // Since before the first call: with what all calls share and use for the first time.
            "resident_bytes_per_call": self
                .median(|run| run.resident_bytes_per_call.map(|bytes| bytes as f64)),
            "capacity_curve": self.capacity.curve,
        })
    }
}

/// Both engines with one kind of browser, and the codecs alone.
pub struct Comparison {
    /// What the browsers sent...
    pub browser: BrowserKind,
    /// ...in bits and modes.
    pub payload: String,
    /// Ours, the peer's.
    pub figures: [Figures; 2],
    /// CPU milliseconds of the bare codec loop for a call-second, one a round.
    pub codec_ms: Vec<f64>,
    /// As many calls, passed on by a bare forwarder, one run a round.
    pub forwarded: Vec<Run>,
}

impl Comparison {
    /// The codecs alone; `None` where there are none.
    fn codec_only(&self) -> Option<Value> {
        let settings = codec_settings(Some(RUNG), self.browser, &self.payload);
        self.alone(settings, &self.codec_ms)
    }

    /// The sockets alone.
    fn sockets_only(&self) -> Option<Value> {
        let costs = self.forwarded.iter().filter_map(|run| run.cpu_ms_per_call_second).collect();
        self.alone(self.forwarded.first()?.settings.clone().into(), &costs)
    }

    /// A part of the work by itself.
    fn alone(&self, settings: Value, rounds_ms: &Vec<f64>) -> Option<Value> {
        let cost_ms = median(rounds_ms.clone())?;
        let ours_ms = self.figures[0].cpu_ms_per_call_second();
        Some(json!({
            "settings": settings,
            "cpu_ms_per_call_second": cost_ms,
            "calls_per_core": (1_000.0 / cost_ms).floor(),
            "share_percent": ours_ms.map(|ours_ms| 100.0 * cost_ms / ours_ms),
            "rounds": rounds_ms,
        }))
    }
}

/// Both engines under the same circumstances, once each.
pub struct Pair {
    /// What the circumstances were.
    pub title: String,
    /// Ours, the peer's; absent when starved.
    pub runs: [Option<Run>; 2],
}

impl Pair {
    /// Who, and how it went.
    pub fn by_name(&self) -> impl Iterator<Item = (Who, Option<&Run>)> {
        Who::BOTH.into_iter().zip(self.runs.iter().map(Option::as_ref))
    }

    fn object(&self) -> Value {
        let mut object = Map::from_iter([("title".to_owned(), json!(self.title))]);
        for (who, run) in self.by_name() {
            object.insert(who.field().to_owned(), run.map_or(Value::Null, Run::without_plots));
        }
        object.into()
    }
}

/// Our engine on one rung.
pub struct RungFigures {
    /// Which.
    pub rung: Rung,
    /// At so many calls.
    pub calls: u16,
    /// The media process; absent when starved.
    pub run: Option<Run>,
    /// CPU milliseconds per call-second of the codecs alone.
    pub codec_only_ms: f64,
}

impl RungFigures {
    fn object(&self) -> Value {
        let run = self.run.as_ref();
        let ours_ms = run.and_then(|run| run.cpu_ms_per_call_second);
        json!({
            "rung": self.rung.name(),
            "encoder_settings": self.rung.settings(),
            "calls": self.calls,
            "linecard_ms": ours_ms,
            "codec_only_ms": self.codec_only_ms,
            "share_percent": ours_ms.map(|ours_ms| 100.0 * self.codec_only_ms / ours_ms),
            "loss_percent": run.map(Run::loss_percent),
            "added_ms_p50": run.and_then(|run| run.added_ms().p50),
            "added_ms_p99": run.and_then(|run| run.added_ms().p99),
        })
    }
}

/// The bare forwarder with one way of receiving.
pub struct SocketFigures {
    /// How it receives.
    pub strategy: Strategy,
    /// On which sockets.
    pub layout: Layout,
    /// The run; absent when starved.
    pub run: Option<Run>,
}

impl SocketFigures {
    fn object(&self) -> Value {
        let run = self.run.as_ref();
        json!({
            "receives": self.strategy,
            "trunk_sockets": self.layout,
            "calls": run.map(|run| run.calls),
            "cpu_ms_per_call_second": run.and_then(|run| run.cpu_ms_per_call_second),
            "loss_percent": run.map(Run::loss_percent),
            "added_ms_p50": run.and_then(|run| run.added_ms().p50),
            "added_ms_p99": run.and_then(|run| run.added_ms().p99),
        })
    }
}

/// Everything that was measured.
#[derive(Default)]
pub struct Results {
    /// By kind of browser.
    pub comparisons: Vec<Comparison>,
    /// After a stall of the sender.
    pub stall: Option<Pair>,
    /// Under loss.
    pub loss: Vec<Pair>,
    /// Offered half as much again as each carries.
    pub overload: Option<Pair>,
    /// Ours on each rung.
    pub rungs: Vec<RungFigures>,
    /// Ways of receiving.
    pub sockets: Vec<SocketFigures>,
    /// What observers cost.
    pub queries: Option<Questioned>,
    /// What could not be measured because the harness was starved.
    pub starved: Vec<String>,
    /// What was left out.
    pub left_out: Vec<String>,
}

/// Where and when it was measured.
pub struct Circumstances {
    /// CPU, cores and kernel.
    pub machine: String,
    /// When it ended.
    pub date: WallTime,
    /// Which core did what.
    pub cores: Cores,
    /// Of engines and generator.
    pub priority: Priority,
    /// Over the loopback device.
    pub delivery: Delivery,
}

impl Circumstances {
    /// Of what was measured here, and ended then.
    pub fn of(date: WallTime, cores: Cores, tuned: &Tuned) -> Self {
        let (priority, delivery) = (tuned.priority, tuned.delivery);
        Self { machine: machine::description(), date, cores, priority, delivery }
    }

    /// Of a test.
    #[cfg(test)]
    pub fn made_up() -> Self {
        Self {
            machine: "a machine".to_owned(),
            date: WallTime::of(
                &linecard::base::clock::WallAnchor::now(),
                std::time::Instant::now(),
            ),
            cores: Cores { engine: 1, generator: 0 },
            priority: Priority::Fifo,
            delivery: Delivery::Sender,
        }
    }
}

impl Results {
    /// The capacity that was found with this kind of browser.
    pub fn capacity(&self, browser: BrowserKind, who: Who) -> Option<u16> {
        let known = self.comparisons.iter().find(|comparison| comparison.browser == browser);
        known?.figures[who as usize].capacity.calls
    }

    /// The object.
    pub fn object(&self, around: &Circumstances) -> Value {
        let [linecard, peer] = Who::BOTH.map(|who| self.engine(who));
        let versions = json!({
            "linecard": env!("CARGO_PKG_VERSION"),
            "linecard_codec": opus::version(),
            "peer": peer.get("settings").map(|settings| &settings["version"]),
            "peer_codec": peer.get("settings").map(|settings| &settings["codec_library"]),
        });
        let mut object = json!({
            "starved": !self.starved.is_empty(),
            "starved_runs": self.starved,
            "left_out": self.left_out,
            "date": around.date,
            "machine": around.machine,
            "versions": versions,
            "cores": around.cores,
            "priority": around.priority,
            "delivery": around.delivery,
            "bounds": Bounds::DEFAULT,
            "usual_load": USUAL_LOAD,
            "linecard": linecard,
            "codec_only": self.codec_only(),
            "sockets_only": self.sockets_only(),
            "peer": peer,
        });
        for (field, pair) in [("stall", &self.stall), ("overload", &self.overload)] {
            if let Some(pair) = pair {
                object[field] = pair.object();
            }
        }
        if let Some(queries) = &self.queries {
            object["queries"] = queries.object();
        }
        if !self.loss.is_empty() {
            object["loss"] = self.loss.iter().map(Pair::object).collect();
        }
        if !self.rungs.is_empty() {
            object["rungs"] = self.rungs.iter().map(RungFigures::object).collect();
        }
        if !self.sockets.is_empty() {
            object["sockets"] = self.sockets.iter().map(SocketFigures::object).collect();
        }
        object
    }

    fn engine(&self, who: Who) -> Map<String, Value> {
        let mut engine = Map::new();
        for Comparison { browser, figures, .. } in &self.comparisons {
            place(&mut engine, *browser, figures[who as usize].object());
        }
        // Parts that show no cost have an engine with settings, too.
        if engine.get("settings").is_none_or(Value::is_null)
            && let Some(run) = self.runs(who).next()
        {
            engine.insert("settings".to_owned(), run.settings.clone().into());
        }
        engine
    }

    fn codec_only(&self) -> Map<String, Value> {
        let mut codecs = Map::new();
        for comparison in &self.comparisons {
            if let Some(object) = comparison.codec_only() {
                place(&mut codecs, comparison.browser, object);
            }
        }
        if !codecs.contains_key("settings") && !self.rungs.is_empty() {
            let settings = codec_settings(None, BrowserKind::Narrowband, "");
            codecs.insert("settings".to_owned(), settings);
        }
        codecs
    }

    fn sockets_only(&self) -> Map<String, Value> {
        let mut sockets = Map::new();
        for comparison in &self.comparisons {
            if let Some(object) = comparison.sockets_only() {
                place(&mut sockets, comparison.browser, object);
            }
        }
        sockets
    }

    /// Every run of an engine.
    fn runs(&self, who: Who) -> impl Iterator<Item = &Run> {
        let compared = self.comparisons.iter();
        let compared = compared.flat_map(move |known| &known.figures[who as usize].at_usual_load);
        let pairs = self.stall.iter().chain(&self.loss).chain(&self.overload);
        let rungs = self.rungs.iter().filter(move |_| who == Who::Linecard);
        let questioned = self.queries.iter().filter(move |_| who == Who::Linecard);
        let questioned = questioned.flat_map(|queries| queries.runs.iter().flatten());
        compared
            .chain(pairs.filter_map(move |pair| pair.runs[who as usize].as_ref()))
            .chain(rungs.filter_map(|rung| rung.run.as_ref()))
            .chain(questioned.filter_map(Option::as_ref))
    }
}

/// Narrowband is what the flat fields are about; the others have a field of their own.
fn place(whole: &mut Map<String, Value>, browser: BrowserKind, part: Value) {
    let name = match browser {
        BrowserKind::Narrowband => {
            if let Value::Object(part) = part {
                whole.extend(part);
            }
            return;
        }
        BrowserKind::Fullband => "fullband",
        BrowserKind::Pcmu => "relay",
    };
    whole.insert(name.to_owned(), part);
}

/// `rung`: the one that it ran on, where that was one.
fn codec_settings(rung: Option<Rung>, browser: BrowserKind, payload: &str) -> Value {
    let mut settings = json!({
        "library": opus::version(),
        "encoder": rung.map_or("each rung's own", Rung::name),
        "browser_sends": format!("{} {payload}", browser.title()).trim_end(),
        "order": "round robin over as many states as calls, another place in the speech for each",
        "beside": "the generator on the other core, the same calls against itself",
    });
    if let Some(rung) = rung {
        settings["encoder_settings"] = json!(rung.settings());
    }
    settings
}

#[cfg(test)]
mod tests;
