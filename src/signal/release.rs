//! Why a call ends, or never begins: the SIP status for a caller who was not answered yet, the Q.850
//! cause for whoever was, and words for the log and the record.

use crate::base::narrow::Narrow;
use crate::control::message::{ControlError, ErrorCode};
use crate::dtls::Failure;
use crate::signal::peer::Peer;
use crate::signal::privacy::NotPrivate;
use crate::signal::session_timer::{INTERVAL_MIN_S, TooSmall};
use crate::sip::cause::Cause;
use crate::sip::transaction::RETRY_AFTER_S;
use crate::wire::sdp::{Refusal, RefusalKind};
use crate::wire::sip::{HeaderName, Headers, NoSdp, Reason, Request, Response, Status, quote};

/// The longest text taken over from a peer into a record or log line.
const TEXT_CHARACTERS_MAX: usize = 100;

/// The bodies that an INVITE may have.
const BODIES: &str = "application/sdp, multipart/mixed, multipart/alternative";

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
    /// What the far end said about it in SIP's own words, for the other one: that somebody else took
    /// the call is no missed call.
    pub said: Option<Reason>,
    /// What the final response says would do.
    pub hint: Option<Hint>,
}

/// What would do, in the final response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The extensions that are not supported (RFC 3261 §20.40).
    Unsupported(String),
    /// A Warning with this code (RFC 3261 §20.43).
    Warning(u16),
    /// Min-SE (RFC 4028 §5).
    SessionInterval,
    /// The bodies that are read.
    Bodies,
    /// The encodings that are read: none.
    Encodings,
}

impl Release {
    /// A status with its cause and words.
    pub fn new(status: Status, cause: Cause, text: impl Into<String>) -> Self {
        Self { status, cause, text: text.into(), retry_after_s: None, said: None, hint: None }
    }

    /// A status with its usual cause.
    pub fn of_status(status: Status, text: impl Into<String>) -> Self {
        Self::new(status, cause_of(status), text)
    }

    /// Somebody hung up: the cause is the one given with the BYE, else normal clearing.
    pub fn hung_up(headers: &Headers) -> Self {
        let cause = Cause::of_headers(headers).unwrap_or(Cause::NORMAL_CLEARING);
        let mut release = Self::new(Status::OK, cause, "hung up");
        release.take_words(&headers.reasons());
        release
    }

    /// Takes over what a far end gave as SIP's reason.
    pub fn take_words(&mut self, reasons: &[Reason]) {
        let said = reasons.iter().find(|reason| reason.protocol.eq_ignore_ascii_case("SIP"));
        self.said = said.map(|reason| Reason {
            protocol: "SIP".to_owned(),
            cause: reason.cause,
            text: reason.text.as_deref().map(words),
        });
    }

    /// Why, as values of Reason (RFC 3326).
    pub fn reasons(&self) -> Vec<Reason> {
        self.said.iter().cloned().chain([self.cause.reason()]).collect()
    }

    /// Writes why into a request of ours.
    pub fn explain(&self, headers: &mut Headers) {
        for reason in self.reasons() {
            headers.push(HeaderName::Reason, reason);
        }
    }

    /// The callee's final response, as the caller is to see it. What is between us and the callee
    /// stays there: its challenges and redirections mean nothing to the caller.
    pub fn by_callee(response: &Response, callee: &Peer) -> Self {
        let status = match response.status.code() {
            // Of one browser. As our own it would take all of us out of a trunk's rotation
            // (RFC 3261 §16.7 step 6, §21.5.4).
            503 if matches!(callee, Peer::User(_)) => Status::TEMPORARILY_UNAVAILABLE,
            // Of whom was called, whom nobody could reach, or nobody may.
            402..=404 | 408 | 410 | 480 | 484..=486 | 488 | 500..=504 | 600..=699 => {
                response.status
            }
            300..=399 | 487 => Status::TEMPORARILY_UNAVAILABLE,
            401 | 407 => Status::FORBIDDEN,
            // Of our request: the caller can do nothing about that.
            _ => Status::SERVER_INTERNAL_ERROR,
        };
        let cause =
            Cause::of_headers(&response.headers).unwrap_or_else(|| cause_of(response.status));
        let text = format!("callee: {} {}", response.status, words(&response.reason));
        let retry_after_s = response.headers.retry_after_s();
        let mut release = Self { retry_after_s, ..Self::new(status, cause, text) };
        release.take_words(&response.headers.reasons());
        release
    }

