//! Where a packet stands in its stream (RFC 3550 A.1), by two witnesses: its sequence number and the
//! sender's clock. Everything that counts or orders packets asks here.
//!
//! In: headers as they arrive. Out: an index that counts the sender's packets from the first one on,
//! without wraps, and that goes on where the sender's numbers do not. A number that is far from the
//! others, or that the clock contradicts, is not believed:
//!
//! | the number | the timestamp | the packet |
//! |---|---|---|
//! | follows | any | is the next |
//! | is ahead, or behind | agrees | comes after a gap; is late, or a duplicate |
//! | is far away, or contradicted | follows | is the next: the sender numbers anew |
//! | is far away, or contradicted | does not follow | is refused; one that goes on from it is the next |
//!
//! What to do with a packet that is late is left to those who ask.

use crate::base::discard::Discard;
use crate::base::narrow::{LowHalf, Narrow};
use crate::wire::rtp::{RtpHeader, RtpTimestamp, SequenceNumber};

/// The furthest a stream may jump ahead and be the same stream, MAX_DROPOUT of RFC 3550 A.1: 20 s
/// of 20 ms packets.
pub const AHEAD_PACKETS_MAX: i16 = 1_000;
/// The furthest a packet may be behind and be of the same stream, MAX_MISORDER of RFC 3550 A.1.
pub const BEHIND_PACKETS_MAX: i16 = 100;

/// So many packets may be missing whatever the clock says: events, their three ends, and what keeps a
/// NAT binding alive take numbers but no time.
const UNTIMED_PACKETS_MAX: i64 = 8;
/// A second has at most 400 packets (2.5 ms of Opus, RFC 6716 §2.1.4)...
const PACKETS_PER_SECOND_MAX: i64 = 400;
/// ...and one at least even in silence: Opus sends every 400 ms then, comfort noise a little less often.
const SECONDS_PER_PACKET_MAX: i64 = 1;
/// A late packet is not older than its number says by more.
const BEHIND_SECONDS_MAX: i64 = 10;
/// What follows on was spoken at most so much later: the longest packet (120 ms of Opus).
const PACKET_MS_MAX: i64 = 120;
/// A clock that moves on by no more is the same clock, and there was a pause; beyond it is a new one.
pub const CLOCK_JUMP_SECONDS_MAX: i64 = 10;
/// So many packets in a row are refused, and the next one is followed whatever it says: nothing that
/// is sent all the time is refused for good.
const DOUBTED_PACKETS_MAX: u8 = 10;

/// Where a packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// 0 is the first packet that came; one that came later although it was sent before has a negative
    /// index.
    pub index: i64,
    /// How it goes on from those before it.
    pub continuity: Continuity,
}

/// How a packet goes on from those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Continuity {
    /// It is of the same time line, whatever its number.
    #[default]
    Follows,
    /// The sender began anew: neither number nor timestamp has to do with those before, and nothing
    /// is missing.
    BeginsAnew,
}

/// The numbers of one stream (one SSRC).
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// The index after the newest packet; 0 before the first.
    next: i64,
    /// The index of number 0 in the round that began with the stream or with the sender's new numbers.
    origin: i64,
    /// Which of the 128 packets before `next` came, bit 0 the last.
    came: u128,
    /// The newest packet whose timestamp tells when it was spoken.
    clock: Clock,
    /// The packet refused last, unless one came since whose number was believed (A.1: bad_seq).
    doubted: Option<Doubted>,
}

#[derive(Clone, Copy, Debug)]
struct Clock {
    index: i64,
    timestamp: RtpTimestamp,
    /// 0 before the first.
    hz: u32,
}

