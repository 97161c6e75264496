//! What happens to packets in order: audio is placed on the outgoing time line, decoded, assembled,
//! encoded and sent; events replace it; silence that the sender left out is filled or told.
//!
//! ```text
//!  turn ─► audio ─► place ─► decode ─► assemble ─► gate ─► encode ─► speak
//!      ├─► event ─► re-clock ─► send
//!      └─► noise ─► remembered; filled, or told
//! ```
//!
//! In: [`Turn`]s, and time. Out: packets through an [`Outlet`], which is all that is known here of the
//! other leg.

mod playing;
mod telephone_events;
mod tones;

use std::time::Instant;

use self::tones::Tones;
use super::events::{Events, Outputs};
use super::player::Player;
use super::silence::{Due, Noise, REFRESH, SHORT_SAMPLES_MAX, TOLD_FROM_DB};
use super::timeline::Timeline;
use super::transcoder::Encoder;
use super::voice::Voice;
use crate::audio::g711::{self, Law};
use crate::audio::opus::{self, Filled};
use crate::audio::repair::{Packet, Turn};
use crate::audio::silence::Verdict;
use crate::base::discard::{Discard, DiscardCounters};
use crate::base::narrow::Narrow;
use crate::base::opaque::opaque;
use crate::control::message::{Codec, Side};
use crate::media::format::Meaning;
use crate::media::leg::outlet::{Outlet, write_payload};
use crate::wire::comfort_noise::NoiseLevel;

/// The longest gap that is filled: six packets of 20 ms. What is missing beyond is a pause; the
/// codecs have faded to silence by then.
const FILL_SAMPLES_MAX: u64 = 960;

/// What a stream counts of the leg that it hears.
#[derive(Clone, Debug, Default)]
pub struct TrackCounters {
    /// Packets that came as a copy in a later one.
    pub packets_recovered: u64,
    /// Frames rebuilt from in-band FEC.
    pub frames_recovered: u64,
    /// Frames concealed.
    pub frames_concealed: u64,
    /// Telephone events that ended.
    pub events_received: u64,
    /// Packets that went no further when they had their turn, by reason.
    pub discards: DiscardCounters,
}

/// What happens to packets in order.
pub struct Track {
    /// The leg that is heard.
    side: Side,
    /// The audio stages.
    pub voice: Voice,
    /// The telephone events.
    pub events: Events,
    /// What digits are listened for with, in the audio itself.
    tones: Option<Box<Tones>>,
    /// What it counts.
    pub counters: TrackCounters,
    /// What is sent in place of the leg that is heard, while something is.
    pub player: Option<Box<Player>>,
    timeline: Timeline,
    /// The next packet sent begins a talkspurt.
    talkspurt: bool,
    /// The silence that the sender leaves out, while it does.
    noise: Option<Noise>,
    /// What the far end was last told of it, where it makes the noise itself.
    noise_told: Option<NoiseLevel>,
}

opaque!(Track);

/// Which of the packets that are full are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packets {
    /// All of them.
    All,
    /// One, for the others have their own time.
    One,
}

impl Track {
    /// A track that waits for the legs' formats.
    pub fn new(side: Side) -> Self {
        Self {
            side,
            voice: Voice::Closed,
            events: Events::default(),
            tones: None,
            counters: TrackCounters::default(),
            player: None,
            timeline: Timeline::default(),
            talkspurt: true,
            noise: None,
            noise_told: None,
        }
    }

    /// Begins anew with another source; the outgoing time line goes on.
    pub fn restart(&mut self) {
        self.timeline.restart();
        self.forget_tones();
        self.noise = None;
        self.noise_told = None;
    }

    /// Another source is heard from now on: events of the one before are over.
    pub fn change_source(&mut self, out: &mut Outlet<'_>) {
        self.restart();
        let mut outputs = Outputs::default();
        self.events.relay.new_source(out.now, |output| outputs.push(output));
        let sent = self.send_events(&outputs, None, out);
        self.count(sent);
    }

    /// Another far end is sent to from now on: it was told nothing yet.
    pub fn change_listener(&mut self) {
        self.noise_told = None;
        self.talkspurt = true;
    }

