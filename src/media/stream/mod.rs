//! One direction of a call: from what one leg hears to what the other is sent. It knows of the other leg
//! only its [`Outlet`]. Which stages it has is decided when a format changes, see [`voice`].

pub mod events;
pub mod pacing;
pub mod player;
pub mod silence;
pub mod timeline;
pub mod track;
pub mod transcoder;
pub mod voice;

use std::time::Instant;

use self::pacing::Paced;
use self::track::Track;
use crate::audio::repair::{Continuity, Packet, Put, RepairWindow, Turn};
use crate::base::discard::Discard;
use crate::base::opaque::opaque;
use crate::control::message::Side;
use crate::media::format::{Meaning, Meanings, SendFormat};
use crate::media::leg::outlet::Outlet;
use crate::media::leg::redundancy;
use crate::wire::red::RedPayload;
use crate::wire::rtp::RtpHeader;

/// One direction of a call.
pub struct Stream {
    /// Puts packets in order.
    pub order: Order,
    /// What happens to them then.
    pub track: Track,
}

opaque!(Stream);

/// When packets in order have their turn.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every stream is on arrival: no memory is lost"
)]
pub enum Order {
    /// As they come, but for gaps.
    OnArrival(RepairWindow),
    /// At even intervals, after a delay.
    Paced(Box<Paced>),
}

opaque!(Order);

impl Stream {
    /// A stream that hears `side` and waits for the legs' formats.
    pub fn new(side: Side, now: Instant) -> Self {
        Self { order: Order::OnArrival(RepairWindow::new(now)), track: Track::new(side) }
    }

    /// A packet of a known meaning: order, then play what has its turn.
    #[inline(always)]
    pub fn hear(
        &mut self,
        packet: Packet<'_>,
        meaning: Meaning,
        meanings: Option<&Meanings>,
        out: &mut Outlet<'_>,
    ) -> Result<(), Discard> {
        let window = match &mut self.order {
            Order::OnArrival(window) => window,
            Order::Paced(paced) => return paced.accept(packet, meaning, out.now),
        };
        if let Put::Turn(turn) = window.put(packet, meaning.spoken_hz(), out.now)? {
            play(&mut self.track, turn, meaning, out);
        }
        play_held(window, &mut self.track, meanings, out);
        Ok(())
    }

    /// RED (RFC 2198) brings earlier packets along, of which those are taken that are missed.
    pub fn hear_redundant(
        &mut self,
        header: RtpHeader,
        payload: &[u8],
        meanings: Option<&Meanings>,
        out: &mut Outlet<'_>,
    ) -> Result<(), Discard> {
        let of_audio = RedPayload::parse(payload).and_then(|red| {
            match meaning_of(meanings, red.payload_type) {
                meaning @ Meaning::Audio(_) => Ok((red, meaning)),
                _ => Err(Discard::UnknownPayloadType),
            }
        });
        let (red, meaning) = match of_audio {
            Ok(of_audio) => of_audio,
            Err(reason) => {
                self.pass_over(header, meanings, out);
                return Err(reason);
            }
        };
        for copy in redundancy::copies(header, &red) {
            let missed = match &mut self.order {
                Order::OnArrival(window) => {
                    let missed = window.recover(copy, meaning.spoken_hz(), out.now);
                    play_held(window, &mut self.track, meanings, out);
                    missed
                }
                Order::Paced(paced) => paced.recover(copy, meaning, out.now),
            };
            self.track.counters.packets_recovered += u64::from(missed);
        }
        self.hear(redundancy::primary(header, &red), meaning, meanings, out)
    }

    /// A packet came that brings nothing to play: its place in the sequence is no gap.
    pub fn pass_over(
        &mut self,
        header: RtpHeader,
        meanings: Option<&Meanings>,
        out: &mut Outlet<'_>,
    ) {
        match &mut self.order {
            Order::OnArrival(window) => {
                window.pass_over(&header, out.now);
                play_held(window, &mut self.track, meanings, out);
            }
            Order::Paced(paced) => paced.buffer.pass_over(&header, out.now),
        }
    }

