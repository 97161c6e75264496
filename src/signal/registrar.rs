//! The registrar: which user is reached over which flow (RFC 3261 §10.3, RFC 5626 as far as
//! browsers use it).
//!
//! A binding joins a user, the contact that the browser chose, and the flow that the REGISTER came
//! on: a browser's contact host is `<random>.invalid`, so the flow is the only way to it. A binding
//! whose flow closes is not rung any more, but is kept for a grace time: until then the same browser
//! may come back on another flow, and its dialogs with it.
//!
//! In: authenticated contacts, closed flows, time. Out: bindings, newest first. Authentication and
//! the messages themselves are the caller's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::signal::deadlines::Deadlines;
use crate::signal::flow::FlowId;
use crate::signal::index::Index;

/// Bindings of one user. Closed pages leave some behind; the oldest make room.
pub const BINDINGS_MAX: usize = 8;
/// Contacts in one REGISTER; browsers send one.
pub const CONTACTS_MAX: usize = 4;
/// Granted when the browser names no time; JsSIP and SIP.js ask for the same.
pub const EXPIRES_DEFAULT_S: u32 = 600;
/// The shortest time granted; less is refused with 423 (RFC 3261 §10.3 step 7).
pub const EXPIRES_MIN_S: u32 = 30;
/// The longest time granted; more is shortened.
pub const EXPIRES_MAX_S: u32 = 3_600;
/// How long a binding without a flow is kept: a browser reconnects after 2–30 s.
pub const GRACE: Duration = Duration::from_secs(32);

/// One contact of a REGISTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The contact URI as written, without angle brackets.
    pub uri: String,
    /// `+sip.instance` as written, quotes included (RFC 5626 §4.1).
    pub instance: Option<String>,
    /// `reg-id` (RFC 5626 §4.2).
    pub reg_id: Option<u32>,
    /// The time asked for, from the contact's parameter or the Expires header; 0 unbinds.
    pub expires_s: Option<u32>,
}

/// What a REGISTER asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// No contact: list the bindings.
    Query,
    /// `Contact: *` with `Expires: 0`: unbind everything.
    Clear,
    /// Bind, refresh or unbind these.
    Contacts(Vec<Contact>),
}

/// Why a REGISTER was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 423 with Min-Expires [`EXPIRES_MIN_S`].
    TooBrief,
    /// 500: a CSeq at or below one already seen in this Call-ID (RFC 3261 §10.3 step 7).
    OutOfOrder,
    /// 400: more than [`CONTACTS_MAX`] contacts.
    TooManyContacts,
}

/// A user reached over a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// As registered: its URI is what requests to this browser are addressed to.
    pub contact: Contact,
    /// Where it is reached; `None` once that flow closed.
    pub flow: Option<FlowId>,
    /// When it ends.
    pub expires: Instant,
    call_id: String,
    cseq: u32,
}

impl Binding {
    /// Whole seconds until it ends.
    pub fn expires_s(&self, now: Instant) -> u64 {
        self.expires.saturating_duration_since(now).as_secs()
    }

    /// The same browser: the same instance and registration when it names them (RFC 5626 §6),
    /// else the same contact.
    fn is_of(&self, contact: &Contact) -> bool {
        match (&self.contact.instance, &contact.instance) {
            (Some(mine), Some(theirs)) if self.contact.reg_id.is_some() => {
                mine == theirs && self.contact.reg_id == contact.reg_id
            }
            _ => self.contact.uri == contact.uri,
        }
    }
}

/// All bindings.
#[derive(Debug, Default)]
pub struct Registrar {
    /// By user name; newest first. Nobody is here without a binding.
    users: BTreeMap<String, Vec<Binding>>,
    /// When the first binding of each user ends.
    ends: Deadlines<String>,
    /// Which users are reached over each flow.
    on_flow: Index<FlowId, String>,
    /// Bindings that were looked at, for the tests that bound them.
    #[cfg(test)]
    visited: std::cell::Cell<usize>,
}

impl Registrar {
    /// Carries out an authenticated REGISTER of `user` that came on `flow`.
    pub fn register(
        &mut self,
        user: &str,
        change: Change,
        flow: FlowId,
        (call_id, cseq): (&str, u32),
        now: Instant,
    ) -> Result<(), Refused> {
        let contacts = match change {
            Change::Query => return Ok(()),
            Change::Clear => {
                self.change(user, Vec::clear);
                return Ok(());
            }
            Change::Contacts(contacts) => contacts,
        };
        if contacts.len() > CONTACTS_MAX {
            return Err(Refused::TooManyContacts);
        }
        // Everything is checked before anything is changed (RFC 3261 §10.3 step 7).
        for contact in &contacts {
            let known = self.bindings(user).iter().find(|binding| binding.is_of(contact));
            if known.is_some_and(|known| known.call_id == call_id && known.cseq >= cseq) {
                return Err(Refused::OutOfOrder);
            }
            if contact.expires_s.is_some_and(|asked| (1..EXPIRES_MIN_S).contains(&asked)) {
                return Err(Refused::TooBrief);
            }
        }
        self.change(user, |bindings| {
            for contact in contacts {
                bindings.retain(|binding| !binding.is_of(&contact));
                let granted_s = contact.expires_s.unwrap_or(EXPIRES_DEFAULT_S).min(EXPIRES_MAX_S);
                if granted_s == 0 {
                    continue;
                }
                let expires = now + Duration::from_secs(granted_s.into());
                let (flow, call_id) = (Some(flow), call_id.to_owned());
                bindings.insert(0, Binding { contact, flow, expires, call_id, cseq });
                bindings.truncate(BINDINGS_MAX);
            }
        });
        Ok(())
    }

