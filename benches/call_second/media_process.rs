//! The real `linecard media`: started on a configuration of its own, driven over its control socket,
//! its CPU time read from the kernel, ended when dropped.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use linecard::control::codec::{FromMedia, read_from_media, write_request};
use linecard::control::message::{CallArgument, CallStatistics, Command, ProcessStatistics};
use linecard::up::child::SUPERVISOR_ARGUMENT;
use serde::de::DeserializeOwned;

/// For the process to serve its socket, to answer a request, and to end.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// Below the ports that the kernel hands out by itself (net.ipv4.ip_local_port_range), which the
/// load generator's sockets take. Pairs that another program holds are passed over.
const TRUNK_PORTS: &str = "20000-29999";
/// The name of the first media thread.
const MEDIA_THREAD: &str = "media-0";

/// A running media process with one thread.
pub struct MediaProcess {
    child: Child,
    directory: PathBuf,
    control: Option<BufReader<UnixStream>>,
}

/// What the kernel accounted since the process began.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// Of the wall clock, when these were read.
    pub at: Instant,
    /// The media thread's CPU time by its own thread clock.
    pub thread_ms: f64,
    /// The same by the scheduler's accounting (/proc/PID/task/TID/schedstat).
    pub scheduled_ms: f64,
    /// How long the media thread was ready and waited for its core.
    pub waited_ms: f64,
    /// CPU time of the process's other threads: control.
    pub others_ms: f64,
    /// Packets decoded and encoded.
    pub frames: u64,
    /// Elapsed time that the other figures belong to.
    pub elapsed: Duration,
}

impl Cpu {
    /// The difference.
    pub fn since(&self, before: &Cpu) -> Cpu {
        Cpu {
            at: self.at,
            thread_ms: self.thread_ms - before.thread_ms,
            scheduled_ms: self.scheduled_ms - before.scheduled_ms,
            waited_ms: self.waited_ms - before.waited_ms,
            others_ms: self.others_ms - before.others_ms,
            frames: self.frames - before.frames,
            elapsed: self.at - before.at,
        }
    }
}

impl MediaProcess {
    /// Starts it with one media thread on `core`.
    pub fn start(core: usize, calls: usize) -> Result<Self, String> {
        let name = format!("linecard-call-second-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).map_err(|error| at(&directory, error))?;
        let (socket, config) = (directory.join("media.sock"), directory.join("linecard.toml"));
        let browser_port = free_port().map_err(|error| format!("no UDP port: {error}"))?;
        let text = format!(
            "[media]\ncontrol = {socket:?}\ncores = [{core}]\naddress = \"127.0.0.1\"\n\
             browser_port = {browser_port}\ntrunk_ports = \"{TRUNK_PORTS}\"\n\
             calls_per_core = {calls}\n"
        );
        fs::write(&config, text).map_err(|error| at(&config, error))?;
        let log = directory.join("log");
        let log_file = fs::File::create(&log).map_err(|error| at(&log, error))?;
        let program = env!("CARGO_BIN_EXE_linecard");
        let child = Program::new(program)
            .args(["media", "--config"])
            .arg(&config)
            // However this process ends, that one ends too.
            .args([SUPERVISOR_ARGUMENT, &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let mut process = Self { child, directory, control: None };
        process.connect(&socket).map_err(|problem| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            format!("linecard media: {problem}\n{log}")
        })?;
        process.request::<serde_json::Value>(&Command::TakeControl)?;
        Ok(process)
    }

    fn connect(&mut self, socket: &Path) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        let connection = loop {
            match UnixStream::connect(socket) {
                Ok(connection) => break connection,
                Err(_) if matches!(self.child.try_wait(), Ok(Some(_))) => {
                    return Err("it ended as it began".to_owned());
                }
                Err(error) if Instant::now() > until => return Err(at(socket, error)),
                Err(_) => std::thread::sleep(POLL),
            }
        };
        connection.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        let control = self.control.insert(BufReader::new(connection));
        let mut greeting = String::new();
        control.read_line(&mut greeting).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// One request and its result; events in between are passed over.
    pub fn request<T: DeserializeOwned>(&mut self, command: &Command) -> Result<T, String> {
        let about = |problem: &dyn std::fmt::Display| format!("{}: {problem}", command.name());
        let control = self.control.as_mut().ok_or("not connected")?;
        let line = write_request(1, command) + "\n";
        control.get_mut().write_all(line.as_bytes()).map_err(|error| about(&error))?;
        loop {
            let mut line = String::new();
            if control.read_line(&mut line).map_err(|error| about(&error))? == 0 {
                return Err(about(&"the media process ended"));
            }
            if let FromMedia::Reply { result, .. } =
                read_from_media(&line).map_err(|error| about(&error))?
            {
                let result = result.map_err(|error| about(&error.message))?;
                return serde_json::from_value(result).map_err(|error| about(&error));
            }
        }
    }

    /// Ends a call and gives its statistics.
    pub fn delete_call(&mut self, call: String) -> Result<CallStatistics, String> {
        self.request(&Command::DeleteCall(CallArgument { call }))
    }

    /// What was accounted so far.
    pub fn cpu(&mut self) -> Result<Cpu, String> {
        let statistics: ProcessStatistics = self.request(&Command::QueryProcess)?;
        let thread = statistics.threads.first().ok_or("the process has no media thread")?;
        let mut cpu = Cpu {
            at: Instant::now(),
            thread_ms: thread.cpu_ms,
            scheduled_ms: 0.0,
            waited_ms: 0.0,
            others_ms: 0.0,
            frames: thread.frames_decoded + thread.frames_encoded,
            elapsed: Duration::ZERO,
        };
        let tasks = PathBuf::from(format!("/proc/{}/task", self.child.id()));
        for task in fs::read_dir(&tasks).map_err(|error| at(&tasks, error))?.flatten() {
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let statistics = read("schedstat");
            let mut fields = statistics.split_whitespace().map(|field| field.parse::<f64>());
            // Time on the CPU and time ready without one, in nanoseconds.
            let mut field_ms = || fields.next().and_then(Result::ok).unwrap_or(0.0) / 1e6;
            let (ran_ms, waited_ms) = (field_ms(), field_ms());
            if read("comm").trim() == MEDIA_THREAD {
                (cpu.scheduled_ms, cpu.waited_ms) = (ran_ms, waited_ms);
            } else {
                cpu.others_ms += ran_ms;
            }
        }
        Ok(cpu)
    }
}

impl Drop for MediaProcess {
    fn drop(&mut self) {
        linecard::os::process::ask_to_end(self.child.id());
        let until = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn at(path: &Path, error: std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
