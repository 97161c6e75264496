//! A call on the packet line, without a socket, and what sends to it: for whoever measures.
#![allow(dead_code, reason = "each program that shares this uses a part of it")]

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use linecard::audio::opus::{EncoderSettings, OpusArena};
use linecard::base::discard::Discard;
use linecard::control::message::{
    CallStatistics, Format, LegParameters, PlainTransport, Security, Side, SrtpKeys, Transport,
};
use linecard::media::call::Call;
use linecard::media::channel::{CallKey, Command, NewLeg, Reply};
use linecard::media::common::{Common, FrameCounters};
use linecard::media::line::{self, Incoming};
use linecard::media::load::Load;
use linecard::media::rig::Rig;
use linecard::os::network::Datagram;
use linecard::os::sockets::BoundSocket;
use linecard::srtp::keys::{MasterKey, Profile};
use linecard::srtp::protect::Sender;
use linecard::wire::red::{self, RedundantBlock};
use linecard::wire::rtcp::{self, Compound, Presence, ReportBlock};
use linecard::wire::rtp::{
    HEADER_BYTES, PayloadType, RtpHeader, RtpTimestamp, SequenceNumber, Ssrc,
};
use serde_json::{Value, json};

use super::speech;

pub const PACKET_TIME: Duration = Duration::from_millis(20);
/// Longer than any gap is held open.
pub const HOLD_MAX: Duration = Duration::from_millis(100);
/// Longer than any interval between reports.
pub const REPORT_INTERVAL_MAX: Duration = Duration::from_secs(4);
const OPUS: u8 = 111;
const RED: u8 = 63;
const SOURCE: Ssrc = Ssrc(0xABCD);

/// What a leg is.
#[derive(Clone, Copy, PartialEq)]
pub enum LegKind {
    /// SRTP AES_CM_128_HMAC_SHA1_80 and Opus.
    Browser,
    /// The same with RED (RFC 2198) around the Opus, one packet repeated in the next.
    RedBrowser,
    /// RTP and PCMU.
    Trunk,
}

fn master_key() -> MasterKey {
    MasterKey::from_bytes(Profile::AES_CM_128_HMAC_SHA1_80, &[7; 30]).expect("30 bytes")
}

/// Where a leg's sockets are: RTP, then RTCP.
fn ours(side: Side) -> [SocketAddr; 2] {
    let port = if side == Side::A { 30_000 } else { 30_002 };
    [port, port + 1].map(|port| ([192, 0, 2, 10], port).into())
}

/// Where its far end is.
fn theirs(side: Side) -> [SocketAddr; 2] {
    ours(side).map(|ours| ([198, 51, 100, 7], ours.port()).into())
}

/// A call on the real core, under a clock that is set by hand.
pub struct Line {
    /// The core.
    rig: Rig,
    key: CallKey,
}

impl Line {
    pub fn new(arena: &Rc<OpusArena>, a: LegKind, b: LegKind) -> Self {
        Self::with_formats(arena, [a, b].map(|kind| (kind, kind.format())))
    }

    /// Legs of these kinds with formats of their own, as the control protocol writes them.
    pub fn with_formats(arena: &Rc<OpusArena>, legs: [(LegKind, Value); 2]) -> Self {
        let mut rig = Rig::with_codecs(1, Rc::clone(arena), Instant::now()).expect("a core");
        let [a, b] = legs;
        let legs = Box::new([new_leg(Side::A, a), new_leg(Side::B, b)]);
        let create = Command::Create { name: "call".into(), legs };
        let Ok(Reply::Created(key)) = rig.command(create) else {
            panic!("the arena has room for the call")
        };
        Self { rig, key }
    }

    /// How busy the core is said to be.
    pub fn set_load(&mut self, load: Load) {
        self.parts().2.load = load;
    }

    /// The call, the present, and what the call works with.
    pub fn parts(&mut self) -> (&mut Call, Instant, &mut Common) {
        let (call, common) = self.rig.core.line(self.key).expect("the call is there");
        (call, self.rig.now, common)
    }

