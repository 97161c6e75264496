//! The registry's legs: changed, replaced, exchanged between calls.

use std::time::Instant;

use super::calls::{Entry, EntryLeg, check_dscp};
use super::{Asked, Pending, Place, Registry, Result, Ticket, refuse, wrong_reply};
use crate::control::message::{
    Done, Dscp, ErrorCode, ExchangeLegs, Format, LegReplaced, LegsExchanged, Outcome, ReplaceLeg,
    Request, Side, UpdateLeg,
};
use crate::media::budget::Weight;
use crate::media::channel::{Command as CoreCommand, Reply};

/// What an `update_leg` changes here, once the core has agreed.
#[derive(Debug)]
pub(super) struct Changed {
    leg: Side,
    format: Option<Box<Format>>,
    dscp: Option<Dscp>,
}

/// The leg that is to take another's place.
#[derive(Debug)]
pub(super) struct Replacing {
    leg: Side,
    new: EntryLeg,
}

impl Registry {
    pub(super) fn update_leg(
        &mut self,
        ticket: Ticket,
        update: UpdateLeg,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        let UpdateLeg { call, leg, change } = update;
        let place = self.find(&call)?;
        let entry_leg = &self.calls[&call].entry.legs[leg.index()];
        check_change(&change, entry_leg.ports.is_some())?;
        let format = change.format.clone().map(Box::new);
        let changed = Changed { leg, format, dscp: change.dscp };
        let command = CoreCommand::Update(place.key, leg, Box::new(change));
        self.ask(place.thread, command, Pending::Update(ticket, place, Box::new(changed)), now);
        Ok(None)
    }

    pub(super) fn updated(&mut self, place: &Place, changed: Changed) -> Outcome {
        if let Some(entry) = self.entry_at(place) {
            let leg = &mut entry.legs[changed.leg.index()];
            leg.format = changed.format.or(leg.format.take());
            leg.dscp = changed.dscp.or(leg.dscp);
            if let (Some(dscp), Some((_, sockets))) = (changed.dscp, &leg.ports) {
                // Refused in some containers; the call goes on without.
                let _ = sockets.iter().try_for_each(|socket| socket.set_dscp(dscp.value()));
            }
        }
        self.weigh(place);
        UpdateLeg::outcome(Done {})
    }

    pub(super) fn replace_leg(
        &mut self,
        ticket: Ticket,
        replace: ReplaceLeg,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        let ReplaceLeg { call, leg, with } = replace;
        let place = self.find(&call)?;
        let made = self.cores[place.thread].new_leg(with, now);
        let (new_leg, new) = made.map_err(|error| error.within("with"))?;
        let replacing = Box::new(Replacing { leg, new });
        let command = CoreCommand::Replace(place.key, leg, Box::new(new_leg));
        self.ask(place.thread, command, Pending::Replace(ticket, place, replacing), now);
        Ok(None)
    }

    pub(super) fn replaced(
        &mut self,
        place: &Place,
        Replacing { leg, new }: Replacing,
        reply: Result<Reply>,
        now: Instant,
    ) -> Result<Outcome> {
        let replaced = match (self.entry_at(place), reply) {
            (Some(entry), Ok(Reply::Replaced(statistics))) => Ok((entry, *statistics)),
            // It was ended meanwhile, and takes the new leg with it.
            (None, Ok(Reply::Replaced(_))) => refuse(ErrorCode::UnknownCall, "the call is gone"),
            (_, Ok(other)) => Err(wrong_reply(&other)),
            (_, Err(error)) => Err(error),
        };
        let (entry, statistics) = match replaced {
            Ok(replaced) => replaced,
            Err(error) => {
                self.cores[place.thread].close(&new, now);
                return Err(error);
            }
        };
        let local = new.local;
        let old = std::mem::replace(&mut entry.legs[leg.index()], new);
        self.cores[place.thread].close(&old, now);
        self.weigh(place);
        Ok(ReplaceLeg::outcome(LegReplaced { local, statistics }))
    }

