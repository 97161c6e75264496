//! Silence through the whole line: what it costs, and what is heard of it.

use super::*;
use crate::audio::ladder::Rung;
use crate::audio::opus::EncoderMode;

/// A second of speech and two of an idle line, over and over.
fn conversation() -> Vec<i16> {
    let mut audio = crate::audio::synthetic::speech(8_000);
    audio.extend((0..16_000).map(|n| if n & 4 == 0 { 8 } else { -8 }));
    audio
}

#[test]
fn silence_from_the_trunk_is_sent_without_being_encoded_on_every_rung() {
    for rung in Rung::ALL {
        let settings = rung.settings();
        let mut format: serde_json::Value = serde_json::from_str(OPUS).unwrap();
        format["send"]["encoder"] = serde_json::to_value(settings).unwrap();
        let mut line = Line::new(&format.to_string(), PCMU);
        let mut speaker = Speaker::new(&line.arena, 0);
        speaker.speech = Some(conversation());
        let mut listener = Listener::new(&line.arena);
        let (mut bytes, mut is_encoded) = (Vec::new(), Vec::new());
        for _ in 0..1_500 {
            let sent = line.hear(Side::B, &speaker.packet(160)).unwrap();
            assert_eq!(sent.len(), 1);
            let payload = &sent[0].payload;
            bytes.push(payload.len());
            // Noise is SILK (RFC 6716 §3.1).
            let is_celt = payload[0] >> 3 >= 16;
            is_encoded.push(payload.len() > 1 && is_celt == (settings.mode == EncoderMode::Celt));
            listener.listen(&sent);
            listener.listen(&line.pass(MS_20));
        }
        // Of the hundred frames of a pause ten are hangover; after SILK four or five refresh the noise.
        let (encoded, silent) = (line.frames().encoded, line.frames().silent);
        assert_eq!(encoded + silent, 1_500);
        assert!((10 * 82..=10 * 92).contains(&silent), "{rung:?}: {silent}");
        let alone = bytes.iter().filter(|bytes| **bytes == 1).count();
        assert!((10 * 74..=10 * 88).contains(&alone), "{rung:?}: {alone}");
        assert_eq!(line.statistics(Side::A).frames_silent, silent);
        // The speech after a pause is all there, and the hangover.
        for second in (0..30).step_by(3) {
            assert!(is_encoded[second * 50..second * 50 + 55].iter().all(|encoded| *encoded));
        }
    }
}

#[test]
fn toward_the_trunk_silence_is_sent_like_anything_else() {
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&line.arena, 111);
    speaker.speech = Some(vec![0; 160]);
    for _ in 0..200 {
        let sent = line.hear(Side::A, &speaker.packet(160)).unwrap();
        assert_eq!(sent[0].payload.len(), 160);
        line.pass(MS_20);
    }
    assert_eq!(line.frames().silent, 0);
}
