//! Packets that wait for their turn, in memory that was taken once.
//!
//! Payloads stand in the order in which they came; when the end of the memory is reached, those that
//! still wait move together. So the memory is for any mixture of lengths, and what decides whether a
//! packet has room is only how much of it is taken.

use std::collections::VecDeque;

use crate::base::narrow::Narrow;
use crate::wire::rtp::RtpHeader;

/// A packet, its payload in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The RTP header.
    pub header: RtpHeader,
    /// The payload, in the clear.
    pub payload: &'a [u8],
}

/// What stands on the shelf for a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<Note> {
    /// Its place in the stream.
    pub(super) index: i64,
    pub(super) header: RtpHeader,
    pub(super) note: Note,
    begin: u16,
    length: u16,
}

/// The packets, in the order of their indexes.
pub(super) struct Shelf<Note> {
    held: VecDeque<Held<Note>>,
    packets_max: usize,
    payloads: Box<[u8]>,
    /// Bytes of payloads that wait.
    taken: usize,
    /// Where the next payload is put.
    end: usize,
}

impl<Note: Copy> Shelf<Note> {
    /// Room for so many packets with so many bytes of payload, at most 65,535, in all.
    pub(super) fn new(packets_max: usize, payload_bytes_max: usize) -> Self {
        Self {
            held: VecDeque::with_capacity(packets_max),
            packets_max,
            payloads: vec![0; payload_bytes_max.min(usize::from(u16::MAX))].into(),
            taken: 0,
            end: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.taken = 0;
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether a payload of this length has room.
    pub(super) fn has_room(&self, payload_bytes: usize) -> bool {
        self.held.len() < self.packets_max && self.taken + payload_bytes <= self.payloads.len()
    }

    /// The longest payload that has room when nothing else is there.
    pub(super) fn payload_bytes_max(&self) -> usize {
        self.payloads.len()
    }

    pub(super) fn first(&self) -> Option<Held<Note>> {
        self.held.front().copied()
    }

    pub(super) fn last(&self) -> Option<Held<Note>> {
        self.held.back().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held<Note>> {
        self.held.iter()
    }

    /// Puts a packet in its place; says whether there was room.
    pub(super) fn put(&mut self, index: i64, packet: Packet<'_>, note: Note) -> bool {
        let length = packet.payload.len();
        if !self.has_room(length) {
            return false;
        }
        if self.end + length > self.payloads.len() {
            self.move_together();
        }
        let begin = self.end;
        self.end += length;
        self.taken += length;
        self.payloads[begin..self.end].copy_from_slice(packet.payload);
        // Both are at most the length of the memory.
        let (begin, length) = (begin.narrow(), length.narrow());
        let place = self.held.partition_point(|held| held.index < index);
        debug_assert!(
            self.held.get(place).is_none_or(|held| held.index > index),
            "an index is held once"
        );
        debug_assert!(self.taken <= self.payloads.len(), "payloads have room");
        self.held.insert(place, Held { index, header: packet.header, note, begin, length });
        true
    }

    /// Takes the first packet off. Its payload stays until the next packet is put.
    pub(super) fn take_first(&mut self) -> Option<Held<Note>> {
        let first = self.held.pop_front()?;
        debug_assert!(self.taken >= usize::from(first.length), "what is taken off was put");
        self.taken -= usize::from(first.length);
        Some(first)
    }

    /// The packet of what was just taken off, or stands here.
    pub(super) fn packet(&self, held: &Held<Note>) -> Packet<'_> {
        let begin = usize::from(held.begin);
        let payload = &self.payloads[begin..begin + usize::from(held.length)];
        Packet { header: held.header, payload }
    }

    /// Leaves no room between the payloads. Rare: once in a memory full of payloads.
    fn move_together(&mut self) {
        self.end = 0;
        // Those that were moved begin before the end.
        while let Some(next) = self
            .held
            .iter_mut()
            .filter(|held| held.length > 0 && usize::from(held.begin) >= self.end)
            .min_by_key(|held| held.begin)
        {
            let (begin, length) = (usize::from(next.begin), usize::from(next.length));
            self.payloads.copy_within(begin..begin + length, self.end);
            next.begin = self.end.narrow();
            self.end += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::rtp::{PayloadType, RtpTimestamp, SequenceNumber, Ssrc};

    fn header() -> RtpHeader {
        RtpHeader {
            marker: false,
            payload_type: PayloadType::PCMU,
            sequence_number: SequenceNumber(0),
            timestamp: RtpTimestamp(0),
            ssrc: Ssrc(0),
        }
    }

    fn put(shelf: &mut Shelf<()>, index: i64, payload: &[u8]) -> bool {
        shelf.put(index, Packet { header: header(), payload }, ())
    }

    #[test]
    fn any_mixture_of_lengths_uses_all_of_the_memory() {
        let mut shelf = Shelf::new(10, 3_000);
        for (index, length) in [(0, 1_500), (1, 0), (2, 20), (3, 1_480)] {
            assert!(put(&mut shelf, index, &vec![index as u8; length]));
        }
        assert!(!shelf.has_room(1) && shelf.has_room(0));
        shelf.take_first();
        // 1,500 bytes are free, and nowhere else than at the begin.
        assert!(put(&mut shelf, 4, &[4; 1_500]));
        let payloads = shelf.iter().map(|held| shelf.packet(held).payload);
        assert!(payloads.eq([&[][..], &[2; 20], &[3; 1_480], &[4; 1_500]]));
    }

    #[test]
    fn a_packet_taken_off_is_there_until_the_next_is_put() {
        let mut shelf = Shelf::new(2, 100);
        put(&mut shelf, 0, &[7; 100]);
        let first = shelf.take_first().unwrap();
        assert_eq!(shelf.packet(&first).payload, [7; 100]);
        assert!(shelf.is_empty() && shelf.has_room(100));
    }

    proptest! {
        /// Against the naive model: a map of vectors.
        #[test]
        fn what_is_put_is_taken_in_order(
            steps in prop::collection::vec((0i64..1_000, 0usize..400, any::<bool>()), 1..300),
        ) {
            let mut shelf = Shelf::new(8, 1_000);
            let mut model = BTreeMap::<i64, Vec<u8>>::new();
            for (n, (index, length, takes)) in steps.into_iter().enumerate() {
                if takes {
                    let first = shelf.take_first();
                    let expected = model.pop_first();
                    prop_assert_eq!(first.map(|first| first.index), expected.as_ref().map(|e| e.0));
                    if let (Some(first), Some((_, payload))) = (first, expected) {
                        prop_assert_eq!(shelf.packet(&first).payload, payload);
                    }
                } else if !model.contains_key(&index) {
                    let taken: usize = model.values().map(Vec::len).sum();
                    let fits = model.len() < 8 && taken + length <= 1_000;
                    let payload = vec![n as u8; length];
                    prop_assert_eq!(shelf.put(index, Packet { header: header(), payload: &payload }, ()), fits);
                    if fits {
                        model.insert(index, payload);
                    }
                }
                let held: Vec<_> =
                    shelf.iter().map(|held| (held.index, shelf.packet(held).payload)).collect();
                let expected: Vec<_> = model.iter().map(|(i, p)| (*i, p.as_slice())).collect();
                prop_assert_eq!(held, expected);
            }
        }
    }
}
