//! THE CALL LINE: one call from the INVITE to its record, top to bottom.
//!
//! ```text
//!     caller                       us                    media               callee
//!       │──── 1. INVITE ───────────►│                      │                   │
//!       │                           │──── create_call ────►│                   │
//!       │                           │◄─── 2. addresses ────│                   │
//!       │                           │──── INVITE, our offer ──────────────────►│
//!       │◄─── 180, or 183 + SDP ────│◄─── 3. 180, or 183 + SDP ────────────────│
//!       │                           │◄─── 4. 200 + SDP ────────────────────────│
//!       │◄─── 200, our answer ──────│──── ACK ────────────────────────────────►│
//!       │──── 5. ACK ──────────────►│                      │                   │
//!       │ ═══ 6. checks, DTLS ═════►│◄════ punted ═════════│                   │
//!       │                           │──── update_leg ─────►│                   │
//!       │ ◄══════════ 7. audio ═══════════════════════════►│ ◄═══════════════► │
//!       │──── 8. BYE ──────────────►│──── BYE ────────────────────────────────►│
//!       │                           │──── delete_call ────►│                   │
//!       │                           │◄─── 9. statistics ───│     record        │
//! ```
//!
//! The caller is leg A and the callee leg B, whichever of them is a browser: what differs between
//! browser and trunk is in [`super::leg`], [`super::browser`] and [`super::trunk`]. A caller's call
//! is put to a user's browsers all at once, or to the trunks one after the other
//! ([`super::attempt`]). Whatever goes wrong ends in [`Call::end`].
//!
//! In: SIP messages, the media process's reports, time. Out: through the [`Exchange`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{debug, info, warn};

use crate::control::message::{
    CallCreated, CallName, CallStatistics, ControlError, CreateCall, ErrorCode, Side,
};
use crate::signal::attempt::{Attempt, AttemptState, MAX_FORWARDS, Question};
use crate::signal::browser::{BrowserMedia, Outcome, Wish};
use crate::signal::digit::{self, Pressed};
use crate::signal::directory::{Key, Part};
use crate::signal::exchange::{ALLOW, Exchange, Output, PRODUCT, SDP, capabilities, not_allowed};
use crate::signal::leg::{Farewell, Leg, LegChange, LegMedia, Peer};
use crate::signal::records::{CallRecord, Direction, Party};
use crate::signal::recovery;
use crate::signal::registrar::same_contact;
use crate::signal::release::Release;
use crate::signal::routing::Destination;
use crate::signal::trunk::TrunkMedia;
use crate::sip::cause::Cause;
use crate::sip::dialog::{Dialog, DialogId, DialogRefusal};
use crate::sip::transaction::{Failure, Flow, RETRY_AFTER_S, ServerTransactionId};
use crate::wire::sip::{HeaderName, Headers, Method, Reason, Request, Response, Status, Uri};

/// For media to answer `create_call`; it takes microseconds.
const RESERVING_MAX: Duration = Duration::from_secs(5);
/// For somebody to answer, from the first INVITE on, all trunks together. Below the three minutes
/// after which proxies give up (timer C, RFC 3261 §16.6).
const ASKING_MAX: Duration = Duration::from_secs(120);
/// For ICE and DTLS, after the answer.
const CONNECTING_MAX: Duration = Duration::from_secs(15);
/// For the last messages of a call: the longest transaction, and a browser that comes back for its
/// BYE.
const ENDING_MAX: Duration = Duration::from_secs(70);

/// One call.
pub struct Call {
    /// Its name in the media process, in the log and in the record.
    pub name: CallName,
    /// How far it is.
    pub stage: Stage,
    /// What will be written down about it.
    pub record: CallRecord,
    /// Leg A: who asked for the call.
    pub caller: Leg,
    /// Leg B: who took it, or is asked to.
    pub callee: Leg,
    /// The caller's INVITE, until it is acknowledged.
    pub invite: Option<Invite>,
    /// Everybody asked so far, in order.
    pub attempts: Vec<Attempt>,
    /// When the stage has lasted too long.
    deadline: Option<Instant>,
    /// The last provisional response given to the caller.
    told: Option<Status>,
    /// Whether the caller has our SDP.
    described: bool,
    /// Why the call ends.
    release: Option<Release>,
    /// Whether media holds the call, as far as we know.
    is_in_media: bool,
    /// Whether the record has been written.
    is_recorded: bool,
}

/// The stages, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Media is making both legs.
    Reserving,
    /// The callee is asked and perhaps rings.
    Asking,
    /// The callee has answered; ICE and DTLS are on their way.
    Connecting,
    /// Both legs are open.
    Talking,
    /// It is over; the last messages are on their way.
    Ending,
}

/// The caller's INVITE.
pub struct Invite {
    /// Its transaction.
    pub transaction: ServerTransactionId,
    /// As it came.
    pub request: Request,
    /// Where it came from.
    pub flow: Flow,
    /// Whether its final response is out.
    pub answered: bool,
}

/// An INVITE that has been let in.
pub struct Invitation {
    /// Its transaction.
    pub transaction: ServerTransactionId,
    /// As it came.
    pub request: Request,
    /// Where it came from.
    pub flow: Flow,
    /// Who calls: an authenticated user, or a configured trunk.
    pub caller: Peer,
    /// The caller's number as the callee is to see it.
    pub number: String,
    /// What was dialled.
    pub dialled: String,
}

// 1. An INVITE comes.

