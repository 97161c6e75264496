//! What the far ends send: speech as PCMU, and as Opus the way browsers encode it.

use std::sync::Arc;

use linecard::audio::opus::{EncoderSettings, OpusArena};
use linecard::wire::rtp::PayloadType;
use serde::Serialize;

use crate::ends::fullband::FullbandEncoder;

#[path = "../../../benches/material/speech.rs"]
pub mod speech;

/// What a browser was asked for, and so what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum BrowserKind {
    /// Opus as asked for: `maxplaybackrate=8000`, SILK narrowband.
    Narrowband,
    /// Opus by default: hybrid fullband frames at 32 kb/s, of telephone speech and its images above 4 kHz.
    Fullband,
    /// G.711: the engine only relays, SRTP to RTP.
    Pcmu,
}

impl BrowserKind {
    /// As in the control protocol.
    pub fn codec_name(self) -> &'static str {
        match self {
            BrowserKind::Narrowband | BrowserKind::Fullband => "opus",
            BrowserKind::Pcmu => "pcmu",
        }
    }

    /// On the wire.
    pub fn payload_type(self) -> PayloadType {
        let opus = PayloadType::new(111);
        opus.filter(|_| self != BrowserKind::Pcmu).unwrap_or(PayloadType::PCMU)
    }

    /// RTP clock in a packet of 20 ms.
    pub fn timestamp_step(self) -> u32 {
        if self == BrowserKind::Pcmu { 160 } else { 960 }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            BrowserKind::Narrowband => "Opus narrowband, as asked for",
            BrowserKind::Fullband => "Opus fullband, by default",
            BrowserKind::Pcmu => "PCMU, relayed",
        }
    }
}

/// What the browsers do with RED (RFC 2198).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Red {
    /// Nothing: they do not offer it.
    None,
    /// They understand it, as every Chromium does.
    Accept,
    /// They also send it, each packet with the one before, as Chromium does when the answer prefers it.
    Both,
}

impl Red {
    /// On the wire, of what they understand.
    pub fn heard(self) -> Option<PayloadType> {
        PayloadType::new(RED).filter(|_| self != Red::None)
    }

    /// On the wire, of what they send.
    pub fn sent(self) -> Option<PayloadType> {
        PayloadType::new(RED).filter(|_| self == Red::Both)
    }
}

/// As Chromium numbers it.
const RED: u8 = 63;

/// Speech in both forms that a call needs.
#[derive(Clone)]
pub struct Material {
    /// What the browser sends.
    pub browser: Arc<Vec<Vec<u8>>>,
    /// What the trunk sends.
    pub trunk: Arc<Vec<Vec<u8>>>,
}

impl Material {
    /// Encodes it.
    pub fn new(browser: BrowserKind) -> Self {
        let trunk = Arc::new(speech::pcmu().iter().map(|codes| codes.to_vec()).collect());
        let browser = match browser {
            BrowserKind::Narrowband => Arc::new(narrowband()),
            BrowserKind::Fullband => Arc::new(fullband()),
            BrowserKind::Pcmu => Arc::clone(&trunk),
        };
        Self { browser, trunk }
    }

    /// What the browser's payload is: bit rate, and of Opus the modes.
    pub fn description(&self, browser: BrowserKind) -> String {
        let kbps = self.kbps();
        match browser {
            BrowserKind::Pcmu => format!("{kbps:.1} kb/s"),
            _ => format!("{kbps:.1} kb/s, {}", modes(&self.browser)),
        }
    }

    /// Mean bit rate of the browser's payload in kb/s.
    fn kbps(&self) -> f64 {
        let bytes: usize = self.browser.iter().map(Vec::len).sum();
        bytes as f64 * 8.0 / (self.browser.len() as f64 * 20.0)
    }
}

/// Share of Opus packets in each mode and bandwidth, by their first byte (RFC 6716 §3.1, table 2).
fn modes(packets: &[Vec<u8>]) -> String {
    let share = |modes: std::ops::RangeInclusive<u8>| {
        let count = packets.iter().filter(|packet| modes.contains(&(packet[0] >> 3)));
        count.count() * 100 / packets.len()
    };
    let modes = [
        ("SILK narrowband", 0..=3),
        ("SILK wider", 4..=11),
        ("hybrid superwideband", 12..=13),
        ("hybrid fullband", 14..=15),
        ("CELT", 16..=31),
    ];
    let named = modes.map(|(name, modes)| (name, share(modes)));
    let named = named.iter().filter(|(_, share)| *share > 0);
    named.map(|(name, share)| format!("{name} {share} %")).collect::<Vec<_>>().join(", ")
}

/// What Chromium sends when the answer asks for `maxplaybackrate=8000;maxaveragebitrate=24000`:
/// SILK narrowband, complexity 9, no redundancy while nothing is reported lost.
fn narrowband() -> Vec<Vec<u8>> {
    let arena = OpusArena::new(1).expect("memory for one encoder");
    let settings = EncoderSettings {
        bit_rate: 24_000,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_browser_sends_what_it_is_named_for() {
        let narrowband = Material::new(BrowserKind::Narrowband);
        assert_eq!(modes(&narrowband.browser), "SILK narrowband 100 %");
        let fullband = Material::new(BrowserKind::Fullband);
        let hybrid_fullband =
            fullband.browser.iter().filter(|packet| (14..=15).contains(&(packet[0] >> 3)));
        let share = hybrid_fullband.count() as f64 / fullband.browser.len() as f64;
        assert!(share > 0.95, "{}", modes(&fullband.browser));
        assert!((28.0..36.0).contains(&fullband.kbps()), "{}", fullband.kbps());
    }
}
