//! The io_uring of one media thread: the only file that knows io_uring.
//!
//! In: datagrams with their sources (multishot `recvmsg`), and wake-ups. Out: what the packet line queued
//! in the [`Outbox`]. Sockets are registered, and receive buffers come from one ring-mapped group that
//! they all share. No socket is connected: the kernel would drop what strangers send, uncounted, and
//! answer it with ICMP.
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
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;
use std::{fmt, io};

use io_uring::types::{BufRingEntry, Fd, Fixed, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::network::{Arrival, Datagram, Network, NetworkCounters};
use super::outbox::Outbox;
use super::route::{SocketIndex, address_of};
use super::sockets::{self, BoundSocket};
use super::wake::Wake;
use crate::base::narrow::{LowHalf, Narrow};

/// Tries to hand over a submission for which the kernel has no memory.
const SUBMIT_TRIES: usize = 1_000;
/// Bytes of a receive buffer: a 1,500-byte datagram with its source address in front.
const BUFFER_BYTES: usize = 2048;
/// The one buffer group.
const GROUP: u16 = 0;
/// Room for a source address in front of a datagram.
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

struct Socket {
    bound: Option<BoundSocket>,
    generation: u32,
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
    counters: NetworkCounters,
    /// The buffer that the last arrival was lent.
    lent: Option<u16>,
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
            sockets: (0..sockets).map(|_| Socket { bound: None, generation: 0 }).collect(),
            free_sockets: (0..sockets.narrow()).rev().collect(),
            completions: VecDeque::with_capacity(limits.completions as usize),
            message_header,
            wake,
            wake_count: Box::new(0),
            counters: NetworkCounters::default(),
            lent: None,
        };
        this.arm_wake();
        Ok(this)
    }
}

impl Network for Ring {
    fn add(&mut self, bound: BoundSocket) -> io::Result<SocketIndex> {
        let descriptor = bound.descriptor().ok_or(io::ErrorKind::InvalidInput)?.as_raw_fd();
        let Some(index) = self.free_sockets.pop() else {
            return Err(io::Error::other("every socket slot of the ring is taken"));
        };
        if let Err(error) = self.ring.submitter().register_files_update(index, &[descriptor]) {
            self.free_sockets.push(index);
            return Err(error);
        }
        let entry = &mut self.sockets[index as usize];
        entry.bound = Some(bound);
        let socket = SocketIndex { index, generation: entry.generation };
        self.arm(socket);
        Ok(socket)
    }

    fn remove(&mut self, socket: SocketIndex) {
        if self.entry(socket).is_none() {
            return;
        }
        let receive = Operation::Receive(socket).pack();
        self.push(opcode::AsyncCancel::new(receive).build(), Operation::Cancel);
        let entry = &mut self.sockets[socket.position()];
        entry.generation = (entry.generation + 1) & ((1 << GENERATION_BITS) - 1);
        entry.bound = None;
        // Cannot fail for an index inside the table; were it to, the next update replaces it.
        let _ = self.ring.submitter().register_files_update(socket.index, &[-1]);
        self.free_sockets.push(socket.index);
    }

