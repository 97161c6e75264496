//! Both sides against each other, and RFC vectors.

use super::*;
use crate::base::random::{Random, from_seed};
use crate::wire::sip::{Method, Request, Response};
use std::time::{Duration, Instant};

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
        answer.map(|()| request.headers.first(&HeaderName::ProxyAuthorization).unwrap().to_owned())
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
    let full =
        answer("Digest realm=\"example.com\", nonce=\"n\", qop=\"auth-int,auth\", opaque=\"o\"")
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
    Ha1::try_from("939e7578ed9e3c518a452acee763bce9".to_owned()).unwrap();
    Ha1::try_from("939e".to_owned()).unwrap_err();
    Ha1::try_from("939e7578ed9e3c518a452acee763bcez".to_owned()).unwrap_err();
}
