//! Protecting what we send and unprotecting what we receive (RFC 3711 §3.3, §3.4).
//!
//! A [`Sender`] carries one SSRC, a [`Receiver`] the few that a far end uses during the life of a
//! key. Both refuse to use an index twice. They report positions, the index of the highest packet: the
//! one truth of where a protected stream stands. From a snapshot of them somebody else goes on.
//!
//! # The round
//!
//! A packet carries 16 bits of its index. The rest, the round, is estimated (RFC 3711 §3.3.1), and
//! until a tag was good under an estimate it is a guess: the first packet of a source may be of round
//! 1, because those of round 0 were lost or came before their keys; and after 2^15 missed packets the
//! estimate is a round behind. So a packet whose tag is bad under the likely index is tried under one
//! other, which costs a forged packet twice the work, and never more.

use super::index::{INDEXES, PacketIndex};
use super::keys::{Labels, MasterKey, Profile};
use super::replay::ReplayWindow;
use super::snapshot::{
    Margin, ReceiverSnapshot, ResumeRefused, SOURCES_MAX, SenderSnapshot, SourceSnapshot,
};
use super::transform::{ENCRYPTED_FLAG, RTCP_HEADER_BYTES, RTCP_INDEX_BYTES, Transform};
use crate::base::discard::Discard;
use crate::base::narrow::LowHalf;
use crate::wire::rtp::{RtpHeader, RtpPacket, SequenceNumber, Ssrc, header_length};

/// Bytes that protection adds to RTP at most; RTCP grows by these and its index.
pub const RTP_GROWTH_BYTES_MAX: usize = 16;
/// Bytes that protection adds to RTCP at most.
pub const RTCP_GROWTH_BYTES_MAX: usize = RTP_GROWTH_BYTES_MAX + RTCP_INDEX_BYTES;
/// Sources of one receiver that keep a replay window. A browser or trunk sends one; others appear
/// when the far end moves the call to another of its machines.
pub const ACTIVE_SOURCES_MAX: usize = 4;

