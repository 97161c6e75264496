//! A bare forwarder: what it costs to pass a call's datagrams on through sockets, and nothing else. It
//! says how much of an engine's time is the kernel's, and which way of receiving is the cheapest one
//! when a call's next datagram is 20 ms away.
//!
//! It runs as a child process, placed and accounted as an engine is. Far ends have the addresses that
//! [`address_of`] gives them, so that it needs no word about each call.
#![allow(unsafe_code)] // buffers are shared with the kernel, as in linecard's own ring

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use io_uring::types::{Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use linecard::os::network::{Arrival, Network};
use linecard::os::outbox::Outbox;
use linecard::os::ring::{Ring, RingLimits};
use linecard::os::sockets::{self, BoundSocket, Purpose};
use linecard::os::wake::Wake;
use serde::{Deserialize, Serialize};
use socket2::SockAddr;

use crate::ends::generator::{address_of, end_of};

/// How datagrams are received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// As linecard does: multishot receives, ring-mapped buffers, registered sockets, sends by the
    /// same submission.
    Multishot,
    /// Receives that are armed again after each datagram, registered sockets, a buffer each.
    OneShot,
    /// The same without registering the sockets.
    OneShotPlain,
    /// epoll tells which sockets have something; all of them are read in one submission.
    ReadyBatch,
    /// epoll, and a system call for each datagram in and out.
    Syscalls,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Strategy; 5] = [
        Strategy::Multishot,
        Strategy::OneShot,
        Strategy::OneShotPlain,
        Strategy::ReadyBatch,
        Strategy::Syscalls,
    ];
}

/// Which sockets the trunks' side has; the browsers share one in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One for each call; connected to its far end, but for the strategy that linecard has.
    Each,
    /// One for all of them.
    Shared,
}

impl Layout {
    /// Both.
    pub const ALL: [Layout; 2] = [Layout::Each, Layout::Shared];
}

/// Of the child process.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ForwardArguments {
    /// Calls.
    #[arg(long)]
    pub calls: u16,
    /// The browsers' port.
    #[arg(long)]
    pub browsers: u16,
    /// The trunks' port.
    #[arg(long)]
    pub trunks: u16,
    /// How to receive.
    #[arg(long, value_enum)]
    pub strategy: Strategy,
    /// On which sockets.
    #[arg(long, value_enum)]
    pub layout: Layout,
}

/// Where the far ends have to send to: what the child says once it listens.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ports {
    /// Of the browsers.
    pub browsers: u16,
    /// Of the trunks: one a call, or one.
    pub trunks: Vec<u16>,
}

/// The browsers' socket; the trunks' follow it.
const BROWSERS: usize = 0;
/// Receives that wait at a shared socket at a time, where each brings one datagram.
const SHARED_RECEIVES: usize = 32;
const BUFFER_BYTES: usize = 2_048;
const SUBMISSIONS: u32 = 4_096;
/// As in linecard's ring.
const GATHERED: usize = 16;
const GATHER_US: u32 = 50;
/// Sockets that are told of at a time.
const READY_MAX: usize = 256;
/// A turn ends after this long, whatever comes.
const TURN: Duration = Duration::from_secs(1);

/// Forwards until it is ended.
pub fn forward(arguments: &ForwardArguments) -> Result<std::convert::Infallible, String> {
    let forwarder = Forwarder::bind(arguments).map_err(|error| error.to_string())?;
    println!("{}", serde_json::to_string(&forwarder.ports()?).map_err(|error| error.to_string())?);
    let failed = match arguments.strategy {
        Strategy::Multishot => forwarder.multishot(),
        Strategy::OneShot => {
            Direct::new(&forwarder, Files::Registered).and_then(|mut direct| direct.one_shot())
        }
        Strategy::OneShotPlain => {
            Direct::new(&forwarder, Files::Plain).and_then(|mut direct| direct.one_shot())
        }
        Strategy::ReadyBatch => {
            Direct::new(&forwarder, Files::Registered).and_then(|mut direct| direct.ready_batch())
        }
        Strategy::Syscalls => forwarder.system_calls(),
    };
    failed.map_err(|error| format!("forwarder: {error}"))
}

