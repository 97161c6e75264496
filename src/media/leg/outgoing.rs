//! What a leg sends: one source with one continuous sequence and time line for the whole call,
//! whatever happens to what comes in.

use std::time::{Duration, Instant};

use crate::base::narrow::{LowHalf, Narrow};
use crate::base::random::Random;
use crate::control::message::{Position, SentSnapshot};
use crate::srtp::index::PacketIndex;
use crate::wire::rtcp::SenderInformation;
use crate::wire::rtp::{PayloadType, RtpHeader, RtpTimestamp, SequenceNumber, Ssrc};
use rand::RngExt;

/// Sequence numbers that are left out between two packets at most. A receiver takes a longer jump for
/// another stream (RFC 3550 A.1, MAX_DROPOUT), and one of 2^15 under SRTP for a step back, in which an
/// index is used twice (RFC 3711 §3.3.1).
const LEFT_OUT_MAX: u16 = 2_999;

/// The sending half of a leg's RTP.
#[derive(Clone, Debug)]
pub struct Outgoing {
    ssrc: Ssrc,
    /// The next packet's place: the one position of what is sent. Protection is told it.
    next: PacketIndex,
    /// RTP timestamp and position at which the present clock began.
    base_timestamp: RtpTimestamp,
    base_position: u64,
    clock_hz: u32,
    packets: u64,
    bytes: u64,
    last: Option<Last>,
    /// Packets when the last report left.
    reported: u64,
    /// Numbers left out since the last packet.
    left_out: u16,
}

/// The last packet that left.
#[derive(Clone, Copy, Debug)]
struct Last {
    index: PacketIndex,
    timestamp: RtpTimestamp,
    at: Instant,
}

impl Outgoing {
    /// A new source: everything random as RFC 3550 §5.1 asks, except that the first sequence number
    /// leaves a receiver that misses the start room to guess the roll-over (RFC 3711 §3.3.1).
    pub fn new(random: &mut Random) -> Self {
        Self {
            ssrc: Ssrc(random.random()),
            next: PacketIndex::new(0, SequenceNumber(random.random_range(0..0x8000))),
            base_timestamp: RtpTimestamp(random.random()),
            base_position: 0,
            clock_hz: 8_000,
            packets: 0,
            bytes: 0,
            last: None,
            reported: 0,
            left_out: 0,
        }
    }

    /// Goes on with a source of which `packets_left_out` may have left since the snapshot, and whose
    /// clock has gone on for `passed`.
    pub fn resume(sent: &SentSnapshot, packets_left_out: u16, passed: Duration) -> Self {
        let ms: u64 = passed.as_millis().narrow();
        let units = ms.wrapping_mul(u64::from(sent.clock_hz / 1_000)).low_half();
        let next = PacketIndex::from(sent.rtp_index_next).later(packets_left_out);
        Self {
            ssrc: sent.ssrc,
            next,
            base_timestamp: sent.timestamp + units,
            base_position: 0,
            clock_hz: sent.clock_hz,
            packets: sent.packets,
            bytes: sent.bytes,
            last: None,
            reported: sent.packets,
            left_out: 0,
        }
    }

    /// The source leaves its stream, which is at this position: what it sends next is from then on.
    pub fn leave_at(&mut self, position: u64) {
        self.base_timestamp = self.timestamp_of(position);
        self.base_position = position;
    }

    /// The clock's beginning is at this position. Only of a source that has sent nothing yet here.
    pub fn begin_at(&mut self, position: u64) {
        self.base_position = position;
    }

    /// Our source identifier.
    pub const fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The next packet's index. Beyond the last one it begins at 0 again, which protection refuses.
    #[inline]
    pub const fn next_index(&self) -> PacketIndex {
        self.next
    }

    /// New keys count their rounds from 0 (RFC 3711 §3.3.1), and keys that were used before go on above
    /// that index; the sequence goes on.
    pub fn restart_rounds(&mut self, used: Option<PacketIndex>) {
        let number = self.next.sequence_number();
        let round = used.map_or(0, |used| used.roll_over_counter());
        let next = PacketIndex::new(round, number);
        self.next = match used {
            Some(used) if next <= used => PacketIndex::new(round.wrapping_add(1), number),
            _ => next,
        };
    }

