//! One child process: started, started again when it dies, and ended.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::base::fault::Fault;
use crate::os::process;

/// The exit code of a process that printed its [`Fault`].
pub const FAULT_EXIT_CODE: u8 = 2;
/// The argument by which a child learns whose end ends it.
pub const SUPERVISOR_ARGUMENT: &str = "--supervisor";

/// For a child to end after SIGTERM; then it is killed. Signaling gives its calls' far ends 5 s to
/// answer, and its disk 2 s.
const END_TIME_MAX: Duration = Duration::from_secs(8);
/// A child that ran this long had started well.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Before the second restart in a row; the first is immediate, each further one waits twice as long.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// Which process it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Media,
    Signal,
}

impl Role {
    fn subcommand(self) -> &'static str {
        match self {
            Role::Media => "media",
            Role::Signal => "signal",
        }
    }
}

/// A supervised process.
pub(super) struct Child {
    role: Role,
    program: PathBuf,
    config: PathBuf,
    process: Option<tokio::process::Child>,
}

impl Child {
    /// Not yet started.
    pub(super) fn new(role: Role, program: &Path, config: &Path) -> Self {
        Self { role, program: program.to_owned(), config: config.to_owned(), process: None }
    }

    /// Keeps it running. Returns only when it cannot be started or its first run ended in a fault of
    /// its own: what was wrong then stays wrong. A later fault may pass; the kernel, for example,
    /// still holds the ports of a ring whose process was just killed.
    pub(super) async fn run(&mut self) -> Fault {
        let name = self.role.subcommand();
        let mut back_off = BackOff::default();
        let mut starts = 0_u64;
        loop {
            starts += 1;
            let started = Instant::now();
            let status = match self.start() {
                Ok(process) => process.wait().await,
                Err(error) => Err(error),
            };
            self.process = None;
            let status = match status {
                Ok(status) => status,
                Err(error) => {
                    let remedy = "check that the program can be executed and this user's limits";
                    return Fault::new(
                        format!("cannot start linecard {name}: {error}"),
                        self.program.display(),
                        remedy,
                    );
                }
            };
            if is_fault(status) && starts == 1 {
                return Fault::new(
                    format!("linecard {name} did not start"),
                    self.config.display(),
                    "read its own message above",
                );
            }
            let pause = back_off.after(started.elapsed());
            warn!(process = name, %status, ?pause, "ended; starting it again");
            sleep(pause).await;
        }
    }

    /// Ends it, gently at first.
    pub(super) async fn end(&mut self) {
        let Some(mut child) = self.process.take() else { return };
        child.id().into_iter().for_each(process::ask_to_end);
        if timeout(END_TIME_MAX, child.wait()).await.is_err() {
            warn!(process = self.role.subcommand(), "did not end in time; killed");
            let _ = child.kill().await;
        }
    }

    fn start(&mut self) -> std::io::Result<&mut tokio::process::Child> {
        let child = Command::new(&self.program)
            .arg(self.role.subcommand())
            .arg("--config")
            .arg(&self.config)
            .arg(SUPERVISOR_ARGUMENT)
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            // A terminal's Ctrl-C is for the supervisor, which ends its children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        info!(process = self.role.subcommand(), pid = child.id(), "started");
        Ok(self.process.insert(child))
    }
}

fn is_fault(status: ExitStatus) -> bool {
    status.code() == Some(i32::from(FAULT_EXIT_CODE))
}

/// Pauses between restarts.
#[derive(Debug, Default)]
struct BackOff {
    restarts_in_a_row: u32,
}

impl BackOff {
    /// The pause after a run of this length: none after a run that had settled.
    fn after(&mut self, ran: Duration) -> Duration {
        if ran >= SETTLED_AFTER {
            self.restarts_in_a_row = 0;
        }
        self.restarts_in_a_row = self.restarts_in_a_row.saturating_add(1);
        match self.restarts_in_a_row - 1 {
            0 => Duration::ZERO,
            further => BACK_OFF_MIN.saturating_mul(1 << (further - 1).min(16)).min(BACK_OFF_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_a_crash_loop_slows_down() {
        let mut back_off = BackOff::default();
        let milliseconds: Vec<_> =
            (0..8).map(|_| back_off.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(milliseconds, [0, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(back_off.after(SETTLED_AFTER), Duration::ZERO);
        for _ in 0..1000 {
            assert!(back_off.after(Duration::ZERO) <= BACK_OFF_MAX);
        }
    }
}
