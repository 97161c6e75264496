//! Silence that a sender leaves out, as comfort noise (RFC 3389) or as Opus' own pauses (DTX).
//!
//! A trunk that leaves its silence out says once how loud it is. Toward Opus ten packets of that noise
//! are sent ([`crate::audio::noise_packets`]), from which the browser learns how it sounds, then a byte
//! that tells it to go on by itself, and nothing for 400 ms; then one packet and one byte again. It
//! hears the level within 3 dB, and nothing is encoded. Toward G.711 the noise goes on at every packet
//! time. A leg that negotiated comfort noise is told the level instead.
//!
//! A browser that leaves silence out (DTX) sends an Opus packet of a byte or two, then nothing for 400
//! ms, then how the noise sounds by now, and so on. Toward G.711 its decoder makes the noise meanwhile,
//! so that no packet is missing; a leg that negotiated comfort noise is told the level here too.
//!
//! Paced playout plays noise where there is nothing else, so there the level is only remembered.
//!
//! A [`Noise`] is a machine over a [`Transcoder`]: it appends audio or names a packet, and says when it
//! wants to go on. What is sent, and when the noise ends, is [`super::track`]'s.

use std::time::{Duration, Instant};

use super::transcoder::{Encoder, Transcoder};
use crate::audio::SAMPLES_PER_MS;
use crate::audio::noise::NoiseSource;
use crate::audio::noise_packets::NOISE_SAMPLES;
use crate::audio::silence::SilenceGate;
use crate::base::opaque::opaque;
use crate::wire::comfort_noise::NoiseLevel;

/// So many packets of noise are sent before the far decoder is left alone, as libopus does with
/// silence (NB_SPEECH_FRAMES_BEFORE_DTX). With five the noise is 1 dB too low for a second, with one
/// 10 dB.
const LEARNT_FROM: u8 = 10;
/// A packet of noise is sent at least this often, as often as one of silence in
/// [`crate::audio::silence`].
pub const REFRESH: Duration = Duration::from_millis(400);
/// What a packet of [`crate::audio::noise_packets`] lasts.
const NOISE_TIME: Duration = Duration::from_millis(20);
/// What the far decoder makes alone of each [`REFRESH`], beside the packet of noise and the byte.
const ALONE_SAMPLES: u64 = ((400 - 2 * 20) * SAMPLES_PER_MS) as u64;
/// How long a browser may be silent after it said that it pauses. libopus says so again every 400 ms:
/// after three of these nobody is there.
const UNHEARD_SAMPLES_MAX: u64 = (1_200 * SAMPLES_PER_MS) as u64;
/// What the noise may be short of the audio after it: the longest packet sent, 60 ms.
pub const SHORT_SAMPLES_MAX: u64 = (60 * SAMPLES_PER_MS) as u64;
/// A change that is told to a leg that makes the noise itself.
pub const TOLD_FROM_DB: u8 = 3;

/// A silence that the sender left out.
#[derive(Clone, Debug)]
pub struct Noise {
    kind: Kind,
    /// When the next packet of it is due, if we make them.
    next: Option<Instant>,
    /// Samples that pass before it.
    skip: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    /// A trunk told how loud it is.
    Told {
        level: NoiseLevel,
        source: NoiseSource,
        stage: Stage,
        /// Packets sent of it to a browser.
        sent: usize,
    },
    /// The Opus decoder knows how it sounds; for so many samples more.
    Decoded { left: u64 },
}

/// What a browser is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Packets of noise: so many.
    Heard(u8),
    /// One that leaves the rest to the far decoder.
    Left,
}

/// What a due noise does.
pub enum Due {
    /// So many samples were appended, which complete a packet.
    Appended(u64),
    /// This packet is sent as it is; it lasts so many samples.
    Packet(&'static [u8], u64),
    /// It is over.
    Over,
}

opaque!(Due);

impl Noise {
    /// Noise as loud as a trunk said, with its first packet at `first` if we make them.
    pub fn told(level: NoiseLevel, first: Option<Instant>) -> Self {
        let (source, stage) = (NoiseSource::default(), Stage::Heard(LEARNT_FROM));
        Self { kind: Kind::Told { level, source, stage, sent: 0 }, next: first, skip: 0 }
    }

    /// What a browser leaves out after `samples` that were played. Its decoder makes the rest, half a
    /// packet later than the browser would send it, for it may go on at any time.
    pub fn decoded(samples: usize, now: Instant) -> Self {
        let first = now + duration_of(samples) + duration_of(samples) / 2;
        let kind = Kind::Decoded { left: UNHEARD_SAMPLES_MAX };
        Self { kind, next: Some(first), skip: 0 }
    }

    /// A noise that goes on is not begun again; when its level changes a browser has to learn it
    /// anew. `false`: it was of another kind.
    pub fn change(&mut self, told: NoiseLevel) -> bool {
        let Kind::Told { level, stage, .. } = &mut self.kind else { return false };
        if level.distance_db(told) >= TOLD_FROM_DB {
            *stage = Stage::Heard(LEARNT_FROM);
        }
        *level = told;
        true
    }

    /// When a packet of it is due.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Appends so much of it.
    pub fn fill(&mut self, transcoder: &mut Transcoder, samples: usize) {
        match &mut self.kind {
            Kind::Told { level, source, .. } => {
                source.fill(*level, transcoder.assembly.append(samples));
            }
            Kind::Decoded { left } => {
                *left = left.saturating_sub(samples as u64);
                transcoder.fill(samples, None);
            }
        }
    }

    /// Samples that pass before what is due: the far decoder made them.
    pub fn take_skip(&mut self) -> u64 {
        std::mem::take(&mut self.skip)
    }

    /// What is due `at`. A packet of Opus is named when the one in the making is complete.
    pub fn due(&mut self, transcoder: &mut Transcoder, at: Instant) -> Due {
        if matches!(self.kind, Kind::Decoded { left: 0 }) {
            return Due::Over;
        }
        let assembly = &transcoder.assembly;
        self.next = Some(at + duration_of(assembly.packet_samples()));
        let missing = assembly.packet_samples() - assembly.pending();
        match (&mut self.kind, &mut transcoder.encoder) {
            // Until the packets are made, in the process's first moments, noise is encoded.
            (Kind::Told { level, sent, .. }, Encoder::Opus(encoder, gate))
                if gate.noise_packets().packet(*level, *sent).is_some() =>
            {
                encoder.interrupt();
                self.packet(gate, at)
            }
            _ => {
                self.fill(transcoder, missing);
                Due::Appended(missing as u64)
            }
        }
    }

    fn packet(&mut self, gate: &SilenceGate, at: Instant) -> Due {
        let Kind::Told { level, stage, sent, .. } = &mut self.kind else { return Due::Over };
        let Some(packet) = gate.noise_packets().packet(*level, *sent) else { return Due::Over };
        *sent = sent.wrapping_add(1);
        let (packet, next) = match *stage {
            Stage::Heard(more) => {
                *stage = if more > 1 { Stage::Heard(more - 1) } else { Stage::Left };
                (packet, NOISE_TIME)
            }
            // Its first byte alone: a packet without audio (RFC 6716 §3.2.1).
            Stage::Left => {
                *stage = Stage::Heard(1);
                self.skip = ALONE_SAMPLES;
                (&packet[..1], REFRESH - NOISE_TIME)
            }
        };
        self.next = Some(at + next);
        Due::Packet(packet, NOISE_SAMPLES as u64)
    }
}

fn duration_of(samples: usize) -> Duration {
    Duration::from_micros(samples as u64 * 125)
}
