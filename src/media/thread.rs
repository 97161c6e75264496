//! A media thread: its ring, its browser port, its calls. The loop is: completions → packet line →
//! timers → everything that is to leave submitted together.
//!
//! A datagram ends one of three ways: *send* (the packet line put something into the outbox), *punt*
//! (STUN and DTLS that signaling has to see) or *discard* (with a reason, counted).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::budget::{self, Budget, Weight};
use super::call::Call;
use super::channel::{
    CallKey, Command, CoreEnd, CoreEvent, LegChange, NewLeg, NewTransport, Reply, Token,
};
use super::consent::answer_check;
use super::encoding::Load;
use super::leg::{Kind, Leg, LegTransport};
use super::line::{self, FrameCounters, Notice, Surroundings};
use super::outgoing::Outgoing;
use super::security::SecurityContext;
use super::table::Calls;
use crate::audio::noise_packets::NoisePackets;
use crate::audio::opus::{EncoderSettings, OpusArena, PACKET_SAMPLES_MAX};
use crate::audio::synthetic::speech;
use crate::base::clock::WallAnchor;
use crate::base::discard::{Discard, DiscardCounters};
use crate::base::random::{self, Random};
use crate::base::timers::Timers;
use crate::control::message::{ControlError, ErrorCode, Side, ThreadStatistics, discard_map};
use crate::ice::check::Verdict;
use crate::os::account::SchedulerAccount;
use crate::os::outbox::{Outbox, SLOT_BYTES};
use crate::os::ring::{Arrival, Datagram, Receive, Ring, RingLimits, SocketIndex};
use crate::os::sockets;
use crate::wire::demux::{Protocol, check_dtls_record, classify};
use crate::wire::stun;

/// Datagrams that wait for the next submission: the reports of 1,000 calls that come due together
/// after a pause; a batch of arrivals makes a few dozen.
const SEND_SLOTS: usize = 2048;
/// Arrivals between submissions within one batch: it bounds what the first has to wait for the last.
const BATCH: usize = 8;
/// The thread last looked at the clock longer ago than this: it did not run. It wakes four times
/// that often, see [`super::budget::WINDOW`].
const PAUSE: Duration = Duration::from_secs(1);
/// Frames of 20 ms that a new thread codes to know what a call costs.
const TRIAL_FRAMES: u32 = 50;
/// STUN and DTLS datagrams that one thread hands to signaling in a second; a handshake of 1,000
/// browsers a second would need as many as this, a flood gets no more.
const PUNTS_PER_SECOND: u32 = 20_000;
/// Sockets of a call: two legs of two.
const SOCKETS_PER_CALL: usize = 4;

/// Whose a socket is.
#[derive(Clone, Copy)]
enum Owner {
    Nobody,
    Browsers,
    Leg(CallKey, Side, Kind),
}

/// Counters of a thread that no leg has.
#[derive(Default)]
struct ThreadCounters {
    calls_created: u64,
    punted: u64,
    pauses: u64,
    discards: DiscardCounters,
}

/// One media thread.
pub struct Thread {
    end: CoreEnd,
    ring: Ring,
    outbox: Outbox,
    browsers: SocketIndex,
    owners: Vec<Owner>,
    calls: Calls,
    /// Nominated addresses.
    addresses: HashMap<SocketAddr, (CallKey, Side)>,
    timers: Timers<CallKey>,
    arena: Rc<OpusArena>,
    notices: Vec<Notice>,
    frames: FrameCounters,
    counters: ThreadCounters,
    punts: PuntBudget,
    wall: WallAnchor,
    random: Random,
    account: SchedulerAccount,
    budget: Budget,
    /// When the thread last looked at the clock.
    looked: Instant,
}