impl Call {
    /// Takes an INVITE: routes it, reads its offer, asks media for both legs. A call that comes to
    /// nothing has been answered already and leaves its record.
    pub fn invited(
        invitation: Invitation,
        exchange: &mut Exchange,
        now: Instant,
    ) -> Result<Self, Box<CallRecord>> {
        let name = exchange.new_token();
        let direction = match &invitation.caller {
            Peer::Trunk(_) => Direction::FromTrunk,
            Peer::User(_) => Direction::ToTrunk,
        };
        let mut record = CallRecord::new(
            &name,
            direction,
            (&invitation.number, &invitation.dialled),
            exchange.wall_time(now),
        );
        let (transaction, request) = (invitation.transaction, invitation.request.clone());
        match Self::set_up(name, &mut record, invitation, exchange, now) {
            Ok(call) => Ok(call),
            Err(release) => {
                exchange.transactions.respond(transaction, release.response(&request), now);
                record.end(Party::Linecard, &release, exchange.wall_time(now));
                Err(Box::new(record))
            }
        }
    }

    fn set_up(
        name: CallName,
        record: &mut CallRecord,
        invitation: Invitation,
        exchange: &mut Exchange,
        now: Instant,
    ) -> Result<Self, Release> {
        let Invitation { transaction, request, flow, caller, dialled, .. } = invitation;
        let destination = destination(&caller, &dialled, exchange)?;
        let (callee, wish) = match destination {
            Destination::User(user) => {
                if matches!(caller, Peer::User(_)) {
                    record.direction = Direction::Internal;
                }
                (Peer::User(user.name.clone()), Wish::Fullband)
            }
            Destination::Trunks(trunks) => (Peer::Trunk(trunks[0].name.clone()), Wish::Narrowband),
        };
        // What a browser is asked to send depends on what its other leg can carry.
        let wish_of = |other: &Peer| match other {
            Peer::User(_) => wish,
            Peer::Trunk(_) => Wish::Narrowband,
        };

        let offer = sdp_of(&request.headers, &request.body)?;
        let random = &mut exchange.random;
        let caller_media = match (&caller, offer) {
            (Peer::User(_), Some(offer)) => {
                LegMedia::Browser(Box::new(BrowserMedia::offered(offer, wish_of(&callee), random)?))
            }
            (Peer::User(_), None) => {
                let text = "a browser's INVITE without an offer";
                return Err(Release::of_status(Status::NOT_ACCEPTABLE_HERE, text));
            }
            (Peer::Trunk(trunk), offer) => {
                let codecs = exchange.routes.codecs_of(trunk);
                LegMedia::Trunk(Box::new(match offer {
                    Some(offer) => TrunkMedia::offered(offer, codecs, random)?,
                    None => TrunkMedia::offering(codecs, random),
                }))
            }
        };
        let callee_media = match &callee {
            Peer::User(_) => {
                LegMedia::Browser(Box::new(BrowserMedia::offering(wish_of(&caller), random)))
            }
            Peer::Trunk(trunk) => {
                let codecs = exchange.routes.codecs_of(trunk);
                LegMedia::Trunk(Box::new(TrunkMedia::offering(codecs, random)))
            }
        };

        let tag = exchange.new_token();
        let contact = exchange.address.contact(flow);
        let bad_header = |bad: crate::wire::sip::BadHeader| {
            Release::of_status(Status::BAD_REQUEST, bad.to_string())
        };
        let mut caller = Leg::new(caller, Some(flow), caller_media);
        caller.dialog = Some(Dialog::from_invite(&request, &tag, contact).map_err(bad_header)?);

        let mut call = Self {
            stage: Stage::Reserving,
            record: record.clone(),
            caller,
            callee: Leg::new(callee, None, callee_media),
            invite: Some(Invite { transaction, request, flow, answered: false }),
            attempts: Vec::new(),
            deadline: Some(now + RESERVING_MAX),
            told: None,
            described: false,
            release: None,
            is_in_media: true,
            is_recorded: false,
            name,
        };
        let create = CreateCall {
            call: call.name.clone(),
            blob: recovery::blob_of(&call),
            a: call.caller.media.leg_parameters(),
            b: call.callee.media.leg_parameters(),
        };
        if exchange.media.create_call(create).is_err() {
            let text = "the media process is not there";
            return Err(Release::new(Status::SERVICE_UNAVAILABLE, Cause::TEMPORARY_FAILURE, text)
                .retry_after(RETRY_AFTER_S));
        }
        info!(call = call.name, direction = ?call.record.direction, "invited");
        call.enter_keys(exchange);
        exchange.directory.enter(Key::Server(transaction), &call.name, Part::Leg(Side::A));
        call.record.caller_codec = call.caller.media.codec();
        Ok(call)
    }

    /// Makes the call findable by its caller's dialog and by its browsers' checks.
    pub fn enter_keys(&self, exchange: &mut Exchange) {
        for side in Side::BOTH {
            let leg = self.leg(side);
            if let Some(dialog) = &leg.dialog {
                let tag = Key::Tag(dialog.id.local_tag.clone());
                exchange.directory.enter(tag, &self.name, Part::Leg(side));
            }
            if let Some(media) = leg.media.browser() {
                let fragment = Key::Fragment(media.local_ufrag().to_owned());
                exchange.directory.enter(fragment, &self.name, Part::Leg(side));
                if let (Some(thread), Some(address)) = (media.thread(), media.nominated()) {
                    let address = Key::Address(thread, address);
                    exchange.directory.enter(address, &self.name, Part::Leg(side));
                }
            }
        }
    }
}

impl Call {
    /// A call of our predecessor, talking as far as media is concerned.
    pub fn resumed(name: CallName, record: CallRecord, caller: Leg, callee: Leg) -> Self {
        Self {
            name,
            stage: Stage::Talking,
            record: CallRecord { recovered: true, ..record },
            caller,
            callee,
            invite: None,
            attempts: Vec::new(),
            deadline: None,
            told: None,
            described: true,
            release: None,
            is_in_media: true,
            is_recorded: false,
        }
    }
}