struct Forwarder {
    sockets: Vec<BoundSocket>,
    is_connected: bool,
    far_ports: [u16; 2],
    layout: Layout,
}

/// Where a datagram goes on to: a socket and, unless that is connected, an address.
type Onward = (usize, Option<SocketAddrV4>);

impl Forwarder {
    fn bind(arguments: &ForwardArguments) -> io::Result<Self> {
        let ForwardArguments { calls, browsers, trunks, layout, strategy } = *arguments;
        let is_connected = layout == Layout::Each && strategy != Strategy::Multishot;
        sockets::raise_descriptor_limit();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut bound = vec![BoundSocket::bind(any, Purpose::Shared)?];
        match layout {
            Layout::Shared => bound.push(BoundSocket::bind(any, Purpose::Shared)?),
            Layout::Each => {
                for call in 0..calls {
                    let socket = BoundSocket::bind(any, Purpose::Leg)?;
                    if is_connected {
                        let far_end = SocketAddr::from((address_of(call, 1), trunks));
                        rustix::net::connect(descriptor(&socket)?, &far_end)?;
                    }
                    bound.push(socket);
                }
            }
        }
        let far_ports = [browsers, trunks];
        Ok(Self { sockets: bound, is_connected, far_ports, layout })
    }

    fn ports(&self) -> Result<Ports, String> {
        let mut ports: Vec<u16> =
            self.sockets.iter().map(|socket| socket.address().port()).collect();
        Ok(Ports { browsers: ports.remove(BROWSERS), trunks: ports })
    }

    /// Whether a datagram's source has to be known.
    fn is_shared(&self, socket: usize) -> bool {
        socket == BROWSERS || !self.is_connected
    }

    fn descriptors(&self) -> io::Result<Vec<&OwnedFd>> {
        self.sockets.iter().map(descriptor).collect()
    }

    fn onward(&self, socket: usize, from: Option<SocketAddrV4>) -> Option<Onward> {
        let call = match from {
            Some(from) => u16::try_from(end_of(*from.ip())? / 2).ok()?,
            None => u16::try_from(socket - 1).ok()?,
        };
        let far =
            |side: usize| Some(SocketAddrV4::new(address_of(call, side), self.far_ports[side]));
        Some(match (socket, self.layout) {
            (BROWSERS, Layout::Each) => {
                (1 + usize::from(call), if self.is_connected { None } else { far(1) })
            }
            (BROWSERS, Layout::Shared) => (1, far(1)),
            _ => (BROWSERS, far(0)),
        })
    }

    /// With linecard's own ring.
    fn multishot(mut self) -> io::Result<std::convert::Infallible> {
        let sockets = std::mem::take(&mut self.sockets);
        let mut ring = Ring::new(sockets.len(), RingLimits::THREAD, Wake::new()?)?;
        let mut indexes = Vec::with_capacity(sockets.len());
        for socket in sockets {
            indexes.push(ring.add(socket)?);
        }
        let mut outbox = Outbox::new(SUBMISSIONS as usize);
        loop {
            ring.wait(&mut outbox, Instant::now() + TURN)?;
            while let Some(arrival) = ring.next_arrival() {
                let Arrival::Datagram(datagram) = arrival else { continue };
                let from = match datagram.from {
                    SocketAddr::V4(from) => Some(from),
                    SocketAddr::V6(_) => None,
                };
                if let Some((to, address)) = self.onward(datagram.socket.position(), from) {
                    let address = address.map(|address| SocketAddr::V4(address).into());
                    let bytes = datagram.bytes;
                    outbox.queue::<()>(indexes[to], address, |slot| {
                        slot[..bytes.len()].copy_from_slice(bytes);
                        Ok(bytes.len())
                    });
                }
            }
        }
    }

    fn system_calls(&self) -> io::Result<std::convert::Infallible> {
        let descriptors = self.descriptors()?;
        let mut ready = Ready::new(&descriptors)?;
        let mut buffer = [0_u8; BUFFER_BYTES];
        loop {
            for at in ready.wait()? {
                // A socket that has more is told of again.
                let most = if self.is_shared(at) { SHARED_RECEIVES } else { 1 };
                for _ in 0..most {
                    let Some((length, from)) = receive(descriptors[at], &mut buffer) else {
                        break;
                    };
                    let from = from.filter(|_| self.is_shared(at));
                    if let Some((to, address)) = self.onward(at, from) {
                        let socket = socket2::SockRef::from(descriptors[to]);
                        let _ = match address {
                            Some(address) => socket.send_to(&buffer[..length], &address.into()),
                            None => socket.send(&buffer[..length]),
                        };
                    }
                }
            }
        }
    }
}

