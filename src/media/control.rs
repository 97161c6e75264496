//! The control thread: serves the Unix socket, keeps the list of calls, binds sockets, and passes
//! typed commands to the cores. It may allocate, wait and log; the cores never wait for it.
//!
//! One task a connection reads a line, has it carried out, writes the reply and only then reads the
//! next line: replies keep the order of requests, and a client can have one command in a core at a
//! time. What goes out passes a bounded queue; a client that does not read is cut off.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, spawn_local};
use tracing::{info, warn};

use super::channel::{
    CallKey, Command as CoreCommand, CoreEvent, CoreHandle, LegChange, NewLeg, NewTransport, Reply,
    Report, Reports, Token,
};
use super::format::LegFormat;
use super::ports::{NoPair, PortPair, PortPool};
use super::security::Keys;
use crate::control::message::{
    BLOB_BYTES_MAX, BadRequest, CALL_NAME_BYTES_MAX, CallArgument, CallCreated, CallList, CallName,
    Command, ControlError, CreateCall, ErrorCode, Event, Greeting, LINE_BYTES_MAX, LIST_CALLS_MAX,
    LegParameters, ListCalls, ListedCall, LocalAddresses, ProcessStatistics, SendDatagram,
    SendDigit, Subscribe, ThreadDescription, ThreadStatistics, Transport, UpdateLeg, read_request,
    write_event, write_reply,
};

/// Lines that wait for a client to read them; then it is cut off.
const OUTGOING_MAX: usize = 4096;
/// Connections at once: a controller, its successor, and a crowd of observers.
const CONNECTIONS_MAX: usize = 64;
/// Subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 16;
/// The longest datagram of `send_datagram`: an Ethernet payload.
const DATAGRAM_BYTES_MAX: usize = 1500;
/// How often a full command queue is tried again, a millisecond apart, before the client is told.
const GIVE_TRIES: usize = 1000;

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
}

/// A call in the list.
struct Entry {
    key: CallKey,
    blob: String,
    created: CallCreated,
    ports: Vec<PortPair>,
}

type ConnectionNumber = u64;

