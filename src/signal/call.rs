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
//!       │◄─── 200, our SDP ─────────│──── ACK ────────────────────────────────►│
//!       │──── 5. ACK ──────────────►│                      │                   │
//!       │ ═══ 6. checks, DTLS ═════►│◄════ punted ═════════│                   │
//!       │                           │──── update_leg ─────►│                   │
//!       │ ◄════════════ 7. audio ═════════════════════════►│ ◄════════════════►│
//!       │──── 8. BYE ──────────────►│──── BYE ────────────────────────────────►│
//!       │                           │──── delete_call ────►│                   │
//!       │                           │◄─── 9. statistics ───│                   │
//! ```
//!
//! The caller is leg A and the callee leg B, whichever of them is a browser. What differs between a
//! browser and a trunk is in [`super::leg`], [`super::browser`] and [`super::trunk`]; what the
//! caller has been told in [`super::invite`]; who is asked in [`super::attempts`]. Whatever goes
//! wrong, at any stage, ends in [`Call::end`].
//!
//! In: SIP messages, the media process's reports, time. Out: through the [`Exchange`].

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::control::message::{
    CallCreated, CallName, CallStatistics, ControlError, CreateCall, ErrorCode, LegChange, Side,
};
use crate::signal::attempt::{AttemptState, Noted, Proposal};
use crate::signal::attempts::{Attempts, is_worth_another_trunk, silent};
use crate::signal::blob;
use crate::signal::directory::{Key, Part};
use crate::signal::exchange::Exchange;
use crate::signal::invitation::{Invitation, destination, legs};
use crate::signal::invite::Invite;
use crate::signal::leg::{Farewell, Leg, LegMedia};
use crate::signal::negotiation::Negotiation;
use crate::signal::output::Output;
use crate::signal::peer::Peer;
use crate::signal::records::{CallRecord, Direction, Party};
use crate::signal::release::Release;
use crate::signal::stage::Stage;
use crate::signal::transferring::{Joined, Transfer};
use crate::sip::cause::Cause;
use crate::sip::transaction::{Failure, Flow, ServerTransactionId};
use crate::wire::sip::{Reason, Request, Response, Status};

/// For media to answer `create_call`; it takes microseconds.
const RESERVING_MAX: Duration = Duration::from_secs(5);
/// For somebody to answer, from the first INVITE on, all trunks together. Below the three minutes
/// after which proxies give up (timer C, RFC 3261 §16.6).
const ASKING_MAX: Duration = Duration::from_secs(120);
/// For ICE and DTLS, after the answer.
const CONNECTING_MAX: Duration = Duration::from_secs(15);
/// For the last messages of a call: the longest transaction, after waiting for a browser that comes
/// back for its BYE.
pub(super) const ENDING_MAX: Duration = Duration::from_secs(70);

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
    /// The caller's INVITE; `None` in a call that was picked up from our predecessor.
    pub invite: Option<Invite>,
    /// Everybody asked to take the call.
    pub attempts: Attempts,
    /// What it has to do with a transfer.
    pub transfer: Option<Transfer>,
    /// The record that came with a leg in a transfer.
    pub joined: Option<Box<Joined>>,
    /// Its media thread, once known, or the one that it has to be on.
    pub(super) thread: Option<usize>,
    /// When the stage has lasted too long.
    deadline: Option<Instant>,
    /// Why the call ends, once it does.
    release: Option<Release>,
    /// Whether media holds the call, as far as we know.
    pub(super) is_in_media: bool,
    /// Whether the record has been written.
    is_recorded: bool,
}

// 1. An INVITE comes: where does it go, and is there anything in its offer for us?

