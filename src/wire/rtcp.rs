//! RTCP compound packets (RFC 3550 §6): sender and receiver reports, SDES CNAME, BYE.
//!
//! [`parse`] checks the whole compound as RFC 3550 appendix A.2 asks, then hands out its packets one
//! by one; kinds that are not ours (APP, feedback, XR) are stepped over. [`write_compound`] writes
//! what one source sends. Intervals, jitter and loss are counted elsewhere. Reduced-size RTCP (RFC
//! 5506) is never negotiated and so never accepted.

use crate::base::discard::Discard;
use crate::base::narrow::Narrow;
use crate::wire::rtp::{RtpTimestamp, Ssrc};
use crate::wire::writer::Writer;

/// Most report blocks, and most BYE sources, in one packet: the count has five bits (§6.4.1).
pub const REPORT_BLOCKS_MAX: usize = 31;
/// Longest CNAME: its length has eight bits (§6.5).
pub const CNAME_BYTES_MAX: usize = 255;
/// The longest compound that [`write_compound`] makes.
pub const COMPOUND_BYTES_MAX: usize = HEADER_BYTES
    + 4
    + SENDER_BYTES
    + REPORT_BLOCKS_MAX * BLOCK_BYTES
    + sdes_bytes(CNAME_BYTES_MAX)
    + BYE_BYTES;

const HEADER_BYTES: usize = 4;
const SENDER_BYTES: usize = 20;
const BLOCK_BYTES: usize = 24;
const BYE_BYTES: usize = 8;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const SDES_CNAME: u8 = 1;

/// What a sender says about its own stream (§6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInformation {
    /// Wall clock of the report, 32.32 fixed point since 1900.
    pub ntp: u64,
    /// The same instant on the stream's RTP clock.
    pub rtp_timestamp: RtpTimestamp,
    /// RTP packets sent, modulo 2^32.
    pub packets: u32,
    /// Payload bytes sent, modulo 2^32.
    pub bytes: u32,
}

/// What a receiver says about one source (§6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source that is reported on.
    pub ssrc: Ssrc,
    /// Share lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the start: 24 bits, signed, negative when duplicates outnumber losses.
    /// A value that does not fit is written as the nearest one that does.
    pub cumulative_lost: i32,
    /// Highest sequence number received, under its count of wraps in the upper half.
    pub extended_highest_sequence: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report; 0: none came yet.
    pub last_sr: u32,
    /// Time since then, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// One packet of a compound.
#[derive(Clone, Debug)]
pub enum RtcpPacket<'a> {
    /// A report by someone who sends.
    SenderReport {
        /// Who reports.
        ssrc: Ssrc,
        /// About its own stream.
        sender: SenderInformation,
        /// About others' streams.
        reports: ReportBlocks<'a>,
    },
    /// A report by someone who only receives.
    ReceiverReport {
        /// Who reports.
        ssrc: Ssrc,
        /// About others' streams.
        reports: ReportBlocks<'a>,
    },
    /// The canonical name of the first source that has one; further sources come only from mixers.
    Sdes {
        /// Who is named.
        ssrc: Ssrc,
        /// The name: meant to be UTF-8, not checked.
        cname: &'a [u8],
    },
    /// Sources that leave.
    Bye(Sources<'a>),
    /// Any other packet type, or SDES without a CNAME.
    Other {
        /// The RTCP packet type.
        packet_type: u8,
    },
}

/// Checks a compound packet, which must fill `compound` exactly (RFC 3550 appendix A.2).
pub fn parse(compound: &[u8]) -> Result<RtcpPackets<'_>, Discard> {
    if compound.len() < HEADER_BYTES + 4 {
        return Err(Discard::Truncated);
    }
    if !matches!(compound[1], SENDER_REPORT | RECEIVER_REPORT) {
        return Err(Discard::BadRtcp);
    }
    let mut rest = compound;
    while !rest.is_empty() {
        let (raw, after) = split_packet(rest)?;
        // Only the last packet may be padded (§6.4.1).
        if raw.padded && !after.is_empty() {
            return Err(Discard::BadRtcp);
        }
        raw.read()?;
        rest = after;
    }
    Ok(RtcpPackets { rest: compound })
}

/// The packets of a checked compound.
#[derive(Clone, Debug)]
pub struct RtcpPackets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for RtcpPackets<'a> {
    type Item = RtcpPacket<'a>;

    fn next(&mut self) -> Option<RtcpPacket<'a>> {
        let (raw, after) = split_packet(self.rest).ok()?;
        self.rest = after;
        raw.read().ok()
    }
}