/// Where the call goes. A trunk's calls go to users only.
fn destination<'a>(
    caller: &Peer,
    dialled: &str,
    exchange: &'a Exchange,
) -> Result<Destination<'a>, Release> {
    let unknown =
        || Release::new(Status::NOT_FOUND, Cause::UNALLOCATED_NUMBER, "nobody has this number");
    let destination = match caller {
        Peer::User(_) => exchange.routes.of_browser_call(dialled).ok_or_else(unknown)?,
        Peer::Trunk(_) => {
            Destination::User(exchange.routes.user_dialled(dialled).ok_or_else(unknown)?)
        }
    };
    if let Destination::User(user) = destination
        && exchange.registrar.reachable(&user.name).next().is_none()
    {
        let text = "the user is not registered";
        let status = Status::TEMPORARILY_UNAVAILABLE;
        return Err(Release::new(status, Cause::NO_USER_RESPONDING, text));
    }
    Ok(destination)
}

// 2. Media has made both legs: our SDP can be written, and the callee is asked.

impl Call {
    /// Takes media's answer to `create_call`.
    pub fn reserved(
        &mut self,
        result: Result<CallCreated, ControlError>,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        let created = match result {
            Ok(created) => created,
            Err(error) => {
                self.is_in_media = false;
                return self.end(Party::Linecard, error.into(), None, exchange, now);
            }
        };
        if self.stage != Stage::Reserving {
            return; // The caller was faster; `delete_call` is on its way.
        }
        self.caller.media.reserved(&created, Side::A, &exchange.certificate);
        self.callee.media.reserved(&created, Side::B, &exchange.certificate);
        self.stage = Stage::Asking;
        self.deadline = Some(now + ASKING_MAX);
        match self.callee.peer.clone() {
            Peer::User(user) => self.ask_browsers(&user, exchange, now),
            Peer::Trunk(_) => self.ask_next_trunk(exchange, now),
        }
        if self.is_nobody_asked() {
            let text = "nobody could be asked";
            let status = Status::TEMPORARILY_UNAVAILABLE;
            let release = Release::new(status, Cause::NO_USER_RESPONDING, text);
            self.end(Party::Linecard, release, None, exchange, now);
        }
    }

    /// Rings every browser of a user with the same offer; the first to answer wins.
    fn ask_browsers(&mut self, user: &str, exchange: &mut Exchange, now: Instant) {
        let contacts: Vec<_> = exchange
            .registrar
            .reachable(user)
            .filter_map(|(binding, flow)| Some((binding.contact.uri.parse().ok()?, flow)))
            .collect();
        for (contact, flow) in contacts {
            let to = exchange.address.user(user);
            self.ask(self.callee.peer.clone(), Flow::Web(flow.0), contact, to, exchange, now);
        }
    }

    /// Asks the next trunk in configuration order. There is none: nobody is asked.
    fn ask_next_trunk(&mut self, exchange: &mut Exchange, now: Instant) {
        let Some(trunk) = exchange.routes.trunk(self.attempts.len()).cloned() else { return };
        if let (LegMedia::Trunk(media), true) = (&mut self.callee.media, !self.attempts.is_empty())
        {
            media.offer_again(&trunk.codecs, &mut exchange.random);
        }
        info!(call = self.name, trunk = trunk.name, "asking the trunk");
        self.record.trunk = Some(trunk.name.clone());
        self.callee.peer = Peer::Trunk(trunk.name);
        let (host, port) = (trunk.address.ip().into(), trunk.address.port());
        let target = Uri::sip(Some(&self.record.to), host, Some(port));
        let (peer, flow) = (self.callee.peer.clone(), Flow::Udp(trunk.address));
        self.ask(peer, flow, target.clone(), target, exchange, now);
    }

    fn ask(
        &mut self,
        peer: Peer,
        flow: Flow,
        target: Uri,
        to: Uri,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        let Some(offer) = self.callee.media.description() else { return };
        let received = self.invite.as_ref().map(|invite| invite.request.headers.max_forwards());
        let max_forwards = received.and_then(|read| read.ok().flatten()).unwrap_or(MAX_FORWARDS);
        let question = Question {
            call: &self.name,
            number: self.attempts.len(),
            peer,
            flow,
            target,
            to,
            from: exchange.address.user(&self.record.from),
            max_forwards: max_forwards.saturating_sub(1),
            offer,
        };
        let attempt = Attempt::ask(question, exchange, now);
        self.attempts.push(attempt);
    }

    fn is_nobody_asked(&self) -> bool {
        self.attempts.iter().all(|attempt| attempt.state != AttemptState::Asked)
    }
}

// 3. The callee rings, or lets us hear something already.

impl Call {
    /// Takes a response to one of our INVITEs.
    pub fn callee_responded(
        &mut self,
        number: usize,
        response: &Response,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        match response.status {
            status if status.is_provisional() => {
                self.callee_proceeding(number, response, exchange, now);
            }
            status if status.is_success() => self.callee_answered(number, response, exchange, now),
            _ => self.callee_refused(number, Release::by_callee(response), exchange, now),
        }
    }

