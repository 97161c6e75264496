//! A leg: where its packets come and go, how they are protected, what they carry, and the state of
//! both directions. What joins two legs is in [`super::call`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::encoding::{Encoding, Load};
use super::format::{LegFormat, Meaning};
use super::noise::OPUS_PAUSE_BYTES;
use super::outgoing::Outgoing;
use super::redundancy::Redundancy;
use super::reports::{self, Reports};
use super::security::SecurityContext;
use super::stream::Order;
use crate::audio::dtmf::DigitSender;
use crate::audio::opus::EncoderSettings;
use crate::audio::reception::Reception;
use crate::base::clock::WallAnchor;
use crate::base::discard::{Discard, DiscardCounters};
use crate::base::random::Random;
use crate::control::message::{Codec, IceCredentials, LegStatistics, Position, discard_map};
use crate::os::outbox::Outbox;
use crate::os::ring::SocketIndex;
use crate::wire::rtcp::{self, Compound, Presence, RtcpPacket};
use crate::wire::rtp::{HEADER_BYTES, PayloadType, RtpHeader, RtpPacket, RtpTimestamp, Ssrc};

/// Consent expires this long after the last authenticated check (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(30);

/// A digit's packets leave this often.
const DIGIT_PACKET_MS: u8 = 20;

/// Where a leg's packets come and go.
pub enum LegTransport {
    /// The thread's shared port; the remote is the nominated address.
    Ice {
        /// The shared socket.
        socket: SocketIndex,
        /// What authenticates checks.
        credentials: IceCredentials,
        /// Where to send, once nominated.
        remote: Option<SocketAddr>,
        /// When the browser's consent ends, once there was one; cleared when that was told.
        consent_until: Option<Instant>,
    },
    /// A pair of its own, connected to the remote once that is known.
    Plain {
        /// RTP socket.
        rtp: SocketIndex,
        /// RTCP socket.
        rtcp: SocketIndex,
        /// The far end's RTP and RTCP addresses.
        remote: Option<[SocketAddr; 2]>,
    },
}

/// Which of a leg's two protocols a datagram belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RTP.
    Rtp,
    /// RTCP.
    Rtcp,
}

impl LegTransport {
    /// The socket to send by and, where it is not connected, the address to send to.
    fn route(&self, kind: Kind) -> Option<(SocketIndex, Option<SocketAddr>)> {
        match self {
            Self::Ice { socket, remote, .. } => remote.map(|remote| (*socket, Some(remote))),
            Self::Plain { rtp, rtcp, remote } => {
                let socket = if kind == Kind::Rtp { *rtp } else { *rtcp };
                remote.map(|_| (socket, None))
            }
        }
    }

    /// The far end's RTP address.
    pub fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Ice { remote, .. } => *remote,
            Self::Plain { remote, .. } => remote.map(|[rtp, _]| rtp),
        }
    }
}

/// What a leg counts.
#[derive(Clone, Debug, Default)]
pub struct LegCounters {
    /// RTP packets accepted.
    pub packets_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
    /// Packets that came as a copy in a later one.
    pub packets_recovered: u64,
    /// Frames rebuilt from in-band FEC.
    pub frames_recovered: u64,
    /// Frames concealed.
    pub frames_concealed: u64,
    /// Packets received that stand for silence.
    pub packets_of_silence: u64,
    /// Packets of silence that were sent without encoding them.
    pub frames_silent: u64,
    /// Telephone events that ended.
    pub events_received: u64,
    /// Telephone events begun.
    pub events_sent: u64,
    /// Datagrams that went no further, by reason.
    pub discards: DiscardCounters,
}

/// The source that a leg hears.
struct Source {
    ssrc: Ssrc,
    reception: Reception,
    last: RtpHeader,
}

/// Whether a packet is of the source heard before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// The leg's first packet.
    First,
    /// The same source.
    Same,
    /// Another source than before.
    NewSource,
}

/// One leg of a call.
pub struct Leg {
    /// Where its packets come and go.
    pub transport: LegTransport,
    /// How they are protected.
    pub security: SecurityContext,
    /// What they carry.
    pub format: Option<LegFormat>,
    /// What we send.
    pub outgoing: Outgoing,
    /// Its counters.
    pub counters: LegCounters,
    /// Digits that the controller sends out of this leg.
    pub digits: DigitSender,
    /// Repeats the packet before, where the far end understands it.
    pub redundancy: Option<Box<Redundancy>>,
    /// How what it is sent is encoded.
    pub encoding: Encoding,
    source: Option<Source>,
    reports: Reports,
    cname: Box<str>,
}

impl Leg {
    /// A leg that has neither heard nor sent anything.
    pub fn new(
        transport: LegTransport,
        security: SecurityContext,
        format: Option<LegFormat>,
        outgoing: Outgoing,
        cname: Box<str>,
        now: Instant,
    ) -> Self {
        Self {
            transport,
            security,
            format,
            outgoing,
            counters: LegCounters::default(),
            digits: DigitSender::new(8_000, DIGIT_PACKET_MS),
            redundancy: None,
            encoding: Encoding::default(),
            source: None,
            reports: Reports::new(now),
            cname,
        }
    }

