//! ICE-lite (RFC 8445 §2.5), sans-IO: answers a browser's connectivity checks and follows the pair
//! that it nominates.
//!
//! A lite agent keeps no check list and always is the controlled side (§6.1.1). It sends nothing of
//! its own to find a path, and only asks, when a browser seems to have moved, whether it has. Its whole
//! protocol is the STUN server of §7.3. The media process has to parse, verify and answer
//! Binding requests anyway, for consent (RFC 7675), so [`check::answer`] is shared by both processes
//! and a full agent from a library would do the same a second time.
//!
//! The flow: the signaling process makes an [`agent::Agent`] per browser leg and puts its
//! [`credentials::Credentials`] into SDP; punted checks find their agent by
//! [`credentials::local_ufrag_of`]; the agent says what to answer and when the nominated address
//! changes. From then on the media process answers checks from that address by itself. An address
//! is believed only from an authenticated check, never from SDP or from where RTP came.

pub mod agent;
pub mod check;
pub mod credentials;
mod probe;
