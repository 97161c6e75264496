//! SIP statuses and Q.850 causes, each as the other (RFC 3398 §7.2.4.1 and §8.2.6.1), and how a
//! cause stands in a Reason field (RFC 3326).

use crate::wire::sip::{Headers, Reason, Status};
use serde::{Deserialize, Serialize};

/// A cause value of ITU-T Q.850, 1..=127.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cause(pub u8);

/// The protocol name in Reason fields (RFC 3326 §2).
const PROTOCOL: &str = "Q.850";

macro_rules! causes {
    ($($name:ident = $value:literal $text:literal => $status:ident,)*) => {
        impl Cause {
            $(
                #[doc = concat!($text, ".")]
                pub const $name: Cause = Cause($value);
            )*

            /// What the cause is called in Q.850.
            pub const fn text(self) -> &'static str {
                match self.0 {
                    $($value => $text,)*
                    _ => "Unspecified",
                }
            }

            /// The status a failed INVITE is answered with (RFC 3398 §7.2.4.1); 500 for causes that
            /// the table leaves out.
            pub const fn status(self) -> Status {
                match self.0 {
                    $($value => Status::$status,)*
                    _ => Status::SERVER_INTERNAL_ERROR,
                }
            }
        }

        #[cfg(test)]
        const KNOWN: &[Cause] = &[$(Cause::$name,)*];
    };
}

causes! {
    UNALLOCATED_NUMBER = 1 "Unallocated number" => NOT_FOUND,
    NO_ROUTE_TO_NETWORK = 2 "No route to specified transit network" => NOT_FOUND,
    NO_ROUTE_TO_DESTINATION = 3 "No route to destination" => NOT_FOUND,
    // The table has no line for 16: a call that is cleared normally before its answer was given up.
    NORMAL_CLEARING = 16 "Normal call clearing" => TEMPORARILY_UNAVAILABLE,
    USER_BUSY = 17 "User busy" => BUSY_HERE,
    NO_USER_RESPONDING = 18 "No user responding" => REQUEST_TIMEOUT,
    NO_ANSWER = 19 "No answer from the user" => TEMPORARILY_UNAVAILABLE,
    SUBSCRIBER_ABSENT = 20 "Subscriber absent" => TEMPORARILY_UNAVAILABLE,
    CALL_REJECTED = 21 "Call rejected" => FORBIDDEN,
    NUMBER_CHANGED = 22 "Number changed" => GONE,
    REDIRECTION = 23 "Redirection to new destination" => GONE,
    EXCHANGE_ROUTING_ERROR = 25 "Exchange routing error" => LOOP_DETECTED,
    NON_SELECTED_USER_CLEARING = 26 "Non-selected user clearing" => NOT_FOUND,
    DESTINATION_OUT_OF_ORDER = 27 "Destination out of order" => BAD_GATEWAY,
    ADDRESS_INCOMPLETE = 28 "Address incomplete" => ADDRESS_INCOMPLETE,
    FACILITY_REJECTED = 29 "Facility rejected" => NOT_IMPLEMENTED,
    NORMAL_UNSPECIFIED = 31 "Normal, unspecified" => TEMPORARILY_UNAVAILABLE,
    NO_CIRCUIT = 34 "No circuit available" => SERVICE_UNAVAILABLE,
    NETWORK_OUT_OF_ORDER = 38 "Network out of order" => SERVICE_UNAVAILABLE,
    TEMPORARY_FAILURE = 41 "Temporary failure" => SERVICE_UNAVAILABLE,
    CONGESTION = 42 "Switching equipment congestion" => SERVICE_UNAVAILABLE,
    RESOURCE_UNAVAILABLE = 47 "Resource unavailable" => SERVICE_UNAVAILABLE,
    INCOMING_BARRED = 55 "Incoming calls barred within CUG" => FORBIDDEN,
    BEARER_NOT_AUTHORIZED = 57 "Bearer capability not authorized" => FORBIDDEN,
    BEARER_NOT_AVAILABLE = 58 "Bearer capability not available" => SERVICE_UNAVAILABLE,
    SERVICE_UNAVAILABLE = 63 "Service or option not available" => METHOD_NOT_ALLOWED,
    BEARER_NOT_IMPLEMENTED = 65 "Bearer capability not implemented" => NOT_ACCEPTABLE_HERE,
    DIGITAL_RESTRICTED = 70 "Only restricted digital information" => NOT_ACCEPTABLE_HERE,
    SERVICE_NOT_IMPLEMENTED = 79 "Service or option not implemented" => NOT_IMPLEMENTED,
    NOT_MEMBER = 87 "User not member of CUG" => FORBIDDEN,
    INCOMPATIBLE_DESTINATION = 88 "Incompatible destination" => SERVICE_UNAVAILABLE,
    RECOVERY_ON_TIMER = 102 "Recovery on timer expiry" => SERVER_TIMEOUT,
    PROTOCOL_ERROR = 111 "Protocol error, unspecified" => SERVER_INTERNAL_ERROR,
    INTERWORKING = 127 "Interworking, unspecified" => SERVER_INTERNAL_ERROR,
}

