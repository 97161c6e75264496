//! UDP sockets of the media process.

#![allow(unsafe_code)] // one socket option that no typed library knows

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::base::narrow::Narrow;

/// DSCP Expedited Forwarding (RFC 4594 §4.1: telephony).
pub const EXPEDITED_FORWARDING: u8 = 46;
/// Receive buffer of a thread's shared port: a second of 1,000 calls (50,000 datagrams of 256 bytes
/// with the kernel's bookkeeping) would be 40 MB; a tenth of that outlasts any stall worth keeping.
const SHARED_RECEIVE_BYTES: usize = 4 << 20;
/// Receive buffer of a leg's port: some 80 datagrams with the kernel's bookkeeping, more than any
/// stall worth keeping.
const LEG_RECEIVE_BYTES: usize = 32 << 10;
/// How often a port that was named is tried, a tenth of a second in all: what follows waits behind it. Its
/// turn comes after the shared port, which takes the longest part of that.
const NAMED_TRIES: u32 = 100;
const NAMED_TRIED_EVERY: Duration = Duration::from_millis(1);
/// How many stale datagrams are taken off a socket at once: more than the shared port holds.
const DISCARDED_MAX: usize = 20_000;
/// What SO_MEMINFO tells, `SK_MEMINFO_*` of linux/sock_diag.h, and which of it the drops are.
const MEMORY_VARIABLES: usize = 9;
const DROPS: usize = 8;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A thread's browser port: many remotes, a large receive buffer.
    Shared,
    /// One leg's RTP or RTCP port: connected to its remote once that is known.
    Leg,
    /// The same where somebody was told of this port: it is waited for as long as a killed process takes
    /// to be taken apart.
    NamedLeg,
}

/// A bound UDP socket, held by the thread that receives on it and by whoever asks what the kernel dropped
/// there. It closes with the last of them.
#[derive(Clone, Debug)]
pub struct BoundSocket {
    address: SocketAddr,
    /// `None` on a network that is made up.
    descriptor: Option<Arc<OwnedFd>>,
}

impl BoundSocket {
    /// Binds one.
    pub fn bind(address: SocketAddr, purpose: Purpose) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM.nonblocking().cloexec(),
            Some(Protocol::UDP),
        )?;
        // The kernel caps this at net.core.rmem_max without complaint.
        socket.set_recv_buffer_size(match purpose {
            Purpose::Shared => SHARED_RECEIVE_BYTES,
            Purpose::Leg | Purpose::NamedLeg => LEG_RECEIVE_BYTES,
        })?;
        match purpose {
            Purpose::NamedLeg => bind_when_free(&socket, address)?,
            Purpose::Shared | Purpose::Leg => socket.bind(&address.into())?,
        }
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        let bound = Self { address, descriptor: Some(Arc::new(socket.into())) };
        // Refused in some containers; the call works without.
        let _ = bound.set_dscp(EXPEDITED_FORWARDING);
        Ok(bound)
    }

    /// A socket of a network that is made up.
    pub const fn made_up(address: SocketAddr) -> Self {
        Self { address, descriptor: None }
    }

    /// A descriptor that is a socket already.
    pub fn from_descriptor(descriptor: OwnedFd, address: SocketAddr) -> Self {
        Self { address, descriptor: Some(Arc::new(descriptor)) }
    }

    /// Where it is bound.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its descriptor, where it has one.
    pub fn descriptor(&self) -> Option<&OwnedFd> {
        self.descriptor.as_deref()
    }

    /// Marks what it sends (RFC 2474 §3): six bits, 0 to 63.
    pub fn set_dscp(&self, dscp: u8) -> io::Result<()> {
        let Some(descriptor) = self.descriptor() else { return Ok(()) };
        let (socket, class) = (SockRef::from(descriptor), u32::from(dscp) << 2);
        match self.address {
            SocketAddr::V4(_) => socket.set_tos_v4(class),
            SocketAddr::V6(_) => socket.set_tclass_v6(class),
        }
    }

    /// How many datagrams the kernel has dropped because its receive buffer was full.
    pub fn receive_space_exhausted(&self) -> u64 {
        self.descriptor().map_or(0, receive_space_exhausted)
    }
}

/// Binds a port that the kernel may be about to free: a killed process's io_uring goes after the process.
fn bind_when_free(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    for _ in 0..NAMED_TRIES {
        match socket.bind(&address.into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(NAMED_TRIED_EVERY);
            }
            bound => return bound,
        }
    }
    socket.bind(&address.into())
}

/// Throws away what waits at a socket, and says how much.
pub fn discard_waiting(socket: &OwnedFd) -> u64 {
    let mut scratch = [0_u8; 1];
    let took = |_| recv(socket, &mut scratch, RecvFlags::DONTWAIT | RecvFlags::TRUNC).is_ok();
    (0..DISCARDED_MAX).map(took).take_while(|took| *took).count() as u64
}

fn receive_space_exhausted(socket: &OwnedFd) -> u64 {
    let mut variables = [0_u32; MEMORY_VARIABLES];
    let mut length: libc::socklen_t = size_of_val(&variables).narrow();
    // SAFETY: the kernel writes at most `length` bytes to `variables`, and to `length` how many.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            variables.as_mut_ptr().cast(),
            &mut length,
        )
    };
    // An error leaves zeros; the only one that can come is of a kernel before 4.12.
    if outcome == 0 { u64::from(variables[DROPS]) } else { 0 }
}

/// Lets the process open as many descriptors as its hard limit allows.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_port_that_was_named_is_waited_for_and_another_is_not() {
        let bind = |address: SocketAddr, purpose| BoundSocket::bind(address, purpose);
        let held = bind("127.0.0.1:0".parse().unwrap(), Purpose::Leg).unwrap();
        let address = held.address();
        let in_use = |bound: io::Result<BoundSocket>| {
            assert_eq!(bound.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        };
        in_use(bind(address, Purpose::Leg));
        in_use(bind(address, Purpose::NamedLeg));
        let holder = std::thread::spawn(move || {
            std::thread::sleep(10 * NAMED_TRIED_EVERY);
            drop(held);
        });
        assert_eq!(bind(address, Purpose::NamedLeg).unwrap().address(), address);
        holder.join().unwrap();
    }

    #[test]
    fn datagrams_without_room_at_a_socket_are_counted_and_it_receives_again() {
        let socket = BoundSocket::bind("127.0.0.1:0".parse().unwrap(), Purpose::Leg).unwrap();
        let remote = UdpSocket::bind("127.0.0.1:0").unwrap();
        remote.connect(socket.address()).unwrap();
        for _ in 0..3 {
            let dropped = socket.receive_space_exhausted();
            (0..500).for_each(|_| assert_eq!(remote.send(&[0; 160]).unwrap(), 160));
            let dropped = socket.receive_space_exhausted() - dropped;
            assert!(dropped > 0);
            assert_eq!(discard_waiting(socket.descriptor().unwrap()) + dropped, 500);
        }
    }

    #[test]
    fn what_is_sent_is_marked_as_asked_in_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let socket = BoundSocket::bind(address.parse().unwrap(), Purpose::Leg).unwrap();
            let class = |socket: &BoundSocket| {
                let descriptor = SockRef::from(socket.descriptor().unwrap());
                match socket.address() {
                    SocketAddr::V4(_) => descriptor.tos_v4().unwrap(),
                    SocketAddr::V6(_) => descriptor.tclass_v6().unwrap(),
                }
            };
            assert_eq!(class(&socket), 46 << 2);
            socket.set_dscp(10).unwrap();
            assert_eq!(class(&socket), 10 << 2);
        }
    }
}
