//! The signaling process around its engine: sockets, connections, clock, the file of records. One
//! task owns the engine; whatever comes in reaches it through bounded queues, and whatever goes out
//! is never waited for. Losing this process loses no call: media goes on, and the next one finds its
//! calls there. Telling it to end (SIGTERM, SIGINT) ends every call on both sides.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::UdpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::base::clock::WallAnchor;
use crate::base::fault::Fault;
use crate::base::random;
use crate::config::Config;
use crate::dtls::Certificate;
use crate::os::{cores, directory};
use crate::signal::control_connection::{ControlEvent, keep_connected};
use crate::signal::engine::Engine;
use crate::signal::flow::{FlowEvent, FlowId, Outgoing};
use crate::signal::output::Output;
use crate::signal::web::Web;
use crate::wire::sip::MESSAGE_BYTES_MAX;

/// Events of browsers' connections that wait for the engine. When it is full the connections are not
/// read, which TCP tells the browsers.
const FLOW_EVENTS_MAX: usize = 1024;
/// Records that wait for the disk: a minute of a hundred calls a second.
const RECORDS_MAX: usize = 6_000;
/// For the far ends to answer their BYEs when the process is told to end: three of a lost datagram's
/// repetitions (RFC 3261 §17.1.2.2).
const STOPPING_MAX: Duration = Duration::from_secs(5);
/// For the disk to take the last records then.
const WRITING_MAX: Duration = Duration::from_secs(2);
/// Datagrams taken in one turn before others are served.
const DATAGRAMS_A_TURN: usize = 64;

/// Runs the signaling process until it is told to end (SIGTERM, SIGINT).
pub fn run(config: &Config) -> Result<(), Fault> {
    let workers = leave_cores_to_media(&config.media.cores);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(|error| Fault::new(error, "the signaling process", "free some memory"))?;
    runtime.block_on(serve(config))
}

/// Keeps this process, whose threads all start later, off the cores of media: a handshake must not
/// delay anybody's audio. Returns how many cores it has.
fn leave_cores_to_media(media: &[usize]) -> usize {
    match cores::keep_off(media) {
        Ok(ours) => {
            info!(cores = ?ours, "signaling's cores");
            ours.len()
        }
        Err(error) => {
            warn!(%error, "signaling cannot be kept off media's cores");
            1
        }
    }
}

