//! SIP messages (RFC 3261 §7, §20, §25; RFC 7118 framing): bytes ⇄ values, no state.
//!
//! In: one UDP datagram ([`parse_datagram`]) or one WebSocket message ([`parse_websocket`]). Out: a
//! [`Message`], or an [`Unparsable`] that says whether RFC 3261 wants an answer or silence. Header
//! values are kept as the text that came, in order, so that they can be echoed unchanged; typed
//! values ([`Via`], [`NameAddr`], [`CSeq`], …) are read from them on demand. Whatever we write goes
//! through one writer that cannot be made to start a new line.
//!
//! Transactions, dialogs and digest live in [`crate::sip`].

mod body;
mod header;
mod host;
mod limits;
mod message;
mod method;
mod parameter;
mod parse;
mod status;
mod token;
mod uri;
mod value;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod torture;

pub use body::{NoSdp, SDP};
pub use header::{BadHeader, HeaderName, Headers};
pub use host::Host;
pub use limits::*;
pub use message::{Message, Request, Response};
pub use method::Method;
pub use parameter::{Parameter, Parameters};
pub use parse::{Malformed, Unparsable, parse_datagram, parse_websocket};
pub use status::Status;
pub use token::Token;
pub(crate) use token::{quote, scalar};
pub use uri::{BadUri, SipScheme, SipUri, TelUri, Uri};
pub use value::{
    AuthParameters, CSeq, Contacts, ContentType, NameAddr, Reason, ResponsePort, SentBy, Transport,
    Via,
};
