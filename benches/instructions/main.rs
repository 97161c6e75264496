//! What each step of a packet's way, and each parser, costs in instructions: a figure that neither the
//! machine nor its load changes, so that a test can hold it.
//!
//! `tools/count` runs this under callgrind, which counts inside [`counted`] only and writes one
//! profile each time that it ends, and compares with `benches/instructions.toml`. Each scenario
//! prints its name and how many packets it counts, in the order of the profiles.
//!
//! Valgrind's processor has AES-NI and AVX2 but no SHA-NI: HMAC-SHA1 costs several times as many
//! instructions here as on a processor that has it.

use std::hint::black_box;
use std::rc::Rc;

use linecard::audio::opus::OpusArena;
use linecard::base::narrow::Narrow;
use linecard::control::message::Side;
use linecard::srtp::keys::{MasterKey, Profile};
use linecard::srtp::protect::{RTP_GROWTH_BYTES_MAX, Receiver, Sender};
use linecard::wire::rtp::{
    HEADER_BYTES, PayloadType, RtpHeader, RtpTimestamp, SequenceNumber, Ssrc,
};

#[path = "../material/call.rs"]
mod call;
#[path = "../material/invite.rs"]
mod invite;
mod parsers;
#[path = "../material/speech.rs"]
mod speech;

use call::{FarEnd, HOLD_MAX, LegKind, Line, REPORT_INTERVAL_MAX};

/// Packets before the count begins: the codecs have settled and every buffer has its size.
const SETTLING: usize = 100;
/// Packets that are counted: two seconds of speech.
const COUNTED: usize = 100;
/// What callgrind counts. It must stay a function of its own: `tools/count` names it.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    black_box(()); // The call above must not become a jump.
}

/// Counts `work`, which takes each of `inputs` once.
fn count<T>(name: &str, mut inputs: Vec<T>, mut work: impl FnMut(&mut T)) {
    println!("{name}\t{}", inputs.len());
    counted(&mut || inputs.iter_mut().for_each(&mut work));
}

fn main() {
    let arena = OpusArena::new(32).expect("memory for every scenario");
    packets(&arena);
    losses(&arena);
    reports(&arena);
    protection();
    parsers::parsers();
}

fn times<T>(make: impl FnMut() -> T) -> Vec<T> {
    std::iter::repeat_with(make).take(COUNTED).collect()
}

fn packets(arena: &Rc<OpusArena>) {
    use LegKind::{Browser, RedBrowser, Trunk};
    for (name, a, b) in [
        ("line: SRTP Opus to PCMU", Browser, Trunk),
        ("line: PCMU to SRTP Opus", Trunk, Browser),
        ("line: SRTP Opus relayed to SRTP Opus", Browser, Browser),
        ("line: PCMU to PCMU", Trunk, Trunk),
        ("line: SRTP RED to PCMU", RedBrowser, Trunk),
        ("line: PCMU to SRTP RED", Trunk, RedBrowser),
    ] {
        let (mut line, mut far_end) = (Line::new(arena, a, b), FarEnd::new(arena, a));
        (0..SETTLING).for_each(|_| line.hear(&mut far_end.packet()));
        count(name, times(|| far_end.packet()), |packet| line.hear(packet));
    }
}

/// Every other packet is lost.
fn losses(arena: &Rc<OpusArena>) {
    use LegKind::{Browser, RedBrowser, Trunk};
    for (name, a, b) in [
        ("line: SRTP Opus to PCMU, lost and rebuilt from FEC", Browser, Trunk),
        ("line: PCMU to SRTP Opus, lost and concealed", Trunk, Browser),
        ("line: SRTP RED to PCMU, lost and taken from the copy", RedBrowser, Trunk),
    ] {
        let (mut line, mut far_end) = (Line::new(arena, a, b), FarEnd::new(arena, a));
        (0..SETTLING).for_each(|_| line.hear(&mut far_end.packet()));
        count(name, times(|| far_end.packet_after_a_lost_one()), |packet| {
            line.hear(packet);
            line.pass(HOLD_MAX);
        });
        let heard = &line.call.legs[0].counters;
        let filled = match a {
            Browser => heard.frames_recovered,
            RedBrowser => heard.packets_recovered,
            Trunk => heard.frames_concealed,
        };
        // Silence carries no FEC.
        assert!(filled > COUNTED as u64 / 2, "{name}: {filled} were");
    }
}

fn reports(arena: &Rc<OpusArena>) {
    use LegKind::{Browser, Trunk};
    let (mut line, mut far_end) = (Line::new(arena, Browser, Trunk), FarEnd::new(arena, Browser));
    (0..SETTLING).for_each(|_| line.hear(&mut far_end.packet()));
    count("line: SRTCP report received", times(|| far_end.report()), |datagram| {
        line.hear_rtcp(Side::A, datagram);
    });
    count("line: reports of both legs sent", times(|| ()), |()| line.pass(REPORT_INTERVAL_MAX));
}

const SSRC: Ssrc = Ssrc(0xABCD);
/// A packet of G.711 and then some.
const PACKET_BYTES: usize = HEADER_BYTES + 172;

fn rtp_packet(sequence_number: u16) -> Vec<u8> {
    let header = RtpHeader {
        marker: false,
        payload_type: PayloadType::PCMU,
        sequence_number: SequenceNumber(sequence_number),
        timestamp: RtpTimestamp(0),
        ssrc: SSRC,
    };
    let mut packet = vec![0x5A; PACKET_BYTES + RTP_GROWTH_BYTES_MAX];
    header.write(packet.first_chunk_mut().expect("a header's bytes"));
    packet
}

fn protection() {
    for profile in Profile::ALL {
        let key = vec![7; profile.key_bytes() + profile.salt_bytes()];
        let master = MasterKey::from_bytes(profile, &key).expect("a key of its length");
        let (mut sender, mut receiver) = (Sender::new(&master, SSRC), Receiver::new(&master));
        let clear: Vec<_> = (0..COUNTED.narrow()).map(rtp_packet).collect();
        let mut protected = Vec::with_capacity(COUNTED);
        count(&format!("{profile:?}: protect"), clear, |packet| {
            let length = sender.protect(packet, PACKET_BYTES).expect("a new index");
            protected.push((std::mem::take(packet), length));
        });
        count(&format!("{profile:?}: unprotect"), protected, |(packet, length)| {
            receiver.unprotect(&mut packet[..*length]).expect("authentic");
        });
    }
}
