//! The clocks of the harness: the wall clock, which the kernel stamps arrivals with, and the monotonic
//! one, which the load is paced by.

use std::time::Duration;

use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of the wall clock.
pub fn wall_ns() -> i64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

/// Nanoseconds of a clock that never steps.
pub fn monotonic_ns() -> i64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Sleeps until [`monotonic_ns`] is `until_ns`, or a signal comes.
pub fn sleep_until(until_ns: i64) {
    let until = Timespec { tv_sec: until_ns / 1_000_000_000, tv_nsec: until_ns % 1_000_000_000 };
    let _ = clock_nanosleep_absolute(ClockId::Monotonic, &until);
}

/// A duration as the clocks here count.
pub fn ns(duration: Duration) -> i64 {
    duration.as_nanos() as i64
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
