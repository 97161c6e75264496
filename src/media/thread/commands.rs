//! What a media thread is told: calls made, changed and ended, digits and datagrams sent, counters read.
//!
//! In: [`Command`]s of the thread's channel. Out: a [`Reply`] to each, in order.
//! A command that is refused changes nothing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

use super::{Owner, Thread, thread_cpu};
use crate::base::discard::Discard;
use crate::base::random;
use crate::control::message::{ControlError, ErrorCode, Side, ThreadStatistics, discard_map};
use crate::media::call::Call;
use crate::media::channel::{CallKey, Command, LegChange, NewLeg, NewTransport, Reply, Token};
use crate::media::leg::{Kind, Leg, LegTransport};
use crate::media::outgoing::Outgoing;
use crate::media::security::SecurityContext;
use crate::os::ring::{Receive, SocketIndex};
use crate::os::sockets;
use crate::wire::telephone_event::{Digit, DigitTime};

impl Thread {
    /// What waits in the command queue, in order.
    pub(super) fn commands(&mut self, now: Instant) {
        while let Some((token, command)) = self.end.next_command() {
            self.command(token, command, now);
        }
    }

    fn command(&mut self, token: Token, command: Command, now: Instant) {
        let reply = match command {
            Command::Create { name, legs } => self.create(name, *legs, now).map(Reply::Created),
            Command::Update(key, side, change) => {
                self.update(key, side, *change, now).map(|()| Reply::Done)
            }
            Command::Delete(key) => self.delete(key, now),
            Command::Query(key) => match self.calls.find(key) {
                Some(call) => Ok(Reply::Call(Box::new(call.statistics(self.end.thread, now)))),
                None => Err(no_call()),
            },
            Command::QueryThread => Ok(Reply::Thread(Box::new(self.statistics()))),
            Command::SendDatagram(to, datagram) => self.send_datagram(to, &datagram),
            Command::SendDigit(key, side, digit, time) => {
                self.send_digit(key, side, digit, time, now)
            }
        };
        self.end.reply(token, reply);
    }

    fn create(
        &mut self,
        name: std::sync::Arc<str>,
        legs: [NewLeg; 2],
        now: Instant,
    ) -> Result<CallKey, ControlError> {
        let Some(key) = self.calls.next_key() else {
            return Err(ControlError::new(ErrorCode::NoCapacity, "the thread's table is full"));
        };
        // One name for both legs' sources, as RFC 7022 §4.2 makes it: random, for this call only.
        let cname = random::token(&mut self.random, 16);
        let [a, b] = legs;
        let mut made = Vec::with_capacity(2);
        for (side, leg) in [(Side::A, a), (Side::B, b)] {
            match self.make_leg(key, side, leg, &cname, now) {
                Ok(leg) => made.push(leg),
                Err(error) => {
                    made.iter().for_each(|leg| self.close_leg(leg));
                    return Err(error);
                }
            }
        }
        let Ok(legs) = <[Leg; 2]>::try_from(made) else { return Err(no_call()) };
        match Call::new(name, legs, &self.arena, self.expected_load(), now) {
            Ok(mut call) => {
                self.timers.arm(key, call.next_timeout(), &mut call.armed);
                self.calls.insert(key, call);
                self.counters.calls_created += 1;
                Ok(key)
            }
            Err(refused) => {
                refused.legs.iter().for_each(|leg| self.close_leg(leg));
                Err(refused.error)
            }
        }
    }

    fn make_leg(
        &mut self,
        key: CallKey,
        side: Side,
        leg: NewLeg,
        cname: &str,
        now: Instant,
    ) -> Result<Leg, ControlError> {
        let transport = match leg.transport {
            NewTransport::Ice(credentials) => LegTransport::Ice {
                socket: self.browsers,
                credentials,
                remote: None,
                consent_until: None,
            },
            NewTransport::Plain { sockets: [rtp, rtcp], remote } => {
                let rtp = self.add_socket(rtp, Owner::Leg(key, side, Kind::Rtp))?;
                let rtcp = self
                    .add_socket(rtcp, Owner::Leg(key, side, Kind::Rtcp))
                    .inspect_err(|_| self.ring.remove_socket(rtp))?;
                let mut transport = LegTransport::Plain { rtp, rtcp, remote: None };
                if let Some([remote, remote_rtcp]) = remote {
                    self.connect(&mut transport, remote, Some(remote_rtcp)).inspect_err(|_| {
                        self.ring.remove_socket(rtp);
                        self.ring.remove_socket(rtcp);
                    })?;
                }
                transport
            }
        };
        let outgoing = Outgoing::new(&mut self.random);
        let security = SecurityContext::new(leg.security, outgoing.ssrc());
        Ok(Leg::new(transport, security, leg.format, outgoing, cname.into(), now))
    }

    fn add_socket(&mut self, fd: OwnedFd, owner: Owner) -> Result<SocketIndex, ControlError> {
        let socket = self.ring.add_socket(fd, Receive::NotYet).map_err(system_refused)?;
        self.owners[socket.position()] = owner;
        Ok(socket)
    }

