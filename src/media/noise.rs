//! Comfort noise (RFC 3389) in the packet line.
//!
//! A trunk that leaves its silence out says once how loud it is. Toward Opus ten packets of that noise
//! are sent ([`crate::audio::noise_packets`]), from which the browser learns how it sounds, then a byte
//! that tells it to go on by itself, and nothing for 400 ms; then one packet and one byte again. It
//! hears the level within 3 dB, and nothing is encoded. Toward G.711 the noise goes on at every packet
//! time. A leg that negotiated comfort noise is told the level instead. While a browser leaves silence
//! out (Opus packets of a byte or two), such a leg is told too.
//!
//! Paced playout plays noise where there is nothing else, so there the level is only remembered.

use std::time::{Duration, Instant};

use super::line::{Onward, Packets, count, write_payload};
use super::stream::{Encoder, Path, Playout, Transcoder};
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
/// A change that is told to a leg that makes the noise itself.
const TOLD_FROM_DB: u8 = 3;
/// An Opus packet of so many bytes holds no audio: its sender pauses (RFC 6716 §3.2.1).
pub(super) const OPUS_PAUSE_BYTES: usize = 2;

/// A silence that the sender left out.
#[derive(Clone, Debug)]
pub struct Noise {
    /// How loud it is.
    pub level: NoiseLevel,
    source: NoiseSource,
    /// When the next packet of it is due, if we make them.
    next: Option<Instant>,
    stage: Stage,
    /// Packets sent of it.
    sent: usize,
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
        let end = transcoder.pending + samples;
        self.source.fill(self.level, &mut transcoder.pcm[transcoder.pending..end]);
        transcoder.pending = end;
    }
}

impl Playout {
    /// When a packet of noise is due.
    pub fn next_noise(&self) -> Option<Instant> {
        self.noise.as_ref().and_then(|noise| noise.next)
    }

    /// The noise from now on, with its first packet at `first` if we make them. One that is as loud as
    /// before just goes on.
    fn set_noise(&mut self, level: NoiseLevel, first: Option<Instant>) {
        let mut noise = self.noise.take().unwrap_or_else(|| Noise {
            level: NoiseLevel::SILENCE,
            source: NoiseSource::default(),
            next: first,
            stage: Stage::Heard(LEARNT_FROM),
            sent: 0,
        });
        if noise.level.distance_db(level) >= TOLD_FROM_DB {
            noise.stage = Stage::Heard(LEARNT_FROM);
            // The packet sent last is 20 ms long.
            noise.next =
                first.map(|first| noise.next.map_or(first, |next| next.min(first + NOISE_TIME)));
        }
        noise.level = level;
        self.noise = Some(noise);
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
            self.playout.timeline.follow(self.now);
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
        if playout.events.relay.is_active() || self.to.digits.is_active() {
            playout.noise = None;
            return Ok(());
        }
        // A stall of ours is not made up for.
        let due = if self.now > due + REFRESH { self.now } else { due };
        if matches!(transcoder.encoder, Encoder::Opus(..)) {
            return self.noise_packet_of_opus(due);
        }
        noise.next = Some(due + Duration::from_micros(transcoder.packet_samples as u64 * 125));
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
        let Encoder::Opus(encoder, gate) = &mut transcoder.encoder else {
            return Err(Discard::NoDestination);
        };
        let packet =
            gate.noise_packets().packet(noise.level, noise.sent).ok_or(Discard::EncoderFailed)?;
        let (packet, stage, next) = match noise.stage {
            Stage::Heard(more @ 2..) => (packet, Stage::Heard(more - 1), NOISE_TIME),
            Stage::Heard(_) => (packet, Stage::Left, NOISE_TIME),
            // Its first byte alone: a packet without audio (RFC 6716 §3.2.1).
            Stage::Left => (&packet[..1], Stage::Heard(1), REFRESH - NOISE_TIME),
        };
        noise.stage = stage;
        noise.next = Some(due + next);
        noise.sent = noise.sent.wrapping_add(1);
        encoder.interrupt();
        let timestamp = self.to.outgoing.timestamp_of(playout.timeline.end());
        playout.timeline.advance(NOISE_SAMPLES as u64, self.now);
        let (now, outbox) = (self.now, &mut *self.around.outbox);
        self.to.counters.frames_silent += 1;
        self.around.frames.silent += 1;
        let payload_type = self.to.format.as_ref().ok_or(Discard::NoDestination)?.payload_type;
        playout.talkspurt = true; // with what follows the noise
        self.to.send(payload_type, false, timestamp, now, outbox, |out| write_payload(packet, out))
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
