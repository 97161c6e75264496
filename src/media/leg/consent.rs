//! Consent checks (RFC 7675), answered where the audio is, so that a browser goes on sending while
//! nobody signals. Which address is nominated is signaling's decision; a check is answered here only
//! when it comes from there and is authentic.

use std::net::SocketAddr;

use super::connection::{Connection, Transport};
use crate::base::discard::Discard;
use crate::ice::check::{Expected, Verdict, answer};
use crate::wire::stun::Message;

/// Writes the answer to a check on a leg into `out`; returns its length and what it says. An error
/// means that it is not for us to answer: signaling looks at it.
pub fn answer_check(
    connection: &Connection,
    datagram: &[u8],
    from: SocketAddr,
    out: &mut [u8],
) -> Result<(usize, Verdict), Discard> {
    let Transport::Ice { credentials, .. } = &connection.transport else {
        return Err(Discard::UnknownSource);
    };
    let message = Message::parse(datagram)?;
    let expected = Expected {
        local_ufrag: &credentials.local_ufrag,
        local_password: &credentials.local_password,
        remote_ufrag: credentials.remote_ufrag.as_deref(),
    };
    let answer = answer(&message, &expected, from, out)?;
    Ok((answer.length, answer.verdict))
}
