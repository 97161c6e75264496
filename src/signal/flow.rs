//! Flows: the WebSocket connections that browsers hold open, one SIP message a WebSocket message
//! (RFC 7118). The web front pushes [`FlowEvent`]s into the engine's queue; the engine answers on
//! the flow's own bounded queue with `try_send`. A full queue means a reader slower than its calls:
//! that flow is cut off rather than waited for.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Messages queued toward one browser. A call is a dozen messages; a browser behind by 64 is gone.
pub const OUTGOING_MAX: usize = 64;
/// The longest SIP message taken from or sent to a browser: offers are 5–10 KB.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// One WebSocket connection, numbered from 1 and never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowId(pub u64);

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flow {}", self.0)
    }
}

/// What the web front tells the engine.
#[derive(Debug)]
pub enum FlowEvent {
    /// A WebSocket was accepted (subprotocol `sip`, Origin allowed).
    Opened {
        /// Its number.
        flow: FlowId,
        /// The browser's address.
        peer: SocketAddr,
        /// What the engine sends to it; dropping it closes the WebSocket.
        to_browser: mpsc::Sender<Outgoing>,
    },
    /// One WebSocket message, at most [`MESSAGE_BYTES_MAX`].
    Message {
        /// The connection it came on.
        flow: FlowId,
        /// A SIP message, or a keep-alive of line ends (RFC 5626 §3.5.1).
        bytes: Vec<u8>,
    },
    /// The connection is gone.
    Closed {
        /// The connection.
        flow: FlowId,
    },
}

/// What the engine tells a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Send one text message.
    Message(Vec<u8>),
    /// A request on this flow carried good credentials: the web front's bounds for strangers, in
    /// time and per source address, no longer apply to it. Sent once or more often.
    Authenticated,
}
