//! What is read of peers, a message an input: media's packets, signaling's texts, and the lines
//! between the two processes.
//!
//! A reader of less than a few hundred instructions is not here alone: at that size what the
//! compiler chooses to inline outweighs the tolerance.

use std::hint::black_box;

use linecard::control::codec::{FromMedia, read_from_media, read_request, write_event};
use linecard::control::message::{Datagram, Event};
use linecard::ice::check::{Expected, answer};
use linecard::wire::demux::classify;
use linecard::wire::red::{self, REDUNDANT_BLOCKS_MAX, RedPayload, RedundantBlock};
use linecard::wire::rtcp;
use linecard::wire::rtp::{PayloadType, RtpPacket};
use linecard::wire::sdp::{BrowserOffer, TrunkAnswer};
use linecard::wire::sip::{parse_datagram, parse_websocket};
use linecard::wire::stun::{
    BindingRequest, Message, RESPONSE_BYTES_MAX, Role, TransactionId, write_binding_request,
};

use super::invite::{BROWSER_OFFER, browser_invite};
use super::{SSRC, count, rtp_packet, times};

const PASSWORD: &str = "a password of some length";

/// Everything that media and signaling read.
pub fn parsers() {
    stun();
    rtp();
    rtcp();
    sip();
    sdp();
    control();
}

fn stun() {
    let request = BindingRequest {
        transaction_id: TransactionId([1; 12]),
        username: "ours:theirs",
        priority: 1,
        role: Role::Controlling(1),
        use_candidate: false,
    };
    let expected =
        Expected { local_ufrag: "ours", local_password: PASSWORD, remote_ufrag: Some("theirs") };
    let from = ([192, 0, 2, 1], 4000).into();
    let mut out = [0; RESPONSE_BYTES_MAX];
    let check = || {
        let mut check = vec![0; 256];
        let length =
            write_binding_request(&mut check, &request, PASSWORD.as_bytes()).expect("room");
        check.truncate(length);
        check
    };
    count("consent check answered", times(check), |check| {
        classify(check).expect("STUN");
        let message = Message::parse(check).expect("STUN");
        answer(&message, &expected, from, &mut out).expect("authentic");
    });
    count("STUN check parsed", times(check), |check| {
        black_box(Message::parse(check)).expect("STUN");
    });
}

fn rtp() {
    let mut sequence_number = 0;
    let packets = times(|| {
        sequence_number += 1;
        rtp_packet(sequence_number)
    });
    count("RTP classified and parsed", packets, |packet| {
        classify(packet).expect("RTP");
        black_box(RtpPacket::parse(packet)).expect("RTP");
    });
    let opus = PayloadType::new(111).expect("below 128");
    let payload = || {
        let block =
            RedundantBlock { payload_type: opus, timestamp_offset: 960, payload: &[0x5A; 80] };
        let mut payload = vec![0; 1_400];
        red::write(&mut payload, &[block; REDUNDANT_BLOCKS_MAX], opus).expect("room");
        payload
    };
    count("RED of nine copies parsed", times(payload), |payload| {
        let red = RedPayload::parse(payload).expect("RED");
        assert_eq!(red.redundant().filter(|copy| black_box(copy).payload.len() == 80).count(), 9);
    });
}

fn rtcp() {
    let report = || {
        let block = rtcp::ReportBlock {
            ssrc: SSRC,
            fraction_lost: 1,
            cumulative_lost: 2,
            extended_highest_sequence: 3,
            jitter: 4,
            last_sr: 5,
            delay_since_last_sr: 6,
        };
        let compound = rtcp::Compound {
            ssrc: SSRC,
            sender: None,
            reports: &[block],
            cname: "name",
            presence: rtcp::Presence::Stays,
        };
        let mut datagram = vec![0; rtcp::COMPOUND_BYTES_MAX];
        let length = rtcp::write_compound(&mut datagram, &compound).expect("room");
        datagram.truncate(length);
        datagram
    };
    count("RTCP parsed", times(report), |datagram| {
        for packet in rtcp::parse(datagram).expect("RTCP") {
            if let rtcp::RtcpPacket::ReceiverReport { reports, .. } = packet {
                assert_eq!(black_box(reports).count(), 1);
            }
        }
    });
}

