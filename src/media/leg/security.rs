//! A leg's protection: plain, waiting for keys, or SRTP with both directions' contexts.

use crate::base::discard::Discard;
use crate::control::message::{ControlError, ErrorCode, Security, SrtpKeys};
use crate::srtp::index::PacketIndex;
use crate::srtp::keys::MasterKey;
use crate::srtp::protect::{Receiver, Sender};
use crate::wire::rtp::Ssrc;

/// Keys of a leg's life that are remembered in each direction once they are out of use. Forgetting one
/// would let its indexes be used twice, so one more is refused; a leg that re-keys every half hour lives
/// for a day and more.
const RETIRED_MAX: usize = 64;

/// How a leg's packets are opened and sealed.
#[derive(Debug)]
pub enum SecurityContext {
    /// Plain RTP and RTCP.
    Plain,
    /// Keys are still to come: nothing passes.
    Pending,
    /// SRTP and SRTCP.
    Srtp(Box<SrtpContext>),
}

/// Both directions of an SRTP leg.
#[derive(Debug)]
pub struct SrtpContext {
    sender: Sender,
    receiver: Receiver,
    keys: SrtpKeys,
}

/// Contexts of keys that are out of use. Whoever gives such a key again goes on where it was left: made
/// anew, a context would use an index of that key twice (RFC 3711 §9.1), or take one twice.
#[derive(Debug, Default)]
pub struct Retired {
    senders: Vec<(MasterKey, Sender)>,
    receivers: Vec<(MasterKey, Receiver)>,
}

impl Retired {
    /// Whether [`SecurityContext::replace`] can follow.
    pub fn check(
        &self,
        present: &SecurityContext,
        security: &Security,
    ) -> Result<(), ControlError> {
        let is_full = self.senders.len() >= RETIRED_MAX || self.receivers.len() >= RETIRED_MAX;
        if is_full && !present.is_of(security) {
            let message =
                format!("security: a leg has at most {RETIRED_MAX} keys; replace the leg");
            return Err(ControlError::new(ErrorCode::Unsupported, message));
        }
        Ok(())
    }
}

fn revived<T>(retired: &mut Vec<(MasterKey, T)>, key: &MasterKey) -> Option<T> {
    let place = retired.iter().position(|(known, _)| known == key)?;
    Some(retired.swap_remove(place).1)
}

impl SecurityContext {
    /// Makes the contexts for a leg that sends as `ssrc`: derives the session keys.
    pub fn new(security: Security, ssrc: Ssrc) -> Self {
        match security {
            Security::None => Self::Plain,
            Security::Pending => Self::Pending,
            Security::Srtp(keys) => Self::Srtp(Box::new(SrtpContext {
                sender: Sender::new(&keys.send, ssrc),
                receiver: Receiver::new(&keys.receive),
                keys,
            })),
        }
    }

    /// Goes on with `security`. A key that was given before goes on where it was left, each direction by
    /// itself: a far end that changes its key does not change ours.
    pub fn replace(&mut self, security: Security, ssrc: Ssrc, retired: &mut Retired) {
        if self.is_of(&security) {
            return;
        }
        if let Self::Srtp(context) = std::mem::replace(self, Self::Pending) {
            let SrtpContext { sender, receiver, keys } = *context;
            retired.senders.push((keys.send, sender));
            retired.receivers.push((keys.receive, receiver));
        }
        *self = match security {
            Security::Srtp(keys) => Self::Srtp(Box::new(SrtpContext {
                sender: revived(&mut retired.senders, &keys.send)
                    .unwrap_or_else(|| Sender::new(&keys.send, ssrc)),
                receiver: revived(&mut retired.receivers, &keys.receive)
                    .unwrap_or_else(|| Receiver::new(&keys.receive)),
                keys,
            })),
            other => Self::new(other, ssrc),
        };
    }

    fn is_of(&self, security: &Security) -> bool {
        match (self, security) {
            (Self::Srtp(context), Security::Srtp(keys)) => context.keys == *keys,
            (Self::Plain, Security::None) | (Self::Pending, Security::Pending) => true,
            _ => false,
        }
    }

    /// Whether a good tag proves who sent a packet.
    pub fn is_protected(&self) -> bool {
        matches!(self, Self::Srtp(_))
    }

    /// The highest index received of a source, where there are indexes.
    pub fn received(&self, ssrc: Ssrc) -> Option<PacketIndex> {
        match self {
            Self::Srtp(context) => context.receiver.position(ssrc),
            Self::Plain | Self::Pending => None,
        }
    }

    /// Whether packets can pass.
    pub fn is_ready(&self) -> bool {
        !matches!(self, Self::Pending)
    }

    /// Authenticates and decrypts an RTP packet in place; returns its length without the tag.
    #[inline]
    pub fn open(&mut self, packet: &mut [u8]) -> Result<usize, Discard> {
        match self {
            Self::Plain => Ok(packet.len()),
            Self::Pending => Err(Discard::NotReady),
            Self::Srtp(context) => context.receiver.unprotect(packet),
        }
    }

    /// The same for RTCP.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Discard> {
        match self {
            Self::Plain => Ok(packet.len()),
            Self::Pending => Err(Discard::NotReady),
            Self::Srtp(context) => context.receiver.unprotect_rtcp(packet),
        }
    }

    /// Encrypts and signs the first `length` bytes of `buffer`; returns the length with the tag.
    #[inline]
    pub fn seal(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Discard> {
        match self {
            Self::Plain => Ok(length),
            Self::Pending => Err(Discard::NoDestination),
            Self::Srtp(context) => context.sender.protect(buffer, length),
        }
    }

    /// The same for RTCP.
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Discard> {
        match self {
            Self::Plain => Ok(length),
            Self::Pending => Err(Discard::NoDestination),
            Self::Srtp(context) => context.sender.protect_rtcp(buffer, length),
        }
    }
}
