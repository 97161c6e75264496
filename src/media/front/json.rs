//! The control protocol as JSON lines, sans-IO: connections, the order of requests and replies, events,
//! subscriptions. What a command does is the [`Registry`]'s.
//!
//! In: lines of connections, the cores' reports, time. Out: [`Output`]s. A connection's requests are
//! answered in order, each before the next is begun: whoever feeds this waits with the next line while
//! [`Front::is_busy`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::audio::sound::Recording;
use crate::control::codec::{BadRequest, RequestLine, read_request, write_event, write_reply};
use crate::control::message::{
    COMPATIBLE, CallName, Capability, Command, CommandDescription, ControlError, Done, ErrorCode,
    Event, Greeting, LINE_BYTES_MAX, Outcome, PROTOCOL, QueryCall, QueryProcess, Request, Snapshot,
    Subject, Subscribe,
};
use crate::media::channel::{Claim, Command as CoreCommand, Report, Token};
use crate::media::registry::{self, Audience, Client, Registry, Result, Ticket, refuse};

/// Subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 16;
/// Strangers' packets are logged this often at most, whatever leg they were for.
const STRANGERS_LOGGED_EVERY: Duration = Duration::from_millis(100);

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Send a line, without its end.
    Line(Client, String),
    /// Close a connection, after what it was sent.
    Close(Client),
    /// Give a core a command.
    Ask {
        /// The core's thread.
        thread: usize,
        /// Matches the reply.
        token: Token,
        /// The command.
        command: CoreCommand,
        /// Whether it is still to be carried out.
        claim: Claim,
    },
    /// Read a file; what is in it comes back by [`Front::handle_recording`].
    Read {
        /// Matches it.
        token: Token,
        /// Its absolute path.
        path: String,
    },
}

#[derive(Debug, Default)]
struct Connection {
    /// Events so far.
    events: u64,
    /// A request is being carried out.
    is_busy: bool,
    subscriptions: BTreeMap<Topic, Subscription>,
}

/// What a subscription is about.
type Topic = (Option<CallName>, Subject);

#[derive(Debug)]
struct Subscription {
    interval: Duration,
    next: Instant,
    /// Asked, and not answered yet.
    is_asked: bool,
}

/// What an answer is for.
#[derive(Debug)]
enum Waiting {
    Reply(Client, u64),
    Subscription(Client, Topic),
}

