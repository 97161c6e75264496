//! One call's media, sans-IO: RTP in, and a packet out at every tick, as a real G.711 endpoint does
//! it (RFC 3550, RFC 3551). What is sent depends on the number that was called.

use std::collections::VecDeque;

use rand::RngExt;

use super::Number;
use super::speech;
use crate::audio::g711::{Law, silence, transcode};
use crate::base::narrow::Narrow;
use crate::base::random::Random;
use crate::wire::coding::Codec;
use crate::wire::rtp::{
    HEADER_BYTES, PayloadType, RtpHeader, RtpPacket, RtpTimestamp, SequenceNumber, Ssrc,
};
use crate::wire::sdp::Agreement;
use crate::wire::telephone_event::TelephoneEvent;

/// G.711 codes in a millisecond.
const CODES_PER_MS: usize = 8;
/// The echo comes this late, so that one can tell it from one's own voice.
const ECHO_DELAY_CODES: usize = 500 * CODES_PER_MS;
/// The echo never falls further behind: twice its delay.
const ECHO_CODES_MAX: usize = 2 * ECHO_DELAY_CODES;
/// Digits read back at once; what comes beyond them is not heard.
const DIGITS_MAX: usize = 32;
/// Silence after the last digit before all of them are read back.
const DIGITS_PAUSE_MS: usize = 1500;
/// Longest packet sent, the longest `packet_ms` that can be agreed on.
const PACKET_BYTES_MAX: usize = HEADER_BYTES + 60 * CODES_PER_MS;

/// One end of a call.
pub(super) struct Endpoint {
    agreement: Agreement,
    law: Law,
    next: RtpHeader,
    packet: [u8; PACKET_BYTES_MAX],
    program: Program,
}

/// What is sent.
enum Program {
    Echo(Echo),
    Speech(Playlist),
    Digits(Digits),
}

impl Endpoint {
    /// An endpoint that behaves as `number` says; numbers that are never answered have none.
    pub(super) fn new(number: Number, agreement: Agreement, random: &mut Random) -> Option<Self> {
        let program = match number {
            Number::Echo => Program::Echo(Echo::default()),
            Number::Speech => Program::Speech(Playlist::default()),
            Number::Digits => Program::Digits(Digits::default()),
            Number::Busy | Number::NoAnswer => return None,
        };
        let next = RtpHeader {
            marker: true,
            payload_type: agreement.send.payload_type,
            sequence_number: SequenceNumber(random.random()),
            timestamp: RtpTimestamp(random.random()),
            ssrc: Ssrc(random.random()),
        };
        let law = law(agreement.send.codec)?;
        Some(Self { agreement, law, next, packet: [0; PACKET_BYTES_MAX], program })
    }

    /// Milliseconds between ticks.
    pub(super) fn packet_ms(&self) -> u8 {
        self.agreement.packet_ms
    }

    /// Takes a datagram that came from the call's other end.
    pub(super) fn receive(&mut self, datagram: &[u8]) {
        let Ok(packet) = RtpPacket::parse(datagram) else { return };
        let payload_type = packet.header.payload_type;
        if let Some(from) = self.law_of(payload_type) {
            if let Program::Echo(echo) = &mut self.program {
                echo.receive(packet.payload, from, self.law);
            }
        } else if self.accepts_events(payload_type)
            && let Program::Digits(digits) = &mut self.program
            && let Ok(event) = TelephoneEvent::parse(packet.payload)
        {
            digits.receive(event.event, packet.header.timestamp);
        }
    }

    /// The next packet to send.
    pub(super) fn tick(&mut self) -> &[u8] {
        let codes = usize::from(self.agreement.packet_ms) * CODES_PER_MS;
        let (header, payload) = self.packet.split_at_mut(HEADER_BYTES);
        let payload = &mut payload[..codes];
        match &mut self.program {
            Program::Echo(echo) => echo.play(payload, self.law),
            Program::Speech(playlist) => {
                if playlist.is_empty() {
                    playlist.clips.extend([speech::GREETING, speech::PAUSE, speech::PAUSE]);
                }
                playlist.play(payload, self.law);
            }
            Program::Digits(digits) => {
                digits.wait(codes);
                digits.playlist.play(payload, self.law);
            }
        }
        if let Some(header) = header.first_chunk_mut() {
            self.next.write(header);
        }
        self.next.marker = false;
        self.next.sequence_number = self.next.sequence_number.next();
        self.next.timestamp = self.next.timestamp + codes.narrow();
        &self.packet[..HEADER_BYTES + codes]
    }

