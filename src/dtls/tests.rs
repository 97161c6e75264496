//! Two handshakes of ours with each other, over good and bad paths, and with strangers.

use std::sync::Arc;

use dimpl::Config;
use dimpl::crypto::Dtls12CipherSuite;
use rand::RngExt;

use super::*;
use crate::base::random::{self, Random};

/// Which versions the active side offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Dtls12,
    Dtls13,
    Both,
}

const VERSIONS: [Version; 3] = [Version::Dtls12, Version::Dtls13, Version::Both];

/// One side with all that it said.
struct Side {
    handshake: Handshake,
    certificate: Certificate,
    keys: Option<Keys>,
    failures: Vec<Failure>,
}

impl Side {
    fn new(role: DtlsRole, now: Instant) -> Self {
        let certificate = Certificate::generate().unwrap();
        let handshake = Handshake::new(role, &certificate, now);
        Self::around(handshake, certificate)
    }

    /// An active side that speaks one version only, in datagrams of at most `mtu` bytes.
    fn active(version: Version, mtu: usize, now: Instant) -> Self {
        let config = Config::builder()
            .mtu(mtu)
            .flight_start_rto(RETRANSMIT_FIRST)
            .flight_retries(20)
            .handshake_timeout(HANDSHAKE_TIME_MAX)
            .build()
            .unwrap();
        let certificate = Certificate::with_config(config).unwrap();
        let (config, pair) = (certificate.inner.config.clone(), certificate.inner.pair.clone());
        let mut engine = match version {
            Version::Dtls12 => Dtls::new_12(config, pair, now),
            Version::Dtls13 => Dtls::new_13(config, pair, now),
            Version::Both => Dtls::new_auto(config, pair, now),
        };
        engine.set_active(true);
        let handshake = Handshake::with_engine(DtlsRole::Active, &certificate, engine, now);
        Self::around(handshake, certificate)
    }

    fn around(handshake: Handshake, certificate: Certificate) -> Self {
        Self { handshake, certificate, keys: None, failures: Vec::new() }
    }

    fn expect(&mut self, other: &Certificate) {
        self.handshake.expect(std::slice::from_ref(other.fingerprint()));
    }

    /// Takes every output; the datagrams come back.
    fn poll(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        while let Some(output) = self.handshake.poll_output() {
            match output {
                Output::Send(datagram) => {
                    assert!(datagram.len() <= 1_200, "{} bytes", datagram.len());
                    sent.push(datagram);
                }
                Output::Connected(keys) => {
                    assert!(self.keys.replace(keys).is_none(), "connected twice");
                }
                Output::Failed(failure) => self.failures.push(failure),
            }
        }
        assert!(self.failures.len() <= 1);
        sent
    }

    fn handle(&mut self, datagrams: &[Vec<u8>], now: Instant) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for datagram in datagrams {
            self.handshake.handle_datagram(datagram, now);
            sent.extend(self.poll());
        }
        sent
    }
}

/// Two sides that expect each other.
fn pair(version: Version, now: Instant) -> (Side, Side) {
    let mut active = Side::active(version, 1_200, now);
    let mut passive = Side::new(DtlsRole::Passive, now);
    active.expect(&passive.certificate);
    passive.expect(&active.certificate);
    (active, passive)
}

/// Exchanges datagrams over a perfect path until both are silent.
fn exchange(active: &mut Side, passive: &mut Side, now: Instant) {
    let mut to_passive = active.poll();
    for _ in 0..20 {
        let to_active = passive.handle(&to_passive, now);
        to_passive = active.handle(&to_active, now);
        if to_passive.is_empty() {
            return;
        }
    }
    panic!("the two never fall silent");
}

fn assert_same_keys(active: &Side, passive: &Side) {
    let (Some(one), Some(other)) = (&active.keys, &passive.keys) else {
        panic!("no keys: {:?} {:?}", active.failures, passive.failures);
    };
    assert_eq!(one.profile, other.profile);
    assert_eq!(one.send, other.receive);
    assert_eq!(one.receive, other.send);
    assert_ne!(one.send, one.receive);
    assert_eq!(one.send.len(), one.profile.key_bytes() + one.profile.salt_bytes());
}

