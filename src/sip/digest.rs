//! Digest authentication (RFC 7616, RFC 8760, RFC 3261 §22), both sides.
//!
//! Browsers' libraries know MD5 only and give up on anything else, so [`Challenger`] offers exactly
//! one challenge, `MD5` with `qop="auth"`. [`Answerer`] answers trunks.

use crate::base::random::Random;
use crate::wire::sip::{Headers, Method, Request, Response};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// H(username:realm:password), the secret a user is known by. Lower-case hex in configuration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ha1([u8; 16]);

impl Ha1 {
    /// From the password.
    pub fn new(_username: &str, _realm: &str, _password: &str) -> Self {
        unimplemented!()
    }
}

impl TryFrom<String> for Ha1 {
    type Error = String;

    fn try_from(_hex: String) -> Result<Self, String> {
        unimplemented!()
    }
}

impl From<Ha1> for String {
    fn from(_ha1: Ha1) -> String {
        unimplemented!()
    }
}

/// Never shown.
impl std::fmt::Debug for Ha1 {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

/// The server's side: challenges, and checks what comes back.
pub struct Challenger {}

/// What credentials were found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right.
    Accepted,
    /// There are none for our realm: challenge.
    Absent,
    /// Right secret, but the nonce has expired or its count has been used: challenge with
    /// `stale=true`, and the client tries again without asking its user.
    Stale,
    /// Wrong: refuse, or challenge anew.
    Wrong,
}

impl Challenger {
    /// `realm` is what passwords belong to, usually the domain.
    pub fn new(_realm: &str, _random: &mut Random) -> Self {
        unimplemented!()
    }

    /// The 401 or 407 to `request`. `verdict` is what its credentials were.
    pub fn challenge(
        &self,
        _request: &Request,
        _role: Role,
        _verdict: Verdict,
        _now: Instant,
        _random: &mut Random,
    ) -> Response {
        unimplemented!()
    }

    /// The user a request claims to come from, unverified: to look up the secret. `None` if it has
    /// no credentials for our realm.
    pub fn username(&self, _request: &Request, _role: Role) -> Option<String> {
        unimplemented!()
    }

    /// Checks a request's credentials against `ha1`; pass `None` for a user we do not know, so that
    /// both cases take the same time.
    pub fn verify(
        &mut self,
        _request: &Request,
        _role: Role,
        _ha1: Option<&Ha1>,
        _now: Instant,
    ) -> Verdict {
        unimplemented!()
    }
}

/// The client's side: one trunk's credentials and the nonce in use.
#[derive(Debug)]
pub struct Answerer {}

/// Why a challenge is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswerable {
    /// No challenge in the response, or none for our realm: credentials go to the realm they were
    /// given for and to no other (CVE-2021-41158).
    OtherRealm,
    /// Only algorithms or qualities of protection we do not know.
    UnknownAlgorithm,
    /// Our answer to a fresh nonce was refused: the secret is wrong.
    Refused,
}

impl Answerer {
    /// Credentials for one realm.
    pub fn new(_username: &str, _password: &str, _realm: &str) -> Self {
        unimplemented!()
    }

    /// Takes the challenge of a 401 or 407 to `request` and adds the credentials. The caller then
    /// raises the CSeq and sends it as a new transaction (RFC 3261 §22.2).
    pub fn answer(
        &mut self,
        _challenge: &Response,
        _request: &mut Request,
        _random: &mut Random,
    ) -> Result<(), Unanswerable> {
        unimplemented!()
    }

    /// Adds credentials for the nonce we already have, if any, to spare a round trip.
    pub fn authorize(&mut self, _request: &mut Request, _random: &mut Random) {
        unimplemented!()
    }
}

/// Copies an INVITE's credentials to its ACK (RFC 3261 §22.1).
pub fn copy_credentials(_invite: &Headers, _ack: &mut Headers) {
    unimplemented!()
}

/// H(method:digest-uri), used by both sides.
fn _ha2(_method: &Method, _uri: &str) -> String {
    unimplemented!()
}
