//! The outlet: a leg's sending half, opened for the time of one packet or one tick. It is all that a
//! stream knows of the leg that it speaks to.

use std::time::Instant;

use super::connection::Connection;
use super::sending::Sending;
use crate::audio::dtmf::{self, EventPacket};
use crate::base::discard::Discard;
use crate::base::opaque::opaque;
use crate::control::message::Direction;
use crate::media::common::Common;
use crate::media::format::SendFormat;
use crate::wire::comfort_noise::NoiseLevel;
use crate::wire::rtp::PayloadType;
use crate::wire::telephone_event::{DigitTime, EVENT_BYTES};

/// An opened sending half.
pub struct Outlet<'a> {
    /// What all calls of the core share.
    pub common: &'a mut Common,
    /// The present.
    pub now: Instant,
    connection: &'a mut Connection,
    sending: &'a mut Sending,
    direction: Direction,
}

opaque!(Outlet<'_>);

impl<'a> Outlet<'a> {
    /// Opens a half.
    #[inline]
    pub fn new(
        connection: &'a mut Connection,
        sending: &'a mut Sending,
        direction: Direction,
        common: &'a mut Common,
        now: Instant,
    ) -> Self {
        Self { common, now, connection, sending, direction }
    }

    /// Why audio cannot be sent now, if it cannot.
    #[inline(always)]
    pub fn mute(&self) -> Option<Discard> {
        if !self.connection.can_send() || self.sending.format.is_none() {
            Some(Discard::NoDestination)
        } else if !self.direction.sends() {
            Some(Discard::NotSending)
        } else if self.sending.digits.is_active() {
            Some(Discard::DuringTelephoneEvent)
        } else {
            None
        }
    }

    /// What is sent.
    #[inline]
    pub fn format(&self) -> Option<&SendFormat> {
        self.sending.format.as_ref()
    }

    /// Whether what is sent is paced.
    pub fn is_paced(&self) -> bool {
        self.format().is_some_and(|format| format.paced.is_some())
    }

    /// The payload type by which the far end is told of noise that it makes itself.
    pub fn noise_payload_type(&self) -> Option<PayloadType> {
        let format = self.format()?;
        format.comfort_noise.filter(|_| format.paced.is_none())
    }

    /// Sends a packet of audio that stands at `position`; `write` makes its payload.
    #[inline]
    pub fn speak(
        &mut self,
        marker: bool,
        position: u64,
        write: impl FnOnce(&mut [u8]) -> Result<usize, Discard>,
    ) -> Result<(), Discard> {
        let format = self.sending.format.as_ref().ok_or(Discard::NoDestination)?;
        self.send(format.payload_type, marker, position, write)
    }

    /// Sends a packet of silence that was not encoded.
    pub fn speak_silence(&mut self, position: u64, payload: &[u8]) -> Result<(), Discard> {
        self.count_silence();
        self.speak(false, position, |out| write_payload(payload, out))
    }

    /// A packet of silence is sent without encoding it.
    #[inline]
    pub fn count_silence(&mut self) {
        self.sending.counters.frames_silent += 1;
        self.common.frames.silent += 1;
    }

    /// Tells the far end how loud the noise is that it is to make.
    pub fn tell_noise(&mut self, level: NoiseLevel, position: u64) -> Result<(), Discard> {
        let payload_type = self.noise_payload_type().ok_or(Discard::NoDestination)?;
        self.send(payload_type, false, position, |out| {
            *out.first_mut().ok_or(Discard::TooLarge)? = level.to_byte();
            Ok(1)
        })
    }

    /// Leaves sequence numbers out, for packets that the far end is to know were lost.
    pub fn leave_out(&mut self, missing_packets: u16) {
        self.sending.outgoing.leave_out(missing_packets);
    }

    /// The clock of the events that are sent, in Hz.
    pub fn event_clock_hz(&self) -> u32 {
        self.format().and_then(|format| format.events).map_or(8_000, |events| events.clock_hz)
    }

    /// Sends a packet of a telephone event that began at `onset`.
    pub fn send_event(&mut self, packet: EventPacket, onset: u64) -> Result<(), Discard> {
        if !self.direction.sends() {
            return Err(Discard::NotSending);
        }
        let events = self.format().and_then(|format| format.events);
        let payload_type = events.ok_or(Discard::NoDestination)?.payload_type;
        self.sending.counters.events_sent += u64::from(packet.marker);
        let timestamp = self.sending.outgoing.timestamp_of(onset) + packet.timestamp_offset;
        let header = self.sending.outgoing.header(payload_type, packet.marker, timestamp);
        let (connection, outbox) = (&mut *self.connection, &mut self.common.outbox);
        self.sending.send(connection, outbox, header, self.now, |out| {
            packet.event.write(out.first_chunk_mut().ok_or(Discard::TooLarge)?);
            Ok(EVENT_BYTES)
        })
    }

    /// Whether an event that is relayed may leave now, or has to wait for the controller's digits.
    pub fn events_outlet(&self) -> dtmf::Outlet {
        if self.sending.digits.is_busy() { dtmf::Outlet::Taken } else { dtmf::Outlet::Free }
    }

    /// An event that was relayed leaves after the controller's digits.
    pub fn owe_event(&mut self, event: u8, time: DigitTime) -> Result<(), Discard> {
        let queued = self.sending.digits.push_event(event, time, self.now);
        queued.map_err(|_| Discard::DuringTelephoneEvent)
    }

    /// What the controller wants dialled and is due; it waits while an event is relayed.
    pub fn due_digits(&mut self, relay_busy_until: Option<Instant>, send: impl FnMut(EventPacket)) {
        let digits = &mut self.sending.digits;
        if digits.next_timeout().is_none_or(|due| due > self.now) {
            return;
        }
        if let Some(free) = relay_busy_until {
            digits.wait_until(free);
        }
        digits.handle_timeout(self.now, send);
    }

    #[inline]
    fn send(
        &mut self,
        payload_type: PayloadType,
        marker: bool,
        position: u64,
        write: impl FnOnce(&mut [u8]) -> Result<usize, Discard>,
    ) -> Result<(), Discard> {
        let timestamp = self.sending.outgoing.timestamp_of(position);
        let header = self.sending.outgoing.header(payload_type, marker, timestamp);
        let (connection, outbox) = (&mut *self.connection, &mut self.common.outbox);
        self.sending.send(connection, outbox, header, self.now, write)
    }
}

/// Writes a payload that is there already.
pub fn write_payload(payload: &[u8], out: &mut [u8]) -> Result<usize, Discard> {
    out.get_mut(..payload.len()).ok_or(Discard::TooLarge)?.copy_from_slice(payload);
    Ok(payload.len())
}