#[test]
fn two_sides_come_to_the_same_keys_in_every_version() {
    let now = Instant::now();
    for version in VERSIONS {
        let (mut active, mut passive) = pair(version, now);
        exchange(&mut active, &mut passive, now);
        assert_same_keys(&active, &passive);
        // Nothing is left to wait for.
        assert_eq!(passive.handshake.next_timeout(), None, "{version:?}");
        assert!(format!("{:?}", passive.keys).ends_with("…))"));
    }
}

#[test]
fn the_active_role_of_ours_offers_both_versions() {
    let now = Instant::now();
    let mut active = Side::new(DtlsRole::Active, now);
    for version in [Version::Dtls12, Version::Dtls13] {
        let mut passive = Side::new(DtlsRole::Passive, now);
        if version == Version::Dtls12 {
            let Certificate { inner } = &passive.certificate;
            let engine = Dtls::new_12(inner.config.clone(), inner.pair.clone(), now);
            passive.handshake =
                Handshake::with_engine(DtlsRole::Passive, &passive.certificate, engine, now);
        }
        active.expect(&passive.certificate);
        passive.expect(&active.certificate);
        exchange(&mut active, &mut passive, now);
        assert_same_keys(&active, &passive);
        active = Side::new(DtlsRole::Active, now);
    }
}

#[test]
fn keys_wait_for_the_fingerprints() {
    let now = Instant::now();
    let mut active = Side::new(DtlsRole::Active, now);
    let mut passive = Side::new(DtlsRole::Passive, now);
    active.expect(&passive.certificate);
    exchange(&mut active, &mut passive, now);
    assert!(active.keys.is_some());
    assert!(passive.keys.is_none() && passive.failures.is_empty());
    assert_eq!(passive.handshake.next_timeout(), Some(now + HANDSHAKE_TIME_MAX));

    passive.expect(&active.certificate);
    passive.poll();
    assert_same_keys(&active, &passive);
}

#[test]
fn a_certificate_that_the_sdp_did_not_name_gets_no_keys() {
    let now = Instant::now();
    let stranger = Certificate::generate().unwrap();
    for version in VERSIONS {
        let (mut active, mut passive) = pair(version, now);
        passive.expect(&stranger);
        exchange(&mut active, &mut passive, now);
        assert!(passive.keys.is_none());
        assert_eq!(passive.failures, [Failure::FingerprintMismatch]);
        // Dead for good.
        passive.expect(&active.certificate);
        passive.handshake.handle_timeout(now + Duration::from_secs(1));
        assert!(passive.poll().is_empty() && passive.keys.is_none());
        assert_eq!(passive.handshake.next_timeout(), None);

        let (mut active, mut passive) = pair(version, now);
        active.handshake.expect(&[]);
        exchange(&mut active, &mut passive, now);
        assert!(active.keys.is_none());
        assert_eq!(active.failures, [Failure::FingerprintMismatch]);
    }
}

/// A datagram on its way, to be delivered at an instant.
struct Flying {
    at: Instant,
    to_passive: bool,
    datagram: Vec<u8>,
}

/// Loses a fifth of all datagrams, doubles a tenth, and delays each by 5–60 ms, so that they
/// overtake one another.
fn send_badly(
    random: &mut Random,
    path: &mut Vec<Flying>,
    now: Instant,
    to_passive: bool,
    datagrams: Vec<Vec<u8>>,
) {
    for datagram in datagrams {
        let copies = match random.random_range(0..10) {
            0 | 1 => 0,
            2 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let at = now + Duration::from_millis(random.random_range(5..60));
            path.push(Flying { at, to_passive, datagram: datagram.clone() });
        }
    }
}

