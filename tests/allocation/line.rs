//! The packet line allocates nothing once its legs have their formats, whatever comes: calls with all
//! that a network and two far ends do to them.

use std::collections::BTreeSet;

use linecard::audio::opus::OpusArena;
use linecard::audio::sound::{Recording, Sound, Times, Tone};
use linecard::base::discard::Discard;
use linecard::base::random::{self, Random};
use linecard::control::message::{LegStatistics, Side};
use linecard::media::load::Load;
use linecard::wire::rtcp::ReportBlock;
use linecard::wire::rtp::{PayloadType, Ssrc};
use linecard::wire::telephone_event::{Digit, EVENT_BYTES, TelephoneEvent, VOLUME_DEFAULT};
use rand::RngExt;
use serde_json::{Value, json};

use super::allocations;
use super::call::{FarEnd, LegKind, Line, PACKET_TIME};

/// A minute and a half: as long as it takes until a path that was bad is believed to be clean.
const PACKETS: u32 = 4_500;
/// One side of a call: the leg, and who talks to it.
struct Talker {
    side: Side,
    kind: LegKind,
    far_end: FarEnd,
    /// What is on its way, with packets until it arrives.
    held: Vec<(u32, Vec<u8>)>,
    rungs: BTreeSet<String>,
    /// Packets that came twice.
    doubled: u64,
}

fn with(mut format: Value, more: Value) -> Value {
    let (Value::Object(format_fields), Value::Object(more)) = (&mut format, more) else {
        panic!("formats are objects")
    };
    format_fields.extend(more);
    format
}

fn events(payload_type: u8, clock_hz: u32) -> Value {
    let format = json!({"payload_type": payload_type, "clock_hz": clock_hz});
    json!({"send_events": format, "receive_events": [format]})
}

fn browser(kind: LegKind) -> (LegKind, Value) {
    (kind, with(kind.format(), events(110, 48_000)))
}

/// A trunk that leaves silence out, and of which we do.
fn trunk() -> (LegKind, Value) {
    let noise = json!({"send_comfort_noise": 13, "receive_comfort_noise": [13]});
    (LegKind::Trunk, with(with(LegKind::Trunk.format(), events(101, 8_000)), noise))
}

fn paced((kind, mut format): (LegKind, Value)) -> (LegKind, Value) {
    format["send"]["playout"] = json!({"kind": "paced", "least_ms": 20, "most_ms": 200});
    (kind, format)
}

impl Talker {
    fn new(arena: &std::rc::Rc<OpusArena>, side: Side, kind: LegKind) -> Self {
        let far_end = FarEnd::new(arena, kind);
        Self { side, kind, far_end, held: Vec::new(), rungs: BTreeSet::new(), doubled: 0 }
    }

    /// What it sends in the `n`th 20 ms: speech, a digit, silence in full or left out.
    fn say(&mut self, n: u32) -> Vec<Vec<u8>> {
        let opus = self.kind != LegKind::Trunk;
        let number = |value| PayloadType::new(value).expect("below 128");
        // The two do not all of it at once.
        let place = (n + 250 * self.side.index() as u32) % 1_000;
        match place {
            // A digit of 120 ms, whose end is sent three times.
            500..506 => {
                let end = place == 505;
                let (payload_type, clock_hz) = if opus { (110, 48_000) } else { (101, 8_000) };
                let duration = ((place - 499) * clock_hz / 50) as u16;
                let event = Digit::from_char('5').expect("a digit").event();
                let mut payload = [0; EVENT_BYTES];
                TelephoneEvent { event, end, volume: VOLUME_DEFAULT, duration }.write(&mut payload);
                let packets = if end { 3 } else { 1 };
                let packets =
                    (0..packets).map(|_| self.far_end.datagram(number(payload_type), &payload));
                let packets = packets.collect();
                if end {
                    (0..6).for_each(|_| self.far_end.pass());
                }
                packets
            }
            // Silence that is sent.
            600..700 if !opus => {
                let packet = self.far_end.datagram(number(0), &[0xFF; 160]);
                self.far_end.pass();
                vec![packet]
            }
            // Silence that is left out: told every 400 ms, and by the browser packet for packet first.
            700..800 => {
                let told = place.is_multiple_of(20) || opus && place < 720;
                let (payload_type, byte) = if opus { (111, 8) } else { (13, 50 + place as u8 % 8) };
                let packet = told.then(|| self.far_end.datagram(number(payload_type), &[byte]));
                self.far_end.pass();
                packet.into_iter().collect()
            }
            _ => vec![self.far_end.packet()],
        }
    }

