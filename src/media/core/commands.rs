//! What a core is told: calls made, changed and ended, legs replaced, digits and datagrams sent, sounds
//! played, counters read.
//!
//! In: a [`Command`] and the network. Out: a [`Reply`]. A command that is refused changes nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Core, LegKey, Owner};
use crate::audio::sound::Sound;
use crate::base::discard::Discard;
use crate::base::random;
use crate::control::message::{
    CallName, CallStatistics, ControlError, ErrorCode, LegChange, PlayEnd, Side, Source,
    ThreadStatistics, Transport as WantedTransport,
};
use crate::media::call::{BothStages, Call};
use crate::media::channel::{CallKey, Command, NewLeg, Reply};
use crate::media::format::LegFormat;
use crate::media::kind::Kind;
use crate::media::leg::Leg;
use crate::media::leg::connection::{Connection, Transport};
use crate::media::leg::learning::Learning;
use crate::media::leg::outgoing::Outgoing;
use crate::media::leg::security::SecurityContext;
use crate::media::leg::snapshot::{Lives, passed_since, take_up};
use crate::os::account::thread_cpu;
use crate::os::network::Network;
use crate::os::route::{Destination, SocketIndex};
use crate::os::sockets::BoundSocket;
use crate::wire::telephone_event::{Digit, DigitTime};

type Result<T> = std::result::Result<T, ControlError>;

impl Core {
    /// Carries a command out.
    pub fn handle_command(
        &mut self,
        command: Command,
        network: &mut impl Network,
        now: Instant,
    ) -> Result<Reply> {
        match command {
            Command::Create { name, legs } => {
                self.create(name, *legs, network, now).map(Reply::Created)
            }
            Command::Update(key, side, change) => {
                self.update(key, side, *change, now).map(|()| Reply::Done)
            }
            Command::Replace(key, side, leg) => self.replace(key, side, *leg, network, now),
            Command::Exchange(places) => self.exchange(places, now),
            Command::Delete(key) => self.delete(key, network, now),
            Command::Snapshot(key) => self.snapshot(key, now),
            Command::Query(keys) => Ok(Reply::Calls(
                keys.into_iter().map(|key| self.call_statistics(key, now)).collect(),
            )),
            Command::QueryThread => Ok(Reply::Thread(Box::new(self.statistics(network)))),
            Command::SendDatagram(to, datagram) => self.send_datagram(to, &datagram),
            Command::SendDigit(key, side, digit, time) => {
                self.send_digit(key, side, digit, time, now)
            }
            Command::Play(key, side, sound) => self.play(key, side, *sound, now),
            Command::StopPlaying(key, side) => self.stop_playing(key, side, now),
        }
    }

    fn create(
        &mut self,
        name: CallName,
        legs: [NewLeg; 2],
        network: &mut impl Network,
        now: Instant,
    ) -> Result<CallKey> {
        let Some(key) = self.calls.next_key() else {
            return Err(ControlError::new(ErrorCode::NoCapacity, "the thread's table is full"));
        };
        // One name for both legs' sources, as RFC 7022 §4.2 makes it: random, for this call only.
        let cname = random::token(&mut self.common.random, 16);
        let mut made = Vec::with_capacity(2);
        for (side, leg) in Side::BOTH.into_iter().zip(legs) {
            match self.make_leg((key, side), leg, &cname, network, now) {
                Ok(leg) => made.push(leg),
                Err(error) => {
                    made.iter().for_each(|leg| self.close_leg(leg, network));
                    return Err(error.within(side));
                }
            }
        }
        let Ok(legs) = <[Leg; 2]>::try_from(made) else { return Err(no_call()) };
        if let Err(error) = legs[1].check_indexes_beside(&legs[0], Lives::On) {
            legs.iter().for_each(|leg| self.close_leg(leg, network));
            return Err(error.within(Side::B));
        }
        match Call::new(name, legs, &self.common, self.expected_load(), now) {
            Ok(mut call) => {
                self.timers.arm(key, call.next_timeout(), &mut call.armed);
                for (side, leg) in Side::BOTH.into_iter().zip(&call.legs) {
                    self.note_nominated(key, side, leg.connection.nominated(now));
                }
                self.calls.insert(key, call);
                self.counters.calls_created += 1;
                Ok(key)
            }
            Err(refused) => {
                refused.legs.iter().for_each(|leg| self.close_leg(leg, network));
                Err(refused.error)
            }
        }
    }

