//! Digits in the audio itself (DTMF, ITU-T Q.23), found as ITU-T Q.24 wants receivers to find them: two
//! steady frequencies, one of each group, that are nearly all there is.
//!
//! Every 5 ms the last 20 ms are compared with the eight frequencies. How far the phase of the two
//! strongest has moved since the last time says what their frequencies really are, to a few Hz; what
//! two tones of just these would have of the whole says whether there is anything else. Speech has two
//! such frequencies for a moment, not for as long as the shortest digit lasts.
//!
//! In: audio at 8 kHz. Out: which digit sounds, and since when.

use std::f32::consts::TAU;
use std::sync::LazyLock;

use crate::wire::telephone_event::Digit;

/// Samples that are looked at together: 20 ms, of which the middle counts most (Hann's window), so that
/// neither tone is mistaken for a part of the other.
const WINDOW: usize = 160;
/// Of these, at either end, what a tone need not fill to be seen.
const EDGE: u64 = 48;
/// Between two looks: 5 ms.
const HOP: usize = 40;
/// The frequencies in Hz: rows, then columns (ITU-T Q.23).
const HZ: [f32; 8] = [697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0];
/// Looks in a row that show a digit before it is one: 40 ms of it have to be enough, and 23 ms must not
/// be.
const HITS: u8 = 6;
/// As many do while a packet is missing that was part of it.
const HITS_BESIDE_GAP: u8 = 4;
/// Looks for which one that is missing is felt.
const GAP_LOOKS: u8 = 12;
/// Looks in a row for which one may be, so that it had better not be heard: less of it than 20 ms has
/// passed then, which no receiver may take for a digit. Of speech it is three packets in fifty minutes.
const SUSPECTED: u8 = 2;
/// Looks in a row that do not before it is over: more than an interruption of 10 ms, less than a pause of
/// 40 ms.
const MISSES: u8 = 5;
/// How far a frequency may be off: ITU-T Q.24 has 1.5 % accepted and 3.5 % refused.
const OFF_SHARE: f32 = 0.028;
const OFF_HZ: f32 = 4.0;
/// What both tones have of all there is, at least.
const SHARE_MIN: f32 = 0.78;
/// How much stronger the column may be than the row, and the row than the column, in power: 4 dB and
/// 8 dB have to be taken, with some room for how they are measured.
const COLUMN_OVER_ROW_MAX: f32 = 5.0;
const ROW_OVER_COLUMN_MAX: f32 = 12.6;
/// The weakest tone, in power of a sample: -46 dBov. Below, no receiver has to hear it.
const POWER_MIN: f32 = 27_000.0;

/// Finds digits.
#[derive(Clone, Debug)]
pub struct ToneDetector {
    /// The last audio, the oldest first.
    window: [f32; WINDOW],
    /// Samples of it that were heard since the last look; before the first, since the beginning.
    fresh: usize,
    /// Whether the window is whole, and the look before had it whole.
    is_whole: bool,
    before: Option<[Complex; 8]>,
    /// Samples heard in all.
    heard: u64,
    /// Looks since audio was missing.
    since_gap: u8,
    /// What the last looks showed, and how many of them.
    candidate: Option<(Digit, u8)>,
    sounding: Option<Sounding>,
}

/// A digit that sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sounding {
    /// Which.
    pub digit: Digit,
    /// When it began, in samples of all that was heard.
    pub since: u64,
    /// When it was last heard.
    last: u64,
    misses: u8,
}

/// A digit that sounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sounded {
    /// Which.
    pub digit: Digit,
    /// When it began, in samples of all that was heard.
    pub since: u64,
    /// How long it was, in samples.
    pub samples: u64,
}

type Complex = [f32; 2];

/// The window, and cosine and sine of each frequency over it.
struct Waves {
    window: [f32; WINDOW],
    tones: [[Complex; WINDOW]; 8],
}