impl Call {
    /// Takes an INVITE and asks media for both legs. One that leads nowhere has been answered
    /// already and leaves its record.
    pub fn invited(
        invitation: Invitation,
        exchange: &mut Exchange,
    ) -> Result<Self, Box<CallRecord>> {
        let Invitation { mut invite, caller, number, dialled, refusal, thread } = invitation;
        let (name, tag) = (CallName::from(exchange.new_token()), exchange.new_token());
        let started = exchange.wall_time();
        let mut record = CallRecord::new(&name, &caller, &number, &dialled, started);
        record.shown_as.clone_from(&invite.shown.number);
        let callee = refusal.map_or_else(|| destination(&caller, &dialled, exchange), Err);
        record.direction = Direction::between(&caller, callee.as_ref().ok());
        let legs = callee.and_then(|callee| legs(&invite, caller, callee, &tag, exchange));
        let (caller, callee) = match legs {
            Ok(legs) => legs,
            Err(release) => {
                let (status, text) = (release.status, release.text.as_str());
                info!(call = &*name, direction = ?record.direction, %status, text, "refused");
                invite.refuse(&release, &tag, exchange);
                record.end(Party::Linecard, &release, exchange.wall_time());
                return Err(Box::new(record));
            }
        };
        info!(call = &*name, direction = ?record.direction, "invited");
        record.caller_codec = caller.media.codec();
        exchange.directory.enter(Key::Server(invite.transaction), &name, Part::Leg(Side::A));
        let mut call =
            Self { invite: Some(invite), thread, ..Self::resumed(name, record, caller, callee) };
        call.enter_keys(exchange);
        call.reserve(exchange);
        Ok(call)
    }

    /// A call of our predecessor, talking as far as media is concerned.
    pub fn resumed(name: CallName, record: CallRecord, caller: Leg, callee: Leg) -> Self {
        Self {
            name,
            stage: Stage::Talking,
            record,
            caller,
            callee,
            invite: None,
            attempts: Attempts::default(),
            transfer: None,
            joined: None,
            thread: None,
            deadline: None,
            release: None,
            is_in_media: true,
            is_recorded: false,
        }
    }

    /// Makes the call findable by its dialogs and by its browsers' checks.
    pub fn enter_keys(&self, exchange: &mut Exchange) {
        for side in Side::BOTH {
            let (leg, part) = (self.leg(side), Part::Leg(side));
            if let Some(dialog) = &leg.dialog {
                let tag = Key::Tag(dialog.id.local_tag.clone());
                exchange.directory.enter(tag, &self.name, part);
            }
            if let Some(media) = leg.media.browser() {
                let fragment = Key::Fragment(media.local_ufrag().to_owned());
                exchange.directory.enter(fragment, &self.name, part);
                if let (Some(thread), Some(address)) = (media.thread(), media.nominated()) {
                    exchange.directory.enter(Key::Address(thread, address), &self.name, part);
                }
            }
        }
    }

    pub(super) fn reserve(&mut self, exchange: &mut Exchange) {
        self.stage = Stage::Reserving;
        self.deadline = Some(exchange.now + RESERVING_MAX);
        let create = CreateCall {
            call: self.name.clone(),
            blob: self.blob(),
            a: self.caller.media.leg_parameters(),
            b: self.callee.media.leg_parameters(),
            thread: self.thread,
            orphan_ms: None,
        };
        if exchange.media.create_call(create).is_err() {
            self.is_in_media = false;
            let release = Release::media_absent("the media process is not there");
            self.end(Party::Linecard, release, None, exchange);
        }
    }
}

// 2. Media has made both legs: our SDP can be written, and the callee is asked.

