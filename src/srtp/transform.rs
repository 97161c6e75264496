//! The cryptographic transforms: how one packet of known index is encrypted and authenticated.
//! AES-CM with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1) and AES-GCM (RFC 7714 §8, §9), each for RTP and
//! for RTCP.
//!
//! All work in place on a buffer that holds the packet and room for what is appended. Indexes,
//! replay and the choice of packet belong to [`super::protect`].

use aes::Aes128Enc;
use aes::cipher::KeyInit;
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::index::PacketIndex;
use super::keys::{Labels, MasterKey, Profile, SessionKeys, apply_key_stream};
use crate::base::discard::Discard;
use crate::wire::rtp::Ssrc;

/// Bytes of SRTCP in the clear at the front: header and SSRC (RFC 3711 §3.4).
pub(super) const RTCP_HEADER_BYTES: usize = 8;
/// Bytes of the E flag and SRTCP index.
pub(super) const RTCP_INDEX_BYTES: usize = 4;
/// The E flag: the packet is encrypted.
pub(super) const ENCRYPTED_FLAG: u32 = 1 << 31;

/// One direction of RTP or of RTCP, keyed.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one; no pointer to it")]
pub(super) enum Transform {
    CounterMode(CounterMode),
    Gcm(Gcm),
}

impl Transform {
    pub(super) fn new(master: &MasterKey, labels: Labels) -> Self {
        let keys = master.session_keys(labels);
        match master.profile() {
            Profile::AES_CM_128_HMAC_SHA1_80 => Self::CounterMode(CounterMode::new(&keys)),
            Profile::AEAD_AES_128_GCM => Self::Gcm(Gcm::new(&AES_128_GCM, &keys)),
            Profile::AEAD_AES_256_GCM => Self::Gcm(Gcm::new(&AES_256_GCM, &keys)),
        }
    }

    /// Encrypts `buffer` after its header and fills in the tag, its last bytes.
    #[inline]
    pub(super) fn seal_rtp(
        &self,
        buffer: &mut [u8],
        header_bytes: usize,
        ssrc: Ssrc,
        index: PacketIndex,
    ) -> Result<(), Discard> {
        match self {
            Self::CounterMode(transform) => transform.seal_rtp(buffer, header_bytes, ssrc, index),
            Self::Gcm(transform) => transform.seal_rtp(buffer, header_bytes, ssrc, index),
        }
    }

    /// Verifies the tag, the last bytes of `buffer`, and decrypts what is between it and the header.
    /// A packet whose tag is bad stays as it was: its index may have been guessed wrong.
    #[inline(always)]
    pub(super) fn open_rtp(
        &self,
        buffer: &mut [u8],
        header_bytes: usize,
        ssrc: Ssrc,
        index: PacketIndex,
    ) -> Result<(), Discard> {
        match self {
            Self::CounterMode(transform) => transform.open_rtp(buffer, header_bytes, ssrc, index),
            Self::Gcm(transform) => transform.open_rtp(buffer, header_bytes, ssrc, index),
        }
    }

    /// Encrypts `buffer` after the RTCP header and fills in tag and index, its last bytes.
    pub(super) fn seal_rtcp(
        &self,
        buffer: &mut [u8],
        ssrc: Ssrc,
        index: u32,
    ) -> Result<(), Discard> {
        match self {
            Self::CounterMode(transform) => transform.seal_rtcp(buffer, ssrc, index),
            Self::Gcm(transform) => transform.seal_rtcp(buffer, ssrc, index),
        }
    }

    /// Verifies and decrypts SRTCP whose last bytes are tag and index.
    pub(super) fn open_rtcp(
        &self,
        buffer: &mut [u8],
        ssrc: Ssrc,
        index: u32,
    ) -> Result<(), Discard> {
        match self {
            Self::CounterMode(transform) => transform.open_rtcp(buffer, ssrc, index),
            Self::Gcm(transform) => transform.open_rtcp(buffer, ssrc, index),
        }
    }
}

/// AES_CM_128_HMAC_SHA1_80. RTCP is `header | encrypted | E, index | tag`.
pub(super) struct CounterMode {
    cipher: Aes128Enc,
    /// Keyed once; a clone of it starts each packet, two SHA-1 blocks cheaper than keying.
    authentication: Hmac<Sha1>,
    salt: Zeroizing<[u8; 14]>,
}