    /// Whether audio can be sent: address, keys and format are there.
    #[inline]
    pub fn can_send(&self) -> bool {
        self.transport.remote().is_some() && self.security.is_ready() && self.format.is_some()
    }

    /// What a payload type means here.
    #[inline]
    pub fn meaning(&self, payload_type: PayloadType) -> Meaning {
        self.format.as_ref().map_or(Meaning::Unknown, |format| format.meaning(payload_type))
    }

    /// Counts an authentic packet and tells whether its source is the one heard before.
    #[inline]
    pub fn hear(
        &mut self,
        packet: &RtpPacket<'_>,
        meaning: Meaning,
        clock_hz: Option<u32>,
        now: Instant,
    ) -> Continuity {
        let header = packet.header;
        self.counters.packets_received += 1;
        self.counters.bytes_received += packet.payload.len() as u64;
        let of_silence = match meaning {
            Meaning::ComfortNoise => true,
            Meaning::Audio(Codec::Opus) => (1..=OPUS_PAUSE_BYTES).contains(&packet.payload.len()),
            _ => false,
        };
        self.counters.packets_of_silence += u64::from(of_silence);
        let continuity = match &self.source {
            None => Continuity::First,
            Some(source) if source.ssrc == header.ssrc => Continuity::Same,
            Some(_) => Continuity::NewSource,
        };
        if continuity != Continuity::Same {
            let reception = Reception::default();
            self.source = Some(Source { ssrc: header.ssrc, reception, last: header });
        }
        if let Some(source) = &mut self.source {
            source.last = header;
            source.reception.received(&header, clock_hz, now);
        }
        continuity
    }

    /// Sends one RTP packet whose payload `write` puts into the slot.
    #[inline]
    pub fn send(
        &mut self,
        payload_type: PayloadType,
        marker: bool,
        timestamp: RtpTimestamp,
        now: Instant,
        outbox: &mut Outbox,
        write: impl FnOnce(&mut [u8]) -> Result<usize, Discard>,
    ) -> Result<(), Discard> {
        let (socket, to) = self.transport.route(Kind::Rtp).ok_or(Discard::NoDestination)?;
        let mut header = self.outgoing.header(payload_type, marker, timestamp);
        let (security, redundancy) = (&mut self.security, &mut self.redundancy);
        let mut payload_bytes = 0;
        let queued = outbox.queue(socket, to, |slot| {
            let (head, payload) = slot.split_first_chunk_mut().ok_or(Discard::TooLarge)?;
            payload_bytes = write(payload)?;
            if let Some(redundancy) = redundancy {
                payload_bytes = redundancy.wrap(&mut header, payload, payload_bytes);
            }
            header.write(head);
            security.seal(slot, HEADER_BYTES + payload_bytes)
        });
        queued.ok_or(Discard::SendSlotsExhausted)??;
        self.outgoing.sent(header, payload_bytes, now);
        Ok(())
    }

    /// Digits are timed by the clock of the event format, unless one is just being sent.
    pub fn set_digit_clock(&mut self) {
        let format = self.format.as_ref().and_then(|format| format.send_events);
        if let Some(format) = format
            && self.digits.next_timeout().is_none()
        {
            self.digits = DigitSender::new(format.clock_hz, DIGIT_PACKET_MS);
        }
    }

    /// What it is sent is encoded so, and repeated where the format allows it.
    pub fn set_encoding(&mut self, encoding: Encoding) {
        self.encoding = encoding;
        let wanted = self.format.as_ref().and_then(|format| {
            format.redundancy.map(|payload_type| (payload_type, format.payload_type))
        });
        let is_so = |redundancy: &Redundancy| wanted == Some(redundancy.numbers());
        if !self.redundancy.as_deref().is_some_and(is_so) {
            self.redundancy = wanted.map(|(red, audio)| Box::new(Redundancy::new(red, audio)));
        }
        self.switch_redundancy();
    }

    fn switch_redundancy(&mut self) {
        if let Some(redundancy) = &mut self.redundancy {
            redundancy.active = self.encoding.redundancy();
        }
    }

    /// Takes the far end's RTCP in. What it says about loss may change how we encode: the encoder's
    /// new settings then.
    pub fn hear_rtcp(
        &mut self,
        datagram: &mut [u8],
        wall: &WallAnchor,
        load: Load,
        now: Instant,
    ) -> Result<Option<EncoderSettings>, Discard> {
        let length = self.security.open_rtcp(datagram)?;
        let ours = self.outgoing.ssrc();
        let mut heard = None;
        for packet in rtcp::parse(&datagram[..length])? {
            match packet {
                RtcpPacket::SenderReport { sender, reports, .. } => {
                    self.reports.sender_report(sender.ntp, now);
                    heard = self.reports.report_blocks(reports, ours, wall.ntp(now)).or(heard);
                }
                RtcpPacket::ReceiverReport { reports, .. } => {
                    heard = self.reports.report_blocks(reports, ours, wall.ntp(now)).or(heard);
                }
                // A BYE in RTCP never ends a call: signaling does.
                RtcpPacket::Sdes { .. } | RtcpPacket::Bye(_) | RtcpPacket::Other { .. } => {}
            }
        }
        let change = heard.and_then(|report| self.encoding.report(report.fraction_lost, load, now));
        self.switch_redundancy();
        Ok(change)
    }

