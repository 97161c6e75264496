//! What is needed to go on with a leg in another media process, or after this one was killed.
//!
//! `snapshot` gives each leg as [`LegParameters`](super::leg::LegParameters) with [`LegSnapshot`] in `resume`: given back as it
//! is in `create_call` or `replace_leg`, it makes a leg that goes on where that one was.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::reading::ranged;
use crate::srtp::index::PacketIndex;
use crate::srtp::snapshot::SOURCES_MAX;
use crate::wire::rtp::{RtpTimestamp, Ssrc};

/// RTP indexes that a resumed leg under SRTP leaves out, because the snapshotted one may have used them since:
/// 81 s of packets of 10 ms, more than the longest interval of a subscription, and below 2^15, so
/// that a receiver still counts the right round (RFC 3711 §3.3.1).
pub const RTP_INDEXES_LEFT_OUT: u16 = 8_192;
/// The same for SRTCP, of which a leg sends a report every few seconds (RFC 3550 §6.2).
pub const RTCP_INDEXES_LEFT_OUT: u16 = 256;
/// What a resumed leg without SRTP leaves out at most. It leaves out as many sequence numbers as packets
/// of 10 ms fit into the time since the snapshot: to the far end that looks like the loss that it is. A
/// jump beyond MAX_DROPOUT, 3,000, would look like a sender that begins anew (RFC 3550 A.1), and so
/// would one that is more than MAX_MISORDER, 100, short of what the old leg sent: this is both below.
pub const PLAIN_NUMBERS_LEFT_OUT_MAX: u16 = 2_900;

ranged! {
    /// The 48-bit index of an RTP packet: roll-over counter, then sequence number (RFC 3711 §3.3.1).
    pub struct RtpIndex(u64): |index: u64| index < 1 << 48, "must be below 2^48";
}

impl From<PacketIndex> for RtpIndex {
    fn from(index: PacketIndex) -> Self {
        Self(index.value())
    }
}

impl From<RtpIndex> for PacketIndex {
    fn from(index: RtpIndex) -> Self {
        Self::from_value(index.0)
    }
}

ranged! {
    /// The 31-bit index of an SRTCP packet (RFC 3711 §3.4).
    pub struct RtcpIndex(u32): |index: u64| index < 1 << 31, "must be below 2^31";
}

/// Where a leg was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegSnapshot {
    /// When, by the wall clock of the media process: milliseconds since 1970 (UTC). Timestamps and
    /// consent go on from there in real time.
    pub taken_ms: u64,
    /// What it sent.
    pub sent: SentSnapshot,
    /// What it received, the source heard last first.
    #[serde(default, deserialize_with = "sources")]
    pub received: Vec<SourceSnapshot>,
    /// Where an ICE leg's browser is, once it was nominated.
    #[serde(default)]
    pub nominated: Option<NominatedSnapshot>,
}

/// One more source than a receiver can know would have to be forgotten, and could be replayed.
fn sources<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<SourceSnapshot>, D::Error> {
    let sources = Vec::<SourceSnapshot>::deserialize(from)?;
    if sources.len() > SOURCES_MAX {
        let message = format_args!("must list at most {SOURCES_MAX} sources");
        return Err(serde::de::Error::custom(message));
    }
    Ok(sources)
}

/// A leg's own source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SentSnapshot {
    /// Synchronisation source.
    pub ssrc: Ssrc,
    /// The name of its end in RTCP (RFC 3550 §6.5.1), 1 to 255 bytes.
    #[serde(deserialize_with = "cname")]
    pub cname: String,
    /// The index of the next RTP packet; its low 16 bits are the sequence number.
    pub rtp_index_next: RtpIndex,
    /// The index of the next SRTCP packet; null of a leg without SRTP, which has none.
    #[serde(default)]
    pub rtcp_index_next: Option<RtcpIndex>,
    /// The RTP clock's rate, 8,000 or 48,000.
    #[serde(deserialize_with = "clock")]
    pub clock_hz: u32,
    /// The RTP timestamp of `position`.
    pub timestamp: RtpTimestamp,
    /// How far the leg's audio is, in samples of 8 kHz.
    pub position: u64,
    /// RTP packets sent, for sender reports.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
}

fn cname<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let cname = String::deserialize(from)?;
    match cname.len() {
        1..=255 => Ok(cname),
        _ => Err(serde::de::Error::custom("must have 1 to 255 bytes")),
    }
}

fn clock<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        clock_hz @ (8_000 | 48_000) => Ok(clock_hz),
        _ => Err(serde::de::Error::custom("must be 8000 or 48000")),
    }
}

/// A source that a leg received: everything up to these indexes counts as seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceSnapshot {
    /// Synchronisation source.
    pub ssrc: Ssrc,
    /// The highest RTP index, when an RTP packet came.
    #[serde(default)]
    pub rtp_index: Option<RtpIndex>,
    /// The highest SRTCP index, when one came.
    #[serde(default)]
    pub rtcp_index: Option<RtcpIndex>,
}

/// An ICE leg's nominated path.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NominatedSnapshot {
    /// The browser's address.
    pub remote: SocketAddr,
    /// Since its last authentic check (RFC 7675 §5.1).
    pub consent_age_ms: u32,
}
