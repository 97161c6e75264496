//! The hearing half of a leg: what it accepts, whom it hears, what it counts.
//!
//! One source is heard at a time. When another one begins, it takes over; the one before is then passed
//! over while both go on, and heard again when the new one has fallen silent: a source that goes on
//! beside its successor is a mixer's or a transfer's remnant, and playing both in turn would be a stream
//! of twice the length.

use std::time::{Duration, Instant};

use crate::audio::opus;
use crate::audio::reception::Reception;
use crate::base::discard::Discard;
use crate::base::narrow::LowHalf;
use crate::control::message::{Codec, Position, RtpIndex, SourceSnapshot};
use crate::media::format::{Meaning, Meanings};
use crate::srtp::index::PacketIndex;
use crate::wire::rtp::{PayloadType, RtpHeader, RtpTimestamp, Ssrc};

/// Sources that were heard before and are known by name.
const SUPERSEDED_MAX: usize = 4;
/// A superseded source is heard again after so many of its packets...
const RETURN_PACKETS: u8 = 3;
/// ...in which its successor was silent for so long: more than the jitter of two that go on.
const RETURN_AFTER: Duration = Duration::from_millis(60);
/// The same after the successor said that it pauses: Opus says so again every 400 ms, and senders of
/// comfort noise (RFC 3389) about as often.
const RETURN_AFTER_PAUSE: Duration = Duration::from_millis(1_000);

/// What a hearing half counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct HearingCounters {
    /// RTP packets accepted.
    pub packets_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
    /// Packets received that stand for silence.
    pub packets_of_silence: u64,
}

/// The source that a leg hears.
#[derive(Debug)]
struct Source {
    ssrc: Ssrc,
    reception: Reception,
    /// The foremost packet's; of a source that was resumed, once it was heard here.
    timestamp: Option<RtpTimestamp>,
}

/// A source that another one has taken the place of.
#[derive(Clone, Copy, Debug)]
struct Superseded {
    ssrc: Ssrc,
    /// Its packets since its successor was last heard.
    packets: u8,
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

/// The hearing half of a leg.
#[derive(Debug, Default)]
pub struct Hearing {
    /// What payload types mean; nothing before there is a format.
    pub meanings: Option<Meanings>,
    /// What it counts.
    pub counters: HearingCounters,
    source: Option<Source>,
    superseded: [Option<Superseded>; SUPERSEDED_MAX],
    /// What sources before the present one lost.
    lost_before: i64,
    /// When a packet was last accepted.
    heard_at: Option<Instant>,
    /// It said that its sender pauses.
    is_pausing: bool,
}

impl Hearing {
    /// A half that has heard nothing.
    pub fn new(meanings: Option<Meanings>) -> Self {
        Self { meanings, ..Self::default() }
    }

    /// Goes on with the sources that were heard, the present one first: it has an index, and of the
    /// others those count that sent RTP.
    pub fn resume(&mut self, sources: &[SourceSnapshot]) {
        let mut sources = sources.iter();
        self.source = sources.next().and_then(|source| {
            let reception = Reception::resume(source.rtp_index?.value().low_half());
            Some(Source { ssrc: source.ssrc, reception, timestamp: None })
        });
        if self.source.is_some() {
            let spoke = sources.filter(|it| it.rtp_index.is_some() || it.rtcp_index.is_none());
            for (place, source) in self.superseded.iter_mut().zip(spoke) {
                *place = Some(Superseded { ssrc: source.ssrc, packets: 0 });
            }
        }
    }

    /// The sources heard, the present one first. Where protection knows indexes, `protected` tells them,
    /// of more sources than are heard.
    pub fn sources(&self, mut protected: Vec<SourceSnapshot>) -> Vec<SourceSnapshot> {
        let Some(present) = &self.source else { return protected };
        let counted = present.reception.extended_highest_sequence().map(u64::from);
        let known = self.superseded.iter().flatten().map(|it| (it.ssrc, None));
        let heard = std::iter::once((present.ssrc, counted)).chain(known);
        let mut sources = Vec::with_capacity(protected.len().max(1 + SUPERSEDED_MAX));
        for (ssrc, counted) in heard {
            match protected.iter().position(|source| source.ssrc == ssrc) {
                Some(place) => sources.push(protected.remove(place)),
                None => {
                    let rtp_index = counted.and_then(RtpIndex::new);
                    sources.push(SourceSnapshot { ssrc, rtp_index, rtcp_index: None });
                }
            }
        }
        sources.append(&mut protected);
        sources
    }

    /// What a payload type means here.
    #[inline]
    pub fn meaning(&self, payload_type: PayloadType) -> Meaning {
        self.meanings.as_ref().map_or(Meaning::Unknown, |meanings| meanings.of(payload_type))
    }

