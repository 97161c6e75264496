//! Packet-loss concealment for G.711, after ITU-T G.711 Appendix I.
//!
//! In: the received samples, in frames of any size, and requests to fill a gap. Out: the gap filled
//! with repetitions of the last pitch period, fading to silence within 60 ms, and joined smoothly
//! to what was and what will be received.
//!
//! Unlike the Appendix it adds no delay. That holds back 3.75 ms of good audio so as to cross-fade
//! into the first repetition. Here good audio is gone when the gap is known; the step between its
//! last sample and the repetition is taken up by an offset that dies away over the same time.

use crate::base::narrow::TowardZero;

use super::SAMPLES_PER_MS;

const MS: usize = SAMPLES_PER_MS;
/// Pitch periods tried: 200 Hz down to 66 Hz. Higher voices repeat several periods.
const PITCH_MIN: usize = 5 * MS;
const PITCH_MAX: usize = 15 * MS;
/// The stretch of audio whose likeness is sought.
const CORRELATION: usize = 20 * MS;
/// Up to three pitch periods are repeated, with room to cross-fade before them.
const HISTORY: usize = PERIODS_MAX * PITCH_MAX + OVERLAP_MAX;
/// After each of these another period is added, so that long repetitions do not buzz; and the
/// attenuation starts after the first.
const STAGE: usize = 10 * MS;
const PERIODS_MAX: usize = 3;
/// From here on all is silence.
const SILENT_FROM: usize = 60 * MS;
/// The cross-fade into good audio is a quarter period, longer by this for every 10 ms of gap...
const JOIN_STEP: usize = 4 * MS;
/// ...up to this.
const JOIN_MAX: usize = 10 * MS;
/// The longest quarter period; the offset at the start dies away over as many samples.
const OVERLAP_MAX: usize = PITCH_MAX / 4;

/// Conceals losses in one stream. It holds 50 ms of audio and allocates nothing.
#[derive(Clone, Debug)]
pub struct Concealer {
    /// The last samples played, good or not.
    history: [i16; HISTORY],
    gap: Option<Gap>,
}

/// A gap being filled.
#[derive(Clone, Debug)]
struct Gap {
    /// The last good samples, from which periods are taken.
    source: [i16; HISTORY],
    /// One pitch period in samples.
    pitch: usize,
    /// What is repeated: the first `cycle_length` samples, whole periods.
    cycle: [i16; PERIODS_MAX * PITCH_MAX],
    cycle_length: usize,
    position: usize,
    /// How the cycle before would have gone on, to be faded out after it was lengthened.
    fading: [i16; OVERLAP_MAX],
    faded: usize,
    /// Samples filled so far.
    filled: usize,
    /// From the first repetition up to the last good sample.
    offset: f32,
}

impl Default for Concealer {
    fn default() -> Self {
        Self::new()
    }
}

impl Concealer {
    /// Nothing heard yet: a gap now would be silence.
    pub fn new() -> Self {
        Self { history: [0; HISTORY], gap: None }
    }

    /// Takes the next samples received. After a gap their beginning is cross-faded with the
    /// repetition; otherwise they are only remembered.
    #[inline]
    pub fn received(&mut self, pcm: &mut [i16]) {
        if let Some(gap) = &mut self.gap {
            gap.join(pcm);
            self.gap = None;
        }
        self.remember(pcm);
    }

    /// Whether the next samples that are received will be joined to a gap.
    #[inline]
    pub fn is_in_gap(&self) -> bool {
        self.gap.is_some()
    }

    /// Fills `out` with what might have been in the next samples, which were lost.
    pub fn conceal(&mut self, out: &mut [i16]) {
        let gap = self.gap.get_or_insert_with(|| Gap::new(&self.history));
        out.iter_mut().for_each(|sample| *sample = gap.next());
        self.remember(out);
    }

    /// Forgets the past, as after a restart of the stream.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    #[inline]
    fn remember(&mut self, pcm: &[i16]) {
        let last = &pcm[pcm.len().saturating_sub(HISTORY)..];
        self.history.copy_within(last.len().., 0);
        self.history[HISTORY - last.len()..].copy_from_slice(last);
    }
}

impl Gap {
    fn new(history: &[i16; HISTORY]) -> Self {
        let pitch = pitch_of(history);
        let last_good = f32::from(history[HISTORY - 1]);
        let mut gap = Self {
            source: *history,
            pitch,
            cycle: [0; _],
            cycle_length: 0,
            position: 0,
            fading: [0; _],
            faded: OVERLAP_MAX,
            filled: 0,
            offset: last_good - f32::from(history[HISTORY - 1 - pitch]),
        };
        gap.lengthen_cycle();
        gap
    }

    /// The length of cross-fades between repetitions: a quarter period.
    fn overlap(&self) -> usize {
        self.pitch / 4
    }

