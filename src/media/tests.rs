//! The packet line without a socket: a call, an outbox, and a virtual clock.

mod browser_port;
mod digits;
mod direction;
mod encoding;
mod exchange;
mod exhaustion;
mod learning;
mod loss;
mod noise;
mod order;
mod ownership;
mod paced;
mod play;
mod process;
mod protection;
mod recoding;
mod redundancy;
mod replacing;
mod sanity;
mod script;
mod silence;
mod snapshot;
mod sources;
mod tones;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::channel::{CallKey, Command, CoreEvent, NewLeg, Reply};
use super::common::FrameCounters;
use super::leg::Leg;
use super::rig::{Flying, Rig};
use crate::audio::g711::{self, Law};
use crate::audio::opus::{EncoderSettings, OpusArena, OpusDecoder, OpusEncoder};
use crate::base::discard::Discard;
use crate::base::random;
use crate::control::message::{
    ControlError, Direction, Event, LegChange, LegParameters, LegStatistics, PlainTransport, Side,
    Transport,
};
use crate::os::outbox::Outbox;
use crate::os::sockets::BoundSocket;
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
    to: std::net::SocketAddr,
    header: RtpHeader,
    payload: Vec<u8>,
}

/// Where our sockets are: 0 and 1 are RTP and RTCP of leg a, 2 and 3 of leg b.
fn ours(socket: usize) -> std::net::SocketAddr {
    ([192, 0, 2, 10], 30_000 + socket as u16).into()
}

/// Where the far end of such a socket is.
fn theirs(socket: usize) -> std::net::SocketAddr {
    ([198, 51, 100, 7], 20_000 + socket as u16).into()
}

/// A core for so many calls.
fn rig_for(calls: usize) -> Rig {
    Rig::with_codecs(calls, OpusArena::new(calls).unwrap(), Instant::now()).unwrap()
}

/// A call between two legs on the real core. Its formats are JSON of the control protocol.
struct Line {
    rig: RefCell<Rig>,
    key: CallKey,
    arena: Rc<OpusArena>,
    now: Instant,
    rtcp: Vec<(usize, Vec<u8>)>,
    /// By which socket RTCP left, and where to.
    rtcp_to: Vec<(usize, std::net::SocketAddr)>,
    events: Vec<Event>,
}

/// A leg of these parameters between our sockets and its far end.
fn new_leg(side: Side, format: &str) -> NewLeg {
    let socket = 2 * side.index();
    let transport = PlainTransport { remote: Some(theirs(socket)), ..PlainTransport::default() };
    let mut parameters = LegParameters::new(Transport::Plain(transport));
    parameters.format = Some(serde_json::from_str(format).unwrap());
    let sockets = [socket, socket + 1].map(|socket| BoundSocket::made_up(ours(socket)));
    NewLeg { parameters, sockets: Some(sockets) }
}

impl Line {
    fn new(a: &str, b: &str) -> Self {
        Self::of_legs([new_leg(Side::A, a), new_leg(Side::B, b)])
    }

    fn of_legs(legs: [NewLeg; 2]) -> Self {
        let (arena, now) = (OpusArena::new(6).unwrap(), Instant::now());
        let mut rig = Rig::with_codecs(2, arena.clone(), now).unwrap();
        let create = Command::Create { name: "call".into(), legs: Box::new(legs) };
        let Reply::Created(key) = rig.command(create).unwrap() else { panic!("no call") };
        let (rtcp, rtcp_to, events) = (Vec::new(), Vec::new(), Vec::new());
        Self { rig: RefCell::new(rig), key, arena, now, rtcp, rtcp_to, events }
    }

    /// A packet arrives from the far end; why the leg discarded it, if it did.
    fn hear(&mut self, side: Side, packet: &[u8]) -> Result<Vec<Sent>, Discard> {
        self.hear_from(theirs(2 * side.index()), side, packet)
    }

    /// The same from anywhere.
    fn hear_from(
        &mut self,
        from: std::net::SocketAddr,
        side: Side,
        packet: &[u8],
    ) -> Result<Vec<Sent>, Discard> {
        let before = self.leg(side, |leg| leg.discards.clone());
        let to = ours(2 * side.index());
        self.rig.borrow_mut().receive(Flying { from, to, bytes: packet.to_vec() });
        let sent = self.sent();
        let after = self.leg(side, |leg| leg.discards.clone());
        let reason = Discard::ALL.iter().find(|reason| after.of(**reason) > before.of(**reason));
        reason.map_or(Ok(sent), |reason| Err(*reason))
    }

