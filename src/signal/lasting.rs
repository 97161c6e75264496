//! THE CALL LINE, continued: 7. a call that lasts. Session timers (RFC 4028), a trunk that died
//! without a word, the longest that a call may be, and processes that are told to end.
//!
//! In: time, responses to what we asked, media's silence. Out: refreshes, questions, the end of a call
//! whose far end is gone.

use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::control::message::{CallStatistics, Side};
use crate::signal::call::{Call, ENDING_MAX};
use crate::signal::directory::Part;
use crate::signal::exchange::Exchange;
use crate::signal::leg::{Leg, next_hop};
use crate::signal::negotiation::{Asked, Negotiation, after_glare};
use crate::signal::peer::Peer;
use crate::signal::records::Party;
use crate::signal::release::Release;
use crate::signal::session_timer::{Due, Refresh};
use crate::signal::stage::Stage;
use crate::sip::cause::Cause;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::Failure;
use crate::wire::sip::{HeaderName, Method, Request, Response, SDP, Status};

impl Call {
    /// What a leg has to do from time to time may be due.
    pub(super) fn leg_due(&mut self, side: Side, exchange: &mut Exchange) {
        self.session_due(side, exchange);
        self.tones_due(side, exchange);
        self.hold_due(side, exchange);
    }

    /// A provisional response that the caller has to acknowledge may be due again.
    pub(super) fn invite_due(&mut self, exchange: &mut Exchange) {
        if self.invite.as_mut().is_some_and(|invite| invite.handle_timeout(exchange)) {
            let text = "our provisional response was never acknowledged";
            let release = Release::new(Status::SERVER_TIMEOUT, Cause::RECOVERY_ON_TIMER, text);
            self.end(Party::Caller, release, None, exchange);
        }
    }

    /// A leg's session timer may be due.
    fn session_due(&mut self, side: Side, exchange: &mut Exchange) {
        // Whatever comes of it, it is due once.
        let due = self.leg_mut(side).timer.due(exchange.now);
        let is_up = matches!(self.stage, Stage::Talking | Stage::Connecting);
        match due.filter(|_| is_up) {
            Some(Due::Refresh(by)) => self.refresh(side, by, exchange),
            Some(Due::Expired) => self.gone(side, "nobody refreshed the session", exchange),
            None => {}
        }
    }

    fn refresh(&mut self, side: Side, by: Refresh, exchange: &mut Exchange) {
        let name = self.name.clone();
        let leg = self.leg_mut(side);
        if !leg.negotiation.is_stable() {
            return leg.timer.again(None, exchange.now);
        }
        let timer = leg.timer;
        let allow = leg.flow.map_or("", |flow| exchange.allow(flow));
        let sdp = leg.media.description().map(str::to_owned);
        let mut asked = Asked::Update;
        let make = |dialog: &mut Dialog| {
            let method = match by {
                Refresh::Update => Method::Update,
                Refresh::Invite => Method::Invite,
            };
            let mut request = dialog.request(method);
            timer.propose(&mut request.headers);
            request.headers.push(HeaderName::Allow, allow);
            match (by, sdp) {
                (Refresh::Invite, Some(sdp)) => {
                    asked = Asked::Invite(dialog.local_cseq);
                    request.with_body(SDP, sdp)
                }
                _ => request,
            }
        };
        match leg.request(&name, Part::Refresh(side), make, exchange) {
            Some(transaction) => leg.negotiation = Negotiation::Asked(transaction, asked),
            None => leg.timer.again(None, exchange.now),
        }
    }