    /// Takes one more period into the cycle. Its end is cross-faded into what came before its
    /// beginning, so that it follows on itself.
    fn lengthen_cycle(&mut self) {
        self.cycle_length += self.pitch;
        let (start, overlap) = (HISTORY - self.cycle_length, self.overlap());
        self.cycle[..self.cycle_length].copy_from_slice(&self.source[start..]);
        let end = &mut self.cycle[self.cycle_length - overlap..self.cycle_length];
        cross_fade(end, &self.source[start - overlap..start]);
    }

    /// As [`Self::lengthen_cycle`] in mid-gap: the repetition keeps its phase.
    fn lengthen_repetition(&mut self) {
        let phase = self.position % self.pitch;
        for i in 0..self.overlap() {
            self.fading[i] = self.repeat();
        }
        self.faded = 0;
        self.lengthen_cycle();
        self.position = phase;
    }

    fn repeat(&mut self) -> i16 {
        let sample = self.cycle[self.position];
        self.position = if self.position + 1 < self.cycle_length { self.position + 1 } else { 0 };
        sample
    }

    /// The next sample of the gap.
    fn next(&mut self) -> i16 {
        if self.filled >= SILENT_FROM {
            return 0;
        }
        if self.filled.is_multiple_of(STAGE) && (1..PERIODS_MAX).contains(&(self.filled / STAGE)) {
            self.lengthen_repetition();
        }
        let mut sample = f32::from(self.repeat());
        if self.faded < self.overlap() {
            let weight = fade_in(self.faded, self.overlap());
            sample = sample * weight + f32::from(self.fading[self.faded]) * (1.0 - weight);
            self.faded += 1;
        }
        if self.filled < OVERLAP_MAX {
            sample += self.offset * (1.0 - fade_in(self.filled, OVERLAP_MAX));
        }
        if self.filled > STAGE {
            sample *= (SILENT_FROM - self.filled) as f32 / (SILENT_FROM - STAGE) as f32;
        }
        self.filled += 1;
        sample.toward_zero()
    }

    /// Cross-fades the repetition into the good samples after the gap.
    fn join(&mut self, pcm: &mut [i16]) {
        let stages = self.filled.saturating_sub(1) / STAGE;
        let length = (self.overlap() + stages * JOIN_STEP).min(JOIN_MAX).min(pcm.len());
        let mut repetition = [0; JOIN_MAX];
        repetition[..length].fill_with(|| self.next());
        for (i, (good, repeated)) in pcm.iter_mut().zip(&repetition[..length]).enumerate() {
            *good = mix(*repeated, *good, fade_in(i, length));
        }
    }
}

/// Turns `from` into `to` over their common length.
fn cross_fade(from: &mut [i16], to: &[i16]) {
    let length = from.len();
    for (i, (from, to)) in from.iter_mut().zip(to).enumerate() {
        *from = mix(*from, *to, fade_in(i, length));
    }
}

fn mix(from: i16, to: i16, weight: f32) -> i16 {
    (f32::from(from) * (1.0 - weight) + f32::from(to) * weight).toward_zero()
}

/// The weight of what comes in at sample `i` of a cross-fade: never 0, never 1.
fn fade_in(i: usize, length: usize) -> f32 {
    (i + 1) as f32 / (length + 1) as f32
}

