//! What is played toward a leg, through the whole line: heard whatever the other leg says or lacks, and at
//! its time.

use super::*;
use crate::audio::sound::{Recording, Sound, Times, Tone};
use crate::audio::synthetic::speech;
use crate::control::message::{Direction, ErrorCode, PlayEnd};
use crate::wire::red::RedPayload;

const PLAYED_HZ: u16 = 1_000;

fn tone(on_off_ms: &[(u16, u16)], times: Times) -> Sound {
    Sound::tone(Tone { hz: &[PLAYED_HZ], on_off_ms, level_dbov: -20 }, times)
}

/// A recording, and what G.711 makes of it.
fn recording(samples: usize) -> (Recording, Vec<i16>) {
    let pcm = speech(samples);
    let (mut codes, mut coded) = (vec![0; samples], vec![0; samples]);
    g711::encode(Law::Mu, &pcm, &mut codes);
    g711::decode(Law::Mu, &codes, &mut coded);
    (Recording::new(pcm).unwrap(), coded)
}

fn play_ended(leg: Side, why: PlayEnd) -> Event {
    Event::PlayEnded { call: "call".into(), leg, why }
}

impl Line {
    fn play(&mut self, toward: Side, sound: Sound) -> Result<(), ControlError> {
        let command = Command::Play(self.key, toward, Box::new(sound));
        self.rig.borrow_mut().command(command).map(|_| ())
    }

    fn stop_playing(&mut self, toward: Side) {
        self.rig.borrow_mut().command(Command::StopPlaying(self.key, toward)).unwrap();
        self.sent();
    }

    /// The far end of a leg speaks for so many packets; what the other leg was sent meanwhile.
    fn talk(&mut self, from: Side, speaker: &mut Speaker, packets: usize) -> Vec<Sent> {
        let mut sent = Vec::new();
        for _ in 0..packets {
            sent.extend(self.hear(from, &speaker.packet(160)).unwrap());
            sent.extend(self.pass(MS_20));
        }
        sent
    }

    fn ends(&self) -> Vec<PlayEnd> {
        let ended = self.events.iter().filter_map(|event| match event {
            Event::PlayEnded { why, .. } => Some(*why),
            _ => None,
        });
        ended.collect()
    }
}

fn level_dbov(pcm: &[i16]) -> f64 {
    let energy: f64 = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    10.0 * (energy / pcm.len() as f64 / 32_768_f64.powi(2) + 1e-12).log10()
}

/// The share of the energy that lies at a frequency.
fn share_at(pcm: &[i16], hz: f64) -> f64 {
    let (mut i, mut q, mut all) = (0.0, 0.0, 1e-9);
    for (n, sample) in pcm.iter().enumerate() {
        let (sine, cosine) = (n as f64 * hz * std::f64::consts::TAU / 8_000.0).sin_cos();
        let sample = f64::from(*sample);
        (i, q, all) = (i + sample * cosine, q + sample * sine, all + sample * sample);
    }
    2.0 * (i * i + q * q) / (pcm.len() as f64 * all)
}

/// One packet of this length after the other, from the first to the last.
fn assert_even(sent: &[Sent], interval: Duration) {
    for pair in sent.windows(2) {
        assert_eq!(pair[1].at - pair[0].at, interval);
    }
}

/// The formats of a leg's far end and of the other one, and what the other one speaks: transcoded in
/// both directions, passed as it is, G.711 on both sides.
const WAYS: [(&str, &str, u8); 4] =
    [(OPUS, PCMU, 0), (PCMU, OPUS, 111), (OPUS, OPUS, 111), (PCMU, PCMU, 0)];

