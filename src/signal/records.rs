//! Call records: one JSON object a line for every call that ended, with who ended it and why, how
//! long each step of the set-up took, and both legs' final statistics. Wall times are RFC 3339 in
//! UTC. The engine hands a finished record out; writing it down is the shell's work.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::base::clock::WallAnchor;
use crate::control::message::{CallStatistics, Codec, LegStatistics, Side};
use crate::signal::peer::Peer;
use crate::signal::release::Release;
use crate::wire::sip::Status;

/// Which way a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a browser to a trunk.
    ToTrunk,
    /// From a trunk to a browser.
    FromTrunk,
    /// From a browser to a browser.
    Internal,
}

impl Direction {
    /// From the caller to the callee; when there is none, whom a browser could have meant was on a
    /// trunk.
    pub fn between(caller: &Peer, callee: Option<&Peer>) -> Self {
        match (caller, callee) {
            (Peer::Trunk(_), _) => Direction::FromTrunk,
            (Peer::User(_), Some(Peer::User(_))) => Direction::Internal,
            (Peer::User(_), Some(Peer::Trunk(_)) | None) => Direction::ToTrunk,
        }
    }
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// Who asked for the call: the first leg.
    Caller,
    /// Who was asked: the second leg.
    Callee,
    /// We did.
    Linecard,
}

impl From<Side> for Party {
    fn from(side: Side) -> Self {
        match side {
            Side::A => Party::Caller,
            Side::B => Party::Callee,
        }
    }
}

/// What is known about a call while it lives; it becomes the record when the call ends. It travels
/// in the call's blob, so a restarted process writes the same record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// The call's name in the media process and in our log.
    pub call: String,
    /// Which way it went.
    pub direction: Direction,
    /// The authenticated user, or the number that the trunk named.
    pub from: String,
    /// How the caller was shown to the callee.
    pub shown_as: String,
    /// What was dialled.
    pub to: String,
    /// The trunk that it came from or went to, or the last one that was tried.
    pub trunk: Option<String>,
    /// When the INVITE came.
    pub started: WallTime,
    /// When the callee answered.
    pub answered: Option<WallTime>,
    /// When the call was over.
    pub ended: Option<WallTime>,
    /// Who ended it.
    pub ended_by: Option<Party>,
    /// 200 for a call that was answered, else the final status given to the caller.
    pub sip_status: u16,
    /// ITU-T Q.850 cause.
    pub q850_cause: u8,
    /// The cause in words, with what was particular.
    pub reason: String,
    /// Milliseconds from the INVITE to each step.
    pub set_up: SetUpTimes,
    /// Codec of the caller's leg, once chosen.
    pub caller_codec: Option<Codec>,
    /// Codec of the callee's leg, once chosen.
    pub callee_codec: Option<Codec>,
    /// The leg in `statistics` that the caller was, or whoever has its place since a transfer.
    #[serde(default = "leg_a")]
    pub caller_leg: Side,
    /// The transfers of the call, the last ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<Transferred>,
    /// Whether the signaling process was restarted during the call.
    #[serde(default)]
    pub recovered: bool,
    /// Both legs at the end; absent when the media process was gone.
    #[serde(default)]
    pub statistics: Option<Box<CallStatistics>>,
}

/// A transfer: one of the two left, and another one came who has a record too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transferred {
    /// When.
    pub at: WallTime,
    /// The user, or the trunk, that transferred.
    pub by: String,
    /// The record of the call that this one was joined with; they end together.
    pub joined: String,
    /// The leg of whoever transferred, until then.
    #[serde(default)]
    pub leg: Option<Box<LegStatistics>>,
}

/// Transfers of one call that its record keeps: what is parked of a call is bounded.
const TRANSFERS_MAX: usize = 4;

fn leg_a() -> Side {
    Side::A
}

/// Milliseconds from the INVITE to each step of the set-up that happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetUpTimes {
    /// To the first 18x.
    pub ringing_ms: Option<u64>,
    /// To the callee's 200.
    pub answered_ms: Option<u64>,
    /// To the last ICE nomination that was needed.
    pub nominated_ms: Option<u64>,
    /// To the last DTLS handshake that was needed.
    pub secured_ms: Option<u64>,
    /// To the first packet from the caller.
    pub caller_media_ms: Option<u64>,
    /// To the first packet from the callee.
    pub callee_media_ms: Option<u64>,
}

