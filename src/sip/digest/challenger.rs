//! The server's side: makes challenges and checks what comes back.
//!
//! A nonce carries its own proof (time, random and a keyed MAC), so a challenge costs no memory. Only
//! a nonce that has been answered rightly is remembered, with the highest count seen, so that no
//! answer serves twice.

use super::{Ha1, Role, hex, parse_hex, request_digest};
use crate::base::narrow::Narrow;
use crate::base::opaque::opaque;
use crate::base::random::Random;
use crate::wire::sip::{AuthParameters, Method, Request, Response, Uri, quote};
use aws_lc_rs::hmac;
use rand::RngExt;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// How long a nonce may be used. A browser refreshes its registration every five to ten minutes.
pub const NONCE_LIFETIME: Duration = Duration::from_secs(300);
/// Most nonces remembered as used; past it the oldest become stale early.
pub const USED_NONCES_MAX: usize = 20_000;

/// What credentials were found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right.
    Accepted,
    /// There are none for our realm: challenge.
    Absent,
    /// Right secret, but the nonce has expired, is not ours, or its count has been used: challenge
    /// with `stale=true`, and the client tries again without asking its user.
    Stale,
    /// Wrong: refuse, or challenge anew.
    Wrong,
}

/// The server's side: challenges, and checks what comes back.
pub struct Challenger {
    pub(super) realm: String,
    key: hmac::Key,
    epoch: Instant,
    /// Stands in for users we do not know.
    nobody: Ha1,
    pub(super) used: BTreeMap<NonceId, u32>,
    /// The youngest nonce forgotten for want of room; it and all older ones are stale.
    forgotten: Option<NonceId>,
}

opaque!(Challenger);

/// Milliseconds since the epoch, then random: ordered by age.
type NonceId = [u8; 16];
/// Bytes of the MAC behind it.
const NONCE_MAC_BYTES: usize = 16;

impl Challenger {
    /// `realm` is what passwords belong to, usually the domain.
    pub fn new(realm: &str, now: Instant, random: &mut Random) -> Self {
        let secret: [u8; 32] = random.random();
        Self {
            realm: realm.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            epoch: now,
            nobody: Ha1(random.random()),
            used: BTreeMap::new(),
            forgotten: None,
        }
    }

