//! Protection profiles, master keys and the keys derived from them (RFC 3711 §4.3, RFC 7714 §11).

use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes128Enc, Aes256Enc};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ctr::CtrCore;
use ctr::flavors::Ctr32BE;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The longest master key with its salt.
pub const MASTER_BYTES_MAX: usize = 32 + 12;
const MASTER_BASE64_BYTES_MAX: usize = MASTER_BYTES_MAX.div_ceil(3) * 4;

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
    /// Every profile.
    pub const ALL: [Profile; 3] =
        [Profile::AES_CM_128_HMAC_SHA1_80, Profile::AEAD_AES_128_GCM, Profile::AEAD_AES_256_GCM];

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

    /// Bytes of the authentication tag.
    pub const fn tag_bytes(self) -> usize {
        match self {
            Profile::AES_CM_128_HMAC_SHA1_80 => 10,
            Profile::AEAD_AES_128_GCM | Profile::AEAD_AES_256_GCM => 16,
        }
    }
}

/// Why bytes are not a master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadMasterKey {
    /// The text is not base64.
    NotBase64,
    /// Key and salt together have another length than the profile's.
    WrongLength {
        /// The profile's.
        expected: usize,
    },
}

impl std::fmt::Display for BadMasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadMasterKey::NotBase64 => f.write_str("the master key is not base64"),
            BadMasterKey::WrongLength { expected } => {
                write!(f, "the master key and its salt must be {expected} bytes together")
            }
        }
    }
}

impl std::error::Error for BadMasterKey {}

/// A master key followed by its salt, for one direction. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct MasterKey {
    profile: Profile,
    bytes: Zeroizing<[u8; MASTER_BYTES_MAX]>,
}

impl MasterKey {
    /// From [`Profile::key_bytes`] of key and [`Profile::salt_bytes`] of salt.
    pub fn from_bytes(profile: Profile, key_and_salt: &[u8]) -> Result<Self, BadMasterKey> {
        let expected = profile.key_bytes() + profile.salt_bytes();
        if key_and_salt.len() != expected {
            return Err(BadMasterKey::WrongLength { expected });
        }
        let mut bytes = Zeroizing::new([0; MASTER_BYTES_MAX]);
        bytes[..expected].copy_from_slice(key_and_salt);
        Ok(Self { profile, bytes })
    }

    /// From the same in base64, padded or not (RFC 4568 §6.1 pads, not every trunk does).
    pub fn from_base64(profile: Profile, text: &str) -> Result<Self, BadMasterKey> {
        const ENGINE: GeneralPurpose = GeneralPurpose::new(
            &STANDARD,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        let expected = profile.key_bytes() + profile.salt_bytes();
        if text.len() > MASTER_BASE64_BYTES_MAX {
            return Err(BadMasterKey::WrongLength { expected });
        }
        let mut bytes = Zeroizing::new([0; MASTER_BASE64_BYTES_MAX]);
        let length =
            ENGINE.decode_slice(text, &mut bytes[..]).map_err(|_| BadMasterKey::NotBase64)?;
        Self::from_bytes(profile, &bytes[..length])
    }

    /// As [`Self::from_base64`] reads it, padded.
    pub fn to_base64(&self) -> String {
        let length = self.profile.key_bytes() + self.profile.salt_bytes();
        base64::engine::general_purpose::STANDARD.encode(&self.bytes[..length])
    }

    /// What it keys.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    pub(super) fn session_keys(&self, labels: Labels) -> SessionKeys {
        let (key, rest) = self.bytes.split_at(self.profile.key_bytes());
        // A 96-bit salt is used as if 16 zero bits followed (RFC 7714 §11).
        let mut salt = Zeroizing::new([0; 14]);
        salt[..self.profile.salt_bytes()].copy_from_slice(&rest[..self.profile.salt_bytes()]);
        let mut keys = SessionKeys {
            cipher: Zeroizing::new([0; 32]),
            authentication: Zeroizing::new([0; 20]),
            salt: Zeroizing::new([0; 14]),
        };
        for (label, out) in [
            (labels.cipher, &mut keys.cipher[..self.profile.key_bytes()]),
            (labels.authentication, &mut keys.authentication[..]),
            (labels.salt, &mut keys.salt[..self.profile.salt_bytes()]),
        ] {
            derive(key, &salt, label, out);
        }
        keys
    }
}

/// Compared in constant time.
impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.profile == other.profile && bool::from(self.bytes.ct_eq(&*other.bytes))
    }
}

impl Eq for MasterKey {}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({:?}, …)", self.profile)
    }
}

/// Key derivation labels (RFC 3711 §4.3.1 and §4.3.2).
#[derive(Clone, Copy)]
pub(super) struct Labels {
    cipher: u8,
    authentication: u8,
    salt: u8,
}

