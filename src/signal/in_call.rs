//! Answers to requests inside a call: digits, signs of life, changes. A BYE is the call's own
//! matter; hold and other changes are refused, which leaves the call as it was (RFC 3261 §14.2).

use crate::control::message::{CallName, Side};
use crate::signal::digit::{self, Pressed};
use crate::signal::exchange::{ALLOW, Exchange, capabilities, not_allowed};
use crate::signal::leg::{Leg, LegMedia};
use crate::signal::release::Release;
use crate::wire::sip::{HeaderName, Method, Request, Response, SDP, Status};

/// Answers a request in the dialog of `leg`.
pub(super) fn answer(
    request: &Request,
    call: &CallName,
    side: Side,
    leg: &Leg,
    exchange: &mut Exchange,
) -> Response {
    match request.method {
        Method::Info => pressed(request, call, side, exchange),
        // JsSIP's session refresh.
        Method::Update if request.body.is_empty() => refreshed(request, leg, None),
        Method::Update | Method::Invite => offered_again(request, leg),
        Method::Options => capabilities(request),
        _ => not_allowed(request),
    }
}

/// A digit in INFO leaves by the other leg as an event.
fn pressed(request: &Request, call: &CallName, side: Side, exchange: &mut Exchange) -> Response {
    let media_type = request.headers.content_type().ok().flatten();
    match media_type.and_then(|kind| digit::read(&kind.media_type, &request.body)) {
        Some(Pressed::Digit(digit, time)) => {
            exchange.send_digit(call, side.other(), digit, time);
        }
        Some(Pressed::Unsupported) => {}
        None => {
            let mut response = Response::to(request, Status::UNSUPPORTED_MEDIA_TYPE);
            response.headers.push(HeaderName::Accept, digit::CONTENT_TYPES);
            return response;
        }
    }
    Response::to(request, Status::OK)
}

/// An offer inside the call. One that changes nothing is a sign of life and is answered with the SDP
/// that we gave before, version and all.
fn offered_again(request: &Request, leg: &Leg) -> Response {
    let is_refresh = match (&leg.media, request.sdp()) {
        (_, Err(no_sdp)) => return Release::from(no_sdp).response(request),
        (LegMedia::Trunk(media), Ok(Some(sdp))) => media.is_refreshed_by(sdp),
        // Without an offer, ours is the offer, and the ACK brings an answer that says what is known
        // already.
        (LegMedia::Trunk(_), Ok(None)) => true,
        (LegMedia::Browser(_), Ok(_)) => false,
    };
    if is_refresh {
        return refreshed(request, leg, leg.media.description());
    }
    let text = "the call cannot be changed";
    Release::of_status(Status::NOT_ACCEPTABLE_HERE, text).response(request)
}

fn refreshed(request: &Request, leg: &Leg, sdp: Option<&str>) -> Response {
    let mut response = Response::to(request, Status::OK);
    if let Some(dialog) = &leg.dialog {
        response.headers.push(HeaderName::Contact, &dialog.contact);
    }
    response.headers.push(HeaderName::Allow, ALLOW);
    match sdp {
        Some(sdp) => response.with_body(SDP, sdp),
        None => response,
    }
}
