//! The encoder ladder: every way in which speech from a trunk is encoded toward a browser, with what
//! it costs and how it sounds.
//!
//! Which rung a leg is on is decided in [`crate::media::leg::encoding`]. Here stands what there is to
//! choose from. All of it is at complexity 0: libopus spends most of complexity 10 on saving bits,
//! and toward a browser bits are cheaper than cores.
//!
//! PESQ (ITU-T P.862, narrowband) is the mean of eight voices in seven languages, four runs of loss
//! each, against the G.711 that went in. The cost is the median of one 20 ms frame over 64 states in
//! turns, on one hardware thread of an AMD EPYC (Zen 4) whose other thread was busy. A change of mode
//! every second in one encoder scores 4.40 on a clean path. `tools/quality` makes the table anew.
//!
//! | rung | mode, kb/s | kb/s sent | µs | of cx 10 | 0 % | 1 % | 5 % | 10 % |
//! |---|---|---|---|---|---|---|---|---|
//! | [`Rung::SilkFec`] | SILK 48, FEC for 5 % | 41 | 31.8 | 0.46 | 4.42 | 4.38 | 4.17 | 3.89 |
//! | [`Rung::SilkRed`] | SILK 24, RED | 42 | 22.3 | 0.32 | 4.36 | 4.35 | 4.24 | 3.95 |
//! | [`Rung::CeltRed`] | CELT 48, RED | 86 | 14.4 | 0.21 | 4.43 | 4.42 | 4.32 | 4.03 |
//! | [`Rung::Celt`] | CELT 48 | 43 | 14.1 | 0.21 | 4.43 | 4.03 | 3.20 | 2.59 |
//! | for comparison: | SILK 24, complexity 10 | 21 | 68.8 | 1 | 4.45 | 4.00 | 3.05 | 2.44 |
//! | the same with FEC for 10 % | SILK 24, complexity 10 | 21 | 96.1 | 1.4 | 4.25 | 4.21 | 3.98 | 3.69 |
//!
//! Left out because others beat them: SILK without FEC (dearer than CELT, and no better under loss);
//! FEC at 36 kb/s (0.14 worse at the same cost) or prepared for more loss (worse up to 10 %); CELT
//! at 40 kb/s (0.06 worse, 5 % cheaper) or without prediction between frames (0.03 better at 5 % loss
//! and nothing saved).

use super::opus::{EncoderMode, EncoderSettings};

/// A way to encode speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// In-band FEC: survives loss on a leg without RED.
    SilkFec,
    /// RED at the bit rate of an unprotected stream: for a path so lossy that our own bits may be why.
    SilkRed,
    /// RED: survives loss best, and costs the encoder nothing.
    CeltRed,
    /// Nothing against loss.
    Celt,
}

impl Default for EncoderSettings {
    /// SILK at complexity 0 with FEC, which takes its share of the bits.
    fn default() -> Self {
        Rung::SilkFec.settings()
    }
}

impl Rung {
    /// All of them.
    pub const ALL: [Rung; 4] = [Rung::SilkFec, Rung::SilkRed, Rung::CeltRed, Rung::Celt];

    /// Its name in statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Rung::SilkFec => "silk_48k_fec",
            Rung::SilkRed => "silk_24k_red",
            Rung::CeltRed => "celt_48k_red",
            Rung::Celt => "celt_48k",
        }
    }

    /// What the encoder is told.
    pub const fn settings(self) -> EncoderSettings {
        let (mode, bit_rate, fec) = match self {
            Rung::SilkFec => (EncoderMode::Silk, 48_000, true),
            Rung::SilkRed => (EncoderMode::Silk, 24_000, false),
            Rung::CeltRed | Rung::Celt => (EncoderMode::Celt, 48_000, false),
        };
        // Up to 5 % libopus spends the same on FEC; beyond, it takes from the audio.
        let expected_loss_percent = if fec { 5 } else { 0 };
        EncoderSettings { mode, bit_rate, complexity: 0, fec, expected_loss_percent }
    }

    /// Whether each packet carries the one before as well (RFC 2198).
    pub const fn redundancy(self) -> bool {
        matches!(self, Rung::SilkRed | Rung::CeltRed)
    }

    /// Cost of a frame of 20 ms in nanoseconds, from the table above: for comparison with each other.
    pub const fn cost_ns(self) -> u32 {
        match self {
            Rung::SilkFec => 31_800,
            Rung::SilkRed => 22_300,
            Rung::CeltRed | Rung::Celt => 14_400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::opus::{OpusArena, OpusEncoder, carries_fec};
    use crate::audio::synthetic::speech;

    fn encode(encoder: &mut OpusEncoder, pcm: &[i16]) -> Vec<u8> {
        let mut packet = [0; 1_500];
        let length = encoder.encode(pcm, &mut packet).unwrap();
        packet[..length].to_vec()
    }

    /// libopus drops FEC without a word when it thinks the bit rate too low for it.
    #[test]
    fn a_rung_with_fec_really_carries_it_and_the_others_do_not() {
        let arena = OpusArena::new(1).unwrap();
        for rung in Rung::ALL {
            let mut encoder = arena.encoder(rung.settings()).unwrap();
            let packets: Vec<_> =
                speech(5 * 8_000).chunks_exact(160).map(|pcm| encode(&mut encoder, pcm)).collect();
            let with_fec = packets.iter().filter(|packet| carries_fec(packet)).count();
            let least = if rung.settings().fec { packets.len() / 2 } else { 0 };
            assert!(with_fec >= least, "{rung:?}: {with_fec} of {}", packets.len());
            assert_eq!(with_fec > 0, rung.settings().fec, "{rung:?}");
        }
    }

    /// One encoder goes through every change of rung there is.
    #[test]
    fn every_change_of_rung_reaches_the_mode_and_the_fec_of_the_new_one() {
        let arena = OpusArena::new(1).unwrap();
        let audio = speech(2 * 8_000);
        for from in Rung::ALL {
            for to in Rung::ALL {
                let mut encoder = arena.encoder(from.settings()).unwrap();
                audio.chunks_exact(160).for_each(|pcm| drop(encode(&mut encoder, pcm)));
                encoder.configure(to.settings());
                // The first packet of another mode carries the change (RFC 6716 §4.5).
                let packets: Vec<_> =
                    audio.chunks_exact(160).map(|pcm| encode(&mut encoder, pcm)).skip(2).collect();
                let silk = packets.iter().filter(|packet| packet[0] >> 3 < 4).count();
                let wanted = to.settings().mode == EncoderMode::Silk;
                assert_eq!(silk, if wanted { packets.len() } else { 0 }, "{from:?} to {to:?}");
                let fec = packets.iter().any(|packet| carries_fec(packet));
                assert_eq!(fec, to.settings().fec, "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn names_are_unique_and_none_is_the_word_for_fixed_settings() {
        let mut names = Rung::ALL.map(Rung::name).to_vec();
        names.push("fixed");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Rung::ALL.len() + 1);
    }
}
