//! The signaling engine, sans-IO: everything that comes in is taken here and given to whom it
//! belongs.
//!
//! ```text
//! datagrams, WebSocket messages ──► transactions ──► admission ──► calls
//! lines from media ───────────────► control client ──────────────► calls
//! ```
//!
//! In: bytes, the comings and goings of connections, time. Out: [`Output`]s. A new request goes to
//! [`super::admission`], one inside a dialog to its call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use crate::base::clock::WallAnchor;
use crate::base::opaque::opaque;
use crate::base::random::Random;
use crate::config::{Config, Credential};
use crate::control::message::{CallEnd, CallName, DeleteCall, Event, ListedCall};
use crate::dtls::Certificate;
use crate::ice::credentials::local_ufrag_of;
use crate::signal::call::Call;
use crate::signal::calls::{Calls, Shared};
use crate::signal::control_client::Report;
use crate::signal::directory::{Key, Part};
use crate::signal::exchange::Exchange;
use crate::signal::flow::FlowId;
use crate::signal::media_log::MediaLog;
use crate::signal::output::Output;
use crate::signal::recovery::recover;
use crate::signal::stage::Stage;
use crate::signal::turned_away::TurnedAway;
use crate::sip::digest::{Challenger, Ha1};
use crate::sip::transaction::{self, Flow, ServerTransactionId};
use crate::wire::demux::{Protocol, classify};
use crate::wire::sip::{Request, Response, Status};
use crate::wire::telephone_event::{Digit, DigitTime};

/// Calls at once, over all media threads.
pub const CALLS_MAX: usize = 20_000;
/// How long calls are kept while the media process cannot be reached: it either lives and is reached
/// again within milliseconds, or its calls are dead.
const MEDIA_ABSENCE_MAX: Duration = Duration::from_secs(5);

/// The engine.
pub struct Engine {
    pub(super) exchange: Exchange,
    pub(super) calls: Calls,
    pub(super) flows: BTreeMap<FlowId, Connection>,
    pub(super) challenger: Challenger,
    pub(super) media_log: MediaLog,
    pub(super) turned_away: TurnedAway,
    /// What each user proves itself with.
    pub(super) secrets: HashMap<String, Ha1>,
    generation: Option<String>,
    /// Whether the calls of a predecessor, if there was one, are ours by now.
    has_recovered: bool,
    /// Calls that media listed, until it has listed all.
    listed: Vec<ListedCall>,
    /// When the calls of an absent media process are given up.
    media_given_up: Option<Instant>,
    /// Whether the process was told to end.
    pub(super) is_stopping: bool,
}

opaque!(Engine);

/// A browser's connection.
#[derive(Debug)]
pub struct Connection {
    /// The browser's address.
    pub peer: SocketAddr,
    /// Who is there, once a request has proved it.
    pub user: Option<String>,
}

impl Engine {
    /// An engine in which nothing has happened. A user whose `ha1` is not one cannot register.
    pub fn new(
        config: &Config,
        certificate: Certificate,
        random: Random,
        wall: WallAnchor,
        now: Instant,
    ) -> Self {
        let domain = &config.signal.domain;
        let mut exchange = Exchange::new(config, certificate, random, wall, now);
        let secret = |user: &crate::config::User| match &user.credential {
            Credential::Password(password) => Some(Ha1::new(&user.name, domain, password.expose())),
            Credential::Ha1(ha1) => Ha1::try_from(ha1.expose().to_owned()).ok(),
        };
        let secrets =
            config.users.iter().filter_map(|user| Some((user.name.clone(), secret(user)?)));
        Self {
            challenger: Challenger::new(domain, now, &mut exchange.random),
            secrets: secrets.collect(),
            exchange,
            calls: Calls::default(),
            media_log: MediaLog::default(),
            turned_away: TurnedAway::default(),
            flows: BTreeMap::new(),
            generation: None,
            has_recovered: false,
            listed: Vec::new(),
            media_given_up: None,
            is_stopping: false,
        }
    }

    // What comes in.

    /// A datagram from the network of the trunks.
    pub fn handle_datagram(&mut self, bytes: &[u8], from: SocketAddr, now: Instant) {
        self.exchange.now = now;
        self.exchange.transactions.receive_bytes(bytes, Flow::Udp(from), now);
        self.pump();
    }

    /// A browser connected.
    pub fn flow_opened(&mut self, flow: FlowId, peer: SocketAddr) {
        debug!(%flow, %peer, "opened");
        self.flows.insert(flow, Connection { peer, user: None });
    }