impl Call {
    /// Takes media's answer to `create_call`.
    pub fn reserved(&mut self, result: Result<CallCreated, ControlError>, exchange: &mut Exchange) {
        let created = match result {
            Ok(created) => created,
            Err(error)
                if self.stage == Stage::Reserving
                    && self.transfer.is_none()
                    && self.thread.take().is_some() =>
            {
                // There was no room where it should have been.
                debug!(call = &*self.name, error.message, "on any thread then");
                return self.reserve(exchange);
            }
            Err(error) => {
                self.is_in_media = false;
                return self.end(Party::Linecard, error.into(), None, exchange);
            }
        };
        if self.stage != Stage::Reserving {
            return; // The caller gave up meanwhile; `delete_call` is on its way.
        }
        self.thread = Some(created.thread);
        self.caller.media.reserved(&created, Side::A, &exchange.certificate);
        self.callee.media.reserved(&created, Side::B, &exchange.certificate);
        self.stage = Stage::Asking;
        self.deadline = Some(exchange.now + ASKING_MAX);
        match &self.callee.peer {
            Peer::Trunk(_) => self.ask_next_trunk(exchange),
            Peer::User(user) => {
                if let Some(proposal) = &self.proposal() {
                    self.attempts.ask_browsers(user, proposal, exchange);
                }
            }
        }
        self.end_if_nobody_is_asked(exchange);
    }

    /// Asks the next trunk in configuration order, if there is one.
    fn ask_next_trunk(&mut self, exchange: &mut Exchange) {
        let Some(trunk) = self.attempts.next_trunk(exchange) else { return };
        let is_first = self.callee.peer == Peer::Trunk(trunk.name.clone());
        if let (LegMedia::Trunk(media), false) = (&mut self.callee.media, is_first) {
            media.offer_again(trunk.terms.clone(), &mut exchange.random);
        }
        info!(call = &*self.name, trunk = trunk.name, "asking the trunk");
        self.record.trunk = Some(trunk.name.clone());
        self.callee.peer = Peer::Trunk(trunk.name.clone());
        if let Some(proposal) = &self.proposal() {
            self.attempts.ask_trunk(&trunk, &self.record.to, proposal, exchange);
        }
    }

    fn proposal(&self) -> Option<Proposal> {
        let (from, max_forwards) = match (&self.invite, &self.transfer) {
            (Some(invite), _) => (invite.shown.clone(), invite.max_forwards()),
            (_, Some(Transfer::Asks { shown, max_forwards, .. })) => (shown.clone(), *max_forwards),
            _ => return None,
        };
        Some(Proposal {
            call: self.name.clone(),
            from,
            max_forwards,
            offer: self.callee.media.description()?.to_owned(),
        })
    }

    fn end_if_nobody_is_asked(&mut self, exchange: &mut Exchange) {
        if !self.attempts.is_somebody_asked() {
            let release = self.attempts.verdict();
            let by = if release == silent() { Party::Linecard } else { Party::Callee };
            self.end(by, release, None, exchange);
        }
    }
}

// 3. The callee rings, lets us hear something already, refuses, or says nothing.

impl Call {
    /// Takes a response to one of our INVITEs.
    pub fn callee_responded(
        &mut self,
        number: usize,
        response: &Response,
        exchange: &mut Exchange,
    ) {
        if response.status.is_provisional() {
            self.callee_proceeding(number, response, exchange);
        } else if response.status.is_success() {
            self.callee_answered(number, response, exchange);
        } else if !self.ask_again(number, response, exchange) {
            let release = Release::by_callee(response, &self.callee.peer);
            self.callee_refused(number, release, exchange);
        }
    }

    /// Asks once more with what the refusal says would do.
    fn ask_again(&mut self, number: usize, refusal: &Response, exchange: &mut Exchange) -> bool {
        let (stage, name) = (self.stage, &self.name);
        let attempt = self.attempts.get_mut(number).filter(|_| stage == Stage::Asking);
        attempt.is_some_and(|attempt| attempt.ask_again(number, refusal, name, exchange))
    }

