//! How far a call is.

use serde::{Deserialize, Serialize};

/// The stages, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Media is making both legs.
    Reserving,
    /// The callee is asked and perhaps rings.
    Asking,
    /// The callee has answered; ICE and DTLS are on their way.
    Connecting,
    /// Both legs are open.
    Talking,
    /// It is over; the last messages are on their way.
    Ending,
}