#[test]
fn a_tone_is_heard_in_place_of_the_other_leg_and_in_its_cadence() {
    for (toward, other, payload_type) in WAYS {
        let mut line = Line::new(toward, other);
        let mut speaker = Speaker::new(&line.arena, payload_type);
        let mut listener = Listener::new(&line.arena);
        listener.listen(&line.talk(Side::B, &mut speaker, 25));
        line.play(Side::A, tone(&[(300, 200)], Times::ForEver)).unwrap();
        let discarded = line.statistics(Side::B).discards.total();
        let sent = line.talk(Side::B, &mut speaker, 100);
        assert_eq!(sent.len(), 101, "from the first to the last moment");
        assert_even(&sent, MS_20);
        assert!(sent[0].header.marker, "a talkspurt begins");
        assert!(sent[1..].iter().all(|packet| !packet.header.marker));
        listener.listen(&sent);
        let discards = line.statistics(Side::B).discards;
        assert_eq!(discards.of(Discard::DuringPlay), 100, "counted where it is heard");
        assert_eq!(discards.total() - discarded, 100);

        line.stop_playing(Side::A);
        assert_eq!(line.ends(), [PlayEnd::Stopped]);
        let after = line.talk(Side::B, &mut speaker, 50);
        assert_eq!(after.len(), 50);
        listener.listen(&after);
        // Codecs are a few milliseconds late.
        let played = &listener.pcm[25 * 160 + 80..];
        for beat in 0..4 {
            let at = |ms: usize| &played[(beat * 500 + ms) * 8..];
            assert!((level_dbov(&at(20)[..260 * 8]) + 20.0).abs() < 1.0, "{toward} {beat}");
            assert!(share_at(&at(20)[..260 * 8], f64::from(PLAYED_HZ)) > 0.9, "{toward} {beat}");
            assert!(level_dbov(&at(340)[..140 * 8]) < -50.0, "{toward} {beat}");
        }
        // A relayed packet leans on what its encoder sent before, and the decoder heard a sound then:
        // Opus takes a while to follow.
        let back = share_at(&listener.pcm[136 * 160..], TONE_HZ);
        assert!(back > 0.6, "{other} is back toward {toward}: {back}");
    }
}

#[test]
fn a_tone_is_heard_while_the_other_leg_says_nothing_or_has_no_format_yet() {
    for (format, is_known) in [(OPUS, true), (OPUS, false), (PCMU, true), (PCMU, false)] {
        let mut other = new_leg(Side::B, PCMU);
        if !is_known {
            other.parameters.format = None;
        }
        let mut line = Line::of_legs([new_leg(Side::A, format), other]);
        line.pass(Duration::from_millis(1_234));
        line.play(Side::A, tone(&[(60_000, 0)], Times::ForEver)).unwrap();
        let mut listener = Listener::new(&line.arena);
        let sent = line.pass(Duration::from_secs(2));
        assert_eq!(sent.len(), 101);
        assert_even(&sent, MS_20);
        assert!(sent.iter().all(|packet| packet.to == theirs(0)));
        listener.listen(&sent);
        // The other leg gets its format, and speaks when the tone is over.
        line.set_format(Side::B, PCMU).unwrap();
        listener.listen(&line.pass(MS_20));
        line.stop_playing(Side::A);
        let mut speaker = Speaker::new(&line.arena, 0);
        listener.listen(&line.talk(Side::B, &mut speaker, 50));
        let (played, after) = listener.pcm.split_at(102 * 160);
        assert!(share_at(&played[800..], f64::from(PLAYED_HZ)) > 0.9, "{format}");
        assert!(share_at(&after[800..], TONE_HZ) > 0.9, "{format}");
    }
}

#[test]
fn what_cannot_be_sent_yet_begins_once_it_can() {
    let (recording, coded) = recording(8_000);
    let mut leg = new_leg(Side::A, PCMU);
    leg.parameters.format = None;
    leg.parameters.transport = Transport::Plain(PlainTransport::default());
    let mut line = Line::of_legs([leg, new_leg(Side::B, OPUS)]);
    line.play(Side::A, Sound::recording(recording, Times::Of(1))).unwrap();
    assert!(line.pass(Duration::from_secs(10)).is_empty());
    line.set_format(Side::A, PCMU).unwrap();
    assert!(line.pass(Duration::from_secs(10)).is_empty(), "there is no address");
    let change = LegChange { remote: Some(theirs(0)), ..LegChange::default() };
    line.update(Side::A, change).unwrap();
    let sent = line.pass(Duration::from_secs(2));
    let mut listener = Listener::new(&line.arena);
    listener.listen(&sent);
    assert_eq!(listener.pcm, coded, "from its beginning to its end");
    assert!(sent[0].header.marker);
    assert!(line.has_told(&play_ended(Side::A, PlayEnd::Finished)));
}

#[test]
fn a_recording_is_heard_as_often_as_was_asked_and_its_end_is_told_at_its_time() {
    for times in [1, 3] {
        let (recording, coded) = recording(8_080);
        let mut line = Line::new(PCMU, OPUS);
        line.play(Side::A, Sound::recording(recording, Times::Of(times))).unwrap();
        let mut listener = Listener::new(&line.arena);
        let lasts = Duration::from_millis(1_010) * u32::from(times);
        listener.listen(&line.pass(lasts - Duration::from_millis(1)));
        assert!(line.ends().is_empty());
        // The last packet lasts to its own end.
        listener.listen(&line.pass(MS_20));
        assert_eq!(line.ends(), [PlayEnd::Finished]);
        let all = coded.repeat(times.into());
        assert_eq!(listener.pcm[..all.len()], all);
        assert!(listener.pcm[all.len()..].iter().all(|sample| *sample == 0));
        assert_eq!(listener.pcm.len(), all.len().next_multiple_of(160));
        assert!(line.pass(Duration::from_millis(500)).is_empty());
    }
}

