//! The control thread: serves the Unix socket, keeps the list of calls, binds sockets, and passes
//! typed commands to the cores. It may allocate, wait and log; the cores never wait for it.
//!
//! One task a connection reads a line, has it carried out, writes the reply and only then reads the
//! next line: replies keep the order of requests, and a client can have one command in a core at a
//! time. What goes out passes a bounded queue; a client that does not read is cut off.

mod commands;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, spawn_local};
use tracing::{info, warn};

use super::budget::Weight;
use super::channel::{
    CallKey, Command as CoreCommand, CoreEvent, CoreHandle, Reply, Report, Reports, Token,
};
use super::ports::{PortPair, PortPool};
use crate::base::discard::{Discard, DiscardCounters};
use crate::config::Media;
use crate::control::codec::{BadRequest, read_request, write_event, write_reply};
use crate::control::message::{
    CallCreated, CallName, Capability, ControlError, Datagram, ErrorCode, Event, Greeting,
    LINE_BYTES_MAX, ThreadDescription,
};

/// Lines that wait for a client to read them; then it is cut off.
const OUTGOING_MAX: usize = 4096;
/// Connections at once: a controller, its successor, and a crowd of observers.
const CONNECTIONS_MAX: usize = 64;
/// How often a full command queue is tried again, a millisecond apart, before the client is told.
const GIVE_TRIES: usize = 1000;

/// What this build can do.
const CAPABILITIES: [Capability; 9] = [
    Capability::Opus,
    Capability::Pcmu,
    Capability::Pcma,
    Capability::Ice,
    Capability::Srtp,
    Capability::TelephoneEvent,
    Capability::Red,
    Capability::ComfortNoise,
    Capability::Paced,
];

type Result<T> = std::result::Result<T, ControlError>;

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T> {
    Err(ControlError::new(code, message))
}

/// One core as the control thread sees it.
pub struct Core {
    /// What the greeting tells about it.
    pub description: ThreadDescription,
    /// Its queues.
    pub handle: CoreHandle,
    /// Its port pairs.
    pub ports: PortPool,
    /// Its calls, those being made included.
    pub calls: usize,
    /// What they take of it.
    pub weight: Weight,
    /// What it punted and nobody was there to take.
    pub discards: DiscardCounters,
}

/// What the configuration allows a core.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls, whatever they cost.
    pub calls: usize,
    /// The share of the core that calls may be expected to take.
    pub load: f64,
}

impl Limits {
    /// The configured ones.
    pub fn of(media: &Media) -> Self {
        Self { calls: media.calls_per_core, load: f64::from(media.load_max_percent) / 100.0 }
    }
}

/// A call in the list.
struct Entry {
    key: CallKey,
    blob: String,
    created: CallCreated,
    weight: Weight,
    ports: Vec<PortPair>,
}

type ConnectionNumber = u64;

/// The control thread's state. Single-threaded: borrows never cross an await.
pub struct Control {
    started: Instant,
    generation: String,
    limits: Limits,
    cores: RefCell<Vec<Core>>,
    calls: RefCell<BTreeMap<CallName, Entry>>,
    /// Calls refused because no core had room for them.
    refused: Cell<u64>,
    /// Requests refused, by code.
    refusals: RefCell<BTreeMap<ErrorCode, u64>>,
    controller: Cell<Option<ConnectionNumber>>,
    connections: RefCell<HashMap<ConnectionNumber, Connection>>,
    next_connection: Cell<ConnectionNumber>,
    waiting: RefCell<HashMap<Token, oneshot::Sender<Result<Reply>>>>,
    next_token: Cell<Token>,
}

/// A connection's outgoing side.
struct Connection {
    outgoing: mpsc::Sender<String>,
    events: u64,
    reader: Option<AbortHandle>,
    subscriptions: HashMap<Option<CallName>, AbortHandle>,
}

impl Control {
    /// The state of a process with these cores. `generation` is new with every start.
    pub fn new(cores: Vec<Core>, limits: Limits, generation: String) -> Rc<Self> {
        Rc::new(Self {
            started: Instant::now(),
            generation,
            limits,
            cores: RefCell::new(cores),
            calls: RefCell::default(),
            refused: Cell::new(0),
            refusals: RefCell::default(),
            controller: Cell::new(None),
            connections: RefCell::default(),
            next_connection: Cell::new(1),
            waiting: RefCell::default(),
            next_token: Cell::new(1),
        })
    }

