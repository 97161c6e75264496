//! An attempt: one INVITE toward somebody who may take the call. A user's browsers are asked all at
//! once, trunks one after the other; each attempt has a Call-ID and a tag of its own, so no peer
//! meets a loop of its own making (JsSIP answers 482 to its own Call-ID).

use std::time::{Duration, Instant};

use crate::base::opaque::opaque;
use crate::control::message::{CallName, Side};
use crate::signal::directory::{Key, Part};
use crate::signal::exchange::Exchange;
use crate::signal::leg::next_hop;
use crate::signal::peer::Peer;
use crate::signal::privacy::Shown;
use crate::signal::release::Release;
use crate::signal::session_timer::SessionTimer;
use crate::sip::dialog::{Dialog, DialogId};
use crate::sip::transaction::{ClientTransactionId, Flow};
use crate::wire::sip::{
    CSeq, HeaderName, Headers, Method, NameAddr, Reason, Request, Response, SDP, Status, Uri,
};

/// A trunk that has said nothing at all for this long is given up for the next one.
pub const TRUNK_SILENCE_MAX: Duration = Duration::from_secs(4);
/// Early dialogs of one attempt: a trunk that forks shows a few. More are heard but not kept.
const EARLY_DIALOGS_MAX: usize = 4;

/// One INVITE of ours.
pub struct Attempt {
    /// Who is asked.
    pub peer: Peer,
    /// How they are reached.
    pub flow: Flow,
    /// What is still to be expected.
    pub state: AttemptState,
    /// Until when a trunk may say nothing.
    pub silent_until: Option<Instant>,
    /// Dialogs that a 1xx began, oldest first.
    pub early: Vec<EarlyDialog>,
    /// The session timer that a trunk is proposed.
    pub timer: SessionTimer,
    sent: Option<(Request, ClientTransactionId)>,
}

/// A dialog that a 1xx began.
pub struct EarlyDialog {
    /// The dialog.
    pub dialog: Dialog,
    /// The RSeq of the last reliable response in it (RFC 3262 §4).
    reliable: Option<u32>,
}

opaque!(EarlyDialog);

opaque!(Attempt);

/// What is still to be expected of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptState {
    /// Nothing: it was refused, or never sent.
    Over,
    /// An answer.
    Asked,
    /// Its last word, which is unwelcome: it was cancelled.
    GivenUp,
    /// It took the call.
    Answered,
}

/// What of a provisional response a successor of ours would have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// Nothing.
    Nothing,
    /// An early dialog, new or further on.
    Dialog,
}

/// Who is asked.
pub struct Who {
    /// Their name.
    pub peer: Peer,
    /// How they are reached.
    pub flow: Flow,
    /// Where the request goes: a registered contact, or a number at a trunk.
    pub target: Uri,
    /// Who was dialled.
    pub to: Uri,
}

opaque!(Who);

/// What everybody is asked.
pub struct Proposal {
    /// The call.
    pub call: CallName,
    /// Who calls, as they are to be seen.
    pub from: Shown,
    /// Hops left.
    pub max_forwards: u8,
    /// Our offer.
    pub offer: String,
}

opaque!(Proposal);

