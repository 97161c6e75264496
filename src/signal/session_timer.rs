//! The session timer of a dialog (RFC 4028): who shows by when that it is alive. Toward trunks only:
//! a browser's connection and its consent say the same within seconds.
//!
//! In: requests and responses that may speak of it, time. Out: their fields, and when something is
//! due: a refresh of ours, or the end of a far end that does not refresh.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::wire::sip::{HeaderName, Headers, Method, Request, Response};

/// What we propose: half an hour, refreshed every quarter (RFC 4028 §4 recommends it).
const INTERVAL_S: u32 = 1_800;
/// Shorter ones are refused (RFC 4028 §4: at least this).
pub const INTERVAL_MIN_S: u32 = 90;
/// The longest that a far end may ask for: beyond a day it is no sign of life.
const INTERVAL_MAX_S: u32 = 86_400;
/// Who does not refresh is hung up on so long before the end, or by a third of the interval if that
/// is shorter (RFC 4028 §10).
const MARGIN: Duration = Duration::from_secs(32);
/// A refresh that was refused is tried again after this, while the session lasts.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The timer of one dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTimer {
    /// What both have agreed on.
    agreed: Option<Agreed>,
    /// What we propose.
    interval_s: u32,
    /// Whether the far end takes UPDATE, the cheaper refresh.
    takes_update: bool,
    /// When something is due; a successor of ours begins a whole interval anew.
    #[serde(skip)]
    due: Option<Instant>,
    /// When the session is over without a refresh.
    #[serde(skip)]
    ends: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Agreed {
    interval_s: u32,
    we_refresh: bool,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A refresh of ours, by this method.
    Refresh(Refresh),
    /// The far end did not refresh: the call is over.
    Expired,
}

/// How we refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// An UPDATE without an offer.
    Update,
    /// A re-INVITE with our unchanged SDP, for who does not know UPDATE.
    Invite,
}

/// Their interval is too short: 422 with Min-SE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

impl Default for SessionTimer {
    fn default() -> Self {
        Self { agreed: None, interval_s: INTERVAL_S, takes_update: false, due: None, ends: None }
    }
}

impl SessionTimer {
    /// Proposes a timer in a request of ours (RFC 4028 §7.1).
    pub fn propose(&self, headers: &mut Headers) {
        let interval_s = self.agreed.map_or(self.interval_s, |agreed| agreed.interval_s);
        let refresher = match self.agreed {
            Some(Agreed { we_refresh: true, .. }) => ";refresher=uac",
            Some(_) => ";refresher=uas",
            None => "",
        };
        headers.push(HeaderName::Supported, "timer");
        headers.push(HeaderName::SessionExpires, format!("{interval_s}{refresher}"));
        headers.push(HeaderName::MinSe, INTERVAL_MIN_S);
    }

    /// Takes the 422 to a proposal of ours: the interval that would do (RFC 4028 §7.3). `false`: it
    /// names none that we could propose, or one that we have proposed already.
    pub fn raised_by(&mut self, response: &Response) -> bool {
        let wanted = seconds(&response.headers, &HeaderName::MinSe);
        let current = self.agreed.map_or(self.interval_s, |agreed| agreed.interval_s);
        match wanted.filter(|wanted| (current + 1..=INTERVAL_MAX_S).contains(wanted)) {
            Some(wanted) => {
                self.interval_s = wanted;
                if let Some(agreed) = &mut self.agreed {
                    agreed.interval_s = wanted;
                }
                true
            }
            None => false,
        }
    }

    /// The timer after a 2xx to a request of ours: as that says, or none (RFC 4028 §7.2).
    pub fn answered(&mut self, response: &Response, now: Instant) {
        self.note_allowed(&response.headers);
        self.agreed = proposal(&response.headers).map(|(interval_s, refresher)| Agreed {
            interval_s,
            // One that answers without naming anybody leaves it to who asked.
            we_refresh: refresher != Some(Role::Server),
        });
        self.begin(now);
    }