    fn make_leg(
        &mut self,
        (key, side): LegKey,
        NewLeg { parameters, sockets }: NewLeg,
        cname: &str,
        network: &mut impl Network,
        now: Instant,
    ) -> Result<Leg> {
        let format = parameters.format.as_ref().map(LegFormat::new).transpose()?;
        let resume = parameters.resume.as_deref();
        let passed = resume.map_or(Duration::ZERO, |it| passed_since(it, &self.common.wall, now));
        let keys = parameters.security.clone();
        let (security, outgoing) = match resume {
            Some(resume) => take_up(resume, &parameters.transport, keys, passed)?,
            None => {
                let outgoing = Outgoing::new(&mut self.common.random);
                (SecurityContext::new(keys, outgoing.ssrc()), outgoing)
            }
        };
        let transport = match (&parameters.transport, sockets) {
            (WantedTransport::Ice(credentials), _) => Transport::Ice {
                socket: self.browsers,
                credentials: credentials.clone(),
                remote: None,
                consent_until: None,
            },
            (WantedTransport::Plain(plain), Some([rtp, rtcp])) => {
                let rtp = self.add(rtp, Owner::Leg(key, side, Kind::Rtp), network)?;
                let rtcp = self
                    .add(rtcp, Owner::Leg(key, side, Kind::Rtcp), network)
                    .inspect_err(|_| self.remove(rtp, network))?;
                let learning = Box::new(learning_of(&plain.source));
                Transport::Plain { sockets: [rtp, rtcp], remotes: None, learning }
            }
            (WantedTransport::Plain(_), None) => {
                return Err(ControlError::new(ErrorCode::NoPorts, "no ports were bound"));
            }
        };
        let mut connection = Connection::new(transport, security);
        if let WantedTransport::Plain(plain) = &parameters.transport
            && let Some(remote) = plain.remote
        {
            connection.name(remote, plain.remote_rtcp);
        }
        let cname = resume.map_or(cname, |resume| &resume.sent.cname);
        let mut leg = Leg::new(connection, format, outgoing, cname.into(), now);
        if let Some(resume) = resume {
            leg.resume(resume, passed, now);
        }
        leg.direction = parameters.direction;
        leg.set_silence_limit(parameters.media_timeout_ms.duration(), now);
        Ok(leg)
    }

    fn add(
        &mut self,
        socket: BoundSocket,
        owner: Owner,
        network: &mut impl Network,
    ) -> Result<SocketIndex> {
        let socket = network
            .add(socket)
            .map_err(|error| ControlError::new(ErrorCode::SystemRefused, error.to_string()))?;
        let place = &mut self.owners[socket.position()];
        debug_assert!(matches!(place, Owner::Nobody), "a socket has one owner");
        *place = owner;
        Ok(socket)
    }

    fn remove(&mut self, socket: SocketIndex, network: &mut impl Network) {
        let place = &mut self.owners[socket.position()];
        debug_assert!(matches!(place, Owner::Leg(..)), "only what a leg owns is closed, and once");
        *place = Owner::Nobody;
        network.remove(socket);
    }

