//! The io_uring of one media thread: the only file that knows io_uring.
//!
//! In: datagrams of the shared browser port (multishot `recvmsg`, with their source), datagrams of
//! connected leg sockets (multishot `recv`), and wake-ups. Out: what the packet line queued in the
//! [`Outbox`]. Sockets are registered, and receive buffers come from one ring-mapped group that they
//! all share.
//!
//! A wait ends with the first arrival. Gathering more for 50 to 150 us saved nothing that could be told
//! from noise (280 transcoded calls: 2.57 to 2.93 ms of CPU per call-second without, 2.61 to 2.95 with
//! 50 us; 1,000 relayed ones 0.96 against 0.95 to 0.96), for each gathering arms a timer of its own, and
//! without it the added delay fell from 0.31 to 0.12 ms at the median and from 0.70 to 0.34 at p99: work
//! that waits while a packet is coded gathers by itself.
//!
//! Multishot is the cheapest of the io_uring strategies, and of all where a core is full. CPU of a bare
//! forwarder, ms per relayed call-second (100 datagrams in and out), one run of
//! `tools/compare --part sockets`:
//!
//! | receives | 400 calls, a socket each / shared | 1,000 calls, each / shared |
//! |---|---|---|
//! | multishot, ring-mapped buffers, registered sockets (here) | 1.07 / 1.01 | 0.66 / 0.54 |
//! | one-shot, armed again, own buffers, registered sockets | 1.61 / 1.83 | 0.87 / 0.90 |
//! | the same, sockets not registered | 1.56 / 1.80 | 0.92 / 0.92 |
//! | epoll, then what is ready in one batch of one-shots | 1.30 / 1.43 | 0.78 / 0.87 |
//! | epoll, a system call for each datagram | 0.83 / 0.89 | 0.71 / 0.62 |
//!
//! So some 150,000 to 185,000 datagrams a second are what sockets give on that machine, a virtual one;
//! two thirds of the time is the send's. A trunk's leg keeps a port of its own all the same, as SIP
//! trunks expect it.
//!
//! A send never waits for room in its socket (`MSG_DONTWAIT`) and completes only when it failed: it
//! is over when the submission is, and costs no completion.
//!
//! When the group runs dry the kernel ends a receive with ENOBUFS. That is counted and the receive is
//! armed again with the next submission, after the batch has given its buffers back: a socket is
//! never dead.

#![allow(unsafe_code)] // buffers are shared with the kernel; see SAFETY at each use

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;
use std::{fmt, io};

use io_uring::types::{BufRingEntry, Fd, Fixed, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::outbox::Outbox;
use super::sockets;
use super::wake::Wake;
use crate::base::narrow::{LowHalf, Narrow};

/// Tries to hand over a submission for which the kernel has no memory.
const SUBMIT_TRIES: usize = 1_000;
/// Bytes of a receive buffer: a 1,500-byte datagram with its source address in front.
const BUFFER_BYTES: usize = 2048;
/// The one buffer group.
const GROUP: u16 = 0;
/// Room for a source address in front of a datagram of the shared port.
const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// How much a ring holds. Running out of any of it is counted, and ends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// Submission entries, a power of two.
    pub submissions: u32,
    /// Completion entries, a power of two and no fewer than the submissions.
    pub completions: u32,
    /// Receive buffers, a power of two at most 32,768 (io_uring_register_buf_ring(3)).
    pub buffers: u16,
}

impl RingLimits {
    /// A media thread's: a batch of sends, and receives that are armed again (a full queue is submitted
    /// and goes on); every receive buffer can complete in one batch, and as many sends fail.
    pub const THREAD: Self = Self { submissions: 1024, completions: 8192, buffers: 2048 };
}

/// A socket of this ring. Generational: an index that was removed never reaches its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketIndex {
    index: u32,
    generation: u32,
}

impl SocketIndex {
    /// An index that belongs to no ring, for tests, benches and simulation.
    pub const fn detached(index: u32) -> Self {
        Self { index, generation: 0 }
    }