const HMAC_TAG_BYTES: usize = Profile::AES_CM_128_HMAC_SHA1_80.tag_bytes();

impl CounterMode {
    fn new(keys: &SessionKeys) -> Self {
        let mut key = Zeroizing::new([0; 16]);
        key.copy_from_slice(&keys.cipher[..16]);
        // HMAC takes a key of its block length; a shorter one stands in front of zeros (RFC 2104).
        let mut block = Zeroizing::new([0; 64]);
        block[..20].copy_from_slice(&keys.authentication[..]);
        Self {
            cipher: Aes128Enc::new((&*key).into()),
            authentication: Hmac::new((&*block).into()),
            salt: keys.salt.clone(),
        }
    }

    /// `(salt * 2^16) XOR (SSRC * 2^64) XOR (index * 2^16)`, RFC 3711 §4.1.1.
    #[inline]
    fn counter(&self, ssrc: Ssrc, index: u64) -> [u8; 16] {
        let mut salt = [0; 16];
        salt[..14].copy_from_slice(&self.salt[..]);
        let varying = u128::from(ssrc.0) << 64 | u128::from(index) << 16;
        (u128::from_be_bytes(salt) ^ varying).to_be_bytes()
    }

    #[inline]
    fn tag(&self, authenticated: &[u8], after: &[u8]) -> [u8; 20] {
        let mut hmac = self.authentication.clone();
        hmac.update(authenticated);
        hmac.update(after);
        hmac.finalize().into_bytes().into()
    }

    #[inline]
    fn verify(&self, authenticated: &[u8], after: &[u8], tag: &[u8]) -> Result<(), Discard> {
        let expected = self.tag(authenticated, after);
        let good = expected[..HMAC_TAG_BYTES].ct_eq(tag);
        if bool::from(good) { Ok(()) } else { Err(Discard::BadTag) }
    }

    #[inline]
    fn seal_rtp(
        &self,
        buffer: &mut [u8],
        header_bytes: usize,
        ssrc: Ssrc,
        index: PacketIndex,
    ) -> Result<(), Discard> {
        let (packet, tag) = split_end(buffer, HMAC_TAG_BYTES)?;
        let payload = packet.get_mut(header_bytes..).ok_or(Discard::BadSrtp)?;
        apply_key_stream(&self.cipher, &self.counter(ssrc, index.value()), payload);
        // The roll-over counter is authenticated as if it followed the packet (§4.2).
        let roll_over_counter = index.roll_over_counter().to_be_bytes();
        tag.copy_from_slice(&self.tag(packet, &roll_over_counter)[..HMAC_TAG_BYTES]);
        Ok(())
    }

    #[inline]
    fn open_rtp(
        &self,
        buffer: &mut [u8],
        header_bytes: usize,
        ssrc: Ssrc,
        index: PacketIndex,
    ) -> Result<(), Discard> {
        let (packet, tag) = split_end(buffer, HMAC_TAG_BYTES)?;
        self.verify(packet, &index.roll_over_counter().to_be_bytes(), tag)?;
        let payload = packet.get_mut(header_bytes..).ok_or(Discard::BadSrtp)?;
        apply_key_stream(&self.cipher, &self.counter(ssrc, index.value()), payload);
        Ok(())
    }

    fn seal_rtcp(&self, buffer: &mut [u8], ssrc: Ssrc, index: u32) -> Result<(), Discard> {
        let (packet, tag) = split_end(buffer, HMAC_TAG_BYTES)?;
        let (compound, word) = split_end(packet, RTCP_INDEX_BYTES)?;
        let body = compound.get_mut(RTCP_HEADER_BYTES..).ok_or(Discard::BadSrtp)?;
        apply_key_stream(&self.cipher, &self.counter(ssrc, u64::from(index)), body);
        word.copy_from_slice(&(ENCRYPTED_FLAG | index).to_be_bytes());
        tag.copy_from_slice(&self.tag(packet, &[])[..HMAC_TAG_BYTES]);
        Ok(())
    }

    fn open_rtcp(&self, buffer: &mut [u8], ssrc: Ssrc, index: u32) -> Result<(), Discard> {
        let (packet, tag) = split_end(buffer, HMAC_TAG_BYTES)?;
        self.verify(packet, &[], tag)?;
        let (compound, _) = split_end(packet, RTCP_INDEX_BYTES)?;
        let body = compound.get_mut(RTCP_HEADER_BYTES..).ok_or(Discard::BadSrtp)?;
        apply_key_stream(&self.cipher, &self.counter(ssrc, u64::from(index)), body);
        Ok(())
    }
}

