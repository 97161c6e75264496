//! What a run saw, before it is summed up, and whether it may be believed.

use std::time::Duration;

use serde::Serialize;

use crate::ends::generator::Seen;
use crate::engine::Counted;
use crate::machine::process::Accounts;
use crate::measure::percentiles::{Percentiles, Refusals};

/// A generator that sends later than this, a tenth of a packet, measures its own bursts.
const LATE_MS_MAX: f64 = 2.0;
/// The share of time that the engine may have waited for its own core: more is somebody else's delay.
const WAITED_PERCENT_MAX: f64 = 5.0;

/// The share of its questions that an observer has to be answered: less is the harness's fault or
/// that of the core it has in common with who answers.
const ANSWERED_PERCENT_MIN: f64 = 95.0;

/// What an observer asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Queries {
    /// That many times a second, if it could.
    pub asked_per_second: u32,
    /// So often it was answered.
    pub answered_per_second: f64,
}

/// What a run saw, before it is summed up.
pub struct Outcome {
    /// Calls that were accepted.
    pub accepted: u16,
    /// How long each refusal took.
    pub refused_after: Vec<Duration>,
    /// In the engine's words.
    pub refusal: Option<String>,
    /// What the generator saw.
    pub seen: Seen,
    /// What the engine counted of the calls.
    pub counted: Option<[Counted; 2]>,
    /// Of the engine, during the measured time.
    pub accounts: Accounts,
    /// The measured time, by the clock.
    pub elapsed: Duration,
    /// What an observer asked and was answered during it.
    pub queries: Option<Queries>,
    /// What a call takes of the core, by the engine's own measure at the end of it; asked where an
    /// observer asks.
    pub call_load_percent: Option<f64>,
    /// Of the engine, before the first call and with all of them.
    pub resident_bytes: [u64; 2],
}

impl Queries {
    fn starved(self) -> Option<String> {
        let Self { asked_per_second, answered_per_second } = self;
        let least = f64::from(asked_per_second) * ANSWERED_PERCENT_MIN / 1e2;
        (answered_per_second < least).then(|| {
            format!(
                "of {asked_per_second} questions a second {answered_per_second:.0} were answered"
            )
        })
    }
}

impl Outcome {
    /// Those that there were.
    pub fn refusals(&self) -> Option<Refusals> {
        let reason = self.refusal.clone()?;
        let us = |after: &Duration| after.as_micros().min(u128::from(u32::MAX)) as u32;
        let mut after_us: Vec<u32> = self.refused_after.iter().map(us).collect();
        let after_ms = Percentiles::of(&mut after_us);
        Some(Refusals { calls: after_us.len(), reason, after_ms })
    }

    /// Why the run is no result, if it is none: the harness or the engine was starved.
    pub fn starved(&self, late: Percentiles) -> Option<String> {
        let late_ms = late.p99.unwrap_or(0.0);
        let waited_percent = self.accounts.waited_ms / 10.0 / self.elapsed.as_secs_f64();
        if late_ms > LATE_MS_MAX {
            Some(format!("one in a hundred packets was sent {late_ms:.1} ms late or later"))
        } else if self.seen.dropped + self.seen.refused_sends > 0 {
            let (dropped, refused) = (self.seen.dropped, self.seen.refused_sends);
            Some(format!(
                "the generator's sockets dropped {dropped} and did not take {refused} datagrams"
            ))
        } else if waited_percent > WAITED_PERCENT_MAX {
            Some(format!(
                "the engine waited {waited_percent:.0} % of the time for its core, which other \
                 programs used"
            ))
        } else {
            self.queries.and_then(Queries::starved)
        }
    }

    /// What else is remarkable.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.seen.bad > 0 {
            let bad = self.seen.bad;
            remarks.push(format!("{bad} packets from the engine could not be read"));
        }
        if self.seen.silent_streams > 0 {
            let (silent, all) = (self.seen.silent_streams, 2 * u64::from(self.accepted));
            remarks.push(format!("nothing ever came back on {silent} of {all} streams"));
        }
        if cfg!(debug_assertions) {
            remarks.push("not an optimised build: no figure means anything".to_owned());
        }
        remarks
    }
}
