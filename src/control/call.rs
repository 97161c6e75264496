//! Calls: their names, how they are made, listed, parked and ended.

use std::borrow::Borrow;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::leg::LegParameters;
use super::reading::ranged;

/// The longest call name.
pub const CALL_NAME_BYTES_MAX: usize = 128;
/// The longest blob that can be parked with a call.
pub const BLOB_BYTES_MAX: usize = 16 * 1024;
/// The most calls in one `list_calls` reply; fewer when their blobs would overrun the line.
pub const LIST_CALLS_MAX: usize = 64;

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

ranged! {
    /// How long a call outlives its controller's connection, in milliseconds; at most a day: a longer
    /// outage is nobody's call any more.
    pub struct OrphanTime(u32): |ms: u64| ms <= 86_400_000, "must be 0 to 86400000";
}

/// Arguments of `create_call`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateCall {
    /// The new call's name.
    pub call: CallName,
    /// Opaque to media, returned by `list_calls`: what the controller needs to pick the call up
    /// again after it was restarted. At most [`BLOB_BYTES_MAX`].
    #[serde(default, deserialize_with = "blob")]
    pub blob: String,
    /// The first leg.
    pub a: LegParameters,
    /// The second leg.
    pub b: LegParameters,
    /// The thread that is to have it; absent: the one with the most room.
    #[serde(default)]
    pub thread: Option<usize>,
    /// How long the call outlives the connection of its controller; absent: for ever.
    #[serde(default)]
    pub orphan_ms: Option<OrphanTime>,
}

fn blob<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let blob = String::deserialize(from)?;
    if blob.len() > BLOB_BYTES_MAX {
        return Err(de::Error::custom(format_args!("must be at most {BLOB_BYTES_MAX} bytes")));
    }
    Ok(blob)
}

/// Arguments of `park`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Park {
    /// The call.
    pub call: CallName,
    /// The new blob.
    #[serde(deserialize_with = "blob")]
    pub blob: String,
}

/// Arguments of `delete_call`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeleteCall {
    /// The call.
    pub call: CallName,
}

/// Arguments of `query_call`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryCall {
    /// The call.
    pub call: CallName,
}

/// Arguments of `list_calls`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListCalls {
    /// Calls whose names sort after this one; absent: from the first.
    #[serde(default)]
    pub after: Option<CallName>,
}

/// Result of `create_call`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallCreated {
    /// The thread that owns the call.
    pub thread: usize,
    /// Where the first leg's far end sends to.
    pub a: LocalAddresses,
    /// Where the second leg's far end sends to.
    pub b: LocalAddresses,
}

/// Where a leg's far end sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAddresses {
    /// RTP (ICE: everything).
    pub rtp: SocketAddr,
    /// RTCP; equal to `rtp` on an ICE leg.
    pub rtcp: SocketAddr,
}

/// Result of `list_calls`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallList {
    /// At most [`LIST_CALLS_MAX`], by name.
    pub calls: Vec<ListedCall>,
    /// Whether more sort after the last one.
    pub more: bool,
}

/// One call in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedCall {
    /// Its name.
    pub call: CallName,
    /// What the controller parked.
    pub blob: String,
    /// Where it lives and is reached.
    #[serde(flatten)]
    pub created: CallCreated,
}
