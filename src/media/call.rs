//! A call: two legs and the stream in each direction between them. It lives and dies on one core.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::budget::Weight;
use super::encoding::Load;
use super::format::LegFormat;
use super::leg::Leg;
use super::stream::{Path, Stream};
use crate::audio::opus::OpusArena;
use crate::control::message::{CallName, CallStatistics, Codec, ControlError, Side};

/// Two legs and what passes between them.
pub struct Call {
    /// Its name, for events and statistics.
    pub name: Arc<str>,
    /// The legs, by [`Side::index`].
    pub legs: [Leg; 2],
    /// The live entry among the thread's timers.
    pub armed: Option<Instant>,
    streams: [Stream; 2],
    created: Instant,
}

/// Legs that cannot be joined, given back so that their sockets can be closed.
pub struct RefusedCall {
    /// Why.
    pub error: ControlError,
    /// The legs.
    pub legs: [Leg; 2],
}

impl Call {
    /// Joins two legs.
    pub fn new(
        name: Arc<str>,
        legs: [Leg; 2],
        arena: &Rc<OpusArena>,
        load: Load,
        now: Instant,
    ) -> Result<Self, Box<RefusedCall>> {
        let streams = [Stream::new(now), Stream::new(now)];
        let mut call = Self { name, legs, armed: None, streams, created: now };
        match call.build_paths(arena, load) {
            Ok(()) => Ok(call),
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
    pub fn set_format(
        &mut self,
        side: Side,
        format: LegFormat,
        arena: &Rc<OpusArena>,
        load: Load,
    ) -> Result<(), ControlError> {
        if self.legs[side.index()].format.as_ref() == Some(&format) {
            return Ok(());
        }
        let old = self.legs[side.index()].format.replace(format);
        // The paths are built before the old ones go, so that a refusal leaves those in place; at
        // the very edge of the arena a change may be refused that would fit in the other order.
        let built = self.build_paths(arena, load);
        if built.is_err() {
            self.legs[side.index()].format = old;
        }
        built
    }

    fn build_paths(&mut self, arena: &Rc<OpusArena>, load: Load) -> Result<(), ControlError> {
        let path_from = |side: Side| {
            let [from, to] = [side, side.other()].map(|side| &self.legs[side.index()]);
            let (from, to_format) = (from.format.as_ref(), to.format.as_ref());
            let mut encoding = to.encoding.with_format(to_format, load);
            let mut path = Path::between(from, to_format, encoding.settings(), arena)?;
            if path.opus_encoder().is_none() {
                encoding = encoding.with_format(None, load);
            }
            Ok((side, path, encoding))
        };
        let began = self.created;
        for (side, path, encoding) in [path_from(Side::A)?, path_from(Side::B)?] {
            let (_, to, stream) = self.direction(side);
            let clock_hz = to.format.as_ref().map_or(8_000, |format| format.codec.clock_hz());
            to.outgoing.set_clock(clock_hz, stream.playout.timeline.end());
            to.set_digit_clock();
            to.set_encoding(encoding);
            stream.playout.path = path;
            stream.set_order(to.format.as_ref(), began);
        }
        Ok(())
    }

    /// When the call wants [`super::line::wake`].
    #[inline]
    pub fn next_timeout(&self) -> Option<Instant> {
        let legs = self.legs.iter().filter_map(Leg::next_timeout);
        let streams = self.streams.iter().flat_map(|stream| {
            [
                stream.order.next_timeout(),
                stream.playout.events.relay.next_timeout(),
                stream.playout.next_noise(),
            ]
        });
        legs.chain(streams.flatten()).min()
    }

    /// What it takes of its core.
    pub fn weight(&self) -> Weight {
        let codes = |stream: &Stream| stream.playout.path.codes_opus();
        if self.streams.iter().any(codes) { Weight::TRANSCODED } else { Weight::RELAYED }
    }

    /// When either leg last sent audio.
    pub fn last_sent(&self) -> Option<Instant> {
        self.legs.iter().filter_map(|leg| leg.outgoing.last_sent()).max()
    }

    /// The process did not run for `pause`: what was missed is no loss to be filled, and a browser
    /// whose checks went unheard is not gone.
    pub fn resume(&mut self, pause: Duration) {
        self.streams.iter_mut().for_each(|stream| stream.order.reset());
        self.legs.iter_mut().for_each(|leg| leg.extend_consent(pause));
    }

    /// The call's statistics.
    pub fn statistics(&self, thread: usize, now: Instant) -> CallStatistics {
        let leg = |side: Side| {
            let heard = &self.streams[side.index()].order;
            let sent = &self.streams[side.other().index()].order;
            self.legs[side.index()].statistics(heard, sent)
        };
        CallStatistics {
            call: CallName::from(&*self.name),
            thread,
            age_ms: now.saturating_duration_since(self.created).as_millis() as u64,
            a: leg(Side::A),
            b: leg(Side::B),
        }
    }

    /// What a leg sends, for those who look at calls.
    pub fn codec(&self, side: Side) -> Option<Codec> {
        self.legs[side.index()].format.as_ref().map(|format| format.codec)
    }
}