static WAVES: LazyLock<Box<Waves>> = LazyLock::new(|| {
    let mut waves = Box::new(Waves { window: [0.0; WINDOW], tones: [[[0.0; 2]; WINDOW]; 8] });
    for (n, value) in waves.window.iter_mut().enumerate() {
        *value = 0.5 - 0.5 * (TAU * (n as f32 + 0.5) / WINDOW as f32).cos();
    }
    for (wave, hz) in waves.tones.iter_mut().zip(HZ) {
        for (n, value) in wave.iter_mut().enumerate() {
            let phase = TAU * hz * n as f32 / 8_000.0;
            *value = [phase.cos(), -phase.sin()];
        }
    }
    waves
});

impl Sounding {
    /// How long it has been heard, in samples.
    pub fn samples(&self) -> u64 {
        self.last - self.since
    }
}

impl Default for ToneDetector {
    fn default() -> Self {
        LazyLock::force(&WAVES);
        Self {
            window: [0.0; WINDOW],
            fresh: 0,
            is_whole: false,
            before: None,
            heard: 0,
            since_gap: u8::MAX,
            candidate: None,
            sounding: None,
        }
    }
}

impl ToneDetector {
    /// Samples heard in all.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// The digit that sounds.
    pub fn sounding(&self) -> Option<Sounding> {
        self.sounding
    }

    /// Whether one sounds, or may be about to.
    pub fn is_suspected(&self) -> bool {
        self.sounding.is_some() || self.candidate.is_some_and(|(_, hits)| hits >= SUSPECTED)
    }

    /// Takes audio in, and tells of the digits that ended in it.
    pub fn hear(&mut self, audio: impl IntoIterator<Item = i16>, mut ended: impl FnMut(Sounded)) {
        for sample in audio {
            let wanted = if self.is_whole { HOP } else { WINDOW };
            self.window[WINDOW - wanted + self.fresh] = f32::from(sample);
            self.fresh += 1;
            self.heard += 1;
            if self.fresh == wanted {
                let shown = self.look();
                self.judge(shown, &mut ended);
                self.is_whole = true;
                self.fresh = 0;
                self.window.copy_within(HOP.., 0);
            }
        }
    }

    /// Audio is missing: what sounds may go on in what comes next.
    pub fn skip(&mut self, samples: u64) {
        self.heard += samples;
        self.fresh = 0;
        self.is_whole = false;
        self.before = None;
        self.since_gap = 0;
    }

    /// The digit that the window shows.
    fn look(&mut self) -> Option<Digit> {
        let Waves { window, tones } = &**WAVES;
        let mut seen = self.window;
        seen.iter_mut().zip(window).for_each(|(sample, weight)| *sample *= weight);
        // What the window leaves of a steady power is three eighths of it.
        let power =
            seen.iter().map(|sample| sample * sample).sum::<f32>() / (0.375 * WINDOW as f32);
        if power < POWER_MIN {
            self.before = None;
            return None;
        }
        let mut now = [[0.0; 2]; 8];
        for (sum, wave) in now.iter_mut().zip(tones) {
            for (sample, [cos, sin]) in seen.iter().zip(wave) {
                sum[0] += sample * cos;
                sum[1] += sample * sin;
            }
        }
        let before = self.before.replace(now)?;
        let strongest = |group: std::ops::Range<usize>| {
            group.max_by(|a, b| norm(now[*a]).total_cmp(&norm(now[*b]))).unwrap_or_default()
        };
        let (row, column) = (strongest(0..4), strongest(4..8));
        let [row_power, column_power] = [row, column].map(|at| tone_power(at, before[at], now[at]));
        let (row_power, column_power) = (row_power?, column_power?);
        let is_all = row_power + column_power >= SHARE_MIN * power;
        let is_even = column_power <= COLUMN_OVER_ROW_MAX * row_power
            && row_power <= ROW_OVER_COLUMN_MAX * column_power;
        const KEYPAD: [[char; 4]; 4] = [
            ['1', '2', '3', 'A'],
            ['4', '5', '6', 'B'],
            ['7', '8', '9', 'C'],
            ['*', '0', '#', 'D'],
        ];
        if is_all && is_even { Digit::from_char(KEYPAD[row][column - 4]) } else { None }
    }

