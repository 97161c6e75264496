//! Waking another thread: an eventfd that the sleeper waits for in its ring or its runtime.

#![allow(unsafe_code)] // one promise to the runtime: the descriptor stays ours

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use tokio::io::unix::AsyncFd;

use rustix::event::{EventfdFlags, eventfd};

/// A wake-up that any thread can ring and one thread waits for. Rings that come before the sleeper
/// looks are one.
#[derive(Clone, Debug)]
pub struct Wake(Arc<OwnedFd>);

impl Wake {
    /// Makes one.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)))
    }

    /// Wakes the sleeper.
    pub fn ring(&self) {
        // The only failure is a counter at its maximum, and then the sleeper is awake anyway.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// For a sleeper in a tokio runtime. Must be called inside one.
    pub fn waiter(&self) -> io::Result<AsyncFd<Wake>> {
        // SAFETY: the descriptor is owned by the `Wake` inside, is never replaced, and so stays
        // open and the same for as long as the runtime watches it.
        unsafe { AsyncFd::register(self.clone()) }.map_err(io::Error::from)
    }

    /// Takes all rings so far, so that the next wait sleeps.
    pub fn clear(&self) {
        let _ = rustix::io::read(&*self.0, &mut [0_u8; 8]);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
