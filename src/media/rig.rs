//! A media core, or a whole media process, on a network that is made up and under a clock that is set by
//! hand: for tests, benches, fuzzing and simulation. Nothing here sleeps, opens a socket or draws a random
//! number that does not repeat.

mod agreed;
mod commands;
pub mod far_end;
pub mod script;
pub mod witness;
pub mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::budget::Gauge;
use super::call::Call;
use super::channel::{Command, CoreEvent, Reply, Report};
use super::core::{Core, CoreParts};
use super::front::json::{Front, Output};
use super::ports::PortPool;
use super::registry::audio::{recording_of, unreadable};
use super::registry::{self, Client, Limits, Registry};
use crate::audio::noise_packets::NoisePackets;
use crate::audio::opus::OpusArena;
use crate::base::clock::WallAnchor;
use crate::base::narrow::Narrow;
use crate::base::opaque::opaque;
use crate::base::random;
use crate::config::{Media, PortRange};
use crate::control::message::{CallName, ControlError, Format, Side, ThreadDescription};
use crate::os::network::{Arrival, Datagram, Network, NetworkCounters};
use crate::os::outbox::Outbox;
use crate::os::route::SocketIndex;
use crate::os::sockets::BoundSocket;

/// Wall time when a rig begins.
const WALL: Duration = Duration::from_secs(1_700_000_000);
/// The ports of plain legs.
const PORTS: PortRange = PortRange { first: 30_000, last: 39_999 };
/// What a call is said to take the codecs of a second.
const CODEC_TIME: Duration = Duration::from_millis(1);

/// A datagram under way on a network that is made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flying {
    /// Whose it is.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// A network that is made up: what is sent is collected, what is to arrive is put in.
#[derive(Debug, Default)]
pub struct MadeUpNetwork {
    sockets: Vec<Option<SocketAddr>>,
    free: Vec<SocketIndex>,
    arriving: VecDeque<Flying>,
    lent: Vec<u8>,
    sent: VecDeque<Flying>,
    counters: NetworkCounters,
}

impl MadeUpNetwork {
    /// A datagram is on its way to one of the sockets.
    pub fn arrive(&mut self, datagram: Flying) {
        self.arriving.push_back(datagram);
    }

    /// The next datagram that was sent.
    pub fn poll_sent(&mut self) -> Option<Flying> {
        self.sent.pop_front()
    }

    /// The socket that is bound there.
    pub fn socket_at(&self, address: SocketAddr) -> Option<SocketIndex> {
        let place = self.sockets.iter().position(|bound| *bound == Some(address))?;
        Some(SocketIndex::first(u32::try_from(place).ok()?))
    }

    /// Sockets that are open.
    pub fn open_sockets(&self) -> usize {
        self.sockets.iter().flatten().count()
    }

    fn take(&mut self, outbox: &mut Outbox) {
        for queued in outbox.queued() {
            let from = self.sockets.get(queued.socket.position()).copied().flatten();
            let to = queued.to.and_then(|to| to.address());
            let (Some(from), Some(to)) = (from, to) else {
                self.counters.send_errors += 1;
                continue;
            };
            self.counters.sent += 1;
            self.sent.push_back(Flying { from, to, bytes: queued.bytes().to_vec() });
        }
        outbox.clear();
    }
}

impl Network for MadeUpNetwork {
    fn add(&mut self, socket: BoundSocket) -> io::Result<SocketIndex> {
        if self.socket_at(socket.address()).is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            SocketIndex::first(Narrow::<u32>::narrow(self.sockets.len()) - 1)
        });
        self.sockets[index.position()] = Some(socket.address());
        Ok(index)
    }

    fn remove(&mut self, socket: SocketIndex) {
        self.sockets[socket.position()] = None;
        self.free.push(socket);
    }

    fn wait(&mut self, outbox: &mut Outbox, _until: Instant) -> io::Result<()> {
        self.take(outbox);
        Ok(())
    }

    fn send(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        self.take(outbox);
        Ok(())
    }

    fn next_arrival(&mut self) -> Option<Arrival<'_>> {
        while let Some(Flying { from, to, bytes }) = self.arriving.pop_front() {
            let Some(socket) = self.socket_at(to) else { continue };
            self.counters.received += 1;
            self.lent = bytes;
            let bytes = &mut self.lent[..];
            return Some(Arrival::Datagram(Datagram { socket, from, truncated: false, bytes }));
        }
        None
    }

    fn discard_waiting(&mut self) -> u64 {
        let waiting = self.arriving.len() as u64;
        self.arriving.clear();
        waiting
    }

    fn counters(&self) -> NetworkCounters {
        self.counters
    }
}

thread_local! {
    /// Outboxes of rigs that were recycled: their memory is never freed.
    static OUTBOXES: RefCell<Vec<Outbox>> = const { RefCell::new(Vec::new()) };
}

