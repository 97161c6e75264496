//! All calls, in the order of their names, and the ways to find some of them: by what several may
//! share, and by when they want to be called. The work for one input is that of the calls it concerns,
//! however many there are beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::base::opaque::opaque;
use crate::control::message::{CallName, Side};
use crate::signal::call::Call;
use crate::signal::deadlines::Deadlines;
use crate::signal::index::Index;
use crate::signal::peer::Peer;
use crate::signal::registrar::address_of;
use crate::sip::transaction::Flow;

/// What several calls may share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shared {
    /// A connection, or a trunk's address, that a leg or an INVITE without its last word is on.
    Flow(Flow),
    /// A user, who is at one of the ends.
    User(String),
    /// An INVITE, by what it has in common with a merged one.
    Invite(Arc<str>),
    /// A user's browser, by the address that it has as contact.
    Contact {
        /// The user's name.
        user: String,
        /// As [`address_of`] has it.
        address: String,
    },
}

/// All calls.
#[derive(Default)]
pub struct Calls {
    all: BTreeMap<CallName, Call>,
    deadlines: Deadlines<CallName>,
    shared: Index<Shared, CallName>,
    /// Calls that were looked at, for the tests that bound them.
    #[cfg(test)]
    pub(super) visited: std::cell::Cell<usize>,
}

opaque!(Calls, Call);

impl Calls {
    /// Takes a new call.
    pub fn insert(&mut self, call: Call) {
        let before = self.all.insert(call.name.clone(), call);
        debug_assert!(before.is_none(), "a call has its name for itself");
    }

    /// A call.
    pub fn get(&self, name: &CallName) -> Option<&Call> {
        self.count(1);
        self.all.get(name)
    }

    /// A call, to be changed; [`Self::settle`] is due afterwards.
    pub fn get_mut(&mut self, name: &CallName) -> Option<&mut Call> {
        self.count(1);
        self.all.get_mut(name)
    }

    /// Takes a call out for a moment; [`Self::insert`] and [`Self::settle`] are due afterwards.
    pub fn take(&mut self, name: &CallName) -> Option<Call> {
        self.count(1);
        self.all.remove(name)
    }

    /// Every call: for what concerns them all, such as the end of the media process.
    pub fn iter(&self) -> impl Iterator<Item = &Call> {
        self.count(self.all.len());
        self.all.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The calls that share something, by name.
    pub fn sharing(&self, what: &Shared) -> Vec<CallName> {
        self.shared.owners(what)
    }

    /// The first of them, so many at most.
    pub fn first_sharing(&self, what: &Shared, at_most: usize) -> Vec<CallName> {
        self.shared.first_owners(what, at_most)
    }

    /// The first deadline of any call.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// The calls whose deadline has passed.
    pub fn due(&self, now: Instant) -> Vec<CallName> {
        self.deadlines.due(now)
    }

    /// Files a call anew after it did something. One that is over goes, which is told by `true`.
    pub fn settle(&mut self, name: &CallName) -> bool {
        self.count(1);
        let Some(call) = self.all.get(name) else { return false };
        let is_over = call.is_over();
        if is_over {
            self.deadlines.set(name, None);
            self.shared.set(name, BTreeSet::new());
            self.all.remove(name);
        } else {
            self.deadlines.set(name, call.next_timeout());
            self.shared.set(name, shared_of(call));
        }
        is_over
    }

    #[cfg(test)]
    fn count(&self, calls: usize) {
        self.visited.set(self.visited.get() + calls);
    }

    #[cfg(not(test))]
    fn count(&self, _calls: usize) {}
}

fn shared_of(call: &Call) -> BTreeSet<Shared> {
    let mut shared = BTreeSet::new();
    for side in Side::BOTH {
        let leg = call.leg(side);
        shared.extend(leg.flow.map(Shared::Flow));
        if let Peer::User(user) = &leg.peer {
            shared.insert(Shared::User(user.clone()));
        }
        if let (Peer::User(user), Some(dialog)) = (&leg.peer, &leg.dialog) {
            let address = address_of(&dialog.remote_target.to_string());
            shared.insert(Shared::Contact { user: user.clone(), address });
        }
    }
    let invite = call.invite.as_ref();
    shared.extend(invite.map(|invite| Shared::Invite(invite.identity.clone())));
    let invite = invite.filter(|invite| invite.is_open() || invite.is_unacknowledged());
    shared.extend(invite.map(|invite| Shared::Flow(invite.flow)));
    shared
}