    fn accepts_events(&self, payload_type: PayloadType) -> bool {
        self.agreement.receive_events.iter().any(|event| event.payload_type == payload_type)
    }

    fn law_of(&self, payload_type: PayloadType) -> Option<Law> {
        let coding =
            self.agreement.receive.iter().find(|coding| coding.payload_type == payload_type)?;
        law(coding.codec)
    }
}

fn law(codec: Codec) -> Option<Law> {
    match codec {
        Codec::Pcmu => Some(Law::Mu),
        Codec::Pcma => Some(Law::A),
        Codec::Opus => None,
    }
}

/// Sends back what it got, late.
#[derive(Default)]
struct Echo {
    codes: VecDeque<u8>,
    playing: bool,
}

impl Echo {
    fn receive(&mut self, payload: &[u8], from: Law, to: Law) {
        for code in payload {
            let mut turned = [0];
            transcode(from, to, std::slice::from_ref(code), &mut turned);
            self.codes.extend(turned);
        }
        let excess = self.codes.len().saturating_sub(ECHO_CODES_MAX);
        self.codes.drain(..excess);
        self.playing |= self.codes.len() >= ECHO_DELAY_CODES;
    }

    fn play(&mut self, out: &mut [u8], law: Law) {
        self.playing &= self.codes.len() >= out.len();
        if !self.playing {
            return out.fill(silence(law));
        }
        let codes = self.codes.drain(..out.len());
        for (slot, code) in out.iter_mut().zip(codes) {
            *slot = code;
        }
    }
}

/// Clips of µ-law, played one after the other.
#[derive(Default)]
struct Playlist {
    clips: VecDeque<&'static [u8]>,
}

impl Playlist {
    fn is_empty(&self) -> bool {
        self.clips.is_empty()
    }

    fn play(&mut self, mut out: &mut [u8], law: Law) {
        while let (Some(clip), false) = (self.clips.front_mut(), out.is_empty()) {
            let codes = clip.len().min(out.len());
            let (now, later) = out.split_at_mut(codes);
            transcode(Law::Mu, law, clip, now);
            *clip = &clip[codes..];
            if clip.is_empty() {
                self.clips.pop_front();
            }
            out = later;
        }
        out.fill(silence(law));
    }
}

/// Reads back the digits that were pressed.
struct Digits {
    playlist: Playlist,
    pressed: Vec<u8>,
    /// The event that was taken last; its packets repeat and share a timestamp (RFC 4733 §2.5.1.2).
    last: Option<RtpTimestamp>,
    waited_codes: usize,
}

impl Default for Digits {
    fn default() -> Self {
        let playlist = Playlist { clips: VecDeque::from([speech::PAUSE, speech::PROMPT]) };
        Self { playlist, pressed: Vec::new(), last: None, waited_codes: 0 }
    }
}

impl Digits {
    fn receive(&mut self, event: u8, timestamp: RtpTimestamp) {
        // A packet that comes late belongs to an event that was taken already.
        if self.last.is_some_and(|last| timestamp.distance(last) <= 0) {
            return;
        }
        self.last = Some(timestamp);
        self.playlist.clips.clear();
        self.waited_codes = 0;
        if self.pressed.len() < DIGITS_MAX {
            self.pressed.push(event);
        }
    }

