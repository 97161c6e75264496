//! THE CALL LINE, continued: 7. what happens inside a call. Digits, signs of life, and changes: hold
//! and resume, other addresses, codecs and payload types, ICE restarts.
//!
//! Each leg changes for itself. What a trunk does reaches the browser as audio, or its absence, never
//! as a re-INVITE; what a browser does reaches the trunk the same way: one that holds leaves the
//! trunk in silence that is sent, so that nobody takes the call for dead.
//!
//! In: requests of the far ends. Out: responses, changes of the media legs.

use tracing::debug;

use crate::control::message::{LegChange, SendDigit, Side};
use crate::signal::call::Call;
use crate::signal::control_client::Away;
use crate::signal::digit::{self, Pressed};
use crate::signal::directory::{Key, Part};
use crate::signal::exchange::{Exchange, unsupported};
use crate::signal::invite::Invite;
use crate::signal::leg::{Farewell, LegMedia};
use crate::signal::negotiation::{Negotiation, Refused};
use crate::signal::peer::Peer;
use crate::signal::records::Party;
use crate::signal::registrar::address_of;
use crate::signal::release::Release;
use crate::signal::session_timer::SessionTimer;
use crate::signal::stage::Stage;
use crate::signal::transferring::Transfer;
use crate::sip::dialog::{Dialog, DialogId};
use crate::sip::transaction::{Flow, ServerTransactionId};
use crate::wire::sip::{HeaderName, Method, NameAddr, Request, Response, SDP, Status};

// 7. Talking: media does that. What is left to us are requests inside the call.

impl Call {
    /// A request of the far end in the dialog of a leg, or in an early one of somebody who is asked.
    pub fn requested(
        &mut self,
        side: Side,
        transaction: ServerTransactionId,
        request: &Request,
        flow: Flow,
        exchange: &mut Exchange,
    ) {
        let contact = self.absorb(side, request);
        if let (Ok(_), Some(refusal)) = (&contact, unsupported(request)) {
            let refusal = refusal.response(request);
            return exchange.transactions.respond(transaction, refusal, exchange.now);
        }
        let leg = self.leg_mut(side);
        if contact.is_ok() && leg.dialog.is_some() && matches!(flow, Flow::Web(_)) {
            // A browser may be back on another connection before it has registered there.
            leg.flow = Some(flow);
        }
        let response = match (contact, &request.method) {
            (Err(status), _) => Response::to(request, status),
            (Ok(_), Method::Bye) => Response::to(request, Status::OK),
            (Ok(contact), Method::Invite | Method::Update) => {
                let change = Change { side, transaction, request, flow, contact };
                self.asked_to_change(change, exchange)
            }
            (Ok(_), Method::Info) => match self.pressed(side, transaction, request, exchange) {
                Some(response) => response,
                None => return,
            },
            (Ok(_), Method::Prack) => {
                let invite = self.invite.as_mut().filter(|_| side == Side::A);
                let status = invite.map_or(Status::CALL_DOES_NOT_EXIST, |invite| {
                    invite.provisional_acknowledged(request, exchange)
                });
                match status {
                    // Our provisional responses carry no SDP: an offer now is out of turn
                    // (RFC 3262 §5), and must not be taken for agreed on.
                    Status::OK if matches!(request.sdp(), Ok(Some(_))) => {
                        let text = "an offer while another one waits for its answer";
                        Release::of_status(Status::NOT_ACCEPTABLE_HERE, text).response(request)
                    }
                    status => Response::to(request, status),
                }
            }
            (Ok(contact), Method::Refer) if exchange.routes.takes_refer(&self.leg(side).peer) => {
                return self.referred(side, transaction, request, &contact, exchange);
            }
            (Ok(_), Method::Options) => exchange.capabilities(request, flow),
            (Ok(_), _) => exchange.not_allowed(request, flow),
        };
        let is_over = request.method == Method::Bye && response.status.is_success();
        exchange.transactions.respond(transaction, response, exchange.now);
        if is_over {
            self.hung_up(side, request, exchange);
        }
    }

    /// Puts a request into its dialog and says where we take requests in it, or with which status it
    /// does not belong there.
    fn absorb(&mut self, side: Side, request: &Request) -> Result<NameAddr, Status> {
        let id = DialogId::of_request(&request.headers).ok_or(Status::CALL_DOES_NOT_EXIST)?;
        let dialog = self.dialog_mut(side, &id).ok_or(Status::CALL_DOES_NOT_EXIST)?;
        dialog.absorb_request(request).map_err(|refusal| refusal.status())?;
        Ok(dialog.contact.clone())
    }

    /// The dialog of this name: a leg's, or an early one (RFC 3261 §12.1.2).
    fn dialog_mut(&mut self, side: Side, id: &DialogId) -> Option<&mut Dialog> {
        match side {
            Side::B if self.callee.dialog.is_none() => self.attempts.early_mut(id),
            side => self.leg_mut(side).dialog_mut(id),
        }
    }

