//! The registry: which calls there are, on which cores, on which ports, and who may change them. Typed
//! commands in, typed answers out, sans-IO: JSON lines are one front to it, see [`super::front`].
//!
//! ```text
//!  command ─► checked, ports bound, room reserved ─► ask a core ─► its reply ─► answer
//!          └► answered at once (lists, cached statistics, refusals)
//! ```
//!
//! In: commands under a [`Ticket`], the cores' [`Report`]s, time. Out: [`Output`]s. No command waits
//! without a bound: a core that does not answer is told of, and a call that it makes later is ended. Observers
//! never slow a core down: their questions reach it at most every [`queries::QUERY_EVERY`], and what the process
//! counts is asked for once for all of them, see [`super::registry::queries`].

pub mod audio;
mod calls;
mod legs;
mod queries;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info};

use self::audio::Audio;
use self::calls::{Ending, Entry, Listed};
use self::queries::Queries;
use super::budget::{Gauge, Weight};
use super::channel::{CallKey, Claim, Command as CoreCommand, CoreEvent, Reply, Report, Token};
use super::ports::PortPool;
use crate::base::discard::{Discard, DiscardCounters};
use crate::config::Media;
use crate::control::message::{
    CallEnd, CallName, Command, ControlError, Datagram, Done, ErrorCode, Event, Outcome, Ping,
    Request, SendDatagram, SendDigit, Side, TakeControl, ThreadDescription,
};
use crate::os::sockets::BoundSocket;

/// How long a core may take to answer a command before whoever waits is told.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A result, or why there is none.
pub type Result<T> = std::result::Result<T, ControlError>;

/// A refusal.
pub fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T> {
    Err(ControlError::new(code, message))
}

/// Whoever gives commands: a connection of a front.
pub type Client = u64;

/// Matches an answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One core as the registry sees it.
#[derive(Debug)]
pub struct Core {
    /// What the greeting tells about it.
    pub description: ThreadDescription,
    /// What it says it can carry.
    pub gauge: Arc<Gauge>,
    /// Its port pairs.
    pub ports: PortPool,
    /// The browsers' socket.
    pub browsers: BoundSocket,
    /// Its calls, those being made included.
    calls: usize,
    /// What they take of it.
    weight: Weight,
    /// What it punted and nobody was there to take.
    discards: DiscardCounters,
    /// What the kernel dropped at sockets that are closed.
    dropped_at_closed: u64,
}

impl Core {
    /// A core without calls.
    pub fn new(
        description: ThreadDescription,
        gauge: Arc<Gauge>,
        ports: PortPool,
        browsers: BoundSocket,
    ) -> Self {
        Self {
            description,
            gauge,
            ports,
            browsers,
            calls: 0,
            weight: Weight::default(),
            discards: DiscardCounters::default(),
            dropped_at_closed: 0,
        }
    }
}

/// What the registry holds of a core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Holding {
    /// Calls, those being made and ended included.
    pub calls: usize,
    /// What they take of it.
    pub weight: Weight,
    /// Port pairs that no leg has.
    pub port_pairs_free: usize,
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

/// Whom an event concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody.
    All,
    /// Everybody but one, who knows.
    AllBut(Client),
    /// One.
    One(Client),
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Give a core a command; its reply comes back under the token.
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
    /// Read a file, at [`crate::audio::wav::FILE_BYTES_MAX`] bytes at most; what is in it comes back by
    /// [`Registry::handle_recording`].
    Read {
        /// Matches it.
        token: Token,
        /// Its absolute path.
        path: String,
    },
    /// Answer a command.
    Answer(Ticket, Result<Outcome>),
    /// Tell an event.
    Event(Audience, Event),
    /// End a client: another one took control by force.
    Close(Client),
}

/// Which call a core was asked about. Another one may have its name by the time of the answer: a controller
/// that took over by force need not wait for what the one before asked.
#[derive(Clone, Debug)]
struct Place {
    call: CallName,
    thread: usize,
    key: CallKey,
}

/// What a core was asked for.
#[derive(Debug)]
enum Pending {
    Create(Ticket, Client, CallName),
    Update(Ticket, Place, Box<legs::Changed>),
    Replace(Ticket, Place, Box<legs::Replacing>),
    Exchange(Ticket, [(Place, Side); 2]),
    Delete(Option<(Ticket, Client)>, CallEnd, Box<Ending>),
    /// A call that was made when nobody waited for it any more, ended again.
    Undo(Box<Entry>),
    Snapshot(Ticket, Place),
    Query(Vec<(Ticket, CallName)>),
    Thread,
    Simple(Ticket, fn() -> Outcome),
}

