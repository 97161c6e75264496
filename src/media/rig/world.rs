//! A world in which a [`script`] happens: a media process of one core under a virtual clock,
//! its control connections, and far ends that know their keys. After every step it is held against what
//! must be true whatever happens.
//!
//! The core answers commands when it likes, so that replies come late and in the middle of other things.
//!
//! What is held: every datagram that arrives is sent on, punted, answered or counted once; sockets, port
//! pairs, codec states and calls add up; counters never fall; what was due is done; what leaves goes where
//! it should and makes sense to a [`Witness`].

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::agreed::Leg;
use super::commands::{command_of, name_of};
use super::far_end::{FarEnd, stun};
use super::script::{
    self, CLIENTS, Content, Damage, From, LegName, Packet, Port, Seal, Step, peer,
};
use super::witness::Witness;
use super::{Flying, Rig, browser_address};
use crate::audio::opus::{ENCODERS_PER_CALL, OpusArena};
use crate::base::opaque::opaque;
use crate::config::PortRange;
use crate::control::codec::{FromMedia, read_from_media, write_request};
use crate::control::message::{CallName, Side, Source, ThreadDescription, ThreadStatistics};
use crate::media::budget::{WINDOW, Weight};
use crate::media::channel::{
    CallKey, Claim, Command as CoreCommand, NewLeg, Reply, Report, Token, withdrawn,
};
use crate::media::front::json::{Front, Output};
use crate::media::leg::connection::rtcp_beside;
use crate::media::ports::PortPool;
use crate::media::registry::audio::unreadable;
use crate::media::registry::{self, Client, Holding, Limits, Registry};
use crate::os::account::Account;
use crate::os::network::Datagram;
use crate::os::sockets::BoundSocket;
use crate::wire::demux::{Protocol, classify};
use crate::wire::rtp::Ssrc;

/// Calls that the core has room for.
const CALLS_MAX: usize = 3;
/// Port pairs: fewer than the calls could want.
const PORTS: PortRange = PortRange { first: 30_000, last: 30_015 };
/// Time that passes in one script at most: what comes after it would bring nothing new.
const TIME_MAX: Duration = Duration::from_secs(150);
/// Timers in one instant: each leg has a handful.
const TIMERS_MAX: usize = 64;
/// The longest control line that a script says.
const GARBAGE_MAX: usize = 200;

struct Call {
    key: CallKey,
    legs: [Leg; 2],
}

/// What became of datagrams so far.
#[derive(Clone, Copy)]
struct Ends {
    discarded: u64,
    punted: u64,
    accepted: u64,
}

/// The world.
pub struct World {
    front: Front,
    rig: Rig,
    codecs: Rc<OpusArena>,
    now: Instant,
    time_left: Duration,
    clients: [Option<Client>; CLIENTS as usize],
    /// Requests that were not answered yet, by connection.
    requests: BTreeMap<Client, VecDeque<u64>>,
    requests_made: u64,
    /// Commands that the core has not taken yet.
    asked: VecDeque<(Token, CoreCommand, Claim)>,
    is_stalled: bool,
    calls: BTreeMap<CallName, Call>,
    far_ends: u32,
    account: Account,
    /// Where a check came from that may be answered now.
    requester: Option<SocketAddr>,
    answered: u64,
    /// Datagrams that the controller sends.
    ordered: VecDeque<(SocketAddr, Vec<u8>)>,
    counted: ThreadStatistics,
}

opaque!(World);

/// Carries a script out from beginning to end.
///
/// # Panics
/// When something is true that must never be.
pub fn run(bytes: &[u8], now: Instant) {
    let mut world = World::new(now);
    for step in script::read(bytes) {
        world.step(step);
    }
    world.end();
}

