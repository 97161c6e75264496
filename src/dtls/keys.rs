//! SRTP keys out of the DTLS exporter (RFC 5764 §4.2).

use std::fmt;

use zeroize::Zeroizing;

use crate::srtp::keys::Profile;
use crate::wire::sdp::DtlsRole;

/// SRTP master keys that a handshake agreed on, each key followed by its salt.
pub struct Keys {
    /// Protection profile.
    pub profile: Profile,
    /// Protects what we send.
    pub send: Zeroizing<Vec<u8>>,
    /// Protects what the browser sends.
    pub receive: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({:?}, …)", self.profile)
    }
}

impl Keys {
    /// Takes the exported material apart: client key, server key, client salt, server salt. `None`
    /// when its length is not the profile's.
    pub(super) fn from_exported(profile: Profile, role: DtlsRole, material: &[u8]) -> Option<Self> {
        let (key, salt) = (profile.key_bytes(), profile.salt_bytes());
        if material.len() != 2 * (key + salt) {
            return None;
        }
        let (keys, salts) = material.split_at(2 * key);
        let join = |key: &[u8], salt: &[u8]| Zeroizing::new([key, salt].concat());
        let client = join(&keys[..key], &salts[..salt]);
        let server = join(&keys[key..], &salts[salt..]);
        let (send, receive) = match role {
            DtlsRole::Active => (client, server),
            DtlsRole::Passive => (server, client),
        };
        Some(Self { profile, send, receive })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exported_material_is_taken_apart_in_the_order_of_the_rfc() {
        for profile in
            [Profile::AES_CM_128_HMAC_SHA1_80, Profile::AEAD_AES_128_GCM, Profile::AEAD_AES_256_GCM]
        {
            let (key, salt) = (profile.key_bytes(), profile.salt_bytes());
            let material = [vec![1; key], vec![2; key], vec![3; salt], vec![4; salt]].concat();
            let client = [vec![1; key], vec![3; salt]].concat();
            let server = [vec![2; key], vec![4; salt]].concat();
            let keys = Keys::from_exported(profile, DtlsRole::Active, &material).unwrap();
            assert_eq!((&*keys.send, &*keys.receive), (&client, &server));
            let keys = Keys::from_exported(profile, DtlsRole::Passive, &material).unwrap();
            assert_eq!((&*keys.send, &*keys.receive), (&server, &client));
            assert!(Keys::from_exported(profile, DtlsRole::Active, &material[1..]).is_none());
        }
    }
}
