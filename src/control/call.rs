//! Calls: how they are made, listed, parked, snapshotted and ended.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::leg::LegParameters;
use super::reading::ranged;
use super::terms::{CallName, LocalAddresses};

/// The longest blob that can be parked with a call.
pub const BLOB_BYTES_MAX: usize = 16 * 1024;
/// The most calls in one `list_calls` reply; fewer when their blobs would overrun the line.
pub const LIST_CALLS_MAX: usize = 64;

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

/// Arguments of `snapshot`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The call.
    pub call: CallName,
}

/// Result of `snapshot`, and the body of a `call_snapshot` event. Carries keys; they are not printed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallSnapshot {
    /// The call.
    pub call: CallName,
    /// Its thread.
    pub thread: usize,
    /// What the controller parked.
    pub blob: String,
    /// The first leg as it is.
    pub a: LegParameters,
    /// The second leg as it is.
    pub b: LegParameters,
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
