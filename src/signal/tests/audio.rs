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
use crate::wire::sip::Method;

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

/// What came to the trunk and to the browser: payload types and payloads.
type Heard = [Vec<(PayloadType, Vec<u8>)>; 2];

/// Half a second of talk both ways, each end by what our SDP told it.
fn say(world: &mut World, call: &Established, [browser, trunk]: &mut [End; 2]) -> Heard {
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
    let at_trunk = at_trunk.into_iter().map(|(datagram, header, payload)| {
        assert_eq!((datagram.from, datagram.to), (ours_rtp, theirs));
        (header.payload_type, payload)
    });
    let at_browser = at_browser.into_iter().map(|(header, payload)| (header.payload_type, payload));
    [at_trunk.collect(), at_browser.collect()]
}

/// The same; each hears the other's tone.
fn talk(world: &mut World, call: &Established, ends: &mut [End; 2]) {
    ends.iter_mut().for_each(|end| end.heard.clear());
    let [at_trunk, at_browser] = say(world, call, ends);
    let [browser, trunk] = ends;
    for (end, heard) in [(&mut *trunk, at_trunk), (&mut *browser, at_browser)] {
        assert!((24..=26).contains(&heard.len()), "{} packets", heard.len());
        for (payload_type, payload) in heard {
            assert_eq!(payload_type, end.header.payload_type);
            end.hear(&payload);
        }
    }
    for (end, tone_hz) in [(&*browser, TRUNK_HZ), (&*trunk, BROWSER_HZ)] {
        let share = end.share_of(tone_hz);
        assert!(share > 0.9, "{share} of what was heard is the tone");
    }
}

fn ends(call: &Established) -> [End; 2] {
    let offered = BrowserOffer::parse(&call.browser_sdp).unwrap().audio.formats.codings;
    let opus = offered.iter().find(|coding| coding.codec == Codec::Opus).unwrap();
    let arena = OpusArena::new(2).unwrap();
    [
        End::new(&arena, opus.payload_type, Codec::Opus, BROWSER_HZ),
        End::new(&arena, PayloadType::PCMU, Codec::Pcmu, TRUNK_HZ),
    ]
}

#[test]
fn a_browser_that_holds_leaves_the_trunk_in_silence_that_is_sent() {
    for direction in ["sendonly", "inactive"] {
        let mut world = World::default();
        let mut call = world.outgoing_call();
        let mut ends = ends(&call);
        talk(&mut world, &call, &mut ends);
        world
            .change(&mut call, Side::A, |sdp| sdp.replace("a=sendrecv", &format!("a={direction}")));
        ends[1].heard.clear();
        let [at_trunk, at_browser] = say(&mut world, &call, &mut ends);
        assert!((24..=27).contains(&at_trunk.len()), "{} packets", at_trunk.len());
        for (_, payload) in &at_trunk[2..] {
            ends[1].hear(payload);
        }
        let loudest = ends[1].heard.iter().map(|sample| sample.unsigned_abs()).max();
        assert!(loudest.unwrap() < 16, "{loudest:?}");
        assert!(at_browser.len() <= 1, "{} packets", at_browser.len());
        assert!(!world.heard_request(call.callee, Method::Invite), "the trunk is not asked");
        world.change(&mut call, Side::A, |sdp| sdp);
        talk(&mut world, &call, &mut ends);
        world.hang_up(call.caller, &mut call.caller_dialog);
        world.take_bye(call.callee);
        world.assert_nothing_left();
    }
}

#[test]
fn a_trunk_that_holds_is_sent_nothing_and_the_browser_hears_what_it_plays() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let mut ends = ends(&call);
    for (direction, at_trunk_most, at_browser_least) in [("sendonly", 1, 24), ("inactive", 1, 0)] {
        world.change(&mut call, Side::B, |sdp| sdp.replace("sendrecv", direction));
        let [at_trunk, at_browser] = say(&mut world, &call, &mut ends);
        assert!(at_trunk.len() <= at_trunk_most, "{direction}: {} packets", at_trunk.len());
        assert!(at_browser.len() >= at_browser_least, "{direction}: {} packets", at_browser.len());
        assert!(direction == "sendonly" || at_browser.len() <= 1, "{} packets", at_browser.len());
        world.change(&mut call, Side::B, |sdp| sdp);
        say(&mut world, &call, &mut ends);
        talk(&mut world, &call, &mut ends);
    }
}

#[test]
fn audio_goes_on_through_a_refresh_an_ice_restart_and_a_new_certificate() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let mut ends = ends(&call);
    let browser = call.caller;
    talk(&mut world, &call, &mut ends);
    world.change(&mut call, Side::B, |sdp| sdp);
    talk(&mut world, &call, &mut ends);

    world.web(browser).ufrag = "again".to_owned();
    let restarted = world.change(&mut call, Side::A, |sdp| sdp);
    talk(&mut world, &call, &mut ends);
    world.web(browser).take(&restarted);
    talk(&mut world, &call, &mut ends);
    assert!(world.media.connection(Side::A).security.is_protected());

    world.web(browser).show_another_certificate();
    world.web(browser).start_over();
    let anew = world.change(&mut call, Side::A, |sdp| sdp);
    world.connect_media(browser, &anew);
    talk(&mut world, &call, &mut ends);
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.take_bye(call.callee);
    world.assert_nothing_left();
}

#[test]
fn audio_crosses_both_ways_by_what_the_sdps_say_and_goes_on_when_signaling_dies() {
    for establish in [World::outgoing_call, World::incoming_call] {
        let mut world = World::default();
        let call = establish(&mut world);
        let mut ends = ends(&call);
        talk(&mut world, &call, &mut ends);
        world.restart_signaling();
        talk(&mut world, &call, &mut ends);
        for side in Side::BOTH {
            assert_eq!(world.media.discards(side), 0, "packets of leg {side} went no further");
        }
    }
}
