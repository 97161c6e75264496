//! One far end of a call: what it sends, and what it makes of what comes back. No sockets, no clocks.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use linecard::base::discard::Discard;
use linecard::srtp::protect::{RTP_GROWTH_BYTES_MAX, Receiver, Sender};
use linecard::wire::demux::{Protocol, classify};
use linecard::wire::red::{self, RedPayload, RedundantBlock};
use linecard::wire::rtp::{
    HEADER_BYTES, PayloadType, RtpHeader, RtpPacket, RtpTimestamp, SequenceNumber, Ssrc,
};

use crate::ends::impairment::Path;
use crate::ends::matching::Matcher;
use crate::ends::rtcp::Rtcp;

/// Packets of one end that are remembered: ten seconds. What answers later counts as lost.
const REMEMBERED: usize = 512;
/// Of the SRTP packets that come, one in so many is authenticated; sequence number and timestamp are
/// in the clear. A generator that checked all of them would take the time of a core's relay traffic.
const AUTHENTICATED_ONE_IN: u64 = 16;

/// What an end sends and how.
pub struct EndSettings {
    /// Its own address; the port is the socket's.
    pub address: Ipv4Addr,
    /// Where the engine expects it.
    pub to: SocketAddrV4,
    /// Its source.
    pub ssrc: Ssrc,
    /// Of the payloads.
    pub payload_type: PayloadType,
    /// RTP clock in a packet of what it sends.
    pub timestamp_step: u32,
    /// RTP clock in a packet of what it hears.
    pub heard_timestamp_step: u32,
    /// 20 ms each, sent over and over.
    pub payloads: Arc<Vec<Vec<u8>>>,
    /// The payload it begins with.
    pub place: usize,
    /// Protects what it sends, on the browser's side.
    pub protect: Option<Sender>,
    /// Opens what it hears there.
    pub unprotect: Option<Receiver>,
    /// An ICE consent check, sent every five seconds as a browser does (RFC 7675 §5.1).
    pub consent_check: Option<Vec<u8>>,
    /// Its RTCP, of a browser.
    pub rtcp: Option<Rtcp>,
    /// Sends each packet as RED under this number, with the one before it (RFC 2198).
    pub red_sent: Option<PayloadType>,
    /// Understands RED under this number.
    pub red_heard: Option<PayloadType>,
}

/// One far end.
pub struct End {
    settings: EndSettings,
    header: RtpHeader,
    /// What the network does to what it sends.
    pub path: Path,
    sent: Vec<Sent>,
    packets: u64,
    matcher: Matcher,
    heard: u64,
    opened: Opened,
    silence: Silence,
}

/// How long nothing was heard at a time.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    /// When the last packet came.
    since_ns: Option<i64>,
    longest_ns: i64,
}

/// Of the packets that came, those whose payload was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// All of them.
    pub packets: u64,
    /// Those that carried an earlier one along.
    pub redundant: u64,
}

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// Not made yet, or forgotten.
    Nothing,
    /// Made, and with the network.
    Pending,
    /// Handed to the kernel at this time.
    At(i64),
    /// Lost on purpose at this time.
    Lost(i64),
    /// Its output came.
    Answered,
}

/// What a datagram that came was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// RTCP, or the answer to a check.
    Control,
    /// An RTP packet that answers the other end's packet of this number.
    Output {
        /// From 0.
        input: u64,
    },
    /// The output of something from before the first packet.
    Foreign,
    /// Not readable, or not authentic.
    Bad,
}

/// What an output told about its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was sent at this time.
    SentAt(i64),
    /// It was lost on purpose at this time: the engine filled the gap.
    Filled(i64),
    /// The network still held it back: the engine filled its place.
    Overtaken,
    /// It was answered already.
    Duplicate,
    /// Too long ago, or never.
    Unknown,
}

impl Silence {
    fn end(&mut self, at_ns: i64) {
        let since_ns = self.since_ns.replace(at_ns).unwrap_or(at_ns);
        self.longest_ns = self.longest_ns.max(at_ns - since_ns);
    }
}

impl End {
    /// An end that has sent nothing yet.
    pub fn new(settings: EndSettings) -> Self {
        let header = RtpHeader {
            marker: true,
            payload_type: settings.payload_type,
            // Below 2^15, so that the first roll-over is never in doubt (RFC 3711 §3.3.1).
            sequence_number: SequenceNumber((settings.ssrc.0 & 0x7FFF) as u16),
            timestamp: RtpTimestamp(settings.ssrc.0.rotate_left(7)),
            ssrc: settings.ssrc,
        };
        let matcher = Matcher::new(settings.heard_timestamp_step);
        let sent = vec![Sent::Nothing; REMEMBERED];
        Self {
            settings,
            header,
            path: Path::default(),
            sent,
            packets: 0,
            matcher,
            heard: 0,
            opened: Opened::default(),
            silence: Silence::default(),
        }
    }

