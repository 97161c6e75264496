//! An attempt: one INVITE toward somebody who may take the call. A user's browsers are asked all at
//! once, trunks one after the other; each attempt has a Call-ID and a tag of its own, so no peer
//! meets a loop of its own making (JsSIP answers 482 to its own Call-ID).

use std::time::{Duration, Instant};

use crate::base::opaque::opaque;
use crate::control::message::{CallName, Side};
use crate::signal::directory::{Key, Part};
use crate::signal::exchange::{ALLOW, Exchange};
use crate::signal::leg::next_hop;
use crate::signal::peer::Peer;
use crate::signal::release::Release;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::{ClientTransactionId, Flow};
use crate::wire::sip::{CSeq, HeaderName, Method, NameAddr, Reason, Request, Response, SDP, Uri};

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
    pub early: Vec<Dialog>,
    sent: Option<(Request, ClientTransactionId)>,
}

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
    /// Who calls.
    pub from: String,
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
        let from = NameAddr::new(exchange.address.user(&proposal.from)).with_tag(&tag);
        let mut invite = Request::new(Method::Invite, target);
        let headers = &mut invite.headers;
        headers.push(HeaderName::MaxForwards, proposal.max_forwards);
        headers.push(HeaderName::From, from);
        headers.push(HeaderName::To, NameAddr::new(to));
        headers.push(HeaderName::CallId, call_id);
        headers.push(HeaderName::CSeq, CSeq { number: 1, method: Method::Invite });
        headers.push(HeaderName::Contact, exchange.address.contact(flow));
        headers.push(HeaderName::Allow, ALLOW);
        let invite = invite.with_body(SDP, proposal.offer.as_str());
        exchange.directory.enter(Key::Tag(tag), call, Part::Leg(Side::B));
        let transaction = exchange.request(invite.clone(), flow, call, Part::Attempt(number));
        let silent_until = matches!(flow, Flow::Udp(_)).then(|| exchange.now + TRUNK_SILENCE_MAX);
        Self {
            peer,
            flow,
            state: if transaction.is_some() { AttemptState::Asked } else { AttemptState::Over },
            silent_until: silent_until.filter(|_| transaction.is_some()),
            early: Vec::new(),
            sent: transaction.map(|transaction| (invite, transaction)),
        }
    }

    /// Takes the dialog that a 1xx or 2xx is in. `None` for a response that makes none.
    pub fn dialog_of(&self, response: &Response) -> Option<Dialog> {
        let (invite, _) = self.sent.as_ref()?;
        Dialog::from_response(invite, response).ok()
    }

    /// Notes a provisional response: the silence is over. `true` when it began an early dialog.
    pub fn proceeding(&mut self, response: &Response) -> bool {
        self.silent_until = None;
        let Some(dialog) = self.dialog_of(response) else { return false };
        let is_new = self.early.iter().all(|early| early.id != dialog.id)
            && self.early.len() < EARLY_DIALOGS_MAX;
        if is_new {
            self.early.push(dialog);
        }
        is_new
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
        bye.headers.push(HeaderName::Reason, release.cause.reason());
        let flow = next_hop(&dialog, self.flow);
        // Its outcome changes nothing: the transaction ends by itself.
        let _ = exchange.transactions.request(bye, flow, exchange.now, &mut exchange.random);
        if self.state == AttemptState::GivenUp {
            self.state = AttemptState::Over;
        }
    }

    /// Gives the attempt up. Before any response has come the CANCEL waits for one (RFC 3261 §9.1).
    pub fn give_up(&mut self, reason: &Reason, exchange: &mut Exchange) {
        self.silent_until = None;
        if self.state == AttemptState::Asked
            && let Some((_, transaction)) = &self.sent
        {
            self.state = AttemptState::GivenUp;
            exchange.transactions.cancel(*transaction, Some(reason), exchange.now);
        }
    }
}
