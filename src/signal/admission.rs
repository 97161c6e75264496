//! Admission: requests outside any dialog. Who is it, may they, and is there room.
//!
//! A browser proves itself by digest with each REGISTER and INVITE (RFC 3261 §22); a trunk is known
//! by its address. Whoever is neither is answered without leaving any state. What is let in becomes
//! a binding or a call.

use crate::signal::call::Call;
use crate::signal::calls::Shared;
use crate::signal::engine::{CALLS_MAX, Engine};
use crate::signal::exchange::{PRODUCT, unsupported};
use crate::signal::flow::FlowId;
use crate::signal::invitation::Invitation;
use crate::signal::invite::{Invite, identity_of};
use crate::signal::output::Output;
use crate::signal::peer::Peer;
use crate::signal::privacy::Shown;
use crate::signal::registrar::{Change, Contact, EXPIRES_MIN_S, Refused, address_of};
use crate::signal::release::Release;
use crate::signal::routing::DIALLED_BYTES_MAX;
use crate::sip::digest::{Role, Verdict};
use crate::sip::transaction::{Flow, RETRY_AFTER_S, ServerTransactionId};
use crate::wire::sip::{
    BadHeader, Contacts, HeaderName, Method, NameAddr, Request, Response, Status, Uri,
};

/// Calls that a person has beside a new one.
const OTHER_CALLS_MAX: usize = 3;

impl Engine {
    /// A request outside any dialog.
    pub(super) fn admit(&mut self, transaction: ServerTransactionId, request: Request, flow: Flow) {
        if let Flow::Udp(from) = flow
            && self.exchange.routes.trunk_at(from).is_none()
        {
            let why = "SIP that is from no trunk's address and port is refused (403); if it is a \
                       trunk's, write it to `address` of its [[trunk]]";
            self.turned_away.note(from.ip(), why, self.exchange.now);
            return self.turn_away(transaction, Response::to(&request, Status::FORBIDDEN));
        }
        if !matches!(request.method, Method::Invite)
            && let Some(refusal) = unsupported(&request)
        {
            return self.turn_away(transaction, refusal.response(&request));
        }
        match request.method {
            Method::Register => self.admit_registration(transaction, request, flow),
            Method::Invite => self.admit_call(transaction, request, flow),
            Method::Options => {
                self.turn_away(transaction, self.exchange.capabilities(&request, flow));
            }
            Method::Bye | Method::Info | Method::Update | Method::Prack => {
                self.turn_away(transaction, Response::to(&request, Status::CALL_DOES_NOT_EXIST));
            }
            // Outside a call there is nobody to be transferred.
            Method::Refer => {
                self.turn_away(transaction, Response::to(&request, Status::FORBIDDEN));
            }
            _ => self.turn_away(transaction, self.exchange.not_allowed(&request, flow)),
        }
    }

    /// Answers without keeping anything.
    fn turn_away(&mut self, transaction: ServerTransactionId, mut response: Response) {
        response.headers.push(HeaderName::Server, PRODUCT);
        self.exchange.transactions.respond_and_forget(transaction, response);
    }

    /// The user that the request's credentials prove, or the challenge to answer with.
    fn authenticate(
        &mut self,
        request: &Request,
        role: Role,
        flow: FlowId,
    ) -> Result<String, Response> {
        let user = self.challenger.username(request, role);
        let secret = user.as_ref().and_then(|user| self.secrets.get(user));
        let verdict = self.challenger.verify(request, role, secret, self.exchange.now);
        match (verdict, user) {
            (Verdict::Accepted, Some(user)) => {
                let connection = self.flows.get_mut(&flow);
                let known = connection.and_then(|connection| connection.user.replace(user.clone()));
                if known.as_deref() != Some(user.as_str()) {
                    self.exchange.outputs.push_back(Output::Authenticated(flow));
                }
                Ok(user)
            }
            (verdict, _) => {
                if let (Verdict::Wrong, Some(connection)) = (verdict, self.flows.get(&flow)) {
                    let why = "wrong credentials";
                    self.turned_away.note(connection.peer.ip(), why, self.exchange.now);
                }
                let random = &mut self.exchange.random;
                Err(self.challenger.challenge(request, role, verdict, self.exchange.now, random))
            }
        }
    }

    // REGISTER.