impl Cause {
    /// The cause that a failed INVITE's status stands for (RFC 3398 §8.2.6.1). A status that the
    /// table leaves out counts as the x00 of its class (RFC 3261 §8.1.3.2).
    pub const fn of_status(status: Status) -> Self {
        match status.code() {
            401..=403 | 407 | 603 => Self::CALL_REJECTED,
            404 | 485 | 604 => Self::UNALLOCATED_NUMBER,
            405 => Self::SERVICE_UNAVAILABLE,
            406 | 415 | 501 => Self::SERVICE_NOT_IMPLEMENTED,
            408 | 504 => Self::RECOVERY_ON_TIMER,
            410 => Self::NUMBER_CHANGED,
            413 | 414 | 416 | 420 | 421 | 423 | 505 | 513 => Self::INTERWORKING,
            480 => Self::NO_USER_RESPONDING,
            482 | 483 => Self::EXCHANGE_ROUTING_ERROR,
            484 => Self::ADDRESS_INCOMPLETE,
            486 | 600 => Self::USER_BUSY,
            // No line for 487: the caller hung up.
            487 => Self::NORMAL_CLEARING,
            488 | 606 => Self::NORMAL_UNSPECIFIED,
            502 => Self::NETWORK_OUT_OF_ORDER,
            400..=599 => Self::TEMPORARY_FAILURE,
            _ => Self::INTERWORKING,
        }
    }

    /// The first Q.850 cause in a message's Reason fields.
    pub fn of_headers(headers: &Headers) -> Option<Self> {
        Self::of_reasons(&headers.reasons())
    }

    /// The first Q.850 cause among reasons; 0 and what is above 127 is none.
    pub fn of_reasons(reasons: &[Reason]) -> Option<Self> {
        let reason =
            reasons.iter().find(|reason| reason.protocol.eq_ignore_ascii_case(PROTOCOL))?;
        let value = u8::try_from(reason.cause?).ok()?;
        (1..=127).contains(&value).then_some(Self(value))
    }

    /// The Reason value that says so: `Q.850;cause=17;text="User busy"`.
    pub fn reason(self) -> Reason {
        Reason {
            protocol: PROTOCOL.to_owned(),
            cause: Some(u16::from(self.0)),
            text: Some(self.text().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sip::HeaderName;

    #[test]
    fn the_usual_failures_map_as_rfc_3398_says() {
        for (status, cause) in [
            (400, 41),
            (403, 21),
            (404, 1),
            (408, 102),
            (410, 22),
            (480, 18),
            (484, 28),
            (486, 17),
            (487, 16),
            (488, 31),
            (491, 41),
            (500, 41),
            (502, 38),
            (503, 41),
            (504, 102),
            (600, 17),
            (603, 21),
            (604, 1),
        ] {
            assert_eq!(Cause::of_status(Status::new(status).unwrap()).0, cause, "{status}");
        }
        for (cause, status) in
            [(1, 404), (16, 480), (17, 486), (18, 408), (19, 480), (21, 403), (22, 410), (27, 502)]
        {
            assert_eq!(Cause(cause).status().code(), status, "{cause}");
        }
        for (cause, status) in [
            (28, 484),
            (34, 503),
            (41, 503),
            (65, 488),
            (79, 501),
            (102, 504),
            (127, 500),
            (99, 500),
        ] {
            assert_eq!(Cause(cause).status().code(), status, "{cause}");
        }
    }

    #[test]
    fn every_cause_becomes_a_failure_and_every_failure_a_cause() {
        assert!(KNOWN.iter().all(|cause| cause.status().is_failure()));
        assert!((1..=127).all(|value| Cause(value).status().is_failure()));
        for code in 300..=699 {
            let cause = Cause::of_status(Status::new(code).unwrap());
            assert!(KNOWN.contains(&cause), "{code}");
        }
    }

    #[test]
    fn a_cause_reads_back_from_its_reason() {
        let mut headers = Headers::new();
        headers.push(HeaderName::Reason, "SIP ;cause=200 ;text=\"Call completed elsewhere\"");
        assert_eq!(Cause::of_headers(&headers), None);
        headers.push(HeaderName::Reason, Cause::USER_BUSY.reason());
        assert_eq!(
            headers.all(&HeaderName::Reason).last(),
            Some("Q.850;cause=17;text=\"User busy\"")
        );
        assert_eq!(Cause::of_headers(&headers), Some(Cause::USER_BUSY));
        headers.set(HeaderName::Reason, "Q.850;cause=0");
        assert_eq!(Cause::of_headers(&headers), None);
        headers.set(HeaderName::Reason, "q.850;cause=16;text=\"Terminated\"");
        assert_eq!(Cause::of_headers(&headers), Some(Cause::NORMAL_CLEARING));
    }
}
