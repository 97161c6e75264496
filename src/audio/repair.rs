//! The repair window: puts one incoming stream back in order and says where it has gaps, without
//! making a stream in order wait.
//!
//! ```text
//!  put ─► in its turn: borrowed straight from the receive buffer ─► Turn
//!      ├► ahead of it: held, 20 to 60 ms ─► next ─► Turn, when what lies before came or was given up
//!      └► late, twice, or not believed: discarded
//! ```
//!
//! In: packets as they arrive, and time. Out: [`Turn`]s in the order in which they were sent. What is
//! missing before a packet stands in its own turn; filling it, timestamps and codecs are left to the
//! line. Where a packet stands is known to [`super::sequence`]; statistics are in
//! [`super::reception`].

use std::ops::Range;
use std::time::{Duration, Instant};

pub use super::sequence::Continuity;
use super::sequence::{Place, Sequence};
pub use super::shelf::Packet;
use super::shelf::Shelf;
use crate::base::discard::Discard;
use crate::base::opaque::opaque;
use crate::wire::rtp::RtpHeader;

/// Packets held at once: 160 ms of 20 ms packets, more than the longest hold.
pub const HELD_PACKETS_MAX: usize = 8;
/// How long a gap is held open on a path that keeps the order: one packet.
pub const HOLD_MIN: Duration = Duration::from_millis(20);
/// How long a gap is held open at most. Later packets are of no use to a conversation.
pub const HOLD_MAX: Duration = Duration::from_millis(60);

/// No datagram that is received has a longer payload, see `BUFFER_BYTES` of [`crate::os::ring`].
const PAYLOAD_BYTES_MAX: usize = 2_036;
/// Payloads held at once: the longest hold at 195 kb/s, and one more packet of any length. Every call
/// has two windows.
const SHELF_BYTES: usize = 1_464 + PAYLOAD_BYTES_MAX;

/// Added to what a late packet would have needed, for the next one may be a little later.
const HOLD_MARGIN: Duration = Duration::from_millis(5);
/// The hold shrinks by this...
const HOLD_DECAY: Duration = Duration::from_millis(10);
/// ...each time this long has passed in which the smaller one would have done.
const HOLD_DECAY_INTERVAL: Duration = Duration::from_secs(5);

/// A packet whose turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn<'a> {
    /// The packet.
    pub packet: Packet<'a>,
    /// Packets between the turn before and this one that did not come in time. What passed over
    /// ([`RepairWindow::pass_over`]) is none of them. The packet may bring FEC for the last; how much
    /// of a long gap is worth filling is for the line to decide.
    pub missing_packets: u16,
    /// How it goes on from the turn before.
    pub continuity: Continuity,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put<'a> {
    /// Its turn has come.
    Turn(Turn<'a>),
    /// It is held, and has its turn by [`RepairWindow::next`].
    Held,
}

/// The window of one stream (one SSRC). After each packet that is put, recovered or passed over its
/// turns are taken with [`RepairWindow::next`].
pub struct RepairWindow {
    sequence: Sequence,
    /// The index whose turn it is.
    turn: i64,
    /// Given up since the last turn.
    missing: u16,
    deadline: Option<Instant>,
    hold: Hold,
    closed: Option<ClosedGap>,
    reordered: u64,
    shelf: Shelf<Note>,
}

opaque!(RepairWindow);

/// What is known of a packet that is held.
#[derive(Clone, Copy)]
struct Note {
    arrival: Instant,
    /// `None` for one that brings nothing to play.
    plays: Option<Continuity>,
}

/// The last gap given up, to tell how long a late packet should have been waited for.
struct ClosedGap {
    indexes: Range<i64>,
    opened: Instant,
}

