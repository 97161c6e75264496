//! The signaling process.

pub mod flow;
pub mod web;