/// AEAD_AES_128_GCM and AEAD_AES_256_GCM. RTCP is `header | encrypted | tag | E, index`.
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: Zeroizing<[u8; 12]>,
}

/// Bytes of a speech packet's payload and tag, with which it need not clear much memory.
const USUAL_BYTES: usize = 256;
/// The longest payload with its tag; no buffer of received datagrams is larger.
const DATAGRAM_BYTES_MAX: usize = 2_048;
const GCM_TAG_BYTES: usize = Profile::AEAD_AES_128_GCM.tag_bytes();

impl Gcm {
    fn new(algorithm: &'static Algorithm, keys: &SessionKeys) -> Self {
        let key = &keys.cipher[..algorithm.key_len()];
        let mut salt = Zeroizing::new([0; 12]);
        salt.copy_from_slice(&keys.salt[..12]);
        let key = UnboundKey::new(algorithm, key).expect("the slice has the algorithm's length");
        Self { key: LessSafeKey::new(key), salt }
    }

    /// Two zero bytes, SSRC and the 48-bit index, XOR salt (RFC 7714 §8.1; for RTCP §9.1, whose
    /// 31-bit index stands where the roll-over counter's low half and the sequence number do).
    #[inline]
    fn nonce(&self, ssrc: Ssrc, index: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&ssrc.0.to_be_bytes());
        nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        for (byte, salt) in nonce.iter_mut().zip(self.salt.iter()) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    #[inline]
    fn seal(&self, nonce: Nonce, aad: &[u8], sealed: &mut [u8]) -> Result<(), Discard> {
        let (plain, tag) = split_end(sealed, GCM_TAG_BYTES)?;
        let made = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), plain)
            .map_err(|_| Discard::BadSrtp)?;
        tag.copy_from_slice(made.as_ref());
        Ok(())
    }

    fn open(&self, nonce: Nonce, aad: &[u8], sealed: &mut [u8]) -> Result<(), Discard> {
        let opened = self.key.open_in_place(nonce, Aad::from(aad), sealed);
        opened.map(|_| ()).map_err(|_| Discard::BadTag)
    }

    /// Decrypts elsewhere and brings back what is authentic, because the library wipes what it finds
    /// not to be.
    #[inline]
    fn open_elsewhere<const BYTES: usize>(
        &self,
        nonce: Nonce,
        aad: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), Discard> {
        let (payload, tag) = split_end(sealed, GCM_TAG_BYTES)?;
        let mut plain = [0; BYTES];
        let plain = plain.get_mut(..payload.len()).ok_or(Discard::TooLarge)?;
        self.key
            .open_separate_gather(nonce, Aad::from(aad), payload, tag, plain)
            .map_err(|_| Discard::BadTag)?;
        payload.copy_from_slice(plain);
        Ok(())
    }

    #[inline]
    fn seal_rtp(
        &self,
        buffer: &mut [u8],
        header_bytes: usize,
        ssrc: Ssrc,
        index: PacketIndex,
    ) -> Result<(), Discard> {
        let (header, sealed) = buffer.split_at_mut_checked(header_bytes).ok_or(Discard::BadSrtp)?;
        self.seal(self.nonce(ssrc, index.value()), header, sealed)
    }

    #[inline]
    fn open_rtp(
        &self,
        buffer: &mut [u8],
        header_bytes: usize,
        ssrc: Ssrc,
        index: PacketIndex,
    ) -> Result<(), Discard> {
        let (header, sealed) = buffer.split_at_mut_checked(header_bytes).ok_or(Discard::BadSrtp)?;
        let nonce = self.nonce(ssrc, index.value());
        match sealed.len() {
            ..=USUAL_BYTES => self.open_elsewhere::<USUAL_BYTES>(nonce, header, sealed),
            _ => self.open_elsewhere::<DATAGRAM_BYTES_MAX>(nonce, header, sealed),
        }
    }

    fn seal_rtcp(&self, buffer: &mut [u8], ssrc: Ssrc, index: u32) -> Result<(), Discard> {
        let (packet, word) = split_end(buffer, RTCP_INDEX_BYTES)?;
        word.copy_from_slice(&(ENCRYPTED_FLAG | index).to_be_bytes());
        let (header, sealed) =
            packet.split_at_mut_checked(RTCP_HEADER_BYTES).ok_or(Discard::BadSrtp)?;
        self.seal(self.nonce(ssrc, u64::from(index)), &rtcp_aad(header, word), sealed)
    }

    fn open_rtcp(&self, buffer: &mut [u8], ssrc: Ssrc, index: u32) -> Result<(), Discard> {
        let (packet, word) = split_end(buffer, RTCP_INDEX_BYTES)?;
        let (header, sealed) =
            packet.split_at_mut_checked(RTCP_HEADER_BYTES).ok_or(Discard::BadSrtp)?;
        self.open(self.nonce(ssrc, u64::from(index)), &rtcp_aad(header, word), sealed)
    }
}

