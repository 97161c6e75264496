//! The repair window: puts one incoming stream back in order and says where it has gaps, without
//! making a stream in order wait.
//!
//! In: packets as they arrive, and time. Out: [`Step`]s in the order of sequence numbers, which
//! borrow the packet from the receive buffer or from the window. A packet ahead of its turn is held
//! for 20 to 60 ms in the hope that what lies before it is only late; then the gap is reported and
//! the stream goes on. Filling a gap, timestamps and codecs are left to the line; statistics are in
//! [`super::reception`].

use std::time::{Duration, Instant};

use crate::base::discard::Discard;
use crate::wire::rtp::{PayloadType, RtpHeader, RtpTimestamp, SequenceNumber, Ssrc};

/// Packets held at once: 160 ms of 20 ms packets, more than the longest hold.
pub const HELD_PACKETS_MAX: usize = 8;
/// The largest payload that can be held: 60 ms of G.711, or 20 ms of Opus at 192 kb/s. A larger one
/// closes the gap before it at once. With what stands beside it a slot has 512 bytes, and every call
/// has sixteen of them.
pub const HELD_PAYLOAD_BYTES_MAX: usize = 480;
/// How long a gap is held open on a path that keeps the order: one packet.
pub const HOLD_MIN: Duration = Duration::from_millis(20);
/// How long a gap is held open at most. Later packets are of no use to a conversation.
pub const HOLD_MAX: Duration = Duration::from_millis(60);
/// The furthest a stream may jump ahead and be the same stream, MAX_DROPOUT of RFC 3550 A.1: 20 s
/// of 20 ms packets.
pub const AHEAD_PACKETS_MAX: i16 = 1_000;
/// The furthest a packet may be behind and be of the same stream, MAX_MISORDER of RFC 3550 A.1.
pub const BEHIND_PACKETS_MAX: i16 = 100;

/// Added to what a late packet would have needed, for the next one may be a little later.
const HOLD_MARGIN: Duration = Duration::from_millis(5);
/// The hold shrinks by this...
const HOLD_DECAY: Duration = Duration::from_millis(10);
/// ...each time this long has passed in which the smaller one would have done.
const HOLD_DECAY_INTERVAL: Duration = Duration::from_secs(5);

/// A packet in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The RTP header.
    pub header: RtpHeader,
    /// The payload, in the clear.
    pub payload: &'a [u8],
}

/// What the line has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Play the packet: its turn has come.
    Play(Packet<'a>),
    /// Packets did not come in time. `next`, which may bring FEC for the last of them, is played in
    /// the step that follows. How much of a long gap is worth filling is for the line to decide.
    Gap {
        /// How many, 1..=[`AHEAD_PACKETS_MAX`].
        missing_packets: u16,
        /// The packet after the gap.
        next: Packet<'a>,
    },
    /// The sender began anew: what follows has no relation to what was played, and nothing is
    /// missing. A `Play` follows.
    Restart,
}

/// A packet whose turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn<'a> {
    /// The packet.
    pub packet: Packet<'a>,
    /// Packets right before it that were given up.
    pub missing_packets: u16,
    /// Whether it follows what was played.
    pub continuity: Continuity,
}

/// Whether a packet follows what was played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// It does.
    Follows,
    /// The sender began anew.
    BeginsAnew,
}

/// What became of a packet that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put<'a> {
    /// It has its turn.
    Turn(Turn<'a>),
    /// It is held.
    Held,
    /// There is no room: take turns first.
    Full,
}