impl Thread {
    /// A thread for at most `calls` calls with its bound browser socket. To be made on the thread
    /// that runs it.
    pub fn new(end: CoreEnd, browsers: OwnedFd, calls: usize) -> io::Result<Self> {
        let sockets = 1 + calls * SOCKETS_PER_CALL;
        let mut ring = Ring::new(sockets, RingLimits::THREAD, end.wake.clone())?;
        let browsers = ring.add_socket(browsers, Receive::Shared)?;
        let mut owners = vec![Owner::Nobody; sockets];
        owners[browsers.position()] = Owner::Browsers;
        let arena = OpusArena::new(calls)?;
        NoisePackets::shared(); // is made here, not in the first call's time
        let budget = Budget::new(time_codec(&arena), end.gauge.clone());
        Ok(Self {
            end,
            ring,
            outbox: Outbox::new(SEND_SLOTS),
            browsers,
            owners,
            calls: Calls::new(calls),
            addresses: HashMap::with_capacity(2 * calls),
            timers: Timers::new(2 * calls),
            arena,
            notices: Vec::with_capacity(16),
            frames: FrameCounters::default(),
            counters: ThreadCounters::default(),
            punts: PuntBudget::new(Instant::now()),
            wall: WallAnchor::now(),
            random: random::from_system(),
            account: SchedulerAccount::open()?,
            budget,
            looked: Instant::now(),
        })
    }

    /// Runs until the ring fails.
    pub fn run(mut self) -> io::Error {
        loop {
            if let Err(error) = self.turn() {
                return error;
            }
        }
    }

    /// One turn of the loop.
    fn turn(&mut self) -> io::Result<()> {
        let window = self.budget.next_window(self.looked);
        let until = self.timers.next().map_or(window, |at| at.min(window));
        self.ring.wait(&mut self.outbox, until)?;
        let mut now = self.look()?;
        let mut handled = 0;
        while let Some(arrival) = self.ring.next_arrival() {
            match arrival {
                Arrival::Datagram(mut datagram) => {
                    self.datagram(&mut datagram, now);
                    self.ring.recycle(datagram);
                }
                Arrival::Wake => self.commands(now),
            }
            handled += 1;
            if handled % BATCH == 0 {
                self.ring.send(&mut self.outbox)?;
                now = self.look()?;
            }
        }
        while let Some((armed, key)) = self.timers.pop_due(now) {
            self.wake(key, armed, now);
        }
        if self.budget.next_window(now) <= now {
            let began = now.checked_sub(budget::WINDOW);
            let talks = |call: &&Call| call.last_sent() > began;
            let weights = self.calls.all().filter(talks).map(Call::weight);
            let talking = weights.fold(Weight::default(), Weight::plus);
            self.budget.observe(self.account.read()?, talking, now);
        }
        Ok(())
    }

    /// Looks at the clock. A pause is met here, wherever in its turn it stopped the thread: a busy one
    /// seldom waits.
    fn look(&mut self) -> io::Result<Instant> {
        let pause = self.looked.elapsed();
        if pause > PAUSE {
            self.resume(pause)?;
        }
        self.looked = Instant::now();
        Ok(self.looked)
    }

    /// The load once every call talks that was made so far.
    fn expected_load(&self) -> Load {
        let weight = self.calls.all().map(Call::weight).fold(Weight::default(), Weight::plus);
        Load::new(self.end.gauge.load_of(weight).max(self.end.gauge.load()) as f32)
    }

    /// The thread did not run for a while (a stopped process, a virtual machine that moved). What
    /// arrived meanwhile is old: nobody wants to hear it in one burst. It is thrown away, and calls
    /// go on with what arrives from here on, as after a pause of the sender's.
    fn resume(&mut self, pause: Duration) -> io::Result<()> {
        let mut stale = 0;
        let mut commands = false;
        while let Some(arrival) = self.ring.next_arrival() {
            match arrival {
                Arrival::Datagram(datagram) => {
                    self.ring.recycle(datagram);
                    stale += 1;
                }
                Arrival::Wake => commands = true,
            }
        }
        stale += self.ring.discard_waiting();
        self.counters.pauses += 1;
        self.counters.discards.count_many(Discard::AfterPause, stale);
        self.calls.all_mut().for_each(|call| call.resume(pause));
        self.budget.skip();
        if commands {
            self.commands(Instant::now());
        }
        Ok(())
    }

