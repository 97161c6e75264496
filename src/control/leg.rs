//! Legs: how one is made, changed and replaced.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::format::Format;
use super::reading::{Misfit, kinds, ranged, split};
use super::snapshot::LegSnapshot;
use super::statistics::{CallStatistics, LegStatistics};
use super::terms::{CallName, Direction, LocalAddresses, Side};
use crate::base::prefix::Prefix;
use crate::srtp::keys::{BadMasterKey, MasterKey, Profile};

/// Prefixes that a leg may learn its far end's address from: a carrier's announcement has a handful.
pub const PREFIXES_MAX: usize = 32;

/// How a leg is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegParameters {
    /// Where its packets come and go.
    pub transport: Transport,
    /// How they are protected.
    #[serde(default)]
    pub security: Security,
    /// What they carry. A leg without one neither sends nor accepts audio.
    #[serde(default)]
    pub format: Option<Format>,
    /// Which way audio goes.
    #[serde(default)]
    pub direction: Direction,
    /// The mark of what is sent; absent: as the process is configured.
    #[serde(default)]
    pub dscp: Option<Dscp>,
    /// After how long without a packet the controller is told.
    #[serde(default)]
    pub media_timeout_ms: MediaTimeout,
    /// Where another leg, here or elsewhere, left off.
    #[serde(default)]
    pub resume: Option<Box<LegSnapshot>>,
}

impl LegParameters {
    /// A leg of this transport with everything else as if it were absent.
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            security: Security::None,
            format: None,
            direction: Direction::default(),
            dscp: None,
            media_timeout_ms: MediaTimeout::NEVER,
            resume: None,
        }
    }
}

ranged! {
    /// A differentiated services code point (RFC 2474 §3).
    pub struct Dscp(u8): |code: u64| code < 64, "must be 0 to 63";
}

ranged! {
    /// How long a leg may hear nothing before that is told, in milliseconds; 0: for ever. Below a
    /// second an ordinary gap would be told, above an hour nobody waits for it.
    pub struct MediaTimeout(u32): |ms: u64| ms == 0 || (1_000..=3_600_000).contains(&ms),
        "must be 0, or 1000 to 3600000";
}

impl MediaTimeout {
    /// Silence is not told.
    pub const NEVER: Self = Self(0);

    /// Of so long a time; `None`, or what is out of range, is for ever.
    pub fn of(time: Option<Duration>) -> Self {
        let ms = time.and_then(|time| u32::try_from(time.as_millis()).ok());
        ms.and_then(Self::new).unwrap_or(Self::NEVER)
    }

    /// The time, unless it is for ever.
    pub fn duration(self) -> Option<Duration> {
        (self != Self::NEVER).then(|| Duration::from_millis(self.0.into()))
    }
}

impl Default for MediaTimeout {
    fn default() -> Self {
        Self::NEVER
    }
}

kinds! {
    /// Where a leg's packets come and go.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Transport {
        /// The thread's shared browser port, RTP and RTCP together (RFC 5761). The remote address is
        /// the one that the controller nominated after an authenticated check, given by
        /// `update_leg`; media itself answers consent checks from there (RFC 7675).
        "ice" => Ice(IceCredentials),
        /// A port pair of its own; packets are accepted from the remote address only.
        "plain" => Plain(PlainTransport),
    }
}

/// A port pair and who is heard on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainTransport {
    /// The far end's RTP address, when known.
    #[serde(default)]
    pub remote: Option<SocketAddr>,
    /// The far end's RTCP address; default: RTP port + 1.
    #[serde(default)]
    pub remote_rtcp: Option<SocketAddr>,
    /// Our own RTP address, RTCP one port above; default: any free pair.
    #[serde(default, deserialize_with = "even_port")]
    pub local: Option<SocketAddr>,
    /// Where the far end may be found to send from.
    #[serde(default)]
    pub source: Source,
}

/// RTP is on the even port, RTCP on the next (RFC 3550 §11).
fn even_port<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let local = Option::<SocketAddr>::deserialize(from)?;
    match local {
        Some(local) if local.port() == 0 || local.port() % 2 == 1 => {
            Err(de::Error::custom("its port must be even and not 0"))
        }
        local => Ok(local),
    }
}

kinds! {
    /// Where a plain leg's far end may be found to send from.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub enum Source {
        /// From exactly the remote address.
        #[default]
        "exact" => Exact,
        /// From another address of these prefixes: the first that sends well-formed packets of the
        /// format is the remote address from then on.
        "within" => Within(SourcePrefixes),
    }
}

/// The prefixes that a far end's address may be learnt from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePrefixes {
    /// 1 to [`PREFIXES_MAX`].
    #[serde(deserialize_with = "some_prefixes")]
    pub prefixes: Vec<Prefix>,
}

fn some_prefixes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Prefix>, D::Error> {
    let prefixes = Vec::<Prefix>::deserialize(from)?;
    if prefixes.is_empty() || prefixes.len() > PREFIXES_MAX {
        return Err(de::Error::custom(format_args!("must list 1 to {PREFIXES_MAX} prefixes")));
    }
    Ok(prefixes)
}

/// What authenticates checks on an ICE leg (RFC 8445 §7.2.2: USERNAME is `local:remote`, keyed by
/// the local password).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCredentials {
    /// Our fragment.
    #[serde(deserialize_with = "ufrag")]
    pub local_ufrag: String,
    /// Our password: keys the integrity of checks that the browser sends and of our answers.
    #[serde(deserialize_with = "ice_password")]
    pub local_password: String,
    /// The browser's fragment, when known.
    #[serde(default, deserialize_with = "some_ufrag")]
    pub remote_ufrag: Option<String>,
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceCredentials({}:{:?})", self.local_ufrag, self.remote_ufrag)
    }
}

