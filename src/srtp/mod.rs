//! Secure RTP (RFC 3711, RFC 7714).

pub mod keys;