    fn admit_registration(
        &mut self,
        transaction: ServerTransactionId,
        request: Request,
        flow: Flow,
    ) {
        let Flow::Web(flow) = flow else {
            return self.turn_away(transaction, Response::to(&request, Status::FORBIDDEN));
        };
        let flow = FlowId(flow);
        match self.authenticate(&request, Role::Server, flow) {
            Ok(user) => {
                let (response, contacts) = self.register(&user, &request, flow);
                self.exchange.transactions.respond(transaction, response, self.exchange.now);
                for contact in contacts {
                    self.rehome(&user, &contact, flow);
                }
            }
            Err(challenge) => self.turn_away(transaction, challenge),
        }
    }

    /// The response, and the contacts that are now reached over this connection.
    fn register(
        &mut self,
        user: &str,
        request: &Request,
        flow: FlowId,
    ) -> (Response, Vec<Contact>) {
        let refused = |status| (Response::to(request, status), Vec::new());
        let Ok((change, call_id, cseq)) = read_registration(request) else {
            return refused(Status::BAD_REQUEST);
        };
        // Nobody registers for somebody else (RFC 3261 §10.3 step 4).
        if request.headers.to().ok().as_ref().and_then(|to| to.uri.user()) != Some(user) {
            return refused(Status::FORBIDDEN);
        }
        let contacts = match &change {
            Change::Contacts(contacts) => contacts.clone(),
            Change::Query | Change::Clear => Vec::new(),
        };
        match self.exchange.registrar.register(
            user,
            change,
            flow,
            (&call_id, cseq),
            self.exchange.now,
        ) {
            Ok(()) => (self.bindings_of(user, request), contacts),
            Err(Refused::TooBrief) => {
                let (mut response, none) = refused(Status::INTERVAL_TOO_BRIEF);
                response.headers.push(HeaderName::MinExpires, EXPIRES_MIN_S);
                (response, none)
            }
            Err(Refused::OutOfOrder) => refused(Status::SERVER_INTERNAL_ERROR),
            Err(Refused::TooManyContacts) => refused(Status::BAD_REQUEST),
        }
    }

    /// The 200 with every binding of the user (RFC 3261 §10.3 step 8). JsSIP looks for its own
    /// instance and reg-id among them, SIP.js for its URI.
    fn bindings_of(&self, user: &str, request: &Request) -> Response {
        let mut response = Response::to(request, Status::OK);
        for binding in self.exchange.registrar.bindings(user) {
            let Ok(uri) = binding.contact.uri.parse::<Uri>() else { continue };
            let mut contact = NameAddr::new(uri);
            let expires = binding.expires_s(self.exchange.now).to_string();
            contact.parameters.set("expires", Some(&expires));
            if let Some(instance) = &binding.contact.instance {
                contact.parameters.set("+sip.instance", Some(instance));
            }
            if let Some(reg_id) = binding.contact.reg_id {
                contact.parameters.set("reg-id", Some(&reg_id.to_string()));
            }
            response.headers.push(HeaderName::Contact, contact);
        }
        response.headers.push(HeaderName::Server, PRODUCT);
        response
    }

    /// A browser that came back over another connection finds its calls again.
    fn rehome(&mut self, user: &str, contact: &Contact, flow: FlowId) {
        let address = address_of(&contact.uri);
        for name in self.calls.sharing(&Shared::Contact { user: user.to_owned(), address }) {
            self.with_call(&name, |call, exchange| {
                call.rehomed(user, &contact.uri, Flow::Web(flow.0), exchange);
            });
        }
    }

    // INVITE.

    fn admit_call(&mut self, transaction: ServerTransactionId, request: Request, flow: Flow) {
        let call_id = request.headers.call_id().unwrap_or_default();
        if let Some((tag, release)) = self.exchange.interrupted.remove(call_id) {
            let mut response = release.response(&request);
            let _ = response.set_to_tag(&tag);
            return self.exchange.transactions.respond(transaction, response, self.exchange.now);
        }
        let dialled = request.uri.subscriber().unwrap_or_default().to_owned();
        let (caller, number) = match flow {
            Flow::Web(flow) => match self.authenticate(&request, Role::Proxy, FlowId(flow)) {
                Ok(user) => {
                    let number = self.number_of(&user, &dialled);
                    (Peer::User(user), number)
                }
                Err(challenge) => return self.turn_away(transaction, challenge),
            },
            Flow::Udp(from) => match self.exchange.routes.trunk_at(from) {
                Some(trunk) => (Peer::Trunk(trunk.name.clone()), number_from(&request)),
                None => return,
            },
        };
        let shown = Shown::of(&request, &number);
        let refusal =
            self.refusal(&request).or(shown.as_ref().err().map(|problem| (*problem).into()));
        let shown = shown.unwrap_or_default();
        let random = &mut self.exchange.random;
        let invite = Invite::new(transaction, request, flow, shown, random);
        let thread = self.thread_beside(&caller, &dialled);
        let invitation = Invitation { invite, caller, number, dialled, refusal, thread };
        match Call::invited(invitation, &mut self.exchange) {
            Ok(call) => {
                let name = call.name.clone();
                self.calls.insert(call);
                self.settle(&name);
            }
            Err(record) => self.exchange.outputs.push_back(Output::Record(record)),
        }
    }

