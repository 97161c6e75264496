//! Relays telephone events between legs whose event clocks may differ (RFC 4733).
//!
//! Which packets are of one press, [`super::press`] judges. Start: any packet of a press, for the one
//! with the marker may be lost. Lasting: one packet out for each in. End: three packets out for the
//! first in, or when nothing came for three packet intervals, or when the next press begins.
//!
//! One event at a time leaves by a leg. While the leg sends digits of its own, what is heard is not
//! relayed packet by packet: it is owed once it is whole, and takes its turn behind them.

use std::time::{Duration, Instant};

use super::press::{Heard, HeardEvent, Presses};
use super::{END_PACKETS, EventPacket, OutgoingEvent, PAUSE, Phase, scale};
use crate::wire::telephone_event::{Digit, DigitTime};

/// The most that one call of the relay gives: three ends and the digit before, the start with the end
/// of a segment, an end and the digit.
pub const RELAY_OUTPUTS_MAX: usize = 8;

/// A digit that was received whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedDigit {
    /// Which.
    pub digit: Digit,
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
    /// An event ended that found the outlet taken: it is for [`super::DigitSender::push_event`].
    Owed {
        /// Its code.
        event: u8,
        /// How long it was held, brought within bounds.
        time: DigitTime,
    },
}

/// Whether events may leave by the other leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlet {
    /// Nothing else is sent there.
    Free,
    /// Digits of its own are: [`super::DigitSender::is_busy`].
    Taken,
}

/// Relays the events of one direction.
#[derive(Debug)]
pub struct EventRelay {
    in_clock_hz: u32,
    out_clock_hz: u32,
    packet_interval: Duration,
    presses: Presses,
    /// The event that lasts, or the last one.
    outgoing: Option<Outgoing>,
}

