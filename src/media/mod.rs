//! The media process: one thread a core, each with its own network, browser port, calls and codec
//! states, and one control thread that serves the Unix socket.
//!
//! Read [`mod@line`] first: the packet line. [`core`] is the engine around it, without a thread; [`call`],
//! [`leg`] and [`stream`] are its nouns; [`thread`] is the loop that drives it. [`registry`] is the way
//! in, [`front`] how JSON lines reach it.

pub mod budget;
pub mod call;
pub mod channel;
pub mod common;
pub mod core;
pub mod format;
pub mod front;
pub mod kind;
pub mod leg;
pub mod line;
pub mod load;
pub mod ports;
pub mod registry;
pub mod rig;
pub mod stream;
mod table;
mod thread;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use self::channel::{CoreEnd, CoreHandle, Reports};
use self::core::Core;
use self::front::json::Front;
use self::front::socket::Control;
use self::ports::PortPool;
use self::registry::{Limits, Registry};
use self::thread::{Thread, TimedCodecs};
use crate::audio::noise_packets::NoisePackets;
use crate::base::fault::Fault;
use crate::base::narrow::Narrow;
use crate::base::random;
use crate::config::Media;
use crate::control::message::ThreadDescription;
use crate::os::cores;
use crate::os::directory;
use crate::os::process;
use crate::os::ring::{Ring, RingLimits};
use crate::os::sockets::{self, BoundSocket, Purpose};

/// How long a port that a killed predecessor held may take to be free, and how often it is tried: the kernel
/// takes 30 to 45 ms, in which nobody hears the predecessor's calls.
const PORT_FREED_MAX: Duration = Duration::from_secs(3);
const PORT_TRIED_EVERY: Duration = Duration::from_millis(1);

/// Runs the media process until it is told to end (SIGTERM, SIGINT) or a thread fails.
pub fn run(config: &Media) -> Result<(), Fault> {
    sockets::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::new(error, "the control thread", "free some memory"))?;
    // What is asked of the process is not answered in the calls' time.
    if let Err(error) = cores::keep_off(&config.cores) {
        warn!(%error, "the control thread cannot be kept off the media threads' cores");
    }
    make_noise()?;
    runtime.block_on(async {
        let listener = listen(&config.control).await?;
        let reports = Reports::new()
            .map_err(|error| Fault::new(error, "eventfd", "raise the limit of open files"))?;
        let (handles, cores, mut failures) = start_threads(config, &reports).await?;
        let generation = random::token(&mut random::from_system(), 16);
        let limits = Limits::of(config);
        let front = Front::new(Registry::new(cores, limits, generation, Instant::now()));
        info!(control = %config.control.display(), cores = ?config.cores, "media is ready");
        let serving = tokio::task::LocalSet::new();
        let ended = serving
            .run_until(async {
                tokio::select! {
                    ended = Control::serve(front, handles, reports, listener, told_to_end()) => {
                        ended.map_err(|error| Some(format!("the control thread: {error}")))
                    }
                    failure = failures.recv() => Err(failure),
                }
            })
            .await;
        // The path is ours alone: the listener held it.
        let _ = std::fs::remove_file(&config.control);
        ended.map_err(|failure| {
            let what = failure.unwrap_or_else(|| "a media thread ended".to_owned());
            Fault::new(what, "a media thread", "start again; report this with the kernel's version")
        })
    })
}

/// Has the packets of comfort noise made meanwhile: calls that this process takes up do not wait for
/// them, nor does who takes them up, even where every thread runs until it waits (SCHED_FIFO).
fn make_noise() -> Result<(), Fault> {
    let make = || {
        process::step_back();
        NoisePackets::shared().make(std::thread::yield_now);
    };
    match std::thread::Builder::new().name("noise".to_owned()).spawn(make) {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::new(error, "a thread", "raise the limit of threads")),
    }
}

async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [terminate, interrupt] = &mut signals;
    match (terminate, interrupt) {
        (Ok(terminate), Ok(interrupt)) => {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        }
        _ => std::future::pending().await,
    }
}

/// The control socket. One that a dead process left is replaced; a live one is a fault.
async fn listen(path: &Path) -> Result<UnixListener, Fault> {
    let place = format!("{}, [media].control", path.display());
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        let remedy = "end that process, or choose another path";
        return Err(Fault::new("another media process serves this socket", place, remedy));
    }
    if let Some(parent) = path.parent() {
        directory::make_private(parent)?;
    }
    let _ = std::fs::remove_file(path);
    let fault = |error| Fault::new(error, &place, "choose a path in a directory you can write");
    let listener = UnixListener::bind(path).map_err(fault)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(fault)?;
    Ok(listener)
}

