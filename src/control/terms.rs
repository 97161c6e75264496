//! What all commands and events speak of: a call's name, its legs, their addresses and directions.

use std::borrow::Borrow;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest call name.
pub const CALL_NAME_BYTES_MAX: usize = 128;

/// A call's name: chosen by the controller, unique in the media process. What was read from the wire
/// is 1 to [`CALL_NAME_BYTES_MAX`] printable ASCII characters. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallName(Arc<str>);

impl CallName {
    /// A name that may stand on the wire; `None` when it may not.
    pub fn new(name: &str) -> Option<Self> {
        let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
        let allowed = (1..=CALL_NAME_BYTES_MAX).contains(&name.len()) && printable;
        allowed.then(|| Self(name.into()))
    }
}

/// For names of our own making: media refuses what [`CallName::new`] does not allow.
impl From<&str> for CallName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for CallName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl Deref for CallName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for CallName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CallName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for CallName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CallName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        Self::new(&name).ok_or_else(|| {
            de::Error::custom(format_args!(
                "must be 1 to {CALL_NAME_BYTES_MAX} printable ASCII characters"
            ))
        })
    }
}

/// One of the two legs of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The first leg.
    A,
    /// The second leg.
    B,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Side; 2] = [Side::A, Side::B];

    /// The leg at the other end of the call.
    pub const fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// Position in a two-element array.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::A => "a",
            Side::B => "b",
        })
    }
}

/// Where a leg's far end sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAddresses {
    /// RTP (ICE: everything).
    pub rtp: SocketAddr,
    /// RTCP; equal to `rtp` on an ICE leg.
    pub rtcp: SocketAddr,
}

/// Which way audio goes, as seen from media (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// Media sends and does not hear.
    SendOnly,
    /// Media hears and does not send.
    RecvOnly,
    /// Neither; RTCP and consent go on.
    Inactive,
}

impl Direction {
    /// Whether media sends audio.
    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether media hears what comes.
    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }
}
