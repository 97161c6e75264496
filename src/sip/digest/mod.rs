//! Digest authentication (RFC 7616, RFC 3261 §22), both sides, MD5 with `qop=auth`.
//!
//! Browsers' libraries know MD5 only and give up on anything else, so [`Challenger`] makes exactly
//! one challenge. [`Answerer`] answers trunks and is bound to the realm its credentials were given
//! for.

mod answerer;
mod challenger;
#[cfg(test)]
mod tests;

pub use answerer::{Answerer, Unanswerable};
pub use challenger::{Challenger, NONCE_LIFETIME, USED_NONCES_MAX, Verdict};

use crate::base::narrow::Narrow;
use crate::wire::sip::{HeaderName, Status};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// H(username:realm:password): what a user is known by instead of a password, 32 hex digits in
/// configuration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(try_from = "String", into = "String")]
pub struct Ha1([u8; 16]);

impl Ha1 {
    /// From the password.
    pub fn new(username: &str, realm: &str, password: &str) -> Self {
        Self(hash(&[username, realm, password]))
    }
}

impl TryFrom<String> for Ha1 {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_hex(&text).map(Self).ok_or_else(|| "ha1 is 32 hexadecimal digits".to_owned())
    }
}

impl From<Ha1> for String {
    fn from(ha1: Ha1) -> String {
        hex(&ha1.0)
    }
}

/// Never shown.
impl fmt::Debug for Ha1 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ha1(…)")
    }
}

/// Which pair of header fields and which status: an end server's or a proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// 401, WWW-Authenticate, Authorization: for REGISTER.
    Server,
    /// 407, Proxy-Authenticate, Proxy-Authorization: for INVITE and other requests through us.
    Proxy,
}

impl Role {
    const ALL: [Role; 2] = [Role::Server, Role::Proxy];

    fn status(self) -> Status {
        match self {
            Role::Server => Status::UNAUTHORIZED,
            Role::Proxy => Status::PROXY_AUTHENTICATION_REQUIRED,
        }
    }

    fn challenge(self) -> HeaderName {
        match self {
            Role::Server => HeaderName::WwwAuthenticate,
            Role::Proxy => HeaderName::ProxyAuthenticate,
        }
    }

    fn credentials(self) -> HeaderName {
        match self {
            Role::Server => HeaderName::Authorization,
            Role::Proxy => HeaderName::ProxyAuthorization,
        }
    }
}

/// RFC 7616 §3.4.1; without a count and cnonce as RFC 2069 had it.
fn request_digest(
    ha1: &Ha1,
    method: &str,
    uri: &str,
    nonce: &str,
    counted: Option<(&str, &str)>,
) -> [u8; 16] {
    let mut secret = hex(&ha1.0);
    let ha2 = hex(&hash(&[method, uri]));
    let digest = match counted {
        Some((count, cnonce)) => hash(&[&secret, nonce, count, cnonce, "auth", &ha2]),
        None => hash(&[&secret, nonce, &ha2]),
    };
    secret.zeroize();
    digest
}

/// MD5 of the parts with colons between.
fn hash(parts: &[&str]) -> [u8; 16] {
    let mut hasher = Md5::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update(b":");
        }
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly `N` bytes of hex.
fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?).narrow();
    }
    Some(bytes)
}