impl Default for Clock {
    fn default() -> Self {
        Self { index: 0, timestamp: RtpTimestamp(0), hz: 0 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Doubted {
    number: SequenceNumber,
    timestamp: Option<RtpTimestamp>,
    /// How many were refused in a row.
    packets: u8,
}

impl Sequence {
    /// Goes on after a packet placed elsewhere, whose number with its wraps in the upper half this is; it
    /// is the first here, and all before it count as having come.
    pub fn resume(extended_highest: u32) -> Self {
        Self { next: 1, origin: -i64::from(extended_highest), came: u128::MAX, ..Self::default() }
    }

    /// Places a packet that arrived. `clock_hz` is its RTP clock, `None` if its timestamp does not tell
    /// when it was spoken, as of a telephone event.
    ///
    /// # Errors
    /// [`Discard::Duplicate`], or [`Discard::SequenceJump`] if its number is not believed.
    #[inline(always)]
    pub fn place(&mut self, header: &RtpHeader, clock_hz: Option<u32>) -> Result<Place, Discard> {
        if self.expected() == header.sequence_number {
            return Ok(self.append(header, clock_hz, Continuity::Follows));
        }
        self.place_unexpected(header, clock_hz)
    }

    /// Places a copy of a packet, whose number is only derived, if that packet is missed and its index
    /// is at least `from`. Far ahead the sender may have begun anew, which is not for a copy to tell;
    /// one that the clock contradicts is not the packet that it seems to be.
    pub fn recover(&mut self, header: &RtpHeader, clock_hz: Option<u32>, from: i64) -> Option<i64> {
        let ahead = i64::from(header.sequence_number.distance(self.expected()));
        let index = self.next + ahead;
        if self.next == 0 || !(from..from + i64::from(BEHIND_PACKETS_MAX)).contains(&index) {
            return None;
        }
        if let Some((clock, passed)) = self.passed(header, clock_hz)
            && (index - clock.index).signum() != passed.signum()
        {
            return None;
        }
        if ahead < 0 {
            return self.fill_in(index).is_ok().then_some(index);
        }
        self.skip(ahead);
        Some(self.append(header, clock_hz, Continuity::Follows).index)
    }

    /// The index of the newest packet; -1 before the first.
    #[inline]
    pub fn newest(&self) -> i64 {
        self.next - 1
    }

    /// The number of the newest packet with its wraps in the upper half (RFC 3550 §6.4.1); `None`
    /// before the first.
    pub fn extended_highest(&self) -> Option<u32> {
        (self.next > 0).then_some((self.next - 1 - self.origin).cast_unsigned().low_half())
    }

    /// The number that follows; the first may be any.
    #[inline]
    fn expected(&self) -> SequenceNumber {
        SequenceNumber((self.next - self.origin).cast_unsigned().low_half().low_half())
    }

    #[inline]
    fn append(
        &mut self,
        header: &RtpHeader,
        clock_hz: Option<u32>,
        continuity: Continuity,
    ) -> Place {
        let index = self.next;
        self.next += 1;
        self.came = self.came << 1 | 1;
        self.doubted = None;
        if let Some(hz) = clock_hz {
            self.clock = Clock { index, timestamp: header.timestamp, hz };
        }
        Place { index, continuity }
    }

    #[cold]
    fn place_unexpected(
        &mut self,
        header: &RtpHeader,
        clock_hz: Option<u32>,
    ) -> Result<Place, Discard> {
        let number = header.sequence_number;
        if self.next == 0 {
            return Ok(self.renumber(header, clock_hz, Continuity::Follows));
        }
        let ahead = number.distance(self.expected());
        let is_near = (-BEHIND_PACKETS_MAX..=AHEAD_PACKETS_MAX).contains(&ahead);
        let ahead = i64::from(ahead);
        if is_near && self.agrees(header, clock_hz, ahead) {
            self.doubted = None;
            if ahead < 0 {
                return self.fill_in(self.next + ahead);
            }
            self.skip(ahead);
            return Ok(self.append(header, clock_hz, Continuity::Follows));
        }
        let passed = self.passed(header, clock_hz);
        let within = |ms: i64| {
            passed.is_some_and(|(clock, passed)| {
                (1..=i64::from(clock.hz) * ms / 1_000).contains(&passed)
            })
        };
        if within(PACKET_MS_MAX) {
            return Ok(self.renumber(header, clock_hz, Continuity::Follows));
        }
        let timestamp = clock_hz.map(|_| header.timestamp);
        if !self.doubted.is_some_and(|doubted| doubted.is_confirmed_by(number, timestamp)) {
            let packets = self.doubted.map_or(0, |doubted| doubted.packets) + 1;
            self.doubted = Some(Doubted { number, timestamp, packets });
            return Err(Discard::SequenceJump);
        }
        if within(CLOCK_JUMP_SECONDS_MAX * 1_000) {
            return Ok(self.renumber(header, clock_hz, Continuity::Follows));
        }
        self.clock = Clock::default();
        Ok(self.renumber(header, clock_hz, Continuity::BeginsAnew))
    }

    /// The packet follows the newest one, and is numbered as the sender likes.
    fn renumber(
        &mut self,
        header: &RtpHeader,
        clock_hz: Option<u32>,
        continuity: Continuity,
    ) -> Place {
        self.origin = self.next - i64::from(header.sequence_number.0);
        self.append(header, clock_hz, continuity)
    }

    /// What has passed on the sender's clock since its newest reading.
    fn passed(&self, header: &RtpHeader, clock_hz: Option<u32>) -> Option<(Clock, i64)> {
        let clock = self.clock;
        let passed = header.timestamp.distance(clock.timestamp);
        (Some(clock.hz) == clock_hz).then_some((clock, i64::from(passed)))
    }

    /// Whether the clock says that the packet is about as far ahead of the others as its number does.
    fn agrees(&self, header: &RtpHeader, clock_hz: Option<u32>, ahead: i64) -> bool {
        let Some((clock, passed)) = self.passed(header, clock_hz) else { return true };
        let hz = i64::from(clock.hz);
        let packets = self.next + ahead - clock.index;
        if packets <= 0 {
            return (hz * (packets - BEHIND_SECONDS_MAX)..=0).contains(&passed);
        }
        if packets <= UNTIMED_PACKETS_MAX || (0..UNTIMED_PACKETS_MAX).contains(&ahead) {
            return passed >= 0;
        }
        let shortest = hz * packets / PACKETS_PER_SECOND_MAX;
        (shortest..=hz * packets * SECONDS_PER_PACKET_MAX).contains(&passed)
    }

    /// Moves on over packets that did not come yet.
    fn skip(&mut self, packets: i64) {
        debug_assert!(packets >= 0, "indexes only grow");
        self.next += packets;
        self.came = self.came.checked_shl(packets.narrow()).unwrap_or(0);
    }

    /// A packet of those before `next`.
    fn fill_in(&mut self, index: i64) -> Result<Place, Discard> {
        let behind = u32::try_from(self.next - 1 - index).unwrap_or(u32::MAX);
        let Some(bit) = 1u128.checked_shl(behind) else { return Err(Discard::Late) };
        if self.came & bit != 0 {
            return Err(Discard::Duplicate);
        }
        self.came |= bit;
        debug_assert!(index < self.next, "what is filled in lies behind the newest");
        Ok(Place { index, continuity: Continuity::Follows })
    }
}

impl Doubted {
    /// Whether a packet goes on from this one. The very next number always does, as A.1 has it; it may
    /// be lost in its turn, and where the numbers stand still the clock goes on.
    fn is_confirmed_by(self, number: SequenceNumber, timestamp: Option<RtpTimestamp>) -> bool {
        let ahead = i64::from(number.distance(self.number));
        let passed = match (self.timestamp, timestamp) {
            (Some(before), Some(now)) => Some(now.distance(before)),
            _ => None,
        };
        match ahead {
            _ if self.packets >= DOUBTED_PACKETS_MAX => true,
            0 => passed.is_some_and(|passed| passed > 0),
            1 => true,
            _ => {
                (2..=UNTIMED_PACKETS_MAX).contains(&ahead)
                    && passed.is_none_or(|passed| passed >= 0)
            }
        }
    }
}

#[cfg(test)]
mod tests;
