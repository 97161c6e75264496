//! One direction of a call: from what one leg hears to what the other sends. Which stages it has is
//! decided here, when a format changes, not per packet.

use std::rc::Rc;
use std::time::Instant;

use super::format::LegFormat;
use super::noise::Noise;
use super::paced::Paced;
use super::timeline::Timeline;
use crate::audio::conceal::Concealer;
use crate::audio::dtmf::EventRelay;
use crate::audio::g711::Law;
use crate::audio::opus::{
    EncoderSettings, OpusArena, OpusDecoder, OpusEncoder, PACKET_SAMPLES_MAX,
};
use crate::audio::repair::RepairWindow;
use crate::audio::silence::SilenceGate;
use crate::control::message::{Codec, ControlError, ErrorCode};
use crate::wire::comfort_noise::NoiseLevel;

/// Samples that can wait for a packet to be full: what is left of the longest packet sent (60 ms),
/// and one received packet at its longest.
const PENDING_SAMPLES_MAX: usize = 480 + PACKET_SAMPLES_MAX;

/// One direction of a call.
pub struct Stream {
    /// Puts packets in order.
    pub order: Order,
    /// What follows.
    pub playout: Playout,
}

/// When packets in order have their turn.
#[expect(clippy::large_enum_variant, reason = "nearly every stream is of the large one")]
pub enum Order {
    /// As they come, but for gaps.
    OnArrival(RepairWindow),
    /// At even intervals, after a delay.
    Paced(Box<Paced>),
}

/// What happens to packets in order.
pub struct Playout {
    /// Where audio belongs on the outgoing time line.
    pub timeline: Timeline,
    /// The audio stages.
    pub path: Path,
    /// The telephone events.
    pub events: Events,
    /// Packets that the window just reported missing.
    pub missing_packets: u16,
    /// The next packet sent begins a talkspurt.
    pub talkspurt: bool,
    /// The silence that the sender leaves out, while it does.
    pub noise: Option<Noise>,
    /// What the far end was last told of it, where it makes the noise itself.
    pub told: Option<NoiseLevel>,
}

/// Telephone events of a stream.
pub struct Events {
    /// Their clocks.
    pub relay: EventRelay,
    /// In and out, in Hz.
    pub clocks_hz: (u32, u32),
    /// Position at which the present event began.
    pub onset: u64,
}

/// The audio stages of a stream.
pub enum Path {
    /// One of the legs has no format yet.
    Closed,
    /// The payload passes as it is.
    Relay(Codec),
    /// Decoded and encoded anew.
    Transcode(Box<Transcoder>),
}

/// Decoder, frame assembly and encoder.
pub struct Transcoder {
    /// Decodes Opus, where the leg may receive it.
    pub opus: Option<OpusDecoder>,
    /// Fills gaps in G.711, where the leg may receive it.
    pub concealer: Option<Box<Concealer>>,
    /// What was decoded last: it fills a gap.
    pub heard: Codec,
    /// Makes the payload that is sent.
    pub encoder: Encoder,
    /// Samples of a packet sent.
    pub packet_samples: usize,
    /// Audio that waits for a packet to be full.
    pub pcm: [i16; PENDING_SAMPLES_MAX],
    /// How much of it is filled.
    pub pending: usize,
}

/// Makes payloads.
pub enum Encoder {
    /// Opus, and the gate that saves it from silence.
    Opus(OpusEncoder, SilenceGate),
    /// G.711.
    G711(Law),
}

impl Stream {
    /// A stream that waits for its formats.
    pub fn new(now: Instant) -> Self {
        let clocks_hz = (8_000, 8_000);
        Self {
            order: Order::OnArrival(RepairWindow::new(now)),
            playout: Playout {
                timeline: Timeline::default(),
                path: Path::Closed,
                events: Events { relay: EventRelay::new(8_000, 8_000, 20), clocks_hz, onset: 0 },
                missing_packets: 0,
                talkspurt: true,
                noise: None,
                told: None,
            },
        }
    }

    /// Begins anew with another source; the outgoing time line goes on.
    pub fn restart(&mut self) {
        self.order.reset();
        self.playout.restart();
    }

