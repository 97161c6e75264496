//! `tools/compare`: our media process and Debian's rtpengine under the same load, on the same core, in
//! turns, in one run.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use linecard::audio::ladder::Rung;
use linecard::audio::opus;
use linecard::base::clock::WallAnchor;
use linecard::signal::records::WallTime;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::arguments::{CompareArguments, Part};
use crate::capacity::{self, Capacity, TRIES, USUAL_LOAD, overloaded};
use crate::codec_loop;
use crate::engine::Engine;
use crate::engine::linecard::{Admission, Linecard, LinecardSettings};
use crate::engine::loopback::Loopback;
use crate::engine::rtpengine::{Rtpengine, RtpengineSettings};
use crate::impairment::Impairments;
use crate::load::{cores, write_json, write_page};
use crate::machine::{self, Cores, Tuned};
use crate::material::{BrowserKind, Material};
use crate::page;
use crate::progress::Progress;
use crate::report::Run;
use crate::run::{Load, Surroundings, run};
use crate::search::{Bounds, Precision};

/// A light load that the engine surely carries: it gives the first guess, and the memory to compare
/// with.
fn probe_calls(who: Who) -> u16 {
    match who {
        Who::Linecard => 100,
        Who::Peer => 20,
    }
}
/// Of a load that says no number.
const CALLS: u16 = 20;
/// Enough that a packet seldom has the engine to itself.
const RUNG_PROBE_CALLS: u16 = 100;
/// What a core carries at full load is more than its cost at light load says.
fn guess_factor(browser: BrowserKind) -> f64 {
    if browser == BrowserKind::Pcmu { 2.5 } else { 1.4 }
}
/// What our engine begins a call with when the browser offers RED, as Chromium does. Fixed here, so
/// that the engine and the bare codec loop do the same.
const RUNG: Rung = Rung::CeltRed;
/// In the short version, parts that begin later than this are left out: it ends within five minutes.
const QUICK_SECONDS_MAX: u64 = 230;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Our media process.
    Linecard,
    /// rtpengine.
    Peer,
}

impl Who {
    const BOTH: [Who; 2] = [Who::Linecard, Who::Peer];

    /// In the report.
    pub fn name(self) -> &'static str {
        match self {
            Who::Linecard => "linecard",
            Who::Peer => "rtpengine",
        }
    }
}

/// What was found out about one engine with one kind of browser.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// What was searched for.
    pub capacity: Capacity,
    /// At four fifths of that, one run a round.
    pub at_usual_load: Vec<Run>,
    /// Resident bytes that each call added between the light load and this one.
    pub resident_bytes_per_call: Option<u64>,
}

impl Figures {
    fn median(&self, of: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        median(self.at_usual_load.iter().filter_map(of).collect())
    }

    /// Of the runs at the usual load.
    pub fn cpu_ms_per_call_second(&self) -> Option<f64> {
        self.median(|run| run.cpu_ms_per_call_second)
    }

