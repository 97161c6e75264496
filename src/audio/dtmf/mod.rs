//! Digits as telephone events (RFC 4733): relayed from one leg to the other, or sent on request.
//!
//! Both engines give [`EventPacket`]s. Sequence numbers and the rest of the RTP header are the
//! caller's, and so is the event's onset: the timestamp of its audio timeline when a packet with
//! the marker bit comes, to which it adds each packet's offset. Audio is not sent while an event
//! lasts, and one event at a time leaves by a leg.

mod press;
mod relay;
mod sender;
mod tones;

pub use press::HeardEvent;
pub use relay::{CompletedDigit, EventRelay, Outlet, RELAY_OUTPUTS_MAX, RelayOutput};
pub use sender::{DIGITS_QUEUED_MAX, DigitQueueFull, DigitSender};
pub use tones::{Sounded, Sounding, ToneDetector};

use std::time::Duration;

use crate::wire::telephone_event::TelephoneEvent;

/// How often the packet that ends an event is sent (RFC 4733 §2.5.1.4).
const END_PACKETS: u8 = 3;

/// Between the end of a digit and the onset of the next; ITU-T Q.24 asks for 40 ms.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest a segment can say it is.
const SEGMENT_UNITS: u32 = u16::MAX as u32;

/// A telephone event to send as one RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// The RTP marker bit: the first packet of an event (RFC 4733 §2.2.2).
    pub marker: bool,
    /// Added to the timestamp of the onset, in the outgoing clock: 0, or where a later segment of
    /// a long event begins (RFC 4733 §2.5.1.3).
    pub timestamp_offset: u32,
    /// The payload.
    pub event: TelephoneEvent,
}

/// An event on its way out, cut into segments of at most 0xFFFF clock units.
///
/// A segment's last packet is sent once, not three times: the timestamp of every later packet tells
/// the same. So an update is one packet, or two where a segment ends.
#[derive(Clone, Copy, Debug)]
struct OutgoingEvent {
    event: u8,
    volume: u8,
    started: bool,
    segment_start: u32,
}

impl OutgoingEvent {
    fn new(event: u8, volume: u8) -> Self {
        Self { event, volume, started: false, segment_start: 0 }
    }

    /// Sends that the event has lasted `total` units of the outgoing clock by now.
    fn update(&mut self, total: u32, phase: Phase, send: &mut impl FnMut(EventPacket)) {
        let whole_segments = total.saturating_sub(self.segment_start + 1) / SEGMENT_UNITS;
        if let Some(before) = whole_segments.checked_sub(1) {
            self.segment_start += before * SEGMENT_UNITS;
            self.send(u16::MAX, Phase::Lasting, send);
            self.segment_start += SEGMENT_UNITS;
        }
        let duration = total.saturating_sub(self.segment_start);
        self.send(u16::try_from(duration).unwrap_or(u16::MAX), phase, send);
    }

    fn send(&mut self, duration: u16, phase: Phase, send: &mut impl FnMut(EventPacket)) {
        let (event, volume, end) = (self.event, self.volume, phase == Phase::Ended);
        send(EventPacket {
            marker: !std::mem::replace(&mut self.started, true),
            timestamp_offset: self.segment_start,
            event: TelephoneEvent { event, end, volume, duration },
        });
    }
}

/// Whether an event still lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Lasting,
    Ended,
}

/// Units of one clock in another's.
fn scale(units: u32, from_hz: u32, to_hz: u32) -> u32 {
    let scaled = u64::from(units) * u64::from(to_hz) / u64::from(from_hz);
    u32::try_from(scaled).unwrap_or(u32::MAX)
}
