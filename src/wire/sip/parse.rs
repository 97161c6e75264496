//! The parser.

use super::{Headers, Message, Response, Status};

/// What is wrong with a message that is no SIP message. One counter each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Malformed {
    /// Larger than allowed.
    TooLarge,
    /// No request or status line.
    StartLine,
}

/// Why a datagram gave no message, and what RFC 3261 wants done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unparsable {
    /// A request that can be told so: answer with [`Unparsable::response`].
    Refuse {
        /// 400, 505, 513 or 414.
        status: Status,
        /// What is wrong.
        problem: Malformed,
        /// The fields that could be read, Via first.
        headers: Box<Headers>,
    },
    /// A response, an ACK, or nothing that could be answered: say nothing.
    Silence(Malformed),
}

impl Unparsable {
    /// What is wrong.
    pub fn problem(&self) -> Malformed {
        match self {
            Unparsable::Refuse { problem, .. } | Unparsable::Silence(problem) => *problem,
        }
    }

    /// The answer, without a To tag; `None` for silence.
    pub fn response(&self) -> Option<Response> {
        match self {
            Unparsable::Refuse { status, headers, .. } => {
                Some(Response::answering(headers, *status))
            }
            Unparsable::Silence(_) => None,
        }
    }
}

/// Reads one UDP datagram. A Content-Length shorter than the body trims it, a longer one is refused
/// (RFC 3261 §18.3).
pub fn parse_datagram(_bytes: &[u8]) -> Result<Message, Unparsable> {
    unimplemented!()
}

/// Reads one WebSocket message. Content-Length may be absent; if present it must be the body's
/// length (RFC 7118 §5.2: one SIP message a WebSocket message).
pub fn parse_websocket(_bytes: &[u8]) -> Result<Message, Unparsable> {
    unimplemented!()
}
