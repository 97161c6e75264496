//! Server transactions: INVITE (RFC 3261 §17.2.1, RFC 6026 §8.7, 2xx repeated as §13.3.1.4 asks) and
//! the others (§17.2.2).
//!
//! ```text
//! INVITE   Trying ─1xx► Proceeding ─2xx► Accepted ─────────────L──► Over
//!                         └C─► Cancelled
//!                         └300+► Completed ─ACK► Confirmed ─I──► Over
//! others   Trying ─1xx► Proceeding ─final► Completed ─────────J──► Over
//! ```

use super::timer::{Deadlines, Due, RINGING_MAX, T2, T4, TRANSACTION_LIFETIME, TRYING_DELAY};
use super::{Flow, Output, ServerTransactionId};
use crate::wire::sip::{Method, Reason, Request, Response, Status};
use std::collections::VecDeque;
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Server {
    id: ServerTransactionId,
    kind: Kind,
    /// Where the request came from.
    pub(super) flow: Flow,
    /// Where responses go (RFC 3261 §18.2.2, RFC 3581 §4).
    reply_to: Flow,
    state: State,
    /// The last response; in Trying the 100 that goes out if nothing else does in time.
    bytes: Vec<u8>,
    acknowledged: bool,
    cancelled: bool,
    pub(super) deadlines: Deadlines,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Invite,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Accepted,
    Completed,
    Confirmed,
    Over,
}

impl Server {
    pub(super) fn start(
        id: ServerTransactionId,
        request: &Request,
        flow: Flow,
        reply_to: Flow,
        now: Instant,
    ) -> Self {
        let kind = if request.method == Method::Invite { Kind::Invite } else { Kind::Other };
        let mut deadlines = Deadlines::default();
        let mut bytes = Vec::new();
        match kind {
            Kind::Invite => {
                bytes = Response::to(request, Status::TRYING).to_bytes();
                deadlines.send_after(TRYING_DELAY, now);
                deadlines.end_at(now + RINGING_MAX);
            }
            // The client has given up by then, and a 408 would be wrong (RFC 4320 §4.2).
            Kind::Other => deadlines.end_at(now + TRANSACTION_LIFETIME),
        }
        Self {
            id,
            kind,
            flow,
            reply_to,
            state: State::Trying,
            bytes,
            acknowledged: false,
            cancelled: false,
            deadlines,
        }
    }

    pub(super) fn id(&self) -> ServerTransactionId {
        self.id
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The request came again.
    pub(super) fn receive_again(&self, outputs: &mut VecDeque<Output>) {
        // In Accepted the 2xx is repeated by its own timer (RFC 6026 §7.1).
        if matches!(self.state, State::Proceeding | State::Completed) {
            self.send(outputs);
        }
    }

    /// An ACK with the INVITE's own branch, hence to a final response that was no 2xx.
    pub(super) fn receive_ack(&mut self, now: Instant) {
        if self.state == State::Completed {
            self.deadlines.stop_repeating();
            self.deadlines.end_at(now + T4);
            self.state = if self.flow.is_reliable() { State::Over } else { State::Confirmed };
        }
    }

    /// Whether this is the first ACK to our 2xx.
    pub(super) fn receive_ack_of_success(&mut self) -> bool {
        let first = self.state == State::Accepted && !self.acknowledged;
        if first {
            self.acknowledged = true;
            self.deadlines.stop_repeating();
            self.bytes = Vec::new();
        }
        first
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.state == State::Accepted
    }

    /// A CANCEL for the INVITE; without effect after the final response (RFC 3261 §9.2).
    pub(super) fn receive_cancel(
        &mut self,
        reasons: Vec<Reason>,
        now: Instant,
        outputs: &mut VecDeque<Output>,
    ) {
        if self.kind == Kind::Invite && self.waits() && !self.cancelled {
            self.cancelled = true;
            self.deadlines.end_at(now + TRANSACTION_LIFETIME);
            outputs.push_back(Output::Cancelled { transaction: self.id, reasons });
        }
    }

    /// Whether the final response is still to come.
    fn waits(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding)
    }

    /// Sends a response, unless the final one has been sent.
    pub(super) fn respond(
        &mut self,
        response: &Response,
        now: Instant,
        outputs: &mut VecDeque<Output>,
    ) {
        if !self.waits() {
            return;
        }
        self.bytes = response.to_bytes();
        self.send(outputs);
        self.deadlines.stop_repeating();
        let status = response.status;
        let end = now + TRANSACTION_LIFETIME;
        match self.kind {
            _ if status.is_provisional() => {
                self.state = State::Proceeding;
                if self.kind == Kind::Invite && !self.cancelled {
                    self.deadlines.end_at(now + RINGING_MAX);
                }
            }
            Kind::Invite if status.is_success() => {
                self.state = State::Accepted;
                // Over every transport: the next hop may be reliable and the one behind it not.
                self.deadlines.repeat(now, T2);
                self.deadlines.end_at(end);
            }
            Kind::Invite => {
                self.state = State::Completed;
                self.deadlines.repeat_if_unreliable(self.flow, now, T2);
                self.deadlines.end_at(end);
            }
            Kind::Other if self.flow.is_reliable() => self.state = State::Over,
            Kind::Other => {
                self.state = State::Completed;
                self.deadlines.end_at(end);
            }
        }
    }

    /// Sends a response and remembers nothing.
    pub(super) fn respond_and_forget(
        &mut self,
        response: &Response,
        outputs: &mut VecDeque<Output>,
    ) {
        if self.waits() {
            self.bytes = response.to_bytes();
            self.send(outputs);
            self.state = State::Over;
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, outputs: &mut VecDeque<Output>) {
        match self.deadlines.take_due(now) {
            None => {}
            Some(Due::Repeat) => {
                self.send(outputs);
                if self.state == State::Trying {
                    self.state = State::Proceeding;
                    self.deadlines.stop_repeating();
                }
            }
            // It has rung too long; the user has another 32 s to answer for it.
            Some(Due::End) if self.kind == Kind::Invite && self.waits() && !self.cancelled => {
                self.receive_cancel(Vec::new(), now, outputs);
            }
            Some(Due::End) => {
                if self.state == State::Accepted && !self.acknowledged {
                    outputs.push_back(Output::Unacknowledged { transaction: self.id });
                }
                self.state = State::Over;
            }
        }
    }

    /// Nobody waits for an answer, or nobody is to get one.
    pub(super) fn abandon(&mut self) {
        self.state = State::Over;
    }

    fn send(&self, outputs: &mut VecDeque<Output>) {
        outputs.push_back(Output::Send { flow: self.reply_to, bytes: self.bytes.clone() });
    }
}
