//! Comfort noise and pauses: silence that one side leaves out, as the other hears it.

use super::*;
use crate::audio::ladder::Rung;
use crate::wire::comfort_noise::NoiseLevel;
use crate::wire::red::RedPayload;

/// A trunk that sends comfort noise, and is sent it.
fn with_noise(format: &str) -> String {
    let noise = r#"], "send_comfort_noise": 13, "receive_comfort_noise": [13], "send_events""#;
    format.replacen("],\n    \"send_events\"", noise, 1)
}

fn noise(speaker: &mut Speaker, level: u8) -> Vec<u8> {
    let audio = speaker.header.payload_type;
    speaker.header.payload_type = PayloadType::new(13).unwrap();
    let packet = speaker.raw(&[level]);
    speaker.header.sequence_number = speaker.header.sequence_number.next();
    speaker.header.payload_type = audio;
    packet
}

fn level_db(pcm: &[i16]) -> u8 {
    NoiseLevel::of(pcm).to_byte()
}

/// The leg on a fixed rung, as the controller can choose it.
fn on_rung(rung: Rung) -> String {
    let mut format: serde_json::Value = serde_json::from_str(OPUS).unwrap();
    format["send"]["encoder"] = serde_json::to_value(rung.settings()).unwrap();
    if rung.redundancy() {
        format["send"]["redundancy"] = serde_json::json!({"payload_type": 63});
    }
    format.to_string()
}

#[test]
fn a_trunks_comfort_noise_is_heard_by_the_browser_at_its_level_and_nothing_is_encoded() {
    for (rung, level) in Rung::ALL.into_iter().flat_map(|rung| [40, 50, 60].map(|db| (rung, db))) {
        let mut line = Line::new(&on_rung(rung), &with_noise(PCMU));
        let mut speaker = Speaker::new(&line.arena, 0);
        speaker.speech = Some(crate::audio::synthetic::speech(80_000));
        // What a browser does: it plays at its own clock, and its decoder goes on by itself.
        let mut decoder = line.arena.decoder().unwrap();
        let mut heard = Vec::new();
        let mut play = |sent: &[Sent]| {
            let mut pcm = [0; 160];
            match sent {
                [] => decoder.conceal(&mut pcm),
                all => all.iter().for_each(|packet| {
                    let payload = match packet.header.payload_type.value() {
                        63 => RedPayload::parse(&packet.payload).unwrap().payload,
                        _ => &packet.payload,
                    };
                    decoder.decode(payload, &mut pcm).unwrap();
                }),
            }
            heard.extend(pcm);
        };
        for _ in 0..100 {
            let sent = line.hear(Side::B, &speaker.packet(160)).unwrap();
            line.pass(MS_20);
            play(&sent);
        }
        let before = line.frames();
        let packet = noise(&mut speaker, level);
        let mut sent = line.hear(Side::B, &packet).unwrap();
        let mut all = Vec::new();
        for _ in 0..100 {
            play(&sent);
            all.append(&mut sent);
            sent.extend(line.pass(MS_20));
        }
        // Two seconds of noise: eleven packets at its beginning, then a frame and a byte four times.
        assert_eq!(line.frames().encoded, before.encoded);
        assert_eq!(line.frames().silent - before.silent, all.len() as u64);
        assert!((19..=20).contains(&all.len()), "{}", all.len());
        // The first two packets are on their way down from the speech.
        let levels: Vec<_> = heard[102 * 160..].chunks(1_600).map(level_db).collect();
        assert!(levels.iter().all(|heard| heard.abs_diff(level) <= 3), "{rung:?}: {levels:?}");
        // Speech goes on at its place, with no packet missing in the sequence.
        speaker.silence(100 * 160);
        let last = all.last().unwrap().header;
        let after = line.hear(Side::B, &speaker.packet(160)).unwrap();
        assert_eq!(after.len(), 1);
        assert_eq!(after[0].header.sequence_number, last.sequence_number.next());
        assert!(after[0].header.marker && !last.marker, "a talkspurt begins");
        let position = after[0].header.timestamp.distance(all[0].header.timestamp);
        assert!(position.abs_diff(100 * 960) <= 960, "{position}");
        assert_eq!(line.statistics(Side::B).packets_of_silence, 1);
        assert!(line.pass(Duration::from_secs(2)).is_empty(), "the noise has ended");
    }
}