    /// Where it sends from and to.
    pub fn addresses(&self) -> (Ipv4Addr, SocketAddrV4) {
        (self.settings.address, self.settings.to)
    }

    /// The consent check, when this packet's time is also its time.
    pub fn consent_check(&self) -> Option<&[u8]> {
        /// Five seconds of packets.
        const EVERY_PACKETS: u64 = 250;
        let due = self.packets % EVERY_PACKETS == u64::from(self.settings.ssrc.0) % EVERY_PACKETS;
        self.settings.consent_check.as_deref().filter(|_| due)
    }

    /// Whether an RTCP report leaves with this packet.
    pub fn report_is_due(&self) -> bool {
        self.settings.rtcp.as_ref().is_some_and(|rtcp| rtcp.is_due(self.packets))
    }

    /// Makes that report in `out`; returns its length.
    pub fn report(&mut self, out: &mut [u8], now_ns: i64) -> Option<usize> {
        let EndSettings { rtcp, protect, .. } = &mut self.settings;
        let (rtcp, protect) = (rtcp.as_ref()?, protect.as_mut()?);
        let length = rtcp.write(out, self.packets, self.header.timestamp, now_ns)?;
        protect.protect_rtcp(out, length).ok()
    }

    /// Packets made so far.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Skips the next packet: lost on its way.
    pub fn lose(&mut self, at_ns: i64) {
        self.note(self.packets, Sent::Lost(at_ns));
        self.step();
    }

    /// Makes the next packet in `out`; returns its number and its length.
    pub fn make(&mut self, out: &mut [u8]) -> Result<(u64, usize), Discard> {
        let EndSettings { payloads, place, payload_type, timestamp_step, red_sent, .. } =
            &self.settings;
        let payload = &payloads[place % payloads.len()];
        let before = place.checked_sub(1).filter(|_| self.packets > 0);
        let repeated = red_sent.zip(before.map(|place| &payloads[place % payloads.len()]));
        let red_bytes = repeated.map_or(0, |(_, copy)| red::OVERHEAD_BYTES + copy.len());
        let begin = HEADER_BYTES + red_bytes;
        let mut length = begin + payload.len();
        let packet = out.get_mut(..length + RTP_GROWTH_BYTES_MAX).ok_or(Discard::TooLarge)?;
        let payload_type = repeated.map_or(*payload_type, |(red, _)| red);
        let header = RtpHeader { payload_type, ..self.header };
        header.write(packet.first_chunk_mut().ok_or(Discard::TooLarge)?);
        if let Some((_, copy)) = repeated {
            let audio = self.settings.payload_type;
            let timestamp_offset = *timestamp_step;
            let block = RedundantBlock { payload_type: audio, timestamp_offset, payload: copy };
            let head = &mut packet[HEADER_BYTES..begin];
            red::write(head, &[block], audio).ok_or(Discard::BadRed)?;
        }
        packet[begin..length].copy_from_slice(payload);
        if let Some(rtcp) = &mut self.settings.rtcp {
            rtcp.sent(length - HEADER_BYTES);
        }
        if let Some(sender) = &mut self.settings.protect {
            length = sender.protect(packet, length)?;
        }
        let number = self.packets;
        self.note(number, Sent::Pending);
        self.step();
        Ok((number, length))
    }

    fn step(&mut self) {
        self.packets += 1;
        self.settings.place += 1;
        self.header.marker = false;
        self.header.sequence_number = self.header.sequence_number.next();
        self.header.timestamp = self.header.timestamp + self.settings.timestamp_step;
    }

    fn note(&mut self, number: u64, sent: Sent) {
        self.sent[number as usize % REMEMBERED] = sent;
    }

    /// Packet `number` was handed to the kernel. Whether this was its first copy, and nothing has
    /// taken its place before.
    pub fn left(&mut self, number: u64, at_ns: i64) -> bool {
        let first = self.sent[number as usize % REMEMBERED] == Sent::Pending;
        if first {
            self.note(number, Sent::At(at_ns));
        }
        first
    }

