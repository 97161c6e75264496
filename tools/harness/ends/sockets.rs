//! One UDP socket for many far ends: every 127/8 address is ours, so each call has an address of its
//! own on the same port (IP_PKTINFO, ip(7)). Datagrams go and come in batches (sendmmsg, recvmmsg), and
//! each that came carries the kernel's time of arrival (SO_TIMESTAMPNS, socket(7)): a load generator
//! that reads late does not count its own delay.
#![allow(unsafe_code)] // no safe crate in use has recvmmsg, IP_PKTINFO or SO_TIMESTAMPNS

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

/// Datagrams in one batch, either way.
pub const BATCH: usize = 32;
/// Bytes of one datagram: an Ethernet payload.
pub const DATAGRAM_BYTES_MAX: usize = 1_500;
/// A second of 1,000 calls, with the kernel's bookkeeping: what an overloaded engine sends late in
/// one go is not lost here.
const RECEIVE_BUFFER_BYTES: libc::c_int = 64 << 20;

/// A bound socket of many addresses.
pub struct Socket {
    socket: UdpSocket,
    port: u16,
}

impl Socket {
    /// Bound to `port` on every address; 0: any port.
    pub fn bind(port: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        let port = socket.local_addr()?.port();
        let this = Self { socket, port };
        this.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        this.set(libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        // Beyond net.core.rmem_max for root only; others get what is allowed.
        this.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
            .or_else(|_| this.set(libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER_BYTES))?;
        Ok(this)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn set(&self, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        // SAFETY: the option is an int, and its size is given.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size_of_val(&value) as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Room for the control messages of one datagram, aligned as `cmsghdr` asks: a timespec and an
/// in_pktinfo with their headers are 64 bytes.
#[repr(align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 96]);

const NO_VECTOR: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

/// Headers that point into the arrays beside them are written anew for every call, so that a batch
/// may be moved between calls.
struct Headers {
    names: Box<[libc::sockaddr_in; BATCH]>,
    controls: Box<[Control; BATCH]>,
    vectors: Box<[libc::iovec; BATCH]>,
    messages: Box<[libc::mmsghdr; BATCH]>,
}

impl Headers {
    fn new() -> Self {
        // SAFETY: all-zero sockaddr_in and mmsghdr are valid: no name, no vectors, no control data.
        let (name, message) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            names: Box::new([name; BATCH]),
            controls: Box::new([Control([0; 96]); BATCH]),
            vectors: Box::new([NO_VECTOR; BATCH]),
            messages: Box::new([message; BATCH]),
        }
    }

    /// Points message `at` to its name, its control room and `length` bytes from `base`.
    fn point(&mut self, at: usize, base: *mut u8, length: usize, control_bytes: usize) {
        self.vectors[at] = libc::iovec { iov_base: base.cast(), iov_len: length };
        let header = &mut self.messages[at].msg_hdr;
        header.msg_name = (&raw mut self.names[at]).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        header.msg_iov = &raw mut self.vectors[at];
        header.msg_iovlen = 1;
        header.msg_control = self.controls[at].0.as_mut_ptr().cast();
        header.msg_controllen = control_bytes as _;
    }
}

// SAFETY: the pointers in `vectors` and `messages` are written before each system call and are not
// followed after it; what they point to is owned by the same value.
unsafe impl Send for Headers {}

/// Datagrams that leave together.
pub struct SendBatch {
    headers: Headers,
    buffers: Box<[[u8; DATAGRAM_BYTES_MAX]; BATCH]>,
    lengths: [usize; BATCH],
    queued: usize,
}

impl SendBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            headers: Headers::new(),
            buffers: Box::new([[0; DATAGRAM_BYTES_MAX]; BATCH]),
            lengths: [0; BATCH],
            queued: 0,
        }
    }

    /// Whether there is no room for another.
    pub fn is_full(&self) -> bool {
        self.queued == BATCH
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Queues one datagram; there must be room. `write` fills the buffer and returns the length.
    pub fn push(
        &mut self,
        from: Ipv4Addr,
        to: SocketAddrV4,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) {
        let at = self.queued;
        self.lengths[at] = write(&mut self.buffers[at]).min(DATAGRAM_BYTES_MAX);
        let name = &mut self.headers.names[at];
        name.sin_family = libc::AF_INET as libc::sa_family_t;
        name.sin_port = to.port().to_be();
        name.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
        write_source(&mut self.headers.controls[at], from);
        self.queued += 1;
    }

    /// Sends all of it; returns how many datagrams the kernel took.
    pub fn send(&mut self, socket: &Socket) -> io::Result<usize> {
        let queued = std::mem::take(&mut self.queued);
        for at in 0..queued {
            let base = self.buffers[at].as_mut_ptr();
            self.headers.point(at, base, self.lengths[at], source_bytes());
        }
        let mut sent = 0;
        while sent < queued {
            let messages = &mut self.headers.messages[sent..queued];
            // SAFETY: each message points to a name, a buffer and control data that `self` owns.
            let result = unsafe {
                libc::sendmmsg(
                    socket.socket.as_raw_fd(),
                    messages.as_mut_ptr(),
                    messages.len() as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            match usize::try_from(result) {
                Ok(taken) => sent += taken,
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    // ICMP refusals of an earlier datagram come here once; the rest still goes.
                    error if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    error if error.kind() == io::ErrorKind::WouldBlock => break,
                    error => return Err(error),
                },
            }
        }
        Ok(sent)
    }
}

/// Datagrams that came together.
pub struct ReceiveBatch {
    headers: Headers,
    buffers: Box<[[u8; DATAGRAM_BYTES_MAX]; BATCH]>,
}

/// One datagram that came.
pub struct Received<'a> {
    /// Its bytes.
    pub bytes: &'a mut [u8],
    /// Which of our addresses it was for.
    pub to: Ipv4Addr,
    /// When it arrived, in nanoseconds of the wall clock.
    pub at_ns: i64,
}

impl ReceiveBatch {
    /// Room for a batch.
    pub fn new() -> Self {
        Self { headers: Headers::new(), buffers: Box::new([[0; DATAGRAM_BYTES_MAX]; BATCH]) }
    }

