//! Transactions: the four machines of RFC 3261 §17 with RFC 6026, and the 2xx retransmissions of
//! §13.3.1.4, for every flow in one sans-IO engine.
//!
//! ```text
//! bytes, flow ──► receive_bytes ──► Request │ Ack │ Cancelled │ Response │ Failed │ Unacknowledged
//! respond, request, cancel ───────► Send { flow, bytes }
//! ```
//!
//! Malformed requests are answered here, statelessly; the rest never reaches the user. INVITEs get
//! their 100 here at once. CANCEL is answered 200 here, and the INVITE's 487 is the user's to send:
//! only it knows whether its other leg has just answered. Dialogs, authentication and which methods
//! exist are the user's.

use crate::base::random::Random;
use crate::wire::sip::{HeaderName, Malformed, Message, Reason, Request, Response, SentBy, Status};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Round-trip estimate, RFC 3261 §17.1.1.1.
pub const T1: Duration = Duration::from_millis(500);
/// Longest interval between retransmissions of non-INVITE requests and INVITE responses.
pub const T2: Duration = Duration::from_secs(4);
/// How long a message may stay in the network.
pub const T4: Duration = Duration::from_secs(5);
/// 64·T1: timers B, F, H, J, L and M.
pub const TRANSACTION_LIFETIME: Duration = Duration::from_secs(32);
/// A called party that still rings after this is cancelled (timer C of RFC 3261 §16.6: more than
/// three minutes).
pub const RINGING_MAX: Duration = Duration::from_secs(190);
/// Most transactions at once, both roles. At about 4 KiB each this bounds them to 80 MiB.
pub const TRANSACTIONS_MAX: usize = 20_000;
/// What a refused newcomer is told to wait.
pub const RETRY_AFTER_S: u32 = 5;

/// Where a message came from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// A datagram from or to this address.
    Udp(SocketAddr),
    /// The WebSocket connection with this number.
    Web(u64),
}

impl Flow {
    /// Whether the transport retransmits by itself, so that SIP does not (RFC 3261 §17).
    pub fn is_reliable(self) -> bool {
        matches!(self, Flow::Web(_))
    }
}

/// A request we received and answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerTransactionId(u64);

/// A request we sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientTransactionId(u64);

/// What the engine wants done, or has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Put these bytes on the flow: one datagram, or one WebSocket message.
    Send {
        /// Where to.
        flow: Flow,
        /// One whole message.
        bytes: Vec<u8>,
    },
    /// A new request other than ACK and CANCEL. Answer it with [`Transactions::respond`] or
    /// [`Transactions::respond_and_forget`].
    Request {
        /// Names the request in `respond`.
        transaction: ServerTransactionId,
        /// As it came; on UDP its top Via has `received` and `rport` filled in.
        request: Request,
        /// Where it came from.
        flow: Flow,
    },
    /// An ACK to a 2xx. Those to other finals are absorbed.
    Ack {
        /// The INVITE it acknowledges. `None` if that is not known here, as after a restart: match
        /// it to its dialog.
        transaction: Option<ServerTransactionId>,
        /// The ACK, perhaps with an SDP answer.
        request: Request,
        /// Where it came from.
        flow: Flow,
    },
    /// The INVITE was cancelled before its final response; answer it 487. The CANCEL itself has
    /// been answered.
    Cancelled {
        /// The INVITE.
        transaction: ServerTransactionId,
        /// Why, if the CANCEL says so (RFC 3326).
        reasons: Vec<Reason>,
    },
    /// A response to a request of ours. Each retransmission of a 2xx to an INVITE comes again: send
    /// its ACK again with [`Transactions::send_stateless`]. Other finals are acknowledged here.
    Response {
        /// The request.
        transaction: ClientTransactionId,
        /// 100 included.
        response: Response,
    },
    /// A request of ours will get no (further) response.
    Failed {
        /// The request.
        transaction: ClientTransactionId,
        /// Why.
        failure: Failure,
    },
    /// Our 2xx was never acknowledged within 64·T1: the session is to be ended with BYE
    /// (RFC 3261 §13.3.1.4).
    Unacknowledged {
        /// The INVITE.
        transaction: ServerTransactionId,
    },
}

