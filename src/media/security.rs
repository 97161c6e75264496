//! A leg's protection: plain, waiting for keys, or SRTP with both directions' contexts.

use crate::base::discard::Discard;
use crate::control::message::Security;
use crate::srtp::keys::MasterKey;
use crate::srtp::protect::{Receiver, Sender};
use crate::wire::rtp::Ssrc;

/// How a leg's packets are opened and sealed.
pub enum SecurityContext {
    /// Plain RTP and RTCP.
    Plain,
    /// Keys are still to come: nothing passes.
    Pending,
    /// SRTP and SRTCP.
    Srtp(Box<SrtpContext>),
}

/// Both directions of an SRTP leg.
pub struct SrtpContext {
    sender: Sender,
    receiver: Receiver,
    send: MasterKey,
    receive: MasterKey,
}

/// A leg's protection as the controller gave it, checked.
#[derive(Clone)]
pub enum Keys {
    /// Plain RTP and RTCP.
    Plain,
    /// Still to come.
    Pending,
    /// Of both directions.
    Srtp {
        /// Keys what is sent.
        send: MasterKey,
        /// Keys what is received.
        receive: MasterKey,
    },
}

impl Keys {
    /// The controller's, as the thread takes them.
    pub fn new(security: Security) -> Self {
        match security {
            Security::None => Self::Plain,
            Security::Pending => Self::Pending,
            Security::Srtp(keys) => Self::Srtp { send: keys.send, receive: keys.receive },
        }
    }
}

impl SecurityContext {
    /// Makes the contexts for a leg that sends as `ssrc`: derives the session keys.
    pub fn new(keys: Keys, ssrc: Ssrc) -> Self {
        match keys {
            Keys::Plain => Self::Plain,
            Keys::Pending => Self::Pending,
            Keys::Srtp { send, receive } => Self::Srtp(Box::new(SrtpContext {
                sender: Sender::new(&send, ssrc),
                receiver: Receiver::new(&receive),
                send,
                receive,
            })),
        }
    }

    /// Goes on with `keys`. The same keys change nothing: a context made anew would start its
    /// indexes over and use one twice (RFC 3711 §9.1).
    pub fn replace(&mut self, keys: Keys, ssrc: Ssrc) {
        let unchanged = match (&*self, &keys) {
            (Self::Srtp(context), Keys::Srtp { send, receive }) => {
                context.send == *send && context.receive == *receive
            }
            _ => false,
        };
        if !unchanged {
            *self = Self::new(keys, ssrc);
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
