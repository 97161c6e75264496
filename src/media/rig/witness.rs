//! A witness of what a leg is sent: it knows nothing of the engine but the leg's source, formats and keys,
//! and panics when a far end could not make sense of what came.
//!
//! One source; numbers that only grow; audio that never steps back in time; under SRTP a receiver that
//! never forgets a key, so that an index that is used twice under one is seen; packets paced as the format
//! says.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::base::discard::Discard;
use crate::base::opaque::opaque;
use crate::control::message::{Format, Security, Spacing};
use crate::srtp::keys::MasterKey;
use crate::srtp::protect::Receiver;
use crate::wire::rtcp::{self, RtcpPacket};
use crate::wire::rtp::{RtpHeader, RtpPacket, Ssrc};

/// Paced packets beside those of a second: a thread that comes late catches up with what is 60 ms old.
const PACED_BESIDE: usize = 8;

/// A witness of one leg.
pub struct Witness {
    ssrc: Ssrc,
    last: Option<RtpHeader>,
    last_audio: Option<RtpHeader>,
    receivers: Vec<(MasterKey, Receiver)>,
    /// Audio of the last second, while it is paced.
    paced: VecDeque<Instant>,
    packets: u64,
}

opaque!(Witness);

impl Witness {
    /// A witness of this source.
    pub fn new(ssrc: Ssrc) -> Self {
        let (receivers, paced) = (Vec::new(), VecDeque::new());
        Self { ssrc, last: None, last_audio: None, receivers, paced, packets: 0 }
    }

    /// The source.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// RTP packets seen.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// The leg has another format.
    pub fn format_changed(&mut self) {
        self.paced.clear();
    }

    /// An RTP datagram.
    pub fn rtp(&mut self, datagram: &[u8], format: &Format, security: &Security, now: Instant) {
        let clear = self.opened(datagram, security, Receiver::unprotect);
        let packet = RtpPacket::parse(&clear).expect("what is sent is RTP");
        let header = packet.header;
        assert_eq!(header.ssrc, self.ssrc, "a leg has one source");
        if let Some(last) = self.last {
            let step = header.sequence_number.distance(last.sequence_number);
            assert!(step > 0, "number {header:?} after {last:?}");
        }
        self.last = Some(header);
        self.packets += 1;
        let events = format.send_events.map(|events| events.payload_type);
        if events == Some(header.payload_type) {
            assert_eq!(packet.payload.len(), 4, "an event has four bytes");
            return;
        }
        let send = &format.send;
        let audio = [
            Some(send.coding.payload_type),
            send.redundancy.map(|redundancy| redundancy.payload_type),
            format.send_comfort_noise,
        ];
        assert!(audio.contains(&Some(header.payload_type)), "{header:?} was not negotiated");
        assert!(!packet.payload.is_empty(), "audio without audio: {header:?}");
        if let Some(last) = self.last_audio {
            let passed = header.timestamp.distance(last.timestamp);
            assert!(passed >= 0, "audio steps back in time: {header:?} after {last:?}");
        }
        self.last_audio = Some(header);
        self.pace(format, now);
    }

    fn pace(&mut self, format: &Format, now: Instant) {
        let Spacing::Paced(_) = format.send.playout else { return };
        let second = Duration::from_secs(1);
        while self.paced.front().is_some_and(|at| now.saturating_duration_since(*at) >= second) {
            self.paced.pop_front();
        }
        self.paced.push_back(now);
        let most = 1_000 / usize::from(format.send.packet_ms) + PACED_BESIDE;
        assert!(self.paced.len() <= most, "{} paced packets in a second", self.paced.len());
    }

    /// An RTCP datagram.
    pub fn rtcp(&mut self, datagram: &[u8], security: &Security) {
        let clear = self.opened(datagram, security, Receiver::unprotect_rtcp);
        let packets = rtcp::parse(&clear).expect("what is sent is RTCP");
        for packet in packets {
            if let RtcpPacket::SenderReport { ssrc, .. } | RtcpPacket::ReceiverReport { ssrc, .. } =
                packet
            {
                assert_eq!(ssrc, self.ssrc, "a leg has one source");
            }
        }
    }

    fn opened(
        &mut self,
        datagram: &[u8],
        security: &Security,
        unprotect: fn(&mut Receiver, &mut [u8]) -> Result<usize, Discard>,
    ) -> Vec<u8> {
        let mut clear = datagram.to_vec();
        match security {
            Security::None => clear,
            Security::Pending => panic!("sent before there were keys"),
            Security::Srtp(keys) => {
                let key = &keys.send;
                let known = self.receivers.iter().position(|(known, _)| known == key);
                let place = known.unwrap_or_else(|| {
                    self.receivers.push((key.clone(), Receiver::new(key)));
                    self.receivers.len() - 1
                });
                let opened = unprotect(&mut self.receivers[place].1, &mut clear);
                let length = opened.unwrap_or_else(|reason| {
                    panic!("a receiver that knows the key cannot open it: {reason:?}")
                });
                clear.truncate(length);
                clear
            }
        }
    }
}