    /// A packet arrives at its time, and what it made leaves.
    pub fn hear(&mut self, packet: &mut [u8]) {
        self.rig.now += PACKET_TIME;
        self.hear_now(Side::A, packet).expect("a good packet");
    }

    /// A packet arrives at a leg, and what it made leaves: the packet line by itself.
    pub fn hear_now(&mut self, side: Side, packet: &mut [u8]) -> Result<(), Discard> {
        let [from, _] = theirs(side);
        let (call, now, common) = self.parts();
        let heard = line::rtp(call, side, Incoming { from, datagram: packet }, now, common);
        leave(common);
        heard
    }

    /// A packet arrives at its time at the core's socket, whatever it is.
    pub fn receive(&mut self, packet: &mut [u8]) {
        self.rig.now += PACKET_TIME;
        let ([from, _], [to, _]) = (theirs(Side::A), ours(Side::A));
        let socket = self.rig.network.socket_at(to).expect("the leg's socket");
        let datagram = Datagram { socket, from, truncated: false, bytes: packet };
        self.rig.core.handle_datagram(datagram, self.rig.now);
        while self.rig.core.poll_event().is_some() {}
        self.rig.core.outbox().clear();
    }

    pub fn hear_rtcp(&mut self, side: Side, datagram: &mut [u8]) {
        let [_, from] = theirs(side);
        let (call, now, common) = self.parts();
        line::rtcp(call, side, Incoming { from, datagram }, now, common).expect("a good compound");
    }

    /// Time passes, and the call is woken whenever it wants.
    pub fn pass(&mut self, time: Duration) {
        let until = self.rig.now + time;
        loop {
            let (call, now, common) = self.parts();
            let Some(at) = call.next_timeout().filter(|at| *at <= until) else { break };
            let now = now.max(at);
            line::wake(call, now, common);
            leave(common);
            self.rig.now = now;
        }
        self.rig.now = until;
    }

    /// The call's statistics.
    pub fn statistics(&mut self) -> CallStatistics {
        let (call, now, _) = self.parts();
        call.statistics(0, now)
    }

    /// Codec frames so far.
    pub fn frames(&mut self) -> FrameCounters {
        self.parts().2.frames
    }
}

fn leave(common: &mut Common) {
    common.notices.clear();
    common.outbox.clear();
}

impl LegKind {
    /// What such a leg usually carries.
    pub fn format(self) -> Value {
        let opus = json!({"codec": "opus", "payload_type": OPUS});
        let red =
            json!({"codec": "opus", "payload_type": OPUS, "redundancy": {"payload_type": RED}});
        let pcmu = json!({"codec": "pcmu", "payload_type": 0});
        match self {
            LegKind::Browser => json!({"send": opus, "receive": [opus]}),
            LegKind::RedBrowser => {
                json!({"send": red, "receive": [opus], "receive_redundancy": [RED]})
            }
            LegKind::Trunk => json!({"send": pcmu, "receive": [pcmu]}),
        }
    }
}

fn new_leg(side: Side, (kind, format): (LegKind, Value)) -> NewLeg {
    let [remote, _] = theirs(side);
    let transport = PlainTransport { remote: Some(remote), ..PlainTransport::default() };
    let mut parameters = LegParameters::new(Transport::Plain(transport));
    parameters.security = match kind {
        LegKind::Trunk => Security::None,
        LegKind::Browser | LegKind::RedBrowser => {
            Security::Srtp(SrtpKeys { send: master_key(), receive: master_key() })
        }
    };
    let format: Format = serde_json::from_value(format).expect("the protocol's own words");
    parameters.format = Some(format);
    NewLeg { parameters, sockets: Some(ours(side).map(BoundSocket::made_up)) }
}

/// What sends to a leg.
pub struct FarEnd {
    header: RtpHeader,
    timestamp_step: u32,
    payloads: std::iter::Cycle<std::vec::IntoIter<Vec<u8>>>,
    /// The payload before, which RED repeats.
    repeated: Option<Vec<u8>>,
    sender: Option<Sender>,
}

