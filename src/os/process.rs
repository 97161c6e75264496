//! What a process settles for itself at start: no core dumps, its end when its supervisor ends, and who
//! goes first.

use std::io;

use rustix::process::{
    DumpableBehavior, Pid, Signal, getppid, set_dumpable_behavior, set_parent_process_death_signal,
    setpriority_process,
};

/// Of setpriority(2).
const NICEST: i32 = 19;

/// Keeps keys and passwords in memory out of core files and from other processes of the same user.
pub fn forbid_core_dumps() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Ends the process when any of its threads panics, once that has been reported. Half a process would
/// hold its calls' ports, and its controller would wait for it; whoever supervises a whole one that ended
/// starts another.
pub fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// Lets other threads go before this one, as far as the kernel's scheduler allows.
pub fn step_back() {
    // Nobody is refused to be nicer. The kernel takes it for the calling thread alone.
    let _ = setpriority_process(None, NICEST);
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

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    const ENDS: &str = "LINECARD_TEST_ENDS_ON_PANIC";

    /// The test is its own child process: there the panic of one thread is to end another's sleep.
    #[test]
    fn a_panic_in_any_thread_ends_the_process_with_a_message() {
        if std::env::var_os(ENDS).is_some() {
            end_on_panic();
            let _ = std::thread::spawn(|| panic!("a thread fails")).join();
            unreachable!("the process goes on");
        }
        let name = "os::process::tests::a_panic_in_any_thread_ends_the_process_with_a_message";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(ENDS, "1")
            .output()
            .unwrap();
        assert_eq!(child.status.signal(), Some(Signal::ABORT.as_raw()));
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(said.contains("a thread fails") && !said.contains("goes on"), "{said}");
    }
}
