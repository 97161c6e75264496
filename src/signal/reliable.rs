//! Provisional responses that the caller acknowledges, where it requires that (RFC 3262 §3): one at a
//! time, sent again until its PRACK comes. In: responses, PRACKs, time. Out: what is to be sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::RngExt;

use crate::base::opaque::opaque;
use crate::base::random::Random;
use crate::sip::transaction::{T1, TRANSACTION_LIFETIME};
use crate::wire::sip::{HeaderName, Method, Request, Response};

/// Responses that wait for their turn: a callee rings, and perhaps is forwarded.
const WAITING_MAX: usize = 4;

/// The provisional responses of one INVITE.
pub struct Reliable {
    /// Of the last one that was sent.
    rseq: u32,
    /// The INVITE's.
    cseq: u32,
    /// The one whose PRACK is awaited.
    open: Option<Open>,
    waiting: VecDeque<Response>,
}

opaque!(Reliable);

struct Open {
    response: Response,
    interval: Duration,
    again: Instant,
    given_up: Instant,
}

/// What time has brought.
pub enum Due {
    /// Nothing.
    Nothing,
    /// This one is sent again.
    Again(Box<Response>),
    /// Nobody acknowledges: the INVITE is to be refused.
    GivenUp,
}

opaque!(Due);

impl Reliable {
    /// For an INVITE that requires it.
    pub fn wanted_by(invite: &Request, random: &mut Random) -> Option<Self> {
        invite.headers.lists(&HeaderName::Require, "100rel").then(|| Self {
            // RFC 3262 §3: from 1 to 2^31 - 1, so that it never wraps.
            rseq: random.random_range(1..1 << 30),
            cseq: invite.headers.cseq().map_or(0, |cseq| cseq.number),
            open: None,
            waiting: VecDeque::new(),
        })
    }

    /// The response as it is to be sent now; `None`: after the PRACK of the one before.
    pub fn send(&mut self, response: Response, now: Instant) -> Option<Response> {
        if self.open.is_some() {
            if self.waiting.len() < WAITING_MAX {
                self.waiting.push_back(response);
            }
            return None;
        }
        let mut response = response;
        self.rseq += 1;
        response.headers.push(HeaderName::Require, "100rel");
        response.headers.push(HeaderName::RSeq, self.rseq);
        self.open = Some(Open {
            response: response.clone(),
            interval: T1,
            again: now + T1,
            given_up: now + TRANSACTION_LIFETIME,
        });
        Some(response)
    }

    /// Whether a PRACK is of the response that awaits it; then the next one's turn has come.
    pub fn acknowledged(&mut self, prack: &Request) -> bool {
        let field = prack.headers.first(&HeaderName::RAck).unwrap_or_default();
        let mut words = field.split_ascii_whitespace();
        let number = |word: Option<&str>| word.and_then(|word| word.parse::<u32>().ok());
        let is_it = number(words.next()) == Some(self.rseq)
            && number(words.next()) == Some(self.cseq)
            && words.next() == Some(Method::Invite.as_str());
        is_it && self.open.take().is_some()
    }

    /// The next response, once the one before was acknowledged.
    pub fn next(&mut self, now: Instant) -> Option<Response> {
        let next = self.waiting.pop_front()?;
        self.send(next, now)
    }

    /// When something is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.again.min(open.given_up))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Due {
        let Some(open) = &mut self.open else { return Due::Nothing };
        if open.given_up <= now {
            self.open = None;
            return Due::GivenUp;
        }
        if open.again > now {
            return Due::Nothing;
        }
        open.interval *= 2;
        open.again = now + open.interval;
        Due::Again(Box::new(open.response.clone()))
    }
}
