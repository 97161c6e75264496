//! The far ends of every call, on one thread with a core of its own: a packet each 20 ms from each
//! end, at phases spread at random, and everything that comes back, counted and timed.
//!
//! All browsers send from one socket and all trunks from another; each end has an address of its own
//! in 127/8. The thread sleeps by the clock in steps of [`STEP_NS`] and is never woken by a packet:
//! times of arrival are the kernel's, so that reading late costs nothing, and how late it sends is
//! measured. What it sends late or cannot read is its own starvation, and is told.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use linecard::base::discard::Discard;
use linecard::base::random::{self, Random};
use rand::RngExt;

use crate::ends::end::{Answer, End, EndSettings, Heard, Opened};
use crate::ends::impairment::{Fate, Impairments, OnPurpose};
use crate::ends::matching::Anomalies;
use crate::ends::sockets::{DATAGRAM_BYTES_MAX, ReceiveBatch, Received, SendBatch, Socket};
use crate::machine::clock::{monotonic_ns, ns, sleep_until, wall_ns};
use crate::machine::socket_drops;

/// Streams are spread over steps of this length: the finest that a sleeping thread keeps to.
const STEP_NS: i64 = 100_000;
/// Steps in the time of a packet, 20 ms.
const STEPS: usize = 200;
/// How often sockets are emptied.
const DRAIN_EVERY_NS: i64 = 500_000;
/// What this thread sleeps each turn at least, however late it is: others on its core go on.
const REST_NS: i64 = 20_000;
/// Batches read in a row before it is looked whether something is to be sent.
const DRAIN_BATCHES_MAX: usize = 16;
/// Packets of each stream that nothing is done to: the first output has to answer the first input.
const OPENING_PACKETS: u64 = 50;
/// The first octets of a browser's and a trunk's address.
const NETWORKS: [u8; 2] = [1, 2];

/// The address of one end of a call.
pub fn address_of(call: u16, side: usize) -> Ipv4Addr {
    let [high, low] = call.to_be_bytes();
    Ipv4Addr::new(127, NETWORKS[side], high, low)
}

/// Which end an address is: twice its call, and one more for the trunk.
pub fn end_of(address: Ipv4Addr) -> Option<usize> {
    let [127, network, high, low] = address.octets() else { return None };
    let side = NETWORKS.iter().position(|known| *known == network)?;
    Some(2 * usize::from(u16::from_be_bytes([high, low])) + side)
}

/// What the thread is told.
pub enum Order {
    /// Both ends of a call, browser first; calls are numbered in the order they come.
    Add(Box<[EndSettings; 2]>),
    /// Packets sent from one wall-clock time to another count.
    Measure([i64; 2]),
    /// Tells how long nothing came.
    Silences(Sender<Silences>),
    /// Sends no more, and goes on to receive.
    StopSending,
    /// Ends the thread.
    End,
}

/// What each end heard nothing for, at most, since this was asked last.
pub struct Silences {
    /// In microseconds, browsers' and trunks'.
    pub longest_us: [Vec<u32>; 2],
    /// How late packets were handed to the kernel since then.
    pub late_us: Vec<u32>,
}

/// Both sockets of the far ends.
pub struct Sockets {
    /// Browsers', then trunks'.
    pub rtp: [Socket; 2],
    /// Takes RTCP toward trunks, so that no ICMP refusal answers it; never read.
    _rtcp: Socket,
}

impl Sockets {
    /// Bound to any free ports; the trunks' has its RTCP port above it (RFC 3550 §11).
    pub fn bind() -> io::Result<Self> {
        let browsers = Socket::bind(0)?;
        for _ in 0..100 {
            let trunks = Socket::bind(0)?;
            if trunks.port() % 2 == 0
                && let Ok(rtcp) = Socket::bind(trunks.port() + 1)
            {
                return Ok(Self { rtp: [browsers, trunks], _rtcp: rtcp });
            }
        }
        Err(io::Error::other("no pair of UDP ports is free"))
    }