#[test]
fn a_path_that_loses_doubles_and_reorders_is_survived() {
    for seed in 0..120 {
        let version = VERSIONS[seed as usize % VERSIONS.len()];
        let random = &mut random::from_seed(seed);
        let start = Instant::now();
        let mut now = start;
        let (mut active, mut passive) = pair(version, now);
        let mut path = Vec::new();
        send_badly(random, &mut path, now, true, active.poll());
        while active.keys.is_none() || passive.keys.is_none() {
            let next = path
                .iter()
                .map(|flying| flying.at)
                .chain(active.handshake.next_timeout())
                .chain(passive.handshake.next_timeout())
                .min()
                .expect("something is always awaited");
            now = now.max(next);
            assert!(now < start + HANDSHAKE_TIME_MAX, "seed {seed}, {version:?}: too late");
            for (side, to_passive) in [(&mut active, false), (&mut passive, true)] {
                if side.handshake.next_timeout().is_some_and(|at| at <= now) {
                    side.handshake.handle_timeout(now);
                }
                let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut path)
                    .into_iter()
                    .partition(|flying| flying.at <= now && flying.to_passive == to_passive);
                path = later;
                let mut sent = side.poll();
                for flying in due {
                    sent.extend(side.handle(&[flying.datagram], now));
                }
                send_badly(random, &mut path, now, !to_passive, sent);
            }
            let failures = (&active.failures, &passive.failures);
            assert!(
                failures.0.is_empty() && failures.1.is_empty(),
                "seed {seed}, {version:?}, after {:?}: {failures:?}",
                now - start
            );
        }
        assert_same_keys(&active, &passive);
    }
}

#[test]
fn a_lost_last_flight_is_repeated_after_completion() {
    for version in VERSIONS {
        let now = Instant::now();
        let (mut active, mut passive) = pair(version, now);
        // The last flight toward the active side is lost once.
        let mut to_passive = active.poll();
        while passive.keys.is_none() {
            let to_active = passive.handle(&to_passive, now);
            if passive.keys.is_none() {
                to_passive = active.handle(&to_active, now);
            }
        }
        let later = now + Duration::from_millis(200);
        active.handshake.handle_timeout(later);
        exchange(&mut active, &mut passive, later);
        assert_same_keys(&active, &passive);
    }
}

#[test]
fn everything_said_again_after_completion_changes_nothing() {
    for version in VERSIONS {
        let now = Instant::now();
        let (mut active, mut passive) = pair(version, now);
        let mut heard = Vec::new();
        let mut to_passive = active.poll();
        while !to_passive.is_empty() {
            heard.extend(to_passive.clone());
            let to_active = passive.handle(&to_passive, now);
            to_passive = active.handle(&to_active, now);
        }
        assert_same_keys(&active, &passive);
        for round in 1..20 {
            passive.handle(&heard, now + Duration::from_millis(50 * round));
        }
        assert!(passive.failures.is_empty());
    }
}

/// Random bytes, and damaged copies of real datagrams.
fn garbage(random: &mut Random, real: &[Vec<u8>]) -> Vec<u8> {
    if real.is_empty() || random.random_range(0..2) == 0 {
        let length = random.random_range(0..200);
        return (0..length).map(|_| random.random()).collect();
    }
    let mut datagram = real[random.random_range(0..real.len())].clone();
    if random.random_range(0..4) == 0 {
        datagram.truncate(random.random_range(0..=datagram.len()));
    }
    for _ in 0..random.random_range(1..4) {
        if !datagram.is_empty() {
            let at = random.random_range(0..datagram.len());
            datagram[at] = random.random();
        }
    }
    datagram
}

#[test]
fn random_bytes_never_end_a_handshake() {
    for seed in 0..60 {
        let random = &mut random::from_seed(seed);
        let now = Instant::now();
        let (mut active, mut passive) = pair(VERSIONS[seed as usize % VERSIONS.len()], now);
        let mut to_passive = active.poll();
        while !to_passive.is_empty() {
            for side in [&mut active, &mut passive] {
                for _ in 0..20 {
                    side.handle(&[garbage(random, &[])], now);
                }
            }
            let to_active = passive.handle(&to_passive, now);
            to_passive = active.handle(&to_active, now);
        }
        assert_same_keys(&active, &passive);
    }
}

#[test]
fn damaged_datagrams_before_the_first_answer_are_survived_by_starting_again() {
    for seed in 0..60 {
        let random = &mut random::from_seed(seed);
        let now = Instant::now();
        let version = VERSIONS[seed as usize % VERSIONS.len()];
        let (mut active, mut passive) = pair(version, now);
        let hello = active.poll();
        // Fragments that never make a ClientHello, more than an engine keeps.
        for _ in 0..12 {
            let mut fragment = hello[0].clone();
            fragment.truncate(20 + random.random_range(0..40));
            passive.handle(&[fragment], now);
        }
        let to_active = passive.handle(&hello, now);
        let mut to_passive = active.handle(&to_active, now);
        if to_active.is_empty() {
            // What the browser does next.
            let later = now + Duration::from_millis(200);
            active.handshake.handle_timeout(later);
            to_passive = active.poll();
        }
        let to_active = passive.handle(&to_passive, now);
        active.handle(&to_active, now);
        exchange(&mut active, &mut passive, now);
        assert_same_keys(&active, &passive);
    }
}

