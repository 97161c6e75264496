//! What one datagram costs in the packet line, without a socket: everything from the received bytes
//! to the datagram in its send slot. `cargo bench --bench line`; `--bench codec` has the share of the
//! codecs, `tools/load` the whole process.

use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use linecard::audio::opus::{EncoderSettings, OpusArena};
use linecard::base::clock::WallAnchor;
use linecard::base::random::{self, Random};
use linecard::control::message::{Format, Security, Side};
use linecard::media::call::Call;
use linecard::media::encoding::Load;
use linecard::media::format::LegFormat;
use linecard::media::leg::{Leg, LegTransport};
use linecard::media::line::{self, FrameCounters, Surroundings};
use linecard::media::outgoing::Outgoing;
use linecard::media::security::{Keys, SecurityContext};
use linecard::os::outbox::Outbox;
use linecard::os::ring::SocketIndex;
use linecard::srtp::keys::{MasterKey, Profile};
use linecard::srtp::protect::Sender;
use linecard::wire::rtcp::{self, Compound, Presence};
use linecard::wire::rtp::{
    HEADER_BYTES, PayloadType, RtpHeader, RtpTimestamp, SequenceNumber, Ssrc,
};
use serde_json::json;

#[path = "material/speech.rs"]
mod speech;

const PACKET_TIME: Duration = Duration::from_millis(20);
/// Longer than any gap is held open.
const HOLD_MAX: Duration = Duration::from_millis(100);
/// Longer than any interval between reports.
const REPORT_INTERVAL_MAX: Duration = Duration::from_secs(4);
const SOURCE: Ssrc = Ssrc(0xABCD);

#[derive(Clone, Copy, PartialEq)]
enum LegKind {
    /// SRTP AES_CM_128_HMAC_SHA1_80 and Opus.
    Browser,
    /// RTP and PCMU.
    Trunk,
}

fn master_key() -> MasterKey {
    MasterKey::from_bytes(Profile::AES_CM_128_HMAC_SHA1_80, &[7; 30]).expect("30 bytes")
}

/// A call and what the line works with.
struct Line {
    call: Call,
    outbox: Outbox,
    frames: FrameCounters,
    wall: WallAnchor,
    random: Random,
    now: Instant,
    notices: Vec<line::Notice>,
}

impl Line {
    fn new(arena: &Rc<OpusArena>, a: LegKind, b: LegKind) -> Self {
        let now = Instant::now();
        let mut random = random::from_seed(1);
        let mut leg = |kind, socket| make_leg(kind, socket, &mut random, now);
        let legs = [leg(a, 0), leg(b, 2)];
        let Ok(call) = Call::new("call".into(), legs, arena, Load::NONE, now) else {
            panic!("the arena has room for the call")
        };
        Self {
            call,
            outbox: Outbox::new(64),
            frames: FrameCounters::default(),
            wall: WallAnchor::at(now, Duration::from_secs(1_700_000_000)),
            random,
            now,
            notices: Vec::new(),
        }
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Call, Instant, &mut Surroundings<'_>) -> T) -> T {
        let mut around = Surroundings {
            outbox: &mut self.outbox,
            notices: &mut self.notices,
            frames: &mut self.frames,
            wall: &self.wall,
            random: &mut self.random,
            load: Load::NONE,
        };
        work(&mut self.call, self.now, &mut around)
    }

    /// A packet arrives at its time, and what it made leaves.
    fn hear(&mut self, packet: &mut [u8]) {
        self.now += PACKET_TIME;
        self.with(|call, now, around| line::rtp(call, Side::A, packet, now, around))
            .expect("a good packet");
        self.leave();
    }

    fn hear_rtcp(&mut self, datagram: &mut [u8]) {
        self.with(|call, now, around| line::rtcp(call, Side::A, datagram, now, around))
            .expect("a good compound");
    }

    /// Time passes, and the call is woken whenever it wants.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.call.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.with(line::wake);
        }
        self.now = until;
        self.leave();
    }

    fn leave(&mut self) {
        self.notices.clear();
        self.outbox.clear();
    }
}

