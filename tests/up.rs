//! `linecard up` as it is typed: what it prints, whom it starts again, and what is left when it ends.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a wrong number fails its test"
)]
#![allow(clippy::unwrap_used)] // helpers of tests may fail as tests do

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// For anything to happen, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between looks at what cannot be waited for otherwise.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

fn linecard() -> Command {
    Command::new(env!("CARGO_BIN_EXE_linecard"))
}

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("linecard-up-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Waits until `found` finds something.
fn wait<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// A start looks for free ports, and those of a killed process are free until it is back: one at a
/// time.
static ALONE: Mutex<()> = Mutex::new(());

/// A running `linecard up` with its output in a file.
struct Up {
    process: Child,
    directory: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Up {
    fn start(name: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = directory(name);
        let output = std::fs::File::create(directory.join("output")).unwrap();
        let process = linecard()
            .arg("up")
            .env("XDG_RUNTIME_DIR", &directory)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stderr(output.try_clone().unwrap())
            .stdout(output)
            .spawn()
            .unwrap();
        let up = Self { process, directory, _alone: alone };
        wait("the address", || {
            assert!(!up.output().contains("cannot run"), "{}", up.output());
            up.output().contains("Ctrl-C").then_some(())
        });
        up
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.directory.join("output")).unwrap_or_default()
    }

    fn address(&self) -> String {
        let output = self.output();
        let rest = output.split("https://").nth(1).unwrap();
        rest.split('/').next().unwrap().to_owned()
    }

    /// The process that runs this subcommand for us.
    fn child(&self, subcommand: &str) -> Option<Pid> {
        children(self.process.id()).into_iter().find(|pid| {
            let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            line.unwrap_or_default().split(|byte| *byte == 0).nth(1) == Some(subcommand.as_bytes())
        })
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            println!("{}", self.output());
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn children(parent: u32) -> Vec<Pid> {
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    list.unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// Gone, or dead and not yet collected.
fn has_ended(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        .map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn the_first_start_needs_no_configuration_and_keeps_its_secrets_private() {
    let up = Up::start("first");
    let output = up.output();
    assert!(output.contains("/#user=1001&password="), "{output}");
    assert!(output.contains("100 echo"), "{output}");
    let mode = |path: &Path| {
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).unwrap()) & 0o777
    };
    let private = up.directory.join("linecard");
    assert_eq!(mode(&private), 0o700);
    for file in ["up.toml", "key.pem", "certificate.pem"] {
        assert_eq!(mode(&private.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_killed_process_is_started_again() {
    let up = Up::start("restart");
    for subcommand in ["signal", "media"] {
        let before = up.child(subcommand).unwrap();
        kill_process(before, Signal::KILL).unwrap();
        wait(subcommand, || up.child(subcommand).filter(|pid| *pid != before));
    }
    wait("the https port", || std::net::TcpStream::connect(up.address()).ok());
}

/// Each thread of a process: its name, and the cores that it may run on, as `Cpus_allowed_list` has
/// them ("0,2-3").
fn threads(pid: Pid) -> Vec<(String, Vec<usize>)> {
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        first.parse::<usize>().unwrap()..=last.parse().unwrap()
    };
    let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok())
        .map(|status| {
            let allowed = field(&status, "Cpus_allowed_list:");
            (field(&status, "Name:"), allowed.split(',').flat_map(range).collect())
        })
        .collect()
}

#[test]
fn no_thread_of_signaling_runs_on_a_core_of_media() {
    let up = Up::start("cores");
    let (media, signal) = (up.child("media").unwrap(), up.child("signal").unwrap());
    let taken: Vec<usize> = threads(media)
        .into_iter()
        .filter(|(name, _)| name.starts_with("media-"))
        .flat_map(|(_, cores)| cores)
        .collect();
    assert!(!taken.is_empty());
    let machine = threads(Pid::from_child(&up.process)).remove(0).1;
    let threads = threads(signal);
    assert!(threads.len() > 1, "{threads:?}");
    for (name, cores) in threads {
        if machine.iter().all(|core| taken.contains(core)) {
            // All are media's, as on a machine with one.
            assert_eq!(cores, machine, "{name}");
        } else {
            assert!(cores.iter().all(|core| !taken.contains(core)), "{name}: {cores:?}, {taken:?}");
        }
    }
}

#[test]
fn nothing_is_left_when_it_ends() {
    for (name, signal) in [("terminated", Signal::TERM), ("killed", Signal::KILL)] {
        let mut up = Up::start(name);
        let started: Vec<_> = ["media", "signal"].map(|name| up.child(name).unwrap()).into();
        let own = Pid::from_child(&up.process);
        kill_process(own, signal).unwrap();
        let status = up.process.wait().unwrap();
        assert_eq!(status.success(), signal == Signal::TERM, "{}", up.output());
        for pid in started {
            wait("a child to end", || has_ended(pid).then_some(()));
        }
    }
}

#[test]
fn a_mistake_in_the_configuration_is_named_and_ends_the_start() {
    let directory = directory("mistake");
    let file = directory.join("linecard.toml");
    std::fs::write(&file, "[media]\nadress = \"192.0.2.1\"\ntrunk_ports = \"3000\"\n").unwrap();
    for subcommand in ["up", "media", "signal"] {
        let output = linecard().arg(subcommand).arg("--config").arg(&file).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("[media].adress: unknown key; did you mean `address`?"), "{text}");
        assert!(text.contains("[media].trunk_ports = \"3000\": expected FIRST-LAST"), "{text}");
        assert!(text.contains(&file.display().to_string()), "{text}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_child_that_cannot_start_ends_it_with_the_reason() {
    let directory = directory("busy");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = directory.join("linecard.toml");
    // Beside the ephemeral ports, one of which is taken.
    let browser_port = (61_000..62_000)
        .find(|port| std::net::UdpSocket::bind(("127.0.0.1", *port)).is_ok())
        .unwrap();
    let text = format!(
        "[media]\ncontrol = \"{}\"\ncores = [0]\nbrowser_port = {browser_port}\n\
         trunk_ports = \"20000-20099\"\n[signal]\nwss = \"127.0.0.1:0\"\nsip = \"{}\"\n",
        directory.join("run/media.sock").display(),
        taken.local_addr().unwrap()
    );
    std::fs::write(&file, text).unwrap();
    let mut process = linecard()
        .arg("--config")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(2), "{text}");
    assert!(
        text.contains("[signal].sip") && text.contains("linecard signal did not start"),
        "{text}"
    );
    std::fs::remove_dir_all(directory).unwrap();
}