#[test]
fn damaged_datagrams_at_any_time_never_panic_nor_bring_wrong_keys() {
    for seed in 0..200 {
        let random = &mut random::from_seed(seed);
        let now = Instant::now();
        let (mut active, mut passive) = pair(VERSIONS[seed as usize % VERSIONS.len()], now);
        let mut to_passive = active.poll();
        while !to_passive.is_empty() {
            for _ in 0..3 {
                let damaged = garbage(random, &to_passive);
                passive.handle(&[damaged], now);
            }
            let to_active = passive.handle(&to_passive, now);
            for _ in 0..3 {
                let damaged = garbage(random, &to_active);
                active.handle(&[damaged], now);
            }
            to_passive = active.handle(&to_active, now);
        }
        if active.keys.is_some() && passive.keys.is_some() {
            assert_same_keys(&active, &passive);
        }
    }
}

#[test]
fn a_client_hello_in_many_reordered_and_doubled_fragments_is_put_together() {
    for version in VERSIONS {
        let now = Instant::now();
        let mut active = Side::active(version, 96, now);
        let mut passive = Side::new(DtlsRole::Passive, now);
        active.expect(&passive.certificate);
        passive.expect(&active.certificate);
        let mut hello = active.poll();
        if version != Version::Both {
            assert!(hello.len() > 1, "{version:?}: {} datagrams", hello.len());
        }
        hello.reverse();
        hello.extend(hello.clone().into_iter().take(2));
        let to_active = passive.handle(&hello, now);
        let to_passive = active.handle(&to_active, now);
        let to_active = passive.handle(&to_passive, now);
        active.handle(&to_active, now);
        exchange(&mut active, &mut passive, now);
        assert_same_keys(&active, &passive);
    }
}

/// Captured from Chromium 156: two datagrams, because of its post-quantum key share.
#[test]
fn chromiums_client_hello_is_answered_in_whatever_order_it_comes() {
    let first = include_bytes!("../../tests/samples/chromium-client-hello-1.bin").to_vec();
    let second = include_bytes!("../../tests/samples/chromium-client-hello-2.bin").to_vec();
    for hello in [
        vec![first.clone(), second.clone()],
        vec![second.clone(), first.clone()],
        vec![first.clone(), first.clone(), second.clone(), second.clone()],
    ] {
        let now = Instant::now();
        let mut passive = Side::new(DtlsRole::Passive, now);
        let flight = passive.handle(&hello, now);
        assert!(!flight.is_empty());
        // ServerHello first (RFC 9147 §5.2).
        assert_eq!((flight[0][0], flight[0][13]), (22, 2));
        assert!(passive.failures.is_empty());
    }
}

#[test]
fn an_active_side_repeats_itself_soon_and_gives_up_in_time() {
    let start = Instant::now();
    let mut active = Side::new(DtlsRole::Active, start);
    let first = active.poll();
    assert_eq!(first.len(), 1);
    let mut repeated = Vec::new();
    while active.failures.is_empty() {
        let at = active.handshake.next_timeout().unwrap();
        active.handshake.handle_timeout(at);
        for datagram in active.poll() {
            assert_eq!(datagram[13..], first[0][13..]);
            repeated.push(at - start);
        }
    }
    assert!(repeated[0] <= Duration::from_millis(125), "{:?}", repeated[0]);
    assert!((5..=9).contains(&repeated.len()), "{repeated:?}");
    assert_eq!(active.failures, [Failure::TimedOut]);
    assert_eq!(active.handshake.next_timeout(), None);
}