    fn callee_proceeding(
        &mut self,
        number: usize,
        response: &Response,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        let Some(attempt) = self.attempts.get_mut(number) else { return };
        let began_a_dialog = attempt.proceeding(response);
        if self.stage != Stage::Asking || attempt.state != AttemptState::Asked {
            return;
        }
        // Early media. A browser has none before it answers; of a trunk's several early dialogs the
        // newest is heard.
        let sdp = sdp_of(&response.headers, &response.body).ok().flatten();
        let is_early_media = match (&mut self.callee.media, sdp) {
            (LegMedia::Trunk(media), Some(sdp)) => match media.answered(sdp) {
                Ok(change) => {
                    exchange.change_leg(&self.name, Side::B, change);
                    true
                }
                Err(refusal) => {
                    debug!(call = self.name, %refusal, "early SDP is left out");
                    false
                }
            },
            _ => false,
        };
        if began_a_dialog {
            self.park(exchange);
        }
        match response.status {
            status @ (Status::RINGING | Status::SESSION_PROGRESS) => {
                let since = exchange.wall_time(now).since(self.record.started);
                self.record.set_up.ringing_ms.get_or_insert(since);
                self.tell_caller_provisional(status, is_early_media, exchange, now);
            }
            _ if is_early_media => {
                self.tell_caller_provisional(Status::SESSION_PROGRESS, true, exchange, now);
            }
            _ => {}
        }
    }

    /// Passes a provisional response on, under our own tag. The caller hears each kind once, and
    /// our SDP once: a browser fails on a second answer.
    fn tell_caller_provisional(
        &mut self,
        status: Status,
        is_early_media: bool,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        // A caller who made no offer would find an offer in it, which only a reliable provisional
        // response may carry (RFC 3262 §5).
        let describe = is_early_media && !self.described && !self.is_late_offer();
        if self.told == Some(status) && !describe {
            return;
        }
        info!(call = self.name, %status, early_media = describe, "proceeding");
        self.told = Some(status);
        self.described |= describe;
        self.tell_caller(
            status,
            if describe { Body::Description } else { Body::None },
            exchange,
            now,
        );
    }

    fn tell_caller(&mut self, status: Status, body: Body, exchange: &mut Exchange, now: Instant) {
        let (Some(invite), Some(dialog)) = (&mut self.invite, &self.caller.dialog) else { return };
        let mut response = Response::to(&invite.request, status);
        // The INVITE's fields were read when the dialog was made of them.
        if dialog.complete(&invite.request, &mut response).is_err() {
            return;
        }
        response.headers.push(HeaderName::Server, PRODUCT);
        response.headers.push(HeaderName::Allow, ALLOW);
        if let (Body::Description, Some(sdp)) = (body, self.caller.media.description()) {
            response = response.with_body(SDP, sdp);
        }
        invite.answered = status.is_final();
        exchange.transactions.respond(invite.transaction, response, now);
    }

    fn is_late_offer(&self) -> bool {
        self.invite.as_ref().is_some_and(|invite| invite.request.body.is_empty())
    }

    // Instead of ringing: refusal, silence.

    /// One of our INVITEs got no (further) response.
    pub fn callee_failed(
        &mut self,
        number: usize,
        failure: Failure,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        let release = match failure {
            Failure::Timeout => silent(),
            Failure::Transport => {
                let status = match &self.callee.peer {
                    Peer::User(_) => Status::TEMPORARILY_UNAVAILABLE,
                    Peer::Trunk(_) => Status::SERVICE_UNAVAILABLE,
                };
                Release::of_status(status, "the callee cannot be reached")
            }
        };
        self.callee_refused(number, release, exchange, now);
    }

    /// Somebody does not take the call: another one may.
    fn callee_refused(
        &mut self,
        number: usize,
        release: Release,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        let Some(attempt) = self.attempts.get_mut(number) else { return };
        let was = std::mem::replace(&mut attempt.state, AttemptState::Over);
        attempt.silent_until = None;
        if self.stage != Stage::Asking || was != AttemptState::Asked {
            return;
        }
        info!(call = self.name, status = %release.status, "refused by one who was asked");
        match &self.callee.peer {
            Peer::Trunk(_) => {
                if is_worth_another_trunk(release.status) {
                    self.ask_next_trunk(exchange, now);
                }
                if self.is_nobody_asked() {
                    self.end(Party::Callee, release, None, exchange, now);
                }
            }
            Peer::User(_) => {
                // A 6xx speaks for all of the user's browsers (RFC 3261 §16.7 step 5).
                let is_global = release.status >= Status::BUSY_EVERYWHERE;
                if self.release.as_ref().is_none_or(|best| is_better(release.status, best.status)) {
                    self.release = Some(release.clone());
                }
                if is_global || self.is_nobody_asked() {
                    let release = self.release.take().unwrap_or(release);
                    self.end(Party::Callee, release, None, exchange, now);
                }
            }
        }
    }

    /// A trunk has said nothing at all: it is given up for the next one.
    fn trunk_silent(&mut self, number: usize, exchange: &mut Exchange, now: Instant) {
        let Some(attempt) = self.attempts.get_mut(number) else { return };
        warn!(call = self.name, trunk = self.record.trunk, "the trunk is silent");
        attempt.give_up(&Cause::RECOVERY_ON_TIMER.reason(), exchange, now);
        self.ask_next_trunk(exchange, now);
        if self.is_nobody_asked() {
            self.end(Party::Linecard, silent(), None, exchange, now);
        }
    }
}

/// What goes into a response to the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Description,
}

/// Nobody said anything (RFC 3398 §8.2.6.1: recovery on timer expiry).
fn silent() -> Release {
    Release::new(Status::SERVER_TIMEOUT, Cause::RECOVERY_ON_TIMER, "the callee is silent")
}

/// Statuses that speak of the trunk, not of whom it was to reach.
fn is_worth_another_trunk(status: Status) -> bool {
    matches!(
        status,
        Status::SERVICE_UNAVAILABLE
            | Status::SERVER_INTERNAL_ERROR
            | Status::REQUEST_TIMEOUT
            | Status::SERVER_TIMEOUT
    )
}

/// Of several browsers' refusals: a person's decision before a machine's, else the lower class
/// (RFC 3261 §16.7 step 6).
fn is_better(status: Status, than: Status) -> bool {
    let rank = |status: Status| match status {
        Status::DECLINE | Status::BUSY_EVERYWHERE => 0,
        Status::BUSY_HERE => 1,
        other => u16::from(other),
    };
    rank(status) < rank(than)
}