impl RepairWindow {
    /// An empty window. It allocates once, here; `now` is any time not after the first packet.
    pub fn new(now: Instant) -> Self {
        Self {
            sequence: Sequence::default(),
            turn: 0,
            missing: 0,
            deadline: None,
            hold: Hold { current: HOLD_MIN, needed: now },
            closed: None,
            reordered: 0,
            // One more, that makes the first gap be given up.
            shelf: Shelf::new(HELD_PACKETS_MAX + 1, SHELF_BYTES),
        }
    }

    /// Begins anew with whatever comes next, as when the SSRC changed. Held packets are dropped.
    pub fn reset(&mut self) {
        self.sequence = Sequence::default();
        self.turn = 0;
        self.missing = 0;
        self.deadline = None;
        self.closed = None;
        self.shelf.clear();
    }

    /// Takes a packet in. `clock_hz` is its RTP clock, `None` if its timestamp does not tell when it
    /// was spoken, as of a telephone event.
    ///
    /// # Errors
    /// Why the packet is discarded.
    #[inline(always)]
    pub fn put<'a>(
        &mut self,
        packet: Packet<'a>,
        clock_hz: Option<u32>,
        now: Instant,
    ) -> Result<Put<'a>, Discard> {
        let place = self.sequence.place(&packet.header, clock_hz)?;
        if place.index == self.turn && self.shelf.is_empty() {
            return Ok(Put::Turn(self.take_turn(packet, place.continuity)));
        }
        self.put_out_of_turn(packet, place, now)
    }

    /// Takes a copy of an earlier packet in, which came redundantly (RFC 2198) with the one that is
    /// about to be put. Returns whether that packet was missed; if not, nothing changed.
    pub fn recover(&mut self, copy: Packet<'_>, clock_hz: Option<u32>, now: Instant) -> bool {
        if !self.shelf.has_room(copy.payload.len()) {
            return false;
        }
        let Some(index) = self.sequence.recover(&copy.header, clock_hz, self.turn) else {
            return false;
        };
        self.hold_packet(index, copy, Some(Continuity::Follows), now)
    }

    /// A packet came that brings nothing to play, such as one whose payload type nobody negotiated: its
    /// number is not missing. What is missing before it is told with the next turn.
    pub fn pass_over(&mut self, header: &RtpHeader, now: Instant) {
        // One that begins anew is followed by another, whose timestamp tells.
        let Ok(Place { index, .. }) = self.sequence.place(header, None) else { return };
        if index == self.turn {
            self.turn += 1;
        } else if index > self.turn {
            self.hold_packet(index, Packet { header: *header, payload: &[] }, None, now);
        }
    }

    /// The next held packet whose turn has come, or whose gap was held open long enough.
    #[inline]
    pub fn next(&mut self, now: Instant) -> Option<Turn<'_>> {
        if self.shelf.is_empty() {
            return None;
        }
        self.next_held(now)
    }

    /// When [`Self::next`] has something although nothing came: a gap is held open until then.
    #[inline]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Packets that came out of order and were put back.
    pub fn packets_reordered(&self) -> u64 {
        self.reordered
    }

    /// How long a gap that opened now would be held open.
    pub fn hold(&self, now: Instant) -> Duration {
        self.hold.at(now)
    }

    #[inline]
    fn take_turn<'a>(&mut self, packet: Packet<'a>, continuity: Continuity) -> Turn<'a> {
        self.turn += 1;
        Turn { packet, missing_packets: std::mem::take(&mut self.missing), continuity }
    }

    #[cold]
    fn put_out_of_turn<'a>(
        &mut self,
        packet: Packet<'a>,
        place: Place,
        now: Instant,
    ) -> Result<Put<'a>, Discard> {
        let Place { index, continuity } = place;
        if index < self.turn {
            self.observe_late(index, now);
            return Err(Discard::Late);
        }
        if self.shelf.last().is_some_and(|last| last.index > index) {
            self.reordered += 1;
            if let Some(opened) = self.gap_opened() {
                self.hold.observe(now.saturating_duration_since(opened), now);
            }
        }
        if index == self.turn {
            return Ok(Put::Turn(self.take_turn(packet, continuity)));
        }
        let is_held = self.hold_packet(index, packet, Some(continuity), now);
        // There is room where turns are taken.
        if is_held { Ok(Put::Held) } else { Err(Discard::TooLarge) }
    }

    #[cold]
    fn next_held(&mut self, now: Instant) -> Option<Turn<'_>> {
        loop {
            let first = self.shelf.first()?;
            if first.index > self.turn {
                if !self.gives_up(now) {
                    return None;
                }
                self.give_up(first.index, first.note.arrival);
            }
            debug_assert_eq!(first.index, self.turn, "the first that is held has its turn");
            self.shelf.take_first();
            self.schedule(now);
            self.turn += 1;
            if let Some(continuity) = first.note.plays {
                let (packet, missing) = (self.shelf.packet(&first), &mut self.missing);
                let missing_packets = std::mem::take(missing);
                return Some(Turn { packet, missing_packets, continuity });
            }
        }
    }

    /// Whether the first gap is held open no longer: it was long enough, or another packet would have
    /// no room.
    fn gives_up(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
            || !self.shelf.has_room(PAYLOAD_BYTES_MAX)
    }

    /// Moves on over the gap before `index`, whose packet came at `arrival`.
    fn give_up(&mut self, index: i64, arrival: Instant) {
        debug_assert!(index > self.turn, "turns only go forward");
        let opened = self.gap_opened().unwrap_or(arrival);
        let indexes = self.turn..index;
        let missing = u16::try_from(index - self.turn).unwrap_or(u16::MAX);
        self.missing = self.missing.saturating_add(missing);
        self.closed = Some(ClosedGap { indexes, opened });
        self.turn = index;
    }

    /// A packet of the last gap that comes now would have been waited for with a longer hold.
    fn observe_late(&mut self, index: i64, now: Instant) {
        if let Some(gap) = self.closed.as_ref().filter(|gap| gap.indexes.contains(&index)) {
            self.hold.observe(now.saturating_duration_since(gap.opened), now);
        }
    }

    fn hold_packet(
        &mut self,
        index: i64,
        packet: Packet<'_>,
        plays: Option<Continuity>,
        now: Instant,
    ) -> bool {
        debug_assert!(index >= self.turn, "what is held still has its turn before it");
        let is_held = self.shelf.put(index, packet, Note { arrival: now, plays });
        self.schedule(now);
        is_held
    }

    fn schedule(&mut self, now: Instant) {
        self.deadline = self.gap_opened().map(|opened| opened + self.hold.at(now));
    }

    /// When the first packet came that is still held: nothing waits longer than the hold.
    fn gap_opened(&self) -> Option<Instant> {
        self.shelf.iter().map(|held| held.note.arrival).min()
    }
}

/// How long to hold a gap open: what reordering lately needed, within bounds.
#[derive(Clone, Copy)]
struct Hold {
    current: Duration,
    /// When `current` was last needed.
    needed: Instant,
}

impl Hold {
    fn at(&self, now: Instant) -> Duration {
        let idle = now.saturating_duration_since(self.needed).as_secs();
        let intervals = idle / HOLD_DECAY_INTERVAL.as_secs();
        let decay = HOLD_DECAY * u32::try_from(intervals).unwrap_or(u32::MAX).min(100);
        self.current.saturating_sub(decay).max(HOLD_MIN)
    }

    /// A missing packet came `late` after the packet that showed the gap. One that is later than
    /// any hold says nothing: waiting could not have helped.
    fn observe(&mut self, late: Duration, now: Instant) {
        let (wanted, current) = (late + HOLD_MARGIN, self.at(now));
        if late <= HOLD_MAX && wanted + HOLD_DECAY > current {
            *self = Self { current: wanted.max(current).min(HOLD_MAX), needed: now };
        }
    }
}

#[cfg(test)]
mod tests;
