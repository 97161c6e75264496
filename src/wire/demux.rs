//! Which protocol a datagram on a shared port belongs to: the first byte (RFC 7983 §7) and, between
//! RTP and RTCP, the second (RFC 5761 §4).
//!
//! It only sorts. A datagram that is given a protocol may still turn out not to parse.

use crate::base::discard::Discard;

/// What may arrive on a port that carries WebRTC media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A STUN message (RFC 8489).
    Stun,
    /// A DTLS record (RFC 6347, RFC 9147).
    Dtls,
    /// An RTP or SRTP packet.
    Rtp,
    /// An RTCP or SRTCP packet.
    Rtcp,
}

impl Protocol {
    /// Bytes of the protocol's smallest packet: the STUN header, the DTLS 1.2 record header (a
    /// protected DTLS 1.3 record is longer), the RTP header, one RTCP header with its SSRC.
    pub const fn bytes_min(self) -> usize {
        match self {
            Protocol::Stun => 20,
            Protocol::Dtls => 13,
            Protocol::Rtp => 12,
            Protocol::Rtcp => 8,
        }
    }
}

/// Sorts a datagram. TURN channels (64–79), ZRTP (16–19) and QUIC have no place here and are
/// [`Discard::UnknownProtocol`]; so is everything else outside the four ranges.
#[inline]
pub fn classify(datagram: &[u8]) -> Result<Protocol, Discard> {
    let (first, second) = match datagram {
        [] => return Err(Discard::Truncated),
        [first] => (*first, 0),
        [first, second, ..] => (*first, *second),
    };
    let protocol = match (first, second) {
        (0..=3, _) => Protocol::Stun,
        (20..=63, _) => Protocol::Dtls,
        // RTCP packet types 192–223 are RTP payload types 64–95 with the marker set, which nobody
        // may use where both share a port (RFC 5761 §4).
        (128..=191, 192..=223) => Protocol::Rtcp,
        (128..=191, _) => Protocol::Rtp,
        _ => return Err(Discard::UnknownProtocol),
    };
    if datagram.len() < protocol.bytes_min() { Err(Discard::Truncated) } else { Ok(protocol) }
}

/// Whether a datagram of [`Protocol::Dtls`] begins with a whole record of DTLS 1.0 to 1.2 (RFC 6347
/// §4.1), which all unprotected records are, or with a protected one of DTLS 1.3 (RFC 9147 §4),
/// whose header says too little to be checked.
pub fn check_dtls_record(datagram: &[u8]) -> Result<(), Discard> {
    /// The first three bits of a DTLS 1.3 unified header.
    const UNIFIED: std::ops::RangeInclusive<u8> = 0b0010_0000..=0b0011_1111;
    match datagram {
        [first, ..] if UNIFIED.contains(first) => Ok(()),
        [_, 0xfe, 0xff | 0xfd, _, _, _, _, _, _, _, _, high, low, record @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if (1..=record.len()).contains(&length) { Ok(()) } else { Err(Discard::BadDtls) }
        }
        _ => Err(Discard::BadDtls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_goes_where_rfc_7983_says() {
        for first in 0..=255u8 {
            let mut datagram = [0u8; 20];
            datagram[0] = first;
            let expected = match first {
                0..=3 => Ok(Protocol::Stun),
                20..=63 => Ok(Protocol::Dtls),
                128..=191 => Ok(Protocol::Rtp),
                _ => Err(Discard::UnknownProtocol),
            };
            assert_eq!(classify(&datagram), expected, "first byte {first}");
        }
    }

    #[test]
    fn every_second_byte_splits_rtp_from_rtcp_as_rfc_5761_says() {
        for second in 0..=255u8 {
            let mut datagram = [0u8; 12];
            (datagram[0], datagram[1]) = (0x80, second);
            let is_rtcp = (192..=223).contains(&second);
            let expected = if is_rtcp { Protocol::Rtcp } else { Protocol::Rtp };
            assert_eq!(classify(&datagram), Ok(expected), "second byte {second}");
        }
    }

    #[test]
    fn a_datagram_shorter_than_its_protocol_is_truncated() {
        assert_eq!(classify(&[]), Err(Discard::Truncated));
        for (first, second) in [(0, 1), (22, 254), (0x80, 0), (0x80, 200)] {
            let mut datagram = [0u8; 20];
            (datagram[0], datagram[1]) = (first, second);
            let protocol = classify(&datagram).unwrap();
            for length in 2..20 {
                let expected = if length < protocol.bytes_min() {
                    Err(Discard::Truncated)
                } else {
                    Ok(protocol)
                };
                assert_eq!(classify(&datagram[..length]), expected);
            }
        }
    }

    #[test]
    fn a_dtls_record_is_whole_and_of_a_known_version() {
        let mut record = [0u8; 20];
        record[..3].copy_from_slice(&[22, 0xfe, 0xfd]);
        record[12] = 7;
        assert_eq!(check_dtls_record(&record), Ok(()));
        // Another record may follow.
        record[12] = 1;
        assert_eq!(check_dtls_record(&record), Ok(()));
        for (at, byte) in [(12, 8), (12, 0), (11, 1), (1, 3), (2, 0xfc)] {
            let mut broken = record;
            broken[at] = byte;
            assert_eq!(check_dtls_record(&broken), Err(Discard::BadDtls), "{broken:02x?}");
        }
        // A protected record of DTLS 1.3.
        record[0] = 0x2e;
        assert_eq!(check_dtls_record(&record), Ok(()));
    }
}