    /// The timer after an INVITE or UPDATE of theirs that we accept (RFC 4028 §9); [`Self::confirm`]
    /// writes it. Who does not know timers gets none, unless a proxy between us asks for one.
    pub fn requested(&self, request: &Request, now: Instant) -> Result<Self, TooSmall> {
        let headers = &request.headers;
        let they_know = headers.lists(&HeaderName::Supported, "timer");
        let mut next = *self;
        next.note_allowed(headers);
        next.agreed = match proposal(headers) {
            Some((interval_s, _)) if interval_s < INTERVAL_MIN_S => return Err(TooSmall),
            Some((interval_s, refresher)) => Some(Agreed {
                interval_s: interval_s.min(INTERVAL_MAX_S),
                we_refresh: refresher == Some(Role::Server) || !they_know,
            }),
            None => they_know.then_some(Agreed { interval_s: INTERVAL_S, we_refresh: true }),
        };
        next.begin(now);
        Ok(next)
    }

    /// Writes what was agreed on into the 2xx.
    pub fn confirm(&self, response: &mut Response) {
        let Some(Agreed { interval_s, we_refresh }) = self.agreed else { return };
        let refresher = if we_refresh { "uas" } else { "uac" };
        let value = format!("{interval_s};refresher={refresher}");
        response.headers.push(HeaderName::SessionExpires, value);
        response.headers.push(HeaderName::Supported, "timer");
        if !we_refresh {
            // They must know that it is theirs to do (RFC 4028 §9).
            response.headers.push(HeaderName::Require, "timer");
        }
    }

    fn note_allowed(&mut self, headers: &Headers) {
        if headers.first(&HeaderName::Allow).is_some() {
            self.takes_update = headers.lists(&HeaderName::Allow, Method::Update.as_str());
        }
    }

    /// Begins an interval.
    pub fn begin(&mut self, now: Instant) {
        let Some(Agreed { interval_s, we_refresh }) = self.agreed else {
            (self.due, self.ends) = (None, None);
            return;
        };
        let interval = Duration::from_secs(interval_s.into());
        let deadline = interval - MARGIN.min(interval / 3);
        self.ends = Some(now + deadline);
        self.due = Some(now + if we_refresh { interval / 2 } else { deadline });
    }

    /// When something is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// What is due.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        self.due.take_if(|at| *at <= now)?;
        if self.ends.is_none_or(|ends| ends <= now) {
            return Some(Due::Expired);
        }
        Some(Due::Refresh(if self.takes_update { Refresh::Update } else { Refresh::Invite }))
    }

    /// Our refresh did not go through; the session still lasts. It is tried again, at the latest when
    /// the session ends.
    pub fn again(&mut self, after: Option<Duration>, now: Instant) {
        let at = now + after.unwrap_or(AGAIN_AFTER);
        self.due = self.ends.map(|ends| ends.min(at));
    }

    /// The far end said that it knows UPDATE, and refuses it.
    pub fn takes_no_update(&mut self) {
        self.takes_update = false;
    }
}

/// Who refreshes, by the part in the transaction that proposes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

/// Session-Expires: the interval, and who refreshes.
fn proposal(headers: &Headers) -> Option<(u32, Option<Role>)> {
    let interval_s = seconds(headers, &HeaderName::SessionExpires)?;
    let parameters = headers.first(&HeaderName::SessionExpires)?.split(';').skip(1);
    let refresher =
        parameters.filter_map(|parameter| parameter.split_once('=')).find_map(|(name, value)| {
            let is_refresher = name.trim().eq_ignore_ascii_case("refresher");
            match value.trim().to_ascii_lowercase().as_str() {
                "uac" if is_refresher => Some(Role::Client),
                "uas" if is_refresher => Some(Role::Server),
                _ => None,
            }
        });
    Some((interval_s, refresher))
}