#[test]
fn noise_that_a_trunk_tells_again_and_again_does_not_run_ahead_of_time() {
    let mut line = Line::new(OPUS, &with_noise(PCMU));
    let mut speaker = Speaker::new(&line.arena, 0);
    let mut sent = line.hear(Side::B, &speaker.packet(160)).unwrap();
    sent.extend(line.pass(MS_20));
    for n in 0..200 {
        let level = if n < 100 { 50 } else { 45 + n % 10 };
        let packet = noise(&mut speaker, level);
        sent.extend(line.hear(Side::B, &packet).unwrap());
        sent.extend(line.pass(MS_20 / 2));
        speaker.silence(80);
    }
    sent.extend(line.hear(Side::B, &speaker.packet(160)).unwrap());
    for packet in &sent {
        let passed = (packet.at - sent[0].at).as_millis() as u32 * 48;
        let played = packet.header.timestamp.distance(sent[0].header.timestamp);
        assert!(played.abs_diff(passed as i32) <= 960, "{played} of {passed}");
    }
    // While it stays the same it costs no more than told once.
    let first = sent.iter().filter(|packet| packet.at - sent[0].at < MS_20 * 50).count();
    assert!((14..=18).contains(&first), "{first}");
}

#[test]
fn comfort_noise_between_trunks_is_played_or_told() {
    for (to, told) in [(PCMU.to_owned(), false), (with_noise(PCMU), true)] {
        let mut line = Line::new(&with_noise(PCMU), &to);
        let mut speaker = Speaker::new(&line.arena, 0);
        let mut sent = line.hear(Side::A, &speaker.packet(160)).unwrap();
        sent.extend(line.pass(MS_20));
        for level in [50, 51, 60] {
            let packet = noise(&mut speaker, level);
            sent.extend(line.hear(Side::A, &packet).unwrap());
            sent.extend(line.pass(MS_20 * 10));
            speaker.silence(10 * 160);
        }
        if told {
            let levels: Vec<_> = sent[1..].iter().map(|packet| packet.payload.clone()).collect();
            assert_eq!(levels, [[50], [60]], "what changes by a decibel is not told");
            assert!(sent[1..].iter().all(|packet| packet.header.payload_type.value() == 13));
        } else {
            let mut listener = Listener::new(&line.arena);
            listener.listen(&sent);
            assert!((31..=34).contains(&sent.len()), "{}", sent.len());
            assert!(level_db(&listener.pcm[5 * 160..10 * 160]).abs_diff(50) <= 2);
            assert!(level_db(&listener.pcm[25 * 160..30 * 160]).abs_diff(60) <= 3);
        }
    }
}

#[test]
fn a_paced_trunk_hears_noise_in_every_packet_of_a_pause() {
    let paced = r#", "playout": {"kind": "paced", "least_ms": 20, "most_ms": 200}},"#;
    let mut line = Line::new(&with_noise(PCMU), &PCMU.replacen("},", paced, 1));
    let mut speaker = Speaker::new(&line.arena, 0);
    let mut sent = Vec::new();
    for _ in 0..50 {
        sent.extend(line.hear(Side::A, &speaker.packet(160)).unwrap());
        sent.extend(line.pass(MS_20));
    }
    let packet = noise(&mut speaker, 45);
    sent.extend(line.hear(Side::A, &packet).unwrap());
    sent.extend(line.pass(MS_20 * 50));
    let mut listener = Listener::new(&line.arena);
    listener.listen(&sent);
    assert!((98..=100).contains(&sent.len()));
    assert!(level_db(&listener.pcm[60 * 160..95 * 160]).abs_diff(45) <= 1);
}

