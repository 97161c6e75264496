//! Which codec is behind a payload type, and which telephone-event clock (RFC 3551 §6, RFC 7587,
//! RFC 4733). SDP agrees on these and the control protocol hands them to the media process, both in
//! the same words.

use serde::{Deserialize, Serialize};

use crate::wire::rtp::PayloadType;

/// A codec under its payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coding {
    /// The codec.
    pub codec: Codec,
    /// Its number on the wire.
    pub payload_type: PayloadType,
}

/// Audio codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Opus (RFC 6716, RFC 7587): RTP clock 48 kHz.
    Opus,
    /// G.711 µ-law: RTP clock 8 kHz.
    Pcmu,
    /// G.711 A-law: RTP clock 8 kHz.
    Pcma,
}

impl Codec {
    /// RTP clock in Hz.
    pub const fn clock_hz(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::Pcmu | Codec::Pcma => 8_000,
        }
    }
}

/// A telephone-event payload type with its clock (RFC 4733).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFormat {
    /// Its number on the wire.
    pub payload_type: PayloadType,
    /// 8,000 or 48,000.
    pub clock_hz: u32,
}