    /// The bindings of a user, newest first, those without a flow included.
    pub fn bindings(&self, user: &str) -> &[Binding] {
        let bindings = self.users.get(user).map_or(&[][..], Vec::as_slice);
        self.count(bindings.len());
        bindings
    }

    /// The bindings of a user that can be rung, newest first.
    pub fn reachable(&self, user: &str) -> impl Iterator<Item = (&Binding, FlowId)> {
        self.bindings(user).iter().filter_map(|binding| Some((binding, binding.flow?)))
    }

    /// A flow closed: its bindings can no longer be rung, and end after [`GRACE`].
    pub fn flow_closed(&mut self, flow: FlowId, now: Instant) {
        for user in self.on_flow.owners(&flow) {
            self.change(&user, |bindings| {
                for binding in bindings.iter_mut().filter(|binding| binding.flow == Some(flow)) {
                    binding.flow = None;
                    binding.expires = binding.expires.min(now + GRACE);
                }
            });
        }
    }

    /// When the next binding ends.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.ends.next()
    }

    /// Drops what has ended.
    pub fn handle_timeout(&mut self, now: Instant) {
        for user in self.ends.due(now) {
            self.change(&user, |bindings| bindings.retain(|binding| binding.expires > now));
        }
    }

    /// Whether nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Changes the bindings of one user and files the user anew.
    fn change(&mut self, user: &str, change: impl FnOnce(&mut Vec<Binding>)) {
        let user = user.to_owned();
        let mut bindings = self.users.remove(&user).unwrap_or_default();
        change(&mut bindings);
        self.count(bindings.len());
        self.ends.set(&user, bindings.iter().map(|binding| binding.expires).min());
        self.on_flow.set(&user, bindings.iter().filter_map(|binding| binding.flow).collect());
        if !bindings.is_empty() {
            self.users.insert(user, bindings);
        }
    }

    #[cfg(test)]
    fn count(&self, bindings: usize) {
        self.visited.set(self.visited.get() + bindings);
    }

    #[cfg(not(test))]
    fn count(&self, _bindings: usize) {}
}