/// A carrier's 200 to an INVITE through one proxy, and its answer.
const TRUNK_ANSWER: &str = "v=0\r\no=root 1821 1821 IN IP4 198.51.100.7\r\ns=call\r\n\
    c=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 14120 RTP/AVP 8 101\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
    a=ptime:20\r\na=sendrecv\r\n";

fn trunk_response() -> Vec<u8> {
    let head = "SIP/2.0 200 OK\r\n\
        Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK5l1p0s8d2f;rport=5060;received=192.0.2.10\r\n\
        Record-Route: <sip:198.51.100.2;lr;ftag=8s7d6f>\r\n\
        From: <sip:+442079460018@192.0.2.10>;tag=8s7d6f\r\n\
        To: <sip:+442079460019@198.51.100.7>;tag=as1f2e3d4c\r\n\
        Call-ID: 1d7k2l9vqps3e6m1tn0c@192.0.2.10\r\n\
        CSeq: 1 INVITE\r\n\
        Contact: <sip:+442079460019@198.51.100.7:5060>\r\n\
        Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, UPDATE\r\n\
        Supported: replaces, timer\r\n\
        Session-Expires: 1800;refresher=uas\r\n\
        Server: carrier\r\n\
        Content-Type: application/sdp\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{TRUNK_ANSWER}", TRUNK_ANSWER.len()).into_bytes()
}

fn sip() {
    count("SIP INVITE of a browser parsed", times(browser_invite), |message| {
        black_box(parse_websocket(message)).expect("SIP");
    });
    count("SIP response of a trunk parsed", times(trunk_response), |message| {
        black_box(parse_datagram(message)).expect("SIP");
    });
}

fn sdp() {
    count("SDP offer of a browser parsed", times(|| BROWSER_OFFER), |sdp| {
        black_box(BrowserOffer::parse(sdp)).expect("an offer");
    });
    count("SDP answer of a trunk parsed", times(|| TRUNK_ANSWER), |sdp| {
        black_box(TrunkAnswer::parse(sdp)).expect("an answer");
    });
}

/// A browser's call to a trunk, as signaling asks for it.
const CREATE_CALL: &str = r#"{"id":17,"command":"create_call","arguments":{
    "call":"1d7k2l9vqps3e6m1tn0c","a":{
        "transport":{"kind":"ice","local_ufrag":"c2Vj","local_password":"cmV0IHBhc3N3b3JkIG9mIGl0"},
        "security":{"kind":"pending"},
        "format":{"send":{"codec":"opus","payload_type":111},
            "receive":[{"codec":"opus","payload_type":111}],
            "send_events":{"payload_type":110,"clock_hz":48000},
            "receive_events":[{"payload_type":110,"clock_hz":48000}]}},
    "b":{"transport":{"kind":"plain","remote":"198.51.100.7:14120"},
        "format":{"send":{"codec":"pcma","payload_type":8},
            "receive":[{"codec":"pcma","payload_type":8}]}}}}"#;

fn control() {
    count("control request read", times(|| CREATE_CALL), |line| {
        black_box(read_request(line)).expect("a request");
    });
    // A DTLS record of a handshake.
    let event = Event::Datagram {
        thread: 0,
        from: ([192, 0, 2, 1], 4000).into(),
        payload: Datagram([0x16, 1, 3].repeat(400)),
    };
    count("control event read", times(|| write_event(1, &event)), |line| {
        let read = black_box(read_from_media(line)).expect("an event");
        assert!(matches!(read, FromMedia::Event { .. }));
    });
}