    /// The flat object that programs read.
    fn summary(&self) -> Map<String, Value> {
        let settings = self.at_usual_load.first().map(|run| run.settings.clone());
        let summary = json!({
            "settings": settings,
            "calls_per_core": self.capacity.calls,
            "calls_measured": self.at_usual_load.first().map(|run| run.calls),
            "cpu_ms_per_call_second": self.cpu_ms_per_call_second(),
            "loss_percent": self.median(|run| Some(run.loss_percent())),
            "added_ms_p50": self.median(|run| run.added_ms().p50),
            "added_ms_p99": self.median(|run| run.added_ms().p99),
            "packets_in_per_second": self.median(|run| Some(run.packets_in_per_second)),
            "resident_bytes_per_call": self.resident_bytes_per_call,
            "capacity_curve": self.capacity.curve,
        });
        match summary {
            Value::Object(summary) => summary,
            _ => Map::new(),
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len();
    let (low, high) = (values.get(count.checked_sub(1)? / 2)?, values.get(count / 2)?);
    Some((low + high) / 2.0)
}

/// Both engines with one kind of browser, and the codecs alone.
pub struct Comparison {
    /// What the browsers sent.
    pub browser: BrowserKind,
    /// Ours, the peer's.
    pub figures: [Figures; 2],
    /// CPU milliseconds of the bare codec loop for a call-second, one a round.
    pub codec_ms: Vec<f64>,
}

impl Comparison {
    /// The bare codec loop's cost.
    pub fn codec_only_ms(&self) -> Option<f64> {
        median(self.codec_ms.clone())
    }
}

/// A run under impairment.
pub struct Impaired {
    /// What was done.
    pub title: String,
    /// Ours, the peer's; absent when starved.
    pub runs: [Option<Run>; 2],
}

/// Our engine on one rung.
#[derive(Debug, Serialize)]
pub struct RungFigures {
    /// Its name.
    pub rung: &'static str,
    /// At so many calls.
    pub calls: u16,
    /// CPU milliseconds per call-second of the media process; absent when starved.
    pub linecard_ms: Option<f64>,
    /// The same of the codecs alone.
    pub codec_only_ms: f64,
}

/// Everything that was measured.
#[derive(Default)]
pub struct Results {
    /// By kind of browser.
    pub comparisons: Vec<Comparison>,
    /// After a stall of the sender.
    pub stall: Option<Impaired>,
    /// Under loss.
    pub loss: Vec<Impaired>,
    /// Ours, offered half as much again as it carries.
    pub overload: Option<Run>,
    /// Ours on each rung.
    pub rungs: Vec<RungFigures>,
    /// What could not be measured because the harness was starved.
    pub starved: Vec<String>,
    /// What was left out.
    pub left_out: Vec<String>,
}

/// Compares and writes page and JSON.
pub fn compare(arguments: &CompareArguments) -> Result<ExitCode, String> {
    if let Some(path) = &arguments.json {
        // Before an hour of measuring: a report that cannot be written is known now.
        write_json(path, &json!({}))?;
    }
    write_page(&arguments.page, "")?;
    let cores = cores(&arguments.machine)?;
    let tuned = Tuned::set(cores, arguments.machine.priority, arguments.machine.delivery)?;
    let mut laboratory = Laboratory {
        cores,
        tuned: &tuned,
        quick: arguments.quick,
        began: Instant::now(),
        progress: Progress::new(),
        results: Results::default(),
    };
    let all = if arguments.quick { Part::QUICK.as_slice() } else { Part::ALL.as_slice() };
    let parts = if arguments.part.is_empty() { all } else { arguments.part.as_slice() };
    for (place, part) in parts.iter().enumerate() {
        laboratory.progress.part = format!("[{} of {}] ", place + 1, parts.len());
        laboratory.part(*part)?;
    }
    laboratory.progress.clear();
    let object = laboratory.object();
    let results = &laboratory.results;
    write_page(&arguments.page, &page::render(&object, results))?;
    if let Some(path) = &arguments.json {
        write_json(path, &object)?;
    }
    print(&object, results);
    println!("page: {}", arguments.page.display());
    let starved = !results.starved.is_empty();
    Ok(if starved { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

struct Laboratory<'a> {
    cores: Cores,
    tuned: &'a Tuned,
    quick: bool,
    began: Instant,
    progress: Progress,
    results: Results,
}

impl Laboratory<'_> {
    fn part(&mut self, part: Part) -> Result<(), String> {
        let late = self.quick && self.began.elapsed().as_secs() > QUICK_SECONDS_MAX;
        if late {
            self.results.left_out.push(format!("{part:?}: no time in the short version"));
            return Ok(());
        }
        match part {
            Part::Narrowband => self.compare_kind(BrowserKind::Narrowband),
            Part::Fullband => self.compare_kind(BrowserKind::Fullband),
            Part::Relay => self.compare_kind(BrowserKind::Pcmu),
            Part::Stall => self.stall(),
            Part::Loss => self.loss(),
            Part::Overload => self.overload(),
            Part::Rungs => self.rungs(),
        }
    }

    /// A fresh engine for every run: what one run did to it is not the next one's.
    fn engine(&self, who: Who, rung: Rung, load: &Load) -> Result<Box<dyn Engine>, String> {
        let (core, priority) = (self.cores.engine, self.tuned.priority);
        Ok(match who {
            Who::Linecard => Box::new(Linecard::start(&LinecardSettings {
                control: None,
                core,
                priority,
                calls: load.calls,
                admission: load.admission,
                rung: Some(rung),
            })?),
            Who::Peer => {
                Box::new(Rtpengine::start(&RtpengineSettings { address: None, core, priority })?)
            }
        })
    }

    fn around(&self) -> Surroundings {
        Surroundings { cores: self.cores, priority: self.tuned.priority }
    }

    /// One run; repeated while the harness is starved. An engine that had its whole core and failed is
    /// believed at once.
    fn measure(
        &mut self,
        who: Who,
        load: &Load,
        material: &Material,
    ) -> Result<Option<Run>, String> {
        self.measure_on(RUNG, who, load, material)
    }

    fn measure_on(
        &mut self,
        rung: Rung,
        who: Who,
        load: &Load,
        material: &Material,
    ) -> Result<Option<Run>, String> {
        let mut why = String::new();
        for _ in 0..TRIES {
            let mut engine = self.engine(who, rung, load)?;
            let around = self.around();
            let (part, progress) = (self.progress.part.clone(), &mut self.progress);
            progress.part = format!("{part}{}: ", who.name());
            let measured = run(engine.as_mut(), load, material, around, progress);
            progress.part = part;
            let run = measured?;
            match &run.starved {
                Some(_) if overloaded(&run) => return Ok(Some(run)),
                Some(starved) => why.clone_from(starved),
                None => return Ok(Some(run)),
            }
        }
        let (name, calls) = (who.name(), load.calls);
        self.results.starved.push(format!("{name}, {calls} calls: {why}"));
        Ok(None)
    }

    fn compare_kind(&mut self, browser: BrowserKind) -> Result<(), String> {
        let material = Material::new(browser);
        let searched = browser == BrowserKind::Narrowband || !self.quick;
        let mut figures = [Figures::default(), Figures::default()];
        let mut probes = [None, None];
        for (at, who) in Who::BOTH.into_iter().enumerate() {
            let light_load = Load { calls: probe_calls(who), ..light(browser) };
            probes[at] = self.measure(who, &light_load, &material)?;
            let cost = probes[at].as_ref().and_then(|run| run.calls_at_this_cost);
            let guess = (cost.unwrap_or(100.0) * guess_factor(browser)) as u16;
            if searched {
                let (seconds, precision) =
                    if self.quick { (3, Precision::COARSE) } else { (6, Precision::FINE) };
                figures[at].capacity = capacity::find(guess, browser, precision, |calls| {
                    let measured = Duration::from_secs(seconds);
                    let load = Load { calls, measured, ..light(browser) };
                    self.measure(who, &load, &material)
                })?;
            }
        }
        let mut codec_ms = Vec::new();
        let (rounds, seconds) = match (self.quick, browser) {
            (true, BrowserKind::Narrowband) => (2, 6),
            (true, _) => (1, 6),
            (false, _) => (3, 15),
        };
        let calls = self.usual_calls(browser, &figures, &probes);
        for _ in 0..rounds {
            for (at, who) in Who::BOTH.into_iter().enumerate() {
                let load = Load { measured: Duration::from_secs(seconds), ..light(browser) };
                let load = Load { calls: calls[at], ..load };
                if let Some(run) = self.measure(who, &load, &material)? {
                    figures[at].at_usual_load.push(run);
                }
                if who == Who::Linecard && browser != BrowserKind::Pcmu {
                    codec_ms.push(self.codec_only(RUNG, calls[at], browser, &material)?);
                }
            }
        }
        for (figures, probe) in figures.iter_mut().zip(&probes) {
            figures.resident_bytes_per_call = growth(probe.as_ref(), figures.at_usual_load.last());
        }
        self.results.comparisons.push(Comparison { browser, figures, codec_ms });
        Ok(())
    }

    /// Four fifths of what each carries; where that was not searched for, as many as narrowband
    /// calls, or what the light load suggests.
    fn usual_calls(
        &self,
        browser: BrowserKind,
        figures: &[Figures; 2],
        probes: &[Option<Run>; 2],
    ) -> [u16; 2] {
        let mut calls = [CALLS; 2];
        for at in 0..2 {
            let searched = figures[at].capacity.calls;
            let narrowband = self.results.comparisons.first().filter(|_| {
                browser == BrowserKind::Fullband // dearer to decode by a fifth to a third
            });
            let known = narrowband.and_then(|known| known.figures[at].capacity.calls);
            let cost = probes[at].as_ref().and_then(|run| run.calls_at_this_cost).unwrap_or(20.0);
            let capacity = match (searched, known) {
                (Some(capacity), _) => f64::from(capacity),
                (None, Some(narrowband)) => f64::from(narrowband) * 0.75,
                // Beside others a call costs less.
                (None, None) => cost * guess_factor(browser) * USUAL_LOAD,
            };
            calls[at] = ((capacity * USUAL_LOAD) as u16).max(1);
        }
        calls
    }

    /// The bare codec loop on the engine's core; the other core carries the same calls against itself.
    fn codec_only(
        &mut self,
        rung: Rung,
        calls: u16,
        browser: BrowserKind,
        material: &Material,
    ) -> Result<f64, String> {
        let stop = AtomicBool::new(false);
        let (core, priority) = (self.cores.engine, self.tuned.priority);
        let seconds = if self.quick { 4 } else { 10 };
        let load = Load {
            calls,
            measured: Duration::from_secs(seconds),
            warm_up: Duration::ZERO,
            ..light(browser)
        };
        let (around, progress) = (self.around(), &mut self.progress);
        let part = progress.part.clone();
        progress.part = format!("{part}bare codec loop: ");
        let settings = rung.settings();
        let cost = std::thread::scope(|scope| {
            let codecs =
                scope.spawn(|| codec_loop::run(core, priority, calls, settings, material, &stop));
            let company = run(&mut Loopback, &load, material, around, progress);
            stop.store(true, Ordering::Relaxed);
            let cost = codecs.join().unwrap_or_else(|_| Err("the codec loop failed".to_owned()));
            company.and(cost)
        });
        self.progress.part = part;
        cost
    }

    fn impaired(
        &mut self,
        title: String,
        calls: u16,
        seconds: u64,
        impairments: Impairments,
    ) -> Result<Impaired, String> {
        let browser = BrowserKind::Narrowband;
        let material = Material::new(browser);
        let measured = Duration::from_secs(seconds);
        let load = Load { calls, measured, impairments, ..light(browser) };
        let mut runs = [None, None];
        for (at, who) in Who::BOTH.into_iter().enumerate() {
            runs[at] = self.measure(who, &load, &material)?;
        }
        Ok(Impaired { title, runs })
    }

    /// Twelve seconds after a stall are to be seen; the first two belong to what was before.
    fn stall(&mut self) -> Result<(), String> {
        let impairments = Impairments { stall_ms: 200, ..Impairments::default() };
        let title = "each sender stalls once for 200 ms".to_owned();
        self.results.stall = Some(self.impaired(title, 4, 15, impairments)?);
        Ok(())
    }

    fn loss(&mut self) -> Result<(), String> {
        for loss_percent in [1.0, 5.0, 10.0] {
            let impairments = Impairments { loss_percent, ..Impairments::default() };
            let title = format!("{loss_percent} % of packets lost at random");
            let impaired = self.impaired(title, 20, 15, impairments)?;
            self.results.loss.push(impaired);
        }
        Ok(())
    }

    fn overload(&mut self) -> Result<(), String> {
        let known = self.results.comparisons.iter().find_map(|comparison| {
            let ours = comparison.figures[0].capacity.calls;
            ours.filter(|_| comparison.browser == BrowserKind::Narrowband)
        });
        let Some(capacity) = known else {
            self.results.left_out.push("Overload: it needs the part narrowband".to_owned());
            return Ok(());
        };
        let browser = BrowserKind::Narrowband;
        let load = Load {
            calls: capacity + capacity / 2,
            calls_per_second: Some(50),
            admission: Admission::Default,
            measured: Duration::from_secs(10),
            ..light(browser)
        };
        self.results.overload = self.measure(Who::Linecard, &load, &Material::new(browser))?;
        Ok(())
    }

    /// Each rung at the same share of a core, once with everything around the codecs and once without.
    fn rungs(&mut self) -> Result<(), String> {
        let browser = BrowserKind::Narrowband;
        let material = Material::new(browser);
        let rungs: &[Rung] = if self.quick { &[Rung::SilkFec] } else { &Rung::ALL };
        for rung in rungs.iter().copied() {
            let probe = Load { calls: RUNG_PROBE_CALLS, ..light(browser) };
            let probe = self.measure_on(rung, Who::Linecard, &probe, &material)?;
            let cost = probe.and_then(|run| run.calls_at_this_cost);
            let calls = (cost.unwrap_or(100.0) * USUAL_LOAD) as u16;
            let measured = Duration::from_secs(if self.quick { 5 } else { 10 });
            let load = Load { calls, measured, ..light(browser) };
            let run = self.measure_on(rung, Who::Linecard, &load, &material)?;
            let codec_ms = self.codec_only(rung, calls, browser, &material)?;
            self.results.rungs.push(RungFigures {
                rung: rung.name(),
                calls,
                linecard_ms: run.and_then(|run| run.cpu_ms_per_call_second),
                codec_only_ms: codec_ms,
            });
        }
        Ok(())
    }

    fn object(&self) -> Value {
        let mut ours = Map::new();
        let mut peers = Map::new();
        let mut codecs = Map::new();
        for comparison in &self.results.comparisons {
            let Comparison { browser, figures: [ours_here, peers_here], .. } = comparison;
            let cost = comparison.codec_only_ms();
            let mut codec = Map::new();
            codec.insert("cpu_ms_per_call_second".to_owned(), cost.into());
            let calls = cost.map(|cost| (1_000.0 / cost).floor());
            codec.insert("calls_per_core".to_owned(), calls.into());
            codec.insert("rounds".to_owned(), json!(comparison.codec_ms));
            codec.insert("settings".to_owned(), codec_settings(*browser));
            let entries = [
                (&mut ours, ours_here.summary()),
                (&mut peers, peers_here.summary()),
                (&mut codecs, codec),
            ];
            for (whole, part) in entries {
                match browser {
                    BrowserKind::Narrowband => whole.extend(part),
                    BrowserKind::Fullband => {
                        whole.insert("fullband".to_owned(), part.into());
                    }
                    BrowserKind::Pcmu if part.contains_key("rounds") => {}
                    BrowserKind::Pcmu => {
                        whole.insert("relay".to_owned(), part.into());
                    }
                }
            }
        }
        json!({
            "starved": !self.results.starved.is_empty(),
            "starved_runs": self.results.starved,
            "left_out": self.results.left_out,
            "date": WallTime::of(&WallAnchor::now(), Instant::now()),
            "machine": machine::description(),
            "versions": {
                "linecard": env!("CARGO_PKG_VERSION"),
                "linecard_codec": opus::version(),
                "peer": peers.get("settings").map(|settings| &settings["version"]),
                "peer_codec": peers.get("settings").map(|settings| &settings["codec_library"]),
            },
            "cores": self.cores,
            "priority": self.tuned.priority,
            "delivery": self.tuned.delivery,
            "bounds": Bounds::DEFAULT,
            "usual_load": USUAL_LOAD,
            "linecard": ours,
            "codec_only": codecs,
            "peer": peers,
            "rungs": self.results.rungs,
        })
    }
}

fn codec_settings(browser: BrowserKind) -> Value {
    json!({
        "library": opus::version(),
        "encoder": RUNG.name(),
        "encoder_settings": RUNG.settings(),
        "browser_sends": browser.title(),
        "order": "round robin over as many states as calls, another place in the speech for each",
        "beside": "the generator on the other core, the same calls against itself",
    })
}

/// A few seconds of a few calls, on a perfect network.
fn light(browser: BrowserKind) -> Load {
    Load {
        calls: CALLS,
        browser,
        warm_up: Duration::from_millis(1_500),
        measured: Duration::from_secs(3),
        impairments: Impairments::default(),
        calls_per_second: Some(capacity::calls_per_second(browser)),
        refusals_allowed: true,
        admission: Admission::Lifted,
    }
}

fn growth(light: Option<&Run>, usual: Option<&Run>) -> Option<u64> {
    let (light, usual) = (light?, usual?);
    let calls = u64::from(usual.calls.checked_sub(light.calls).filter(|calls| *calls > 0)?);
    Some(usual.resident_bytes.saturating_sub(light.resident_bytes) / calls)
}

fn print(object: &Value, results: &Results) {
    println!("machine  {}", object["machine"].as_str().unwrap_or_default());
    for line in page::lines(object) {
        println!("{line}");
    }
    for (heading, lines) in [("left out", &results.left_out), ("STARVED", &results.starved)] {
        lines.iter().for_each(|line| println!("{heading}: {line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