    /// Position after the last audio so far.
    pub fn end(&self) -> u64 {
        self.timeline.end()
    }

    /// Where audio would be by now, had it gone on.
    pub fn end_by(&self, now: Instant) -> u64 {
        self.timeline.end_by(now)
    }

    /// Time has passed since the last audio in which nothing was sent, and the sender's clock is of no
    /// use: goes on where audio would be by now.
    pub fn catch_up(&mut self, now: Instant) {
        self.timeline.catch_up(now);
        self.talkspurt = true;
    }

    /// When something is due although nothing comes.
    #[inline]
    pub fn next_timeout(&self) -> [Option<Instant>; 2] {
        [self.events.relay.next_timeout(), self.next_own()]
    }

    /// What was discarded is the fault of nobody who waits for an answer: it is counted.
    pub fn count(&mut self, result: Result<(), Discard>) {
        if let Err(reason) = result {
            self.counters.discards.count(reason);
        }
    }

    /// Why audio cannot be sent now, if it cannot.
    #[inline(always)]
    pub fn mute(&self, out: &Outlet<'_>) -> Option<Discard> {
        let during_event =
            || self.events.relay.is_active().then_some(Discard::DuringTelephoneEvent);
        let during_tone = || self.is_tone_suspected().then_some(Discard::DuringTelephoneEvent);
        let during_play = || self.player.is_some().then_some(Discard::DuringPlay);
        out.mute().or_else(during_event).or_else(during_tone).or_else(during_play)
    }

    /// A packet in its turn.
    #[inline(always)]
    pub fn play(&mut self, turn: Turn<'_>, meaning: Meaning, out: &mut Outlet<'_>) {
        let played = match meaning {
            Meaning::Audio(codec) => {
                if self.tones.is_some() {
                    self.hear_tones(codec, turn.packet, out);
                }
                self.audio(codec, turn, out)
            }
            Meaning::Events(clock) => self.event(clock.hz(), turn.packet, out),
            Meaning::ComfortNoise => self.comfort_noise(turn, out),
            Meaning::Redundant | Meaning::Unknown => Err(Discard::UnknownPayloadType),
        };
        self.count(played);
    }

    /// What time brings: noise, ends of events, digits of the controller.
    pub fn wake(&mut self, out: &mut Outlet<'_>) {
        self.wake_noise(out);
        self.wake_events(out);
        self.send_digits(out);
    }

    // Audio.

    #[inline(always)]
    fn audio(&mut self, codec: Codec, turn: Turn<'_>, out: &mut Outlet<'_>) -> Result<(), Discard> {
        if let Some(reason) = self.mute(out) {
            return Err(reason);
        }
        match &mut self.voice {
            Voice::Closed => Err(Discard::NoDestination),
            Voice::Relay(_) => self.relay(codec, turn, out),
            Voice::Transcode(_) => self.transcode(codec, turn, out),
        }
    }

    /// The payload passes as it is, and so do gaps: the far end fills them.
    fn relay(&mut self, codec: Codec, turn: Turn<'_>, out: &mut Outlet<'_>) -> Result<(), Discard> {
        let Turn { packet, missing_packets, .. } = turn;
        let samples = opus::packet_samples(packet.payload).map_err(|_| Discard::BadPayload)? as u64;
        let clock_hz = codec.clock_hz();
        let gap = self.timeline.gap_before(packet.header.timestamp, clock_hz, out.now);
        out.leave_out(missing_packets);
        self.timeline.advance(gap, out.now);
        let position = self.timeline.end();
        self.timeline.advance(samples, out.now);
        out.speak(packet.header.marker, position, |slot| write_payload(packet.payload, slot))
    }

