//! Audio formats of one `m=` line, and the choice between two sides (RFC 3264 §6, §7).

use crate::wire::coding::{Coding, EventFormat};
use crate::wire::rtp::PayloadType;

/// Audio per packet when nobody asks for something else (RFC 3551 §4.2).
pub const PACKET_MS_DEFAULT: u8 = 20;

/// The formats of one audio line that we know, in the order they were written; others are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AudioFormats {
    /// Audio codecs.
    pub codings: Vec<Coding>,
    /// RFC 4733 telephone events.
    pub events: Vec<OfferedEvents>,
    /// RFC 2198 redundancy around Opus; known so that it is not taken for something else.
    pub red: Option<PayloadType>,
    /// `a=ptime`: audio per packet that the writer wants to receive, in milliseconds.
    pub packet_ms: Option<u32>,
    /// `a=maxptime`: the most it accepts.
    pub packet_ms_max: Option<u32>,
}

/// A telephone-event format with the events that its writer can receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferedEvents {
    /// Payload type and clock.
    pub format: EventFormat,
    /// Bit n: event n, for the events 0–15 that are digits. Without `a=fmtp` all of them
    /// (RFC 4733 §2.4.1).
    pub digits: u16,
}

/// What both sides agreed on, as the media process wants to hear it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// What we send.
    pub send: Coding,
    /// Audio per packet that we send, in milliseconds: 10, 20, 30, 40 or 60 (Opus: not 30).
    pub packet_ms: u8,
    /// What we accept.
    pub receive: Vec<Coding>,
    /// The telephone-event format that we send: the one with the audio's clock when there is a
    /// choice (RFC 4733 §2.1; Firefox has only the 8 kHz one).
    pub send_events: Option<EventFormat>,
    /// The telephone-event formats that we accept.
    pub receive_events: Vec<EventFormat>,
}
