//! Answering one connectivity check: the STUN server of RFC 8445 §7.3, for a lite agent. No state:
//! both the signaling process (before nomination) and the media process (consent, RFC 7675) use it.

use std::fmt;
use std::net::SocketAddr;

use super::credentials::split_username;
use crate::base::discard::Discard;
use crate::wire::stun::{Class, ErrorCode, Message, Role, write_binding_success, write_error};

/// Who a check must be addressed to and come from.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// Our user fragment.
    pub local_ufrag: &'a str,
    /// Our password.
    pub local_password: &'a str,
    /// The other side's user fragment, once it is known.
    pub remote_ufrag: Option<&'a str>,
}

/// Without the password.
impl fmt::Debug for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected")
            .field("local_ufrag", &self.local_ufrag)
            .field("remote_ufrag", &self.remote_ufrag)
            .finish_non_exhaustive()
    }
}

/// A response to send back to where the check came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Bytes of the response, at the front of the buffer.
    pub length: usize,
    /// What the response says.
    pub verdict: Verdict,
}

/// What a response says. Either way the check was authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Success: the path is good, and the other side is alive.
    Success,
    /// An error: the check counts for nothing.
    Refused(ErrorCode),
}

/// Answers an authentic check and discards anything else: without a valid MESSAGE-INTEGRITY nothing
/// is sent, not even an error, so nobody can make us send to a third party.
///
/// `out` needs [`crate::wire::stun::RESPONSE_BYTES_MAX`] bytes; [`Discard::TooLarge`] if it is
/// too short.
pub fn answer(
    message: &Message<'_>,
    expected: &Expected<'_>,
    from: SocketAddr,
    out: &mut [u8],
) -> Result<Answer, Discard> {
    // Every ICE check carries a fingerprint; without one a flipped bit could hide an attribute.
    if message.class != Class::Request || !message.has_fingerprint {
        return Err(Discard::BadStun);
    }
    let username = message.username.and_then(split_username).ok_or(Discard::BadIntegrity)?;
    let addressed = username.0 == expected.local_ufrag.as_bytes()
        && expected.remote_ufrag.is_none_or(|remote| username.1 == remote.as_bytes());
    if !addressed {
        return Err(Discard::BadIntegrity);
    }
    let key = expected.local_password.as_bytes();
    message.verify_integrity(key)?;

    let refusal = if !message.unknown_attributes.types().is_empty() {
        Some(ErrorCode::UnknownAttribute)
    } else if matches!(message.role, Some(Role::Controlled(_))) {
        // A lite agent never controls, so a peer that does not either has to switch (§7.3.1.1).
        Some(ErrorCode::RoleConflict)
    } else {
        None
    };
    let (length, verdict) = match refusal {
        None => (write_binding_success(out, message, from, key), Verdict::Success),
        Some(code) => (write_error(out, message, code, key), Verdict::Refused(code)),
    };
    Ok(Answer { length: length.ok_or(Discard::TooLarge)?, verdict })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::stun::{
        BindingRequest, RESPONSE_BYTES_MAX, TransactionId, write_binding_request,
    };

    const EXPECTED: Expected<'static> =
        Expected { local_ufrag: "ours", local_password: "secret", remote_ufrag: Some("th+/") };
    const FROM: &str = "192.0.2.7:1234";

    fn request(username: &str, role: Role, key: &str) -> Vec<u8> {
        let request = BindingRequest {
            transaction_id: TransactionId([3; 12]),
            username,
            priority: 1,
            role,
            use_candidate: true,
        };
        let mut out = [0; 256];
        let length = write_binding_request(&mut out, &request, key.as_bytes()).unwrap();
        out[..length].to_vec()
    }

    fn answered(datagram: &[u8], expected: &Expected<'_>) -> Result<(Vec<u8>, Verdict), Discard> {
        let mut out = [0; RESPONSE_BYTES_MAX];
        let message = Message::parse(datagram)?;
        let answer = answer(&message, expected, FROM.parse().unwrap(), &mut out)?;
        Ok((out[..answer.length].to_vec(), answer.verdict))
    }

    #[test]
    fn an_authentic_check_is_answered_with_its_source() {
        let check = request("ours:th+/", Role::Controlling(1), "secret");
        let (response, verdict) = answered(&check, &EXPECTED).unwrap();
        assert_eq!(verdict, Verdict::Success);
        let response_length = response.len();
        let response = Message::parse(&response).unwrap();
        assert_eq!(response.class, Class::Success);
        assert_eq!(response.mapped_address, Some(FROM.parse().unwrap()));
        assert_eq!(response.verify_integrity(b"secret"), Ok(()));
        assert!(response_length <= check.len(), "an answer never amplifies");
    }

    #[test]
    fn a_check_for_somebody_else_or_with_another_password_gets_no_answer() {
        for (username, key) in [
            ("ours:th+/", "guess"),
            ("hers:th+/", "secret"),
            ("ours:other", "secret"),
            ("ours", "secret"),
            ("our:s:th+/", "secret"),
        ] {
            let check = request(username, Role::Controlling(1), key);
            assert_eq!(answered(&check, &EXPECTED), Err(Discard::BadIntegrity), "{username}");
        }
    }

    #[test]
    fn before_the_answer_any_remote_fragment_is_served() {
        let expected = Expected { remote_ufrag: None, ..EXPECTED };
        let check = request("ours:anyone", Role::Controlling(1), "secret");
        assert_eq!(answered(&check, &expected).unwrap().1, Verdict::Success);
    }

    #[test]
    fn a_peer_that_claims_to_be_controlled_is_told_of_the_conflict() {
        let check = request("ours:th+/", Role::Controlled(u64::MAX), "secret");
        let (response, verdict) = answered(&check, &EXPECTED).unwrap();
        assert_eq!(verdict, Verdict::Refused(ErrorCode::RoleConflict));
        assert_eq!(Message::parse(&response).unwrap().error_code, Some(487));
    }

    #[test]
    fn responses_and_indications_get_no_answer() {
        let check = request("ours:th+/", Role::Controlling(1), "secret");
        let (response, _) = answered(&check, &EXPECTED).unwrap();
        assert_eq!(answered(&response, &EXPECTED), Err(Discard::BadStun));
    }

    #[test]
    fn every_flipped_bit_of_a_check_leaves_it_unanswered() {
        let check = request("ours:th+/", Role::Controlling(1), "secret");
        for bit in 0..check.len() * 8 {
            let mut flipped = check.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(answered(&flipped, &EXPECTED).is_err(), "bit {bit}");
        }
    }
}