    fn wait(&mut self, codes: usize) {
        if self.pressed.is_empty() {
            return;
        }
        self.waited_codes += codes;
        if self.waited_codes >= DIGITS_PAUSE_MS * CODES_PER_MS {
            self.playlist.clips.push_back(speech::HEARD);
            for digit in self.pressed.drain(..) {
                self.playlist.clips.extend(speech::of_digit(digit));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;
    use crate::wire::coding::{Coding, EventFormat};
    use crate::wire::telephone_event::EVENT_BYTES;

    fn endpoint(number: Number, codec: Codec) -> Endpoint {
        let coding = |codec| Coding {
            codec,
            payload_type: if codec == Codec::Pcmu { PayloadType::PCMU } else { PayloadType::PCMA },
        };
        let event = EventFormat { payload_type: PayloadType::new(101).unwrap(), clock_hz: 8000 };
        let agreement = Agreement {
            send: coding(codec),
            in_band_fec: false,
            packet_ms: 20,
            receive: vec![coding(Codec::Pcmu), coding(Codec::Pcma)],
            send_events: Some(event),
            receive_events: vec![event],
            send_redundancy: None,
            comfort_noise: None,
            receive_redundancy: vec![],
        };
        Endpoint::new(number, agreement, &mut random::from_seed(1)).unwrap()
    }

    fn packet(payload_type: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut header = [0; HEADER_BYTES];
        RtpHeader {
            marker: false,
            payload_type: PayloadType::new(payload_type).unwrap(),
            sequence_number: SequenceNumber(0),
            timestamp: RtpTimestamp(timestamp),
            ssrc: Ssrc(1),
        }
        .write(&mut header);
        [&header, payload].concat()
    }

    fn press(endpoint: &mut Endpoint, event: u8, timestamp: u32) {
        for duration in [160, 320, 480, 480, 480] {
            let mut payload = [0; EVENT_BYTES];
            TelephoneEvent { event, end: duration == 480, volume: 10, duration }
                .write(&mut payload);
            endpoint.receive(&packet(101, timestamp, &payload));
        }
    }

    /// Everything that is sent in `ticks`, as payload.
    fn heard(endpoint: &mut Endpoint, ticks: usize) -> Vec<u8> {
        (0..ticks).flat_map(|_| endpoint.tick()[HEADER_BYTES..].to_vec()).collect()
    }

    fn contains(text: &[u8], part: &[u8]) -> bool {
        text.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn sequence_and_timestamp_go_on_by_one_packet() {
        let mut endpoint = endpoint(Number::Speech, Codec::Pcmu);
        let first = RtpPacket::parse(endpoint.tick()).unwrap().header;
        let second = RtpPacket::parse(endpoint.tick()).unwrap().header;
        assert!(first.marker && !second.marker);
        assert_eq!(second.sequence_number, first.sequence_number.next());
        assert_eq!(second.timestamp.distance(first.timestamp), 160);
        assert_eq!(second.ssrc, first.ssrc);
    }

    #[test]
    fn speech_repeats_in_the_agreed_law() {
        let mut endpoint = endpoint(Number::Speech, Codec::Pcma);
        let twice =
            heard(&mut endpoint, 2 * (speech::GREETING.len() + 2 * speech::PAUSE.len()) / 160 + 1);
        let mut greeting = vec![0; speech::GREETING.len()];
        transcode(Law::Mu, Law::A, speech::GREETING, &mut greeting);
        assert!(twice.starts_with(&greeting));
        assert!(contains(&twice[greeting.len()..], &greeting[..1000]));
    }

    #[test]
    fn echo_comes_back_half_a_second_late_and_never_a_full_second() {
        let mut endpoint = endpoint(Number::Echo, Codec::Pcmu);
        let mut sent = Vec::new();
        let mut back = Vec::new();
        for tick in 0..100_u32 {
            let payload = [tick.narrow(); 160];
            endpoint.receive(&packet(0, tick * 160, &payload));
            sent.extend(payload);
            back.extend(heard(&mut endpoint, 1));
        }
        let delay = ECHO_DELAY_CODES - 160;
        assert!(back[..delay].iter().all(|code| *code == silence(Law::Mu)));
        assert!(back[delay..] == sent[..back.len() - delay]);

        for _ in 0..1000 {
            endpoint.receive(&packet(0, 0, &[1; 160]));
        }
        let Program::Echo(echo) = &endpoint.program else { panic!() };
        assert_eq!(echo.codes.len(), ECHO_CODES_MAX);
    }

    #[test]
    fn digits_are_read_back_once_each_in_order() {
        let mut endpoint = endpoint(Number::Digits, Codec::Pcmu);
        heard(&mut endpoint, 10);
        press(&mut endpoint, 5, 8000);
        press(&mut endpoint, 11, 16000);
        press(&mut endpoint, 5, 8000);
        let all = heard(&mut endpoint, 400);
        let expected = [speech::HEARD, speech::of_digit(5).unwrap(), speech::of_digit(11).unwrap()];
        assert!(contains(&all, &expected.concat()));
        let spoken = DIGITS_PAUSE_MS * CODES_PER_MS + expected.concat().len();
        assert!(all[spoken..].iter().all(|code| *code == silence(Law::Mu)), "nothing else is said");
    }

    #[test]
    fn garbage_is_ignored() {
        let mut endpoint = endpoint(Number::Digits, Codec::Pcmu);
        for garbage in
            [&[][..], &[0x80], &[0xFF; 40], &packet(101, 1, &[]), &packet(77, 1, &[1; 9])]
        {
            endpoint.receive(garbage);
        }
        let Program::Digits(digits) = &endpoint.program else { panic!() };
        assert!(digits.pressed.is_empty());
    }
}
