//! Certificates of a DTLS association and their fingerprints (RFC 8122).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use dimpl::{Config, DtlsCertificate};
use subtle::ConstantTimeEq;

use super::verifier::provider;
use super::{DATAGRAM_BYTES_MAX, DATAGRAMS_QUEUED_MAX, HANDSHAKE_TIME_MAX, RETRANSMIT_FIRST};
use crate::wire::sdp::{Fingerprint, FingerprintHash};

/// What we send in one datagram at most: fits every path that carries WebRTC (RFC 8831 §5).
const SENT_BYTES_MAX: usize = 1_200;
/// More than fit into [`HANDSHAKE_TIME_MAX`] with their doubling intervals, because answers to
/// repeated flights count against the same number.
const RETRANSMISSIONS_MAX: usize = 20;

/// A self-signed certificate with its key, to be used for many handshakes; browsers know it by its
/// fingerprint alone.
#[derive(Clone)]
pub struct Certificate {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) pair: DtlsCertificate,
    pub(super) config: Arc<Config>,
    fingerprint: Fingerprint,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint())
    }
}

impl Certificate {
    /// A new one: ECDSA on P-256, valid for a year. Takes about 75 µs for the key and some more for
    /// the checks of the cryptography.
    pub fn generate() -> Result<Self, CertificateFault> {
        let config = Config::builder()
            .with_crypto_provider(provider())
            .mtu(SENT_BYTES_MAX)
            .max_queue_rx(DATAGRAMS_QUEUED_MAX)
            // ICE has proved the path, so a cookie would only cost a round trip.
            .use_server_cookie(false)
            .require_client_certificate(true)
            .flight_start_rto(RETRANSMIT_FIRST)
            .flight_retries(RETRANSMISSIONS_MAX)
            .handshake_timeout(HANDSHAKE_TIME_MAX)
            .build()
            .map_err(|error| CertificateFault(error.to_string()))?;
        Self::with_config(config)
    }

    pub(super) fn with_config(config: Config) -> Result<Self, CertificateFault> {
        let pair = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| CertificateFault(error.to_string()))?;
        let hash = FingerprintHash::Sha256;
        let fingerprint = Fingerprint::new(hash, digest_of(hash, &pair.certificate).as_ref())
            .ok_or_else(|| CertificateFault("SHA-256 of an impossible length".to_owned()))?;
        Ok(Self { inner: Arc::new(Inner { pair, config: Arc::new(config), fingerprint }) })
    }

    /// Its SHA-256 fingerprint, for SDP.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.inner.fingerprint
    }
}

/// The certificate could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFault(pub String);

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no DTLS certificate could be made: {}", self.0)
    }
}

impl std::error::Error for CertificateFault {}

/// Whether a certificate in DER is one of those expected. Where several hash functions are given,
/// the strongest one decides, and one match by it is enough (RFC 8122 §5).
pub(super) fn is_expected(der: &[u8], expected: &[Fingerprint]) -> bool {
    let Some(hash) = expected.iter().map(Fingerprint::hash).max() else { return false };
    let actual = digest_of(hash, der);
    expected
        .iter()
        .filter(|fingerprint| fingerprint.hash() == hash)
        .any(|fingerprint| fingerprint.digest().ct_eq(actual.as_ref()).into())
}

fn digest_of(hash: FingerprintHash, der: &[u8]) -> digest::Digest {
    let algorithm = match hash {
        FingerprintHash::Sha256 => &digest::SHA256,
        FingerprintHash::Sha384 => &digest::SHA384,
        FingerprintHash::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, der)
}

// A certificate is copied out of the engine into a buffer of this size, and everything that the
// engine can have queued fits.
pub(super) const CERTIFICATE_BYTES_MAX: usize = DATAGRAMS_QUEUED_MAX * DATAGRAM_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(hash: FingerprintHash, der: &[u8]) -> Fingerprint {
        Fingerprint::new(hash, digest_of(hash, der).as_ref()).unwrap()
    }

    #[test]
    fn the_strongest_hash_decides_and_one_match_by_it_is_enough() {
        use FingerprintHash::{Sha256, Sha384, Sha512};
        let right = |hash| fingerprint(hash, b"right");
        let wrong = |hash| fingerprint(hash, b"wrong");
        for hash in [Sha256, Sha384, Sha512] {
            assert!(is_expected(b"right", &[right(hash)]));
            assert!(is_expected(b"right", &[wrong(hash), right(hash)]));
            assert!(!is_expected(b"right", &[wrong(hash)]));
        }
        assert!(is_expected(b"right", &[wrong(Sha256), right(Sha512)]));
        assert!(!is_expected(b"right", &[right(Sha256), wrong(Sha384)]));
        assert!(!is_expected(b"right", &[]));
    }

    #[test]
    fn certificates_differ_and_hide_their_key() {
        let (one, other) = (Certificate::generate().unwrap(), Certificate::generate().unwrap());
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert!(is_expected(&one.inner.pair.certificate, std::slice::from_ref(one.fingerprint())));
        assert_eq!(format!("{one:?}"), format!("Certificate({})", one.fingerprint()));
    }
}
