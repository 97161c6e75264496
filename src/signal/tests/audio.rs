//! Audio through the real core, by what the SDPs on either side say: addresses, payload types, keys.

use std::f64::consts::TAU;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::steps::*;
use super::world::*;
use crate::audio::g711::{self, Law};
use crate::audio::opus::{EncoderSettings, OpusArena, OpusDecoder, OpusEncoder};
use crate::control::message::{Codec, Side};
use crate::wire::rtp::{PayloadType, RtpHeader, RtpTimestamp, SequenceNumber, Ssrc};
use crate::wire::sdp::{BrowserOffer, TrunkAnswer};

/// Where [`TRUNK_SDP`] says that the trunk is.
const TRUNK_MEDIA: ([u8; 4], u16) = ([198, 51, 100, 7], 20_000);
/// What the browser says, and what the trunk says.
const BROWSER_HZ: f64 = 440.0;
const TRUNK_HZ: f64 = 620.0;
/// Samples of 8 kHz in 20 ms.
const FRAME: usize = 160;

/// A far end of a call, with its two codecs.
struct End {
    header: RtpHeader,
    clock: u32,
    tone_hz: f64,
    phase: usize,
    encoder: Option<OpusEncoder>,
    decoder: OpusDecoder,
    heard: Vec<i16>,
}

impl End {
    fn new(arena: &Rc<OpusArena>, payload_type: PayloadType, codec: Codec, tone_hz: f64) -> Self {
        let opus = codec == Codec::Opus;
        let header = RtpHeader {
            marker: false,
            payload_type,
            sequence_number: SequenceNumber(65_500),
            timestamp: RtpTimestamp(7),
            ssrc: Ssrc(0xABCD),
        };
        Self {
            header,
            clock: if opus { 6 } else { 1 },
            tone_hz,
            phase: 0,
            encoder: opus.then(|| arena.encoder(EncoderSettings::default()).unwrap()),
            decoder: arena.decoder().unwrap(),
            heard: Vec::new(),
        }
    }

    /// The next 20 ms of its tone.
    fn packet(&mut self) -> Vec<u8> {
        let angle = |n| n as f64 * self.tone_hz * TAU / 8_000.0;
        let pcm: Vec<i16> = (self.phase..self.phase + FRAME)
            .map(|n| (6_000.0 * f64::sin(angle(n))) as i16)
            .collect();
        self.phase += FRAME;
        let mut payload = vec![0; 500];
        let length = match &mut self.encoder {
            Some(encoder) => encoder.encode(&pcm, &mut payload).unwrap(),
            None => {
                g711::encode(Law::Mu, &pcm, &mut payload);
                FRAME
            }
        };
        let mut packet = vec![0; 12];
        self.header.write(packet.first_chunk_mut().unwrap());
        packet.extend_from_slice(&payload[..length]);
        self.header.sequence_number = self.header.sequence_number.next();
        self.header.timestamp = self.header.timestamp + FRAME as u32 * self.clock;
        packet
    }

    fn hear(&mut self, payload: &[u8]) {
        let mut pcm = [0; 960];
        let samples = if self.encoder.is_some() {
            self.decoder.decode(payload, &mut pcm).unwrap()
        } else {
            g711::decode(Law::Mu, payload, &mut pcm);
            payload.len()
        };
        self.heard.extend(&pcm[..samples]);
    }

    /// The share of what it heard that lies at a tone, the first packets left out.
    fn share_of(&self, tone_hz: f64) -> f64 {
        let heard = &self.heard[self.heard.len() / 4..];
        let (mut i, mut q, mut all) = (0.0, 0.0, 0.0);
        for (n, sample) in heard.iter().enumerate() {
            let (angle, sample) = (n as f64 * tone_hz * TAU / 8_000.0, f64::from(*sample));
            (i, q, all) =
                (i + sample * angle.cos(), q + sample * angle.sin(), all + sample * sample);
        }
        2.0 * (i * i + q * q) / (heard.len() as f64 * all)
    }
}

/// Half a second of talk both ways, each end by what our SDP told it; each hears the other's tone.
fn talk(world: &mut World, call: &Established, [browser, trunk]: &mut [End; 2]) {
    let [browser_peer, trunk_peer] = match world.peers[call.caller].web {
        Some(_) => [call.caller, call.callee],
        None => [call.callee, call.caller],
    };
    let ours = TrunkAnswer::parse(&call.trunk_sdp).unwrap().audio;
    let (theirs, ours_rtp) = (SocketAddr::from(TRUNK_MEDIA), ours.remote.unwrap());
    world.peers[trunk_peer].media.clear();
    world.web(browser_peer).heard.clear();
    for _ in 0..25 {
        let packet = browser.packet();
        world.web(browser_peer).say(&packet);
        world.media.receive(theirs, ours_rtp, &trunk.packet());
        world.advance(Duration::from_millis(20));
    }
    let at_trunk = world.peers[trunk_peer].take_rtp();
    let at_browser = std::mem::take(&mut world.web(browser_peer).heard);
    for heard in [at_trunk.len(), at_browser.len()] {
        assert!((24..=26).contains(&heard), "{heard} packets");
    }
    for (datagram, header, payload) in at_trunk {
        assert_eq!((datagram.from, datagram.to), (ours_rtp, theirs));
        assert_eq!(header.payload_type, PayloadType::PCMU);
        trunk.hear(&payload);
    }
    for (header, payload) in at_browser {
        assert_eq!(header.payload_type, browser.header.payload_type);
        browser.hear(&payload);
    }
    for (end, tone_hz) in [(&*browser, TRUNK_HZ), (&*trunk, BROWSER_HZ)] {
        let share = end.share_of(tone_hz);
        assert!(share > 0.9, "{share} of what was heard is the tone");
    }
}

#[test]
fn audio_crosses_both_ways_by_what_the_sdps_say_and_goes_on_when_signaling_dies() {
    for establish in [World::outgoing_call, World::incoming_call] {
        let mut world = World::default();
        let call = establish(&mut world);
        let offered = BrowserOffer::parse(&call.browser_sdp).unwrap().audio.formats.codings;
        let opus = offered.iter().find(|coding| coding.codec == Codec::Opus).unwrap();
        let arena = OpusArena::new(2).unwrap();
        let mut ends = [
            End::new(&arena, opus.payload_type, Codec::Opus, BROWSER_HZ),
            End::new(&arena, PayloadType::PCMU, Codec::Pcmu, TRUNK_HZ),
        ];
        talk(&mut world, &call, &mut ends);
        world.restart_signaling();
        talk(&mut world, &call, &mut ends);
        for side in Side::BOTH {
            assert_eq!(world.media.discards(side), 0, "packets of leg {side} went no further");
        }
    }
}