    /// Their ports.
    pub fn ports(&self) -> [u16; 2] {
        [self.rtp[0].port(), self.rtp[1].port()]
    }
}

/// One measured delay.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When the input left, in microseconds since the measurement began.
    pub sent_us: u32,
    /// From the call that sent the input to the kernel's time of arrival of the output.
    pub delay_us: u32,
}

/// What was seen of one direction within the measured time.
#[derive(Clone, Debug, Default)]
pub struct DirectionSeen {
    /// Inputs sent.
    pub sent: u64,
    /// Inputs lost on purpose.
    pub lost_on_purpose: u64,
    /// Outputs of sent inputs.
    pub answered: u64,
    /// Outputs in the place of inputs that were lost on purpose.
    pub filled: u64,
    /// Outputs in the place of inputs that the network held back for so long.
    pub overtaken: u64,
    /// Outputs that came twice.
    pub duplicates: u64,
    /// What the network did, over the whole run.
    pub on_purpose: OnPurpose,
    /// Outputs whose payload was looked at, over the whole run.
    pub opened: Opened,
    /// Order and timestamps.
    pub anomalies: Anomalies,
    /// Each answered input.
    pub samples: Vec<Sample>,
}

/// What the thread saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// From browsers to trunks, and back.
    pub directions: [DirectionSeen; 2],
    /// How late packets were handed to the kernel.
    pub late_us: Vec<u32>,
    /// Datagrams that the kernel did not take.
    pub refused_sends: u64,
    /// Most datagrams that waited unread at once.
    pub backlog_max: u64,
    /// Datagrams that could not be authenticated or read.
    pub bad: u64,
    /// RTCP packets and answers to checks.
    pub control: u64,
    /// Datagrams that the sockets had no room for.
    pub dropped: u64,
    /// Streams, two a call, that nothing ever came back on.
    pub silent_streams: u64,
    /// From when to when senders were stalled, in microseconds since the measurement began.
    pub stalled_us: Option<[u32; 2]>,
}

/// A datagram that the network holds back.
struct HeldBack {
    due_ns: i64,
    end: usize,
    number: u64,
    bytes: Box<[u8]>,
}

impl PartialEq for HeldBack {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for HeldBack {}
impl PartialOrd for HeldBack {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for HeldBack {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due_ns, self.end, self.number).cmp(&(other.due_ns, other.end, other.number))
    }
}

/// The generator's state: ends 2k and 2k + 1 are browser and trunk of call k.
pub struct Generator {
    orders: Receiver<Order>,
    sockets: Sockets,
    ends: Vec<End>,
    /// The ends whose packets are due in each step of 20 ms.
    wheel: Vec<Vec<usize>>,
    held_back: BinaryHeap<Reverse<HeldBack>>,
    outgoing: [Outgoing; 2],
    incoming: ReceiveBatch,
    impairments: Impairments,
    random: Random,
    measured_ns: [i64; 2],
    /// From when to when senders are stalled, by the wall clock.
    stalled_ns: Option<[i64; 2]>,
    seen: Seen,
}

/// What one socket is about to send.
struct Outgoing {
    batch: SendBatch,
    /// Which packets those are; consent checks have none.
    packets: Vec<Option<(usize, u64)>>,
}

impl Generator {
    /// `samples` is how many delays are expected in each direction: room for them is made now.
    pub fn new(
        sockets: Sockets,
        orders: Receiver<Order>,
        impairments: Impairments,
        samples: usize,
    ) -> Self {
        let direction =
            || DirectionSeen { samples: Vec::with_capacity(samples), ..DirectionSeen::default() };
        let outgoing = || Outgoing { batch: SendBatch::new(), packets: Vec::new() };
        Self {
            orders,
            sockets,
            ends: Vec::new(),
            wheel: vec![Vec::new(); STEPS],
            held_back: BinaryHeap::new(),
            outgoing: [outgoing(), outgoing()],
            incoming: ReceiveBatch::new(),
            impairments,
            random: random::from_seed(20),
            measured_ns: [i64::MAX; 2],
            stalled_ns: None,
            seen: Seen {
                directions: [direction(), direction()],
                late_us: Vec::with_capacity(2 * samples),
                ..Seen::default()
            },
        }
    }

