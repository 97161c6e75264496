//! What the far ends send: speech as PCMU, and as Opus the way browsers encode it.

use linecard::audio::opus::{EncoderSettings, OpusArena};

use crate::fullband::FullbandEncoder;

#[path = "../material/speech.rs"]
pub mod speech;

/// Speech in every form that is sent.
pub struct Material {
    /// For the codec loop's encoder and as what PCMU carries.
    pub pcmu: Vec<[u8; speech::FRAME]>,
    /// The two kinds of browsers.
    pub browsers: [Browser; 2],
}

/// What a browser sends.
pub struct Browser {
    /// What it was asked for.
    pub name: &'static str,
    /// 20 ms each.
    pub packets: Vec<Vec<u8>>,
}

impl Material {
    /// Encodes all of it.
    pub fn new() -> Self {
        let browsers = [
            Browser { name: "narrowband, as asked for", packets: narrowband() },
            Browser { name: "fullband, by default", packets: fullband() },
        ];
        Self { pcmu: speech::pcmu(), browsers }
    }
}

impl Browser {
    /// Mean bit rate of the payload in kb/s.
    pub fn kbps(&self) -> f64 {
        let bytes: usize = self.packets.iter().map(Vec::len).sum();
        bytes as f64 * 8.0 / (self.packets.len() as f64 * 20.0)
    }

    /// Share of packets in each mode, by their first byte (RFC 6716 §3.1).
    pub fn modes(&self) -> String {
        let share = |modes: std::ops::RangeInclusive<u8>| {
            let count = self.packets.iter().filter(|packet| modes.contains(&(packet[0] >> 3)));
            count.count() * 100 / self.packets.len()
        };
        let modes = [("SILK", 0..=11), ("hybrid", 12..=15), ("CELT", 16..=31)];
        let named = modes.map(|(name, modes)| (name, share(modes)));
        let named = named.iter().filter(|(_, share)| *share > 0);
        named.map(|(name, share)| format!("{name} {share} %")).collect::<Vec<_>>().join(", ")
    }
}

/// What Chromium sends when the answer asks for `maxplaybackrate=8000;maxaveragebitrate=32000`:
/// SILK narrowband, complexity 9, no redundancy while nothing is reported lost.
fn narrowband() -> Vec<Vec<u8>> {
    let arena = OpusArena::new(1).expect("memory for one encoder");
    let settings = EncoderSettings {
        bit_rate: 32_000,
        complexity: 9,
        expected_loss_percent: 0,
        ..EncoderSettings::default()
    };
    let mut encoder = arena.encoder(settings).expect("a free encoder");
    let mut payload = [0; 1_500];
    let mut encode = |pcm: &[i16; speech::FRAME]| {
        let length = encoder.encode(pcm, &mut payload).expect("a frame of 20 ms is encoded");
        payload[..length].to_vec()
    };
    speech::pcm().iter().map(&mut encode).collect()
}

/// What Chromium sends when it is asked for nothing: 32 kb/s from a 48 kHz microphone. Drawing
/// straight lines between the samples of the telephone band leaves images of it up to 24 kHz, which
/// keep the upper band as busy as a microphone's sibilants and noise do.
fn fullband() -> Vec<Vec<u8>> {
    const STEPS: i32 = 6;
    let mut encoder = FullbandEncoder::new();
    let mut last = 0;
    let mut encode = |pcm: &[i16; speech::FRAME]| {
        let mut wide = Vec::with_capacity(pcm.len() * STEPS as usize);
        for sample in pcm.iter().map(|sample| i32::from(*sample)) {
            wide.extend((1..=STEPS).map(|step| (last + (sample - last) * step / STEPS) as i16));
            last = sample;
        }
        encoder.encode(&wide)
    };
    speech::pcm().iter().map(&mut encode).collect()
}
