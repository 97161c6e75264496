//! How far a transfer is, as the calls that it concerns know it. What is done about it is in `transfer`.

use serde::{Deserialize, Serialize};

use crate::base::opaque::opaque;
use crate::control::message::{CallName, Side};
use crate::signal::privacy::Shown;
use crate::signal::records::CallRecord;

/// What a call has to do with a transfer.
pub enum Transfer {
    /// Its leg `by` asked for it. The other one waits, and `second` asks whom it is to be joined with.
    Asked {
        /// Who transfers.
        by: Side,
        /// The call that asks.
        second: CallName,
        /// Whether who transfers is not heard of any more: its BYE is still owed.
        is_gone: bool,
    },
    /// It asks somebody for the one who waits in `first`: in the place of its caller is nobody.
    Asks {
        /// The call that waits.
        first: CallName,
        /// Who is shown.
        shown: Shown,
        /// Hops left.
        max_forwards: u8,
    },
    /// Media is exchanging the leg that `goes` for one of another call.
    Joining {
        /// The leg.
        goes: Side,
        /// Who transfers: needs not be there any more.
        transferor: Side,
    },
}

opaque!(Transfer);

/// The record that came with a leg: the call it came from was that leg's, and it ends with it. The
/// call's own record is the other leg's.
#[derive(Clone, Serialize, Deserialize)]
pub struct Joined<R = CallRecord> {
    /// The record.
    pub record: R,
    /// The leg.
    pub leg: Side,
}

opaque!(Joined);
