//! Protecting what we send and unprotecting what we receive (RFC 3711 §3.3, §3.4).
//!
//! A [`Sender`] carries one SSRC, a [`Receiver`] the few that a far end uses during the life of a
//! key. Both refuse to use an index twice. They report positions, the index of the last packet, so
//! that a stream can be described to somebody else.

use super::index::PacketIndex;
use super::keys::{Labels, MasterKey, Profile};
use super::replay::ReplayWindow;
use super::transform::{ENCRYPTED_FLAG, RTCP_HEADER_BYTES, RTCP_INDEX_BYTES, Transform};
use crate::base::discard::Discard;
use crate::wire::rtp::{RtpHeader, SequenceNumber, Ssrc, header_length};

/// Bytes that protection adds to RTP at most; RTCP grows by these and its index.
pub const RTP_GROWTH_BYTES_MAX: usize = 16;
/// Bytes that protection adds to RTCP at most.
pub const RTCP_GROWTH_BYTES_MAX: usize = RTP_GROWTH_BYTES_MAX + RTCP_INDEX_BYTES;
/// Sources of one receiver that keep a replay window. A browser or trunk sends one; others appear
/// when the far end moves the call to another of its machines.
pub const ACTIVE_SOURCES_MAX: usize = 4;
/// Sources that one receiver may see in the life of its key. Forgetting one would let its packets
/// be replayed, so one more is refused.
pub const SOURCES_MAX: usize = 32;

/// SRTCP indexes end at 31 bits (RFC 3711 §3.4).
const RTCP_INDEX_MAX: u32 = ENCRYPTED_FLAG - 1;

/// Both transforms of one direction.
struct Transforms {
    profile: Profile,
    rtp: Transform,
    rtcp: Transform,
}

impl Transforms {
    fn new(master: &MasterKey) -> Self {
        Self {
            profile: master.profile(),
            rtp: Transform::new(master, Labels::SRTP),
            rtcp: Transform::new(master, Labels::SRTCP),
        }
    }
}

/// Protects one SSRC's packets. Start its sequence numbers below 2^15: then a receiver that misses
/// the first packets cannot take the first wrap for none (RFC 3711 §3.3.1).
pub struct Sender {
    transforms: Transforms,
    ssrc: Ssrc,
    sent: Option<ReplayWindow>,
    rtcp_index_next: u32,
}

impl Sender {
    /// A sender that has sent nothing yet.
    pub fn new(master: &MasterKey, ssrc: Ssrc) -> Self {
        Self { transforms: Transforms::new(master), ssrc, sent: None, rtcp_index_next: 0 }
    }

    /// Protects the RTP packet in `buffer[..length]` in place and returns its new length.
    ///
    /// Sequence numbers may arrive out of order, as far back as the replay window reaches; one that
    /// was used already is [`Discard::Replayed`], because a second packet under the same index would
    /// reveal both. No room for the tag: [`Discard::TooLarge`]. Not RTP, or another SSRC:
    /// [`Discard::BadRtp`].
    #[inline]
    pub fn protect(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Discard> {
        let packet = buffer.get(..length).ok_or(Discard::TooLarge)?;
        let (header, header_bytes) = header_of(packet)?;
        if header.ssrc != self.ssrc {
            return Err(Discard::BadRtp);
        }
        let index = estimate(self.sent.as_ref(), header.sequence_number)?;
        let protected_bytes = length + self.transforms.profile.tag_bytes();
        let protected = buffer.get_mut(..protected_bytes).ok_or(Discard::TooLarge)?;
        self.transforms.rtp.seal_rtp(protected, header_bytes, self.ssrc, index)?;
        accept(&mut self.sent, index.value());
        Ok(protected_bytes)
    }

    /// Protects the RTCP compound in `buffer[..length]` in place and returns its new length. The
    /// compound's first SSRC must be the sender's.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Discard> {
        if rtcp_source(buffer.get(..length).ok_or(Discard::TooLarge)?)? != self.ssrc {
            return Err(Discard::BadRtcp);
        }
        let index = self.rtcp_index_next;
        if index > RTCP_INDEX_MAX {
            return Err(Discard::Replayed);
        }
        let protected_bytes = length + RTCP_INDEX_BYTES + self.transforms.profile.tag_bytes();
        let protected = buffer.get_mut(..protected_bytes).ok_or(Discard::TooLarge)?;
        self.transforms.rtcp.seal_rtcp(protected, self.ssrc, index)?;
        self.rtcp_index_next += 1;
        Ok(protected_bytes)
    }

