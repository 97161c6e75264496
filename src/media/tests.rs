//! The packet line without a socket: a call, an outbox, and a virtual clock.

mod encoding;
mod exhaustion;
mod loss;
mod noise;
mod paced;
mod redundancy;
mod silence;

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::call::Call;
use super::encoding::Load;
use super::format::LegFormat;
use super::leg::{Leg, LegTransport};
use super::line::{self, FrameCounters, Notice, Surroundings};
use super::outgoing::Outgoing;
use super::security::{Keys, SecurityContext};
use crate::audio::g711::{self, Law};
use crate::audio::opus::{EncoderSettings, OpusArena, OpusDecoder, OpusEncoder};
use crate::base::clock::WallAnchor;
use crate::base::discard::Discard;
use crate::base::random::{self, Random};
use crate::control::message::{LegStatistics, Security, Side};
use crate::os::outbox::Outbox;
use crate::os::ring::SocketIndex;
use crate::wire::rtcp::{self, RtcpPacket};
use crate::wire::rtp::{PayloadType, RtpHeader, RtpPacket, RtpTimestamp, SequenceNumber, Ssrc};
use crate::wire::telephone_event::{Digit, DigitTime, TelephoneEvent};

const OPUS: &str = r#"{"send": {"codec": "opus", "payload_type": 111},
    "receive": [{"codec": "opus", "payload_type": 111}],
    "send_events": {"payload_type": 110, "clock_hz": 48000},
    "receive_events": [{"payload_type": 110, "clock_hz": 48000}, {"payload_type": 126, "clock_hz": 8000}]}"#;
const PCMU: &str = r#"{"send": {"codec": "pcmu", "payload_type": 0},
    "receive": [{"codec": "pcmu", "payload_type": 0}, {"codec": "pcma", "payload_type": 8}],
    "send_events": {"payload_type": 101, "clock_hz": 8000},
    "receive_events": [{"payload_type": 101, "clock_hz": 8000}]}"#;

fn with_packet_ms(format: &str, packet_ms: u8) -> String {
    format.replacen("},", &format!(", \"packet_ms\": {packet_ms}}},"), 1)
}

/// A packet that a leg sent.
#[derive(Clone, Debug)]
struct Sent {
    at: Instant,
    socket: usize,
    header: RtpHeader,
    payload: Vec<u8>,
}

/// A call between two plain legs. Sockets 0 and 1 are RTP and RTCP of leg a, 2 and 3 of leg b.
struct Exchange {
    call: Call,
    arena: Rc<OpusArena>,
    outbox: Outbox,
    notices: Vec<Notice>,
    frames: FrameCounters,
    wall: WallAnchor,
    random: Random,
    now: Instant,
    rtcp: Vec<(usize, Vec<u8>)>,
}