/// The report blocks of a report.
#[derive(Clone, Debug)]
pub struct ReportBlocks<'a>(std::slice::ChunksExact<'a, u8>);

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let block = self.0.next()?;
        // The loss has 24 bits: moved to the top of 32, an arithmetic shift extends its sign.
        let cumulative_lost = (word(block, 4)? << 8).cast_signed() >> 8;
        Some(ReportBlock {
            ssrc: Ssrc(word(block, 0)?),
            fraction_lost: block[4],
            cumulative_lost,
            extended_highest_sequence: word(block, 8)?,
            jitter: word(block, 12)?,
            last_sr: word(block, 16)?,
            delay_since_last_sr: word(block, 20)?,
        })
    }
}

/// The sources of a BYE.
#[derive(Clone, Debug)]
pub struct Sources<'a>(std::slice::ChunksExact<'a, u8>);

impl Iterator for Sources<'_> {
    type Item = Ssrc;

    fn next(&mut self) -> Option<Ssrc> {
        word(self.0.next()?, 0).map(Ssrc)
    }
}

/// One packet before its body is understood.
struct RawPacket<'a> {
    count: usize,
    packet_type: u8,
    padded: bool,
    /// After the header, without padding.
    body: &'a [u8],
}

fn split_packet(bytes: &[u8]) -> Result<(RawPacket<'_>, &[u8]), Discard> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Discard::BadRtcp)?;
    if header[0] >> 6 != 2 {
        return Err(Discard::BadRtcp);
    }
    let body_bytes = 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
    let (mut body, after) = rest.split_at_checked(body_bytes).ok_or(Discard::BadRtcp)?;
    let padded = header[0] & 0x20 != 0;
    if padded {
        let padding_bytes = usize::from(*body.last().ok_or(Discard::BadRtcp)?);
        if padding_bytes == 0 || padding_bytes % 4 != 0 || padding_bytes > body.len() {
            return Err(Discard::BadRtcp);
        }
        body = &body[..body.len() - padding_bytes];
    }
    let count = usize::from(header[0] & 0x1f);
    Ok((RawPacket { count, packet_type: header[1], padded, body }, after))
}

impl<'a> RawPacket<'a> {
    fn read(&self) -> Result<RtcpPacket<'a>, Discard> {
        let packet = match self.packet_type {
            SENDER_REPORT => self.read_sender_report(),
            RECEIVER_REPORT => self.read_receiver_report(),
            SDES => self.read_sdes(),
            BYE => self.body.get(..4 * self.count).map(|sources| {
                // A reason may follow the sources (§6.6); nobody reads it.
                RtcpPacket::Bye(Sources(sources.chunks_exact(4)))
            }),
            packet_type => Some(RtcpPacket::Other { packet_type }),
        };
        packet.ok_or(Discard::BadRtcp)
    }

    fn read_sender_report(&self) -> Option<RtcpPacket<'a>> {
        let sender = SenderInformation {
            ntp: u64::from(word(self.body, 4)?) << 32 | u64::from(word(self.body, 8)?),
            rtp_timestamp: RtpTimestamp(word(self.body, 12)?),
            packets: word(self.body, 16)?,
            bytes: word(self.body, 20)?,
        };
        let reports = self.read_blocks(4 + SENDER_BYTES)?;
        Some(RtcpPacket::SenderReport { ssrc: Ssrc(word(self.body, 0)?), sender, reports })
    }

    fn read_receiver_report(&self) -> Option<RtcpPacket<'a>> {
        let reports = self.read_blocks(4)?;
        Some(RtcpPacket::ReceiverReport { ssrc: Ssrc(word(self.body, 0)?), reports })
    }

    /// Profile-specific extensions may follow the blocks (§6.4.3); they are left unread.
    fn read_blocks(&self, start: usize) -> Option<ReportBlocks<'a>> {
        let blocks = self.body.get(start..start + self.count * BLOCK_BYTES)?;
        Some(ReportBlocks(blocks.chunks_exact(BLOCK_BYTES)))
    }

    /// Chunks are an SSRC and items, ended by a zero and padded to a word (§6.5).
    fn read_sdes(&self) -> Option<RtcpPacket<'a>> {
        let mut at = 0;
        let mut named = None;
        for _ in 0..self.count {
            let ssrc = Ssrc(word(self.body, at)?);
            at += 4;
            loop {
                let kind = *self.body.get(at)?;
                if kind == 0 {
                    at = (at + 4) & !3;
                    break;
                }
                let text_bytes = usize::from(*self.body.get(at + 1)?);
                let text = self.body.get(at + 2..at + 2 + text_bytes)?;
                if kind == SDES_CNAME {
                    named.get_or_insert(RtcpPacket::Sdes { ssrc, cname: text });
                }
                at += 2 + text_bytes;
            }
        }
        Some(named.unwrap_or(RtcpPacket::Other { packet_type: SDES }))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// Whether a source that reports also leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The source goes on.
    Stays,
    /// A BYE ends the compound.
    Leaves,
}

