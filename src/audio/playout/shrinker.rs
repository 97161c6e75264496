//! When the playout delay may shrink, and by what.

use super::{MS, Shorten};

/// The delay shrinks when there is so much too much of it beside the packet that is left out: small
/// jitter is not to be paid for with corrections.
const MARGIN: i64 = 10 * MS;
/// Quiet packets are left out at most this often...
const QUIET_INTERVAL: i64 = 40 * MS;
/// ...and pitch periods of speech at most this often: 75 ms in a second at the lowest voice.
const SPEECH_INTERVAL: i64 = 200 * MS;
/// Speech is shortened after nobody paused for so long...
const SPEECH_PATIENCE: i64 = 2_000 * MS;
/// ...or at once when there is this much too much delay.
const SPEECH_EXCESS: i64 = 60 * MS;

/// Silence goes first: speech is touched after it was waited for, or when there is no time.
#[derive(Clone, Debug, Default)]
pub(super) struct Shrinker {
    /// Since when there is too much delay.
    excess_since: Option<i64>,
    /// When something was left out last.
    shortened: i64,
}

impl Shrinker {
    /// What may be left out of a packet of so many samples that is played at `time`, with `spare`
    /// samples of delay that nobody needs.
    pub(super) fn allows(&mut self, time: i64, spare: i64, samples: i64) -> Shorten {
        if spare <= samples + MARGIN {
            self.excess_since = None;
            return Shorten::No;
        }
        let since = *self.excess_since.get_or_insert(time);
        let waited = time - since > SPEECH_PATIENCE || spare > samples + SPEECH_EXCESS;
        let last = time - self.shortened;
        if waited && last >= SPEECH_INTERVAL {
            Shorten::Anyway
        } else if last >= QUIET_INTERVAL {
            Shorten::IfQuiet
        } else {
            Shorten::No
        }
    }

    /// Something was left out.
    pub(super) fn left_out(&mut self, time: i64) {
        self.shortened = time;
    }

    /// Another stream.
    pub(super) fn restart(&mut self) {
        self.excess_since = None;
    }
}
