//! The far ends of every call, on one thread: a packet each 20 ms from each end, at phases spread at
//! random, and everything that comes back, counted and timed.
//!
//! A packet that comes back is matched with the one that caused it by its RTP timestamp, which media
//! keeps in step with the sender's. Each call is opened with one packet each way before the clock
//! starts, so that the first timestamps of both are known to belong together.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use linecard::base::random::{self, Random};
use linecard::control::message::{
    CallCreated, Codec, Coding, Command, CreateCall, EncoderSettings, Format, IceCredentials,
    LegParameters, Security, SendFormat, Side, SrtpKeys, Transport, UpdateLeg,
};
use linecard::srtp::keys::{MasterKey, Profile};
use linecard::srtp::protect::{RTP_GROWTH_BYTES_MAX, Receiver, Sender};
use linecard::wire::demux::{Protocol, classify};
use linecard::wire::rtp::{
    HEADER_BYTES, PayloadType, RtpHeader, RtpPacket, RtpTimestamp, SequenceNumber, Ssrc,
};
use rand::RngExt;
use rustix::event::{Timespec, epoll};

use crate::codec_loop::offset;
use crate::material::{Browser, Material};
use crate::media_process::MediaProcess;
use crate::report::Percentiles;
use crate::stamped;

/// What protects leg a: the profile that Chromium picks most of the time.
pub const PROFILE: Profile = Profile::AES_CM_128_HMAC_SHA1_80;
const PACKET_TIME: Duration = Duration::from_millis(20);
/// Packets of one end whose time of sending is remembered: more than a second of them.
const REMEMBERED: usize = 64;
/// For the first packet of a call to come through.
const OPENING_TIME_MAX: Duration = Duration::from_secs(2);
const OPUS: u8 = 111;
/// Datagrams taken between looks at the clock.
const EVENTS: usize = 64;

/// What the thread is to do; the order is that of a run.
#[repr(u8)]
#[derive(Clone, Copy)]
enum Stage {
    Send,
    Measure,
    Receive,
    End,
}

/// A running load.
pub struct Load {
    stage: Arc<AtomicU8>,
    thread: JoinHandle<io::Result<Generator>>,
    calls: usize,
}

/// What a load saw.
pub struct Outcome {
    /// From the browser to the trunk, and back.
    pub directions: [Direction; 2],
    /// How late the generator itself sent.
    pub late: Percentiles,
    /// Packets from media that could not be authenticated or read.
    pub bad: u64,
}

/// One direction of all calls, over the whole run.
pub struct Direction {
    /// By the far end toward media.
    pub sent: u64,
    /// By media.
    pub accepted: u64,
    /// By media toward the other far end.
    pub emitted: u64,
    /// By the other far end.
    pub received: u64,
    /// From the call of send to the kernel's time of arrival, while measured.
    pub delay: Percentiles,
}

impl Direction {
    /// Packets lost on either side of media, in percent.
    pub fn lost_percent(&self) -> f64 {
        let lost =
            self.sent.saturating_sub(self.accepted) + self.emitted.saturating_sub(self.received);
        lost as f64 * 100.0 / self.sent.max(1) as f64
    }
}

