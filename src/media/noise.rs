//! Comfort noise (RFC 3389) in the packet line.
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

use std::time::{Duration, Instant};

use super::line::{Onward, Packets, count, write_payload};
use super::stream::{Encoder, Path, Playout, Transcoder};
use crate::audio::SAMPLES_PER_MS;
use crate::audio::noise::NoiseSource;
use crate::audio::noise_packets::NOISE_SAMPLES;
use crate::audio::repair::Packet;
use crate::base::discard::Discard;
use crate::wire::comfort_noise::NoiseLevel;
use crate::wire::rtp::PayloadType;

/// So many packets of noise are sent before the far decoder is left alone, as libopus does with
/// silence (NB_SPEECH_FRAMES_BEFORE_DTX). With five the noise is 1 dB too low for a second, with one
/// 10 dB.
const LEARNT_FROM: u8 = 10;
/// A packet of noise is sent at least this often, as often as one of silence in
/// [`crate::audio::silence`].
const REFRESH: Duration = Duration::from_millis(400);
/// What a packet of [`crate::audio::noise_packets`] lasts.
const NOISE_TIME: Duration = Duration::from_millis(20);
/// What the far decoder makes alone of each [`REFRESH`], beside the packet of noise and the byte.
const ALONE_SAMPLES: u64 = ((400 - 2 * 20) * SAMPLES_PER_MS) as u64;
/// How long a browser may be silent after it said that it pauses. libopus says so again every 400 ms:
/// after three of these nobody is there.
const UNHEARD_SAMPLES_MAX: u64 = (1_200 * SAMPLES_PER_MS) as u64;
/// What the noise may be short of the audio after it: the longest packet sent, 60 ms.
const SHORT_SAMPLES_MAX: u64 = (60 * SAMPLES_PER_MS) as u64;
/// A change that is told to a leg that makes the noise itself.
const TOLD_FROM_DB: u8 = 3;
/// An Opus packet of so many bytes holds no audio: its sender pauses (RFC 6716 §3.2.1).
pub(super) const OPUS_PAUSE_BYTES: usize = 2;

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

impl Noise {
    /// Appends so much of it.
    pub(super) fn fill(&mut self, transcoder: &mut Transcoder, samples: usize) {
        match &mut self.kind {
            Kind::Told { level, source, .. } => {
                let end = transcoder.pending + samples;
                source.fill(*level, &mut transcoder.pcm[transcoder.pending..end]);
                transcoder.pending = end;
            }
            Kind::Decoded { left } => {
                *left = left.saturating_sub(samples as u64);
                transcoder.fill(samples, None);
            }
        }
    }
}

impl Playout {
    /// When a packet of noise is due.
    pub fn next_noise(&self) -> Option<Instant> {
        self.noise.as_ref().and_then(|noise| noise.next)
    }

    /// The noise from now on, with its first packet at `first` if we make them. One that goes on is not
    /// begun again; when its level changes a browser has to learn it anew.
    fn set_noise(&mut self, told: NoiseLevel, first: Option<Instant>) {
        if let Some(Noise { kind: Kind::Told { level, stage, .. }, .. }) = &mut self.noise {
            if level.distance_db(told) >= TOLD_FROM_DB {
                *stage = Stage::Heard(LEARNT_FROM);
            }
            *level = told;
            return;
        }
        let (source, stage) = (NoiseSource::default(), Stage::Heard(LEARNT_FROM));
        let kind = Kind::Told { level: told, source, stage, sent: 0 };
        self.noise = Some(Noise { kind, next: first, skip: 0 });
    }

    /// A browser said that it leaves silence out; `samples` of it were played. Its decoder makes the
    /// rest, half a packet later than the browser would send it, for it may go on at any time.
    pub(super) fn expect_pause(&mut self, samples: usize, now: Instant) {
        let first = now + duration_of(samples) + duration_of(samples) / 2;
        let kind = Kind::Decoded { left: UNHEARD_SAMPLES_MAX };
        self.noise = Some(Noise { kind, next: Some(first), skip: 0 });
    }
}

