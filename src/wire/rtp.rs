//! RTP packets (RFC 3550 §5.1).

use serde::{Deserialize, Serialize};

/// RTP sequence number: wraps at 2^16, compared by serial arithmetic (RFC 1982).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SequenceNumber(pub u16);

/// RTP timestamp in units of the payload's clock: wraps at 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RtpTimestamp(pub u32);

/// Synchronisation source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ssrc(pub u32);

/// RTP payload type, 0..=127.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct PayloadType(u8);

impl PayloadType {
    /// PCMU (RFC 3551 §6).
    pub const PCMU: Self = Self(0);
    /// PCMA (RFC 3551 §6).
    pub const PCMA: Self = Self(8);

    /// `None` above 127.
    pub const fn new(value: u8) -> Option<Self> {
        if value < 128 { Some(Self(value)) } else { None }
    }

    /// The number on the wire.
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for PayloadType {
    type Error = String;

    fn try_from(value: u8) -> Result<Self, String> {
        Self::new(value).ok_or_else(|| format!("payload type {value} is above 127"))
    }
}

impl From<PayloadType> for u8 {
    fn from(payload_type: PayloadType) -> u8 {
        payload_type.0
    }
}
