//! RED, redundant audio (RFC 2198): one payload that carries a packet's audio, the primary block,
//! and before it copies of packets that left earlier, oldest first.
//!
//! ```text
//!  1 | block PT (7) | timestamp offset (14) | block length (10)     one header a redundant block
//!  0 | block PT (7)                                                 the primary's, the last one
//!  the redundant blocks' bytes, then the primary's to the end
//! ```
//!
//! A payload ⇄ its blocks. Which sequence number a copy had is nowhere on the wire; that, and
//! whether anybody misses it, is left to whoever keeps the stream.

use super::rtp::PayloadType;
use super::writer::Writer;
use crate::base::discard::Discard;
use crate::base::narrow::Narrow;

/// Redundant blocks in one packet. Chromium writes one, nine at most when told to; with 20 ms
/// packets the ninth is 180 ms old and the repair window has long given its place up.
pub const REDUNDANT_BLOCKS_MAX: usize = 9;
/// The oldest copy that a header can name, in units of the RTP clock (14 bits): 341 ms at 48 kHz.
pub const TIMESTAMP_OFFSET_MAX: u32 = (1 << 14) - 1;
/// The longest copy that a header can name (10 bits).
pub const BLOCK_BYTES_MAX: usize = (1 << 10) - 1;
/// What one redundant block costs beside its own bytes: its header, and the primary's.
pub const OVERHEAD_BYTES: usize = BLOCK_HEADER_BYTES + PRIMARY_HEADER_BYTES;

const BLOCK_HEADER_BYTES: usize = 4;
const PRIMARY_HEADER_BYTES: usize = 1;
/// F: another header follows.
const FOLLOWED_FLAG: u8 = 0x80;

/// A copy of an earlier packet's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedundantBlock<'a> {
    /// What the copy is.
    pub payload_type: PayloadType,
    /// How far its timestamp is before the packet's, 0..=[`TIMESTAMP_OFFSET_MAX`].
    pub timestamp_offset: u32,
    /// The copy, at most [`BLOCK_BYTES_MAX`]; empty where there was nothing to repeat.
    pub payload: &'a [u8],
}

/// A parsed payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedPayload<'a> {
    /// The redundant blocks' headers.
    headers: &'a [[u8; BLOCK_HEADER_BYTES]],
    /// Their bytes.
    copies: &'a [u8],
    /// What the primary block is.
    pub payload_type: PayloadType,
    /// The primary block: the packet's own payload.
    pub payload: &'a [u8],
}

impl<'a> RedPayload<'a> {
    /// Reads a payload whole: headers that end, at most [`REDUNDANT_BLOCKS_MAX`] of them before the
    /// primary's, and as many bytes as they promise.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Discard> {
        let (headers, _) = payload.as_chunks();
        let followed = |header: &&[u8; BLOCK_HEADER_BYTES]| header[0] & FOLLOWED_FLAG != 0;
        let blocks = headers.iter().take_while(followed).take(REDUNDANT_BLOCKS_MAX).count();
        let headers = &headers[..blocks];
        let rest = &payload[blocks * BLOCK_HEADER_BYTES..];
        let (&primary, rest) = rest.split_first().ok_or(Discard::BadRed)?;
        // With the flag set this is one block too many, or a header cut short.
        let payload_type = PayloadType::new(primary).ok_or(Discard::BadRed)?;
        let copies_bytes = headers.iter().map(|header| Header::read(*header).block_bytes).sum();
        let (copies, payload) = rest.split_at_checked(copies_bytes).ok_or(Discard::BadRed)?;
        Ok(Self { headers, copies, payload_type, payload })
    }

    /// The redundant blocks as they were written: oldest first.
    pub fn redundant(&self) -> impl ExactSizeIterator<Item = RedundantBlock<'a>> + use<'a> {
        let mut copies = self.copies;
        self.headers.iter().map(move |header| {
            let Header { payload_type, timestamp_offset, block_bytes } = Header::read(*header);
            // `parse` saw that there are as many.
            let (payload, rest) = copies.split_at_checked(block_bytes).unwrap_or((copies, &[]));
            copies = rest;
            RedundantBlock { payload_type, timestamp_offset, payload }
        })
    }
}

/// A redundant block's header.
struct Header {
    payload_type: PayloadType,
    timestamp_offset: u32,
    block_bytes: usize,
}

impl Header {
    fn read(header: [u8; BLOCK_HEADER_BYTES]) -> Self {
        let word = u32::from_be_bytes(header);
        Self {
            payload_type: PayloadType::from_low_bits(header[0]),
            timestamp_offset: word >> 10 & TIMESTAMP_OFFSET_MAX,
            block_bytes: word as usize & BLOCK_BYTES_MAX,
        }
    }
}