    /// Serves `listener` and the cores' reports for ever, in a local task set.
    pub async fn serve(self: Rc<Self>, listener: UnixListener, reports: Reports) {
        spawn_local(Rc::clone(&self).pump(reports));
        let uid = rustix::process::geteuid().as_raw();
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, as a rule: calls go on, so does the next try.
                    warn!(%error, "control connection not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let peer = stream.peer_cred().map(|peer| peer.uid());
            if !peer.is_ok_and(|peer| peer == uid || peer == 0) {
                warn!("control connection of another user refused");
                continue;
            }
            if self.connections.borrow().len() >= CONNECTIONS_MAX {
                warn!(limit = CONNECTIONS_MAX, "control connection over the limit refused");
                continue;
            }
            self.open(stream);
        }
    }

    /// Starts a connection's two tasks.
    fn open(self: &Rc<Self>, stream: UnixStream) {
        let number = self.next_connection.replace(self.next_connection.get() + 1);
        let (reader, mut writer) = stream.into_split();
        let (outgoing, mut lines) = mpsc::channel::<String>(OUTGOING_MAX);
        let connection =
            Connection { outgoing, events: 0, reader: None, subscriptions: HashMap::new() };
        self.connections.borrow_mut().insert(number, connection);
        self.say(number, serde_json::to_string(&self.greeting()).unwrap_or_default());
        spawn_local(async move {
            while let Some(mut line) = lines.recv().await {
                line.push('\n');
                if writer.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        let this = Rc::clone(self);
        let task = spawn_local(async move {
            this.read(number, reader).await;
            this.close(number);
        });
        if let Some(connection) = self.connections.borrow_mut().get_mut(&number) {
            connection.reader = Some(task.abort_handle());
        }
    }

    fn greeting(&self) -> Greeting {
        Greeting {
            product: "linecard".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: self.generation.clone(),
            threads: self.cores.borrow().iter().map(|core| core.description.clone()).collect(),
            capabilities: CAPABILITIES.map(|capability| capability.name().to_owned()).to_vec(),
            ..Greeting::of_this_version()
        }
    }

    /// Forgets a connection. Its calls stay.
    fn close(&self, number: ConnectionNumber) {
        if let Some(connection) = self.connections.borrow_mut().remove(&number) {
            connection.subscriptions.values().for_each(AbortHandle::abort);
            // Aborting the task that runs this is harmless: it ends here anyway.
            connection.reader.iter().for_each(AbortHandle::abort);
        }
        if self.controller.get() == Some(number) {
            self.controller.set(None);
            info!("the controller left; calls go on");
        }
    }

    /// Queues a line; a connection whose queue is full is cut off.
    fn say(&self, number: ConnectionNumber, line: String) {
        let full = match self.connections.borrow().get(&number) {
            Some(connection) => connection.outgoing.try_send(line).is_err(),
            None => false,
        };
        if full {
            warn!(connection = number, "slow control connection cut off");
            self.close(number);
        }
    }

    fn say_event(&self, number: ConnectionNumber, event: &Event) {
        let line = self.connections.borrow_mut().get_mut(&number).map(|connection| {
            connection.events += 1;
            write_event(connection.events, event)
        });
        if let Some(line) = line {
            self.say(number, line);
        }
    }

    /// Reads and answers lines until the connection ends or breaks the rules.
    async fn read(self: &Rc<Self>, number: ConnectionNumber, mut reader: OwnedReadHalf) {
        let mut buffer: Vec<u8> = Vec::with_capacity(4096);
        let mut searched = 0;
        loop {
            while let Some(end) = buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=searched + end).collect();
                searched = 0;
                if !self.answer(number, &line[..line.len() - 1]).await {
                    return;
                }
            }
            searched = buffer.len();
            if buffer.len() >= LINE_BYTES_MAX {
                let message = format!("a line is at most {LINE_BYTES_MAX} bytes");
                let error = refuse(ErrorCode::LineTooLong, message);
                self.say_last(number, write_reply(None, &error)).await;
                return;
            }
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Says why the connection ends, and gives the writer a moment to send it.
    async fn say_last(&self, number: ConnectionNumber, line: String) {
        self.say(number, line);
        let outgoing =
            self.connections.borrow().get(&number).map(|connection| connection.outgoing.clone());
        if let Some(outgoing) = outgoing {
            let flushed = outgoing.reserve_many(OUTGOING_MAX);
            let _ = tokio::time::timeout(Duration::from_millis(100), flushed).await;
        }
    }

    /// Carries out one line; `false` ends the connection.
    async fn answer(self: &Rc<Self>, number: ConnectionNumber, line: &[u8]) -> bool {
        let request = match std::str::from_utf8(line) {
            Ok(text) => read_request(text),
            Err(_) => Err(BadRequest {
                id: None,
                error: ControlError::new(ErrorCode::BadJson, "not UTF-8"),
            }),
        };
        match request {
            Ok(request) => {
                let result = self.carry_out(number, request.command).await;
                if let Err(error) = &result {
                    *self.refusals.borrow_mut().entry(error.code).or_default() += 1;
                }
                self.say(number, write_reply(Some(request.id), &result));
                true
            }
            Err(BadRequest { id, error }) => {
                let framing_lost = error.code == ErrorCode::BadJson;
                let line = write_reply(id, &Err(error));
                if framing_lost {
                    self.say_last(number, line).await;
                } else {
                    self.say(number, line);
                }
                !framing_lost
            }
        }
    }

    /// Sends a command to a core and waits for its reply.
    async fn ask(&self, thread: usize, command: CoreCommand) -> Result<Reply> {
        let handle = match self.cores.borrow().get(thread) {
            Some(core) => core.handle.clone(),
            None => return refuse(ErrorCode::UnknownThread, format!("no thread {thread}")),
        };
        let token = self.next_token.replace(self.next_token.get() + 1);
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().insert(token, sender);
        let mut command = command;
        for _ in 0..GIVE_TRIES {
            match handle.give(token, command) {
                Ok(()) => {
                    let gone = || ControlError::new(ErrorCode::SystemRefused, "the thread is gone");
                    return receiver.await.unwrap_or_else(|_| Err(gone()));
                }
                Err(back) => command = back,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.waiting.borrow_mut().remove(&token);
        refuse(ErrorCode::SystemRefused, format!("thread {thread} does not take commands"))
    }

    /// Takes the cores' reports: replies to those who wait, events to those they concern.
    async fn pump(self: Rc<Self>, reports: Reports) {
        let Ok(wake) = reports.wake.waiter() else {
            warn!("reports of the media threads cannot be waited for");
            return;
        };
        loop {
            match wake.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(error) => {
                    warn!(%error, "waiting for the media threads failed");
                    return;
                }
            }
            reports.wake.clear();
            while let Some(report) = reports.next() {
                match report {
                    Report::Reply(token, reply) => {
                        let waiting = self.waiting.borrow_mut().remove(&token);
                        // A connection that closed meanwhile no longer wants its reply.
                        let _ = waiting.map(|waiting| waiting.send(reply));
                    }
                    Report::Event(thread, event) => self.tell(thread, event),
                }
            }
        }
    }

    fn tell(&self, thread: usize, event: CoreEvent) {
        let name = |name: Arc<str>| CallName::from(&*name);
        let event = match event {
            CoreEvent::Punt(from, datagram) => {
                let event = Event::Datagram { thread, from, payload: Datagram(datagram) };
                match self.controller.get() {
                    Some(controller) => self.say_event(controller, &event),
                    None => self.cores.borrow_mut()[thread].discards.count(Discard::NoController),
                }
                return;
            }
            CoreEvent::MediaStarted(call, leg) => Event::MediaStarted { call: name(call), leg },
            CoreEvent::TelephoneEvent(call, leg, digit, duration_ms) => {
                Event::TelephoneEvent { call: name(call), leg, digit, duration_ms }
            }
            CoreEvent::ConsentExpired(call, leg) => Event::ConsentExpired { call: name(call), leg },
        };
        let everybody: Vec<_> = self.connections.borrow().keys().copied().collect();
        everybody.into_iter().for_each(|number| self.say_event(number, &event));
    }
}