    /// Place, decode, assemble, gate, encode.
    fn transcode(
        &mut self,
        codec: Codec,
        turn: Turn<'_>,
        out: &mut Outlet<'_>,
    ) -> Result<(), Discard> {
        let Turn { packet: Packet { header, payload }, missing_packets, .. } = turn;
        let gap = self.timeline.gap_before(header.timestamp, codec.clock_hz(), out.now);
        let gap = self.end_noise(gap, out)?;
        if gap > 0 {
            self.fill(gap, missing_packets, Some(payload), out)?;
        }
        let Some(transcoder) = self.voice.transcoder() else { return Err(Discard::NoDestination) };
        let recoding = transcoder.recodes(codec, payload);
        let samples = transcoder.decode(codec, payload)?;
        out.common.frames.decoded += 1;
        let pauses = codec == Codec::Opus && opus::is_pause(payload);
        if pauses && out.noise_payload_type().is_some() {
            return self.leave_silence_out(samples, out);
        }
        self.noise_told = None;
        self.timeline.advance(samples as u64, out.now);
        if pauses {
            self.noise = Some(Noise::decoded(samples, out.now));
        }
        match recoding {
            Some(laws) => self.recode(laws, payload, out),
            None => self.send_full_packets(Packets::All, out),
        }
    }

    /// Sends what was just decoded as it came, or in the other law by one look-up a sample.
    #[inline]
    fn recode(
        &mut self,
        [from, to]: [Law; 2],
        payload: &[u8],
        out: &mut Outlet<'_>,
    ) -> Result<(), Discard> {
        if let Some(transcoder) = self.voice.transcoder() {
            transcoder.assembly.sent(1);
        }
        let position = self.timeline.end() - payload.len() as u64;
        let marker = std::mem::take(&mut self.talkspurt);
        out.common.frames.encoded += 1;
        out.speak(marker, position, |slot| {
            let slot = slot.get_mut(..payload.len()).ok_or(Discard::TooLarge)?;
            g711::transcode(from, to, payload, slot);
            Ok(payload.len())
        })
    }

    /// What lies between the audio so far and the next packet. After a loss it is rebuilt from the
    /// next packet's in-band FEC or concealed, up to a bound; a pause of the sender's stays a pause,
    /// only the packet that it cut short is completed. What is not filled is left out: the next
    /// packet sent begins a talkspurt.
    fn fill(
        &mut self,
        gap: u64,
        missing_packets: u16,
        next: Option<&[u8]>,
        out: &mut Outlet<'_>,
    ) -> Result<(), Discard> {
        let mut left = gap;
        if missing_packets > 0 {
            self.rebuild(gap, u64::from(missing_packets), next, out);
            left = left.saturating_sub(FILL_SAMPLES_MAX);
            self.send_full_packets(Packets::All, out)?;
        }
        let missing_to_full = self.voice.transcoder().map_or(0, |t| t.assembly.missing_to_full());
        let completes = missing_to_full.min(left);
        if completes > 0 {
            self.conceal(completes, None, out.now);
            left -= completes;
            self.send_full_packets(Packets::All, out)?;
        }
        if left > 0 {
            self.timeline.advance(left, out.now);
            self.talkspurt = true;
        }
        Ok(())
    }

    fn rebuild(&mut self, gap: u64, missing: u64, next: Option<&[u8]>, out: &Outlet<'_>) {
        // In-band FEC is of the frame right before `next`: it is of no use at the far end of a gap
        // that is not filled whole.
        let next = next.filter(|_| gap <= FILL_SAMPLES_MAX);
        let filled = self.conceal(gap.min(FILL_SAMPLES_MAX), next, out.now);
        let recovered = u64::from(filled == Filled::FromFec);
        self.counters.frames_recovered += recovered;
        // What lies beyond the bound was left out, not concealed.
        let packet_samples = (gap / missing).max(1);
        let rebuilt = missing.min(FILL_SAMPLES_MAX.div_ceil(packet_samples));
        self.counters.frames_concealed += rebuilt.saturating_sub(recovered);
    }

    /// Appends audio that was never received: at most [`FILL_SAMPLES_MAX`].
    pub fn conceal(&mut self, samples: u64, next: Option<&[u8]>, now: Instant) -> Filled {
        self.timeline.advance(samples, now);
        match &mut self.voice {
            Voice::Transcode(transcoder) => transcoder.fill(samples.narrow(), next),
            Voice::Relay(_) | Voice::Closed => Filled::Concealed,
        }
    }

    /// Audio was appended.
    pub fn advance(&mut self, samples: usize, now: Instant) {
        self.timeline.advance(samples as u64, now);
    }

