//! A leg of a call: who is at its far end, the dialog with them, and their media, which is a
//! browser's or a trunk's.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::base::opaque::opaque;
use crate::control::message::{
    CallCreated, CallName, Codec, LegChange, LegParameters, MediaTimeout, Side,
};
use crate::dtls::Certificate;
use crate::signal::browser::BrowserMedia;
use crate::signal::directory::Part;
use crate::signal::exchange::Exchange;
use crate::signal::media_leg::both;
use crate::signal::negotiation::Negotiation;
use crate::signal::peer::Peer;
use crate::signal::played::Tones;
use crate::signal::refer::Subscription;
use crate::signal::release::Release;
use crate::signal::session_timer::{SessionTimer, TooSmall};
use crate::signal::trunk::TrunkMedia;
use crate::sip::dialog::{Dialog, DialogId};
use crate::sip::transaction::{ClientTransactionId, Flow};
use crate::wire::sdp::Refusal;
use crate::wire::sip::{Method, Request, Status};

/// How long a BYE waits for a browser whose connection is gone: it comes back within 2–30 s or not
/// at all.
pub const BYE_WAITS: Duration = Duration::from_secs(32);
/// A trunk that sends nothing for so long is logged: longer than anybody listens without a word.
const TRUNK_SILENCE_MS: u32 = 60_000;
/// SIP's port where a URI names none (RFC 3261 §19.1.2).
const SIP_PORT: u16 = 5060;

/// One leg.
#[derive(Serialize, Deserialize)]
pub struct Leg {
    /// Who is at the far end.
    pub peer: Peer,
    /// The dialog with them, once there is one.
    pub dialog: Option<Dialog>,
    /// How they are reached; `None` while a browser's connection is gone.
    #[serde(with = "lasting_flow")]
    pub flow: Option<Flow>,
    /// Their media.
    pub media: LegMedia,
    /// Whether its far end holds the call, so that the other one hears something in its place.
    #[serde(default)]
    pub is_holding: bool,
    /// Whether a trunk knows that it is held.
    #[serde(default)]
    pub knows_hold: bool,
    /// When it is told again what it could not be told.
    #[serde(skip)]
    pub tell_hold_at: Option<Instant>,
    /// By when who shows that the dialog lives; toward trunks.
    #[serde(default)]
    pub timer: SessionTimer,
    /// Whose turn it is to change something.
    #[serde(skip)]
    pub negotiation: Negotiation,
    /// Who wants to hear what becomes of the transfer that it asked for.
    #[serde(skip)]
    pub subscription: Option<Subscription>,
    /// What it is played.
    #[serde(skip)]
    pub tones: Tones,
    /// How far we are with our BYE.
    #[serde(skip)]
    pub farewell: Farewell,
    /// What media may not have heard while it was away, keys among it: not for the blob.
    #[serde(skip)]
    pub untold: LegChange,
    /// Whether the log has a line about it already.
    #[serde(skip)]
    complaints: Complaints,
}

opaque!(Leg);

/// One line a leg at the log's default level: whoever has an account could make it endless.
#[derive(Debug, Default)]
struct Complaints {
    has_one: bool,
}

impl Complaints {
    fn is_first(&mut self) -> bool {
        !std::mem::replace(&mut self.has_one, true)
    }
}

/// The media of a leg.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegMedia {
    /// ICE, DTLS-SRTP, Opus.
    Browser(Box<BrowserMedia>),
    /// Plain RTP, G.711.
    Trunk(Box<TrunkMedia>),
}

opaque!(LegMedia);

/// How far we are with our BYE to a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Farewell {
    /// None is wanted, or it is done with.
    #[default]
    None,
    /// Our 200 is not acknowledged yet, and until then there must be no BYE (RFC 3261 §15).
    AwaitsAcknowledgement,
    /// The browser's connection is gone; it has until then to come back.
    AwaitsFlow(Instant),
    /// On its way.
    Sent(ClientTransactionId),
}

impl Leg {
    /// A leg with whom there is no dialog yet.
    pub fn new(peer: Peer, flow: Option<Flow>, media: LegMedia) -> Self {
        Self {
            peer,
            dialog: None,
            flow,
            media,
            is_holding: false,
            knows_hold: false,
            tell_hold_at: None,
            timer: SessionTimer::default(),
            negotiation: Negotiation::Stable,
            subscription: None,
            tones: Tones::default(),
            farewell: Farewell::None,
            untold: LegChange::default(),
            complaints: Complaints::default(),
        }
    }

    /// Says what goes wrong on this leg.
    pub fn complain(&mut self, call: &CallName, side: Side, what: &str, why: &str) {
        if self.complaints.is_first() {
            let more = "more of this leg is in the debug log";
            warn!(call = &**call, leg = ?side, why, more, "{what}");
        } else {
            debug!(call = &**call, leg = ?side, why, "{what}");
        }
    }

    /// The dialog of this name.
    pub fn dialog_mut(&mut self, id: &DialogId) -> Option<&mut Dialog> {
        self.dialog.as_mut().filter(|dialog| dialog.id == *id)
    }

