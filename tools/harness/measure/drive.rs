//! One run: calls set up, speech in both directions for some seconds, accounts read at both ends of
//! the measured time, everything summed up.

use std::time::{Duration, Instant};

use crate::ends::generator::Order;
use crate::ends::material::Material;
use crate::engine::Engine;
use crate::engine::observer::{Observer, ObserverSettings};
use crate::machine::check_interrupted;
use crate::machine::clock::{ns, wall_ns};
use crate::machine::process::Accounts;
use crate::measure::capacity::overloaded;
use crate::measure::load::{Load, Surroundings};
use crate::measure::outcome::{Outcome, Queries};
use crate::measure::progress::Progress;
use crate::measure::run::Run;
use crate::measure::set_up::{Ends, SetUp};

/// What was sent last has come back after this, or is lost.
const DRAIN: Duration = Duration::from_millis(500);
/// What an impaired network still holds back has left after this, and the engine has given up what it
/// waits for.
const SETTLE: Duration = Duration::from_millis(200);
/// The measured time begins a moment after it is announced to the generator.
const ANNOUNCED: Duration = Duration::from_millis(20);
/// Between looks at the clock and at Ctrl-C.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Room for delays of this many packets more than are due.
const SAMPLES_SPARE: usize = 10_000;

/// A starved run is repeated so often, then given up.
const TRIES: usize = 3;

/// Drives `load` against a fresh engine each time, for what one run did to it is not the next one's,
/// until a run is not starved. An engine that had its whole core and failed is believed at once. After
/// [`TRIES`] the run is given as it is.
pub fn drive_unstarved(
    start: impl Fn() -> Result<Box<dyn Engine>, String>,
    load: &Load,
    material: &Material,
    around: Surroundings,
    progress: &mut Progress,
) -> Result<Run, String> {
    let mut tries = TRIES;
    loop {
        let mut engine = start()?;
        let run = drive(engine.as_mut(), load, material, around, progress)?;
        tries -= 1;
        if run.starved.is_none() || tries == 0 || overloaded(&run) {
            return Ok(run);
        }
    }
}

/// Runs `load` against `engine`.
pub fn drive(
    engine: &mut dyn Engine,
    load: &Load,
    material: &Material,
    around: Surroundings,
    progress: &mut Progress,
) -> Result<Run, String> {
    let resident_before = resident(engine)?;
    let packets = usize::from(load.calls) * load.measured.as_secs_f64().ceil() as usize * 50;
    let ends = Ends::start(around, load.impairments, packets + SAMPLES_SPARE)?;
    let mut set_up = SetUp { engine, load, material, ends: &ends, accepted: 0 };
    let outcome = set_up.all_calls(progress).and_then(|(refused_after, refusal)| {
        let observer = observer(&set_up, around)?;
        let measured = measure(&mut set_up, observer.as_ref(), progress);
        observer.map_or(Ok(()), Observer::end)?;
        Ok((refused_after, refusal, measured?))
    });
    let accepted = set_up.accepted;
    let seen = ends.end()?;
    let (refused_after, refusal, measured) = outcome?;
    for number in 0..accepted {
        engine.delete_call(number)?;
    }
    let Measured { accounts, elapsed, resident_bytes, queries, call_load_percent } = measured;
    let outcome = Outcome {
        accepted,
        refused_after,
        refusal,
        seen,
        counted: engine.counted(),
        accounts,
        elapsed,
        queries,
        call_load_percent,
        resident_bytes: [resident_before, resident_bytes],
    };
    Ok(Run::of(load, engine.settings(), outcome))
}

/// Who is to ask the engine meanwhile.
fn observer(set_up: &SetUp<'_>, around: Surroundings) -> Result<Option<Observer>, String> {
    let Some(per_second) = set_up.load.queries else { return Ok(None) };
    let socket = set_up.engine.control().ok_or("nobody can ask this engine")?.to_owned();
    let (core, priority, calls) = (around.cores.generator, around.priority, set_up.accepted);
    Observer::start(ObserverSettings { socket, per_second, calls, core, priority }).map(Some)
}

fn resident(engine: &dyn Engine) -> Result<u64, String> {
    engine.process().map_or(Ok(0), |process| process.resident_bytes())
}

fn accounts(engine: &dyn Engine) -> Result<Accounts, String> {
    engine.process().map_or(Ok(Accounts::default()), |process| process.accounts())
}

/// What the measured time brought, besides what the generator saw.
struct Measured {
    accounts: Accounts,
    elapsed: Duration,
    resident_bytes: u64,
    queries: Option<Queries>,
    call_load_percent: Option<f64>,
}

/// Waits through warm-up and measured time, and reads the accounts at both ends of the latter.
fn measure(
    set_up: &mut SetUp<'_>,
    observer: Option<&Observer>,
    progress: &mut Progress,
) -> Result<Measured, String> {
    let SetUp { engine, load, ends, accepted, .. } = set_up;
    let browser = load.browser.title();
    let what = format!("{browser}: {accepted} calls");
    wait(load.warm_up, |_| progress.say(&format!("{what}, warming up"), None))?;
    let from_ns = wall_ns() + ns(ANNOUNCED);
    let to_ns = from_ns + ns(load.measured);
    ends.order(Order::Measure([from_ns, to_ns]));
    wait(ANNOUNCED, |_| {})?;
    let answered = || observer.map_or(0, Observer::answered);
    let (began, before, answered_before) = (Instant::now(), accounts(*engine)?, answered());
    wait(load.measured, |share| progress.say(&format!("{what}, measuring"), Some(share)))?;
    let (after, elapsed, answered_after) = (accounts(*engine)?, began.elapsed(), answered());
    let resident_bytes = resident(*engine)?;
    let queries = load.queries.map(|asked_per_second| Queries {
        asked_per_second,
        answered_per_second: (answered_after - answered_before) as f64 / elapsed.as_secs_f64(),
    });
    wait(DRAIN, |_| {})?;
    let call_load_percent = load.queries.and_then(|_| engine.call_load_percent());
    ends.order(Order::StopSending);
    if !load.impairments.are_none() {
        wait(SETTLE, |_| {})?;
    }
    let accounts = after.since(&before);
    Ok(Measured { accounts, elapsed, resident_bytes, queries, call_load_percent })
}

/// Waits, unless somebody interrupts it.
pub fn wait(time: Duration, mut say: impl FnMut(f64)) -> Result<(), String> {
    let began = Instant::now();
    loop {
        check_interrupted()?;
        let passed = began.elapsed();
        if passed >= time {
            return Ok(());
        }
        say(passed.as_secs_f64() / time.as_secs_f64());
        std::thread::sleep(LOOK_EVERY.min(time - passed));
    }
}