    /// Time passes in which nothing is sent; while something is played, the player counts it.
    pub fn pass(&mut self, samples: usize, now: Instant) {
        if self.player.is_some() {
            return;
        }
        self.timeline.advance(samples as u64, now);
        self.talkspurt = true;
    }

    /// Encodes and sends the packets that are full. A packet that cannot be sent is counted; the
    /// ones behind it still are.
    pub fn send_full_packets(
        &mut self,
        packets: Packets,
        out: &mut Outlet<'_>,
    ) -> Result<(), Discard> {
        let Voice::Transcode(transcoder) = &mut self.voice else { return Ok(()) };
        let (assembly, encoder) = (&mut transcoder.assembly, &mut transcoder.encoder);
        let full = match packets {
            Packets::All => assembly.full_packets(),
            Packets::One => assembly.full_packets().min(1),
        };
        let mut outcome = Ok(());
        for n in 0..full {
            let (pcm, waiting) = assembly.packet(n);
            debug_assert!(
                waiting as u64 <= self.timeline.end(),
                "what waits has its place in time"
            );
            let position = self.timeline.end() - waiting as u64;
            let marker = std::mem::take(&mut self.talkspurt);
            let verdict = encoder.gate(pcm);
            match verdict {
                Verdict::Encode => out.common.frames.encoded += 1,
                Verdict::Leave(_) | Verdict::Noise(_) => out.count_silence(),
            }
            let sent = out.speak(marker, position, |slot| encoder.encode(verdict, pcm, slot));
            outcome = outcome.and(sent);
        }
        assembly.sent(full);
        outcome
    }

    // Silence.

    /// Comfort noise in its turn.
    fn comfort_noise(&mut self, turn: Turn<'_>, out: &mut Outlet<'_>) -> Result<(), Discard> {
        let Turn { packet: Packet { header, payload }, missing_packets, .. } = turn;
        let level = NoiseLevel::parse(payload)?;
        if let Some(reason) = self.mute(out) {
            return Err(reason);
        }
        if out.is_paced() {
            self.set_noise(level, None);
            return Ok(());
        }
        // The clock of G.711, beside which alone it is received.
        let gap = self.timeline.gap_before(header.timestamp, 8_000, out.now);
        if self.noise.is_none() && gap > 0 {
            self.fill(gap, missing_packets, None, out)?;
        }
        if out.noise_payload_type().is_some() {
            return self.tell_noise(level, out);
        }
        self.set_noise(level, Some(out.now));
        self.wake_noise(out);
        Ok(())
    }

    fn set_noise(&mut self, level: NoiseLevel, first: Option<Instant>) {
        if !self.noise.as_mut().is_some_and(|noise| noise.change(level)) {
            self.noise = Some(Noise::told(level, first));
        }
    }

    /// Audio comes again in a stream whose ticks pass: the noise was only remembered.
    pub fn forget_noise(&mut self) {
        self.noise = None;
    }

    /// When a packet of noise is due.
    fn next_noise(&self) -> Option<Instant> {
        self.noise.as_ref().and_then(Noise::next)
    }

    /// Sends the noise that is due.
    fn wake_noise(&mut self, out: &mut Outlet<'_>) {
        while let Some(due) = self.next_noise().filter(|due| *due <= out.now) {
            let sent = self.noise_packet(due, out);
            self.count(sent);
        }
    }

    fn noise_packet(&mut self, due: Instant, out: &mut Outlet<'_>) -> Result<(), Discard> {
        if let Some(reason) = self.mute(out) {
            self.noise = None;
            return if reason == Discard::DuringTelephoneEvent { Ok(()) } else { Err(reason) };
        }
        // A stall of ours is not made up for.
        let at = if out.now > due + REFRESH { out.now } else { due };
        self.complete_for_noise(out)?;
        let (Some(noise), Voice::Transcode(transcoder)) = (&mut self.noise, &mut self.voice) else {
            self.noise = None;
            return Err(Discard::NoDestination);
        };
        self.timeline.advance(noise.take_skip(), out.now);
        match noise.due(transcoder, at) {
            Due::Over => {
                self.noise = None;
                Ok(())
            }
            Due::Appended(samples) => {
                self.timeline.advance(samples, out.now);
                self.send_full_packets(Packets::All, out)
            }
            Due::Packet(packet, samples) => {
                let position = self.timeline.end();
                self.timeline.advance(samples, out.now);
                self.talkspurt = true; // with what follows the noise
                out.speak_silence(position, packet)
            }
        }
    }

