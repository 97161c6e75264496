//! Any RTCP compound: it parses or not, all of it can be read, and its reports can be written and
//! read again.

use linecard::wire::rtcp::{
    COMPOUND_BYTES_MAX, Compound, Presence, RtcpPacket, parse, write_compound,
};

/// One input.
pub fn run(datagram: &[u8]) {
    let Ok(packets) = parse(datagram) else { return };
    for packet in packets {
        let (ssrc, sender, reports) = match packet {
            RtcpPacket::SenderReport { ssrc, sender, reports } => (ssrc, Some(sender), reports),
            RtcpPacket::ReceiverReport { ssrc, reports } => (ssrc, None, reports),
            RtcpPacket::Bye(sources) => {
                sources.for_each(drop);
                continue;
            }
            RtcpPacket::Sdes { .. } | RtcpPacket::Other { .. } => continue,
        };
        let reports: Vec<_> = reports.collect();
        let compound =
            Compound { ssrc, sender, reports: &reports, cname: "name", presence: Presence::Leaves };
        let mut out = [0; COMPOUND_BYTES_MAX];
        let length = write_compound(&mut out, &compound).expect("within its bounds");
        let written = parse(&out[..length]).expect("what is written parses").next();
        let again: Vec<_> = match written {
            Some(RtcpPacket::SenderReport { sender: again, reports, .. }) => {
                assert_eq!(Some(again), sender);
                reports.collect()
            }
            Some(RtcpPacket::ReceiverReport { reports, .. }) => reports.collect(),
            other => panic!("{other:?}"),
        };
        assert_eq!(again, reports);
    }
}
