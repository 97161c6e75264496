//! THE CALL LINE, continued: 7. transfer (RFC 3515, RFC 5589). It is carried out here: nobody is asked to
//! call somebody else, so it works whatever the others can do, and is checked, recorded and charged like
//! a dialled call.
//!
//! ```text
//!   who transfers    first call   second call      target      who waits
//!     │──── REFER ───────►│            │             │             │
//!     │◄─ 202, NOTIFY 100 │──────── asks ───────────►│    ring-back tone
//!     │◄─── NOTIFY 180 ───│◄───────────│◄─── 180 ────│             │
//!     │                   │◄─ answered │◄─── 200 ────│             │
//!     │                exchange_legs: target and who waits are the first call's legs,
//!     │                           │    who transferred is the second one's, which ends
//!     │◄─ NOTIFY 200, BYE ────────│                  │ ◄══ audio ═►│
//! ```
//!
//! One that is attended (Replaces) begins at the exchange: the second call is the one with the target
//! that whoever transfers has already. Whoever transfers may hang up once it is asked; if nobody comes,
//! who waits is not left behind in silence.
//!
//! In: REFER, what became of the second call. Out: errands, NOTIFY, sounds.

use tracing::{debug, info};

use crate::config::TrunkTerms;
use crate::control::message::{
    CallName, CallStatistics, LegStatistics, LegsExchanged, Ringback, Side, Sound,
};
use crate::signal::call::Call;
use crate::signal::errand::{Asking, Errand};
use crate::signal::exchange::{Exchange, PRODUCT};
use crate::signal::invitation::destination;
use crate::signal::invite::Invite;
use crate::signal::leg::{Leg, LegMedia, next_hop};
use crate::signal::peer::Peer;
use crate::signal::privacy::{ANONYMOUS, Shown};
use crate::signal::records::{CallRecord, Direction, Party, Transferred};
use crate::signal::refer::{Refer, Subscription, Target};
use crate::signal::release::Release;
use crate::signal::stage::Stage;
use crate::signal::transferring::{Joined, Transfer};
use crate::signal::trunk::TrunkMedia;
use crate::sip::cause::Cause;
use crate::sip::transaction::ServerTransactionId;
use crate::wire::sip::{HeaderName, NameAddr, Request, Response, Status};

// Somebody asks for it.

impl Call {
    /// A REFER inside the call.
    pub(super) fn referred(
        &mut self,
        side: Side,
        transaction: ServerTransactionId,
        request: &Request,
        contact: &NameAddr,
        exchange: &mut Exchange,
    ) {
        let (errand, subscription) = match self.errand_of(side, request, exchange) {
            Ok(errand) => errand,
            Err(release) => {
                self.complain(side, "a transfer is refused", &release.text);
                let refusal = release.response(request);
                return exchange.transactions.respond(transaction, refusal, exchange.now);
            }
        };
        let mut accepted = Response::to(request, Status::ACCEPTED);
        accepted.headers.push(HeaderName::Contact, contact);
        if subscription.is_none() {
            accepted.headers.push(HeaderName::ReferSub, "false");
        }
        exchange.transactions.respond(transaction, accepted, exchange.now);
        self.leg_mut(side).subscription = subscription;
        self.leg_mut(side).tell_transfer(Status::TRYING, exchange);
        debug!(call = &*self.name, leg = ?side, "a transfer is asked for");
        if let Errand::Ask(asking) = &errand {
            let second = asking.second.clone();
            self.transfer = Some(Transfer::Asked { by: side, second, is_gone: false });
            self.play_background(side.other(), exchange);
            self.park(exchange);
        }
        exchange.errands.push_back(errand);
    }

    fn errand_of(
        &self,
        by: Side,
        request: &Request,
        exchange: &mut Exchange,
    ) -> Result<(Errand, Option<Subscription>), Release> {
        let is_up = matches!(self.stage, Stage::Talking | Stage::Connecting);
        if !is_up || self.transfer.is_some() {
            let text = "something else is going on in the call";
            return Err(Release::of_status(Status::REQUEST_PENDING, text));
        }
        let Refer { target, subscription } = Refer::read(request)?;
        let errand = match target {
            Target::Dialog(dialog) => {
                let (first, who) = (self.name.clone(), self.leg(by).peer.clone());
                Errand::Take { first, by, who, dialog }
            }
            Target::Number(dialled) => self.asking(by, dialled, request, exchange)?,
        };
        Ok((errand, subscription))
    }