impl Exchange {
    fn new(a: &str, b: &str) -> Self {
        let now = Instant::now();
        let arena = OpusArena::new(4).unwrap();
        let mut random = random::from_seed(1);
        let mut leg = |format: &str, socket: u32| {
            let transport = LegTransport::Plain {
                rtp: SocketIndex::detached(socket),
                rtcp: SocketIndex::detached(socket + 1),
                remote: Some(["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()]),
            };
            let outgoing = Outgoing::new(&mut random);
            let keys = Keys::new(&Security::None).unwrap();
            let security = SecurityContext::new(keys, outgoing.ssrc());
            let format = LegFormat::new(&serde_json::from_str(format).unwrap()).unwrap();
            Leg::new(transport, security, Some(format), outgoing, "cname".into(), now)
        };
        let legs = [leg(a, 0), leg(b, 2)];
        let Ok(call) = Call::new("call".into(), legs, &arena, Load::NONE, now) else {
            panic!("refused")
        };
        Self {
            call,
            arena,
            outbox: Outbox::new(64),
            notices: Vec::new(),
            frames: FrameCounters::default(),
            wall: WallAnchor::at(now, Duration::from_secs(1_700_000_000)),
            random,
            now,
            rtcp: Vec::new(),
        }
    }

    fn around(&mut self) -> (&mut Call, Surroundings<'_>) {
        let around = Surroundings {
            outbox: &mut self.outbox,
            notices: &mut self.notices,
            frames: &mut self.frames,
            wall: &self.wall,
            random: &mut self.random,
            load: Load::NONE,
        };
        (&mut self.call, around)
    }

    fn hear(&mut self, side: Side, packet: &[u8]) -> Result<Vec<Sent>, Discard> {
        let now = self.now;
        let mut packet = packet.to_vec();
        let (call, mut around) = self.around();
        line::rtp(call, side, &mut packet, now, &mut around)?;
        Ok(self.sent())
    }

    /// Lets time pass, waking the call whenever it wants.
    fn pass(&mut self, duration: Duration) -> Vec<Sent> {
        let until = self.now + duration;
        let mut sent = Vec::new();
        while let Some(at) = self.call.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let now = self.now;
            let (call, mut around) = self.around();
            line::wake(call, now, &mut around);
            sent.extend(self.sent());
        }
        self.now = until;
        sent
    }

    fn sent(&mut self) -> Vec<Sent> {
        let (mut sent, rtcp, at) = (Vec::new(), &mut self.rtcp, self.now);
        for queued in self.outbox.queued() {
            let socket = queued.socket.position();
            if socket % 2 == 1 {
                rtcp.push((socket, queued.bytes().to_vec()));
            } else {
                let packet = RtpPacket::parse(queued.bytes()).unwrap();
                let (header, payload) = (packet.header, packet.payload.to_vec());
                sent.push(Sent { at, socket, header, payload });
            }
        }
        self.outbox.clear();
        sent
    }

    fn statistics(&self, side: Side) -> LegStatistics {
        let statistics = self.call.statistics(0, self.now);
        if side == Side::A { statistics.a } else { statistics.b }
    }
}

/// A far end that speaks a tone.
struct Speaker {
    header: RtpHeader,
    clock_hz: u32,
    encoder: Option<OpusEncoder>,
    /// What it says; without it, a tone.
    speech: Option<Vec<i16>>,
    phase: u64,
}

const TONE_HZ: f64 = 440.0;

impl Speaker {
    fn new(arena: &Rc<OpusArena>, payload_type: u8) -> Self {
        let header = RtpHeader {
            marker: false,
            payload_type: PayloadType::new(payload_type).unwrap(),
            sequence_number: SequenceNumber(65_530),
            timestamp: RtpTimestamp(u32::MAX - 2_000),
            ssrc: Ssrc(0xABCD),
        };
        let opus = payload_type == 111;
        let encoder = opus.then(|| arena.encoder(EncoderSettings::default()).unwrap());
        Self {
            header,
            clock_hz: if opus { 48_000 } else { 8_000 },
            encoder,
            speech: None,
            phase: 0,
        }
    }

    fn packet(&mut self, samples: usize) -> Vec<u8> {
        let tone = |n: u64| {
            (6_000.0 * (n as f64 * TONE_HZ * std::f64::consts::TAU / 8_000.0).sin()) as i16
        };
        let places = self.phase..self.phase + samples as u64;
        let pcm: Vec<i16> = match &self.speech {
            Some(speech) => places.map(|n| speech[n as usize % speech.len()]).collect(),
            None => places.map(tone).collect(),
        };
        let mut payload = vec![0; 1_000];
        let length = match &mut self.encoder {
            Some(encoder) => encoder.encode(&pcm, &mut payload).unwrap(),
            None => {
                let law =
                    if self.header.payload_type == PayloadType::PCMU { Law::Mu } else { Law::A };
                g711::encode(law, &pcm, &mut payload);
                samples
            }
        };
        let packet = self.raw(&payload[..length]);
        self.pass(samples);
        packet
    }

    fn raw(&self, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 12];
        self.header.write(packet.first_chunk_mut().unwrap());
        packet.extend_from_slice(payload);
        packet
    }

    /// Moves on as if a packet had been sent.
    fn pass(&mut self, samples: usize) {
        self.phase += samples as u64;
        self.header.sequence_number = self.header.sequence_number.next();
        self.silence(samples);
    }

    fn silence(&mut self, samples: usize) {
        self.header.timestamp = self.header.timestamp + samples as u32 * (self.clock_hz / 8_000);
    }
}

