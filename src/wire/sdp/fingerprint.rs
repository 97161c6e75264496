//! Certificate fingerprints (RFC 8122 §5).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::narrow::Narrow;

/// A certificate's fingerprint (RFC 8122 §5): `sha-256 AB:CD:…`, read in any letter case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint {
    hash: FingerprintHash,
    digest: Vec<u8>,
}

/// Hash functions for fingerprints, weakest first. SHA-1 and MD5 are not accepted (RFC 8122 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FingerprintHash {
    /// `sha-256`.
    Sha256,
    /// `sha-384`.
    Sha384,
    /// `sha-512`.
    Sha512,
}

impl FingerprintHash {
    const ALL: [FingerprintHash; 3] =
        [FingerprintHash::Sha256, FingerprintHash::Sha384, FingerprintHash::Sha512];

    /// The name in SDP.
    pub const fn name(self) -> &'static str {
        match self {
            FingerprintHash::Sha256 => "sha-256",
            FingerprintHash::Sha384 => "sha-384",
            FingerprintHash::Sha512 => "sha-512",
        }
    }

    /// Bytes of the digest.
    pub const fn digest_bytes(self) -> usize {
        match self {
            FingerprintHash::Sha256 => 32,
            FingerprintHash::Sha384 => 48,
            FingerprintHash::Sha512 => 64,
        }
    }
}

impl Fingerprint {
    /// `None` when the digest's length is not the hash function's.
    pub fn new(hash: FingerprintHash, digest: &[u8]) -> Option<Self> {
        (digest.len() == hash.digest_bytes()).then(|| Self { hash, digest: digest.to_vec() })
    }

    /// The hash function.
    pub fn hash(&self) -> FingerprintHash {
        self.hash
    }

    /// The digest of the certificate in DER.
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }
}

impl fmt::Display for BadFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a fingerprint by SHA-256, SHA-384 or SHA-512")
    }
}

impl std::error::Error for BadFingerprint {}

impl TryFrom<String> for Fingerprint {
    type Error = BadFingerprint;

    fn try_from(text: String) -> Result<Self, BadFingerprint> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

/// The value of `a=fingerprint`, in upper case as RFC 8122 §5 wants it written.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.hash.name())?;
        for (index, byte) in self.digest.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// What was read is no fingerprint by a hash function we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFingerprint;

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(value: &str) -> Result<Self, BadFingerprint> {
        let (hash, digits) = value.trim().split_once(' ').ok_or(BadFingerprint)?;
        let hash = FingerprintHash::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(hash))
            .ok_or(BadFingerprint)?;
        let mut digest = Vec::with_capacity(hash.digest_bytes());
        for pair in digits.trim().split(':') {
            let &[high, low] = pair.as_bytes() else { return Err(BadFingerprint) };
            let nibble = |digit: u8| char::from(digit).to_digit(16).ok_or(BadFingerprint);
            digest.push((nibble(high)? << 4 | nibble(low)?).narrow());
            if digest.len() > hash.digest_bytes() {
                return Err(BadFingerprint);
            }
        }
        Self::new(hash, &digest).ok_or(BadFingerprint)
    }
}