/// The window of one stream (one SSRC).
pub struct RepairWindow {
    missing: u16,
    /// The sequence number whose turn it is; `None` before the first packet.
    expected: Option<SequenceNumber>,
    /// The timestamp of what was played last.
    played: RtpTimestamp,
    /// Which of the 64 packets before `expected` are accounted for, bit 0 the last: played, or
    /// come late.
    seen: u64,
    /// What would confirm a jump: the number after a packet that was too far away.
    jump: Option<SequenceNumber>,
    deadline: Option<Instant>,
    hold: Hold,
    closed: Option<ClosedGap>,
    reordered: u64,
    held: usize,
    /// A permutation of the slots: the first `held` by sequence number, then the free ones.
    order: [u8; HELD_PACKETS_MAX],
    slots: Box<[Slot; HELD_PACKETS_MAX]>,
}

/// The last gap given up, to tell how long a late packet should have been waited for.
#[derive(Clone, Copy)]
struct ClosedGap {
    first: SequenceNumber,
    packets: i16,
    opened: Instant,
}

#[derive(Clone, Copy)]
struct Slot {
    header: RtpHeader,
    arrival: Instant,
    length: u16,
    payload: [u8; HELD_PAYLOAD_BYTES_MAX],
}

impl Slot {
    fn packet(&self) -> Packet<'_> {
        Packet { header: self.header, payload: &self.payload[..usize::from(self.length)] }
    }
}

impl RepairWindow {
    /// An empty window. It allocates once, here; `now` is any time not after the first packet.
    pub fn new(now: Instant) -> Self {
        let header = RtpHeader {
            marker: false,
            payload_type: PayloadType::PCMU,
            sequence_number: SequenceNumber(0),
            timestamp: RtpTimestamp(0),
            ssrc: Ssrc(0),
        };
        let empty = Slot { header, arrival: now, length: 0, payload: [0; _] };
        Self {
            missing: 0,
            expected: None,
            played: RtpTimestamp(0),
            seen: 0,
            jump: None,
            deadline: None,
            hold: Hold { current: HOLD_MIN, needed: now },
            closed: None,
            reordered: 0,
            held: 0,
            order: std::array::from_fn(|slot| slot as u8),
            slots: Box::new([empty; HELD_PACKETS_MAX]),
        }
    }

    /// Begins anew with whatever comes next, as when the SSRC changed. Held packets are dropped.
    pub fn reset(&mut self) {
        self.expected = None;
        self.seen = 0;
        self.jump = None;
        self.deadline = None;
        self.closed = None;
        self.held = 0;
    }

    /// Takes a packet in. A packet in its turn is played straight from the receive buffer.
    ///
    /// # Errors
    /// Why the packet is discarded; nothing was played then.
    #[inline]
    pub fn accept(
        &mut self,
        packet: Packet<'_>,
        now: Instant,
        mut step: impl FnMut(Step<'_>),
    ) -> Result<(), Discard> {
        if self.held == 0 && self.expected.is_none_or(|n| n == packet.header.sequence_number) {
            self.jump = None;
            self.play(packet, &mut step);
            return Ok(());
        }
        self.accept_out_of_order(packet, now, &mut step)
    }

    /// Takes a copy of an earlier packet in, which came redundantly (RFC 2198) with the one that is
    /// about to be accepted. Returns whether that packet was missed; if not, nothing changed.
    pub fn recover(
        &mut self,
        copy: Packet<'_>,
        now: Instant,
        mut step: impl FnMut(Step<'_>),
    ) -> bool {
        let missed = self.misses(&copy.header);
        if missed {
            self.insert(copy, now, &mut step);
        }
        missed
    }

    #[inline]
    pub fn put<'a>(&mut self, packet: Packet<'a>, now: Instant) -> Result<Put<'a>, Discard> {
        if self.held == 0 && self.expected.is_none_or(|n| n == packet.header.sequence_number) {
            self.jump = None;
            return Ok(Put::Turn(self.take_turn(packet, Continuity::Follows)));
        }
        self.put_out_of_order(packet, now)
    }