    fn hear_rtcp(&mut self, side: Side, datagram: &[u8]) {
        assert_eq!(self.hear_rtcp_from(theirs(2 * side.index() + 1), side, datagram), None);
    }

    /// RTCP arrives from there; why the leg discarded it, if it did.
    fn hear_rtcp_from(
        &mut self,
        from: std::net::SocketAddr,
        side: Side,
        datagram: &[u8],
    ) -> Option<Discard> {
        let before = self.leg(side, |leg| leg.discards.clone());
        let to = ours(2 * side.index() + 1);
        self.rig.borrow_mut().receive(Flying { from, to, bytes: datagram.to_vec() });
        let after = self.leg(side, |leg| leg.discards.clone());
        Discard::ALL.iter().copied().find(|reason| after.of(*reason) > before.of(*reason))
    }

    /// Lets time pass, waking the call whenever it wants.
    fn pass(&mut self, duration: Duration) -> Vec<Sent> {
        let until = self.now + duration;
        let mut sent = Vec::new();
        loop {
            let next = self.rig.borrow().next_timeout();
            let Some(at) = next.filter(|at| *at <= until) else { break };
            self.rig.borrow_mut().pass(at.saturating_duration_since(self.now));
            self.now = self.rig.borrow().now;
            sent.extend(self.sent());
        }
        self.rig.borrow_mut().pass(until - self.now);
        self.now = until;
        sent
    }

    fn sent(&mut self) -> Vec<Sent> {
        let at = self.now;
        let events = self.rig.borrow_mut().events();
        self.events.extend(events.into_iter().filter_map(|event| match event {
            CoreEvent::Event(event) => Some(event),
            CoreEvent::Punt(..) => None,
        }));
        let (mut sent, rtcp) = (Vec::new(), &mut self.rtcp);
        for Flying { from, to, bytes } in self.rig.borrow_mut().sent() {
            let socket = usize::from(from.port() - 30_000);
            if socket % 2 == 1 {
                rtcp.push((socket, bytes));
                self.rtcp_to.push((socket, to));
            } else {
                let packet = RtpPacket::parse(&bytes).unwrap();
                let (header, payload) = (packet.header, packet.payload.to_vec());
                sent.push(Sent { at, socket, to, header, payload });
            }
        }
        sent
    }

    fn statistics(&self, side: Side) -> LegStatistics {
        let Ok(Reply::Calls(mut calls)) =
            self.rig.borrow_mut().command(Command::Query(vec![self.key]))
        else {
            panic!("no statistics")
        };
        let statistics = calls.remove(0).unwrap();
        if side == Side::A { statistics.a } else { statistics.b }
    }

    fn frames(&self) -> FrameCounters {
        self.rig.borrow_mut().core.line(self.key).unwrap().1.frames
    }

    fn leg<T>(&self, side: Side, look: impl FnOnce(&mut Leg) -> T) -> T {
        let mut rig = self.rig.borrow_mut();
        let (call, _) = rig.core.line(self.key).unwrap();
        look(&mut call.legs[side.index()])
    }

    fn update(&mut self, side: Side, change: LegChange) -> Result<(), ControlError> {
        self.rig.borrow_mut().command(Command::Update(self.key, side, Box::new(change))).map(|_| ())
    }

    fn set_direction(&mut self, side: Side, direction: Direction) {
        let change = LegChange { direction: Some(direction), ..LegChange::default() };
        self.update(side, change).unwrap();
    }

    fn set_format(&mut self, side: Side, format: &str) -> Result<(), ControlError> {
        let format = Some(serde_json::from_str(format).unwrap());
        self.update(side, LegChange { format, ..LegChange::default() })
    }

    fn dial(&mut self, side: Side, digit: char, ms: u32) {
        let (digit, time) = (self::digit(digit), DigitTime::from_ms(ms).unwrap());
        let command = Command::SendDigit(self.key, side, digit, time);
        self.rig.borrow_mut().command(command).unwrap();
    }

    fn has_told(&self, event: &Event) -> bool {
        self.events.contains(event)
    }
}

