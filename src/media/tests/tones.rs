//! Digits in a trunk's audio: each is one event, told once and sent once, and hardly heard.

use super::*;
use crate::base::random;
use rand::RngExt;

/// A trunk without telephone events whose audio is listened to.
const TONES: &str = r#"{"send": {"codec": "pcmu", "payload_type": 0},
    "receive": [{"codec": "pcmu", "payload_type": 0}, {"codec": "pcma", "payload_type": 8}],
    "receive_tones": true}"#;
const ALL: &str = "123A456B789C*0#D";

/// A number dialled by ear, after half a second of nothing.
fn dialled(digits: &str, on_ms: usize, off_ms: usize) -> Vec<i16> {
    let mut audio = vec![0; 4_000];
    for digit in digits.chars() {
        let at = ALL.find(digit).unwrap();
        let hz =
            [[697.0, 770.0, 852.0, 941.0][at / 4], [1_209.0, 1_336.0, 1_477.0, 1_633.0][at % 4]];
        let value = |n: usize| -> f64 {
            hz.iter().map(|hz| (n as f64 * hz * std::f64::consts::TAU / 8_000.0).sin()).sum()
        };
        audio.extend((0..on_ms * 8).map(|n| (4_000.0 * value(n)) as i16));
        audio.resize(audio.len() + off_ms * 8, 0);
    }
    audio.resize(audio.len() + 4_000, 0);
    audio
}

/// What was told, what left as events of this type, and the longest sound that left beside them, in ms.
fn heard(
    line: &mut Line,
    payload_type: u8,
    events_type: u8,
    audio: Vec<i16>,
    is_lost: impl Fn(usize) -> bool,
) -> (String, String, usize) {
    let mut speaker = Speaker::new(&line.arena, payload_type);
    // Another one each time.
    speaker.header.ssrc = Ssrc(0x7000 + line.events.len() as u32);
    let packets = audio.len() / 160;
    speaker.speech = Some(audio);
    let mut sent = Vec::new();
    for n in 0..packets {
        let packet = speaker.packet(160);
        if !is_lost(n) {
            // While an event lasts the audio is discarded.
            sent.extend(line.hear(Side::B, &packet).unwrap_or_default());
        }
        sent.extend(line.pass(MS_20));
    }
    sent.extend(line.pass(Duration::from_secs(1)));
    let (mut left, mut last) = (String::new(), None);
    for (digit, _, _, _, timestamp) in events(&sent, events_type) {
        if last.replace(timestamp) != Some(timestamp) {
            left.push(digit);
        }
    }
    let told = line.events.iter().filter_map(|told| match told {
        Event::TelephoneEvent { digit, leg: Side::B, .. } => Some(*digit),
        _ => None,
    });
    let told = told.collect();
    let of_audio = sent.iter().filter(|packet| packet.header.payload_type == PayloadType::PCMU);
    let (mut longest, mut run, mut next) = (0, 0, None);
    for packet in of_audio {
        if next != Some(packet.header.timestamp) {
            run = 0;
        }
        let mut audio = vec![0_i16; packet.payload.len()];
        g711::decode(Law::Mu, &packet.payload, &mut audio);
        // Two samples near zero are no silence yet.
        for group in audio.chunks(8) {
            let is_sound = group.iter().any(|sample| sample.unsigned_abs() > 100);
            run = if is_sound { run + group.len() } else { 0 };
            longest = longest.max(run);
        }
        next = Some(packet.header.timestamp + packet.payload.len() as u32);
    }
    (told, left, longest / 8)
}

#[test]
fn digits_in_the_audio_are_events_one_each() {
    for (on_ms, off_ms) in [(40, 40), (50, 50), (70, 70), (100, 60), (300, 100)] {
        for (to, events_type) in [(OPUS, 110), (PCMU, 101)] {
            for payload_type in [0, 8] {
                let mut line = Line::new(to, TONES);
                let digits = format!("{ALL}1122{ALL}");
                let audio = dialled(&digits, on_ms, off_ms);
                let (told, left, leaked) =
                    heard(&mut line, payload_type, events_type, audio, |_| false);
                assert_eq!([&told, &left], [&digits; 2], "{on_ms} ms on, {off_ms} ms off, {to}");
                assert!(leaked < 23, "{leaked} ms could be taken for a digit, or be heard as one");
            }
        }
    }
}

