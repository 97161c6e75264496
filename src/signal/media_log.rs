//! What is logged of the audio of trunks: somebody who is not heard, an address that was learnt, a
//! silence. What outsiders can set off must not fill the log: of a call each is said once, of all calls
//! [`LINES_PER_MINUTE_MAX`] a minute, and how many more there would have been is said when it is over.
//!
//! In: the media process's events, time. Out: lines in the log. The counters are media's.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::control::message::{CallName, Event, Side};
use crate::signal::call::Call;
use crate::signal::calls::Calls;
use crate::signal::leg::LegMedia;
use crate::signal::peer::Peer;
use crate::signal::stage::Stage;
use crate::signal::trunk::TrunkMedia;

/// Lines a minute of all calls together: enough to see which trunk it is, and that it goes on.
const LINES_PER_MINUTE_MAX: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// What of a call was said, and how much may still be said this minute.
#[derive(Debug, Default)]
pub struct MediaLog {
    pub(super) said: BTreeSet<(CallName, Subject)>,
    minute: Option<Minute>,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// Somebody at the trunk's port who is not heard.
    Stranger,
    /// Where the trunk was found to send from.
    Learnt,
    /// A trunk that says nothing.
    Silence,
}

impl Subject {
    const ALL: [Subject; 3] = [Subject::Stranger, Subject::Learnt, Subject::Silence];
}

/// A minute, from its first line on.
#[derive(Debug)]
struct Minute {
    end: Instant,
    lines: u32,
    left_out: u64,
}

/// A leg toward a trunk, and the trunk's name.
struct TrunkLeg<'a> {
    call: &'a Call,
    side: Side,
    trunk: &'a str,
    media: &'a TrunkMedia,
}

impl MediaLog {
    /// Takes an event, of which a line may come.
    pub fn take(&mut self, event: &Event, calls: &Calls, now: Instant) {
        match event {
            Event::UnknownSource { call, leg, from, expected: Some(expected) } => {
                if let Some(leg) = TrunkLeg::of(calls.get(call), *leg) {
                    self.stranger(&leg, *from, *expected, now);
                }
            }
            Event::SourceLearnt { call, leg, remote } => {
                if let Some(leg) = TrunkLeg::of(calls.get(call), *leg) {
                    self.learnt(&leg, *remote, now);
                }
            }
            Event::MediaTimeout { call, leg, silent_ms } => {
                if let Some(leg) = TrunkLeg::of(calls.get(call), *leg) {
                    self.silent(&leg, *silent_ms, now);
                }
            }
            // Before an address was named everybody is unknown: audio may overtake the answer.
            _ => {}
        }
    }

    fn stranger(
        &mut self,
        leg: &TrunkLeg<'_>,
        from: SocketAddr,
        expected: SocketAddr,
        now: Instant,
    ) {
        let may_be_it = leg.media.may_be_at(from.ip());
        // Its first packets are unknown until there are enough of them to learn it.
        if (may_be_it && !leg.was_heard()) || !self.admits(&leg.call.name, Subject::Stranger, now) {
            return;
        }
        let (call, trunk) = (&*leg.call.name, leg.trunk);
        if may_be_it {
            warn!(
                call, trunk, %from, %expected,
                "not heard: audio from a second address of the trunk's media_within; the first one counts"
            );
        } else {
            warn!(
                call, trunk, %from, %expected,
                "not heard: audio from an address that the trunk's SDP does not name; if it is the \
                 trunk's, write it to media_within of this [[trunk]]"
            );
        }
    }

    fn learnt(&mut self, leg: &TrunkLeg<'_>, remote: SocketAddr, now: Instant) {
        if self.admits(&leg.call.name, Subject::Learnt, now) {
            let (call, trunk, named) = (&*leg.call.name, leg.trunk, leg.media.remote());
            info!(
                call, trunk, %remote, ?named,
                "the trunk sends from elsewhere than its SDP says; its media_within allows it"
            );
        }
    }