    /// A response to our refresh.
    pub fn refreshed(&mut self, side: Side, response: &Response, exchange: &mut Exchange) {
        if response.status.is_provisional() {
            return;
        }
        let leg = self.leg_mut(side);
        if response.status.is_success() {
            leg.acknowledge(response, exchange);
        }
        let Negotiation::Asked(_, asked) = leg.negotiation else { return };
        leg.negotiation = Negotiation::Stable;
        leg.note_hold(response.status, side == Side::B, exchange);
        match response.status {
            status if status.is_success() => self.take_refreshed(side, response, exchange),
            Status::CALL_DOES_NOT_EXIST | Status::REQUEST_TIMEOUT => {
                self.gone(side, "the far end does not know the call any more", exchange);
            }
            Status::REQUEST_PENDING => {
                let after = after_glare(side == Side::B, &mut exchange.random);
                leg.timer.again(Some(after), exchange.now);
            }
            Status::SESSION_INTERVAL_TOO_SMALL if leg.timer.raised_by(response) => {
                leg.timer.again(Some(Duration::ZERO), exchange.now);
            }
            Status::METHOD_NOT_ALLOWED | Status::NOT_IMPLEMENTED if asked == Asked::Update => {
                leg.timer.takes_no_update();
                leg.timer.again(Some(Duration::ZERO), exchange.now);
            }
            // The session lasts as it was (RFC 3261 §14.1); it is asked again before its end.
            status => {
                leg.timer.again(None, exchange.now);
                self.complain(side, "a refresh or a hold is refused", &status.to_string());
            }
        }
    }

    /// A browser holds, or resumes: a trunk whose terms pass that on is told, now or once nothing else
    /// is open with it.
    pub(super) fn tell_hold(&mut self, side: Side, exchange: &mut Exchange) {
        let wants = self.leg(side.other()).is_holding;
        let leg = self.leg_mut(side);
        if leg.knows_hold == wants || !exchange.routes.passes_hold(&leg.peer) {
            return;
        }
        if !leg.negotiation.is_stable() {
            leg.tell_hold_at =
                Some(exchange.now + after_glare(side == Side::B, &mut exchange.random));
            return;
        }
        if let Some(media) = leg.media.trunk_mut() {
            media.hold(wants);
            self.refresh(side, Refresh::Invite, exchange);
        }
    }

    /// A trunk may have to be told again.
    fn hold_due(&mut self, side: Side, exchange: &mut Exchange) {
        let is_due = self.leg_mut(side).tell_hold_at.take_if(|at| *at <= exchange.now).is_some();
        if is_due && self.stage == Stage::Talking {
            self.tell_hold(side, exchange);
        }
    }

    fn take_refreshed(&mut self, side: Side, response: &Response, exchange: &mut Exchange) {
        let leg = self.leg_mut(side);
        leg.timer.answered(response, exchange.now);
        if let Some(dialog) = &mut leg.dialog {
            dialog.absorb_response(response);
        }
        let Ok(Some(sdp)) = response.sdp() else { return };
        match leg.media.answered(sdp) {
            Ok(told) => self.changed(side, told, exchange),
            Err(refusal) => {
                warn!(call = &*self.name, leg = ?side, %refusal, "a refresh's answer is left out");
            }
        }
    }

    /// Our refresh was not answered.
    pub fn refresh_failed(&mut self, side: Side, failure: Failure, exchange: &mut Exchange) {
        self.leg_mut(side).negotiation = Negotiation::Stable;
        match failure {
            Failure::Timeout => self.gone(side, "the far end does not answer", exchange),
            // The next one may get through.
            Failure::Transport => self.leg_mut(side).timer.again(None, exchange.now),
        }
    }

    /// Media has heard nothing of a leg for its time: its trunk is asked whether it is still there.
    pub fn media_silent(&mut self, side: Side, exchange: &mut Exchange) {
        let name = self.name.clone();
        let is_trunk = matches!(self.leg(side).peer, Peer::Trunk(_));
        if self.stage != Stage::Talking || !is_trunk {
            return;
        }
        let ask = |dialog: &mut Dialog| dialog.request(Method::Options);
        let asked = self.leg_mut(side).request(&name, Part::Probe(side), ask, exchange);
        debug!(call = &*name, leg = ?side, is_asked = asked.is_some(), "the trunk is silent");
    }

    /// The silent trunk has answered. Whatever it says it is there, unless it does not know the call;
    /// the next silence is told again.
    pub fn probed(&mut self, side: Side, status: Status, exchange: &mut Exchange) {
        if !status.is_final() || self.stage != Stage::Talking {
            return;
        }
        if matches!(status, Status::CALL_DOES_NOT_EXIST | Status::REQUEST_TIMEOUT) {
            return self.gone(side, "silent, and does not know the call any more", exchange);
        }
        let watched = self.leg(side).media.watched();
        self.change_leg(side, watched, exchange);
    }