// 4. The callee answers.

impl Call {
    fn callee_answered(
        &mut self,
        number: usize,
        response: &Response,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        let Some(attempt) = self.attempts.get_mut(number) else { return };
        attempt.silent_until = None;
        let Some(dialog) = attempt.dialog_of(response) else {
            // Without a Contact or a tag there is nobody to acknowledge.
            let release = Release::of_status(Status::BAD_GATEWAY, "a 200 that makes no dialog");
            return self.callee_refused(number, release, exchange, now);
        };
        let is_ours = self.callee.dialog.as_ref().is_some_and(|ours| ours.id == dialog.id);
        match (self.stage, attempt.state) {
            (Stage::Asking, AttemptState::Asked) => {}
            (_, AttemptState::Answered) if is_ours => {
                return attempt.acknowledge(&dialog, exchange); // Repeated: our ACK was lost.
            }
            (_, AttemptState::Over) => return attempt.acknowledge(&dialog, exchange),
            (_, state) => {
                // It crossed our CANCEL, or a trunk forked and two of them answered.
                let release = self.release.clone().unwrap_or_else(answered_elsewhere);
                attempt.acknowledge_and_hang_up(dialog, &release, exchange, now);
                if state != AttemptState::Answered {
                    attempt.state = AttemptState::Over;
                }
                return;
            }
        }

        attempt.acknowledge(&dialog, exchange);
        attempt.state = AttemptState::Answered;
        self.callee.flow = Some(attempt.flow);
        self.callee.peer = attempt.peer.clone();
        self.callee.dialog = Some(dialog);
        let elsewhere = Reason {
            protocol: "SIP".to_owned(),
            cause: Some(200),
            text: Some("Call completed elsewhere".to_owned()),
        };
        for (other, attempt) in self.attempts.iter_mut().enumerate() {
            if other != number {
                attempt.give_up(&elsewhere, exchange, now);
            }
        }

        let answer = match sdp_of(&response.headers, &response.body) {
            Ok(Some(sdp)) => self.callee.media.answered(sdp).map_err(Release::from),
            // It was in the 183 already.
            Ok(None) if self.callee.media.codec().is_some() => Ok(Default::default()),
            Ok(None) => Err(Release::of_status(Status::NOT_ACCEPTABLE_HERE, "a 200 without SDP")),
            Err(release) => Err(release),
        };
        match answer {
            Ok(change) => exchange.change_leg(&self.name, Side::B, change),
            Err(release) => return self.end(Party::Linecard, release, None, exchange, now),
        }

        let answered = exchange.wall_time(now);
        self.record.answered = Some(answered);
        self.record.set_up.answered_ms = Some(answered.since(self.record.started));
        self.record.callee_codec = self.callee.media.codec();
        info!(call = self.name, "answered");
        self.tell_caller(Status::OK, Body::Description, exchange, now);
        self.described = true;
        self.stage = Stage::Connecting;
        self.deadline = Some(now + CONNECTING_MAX);
        self.talk_if_open(exchange, now);
        self.park(exchange);
    }
}

fn answered_elsewhere() -> Release {
    Release::new(Status::OK, Cause::NORMAL_CLEARING, "answered elsewhere")
}

// 5. The caller acknowledges.

impl Call {
    /// The ACK to our 200. A caller who made no offer answers ours in it.
    pub fn acknowledged(&mut self, ack: &Request, exchange: &mut Exchange, now: Instant) {
        let is_late_offer = self.is_late_offer();
        if self.invite.take_if(|invite| invite.answered).is_none() {
            return; // A re-INVITE's.
        }
        if self.caller.farewell == Farewell::AwaitsAcknowledgement {
            return self.say_bye(Side::A, exchange, now);
        }
        if !is_late_offer {
            return;
        }
        let answer = match sdp_of(&ack.headers, &ack.body) {
            Ok(Some(sdp)) => self.caller.media.answered(sdp).map_err(Release::from),
            Ok(None) => {
                Err(Release::of_status(Status::NOT_ACCEPTABLE_HERE, "an ACK without its answer"))
            }
            Err(release) => Err(release),
        };
        match answer {
            Ok(change) => {
                exchange.change_leg(&self.name, Side::A, change);
                self.record.caller_codec = self.caller.media.codec();
                self.park(exchange);
            }
            Err(release) => self.end(Party::Linecard, release, None, exchange, now),
        }
    }

    /// Our 200 was never acknowledged: the caller is not there any more.
    pub fn unacknowledged(&mut self, exchange: &mut Exchange, now: Instant) {
        self.invite = None;
        let text = "the caller never acknowledged our 200";
        let release = Release::new(Status::REQUEST_TIMEOUT, Cause::RECOVERY_ON_TIMER, text);
        match self.stage {
            Stage::Ending => self.say_bye(Side::A, exchange, now),
            _ => self.end(Party::Linecard, release, None, exchange, now),
        }
    }
}

// 6. The browsers' checks and handshakes, punted by media.

impl Call {
    /// A check whose USERNAME names a leg.
    pub fn checked(
        &mut self,
        side: Side,
        datagram: &[u8],
        from: SocketAddr,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        let certificate = exchange.certificate.clone();
        let Some(media) = self.leg_mut(side).media.browser_mut() else { return };
        match media.handle_check(datagram, from, &certificate, now) {
            Ok(outcomes) => self.carry_out(side, outcomes, exchange, now),
            Err(reason) => debug!(call = self.name, reason = reason.name(), "a check is discarded"),
        }
    }

