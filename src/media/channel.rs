//! What passes between the control thread and the core threads: typed commands one way, replies and
//! events the other, over bounded lock-free queues with an eventfd to wake the reader.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as AtomicOrdering};

use crossbeam::queue::ArrayQueue;

use super::budget::Gauge;
use crate::audio::sound::Sound;
use crate::control::message::{
    CallName, CallStatistics, ControlError, ErrorCode, Event, LegChange, LegParameters,
    LegStatistics, Side, ThreadStatistics,
};
use crate::os::sockets::BoundSocket;
use crate::os::wake::Wake;
use crate::wire::telephone_event::{Digit, DigitTime};

/// Commands that wait for one core. Each connection has one under way at most, and the registry few of
/// its own, so this is never reached unless the core has stopped.
pub const COMMANDS_MAX: usize = 1024;
/// Replies and events that wait for the control thread.
const REPORTS_MAX: usize = 4096;
/// The part of [`REPORTS_MAX`] that events may fill; the rest is kept for replies, of which there
/// are never more than commands, so that a flood of punted datagrams cannot lose one.
const EVENTS_MAX: usize = REPORTS_MAX - COMMANDS_MAX;
/// The part of those that punted datagrams may fill: strangers send them, and the events of calls have
/// to come through beside them.
const PUNTS_MAX: usize = EVENTS_MAX / 2;

/// Names a call on its thread; a freed place gets a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey {
    /// Place in the thread's table.
    pub place: u32,
    /// Times the place was used before.
    pub generation: u32,
}

/// Matches a reply to its command.
pub type Token = u64;

/// Whose a command is: the core's that carries it out, or of whoever gave it and waits no longer. The first to
/// take it has it, so what was refused for lateness is not done after all.
#[derive(Clone, Debug, Default)]
pub struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Whether it was not taken before.
    #[must_use]
    pub fn take(&self) -> bool {
        !self.0.swap(true, AtomicOrdering::AcqRel)
    }
}

/// A command on its way to a core.
#[derive(Debug)]
struct Given {
    token: Token,
    command: Command,
    claim: Claim,
}

/// A leg to be made: as the controller wants it, with its ports where it has some of its own.
#[derive(Clone, Debug)]
pub struct NewLeg {
    /// What the controller said.
    pub parameters: LegParameters,
    /// Bound sockets of RTP and RTCP.
    pub sockets: Option<[BoundSocket; 2]>,
}

/// A command to a core.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make a call.
    Create {
        /// Its name, for events and statistics.
        name: CallName,
        /// Its legs.
        legs: Box<[NewLeg; 2]>,
    },
    /// Change a leg.
    Update(CallKey, Side, Box<LegChange>),
    /// Put another leg into the place of one.
    Replace(CallKey, Side, Box<NewLeg>),
    /// Let two calls change legs with one another.
    Exchange([(CallKey, Side); 2]),
    /// End a call.
    Delete(CallKey),
    /// Say what would make the call again as it is.
    Snapshot(CallKey),
    /// Report calls' statistics.
    Query(Vec<CallKey>),
    /// Report the thread's statistics.
    QueryThread,
    /// Send a datagram from the shared port.
    SendDatagram(SocketAddr, Vec<u8>),
    /// Send a digit out of a leg.
    SendDigit(CallKey, Side, Digit, DigitTime),
    /// Play something toward a leg.
    Play(CallKey, Side, Box<Sound>),
    /// Play it no longer.
    StopPlaying(CallKey, Side),
}

/// A core's answer to a command.
#[derive(Clone, Debug)]
pub enum Reply {
    /// `Create` succeeded.
    Created(CallKey),
    /// Done, nothing to tell.
    Done,
    /// The final statistics of the leg that was replaced.
    Replaced(Box<LegStatistics>),
    /// The statistics of both calls until they changed legs.
    Exchanged(Box<[CallStatistics; 2]>),
    /// The final statistics of the call that ended.
    Ended(Box<CallStatistics>),
    /// What would make the call's legs again, but for what the registry keeps.
    Snapshot(Box<[LegParameters; 2]>),
    /// Calls' statistics, in the order of their keys; nothing of a call that is gone.
    Calls(Vec<Option<Box<CallStatistics>>>),
    /// The thread's statistics.
    Thread(Box<ThreadStatistics>),
}

/// What a core says on its own.
#[derive(Clone, Debug)]
pub enum CoreEvent {
    /// STUN or DTLS for signaling.
    Punt(SocketAddr, Vec<u8>),
    /// About a call.
    Event(Event),
}

