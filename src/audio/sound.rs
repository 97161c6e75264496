//! What is played to somebody: tones in a cadence, recordings, silence. Sans-IO: whoever plays it asks for
//! as many samples of 8 kHz as leave at a time.
//!
//! A tone begins and ends each time in [`RAMP_SAMPLES`], so that nobody hears a click, and its phase goes
//! on in between. Nothing is allocated once a sound is made.

use crate::base::narrow::Rounded;

use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

use super::{SAMPLE_RATE_HZ, SAMPLES_PER_MS};

/// Frequencies that sound together in one tone: no national tone has more.
pub const FREQUENCIES_MAX: usize = 4;
/// Beats of a cadence before it begins again: two in the United Kingdom's ringing tone.
pub const BEATS_MAX: usize = 2;
/// How long a tone takes to rise and to fall, 5 ms: a quarter of the shortest tone.
const RAMP_SAMPLES: u64 = 5 * SAMPLES_PER_MS as u64;
/// The largest sample. Peaks of all frequencies together reach it and are not clipped.
const PEAK: f64 = i16::MAX as f64;

/// Mono audio at 8 kHz, shared by all who play it.
#[derive(Clone, PartialEq, Eq)]
pub struct Recording(Arc<[i16]>);

impl Recording {
    /// `None` of no samples: nobody could hear it end.
    pub fn new(pcm: impl Into<Arc<[i16]>>) -> Option<Self> {
        let pcm = pcm.into();
        if pcm.is_empty() { None } else { Some(Self(pcm)) }
    }

    /// Its samples.
    pub fn pcm(&self) -> &[i16] {
        &self.0
    }

    /// What it takes of memory.
    pub fn size_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// How long it lasts.
    pub fn duration_ms(&self) -> u64 {
        (self.0.len() / SAMPLES_PER_MS) as u64
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recording({} ms)", self.duration_ms())
    }
}

/// How often a sound is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// So often.
    Of(u16),
    /// Until it is stopped.
    ForEver,
}

/// A tone: frequencies that sound together, on and off.
#[derive(Clone, Copy, Debug)]
pub struct Tone<'a> {
    /// 1 to [`FREQUENCIES_MAX`]; more are left out.
    pub hz: &'a [u16],
    /// Milliseconds on and off, in turn: 1 to [`BEATS_MAX`]; more are left out.
    pub on_off_ms: &'a [(u16, u16)],
    /// Level of all frequencies together in dB below overload (RFC 6464 §3), as far as their peaks
    /// are not clipped: a single sine reaches -3, four of them -9.
    pub level_dbov: i8,
}

/// Something to hear, and how far it was played.
#[derive(Clone, Debug)]
pub struct Sound(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Tone(Oscillators, Cadence),
    Recording {
        recording: Recording,
        /// The next sample.
        at: usize,
        left: Times,
    },
    Silence,
}

impl Sound {
    /// A tone; it is played as often as its cadence begins, the last pause included.
    pub fn tone(tone: Tone<'_>, times: Times) -> Self {
        Self(Kind::Tone(
            Oscillators::new(tone.hz, tone.level_dbov),
            Cadence::new(tone.on_off_ms, times),
        ))
    }

    /// A recording.
    pub fn recording(recording: Recording, times: Times) -> Self {
        Self(Kind::Recording { recording, at: 0, left: times })
    }

    /// Nothing to hear, for ever.
    pub fn silence() -> Self {
        Self(Kind::Silence)
    }

    /// Fills `out` with what comes next and says how many samples of it were left to play; after them it
    /// is silent. Fewer than asked for: it is over.
    pub fn fill(&mut self, out: &mut [i16]) -> usize {
        match &mut self.0 {
            Kind::Tone(oscillators, cadence) => cadence.fill(oscillators, out),
            Kind::Recording { recording, at, left } => {
                let filled = play_recording(recording, at, left, out);
                out[filled..].fill(0);
                filled
            }
            Kind::Silence => {
                out.fill(0);
                out.len()
            }
        }
    }
}

