use super::*;
use crate::audio::g711::{self, Law};
use crate::audio::ladder::Rung;
use crate::audio::opus::OpusArena;
use crate::audio::synthetic::speech;

const FRAME: usize = 160;
const SECOND: usize = 8_000;

/// A stream through gate, encoder and decoder.
struct Line {
    decoded: Vec<i16>,
    /// Which frames were encoded.
    encoded: Vec<bool>,
}

fn through(audio: &[i16], frame: usize, gated: bool) -> Line {
    on_rung(Rung::SilkFec, audio, frame, gated)
}

fn on_rung(rung: Rung, audio: &[i16], frame: usize, gated: bool) -> Line {
    let arena = OpusArena::new(1).unwrap();
    let mut encoder = arena.encoder(rung.settings()).unwrap();
    let mut decoder = arena.decoder().unwrap();
    NoisePackets::shared().make(|| {});
    let mut gate = SilenceGate::default();
    let mut line = Line { decoded: Vec::new(), encoded: Vec::new() };
    for pcm in audio.chunks_exact(frame) {
        let mut packet = [0; 1_500];
        let mut encoded = false;
        let length = match gate.judge(pcm) {
            Verdict::Leave(byte) if gated => {
                packet[0] = byte;
                1
            }
            Verdict::Noise(noise) if gated => {
                encoder.interrupt();
                packet[..noise.len()].copy_from_slice(noise);
                noise.len()
            }
            _ => {
                encoded = true;
                let length = encoder.encode(pcm, &mut packet).unwrap();
                gate.encoded(&packet[..length]);
                length
            }
        };
        line.encoded.push(encoded);
        let mut out = [0; 960];
        let samples = decoder.decode(&packet[..length], &mut out).unwrap();
        assert_eq!(samples, frame);
        line.decoded.extend_from_slice(&out[..samples]);
    }
    line
}

fn noise(samples: usize, amplitude: f64) -> Vec<i16> {
    let mut state = 0x1234_5678_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 16) / 32_768.0 - 1.0
    };
    (0..samples).map(|_| (amplitude * next()).round() as i16).collect()
}

/// As a trunk delivers it.
fn by_g711(mut audio: Vec<i16>, law: Law) -> Vec<i16> {
    let mut bytes = vec![0; audio.len()];
    g711::encode(law, &audio, &mut bytes);
    g711::decode(law, &bytes, &mut audio);
    audio
}

/// A second of speech, a second of silence, and so on, with the noise of the line in all of it.
fn speech_with_pauses(seconds: usize, line_noise: f64) -> Vec<i16> {
    let spoken = speech(seconds * SECOND);
    let mut audio = noise(seconds * SECOND, line_noise);
    for (n, sample) in audio.iter_mut().enumerate() {
        if (n / SECOND).is_multiple_of(2) {
            *sample += spoken[n];
        }
    }
    audio
}

fn rms(pcm: &[i16]) -> f64 {
    (pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / pcm.len() as f64).sqrt()
}

#[test]
fn half_the_frames_of_a_caller_who_listens_half_of_the_time_are_saved() {
    for line_noise in [0.0, 20.0] {
        let audio = by_g711(speech_with_pauses(10, line_noise), Law::Mu);
        for rung in Rung::ALL {
            let line = on_rung(rung, &audio, FRAME, true);
            let encoded = line.encoded.iter().filter(|encoded| **encoded).count();
            // Of the 50 frames of a pause ten are hangover; after SILK two refresh the noise.
            assert!((5 * 59..=5 * 65).contains(&encoded), "{rung:?}: {encoded} of 500");
        }
    }
}

#[test]
fn every_frame_with_anything_in_it_is_encoded_from_its_first_on() {
    let audio = by_g711(speech_with_pauses(10, 7.0), Law::A);
    let line = through(&audio, FRAME, true);
    for (pcm, encoded) in audio.chunks_exact(FRAME).zip(&line.encoded) {
        assert!(*encoded || silent_mean_square(pcm).is_some());
    }
    // One click in a long silence is heard at once.
    NoisePackets::shared().make(|| {});
    let mut gate = SilenceGate::default();
    for _ in 0..30 {
        if gate.judge(&[0; FRAME]) == Verdict::Encode {
            gate.encoded(&[8, 1, 2]);
        }
    }
    assert_eq!(gate.judge(&[0; FRAME]), Verdict::Leave(8));
    let mut click = [0; FRAME];
    click[FRAME - 1] = 200;
    assert_eq!(gate.judge(&click), Verdict::Encode);
}

#[test]
fn silence_is_sent_in_full_for_200_ms_and_then_every_400_ms() {
    for frame in [80, 160, 320, 480] {
        let line = through(&vec![0; 4 * SECOND], frame, true);
        let encoded: Vec<_> = (0..).zip(&line.encoded).filter(|(_, e)| **e).map(|e| e.0).collect();
        let hangover = HANGOVER.div_ceil(frame);
        assert!(encoded[..hangover].iter().copied().eq(0..hangover));
        for pair in encoded[hangover - 1..].windows(2) {
            let apart = (pair[1] - pair[0]) * frame;
            assert!((REFRESH..REFRESH + frame).contains(&apart), "{apart} samples of {frame}");
        }
    }
}

fn rungs_in_noise() -> impl Iterator<Item = (Rung, f64)> {
    Rung::ALL.into_iter().flat_map(|rung| [0.0, 5.0, 10.0, 20.0].map(|noise| (rung, noise)))
}

#[test]
fn speech_sounds_as_it_does_without_the_gate() {
    for (rung, line_noise) in rungs_in_noise() {
        let audio = by_g711(speech_with_pauses(10, line_noise), Law::Mu);
        let [with, without] = [true, false].map(|gated| on_rung(rung, &audio, FRAME, gated));
        for second in (0..10).step_by(2) {
            // The codec's delay is within the margin.
            let spoken = second * SECOND..(second + 1) * SECOND;
            let (with, without) = (&with.decoded[spoken.clone()], &without.decoded[spoken]);
            let difference: Vec<_> = with.iter().zip(without).map(|(a, b)| a - b).collect();
            let snr_db = 20.0 * (rms(without) / rms(&difference).max(1.0)).log10();
            assert!(
                snr_db > 18.0,
                "{rung:?}, line noise {line_noise}, second {second}: {snr_db:.1} dB"
            );
        }
    }
}

#[test]
fn the_noise_of_a_pause_keeps_its_level_and_nothing_clicks() {
    for (rung, line_noise) in rungs_in_noise() {
        let audio = by_g711(speech_with_pauses(10, line_noise), Law::Mu);
        let [with, without] = [true, false].map(|gated| on_rung(rung, &audio, FRAME, gated));
        for second in (1..10).step_by(2) {
            // From the hangover on, by tenths of a second.
            for tenth in 3..10 {
                let place = second * SECOND + tenth * SECOND / 10;
                let place = place..place + SECOND / 10;
                let (with, without) = (&with.decoded[place.clone()], &without.decoded[place]);
                // A sample or two of rounding noise are no level.
                let level_db = 20.0 * (rms(with).max(2.0) / rms(without).max(2.0)).log10();
                let peak = |pcm: &[i16]| pcm.iter().map(|s| s.unsigned_abs()).max().unwrap();
                let said = format!(
                    "{rung:?}, line noise {line_noise} at {second}.{tenth}: {level_db:.1} dB"
                );
                assert!(level_db.abs() < 2.5, "{said}");
                assert!(peak(with) <= 2 * peak(without).max(4), "{said}");
            }
        }
    }
}