/// A core, its network, its clock.
pub struct Rig {
    /// The core.
    pub core: Core,
    /// What it sends and receives by.
    pub network: MadeUpNetwork,
    /// The present.
    pub now: Instant,
    /// What the core says it can carry.
    pub gauge: Arc<Gauge>,
    events: Vec<CoreEvent>,
}

opaque!(Rig);

impl Rig {
    /// A core for so many calls, with these codec states.
    pub fn with_codecs(calls: usize, codecs: Rc<OpusArena>, now: Instant) -> io::Result<Self> {
        Self::of_thread(0, calls, codecs, WallAnchor::at(now, WALL), now)
    }

    fn of_thread(
        thread: usize,
        calls: usize,
        codecs: Rc<OpusArena>,
        wall: WallAnchor,
        now: Instant,
    ) -> io::Result<Self> {
        NoisePackets::shared().make(|| {});
        let gauge = Arc::new(Gauge::default());
        let parts = CoreParts {
            thread,
            calls,
            browsers: BoundSocket::made_up(browser_address(thread)),
            codecs,
            codec_time: CODEC_TIME,
            gauge: Arc::clone(&gauge),
            wall,
            random: random::from_seed(1 + thread as u64),
        };
        let mut network = MadeUpNetwork::default();
        let core = match OUTBOXES.with_borrow_mut(Vec::pop) {
            Some(outbox) => Core::with_outbox(outbox, parts, &mut network, now)?,
            None => Core::new(parts, &mut network, now)?,
        };
        Ok(Self { core, network, now, gauge, events: Vec::new() })
    }

    /// Ends; the next rig of this thread gets its outbox.
    pub fn recycle(mut self) {
        OUTBOXES.with_borrow_mut(|outboxes| outboxes.push(self.core.take_outbox()));
    }

    /// Carries a command out.
    pub fn command(&mut self, command: Command) -> Result<Reply, ControlError> {
        let reply = self.core.handle_command(command, &mut self.network, self.now);
        self.collect();
        reply
    }

    /// A datagram arrives.
    pub fn receive(&mut self, datagram: Flying) {
        self.network.arrive(datagram);
        while let Some(arrival) = self.network.next_arrival() {
            if let Arrival::Datagram(datagram) = arrival {
                self.core.handle_datagram(datagram, self.now);
            }
        }
        self.collect();
    }

    /// When the core has something to do although nothing comes.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.core.next_timeout()
    }

    /// Lets time pass, timer by timer.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.core.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.collect();
        }
        self.now = until;
    }

    /// The process does not run for a while, in which what arrives is thrown away.
    pub fn pause(&mut self, time: Duration) {
        self.now += time;
        let stale = self.network.discard_waiting();
        self.core.handle_pause(time, stale, self.now);
    }

    /// What was sent since the last time.
    pub fn sent(&mut self) -> Vec<Flying> {
        std::iter::from_fn(|| self.network.poll_sent()).collect()
    }

    /// What the core told since the last time.
    pub fn events(&mut self) -> Vec<CoreEvent> {
        std::mem::take(&mut self.events)
    }

    fn collect(&mut self) {
        self.network.take(self.core.outbox());
        self.events.extend(std::iter::from_fn(|| self.core.poll_event()));
    }
}

/// How large a media process is.
struct Shape {
    cores: usize,
    ports: PortRange,
    limits: Limits,
}

/// A media process: its front, its cores.
pub struct Process {
    /// The way in.
    pub front: Front,
    /// The cores.
    pub cores: Vec<Rig>,
    /// The present.
    pub now: Instant,
    wall: WallAnchor,
    /// Files that are made up, by their paths.
    pub files: BTreeMap<String, Vec<u8>>,
    lines: VecDeque<(Client, String)>,
    closed: Vec<Client>,
}

opaque!(Process);

impl Process {
    /// A process of so many cores for so many calls each.
    pub fn new(cores: usize, calls: usize, generation: &str, now: Instant) -> io::Result<Self> {
        let shape = Shape { cores, ports: PORTS, limits: Limits { calls, load: 0.9 } };
        Self::of_wall(shape, generation, WallAnchor::at(now, WALL), now)
    }

    /// A process as it is configured, but for its addresses and core numbers.
    pub fn configured(config: &Media, generation: &str, now: Instant) -> io::Result<Self> {
        let (cores, ports) = (config.cores.len(), config.trunk_ports);
        let shape = Shape { cores, ports, limits: Limits::of(config) };
        Self::of_wall(shape, generation, WallAnchor::at(now, WALL), now)
    }

    /// The one that is started after this one ended, on the same machine: its wall clock goes on.
    pub fn successor(&self, calls: usize, generation: &str) -> io::Result<Self> {
        let limits = Limits { calls, load: 0.9 };
        let shape = Shape { cores: self.cores.len(), ports: PORTS, limits };
        Self::of_wall(shape, generation, self.wall, self.now)
    }