impl Times {
    /// Takes one; `false`: there is none.
    fn take(&mut self) -> bool {
        match self {
            Self::ForEver => true,
            Self::Of(0) => false,
            Self::Of(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// Each turn of the loop plays one sample at least, or is the last.
fn play_recording(
    recording: &Recording,
    at: &mut usize,
    left: &mut Times,
    out: &mut [i16],
) -> usize {
    let pcm = recording.pcm();
    let mut filled = 0;
    while filled < out.len() {
        if *at == 0 && !left.take() {
            break;
        }
        let samples = (pcm.len() - *at).min(out.len() - filled);
        out[filled..filled + samples].copy_from_slice(&pcm[*at..*at + samples]);
        filled += samples;
        *at = (*at + samples) % pcm.len();
    }
    filled
}

/// Sines of several frequencies, added.
#[derive(Clone, Debug)]
struct Oscillators {
    each: [Oscillator; FREQUENCIES_MAX],
    count: usize,
    /// Of each.
    amplitude: f64,
}

/// A point that goes round a circle. After a day its radius is off by one in 10^7.
#[derive(Clone, Copy, Debug)]
struct Oscillator {
    sine: f64,
    cosine: f64,
    /// Sine and cosine of the angle between two samples.
    step: (f64, f64),
}

impl Oscillators {
    fn new(hz: &[u16], level_dbov: i8) -> Self {
        let count = hz.len().clamp(1, FREQUENCIES_MAX);
        let mut each = [Oscillator::new(0); FREQUENCIES_MAX];
        each.iter_mut().zip(hz).for_each(|(place, hz)| *place = Oscillator::new(*hz));
        let root_mean_square = 32_768.0 * 10_f64.powf(f64::from(level_dbov) / 20.0);
        let wanted = root_mean_square * (2.0 / count as f64).sqrt();
        Self { each, count, amplitude: wanted.min(PEAK / count as f64) }
    }

    fn next(&mut self) -> f64 {
        let sum: f64 = self.each[..self.count].iter_mut().map(Oscillator::next).sum();
        sum * self.amplitude
    }
}

impl Oscillator {
    fn new(hz: u16) -> Self {
        let step = TAU * f64::from(hz) / f64::from(SAMPLE_RATE_HZ);
        Self { sine: 0.0, cosine: 1.0, step: step.sin_cos() }
    }

    fn next(&mut self) -> f64 {
        let sine = self.sine;
        let (step_sine, step_cosine) = self.step;
        self.sine = sine * step_cosine + self.cosine * step_sine;
        self.cosine = self.cosine * step_cosine - sine * step_sine;
        sine
    }
}

/// When a tone sounds, in samples.
#[derive(Clone, Debug)]
struct Cadence {
    beats: [(u64, u64); BEATS_MAX],
    count: usize,
    /// The beat that is played, and how far.
    beat: usize,
    at: u64,
    left: Times,
}

impl Cadence {
    fn new(on_off_ms: &[(u16, u16)], times: Times) -> Self {
        let samples = |ms: u16| u64::from(ms) * SAMPLES_PER_MS as u64;
        let count = on_off_ms.len().clamp(1, BEATS_MAX);
        let mut beats = [(0, 0); BEATS_MAX];
        beats.iter_mut().zip(on_off_ms).for_each(|(beat, (on, off))| {
            *beat = (samples(*on).max(1), samples(*off));
        });
        let this = Self { beats, count, beat: 0, at: 0, left: times };
        this.joined()
    }

    /// A tone that is never off sounds once, as long as all its beats.
    fn joined(mut self) -> Self {
        if self.beats.iter().any(|(_, off)| *off > 0) {
            return self;
        }
        let on: u64 = self.beats.iter().map(|(on, _)| *on).sum::<u64>().max(1);
        let on = match self.left {
            Times::ForEver => u64::MAX,
            Times::Of(times) => on * u64::from(times),
        };
        self.beats[0] = (on, 0);
        (self.count, self.left) = (1, Times::Of(1));
        self
    }

    /// A sample at a time: a beat may begin and end anywhere in a packet.
    fn fill(&mut self, oscillators: &mut Oscillators, out: &mut [i16]) -> usize {
        for n in 0..out.len() {
            if self.beat == 0 && self.at == 0 && !self.left.take() {
                out[n..].fill(0);
                return n;
            }
            let (on, off) = self.beats[self.beat];
            out[n] = match on.checked_sub(self.at) {
                None | Some(0) => 0,
                Some(until_off) => {
                    let from_edge = until_off.min(self.at + 1).min(RAMP_SAMPLES);
                    let share = from_edge as f64 / RAMP_SAMPLES as f64;
                    (oscillators.next() * share).rounded()
                }
            };
            self.at += 1;
            if self.at >= on.saturating_add(off) {
                self.at = 0;
                self.beat = (self.beat + 1) % self.count;
            }
        }
        out.len()
    }
}

#[cfg(test)]
mod tests;
