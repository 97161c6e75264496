//! Timers of many owners: a heap in which each owner has one live entry, its earliest deadline.
//!
//! An owner that wants an earlier time is pushed again and the old entry dies when it surfaces; one
//! whose deadline moved back is simply woken for nothing once. In a steady stream an owner pushes a
//! few times a second, so the heap stays as small as the owners are many.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// The timers of one thread.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord + Copy> Timers<K> {
    /// Room for `owners` before the heap has to grow.
    pub fn new(owners: usize) -> Self {
        Self { heap: BinaryHeap::with_capacity(owners) }
    }

    /// Wakes `owner` at `at`. `armed` is the owner's own note of its live entry.
    #[inline]
    pub fn arm(&mut self, owner: K, at: Option<Instant>, armed: &mut Option<Instant>) {
        if let Some(at) = at
            && armed.is_none_or(|armed| at < armed)
        {
            *armed = Some(at);
            self.heap.push(Reverse((at, owner)));
        }
    }

    /// The next deadline.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next owner whose time has come, with the time it was armed for: the owner ignores it
    /// unless that is its live entry.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        let due = self.heap.peek().is_some_and(|Reverse((at, _))| *at <= now);
        if due { self.heap.pop().map(|Reverse(entry)| entry) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn owners_are_woken_in_order_and_only_earlier_deadlines_push() {
        let now = Instant::now();
        let at = |ms| Some(now + Duration::from_millis(ms));
        let mut timers = Timers::new(2);
        let (mut first, mut second) = (None, None);
        timers.arm(1, at(30), &mut first);
        timers.arm(2, at(20), &mut second);
        timers.arm(1, at(40), &mut first);
        timers.arm(1, at(10), &mut first);
        timers.arm(2, None, &mut second);
        assert_eq!(timers.next(), at(10));
        let mut woken = Vec::new();
        while let Some((armed, owner)) = timers.pop_due(now + Duration::from_millis(30)) {
            let live = if owner == 1 { first } else { second };
            woken.push((owner, live == Some(armed)));
        }
        assert_eq!(woken, [(1, true), (2, true), (1, false)]);
        assert_eq!(timers.next(), None);
    }
}