    /// Another one took the call.
    pub fn answered_elsewhere() -> Self {
        let mut release = Self::new(Status::OK, Cause::NORMAL_CLEARING, "answered elsewhere");
        release.said = Some(Reason {
            protocol: "SIP".to_owned(),
            cause: Some(Status::OK.code()),
            text: Some("Call completed elsewhere".to_owned()),
        });
        release
    }

    /// The media process is not there, or does not answer.
    pub fn media_absent(text: &str) -> Self {
        Self::new(Status::SERVICE_UNAVAILABLE, Cause::TEMPORARY_FAILURE, text)
            .retry_after(RETRY_AFTER_S)
    }

    /// The same, with what would do.
    pub fn with_hint(mut self, hint: Hint) -> Self {
        self.hint = Some(hint);
        self
    }

    /// The same, worth another try after a while.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The final response that says so.
    pub fn response(&self, request: &Request) -> Response {
        let mut response = Response::to(request, self.status);
        self.explain(&mut response.headers);
        match &self.hint {
            Some(Hint::Unsupported(tags)) => response.headers.push(HeaderName::Unsupported, tags),
            Some(Hint::Warning(code)) => {
                let text = quote(&words(&self.text));
                response.headers.push(HeaderName::Warning, format!("{code} linecard {text}"));
            }
            Some(Hint::SessionInterval) => response.headers.push(HeaderName::MinSe, INTERVAL_MIN_S),
            Some(Hint::Bodies) => response.headers.push(HeaderName::Accept, BODIES),
            Some(Hint::Encodings) => {
                response.headers.push(HeaderName::AcceptEncoding, "identity");
            }
            None => {}
        }
        if let Some(seconds) = self.retry_after_s {
            response.headers.push(HeaderName::RetryAfter, seconds);
        }
        response
    }
}

/// Words of a peer, fit for a line of ours.
fn words(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARACTERS_MAX).collect()
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
        let warning = match refusal {
            Refusal::AddressFamily => Some(300),
            Refusal::NoAddress => Some(301),
            Refusal::NoAudio => Some(304),
            Refusal::NoCommonCodec => Some(305),
            _ => Some(399).filter(|_| status == Status::NOT_ACCEPTABLE_HERE),
        };
        let hint = warning.map(Hint::Warning);
        Self { hint, ..Self::new(status, cause, refusal.to_string()) }
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

/// A caller's privacy that cannot be had (RFC 3323 §4.2).
impl From<NotPrivate> for Release {
    fn from(NotPrivate: NotPrivate) -> Self {
        let text = "the privacy asked for cannot be had";
        Self::of_status(Status::SERVER_INTERNAL_ERROR, text).with_hint(Hint::Warning(399))
    }
}

/// A session timer that is too short.
impl From<TooSmall> for Release {
    fn from(TooSmall: TooSmall) -> Self {
        let text = "the session interval is too short";
        Self::of_status(Status::SESSION_INTERVAL_TOO_SMALL, text).with_hint(Hint::SessionInterval)
    }
}

/// A body that is no SDP.
impl From<NoSdp> for Release {
    fn from(no_sdp: NoSdp) -> Self {
        match no_sdp {
            NoSdp::OtherType => {
                let text = "the body is not SDP";
                let status = Status::UNSUPPORTED_MEDIA_TYPE;
                Self::new(status, Cause::SERVICE_NOT_IMPLEMENTED, text).with_hint(Hint::Bodies)
            }
            NoSdp::Encoded => {
                let text = "the body is encoded";
                let status = Status::UNSUPPORTED_MEDIA_TYPE;
                Self::new(status, Cause::SERVICE_NOT_IMPLEMENTED, text).with_hint(Hint::Encodings)
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