    /// Orders packets as the sending leg's format asks; `began` is any time before the first packet.
    /// What waits for its turn is lost when that changes.
    pub fn set_order(&mut self, to: Option<&LegFormat>, began: Instant) {
        let wanted = to.and_then(|to| Some((to.paced?, to.packet_samples)));
        match (&self.order, wanted) {
            (Order::OnArrival(_), None) => return,
            (Order::Paced(paced), Some(wanted)) if paced.settings == wanted => return,
            (_, Some(wanted)) => self.order = Order::Paced(Box::new(Paced::new(wanted))),
            (_, None) => self.order = Order::OnArrival(RepairWindow::new(began)),
        }
        self.playout.restart();
    }
}

impl Order {
    /// Begins anew with whatever comes next; what waited is dropped.
    pub fn reset(&mut self) {
        match self {
            Order::OnArrival(window) => window.reset(),
            Order::Paced(paced) => paced.buffer.restart(),
        }
    }

    /// When something has its turn although nothing comes.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self {
            Order::OnArrival(window) => window.next_timeout(),
            Order::Paced(paced) => paced.buffer.next_timeout(),
        }
    }

    /// Packets that came out of order and were put back.
    pub fn packets_reordered(&self) -> u64 {
        match self {
            Order::OnArrival(window) => window.packets_reordered(),
            Order::Paced(paced) => paced.buffer.packets_reordered(),
        }
    }
}

impl Playout {
    /// Begins anew with another source; the outgoing time line goes on.
    pub fn restart(&mut self) {
        self.timeline.restart();
        self.missing_packets = 0;
        self.noise = None;
        self.told = None;
    }
}

impl Path {
    /// The stages that lead from one format to the other; `settings` are for Opus, should it have to
    /// be encoded.
    pub fn between(
        from: Option<&LegFormat>,
        to: Option<&LegFormat>,
        settings: EncoderSettings,
        arena: &Rc<OpusArena>,
    ) -> Result<Self, ControlError> {
        let (Some(from), Some(to)) = (from, to) else { return Ok(Self::Closed) };
        let opus_heard = from.receives(|codec| codec == Codec::Opus);
        let encoder = match to.codec {
            Codec::Opus if opus_heard && from.receives(|codec| codec != Codec::Opus) => {
                let message =
                    "a leg that receives both Opus and G.711 cannot feed one that sends Opus";
                return Err(ControlError::new(ErrorCode::Unsupported, message));
            }
            Codec::Opus if opus_heard && to.paced.is_some() => {
                let message = "Opus passes to Opus as it is and cannot be paced";
                return Err(ControlError::new(ErrorCode::Unsupported, message));
            }
            Codec::Opus if opus_heard => return Ok(Self::Relay(Codec::Opus)),
            Codec::Opus => {
                let encoder = arena.encoder(settings).map_err(no_capacity)?;
                Encoder::Opus(encoder, SilenceGate::default())
            }
            Codec::Pcmu => Encoder::G711(Law::Mu),
            Codec::Pcma => Encoder::G711(Law::A),
        };
        let opus = opus_heard.then(|| arena.decoder()).transpose().map_err(no_capacity)?;
        Ok(Self::Transcode(Box::new(Transcoder {
            heard: if opus.is_some() { Codec::Opus } else { Codec::Pcmu },
            opus,
            concealer: from.receives(|codec| codec != Codec::Opus).then(Box::default),
            encoder,
            packet_samples: to.packet_samples,
            pcm: [0; PENDING_SAMPLES_MAX],
            pending: 0,
        })))
    }
}

impl Path {
    /// Whether Opus is decoded or encoded.
    pub fn codes_opus(&self) -> bool {
        match self {
            Self::Transcode(transcoder) => {
                transcoder.opus.is_some() || matches!(transcoder.encoder, Encoder::Opus(..))
            }
            Self::Relay(_) | Self::Closed => false,
        }
    }

    /// The Opus encoder, where there is one.
    pub fn opus_encoder(&mut self) -> Option<&mut OpusEncoder> {
        match self {
            Self::Transcode(transcoder) => match &mut transcoder.encoder {
                Encoder::Opus(encoder, ..) => Some(encoder),
                Encoder::G711(_) => None,
            },
            Self::Relay(_) | Self::Closed => None,
        }
    }
}

fn no_capacity(full: crate::audio::opus::ArenaFull) -> ControlError {
    ControlError::new(ErrorCode::NoCapacity, full.to_string())
}