#[test]
fn another_sound_takes_the_place_of_one_at_its_next_packet() {
    for format in [OPUS, PCMU] {
        let mut line = Line::new(format, PCMU);
        let mut listener = Listener::new(&line.arena);
        let first = Tone { hz: &[400], on_off_ms: &[(60_000, 0)], level_dbov: -20 };
        line.play(Side::A, Sound::tone(first, Times::ForEver)).unwrap();
        let mut sent = line.pass(Duration::from_millis(1_007));
        let free = line.arena.free();
        line.play(Side::A, tone(&[(60_000, 0)], Times::ForEver)).unwrap();
        assert_eq!(line.arena.free(), free, "it has its encoder");
        sent.extend(line.pass(Duration::from_millis(1_000)));
        assert_even(&sent, MS_20);
        assert_eq!(line.ends(), [PlayEnd::Replaced]);
        listener.listen(&sent);
        let (first, second) = listener.pcm.split_at(51 * 160);
        assert!(share_at(&first[160..], 400.0) > 0.9 && share_at(&second[400..], 1_000.0) > 0.9);
    }
}

#[test]
fn both_legs_can_be_played_to_at_once_and_each_ends_by_itself() {
    for (a, b, _) in WAYS {
        let mut line = Line::new(a, b);
        line.play(Side::A, tone(&[(100, 0)], Times::Of(2))).unwrap();
        line.play(Side::B, tone(&[(100, 100)], Times::Of(2))).unwrap();
        let sent = line.pass(Duration::from_secs(1));
        for (socket, packets) in [(0, 10), (2, 20)] {
            let toward: Vec<_> = sent.iter().filter(|packet| packet.socket == socket).collect();
            assert_eq!(toward.len(), packets);
        }
        for side in Side::BOTH {
            assert!(line.has_told(&play_ended(side, PlayEnd::Finished)));
        }
        assert_eq!(line.ends().len(), 2);
        let free = line.arena.free().1;
        assert_eq!(free, if a == b { 12 } else { 11 }, "only the call's own encoder is left");
    }
}

#[test]
fn a_leg_that_is_replaced_is_played_to_no_longer_and_the_other_one_still_is() {
    let mut line = Line::new(OPUS, PCMU);
    line.play(Side::A, tone(&[(60_000, 0)], Times::ForEver)).unwrap();
    line.play(Side::B, tone(&[(60_000, 0)], Times::ForEver)).unwrap();
    line.pass(Duration::from_secs(1));
    let mut leg = new_leg(Side::A, OPUS);
    leg.sockets = Some([6, 7].map(|socket| BoundSocket::made_up(ours(socket))));
    let replace = Command::Replace(line.key, Side::A, Box::new(leg));
    line.rig.borrow_mut().command(replace).unwrap();
    let sent = line.pass(Duration::from_secs(1));
    assert_eq!(line.ends(), [PlayEnd::LegReplaced]);
    assert!(line.has_told(&play_ended(Side::A, PlayEnd::LegReplaced)));
    assert!(sent.len() == 50 && sent.iter().all(|packet| packet.socket == 2));
}

#[test]
fn stopping_what_is_not_played_does_nothing() {
    let mut line = Line::new(OPUS, PCMU);
    line.stop_playing(Side::A);
    assert!(line.ends().is_empty());
}

#[test]
fn a_digit_of_the_controller_passes_and_the_recording_waits_for_it() {
    let (recording, coded) = recording(16_000);
    let mut line = Line::new(PCMU, OPUS);
    line.play(Side::A, Sound::recording(recording, Times::Of(1))).unwrap();
    let mut all = line.pass(Duration::from_millis(500));
    line.dial(Side::A, '5', 200);
    all.extend(line.pass(Duration::from_secs(3)));
    assert_passes(&all, '5', &coded);
    assert_eq!(line.ends(), [PlayEnd::Finished]);
}

