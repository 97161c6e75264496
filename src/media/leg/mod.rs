//! A leg: a connection, a hearing half, a sending half, and the RTCP that speaks of both. What passes
//! between two of them is a [`super::stream`]'s.

pub mod connection;
pub mod consent;
pub mod encoding;
pub mod hearing;
pub mod learning;
pub mod outgoing;
pub mod outlet;
pub mod redundancy;
mod reports;
pub mod security;
pub mod sending;
pub mod snapshot;

use std::time::{Duration, Instant};

use self::connection::Connection;
use self::hearing::Hearing;
use self::outgoing::Outgoing;
use self::outlet::Outlet;
use self::reports::Reports;
use self::sending::Sending;
use super::common::Common;
use super::format::LegFormat;
use crate::audio::opus::EncoderSettings;
use crate::base::discard::{Discard, DiscardCounters};
use crate::base::narrow::Narrow;
use crate::base::opaque::opaque;
use crate::control::message::{Direction, LegStatistics};
use crate::media::kind::Kind;
use crate::wire::rtcp::{self, Compound, Presence, RtcpPacket};

/// One leg of a call.
pub struct Leg {
    /// Where its packets come and go, and how they are protected.
    pub connection: Connection,
    /// What it hears.
    pub hearing: Hearing,
    /// What it is sent.
    pub sending: Sending,
    /// Which of the two is wanted at present.
    pub direction: Direction,
    /// Datagrams that went no further, by reason.
    pub discards: DiscardCounters,
    reports: Reports,
    cname: Box<str>,
    silence: SilenceWatch,
}

opaque!(Leg);

/// Tells when nothing was heard for too long.
#[derive(Clone, Copy, Debug)]
struct SilenceWatch {
    /// How long is too long.
    limit: Option<Duration>,
    /// From when the silence counts, before something was heard.
    since: Instant,
    /// When it was last told: it is told once a silence.
    told: Option<Instant>,
}

impl Leg {
    /// A leg that has neither heard nor sent anything.
    pub fn new(
        connection: Connection,
        format: Option<LegFormat>,
        outgoing: Outgoing,
        cname: Box<str>,
        now: Instant,
    ) -> Self {
        let (accepted, sent) = format.map(|format| (format.accepted, format.sent)).unzip();
        Self {
            connection,
            hearing: Hearing::new(accepted),
            sending: Sending::new(sent, outgoing),
            direction: Direction::default(),
            discards: DiscardCounters::default(),
            reports: Reports::new(now),
            cname,
            silence: SilenceWatch { limit: None, since: now, told: None },
        }
    }

    /// Opens the sending half.
    #[inline]
    pub fn outlet<'a>(&'a mut self, common: &'a mut Common, now: Instant) -> Outlet<'a> {
        Outlet::new(&mut self.connection, &mut self.sending, self.direction, common, now)
    }

    /// Takes the far end's RTCP in. What it says about loss may change how we encode: the encoder's
    /// new settings then.
    pub fn hear_rtcp(
        &mut self,
        datagram: &mut [u8],
        common: &Common,
        now: Instant,
    ) -> Result<Option<EncoderSettings>, Discard> {
        let length = self.connection.security.open_rtcp(datagram)?;
        let ours = self.sending.outgoing.ssrc();
        let ntp = common.wall.ntp(now);
        let mut heard = None;
        for packet in rtcp::parse(&datagram[..length])? {
            match packet {
                RtcpPacket::SenderReport { sender, reports, .. } => {
                    self.reports.sender_report(sender.ntp, now);
                    heard = self.reports.report_blocks(reports, ours, ntp).or(heard);
                }
                RtcpPacket::ReceiverReport { reports, .. } => {
                    heard = self.reports.report_blocks(reports, ours, ntp).or(heard);
                }
                // A BYE in RTCP never ends a call: signaling does.
                RtcpPacket::Sdes { .. } | RtcpPacket::Bye(_) | RtcpPacket::Other { .. } => {}
            }
        }
        let encoding = &mut self.sending.encoding;
        let change =
            heard.and_then(|report| encoding.report(report.fraction_lost, common.load, now));
        self.sending.switch_redundancy();
        Ok(change)
    }

