//! `tools/compare --against PROGRAM`: another linecard program, an older one mostly, and this one under
//! the same load, on the same core, in turns.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use linecard::base::clock::WallAnchor;
use linecard::signal::records::WallTime;
use serde_json::{Value, json};

use super::probe::{guess_factor, light};
use super::{check_writable, cores, write_json, write_page};
use crate::arguments::{CompareArguments, Part};
use crate::ends::material::{BrowserKind, Material};
use crate::engine::Engine;
use crate::engine::linecard::{Linecard, LinecardSettings, Pages, program_beside};
use crate::machine::{Cores, Tuned};
use crate::measure::capacity::{USUAL_LOAD, believed};
use crate::measure::drive::drive_unstarved;
use crate::measure::load::{Load, Surroundings};
use crate::measure::progress::Progress;
use crate::measure::run::Run;
use crate::page::against::{self, Findings, Turns};
use crate::page::results::{Circumstances, RUNG};

/// Enough that a packet seldom has the engine to itself: gives the load of the turns.
const PROBE_CALLS: u16 = 100;
/// Turns of each program, and what is measured in one, unless it was said.
const TURNS: u8 = 5;
const SECONDS: u16 = 8;
/// Setting more of them up takes longer than the turn.
const CALLS_MAX: u16 = 700;
/// A turn that would begin later than this is left out: the whole ends within ten minutes.
const SECONDS_MAX: u64 = 540;