    /// The source that is protected.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The highest index sent.
    pub fn position(&self) -> Option<PacketIndex> {
        self.sent.as_ref().map(position)
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sender({:?}, {:?}, {:?})", self.transforms.profile, self.ssrc, self.position())
    }
}

/// Unprotects what a far end sends under one key.
pub struct Receiver {
    transforms: Transforms,
    /// Most recently used first.
    active: [Option<Source>; ACTIVE_SOURCES_MAX],
    retired: [Option<Retired>; SOURCES_MAX - ACTIVE_SOURCES_MAX],
}

/// A source with its replay windows; `None` where no packet of that kind came yet.
#[derive(Clone, Copy)]
struct Source {
    ssrc: Ssrc,
    rtp: Option<ReplayWindow>,
    rtcp: Option<ReplayWindow>,
}

/// What remains of a source when others took its place: everything up to these indexes counts as
/// seen, so a replayed packet cannot bring the source back.
#[derive(Clone, Copy)]
struct Retired {
    ssrc: Ssrc,
    rtp_highest: Option<u64>,
    rtcp_highest: Option<u32>,
}

impl Receiver {
    /// A receiver that has received nothing yet.
    pub fn new(master: &MasterKey) -> Self {
        Self {
            transforms: Transforms::new(master),
            active: [None; ACTIVE_SOURCES_MAX],
            retired: [None; SOURCES_MAX - ACTIVE_SOURCES_MAX],
        }
    }

    /// Verifies and decrypts the SRTP packet that fills `packet`, in place, and returns the length
    /// of the RTP packet. Nothing changes unless it returns `Ok`; on error the bytes may be spoilt.
    ///
    /// The first packet of a source counts as its round 0 (RFC 3711 §3.3.1).
    #[inline]
    pub fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, Discard> {
        let (header, header_bytes) = header_of(packet)?;
        let tag_bytes = self.transforms.profile.tag_bytes();
        let length = packet.len().checked_sub(tag_bytes).ok_or(Discard::BadSrtp)?;
        if length < header_bytes {
            return Err(Discard::BadSrtp);
        }
        let mut source = self.source(header.ssrc)?;
        let index = estimate(source.rtp.as_ref(), header.sequence_number)?;
        self.transforms.rtp.open_rtp(packet, header_bytes, header.ssrc, index)?;
        accept(&mut source.rtp, index.value());
        self.keep(source);
        Ok(length)
    }

