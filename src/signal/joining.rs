//! Errands: what calls want done with one another, a transfer so far. The engine alone has two calls at a
//! time in its hands.

use tracing::debug;

use crate::control::message::{CallName, ControlError, ExchangeLegs, LegsExchanged, Side};
use crate::signal::call::Call;
use crate::signal::directory::{Key, Part};
use crate::signal::engine::{CALLS_MAX, Engine};
use crate::signal::errand::{Asking, Errand};
use crate::signal::peer::Peer;
use crate::signal::records::Party;
use crate::signal::refer::Replaced;
use crate::signal::release::Release;
use crate::signal::stage::Stage;
use crate::signal::transferring::Transfer;
use crate::sip::cause::Cause;
use crate::sip::transaction::RETRY_AFTER_S;
use crate::wire::sip::Status;

impl Engine {
    /// Runs an errand.
    pub(super) fn run(&mut self, errand: Errand) {
        match errand {
            Errand::Ask(asking) => self.ask(*asking),
            Errand::Take { first, by, who, dialog } => self.take(&first, by, &who, &dialog),
            Errand::Answered { first, second } => self.answered(&first, &second),
            Errand::Rings { first, status } => {
                self.with_call(&first, |call, exchange| call.transfer_rings(status, exchange));
            }
            Errand::Failed { first, second, release } => {
                self.with_call(&first, |call, exchange| {
                    if let (true, Some(by)) = (call.waits_for(&second), call.transferor()) {
                        call.transfer_failed(by, &release, exchange);
                    }
                })
            }
            Errand::GiveUp { second, release } => self.with_call(&second, |call, exchange| {
                call.end(Party::Caller, release, None, exchange);
            }),
        }
    }

    /// A second call asks somebody for the one who waits in the first.
    fn ask(&mut self, asking: Asking) {
        let (first, second) = (asking.first.clone(), asking.second.clone());
        if self.is_stopping || self.calls.len() >= CALLS_MAX {
            let text = "too many calls";
            let release = Release::of_status(Status::SERVICE_UNAVAILABLE, text);
            let release = release.retry_after(RETRY_AFTER_S);
            return self.run(Errand::Failed { first, second, release });
        }
        let call = Call::asks(asking, &mut self.exchange);
        self.calls.insert(call);
        self.settle(&second);
    }

    /// Whom the second call asked is there.
    fn answered(&mut self, first: &CallName, second: &CallName) {
        let waits = self.calls.get(first).filter(|call| call.waits_for(second));
        match waits.and_then(Call::transferor) {
            Some(by) => self.exchange_legs((first, by), (second, Side::B)),
            None => self.with_call(second, |call, exchange| {
                let release = not_joined("nobody waits any more");
                call.end(Party::Linecard, release, None, exchange);
            }),
        }
    }

    /// The far end of another call of `who` is to come into the first one.
    fn take(&mut self, first: &CallName, by: Side, who: &Peer, dialog: &Replaced) {
        let keys = dialog.tags.iter().map(|tag| Key::Tag(tag.clone()));
        let mut found = keys.filter_map(|key| self.exchange.directory.find(&key));
        let found = found.find_map(|(name, part)| match part {
            Part::Leg(side) => {
                let leg = self.calls.get(&name)?.leg(side);
                let is_it = leg.peer == *who
                    && leg.dialog.as_ref().is_some_and(|it| dialog.is(&it.id))
                    && name != *first;
                is_it.then_some((name, side))
            }
            _ => None,
        });
        match found {
            Some((second, side)) => self.exchange_legs((first, by), (&second, side.other())),
            None => self.with_call(first, |call, exchange| {
                let text = "Replaces names no call of whoever transfers";
                let release = Release::of_status(Status::CALL_DOES_NOT_EXIST, text);
                call.transfer_failed(by, &release, exchange);
            }),
        }
    }

    /// The leg `by` of the first call goes, the leg `far` of the second one comes.
    fn exchange_legs(&mut self, (first, by): (&CallName, Side), (second, far): (&CallName, Side)) {
        let both = [(first, by), (second, far)];
        let may =
            both.map(|(name, side)| self.calls.get(name).is_some_and(|call| call.may_let_go(side)));
        let refusal = if may != [true, true] {
            Some(not_joined("something else is going on in one of the calls"))
        } else {
            let (call, with) = (first.clone(), second.clone());
            let exchange = ExchangeLegs { call, leg: by, with, with_leg: far };
            let asked = self.exchange.media.exchange_legs(exchange);
            asked.err().map(|_| Release::media_absent("the media process is not there"))
        };
        if let Some(refusal) = refusal {
            return self.not_exchanged((first, by), second, &refusal);
        }
        for (name, goes, transferor) in [(first, by, by), (second, far, far.other())] {
            self.with_call(name, |call, _| {
                call.transfer = Some(Transfer::Joining { goes, transferor });
            });
        }
    }

    /// Nothing has come of it: the first call goes on as it was, and so does the second if it was there
    /// before.
    fn not_exchanged(&mut self, (first, by): (&CallName, Side), second: &CallName, why: &Release) {
        self.with_call(first, |call, exchange| {
            if call.stage != Stage::Ending {
                call.transfer_failed(by, why, exchange);
            }
        });
        self.with_call(second, |call, exchange| {
            let is_left = match call.transfer {
                Some(Transfer::Asks { .. }) => true,
                Some(Transfer::Joining { goes, transferor }) => {
                    call.transfer = None;
                    call.tell_untold(goes, exchange);
                    call.leg(transferor).dialog.is_none()
                }
                Some(Transfer::Asked { .. }) | None => false,
            };
            if is_left {
                call.end(Party::Linecard, why.clone(), None, exchange);
            }
        });
    }

    /// Media has exchanged them, or has not.
    pub(super) fn legs_exchanged(
        &mut self,
        exchange: &ExchangeLegs,
        result: Option<Result<Box<LegsExchanged>, ControlError>>,
    ) {
        let ExchangeLegs { call: first, leg: by, with: second, with_leg: far } = exchange;
        let until_then = match result {
            Some(Ok(until_then)) => until_then,
            Some(Err(error)) => {
                debug!(call = &**first, error.message, "the legs were not exchanged");
                return self.not_exchanged((first, *by), second, &error.into());
            }
            // Who is with whom now nobody knows, and nobody is to hear a stranger.
            None => return self.end_both([first, second], "media did not say whether it was done"),
        };
        let is_up = |call: &Call| call.stage != Stage::Ending;
        let are_up = [first, second].map(|name| self.calls.get(name).is_some_and(is_up));
        if are_up != [true, true] {
            // What one of them had in media is the other one's now, and ends with it.
            return self.end_both([first, second], "one side of the transfer has left");
        }
        let Some(mut other) = self.calls.take(second) else { return };
        self.with_call(first, |call, exchange| {
            call.join(*by, &mut other, *far, *until_then, exchange);
        });
        self.calls.insert(other);
        self.settle(second);
    }
}

impl Engine {
    fn end_both(&mut self, calls: [&CallName; 2], why: &str) {
        for name in calls {
            self.with_call(name, |call, exchange| {
                call.end(Party::Linecard, not_joined(why), None, exchange);
            });
        }
    }
}

fn not_joined(text: &str) -> Release {
    Release::new(Status::REQUEST_PENDING, Cause::TEMPORARY_FAILURE, text)
}