#[test]
fn a_digit_of_the_other_leg_passes_and_the_recording_waits_for_it() {
    for playout in [PCMU.to_owned(), paced(PCMU)] {
        let (recording, coded) = recording(16_000);
        let mut line = Line::new(&playout, OPUS);
        let mut speaker = Speaker::new(&line.arena, 111);
        line.play(Side::A, Sound::recording(recording, Times::Of(1))).unwrap();
        let mut all = line.talk(Side::B, &mut speaker, 25);
        speaker.header.payload_type = PayloadType::new(110).unwrap();
        for n in 1..=8_u32 {
            let packet = event('7', n >= 6, (n.min(6) * 960) as u16);
            all.extend(line.hear(Side::B, &speaker.raw(&packet)).unwrap());
            speaker.header.sequence_number = speaker.header.sequence_number.next();
            all.extend(line.pass(if n < 6 { MS_20 } else { Duration::ZERO }));
        }
        all.extend(line.pass(Duration::from_secs(3)));
        assert_passes(&all, '7', &coded);
        assert!(line.has_told(&digit_ended(Side::B, '7', 120)));
    }
}

/// The digit was sent among the audio, of which nothing is missing and which keeps its time.
fn assert_passes(sent: &[Sent], digit: char, coded: &[i16]) {
    let digits = events(sent, 101);
    assert!(digits.len() >= 5 && digits.iter().all(|event| event.0 == digit));
    assert_eq!(digits.iter().filter(|event| event.1).count(), 3);
    let numbers = sent.iter().map(|packet| packet.header.sequence_number);
    assert!(numbers.clone().zip(numbers.skip(1)).all(|(one, next)| next == one.next()));
    let audio: Vec<_> =
        sent.iter().filter(|packet| packet.header.payload_type == PayloadType::PCMU).collect();
    let mut pcm = Vec::new();
    for packet in &audio {
        let mut part = [0; 160];
        g711::decode(Law::Mu, &packet.payload, &mut part);
        pcm.extend_from_slice(&part);
        let passed = (packet.at - audio[0].at).as_micros() as i32 / 125;
        assert_eq!(packet.header.timestamp.distance(audio[0].header.timestamp), passed);
    }
    // A paced leg is sent what there is when the recording is over: nothing.
    let (pcm, after) = pcm.split_at(coded.len());
    assert!(pcm == coded && after.iter().all(|sample| *sample == 0));
    let gaps = audio.windows(2).filter(|pair| pair[1].at - pair[0].at > MS_20);
    assert_eq!(gaps.inspect(|pair| assert!(pair[1].header.marker)).count(), 1);
}

#[test]
fn a_leg_that_is_not_sent_to_stays_silent_and_the_recording_waits() {
    let (recording, coded) = recording(8_000);
    let mut line = Line::new(PCMU, OPUS);
    line.play(Side::A, Sound::recording(recording, Times::Of(1))).unwrap();
    let mut sent = line.pass(Duration::from_millis(490));
    for direction in [Direction::RecvOnly, Direction::Inactive] {
        let change = LegChange { direction: Some(direction), ..LegChange::default() };
        line.update(Side::A, change).unwrap();
        assert!(line.pass(Duration::from_secs(5)).is_empty());
    }
    let change = LegChange { direction: Some(Direction::SendRecv), ..LegChange::default() };
    line.update(Side::A, change).unwrap();
    sent.extend(line.pass(Duration::from_secs(1)));
    let decode = |packet: &Sent| {
        let mut pcm = [0; 160];
        g711::decode(Law::Mu, &packet.payload, &mut pcm);
        pcm
    };
    assert_eq!(sent.iter().flat_map(decode).collect::<Vec<_>>(), coded);
    let after = sent[25].header;
    assert!(after.marker);
    let passed = (sent[25].at - sent[0].at).as_micros() as i32 / 125;
    assert_eq!(after.timestamp.distance(sent[0].header.timestamp), passed);
}

fn paced(format: &str) -> String {
    let playout = r#", "playout": {"kind": "paced", "least_ms": 20, "most_ms": 200}},"#;
    format.replacen("},", playout, 1)
}