/// The control thread's state. Single-threaded: borrows never cross an await.
pub struct Control {
    started: Instant,
    generation: String,
    calls_per_core: usize,
    cores: RefCell<Vec<Core>>,
    calls: RefCell<BTreeMap<CallName, Entry>>,
    /// Calls of each core, those being made included.
    load: RefCell<Vec<usize>>,
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
    pub fn new(cores: Vec<Core>, calls_per_core: usize, generation: String) -> Rc<Self> {
        let load = vec![0; cores.len()];
        Rc::new(Self {
            started: Instant::now(),
            generation,
            calls_per_core,
            cores: RefCell::new(cores),
            calls: RefCell::default(),
            load: RefCell::new(load),
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
            protocol: crate::control::message::PROTOCOL,
            generation: self.generation.clone(),
            threads: self.cores.borrow().iter().map(|core| core.description.clone()).collect(),
            capabilities: ["opus", "pcmu", "pcma", "ice", "srtp", "telephone_event"]
                .map(str::to_owned)
                .to_vec(),
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

    async fn carry_out(
        self: &Rc<Self>,
        number: ConnectionNumber,
        command: Command,
    ) -> Result<Value> {
        if command.needs_control() && self.controller.get() != Some(number) {
            let message = format!("`{}` needs `take_control` first", command.name());
            return refuse(ErrorCode::NotController, message);
        }
        match command {
            Command::TakeControl => self.take_control(number),
            Command::Ping => Ok(empty()),
            Command::CreateCall(arguments) => self.create_call(*arguments).await.map(to_value),
            Command::UpdateLeg(arguments) => self.update_leg(*arguments).await,
            Command::Park(arguments) => self.park(&arguments.call, arguments.blob),
            Command::DeleteCall(arguments) => self.delete_call(&arguments.call).await,
            Command::ListCalls(arguments) => Ok(to_value(self.list_calls(&arguments))),
            Command::QueryCall(arguments) => self.query_call(&arguments).await,
            Command::QueryProcess => self.query_process().await.map(to_value),
            Command::SendDatagram(arguments) => self.send_datagram(&arguments).await,
            Command::SendDigit(arguments) => self.send_digit(&arguments).await,
            Command::Subscribe(arguments) => self.subscribe(number, &arguments),
        }
    }

    fn take_control(&self, number: ConnectionNumber) -> Result<Value> {
        match self.controller.get() {
            Some(other) if other != number => {
                refuse(ErrorCode::ControlledElsewhere, "another connection is the controller")
            }
            _ => {
                self.controller.set(Some(number));
                info!(connection = number, "controller took over");
                Ok(empty())
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
                let event = Event::Datagram { thread, from, payload: BASE64.encode(datagram) };
                if let Some(controller) = self.controller.get() {
                    self.say_event(controller, &event);
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

    // The commands.

    async fn create_call(&self, arguments: CreateCall) -> Result<CallCreated> {
        let CreateCall { call, blob, a, b } = arguments;
        check_name(&call)?;
        check_blob(&blob)?;
        if self.calls.borrow().contains_key(&call) {
            return refuse(ErrorCode::CallExists, format!("`{call}` exists"));
        }
        let thread = self.reserve_thread()?;
        let mut reserved = Reserved { ports: Vec::new() };
        let created = self.create_on(thread, &call, [a, b], &mut reserved).await;
        match created {
            Ok((key, created)) => {
                let entry = Entry { key, blob, created: created.clone(), ports: reserved.ports };
                self.calls.borrow_mut().insert(call, entry);
                Ok(created)
            }
            Err(error) => {
                self.release(thread, reserved.ports);
                Err(error)
            }
        }
    }

    /// The core with the fewest calls, one call reserved on it.
    fn reserve_thread(&self) -> Result<usize> {
        let mut load = self.load.borrow_mut();
        let least = (0..load.len()).min_by_key(|thread| load[*thread]);
        match least.filter(|thread| load[*thread] < self.calls_per_core) {
            Some(thread) => {
                load[thread] += 1;
                Ok(thread)
            }
            None => {
                let message = format!("every core has its {} calls", self.calls_per_core);
                refuse(ErrorCode::NoCapacity, message)
            }
        }
    }

    /// Gives back what a call held on a core.
    fn release(&self, thread: usize, ports: Vec<PortPair>) {
        let now = Instant::now();
        self.load.borrow_mut()[thread] -= 1;
        let mut cores = self.cores.borrow_mut();
        ports.into_iter().for_each(|pair| cores[thread].ports.release(pair, now));
    }

    async fn create_on(
        &self,
        thread: usize,
        call: &str,
        parameters: [LegParameters; 2],
        reserved: &mut Reserved,
    ) -> Result<(CallKey, CallCreated)> {
        let [a, b] = parameters;
        let (a, a_local) = self.make_leg(thread, a, reserved)?;
        let (b, b_local) = self.make_leg(thread, b, reserved)?;
        let command = CoreCommand::Create { name: Arc::from(call), legs: Box::new([a, b]) };
        match self.ask(thread, command).await? {
            Reply::Created(key) => Ok((key, CallCreated { thread, a: a_local, b: b_local })),
            _ => refuse(ErrorCode::SystemRefused, "the thread gave the wrong reply"),
        }
    }

    fn make_leg(
        &self,
        thread: usize,
        parameters: LegParameters,
        reserved: &mut Reserved,
    ) -> Result<(NewLeg, LocalAddresses)> {
        let security = Keys::new(&parameters.security)?;
        let format = parameters.format.as_ref().map(LegFormat::new).transpose()?;
        let mut cores = self.cores.borrow_mut();
        let core = &mut cores[thread];
        let (transport, local) = match parameters.transport {
            Transport::Ice(credentials) => {
                check_ice(&credentials.local_ufrag, &credentials.local_password)?;
                let address = core.description.browser;
                (NewTransport::Ice(credentials), LocalAddresses { rtp: address, rtcp: address })
            }
            Transport::Plain { remote, remote_rtcp } => {
                let (pair, sockets) = core.ports.bind(Instant::now()).map_err(no_pair)?;
                reserved.ports.push(pair);
                let ip = core.description.browser.ip();
                let local =
                    LocalAddresses { rtp: (ip, pair.rtp).into(), rtcp: (ip, pair.rtcp()).into() };
                let remote = remote.map(|rtp| [rtp, remote_rtcp.unwrap_or_else(|| rtcp_of(rtp))]);
                (NewTransport::Plain { sockets, remote }, local)
            }
        };
        Ok((NewLeg { transport, security, format }, local))
    }

    async fn update_leg(&self, arguments: UpdateLeg) -> Result<Value> {
        let (thread, key) = self.find(&arguments.call)?;
        let change = LegChange {
            remote: arguments.remote.map(|rtp| (rtp, arguments.remote_rtcp)),
            remote_ufrag: arguments.remote_ufrag,
            security: arguments.security.as_ref().map(Keys::new).transpose()?,
            format: arguments.format.as_ref().map(LegFormat::new).transpose()?,
        };
        let command = CoreCommand::Update(key, arguments.leg, Box::new(change));
        self.ask(thread, command).await.map(|_| empty())
    }

    fn park(&self, call: &str, blob: String) -> Result<Value> {
        check_blob(&blob)?;
        match self.calls.borrow_mut().get_mut(call) {
            Some(entry) => {
                entry.blob = blob;
                Ok(empty())
            }
            None => unknown_call(call),
        }
    }

    async fn delete_call(&self, call: &str) -> Result<Value> {
        let Some(entry) = self.calls.borrow_mut().remove(call) else {
            return unknown_call(call);
        };
        let reply = self.ask(entry.created.thread, CoreCommand::Delete(entry.key)).await;
        self.release(entry.created.thread, entry.ports);
        call_statistics(reply?)
    }

    fn list_calls(&self, arguments: &ListCalls) -> CallList {
        let after = match &arguments.after {
            Some(name) => Bound::Excluded(name.clone()),
            None => Bound::Unbounded,
        };
        let mut list = CallList::default();
        let mut bytes = 0;
        for (call, entry) in self.calls.borrow().range((after, Bound::Unbounded)) {
            let listed = ListedCall {
                call: call.clone(),
                blob: entry.blob.clone(),
                created: entry.created.clone(),
            };
            bytes += serde_json::to_string(&listed).map_or(0, |json| json.len() + 1);
            // A kilobyte is left for the reply around the list.
            let full = list.calls.len() == LIST_CALLS_MAX || bytes > LINE_BYTES_MAX - 1024;
            if full && !list.calls.is_empty() {
                list.more = true;
                break;
            }
            list.calls.push(listed);
        }
        list
    }

    async fn query_call(&self, arguments: &CallArgument) -> Result<Value> {
        let (thread, key) = self.find(&arguments.call)?;
        call_statistics(self.ask(thread, CoreCommand::Query(key)).await?)
    }

    async fn query_process(&self) -> Result<ProcessStatistics> {
        let count = self.cores.borrow().len();
        let mut threads: Vec<ThreadStatistics> = Vec::with_capacity(count);
        for thread in 0..count {
            if let Reply::Thread(mut statistics) =
                self.ask(thread, CoreCommand::QueryThread).await?
            {
                let ports = &self.cores.borrow()[thread].ports;
                statistics.port_pairs_free = ports.free() as u64;
                statistics.port_pairs_taken_elsewhere = ports.taken_elsewhere();
                threads.push(*statistics);
            }
        }
        Ok(ProcessStatistics { age_ms: self.started.elapsed().as_millis() as u64, threads })
    }

    async fn send_datagram(&self, arguments: &SendDatagram) -> Result<Value> {
        let datagram = BASE64.decode(&arguments.payload).map_err(|error| {
            ControlError::new(ErrorCode::BadArguments, format!("payload: {error}"))
        })?;
        if datagram.is_empty() || datagram.len() > DATAGRAM_BYTES_MAX {
            let message = format!("payload: must hold 1 to {DATAGRAM_BYTES_MAX} bytes");
            return refuse(ErrorCode::BadArguments, message);
        }
        let command = CoreCommand::SendDatagram(arguments.to, datagram);
        self.ask(arguments.thread, command).await.map(|_| empty())
    }

    async fn send_digit(&self, arguments: &SendDigit) -> Result<Value> {
        let (thread, key) = self.find(&arguments.call)?;
        if !(40..=5000).contains(&arguments.duration_ms) {
            return refuse(ErrorCode::BadArguments, "duration_ms: must be 40 to 5000");
        }
        let digit = arguments.digit.to_ascii_uppercase();
        if !"0123456789*#ABCD".contains(digit) {
            return refuse(ErrorCode::BadArguments, "digit: must be one of 0-9 * # A-D");
        }
        let command = CoreCommand::SendDigit(key, arguments.leg, digit, arguments.duration_ms);
        self.ask(thread, command).await.map(|_| empty())
    }

    fn subscribe(
        self: &Rc<Self>,
        number: ConnectionNumber,
        arguments: &Subscribe,
    ) -> Result<Value> {
        let interval_ms = arguments.interval_ms;
        if interval_ms != 0 && !(100..=60_000).contains(&interval_ms) {
            return refuse(ErrorCode::BadArguments, "interval_ms: must be 0, or 100 to 60000");
        }
        if let Some(call) = &arguments.call {
            self.find(call)?;
        }
        let mut connections = self.connections.borrow_mut();
        let Some(connection) = connections.get_mut(&number) else { return Ok(empty()) };
        let subscriptions = &mut connection.subscriptions;
        subscriptions.retain(|_, task| !task.is_finished());
        if let Some(task) = subscriptions.remove(&arguments.call) {
            task.abort();
        }
        if interval_ms != 0 {
            if subscriptions.len() == SUBSCRIPTIONS_MAX {
                let message = format!("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions");
                return refuse(ErrorCode::NoCapacity, message);
            }
            let interval = Duration::from_millis(interval_ms.into());
            let call = arguments.call.clone();
            let task = spawn_local(Rc::clone(self).publish(number, call, interval));
            subscriptions.insert(arguments.call.clone(), task.abort_handle());
        }
        Ok(empty())
    }

    /// Sends statistics at an interval until the call or the connection ends.
    async fn publish(
        self: Rc<Self>,
        number: ConnectionNumber,
        call: Option<CallName>,
        interval: Duration,
    ) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let event = match &call {
                None => self.query_process().await.map(|p| Event::ProcessStatistics(Box::new(p))),
                Some(call) => self.call_statistics_event(call).await,
            };
            match event {
                Ok(event) => self.say_event(number, &event),
                Err(_) => return,
            }
        }
    }

    async fn call_statistics_event(&self, call: &str) -> Result<Event> {
        let (thread, key) = self.find(call)?;
        match self.ask(thread, CoreCommand::Query(key)).await? {
            Reply::Call(statistics) => Ok(Event::CallStatistics(statistics)),
            _ => refuse(ErrorCode::SystemRefused, "the thread gave the wrong reply"),
        }
    }

    fn find(&self, call: &str) -> Result<(usize, CallKey)> {
        match self.calls.borrow().get(call) {
            Some(entry) => Ok((entry.created.thread, entry.key)),
            None => unknown_call(call),
        }
    }
}

/// What a call holds before it is in the list.
struct Reserved {
    ports: Vec<PortPair>,
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

/// These results hold only strings, numbers and maps with string keys: they always serialise.
fn to_value(result: impl serde::Serialize) -> Value {
    serde_json::to_value(result).unwrap_or_default()
}

fn call_statistics(reply: Reply) -> Result<Value> {
    match reply {
        Reply::Call(statistics) => Ok(to_value(statistics)),
        _ => refuse(ErrorCode::SystemRefused, "the thread gave the wrong reply"),
    }
}

fn unknown_call<T>(call: &str) -> Result<T> {
    refuse(ErrorCode::UnknownCall, format!("no call is named `{call}`"))
}

fn check_name(call: &str) -> Result<()> {
    let printable = call.bytes().all(|byte| byte.is_ascii_graphic());
    if call.is_empty() || call.len() > CALL_NAME_BYTES_MAX || !printable {
        let message =
            format!("call: must be 1 to {CALL_NAME_BYTES_MAX} printable ASCII characters");
        return refuse(ErrorCode::BadArguments, message);
    }
    Ok(())
}

fn check_blob(blob: &str) -> Result<()> {
    if blob.len() > BLOB_BYTES_MAX {
        let message = format!("blob: must be at most {BLOB_BYTES_MAX} bytes");
        return refuse(ErrorCode::BadArguments, message);
    }
    Ok(())
}

/// RFC 8445 §5.3: a fragment has at least 24 bits, a password at least 128, so 4 and 22 characters;
/// RFC 8839 §5.4: at most 256.
fn check_ice(ufrag: &str, password: &str) -> Result<()> {
    if !(4..=256).contains(&ufrag.len()) {
        return refuse(ErrorCode::BadArguments, "local_ufrag: must have 4 to 256 characters");
    }
    if !(22..=256).contains(&password.len()) {
        return refuse(ErrorCode::BadArguments, "local_password: must have 22 to 256 characters");
    }
    Ok(())
}

fn no_pair(why: NoPair) -> ControlError {
    match why {
        NoPair::Exhausted => ControlError::new(ErrorCode::NoPorts, "no trunk port pair is free"),
        NoPair::Refused(error) => {
            ControlError::new(ErrorCode::SystemRefused, format!("no port could be bound: {error}"))
        }
    }
}

/// The RTCP address beside an RTP address (RFC 3550 §11).
fn rtcp_of(rtp: std::net::SocketAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1))
}