    /// When this leg wants to be woken: for a report, a digit, or the end of consent.
    pub fn next_timeout(&self) -> Option<Instant> {
        let consent = match &self.transport {
            LegTransport::Ice { consent_until, .. } => *consent_until,
            LegTransport::Plain { .. } => None,
        };
        let report = self.can_send().then(|| self.reports.next_timeout());
        [consent, report, self.digits.next_timeout()].into_iter().flatten().min()
    }

    /// Sends the report that is due, if one is.
    pub fn send_due_report(
        &mut self,
        wall: &WallAnchor,
        random: &mut Random,
        now: Instant,
        outbox: &mut Outbox,
    ) -> Result<(), Discard> {
        if now < self.reports.next_timeout() || !self.can_send() {
            return Ok(());
        }
        self.reports.schedule(now, random);
        let (socket, to) = self.transport.route(Kind::Rtcp).ok_or(Discard::NoDestination)?;
        let heard = self.source.as_mut().and_then(|source| {
            let report = source.reception.report()?;
            Some(reports::block(source.ssrc, report, self.reports.echo(now)))
        });
        let compound = Compound {
            ssrc: self.outgoing.ssrc(),
            sender: self.outgoing.sender_information(wall.ntp(now), now),
            reports: heard.as_slice(),
            cname: &self.cname,
            presence: Presence::Stays,
        };
        let security = &mut self.security;
        let queued = outbox.queue(socket, to, |slot| {
            let length = rtcp::write_compound(slot, &compound).ok_or(Discard::TooLarge)?;
            security.seal_rtcp(slot, length)
        });
        queued.ok_or(Discard::SendSlotsExhausted)?.map(|_| ())
    }

    /// An authenticated check came: consent goes on.
    pub fn renew_consent(&mut self, now: Instant) {
        if let LegTransport::Ice { consent_until, .. } = &mut self.transport {
            *consent_until = Some(now + CONSENT);
        }
    }

    /// Checks could not be heard for `pause`.
    pub fn extend_consent(&mut self, pause: Duration) {
        if let LegTransport::Ice { consent_until: Some(until), .. } = &mut self.transport {
            *until += pause;
        }
    }

    /// Whether consent has just ended; told once.
    pub fn take_consent_expiry(&mut self, now: Instant) -> bool {
        match &mut self.transport {
            LegTransport::Ice { consent_until, .. } => {
                consent_until.take_if(|until| *until <= now).is_some()
            }
            LegTransport::Plain { .. } => false,
        }
    }

    /// The leg's statistics, with those of the order in which it is heard and of the one in which it is
    /// sent to.
    pub fn statistics(&self, heard: &Order, sent: &Order) -> LegStatistics {
        let counters = &self.counters;
        let reception = self.source.as_ref().map(|source| &source.reception);
        let remote = self.reports.remote();
        let clock_hz = self.format.as_ref().map_or(8_000, |format| format.codec.clock_hz());
        LegStatistics {
            remote: self.transport.remote(),
            packets_received: counters.packets_received,
            bytes_received: counters.bytes_received,
            packets_sent: self.outgoing.packets(),
            bytes_sent: self.outgoing.bytes(),
            packets_lost: reception.map_or(0, Reception::lost),
            packets_reordered: heard.packets_reordered(),
            packets_recovered: counters.packets_recovered,
            frames_recovered: counters.frames_recovered,
            frames_concealed: counters.frames_concealed,
            frames_silent: counters.frames_silent,
            packets_of_silence: counters.packets_of_silence,
            playout: match sent {
                Order::OnArrival(_) => None,
                Order::Paced(paced) => Some(paced.statistics()),
            },
            jitter_ms: reception.map_or(0.0, Reception::jitter_ms),
            round_trip_ms: self.reports.round_trip().map(|trip| trip.as_secs_f64() * 1e3),
            encoder: self.encoding.name().map(str::to_owned),
            remote_loss_percent: remote.map(|r| f64::from(r.fraction_lost) * 100.0 / 256.0),
            remote_packets_lost: remote.map(|r| i64::from(r.cumulative_lost)),
            remote_jitter_ms: remote.map(|r| f64::from(r.jitter) * 1e3 / f64::from(clock_hz)),
            events_received: counters.events_received,
            events_sent: counters.events_sent,
            received: self.source.as_ref().and_then(Source::position),
            sent: self.outgoing.position(),
            discards: discard_map(&counters.discards),
        }
    }
}

impl Source {
    fn position(&self) -> Option<Position> {
        let highest = self.reception.extended_highest_sequence()?;
        Some(Position {
            ssrc: self.ssrc,
            sequence_number: self.last.sequence_number,
            roll_over_counter: highest >> 16,
            timestamp: self.last.timestamp,
        })
    }
}