    fn callee_proceeding(&mut self, number: usize, response: &Response, exchange: &mut Exchange) {
        let Some(attempt) = self.attempts.get_mut(number) else { return };
        let Some(noted) = attempt.proceeding(response, exchange) else { return };
        let trunk = attempt.peer.clone();
        if self.stage != Stage::Asking || attempt.state != AttemptState::Asked {
            return;
        }
        if noted == Noted::Dialog {
            self.park(exchange);
        }
        let mut is_early_media = self.take_early_media(response, exchange);
        if is_early_media {
            self.stop_ringing(exchange);
        } else if response.status == Status::RINGING {
            is_early_media = self.ring_back(&trunk, exchange);
        }
        let status = match response.status {
            status @ (Status::RINGING | Status::SESSION_PROGRESS) => status,
            _ if is_early_media => Status::SESSION_PROGRESS,
            _ => return,
        };
        self.record
            .set_up
            .ringing_ms
            .get_or_insert(exchange.wall_time().since(self.record.started));
        self.tell_ringing(status, exchange);
        let (Some(invite), Some(dialog)) = (&mut self.invite, &self.caller.dialog) else { return };
        let sdp = self.caller.media.description().filter(|_| is_early_media);
        if invite.proceed(status, sdp, dialog, exchange) {
            info!(call = &*self.name, %status, is_early_media, "proceeding");
        }
    }

    /// Early media comes from trunks: a browser has none before it answers. Of several early dialogs
    /// the newest is heard.
    fn take_early_media(&mut self, response: &Response, exchange: &mut Exchange) -> bool {
        let sdp = response.sdp().ok().flatten();
        let (LegMedia::Trunk(media), Some(sdp)) = (&mut self.callee.media, sdp) else {
            return false;
        };
        match media.answered_early(sdp) {
            Ok(change) => {
                self.change_leg(Side::B, change, exchange);
                true
            }
            Err(refusal) => {
                debug!(call = &*self.name, %refusal, "early SDP is left out");
                false
            }
        }
    }

    /// One of our INVITEs got no (further) response.
    pub fn callee_failed(&mut self, number: usize, failure: Failure, exchange: &mut Exchange) {
        let release = match (failure, &self.callee.peer) {
            (_, Peer::User(_)) => Release::new(
                Status::TEMPORARILY_UNAVAILABLE,
                Cause::NO_USER_RESPONDING,
                "the browser is gone",
            ),
            (Failure::Timeout, Peer::Trunk(_)) => silent(),
            (Failure::Transport, Peer::Trunk(_)) => {
                Release::of_status(Status::SERVICE_UNAVAILABLE, "the trunk cannot be reached")
            }
        };
        self.callee_refused(number, release, exchange);
    }

    /// Somebody does not take the call: another one may.
    fn callee_refused(&mut self, number: usize, release: Release, exchange: &mut Exchange) {
        if !self.attempts.refused(number, &release) || self.stage != Stage::Asking {
            return;
        }
        info!(call = &*self.name, status = %release.status, "refused by one who was asked");
        match &self.callee.peer {
            Peer::Trunk(trunk) => {
                exchange.trunk_health.refused(trunk, &release, exchange.now);
                if is_worth_another_trunk(release.status) {
                    self.ask_next_trunk(exchange);
                }
            }
            // A 6xx speaks for all of the user's browsers (RFC 3261 §16.7 step 5).
            Peer::User(_) if release.status >= Status::BUSY_EVERYWHERE => {
                return self.end(Party::Callee, release, None, exchange);
            }
            Peer::User(_) => {}
        }
        self.end_if_nobody_is_asked(exchange);
    }

    fn trunk_silent(&mut self, number: usize, exchange: &mut Exchange) {
        warn!(call = &*self.name, trunk = self.record.trunk, "the trunk is silent");
        self.attempts.silent(number, exchange);
        self.ask_next_trunk(exchange);
        self.end_if_nobody_is_asked(exchange);
    }
}

// 4. The callee answers: both sides get their last SDP.