#[test]
fn an_evenly_spaced_leg_is_sent_a_packet_at_every_tick_before_during_and_after() {
    for (toward, other, payload_type) in [(paced(OPUS), PCMU, 0), (paced(PCMU), OPUS, 111)] {
        for offset_ms in [0, 7, 13] {
            let mut line = Line::new(&toward, other);
            let mut speaker = Speaker::new(&line.arena, payload_type);
            let mut listener = Listener::new(&line.arena);
            let mut sent = line.talk(Side::B, &mut speaker, 50);
            sent.extend(line.pass(Duration::from_millis(offset_ms)));
            line.play(Side::A, tone(&[(60_000, 0)], Times::ForEver)).unwrap();
            sent.extend(line.talk(Side::B, &mut speaker, 50));
            line.stop_playing(Side::A);
            sent.extend(line.talk(Side::B, &mut speaker, 50));
            // Ends by itself, too.
            line.play(Side::A, tone(&[(500, 0)], Times::Of(1))).unwrap();
            sent.extend(line.talk(Side::B, &mut speaker, 75));
            assert_eq!(line.ends(), [PlayEnd::Stopped, PlayEnd::Finished]);
            assert_even(&sent, MS_20);
            listener.listen(&sent);
            let played = &listener.pcm[52 * 160..98 * 160];
            assert!(share_at(played, f64::from(PLAYED_HZ)) > 0.9);
            assert!(share_at(&listener.pcm[105 * 160..145 * 160], TONE_HZ) > 0.9);
            assert!(share_at(&listener.pcm[180 * 160..], TONE_HZ) > 0.9);
        }
    }
}

#[test]
fn time_does_not_slip_wherever_in_a_packet_a_sound_begins_and_ends() {
    for (toward, other, payload_type) in WAYS {
        for (begins_ms, ends_ms) in [(1, 1), (7, 13), (19, 2)] {
            let mut line = Line::new(toward, other);
            let mut speaker = Speaker::new(&line.arena, payload_type);
            let mut all = line.talk(Side::B, &mut speaker, 10);
            for _ in 0..20 {
                // Between two packets that come every 20 ms.
                for (ms, is_begin) in [(begins_ms, true), (ends_ms, false)] {
                    all.extend(line.hear(Side::B, &speaker.packet(160)).unwrap());
                    all.extend(line.pass(Duration::from_millis(ms)));
                    if is_begin {
                        line.play(Side::A, tone(&[(60_000, 0)], Times::ForEver)).unwrap();
                    } else {
                        line.stop_playing(Side::A);
                    }
                    all.extend(line.pass(MS_20 - Duration::from_millis(ms)));
                    all.extend(line.talk(Side::B, &mut speaker, 5));
                }
            }
            let (first, last) = (&all[0], &all[all.len() - 1]);
            let clock = if toward == OPUS { 6 } else { 1 };
            let passed = (last.at - first.at).as_micros() as i32 / 125;
            let told = last.header.timestamp.distance(first.header.timestamp) / clock;
            assert!((-160..=320).contains(&(told - passed)), "{told} after {passed}");
            let numbers = all.iter().map(|packet| packet.header.sequence_number);
            assert!(numbers.clone().zip(numbers.skip(1)).all(|(one, next)| next == one.next()));
            let stamps = all.iter().map(|packet| packet.header.timestamp);
            assert!(stamps.clone().zip(stamps.skip(1)).all(|(one, next)| next.distance(one) > 0));
        }
    }
}

#[test]
fn a_sound_goes_on_in_the_new_format_of_the_leg() {
    for (before, after) in [
        (PCMU, with_packet_ms(OPUS, 40)),
        (OPUS, with_packet_ms(PCMU, 60)),
        (PCMU, with_packet_ms(PCMU, 10)),
    ] {
        let mut line = Line::new(before, PCMU);
        line.play(Side::A, tone(&[(60_000, 0)], Times::ForEver)).unwrap();
        let mut listener = Listener::new(&line.arena);
        listener.listen(&line.pass(Duration::from_millis(990)));
        line.set_format(Side::A, &after).unwrap();
        listener.last = None;
        let sent = line.pass(Duration::from_secs(1));
        let interval = sent[2].at - sent[1].at;
        assert_even(&sent[1..], interval);
        listener.listen(&sent);
        assert_eq!(listener.pcm.len() / 8, 1_000 + sent.len() * interval.as_millis() as usize);
        assert!(share_at(&listener.pcm[800..7_800], f64::from(PLAYED_HZ)) > 0.9);
        assert!(share_at(&listener.pcm[8_400..], f64::from(PLAYED_HZ)) > 0.9);
        assert!(line.ends().is_empty());
    }
}

