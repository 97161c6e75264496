//! The RTCP of a browser: sender and receiver reports as Chromium sends them for its audio (RFC 3550
//! §6.4), always without loss. Sans-IO.
//!
//! In: what it sends, the headers of what it hears, the engine's sender reports. Out: a compound, due
//! every [`PERIOD_PACKETS`] or so. When it is protected is left to the end that it belongs to.

use linecard::wire::rtcp::{
    self, Compound, Presence, ReportBlock, RtcpPacket, SenderInformation, write_compound,
};
use linecard::wire::rtp::{RtpHeader, RtpTimestamp, SequenceNumber, Ssrc};

/// Packets between reports: Chromium's 5 s for audio, of which it takes half to one and a half.
const PERIOD_PACKETS: u64 = 250;
/// Each browser has a period of its own, by up to this much shorter or longer.
const SPREAD_PACKETS: u64 = 50;
/// From 1900, where NTP begins, to 1970.
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

/// The RTCP of one browser.
pub struct Rtcp {
    ssrc: Ssrc,
    cname: String,
    period: u64,
    bytes: u32,
    heard: Option<Source>,
    /// Middle 32 bits of the engine's last sender report, and its arrival.
    sender_report: Option<(u32, i64)>,
}

/// Whom it hears.
struct Source {
    ssrc: Ssrc,
    highest: SequenceNumber,
    wraps: u16,
}

impl Rtcp {
    /// Of a browser that sends as `ssrc`.
    pub fn new(ssrc: Ssrc) -> Self {
        let period = PERIOD_PACKETS - SPREAD_PACKETS + u64::from(ssrc.0) % (2 * SPREAD_PACKETS);
        // As random as the SSRC is, and as long as RFC 7022 §4.2 wants it.
        let cname = format!("{:08x}{:08x}", ssrc.0, ssrc.0.rotate_left(13));
        Self { ssrc, cname, period, bytes: 0, heard: None, sender_report: None }
    }

    /// Whether a report is due together with this packet, counted from 0.
    pub fn is_due(&self, packet: u64) -> bool {
        packet > 0 && (packet + u64::from(self.ssrc.0 >> 8)).is_multiple_of(self.period)
    }

    /// It sent so many bytes of payload.
    pub fn sent(&mut self, payload_bytes: usize) {
        self.bytes = self.bytes.wrapping_add(payload_bytes as u32);
    }

    /// An RTP packet came.
    pub fn heard(&mut self, header: &RtpHeader) {
        let number = header.sequence_number;
        match &mut self.heard {
            Some(source) if source.ssrc == header.ssrc => {
                if number.distance(source.highest) > 0 {
                    source.wraps += u16::from(number.0 < source.highest.0);
                    source.highest = number;
                }
            }
            _ => self.heard = Some(Source { ssrc: header.ssrc, highest: number, wraps: 0 }),
        }
    }

    /// A compound of the engine's came, in the clear. Whether it could be read.
    pub fn heard_compound(&mut self, compound: &[u8], at_ns: i64) -> bool {
        let Ok(packets) = rtcp::parse(compound) else { return false };
        for packet in packets {
            if let RtcpPacket::SenderReport { sender, .. } = packet {
                self.sender_report = Some(((sender.ntp >> 16) as u32, at_ns));
            }
        }
        true
    }

    /// Writes a compound; `packets` were sent, and `timestamp` is that of the next, now.
    pub fn write(
        &self,
        out: &mut [u8],
        packets: u64,
        timestamp: RtpTimestamp,
        now_ns: i64,
    ) -> Option<usize> {
        let (last_sr, delay_since_last_sr) = self.sender_report.map_or((0, 0), |(ntp, at_ns)| {
            (ntp, ((now_ns - at_ns).max(0) as u64 * 65_536 / 1_000_000_000) as u32)
        });
        let block = self.heard.as_ref().map(|source| ReportBlock {
            ssrc: source.ssrc,
            fraction_lost: 0,
            cumulative_lost: 0,
            extended_highest_sequence: u32::from(source.wraps) << 16 | u32::from(source.highest.0),
            jitter: 0,
            last_sr,
            delay_since_last_sr,
        });
        let sender = SenderInformation {
            ntp: ntp(now_ns),
            rtp_timestamp: timestamp,
            packets: packets as u32,
            bytes: self.bytes,
        };
        write_compound(
            out,
            &Compound {
                ssrc: self.ssrc,
                sender: Some(sender),
                reports: block.as_slice(),
                cname: &self.cname,
                presence: Presence::Stays,
            },
        )
    }
}

/// Nanoseconds since 1970 as NTP has them, 32.32 fixed point since 1900.
fn ntp(unix_ns: i64) -> u64 {
    let unix_ns = unix_ns.max(0) as u64;
    let (seconds, ns) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
    ((seconds + NTP_TO_UNIX_S) << 32) | ((ns << 32) / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use linecard::wire::rtp::PayloadType;

    use super::*;

    fn header(sequence_number: u16) -> RtpHeader {
        RtpHeader {
            marker: false,
            payload_type: PayloadType::PCMU,
            sequence_number: SequenceNumber(sequence_number),
            timestamp: RtpTimestamp(0),
            ssrc: Ssrc(77),
        }
    }

    fn written(reports: &Rtcp, now_ns: i64) -> (SenderInformation, Vec<ReportBlock>) {
        let mut out = [0; 1_500];
        let length = reports.write(&mut out, 11, RtpTimestamp(960), now_ns).unwrap();
        let mut packets = rtcp::parse(&out[..length]).unwrap();
        match packets.next() {
            Some(RtcpPacket::SenderReport { sender, reports, .. }) => (sender, reports.collect()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_browser_reports_once_in_four_to_six_seconds() {
        for ssrc in [1, 99, 0xFFFF_FFFF] {
            let reports = Rtcp::new(Ssrc(ssrc));
            let due = (0..3_000).filter(|packet| reports.is_due(*packet)).count();
            assert!((10..=15).contains(&due), "{due}");
        }
    }

    #[test]
    fn a_report_tells_what_was_heard_across_the_wrap_and_that_nothing_was_lost() {
        let mut reports = Rtcp::new(Ssrc(5));
        for number in [0xFFFE, 0xFFFF, 1, 0] {
            reports.heard(&header(number));
        }
        reports.sent(60);
        let (sender, blocks) = written(&reports, 1_000_000_000);
        assert_eq!((sender.packets, sender.bytes), (11, 60));
        assert_eq!(sender.ntp >> 32, NTP_TO_UNIX_S + 1);
        let [block] = blocks[..] else { panic!("one block") };
        assert_eq!((block.ssrc, block.extended_highest_sequence), (Ssrc(77), 0x1_0001));
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 0));
        assert_eq!(block.last_sr, 0, "no sender report came yet");
    }

    #[test]
    fn a_report_echoes_the_engines_sender_report() {
        let mut engine = Rtcp::new(Ssrc(77));
        engine.heard(&header(1));
        let mut out = [0; 1_500];
        let length = engine.write(&mut out, 1, RtpTimestamp(0), 2_500_000_000).unwrap();
        let mut reports = Rtcp::new(Ssrc(5));
        reports.heard(&header(1));
        assert!(reports.heard_compound(&out[..length], 3_000_000_000));
        assert!(!reports.heard_compound(&out[..7], 3_000_000_000));
        let (_, blocks) = written(&reports, 3_500_000_000);
        assert_eq!(blocks[0].last_sr, (ntp(2_500_000_000) >> 16) as u32);
        assert_eq!(blocks[0].delay_since_last_sr, 65_536 / 2);
    }
}
