//! Any datagram to a DTLS handshake in either role, twice: it never panics and never ends in keys,
//! and once its timers have run it asks for nothing more.

use std::sync::LazyLock;
use std::time::Instant;

use linecard::dtls::{Certificate, Handshake, Output};
use linecard::wire::sdp::DtlsRole;

/// A handshake repeats its flight a few times; more means that it never gives up.
const TIMEOUTS_MAX: usize = 1_000;

static CERTIFICATE: LazyLock<Certificate> =
    LazyLock::new(|| Certificate::generate().expect("the system has randomness"));

/// One input.
pub fn run(datagram: &[u8]) {
    for role in [DtlsRole::Passive, DtlsRole::Active] {
        let mut now = Instant::now();
        let mut handshake = Handshake::new(role, &CERTIFICATE, now);
        handshake.expect(std::slice::from_ref(CERTIFICATE.fingerprint()));
        for _ in 0..2 {
            handshake.handle_datagram(datagram, now);
            drain(&mut handshake);
        }
        for _ in 0..TIMEOUTS_MAX {
            let Some(due) = handshake.next_timeout() else { break };
            now = now.max(due);
            handshake.handle_timeout(now);
            drain(&mut handshake);
        }
        assert_eq!(handshake.next_timeout(), None, "the handshake never gives up");
    }
}

fn drain(handshake: &mut Handshake) {
    while let Some(output) = handshake.poll_output() {
        assert!(!matches!(output, Output::Connected(_)), "keys without a handshake");
    }
}