#[test]
fn a_browsers_pause_is_told_to_a_trunk_that_makes_the_noise_and_played_to_others() {
    for (to, told) in [(PCMU.to_owned(), false), (with_noise(PCMU), true)] {
        let mut line = Line::new(OPUS, &to);
        let mut speaker = Speaker::new(&line.arena, 111);
        speaker.speech = Some(crate::audio::synthetic::speech(80_000));
        let mut sent = Vec::new();
        let mut toc = 0;
        for n in 0..150 {
            let mut packet = speaker.packet(160);
            if (50..100).contains(&n) {
                packet.truncate(13); // the first byte of the payload
                packet[12] = toc;
            }
            toc = packet[12] & 0xFC;
            sent.extend(line.hear(Side::A, &packet).unwrap());
            sent.extend(line.pass(MS_20));
        }
        assert_eq!(line.statistics(Side::A).packets_of_silence, 50);
        assert_eq!(line.statistics(Side::A).frames_concealed, 0, "a pause is no loss");
        let noise = |packet: &&Sent| packet.header.payload_type.value() == 13;
        let levels = sent.iter().filter(noise).count();
        let audio = sent.len() - levels;
        if told {
            assert!((1..=20).contains(&levels), "{levels}");
            assert_eq!(audio, 100);
            assert!(noise(&&sent[50]), "told at once");
        } else {
            assert_eq!((audio, levels), (150, 0));
        }
        // What follows the pause is at its place, and begins a talkspurt if there was one.
        let last = &sent[sent.len() - 50];
        assert_eq!(last.header.timestamp.distance(sent[0].header.timestamp), 100 * 160);
        assert_eq!(last.header.marker, told);
    }
}

/// A browser with DTX: 200 ms of the silence, then it tells that it pauses, and every 400 ms how the
/// noise sounds. Each packet comes so late.
fn pause(line: &mut Line, speaker: &mut Speaker, packets: u64, late: Duration) -> Vec<Sent> {
    let mut sent = Vec::new();
    for n in 0..packets {
        let number = speaker.header.sequence_number;
        let mut packet = speaker.packet(160);
        match n % 20 {
            10 => packet.truncate(13), // the first byte of the payload
            9 => {}
            _ if n < 9 => {}
            _ => {
                speaker.header.sequence_number = number; // it was not sent
                sent.extend(line.pass(MS_20));
                continue;
            }
        }
        sent.extend(line.pass(late));
        sent.extend(line.hear(Side::A, &packet).unwrap());
        sent.extend(line.pass(MS_20 - late));
    }
    sent
}

#[test]
fn a_trunk_hears_the_pauses_of_a_browser_with_dtx_without_a_hole() {
    const SPEECH: usize = 50;
    const PAUSE: usize = 45;
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&line.arena, 111);
    // Speech, and the noise of the room in all of it.
    let mut said = crate::audio::synthetic::speech(SPEECH * 160);
    said.resize((SPEECH + PAUSE) * 160, 0);
    let mut noise = vec![0; said.len()];
    crate::audio::noise::NoiseSource::default().fill(NoiseLevel::new(55), &mut noise);
    said.iter_mut().zip(noise).for_each(|(said, noise)| *said += noise);
    speaker.speech = Some(said);
    let mut listener = Listener::new(&line.arena);
    let mut all = Vec::new();
    for round in 0..60 {
        for _ in 0..SPEECH {
            all.extend(line.hear(Side::A, &speaker.packet(160)).unwrap());
            all.extend(line.pass(MS_20));
        }
        let late = Duration::from_millis(round % 4 * 5);
        all.extend(pause(&mut line, &mut speaker, PAUSE as u64, late));
    }
    // Neither a hole nor a slip, and no more time than passed.
    listener.listen(&all);
    assert!(all.len().abs_diff(60 * (SPEECH + PAUSE)) <= 2, "{}", all.len());
    assert!(all.windows(2).all(|pair| pair[1].at - pair[0].at <= MS_20 * 2));
    for packet in &all {
        let passed = (packet.at - all[0].at).as_micros() as i32 / 125;
        let played = packet.header.timestamp.distance(all[0].header.timestamp);
        assert!(played.abs_diff(passed) <= 480, "{played} of {passed}");
    }
    for round in listener.pcm.chunks_exact((SPEECH + PAUSE) * 160).skip(5) {
        // Past the decoder's delay, up to where the lateness moves the speech after it.
        let pause = &round[(SPEECH + 12) * 160..(SPEECH + PAUSE - 3) * 160];
        let levels: Vec<_> = pause.chunks_exact(800).map(level_db).collect();
        assert!(levels.iter().all(|level| (49..=72).contains(level)), "{levels:?}");
    }
    assert_eq!(line.statistics(Side::A).frames_concealed, 0, "a pause is no loss");
}

#[test]
fn a_browser_that_is_gone_in_a_pause_is_silent_in_the_end() {
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&line.arena, 111);
    pause(&mut line, &mut speaker, 11, Duration::ZERO);
    let sent = line.pass(Duration::from_secs(10));
    assert_eq!(sent.len(), 60, "1,200 ms of it");
}