    fn hung_up(&mut self, side: Side, bye: &Request, exchange: &mut Exchange) {
        if self.leg(side).dialog.is_none() {
            // In an early dialog: the INVITE's final response is still to come, and counts.
            return;
        }
        if self.lets_go(side, exchange) {
            return;
        }
        let mut release = Release::hung_up(&bye.headers);
        if side == Side::A && self.invite.as_ref().is_some_and(Invite::is_open) {
            // Its INVITE is still owed a final response (RFC 3261 §15.1.2).
            release.status = Status::REQUEST_TERMINATED;
        }
        self.end(side.into(), release, Some(side), exchange);
    }

    /// A leg's first packet was accepted.
    pub fn media_started(&mut self, side: Side, exchange: &Exchange) {
        let since_started = exchange.wall_time().since(self.record.started);
        let set_up = &mut self.record.set_up;
        match side {
            Side::A => set_up.caller_media_ms.get_or_insert(since_started),
            Side::B => set_up.callee_media_ms.get_or_insert(since_started),
        };
    }

    /// A user's browser is reached over another connection now: dialogs with that contact follow,
    /// and a BYE that waited for it goes out.
    pub fn rehomed(&mut self, user: &str, contact: &str, flow: Flow, exchange: &mut Exchange) {
        let address = address_of(contact);
        for side in Side::BOTH {
            let leg = self.leg_mut(side);
            let is_theirs = matches!(&leg.peer, Peer::User(name) if name == user)
                && leg
                    .dialog
                    .as_ref()
                    .is_some_and(|dialog| address_of(&dialog.remote_target.to_string()) == address);
            if is_theirs {
                leg.flow = Some(flow);
                if let Farewell::AwaitsFlow(_) = leg.farewell {
                    self.say_bye(side, exchange);
                }
            }
        }
    }

    /// Says in the log what goes wrong on a leg.
    pub(super) fn complain(&mut self, side: Side, what: &str, why: &str) {
        let leg = match side {
            Side::A => &mut self.caller,
            Side::B => &mut self.callee,
        };
        leg.complain(&self.name, side, what, why);
    }

    /// Tells media to change a leg; while media is away, once it is back.
    pub(super) fn change_leg(&mut self, side: Side, change: LegChange, exchange: &mut Exchange) {
        if matches!(self.transfer, Some(Transfer::Joining { goes, .. }) if goes == side) {
            // Where it will be.
            return self.leg_mut(side).keep_untold(change);
        }
        if let Err(change) = exchange.change_leg(&self.name, side, change) {
            self.leg_mut(side).keep_untold(*change);
        }
    }

    /// Tells media what it was not told of a leg.
    pub(super) fn tell_untold(&mut self, side: Side, exchange: &mut Exchange) {
        let untold = std::mem::take(&mut self.leg_mut(side).untold);
        self.change_leg(side, untold, exchange);
    }

    /// Media was away and still holds the call: it hears what it may have missed.
    pub fn media_back(&mut self, exchange: &mut Exchange) {
        for side in Side::BOTH {
            self.tell_untold(side, exchange);
            // What it was to play, or not to play any more, it may have missed as well.
            if self.stage == Stage::Talking {
                self.play_background(side.other(), exchange);
            }
        }
        self.park(exchange);
    }
}

// Changes: re-INVITE and UPDATE (RFC 3261 §14, RFC 3311), one at a time.

/// A re-INVITE or an UPDATE.
struct Change<'a> {
    side: Side,
    transaction: ServerTransactionId,
    request: &'a Request,
    /// How it came.
    flow: Flow,
    /// Where we take requests in its dialog.
    contact: NameAddr,
}

impl Call {
    fn asked_to_change(&mut self, change: Change<'_>, exchange: &mut Exchange) -> Response {
        let Change { side, transaction, request, flow, contact } = change;
        if let Some(refused) = self.refuses_change(side, request) {
            return refused.response(request, &mut exchange.random);
        }
        let timer = match self.leg(side).timer_after(request, exchange) {
            Ok(timer) => timer,
            Err(too_small) => return Release::from(too_small).response(request),
        };
        let is_invite = request.method == Method::Invite;
        let told = match request.sdp() {
            Err(no_sdp) => Err(no_sdp.into()),
            Ok(None) if is_invite => self.leg_mut(side).media.offer_anew(),
            Ok(None) => Ok(LegChange::default()),
            Ok(Some(sdp)) => {
                self.leg_mut(side).media.offered_anew(sdp, exchange).map_err(Release::from)
            }
        };
        let told = match told {
            Ok(told) => told,
            Err(release) => {
                self.complain(side, "a change is refused", &release.text);
                return release.response(request);
            }
        };
        let offers = request.is_describing();
        let leg = self.leg_mut(side);
        leg.timer = timer;
        if is_invite {
            leg.negotiation = Negotiation::Answered { transaction, offered: !offers };
            exchange.directory.enter(Key::Server(transaction), &self.name, Part::Leg(side));
        }
        let sdp = self.leg(side).media.description().filter(|_| is_invite || offers);
        let mut response = accepted(request, &contact, &timer, sdp);
        response.headers.push(HeaderName::Allow, exchange.allow(flow));
        if is_invite || offers {
            self.changed(side, told, exchange);
        }
        response
    }

