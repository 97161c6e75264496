//! A trunk's SDP: plain RTP and G.711 (RFC 3551, RFC 3264).

use std::net::SocketAddr;

use super::formats::{Agreement, AudioFormats};
use super::lines::MediaLine;
use super::{Direction, Refusal};
use crate::wire::coding::Codec;

/// A trunk's offer with its first acceptable audio line taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkOffer {
    /// Every `m=` line in order: the answer has as many.
    pub lines: Vec<MediaLine>,
    /// Which of them is the audio line.
    pub audio_index: usize,
    /// The audio line.
    pub audio: TrunkAudio,
}

/// A trunk's answer to our offer, which has one `m=` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkAnswer {
    /// The audio line.
    pub audio: TrunkAudio,
}

/// A trunk's audio line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkAudio {
    /// The transport protocol, to be repeated in the answer.
    pub protocol: TrunkProtocol,
    /// Where its RTP goes. `None` for `c=0.0.0.0`, the old way to hold (RFC 3264 §8.4), which
    /// `direction` shows too.
    pub remote: Option<SocketAddr>,
    /// Where its RTCP goes, when `a=rtcp` says so (RFC 3605); else one port above RTP.
    pub remote_rtcp: Option<SocketAddr>,
    /// Which way audio flows.
    pub direction: Direction,
    /// The formats.
    pub formats: AudioFormats,
}

/// Transport protocols of a trunk's audio line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkProtocol {
    /// `RTP/AVP`.
    RtpAvp,
    /// `RTP/AVPF` (RFC 4585); we send no feedback.
    RtpAvpf,
}

impl TrunkOffer {
    /// Reads an offer.
    pub fn parse(_sdp: &str) -> Result<Self, Refusal> {
        unimplemented!()
    }

    /// Chooses from the offer: the first codec of the trunk's order (RFC 3264 §6.1) that is among
    /// `codecs`.
    pub fn agree(&self, _codecs: &[Codec]) -> Result<Agreement, Refusal> {
        unimplemented!()
    }
}

impl TrunkAnswer {
    /// Reads an answer to an offer of [`super::author_trunk_offer`].
    pub fn parse(_sdp: &str) -> Result<Self, Refusal> {
        unimplemented!()
    }

    /// Takes the answer's choice among `codecs`, the ones that we offered.
    pub fn agree(&self, _codecs: &[Codec]) -> Result<Agreement, Refusal> {
        unimplemented!()
    }
}
