//! White noise of a given level: what is heard of a silence that was not sent.

use crate::base::narrow::Rounded;
use crate::wire::comfort_noise::NoiseLevel;

/// Makes noise. The same on every machine and run.
#[derive(Clone, Debug)]
pub struct NoiseSource {
    /// A linear congruential generator (Numerical Recipes): nobody hears its period of 2^32.
    state: u32,
}

impl Default for NoiseSource {
    fn default() -> Self {
        Self { state: 0x2545_F491 }
    }
}

impl NoiseSource {
    /// Fills `out` with noise of `level`.
    pub fn fill(&mut self, level: NoiseLevel, out: &mut [i16]) {
        // Of a uniform distribution the peak is the square root of 3 above the root mean square.
        let peak = level.root_mean_square() * 3_f32.sqrt();
        for sample in out {
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let uniform = (self.state >> 8) as f32 / (1 << 23) as f32 - 1.0;
            *sample = (uniform * peak).rounded();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_level_asked_for() {
        let mut source = NoiseSource::default();
        for byte in 6..=80 {
            let level = NoiseLevel::parse(&[byte]).unwrap();
            let mut pcm = [0; 8_000];
            source.fill(level, &mut pcm);
            assert!(NoiseLevel::of(&pcm).distance_db(level) <= 1, "{byte}");
        }
    }
}
