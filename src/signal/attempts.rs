//! Everybody who is asked to take one call: a user's browsers all at once, trunks one after the
//! other in configuration order. Says who is still to be heard, and which refusal counts when nobody
//! takes it.

use std::time::Instant;

use crate::base::opaque::opaque;
use crate::config;
use crate::control::message::CallName;
use crate::signal::attempt::{Attempt, AttemptState, Proposal, Who};
use crate::signal::directory::{Key, Part};
use crate::signal::exchange::Exchange;
use crate::signal::peer::Peer;
use crate::signal::release::Release;
use crate::sip::cause::Cause;
use crate::sip::dialog::{Dialog, DialogId};
use crate::sip::transaction::Flow;
use crate::wire::sip::{Reason, Status, Uri};

/// The attempts of one call, in order.
#[derive(Default)]
pub struct Attempts {
    all: Vec<Attempt>,
    /// The trunks that are still to be asked, the next one last.
    trunks: Option<Vec<usize>>,
    /// The refusal that counts so far.
    best: Option<Release>,
}

opaque!(Attempts);

impl Attempts {
    /// Rings every browser of a user with the same offer.
    pub fn ask_browsers(&mut self, user: &str, proposal: &Proposal, exchange: &mut Exchange) {
        let contacts: Vec<(Uri, Flow)> = exchange
            .registrar
            .reachable(user)
            .filter_map(|(binding, flow)| {
                Some((binding.contact.uri.parse().ok()?, Flow::Web(flow.0)))
            })
            .collect();
        for (contact, flow) in contacts {
            let to = exchange.address.user(user);
            let who = Who { peer: Peer::User(user.to_owned()), flow, target: contact, to };
            self.ask(who, proposal, exchange);
        }
    }

    /// Asks a trunk for a number.
    pub fn ask_trunk(
        &mut self,
        trunk: &config::Trunk,
        number: &str,
        proposal: &Proposal,
        exchange: &mut Exchange,
    ) {
        let (host, port) = (trunk.address.ip().into(), trunk.address.port());
        let target = Uri::sip(Some(number), host, Some(port));
        let (peer, flow) = (Peer::Trunk(trunk.name.clone()), Flow::Udp(trunk.address));
        let who = Who { peer, flow, to: target.clone(), target };
        self.ask(who, proposal, exchange);
    }

    fn ask(&mut self, who: Who, proposal: &Proposal, exchange: &mut Exchange) {
        let attempt = Attempt::ask(self.all.len(), who, proposal, exchange);
        self.all.push(attempt);
    }

    /// The next trunk to ask: each once, in configuration order, those that rest last.
    pub fn next_trunk(&mut self, exchange: &Exchange) -> Option<config::Trunk> {
        let trunks = exchange.routes.trunks();
        let left = self.trunks.get_or_insert_with(|| {
            let names = trunks.iter().map(|trunk| trunk.name.as_str());
            let mut order = exchange.trunk_health.order(names, exchange.now);
            order.reverse();
            order
        });
        trunks.get(left.pop()?).cloned()
    }

    /// One of them.
    pub fn get_mut(&mut self, number: usize) -> Option<&mut Attempt> {
        self.all.get_mut(number)
    }

    /// The one who took the call leaves it, and its attempt goes along.
    pub fn take_answered(&mut self) -> Option<Attempt> {
        let answered = self.all.iter_mut().find(|it| it.state == AttemptState::Answered)?;
        Some(answered.take())
    }

    /// An attempt of another call whose callee is in this one now.
    pub fn adopt(&mut self, attempt: Attempt, call: &CallName, exchange: &mut Exchange) {
        if let Some(transaction) = attempt.transaction() {
            let part = Part::Attempt(self.all.len());
            exchange.directory.enter(Key::Client(transaction), call, part);
        }
        self.all.push(attempt);
    }

    /// Early dialogs with their flows, for the blob.
    pub fn early_dialogs(&self) -> impl Iterator<Item = (Flow, &Dialog)> {
        self.all
            .iter()
            .flat_map(|attempt| attempt.early.iter().map(|early| (attempt.flow, &early.dialog)))
    }

    /// The early dialog of this name, whoever it is with.
    pub fn early_mut(&mut self, id: &DialogId) -> Option<&mut Dialog> {
        self.all.iter_mut().find_map(|attempt| attempt.early_mut(id))
    }

    /// Whether somebody may still take the call.
    pub fn is_somebody_asked(&self) -> bool {
        self.all.iter().any(|attempt| attempt.state == AttemptState::Asked)
    }

    /// Whether somebody's last word is still to come.
    pub fn is_pending(&self) -> bool {
        let is_pending = |state| matches!(state, AttemptState::Asked | AttemptState::GivenUp);
        self.all.iter().any(|attempt| is_pending(attempt.state))
    }

    /// Somebody does not take the call. `true` when that was still open.
    pub fn refused(&mut self, number: usize, release: &Release) -> bool {
        let Some(attempt) = self.all.get_mut(number) else { return false };
        attempt.silent_until = None;
        let was = std::mem::replace(&mut attempt.state, AttemptState::Over);
        if was != AttemptState::Asked {
            return false;
        }
        let counts = match (&attempt.peer, &self.best) {
            // The last trunk's word counts.
            (Peer::Trunk(_), _) | (_, None) => true,
            (Peer::User(_), Some(best)) => is_better(release.status, best.status),
        };
        if counts {
            self.best = Some(release.clone());
        }
        true
    }

    /// A trunk has said nothing at all: it is given up, though it may wake up yet.
    pub fn silent(&mut self, number: usize, exchange: &mut Exchange) {
        if let Some(attempt) = self.all.get_mut(number) {
            if let Peer::Trunk(trunk) = &attempt.peer {
                exchange.trunk_health.is_silent(trunk, exchange.now);
            }
            attempt.give_up(&[Cause::RECOVERY_ON_TIMER.reason()], exchange);
            self.best = Some(silent());
        }
    }

    /// The refusal that counts when nobody takes the call.
    pub fn verdict(&self) -> Release {
        self.best.clone().unwrap_or_else(|| {
            let text = "nobody could be asked";
            Release::new(Status::TEMPORARILY_UNAVAILABLE, Cause::NO_USER_RESPONDING, text)
        })
    }

    /// Gives up everybody but the one who took the call.
    pub fn give_up_others(&mut self, winner: usize, exchange: &mut Exchange) {
        let elsewhere = Release::answered_elsewhere().reasons();
        for (number, attempt) in self.all.iter_mut().enumerate() {
            if number != winner {
                attempt.give_up(&elsewhere, exchange);
            }
        }
    }

    /// Gives up everybody.
    pub fn give_up_all(&mut self, reasons: &[Reason], exchange: &mut Exchange) {
        for attempt in &mut self.all {
            attempt.give_up(reasons, exchange);
        }
    }

    /// When the first silence has lasted too long.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.all.iter().filter_map(|attempt| attempt.silent_until).min()
    }

    /// One whose silence has lasted too long.
    pub fn overdue(&self, now: Instant) -> Option<usize> {
        self.all.iter().position(|attempt| attempt.silent_until.is_some_and(|at| at <= now))
    }
}

/// Nobody said anything (RFC 3398 §8.2.6.1: recovery on timer expiry).
pub fn silent() -> Release {
    Release::new(Status::SERVER_TIMEOUT, Cause::RECOVERY_ON_TIMER, "the callee is silent")
}

/// Statuses that speak of the trunk, not of whom it was to reach.
pub fn is_worth_another_trunk(status: Status) -> bool {
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
        other => other.code(),
    };
    rank(status) < rank(than)
}
