//! The contract between the processes: one JSON object a line over a Unix stream socket.
//!
//! [`message`] holds every request, reply and event as a type; README.md beside this file is the
//! page for people who drive the media process from their own control plane.

pub mod message;