/// What one source sends at one time: a report, its CNAME and perhaps its BYE.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    /// Makes it a sender report; `None`: a receiver report.
    pub sender: Option<SenderInformation>,
    /// At most [`REPORT_BLOCKS_MAX`].
    pub reports: &'a [ReportBlock],
    /// At most [`CNAME_BYTES_MAX`]; the same for all of a participant's streams (RFC 7022).
    pub cname: &'a str,
    /// Whether the source leaves.
    pub presence: Presence,
}

/// Writes a compound and returns its length; `None` when it does not fit `out` (
/// [`COMPOUND_BYTES_MAX`] always suffices) or breaks a bound of [`Compound`].
pub fn write_compound(out: &mut [u8], compound: &Compound<'_>) -> Option<usize> {
    if compound.reports.len() > REPORT_BLOCKS_MAX || compound.cname.len() > CNAME_BYTES_MAX {
        return None;
    }
    let mut writer = Writer::new(out);
    write_report(&mut writer, compound)?;
    write_sdes(&mut writer, compound.ssrc, compound.cname)?;
    if compound.presence == Presence::Leaves {
        write_header(&mut writer, 1, BYE, BYE_BYTES)?;
        writer.word(compound.ssrc.0)?;
    }
    Some(writer.length)
}

fn write_report(writer: &mut Writer<'_>, compound: &Compound<'_>) -> Option<()> {
    let blocks = compound.reports;
    let bytes = HEADER_BYTES + 4 + blocks.len() * BLOCK_BYTES;
    match compound.sender {
        Some(sender) => {
            write_header(writer, blocks.len(), SENDER_REPORT, bytes + SENDER_BYTES)?;
            writer.word(compound.ssrc.0)?;
            writer.put(&sender.ntp.to_be_bytes())?;
            writer.word(sender.rtp_timestamp.0)?;
            writer.word(sender.packets)?;
            writer.word(sender.bytes)?;
        }
        None => {
            write_header(writer, blocks.len(), RECEIVER_REPORT, bytes)?;
            writer.word(compound.ssrc.0)?;
        }
    }
    for block in blocks {
        let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff);
        writer.word(block.ssrc.0)?;
        writer.word(u32::from(block.fraction_lost) << 24 | (lost.cast_unsigned() & 0xff_ffff))?;
        writer.word(block.extended_highest_sequence)?;
        writer.word(block.jitter)?;
        writer.word(block.last_sr)?;
        writer.word(block.delay_since_last_sr)?;
    }
    Some(())
}

/// Header, SSRC, item header, text, and one to four zeros up to the next word.
const fn sdes_bytes(cname_bytes: usize) -> usize {
    (HEADER_BYTES + 4 + 2 + cname_bytes + 4) & !3
}

fn write_sdes(writer: &mut Writer<'_>, ssrc: Ssrc, cname: &str) -> Option<()> {
    write_header(writer, 1, SDES, sdes_bytes(cname.len()))?;
    writer.word(ssrc.0)?;
    writer.put(&[SDES_CNAME, cname.len().narrow()])?;
    writer.put(cname.as_bytes())?;
    // At least one zero ends the items.
    writer.put(&[0])?;
    writer.pad()
}

