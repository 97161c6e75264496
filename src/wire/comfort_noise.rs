//! Comfort noise (RFC 3389): how loud the silence is that a sender leaves out.
//!
//! Only the level is read and written; the spectrum that may follow it is left alone, and the noise is
//! white (RFC 3389 §3.3 lets a receiver do so).

use crate::base::discard::Discard;
use crate::base::narrow::{Rounded, single};
use crate::wire::rtp::PayloadType;

/// Its static payload type at 8 kHz (RFC 3551 §6).
pub const STATIC: u8 = 13;

/// A noise level in -dBov, 0..=127 (RFC 3389 §3.1): the larger, the quieter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoiseLevel(u8);

impl NoiseLevel {
    /// The quietest.
    pub const SILENCE: Self = Self(127);

    /// A level; what no payload can say is the quietest.
    pub const fn new(below_overload_db: u8) -> Self {
        if below_overload_db > 127 { Self::SILENCE } else { Self(below_overload_db) }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Discard::BadPayload`] when it is empty.
    pub fn parse(payload: &[u8]) -> Result<Self, Discard> {
        // The first bit is reserved.
        payload.first().map(|byte| Self(byte & 0x7F)).ok_or(Discard::BadPayload)
    }

    /// The payload without a spectrum.
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// The level of a signal.
    pub fn of(pcm: &[i16]) -> Self {
        let energy: f64 = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        Self::of_mean_square(single(energy / pcm.len().max(1) as f64))
    }

    /// The level of a signal of this mean square.
    pub fn of_mean_square(mean_square: f32) -> Self {
        let below_overload = -10.0 * (mean_square / 32_768.0_f32.powi(2)).max(1e-13).log10();
        Self(below_overload.clamp(0.0, 127.0).rounded())
    }

    /// The root mean square of a signal of this level.
    pub fn root_mean_square(self) -> f32 {
        32_768.0 * 10_f32.powf(-f32::from(self.0) / 20.0)
    }

    /// How many dB apart two levels are.
    pub const fn distance_db(self, other: Self) -> u8 {
        self.0.abs_diff(other.0)
    }
}

/// The static payload type as a value.
pub const fn static_payload_type() -> Option<PayloadType> {
    PayloadType::new(STATIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_read_written_and_measured() {
        assert_eq!(NoiseLevel::parse(&[]), Err(Discard::BadPayload));
        for level in 0..=127 {
            let read = NoiseLevel::parse(&[level, 1, 2, 3]).unwrap();
            assert_eq!(NoiseLevel::parse(&[level | 0x80]), Ok(read));
            assert_eq!(read.to_byte(), level);
            if (6..=84).contains(&level) {
                let amplitude: i16 = read.root_mean_square().rounded();
                let square: Vec<_> =
                    (0..160).map(|n| if n & 1 == 0 { amplitude } else { -amplitude }).collect();
                assert!(NoiseLevel::of(&square).distance_db(read) <= 1, "{level}");
            }
        }
        assert_eq!(NoiseLevel::of(&[0; 160]), NoiseLevel::SILENCE);
        assert_eq!(NoiseLevel::of(&[]), NoiseLevel::SILENCE);
    }
}