    /// Takes what is there, at most a batch, and hands each to `take`. Returns how many came.
    pub fn receive(
        &mut self,
        socket: &Socket,
        mut take: impl FnMut(Received<'_>),
    ) -> io::Result<usize> {
        for at in 0..BATCH {
            let base = self.buffers[at].as_mut_ptr();
            self.headers.point(at, base, DATAGRAM_BYTES_MAX, size_of::<Control>());
        }
        // SAFETY: each message points to a name, a buffer and control room that `self` owns.
        let result = unsafe {
            libc::recvmmsg(
                socket.socket.as_raw_fd(),
                self.headers.messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(came) = usize::try_from(result) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionRefused => Ok(0),
                _ => Err(error),
            };
        };
        for at in 0..came {
            let message = &self.headers.messages[at];
            let (Some(at_ns), Some(to)) = read_controls(&message.msg_hdr) else {
                return Err(io::Error::other("the kernel gave no time of arrival or destination"));
            };
            let length = (message.msg_len as usize).min(DATAGRAM_BYTES_MAX);
            take(Received { bytes: &mut self.buffers[at][..length], to, at_ns });
        }
        Ok(came)
    }
}

fn source_bytes() -> usize {
    // SAFETY: a computation on its argument.
    unsafe { libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) as usize }
}

/// Writes the one control message that chooses a source address.
fn write_source(control: &mut Control, from: Ipv4Addr) {
    let information = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let header = control.0.as_mut_ptr().cast::<libc::cmsghdr>();
    // SAFETY: `Control` is aligned for a cmsghdr and larger than one with an in_pktinfo.
    unsafe {
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as u32) as _;
        (*header).cmsg_level = libc::IPPROTO_IP;
        (*header).cmsg_type = libc::IP_PKTINFO;
        libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().write_unaligned(information);
    }
}

/// Time of arrival and destination of a received message.
fn read_controls(message: &libc::msghdr) -> (Option<i64>, Option<Ipv4Addr>) {
    let (mut at_ns, mut to) = (None, None);
    // SAFETY: the kernel filled `message`; its headers lie in the control room or are null.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: as above.
    while let Some(header) = unsafe { next.as_ref() } {
        // SAFETY: the payload follows its header.
        let payload = unsafe { libc::CMSG_DATA(header) };
        match (header.cmsg_level, header.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: a message of this type holds one timespec (socket(7)).
                let at = unsafe { payload.cast::<libc::timespec>().read_unaligned() };
                at_ns = Some(at.tv_sec * 1_000_000_000 + at.tv_nsec);
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: a message of this type holds one in_pktinfo (ip(7)).
                let seen = unsafe { payload.cast::<libc::in_pktinfo>().read_unaligned() };
                to = Some(Ipv4Addr::from(seen.ipi_addr.s_addr.to_ne_bytes()));
            }
            _ => {}
        }
        // SAFETY: `header` is of this message.
        next = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    (at_ns, to)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn every_datagram_tells_its_addresses_and_its_time() {
        let (here, there) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
        let mut batch = SendBatch::new();
        for last in 1..=20_u8 {
            let to = SocketAddrV4::new(Ipv4Addr::new(127, 2, 0, last), there.port());
            batch.push(Ipv4Addr::new(127, 1, 0, last), to, |out| {
                out[0] = last;
                1
            });
        }
        let before_ns = crate::machine::clock::wall_ns();
        assert_eq!(batch.send(&here).unwrap(), 20);
        let mut came = Vec::new();
        let mut receive = ReceiveBatch::new();
        let until = Instant::now() + Duration::from_secs(10);
        while came.len() < 20 && Instant::now() < until {
            receive
                .receive(&there, |datagram| {
                    assert!((datagram.at_ns - before_ns).abs() < 10_000_000_000);
                    came.push((datagram.to, datagram.bytes.to_vec()));
                })
                .unwrap();
        }
        let expected: Vec<_> =
            (1..=20_u8).map(|last| (Ipv4Addr::new(127, 2, 0, last), vec![last])).collect();
        assert_eq!(came, expected);
    }
}