/// What of a contact is the same in a REGISTER and in a dialog: user and host, compared without case.
/// JsSIP adds `;ob` in dialogs, SIP.js varies its transport parameter.
pub fn address_of(contact: &str) -> String {
    contact.split([';', '?']).next().unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(uri: &str, instance: Option<&str>, expires_s: Option<u32>) -> Contact {
        let reg_id = instance.map(|_| 1);
        Contact { uri: uri.to_owned(), instance: instance.map(str::to_owned), reg_id, expires_s }
    }

    fn bind(
        registrar: &mut Registrar,
        contact: Contact,
        flow: u64,
        cseq: u32,
        now: Instant,
    ) -> Result<(), Refused> {
        let call_id = format!("call-of-{}", contact.uri);
        let change = Change::Contacts(vec![contact]);
        registrar.register("1001", change, FlowId(flow), (&call_id, cseq), now)
    }

    #[test]
    fn the_newest_binding_comes_first_and_the_oldest_makes_room() {
        let (mut registrar, now) = (Registrar::default(), Instant::now());
        for page in 0..12 {
            let uri = format!("sip:page{page}@x.invalid;transport=ws");
            bind(&mut registrar, contact(&uri, None, None), page, 1, now).unwrap();
        }
        let flows: Vec<u64> = registrar.reachable("1001").map(|(_, flow)| flow.0).collect();
        assert_eq!(flows, [11, 10, 9, 8, 7, 6, 5, 4]);
    }

    #[test]
    fn the_same_instance_replaces_its_binding_whatever_its_contact() {
        let (mut registrar, now) = (Registrar::default(), Instant::now());
        let first = contact("sip:a@x.invalid", Some("\"<urn:uuid:1>\""), Some(600));
        let again = contact("sip:b@y.invalid", Some("\"<urn:uuid:1>\""), Some(600));
        bind(&mut registrar, first, 1, 1, now).unwrap();
        bind(&mut registrar, again, 2, 1, now).unwrap();
        assert_eq!(registrar.bindings("1001").len(), 1);
        assert_eq!(registrar.bindings("1001")[0].contact.uri, "sip:b@y.invalid");
    }

    #[test]
    fn a_closed_flow_is_not_rung_but_found_again_by_its_contact() {
        let (mut registrar, now) = (Registrar::default(), Instant::now());
        let page = contact("sip:a@x.invalid;transport=ws", None, Some(600));
        bind(&mut registrar, page.clone(), 1, 1, now).unwrap();
        registrar.flow_closed(FlowId(1), now);
        assert_eq!(registrar.reachable("1001").count(), 0);
        assert_eq!(registrar.bindings("1001").len(), 1);
        bind(&mut registrar, page, 2, 2, now + GRACE / 2).unwrap();
        let (binding, flow) = registrar.reachable("1001").next().unwrap();
        assert_eq!(flow, FlowId(2));
        assert_eq!(address_of(&binding.contact.uri), address_of("sip:a@X.invalid;transport=ws;ob"));
    }

    #[test]
    fn a_flow_that_stays_away_takes_its_binding_with_it() {
        let (mut registrar, now) = (Registrar::default(), Instant::now());
        bind(&mut registrar, contact("sip:a@x.invalid", None, Some(600)), 1, 1, now).unwrap();
        registrar.flow_closed(FlowId(1), now);
        assert_eq!(registrar.next_timeout(), Some(now + GRACE));
        registrar.handle_timeout(now + GRACE);
        assert!(registrar.is_empty());
    }

    #[test]
    fn expiry_is_bounded_and_zero_unbinds() {
        let (mut registrar, now) = (Registrar::default(), Instant::now());
        let page = |expires_s| contact("sip:a@x.invalid", None, expires_s);
        assert_eq!(bind(&mut registrar, page(Some(5)), 1, 1, now), Err(Refused::TooBrief));
        bind(&mut registrar, page(Some(90_000)), 1, 2, now).unwrap();
        assert_eq!(registrar.bindings("1001")[0].expires_s(now), u64::from(EXPIRES_MAX_S));
        assert_eq!(bind(&mut registrar, page(None), 1, 2, now), Err(Refused::OutOfOrder));
        bind(&mut registrar, page(Some(0)), 1, 3, now).unwrap();
        assert!(registrar.is_empty());
    }

    #[test]
    fn a_star_unbinds_everything() {
        let (mut registrar, now) = (Registrar::default(), Instant::now());
        for page in ["sip:a@x.invalid", "sip:b@x.invalid"] {
            bind(&mut registrar, contact(page, None, None), 1, 1, now).unwrap();
        }
        registrar.register("1001", Change::Clear, FlowId(1), ("any", 9), now).unwrap();
        assert!(registrar.is_empty());
    }

    #[test]
    fn a_refused_register_leaves_nothing_behind() {
        let (mut registrar, now) = (Registrar::default(), Instant::now());
        let brief = contact("sip:a@x.invalid", None, Some(5));
        assert_eq!(bind(&mut registrar, brief, 1, 1, now), Err(Refused::TooBrief));
        assert!(registrar.is_empty());
    }

    /// Bindings looked at for each kind of input, among so many users with two browsers each.
    fn visited_among(users: u64) -> [usize; 5] {
        let (mut registrar, now) = (Registrar::default(), Instant::now());
        let register = |registrar: &mut Registrar, user: u64, page: u64, cseq: u32| {
            let uri = format!("sip:{page}@x.invalid");
            let flow = FlowId(2 * user + page);
            let change = Change::Contacts(vec![contact(&uri, None, Some(600))]);
            let identity = (uri.as_str(), cseq);
            registrar.register(&user.to_string(), change, flow, identity, now).unwrap();
        };
        for user in 0..users {
            register(&mut registrar, user, 0, 1);
            register(&mut registrar, user, 1, 1);
        }
        let mut visited = |work: &mut dyn FnMut(&mut Registrar)| {
            registrar.visited.set(0);
            work(&mut registrar);
            registrar.visited.get()
        };
        [
            visited(&mut |registrar| assert_eq!(registrar.next_timeout().is_some(), users > 0)),
            visited(&mut |registrar| register(registrar, 0, 0, 2)),
            visited(&mut |registrar| registrar.flow_closed(FlowId(1), now)),
            visited(&mut |registrar| registrar.handle_timeout(now + GRACE)),
            visited(&mut |registrar| registrar.flow_closed(FlowId(u64::MAX), now)),
        ]
    }

    #[test]
    fn the_work_for_an_input_does_not_grow_with_the_bindings() {
        let few = visited_among(3);
        assert_eq!(few, visited_among(3_000));
        assert!(few.iter().all(|visited| *visited <= 4), "{few:?}");
    }
}
