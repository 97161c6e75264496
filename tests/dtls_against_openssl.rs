//! Our DTLS handshake against OpenSSL's, in both roles and every SRTP profile: the handshake
//! completes, the fingerprint matches, and OpenSSL exports the keys that we hand out.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a wrong number fails its test"
)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use linecard::dtls::{Certificate, Failure, Handshake, Keys, Output};
use linecard::srtp::keys::Profile;
use linecard::wire::sdp::{DtlsRole, Fingerprint};

/// Everything is over long before, also on a loaded machine.
const TIME_MAX: Duration = Duration::from_secs(20);

const PROFILES: [(Profile, &str); 3] = [
    (Profile::AES_CM_128_HMAC_SHA1_80, "SRTP_AES128_CM_SHA1_80"),
    (Profile::AEAD_AES_128_GCM, "SRTP_AEAD_AES_128_GCM"),
    (Profile::AEAD_AES_256_GCM, "SRTP_AEAD_AES_256_GCM"),
];

/// OpenSSL's certificate with its key.
struct Theirs {
    certificate: PathBuf,
    key: PathBuf,
    fingerprint: Fingerprint,
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Kinds of keys, as `openssl req -newkey` has them.
const P256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
const P521: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"];
const RSA_2048: &[&str] = &["rsa:2048"];
const RSA_4096: &[&str] = &["rsa:4096"];
const ED25519: &[&str] = &["ed25519"];

fn make_certificate(name: &str, key_kind: &[&str]) -> Theirs {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    let (certificate_text, key_text) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    openssl(
        &[
            &["req", "-x509", "-newkey"][..],
            key_kind,
            &[
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=peer",
                "-out",
                certificate_text,
                "-keyout",
                key_text,
            ],
        ]
        .concat(),
    );
    let printed = openssl(&["x509", "-in", certificate_text, "-noout", "-fingerprint", "-sha256"]);
    let digits = printed.trim().split_once('=').unwrap().1;
    let fingerprint = format!("sha-256 {digits}").parse().unwrap();
    Theirs { certificate, key, fingerprint }
}

/// A running OpenSSL; it ends with its owner.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Peer {
    fn start(role: &[&str], theirs: &Theirs, profile: Profile, name: &str) -> Self {
        let length = 2 * (profile.key_bytes() + profile.salt_bytes());
        let child = Command::new("timeout")
            .args([&TIME_MAX.as_secs().to_string(), "openssl"])
            .args(role)
            .args(["-dtls1_2", "-use_srtp", name, "-keymatexport", "EXTRACTOR-dtls_srtp"])
            .args(["-keymatexportlen", &length.to_string()])
            .arg("-cert")
            .arg(&theirs.certificate)
            .arg("-key")
            .arg(&theirs.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        Self(child)
    }

    /// Waits until it has given up by itself.
    fn give_up(mut self) {
        const TIMED_OUT: i32 = 124;
        let status = self.0.wait().unwrap();
        assert!(!status.success() && status.code() != Some(TIMED_OUT), "{status}");
    }

    /// Lets it end by itself, and returns the keying material that it printed.
    fn finish(mut self) -> Vec<u8> {
        // Standard input's end, and `Q`, are how s_client and s_server are told to go.
        let _ = self.0.stdin.take().map(|mut input| input.write_all(b"Q\n"));
        let mut printed = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        let hexadecimal = printed
            .split_once("Keying material: ")
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .unwrap_or_else(|| panic!("no keying material in {printed}"));
        (0..hexadecimal.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap())
            .collect()
    }
}

/// Runs our side over a real socket until the keys are there, or never will be.
fn run(mut handshake: Handshake, socket: &UdpSocket) -> Result<Keys, Failure> {
    let give_up = Instant::now() + TIME_MAX;
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut buffer = [0; 2_048];
    let mut keys = None;
    loop {
        while let Some(output) = handshake.poll_output() {
            match output {
                // Refused until OpenSSL's server listens; then it is sent again.
                Output::Send(datagram) => drop(socket.send(&datagram)),
                Output::Connected(agreed) => keys = Some(agreed),
                Output::Failed(failure) => return Err(failure),
            }
        }
        if let Some(keys) = keys {
            return Ok(keys);
        }
        assert!(Instant::now() < give_up, "{handshake:?} takes too long");
        let received = socket.peek_from(&mut buffer).ok().and_then(|(_, from)| {
            socket.connect(from).ok()?;
            socket.recv(&mut buffer).ok()
        });
        let now = Instant::now();
        match received {
            Some(length) => handshake.handle_datagram(&buffer[..length], now),
            None => handshake.handle_timeout(now),
        }
    }
}

fn assert_exported(role: DtlsRole, profile: Profile, keys: &Keys, exported: &[u8]) {
    assert_eq!(keys.profile, profile);
    let (key, salt) = (profile.key_bytes(), profile.salt_bytes());
    let (client, server) = match role {
        DtlsRole::Active => (&keys.send, &keys.receive),
        DtlsRole::Passive => (&keys.receive, &keys.send),
    };
    // RFC 5764 §4.2.
    let ours = [&client[..key], &server[..key], &client[key..], &server[key..]].concat();
    assert_eq!(ours.len(), 2 * (key + salt));
    assert_eq!(ours, exported);
}

/// OpenSSL's client against our passive side.
fn client(theirs: &Theirs, profile: Profile, name: &str) -> (Result<Keys, Failure>, Peer) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let ours = Certificate::generate().unwrap();
    let mut handshake = Handshake::new(DtlsRole::Passive, &ours, Instant::now());
    handshake.expect(std::slice::from_ref(&theirs.fingerprint));
    let peer = Peer::start(&["s_client", "-connect", &address], theirs, profile, name);
    (run(handshake, &socket), peer)
}

