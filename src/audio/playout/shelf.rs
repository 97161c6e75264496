//! Encoded packets in the order of their sequence numbers, in memory that was taken once.

use super::{HELD_PAYLOAD_BYTES_MAX, Packet};
use crate::wire::rtp::{PayloadType, RtpHeader, RtpTimestamp, SequenceNumber, Ssrc};

/// What is known of a packet on the shelf.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) header: RtpHeader,
    pub(super) arrival: i64,
    pub(super) position: i64,
    /// 0 for what is no audio.
    pub(super) samples: usize,
}

struct Slot {
    entry: Entry,
    length: usize,
    payload: [u8; HELD_PAYLOAD_BYTES_MAX],
}

/// The packets. The first in order are the held ones, then the free slots.
pub(super) struct Shelf {
    held: usize,
    order: Box<[u16]>,
    slots: Box<[Slot]>,
}

impl Shelf {
    /// Room for so many packets, at least one.
    pub(super) fn new(packets: usize) -> Self {
        let header = RtpHeader {
            marker: false,
            payload_type: PayloadType::PCMU,
            sequence_number: SequenceNumber(0),
            timestamp: RtpTimestamp(0),
            ssrc: Ssrc(0),
        };
        let entry = Entry { header, arrival: 0, position: 0, samples: 0 };
        let packets = packets.clamp(1, usize::from(u16::MAX));
        let slots = (0..packets).map(|_| Slot { entry, length: 0, payload: [0; _] });
        Self { held: 0, order: (0..packets as u16).collect(), slots: slots.collect() }
    }

    pub(super) fn clear(&mut self) {
        self.held = 0;
    }

    pub(super) fn is_full(&self) -> bool {
        self.held == self.order.len()
    }

    pub(super) fn first(&self) -> Option<Entry> {
        self.entries().next()
    }

    pub(super) fn last(&self) -> Option<Entry> {
        self.entries().last()
    }

    pub(super) fn first_payload(&self) -> Option<&[u8]> {
        let slot = self.order[..self.held].first()?;
        let slot = &self.slots[usize::from(*slot)];
        Some(&slot.payload[..slot.length])
    }

    pub(super) fn holds(&self, number: SequenceNumber) -> bool {
        self.entries().any(|entry| entry.header.sequence_number == number)
    }

    /// Puts a packet in its place. There is room, and its payload is within the bound.
    pub(super) fn put(&mut self, packet: Packet<'_>, entry: Entry) {
        let number = entry.header.sequence_number;
        let before = |entry: &Entry| entry.header.sequence_number.distance(number) < 0;
        let place = self.entries().take_while(before).count();
        let Some(moved) = self.order.get_mut(place..=self.held) else { return };
        moved.rotate_right(1);
        self.held += 1;
        let slot = &mut self.slots[usize::from(self.order[place])];
        slot.entry = entry;
        slot.length = packet.payload.len().min(HELD_PAYLOAD_BYTES_MAX);
        slot.payload[..slot.length].copy_from_slice(&packet.payload[..slot.length]);
    }

    /// Takes the first packet off; there is one. Its slot is not used again before the next is put.
    pub(super) fn take_first(&mut self) -> Packet<'_> {
        self.order[..self.held].rotate_left(1);
        self.held -= 1;
        let slot = &self.slots[usize::from(self.order[self.held])];
        Packet { header: slot.entry.header, payload: &slot.payload[..slot.length] }
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        self.order[..self.held].iter().map(|slot| self.slots[usize::from(*slot)].entry)
    }
}
