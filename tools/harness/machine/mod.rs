//! The machine under the measurement: its cores, what is set for the time of a run and put back at
//! its end, and what is written about it into the report.

pub mod clock;
pub mod process;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

/// How the engine and the generator are scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// SCHED_FIFO for both, the generator above the engine: whatever else runs on the machine does so
    /// in the gaps.
    Fifo,
    /// As any other program.
    Normal,
}

/// Who carries a datagram over the loopback device into the receiver's socket.
///
/// On a network what the engine sends is delivered by the machine at the other end of the wire. The
/// generator's core can do it here, but is told of each datagram by an interrupt from the engine's
/// core, and under a hypervisor that costs the sender more than the delivery: 200 calls took 4.30 ms
/// per call-second so, and 3.92 ms without. The generator is never woken by a datagram, so that the
/// engine's part is short either way; what the generator sends is always delivered by its own core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// The sender's core, as the kernel does by itself.
    Sender,
    /// The generator's core, in both directions (receive packet steering of the loopback device).
    Generator,
}

/// Which core does what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cores {
    /// The engine's.
    pub engine: usize,
    /// The load generator's.
    pub generator: usize,
}

impl Cores {
    /// The last core for the engine and the first for the generator.
    pub fn here() -> Result<Self, String> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        match (cores.first(), cores.last()) {
            (Some(first), Some(last)) if first != last => {
                Ok(Self { engine: last.id, generator: first.id })
            }
            _ => Err("two cores are needed: one for the engine, one for the load".to_owned()),
        }
    }
}

const STEERING: &str = "/sys/class/net/lo/queues/rx-0/rps_cpus";
const THROTTLE: &str = "/proc/sys/kernel/sched_rt_runtime_us";

/// Settings of the kernel for the time of a measurement; dropping it puts back what was there.
pub struct Tuned {
    /// What took effect.
    pub priority: Priority,
    /// What took effect.
    pub delivery: Delivery,
    changed: Vec<(&'static str, String)>,
}

impl Tuned {
    /// Sets what was asked for; no priority means what the machine allows.
    pub fn set(
        cores: Cores,
        priority: Option<Priority>,
        delivery: Delivery,
    ) -> Result<Self, String> {
        let root = rustix::process::geteuid().is_root();
        let priority = match priority {
            Some(Priority::Fifo) if !root => {
                return Err("--priority fifo: only root may; say --priority normal".to_owned());
            }
            Some(priority) => priority,
            None if root => Priority::Fifo,
            None => Priority::Normal,
        };
        let mut tuned = Self { priority, delivery, changed: Vec::new() };
        if priority == Priority::Fifo {
            // Without this the kernel stops a busy engine for 50 ms in each second. The generator
            // rests in each of its turns, so its core stays usable whatever happens.
            let _ = tuned.change(THROTTLE, "-1");
        }
        if delivery == Delivery::Generator {
            tuned
                .change(STEERING, &format!("{:x}", 1_u64 << (cores.generator % 64)))
                .map_err(|problem| format!("{problem}; be root, or say --delivery sender"))?;
        }
        Ok(tuned)
    }

    fn change(&mut self, path: &'static str, value: &str) -> Result<(), String> {
        let about = |error| format!("{path}: {error}");
        let before = fs::read_to_string(path).map_err(about)?;
        if before.trim() == value {
            // Another run set it, and puts back what was there before.
            return Ok(());
        }
        fs::write(path, value).map_err(about)?;
        self.changed.push((path, before.trim().to_owned()));
        Ok(())
    }
}

impl Drop for Tuned {
    fn drop(&mut self) {
        for (path, before) in self.changed.drain(..) {
            let _ = fs::write(path, before);
        }
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Turns SIGINT and SIGTERM into [`check_interrupted`], so that what was set is put back.
pub fn watch_for_interrupts() -> Result<(), String> {
    let watch = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
            let [Ok(mut interrupt), Ok(mut terminate)] = kinds.map(signal) else { return };
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            INTERRUPTED.store(true, Ordering::Relaxed);
        });
    };
    std::thread::Builder::new()
        .name("interrupts".to_owned())
        .spawn(watch)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// An error once somebody pressed Ctrl-C.
pub fn check_interrupted() -> Result<(), String> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err("interrupted".to_owned()) } else { Ok(()) }
}

/// CPU model, cores and kernel.
pub fn description() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let models = cpu.lines().filter_map(|line| line.strip_prefix("model name"));
    let model = models.map(|model| model.trim_start_matches([' ', '\t', ':'])).next();
    let kernel = read("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{}, {cores} cores, Linux {}", model.unwrap_or("unknown CPU"), kernel.trim())
}

/// Receive-queue overruns of the UDP socket on `port` (/proc/net/udp, last column).
pub fn socket_drops(port: u16) -> u64 {
    let table = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let suffix = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(1).is_some_and(|local| local.ends_with(&suffix)))
        .filter_map(|row| row.last()?.parse::<u64>().ok())
        .sum()
}
