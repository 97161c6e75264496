//! Something like speech, for tests and for a core that measures its codec: pulses of a wandering pitch through the formants
//! of five vowels, hisses between them, and pauses. The same on every machine and run.

use std::f64::consts::TAU;

const RATE_HZ: f64 = 8_000.0;
/// Vowel, hiss and pause.
const SYLLABLE: usize = 2_000;
const VOWEL_END: usize = 1_300;
const HISS_END: usize = 1_700;
/// First three formants in Hz of the vowels in father, bed, beat, bought, boot.
const FORMANTS_HZ: [[f64; 3]; 5] = [
    [730.0, 1_090.0, 2_440.0],
    [530.0, 1_840.0, 2_480.0],
    [270.0, 2_290.0, 3_010.0],
    [570.0, 840.0, 2_410.0],
    [300.0, 870.0, 2_240.0],
];

/// A two-pole resonance of 80 Hz bandwidth.
#[derive(Clone, Copy, Default)]
struct Resonance([f64; 2]);

impl Resonance {
    fn filter(&mut self, input: f64, frequency_hz: f64) -> f64 {
        let radius = (-TAU / 2.0 * 80.0 / RATE_HZ).exp();
        let feedback = 2.0 * radius * (TAU * frequency_hz / RATE_HZ).cos();
        let output = input + feedback * self.0[0] - radius * radius * self.0[1];
        self.0 = [output, self.0[0]];
        output
    }
}

/// So many samples of it at 8 kHz, peaks at three quarters of full scale.
#[expect(clippy::cast_possible_truncation, reason = "the loudest is three quarters of the most")]
pub(crate) fn speech(samples: usize) -> Vec<i16> {
    let (mut noise, mut phase) = (0x2545_F491u32, 0.0);
    let mut resonances = [Resonance::default(); 3];
    let waveform: Vec<f64> = (0..samples)
        .map(|i| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = f64::from(noise >> 16) / 32_768.0 - 1.0;
            phase += (120.0 + 25.0 * (TAU * 0.7 * i as f64 / RATE_HZ).sin()) / RATE_HZ;
            let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase %= 1.0;
            let (syllable, place) = (i / SYLLABLE, i % SYLLABLE);
            let swell = (TAU / 2.0 * place as f64 / VOWEL_END as f64).sin();
            let excitation = if place < VOWEL_END { pulse * swell } else { 0.0 };
            let formants = FORMANTS_HZ[syllable % FORMANTS_HZ.len()];
            let mut voice = 0.0;
            for (resonance, frequency_hz) in resonances.iter_mut().zip(formants) {
                voice += resonance.filter(excitation, frequency_hz);
            }
            let hissing = (VOWEL_END..HISS_END).contains(&place);
            voice + if hissing { 0.15 * hiss } else { 0.000_5 * hiss }
        })
        .collect();
    let peak = waveform.iter().fold(f64::MIN_POSITIVE, |peak, value| peak.max(value.abs()));
    waveform.iter().map(|value| (value / peak * 24_576.0) as i16).collect()
}
