//! SIP statuses and Q.850 causes, each as the other (RFC 3398 §7.2.4.1, §8.2.6.1), and how a cause
//! stands in a Reason field (RFC 3326).

use crate::wire::sip::{Headers, Reason, Status};
use serde::{Deserialize, Serialize};

/// A cause value of ITU-T Q.850, 1..=127.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cause(pub u8);

impl Cause {
    /// Unallocated number.
    pub const UNALLOCATED_NUMBER: Self = Self(1);
    /// Normal call clearing: somebody hung up.
    pub const NORMAL_CLEARING: Self = Self(16);
    /// User busy.
    pub const USER_BUSY: Self = Self(17);
    /// No user responding.
    pub const NO_USER_RESPONDING: Self = Self(18);
    /// No answer from the user, who was alerted.
    pub const NO_ANSWER: Self = Self(19);
    /// Call rejected.
    pub const CALL_REJECTED: Self = Self(21);
    /// Number changed.
    pub const NUMBER_CHANGED: Self = Self(22);
    /// Destination out of order.
    pub const DESTINATION_OUT_OF_ORDER: Self = Self(27);
    /// Address incomplete.
    pub const ADDRESS_INCOMPLETE: Self = Self(28);
    /// Normal, unspecified.
    pub const NORMAL_UNSPECIFIED: Self = Self(31);
    /// No circuit available.
    pub const NO_CIRCUIT: Self = Self(34);
    /// Network out of order.
    pub const NETWORK_OUT_OF_ORDER: Self = Self(38);
    /// Temporary failure.
    pub const TEMPORARY_FAILURE: Self = Self(41);
    /// Switching equipment congestion.
    pub const CONGESTION: Self = Self(42);
    /// Resource unavailable, unspecified.
    pub const RESOURCE_UNAVAILABLE: Self = Self(47);
    /// Bearer capability not implemented.
    pub const BEARER_NOT_IMPLEMENTED: Self = Self(65);
    /// Service or option not implemented.
    pub const SERVICE_NOT_IMPLEMENTED: Self = Self(79);
    /// Incompatible destination: no common codec.
    pub const INCOMPATIBLE_DESTINATION: Self = Self(88);
    /// Recovery on timer expiry.
    pub const RECOVERY_ON_TIMER: Self = Self(102);
    /// Protocol error, unspecified.
    pub const PROTOCOL_ERROR: Self = Self(111);
    /// Interworking, unspecified.
    pub const INTERWORKING: Self = Self(127);

    /// The cause that a failed INVITE's status stands for.
    pub fn of_status(_status: Status) -> Self {
        unimplemented!()
    }

    /// The status a failed INVITE is answered with.
    pub fn status(self) -> Status {
        unimplemented!()
    }

    /// What the cause is called in Q.850.
    pub fn text(self) -> &'static str {
        unimplemented!()
    }

    /// The first Q.850 cause in a message's Reason fields.
    pub fn of_headers(_headers: &Headers) -> Option<Self> {
        unimplemented!()
    }

    /// The Reason value that says so.
    pub fn reason(self) -> Reason {
        unimplemented!()
    }
}
