//! Silence through the whole line: what it costs, and what is heard of it.

use super::*;

/// A second of speech and two of an idle line, over and over.
fn conversation() -> Vec<i16> {
    let mut audio = crate::audio::synthetic::speech(8_000);
    audio.extend((0..16_000).map(|n| if n & 4 == 0 { 8 } else { -8 }));
    audio
}

#[test]
fn silence_from_the_trunk_is_sent_without_being_encoded() {
    let mut exchange = Exchange::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&exchange.arena, 0);
    speaker.speech = Some(conversation());
    let mut listener = Listener::new(&exchange.arena);
    let mut bytes = Vec::new();
    for _ in 0..1_500 {
        let sent = exchange.hear(Side::B, &speaker.packet(160)).unwrap();
        assert_eq!(sent.len(), 1);
        bytes.push(sent[0].payload.len());
        listener.listen(&sent);
        listener.listen(&exchange.pass(MS_20));
    }
    // Of the hundred frames of a pause ten are hangover and four or five refresh the noise.
    let (encoded, silent) = (exchange.frames.encoded, exchange.frames.silent);
    assert_eq!(encoded + silent, 1_500);
    assert!((10 * 82..=10 * 88).contains(&silent), "{silent}");
    assert_eq!(bytes.iter().filter(|bytes| **bytes == 1).count() as u64, silent);
    assert_eq!(exchange.statistics(Side::A).frames_silent, silent);
    // The speech after a pause is all there, and the hangover.
    for second in (0..30).step_by(3) {
        assert!(bytes[second * 50..second * 50 + 55].iter().all(|bytes| *bytes > 1));
    }
}

#[test]
fn toward_the_trunk_silence_is_sent_like_anything_else() {
    let mut exchange = Exchange::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&exchange.arena, 111);
    speaker.speech = Some(vec![0; 160]);
    for _ in 0..200 {
        let sent = exchange.hear(Side::A, &speaker.packet(160)).unwrap();
        assert_eq!(sent[0].payload.len(), 160);
        exchange.pass(MS_20);
    }
    assert_eq!(exchange.frames.silent, 0);
}