/// The front.
#[derive(Debug)]
pub struct Front {
    registry: Registry,
    connections: BTreeMap<Client, Connection>,
    waiting: HashMap<Ticket, Waiting>,
    next_ticket: u64,
    next_client: Client,
    stranger_logged: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Front {
    /// A front without connections.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            connections: BTreeMap::new(),
            waiting: HashMap::new(),
            next_ticket: 1,
            next_client: 1,
            stranger_logged: None,
            outputs: VecDeque::new(),
        }
    }

    /// What the lines drive.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Connections at present.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// A connection is there; it is greeted.
    pub fn opened(&mut self) -> Client {
        let client = self.next_client;
        self.next_client += 1;
        self.connections.insert(client, Connection::default());
        let greeting = serde_json::to_string(&self.greeting()).unwrap_or_default();
        self.outputs.push_back(Output::Line(client, greeting));
        client
    }

    fn greeting(&self) -> Greeting {
        let names = |all: &[CommandDescription]| all.iter().map(|it| it.name.to_owned()).collect();
        Greeting {
            product: "linecard".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            compatible: COMPATIBLE.to_vec(),
            generation: self.registry.generation().to_owned(),
            threads: self.registry.threads(),
            capabilities: Capability::ALL.iter().map(|it| it.name().to_owned()).collect(),
            commands: names(Command::ALL),
            events: Event::ALL.iter().map(|it| it.name.to_owned()).collect(),
        }
    }

    /// A connection is gone. Calls stay.
    pub fn closed(&mut self, client: Client, now: Instant) {
        self.connections.remove(&client);
        self.registry.client_gone(client, now);
        self.drain(now);
    }

    /// The process was told to end: so do its calls. To be said again until `true`: all are over and
    /// told.
    pub fn end_all(&mut self, now: Instant) -> bool {
        let is_done = self.registry.end_all(now);
        self.drain(now);
        is_done
    }

    /// Whether a connection's request is still being carried out.
    pub fn is_busy(&self, client: Client) -> bool {
        self.connections.get(&client).is_some_and(|connection| connection.is_busy)
    }

    /// Carries out one line.
    pub fn handle_line(&mut self, client: Client, line: &[u8], now: Instant) {
        let request = match std::str::from_utf8(line) {
            Ok(text) => read_request(text),
            Err(_) => Err(BadRequest::new(None, ErrorCode::BadJson, "not UTF-8")),
        };
        match request {
            Ok(RequestLine { id, command }) => self.handle_request(client, id, command, now),
            Err(BadRequest { id, error }) => {
                self.registry.count_refusal(error.code);
                let is_framing_lost = error.code == ErrorCode::BadJson;
                self.outputs.push_back(Output::Line(client, write_reply(id, &Err(error))));
                if is_framing_lost {
                    self.outputs.push_back(Output::Close(client));
                }
            }
        }
    }

    /// A line was longer than it may be: where the next one begins is not known.
    pub fn line_too_long(&mut self, client: Client) {
        self.registry.count_refusal(ErrorCode::LineTooLong);
        let message = format!("a line is at most {LINE_BYTES_MAX} bytes");
        let error = ControlError::new(ErrorCode::LineTooLong, message);
        self.outputs.push_back(Output::Line(client, write_reply(None, &Err(error))));
        self.outputs.push_back(Output::Close(client));
    }

    fn handle_request(&mut self, client: Client, id: u64, command: Command, now: Instant) {
        let Some(connection) = self.connections.get_mut(&client) else { return };
        connection.is_busy = true;
        let ticket = self.ticket(Waiting::Reply(client, id));
        match command {
            Command::Subscribe(subscribe) => {
                let subscribed = self.subscribe(client, *subscribe, now);
                if let Err(error) = &subscribed {
                    self.registry.count_refusal(error.code);
                }
                self.answered(ticket, subscribed, now);
            }
            command => self.registry.handle_command(ticket, client, command, now),
        }
        self.drain(now);
    }

    fn ticket(&mut self, waiting: Waiting) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, waiting);
        ticket
    }

    fn subscribe(&mut self, client: Client, subscribe: Subscribe, now: Instant) -> Result<Outcome> {
        let Subscribe { interval_ms, call, of } = subscribe;
        if of == Subject::Snapshot {
            self.registry.check_controller(client, "subscribe")?;
        }
        if let Some(call) = &call {
            self.registry.check_call(call)?;
        }
        let Some(connection) = self.connections.get_mut(&client) else {
            return refuse(ErrorCode::SystemRefused, "the connection is gone");
        };
        let subscriptions = &mut connection.subscriptions;
        subscriptions.remove(&(call.clone(), of));
        if interval_ms.value() != 0 {
            if subscriptions.len() == SUBSCRIPTIONS_MAX {
                let message = format!("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions");
                return refuse(ErrorCode::NoCapacity, message);
            }
            let interval = Duration::from_millis(interval_ms.value().into());
            let subscription = Subscription { interval, next: now, is_asked: false };
            subscriptions.insert((call, of), subscription);
        }
        Ok(Subscribe::outcome(Done {}))
    }

    /// Takes what a core says.
    pub fn handle_report(&mut self, report: Report, now: Instant) {
        self.registry.handle_report(report, now);
        self.drain(now);
    }

    /// The file of an [`Output::Read`] was read, or was not.
    pub fn handle_recording(&mut self, token: Token, recording: Result<Recording>, now: Instant) {
        self.registry.handle_recording(token, recording);
        self.drain(now);
    }

    /// A core's queue was full.
    pub fn not_taken(&mut self, token: Token, now: Instant) {
        self.registry.not_taken(token, now);
        self.drain(now);
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn next_timeout(&self) -> Option<Instant> {
        let subscriptions = self.connections.values().flat_map(|it| it.subscriptions.values());
        let due = subscriptions.filter(|it| !it.is_asked).map(|it| it.next).min();
        [due, self.registry.next_timeout()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.registry.handle_timeout(now);
        let mut due = Vec::new();
        for (client, connection) in &mut self.connections {
            for (topic, subscription) in &mut connection.subscriptions {
                if subscription.is_asked || subscription.next > now {
                    continue;
                }
                subscription.is_asked = true;
                // What was missed is not made up for.
                subscription.next = (subscription.next + subscription.interval).max(now);
                due.push((*client, topic.clone()));
            }
        }
        for (client, topic) in due {
            let command: Command = match topic.clone() {
                (Some(call), Subject::Statistics) => QueryCall { call }.into(),
                (Some(call), Subject::Snapshot) => Snapshot { call }.into(),
                (None, _) => QueryProcess {}.into(),
            };
            let ticket = self.ticket(Waiting::Subscription(client, topic));
            self.registry.handle_command(ticket, client, command, now);
        }
        self.drain(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Makes lines of what the registry has done.
    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.registry.poll_output() {
            match output {
                registry::Output::Ask { thread, token, command, claim } => {
                    self.outputs.push_back(Output::Ask { thread, token, command, claim });
                }
                registry::Output::Read { token, path } => {
                    self.outputs.push_back(Output::Read { token, path });
                }
                registry::Output::Answer(ticket, answer) => self.answered(ticket, answer, now),
                registry::Output::Event(audience, event) => self.tell(audience, &event, now),
                registry::Output::Close(client) => self.outputs.push_back(Output::Close(client)),
            }
        }
    }

    fn answered(&mut self, ticket: Ticket, answer: Result<Outcome>, now: Instant) {
        match self.waiting.remove(&ticket) {
            Some(Waiting::Reply(client, id)) => {
                if let Some(connection) = self.connections.get_mut(&client) {
                    debug_assert!(connection.is_busy, "an answer belongs to a request");
                    connection.is_busy = false;
                    let answer = answer.map(|outcome| outcome.to_value());
                    self.outputs.push_back(Output::Line(client, write_reply(Some(id), &answer)));
                }
            }
            Some(Waiting::Subscription(client, topic)) => {
                self.published(client, &topic, answer, now);
            }
            None => {}
        }
    }

    /// A subscription's turn was answered. One whose call is gone, or whose connection lost control,
    /// ends; a core that could not answer may the next time.
    fn published(&mut self, client: Client, topic: &Topic, answer: Result<Outcome>, now: Instant) {
        let Some(connection) = self.connections.get_mut(&client) else { return };
        let event = match answer {
            Ok(Outcome::QueryCall(statistics)) => Event::CallStatistics(statistics),
            Ok(Outcome::QueryProcess(statistics)) => Event::ProcessStatistics(statistics),
            Ok(Outcome::Snapshot(snapshot)) => Event::CallSnapshot(snapshot),
            Ok(_) => return,
            Err(error) => {
                let subscription = connection.subscriptions.get_mut(topic);
                match (error.code, subscription) {
                    (ErrorCode::SystemRefused | ErrorCode::NoCapacity, Some(subscription)) => {
                        subscription.is_asked = false;
                    }
                    _ => drop(connection.subscriptions.remove(topic)),
                }
                return;
            }
        };
        let Some(subscription) = connection.subscriptions.get_mut(topic) else { return };
        subscription.is_asked = false;
        self.tell(Audience::One(client), &event, now);
    }

    fn tell(&mut self, audience: Audience, event: &Event, now: Instant) {
        self.log(event, now);
        for (client, connection) in &mut self.connections {
            let concerns = match audience {
                Audience::All => true,
                Audience::AllBut(other) => other != *client,
                Audience::One(one) => one == *client,
            };
            if concerns {
                connection.events += 1;
                let line = write_event(connection.events, event);
                self.outputs.push_back(Output::Line(*client, line));
            }
        }
    }

    fn log(&mut self, event: &Event, now: Instant) {
        match event {
            Event::UnknownSource { call, leg, from, expected } => {
                let logged = self.stranger_logged;
                if logged.is_some_and(|at| now.duration_since(at) < STRANGERS_LOGGED_EVERY) {
                    return;
                }
                self.stranger_logged = Some(now);
                let expected = expected.map(|expected| expected.to_string()).unwrap_or_default();
                warn!(
                    %call, %leg, %from, expected,
                    "media from an address that the far end did not name is not heard; \
                     `source` within a prefix allows to learn it"
                );
            }
            Event::SourceLearnt { call, leg, remote } => {
                info!(%call, %leg, %remote, "a leg's far end sends from another address");
            }
            Event::CallDeleted {
                call, why: crate::control::message::CallEnd::Orphaned, ..
            } => {
                info!(%call, "a call without a controller ended");
            }
            _ => {}
        }
    }
}
