//! The registry's calls: made, changed, parked, listed, ended.

use std::cmp::Ordering;
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::{
    Audience, Client, Core, Limits, Pending, Place, Registry, Result, Ticket, refuse, wrong_reply,
};
use crate::control::message::{
    CallCreated, CallEnd, CallList, CallName, CallSnapshot, ControlError, CreateCall, DeleteCall,
    Done, Dscp, ErrorCode, Event, Format, LINE_BYTES_MAX, LIST_CALLS_MAX, LegParameters, ListCalls,
    ListedCall, LocalAddresses, Outcome, Park, Request, Side, Snapshot, Transport,
};
use crate::media::budget::{Codecs, RETRY_AFTER, Weight};
use crate::media::channel::{CallKey, Command as CoreCommand, NewLeg, Reply};
use crate::media::ports::{NoPair, PortPair};
use crate::os::sockets::BoundSocket;

/// A call that is known by its name.
#[derive(Debug)]
pub(super) struct Listed {
    /// What its core calls it; `None` while it is being made.
    pub key: Option<CallKey>,
    /// The rest.
    pub entry: Box<Entry>,
}

/// Calls that end at once when the process does: well within the cores' and the connections' queues.
const ENDING_AT_ONCE: usize = 256;

impl Listed {
    /// When it has outlived its controller for long enough; it has to be made before it can end.
    pub(super) fn orphaned_at(&self) -> Option<Instant> {
        self.key.and(self.entry.orphaned_at)
    }
}

/// What the registry knows of a call.
#[derive(Debug)]
pub(super) struct Entry {
    pub thread: usize,
    blob: String,
    pub legs: [EntryLeg; 2],
    pub weight: Weight,
    /// How long it outlives its controller's connection; `None`: for ever.
    pub outlives: Option<Duration>,
    /// When that is over.
    pub orphaned_at: Option<Instant>,
}

/// What the registry knows of a leg.
#[derive(Clone, Debug)]
pub(super) struct EntryLeg {
    pub local: LocalAddresses,
    /// Boxed, as few look at it: a snapshot gives it back as it was asked for.
    pub format: Option<Box<Format>>,
    pub dscp: Option<Dscp>,
    pub ports: Option<(PortPair, [BoundSocket; 2])>,
}

/// A call that its core was told to end: until then its legs may still change.
#[derive(Debug)]
pub(super) struct Ending {
    pub entry: Entry,
    pub key: CallKey,
}

impl Entry {
    fn created(&self) -> CallCreated {
        let [a, b] = [&self.legs[0], &self.legs[1]].map(|leg| leg.local);
        CallCreated { thread: self.thread, a, b }
    }

    /// What the kernel dropped at its sockets.
    pub(super) fn receive_space_exhausted(&self) -> u64 {
        self.legs.iter().map(EntryLeg::receive_space_exhausted).sum()
    }
}

impl EntryLeg {
    /// Adds what is kept here to what a core knows of the leg.
    fn complete(&self, mut parameters: LegParameters) -> LegParameters {
        parameters.format = self.format.as_deref().cloned();
        parameters.dscp = self.dscp;
        if let Transport::Plain(plain) = &mut parameters.transport {
            plain.local = Some(self.local.rtp);
        }
        parameters
    }

    pub(super) fn codecs(&self) -> Option<Codecs> {
        self.format.as_deref().map(Codecs::of)
    }

    fn receive_space_exhausted(&self) -> u64 {
        let sockets = self.ports.iter().flat_map(|(_, sockets)| sockets);
        sockets.map(BoundSocket::receive_space_exhausted).sum()
    }
}

impl Registry {
    pub(super) fn create_call(
        &mut self,
        (ticket, client): (Ticket, Client),
        create: CreateCall,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        let CreateCall { call, blob, a, b, thread, orphan_ms } = create;
        if self.calls.contains_key(&call) {
            return refuse(ErrorCode::CallExists, format!("call: `{call}` exists"));
        }
        let codecs = |leg: &LegParameters| leg.format.as_ref().map(Codecs::of);
        let weight = Weight::of(codecs(&a), codecs(&b));
        let thread = thread.or_else(|| self.thread_of_locals([&a, &b]));
        let thread = self.choose_thread(weight, thread)?;
        let core = &mut self.cores[thread];
        let (a, entry_a) = core.new_leg(a, now).map_err(|error| error.within(Side::A))?;
        let (b, entry_b) = match core.new_leg(b, now) {
            Ok(leg) => leg,
            Err(error) => {
                core.close(&entry_a, now);
                return Err(error.within(Side::B));
            }
        };
        core.calls += 1;
        core.weight = core.weight.plus(weight);
        let outlives = orphan_ms.map(|ms| Duration::from_millis(ms.value().into()));
        let legs = [entry_a, entry_b];
        let entry = Entry { thread, blob, legs, weight, outlives, orphaned_at: None };
        let entry = Box::new(entry);
        self.calls.insert(call.clone(), Listed { key: None, entry });
        let command = CoreCommand::Create { name: call.clone(), legs: Box::new([a, b]) };
        self.ask(thread, command, Pending::Create(ticket, client, call), now);
        Ok(None)
    }