/// RFC 8445 §5.3: a fragment has at least 24 bits, so 4 characters; RFC 8839 §5.4: at most 256.
fn ufrag<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    characters(String::deserialize(from)?, 4)
}

fn some_ufrag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(from)?.map(|ufrag| characters(ufrag, 1)).transpose()
}

/// RFC 8445 §5.3: a password has at least 128 bits, so 22 characters.
fn ice_password<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    characters(String::deserialize(from)?, 22)
}

fn characters<E: de::Error>(text: String, least: usize) -> Result<String, E> {
    if (least..=256).contains(&text.len()) {
        Ok(text)
    } else {
        Err(E::custom(format_args!("must have {least} to 256 characters")))
    }
}

kinds! {
    /// How a leg's packets are protected.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub enum Security {
        /// Plain RTP.
        #[default]
        "none" => None,
        /// SRTP whose keys a handshake will bring: until then nothing is sent or accepted.
        "pending" => Pending,
        /// SRTP with these keys.
        "srtp" => Srtp(SrtpKeys),
    }
}

/// SRTP master keys of both directions, of one profile. Never printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "KeysInBase64", into = "KeysInBase64")]
pub struct SrtpKeys {
    /// Keys what media sends.
    pub send: MasterKey,
    /// Keys what media receives.
    pub receive: MasterKey,
}

impl SrtpKeys {
    /// From the bytes of both, each a key followed by its salt.
    pub fn from_bytes(profile: Profile, send: &[u8], receive: &[u8]) -> Result<Self, BadMasterKey> {
        let key = |bytes| MasterKey::from_bytes(profile, bytes);
        Ok(Self { send: key(send)?, receive: key(receive)? })
    }
}

/// [`SrtpKeys`] on the wire.
#[derive(Serialize, Deserialize)]
struct KeysInBase64 {
    profile: Profile,
    send: String,
    receive: String,
}

impl TryFrom<KeysInBase64> for SrtpKeys {
    type Error = Misfit;

    fn try_from(keys: KeysInBase64) -> Result<Self, Misfit> {
        let key = |text: &str, place: &str| {
            MasterKey::from_base64(keys.profile, text)
                .map_err(|problem| Misfit::at(place, problem.to_string()))
        };
        Ok(Self { send: key(&keys.send, ".send")?, receive: key(&keys.receive, ".receive")? })
    }
}

impl From<SrtpKeys> for KeysInBase64 {
    fn from(keys: SrtpKeys) -> Self {
        let (send, receive) = (keys.send.to_base64(), keys.receive.to_base64());
        Self { profile: keys.send.profile(), send, receive }
    }
}

/// What is to change in a leg; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LegChange {
    /// The far end's RTP address (ICE: the nominated one).
    pub remote: Option<SocketAddr>,
    /// The far end's RTCP address, plain legs only.
    pub remote_rtcp: Option<SocketAddr>,
    /// Where the far end may be found to send from, plain legs only.
    pub source: Option<Source>,
    /// The browser's ICE fragment, ICE legs only.
    #[serde(deserialize_with = "some_ufrag")]
    pub remote_ufrag: Option<String>,
    /// New credentials (an ICE restart, RFC 8445 §9), ICE legs only.
    pub ice: Option<IceCredentials>,
    /// New protection.
    pub security: Option<Security>,
    /// New format, in place of all of the old one.
    pub format: Option<Format>,
    /// Which way audio goes from now on.
    pub direction: Option<Direction>,
    /// The mark of what is sent.
    pub dscp: Option<Dscp>,
    /// After how long without a packet the controller is told.
    pub media_timeout_ms: Option<MediaTimeout>,
}

impl LegChange {
    /// As arguments of `update_leg`.
    pub fn of(self, call: CallName, leg: Side) -> UpdateLeg {
        UpdateLeg { call, leg, change: self }
    }
}

/// Arguments of `update_leg`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpdateLeg {
    /// The call.
    pub call: CallName,
    /// The leg.
    pub leg: Side,
    /// What is to change.
    #[serde(flatten)]
    pub change: LegChange,
}

impl<'de> Deserialize<'de> for UpdateLeg {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct OfLeg {
            call: CallName,
            leg: Side,
        }
        let (OfLeg { call, leg }, change) = split(from, &["call", "leg"])?;
        Ok(Self { call, leg, change })
    }
}

/// Arguments of `replace_leg`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplaceLeg {
    /// The call.
    pub call: CallName,
    /// The leg that goes.
    pub leg: Side,
    /// The one that takes its place.
    pub with: LegParameters,
}

/// Result of `replace_leg`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegReplaced {
    /// Where the new leg's far end sends to.
    pub local: LocalAddresses,
    /// The old leg's final statistics.
    pub statistics: LegStatistics,
}

/// Arguments of `exchange_legs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExchangeLegs {
    /// A call.
    pub call: CallName,
    /// Its leg that goes.
    pub leg: Side,
    /// Another call of the same thread.
    pub with: CallName,
    /// Its leg that comes, and in whose place the first one goes.
    pub with_leg: Side,
}

/// Result of `exchange_legs`: what the calls were until then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegsExchanged {
    /// The statistics of `call`.
    pub call: CallStatistics,
    /// The statistics of `with`.
    pub with: CallStatistics,
}
