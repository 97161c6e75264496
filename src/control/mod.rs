//! The contract between the processes: one JSON object a line over a Unix stream socket.
//!
//! [`message`] holds every request, reply and event as a type, [`codec`] turns them into lines; README.md beside this file is the
//! page for people who drive the media process from their own control plane.

pub mod codec;
pub mod message;
