//! The timers of RFC 3261 §17 and appendix A, reduced to the two that any transaction has at one
//! moment: when to send again, and when to give up or go away.

use super::Flow;
use std::time::{Duration, Instant};

/// Round-trip estimate, RFC 3261 §17.1.1.1.
pub const T1: Duration = Duration::from_millis(500);
/// Longest interval between retransmissions of non-INVITE requests and of INVITE responses.
pub const T2: Duration = Duration::from_secs(4);
/// How long a message may stay in the network.
pub const T4: Duration = Duration::from_secs(5);
/// 64·T1: timers B, D, F, H, J, L and M.
pub const TRANSACTION_LIFETIME: Duration = Duration::from_secs(32);
/// How long an INVITE is left alone before it gets its 100 (RFC 3261 §17.2.1).
pub const TRYING_DELAY: Duration = Duration::from_millis(200);
/// A called party that still rings after this is cancelled: timer C, more than three minutes
/// (RFC 3261 §16.6).
pub const RINGING_MAX: Duration = Duration::from_secs(190);

/// A transaction's two deadlines.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    repeat: Option<Repeat>,
    end: Option<Instant>,
}

#[derive(Debug)]
struct Repeat {
    at: Instant,
    interval: Duration,
    interval_max: Duration,
}

/// Which deadline has passed.
pub(super) enum Due {
    /// Send the last message again.
    Repeat,
    /// The state's time is over.
    End,
}

impl Deadlines {
    /// The state ends at `end`.
    pub(super) fn end_at(&mut self, end: Instant) {
        self.end = Some(end);
    }

    /// Repeats from T1 on, doubling up to `interval_max` (timers A, E, G).
    pub(super) fn repeat(&mut self, now: Instant, interval_max: Duration) {
        self.repeat = Some(Repeat { at: now + T1, interval: T1, interval_max });
    }

    /// Sends once, after `delay`.
    pub(super) fn send_after(&mut self, delay: Duration, now: Instant) {
        self.repeat = Some(Repeat { at: now + delay, interval: T1, interval_max: T1 });
    }

    /// As [`Deadlines::repeat`], unless the flow retransmits by itself.
    pub(super) fn repeat_if_unreliable(
        &mut self,
        flow: Flow,
        now: Instant,
        interval_max: Duration,
    ) {
        if !flow.is_reliable() {
            self.repeat(now, interval_max);
        }
    }

    /// From now on repeats come T2 apart (RFC 3261 §17.1.2.2, Proceeding).
    pub(super) fn slow_down(&mut self) {
        if let Some(repeat) = &mut self.repeat {
            repeat.interval = T2;
        }
    }

    /// No more repeats.
    pub(super) fn stop_repeating(&mut self) {
        self.repeat = None;
    }

    /// Takes the deadline that has passed, the end before a repeat.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        if self.end.is_some_and(|end| end <= now) {
            self.end = None;
            return Some(Due::End);
        }
        let repeat = self.repeat.as_mut().filter(|repeat| repeat.at <= now)?;
        repeat.interval = (repeat.interval * 2).min(repeat.interval_max);
        // Counted from now: a process that was stopped sends once, not once for each interval.
        repeat.at = now + repeat.interval;
        Some(Due::Repeat)
    }

    /// The earlier of the two.
    pub(super) fn next(&self) -> Option<Instant> {
        self.repeat.iter().map(|repeat| repeat.at).chain(self.end).min()
    }
}