    fn of_wall(shape: Shape, generation: &str, wall: WallAnchor, now: Instant) -> io::Result<Self> {
        let Shape { cores, ports: range, limits } = shape;
        let calls = limits.calls;
        let codecs = || OpusArena::new(calls);
        let rigs = (0..cores).map(|thread| Rig::of_thread(thread, calls, codecs()?, wall, now));
        let rigs: Vec<Rig> = rigs.collect::<io::Result<_>>()?;
        let known = rigs.iter().enumerate().map(|(thread, rig)| {
            let browser = browser_address(thread);
            let description = ThreadDescription { thread, core: thread, browser };
            let bind = |address, _| Ok(BoundSocket::made_up(address));
            let ports = PortPool::new(browser.ip(), range, (thread, cores), bind, now);
            let socket = BoundSocket::made_up(browser);
            registry::Core::new(description, Arc::clone(&rig.gauge), ports, socket)
        });
        let registry = Registry::new(known.collect(), limits, generation.to_owned(), now);
        let (lines, closed) = (VecDeque::new(), Vec::new());
        let (front, files) = (Front::new(registry), BTreeMap::new());
        Ok(Self { front, cores: rigs, now, wall, files, lines, closed })
    }

    /// A call as its core has it.
    pub fn call(&mut self, name: &CallName) -> Option<&Call> {
        let (thread, key) = self.front.registry().place(name)?;
        self.cores[thread].core.line(key).map(|(call, _)| &*call)
    }

    /// What a leg was last told to carry.
    pub fn format(&self, name: &CallName, leg: Side) -> Option<&Format> {
        self.front.registry().format(name, leg)
    }

    /// A control connection; its greeting is its first line.
    pub fn connect(&mut self) -> Client {
        let client = self.front.opened();
        self.run();
        client
    }

    /// A control connection ends.
    pub fn disconnect(&mut self, client: Client) {
        self.front.closed(client, self.now);
        self.run();
    }

    /// A line of a connection.
    pub fn line(&mut self, client: Client, line: &str) {
        self.front.handle_line(client, line.as_bytes(), self.now);
        self.run();
    }

    /// It is told to end: so do its calls.
    pub fn end_all(&mut self) {
        while !self.front.end_all(self.now) {
            self.run();
        }
        self.run();
    }

    /// The next line toward a connection.
    pub fn poll_line(&mut self) -> Option<(Client, String)> {
        self.lines.pop_front()
    }

    /// Connections that were closed since the last time.
    pub fn closed(&mut self) -> Vec<Client> {
        std::mem::take(&mut self.closed)
    }

    /// A datagram arrives at whichever core has a socket there.
    pub fn receive(&mut self, datagram: Flying) {
        let is_at = |rig: &&mut Rig| rig.network.socket_at(datagram.to).is_some();
        if let Some(rig) = self.cores.iter_mut().find(is_at) {
            rig.now = self.now;
            rig.receive(datagram);
        }
        self.run();
    }

    /// What the cores sent since the last time.
    pub fn sent(&mut self) -> Vec<Flying> {
        self.cores.iter_mut().flat_map(Rig::sent).collect()
    }

    /// When something is to be done although nothing comes.
    pub fn next_timeout(&self) -> Option<Instant> {
        let cores = self.cores.iter().filter_map(Rig::next_timeout);
        cores.chain(self.front.next_timeout()).min()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        for rig in &mut self.cores {
            let passed = self.now.saturating_duration_since(rig.now);
            rig.pass(passed);
        }
        self.front.handle_timeout(self.now);
        self.run();
    }

    /// Carries commands, replies and events between the front and the cores until there are no more.
    fn run(&mut self) {
        loop {
            while let Some(output) = self.front.poll_output() {
                match output {
                    Output::Line(client, line) => self.lines.push_back((client, line)),
                    Output::Close(client) => {
                        self.closed.push(client);
                        self.front.closed(client, self.now);
                    }
                    Output::Read { token, path } => {
                        let read = self.files.get(&path).ok_or(io::ErrorKind::NotFound);
                        let recording = read.map_err(unreadable).and_then(|it| recording_of(it));
                        self.front.handle_recording(token, recording, self.now);
                    }
                    Output::Ask { thread, token, command, .. } => {
                        let rig = &mut self.cores[thread];
                        rig.now = self.now;
                        let reply = rig.command(command);
                        self.front.handle_report(Report::Reply(token, reply), self.now);
                    }
                }
            }
            let mut reports = Vec::new();
            for (thread, rig) in self.cores.iter_mut().enumerate() {
                reports.extend(rig.events().into_iter().map(|it| Report::Event(thread, it)));
            }
            if reports.is_empty() {
                return;
            }
            reports.into_iter().for_each(|report| self.front.handle_report(report, self.now));
        }
    }
}

/// Where a core's browsers send to.
pub fn browser_address(thread: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 10], 40_000 + Narrow::<u16>::narrow(thread)))
}
