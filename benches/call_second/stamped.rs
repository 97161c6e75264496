//! Receiving with the kernel's own time of arrival (SO_TIMESTAMPNS, socket(7)): a load generator that
//! is late to read then does not count its own delay.
#![allow(unsafe_code)] // no safe crate in use reads this control message

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Has the kernel stamp what `socket` receives.
pub fn enable(socket: &UdpSocket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option is an int, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Room for one `cmsghdr` with a `timespec`, aligned as both ask.
#[repr(align(8))]
struct Control([u8; 64]);

/// The next datagram's length and when it arrived, in nanoseconds of the wall clock. `None`: nothing
/// is there.
pub fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<(usize, i64)>> {
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; 64]);
    // SAFETY: an all-zero msghdr is valid: no name, no vectors, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: every pointer in `message` is to something that outlives the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let Ok(length) = usize::try_from(length) else {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
    };
    // SAFETY: the kernel filled `message`; the header lies in `control` or is null.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message).as_ref() };
    let stamped = header.filter(|header| {
        (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS)
    });
    let stamped = stamped.ok_or_else(|| io::Error::other("the kernel gave no time of arrival"))?;
    // SAFETY: a message of this type holds one timespec (socket(7)).
    let at = unsafe { libc::CMSG_DATA(stamped).cast::<libc::timespec>().read_unaligned() };
    Ok(Some((length, at.tv_sec * 1_000_000_000 + at.tv_nsec)))
}