    fn silent(&mut self, leg: &TrunkLeg<'_>, silent_ms: u64, now: Instant) {
        if leg.call.stage == Stage::Talking && self.admits(&leg.call.name, Subject::Silence, now) {
            let (call, trunk) = (&*leg.call.name, leg.trunk);
            warn!(call, trunk, silent_ms, "nothing is heard from the trunk; the call stays up");
        }
    }

    /// Whether there may be a line, which is then taken to be written.
    fn admits(&mut self, call: &CallName, subject: Subject, now: Instant) -> bool {
        let line = (call.clone(), subject);
        if self.said.contains(&line) || !self.has_room(now) {
            return false;
        }
        self.said.insert(line)
    }

    fn has_room(&mut self, now: Instant) -> bool {
        self.handle_timeout(now);
        let minute = Minute { end: now + MINUTE, lines: 0, left_out: 0 };
        let minute = self.minute.get_or_insert(minute);
        let has_room = minute.lines < LINES_PER_MINUTE_MAX;
        if has_room {
            minute.lines += 1;
        } else {
            minute.left_out += 1;
        }
        has_room
    }

    /// A call is over.
    pub fn forget(&mut self, call: &CallName) {
        for subject in Subject::ALL {
            self.said.remove(&(call.clone(), subject));
        }
    }

    /// When it is to be said how much was left out.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.minute.as_ref().filter(|minute| minute.left_out > 0).map(|minute| minute.end)
    }

    /// Says how much was left out of a minute that is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        let over = self.minute.take_if(|minute| minute.end <= now);
        if let Some(Minute { left_out: left_out @ 1.., .. }) = over {
            warn!(
                left_out,
                "more was to be said of trunks' audio than {LINES_PER_MINUTE_MAX} lines a minute"
            );
        }
    }
}

impl<'a> TrunkLeg<'a> {
    fn of(call: Option<&'a Call>, side: Side) -> Option<Self> {
        let call = call?;
        let leg = call.leg(side);
        match (&leg.peer, &leg.media) {
            (Peer::Trunk(trunk), LegMedia::Trunk(media)) => Some(Self { call, side, trunk, media }),
            _ => None,
        }
    }

    fn was_heard(&self) -> bool {
        let set_up = &self.call.record.set_up;
        match self.side {
            Side::A => set_up.caller_media_ms.is_some(),
            Side::B => set_up.callee_media_ms.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_call_each_thing_is_said_once_until_it_is_over() {
        let (mut log, now) = (MediaLog::default(), Instant::now());
        let (one, other) = (CallName::from("one"), CallName::from("other"));
        for subject in Subject::ALL {
            assert!(log.admits(&one, subject, now));
            assert!(!log.admits(&one, subject, now));
            assert!(log.admits(&other, subject, now));
        }
        log.forget(&one);
        assert!(log.admits(&one, Subject::Learnt, now));
        assert!(!log.admits(&other, Subject::Learnt, now));
        log.forget(&one);
        log.forget(&other);
        assert!(log.said.is_empty());
        assert_eq!(log.next_timeout(), None, "nothing was left out for want of room");
    }

    #[test]
    fn calls_without_number_write_a_stated_number_of_lines_and_the_rest_is_summed_up() {
        let (mut log, now) = (MediaLog::default(), Instant::now());
        let calls: Vec<_> = (0..1_000).map(|n| CallName::from(n.to_string())).collect();
        let lines = |log: &mut MediaLog, now| {
            calls.iter().filter(|call| log.admits(call, Subject::Stranger, now)).count()
        };
        assert_eq!(lines(&mut log, now), 60);
        assert_eq!(log.minute.as_ref().unwrap().left_out, 940);
        assert_eq!(log.next_timeout(), Some(now + MINUTE));

        // In the next minute it is the turn of others.
        log.handle_timeout(now + MINUTE);
        assert_eq!(log.next_timeout(), None);
        assert_eq!(lines(&mut log, now + MINUTE), 60);
        assert_eq!(log.said.len(), 120);
    }
}
