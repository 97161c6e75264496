//! Telephone events of a stream (RFC 4733): relayed from the leg that hears, or sent for the controller.
//! They replace the audio while they last, on the stream's own time line.

use crate::audio::SAMPLES_PER_MS;
use crate::audio::dtmf::{EventRelay, RELAY_OUTPUTS_MAX, RelayOutput};
use crate::base::narrow::Narrow;
use crate::base::opaque::opaque;
use crate::media::leg::outlet::Outlet;

/// Two events do not begin at one time: a packet of 20 ms apart.
const APART_SAMPLES: u64 = (20 * SAMPLES_PER_MS) as u64;

/// Telephone events of a stream.
pub struct Events {
    /// Their clocks.
    pub relay: EventRelay,
    /// In and out, in Hz.
    clocks_hz: (u32, u32),
    /// Position at which the present event began; `None` before the first.
    onset: Option<u64>,
}

opaque!(Events);

impl Default for Events {
    fn default() -> Self {
        Self { relay: EventRelay::new(8_000, 8_000, 20), clocks_hz: (8_000, 8_000), onset: None }
    }
}

impl Events {
    /// The clock of the events that come, in Hz.
    pub fn clock_hz(&self) -> u32 {
        self.clocks_hz.0
    }

    /// Position at which the present event began.
    pub fn onset(&self) -> u64 {
        self.onset.unwrap_or(0)
    }

    /// An event begins at a position. Where no time has passed since the one before, as between those of
    /// two sources, it begins a little later: by that it is known to be another one (RFC 4733 §2.1).
    pub fn begin(&mut self, position: u64) {
        let earliest = self.onset.map_or(0, |before| before + APART_SAMPLES);
        self.onset = Some(position.max(earliest));
    }

    /// The relay for events of this clock; it changes between events only.
    pub fn set_clocks(&mut self, in_hz: u32, out: &Outlet<'_>) {
        let clocks_hz = (in_hz, out.event_clock_hz());
        if self.clocks_hz != clocks_hz && self.relay.next_timeout().is_none() {
            let samples = out.format().map_or(160, |format| format.packet_samples);
            let packet_ms = (samples / SAMPLES_PER_MS).narrow();
            self.clocks_hz = clocks_hz;
            self.relay = EventRelay::new(clocks_hz.0, clocks_hz.1, packet_ms);
        }
    }
}

/// What an event engine gave in one go: an end of the old event, a start of the new one, and a
/// segment or two between.
#[derive(Default)]
pub struct Outputs {
    outputs: [Option<RelayOutput>; RELAY_OUTPUTS_MAX],
    length: usize,
}

opaque!(Outputs);

impl Outputs {
    /// Takes one more.
    pub fn push(&mut self, output: RelayOutput) {
        if let Some(place) = self.outputs.get_mut(self.length) {
            *place = Some(output);
            self.length += 1;
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = RelayOutput> + '_ {
        self.outputs.iter().flatten().copied()
    }
}
