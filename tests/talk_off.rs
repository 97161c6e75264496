//! Talk-off: half an hour of people speaking has no digits in it (ITU-T Q.24). The speech is Debian's
//! telephone announcements, which are spoken by a person and cut for a telephone at 8 kHz; the same with
//! real digits laid over a part of it shows that the detector listens.

#![allow(clippy::cast_possible_truncation, reason = "samples are within their range")]

use std::path::{Path, PathBuf};

use linecard::audio::dtmf::{Sounded, ToneDetector};
use linecard::audio::g711::{self, Law};

/// A woman and a man, of the packages asterisk-core-sounds-en-wav and asterisk-core-sounds-it-wav.
const ANNOUNCEMENTS: [&str; 2] =
    ["/usr/share/asterisk/sounds/en_US_f_Allison", "/usr/share/asterisk/sounds/it_IT_m_Carlo"];
const HALF_AN_HOUR: usize = 30 * 60 * 8_000;

fn recordings(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| {
        panic!(
            "{}: {error}: apt-get install asterisk-core-sounds-{{en,it}}-wav",
            directory.display()
        )
    });
    for path in entries.map(|entry| entry.expect("a directory that can be read").path()) {
        if path.is_dir() {
            recordings(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "wav") {
            found.push(path);
        }
    }
}

/// Mono, 16 bits, 8 kHz: as the package has them.
fn samples(path: &Path) -> Vec<i16> {
    let bytes = std::fs::read(path).expect("a file that can be read");
    assert_eq!((&bytes[..4], &bytes[24..28]), (&b"RIFF"[..], &8_000_u32.to_le_bytes()[..]));
    bytes[44..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// As it comes from a trunk.
fn through(law: Law, audio: &[i16]) -> Vec<i16> {
    let (mut codes, mut heard) = (vec![0; audio.len()], vec![0; audio.len()]);
    g711::encode(law, audio, &mut codes);
    g711::decode(law, &codes, &mut heard);
    heard
}

fn digits(audio: Vec<i16>) -> Vec<Sounded> {
    let mut found = Vec::new();
    ToneDetector::default().hear(audio, |sounded| found.push(sounded));
    found
}

#[test]
fn half_an_hour_of_speech_has_no_digits_in_it() {
    let mut paths = Vec::new();
    ANNOUNCEMENTS.iter().for_each(|directory| recordings(Path::new(directory), &mut paths));
    paths.sort();
    let speech: Vec<i16> = paths.iter().flat_map(|path| samples(path)).collect();
    assert!(speech.len() >= HALF_AN_HOUR, "{} s are too few", speech.len() / 8_000);
    for law in [Law::Mu, Law::A] {
        let found = digits(through(law, &speech));
        assert!(found.is_empty(), "{found:?}");
    }
    // Quieter, and as loud as it can be without being clipped much.
    for factor in [0.1_f32, 2.0] {
        let scaled = speech.iter().map(|sample| f32::from(*sample) * factor);
        let scaled: Vec<i16> =
            scaled.map(|value| value.clamp(-32_768.0, 32_767.0) as i16).collect();
        let found = digits(through(Law::Mu, &scaled));
        assert!(found.is_empty(), "{factor}: {found:?}");
    }

    let mut dialled = speech[..80_000].to_vec();
    for (n, sample) in dialled[40_000..40_800].iter_mut().enumerate() {
        let at = std::f64::consts::TAU * n as f64 / 8_000.0;
        *sample = (8_000.0 * ((770.0 * at).sin() + (1_336.0 * at).sin())) as i16;
    }
    let found = digits(through(Law::Mu, &dialled));
    assert_eq!(found.iter().map(|it| it.digit.to_char()).collect::<String>(), "5");
}