impl World {
    /// A process without calls, and a controller.
    pub fn new(now: Instant) -> Self {
        let codecs = OpusArena::new(CALLS_MAX).expect("memory for three calls");
        let rig = Rig::with_codecs(CALLS_MAX, Rc::clone(&codecs), now).expect("a core");
        let browser = browser_address(0);
        let bind = |address, _| Ok(BoundSocket::made_up(address));
        let ports = PortPool::new(browser.ip(), PORTS, (0, 1), bind, now);
        let description = ThreadDescription { thread: 0, core: 0, browser };
        let socket = BoundSocket::made_up(browser);
        let core = registry::Core::new(description, rig.gauge.clone(), ports, socket);
        let limits = Limits { calls: CALLS_MAX, load: 0.9 };
        let registry = Registry::new(vec![core], limits, "generation".to_owned(), now);
        let mut world = Self {
            front: Front::new(registry),
            rig,
            codecs,
            now,
            time_left: TIME_MAX,
            clients: [None; CLIENTS as usize],
            requests: BTreeMap::new(),
            requests_made: 0,
            asked: VecDeque::new(),
            is_stalled: false,
            calls: BTreeMap::new(),
            far_ends: 1,
            account: Account::default(),
            requester: None,
            answered: 0,
            ordered: VecDeque::new(),
            counted: ThreadStatistics::default(),
        };
        world.step(Step::Connect(0));
        world.step(Step::Command(0, script::Command::TakeControl(false)));
        world
    }