    /// The 401 or 407 to `request`. `verdict` is what its credentials were.
    pub fn challenge(
        &self,
        request: &Request,
        role: Role,
        verdict: Verdict,
        now: Instant,
        random: &mut Random,
    ) -> Response {
        let stale = if verdict == Verdict::Stale { ", stale=true" } else { "" };
        let (realm, nonce) = (quote(&self.realm), self.nonce(now, random));
        let mut response = Response::to(request, role.status());
        response.headers.push(
            role.challenge(),
            format!("Digest realm={realm}, nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"{stale}"),
        );
        response
    }

    /// The user a request claims to come from, unverified: to look up the secret. `None` if it has
    /// no credentials for our realm.
    pub fn username(&self, request: &Request, role: Role) -> Option<String> {
        self.credentials(request, role)?.value("username").map(str::to_owned)
    }

    /// Checks a request's credentials against `ha1`; pass `None` for a user we do not know, so that
    /// both cases take the same time.
    pub fn verify(
        &mut self,
        request: &Request,
        role: Role,
        ha1: Option<&Ha1>,
        now: Instant,
    ) -> Verdict {
        let Some(credentials) = self.credentials(request, role) else { return Verdict::Absent };
        let Some(answer) = Answer::parse(&credentials) else { return Verdict::Wrong };
        let expected = answer.expected(ha1.unwrap_or(&self.nobody), &request.method);
        let right = bool::from(expected.ct_eq(&answer.response)) && ha1.is_some();
        let same_uri = answer.uri.parse::<Uri>().is_ok_and(|uri| uri == request.uri);
        if !right || !same_uri {
            return Verdict::Wrong;
        }
        match self.take_nonce(answer.nonce, answer.count, now) {
            true => Verdict::Accepted,
            false => Verdict::Stale,
        }
    }

    /// The first Digest credentials for our realm.
    fn credentials(&self, request: &Request, role: Role) -> Option<AuthParameters> {
        let all = request.headers.auth(&role.credentials());
        all.into_iter().find(|credentials| {
            credentials.scheme.eq_ignore_ascii_case("Digest")
                && credentials.value("realm") == Some(&self.realm)
        })
    }

    pub(super) fn nonce(&self, now: Instant, random: &mut Random) -> String {
        let mut id: NonceId = random.random();
        let age = now.saturating_duration_since(self.epoch);
        id[..8].copy_from_slice(&Narrow::<u64>::narrow(age.as_millis()).to_be_bytes());
        hex(&id) + &hex(&hmac::sign(&self.key, &id).as_ref()[..NONCE_MAC_BYTES])
    }

    /// Whether a nonce is ours, young, and has not been used with this count or a higher one. If so
    /// it now has been.
    pub(super) fn take_nonce(&mut self, nonce: &str, count: u32, now: Instant) -> bool {
        let Some((id, mac)) = nonce.split_at_checked(2 * size_of::<NonceId>()) else {
            return false;
        };
        let (Some(id), Some(mac)) = (parse_hex(id), parse_hex::<NONCE_MAC_BYTES>(mac)) else {
            return false;
        };
        let expected = hmac::sign(&self.key, &id);
        if !bool::from(expected.as_ref()[..NONCE_MAC_BYTES].ct_eq(&mac)) {
            return false;
        }
        self.expire(now);
        if self.age(&id, now) > NONCE_LIFETIME || self.forgotten.is_some_and(|last| id <= last) {
            return false;
        }
        let highest = self.used.entry(id).or_insert(0);
        if count <= *highest {
            return false;
        }
        *highest = count;
        if self.used.len() > USED_NONCES_MAX {
            self.forgotten = self.used.pop_first().map(|(id, _)| id);
        }
        true
    }

    fn age(&self, id: &NonceId, now: Instant) -> Duration {
        let [a, b, c, d, e, f, g, h, ..] = *id;
        let made = Duration::from_millis(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
        now.saturating_duration_since(self.epoch).saturating_sub(made)
    }

    /// Forgets nonces that are too old to be accepted anyway.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.used.first_entry() {
            let id = *oldest.key();
            if self.age(&id, now) <= NONCE_LIFETIME {
                break;
            }
            self.used.remove(&id);
        }
    }
}

/// The parts of credentials that `qop=auth` needs.
struct Answer<'a> {
    nonce: &'a str,
    uri: &'a str,
    count_text: &'a str,
    count: u32,
    cnonce: &'a str,
    response: [u8; 16],
}

impl<'a> Answer<'a> {
    fn parse(credentials: &'a AuthParameters) -> Option<Self> {
        let algorithm = credentials.value("algorithm").unwrap_or("MD5");
        let qop = credentials.value("qop")?;
        if !algorithm.eq_ignore_ascii_case("MD5") || !qop.eq_ignore_ascii_case("auth") {
            return None;
        }
        let count_text = credentials.value("nc")?;
        let is_count = count_text.len() == 8 && count_text.bytes().all(|b| b.is_ascii_hexdigit());
        Some(Self {
            nonce: credentials.value("nonce")?,
            uri: credentials.value("uri")?,
            count_text,
            count: u32::from_str_radix(count_text, 16).ok().filter(|_| is_count)?,
            cnonce: credentials.value("cnonce")?,
            response: parse_hex(credentials.value("response")?)?,
        })
    }

    fn expected(&self, ha1: &Ha1, method: &Method) -> [u8; 16] {
        let counted = Some((self.count_text, self.cnonce));
        request_digest(ha1, method.as_str(), self.uri, self.nonce, counted)
    }
}