/// Writes what stands before the primary block: all headers and the copies, oldest first. Returns
/// the bytes written, where the primary block begins; `None` when something does not fit `out` or
/// its field, or there are more than [`REDUNDANT_BLOCKS_MAX`].
pub fn write(
    out: &mut [u8],
    redundant: &[RedundantBlock<'_>],
    primary: PayloadType,
) -> Option<usize> {
    if redundant.len() > REDUNDANT_BLOCKS_MAX {
        return None;
    }
    let mut writer = Writer::new(out);
    for RedundantBlock { payload_type, timestamp_offset, payload } in redundant {
        if *timestamp_offset > TIMESTAMP_OFFSET_MAX || payload.len() > BLOCK_BYTES_MAX {
            return None;
        }
        let first = u32::from(FOLLOWED_FLAG | payload_type.value()) << 24;
        writer.word(first | timestamp_offset << 10 | Narrow::<u32>::narrow(payload.len()))?;
    }
    writer.put(&[primary.value()])?;
    for block in redundant {
        writer.put(block.payload)?;
    }
    Some(writer.length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPUS: PayloadType = PayloadType::PCMU; // Any number will do.

    fn payload_type(value: u8) -> PayloadType {
        PayloadType::new(value).unwrap()
    }

    #[test]
    fn the_example_of_rfc_2198_parses() {
        // RFC 2198 §5: DVI4 (5) of 20 ms at 8 kHz, and one LPC block (7) a packet older.
        let mut payload = vec![0x80 | 7, 160 >> 6, (160 << 2 & 0xff) as u8, 14, 5];
        payload.extend([0xaa; 14]);
        payload.extend([0xbb; 84]);
        let red = RedPayload::parse(&payload).unwrap();
        assert_eq!((red.payload_type, red.payload), (payload_type(5), &[0xbb; 84][..]));
        let expected = RedundantBlock {
            payload_type: payload_type(7),
            timestamp_offset: 160,
            payload: &[0xaa; 14],
        };
        assert_eq!(red.redundant().collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn a_primary_block_alone_is_a_payload() {
        let red = RedPayload::parse(&[111, 1, 2, 3]).unwrap();
        assert_eq!((red.payload_type, red.payload), (payload_type(111), &[1, 2, 3][..]));
        assert_eq!(red.redundant().len(), 0);
        // Nothing to play is for the line to find out.
        assert!(RedPayload::parse(&[111]).unwrap().payload.is_empty());
    }

    #[test]
    fn what_is_cut_short_is_discarded() {
        let block = RedundantBlock { payload_type: OPUS, timestamp_offset: 960, payload: &[1; 40] };
        let mut payload = [0; 60];
        let length = write(&mut payload, &[block], OPUS).unwrap();
        for length in 0..length {
            assert_eq!(RedPayload::parse(&payload[..length]), Err(Discard::BadRed), "{length}");
        }
        assert_eq!(RedPayload::parse(&payload[..length]).unwrap().redundant().len(), 1);
    }

    #[test]
    fn headers_that_never_end_are_discarded() {
        assert_eq!(RedPayload::parse(&[0x80; 1000]), Err(Discard::BadRed));
        let empty = RedundantBlock { payload_type: OPUS, timestamp_offset: 1, payload: &[] };
        let mut out = [0; 64];
        let most = [empty; REDUNDANT_BLOCKS_MAX];
        let length = write(&mut out, &most, OPUS).unwrap();
        let red = RedPayload::parse(&out[..length]).unwrap();
        assert_eq!(red.redundant().collect::<Vec<_>>(), most);
        // One more, written by hand: the writer refuses it.
        out.copy_within(..length, 4);
        assert_eq!(RedPayload::parse(&out[..length + 4]), Err(Discard::BadRed));
        assert_eq!(write(&mut out, &[empty; REDUNDANT_BLOCKS_MAX + 1], OPUS), None);
    }

    #[test]
    fn what_does_not_fit_its_field_is_not_written() {
        let mut out = [0; 2000];
        let block = RedundantBlock {
            payload_type: OPUS,
            timestamp_offset: TIMESTAMP_OFFSET_MAX,
            payload: &[7; BLOCK_BYTES_MAX],
        };
        assert!(write(&mut out, &[block], OPUS).is_some());
        let old = RedundantBlock { timestamp_offset: TIMESTAMP_OFFSET_MAX + 1, ..block };
        assert_eq!(write(&mut out, &[old], OPUS), None);
        let long = RedundantBlock { payload: &[7; BLOCK_BYTES_MAX + 1], ..block };
        assert_eq!(write(&mut out, &[long], OPUS), None);
        assert_eq!(write(&mut out[..BLOCK_BYTES_MAX + OVERHEAD_BYTES - 1], &[block], OPUS), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            blocks in prop::collection::vec(
                (0u8..128, 0..=TIMESTAMP_OFFSET_MAX, prop::collection::vec(any::<u8>(), 0..200)),
                0..=REDUNDANT_BLOCKS_MAX,
            ),
            primary in 0u8..128,
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let blocks: Vec<_> = blocks
                .iter()
                .map(|(number, timestamp_offset, payload)| RedundantBlock {
                    payload_type: payload_type(*number),
                    timestamp_offset: *timestamp_offset,
                    payload,
                })
                .collect();
            let mut out = [0; 3_000];
            let begin = write(&mut out, &blocks, payload_type(primary)).unwrap();
            out[begin..begin + payload.len()].copy_from_slice(&payload);
            let red = RedPayload::parse(&out[..begin + payload.len()]).unwrap();
            prop_assert_eq!(red.redundant().collect::<Vec<_>>(), blocks);
            prop_assert_eq!(red.payload_type, payload_type(primary));
            prop_assert_eq!(red.payload, payload);
        }

        #[test]
        fn no_payload_panics_and_no_byte_is_read_twice(payload: Vec<u8>) {
            if let Ok(red) = RedPayload::parse(&payload) {
                let copies: usize = red.redundant().map(|block| block.payload.len()).sum();
                let headers = red.redundant().len() * BLOCK_HEADER_BYTES + PRIMARY_HEADER_BYTES;
                prop_assert_eq!(headers + copies + red.payload.len(), payload.len());
            }
        }
    }
}
