//! THE CORE of a media thread, without its thread: whose a datagram is, what a command does, whose time
//! has come. It runs under any clock and on any [`Network`].
//!
//! In: datagrams, typed commands, time, pauses. Out: datagrams in the outbox ([`Core::outbox`]), events
//! ([`Core::poll_event`]), a reply to each command.
//!
//! A datagram ends one of three ways: *send* (the packet line put something into the outbox), *punt*
//! (STUN and DTLS that signaling has to see) or *discard* (with a reason, counted). What the core is
//! told by commands is in `commands`.

mod commands;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::budget::{Budget, Gauge, WINDOW, Weight};
use super::call::Call;
use super::channel::{CallKey, CoreEvent};
use super::common::{Common, FrameCounters, Notice};
use super::leg::consent::answer_check;
use super::line::{self, Incoming};
use super::load::Load;
use super::table::Calls;
use crate::audio::opus::OpusArena;
use crate::base::clock::WallAnchor;
use crate::base::discard::{Discard, DiscardCounters};
use crate::base::narrow::single;
use crate::base::opaque::opaque;
use crate::base::random::Random;
use crate::base::timers::Timers;
use crate::control::message::{Event, Side};
use crate::ice::check::Verdict;
use crate::media::kind::Kind;
use crate::os::account::Account;
use crate::os::network::{Datagram, Network};
use crate::os::outbox::Outbox;
use crate::os::route::{Destination, SocketIndex};
use crate::os::sockets::BoundSocket;
use crate::wire::demux::{Protocol, check_dtls_record, classify};
use crate::wire::stun;

/// Datagrams that wait for the next submission: the reports of 1,000 calls that come due together
/// after a pause; a batch of arrivals makes a few dozen.
const SEND_SLOTS: usize = 2048;
/// STUN and DTLS datagrams that one thread hands to signaling in a second; a handshake of 1,000
/// browsers a second would need as many as this, a flood gets no more.
const PUNTS_PER_SECOND: u32 = 20_000;
/// Sockets of a call: two legs of two, and while one of them is replaced another two.
const SOCKETS_PER_CALL: usize = 4;
/// Events that wait to be taken; they are taken after each datagram.
const EVENTS_MAX: usize = 4096;
/// The part of them that punted datagrams may fill, as strangers send these.
const PUNTS_MAX: usize = EVENTS_MAX / 2;

/// Names a leg on its thread.
type LegKey = (CallKey, Side);

/// Whose a socket is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Nobody,
    Browsers,
    Leg(CallKey, Side, Kind),
}

/// Counters of a core that no leg has.
#[derive(Debug, Default)]
struct CoreCounters {
    calls_created: u64,
    punted: u64,
    pauses: u64,
    /// Of no call, and of calls that are gone.
    discards: DiscardCounters,
}

/// What a core is made of.
pub struct CoreParts {
    /// The thread's number.
    pub thread: usize,
    /// The calls that it has room for.
    pub calls: usize,
    /// The browsers' socket.
    pub browsers: BoundSocket,
    /// Codec states for as many calls.
    pub codecs: Rc<OpusArena>,
    /// How long one second of one call takes the codecs, both directions.
    pub codec_time: Duration,
    /// Where the core says what it can carry.
    pub gauge: Arc<Gauge>,
    /// Ties the clocks.
    pub wall: WallAnchor,
    /// Makes sources and spreads reports.
    pub random: Random,
}

opaque!(CoreParts);

/// A media thread without its thread.
pub struct Core {
    thread: usize,
    browsers: SocketIndex,
    owners: Vec<Owner>,
    calls: Calls,
    /// Nominated addresses.
    addresses: HashMap<SocketAddr, LegKey>,
    timers: Timers<CallKey>,
    common: Common,
    events: VecDeque<CoreEvent>,
    counters: CoreCounters,
    punts: PuntBudget,
    budget: Budget,
    gauge: Arc<Gauge>,
}

opaque!(Core);

impl Core {
    /// The sockets that a core for so many calls needs of its network.
    pub const fn sockets(calls: usize) -> usize {
        1 + (calls + 1) * SOCKETS_PER_CALL
    }

    /// A core without calls, receiving on its browsers' port.
    pub fn new(parts: CoreParts, network: &mut impl Network, now: Instant) -> io::Result<Self> {
        Self::with_outbox(Outbox::new(SEND_SLOTS), parts, network, now)
    }

    /// The same with an outbox that another core had, see [`Self::take_outbox`].
    pub fn with_outbox(
        outbox: Outbox,
        parts: CoreParts,
        network: &mut impl Network,
        now: Instant,
    ) -> io::Result<Self> {
        let CoreParts { thread, calls, browsers, codecs, codec_time, gauge, wall, random } = parts;
        let browsers = network.add(browsers)?;
        let mut owners = vec![Owner::Nobody; Self::sockets(calls)];
        owners[browsers.position()] = Owner::Browsers;
        Ok(Self {
            thread,
            browsers,
            owners,
            calls: Calls::new(calls),
            addresses: HashMap::with_capacity(2 * calls),
            timers: Timers::new(2 * calls),
            common: Common {
                outbox,
                notices: Vec::with_capacity(16),
                frames: FrameCounters::default(),
                wall,
                random,
                codecs,
                load: Load::NONE,
            },
            events: VecDeque::with_capacity(64),
            counters: CoreCounters::default(),
            punts: PuntBudget::new(now),
            budget: Budget::new(codec_time, Arc::clone(&gauge)),
            gauge,
        })
    }

