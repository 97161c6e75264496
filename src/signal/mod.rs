//! The signaling process.

pub mod flow;
