//! The test trunk's SIP side, sans-IO: a user agent server over UDP (RFC 3261 §8.2, §13.3) that
//! answers some numbers after a second of ringing, is busy at others, and knows no more. Its media
//! is left to the endpoint, sockets and time to the shell around it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Number;
use crate::base::random::Random;
use crate::sip::dialog::{Dialog, DialogId};
use crate::sip::transaction::{
    Flow, Output as Exchange, ServerTransactionId, Transactions, overloaded,
};
use crate::wire::coding::Codec;
use crate::wire::sdp::{Agreement, Direction, Session, TrunkOffer, TrunkSide, author_trunk_answer};
use crate::wire::sip::{
    HeaderName, Host, Method, NameAddr, Request, Response, SentBy, Status, Uri,
};

/// Calls at once: a demonstration, not a load generator.
const CALLS_MAX: usize = 100;
/// From 180 to 200.
const RINGING_TIME: Duration = Duration::from_secs(1);
/// A call that nobody ends is ended after this.
const CALL_TIME_MAX: Duration = Duration::from_secs(3600);
const CODECS: [Codec; 2] = [Codec::Pcmu, Codec::Pcma];
const METHODS: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";

/// A call of the trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CallId(u64);

/// What the shell is to do.
#[derive(Debug, PartialEq)]
pub(super) enum Output {
    /// Send a SIP datagram.
    Send { to: SocketAddr, bytes: Vec<u8> },
    /// Open RTP ports for a call and say which with [`Calls::ports_opened`].
    OpenPorts { call: CallId },
    /// The call is answered: send and receive.
    Start { call: CallId, number: Number, agreement: Agreement, remote: SocketAddr },
    /// The call has ended: close its ports.
    Stop { call: CallId },
}

/// One call.
struct Call {
    transaction: ServerTransactionId,
    invite: Request,
    dialog: Dialog,
    flow: Flow,
    number: Number,
    offer: TrunkOffer,
    agreement: Agreement,
    remote: SocketAddr,
    state: State,
}

/// In protocol order.
enum State {
    /// Ports are being opened.
    Invited,
    /// 180 was sent; answered at this time, or never.
    Ringing { rtp: SocketAddr, answer_at: Option<Instant> },
    /// 200 was sent.
    Talking { end_at: Instant },
}

/// All calls.
pub(super) struct Calls {
    address: SocketAddr,
    transactions: Transactions,
    calls: BTreeMap<CallId, Call>,
    calls_made: u64,
    outputs: VecDeque<Output>,
}