    pub(super) fn created(
        &mut self,
        call: &CallName,
        reply: Result<Reply>,
        client: Option<Client>,
        now: Instant,
    ) -> Result<Outcome> {
        let made = match reply {
            Ok(Reply::Created(key)) => Ok(key),
            Ok(other) => Err(wrong_reply(&other)),
            Err(error) => Err(error),
        };
        let Some(mut listed) = self.calls.remove(call) else {
            return refuse(ErrorCode::UnknownCall, "the call is gone");
        };
        match (made, client) {
            // Nobody waits for it any more.
            (Ok(key), None) => {
                let thread = listed.entry.thread;
                let pending = Pending::Undo(listed.entry);
                self.ask(thread, CoreCommand::Delete(key), pending, now);
                refuse(ErrorCode::SystemRefused, "it came too late")
            }
            (Ok(key), Some(client)) => {
                debug_assert!(listed.key.is_none(), "a call is made once");
                listed.key = Some(key);
                let created = listed.entry.created();
                self.calls.insert(call.clone(), listed);
                let CallCreated { thread, a, b } = created.clone();
                let event = Event::CallCreated { call: call.clone(), thread, a, b };
                self.tell(Audience::AllBut(client), event);
                Ok(CreateCall::outcome(created))
            }
            (Err(error), _) => {
                self.release(&listed.entry, now);
                Err(error)
            }
        }
    }

    /// The thread that has the ports which the legs are to be on, if they say.
    fn thread_of_locals(&self, legs: [&LegParameters; 2]) -> Option<usize> {
        let local = |leg: &LegParameters| match &leg.transport {
            Transport::Plain(plain) => plain.local,
            Transport::Ice(_) => None,
        };
        let local = legs.into_iter().find_map(local)?;
        let core = self.cores.iter().find(|core| core.ports.has(local))?;
        Some(core.description.thread)
    }

    /// The core with the most room, or the one that was asked for.
    fn choose_thread(&mut self, weight: Weight, wanted: Option<usize>) -> Result<usize> {
        if let Some(thread) = wanted {
            self.check_thread(thread)?;
        }
        let Limits { calls: calls_max, load: load_max } = self.limits;
        let room = |core: &Core| core.gauge.room_beside(core.weight, load_max);
        let by_room =
            |a: &&Core, b: &&Core| room(a).partial_cmp(&room(b)).unwrap_or(Ordering::Equal);
        let is_wanted = |core: &&Core| wanted.is_none_or(|it| it == core.description.thread);
        let allowed = self.cores.iter().filter(is_wanted).filter(|core| core.calls < calls_max);
        let Some(core) = allowed.max_by(by_room) else {
            self.calls_refused += 1;
            return refuse(ErrorCode::NoCapacity, format!("every core has its {calls_max} calls"));
        };
        if room(core) < weight {
            self.calls_refused += 1;
            let message =
                format!("one more call could load every core above {:.0} %", load_max * 1e2);
            return Err(ControlError::overloaded(message, RETRY_AFTER));
        }
        Ok(core.description.thread)
    }

    /// Gives back what a call held on its core.
    pub(super) fn release(&mut self, entry: &Entry, now: Instant) {
        let core = &mut self.cores[entry.thread];
        debug_assert!(core.calls > 0, "a call was counted before it is given back");
        debug_assert!(core.weight >= entry.weight, "a call was weighed before it is given back");
        core.calls -= 1;
        core.weight = core.weight.minus(entry.weight);
        debug_assert!(core.calls > 0 || core.weight == Weight::default(), "no calls weigh nothing");
        entry.legs.iter().for_each(|leg| core.close(leg, now));
    }

    /// A call that a core was asked about, if it is still there.
    pub(super) fn entry_at(&mut self, place: &Place) -> Option<&mut Entry> {
        let listed = self.calls.get_mut(&place.call)?;
        let is_it = listed.key == Some(place.key) && listed.entry.thread == place.thread;
        is_it.then_some(&mut *listed.entry)
    }

