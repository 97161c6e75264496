//! RTP packets (RFC 3550 §5.1): the header as a value, the payload as a slice.
//!
//! Contributing sources and header extensions are stepped over: nothing here uses them. What is
//! written has neither, nor padding. Protection (SRTP) is undone before a packet is parsed, because
//! the padding count is encrypted; [`header_length`] tells where the encrypted part begins.

use std::ops::Add;

use serde::{Deserialize, Serialize};

use crate::base::discard::Discard;

/// Bytes of a header without contributing sources and extension.
pub const HEADER_BYTES: usize = 12;

const VERSION: u8 = 2;
const PADDING_FLAG: u8 = 0x20;
const EXTENSION_FLAG: u8 = 0x10;
const MARKER_FLAG: u8 = 0x80;

/// RTP sequence number: wraps at 2^16, compared by serial arithmetic (RFC 1982).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SequenceNumber(pub u16);

impl SequenceNumber {
    /// How far `self` is ahead of `other`, in packets; negative when it is behind. Exactly half the
    /// circle counts as behind.
    #[inline]
    pub const fn distance(self, other: Self) -> i16 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// The number of the packet after this one.
    #[inline]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// A number some packets later (or earlier).
impl Add<i16> for SequenceNumber {
    type Output = Self;

    #[inline]
    fn add(self, packets: i16) -> Self {
        Self(self.0.wrapping_add_signed(packets))
    }
}

/// RTP timestamp in units of the payload's clock: wraps at 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RtpTimestamp(pub u32);

impl RtpTimestamp {
    /// How far `self` is ahead of `other`, in clock units; negative when it is behind.
    #[inline]
    pub const fn distance(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}

/// A timestamp some clock units later.
impl Add<u32> for RtpTimestamp {
    type Output = Self;

    #[inline]
    fn add(self, units: u32) -> Self {
        Self(self.0.wrapping_add(units))
    }
}

/// Synchronisation source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ssrc(pub u32);

/// RTP payload type, 0..=127.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct PayloadType(u8);

impl PayloadType {
    /// PCMU (RFC 3551 §6).
    pub const PCMU: Self = Self(0);
    /// PCMA (RFC 3551 §6).
    pub const PCMA: Self = Self(8);

    /// `None` above 127.
    pub const fn new(value: u8) -> Option<Self> {
        if value < 128 { Some(Self(value)) } else { None }
    }

    /// The lower seven bits of a byte whose highest is a flag, as headers carry it.
    pub(super) const fn from_low_bits(byte: u8) -> Self {
        Self(byte & 0x7f)
    }

    /// The number on the wire.
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for PayloadType {
    type Error = String;

    fn try_from(value: u8) -> Result<Self, String> {
        Self::new(value).ok_or_else(|| format!("payload type {value} is above 127"))
    }
}

impl From<PayloadType> for u8 {
    fn from(payload_type: PayloadType) -> u8 {
        payload_type.0
    }
}

/// The part of an RTP header that a gateway reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Set on the first packet of a talkspurt (RFC 3551 §4.1) or of a telephone event.
    pub marker: bool,
    /// What the payload is.
    pub payload_type: PayloadType,
    /// Counts packets.
    pub sequence_number: SequenceNumber,
    /// Sampling instant of the payload's first sample.
    pub timestamp: RtpTimestamp,
    /// Who sends.
    pub ssrc: Ssrc,
}

impl RtpHeader {
    /// Reads the fixed part of a header, whose version is not checked.
    #[inline]
    pub fn read(fixed: &[u8; HEADER_BYTES]) -> Self {
        Self {
            marker: fixed[1] & MARKER_FLAG != 0,
            payload_type: PayloadType::from_low_bits(fixed[1]),
            sequence_number: SequenceNumber(u16::from_be_bytes([fixed[2], fixed[3]])),
            timestamp: RtpTimestamp(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]])),
            ssrc: Ssrc(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
        }
    }

    /// Writes a header without contributing sources, extension or padding.
    #[inline]
    pub fn write(&self, out: &mut [u8; HEADER_BYTES]) {
        out[0] = VERSION << 6;
        out[1] = self.payload_type.0 | if self.marker { MARKER_FLAG } else { 0 };
        out[2..4].copy_from_slice(&self.sequence_number.0.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.0.to_be_bytes());
    }
}

/// A parsed RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// The header's fields.
    pub header: RtpHeader,
    /// The payload, without padding. It may be empty: some trunks keep NAT bindings alive so.
    pub payload: &'a [u8],
    /// Bytes in front of the payload: fixed header, contributing sources, extension.
    pub header_bytes: usize,
}

impl<'a> RtpPacket<'a> {
    /// Reads a packet, which must fill `packet` exactly.
    #[inline]
    pub fn parse(packet: &'a [u8]) -> Result<Self, Discard> {
        let header_bytes = header_length(packet)?;
        let fixed = packet.first_chunk().ok_or(Discard::Truncated)?;
        Self::with_header(RtpHeader::read(fixed), header_bytes, packet)
    }

    /// The packet whose header was read already, and how long it is.
    #[inline]
    pub fn with_header(
        header: RtpHeader,
        header_bytes: usize,
        packet: &'a [u8],
    ) -> Result<Self, Discard> {
        let (head, mut payload) =
            packet.split_at_checked(header_bytes).ok_or(Discard::Truncated)?;
        if head.first().ok_or(Discard::Truncated)? & PADDING_FLAG != 0 {
            // The last byte counts the padding, itself included (RFC 3550 §5.1).
            let padding_bytes = usize::from(*payload.last().ok_or(Discard::BadRtp)?);
            if padding_bytes == 0 || padding_bytes > payload.len() {
                return Err(Discard::BadRtp);
            }
            payload = &payload[..payload.len() - padding_bytes];
        }
        Ok(Self { header, payload, header_bytes })
    }
}