impl Onward<'_, '_> {
    /// A packet of comfort noise in its turn.
    pub(super) fn comfort_noise(&mut self, packet: Packet<'_>) -> Result<(), Discard> {
        let level = NoiseLevel::parse(packet.payload)?;
        let format = self.to.format.as_ref().filter(|_| self.to.can_send());
        let format = format.ok_or(Discard::NoDestination)?;
        if self.playout.events.relay.is_active() || self.to.digits.is_active() {
            return Err(Discard::DuringTelephoneEvent);
        }
        if format.paced.is_some() {
            self.playout.set_noise(level, None);
            return Ok(());
        }
        // The clock of G.711, beside which alone it is received.
        let timeline = &mut self.playout.timeline;
        let gap = timeline.gap_before(packet.header.timestamp, 8_000, self.now);
        if self.playout.noise.is_none() && gap > 0 {
            let lost = self.playout.missing_packets > 0;
            self.fill(gap, lost.then_some(packet.payload))?;
        }
        if self.noise_payload_type().is_some() {
            return self.tell_noise(level);
        }
        self.playout.set_noise(level, Some(self.now));
        self.wake_noise();
        Ok(())
    }

    /// Sends the noise that is due.
    pub(super) fn wake_noise(&mut self) {
        while let Some(due) = self.playout.next_noise().filter(|due| *due <= self.now) {
            let sent = self.noise_packet(due);
            count(self.counters, sent);
        }
    }

    fn noise_packet(&mut self, due: Instant) -> Result<(), Discard> {
        let playout = &mut *self.playout;
        let (Some(noise), Path::Transcode(transcoder)) = (&mut playout.noise, &mut playout.path)
        else {
            playout.noise = None;
            return Err(Discard::NoDestination);
        };
        let ended = matches!(noise.kind, Kind::Decoded { left: 0 });
        if ended || playout.events.relay.is_active() || self.to.digits.is_active() {
            playout.noise = None;
            return Ok(());
        }
        // A stall of ours is not made up for.
        let due = if self.now > due + REFRESH { self.now } else { due };
        playout.timeline.advance(std::mem::take(&mut noise.skip), self.now);
        noise.next = Some(due + duration_of(transcoder.packet_samples));
        if matches!(transcoder.encoder, Encoder::Opus(..)) {
            return self.noise_packet_of_opus(due);
        }
        let samples = transcoder.packet_samples - transcoder.pending;
        noise.fill(transcoder, samples);
        playout.timeline.advance(samples as u64, self.now);
        self.send_full_packets(Packets::All)
    }

    fn noise_packet_of_opus(&mut self, due: Instant) -> Result<(), Discard> {
        self.complete_with_noise()?;
        let playout = &mut *self.playout;
        let (Some(noise), Path::Transcode(transcoder)) = (&mut playout.noise, &mut playout.path)
        else {
            return Err(Discard::NoDestination);
        };
        let (Kind::Told { level, stage, sent, .. }, Encoder::Opus(encoder, gate)) =
            (&mut noise.kind, &mut transcoder.encoder)
        else {
            return Err(Discard::NoDestination);
        };
        let packet = gate.noise_packets().packet(*level, *sent).ok_or(Discard::EncoderFailed)?;
        *sent = sent.wrapping_add(1);
        let (packet, next) = match *stage {
            Stage::Heard(more) => {
                *stage = if more > 1 { Stage::Heard(more - 1) } else { Stage::Left };
                (packet, NOISE_TIME)
            }
            // Its first byte alone: a packet without audio (RFC 6716 §3.2.1).
            Stage::Left => {
                *stage = Stage::Heard(1);
                noise.skip = ALONE_SAMPLES;
                (&packet[..1], REFRESH - NOISE_TIME)
            }
        };
        noise.next = Some(due + next);
        encoder.interrupt();
        let timestamp = self.to.outgoing.timestamp_of(playout.timeline.end());
        playout.timeline.advance(NOISE_SAMPLES as u64, self.now);
        playout.talkspurt = true; // with what follows the noise
        let (now, outbox) = (self.now, &mut *self.around.outbox);
        self.to.counters.frames_silent += 1;
        self.around.frames.silent += 1;
        let payload_type = self.to.format.as_ref().ok_or(Discard::NoDestination)?.payload_type;
        self.to.send(payload_type, false, timestamp, now, outbox, |out| write_payload(packet, out))
    }

