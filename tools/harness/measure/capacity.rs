//! How many calls an engine carries on its core: runs what the search asks for.

use serde::Serialize;

use crate::ends::material::BrowserKind;
use crate::measure::run::Run;
use crate::measure::search::{Bounds, Precision, Search};

/// Where latency and cost are told.
pub const USUAL_LOAD: f64 = 0.8;
/// An engine that used this much of its core had what it could get.
const CORE_FULL_PERCENT: f64 = 95.0;

/// One run of a search.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Calls that were accepted.
    pub calls: u16,
    /// Calls that were turned down.
    pub refused: u16,
    /// The worse direction's.
    pub loss_percent: f64,
    /// The worse direction's.
    pub added_ms_p99: Option<f64>,
    /// Of one core.
    pub core_percent: Option<f64>,
    /// Whether the bounds were kept.
    pub carried: bool,
}

/// What a search found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Capacity {
    /// The most calls that were carried; absent when a run was starved.
    pub calls: Option<u16>,
    /// Every run, by calls.
    pub curve: Vec<Step>,
}

/// The most calls that are searched for.
pub fn calls_max(browser: BrowserKind) -> u16 {
    match browser {
        BrowserKind::Narrowband | BrowserKind::Fullband => 2_000,
        BrowserKind::Pcmu => 2_500,
    }
}

/// Calls set up in a second: faster than any machine gets them, and slowly enough that setting them up
/// is not what is measured.
pub fn calls_per_second(browser: BrowserKind) -> u32 {
    match browser {
        BrowserKind::Narrowband | BrowserKind::Fullband => 300,
        BrowserKind::Pcmu => 1_000,
    }
}

/// Searches, beginning with a guess. `measure` runs so many calls; `None` from it is a starved run.
pub fn find(
    guess: u16,
    browser: BrowserKind,
    precision: Precision,
    measure: impl FnMut(u16) -> Result<Option<Run>, String>,
) -> Result<Capacity, String> {
    find_by(Search::new(guess, calls_max(browser), precision), measure)
}

/// The same by a search that has begun.
pub fn find_by(
    mut search: Search,
    mut measure: impl FnMut(u16) -> Result<Option<Run>, String>,
) -> Result<Capacity, String> {
    let mut curve = Vec::new();
    let mut starved = false;
    while let Some(calls) = search.next() {
        let Some(run) = measure(calls)? else {
            starved = true;
            break;
        };
        let carried = within(&run);
        curve.push(Step {
            calls: run.calls,
            refused: calls.saturating_sub(run.calls),
            loss_percent: run.loss_percent(),
            added_ms_p99: run.added_ms().p99,
            core_percent: run.core_percent,
            carried,
        });
        search.record(run.calls, carried);
    }
    curve.sort_by_key(|step| step.calls);
    Ok(Capacity { calls: (!starved).then_some(search.capacity()), curve })
}

/// Whether the accepted calls came through within the bounds.
pub fn within(run: &Run) -> bool {
    let Bounds { loss_percent, added_ms_p99 } = Bounds::DEFAULT;
    run.loss_percent() <= loss_percent && run.added_ms().p99.is_some_and(|p99| p99 <= added_ms_p99)
}

/// Whether the figures are a result: not starved, or starved by an overloaded engine.
pub fn believed(run: &Run) -> bool {
    run.starved.is_none() || overloaded(run)
}

/// Whether an engine had its whole core and still failed. That is believed even when the generator
/// was late: it was not what failed.
pub fn overloaded(run: &Run) -> bool {
    run.core_percent.is_some_and(|percent| percent > CORE_FULL_PERCENT) && !within(run)
}
