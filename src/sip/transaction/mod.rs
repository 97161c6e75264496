//! Transactions: the four machines of RFC 3261 §17 with RFC 6026, and the 2xx retransmissions of
//! §13.3.1.4, for every flow in one sans-IO engine.
//!
//! ```text
//! bytes, flow ──► receive_bytes ──► Request │ Ack │ Cancelled │ Response │ Failed │ Unacknowledged
//! respond, request, cancel ───────► Send { flow, bytes }
//! ```
//!
//! Here malformed requests are answered without keeping anything, and other garbage is counted; an
//! INVITE gets its 100 and a CANCEL its 200. The INVITE's 487 is the user's to send: only it knows
//! whether its other leg has just answered. Dialogs, authentication and which methods exist are the
//! user's too.

mod client;
mod key;
mod output;
mod server;
mod timer;

#[cfg(test)]
mod tests;

pub use output::{ClientTransactionId, Failure, Flow, Output, ServerTransactionId};
pub use timer::{RINGING_MAX, T1, T2, T4, TRANSACTION_LIFETIME, TRYING_DELAY};

use crate::base::opaque::opaque;
use crate::base::random::{Random, token};
use crate::wire::sip::{
    HeaderName, Headers, Malformed, Message, Method, Parameters, Reason, Request, Response, SentBy,
    Status, Transport, Unparsable, Via, parse_datagram, parse_websocket,
};
use aws_lc_rs::hmac;
use client::{CancelRequest, Client};
use key::{AckKey, BRANCH_COOKIE, ClientKey, ServerKey, note_source, response_address};
use rand::RngExt;
use server::Server;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;
use tracing::info;

/// Most transactions at once, both roles. One keeps its last message and the fields
/// that follow-ups copy, 4 KiB for an INVITE with its SDP: 80 MiB at most.
pub const TRANSACTIONS_MAX: usize = 20_000;
/// What a refused newcomer is told to wait.
pub const RETRY_AFTER_S: u32 = 5;
/// The Max-Forwards we write (RFC 3261 §8.1.1.6).
pub const MAX_FORWARDS: u8 = 70;
/// Random characters after the cookie: 142 bits, so that a response cannot be guessed.
const BRANCH_CHARACTERS: usize = 24;

/// Every place is taken ([`TRANSACTIONS_MAX`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTransactions;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    Server(u64),
    Client(u64),
}

/// What a table holds beside the machine, so that it can be taken out again.
struct ServerEntry {
    machine: Server,
    key: ServerKey,
    ack_key: Option<AckKey>,
    due: Option<Instant>,
}

struct ClientEntry {
    machine: Client,
    key: ClientKey,
    due: Option<Instant>,
}

/// All transactions of a process. Ordered maps: the same inputs give the same outputs in the same
/// order, and no choice of keys makes them slow.
pub struct Transactions {
    udp: SentBy,
    web: SentBy,
    tag_key: hmac::Key,
    id_next: u64,
    servers: BTreeMap<u64, ServerEntry>,
    server_keys: BTreeMap<ServerKey, u64>,
    ack_keys: BTreeMap<AckKey, u64>,
    clients: BTreeMap<u64, ClientEntry>,
    client_keys: BTreeMap<ClientKey, u64>,
    flows: BTreeSet<(Flow, Id)>,
    timers: BTreeSet<(Instant, Id)>,
    outputs: VecDeque<Output>,
    malformed: [u64; Malformed::ALL.len()],
}

opaque!(Transactions);

