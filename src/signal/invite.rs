//! The caller's INVITE and what it has been answered: provisional responses under one tag, our SDP
//! once before the answer and again in it, and one final response.

use std::sync::Arc;
use std::time::Instant;

use crate::base::opaque::opaque;
use crate::base::random::Random;
use crate::signal::exchange::{Exchange, PRODUCT};
use crate::signal::privacy::Shown;
use crate::signal::release::Release;
use crate::signal::reliable::{Due, Reliable};
use crate::signal::session_timer::SessionTimer;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::{Flow, ServerTransactionId};
use crate::wire::sip::{HeaderName, Request, Response, SDP, Status};

/// Hops left when the caller named none (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: u8 = 70;

/// The caller's INVITE.
pub struct Invite {
    /// Its transaction.
    pub transaction: ServerTransactionId,
    /// As it came.
    pub request: Request,
    /// Where it came from.
    pub flow: Flow,
    /// Who calls, as the other side is to see them.
    pub shown: Shown,
    /// [`identity_of`] it.
    pub identity: Arc<str>,
    state: State,
    /// Whether the caller has our SDP already.
    is_described: bool,
    /// Its provisional responses, where the caller acknowledges them.
    reliable: Option<Reliable>,
}

opaque!(Invite);

/// What it has been answered so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing beyond the 100.
    Trying,
    /// This provisional response, the last one.
    Proceeding(Status),
    /// 200; the ACK is awaited.
    Accepted,
    /// A failure; its transaction does the rest. Or the caller acknowledged the 200.
    Done,
}

/// What an INVITE has in common with another one only if both are the same, merged on different ways
/// (RFC 3261 §8.2.2.2).
pub fn identity_of(request: &Request) -> Arc<str> {
    let headers = &request.headers;
    let tag = headers.from().ok().and_then(|from| from.tag().map(str::to_owned));
    let number = headers.cseq().map_or(0, |cseq| cseq.number);
    format!("{}\n{}\n{number}", headers.call_id().unwrap_or_default(), tag.unwrap_or_default())
        .into()
}

impl Invite {
    /// An INVITE that has just come.
    pub fn new(
        transaction: ServerTransactionId,
        request: Request,
        flow: Flow,
        shown: Shown,
        random: &mut Random,
    ) -> Self {
        let reliable = Reliable::wanted_by(&request, random);
        let identity = identity_of(&request);
        let (state, is_described) = (State::Trying, false);
        Self { transaction, request, flow, shown, identity, state, is_described, reliable }
    }

    /// Whether no final response is out yet.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding(_))
    }

    /// Whether our 200 waits for its ACK.
    pub fn is_unacknowledged(&self) -> bool {
        self.state == State::Accepted
    }

    /// Whether the caller made no offer, so that ours goes in the 200 and its answer in the ACK.
    pub fn is_late_offer(&self) -> bool {
        !self.request.is_describing()
    }

    /// Hops that the call has left behind us.
    pub fn max_forwards(&self) -> u8 {
        Self::hops_left(&self.request)
    }

    /// The same of any request.
    pub fn hops_left(request: &Request) -> u8 {
        let left = request.headers.max_forwards().ok().flatten();
        left.unwrap_or(MAX_FORWARDS).saturating_sub(1)
    }

    /// Passes a provisional response on, with our SDP for early media. The caller hears each kind
    /// once, and our SDP once: a browser fails on a second answer. One who made no offer would
    /// find an offer in it, which only a reliable response may carry (RFC 3262 §5). `true` when
    /// something was said.
    pub fn proceed(
        &mut self,
        status: Status,
        early_media: Option<&str>,
        dialog: &Dialog,
        exchange: &mut Exchange,
    ) -> bool {
        let sdp = early_media.filter(|_| !self.is_described && !self.is_late_offer());
        if !self.is_open() || (self.state == State::Proceeding(status) && sdp.is_none()) {
            return false;
        }
        self.state = State::Proceeding(status);
        self.is_described |= sdp.is_some();
        let response = self.response(status, sdp, dialog, exchange);
        let response = match &mut self.reliable {
            Some(reliable) => reliable.send(response, exchange.now),
            None => Some(response),
        };
        if let Some(response) = response {
            exchange.transactions.respond(self.transaction, response, exchange.now);
        }
        true
    }

    /// A PRACK: the response to it, and the next provisional one goes out.
    pub fn provisional_acknowledged(&mut self, prack: &Request, exchange: &mut Exchange) -> Status {
        let Some(reliable) = &mut self.reliable else { return Status::CALL_DOES_NOT_EXIST };
        if !reliable.acknowledged(prack) {
            return Status::CALL_DOES_NOT_EXIST;
        }
        if let Some(next) = reliable.next(exchange.now) {
            exchange.transactions.respond(self.transaction, next, exchange.now);
        }
        Status::OK
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.reliable.as_ref()?.next_timeout()
    }

    /// Repeats a provisional response that was not acknowledged; `true`: it never will be.
    pub fn handle_timeout(&mut self, exchange: &mut Exchange) -> bool {
        let Some(reliable) = &mut self.reliable else { return false };
        match reliable.handle_timeout(exchange.now) {
            Due::Nothing => false,
            Due::Again(response) => {
                exchange.transactions.respond(self.transaction, *response, exchange.now);
                false
            }
            Due::GivenUp => true,
        }
    }

    /// Answers 200 with our SDP, which is there whatever a 183 had: JsSIP ends a call without it.
    pub fn accept(
        &mut self,
        sdp: Option<&str>,
        timer: &SessionTimer,
        dialog: &Dialog,
        exchange: &mut Exchange,
    ) {
        if self.is_open() {
            self.state = State::Accepted;
            self.reliable = None;
            let mut ok = self.response(Status::OK, sdp, dialog, exchange);
            timer.confirm(&mut ok);
            exchange.transactions.respond(self.transaction, ok, exchange.now);
        }
    }

    /// Answers with a failure, under the tag that the provisional responses had.
    pub fn refuse(&mut self, release: &Release, tag: &str, exchange: &mut Exchange) {
        if self.is_open() {
            self.state = State::Done;
            self.reliable = None;
            let mut response = release.response(&self.request);
            // The INVITE's fields were read when the dialog was made of them.
            let _ = response.set_to_tag(tag);
            exchange.transactions.respond(self.transaction, response, exchange.now);
        }
    }

    /// The ACK to our 200 came, or cannot come any more. `true` when it was waited for.
    pub fn acknowledged(&mut self) -> bool {
        let was_awaited = self.is_unacknowledged();
        if was_awaited {
            self.state = State::Done;
        }
        was_awaited
    }

    fn response(
        &self,
        status: Status,
        sdp: Option<&str>,
        dialog: &Dialog,
        exchange: &Exchange,
    ) -> Response {
        let mut response = Response::to(&self.request, status);
        // As above: the fields were read before.
        let _ = dialog.complete(&self.request, &mut response);
        response.headers.push(HeaderName::Server, PRODUCT);
        response.headers.push(HeaderName::Allow, exchange.allow(self.flow));
        match sdp {
            Some(sdp) => response.with_body(SDP, sdp),
            None => response,
        }
    }
}
