//! Which packets are of one press of a key.
//!
//! RFC 4733 §2.5.1 lets the timestamp tell: one for all packets of an event, another for the next.
//! Some senders have one timestamp for everything they dial, others one for each packet, so no field
//! decides alone:
//!
//! - behind in the sequence and not ahead in time: reordered or repeated, of no more use; and so is
//!   what still comes of the press before, by code and timestamp;
//! - another event code: another press;
//! - after an end packet: an end that follows soon repeats it, anything else is another press;
//! - under the same timestamp: the same press, unless its duration restarts, or it comes after a
//!   silence that its duration did not count through;
//! - under another timestamp: the same press if it is the next segment, if its duration counts on as
//!   the timestamp does, or if it follows at once, where an end and a pause would not have room.
//!
//! In: event packets and when they came. Out: whether each begins a press, and how long that lasts.

use std::ops::RangeInclusive;
use std::time::Duration;
use std::time::Instant;

use super::{SEGMENT_UNITS, scale};
use crate::audio::repair::HOLD_MAX;
use crate::wire::rtp::{RtpTimestamp, SequenceNumber};
use crate::wire::telephone_event::TelephoneEvent;

/// The packet interval to assume until two packets tell, the one that RFC 4733 §2.5.1.2 recommends.
const INTERVAL_ASSUMED: Duration = Duration::from_millis(50);
/// A packet interval is no longer, with something to spare: 50 ms is the longest that is usual.
const INTERVAL_MS_MAX: u32 = 60;
/// Packet intervals without a packet that end an event (RFC 4733 §2.5.2.2).
const INTERVALS_LOST_MAX: u32 = 3;
/// Bounds of the time after which an event without packets ends.
const SILENCE: RangeInclusive<Duration> = Duration::from_millis(60)..=Duration::from_millis(300);
/// A packet that is behind by less was reordered; by more, the sequence began anew (RFC 3550 A.1).
const BEHIND_PACKETS_MAX: i16 = 100;
/// A reordered packet is not later than this: receivers' buffers do not wait so long.
const BEHIND_TIME_MAX: Duration = Duration::from_secs(2);
/// A press that is lost between two of another's packets is at least a packet, three ends, and a
/// pause: with fewer packets in between there is none.
const FOLLOWS_PACKETS_MAX: u16 = 3;
/// Three ends with audio of 20 ms between them, sent every 50 ms.
const ENDS_PACKETS_MAX: u16 = 8;
/// The same, with audio of 10 ms.
const ENDS_AMONG_AUDIO_PACKETS_MAX: u16 = 16;
/// The shortest pause between two presses. ITU-T Q.24 has 40 ms; packets do not come quite evenly.
const PAUSE_SHORTEST_MS: u32 = 30;
/// The next segment begins within a tenth of a second.
const SEGMENT_LATE_PER_S: u32 = 10;
/// By how much a duration and a timestamp that count the same time may disagree.
const CLOCKS_APART_MS: u32 = 10;

/// An event packet as it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardEvent {
    /// Of its RTP header.
    pub sequence_number: SequenceNumber,
    /// Of its RTP header.
    pub timestamp: RtpTimestamp,
    /// Its payload.
    pub event: TelephoneEvent,
}

/// What a packet is to the presses so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Older than what is known: it changes nothing.
    GoneBy,
    /// Another packet of the press, or of one that has ended.
    GoesOn,
    /// The first one heard of another press.
    Begins,
}

/// The presses of one source. The last one is remembered, and what the one before was called.
#[derive(Debug)]
pub(super) struct Presses {
    clock_hz: u32,
    last: Option<Press>,
    before: Option<PressBefore>,
    /// What the source's last press taught about its timestamps.
    habit: Timestamps,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    /// Its newest packet; the duration is the longest under that timestamp.
    newest: HeardEvent,
    at: Instant,
    /// How long it has lasted, in clock units.
    total: u32,
    interval: Duration,
    timestamps: Timestamps,
    /// Whether an end packet was heard.
    ended: bool,
}

/// The press before the last one.
#[derive(Clone, Copy, Debug)]
struct PressBefore {
    event: u8,
    timestamp: RtpTimestamp,
    at: Instant,
}

/// How a sender uses timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timestamps {
    Unknown,
    /// One for a press, or for many.
    Kept,
    /// One for each packet.
    Moving,
}

