//! Going on with a leg in another place: what would make it again as it is now, and the way back.
//!
//! Out: [`LegParameters`] with [`LegSnapshot`] in `resume`, but for what the registry keeps (format, mark,
//! own address). In: the same, checked here before anything is made. Everything is derived from what the
//! leg's parts know of themselves; nothing is kept for it.
//!
//! What the old leg sent after its snapshot is not known. Nothing of it may come twice, so the new leg
//! leaves out what may have been used: indexes under SRTP, numbers otherwise, and time.

use std::fmt::Display;
use std::time::{Duration, Instant};

use super::Leg;
use super::connection::{Connection, Transport};
use super::learning::Learning;
use super::outgoing::Outgoing;
use super::security::SecurityContext;
use crate::base::clock::WallAnchor;
use crate::base::narrow::Narrow;
use crate::control::message::{
    ControlError, LegParameters, LegSnapshot, MediaTimeout, NominatedSnapshot,
    PLAIN_NUMBERS_LEFT_OUT_MAX, PlainTransport, RTP_INDEXES_LEFT_OUT, Security, SentSnapshot,
    Source, SourcePrefixes, Transport as WantedTransport,
};
use crate::media::kind::Kind;

type Result<T> = std::result::Result<T, ControlError>;

/// A leg's timestamps go on this much ahead of the time that passed, so that none is behind one that
/// the old leg sent: audio that comes early after audio that came late is ahead of it by the jitter.
const CLOCK_AHEAD: Duration = Duration::from_millis(200);
/// The clock goes on by no more: half the circle of 2^32 is 12 h at 48 kHz, and beyond it a timestamp
/// would look older.
const PASSED_MAX: Duration = Duration::from_secs(6 * 3_600);
/// A source sends a packet this often at most...
const PACKET_MS: u64 = 10;
/// ...and these in addition, which take no time: two telephone events with the three ends of each.
const UNTIMED_PACKETS: u64 = 8;

/// A refusal that names what in `resume` is wrong.
fn refuse<T>(place: impl Display, why: impl Display) -> Result<T> {
    Err(ControlError::bad_argument(format_args!("resume.{place}"), why))
}

/// A leg's protection and its source as they go on from a snapshot. A snapshot that does not fit is
/// refused.
pub fn take_up(
    resume: &LegSnapshot,
    transport: &WantedTransport,
    security: Security,
    passed: Duration,
) -> Result<(SecurityContext, Outgoing)> {
    let LegSnapshot { sent, received, nominated, .. } = resume;
    if nominated.is_some() && !matches!(transport, WantedTransport::Ice(_)) {
        return refuse("nominated", "not of a leg whose transport is plain");
    }
    for (place, source) in received.iter().enumerate() {
        let place = format_args!("received[{place}].ssrc");
        if source.ssrc == sent.ssrc {
            return refuse(place, "is the leg's own");
        }
        if received.iter().filter(|other| other.ssrc == source.ssrc).count() > 1 {
            return refuse(place, "stands there twice");
        }
    }
    let security = SecurityContext::resume(security, resume)?;
    let left_out =
        if security.is_protected() { RTP_INDEXES_LEFT_OUT } else { plain_numbers_left_out(passed) };
    Ok((security, Outgoing::resume(sent, left_out, passed + CLOCK_AHEAD)))
}

/// The time since a snapshot; none, where the wall clock says that it is still to come.
pub fn passed_since(resume: &LegSnapshot, wall: &WallAnchor, now: Instant) -> Duration {
    let taken = Duration::from_millis(resume.taken_ms);
    wall.since_unix_epoch(now).saturating_sub(taken).min(PASSED_MAX)
}

fn plain_numbers_left_out(passed: Duration) -> u16 {
    let sent = milliseconds(passed) / PACKET_MS + UNTIMED_PACKETS;
    sent.min(PLAIN_NUMBERS_LEFT_OUT_MAX.into()).narrow()
}