    /// A WebSocket message.
    pub fn flow_message(&mut self, flow: FlowId, bytes: &[u8], now: Instant) {
        self.exchange.now = now;
        if self.flows.contains_key(&flow) {
            self.exchange.transactions.receive_bytes(bytes, Flow::Web(flow.0), now);
            self.pump();
        }
    }

    /// A browser's connection is gone.
    pub fn flow_closed(&mut self, flow: FlowId, now: Instant) {
        self.exchange.now = now;
        if self.flows.remove(&flow).is_none() {
            return;
        }
        debug!(%flow, "closed");
        self.exchange.registrar.flow_closed(flow, now);
        let flow = Flow::Web(flow.0);
        self.exchange.transactions.flow_closed(flow);
        for name in self.calls.sharing(&Shared::Flow(flow)) {
            self.with_call(&name, |call, exchange| call.flow_closed(flow, exchange));
        }
        self.pump();
    }

    /// The control socket is connected.
    pub fn control_connected(&mut self) {
        self.exchange.media.connected();
    }

    /// A line from media.
    pub fn control_line(&mut self, line: &str, now: Instant) {
        self.exchange.now = now;
        if let Err(unusable) = self.exchange.media.handle_line(line, now) {
            error!(?unusable, "the control connection is of no use");
            self.exchange.outputs.push_back(Output::CloseControl);
            self.exchange.media.lost();
        }
        self.pump();
    }

    /// The control socket is gone.
    pub fn control_lost(&mut self, now: Instant) {
        self.exchange.now = now;
        self.exchange.media.lost();
        self.pump();
    }

    /// The process was told to end: every call ends on both sides, with its record, and no new one is
    /// let in. [`Self::calls`] says when that is done.
    pub fn stop(&mut self, now: Instant) {
        self.exchange.now = now;
        self.is_stopping = true;
        let names: Vec<_> = self.calls.iter().map(|call| call.name.clone()).collect();
        for name in names {
            self.with_call(&name, |call, exchange| call.stop(exchange));
        }
        self.pump();
    }

    /// Writes the records of the calls that are still there: whoever has not answered by now will
    /// not, and the process ends.
    pub fn give_up(&mut self, now: Instant) {
        self.exchange.now = now;
        let names: Vec<_> = self.calls.iter().map(|call| call.name.clone()).collect();
        for name in names {
            self.with_call(&name, |call, exchange| call.deleted(None, exchange));
        }
        self.pump();
    }