    /// Verifies and decrypts the SRTCP packet that fills `packet`, in place, and returns the length
    /// of the RTCP compound. Nothing changes unless it returns `Ok`. A compound that was not
    /// encrypted is refused: no profile here leaves RTCP in the clear.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Discard> {
        let tag_bytes = self.transforms.profile.tag_bytes();
        let length =
            packet.len().checked_sub(tag_bytes + RTCP_INDEX_BYTES).ok_or(Discard::BadSrtp)?;
        if length < RTCP_HEADER_BYTES {
            return Err(Discard::BadSrtp);
        }
        let ssrc = rtcp_source(packet)?;
        let word = self.rtcp_index_word(packet)?;
        if word & ENCRYPTED_FLAG == 0 {
            return Err(Discard::BadSrtp);
        }
        let index = word & RTCP_INDEX_MAX;
        let mut source = self.source(ssrc)?;
        if let Some(window) = &source.rtcp {
            window.check(u64::from(index))?;
        }
        self.transforms.rtcp.open_rtcp(packet, ssrc, index)?;
        accept(&mut source.rtcp, u64::from(index));
        self.keep(source);
        Ok(length)
    }

    /// The highest index received from `ssrc`, while it is among the sources in use.
    pub fn position(&self, ssrc: Ssrc) -> Option<PacketIndex> {
        let source = self.active.iter().flatten().find(|source| source.ssrc == ssrc)?;
        source.rtp.as_ref().map(position)
    }

    /// AES-CM puts the index before the tag, GCM after it (RFC 3711 §3.4, RFC 7714 §9.3).
    fn rtcp_index_word(&self, packet: &[u8]) -> Result<u32, Discard> {
        let after = match self.transforms.profile {
            Profile::AES_CM_128_HMAC_SHA1_80 => self.transforms.profile.tag_bytes(),
            Profile::AEAD_AES_128_GCM | Profile::AEAD_AES_256_GCM => 0,
        };
        let before = packet.len().checked_sub(after).and_then(|end| packet.get(..end));
        let word = before.and_then(|bytes| bytes.last_chunk()).ok_or(Discard::BadSrtp)?;
        Ok(u32::from_be_bytes(*word))
    }

    /// The source's state, or the state it would start with. [`Discard::UnknownSource`] when it
    /// would be one too many.
    #[inline]
    fn source(&self, ssrc: Ssrc) -> Result<Source, Discard> {
        if let Some(source) = self.active.iter().flatten().find(|source| source.ssrc == ssrc) {
            return Ok(*source);
        }
        if let Some(retired) = self.retired.iter().flatten().find(|retired| retired.ssrc == ssrc) {
            return Ok(retired.revived());
        }
        let full =
            self.active.iter().all(Option::is_some) && self.retired.iter().all(Option::is_some);
        if full {
            return Err(Discard::UnknownSource);
        }
        Ok(Source { ssrc, rtp: None, rtcp: None })
    }

    /// Puts a source whose tag was good in front; the one used longest ago retires if there is no
    /// room, into the place that a revived source left or into an empty one.
    #[inline]
    fn keep(&mut self, source: Source) {
        if let Some(first) = self.active[0].as_mut().filter(|first| first.ssrc == source.ssrc) {
            *first = source;
            return;
        }
        let at = self.active.iter().position(|a| a.is_none_or(|a| a.ssrc == source.ssrc));
        if at.is_none() {
            self.retire_last(source.ssrc);
        }
        let at = at.unwrap_or(ACTIVE_SOURCES_MAX - 1);
        self.active[..=at].rotate_right(1);
        self.active[0] = Some(source);
    }

    fn retire_last(&mut self, returning: Ssrc) {
        let retiring = self.active[ACTIVE_SOURCES_MAX - 1].map(|source| source.retired());
        let place = self
            .retired
            .iter()
            .position(|retired| retired.is_some_and(|retired| retired.ssrc == returning))
            .or_else(|| self.retired.iter().position(Option::is_none));
        if let Some(place) = place {
            self.retired[place] = retiring;
        }
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sources = self.active.iter().flatten().map(|source| source.ssrc);
        write!(f, "Receiver({:?}, ", self.transforms.profile)?;
        f.debug_list().entries(sources).finish()?;
        f.write_str(")")
    }
}

impl Source {
    fn retired(self) -> Retired {
        Retired {
            ssrc: self.ssrc,
            rtp_highest: self.rtp.map(|window| window.highest()),
            rtcp_highest: self.rtcp.map(|window| window.highest() as u32),
        }
    }
}

impl Retired {
    fn revived(self) -> Source {
        Source {
            ssrc: self.ssrc,
            rtp: self.rtp_highest.map(ReplayWindow::closed_up_to),
            rtcp: self.rtcp_highest.map(|index| ReplayWindow::closed_up_to(u64::from(index))),
        }
    }
}

/// The index that a packet must have, and that was not used before.
#[inline]
fn estimate(
    window: Option<&ReplayWindow>,
    sequence_number: SequenceNumber,
) -> Result<PacketIndex, Discard> {
    let Some(window) = window else {
        return Ok(PacketIndex::new(0, sequence_number));
    };
    let index = position(window).estimate(sequence_number).ok_or(Discard::Replayed)?;
    window.check(index.value())?;
    Ok(index)
}

#[inline]
fn accept(window: &mut Option<ReplayWindow>, index: u64) {
    match window {
        Some(window) => window.accept(index),
        None => *window = Some(ReplayWindow::opened_by(index)),
    }
}

fn position(window: &ReplayWindow) -> PacketIndex {
    PacketIndex::from_value(window.highest())
}

#[inline]
fn header_of(packet: &[u8]) -> Result<(RtpHeader, usize), Discard> {
    let header_bytes = header_length(packet)?;
    let fixed = packet.first_chunk().ok_or(Discard::Truncated)?;
    Ok((RtpHeader::read(fixed), header_bytes))
}

fn rtcp_source(packet: &[u8]) -> Result<Ssrc, Discard> {
    let header = packet.first_chunk::<RTCP_HEADER_BYTES>().ok_or(Discard::BadSrtp)?;
    if header[0] >> 6 != 2 {
        return Err(Discard::BadRtcp);
    }
    Ok(Ssrc(u32::from_be_bytes([header[4], header[5], header[6], header[7]])))
}

#[cfg(test)]
mod tests;