#[test]
fn a_stall_of_ours_is_not_made_up_for() {
    let (recording, coded) = recording(8_000);
    let mut line = Line::new(PCMU, OPUS);
    line.play(Side::A, Sound::recording(recording, Times::Of(1))).unwrap();
    let mut sent = line.pass(Duration::from_millis(490));
    line.rig.borrow_mut().pause(Duration::from_secs(5));
    line.now = line.rig.borrow().now;
    let after = line.pass(Duration::from_millis(1));
    assert!(after.len() <= 1, "{}", after.len());
    sent.extend(after);
    sent.extend(line.pass(Duration::from_secs(1)));
    assert_eq!(sent.len(), 50);
    let passed = sent[49].header.timestamp.distance(sent[0].header.timestamp);
    assert!((8_000 + 40_000 - 480..=8_000 + 40_000).contains(&passed), "{passed}");
    let mut listener = Listener::new(&line.arena);
    listener.listen(&sent[25..]);
    assert_eq!(listener.pcm, coded[4_000..]);
}

#[test]
fn noise_of_the_other_leg_is_not_heard_beside_a_sound() {
    let noise =
        PCMU.replacen("\"send_events\"", "\"receive_comfort_noise\": [13], \"send_events\"", 1);
    for toward in [OPUS, PCMU] {
        let mut line = Line::new(toward, &noise);
        let mut speaker = Speaker::new(&line.arena, 0);
        line.talk(Side::B, &mut speaker, 10);
        speaker.header.payload_type = PayloadType::new(13).unwrap();
        line.hear(Side::B, &speaker.raw(&[50])).unwrap();
        assert!(!line.pass(Duration::from_millis(500)).is_empty(), "there is noise");
        line.play(Side::A, tone(&[(60_000, 0)], Times::ForEver)).unwrap();
        let sent = line.pass(Duration::from_secs(1));
        assert!((50..=51).contains(&sent.len()), "none beside it: {}", sent.len());
        assert_even(&sent, MS_20);
        let mut listener = Listener::new(&line.arena);
        listener.listen(&sent);
        assert!(share_at(&listener.pcm[320..], f64::from(PLAYED_HZ)) > 0.9);
    }
}

#[test]
fn a_sound_is_repeated_for_a_far_end_that_understands_red() {
    let red = OPUS.replacen("111}", "111, \"redundancy\": {\"payload_type\": 63}}", 1);
    for other in [OPUS, PCMU] {
        let mut line = Line::new(&red, other);
        line.play(Side::A, tone(&[(60_000, 0)], Times::ForEver)).unwrap();
        let sent = line.pass(Duration::from_secs(1));
        let mut before: Option<Vec<u8>> = None;
        for packet in &sent[1..] {
            assert_eq!(packet.header.payload_type.value(), 63);
            let parsed = RedPayload::parse(&packet.payload).unwrap();
            let copy = parsed.redundant().next().unwrap();
            assert!(before.as_deref().is_none_or(|before| before == copy.payload));
            before = Some(parsed.payload.to_vec());
        }
    }
}

#[test]
fn a_sound_that_finds_no_codec_state_is_refused_and_changes_nothing() {
    let mut line = Line::new(OPUS, PCMU);
    let mut taken = Vec::new();
    while let Ok(encoder) = line.arena.encoder(EncoderSettings::default()) {
        taken.push(encoder);
    }
    let refused = line.play(Side::A, tone(&[(60_000, 0)], Times::ForEver)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NoCapacity);
    let mut speaker = Speaker { encoder: None, ..Speaker::new(&OpusArena::new(1).unwrap(), 0) };
    assert_eq!(line.talk(Side::B, &mut speaker, 10).len(), 10);
    // G.711 needs none.
    line.play(Side::B, tone(&[(60_000, 0)], Times::ForEver)).unwrap();
    assert_eq!(line.pass(Duration::from_secs(1)).len(), 51);
    // The leg's new format would need one: refused, and it goes on in the old one.
    assert_eq!(line.set_format(Side::B, OPUS).unwrap_err().code, ErrorCode::NoCapacity);
    assert_eq!(line.pass(Duration::from_secs(1)).len(), 50);
    drop(taken);
    line.play(Side::A, tone(&[(60_000, 0)], Times::ForEver)).unwrap();
    assert!(line.pass(Duration::from_secs(1)).len() > 100);
}

#[test]
fn silence_is_heard_in_place_of_the_other_leg() {
    let mut line = Line::new(PCMU, OPUS);
    let mut speaker = Speaker::new(&line.arena, 111);
    line.play(Side::A, Sound::silence()).unwrap();
    let sent = line.talk(Side::B, &mut speaker, 100);
    assert_eq!(sent.len(), 101);
    assert!(sent.iter().all(|packet| packet.payload == [g711::silence(Law::Mu); 160]));
}