    /// Media may not have heard of a change.
    pub fn keep_untold(&mut self, change: LegChange) {
        self.untold = both(std::mem::take(&mut self.untold), change);
    }

    /// Sends the BYE, or waits for the browser to come back for it.
    pub fn say_bye(
        &mut self,
        call: &CallName,
        side: Side,
        release: &Release,
        exchange: &mut Exchange,
    ) {
        let Some(dialog) = &mut self.dialog else { return };
        let Some(flow) = self.flow else {
            if !matches!(self.farewell, Farewell::AwaitsFlow(_)) {
                self.farewell = Farewell::AwaitsFlow(exchange.now + BYE_WAITS);
            }
            return;
        };
        let mut bye = dialog.request(Method::Bye);
        release.explain(&mut bye.headers);
        let flow = next_hop(dialog, flow);
        self.farewell = match exchange.request(bye, flow, call, Part::Bye(side)) {
            Some(transaction) => Farewell::Sent(transaction),
            None => Farewell::None,
        };
    }

    /// When waiting for the browser's connection is over, its handshake or the session timer is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let farewell = match self.farewell {
            Farewell::AwaitsFlow(until) => Some(until),
            _ => None,
        };
        let handshake = self.media.browser().and_then(BrowserMedia::next_timeout);
        let timer = self.timer.next_timeout().filter(|_| self.dialog.is_some());
        let tones = self.tones.next_timeout();
        let ends = farewell.into_iter().chain(self.tell_hold_at);
        ends.chain(handshake).chain(timer).chain(tones).min()
    }

    /// Gives up waiting for the browser's connection when its time is over.
    pub fn give_up_waiting(&mut self, now: Instant) {
        if matches!(self.farewell, Farewell::AwaitsFlow(until) if until <= now) {
            self.farewell = Farewell::None;
        }
    }

    /// The session timer after an INVITE or UPDATE of theirs; a browser has none.
    pub fn timer_after(
        &self,
        request: &Request,
        exchange: &Exchange,
    ) -> Result<SessionTimer, TooSmall> {
        match self.peer {
            Peer::User(_) => Ok(self.timer),
            Peer::Trunk(_) => self.timer.requested(request, exchange.now),
        }
    }

    /// Sends a request in the dialog.
    pub fn request(
        &mut self,
        call: &CallName,
        part: Part,
        request: impl FnOnce(&mut Dialog) -> Request,
        exchange: &mut Exchange,
    ) -> Option<ClientTransactionId> {
        let (dialog, flow) = (self.dialog.as_mut()?, self.flow?);
        let request = request(dialog);
        exchange.request(request, next_hop(dialog, flow), call, part)
    }
}

/// Where a request inside a dialog goes: over a browser's connection always; else to the first
/// route, or to the peer's contact (RFC 3261 §12.2.1.1). A host that is a name is not looked up:
/// such a peer is reached where its trunk is.
pub fn next_hop(dialog: &Dialog, flow: Flow) -> Flow {
    let Flow::Udp(_) = flow else { return flow };
    let target = dialog.route_set.first().map_or(&dialog.remote_target, |route| &route.uri);
    let address = target
        .as_sip()
        .and_then(|uri| Some(SocketAddr::new(uri.host.address()?, uri.port.unwrap_or(SIP_PORT))));
    address.map_or(flow, Flow::Udp)
}

/// What of a flow is worth writing down: a browser's connection does not outlive this process.
mod lasting_flow {
    use std::net::SocketAddr;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::sip::transaction::Flow;

    pub(super) fn serialize<S: Serializer>(flow: &Option<Flow>, to: S) -> Result<S::Ok, S::Error> {
        match flow {
            Some(Flow::Udp(address)) => Some(*address),
            Some(Flow::Web(_)) | None => None,
        }
        .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Flow>, D::Error> {
        Ok(Option::<SocketAddr>::deserialize(from)?.map(Flow::Udp))
    }
}

impl LegMedia {
    /// The media of the leg that an INVITE came on, with its `offer` or without one, which only a
    /// trunk may leave out.
    pub fn of_caller(
        caller: &Peer,
        offer: Option<&str>,
        callee: &Peer,
        exchange: &mut Exchange,
    ) -> Result<Self, Release> {
        let random = &mut exchange.random;
        match (caller, offer) {
            (Peer::User(_), Some(offer)) => {
                let media = BrowserMedia::offered(offer, callee.opus_wish(), random)?;
                Ok(LegMedia::Browser(Box::new(media)))
            }
            (Peer::User(_), None) => {
                let text = "a browser's INVITE without an offer";
                Err(Release::of_status(Status::NOT_ACCEPTABLE_HERE, text))
            }
            (Peer::Trunk(trunk), offer) => {
                let terms = exchange.routes.terms_of(trunk);
                let media = match offer {
                    Some(offer) => TrunkMedia::offered(offer, terms, random)?,
                    None => TrunkMedia::offering(terms, random),
                };
                Ok(LegMedia::Trunk(Box::new(media)))
            }
        }
    }

