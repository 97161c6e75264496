//! Our DTLS handshake against OpenSSL's, in both roles and every SRTP profile: the handshake
//! completes, the fingerprint matches, and OpenSSL exports the keys that we hand out.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use linecard::dtls::{Certificate, Handshake, Keys, Output};
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

fn make_certificate(name: &str) -> Theirs {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    let (certificate_text, key_text) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    openssl(
        &[
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"][..],
            &["-days", "2", "-subj", "/CN=peer", "-out", certificate_text, "-keyout", key_text],
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

/// Runs our side over a real socket until the keys are there.
fn run(mut handshake: Handshake, socket: &UdpSocket) -> Keys {
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
                Output::Failed(failure) => panic!("{failure}"),
            }
        }
        if let Some(keys) = keys {
            return keys;
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

#[test]
fn a_passive_handshake_agrees_with_openssls_client() {
    let theirs = make_certificate("dtls-client");
    for (profile, name) in PROFILES {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let ours = Certificate::generate().unwrap();
        let mut handshake = Handshake::new(DtlsRole::Passive, &ours, Instant::now());
        handshake.expect(std::slice::from_ref(&theirs.fingerprint));
        let peer = Peer::start(&["s_client", "-connect", &address], &theirs, profile, name);
        let keys = run(handshake, &socket);
        assert_exported(DtlsRole::Passive, profile, &keys, &peer.finish());
    }
}

#[test]
fn an_active_handshake_agrees_with_openssls_server() {
    let theirs = make_certificate("dtls-server");
    for (profile, name) in PROFILES {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let peer = Peer::start(
            &["s_server", "-port", &port.to_string(), "-4", "-Verify", "1", "-naccept", "1"],
            &theirs,
            profile,
            name,
        );
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        let ours = Certificate::generate().unwrap();
        let mut handshake = Handshake::new(DtlsRole::Active, &ours, Instant::now());
        handshake.expect(std::slice::from_ref(&theirs.fingerprint));
        let keys = run(handshake, &socket);
        assert_exported(DtlsRole::Active, profile, &keys, &peer.finish());
    }
}
