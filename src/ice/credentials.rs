//! ICE credentials (RFC 8445 §5.3, RFC 8839 §5.4) and the USERNAME made of them.

use crate::base::random::{self, Random};
use crate::base::secret::Secret;
use crate::wire::stun::{Class, Message};

/// 71 bits; RFC 8445 §5.3 asks for 24. So many that two calls never share one, because a check is
/// given to its call by it.
const UFRAG_CHARACTERS: usize = 12;
/// 142 bits; RFC 8445 §5.3 asks for 128.
const PASSWORD_CHARACTERS: usize = 24;

/// A user fragment and its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Public: names the agent in each check.
    pub ufrag: String,
    /// Keys the integrity of checks that are sent to the agent, and of its answers.
    pub password: Secret,
}

impl Credentials {
    /// New ones, of letters and digits.
    pub fn generate(random: &mut Random) -> Self {
        Self {
            ufrag: random::token(random, UFRAG_CHARACTERS),
            password: Secret::new(random::token(random, PASSWORD_CHARACTERS)),
        }
    }
}

/// The user fragment of ours that a datagram is addressed to, when it is a Binding request. Nothing
/// is authenticated yet.
pub fn local_ufrag_of(datagram: &[u8]) -> Option<&str> {
    let message = Message::parse(datagram).ok()?;
    if message.class != Class::Request {
        return None;
    }
    let (local, _) = split_username(message.username?)?;
    std::str::from_utf8(local).ok()
}

/// `receiver's ufrag:sender's ufrag` (RFC 8445 §7.2.2). A fragment has no colon.
pub(super) fn split_username(username: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = username.iter().position(|byte| *byte == b':')?;
    Some((&username[..colon], &username[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_long_legal_and_never_the_same() {
        let mut random = random::from_seed(1);
        let (one, other) = (Credentials::generate(&mut random), Credentials::generate(&mut random));
        for text in [&one.ufrag, one.password.expose()] {
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
        let bits_a_character = 62f64.log2();
        assert!(one.password.expose().len() as f64 * bits_a_character >= 128.0);
        assert!(one.ufrag.len() >= 4);
        assert_ne!(one.ufrag, other.ufrag);
        assert_ne!(one.password, other.password);
        assert!(!format!("{one:?}").contains(one.password.expose()));
    }

    #[test]
    fn a_username_is_split_at_its_colon() {
        assert_eq!(split_username(b"ours:th+/"), Some((&b"ours"[..], &b"th+/"[..])));
        assert_eq!(split_username(b"ours:"), Some((&b"ours"[..], &b""[..])));
        assert_eq!(split_username(b"ours"), None);
    }
}
