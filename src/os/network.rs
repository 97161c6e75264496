//! What a media engine's packets come and go by: the seam below which io_uring, another way into the
//! kernel, or a made-up network of a test stands.
//!
//! In: sockets that are bound, and what the packet line queued in an [`Outbox`]. Out: [`Arrival`]s, each
//! in the network's own buffer, lent until the next one is asked for. Whose a datagram is, and whether
//! its source may send here, is the engine's to judge: a network hands over what comes from anybody.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use super::outbox::Outbox;
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

/// A socket of a network. Generational: an index that was removed never reaches its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketIndex {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl SocketIndex {
    /// The index of a network that never gives one away twice.
    pub const fn first(index: u32) -> Self {
        Self { index, generation: 0 }
    }

    /// The socket's place in the network's table, from 0, less than the sockets it has room for.
    pub const fn position(self) -> usize {
        self.index as usize
    }
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

/// Bytes of the larger of the two socket addresses, `sockaddr_in6`.
const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// Where to send, in the kernel's own form (`sockaddr_in`, `sockaddr_in6`): made once an address, copied
/// with every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    name: [u8; NAME_BYTES],
    length: u8,
}

impl Destination {
    /// The bytes that the kernel reads.
    pub fn name(&self) -> &[u8] {
        &self.name[..usize::from(self.length)]
    }

    /// The address in it.
    pub fn address(&self) -> Option<SocketAddr> {
        address_of(self.name())
    }
}

impl From<SocketAddr> for Destination {
    fn from(to: SocketAddr) -> Self {
        let mut name = [0; NAME_BYTES];
        name[2..4].copy_from_slice(&to.port().to_be_bytes());
        let (family, length) = match to {
            SocketAddr::V4(v4) => {
                name[4..8].copy_from_slice(&v4.ip().octets());
                (libc::AF_INET, size_of::<libc::sockaddr_in>())
            }
            SocketAddr::V6(v6) => {
                name[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
                name[8..24].copy_from_slice(&v6.ip().octets());
                name[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                (libc::AF_INET6, NAME_BYTES)
            }
        };
        name[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        Self { name, length: length as u8 }
    }
}

/// The address in a name as the kernel writes it.
pub(super) fn address_of(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(name.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(name.get(2..4)?.try_into().ok()?);
    let ip = match i32::from(family) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(name.get(4..8)?).ok()?)),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(name.get(8..24)?).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_what_the_kernel_reads_and_tells_its_address() {
        for text in ["192.0.2.1:5004", "[2001:db8::7]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            let destination = Destination::from(address);
            let kernel = socket2::SockAddr::from(address);
            assert_eq!(destination.name().len(), kernel.len() as usize);
            assert_eq!(destination.address(), Some(address));
            assert_eq!(address_of(&destination.name()[..3]), None);
        }
    }
}
