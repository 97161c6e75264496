//! A call: two legs and the stream in each direction between them. It lives and dies on one core.

use std::time::{Duration, Instant};

use super::budget::Weight;
use super::common::Common;
use super::format::{LegFormat, Meanings, SendFormat};
use super::leg::Leg;
use super::leg::encoding::Encoding;
use super::leg::sending::Sending;
use super::load::Load;
use super::stream::player::Player;
use super::stream::track::TrackCounters;
use super::stream::transcoder::Encoder;
use super::stream::voice::Voice;
use super::stream::{Order, Stream};
use crate::audio::opus::EncoderSettings;
use crate::audio::sound::Sound;
use crate::base::clock::WallAnchor;
use crate::base::discard::DiscardCounters;
use crate::base::narrow::Narrow;
use crate::base::opaque::opaque;
use crate::control::message::{
    CallName, CallStatistics, Codec, ControlError, LegParameters, LegStatistics, PlayEnd, Side,
};

/// Two legs and what passes between them.
pub struct Call {
    /// Its name, for events and statistics.
    pub name: CallName,
    /// The legs, by [`Side::index`].
    pub legs: [Leg; 2],
    /// The live entry among the thread's timers.
    pub armed: Option<Instant>,
    streams: [Stream; 2],
    created: Instant,
}

opaque!(Call);

/// Legs that cannot be joined, given back so that their sockets can be closed.
pub struct RefusedCall {
    /// Why.
    pub error: ControlError,
    /// The legs.
    pub legs: [Leg; 2],
}

opaque!(RefusedCall);

/// The stages of one direction as other formats want them.
struct Stages {
    /// The side that is heard.
    side: Side,
    /// Another voice; `None`: the one that is there serves.
    voice: Option<Voice>,
    /// Another encoder for what is played in its place, if something is.
    playing: Option<Encoder>,
    /// How Opus is encoded there.
    playing_settings: EncoderSettings,
    encoding: Encoding,
}

/// The stages of both directions, as another leg wants them.
pub struct BothStages([Stages; 2]);

opaque!(BothStages);

/// What a leg is to others: what it accepts, what it is sent, and how that was encoded so far.
type Facing<'a> = (Option<&'a Meanings>, &'a Sending, Option<&'a SendFormat>);

impl Call {
    /// Joins two legs.
    pub fn new(
        name: CallName,
        legs: [Leg; 2],
        common: &Common,
        load: Load,
        now: Instant,
    ) -> Result<Self, Box<RefusedCall>> {
        let streams = Side::BOTH.map(|side| Stream::new(side, now));
        let mut call = Self { name, legs, armed: None, streams, created: now };
        Side::BOTH.into_iter().for_each(|side| call.begin_sending(side, now));
        let leg = &call.legs[0];
        match call.fit(Side::A, facing(leg), common, load) {
            Ok(stages) => {
                stages.into_iter().for_each(|stages| call.install(stages));
                Ok(call)
            }
            Err(error) => Err(Box::new(RefusedCall { error, legs: call.legs })),
        }
    }

    /// The leg that hears, the leg that sends, and the stream between them.
    #[inline]
    pub fn direction(&mut self, from: Side) -> (&mut Leg, &mut Leg, &mut Stream) {
        let [a, b] = &mut self.legs;
        let stream = &mut self.streams[from.index()];
        match from {
            Side::A => (a, b, stream),
            Side::B => (b, a, stream),
        }
    }

    /// Gives a leg another format. Refused, and nothing changed, when the legs would no longer fit.
    /// What is there and serves the new format goes on: a codec state is made anew only where another
    /// codec, packet time or setting needs it.
    pub fn set_format(
        &mut self,
        side: Side,
        format: LegFormat,
        common: &Common,
    ) -> Result<(), ControlError> {
        let LegFormat { accepted, sent } = format;
        let leg = &self.legs[side.index()];
        let wanted = (Some(&accepted), &leg.sending, Some(&sent));
        let stages = self.fit(side, wanted, common, common.load)?;
        let leg = &mut self.legs[side.index()];
        leg.hearing.meanings = Some(accepted);
        leg.sending.format = Some(sent);
        stages.into_iter().for_each(|stages| self.install(stages));
        Ok(())
    }

    /// Puts another leg into the place of one, and gives that back with its statistics. The other leg notices nothing but
    /// another voice. Refused, and nothing changed, when the legs do not fit.
    pub fn replace_leg(
        &mut self,
        side: Side,
        leg: Leg,
        common: &mut Common,
        now: Instant,
    ) -> Result<(Leg, Box<LegStatistics>), (ControlError, Box<Leg>)> {
        let stages = match self.fit_leg(side, &leg, common) {
            Ok(stages) => stages,
            Err(error) => return Err((error, Box::new(leg))),
        };
        self.end_leg(side, common, now);
        let statistics = self.leg_statistics(side, now);
        let old = std::mem::replace(&mut self.legs[side.index()], leg);
        self.begin_leg(side, stages, now);
        Ok((old, Box::new(statistics)))
    }