    fn judge(&mut self, shown: Option<Digit>, ended: &mut impl FnMut(Sounded)) {
        self.since_gap = self.since_gap.saturating_add(1);
        if let Some(sounding) = &mut self.sounding {
            if shown == Some(sounding.digit) {
                sounding.misses = 0;
                sounding.last = self.heard - EDGE;
            } else if self.is_whole || shown.is_some() {
                sounding.misses += 1;
            }
            if sounding.misses >= MISSES {
                self.end(&mut *ended);
            }
        }
        self.candidate = match (shown, self.candidate) {
            (Some(digit), Some((same, hits))) if digit == same => {
                Some((digit, hits.saturating_add(1)))
            }
            (Some(digit), _) => Some((digit, 1)),
            // After a gap there is nothing to be seen for a while.
            (None, candidate) if !self.is_whole => candidate,
            (None, _) => None,
        };
        let Some((digit, hits)) = self.candidate else { return };
        let enough = if self.since_gap <= GAP_LOOKS { HITS_BESIDE_GAP } else { HITS };
        if hits >= enough && self.sounding.is_none_or(|sounding| sounding.digit != digit) {
            self.end(&mut *ended);
            let seen = u64::from(hits - 1) * HOP as u64 + WINDOW as u64;
            let since = (self.heard + EDGE).saturating_sub(seen);
            self.sounding = Some(Sounding { digit, since, last: self.heard - EDGE, misses: 0 });
        }
    }

    fn end(&mut self, mut ended: impl FnMut(Sounded)) {
        if let Some(sounding) = self.sounding.take() {
            let (digit, since) = (sounding.digit, sounding.since);
            ended(Sounded { digit, since, samples: sounding.samples() });
        }
    }
}

fn norm([re, im]: Complex) -> f32 {
    re * re + im * im
}

