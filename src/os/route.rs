//! By which socket a datagram goes, and where to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::narrow::Narrow;

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
        name[..2].copy_from_slice(&Narrow::<u16>::narrow(family.unsigned_abs()).to_ne_bytes());
        Self { name, length: length.narrow() }
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