    /// The RTP clock's rate.
    pub const fn clock_hz(&self) -> u32 {
        self.clock_hz
    }

    /// Goes on with another RTP clock from `position`, without a jump of the timestamp.
    pub fn set_clock(&mut self, clock_hz: u32, position: u64) {
        debug_assert!(position >= self.base_position, "positions only grow");
        debug_assert!(
            clock_hz >= 8_000 && clock_hz.is_multiple_of(8_000),
            "a clock of whole samples"
        );
        if self.clock_hz != clock_hz {
            self.base_timestamp = self.timestamp_of(position);
            self.base_position = position;
            self.clock_hz = clock_hz;
        }
    }

    /// The RTP timestamp of a position in 8 kHz samples.
    pub fn timestamp_of(&self, position: u64) -> RtpTimestamp {
        let samples = position.wrapping_sub(self.base_position).low_half();
        self.base_timestamp + samples.wrapping_mul(self.clock_hz / 8_000)
    }

    /// The header of the next packet.
    pub fn header(
        &self,
        payload_type: PayloadType,
        marker: bool,
        timestamp: RtpTimestamp,
    ) -> RtpHeader {
        // The first packet of all begins a talkspurt (RFC 3551 §4.1).
        let marker = marker || self.packets == 0;
        let sequence_number = self.next.sequence_number();
        RtpHeader { marker, payload_type, sequence_number, timestamp, ssrc: self.ssrc }
    }

    /// Counts a packet that left.
    pub fn sent(&mut self, header: RtpHeader, payload_bytes: usize, now: Instant) {
        debug_assert_eq!(header.ssrc, self.ssrc, "a leg has one source");
        self.packets += 1;
        self.bytes += payload_bytes as u64;
        debug_assert_eq!(
            header.sequence_number,
            self.next.sequence_number(),
            "a number is given once"
        );
        self.last = Some(Last { index: self.next, timestamp: header.timestamp, at: now });
        self.left_out = 0;
        self.advance(1);
    }

    /// Leaves `missing` sequence numbers out, for packets that the far end is to know were lost; no
    /// more than [`LEFT_OUT_MAX`] between two packets.
    pub fn leave_out(&mut self, missing: u16) {
        let left_out = self.left_out.saturating_add(missing).min(LEFT_OUT_MAX);
        self.advance(left_out - self.left_out);
        self.left_out = left_out;
    }

    fn advance(&mut self, missing: u16) {
        self.next = self.next.later(missing);
    }

    /// Packets sent.
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Payload bytes sent.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the last packet left.
    pub fn last_sent(&self) -> Option<Instant> {
        self.last.map(|last| last.at)
    }

    /// The last packet's place.
    pub fn position(&self) -> Option<Position> {
        let Last { index, timestamp, .. } = self.last?;
        Some(Position {
            ssrc: self.ssrc,
            sequence_number: index.sequence_number(),
            roll_over_counter: index.roll_over_counter(),
            timestamp,
        })
    }