    /// Audio comes again, `gap` samples after the noise so far: fills what is short of it, for our
    /// packets are half of one late, or the audio is early. Says how much of the gap is left.
    pub(super) fn end_noise(&mut self, gap: u64) -> Result<u64, Discard> {
        let playout = &mut *self.playout;
        let (Some(mut noise), Path::Transcode(transcoder)) =
            (playout.noise.take(), &mut playout.path)
        else {
            return Ok(gap);
        };
        // A browser's decoder goes on by itself.
        if gap == 0 || matches!(transcoder.encoder, Encoder::Opus(..)) {
            return Ok(gap);
        }
        let short = gap.min(SHORT_SAMPLES_MAX);
        noise.fill(transcoder, short as usize);
        playout.timeline.advance(short, self.now);
        self.send_full_packets(Packets::All)?;
        Ok(gap - short)
    }

    /// Completes the packet of audio that the noise cuts short.
    fn complete_with_noise(&mut self) -> Result<(), Discard> {
        let playout = &mut *self.playout;
        if let (Some(noise), Path::Transcode(transcoder)) = (&mut playout.noise, &mut playout.path)
        {
            let missing = transcoder.missing_to_full();
            noise.fill(transcoder, missing as usize);
            playout.timeline.advance(missing, self.now);
        }
        self.send_full_packets(Packets::All)
    }

    /// Tells a leg that makes noise itself how loud it is; the audio so far is complete.
    pub(super) fn tell_noise(&mut self, level: NoiseLevel) -> Result<(), Discard> {
        let payload_type = self.noise_payload_type().ok_or(Discard::NoDestination)?;
        self.playout.talkspurt = true;
        if self.playout.told.is_some_and(|told| told.distance_db(level) < TOLD_FROM_DB) {
            return Ok(());
        }
        self.playout.told = Some(level);
        let timestamp = self.to.outgoing.timestamp_of(self.playout.timeline.end());
        let (now, outbox) = (self.now, &mut *self.around.outbox);
        self.to.send(payload_type, false, timestamp, now, outbox, |out| {
            *out.first_mut().ok_or(Discard::TooLarge)? = level.to_byte();
            Ok(1)
        })
    }

    /// Leaves out what an Opus packet without audio was decoded to, and tells how loud it was.
    pub(super) fn leave_out(&mut self, samples: usize) -> Result<(), Discard> {
        let Path::Transcode(transcoder) = &mut self.playout.path else {
            return Err(Discard::NoDestination);
        };
        if transcoder.pending > samples {
            // It completes a packet that was begun.
            self.playout.timeline.advance(samples as u64, self.now);
            return self.send_full_packets(Packets::All);
        }
        let level = NoiseLevel::of(&transcoder.pcm[..samples]);
        transcoder.pending = 0;
        let told = self.tell_noise(level);
        self.playout.timeline.advance(samples as u64, self.now);
        told
    }

    /// The payload type by which the other leg is told of noise.
    pub(super) fn noise_payload_type(&self) -> Option<PayloadType> {
        let format = self.to.format.as_ref()?;
        format.send_comfort_noise.filter(|_| format.paced.is_none())
    }
}

fn duration_of(samples: usize) -> Duration {
    Duration::from_micros(samples as u64 * 125)
}