#[derive(Debug)]
struct Outgoing {
    event: OutgoingEvent,
    /// How long it has lasted, in the incoming clock.
    total: u32,
    outlet: Outlet,
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
        let in_clock_hz = in_clock_hz.max(1);
        Self {
            in_clock_hz,
            out_clock_hz: out_clock_hz.max(1),
            packet_interval: Duration::from_millis(u64::from(packet_ms)),
            presses: Presses::new(in_clock_hz),
            outgoing: None,
        }
    }

    /// Whether an event is being relayed: audio waits. Once it ended, its repeated ends go out beside
    /// the audio.
    pub fn is_active(&self) -> bool {
        self.outgoing.as_ref().is_some_and(|outgoing| {
            matches!(outgoing.state, State::Lasting { .. }) && outgoing.outlet == Outlet::Free
        })
    }

    /// Until when, as far as is known, the outlet is in use: for [`super::DigitSender::wait_until`].
    pub fn busy_until(&self) -> Option<Instant> {
        let outgoing = self.outgoing.as_ref().filter(|out| out.outlet == Outlet::Free)?;
        let (end, packets) = match outgoing.state {
            State::Lasting { until } => (until, END_PACKETS),
            State::Ending { repeats, next } => (next, repeats),
            State::Ended => return None,
        };
        let repeats = u32::from(packets.saturating_sub(1));
        Some(end + self.packet_interval * repeats + PAUSE)
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.outgoing.as_ref()?.state {
            State::Lasting { until } => Some(until),
            State::Ending { next, .. } => Some(next),
            State::Ended => None,
        }
    }

    /// Takes an event packet in. `outlet` matters when it begins an event.
    pub fn handle_event(
        &mut self,
        heard: HeardEvent,
        outlet: Outlet,
        now: Instant,
        mut output: impl FnMut(RelayOutput),
    ) {
        match self.presses.hear(heard, now) {
            Heard::GoneBy => return,
            Heard::GoesOn => {}
            Heard::Begins => {
                self.give_up(now, &mut output);
                self.repeat_end(Repeat::All, now, &mut output);
                self.outgoing = Some(Outgoing {
                    event: OutgoingEvent::new(heard.event.event, heard.event.volume),
                    total: 0,
                    outlet,
                    state: State::Lasting { until: now },
                });
            }
        }
        self.update(heard.event.end, now, &mut output);
    }

    /// Another source is heard from now on: an event that lasts ends here and is told, the packets
    /// that end it still leave, and what the numbers of the old source were is forgotten.
    pub fn new_source(&mut self, now: Instant, mut output: impl FnMut(RelayOutput)) {
        self.give_up(now, &mut output);
        self.presses.new_source();
    }

    /// Ends an event whose end was lost, and repeats the packets that end one.
    pub fn handle_timeout(&mut self, now: Instant, mut output: impl FnMut(RelayOutput)) {
        match self.outgoing.as_ref().map(|outgoing| outgoing.state) {
            Some(State::Lasting { until }) if until <= now => self.give_up(now, &mut output),
            Some(State::Ending { next, .. }) if next <= now => {
                self.repeat_end(Repeat::Once, now, &mut output);
            }
            _ => (),
        }
    }

    /// The press goes on, or ends; what comes after its end changes nothing.
    fn update(&mut self, end: bool, now: Instant, output: &mut impl FnMut(RelayOutput)) {
        let Some(outgoing) = &mut self.outgoing else { return };
        if !matches!(outgoing.state, State::Lasting { .. }) {
            return;
        }
        outgoing.total = self.presses.total();
        outgoing.state = State::Lasting { until: now + self.presses.silence() };
        // Some receivers take no notice of an event that they did not see begin.
        if !end || !outgoing.event.started {
            outgoing.send(Phase::Lasting, self.in_clock_hz, self.out_clock_hz, output);
        }
        if end {
            let shortest = if outgoing.total == 0 { DigitTime::SHORTEST.ms() } else { 0 };
            self.finish(shortest, now, output);
        }
    }

    /// Ends the event if it lasts though its end was not received. It lasted longer than is known;
    /// below the shortest duration the other side might not take it for a digit at all.
    fn give_up(&mut self, now: Instant, output: &mut impl FnMut(RelayOutput)) {
        self.finish(DigitTime::SHORTEST.ms(), now, output);
    }

    /// Ends the event if it lasts: the first of the end packets goes out, and the digit is told.
    fn finish(&mut self, shortest_ms: u32, now: Instant, output: &mut impl FnMut(RelayOutput)) {
        let Some(outgoing) = &mut self.outgoing else { return };
        if !matches!(outgoing.state, State::Lasting { .. }) {
            return;
        }
        outgoing.total = outgoing.total.max(scale(shortest_ms, 1_000, self.in_clock_hz));
        outgoing.state = State::Ending { repeats: END_PACKETS, next: now };
        let (event, outlet) = (outgoing.event.event, outgoing.outlet);
        let duration_ms = scale(outgoing.total, self.in_clock_hz, 1_000);
        if outlet == Outlet::Taken {
            outgoing.state = State::Ended;
            output(RelayOutput::Owed { event, time: DigitTime::clamped_ms(duration_ms) });
        }
        self.repeat_end(Repeat::Once, now, output);
        if let Some(digit) = Digit::from_event(event) {
            output(RelayOutput::Completed(CompletedDigit { digit, duration_ms }));
        }
    }

    fn repeat_end(&mut self, repeat: Repeat, now: Instant, output: &mut impl FnMut(RelayOutput)) {
        let Some(outgoing) = &mut self.outgoing else { return };
        let State::Ending { repeats, .. } = outgoing.state else { return };
        let sent = if repeat == Repeat::All { repeats } else { 1 };
        for _ in 0..sent {
            outgoing.send(Phase::Ended, self.in_clock_hz, self.out_clock_hz, output);
        }
        outgoing.state = match repeats - sent {
            0 => State::Ended,
            repeats => State::Ending { repeats, next: now + self.packet_interval },
        };
    }
}

impl Outgoing {
    fn send(
        &mut self,
        phase: Phase,
        in_clock_hz: u32,
        out_clock_hz: u32,
        output: &mut impl FnMut(RelayOutput),
    ) {
        if self.outlet == Outlet::Free {
            let total = scale(self.total, in_clock_hz, out_clock_hz);
            self.event.update(total, phase, &mut |packet| output(RelayOutput::Send(packet)));
        }
    }
}

/// How many of the outstanding end packets go out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Once,
    All,
}

#[cfg(test)]
mod tests;