    #[inline]
    fn take_turn<'a>(&mut self, packet: Packet<'a>, continuity: Continuity) -> Turn<'a> {
        self.expected = Some(packet.header.sequence_number.next());
        self.played = packet.header.timestamp;
        self.seen = self.seen << 1 | 1;
        let missing_packets = std::mem::take(&mut self.missing);
        Turn { packet, missing_packets, continuity }
    }

    #[cold]
    fn put_out_of_order<'a>(
        &mut self,
        packet: Packet<'a>,
        now: Instant,
    ) -> Result<Put<'a>, Discard> {
        let number = packet.header.sequence_number;
        let expected = self.expected.unwrap_or(number);
        let ahead = number.distance(expected);
        if !(-BEHIND_PACKETS_MAX..=AHEAD_PACKETS_MAX).contains(&ahead) {
            if self.jump != Some(number) {
                self.jump = Some(number.next());
                return Err(Discard::SequenceJump);
            }
            if self.held > 0 {
                self.deadline = Some(now);
                return Ok(Put::Full);
            }
            self.reset();
            return Ok(Put::Turn(self.take_turn(packet, Continuity::BeginsAnew)));
        }
        self.jump = None;
        if ahead < 0 {
            return Err(self.refuse_late(number, expected, now));
        }
        if self.held_numbers().any(|held| held == number) {
            return Err(Discard::Duplicate);
        }
        if self.held_numbers().any(|held| held.distance(number) > 0) {
            self.reordered += 1;
            if let Some(opened) = self.gap_opened() {
                self.hold.observe(now.saturating_duration_since(opened), now);
            }
        }
        if ahead == 0 {
            return Ok(Put::Turn(self.take_turn(packet, Continuity::Follows)));
        }
        if self.held < HELD_PACKETS_MAX && packet.payload.len() <= HELD_PAYLOAD_BYTES_MAX {
            self.hold_packet(packet, now);
            self.schedule(now);
            return Ok(Put::Held);
        }
        if self.held > 0 {
            self.deadline = Some(now);
            return Ok(Put::Full);
        }
        self.skip(ahead, now);
        self.missing = ahead.unsigned_abs();
        Ok(Put::Turn(self.take_turn(packet, Continuity::Follows)))
    }

    #[inline]
    pub fn next(&mut self, now: Instant) -> Option<Turn<'_>> {
        if self.held == 0 {
            return None;
        }
        self.next_held(now)
    }

    fn next_held(&mut self, now: Instant) -> Option<Turn<'_>> {
        let head = usize::from(self.order[0]);
        let number = self.slots[head].header.sequence_number;
        let missing = self.expected.map_or(0, |expected| number.distance(expected));
        if missing > 0 {
            if self.deadline.is_none_or(|deadline| deadline > now) {
                return None;
            }
            self.skip(missing, self.slots[head].arrival);
            self.missing = missing.unsigned_abs();
        }
        self.order[..self.held].rotate_left(1);
        self.held -= 1;
        self.schedule(now);
        self.expected = Some(number.next());
        self.played = self.slots[head].header.timestamp;
        self.seen = self.seen << 1 | 1;
        let missing_packets = std::mem::take(&mut self.missing);
        Some(Turn {
            packet: self.slots[head].packet(),
            missing_packets,
            continuity: Continuity::Follows,
        })
    }

    pub fn recover_copy(&mut self, copy: Packet<'_>, now: Instant) -> bool {
        let missed = self.misses(&copy.header) && self.held < HELD_PACKETS_MAX;
        if missed {
            self.hold_packet(copy, now);
            self.schedule(now);
        }
        missed
    }

    pub fn pass_over(&mut self, header: RtpHeader, now: Instant) {
        let missing = self.missing;
        let packet = Packet { header, payload: &[] };
        if let Ok(Put::Turn(turn)) = self.put(packet, now) {
            self.missing = missing.max(turn.missing_packets);
        }
    }

    /// When [`Self::handle_timeout`] is due: a gap is held open until then.
    #[inline]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Gives up the gaps that were held open long enough.
    pub fn handle_timeout(&mut self, now: Instant, mut step: impl FnMut(Step<'_>)) {
        self.close_due_gaps(now, &mut step);
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
    fn play(&mut self, packet: Packet<'_>, step: &mut impl FnMut(Step<'_>)) {
        self.expected = Some(packet.header.sequence_number.next());
        self.played = packet.header.timestamp;
        self.seen = self.seen << 1 | 1;
        step(Step::Play(packet));
    }

    #[cold]
    fn accept_out_of_order(
        &mut self,
        packet: Packet<'_>,
        now: Instant,
        step: &mut impl FnMut(Step<'_>),
    ) -> Result<(), Discard> {
        let number = packet.header.sequence_number;
        let expected = self.expected.unwrap_or(number);
        let ahead = number.distance(expected);
        if !(-BEHIND_PACKETS_MAX..=AHEAD_PACKETS_MAX).contains(&ahead) {
            return self.accept_jump(packet, step);
        }
        self.jump = None;
        if ahead < 0 {
            return Err(self.refuse_late(number, expected, now));
        }
        if self.held_numbers().any(|held| held == number) {
            return Err(Discard::Duplicate);
        }
        if self.held_numbers().any(|held| held.distance(number) > 0) {
            self.reordered += 1;
            if let Some(opened) = self.gap_opened() {
                self.hold.observe(now.saturating_duration_since(opened), now);
            }
        }
        self.insert(packet, now, step);
        Ok(())
    }

    /// Whether the packet is still to come. A copy's sequence number is only derived: one whose
    /// timestamp lies before what was played is not the packet that it seems to be. Far ahead the
    /// sender may have begun anew, which is not for a copy to tell.
    fn misses(&self, header: &RtpHeader) -> bool {
        let number = header.sequence_number;
        self.expected.is_some_and(|n| (0..BEHIND_PACKETS_MAX).contains(&number.distance(n)))
            && header.timestamp.distance(self.played) > 0
            && self.held_numbers().all(|held| held != number)
    }

    /// Puts a packet in its place, which is not taken.
    fn insert(&mut self, packet: Packet<'_>, now: Instant, step: &mut impl FnMut(Step<'_>)) {
        // Each turn that does not place the packet releases one that was held.
        while self.place(packet, now, step) == Place::BehindGap {
            self.close_gap(step);
        }
        self.schedule(now);
        self.close_due_gaps(now, step);
    }

    /// Holds the packet, or plays it at once where that cannot be.
    fn place(
        &mut self,
        packet: Packet<'_>,
        now: Instant,
        step: &mut impl FnMut(Step<'_>),
    ) -> Place {
        let number = packet.header.sequence_number;
        let ahead = self.expected.map_or(0, |expected| number.distance(expected));
        if ahead > 0 {
            if self.held < HELD_PACKETS_MAX && packet.payload.len() <= HELD_PAYLOAD_BYTES_MAX {
                self.hold_packet(packet, now);
                return Place::Found;
            }
            if self.held_numbers().next().is_some_and(|head| head.distance(number) < 0) {
                return Place::BehindGap;
            }
            self.skip(ahead, now);
            step(Step::Gap { missing_packets: ahead.unsigned_abs(), next: packet });
        }
        self.play(packet, step);
        self.play_run(step);
        Place::Found
    }

    /// RFC 3550 A.1: a packet far away is either astray or the first of a stream that began anew;
    /// the next one tells.
    fn accept_jump(
        &mut self,
        packet: Packet<'_>,
        step: &mut impl FnMut(Step<'_>),
    ) -> Result<(), Discard> {
        let number = packet.header.sequence_number;
        if self.jump != Some(number) {
            self.jump = Some(number.next());
            return Err(Discard::SequenceJump);
        }
        while self.held > 0 {
            self.close_gap(step);
        }
        self.reset();
        step(Step::Restart);
        self.play(packet, step);
        Ok(())
    }

    fn refuse_late(
        &mut self,
        number: SequenceNumber,
        expected: SequenceNumber,
        now: Instant,
    ) -> Discard {
        let behind = u32::from(expected.distance(number).unsigned_abs());
        let bit = 1u64.checked_shl(behind - 1).unwrap_or(0);
        if self.seen & bit != 0 {
            return Discard::Duplicate;
        }
        self.seen |= bit;
        if let Some(gap) = self.closed
            && (0..gap.packets).contains(&number.distance(gap.first))
        {
            self.hold.observe(now.saturating_duration_since(gap.opened), now);
        }
        Discard::Late
    }

    /// Moves on over a gap, which opened `now` if nothing was held behind it.
    fn skip(&mut self, packets: i16, now: Instant) {
        let Some(first) = self.expected else { return };
        let opened = self.gap_opened().unwrap_or(now);
        self.closed = Some(ClosedGap { first, packets, opened });
        self.seen = self.seen.checked_shl(u32::from(packets.unsigned_abs())).unwrap_or(0);
        self.expected = Some(first + packets);
    }

    /// Gives up the gap before the first held packet and plays what follows it.
    fn close_gap(&mut self, step: &mut impl FnMut(Step<'_>)) {
        let Some(expected) = self.expected else { return };
        if self.held == 0 {
            return;
        }
        let head = usize::from(self.order[0]);
        let missing = self.slots[head].header.sequence_number.distance(expected);
        self.skip(missing, self.slots[head].arrival);
        let next = self.slots[head].packet();
        step(Step::Gap { missing_packets: missing.unsigned_abs(), next });
        self.play_run(step);
    }

    /// Plays the held packets whose turn has come.
    fn play_run(&mut self, step: &mut impl FnMut(Step<'_>)) {
        while self.held > 0 {
            let slot = &self.slots[usize::from(self.order[0])];
            let number = slot.header.sequence_number;
            if self.expected != Some(number) {
                return;
            }
            self.expected = Some(number.next());
            self.played = slot.header.timestamp;
            self.seen = self.seen << 1 | 1;
            self.order[..self.held].rotate_left(1);
            self.held -= 1;
            step(Step::Play(slot.packet()));
        }
    }

    fn hold_packet(&mut self, packet: Packet<'_>, now: Instant) {
        let number = packet.header.sequence_number;
        let place = self.held_numbers().take_while(|held| held.distance(number) < 0).count();
        self.order[place..=self.held].rotate_right(1);
        self.held += 1;
        let slot = &mut self.slots[usize::from(self.order[place])];
        slot.header = packet.header;
        slot.arrival = now;
        slot.length = packet.payload.len() as u16; // At most HELD_PAYLOAD_BYTES_MAX.
        slot.payload[..packet.payload.len()].copy_from_slice(packet.payload);
    }

    fn close_due_gaps(&mut self, now: Instant, step: &mut impl FnMut(Step<'_>)) {
        // Each turn releases a held packet.
        while self.deadline.is_some_and(|deadline| deadline <= now) {
            self.close_gap(step);
            self.schedule(now);
        }
    }

    fn schedule(&mut self, now: Instant) {
        self.deadline = self.gap_opened().map(|opened| opened + self.hold.at(now));
    }

    /// When the first packet came that is still held: nothing waits longer than the hold.
    fn gap_opened(&self) -> Option<Instant> {
        self.held_slots().map(|slot| slot.arrival).min()
    }

    fn held_slots(&self) -> impl Iterator<Item = &Slot> {
        self.order[..self.held].iter().map(|slot| &self.slots[usize::from(*slot)])
    }

    fn held_numbers(&self) -> impl Iterator<Item = SequenceNumber> {
        self.held_slots().map(|slot| slot.header.sequence_number)
    }
}

/// Whether a packet was placed, or waits for the gap at the head to be closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Found,
    BehindGap,
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
