//! The commands of the control protocol: checked, turned into what a core understands, answered.

use std::cmp::Ordering;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tokio::task::spawn_local;
use tracing::info;

use super::{ConnectionNumber, Control, Core, Entry, Limits, Result, refuse};
use crate::control::message::{
    BLOB_BYTES_MAX, CALL_NAME_BYTES_MAX, CallArgument, CallCreated, CallList, CallName, Command,
    ControlError, CreateCall, ErrorCode, Event, LINE_BYTES_MAX, LIST_CALLS_MAX, LegParameters,
    ListCalls, ListedCall, LocalAddresses, ProcessStatistics, SendDatagram, SendDigit, Subscribe,
    ThreadStatistics, Transport, UpdateLeg, discard_map,
};
use crate::media::budget::{RETRY_AFTER, Weight};
use crate::media::channel::{
    CallKey, Command as CoreCommand, LegChange, NewLeg, NewTransport, Reply,
};
use crate::media::format::LegFormat;
use crate::media::ports::{NoPair, PortPair};
use crate::media::security::Keys;
use crate::wire::telephone_event::{Digit, DigitTime};

/// Subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 16;
/// The longest datagram of `send_datagram`: an Ethernet payload.
const DATAGRAM_BYTES_MAX: usize = 1500;

impl Control {
    /// Carries one command out.
    pub(super) async fn carry_out(
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

    async fn create_call(&self, arguments: CreateCall) -> Result<CallCreated> {
        let CreateCall { call, blob, a, b } = arguments;
        check_name(&call)?;
        check_blob(&blob)?;
        if self.calls.borrow().contains_key(&call) {
            return refuse(ErrorCode::CallExists, format!("`{call}` exists"));
        }
        let weight = Weight::of(a.format.as_ref(), b.format.as_ref());
        let thread = self.reserve_thread(weight)?;
        let mut reserved = Reserved { ports: Vec::new() };
        let created = self.create_on(thread, &call, [a, b], &mut reserved).await;
        match created {
            Ok((key, created)) => {
                let ports = reserved.ports;
                let entry = Entry { key, blob, created: created.clone(), weight, ports };
                self.calls.borrow_mut().insert(call, entry);
                Ok(created)
            }
            Err(error) => {
                self.release(thread, weight, reserved.ports);
                Err(error)
            }
        }
    }

    /// The core with the most room, one call reserved on it.
    fn reserve_thread(&self, weight: Weight) -> Result<usize> {
        let Limits { calls: calls_max, load: load_max } = self.limits;
        let mut cores = self.cores.borrow_mut();
        let room = |core: &Core| core.handle.gauge.room_beside(core.weight, load_max);
        let by_room =
            |a: &&mut Core, b: &&mut Core| room(a).partial_cmp(&room(b)).unwrap_or(Ordering::Equal);
        let allowed = cores.iter_mut().filter(|core| core.calls < calls_max);
        let Some(core) = allowed.max_by(by_room) else {
            self.refused.set(self.refused.get() + 1);
            return refuse(ErrorCode::NoCapacity, format!("every core has its {calls_max} calls"));
        };
        if room(core) < weight {
            self.refused.set(self.refused.get() + 1);
            let message =
                format!("one more call could load every core above {:.0} %", load_max * 1e2);
            return Err(ControlError::overloaded(message, RETRY_AFTER));
        }
        core.calls += 1;
        core.weight = core.weight.plus(weight);
        Ok(core.description.thread)
    }

    /// Gives back what a call held on a core.
    fn release(&self, thread: usize, weight: Weight, ports: Vec<PortPair>) {
        let now = Instant::now();
        let core = &mut self.cores.borrow_mut()[thread];
        core.calls -= 1;
        core.weight = core.weight.minus(weight);
        ports.into_iter().for_each(|pair| core.ports.release(pair, now));
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
        self.release(entry.created.thread, entry.weight, entry.ports);
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
                let core = &self.cores.borrow()[thread];
                let (ports, gauge) = (&core.ports, &core.handle.gauge);
                let affordable = gauge.calls_within(self.limits.load).min(self.limits.calls as f64);
                statistics.calls_max = affordable as u64;
                statistics.load_percent = gauge.load() * 1e2;
                statistics.call_load_percent = gauge.cost_per_call() * 1e2;
                statistics.port_pairs_free = ports.free() as u64;
                statistics.port_pairs_taken_elsewhere = ports.taken_elsewhere();
                statistics.discards.extend(discard_map(&core.discards));
                threads.push(*statistics);
            }
        }
        let age_ms = self.started.elapsed().as_millis() as u64;
        let refusals = self.refusals.borrow().clone();
        Ok(ProcessStatistics { age_ms, calls_refused: self.refused.get(), refusals, threads })
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
        let bad = |field, problem| {
            ControlError::new(ErrorCode::BadArguments, format!("{field}: {problem}"))
        };
        let time = DigitTime::try_from(arguments.duration_ms);
        let time = time.map_err(|problem| bad("duration_ms", problem))?;
        let digit = Digit::try_from(arguments.digit).map_err(|problem| bad("digit", problem))?;
        let command = CoreCommand::SendDigit(key, arguments.leg, digit, time);
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