    /// Carries one step out, and looks around.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Rtp(leg, packet) => self.rtp(leg, &packet),
            Step::Speech(leg, packets) => self.speech(leg, packets),
            Step::Rtcp(leg, report) => {
                let Some(known) = self.leg(leg) else { return };
                let ours = known.witness.ssrc();
                let datagram = known.far_end.rtcp(&report, ours, &known.security);
                let is_truncated = report.damage == Damage::Truncated;
                self.send(leg, report.from, Port::Rtcp, datagram, is_truncated);
            }
            Step::Stun(leg, check) => {
                let Some(known) = self.leg(leg) else { return };
                let Some(credentials) = &known.credentials else { return };
                let datagram = stun(&check, credentials);
                let is_truncated = check.damage == Damage::Truncated;
                self.send(leg, check.from, Port::Rtp, datagram, is_truncated);
            }
            Step::Raw(leg, from, port, bytes) => self.send(leg, from, port, bytes, false),
            Step::Pass(ms) => self.pass(Duration::from_millis(ms.into())),
            Step::Pause(ms) => {
                let time = Duration::from_millis(ms.into()).min(self.time_left);
                self.time_left -= time;
                self.rig.pause(time);
                self.now = self.rig.now;
                self.pass(Duration::ZERO);
            }
            Step::Stall(is_stalled) => self.is_stalled = is_stalled,
            Step::Load(percent) => {
                self.account.ran += WINDOW * u32::from(percent) / 100;
                self.rig.core.observe(self.account, self.now);
            }
            Step::Connect(client) => self.connect(client),
            Step::Leave(client) => {
                if let Some(client) = self.clients[usize::from(client)].take() {
                    self.closed(client);
                }
            }
            Step::Garbage(client, line) => {
                if let Some(client) = self.clients[usize::from(client)]
                    && !self.front.is_busy(client)
                {
                    let line = &line[..line.len().min(GARBAGE_MAX)];
                    self.front.handle_line(client, line, self.now);
                }
            }
            Step::Command(client, command) => self.command(client, command),
        }
        self.run();
        self.look_around();
    }

    /// Ends every call: nothing is kept.
    pub fn end(mut self) {
        self.is_stalled = false;
        self.run();
        self.time_left = Duration::from_secs(60);
        self.step(Step::Leave(0));
        self.step(Step::Connect(0));
        self.step(Step::Command(0, script::Command::TakeControl(true)));
        for call in 0..script::CALLS {
            self.step(Step::Command(0, script::Command::Delete(call)));
        }
        self.pass(Duration::from_secs(30));
        self.look_around();
        assert!(self.calls.is_empty() && self.asked.is_empty(), "a call cannot be ended");
        let free = Holding { calls: 0, weight: Weight::default(), port_pairs_free: PORTS.pairs() };
        assert_eq!(self.front.registry().holding(0), Some(free));
        assert_eq!(self.rig.network.open_sockets(), 1, "a socket outlived its leg");
        let codecs = (CALLS_MAX, CALLS_MAX * ENCODERS_PER_CALL as usize);
        assert_eq!(self.codecs.free(), codecs, "a codec state outlived its call");
        assert_eq!(self.rig.next_timeout(), None, "a timer outlived its call");
        self.rig.recycle();
    }

    // The control connections.

    fn connect(&mut self, client: u8) {
        let place = &mut self.clients[usize::from(client)];
        if place.is_none() {
            *place = Some(self.front.opened());
        }
    }

    fn closed(&mut self, client: Client) {
        self.requests.remove(&client);
        for place in &mut self.clients {
            place.take_if(|it| *it == client);
        }
        self.front.closed(client, self.now);
    }

    fn command(&mut self, client: u8, command: script::Command) {
        let Some(client) = self.clients[usize::from(client)] else { return };
        if self.front.is_busy(client) {
            return;
        }
        let Some(command) = command_of(command) else { return };
        self.requests_made += 1;
        self.requests.entry(client).or_default().push_back(self.requests_made);
        let line = write_request(self.requests_made, &command);
        self.front.handle_line(client, line.as_bytes(), self.now);
    }

    /// Carries commands, replies and events back and forth until there are no more.
    fn run(&mut self) {
        loop {
            while let Some(output) = self.front.poll_output() {
                match output {
                    Output::Line(client, line) => self.line(client, &line),
                    Output::Close(client) => self.closed(client),
                    Output::Read { token, path: _ } => {
                        let missing = Err(unreadable("there are no files"));
                        self.front.handle_recording(token, missing, self.now);
                    }
                    Output::Ask { token, command, claim, .. } => {
                        self.asked.push_back((token, command, claim));
                    }
                }
            }
            let asked = if self.is_stalled { None } else { self.asked.pop_front() };
            let events = self.rig.events();
            if asked.is_none() && events.is_empty() {
                return;
            }
            for event in events {
                self.front.handle_report(Report::Event(0, event), self.now);
            }
            if let Some((token, command, claim)) = asked {
                let reply = if claim.take() { self.carry_out(command) } else { Err(withdrawn()) };
                self.front.handle_report(Report::Reply(token, reply), self.now);
            }
        }
    }

    /// A line toward a connection: replies come in order.
    fn line(&mut self, client: Client, line: &str) {
        let said = read_from_media(line).expect("every line is JSON");
        match said {
            FromMedia::Reply { id: Some(id), .. } => {
                let expected = self.requests.get_mut(&client).and_then(VecDeque::pop_front);
                assert!(expected.is_none_or(|expected| expected == id), "a reply out of order");
            }
            FromMedia::Reply { id: None, .. } | FromMedia::Event { .. } => {}
            FromMedia::UnknownEvent => panic!("an event that nobody knows: {line}"),
        }
    }

    /// Gives the core a command, and notes what that changes.
    fn carry_out(&mut self, command: CoreCommand) -> registry::Result<Reply> {
        let noted = command.clone();
        if let CoreCommand::SendDatagram(to, datagram) = &command {
            self.ordered.push_back((*to, datagram.clone()));
        }
        self.rig.now = self.now;
        let reply = self.rig.command(command);
        // By what was agreed on before.
        self.judge();
        match (noted, &reply) {
            (CoreCommand::Create { name, legs }, Ok(Reply::Created(key))) => {
                let legs = legs.map(|leg| self.agreed(&leg));
                let call = Call { key: *key, legs };
                assert!(self.calls.insert(name.clone(), call).is_none(), "a name twice");
                Side::BOTH.into_iter().for_each(|side| self.see_source(&name, side));
            }
            (CoreCommand::Update(key, side, change), Ok(_)) => {
                let name = self.name_of(key);
                if let Some(call) = self.calls.get_mut(&name) {
                    call.legs[side.index()].change(*change);
                }
            }
            (CoreCommand::Replace(key, side, leg), Ok(_)) => {
                let name = self.name_of(key);
                let leg = self.agreed(&leg);
                if let Some(call) = self.calls.get_mut(&name) {
                    call.legs[side.index()] = leg;
                }
                self.see_source(&name, side);
            }
            (CoreCommand::Exchange(places), Ok(_)) => {
                let [one, other] = places.map(|(key, side)| (self.name_of(key), side));
                let mut call = self.calls.remove(&one.0).expect("it was just named");
                let with = self.calls.get_mut(&other.0).expect("another call");
                let [goes, comes] = [(&mut call, one.1), (with, other.1)]
                    .map(|(call, side)| &mut call.legs[side.index()]);
                std::mem::swap(goes, comes);
                self.calls.insert(one.0, call);
            }
            (CoreCommand::Delete(key), Ok(_)) => {
                let name = self.name_of(key);
                self.calls.remove(&name);
            }
            (CoreCommand::SendDigit(key, side, ..), Ok(_)) => {
                let name = self.name_of(key);
                if let Some(call) = self.calls.get_mut(&name) {
                    // A packet each 20 ms of the longest digit, and its ends.
                    call.legs[side.index()].allowance += 300;
                }
            }
            _ => {}
        }
        reply
    }

    fn name_of(&self, key: CallKey) -> CallName {
        let found = self.calls.iter().find(|(_, call)| call.key == key);
        found.map(|(name, _)| name.clone()).expect("the core knows only calls that were made")
    }

    fn agreed(&mut self, leg: &NewLeg) -> Leg {
        self.far_ends += 1;
        Leg::new(leg, FarEnd::new(self.far_ends))
    }

    /// The source that a new leg was given.
    fn see_source(&mut self, name: &CallName, side: Side) {
        let Some(call) = self.calls.get_mut(name) else { return };
        let (made, _) = self.rig.core.line(call.key).expect("the core has the call");
        let ssrc = made.legs[side.index()].sending.outgoing.ssrc();
        call.legs[side.index()].witness = Witness::new(ssrc);
    }

    // The far ends.

    fn leg(&mut self, leg: LegName) -> Option<&mut Leg> {
        let call = self.calls.get_mut(&name_of(leg.call))?;
        Some(&mut call.legs[leg.side.index()])
    }

    fn rtp(&mut self, leg: LegName, packet: &Packet) {
        let Some(known) = self.leg(leg) else { return };
        let datagram = known.far_end.rtp(packet, known.format.as_ref(), &known.security);
        let is_truncated = packet.damage == Damage::Truncated;
        if packet.seal == Seal::Repeated {
            self.send(leg, packet.from, Port::Rtp, datagram.clone(), is_truncated);
        }
        self.send(leg, packet.from, Port::Rtp, datagram, is_truncated);
    }

    fn speech(&mut self, leg: LegName, packets: u8) {
        for n in 0..packets {
            let packet = Packet {
                from: From::FarEnd,
                source: 0,
                step: 1,
                clock_ms: 0,
                content: Content::Audio(20, n.wrapping_mul(7).wrapping_add(3)),
                choice: 0,
                marker: false,
                seal: Seal::Good,
                damage: Damage::None,
            };
            self.rtp(leg, &packet);
            self.pass(Duration::from_millis(20));
        }
    }

    /// A datagram arrives for a leg.
    fn send(&mut self, leg: LegName, from: From, port: Port, mut bytes: Vec<u8>, truncated: bool) {
        let browsers = browser_address(0);
        let Some(call) = self.calls.get_mut(&name_of(leg.call)) else { return };
        let known = &mut call.legs[leg.side.index()];
        let from = match from {
            From::FarEnd => known.named.map_or(peer(0), |both| both[port as usize]),
            From::Peer(address) => address,
        };
        // Legs that are browsers' may both be at an address.
        let from = if known.is_plain { from } else { known.named.map_or(from, |both| both[0]) };
        let to = known.local[port as usize];
        if let Source::Within(_) = &known.source {
            known.learnt.extend([from, rtcp_beside(from)]);
        }
        for leg in &mut call.legs {
            leg.allowance += 16;
        }
        let Some(socket) = self.rig.network.socket_at(to) else {
            panic!("the leg's socket {to} is not there")
        };
        self.requester = (to == browsers).then_some(from);
        let before = self.ends();
        let is_rtcp = match classify(&bytes) {
            Ok(protocol) if to == browsers => protocol == Protocol::Rtcp,
            _ => port == Port::Rtcp,
        };
        let answered = self.answered;
        self.rig.now = self.now;
        self.rig.network.counters.received += 1;
        let datagram = Datagram { socket, from, truncated, bytes: &mut bytes };
        self.rig.core.handle_datagram(datagram, self.now);
        self.rig.collect();
        self.judge();
        self.requester = None;
        let after = self.ends();
        let discarded = after.discarded - before.discarded;
        let punted = after.punted - before.punted;
        let (answered, accepted) = (self.answered - answered, after.accepted - before.accepted);
        let ended = discarded + punted + answered;
        assert!(ended <= 1, "{discarded} discarded, {punted} punted, {answered} answered");
        assert!(accepted <= 1 && (punted + answered == 0 || accepted == 0), "{accepted} accepted");
        assert!(ended + accepted >= 1 || is_rtcp, "a datagram came to nothing and was not counted");
    }

    /// What became of datagrams when they came: what is discarded in its turn is no end of these.
    fn ends(&mut self) -> Ends {
        let thread = self.thread_statistics();
        let mut ends = Ends {
            discarded: thread.discards.total(),
            punted: thread.datagrams_punted,
            accepted: 0,
        };
        for call in self.calls.values() {
            let Some((call, _)) = self.rig.core.line(call.key) else { continue };
            for side in Side::BOTH {
                let all = call.leg_statistics(side, self.now);
                let leg = &call.legs[side.index()];
                ends.discarded -= all.discards.total() - leg.discards.total();
                ends.accepted += leg.hearing.counters.packets_received;
            }
        }
        ends
    }

    // Time.

    fn pass(&mut self, time: Duration) {
        let time = time.min(self.time_left);
        self.time_left -= time;
        let until = self.now + time;
        let mut timers = 0;
        loop {
            let due = [self.rig.next_timeout(), self.front.next_timeout()];
            let Some(due) = due.into_iter().flatten().min().filter(|due| *due <= until) else {
                break;
            };
            timers = if due > self.now { 0 } else { timers + 1 };
            assert!(timers < TIMERS_MAX, "what is due is never done");
            for call in self.calls.values_mut() {
                call.legs.iter_mut().for_each(|leg| leg.time_passes(due, self.now));
            }
            self.now = self.now.max(due);
            self.rig.now = self.now;
            self.rig.core.handle_timeout(self.now);
            self.rig.collect();
            self.judge();
            let left = self.rig.next_timeout();
            assert!(
                left.is_none_or(|left| left > self.now),
                "the core is to be woken again at once"
            );
            self.front.handle_timeout(self.now);
            self.run();
        }
        for call in self.calls.values_mut() {
            call.legs.iter_mut().for_each(|leg| leg.time_passes(until, self.now));
        }
        self.now = self.now.max(until);
        self.rig.now = self.now;
    }

    // What is true.

    /// What left since the last time.
    fn judge(&mut self) {
        for Flying { from, to, bytes } in self.rig.sent() {
            if from != browser_address(0) {
                self.judge_plain(from, to, &bytes);
                continue;
            }
            match classify(&bytes) {
                Ok(Protocol::Stun) if self.requester == Some(to) => self.answered += 1,
                Ok(Protocol::Rtp) => self.judge_browser(Port::Rtp, to, &bytes),
                Ok(Protocol::Rtcp) => self.judge_browser(Port::Rtcp, to, &bytes),
                _ => {
                    let ordered = self.ordered.pop_front();
                    assert_eq!(ordered, Some((to, bytes)), "nobody wanted it sent");
                }
            }
        }
        self.ordered.clear();
    }

    fn judge_plain(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let legs = self.calls.values_mut().flat_map(|call| &mut call.legs);
        let mut owners = legs.filter(|leg| leg.is_plain && leg.local.contains(&from));
        let leg = owners.next().expect("what is sent is sent by a leg");
        let port = if leg.local[0] == from { Port::Rtp } else { Port::Rtcp };
        let is_named = leg.named.is_some_and(|both| both[port as usize] == to);
        assert!(is_named || leg.learnt.contains(&to), "sent to {to}, where nobody is");
        leg.judge(port, bytes, self.now);
        assert!(owners.next().is_none(), "a socket with two owners");
    }

    fn judge_browser(&mut self, port: Port, to: SocketAddr, bytes: &[u8]) {
        let at = if port == Port::Rtp { 8 } else { 4 };
        let word = bytes.get(at..).and_then(|rest| rest.first_chunk()).expect("a source");
        let ssrc = Ssrc(u32::from_be_bytes(*word));
        let mut legs = self.calls.values_mut().flat_map(|call| &mut call.legs);
        let leg = legs.find(|leg| !leg.is_plain && leg.witness.ssrc() == ssrc);
        let leg = leg.expect("a browser's leg sends under its own source");
        assert!(leg.named.is_some_and(|both| both[0] == to), "sent to {to}, where nobody is");
        leg.judge(port, bytes, self.now);
    }

    fn thread_statistics(&mut self) -> ThreadStatistics {
        match self.rig.command(CoreCommand::QueryThread) {
            Ok(Reply::Thread(statistics)) => *statistics,
            other => panic!("no statistics: {other:?}"),
        }
    }

    fn look_around(&mut self) {
        self.judge();
        let now = self.thread_statistics();
        let before = std::mem::replace(&mut self.counted, now.clone());
        held_against(&before, &now);
        assert_eq!(now.calls, self.calls.len() as u64, "the core's calls");
        let plain = self.calls.values().flat_map(|call| &call.legs).filter(|leg| leg.is_plain);
        let plain = plain.count();
        assert_eq!(self.rig.network.open_sockets(), 1 + 2 * plain, "open sockets");
        if self.asked.is_empty() {
            let holding = self.front.registry().holding(0).expect("thread 0");
            assert_eq!(holding.calls, self.calls.len(), "the registry's calls");
            assert_eq!(holding.port_pairs_free, PORTS.pairs() - plain, "the registry's port pairs");
        }
        for (name, call) in &self.calls {
            for (side, leg) in Side::BOTH.into_iter().zip(&call.legs) {
                let (sent, most) = (leg.witness.packets(), leg.allowance);
                assert!(sent <= most, "{sent} packets on leg {side} of {name}, {most} at most");
            }
        }
    }
}

/// What a thread counts never falls.
fn held_against(before: &ThreadStatistics, now: &ThreadStatistics) {
    use crate::base::discard::Discard;
    for reason in Discard::ALL {
        let (was, is) = (before.discards.of(*reason), now.discards.of(*reason));
        assert!(was <= is, "{reason:?} fell from {was} to {is}");
    }
    let counters = |it: &ThreadStatistics| {
        [
            it.calls_created,
            it.datagrams_received,
            it.datagrams_sent,
            it.datagrams_punted,
            it.frames_decoded,
            it.frames_encoded,
            it.frames_silent,
            it.pauses,
        ]
    };
    let fell = counters(before).into_iter().zip(counters(now)).any(|(was, is)| was > is);
    assert!(!fell, "a counter fell: {before:?}, then {now:?}");
    assert_eq!(now.send_errors, before.send_errors, "sent by a socket that is not there");
}