    /// What makes a call impossible whoever asks for it.
    fn refusal(&self, request: &Request) -> Option<Release> {
        if self.is_stopping || self.calls.len() >= CALLS_MAX {
            let text = if self.is_stopping { "told to end" } else { "too many calls" };
            let release = Release::of_status(Status::SERVICE_UNAVAILABLE, text);
            return Some(release.retry_after(RETRY_AFTER_S));
        }
        let merged = Shared::Invite(identity_of(request));
        if !self.calls.sharing(&merged).is_empty() {
            let text = "the same INVITE on another way";
            return Some(Release::of_status(Status::LOOP_DETECTED, text));
        }
        let (status, text) = match (request.headers.max_forwards(), &request.uri) {
            (Err(_), _) => (Status::BAD_REQUEST, "Max-Forwards does not read"),
            (Ok(Some(0)), _) => (Status::TOO_MANY_HOPS, "no hops are left"),
            (_, Uri::Other(_)) => (Status::UNSUPPORTED_URI_SCHEME, "neither sip nor tel"),
            _ => return unsupported(request),
        };
        Some(Release::of_status(status, text))
    }

    /// Where the other call of whoever calls, or is called, is: only there may one be transferred to the
    /// other. Who has more than a few is no person, and spread.
    fn thread_beside(&self, caller: &Peer, dialled: &str) -> Option<usize> {
        let callee = || self.exchange.routes.user_dialled(dialled).map(|user| user.name.clone());
        let of_caller = match caller {
            Peer::User(user) => self.thread_of(user),
            Peer::Trunk(_) => None,
        };
        of_caller.or_else(|| self.thread_of(&callee()?))
    }

    fn thread_of(&self, user: &str) -> Option<usize> {
        let others = self.calls.first_sharing(&Shared::User(user.to_owned()), OTHER_CALLS_MAX + 1);
        let other = others.first().filter(|_| others.len() <= OTHER_CALLS_MAX)?;
        self.calls.get(other)?.thread
    }

    /// How an authenticated user appears to whom it calls: never as it claims itself. Toward a
    /// trunk by its first number if it has one, toward another user by its name.
    fn number_of(&self, user: &str, dialled: &str) -> String {
        let is_internal = self.exchange.routes.user_dialled(dialled).is_some();
        if is_internal { user.to_owned() } else { self.exchange.routes.number_of(user).to_owned() }
    }
}

/// What a REGISTER asks for, with its Call-ID and CSeq number.
fn read_registration(request: &Request) -> Result<(Change, String, u32), BadHeader> {
    let headers = &request.headers;
    let expires_s = headers.expires_s()?;
    let change = match headers.contacts()? {
        Contacts::Any if expires_s == Some(0) => Change::Clear,
        Contacts::Any => return Err(BadHeader(HeaderName::Contact)),
        Contacts::List(contacts) if contacts.is_empty() => Change::Query,
        Contacts::List(contacts) => {
            let read = |contact: NameAddr| Contact {
                uri: contact.uri.to_string(),
                instance: contact.instance().map(str::to_owned),
                reg_id: contact.reg_id(),
                expires_s: contact.expires_s().or(expires_s),
            };
            Change::Contacts(contacts.into_iter().map(read).collect())
        }
    };
    Ok((change, headers.call_id()?.to_owned(), headers.cseq()?.number))
}

/// The number that a trunk says is calling; empty when it says none.
fn number_from(request: &Request) -> String {
    let from = request.headers.from().ok();
    let number = from.as_ref().and_then(|from| from.uri.subscriber());
    number.filter(|number| number.len() <= DIALLED_BYTES_MAX).unwrap_or_default().to_owned()
}
