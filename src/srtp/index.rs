//! The 48-bit packet index (RFC 3711 §3.3.1): the roll-over counter above the sequence number.

use serde::{Deserialize, Serialize};

use crate::base::narrow::LowHalf;
use crate::wire::rtp::SequenceNumber;

/// A packet's place in its stream: `roll-over counter * 2^16 + sequence number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct PacketIndex(u64);

/// How many indexes there are.
pub(super) const INDEXES: u64 = 1 << 48;

impl PacketIndex {
    /// The index made of its parts.
    #[inline]
    pub const fn new(roll_over_counter: u32, sequence_number: SequenceNumber) -> Self {
        Self((roll_over_counter as u64) << 16 | sequence_number.0 as u64)
    }

    /// From a value below 2^48; higher bits are dropped.
    #[inline]
    pub const fn from_value(value: u64) -> Self {
        Self(value & (INDEXES - 1))
    }

    /// The whole index, below 2^48.
    #[inline]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// How often the sequence number wrapped.
    #[inline]
    pub fn roll_over_counter(self) -> u32 {
        (self.0 >> 16).low_half()
    }

    /// The part that is on the wire.
    #[inline]
    pub fn sequence_number(self) -> SequenceNumber {
        SequenceNumber(self.0.low_half().low_half())
    }

    /// The index of a packet with `sequence_number`, when `self` is the highest index so far (RFC
    /// 3711 §3.3.1 and appendix A). `None`: past the last index, where the keys are used up.
    ///
    /// Before the first wrap there is no earlier round. Appendix A would guess round 2^32 − 1 for a
    /// sequence number far above the highest; it is taken as a jump ahead in round 0.
    #[inline]
    pub fn estimate(self, sequence_number: SequenceNumber) -> Option<Self> {
        let counter = self.roll_over_counter();
        let (highest, arrived) = (self.sequence_number().0, sequence_number.0);
        let counter = if highest < 0x8000 {
            // Far above: a late packet of the round before.
            if arrived > highest + 0x8000 { counter.saturating_sub(1) } else { counter }
        } else if arrived < highest - 0x8000 {
            counter.checked_add(1)?
        } else {
            counter
        };
        Some(Self::new(counter, sequence_number))
    }

    /// The index so many packets later. Past the last one, where the keys are used up, it begins at 0
    /// again: whoever protects refuses that as used.
    #[inline]
    pub const fn later(self, packets: u16) -> Self {
        Self::from_value(self.0 + packets as u64)
    }

    /// The same sequence number some rounds later. `None`: past the last index.
    pub fn rounds_later(self, rounds: u32) -> Option<Self> {
        let counter = self.roll_over_counter().checked_add(rounds)?;
        Some(Self::new(counter, self.sequence_number()))
    }
}

impl TryFrom<u64> for PacketIndex {
    type Error = &'static str;

    fn try_from(value: u64) -> Result<Self, Self::Error> {
        if value < INDEXES { Ok(Self(value)) } else { Err("a packet index is below 2^48") }
    }
}

impl From<PacketIndex> for u64 {
    fn from(index: PacketIndex) -> u64 {
        index.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §3.3.1 in its own words: of the three rounds, the one whose index is nearest to the highest.
    fn nearest(highest: PacketIndex, arrived: u16) -> Vec<u64> {
        let counter = i64::from(highest.roll_over_counter());
        let candidates: Vec<i64> = (counter - 1..=counter + 1)
            .filter(|counter| (0..1 << 32).contains(counter))
            .map(|counter| counter << 16 | i64::from(arrived))
            .collect();
        let distance = |index: &i64| (index - highest.value() as i64).abs();
        let best = candidates.iter().map(distance).min().unwrap();
        candidates.iter().filter(|i| distance(i) == best).map(|i| *i as u64).collect()
    }

    #[test]
    fn the_estimate_is_the_nearest_index() {
        // Every sequence number, against each 509th highest one (a prime, so every residue of small
        // powers of two occurs) and against all within 2 of the corners.
        let corners = [0u16, 1, 2, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0x8002, 0xfffe, 0xffff];
        for counter in [0, 1, 2, 0xffff, u32::MAX - 1] {
            for highest in (0..=0xffffu16).step_by(509).chain(corners) {
                let highest = PacketIndex::new(counter, SequenceNumber(highest));
                for arrived in (0..=0xffffu16).step_by(7).chain(corners) {
                    let estimate = highest.estimate(SequenceNumber(arrived)).unwrap();
                    assert!(
                        nearest(highest, arrived).contains(&estimate.value()),
                        "{highest:?} {arrived} {estimate:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_estimate_is_appendix_a_for_every_sequence_number() {
        // All 2^16 of them, against each 61st highest one. All pairs take half a minute optimised;
        // a mistake in a comparison shows at every highest number, so the rest would add nothing.
        for counter in [1u32, 0x1_0000, u32::MAX - 1] {
            for highest in (0..=0xffffu32).step_by(61) {
                let index = PacketIndex::new(counter, SequenceNumber(highest as u16));
                for arrived in 0..=0xffffu32 {
                    // RFC 3711 appendix A, line by line.
                    let v = if highest < 32_768 {
                        if arrived.wrapping_sub(highest) as i32 > 32_768 {
                            counter - 1
                        } else {
                            counter
                        }
                    } else if highest - 32_768 > arrived {
                        counter + 1
                    } else {
                        counter
                    };
                    let expected = PacketIndex::new(v, SequenceNumber(arrived as u16));
                    let estimate = index.estimate(SequenceNumber(arrived as u16));
                    assert!(estimate == Some(expected), "{counter} {highest} {arrived}");
                }
            }
        }
    }

    #[test]
    fn there_is_no_round_before_the_first_and_none_after_the_last() {
        let first = PacketIndex::new(0, SequenceNumber(5));
        let far = SequenceNumber(0xfff0);
        assert_eq!(first.estimate(far), Some(PacketIndex::new(0, far)));
        let last = PacketIndex::new(u32::MAX, SequenceNumber(0xffff));
        assert_eq!(last.estimate(SequenceNumber(0)), None);
        assert_eq!(last.estimate(SequenceNumber(0xfffe)).map(|i| i.value()), Some((1 << 48) - 2));
    }

    #[test]
    fn a_later_round_has_the_same_sequence_number() {
        let index = PacketIndex::new(3, SequenceNumber(0xfff0));
        assert_eq!(index.rounds_later(2), Some(PacketIndex::new(5, SequenceNumber(0xfff0))));
        assert_eq!(PacketIndex::new(u32::MAX, SequenceNumber(1)).rounds_later(1), None);
    }

    #[test]
    fn a_later_index_wraps_where_there_are_no_more() {
        assert_eq!(PacketIndex::new(0, SequenceNumber(0xffff)).later(2).value(), 0x1_0001);
        assert_eq!(PacketIndex::new(u32::MAX, SequenceNumber(0xfffe)).later(2).value(), 0);
    }

    #[test]
    fn what_is_no_index_is_not_read_as_one() {
        assert_eq!(serde_json::from_str::<PacketIndex>("65537").unwrap().roll_over_counter(), 1);
        serde_json::from_str::<PacketIndex>("281474976710656").unwrap_err();
        assert_eq!(serde_json::to_string(&PacketIndex::from_value(7)).unwrap(), "7");
    }
}
