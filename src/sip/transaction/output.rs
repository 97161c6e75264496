//! What goes in and out of the transactions: flows, names, and the list of what may happen.

#[cfg(doc)]
use super::Transactions;
use crate::wire::sip::{Reason, Request, Response};
use std::net::SocketAddr;

/// Where a message came from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
pub struct ServerTransactionId(pub(super) u64);

/// A request we sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientTransactionId(pub(super) u64);

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
    /// The INVITE was cancelled before its final response, or nobody has answered it for
    /// [`RINGING_MAX`](super::RINGING_MAX) since the last provisional one: answer it 487. A CANCEL
    /// itself has been answered.
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
