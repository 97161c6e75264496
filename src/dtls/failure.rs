//! Why a handshake failed, and how the other side is told.

use std::fmt;

use dimpl::{CertificateError, CryptoError, CryptoOperation, Error, SecurityError};

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The certificate is not the one whose fingerprint the SDP gave (RFC 8122 §6.2).
    FingerprintMismatch,
    /// Not done within [`super::HANDSHAKE_TIME_MAX`].
    TimedOut,
    /// The other side gave up, with this alert (RFC 8446 §6).
    Alert(u8),
    /// The other side showed no certificate. It has none of a kind that we ask for: an ECDSA key, not
    /// RSA nor EdDSA.
    NoCertificate,
    /// The certificate has a key, or is signed for in a way, that cannot be verified here.
    UnknownKey,
    /// The signature is not the certificate's.
    BadSignature,
    /// The two sides have no cipher suite or no key exchange group in common.
    NothingInCommon,
    /// The two sides have no SRTP profile in common.
    NoSrtpProfile,
    /// The protocol engine gave up; the text is for the log.
    Protocol(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::FingerprintMismatch => {
                f.write_str("DTLS: the certificate is not the SDP's (fingerprint)")
            }
            Failure::TimedOut => f.write_str("DTLS: the handshake timed out"),
            Failure::Alert(description) => match alert_name(*description) {
                Some(name) => {
                    write!(f, "DTLS: the other side gave up: alert {description}, {name}")
                }
                None => write!(f, "DTLS: the other side gave up: alert {description}"),
            },
            Failure::NoCertificate => {
                f.write_str("DTLS: no certificate came; one with an ECDSA key is wanted")
            }
            Failure::UnknownKey => {
                f.write_str("DTLS: the certificate's kind of key or signature is not known here")
            }
            Failure::BadSignature => f.write_str("DTLS: the signature is not the certificate's"),
            Failure::NothingInCommon => {
                f.write_str("DTLS: no cipher suite or key exchange in common")
            }
            Failure::NoSrtpProfile => f.write_str("DTLS: no SRTP profile in common"),
            Failure::Protocol(reason) => write!(f, "DTLS: {reason}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Timeout(_) => Failure::TimedOut,
            Error::SecurityError(SecurityError::FatalAlert { description }) => {
                Failure::Alert(description)
            }
            Error::CertificateError(
                CertificateError::NoClientCertificateReceived
                | CertificateError::NoServerCertificateReceived
                | CertificateError::NoClientCertificateForVerification
                | CertificateError::NoServerCertificateForVerification,
            ) => Failure::NoCertificate,
            Error::CertificateError(
                CertificateError::UnsupportedEcCurve
                | CertificateError::UnsupportedHashAlgorithm(_),
            )
            | Error::CryptoError(
                CryptoError::UnsupportedPublicKeyAlgorithm
                | CryptoError::UnsupportedSignatureAlgorithm(_)
                | CryptoError::UnsupportedSignaturePair { .. }
                | CryptoError::UnsupportedSignatureVerification { .. }
                | CryptoError::UnsupportedEcCurve,
            )
            | Error::SecurityError(
                SecurityError::UnsupportedSignatureScheme(_)
                | SecurityError::SignatureSchemeNotOffered(_)
                | SecurityError::SignatureSchemeCertificateCurveMismatch { .. },
            ) => Failure::UnknownKey,
            Error::CryptoError(
                CryptoError::SignatureVerificationFailed { .. }
                | CryptoError::OperationFailed(CryptoOperation::VerifySignature),
            ) => Failure::BadSignature,
            Error::SecurityError(
                SecurityError::NoMutuallyAcceptableCipherSuite
                | SecurityError::NoCommonCipherSuite
                | SecurityError::NoCommonKeyExchangeGroup,
            ) => Failure::NothingInCommon,
            error => Failure::Protocol(error.to_string()),
        }
    }
}

impl Failure {
    /// The alert that tells the other side, so that it need not wait for its own timeout; `None` when
    /// it knows already or is not there.
    pub(super) fn alert(&self) -> Option<u8> {
        match self {
            Failure::TimedOut | Failure::Alert(_) => None,
            Failure::UnknownKey => Some(UNSUPPORTED_CERTIFICATE),
            Failure::FingerprintMismatch => Some(BAD_CERTIFICATE),
            Failure::BadSignature => Some(DECRYPT_ERROR),
            Failure::NoCertificate
            | Failure::NothingInCommon
            | Failure::NoSrtpProfile
            | Failure::Protocol(_) => Some(HANDSHAKE_FAILURE),
        }
    }
}

const HANDSHAKE_FAILURE: u8 = 40;
const BAD_CERTIFICATE: u8 = 42;
const UNSUPPORTED_CERTIFICATE: u8 = 43;
const DECRYPT_ERROR: u8 = 51;

/// The names of RFC 8446 §6 for those alerts that end handshakes.
fn alert_name(description: u8) -> Option<&'static str> {
    Some(match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        HANDSHAKE_FAILURE => "handshake_failure",
        BAD_CERTIFICATE => "bad_certificate",
        UNSUPPORTED_CERTIFICATE => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        DECRYPT_ERROR => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        90 => "user_canceled",
        109 => "missing_extension",
        116 => "certificate_required",
        _ => return None,
    })
}

/// Content type of alerts.
pub(super) const ALERT: u8 = 21;

/// A fatal alert in the clear (RFC 6347 §4.1, RFC 5246 §7.2). Its sequence number is past any that a
/// handshake reaches, so that no replay window drops it.
pub(super) fn alert_record(description: u8) -> Vec<u8> {
    const FATAL: u8 = 2;
    vec![ALERT, 254, 253, 0, 0, 0, 0, 0, 0, 255, 255, 0, 2, FATAL, description]
}