async fn serve(config: &Config) -> Result<(), Fault> {
    let sip = config.signal.sip;
    let certificate = Certificate::generate().map_err(|fault| {
        Fault::new(fault.0, "the DTLS certificate", "report this with the system's version")
    })?;
    let (records, writing) = write_records(&config.signal.records).await?;
    let mut process = Process {
        engine: Engine::new(
            config,
            certificate,
            random::from_system(),
            WallAnchor::now(),
            Instant::now(),
        ),
        sip: UdpSocket::bind(sip).await.map_err(|error| {
            let what = format!("cannot receive SIP: {error}");
            let remedy = "stop what holds the port, or choose another address or port";
            Fault::new(what, format!("{sip} (UDP), [signal].sip"), remedy)
        })?,
        browsers: HashMap::new(),
        media: None,
        records,
        lost: Lost::default(),
    };
    let web = Web::bind(&config.signal).await?;
    let (flow_events, mut flows) = mpsc::channel(FLOW_EVENTS_MAX);
    tokio::spawn(web.serve(flow_events));
    let mut control = keep_connected(config.media.control.clone());
    let system = |error| Fault::new(error, "signal handlers", "raise the process's limits");
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    info!(%sip, wss = %config.signal.wss, "signaling is ready");

    let mut stops: Option<Instant> = None;
    loop {
        let wakes = process.engine.next_timeout().into_iter().chain(stops).min();
        let is_told_to_end = tokio::select! {
            Some(event) = flows.recv() => { process.flow_event(event); false }
            Some(event) = control.recv() => { process.control_event(event); false }
            Ok(()) = process.sip.readable() => { process.receive_datagrams(); false }
            () = sleep_until(wakes) => { process.engine.handle_timeout(Instant::now()); false }
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
        };
        let now = Instant::now();
        if is_told_to_end {
            info!(calls = process.engine.calls(), "told to end: calls end on both sides");
            // Told again: somebody is in a hurry.
            stops = Some(stops.map_or(now + STOPPING_MAX, |_| now));
            process.engine.stop(now);
        }
        process.deliver();
        if stops.is_some_and(|at| at <= now || process.engine.calls() == 0) {
            return process.end(writing).await;
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// What the engine's task owns.
struct Process {
    engine: Engine,
    sip: UdpSocket,
    /// Where each browser's messages go.
    browsers: HashMap<FlowId, mpsc::Sender<Outgoing>>,
    /// Where media's lines go, while it is there.
    media: Option<mpsc::Sender<String>>,
    records: mpsc::Sender<String>,
    lost: Lost,
}

/// What could not be delivered: nothing is lost without being counted.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    datagrams: u64,
    records: u64,
}

impl Process {
    // In.

    fn flow_event(&mut self, event: FlowEvent) {
        match event {
            FlowEvent::Opened { flow, peer, to_browser } => {
                self.browsers.insert(flow, to_browser);
                self.engine.flow_opened(flow, peer);
            }
            FlowEvent::Message { flow, bytes } => {
                self.engine.flow_message(flow, &bytes, Instant::now());
            }
            FlowEvent::Closed { flow } => {
                self.browsers.remove(&flow);
                self.engine.flow_closed(flow, Instant::now());
            }
        }
    }

    fn control_event(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::Connected(media) => {
                self.media = Some(media);
                self.engine.control_connected();
            }
            ControlEvent::Line(line) if self.media.is_some() => {
                self.engine.control_line(&line, Instant::now());
            }
            // Of a connection that was given up.
            ControlEvent::Line(_) => {}
            ControlEvent::Lost => self.control_lost(),
        }
    }

    fn control_lost(&mut self) {
        if self.media.take().is_some() {
            self.engine.control_lost(Instant::now());
        }
    }

    fn receive_datagrams(&mut self) {
        let mut datagram = [0; MESSAGE_BYTES_MAX];
        for _ in 0..DATAGRAMS_A_TURN {
            // An error is of some datagram we sent; the next receive goes on.
            let Ok((length, from)) = self.sip.try_recv_from(&mut datagram) else { return };
            self.engine.handle_datagram(&datagram[..length], from, Instant::now());
        }
    }

    // The end.

    /// Writes what is still to be written. Whoever has not answered by now will not.
    async fn end(mut self, writing: JoinHandle<()>) -> Result<(), Fault> {
        let left = self.engine.calls();
        if left > 0 {
            warn!(calls = left, "ending although some far ends have not answered");
            self.engine.give_up(Instant::now());
            self.deliver();
        }
        drop(self.records);
        if timeout(WRITING_MAX, writing).await.is_err() {
            error!("the disk is too slow: call records were lost at the end");
        }
        info!("ended");
        Ok(())
    }

    // Out.

    /// Delivers what the engine has to say. Nobody is waited for.
    fn deliver(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Datagram { to, bytes } => self.send_datagram(to, &bytes),
                Output::Message { flow, bytes } => self.send(flow, Outgoing::Message(bytes)),
                Output::Authenticated(flow) => self.send(flow, Outgoing::Authenticated),
                Output::Control(line) => {
                    let sent = self.media.as_ref().map(|media| media.try_send(line));
                    if let Some(Err(error)) = sent {
                        error!(%error, "the media process does not read; connecting again");
                        self.control_lost();
                    }
                }
                Output::CloseControl => self.media = None,
                Output::Record(record) => {
                    if self.records.try_send(record.to_line()).is_err() {
                        self.lost.records += 1;
                        error!(
                            lost = self.lost.records,
                            "a call record was lost: the disk is slow"
                        );
                    }
                }
            }
        }
    }

    /// A datagram that the kernel does not take now is lost, as any may be: SIP sends it again.
    fn send_datagram(&mut self, to: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.sip.try_send_to(bytes, to) {
            self.lost.datagrams += 1;
            warn!(%to, %error, lost = self.lost.datagrams, "a SIP datagram could not be sent");
        }
    }

    /// A browser slower than its own calls is cut off.
    fn send(&mut self, flow: FlowId, outgoing: Outgoing) {
        let Some(browser) = self.browsers.get(&flow) else { return };
        if browser.try_send(outgoing).is_err() {
            info!(%flow, "the browser does not read; closed");
            self.browsers.remove(&flow);
            self.engine.flow_closed(flow, Instant::now());
        }
    }
}

/// Opens the file of records and returns the queue before it, and who writes it.
async fn write_records(path: &Path) -> Result<(mpsc::Sender<String>, JoinHandle<()>), Fault> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        directory::make_private(parent)?;
    }
    // Records hold numbers: they are for this user alone.
    let options = OpenOptions::new().create(true).append(true).mode(0o600).clone();
    let file = options.open(path).await.map_err(|error| {
        let what = format!("cannot write call records: {error}");
        let remedy = "choose a path in a directory you can write";
        Fault::new(what, format!("{}, [signal].records", path.display()), remedy)
    })?;
    let (records, queue) = mpsc::channel(RECORDS_MAX);
    let writing = tokio::spawn(append(file, queue));
    Ok((records, writing))
}

/// One line a record. A line the disk refuses is lost and said so.
async fn append(mut file: File, mut queue: mpsc::Receiver<String>) {
    let mut lost = 0_u64;
    while let Some(line) = queue.recv().await {
        let written = async {
            file.write_all(line.as_bytes()).await?;
            file.flush().await
        };
        if let Err(error) = written.await {
            lost += 1;
            error!(%error, lost, "a call record could not be written");
        }
    }
}
