//! `tools/load`: one engine under load.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::{check_writable, cores, write_json, write_page};
use crate::arguments::{EngineChoice, LoadArguments};
use crate::ends::material::{Material, Red};
use crate::engine::Engine;
use crate::engine::forwarder::{Forwarder, ForwarderSettings};
use crate::engine::linecard::{Admission, Linecard, LinecardSettings, Pages};
use crate::engine::loopback::Loopback;
use crate::engine::rtpengine::{Rtpengine, RtpengineSettings};
use crate::machine::{self, Cores, Tuned};
use crate::measure::capacity::{self, Capacity, USUAL_LOAD, believed, calls_per_second};
use crate::measure::drive::drive_unstarved;
use crate::measure::load::{Load, Surroundings};
use crate::measure::progress::Progress;
use crate::measure::run::Run;
use crate::measure::search::{Bounds, Precision};
use crate::page;

const WARM_UP: Duration = Duration::from_secs(2);
/// Measured in each run of a search.
const SEARCH_STEP: Duration = Duration::from_secs(5);

/// Runs it and prints the figures.
pub fn load(arguments: &LoadArguments) -> Result<ExitCode, String> {
    check_writable(arguments.json.as_deref(), arguments.page.as_deref())?;
    check_red(arguments)?;
    check_queries(arguments)?;
    check_kill(arguments)?;
    let cores = cores(&arguments.machine)?;
    let tuned = Tuned::set(cores, arguments.machine.priority, arguments.machine.delivery)?;
    let mut bench = Bench {
        arguments,
        around: Surroundings { cores, priority: tuned.priority },
        material: Material::new(arguments.browser),
        progress: Progress::new(),
    };
    let load = load_of(arguments);
    if arguments.kill {
        return bench.kill(&load, &tuned);
    }
    let (capacity, run) = if arguments.search {
        bench.search_and_measure(&load)?
    } else {
        (Capacity::default(), bench.measure(&load)?)
    };
    bench.progress.clear();
    let mut text = bench.settings(&run, &tuned);
    if let Some(calls) = capacity.calls {
        text.push_str(&format!("calls a core carries   {calls}; below, four fifths of that\n"));
    }
    text.push_str(&page::text::text(&run));
    println!("{text}");
    if let Some(path) = &arguments.page {
        write_page(path, &page::single(&text, &capacity.curve, &run))?;
    }
    if let Some(path) = &arguments.json {
        let searched = arguments.search.then_some(&capacity);
        write_json(path, &object(cores, &tuned, searched, &run))?;
    }
    Ok(if run.starved.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Only what is ours goes on from snapshots.
fn check_kill(arguments: &LoadArguments) -> Result<(), String> {
    if arguments.kill && arguments.engine != EngineChoice::Linecard {
        return Err("--kill is for linecard: write --engine linecard, or leave one out".to_owned());
    }
    Ok(())
}

/// Whether somebody can ask this engine.
fn check_queries(arguments: &LoadArguments) -> Result<(), String> {
    if arguments.queries.is_some() && arguments.engine != EngineChoice::Linecard {
        return Err("--queries asks linecard: write --engine linecard, or leave one out".to_owned());
    }
    Ok(())
}

/// Whether what is asked for about RED can be had.
fn check_red(arguments: &LoadArguments) -> Result<(), String> {
    if arguments.red == Red::None
        && let Some(rung) = arguments.rung.filter(|rung| rung.redundancy())
    {
        let name = rung.name();
        return Err(format!("--rung {name} sends RED: write --red accept, or another rung"));
    }
    if arguments.red == Red::Both && matches!(arguments.engine, EngineChoice::Rtpengine(_)) {
        return Err("--red both: rtpengine does not read RED; write --red accept".to_owned());
    }
    Ok(())
}

fn load_of(arguments: &LoadArguments) -> Load {
    Load {
        calls: arguments.calls,
        browser: arguments.browser,
        red: arguments.red,
        warm_up: WARM_UP,
        measured: Duration::from_secs(arguments.seconds.into()),
        impairments: arguments.impairments.impairments(),
        calls_per_second: arguments.offered,
        refusals_allowed: arguments.offered.is_some(),
        queries: arguments.queries,
        admission: match arguments.offered {
            Some(_) => Admission::Default,
            None => Admission::Lifted,
        },
    }
}

/// What is written as JSON.
fn object(cores: Cores, tuned: &Tuned, searched: Option<&Capacity>, run: &Run) -> Value {
    let mut object = json!({
        "machine": machine::description(),
        "cores": cores,
        "priority": tuned.priority,
        "delivery": tuned.delivery,
        "starved": run.starved.is_some(),
    });
    if let Some(capacity) = searched {
        object["capacity"] = json!({"bounds": Bounds::DEFAULT, "found": capacity});
    }
    // What is no result is not found under the name of one.
    let name = if run.starved.is_some() { "starved_run" } else { "run" };
    object[name] = json!(run);
    object
}

/// What the runs of one command share.
pub struct Bench<'a> {
    pub arguments: &'a LoadArguments,
    pub around: Surroundings,
    pub material: Material,
    pub progress: Progress,
}

impl Bench<'_> {
    /// One run; a starved one is repeated, and given as it is when that does not help.
    fn measure(&mut self, load: &Load) -> Result<Run, String> {
        let (arguments, around) = (self.arguments, self.around);
        let start = || engine(arguments, around, load);
        drive_unstarved(start, load, &self.material, around, &mut self.progress)
    }

    /// What a core carries, and a run at four fifths of that.
    fn search_and_measure(&mut self, load: &Load) -> Result<(Capacity, Run), String> {
        let capacity = self.search(load)?;
        let Some(calls) = capacity.calls.filter(|calls| *calls > 0) else {
            return Err("no capacity was found: the engine carries nothing, or every run was \
                        starved; say --calls to begin lower, or free the machine"
                .to_owned());
        };
        let calls = (f64::from(calls) * USUAL_LOAD).ceil() as u16;
        let calls_per_second = Some(calls_per_second(load.browser));
        let run = self.measure(&Load { calls, calls_per_second, ..load.clone() })?;
        Ok((capacity, run))
    }

    fn search(&mut self, load: &Load) -> Result<Capacity, String> {
        let browser = load.browser;
        let (part, guess) = (self.progress.part.clone(), load.calls);
        self.progress.part = "searching: ".to_owned();
        let capacity = capacity::find(guess, browser, Precision::FINE, |calls| {
            let run = self.measure(&Load {
                calls,
                measured: SEARCH_STEP,
                calls_per_second: Some(calls_per_second(browser)),
                refusals_allowed: true,
                ..load.clone()
            })?;
            Ok(Some(run).filter(believed))
        });
        self.progress.part = part;
        capacity
    }

    fn settings(&self, run: &Run, tuned: &Tuned) -> String {
        let cores = self.around.cores;
        let mut lines = vec![
            format!("machine                {}", machine::description()),
            format!(
                "cores                  engine on {}, load on {}; priority {:?}, delivery by the {:?}",
                cores.engine, cores.generator, tuned.priority, tuned.delivery
            ),
        ];
        lines.extend(run.settings.iter().map(|(name, value)| {
            format!("{name:<22} {}", value.as_str().map_or(value.to_string(), str::to_owned))
        }));
        let payload = self.material.description(run.browser);
        lines.push(format!("browser's payload      {payload}"));
        lines.join("\n") + "\n"
    }
}

/// Our media process.
pub fn linecard(
    arguments: &LoadArguments,
    around: Surroundings,
    load: &Load,
) -> Result<Linecard, String> {
    Linecard::start(&LinecardSettings {
        control: arguments.control.clone(),
        program: None,
        core: around.cores.engine,
        priority: around.priority,
        calls: load.calls,
        admission: load.admission,
        rung: arguments.rung,
        pages: Pages::Usual,
    })
}

/// What is to be loaded.
fn engine(
    arguments: &LoadArguments,
    around: Surroundings,
    load: &Load,
) -> Result<Box<dyn Engine>, String> {
    let Surroundings { cores: Cores { engine: core, .. }, priority } = around;
    Ok(match arguments.engine {
        EngineChoice::Linecard => Box::new(linecard(arguments, around, load)?),
        EngineChoice::Rtpengine(address) => {
            Box::new(Rtpengine::start(&RtpengineSettings { address, core, priority })?)
        }
        EngineChoice::None => Box::new(Loopback),
        EngineChoice::Forward(strategy, layout) => Box::new(Forwarder::new(ForwarderSettings {
            strategy,
            layout,
            calls: load.calls,
            core,
            priority,
        })),
    })
}