/// From a core to the control thread.
#[derive(Debug)]
pub enum Report {
    /// The answer to the command with this token.
    Reply(Token, Result<Reply, ControlError>),
    /// An event of this thread.
    Event(usize, CoreEvent),
}

/// The control thread's end of one core's queues.
#[derive(Clone, Debug)]
pub struct CoreHandle {
    /// What the core says it can carry.
    pub gauge: Arc<Gauge>,
    commands: Arc<ArrayQueue<Given>>,
    wake: Wake,
}

impl CoreHandle {
    /// Hands a command over; `false` when the queue is full.
    #[must_use]
    pub fn give(&self, token: Token, command: Command, claim: Claim) -> bool {
        let given = self.commands.push(Given { token, command, claim }).is_ok();
        self.wake.ring();
        given
    }
}

/// A core's end of its queues.
#[derive(Debug)]
pub struct CoreEnd {
    /// The thread's number.
    pub thread: usize,
    /// Rung when commands wait.
    pub wake: Wake,
    /// Where the core says what it can carry.
    pub gauge: Arc<Gauge>,
    commands: Arc<ArrayQueue<Given>>,
    reports: Reports,
}

impl CoreEnd {
    /// The next command; one that was withdrawn meanwhile is refused here.
    pub fn next_command(&self) -> Option<(Token, Command)> {
        loop {
            let Given { token, command, claim } = self.commands.pop()?;
            if claim.take() {
                return Some((token, command));
            }
            self.reply(token, Err(withdrawn()));
        }
    }

    /// Answers a command. Never fails: places are kept for replies.
    pub fn reply(&self, token: Token, reply: Result<Reply, ControlError>) {
        let kept = self.reports.queue.push(Report::Reply(token, reply));
        debug_assert!(kept.is_ok(), "replies outnumber commands");
        self.reports.wake.ring();
    }

    /// Tells an event; `false` when the queue is full and it was dropped.
    #[must_use]
    pub fn tell(&self, event: CoreEvent) -> bool {
        let room = match event {
            CoreEvent::Punt(..) => PUNTS_MAX,
            CoreEvent::Event(_) => EVENTS_MAX,
        };
        if self.reports.queue.len() >= room {
            return false;
        }
        let told = self.reports.queue.push(Report::Event(self.thread, event)).is_ok();
        self.reports.wake.ring();
        told
    }
}

/// What a command comes to that nobody waits for any more.
pub fn withdrawn() -> ControlError {
    ControlError::new(ErrorCode::SystemRefused, "nobody waits for it any more")
}

/// The queue that all cores report to.
#[derive(Clone, Debug)]
pub struct Reports {
    queue: Arc<ArrayQueue<Report>>,
    /// Rung when reports wait.
    pub wake: Wake,
}

impl Reports {
    /// The queue, one a process.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { queue: Arc::new(ArrayQueue::new(REPORTS_MAX)), wake: Wake::new()? })
    }

    /// The next report.
    pub fn next(&self) -> Option<Report> {
        self.queue.pop()
    }

    /// Both ends of a core's queues.
    pub fn connect(&self, thread: usize) -> std::io::Result<(CoreHandle, CoreEnd)> {
        let commands = Arc::new(ArrayQueue::new(COMMANDS_MAX));
        let wake = Wake::new()?;
        let gauge = Arc::new(Gauge::default());
        let handle = CoreHandle {
            gauge: Arc::clone(&gauge),
            commands: Arc::clone(&commands),
            wake: wake.clone(),
        };
        Ok((handle, CoreEnd { thread, wake, gauge, commands, reports: self.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::Event;

    #[test]
    fn a_flood_of_punts_leaves_room_for_events_and_those_for_every_reply() {
        let reports = Reports::new().unwrap();
        let (_, core) = reports.connect(0).unwrap();
        let from = "127.0.0.1:9".parse().unwrap();
        let mut told = 0;
        while core.tell(CoreEvent::Punt(from, Vec::new())) {
            told += 1;
        }
        assert_eq!(told, PUNTS_MAX);
        while core.tell(CoreEvent::Event(Event::ControllerReplaced {})) {
            told += 1;
        }
        assert_eq!(told, EVENTS_MAX);
        for token in 0..COMMANDS_MAX as Token {
            core.reply(token, Ok(Reply::Done));
        }
        let replies = std::iter::from_fn(|| reports.next())
            .filter(|report| matches!(report, Report::Reply(..)))
            .count();
        assert_eq!(replies, COMMANDS_MAX);
    }
}