    /// What both streams need if `leg` is to be on `side`; refused when it does not fit there.
    pub fn fit_leg(
        &self,
        side: Side,
        leg: &Leg,
        common: &Common,
    ) -> Result<BothStages, ControlError> {
        self.fit(side, facing(leg), common, common.load).map(BothStages)
    }

    /// Ends what ends with the leg on `side`. It still counts as its own.
    pub fn end_leg(&mut self, side: Side, common: &mut Common, now: Instant) {
        self.stop_playing(side, PlayEnd::LegReplaced, common, now);
        let (_, to, stream) = self.direction(side);
        stream.change_source(&mut to.outlet(common, now));
        let (_, leaving, toward) = self.direction(side.other());
        leaving.sending.outgoing.leave_at(toward.track.end_by(now));
    }

    /// Begins with the leg that was put on `side`.
    pub fn begin_leg(&mut self, side: Side, BothStages(stages): BothStages, now: Instant) {
        self.streams[side.index()].track.counters = TrackCounters::default();
        self.streams[side.other().index()].track.change_listener();
        self.begin_sending(side, now);
        stages.into_iter().for_each(|stages| self.install(stages));
    }

    /// What was discarded of what a leg said, after its own connection had taken it.
    pub fn heard_discards(&self, side: Side) -> &DiscardCounters {
        &self.streams[side.index()].track.counters.discards
    }

    /// A leg is new: its source's clock begins where the stream toward it is. If that source has spoken
    /// elsewhere, its clock runs on from now on, whenever there is audio again.
    fn begin_sending(&mut self, side: Side, now: Instant) {
        let (_, leg, stream) = self.direction(side.other());
        let outgoing = &mut leg.sending.outgoing;
        if outgoing.packets() > 0 {
            stream.track.catch_up(now);
        }
        outgoing.begin_at(stream.track.end());
    }

    /// What both streams need, if the leg on `side` is as `leg` says.
    fn fit(
        &self,
        side: Side,
        (accepted, sending, sent): Facing<'_>,
        common: &Common,
        load: Load,
    ) -> Result<[Stages; 2], ControlError> {
        let (heard_by_it, other, other_sent) = facing(&self.legs[side.other().index()]);
        Ok([
            self.stages(
                side,
                accepted,
                other_sent,
                other.encoding.with_format(other_sent, load),
                common,
            )?,
            self.stages(
                side.other(),
                heard_by_it,
                sent,
                sending.encoding.with_format(sent, load),
                common,
            )?,
        ])
    }

    fn stages(
        &self,
        side: Side,
        accepted: Option<&Meanings>,
        sent: Option<&SendFormat>,
        encoding: Encoding,
        common: &Common,
    ) -> Result<Stages, ControlError> {
        let present = &self.streams[side.index()].track.voice;
        let voice = if present.serves(accepted, sent) {
            None
        } else {
            Some(Voice::between(accepted, sent, encoding.settings(), &common.codecs)?)
        };
        let playing_settings = encoding.settings();
        let playing = match &self.streams[side.index()].track.player {
            Some(player) => player.encoder_for(sent, playing_settings, &common.codecs)?,
            None => None,
        };
        let encodes_opus = voice.as_ref().unwrap_or(present).encodes_opus();
        let encoding = if encodes_opus { encoding } else { encoding.with_format(None, Load::NONE) };
        Ok(Stages { side, voice, playing, playing_settings, encoding })
    }

    fn install(&mut self, stages: Stages) {
        let began = self.created;
        let (from, to, stream) = self.direction(stages.side);
        let hears_tones = from.hearing.meanings.as_ref().is_some_and(|all| all.hears_tones);
        stream.track.listen_for_tones(hears_tones);
        let format = to.sending.format.as_ref();
        let clock_hz = format.map_or(8_000, |format| format.codec.clock_hz());
        stream.set_order(format, began);
        to.sending.outgoing.set_clock(clock_hz, stream.track.end());
        match (stages.voice, format) {
            (Some(voice), _) => stream.track.voice = voice,
            (None, Some(format)) => {
                let is_new = to.sending.encoding != stages.encoding;
                let settings = is_new.then(|| stages.encoding.settings());
                stream.track.voice.adapt(format, settings);
            }
            (None, None) => {}
        }
        to.sending.set_digit_clock();
        to.sending.set_encoding(stages.encoding);
        let format = to.sending.format.as_ref();
        if let (Some(player), Some(format)) = (&mut stream.track.player, format) {
            player.set_format(format, stages.playing, stages.playing_settings);
        }
    }

