//! What is remembered of trunks that could not take calls: one that said when it may be asked again
//! (RFC 3261 §21.5.4), and one that said nothing at all, which costs each call its silence. They are
//! asked after all others until then; nobody is left out for good.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The longest that a trunk's Retry-After is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// How long a silent trunk is asked last.
const SILENCE_REMEMBERED: Duration = Duration::from_secs(30);

/// Until when trunks are asked last, by name. There are as many as are configured.
#[derive(Debug, Default)]
pub struct TrunkHealth {
    rests: HashMap<String, Instant>,
}

impl TrunkHealth {
    /// A trunk wants to be left alone for so many seconds.
    pub fn wants_rest(&mut self, trunk: &str, seconds: u32, now: Instant) {
        let rest = Duration::from_secs(seconds.into()).min(RETRY_AFTER_MAX);
        self.rests.insert(trunk.to_owned(), now + rest);
    }

    /// A trunk has said nothing.
    pub fn is_silent(&mut self, trunk: &str, now: Instant) {
        self.rests.insert(trunk.to_owned(), now + SILENCE_REMEMBERED);
    }

    /// A trunk takes calls.
    pub fn is_well(&mut self, trunk: &str) {
        self.rests.remove(trunk);
    }

    /// The trunks in the order in which a call asks them: as they are configured, those that rest
    /// behind the others, who may be asked first of them first.
    pub fn order<'a>(&self, trunks: impl Iterator<Item = &'a str>, now: Instant) -> Vec<usize> {
        let rest = |trunk: &str| self.rests.get(trunk).copied().filter(|until| *until > now);
        let mut order: Vec<(Option<Instant>, usize)> =
            trunks.enumerate().map(|(index, trunk)| (rest(trunk), index)).collect();
        order.sort();
        order.into_iter().map(|(_, index)| index).collect()
    }
}