/// A question to a core.
#[derive(Debug)]
struct Asked {
    thread: usize,
    pending: Pending,
    /// By which the command is withdrawn.
    claim: Claim,
    /// When whoever waits is told that there is no answer.
    deadline: Instant,
    /// The time was prolonged once: the process itself may have been stopped.
    prolonged: bool,
    /// Whoever waited was told.
    given_up: bool,
}

/// The registry.
#[derive(Debug)]
pub struct Registry {
    started: Instant,
    generation: String,
    limits: Limits,
    cores: Vec<Core>,
    calls: BTreeMap<CallName, Listed>,
    controller: Option<Client>,
    /// Calls refused because no core had room for them.
    calls_refused: u64,
    /// Commands refused, by code.
    refusals: BTreeMap<ErrorCode, u64>,
    asked: BTreeMap<Token, Asked>,
    next_token: Token,
    queries: Queries,
    audio: Audio,
    outputs: VecDeque<Output>,
}

impl Registry {
    /// The registry of a process with these cores. `generation` is new with every start.
    pub fn new(cores: Vec<Core>, limits: Limits, generation: String, now: Instant) -> Self {
        let queries = Queries::new(cores.len(), now);
        Self {
            started: now,
            generation,
            limits,
            cores,
            calls: BTreeMap::new(),
            controller: None,
            calls_refused: 0,
            refusals: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_token: 1,
            queries,
            audio: Audio::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Random, new with every start.
    pub fn generation(&self) -> &str {
        &self.generation
    }

    /// The cores' threads.
    pub fn threads(&self) -> Vec<ThreadDescription> {
        self.cores.iter().map(|core| core.description.clone()).collect()
    }

    /// What is held of a thread; `None` of one that is not there.
    pub fn holding(&self, thread: usize) -> Option<Holding> {
        let Core { calls, weight, ports, .. } = self.cores.get(thread)?;
        Some(Holding { calls: *calls, weight: *weight, port_pairs_free: ports.free() })
    }

    /// Who may change anything.
    pub fn controller(&self) -> Option<Client> {
        self.controller
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Carries one command out; [`Output::Answer`] follows, now or when a core has replied.
    pub fn handle_command(
        &mut self,
        ticket: Ticket,
        client: Client,
        command: Command,
        now: Instant,
    ) {
        let answer = if command.needs_control() && self.controller != Some(client) {
            let message = format!("`{}` needs `take_control` first", command.name());
            refuse(ErrorCode::NotController, message)
        } else {
            if command.needs_control() {
                self.queries.forget_process();
            }
            self.carry_out(ticket, client, command, now)
        };
        if let Some(answer) = answer.transpose() {
            self.answer(ticket, answer);
        }
    }

    /// `None`: the answer comes later.
    fn carry_out(
        &mut self,
        ticket: Ticket,
        client: Client,
        command: Command,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        match command {
            Command::TakeControl(wanted) => self.take_control(client, *wanted).map(Some),
            Command::Ping(_) => Ok(Some(Ping::outcome(Done {}))),
            Command::CreateCall(create) => self.create_call((ticket, client), *create, now),
            Command::UpdateLeg(update) => self.update_leg(ticket, *update, now),
            Command::ReplaceLeg(replace) => self.replace_leg(ticket, *replace, now),
            Command::ExchangeLegs(exchange) => self.exchange_legs(ticket, &exchange, now),
            Command::Park(park) => self.park(client, *park).map(Some),
            Command::DeleteCall(delete) => self.delete_call((ticket, client), &delete.call, now),
            Command::Snapshot(snapshot) => self.snapshot(ticket, snapshot.call, now),
            Command::ListCalls(list) => Ok(Some(self.list_calls(&list))),
            Command::QueryCall(query) => self.query_call(ticket, query.call, now),
            Command::QueryProcess(_) => Ok(self.query_process(ticket, now)),
            Command::SendDatagram(send) => self.send_datagram(ticket, *send, now),
            Command::SendDigit(send) => self.send_digit(ticket, &send, now),
            Command::Play(play) => self.play(ticket, &play, now),
            Command::StopPlaying(stop) => self.stop_playing(ticket, &stop, now),
            Command::LoadAudio(load) => self.load_audio(ticket, *load, now),
            Command::UnloadAudio(unload) => self.unload_audio(&unload).map(Some),
            // A front's, which has the time for it.
            Command::Subscribe(_) => {
                refuse(ErrorCode::Unsupported, "`subscribe` is of a connection")
            }
        }
    }

    fn take_control(&mut self, client: Client, wanted: TakeControl) -> Result<Outcome> {
        match self.controller {
            Some(other) if other != client && !wanted.force => {
                return refuse(
                    ErrorCode::ControlledElsewhere,
                    "another connection is the controller",
                );
            }
            Some(other) if other != client => {
                info!(connection = client, "a controller was replaced by force");
                self.tell(Audience::All, Event::ControllerReplaced {});
                self.outputs.push_back(Output::Close(other));
            }
            _ => info!(connection = client, "controller took over"),
        }
        self.controller = Some(client);
        self.calls.values_mut().for_each(|listed| listed.entry.orphaned_at = None);
        Ok(TakeControl::outcome(Done {}))
    }

    /// A client is gone. Its calls stay, as long as each is to outlive its controller.
    pub fn client_gone(&mut self, client: Client, now: Instant) {
        if self.controller == Some(client) {
            self.controller = None;
            for listed in self.calls.values_mut() {
                let entry = &mut listed.entry;
                entry.orphaned_at = entry.outlives.map(|outlives| now + outlives);
            }
            info!("the controller left; calls go on");
        }
    }

    fn send_datagram(
        &mut self,
        ticket: Ticket,
        send: SendDatagram,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        let SendDatagram { thread, to, payload: Datagram(datagram) } = send;
        self.check_thread(thread)?;
        let pending = Pending::Simple(ticket, || SendDatagram::outcome(Done {}));
        self.ask(thread, CoreCommand::SendDatagram(to, datagram), pending, now);
        Ok(None)
    }

    fn send_digit(
        &mut self,
        ticket: Ticket,
        send: &SendDigit,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        let Place { thread, key, .. } = self.find(&send.call)?;
        let command = CoreCommand::SendDigit(key, send.leg, send.digit, send.duration_ms);
        self.ask(thread, command, Pending::Simple(ticket, || SendDigit::outcome(Done {})), now);
        Ok(None)
    }

    fn check_thread(&self, thread: usize) -> Result<()> {
        match self.cores.get(thread) {
            Some(_) => Ok(()),
            None => {
                refuse(ErrorCode::UnknownThread, format!("thread: there is no thread {thread}"))
            }
        }
    }

    // The cores.

    fn ask(&mut self, thread: usize, command: CoreCommand, pending: Pending, now: Instant) {
        let token = self.next_token;
        self.next_token += 1;
        let (claim, deadline) = (Claim::default(), now + ANSWER_MAX);
        let asked = Asked {
            thread,
            pending,
            claim: claim.clone(),
            deadline,
            prolonged: false,
            given_up: false,
        };
        let before = self.asked.insert(token, asked);
        debug_assert!(before.is_none(), "a token is given once");
        self.outputs.push_back(Output::Ask { thread, token, command, claim });
    }

    /// A core's queue was full: it has stopped taking commands.
    pub fn not_taken(&mut self, token: Token, now: Instant) {
        let Some(asked) = self.asked.get(&token) else { return };
        let message = format!("thread {} does not take commands", asked.thread);
        let error = ControlError::new(ErrorCode::SystemRefused, message);
        self.handle_report(Report::Reply(token, Err(error)), now);
    }

    /// Takes what a core says.
    pub fn handle_report(&mut self, report: Report, now: Instant) {
        match report {
            Report::Reply(token, reply) => {
                if let Some(asked) = self.asked.remove(&token) {
                    self.replied(asked, reply, now);
                }
            }
            Report::Event(thread, CoreEvent::Punt(from, datagram)) => match self.controller {
                Some(controller) => {
                    let payload = Datagram(datagram);
                    let event = Event::Datagram { thread, from, payload };
                    self.tell(Audience::One(controller), event);
                }
                None => self.cores[thread].discards.count(Discard::NoController),
            },
            Report::Event(_, CoreEvent::Event(event)) => self.tell(Audience::All, event),
        }
    }

    fn replied(&mut self, asked: Asked, reply: Result<Reply>, now: Instant) {
        let Asked { thread, pending, given_up, .. } = asked;
        if !matches!(pending, Pending::Query(_) | Pending::Thread) {
            self.queries.forget_process();
        }
        let (ticket, answer) = match (pending, reply) {
            (Pending::Create(ticket, client, call), reply) => {
                let client = (!given_up).then_some(client);
                (Some(ticket), self.created(&call, reply, client, now))
            }
            (Pending::Update(ticket, call, changed), reply) => {
                (Some(ticket), reply.map(|_| self.updated(&call, *changed)))
            }
            (Pending::Replace(ticket, call, replacing), reply) => {
                (Some(ticket), self.replaced(&call, *replacing, reply, now))
            }
            (Pending::Exchange(ticket, places), reply) => {
                (Some(ticket), self.exchanged(&places, reply))
            }
            (Pending::Delete(asked, why, ending), reply) => {
                let (ticket, client) = asked.unzip();
                let outcome =
                    self.deleted(ending.entry, why, client.filter(|_| !given_up), reply, now);
                (ticket, outcome)
            }
            (Pending::Snapshot(ticket, call), reply) => {
                (Some(ticket), self.snapshot_taken(call, reply))
            }
            (Pending::Undo(entry), _) => return self.release(&entry, now),
            (Pending::Query(_), _) if given_up => return,
            (Pending::Query(tickets), reply) => return self.queried(tickets, reply),
            (Pending::Thread, reply) => return self.thread_queried(thread, reply, now),
            (Pending::Simple(ticket, outcome), reply) => (Some(ticket), reply.map(|_| outcome())),
        };
        if let (Some(ticket), false) = (ticket, given_up) {
            self.answer(ticket, answer);
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Result<Outcome>) {
        if let Err(error) = &answer {
            *self.refusals.entry(error.code).or_default() += 1;
        }
        self.outputs.push_back(Output::Answer(ticket, answer));
    }

    /// A command was refused before it came here: it is counted with the others.
    pub fn count_refusal(&mut self, code: ErrorCode) {
        *self.refusals.entry(code).or_default() += 1;
    }

    fn tell(&mut self, audience: Audience, event: Event) {
        self.outputs.push_back(Output::Event(audience, event));
    }

    // Time.

    /// When [`Self::handle_timeout`] has work.
    pub fn next_timeout(&self) -> Option<Instant> {
        let answers = self.asked.values().filter(|asked| !asked.given_up);
        let answers = answers.map(|asked| asked.deadline).min();
        let orphans = match self.controller {
            Some(_) => None,
            // One that is being made ends when it was made.
            None => self.calls.values().filter_map(Listed::orphaned_at).min(),
        };
        let files = self.audio.next_timeout();
        [answers, orphans, files, self.queries.next_timeout()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.flush_queries(now);
        self.give_up(now);
        self.give_reading_up(now);
        self.end_orphans(now);
    }

    fn give_up(&mut self, now: Instant) {
        let mut unanswered = Vec::new();
        for asked in self.asked.values_mut().filter(|asked| asked.deadline <= now) {
            if asked.given_up {
                continue;
            }
            if !asked.prolonged {
                asked.prolonged = true;
                asked.deadline = now + ANSWER_MAX / 5;
                continue;
            }
            asked.given_up = true;
            error!(thread = asked.thread, "a media thread does not answer");
            let is_withdrawn = asked.pending.can_be_withdrawn() && asked.claim.take();
            unanswered.push((asked.thread, asked.pending.tickets(), is_withdrawn));
        }
        for (thread, tickets, is_withdrawn) in unanswered {
            let rest = if is_withdrawn { "nothing is changed" } else { "it may still do it" };
            let seconds = ANSWER_MAX.as_secs();
            let message = format!("thread {thread} has not answered for {seconds} s; {rest}");
            let error = ControlError::new(ErrorCode::SystemRefused, message);
            match tickets {
                Some(tickets) => {
                    tickets.into_iter().for_each(|it| self.answer(it, Err(error.clone())));
                }
                None => self.process_refused(error),
            }
        }
    }
}

impl Pending {
    /// Whether what whoever waits is refused can be left undone: a call that is no longer known has to end.
    fn can_be_withdrawn(&self) -> bool {
        !matches!(self, Pending::Delete(..) | Pending::Undo(_))
    }

    /// Who waits; `None`: whoever asked what the process counts.
    fn tickets(&self) -> Option<Vec<Ticket>> {
        Some(match self {
            Pending::Create(ticket, ..)
            | Pending::Update(ticket, ..)
            | Pending::Replace(ticket, ..)
            | Pending::Exchange(ticket, _)
            | Pending::Snapshot(ticket, _)
            | Pending::Simple(ticket, _) => vec![*ticket],
            Pending::Delete(asked, ..) => asked.iter().map(|(ticket, _)| *ticket).collect(),
            Pending::Undo(_) => Vec::new(),
            Pending::Query(tickets) => tickets.iter().map(|(ticket, _)| *ticket).collect(),
            Pending::Thread => return None,
        })
    }
}

/// The reply of another kind than was asked for: a fault of ours, which must not end a call.
fn wrong_reply(reply: &Reply) -> ControlError {
    error!(?reply, "a media thread gave a reply of another kind than was asked for");
    ControlError::new(ErrorCode::SystemRefused, "the thread gave the wrong reply")
}

impl Registry {
    /// Refuses a command of anybody but the controller.
    pub fn check_controller(&self, client: Client, command: &str) -> Result<()> {
        if self.controller == Some(client) {
            return Ok(());
        }
        refuse(ErrorCode::NotController, format!("`{command}` needs `take_control` first"))
    }

    /// Refuses what is about a call that is not there.
    pub fn check_call(&self, call: &CallName) -> Result<()> {
        self.find(call).map(|_| ())
    }
}

#[cfg(test)]
mod tests;