/// Bytes in front of the payload (RFC 3550 §5.1 and §5.3.1): the fixed header, contributing sources
/// and the extension. SRTP leaves exactly these in the clear.
#[inline]
pub fn header_length(packet: &[u8]) -> Result<usize, Discard> {
    if packet.len() < HEADER_BYTES {
        return Err(Discard::Truncated);
    }
    if packet[0] >> 6 != VERSION {
        return Err(Discard::BadRtp);
    }
    let mut length = HEADER_BYTES + 4 * usize::from(packet[0] & 0x0f);
    if packet[0] & EXTENSION_FLAG != 0 {
        let extension = packet.get(length..length + 4).ok_or(Discard::Truncated)?;
        length += 4 + 4 * usize::from(u16::from_be_bytes([extension[2], extension[3]]));
    }
    if length > packet.len() { Err(Discard::Truncated) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(first: u8, after_fixed_header: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, 0x80 | 111, 0xff, 0xfe, 0, 0, 3, 0xc0, 1, 2, 3, 4];
        packet.extend_from_slice(after_fixed_header);
        packet
    }

    #[test]
    fn a_plain_packet_parses() {
        let bytes = packet(0x80, b"speech");
        let parsed = RtpPacket::parse(&bytes).unwrap();
        assert_eq!(
            parsed,
            RtpPacket {
                header: RtpHeader {
                    marker: true,
                    payload_type: PayloadType::new(111).unwrap(),
                    sequence_number: SequenceNumber(0xfffe),
                    timestamp: RtpTimestamp(960),
                    ssrc: Ssrc(0x0102_0304),
                },
                payload: b"speech",
                header_bytes: 12,
            }
        );
    }

    #[test]
    fn contributing_sources_and_extension_are_stepped_over() {
        // Two contributing sources, then an extension of one word.
        let rest = [0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0, b'x'];
        let bytes = packet(0x80 | EXTENSION_FLAG | 2, &rest);
        let parsed = RtpPacket::parse(&bytes).unwrap();
        assert_eq!((parsed.header_bytes, parsed.payload), (28, &b"x"[..]));
        for length in 0..28 {
            assert_eq!(RtpPacket::parse(&bytes[..length]), Err(Discard::Truncated));
        }
    }

    #[test]
    fn an_extension_longer_than_the_packet_is_truncated() {
        let bytes = packet(0x80 | EXTENSION_FLAG, &[0xbe, 0xde, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(RtpPacket::parse(&bytes), Err(Discard::Truncated));
    }

    #[test]
    fn padding_is_taken_off_and_must_fit() {
        let padded = |rest: &[u8]| packet(0x80 | PADDING_FLAG, rest);
        assert_eq!(RtpPacket::parse(&padded(&[7, 0, 2])).unwrap().payload, &[7]);
        assert_eq!(RtpPacket::parse(&padded(&[0, 0, 3])).unwrap().payload, &[] as &[u8]);
        for bad in [&[7, 0, 4][..], &[7, 0, 0], &[]] {
            assert_eq!(RtpPacket::parse(&padded(bad)), Err(Discard::BadRtp));
        }
    }

    #[test]
    fn another_version_is_bad() {
        for first in [0x00, 0x40, 0xc0] {
            assert_eq!(RtpPacket::parse(&packet(first, b"x")), Err(Discard::BadRtp));
        }
    }

    #[test]
    fn serial_arithmetic_crosses_the_wrap() {
        let (last, first) = (SequenceNumber(0xffff), SequenceNumber(0));
        assert_eq!(first.distance(last), 1);
        assert_eq!(last.distance(first), -1);
        assert_eq!(last.next(), first);
        assert_eq!(first + -1, last);
        assert_eq!(SequenceNumber(0x8000).distance(first), i16::MIN);
        assert_eq!(RtpTimestamp(5).distance(RtpTimestamp(0xffff_fffb)), 10);
        assert_eq!(RtpTimestamp(0xffff_fffb) + 10, RtpTimestamp(5));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            marker: bool, payload_type in 0u8..128, sequence_number: u16, timestamp: u32,
            ssrc: u32, payload: Vec<u8>,
        ) {
            let header = RtpHeader {
                marker,
                payload_type: PayloadType::new(payload_type).unwrap(),
                sequence_number: SequenceNumber(sequence_number),
                timestamp: RtpTimestamp(timestamp),
                ssrc: Ssrc(ssrc),
            };
            let mut fixed = [0xaa; HEADER_BYTES];
            header.write(&mut fixed);
            let bytes = [&fixed[..], &payload].concat();
            let parsed = RtpPacket::parse(&bytes).unwrap();
            prop_assert_eq!(parsed, RtpPacket { header, payload: &payload, header_bytes: 12 });
        }

        #[test]
        fn any_bytes_are_parsed_or_discarded(first in 0x80u8..=0xbf, rest: Vec<u8>) {
            let bytes = [&[first][..], &rest].concat();
            if let Ok(parsed) = RtpPacket::parse(&bytes) {
                prop_assert!(parsed.header_bytes + parsed.payload.len() <= bytes.len());
            }
        }
    }
}