impl Call {
    fn callee_answered(&mut self, number: usize, response: &Response, exchange: &mut Exchange) {
        let Some(attempt) = self.attempts.get_mut(number) else { return };
        attempt.silent_until = None;
        let Some(dialog) = attempt.dialog_of(response) else {
            // Without a Contact or a tag there is nobody to acknowledge.
            let release = Release::of_status(Status::BAD_GATEWAY, "a 200 that makes no dialog");
            return self.callee_refused(number, release, exchange);
        };
        if self.stage != Stage::Asking || attempt.state != AttemptState::Asked {
            let is_known = self.callee.dialog.as_ref().is_some_and(|known| known.id == dialog.id);
            return match attempt.state {
                // Repeated: our ACK was lost.
                AttemptState::Over => attempt.acknowledge(&dialog, exchange),
                AttemptState::Answered if is_known => attempt.acknowledge(&dialog, exchange),
                // It crossed our CANCEL, or a trunk forked and another branch of it was faster.
                _ => {
                    let release = self.release.clone().unwrap_or_else(Release::answered_elsewhere);
                    attempt.acknowledge_and_hang_up(dialog, &release, exchange);
                }
            };
        }

        attempt.acknowledge(&dialog, exchange);
        attempt.state = AttemptState::Answered;
        self.callee.flow = Some(attempt.flow);
        self.callee.dialog = Some(dialog);
        if matches!(attempt.peer, Peer::Trunk(_)) {
            self.callee.timer = attempt.timer;
            self.callee.timer.answered(response, exchange.now);
        }
        self.attempts.give_up_others(number, exchange);
        match self.take_answer(response) {
            Ok(change) => self.change_leg(Side::B, change, exchange),
            Err(release) => return self.end(Party::Linecard, release, None, exchange),
        }

        info!(call = &*self.name, "answered");
        self.stop_ringing(exchange);
        let answered = exchange.wall_time();
        self.record.answered = Some(answered);
        self.record.set_up.answered_ms = Some(answered.since(self.record.started));
        self.record.callee_codec = self.callee.media.codec();
        if let (Some(invite), Some(dialog)) = (&mut self.invite, &self.caller.dialog) {
            self.caller.timer.begin(exchange.now);
            let (sdp, timer) = (self.caller.media.description(), &self.caller.timer);
            invite.accept(sdp, timer, dialog, exchange);
        }
        self.connect(exchange);
        self.park(exchange);
        self.go_on_with_handshake(Side::B, exchange);
        self.talk_if_open(exchange);
    }

    /// ICE and DTLS have some time from here on.
    pub(super) fn connect(&mut self, exchange: &Exchange) {
        self.stage = Stage::Connecting;
        self.deadline = Some(exchange.now + CONNECTING_MAX);
    }

    fn take_answer(&mut self, response: &Response) -> Result<LegChange, Release> {
        match response.sdp()? {
            Some(sdp) => Ok(self.callee.media.answered_finally(sdp)?),
            // It was in the 183 already.
            None if self.callee.media.codec().is_some() => Ok(LegChange::default()),
            None => Err(Release::of_status(Status::NOT_ACCEPTABLE_HERE, "a 200 without SDP")),
        }
    }
}

// 5. The caller acknowledges.

impl Call {
    /// The ACK to our 200. A caller who made no offer answers ours in it.
    pub fn acknowledged(
        &mut self,
        side: Side,
        transaction: ServerTransactionId,
        ack: &Request,
        exchange: &mut Exchange,
    ) {
        let invite = self.invite.as_mut().filter(|invite| invite.transaction == transaction);
        let Some(invite) = invite else {
            return self.change_acknowledged(side, transaction, ack, exchange);
        };
        if !invite.acknowledged() {
            return;
        }
        if self.caller.farewell == Farewell::AwaitsAcknowledgement {
            return self.say_bye(Side::A, exchange);
        }
        if !invite.is_late_offer() {
            return;
        }
        let answer = match ack.sdp() {
            Ok(Some(sdp)) => self.caller.media.answered(sdp).map_err(Release::from),
            Ok(None) => {
                Err(Release::of_status(Status::NOT_ACCEPTABLE_HERE, "an ACK without its answer"))
            }
            Err(no_sdp) => Err(no_sdp.into()),
        };
        match answer {
            Ok(change) => {
                self.change_leg(Side::A, change, exchange);
                self.record.caller_codec = self.caller.media.codec();
                self.park(exchange);
                self.go_on_with_handshake(Side::A, exchange);
            }
            Err(release) => self.end(Party::Linecard, release, None, exchange),
        }
    }