    /// What a sender report says at `now` (`ntp` on the wall clock); `None` when nothing was sent
    /// since the last one, which makes it a receiver report (RFC 3550 §6.4).
    pub fn sender_information(&mut self, ntp: u64, now: Instant) -> Option<SenderInformation> {
        let Last { timestamp, at, .. } = self.last?;
        if std::mem::replace(&mut self.reported, self.packets) == self.packets {
            return None;
        }
        let passed_us: u64 = now.saturating_duration_since(at).as_micros().narrow();
        let passed = (passed_us * u64::from(self.clock_hz) / 1_000_000).low_half();
        Some(SenderInformation {
            ntp,
            rtp_timestamp: timestamp + passed,
            packets: self.packets.low_half(),
            bytes: self.bytes.low_half(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::random;

    fn send(outgoing: &mut Outgoing, position: u64, now: Instant) -> RtpHeader {
        let timestamp = outgoing.timestamp_of(position);
        let header = outgoing.header(PayloadType::PCMU, false, timestamp);
        outgoing.sent(header, 160, now);
        header
    }

    #[test]
    fn the_roll_over_counter_counts_wraps_with_and_without_missing_packets() {
        let mut outgoing = Outgoing::new(&mut random::from_seed(1));
        let now = Instant::now();
        outgoing.next = PacketIndex::new(0, SequenceNumber(0xFFFF));
        send(&mut outgoing, 0, now);
        assert_eq!(outgoing.position().unwrap().roll_over_counter, 0);
        assert_eq!(outgoing.position().unwrap().sequence_number.0, 0xFFFF);
        send(&mut outgoing, 160, now);
        assert_eq!(outgoing.position().unwrap().roll_over_counter, 1);
        outgoing.advance(0xFFFF);
        send(&mut outgoing, 320, now);
        assert_eq!(outgoing.position().unwrap().roll_over_counter, 2);
    }

    #[test]
    fn new_keys_count_their_rounds_anew_and_the_sequence_goes_on() {
        let mut outgoing = Outgoing::new(&mut random::from_seed(1));
        let now = Instant::now();
        outgoing.next = PacketIndex::new(3, SequenceNumber(0xFFFF));
        send(&mut outgoing, 0, now);
        outgoing.restart_rounds(None);
        let last = outgoing.position().unwrap();
        assert_eq!((last.roll_over_counter, last.sequence_number.0), (3, 0xFFFF));
        assert_eq!(send(&mut outgoing, 160, now).sequence_number.0, 0);
        assert_eq!(outgoing.position().unwrap().roll_over_counter, 0);
    }

    #[test]
    fn a_key_that_was_used_before_goes_on_above_all_it_protected() {
        let mut outgoing = Outgoing::new(&mut random::from_seed(1));
        outgoing.next = PacketIndex::new(0, SequenceNumber(7));
        outgoing.restart_rounds(Some(PacketIndex::new(2, SequenceNumber(6))));
        assert_eq!(outgoing.next, PacketIndex::new(2, SequenceNumber(7)));
        outgoing.restart_rounds(Some(PacketIndex::new(2, SequenceNumber(7))));
        assert_eq!(outgoing.next, PacketIndex::new(3, SequenceNumber(7)));
    }

    #[test]
    fn the_numbers_that_are_left_out_never_come_round() {
        let mut outgoing = Outgoing::new(&mut random::from_seed(4));
        let now = Instant::now();
        let first = send(&mut outgoing, 0, now);
        // Packets that could not be sent, each after a gap.
        for _ in 0..40 {
            outgoing.leave_out(u16::MAX);
        }
        let second = send(&mut outgoing, 160, now);
        let step = second.sequence_number.distance(first.sequence_number);
        assert_eq!(step, 1 + LEFT_OUT_MAX as i16);
        outgoing.leave_out(2);
        let third = send(&mut outgoing, 320, now);
        assert_eq!(third.sequence_number.distance(second.sequence_number), 3);
    }

    #[test]
    fn a_change_of_clock_does_not_make_the_timestamp_jump() {
        let mut outgoing = Outgoing::new(&mut random::from_seed(2));
        let before = outgoing.timestamp_of(1600);
        outgoing.set_clock(48_000, 1600);
        assert_eq!(outgoing.timestamp_of(1600), before);
        assert_eq!(outgoing.timestamp_of(1760).distance(before), 960);
    }

    #[test]
    fn a_sender_report_ties_the_wall_clock_to_the_rtp_clock() {
        let mut outgoing = Outgoing::new(&mut random::from_seed(3));
        let now = Instant::now();
        assert_eq!(outgoing.sender_information(7, now), None);
        let header = send(&mut outgoing, 0, now);
        let later = now + Duration::from_millis(10);
        let report = outgoing.sender_information(7, later).unwrap();
        assert_eq!(report.rtp_timestamp.distance(header.timestamp), 80);
        assert_eq!((report.packets, report.bytes), (1, 160));
        assert_eq!(outgoing.sender_information(8, later), None);
    }
}
