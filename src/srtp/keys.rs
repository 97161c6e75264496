//! Protection profiles and master keys.

use serde::{Deserialize, Serialize};

/// SRTP protection profile, by its RFC name (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(non_camel_case_types)]
pub enum Profile {
    /// AES-128 counter mode, 80-bit HMAC-SHA1 tag (RFC 3711).
    AES_CM_128_HMAC_SHA1_80,
    /// AES-128-GCM, 128-bit tag (RFC 7714).
    AEAD_AES_128_GCM,
    /// AES-256-GCM, 128-bit tag (RFC 7714).
    AEAD_AES_256_GCM,
}

impl Profile {
    /// Bytes of the master key.
    pub const fn key_bytes(self) -> usize {
        match self {
            Profile::AES_CM_128_HMAC_SHA1_80 | Profile::AEAD_AES_128_GCM => 16,
            Profile::AEAD_AES_256_GCM => 32,
        }
    }

    /// Bytes of the master salt.
    pub const fn salt_bytes(self) -> usize {
        match self {
            Profile::AES_CM_128_HMAC_SHA1_80 => 14,
            Profile::AEAD_AES_128_GCM | Profile::AEAD_AES_256_GCM => 12,
        }
    }
}