fn digit_ended(leg: Side, digit: char, duration_ms: u32) -> Event {
    Event::TelephoneEvent { call: "call".into(), leg, digit, duration_ms }
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
        let mut line = Line::new(OPUS, PCMU);
        let mut speaker = Speaker::new(&line.arena, payload_type);
        let mut listener = Listener::new(&line.arena);
        for _ in 0..100 {
            let sent = line.hear(from, &speaker.packet(160)).unwrap();
            assert_eq!(sent.len(), 1);
            assert_eq!(sent[0].socket, 2 * to.index());
            listener.listen(&sent);
            listener.listen(&line.pass(MS_20));
        }
        assert_eq!(listener.pcm.len(), 100 * 160);
        assert!(listener.tone_share() > 0.9, "{}", listener.tone_share());
        assert!(line.has_told(&Event::MediaStarted { call: "call".into(), leg: from }));
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
                let mut line = Line::new(&a, &b);
                let mut speaker = Speaker::new(&line.arena, payload_type);
                let mut listener = Listener::new(&line.arena);
                for _ in 0..1200 / received_ms {
                    let packet = speaker.packet(received_ms * 8);
                    let sent = line.hear(from, &packet).unwrap();
                    listener.listen(&sent);
                    let later = line.pass(Duration::from_millis(received_ms as u64));
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
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&line.arena, 111);
    let mut listener = Listener::new(&line.arena);
    // Six frames of 20 ms in one packet: code 3, constant bit rate (RFC 6716 §3.2.5).
    let first = speaker.packet(160);
    let payload = RtpPacket::parse(&first).unwrap().payload;
    let mut six = vec![payload[0] | 3, 6];
    (0..6).for_each(|_| six.extend_from_slice(&payload[1..]));
    let sent = line.hear(Side::A, &speaker.raw(&six)).unwrap();
    listener.listen(&sent);
    assert_eq!(sent.len(), 6);
}

#[test]
fn a_packet_out_of_order_is_put_back_and_nothing_is_invented() {
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&line.arena, 111);
    let mut listener = Listener::new(&line.arena);
    let packets: Vec<_> = (0..40).map(|_| speaker.packet(160)).collect();
    for pair in packets.chunks(2) {
        listener.listen(&line.hear(Side::A, &pair[1]).unwrap());
        listener.listen(&line.pass(Duration::from_millis(5)));
        listener.listen(&line.hear(Side::A, &pair[0]).unwrap_or_default());
        listener.listen(&line.pass(Duration::from_millis(35)));
    }
    let statistics = line.statistics(Side::A);
    // The first packet of all decides where the stream begins; the one before it comes too late.
    assert_eq!(listener.pcm.len(), 39 * 160);
    assert_eq!(statistics.frames_concealed + statistics.frames_recovered, 0);
    assert!(statistics.packets_reordered >= 18);
}

#[test]
fn a_pause_stays_a_pause_and_the_next_packet_begins_a_talkspurt() {
    for (from, payload_type, clock) in [(Side::A, 111, 1), (Side::B, 0, 6)] {
        let mut line = Line::new(OPUS, PCMU);
        let mut speaker = Speaker::new(&line.arena, payload_type);
        let before = line.hear(from, &speaker.packet(160)).unwrap();
        assert!(before[0].header.marker, "the first packet begins a talkspurt");
        speaker.silence(8_000);
        line.pass(Duration::from_millis(1_020));
        let after = line.hear(from, &speaker.packet(160)).unwrap();
        assert!(after[0].header.marker);
        assert_eq!(after[0].header.sequence_number, before[0].header.sequence_number.next());
        let passed = after[0].header.timestamp.distance(before[0].header.timestamp);
        assert_eq!(passed, (160 + 8_000) * clock);
    }
}