/// Why a request of ours got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Silence until timer B, F or M; stands for 408 (RFC 3261 §8.1.3.1).
    Timeout,
    /// The flow closed; stands for 503.
    Transport,
}

/// Every place is taken ([`TRANSACTIONS_MAX`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTransactions;

/// All transactions of a process.
pub struct Transactions {}

impl Transactions {
    /// `udp` and `web` are what our Vias say we listen on, on each kind of flow. `random` makes the
    /// secret behind stateless To tags.
    pub fn new(_udp: SentBy, _web: SentBy, _random: &mut Random) -> Self {
        unimplemented!()
    }

    /// Takes what came on a flow: a message, a keep-alive, or garbage. Malformed requests are
    /// answered, other garbage is counted. On a WebSocket a double CRLF is answered by one
    /// (RFC 5626 §3.5.1).
    pub fn receive_bytes(&mut self, _bytes: &[u8], _flow: Flow, _now: Instant) {
        unimplemented!()
    }

    /// Takes a message.
    pub fn receive(&mut self, _message: Message, _flow: Flow, _now: Instant) {
        unimplemented!()
    }

    /// Sends a request of ours with a Via and a branch of its own, and Max-Forwards if it has none.
    /// Not for ACK ([`Transactions::send_stateless`]) and CANCEL ([`Transactions::cancel`]).
    pub fn request(
        &mut self,
        _request: Request,
        _flow: Flow,
        _now: Instant,
        _random: &mut Random,
    ) -> Result<ClientTransactionId, TooManyTransactions> {
        unimplemented!()
    }

    /// Answers a request; provisional responses may come before the final one. A 2xx to an INVITE is
    /// repeated until its ACK. A To tag is added where one is missing ([`Transactions::to_tag`]).
    /// Responses after the final one, or to a transaction that is gone, are dropped.
    pub fn respond(&mut self, _server: ServerTransactionId, _response: Response, _now: Instant) {
        unimplemented!()
    }

    /// Answers a request and forgets it at once, as a stateless server does (RFC 3261 §8.2.7): for
    /// challenges and refusals of requests from people we do not know, who must not fill the table.
    /// A retransmission comes as a new request and, over UDP, must be answered again.
    pub fn respond_and_forget(&mut self, _server: ServerTransactionId, _response: Response) {
        unimplemented!()
    }

    /// Cancels an INVITE of ours (RFC 3261 §9.1): at once if a provisional response has come, else
    /// when one comes. Its final response, usually 487, is still reported; silence for 64·T1 becomes
    /// [`Output::Failed`].
    pub fn cancel(
        &mut self,
        _client: ClientTransactionId,
        _reason: Option<&Reason>,
        _now: Instant,
    ) {
        unimplemented!()
    }

    /// Sends a request outside any transaction, with a Via of its own: the ACK to a 2xx
    /// (RFC 3261 §13.2.2.4).
    pub fn send_stateless(&mut self, _request: Request, _flow: Flow, _random: &mut Random) {
        unimplemented!()
    }

    /// The To tag that [`Transactions::respond`] adds to responses of this request: the same for
    /// each retransmission, without any state.
    pub fn to_tag(&self, _request: &Request) -> String {
        unimplemented!()
    }

    /// A flow is gone, or an ICMP error says that nobody is there: our requests on it fail, and
    /// those that came on it are forgotten without a word; whoever closes the flow knows.
    pub fn flow_closed(&mut self, _flow: Flow) {
        unimplemented!()
    }

    /// The next thing to do; call until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        unimplemented!()
    }

    /// When [`Transactions::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, _now: Instant) {
        unimplemented!()
    }

    /// How many transactions there are, both roles.
    pub fn len(&self) -> usize {
        unimplemented!()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many datagrams were malformed, by what was wrong.
    pub fn malformed(&self) -> impl Iterator<Item = (Malformed, u64)> {
        std::iter::empty()
    }
}

/// A `503` with `Retry-After`, for whoever is full.
pub fn overloaded(request: &Request) -> Response {
    let mut response = Response::to(request, Status::SERVICE_UNAVAILABLE);
    response.headers.push(HeaderName::RetryAfter, RETRY_AFTER_S);
    response
}
