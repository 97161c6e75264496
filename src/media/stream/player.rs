//! A player: what a leg's far end hears in place of the other leg. It has a clock of its own, by which a
//! packet of the sound leaves every packet time on the stream's time line, whatever the other leg says or
//! lacks: a format, a packet, a transcoder.
//!
//! ```text
//!  [tick]  can be sent? ─► sound ─► gate ─► encode ─► speak
//!               └► the sound waits, time passes
//! ```
//!
//! A [`Player`] belongs to a [`super::track::Track`], which says whether it can be sent to.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::timeline::Timeline;
use super::transcoder::Encoder;
use crate::audio::SAMPLES_PER_MS;
use crate::audio::opus::{EncoderSettings, OpusArena, OpusEncoder};
use crate::audio::silence::Verdict;
use crate::audio::sound::Sound;
use crate::base::discard::Discard;
use crate::base::narrow::Narrow;
use crate::base::opaque::opaque;
use crate::control::message::ControlError;
use crate::media::format::SendFormat;
use crate::media::leg::outlet::Outlet;

/// The longest packet sent, 60 ms.
const PACKET_SAMPLES_MAX: usize = 60 * SAMPLES_PER_MS;
/// How often it is looked whether a leg can be sent to whose packet time is not known yet, 20 ms.
const PACKET_SAMPLES_UNKNOWN: usize = 20 * SAMPLES_PER_MS;
/// Ticks that are late by more are left out, as in paced playout: nobody wants them all at once.
const BEHIND_MAX: Duration = Duration::from_millis(60);

/// Plays a sound.
pub struct Player {
    sound: Sound,
    /// None before the leg has a format.
    encoder: Option<Encoder>,
    packet_samples: usize,
    due: Instant,
    /// Where the time line is by this clock is known: the first tick finds it.
    is_placed: bool,
    /// The next packet begins a talkspurt.
    talkspurt: bool,
}

opaque!(Player);

/// What a tick came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// A packet was sent, or could not be: it is counted.
    Done(Result<(), Discard>),
    /// The sound was over before it.
    Over,
}

impl Player {
    /// A player whose first packet leaves at `first`.
    pub fn new(sound: Sound, first: Instant) -> Self {
        Self {
            sound,
            encoder: None,
            packet_samples: PACKET_SAMPLES_UNKNOWN,
            due: first,
            is_placed: false,
            talkspurt: true,
        }
    }

    /// A player that goes on where another one leaves off, by its clock and with its encoder.
    pub fn after(before: &mut Self, sound: Sound) -> Self {
        Self { sound, encoder: before.encoder.take(), talkspurt: true, ..*before }
    }

    /// When the next packet is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// What the format that is sent needs beyond what is there; `None`: nothing.
    pub fn encoder_for(
        &self,
        to: Option<&SendFormat>,
        settings: EncoderSettings,
        codecs: &Rc<OpusArena>,
    ) -> Result<Option<Encoder>, ControlError> {
        let Some(to) = to else { return Ok(None) };
        let serves = self.encoder.as_ref().is_some_and(|encoder| encoder.codec() == to.codec);
        if serves { Ok(None) } else { Encoder::new(to, settings, codecs).map(Some) }
    }

    /// Goes on in this format, with the encoder that it needs if it needs one.
    pub fn set_format(
        &mut self,
        to: &SendFormat,
        encoder: Option<Encoder>,
        settings: EncoderSettings,
    ) {
        self.packet_samples = to.packet_samples.min(PACKET_SAMPLES_MAX);
        match (encoder, self.opus_encoder()) {
            (Some(encoder), _) => self.encoder = Some(encoder),
            (None, Some(present)) => return present.configure(settings),
            (None, None) => return,
        }
        // The far decoder heard the other leg before.
        if let Some(encoder) = self.opus_encoder() {
            encoder.interrupt();
        }
    }

    /// The Opus encoder, where there is one.
    pub fn opus_encoder(&mut self) -> Option<&mut OpusEncoder> {
        match &mut self.encoder {
            Some(Encoder::Opus(encoder, _)) => Some(encoder),
            Some(Encoder::G711(_)) | None => None,
        }
    }

    /// Whether it encodes Opus.
    pub fn codes_opus(&self) -> bool {
        matches!(self.encoder, Some(Encoder::Opus(..)))
    }

    /// Begins the tick that is due, if one is.
    pub fn begin_tick(&mut self, line: &mut Timeline, now: Instant) -> bool {
        if now < self.due {
            return false;
        }
        if !self.is_placed {
            self.is_placed = true;
            line.follow(now);
        }
        let interval = Duration::from_micros(self.packet_samples as u64 * 125);
        let behind = now - self.due;
        if behind > BEHIND_MAX {
            let skipped = (behind.as_micros() / interval.as_micros()).narrow();
            self.pass(line, u64::from(skipped), now);
            self.due += interval * skipped;
        }
        self.due += interval;
        true
    }

    /// So many packet times pass unheard; the sound waits.
    fn pass(&mut self, line: &mut Timeline, packets: u64, now: Instant) {
        line.advance(packets * self.packet_samples as u64, now);
        self.talkspurt = true;
    }

    /// A tick: a packet of the sound, unless something forbids that.
    pub fn tick(
        &mut self,
        muted: Option<Discard>,
        line: &mut Timeline,
        out: &mut Outlet<'_>,
    ) -> Tick {
        let (None, Some(encoder)) = (muted, &mut self.encoder) else {
            self.pass(line, 1, out.now);
            return Tick::Done(Ok(()));
        };
        let mut pcm = [0; PACKET_SAMPLES_MAX];
        let pcm = &mut pcm[..self.packet_samples];
        if self.sound.fill(pcm) == 0 {
            return Tick::Over;
        }
        let position = line.end();
        line.advance(pcm.len() as u64, out.now);
        let verdict = encoder.gate(pcm);
        match verdict {
            Verdict::Encode => out.common.frames.encoded += 1,
            Verdict::Leave(_) | Verdict::Noise(_) => out.count_silence(),
        }
        let marker = std::mem::take(&mut self.talkspurt);
        Tick::Done(out.speak(marker, position, |slot| encoder.encode(verdict, pcm, slot)))
    }
}
