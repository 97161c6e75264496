//! Why a call ends, or never begins: the SIP status for a caller who was not answered yet, the Q.850
//! cause for whoever was, and words for the log and the record.

use crate::base::narrow::Narrow;
use crate::control::message::{ControlError, ErrorCode};
use crate::dtls::Failure;
use crate::signal::session_timer::{INTERVAL_MIN_S, TooSmall};
use crate::sip::cause::Cause;
use crate::sip::transaction::RETRY_AFTER_S;
use crate::wire::sdp::{Refusal, RefusalKind};
use crate::wire::sip::{HeaderName, Headers, NoSdp, Request, Response, Status};

/// The longest text taken over from a peer into a record or log line.
const TEXT_CHARACTERS_MAX: usize = 100;

/// The longest that a caller is told to wait when media names the time: nobody knows a load further
/// ahead.
const RETRY_AFTER_S_MAX: u32 = 60;

/// Why a call ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The final status for an INVITE that was not answered yet.
    pub status: Status,
    /// The Q.850 cause, told in Reason (RFC 3326).
    pub cause: Cause,
    /// What was particular.
    pub text: String,
    /// When the caller may try again, in seconds.
    pub retry_after_s: Option<u32>,
}

impl Release {
    /// A status with its cause and words.
    pub fn new(status: Status, cause: Cause, text: impl Into<String>) -> Self {
        Self { status, cause, text: text.into(), retry_after_s: None }
    }

    /// A status with its usual cause.
    pub fn of_status(status: Status, text: impl Into<String>) -> Self {
        Self::new(status, cause_of(status), text)
    }

    /// Somebody hung up: the cause is the one given with the BYE, else normal clearing.
    pub fn hung_up(headers: &Headers) -> Self {
        let cause = Cause::of_headers(headers).unwrap_or(Cause::NORMAL_CLEARING);
        Self::new(Status::OK, cause, "hung up")
    }

    /// The callee's final response, as the caller is to see it. What is between us and the callee
    /// stays there: its challenges and redirections mean nothing to the caller.
    pub fn by_callee(response: &Response) -> Self {
        let status = match response.status.code() {
            300..=399 => Status::TEMPORARILY_UNAVAILABLE,
            401 | 407 => Status::FORBIDDEN,
            481 | 482 | 491 => Status::SERVER_INTERNAL_ERROR,
            _ => response.status,
        };
        let cause =
            Cause::of_headers(&response.headers).unwrap_or_else(|| cause_of(response.status));
        let words = response.reason.chars().filter(|c| !c.is_control()).take(TEXT_CHARACTERS_MAX);
        let text = format!("callee: {} {}", response.status, words.collect::<String>());
        let retry_after_s = response.headers.retry_after_s();
        Self { status, cause, text, retry_after_s }
    }

    /// Another one took the call.
    pub fn answered_elsewhere() -> Self {
        Self::new(Status::OK, Cause::NORMAL_CLEARING, "answered elsewhere")
    }

    /// The media process is not there, or does not answer.
    pub fn media_absent(text: &str) -> Self {
        Self::new(Status::SERVICE_UNAVAILABLE, Cause::TEMPORARY_FAILURE, text)
            .retry_after(RETRY_AFTER_S)
    }

    /// The same, worth another try after a while.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The final response that says so.
    pub fn response(&self, request: &Request) -> Response {
        let mut response = Response::to(request, self.status);
        response.headers.push(HeaderName::Reason, self.cause.reason());
        if self.status == Status::SESSION_INTERVAL_TOO_SMALL {
            response.headers.push(HeaderName::MinSe, INTERVAL_MIN_S);
        }
        if let Some(seconds) = self.retry_after_s {
            response.headers.push(HeaderName::RetryAfter, seconds);
        }
        response
    }
}

