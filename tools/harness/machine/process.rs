//! A process under measurement: its CPU time by the scheduler's accounting, its resident memory, its
//! priority, all from the kernel.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::machine::Priority;

/// Above the engine: who measures must not be late because of what it measures.
const GENERATOR_PRIORITY: u32 = 20;
const ENGINE_PRIORITY: u32 = 10;
/// Below the engine: who only watches has to wait.
const OBSERVER_PRIORITY: u32 = 5;

/// A process that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pid: u32,
}

/// Accounts of a process since it began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accounts {
    /// CPU time of all its threads, in milliseconds.
    pub ran_ms: f64,
    /// That of its busiest thread.
    pub busiest_ms: f64,
    /// How long the busiest thread was ready and waited for a core.
    pub waited_ms: f64,
}

impl Accounts {
    /// The difference.
    pub fn since(&self, before: &Accounts) -> Accounts {
        Accounts {
            ran_ms: self.ran_ms - before.ran_ms,
            busiest_ms: self.busiest_ms - before.busiest_ms,
            waited_ms: self.waited_ms - before.waited_ms,
        }
    }
}

impl Process {
    /// The process of this number.
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// What the scheduler accounted so far (/proc/PID/task/TID/schedstat: time on a core and time
    /// ready without one, in nanoseconds).
    pub fn accounts(&self) -> Result<Accounts, String> {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.pid));
        let listed =
            fs::read_dir(&tasks).map_err(|error| format!("{}: {error}", tasks.display()))?;
        let mut accounts = Accounts::default();
        for task in listed.flatten() {
            let Schedule { ran_ms, waited_ms } = schedule_of(&task.path());
            accounts.ran_ms += ran_ms;
            if ran_ms > accounts.busiest_ms {
                (accounts.busiest_ms, accounts.waited_ms) = (ran_ms, waited_ms);
            }
        }
        Ok(accounts)
    }

    /// How long its threads of these names together were ready and waited for a core, since it began.
    pub fn waited_ms(&self, is_one: impl Fn(&str) -> bool) -> Result<f64, String> {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.pid));
        let listed =
            fs::read_dir(&tasks).map_err(|error| format!("{}: {error}", tasks.display()))?;
        let name = |task: &Path| fs::read_to_string(task.join("comm")).unwrap_or_default();
        let tasks = listed.flatten().map(|task| task.path());
        let these = tasks.filter(|task| is_one(name(task).trim()));
        Ok(these.map(|task| schedule_of(&task).waited_ms).sum())
    }

    /// Resident bytes.
    pub fn resident_bytes(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.pid);
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kilobytes.ok_or_else(|| format!("{path}: no VmRSS"))? * 1024)
    }
}

/// Of a thread, since it began.
struct Schedule {
    ran_ms: f64,
    waited_ms: f64,
}

/// What the scheduler accounted (schedstat: time on a core and time ready without one, in nanoseconds).
fn schedule_of(task: &Path) -> Schedule {
    let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let mut fields = text.split_whitespace().map(|field| field.parse::<f64>());
    let mut field_ms = || fields.next().and_then(Result::ok).unwrap_or(0.0) / 1e6;
    Schedule { ran_ms: field_ms(), waited_ms: field_ms() }
}

/// How long this thread was ready and waited for a core, since it began.
pub fn this_thread_waited_ms() -> f64 {
    schedule_of(Path::new("/proc/thread-self")).waited_ms
}

/// A program that will run as an engine runs: on `core` if given, at the priority. However this
/// process ends, that one ends too (prctl(2), PR_SET_PDEATHSIG).
pub fn engine_program(
    program: impl AsRef<OsStr>,
    core: Option<usize>,
    priority: Priority,
) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    if let Some(core) = core {
        command.args(["taskset", "-c", &core.to_string()]);
    }
    if priority == Priority::Fifo {
        command.args(["chrt", "-f", &ENGINE_PRIORITY.to_string()]);
    }
    command.arg(program);
    command
}

/// Gives this thread the generator's priority.
pub fn raise_generator(priority: Priority) -> Result<(), String> {
    raise(priority, GENERATOR_PRIORITY)
}

/// Gives this thread a priority below both, and above what else the machine does.
pub fn raise_observer(priority: Priority) -> Result<(), String> {
    raise(priority, OBSERVER_PRIORITY)
}

/// Gives this thread the priority that an engine has.
pub fn raise_as_engine(priority: Priority) -> Result<(), String> {
    raise(priority, ENGINE_PRIORITY)
}

fn raise(priority: Priority, level: u32) -> Result<(), String> {
    if priority == Priority::Normal {
        return Ok(());
    }
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let status = Command::new("chrt")
        .args(["-f", "-p", &level.to_string(), &thread])
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("chrt: {error}; install util-linux, or say --priority normal"))?;
    if status.success() {
        Ok(())
    } else {
        Err("chrt could not raise the priority; be root, or say --priority normal".to_owned())
    }
}