#[test]
fn another_source_goes_on_in_the_same_outgoing_stream() {
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&line.arena, 0);
    let mut listener = Listener::new(&line.arena);
    for n in 0..50 {
        if n == 25 {
            speaker.header.ssrc = Ssrc(0x1234);
            speaker.header.sequence_number = SequenceNumber(7);
            speaker.header.timestamp = RtpTimestamp(99);
        }
        listener.listen(&line.hear(Side::B, &speaker.packet(160)).unwrap());
        listener.listen(&line.pass(MS_20));
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
        let mut line = Line::new(OPUS, PCMU);
        let mut speaker = Speaker::new(&line.arena, if from == Side::A { 111 } else { 0 });
        let audio_type = speaker.header.payload_type;
        let mut all = Vec::new();
        for digit in ['1', '1', '#'] {
            for _ in 0..5 {
                all.extend(line.hear(from, &speaker.packet(160)).unwrap());
                all.extend(line.pass(MS_20));
            }
            speaker.header.payload_type = PayloadType::new(from_type).unwrap();
            for n in 1..=8_u32 {
                let packet = event(digit, n >= 6, (n.min(6) * in_hz / 50) as u16);
                all.extend(line.hear(from, &speaker.raw(&packet)).unwrap());
                speaker.header.sequence_number = speaker.header.sequence_number.next();
                all.extend(line.pass(if n < 6 { MS_20 } else { Duration::ZERO }));
            }
            speaker.header.payload_type = audio_type;
            speaker.silence(6 * 160);
            all.extend(line.pass(MS_20));
        }
        all.extend(line.pass(MS_20 * 5));
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
        let mut ended = line.events.iter().filter(|it| matches!(it, Event::TelephoneEvent { .. }));
        assert_eq!(ended.next_back(), Some(&digit_ended(from, '#', 120)));
        assert_eq!(line.statistics(from).events_received, 3);
        assert_eq!(line.statistics(from.other()).events_sent, 3);
    }
}

#[test]
fn a_digit_from_the_controller_replaces_the_audio_while_it_lasts() {
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&line.arena, 111);
    let mut all = Vec::new();
    for n in 0..30 {
        if n == 10 {
            line.dial(Side::B, '5', 100);
        }
        all.extend(line.hear(Side::A, &speaker.packet(160)).unwrap());
        all.extend(line.pass(MS_20));
    }
    let digits = events(&all, 101);
    assert_eq!(digits.iter().filter(|event| event.1).count(), 3);
    assert!(digits.iter().all(|event| event.0 == '5'));
    assert_eq!(digits.last().unwrap().2, 800);
    let discards = line.statistics(Side::A).discards;
    assert!(discards.of(Discard::DuringTelephoneEvent) >= 3);
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
    let mut line = Line::new(OPUS, OPUS);
    let mut speaker = Speaker::new(&line.arena, 111);
    let mut sent = Vec::new();
    let mut payloads = Vec::new();
    for n in 0..20 {
        let packet = speaker.packet(160);
        if n != 10 {
            payloads.push(RtpPacket::parse(&packet).unwrap().payload.to_vec());
            sent.extend(line.hear(Side::A, &packet).unwrap());
        }
        sent.extend(line.pass(MS_20));
    }
    assert!(sent.iter().map(|packet| &packet.payload).eq(payloads.iter()));
    let first = sent[0].header;
    for (packet, n) in sent.iter().zip((0..20).filter(|n| *n != 10)) {
        assert_eq!(packet.header.sequence_number, first.sequence_number + n);
        assert_eq!(packet.header.timestamp.distance(first.timestamp), i32::from(n) * 960);
    }
    let frames = line.frames();
    assert_eq!(frames.decoded + frames.encoded, 0);
}

#[test]
fn reports_tell_the_far_end_its_true_loss() {
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&line.arena, 0);
    for n in 0..200 {
        let packet = speaker.packet(160);
        if n % 10 != 5 {
            line.hear(Side::B, &packet).unwrap();
        }
        line.pass(MS_20);
    }
    let (mut sender_reports, mut lost, mut names) = (0, 0, 0);
    for (socket, compound) in std::mem::take(&mut line.rtcp) {
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
                    assert_eq!(cname.len(), 16);
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
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&line.arena, 111);
    line.hear(Side::A, &speaker.packet(160)).unwrap();
    let before = line.statistics(Side::A);
    speaker.header.payload_type = PayloadType::new(77).unwrap();
    let unknown = speaker.raw(&[1, 2, 3]);
    assert_eq!(line.hear(Side::A, &unknown).unwrap_err(), Discard::UnknownPayloadType);
    for garbage in [&[0x80_u8; 5][..], &[0xFF; 40], &[0; 12]] {
        line.hear(Side::A, garbage).unwrap_err();
    }
    let after = line.statistics(Side::A);
    assert_eq!(after.discards.total(), 4);
    // Its place in the sequence is taken.
    let (was, is) = (before.received.unwrap(), after.received.unwrap());
    assert_eq!(is.sequence_number, was.sequence_number.next());
    let unchanged =
        LegStatistics { discards: before.discards.clone(), received: before.received, ..after };
    assert_eq!(unchanged, before);
}