    /// Reads a datagram that came.
    pub fn hear(&mut self, datagram: &mut [u8], at_ns: i64) -> Heard {
        match classify(datagram) {
            Ok(Protocol::Rtp) => {}
            Ok(Protocol::Rtcp) => return self.hear_rtcp(datagram, at_ns),
            _ => return Heard::Control,
        }
        self.heard += 1;
        self.silence.end(at_ns);
        let header = match RtpPacket::parse(datagram) {
            Ok(packet) => packet.header,
            Err(_) => return Heard::Bad,
        };
        if self.settings.unprotect.is_some()
            && self.heard % AUTHENTICATED_ONE_IN == 1
            && self.open(datagram).is_err()
        {
            return Heard::Bad;
        }
        if let Some(rtcp) = &mut self.settings.rtcp {
            rtcp.heard(&header);
        }
        let (number, timestamp) = (header.sequence_number.0, header.timestamp.0);
        match self.matcher.input_of(number, timestamp, header.marker) {
            Some(input) => Heard::Output { input },
            None => Heard::Foreign,
        }
    }

    /// Authenticates a packet and looks at what it carries.
    fn open(&mut self, datagram: &mut [u8]) -> Result<(), Discard> {
        let EndSettings { unprotect: Some(receiver), red_heard, .. } = &mut self.settings else {
            return Ok(());
        };
        let length = receiver.unprotect(datagram)?;
        let packet = RtpPacket::parse(&datagram[..length])?;
        self.opened.packets += 1;
        if *red_heard == Some(packet.header.payload_type) {
            let red = RedPayload::parse(packet.payload)?;
            if red.payload_type != self.settings.payload_type {
                return Err(Discard::BadRed);
            }
            self.opened.redundant += 1;
        }
        Ok(())
    }

    /// Of who has no use for them, reports are not opened.
    fn hear_rtcp(&mut self, datagram: &mut [u8], at_ns: i64) -> Heard {
        let EndSettings { rtcp: Some(rtcp), unprotect: Some(receiver), .. } = &mut self.settings
        else {
            return Heard::Control;
        };
        let length = receiver.unprotect_rtcp(datagram);
        let is_read = length.is_ok_and(|length| rtcp.heard_compound(&datagram[..length], at_ns));
        if is_read { Heard::Control } else { Heard::Bad }
    }

    /// The output of this end's packet `number` came.
    pub fn answered(&mut self, number: u64) -> Answer {
        if number >= self.packets || self.packets - number > REMEMBERED as u64 {
            return Answer::Unknown;
        }
        let sent = self.sent[number as usize % REMEMBERED];
        self.note(number, Sent::Answered);
        match sent {
            Sent::At(at_ns) => Answer::SentAt(at_ns),
            Sent::Lost(at_ns) => Answer::Filled(at_ns),
            Sent::Answered => Answer::Duplicate,
            Sent::Pending => Answer::Overtaken,
            Sent::Nothing => Answer::Unknown,
        }
    }

    /// What comes back to this end, beyond packets in order.
    pub fn anomalies(&self) -> crate::ends::matching::Anomalies {
        self.matcher.seen
    }

    /// The longest time in which no packet came, of those that ended since this was asked last or have
    /// not ended yet.
    pub fn take_longest_silence_ns(&mut self, now_ns: i64) -> i64 {
        let since_ns = self.silence.since_ns.unwrap_or(now_ns);
        std::mem::take(&mut self.silence.longest_ns).max(now_ns - since_ns)
    }

    /// What was looked at.
    pub fn opened(&self) -> Opened {
        self.opened
    }

    /// RTP packets that came.
    pub fn heard_packets(&self) -> u64 {
        self.heard
    }
}

#[cfg(test)]
mod tests {
    use linecard::srtp::keys::{MasterKey, Profile};

    use super::*;

    enum Wire {
        Plain,
        Srtp,
    }

