//! The DTLS handshake of a browser leg (RFC 5764, RFC 6347, RFC 9147), sans-IO around `dimpl`:
//! datagrams in, datagrams and SRTP keys out.
//!
//! The flow: [`Handshake::new`] when the leg is made (for the active role: when ICE has found the
//! browser), [`Handshake::expect`] as soon as the browser's fingerprints are known,
//! [`Handshake::handle_datagram`] for everything that the demultiplexer calls DTLS and whose source
//! passed an authenticated ICE check. Then [`Output::Connected`] brings the keys, once, and only
//! when the certificate matches. There is no cookie exchange, because ICE has proved the path
//! already. A handshake is kept until its leg ends: the other side may repeat its last flight, which
//! then gets its answer.
//!
//! Randomness for keys comes from the cryptographic library, not from our caller.

mod certificate;
mod failure;
mod keys;
#[cfg(test)]
mod tests;
mod verifier;

use std::fmt;
use std::time::{Duration, Instant};

use dimpl::{Dtls, Error, SrtpProfile, UnexpectedMessageError};

use crate::srtp::keys::Profile;
use crate::wire::sdp::{DtlsRole, Fingerprint};

use certificate::{CERTIFICATE_BYTES_MAX, is_expected};
pub use certificate::{Certificate, CertificateFault};
pub use failure::Failure;
use failure::{ALERT, alert_record};
pub use keys::Keys;

/// A handshake that takes longer has failed. It counts from the first datagram, or from the start
/// in the active role. Browsers give up ICE after about as long.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(15);
/// A flight is repeated after this time, then after twice as long each time. RFC 6347 §4.2.4.1 has
/// 1 s, for want of a round-trip time; here a check has just made the round trip.
pub const RETRANSMIT_FIRST: Duration = Duration::from_millis(100);
/// Larger datagrams are ignored: what the control protocol carries, and an Ethernet's most.
pub const DATAGRAM_BYTES_MAX: usize = 1_500;
/// The most datagrams that wait for a lost one before them. A browser's longest flight has five.
const DATAGRAMS_QUEUED_MAX: usize = 30;
/// How often a passive handshake that has not answered anything yet may start again after input
/// that its engine cannot survive, such as ten fragments that never make a ClientHello.
const RESTARTS_MAX: u8 = 4;

/// An idle engine names a timeout that is ten years away; ours is then none.
const IDLE_AFTER: Duration = Duration::from_secs(3_600);

/// One DTLS association, from the first ClientHello to its keys.
pub struct Handshake {
    role: DtlsRole,
    certificate: Certificate,
    expected: Option<Vec<Fingerprint>>,
    stage: Stage,
    /// `None` when it gave up.
    engine: Option<Dtls>,
    /// Whether the engine has sent anything.
    answered: bool,
    restarts_left: u8,
    /// Why it last started again.
    trouble: Option<Failure>,
    /// Tells the other side that it is over.
    alert: Option<Vec<u8>>,
    /// When the handshake has failed; `None` before it began.
    deadline: Option<Instant>,
    /// The engine's next timeout.
    retransmit: Option<Instant>,
    /// The engine's clock.
    now: Instant,
    /// Takes one output of the engine.
    buffer: Vec<u8>,
}

/// Where a handshake is, in protocol order.
enum Stage {
    /// Flights go back and forth; what came of them so far.
    Underway { peer: Option<Vec<u8>>, keys: Option<Keys> },
    /// Done, but for the certificate, which is not known to be right.
    Proven { peer: Vec<u8>, keys: Keys },
    /// The keys are out.
    Connected,
    /// The reason is still to be told.
    Failing(Failure),
    /// Everything is told.
    Failed,
}

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

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handshake({:?}, {})", self.role, self.stage.name())
    }
}

impl Stage {
    const BEGIN: Stage = Stage::Underway { peer: None, keys: None };

    const fn name(&self) -> &'static str {
        match self {
            Stage::Underway { .. } => "underway",
            Stage::Proven { .. } => "proven",
            Stage::Connected => "connected",
            Stage::Failing(_) => "failing",
            Stage::Failed => "failed",
        }
    }

    /// Whether [`HANDSHAKE_TIME_MAX`] still runs.
    const fn is_timed(&self) -> bool {
        matches!(self, Stage::Underway { .. } | Stage::Proven { .. })
    }
}

impl Handshake {
    /// A handshake that waits for the other side, or with [`DtlsRole::Active`] has its ClientHello
    /// ready at once.
    pub fn new(role: DtlsRole, certificate: &Certificate, now: Instant) -> Self {
        Self::with_engine(role, certificate, new_engine(role, certificate, now), now)
    }

