//! Time. Engines take `now: Instant` as an argument and never read a clock themselves; the wall
//! clock appears in two places only, RTCP sender reports and call records, and both derive it
//! from one anchor taken at start, so a step of the wall clock moves nothing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds between the NTP epoch (1900) and the Unix epoch (1970), RFC 5905 §6.
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

/// Ties the monotonic clock to the wall clock, once, at start.
#[derive(Clone, Copy, Debug)]
pub struct WallAnchor {
    instant: Instant,
    since_unix_epoch: Duration,
}

impl WallAnchor {
    /// Reads both clocks.
    pub fn now() -> Self {
        Self {
            instant: Instant::now(),
            since_unix_epoch: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }

    /// An anchor with a chosen wall time, for tests and simulation.
    pub fn at(instant: Instant, since_unix_epoch: Duration) -> Self {
        Self { instant, since_unix_epoch }
    }

    /// Wall time of `now` as the duration since the Unix epoch.
    pub fn since_unix_epoch(&self, now: Instant) -> Duration {
        match now.checked_duration_since(self.instant) {
            Some(elapsed) => self.since_unix_epoch + elapsed,
            None => self.since_unix_epoch.saturating_sub(self.instant.duration_since(now)),
        }
    }

    /// Wall time of `now` as a 64-bit NTP timestamp, 32.32 fixed point (RFC 3550 §4).
    pub fn ntp(&self, now: Instant) -> u64 {
        let wall = self.since_unix_epoch(now);
        let seconds = wall.as_secs().wrapping_add(NTP_TO_UNIX_S);
        let fraction = (u64::from(wall.subsec_nanos()) << 32) / 1_000_000_000;
        (seconds << 32) | fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_of_the_unix_epoch_is_the_rfc_constant() {
        let instant = Instant::now();
        let anchor = WallAnchor::at(instant, Duration::ZERO);
        assert_eq!(anchor.ntp(instant), NTP_TO_UNIX_S << 32);
        let half = anchor.ntp(instant + Duration::from_millis(500));
        assert_eq!(half, (NTP_TO_UNIX_S << 32) | (1 << 31));
    }
}