impl Transactions {
    /// `udp` and `web` are what our Vias say we listen on, on each kind of flow. `random` makes the
    /// secret behind stateless To tags.
    pub fn new(udp: SentBy, web: SentBy, random: &mut Random) -> Self {
        let secret: [u8; 32] = random.random();
        Self {
            udp,
            web,
            tag_key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            id_next: 0,
            servers: BTreeMap::new(),
            server_keys: BTreeMap::new(),
            ack_keys: BTreeMap::new(),
            clients: BTreeMap::new(),
            client_keys: BTreeMap::new(),
            flows: BTreeSet::new(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            malformed: [0; Malformed::ALL.len()],
        }
    }

    /// Takes what came on a flow: a message, a keep-alive, or garbage. Malformed requests are
    /// answered, other garbage is counted. On a WebSocket a double CRLF is answered by one
    /// (RFC 5626 §3.5.1).
    pub fn receive_bytes(&mut self, bytes: &[u8], flow: Flow, now: Instant) {
        // UDP keep-alives are CRLFs or NULs; nobody waits for an answer to those.
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            if flow.is_reliable() && bytes == b"\r\n\r\n" {
                self.send(flow, b"\r\n".to_vec());
            }
            return;
        }
        let parsed = match flow {
            Flow::Udp(_) => parse_datagram(bytes),
            Flow::Web(_) => parse_websocket(bytes),
        };
        match parsed {
            Ok(message) => self.receive(message, flow, now),
            Err(unparsable) => self.refuse(&unparsable, flow),
        }
    }

    fn refuse(&mut self, unparsable: &Unparsable, flow: Flow) {
        let count = &mut self.malformed[unparsable.problem() as usize];
        *count += 1;
        // A line for the first, the second, the fourth …: whoever sends garbage does not fill the log.
        if count.is_power_of_two() {
            info!(?flow, problem = unparsable.problem().name(), count, "malformed SIP");
        }
        if let Some(mut response) = unparsable.response() {
            self.complete_to(&mut response);
            self.send(flow, response.to_bytes());
        }
    }

    /// Takes a message.
    pub fn receive(&mut self, message: Message, flow: Flow, now: Instant) {
        match message {
            Message::Request(request) => self.receive_request(request, flow, now),
            Message::Response(response) => self.receive_response(response, flow, now),
        }
    }

    fn receive_request(&mut self, mut request: Request, flow: Flow, now: Instant) {
        let Ok(mut via) = request.headers.top_via() else { return };
        let Some(key) = ServerKey::of(&request, &via, flow) else { return };
        let mut reply_to = flow;
        if let Flow::Udp(source) = flow {
            reply_to = Flow::Udp(response_address(&via, source));
            note_source(&mut via, source);
            request.headers.replace_top_via(&via);
        }
        let known = self.server_keys.get(&key).copied();
        match (&request.method, known) {
            (Method::Ack, _) => self.receive_ack(known, request, flow, now),
            (Method::Cancel, _) => self.receive_cancel(known, &request, reply_to, now),
            (_, Some(id)) => {
                if let Some(entry) = self.servers.get(&id) {
                    entry.machine.receive_again(&mut self.outputs);
                }
            }
            (_, None) if self.len() >= TRANSACTIONS_MAX => {
                self.send_stateless_response(overloaded(&request), reply_to);
            }
            (_, None) => self.start_server(key, request, flow, reply_to, now),
        }
    }

    fn start_server(
        &mut self,
        key: ServerKey,
        request: Request,
        flow: Flow,
        reply_to: Flow,
        now: Instant,
    ) {
        let id = self.new_id();
        let transaction = ServerTransactionId(id);
        let machine = Server::start(transaction, &request, flow, reply_to, now);
        let before = self.server_keys.insert(key.clone(), id);
        debug_assert!(before.is_none(), "a request belongs to one transaction");
        self.servers.insert(id, ServerEntry { machine, key, ack_key: None, due: None });
        self.flows.insert((flow, Id::Server(id)));
        self.settle(Id::Server(id));
        self.outputs.push_back(Output::Request { transaction, request, flow });
    }

    fn receive_ack(&mut self, known: Option<u64>, request: Request, flow: Flow, now: Instant) {
        // The branch of an ACK is the INVITE's unless it acknowledges a 2xx; some peers keep it
        // even then.
        let by_branch = known.and_then(|id| self.servers.get_mut(&id).map(|entry| (id, entry)));
        if let Some((id, entry)) = by_branch
            && !entry.machine.is_accepted()
        {
            entry.machine.receive_ack(now);
            self.settle(Id::Server(id));
            return;
        }
        let by_dialog = AckKey::of(&request.headers).and_then(|key| self.ack_keys.get(&key));
        match by_dialog.copied().or(known) {
            Some(id) => {
                let Some(entry) = self.servers.get_mut(&id) else { return };
                if entry.machine.receive_ack_of_success() {
                    let transaction = Some(entry.machine.id());
                    self.outputs.push_back(Output::Ack { transaction, request, flow });
                    self.settle(Id::Server(id));
                }
            }
            // The ACK to a refusal that was sent and forgotten bears the tag we made for it.
            None => {
                let tag = self.to_tag_of(&request.headers);
                let is_ours = request.headers.to().is_ok_and(|to| to.tag() == Some(&tag));
                if !is_ours {
                    self.outputs.push_back(Output::Ack { transaction: None, request, flow });
                }
            }
        }
    }