    /// The socket's place in the ring's table, from 0, less than the ring's `sockets`.
    pub const fn position(self) -> usize {
        self.index as usize
    }
}

/// What a wait brought.
#[derive(Debug)]
pub enum Arrival {
    /// A datagram; [`Ring::recycle`] takes its buffer back.
    Datagram(Datagram),
    /// Somebody rang the wake.
    Wake,
}

/// A received datagram in its buffer.
pub struct Datagram {
    /// The socket it came in by.
    pub socket: SocketIndex,
    /// Its source, on the shared port.
    pub from: Option<SocketAddr>,
    /// Whether its end did not fit the buffer.
    pub truncated: bool,
    buffer: &'static mut [u8],
    start: usize,
    end: usize,
    id: u16,
}

/// Without what somebody says.
impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagram")
            .field("socket", &self.socket)
            .field("from", &self.from)
            .field("bytes", &(self.end - self.start))
            .finish_non_exhaustive()
    }
}

impl Datagram {
    /// The datagram, to be worked on in place.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }
}

/// Counters of a ring.
#[derive(Clone, Copy, Debug, Default)]
pub struct RingCounters {
    /// Receives that found no buffer.
    pub receive_buffers_exhausted: u64,
    /// Receives that ended with another error (ICMP refusals, mostly).
    pub receive_errors: u64,
    /// Sends for which the socket or the device had no room.
    pub send_space_exhausted: u64,
    /// Sends that the kernel refused for another reason.
    pub send_errors: u64,
    /// Times the submission queue was full in the middle of a batch.
    pub submissions_full: u64,
    /// Times the completion queue was too small and the kernel kept completions back.
    pub completions_overflowed: u64,
    /// Datagrams handed to the kernel.
    pub sent: u64,
    /// Datagrams received.
    pub received: u64,
}

/// How a socket receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// From anybody, with the source.
    Shared,
    /// From the connected remote.
    Connected,
    /// Not yet: its remote is not known.
    NotYet,
}

struct Socket {
    fd: Option<OwnedFd>,
    generation: u32,
    receive: Receive,
}

/// What a completion belongs to, packed into its user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Receive(SocketIndex),
    Send,
    Wake,
    Cancel,
}

const GENERATION_BITS: u64 = 24;

impl Operation {
    fn pack(self) -> u64 {
        match self {
            Operation::Receive(socket) => {
                (u64::from(socket.generation) << 32) | u64::from(socket.index)
            }
            Operation::Send => 1 << 56,
            Operation::Wake => 2 << 56,
            Operation::Cancel => 3 << 56,
        }
    }

    fn unpack(word: u64) -> Self {
        let index = word.low_half();
        match word >> 56 {
            0 => Operation::Receive(SocketIndex { index, generation: (word >> 32).low_half() }),
            1 => Operation::Send,
            2 => Operation::Wake,
            _ => Operation::Cancel,
        }
    }
}