    /// Our 200 was never acknowledged: whoever asked is not there any more.
    pub fn unacknowledged(&mut self, side: Side, exchange: &mut Exchange) {
        self.leg_mut(side).negotiation = Negotiation::Stable;
        if let Some(invite) = self.invite.as_mut().filter(|_| side == Side::A) {
            invite.acknowledged();
        }
        if self.leg(side).farewell == Farewell::AwaitsAcknowledgement {
            return self.say_bye(side, exchange);
        }
        let text = "our 200 was never acknowledged";
        let release = Release::new(Status::REQUEST_TIMEOUT, Cause::RECOVERY_ON_TIMER, text);
        self.end(side.into(), release, None, exchange);
    }
}

// 6. The browsers' checks and handshakes are in `connecting`. Once both legs are open the call talks.

impl Call {
    pub(super) fn talk_if_open(&mut self, exchange: &mut Exchange) {
        let is_open = self.caller.media.is_open() && self.callee.media.is_open();
        if self.stage == Stage::Connecting && is_open {
            info!(call = &*self.name, "talking");
            self.stage = Stage::Talking;
            self.deadline = self.longest(exchange);
            for side in Side::BOTH {
                let watched = self.leg(side).media.watched();
                self.change_leg(side, watched, exchange);
                self.hold_or_resume(side, exchange);
            }
            self.park(exchange);
            self.tell_answered(exchange);
        }
    }

    /// The time that the call may last is another one now.
    pub(super) fn limit(&mut self, exchange: &Exchange) {
        if self.stage == Stage::Talking {
            self.deadline = self.longest(exchange);
        }
    }

    /// A call of our predecessor goes on: its timers begin anew.
    pub fn go_on(&mut self, exchange: &Exchange) {
        self.deadline = self.longest(exchange);
        self.caller.timer.begin(exchange.now);
        self.callee.timer.begin(exchange.now);
    }

    /// What our successor would have to know.
    fn blob(&self) -> String {
        let legs = [&self.caller, &self.callee];
        let invite = self.invite.as_ref();
        let records = (&self.record, self.joined.as_deref());
        let is_transferring = matches!(self.transfer, Some(Transfer::Asked { .. }));
        let mut written = blob::Written::of(self.stage, records, legs, &self.attempts, invite);
        written.is_transferring = is_transferring;
        written.to_text()
    }

    /// Tells media what our successor would have to know.
    pub(super) fn park(&self, exchange: &mut Exchange) {
        if self.stage != Stage::Ending {
            exchange.park(&self.name, self.blob());
        }
    }
}

// 7. Talking: media does that. Requests inside the call are in `in_call`, what keeps a long one alive
// in `lasting`.

// 8. The call ends, at whatever stage it is.

impl Call {
    /// The caller cancelled its INVITE.
    pub fn cancelled(&mut self, reasons: &[Reason], exchange: &mut Exchange) {
        let cause = Cause::of_reasons(reasons).unwrap_or(Cause::NORMAL_CLEARING);
        let mut release = Release::new(Status::REQUEST_TERMINATED, cause, "cancelled");
        release.take_words(reasons);
        self.end(Party::Caller, release, None, exchange);
    }

