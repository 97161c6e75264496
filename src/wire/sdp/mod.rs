//! SDP (RFC 8866) as this gateway uses it: what a browser or a trunk says becomes typed values, and
//! what we say is written from scratch; nothing of one leg's SDP reaches the other leg.
//!
//! A leg's offer/answer (RFC 3264) takes one call a step:
//!
//! | the browser or trunk … | read | agree | write |
//! |---|---|---|---|
//! | offers | [`BrowserOffer::parse`], [`TrunkOffer::parse`] | `offer.agree(codecs)` | [`author_browser_answer`], [`author_trunk_answer`] |
//! | answers | [`BrowserAnswer::parse`], [`TrunkAnswer::parse`] | `answer.agree(codecs)` | [`author_browser_offer`], [`author_trunk_offer`] beforehand |
//!
//! The line model underneath is `sdp-types`, because strict parsers turn real trunks away. Not here:
//! when to offer or answer, SIP, and the meaning of a refusal there.

mod author;
mod browser;
mod fingerprint;
mod formats;
mod lines;
#[cfg(test)]
mod tests;
mod trunk;

use std::fmt;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::base::random::Random;

pub use author::{
    BrowserSide, OpusWish, TrunkSide, author_browser_answer, author_browser_offer,
    author_trunk_answer, author_trunk_offer,
};
pub use browser::{BrowserAnswer, BrowserAudio, BrowserOffer, BrowserProtocol};
pub use fingerprint::{BadFingerprint, Fingerprint, FingerprintHash};
pub use formats::{
    Agreement, AudioFormats, ComfortNoise, OfferedEvents, OfferedRed, PACKET_MS_DEFAULT, RedPlace,
};
pub use lines::MediaLine;
pub use trunk::{TrunkAnswer, TrunkAudio, TrunkOffer, TrunkProtocol};

/// The longest SDP that is read. A browser's offer with audio, video and data is 7–10 KB.
pub const SDP_BYTES_MAX: usize = 16 * 1024;
/// The most `m=` lines. Each is answered, so this bounds what we write too.
pub const MEDIA_LINES_MAX: usize = 8;
/// The most attributes of one audio line, and of the session, that are read. Chromium writes about
/// 40 and one more for each candidate. Lines of other media are not read and not counted.
pub const ATTRIBUTES_MAX: usize = 128;

/// Why an SDP was turned down. [`Refusal::kind`] says how that is told in SIP; `Display` gives the
/// text for a `Warning` header (RFC 3261 §20.43) and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Longer than [`SDP_BYTES_MAX`].
    TooLarge,
    /// More `m=` lines than [`MEDIA_LINES_MAX`].
    TooManyMediaLines,
    /// More attributes than [`ATTRIBUTES_MAX`].
    TooManyAttributes,
    /// Not SDP, from the line with this number on, counted from 1 (0: no line at all).
    Malformed(usize),
    /// No audio line that is switched on and of a protocol we speak.
    NoAudio,
    /// None of our codecs is among the other side's.
    NoCommonCodec,
    /// The audio line has no address that packets could be sent to.
    NoAddress,
    /// Its address is of another family than our media's.
    AddressFamily,
    /// No `a=ice-ufrag` with `a=ice-pwd` of legal length (RFC 8839 §5.4).
    NoIceCredentials,
    /// Both sides are ICE-lite, so nobody would send a check.
    BothIceLite,
    /// No `a=fingerprint` by SHA-256, SHA-384 or SHA-512 (RFC 8122 §5).
    NoFingerprint,
    /// An `a=setup` that names no role we could take (RFC 4145 §4).
    NoSetup,
    /// The browser does not multiplex RTCP with RTP (RFC 5761).
    NoRtcpMux,
}

/// The two ways to turn down an SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The sender's fault: SIP 400 Bad Request.
    BadRequest,
    /// Understood, but no session comes of it: SIP 488 Not Acceptable Here, Q.850 cause 88
    /// (incompatible destination).
    NotAcceptable,
}