    /// When this leg wants to be woken: for a report, a digit, the end of consent, a long silence.
    #[inline]
    pub fn next_timeout(&self) -> Option<Instant> {
        let report = self.can_report().then(|| self.reports.next_timeout());
        let digits = self.sending.digits.next_timeout();
        [self.connection.consent_until(), report, digits, self.silent_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn can_report(&self) -> bool {
        self.connection.can_send() && self.sending.format.is_some()
    }

    /// Sends the report that is due, if one is.
    pub fn send_due_report(&mut self, common: &mut Common, now: Instant) -> Result<(), Discard> {
        if now < self.reports.next_timeout() || !self.can_report() {
            return Ok(());
        }
        self.reports.schedule(now, &mut common.random);
        self.send_report(Presence::Stays, common, now)
    }

    /// Tells the far end that this source is no more (RFC 3550 §6.6), where it can be told.
    pub fn say_bye(&mut self, common: &mut Common, now: Instant) -> Result<(), Discard> {
        if !self.can_report() {
            return Ok(());
        }
        self.send_report(Presence::Leaves, common, now)
    }

    fn send_report(
        &mut self,
        presence: Presence,
        common: &mut Common,
        now: Instant,
    ) -> Result<(), Discard> {
        let (socket, to) = self.connection.route(Kind::Rtcp).ok_or(Discard::NoDestination)?;
        let heard = self.hearing.reception().and_then(|(ssrc, reception)| {
            Some(reports::block(ssrc, reception.report()?, self.reports.echo(now)))
        });
        let compound = Compound {
            ssrc: self.sending.outgoing.ssrc(),
            sender: self.sending.outgoing.sender_information(common.wall.ntp(now), now),
            reports: heard.as_slice(),
            cname: &self.cname,
            presence,
        };
        let security = &mut self.connection.security;
        let queued = common.outbox.queue(socket, Some(to), |slot| {
            let length = rtcp::write_compound(slot, &compound).ok_or(Discard::TooLarge)?;
            security.seal_rtcp(slot, length)
        });
        queued.ok_or(Discard::SendSlotsExhausted)?.map(|_| ())
    }

    /// The name of its source (RFC 7022).
    pub fn cname(&self) -> &str {
        &self.cname
    }

    /// Silence counts from now on.
    pub fn restart_silence(&mut self, now: Instant) {
        self.silence = SilenceWatch { since: now, told: None, ..self.silence };
    }

    /// A silence of this length is told of from now on; `None`: none is.
    pub fn set_silence_limit(&mut self, limit: Option<Duration>, now: Instant) {
        self.silence = SilenceWatch { limit, since: now, told: None };
    }

    /// Time passed that was nobody's: checks and packets could not be heard.
    pub fn extend(&mut self, pause: Duration, now: Instant) {
        self.connection.extend_consent(pause);
        // A silence that was told is the same one after the pause.
        let told = if self.is_silence_told() { Some(now) } else { None };
        self.silence = SilenceWatch { since: now, told, ..self.silence };
    }

    /// From when the present silence counts.
    fn silent_since(&self) -> Instant {
        let since = self.silence.since;
        self.hearing.heard_at().map_or(since, |heard| heard.max(since))
    }

    fn is_silence_told(&self) -> bool {
        self.silence.told.is_some_and(|told| told >= self.silent_since())
    }

    /// When the present silence has lasted too long, unless that was told.
    fn silent_at(&self) -> Option<Instant> {
        let limit = self.silence.limit.filter(|_| self.direction.receives())?;
        (!self.is_silence_told()).then(|| self.silent_since() + limit)
    }

    /// Whether a silence has just lasted too long, and how long; told once a silence.
    pub fn take_silence(&mut self, now: Instant) -> Option<Duration> {
        self.silent_at().filter(|at| *at <= now)?;
        self.silence.told = Some(now);
        Some(now.saturating_duration_since(self.silent_since()))
    }

    /// What the leg knows of itself; what its streams know is added by the call.
    pub fn statistics(&self, now: Instant) -> LegStatistics {
        let remote = self.reports.remote();
        let (hearing, sending) = (&self.hearing, &self.sending);
        let clock_hz = sending.format.as_ref().map_or(8_000, |format| format.codec.clock_hz());
        LegStatistics {
            remote: self.connection.remote(Kind::Rtp),
            direction: self.direction,
            silent_ms: hearing
                .heard_at()
                .map(|at| now.saturating_duration_since(at).as_millis().narrow()),
            packets_received: hearing.counters.packets_received,
            bytes_received: hearing.counters.bytes_received,
            packets_sent: sending.outgoing.packets(),
            bytes_sent: sending.outgoing.bytes(),
            packets_lost: hearing.lost(),
            frames_silent: sending.counters.frames_silent,
            packets_of_silence: hearing.counters.packets_of_silence,
            jitter_ms: hearing.jitter_ms(),
            round_trip_ms: self.reports.round_trip().map(|trip| trip.as_secs_f64() * 1e3),
            encoder: sending.encoding.name().map(str::to_owned),
            remote_loss_percent: remote.map(|r| f64::from(r.fraction_lost) * 100.0 / 256.0),
            remote_packets_lost: remote.map(|r| i64::from(r.cumulative_lost)),
            remote_jitter_ms: remote.map(|r| f64::from(r.jitter) * 1e3 / f64::from(clock_hz)),
            events_sent: sending.counters.events_sent,
            received: hearing.position(|ssrc| self.connection.security.received(ssrc)),
            sent: sending.outgoing.position(),
            discards: self.discards.clone(),
            ..LegStatistics::default()
        }
    }
}