/// From a press's newest packet to one that comes now.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// 1 for the next packet. Large when the sequence began anew.
    packets: u16,
    /// Of the timestamp, in clock units.
    ahead: i32,
    /// Of the duration, in clock units.
    growth: i32,
    since: Duration,
    /// [`INTERVAL_MS_MAX`] for each packet, in clock units: the most that is no pause.
    ahead_max: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Within a segment, or each packet under its own timestamp.
    Usual,
    /// The next segment of a long event (RFC 4733 §2.5.1.3).
    Segment,
    /// The duration's 16 bits wrapped: a sender that knows no segments.
    Wrapped,
}

impl Presses {
    pub(super) fn new(clock_hz: u32) -> Self {
        Self { clock_hz, last: None, before: None, habit: Timestamps::Unknown }
    }

    /// Forgets: another source's numbers say nothing about those so far.
    pub(super) fn new_source(&mut self) {
        *self = Self::new(self.clock_hz);
    }

    /// Takes a packet in.
    pub(super) fn hear(&mut self, heard: HeardEvent, now: Instant) -> Heard {
        let Some(press) = self.last else { return self.begin(heard, now) };
        let step = press.step_to(heard, self.clock_hz, now);
        if press.is_before(heard, &step) || self.is_of_the_press_before(heard, &step, now) {
            return Heard::GoneBy;
        }
        let same = heard.event.event == press.newest.event.event
            && match (press.ended, heard.event.end) {
                (false, _) => press.goes_on(heard, &step, self.habit, self.clock_hz),
                (true, true) => press.ends_again(heard, &step, self.habit, self.clock_hz),
                (true, false) => false,
            };
        if !same {
            return self.begin(heard, now);
        }
        let press = press.taught_by(heard, &step, self.clock_hz, now);
        if press.timestamps != Timestamps::Unknown {
            self.habit = press.timestamps;
        }
        self.last = Some(press);
        Heard::GoesOn
    }

    /// How long the press has lasted, in clock units.
    pub(super) fn total(&self) -> u32 {
        self.last.map_or(0, |press| press.total)
    }

    /// Without a packet for so long, the press has ended.
    pub(super) fn silence(&self) -> Duration {
        self.last.map_or(*SILENCE.start(), |press| press.silence())
    }

    /// Whether a sender still says what it said of the press before: under its own timestamp, or,
    /// where all have one, without time since then for another press of that key.
    fn is_of_the_press_before(&self, heard: HeardEvent, step: &Step, now: Instant) -> bool {
        let Some(before) = &self.before else { return false };
        let HeardEvent { timestamp, event, .. } = heard;
        if (before.event, before.timestamp) != (event.event, timestamp) {
            return false;
        }
        match step.ahead {
            0 => {
                let other_key =
                    self.last.is_some_and(|last| last.newest.event.event != event.event);
                other_key && event.end && step.has_no_room_for(event.duration, self.clock_hz)
            }
            ahead => ahead < 0 && now.saturating_duration_since(before.at) < BEHIND_TIME_MAX,
        }
    }

    fn begin(&mut self, heard: HeardEvent, now: Instant) -> Heard {
        self.before = self.last.map(|last| PressBefore {
            event: last.newest.event.event,
            timestamp: last.newest.timestamp,
            at: last.at,
        });
        self.last = Some(Press {
            newest: heard,
            at: now,
            total: heard.event.duration.into(),
            interval: INTERVAL_ASSUMED,
            timestamps: Timestamps::Unknown,
            ended: heard.event.end,
        });
        Heard::Begins
    }
}

impl Press {
    fn step_to(&self, heard: HeardEvent, clock_hz: u32, now: Instant) -> Step {
        let newest = &self.newest;
        let packets = heard.sequence_number.0.wrapping_sub(newest.sequence_number.0);
        let mut step = Step {
            packets,
            ahead: heard.timestamp.distance(newest.timestamp),
            growth: i32::from(heard.event.duration) - i32::from(newest.event.duration),
            since: now.saturating_duration_since(self.at),
            ahead_max: ms_units(INTERVAL_MS_MAX, clock_hz).saturating_mul(packets.into()),
            kind: Kind::Usual,
        };
        if self.continues_at(step, clock_hz) {
            step.kind = Kind::Segment;
        } else if step.ahead == 0 && self.wraps_to(heard.event.duration, clock_hz) {
            step.kind = Kind::Wrapped;
        }
        step
    }

