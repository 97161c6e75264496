//! Who is at the far end of a leg.

use serde::{Deserialize, Serialize};

use crate::wire::sdp::OpusWish;

/// Who is at the far end of a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// A user's browser, by the user's name.
    User(String),
    /// A trunk, by its name in the configuration.
    Trunk(String),
}

impl Peer {
    /// What to ask of the Opus encoder of a browser whose audio goes to this peer.
    pub fn opus_wish(&self) -> OpusWish {
        match self {
            Peer::Trunk(_) => OpusWish::Narrowband,
            Peer::User(_) => OpusWish::Fullband,
        }
    }
}