    fn update(&mut self, key: CallKey, side: Side, change: LegChange, now: Instant) -> Result<()> {
        let call = self.calls.find(key).ok_or_else(no_call)?;
        // What can be refused comes first, so that a refused update changes nothing.
        if let Some(security) = &change.security {
            call.legs[side.index()].connection.check_security(security)?;
        }
        if let Some(format) = &change.format {
            call.set_format(side, LegFormat::new(format)?, &self.common)?;
        }
        let (leg, _, heard) = call.direction(side);
        if let Some(direction) = change.direction
            && leg.direction != direction
        {
            leg.direction = direction;
            // What was not heard meanwhile is no loss to be filled, and no noise.
            heard.order.reset();
            heard.track.forget_noise();
            leg.restart_silence(now);
        }
        if let Some(limit) = change.media_timeout_ms {
            leg.set_silence_limit(limit.duration(), now);
        }
        if let Some(security) = change.security {
            let ssrc = leg.sending.outgoing.ssrc();
            if leg.connection.secure(security, ssrc) {
                let used = leg.connection.security.rtp_index_used();
                leg.sending.outgoing.restart_rounds(used);
            }
        }
        let connection = &mut leg.connection;
        let nominated = match &mut connection.transport {
            Transport::Plain { learning, .. } => {
                if let Some(source) = &change.source {
                    learning.change_source(learning_of(source));
                }
                match (change.remote, change.remote_rtcp) {
                    (Some(rtp), rtcp) => connection.name(rtp, rtcp),
                    (None, Some(rtcp)) => connection.name_rtcp(rtcp),
                    (None, None) => {}
                }
                None
            }
            Transport::Ice { credentials, remote, .. } => {
                if let Some(ice) = change.ice {
                    *credentials = ice;
                }
                if let Some(fragment) = change.remote_ufrag {
                    credentials.remote_ufrag = Some(fragment);
                }
                change.remote.map(|to| (remote.replace(to.into()), to))
            }
        };
        if let Some((before, to)) = nominated {
            connection.renew_consent(now);
            if let Some(before) = before {
                self.forget_address(before.address, (key, side));
            }
            self.addresses.insert(to, (key, side));
        }
        self.changed(key);
        Ok(())
    }

    /// An address that another leg had is this one's now: its browser is the last that proved to be there.
    fn note_nominated(
        &mut self,
        key: CallKey,
        side: Side,
        nominated: Option<(SocketAddr, Duration)>,
    ) {
        if let Some((address, _)) = nominated {
            self.addresses.insert(address, (key, side));
        }
    }

    /// A call was changed: it may want to be woken sooner, and may have something to tell.
    fn changed(&mut self, key: CallKey) {
        if let Some(call) = self.calls.find(key) {
            self.timers.arm(key, call.next_timeout(), &mut call.armed);
        }
        if !self.common.notices.is_empty() {
            self.tell(key);
        }
    }

    fn replace(
        &mut self,
        key: CallKey,
        side: Side,
        leg: NewLeg,
        network: &mut impl Network,
        now: Instant,
    ) -> Result<Reply> {
        let cname = self.calls.find(key).ok_or_else(no_call)?.legs[side.index()].cname().to_owned();
        let leg = self
            .make_leg((key, side), leg, &cname, network, now)
            .map_err(|error| error.within("with"))?;
        let Some(call) = self.calls.find(key) else { return Err(no_call()) };
        let [old, other] = [side, side.other()].map(|side| &call.legs[side.index()]);
        let checked = leg
            .check_indexes_beside(old, Lives::NoLonger)
            .and_then(|()| leg.check_indexes_beside(other, Lives::On));
        if let Err(error) = checked {
            self.close_leg(&leg, network);
            return Err(error.within("with"));
        }
        let nominated = leg.connection.nominated(now);
        let goes_on = leg.sending.outgoing.ssrc() == old.sending.outgoing.ssrc();
        match call.replace_leg(side, leg, &mut self.common, now) {
            Ok((mut old, statistics)) => {
                self.counters.discards.add(&statistics.discards);
                // The source that goes on does not leave.
                if !goes_on && let Err(reason) = old.say_bye(&mut self.common, now) {
                    self.counters.discards.count(reason);
                }
                self.send_last(network);
                self.end_leg((key, side), &old, network);
                self.note_nominated(key, side, nominated);
                self.changed(key);
                Ok(Reply::Replaced(statistics))
            }
            Err((error, leg)) => {
                self.close_leg(&leg, network);
                Err(error)
            }
        }
    }