    /// Why a change has to wait. An UPDATE without an offer is a sign of life and changes nothing.
    fn refuses_change(&self, side: Side, request: &Request) -> Option<Refused> {
        let is_invite = request.method == Method::Invite;
        if !is_invite && !request.is_describing() {
            return None;
        }
        let invite = self.invite.as_ref().filter(|_| side == Side::A);
        if invite.is_some_and(|invite| invite.is_open() || invite.is_unacknowledged()) {
            return Some(Refused::Early);
        }
        let leg = self.leg(side);
        let may_change = match (self.stage, &leg.media) {
            (Stage::Talking, _) => true,
            // Before the browser is there; an early dialog has no re-INVITE.
            (Stage::Connecting, LegMedia::Trunk(_)) => leg.media.codec().is_some(),
            (Stage::Asking, LegMedia::Trunk(_)) => !is_invite && leg.media.codec().is_some(),
            _ => false,
        };
        if may_change { leg.negotiation.refuses(request) } else { Some(Refused::Glare) }
    }

    /// The ACK to our 200 of a re-INVITE. One without an offer answers ours in it (RFC 3261 §14.2).
    pub(super) fn change_acknowledged(
        &mut self,
        side: Side,
        transaction: ServerTransactionId,
        ack: &Request,
        exchange: &mut Exchange,
    ) {
        let leg = self.leg_mut(side);
        let Negotiation::Answered { transaction: awaited, offered } = leg.negotiation else {
            return;
        };
        if awaited != transaction {
            return;
        }
        leg.negotiation = Negotiation::Stable;
        if !offered {
            return;
        }
        let answer = match ack.sdp() {
            Err(no_sdp) => Err(no_sdp.into()),
            Ok(Some(sdp)) => leg.media.answered(sdp).map_err(Release::from),
            Ok(None) => {
                let why = "what was agreed on before goes on";
                return self.complain(side, "an ACK without its answer", why);
            }
        };
        match answer {
            Ok(told) => self.changed(side, told, exchange),
            Err(release) => self.end(Party::Linecard, release, None, exchange),
        }
    }

    /// A leg's media is as its far end wants it from now on.
    pub(super) fn changed(&mut self, side: Side, told: LegChange, exchange: &mut Exchange) {
        let codec = self.leg(side).media.codec();
        match side {
            // Of who was there when it was answered, not of who came since.
            _ if self.joined.is_some() => {}
            Side::A => self.record.caller_codec = codec,
            Side::B => self.record.callee_codec = codec,
        }
        let (restarts, begins_anew) = (told.ice.is_some(), told.security.is_some());
        if told != LegChange::default() {
            let direction = told.direction;
            debug!(call = &*self.name, leg = ?side, ?direction, restarts, begins_anew, "changed");
        }
        self.change_leg(side, told, exchange);
        if restarts {
            self.enter_keys(exchange);
        }
        if begins_anew {
            self.connect(exchange);
            self.go_on_with_handshake(side, exchange);
        }
        self.hold_or_resume(side, exchange);
        self.park(exchange);
    }

    /// A digit in INFO leaves by the other leg as an event, or as a tone where that takes none; the
    /// response waits until media has taken an event. `None`: it is on its way.
    fn pressed(
        &mut self,
        side: Side,
        transaction: ServerTransactionId,
        request: &Request,
        exchange: &mut Exchange,
    ) -> Option<Response> {
        let media_type = request.headers.content_type().ok().flatten();
        let ok = Response::to(request, Status::OK);
        let media_type = media_type.as_ref().map(|kind| kind.media_type.as_str());
        match digit::read(media_type, &request.body) {
            Some(Pressed::Digit(digit, duration_ms)) => {
                let leg = side.other();
                if self.stage == Stage::Talking && !self.leg(leg).media.takes_events() {
                    let is_taken = self.sound(leg, digit, duration_ms, exchange);
                    return Some(if is_taken { ok } else { not_pressed(request) });
                }
                let digit = SendDigit { call: self.name.clone(), leg, digit, duration_ms };
                match exchange.media.send_digit(digit, transaction, ok) {
                    Ok(()) => None,
                    Err(Away) => Some(not_pressed(request)),
                }
            }
            Some(Pressed::Nothing) => Some(ok),
            Some(Pressed::Unsupported) => Some(not_pressed(request)),
            None => {
                let mut response = Response::to(request, Status::UNSUPPORTED_MEDIA_TYPE);
                response.headers.push(HeaderName::Accept, digit::CONTENT_TYPES);
                Some(response)
            }
        }
    }
}

/// The answer to a digit that goes nowhere.
fn not_pressed(request: &Request) -> Response {
    Response::to(request, Status::TEMPORARILY_UNAVAILABLE)
}

/// The 200 to a re-INVITE or an UPDATE.
fn accepted(
    request: &Request,
    contact: &NameAddr,
    timer: &SessionTimer,
    sdp: Option<&str>,
) -> Response {
    let mut response = Response::to(request, Status::OK);
    response.headers.push(HeaderName::Contact, contact);
    timer.confirm(&mut response);
    match sdp {
        Some(sdp) => response.with_body(SDP, sdp),
        None => response,
    }
}