    /// A DTLS datagram from an address that passed a check of this leg.
    pub fn handshaken(
        &mut self,
        side: Side,
        datagram: &[u8],
        from: SocketAddr,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        let certificate = exchange.certificate.clone();
        let Some(media) = self.leg_mut(side).media.browser_mut() else { return };
        let outcomes = media.handle_dtls(datagram, from, &certificate, now);
        self.carry_out(side, outcomes, exchange, now);
    }

    fn carry_out(
        &mut self,
        side: Side,
        outcomes: Vec<Outcome>,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        let Some(thread) = self.leg(side).media.browser().and_then(BrowserMedia::thread) else {
            return;
        };
        let since_started = exchange.wall_time(now).since(self.record.started);
        for outcome in outcomes {
            match outcome {
                Outcome::Send { to, datagram } => exchange.send_datagram(thread, to, &datagram),
                Outcome::Validated(address) => {
                    let address = Key::Address(thread, address);
                    exchange.directory.enter(address, &self.name, Part::Leg(side));
                }
                Outcome::Nominated(change) => {
                    exchange.change_leg(&self.name, side, change);
                    if self.stage == Stage::Talking {
                        info!(call = self.name, leg = ?side, "the browser moved");
                        self.park(exchange);
                    } else {
                        self.record.set_up.nominated_ms = Some(since_started);
                    }
                }
                Outcome::Secured(change) => {
                    info!(call = self.name, leg = ?side, "secured");
                    exchange.change_leg(&self.name, side, change);
                    self.record.set_up.secured_ms = Some(since_started);
                    self.talk_if_open(exchange, now);
                }
                Outcome::Failed(reason) => {
                    // It ends nothing by itself: whoever got in between cannot end the call.
                    warn!(call = self.name, leg = ?side, reason, "the DTLS handshake failed");
                }
            }
        }
    }

    fn talk_if_open(&mut self, exchange: &mut Exchange, _now: Instant) {
        let is_open = self.caller.media.is_open() && self.callee.media.is_open();
        if self.stage == Stage::Connecting && is_open {
            info!(call = self.name, "talking");
            self.stage = Stage::Talking;
            self.deadline = None;
            self.park(exchange);
        }
    }

    /// Tells media what our successor would have to know.
    fn park(&self, exchange: &mut Exchange) {
        if self.stage != Stage::Ending {
            exchange.park(&self.name, recovery::blob_of(self));
        }
    }
}

// 7. Requests inside the call.

impl Call {
    /// A request of the far end in the dialog of a leg, BYE included.
    pub fn requested(
        &mut self,
        side: Side,
        transaction: ServerTransactionId,
        request: &Request,
        flow: Flow,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        let respond = |response: Response, exchange: &mut Exchange| {
            exchange.transactions.respond(transaction, response, now);
        };
        let leg = self.leg_mut(side);
        let id = DialogId::of_request(&request.headers);
        let Some(dialog) = leg.dialog.as_mut().filter(|dialog| Some(&dialog.id) == id.as_ref())
        else {
            return respond(Response::to(request, Status::CALL_DOES_NOT_EXIST), exchange);
        };
        match dialog.absorb_request(request) {
            Ok(()) => {}
            Err(DialogRefusal::OutOfOrder) => {
                return respond(Response::to(request, Status::SERVER_INTERNAL_ERROR), exchange);
            }
            Err(DialogRefusal::BadHeader(_)) => {
                return respond(Response::to(request, Status::BAD_REQUEST), exchange);
            }
        }
        // A browser may be back on another connection before it has registered there.
        if let Flow::Web(_) = flow {
            leg.flow = Some(flow);
        }
        match request.method {
            Method::Bye => {
                respond(Response::to(request, Status::OK), exchange);
                let release = Release::hung_up(&request.headers);
                self.end(side.into(), release, Some(side), exchange, now);
            }
            Method::Info => respond(self.pressed(side, request, exchange), exchange),
            Method::Update if request.body.is_empty() => {
                respond(self.refreshed(side, request, Body::None), exchange);
            }
            Method::Update | Method::Invite => {
                let response = self.offered_again(side, request);
                if request.method == Method::Invite && response.status.is_success() {
                    let key = Key::Server(transaction);
                    exchange.directory.enter(key, &self.name, Part::Leg(side));
                }
                respond(response, exchange);
            }
            Method::Options => respond(capabilities(request), exchange),
            _ => respond(not_allowed(request), exchange),
        }
    }

