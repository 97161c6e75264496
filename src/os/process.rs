//! What a process settles for itself at start: no core dumps, and its end when its supervisor ends.

use std::io;

use rustix::process::{
    DumpableBehavior, Pid, Signal, getppid, set_dumpable_behavior, set_parent_process_death_signal,
};

/// Keeps keys and passwords in memory out of core files and from other processes of the same user.
pub fn forbid_core_dumps() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Whether the process that should be watched is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// It is, and its end will end this process.
    Present,
    /// It ended before it could be watched.
    Gone,
}

/// Has the kernel end this process with SIGTERM when the parent, process `supervisor`, ends however
/// it ends (prctl(2), PR_SET_PDEATHSIG).
pub fn end_with_parent(supervisor: u32) -> io::Result<Parent> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let parent = getppid().map(Pid::as_raw_nonzero).and_then(|pid| u32::try_from(pid.get()).ok());
    Ok(if parent == Some(supervisor) { Parent::Present } else { Parent::Gone })
}

/// Asks a child process to end.
pub fn ask_to_end(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended already.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}
