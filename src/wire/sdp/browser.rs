//! A browser's SDP (RFC 8829): ICE, DTLS and BUNDLE around one audio line.

use super::formats::{Agreement, AudioFormats};
use super::lines::MediaLine;
use super::{Direction, DtlsRole, Fingerprint, IceParameters, Refusal, Setup};
use crate::wire::coding::Codec;

/// A browser's offer with its first acceptable audio line taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserOffer {
    /// Every `m=` line in order: the answer has as many.
    pub lines: Vec<MediaLine>,
    /// Which of them is the audio line.
    pub audio_index: usize,
    /// The audio line.
    pub audio: BrowserAudio,
}

/// A browser's answer to our offer, which has one `m=` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserAnswer {
    /// The audio line.
    pub audio: BrowserAudio,
}

/// A browser's audio line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserAudio {
    /// The transport protocol, to be repeated in the answer.
    pub protocol: BrowserProtocol,
    /// `a=mid`, an opaque token.
    pub mid: Option<String>,
    /// Whether the line is in a BUNDLE group (RFC 9143), which the answer then repeats.
    pub bundled: bool,
    /// Who starts the DTLS handshake.
    pub setup: Setup,
    /// What the browser's certificate must match: see [`crate::dtls`].
    pub fingerprints: Vec<Fingerprint>,
    /// ICE credentials.
    pub ice: IceParameters,
    /// Which way audio flows. `c=0.0.0.0` and port 9 only mean that no candidate is known yet.
    pub direction: Direction,
    /// The formats.
    pub formats: AudioFormats,
}

/// Transport protocols of a browser's audio line, which all mean RTP over DTLS-SRTP (RFC 8829
/// §5.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowserProtocol {
    /// `UDP/TLS/RTP/SAVPF`, what browsers write.
    UdpTlsRtpSavpf,
    /// `UDP/TLS/RTP/SAVP`.
    UdpTlsRtpSavp,
    /// `TCP/DTLS/RTP/SAVPF`, when the default candidate is over TCP.
    TcpDtlsRtpSavpf,
    /// `RTP/SAVPF`, from old libraries.
    RtpSavpf,
}

impl BrowserOffer {
    /// Reads an offer.
    pub fn parse(_sdp: &str) -> Result<Self, Refusal> {
        unimplemented!()
    }

    /// Chooses from the offer: the first of `codecs`, our order of preference, that the browser
    /// offers, so that Opus wins although the browser has G.711 too.
    pub fn agree(&self, _codecs: &[Codec]) -> Result<Agreement, Refusal> {
        unimplemented!()
    }

    /// The role we take in the DTLS handshake: `wanted` when the browser leaves the choice to us.
    pub fn our_role(&self, wanted: DtlsRole) -> DtlsRole {
        self.audio.setup.role_of_the_other(wanted)
    }
}

impl BrowserAnswer {
    /// Reads an answer to an offer of [`super::author_browser_offer`].
    pub fn parse(_sdp: &str) -> Result<Self, Refusal> {
        unimplemented!()
    }

    /// Takes the answer's choice among `codecs`, the ones that we offered.
    pub fn agree(&self, _codecs: &[Codec]) -> Result<Agreement, Refusal> {
        unimplemented!()
    }

    /// The role we take in the DTLS handshake.
    pub fn our_role(&self) -> DtlsRole {
        self.audio.setup.role_of_the_other(DtlsRole::Passive)
    }
}
