//! UDP sockets of the media process.

#![allow(unsafe_code)] // one socket option that no typed library knows

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::base::narrow::Narrow;

/// DSCP Expedited Forwarding in the TOS byte (RFC 4594 §4.1: telephony).
const TOS_EXPEDITED_FORWARDING: u32 = 46 << 2;
/// Receive buffer of a thread's shared port: a second of 1,000 calls (50,000 datagrams of 256 bytes
/// with the kernel's bookkeeping) would be 40 MB; a tenth of that outlasts any stall worth keeping.
const SHARED_RECEIVE_BYTES: usize = 4 << 20;
/// Receive buffer of a leg's port: some 80 datagrams with the kernel's bookkeeping, more than any
/// stall worth keeping.
const LEG_RECEIVE_BYTES: usize = 32 << 10;
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
}

/// A bound UDP socket.
pub fn bind(address: SocketAddr, purpose: Purpose) -> io::Result<OwnedFd> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv4() {
        // Refused in some containers; the call works without.
        let _ = socket.set_tos_v4(TOS_EXPEDITED_FORWARDING);
    }
    // The kernel caps this at net.core.rmem_max without complaint.
    socket.set_recv_buffer_size(match purpose {
        Purpose::Shared => SHARED_RECEIVE_BYTES,
        Purpose::Leg => LEG_RECEIVE_BYTES,
    })?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The address a socket is bound to.
pub fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let address: SockAddr = socket2::SockRef::from(socket).local_addr()?;
    address.as_socket().ok_or_else(|| io::Error::other("not an IP socket"))
}

/// Connects a leg's socket, so that the kernel delivers datagrams from exactly `remote`, and throws
/// away what strangers sent before.
pub fn connect(socket: &OwnedFd, remote: SocketAddr) -> io::Result<()> {
    rustix::net::connect(socket, &remote)?;
    discard_waiting(socket);
    Ok(())
}

/// Throws away what waits at a socket, and says how much.
pub fn discard_waiting(socket: &OwnedFd) -> u64 {
    let mut scratch = [0_u8; 1];
    let took = |_| recv(socket, &mut scratch, RecvFlags::DONTWAIT | RecvFlags::TRUNC).is_ok();
    (0..DISCARDED_MAX).map(took).take_while(|took| *took).count() as u64
}

/// How many datagrams the kernel has dropped because the socket's receive buffer was full.
pub fn receive_space_exhausted(socket: &OwnedFd) -> u64 {
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
    fn datagrams_without_room_at_a_socket_are_counted_and_it_receives_again() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), Purpose::Leg).unwrap();
        let remote = UdpSocket::bind("127.0.0.1:0").unwrap();
        remote.connect(local_address(&socket).unwrap()).unwrap();
        for _ in 0..3 {
            let dropped = receive_space_exhausted(&socket);
            (0..500).for_each(|_| assert_eq!(remote.send(&[0; 160]).unwrap(), 160));
            let dropped = receive_space_exhausted(&socket) - dropped;
            assert!(dropped > 0);
            assert_eq!(discard_waiting(&socket) + dropped, 500);
        }
    }

    #[test]
    fn a_connected_socket_hears_its_remote_only_and_nothing_from_before() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), Purpose::Leg).unwrap();
        let local = local_address(&socket).unwrap();
        let remote = UdpSocket::bind("127.0.0.1:0").unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();

        stranger.send_to(b"before", local).unwrap();
        connect(&socket, remote.local_addr().unwrap()).unwrap();
        stranger.send_to(b"after", local).unwrap();
        remote.send_to(b"wanted", local).unwrap();

        let mut buffer = [0_u8; 64];
        let (_, length) = recv(&socket, &mut buffer, RecvFlags::DONTWAIT).unwrap();
        assert_eq!(&buffer[..length], b"wanted");
        recv(&socket, &mut buffer, RecvFlags::DONTWAIT).unwrap_err();
    }
}