impl Labels {
    pub(super) const SRTP: Labels = Labels { cipher: 0, authentication: 1, salt: 2 };
    pub(super) const SRTCP: Labels = Labels { cipher: 3, authentication: 4, salt: 5 };
}

/// What a transform is keyed with. Shorter ones fill the front; GCM uses no authentication key.
pub(super) struct SessionKeys {
    pub(super) cipher: Zeroizing<[u8; 32]>,
    pub(super) authentication: Zeroizing<[u8; 20]>,
    pub(super) salt: Zeroizing<[u8; 14]>,
}

/// The AES-CM pseudo-random function (RFC 3711 §4.3.3) with key derivation rate 0: the key stream
/// whose counter starts at `(label * 2^48 XOR salt) * 2^16`.
fn derive(key: &[u8], salt: &[u8; 14], label: u8, out: &mut [u8]) {
    let mut counter = Zeroizing::new([0; 16]);
    counter[..14].copy_from_slice(salt);
    counter[7] ^= label;
    out.fill(0);
    match key.first_chunk::<32>() {
        Some(key) => apply_key_stream(&Aes256Enc::new(key.into()), &counter, out),
        None => {
            let mut short = Zeroizing::new([0; 16]);
            short.copy_from_slice(key);
            apply_key_stream(&Aes128Enc::new((&*short).into()), &counter, out);
        }
    }
}

/// AES counter mode from a borrowed key schedule. The counter's low 16 bits start at zero and a
/// datagram has fewer than 2^12 blocks, so they never carry.
#[inline]
pub(super) fn apply_key_stream<C>(cipher: &C, counter: &[u8; 16], bytes: &mut [u8])
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    CtrCore::<&C, Ctr32BE>::inner_iv_init(cipher, counter.into())
        .apply_keystream_partial(bytes.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hex::bytes;

    const PROFILE: Profile = Profile::AES_CM_128_HMAC_SHA1_80;

    #[test]
    fn session_keys_are_those_of_rfc_3711_appendix_b_3() {
        let master = "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6";
        let keys = MasterKey::from_bytes(PROFILE, &bytes(master)).unwrap();
        let keys = keys.session_keys(Labels::SRTP);
        assert_eq!(keys.cipher[..16], bytes("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(keys.salt[..], bytes("30cbbc08863d8c85d49db34a9ae1"));
        assert_eq!(keys.authentication[..], bytes("cebe321f6ff7716b6fd4ab49af256a156d38baa4"));
    }

    #[test]
    fn the_key_stream_is_that_of_rfc_3711_appendix_b_2() {
        let key: [u8; 16] = bytes("2b7e151628aed2a6abf7158809cf4f3c").try_into().unwrap();
        let counter = bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000").try_into().unwrap();
        let mut stream = vec![0; 0xff02 * 16];
        apply_key_stream(&Aes128Enc::new(&key.into()), &counter, &mut stream);
        let block = |number: usize| stream[number * 16..][..16].to_vec();
        assert_eq!(block(0x0000), bytes("e03ead0935c95e80e166b16dd92b4eb4"));
        assert_eq!(block(0x0001), bytes("d23513162b02d0f72a43a2fe4a5f97ab"));
        assert_eq!(block(0x0002), bytes("41e95b3bb0a2e8dd477901e4fca894c0"));
        assert_eq!(block(0xfeff), bytes("ec8cdf7398607cb0f2d21675ea9ea1e4"));
        assert_eq!(block(0xff00), bytes("362b7c3c6773516318a077d7fc5073ae"));
        assert_eq!(block(0xff01), bytes("6a2cc3787889374fbeb4c81b17ba6c44"));
    }

    #[test]
    fn base64_may_be_padded_or_not() {
        let profile = Profile::AEAD_AES_128_GCM;
        let key: Vec<u8> = (0..28).collect();
        let text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==";
        for text in [text, text.trim_end_matches('=')] {
            let master = MasterKey::from_base64(profile, text).unwrap();
            assert_eq!(master.bytes[..28], key);
        }
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        for profile in Profile::ALL {
            let expected = profile.key_bytes() + profile.salt_bytes();
            for length in (0..64).filter(|length| *length != expected) {
                let refused = MasterKey::from_bytes(profile, &vec![1; length]).err();
                assert_eq!(refused, Some(BadMasterKey::WrongLength { expected }));
            }
            let long = "A".repeat(10_000);
            let refused = MasterKey::from_base64(profile, &long).err();
            assert_eq!(refused, Some(BadMasterKey::WrongLength { expected }));
        }
        let refused = MasterKey::from_base64(PROFILE, "not base64!").err();
        assert_eq!(refused, Some(BadMasterKey::NotBase64));
    }

    #[test]
    fn a_key_is_not_in_debug_output() {
        let master = MasterKey::from_bytes(PROFILE, &[0xa7; 30]).unwrap();
        assert_eq!(format!("{master:?}"), "MasterKey(AES_CM_128_HMAC_SHA1_80, …)");
    }
}
