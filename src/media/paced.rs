//! Paced playout in the packet line: one packet leaves at every tick, whatever came.
//!
//! ```text
//!  [rtp]   … ─► recognise ─► playout buffer
//!  [tick]  playout buffer ─► Play ─► audio ─► decode ─► shorten ─┐
//!                         ├► Event ─► re-clock ─► send          ├► assemble ─► gate ─► encode ─► send
//!                         └► Lost, Nothing ─► FEC, concealment ─┘
//! ```
//!
//! The outgoing time line is the ticks'. While a telephone event replaces the audio, and while nothing
//! can be sent, the ticks pass and so does what would have been played.

use std::time::Instant;

use super::format::Meaning;
use super::line::{Onward, Packets, count};
use super::stream::{Path, Playout};
use crate::audio::opus::{self, Filled};
use crate::audio::playout::{DelayRange, PlayoutBuffer, Pull, Shorten};
use crate::audio::repair::Packet;
use crate::audio::shorten::{Loudness, leave_out_period};
use crate::base::discard::Discard;
use crate::control::message::{Codec, PlayoutStatistics};
use crate::wire::rtp::PayloadType;

/// What a paced stream waits in.
pub struct Paced {
    /// The packets.
    pub buffer: PlayoutBuffer,
    /// What it was made for: the bounds of the delay, and samples of a packet sent.
    pub settings: (DelayRange, usize),
    loudness: Loudness,
}

/// Whether audio can be played at a tick.
enum Voice {
    Speaks,
    Mute(Discard),
}

impl Paced {
    /// An empty buffer; it allocates here only.
    pub fn new(settings: (DelayRange, usize)) -> Self {
        let (range, tick_samples) = settings;
        let buffer = PlayoutBuffer::new(range, tick_samples);
        Self { buffer, settings, loudness: Loudness::default() }
    }

    /// Takes a packet in.
    pub fn accept(
        &mut self,
        packet: Packet<'_>,
        meaning_of: impl Fn(PayloadType) -> Meaning,
        now: Instant,
    ) -> Result<(), Discard> {
        let audio = audio_of(packet, meaning_of)?;
        self.buffer.accept(packet, audio, now)
    }

    /// Takes a copy of a packet in if it is missed; says so.
    pub fn recover(
        &mut self,
        copy: Packet<'_>,
        meaning_of: impl Fn(PayloadType) -> Meaning,
        now: Instant,
    ) -> bool {
        audio_of(copy, meaning_of).is_ok_and(|audio| self.buffer.recover(copy, audio, now))
    }

    /// For the leg's statistics.
    pub fn statistics(&self) -> PlayoutStatistics {
        let report = self.buffer.report();
        PlayoutStatistics {
            delay_ms: report.delay_ms,
            target_ms: report.target_ms,
            inserted_ms: report.inserted_ms,
            dropped_ms: report.dropped_ms,
        }
    }
}

/// A packet's clock in Hz and its samples of 8 kHz, if it is audio. An empty one, by which some trunks
/// keep NAT bindings alive, is not.
fn audio_of(
    packet: Packet<'_>,
    meaning_of: impl Fn(PayloadType) -> Meaning,
) -> Result<Option<(u32, usize)>, Discard> {
    match meaning_of(packet.header.payload_type) {
        Meaning::Audio(codec) if !packet.payload.is_empty() => {
            Ok(Some((codec.clock_hz(), samples_of(codec, packet.payload)?)))
        }
        _ => Ok(None),
    }
}

fn samples_of(codec: Codec, payload: &[u8]) -> Result<usize, Discard> {
    match codec {
        Codec::Opus => opus::packet_samples(payload).map_err(|_| Discard::BadPayload),
        Codec::Pcmu | Codec::Pcma => Ok(payload.len()),
    }
}

impl Onward<'_, '_> {
    /// Plays the ticks that are due: one, or a few if we come late.
    pub(super) fn play_due(
        &mut self,
        paced: &mut Paced,
        meaning_of: impl Fn(PayloadType) -> Meaning,
    ) {
        let (_, tick_samples) = paced.settings;
        while let Some(skipped) = paced.buffer.begin_tick(self.now) {
            if skipped > 0 {
                self.pass(tick_samples * skipped as usize);
            }
            self.tick(paced, tick_samples, &meaning_of);
        }
    }