/// The farthest round above the likely one that is tried; a round of 20 ms packets is 22 minutes.
const ROUNDS_TRIED_MAX: u32 = 7;
/// Every so many sequence numbers it is not the next round's turn to be tried but a later one's: a
/// source of any round within reach is found in less than 2 s of 20 ms packets.
const LATER_ROUNDS_TURN: u16 = 16;

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

    /// Goes on where another sender of this key stood, with everything up to the margin's end counted
    /// as used. The next sequence number is the one after [`Self::position`].
    pub fn resume(
        master: &MasterKey,
        snapshot: &SenderSnapshot,
        margin: Margin,
    ) -> Result<Self, ResumeRefused> {
        if margin.packets > Margin::PACKETS_MAX {
            return Err(ResumeRefused::MarginTooWide);
        }
        let first = snapshot.rtp_next.saturating_add(margin.packets.into());
        if first >= INDEXES {
            return Err(ResumeRefused::KeysUsedUp);
        }
        let rtcp_first = snapshot.rtcp_next.saturating_add(margin.reports.into());
        Ok(Self {
            transforms: Transforms::new(master),
            ssrc: snapshot.ssrc,
            sent: first.checked_sub(1).map(ReplayWindow::closed_up_to),
            rtcp_index_next: rtcp_first.min(RTCP_INDEX_MAX + 1),
        })
    }

    /// Where it stands. `next` is the sequence number that will be sent next: of a sender that has
    /// sent nothing yet, nothing else tells where its first packet will be.
    pub fn snapshot(&self, next: SequenceNumber) -> SenderSnapshot {
        let rtp_next = match &self.sent {
            None => u64::from(next.0),
            Some(window) => {
                let next = position(window).estimate(next).map_or(INDEXES, PacketIndex::value);
                next.max(window.highest() + 1)
            }
        };
        SenderSnapshot { ssrc: self.ssrc, rtp_next, rtcp_next: self.rtcp_index_next }
    }

    /// Protects the RTP packet in `buffer[..length]` in place and returns its new length.
    ///
    /// Sequence numbers may arrive out of order, as far back as the replay window reaches; one that
    /// was used already is [`Discard::Replayed`], because a second packet under the same index would
    /// reveal both. No room for the tag: [`Discard::TooLarge`]. Not RTP, or another SSRC:
    /// [`Discard::BadRtp`].
    #[inline]
    pub fn protect(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Discard> {
        let (sequence_number, header_bytes) = self.own_header(buffer, length)?;
        let index = likely_index(self.sent.as_ref(), sequence_number)?;
        self.seal(index, header_bytes, buffer, length)
    }

    /// The same for whoever knows the packet's index: nothing is estimated. [`Discard::BadRtp`] too when
    /// the packet's sequence number is another one.
    #[inline]
    pub fn protect_at(
        &mut self,
        index: PacketIndex,
        buffer: &mut [u8],
        length: usize,
    ) -> Result<usize, Discard> {
        let (sequence_number, header_bytes) = self.own_header(buffer, length)?;
        if sequence_number != index.sequence_number() {
            return Err(Discard::BadRtp);
        }
        self.seal(index, header_bytes, buffer, length)
    }

    #[inline]
    fn own_header(&self, buffer: &[u8], length: usize) -> Result<(SequenceNumber, usize), Discard> {
        let packet = buffer.get(..length).ok_or(Discard::TooLarge)?;
        let (header, header_bytes) = header_of(packet)?;
        if header.ssrc != self.ssrc {
            return Err(Discard::BadRtp);
        }
        Ok((header.sequence_number, header_bytes))
    }

    #[inline]
    fn seal(
        &mut self,
        index: PacketIndex,
        header_bytes: usize,
        buffer: &mut [u8],
        length: usize,
    ) -> Result<usize, Discard> {
        check(self.sent.as_ref(), index)?;
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

    /// The next index of RTCP; 2^31 when there is none.
    pub fn rtcp_index_next(&self) -> u32 {
        self.rtcp_index_next
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
    /// What remains of the others: everything up to these indexes counts as seen, so a replayed packet
    /// cannot bring a source back.
    retired: [Option<SourceSnapshot>; SOURCES_MAX - ACTIVE_SOURCES_MAX],
}

/// A source with its replay windows; `None` where no packet of that kind came yet.
#[derive(Clone, Copy)]
struct Source {
    ssrc: Ssrc,
    rtp: Option<ReplayWindow>,
    rtcp: Option<ReplayWindow>,
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

    /// Goes on where another receiver of this key stood. What that one heard after the snapshot could
    /// be replayed to this one: nothing but the snapshot's age bounds it.
    pub fn resume(master: &MasterKey, snapshot: &ReceiverSnapshot) -> Result<Self, ResumeRefused> {
        let sources = &snapshot.sources;
        if sources.len() > SOURCES_MAX {
            return Err(ResumeRefused::TooManySources);
        }
        let mut receiver = Self::new(master);
        for (place, source) in sources.iter().enumerate() {
            if sources[..place].iter().any(|before| before.ssrc == source.ssrc) {
                return Err(ResumeRefused::RepeatedSource(source.ssrc));
            }
            match receiver.active.get_mut(place) {
                Some(active) => *active = Some(Source::closed(source)),
                None => receiver.retired[place - ACTIVE_SOURCES_MAX] = Some(*source),
            }
        }
        Ok(receiver)
    }

    /// Where it stands.
    pub fn snapshot(&self) -> ReceiverSnapshot {
        let active = self.active.iter().flatten().map(Source::snapshot);
        let retired = self.retired.iter().flatten().copied();
        ReceiverSnapshot { sources: active.chain(retired).collect() }
    }

    /// Verifies and decrypts the SRTP packet that fills `packet`, in place, and returns the length
    /// of the RTP packet. Nothing changes unless it returns `Ok`.
    #[inline]
    pub fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, Discard> {
        self.open(packet).map(|opened| opened.length)
    }

    /// The same, and gives the RTP packet: its header had to be read anyway. [`Discard::BadRtp`] when
    /// it is authentic, and counts as seen, but its padding does not fit.
    #[inline]
    pub fn unprotect_and_parse<'a>(
        &mut self,
        packet: &'a mut [u8],
    ) -> Result<RtpPacket<'a>, Discard> {
        let Opened { header, header_bytes, length } = self.open(packet)?;
        let packet = packet.get(..length).ok_or(Discard::Truncated)?;
        RtpPacket::with_header(header, header_bytes, packet)
    }

    #[inline(always)]
    fn open(&mut self, packet: &mut [u8]) -> Result<Opened, Discard> {
        let (header, header_bytes) = header_of(packet)?;
        let tag_bytes = self.transforms.profile.tag_bytes();
        let length = packet.len().checked_sub(tag_bytes).ok_or(Discard::BadSrtp)?;
        if length < header_bytes {
            return Err(Discard::BadSrtp);
        }
        let mut source = self.source(header.ssrc)?;
        let opened = Opened { header, header_bytes, length };
        let likely = likely_index(source.rtp.as_ref(), header.sequence_number)?;
        let tried = match check(source.rtp.as_ref(), likely) {
            Ok(()) => self.transforms.rtp.open_rtp(packet, header_bytes, header.ssrc, likely),
            refused => refused,
        };
        let index = match tried {
            Ok(()) => likely,
            Err(reason) => self.open_later_round(packet, &opened, &source, likely, reason)?,
        };
        accept(&mut source.rtp, index.value());
        self.keep(source);
        Ok(opened)
    }

    /// Tries a packet that was refused under its likely index in a later round: usually in the next
    /// one, at times, by its sequence number, in one of those after. A packet that the window knows to
    /// have been seen is not tried, so repeated packets cost nothing.
    #[cold]
    fn open_later_round(
        &self,
        packet: &mut [u8],
        opened: &Opened,
        source: &Source,
        likely: PacketIndex,
        reason: Discard,
    ) -> Result<PacketIndex, Discard> {
        let seen = || source.rtp.is_some_and(|window| window.covers(likely.value()));
        let revisable = match reason {
            Discard::BadTag => true,
            Discard::Replayed => !seen(),
            _ => false,
        };
        let SequenceNumber(number) = opened.header.sequence_number;
        let rounds = match (number % LATER_ROUNDS_TURN, u32::from(number / LATER_ROUNDS_TURN)) {
            (0..15, _) => 1,
            (_, turn) => 2 + turn % (ROUNDS_TRIED_MAX - 1),
        };
        let index = likely.rounds_later(rounds).filter(|_| revisable).ok_or(reason)?;
        self.transforms
            .rtp
            .open_rtp(packet, opened.header_bytes, opened.header.ssrc, index)
            .map_err(|_| reason)?;
        Ok(index)
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

    /// The highest index received from `ssrc`.
    pub fn position(&self, ssrc: Ssrc) -> Option<PacketIndex> {
        match self.active.iter().flatten().find(|source| source.ssrc == ssrc) {
            Some(source) => source.rtp.as_ref().map(position),
            None => self.retired.iter().flatten().find(|source| source.ssrc == ssrc)?.rtp_highest,
        }
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
            return Ok(Source::closed(retired));
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
        let retiring = self.active[ACTIVE_SOURCES_MAX - 1].as_ref().map(Source::snapshot);
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

/// An authentic packet.
struct Opened {
    header: RtpHeader,
    header_bytes: usize,
    /// Without the tag.
    length: usize,
}

impl Source {
    /// A source of which everything that a snapshot knows counts as seen.
    fn closed(known: &SourceSnapshot) -> Self {
        let rtcp = known.rtcp_highest.map(|index| ReplayWindow::closed_up_to(u64::from(index)));
        let rtp = known.rtp_highest.map(|index| ReplayWindow::closed_up_to(index.value()));
        Self { ssrc: known.ssrc, rtp, rtcp }
    }

    fn snapshot(&self) -> SourceSnapshot {
        SourceSnapshot {
            ssrc: self.ssrc,
            rtp_highest: self.rtp.as_ref().map(position),
            rtcp_highest: self.rtcp.map(|window| window.highest().low_half()),
        }
    }
}

/// The index that a packet probably has; before the first packet, of round 0.
#[inline]
fn likely_index(
    window: Option<&ReplayWindow>,
    sequence_number: SequenceNumber,
) -> Result<PacketIndex, Discard> {
    match window {
        None => Ok(PacketIndex::new(0, sequence_number)),
        Some(window) => position(window).estimate(sequence_number).ok_or(Discard::Replayed),
    }
}

#[inline]
fn check(window: Option<&ReplayWindow>, index: PacketIndex) -> Result<(), Discard> {
    window.map_or(Ok(()), |window| window.check(index.value()))
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