    /// An active one that speaks DTLS 1.2 only.
    #[cfg(test)]
    pub(crate) fn active_in_dtls_12(certificate: &Certificate, now: Instant) -> Self {
        let Certificate { inner } = certificate;
        let mut engine = Dtls::new_12(inner.config.clone(), inner.pair.clone(), now);
        engine.set_active(true);
        Self::with_engine(DtlsRole::Active, certificate, engine, now)
    }

    fn with_engine(role: DtlsRole, certificate: &Certificate, engine: Dtls, now: Instant) -> Self {
        let mut handshake = Self {
            role,
            certificate: certificate.clone(),
            expected: None,
            stage: Stage::BEGIN,
            engine: Some(engine),
            answered: false,
            restarts_left: RESTARTS_MAX,
            trouble: None,
            alert: None,
            deadline: (role == DtlsRole::Active).then(|| now + HANDSHAKE_TIME_MAX),
            retransmit: None,
            now,
            buffer: vec![0; CERTIFICATE_BYTES_MAX],
        };
        handshake.drive(now, |_| Ok(()));
        handshake
    }

    /// What keeps it from being done, as far as that is known.
    pub fn trouble(&self) -> Option<&Failure> {
        self.trouble.as_ref()
    }

    /// Says which certificates are right. A ClientHello can beat the SDP answer, so this may come
    /// when the handshake is already over; the keys wait for it, in [`Handshake::poll_output`].
    pub fn expect(&mut self, fingerprints: &[Fingerprint]) {
        self.expected = Some(fingerprints.to_vec());
    }

