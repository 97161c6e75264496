//! A media thread: its ring, its browser port, its calls. The loop is: completions → packet line →
//! timers → everything that is to leave submitted together.
//!
//! A datagram ends one of three ways: *send* (the packet line put something into the outbox), *punt*
//! (STUN and DTLS that signaling has to see) or *discard* (with a reason, counted). What the thread is
//! told meanwhile is in `commands`.

mod commands;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::budget::{self, Budget, Weight};
use super::call::Call;
use super::channel::{CallKey, CoreEnd, CoreEvent};
use super::consent::answer_check;
use super::encoding::Load;
use super::leg::Kind;
use super::line::{self, FrameCounters, Notice, Surroundings};
use super::table::Calls;
use crate::audio::noise_packets::NoisePackets;
use crate::audio::opus::{EncoderSettings, OpusArena, PACKET_SAMPLES_MAX};
use crate::audio::synthetic::speech;
use crate::base::clock::WallAnchor;
use crate::base::discard::{Discard, DiscardCounters};
use crate::base::random::{self, Random};
use crate::base::timers::Timers;
use crate::control::message::Side;
use crate::ice::check::Verdict;
use crate::os::account::SchedulerAccount;
use crate::os::outbox::{Outbox, SLOT_BYTES};
use crate::os::ring::{Arrival, Datagram, Receive, Ring, RingLimits, SocketIndex};
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
