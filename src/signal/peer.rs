//! Who is at the far end of a leg.

use serde::{Deserialize, Serialize};

/// Who is at the far end of a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// A user's browser, by the user's name.
    User(String),
    /// A trunk, by its name in the configuration.
    Trunk(String),
}