/// Decodes what was sent, checking that the sequence has no hole and the timestamps no slip.
struct Listener {
    opus: OpusDecoder,
    last: Option<(SequenceNumber, RtpTimestamp, usize)>,
    pcm: Vec<i16>,
}

impl Listener {
    fn new(arena: &Rc<OpusArena>) -> Self {
        Self { opus: arena.decoder().unwrap(), last: None, pcm: Vec::new() }
    }

    fn listen(&mut self, sent: &[Sent]) {
        for packet in sent {
            let mut pcm = [0_i16; 960];
            let header = packet.header;
            let (samples, clock) = match header.payload_type.value() {
                0 => {
                    g711::decode(Law::Mu, &packet.payload, &mut pcm);
                    (packet.payload.len(), 1)
                }
                111 => (self.opus.decode(&packet.payload, &mut pcm).unwrap(), 6),
                other => panic!("payload type {other}"),
            };
            if let Some((number, timestamp, units)) = self.last {
                assert_eq!(header.sequence_number, number.next(), "a hole in the sequence");
                assert_eq!(header.timestamp.distance(timestamp), units as i32, "a slip in time");
            }
            self.last = Some((header.sequence_number, header.timestamp, samples * clock));
            self.pcm.extend_from_slice(&pcm[..samples]);
        }
    }

    /// Share of the energy that lies at the tone, in the later part of what was heard.
    fn tone_share(&self) -> f64 {
        let pcm = &self.pcm[self.pcm.len() / 4..];
        let (mut i, mut q, mut all) = (0.0, 0.0, 0.0);
        for (n, sample) in pcm.iter().enumerate() {
            let angle = n as f64 * TONE_HZ * std::f64::consts::TAU / 8_000.0;
            i += f64::from(*sample) * angle.cos();
            q += f64::from(*sample) * angle.sin();
            all += f64::from(*sample).powi(2);
        }
        2.0 * (i * i + q * q) / (pcm.len() as f64 * all)
    }
}

const MS_20: Duration = Duration::from_millis(20);

#[test]
fn a_tone_crosses_in_both_directions() {
    for (from, to, payload_type) in
        [(Side::A, Side::B, 111), (Side::B, Side::A, 0), (Side::B, Side::A, 8)]
    {
        let mut exchange = Exchange::new(OPUS, PCMU);
        let mut speaker = Speaker::new(&exchange.arena, payload_type);
        let mut listener = Listener::new(&exchange.arena);
        for _ in 0..100 {
            let sent = exchange.hear(from, &speaker.packet(160)).unwrap();
            assert_eq!(sent.len(), 1);
            assert_eq!(sent[0].socket, 2 * to.index());
            listener.listen(&sent);
            listener.listen(&exchange.pass(MS_20));
        }
        assert_eq!(listener.pcm.len(), 100 * 160);
        assert!(listener.tone_share() > 0.9, "{}", listener.tone_share());
        assert!(exchange.notices.contains(&Notice::MediaStarted(from)));
    }
}

#[test]
fn every_packet_length_is_accepted_and_the_negotiated_one_is_sent() {
    for received_ms in [10, 20, 30, 40, 60] {
        for sent_ms in [10, 20, 30, 40, 60] {
            for (a, b, from, payload_type) in [
                (OPUS.to_owned(), with_packet_ms(PCMU, sent_ms), Side::A, 111),
                (with_packet_ms(OPUS, sent_ms), PCMU.to_owned(), Side::B, 0),
            ] {
                let opus = 111;
                if sent_ms == 30 && payload_type != opus
                    || received_ms == 30 && payload_type == opus
                {
                    continue; // Opus has no 30 ms frames.
                }
                let mut exchange = Exchange::new(&a, &b);
                let mut speaker = Speaker::new(&exchange.arena, payload_type);
                let mut listener = Listener::new(&exchange.arena);
                for _ in 0..1200 / received_ms {
                    let packet = speaker.packet(received_ms * 8);
                    let sent = exchange.hear(from, &packet).unwrap();
                    listener.listen(&sent);
                    let later = exchange.pass(Duration::from_millis(received_ms as u64));
                    assert!(later.is_empty(), "nothing waits");
                }
                assert_eq!(listener.pcm.len(), 1200 * 8, "{received_ms} ms in, {sent_ms} ms out");
                let (_, _, units) = listener.last.unwrap();
                let clock = if payload_type == opus { 8 } else { 48 };
                assert_eq!(units, usize::from(sent_ms) * clock);
                assert!(listener.tone_share() > 0.85, "{received_ms} ms in, {sent_ms} ms out");
            }
        }
    }
}

