//! A leg's protection: plain, waiting for keys, or SRTP with both directions' contexts.

use crate::base::discard::Discard;
use crate::control::message::{Security, SrtpKeys};
use crate::srtp::index::PacketIndex;
use crate::srtp::protect::{Receiver, Sender};
use crate::wire::rtp::Ssrc;

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

    /// Goes on with `security`. The same keys change nothing: a context made anew would start its
    /// indexes over and use one twice (RFC 3711 §9.1).
    pub fn replace(&mut self, security: Security, ssrc: Ssrc) {
        let unchanged = match (&*self, &security) {
            (Self::Srtp(context), Security::Srtp(keys)) => context.keys == *keys,
            _ => false,
        };
        if !unchanged {
            *self = Self::new(security, ssrc);
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