    /// Whether a packet is older. A source that steps back in its sequence goes on in time.
    fn is_before(&self, heard: HeardEvent, step: &Step) -> bool {
        let behind = heard.sequence_number.distance(self.newest.sequence_number);
        (-BEHIND_PACKETS_MAX..=0).contains(&behind)
            && step.ahead <= 0
            && step.since < BEHIND_TIME_MAX
    }

    /// Whether a packet with the same event code is of this press, whose end was not heard.
    fn goes_on(&self, heard: HeardEvent, step: &Step, habit: Timestamps, clock_hz: u32) -> bool {
        let silent = step.since >= self.silence();
        let follows = step.packets <= FOLLOWS_PACKETS_MAX;
        if step.kind != Kind::Usual {
            return !silent || follows;
        }
        if step.ahead == 0 {
            let carries_on = !silent || follows || step.counted_through(clock_hz);
            return carries_on && !self.restarts_at(heard);
        }
        let timestamps = self.timestamps_or(habit);
        let kept = timestamps == Timestamps::Kept;
        let moving = timestamps == Timestamps::Moving;
        match step.packets {
            1 => step.is_steady() || step.growth > 0,
            _ if kept => follows && heard.event.end && step.is_steady() && step.growth >= 0,
            _ if (follows || moving && !silent) && step.is_steady() => true,
            _ => step.counts_on(clock_hz) && (moving || step.counted_through(clock_hz)),
        }
    }

    /// Whether a duration under the same timestamp counts anew. The last packet of a press may say a
    /// little less than the one before, since that one counted the time until its successor.
    fn restarts_at(&self, heard: HeardEvent) -> bool {
        heard.event.duration < self.newest.event.duration / 2
    }

    /// Whether an end packet repeats the end of this press, which was heard. Under another timestamp
    /// it does if it follows at once, or if since then there was no time for a pause and for the press
    /// that it would have ended, be it by the timestamp or by when it came.
    fn ends_again(&self, heard: HeardEvent, step: &Step, habit: Timestamps, clock_hz: u32) -> bool {
        if step.ahead == 0 {
            let soon = step.packets <= ENDS_PACKETS_MAX || step.since < *SILENCE.end();
            return soon && !self.restarts_at(heard);
        }
        let follows = match self.timestamps_or(habit) {
            Timestamps::Moving => step.packets <= FOLLOWS_PACKETS_MAX,
            Timestamps::Kept | Timestamps::Unknown => step.packets == 1,
        };
        let follows = follows && step.since < *SILENCE.end();
        if follows || step.packets > ENDS_AMONG_AUDIO_PACKETS_MAX {
            return follows;
        }
        // A timestamp is that of its press's onset, or of its packet: what is sooner than both allow.
        let shorter = self.newest.event.duration.min(heard.event.duration);
        let next = u32::from(shorter) + ms_units(PAUSE_SHORTEST_MS, clock_hz);
        let too_early = u32::try_from(step.ahead).is_ok_and(|ahead| ahead < next);
        too_early || step.has_no_room_for(heard.event.duration, clock_hz)
    }

    /// What this press taught about timestamps, or the one before.
    fn timestamps_or(&self, habit: Timestamps) -> Timestamps {
        match self.timestamps {
            Timestamps::Unknown => habit,
            known => known,
        }
    }