    pub(super) fn park(&mut self, client: Client, park: Park) -> Result<Outcome> {
        self.find(&park.call)?;
        if let Some(listed) = self.calls.get_mut(&park.call) {
            listed.entry.blob = park.blob;
        }
        self.tell(Audience::AllBut(client), Event::CallParked { call: park.call });
        Ok(Park::outcome(Done {}))
    }

    pub(super) fn snapshot(
        &mut self,
        ticket: Ticket,
        call: CallName,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        let place = self.find(&call)?;
        let command = CoreCommand::Snapshot(place.key);
        self.ask(place.thread, command, Pending::Snapshot(ticket, place), now);
        Ok(None)
    }

    /// What the core knows of a call's legs, and what is known here, is what would make it again.
    pub(super) fn snapshot_taken(&mut self, place: Place, reply: Result<Reply>) -> Result<Outcome> {
        let [a, b] = match reply? {
            Reply::Snapshot(legs) => *legs,
            other => return Err(wrong_reply(&other)),
        };
        let Some(entry) = self.entry_at(&place) else {
            return refuse(ErrorCode::UnknownCall, format!("call: `{}` is gone", place.call));
        };
        let call = place.call;
        let (thread, blob) = (entry.thread, entry.blob.clone());
        let [a, b] = [entry.legs[0].complete(a), entry.legs[1].complete(b)];
        Ok(Snapshot::outcome(CallSnapshot { call, thread, blob, a, b }))
    }

    pub(super) fn delete_call(
        &mut self,
        asked: (Ticket, Client),
        call: &CallName,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        self.find(call)?;
        self.end(call, Some(asked), CallEnd::Deleted, now);
        Ok(None)
    }

    fn end(
        &mut self,
        call: &CallName,
        asked: Option<(Ticket, Client)>,
        why: CallEnd,
        now: Instant,
    ) {
        let Some(Listed { key: Some(key), entry }) = self.calls.remove(call) else { return };
        let thread = entry.thread;
        let pending = Pending::Delete(asked, why, Box::new(Ending { entry: *entry, key }));
        self.ask(thread, CoreCommand::Delete(key), pending, now);
    }

    pub(super) fn deleted(
        &mut self,
        entry: Entry,
        why: CallEnd,
        client: Option<Client>,
        reply: Result<Reply>,
        now: Instant,
    ) -> Result<Outcome> {
        self.release(&entry, now);
        let statistics = match reply {
            Ok(Reply::Ended(statistics)) => statistics,
            Ok(other) => return Err(wrong_reply(&other)),
            Err(error) => return Err(error),
        };
        let audience = client.map_or(Audience::All, Audience::AllBut);
        let call = statistics.call.clone();
        let told = Some(statistics.clone());
        self.tell(audience, Event::CallDeleted { call, why, statistics: told });
        Ok(DeleteCall::outcome(*statistics))
    }

    /// Ends the calls that were to outlive their controller's connection for so long and no longer.
    pub(super) fn end_orphans(&mut self, now: Instant) {
        if self.controller.is_some() {
            return;
        }
        let is_due = |listed: &Listed| listed.orphaned_at().is_some_and(|at| at <= now);
        let due = self.calls.iter().filter(|(_, listed)| is_due(listed));
        let due: Vec<CallName> = due.map(|(call, _)| call.clone()).collect();
        for call in due {
            self.end(&call, None, CallEnd::Orphaned, now);
        }
    }

    /// The process was told to end: so do its calls, some at a time, and everybody hears their final
    /// statistics. `true`: none is left, and every core has answered.
    pub fn end_all(&mut self, now: Instant) -> bool {
        let room = ENDING_AT_ONCE.saturating_sub(self.asked.len());
        let made = self.calls.iter().filter(|(_, listed)| listed.key.is_some());
        let next: Vec<CallName> = made.take(room).map(|(call, _)| call.clone()).collect();
        for call in &next {
            self.end(call, None, CallEnd::Stopped, now);
        }
        self.calls.is_empty() && self.asked.is_empty()
    }

    pub(super) fn list_calls(&self, list: &ListCalls) -> Outcome {
        let after = match &list.after {
            Some(name) => Bound::Excluded(name.clone()),
            None => Bound::Unbounded,
        };
        let mut page = CallList::default();
        let mut bytes = 0;
        for (call, listed) in self.calls.range((after, Bound::Unbounded)) {
            if listed.key.is_none() {
                continue;
            }
            let entry = &listed.entry;
            let listed = ListedCall {
                call: call.clone(),
                blob: entry.blob.clone(),
                created: entry.created(),
            };
            bytes += serde_json::to_string(&listed).map_or(0, |json| json.len() + 1);
            // A kilobyte is left for the reply around the list.
            let full = page.calls.len() == LIST_CALLS_MAX || bytes > LINE_BYTES_MAX - 1024;
            if full && !page.calls.is_empty() {
                page.more = true;
                break;
            }
            page.calls.push(listed);
        }
        ListCalls::outcome(page)
    }