    /// The next thing to do; call until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.exchange.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        [
            self.exchange.transactions.next_timeout(),
            self.exchange.registrar.next_timeout(),
            self.exchange.media.next_timeout(),
            self.calls.next_timeout(),
            self.media_log.next_timeout(),
            self.media_given_up,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.exchange.now = now;
        self.exchange.transactions.handle_timeout(now);
        self.exchange.registrar.handle_timeout(now);
        self.exchange.media.handle_timeout(now);
        self.media_log.handle_timeout(now);
        for name in self.calls.due(now) {
            self.with_call(&name, |call, exchange| call.handle_timeout(exchange));
        }
        if self.media_given_up.take_if(|at| *at <= now).is_some() {
            warn!(calls = self.calls.len(), "the media process stays away");
            self.end_all();
        }
        self.pump();
    }

    /// Calls alive, those that are being put away included.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    // What is done with it.

    /// Moves on whatever the last input set off, until nothing moves any more.
    fn pump(&mut self) {
        loop {
            if let Some(output) = self.exchange.transactions.poll_output() {
                self.transaction_output(output);
            } else if let Some(report) = self.exchange.media.poll_report() {
                self.media_report(report);
            } else if let Some(errand) = self.exchange.errands.pop_front() {
                self.run(errand);
            } else {
                break;
            }
        }
        while let Some(line) = self.exchange.media.poll_line() {
            self.exchange.outputs.push_back(Output::Control(line));
        }
    }

    fn transaction_output(&mut self, output: transaction::Output) {
        use transaction::Output as Sip;
        match output {
            Sip::Send { flow: Flow::Udp(to), bytes } => {
                self.exchange.outputs.push_back(Output::Datagram { to, bytes });
            }
            Sip::Send { flow: Flow::Web(flow), bytes } => {
                let flow = FlowId(flow);
                self.exchange.outputs.push_back(Output::Message { flow, bytes });
            }
            Sip::Request { transaction, request, flow } => {
                self.request(transaction, request, flow);
            }
            Sip::Ack { transaction: Some(transaction), request, .. } => {
                self.with_owner(&Key::Server(transaction), |call, part, exchange| {
                    if let Part::Leg(side) = part {
                        call.acknowledged(side, transaction, &request, exchange);
                    }
                });
            }
            // Of a predecessor's 200.
            Sip::Ack { transaction: None, .. } => {}
            Sip::Cancelled { transaction, reasons } => {
                self.with_owner(&Key::Server(transaction), |call, _, exchange| {
                    call.cancelled(&reasons, exchange);
                });
            }
            Sip::Unacknowledged { transaction } => {
                self.with_owner(&Key::Server(transaction), |call, part, exchange| {
                    if let Part::Leg(side) = part {
                        call.unacknowledged(side, exchange);
                    }
                });
            }
            Sip::Response { transaction, response } => {
                self.with_owner(&Key::Client(transaction), |call, part, exchange| match part {
                    Part::Attempt(number) => {
                        call.callee_responded(number, &response, exchange);
                    }
                    Part::Bye(side) if response.status.is_final() => call.bye_done(side),
                    Part::Refresh(side) => call.refreshed(side, &response, exchange),
                    Part::Probe(side) => call.probed(side, response.status, exchange),
                    Part::Bye(_) | Part::Leg(_) => {}
                });
            }
            Sip::Failed { transaction, failure } => {
                self.with_owner(&Key::Client(transaction), |call, part, exchange| match part {
                    Part::Attempt(number) => call.callee_failed(number, failure, exchange),
                    Part::Bye(side) => call.bye_done(side),
                    Part::Refresh(side) => call.refresh_failed(side, failure, exchange),
                    Part::Probe(side) => call.probe_failed(side, failure, exchange),
                    Part::Leg(_) => {}
                });
            }
        }
    }

    /// A request: inside a dialog to its call, else to admission.
    fn request(&mut self, transaction: ServerTransactionId, request: Request, flow: Flow) {
        let tag = request.headers.to().ok().and_then(|to| to.tag().map(str::to_owned));
        let Some(tag) = tag else { return self.admit(transaction, request, flow) };
        match self.exchange.directory.find(&Key::Tag(tag)) {
            Some((name, Part::Leg(side))) => self.with_call(&name, |call, exchange| {
                call.requested(side, transaction, &request, flow, exchange);
            }),
            _ => {
                let response = Response::to(&request, Status::CALL_DOES_NOT_EXIST);
                self.exchange.transactions.respond_and_forget(transaction, response);
            }
        }
    }

    fn media_report(&mut self, report: Report) {
        match report {
            Report::Controlling { generation } => {
                self.media_given_up = None;
                self.listed.clear();
                if self.generation.replace(generation.clone()).is_some_and(|old| old != generation)
                {
                    warn!(calls = self.calls.len(), "the media process was restarted");
                    self.end_all();
                }
            }
            Report::Listed(calls) => self.listed.extend(calls),
            Report::Ready => {
                if let Some(music) = self.exchange.hold_music.to_load() {
                    let _ = self.exchange.media.load_audio(music);
                }
                self.reconcile();
            }
            Report::Loaded(result) => self.exchange.hold_music.loaded(result),
            Report::Lost => {
                warn!("the media process cannot be reached");
                self.media_given_up = Some(self.exchange.now + MEDIA_ABSENCE_MAX);
            }
            Report::Created { call, result } => self.with_call(&call, |call, exchange| {
                call.reserved(result, exchange);
            }),
            Report::Untold { call, leg, change } => self.with_call(&call, |call, _| {
                call.leg_mut(leg).keep_untold(*change);
            }),
            Report::Refused { call, error, .. } => self.with_call(&call, |call, exchange| {
                call.media_refused(error, exchange);
            }),
            Report::Pressed { transaction, mut ok, is_sent } => {
                if !is_sent {
                    ok.set_status(Status::TEMPORARILY_UNAVAILABLE);
                }
                self.exchange.transactions.respond(transaction, *ok, self.exchange.now);
            }
            Report::Exchanged { exchange, result } => self.legs_exchanged(&exchange, result),
            Report::Deleted { call, statistics } => self.with_call(&call, |call, exchange| {
                call.deleted(statistics, exchange);
            }),
            Report::Event(event) => self.media_event(event),
        }
    }

    /// Media has listed all its calls: what neither of us has seen ended goes on, what only one of us
    /// knows is put away.
    fn reconcile(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        let held: BTreeSet<_> = listed.iter().map(|listed| listed.call.clone()).collect();
        let (mut resumed, mut dropped) = (0, 0);
        for listed in listed {
            let name = listed.call.clone();
            let stage = self.calls.get(&name).map(|call| call.stage);
            let call = match stage {
                Some(Stage::Ending) => None,
                Some(_) => {
                    self.with_call(&name, |call, exchange| call.media_back(exchange));
                    continue;
                }
                // It ended while media was away.
                None if self.has_recovered => None,
                None => recover(listed, &mut self.exchange),
            };
            if let Some(call) = call {
                resumed += 1;
                self.calls.insert(call);
                self.settle(&name);
            } else {
                dropped += 1;
                let delete = DeleteCall { call: name }.into();
                let _ = self.exchange.media.unattended(&delete);
            }
        }
        let gone = self.calls.iter().filter(|call| call.stage != Stage::Ending);
        let gone: Vec<_> =
            gone.map(|call| call.name.clone()).filter(|name| !held.contains(name)).collect();
        for name in &gone {
            self.with_call(name, |call, exchange| call.media_gone(exchange));
        }
        self.has_recovered = true;
        info!(resumed, dropped, gone = gone.len(), "ready for calls");
    }

    fn media_event(&mut self, event: Event) {
        match event {
            Event::Datagram { thread, from, payload } => self.punted(thread, from, &payload.0),
            Event::MediaStarted { call, leg } => self.with_call(&call, |call, exchange| {
                call.media_started(leg, exchange);
            }),
            Event::ConsentExpired { call, leg } => self.with_call(&call, |call, exchange| {
                call.consent_expired(leg, exchange);
            }),
            Event::UnknownSource { .. } | Event::SourceLearnt { .. } => {
                self.media_log.take(&event, &self.calls, self.exchange.now);
            }
            Event::MediaTimeout { ref call, leg, .. } => {
                self.media_log.take(&event, &self.calls, self.exchange.now);
                self.with_call(call, |call, exchange| call.media_silent(leg, exchange));
            }
            Event::CallDeleted { call, why: CallEnd::Stopped, statistics } => {
                self.with_call(&call, |call, exchange| call.media_stopped(statistics, exchange));
            }
            Event::TelephoneEvent { call, leg, digit, duration_ms } => {
                if let Some(digit) = Digit::from_char(digit) {
                    let time = DigitTime::clamped_ms(duration_ms);
                    self.with_call(&call, |call, exchange| {
                        call.digit_heard(leg, digit, time, exchange);
                    });
                }
            }
            // Nobody subscribed to statistics.
            Event::CallStatistics(_)
            | Event::ProcessStatistics(_)
            | Event::CallSnapshot(_)
            // What we did not ask for, or did ourselves.
            | Event::PlayEnded { .. }
            | Event::CallCreated { .. }
            | Event::CallParked { .. }
            | Event::CallDeleted { .. }
            // The connection that follows its loss takes control again if it may.
            | Event::ControllerReplaced {} => {}
        }
    }

    /// A check finds its leg by our fragment, answers and DTLS by the address that passed a check.
    fn punted(&mut self, thread: usize, from: SocketAddr, datagram: &[u8]) {
        match classify(datagram) {
            Ok(Protocol::Stun) => {
                let key = match local_ufrag_of(datagram) {
                    Some(fragment) => Key::Fragment(fragment.to_owned()),
                    None => Key::Address(thread, from),
                };
                self.with_owner(&key, |call, part, exchange| {
                    if let Part::Leg(side) = part {
                        call.checked(side, datagram, from, exchange);
                    }
                });
            }
            Ok(Protocol::Dtls) => {
                self.with_owner(&Key::Address(thread, from), |call, part, exchange| {
                    if let Part::Leg(side) = part {
                        call.handshaken(side, datagram, from, exchange);
                    }
                });
            }
            Ok(Protocol::Rtp | Protocol::Rtcp) | Err(_) => {}
        }
    }

    fn end_all(&mut self) {
        let names: Vec<_> = self.calls.iter().map(|call| call.name.clone()).collect();
        for name in names {
            self.with_call(&name, |call, exchange| call.media_gone(exchange));
        }
    }

    // Calls and their timers.

    /// Lets a call do something, then looks whether it is over and when it wants to be called.
    pub(super) fn with_call(
        &mut self,
        name: &CallName,
        work: impl FnOnce(&mut Call, &mut Exchange),
    ) {
        if let Some(call) = self.calls.get_mut(name) {
            work(call, &mut self.exchange);
            self.settle(name);
        }
    }

    fn with_owner(&mut self, key: &Key, work: impl FnOnce(&mut Call, Part, &mut Exchange)) {
        if let Some((name, part)) = self.exchange.directory.find(key) {
            self.with_call(&name, |call, exchange| work(call, part, exchange));
        }
    }

    pub(super) fn settle(&mut self, name: &CallName) {
        if self.calls.settle(name) {
            self.exchange.directory.forget(name);
            self.media_log.forget(name);
        }
    }
}