    /// What arrives of it: some is lost, doubled, or later than what follows it.
    fn arrive(&mut self, n: u32, network: &mut Random) -> Vec<Vec<u8>> {
        let mut arriving = Vec::new();
        for packet in self.say(n) {
            match network.random_range(0..100) {
                0..5 if n > 0 => {}
                5..8 => arriving.extend([packet.clone(), packet]),
                8..12 => self.held.push((n + 2, packet)),
                _ => arriving.push(packet),
            }
        }
        arriving.extend(self.held.extract_if(.., |(at, _)| *at <= n).map(|(_, packet)| packet));
        arriving
    }

    /// What it reports about what it was sent: a path that is clean, lossy, congested, and clean again.
    fn report(&mut self, n: u32, ours: Ssrc) -> Vec<u8> {
        let fraction_lost = match n {
            0..1_000 => 0,
            1_000..1_500 => 10,
            1_500..2_000 => 60,
            2_000..2_500 => 10,
            _ => 0,
        };
        let block = ReportBlock {
            ssrc: ours,
            fraction_lost,
            cumulative_lost: 5,
            extended_highest_sequence: n,
            jitter: 40,
            last_sr: 0,
            delay_since_last_sr: 0,
        };
        self.far_end.report_of(&[block])
    }
}

/// What came of a call.
struct Ended {
    legs: [LegStatistics; 2],
    rungs: [BTreeSet<String>; 2],
    doubled: [u64; 2],
    silent: u64,
}

/// A call in which everything happens, and nothing is allocated.
fn call(legs: [(LegKind, Value); 2], load: Load) -> Ended {
    let arena = OpusArena::new(4).expect("memory for a call and its far ends");
    let mut network = random::from_seed(1);
    let kinds = [legs[0].0, legs[1].0];
    let mut talkers = [Side::A, Side::B].map(|side| Talker::new(&arena, side, kinds[side.index()]));
    let mut line = Line::with_formats(&arena, legs);
    line.set_load(load);
    let mut made = 0;
    for n in 0..PACKETS {
        for talker in &mut talkers {
            for mut packet in talker.arrive(n, &mut network) {
                let mut heard = Ok(());
                made += allocations(|| heard = line.hear_now(talker.side, &mut packet));
                match heard {
                    Ok(()) | Err(Discard::Late | Discard::DuringTelephoneEvent) => {}
                    Err(Discard::Duplicate | Discard::Replayed) => talker.doubled += 1,
                    Err(other) => panic!("packet {n} is {other:?}"),
                }
            }
            if n.is_multiple_of(50) {
                let side = talker.side.index();
                let ours = line.parts().0.legs[side].sending.outgoing.ssrc();
                let mut report = talker.report(n, ours);
                made += allocations(|| line.hear_rtcp(talker.side, &mut report));
            }
            let side = talker.side.index();
            let rung = line.parts().0.legs[side].sending.encoding.name();
            talker.rungs.extend(rung.map(str::to_owned));
        }
        made += allocations(|| line.pass(PACKET_TIME));
        assert_eq!(made, 0, "packet {n}");
    }
    let statistics = line.statistics();
    let [a, b] = talkers;
    Ended {
        legs: [statistics.a, statistics.b],
        rungs: [a.rungs, b.rungs],
        doubled: [a.doubled, b.doubled],
        silent: line.frames().silent,
    }
}

impl Ended {
    /// Everything that can come to a leg has come to both.
    fn assert_eventful(&self) {
        for (leg, doubled) in self.legs.iter().zip(self.doubled) {
            assert!(leg.packets_lost > 0 && doubled > 0);
            assert!(leg.events_received > 0 && leg.events_sent > 0);
            assert!(leg.packets_of_silence > 0);
        }
    }