    /// A browser's connection is gone. During a call it may come back; before, it is over.
    pub fn flow_closed(&mut self, flow: Flow, exchange: &mut Exchange) {
        for leg in [&mut self.caller, &mut self.callee] {
            leg.flow = leg.flow.filter(|theirs| *theirs != flow);
        }
        let Some(invite) = self.invite.as_mut().filter(|invite| invite.flow == flow) else {
            return;
        };
        // Its ACK cannot come any more.
        invite.acknowledged();
        if invite.is_open() {
            let (status, text) = (Status::REQUEST_TERMINATED, "the caller's connection is gone");
            let release = Release::new(status, Cause::NORMAL_CLEARING, text);
            self.end(Party::Caller, release, None, exchange);
        } else if self.caller.farewell == Farewell::AwaitsAcknowledgement {
            self.say_bye(Side::A, exchange);
        }
    }

    /// A leg's browser has not sent an authenticated check for too long (RFC 7675 §5.1).
    pub fn consent_expired(&mut self, side: Side, exchange: &mut Exchange) {
        let (status, cause) = (Status::REQUEST_TIMEOUT, Cause::DESTINATION_OUT_OF_ORDER);
        let release = Release::new(status, cause, "the browser is gone: no consent");
        if self.may_be_gone(side) {
            return;
        }
        self.end(side.into(), release, None, exchange);
    }

    /// Media refused a change.
    pub fn media_refused(&mut self, error: ControlError, exchange: &mut Exchange) {
        match error.code {
            ErrorCode::UnknownCall => self.media_gone(exchange),
            ErrorCode::Unsupported => self.end(Party::Linecard, error.into(), None, exchange),
            code => warn!(call = &*self.name, ?code, error.message, "media refused a change"),
        }
    }

    /// Media does not hold the call any more, or cannot be reached.
    pub fn media_gone(&mut self, exchange: &mut Exchange) {
        let release = Release::media_absent("the media process is gone");
        self.end(Party::Linecard, release, None, exchange);
        self.deleted(None, exchange);
    }

    /// Ends the call on both sides in whatever way each side's stage wants it: a final response, a
    /// CANCEL, or a BYE. The side that has `left` needs nothing.
    pub fn end(
        &mut self,
        by: Party,
        release: Release,
        left: Option<Side>,
        exchange: &mut Exchange,
    ) {
        if self.stage != Stage::Ending
            && let (Some(invite), Some(dialog)) = (&mut self.invite, &self.caller.dialog)
            && invite.is_open()
        {
            // Owed whoever left, and before anything is forgotten.
            invite.refuse(&release, &dialog.id.local_tag, exchange);
            self.caller.dialog = None;
        }
        if let Some(side) = left {
            self.leg_mut(side).dialog = None;
            self.leg_mut(side).farewell = Farewell::None;
        }
        if self.stage == Stage::Ending {
            return;
        }
        let (status, cause) = (release.status, release.cause.0);
        info!(call = &*self.name, ?by, %status, cause, text = release.text, "ended");
        self.stage = Stage::Ending;
        self.deadline = Some(exchange.now + ENDING_MAX);
        self.record.end(by, &release, exchange.wall_time());
        if let Some(joined) = &mut self.joined {
            joined.record.end(by, &release, exchange.wall_time());
        }
        self.release = Some(release.clone());
        self.tell_end(&release, exchange);

        let is_unacknowledged = self.invite.as_ref().is_some_and(Invite::is_unacknowledged);
        if is_unacknowledged && self.caller.dialog.is_some() {
            self.caller.farewell = Farewell::AwaitsAcknowledgement;
        } else {
            self.say_bye(Side::A, exchange);
        }
        self.attempts.give_up_all(&release.reasons(), exchange);
        self.say_bye(Side::B, exchange);

        if !self.is_in_media || exchange.media.delete_call(&self.name).is_err() {
            self.deleted(None, exchange);
        }
    }

    pub(super) fn say_bye(&mut self, side: Side, exchange: &mut Exchange) {
        let release = self.release.clone().unwrap_or_else(Release::answered_elsewhere);
        let leg = match side {
            Side::A => &mut self.caller,
            Side::B => &mut self.callee,
        };
        leg.say_bye(&self.name, side, &release, exchange);
    }

