//! What a media engine's packets come and go by: the seam below which io_uring, another way into the
//! kernel, or a made-up network of a test stands.
//!
//! In: sockets that are bound, and what the packet line queued in an [`Outbox`]. Out: [`Arrival`]s, each
//! in the network's own buffer, lent until the next one is asked for. Whose a datagram is, and whether
//! its source may send here, is the engine's to judge: a network hands over what comes from anybody.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::outbox::Outbox;
use super::route::SocketIndex;
use super::sockets::BoundSocket;

/// A network, used by one thread. Dispatched statically: one engine has one kind.
pub trait Network {
    /// Takes a socket in and receives on it from now on.
    fn add(&mut self, socket: BoundSocket) -> io::Result<SocketIndex>;

    /// Ends a socket: what is still under way comes to nothing.
    fn remove(&mut self, socket: SocketIndex);

    /// Sends what is queued and waits until something arrived, or until `until`.
    fn wait(&mut self, outbox: &mut Outbox, until: Instant) -> io::Result<()>;

    /// Sends what is queued, in the middle of a long batch.
    fn send(&mut self, outbox: &mut Outbox) -> io::Result<()>;

    /// The next arrival of the last wait.
    fn next_arrival(&mut self) -> Option<Arrival<'_>>;

    /// Throws away what waits at the sockets, and says how much.
    fn discard_waiting(&mut self) -> u64;

    /// Counters since the start.
    fn counters(&self) -> NetworkCounters;
}

/// What a wait brought.
#[derive(Debug)]
pub enum Arrival<'a> {
    /// A datagram.
    Datagram(Datagram<'a>),
    /// Somebody rang the wake.
    Wake,
}

/// A received datagram in the network's buffer, to be worked on in place.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// The socket it came in by.
    pub socket: SocketIndex,
    /// Its source.
    pub from: SocketAddr,
    /// Whether its end did not fit the buffer.
    pub truncated: bool,
    /// What it holds.
    pub bytes: &'a mut [u8],
}

/// Counters of a network.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkCounters {
    /// Receives that found no buffer.
    pub receive_buffers_exhausted: u64,
    /// Receives that ended with another error.
    pub receive_errors: u64,
    /// Sends for which the socket or the device had no room.
    pub send_space_exhausted: u64,
    /// Sends that were refused for another reason.
    pub send_errors: u64,
    /// Times the submission queue was full in the middle of a batch.
    pub submissions_full: u64,
    /// Times the completion queue was too small and the kernel kept completions back.
    pub completions_overflowed: u64,
    /// Datagrams handed over to be sent.
    pub sent: u64,
    /// Datagrams received.
    pub received: u64,
}
