//! The test trunk: a telephone network in small, so that a first call needs nothing else. Real SIP
//! over UDP and real G.711 over RTP, on its own sockets; to the signaling process it is a trunk like
//! any other.
//!
//! This file is the shell: sockets, clock and tasks. SIP is in `calls`, media in `endpoint`.

mod calls;
mod endpoint;
mod speech;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use tracing::{debug, info};

use self::calls::{CallId, Calls, Output};
use self::endpoint::Endpoint;
use crate::base::fault::Fault;
use crate::base::random::{self, Random};

/// Where a free RTP port is looked for: below the system's ephemeral ports and the media process's.
const RTP_PORTS: std::ops::Range<u16> = 20_000..21_000;
/// Longest SIP datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Longest RTP datagram that is looked at; 60 ms of G.711 are 492 bytes.
const RTP_BYTES_MAX: usize = 2048;
/// A tick this late is a pause of the machine: what it missed is not sent in a burst.
const LATE_MAX: Duration = Duration::from_millis(200);
/// Without any packet from the other end for this long, the call is ended.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What a number does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Echo,
    Speech,
    Digits,
    NoAnswer,
    Busy,
}

impl Number {
    /// The numbers with a word for each.
    pub(super) const ALL: [(&str, Number, &str); 5] = [
        ("100", Number::Echo, "echo"),
        ("101", Number::Speech, "speech"),
        ("102", Number::Digits, "key reader"),
        ("408", Number::NoAnswer, "no answer"),
        ("486", Number::Busy, "busy"),
    ];

    fn of(user: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(number, ..)| *number == user).map(|(_, number, _)| number)
    }
}

/// A bound test trunk.
pub(super) struct TestTrunk {
    socket: UdpSocket,
    address: SocketAddr,
}

impl TestTrunk {
    /// Takes a free port of `ip`.
    pub(super) async fn bind(ip: IpAddr) -> Result<Self, Fault> {
        let bound = async {
            let socket = UdpSocket::bind((ip, 0)).await?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bound.await.map_err(|error: io::Error| {
            let remedy = "configure a [[trunk]], or an address of this machine as [signal].sip";
            Fault::new(format!("the test trunk cannot listen: {error}"), ip, remedy)
        })
    }

    /// Where its SIP is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves calls for ever.
    pub(super) async fn serve(self) {
        let mut random = random::from_system();
        let mut shell = Shell {
            calls: Calls::new(self.address, &mut random),
            socket: self.socket,
            address: self.address,
            random,
            media: HashMap::new(),
        };
        let (silent, mut fell_silent) = tokio::sync::mpsc::channel(1);
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            shell.perform(&silent).await;
            let timeout = shell.calls.next_timeout();
            tokio::select! {
                received = shell.socket.recv_from(&mut datagram) => match received {
                    Ok((length, from)) => shell.calls.receive(&datagram[..length], from, Instant::now()),
                    // An ICMP error of an earlier send.
                    Err(error) => debug!(%error, "test trunk: receive"),
                },
                Some(call) = fell_silent.recv() => {
                    info!("test trunk: no media for {} s, hanging up", SILENCE_MAX.as_secs());
                    shell.calls.hang_up(call, Instant::now(), &mut shell.random);
                }
                () = sleep_until(timeout.unwrap_or_else(Instant::now).into()), if timeout.is_some() => {
                    shell.calls.handle_timeout(Instant::now(), &mut shell.random);
                }
            }
        }
    }
}

/// The engine with its sockets and tasks.
struct Shell {
    calls: Calls,
    socket: UdpSocket,
    address: SocketAddr,
    random: Random,
    media: HashMap<CallId, Media>,
}

/// A call's sockets, and the task that uses them once it talks.
enum Media {
    Open(Ports),
    Running(JoinHandle<()>),
}

/// An RTP socket, and the RTCP socket above it, which is held so that nobody else gets the port and
/// reports are not answered by ICMP errors.
struct Ports {
    rtp: UdpSocket,
    _rtcp: std::net::UdpSocket,
}

impl Shell {
    async fn perform(&mut self, silent: &tokio::sync::mpsc::Sender<CallId>) {
        while let Some(output) = self.calls.poll_output(Instant::now()) {
            match output {
                Output::Send { to, bytes } => {
                    if let Err(error) = self.socket.send_to(&bytes, to).await {
                        debug!(%error, %to, "test trunk: send");
                    }
                }
                Output::OpenPorts { call } => {
                    let ports = open_ports(self.address.ip());
                    let rtp = ports.as_ref().and_then(|ports| ports.rtp.local_addr().ok());
                    self.calls.ports_opened(call, rtp, Instant::now());
                    if let Some(ports) = ports {
                        self.media.insert(call, Media::Open(ports));
                    }
                }
                Output::Start { call, number, agreement, remote } => {
                    info!(?number, %remote, "test trunk: answered");
                    let endpoint = Endpoint::new(number, agreement, &mut self.random);
                    if let (Some(Media::Open(ports)), Some(endpoint)) =
                        (self.media.remove(&call), endpoint)
                    {
                        let talk = talk(ports, endpoint, remote, call, silent.clone());
                        self.media.insert(call, Media::Running(tokio::spawn(talk)));
                    }
                }
                Output::Stop { call } => {
                    if let Some(Media::Running(task)) = self.media.remove(&call) {
                        task.abort();
                    }
                }
            }
        }
    }
}

/// An even port and the odd one above it.
fn open_ports(ip: IpAddr) -> Option<Ports> {
    RTP_PORTS.step_by(2).find_map(|port| {
        let rtp = std::net::UdpSocket::bind((ip, port)).ok()?;
        let rtcp = std::net::UdpSocket::bind((ip, port + 1)).ok()?;
        rtp.set_nonblocking(true).ok()?;
        Some(Ports { rtp: UdpSocket::from_std(rtp).ok()?, _rtcp: rtcp })
    })
}

/// Sends a packet at every tick and takes what comes, from the negotiated address only.
async fn talk(
    ports: Ports,
    mut endpoint: Endpoint,
    remote: SocketAddr,
    call: CallId,
    silent: tokio::sync::mpsc::Sender<CallId>,
) {
    let interval = Duration::from_millis(endpoint.packet_ms().into());
    let mut datagram = [0; RTP_BYTES_MAX];
    let mut next = Instant::now();
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            // Time first: a flood of packets must not delay ours.
            biased;
            () = sleep_until(next.into()) => {
                // Errors of UDP are those of the other end, and pass.
                let _ = ports.rtp.send_to(endpoint.tick(), remote).await;
                let now = Instant::now();
                next += interval;
                if now.saturating_duration_since(next) > LATE_MAX {
                    next = now + interval;
                }
                if now.saturating_duration_since(heard) > SILENCE_MAX {
                    let _ = silent.send(call).await;
                    return;
                }
            }
            received = ports.rtp.recv_from(&mut datagram) => {
                if let Ok((length, from)) = received && from == remote {
                    heard = Instant::now();
                    endpoint.receive(&datagram[..length]);
                }
            }
        }
    }
}
