//! Paced playout: one packet leaves at every tick, whatever came.
//!
//! ```text
//!  [rtp]   … ─► recognise ─► playout buffer
//!  [tick]  playout buffer ─► Play ─► audio ─► decode ─► shorten ─┐
//!                         ├► Event ─► re-clock ─► send          ├► assemble ─► gate ─► encode ─► speak
//!                         └► Lost, Nothing ─► FEC, concealment ─┘
//! ```
//!
//! The outgoing time line is the ticks'. While a telephone event replaces the audio, and while nothing
//! can be sent, the ticks pass and so does what would have been played.

use std::time::Instant;

use super::track::{Packets, Track};
use super::voice::Voice;
use crate::audio::opus::{self, Filled};
use crate::audio::playout::{DelayRange, PlayoutBuffer, Pull, Shorten};
use crate::audio::repair::{Continuity, Packet, Turn};
use crate::audio::shorten::{Loudness, leave_out_period};
use crate::base::discard::Discard;
use crate::base::opaque::opaque;
use crate::control::message::{Codec, PlayoutStatistics};
use crate::media::format::{Meaning, Meanings};
use crate::media::leg::outlet::Outlet;

/// What a paced stream waits in.
pub struct Paced {
    /// The packets.
    pub buffer: PlayoutBuffer,
    /// What it was made for: the bounds of the delay, and samples of a packet sent.
    pub settings: (DelayRange, usize),
    loudness: Loudness,
}

opaque!(Paced);

/// What came of a packet that was played.
#[derive(Default)]
struct Played {
    /// Samples of the tick that it filled.
    filled: usize,
    /// Samples that were left out.
    left_out: usize,
    /// Whether it is quiet.
    quiet: bool,
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
        meaning: Meaning,
        now: Instant,
    ) -> Result<(), Discard> {
        let audio = audio_of(packet, meaning)?;
        self.buffer.accept(packet, audio, now)
    }

    /// Takes a copy of a packet in if it is missed; says so.
    pub fn recover(&mut self, copy: Packet<'_>, meaning: Meaning, now: Instant) -> bool {
        audio_of(copy, meaning).is_ok_and(|audio| self.buffer.recover(copy, audio, now))
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

    /// Plays the ticks that are due: one, or a few if we come late.
    pub fn play_due(
        &mut self,
        track: &mut Track,
        meanings: Option<&Meanings>,
        out: &mut Outlet<'_>,
    ) {
        let (_, tick_samples) = self.settings;
        while let Some(skipped) = self.buffer.begin_tick(out.now) {
            if skipped > 0 {
                track.pass(tick_samples * skipped as usize, out.now);
            }
            self.tick(track, meanings, out);
        }
    }

    fn tick(&mut self, track: &mut Track, meanings: Option<&Meanings>, out: &mut Outlet<'_>) {
        let (_, tick_samples) = self.settings;
        let meaning_of = |packet: Packet<'_>| {
            meanings.map_or(Meaning::Unknown, |all| all.of(packet.header.payload_type))
        };
        let mut filled = pending(track);
        while filled < tick_samples {
            filled += match self.buffer.pull(tick_samples - filled) {
                Pull::Play { packet, shorten, missing_packets } => {
                    track.counters.frames_concealed += u64::from(missing_packets);
                    let played = match meaning_of(packet) {
                        Meaning::Audio(codec) => {
                            track.hear_tones(codec, packet, out);
                            let loudness = &mut self.loudness;
                            play(track, (codec, packet.payload), shorten, loudness, out)
                        }
                        _ => Played::default(), // the format changed meanwhile
                    };
                    self.buffer.played(played.left_out, played.quiet);
                    played.filled
                }
                Pull::Event(packet) => {
                    play_event(track, meaning_of(packet), packet, out);
                    // An event that began took back what was pending.
                    filled = filled.min(pending(track));
                    0
                }
                Pull::Lost { samples, next } => {
                    match fill_in(track, samples, next, out) {
                        Filled::FromFec => track.counters.frames_recovered += 1,
                        Filled::Concealed => track.counters.frames_concealed += 1,
                    }
                    samples
                }
                Pull::Nothing { samples } => {
                    fill_in(track, samples, None, out);
                    samples
                }
            };
        }
        if is_muted(track, out) {
            track.pass(tick_samples, out.now);
        } else {
            let sent = track.send_full_packets(Packets::One, out);
            track.count(sent);
        }
    }
}

/// A packet's clock in Hz and its samples of 8 kHz, if it is audio.
fn audio_of(packet: Packet<'_>, meaning: Meaning) -> Result<Option<(u32, usize)>, Discard> {
    match meaning {
        Meaning::Audio(codec) => Ok(Some((codec.clock_hz(), samples_of(codec, packet.payload)?))),
        _ => Ok(None),
    }
}

fn samples_of(codec: Codec, payload: &[u8]) -> Result<usize, Discard> {
    match codec {
        Codec::Opus => opus::packet_samples(payload).map_err(|_| Discard::BadPayload),
        Codec::Pcmu | Codec::Pcma => Ok(payload.len()),
    }
}

fn pending(track: &mut Track) -> usize {
    track.voice.transcoder().map_or(0, |transcoder| transcoder.assembly.pending())
}

fn mute(track: &Track, out: &Outlet<'_>) -> Option<Discard> {
    let closed = !matches!(track.voice, Voice::Transcode(_));
    track.mute(out).or(closed.then_some(Discard::NoDestination))
}

fn is_muted(track: &Track, out: &Outlet<'_>) -> bool {
    mute(track, out).is_some()
}

/// Decodes a packet, and shortens what it brought.
fn play(
    track: &mut Track,
    (codec, payload): (Codec, &[u8]),
    shorten: Shorten,
    loudness: &mut Loudness,
    out: &mut Outlet<'_>,
) -> Played {
    if let Some(reason) = mute(track, out) {
        track.counters.discards.count(reason);
        return Played {
            filled: samples_of(codec, payload).unwrap_or(0),
            left_out: 0,
            quiet: true,
        };
    }
    track.forget_noise();
    let Some(transcoder) = track.voice.transcoder() else { return Played::default() };
    let samples = match transcoder.decode(codec, payload) {
        Ok(samples) => samples,
        Err(reason) => {
            track.counters.discards.count(reason);
            return Played::default();
        }
    };
    out.common.frames.decoded += 1;
    let pcm = transcoder.assembly.last(samples);
    let quiet = loudness.is_quiet(pcm);
    let filled = match shorten {
        Shorten::IfQuiet | Shorten::Anyway if quiet => 0,
        Shorten::Anyway => leave_out_period(pcm),
        Shorten::IfQuiet | Shorten::No => samples,
    };
    let left_out = samples - filled;
    transcoder.assembly.retract(left_out);
    track.advance(filled, out.now);
    Played { filled, left_out, quiet }
}

fn play_event(track: &mut Track, meaning: Meaning, packet: Packet<'_>, out: &mut Outlet<'_>) {
    if matches!(meaning, Meaning::Events(_) | Meaning::ComfortNoise) {
        track.play(
            Turn { packet, missing_packets: 0, continuity: Continuity::Follows },
            meaning,
            out,
        );
    }
}

fn fill_in(track: &mut Track, samples: usize, next: Option<&[u8]>, out: &Outlet<'_>) -> Filled {
    if is_muted(track, out) || track.fill_with_noise(samples, out.now) {
        return Filled::Concealed;
    }
    track.conceal(samples as u64, next, out.now)
}