    /// Sends and receives until told to end.
    pub fn run(mut self) -> io::Result<Seen> {
        let mut due_ns = monotonic_ns();
        let (mut step, mut drained_ns, mut sends) = (0, due_ns, true);
        loop {
            loop {
                match self.orders.try_recv() {
                    Ok(Order::Add(ends)) => self.add(*ends),
                    Ok(Order::Measure(measured_ns)) => self.measured_ns = measured_ns,
                    Ok(Order::Silences(to)) => {
                        self.drain(usize::MAX)?;
                        let _ = to.send(self.take_silences());
                    }
                    Ok(Order::StopSending) => sends = false,
                    Ok(Order::End) | Err(TryRecvError::Disconnected) => {
                        self.drain(usize::MAX)?;
                        return Ok(self.finish());
                    }
                    Err(TryRecvError::Empty) => break,
                }
            }
            let now_ns = monotonic_ns();
            while due_ns <= now_ns {
                // Before what is due later, also when this thread is late for both.
                self.send_held_back(due_ns)?;
                if sends {
                    self.send_step(step, due_ns)?;
                }
                step = (step + 1) % STEPS;
                due_ns += STEP_NS;
            }
            self.send_held_back(now_ns)?;
            if now_ns - drained_ns >= DRAIN_EVERY_NS {
                self.drain(DRAIN_BATCHES_MAX)?;
                drained_ns = now_ns;
            }
            sleep_until(due_ns.max(monotonic_ns() + REST_NS));
        }
    }

    fn add(&mut self, ends: [EndSettings; 2]) {
        for settings in ends {
            let mut end = End::new(settings);
            let step = self.random.random_range(0..STEPS);
            if self.impairments.stall_ms > 0 {
                // Not all at once: that would be a stall of the engine's network, not of a sender.
                let after_ns = STALL_AFTER_NS + self.random.random_range(0..STALL_SPREAD_NS);
                let stalled = std::time::Duration::from_millis(self.impairments.stall_ms.into());
                end.path.stall(monotonic_ns() + after_ns, stalled);
                let from_ns = wall_ns() + after_ns;
                let to_ns = from_ns + ns(stalled);
                let [first_ns, last_ns] = self.stalled_ns.unwrap_or([from_ns, to_ns]);
                self.stalled_ns = Some([first_ns.min(from_ns), last_ns.max(to_ns)]);
            }
            self.wheel[step].push(self.ends.len());
            self.ends.push(end);
        }
    }

    /// Sends what is due in one step.
    fn send_step(&mut self, step: usize, due_ns: i64) -> io::Result<()> {
        for place in 0..self.wheel[step].len() {
            let number = self.wheel[step][place];
            self.send_next(number, due_ns)?;
        }
        let late_us = ((monotonic_ns() - due_ns) / 1_000).clamp(0, i64::from(u32::MAX)) as u32;
        if self.measuring() {
            let streams = self.wheel[step].len();
            self.seen.late_us.extend(std::iter::repeat_n(late_us, streams));
        }
        self.flush(0)?;
        self.flush(1)
    }

    fn measuring(&self) -> bool {
        let [from_ns, to_ns] = self.measured_ns;
        from_ns != i64::MAX && (from_ns..to_ns).contains(&wall_ns())
    }

