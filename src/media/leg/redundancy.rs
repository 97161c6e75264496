//! RED on a leg (RFC 2198): every packet brings its predecessors' payloads along, so that a lost one
//! comes with the next, whole and for no encoder's work.
//!
//! ```text
//!  heard:  [N-2 | N-1 | N] ─► copies of N-2 and N-1 ─► the window takes what it misses ─► N
//!  sent:   payload N, and N-1's as it was remembered ─► [N-1 | N], or N alone where that cannot be
//! ```
//!
//! In: RED payloads, and payloads to send. Out: the packets in them, and payloads around them. The
//! bytes are read and written by [`crate::wire::red`]; whether a copy is missed is known to
//! [`crate::audio::repair`].

use crate::audio::repair::Packet;
use crate::base::narrow::Narrow;
use crate::base::opaque::opaque;
use crate::wire::red::{
    self, BLOCK_BYTES_MAX, OVERHEAD_BYTES, RedPayload, RedundantBlock, TIMESTAMP_OFFSET_MAX,
};
use crate::wire::rtp::{HEADER_BYTES, PayloadType, RtpHeader, RtpTimestamp};

/// A packet that grew beyond this by its redundancy leaves without it: what WebRTC sends at most, so
/// that nothing on the way has to fragment it.
const PACKET_BYTES_MAX: usize = 1_200;
/// What SRTP adds to a packet at most: the tag of AES-GCM.
const TAG_BYTES_MAX: usize = 16;
/// What is left for the payload.
const PAYLOAD_BYTES_MAX: usize = PACKET_BYTES_MAX - HEADER_BYTES - TAG_BYTES_MAX;

/// The packet's own payload.
pub fn primary<'a>(header: RtpHeader, red: &RedPayload<'a>) -> Packet<'a> {
    Packet { header: RtpHeader { payload_type: red.payload_type, ..header }, payload: red.payload }
}

/// The packets that `red` repeats, oldest first. Where a copy stood in the sequence is not written
/// anywhere: the last one is taken for the packet just before, and so on. One that contradicts this
/// by not being older than what follows it is left out, and so is one that is empty or in another
/// coding than the packet itself, which RFC 2198 allows and nobody sends.
pub fn copies<'a>(
    header: RtpHeader,
    red: &RedPayload<'a>,
) -> impl Iterator<Item = Packet<'a>> + use<'a> {
    let payload_type = red.payload_type;
    let blocks = red.redundant();
    let mut distance: i16 = blocks.len().narrow();
    let mut offset_max = TIMESTAMP_OFFSET_MAX;
    blocks.filter_map(move |block| {
        let sequence_number = header.sequence_number + -distance;
        distance -= 1;
        let offset = block.timestamp_offset;
        let is_older = (1..=offset_max).contains(&offset);
        offset_max = offset_max.min(offset.saturating_sub(1));
        let timestamp = RtpTimestamp(header.timestamp.0.wrapping_sub(offset));
        let header =
            RtpHeader { marker: false, payload_type, sequence_number, timestamp, ..header };
        (is_older && block.payload_type == payload_type && !block.payload.is_empty())
            .then_some(Packet { header, payload: block.payload })
    })
}

/// The sending side of a leg whose far end understands RED.
pub struct Redundancy {
    /// Whether packets carry their predecessor: the encoder's policy decides.
    pub active: bool,
    /// RED's number.
    payload_type: PayloadType,
    /// The number of what is repeated; telephone events pass between as they are.
    audio: PayloadType,
    /// The last packet of audio and its payload's length, while it may be repeated.
    previous: Option<(RtpHeader, usize)>,
    payload: [u8; BLOCK_BYTES_MAX],
}

opaque!(Redundancy);

impl Redundancy {
    /// Wraps `audio` as `payload_type`, from now on.
    pub fn new(payload_type: PayloadType, audio: PayloadType) -> Self {
        let payload = [0; BLOCK_BYTES_MAX];
        Self { active: true, payload_type, audio, previous: None, payload }
    }

    /// RED's payload type and the one that is repeated.
    pub const fn numbers(&self) -> (PayloadType, PayloadType) {
        (self.payload_type, self.audio)
    }

    /// Puts the packet sent before into `out`, in front of the `length` bytes of payload that are
    /// there already; returns the length then. `header` is made RED's. Nothing is changed when the
    /// packet before was none of audio, was too large or lies too far back, or when the packet
    /// would become too large.
    pub fn wrap(&mut self, header: &mut RtpHeader, out: &mut [u8], length: usize) -> usize {
        if !self.active || header.payload_type != self.audio {
            self.previous = None;
            return length;
        }
        let plain = *header;
        let begin = self.begin_after_previous(plain, length, out.len()).unwrap_or(0);
        if let Some((previous, copy_bytes)) = self.previous
            && begin > 0
        {
            out.copy_within(..length, begin);
            let block = RedundantBlock {
                payload_type: self.audio,
                timestamp_offset: offset_of(previous, plain),
                payload: &self.payload[..copy_bytes],
            };
            // There is room: it was just counted.
            red::write(out, &[block], self.audio);
            header.payload_type = self.payload_type;
        }
        self.remember(plain, &out[begin..begin + length]);
        begin + length
    }