    /// The same checks as if whoever transfers had dialled the number itself.
    fn asking(
        &self,
        by: Side,
        dialled: String,
        request: &Request,
        exchange: &mut Exchange,
    ) -> Result<Errand, Release> {
        let who = self.leg(by).peer.clone();
        let callee = destination(&who, &dialled, exchange)?;
        let number = self.number_of(by, &callee, exchange);
        let shown = match &callee {
            // Whoever waits: who takes the call wants to know who that is.
            Peer::User(_) => self.shown_of(by.other()),
            // Whoever transfers: it is charged, and the number is one that the trunk knows.
            Peer::Trunk(_) => {
                let shown = Shown::of(request, &number).map_err(Release::from)?;
                let is_hidden = by == Side::A && self.record.shown_as == ANONYMOUS;
                if is_hidden { Shown::nobody() } else { shown }
            }
        };
        Ok(Errand::Ask(Box::new(Asking {
            first: self.name.clone(),
            second: CallName::from(exchange.new_token()),
            thread: self.thread,
            by: who,
            number,
            dialled,
            callee,
            waiting: self.leg(by.other()).peer.clone(),
            shown,
            max_forwards: Invite::hops_left(request),
        })))
    }

    /// The number of whoever transfers, as the one who is asked would see it.
    fn number_of(&self, by: Side, callee: &Peer, exchange: &Exchange) -> String {
        match (&self.leg(by).peer, callee) {
            (Peer::User(user), Peer::Trunk(_)) => exchange.routes.number_of(user).to_owned(),
            (Peer::User(user), Peer::User(_)) => user.clone(),
            (Peer::Trunk(_), _) => self.shown_of(by).number,
        }
    }

    /// Somebody in the call, as the other one saw them.
    fn shown_of(&self, side: Side) -> Shown {
        let invite = self.invite.as_ref().filter(|_| side == Side::A && self.joined.is_none());
        if let Some(shown) = invite.map(|invite| invite.shown.clone()) {
            return match &self.leg(side).peer {
                // To another user it has its name.
                Peer::User(user) if !shown.is_anonymous => Shown { number: user.clone(), ..shown },
                _ => shown,
            };
        }
        let record = match &self.joined {
            Some(joined) if joined.leg == side => &joined.record,
            _ => &self.record,
        };
        let number = match &self.leg(side).peer {
            Peer::User(user) => user,
            Peer::Trunk(_) if record.caller_leg == side => &record.shown_as,
            Peer::Trunk(_) => &record.to,
        };
        if number == ANONYMOUS { Shown::nobody() } else { Shown::numbered(number) }
    }
}

// The second call, which asks the target.

impl Call {
    /// A call that asks somebody for the one who waits in another call.
    pub fn asks(asking: Asking, exchange: &mut Exchange) -> Self {
        let Asking { first, second, by, callee, waiting, shown, max_forwards, .. } = asking;
        let started = exchange.wall_time();
        let mut record = CallRecord::new(&second, &by, &asking.number, &asking.dialled, started);
        record.shown_as.clone_from(&shown.number);
        record.direction = Direction::between(&by, Some(&callee));
        info!(call = &*second, first = &*first, direction = ?record.direction, "asks for a transfer");
        // Nobody is there: the leg keeps the place of the one who comes.
        let nobody = TrunkMedia::offering(TrunkTerms::default(), &mut exchange.random);
        let caller = Leg::new(by, None, LegMedia::Trunk(Box::new(nobody)));
        let media = LegMedia::of_callee(&callee, &waiting, exchange);
        let mut call = Self::resumed(second, record, caller, Leg::new(callee, None, media));
        call.transfer = Some(Transfer::Asks { first, shown, max_forwards });
        call.thread = asking.thread;
        call.enter_keys(exchange);
        call.reserve(exchange);
        call
    }

    /// Whom it asks rings.
    pub(super) fn tell_ringing(&self, status: Status, exchange: &mut Exchange) {
        if let Some(Transfer::Asks { first, .. }) = &self.transfer {
            exchange.errands.push_back(Errand::Rings { first: first.clone(), status });
        }
    }

    /// Whom it asks can be heard.
    pub(super) fn tell_answered(&self, exchange: &mut Exchange) {
        if let Some(Transfer::Asks { first, .. }) = &self.transfer {
            let (first, second) = (first.clone(), self.name.clone());
            exchange.errands.push_back(Errand::Answered { first, second });
        }
    }