    /// The next packet of one end, as far as the network lets it go.
    fn send_next(&mut self, number: usize, due_ns: i64) -> io::Result<()> {
        let side = number % 2;
        let end = &mut self.ends[number];
        let (from, to) = end.addresses();
        if let Some(check) = end.consent_check() {
            let outgoing = &mut self.outgoing[side];
            outgoing.batch.push(from, to, |out| {
                out[..check.len()].copy_from_slice(check);
                check.len()
            });
            outgoing.packets.push(None);
            if outgoing.batch.is_full() {
                self.flush(side)?;
            }
        }
        let end = &mut self.ends[number];
        if end.report_is_due() {
            let outgoing = &mut self.outgoing[side];
            let now_ns = wall_ns();
            outgoing.batch.push(from, to, |out| end.report(out, now_ns).unwrap_or(0));
            outgoing.packets.push(None);
            if outgoing.batch.is_full() {
                self.flush(side)?;
            }
        }
        let end = &mut self.ends[number];
        let opening = end.packets() < OPENING_PACKETS;
        let done = if opening { Impairments::default() } else { self.impairments };
        match end.path.fate(due_ns, &done, &mut self.random) {
            Fate::Lost => {
                let now_ns = wall_ns();
                end.lose(now_ns);
                let [from_ns, to_ns] = self.measured_ns;
                let counts = (from_ns..to_ns).contains(&now_ns);
                self.seen.directions[side].lost_on_purpose += u64::from(counts);
                Ok(())
            }
            Fate::Leaves { at_ns, copies: 1 } if at_ns <= due_ns => {
                let outgoing = &mut self.outgoing[side];
                let mut made = None;
                outgoing.batch.push(from, to, |out| match end.make(out) {
                    Ok((packet, length)) => {
                        made = Some((number, packet));
                        length
                    }
                    Err(_) => 0,
                });
                outgoing.packets.push(made);
                if outgoing.batch.is_full() { self.flush(side) } else { Ok(()) }
            }
            Fate::Leaves { at_ns, copies } => {
                let mut bytes = [0; DATAGRAM_BYTES_MAX];
                let (packet, length) = end.make(&mut bytes).map_err(unmade)?;
                for _ in 0..copies {
                    let bytes = bytes[..length].into();
                    let held = HeldBack { due_ns: at_ns, end: number, number: packet, bytes };
                    self.held_back.push(Reverse(held));
                }
                Ok(())
            }
        }
    }

    fn send_held_back(&mut self, now_ns: i64) -> io::Result<()> {
        while self.held_back.peek().is_some_and(|Reverse(held)| held.due_ns <= now_ns) {
            let Some(Reverse(held)) = self.held_back.pop() else { break };
            let side = held.end % 2;
            let (from, to) = self.ends[held.end].addresses();
            let outgoing = &mut self.outgoing[side];
            outgoing.batch.push(from, to, |out| {
                out[..held.bytes.len()].copy_from_slice(&held.bytes);
                held.bytes.len()
            });
            outgoing.packets.push(Some((held.end, held.number)));
            if outgoing.batch.is_full() {
                self.flush(side)?;
            }
        }
        self.flush(0)?;
        self.flush(1)
    }

    fn flush(&mut self, side: usize) -> io::Result<()> {
        let outgoing = &mut self.outgoing[side];
        if outgoing.batch.is_empty() {
            return Ok(());
        }
        let now_ns = wall_ns();
        let taken = outgoing.batch.send(&self.sockets.rtp[side])?;
        let [from_ns, to_ns] = self.measured_ns;
        let counts = u64::from((from_ns..to_ns).contains(&now_ns));
        for (place, packet) in outgoing.packets.drain(..).enumerate() {
            if place >= taken {
                self.seen.refused_sends += 1;
            } else if let Some((end, number)) = packet {
                let first = self.ends[end].left(number, now_ns);
                self.seen.directions[side].sent += counts * u64::from(first);
            }
        }
        Ok(())
    }

    fn drain(&mut self, batches_max: usize) -> io::Result<()> {
        for side in 0..2 {
            let mut waiting = 0;
            for _ in 0..batches_max {
                let Self { incoming, sockets, ends, seen, measured_ns, .. } = self;
                let came = incoming.receive(&sockets.rtp[side], |datagram| {
                    take(ends, seen, *measured_ns, datagram);
                })?;
                waiting += came as u64;
                if came < crate::ends::sockets::BATCH {
                    break;
                }
            }
            self.seen.backlog_max = self.seen.backlog_max.max(waiting);
        }
        Ok(())
    }