    /// The media of the leg toward whoever is asked: the offer is ours.
    pub fn of_callee(callee: &Peer, caller: &Peer, exchange: &mut Exchange) -> Self {
        let random = &mut exchange.random;
        match callee {
            Peer::User(_) => {
                let media = BrowserMedia::offering(caller.opus_wish(), random);
                LegMedia::Browser(Box::new(media))
            }
            Peer::Trunk(trunk) => {
                let media = TrunkMedia::offering(exchange.routes.terms_of(trunk), random);
                LegMedia::Trunk(Box::new(media))
            }
        }
    }

    /// The leg as the media process is to make it.
    pub fn leg_parameters(&self) -> LegParameters {
        match self {
            LegMedia::Browser(media) => media.leg_parameters(),
            LegMedia::Trunk(media) => media.leg_parameters(),
        }
    }

    /// The media process made the leg: our SDP can be written.
    pub fn reserved(&mut self, created: &CallCreated, side: Side, certificate: &Certificate) {
        let addresses = match side {
            Side::A => created.a,
            Side::B => created.b,
        };
        match self {
            LegMedia::Browser(media) => {
                media.reserved(created.thread, addresses.rtp, certificate);
            }
            LegMedia::Trunk(media) => media.reserved(addresses),
        }
    }

    /// Our SDP, the same bytes in every message.
    pub fn description(&self) -> Option<&str> {
        match self {
            LegMedia::Browser(media) => media.description(),
            LegMedia::Trunk(media) => media.description(),
        }
    }

    /// The far end answered our offer.
    pub fn answered(&mut self, sdp: &str) -> Result<LegChange, Refusal> {
        match self {
            LegMedia::Browser(media) => media.answered(sdp),
            LegMedia::Trunk(media) => media.answered(sdp),
        }
    }

    /// The same in the 200 to our INVITE.
    pub fn answered_finally(&mut self, sdp: &str) -> Result<LegChange, Refusal> {
        match self {
            LegMedia::Browser(media) => media.answered(sdp),
            LegMedia::Trunk(media) => media.answered_finally(sdp),
        }
    }

    /// The trunk's side of it, to be changed.
    pub fn trunk_mut(&mut self) -> Option<&mut TrunkMedia> {
        match self {
            LegMedia::Browser(_) => None,
            LegMedia::Trunk(media) => Some(media),
        }
    }

    /// The far end makes an offer inside the call.
    pub fn offered_anew(
        &mut self,
        sdp: &str,
        exchange: &mut Exchange,
    ) -> Result<LegChange, Refusal> {
        match self {
            LegMedia::Browser(media) => {
                media.offered_anew(sdp, &exchange.certificate, &mut exchange.random)
            }
            LegMedia::Trunk(media) => media.offered_anew(sdp),
        }
    }

    /// We make an offer inside the call, because the far end made none.
    pub fn offer_anew(&mut self) -> Result<LegChange, Release> {
        match self {
            LegMedia::Trunk(media) => {
                media.offer_anew();
                Ok(LegChange::default())
            }
            LegMedia::Browser(_) => {
                let text = "a browser's INVITE without an offer";
                Err(Release::of_status(Status::NOT_ACCEPTABLE_HERE, text))
            }
        }
    }

    /// Whether the far end holds the call: it does not want to hear. What a trunk does about it is
    /// heard, or not; a browser says nothing meanwhile.
    pub fn is_holding(&self) -> bool {
        match self {
            LegMedia::Browser(media) => media.is_holding(),
            LegMedia::Trunk(_) => false,
        }
    }

    /// How the leg is watched once the call talks: a browser's consent is enough.
    pub fn watched(&self) -> LegChange {
        let media_timeout_ms = match self {
            LegMedia::Browser(_) => None,
            LegMedia::Trunk(_) => MediaTimeout::new(TRUNK_SILENCE_MS),
        };
        LegChange { media_timeout_ms, ..LegChange::default() }
    }

    /// Whether packets can flow as far as signaling is concerned: a browser's keys are there.
    pub fn is_open(&self) -> bool {
        match self {
            LegMedia::Browser(media) => media.is_secured(),
            LegMedia::Trunk(_) => true,
        }
    }

    /// Whether the far end takes digits as telephone events (RFC 4733).
    pub fn takes_events(&self) -> bool {
        match self {
            LegMedia::Browser(media) => media.takes_events(),
            LegMedia::Trunk(media) => media.takes_events(),
        }
    }

    /// The codec, once agreed.
    pub fn codec(&self) -> Option<Codec> {
        match self {
            LegMedia::Browser(media) => media.codec(),
            LegMedia::Trunk(media) => media.codec(),
        }
    }

    /// The browser's side of it.
    pub fn browser(&self) -> Option<&BrowserMedia> {
        match self {
            LegMedia::Browser(media) => Some(media),
            LegMedia::Trunk(_) => None,
        }
    }

    /// The browser's side of it, to be changed.
    pub fn browser_mut(&mut self) -> Option<&mut BrowserMedia> {
        match self {
            LegMedia::Browser(media) => Some(media),
            LegMedia::Trunk(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_has_one_line_at_the_default_level() {
        let mut complaints = Complaints::default();
        let firsts = (0..1_000).filter(|_| complaints.is_first()).count();
        assert_eq!(firsts, 1);
    }
}