    /// What waits to leave.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.common.outbox
    }

    /// Takes the outbox away from a core that is of no more use: its memory is never freed, and whoever
    /// makes many cores one after the other gives it to the next.
    pub fn take_outbox(&mut self) -> Outbox {
        let mut outbox = std::mem::replace(&mut self.common.outbox, Outbox::new(0));
        outbox.clear();
        outbox
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<CoreEvent> {
        self.events.pop_front()
    }

    /// An event could not be handed on.
    pub fn event_lost(&mut self) {
        self.counters.discards.count(Discard::PuntQueueFull);
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// When [`Self::observe`] is due.
    pub fn next_window(&self, now: Instant) -> Instant {
        self.budget.next_window(now)
    }

    /// A window of the core's account of itself ends.
    pub fn observe(&mut self, account: Account, now: Instant) {
        let began = now.checked_sub(WINDOW);
        let talks = |call: &&Call| call.last_sent() > began;
        let weights = self.calls.all().filter(talks).map(Call::weight);
        let talking = weights.fold(Weight::default(), Weight::plus);
        self.budget.observe(account, talking, now);
        self.common.load = self.budget.load();
    }

    /// The load once every call talks that was made so far.
    fn expected_load(&self) -> Load {
        let weight = self.calls.all().map(Call::weight).fold(Weight::default(), Weight::plus);
        Load::new(single(self.gauge.load_of(weight).max(self.gauge.load())))
    }

    /// The thread did not run for a while (a stopped process, a virtual machine that moved): `stale`
    /// datagrams that came meanwhile were thrown away, for nobody wants to hear them in one burst. Calls
    /// go on with what arrives from here on, as after a pause of the sender's.
    pub fn handle_pause(&mut self, pause: Duration, stale: u64, now: Instant) {
        self.counters.pauses += 1;
        self.counters.discards.count_many(Discard::AfterPause, stale);
        self.calls.all_mut().for_each(|call| call.resume(pause, now));
        self.budget.skip();
    }

    /// Where a datagram goes is decided by its socket and, on the browser port, by its first byte
    /// (RFC 7983) and its source.
    pub fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Instant) {
        let Datagram { socket, from, truncated, bytes } = datagram;
        let owner = self.owners.get(socket.position()).copied().unwrap_or(Owner::Nobody);
        let outcome = match owner {
            _ if truncated => Err(Discard::TooLarge),
            Owner::Leg(key, side, kind) => {
                self.leg_datagram((key, side), kind, Incoming { from, datagram: bytes }, now)
            }
            Owner::Browsers => self.browser_datagram(from, bytes, now),
            Owner::Nobody => Err(Discard::UnknownSource),
        };
        if let Err(reason) = outcome {
            self.counters.discards.count(reason);
        }
    }

    fn browser_datagram(
        &mut self,
        from: SocketAddr,
        datagram: &mut [u8],
        now: Instant,
    ) -> Result<(), Discard> {
        let leg = self.addresses.get(&from).copied();
        match (classify(datagram)?, leg) {
            (Protocol::Rtp, Some((key, side))) => {
                self.leg_datagram((key, side), Kind::Rtp, Incoming { from, datagram }, now)
            }
            (Protocol::Rtcp, Some((key, side))) => {
                self.leg_datagram((key, side), Kind::Rtcp, Incoming { from, datagram }, now)
            }
            (Protocol::Rtp | Protocol::Rtcp, None) => Err(Discard::UnknownSource),
            (Protocol::Stun, leg) => {
                // Signaling is bothered only with what is well-formed.
                stun::Message::parse(datagram)?;
                match leg {
                    Some((key, side)) => self.check(key, side, from, datagram, now),
                    None => self.punt(from, datagram, now),
                }
            }
            (Protocol::Dtls, _) => {
                check_dtls_record(datagram)?;
                self.punt(from, datagram, now)
            }
        }
    }

    /// RTP and RTCP go down the packet line; what ends there is counted on the leg.
    fn leg_datagram(
        &mut self,
        (key, side): LegKey,
        kind: Kind,
        incoming: Incoming<'_>,
        now: Instant,
    ) -> Result<(), Discard> {
        let Some(call) = self.calls.find(key) else { return Err(Discard::UnknownSource) };
        let (from, common) = (incoming.from, &mut self.common);
        debug_assert!(common.notices.is_empty(), "notices are told before the next packet");
        let outcome = match kind {
            Kind::Rtp => line::rtp(call, side, incoming, now, common),
            Kind::Rtcp => line::rtcp(call, side, incoming, now, common),
        };
        if let Err(reason) = outcome {
            let leg = &mut call.legs[side.index()];
            leg.discards.count(reason);
            let is_stranger = reason == Discard::UnknownSource;
            if is_stranger && leg.connection.take_stranger_notice(kind, now) {
                common.notices.push(Notice::UnknownSource(side, kind, from));
            }
        }
        self.timers.arm(key, call.next_timeout(), &mut call.armed);
        if !self.common.notices.is_empty() {
            self.tell(key);
        }
        Ok(())
    }

    /// A STUN message from a nominated address: an authenticated check is answered here
    /// (RFC 7675), everything else is for signaling.
    fn check(
        &mut self,
        key: CallKey,
        side: Side,
        from: SocketAddr,
        datagram: &mut [u8],
        now: Instant,
    ) -> Result<(), Discard> {
        let Some(call) = self.calls.find(key) else { return Err(Discard::UnknownSource) };
        let connection = &mut call.legs[side.index()].connection;
        let mut verdict = None;
        let to = Destination::from(from);
        let queued = self.common.outbox.queue(self.browsers, Some(to), |slot| {
            let (length, said) = answer_check(connection, datagram, from, slot)?;
            verdict = Some(said);
            Ok::<_, Discard>(length)
        });
        match queued.ok_or(Discard::SendSlotsExhausted)? {
            Err(_) => return self.punt(from, datagram, now),
            Ok(_) if verdict == Some(Verdict::Success) => connection.renew_consent(now),
            Ok(_) => {}
        }
        self.timers.arm(key, call.next_timeout(), &mut call.armed);
        Ok(())
    }

    fn punt(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> Result<(), Discard> {
        if !self.punts.take(now) {
            return Err(Discard::PuntRateExceeded);
        }
        if self.events.len() >= PUNTS_MAX {
            return Err(Discard::PuntQueueFull);
        }
        self.events.push_back(CoreEvent::Punt(from, datagram.to_vec()));
        self.counters.punted += 1;
        Ok(())
    }

    /// Wakes the calls whose time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((armed, key)) = self.timers.pop_due(now) {
            self.wake(key, armed, now);
        }
    }

    fn wake(&mut self, key: CallKey, armed: Instant, now: Instant) {
        let Some(call) = self.calls.find(key) else { return };
        if call.armed != Some(armed) {
            return;
        }
        call.armed = None;
        line::wake(call, now, &mut self.common);
        debug_assert!(
            call.next_timeout().is_none_or(|at| at > now),
            "what was due is done: the call is not woken again at once"
        );
        self.timers.arm(key, call.next_timeout(), &mut call.armed);
        if !self.common.notices.is_empty() {
            self.tell(key);
        }
    }

    /// Makes events of the packet line's notices.
    #[cold]
    fn tell(&mut self, key: CallKey) {
        let Some(call) = self.calls.find(key) else { return self.common.notices.clear() };
        let mut lost = 0;
        for notice in self.common.notices.drain(..) {
            let event = CoreEvent::Event(event_of(call, notice));
            if self.events.len() < EVENTS_MAX {
                self.events.push_back(event);
            } else {
                lost += 1;
            }
        }
        self.counters.discards.count_many(Discard::PuntQueueFull, lost);
    }

    /// One call and what it works with, as the packet line has them: for whoever measures the line by
    /// itself, or looks at a call. Timers are not armed by what is done to it.
    pub fn line(&mut self, key: CallKey) -> Option<(&mut Call, &mut Common)> {
        self.calls.find(key).map(|call| (call, &mut self.common))
    }
}

fn event_of(call: &Call, notice: Notice) -> Event {
    let name = call.name.clone();
    match notice {
        Notice::MediaStarted(leg) => Event::MediaStarted { call: name, leg },
        Notice::DigitEnded(leg, digit, duration_ms) => {
            let digit = digit.to_char();
            Event::TelephoneEvent { call: name, leg, digit, duration_ms }
        }
        Notice::ConsentExpired(leg) => Event::ConsentExpired { call: name, leg },
        Notice::MediaTimeout(leg, silent_ms) => Event::MediaTimeout { call: name, leg, silent_ms },
        Notice::UnknownSource(leg, kind, from) => {
            let expected = call.legs[leg.index()].connection.remote(kind);
            Event::UnknownSource { call: name, leg, from, expected }
        }
        Notice::SourceLearnt(leg, remote) => Event::SourceLearnt { call: name, leg, remote },
        Notice::PlayEnded(leg, why) => Event::PlayEnded { call: name, leg, why },
    }
}

/// Counts punts within a second.
#[derive(Debug)]
struct PuntBudget {
    second: Instant,
    left: u32,
}

impl PuntBudget {
    fn new(now: Instant) -> Self {
        Self { second: now, left: PUNTS_PER_SECOND }
    }

    fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }
}
