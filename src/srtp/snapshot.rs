//! What somebody else needs to go on with a protected stream besides its keys: which indexes were
//! used, by a sender, and which may have been seen, by a receiver (RFC 3711 §3.2.1).
//!
//! Out: plain data without any secret. In: the same, checked by [`super::protect::Sender::resume`]
//! and [`super::protect::Receiver::resume`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::index::PacketIndex;
use crate::wire::rtp::Ssrc;

/// Sources that one receiver may see in the life of its key. Forgetting one would let its packets
/// be replayed, so one more is refused.
pub const SOURCES_MAX: usize = 32;

/// Where a sender stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderSnapshot {
    /// The source that it protects.
    pub ssrc: Ssrc,
    /// The lowest index of RTP that is above all used ones; 2^48 when there is none.
    pub rtp_next: u64,
    /// The next index of RTCP; 2^31 when there is none.
    pub rtcp_next: u32,
}

/// What a resumed sender leaves out, because the one before may have sent it after the snapshot: more
/// than it can have, since under AES-GCM a second packet of one index gives the key away (NIST SP
/// 800-38D §8). Packets per second, times the snapshot's greatest age, times two, is a fair choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margin {
    /// Packets of RTP, at most [`Margin::PACKETS_MAX`].
    pub packets: u16,
    /// Packets of RTCP.
    pub reports: u16,
}

impl Margin {
    /// A receiver takes a longer jump for a step back (RFC 3711 §3.3.1).
    pub const PACKETS_MAX: u16 = (1 << 15) - 1;
}

/// Where a receiver stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverSnapshot {
    /// Its sources, most recently heard first; at most [`SOURCES_MAX`].
    pub sources: Vec<SourceSnapshot>,
}

/// What is known of one source: everything up to these indexes counts as seen. `None` where no packet
/// of that kind came yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSnapshot {
    /// Which.
    pub ssrc: Ssrc,
    /// The highest index of RTP.
    pub rtp_highest: Option<PacketIndex>,
    /// The highest index of RTCP.
    pub rtcp_highest: Option<u32>,
}

/// Why a snapshot is not gone on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeRefused {
    /// No index is left above the snapshot's and the margin: new keys are needed.
    KeysUsedUp,
    /// The margin is above [`Margin::PACKETS_MAX`].
    MarginTooWide,
    /// There are more than [`SOURCES_MAX`] sources.
    TooManySources,
    /// A source stands there twice.
    RepeatedSource(Ssrc),
}

impl fmt::Display for ResumeRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeysUsedUp => f.write_str("the keys have no index left"),
            Self::MarginTooWide => {
                write!(f, "the margin must be at most {} packets", Margin::PACKETS_MAX)
            }
            Self::TooManySources => write!(f, "there must be at most {SOURCES_MAX} sources"),
            Self::RepeatedSource(ssrc) => write!(f, "source {} stands there twice", ssrc.0),
        }
    }
}

impl std::error::Error for ResumeRefused {}
