//! What the kernel's scheduler says about the calling thread: how long it ran, and how long it
//! could have run but had to wait for its core.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::base::narrow::Narrow;

/// The three numbers of schedstat, 20 digits each, and their separators.
const TEXT_BYTES_MAX: usize = 64;

/// The calling thread's account (proc(5), `/proc/thread-self/schedstat`), kept open: reading it
/// again neither allocates nor looks up a path.
#[derive(Debug)]
pub struct SchedulerAccount(File);

/// Time since the thread began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// On its core.
    pub ran: Duration,
    /// Ready to run, while something else had the core.
    pub waited: Duration,
}

impl Account {
    /// All the time that the thread wanted its core.
    pub fn busy(&self) -> Duration {
        self.ran + self.waited
    }
}

impl SchedulerAccount {
    /// Opens the calling thread's account.
    pub fn open() -> io::Result<Self> {
        Ok(Self(File::open("/proc/thread-self/schedstat")?))
    }

    /// Reads it.
    pub fn read(&self) -> io::Result<Account> {
        let mut text = [0; TEXT_BYTES_MAX];
        let length = self.0.read_at(&mut text, 0)?;
        parse(&text[..length]).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// CPU time of this thread, by the kernel's accounting.
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs().narrow())
}

fn parse(text: &[u8]) -> Option<Account> {
    let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let mut nanoseconds = || Some(Duration::from_nanos(words.next()?.parse().ok()?));
    Some(Account { ran: nanoseconds()?, waited: nanoseconds()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_account_grows_while_it_runs() {
        let account = SchedulerAccount::open().unwrap();
        let before = account.read().unwrap();
        let mut after = before;
        for _ in 0..1_000_000 {
            after = account.read().unwrap();
            if after.ran > before.ran {
                break;
            }
        }
        assert!(after.ran > before.ran);
        assert!(after.busy() >= after.ran);
    }

    #[test]
    fn the_kernels_line_is_read_and_rubbish_is_not() {
        let read = parse(b"1500000 20 3\n").unwrap();
        assert_eq!(read.ran, Duration::from_micros(1_500));
        assert_eq!(read.waited, Duration::from_nanos(20));
        for rubbish in [&b""[..], b"12", b"x y z", b"\xff 1 2"] {
            assert_eq!(parse(rubbish), None);
        }
    }
}