    /// Toward Opus, noise begins with a packet of its own: completes the one that it cuts short.
    fn complete_for_noise(&mut self, out: &mut Outlet<'_>) -> Result<(), Discard> {
        let (Some(noise), Voice::Transcode(transcoder)) = (&mut self.noise, &mut self.voice) else {
            return Ok(());
        };
        let missing = transcoder.assembly.missing_to_full();
        if missing == 0 || matches!(transcoder.encoder, Encoder::G711(_)) {
            return Ok(());
        }
        noise.fill(transcoder, missing.narrow());
        self.timeline.advance(missing, out.now);
        self.send_full_packets(Packets::All, out)
    }

    /// Fills so much with the noise that goes on, if one does.
    pub fn fill_with_noise(&mut self, samples: usize, now: Instant) -> bool {
        let (Some(noise), Voice::Transcode(transcoder)) = (&mut self.noise, &mut self.voice) else {
            return false;
        };
        noise.fill(transcoder, samples);
        self.timeline.advance(samples as u64, now);
        true
    }

    /// Audio comes again, `gap` samples after the noise so far: fills what is short of it, for our
    /// packets are half of one late, or the audio is early. Says how much of the gap is left.
    fn end_noise(&mut self, gap: u64, out: &mut Outlet<'_>) -> Result<u64, Discard> {
        let Some(mut noise) = self.noise.take() else { return Ok(gap) };
        let Some(transcoder) = self.voice.transcoder() else { return Ok(gap) };
        // A browser's decoder goes on by itself.
        if gap == 0 || matches!(transcoder.encoder, Encoder::Opus(..)) {
            return Ok(gap);
        }
        let short = gap.min(SHORT_SAMPLES_MAX);
        noise.fill(transcoder, short.narrow());
        self.timeline.advance(short, out.now);
        self.send_full_packets(Packets::All, out)?;
        Ok(gap - short)
    }

    /// Tells a leg that makes noise itself how loud it is; the audio so far is complete.
    fn tell_noise(&mut self, level: NoiseLevel, out: &mut Outlet<'_>) -> Result<(), Discard> {
        self.talkspurt = true;
        if self.noise_told.is_some_and(|told| told.distance_db(level) < TOLD_FROM_DB) {
            return Ok(());
        }
        self.noise_told = Some(level);
        self.complete_packet(out)?;
        out.tell_noise(level, self.timeline.end())
    }

    /// Leaves out what an Opus packet without audio was decoded to, and tells how loud it was.
    fn leave_silence_out(&mut self, samples: usize, out: &mut Outlet<'_>) -> Result<(), Discard> {
        let Some(transcoder) = self.voice.transcoder() else { return Err(Discard::NoDestination) };
        if transcoder.assembly.pending() > samples {
            // It completes a packet that was begun.
            self.timeline.advance(samples as u64, out.now);
            return self.send_full_packets(Packets::All, out);
        }
        let level = NoiseLevel::of(transcoder.assembly.last(samples));
        transcoder.assembly.retract(samples);
        let told = self.tell_noise(level, out);
        self.timeline.advance(samples as u64, out.now);
        told
    }

    /// Something takes the place of the audio: the packet in the making is completed, or taken back where
    /// the line is that of ticks.
    fn break_off(&mut self, out: &mut Outlet<'_>) {
        self.talkspurt = true;
        if out.is_paced() {
            return self.take_back();
        }
        let filled = self.complete_packet(out);
        self.count(filled);
    }

    /// Completes the packet in the making: what follows it must not leave before it.
    fn complete_packet(&mut self, out: &mut Outlet<'_>) -> Result<(), Discard> {
        let missing = self.voice.transcoder().map_or(0, |t| t.assembly.missing_to_full());
        self.fill(missing, 0, None, out)
    }

    fn take_back(&mut self) {
        let Some(transcoder) = self.voice.transcoder() else { return };
        let pending = transcoder.assembly.pending();
        transcoder.assembly.retract(pending);
        self.timeline.retract(pending as u64);
    }
}
