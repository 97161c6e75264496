//! A leg's protection: plain, waiting for keys, or SRTP with both directions' contexts.

use crate::base::discard::Discard;
use crate::control::message::{
    ControlError, ErrorCode, LegSnapshot, RTCP_INDEXES_LEFT_OUT, RTP_INDEXES_LEFT_OUT, RtcpIndex,
    RtpIndex, Security, SourceSnapshot, SrtpKeys,
};
use crate::srtp::index::PacketIndex;
use crate::srtp::keys::MasterKey;
use crate::srtp::protect::{Receiver, Sender};
use crate::srtp::snapshot::{
    Margin, ReceiverSnapshot, SenderSnapshot, SourceSnapshot as ProtectedSource,
};
use crate::wire::rtp::{RtpPacket, Ssrc};

/// What a resumed sender counts as used.
const LEFT_OUT: Margin = Margin { packets: RTP_INDEXES_LEFT_OUT, reports: RTCP_INDEXES_LEFT_OUT };
/// Above all indexes of SRTCP (RFC 3711 §3.4).
const RTCP_INDEXES: u32 = 1 << 31;
/// Where a snapshot says what was used.
const RTP_INDEX: &str = "resume.sent.rtp_index_next";
const RTCP_INDEX: &str = "resume.sent.rtcp_index_next";
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

    /// The contexts of a leg that goes on where a snapshot was taken: with all that its sender used or
    /// may have used since, and all that its receiver heard, closed. Only the security that the leg was
    /// under can take it up, or indexes would be used twice, or not be understood.
    pub fn resume(security: Security, resume: &LegSnapshot) -> Result<Self, ControlError> {
        let sent = &resume.sent;
        let refuse = |why| Err(ControlError::bad_argument(RTCP_INDEX, why));
        let (keys, rtcp_next) = match (security, sent.rtcp_index_next) {
            (Security::Srtp(keys), Some(rtcp_next)) => (keys, rtcp_next.value()),
            (Security::Srtp(_), None) => return refuse("missing: the leg was not under SRTP"),
            (_, Some(_)) => return refuse("the leg was under SRTP, and this one has no keys"),
            (Security::None, None) => return Ok(Self::Plain),
            (Security::Pending, None) => return Ok(Self::Pending),
        };
        if rtcp_next + u32::from(LEFT_OUT.reports) >= RTCP_INDEXES {
            return refuse("the keys have no index left");
        }
        let rtp_next = sent.rtp_index_next.value();
        let sender = SenderSnapshot { ssrc: sent.ssrc, rtp_next, rtcp_next };
        let sender = Sender::resume(&keys.send, &sender, LEFT_OUT)
            .map_err(|refused| ControlError::bad_argument(RTP_INDEX, refused))?;
        let sources = resume.received.iter().map(protected_source).collect();
        let receiver = Receiver::resume(&keys.receive, &ReceiverSnapshot { sources })
            .map_err(|refused| ControlError::bad_argument("resume.received", refused))?;
        Ok(Self::Srtp(Box::new(SrtpContext { sender, receiver, keys })))
    }

    /// What made it, without where it stands.
    pub fn parameters(&self) -> Security {
        match self {
            Self::Plain => Security::None,
            Self::Pending => Security::Pending,
            Self::Srtp(context) => Security::Srtp(context.keys.clone()),
        }
    }

    /// The lowest index of RTP that is above all used ones, if `next` is sent next. Past the last index
    /// it is that: nothing is left above it either.
    pub fn rtp_index_next(&self, next: PacketIndex) -> PacketIndex {
        match self.rtp_index_used() {
            Some(used) if used >= next => used.later(1).max(used),
            _ => next,
        }
    }

    /// The lowest index of SRTCP that is above all used ones.
    pub fn rtcp_index_next(&self) -> Option<RtcpIndex> {
        match self {
            Self::Srtp(context) => {
                RtcpIndex::new(context.sender.rtcp_index_next().min(RTCP_INDEXES - 1))
            }
            Self::Plain | Self::Pending => None,
        }
    }

    /// The sources received, with what may have been seen of them.
    pub fn sources(&self) -> Vec<SourceSnapshot> {
        match self {
            Self::Srtp(context) => {
                context.receiver.snapshot().sources.iter().map(source_snapshot).collect()
            }
            Self::Plain | Self::Pending => Vec::new(),
        }
    }

    /// Whether both send under one key.
    pub fn sends_under_key_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Srtp(one), Self::Srtp(other)) => one.keys.send == other.keys.send,
            _ => false,
        }
    }

    /// The highest index of RTP that was sent under the present key.
    pub fn rtp_index_used(&self) -> Option<PacketIndex> {
        match self {
            Self::Srtp(context) => context.sender.position(),
            Self::Plain | Self::Pending => None,
        }
    }

    /// Goes on with `security`, and says whether what is sent is protected in another way from now on. A
    /// key that was given before goes on where it was left, each direction by itself: a far end that
    /// changes its key does not change ours.
    pub fn replace(&mut self, security: Security, ssrc: Ssrc, retired: &mut Retired) -> bool {
        if self.is_of(&security) {
            return false;
        }
        let mut sent_with = None;
        if let Self::Srtp(context) = std::mem::replace(self, Self::Pending) {
            let SrtpContext { sender, receiver, keys } = *context;
            sent_with = Some(keys.send.clone());
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
        match self {
            Self::Srtp(context) => sent_with.as_ref() != Some(&context.keys.send),
            Self::Plain | Self::Pending => true,
        }
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

    /// Authenticates and decrypts an RTP packet in place, and parses it.
    #[inline]
    pub fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<RtpPacket<'a>, Discard> {
        match self {
            Self::Plain => RtpPacket::parse(packet),
            Self::Pending => Err(Discard::NotReady),
            Self::Srtp(context) => context.receiver.unprotect_and_parse(packet),
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

    /// Encrypts and signs the packet in the first `length` bytes of `buffer`, which has this index;
    /// returns the length with the tag.
    #[inline]
    pub fn seal(
        &mut self,
        index: PacketIndex,
        buffer: &mut [u8],
        length: usize,
    ) -> Result<usize, Discard> {
        match self {
            Self::Plain => Ok(length),
            Self::Pending => Err(Discard::NoDestination),
            Self::Srtp(context) => context.sender.protect_at(index, buffer, length),
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

fn protected_source(source: &SourceSnapshot) -> ProtectedSource {
    let SourceSnapshot { ssrc, rtp_index, rtcp_index } = *source;
    let rtp_highest = rtp_index.map(PacketIndex::from);
    ProtectedSource { ssrc, rtp_highest, rtcp_highest: rtcp_index.map(RtcpIndex::value) }
}

fn source_snapshot(source: &ProtectedSource) -> SourceSnapshot {
    let ProtectedSource { ssrc, rtp_highest, rtcp_highest } = *source;
    let rtp_index = rtp_highest.map(RtpIndex::from);
    SourceSnapshot { ssrc, rtp_index, rtcp_index: rtcp_highest.and_then(RtcpIndex::new) }
}