    /// It ends before that: who waits, or who asks for somebody, has to know.
    pub(super) fn tell_end(&mut self, release: &Release, exchange: &mut Exchange) {
        let name = self.name.clone();
        match self.transfer.take() {
            Some(Transfer::Asks { first, .. }) => {
                let release = release.clone();
                exchange.errands.push_back(Errand::Failed { first, second: name, release });
            }
            Some(Transfer::Asked { by, second, .. }) => {
                self.leg_mut(by).tell_transfer(Status::REQUEST_TERMINATED, exchange);
                // Whoever is asked there has not answered, as if the caller had given up.
                let (status, text) = (Status::REQUEST_TERMINATED, release.text.as_str());
                let release = Release::new(status, release.cause, text);
                exchange.errands.push_back(Errand::GiveUp { second, release });
            }
            Some(joining @ Transfer::Joining { transferor, .. }) => {
                self.leg_mut(transferor).tell_transfer(Status::REQUEST_TERMINATED, exchange);
                self.transfer = Some(joining);
            }
            None => {}
        }
    }
}

// The first call, in which somebody waits.

impl Call {
    /// Whether `second` asks for this call.
    pub fn waits_for(&self, second: &CallName) -> bool {
        matches!(&self.transfer, Some(Transfer::Asked { second: asks, .. }) if asks == second)
    }

    /// Who asked for the transfer that is under way.
    pub fn transferor(&self) -> Option<Side> {
        match &self.transfer {
            Some(Transfer::Asked { by, .. }) => Some(*by),
            Some(Transfer::Joining { transferor, .. }) => Some(*transferor),
            Some(Transfer::Asks { .. }) | None => None,
        }
    }

    /// How far it is.
    pub fn transfer_rings(&mut self, status: Status, exchange: &mut Exchange) {
        if let Some(Transfer::Asked { by, .. }) = self.transfer {
            self.leg_mut(by).tell_transfer(status, exchange);
        }
    }

    /// Whoever is transferred stays with whoever transferred it, unless that one is gone.
    pub fn transfer_failed(&mut self, by: Side, release: &Release, exchange: &mut Exchange) {
        let status = match release.status {
            status if status.is_failure() => status,
            _ => Status::TEMPORARILY_UNAVAILABLE,
        };
        self.complain(by, "a transfer failed", &release.text);
        let asked = self.transfer.take();
        let is_gone = matches!(asked, Some(Transfer::Asked { is_gone: true, .. }));
        self.leg_mut(by).tell_transfer(status, exchange);
        if is_gone || self.leg(by).dialog.is_none() {
            let text = format!("the transfer failed: {}", release.text);
            let release = Release::new(status, release.cause, text);
            return self.end(Party::Linecard, release, None, exchange);
        }
        self.tell_untold(by, exchange);
        self.play_background(by.other(), exchange);
        self.park(exchange);
    }

    /// Who transfers need not stay: `true`, and it has left.
    pub(super) fn lets_go(&mut self, side: Side, exchange: &mut Exchange) -> bool {
        if self.transferor() != Some(side) {
            return false;
        }
        debug!(call = &*self.name, leg = ?side, "who transfers has left");
        let leg = self.leg_mut(side);
        leg.dialog = None;
        leg.subscription = None;
        self.park(exchange);
        true
    }

    /// The same when it is not heard of any more. It gets its BYE when it is known who stays: it may be back
    /// for it by then.
    pub(super) fn may_be_gone(&mut self, side: Side) -> bool {
        if self.transferor() != Some(side) {
            return false;
        }
        if let Some(Transfer::Asked { is_gone, .. }) = &mut self.transfer {
            *is_gone = true;
        }
        true
    }

    /// What a leg hears while nobody speaks to it: ring-back tone while it waits for somebody, silence
    /// while it is held.
    pub(super) fn background(&self, toward: Side, exchange: &Exchange) -> Option<Sound> {
        match &self.transfer {
            Some(Transfer::Asked { by, .. }) if *by != toward => {
                let ringback = exchange.routes.ringback(&self.leg(toward).peer);
                Some(Sound::Ringback(ringback.unwrap_or(Ringback { country: None })))
            }
            _ if self.leg(toward.other()).is_holding => Some(exchange.hold_music.sound()),
            _ => None,
        }
    }

    /// Lets a leg hear that, or the other leg.
    pub(super) fn play_background(&self, toward: Side, exchange: &mut Exchange) {
        match self.background(toward, exchange) {
            Some(sound) => exchange.play(&self.name, toward, sound),
            None => exchange.stop_playing(&self.name, toward),
        }
    }
}

// The two calls come together.

impl Call {
    /// Whether a leg may go into another call, or come from there: nothing of it is tied to this one.
    pub fn may_let_go(&self, side: Side) -> bool {
        let is_up = matches!(self.stage, Stage::Talking | Stage::Connecting);
        let is_tied = self.invite.as_ref().is_some_and(|invite| {
            side == Side::A && (invite.is_open() || invite.is_unacknowledged())
        });
        is_up && self.is_in_media && !is_tied
    }

