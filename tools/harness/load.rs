//! `tools/load`: one engine under load.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use crate::arguments::{EngineChoice, LoadArguments, MachineArguments};
use crate::engine::Engine;
use crate::engine::linecard::{Linecard, LinecardSettings};
use crate::engine::loopback::Loopback;
use crate::engine::rtpengine::{Rtpengine, RtpengineSettings};
use crate::machine::{self, Cores, Tuned};
use crate::material::{BrowserKind, Material, modes};
use crate::progress::Progress;
use crate::run::{Load, Surroundings, run};

const WARM_UP: Duration = Duration::from_secs(2);

/// Runs it and prints the figures.
pub fn load(arguments: &LoadArguments) -> Result<ExitCode, String> {
    if let Some(path) = &arguments.json {
        // Before the run: a report that cannot be written is known now, not after an hour.
        write_json(path, &json!({}))?;
    }
    let cores = cores(&arguments.machine)?;
    let tuned = Tuned::set(cores, arguments.machine.priority, arguments.machine.delivery)?;
    let mut progress = Progress::new();
    let material = Material::new(arguments.browser);
    let settings = LinecardSettings {
        control: arguments.control.clone(),
        core: cores.engine,
        priority: tuned.priority,
        calls: arguments.calls,
        rung: arguments.rung,
    };
    let load = Load {
        calls: arguments.calls,
        browser: arguments.browser,
        warm_up: WARM_UP,
        measured: Duration::from_secs(arguments.seconds.into()),
        impairments: arguments.impairments.impairments(),
        calls_per_second: arguments.offered,
        refusals_allowed: arguments.offered.is_some(),
    };
    let mut engine: Box<dyn Engine> = match arguments.engine {
        EngineChoice::Linecard => Box::new(Linecard::start(&settings)?),
        EngineChoice::Rtpengine(address) => Box::new(Rtpengine::start(&RtpengineSettings {
            address,
            core: cores.engine,
            priority: tuned.priority,
        })?),
        EngineChoice::None => Box::new(Loopback),
    };
    let around = Surroundings { cores, priority: tuned.priority };
    let run = run(engine.as_mut(), &load, &material, around, &mut progress)?;
    progress.clear();
    println!("machine   {}", machine::description());
    println!(
        "cores     engine on {}, load on {}; priority {:?}, delivery by the {:?}",
        cores.engine, cores.generator, tuned.priority, tuned.delivery
    );
    for (name, value) in &run.settings {
        println!("{name:<22} {}", value.as_str().map_or(value.to_string(), str::to_owned));
    }
    println!(
        "browser's payload      {:.1} kb/s{}",
        material.kbps(),
        if arguments.browser == BrowserKind::Pcmu {
            String::new()
        } else {
            format!(", {}", modes(&material.browser))
        }
    );
    println!("{}", run.text());
    if let Some(path) = &arguments.json {
        let object = json!({
            "machine": machine::description(),
            "cores": cores,
            "priority": tuned.priority,
            "delivery": tuned.delivery,
            "starved": run.starved.is_some(),
            "run": run,
        });
        write_json(path, &object)?;
    }
    Ok(if run.starved.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Which cores to use.
pub fn cores(arguments: &MachineArguments) -> Result<Cores, String> {
    let mut cores = Cores::here()?;
    let there: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    for (place, asked, option) in [
        (&mut cores.engine, arguments.engine_core, "--engine-core"),
        (&mut cores.generator, arguments.generator_core, "--generator-core"),
    ] {
        if let Some(core) = asked {
            if !there.contains(&core) {
                return Err(format!("{option} {core}: write one of {there:?}"));
            }
            *place = core;
        }
    }
    if cores.engine == cores.generator {
        return Err("engine and generator need a core each: write --engine-core and \
                    --generator-core with two numbers"
            .to_owned());
    }
    Ok(cores)
}

/// Writes one object.
pub fn write_json(path: &Path, object: &serde_json::Value) -> Result<(), String> {
    let text = format!("{object:#}\n");
    std::fs::write(path, text).map_err(|error| format!("--json {}: {error}", path.display()))
}