    fn take_silences(&mut self) -> Silences {
        let now_ns = wall_ns();
        let mut longest_us = [Vec::new(), Vec::new()];
        for (number, end) in self.ends.iter_mut().enumerate() {
            let us = end.take_longest_silence_ns(now_ns) / 1_000;
            longest_us[number % 2].push(us.clamp(0, i64::from(u32::MAX)) as u32);
        }
        Silences { longest_us, late_us: std::mem::take(&mut self.seen.late_us) }
    }

    fn finish(mut self) -> Seen {
        let [began_ns, _] = self.measured_ns;
        let us = |at_ns: i64| ((at_ns - began_ns) / 1_000).clamp(0, i64::from(u32::MAX)) as u32;
        self.seen.stalled_us = self.stalled_ns.map(|stalled_ns| stalled_ns.map(us));
        self.seen.dropped = self.sockets.ports().map(socket_drops).iter().sum();
        for (number, end) in self.ends.iter().enumerate() {
            // What an end hears is the other end's direction.
            self.seen.directions[1 - number % 2].anomalies.add(end.anomalies());
            let opened = &mut self.seen.directions[1 - number % 2].opened;
            opened.packets += end.opened().packets;
            opened.redundant += end.opened().redundant;
            self.seen.directions[number % 2].on_purpose.add(end.path.on_purpose);
            self.seen.silent_streams += u64::from(end.heard_packets() == 0);
        }
        self.seen
    }
}

/// Streams stall this long after they began, at the earliest...
const STALL_AFTER_NS: i64 = 4_000_000_000;
/// ...spread over this.
const STALL_SPREAD_NS: i64 = 500_000_000;

/// A datagram came: which end it was for, and what it is there.
fn take(ends: &mut [End], seen: &mut Seen, measured_ns: [i64; 2], datagram: Received<'_>) {
    let Received { bytes, to, at_ns } = datagram;
    let Some(number) = end_of(to).filter(|number| *number < ends.len()) else {
        seen.bad += 1;
        return;
    };
    match ends[number].hear(bytes, at_ns) {
        Heard::Output { input } => {
            let sender = number ^ 1;
            let answer = ends[sender].answered(input);
            seen.directions[sender % 2].count(answer, at_ns, measured_ns);
        }
        Heard::Control => seen.control += 1,
        Heard::Bad => seen.bad += 1,
        Heard::Foreign => {}
    }
}

impl DirectionSeen {
    /// An output came at `at_ns`; what it answers counts if it was sent within the measured time.
    fn count(&mut self, answer: Answer, at_ns: i64, [from_ns, to_ns]: [i64; 2]) {
        let measured = |at_ns| (from_ns..to_ns).contains(&at_ns);
        match answer {
            // It came before its input left, and was read after.
            Answer::SentAt(sent_ns) if at_ns < sent_ns => {
                self.sent -= u64::from(measured(sent_ns));
                self.overtaken += u64::from(measured(at_ns));
            }
            Answer::SentAt(sent_ns) if measured(sent_ns) => {
                self.answered += 1;
                let delay_us = ((at_ns - sent_ns).max(0) / 1_000).min(i64::from(u32::MAX)) as u32;
                let sent_us = ((sent_ns - from_ns) / 1_000) as u32;
                if self.samples.len() < self.samples.capacity() {
                    self.samples.push(Sample { sent_us, delay_us });
                }
            }
            Answer::Filled(lost_ns) if measured(lost_ns) => self.filled += 1,
            Answer::Overtaken if measured(at_ns) => self.overtaken += 1,
            Answer::Duplicate if measured(at_ns) => self.duplicates += 1,
            Answer::SentAt(_)
            | Answer::Filled(_)
            | Answer::Overtaken
            | Answer::Duplicate
            | Answer::Unknown => {}
        }
    }
}

fn unmade(reason: Discard) -> io::Error {
    io::Error::other(format!("a packet could not be made: {reason:?}"))
}
