//! How a leg on its own ports may learn that its far end sends from elsewhere than it said: behind a
//! NAT, from another port than it receives on, from the other address of a host that has two.
//!
//! Never by default: who can send one forged datagram would take the audio away. Where the controller
//! allows it, only addresses within the prefixes that it named count, only before the far end was
//! heard, and only once [`PACKETS_NEEDED`] packets of plain RTP came in sequence from one source under
//! payload types that were negotiated, or one of SRTP with a good tag. Then the address stays until the
//! far end's is named again.

use std::net::SocketAddr;

use crate::base::prefix::Prefix;
use crate::wire::rtp::{RtpHeader, SequenceNumber, Ssrc};

/// Packets of plain RTP in sequence that are proof enough: a tenth of a second of speech.
const PACKETS_NEEDED: u8 = 5;

/// What a leg may learn, and what it saw so far.
#[derive(Clone, Debug, Default)]
pub struct Learning {
    prefixes: Box<[Prefix]>,
    candidate: Option<Candidate>,
    /// Where the far end was said to be: RTP, and RTCP.
    named: Option<[SocketAddr; 2]>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    ssrc: Ssrc,
    next: SequenceNumber,
    packets: u8,
}

impl Learning {
    /// Within these prefixes; within none nothing is learnt.
    pub fn within(prefixes: &[Prefix]) -> Self {
        Self { prefixes: prefixes.into(), ..Self::default() }
    }

    /// Another source may be learnt from now on; the far end was named as before.
    pub fn change_source(&mut self, to: Self) {
        *self = Self { named: self.named, ..to };
    }

    /// Where the far end's address may lie; nowhere but where it was named, if this is empty.
    pub fn prefixes(&self) -> &[Prefix] {
        &self.prefixes
    }

    /// Whether anything may be learnt.
    pub fn is_allowed(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Whether the far end may turn out to be there.
    pub fn may_be(&self, from: SocketAddr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(from.ip()))
    }

    /// The far end was named; says whether it was said to be elsewhere before.
    pub fn is_another(&mut self, rtp: SocketAddr, rtcp: SocketAddr) -> bool {
        self.candidate = None;
        self.named.replace([rtp, rtcp]) != Some([rtp, rtcp])
    }

    /// Its RTCP was named; says whether that was said to be elsewhere before.
    pub fn is_other_rtcp(&mut self, rtcp: SocketAddr) -> bool {
        let Some([_, named]) = &mut self.named else { return true };
        std::mem::replace(named, rtcp) != rtcp
    }

    /// A packet of plain RTP, under a negotiated payload type, from an address that may be the far
    /// end's. Says whether that is now proven.
    pub fn is_proven_by(&mut self, from: SocketAddr, header: &RtpHeader) -> bool {
        let (ssrc, number) = (header.ssrc, header.sequence_number);
        let packets = match self.candidate {
            Some(candidate) if candidate.is_continued_by(from, header) => candidate.packets + 1,
            _ => 1,
        };
        self.candidate = Some(Candidate { from, ssrc, next: number.next(), packets });
        packets >= PACKETS_NEEDED
    }
}

impl Candidate {
    fn is_continued_by(&self, from: SocketAddr, header: &RtpHeader) -> bool {
        (self.from, self.ssrc, self.next) == (from, header.ssrc, header.sequence_number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtp::{PayloadType, RtpTimestamp};

    fn header(ssrc: u32, number: u16) -> RtpHeader {
        RtpHeader {
            marker: false,
            payload_type: PayloadType::PCMU,
            sequence_number: SequenceNumber(number),
            timestamp: RtpTimestamp(0),
            ssrc: Ssrc(ssrc),
        }
    }

    fn learning() -> Learning {
        Learning::within(&["198.51.100.0/24".parse().unwrap()])
    }

    #[test]
    fn five_packets_in_sequence_prove_an_address_and_a_break_begins_anew() {
        let from = "198.51.100.7:9".parse().unwrap();
        let mut learning = learning();
        for number in [65_534, 65_535, 0, 1] {
            assert!(!learning.is_proven_by(from, &header(1, number)));
        }
        assert!(learning.is_proven_by(from, &header(1, 2)));
        for (other, broken) in [
            (from, header(2, 3)),
            (from, header(1, 4)),
            ("198.51.100.7:10".parse().unwrap(), header(1, 3)),
        ] {
            let mut learning = learning.clone();
            assert!(!learning.is_proven_by(other, &broken));
        }
        assert!(learning.is_another(from, from) && !learning.is_another(from, from));
        assert!(!learning.is_proven_by(from, &header(1, 3)));
    }

    #[test]
    fn only_what_lies_within_the_prefixes_may_be_learnt_and_by_default_nothing() {
        assert!(learning().may_be("198.51.100.255:1".parse().unwrap()));
        assert!(!learning().may_be("198.51.101.1:1".parse().unwrap()));
        let exact = Learning::default();
        assert!(!exact.is_allowed() && !exact.may_be("198.51.100.7:1".parse().unwrap()));
    }
}