/// Associated data of encrypted SRTCP: header, SSRC, E flag and index (RFC 7714 §9.2).
fn rtcp_aad(header: &[u8], word: &[u8]) -> [u8; RTCP_HEADER_BYTES + RTCP_INDEX_BYTES] {
    let mut aad = [0; RTCP_HEADER_BYTES + RTCP_INDEX_BYTES];
    aad[..RTCP_HEADER_BYTES].copy_from_slice(header);
    aad[RTCP_HEADER_BYTES..].copy_from_slice(word);
    aad
}

#[inline]
fn split_end(buffer: &mut [u8], bytes: usize) -> Result<(&mut [u8], &mut [u8]), Discard> {
    let at = buffer.len().checked_sub(bytes).ok_or(Discard::BadSrtp)?;
    Ok(buffer.split_at_mut(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hex::bytes;
    use crate::wire::rtp::SequenceNumber;

    /// The session keys of RFC 7714 §16 and §17: 00, 01, … and "Quid pro quo".
    fn rfc_7714(algorithm: &'static Algorithm) -> Gcm {
        let mut keys = SessionKeys {
            cipher: Zeroizing::new([0; 32]),
            authentication: Zeroizing::new([0; 20]),
            salt: Zeroizing::new([0; 14]),
        };
        keys.cipher.iter_mut().zip(0..).for_each(|(byte, value)| *byte = value);
        keys.salt[..12].copy_from_slice(b"Quid pro quo");
        Gcm::new(algorithm, &keys)
    }

    #[test]
    fn gcm_rtp_is_that_of_rfc_7714_section_16() {
        let header = "8040f17b 8041f8d3 5501a0b2";
        let plain = [&bytes(header)[..], b"Gallia est omnis divisa in partes tres"].concat();
        for (algorithm, sealed) in [
            (
                &AES_128_GCM,
                "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf
                 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
            ),
            (
                &AES_256_GCM,
                "32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799
                 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
            ),
        ] {
            let gcm = rfc_7714(algorithm);
            let (ssrc, index) = (Ssrc(0x5501_a0b2), PacketIndex::new(0, SequenceNumber(0xf17b)));
            let mut packet = [&plain[..], &[0; GCM_TAG_BYTES]].concat();
            gcm.seal_rtp(&mut packet, 12, ssrc, index).unwrap();
            assert_eq!(packet, [bytes(header), bytes(sealed)].concat());
            gcm.open_rtp(&mut packet, 12, ssrc, index).unwrap();
            assert_eq!(packet[..plain.len()], plain);
        }
    }

    #[test]
    fn gcm_rtcp_is_that_of_rfc_7714_section_17() {
        let header = "81c8000d 4d617273";
        let body = "4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                    deadbeef deadbeef deadbeef deadbeef deadbeef";
        let plain = [bytes(header), bytes(body)].concat();
        for (algorithm, sealed) in [
            (
                &AES_128_GCM,
                "63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46
                 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
            ),
            (
                &AES_256_GCM,
                "d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658
                 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
            ),
        ] {
            let gcm = rfc_7714(algorithm);
            let (ssrc, index) = (Ssrc(0x4d61_7273), 0x05d4);
            let mut packet = [&plain[..], &[0; GCM_TAG_BYTES + RTCP_INDEX_BYTES]].concat();
            gcm.seal_rtcp(&mut packet, ssrc, index).unwrap();
            assert_eq!(packet, [bytes(header), bytes(sealed)].concat());
            gcm.open_rtcp(&mut packet, ssrc, index).unwrap();
            assert_eq!(packet[..plain.len()], plain);
        }
    }
}
