//! Deadlines of many owners, one each, soonest first. Setting one and asking for the first cost a look
//! into an ordered set, however many owners there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// When each owner wants to be called.
#[derive(Debug)]
pub struct Deadlines<K> {
    queue: BTreeSet<(Instant, K)>,
    of: BTreeMap<K, Instant>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { queue: BTreeSet::new(), of: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Deadlines<K> {
    /// The owner's deadline from now on; `None` takes it away.
    pub fn set(&mut self, owner: &K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.of.insert(owner.clone(), at),
            None => self.of.remove(owner),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.queue.remove(&(before, owner.clone()));
        }
        self.queue.extend(at.map(|at| (at, owner.clone())));
        debug_assert_eq!(self.queue.len(), self.of.len(), "an owner has one deadline");
    }

    /// The first deadline.
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Everybody whose time has come, the longest overdue first. Their deadlines stay until they are
    /// set anew.
    pub fn due(&self, now: Instant) -> Vec<K> {
        let due = self.queue.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, owner)| owner.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_owner_has_its_last_deadline_and_no_other() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut deadlines = Deadlines::default();
        deadlines.set(&"one", Some(at(30)));
        deadlines.set(&"two", Some(at(20)));
        deadlines.set(&"one", Some(at(10)));
        deadlines.set(&"three", Some(at(40)));
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.due(at(30)), ["one", "two"]);
        deadlines.set(&"one", None);
        deadlines.set(&"two", Some(at(50)));
        assert_eq!(deadlines.due(at(45)), ["three"]);
        deadlines.set(&"three", None);
        deadlines.set(&"two", None);
        assert_eq!(deadlines.next(), None);
        assert!(deadlines.of.is_empty() && deadlines.queue.is_empty());
    }
}