    /// Ties a plain leg to its far end: from here on nobody else is heard.
    fn connect(
        &mut self,
        transport: &mut LegTransport,
        to: SocketAddr,
        to_rtcp: Option<SocketAddr>,
    ) -> Result<(), ControlError> {
        let LegTransport::Plain { rtp, rtcp, remote } = transport else { return Ok(()) };
        let next_port = || SocketAddr::new(to.ip(), to.port().saturating_add(1));
        let to_rtcp = to_rtcp.unwrap_or_else(next_port);
        if *remote == Some([to, to_rtcp]) {
            return Ok(());
        }
        for (socket, to) in [(*rtp, to), (*rtcp, to_rtcp)] {
            if let Some(fd) = self.ring.descriptor(socket) {
                sockets::connect(fd, to).map_err(system_refused)?;
            }
            self.ring.receive_on(socket, Receive::Connected);
        }
        *remote = Some([to, to_rtcp]);
        Ok(())
    }

    fn update(
        &mut self,
        key: CallKey,
        side: Side,
        change: LegChange,
        now: Instant,
    ) -> Result<(), ControlError> {
        let mut call = self.calls.take(key).ok_or_else(no_call)?;
        let outcome = self.change_leg(&mut call, key, side, change, now);
        self.timers.arm(key, call.next_timeout(), &mut call.armed);
        self.calls.insert(key, call);
        outcome
    }

    /// What can be refused comes first, so that a refused update changes nothing.
    fn change_leg(
        &mut self,
        call: &mut Call,
        key: CallKey,
        side: Side,
        change: LegChange,
        now: Instant,
    ) -> Result<(), ControlError> {
        if let Some(format) = change.format {
            call.set_format(side, format, &self.arena, self.budget.load())?;
        }
        let leg = &mut call.legs[side.index()];
        if let Some((to, to_rtcp)) = change.remote {
            if let LegTransport::Ice { remote, .. } = &mut leg.transport {
                if let Some(old) = remote.replace(to) {
                    self.addresses.remove(&old);
                }
                // An address that another leg had is this one's now: its browser is the last that
                // proved to be there.
                self.addresses.insert(to, (key, side));
                leg.renew_consent(now);
            } else {
                self.connect(&mut leg.transport, to, to_rtcp)?;
            }
        }
        if let (Some(fragment), LegTransport::Ice { credentials, .. }) =
            (change.remote_ufrag, &mut leg.transport)
        {
            credentials.remote_ufrag = Some(fragment);
        }
        if let Some(keys) = change.security {
            leg.security.replace(keys, leg.outgoing.ssrc());
        }
        Ok(())
    }

    fn delete(&mut self, key: CallKey, now: Instant) -> Result<Reply, ControlError> {
        let call = self.calls.take(key).ok_or_else(no_call)?;
        let statistics = call.statistics(self.end.thread, now);
        for leg in &call.legs {
            self.close_leg(leg);
            let remote = leg.transport.remote();
            if let Some(remote) = remote
                && self.addresses.get(&remote).is_some_and(|(owner, _)| *owner == key)
            {
                self.addresses.remove(&remote);
            }
        }
        self.calls.free(key);
        Ok(Reply::Call(Box::new(statistics)))
    }

    fn close_leg(&mut self, leg: &Leg) {
        if let LegTransport::Plain { rtp, rtcp, .. } = leg.transport {
            for socket in [rtp, rtcp] {
                self.owners[socket.position()] = Owner::Nobody;
                self.ring.remove_socket(socket);
            }
        }
    }

    fn send_datagram(&mut self, to: SocketAddr, datagram: &[u8]) -> Result<Reply, ControlError> {
        let queued = self.outbox.queue(self.browsers, Some(to), |slot| {
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
    ) -> Result<Reply, ControlError> {
        let call = self.calls.find(key).ok_or_else(no_call)?;
        let leg = &mut call.legs[side.index()];
        if leg.format.as_ref().is_none_or(|format| format.send_events.is_none()) {
            let message = "the leg has no event format to send";
            return Err(ControlError::new(ErrorCode::Unsupported, message));
        }
        leg.digits
            .push(digit, time, now)
            .map_err(|full| ControlError::new(ErrorCode::NoCapacity, full.to_string()))?;
        self.timers.arm(key, call.next_timeout(), &mut call.armed);
        Ok(Reply::Done)
    }

    fn statistics(&self) -> ThreadStatistics {
        let ring = self.ring.counters();
        let mut discards = self.counters.discards.clone();
        self.calls.all().for_each(|call| {
            call.legs.iter().for_each(|leg| discards.add(&leg.counters.discards));
        });
        ThreadStatistics {
            calls: self.calls.all().count() as u64,
            calls_created: self.counters.calls_created,
            datagrams_received: ring.received,
            datagrams_sent: ring.sent,
            datagrams_punted: self.counters.punted,
            frames_decoded: self.frames.decoded,
            frames_encoded: self.frames.encoded,
            frames_silent: self.frames.silent,
            cpu_ms: thread_cpu().as_secs_f64() * 1e3,
            pauses: self.counters.pauses,
            receive_buffers_exhausted: ring.receive_buffers_exhausted,
            receive_space_exhausted: self.ring.receive_space_exhausted(),
            receive_errors: ring.receive_errors,
            send_space_exhausted: ring.send_space_exhausted,
            send_errors: ring.send_errors,
            submissions_full: ring.submissions_full,
            completions_overflowed: ring.completions_overflowed,
            discards: discard_map(&discards),
            ..ThreadStatistics::default()
        }
    }
}

fn no_call() -> ControlError {
    ControlError::new(ErrorCode::UnknownCall, "the call is gone")
}

fn system_refused(error: io::Error) -> ControlError {
    ControlError::new(ErrorCode::SystemRefused, error.to_string())
}