    /// Lets two calls change legs with one another. To whoever is at a leg's far end it is as if the one
    /// it talks to had been replaced: its own addresses, keys and source stay.
    fn exchange(&mut self, places: [LegKey; 2], now: Instant) -> Result<Reply> {
        let [(one, one_side), (other, other_side)] = places;
        let [one, other] = self.calls.pair(one, other).ok_or_else(no_call)?;
        let legs = [&one.legs[one_side.index()], &other.legs[other_side.index()]];
        let stay = [&one.legs[one_side.other().index()], &other.legs[other_side.other().index()]];
        legs[1].check_indexes_beside(stay[0], Lives::On)?;
        legs[0].check_indexes_beside(stay[1], Lives::On)?;
        let stages = [
            one.fit_leg(one_side, legs[1], &self.common).map_err(|error| error.within("call"))?,
            other
                .fit_leg(other_side, legs[0], &self.common)
                .map_err(|error| error.within("with"))?,
        ];
        let until_then = places.map(|(key, side)| self.end_leg_of(key, side, now));
        let [Some(one), Some(other)] = until_then else { return Err(no_call()) };
        if let Some([a, b]) = self.calls.pair(places[0].0, places[1].0) {
            std::mem::swap(&mut a.legs[one_side.index()], &mut b.legs[other_side.index()]);
        }
        for (place, stages) in places.into_iter().zip(stages) {
            self.begin_leg_of(place, stages, now);
        }
        Ok(Reply::Exchanged(Box::new([one, other])))
    }

    /// A call's leg is about to go. What the call says of it then leaves under its own name.
    fn end_leg_of(&mut self, key: CallKey, side: Side, now: Instant) -> Option<CallStatistics> {
        let call = self.calls.find(key)?;
        call.end_leg(side, &mut self.common, now);
        let statistics = call.statistics(self.thread, now);
        self.counters.discards.add(call.heard_discards(side));
        self.changed(key);
        Some(statistics)
    }

    /// A call has got a leg that was another one's: what comes for it is found there from now on.
    fn begin_leg_of(&mut self, (key, side): LegKey, stages: BothStages, now: Instant) {
        let Some(call) = self.calls.find(key) else { return };
        call.begin_leg(side, stages, now);
        let connection = &call.legs[side.index()].connection;
        let remote = connection.remote(Kind::Rtp);
        match connection.transport {
            Transport::Plain { sockets, .. } => {
                for (socket, kind) in sockets.into_iter().zip([Kind::Rtp, Kind::Rtcp]) {
                    self.owners[socket.position()] = Owner::Leg(key, side, kind);
                }
            }
            Transport::Ice { .. } => {
                if let Some(remote) = remote {
                    self.addresses.insert(remote, (key, side));
                }
            }
        }
        self.changed(key);
    }

    fn delete(&mut self, key: CallKey, network: &mut impl Network, now: Instant) -> Result<Reply> {
        let mut call = self.calls.take(key).ok_or_else(no_call)?;
        for leg in &mut call.legs {
            if leg.sending.outgoing.packets() > 0
                && let Err(reason) = leg.say_bye(&mut self.common, now)
            {
                leg.discards.count(reason);
            }
        }
        self.send_last(network);
        let statistics = call.statistics(self.thread, now);
        // Counters only grow: what the call counted is the core's from now on.
        self.counters.discards.add(&statistics.a.discards);
        self.counters.discards.add(&statistics.b.discards);
        for (side, leg) in Side::BOTH.into_iter().zip(&call.legs) {
            self.end_leg((key, side), leg, network);
        }
        debug_assert!(
            self.addresses.values().all(|(owner, _)| *owner != key),
            "an address belongs to a call that is there"
        );
        self.calls.free(key);
        Ok(Reply::Ended(Box::new(statistics)))
    }

    /// What a leg said last has to leave while its socket is there. What a network cannot do it says again when
    /// it is used next.
    fn send_last(&mut self, network: &mut impl Network) {
        let _ = network.send(&mut self.common.outbox);
    }

    /// Forgets a leg that is no longer a call's.
    fn end_leg(&mut self, owner: (CallKey, Side), leg: &Leg, network: &mut impl Network) {
        self.close_leg(leg, network);
        let is_ice = matches!(leg.connection.transport, Transport::Ice { .. });
        if let Some(remote) = leg.connection.remote(Kind::Rtp).filter(|_| is_ice) {
            self.forget_address(remote, owner);
        }
    }

    /// A leg is no longer at an address, unless another one has proved to be there since.
    pub(super) fn forget_address(&mut self, address: SocketAddr, owner: LegKey) {
        if self.addresses.get(&address) == Some(&owner) {
            self.addresses.remove(&address);
        }
    }

    fn close_leg(&mut self, leg: &Leg, network: &mut impl Network) {
        if let Transport::Plain { sockets, .. } = leg.connection.transport {
            sockets.into_iter().for_each(|socket| self.remove(socket, network));
        }
    }