/// `bytes` is the packet's length with this header, a multiple of four.
fn write_header(
    writer: &mut Writer<'_>,
    count: usize,
    packet_type: u8,
    bytes: usize,
) -> Option<()> {
    let words: u16 = (bytes / 4 - 1).narrow();
    let [high, low] = words.to_be_bytes();
    let count: u8 = count.narrow();
    writer.put(&[0x80 | count, packet_type, high, low])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(ssrc: u32, cumulative_lost: i32) -> ReportBlock {
        ReportBlock {
            ssrc: Ssrc(ssrc),
            fraction_lost: 12,
            cumulative_lost,
            extended_highest_sequence: 0x0001_0007,
            jitter: 33,
            last_sr: 0x1234_5678,
            delay_since_last_sr: 0x9abc,
        }
    }

    fn written(compound: &Compound<'_>) -> Vec<u8> {
        let mut out = vec![0xaa; COMPOUND_BYTES_MAX];
        let length = write_compound(&mut out, compound).unwrap();
        out.truncate(length);
        out
    }

    fn sender_report() -> Vec<u8> {
        written(&Compound {
            ssrc: Ssrc(7),
            sender: Some(SenderInformation {
                ntp: 0x0102_0304_0506_0708,
                rtp_timestamp: RtpTimestamp(9),
                packets: 10,
                bytes: 11,
            }),
            reports: &[block(1, -2), block(2, 3)],
            cname: "abcdefgh",
            presence: Presence::Leaves,
        })
    }

    #[test]
    fn a_sender_report_is_laid_out_as_in_rfc_3550() {
        let bytes = sender_report();
        assert_eq!(bytes[..8], [0x82, 200, 0, 18, 0, 0, 0, 7]);
        assert_eq!(bytes[8..16], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes[28..36], [0, 0, 0, 1, 12, 0xff, 0xff, 0xfe]);
        let sdes = [0x81, 202, 0, 4, 0, 0, 0, 7, 1, 8];
        assert_eq!(bytes[76..86], sdes);
        assert_eq!(bytes[86..100], *b"abcdefgh\0\0\x81\xcb\0\x01");
        assert_eq!(bytes[100..], [0, 0, 0, 7]);
    }

    #[test]
    fn a_sender_report_is_read_back() {
        let bytes = sender_report();
        let packets: Vec<_> = parse(&bytes).unwrap().collect();
        let [
            RtcpPacket::SenderReport { ssrc, sender, reports },
            RtcpPacket::Sdes { cname, .. },
            bye,
        ] = &packets[..]
        else {
            panic!("{packets:?}");
        };
        assert_eq!((*ssrc, sender.packets, sender.bytes), (Ssrc(7), 10, 11));
        assert_eq!(reports.clone().collect::<Vec<_>>(), [block(1, -2), block(2, 3)]);
        assert_eq!(*cname, b"abcdefgh");
        assert!(matches!(bye, RtcpPacket::Bye(sources) if sources.clone().eq([Ssrc(7)])));
    }

    #[test]
    fn every_truncation_is_discarded() {
        let bytes = sender_report();
        // Cuts at the packets' seams leave a shorter compound that is whole.
        let whole = [76, 96, bytes.len()];
        for length in 0..=bytes.len() {
            assert_eq!(parse(&bytes[..length]).is_ok(), whole.contains(&length), "{length}");
        }
    }

    #[test]
    fn counts_that_overrun_their_packet_are_bad() {
        for at in [0, 76, 96] {
            let mut bytes = sender_report();
            bytes[at] = 0x80 | 31;
            assert_eq!(parse(&bytes).err(), Some(Discard::BadRtcp), "packet at {at}");
        }
    }

    #[test]
    fn a_compound_must_open_with_a_report() {
        let bytes = sender_report();
        assert_eq!(parse(&bytes[76..]).err(), Some(Discard::BadRtcp));
    }

    #[test]
    fn only_the_last_packet_may_be_padded() {
        let mut report = written(&Compound {
            ssrc: Ssrc(1),
            sender: None,
            reports: &[],
            cname: "c",
            presence: Presence::Stays,
        });
        report[0] |= 0x20;
        assert_eq!(parse(&report).err(), Some(Discard::BadRtcp));
        // A receiver report with one word of padding.
        let padded = [0xa0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4];
        assert_eq!(parse(&padded).unwrap().count(), 1);
        for bad in [0, 1, 3, 8, 12] {
            let padded = [0xa0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, bad];
            assert_eq!(parse(&padded).err(), Some(Discard::BadRtcp), "padding {bad}");
        }
    }

    #[test]
    fn other_packets_and_profile_extensions_are_stepped_over() {
        let bytes = [
            &[0x80, 201, 0, 2, 0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef][..], // RR with an extension
            &[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2],                 // PLI
            &[0x81, 202, 0, 2, 0, 0, 0, 1, 2, 1, b'x', 0],              // SDES NAME only
        ]
        .concat();
        let packets: Vec<_> = parse(&bytes).unwrap().collect();
        assert!(matches!(packets[0], RtcpPacket::ReceiverReport { ssrc: Ssrc(1), .. }));
        assert!(matches!(packets[1], RtcpPacket::Other { packet_type: 206 }));
        assert!(matches!(packets[2], RtcpPacket::Other { packet_type: 202 }));
    }

    #[test]
    fn the_longest_compound_fits_its_bound_exactly() {
        let cname = "n".repeat(CNAME_BYTES_MAX);
        let mut compound = Compound {
            ssrc: Ssrc(1),
            sender: Some(SenderInformation {
                ntp: 0,
                rtp_timestamp: RtpTimestamp(0),
                packets: 0,
                bytes: 0,
            }),
            reports: &[block(1, 0); REPORT_BLOCKS_MAX],
            cname: &cname,
            presence: Presence::Leaves,
        };
        assert_eq!(written(&compound).len(), COMPOUND_BYTES_MAX);
        let mut short = [0; COMPOUND_BYTES_MAX - 1];
        assert_eq!(write_compound(&mut short, &compound), None);
        let too_many = [block(1, 0); REPORT_BLOCKS_MAX + 1];
        compound.reports = &too_many;
        assert_eq!(write_compound(&mut [0; 2000], &compound), None);
    }

    #[test]
    fn loss_saturates_at_24_bits() {
        let bytes = written(&Compound {
            ssrc: Ssrc(1),
            sender: None,
            reports: &[block(1, i32::MAX), block(2, i32::MIN)],
            cname: "",
            presence: Presence::Stays,
        });
        let Some(RtcpPacket::ReceiverReport { reports, .. }) = parse(&bytes).unwrap().next() else {
            panic!("no receiver report");
        };
        let lost: Vec<_> = reports.map(|block| block.cumulative_lost).collect();
        assert_eq!(lost, [0x7f_ffff, -0x80_0000]);
    }

    prop_compose! {
        fn any_block()(
            ssrc: u32, fraction_lost: u8, cumulative_lost in -0x80_0000..=0x7f_ffff,
            extended_highest_sequence: u32, jitter: u32, last_sr: u32, delay_since_last_sr: u32,
        ) -> ReportBlock {
            ReportBlock {
                ssrc: Ssrc(ssrc), fraction_lost, cumulative_lost, extended_highest_sequence, jitter,
                last_sr, delay_since_last_sr,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            ssrc: u32, blocks in prop::collection::vec(any_block(), 0..=REPORT_BLOCKS_MAX),
            cname in "[ -~]{0,255}", sends: bool, leaves: bool, ntp: u64, packets: u32,
        ) {
            let sender = sends.then_some(SenderInformation {
                ntp, rtp_timestamp: RtpTimestamp(!packets), packets, bytes: packets ^ ssrc,
            });
            let presence = if leaves { Presence::Leaves } else { Presence::Stays };
            let ssrc = Ssrc(ssrc);
            let bytes = written(&Compound { ssrc, sender, reports: &blocks, cname: &cname, presence });
            let mut packets = parse(&bytes).unwrap();
            let (reporter, said, reports) = match packets.next() {
                Some(RtcpPacket::SenderReport { ssrc, sender, reports }) => {
                    (ssrc, Some(sender), reports)
                }
                Some(RtcpPacket::ReceiverReport { ssrc, reports }) => (ssrc, None, reports),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!((reporter, said), (ssrc, sender));
            prop_assert_eq!(reports.collect::<Vec<_>>(), blocks);
            match packets.next() {
                Some(RtcpPacket::Sdes { ssrc: named, cname: name }) => {
                    prop_assert_eq!((named, name), (ssrc, cname.as_bytes()));
                }
                other => panic!("{other:?}"),
            }
            prop_assert_eq!(packets.count(), usize::from(leaves));
        }

        #[test]
        fn any_bytes_are_parsed_or_discarded(
            kind in 199u8..=204, count in 0u8..32, words in 0u8..6, rest: Vec<u8>,
        ) {
            let bytes = [&[0x80 | count, kind, 0, words][..], &rest].concat();
            if let Ok(packets) = parse(&bytes) {
                prop_assert!(packets.count() >= 1);
            }
        }
    }
}