    /// Where the payload begins behind the packet before; `None` when that cannot be sent along.
    fn begin_after_previous(
        &self,
        header: RtpHeader,
        length: usize,
        room_bytes: usize,
    ) -> Option<usize> {
        let (previous, copy_bytes) = self.previous?;
        let is_adjacent = previous.sequence_number.next() == header.sequence_number;
        let offset = offset_of(previous, header);
        let begin = OVERHEAD_BYTES + copy_bytes;
        let fits = begin + length <= room_bytes.min(PAYLOAD_BYTES_MAX);
        (is_adjacent && (1..=TIMESTAMP_OFFSET_MAX).contains(&offset) && fits).then_some(begin)
    }

    fn remember(&mut self, header: RtpHeader, payload: &[u8]) {
        self.previous = None;
        if let Some(copy) = self.payload.get_mut(..payload.len()) {
            copy.copy_from_slice(payload);
            self.previous = Some((header, payload.len()));
        }
    }
}

fn offset_of(previous: RtpHeader, header: RtpHeader) -> u32 {
    header.timestamp.0.wrapping_sub(previous.timestamp.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::discard::Discard;
    use crate::wire::rtp::{SequenceNumber, Ssrc};

    const RED: u8 = 63;
    const OPUS: u8 = 111;

    fn number(value: u8) -> PayloadType {
        PayloadType::new(value).unwrap()
    }

    fn header(sequence_number: u16, timestamp: u32) -> RtpHeader {
        RtpHeader {
            marker: false,
            payload_type: number(OPUS),
            sequence_number: SequenceNumber(sequence_number),
            timestamp: RtpTimestamp(timestamp),
            ssrc: Ssrc(1),
        }
    }

    fn redundancy() -> Redundancy {
        Redundancy::new(number(RED), number(OPUS))
    }

    /// What leaves for a payload: its number on the wire and its bytes.
    fn send(redundancy: &mut Redundancy, mut header: RtpHeader, payload: &[u8]) -> (u8, Vec<u8>) {
        let mut out = [0; 1_400];
        out[..payload.len()].copy_from_slice(payload);
        let length = redundancy.wrap(&mut header, &mut out, payload.len());
        (header.payload_type.value(), out[..length].to_vec())
    }

    /// What is heard of a RED payload, as numbers.
    fn hear(header: RtpHeader, payload: &[u8]) -> Result<Vec<(u16, u32, Vec<u8>)>, Discard> {
        let red = RedPayload::parse(payload)?;
        let all = copies(header, &red).chain([primary(header, &red)]);
        Ok(all
            .map(|packet| {
                assert_eq!(packet.header.payload_type.value(), OPUS);
                let header = packet.header;
                (header.sequence_number.0, header.timestamp.0, packet.payload.to_vec())
            })
            .collect())
    }

    fn block(payload_type: u8, timestamp_offset: u32, payload: &[u8]) -> RedundantBlock<'_> {
        RedundantBlock { payload_type: number(payload_type), timestamp_offset, payload }
    }

    fn red_of(blocks: &[RedundantBlock<'_>], payload: &[u8]) -> Vec<u8> {
        let mut out = [0; 1_400];
        let begin = red::write(&mut out, blocks, number(OPUS)).unwrap();
        out[begin..begin + payload.len()].copy_from_slice(payload);
        out[..begin + payload.len()].to_vec()
    }

    #[test]
    fn a_packet_brings_the_one_before_along() {
        let mut redundancy = redundancy();
        assert_eq!(send(&mut redundancy, header(0xffff, 5), b"one"), (OPUS, b"one".to_vec()));
        let (payload_type, payload) = send(&mut redundancy, header(0, 965), b"second");
        assert_eq!((payload_type, payload.len()), (RED, 5 + 3 + 6));
        assert_eq!(
            hear(header(0, 965), &payload).unwrap(),
            [(0xffff, 5, b"one".to_vec()), (0, 965, b"second".to_vec())]
        );
    }

    #[test]
    fn several_copies_are_counted_back_from_the_packet() {
        let blocks = [block(OPUS, 2_880, b"a"), block(OPUS, 1_920, b"b"), block(OPUS, 960, b"c")];
        let heard = hear(header(1, 2_000), &red_of(&blocks, b"d")).unwrap();
        let expected = [(0xfffe, 0xffff_fc90, b"a"), (0xffff, 80, b"b"), (0, 1_040, b"c")];
        assert_eq!(heard[..3], expected.map(|(n, t, payload)| (n, t, payload.to_vec())));
        assert_eq!(heard[3], (1, 2_000, b"d".to_vec()));
    }

    #[test]
    fn a_copy_that_cannot_be_what_its_place_says_is_left_out() {
        for blocks in [
            [block(OPUS, 960, b"a"), block(OPUS, 960, b"b")], // as old as the next
            [block(OPUS, 960, b"a"), block(OPUS, 1_920, b"b")], // younger than the next
            [block(OPUS, 1_920, b"a"), block(OPUS, 0, b"b")], // as young as the packet
            [block(OPUS, 1_920, b""), block(OPUS, 960, b"b")], // empty
            [block(0, 1_920, b"a"), block(OPUS, 960, b"b")],  // in another coding
        ] {
            let heard = hear(header(9, 9_000), &red_of(&blocks, b"c")).unwrap();
            assert_eq!(heard.len(), 2, "{blocks:?}");
        }
    }

    #[test]
    fn only_the_packet_right_before_is_repeated() {
        let is_red = |first: RtpHeader, second: RtpHeader, payload: &[u8]| {
            let mut redundancy = redundancy();
            send(&mut redundancy, first, payload);
            send(&mut redundancy, second, b"x").0 == RED
        };
        assert!(is_red(header(1, 0), header(2, 960), b"y"));
        assert!(!is_red(header(1, 0), header(3, 1_920), b"y"), "one was left out");
        assert!(is_red(header(1, 0), header(2, TIMESTAMP_OFFSET_MAX), b"y"));
        assert!(!is_red(header(1, 0), header(2, TIMESTAMP_OFFSET_MAX + 1), b"y"), "too old");
        assert!(!is_red(header(1, 0), header(2, 0), b"y"), "not older");
        assert!(is_red(header(1, 0), header(2, 960), &[7; BLOCK_BYTES_MAX]));
        assert!(!is_red(header(1, 0), header(2, 960), &[7; BLOCK_BYTES_MAX + 1]), "too large");
    }

    #[test]
    fn a_telephone_event_passes_and_is_not_repeated() {
        let mut redundancy = redundancy();
        send(&mut redundancy, header(1, 0), b"audio");
        let event = RtpHeader { payload_type: number(110), ..header(2, 960) };
        assert_eq!(send(&mut redundancy, event, b"even"), (110, b"even".to_vec()));
        assert_eq!(send(&mut redundancy, header(3, 1_920), b"x").0, OPUS);
        assert_eq!(send(&mut redundancy, header(4, 2_880), b"x").0, RED);
    }

    #[test]
    fn a_packet_that_would_grow_too_large_leaves_plain_and_is_repeated_if_it_fits() {
        let mut redundancy = redundancy();
        send(&mut redundancy, header(1, 0), &[1; 700]);
        let (payload_type, payload) = send(&mut redundancy, header(2, 960), &[2; 500]);
        assert_eq!((payload_type, payload), (OPUS, vec![2; 500]));
        let (payload_type, payload) = send(&mut redundancy, header(3, 1_920), &[3; 660]);
        assert_eq!((payload_type, payload.len()), (RED, PAYLOAD_BYTES_MAX - 7));
    }

    #[test]
    fn nothing_is_repeated_while_it_is_switched_off() {
        let mut redundancy = redundancy();
        send(&mut redundancy, header(1, 0), b"a");
        redundancy.active = false;
        assert_eq!(send(&mut redundancy, header(2, 960), b"b"), (OPUS, b"b".to_vec()));
        redundancy.active = true;
        assert_eq!(send(&mut redundancy, header(3, 1_920), b"c").0, OPUS);
        assert_eq!(send(&mut redundancy, header(4, 2_880), b"d").0, RED);
    }

    proptest! {
        #[test]
        fn what_is_sent_is_heard_with_the_packet_before_it(
            first: u16,
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..1_100), 1..20),
        ) {
            let mut redundancy = redundancy();
            let mut before = None;
            for (place, payload) in packets.into_iter().enumerate() {
                let header = header(first.wrapping_add(place as u16), 960 * place as u32);
                let (payload_type, sent) = send(&mut redundancy, header, &payload);
                let here = (header.sequence_number.0, header.timestamp.0, payload);
                if payload_type == RED {
                    prop_assert!(sent.len() <= PAYLOAD_BYTES_MAX);
                    let expected: Vec<_> = before.into_iter().chain([here.clone()]).collect();
                    prop_assert_eq!(hear(header, &sent).unwrap(), expected);
                } else {
                    prop_assert_eq!(&sent, &here.2);
                }
                before = Some(here);
            }
        }
    }
}