/// Starts every thread and waits until each has its ring, arena and port.
async fn start_threads(
    config: &Media,
    reports: &Reports,
) -> Result<(Vec<CoreHandle>, Vec<registry::Core>, mpsc::Receiver<String>), Fault> {
    let threads = config.cores.len();
    let (failed, failures) = mpsc::channel(threads.max(1));
    let (mut handles, mut cores) = (Vec::with_capacity(threads), Vec::with_capacity(threads));
    // They prepare themselves side by side, while the ports are waited for.
    let mut starting = Vec::with_capacity(threads);
    for (thread, core) in config.cores.iter().copied().enumerate() {
        let (handle, end) = reports
            .connect(thread)
            .map_err(|error| Fault::new(error, "eventfd", "raise the limit of open files"))?;
        let started = start_thread(core, end, config.calls_per_core, failed.clone())?;
        starting.push((core, handle, started));
    }
    for (thread, (core, handle, started)) in starting.into_iter().enumerate() {
        let port = config.browser_port.saturating_add(thread.narrow());
        let browser = SocketAddr::new(config.address, port);
        let socket = bind_browser_port(browser).await?;
        started.go(socket.clone()).await?;
        let part = (thread, threads);
        let (address, range) = (config.address, config.trunk_ports);
        let ports = PortPool::new(address, range, part, BoundSocket::bind, Instant::now());
        let description = ThreadDescription { thread, core, browser };
        cores.push(registry::Core::new(description, handle.gauge.clone(), ports, socket));
        handles.push(handle);
    }
    Ok((handles, cores, failures))
}

/// Binds a thread's browser port. The kernel takes a killed process's ring apart in its own time,
/// and with it goes the port: our successor gives it a moment.
async fn bind_browser_port(address: SocketAddr) -> Result<BoundSocket, Fault> {
    let mut patience = PORT_FREED_MAX;
    loop {
        match BoundSocket::bind(address, Purpose::Shared) {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == ErrorKind::AddrInUse && !patience.is_zero() => {
                patience = patience.saturating_sub(PORT_TRIED_EVERY);
                tokio::time::sleep(PORT_TRIED_EVERY).await;
            }
            Err(error) => {
                let place = format!("{address} (UDP), [media].browser_port");
                let remedy = "choose a free port, or end who holds this one";
                return Err(Fault::new(error, place, remedy));
            }
        }
    }
}

/// A thread that prepares itself, and then waits for its browser port.
struct Starting {
    place: String,
    core: usize,
    port: std::sync::mpsc::Sender<BoundSocket>,
    /// Whether it is pinned, or why it is none.
    ready: oneshot::Receiver<io::Result<bool>>,
}

fn start_thread(
    core: usize,
    end: CoreEnd,
    calls: usize,
    failed: mpsc::Sender<String>,
) -> Result<Starting, Fault> {
    let (is_ready, ready) = oneshot::channel();
    let (port, bound) = std::sync::mpsc::channel();
    let number = end.thread;
    let body = move || {
        let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: core });
        let prepare = || {
            let ring = Ring::new(Core::sockets(calls), RingLimits::THREAD, end.wake.clone())?;
            let codecs = TimedCodecs::new(calls)?;
            // Nobody binds it any more: the process ends.
            let port = bound.recv().map_err(io::Error::other)?;
            Thread::new(ring, end, port, codecs)
        };
        match prepare() {
            Ok(thread) => {
                let _ = is_ready.send(Ok(pinned));
                let error = thread.run();
                let _ = failed.blocking_send(format!("media thread {number}: {error}"));
            }
            Err(error) => {
                let _ = is_ready.send(Err(error));
            }
        }
    };
    let place = format!("media thread {number} on core {core}");
    std::thread::Builder::new()
        .name(format!("media-{number}"))
        .spawn(body)
        .map_err(|error| Fault::new(error, &place, "raise the limit of threads"))?;
    Ok(Starting { place, core, port, ready })
}

impl Starting {
    /// Gives it its port, and waits until it runs.
    async fn go(self, port: BoundSocket) -> Result<(), Fault> {
        let Self { place, core, .. } = self;
        // One that failed before says why.
        let _ = self.port.send(port);
        match self.ready.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Fault::new(
                "the core is not there, or not allowed for this process",
                format!("core {core}, [media].cores"),
                "name cores that `nproc` and the container's CPU set allow",
            )),
            Ok(Err(error)) => Err(Fault::new(
                format!("io_uring or memory refused: {error}"),
                place,
                "allow io_uring (sysctl kernel.io_uring_disabled=0, the container's seccomp profile) \
                 and raise the limit of locked memory",
            )),
            Err(_) => Err(Fault::new("the thread ended as it began", place, "report this")),
        }
    }
}

#[cfg(test)]
mod tests;
