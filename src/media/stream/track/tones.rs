//! Digits in a track's audio (DTMF): heard, they are telephone events like those that come as packets.

use super::Track;
use crate::audio::dtmf::{HeardEvent, Sounded, ToneDetector};
use crate::audio::g711;
use crate::audio::repair::Packet;
use crate::base::narrow::{LowHalf, Narrow};
use crate::base::opaque::opaque;
use crate::control::message::Codec;
use crate::media::leg::outlet::Outlet;
use crate::media::stream::transcoder::law_of;
use crate::wire::rtp::RtpTimestamp;
use crate::wire::telephone_event::{Digit, TelephoneEvent};

/// The clock of G.711, and so of the events that are heard in it.
const CLOCK_HZ: u32 = 8_000;
/// Samples that may be missing within a digit: two packets of 20 ms, for a pause between two of the same
/// is no shorter.
const MISSING_MAX: i32 = 320;
/// Samples that are decoded at once.
const PIECE: usize = 160;
/// How loud an event is said to be, in -dBm0: receivers make the tone as loud as they want.
const VOLUME: u8 = 10;

/// What is listened with.
#[derive(Default)]
pub(super) struct Tones {
    detector: ToneDetector,
    /// The timestamp that follows what was heard.
    next: Option<RtpTimestamp>,
}

opaque!(Tones);

impl Track {
    /// Whether digits are listened for in the audio.
    pub fn listen_for_tones(&mut self, wanted: bool) {
        if wanted != self.tones.is_some() {
            self.tones = wanted.then(Box::default);
        }
    }

    /// Whether a digit sounds, or may be about to: it is not to be heard beside the event.
    pub(super) fn is_tone_suspected(&self) -> bool {
        self.tones.as_ref().is_some_and(|tones| tones.detector.is_suspected())
    }

    /// Another source: nothing that lasts goes on in it.
    pub(super) fn forget_tones(&mut self) {
        if let Some(tones) = &mut self.tones {
            **tones = Tones::default();
        }
    }

    /// Audio in its turn: the digits in it are relayed, and while one lasts the audio is not.
    pub fn hear_tones(&mut self, codec: Codec, packet: Packet<'_>, out: &mut Outlet<'_>) {
        let Some(tones) = &mut self.tones else { return };
        // One that ends, another one that lasts: more do not fit into a packet.
        let mut ended: [Option<Sounded>; 2] = [None, None];
        let mut keep = |sounded| {
            if let Some(place) = ended.iter_mut().find(|place| place.is_none()) {
                *place = Some(sounded);
            }
        };
        let timestamp = packet.header.timestamp;
        match tones.next.map_or(0, |next| timestamp.distance(next)) {
            0 => {}
            missing @ 1..=MISSING_MAX => tones.detector.skip(u64::from(missing.unsigned_abs())),
            // Another clock: what lasted is given up where it is relayed.
            _ => tones.detector = ToneDetector::default(),
        }
        let began = tones.detector.heard();
        for codes in packet.payload.chunks(PIECE) {
            let mut audio = [0; PIECE];
            let audio = &mut audio[..codes.len()];
            g711::decode(law_of(codec), codes, audio);
            tones.detector.hear(audio.iter().copied(), &mut keep);
        }
        tones.next = Some(timestamp + packet.payload.len().narrow());
        let sounding = tones.detector.sounding();

        let event = |digit: Digit, since: u64, samples: u64, end| HeardEvent {
            sequence_number: packet.header.sequence_number,
            timestamp: timestamp + since.wrapping_sub(began).low_half(),
            event: TelephoneEvent {
                event: digit.event(),
                end,
                volume: VOLUME,
                duration: u16::try_from(samples).unwrap_or(u16::MAX),
            },
        };
        let over = ended.into_iter().flatten();
        let over = over.map(|Sounded { digit, since, samples }| event(digit, since, samples, true));
        let lasting = sounding.map(|it| event(it.digit, it.since, it.samples(), false));
        for heard in over.chain(lasting) {
            let sent = self.relay_event(CLOCK_HZ, heard, Some(heard.timestamp), out);
            self.count(sent);
        }
    }
}