/// The seconds that a field begins with; one too large to hold is the largest.
fn seconds(headers: &Headers, name: &HeaderName) -> Option<u32> {
    let digits = headers.first(name)?.split(';').next()?.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sip::Status;

    fn invite(fields: &[(HeaderName, &str)]) -> Request {
        let mut invite = Request::new(Method::Invite, "sip:gw@192.0.2.1".parse().unwrap());
        for (name, value) in fields {
            invite.headers.push(name.clone(), value);
        }
        invite
    }

    fn ok(session_expires: Option<&str>) -> Response {
        let mut ok = Response::to(&invite(&[]), Status::OK);
        if let Some(value) = session_expires {
            ok.headers.push(HeaderName::SessionExpires, value);
        }
        ok
    }

    fn after(timer: &SessionTimer, now: Instant) -> Option<u64> {
        Some(timer.next_timeout()?.duration_since(now).as_secs())
    }

    #[test]
    fn an_answer_says_who_refreshes_and_when() {
        let now = Instant::now();
        for (answer, due_s, what) in [
            (Some("1800;refresher=uac"), Some(900), Some(Due::Refresh(Refresh::Invite))),
            (Some("1800"), Some(900), Some(Due::Refresh(Refresh::Invite))),
            (Some("1800 ; Refresher = UAS"), Some(1_768), Some(Due::Expired)),
            (Some("90;refresher=uas"), Some(60), Some(Due::Expired)),
            (Some("x"), None, None),
            (None, None, None),
        ] {
            let mut timer = SessionTimer::default();
            timer.answered(&ok(answer), now);
            assert_eq!(after(&timer, now), due_s, "{answer:?}");
            assert_eq!(timer.due(now + Duration::from_secs(due_s.unwrap_or(9_999))), what);
        }
    }

    #[test]
    fn a_request_is_answered_with_who_refreshes() {
        let now = Instant::now();
        let timer = (HeaderName::Supported, "timer");
        let expires = |value| (HeaderName::SessionExpires, value);
        for (fields, answer, due_s) in [
            (
                vec![timer.clone(), expires("600;refresher=uac")],
                Some("600;refresher=uac"),
                Some(568),
            ),
            (
                vec![timer.clone(), expires("600;refresher=uas")],
                Some("600;refresher=uas"),
                Some(300),
            ),
            (vec![timer.clone(), expires("600")], Some("600;refresher=uac"), Some(568)),
            (vec![timer.clone()], Some("1800;refresher=uas"), Some(900)),
            // A proxy asks for it; who called does not know how.
            (vec![expires("600")], Some("600;refresher=uas"), Some(300)),
            (vec![timer, expires("99999999999")], Some("86400;refresher=uac"), Some(86_368)),
            (vec![], None, None),
        ] {
            let next = SessionTimer::default().requested(&invite(&fields), now).unwrap();
            let mut response = ok(None);
            next.confirm(&mut response);
            assert_eq!(response.headers.first(&HeaderName::SessionExpires), answer, "{fields:?}");
            let theirs = answer.is_some_and(|answer| answer.ends_with("uac"));
            assert_eq!(response.headers.lists(&HeaderName::Require, "timer"), theirs);
            assert_eq!(after(&next, now), due_s, "{fields:?}");
        }
        let brief = invite(&[expires("89")]);
        assert_eq!(SessionTimer::default().requested(&brief, now), Err(TooSmall));
    }

    #[test]
    fn a_422_raises_what_we_propose_once() {
        let mut timer = SessionTimer::default();
        let mut refusal = Response::to(&invite(&[]), Status::SESSION_INTERVAL_TOO_SMALL);
        assert!(!timer.raised_by(&refusal));
        for (least, raised) in [("60", false), ("3600", true), ("3600", false), ("90000", false)] {
            refusal.headers.set(HeaderName::MinSe, least);
            assert_eq!(timer.raised_by(&refusal), raised, "{least}");
        }
        let mut headers = Headers::new();
        timer.propose(&mut headers);
        assert_eq!(headers.first(&HeaderName::SessionExpires), Some("3600"));
    }

    #[test]
    fn a_refused_refresh_is_tried_again_until_the_session_is_over() {
        let now = Instant::now();
        let mut timer = SessionTimer::default();
        let mut answer = ok(Some("90;refresher=uac"));
        answer.headers.push(HeaderName::Allow, "INVITE, UPDATE");
        timer.answered(&answer, now);
        let mut at = now + Duration::from_secs(45);
        assert_eq!(timer.due(at), Some(Due::Refresh(Refresh::Update)));
        timer.takes_no_update();
        timer.again(None, at);
        at += Duration::from_secs(10);
        assert_eq!(timer.due(at), Some(Due::Refresh(Refresh::Invite)));
        timer.again(None, at);
        assert_eq!(timer.next_timeout(), Some(now + Duration::from_secs(60)));
        assert_eq!(timer.due(now + Duration::from_secs(60)), Some(Due::Expired));
        assert_eq!(timer.next_timeout(), None);
    }
}