    /// Where a datagram goes is decided by its socket and, on the browser port, by its first byte
    /// (RFC 7983) and its source.
    fn datagram(&mut self, datagram: &mut Datagram, now: Instant) {
        let (owner, from) = (self.owners[datagram.socket.position()], datagram.from);
        let outcome = if datagram.truncated {
            Err(Discard::TooLarge)
        } else {
            match (owner, from) {
                (Owner::Leg(key, side, kind), _) => {
                    self.leg_datagram(key, side, kind, datagram.bytes(), now)
                }
                (Owner::Browsers, Some(from)) => self.browser_datagram(from, datagram.bytes(), now),
                _ => Err(Discard::UnknownSource),
            }
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
                self.leg_datagram(key, side, Kind::Rtp, datagram, now)
            }
            (Protocol::Rtcp, Some((key, side))) => {
                self.leg_datagram(key, side, Kind::Rtcp, datagram, now)
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
        key: CallKey,
        side: Side,
        kind: Kind,
        datagram: &mut [u8],
        now: Instant,
    ) -> Result<(), Discard> {
        let Some(call) = self.calls.find(key) else { return Err(Discard::UnknownSource) };
        let mut around = Surroundings {
            outbox: &mut self.outbox,
            notices: &mut self.notices,
            frames: &mut self.frames,
            wall: &self.wall,
            random: &mut self.random,
            load: self.budget.load(),
        };
        let outcome = match kind {
            Kind::Rtp => line::rtp(call, side, datagram, now, &mut around),
            Kind::Rtcp => line::rtcp(call, side, datagram, now, &mut around),
        };
        if let Err(reason) = outcome {
            call.legs[side.index()].counters.discards.count(reason);
        }
        self.timers.arm(key, call.next_timeout(), &mut call.armed);
        self.tell(key);
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
        let leg = &mut call.legs[side.index()];
        let mut verdict = None;
        let queued = self.outbox.queue(self.browsers, Some(from), |slot| {
            let (length, said) = answer_check(leg, datagram, from, slot)?;
            verdict = Some(said);
            Ok::<_, Discard>(length)
        });
        match queued.ok_or(Discard::SendSlotsExhausted)? {
            Err(_) => return self.punt(from, datagram, now),
            Ok(_) if verdict == Some(Verdict::Success) => leg.renew_consent(now),
            Ok(_) => {}
        }
        self.timers.arm(key, call.next_timeout(), &mut call.armed);
        Ok(())
    }

    fn punt(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> Result<(), Discard> {
        if !self.punts.take(now) {
            return Err(Discard::PuntRateExceeded);
        }
        if !self.end.tell(CoreEvent::Punt(from, datagram.to_vec())) {
            return Err(Discard::PuntQueueFull);
        }
        self.counters.punted += 1;
        Ok(())
    }

    fn wake(&mut self, key: CallKey, armed: Instant, now: Instant) {
        let Some(call) = self.calls.find(key) else { return };
        if call.armed != Some(armed) {
            return;
        }
        call.armed = None;
        let mut around = Surroundings {
            outbox: &mut self.outbox,
            notices: &mut self.notices,
            frames: &mut self.frames,
            wall: &self.wall,
            random: &mut self.random,
            load: self.budget.load(),
        };
        line::wake(call, now, &mut around);
        self.timers.arm(key, call.next_timeout(), &mut call.armed);
        self.tell(key);
    }

    /// Passes the packet line's notices on.
    fn tell(&mut self, key: CallKey) {
        if self.notices.is_empty() {
            return;
        }
        let Some(call) = self.calls.find(key) else { return };
        for notice in self.notices.drain(..) {
            let name = call.name.clone();
            let event = match notice {
                Notice::MediaStarted(side) => CoreEvent::MediaStarted(name, side),
                Notice::DigitEnded(side, digit, duration_ms) => {
                    CoreEvent::TelephoneEvent(name, side, digit, duration_ms)
                }
                Notice::ConsentExpired(side) => CoreEvent::ConsentExpired(name, side),
            };
            if !self.end.tell(event) {
                self.counters.discards.count(Discard::PuntQueueFull);
            }
        }
    }

    fn commands(&mut self, now: Instant) {
        while let Some((token, command)) = self.end.next_command() {
            self.command(token, command, now);
        }
    }

    fn command(&mut self, token: Token, command: Command, now: Instant) {
        let reply = match command {
            Command::Create { name, legs } => self.create(name, *legs, now).map(Reply::Created),
            Command::Update(key, side, change) => {
                self.update(key, side, *change, now).map(|()| Reply::Done)
            }
            Command::Delete(key) => self.delete(key, now),
            Command::Query(key) => match self.calls.find(key) {
                Some(call) => Ok(Reply::Call(Box::new(call.statistics(self.end.thread, now)))),
                None => Err(no_call()),
            },
            Command::QueryThread => Ok(Reply::Thread(Box::new(self.statistics()))),
            Command::SendDatagram(to, datagram) => self.send_datagram(to, &datagram),
            Command::SendDigit(key, side, digit, duration_ms) => {
                self.send_digit(key, side, digit, duration_ms, now)
            }
        };
        self.end.reply(token, reply);
    }

    fn create(
        &mut self,
        name: std::sync::Arc<str>,
        legs: [NewLeg; 2],
        now: Instant,
    ) -> Result<CallKey, ControlError> {
        let Some(key) = self.calls.next_key() else {
            return Err(ControlError::new(ErrorCode::NoCapacity, "the thread's table is full"));
        };
        // One name for both legs' sources, as RFC 7022 §4.2 makes it: random, for this call only.
        let cname = random::token(&mut self.random, 16);
        let [a, b] = legs;
        let mut made = Vec::with_capacity(2);
        for (side, leg) in [(Side::A, a), (Side::B, b)] {
            match self.make_leg(key, side, leg, &cname, now) {
                Ok(leg) => made.push(leg),
                Err(error) => {
                    made.iter().for_each(|leg| self.close_leg(leg));
                    return Err(error);
                }
            }
        }
        let Ok(legs) = <[Leg; 2]>::try_from(made) else { return Err(no_call()) };
        match Call::new(name, legs, &self.arena, self.expected_load(), now) {
            Ok(mut call) => {
                self.timers.arm(key, call.next_timeout(), &mut call.armed);
                self.calls.insert(key, call);
                self.counters.calls_created += 1;
                Ok(key)
            }
            Err(refused) => {
                refused.legs.iter().for_each(|leg| self.close_leg(leg));
                Err(refused.error)
            }
        }
    }

    fn make_leg(
        &mut self,
        key: CallKey,
        side: Side,
        leg: NewLeg,
        cname: &str,
        now: Instant,
    ) -> Result<Leg, ControlError> {
        let transport = match leg.transport {
            NewTransport::Ice(credentials) => LegTransport::Ice {
                socket: self.browsers,
                credentials,
                remote: None,
                consent_until: None,
            },
            NewTransport::Plain { sockets: [rtp, rtcp], remote } => {
                let rtp = self.add_socket(rtp, Owner::Leg(key, side, Kind::Rtp))?;
                let rtcp = self
                    .add_socket(rtcp, Owner::Leg(key, side, Kind::Rtcp))
                    .inspect_err(|_| self.ring.remove_socket(rtp))?;
                let mut transport = LegTransport::Plain { rtp, rtcp, remote: None };
                if let Some([remote, remote_rtcp]) = remote {
                    self.connect(&mut transport, remote, Some(remote_rtcp)).inspect_err(|_| {
                        self.ring.remove_socket(rtp);
                        self.ring.remove_socket(rtcp);
                    })?;
                }
                transport
            }
        };
        let outgoing = Outgoing::new(&mut self.random);
        let security = SecurityContext::new(leg.security, outgoing.ssrc());
        Ok(Leg::new(transport, security, leg.format, outgoing, cname.into(), now))
    }

    fn add_socket(&mut self, fd: OwnedFd, owner: Owner) -> Result<SocketIndex, ControlError> {
        let socket = self.ring.add_socket(fd, Receive::NotYet).map_err(system_refused)?;
        self.owners[socket.position()] = owner;
        Ok(socket)
    }

    /// Ties a plain leg to its far end: from here on nobody else is heard.
    fn connect(
        &mut self,
        transport: &mut LegTransport,
        to: SocketAddr,
        to_rtcp: Option<SocketAddr>,
    ) -> Result<(), ControlError> {
        let LegTransport::Plain { rtp, rtcp, remote } = transport else { return Ok(()) };
        let next_port = || SocketAddr::new(to.ip(), to.port().saturating_add(1));
        let to_rtcp = to_rtcp.unwrap_or_else(next_port);
        if *remote == Some([to, to_rtcp]) {
            return Ok(());
        }
        for (socket, to) in [(*rtp, to), (*rtcp, to_rtcp)] {
            if let Some(fd) = self.ring.descriptor(socket) {
                sockets::connect(fd, to).map_err(system_refused)?;
            }
            self.ring.receive_on(socket, Receive::Connected);
        }
        *remote = Some([to, to_rtcp]);
        Ok(())
    }

    fn update(
        &mut self,
        key: CallKey,
        side: Side,
        change: LegChange,
        now: Instant,
    ) -> Result<(), ControlError> {
        let mut call = self.calls.take(key).ok_or_else(no_call)?;
        let outcome = self.change_leg(&mut call, key, side, change, now);
        self.timers.arm(key, call.next_timeout(), &mut call.armed);
        self.calls.insert(key, call);
        outcome
    }

    /// What can be refused comes first, so that a refused update changes nothing.
    fn change_leg(
        &mut self,
        call: &mut Call,
        key: CallKey,
        side: Side,
        change: LegChange,
        now: Instant,
    ) -> Result<(), ControlError> {
        if let Some(format) = change.format {
            call.set_format(side, format, &self.arena, self.budget.load())?;
        }
        let leg = &mut call.legs[side.index()];
        if let Some((to, to_rtcp)) = change.remote {
            if let LegTransport::Ice { remote, .. } = &mut leg.transport {
                if let Some(old) = remote.replace(to) {
                    self.addresses.remove(&old);
                }
                // An address that another leg had is this one's now: its browser is the last that
                // proved to be there.
                self.addresses.insert(to, (key, side));
                leg.renew_consent(now);
            } else {
                self.connect(&mut leg.transport, to, to_rtcp)?;
            }
        }
        if let (Some(fragment), LegTransport::Ice { credentials, .. }) =
            (change.remote_ufrag, &mut leg.transport)
        {
            credentials.remote_ufrag = Some(fragment);
        }
        if let Some(keys) = change.security {
            leg.security.replace(keys, leg.outgoing.ssrc());
        }
        Ok(())
    }

    fn delete(&mut self, key: CallKey, now: Instant) -> Result<Reply, ControlError> {
        let call = self.calls.take(key).ok_or_else(no_call)?;
        let statistics = call.statistics(self.end.thread, now);
        for leg in &call.legs {
            self.close_leg(leg);
            let remote = leg.transport.remote();
            if let Some(remote) = remote
                && self.addresses.get(&remote).is_some_and(|(owner, _)| *owner == key)
            {
                self.addresses.remove(&remote);
            }
        }
        self.calls.free(key);
        Ok(Reply::Call(Box::new(statistics)))
    }

    fn close_leg(&mut self, leg: &Leg) {
        if let LegTransport::Plain { rtp, rtcp, .. } = leg.transport {
            for socket in [rtp, rtcp] {
                self.owners[socket.position()] = Owner::Nobody;
                self.ring.remove_socket(socket);
            }
        }
    }

    fn send_datagram(&mut self, to: SocketAddr, datagram: &[u8]) -> Result<Reply, ControlError> {
        let queued = self.outbox.queue(self.browsers, Some(to), |slot| {
            let slot = slot.get_mut(..datagram.len()).ok_or(Discard::TooLarge)?;
            slot.copy_from_slice(datagram);
            Ok::<_, Discard>(datagram.len())
        });
        match queued {
            Some(Ok(_)) => Ok(Reply::Done),
            _ => Err(ControlError::new(ErrorCode::NoCapacity, "no send slot is free")),
        }
    }

    fn send_digit(
        &mut self,
        key: CallKey,
        side: Side,
        digit: char,
        duration_ms: u32,
        now: Instant,
    ) -> Result<Reply, ControlError> {
        let call = self.calls.find(key).ok_or_else(no_call)?;
        let leg = &mut call.legs[side.index()];
        if leg.format.as_ref().is_none_or(|format| format.send_events.is_none()) {
            let message = "the leg has no event format to send";
            return Err(ControlError::new(ErrorCode::Unsupported, message));
        }
        leg.digits
            .push(digit, duration_ms, now)
            .map_err(|refused| ControlError::new(ErrorCode::NoCapacity, refused.to_string()))?;
        self.timers.arm(key, call.next_timeout(), &mut call.armed);
        Ok(Reply::Done)
    }

    fn statistics(&self) -> ThreadStatistics {
        let ring = self.ring.counters();
        let mut discards = self.counters.discards.clone();
        self.calls.all().for_each(|call| {
            call.legs.iter().for_each(|leg| discards.add(&leg.counters.discards));
        });
        ThreadStatistics {
            calls: self.calls.all().count() as u64,
            calls_created: self.counters.calls_created,
            datagrams_received: ring.received,
            datagrams_sent: ring.sent,
            datagrams_punted: self.counters.punted,
            frames_decoded: self.frames.decoded,
            frames_encoded: self.frames.encoded,
            frames_silent: self.frames.silent,
            cpu_ms: thread_cpu().as_secs_f64() * 1e3,
            pauses: self.counters.pauses,
            receive_buffers_exhausted: ring.receive_buffers_exhausted,
            receive_space_exhausted: self.ring.receive_space_exhausted(),
            receive_errors: ring.receive_errors,
            send_space_exhausted: ring.send_space_exhausted,
            send_errors: ring.send_errors,
            submissions_full: ring.submissions_full,
            completions_overflowed: ring.completions_overflowed,
            discards: discard_map(&discards),
            ..ThreadStatistics::default()
        }
    }
}

/// How long one second of one call takes the codec on this core, both directions.
fn time_codec(arena: &Rc<OpusArena>) -> Duration {
    const SAMPLES: usize = 160;
    let (Ok(mut encoder), Ok(mut decoder)) =
        (arena.encoder(EncoderSettings::default()), arena.decoder())
    else {
        return Duration::ZERO; // An arena for no call: none will ask.
    };
    let pcm = speech(TRIAL_FRAMES as usize * SAMPLES);
    let (mut packet, mut out) = ([0; SLOT_BYTES], [0; PACKET_SAMPLES_MAX]);
    let before = thread_cpu();
    for frame in pcm.chunks_exact(SAMPLES) {
        let coded = encoder.encode(frame, &mut packet).unwrap_or_default();
        // A frame that was just encoded decodes; what it sounds like is of no interest.
        let _ = decoder.decode(&packet[..coded], &mut out);
    }
    thread_cpu().saturating_sub(before)
}

/// CPU time of this thread, by the kernel's accounting.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn no_call() -> ControlError {
    ControlError::new(ErrorCode::UnknownCall, "the call is gone")
}

fn system_refused(error: io::Error) -> ControlError {
    ControlError::new(ErrorCode::SystemRefused, error.to_string())
}

/// Counts punts within a second.
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