impl Attempt {
    /// Sends the INVITE as the call's attempt of this `number`. One that finds no room for its
    /// transaction is over at once.
    pub fn ask(number: usize, who: Who, proposal: &Proposal, exchange: &mut Exchange) -> Self {
        let Who { peer, flow, target, to } = who;
        let call = &proposal.call;
        let (tag, call_id) = (exchange.new_token(), exchange.new_token());
        let shown = &proposal.from;
        let from = shown.address(exchange.address.user(&shown.number)).with_tag(&tag);
        let mut invite = Request::new(Method::Invite, target);
        let headers = &mut invite.headers;
        headers.push(HeaderName::MaxForwards, proposal.max_forwards);
        headers.push(HeaderName::From, from);
        headers.push(HeaderName::To, NameAddr::new(to));
        headers.push(HeaderName::CallId, call_id);
        headers.push(HeaderName::CSeq, CSeq { number: 1, method: Method::Invite });
        headers.push(HeaderName::Contact, exchange.address.contact(flow));
        headers.push(HeaderName::Allow, exchange.allow(flow));
        let timer = SessionTimer::default();
        if matches!(flow, Flow::Udp(_)) {
            // Both mean nothing to a browser's library, which would have to know them.
            timer.propose(headers);
            headers.push(HeaderName::Supported, "100rel");
            if shown.is_anonymous {
                headers.push(HeaderName::Privacy, "id");
            }
        }
        let invite = invite.with_body(SDP, proposal.offer.as_str());
        exchange.directory.enter(Key::Tag(tag), call, Part::Leg(Side::B));
        let state = AttemptState::Over;
        let mut attempt =
            Self { peer, flow, state, silent_until: None, early: Vec::new(), timer, sent: None };
        attempt.send(number, call, invite, exchange);
        attempt
    }

    fn send(&mut self, number: usize, call: &CallName, invite: Request, exchange: &mut Exchange) {
        let Some(transaction) =
            exchange.request(invite.clone(), self.flow, call, Part::Attempt(number))
        else {
            self.state = AttemptState::Over;
            return;
        };
        self.state = AttemptState::Asked;
        self.silent_until =
            matches!(self.flow, Flow::Udp(_)).then(|| exchange.now + TRUNK_SILENCE_MAX);
        self.sent = Some((invite, transaction));
    }

    /// Asks once more with what the refusal says would do: a longer session interval (RFC 4028 §7.3).
    /// `false`: it says nothing that we could do.
    pub fn ask_again(
        &mut self,
        number: usize,
        refusal: &Response,
        call: &CallName,
        exchange: &mut Exchange,
    ) -> bool {
        let Some((invite, _)) = &self.sent else { return false };
        if self.state != AttemptState::Asked
            || refusal.status != Status::SESSION_INTERVAL_TOO_SMALL
            || !self.timer.raised_by(refusal)
        {
            return false;
        }
        let mut invite = invite.clone();
        let number_before = invite.headers.cseq().map_or(1, |cseq| cseq.number);
        let cseq = CSeq { number: number_before + 1, method: Method::Invite };
        invite.headers.set(HeaderName::CSeq, cseq);
        let mut proposed = Headers::new();
        self.timer.propose(&mut proposed);
        let expires = proposed.first(&HeaderName::SessionExpires).unwrap_or_default();
        invite.headers.set(HeaderName::SessionExpires, expires);
        self.send(number, call, invite, exchange);
        true
    }

    /// The INVITE's transaction, if it was sent.
    pub fn transaction(&self) -> Option<ClientTransactionId> {
        self.sent.as_ref().map(|(_, transaction)| *transaction)
    }

    /// The attempt, for another call. What is left knows nothing of it any more.
    pub fn take(&mut self) -> Self {
        let (peer, flow, timer) = (self.peer.clone(), self.flow, self.timer);
        let (state, silent_until) = (AttemptState::Over, None);
        let left = Self { peer, flow, state, silent_until, early: Vec::new(), timer, sent: None };
        Self { state, ..std::mem::replace(self, left) }
    }

    /// Takes the dialog that a 1xx or 2xx is in. `None` for a response that makes none.
    pub fn dialog_of(&self, response: &Response) -> Option<Dialog> {
        let (invite, _) = self.sent.as_ref()?;
        let fresh = Dialog::from_response(invite, response).ok()?;
        let early = self.early.iter().find(|early| early.dialog.id == fresh.id);
        Some(match early {
            // What was asked and answered in it counts on.
            Some(early) => {
                let mut dialog = early.dialog.clone();
                dialog.absorb_response(response);
                dialog
            }
            None => fresh,
        })
    }