    /// What time brings: gaps that were held open long enough, ticks, noise, ends of events, digits. What
    /// is played comes first, for if it is over the other leg has its tick.
    pub fn wake(&mut self, meanings: Option<&Meanings>, out: &mut Outlet<'_>) {
        self.track.wake_player(out);
        match &mut self.order {
            Order::OnArrival(window) => play_held(window, &mut self.track, meanings, out),
            Order::Paced(paced) => paced.play_due(&mut self.track, meanings, out),
        }
        self.track.wake(out);
    }

    /// When something has its turn although nothing comes.
    #[inline]
    pub fn next_timeout(&self) -> Option<Instant> {
        let order = match &self.order {
            Order::OnArrival(window) => window.next_timeout(),
            Order::Paced(paced) => paced.buffer.next_timeout(),
        };
        let [events, own] = self.track.next_timeout();
        [order, events, own].into_iter().flatten().min()
    }

    /// When something that is played from now on begins: at the next tick, or right behind what was sent.
    pub fn next_tick(&self, now: Instant) -> Instant {
        match &self.order {
            Order::OnArrival(_) => self.track.next_due(now),
            Order::Paced(paced) => paced.buffer.next_timeout().map_or(now, |due| due.max(now)),
        }
    }

    /// Begins anew with another source; the outgoing time line goes on.
    pub fn change_source(&mut self, out: &mut Outlet<'_>) {
        self.order.reset();
        self.track.change_source(out);
    }

    /// Orders packets as the sending leg's format asks; `began` is any time before the first packet.
    /// What waits for its turn is lost when that changes.
    pub fn set_order(&mut self, to: Option<&SendFormat>, began: Instant) {
        let wanted = to.and_then(|to| Some((to.paced?, to.packet_samples)));
        match (&self.order, wanted) {
            (Order::OnArrival(_), None) => return,
            (Order::Paced(paced), Some(wanted)) if paced.settings == wanted => return,
            (_, Some(wanted)) => self.order = Order::Paced(Box::new(Paced::new(wanted))),
            (_, None) => self.order = Order::OnArrival(RepairWindow::new(began)),
        }
        self.track.restart();
    }
}

impl Order {
    /// Begins anew with whatever comes next; what waited is dropped.
    pub fn reset(&mut self) {
        match self {
            Order::OnArrival(window) => window.reset(),
            Order::Paced(paced) => paced.buffer.restart(),
        }
    }

    /// Packets that came out of order and were put back.
    pub fn packets_reordered(&self) -> u64 {
        match self {
            Order::OnArrival(window) => window.packets_reordered(),
            Order::Paced(paced) => paced.buffer.packets_reordered(),
        }
    }
}

/// Plays what is held and has its turn.
#[inline(always)]
fn play_held(
    window: &mut RepairWindow,
    track: &mut Track,
    meanings: Option<&Meanings>,
    out: &mut Outlet<'_>,
) {
    while let Some(turn) = window.next(out.now) {
        play_held_turn(turn, track, meanings, out);
    }
}

/// Rare, and so not in the way of what passes straight on.
#[cold]
fn play_held_turn(
    turn: Turn<'_>,
    track: &mut Track,
    meanings: Option<&Meanings>,
    out: &mut Outlet<'_>,
) {
    let meaning = meaning_of(meanings, turn.packet.header.payload_type);
    play(track, turn, meaning, out);
}

#[inline(always)]
fn play(track: &mut Track, turn: Turn<'_>, meaning: Meaning, out: &mut Outlet<'_>) {
    if turn.continuity == Continuity::BeginsAnew {
        track.restart();
    }
    track.play(turn, meaning, out);
}

fn meaning_of(meanings: Option<&Meanings>, payload_type: crate::wire::rtp::PayloadType) -> Meaning {
    meanings.map_or(Meaning::Unknown, |meanings| meanings.of(payload_type))
}
