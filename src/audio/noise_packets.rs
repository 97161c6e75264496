//! Comfort noise as Opus packets: of every level a few, encoded once for the whole process.
//!
//! A browser's decoder makes noise by itself while nothing comes (RFC 6716 §2.1.9), and as loud as it
//! last heard it: but it learns only from SILK frames whose encoder found no voice in them. The
//! encoder of a call does not say so of a noise that begins: its voice detection takes one for speech
//! that is 20 dB above what it knows, for seconds. The far end then has nothing to go by and plays 8
//! to 14 dB too little. The packets here come from an encoder that has heard the noise for long, so
//! that all of them say that there is no voice. They do not depend on what the decoder heard before,
//! as each has one SILK frame without pitch, and cost nobody an encoder.
//!
//! In: a level. Out: the packets of it, one after another. How long they are sent and when the far
//! decoder is left alone is decided in [`crate::media`].

use std::sync::OnceLock;

use super::SAMPLES_PER_MS;
use super::noise::NoiseSource;
use super::opus::{EncoderMode, EncoderSettings, OpusArena};
use crate::base::opaque::opaque;
use crate::wire::comfort_noise::NoiseLevel;

/// Samples of each packet: 20 ms, whatever the leg's packet time, as that is the longest SILK frame.
pub const NOISE_SAMPLES: usize = 20 * SAMPLES_PER_MS;
/// The loudest level there is, in -dBov. A trunk that calls something louder noise is not believed.
const LOUDEST: u8 = 36;
/// The quietest: beyond it the noise has a sample or two of amplitude.
const QUIETEST: u8 = 86;
/// From one level to the next in dB.
const STEP: u8 = 2;
const LEVELS: usize = ((QUIETEST - LOUDEST) / STEP + 1) as usize;
/// Packets of a level: 640 ms, so that their coming round is not heard as a tone or a rattle.
const PACKETS: usize = 32;
/// Room for one: at this rate they have 10 to 20 bytes.
const PACKET_BYTES_MAX: usize = 128;
/// What an encoder needs to be almost sure that the loudest is no voice (4 s). All that follows is
/// quieter.
const SETTLING_FRAMES: usize = 200;
/// Frames that are encoded of a level at most, until there are enough without a voice.
const FRAMES_MAX: usize = 4 * PACKETS;
/// What it needs to follow the step to the next.
const STEP_FRAMES: usize = 4;
/// SILK as cheap as it gets; the spectrum of white noise has no need of bits.
const SETTINGS: EncoderSettings = EncoderSettings {
    mode: EncoderMode::Silk,
    bit_rate: 8_000,
    complexity: 0,
    fec: false,
    expected_loss_percent: 0,
};
/// By how much white noise is played more quietly than it was encoded, in dB: SILK loses 2 at this rate,
/// and a decoder left alone 1 more.
const LOST_DB: u8 = 3;

/// The packets of every level; none of any, until they are made.
pub struct NoisePackets {
    packets: OnceLock<Vec<Box<[u8]>>>,
}

opaque!(NoisePackets);

impl NoisePackets {
    /// The process's own.
    pub fn shared() -> &'static Self {
        static SHARED: NoisePackets = NoisePackets { packets: OnceLock::new() };
        &SHARED
    }

    /// Makes them, unless they are there, in about 33 ms: too long for a packet that waits. `between` is
    /// called after each: others may run then.
    pub fn make(&self, between: impl FnMut()) {
        self.packets.get_or_init(|| encode(between));
    }

    /// The packet of the level nearest to `level`, for the `number`th time. `None` until they are made,
    /// and where not even one encoder could be had.
    pub fn packet(&self, level: NoiseLevel, number: usize) -> Option<&[u8]> {
        let below_loudest = level.to_byte().clamp(LOUDEST, QUIETEST) - LOUDEST;
        let level = usize::from((below_loudest + STEP / 2) / STEP);
        self.packets.get()?.get(level * PACKETS + number % PACKETS).map(AsRef::as_ref)
    }
}

fn encode(mut between: impl FnMut()) -> Vec<Box<[u8]>> {
    let encoder = OpusArena::new(1).ok().and_then(|arena| arena.encoder(SETTINGS).ok());
    let Some(mut encoder) = encoder else { return Vec::new() };
    let mut source = NoiseSource::default();
    let mut encode = |level: u8| {
        let (mut pcm, mut packet) = ([0; NOISE_SAMPLES], [0; PACKET_BYTES_MAX]);
        source.fill(NoiseLevel::new(level - LOST_DB), &mut pcm);
        let bytes = encoder.encode(&pcm, &mut packet).unwrap_or(0);
        between();
        Box::from(&packet[..bytes])
    };
    (0..SETTLING_FRAMES).for_each(|_| drop(encode(LOUDEST)));
    let mut packets = Vec::with_capacity(LEVELS * PACKETS);
    for level in (LOUDEST..=QUIETEST).step_by(usize::from(STEP)) {
        (0..STEP_FRAMES).for_each(|_| drop(encode(level)));
        let of_level = (0..FRAMES_MAX).map(|_| encode(level));
        packets.extend(of_level.filter(|packet| has_no_voice(packet)).take(PACKETS));
    }
    packets
}