    /// Media has exchanged the leg `by` for the leg `far` of another call, and what is known of them here
    /// follows. Who transferred is in the other call now, which ends.
    pub fn join(
        &mut self,
        by: Side,
        other: &mut Call,
        far: Side,
        until_then: LegsExchanged,
        exchange: &mut Exchange,
    ) {
        let LegsExchanged { call, with } = until_then;
        let is_attended = other.leg(far.other()).dialog.is_some();
        let heard = [Some(leg_of(call, by)), is_attended.then(|| leg_of(with, far.other()))];
        self.join_records(by, other, far, heard, exchange);
        std::mem::swap(self.leg_mut(by), other.leg_mut(far));
        exchange.directory.exchange((&self.name, by), (&other.name, far));
        let [goes, comes] = [(&mut *self, by), (&mut *other, far)].map(|(call, side)| {
            call.transfer = None;
            match side {
                Side::A => {
                    call.invite = None;
                    None
                }
                Side::B => call.attempts.take_answered(),
            }
        });
        // Who answered may repeat it where it is now.
        for (call, attempt) in [(&mut *self, comes), (&mut *other, goes)] {
            if let Some(attempt) = attempt {
                call.attempts.adopt(attempt, &call.name, exchange);
            }
        }
        info!(call = &*self.name, second = &*other.name, "transferred");

        // Of what media was not told while it was at it.
        self.tell_untold(by, exchange);
        for side in Side::BOTH {
            self.play_background(side, exchange);
            self.tell_hold(side, exchange);
        }
        self.talk_if_open(exchange);
        self.limit(exchange);
        self.park(exchange);

        other.leg_mut(far).tell_transfer(Status::OK, exchange);
        let release = Release::new(Status::OK, Cause::NORMAL_CLEARING, "transferred");
        other.end(Party::from(far), release, None, exchange);
    }

    /// Each leg's record goes where the leg goes, and ends when it does.
    fn join_records(
        &mut self,
        by: Side,
        other: &mut Call,
        far: Side,
        [heard, heard_there]: [Option<Box<LegStatistics>>; 2],
        exchange: &Exchange,
    ) {
        let (at, who) = (exchange.wall_time(), name_of(&self.leg(by).peer));
        let (mut stays, goes) = self.part_records(by);
        let (mut comes, left) = other.part_records(far.other());
        let mark = |leg, joined: &CallRecord| {
            let (by, joined) = (who.clone(), joined.call.clone());
            Transferred { at, by, joined, leg }
        };
        let marks = [mark(heard, &comes), mark(heard_there, &stays)];
        let [here, there] = marks;
        stays.transferred(here);
        comes.transferred(there);
        if by != far {
            comes.turn();
        }
        self.record = stays;
        self.joined = Some(Box::new(Joined { record: comes, leg: by }));

        // What is left there is of whoever transferred, who leaves.
        let goes = goes.map(|mut record| {
            if by != far {
                record.turn();
            }
            Joined { record, leg: far }
        });
        match (left, goes) {
            (Some(left), goes) => {
                other.record = left;
                other.joined = goes.map(Box::new);
            }
            (None, Some(goes)) => other.record = goes.record,
            (None, None) => other.has_no_record(),
        }
    }

    /// The record of whoever stays when `side` leaves, and `side`'s own if it has one.
    fn part_records(&mut self, side: Side) -> (CallRecord, Option<CallRecord>) {
        match self.joined.take() {
            None => (self.record.clone(), None),
            Some(joined) if joined.leg == side => (self.record.clone(), Some(joined.record)),
            Some(joined) => (joined.record, Some(self.record.clone())),
        }
    }
}

fn leg_of(statistics: CallStatistics, side: Side) -> Box<LegStatistics> {
    Box::new(match side {
        Side::A => statistics.a,
        Side::B => statistics.b,
    })
}

fn name_of(peer: &Peer) -> String {
    match peer {
        Peer::User(name) | Peer::Trunk(name) => name.clone(),
    }
}

impl Leg {
    /// Says how far the transfer is that this leg asked for, if it wants to know.
    pub fn tell_transfer(&mut self, status: Status, exchange: &mut Exchange) {
        let Some(subscription) = self.subscription else { return };
        if status.is_final() {
            self.subscription = None;
        }
        let (Some(dialog), Some(flow)) = (&mut self.dialog, self.flow) else { return };
        let mut notify = subscription.notify(dialog, status);
        notify.headers.push(HeaderName::UserAgent, PRODUCT);
        let flow = next_hop(dialog, flow);
        // Its outcome changes nothing: the transaction ends by itself.
        let _ = exchange.transactions.request(notify, flow, exchange.now, &mut exchange.random);
    }
}
