//! Control protocol, version 2: the messages, one noun a file.
//!
//! A connection opens with the media process's [`Greeting`]. After that each line from the client is
//! a request `{"id":1,"command":"create_call","arguments":{…}}`, answered in order by
//! `{"id":1,"result":{…}}` or `{"id":1,"error":{"code":"…","message":"…"}}`, and the media process
//! sends events `{"event":"…","sequence":n,…}` in between. What a request says that is not understood
//! refuses it, by name; a client ignores what it does not know.

pub use super::call::*;
pub use super::command::*;
pub use super::connection::*;
pub use super::error::*;
pub use super::event::*;
pub use super::format::*;
pub use super::greeting::*;
pub use super::leg::*;
pub use super::play::*;
pub use super::snapshot::*;
pub use super::statistics::*;
pub use super::terms::*;

/// The longest line either side may send, newline included. A `create_call` with a full blob is
/// 24 KiB; a punted datagram in base64 3 KiB.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