    fn wait(&mut self, outbox: &mut Outbox, until: Instant) -> io::Result<()> {
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

    fn send(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        self.push_sends(outbox);
        self.submit_rest()?;
        outbox.clear();
        Ok(())
    }

    fn next_arrival(&mut self) -> Option<Arrival<'_>> {
        if let Some(id) = self.lent.take() {
            self.buffers.provide(id);
        }
        while let Some((user_data, result, flags)) = self.completions.pop_front() {
            match Operation::unpack(user_data) {
                Operation::Receive(socket) => {
                    if let Some((from, truncated, place)) = self.received(socket, result, flags) {
                        let bytes = self.buffers.bytes(place);
                        self.lent = Some(place.id);
                        let datagram = Datagram { socket, from, truncated, bytes };
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

    /// They are read one by one, for this is not a matter of every packet.
    fn discard_waiting(&mut self) -> u64 {
        let bound = self.sockets.iter().filter_map(|socket| socket.bound.as_ref());
        bound.filter_map(BoundSocket::descriptor).map(sockets::discard_waiting).sum()
    }

    fn counters(&self) -> NetworkCounters {
        self.counters
    }
}

impl Ring {
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
                Some(to) => {
                    let name = to.name();
                    send.dest_addr(name.as_ptr().cast()).dest_addr_len(name.len().narrow())
                }
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
            .filter(|entry| entry.generation == socket.generation && entry.bound.is_some())
    }

    /// What a completed receive brought: the source, whether the datagram is whole, and where it lies.
    fn received(
        &mut self,
        socket: SocketIndex,
        result: i32,
        flags: u32,
    ) -> Option<(SocketAddr, bool, Place)> {
        let is_open = self.entry(socket).is_some();
        if is_open && !cqueue::more(flags) {
            self.arm(socket);
        }
        if result < 0 {
            match -result {
                libc::ENOBUFS => self.counters.receive_buffers_exhausted += 1,
                libc::ECANCELED => {}
                _ => self.counters.receive_errors += 1,
            }
        }
        let id = cqueue::buffer_select(flags)?;
        let arrival = match usize::try_from(result) {
            Ok(length) if is_open => self.read(id, length),
            _ => None,
        };
        match arrival {
            Some(_) => self.counters.received += 1,
            None => self.buffers.provide(id),
        }
        arrival
    }

    fn read(&mut self, id: u16, length: usize) -> Option<(SocketAddr, bool, Place)> {
        let buffer = self.buffers.bytes(Place { id, start: 0, end: length });
        let message = RecvMsgOut::parse(buffer, &self.message_header).ok()?;
        let from = address_of(message.name_data())?;
        let start = length - message.payload_data().len();
        Some((from, message.is_payload_truncated(), Place { id, start, end: length }))
    }

    fn arm(&mut self, socket: SocketIndex) {
        let header = &*self.message_header;
        let entry = opcode::RecvMsgMulti::new(Fixed(socket.index), header, GROUP).build();
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

/// A datagram's place in the group's memory.
#[derive(Clone, Copy)]
struct Place {
    id: u16,
    start: usize,
    end: usize,
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

    /// A part of a buffer that the kernel handed over and that was not provided again.
    fn bytes(&mut self, place: Place) -> &mut [u8] {
        assert!(usize::from(place.id) < self.entries.len() && place.end <= BUFFER_BYTES);
        // SAFETY: `id` came from a completion, so the buffer is inside `memory` and the kernel no
        // longer writes to it; the borrow ends before it is provided again, which needs `self`.
        let buffer = unsafe {
            std::slice::from_raw_parts_mut(
                self.memory.add(usize::from(place.id) * BUFFER_BYTES),
                BUFFER_BYTES,
            )
        };
        &mut buffer[place.start..place.end]
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::super::sockets::Purpose;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn bound(purpose: Purpose) -> (BoundSocket, SocketAddr) {
        let socket = BoundSocket::bind("127.0.0.1:0".parse().unwrap(), purpose).unwrap();
        let address = socket.address();
        (socket, address)
    }

    /// Datagrams until `count` came.
    fn gather(ring: &mut Ring, outbox: &mut Outbox, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let until = Instant::now() + PATIENCE;
        let mut gathered = Vec::new();
        while gathered.len() < count {
            assert!(Instant::now() < until, "only {} of {count} came", gathered.len());
            ring.wait(outbox, until).unwrap();
            while let Some(arrival) = ring.next_arrival() {
                if let Arrival::Datagram(datagram) = arrival {
                    gathered.push((datagram.from, datagram.bytes.to_vec()));
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
        let socket = ring.add(fd).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"question", address).unwrap();

        let gathered = gather(&mut ring, &mut outbox, 1);
        assert_eq!(gathered, [(peer.local_addr().unwrap(), b"question".to_vec())]);

        outbox.queue::<()>(socket, Some(gathered[0].0.into()), |slot| {
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
    fn a_socket_whose_far_end_is_closed_sends_and_receives_on() {
        let mut ring = Ring::new(8, RingLimits::THREAD, Wake::new().unwrap()).unwrap();
        let mut outbox = Outbox::new(8);
        let (socket, address) = bound(Purpose::Leg);
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let remote = peer.local_addr().unwrap();
        drop(peer);
        let socket = ring.add(socket).unwrap();
        for _ in 0..3 {
            outbox.queue::<()>(socket, Some(remote.into()), |_| Ok(20));
            ring.send(&mut outbox).unwrap();
            ring.wait(&mut outbox, Instant::now() + Duration::from_millis(20)).unwrap();
            assert!(ring.next_arrival().is_none());
        }
        let peer = UdpSocket::bind(remote).unwrap();
        peer.send_to(b"back", address).unwrap();
        assert_eq!(gather(&mut ring, &mut outbox, 1)[0].1, b"back");
    }

    #[test]
    fn a_removed_socket_is_silent_and_its_index_serves_again() {
        let mut ring = Ring::new(1, RingLimits::THREAD, Wake::new().unwrap()).unwrap();
        let mut outbox = Outbox::new(8);
        let (fd, address) = bound(Purpose::Shared);
        let old = ring.add(fd).unwrap();
        ring.wait(&mut outbox, Instant::now()).unwrap();
        ring.remove(old);
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = peer.send_to(b"ghost", address);
        let (fd, address) = bound(Purpose::Shared);
        let new = ring.add(fd).unwrap();
        assert_eq!(old.position(), new.position());
        assert_ne!(old, new);
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
                ring.add(fd).unwrap();
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
        let queued = outbox.queue::<()>(socket, to.map(Into::into), |slot| {
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
        let socket = ring.add(fd).unwrap();
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
                ring.add(fd).unwrap();
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
        let unused = "127.0.0.1:1".parse().unwrap();
        let socket = ring.add(BoundSocket::from_descriptor(ours.into(), unused)).unwrap();
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
        ring.add(fd).unwrap();
        let (another, _) = bound(Purpose::Shared);
        ring.add(another).unwrap_err();
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