#[test]
fn toward_a_far_end_that_is_paced_as_well() {
    let playout = r#""send": {"playout": {"kind": "paced", "least_ms": 20, "most_ms": 80}, "#;
    let paced = PCMU.replacen(r#""send": {"#, playout, 1);
    let mut line = Line::new(&paced, TONES);
    let (told, left, _) = heard(&mut line, 0, 101, dialled(ALL, 70, 70), |_| false);
    assert_eq!([&*told, &*left], [ALL; 2]);
}

#[test]
fn one_packet_lost_of_a_hundred_loses_and_doubles_no_digit() {
    let mut random = random::from_seed(7);
    for _ in 0..20 {
        let mut line = Line::new(OPUS, TONES);
        let digits = format!("{ALL}5555{ALL}");
        let audio = dialled(&digits, 100, 100);
        let lost: Vec<bool> =
            (0..audio.len() / 160).map(|_| random.random_range(0..100) == 0).collect();
        let (told, left, _) = heard(&mut line, 0, 110, audio, |n| lost[n]);
        assert_eq!([&told, &left], [&digits; 2]);
    }
}

#[test]
fn what_is_no_digit_is_none() {
    let short = dialled(ALL, 23, 60);
    let shifted: Vec<i16> = (0..80_000)
        .map(|n| {
            let tone = |hz: f64| (f64::from(n) * hz * std::f64::consts::TAU / 8_000.0).sin();
            // 3.5 % off.
            (4_000.0 * (tone(697.0 * 1.035) + tone(1_209.0 * 1.035))) as i16
        })
        .collect();
    for audio in [short, shifted, crate::audio::synthetic::speech(480_000)] {
        let mut line = Line::new(OPUS, TONES);
        let (told, left, _) = heard(&mut line, 0, 110, audio, |_| false);
        assert_eq!([&*told, &*left], [""; 2]);
    }
    // Nobody asked for them.
    let mut line = Line::new(OPUS, PCMU);
    let (told, left, _) = heard(&mut line, 0, 110, dialled(ALL, 100, 100), |_| false);
    assert_eq!([&*told, &*left], [""; 2]);
}

#[test]
fn a_digit_whose_end_is_lost_ends_and_the_next_source_begins_anew() {
    let mut line = Line::new(OPUS, TONES);
    let mut audio = dialled("5", 300, 0);
    audio.truncate(4_000 + 1_600);
    let (told, left, _) = heard(&mut line, 0, 110, audio, |_| false);
    assert_eq!([&*told, &*left], ["5"; 2]);
    let (told, _, _) = heard(&mut line, 0, 110, dialled("5", 100, 100), |_| false);
    assert_eq!(told, "55", "another one");
}

#[test]
fn they_are_listened_for_in_g711_only_and_from_any_moment_on() {
    let mut line = Line::new(OPUS, PCMU);
    line.set_format(Side::B, TONES).unwrap();
    let (told, ..) = heard(&mut line, 0, 110, dialled("42", 100, 100), |_| false);
    assert_eq!(told, "42");
    let opus = OPUS.replacen("\"receive\"", "\"receive_tones\": true, \"receive\"", 1);
    let refused = line.set_format(Side::A, &opus).unwrap_err();
    assert!(refused.message.contains("receive_tones: in pcmu and pcma only"), "{refused:?}");
}

#[test]
fn an_event_begins_where_its_tone_did_and_lasts_as_long() {
    let mut line = Line::new(OPUS, TONES);
    let mut speaker = Speaker::new(&line.arena, 0);
    let audio = dialled("159#*0D", 80, 80);
    speaker.speech = Some(audio.clone());
    let mut sent = Vec::new();
    for _ in 0..audio.len() / 160 {
        let packet = speaker.packet(160);
        sent.extend(line.hear(Side::B, &packet).unwrap_or_default());
        sent.extend(line.pass(MS_20));
    }
    let began = sent[0].header.timestamp;
    let mut ends: Vec<_> =
        events(&sent, 110).into_iter().filter(|(_, is_end, ..)| *is_end).collect();
    ends.dedup();
    assert_eq!(ends.len(), 7);
    for (n, (_, _, duration, _, timestamp)) in ends.into_iter().enumerate() {
        // In ms; each packet is of 20.
        let at = timestamp.distance(began) / 48 - 500 - 160 * n as i32;
        assert!((-1..=20).contains(&at), "digit {n} begins {at} ms late");
        let lasted = duration / 48;
        assert!((70..=90).contains(&lasted), "digit {n} lasts {lasted} ms");
    }
    // None lasts into the audio after it.
    let audio = sent.iter().filter(|packet| packet.header.payload_type.value() == 111);
    let all: Vec<_> = audio.map(|packet| packet.header.timestamp.distance(began) / 48).collect();
    assert!(all.windows(2).all(|pair| pair[1] > pair[0]));
}