impl FarEnd {
    pub fn new(arena: &Rc<OpusArena>, kind: LegKind) -> Self {
        let browser = kind != LegKind::Trunk;
        let (payload_type, payloads) = match kind {
            LegKind::Browser => (OPUS, opus_payloads(arena)),
            LegKind::RedBrowser => (RED, opus_payloads(arena)),
            LegKind::Trunk => (0, speech::pcmu().into_iter().map(Vec::from).collect()),
        };
        Self {
            header: RtpHeader {
                marker: false,
                payload_type: PayloadType::new(payload_type).expect("below 128"),
                sequence_number: SequenceNumber(0),
                timestamp: RtpTimestamp(0),
                ssrc: SOURCE,
            },
            timestamp_step: if browser { 960 } else { 160 },
            payloads: payloads.into_iter().cycle(),
            repeated: (kind == LegKind::RedBrowser).then(Vec::new),
            sender: browser.then(|| Sender::new(&master_key(), SOURCE)),
        }
    }

    /// The next packet of speech.
    pub fn packet(&mut self) -> Vec<u8> {
        let mut payload = self.payloads.next().expect("a cycle has no end");
        if let Some(repeated) = &mut self.repeated {
            let opus = PayloadType::new(OPUS).expect("below 128");
            let block = RedundantBlock {
                payload_type: opus,
                timestamp_offset: self.timestamp_step,
                payload: repeated,
            };
            let mut around = [0; 1_400];
            let length = red::write(&mut around, &[block], opus).expect("it fits");
            let red = [&around[..length], &payload].concat();
            *repeated = std::mem::replace(&mut payload, red);
        }
        let packet = self.datagram(self.header.payload_type, &payload);
        self.pass();
        packet
    }

    /// Another packet, at the place of the next of speech.
    pub fn datagram(&mut self, payload_type: PayloadType, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; HEADER_BYTES];
        let header = RtpHeader { payload_type, ..self.header };
        header.write(packet.first_chunk_mut().expect("a header's bytes"));
        packet.extend_from_slice(payload);
        if let Some(sender) = &mut self.sender {
            let length = packet.len();
            packet.resize(length + 16, 0);
            let length = sender.protect(&mut packet, length).expect("a new index");
            packet.truncate(length);
        }
        self.header.sequence_number = self.header.sequence_number.next();
        packet
    }

    /// The time of a packet passes.
    pub fn pass(&mut self) {
        self.header.timestamp = self.header.timestamp + self.timestamp_step;
    }

    pub fn packet_after_a_lost_one(&mut self) -> Vec<u8> {
        drop(self.packet());
        self.packet()
    }

    pub fn report(&mut self) -> Vec<u8> {
        self.report_of(&[])
    }

    /// A report on what the leg sent.
    pub fn report_of(&mut self, reports: &[ReportBlock]) -> Vec<u8> {
        let mut datagram = vec![0; 1_500];
        let compound = Compound {
            ssrc: SOURCE,
            sender: None,
            reports,
            cname: "far end",
            presence: Presence::Stays,
        };
        let length = rtcp::write_compound(&mut datagram, &compound).expect("it fits");
        let length = match &mut self.sender {
            Some(sender) => sender.protect_rtcp(&mut datagram, length).expect("a new index"),
            None => length,
        };
        datagram.truncate(length);
        datagram
    }
}

/// As the line's own encoder makes them, with in-band FEC.
fn opus_payloads(arena: &Rc<OpusArena>) -> Vec<Vec<u8>> {
    let mut encoder = arena.encoder(EncoderSettings::default()).expect("a free encoder");
    let mut payload = [0; 1_500];
    let mut encode = |pcm: &[i16; speech::FRAME]| {
        let length = encoder.encode(pcm, &mut payload).expect("a frame of 20 ms is encoded");
        payload[..length].to_vec()
    };
    speech::pcm().iter().map(&mut encode).collect()
}