fn make_leg(kind: LegKind, socket: u32, random: &mut Random, now: Instant) -> Leg {
    let transport = LegTransport::Plain {
        rtp: SocketIndex::detached(socket),
        rtcp: SocketIndex::detached(socket + 1),
        remote: Some([([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()]),
    };
    let (keys, coding) = match kind {
        LegKind::Browser => (
            Keys::Srtp { send: master_key(), receive: master_key() },
            json!({"codec": "opus", "payload_type": 111}),
        ),
        LegKind::Trunk => (
            Keys::new(&Security::None).expect("nothing to refuse"),
            json!({"codec": "pcmu", "payload_type": 0}),
        ),
    };
    let format: Format = serde_json::from_value(json!({"send": coding, "receive": [coding]}))
        .expect("the protocol's own words");
    let format = LegFormat::new(&format).expect("a format that exists");
    let outgoing = Outgoing::new(random);
    let security = SecurityContext::new(keys, outgoing.ssrc());
    Leg::new(transport, security, Some(format), outgoing, "cname".into(), now)
}

/// What sends to leg a.
struct FarEnd {
    header: RtpHeader,
    timestamp_step: u32,
    payloads: std::iter::Cycle<std::vec::IntoIter<Vec<u8>>>,
    sender: Option<Sender>,
}

impl FarEnd {
    fn new(arena: &Rc<OpusArena>, kind: LegKind) -> Self {
        let browser = kind == LegKind::Browser;
        let payloads = match kind {
            LegKind::Browser => opus_payloads(arena),
            LegKind::Trunk => speech::pcmu().into_iter().map(Vec::from).collect(),
        };
        Self {
            header: RtpHeader {
                marker: false,
                payload_type: PayloadType::new(if browser { 111 } else { 0 }).expect("below 128"),
                sequence_number: SequenceNumber(0),
                timestamp: RtpTimestamp(0),
                ssrc: SOURCE,
            },
            timestamp_step: if browser { 960 } else { 160 },
            payloads: payloads.into_iter().cycle(),
            sender: browser.then(|| Sender::new(&master_key(), SOURCE)),
        }
    }

    fn packet(&mut self) -> Vec<u8> {
        let payload = self.payloads.next().expect("a cycle has no end");
        let mut packet = vec![0; HEADER_BYTES];
        self.header.write(packet.first_chunk_mut().expect("a header's bytes"));
        packet.extend_from_slice(&payload);
        if let Some(sender) = &mut self.sender {
            let length = packet.len();
            packet.resize(length + 16, 0);
            let length = sender.protect(&mut packet, length).expect("a new index");
            packet.truncate(length);
        }
        self.header.sequence_number = self.header.sequence_number.next();
        self.header.timestamp = self.header.timestamp + self.timestamp_step;
        packet
    }

    fn packet_after_a_lost_one(&mut self) -> Vec<u8> {
        drop(self.packet());
        self.packet()
    }

    fn report(&mut self) -> Vec<u8> {
        let mut datagram = vec![0; 1_500];
        let compound = Compound {
            ssrc: SOURCE,
            sender: None,
            reports: &[],
            cname: "far end",
            presence: Presence::Stays,
        };
        let length = rtcp::write_compound(&mut datagram, &compound).expect("it fits");
        let sender = self.sender.as_mut().expect("the far end of an SRTP leg");
        let length = sender.protect_rtcp(&mut datagram, length).expect("a new index");
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

fn bench_packets(criterion: &mut Criterion) {
    use LegKind::{Browser, Trunk};
    let arena = OpusArena::new(4).expect("memory for four calls");
    let mut group = criterion.benchmark_group("line");
    for (name, a, b) in [
        ("SRTP Opus to PCMU", Browser, Trunk),
        ("PCMU to SRTP Opus", Trunk, Browser),
        ("SRTP Opus relayed to SRTP Opus", Browser, Browser),
        ("PCMU to PCMU", Trunk, Trunk),
    ] {
        let (mut line, mut far_end) = (Line::new(&arena, a, b), FarEnd::new(&arena, a));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || far_end.packet(),
                |packet| line.hear(packet),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn bench_loss(criterion: &mut Criterion) {
    use LegKind::{Browser, Trunk};
    let arena = OpusArena::new(4).expect("memory for four calls");
    let mut group = criterion.benchmark_group("line, a lost packet and the one after it");
    for (name, a, b) in [
        ("SRTP Opus to PCMU, rebuilt from FEC", Browser, Trunk),
        ("PCMU to SRTP Opus, concealed", Trunk, Browser),
    ] {
        let (mut line, mut far_end) = (Line::new(&arena, a, b), FarEnd::new(&arena, a));
        line.hear(&mut far_end.packet());
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || far_end.packet_after_a_lost_one(),
                |packet| {
                    line.hear(packet);
                    line.pass(HOLD_MAX);
                },
                BatchSize::SmallInput,
            );
        });
        let heard = &line.call.legs[0].counters;
        let filled = if a == Browser { heard.frames_recovered } else { heard.frames_concealed };
        assert!(filled > 0, "{name}: nothing was");
    }
    group.finish();
}

fn bench_rtcp(criterion: &mut Criterion) {
    use LegKind::{Browser, Trunk};
    let arena = OpusArena::new(4).expect("memory for four calls");
    let mut group = criterion.benchmark_group("line, RTCP");
    let (mut line, mut far_end) = (Line::new(&arena, Browser, Trunk), FarEnd::new(&arena, Browser));
    line.hear(&mut far_end.packet());
    group.bench_function("SRTCP report received", |bencher| {
        bencher.iter_batched_ref(
            || far_end.report(),
            |datagram| line.hear_rtcp(datagram),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("reports of both legs sent", |bencher| {
        bencher.iter(|| line.pass(REPORT_INTERVAL_MAX));
    });
    group.finish();
}

criterion_group!(benches, bench_packets, bench_loss, bench_rtcp);
criterion_main!(benches);
