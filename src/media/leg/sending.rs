//! The sending half of a leg: what it is sent, under one source with one sequence and one time line.

use std::time::Instant;

use super::connection::Connection;
use super::encoding::Encoding;
use super::outgoing::Outgoing;
use super::redundancy::Redundancy;
use crate::audio::dtmf::DigitSender;
use crate::base::discard::Discard;
use crate::base::opaque::opaque;
use crate::media::format::SendFormat;
use crate::media::kind::Kind;
use crate::os::outbox::Outbox;
use crate::wire::rtp::{HEADER_BYTES, RtpHeader};

/// A digit's packets leave this often.
const DIGIT_PACKET_MS: u8 = 20;

/// What a sending half counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendingCounters {
    /// Packets of silence that were sent without encoding them.
    pub frames_silent: u64,
    /// Telephone events begun.
    pub events_sent: u64,
}

/// The sending half of a leg.
pub struct Sending {
    /// What is sent; nothing before there is a format.
    pub format: Option<SendFormat>,
    /// Source, sequence and time line.
    pub outgoing: Outgoing,
    /// What it counts.
    pub counters: SendingCounters,
    /// Digits that the controller sends out of this leg.
    pub digits: DigitSender,
    /// How what it is sent is encoded.
    pub encoding: Encoding,
    /// Repeats the packet before, where the far end understands it.
    redundancy: Option<Box<Redundancy>>,
}

opaque!(Sending);

impl Sending {
    /// A half that has sent nothing.
    pub fn new(format: Option<SendFormat>, outgoing: Outgoing) -> Self {
        Self {
            format,
            outgoing,
            counters: SendingCounters::default(),
            digits: DigitSender::new(8_000, DIGIT_PACKET_MS),
            encoding: Encoding::default(),
            redundancy: None,
        }
    }

    /// Sends one RTP packet under a header of [`Outgoing::header`]; `write` puts its payload into the
    /// slot.
    #[inline]
    pub fn send(
        &mut self,
        connection: &mut Connection,
        outbox: &mut Outbox,
        mut header: RtpHeader,
        now: Instant,
        write: impl FnOnce(&mut [u8]) -> Result<usize, Discard>,
    ) -> Result<(), Discard> {
        let (socket, to) = connection.route(Kind::Rtp).ok_or(Discard::NoDestination)?;
        let index = self.outgoing.next_index();
        let (security, redundancy) = (&mut connection.security, &mut self.redundancy);
        let mut payload_bytes = 0;
        let queued = outbox.queue(socket, Some(to), |slot| {
            let (head, payload) = slot.split_first_chunk_mut().ok_or(Discard::TooLarge)?;
            payload_bytes = write(payload)?;
            if let Some(redundancy) = redundancy {
                payload_bytes = redundancy.wrap(&mut header, payload, payload_bytes);
            }
            header.write(head);
            security.seal(index, slot, HEADER_BYTES + payload_bytes)
        });
        queued.ok_or(Discard::SendSlotsExhausted)??;
        self.outgoing.sent(header, payload_bytes, now);
        Ok(())
    }

    /// Digits are timed by the clock of the event format, unless one is just being sent.
    pub fn set_digit_clock(&mut self) {
        let events = self.format.as_ref().and_then(|format| format.events);
        if let Some(events) = events
            && self.digits.next_timeout().is_none()
        {
            self.digits = DigitSender::new(events.clock_hz, DIGIT_PACKET_MS);
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

    /// What repeats packets, where the far end understands it.
    pub fn redundancy_mut(&mut self) -> Option<&mut Redundancy> {
        self.redundancy.as_deref_mut()
    }

    /// Repeats packets or not, as the encoder's policy wants it now.
    pub fn switch_redundancy(&mut self) {
        if let Some(redundancy) = &mut self.redundancy {
            redundancy.active = self.encoding.redundancy();
        }
    }
}