    /// CANCEL is answered without a transaction of its own: the answer does not depend on how often
    /// it comes.
    fn receive_cancel(
        &mut self,
        known: Option<u64>,
        request: &Request,
        reply_to: Flow,
        now: Instant,
    ) {
        let status = if known.is_some() { Status::OK } else { Status::CALL_DOES_NOT_EXIST };
        self.send_stateless_response(Response::to(request, status), reply_to);
        if let Some((id, entry)) = known.and_then(|id| Some((id, self.servers.get_mut(&id)?))) {
            entry.machine.receive_cancel(request.headers.reasons(), now, &mut self.outputs);
            self.settle(Id::Server(id));
        }
    }

    fn receive_response(&mut self, response: Response, flow: Flow, now: Instant) {
        let Some(key) = ClientKey::of_response(&response.headers) else { return };
        let Some(id) = self.client_keys.get(&key).copied() else { return };
        let Some(entry) = self.clients.get_mut(&id) else { return };
        let same_flow = match entry.machine.flow {
            // A UDP server may answer from another address than it was asked at.
            Flow::Udp(_) => matches!(flow, Flow::Udp(_)),
            Flow::Web(_) => flow == entry.machine.flow,
        };
        if same_flow {
            let cancel = entry.machine.receive(response, now, &mut self.outputs);
            self.start_cancel(cancel, id, now);
            self.settle(Id::Client(id));
        }
    }

    /// Sends a request of ours with a Via and a branch of its own, and Max-Forwards if it has none.
    /// Not for ACK ([`Transactions::send_stateless`]) and CANCEL ([`Transactions::cancel`]).
    pub fn request(
        &mut self,
        mut request: Request,
        flow: Flow,
        now: Instant,
        random: &mut Random,
    ) -> Result<ClientTransactionId, TooManyTransactions> {
        if self.len() >= TRANSACTIONS_MAX {
            return Err(TooManyTransactions);
        }
        let branch = self.push_via(&mut request, flow, random);
        Ok(ClientTransactionId(self.start_client(request, branch, flow, now)))
    }

    fn start_client(&mut self, request: Request, branch: String, flow: Flow, now: Instant) -> u64 {
        let id = self.new_id();
        let key = ClientKey { branch, method: request.method.as_str().to_owned() };
        let transaction = ClientTransactionId(id);
        let machine = Client::start(transaction, request, flow, now, &mut self.outputs);
        let before = self.client_keys.insert(key.clone(), id);
        debug_assert!(before.is_none(), "a branch is drawn once");
        self.clients.insert(id, ClientEntry { machine, key, due: None });
        self.flows.insert((flow, Id::Client(id)));
        self.settle(Id::Client(id));
        id
    }

    /// Starts the transaction of a CANCEL, which has the branch of its INVITE.
    fn start_cancel(&mut self, cancel: CancelRequest, invite: u64, now: Instant) {
        let Some(entry) = self.clients.get(&invite) else { return };
        if let CancelRequest(Some(request)) = cancel {
            let (branch, flow) = (entry.key.branch.clone(), entry.machine.flow);
            self.start_client(request, branch, flow, now);
        }
    }

