//! What is remembered of trunks that could not take calls: one that said when it may be asked again
//! (RFC 3261 §21.5.4), and one that said nothing at all, which costs each call its silence. They are
//! asked after all others until then; nobody is left out for good.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::signal::release::Release;
use crate::wire::sip::Status;

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
    /// A trunk refuses a call. A 503 speaks of the trunk, and its Retry-After of when it takes calls
    /// again; with any other status that time is the callee's, who is busy or away until then
    /// (RFC 3261 §20.33).
    pub fn refused(&mut self, trunk: &str, release: &Release, now: Instant) {
        if let (Status::SERVICE_UNAVAILABLE, Some(seconds)) =
            (release.status, release.retry_after_s)
        {
            let rest = Duration::from_secs(seconds.into()).min(RETRY_AFTER_MAX);
            self.rests.insert(trunk.to_owned(), now + rest);
        }
    }

    /// A trunk has said nothing, which takes nothing away from a rest that it asked for.
    pub fn is_silent(&mut self, trunk: &str, now: Instant) {
        let until = now + SILENCE_REMEMBERED;
        let rest = self.rests.entry(trunk.to_owned()).or_insert(until);
        *rest = until.max(*rest);
    }

    /// A trunk goes on with a call: it takes calls. A 100 says no more than that somebody is there,
    /// and may be followed by another 503.
    pub fn proceeding(&mut self, trunk: &str, status: Status) {
        if status != Status::TRYING {
            self.rests.remove(trunk);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn asks_first(health: &TrunkHealth, now: Instant) -> usize {
        health.order(["a", "b"].into_iter(), now)[0]
    }

    #[test]
    fn a_rest_is_as_long_as_it_was_asked_for_and_no_longer_than_we_believe() {
        let (mut health, now) = (TrunkHealth::default(), Instant::now());
        let seconds = |seconds| now + Duration::from_secs(seconds);
        let full = |wait| Release::of_status(Status::SERVICE_UNAVAILABLE, "").retry_after(wait);
        health.refused("a", &full(120), now);
        assert_eq!(asks_first(&health, seconds(119)), 1);
        assert_eq!(asks_first(&health, seconds(120)), 0);
        health.refused("a", &full(u32::MAX), now);
        assert_eq!(asks_first(&health, seconds(599)), 1);
        assert_eq!(asks_first(&health, seconds(600)), 0);
    }

    #[test]
    fn silence_takes_nothing_away_from_a_rest_and_a_hundred_ends_none() {
        let (mut health, now) = (TrunkHealth::default(), Instant::now());
        let release = Release::of_status(Status::SERVICE_UNAVAILABLE, "").retry_after(120);
        health.refused("a", &release, now);
        health.is_silent("a", now);
        health.proceeding("a", Status::TRYING);
        assert_eq!(asks_first(&health, now + Duration::from_secs(119)), 1);
        health.proceeding("a", Status::RINGING);
        assert_eq!(asks_first(&health, now), 0);
        health.is_silent("a", now);
        assert_eq!(asks_first(&health, now + Duration::from_secs(29)), 1);
        assert_eq!(asks_first(&health, now + Duration::from_secs(30)), 0);
    }
}
