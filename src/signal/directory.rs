//! The directory: which call, and which part of it, a transaction, a dialog, an ICE fragment or a
//! browser's address belongs to. Calls enter their keys as they make them; when a call is over all
//! its keys go with it.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::control::message::{CallName, Side};
use crate::sip::transaction::{ClientTransactionId, ServerTransactionId};

/// Keys of one call. A call has about ten; a fork to eight browsers that each check from sixteen
/// addresses stays below this. More are not entered, so what they would name is not found.
const KEYS_OF_CALL_MAX: usize = 256;

/// Addresses of one leg that passed a check, the last ones: eight browsers that are asked, each with
/// sixteen.
const ADDRESSES_MAX: usize = 128;

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A request that we received.
    Server(ServerTransactionId),
    /// A request that we sent.
    Client(ClientTransactionId),
    /// Our tag in a dialog.
    Tag(String),
    /// Our ICE fragment on a leg.
    Fragment(String),
    /// A browser's address, seen by a media thread, that passed an authenticated check.
    Address(usize, SocketAddr),
}

/// Which part of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A leg.
    Leg(Side),
    /// One of those that were asked on the callee's side, by number.
    Attempt(usize),
    /// Our BYE to a leg.
    Bye(Side),
    /// Our refresh of a leg's session (RFC 4028).
    Refresh(Side),
    /// Our question whether a leg's far end, of whom nothing is heard, is still there.
    Probe(Side),
}

impl Part {
    /// The leg that it is of.
    fn side(self) -> Option<Side> {
        match self {
            Part::Leg(side) | Part::Bye(side) | Part::Refresh(side) | Part::Probe(side) => {
                Some(side)
            }
            Part::Attempt(_) => None,
        }
    }

    /// The same of the leg on another side.
    fn on(self, side: Side) -> Self {
        match self {
            Part::Leg(_) => Part::Leg(side),
            Part::Bye(_) => Part::Bye(side),
            Part::Refresh(_) => Part::Refresh(side),
            Part::Probe(_) => Part::Probe(side),
            Part::Attempt(number) => Part::Attempt(number),
        }
    }
}

/// The directory.
#[derive(Debug, Default)]
pub struct Directory {
    entries: HashMap<Key, (CallName, Part)>,
    by_call: HashMap<CallName, Vec<Key>>,
}

impl Directory {
    /// Enters a key of a call. One that is another call's moves: a browser's address may serve its
    /// next call while the last one is being put away.
    pub fn enter(&mut self, key: Key, call: &CallName, part: Part) {
        if self.entries.get(&key).is_some_and(|(owner, _)| owner == call) {
            return;
        }
        self.make_room(&key, call, part);
        let keys = self.by_call.entry(call.clone()).or_default();
        if keys.len() < KEYS_OF_CALL_MAX {
            keys.push(key.clone());
            self.entries.insert(key, (call.clone(), part));
        }
    }

    /// A call that lasts is changed, refreshed and asked about without end: of each kind its newest keys
    /// of one part are enough.
    fn make_room(&mut self, key: &Key, call: &CallName, part: Part) {
        let (Some(kept), Some(keys)) = (kept_of(key, part), self.by_call.get_mut(call)) else {
            return;
        };
        let is_like = |entries: &HashMap<Key, (CallName, Part)>, other: &Key| {
            let is_of_part = entries.get(other).is_some_and(|(_, theirs)| *theirs == part);
            is_of_part && std::mem::discriminant(other) == std::mem::discriminant(key)
        };
        while keys.iter().filter(|other| is_like(&self.entries, other)).count() >= kept {
            let Some(oldest) = keys.iter().position(|other| is_like(&self.entries, other)) else {
                return;
            };
            let oldest = keys.remove(oldest);
            self.entries.remove(&oldest);
        }
    }

    /// Two legs change their calls with one another, and all their keys with them.
    pub fn exchange(&mut self, one: (&CallName, Side), other: (&CallName, Side)) {
        let taken = [one, other].map(|(call, side)| self.take(call, side));
        for (keys, (call, side)) in taken.into_iter().zip([other, one]) {
            for (key, part) in keys {
                self.by_call.entry(call.clone()).or_default().push(key.clone());
                self.entries.insert(key, (call.clone(), part.on(side)));
            }
        }
    }

    fn take(&mut self, call: &CallName, side: Side) -> Vec<(Key, Part)> {
        let Some(keys) = self.by_call.get_mut(call) else { return Vec::new() };
        let entries = &self.entries;
        let of_side = |key: &Key| {
            let (owner, part) = entries.get(key)?;
            (owner == call && part.side() == Some(side)).then_some(*part)
        };
        let taken: Vec<_> =
            keys.iter().filter_map(|key| Some((key.clone(), of_side(key)?))).collect();
        keys.retain(|key| of_side(key).is_none());
        taken
    }

    /// Whose key this is.
    pub fn find(&self, key: &Key) -> Option<(CallName, Part)> {
        self.entries.get(key).cloned()
    }

    /// Forgets a call.
    pub fn forget(&mut self, call: &CallName) {
        for key in self.by_call.remove(call).unwrap_or_default() {
            if self.entries.get(&key).is_some_and(|(owner, _)| owner == call) {
                self.entries.remove(&key);
            }
        }
    }

    /// All entries together.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// How many keys of a kind a part of a call has; `None`: as many as it makes.
fn kept_of(key: &Key, part: Part) -> Option<usize> {
    match (key, part) {
        // The INVITE whose ACK is awaited, the refresh and the question whose answer is.
        (Key::Server(_), Part::Leg(_)) | (Key::Client(_), Part::Refresh(_) | Part::Probe(_)) => {
            Some(1)
        }
        // Until a check succeeds after an ICE restart the fragment before it counts.
        (Key::Fragment(_), _) => Some(2),
        (Key::Address(..), _) => Some(ADDRESSES_MAX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_call_leaves_nothing_and_takes_nothing_of_another() {
        let address: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let (one, two) = (CallName::from("one"), CallName::from("two"));
        let mut directory = Directory::default();
        directory.enter(Key::Tag("a".to_owned()), &one, Part::Leg(Side::A));
        directory.enter(Key::Address(0, address), &one, Part::Leg(Side::A));
        directory.enter(Key::Address(0, address), &two, Part::Leg(Side::B));
        directory.forget(&one);
        assert_eq!(directory.find(&Key::Tag("a".to_owned())), None);
        assert_eq!(
            directory.find(&Key::Address(0, address)),
            Some((two.clone(), Part::Leg(Side::B)))
        );
        directory.forget(&two);
        assert!(directory.is_empty());
    }
}