    /// Counts an authentic packet and tells whether its source is the one heard before.
    #[inline]
    pub fn hear(
        &mut self,
        header: RtpHeader,
        payload: &[u8],
        meaning: Meaning,
        now: Instant,
    ) -> Result<Continuity, Discard> {
        let continuity = match &self.source {
            Some(source) if source.ssrc == header.ssrc => Continuity::Same,
            Some(_) => self.change_source(header, meaning, now)?,
            None => self.first_source(header, meaning)?,
        };
        let Some(source) = &mut self.source else { return Err(Discard::UnknownSource) };
        // It has a place in the sequence, whatever it is.
        let is_foremost = source.reception.received(&header, meaning.spoken_hz(), now);
        if meaning == Meaning::Unknown {
            return Ok(continuity);
        }
        if is_foremost {
            source.timestamp = Some(header.timestamp);
        }
        self.heard_at = Some(now);
        self.counters.packets_received += 1;
        self.counters.bytes_received += payload.len() as u64;
        let of_silence = match meaning {
            Meaning::ComfortNoise => true,
            Meaning::Audio(Codec::Opus) => opus::is_pause(payload),
            _ => false,
        };
        self.counters.packets_of_silence += u64::from(of_silence);
        self.is_pausing = of_silence;
        Ok(continuity)
    }

    #[cold]
    fn first_source(&mut self, header: RtpHeader, meaning: Meaning) -> Result<Continuity, Discard> {
        if meaning == Meaning::Unknown {
            return Err(Discard::UnknownPayloadType);
        }
        self.take_source(header);
        Ok(Continuity::First)
    }

    #[cold]
    fn change_source(
        &mut self,
        header: RtpHeader,
        meaning: Meaning,
        now: Instant,
    ) -> Result<Continuity, Discard> {
        if meaning == Meaning::Unknown {
            return Err(Discard::UnknownPayloadType);
        }
        let after = if self.is_pausing { RETURN_AFTER_PAUSE } else { RETURN_AFTER };
        let silent = self.heard_at.map_or(after, |at| now.saturating_duration_since(at));
        let known = self.superseded.iter_mut().flatten().find(|known| known.ssrc == header.ssrc);
        if let Some(known) = known {
            // What it sent while its successor spoke says nothing.
            known.packets =
                if silent < RETURN_AFTER / 2 { 1 } else { known.packets.saturating_add(1) };
            if known.packets < RETURN_PACKETS || silent < after {
                return Err(Discard::OtherSource);
            }
        }
        self.take_source(header);
        Ok(Continuity::NewSource)
    }

    /// Hears this source from now on.
    fn take_source(&mut self, header: RtpHeader) {
        let reception = Reception::default();
        let timestamp = Some(header.timestamp);
        let source = Source { ssrc: header.ssrc, reception, timestamp };
        let before = self.source.replace(source);
        let is_it = |known: &Option<Superseded>| known.is_some_and(|k| k.ssrc == header.ssrc);
        let place = self.superseded.iter().position(is_it).unwrap_or(SUPERSEDED_MAX - 1);
        self.superseded[place] = None;
        if let Some(before) = before {
            self.lost_before += before.reception.lost();
            self.superseded[..=place].rotate_right(1);
            self.superseded[0] = Some(Superseded { ssrc: before.ssrc, packets: 0 });
        }
    }

    /// When a packet was last accepted.
    pub fn heard_at(&self) -> Option<Instant> {
        self.heard_at
    }

    /// Where the source stands, by its foremost packet. Under SRTP the index is protection's to know.
    pub fn position(&self, index_of: impl FnOnce(Ssrc) -> Option<PacketIndex>) -> Option<Position> {
        let source = self.source.as_ref()?;
        let counted = u64::from(source.reception.extended_highest_sequence()?);
        let index = index_of(source.ssrc).unwrap_or(PacketIndex::from_value(counted));
        Some(Position {
            ssrc: source.ssrc,
            sequence_number: index.sequence_number(),
            roll_over_counter: index.roll_over_counter(),
            timestamp: source.timestamp?,
        })
    }

    /// The source and the counts of what it sent.
    pub fn reception(&mut self) -> Option<(Ssrc, &mut Reception)> {
        self.source.as_mut().map(|source| (source.ssrc, &mut source.reception))
    }

    /// Packets expected but never received, of all sources.
    pub fn lost(&self) -> i64 {
        let present = self.source.as_ref().map_or(0, |source| source.reception.lost());
        self.lost_before + present
    }

    /// Interarrival jitter of the present source in milliseconds.
    pub fn jitter_ms(&self) -> f64 {
        self.source.as_ref().map_or(0.0, |source| source.reception.jitter_ms())
    }
}