impl Calls {
    /// A trunk at `address`.
    pub(super) fn new(address: SocketAddr, random: &mut Random) -> Self {
        let sent_by = SentBy { host: Host::from(address.ip()), port: Some(address.port()) };
        Self {
            address,
            transactions: Transactions::new(sent_by.clone(), sent_by, random),
            calls: BTreeMap::new(),
            calls_made: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Takes a SIP datagram.
    pub(super) fn receive(&mut self, datagram: &[u8], from: SocketAddr, now: Instant) {
        self.transactions.receive_bytes(datagram, Flow::Udp(from), now);
        self.exchange(now);
    }

    /// Goes on with a call whose ports are open, or refuses it because there are none.
    pub(super) fn ports_opened(&mut self, id: CallId, rtp: Option<SocketAddr>, now: Instant) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(rtp) = rtp else {
            let response = overloaded(&call.invite);
            self.transactions.respond(call.transaction, response, now);
            self.calls.remove(&id);
            return;
        };
        let answer_at = (call.number != Number::NoAnswer).then_some(now + RINGING_TIME);
        call.state = State::Ringing { rtp, answer_at };
        let response = call.response(Status::RINGING);
        self.transactions.respond(call.transaction, response, now);
    }

    /// Ends a call from this side.
    pub(super) fn hang_up(&mut self, id: CallId, now: Instant, random: &mut Random) {
        let Some(mut call) = self.calls.remove(&id) else { return };
        let bye = call.dialog.request(Method::Bye);
        // A full table means that nobody listens; then there is nobody to say it to.
        let _ = self.transactions.request(bye, call.flow, now, random);
        self.outputs.push_back(Output::Stop { call: id });
    }

    /// What is to be done next.
    pub(super) fn poll_output(&mut self, now: Instant) -> Option<Output> {
        self.exchange(now);
        self.outputs.pop_front()
    }

    /// When [`Calls::handle_timeout`] wants to be called.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let calls = self.calls.values().filter_map(|call| match call.state {
            State::Invited => None,
            State::Ringing { answer_at, .. } => answer_at,
            State::Talking { end_at } => Some(end_at),
        });
        calls.chain(self.transactions.next_timeout()).min()
    }

    /// Answers and ends what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, random: &mut Random) {
        self.transactions.handle_timeout(now);
        let mut over = Vec::new();
        for (id, call) in &mut self.calls {
            match call.state {
                State::Ringing { rtp, answer_at: Some(at) } if at <= now => {
                    let side = TrunkSide {
                        session: Session::new(random),
                        rtp,
                        rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1),
                        wanted: Direction::SendReceive,
                    };
                    let sdp = author_trunk_answer(&call.offer, &side, &call.agreement);
                    let response = call.response(Status::OK).with_body("application/sdp", sdp);
                    self.transactions.respond(call.transaction, response, now);
                    call.state = State::Talking { end_at: now + CALL_TIME_MAX };
                    self.outputs.push_back(Output::Start {
                        call: *id,
                        number: call.number,
                        agreement: call.agreement.clone(),
                        remote: call.remote,
                    });
                }
                State::Talking { end_at } if end_at <= now => over.push(*id),
                _ => {}
            }
        }
        for id in over {
            self.hang_up(id, now, random);
        }
        self.exchange(now);
    }

    /// Moves on what the transactions have to say.
    fn exchange(&mut self, now: Instant) {
        while let Some(exchange) = self.transactions.poll_output() {
            match exchange {
                Exchange::Send { flow: Flow::Udp(to), bytes } => {
                    self.outputs.push_back(Output::Send { to, bytes });
                }
                Exchange::Request { transaction, request, flow } => {
                    self.request(transaction, request, flow, now);
                }
                Exchange::Cancelled { transaction, .. } => {
                    if let Some((id, call)) = self.take(|call| call.transaction == transaction) {
                        let response = call.response(Status::REQUEST_TERMINATED);
                        self.transactions.respond(transaction, response, now);
                        self.outputs.push_back(Output::Stop { call: id });
                    }
                }
                Exchange::Unacknowledged { transaction } => {
                    if let Some((id, _)) = self.take(|call| call.transaction == transaction) {
                        self.outputs.push_back(Output::Stop { call: id });
                    }
                }
                // Of our BYE nothing more is expected; there are no web flows here.
                Exchange::Send { flow: Flow::Web(_), .. }
                | Exchange::Ack { .. }
                | Exchange::Response { .. }
                | Exchange::Failed { .. } => {}
            }
        }
    }

    fn request(
        &mut self,
        transaction: ServerTransactionId,
        request: Request,
        flow: Flow,
        now: Instant,
    ) {
        let dialog = DialogId::of_request(&request.headers);
        let response = match (&request.method, dialog) {
            (Method::Invite, None) => match self.invited(transaction, &request, flow) {
                Ok(()) => return,
                Err(status) => Response::to(&request, status),
            },
            // One offer a call.
            (Method::Invite, Some(_)) => Response::to(&request, Status::NOT_ACCEPTABLE_HERE),
            (Method::Bye, Some(dialog)) => match self.take(|call| call.dialog.id == dialog) {
                Some((id, _)) => {
                    self.outputs.push_back(Output::Stop { call: id });
                    Response::to(&request, Status::OK)
                }
                None => Response::to(&request, Status::CALL_DOES_NOT_EXIST),
            },
            (Method::Bye, None) => Response::to(&request, Status::CALL_DOES_NOT_EXIST),
            (Method::Options, _) => with_methods(Response::to(&request, Status::OK)),
            _ => with_methods(Response::to(&request, Status::METHOD_NOT_ALLOWED)),
        };
        self.transactions.respond(transaction, response, now);
    }

    /// Takes a new call, or says with which status it is refused.
    fn invited(
        &mut self,
        transaction: ServerTransactionId,
        invite: &Request,
        flow: Flow,
    ) -> Result<(), Status> {
        let number = invite.uri.user().and_then(Number::of).ok_or(Status::NOT_FOUND)?;
        if number == Number::Busy {
            return Err(Status::BUSY_HERE);
        }
        if self.calls.len() >= CALLS_MAX {
            return Err(Status::SERVICE_UNAVAILABLE);
        }
        let sdp = std::str::from_utf8(&invite.body).map_err(|_| Status::NOT_ACCEPTABLE_HERE)?;
        let offer = TrunkOffer::parse(sdp).map_err(|_| Status::NOT_ACCEPTABLE_HERE)?;
        let agreement = offer.agree(&CODECS).map_err(|_| Status::NOT_ACCEPTABLE_HERE)?;
        let remote = offer.audio.remote.ok_or(Status::NOT_ACCEPTABLE_HERE)?;

        let host = Host::from(self.address.ip());
        let contact = NameAddr::new(Uri::sip(invite.uri.user(), host, Some(self.address.port())));
        let tag = self.transactions.to_tag(invite);
        let dialog = Dialog::from_invite(invite, &tag, contact).map_err(|_| Status::BAD_REQUEST)?;
        self.calls_made += 1;
        let id = CallId(self.calls_made);
        let state = State::Invited;
        let invite = invite.clone();
        let call =
            Call { transaction, invite, dialog, flow, number, offer, agreement, remote, state };
        self.calls.insert(id, call);
        self.outputs.push_back(Output::OpenPorts { call: id });
        Ok(())
    }

    fn take(&mut self, is_meant: impl Fn(&Call) -> bool) -> Option<(CallId, Call)> {
        let id = *self.calls.iter().find(|(_, call)| is_meant(call))?.0;
        self.calls.remove(&id).map(|call| (id, call))
    }
}

impl Call {
    /// A response that keeps the dialog.
    fn response(&self, status: Status) -> Response {
        let mut response = Response::to(&self.invite, status);
        // The parser has read these headers; without them the other end drops the response.
        let _ = self.dialog.complete(&self.invite, &mut response);
        with_methods(response)
    }
}

fn with_methods(mut response: Response) -> Response {
    response.headers.set(HeaderName::Allow, METHODS);
    response
}

#[cfg(test)]
mod tests;