#[test]
fn an_opus_packet_of_120_ms_is_accepted() {
    let mut exchange = Exchange::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&exchange.arena, 111);
    let mut listener = Listener::new(&exchange.arena);
    // Six frames of 20 ms in one packet: code 3, constant bit rate (RFC 6716 §3.2.5).
    let first = speaker.packet(160);
    let payload = RtpPacket::parse(&first).unwrap().payload;
    let mut six = vec![payload[0] | 3, 6];
    (0..6).for_each(|_| six.extend_from_slice(&payload[1..]));
    let sent = exchange.hear(Side::A, &speaker.raw(&six)).unwrap();
    listener.listen(&sent);
    assert_eq!(sent.len(), 6);
}

#[test]
fn a_packet_out_of_order_is_put_back_and_nothing_is_invented() {
    let mut exchange = Exchange::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&exchange.arena, 111);
    let mut listener = Listener::new(&exchange.arena);
    let packets: Vec<_> = (0..40).map(|_| speaker.packet(160)).collect();
    for pair in packets.chunks(2) {
        listener.listen(&exchange.hear(Side::A, &pair[1]).unwrap());
        listener.listen(&exchange.pass(Duration::from_millis(5)));
        listener.listen(&exchange.hear(Side::A, &pair[0]).unwrap_or_default());
        listener.listen(&exchange.pass(Duration::from_millis(35)));
    }
    let statistics = exchange.statistics(Side::A);
    // The first packet of all decides where the stream begins; the one before it comes too late.
    assert_eq!(listener.pcm.len(), 39 * 160);
    assert_eq!(statistics.frames_concealed + statistics.frames_recovered, 0);
    assert!(statistics.packets_reordered >= 18);
}

#[test]
fn a_pause_stays_a_pause_and_the_next_packet_begins_a_talkspurt() {
    for (from, payload_type, clock) in [(Side::A, 111, 1), (Side::B, 0, 6)] {
        let mut exchange = Exchange::new(OPUS, PCMU);
        let mut speaker = Speaker::new(&exchange.arena, payload_type);
        let before = exchange.hear(from, &speaker.packet(160)).unwrap();
        assert!(before[0].header.marker, "the first packet begins a talkspurt");
        speaker.silence(8_000);
        exchange.pass(Duration::from_millis(1_020));
        let after = exchange.hear(from, &speaker.packet(160)).unwrap();
        assert!(after[0].header.marker);
        assert_eq!(after[0].header.sequence_number, before[0].header.sequence_number.next());
        let passed = after[0].header.timestamp.distance(before[0].header.timestamp);
        assert_eq!(passed, (160 + 8_000) * clock);
    }
}

#[test]
fn another_source_goes_on_in_the_same_outgoing_stream() {
    let mut exchange = Exchange::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&exchange.arena, 0);
    let mut listener = Listener::new(&exchange.arena);
    for n in 0..50 {
        if n == 25 {
            speaker.header.ssrc = Ssrc(0x1234);
            speaker.header.sequence_number = SequenceNumber(7);
            speaker.header.timestamp = RtpTimestamp(99);
        }
        listener.listen(&exchange.hear(Side::B, &speaker.packet(160)).unwrap());
        listener.listen(&exchange.pass(MS_20));
    }
    assert_eq!(listener.pcm.len(), 50 * 160);
}

fn digit(character: char) -> Digit {
    Digit::from_char(character).unwrap()
}

fn event(digit: char, end: bool, duration: u16) -> Vec<u8> {
    let mut payload = [0; 4];
    let event = self::digit(digit).event();
    TelephoneEvent { event, end, volume: 10, duration }.write(&mut payload);
    payload.to_vec()
}

