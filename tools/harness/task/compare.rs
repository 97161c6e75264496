//! `tools/compare`: our media process and Debian's rtpengine under the same load, on the same core, in
//! turns, in one run.

mod queries;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use linecard::audio::ladder::Rung;
use linecard::base::clock::WallAnchor;
use linecard::signal::records::WallTime;
use serde_json::Value;

use super::against::against;
use super::probe::{CALLS, guess_factor, light};
use super::{check_writable, cores, write_json, write_page};
use crate::arguments::{CompareArguments, Part};
use crate::baseline::codec_loop::CodecLoop;
use crate::baseline::forward::{Layout, Strategy};
use crate::ends::impairment::Impairments;
use crate::ends::material::{BrowserKind, Material};
use crate::engine::Engine;
use crate::engine::forwarder::{Forwarder, ForwarderSettings};
use crate::engine::linecard::{Admission, Linecard, LinecardSettings, Pages};
use crate::engine::loopback::Loopback;
use crate::engine::rtpengine::{Rtpengine, RtpengineSettings};
use crate::machine::{Cores, Tuned};
use crate::measure::capacity::{self, Capacity, USUAL_LOAD, believed};
use crate::measure::drive::{drive, drive_unstarved};
use crate::measure::load::{Load, Surroundings};
use crate::measure::progress::Progress;
use crate::measure::run::Run;
use crate::measure::search::Precision;
use crate::page;
use crate::page::results::{
    Circumstances, Comparison, Figures, Pair, RUNG, Results, RungFigures, SocketFigures, Who,
};

/// A light load that the engine surely carries: it gives the first guess.
fn probe_calls(who: Who) -> u16 {
    match who {
        Who::Linecard => 100,
        Who::Peer => 20,
    }
}
/// Enough that a packet seldom has the engine to itself.
const RUNG_PROBE_CALLS: u16 = 100;
/// Whether and how the most calls that are carried are searched for.
#[derive(Clone, Copy)]
enum Searched {
    /// Not at all.
    Not,
    /// As close as that, in runs of so many seconds.
    To(Precision, u64),
}

impl Searched {
    const COARSELY: Self = Self::To(Precision::COARSE, 3);
}

/// Calls of the bare forwarder: as many as a core transcodes, and as it relays.
const FORWARDED_CALLS: [u16; 2] = [400, 1_000];
/// In the short version, parts that begin later than this are left out: it ends within five minutes.
const QUICK_SECONDS_MAX: u64 = 250;