/// OpenSSL's server against our active side.
fn server(theirs: &Theirs, profile: Profile, name: &str) -> (Result<Keys, Failure>, Peer) {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let peer = Peer::start(
        &["s_server", "-port", &port.to_string(), "-4", "-Verify", "1", "-naccept", "1"],
        theirs,
        profile,
        name,
    );
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    let ours = Certificate::generate().unwrap();
    let mut handshake = Handshake::new(DtlsRole::Active, &ours, Instant::now());
    handshake.expect(std::slice::from_ref(&theirs.fingerprint));
    (run(handshake, &socket), peer)
}

#[test]
fn a_passive_handshake_agrees_with_openssls_client() {
    let theirs = make_certificate("dtls-client", P256);
    for (profile, name) in PROFILES {
        let (keys, peer) = client(&theirs, profile, name);
        assert_exported(DtlsRole::Passive, profile, &keys.unwrap(), &peer.finish());
    }
}

#[test]
fn an_active_handshake_agrees_with_openssls_server() {
    let theirs = make_certificate("dtls-server", P256);
    for (profile, name) in PROFILES {
        let (keys, peer) = server(&theirs, profile, name);
        assert_exported(DtlsRole::Active, profile, &keys.unwrap(), &peer.finish());
    }
}

/// Long before a handshake would time out.
const AT_ONCE: Duration = Duration::from_secs(8);

#[test]
fn openssls_client_connects_with_any_ecdsa_key() {
    let (profile, name) = PROFILES[1];
    for (directory, kind) in [("client-p384", P384), ("client-p521", P521)] {
        let theirs = make_certificate(directory, kind);
        let (keys, peer) = client(&theirs, profile, name);
        let keys = keys.unwrap_or_else(|failure| panic!("{kind:?}: {failure}"));
        assert_exported(DtlsRole::Passive, profile, &keys, &peer.finish());
    }
}

#[test]
fn a_client_without_an_ecdsa_key_is_told_at_once_and_the_reason_is_known() {
    let (profile, name) = PROFILES[0];
    for (directory, kind) in
        [("client-rsa-2048", RSA_2048), ("client-rsa-4096", RSA_4096), ("client-ed25519", ED25519)]
    {
        let theirs = make_certificate(directory, kind);
        let began = Instant::now();
        let (keys, peer) = client(&theirs, profile, name);
        assert_eq!(keys.err(), Some(Failure::NoCertificate), "{kind:?}");
        peer.give_up();
        assert!(began.elapsed() < AT_ONCE, "{kind:?}");
    }
}

#[test]
fn a_server_with_a_key_that_we_do_not_offer_to_verify_says_so_at_once() {
    const HANDSHAKE_FAILURE: u8 = 40;
    let (profile, name) = PROFILES[1];
    let theirs = make_certificate("server-p384", P384);
    let (keys, peer) = server(&theirs, profile, name);
    assert_exported(DtlsRole::Active, profile, &keys.unwrap(), &peer.finish());
    for (directory, kind) in [
        ("server-rsa-2048", RSA_2048),
        ("server-rsa-4096", RSA_4096),
        ("server-p521", P521),
        ("server-ed25519", ED25519),
    ] {
        let theirs = make_certificate(directory, kind);
        let began = Instant::now();
        let (keys, _peer) = server(&theirs, profile, name);
        assert_eq!(keys.err(), Some(Failure::Alert(HANDSHAKE_FAILURE)), "{kind:?}");
        assert!(began.elapsed() < AT_ONCE, "{kind:?}");
    }
}
