//! Client transactions: INVITE (RFC 3261 §17.1.1, RFC 6026 §8.4) and the others (§17.1.2), CANCEL
//! among them.
//!
//! ```text
//! INVITE   Trying ─1xx► Proceeding ─2xx► Accepted ──────M──► Over
//!             └─B─► Failed   └─C─► CANCEL  └300+► Completed ─D─► Over
//! others   Trying ─1xx► Proceeding ─final► Completed ─K──► Over
//! ```

use super::timer::{Deadlines, Due, RINGING_MAX, T2, T4, TRANSACTION_LIFETIME};
use super::{ClientTransactionId, Failure, Flow, Output};
use crate::wire::sip::{CSeq, HeaderName, Headers, Method, Reason, Request, Response};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Client {
    id: ClientTransactionId,
    kind: Kind,
    pub(super) flow: Flow,
    /// For its ACK and CANCEL; without the body, which `bytes` has.
    request: Request,
    /// What is repeated: the request, or in Completed the ACK.
    bytes: Vec<u8>,
    state: State,
    cancel: Cancel,
    pub(super) deadlines: Deadlines,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Invite,
    /// Answered for us, not for the user.
    Cancel,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Accepted,
    Completed,
    Over,
}

#[derive(Debug)]
enum Cancel {
    No,
    /// Wanted, but there has been no provisional response yet (RFC 3261 §9.1).
    Wanted(Option<String>),
    Sent,
}

/// A CANCEL that is now to be sent as a transaction of its own.
#[must_use]
pub(super) struct CancelRequest(pub(super) Option<Request>);