    /// The calls of a thread, those included that are ending.
    pub(super) fn entries_of(&self, thread: usize) -> impl Iterator<Item = &Entry> {
        let ending = self.asked.values().filter_map(|asked| match &asked.pending {
            Pending::Delete(_, _, ending) => Some(&ending.entry),
            Pending::Undo(entry) => Some(&**entry),
            _ => None,
        });
        let listed = self.calls.values().map(|listed| &*listed.entry);
        listed.chain(ending).filter(move |entry| entry.thread == thread)
    }

    /// Where a call is, for whoever looks at it there.
    pub fn place(&self, call: &CallName) -> Option<(usize, CallKey)> {
        self.find(call).ok().map(|place| (place.thread, place.key))
    }

    /// What a leg was last told to carry.
    pub fn format(&self, call: &CallName, leg: Side) -> Option<&Format> {
        self.calls.get(call)?.entry.legs[leg.index()].format.as_deref()
    }

    /// Where a call is.
    pub(super) fn find(&self, call: &CallName) -> Result<Place> {
        let listed = self.calls.get(call);
        let place = |listed: &Listed| {
            Some(Place { call: call.clone(), thread: listed.entry.thread, key: listed.key? })
        };
        match listed.and_then(place) {
            Some(found) => Ok(found),
            None => refuse(ErrorCode::UnknownCall, format!("call: no call is named `{call}`")),
        }
    }
}

impl Core {
    /// Binds what a leg needs.
    pub(super) fn new_leg(
        &mut self,
        parameters: LegParameters,
        now: Instant,
    ) -> Result<(NewLeg, EntryLeg)> {
        let (format, dscp) = (parameters.format.clone().map(Box::new), parameters.dscp);
        let (local, ports) = match &parameters.transport {
            Transport::Ice(_) => {
                check_dscp(parameters.dscp.is_some())?;
                let address = self.description.browser;
                (LocalAddresses { rtp: address, rtcp: address }, None)
            }
            Transport::Plain(plain) => {
                let (pair, sockets) = match plain.local {
                    Some(local) => self.bind_at(local)?,
                    None => self.ports.bind(now).map_err(no_pair)?,
                };
                if let Some(dscp) = parameters.dscp {
                    let _ = sockets.iter().try_for_each(|socket| socket.set_dscp(dscp.value()));
                }
                let [rtp, rtcp] = [&sockets[0], &sockets[1]].map(BoundSocket::address);
                (LocalAddresses { rtp, rtcp }, Some((pair, sockets)))
            }
        };
        let sockets = ports.as_ref().map(|(_, sockets)| sockets.clone());
        Ok((NewLeg { parameters, sockets }, EntryLeg { local, format, dscp, ports }))
    }

    fn bind_at(&mut self, local: std::net::SocketAddr) -> Result<(PortPair, [BoundSocket; 2])> {
        match self.ports.bind_at(local) {
            Some(Ok(bound)) => Ok(bound),
            Some(Err(error)) => refuse(
                ErrorCode::SystemRefused,
                format!("transport.local: {local} could not be bound: {error}"),
            ),
            None => refuse(
                ErrorCode::NoPorts,
                format!("transport.local: {local} is not among the free pairs of this thread"),
            ),
        }
    }

    /// Gives a leg's ports back.
    pub(super) fn close(&mut self, leg: &EntryLeg, now: Instant) {
        self.dropped_at_closed += leg.receive_space_exhausted();
        if let Some((pair, _)) = leg.ports {
            self.ports.release(pair, now);
        }
    }
}

pub(super) fn check_dscp(is_wanted: bool) -> Result<()> {
    if is_wanted {
        return refuse(ErrorCode::Unsupported, "dscp: an ICE leg shares its thread's port");
    }
    Ok(())
}

fn no_pair(why: NoPair) -> ControlError {
    match why {
        NoPair::Exhausted => ControlError::new(ErrorCode::NoPorts, "no trunk port pair is free"),
        NoPair::Refused(error) => {
            ControlError::new(ErrorCode::SystemRefused, format!("no port could be bound: {error}"))
        }
    }
}
