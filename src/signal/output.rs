//! What leaves the engine: messages, lines and records for the shell to deliver.

use std::net::SocketAddr;

use crate::signal::flow::FlowId;
use crate::signal::records::CallRecord;

/// What leaves the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A SIP message to a trunk.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A SIP message to a browser.
    Message {
        /// On which connection.
        flow: FlowId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A connection's user has proved who it is.
    Authenticated(FlowId),
    /// A line for the media process.
    Control(String),
    /// The connection to the media process is of no use; close it.
    CloseControl,
    /// A call is over.
    Record(Box<CallRecord>),
}