fn descriptor(socket: &BoundSocket) -> io::Result<&OwnedFd> {
    socket.descriptor().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// One datagram, if there is one.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Option<(usize, Option<SocketAddrV4>)> {
    let (length, from) =
        rustix::net::recvfrom(socket, &mut *buffer, rustix::net::RecvFlags::DONTWAIT)
            .map(|(length, _, from)| (length, from))
            .ok()?;
    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
    Some((
        length,
        from.and_then(|from| if let SocketAddr::V4(from) = from { Some(from) } else { None }),
    ))
}

/// Which sockets have something.
struct Ready {
    epoll: OwnedFd,
    events: Vec<rustix::event::epoll::Event>,
}

impl Ready {
    fn new(sockets: &[&OwnedFd]) -> io::Result<Self> {
        use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create};
        let epoll = create(CreateFlags::CLOEXEC)?;
        for (at, socket) in sockets.iter().enumerate() {
            add(&epoll, *socket, EventData::new_u64(at as u64), EventFlags::IN)?;
        }
        Ok(Self { epoll, events: Vec::with_capacity(READY_MAX) })
    }

    fn wait(&mut self) -> io::Result<impl Iterator<Item = usize>> {
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        match rustix::event::epoll::wait(&self.epoll, room, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(|event| event.data.u64() as usize))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    Registered,
    Plain,
}

/// One receive and its buffer.
struct Slot {
    socket: usize,
    buffer: [u8; BUFFER_BYTES],
    to: Option<SockAddr>,
    name: libc::sockaddr_in,
    vector: libc::iovec,
    message: libc::msghdr,
}

/// A ring of its own with a buffer for each receive.
struct Direct<'a> {
    forwarder: &'a Forwarder,
    files: Files,
    ring: IoUring,
    /// Never grows: the kernel has pointers into it.
    slots: Vec<Slot>,
    /// Where each socket's slots begin.
    first: Vec<usize>,
    descriptors: Vec<RawFd>,
    completions: Vec<(u64, i32)>,
}

/// No slot: a send that failed.
const SEND: u64 = u64::MAX;

impl<'a> Direct<'a> {
    fn new(forwarder: &'a Forwarder, files: Files) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize(2 * SUBMISSIONS)
            .build(SUBMISSIONS)?;
        let descriptors = forwarder.descriptors()?;
        let descriptors: Vec<RawFd> = descriptors.into_iter().map(AsRawFd::as_raw_fd).collect();
        ring.submitter().register_files(&descriptors)?;
        let (mut slots, mut first) = (Vec::new(), Vec::new());
        for socket in 0..forwarder.sockets.len() {
            first.push(slots.len());
            let receives = if forwarder.is_shared(socket) { SHARED_RECEIVES } else { 1 };
            slots.extend((0..receives).map(|_| Slot::new(socket)));
        }
        first.push(slots.len());
        Ok(Self { forwarder, files, ring, slots, first, descriptors, completions: Vec::new() })
    }

    fn one_shot(&mut self) -> io::Result<std::convert::Infallible> {
        (0..self.slots.len()).for_each(|slot| self.arm(slot, 0));
        let turn = Timespec::new().sec(TURN.as_secs());
        loop {
            let arguments = SubmitArgs::new().timespec(&turn).min_wait_usec(GATHER_US);
            enter(self.ring.submitter().submit_with_args(GATHERED, &arguments))?;
            self.take();
            while let Some((slot, result)) = self.completions.pop() {
                self.pass_on(slot, result);
                if slot != SEND {
                    self.arm(slot as usize, 0);
                }
            }
        }
    }