    /// Takes a datagram from the browser. Garbage is ignored.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
        /// Content type of the records that carry a ClientHello (RFC 6347 §4.1).
        const HANDSHAKE: u8 = 22;
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return;
        }
        if self.role == DtlsRole::Passive && !self.answered {
            if datagram.first() != Some(&HANDSHAKE) {
                return;
            }
            self.deadline.get_or_insert(now + HANDSHAKE_TIME_MAX);
        }
        self.drive(now, |engine| engine.handle_packet(datagram));
    }

    /// The next thing to do. To be called until `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(datagram) = self.poll_engine() {
            return Some(Output::Send(datagram));
        }
        if let Stage::Proven { peer, .. } = &self.stage
            && let Some(expected) = &self.expected
        {
            if !is_expected(peer, expected) {
                // Sends close_notify, so that the browser need not wait for its own timeout.
                if let Some(engine) = &mut self.engine {
                    let _ = engine.close();
                }
                self.stage = Stage::Failing(Failure::FingerprintMismatch);
                return self.poll_output();
            }
            if let Stage::Proven { keys, .. } = std::mem::replace(&mut self.stage, Stage::Connected)
            {
                return Some(Output::Connected(keys));
            }
        }
        if let Stage::Failing(failure) = &self.stage {
            if let Some(alert) = self.alert.take() {
                return Some(Output::Send(alert));
            }
            let failure = failure.clone();
            self.trouble = Some(failure.clone());
            self.engine = None;
            self.stage = Stage::Failed;
            return Some(Output::Failed(failure));
        }
        None
    }

    /// When [`Handshake::handle_timeout`] wants to be called; exact once
    /// [`Handshake::poll_output`] has returned `None`.
    pub fn next_timeout(&self) -> Option<Instant> {
        let deadline = self.deadline.filter(|_| self.stage.is_timed());
        let retransmit = self.retransmit.filter(|_| self.engine.is_some());
        deadline.into_iter().chain(retransmit).min()
    }

    /// Repeats what was lost, or gives up.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.stage.is_timed() && self.deadline.is_some_and(|deadline| now >= deadline) {
            self.engine = None;
            self.stage = Stage::Failing(Failure::TimedOut);
            return;
        }
        self.drive(now, |_| Ok(()));
    }

    /// Sets the engine's clock, then gives it something to do.
    fn drive(&mut self, now: Instant, act: impl FnOnce(&mut Dtls) -> Result<(), Error>) {
        let Some(engine) = &mut self.engine else { return };
        self.now = now;
        if let Err(error) = engine.handle_timeout(now).and_then(|()| act(engine)) {
            self.survive(error);
        }
    }

    /// Any error is the end of the engine, with one exception, but not always ours.
    fn survive(&mut self, error: Error) {
        use UnexpectedMessageError::UnrecognizedAutoServerResponse;
        if error == Error::UnexpectedMessage(UnrecognizedAutoServerResponse) {
            // The exception: an active engine still waits for its first answer, and this was none.
            return;
        }
        let last_word = self.engine.take().and_then(|engine| self.alert_of(engine));
        if !matches!(self.stage, Stage::Underway { .. }) {
            return;
        }
        let failure = Failure::from(error);
        if self.role == DtlsRole::Passive && !self.answered && self.restarts_left > 0 {
            self.restarts_left -= 1;
            self.trouble = Some(failure);
            self.stage = Stage::BEGIN;
            self.engine = Some(new_engine(self.role, &self.certificate, self.now));
            self.drive(self.now, |_| Ok(()));
            return;
        }
        self.alert = last_word.or_else(|| failure.alert().map(alert_record));
        self.stage = Stage::Failing(failure);
    }

    /// The alert among the last datagrams of an engine that gave up.
    fn alert_of(&mut self, mut engine: Dtls) -> Option<Vec<u8>> {
        for _ in 0..DATAGRAMS_QUEUED_MAX {
            match engine.poll_output(&mut self.buffer) {
                dimpl::Output::Packet(datagram) if datagram.first() == Some(&ALERT) => {
                    return Some(datagram.to_vec());
                }
                dimpl::Output::Timeout(_) | dimpl::Output::BufferTooSmall { .. } => return None,
                _ => {}
            }
        }
        None
    }

    /// The engine's next datagram; its other outputs move the stage on.
    fn poll_engine(&mut self) -> Option<Vec<u8>> {
        let engine = self.engine.as_mut()?;
        let mut connected = false;
        let sent = loop {
            match (engine.poll_output(&mut self.buffer), &mut self.stage) {
                (dimpl::Output::Packet(datagram), _) => {
                    self.answered = true;
                    break Some(datagram.to_vec());
                }
                (dimpl::Output::Timeout(at), _) => {
                    self.retransmit = Some(at).filter(|at| *at < self.now + IDLE_AFTER);
                    break None;
                }
                (dimpl::Output::PeerCert(der), Stage::Underway { peer, .. }) => {
                    *peer = Some(der.to_vec());
                }
                (
                    dimpl::Output::KeyingMaterial(material, profile),
                    Stage::Underway { keys, .. },
                ) => {
                    *keys = profile_of(profile)
                        .and_then(|profile| Keys::from_exported(profile, self.role, &material));
                }
                (dimpl::Output::Connected, _) => connected = true,
                (dimpl::Output::BufferTooSmall { .. }, _) => break None,
                // Data channels are not ours, and the end of the association is told by SIP.
                _ => {}
            }
        };
        if connected && let Stage::Underway { peer, keys } = &mut self.stage {
            self.stage = match (peer.take(), keys.take()) {
                (Some(peer), Some(keys)) => {
                    // Only records follow, and the handshake stays as long as the call.
                    self.buffer = vec![0; DATAGRAM_BYTES_MAX];
                    Stage::Proven { peer, keys }
                }
                (None, _) => Stage::Failing(Failure::NoCertificate),
                (_, None) => Stage::Failing(Failure::NoSrtpProfile),
            };
        }
        sent
    }
}

/// The client's random in a datagram that begins with the beginning of a ClientHello: the same in each
/// repetition, and in nobody else's (RFC 6347 §4.2.1).
pub fn client_random_of(datagram: &[u8]) -> Option<[u8; 32]> {
    // Record and handshake headers (§4.1, §4.2.2), then the version.
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    const FRAGMENT_OFFSET: std::ops::Range<usize> = 19..22;
    const RANDOM: std::ops::Range<usize> = 27..59;
    let is_its_beginning = datagram.first() == Some(&HANDSHAKE)
        && datagram.get(13) == Some(&CLIENT_HELLO)
        && datagram.get(FRAGMENT_OFFSET) == Some(&[0; 3]);
    datagram.get(RANDOM).filter(|_| is_its_beginning)?.try_into().ok()
}

/// An engine for either version of the protocol; the active one has its ClientHello ready.
fn new_engine(role: DtlsRole, certificate: &Certificate, now: Instant) -> Dtls {
    let Certificate { inner } = certificate;
    let mut engine = Dtls::new_auto(inner.config.clone(), inner.pair.clone(), now);
    engine.set_active(role == DtlsRole::Active);
    engine
}

fn profile_of(profile: SrtpProfile) -> Option<Profile> {
    match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::AES_CM_128_HMAC_SHA1_80),
        SrtpProfile::AEAD_AES_128_GCM => Some(Profile::AEAD_AES_128_GCM),
        SrtpProfile::AEAD_AES_256_GCM => Some(Profile::AEAD_AES_256_GCM),
        _ => None,
    }
}