#[test]
fn a_passive_side_waits_for_ever_but_not_for_the_rest() {
    let start = Instant::now();
    let mut passive = Side::new(DtlsRole::Passive, start);
    assert_eq!(passive.handshake.next_timeout(), None);
    let asked = start + Duration::from_secs(60);
    passive.handshake.handle_timeout(asked);
    assert!(passive.poll().is_empty() && passive.failures.is_empty());

    let mut active = Side::new(DtlsRole::Active, asked);
    assert!(!passive.handle(&active.poll(), asked).is_empty());
    while passive.failures.is_empty() {
        let at = passive.handshake.next_timeout().unwrap();
        assert!(at <= asked + HANDSHAKE_TIME_MAX);
        passive.handshake.handle_timeout(at);
        passive.poll();
    }
    assert_eq!(passive.failures, [Failure::TimedOut]);
}

#[test]
fn an_alert_tells_why_the_other_side_gave_up() {
    let now = Instant::now();
    let (mut active, mut passive) = pair(Version::Dtls12, now);
    passive.handle(&active.poll(), now);
    // Plaintext fatal handshake_failure (RFC 5246 §7.2).
    let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
    passive.handle(&[alert.to_vec()], now);
    assert_eq!(passive.failures, [Failure::Alert(40)]);
}

#[test]
fn a_side_without_a_common_cipher_fails_by_name() {
    let now = Instant::now();
    let config = Config::builder()
        .use_server_cookie(false)
        .dtls12_cipher_suites(&[Dtls12CipherSuite::ECDHE_ECDSA_CHACHA20_POLY1305_SHA256])
        .dtls13_cipher_suites(&[])
        .build()
        .unwrap();
    let certificate = Certificate::with_config(config).unwrap();
    let Certificate { inner } = &certificate;
    let config = Config::builder()
        .dtls12_cipher_suites(&[Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256])
        .dtls13_cipher_suites(&[])
        .build()
        .unwrap();
    let mut engine = Dtls::new_12(Arc::new(config), inner.pair.clone(), now);
    engine.set_active(true);
    let active = Handshake::with_engine(DtlsRole::Active, &certificate, engine, now);
    let mut active = Side::around(active, certificate.clone());
    let passive = Handshake::new(DtlsRole::Passive, &certificate, now);
    let mut passive = Side::around(passive, certificate);
    let hello = active.poll();
    for _ in 0..=RESTARTS_MAX {
        assert!(passive.failures.is_empty());
        passive.handle(&hello, now);
    }
    assert_eq!(passive.failures, [Failure::NothingInCommon]);
}

#[test]
fn the_random_of_a_client_hello_is_found_and_nothing_else() {
    let now = Instant::now();
    let mut active = Side::new(DtlsRole::Active, now);
    let mut passive = Side::new(DtlsRole::Passive, now);
    let hello = active.poll();
    let random = client_random_of(&hello[0]);
    assert!(random.is_some());
    active.handshake.handle_timeout(now + Duration::from_millis(200));
    assert_eq!(client_random_of(&active.poll()[0]), random, "repeated");
    for answer in passive.handle(&hello, now) {
        assert_eq!(client_random_of(&answer), None);
    }
    for length in 0..59 {
        assert_eq!(client_random_of(&hello[0][..length]), None);
    }
}

/// A certificate as long as everything that the engine can have queued must not overrun the buffer
/// that takes it.
#[test]
fn a_huge_certificate_is_no_panic() {
    const CERTIFICATE: u8 = 11;
    const BODY: usize = 1_300;
    let now = Instant::now();
    for parts in [4, 20, 29, 40] {
        let (mut active, mut passive) = pair(Version::Dtls12, now);
        passive.handle(&active.poll(), now);
        let length = parts * BODY;
        let three = |value: usize| [(value >> 16) as u8, (value >> 8) as u8, value as u8];
        let mut message = vec![0x30; length];
        message[..3].copy_from_slice(&three(length - 3));
        message[3..6].copy_from_slice(&three(length - 6));
        for part in 0..parts {
            let mut datagram = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 1, part as u8];
            datagram.extend(((BODY + 12) as u16).to_be_bytes());
            datagram.push(CERTIFICATE);
            datagram.extend(three(length));
            datagram.extend([0, 1]);
            datagram.extend(three(part * BODY));
            datagram.extend(three(BODY));
            datagram.extend(&message[part * BODY..][..BODY]);
            passive.handle(&[datagram], now);
        }
        assert!(passive.keys.is_none());
    }
}