/// The cause that RFC 3398 §7.2.4.1 gives a status. It leaves 488 and 606 to the Warning header; the
/// codecs are what they are about here.
fn cause_of(status: Status) -> Cause {
    match status {
        Status::NOT_ACCEPTABLE_HERE | Status::NOT_ACCEPTABLE_ANYWHERE => {
            Cause::INCOMPATIBLE_DESTINATION
        }
        other => Cause::of_status(other),
    }
}

/// An SDP that was turned down.
impl From<Refusal> for Release {
    fn from(refusal: Refusal) -> Self {
        let (status, cause) = match refusal.kind() {
            RefusalKind::BadRequest => (Status::BAD_REQUEST, Cause::PROTOCOL_ERROR),
            RefusalKind::NotAcceptable => {
                (Status::NOT_ACCEPTABLE_HERE, Cause::INCOMPATIBLE_DESTINATION)
            }
        };
        Self::new(status, cause, refusal.to_string())
    }
}

/// The DTLS handshake came to nothing.
impl From<Failure> for Release {
    fn from(failure: Failure) -> Self {
        let (status, cause) = match failure {
            Failure::TimedOut => (Status::REQUEST_TIMEOUT, Cause::RECOVERY_ON_TIMER),
            Failure::Protocol(_) | Failure::BadSignature => {
                (Status::NOT_ACCEPTABLE_HERE, Cause::PROTOCOL_ERROR)
            }
            Failure::FingerprintMismatch
            | Failure::Alert(_)
            | Failure::NoCertificate
            | Failure::UnknownKey
            | Failure::NothingInCommon
            | Failure::NoSrtpProfile => {
                (Status::NOT_ACCEPTABLE_HERE, Cause::INCOMPATIBLE_DESTINATION)
            }
        };
        Self::new(status, cause, failure.to_string())
    }
}

/// A session timer that is too short.
impl From<TooSmall> for Release {
    fn from(TooSmall: TooSmall) -> Self {
        Self::of_status(Status::SESSION_INTERVAL_TOO_SMALL, "the session interval is too short")
    }
}

/// A body that is no SDP.
impl From<NoSdp> for Release {
    fn from(no_sdp: NoSdp) -> Self {
        match no_sdp {
            NoSdp::OtherType => {
                let text = "the body is not SDP";
                let status = Status::UNSUPPORTED_MEDIA_TYPE;
                Self::new(status, Cause::SERVICE_NOT_IMPLEMENTED, text)
            }
            NoSdp::NotText => Self::of_status(Status::BAD_REQUEST, "the SDP is not UTF-8"),
        }
    }
}

/// The media process refused a call.
impl From<ControlError> for Release {
    fn from(error: ControlError) -> Self {
        let text = format!("media: {}", error.message);
        match error.code {
            ErrorCode::Overloaded => {
                let seconds = error.retry_after_ms.map_or(RETRY_AFTER_S, whole_seconds);
                Self::new(Status::SERVICE_UNAVAILABLE, Cause::CONGESTION, text).retry_after(seconds)
            }
            ErrorCode::NoCapacity | ErrorCode::NoPorts => {
                Self::new(Status::SERVICE_UNAVAILABLE, Cause::NO_CIRCUIT, text)
                    .retry_after(RETRY_AFTER_S)
            }
            ErrorCode::SystemRefused => {
                Self::new(Status::SERVICE_UNAVAILABLE, Cause::RESOURCE_UNAVAILABLE, text)
                    .retry_after(RETRY_AFTER_S)
            }
            ErrorCode::Unsupported => {
                Self::new(Status::NOT_ACCEPTABLE_HERE, Cause::INCOMPATIBLE_DESTINATION, text)
            }
            _ => Self::new(Status::SERVER_INTERNAL_ERROR, Cause::TEMPORARY_FAILURE, text),
        }
    }
}

/// Retry-After counts in seconds (RFC 3261 §20.33); who comes back too early is refused again.
fn whole_seconds(ms: u64) -> u32 {
    ms.div_ceil(1000).clamp(1, u64::from(RETRY_AFTER_S_MAX)).narrow()
}