    fn rungs(&self, side: Side) -> Vec<&str> {
        self.rungs[side.index()].iter().map(String::as_str).collect()
    }
}

#[test]
fn nothing_is_allocated_for_a_browser_with_red_and_a_trunk() {
    let ended = call([browser(LegKind::RedBrowser), trunk()], Load::NONE);
    ended.assert_eventful();
    assert_eq!(ended.rungs(Side::A), ["celt_48k", "celt_48k_red", "silk_24k_red"]);
    let [a, b] = &ended.legs;
    assert!(a.packets_recovered > 0, "from RED");
    assert!(b.frames_concealed > 0 && b.packets_reordered > 0);
    assert!(ended.silent > 0);
}

#[test]
fn nothing_is_allocated_for_a_browser_without_red_and_a_trunk() {
    // An idle core would stay at SILK.
    let ended = call([browser(LegKind::Browser), trunk()], Load::new(0.8));
    ended.assert_eventful();
    assert_eq!(ended.rungs(Side::A), ["celt_48k", "silk_48k_fec"]);
    let [a, b] = &ended.legs;
    assert!(a.frames_recovered > 0, "from in-band FEC");
    assert!(a.packets_reordered > 0 && b.packets_reordered > 0);
    assert!(ended.silent > 0);
}

#[test]
fn nothing_is_allocated_where_both_legs_are_sent_to_evenly() {
    for kind in [LegKind::RedBrowser, LegKind::Browser] {
        let ended = call([paced(browser(kind)), paced(trunk())], Load::NONE);
        ended.assert_eventful();
        for leg in &ended.legs {
            let playout = leg.playout.as_ref().expect("paced");
            assert!(playout.inserted_ms > 0 && leg.packets_reordered > 0);
        }
        let recovered = ended.legs[0].packets_recovered + ended.legs[0].frames_recovered;
        assert!(recovered > 0, "from RED or FEC");
    }
}

#[test]
fn nothing_is_allocated_for_two_legs_of_one_kind() {
    let browsers = [browser(LegKind::RedBrowser), browser(LegKind::RedBrowser)];
    let ended = call(browsers, Load::NONE);
    ended.assert_eventful();
    assert_eq!(ended.rungs(Side::A), [""; 0], "it passes as it is");
    call([trunk(), trunk()], Load::NONE).assert_eventful();
}

#[test]
fn nothing_is_allocated_to_play_toward_a_leg() {
    let tone = Tone { hz: &[400, 450], on_off_ms: &[(400, 200), (400, 2_000)], level_dbov: -20 };
    let recording = Recording::new(vec![1_000; 4_000]).expect("half a second");
    let sounds = [
        Sound::tone(tone, Times::ForEver),
        Sound::recording(recording, Times::Of(3)),
        Sound::silence(),
    ];
    for sound in sounds {
        for legs in [
            [browser(LegKind::RedBrowser), trunk()],
            [browser(LegKind::Browser), browser(LegKind::RedBrowser)],
            [paced(browser(LegKind::Browser)), paced(trunk())],
        ] {
            let arena = OpusArena::new(4).expect("memory for a call and its far ends");
            let kinds = [legs[0].0, legs[1].0];
            let mut far_ends = kinds.map(|kind| FarEnd::new(&arena, kind));
            let mut line = Line::with_formats(&arena, legs);
            for n in 0..300 {
                if n == 10 {
                    let (call, now, common) = line.parts();
                    for side in [Side::A, Side::B] {
                        call.play(side, sound.clone(), common, now).expect("there is room");
                    }
                }
                let mut made = 0;
                for (side, far_end) in [Side::A, Side::B].into_iter().zip(&mut far_ends) {
                    let mut packet = far_end.packet();
                    made += allocations(|| line.hear_now(side, &mut packet).expect("good"));
                }
                made += allocations(|| line.pass(PACKET_TIME));
                assert_eq!(made, 0, "packet {n} beside {sound:?}");
            }
            let statistics = line.statistics();
            for leg in [statistics.a, statistics.b] {
                assert!(leg.discards.of(Discard::DuringPlay) > 50);
                assert!(leg.packets_sent > 290);
            }
        }
    }
}