impl Load {
    /// Sets the calls up, proves each of them in both directions, and begins to send.
    pub fn start(
        core: usize,
        media: &mut MediaProcess,
        calls: usize,
        material: &Material,
        browser: &Browser,
    ) -> Result<Self, String> {
        let mut generator = Generator::new(calls).map_err(|error| error.to_string())?;
        let opus = Arc::new(browser.packets.clone());
        let pcmu = Arc::new(material.pcmu.iter().map(|codes| codes.to_vec()).collect::<Vec<_>>());
        for call in 0..calls {
            let place = offset(call, material);
            let speech = [Arc::clone(&opus), Arc::clone(&pcmu)];
            let problem = |problem: String| format!("call {call} of {calls}: {problem}");
            generator.add_call(media, call, speech, place).map_err(problem)?;
        }
        let stage = Arc::new(AtomicU8::new(Stage::Send as u8));
        let seen = Arc::clone(&stage);
        let thread = std::thread::spawn(move || {
            if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
                return Err(io::Error::other("the load generator's core is not ours to use"));
            }
            generator.run(&seen)?;
            Ok(generator)
        });
        Ok(Self { stage, thread, calls })
    }

    /// Begins or ends to note delays.
    pub fn measure(&self, on: bool) {
        self.enter(if on { Stage::Measure } else { Stage::Send });
    }

    /// Sends no more, and goes on to receive.
    pub fn stop_sending(&self) {
        self.enter(Stage::Receive);
    }

    /// Ends every call and sums up.
    pub fn finish(self, media: &mut MediaProcess) -> Result<Outcome, String> {
        self.enter(Stage::End);
        let generator = match self.thread.join() {
            Ok(outcome) => outcome.map_err(|error| format!("load generator: {error}"))?,
            Err(_) => return Err("the load generator failed".to_owned()),
        };
        let [mut out, mut back] = generator.directions();
        for call in 0..self.calls {
            let statistics = media.delete_call(name_of(call))?;
            out.accepted += statistics.a.packets_received;
            out.emitted += statistics.b.packets_sent;
            back.accepted += statistics.b.packets_received;
            back.emitted += statistics.a.packets_sent;
        }
        let bad = generator.ends.iter().map(|end| end.bad).sum();
        let late = Percentiles::of(generator.late_us);
        Ok(Outcome { directions: [out, back], late, bad })
    }

    fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }
}

/// The generator's state: ends 2k and 2k + 1 are browser and trunk of call k.
struct Generator {
    epoll: rustix::fd::OwnedFd,
    ends: Vec<End>,
    /// Takes the reports that media sends toward trunks, so that no ICMP refusal answers them.
    reports: UdpSocket,
    random: Random,
    delays_us: [Vec<u32>; 2],
    late_us: Vec<u32>,
}