    fn push_via(&self, request: &mut Request, flow: Flow, random: &mut Random) -> String {
        let branch = format!("{BRANCH_COOKIE}{}", token(random, BRANCH_CHARACTERS));
        let mut parameters = Parameters::default();
        parameters.set("branch", Some(&branch));
        let (transport, sent_by) = match flow {
            Flow::Udp(_) => {
                parameters.set("rport", None);
                (Transport::Udp, self.udp.clone())
            }
            Flow::Web(_) => (Transport::Wss, self.web.clone()),
        };
        request.headers.push_front(HeaderName::Via, Via { transport, sent_by, parameters });
        if request.headers.first(&HeaderName::MaxForwards).is_none() {
            request.headers.push(HeaderName::MaxForwards, MAX_FORWARDS);
        }
        branch
    }

    /// Answers a request; provisional responses may come before the final one. A 2xx to an INVITE is
    /// repeated until its ACK. A To tag is added where one is missing ([`Transactions::to_tag`]).
    /// Responses after the final one, or to a transaction that is gone, are dropped.
    pub fn respond(&mut self, server: ServerTransactionId, mut response: Response, now: Instant) {
        self.complete_to(&mut response);
        let Some(entry) = self.servers.get_mut(&server.0) else { return };
        entry.machine.respond(&response, now, &mut self.outputs);
        if entry.machine.is_accepted() && entry.ack_key.is_none() {
            entry.ack_key = AckKey::of(&response.headers);
            self.ack_keys.extend(entry.ack_key.clone().map(|key| (key, server.0)));
        }
        self.settle(Id::Server(server.0));
    }

    /// Answers a request and forgets it at once, as a stateless server does (RFC 3261 §8.2.7): for
    /// challenges and refusals of requests from people we do not know, who must not fill the table.
    /// A retransmission comes as a new request and, over UDP, must be answered again.
    pub fn respond_and_forget(&mut self, server: ServerTransactionId, mut response: Response) {
        self.complete_to(&mut response);
        if let Some(entry) = self.servers.get_mut(&server.0) {
            entry.machine.respond_and_forget(&response, &mut self.outputs);
            self.settle(Id::Server(server.0));
        }
    }

    /// Cancels an INVITE of ours (RFC 3261 §9.1): at once if a provisional response has come, else
    /// when one comes. Its final response, usually 487, is still reported; silence for 64·T1 becomes
    /// [`Output::Failed`].
    pub fn cancel(&mut self, client: ClientTransactionId, reasons: &[Reason], now: Instant) {
        let Some(entry) = self.clients.get_mut(&client.0) else { return };
        let cancel = entry.machine.cancel(reasons, now);
        self.start_cancel(cancel, client.0, now);
        self.settle(Id::Client(client.0));
    }

    /// Sends a request outside any transaction, with a Via of its own: the ACK to a 2xx
    /// (RFC 3261 §13.2.2.4).
    pub fn send_stateless(&mut self, mut request: Request, flow: Flow, random: &mut Random) {
        self.push_via(&mut request, flow, random);
        self.send(flow, request.to_bytes());
    }

    fn send_stateless_response(&mut self, mut response: Response, flow: Flow) {
        self.complete_to(&mut response);
        self.send(flow, response.to_bytes());
    }

    fn send(&mut self, flow: Flow, bytes: Vec<u8>) {
        self.outputs.push_back(Output::Send { flow, bytes });
    }

    /// The To tag that [`Transactions::respond`] adds to responses of this request: the same for
    /// each retransmission, without any state.
    pub fn to_tag(&self, request: &Request) -> String {
        self.to_tag_of(&request.headers)
    }