    fn taught_by(mut self, heard: HeardEvent, step: &Step, clock_hz: u32, now: Instant) -> Self {
        let newest = self.newest;
        self.total = self
            .total
            .saturating_add(self.grown_by(step, clock_hz))
            .max(heard.event.duration.into());
        let spaced = match step {
            Step { kind: Kind::Usual, ahead: 0, growth, .. } if newest.event.duration > 0 => {
                *growth
            }
            Step { kind: Kind::Usual, ahead, .. } if step.is_steady() => *ahead,
            _ => 0,
        };
        if spaced > 0 && !self.ended {
            // Longer than it is where packets were lost; how many, audio between them would hide.
            self.interval = Duration::from_secs(spaced.unsigned_abs().into()) / clock_hz;
        }
        let unknown = self.timestamps == Timestamps::Unknown;
        match step {
            Step { kind: Kind::Segment | Kind::Wrapped, .. } => {}
            Step { ahead: 0, growth: 1.., .. } if unknown && !heard.event.end => {
                self.timestamps = Timestamps::Kept;
            }
            // Ends may have timestamps of their own where the packets before had one.
            Step { ahead: 1.., .. } if unknown || !heard.event.end => {
                self.timestamps = Timestamps::Moving;
            }
            _ => {}
        }
        self.newest = heard;
        if step.ahead == 0 && step.kind == Kind::Usual {
            self.newest.event.duration = heard.event.duration.max(newest.event.duration);
        }
        self.at = now;
        self.ended |= heard.event.end;
        self
    }

    /// How much longer the press has lasted after a step, in clock units.
    fn grown_by(&self, step: &Step, clock_hz: u32) -> u32 {
        let grown = match step.kind {
            Kind::Segment => step.ahead.saturating_add(step.growth),
            Kind::Wrapped => step.growth + (1 << 16),
            Kind::Usual if self.ended => 0,
            // The duration may count from each packet's own timestamp, or from the onset.
            Kind::Usual if step.ahead == 0 && self.timestamps == Timestamps::Moving => 0,
            Kind::Usual if step.ahead == 0 || step.counts_on(clock_hz) => step.growth,
            Kind::Usual if step.is_steady() => step.ahead,
            Kind::Usual => step.growth,
        };
        u32::try_from(grown).unwrap_or(0)
    }

    fn silence(&self) -> Duration {
        (self.interval * INTERVALS_LOST_MAX).clamp(*SILENCE.start(), *SILENCE.end())
    }

    /// Whether a step leads to the next segment of the event (RFC 4733 §2.5.1.3): from where a full
    /// one ends, or a little later, since libwebrtc begins it with the packet after; or from where
    /// this one was last said to end, with a duration that counts anew.
    fn continues_at(&self, step: Step, clock_hz: u32) -> bool {
        let Ok(ahead) = u32::try_from(step.ahead) else { return false };
        let full = SEGMENT_UNITS..=SEGMENT_UNITS + clock_hz / SEGMENT_LATE_PER_S;
        let ended = u32::from(self.newest.event.duration);
        full.contains(&ahead) || (ahead > 0 && ahead == ended && step.growth < 0)
    }

    fn wraps_to(&self, duration: u16, clock_hz: u32) -> bool {
        let wrapped = u32::from(duration.wrapping_sub(self.newest.event.duration));
        let most = u32::try_from(SILENCE.end().as_millis()).unwrap_or(u32::MAX);
        duration < self.newest.event.duration && wrapped <= ms_units(most, clock_hz)
    }
}

impl Step {
    /// Whether the timestamp went as far as packets without a pause take it.
    fn is_steady(&self) -> bool {
        u32::try_from(self.ahead).is_ok_and(|ahead| (1..=self.ahead_max).contains(&ahead))
    }

    /// Whether too little time passed for a pause and a press of that duration.
    fn has_no_room_for(&self, duration: u16, clock_hz: u32) -> bool {
        let press = Duration::from_secs(duration.into()) / clock_hz;
        self.since < press + Duration::from_millis(PAUSE_SHORTEST_MS.into())
    }

    /// Whether the duration grew as the timestamp did: it counts from the onset.
    fn counts_on(&self, clock_hz: u32) -> bool {
        let apart = self.growth.abs_diff(self.ahead);
        self.growth > 0 && apart <= ms_units(CLOCKS_APART_MS, clock_hz)
    }

    /// Whether the duration counted through most of the time that passed, but for what the packet may have
    /// waited for those before it.
    fn counted_through(&self, clock_hz: u32) -> bool {
        let held = if self.packets > 1 { HOLD_MAX } else { Duration::ZERO };
        let passed = self.since.saturating_sub(held).as_millis();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        let passed = ms_units(passed, clock_hz).min(self.ahead_max);
        u32::try_from(self.growth).is_ok_and(|growth| growth > 0 && growth >= passed / 3 * 2)
    }
}

fn ms_units(ms: u32, clock_hz: u32) -> u32 {
    scale(ms, 1_000, clock_hz)
}