impl Leg {
    /// Goes on hearing whom the snapshotted leg heard, and with the path that was nominated for it.
    pub fn resume(&mut self, resume: &LegSnapshot, passed: Duration, now: Instant) {
        self.hearing.resume(&resume.received);
        if let Some(NominatedSnapshot { remote, consent_age_ms }) = resume.nominated {
            let age = Duration::from_millis(consent_age_ms.into()) + passed;
            self.connection.resume_nominated(remote, age, now);
        }
    }

    /// What would make this leg again. `position` is where audio toward it would be by now.
    pub fn snapshot(&self, position: u64, wall: &WallAnchor, now: Instant) -> LegParameters {
        let mut parameters = LegParameters::new(transport(&self.connection));
        parameters.security = self.connection.security.parameters();
        parameters.direction = self.direction;
        parameters.media_timeout_ms = MediaTimeout::of(self.silence.limit);
        let nominated = self.connection.nominated(now);
        parameters.resume = Some(Box::new(LegSnapshot {
            taken_ms: milliseconds(wall.since_unix_epoch(now)),
            sent: self.sent(position),
            received: self.hearing.sources(self.connection.security.sources()),
            nominated: nominated.map(|(remote, age)| NominatedSnapshot {
                remote,
                consent_age_ms: milliseconds(age).narrow(),
            }),
        }));
        parameters
    }

    fn sent(&self, position: u64) -> SentSnapshot {
        let (outgoing, security) = (&self.sending.outgoing, &self.connection.security);
        SentSnapshot {
            ssrc: outgoing.ssrc(),
            cname: self.cname.to_string(),
            rtp_index_next: security.rtp_index_next(outgoing.next_index()).into(),
            rtcp_index_next: security.rtcp_index_next(),
            clock_hz: outgoing.clock_hz(),
            timestamp: outgoing.timestamp_of(position),
            position,
            packets: outgoing.packets(),
            bytes: outgoing.bytes(),
        }
    }

    /// Refuses a leg that would use indexes which `other` has used under the same key: one that it
    /// takes the place of, or that lives beside it.
    pub fn check_indexes_beside(&self, other: &Leg, lives: Lives) -> Result<()> {
        let (ours, theirs) = (&self.connection.security, &other.connection.security);
        let is_same_source = self.sending.outgoing.ssrc() == other.sending.outgoing.ssrc();
        if !is_same_source || !ours.sends_under_key_of(theirs) {
            return Ok(());
        }
        if lives == Lives::On {
            return refuse("sent.ssrc", "the other leg sends as this source, under the same key");
        }
        let rtp =
            |leg: &Leg| leg.connection.security.rtp_index_next(leg.sending.outgoing.next_index());
        if rtp(self) < rtp(other) {
            return refuse(
                "sent.rtp_index_next",
                "the leg to be replaced has used indexes above it",
            );
        }
        if ours.rtcp_index_next() < theirs.rtcp_index_next() {
            return refuse(
                "sent.rtcp_index_next",
                "the leg to be replaced has used indexes above it",
            );
        }
        Ok(())
    }
}

/// What becomes of a leg beside which another is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lives {
    /// It goes on.
    On,
    /// It ends with that.
    NoLonger,
}

fn transport(connection: &Connection) -> WantedTransport {
    match &connection.transport {
        Transport::Ice { credentials, .. } => WantedTransport::Ice(credentials.clone()),
        Transport::Plain { learning, .. } => WantedTransport::Plain(PlainTransport {
            remote: connection.remote(Kind::Rtp),
            remote_rtcp: connection.remote(Kind::Rtcp),
            local: None,
            source: source(learning),
        }),
    }
}

fn source(learning: &Learning) -> Source {
    match learning.prefixes() {
        [] => Source::Exact,
        prefixes => Source::Within(SourcePrefixes { prefixes: prefixes.to_vec() }),
    }
}

fn milliseconds(time: Duration) -> u64 {
    time.as_millis().narrow()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_leg_leaves_out_what_may_have_been_sent_and_never_looks_like_a_new_sender() {
        let left_out = |ms| plain_numbers_left_out(Duration::from_millis(ms));
        assert_eq!((left_out(0), left_out(1_999)), (8, 207));
        assert_eq!(left_out(u64::MAX / 2), PLAIN_NUMBERS_LEFT_OUT_MAX);
    }
}