/// The event packets among what was sent: digit, end, duration, marker, timestamp.
fn events(sent: &[Sent], payload_type: u8) -> Vec<(char, bool, u16, bool, RtpTimestamp)> {
    let of_type = sent.iter().filter(|p| p.header.payload_type.value() == payload_type);
    of_type
        .map(|packet| {
            let event = TelephoneEvent::parse(&packet.payload).unwrap();
            let digit = event.digit().unwrap().to_char();
            (digit, event.end, event.duration, packet.header.marker, packet.header.timestamp)
        })
        .collect()
}

#[test]
fn digits_are_relayed_between_the_clocks() {
    for (from, to_type, from_type, in_hz, out_hz) in [
        (Side::A, 101, 110, 48_000_u32, 8_000_u32),
        (Side::A, 101, 126, 8_000, 8_000),
        (Side::B, 110, 101, 8_000, 48_000),
    ] {
        let mut exchange = Exchange::new(OPUS, PCMU);
        let mut speaker = Speaker::new(&exchange.arena, if from == Side::A { 111 } else { 0 });
        let audio_type = speaker.header.payload_type;
        let mut all = Vec::new();
        for digit in ['1', '1', '#'] {
            for _ in 0..5 {
                all.extend(exchange.hear(from, &speaker.packet(160)).unwrap());
                all.extend(exchange.pass(MS_20));
            }
            speaker.header.payload_type = PayloadType::new(from_type).unwrap();
            for n in 1..=8_u32 {
                let packet = event(digit, n >= 6, (n.min(6) * in_hz / 50) as u16);
                all.extend(exchange.hear(from, &speaker.raw(&packet)).unwrap());
                speaker.header.sequence_number = speaker.header.sequence_number.next();
                all.extend(exchange.pass(if n < 6 { MS_20 } else { Duration::ZERO }));
            }
            speaker.header.payload_type = audio_type;
            speaker.silence(6 * 160);
            all.extend(exchange.pass(MS_20));
        }
        all.extend(exchange.pass(MS_20 * 5));
        let digits = events(&all, to_type);
        let onsets: Vec<_> = digits.iter().filter(|event| event.3).collect();
        assert_eq!(onsets.iter().map(|event| event.0).collect::<String>(), "11#");
        assert!(onsets[0].4 != onsets[1].4, "two equal digits are two events");
        for onset in &onsets {
            let of_this: Vec<_> = digits.iter().filter(|event| event.4 == onset.4).collect();
            let ends: Vec<_> = of_this.iter().filter(|event| event.1).collect();
            assert_eq!(ends.len(), 3);
            assert!(ends.iter().all(|end| end.2 == (6 * out_hz / 50) as u16), "{ends:?}");
            assert!(of_this.iter().map(|event| event.2).is_sorted());
        }
        // Audio and events share one sequence without a hole.
        let numbers: Vec<_> = all.iter().map(|packet| packet.header.sequence_number).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].next()));
        // Audio goes on at its place: fifteen packets and three digits of 120 ms later.
        let audio: Vec<_> =
            all.iter().filter(|packet| packet.header.payload_type.value() != to_type).collect();
        let units = audio[14].header.timestamp.distance(audio[0].header.timestamp);
        let clock = if from == Side::A { 1 } else { 6 };
        assert_eq!(units, clock * (14 * 160 + 2 * 6 * 160));
        let ended: Vec<_> = exchange
            .notices
            .iter()
            .filter(|notice| matches!(notice, Notice::DigitEnded(..)))
            .collect();
        assert_eq!(*ended[2], Notice::DigitEnded(from, '#', 120));
        assert_eq!(exchange.statistics(from).events_received, 3);
        assert_eq!(exchange.statistics(from.other()).events_sent, 3);
    }
}

