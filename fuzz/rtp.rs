//! Any datagram: sorting never contradicts itself, RTP parses or not, and what was parsed can be
//! written and parsed again.

use linecard::wire::demux::{Protocol, classify};
use linecard::wire::rtp::{HEADER_BYTES, RtpPacket, header_length};

/// One input.
pub fn run(datagram: &[u8]) {
    let protocol = classify(datagram);
    let Ok(packet) = RtpPacket::parse(datagram) else { return };
    assert!(matches!(protocol, Ok(Protocol::Rtp | Protocol::Rtcp)));
    assert_eq!(header_length(datagram), Ok(packet.header_bytes));

    let mut written = vec![0; HEADER_BYTES];
    packet.header.write((&mut written[..]).try_into().expect("a header long"));
    written.extend_from_slice(packet.payload);
    let again = RtpPacket::parse(&written).expect("what is written parses");
    assert_eq!((again.header, again.payload), (packet.header, packet.payload));
}