    fn ready_batch(&mut self) -> io::Result<std::convert::Infallible> {
        let mut ready = Ready::new(&self.forwarder.descriptors()?)?;
        loop {
            let mut wanted = 0;
            for socket in ready.wait()? {
                for slot in self.first[socket]..self.first[socket + 1] {
                    self.arm(slot, libc::MSG_DONTWAIT);
                    wanted += 1;
                }
            }
            while wanted > 0 {
                enter(self.ring.submit_and_wait(wanted))?;
                self.take();
                while let Some((slot, result)) = self.completions.pop() {
                    wanted -= usize::from(slot != SEND);
                    self.pass_on(slot, result);
                }
            }
            enter(self.ring.submit())?;
        }
    }

    fn take(&mut self) {
        let completions = self.ring.completion().map(|entry| (entry.user_data(), entry.result()));
        self.completions.extend(completions);
        self.completions.reverse();
    }

    fn arm(&mut self, slot: usize, flags: i32) {
        let at = &mut self.slots[slot];
        let entry = if self.forwarder.is_shared(at.socket) {
            at.point();
            let message: *mut libc::msghdr = &raw mut at.message;
            match self.files {
                Files::Registered => opcode::RecvMsg::new(Fixed(at.socket as u32), message),
                Files::Plain => opcode::RecvMsg::new(self.descriptor(slot), message),
            }
            .flags(flags as u32)
            .build()
        } else {
            let (buffer, length) = (at.buffer.as_mut_ptr(), BUFFER_BYTES as u32);
            match self.files {
                Files::Registered => opcode::Recv::new(Fixed(at.socket as u32), buffer, length),
                Files::Plain => opcode::Recv::new(self.descriptor(slot), buffer, length),
            }
            .flags(flags)
            .build()
        };
        self.push(entry.user_data(slot as u64));
    }

    fn descriptor(&self, slot: usize) -> Fd {
        Fd(self.descriptors[self.slots[slot].socket])
    }

    fn pass_on(&mut self, slot: u64, result: i32) {
        let (true, Ok(length)) = (slot != SEND, u32::try_from(result)) else { return };
        let at = &mut self.slots[slot as usize];
        let from = self.forwarder.is_shared(at.socket).then(|| at.source());
        let Some((to, address)) = self.forwarder.onward(at.socket, from) else { return };
        let bytes = at.buffer.as_ptr();
        at.to = address.map(SockAddr::from);
        let send = match self.files {
            Files::Registered => opcode::Send::new(Fixed(to as u32), bytes, length),
            Files::Plain => opcode::Send::new(Fd(self.descriptors[to]), bytes, length),
        };
        let send = match &at.to {
            Some(to) => send.dest_addr(to.as_ptr().cast()).dest_addr_len(to.len()),
            None => send,
        };
        let send = send.flags(libc::MSG_DONTWAIT).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(send.user_data(SEND));
    }

    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: every buffer, name and header belongs to a slot of `slots`, which stays in place as
        // long as the ring. A send is over when it was submitted (MSG_DONTWAIT), and stands before the
        // next receive into the same slot.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            let _ = self.ring.submit();
        }
    }
}

impl Slot {
    fn new(socket: usize) -> Self {
        // SAFETY: all-zero name, vector and header are valid: plain integers and null pointers.
        let (name, vector, message) = unsafe { std::mem::zeroed() };
        Self { socket, buffer: [0; BUFFER_BYTES], to: None, name, vector, message }
    }

    /// Points the header at this slot's own name and buffer.
    fn point(&mut self) {
        self.vector =
            libc::iovec { iov_base: self.buffer.as_mut_ptr().cast(), iov_len: BUFFER_BYTES };
        self.message.msg_name = (&raw mut self.name).cast();
        self.message.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        self.message.msg_iov = &raw mut self.vector;
        self.message.msg_iovlen = 1;
    }

    fn source(&self) -> SocketAddrV4 {
        let address = Ipv4Addr::from(u32::from_be(self.name.sin_addr.s_addr));
        SocketAddrV4::new(address, u16::from_be(self.name.sin_port))
    }
}

/// Time that is up and signals are no failure.
fn enter(result: io::Result<usize>) -> io::Result<()> {
    match result.map_err(|error| (error.raw_os_error(), error)) {
        Ok(_) | Err((Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN), _)) => Ok(()),
        Err((_, error)) => Err(error),
    }
}