    /// Made of what a request, its responses and its ACK have in common.
    fn to_tag_of(&self, headers: &Headers) -> String {
        let mut context = hmac::Context::with_key(&self.tag_key);
        context.update(headers.first(&HeaderName::CallId).unwrap_or_default().as_bytes());
        if let Ok(from) = headers.from() {
            context.update(b"\0");
            context.update(from.tag().unwrap_or_default().as_bytes());
        }
        if let Ok(cseq) = headers.cseq() {
            context.update(&cseq.number.to_be_bytes());
        }
        let tag = context.sign();
        tag.as_ref().iter().take(10).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Adds a To tag to every response but 100 (RFC 3261 §8.2.6.2). A To that cannot be read is
    /// echoed as it came.
    fn complete_to(&self, response: &mut Response) {
        if response.status != Status::TRYING {
            let tag = self.to_tag_of(&response.headers);
            let _unreadable = response.set_to_tag(&tag);
        }
    }

    /// A WebSocket closed, or ICMP says that nobody listens at a UDP address: our requests on it
    /// fail. What came on a closed WebSocket is forgotten without a word; whoever closes it knows.
    pub fn flow_closed(&mut self, flow: Flow) {
        let all = (flow, Id::Server(0))..=(flow, Id::Client(u64::MAX));
        let ids: Vec<Id> = self.flows.range(all).map(|(_, id)| *id).collect();
        for id in ids {
            match id {
                Id::Client(client) => {
                    if let Some(entry) = self.clients.get_mut(&client) {
                        entry.machine.fail(Failure::Transport, &mut self.outputs);
                    }
                }
                Id::Server(_) if !flow.is_reliable() => continue,
                Id::Server(server) => {
                    if let Some(entry) = self.servers.get_mut(&server) {
                        entry.machine.abandon();
                    }
                }
            }
            self.settle(id);
        }
    }

    /// The next thing to do; call until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Transactions::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.next_timeout().is_some_and(|due| due <= now) {
            let Some((_, id)) = self.timers.pop_first() else { return };
            match id {
                Id::Server(server) => {
                    if let Some(entry) = self.servers.get_mut(&server) {
                        entry.machine.handle_timeout(now, &mut self.outputs);
                    }
                }
                Id::Client(client) => {
                    if let Some(entry) = self.clients.get_mut(&client) {
                        let cancel = entry.machine.handle_timeout(now, &mut self.outputs);
                        self.start_cancel(cancel, client, now);
                    }
                }
            }
            self.settle(id);
        }
    }

    /// How many transactions there are, both roles.
    pub fn len(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many datagrams were malformed, by what was wrong; the log has them too.
    pub fn malformed(&self) -> impl Iterator<Item = (Malformed, u64)> {
        Malformed::ALL.iter().map(|problem| (*problem, self.malformed[*problem as usize]))
    }

    fn new_id(&mut self) -> u64 {
        self.id_next += 1;
        self.id_next
    }

    /// Files a transaction's next deadline, or takes it out if it is over.
    fn settle(&mut self, id: Id) {
        let (over, due_next, due) = match id {
            Id::Server(server) => match self.servers.get_mut(&server) {
                Some(entry) => {
                    (entry.machine.is_over(), entry.machine.deadlines.next(), &mut entry.due)
                }
                None => return,
            },
            Id::Client(client) => match self.clients.get_mut(&client) {
                Some(entry) => {
                    (entry.machine.is_over(), entry.machine.deadlines.next(), &mut entry.due)
                }
                None => return,
            },
        };
        if let Some(due) = due.take() {
            self.timers.remove(&(due, id));
        }
        if over {
            self.remove(id);
        } else {
            *due = due_next;
            self.timers.extend(due_next.map(|due| (due, id)));
        }
    }

    fn remove(&mut self, id: Id) {
        let flow = match id {
            Id::Server(server) => self.servers.remove(&server).map(|entry| {
                self.server_keys.remove(&entry.key);
                // A later INVITE with the same tags and number may have taken the place.
                if let Some(key) =
                    entry.ack_key.filter(|key| self.ack_keys.get(key) == Some(&server))
                {
                    self.ack_keys.remove(&key);
                }
                entry.machine.flow
            }),
            Id::Client(client) => self.clients.remove(&client).map(|entry| {
                self.client_keys.remove(&entry.key);
                entry.machine.flow
            }),
        };
        if let Some(flow) = flow {
            self.flows.remove(&(flow, id));
        }
        debug_assert_eq!(self.servers.len(), self.server_keys.len(), "one key a transaction");
        debug_assert_eq!(self.clients.len(), self.client_keys.len(), "one key a transaction");
        debug_assert_eq!(self.flows.len(), self.len(), "a transaction is on one flow");
    }
}

/// A `503` with `Retry-After`, for whoever is full.
pub fn overloaded(request: &Request) -> Response {
    let mut response = Response::to(request, Status::SERVICE_UNAVAILABLE);
    response.headers.push(HeaderName::RetryAfter, RETRY_AFTER_S);
    response
}