    /// Notes a provisional response: the silence is over. `None`: it repeats a reliable one, or
    /// overtook one that is still to come, and means nothing now (RFC 3262 §4).
    pub fn proceeding(&mut self, response: &Response, exchange: &mut Exchange) -> Option<Noted> {
        self.silent_until = None;
        if let (Peer::Trunk(trunk), AttemptState::Asked) = (&self.peer, self.state) {
            exchange.trunk_health.proceeding(trunk, response.status);
        }
        let Some(dialog) = self.dialog_of(response) else { return Some(Noted::Nothing) };
        let known = self.early.iter().position(|early| early.dialog.id == dialog.id);
        let at = match known {
            Some(at) => at,
            None if self.early.len() >= EARLY_DIALOGS_MAX => return Some(Noted::Nothing),
            None => {
                self.early.push(EarlyDialog { dialog, reliable: None });
                self.early.len() - 1
            }
        };
        if response.headers.lists(&HeaderName::Require, "100rel") {
            self.confirm_provisional(at, response, exchange)?;
            return Some(Noted::Dialog);
        }
        Some(if known.is_none() { Noted::Dialog } else { Noted::Nothing })
    }

    /// Sends the PRACK of a reliable provisional response in the early dialog `at`.
    fn confirm_provisional(
        &mut self,
        at: usize,
        response: &Response,
        exchange: &mut Exchange,
    ) -> Option<()> {
        let rseq: u32 = response.headers.first(&HeaderName::RSeq)?.trim().parse().ok()?;
        let cseq = response.headers.cseq().ok()?;
        let early = self.early.get_mut(at)?;
        if early.reliable.is_some_and(|last| last.checked_add(1) != Some(rseq)) {
            return None;
        }
        early.reliable = Some(rseq);
        let mut prack = early.dialog.request(Method::Prack);
        prack.headers.push(HeaderName::RAck, format!("{rseq} {} INVITE", cseq.number));
        let flow = next_hop(&early.dialog, self.flow);
        // Its outcome changes nothing: the transaction ends by itself.
        let _ = exchange.transactions.request(prack, flow, exchange.now, &mut exchange.random);
        Some(())
    }

    /// The early dialog of this name.
    pub fn early_mut(&mut self, id: &DialogId) -> Option<&mut Dialog> {
        let all = self.early.iter_mut().map(|early| &mut early.dialog);
        all.into_iter().find(|dialog| dialog.id == *id)
    }

    /// Acknowledges a 2xx, its first or a repeated one (RFC 3261 §13.2.2.4).
    pub fn acknowledge(&self, dialog: &Dialog, exchange: &mut Exchange) {
        let cseq = self.sent.as_ref().and_then(|(invite, _)| invite.headers.cseq().ok());
        let ack = dialog.ack(cseq.map_or(1, |cseq| cseq.number));
        let flow = next_hop(dialog, self.flow);
        exchange.transactions.send_stateless(ack, flow, &mut exchange.random);
    }

    /// Acknowledges a 2xx that nobody wants any more, and hangs up at once. With it an attempt that
    /// was given up has said its last word.
    pub fn acknowledge_and_hang_up(
        &mut self,
        mut dialog: Dialog,
        release: &Release,
        exchange: &mut Exchange,
    ) {
        self.acknowledge(&dialog, exchange);
        let mut bye = dialog.request(Method::Bye);
        release.explain(&mut bye.headers);
        let flow = next_hop(&dialog, self.flow);
        // Its outcome changes nothing: the transaction ends by itself.
        let _ = exchange.transactions.request(bye, flow, exchange.now, &mut exchange.random);
        if self.state == AttemptState::GivenUp {
            self.state = AttemptState::Over;
        }
    }

    /// Gives the attempt up. Before any response has come the CANCEL waits for one (RFC 3261 §9.1).
    pub fn give_up(&mut self, reasons: &[Reason], exchange: &mut Exchange) {
        self.silent_until = None;
        if self.state == AttemptState::Asked
            && let Some((_, transaction)) = &self.sent
        {
            self.state = AttemptState::GivenUp;
            exchange.transactions.cancel(*transaction, reasons, exchange.now);
        }
    }
}