    /// A digit in INFO leaves by the other leg as an event.
    fn pressed(&mut self, side: Side, request: &Request, exchange: &mut Exchange) -> Response {
        let media_type = request.headers.content_type().ok().flatten();
        let pressed = media_type.and_then(|kind| digit::read(&kind.media_type, &request.body));
        match pressed {
            Some(Pressed::Digit(digit, duration_ms)) => {
                exchange.send_digit(&self.name, side.other(), digit, duration_ms);
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

    /// An offer inside the call. One that changes nothing is a sign of life and is answered with the
    /// SDP we gave before, version and all; any other is refused, which leaves the call as it was
    /// (RFC 3261 §14.2).
    fn offered_again(&mut self, side: Side, request: &Request) -> Response {
        if self.stage != Stage::Talking {
            return Response::to(request, Status::REQUEST_PENDING);
        }
        let is_refresh = match (&self.leg(side).media, sdp_of(&request.headers, &request.body)) {
            (_, Err(release)) => return release.response(request),
            (LegMedia::Trunk(media), Ok(Some(sdp))) => media.is_refreshed_by(sdp),
            // Without an offer, ours is the offer, and the ACK brings an answer that says what is
            // known already.
            (LegMedia::Trunk(_), Ok(None)) => true,
            (LegMedia::Browser(_), Ok(_)) => false,
        };
        match is_refresh {
            true => self.refreshed(side, request, Body::Description),
            false => {
                let text = "the call cannot be changed";
                Release::of_status(Status::NOT_ACCEPTABLE_HERE, text).response(request)
            }
        }
    }

    fn refreshed(&self, side: Side, request: &Request, body: Body) -> Response {
        let leg = self.leg(side);
        let mut response = Response::to(request, Status::OK);
        if let Some(dialog) = &leg.dialog {
            response.headers.push(HeaderName::Contact, &dialog.contact);
        }
        response.headers.push(HeaderName::Allow, ALLOW);
        match (body, leg.media.description()) {
            (Body::Description, Some(sdp)) => response.with_body(SDP, sdp),
            _ => response,
        }
    }

    /// A leg's first packet was accepted.
    pub fn media_started(&mut self, side: Side, exchange: &Exchange, now: Instant) {
        let since_started = exchange.wall_time(now).since(self.record.started);
        let set_up = &mut self.record.set_up;
        match side {
            Side::A => set_up.caller_media_ms.get_or_insert(since_started),
            Side::B => set_up.callee_media_ms.get_or_insert(since_started),
        };
    }
}

// 8. The call ends, at whatever stage it is.

impl Call {
    /// The caller cancelled its INVITE.
    pub fn cancelled(&mut self, reasons: &[Reason], exchange: &mut Exchange, now: Instant) {
        let q850 = reasons.iter().find(|reason| reason.protocol.eq_ignore_ascii_case("Q.850"));
        let cause = q850.and_then(|reason| u8::try_from(reason.cause?).ok()).map(Cause);
        let cause = cause.unwrap_or(Cause::NORMAL_CLEARING);
        let release = Release::new(Status::REQUEST_TERMINATED, cause, "cancelled");
        self.end(Party::Caller, release, None, exchange, now);
    }

    /// A browser's connection is gone. During a call it may come back; before, it is over.
    pub fn flow_closed(&mut self, flow: Flow, exchange: &mut Exchange, now: Instant) {
        for side in Side::BOTH {
            let leg = self.leg_mut(side);
            if leg.flow == Some(flow) {
                leg.flow = None;
                if leg.farewell == Farewell::AwaitsAcknowledgement {
                    // The ACK cannot come any more.
                    self.say_bye(side, exchange, now);
                }
            }
        }
        if self.caller.flow.is_none() {
            let was_answered = self.invite.take().is_none_or(|invite| invite.answered);
            if !was_answered && self.stage != Stage::Ending {
                let text = "the caller's connection is gone";
                let status = Status::REQUEST_TERMINATED;
                let release = Release::new(status, Cause::NORMAL_CLEARING, text);
                self.end(Party::Caller, release, None, exchange, now);
            }
        }
    }

    /// A user's browser is reached over another connection now: dialogs with that contact follow,
    /// and a BYE that waited goes out.
    pub fn rehomed(
        &mut self,
        user: &str,
        contact: &str,
        flow: Flow,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        for side in Side::BOTH {
            let leg = self.leg_mut(side);
            let is_theirs = leg.peer == Peer::User(user.to_owned())
                && leg
                    .dialog
                    .as_ref()
                    .is_some_and(|dialog| same_contact(&dialog.remote_target.to_string(), contact));
            if is_theirs && leg.flow != Some(flow) {
                leg.flow = Some(flow);
                if let Farewell::AwaitsFlow(_) = leg.farewell {
                    self.say_bye(side, exchange, now);
                }
            }
        }
    }

    /// A leg's browser has not sent an authenticated check for too long (RFC 7675 §5.1).
    pub fn consent_expired(&mut self, side: Side, exchange: &mut Exchange, now: Instant) {
        let text = "the browser is gone: no consent";
        let cause = Cause::DESTINATION_OUT_OF_ORDER;
        let release = Release::new(Status::REQUEST_TIMEOUT, cause, text);
        self.end(side.into(), release, None, exchange, now);
    }

    /// Media refused a change.
    pub fn media_refused(&mut self, error: ControlError, exchange: &mut Exchange, now: Instant) {
        match error.code {
            ErrorCode::UnknownCall => self.media_gone(exchange, now),
            ErrorCode::Unsupported => {
                self.end(Party::Linecard, error.into(), None, exchange, now);
            }
            code => warn!(call = self.name, ?code, error.message, "media refused a change"),
        }
    }

    /// Media was away and still holds the call: it hears again what it may have missed.
    pub fn media_back(&mut self, exchange: &mut Exchange) {
        for side in Side::BOTH {
            let remote = self.leg(side).media.browser().and_then(BrowserMedia::nominated);
            exchange.change_leg(&self.name, side, LegChange { remote, ..LegChange::default() });
        }
        self.park(exchange);
    }

    /// Media does not hold the call any more, or cannot be reached.
    pub fn media_gone(&mut self, exchange: &mut Exchange, now: Instant) {
        self.is_in_media = false;
        let text = "the media process is gone";
        let release = Release::new(Status::SERVICE_UNAVAILABLE, Cause::TEMPORARY_FAILURE, text)
            .retry_after(RETRY_AFTER_S);
        self.end(Party::Linecard, release, None, exchange, now);
    }

    /// Ends the call on both sides, in whatever way each side's stage wants it: a final response,
    /// a CANCEL, or a BYE. The side that has `left` needs nothing.
    pub fn end(
        &mut self,
        by: Party,
        release: Release,
        left: Option<Side>,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        if let Some(side) = left {
            self.leg_mut(side).dialog = None;
            self.leg_mut(side).farewell = Farewell::None;
        }
        if self.stage == Stage::Ending {
            return;
        }
        let (status, cause) = (release.status, release.cause.0);
        info!(call = self.name, ?by, %status, cause, text = release.text, "ended");
        self.stage = Stage::Ending;
        self.deadline = Some(now + ENDING_MAX);
        self.record.end(by, &release, exchange.wall_time(now));
        self.release = Some(release.clone());

        match &mut self.invite {
            Some(invite) if !invite.answered => {
                invite.answered = true;
                let mut response = release.response(&invite.request);
                if let Some(dialog) = self.caller.dialog.take() {
                    // The tag that the provisional responses had.
                    let _ = response.set_to_tag(&dialog.id.local_tag);
                }
                exchange.transactions.respond(invite.transaction, response, now);
                self.invite = None;
            }
            Some(_) if self.caller.dialog.is_some() => {
                self.caller.farewell = Farewell::AwaitsAcknowledgement;
            }
            _ => self.say_bye(Side::A, exchange, now),
        }
        for attempt in &mut self.attempts {
            attempt.give_up(&release.cause.reason(), exchange, now);
        }
        self.say_bye(Side::B, exchange, now);

        if !self.is_in_media || exchange.media.delete_call(&self.name).is_err() {
            self.deleted(None, exchange);
        }
    }

    fn say_bye(&mut self, side: Side, exchange: &mut Exchange, now: Instant) {
        let release = self.release.clone().unwrap_or_else(answered_elsewhere);
        let name = self.name.clone();
        self.leg_mut(side).say_bye(&name, side, &release, exchange, now);
    }

    /// Our BYE was answered, or nobody is there to answer it.
    pub fn bye_done(&mut self, side: Side) {
        self.leg_mut(side).farewell = Farewell::None;
    }

    // 9. Media has let go, and the record is written.

    /// The call is gone from media.
    pub fn deleted(&mut self, statistics: Option<Box<CallStatistics>>, exchange: &mut Exchange) {
        self.is_in_media = false;
        if !std::mem::replace(&mut self.is_recorded, true) {
            let record = CallRecord { statistics, ..self.record.clone() };
            exchange.outputs.push_back(Output::Record(Box::new(record)));
        }
    }

    /// Whether nothing is left to do for this call.
    pub fn is_over(&self) -> bool {
        let is_pending = |attempt: &Attempt| {
            matches!(attempt.state, AttemptState::Asked | AttemptState::GivenUp)
        };
        self.stage == Stage::Ending
            && !self.is_in_media
            && Side::BOTH.iter().all(|side| self.leg(*side).farewell == Farewell::None)
            && !self.attempts.iter().any(is_pending)
    }
}

// Time, and the two legs.

impl Call {
    /// When [`Self::handle_timeout`] has work.
    pub fn next_timeout(&self) -> Option<Instant> {
        let legs = Side::BOTH.iter().map(|side| self.leg(*side));
        let handshakes = legs.clone().filter_map(|leg| leg.media.browser()?.next_timeout());
        let farewells = legs.filter_map(Leg::next_timeout);
        let silences = self.attempts.iter().filter_map(|attempt| attempt.silent_until);
        handshakes.chain(farewells).chain(silences).chain(self.deadline).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, exchange: &mut Exchange, now: Instant) {
        for side in Side::BOTH {
            let leg = self.leg_mut(side);
            if leg.next_timeout().is_some_and(|at| at <= now) {
                leg.farewell = Farewell::None;
            }
            if let Some(media) = leg.media.browser_mut()
                && media.next_timeout().is_some_and(|at| at <= now)
            {
                let outcomes = media.handle_timeout(now);
                self.carry_out(side, outcomes, exchange, now);
            }
        }
        for number in 0..self.attempts.len() {
            if self.attempts[number].silent_until.is_some_and(|at| at <= now) {
                self.trunk_silent(number, exchange, now);
            }
        }
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.stage_overdue(exchange, now);
        }
    }

    fn stage_overdue(&mut self, exchange: &mut Exchange, now: Instant) {
        let release = match self.stage {
            Stage::Reserving => {
                let text = "the media process does not answer";
                Release::new(Status::SERVICE_UNAVAILABLE, Cause::TEMPORARY_FAILURE, text)
                    .retry_after(RETRY_AFTER_S)
            }
            Stage::Asking => {
                let text = "nobody answered";
                Release::new(Status::TEMPORARILY_UNAVAILABLE, Cause::NO_ANSWER, text)
            }
            Stage::Connecting => {
                let text = "ICE and DTLS were not done in time";
                Release::new(Status::REQUEST_TIMEOUT, Cause::RECOVERY_ON_TIMER, text)
            }
            Stage::Talking => return,
            Stage::Ending => {
                // Whoever has not answered by now is not there.
                self.attempts.clear();
                self.caller.farewell = Farewell::None;
                self.callee.farewell = Farewell::None;
                return self.deleted(None, exchange);
            }
        };
        self.end(Party::Linecard, release, None, exchange, now);
    }

    /// A leg.
    pub fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::A => &self.caller,
            Side::B => &self.callee,
        }
    }

    fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::A => &mut self.caller,
            Side::B => &mut self.callee,
        }
    }
}

/// The SDP of a message; `None` without a body.
fn sdp_of<'a>(headers: &Headers, body: &'a [u8]) -> Result<Option<&'a str>, Release> {
    if body.is_empty() {
        return Ok(None);
    }
    let media_type = headers.content_type().ok().flatten().map(|kind| kind.media_type);
    if !media_type.is_some_and(|kind| kind.eq_ignore_ascii_case(SDP)) {
        let text = "the body is not SDP";
        return Err(Release::new(
            Status::UNSUPPORTED_MEDIA_TYPE,
            Cause::SERVICE_NOT_IMPLEMENTED,
            text,
        ));
    }
    let text = std::str::from_utf8(body);
    text.map(Some).map_err(|_| Release::of_status(Status::BAD_REQUEST, "the SDP is not UTF-8"))
}
