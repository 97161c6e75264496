//! Whose turn it is in a dialog (RFC 3264 §4, RFC 3261 §14, RFC 3311 §5, RFC 6337): one offer is open
//! at a time, and one INVITE. In: what was sent and has come. Out: whether another change may begin,
//! and what the far end is told if it may not.

use std::time::Duration;

use rand::RngExt;

use crate::base::random::Random;
use crate::sip::transaction::{ClientTransactionId, ServerTransactionId};
use crate::wire::sip::{HeaderName, Method, Request, Response, Status};

/// The longest that who comes too early is told to wait (RFC 3261 §14.2: 0 to 10 s).
const RETRY_AFTER_S_MAX: u32 = 10;

/// How far a change of a dialog is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Negotiation {
    /// Nothing is open.
    #[default]
    Stable,
    /// Our 200 to their INVITE waits for its ACK.
    Answered {
        /// The INVITE.
        transaction: ServerTransactionId,
        /// Whether the 200 had our offer, so that the ACK brings the answer.
        offered: bool,
    },
    /// A request of ours that changes or refreshes the session is on its way.
    Asked(ClientTransactionId, Asked),
}

/// What we asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A re-INVITE with our unchanged offer, by this CSeq number.
    Invite(u32),
    /// An UPDATE without an offer.
    Update,
}

impl Negotiation {
    /// Whether a request of ours may go out.
    pub fn is_stable(self) -> bool {
        self == Negotiation::Stable
    }

    /// Why a re-INVITE or UPDATE of theirs cannot be taken now.
    pub fn refuses(self, request: &Request) -> Option<Refused> {
        let is_invite = request.method == Method::Invite;
        let offers = is_invite || request.is_describing();
        match self {
            Negotiation::Stable => None,
            // Theirs is not over yet: one at a time (RFC 3261 §14.2).
            Negotiation::Answered { .. } if is_invite => Some(Refused::Early),
            Negotiation::Answered { offered, .. } => (offered && offers).then_some(Refused::Glare),
            Negotiation::Asked(_, Asked::Invite(_)) => offers.then_some(Refused::Glare),
            Negotiation::Asked(_, Asked::Update) => None,
        }
    }
}

/// Why a change has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Both sides asked at once.
    Glare,
    /// Theirs before this one is still open.
    Early,
}

impl Refused {
    /// The response that says so.
    pub fn response(self, request: &Request, random: &mut Random) -> Response {
        match self {
            Refused::Glare => Response::to(request, Status::REQUEST_PENDING),
            Refused::Early => {
                let mut response = Response::to(request, Status::SERVER_INTERNAL_ERROR);
                let seconds = random.random_range(0..=RETRY_AFTER_S_MAX);
                response.headers.push(HeaderName::RetryAfter, seconds);
                response
            }
        }
    }
}

/// When to try again after a 491, in units of 10 ms: who made the Call-ID waits longer
/// (RFC 3261 §14.1).
pub fn after_glare(we_made_the_call_id: bool, random: &mut Random) -> Duration {
    let units: u64 = if we_made_the_call_id {
        random.random_range(210..=400)
    } else {
        random.random_range(0..=200)
    };
    Duration::from_millis(units.saturating_mul(10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;

    #[test]
    fn who_made_the_call_id_waits_longer_after_a_glare() {
        let mut random = random::from_seed(1);
        for _ in 0..200 {
            let (owner, other) = (after_glare(true, &mut random), after_glare(false, &mut random));
            assert!((2_100..=4_000).contains(&owner.as_millis()), "{owner:?}");
            assert!(other.as_millis() <= 2_000, "{other:?}");
            assert_eq!((owner.as_millis() % 10, other.as_millis() % 10), (0, 0));
        }
    }
}