/// The pitch period: the lag at which the last 20 ms are most like what came before, by normalised
/// cross-correlation.
fn pitch_of(history: &[i16; HISTORY]) -> usize {
    // With eleven bits a sample, every sum here stays below 160 * 2^22 < 2^31.
    let peak = history.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    let shift = (u16::BITS - peak.leading_zeros()).saturating_sub(11);
    let scaled = history.map(|sample| sample >> shift);
    let product = |a: &[i16], b: &[i16]| -> i32 {
        a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
    };

    let last = &scaled[HISTORY - CORRELATION..];
    let mut best = (f32::NEG_INFINITY, PITCH_MIN);
    for lag in PITCH_MIN..=PITCH_MAX {
        let start = HISTORY - CORRELATION - lag;
        let lagged = &scaled[start..start + CORRELATION];
        let likeness = product(last, lagged) as f32;
        let score = likeness * likeness.abs() / product(lagged, lagged).max(1) as f32;
        if score > best.0 {
            best = (score, lag);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    const FRAME: usize = 20 * MS;

    fn sine(frequency_hz: f64, amplitude: f64, samples: usize) -> Vec<i16> {
        let phase = |i: usize| TAU * frequency_hz * i as f64 / 8_000.0;
        (0..samples).map(|i| (amplitude * phase(i).sin()) as i16).collect()
    }

    /// A vowel: a 125 Hz pulse train's first 20 harmonics, the higher the weaker.
    fn vowel(samples: usize) -> Vec<i16> {
        let harmonic =
            |i: usize, k: usize| (TAU * 125.0 * (k * i) as f64 / 8_000.0).cos() / k as f64;
        (0..samples)
            .map(|i| (3_000.0 * (1..=20).map(|k| harmonic(i, k)).sum::<f64>()) as i16)
            .collect()
    }

    /// Plays `audio` frame by frame, losing those in `lost`.
    fn play(audio: &[i16], frame: usize, lost: std::ops::Range<usize>) -> Vec<i16> {
        let mut concealer = Concealer::new();
        let mut played = audio.to_vec();
        for (number, pcm) in played.chunks_mut(frame).enumerate() {
            if lost.contains(&number) { concealer.conceal(pcm) } else { concealer.received(pcm) }
        }
        played
    }

    fn largest_step(pcm: &[i16]) -> i32 {
        pcm.windows(2).map(|two| (i32::from(two[1]) - i32::from(two[0])).abs()).max().unwrap()
    }

    fn energy(pcm: &[i16]) -> f64 {
        pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / pcm.len() as f64
    }

    #[test]
    fn without_loss_the_audio_is_untouched() {
        let audio = vowel(10 * FRAME);
        assert_eq!(play(&audio, FRAME, 0..0), audio);
    }

    #[test]
    fn a_sine_goes_on_at_its_frequency_and_phase() {
        for frequency_hz in [100.0, 300.0, 437.0, 1_000.0, 2_150.0] {
            let audio = sine(frequency_hz, 10_000.0, 10 * FRAME);
            let played = play(&audio, 10 * MS, 10..11);
            let gap = 10 * 10 * MS..11 * 10 * MS;
            let error: Vec<i16> = gap.clone().map(|i| played[i] - audio[i]).collect();
            let ratio = energy(&audio[gap]) / energy(&error);
            assert!(ratio > 10.0, "{frequency_hz} Hz: signal to error {ratio:.1}");
        }
    }

    #[test]
    fn a_gap_makes_no_click() {
        for audio in [vowel(20 * FRAME), sine(217.0, 12_000.0, 20 * FRAME)] {
            let natural = largest_step(&audio);
            for lost_frames in 1..=5 {
                let played = play(&audio, FRAME, 8..8 + lost_frames);
                let step = largest_step(&played);
                let bound = natural + natural / 4;
                assert!(step <= bound, "{lost_frames} lost: step {step}, natural {natural}");
            }
        }
    }

    #[test]
    fn a_gap_fades_to_silence_within_60_ms() {
        let audio = vowel(30 * FRAME);
        let played = play(&audio, 10 * MS, 20..30);
        let levels: Vec<f64> = played[200 * MS..300 * MS].chunks(10 * MS).map(energy).collect();
        let good = energy(&audio[100 * MS..200 * MS]);
        assert!(levels[0] > 0.8 * good, "the first 10 ms are at full level: {levels:?}");
        assert!(levels[..6].is_sorted_by(|before, after| before > after), "{levels:?}");
        assert!(levels[3] < 0.5 * good && levels[5] > 0.0, "{levels:?}");
        assert_eq!(&levels[6..], [0.0; 4]);
    }

    #[test]
    fn before_anything_was_heard_a_gap_is_silent() {
        let mut pcm = [1; FRAME];
        Concealer::new().conceal(&mut pcm);
        assert_eq!(pcm, [0; FRAME]);
    }

    #[test]
    fn the_frame_size_makes_no_difference() {
        let audio = vowel(20 * FRAME);
        let expected = play(&audio, 3 * FRAME, 3..4);
        let mut concealer = Concealer::new();
        let mut played = audio.clone();
        let (before, rest) = played.split_at_mut(9 * FRAME);
        let (gap, after) = rest.split_at_mut(3 * FRAME);
        before.chunks_mut(MS * 5).for_each(|pcm| concealer.received(pcm));
        gap.chunks_mut(37).for_each(|pcm| concealer.conceal(pcm));
        after.chunks_mut(FRAME).for_each(|pcm| concealer.received(pcm));
        assert_eq!(played, expected);
    }

    #[test]
    fn after_the_join_good_audio_is_untouched() {
        let audio = vowel(20 * FRAME);
        let played = play(&audio, FRAME, 8..12);
        assert_eq!(played[12 * FRAME + JOIN_MAX..], audio[12 * FRAME + JOIN_MAX..]);
    }

    proptest! {
        #[test]
        fn any_audio_and_any_gaps_are_filled(
            frames in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<i16>(), 0..600)), 0..20)
        ) {
            let mut concealer = Concealer::new();
            for (lost, mut pcm) in frames {
                if lost { concealer.conceal(&mut pcm) } else { concealer.received(&mut pcm) }
            }
        }
    }
}