    fn send_datagram(&mut self, to: SocketAddr, datagram: &[u8]) -> Result<Reply> {
        let to = Destination::from(to);
        let queued = self.common.outbox.queue(self.browsers, Some(to), |slot| {
            let slot = slot.get_mut(..datagram.len()).ok_or(Discard::TooLarge)?;
            slot.copy_from_slice(datagram);
            Ok::<_, Discard>(datagram.len())
        });
        match queued {
            Some(Ok(_)) => Ok(Reply::Done),
            _ => Err(ControlError::new(ErrorCode::NoCapacity, "no send slot is free")),
        }
    }

    fn send_digit(
        &mut self,
        key: CallKey,
        side: Side,
        digit: Digit,
        time: DigitTime,
        now: Instant,
    ) -> Result<Reply> {
        let call = self.calls.find(key).ok_or_else(no_call)?;
        let leg = &mut call.legs[side.index()];
        if !leg.direction.sends() {
            let message = format!("leg {side} is not sent to at present, see its direction");
            return Err(ControlError::new(ErrorCode::Unsupported, message));
        }
        if !leg.connection.can_send() {
            let message = format!("leg {side} has no address or no keys yet");
            return Err(ControlError::new(ErrorCode::Unsupported, message));
        }
        let sending = &mut leg.sending;
        if sending.format.as_ref().is_none_or(|format| format.events.is_none()) {
            let message = format!("leg {side} has no event format to send");
            return Err(ControlError::new(ErrorCode::Unsupported, message));
        }
        sending
            .digits
            .push(digit, time, now)
            .map_err(|refused| ControlError::new(ErrorCode::NoCapacity, refused.to_string()))?;
        self.changed(key);
        Ok(Reply::Done)
    }

    fn snapshot(&mut self, key: CallKey, now: Instant) -> Result<Reply> {
        let call = self.calls.find(key).ok_or_else(no_call)?;
        Ok(Reply::Snapshot(Box::new(call.snapshot(&self.common.wall, now))))
    }

    fn play(&mut self, key: CallKey, side: Side, sound: Sound, now: Instant) -> Result<Reply> {
        let call = self.calls.find(key).ok_or_else(no_call)?;
        call.play(side, sound, &mut self.common, now)?;
        self.changed(key);
        Ok(Reply::Done)
    }

    fn stop_playing(&mut self, key: CallKey, side: Side, now: Instant) -> Result<Reply> {
        let call = self.calls.find(key).ok_or_else(no_call)?;
        call.stop_playing(side, PlayEnd::Stopped, &mut self.common, now);
        self.changed(key);
        Ok(Reply::Done)
    }

    fn call_statistics(&mut self, key: CallKey, now: Instant) -> Option<Box<CallStatistics>> {
        let thread = self.thread;
        self.calls.find(key).map(|call| Box::new(call.statistics(thread, now)))
    }

    fn statistics(&self, network: &impl Network) -> ThreadStatistics {
        let counters = network.counters();
        let mut discards = self.counters.discards.clone();
        self.calls.all().for_each(|call| call.add_discards(&mut discards));
        ThreadStatistics {
            calls: self.calls.all().count() as u64,
            calls_created: self.counters.calls_created,
            datagrams_received: counters.received,
            datagrams_sent: counters.sent,
            datagrams_punted: self.counters.punted,
            frames_decoded: self.common.frames.decoded,
            frames_encoded: self.common.frames.encoded,
            frames_silent: self.common.frames.silent,
            cpu_ms: thread_cpu().as_secs_f64() * 1e3,
            pauses: self.counters.pauses,
            receive_buffers_exhausted: counters.receive_buffers_exhausted,
            receive_errors: counters.receive_errors,
            send_space_exhausted: counters.send_space_exhausted,
            send_errors: counters.send_errors,
            submissions_full: counters.submissions_full,
            completions_overflowed: counters.completions_overflowed,
            discards,
            ..ThreadStatistics::default()
        }
    }
}

fn learning_of(source: &Source) -> Learning {
    match source {
        Source::Exact => Learning::default(),
        Source::Within(within) => Learning::within(&within.prefixes),
    }
}

fn no_call() -> ControlError {
    ControlError::new(ErrorCode::UnknownCall, "the call is gone")
}
