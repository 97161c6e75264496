//! A probe: a Binding request of ours, sent a few times, to learn whether the other side is at an
//! address. A full agent answers it as any check (RFC 8445 §7.3), keyed with its own password, which
//! nobody can do who only sends its checks again from somewhere else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::base::secret::Secret;
use crate::wire::stun::{
    BindingRequest, Class, Message, Role, TransactionId, write_binding_request,
};

/// Between two repetitions, and after the last one for the answer: longer than a round trip across the
/// world.
const INTERVAL: Duration = Duration::from_millis(400);
/// The longest probe: the longest USERNAME of legal fragments, and four short attributes.
const BYTES_MAX: usize = 640;

/// Who is asked, and in whose name.
pub(super) struct Asked {
    /// `their fragment:ours`.
    pub(super) username: String,
    /// Theirs.
    pub(super) password: Secret,
}

/// One probe.
#[derive(Debug)]
pub(super) struct Probe {
    /// Where it goes.
    pub(super) to: SocketAddr,
    /// The same in each repetition (RFC 8489 §6.2.1).
    transaction_id: TransactionId,
    /// How often it is still to be sent.
    left: u8,
    due: Instant,
}

impl Probe {
    /// A probe that is due at once, and is sent so many times.
    pub(super) fn new(
        to: SocketAddr,
        times: u8,
        transaction_id: TransactionId,
        now: Instant,
    ) -> Self {
        Self { to, transaction_id, left: times, due: now }
    }

    /// When [`Self::send`] has work, or the time for an answer is over.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether all were sent and the time for an answer is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.left == 0 && self.due <= now
    }

    /// The datagram that is due, if one is.
    pub(super) fn send(&mut self, asked: &Asked, now: Instant) -> Option<Vec<u8>> {
        if self.due > now || self.left == 0 {
            return None;
        }
        self.left -= 1;
        self.due = now + INTERVAL;
        // Ours never nominates, and has the lowest priority (RFC 8445 §5.1.2).
        let request = BindingRequest {
            transaction_id: self.transaction_id,
            username: &asked.username,
            priority: 1,
            role: Role::Controlled(0),
            use_candidate: false,
        };
        let mut datagram = [0; BYTES_MAX];
        let key = asked.password.expose().as_bytes();
        let length = write_binding_request(&mut datagram, &request, key)?;
        Some(datagram[..length].to_vec())
    }

    /// Whether this is the answer of whom was asked. A refusal is one, too: they are there.
    pub(super) fn is_answered_by(
        &self,
        message: &Message<'_>,
        from: SocketAddr,
        password: &Secret,
    ) -> bool {
        matches!(message.class, Class::Success | Class::Error)
            && message.transaction_id == self.transaction_id
            && from == self.to
            && message.verify_integrity(password.expose().as_bytes()).is_ok()
    }
}
