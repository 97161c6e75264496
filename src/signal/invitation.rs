//! What an INVITE that was let in leads to: who is to be asked, and the two legs. In: who calls, what was
//! dialled, the offer. Out: a caller's leg with its dialog and a callee's that has still to be asked; or
//! why there is no call.

use crate::base::opaque::opaque;
use crate::signal::exchange::Exchange;
use crate::signal::invite::Invite;
use crate::signal::leg::{Leg, LegMedia};
use crate::signal::peer::Peer;
use crate::signal::release::Release;
use crate::signal::routing::Destination;
use crate::sip::cause::Cause;
use crate::sip::dialog::Dialog;
use crate::wire::sip::{BadHeader, Status};

/// An INVITE that has been let in.
pub struct Invitation {
    /// The INVITE.
    pub invite: Invite,
    /// Who calls: an authenticated user, or a configured trunk.
    pub caller: Peer,
    /// The caller's number, whoever may see it.
    pub number: String,
    /// What was dialled.
    pub dialled: String,
    /// The media thread that it should be on: of two calls there one may be transferred to the other.
    pub thread: Option<usize>,
    /// Why there is no call, if that is known already.
    pub refusal: Option<Release>,
}

opaque!(Invitation);

/// Who is to be asked. A trunk's calls go to users only.
pub fn destination(caller: &Peer, dialled: &str, exchange: &Exchange) -> Result<Peer, Release> {
    let destination = match caller {
        Peer::User(_) => exchange.routes.of_browser_call(dialled),
        Peer::Trunk(_) => exchange.routes.user_dialled(dialled).map(Destination::User),
    };
    match destination {
        Some(Destination::Trunks(trunks)) => Ok(Peer::Trunk(trunks[0].name.clone())),
        Some(Destination::User(user)) => {
            if exchange.registrar.reachable(&user.name).next().is_none() {
                let (status, text) = (Status::TEMPORARILY_UNAVAILABLE, "the user has no browser");
                return Err(Release::new(status, Cause::NO_USER_RESPONDING, text));
            }
            Ok(Peer::User(user.name.clone()))
        }
        None => {
            let (status, text) = (Status::NOT_FOUND, "nobody has this number");
            Err(Release::new(status, Cause::UNALLOCATED_NUMBER, text))
        }
    }
}

/// Both legs, the caller's with its dialog.
pub fn legs(
    invite: &Invite,
    caller: Peer,
    callee: Peer,
    tag: &str,
    exchange: &mut Exchange,
) -> Result<(Leg, Leg), Release> {
    let request = &invite.request;
    let offer = request.sdp()?;
    let caller_media = LegMedia::of_caller(&caller, offer, &callee, exchange)?;
    let callee_media = LegMedia::of_callee(&callee, &caller, exchange);
    let contact = exchange.address.contact(invite.flow);
    let dialog = Dialog::from_invite(request, tag, contact)
        .map_err(|bad: BadHeader| Release::of_status(Status::BAD_REQUEST, bad.to_string()))?;
    let mut caller = Leg::new(caller, Some(invite.flow), caller_media);
    caller.dialog = Some(dialog);
    caller.timer = caller.timer_after(request, exchange)?;
    Ok((caller, Leg::new(callee, None, callee_media)))
}