/// Compares and writes page and JSON.
pub fn against(arguments: &CompareArguments, program: &Path) -> Result<ExitCode, String> {
    let kinds = kinds(arguments)?;
    let programs = [program.to_owned(), program_beside()?];
    let described = [description(&programs[0])?, description(&programs[1])?];
    check_writable(arguments.json.as_deref(), Some(&arguments.page))?;
    let cores = cores(&arguments.machine)?;
    let tuned = Tuned::set(cores, arguments.machine.priority, arguments.machine.delivery)?;
    let mut bench = Bench {
        arguments,
        programs,
        around: Surroundings { cores, priority: tuned.priority },
        began: Instant::now(),
        progress: Progress::new(),
        findings: Findings { programs: described, ..Findings::default() },
    };
    for (place, browser) in kinds.iter().enumerate() {
        let part = format!("[{} of {}] ", place + 1, kinds.len());
        bench.compare(*browser, &part)?;
    }
    bench.progress.clear();
    let findings = bench.findings;
    let date = WallTime::of(&WallAnchor::now(), Instant::now());
    let object = findings.object(&Circumstances::of(date, cores, &tuned));
    write_page(&arguments.page, &against::render(&object, &findings))?;
    if let Some(path) = &arguments.json {
        write_json(path, &object)?;
    }
    against::lines(&object).iter().for_each(|line| println!("{line}"));
    println!("page: {}", arguments.page.display());
    Ok(if findings.is_void() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is compared, of what was asked for.
fn kinds(arguments: &CompareArguments) -> Result<Vec<BrowserKind>, String> {
    let asked = match (arguments.part.as_slice(), arguments.quick) {
        ([], true) => &[Part::Narrowband],
        ([], false) => [Part::Narrowband, Part::Fullband, Part::Relay].as_slice(),
        (parts, _) => parts,
    };
    let kind = |part: &Part| match part {
        Part::Narrowband => Ok(BrowserKind::Narrowband),
        Part::Fullband => Ok(BrowserKind::Fullband),
        Part::Relay => Ok(BrowserKind::Pcmu),
        _ => Err("--against has the parts narrowband, fullband and relay; leave the others out"
            .to_owned()),
    };
    asked.iter().map(kind).collect()
}

/// Which program it is: versions say little between two releases.
fn description(program: &Path) -> Result<Value, String> {
    let bytes = fs::read(program).map_err(|error| {
        format!("--against {}: {error}; name a linecard program", program.display())
    })?;
    let digest = digest(&SHA256, &bytes);
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(json!({"path": program, "bytes": bytes.len(), "sha256": digest}))
}

/// What the runs of one command share.
struct Bench<'a> {
    arguments: &'a CompareArguments,
    /// The other, and this one.
    programs: [PathBuf; 2],
    around: Surroundings,
    began: Instant,
    progress: Progress,
    findings: Findings,
}

impl Bench<'_> {
    /// Both programs with one kind of browser. Who has the first word changes with each turn: what
    /// the machine does meanwhile falls on both alike.
    fn compare(&mut self, browser: BrowserKind, part: &str) -> Result<(), String> {
        let material = Material::new(browser);
        self.progress.part = format!("{part}probe: ");
        let calls = match self.arguments.calls {
            Some(calls) => calls,
            None => self.usual_calls(browser, &material)?,
        };
        let turns = self.arguments.turns.unwrap_or(TURNS);
        let measured = Duration::from_secs(self.arguments.seconds.unwrap_or(SECONDS).into());
        let load = Load { calls, measured, ..light(browser) };
        let measured = Duration::from_secs(1);
        // As many calls as in the turn itself: they share what a process uses once.
        let memory_load = Load { calls, measured, ..light(browser) };
        let payload = material.description(browser);
        let mut runs = [Vec::new(), Vec::new()];
        for turn in 0..turns {
            if self.began.elapsed().as_secs() > SECONDS_MAX {
                let title = browser.title();
                let left = format!("{title}: turns from the {}th on: no time", turn + 1);
                self.findings.left_out.push(left);
                break;
            }
            let order = if turn % 2 == 0 { [0, 1] } else { [1, 0] };
            for at in order {
                let name = against::NAMES[at];
                self.progress.part = format!("{part}turn {} of {turns}, {name}: ", turn + 1);
                let mut run = self.measure(at, &load, &material, Pages::Usual)?;
                self.note_starved(name, &run);
                self.progress.part =
                    format!("{part}turn {} of {turns}, {name}, memory: ", turn + 1);
                let small = self.measure(at, &memory_load, &material, Pages::Small)?;
                run.resident_bytes_per_call = small.resident_bytes_per_call;
                runs[at].push(run);
            }
        }
        self.findings.kinds.push(Turns { browser, payload, calls, runs });
        Ok(())
    }

    /// Four fifths of what the other program is likely to carry, by what it costs under a light load.
    fn usual_calls(&mut self, browser: BrowserKind, material: &Material) -> Result<u16, String> {
        let load = Load { calls: PROBE_CALLS, ..light(browser) };
        let cost =
            self.measure(0, &load, material, Pages::Usual)?.calls_at_this_cost.unwrap_or(100.0);
        Ok(((cost * guess_factor(browser) * USUAL_LOAD) as u16).clamp(1, CALLS_MAX))
    }

    fn measure(
        &mut self,
        at: usize,
        load: &Load,
        material: &Material,
        pages: Pages,
    ) -> Result<Run, String> {
        let (program, around) = (&self.programs[at], self.around);
        let start = || engine(program, around, load, pages);
        drive_unstarved(start, load, material, around, &mut self.progress)
    }

    fn note_starved(&mut self, name: &str, run: &Run) {
        if !believed(run) {
            let why = run.starved.as_deref().unwrap_or_default();
            self.findings.starved.push(format!("{name}, {} calls: {why}", run.calls));
        }
    }
}

fn engine(
    program: &Path,
    around: Surroundings,
    load: &Load,
    pages: Pages,
) -> Result<Box<dyn Engine>, String> {
    let Surroundings { cores: Cores { engine: core, .. }, priority } = around;
    Ok(Box::new(Linecard::start(&LinecardSettings {
        control: None,
        program: Some(program.to_owned()),
        core,
        priority,
        calls: load.calls,
        admission: load.admission,
        rung: Some(RUNG),
        pages,
    })?))
}
