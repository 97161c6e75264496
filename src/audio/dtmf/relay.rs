//! Relays telephone events between legs whose event clocks may differ (RFC 4733).
//!
//! Start: any packet with a new timestamp, for the one with the marker may be lost. Lasting: one
//! packet out for each in. End: three packets out for the first in, or when nothing came for three
//! packet intervals, or when the next event begins.

use std::time::{Duration, Instant};

use super::{END_PACKETS, EventPacket, OutgoingEvent, Phase};
use crate::wire::rtp::RtpTimestamp;
use crate::wire::telephone_event::TelephoneEvent;

/// The packet interval to assume until two packets tell (RFC 4733 §2.5.1.2 suggests it).
const INTERVAL_ASSUMED: Duration = Duration::from_millis(50);
/// Packet intervals without a packet that end an event (RFC 4733 §2.5.2.2).
const INTERVALS_LOST_MAX: u32 = 3;
/// Bounds of the time after which an event without packets ends.
const LOST_END: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(60)..=Duration::from_millis(300);
/// A timestamp that is behind by less is of an event gone by; by more, of a new timeline.
const STALE_S: i32 = 5;

/// A digit that was received whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedDigit {
    /// `0`–`9`, `*`, `#`, `A`–`D`.
    pub digit: char,
    /// How long it was held.
    pub duration_ms: u32,
}

/// What the relay gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayOutput {
    /// A packet for the other leg.
    Send(EventPacket),
    /// A digit ended; told once.
    Completed(CompletedDigit),
}

/// Relays the events of one direction.
#[derive(Debug)]
pub struct EventRelay {
    in_clock_hz: u32,
    out_clock_hz: u32,
    packet_interval: Duration,
    /// The event that lasts, or the last one, so that its retransmissions are known.
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    out: OutgoingEvent,
    /// Timestamp of the incoming segment.
    segment: RtpTimestamp,
    /// Duration of the segments before, and of this one so far, in the incoming clock.
    before: u32,
    duration: u16,
    /// The incoming packet interval.
    interval: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Lasts; given up at the time.
    Lasting { until: Instant },
    /// Ended, with packets still to be repeated.
    Ending { repeats: u8, next: Instant },
    /// Ended.
    Ended,
}

impl EventRelay {
    /// A relay from one event clock to another; `packet_ms` spaces the packets that end an event.
    pub fn new(in_clock_hz: u32, out_clock_hz: u32, packet_ms: u8) -> Self {
        Self {
            in_clock_hz: in_clock_hz.max(1),
            out_clock_hz: out_clock_hz.max(1),
            packet_interval: Duration::from_millis(u64::from(packet_ms)),
            current: None,
        }
    }