/// The power of the tone near a frequency, if its own is near enough.
fn tone_power(at: usize, before: Complex, now: Complex) -> Option<f32> {
    let hz = HZ[at];
    // By how much its phase moved between the looks, beyond what the frequency itself would.
    let [re, im] =
        [now[0] * before[0] + now[1] * before[1], now[1] * before[0] - now[0] * before[1]];
    let expected = TAU * hz * HOP as f32 / 8_000.0;
    let moved = (im.atan2(re) - expected).rem_euclid(TAU);
    let moved = if moved > TAU / 2.0 { moved - TAU } else { moved };
    let off_hz = moved * 8_000.0 / (TAU * HOP as f32);
    if off_hz.abs() > hz * OFF_SHARE + OFF_HZ {
        return None;
    }
    // What the window shows of a tone that is off by so many of its bins: half the amplitude at the most.
    let bins = off_hz * WINDOW as f32 / 8_000.0;
    let x = TAU / 2.0 * bins;
    let shows = if x.abs() < 0.01 { 1.0 } else { x.sin() / x / (1.0 - bins * bins) };
    let amplitude_squared = norm(now) * 16.0 / (WINDOW * WINDOW) as f32 / (shows * shows);
    Some(amplitude_squared / 2.0)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::base::random::{self, Random};

    /// How a number is dialled.
    #[derive(Clone, Copy, Debug)]
    struct Way {
        on_ms: usize,
        off_ms: usize,
        /// Of row and column, in samples of full scale 32,768.
        amplitudes: [f32; 2],
        /// Factor of all frequencies, and Hz beside that.
        off: (f32, f32),
        /// Amplitude of the noise.
        noise: f32,
    }

    const PLAIN: Way =
        Way { on_ms: 40, off_ms: 40, amplitudes: [4_000.0; 2], off: (1.0, 0.0), noise: 0.0 };
    const DIGITS: usize = 160;

    /// Digits of all kinds in turn, each with a phase of its own; how many were found.
    fn found(way: Way, random: &mut Random) -> usize {
        let mut audio = vec![0.0_f32; 1_600];
        for n in 0..DIGITS {
            let hz = [HZ[n % 4], HZ[4 + n / 4 % 4]];
            let phase = random.random_range(0.0..TAU);
            audio.extend((0..way.on_ms * 8).map(|at| {
                let tone = |which: usize| {
                    let hz = hz[which] * way.off.0 + way.off.1;
                    way.amplitudes[which] * (TAU * hz * at as f32 / 8_000.0 + phase).sin()
                };
                tone(0) + tone(1)
            }));
            // So that they begin anywhere in a look.
            audio.resize(audio.len() + way.off_ms * 8 + n % HOP, 0.0);
        }
        let mut detector = ToneDetector::default();
        let mut found = Vec::new();
        let noisy = audio.iter().map(|sample| {
            (sample + way.noise * random.random_range(-1.0..1.0_f32)).clamp(-32_768.0, 32_767.0)
                as i16
        });
        detector.hear(noisy.collect::<Vec<_>>(), |sounded| found.push(sounded));
        found.extend(detector.sounding().map(|it| Sounded {
            digit: it.digit,
            since: it.since,
            samples: it.samples(),
        }));
        for sounded in &found {
            let off = sounded.samples.abs_diff(way.on_ms as u64 * 8);
            assert!(off <= 80, "{way:?}: {sounded:?}");
        }
        found.len()
    }

    /// Level of one tone in dBm0.
    fn level(dbm0: f32) -> f32 {
        32_768.0 * 10_f32.powf((dbm0 - 3.17) / 20.0)
    }

    #[test]
    fn what_has_to_be_taken_is() {
        let mut random = random::from_seed(1);
        let sides = [(1.0, 0.0), (1.015, 2.0), (0.985, -2.0)];
        for off in sides {
            for [row, column] in [[-3.0, -3.0], [-24.0, -24.0], [-14.0, -10.0], [-10.0, -18.0]] {
                for (on_ms, off_ms) in [(40, 40), (50, 50), (100, 100)] {
                    let amplitudes = [level(row), level(column)];
                    let way = Way { on_ms, off_ms, amplitudes, off, ..PLAIN };
                    assert_eq!(found(way, &mut random), DIGITS, "{way:?}");
                    // 20 dB of noise below both.
                    let noise = 0.1 * (amplitudes[0] + amplitudes[1]);
                    let noisy = found(Way { noise, ..way }, &mut random);
                    assert!(noisy >= DIGITS * 99 / 100, "{way:?}: {noisy}");
                }
            }
        }
    }

    #[test]
    fn what_must_not_be_taken_is_not() {
        let mut random = random::from_seed(2);
        let longer = Way { on_ms: 100, off_ms: 100, ..PLAIN };
        for way in [
            Way { on_ms: 23, off_ms: 60, ..PLAIN },
            Way { off: (1.035, 0.0), ..longer },
            Way { off: (0.965, 0.0), ..longer },
            // One tone, and two of which one is hardly there.
            Way { amplitudes: [4_000.0, 0.0], ..longer },
            Way { amplitudes: [0.0, 4_000.0], ..longer },
            Way { amplitudes: [4_000.0, 400.0], ..longer },
            // As much noise as tones.
            Way { noise: 14_000.0, ..longer },
            // Too quiet.
            Way { amplitudes: [level(-50.0); 2], ..longer },
        ] {
            assert_eq!(found(way, &mut random), 0, "{way:?}");
        }
    }

    #[test]
    fn an_interruption_of_10_ms_is_no_end_and_missing_audio_neither() {
        let tone = |samples: usize| -> Vec<i16> {
            (0..samples)
                .map(|at| {
                    let tone = |hz: f32| (TAU * hz * at as f32 / 8_000.0).sin();
                    (4_000.0 * (tone(HZ[1]) + tone(HZ[5]))) as i16
                })
                .collect()
        };
        let mut detector = ToneDetector::default();
        let mut ended = Vec::new();
        let mut hear = |detector: &mut ToneDetector, audio: Vec<i16>| {
            detector.hear(audio, |sounded| ended.push(sounded));
        };
        hear(&mut detector, tone(800));
        hear(&mut detector, vec![0; 80]);
        hear(&mut detector, tone(800));
        detector.skip(160);
        hear(&mut detector, tone(800));
        hear(&mut detector, vec![0; 800]);
        let [only] = ended[..] else { panic!("{ended:?}") };
        assert_eq!(only.digit.to_char(), '5');
        assert!(only.samples.abs_diff(800 + 80 + 800 + 160 + 800) <= 100, "{only:?}");
        assert!(only.since <= 100, "{only:?}");
    }
}