    fn end(wire: Wire) -> End {
        let key = MasterKey::from_bytes(Profile::AES_CM_128_HMAC_SHA1_80, &[7; 30]).unwrap();
        let (protect, unprotect) = match wire {
            Wire::Plain => (None, None),
            Wire::Srtp => (Some(Sender::new(&key, Ssrc(9))), Some(Receiver::new(&key))),
        };
        End::new(EndSettings {
            address: Ipv4Addr::LOCALHOST,
            to: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1),
            ssrc: Ssrc(9),
            payload_type: PayloadType::PCMU,
            timestamp_step: 160,
            heard_timestamp_step: 160,
            payloads: Arc::new(vec![vec![1; 160], vec![2; 160]]),
            place: 1,
            protect,
            unprotect,
            consent_check: Some(vec![0, 1]),
            rtcp: matches!(wire, Wire::Srtp).then(|| Rtcp::new(Ssrc(9))),
            red_sent: None,
            red_heard: None,
        })
    }

    #[test]
    fn what_one_end_sends_the_other_tells_back() {
        let (mut from, mut to) = (end(Wire::Srtp), end(Wire::Srtp));
        for n in 0..40 {
            let mut datagram = [0; 1_500];
            let (number, length) = from.make(&mut datagram).unwrap();
            assert_eq!(number, n);
            from.left(number, 1_000 + n as i64);
            assert_eq!(to.hear(&mut datagram[..length], 0), Heard::Output { input: n });
            assert_eq!(from.answered(n), Answer::SentAt(1_000 + n as i64));
            assert_eq!(from.answered(n), Answer::Duplicate);
        }
        assert_eq!(to.heard_packets(), 40);
    }

    #[test]
    fn a_packet_that_was_lost_on_purpose_and_still_came_was_filled() {
        let mut end = end(Wire::Plain);
        end.lose(3);
        assert_eq!(end.answered(0), Answer::Filled(3));
        assert_eq!(end.answered(1), Answer::Unknown);
    }

    #[test]
    fn a_packet_whose_place_was_filled_before_it_left_was_overtaken() {
        let mut end = end(Wire::Plain);
        let (number, _) = end.make(&mut [0; 1_500]).unwrap();
        assert_eq!(end.answered(number), Answer::Overtaken);
        assert!(!end.left(number, 1), "it leaves too late to count");
    }

    #[test]
    fn a_packet_of_more_than_ten_seconds_ago_is_unknown() {
        let mut end = end(Wire::Plain);
        let mut datagram = [0; 1_500];
        for _ in 0..600 {
            let (number, _) = end.make(&mut datagram).unwrap();
            end.left(number, 5);
        }
        assert_eq!(end.answered(0), Answer::Unknown);
        assert_eq!(end.answered(599), Answer::SentAt(5));
    }

    #[test]
    fn what_is_not_authentic_or_not_rtp_is_told_apart() {
        let mut end = end(Wire::Srtp);
        assert_eq!(end.hear(&mut [0x80; 40], 0), Heard::Bad);
        assert_eq!(end.hear(&mut [0, 1, 0, 0], 0), Heard::Control);
    }

    #[test]
    fn red_brings_the_packet_before_along_and_is_understood() {
        let number = PayloadType::new(63).unwrap();
        let (mut from, mut to) = (end(Wire::Srtp), end(Wire::Srtp));
        (from.settings.red_sent, to.settings.red_heard) = (Some(number), Some(number));
        let key = MasterKey::from_bytes(Profile::AES_CM_128_HMAC_SHA1_80, &[7; 30]).unwrap();
        let mut receiver = Receiver::new(&key);
        for n in 0..33 {
            let mut datagram = [0; 1_500];
            let (_, length) = from.make(&mut datagram).unwrap();
            let mut copy = datagram;
            let opened = receiver.unprotect(&mut copy[..length]).unwrap();
            let packet = RtpPacket::parse(&copy[..opened]).unwrap();
            if n > 0 {
                assert_eq!(packet.header.payload_type, number);
                let red = RedPayload::parse(packet.payload).unwrap();
                let [block] = red.redundant().collect::<Vec<_>>()[..] else { panic!("one block") };
                assert_eq!((block.timestamp_offset, block.payload[0]), (160, 1 + n % 2));
                assert_eq!(red.payload[0], 2 - n % 2);
            }
            assert_eq!(to.hear(&mut datagram[..length], 0), Heard::Output { input: n.into() });
        }
        // The first of all has nothing before it.
        assert_eq!(to.opened(), Opened { packets: 3, redundant: 2 });
    }

    #[test]
    fn a_report_is_protected_and_one_that_is_not_is_bad() {
        let (mut from, mut to) = (end(Wire::Srtp), end(Wire::Srtp));
        let mut datagram = [0; 1_500];
        let length = from.report(&mut datagram, 1).unwrap();
        let mut copy = datagram;
        assert_eq!(to.hear(&mut copy[..length], 2), Heard::Control);
        assert_eq!(to.hear(&mut datagram[..length], 2), Heard::Bad, "it was replayed");
        assert_eq!(end(Wire::Plain).report(&mut datagram, 1), None, "a trunk sends none");
    }

    #[test]
    fn a_consent_check_is_due_once_in_five_seconds() {
        let mut end = end(Wire::Plain);
        let due = (0..1_000).filter(|_| {
            let due = end.consent_check().is_some();
            end.lose(0);
            due
        });
        assert_eq!(due.count(), 4);
    }
}
