//! The client's side: answers a trunk's challenges with the credentials for its realm. No trunk is
//! answered by the product; the browsers of the engine's tests answer us with it.

use super::{Ha1, Role, hex, request_digest};
use crate::base::random::{Random, token};
use crate::wire::sip::{AuthParameters, Request, Response, quote};
use std::fmt;

const CNONCE_CHARACTERS: usize = 16;

/// The client's side: one trunk's credentials and the nonces in use.
pub struct Answerer {
    username: String,
    realm: String,
    ha1: Ha1,
    /// Of a server and of a proxy.
    nonces: [Option<Nonce>; 2],
}

/// A nonce we were given, and how often we have used it.
struct Nonce {
    text: String,
    opaque: Option<String>,
    protection: Protection,
    count: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protection {
    /// No `qop`: the digest of RFC 2069.
    None,
    /// `qop=auth`.
    Auth,
}

/// Why a challenge is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswerable {
    /// No challenge, or none for our realm: credentials go to the realm they were given for and to
    /// no other (CVE-2021-41158).
    OtherRealm,
    /// Only algorithms or qualities of protection we do not know.
    UnknownAlgorithm,
    /// Our answer to a fresh nonce was refused: the secret is wrong.
    Refused,
}

impl Answerer {
    /// Credentials for one realm.
    pub fn new(username: &str, password: &str, realm: &str) -> Self {
        Self {
            username: username.to_owned(),
            realm: realm.to_owned(),
            ha1: Ha1::new(username, realm, password),
            nonces: [None, None],
        }
    }

    /// Takes the challenges of a 401 or 407 to `request` and puts the credentials in `request`. The
    /// caller then raises its CSeq and sends it as a new transaction (RFC 3261 §22.2).
    pub fn answer(
        &mut self,
        challenge: &Response,
        request: &mut Request,
        random: &mut Random,
    ) -> Result<(), Unanswerable> {
        let mut outcome = Err(Unanswerable::OtherRealm);
        for role in Role::ALL {
            match self.take_challenge(challenge, role, request) {
                Ok(nonce) => {
                    self.nonces[role as usize] = Some(nonce);
                    self.put_credentials(role, request, random);
                    outcome = Ok(());
                }
                Err(Unanswerable::OtherRealm) => {}
                Err(unanswerable) => return Err(unanswerable),
            }
        }
        outcome
    }

    /// Puts in credentials for the nonces we already have, if any, to spare a round trip.
    pub fn authorize(&mut self, request: &mut Request, random: &mut Random) {
        for role in Role::ALL {
            self.put_credentials(role, request, random);
        }
    }

    /// The first challenge for our realm whose algorithm we know.
    fn take_challenge(
        &self,
        challenge: &Response,
        role: Role,
        request: &Request,
    ) -> Result<Nonce, Unanswerable> {
        let mut unanswerable = Unanswerable::OtherRealm;
        for offered in challenge.headers.auth(&role.challenge()) {
            if !offered.scheme.eq_ignore_ascii_case("Digest")
                || offered.value("realm") != Some(&self.realm)
            {
                continue;
            }
            let (Some(nonce), Some(protection)) = (offered.value("nonce"), protection(&offered))
            else {
                unanswerable = Unanswerable::UnknownAlgorithm;
                continue;
            };
            let stale = offered.value("stale").is_some_and(|v| v.eq_ignore_ascii_case("true"));
            if !stale && self.answered_fresh(request, role) {
                return Err(Unanswerable::Refused);
            }
            return Ok(Nonce {
                text: nonce.to_owned(),
                opaque: offered.value("opaque").map(str::to_owned),
                protection,
                count: 0,
            });
        }
        Err(unanswerable)
    }

    /// Whether the request already answered a nonce on its first use: another challenge then means
    /// that the secret is wrong, and a third try would only lock the account.
    fn answered_fresh(&self, request: &Request, role: Role) -> bool {
        request.headers.auth(&role.credentials()).iter().any(|credentials| {
            credentials.value("realm") == Some(&self.realm)
                && matches!(credentials.value("nc"), None | Some("00000001"))
        })
    }

    fn put_credentials(&mut self, role: Role, request: &mut Request, random: &mut Random) {
        let Some(nonce) = &mut self.nonces[role as usize] else { return };
        nonce.count = nonce.count.saturating_add(1);
        let uri = request.uri.to_string();
        let (count, cnonce) = (format!("{:08x}", nonce.count), token(random, CNONCE_CHARACTERS));
        let counted = match nonce.protection {
            Protection::Auth => Some((count.as_str(), cnonce.as_str())),
            Protection::None => None,
        };
        let digest = request_digest(&self.ha1, request.method.as_str(), &uri, &nonce.text, counted);
        let mut value = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\", algorithm=MD5",
            quote(&self.username),
            quote(&self.realm),
            quote(&nonce.text),
            quote(&uri),
            hex(&digest),
        );
        if counted.is_some() {
            value += &format!(", qop=auth, nc={count}, cnonce=\"{cnonce}\"");
        }
        if let Some(opaque) = &nonce.opaque {
            value += &format!(", opaque={}", quote(opaque));
        }
        request.headers.set(role.credentials(), value);
    }
}

/// Secrets and nonces stay out.
impl fmt::Debug for Answerer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Answerer({}@{})", self.username, self.realm)
    }
}

/// `None` if the challenge wants what we do not know.
fn protection(challenge: &AuthParameters) -> Option<Protection> {
    if !challenge.value("algorithm").unwrap_or("MD5").eq_ignore_ascii_case("MD5") {
        return None;
    }
    match challenge.value("qop") {
        None => Some(Protection::None),
        Some(offered) => offered
            .split(',')
            .any(|qop| qop.trim().eq_ignore_ascii_case("auth"))
            .then_some(Protection::Auth),
    }
}