    pub(super) fn exchange_legs(
        &mut self,
        ticket: Ticket,
        exchange: &ExchangeLegs,
        now: Instant,
    ) -> Result<Option<Outcome>> {
        let [one, other] = [self.find(&exchange.call)?, self.find(&exchange.with)?];
        if one.call == other.call {
            return refuse(ErrorCode::Unsupported, "with: it is the same call");
        }
        if one.thread != other.thread {
            let threads = format!("{} and {}", one.thread, other.thread);
            let message = format!("with: the calls are on different threads, {threads}");
            return refuse(ErrorCode::Unsupported, message);
        }
        let thread = one.thread;
        let command =
            CoreCommand::Exchange([(one.key, exchange.leg), (other.key, exchange.with_leg)]);
        let places = [(one, exchange.leg), (other, exchange.with_leg)];
        self.ask(thread, command, Pending::Exchange(ticket, places), now);
        Ok(None)
    }

    pub(super) fn exchanged(
        &mut self,
        places: &[(Place, Side); 2],
        reply: Result<Reply>,
    ) -> Result<Outcome> {
        let [call, with] = match reply? {
            Reply::Exchanged(until_then) => *until_then,
            other => return Err(wrong_reply(&other)),
        };
        let [one, other] = places;
        let mut leg_at = |(place, side): &(Place, Side)| {
            Some(self.entry_or_ending_at(place)?.legs[side.index()].clone())
        };
        if let (Some(goes), Some(comes)) = (leg_at(one), leg_at(other)) {
            for ((place, side), leg) in [(one, comes), (other, goes)] {
                if let Some(entry) = self.entry_or_ending_at(place) {
                    entry.legs[side.index()] = leg;
                }
                self.weigh(place);
            }
        }
        Ok(ExchangeLegs::outcome(LegsExchanged { call, with }))
    }

    /// What a call takes of its core follows its formats.
    fn weigh(&mut self, place: &Place) {
        let Some(entry) = self.entry_or_ending_at(place) else { return };
        let [a, b] = [&entry.legs[0], &entry.legs[1]].map(EntryLeg::codecs);
        let weight = Weight::of(a, b);
        let before = std::mem::replace(&mut entry.weight, weight);
        let core = &mut self.cores[place.thread];
        core.weight = core.weight.minus(before).plus(weight);
    }

    /// The same, also while its core has yet to end it.
    fn entry_or_ending_at(&mut self, place: &Place) -> Option<&mut Entry> {
        let is_ending = |asked: &&mut Asked| {
            asked.thread == place.thread
                && matches!(&asked.pending, Pending::Delete(_, _, it) if it.key == place.key)
        };
        if self.entry_at(place).is_some() {
            return self.entry_at(place);
        }
        match &mut self.asked.values_mut().find(is_ending)?.pending {
            Pending::Delete(_, _, ending) => Some(&mut ending.entry),
            _ => None,
        }
    }
}

/// What a leg on a thread's shared port cannot have for itself, and one on its own ports has no use for.
fn check_change(change: &crate::control::message::LegChange, is_plain: bool) -> Result<()> {
    if !is_plain {
        check_dscp(change.dscp.is_some())?;
    }
    let misplaced = [
        ("ice", change.ice.is_some() && is_plain),
        ("remote_ufrag", change.remote_ufrag.is_some() && is_plain),
        ("remote_rtcp", change.remote_rtcp.is_some() && !is_plain),
        ("source", change.source.is_some() && !is_plain),
    ];
    match misplaced.iter().find(|(_, is_misplaced)| *is_misplaced) {
        Some((field, _)) => {
            let kind = if is_plain { "plain" } else { "ice" };
            refuse(
                ErrorCode::Unsupported,
                format!("{field}: not of a leg whose transport is {kind}"),
            )
        }
        None => Ok(()),
    }
}
