//! The engine is killed in mid-call, and another one goes on with its calls: how long each far end hears
//! nothing.
//!
//! The harness is what watches and controls the engine: it starts the other one at once, and gives it the
//! calls' snapshots, which are a second old. Its own delays are in the hole; where they could matter, the
//! turn is void.

use std::sync::mpsc::channel;
use std::time::Duration;

use serde::Serialize;

use crate::ends::generator::{Order, Silences};
use crate::ends::material::Material;
use crate::engine::Engine;
use crate::engine::linecard::{Linecard, Succession};
use crate::machine::clock::wall_ns;
use crate::machine::process::{raise_as_engine, this_thread_waited_ms};
use crate::measure::drive::wait;
use crate::measure::load::{Load, Surroundings};
use crate::measure::percentiles::Percentiles;
use crate::measure::progress::Progress;
use crate::measure::set_up::{Ends, SetUp};

/// Deaths; the figures are medians.
pub const TURNS: usize = 5;
/// Turns that may be void beside those.
const VOID_TURNS_MAX: usize = 5;
/// From the snapshots to the death...
const SNAPSHOT_AGE: Duration = Duration::from_secs(1);
/// ...and from there until everybody is heard again.
const RECOVERED: Duration = Duration::from_secs(2);
/// Between two packets, when nothing happens.
const PACKET_MS: f64 = 20.0;
/// A generator that sends later than this has a part in the hole.
const LATE_MS_MAX: f64 = 2.0;
/// The share of the time until all calls were taken up in which whoever works on it may have waited for
/// a core: more is somebody else's delay.
const WAITED_PERCENT_MAX: f64 = 10.0;

/// One death.
#[derive(Clone, Debug, Serialize)]
pub struct Death {
    /// What a browser and a trunk heard nothing for, at most, beyond the time of a packet.
    pub longest_hole_ms: [f64; 2],
    /// The same of half of them.
    pub median_hole_ms: [f64; 2],
    /// Since the engine was killed.
    pub succession: Succession,
    /// Of the time until all calls were taken up, what the threads that worked on it waited for a core.
    pub waited_percent: f64,
    /// How late the generator sent.
    pub generator_late_ms_p99: f64,
    /// Why it is no result, if it is none.
    pub starved: Option<String>,
}

fn starved(waited_percent: f64, late_ms: f64) -> Option<String> {
    if late_ms > LATE_MS_MAX {
        Some(format!("one in a hundred packets was sent {late_ms:.1} ms late or later"))
    } else if waited_percent > WAITED_PERCENT_MAX {
        Some(format!(
            "engine and controller waited {waited_percent:.0} % of the time for a core, which other \
             programs used"
        ))
    } else {
        None
    }
}

/// What became of all deaths.
#[derive(Clone, Debug, Default)]
pub struct Deaths {
    /// Calls each time.
    pub calls: u16,
    /// Each of them, starved or not.
    pub deaths: Vec<Death>,
    /// Packets that could not be read or authenticated.
    pub bad: u64,
}

impl Deaths {
    fn count(&self, is_counted: impl Fn(&Death) -> bool) -> usize {
        self.deaths.iter().filter(|death| is_counted(death)).count()
    }

    /// Whether there are too few that are a result.
    pub fn is_void(&self) -> bool {
        self.count(|death| death.starved.is_none()) < TURNS
    }

    /// Those that are a result; of a void whole, all.
    pub fn counted(&self) -> impl Iterator<Item = &Death> {
        let is_void = self.is_void();
        self.deaths.iter().filter(move |death| is_void || death.starved.is_none())
    }
}

/// Sets calls up and kills the engine again and again.
pub fn kill(
    engine: &mut Linecard,
    load: &Load,
    material: &Material,
    around: Surroundings,
    progress: &mut Progress,
) -> Result<Deaths, String> {
    let ends = Ends::start(around, load.impairments, 0)?;
    let mut set_up = SetUp { engine, load, material, ends: &ends, accepted: 0 };
    let set_up = set_up.all_calls(progress).map(|_| set_up.accepted);
    let deaths = set_up.and_then(|calls| {
        // Whoever controls the engine is not to wait behind what else the machine does.
        raise_as_engine(around.priority)?;
        wait(load.warm_up, |_| progress.say("warming up", None))?;
        ends.order(Order::Measure([wall_ns(), i64::MAX - 1]));
        let mut deaths = Deaths { calls, ..Deaths::default() };
        while deaths.is_void() && deaths.count(|death| death.starved.is_some()) < VOID_TURNS_MAX {
            let turn = deaths.count(|death| death.starved.is_none());
            let share = Some(turn as f64 / TURNS as f64);
            progress.say(&format!("{calls} calls, death {} of {TURNS}", turn + 1), share);
            deaths.deaths.push(one_death(engine, calls, &ends)?);
        }
        Ok(deaths)
    });
    let seen = ends.end()?;
    Ok(Deaths { bad: seen.bad, ..deaths? })
}

fn one_death(engine: &mut Linecard, calls: u16, ends: &Ends) -> Result<Death, String> {
    engine.take_snapshots(calls)?;
    wait(SNAPSHOT_AGE, |_| {})?;
    silences(ends)?;
    let before_ms = this_thread_waited_ms();
    let succession = engine.die_and_succeed()?;
    // Comfort noise is made beside it, by a thread that lets others go first.
    let works = |thread: &str| thread != "noise";
    let engines_ms = engine.process().map_or(Ok(0.0), |process| process.waited_ms(works))?;
    let waited_ms = this_thread_waited_ms() - before_ms + engines_ms;
    wait(RECOVERED, |_| {})?;
    let Silences { mut longest_us, mut late_us } = silences(ends)?;
    let holes = longest_us.each_mut().map(|us| Percentiles::of(us));
    let beyond = |ms: Option<f64>| (ms.unwrap_or(0.0) - PACKET_MS).max(0.0);
    let late_ms = Percentiles::of(&mut late_us).p99.unwrap_or(0.0);
    let waited_percent = 1e2 * waited_ms / succession.resumed_ms;
    Ok(Death {
        longest_hole_ms: holes.map(|hole| beyond(hole.max)),
        median_hole_ms: holes.map(|hole| beyond(hole.p50)),
        succession,
        waited_percent,
        generator_late_ms_p99: late_ms,
        starved: starved(waited_percent, late_ms),
    })
}

/// What everybody has heard nothing for since this was asked last.
fn silences(ends: &Ends) -> Result<Silences, String> {
    let (to_us, told) = channel();
    ends.order(Order::Silences(to_us));
    told.recv().map_err(|_| "the load generator ended".to_owned())
}
