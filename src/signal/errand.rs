//! An errand: what one call wants done with another one. Calls do not know each other; the engine runs
//! what they ask for once they are done with their input.

use crate::base::opaque::opaque;
use crate::control::message::{CallName, Side};
use crate::signal::peer::Peer;
use crate::signal::privacy::Shown;
use crate::signal::refer::Replaced;
use crate::signal::release::Release;
use crate::wire::sip::Status;

/// What one call wants done with another one.
pub enum Errand {
    /// Ask somebody for the far end that waits in `first`.
    Ask(Box<Asking>),
    /// The far end of another call, by the dialog that the same user has there, comes into this one in
    /// the place of its leg `by`.
    Take {
        /// The call that goes on.
        first: CallName,
        /// Its leg that goes.
        by: Side,
        /// Whose dialogs both are.
        who: Peer,
        /// The other one.
        dialog: Replaced,
    },
    /// Whom `second` asked has answered and can be heard.
    Answered {
        /// The call that waits.
        first: CallName,
        /// The call that asked.
        second: CallName,
    },
    /// Whom `second` asked rings.
    Rings {
        /// The call that waits.
        first: CallName,
        /// How.
        status: Status,
    },
    /// Whom `second` asked does not come.
    Failed {
        /// The call that waits.
        first: CallName,
        /// The call that asked.
        second: CallName,
        /// Why.
        release: Release,
    },
    /// Nobody waits any more for whom `second` asks.
    GiveUp {
        /// The call that asks.
        second: CallName,
        /// Why.
        release: Release,
    },
}

opaque!(Errand);

/// Who is to be asked, for whom, and by whom.
pub struct Asking {
    /// The call that waits.
    pub first: CallName,
    /// The name of the one that asks.
    pub second: CallName,
    /// The media thread that both have to be on.
    pub thread: Option<usize>,
    /// Who transfers, and is charged.
    pub by: Peer,
    /// The number that it has, whoever may see it.
    pub number: String,
    /// Whom it dialled for the other.
    pub dialled: String,
    /// Who is asked.
    pub callee: Peer,
    /// Who waits.
    pub waiting: Peer,
    /// Who is shown to whoever is asked.
    pub shown: Shown,
    /// Hops left.
    pub max_forwards: u8,
}

opaque!(Asking);
