//! Checking that the other side holds the key of its certificate: what the DTLS engine verifies by
//! itself, ECDSA on P-256 and P-384, and beside it ECDSA on P-521.
//!
//! What is *asked for* is the engine's: ECDSA with SHA-256 or SHA-384. A peer that has an RSA or an
//! EdDSA key only shows none, and its handshake ends at once.

use aws_lc_rs::signature::{self, UnparsedPublicKey};
use dimpl::crypto::aws_lc_rs::default_provider;
use dimpl::crypto::{CryptoProvider, HashAlgorithm, SignatureAlgorithm, SignatureVerifier};
use dimpl::{CryptoError, CryptoOperation};

/// The engine's cryptography with this verifier in it.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider { signature_verification: &Verifier, ..default_provider() }
}

#[derive(Debug)]
struct Verifier;

impl SignatureVerifier for Verifier {
    fn verify_signature(
        &self,
        certificate: &[u8],
        signed: &[u8],
        signature: &[u8],
        hash: HashAlgorithm,
        algorithm: SignatureAlgorithm,
    ) -> Result<(), CryptoError> {
        let usual = || {
            let usual = default_provider().signature_verification;
            usual.verify_signature(certificate, signed, signature, hash, algorithm)
        };
        let Some(point) = p521_key_of(certificate) else { return usual() };
        let verification = match (algorithm, hash) {
            (SignatureAlgorithm::ECDSA, HashAlgorithm::SHA256) => {
                &signature::ECDSA_P521_SHA256_ASN1
            }
            (SignatureAlgorithm::ECDSA, HashAlgorithm::SHA384) => {
                &signature::ECDSA_P521_SHA384_ASN1
            }
            _ => return usual(),
        };
        let failed = CryptoError::OperationFailed(CryptoOperation::VerifySignature);
        UnparsedPublicKey::new(verification, point).verify(signed, signature).map_err(|_| failed)
    }
}

/// The public key of a certificate in DER (RFC 5280 §4.1), when it is a point on P-521.
fn p521_key_of(certificate: &[u8]) -> Option<&[u8]> {
    const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    const SECP521R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];

    let (certificate, _) = take(certificate, SEQUENCE)?;
    let (mut fields, _) = take(certificate, SEQUENCE)?;
    if let Some((_version, rest)) = take(fields, VERSION) {
        fields = rest;
    }
    (_, fields) = take(fields, INTEGER)?; // serialNumber
    for _ in ["signature", "issuer", "validity", "subject"] {
        (_, fields) = take(fields, SEQUENCE)?;
    }
    let (key_info, _) = take(fields, SEQUENCE)?;
    let (algorithm, rest) = take(key_info, SEQUENCE)?;
    let (unused_bits_and_point, _) = take(rest, BIT_STRING)?;
    let (&0, point) = unused_bits_and_point.split_first()? else { return None };
    let (algorithm, parameters) = take(algorithm, OBJECT_IDENTIFIER)?;
    let (curve, _) = take(parameters, OBJECT_IDENTIFIER)?;
    (algorithm == EC_PUBLIC_KEY && curve == SECP521R1).then_some(point)
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT`, the version.
const VERSION: u8 = 0xa0;

/// Takes one DER value of this tag off the front: its content, and what follows it. Lengths are
/// definite, of at most two octets: a certificate is shorter than a datagram's worth of fragments.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (length, rest) = match *rest {
        [0x82, high, low, ref rest @ ..] => (usize::from(u16::from_be_bytes([high, low])), rest),
        [0x81, length, ref rest @ ..] => (usize::from(length), rest),
        [length @ 0..=0x7f, ref rest @ ..] => (usize::from(length), rest),
        _ => return None,
    };
    (found == tag && length <= rest.len()).then(|| rest.split_at(length))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::EcdsaKeyPair;

    use super::*;

    fn certificate(key: &rcgen::KeyPair) -> Vec<u8> {
        let parameters = rcgen::CertificateParams::new(vec!["peer".to_owned()]).unwrap();
        parameters.self_signed(key).unwrap().der().to_vec()
    }

    fn key(algorithm: &'static rcgen::SignatureAlgorithm) -> rcgen::KeyPair {
        rcgen::KeyPair::generate_for(algorithm).unwrap()
    }

    #[test]
    fn a_key_on_p521_is_found_and_no_other() {
        let p521 = certificate(&key(&rcgen::PKCS_ECDSA_P521_SHA512));
        assert_eq!(p521_key_of(&p521).map(<[u8]>::len), Some(1 + 2 * 66));
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_RSA_SHA256,
        ] {
            assert_eq!(p521_key_of(&certificate(&key(algorithm))), None);
        }
    }

    #[test]
    fn a_signature_is_the_certificates_or_it_is_refused() {
        let key = key(&rcgen::PKCS_ECDSA_P521_SHA512);
        let (certificate, other) =
            (certificate(&key), certificate(&self::key(&rcgen::PKCS_ECDSA_P521_SHA512)));
        let algorithm = &signature::ECDSA_P521_SHA256_ASN1_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &key.serialize_der()).unwrap();
        let signed = pair.sign(&SystemRandom::new(), b"transcript").unwrap();
        let verify = |certificate: &[u8], text: &[u8], hash| {
            let algorithm = SignatureAlgorithm::ECDSA;
            Verifier.verify_signature(certificate, text, signed.as_ref(), hash, algorithm)
        };
        assert_eq!(verify(&certificate, b"transcript", HashAlgorithm::SHA256), Ok(()));
        assert!(verify(&certificate, b"transcripT", HashAlgorithm::SHA256).is_err());
        assert!(verify(&certificate, b"transcript", HashAlgorithm::SHA384).is_err());
        assert!(verify(&certificate, b"transcript", HashAlgorithm::SHA512).is_err());
        assert!(verify(&other, b"transcript", HashAlgorithm::SHA256).is_err());
    }

    #[test]
    fn a_cut_or_damaged_certificate_is_no_panic() {
        let certificate = certificate(&key(&rcgen::PKCS_ECDSA_P521_SHA512));
        for length in 0..certificate.len() {
            assert_eq!(p521_key_of(&certificate[..length]), None, "{length}");
        }
        for at in 0..certificate.len() {
            for value in [0, 0x7f, 0x80, 0x82, 0xff] {
                let mut damaged = certificate.clone();
                damaged[at] = value;
                let _ = p521_key_of(&damaged);
            }
        }
    }
}