impl CallRecord {
    /// The record of a call that has just begun.
    pub fn new(call: &str, caller: &Peer, number: &str, to: &str, now: WallTime) -> Self {
        let from = match caller {
            Peer::User(user) => user,
            Peer::Trunk(_) => number,
        };
        Self {
            call: call.to_owned(),
            direction: Direction::Internal,
            from: from.to_owned(),
            shown_as: number.to_owned(),
            to: to.to_owned(),
            trunk: match caller {
                Peer::Trunk(trunk) => Some(trunk.clone()),
                Peer::User(_) => None,
            },
            started: now,
            answered: None,
            ended: None,
            ended_by: None,
            sip_status: 0,
            q850_cause: 0,
            reason: String::new(),
            set_up: SetUpTimes::default(),
            caller_codec: None,
            callee_codec: None,
            caller_leg: Side::A,
            transfers: Vec::new(),
            recovered: false,
            statistics: None,
        }
    }

    /// One of the two has left, and another one is in its place.
    pub fn transferred(&mut self, transfer: Transferred) {
        if self.transfers.len() >= TRANSFERS_MAX {
            self.transfers.remove(0);
        }
        self.transfers.push(transfer);
    }

    /// What was leg A is leg B from now on.
    pub fn turn(&mut self) {
        self.caller_leg = self.caller_leg.other();
    }

    /// The call ends, by who has this leg.
    pub fn end(&mut self, by: Party, release: &Release, now: WallTime) {
        let by = match (by, self.caller_leg) {
            (Party::Caller, Side::B) => Party::Callee,
            (Party::Callee, Side::B) => Party::Caller,
            (by, _) => by,
        };
        self.ended = Some(now);
        self.ended_by = Some(by);
        let status = if self.answered.is_some() { Status::OK } else { release.status };
        self.sip_status = status.code();
        self.q850_cause = release.cause.0;
        self.reason = release.text.clone();
    }

    /// The record as a line, with its line end.
    pub fn to_line(&self) -> String {
        // Strings, numbers and maps with string keys: serialising cannot fail.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// A wall time in milliseconds since the Unix epoch, written as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct WallTime(u64);

impl WallTime {
    /// The wall time of `now`.
    pub fn of(anchor: &WallAnchor, now: Instant) -> Self {
        Self(u64::try_from(anchor.since_unix_epoch(now).as_millis()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since `earlier`.
    pub fn since(self, earlier: WallTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<WallTime> for String {
    fn from(time: WallTime) -> String {
        let (days, ms) = (time.0 / 86_400_000, time.0 % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        let fraction = ms % 1_000;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
    }
}

impl TryFrom<String> for WallTime {
    type Error = &'static str;

    /// Reads exactly what is written above.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        const EXPECTED: &str = "a wall time is written YYYY-MM-DDTHH:MM:SS.mmmZ";
        let number = |from: usize, to: usize| -> Result<u64, Self::Error> {
            let digits = text.get(from..to).ok_or(EXPECTED)?;
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(EXPECTED);
            }
            digits.parse().map_err(|_| EXPECTED)
        };
        if text.len() != 24 {
            return Err(EXPECTED);
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
            return Err(EXPECTED);
        }
        let seconds = number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
        Ok(Self((days_from_civil(year, month, day) * 86_400 + seconds) * 1_000 + number(20, 23)?))
    }
}

/// Year, month and day of a day counted from 1970-01-01 (H. Hinnant, "chrono-compatible low-level
/// date algorithms"; the year begins in March so that the leap day comes last).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The reverse of [`civil_from_days`].
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_times_are_written_as_rfc_3339_and_read_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_795_356_000_123, "2026-11-22T14:00:00.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        ] {
            assert_eq!(String::from(WallTime(ms)), text);
            assert_eq!(WallTime::try_from(text.to_owned()), Ok(WallTime(ms)));
        }
        for day in 0..60_000 {
            let (year, month, date) = civil_from_days(day);
            assert_eq!(days_from_civil(year, month, date), day);
        }
    }

    #[test]
    fn a_text_that_is_no_wall_time_is_refused() {
        for text in ["", "2026-11-22", "2026-13-22T14:00:00.123Z", "2026-11-+2T14:00:00.123Z"] {
            assert!(WallTime::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
