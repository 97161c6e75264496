//! Sends digits as telephone events (RFC 4733 §2.5.1): a packet every packet time while the digit
//! lasts, three that end it, and a pause before the next.

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::{END_PACKETS, EventPacket, OutgoingEvent, Phase};
use crate::wire::telephone_event::{VOLUME_DEFAULT, event_of};

/// Digits that can wait: the longest telephone number with pauses for thought (E.164: 15 digits).
pub const DIGITS_QUEUED_MAX: usize = 32;
/// How long a digit may last: receivers want 40 ms (ITU-T Q.24), nobody wants more than 5 s.
const DURATION_MS: RangeInclusive<u32> = 40..=5_000;
/// Between the end of a digit and the onset of the next; ITU-T Q.24 asks for 40 ms.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a digit is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigitRefused {
    /// Not one of `0`–`9`, `*`, `#`, `A`–`D`.
    NotADigit,
    /// [`DIGITS_QUEUED_MAX`] are waiting.
    QueueFull,
}

impl fmt::Display for DigitRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DigitRefused::NotADigit => f.write_str("a digit is one of 0-9, *, #, A-D"),
            DigitRefused::QueueFull => write!(f, "{DIGITS_QUEUED_MAX} digits are waiting already"),
        }
    }
}

impl std::error::Error for DigitRefused {}

/// Sends the digits of one leg, one after the other.
#[derive(Debug)]
pub struct DigitSender {
    clock_hz: u32,
    packet_interval: Duration,
    queue: VecDeque<Queued>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
struct Queued {
    event: u8,
    duration: Duration,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next digit may begin at the time.
    Idle { from: Option<Instant> },
    /// A digit lasts.
    Lasting { digit: Queued, out: OutgoingEvent, onset: Instant, next: Instant },
    /// A digit ended, with packets still to be repeated.
    Ending { digit: Queued, out: OutgoingEvent, onset: Instant, repeats: u8, next: Instant },
}

impl DigitSender {
    /// Nothing to send yet; `clock_hz` is that of the event format.
    pub fn new(clock_hz: u32, packet_ms: u8) -> Self {
        Self {
            clock_hz,
            packet_interval: Duration::from_millis(u64::from(packet_ms.max(1))),
            queue: VecDeque::with_capacity(DIGITS_QUEUED_MAX),
            state: State::Idle { from: None },
        }
    }

    /// Queues a digit; its duration is brought within 40..=5,000 ms.
    ///
    /// # Errors
    /// [`DigitRefused`].
    pub fn push(
        &mut self,
        digit: char,
        duration_ms: u32,
        now: Instant,
    ) -> Result<(), DigitRefused> {
        let event = event_of(digit).ok_or(DigitRefused::NotADigit)?;
        if self.queue.len() == DIGITS_QUEUED_MAX {
            return Err(DigitRefused::QueueFull);
        }
        let duration_ms = duration_ms.clamp(*DURATION_MS.start(), *DURATION_MS.end());
        let duration = Duration::from_millis(duration_ms.into());
        self.queue.push_back(Queued { event, duration });
        if let State::Idle { from } = &mut self.state {
            from.get_or_insert(now);
        }
        Ok(())
    }

    /// Whether a digit is being sent: audio waits.
    pub fn is_active(&self) -> bool {
        !matches!(self.state, State::Idle { .. })
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Idle { from } => from.filter(|_| !self.queue.is_empty()),
            State::Lasting { next, .. } | State::Ending { next, .. } => Some(next),
        }
    }

    /// Sends what is due: at most one packet, and one a segment of a long digit. Being called late
    /// makes a digit's packets fewer, never a burst.
    pub fn handle_timeout(&mut self, now: Instant, mut send: impl FnMut(EventPacket)) {
        if self.next_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.state = match self.state {
            State::Idle { .. } => match self.queue.pop_front() {
                Some(digit) => {
                    let out = OutgoingEvent::new(digit.event, VOLUME_DEFAULT);
                    self.lasting(digit, out, now, now, &mut send)
                }
                None => State::Idle { from: None },
            },
            State::Lasting { digit, out, onset, .. } => {
                self.lasting(digit, out, onset, now, &mut send)
            }
            State::Ending { digit, out, onset, repeats, .. } => {
                self.ending(digit, out, onset, repeats, now, &mut send)
            }
        };
    }

    fn lasting(
        &self,
        digit: Queued,
        mut out: OutgoingEvent,
        onset: Instant,
        now: Instant,
        send: &mut impl FnMut(EventPacket),
    ) -> State {
        // A packet covers the packet time that begins with it. The first one never ends the digit:
        // some receivers take no notice of an event that they did not see begin.
        let packets = now.duration_since(onset).as_millis() / self.packet_interval.as_millis() + 1;
        let covered = self.packet_interval * u32::try_from(packets).unwrap_or(u32::MAX);
        if covered >= digit.duration && out.started {
            return self.ending(digit, out, onset, END_PACKETS, now, send);
        }
        let covered = covered.min(digit.duration);
        out.update(self.in_clock(covered), Phase::Lasting, send);
        State::Lasting { digit, out, onset, next: onset + covered }
    }

    fn ending(
        &self,
        digit: Queued,
        mut out: OutgoingEvent,
        onset: Instant,
        repeats: u8,
        now: Instant,
        send: &mut impl FnMut(EventPacket),
    ) -> State {
        out.update(self.in_clock(digit.duration), Phase::Ended, send);
        let next = now + self.packet_interval;
        match repeats - 1 {
            0 => State::Idle { from: Some(next.max(onset + digit.duration + PAUSE)) },
            repeats => State::Ending { digit, out, onset, repeats, next },
        }
    }

    fn in_clock(&self, time: Duration) -> u32 {
        let units = time.as_millis() * u128::from(self.clock_hz) / 1_000;
        u32::try_from(units).unwrap_or(u32::MAX)
    }
}