    fn tick(
        &mut self,
        paced: &mut Paced,
        tick_samples: usize,
        meaning_of: &impl Fn(PayloadType) -> Meaning,
    ) {
        let mut filled = self.pending();
        while filled < tick_samples {
            filled += match paced.buffer.pull(tick_samples - filled) {
                Pull::Play { packet, shorten, missing_packets } => {
                    self.counters.frames_concealed += u64::from(missing_packets);
                    let (samples, left_out, quiet) = match meaning_of(packet.header.payload_type) {
                        Meaning::Audio(codec) => {
                            self.play(codec, packet.payload, shorten, &mut paced.loudness)
                        }
                        _ => (0, 0, false), // the format changed meanwhile
                    };
                    paced.buffer.played(left_out, quiet);
                    samples
                }
                Pull::Event(packet) => {
                    let played = match meaning_of(packet.header.payload_type) {
                        Meaning::Events { clock_hz } => self.event(clock_hz, packet),
                        Meaning::ComfortNoise => self.comfort_noise(packet),
                        _ => Ok(()), // empty
                    };
                    count(self.counters, played);
                    // An event that began took back what was pending.
                    filled = filled.min(self.pending());
                    0
                }
                Pull::Lost { samples, next } => {
                    match self.fill_in(samples, next) {
                        Filled::FromFec => self.counters.frames_recovered += 1,
                        Filled::Concealed => self.counters.frames_concealed += 1,
                    }
                    samples
                }
                Pull::Nothing { samples } => {
                    self.fill_in(samples, None);
                    samples
                }
            };
        }
        match self.voice() {
            Voice::Speaks => {
                let sent = self.send_full_packets(Packets::One);
                count(self.counters, sent);
            }
            Voice::Mute(_) => self.pass(tick_samples),
        }
    }

    /// Decodes a packet. Says how many samples it has filled, how many were left out, and whether it
    /// is quiet.
    fn play(
        &mut self,
        codec: Codec,
        payload: &[u8],
        shorten: Shorten,
        loudness: &mut Loudness,
    ) -> (usize, usize, bool) {
        if let Voice::Mute(reason) = self.voice() {
            self.counters.discards.count(reason);
            return (samples_of(codec, payload).unwrap_or(0), 0, true);
        }
        self.playout.noise = None;
        let Path::Transcode(transcoder) = &mut self.playout.path else { return (0, 0, false) };
        let begin = transcoder.pending;
        let samples = match transcoder.decode(codec, payload) {
            Ok(samples) => samples,
            Err(reason) => {
                self.counters.discards.count(reason);
                return (0, 0, false);
            }
        };
        self.around.frames.decoded += 1;
        let pcm = &mut transcoder.pcm[begin..begin + samples];
        let quiet = loudness.is_quiet(pcm);
        let kept = match shorten {
            Shorten::IfQuiet | Shorten::Anyway if quiet => 0,
            Shorten::Anyway => leave_out_period(pcm),
            Shorten::IfQuiet | Shorten::No => samples,
        };
        transcoder.pending = begin + kept;
        self.playout.timeline.advance(kept as u64, self.now);
        (kept, samples - kept, quiet)
    }

    fn fill_in(&mut self, samples: usize, next: Option<&[u8]>) -> Filled {
        match self.voice() {
            Voice::Speaks => {
                let playout = &mut *self.playout;
                match (&mut playout.noise, &mut playout.path) {
                    (Some(noise), Path::Transcode(transcoder)) => {
                        noise.fill(transcoder, samples);
                        playout.timeline.advance(samples as u64, self.now);
                        Filled::Concealed
                    }
                    _ => self.conceal(samples as u64, next),
                }
            }
            Voice::Mute(_) => Filled::Concealed,
        }
    }

    /// Time passes in which nothing is sent.
    fn pass(&mut self, samples: usize) {
        self.playout.timeline.advance(samples as u64, self.now);
        self.playout.talkspurt = true;
    }

    fn voice(&self) -> Voice {
        let transcodes = matches!(self.playout.path, Path::Transcode(_));
        if !self.to.can_send() || !transcodes {
            return Voice::Mute(Discard::NoDestination);
        }
        if self.playout.events.relay.is_active() || self.to.digits.is_active() {
            return Voice::Mute(Discard::DuringTelephoneEvent);
        }
        Voice::Speaks
    }

    fn pending(&self) -> usize {
        match &self.playout.path {
            Path::Transcode(transcoder) => transcoder.pending,
            Path::Relay(_) | Path::Closed => 0,
        }
    }
}

impl Playout {
    /// An event takes the place of the audio from the present tick on.
    pub(super) fn begin_paced_event(&mut self) {
        if let Path::Transcode(transcoder) = &mut self.path {
            self.timeline.retract(transcoder.pending as u64);
            transcoder.pending = 0;
        }
        self.events.onset = self.timeline.end();
    }
}
