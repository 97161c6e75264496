//! What a track does while something is played in place of the leg that it hears: that leg is muted, its
//! noise is forgotten, and the time line is the player's.

use std::time::Instant;

use super::Track;
use crate::audio::opus::EncoderSettings;
use crate::base::discard::Discard;
use crate::control::message::PlayEnd;
use crate::media::common::Notice;
use crate::media::leg::outlet::Outlet;
use crate::media::stream::player::{Player, Tick};

impl Track {
    /// When a packet of our own may follow the audio so far.
    pub fn next_due(&self, now: Instant) -> Instant {
        self.timeline.next_due(now)
    }

    /// Plays this in place of the leg that is heard.
    pub fn begin_play(&mut self, player: Player, out: &mut Outlet<'_>) {
        self.end_play(PlayEnd::Replaced, out);
        match self.mute(out) {
            None => self.break_off(out),
            Some(_) => self.take_back(),
        }
        self.noise = None;
        self.noise_told = None;
        self.player = Some(Box::new(player));
    }

    /// The leg that is heard has its turn again, if something was played in its place.
    pub fn end_play(&mut self, why: PlayEnd, out: &mut Outlet<'_>) {
        if self.player.take().is_none() {
            return;
        }
        self.talkspurt = true;
        if let Some(encoder) = self.voice.opus_encoder() {
            encoder.interrupt();
        }
        out.common.notices.push(Notice::PlayEnded(self.side.other(), why));
    }

    /// Sends what is due of what is played.
    pub fn wake_player(&mut self, out: &mut Outlet<'_>) {
        while self.player.is_some() {
            let muted = self.mute(out).filter(|reason| *reason != Discard::DuringPlay);
            let Some(player) = &mut self.player else { return };
            if !player.begin_tick(&mut self.timeline, out.now) {
                return;
            }
            match player.tick(muted, &mut self.timeline, out) {
                Tick::Done(sent) => self.count(sent),
                Tick::Over => self.end_play(PlayEnd::Finished, out),
            }
        }
    }

    /// The encoders that there are go on with these settings.
    pub fn configure(&mut self, settings: EncoderSettings) {
        let playing = self.player.as_mut().and_then(|player| player.opus_encoder());
        let encoders = [self.voice.opus_encoder(), playing];
        encoders.into_iter().flatten().for_each(|encoder| encoder.configure(settings));
    }

    /// When a packet of our own making is due: of what is played, during which there is no noise, or of
    /// noise.
    #[inline]
    pub(super) fn next_own(&self) -> Option<Instant> {
        match &self.player {
            Some(player) => Some(player.due()),
            None => self.next_noise(),
        }
    }
}
