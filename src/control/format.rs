//! What a leg carries.

use serde::{Deserialize, Serialize};

use super::reading::kinds;
pub use crate::audio::opus::EncoderSettings;
pub use crate::wire::coding::{Codec, Coding, EventFormat};
use crate::wire::rtp::PayloadType;

/// What a leg carries. Payload types are those on the wire of that direction, so an answerer that
/// numbered its own differently is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// What media sends.
    pub send: SendFormat,
    /// What media accepts; more than one when the far end may choose per packet.
    pub receive: Vec<Coding>,
    /// The RFC 4733 event format that media sends; absent: digits are not sent out of this leg.
    #[serde(default)]
    pub send_events: Option<EventFormat>,
    /// The RFC 4733 event formats that media accepts.
    #[serde(default)]
    pub receive_events: Vec<EventFormat>,
    /// The payload types under which media accepts RED (RFC 2198) around a coding of `receive`.
    #[serde(default)]
    pub receive_redundancy: Vec<PayloadType>,
    /// The payload type of comfort noise (RFC 3389) that media sends in place of silence that the
    /// other leg leaves out; absent: silence is sent as audio, or is a pause.
    #[serde(default)]
    pub send_comfort_noise: Option<PayloadType>,
    /// The payload types of comfort noise that media accepts.
    #[serde(default)]
    pub receive_comfort_noise: Vec<PayloadType>,
    /// Whether media listens for digits in the audio that it receives (DTMF, ITU-T Q.24) and takes them
    /// for telephone events.
    #[serde(default)]
    pub receive_tones: bool,
}

/// What media sends out of a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Flat")]
pub struct SendFormat {
    /// Codec and payload type.
    #[serde(flatten)]
    pub coding: Coding,
    /// Audio per packet in milliseconds: 10, 20, 30, 40 or 60 (Opus: not 30).
    pub packet_ms: u8,
    /// Fixed encoder settings, used when `codec` is `opus` and the other leg's codec is not; absent:
    /// media chooses from its ladder, by abilities, loss and load.
    pub encoder: Option<EncoderSettings>,
    /// Whether the far end makes use of in-band FEC (`useinbandfec`, RFC 7587 §6.1).
    pub in_band_fec: bool,
    /// Redundancy that media may send around Opus; absent: the far end does not understand it.
    pub redundancy: Option<SendRedundancy>,
    /// How the packets are spaced.
    pub playout: Spacing,
}

/// [`SendFormat`] as it is read: serde loses the place of an error behind `flatten`.
#[derive(Deserialize)]
struct Flat {
    codec: Codec,
    payload_type: PayloadType,
    #[serde(default = "default_packet_ms")]
    packet_ms: u8,
    #[serde(default)]
    encoder: Option<EncoderSettings>,
    #[serde(default = "default_in_band_fec")]
    in_band_fec: bool,
    #[serde(default)]
    redundancy: Option<SendRedundancy>,
    #[serde(default)]
    playout: Spacing,
}

impl From<Flat> for SendFormat {
    fn from(flat: Flat) -> Self {
        let Flat { codec, payload_type, packet_ms, encoder, in_band_fec, redundancy, playout } =
            flat;
        let coding = Coding { codec, payload_type };
        Self { coding, packet_ms, encoder, in_band_fec, redundancy, playout }
    }
}

fn default_in_band_fec() -> bool {
    true
}

fn default_packet_ms() -> u8 {
    20
}

kinds! {
    /// How the packets that leave a leg are spaced.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Spacing {
        /// Each leaves when what is in it has come: no delay, and the spacing of the network.
        #[default]
        "on_arrival" => OnArrival,
        /// Evenly, after a delay that follows the network's jitter. Only what is decoded can be
        /// paced: not Opus toward a leg that sends Opus.
        "paced" => Paced(PacedDelay),
    }
}

/// The bounds of the delay of paced packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacedDelay {
    /// The least delay in milliseconds.
    pub least_ms: u16,
    /// The most, 300 at most: what comes later is lost.
    pub most_ms: u16,
}

/// How media may repeat what it sends (RED, RFC 2198).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendRedundancy {
    /// RED's payload type.
    pub payload_type: PayloadType,
}

impl From<PayloadType> for SendRedundancy {
    fn from(payload_type: PayloadType) -> Self {
        Self { payload_type }
    }
}