impl Generator {
    fn new(calls: usize) -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            ends: Vec::with_capacity(2 * calls),
            reports: bind()?,
            random: random::from_seed(20),
            delays_us: [Vec::new(), Vec::new()],
            late_us: Vec::new(),
        })
    }

    fn add_call(
        &mut self,
        media: &mut MediaProcess,
        call: usize,
        [opus, pcmu]: [Arc<Vec<Vec<u8>>>; 2],
        place: usize,
    ) -> Result<(), String> {
        let system = |error: io::Error| error.to_string();
        let (browser, trunk) = (bind().map_err(system)?, bind().map_err(system)?);
        let address = |socket: &UdpSocket| socket.local_addr().map_err(system);
        let [send, receive] = [(); 2].map(|()| self.random.random::<[u8; 30]>());
        let remotes = [address(&browser)?, address(&trunk)?, address(&self.reports)?];
        // What media sends is what the browser receives.
        let created = create(
            media,
            call,
            remotes,
            SrtpKeys {
                profile: PROFILE,
                send: BASE64_STANDARD.encode(receive),
                receive: BASE64_STANDARD.encode(send),
            },
        )?;
        browser.connect(created.a.rtp).map_err(system)?;
        trunk.connect(created.b.rtp).map_err(system)?;

        let master = |key: &[u8]| MasterKey::from_bytes(PROFILE, key).expect("30 bytes");
        let ssrc = Ssrc(self.random.random());
        let srtp = Srtp {
            sender: Sender::new(&master(&send), ssrc),
            receiver: Receiver::new(&master(&receive)),
        };
        self.ends.push(End::new(browser, ssrc, OPUS, opus, place, Some(srtp)));
        self.ends.push(End::new(trunk, Ssrc(self.random.random()), 0, pcmu, place, None));
        let first = self.ends.len() - 2;
        for (index, end) in self.ends.iter().enumerate().skip(first) {
            let token = epoll::EventData::new_u64(index as u64);
            epoll::add(&self.epoll, &end.socket, token, epoll::EventFlags::IN)
                .map_err(|error| error.to_string())?;
        }
        self.open(first, first + 1)?;
        self.open(first + 1, first)
    }

    /// One packet through the call, to know that it works and which timestamps belong together.
    fn open(&mut self, from: usize, to: usize) -> Result<(), String> {
        self.ends[from].send().map_err(|error| error.to_string())?;
        let until = Instant::now() + OPENING_TIME_MAX;
        while self.ends[to].received == 0 {
            if Instant::now() > until {
                return Err("nothing came through".to_owned());
            }
            match self.ends[to].receive().map_err(|error| error.to_string())? {
                Received::Nothing => std::thread::sleep(Duration::from_micros(200)),
                Received::Report | Received::Packet { .. } => {}
            }
        }
        Ok(())
    }

    /// Sends and receives until told to end.
    fn run(&mut self, stage: &AtomicU8) -> io::Result<()> {
        let mut order: Vec<(Duration, usize)> = (0..self.ends.len())
            .map(|end| (PACKET_TIME.mul_f64(self.random.random_range(0.0..1.0)), end))
            .collect();
        order.sort_unstable();
        let began = Instant::now();
        let (mut round, mut place) = (0_u32, 0);
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let at = stage.load(Ordering::Relaxed);
            let (sends, measures) = (at <= Stage::Measure as u8, at == Stage::Measure as u8);
            if at == Stage::End as u8 {
                return Ok(());
            }
            let mut due = began + round * PACKET_TIME + order[place].0;
            while sends && due <= Instant::now() {
                if measures {
                    self.late_us.push(due.elapsed().as_micros() as u32);
                }
                self.ends[order[place].1].send()?;
                place = (place + 1) % order.len();
                round += u32::from(place == 0);
                due = began + round * PACKET_TIME + order[place].0;
            }
            let wait =
                if sends { due.saturating_duration_since(Instant::now()) } else { PACKET_TIME };
            let wait = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as i64 };
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait))
            {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.receive(event.data.u64() as usize, measures)?;
            }
        }
    }

    fn receive(&mut self, to: usize, measures: bool) -> io::Result<()> {
        let Received::Packet { number, at_ns } = self.ends[to].receive()? else { return Ok(()) };
        let from = to ^ 1;
        if let Some(sent_ns) = self.ends[from].sent_at(number)
            && measures
        {
            let delay_us = (at_ns - sent_ns).max(0) / 1_000;
            self.delays_us[from % 2].push(u32::try_from(delay_us).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    fn directions(&self) -> [Direction; 2] {
        [0, 1].map(|from| {
            let sum = |parity: usize, count: fn(&End) -> u64| {
                self.ends.iter().skip(parity).step_by(2).map(count).sum()
            };
            Direction {
                sent: sum(from, |end| end.sent),
                accepted: 0,
                emitted: 0,
                received: sum(1 - from, |end| end.received),
                delay: Percentiles::of(self.delays_us[from].clone()),
            }
        })
    }
}

struct Srtp {
    sender: Sender,
    receiver: Receiver,
}

/// One far end of a call.
struct End {
    socket: UdpSocket,
    header: RtpHeader,
    payloads: Arc<Vec<Vec<u8>>>,
    /// Of the next payload.
    place: usize,
    srtp: Option<Srtp>,
    sent: u64,
    sent_at_ns: [i64; REMEMBERED],
    first: Option<RtpTimestamp>,
    received: u64,
    bad: u64,
}

/// What a socket had.
enum Received {
    Nothing,
    Report,
    /// The answer to the other end's packet `number`, from 0.
    Packet {
        number: u64,
        at_ns: i64,
    },
}

impl End {
    fn new(
        socket: UdpSocket,
        ssrc: Ssrc,
        payload_type: u8,
        payloads: Arc<Vec<Vec<u8>>>,
        place: usize,
        srtp: Option<Srtp>,
    ) -> Self {
        let header = RtpHeader {
            marker: true,
            payload_type: PayloadType::new(payload_type).expect("below 128"),
            sequence_number: SequenceNumber(1),
            timestamp: RtpTimestamp(1),
            ssrc,
        };
        Self {
            socket,
            header,
            payloads,
            place,
            srtp,
            sent: 0,
            sent_at_ns: [0; REMEMBERED],
            first: None,
            received: 0,
            bad: 0,
        }
    }

    /// Units of RTP clock in a packet; what comes back is in the same codec.
    fn timestamp_step(&self) -> u32 {
        if self.srtp.is_some() { 960 } else { 160 }
    }

    fn send(&mut self) -> io::Result<()> {
        let mut packet = [0; 1_500];
        let payload = &self.payloads[self.place % self.payloads.len()];
        let mut length = HEADER_BYTES + payload.len();
        self.header.write(packet.first_chunk_mut().expect("a header's bytes"));
        packet[HEADER_BYTES..length].copy_from_slice(payload);
        if let Some(srtp) = &mut self.srtp {
            let buffer = &mut packet[..length + RTP_GROWTH_BYTES_MAX];
            length = srtp.sender.protect(buffer, length).expect("a new index");
        }
        self.sent_at_ns[self.sent as usize % REMEMBERED] = wall_clock_ns();
        self.socket.send(&packet[..length])?;
        self.sent += 1;
        self.place += 1;
        self.header.marker = false;
        self.header.sequence_number = self.header.sequence_number.next();
        self.header.timestamp = self.header.timestamp + self.timestamp_step();
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Received> {
        let mut buffer = [0; 1_500];
        let Some((length, at_ns)) = stamped::receive(&self.socket, &mut buffer)? else {
            return Ok(Received::Nothing);
        };
        let datagram = &mut buffer[..length];
        if classify(datagram) != Ok(Protocol::Rtp) {
            return Ok(Received::Report);
        }
        let opened = match &mut self.srtp {
            Some(srtp) => srtp.receiver.unprotect(datagram),
            None => Ok(length),
        };
        let Ok(packet) = opened.and_then(|length| RtpPacket::parse(&datagram[..length])) else {
            self.bad += 1;
            return Ok(Received::Nothing);
        };
        let timestamp = packet.header.timestamp;
        let passed = timestamp.distance(*self.first.get_or_insert(timestamp));
        self.received += 1;
        let number = u64::from(passed.max(0) as u32 / self.timestamp_step());
        Ok(Received::Packet { number, at_ns })
    }

    fn sent_at(&self, number: u64) -> Option<i64> {
        let behind = self.sent.checked_sub(number)?;
        (1..=REMEMBERED as u64)
            .contains(&behind)
            .then(|| self.sent_at_ns[number as usize % REMEMBERED])
    }
}

/// Makes the call as signaling does after the handshakes: leg a on the shared browser port with its
/// keys and nominated address, leg b on a port pair of its own.
fn create(
    media: &mut MediaProcess,
    call: usize,
    [browser, trunk, reports]: [SocketAddr; 3],
    keys: SrtpKeys,
) -> Result<CallCreated, String> {
    let format = |codec, payload_type| {
        let payload_type = PayloadType::new(payload_type).expect("below 128");
        let coding = Coding { codec, payload_type };
        let send = SendFormat {
            coding,
            packet_ms: 20,
            encoder: Some(EncoderSettings::default()),
            in_band_fec: true,
            redundancy: None,
        };
        Some(Format {
            send,
            receive: vec![coding],
            send_events: None,
            receive_events: vec![],
            receive_redundancy: vec![],
        })
    };
    let credentials = IceCredentials {
        local_ufrag: format!("local{call}"),
        local_password: "a password that no check will use".to_owned(),
        remote_ufrag: None,
    };
    let name = name_of(call);
    let created = media.request(&Command::CreateCall(Box::new(CreateCall {
        call: name.clone(),
        blob: String::new(),
        a: LegParameters {
            transport: Transport::Ice(credentials),
            security: Security::Srtp(keys),
            format: format(Codec::Opus, OPUS),
        },
        b: LegParameters {
            transport: Transport::Plain { remote: Some(trunk), remote_rtcp: Some(reports) },
            security: Security::None,
            format: format(Codec::Pcmu, 0),
        },
    })))?;
    media.request::<serde_json::Value>(&Command::UpdateLeg(Box::new(UpdateLeg {
        call: name,
        leg: Side::A,
        remote: Some(browser),
        remote_rtcp: None,
        remote_ufrag: None,
        security: None,
        format: None,
    })))?;
    Ok(created)
}

fn name_of(call: usize) -> String {
    format!("call-{call}")
}

fn bind() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.set_nonblocking(true)?;
    stamped::enable(&socket)?;
    Ok(socket)
}

fn wall_clock_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}
