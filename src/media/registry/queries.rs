//! What observers ask for, without slowing a core down.
//!
//! A question wakes a media thread, so that 17,600 of them a second would leave it no time for calls.
//! Questions about calls are gathered for [`QUERY_EVERY`] since the last that was asked of the same core,
//! and asked in one; what the process counts is asked of every core at most each [`PROCESS_EVERY`] and
//! told to everybody who asks meanwhile, unless the controller changed something since.

use std::time::{Duration, Instant};

use super::calls::Entry;
use super::{Pending, Place, Registry, Result, Ticket, refuse, wrong_reply};
use crate::base::narrow::{Narrow, TowardZero};
use crate::control::message::{
    CallName, ErrorCode, Outcome, ProcessStatistics, QueryCall, QueryProcess, Request,
    ThreadStatistics,
};
use crate::media::channel::{Command as CoreCommand, Reply};

/// A core is asked about calls this often at most: 1,000 times a second cost it under 1 % of its time.
pub(super) const QUERY_EVERY: Duration = Duration::from_millis(1);
/// What the process counts is asked for this often at most.
pub(super) const PROCESS_EVERY: Duration = Duration::from_millis(100);

/// Questions that wait, and the last answers.
#[derive(Debug)]
pub(super) struct Queries {
    cores: Vec<CoreQueries>,
    process: Option<(Instant, ProcessStatistics)>,
    /// Who waits for the next one.
    process_waiting: Vec<Ticket>,
    /// The cores' parts of it, as they come; empty while nobody asks.
    parts: Vec<Option<ThreadStatistics>>,
}

#[derive(Debug)]
struct CoreQueries {
    /// When the core may be asked again.
    from: Instant,
    waiting: Vec<(Ticket, Place)>,
}

impl Queries {
    /// None yet.
    pub(super) fn new(cores: usize, now: Instant) -> Self {
        let core = || CoreQueries { from: now, waiting: Vec::new() };
        Self {
            cores: std::iter::repeat_with(core).take(cores).collect(),
            process: None,
            process_waiting: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// The controller changes something: it sees that in the next answer, whenever it asks.
    pub(super) fn forget_process(&mut self) {
        self.process = None;
    }

    /// When questions that wait may be asked.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let waiting = self.cores.iter().filter(|core| !core.waiting.is_empty());
        waiting.map(|core| core.from).min()
    }
}

impl Registry {
    pub(super) fn query_call(
        &mut self,
        ticket: Ticket,
        call: CallName,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        let place = self.find(&call)?;
        self.queries.cores[place.thread].waiting.push((ticket, place));
        self.flush_queries(now);
        Ok(None)
    }

    /// Asks what may be asked by now.
    pub(super) fn flush_queries(&mut self, now: Instant) {
        for thread in 0..self.cores.len() {
            let core = &mut self.queries.cores[thread];
            if core.waiting.is_empty() || core.from > now {
                continue;
            }
            core.from = now + QUERY_EVERY;
            let waiting = std::mem::take(&mut core.waiting);
            // Of a call that ended meanwhile the core knows nothing.
            let keys = waiting.iter().map(|(_, place)| place.key).collect();
            let tickets = waiting.into_iter().map(|(ticket, place)| (ticket, place.call)).collect();
            self.ask(thread, CoreCommand::Query(keys), Pending::Query(tickets), now);
        }
    }

    pub(super) fn queried(&mut self, tickets: Vec<(Ticket, CallName)>, reply: Result<Reply>) {
        let calls = match reply {
            Ok(Reply::Calls(calls)) => Ok(calls),
            Ok(other) => Err(wrong_reply(&other)),
            Err(error) => Err(error),
        };
        match calls {
            Ok(calls) => {
                for ((ticket, call), statistics) in tickets.into_iter().zip(calls) {
                    let answer = match statistics {
                        Some(statistics) => Ok(QueryCall::outcome(*statistics)),
                        None => refuse(ErrorCode::UnknownCall, format!("call: `{call}` is gone")),
                    };
                    self.answer(ticket, answer);
                }
            }
            Err(error) => {
                tickets.into_iter().for_each(|(ticket, _)| self.answer(ticket, Err(error.clone())));
            }
        }
    }

    pub(super) fn query_process(&mut self, ticket: Ticket, now: Instant) -> Option<Outcome> {
        if let Some((at, process)) = &self.queries.process
            && now.saturating_duration_since(*at) < PROCESS_EVERY
        {
            return Some(QueryProcess::outcome(process.clone()));
        }
        self.queries.process_waiting.push(ticket);
        if self.queries.parts.is_empty() {
            self.queries.parts = vec![None; self.cores.len()];
            for thread in 0..self.cores.len() {
                self.ask(thread, CoreCommand::QueryThread, Pending::Thread, now);
            }
        }
        None
    }

    pub(super) fn thread_queried(&mut self, thread: usize, reply: Result<Reply>, now: Instant) {
        let statistics = match reply {
            Ok(Reply::Thread(statistics)) => self.complete(thread, *statistics),
            Ok(other) => return self.process_refused(wrong_reply(&other)),
            Err(error) => return self.process_refused(error),
        };
        let Some(part) = self.queries.parts.get_mut(thread) else { return };
        *part = Some(statistics);
        let Some(threads) = self.queries.parts.iter().cloned().collect() else { return };
        self.queries.parts.clear();
        let process = ProcessStatistics {
            age_ms: now.saturating_duration_since(self.started).as_millis().narrow(),
            calls_refused: self.calls_refused,
            refusals: self.refusals.clone(),
            threads,
        };
        for ticket in std::mem::take(&mut self.queries.process_waiting) {
            self.answer(ticket, Ok(QueryProcess::outcome(process.clone())));
        }
        self.queries.process = Some((now, process));
    }

    pub(super) fn process_refused(&mut self, error: crate::control::message::ControlError) {
        self.queries.parts.clear();
        for ticket in std::mem::take(&mut self.queries.process_waiting) {
            self.answer(ticket, Err(error.clone()));
        }
    }

    /// Adds what is known here of a thread: its room, its ports, what the kernel dropped at its sockets.
    fn complete(&self, thread: usize, mut statistics: ThreadStatistics) -> ThreadStatistics {
        let core = &self.cores[thread];
        let dropped: u64 = self.entries_of(thread).map(Entry::receive_space_exhausted).sum();
        let affordable = core.gauge.calls_within(self.limits.load).min(self.limits.calls as f64);
        statistics.calls_max = affordable.toward_zero();
        statistics.load_percent = core.gauge.load() * 1e2;
        statistics.call_load_percent = core.gauge.cost_per_call() * 1e2;
        statistics.port_pairs_free = core.ports.free() as u64;
        statistics.port_pairs_taken_elsewhere = core.ports.taken_elsewhere();
        statistics.receive_space_exhausted =
            core.dropped_at_closed + core.browsers.receive_space_exhausted() + dropped;
        statistics.discards.add(&core.discards);
        statistics
    }
}