impl Refusal {
    /// How this is told in SIP.
    pub const fn kind(self) -> RefusalKind {
        match self {
            Refusal::TooLarge
            | Refusal::TooManyMediaLines
            | Refusal::TooManyAttributes
            | Refusal::Malformed(_) => RefusalKind::BadRequest,
            Refusal::NoAudio
            | Refusal::NoCommonCodec
            | Refusal::NoAddress
            | Refusal::AddressFamily
            | Refusal::NoIceCredentials
            | Refusal::BothIceLite
            | Refusal::NoFingerprint
            | Refusal::NoSetup
            | Refusal::NoRtcpMux => RefusalKind::NotAcceptable,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::TooLarge => write!(f, "SDP is longer than {SDP_BYTES_MAX} bytes"),
            Refusal::TooManyMediaLines => write!(f, "SDP has more than {MEDIA_LINES_MAX} m= lines"),
            Refusal::TooManyAttributes => {
                write!(f, "SDP has more than {ATTRIBUTES_MAX} attributes in one section")
            }
            Refusal::Malformed(0) => f.write_str("SDP is empty"),
            Refusal::Malformed(line) => write!(f, "SDP line {line} is malformed"),
            Refusal::NoAudio => f.write_str("SDP has no audio line that can be accepted"),
            Refusal::NoCommonCodec => f.write_str("SDP has no codec in common with ours"),
            Refusal::NoAddress => f.write_str("SDP has no usable connection address"),
            Refusal::AddressFamily => f.write_str("SDP has no address of our media's family"),
            Refusal::NoIceCredentials => f.write_str("SDP has no ICE credentials"),
            Refusal::BothIceLite => f.write_str("both sides are ICE-lite"),
            Refusal::NoFingerprint => f.write_str("SDP has no SHA-2 fingerprint"),
            Refusal::NoSetup => f.write_str("SDP has no usable a=setup"),
            Refusal::NoRtcpMux => f.write_str("SDP does not multiplex RTCP with RTP"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Which way audio flows, as seen by the side that wrote it (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendReceive,
    /// The writer only sends: it holds the other side.
    SendOnly,
    /// The writer only receives.
    ReceiveOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    const ALL: [Direction; 4] =
        [Direction::SendReceive, Direction::SendOnly, Direction::ReceiveOnly, Direction::Inactive];

    /// The attribute's name.
    pub const fn name(self) -> &'static str {
        match self {
            Direction::SendReceive => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::ReceiveOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// The same flow as seen, and answered, by the other side (RFC 3264 §6.1).
    pub const fn reversed(self) -> Direction {
        match self {
            Direction::SendOnly => Direction::ReceiveOnly,
            Direction::ReceiveOnly => Direction::SendOnly,
            both => both,
        }
    }

    /// The same without receiving: what the writer's hold by `c=0.0.0.0` means (RFC 3264 §8.4).
    pub(crate) const fn without_receiving(self) -> Direction {
        match self {
            Direction::SendReceive | Direction::SendOnly => Direction::SendOnly,
            Direction::ReceiveOnly | Direction::Inactive => Direction::Inactive,
        }
    }

    /// As far as the other side of it wants as well: `wanted` is seen by the same side.
    pub(crate) const fn within(self, wanted: Direction) -> Direction {
        match (self.sends() && wanted.sends(), self.receives() && wanted.receives()) {
            (true, true) => Direction::SendReceive,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::ReceiveOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// Whether the writer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendReceive | Direction::SendOnly)
    }

    /// Whether the writer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendReceive | Direction::ReceiveOnly)
    }
}

/// Who sends the DTLS ClientHello, as written in `a=setup` (RFC 4145 §4, RFC 5763 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The writer is the DTLS client.
    Active,
    /// The writer is the DTLS server.
    Passive,
    /// The answerer chooses.
    ActPass,
}

impl Setup {
    const ALL: [Setup; 3] = [Setup::Active, Setup::Passive, Setup::ActPass];

    /// The attribute's value.
    pub const fn name(self) -> &'static str {
        match self {
            Setup::Active => "active",
            Setup::Passive => "passive",
            Setup::ActPass => "actpass",
        }
    }

    /// The role of whoever reads this: `wanted` when the writer leaves the choice.
    pub(crate) const fn role_of_the_other(self, wanted: DtlsRole) -> DtlsRole {
        match self {
            Setup::Active => DtlsRole::Passive,
            Setup::Passive => DtlsRole::Active,
            Setup::ActPass => wanted,
        }
    }
}

/// The end of the DTLS handshake that one side takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DtlsRole {
    /// Server: waits for the ClientHello. The default, because a browser that starts the handshake
    /// knows when its side of the path works.
    #[default]
    Passive,
    /// Client: sends the ClientHello.
    Active,
}

impl DtlsRole {
    /// How the role is written in an answer.
    pub const fn setup(self) -> Setup {
        match self {
            DtlsRole::Passive => Setup::Passive,
            DtlsRole::Active => Setup::Active,
        }
    }
}

/// One side's ICE parameters (RFC 8839 §5). Candidates are left out on purpose: as ICE-lite agent we
/// learn the browser's address from its authenticated checks, so nothing in a candidate, least of
/// all an mDNS name, is ever looked at.
#[derive(Clone, PartialEq, Eq)]
pub struct IceParameters {
    /// User name fragment, 4..=256 characters.
    pub ufrag: String,
    /// Password, 22..=256 characters.
    pub password: String,
    /// Whether the side is a full agent.
    pub mode: IceMode,
}

/// Full or lite (RFC 8445 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceMode {
    /// Sends checks.
    Full,
    /// Only answers checks.
    Lite,
}

impl fmt::Debug for IceParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceParameters({}, {:?})", self.ufrag, self.mode)
    }
}

/// Identity of an SDP session that we author (RFC 8866 §5.2): the id stays for the life of the
/// dialog, the version grows by one whenever the content changes and only then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Random, below 2^62: browsers read it as a signed number.
    pub id: u64,
    /// From 1.
    pub version: u64,
}

impl Session {
    /// A new session.
    pub fn new(random: &mut Random) -> Self {
        Self { id: random.random_range(0..1 << 62), version: 1 }
    }
}
