//! The DTLS handshake of a browser leg (RFC 5764, RFC 6347, RFC 9147), sans-IO around `dimpl`:
//! datagrams in, datagrams and SRTP keys out.
//!
//! The flow: [`Handshake::new`] when the leg is made, [`Handshake::expect`] as soon as the browser's
//! fingerprints are known, [`Handshake::handle_datagram`] for everything that the demultiplexer
//! calls DTLS and whose source passed an authenticated ICE check. Then [`Output::Connected`] brings
//! the keys, once, and only when the certificate matches. There is no cookie exchange, because ICE
//! has proved the path already. A handshake is kept until its leg ends: the other side may repeat
//! its last flight, which then gets its answer.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::srtp::keys::Profile;
use crate::wire::sdp::{DtlsRole, Fingerprint};

/// A handshake that takes longer has failed. Browsers give up ICE after about as long.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(15);

/// A self-signed certificate with its key, to be used for many handshakes; browsers know it by its
/// fingerprint alone.
#[derive(Clone)]
pub struct Certificate {
    fingerprint: Fingerprint,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({})", self.fingerprint)
    }
}

impl Certificate {
    /// A new one: ECDSA on P-256. Takes about 75 µs.
    pub fn generate() -> Result<Self, CertificateFault> {
        unimplemented!()
    }

    /// Its SHA-256 fingerprint, for SDP.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

/// The certificate could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFault(pub String);

/// One DTLS association, from the first ClientHello to its keys.
pub struct Handshake {}

/// What a handshake wants done.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram to the browser. At most 1,200 bytes.
    Send(Vec<u8>),
    /// Both sides are who they said they are. Comes once.
    Connected(Keys),
    /// It is over, and no keys ever come. Comes once, and nothing after it.
    Failed(Failure),
}

/// SRTP master keys that a handshake agreed on (RFC 5764 §4.2), each key followed by its salt.
pub struct Keys {
    /// Protection profile.
    pub profile: Profile,
    /// Protects what we send.
    pub send: Zeroizing<Vec<u8>>,
    /// Protects what the browser sends.
    pub receive: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({:?}, …)", self.profile)
    }
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The certificate is not the one whose fingerprint the SDP gave (RFC 8122 §6.2).
    FingerprintMismatch,
    /// Not done within [`HANDSHAKE_TIME_MAX`].
    TimedOut,
    /// The other side ended the association.
    Closed,
    /// The two sides have no SRTP profile in common.
    NoSrtpProfile,
    /// The protocol engine gave up; the text is for the log.
    Protocol(String),
}

impl Handshake {
    /// A handshake that waits for the other side, or with [`DtlsRole::Active`] has its ClientHello
    /// ready at once.
    pub fn new(_role: DtlsRole, _certificate: &Certificate, _now: Instant) -> Self {
        unimplemented!()
    }

    /// Says which certificate is right. A ClientHello can beat the SDP answer, so this may come
    /// when the handshake is already over; the keys wait for it.
    pub fn expect(&mut self, _fingerprints: &[Fingerprint]) {
        unimplemented!()
    }

    /// Takes a datagram from the browser. Garbage is ignored.
    pub fn handle_datagram(&mut self, _datagram: &[u8], _now: Instant) {
        unimplemented!()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        unimplemented!()
    }

    /// When [`Handshake::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// Repeats what was lost, or gives up.
    pub fn handle_timeout(&mut self, _now: Instant) {
        unimplemented!()
    }
}