    /// Whether an event is being sent: audio waits.
    pub fn is_active(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.state != State::Ended)
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.current.as_ref()?.state {
            State::Lasting { until } => Some(until),
            State::Ending { next, .. } => Some(next),
            State::Ended => None,
        }
    }

    /// Takes an event packet in, with its RTP timestamp.
    pub fn handle_event(
        &mut self,
        timestamp: RtpTimestamp,
        event: TelephoneEvent,
        now: Instant,
        mut output: impl FnMut(RelayOutput),
    ) {
        let stale = STALE_S.saturating_mul(self.in_clock_hz as i32);
        if let Some(current) = &mut self.current {
            let ahead = timestamp.distance(current.segment);
            if (-stale..0).contains(&ahead) {
                return;
            }
            if current.out.event == event.event && current.continues_at(ahead) {
                current.before = current.before.saturating_add(ahead.unsigned_abs());
                current.segment = timestamp;
                current.duration = 0;
            }
            if timestamp == current.segment {
                return self.update(event, now, &mut output);
            }
        }
        self.finish(now, &mut output);
        self.repeat_end(Repeat::All, now, &mut output);
        self.current = Some(Current {
            out: OutgoingEvent::new(event.event, event.volume),
            segment: timestamp,
            before: 0,
            duration: event.duration,
            interval: INTERVAL_ASSUMED,
            state: State::Lasting { until: now },
        });
        self.update(TelephoneEvent { end: false, ..event }, now, &mut output);
        if event.end {
            self.finish(now, &mut output);
        }
    }

    /// Ends an event whose end was lost, and repeats the packets that end one.
    pub fn handle_timeout(&mut self, now: Instant, mut output: impl FnMut(RelayOutput)) {
        match self.current.as_ref().map(|current| current.state) {
            Some(State::Lasting { until }) if until <= now => self.finish(now, &mut output),
            Some(State::Ending { next, .. }) if next <= now => {
                self.repeat_end(Repeat::Once, now, &mut output);
            }
            _ => (),
        }
    }

    fn update(
        &mut self,
        event: TelephoneEvent,
        now: Instant,
        output: &mut impl FnMut(RelayOutput),
    ) {
        let (in_clock_hz, out_clock_hz) = (self.in_clock_hz, self.out_clock_hz);
        let Some(current) = &mut self.current else { return };
        if !matches!(current.state, State::Lasting { .. }) || event.event != current.out.event {
            return;
        }
        if event.duration > current.duration {
            let step = u32::from(event.duration - current.duration);
            current.interval = Duration::from_secs(step.into()) / in_clock_hz;
            current.duration = event.duration;
        }
        let silence =
            (current.interval * INTERVALS_LOST_MAX).clamp(*LOST_END.start(), *LOST_END.end());
        current.state = State::Lasting { until: now + silence };
        if event.end {
            return self.finish(now, output);
        }
        let total = scale(current.total(), in_clock_hz, out_clock_hz);
        current.out.update(total, Phase::Lasting, &mut |packet| output(RelayOutput::Send(packet)));
    }

    /// Ends the event if it lasts: the first of the end packets goes out, and the digit is told.
    fn finish(&mut self, now: Instant, output: &mut impl FnMut(RelayOutput)) {
        let Some(current) = &mut self.current else { return };
        if !matches!(current.state, State::Lasting { .. }) {
            return;
        }
        current.state = State::Ending { repeats: END_PACKETS, next: now };
        let duration_ms = scale(current.total(), self.in_clock_hz, 1_000);
        let event = TelephoneEvent { event: current.out.event, end: true, volume: 0, duration: 0 };
        self.repeat_end(Repeat::Once, now, output);
        if let Some(digit) = event.digit() {
            output(RelayOutput::Completed(CompletedDigit { digit, duration_ms }));
        }
    }

    fn repeat_end(&mut self, repeat: Repeat, now: Instant, output: &mut impl FnMut(RelayOutput)) {
        let Some(current) = &mut self.current else { return };
        let State::Ending { repeats, .. } = current.state else { return };
        let sent = if repeat == Repeat::All { repeats } else { 1 };
        let total = scale(current.total(), self.in_clock_hz, self.out_clock_hz);
        for _ in 0..sent {
            current
                .out
                .update(total, Phase::Ended, &mut |packet| output(RelayOutput::Send(packet)));
        }
        current.state = match repeats - sent {
            0 => State::Ended,
            repeats => State::Ending { repeats, next: now + self.packet_interval },
        };
    }
}

/// How many of the outstanding end packets go out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Once,
    All,
}

impl Current {
    fn total(&self) -> u32 {
        self.before.saturating_add(u32::from(self.duration))
    }

    /// Whether a segment that begins so many units after this one continues the event (RFC 4733
    /// §2.5.1.3): where this one was said to end, or would have been had the packet not been lost.
    fn continues_at(&self, ahead: i32) -> bool {
        ahead == i32::from(u16::MAX) || (ahead > 0 && ahead == i32::from(self.duration))
    }
}

/// Units of one clock in another's.
fn scale(units: u32, from_hz: u32, to_hz: u32) -> u32 {
    let scaled = u64::from(units) * u64::from(to_hz) / u64::from(from_hz);
    u32::try_from(scaled).unwrap_or(u32::MAX)
}