impl Client {
    /// Sends the request, whose top Via is in place.
    pub(super) fn start(
        id: ClientTransactionId,
        mut request: Request,
        flow: Flow,
        now: Instant,
        outputs: &mut VecDeque<Output>,
    ) -> Self {
        let kind = match request.method {
            Method::Invite => Kind::Invite,
            Method::Cancel => Kind::Cancel,
            _ => Kind::Other,
        };
        let bytes = request.to_bytes();
        request.body = Vec::new();
        outputs.push_back(Output::Send { flow, bytes: bytes.clone() });
        let mut deadlines = Deadlines::default();
        // Timer A doubles without end, timer E up to T2.
        let interval_max = if kind == Kind::Invite { Duration::MAX } else { T2 };
        deadlines.repeat_if_unreliable(flow, now, interval_max);
        deadlines.end_at(now + TRANSACTION_LIFETIME);
        Self { id, kind, flow, request, bytes, state: State::Trying, cancel: Cancel::No, deadlines }
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    pub(super) fn receive(
        &mut self,
        response: Response,
        now: Instant,
        outputs: &mut VecDeque<Output>,
    ) -> CancelRequest {
        match self.kind {
            Kind::Invite => return self.receive_for_invite(response, now, outputs),
            Kind::Cancel | Kind::Other => self.receive_for_other(response, now, outputs),
        }
        CancelRequest(None)
    }

    fn receive_for_invite(
        &mut self,
        response: Response,
        now: Instant,
        outputs: &mut VecDeque<Output>,
    ) -> CancelRequest {
        let waits = matches!(self.state, State::Trying | State::Proceeding);
        let status = response.status;
        if status.is_provisional() && waits {
            self.state = State::Proceeding;
            self.deadlines.stop_repeating();
            if !matches!(self.cancel, Cancel::Sent) {
                self.deadlines.end_at(now + RINGING_MAX);
            }
            self.report(response, outputs);
            return match std::mem::replace(&mut self.cancel, Cancel::No) {
                Cancel::Wanted(reason) => self.send_cancel(reason, now),
                other => {
                    self.cancel = other;
                    CancelRequest(None)
                }
            };
        }
        if status.is_success() && (waits || self.state == State::Accepted) {
            if waits {
                self.state = State::Accepted;
                self.deadlines.stop_repeating();
                self.deadlines.end_at(now + TRANSACTION_LIFETIME);
            }
            self.report(response, outputs);
        } else if status.is_failure() && waits {
            self.bytes = ack_failure(&self.request, &response).to_bytes();
            outputs.push_back(Output::Send { flow: self.flow, bytes: self.bytes.clone() });
            self.deadlines.stop_repeating();
            self.complete(now + TRANSACTION_LIFETIME);
            self.report(response, outputs);
        } else if status.is_failure() && self.state == State::Completed {
            outputs.push_back(Output::Send { flow: self.flow, bytes: self.bytes.clone() });
        }
        CancelRequest(None)
    }

    fn receive_for_other(
        &mut self,
        response: Response,
        now: Instant,
        outputs: &mut VecDeque<Output>,
    ) {
        if !matches!(self.state, State::Trying | State::Proceeding) {
            return;
        }
        if response.status.is_provisional() {
            self.state = State::Proceeding;
            self.deadlines.slow_down();
        } else {
            self.deadlines.stop_repeating();
            self.complete(now + T4);
        }
        self.report(response, outputs);
    }

    /// Completed absorbs retransmissions until `end`; a reliable flow brings none.
    fn complete(&mut self, end: Instant) {
        self.state = if self.flow.is_reliable() { State::Over } else { State::Completed };
        self.deadlines.end_at(end);
    }

    fn report(&self, response: Response, outputs: &mut VecDeque<Output>) {
        if self.kind != Kind::Cancel {
            outputs.push_back(Output::Response { transaction: self.id, response });
        }
    }

    /// The user wants the INVITE cancelled.
    pub(super) fn cancel(&mut self, reasons: &[Reason], now: Instant) -> CancelRequest {
        let reasons: Vec<String> = reasons.iter().map(Reason::to_string).collect();
        let reason = (!reasons.is_empty()).then(|| reasons.join(", "));
        match (self.kind, self.state, &self.cancel) {
            (Kind::Invite, State::Trying, Cancel::No) => {
                self.cancel = Cancel::Wanted(reason);
                CancelRequest(None)
            }
            (Kind::Invite, State::Proceeding, Cancel::No) => self.send_cancel(reason, now),
            _ => CancelRequest(None),
        }
    }

    fn send_cancel(&mut self, reason: Option<String>, now: Instant) -> CancelRequest {
        self.cancel = Cancel::Sent;
        self.deadlines.end_at(now + TRANSACTION_LIFETIME);
        let mut cancel = follow_up(&self.request, Method::Cancel);
        cancel.headers.copy(&HeaderName::To, &self.request.headers);
        if let Some(reason) = reason {
            cancel.headers.push(HeaderName::Reason, reason);
        }
        CancelRequest(Some(cancel))
    }

    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        outputs: &mut VecDeque<Output>,
    ) -> CancelRequest {
        match self.deadlines.take_due(now) {
            None => {}
            Some(Due::Repeat) => {
                outputs.push_back(Output::Send { flow: self.flow, bytes: self.bytes.clone() });
            }
            Some(Due::End) => {
                let rings = self.kind == Kind::Invite && self.state == State::Proceeding;
                if rings && !matches!(self.cancel, Cancel::Sent) {
                    return self.send_cancel(None, now);
                }
                self.fail(Failure::Timeout, outputs);
            }
        }
        CancelRequest(None)
    }

    /// Ends the transaction; the user hears of it if it still waits.
    pub(super) fn fail(&mut self, failure: Failure, outputs: &mut VecDeque<Output>) {
        let waits = matches!(self.state, State::Trying | State::Proceeding);
        if waits && self.kind != Kind::Cancel {
            outputs.push_back(Output::Failed { transaction: self.id, failure });
        }
        self.state = State::Over;
    }
}

/// The ACK to a final response that is no 2xx (RFC 3261 §17.1.1.3).
fn ack_failure(invite: &Request, response: &Response) -> Request {
    let mut ack = follow_up(invite, Method::Ack);
    ack.headers.copy(&HeaderName::To, &response.headers);
    ack
}

/// What ACK and CANCEL share with their INVITE: Request-URI, top Via, Route, From, Call-ID and the
/// CSeq number (RFC 3261 §9.1, §17.1.1.3).
fn follow_up(invite: &Request, method: Method) -> Request {
    let mut request = Request::new(method.clone(), invite.uri.clone());
    let headers: &mut Headers = &mut request.headers;
    for name in [HeaderName::Via, HeaderName::Route, HeaderName::From, HeaderName::CallId] {
        headers.copy(&name, &invite.headers);
    }
    if let Ok(CSeq { number, .. }) = invite.headers.cseq() {
        headers.push(HeaderName::CSeq, CSeq { number, method });
    }
    headers.push(HeaderName::MaxForwards, super::MAX_FORWARDS);
    request
}
