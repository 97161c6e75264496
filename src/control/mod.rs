//! The contract between the processes: one JSON object a line over a Unix stream socket.
//!
//! [`message`] holds every request, reply and event as a type, a noun a file: `command.rs` is the table of
//! commands, `event.rs` that of events. [`codec`] turns them into lines; README.md beside this file is
//! the page for people who drive the media process from their own control plane, and tests hold it
//! against the tables.

mod call;
pub mod codec;
mod command;
mod connection;
mod error;
mod event;
mod format;
mod greeting;
mod leg;
pub mod message;
#[cfg(test)]
mod page;
mod play;
mod reading;
#[cfg(test)]
pub(crate) mod samples;
mod snapshot;
mod statistics;
mod terms;