/// One thread's ring. Made and used on that thread only.
pub struct Ring {
    ring: IoUring,
    buffers: BufferGroup,
    sockets: Vec<Socket>,
    free_sockets: Vec<u32>,
    completions: VecDeque<(u64, i32, u32)>,
    message_header: Box<libc::msghdr>,
    wake: Wake,
    wake_count: Box<u64>,
    counters: RingCounters,
    /// What the kernel had dropped at sockets that are gone, see [`Ring::receive_space_exhausted`].
    dropped_at_removed: u64,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring for at most `sockets` sockets, woken by `wake`.
    pub fn new(sockets: usize, limits: RingLimits, wake: Wake) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize(limits.completions)
            .build(limits.submissions)?;
        ring.submitter().register_files_sparse(sockets.narrow())?;
        let buffers = BufferGroup::register(&ring, limits.buffers)?;
        // SAFETY: an all-zero msghdr is valid: no name, no vectors, no control data.
        let mut message_header: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        message_header.msg_namelen = NAME_BYTES.narrow();
        let mut this = Self {
            ring,
            buffers,
            sockets: (0..sockets)
                .map(|_| Socket { fd: None, generation: 0, receive: Receive::NotYet })
                .collect(),
            free_sockets: (0..sockets.narrow()).rev().collect(),
            completions: VecDeque::with_capacity(limits.completions as usize),
            message_header,
            wake,
            wake_count: Box::new(0),
            counters: RingCounters::default(),
            dropped_at_removed: 0,
        };
        this.arm_wake();
        Ok(this)
    }

    /// Takes a socket in and, unless told otherwise, starts to receive on it.
    pub fn add_socket(&mut self, fd: OwnedFd, receive: Receive) -> io::Result<SocketIndex> {
        let Some(index) = self.free_sockets.pop() else {
            return Err(io::Error::other("every socket slot of the ring is taken"));
        };
        if let Err(error) = self.ring.submitter().register_files_update(index, &[fd.as_raw_fd()]) {
            self.free_sockets.push(index);
            return Err(error);
        }
        let entry = &mut self.sockets[index as usize];
        entry.fd = Some(fd);
        entry.receive = Receive::NotYet;
        let socket = SocketIndex { index, generation: entry.generation };
        self.receive_on(socket, receive);
        Ok(socket)
    }

    /// Starts to receive on a socket that was added with [`Receive::NotYet`].
    pub fn receive_on(&mut self, socket: SocketIndex, receive: Receive) {
        if self.entry(socket).is_some_and(|entry| entry.receive == Receive::NotYet) {
            self.sockets[socket.position()].receive = receive;
            self.arm(socket);
        }
    }

    /// The descriptor of a socket.
    pub fn descriptor(&self, socket: SocketIndex) -> Option<&OwnedFd> {
        self.entry(socket).and_then(|entry| entry.fd.as_ref())
    }

    /// Ends a socket: what is still in flight completes into nothing.
    pub fn remove_socket(&mut self, socket: SocketIndex) {
        if self.entry(socket).is_none() {
            return;
        }
        let receive = Operation::Receive(socket).pack();
        self.push(opcode::AsyncCancel::new(receive).build(), Operation::Cancel);
        let entry = &mut self.sockets[socket.position()];
        let dropped = entry.fd.as_ref().map_or(0, sockets::receive_space_exhausted);
        self.dropped_at_removed += dropped;
        entry.generation = (entry.generation + 1) & ((1 << GENERATION_BITS) - 1);
        entry.receive = Receive::NotYet;
        entry.fd = None;
        // Cannot fail for an index inside the table; were it to, the next update replaces it.
        let _ = self.ring.submitter().register_files_update(socket.index, &[-1]);
        self.free_sockets.push(socket.index);
    }

    /// Sends what is queued and waits until something arrived, or until `until`.
    pub fn wait(&mut self, outbox: &mut Outbox, until: Instant) -> io::Result<()> {
        self.push_sends(outbox);
        let left = until.saturating_duration_since(Instant::now());
        let timespec = Timespec::new().sec(left.as_secs()).nsec(left.subsec_nanos());
        let arguments = SubmitArgs::new().timespec(&timespec);
        match self.ring.submitter().submit_with_args(1, &arguments) {
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                // Time is up; a signal came; completions must be taken first.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => {}
                _ => return Err(error),
            },
        }
        self.take_completions();
        self.submit_rest()?;
        outbox.clear();
        Ok(())
    }

    /// Sends what is queued, in the middle of a long batch.
    pub fn send(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        self.push_sends(outbox);
        self.submit_rest()?;
        outbox.clear();
        Ok(())
    }

    fn push_sends(&mut self, outbox: &Outbox) {
        for queued in outbox.queued() {
            if self.entry(queued.socket).is_none() {
                self.counters.send_errors += 1;
                continue;
            }
            let bytes = queued.bytes();
            let socket = Fixed(queued.socket.index);
            let send = opcode::Send::new(socket, bytes.as_ptr(), bytes.len().narrow())
                .flags(libc::MSG_DONTWAIT);
            let send = match &queued.to {
                Some(to) => send.dest_addr(to.as_ptr().cast()).dest_addr_len(to.len()),
                None => send,
            };
            self.counters.sent += 1;
            self.push(send.build().flags(squeue::Flags::SKIP_SUCCESS), Operation::Send);
        }
    }

    /// Makes sure that the kernel took every entry: what they point to is then free.
    fn submit_rest(&mut self) -> io::Result<()> {
        for _ in 0..SUBMIT_TRIES {
            if self.ring.submission().is_empty() {
                return Ok(());
            }
            match self.ring.submit() {
                Ok(_) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR | libc::EBUSY | libc::EAGAIN) => self.take_completions(),
                    _ => return Err(error),
                },
            }
        }
        Err(io::ErrorKind::OutOfMemory.into())
    }

    /// The next arrival of the last wait.
    pub fn next_arrival(&mut self) -> Option<Arrival> {
        while let Some((user_data, result, flags)) = self.completions.pop_front() {
            match Operation::unpack(user_data) {
                Operation::Receive(socket) => {
                    if let Some(datagram) = self.received(socket, result, flags) {
                        return Some(Arrival::Datagram(datagram));
                    }
                }
                Operation::Wake => {
                    self.arm_wake();
                    return Some(Arrival::Wake);
                }
                Operation::Send => match -result {
                    libc::EAGAIN | libc::ENOBUFS => self.counters.send_space_exhausted += 1,
                    _ => self.counters.send_errors += 1,
                },
                Operation::Cancel => {}
            }
        }
        None
    }

    /// Throws away what waits at the sockets, and says how much: they are read one by one, for this
    /// is not a matter of every packet.
    pub fn discard_waiting(&mut self) -> u64 {
        let receiving = self.sockets.iter().filter(|socket| socket.receive != Receive::NotYet);
        receiving.filter_map(|socket| socket.fd.as_ref()).map(sockets::discard_waiting).sum()
    }

    /// Gives a datagram's buffer back to the kernel.
    pub fn recycle(&mut self, datagram: Datagram) {
        self.buffers.provide(datagram.id);
    }

    /// Datagrams that the kernel dropped since the start because a socket's receive buffer was full.
    /// Asks every socket.
    pub fn receive_space_exhausted(&self) -> u64 {
        let open = self.sockets.iter().filter_map(|socket| socket.fd.as_ref());
        self.dropped_at_removed + open.map(sockets::receive_space_exhausted).sum::<u64>()
    }

    /// Counters since the start.
    pub fn counters(&self) -> RingCounters {
        self.counters
    }

    fn take_completions(&mut self) {
        if self.ring.submission().cq_overflow() {
            self.counters.completions_overflowed += 1;
        }
        for completion in self.ring.completion() {
            self.completions.push_back((
                completion.user_data(),
                completion.result(),
                completion.flags(),
            ));
        }
    }

    fn entry(&self, socket: SocketIndex) -> Option<&Socket> {
        self.sockets
            .get(socket.position())
            .filter(|entry| entry.generation == socket.generation && entry.fd.is_some())
    }

    fn received(&mut self, socket: SocketIndex, result: i32, flags: u32) -> Option<Datagram> {
        let receive = self.entry(socket).map(|entry| entry.receive);
        if receive.is_some() && !cqueue::more(flags) {
            self.arm(socket);
        }
        let id = cqueue::buffer_select(flags);
        if result < 0 {
            match -result {
                libc::ENOBUFS => self.counters.receive_buffers_exhausted += 1,
                libc::ECANCELED => {}
                _ => self.counters.receive_errors += 1,
            }
        }
        let (id, Some(receive), Ok(length)) = (id?, receive, usize::try_from(result)) else {
            if let Some(id) = id {
                self.buffers.provide(id);
            }
            return None;
        };
        self.counters.received += 1;
        let buffer = self.buffers.take(id);
        let mut datagram =
            Datagram { socket, from: None, truncated: false, buffer, start: 0, end: length, id };
        if receive == Receive::Shared {
            let Ok(message) = RecvMsgOut::parse(&datagram.buffer[..length], &self.message_header)
            else {
                self.buffers.provide(id);
                return None;
            };
            datagram.from = source_address(message.name_data());
            datagram.truncated = message.is_payload_truncated();
            let payload = message.payload_data().len();
            datagram.start = length - payload;
        } else {
            datagram.truncated = length == BUFFER_BYTES;
        }
        Some(datagram)
    }

    fn arm(&mut self, socket: SocketIndex) {
        let entry = match self.sockets[socket.position()].receive {
            Receive::NotYet => return,
            Receive::Shared => {
                opcode::RecvMsgMulti::new(Fixed(socket.index), &*self.message_header, GROUP).build()
            }
            Receive::Connected => opcode::RecvMulti::new(Fixed(socket.index), GROUP).build(),
        };
        self.push(entry, Operation::Receive(socket));
    }

    fn arm_wake(&mut self) {
        let count: *mut u64 = &mut *self.wake_count;
        let read = opcode::Read::new(Fd(self.wake.as_raw_fd()), count.cast(), 8).build();
        self.push(read, Operation::Wake);
    }

    fn push(&mut self, entry: squeue::Entry, operation: Operation) {
        let entry = entry.user_data(operation.pack());
        loop {
            // SAFETY: every buffer and header a receive points to is owned by this ring (`buffers`,
            // `message_header`, `wake_count`) and lives as long; the slot and address of a send are
            // in an outbox that stays as it is until the entry was submitted, and the kernel has no
            // use for them after that.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            // Submitting empties the queue, and when the kernel first wants its completions taken
            // (EBUSY), they are.
            self.counters.submissions_full += 1;
            if self.ring.submit().is_err() {
                self.take_completions();
            }
        }
    }
}

