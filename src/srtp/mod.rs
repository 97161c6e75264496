//! Secure RTP and RTCP (RFC 3711; AES-GCM: RFC 7714), in place and without allocation.
//!
//! One master key protects one direction of one leg: [`protect::Sender`] for what we send,
//! [`protect::Receiver`] for what we receive. Key agreement (DTLS, SDES) is somebody else's. Key
//! derivation rate is 0 and there is no MKI, as browsers (RFC 5764) and carriers use it.
//!
//! [`snapshot`] is what another process needs to go on with a stream.
//!
//! Nothing that a packet says changes any state before its tag was found good (RFC 3711 §3.3).

pub mod index;
pub mod keys;
pub mod protect;
pub mod replay;
pub mod snapshot;
mod transform;