#[test]
fn a_digit_from_the_controller_replaces_the_audio_while_it_lasts() {
    let mut exchange = Exchange::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&exchange.arena, 111);
    let mut all = Vec::new();
    for n in 0..30 {
        if n == 10 {
            let now = exchange.now;
            exchange.call.legs[1].digits.push(digit('5'), DigitTime::DEFAULT, now).unwrap();
        }
        all.extend(exchange.hear(Side::A, &speaker.packet(160)).unwrap());
        all.extend(exchange.pass(MS_20));
    }
    let digits = events(&all, 101);
    assert_eq!(digits.iter().filter(|event| event.1).count(), 3);
    assert!(digits.iter().all(|event| event.0 == '5'));
    assert_eq!(digits.last().unwrap().2, 800);
    let discards = &exchange.statistics(Side::A).discards;
    assert!(discards["during_telephone_event"].as_u64().unwrap() >= 3);
    assert!(
        all.windows(2).all(|pair| {
            pair[1].header.sequence_number == pair[0].header.sequence_number.next()
        })
    );
    let audio: Vec<_> = all.iter().filter(|p| p.header.payload_type == PayloadType::PCMU).collect();
    let last = audio.last().unwrap().header.timestamp;
    assert_eq!(last.distance(audio[0].header.timestamp), 29 * 160, "time did not slip");
}

#[test]
fn opus_between_two_browsers_passes_untouched_with_its_gaps() {
    let mut exchange = Exchange::new(OPUS, OPUS);
    let mut speaker = Speaker::new(&exchange.arena, 111);
    let mut sent = Vec::new();
    let mut payloads = Vec::new();
    for n in 0..20 {
        let packet = speaker.packet(160);
        if n != 10 {
            payloads.push(RtpPacket::parse(&packet).unwrap().payload.to_vec());
            sent.extend(exchange.hear(Side::A, &packet).unwrap());
        }
        sent.extend(exchange.pass(MS_20));
    }
    assert!(sent.iter().map(|packet| &packet.payload).eq(payloads.iter()));
    let first = sent[0].header;
    for (packet, n) in sent.iter().zip((0..20).filter(|n| *n != 10)) {
        assert_eq!(packet.header.sequence_number, first.sequence_number + n);
        assert_eq!(packet.header.timestamp.distance(first.timestamp), i32::from(n) * 960);
    }
    assert_eq!(exchange.frames.decoded + exchange.frames.encoded, 0);
}

#[test]
fn reports_tell_the_far_end_its_true_loss() {
    let mut exchange = Exchange::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&exchange.arena, 0);
    for n in 0..200 {
        let packet = speaker.packet(160);
        if n % 10 != 5 {
            exchange.hear(Side::B, &packet).unwrap();
        }
        exchange.pass(MS_20);
    }
    let (mut sender_reports, mut lost, mut names) = (0, 0, 0);
    for (socket, compound) in std::mem::take(&mut exchange.rtcp) {
        for packet in rtcp::parse(&compound).unwrap() {
            match packet {
                RtcpPacket::SenderReport { .. } => {
                    assert_eq!(socket, 1, "only leg a was sent audio");
                    sender_reports += 1;
                }
                RtcpPacket::ReceiverReport { mut reports, .. } => {
                    assert_eq!(socket, 3);
                    if let Some(block) = reports.next() {
                        assert_eq!(block.ssrc, speaker.header.ssrc);
                        lost = block.cumulative_lost;
                        // The first report covers 25 packets, two or three of them lost.
                        assert!(
                            (15..=36).contains(&block.fraction_lost),
                            "{}",
                            block.fraction_lost
                        );
                    }
                }
                RtcpPacket::Sdes { cname, .. } => {
                    assert_eq!(cname, b"cname");
                    names += 1;
                }
                _ => {}
            }
        }
    }
    assert!(sender_reports >= 1 && names >= 2);
    assert!((1..=20).contains(&lost));
}

#[test]
fn an_unknown_payload_type_and_garbage_are_counted_and_change_nothing() {
    let mut exchange = Exchange::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&exchange.arena, 111);
    exchange.hear(Side::A, &speaker.packet(160)).unwrap();
    let before = exchange.statistics(Side::A);
    speaker.header.payload_type = PayloadType::new(77).unwrap();
    let unknown = speaker.raw(&[1, 2, 3]);
    assert_eq!(exchange.hear(Side::A, &unknown).unwrap_err(), Discard::UnknownPayloadType);
    for garbage in [&[0x80_u8; 5][..], &[0xFF; 40], &[0; 12]] {
        assert!(exchange.hear(Side::A, garbage).is_err());
    }
    assert_eq!(exchange.statistics(Side::A), before);
}
