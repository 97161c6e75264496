//! Sources that were turned away: said once a minute and source, so that an operator
//! finds a carrier's second address, and a flood does not fill the log.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::warn;

/// Sources that are remembered; of more nothing is said until a minute is over.
const SOURCES_MAX: usize = 256;
const MINUTE: Duration = Duration::from_secs(60);

/// Sources that were turned away in the last minute.
#[derive(Debug, Default)]
pub struct TurnedAway {
    /// Since when.
    sources: BTreeMap<IpAddr, Instant>,
}

impl TurnedAway {
    /// Notes one more, and why, with what an operator can do about it. `true` when it was said.
    pub fn note(&mut self, source: IpAddr, why: &'static str, now: Instant) -> bool {
        self.sources.retain(|_, since| now.duration_since(*since) < MINUTE);
        if self.sources.len() >= SOURCES_MAX || self.sources.contains_key(&source) {
            return false;
        }
        self.sources.insert(source, now);
        warn!(%source, "{why}; more of it within a minute is not logged");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_once_a_minute_and_many_sources_are_bounded() {
        let mut turned_away = TurnedAway::default();
        let now = Instant::now();
        let source = |n: u32| IpAddr::from(n.to_be_bytes());
        assert!(turned_away.note(source(1), "x", now));
        assert!(!turned_away.note(source(1), "x", now + Duration::from_secs(59)));
        assert!(turned_away.note(source(1), "x", now + MINUTE));
        let said = (2..1_000).filter(|n| turned_away.note(source(*n), "x", now + MINUTE)).count();
        assert_eq!(said, SOURCES_MAX - 1);
        assert!(turned_away.note(source(999), "x", now + 2 * MINUTE));
    }
}
