//! Digest authentication (RFC 7616, RFC 3261 §22), both sides, MD5 with `qop=auth`.
//!
//! Browsers' libraries know MD5 only and give up on anything else, so [`Challenger`] makes exactly
//! one challenge. Its nonces carry their own proof (time, random and a keyed MAC), so a challenge
//! costs no memory; only a nonce that has been answered rightly is remembered, with the highest
//! count seen, so that no answer serves twice. [`Answerer`] answers trunks and is bound to the
//! realm its credentials were given for.

use crate::base::random::{Random, token};
use crate::wire::sip::{
    AuthParameters, HeaderName, Headers, Method, Request, Response, Status, Uri, quote,
};
use aws_lc_rs::hmac;
use md5::{Digest, Md5};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// How long a nonce may be used. A browser refreshes its registration every five to ten minutes.
pub const NONCE_LIFETIME: Duration = Duration::from_secs(300);
/// Most nonces remembered as used; past it the oldest become stale early.
pub const USED_NONCES_MAX: usize = 20_000;
const CNONCE_CHARACTERS: usize = 16;

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
    realm: String,
    key: hmac::Key,
    epoch: Instant,
    /// Stands in for users we do not know.
    nobody: Ha1,
    used: BTreeMap<NonceId, u32>,
    /// The youngest nonce forgotten for want of room; it and all older ones are stale.
    forgotten: Option<NonceId>,
}

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

    fn nonce(&self, now: Instant, random: &mut Random) -> String {
        let mut id: NonceId = random.random();
        let age = now.saturating_duration_since(self.epoch);
        id[..8].copy_from_slice(&(age.as_millis() as u64).to_be_bytes());
        hex(&id) + &hex(&hmac::sign(&self.key, &id).as_ref()[..NONCE_MAC_BYTES])
    }

    /// Whether a nonce is ours, young, and has not been used with this count or a higher one. If so
    /// it now has been.
    fn take_nonce(&mut self, nonce: &str, count: u32, now: Instant) -> bool {
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
    fn expire(&mut self, now: Instant) {
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

/// Copies an INVITE's credentials to its ACK (RFC 3261 §22.1).
pub fn copy_credentials(invite: &Headers, ack: &mut Headers) {
    for role in Role::ALL {
        ack.remove(&role.credentials());
        ack.copy(&role.credentials(), invite);
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
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::from_seed;

    const REALM: &str = "example.com";

    fn request(method: Method) -> Request {
        let mut request = Request::new(method.clone(), "sip:example.com".parse().unwrap());
        request.headers.push(HeaderName::Via, "SIP/2.0/WSS a.invalid;branch=z9hG4bKa");
        request.headers.push(HeaderName::From, "<sip:1001@example.com>;tag=a");
        request.headers.push(HeaderName::To, "<sip:1001@example.com>");
        request.headers.push(HeaderName::CallId, "c");
        request.headers.push(HeaderName::CSeq, format!("1 {method}"));
        request
    }

    struct Bench {
        challenger: Challenger,
        answerer: Answerer,
        ha1: Ha1,
        random: Random,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let (mut random, now) = (from_seed(1), Instant::now());
            Self {
                challenger: Challenger::new(REALM, now, &mut random),
                answerer: Answerer::new("1001", "secret", REALM),
                ha1: Ha1::new("1001", REALM, "secret"),
                random,
                now,
            }
        }

        fn challenge(&mut self, request: &Request, verdict: Verdict) -> Response {
            let Self { challenger, random, now, .. } = self;
            challenger.challenge(request, Role::Server, verdict, *now, random)
        }

        fn answered(&mut self) -> Request {
            let mut request = request(Method::Register);
            let challenge = self.challenge(&request, Verdict::Absent);
            self.answerer.answer(&challenge, &mut request, &mut self.random).unwrap();
            request
        }

        fn verify(&mut self, request: &Request) -> Verdict {
            self.challenger.verify(request, Role::Server, Some(&self.ha1), self.now)
        }
    }

    /// RFC 2617 §3.5.
    #[test]
    fn the_example_of_rfc_2617() {
        let ha1 = Ha1::new("Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(String::from(ha1.clone()), "939e7578ed9e3c518a452acee763bce9");
        let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
        let counted = Some(("00000001", "0a4f113b"));
        let digest = request_digest(&ha1, "GET", "/dir/index.html", nonce, counted);
        assert_eq!(hex(&digest), "6629fae49393a05397450978507c4ef1");
    }

    /// RFC 2069 §2.4, with the digest of its erratum.
    #[test]
    fn without_qop_the_digest_is_that_of_rfc_2069() {
        let ha1 = Ha1::new("Mufasa", "testrealm@host.com", "CircleOfLife");
        let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
        let digest = request_digest(&ha1, "GET", "/dir/index.html", nonce, None);
        assert_eq!(hex(&digest), "1949323746fe6a43ef61f9606e7febea");
    }

    #[test]
    fn the_right_secret_is_accepted_once() {
        let mut bench = Bench::new();
        let request = bench.answered();
        assert_eq!(bench.challenger.username(&request, Role::Server).as_deref(), Some("1001"));
        assert_eq!(bench.verify(&request), Verdict::Accepted);
        assert_eq!(bench.verify(&request), Verdict::Stale);
    }

    #[test]
    fn a_nonce_serves_past_the_tenth_and_the_256th_request() {
        let mut bench = Bench::new();
        let first = bench.answered();
        assert_eq!(bench.verify(&first), Verdict::Accepted);
        for count in 2..=0x101_u32 {
            let mut request = request(Method::Register);
            bench.answerer.authorize(&mut request, &mut bench.random);
            let credentials = &request.headers.auth(&HeaderName::Authorization)[0];
            assert_eq!(credentials.value("nc"), Some(format!("{count:08x}").as_str()));
            assert_eq!(bench.verify(&request), Verdict::Accepted, "{count:08x}");
        }
    }

    #[test]
    fn a_lower_count_is_a_replay() {
        let mut bench = Bench::new();
        let first = bench.answered();
        let mut second = request(Method::Register);
        bench.answerer.authorize(&mut second, &mut bench.random);
        assert_eq!(bench.verify(&second), Verdict::Accepted);
        assert_eq!(bench.verify(&first), Verdict::Stale);
    }

    #[test]
    fn an_old_nonce_is_stale_and_a_wrong_secret_is_wrong_whatever_the_nonce() {
        let mut bench = Bench::new();
        let request = bench.answered();
        bench.now += NONCE_LIFETIME + Duration::from_secs(1);
        assert_eq!(bench.verify(&request), Verdict::Stale);
        bench.ha1 = Ha1::new("1001", REALM, "other");
        assert_eq!(bench.verify(&request), Verdict::Wrong);
    }

    #[test]
    fn another_processs_nonce_is_stale() {
        let mut bench = Bench::new();
        let request = bench.answered();
        bench.challenger = Challenger::new(REALM, bench.now, &mut from_seed(9));
        assert_eq!(bench.verify(&request), Verdict::Stale);
    }

    #[test]
    fn stale_is_said_and_answered() {
        let mut bench = Bench::new();
        let mut request = bench.answered();
        let challenge = bench.challenge(&request, Verdict::Stale);
        let value = challenge.headers.first(&HeaderName::WwwAuthenticate).unwrap();
        assert!(value.ends_with("algorithm=MD5, qop=\"auth\", stale=true"), "{value}");
        bench.answerer.answer(&challenge, &mut request, &mut bench.random).unwrap();
        assert_eq!(bench.verify(&request), Verdict::Accepted);
    }

    #[test]
    fn a_second_challenge_without_stale_means_the_secret_is_wrong() {
        let mut bench = Bench::new();
        let mut request = bench.answered();
        let challenge = bench.challenge(&request, Verdict::Wrong);
        let answer = bench.answerer.answer(&challenge, &mut request, &mut bench.random);
        assert_eq!(answer, Err(Unanswerable::Refused));
    }

    #[test]
    fn changed_method_uri_or_realm_is_not_accepted() {
        let mut bench = Bench::new();
        let answered = bench.answered();
        let mut invite = answered.clone();
        invite.method = Method::Invite;
        assert_eq!(bench.verify(&invite), Verdict::Wrong);
        let mut elsewhere = answered.clone();
        elsewhere.uri = "sip:elsewhere.example".parse().unwrap();
        assert_eq!(bench.verify(&elsewhere), Verdict::Wrong);
        bench.challenger.realm = "other.example".to_owned();
        assert_eq!(bench.verify(&answered), Verdict::Absent);
    }

    #[test]
    fn an_unknown_user_is_wrong() {
        let mut bench = Bench::new();
        let answered = bench.answered();
        let now = bench.now;
        assert_eq!(bench.challenger.verify(&answered, Role::Server, None, now), Verdict::Wrong);
        assert_eq!(bench.challenger.verify(&answered, Role::Proxy, None, now), Verdict::Absent);
    }

    #[test]
    fn a_full_table_makes_the_oldest_stale_and_never_replayable() {
        let mut bench = Bench::new();
        let oldest = bench.answered();
        assert_eq!(bench.verify(&oldest), Verdict::Accepted);
        bench.now += Duration::from_millis(1);
        for _ in 0..USED_NONCES_MAX {
            let nonce = bench.challenger.nonce(bench.now, &mut bench.random);
            assert!(bench.challenger.take_nonce(&nonce, 1, bench.now));
        }
        assert_eq!(bench.challenger.used.len(), USED_NONCES_MAX);
        assert_eq!(bench.verify(&oldest), Verdict::Stale);
        bench.now += NONCE_LIFETIME * 2;
        bench.challenger.expire(bench.now);
        assert!(bench.challenger.used.is_empty());
    }

    #[test]
    fn a_trunks_challenge_is_answered_only_for_its_realm_and_algorithm() {
        let mut bench = Bench::new();
        let mut answer = |value: &str| {
            let mut request = request(Method::Invite);
            let mut challenge = Response::to(&request, Status::PROXY_AUTHENTICATION_REQUIRED);
            challenge.headers.push(HeaderName::ProxyAuthenticate, value);
            let answer = bench.answerer.answer(&challenge, &mut request, &mut bench.random);
            answer.map(|()| {
                request.headers.first(&HeaderName::ProxyAuthorization).unwrap().to_owned()
            })
        };
        assert_eq!(answer("Digest realm=\"evil\", nonce=\"n\""), Err(Unanswerable::OtherRealm));
        assert_eq!(
            answer("Digest realm=\"example.com\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\""),
            Err(Unanswerable::UnknownAlgorithm)
        );
        assert_eq!(
            answer("Digest realm=\"example.com\", nonce=\"n\", qop=\"auth-int\""),
            Err(Unanswerable::UnknownAlgorithm)
        );
        let full = answer(
            "Digest realm=\"example.com\", nonce=\"n\", qop=\"auth-int,auth\", opaque=\"o\"",
        )
        .unwrap();
        assert!(full.contains("qop=auth, nc=00000001, cnonce=\""), "{full}");
        assert!(full.ends_with("opaque=\"o\""), "{full}");
        assert!(!answer("Digest realm=\"example.com\", nonce=\"n\"").unwrap().contains("nc="));
    }

    #[test]
    fn secrets_are_not_shown() {
        let bench = Bench::new();
        assert_eq!(
            format!("{:?} {:?}", bench.answerer, bench.ha1),
            "Answerer(1001@example.com) Ha1(…)"
        );
    }

    #[test]
    fn ha1_reads_from_hex_only() {
        assert!(Ha1::try_from("939e7578ed9e3c518a452acee763bce9".to_owned()).is_ok());
        assert!(Ha1::try_from("939e".to_owned()).is_err());
        assert!(Ha1::try_from("939e7578ed9e3c518a452acee763bcez".to_owned()).is_err());
    }
}
