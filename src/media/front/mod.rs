//! The ways in to the [`registry`](super::registry): JSON lines over a Unix socket, in two halves. [`json`]
//! knows the protocol and no socket, [`socket`] the other way round.

pub mod json;
pub mod socket;