/// Compares and writes page and JSON.
pub fn compare(arguments: &CompareArguments) -> Result<ExitCode, String> {
    if let Some(program) = &arguments.against {
        return against(arguments, program);
    }
    check_turns(arguments)?;
    check_writable(arguments.json.as_deref(), Some(&arguments.page))?;
    let cores = cores(&arguments.machine)?;
    let tuned = Tuned::set(cores, arguments.machine.priority, arguments.machine.delivery)?;
    let mut laboratory = Laboratory {
        cores,
        tuned: &tuned,
        arguments,
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
    let results = &laboratory.results;
    let date = WallTime::of(&WallAnchor::now(), Instant::now());
    let object = results.object(&Circumstances::of(date, cores, &tuned));
    write_page(&arguments.page, &page::render(&object, results))?;
    if let Some(path) = &arguments.json {
        write_json(path, &object)?;
    }
    print(&object, results);
    println!("page: {}", arguments.page.display());
    let starved = !results.starved.is_empty();
    Ok(if starved { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The parts that run rtpengine have their own number of turns.
fn check_turns(arguments: &CompareArguments) -> Result<(), String> {
    let CompareArguments { turns, seconds, calls, part, .. } = arguments;
    let given = [
        ("--turns", turns.is_some()),
        ("--seconds", seconds.is_some()),
        ("--calls", calls.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) if part.as_slice() != [Part::Queries] => {
            Err(format!("{option} goes with --against <PROGRAM>, or with --part queries alone"))
        }
        _ => Ok(()),
    }
}

struct Laboratory<'a> {
    cores: Cores,
    tuned: &'a Tuned,
    arguments: &'a CompareArguments,
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
            Part::Sockets => self.sockets(),
            Part::Queries => self.queries(),
        }
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
        let around = self.around();
        self.repeat(who.name(), load, material, || engine(who, rung, around, load))
    }

    /// The same of a bare forwarder.
    fn forward(
        &mut self,
        strategy: Strategy,
        layout: Layout,
        load: &Load,
        material: &Material,
    ) -> Result<Option<Run>, String> {
        let (core, priority) = (self.cores.engine, self.tuned.priority);
        let settings = ForwarderSettings { strategy, layout, calls: load.calls, core, priority };
        self.repeat("bare forwarder", load, material, || Ok(Box::new(Forwarder::new(settings))))
    }

    fn repeat(
        &mut self,
        name: &str,
        load: &Load,
        material: &Material,
        start: impl Fn() -> Result<Box<dyn Engine>, String>,
    ) -> Result<Option<Run>, String> {
        let (around, progress) = (self.around(), &mut self.progress);
        let part = progress.part.clone();
        progress.part = format!("{part}{name}: ");
        let run = drive_unstarved(start, load, material, around, progress);
        progress.part = part;
        let run = run?;
        if believed(&run) {
            return Ok(Some(run));
        }
        let why = run.starved.unwrap_or_default();
        self.results.starved.push(format!("{name}, {} calls: {why}", load.calls));
        Ok(None)
    }

    /// A light run, and from what it costs the search for the most that is carried.
    fn probe(
        &mut self,
        who: Who,
        browser: BrowserKind,
        material: &Material,
        searched: Searched,
    ) -> Result<(Option<Run>, Capacity), String> {
        let light_load = Load { calls: probe_calls(who), ..light(browser) };
        let probe = self.measure(who, &light_load, material)?;
        let Searched::To(precision, seconds) = searched else {
            return Ok((probe, Capacity::default()));
        };
        let cost = probe.as_ref().and_then(|run| run.calls_at_this_cost);
        let guess = (cost.unwrap_or(100.0) * guess_factor(browser)) as u16;
        let capacity = capacity::find(guess, browser, precision, |calls| {
            let measured = Duration::from_secs(seconds);
            self.measure(who, &Load { calls, measured, ..light(browser) }, material)
        })?;
        Ok((probe, capacity))
    }

    fn compare_kind(&mut self, browser: BrowserKind) -> Result<(), String> {
        let material = Material::new(browser);
        let searched = match (self.quick, browser) {
            // Thousands of calls take their time to be set up.
            (false, BrowserKind::Pcmu) => Searched::COARSELY,
            (false, _) => Searched::To(Precision::FINE, 5),
            (true, BrowserKind::Narrowband) => Searched::COARSELY,
            (true, _) => Searched::Not,
        };
        let mut figures = [Figures::default(), Figures::default()];
        let mut probes = [None, None];
        for (at, who) in Who::BOTH.into_iter().enumerate() {
            (probes[at], figures[at].capacity) = self.probe(who, browser, &material, searched)?;
        }
        let (mut codec_ms, mut forwarded) = (Vec::new(), Vec::new());
        let (rounds, seconds) = match (self.quick, browser) {
            (true, BrowserKind::Narrowband) => (2, 6),
            (true, _) => (1, 6),
            (false, BrowserKind::Pcmu) => (2, 12),
            (false, _) => (3, 12),
        };
        let calls = self.usual_calls(browser, &figures, &probes);
        for _ in 0..rounds {
            for (at, who) in Who::BOTH.into_iter().enumerate() {
                let load = Load { measured: Duration::from_secs(seconds), ..light(browser) };
                let load = Load { calls: calls[at], ..load };
                if let Some(run) = self.measure(who, &load, &material)? {
                    figures[at].at_usual_load.push(run);
                }
                if who == Who::Linecard {
                    if browser != BrowserKind::Pcmu {
                        codec_ms.push(self.codec_only(RUNG, calls[at], browser, &material)?);
                    }
                    let measured = Duration::from_secs(seconds / 2);
                    let load = Load { measured, ..load };
                    forwarded.extend(self.forward(
                        Strategy::Multishot,
                        Layout::Each,
                        &load,
                        &material,
                    )?);
                }
            }
        }
        let payload = material.description(browser);
        self.results.comparisons.push(Comparison {
            browser,
            payload,
            figures,
            codec_ms,
            forwarded,
        });
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
            // Fullband is dearer to decode by a fifth to a third.
            let narrowband =
                Some(BrowserKind::Narrowband).filter(|_| browser == BrowserKind::Fullband);
            let known = narrowband.and_then(|kind| self.results.capacity(kind, Who::BOTH[at]));
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
        let codec_loop = CodecLoop { core, priority, calls, settings, material };
        let cost = std::thread::scope(|scope| {
            let codecs = scope.spawn(|| codec_loop.cost_ms(&stop));
            let company = drive(&mut Loopback, &load, material, around, progress);
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
    ) -> Result<Pair, String> {
        let browser = BrowserKind::Narrowband;
        let material = Material::new(browser);
        let measured = Duration::from_secs(seconds);
        let load = Load { calls, measured, impairments, ..light(browser) };
        let mut runs = [None, None];
        for (at, who) in Who::BOTH.into_iter().enumerate() {
            runs[at] = self.measure(who, &load, &material)?;
        }
        Ok(Pair { title, runs })
    }

    /// Long enough to see ten seconds after the last sender stalled.
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

    /// Each is offered half as much again as it was found to carry, at a busy hour's pace.
    fn overload(&mut self) -> Result<(), String> {
        let browser = BrowserKind::Narrowband;
        let material = Material::new(browser);
        let mut runs = [None, None];
        let mut offered = [0; 2];
        for (at, who) in Who::BOTH.into_iter().enumerate() {
            let capacity = match self.results.capacity(browser, who) {
                Some(capacity) => Some(capacity),
                None => self.probe(who, browser, &material, Searched::COARSELY)?.1.calls,
            };
            let Some(capacity) = capacity else {
                let who = who.name();
                self.results.left_out.push(format!("Overload of {who}: its capacity is not known"));
                continue;
            };
            offered[at] = capacity + capacity / 2;
            let load = Load {
                calls: offered[at],
                calls_per_second: Some(50),
                admission: Admission::Default,
                measured: Duration::from_secs(10),
                ..light(browser)
            };
            runs[at] = self.measure(who, &load, &material)?;
        }
        let [ours, peers] = offered;
        let title = format!("half as many calls again as each carries: {ours} and {peers} offered");
        self.results.overload = Some(Pair { title, runs });
        Ok(())
    }

    /// Each rung at about four fifths of what the core carries on it, once with everything around the
    /// codecs and once without.
    fn rungs(&mut self) -> Result<(), String> {
        let browser = BrowserKind::Narrowband;
        let material = Material::new(browser);
        let rungs: &[Rung] = if self.quick { &[Rung::SilkFec] } else { &Rung::ALL };
        for rung in rungs.iter().copied() {
            let probe = Load { calls: RUNG_PROBE_CALLS, ..light(browser) };
            let probe = self.measure_on(rung, Who::Linecard, &probe, &material)?;
            let cost = probe.and_then(|run| run.calls_at_this_cost);
            let calls = (cost.unwrap_or(100.0) * guess_factor(browser) * USUAL_LOAD) as u16;
            let measured = Duration::from_secs(if self.quick { 5 } else { 10 });
            let load = Load { calls, measured, ..light(browser) };
            let run = self.measure_on(rung, Who::Linecard, &load, &material)?;
            let codec_ms = self.codec_only(rung, calls, browser, &material)?;
            self.results.rungs.push(RungFigures { rung, calls, run, codec_only_ms: codec_ms });
        }
        Ok(())
    }
}

impl Laboratory<'_> {
    /// A bare forwarder with each way of receiving.
    fn sockets(&mut self) -> Result<(), String> {
        let browser = BrowserKind::Pcmu;
        let material = Material::new(browser);
        for calls in FORWARDED_CALLS {
            for strategy in Strategy::ALL {
                for layout in Layout::ALL {
                    let load = Load { calls, ..light(browser) };
                    let run = self.forward(strategy, layout, &load, &material)?;
                    self.results.sockets.push(SocketFigures { strategy, layout, run });
                }
            }
        }
        Ok(())
    }
}

/// One of both.
fn engine(
    who: Who,
    rung: Rung,
    around: Surroundings,
    load: &Load,
) -> Result<Box<dyn Engine>, String> {
    let Surroundings { cores: Cores { engine: core, .. }, priority } = around;
    Ok(match who {
        Who::Linecard => Box::new(Linecard::start(&LinecardSettings {
            control: None,
            program: None,
            core,
            priority,
            calls: load.calls,
            admission: load.admission,
            rung: Some(rung),
            pages: Pages::Usual,
        })?),
        Who::Peer => {
            Box::new(Rtpengine::start(&RtpengineSettings { address: None, core, priority })?)
        }
    })
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