    /// Our BYE was answered, or nobody is there to answer it.
    pub fn bye_done(&mut self, side: Side) {
        self.leg_mut(side).farewell = Farewell::None;
    }
}

// 9. Media has let go, and the record is written.

impl Call {
    /// The call is gone from media.
    pub fn deleted(&mut self, statistics: Option<Box<CallStatistics>>, exchange: &mut Exchange) {
        self.is_in_media = false;
        if !std::mem::replace(&mut self.is_recorded, true) {
            let statistics = statistics.or(self.record.statistics.take());
            let joined = self.joined.take().map(|joined| joined.record);
            for record in [self.record.clone()].into_iter().chain(joined) {
                let record = CallRecord { statistics: statistics.clone(), ..record };
                exchange.outputs.push_back(Output::Record(Box::new(record)));
            }
        }
    }

    /// Its record went with the leg that it was of.
    pub(super) fn has_no_record(&mut self) {
        self.is_recorded = true;
    }

    /// Whether nothing is left to do for this call.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Ending
            && !self.is_in_media
            && Side::BOTH.iter().all(|side| self.leg(*side).farewell == Farewell::None)
            && !self.attempts.is_pending()
    }
}

// What has lasted too long.

impl Call {
    /// When [`Self::handle_timeout`] has work.
    pub fn next_timeout(&self) -> Option<Instant> {
        let legs = Side::BOTH.iter().filter_map(|side| self.leg(*side).next_timeout());
        let invite = self.invite.as_ref().and_then(Invite::next_timeout);
        legs.chain(invite).chain(self.attempts.next_timeout()).chain(self.deadline).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, exchange: &mut Exchange) {
        for side in Side::BOTH {
            let leg = self.leg_mut(side);
            leg.give_up_waiting(exchange.now);
            if let Some(media) = leg.media.browser_mut() {
                let outcomes = media.handle_timeout(exchange.now);
                self.carry_out(side, outcomes, exchange);
            }
            self.leg_due(side, exchange);
        }
        self.invite_due(exchange);
        if let Some(number) = self.attempts.overdue(exchange.now) {
            self.trunk_silent(number, exchange);
        }
        if self.deadline.take_if(|at| *at <= exchange.now).is_some() {
            self.stage_overdue(exchange);
        }
    }

    fn stage_overdue(&mut self, exchange: &mut Exchange) {
        let release = match self.stage {
            Stage::Reserving => Release::media_absent("the media process does not answer"),
            Stage::Asking => {
                let (status, text) = (Status::TEMPORARILY_UNAVAILABLE, "nobody answered");
                Release::new(status, Cause::NO_ANSWER, text)
            }
            Stage::Connecting => {
                let awaited = Side::BOTH
                    .iter()
                    .filter_map(|side| Some((*side, self.leg(*side).media.browser()?.awaits()?)));
                let awaited: Vec<_> = awaited
                    .map(|(side, what)| match side {
                        Side::A => format!("caller: {what}"),
                        Side::B => format!("callee: {what}"),
                    })
                    .collect();
                let text = format!("ICE and DTLS were not done in time: {}", awaited.join("; "));
                Release::new(Status::REQUEST_TIMEOUT, Cause::RECOVERY_ON_TIMER, text)
            }
            Stage::Talking => return self.too_long(exchange),
            Stage::Ending => {
                // Whoever has not answered by now is not there.
                self.attempts = Attempts::default();
                self.caller.farewell = Farewell::None;
                self.callee.farewell = Farewell::None;
                return self.deleted(None, exchange);
            }
        };
        self.end(Party::Linecard, release, None, exchange);
    }

    /// A leg.
    pub fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::A => &self.caller,
            Side::B => &self.callee,
        }
    }

    /// The same, to be changed.
    pub fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::A => &mut self.caller,
            Side::B => &mut self.callee,
        }
    }
}