    /// The silent trunk has not answered.
    pub fn probe_failed(&mut self, side: Side, failure: Failure, exchange: &mut Exchange) {
        match failure {
            Failure::Timeout => self.gone(side, "silent, and does not answer", exchange),
            // The next silence is told again, and asked about.
            Failure::Transport => {
                let watched = self.leg(side).media.watched();
                self.change_leg(side, watched, exchange);
            }
        }
    }

    /// A far end is not there any more.
    fn gone(&mut self, side: Side, why: &str, exchange: &mut Exchange) {
        let (status, cause) = (Status::REQUEST_TIMEOUT, Cause::DESTINATION_OUT_OF_ORDER);
        self.end(side.into(), Release::new(status, cause, why), None, exchange);
    }

    /// When the call has lasted as long as its user and its trunk may: from the answer on, whoever
    /// carried it meanwhile.
    pub(super) fn longest(&self, exchange: &Exchange) -> Option<Instant> {
        let joined = self.joined.as_ref().map(|joined| &joined.record);
        let records = || [&self.record].into_iter().chain(joined);
        // Who transferred is charged, and has its limit, though it is not there any more.
        let charged = records().flat_map(|record| &record.transfers);
        let charged = charged.flat_map(|transfer| exchange.routes.longest_of(&transfer.by));
        let there = [&self.caller, &self.callee].map(|leg| exchange.routes.longest(&leg.peer));
        let longest = there.into_iter().flatten().chain(charged).min()?;
        let since = records().filter_map(|record| record.answered);
        let since_ms = since.map(|at| exchange.wall_time().since(at)).max().unwrap_or(0);
        Some(exchange.now + longest.saturating_sub(Duration::from_millis(since_ms)))
    }

    /// It has.
    pub(super) fn too_long(&mut self, exchange: &mut Exchange) {
        let text = "the longest call of its user or trunk (call_max_s)";
        let release = Release::new(Status::REQUEST_TIMEOUT, Cause::NORMAL_UNSPECIFIED, text);
        self.end(Party::Linecard, release, None, exchange);
    }
}

// The processes are told to end, and the call with them.

impl Call {
    /// Media was told to end, and the call ended with it.
    pub fn media_stopped(
        &mut self,
        statistics: Option<Box<CallStatistics>>,
        exchange: &mut Exchange,
    ) {
        self.record.statistics = statistics;
        self.is_in_media = false;
        let release = Release::media_absent("the media process was told to end");
        self.end(Party::Linecard, release, None, exchange);
    }

    /// This process was told to end. A browser whose connection is gone is not waited for.
    pub fn stop(&mut self, exchange: &mut Exchange) {
        let text = "the gateway was told to end";
        let release = Release::new(Status::SERVICE_UNAVAILABLE, Cause::TEMPORARY_FAILURE, text);
        self.end(Party::Linecard, release, None, exchange);
        for side in Side::BOTH {
            self.leg_mut(side).give_up_waiting(exchange.now + ENDING_MAX);
        }
    }
}

impl Leg {
    /// What a trunk said to a hold that it was told of with the refresh. One that does not want to be
    /// held is not; it is sent silence all the same.
    fn note_hold(&mut self, status: Status, is_ours: bool, exchange: &mut Exchange) {
        let Some(media) = self.media.trunk_mut() else { return };
        if media.is_held() == self.knows_hold {
            return;
        }
        if status.is_success() {
            self.knows_hold = media.is_held();
            return;
        }
        media.hold(self.knows_hold);
        if status == Status::REQUEST_PENDING {
            self.tell_hold_at = Some(exchange.now + after_glare(is_ours, &mut exchange.random));
        }
    }

    /// Acknowledges a 2xx to a re-INVITE of ours, its first or a repeated one.
    fn acknowledge(&self, response: &Response, exchange: &mut Exchange) {
        let Ok(cseq) = response.headers.cseq() else { return };
        let (Some(dialog), Some(flow)) = (&self.dialog, self.flow) else { return };
        if cseq.method == Method::Invite {
            let ack: Request = dialog.ack(cseq.number);
            let flow = next_hop(dialog, flow);
            exchange.transactions.send_stateless(ack, flow, &mut exchange.random);
        }
    }
}