/// The first bit of a SILK frame says whether its encoder took it for speech (RFC 6716 §4.2.3).
fn has_no_voice(packet: &[u8]) -> bool {
    packet.get(1).is_some_and(|byte| byte >> 7 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::ladder::Rung;
    use crate::audio::synthetic::speech;

    fn made() -> &'static NoisePackets {
        NoisePackets::shared().make(|| {});
        NoisePackets::shared()
    }

    fn level_db(pcm: &[i16]) -> f64 {
        let energy: f64 = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        -20.0 * ((energy / pcm.len() as f64).sqrt() / 32_768.0).max(1e-9).log10()
    }

    #[test]
    fn every_packet_says_that_there_is_no_voice_and_has_its_level() {
        let arena = OpusArena::new(1).unwrap();
        let noise = made();
        assert_eq!(noise.packets.get().unwrap().len(), LEVELS * PACKETS);
        for level in LOUDEST..=QUIETEST {
            let mut decoder = arena.decoder().unwrap();
            let mut heard = Vec::new();
            for number in 0..3 * PACKETS {
                let packet = noise.packet(NoiseLevel::new(level), number).unwrap();
                // One frame of 20 ms by SILK for 4 kHz (RFC 6716 §3.1).
                assert_eq!(packet[0], 1 << 3);
                assert!(has_no_voice(packet), "{level}");
                assert!((3..=32).contains(&packet.len()));
                let mut pcm = [0; NOISE_SAMPLES];
                assert_eq!(decoder.decode(packet, &mut pcm), Ok(NOISE_SAMPLES));
                heard.extend(pcm);
            }
            let heard = level_db(&heard[PACKETS * NOISE_SAMPLES..]);
            assert!((heard - f64::from(level)).abs() < 2.0, "{level}: {heard:.1}");
        }
    }

    #[test]
    fn there_are_none_until_they_are_made() {
        let noise = NoisePackets { packets: OnceLock::new() };
        assert_eq!(noise.packet(NoiseLevel::new(50), 0), None);
        noise.make(|| {});
        assert_eq!(noise.packet(NoiseLevel::new(50), 0), made().packet(NoiseLevel::new(50), 0));
    }

    #[test]
    fn a_level_beyond_the_last_is_the_last() {
        let noise = made();
        let packet = |level| noise.packet(NoiseLevel::new(level), 5).unwrap();
        assert_eq!(packet(0), packet(LOUDEST));
        assert_eq!(packet(127), packet(QUIETEST));
    }

    /// What a browser hears when speech on any rung is followed by noise: ten packets, then one
    /// without audio and its own decoder's noise, with one packet and one without audio every 400 ms.
    #[test]
    fn a_decoder_goes_on_with_the_noise_at_its_level_on_every_rung() {
        let noise = made();
        let arena = OpusArena::new(1).unwrap();
        for rung in Rung::ALL {
            for level in [35, 40, 45, 50, 55, 60, 65, 70] {
                let mut decoder = arena.decoder().unwrap();
                let mut encoder = arena.encoder(rung.settings()).unwrap();
                let mut pcm = [0; NOISE_SAMPLES];
                for spoken in speech(16_000).chunks_exact(NOISE_SAMPLES) {
                    let mut packet = [0; 1_500];
                    let bytes = encoder.encode(spoken, &mut packet).unwrap();
                    decoder.decode(&packet[..bytes], &mut pcm).unwrap();
                }
                let mut heard = Vec::new();
                for frame in 0..250 {
                    let packet = noise.packet(NoiseLevel::new(level), frame).unwrap();
                    if frame < 10 || frame % 20 == 0 {
                        decoder.decode(packet, &mut pcm).unwrap();
                    } else if frame == 10 || frame % 20 == 1 {
                        decoder.decode(&packet[..1], &mut pcm).unwrap();
                    } else {
                        decoder.conceal(&mut pcm);
                    }
                    heard.extend(pcm);
                }
                // Beginning with the third packet: SILK falls by 22 dB with each at most.
                for (fifth, heard) in heard[2 * NOISE_SAMPLES..].chunks(1_600).enumerate() {
                    let wrong = level_db(heard) - f64::from(level);
                    assert!(wrong.abs() < 3.0, "{rung:?}, {level}, after {fifth}/5 s: {wrong:.1}");
                }
            }
        }
    }
}
