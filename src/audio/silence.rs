//! The silence gate: which frames of a stream toward Opus need not be encoded, because nothing is
//! said in them. A caller listens half of the time, and the encoder is the dearest step of all.
//!
//! In: the frames in order, before they are encoded. Out: whether to encode, or what to send instead.
//! libopus saves no encoder time by its own DTX; this keeps the same times as it does: ten frames of
//! 20 ms before the first, and one frame in full every 400 ms.
//!
//! After SILK a packet of one byte stands for silence, at which the far decoder makes comfort noise as
//! it learnt it from the frames before. CELT has no comfort noise (its concealment repeats the last
//! pitch), so after CELT noise of the same level is sent, by SILK and ready-made
//! ([`super::noise_packets`]): ten packets, from which the decoder learns, then as after SILK.
//!
//! The encoder's state stands still meanwhile, as the decoder's does but for its noise; after other
//! people's noise it must be told so ([`super::opus::OpusEncoder::interrupt`]).
//!
//! What it costs in PESQ, mean of eight voices that speak twice with pauses of 0.5 and 1.5 s, white
//! noise in all of it (`tools/quality --pauses 75 --try silk_48k_fec,gate --try celt_48k,gate`):
//!
//! | noise, dBov | SILK 48 | gated | SILK 24 | gated | CELT 48 | gated |
//! |---|---|---|---|---|---|---|
//! | -100 | 4.43 | 4.42 | 4.36 | 4.35 | 4.46 | 4.43 |
//! | -75 | 4.45 | 4.44 | 4.41 | 4.40 | 4.49 | 4.47 |
//! | -69 | 4.46 | 4.46 | 4.41 | 4.41 | 4.50 | 4.50 |
//!
//! The last is too loud for the gate. A caller who says something every other second costs 0.6 of the
//! frames of one who always speaks, on every rung.

use super::SAMPLES_PER_MS;
use super::noise_packets::{NOISE_SAMPLES, NoisePackets};
use crate::base::narrow::Narrow;
use crate::base::opaque::opaque;
use crate::wire::comfort_noise::NoiseLevel;

/// Silence is sent in full for so long before it is left to the far decoder, which learns there how
/// its comfort noise has to sound (NB_SPEECH_FRAMES_BEFORE_DTX of libopus).
const HANGOVER: usize = 200 * SAMPLES_PER_MS;
/// One frame is sent in full this often, so that the noise is followed (MAX_CONSECUTIVE_DTX).
const REFRESH: usize = 400 * SAMPLES_PER_MS;
/// The loudest sample of a silent frame...
const PEAK_MAX: u16 = 56;
/// ...and its largest mean square: -68 dBov (-62 dBm0), 42 dB below speech at its nominal level and
/// the noise of an idle telephone channel. Prompts at -28 dBov with pauses of 1 s, white noise in
/// all of it: at -69 dBov the gate costs 0.002 PESQ (4.289 for 4.291), without noise nothing, but
/// 0.035 at -65 and 0.066 at -61 dBov, where the far end's noise is no longer taken for ours.
const MEAN_SQUARE_MAX: u32 = 13 * 13;
/// Packets of noise from which the far decoder learns it.
const LEARNT_FROM: usize = 10;
/// The level of a silence is the mean of about so many frames.
const LEVEL_FRAMES: f32 = 10.0;
/// Configurations of an Opus packet below this one are SILK (RFC 6716 §3.1)...
const FIRST_HYBRID: u8 = 12;
/// ...and from this one on CELT.
const FIRST_CELT: u8 = 16;

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Encode it.
    Encode,
    /// Send this byte alone: a packet without audio (RFC 6716 §3.2.1), of the same kind as the last
    /// one in full.
    Leave(u8),
    /// Send this packet of noise.
    Noise(&'static [u8]),
}

/// The gate of one stream. All of it is counted in samples of 8 kHz.
#[derive(Clone)]
pub struct SilenceGate {
    noise: &'static NoisePackets,
    /// Silence so far, up to [`HANGOVER`].
    silence: usize,
    /// Its mean square.
    mean_square: f32,
    /// Since the end of the last frame in full.
    since_full: usize,
    /// Packets of noise sent in this silence.
    noise_sent: usize,
    last: Option<Last>,
}

opaque!(SilenceGate);

/// The last frame that was encoded.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// By SILK: this byte is a packet of its kind without audio.
    Silk(u8),
    /// By CELT, alone in its packet.
    Celt,
}

impl Default for SilenceGate {
    fn default() -> Self {
        Self {
            noise: NoisePackets::shared(),
            silence: 0,
            mean_square: 0.0,
            since_full: 0,
            noise_sent: 0,
            last: None,
        }
    }
}

impl SilenceGate {
    /// Judges the next frame. A frame with anything in it is encoded, the first one too.
    #[inline]
    pub fn judge(&mut self, pcm: &[i16]) -> Verdict {
        let lasting = self.silence >= HANGOVER;
        self.since_full += pcm.len();
        let Some(mean_square) = silent_mean_square(pcm) else {
            self.silence = 0;
            return Verdict::Encode;
        };
        let share = if self.silence == 0 { 1.0 } else { 1.0 / LEVEL_FRAMES };
        self.mean_square += (mean_square as f32 - self.mean_square) * share;
        self.silence = (self.silence + pcm.len()).min(HANGOVER);
        match self.last {
            Some(Last::Silk(byte)) if lasting && self.since_full < REFRESH => Verdict::Leave(byte),
            // The noise has packets of its own length only.
            Some(Last::Celt) if lasting && pcm.len() == NOISE_SAMPLES => self.noise(),
            _ => Verdict::Encode,
        }
    }

    /// Learns what a frame that was encoded has become.
    #[inline]
    pub fn encoded(&mut self, packet: &[u8]) {
        self.since_full = 0;
        self.noise_sent = 0;
        self.last = match packet.first() {
            Some(toc) if toc & 3 != 0 => None, // more than one frame in the packet
            Some(toc) if toc >> 3 < FIRST_HYBRID => Some(Last::Silk(*toc)),
            Some(toc) if toc >> 3 >= FIRST_CELT => Some(Last::Celt),
            _ => None,
        };
    }

    /// What noise is made of.
    pub fn noise_packets(&self) -> &'static NoisePackets {
        self.noise
    }

    fn noise(&mut self) -> Verdict {
        let level = NoiseLevel::of_mean_square(self.mean_square);
        let Some(packet) = self.noise.packet(level, self.noise_sent) else {
            return Verdict::Encode;
        };
        if self.noise_sent >= LEARNT_FROM && self.since_full < REFRESH {
            return Verdict::Leave(packet[0]);
        }
        self.since_full = 0;
        self.noise_sent += 1;
        Verdict::Noise(packet)
    }
}

/// The mean square of a frame in which nothing is said.
fn silent_mean_square(pcm: &[i16]) -> Option<u32> {
    let peak = pcm.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    if peak > PEAK_MAX {
        return None;
    }
    let energy: u32 = pcm.iter().map(|sample| u32::from(sample.unsigned_abs()).pow(2)).sum();
    let mean_square = energy / Narrow::<u32>::narrow(pcm.len().max(1));
    (energy <= MEAN_SQUARE_MAX * Narrow::<u32>::narrow(pcm.len())).then_some(mean_square)
}

#[cfg(test)]
mod tests;
