//! A track's telephone events (RFC 4733): they come in their turn, replace the audio while they last, and
//! leave on the stream's own time line, as do the digits that the controller wants dialled.

use super::Track;
use crate::audio::dtmf::{HeardEvent, RelayOutput};
use crate::audio::repair::Packet;
use crate::base::discard::Discard;
use crate::media::common::Notice;
use crate::media::leg::outlet::Outlet;
use crate::media::stream::events::Outputs;
use crate::wire::rtp::RtpTimestamp;
use crate::wire::telephone_event::TelephoneEvent;

impl Track {
    /// A telephone event in its turn.
    pub fn event(
        &mut self,
        clock_hz: u32,
        packet: Packet<'_>,
        out: &mut Outlet<'_>,
    ) -> Result<(), Discard> {
        let event = TelephoneEvent::parse(packet.payload)?;
        let (sequence_number, timestamp) = (packet.header.sequence_number, packet.header.timestamp);
        let heard = HeardEvent { sequence_number, timestamp, event };
        // The event begins where its timestamp says, if that is on the audio's clock.
        let onset = (self.voice.clock_hz() == Some(clock_hz)).then_some(timestamp);
        self.relay_event(clock_hz, heard, onset, out)
    }

    /// An event that came, or was heard, leaves by the other leg. Without an `onset` it begins now.
    pub(super) fn relay_event(
        &mut self,
        clock_hz: u32,
        heard: HeardEvent,
        onset: Option<RtpTimestamp>,
        out: &mut Outlet<'_>,
    ) -> Result<(), Discard> {
        self.events.set_clocks(clock_hz, out);
        self.voice.clock_hz().ok_or(Discard::NoDestination)?;
        let mut outputs = Outputs::default();
        let push = |output| outputs.push(output);
        self.events.relay.handle_event(heard, out.events_outlet(), out.now, push);
        self.send_events(&outputs, onset, out)
    }

    /// Ends events whose end was lost, and repeats ends.
    pub(super) fn wake_events(&mut self, out: &mut Outlet<'_>) {
        let mut outputs = Outputs::default();
        self.events.relay.handle_timeout(out.now, |output| outputs.push(output));
        let sent = self.send_events(&outputs, None, out);
        self.count(sent);
    }

    /// Sends what the controller wants dialled out of the other leg.
    pub(super) fn send_digits(&mut self, out: &mut Outlet<'_>) {
        let mut outputs = Outputs::default();
        let free = self.events.relay.busy_until();
        out.due_digits(free, |packet| outputs.push(RelayOutput::Send(packet)));
        let sent = self.send_events(&outputs, None, out);
        self.count(sent);
    }

    pub(super) fn send_events(
        &mut self,
        outputs: &Outputs,
        onset: Option<RtpTimestamp>,
        out: &mut Outlet<'_>,
    ) -> Result<(), Discard> {
        let mut outcome = Ok(());
        for output in outputs.iter() {
            match output {
                RelayOutput::Send(packet) => {
                    if packet.marker {
                        self.begin_event(onset, out);
                    }
                    outcome = outcome.and(out.send_event(packet, self.events.onset()));
                }
                RelayOutput::Owed { event, time } => {
                    outcome = outcome.and(out.owe_event(event, time));
                }
                RelayOutput::Completed(completed) => {
                    self.counters.events_received += 1;
                    let (digit, held_ms) = (completed.digit, completed.duration_ms);
                    out.common.notices.push(Notice::DigitEnded(self.side, digit, held_ms));
                }
            }
        }
        outcome
    }

    /// Completes the audio before an event and notes where the event begins.
    fn begin_event(&mut self, onset: Option<RtpTimestamp>, out: &mut Outlet<'_>) {
        self.break_off(out);
        if out.is_paced() || self.player.is_some() {
            self.events.begin(self.timeline.end());
            return;
        }
        match onset {
            Some(timestamp) => {
                let gap = self.timeline.gap_before(timestamp, self.events.clock_hz(), out.now);
                self.timeline.advance(gap, out.now);
            }
            None => {
                self.timeline.catch_up(out.now);
            }
        }
        self.events.begin(self.timeline.end());
    }
}