/// The address in a received name: `sockaddr_in` or `sockaddr_in6`, in the kernel's layout.
fn source_address(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(name.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(name.get(2..4)?.try_into().ok()?);
    let ip = match i32::from(family) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(name.get(4..8)?).ok()?)),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(name.get(8..24)?).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The ring-mapped buffer group: a ring of descriptors that the kernel takes buffers from.
struct BufferGroup {
    entries: &'static mut [BufRingEntry],
    memory: *mut u8,
    tail: u16,
}

impl BufferGroup {
    /// Makes the group and provides all its buffers. The memory lives as long as the process, since
    /// the kernel writes into it until the ring is gone.
    fn register(ring: &IoUring, buffers: u16) -> io::Result<Self> {
        let count = usize::from(buffers);
        let layout = std::alloc::Layout::from_size_align(count * size_of::<BufRingEntry>(), 4096)
            .map_err(io::Error::other)?;
        // SAFETY: the layout has a size; zeroed descriptors are valid (plain integers).
        let base = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<BufRingEntry>();
        if base.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // SAFETY: `base` is page-aligned, `count` entries long and never freed.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(base as u64, buffers, GROUP, 0)?;
        }
        // SAFETY: as above; only this struct touches the descriptors, and the kernel only reads.
        let entries = unsafe { std::slice::from_raw_parts_mut(base, count) };
        // Not zeros, which would be resident only once they are used: no packet waits for a page.
        let memory = vec![u8::MAX; count * BUFFER_BYTES];
        let memory = Box::leak(memory.into_boxed_slice()).as_mut_ptr();
        let mut group = Self { entries, memory, tail: 0 };
        for id in 0..buffers {
            group.provide(id);
        }
        Ok(group)
    }

    /// Gives buffer `id` to the kernel.
    fn provide(&mut self, id: u16) {
        let mask = self.entries.len() - 1;
        let entry = &mut self.entries[usize::from(self.tail) & mask];
        entry.set_addr(self.memory as u64 + u64::from(id) * BUFFER_BYTES as u64);
        entry.set_len(BUFFER_BYTES.narrow());
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the first entry's spare field is the ring's tail (io_uring_register_buf_ring(3));
        // it is aligned and only this thread stores to it.
        let tail =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Takes buffer `id`, which the kernel just handed over, until it is provided again.
    fn take(&mut self, id: u16) -> &'static mut [u8] {
        debug_assert!(usize::from(id) < self.entries.len());
        // SAFETY: `id` came from a completion, so the buffer is inside `memory` and the kernel no
        // longer writes to it; the datagram that holds this slice is consumed by `provide`.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.memory.add(usize::from(id) * BUFFER_BYTES),
                BUFFER_BYTES,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::super::sockets::Purpose;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn bound(purpose: Purpose) -> (OwnedFd, SocketAddr) {
        let socket = sockets::bind("127.0.0.1:0".parse().unwrap(), purpose).unwrap();
        let address = sockets::local_address(&socket).unwrap();
        (socket, address)
    }

    /// Datagrams until `count` came.
    fn gather(
        ring: &mut Ring,
        outbox: &mut Outbox,
        count: usize,
    ) -> Vec<(Option<SocketAddr>, Vec<u8>)> {
        let until = Instant::now() + PATIENCE;
        let mut gathered = Vec::new();
        while gathered.len() < count {
            assert!(Instant::now() < until, "only {} of {count} came", gathered.len());
            ring.wait(outbox, until).unwrap();
            while let Some(arrival) = ring.next_arrival() {
                if let Arrival::Datagram(mut datagram) = arrival {
                    gathered.push((datagram.from, datagram.bytes().to_vec()));
                    ring.recycle(datagram);
                }
            }
        }
        gathered
    }

    #[test]
    fn a_shared_socket_tells_the_source_and_answers() {
        let mut ring = Ring::new(8, RingLimits::THREAD, Wake::new().unwrap()).unwrap();
        let mut outbox = Outbox::new(8);
        let (fd, address) = bound(Purpose::Shared);
        let socket = ring.add_socket(fd, Receive::Shared).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"question", address).unwrap();

        let gathered = gather(&mut ring, &mut outbox, 1);
        assert_eq!(gathered, [(Some(peer.local_addr().unwrap()), b"question".to_vec())]);

        outbox.queue::<()>(socket, gathered[0].0, |slot| {
            slot[..6].copy_from_slice(b"answer");
            Ok(6)
        });
        ring.send(&mut outbox).unwrap();
        assert_eq!(outbox.free_slots(), 8);
        let mut buffer = [0; 16];
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(peer.recv(&mut buffer).unwrap(), 6);
    }

    #[test]
    fn a_flood_beyond_the_receive_buffers_is_counted_and_the_socket_lives_on() {
        let mut ring = Ring::new(8, RingLimits::THREAD, Wake::new().unwrap()).unwrap();
        let mut outbox = Outbox::new(8);
        let (fd, address) = bound(Purpose::Shared);
        ring.add_socket(fd, Receive::Shared).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut held = Vec::new();
        let until = Instant::now() + PATIENCE;
        while ring.counters().receive_buffers_exhausted == 0 {
            assert!(Instant::now() < until, "the buffers never ran dry");
            for _ in 0..64 {
                peer.send_to(b"flood", address).unwrap();
            }
            ring.wait(&mut outbox, Instant::now() + Duration::from_millis(1)).unwrap();
            while let Some(arrival) = ring.next_arrival() {
                if let Arrival::Datagram(datagram) = arrival {
                    held.push(datagram);
                }
            }
        }
        assert_eq!(held.len(), usize::from(RingLimits::THREAD.buffers));
        for datagram in held {
            ring.recycle(datagram);
        }
        peer.send_to(b"after", address).unwrap();
        let mut last = Vec::new();
        while last != b"after" {
            last = gather(&mut ring, &mut outbox, 1).pop().unwrap().1;
        }
    }

    #[test]
    fn a_connected_socket_receives_after_an_icmp_refusal() {
        let mut ring = Ring::new(8, RingLimits::THREAD, Wake::new().unwrap()).unwrap();
        let mut outbox = Outbox::new(8);
        let (fd, address) = bound(Purpose::Leg);
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let remote = peer.local_addr().unwrap();
        drop(peer);
        sockets::connect(&fd, remote).unwrap();
        let socket = ring.add_socket(fd, Receive::Connected).unwrap();
        outbox.queue::<()>(socket, None, |_| Ok(20));
        ring.send(&mut outbox).unwrap();
        for _ in 0..3 {
            ring.wait(&mut outbox, Instant::now() + Duration::from_millis(20)).unwrap();
            assert!(ring.next_arrival().is_none());
        }
        assert!(ring.counters().receive_errors >= 1);

        let peer = UdpSocket::bind(remote).unwrap();
        peer.send_to(b"back", address).unwrap();
        assert_eq!(gather(&mut ring, &mut outbox, 1)[0].1, b"back");
    }

    #[test]
    fn a_removed_socket_is_silent_and_its_index_serves_again() {
        let mut ring = Ring::new(1, RingLimits::THREAD, Wake::new().unwrap()).unwrap();
        let mut outbox = Outbox::new(8);
        let (fd, address) = bound(Purpose::Shared);
        let old = ring.add_socket(fd, Receive::Shared).unwrap();
        ring.wait(&mut outbox, Instant::now()).unwrap();
        ring.remove_socket(old);
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = peer.send_to(b"ghost", address);
        let (fd, address) = bound(Purpose::Shared);
        let new = ring.add_socket(fd, Receive::Shared).unwrap();
        assert_eq!(old.position(), new.position());
        assert_ne!(old, new);
        assert!(ring.descriptor(old).is_none());
        peer.send_to(b"alive", address).unwrap();
        assert_eq!(gather(&mut ring, &mut outbox, 1)[0].1, b"alive");
    }

    #[test]
    fn a_wake_from_another_thread_ends_the_wait() {
        let wake = Wake::new().unwrap();
        let mut ring = Ring::new(1, RingLimits::THREAD, wake.clone()).unwrap();
        let mut outbox = Outbox::new(1);
        for _ in 0..2 {
            let ringer = wake.clone();
            let thread = std::thread::spawn(move || ringer.ring());
            ring.wait(&mut outbox, Instant::now() + PATIENCE).unwrap();
            assert!(matches!(ring.next_arrival(), Some(Arrival::Wake)));
            thread.join().unwrap();
        }
    }

    fn small(submissions: u32, completions: u32, buffers: u16) -> Ring {
        let limits = RingLimits { submissions, completions, buffers };
        Ring::new(8, limits, Wake::new().unwrap()).unwrap()
    }

    #[test]
    fn fewer_receive_buffers_than_datagrams_are_counted_and_every_leg_hears_all_of_them() {
        let mut ring = small(64, 128, 4);
        let mut outbox = Outbox::new(1);
        let peers: Vec<_> = (0..6)
            .map(|_| {
                let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
                let (fd, address) = bound(Purpose::Leg);
                sockets::connect(&fd, peer.local_addr().unwrap()).unwrap();
                ring.add_socket(fd, Receive::Connected).unwrap();
                peer.connect(address).unwrap();
                peer
            })
            .collect();
        ring.wait(&mut outbox, Instant::now()).unwrap();
        for round in 0..3 {
            for n in 0..10 {
                peers.iter().for_each(|peer| assert_eq!(peer.send(&[n]).unwrap(), 1));
            }
            let mut came: Vec<_> =
                gather(&mut ring, &mut outbox, 60).into_iter().map(|(_, bytes)| bytes[0]).collect();
            came.sort_unstable();
            assert!(came.into_iter().eq((0..10).flat_map(|n| [n; 6])), "round {round}");
        }
        assert!(ring.counters().receive_buffers_exhausted > 0);
    }

    fn queue(outbox: &mut Outbox, socket: SocketIndex, to: Option<SocketAddr>, content: u8) {
        let queued = outbox.queue::<()>(socket, to, |slot| {
            slot[0] = content;
            Ok(1)
        });
        assert_eq!(queued, Some(Ok(1)));
    }

    #[test]
    fn more_sends_than_submission_entries_are_counted_and_all_leave_in_order() {
        let mut ring = small(4, 64, 64);
        let mut outbox = Outbox::new(50);
        let (fd, _) = bound(Purpose::Shared);
        let socket = ring.add_socket(fd, Receive::Shared).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..3 {
            let full = ring.counters().submissions_full;
            (0..50).for_each(|n| queue(&mut outbox, socket, peer.local_addr().ok(), n));
            ring.send(&mut outbox).unwrap();
            assert!(ring.counters().submissions_full > full);
            for n in 0..50 {
                let mut buffer = [0; 16];
                assert_eq!((peer.recv(&mut buffer).unwrap(), buffer[0]), (1, n));
            }
        }
    }

    #[test]
    fn more_arrivals_than_completion_entries_are_counted_and_all_come() {
        let mut ring = small(4, 4, 64);
        let mut outbox = Outbox::new(1);
        let addresses: Vec<_> = (0..8)
            .map(|_| {
                let (fd, address) = bound(Purpose::Shared);
                ring.add_socket(fd, Receive::Shared).unwrap();
                address
            })
            .collect();
        ring.wait(&mut outbox, Instant::now()).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        for round in 1..=3 {
            for n in 0..5 {
                for to in &addresses {
                    peer.send_to(&[n], to).unwrap();
                }
            }
            let mut came = gather(&mut ring, &mut outbox, 40);
            came.sort_unstable_by_key(|(_, bytes)| bytes[0]);
            let expected: Vec<u8> = (0..5).flat_map(|n| [n; 8]).collect();
            assert!(came.iter().map(|(_, bytes)| bytes[0]).eq(expected), "round {round}");
        }
        assert!(ring.counters().completions_overflowed > 0);
    }

    /// A local socket stands in for a network device: its far end takes ten datagrams and then has no
    /// room until somebody reads.
    #[test]
    fn sends_without_room_are_counted_and_the_socket_sends_again_when_there_is_some() {
        use std::os::unix::net::UnixDatagram;
        let mut ring = small(64, 128, 64);
        let mut outbox = Outbox::new(50);
        let (ours, far) = UnixDatagram::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let mut buffer = [0; 16];
        let socket = ring.add_socket(ours.into(), Receive::NotYet).unwrap();
        for _ in 0..3 {
            let exhausted = ring.counters().send_space_exhausted;
            (0..50).for_each(|n| queue(&mut outbox, socket, None, n));
            ring.send(&mut outbox).unwrap();
            assert_eq!(outbox.free_slots(), 50);
            ring.wait(&mut outbox, Instant::now()).unwrap();
            assert!(ring.next_arrival().is_none());
            let left = std::iter::from_fn(|| far.recv(&mut buffer).ok()).count() as u64;
            assert!(left > 0);
            assert_eq!(ring.counters().send_space_exhausted - exhausted, 50 - left);
        }
    }

    #[test]
    fn a_ring_without_a_free_socket_slot_says_so_and_keeps_the_others() {
        let limits = RingLimits { submissions: 4, completions: 4, buffers: 4 };
        let mut ring = Ring::new(1, limits, Wake::new().unwrap()).unwrap();
        let mut outbox = Outbox::new(1);
        let (fd, address) = bound(Purpose::Shared);
        ring.add_socket(fd, Receive::Shared).unwrap();
        let (another, _) = bound(Purpose::Shared);
        ring.add_socket(another, Receive::Shared).unwrap_err();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"alive", address).unwrap();
        assert_eq!(gather(&mut ring, &mut outbox, 1)[0].1, b"alive");
    }

    #[test]
    fn operations_survive_packing() {
        let socket = SocketIndex { index: u32::MAX, generation: (1 << GENERATION_BITS) - 1 };
        for operation in
            [Operation::Receive(socket), Operation::Send, Operation::Wake, Operation::Cancel]
        {
            assert_eq!(Operation::unpack(operation.pack()), operation);
        }
    }
}