    /// Plays a sound toward a leg, in place of the other one. Refused, and nothing changed, when no codec
    /// state is free; without a format it waits for one.
    pub fn play(
        &mut self,
        toward: Side,
        sound: Sound,
        common: &mut Common,
        now: Instant,
    ) -> Result<(), ControlError> {
        let (_, to, stream) = self.direction(toward.other());
        let first = stream.next_tick(now);
        let mut player = match &mut stream.track.player {
            Some(present) => Player::after(present, sound),
            None => Player::new(sound, first),
        };
        let format = to.sending.format.as_ref();
        let settings = to.sending.encoding.with_format(format, common.load).settings();
        let encoder = player.encoder_for(format, settings, &common.codecs)?;
        if let Some(format) = format {
            player.set_format(format, encoder, settings);
        }
        stream.track.begin_play(player, &mut to.outlet(common, now));
        Ok(())
    }

    /// Ends what is played toward a leg, if something is.
    pub fn stop_playing(&mut self, toward: Side, why: PlayEnd, common: &mut Common, now: Instant) {
        let (_, to, stream) = self.direction(toward.other());
        stream.track.end_play(why, &mut to.outlet(common, now));
    }

    /// When the call wants [`super::line::wake`].
    #[inline]
    pub fn next_timeout(&self) -> Option<Instant> {
        let legs = self.legs.iter().map(Leg::next_timeout);
        let streams = self.streams.iter().map(Stream::next_timeout);
        legs.chain(streams).flatten().min()
    }

    /// What it takes of its core.
    pub fn weight(&self) -> Weight {
        let plays =
            |stream: &Stream| stream.track.player.as_ref().is_some_and(|it| it.codes_opus());
        let codes = |stream: &Stream| stream.track.voice.codes_opus() || plays(stream);
        if self.streams.iter().any(codes) { Weight::TRANSCODED } else { Weight::RELAYED }
    }

    /// When either leg last sent audio.
    pub fn last_sent(&self) -> Option<Instant> {
        self.legs.iter().filter_map(|leg| leg.sending.outgoing.last_sent()).max()
    }

    /// The process did not run for `pause`: what was missed is no loss to be filled, and a browser
    /// whose checks went unheard is not gone.
    pub fn resume(&mut self, pause: Duration, now: Instant) {
        self.streams.iter_mut().for_each(|stream| stream.order.reset());
        self.legs.iter_mut().for_each(|leg| leg.extend(pause, now));
    }

    /// What would make the legs again and let them go on from here, as far as a core knows it: formats,
    /// marks and own addresses are kept where they were chosen.
    pub fn snapshot(&self, wall: &WallAnchor, now: Instant) -> [LegParameters; 2] {
        Side::BOTH.map(|side| {
            let toward = &self.streams[side.other().index()].track;
            self.legs[side.index()].snapshot(toward.end_by(now), wall, now)
        })
    }

    /// The call's statistics.
    pub fn statistics(&self, thread: usize, now: Instant) -> CallStatistics {
        CallStatistics {
            call: self.name.clone(),
            thread,
            age_ms: now.saturating_duration_since(self.created).as_millis().narrow(),
            a: self.leg_statistics(Side::A, now),
            b: self.leg_statistics(Side::B, now),
        }
    }

    /// A leg's statistics: what it knows of itself, what became of what it said, and how it is sent to.
    pub fn leg_statistics(&self, side: Side, now: Instant) -> LegStatistics {
        let heard = &self.streams[side.index()];
        let sent = &self.streams[side.other().index()];
        let counters = &heard.track.counters;
        let mut statistics = LegStatistics {
            packets_reordered: heard.order.packets_reordered(),
            packets_recovered: counters.packets_recovered,
            frames_recovered: counters.frames_recovered,
            frames_concealed: counters.frames_concealed,
            events_received: counters.events_received,
            playout: match &sent.order {
                Order::OnArrival(_) => None,
                Order::Paced(paced) => Some(paced.statistics()),
            },
            ..self.legs[side.index()].statistics(now)
        };
        statistics.discards.add(&counters.discards);
        statistics
    }

    /// Adds what its datagrams were discarded for.
    pub fn add_discards(&self, all: &mut DiscardCounters) {
        self.legs.iter().for_each(|leg| all.add(&leg.discards));
        self.streams.iter().for_each(|stream| all.add(&stream.track.counters.discards));
    }

    /// What a leg is sent, for those who look at calls.
    pub fn codec(&self, side: Side) -> Option<Codec> {
        self.legs[side.index()].sending.format.as_ref().map(|format| format.codec)
    }
}

fn facing(leg: &Leg) -> Facing<'_> {
    (leg.hearing.meanings.as_ref(), &leg.sending, leg.sending.format.as_ref())
}
