//! G.711: 8-bit µ-law and A-law (ITU-T G.711), bit-exact to the ITU-T's own software (G.191) on
//! every 16-bit sample and every code.
//!
//! In and out: one byte and one sample each, in slices of equal length; where they differ the
//! shorter one decides.

/// The two laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// µ-law, PCMU: 14-bit resolution.
    Mu,
    /// A-law, PCMA: 13-bit resolution.
    A,
}

/// Decodes `payload` into `out`.
pub fn decode(law: Law, payload: &[u8], out: &mut [i16]) {
    let table = match law {
        Law::Mu => &MU_TO_PCM,
        Law::A => &A_TO_PCM,
    };
    for (sample, code) in out.iter_mut().zip(payload) {
        *sample = table[usize::from(*code)];
    }
}

/// Encodes `pcm` into `out`.
pub fn encode(law: Law, pcm: &[i16], out: &mut [u8]) {
    match law {
        Law::Mu => out.iter_mut().zip(pcm).for_each(|(code, sample)| *code = mu_from(*sample)),
        Law::A => out.iter_mut().zip(pcm).for_each(|(code, sample)| *code = a_from(*sample)),
    }
}

/// Turns one law's codes into the other's by one look-up: the same as decoding and encoding again.
pub fn transcode(from: Law, to: Law, payload: &[u8], out: &mut [u8]) {
    let table = match (from, to) {
        (Law::Mu, Law::A) => &MU_TO_A,
        (Law::A, Law::Mu) => &A_TO_MU,
        (Law::Mu, Law::Mu) | (Law::A, Law::A) => {
            let length = payload.len().min(out.len());
            return out[..length].copy_from_slice(&payload[..length]);
        }
    };
    for (code, original) in out.iter_mut().zip(payload) {
        *code = table[usize::from(*original)];
    }
}

/// The code of a zero sample.
pub const fn silence(law: Law) -> u8 {
    match law {
        Law::Mu => 0xFF,
        Law::A => 0xD5,
    }
}

/// Exponent bias of an `f32`, in the position it has after the mantissa was cut to four bits.
const F32_BIAS: u32 = 127 << 4;

/// The exponent of `magnitude` and the four bits below its leading one, side by side: converting to
/// `f32` finds the segment without a branch or a table, and the compiler vectorises it. Exact, since
/// the magnitudes have fewer than 24 bits.
#[inline]
const fn logarithm(magnitude: i32) -> u32 {
    ((magnitude as f32).to_bits() >> 19).wrapping_sub(F32_BIAS)
}

/// Segments are a factor of two apart and hold 16 steps each; with 33 added the first begins at 32.
/// Negative samples are mirrored by one's complement, as the ITU-T's software does.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bits of a code; the tests go through every one"
)]
#[inline]
const fn mu_from(sample: i16) -> u8 {
    let sign = (sample >> 15) as i32;
    let biased = ((sample as i32 ^ sign) >> 2) + 33;
    let magnitude = if biased > 0x1FFF { 0x1FFF } else { biased };
    let code = logarithm(magnitude).wrapping_sub(5 << 4);
    (!code as u8 & 0x7F) | (!sign as u8 & 0x80)
}

/// As µ-law, but the first two segments share one step size, so nothing is added.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bits of a code; the tests go through every one"
)]
#[inline]
const fn a_from(sample: i16) -> u8 {
    let sign = (sample >> 15) as i32;
    let magnitude = (sample as i32 ^ sign) >> 4;
    let logarithmic = logarithm(magnitude).wrapping_sub(3 << 4);
    let code = if magnitude < 16 { magnitude as u32 } else { logarithmic };
    (code as u8 | (!sign as u8 & 0x80)) ^ 0x55
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bits of a code; the tests go through every one"
)]
const MU_TO_PCM: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = !code & 0xFF;
        let magnitude = ((((bits & 0x0F) << 1) + 33) << ((bits >> 4) & 7)) - 33;
        table[code as usize] = (if bits & 0x80 != 0 { -magnitude } else { magnitude } * 4) as i16;
        code += 1;
    }
    table
};

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bits of a code; the tests go through every one"
)]
const A_TO_PCM: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = code ^ 0x55;
        let step = (bits & 0x0F) << 1;
        let magnitude = match (bits >> 4) & 7 {
            0 => step + 1,
            segment => (step + 33) << (segment - 1),
        };
        table[code as usize] = (if bits & 0x80 != 0 { magnitude } else { -magnitude } * 8) as i16;
        code += 1;
    }
    table
};

const MU_TO_A: [u8; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = a_from(MU_TO_PCM[code]);
        code += 1;
    }
    table
};

const A_TO_MU: [u8; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = mu_from(A_TO_PCM[code]);
        code += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The encoder by search over the Recommendation's decision values, which are written here as
    /// sums of segments (tables 1a and 2a of G.711) and share nothing with the code above.
    fn by_decision_values(law: Law, sample: i16) -> u8 {
        let (resolution_bits, first_steps): (u32, &[(i32, i32)]) = match law {
            Law::Mu => (14, &[(1, 1), (15, 2)]),
            Law::A => (12, &[(32, 1)]),
        };
        let mut decisions = vec![0];
        for (count, step) in first_steps {
            for _ in 0..*count {
                decisions.push(decisions[decisions.len() - 1] + step);
            }
        }
        let mut step = first_steps[first_steps.len() - 1].1;
        while decisions.len() <= 128 {
            step *= 2;
            for _ in 0..16 {
                decisions.push(decisions[decisions.len() - 1] + step);
            }
        }
        let value = if sample < 0 { !sample } else { sample };
        let value = i32::from(value) >> (16 - resolution_bits);
        let above = decisions.iter().take(128).filter(|decision| **decision <= value).count();
        let number = u8::try_from(above - 1).unwrap();
        let sign = if sample < 0 { 0 } else { 0x80 };
        match law {
            Law::Mu => (sign | number) ^ 0x7F,
            Law::A => (sign | number) ^ 0x55,
        }
    }

    /// The decoder by the formula of G.711 §3: the middle of the interval.
    fn by_formula(law: Law, code: u8) -> i16 {
        let (bits, scale) = match law {
            Law::Mu => (!code, 4.0),
            Law::A => (code ^ 0x55, 16.0),
        };
        let (segment, step) = (i32::from(bits >> 4 & 7), f64::from(bits & 15));
        let magnitude = match (law, segment) {
            (Law::Mu, _) => (step + 16.5) * 2f64.powi(segment + 1) - 33.0,
            (Law::A, 0) => step + 0.5,
            (Law::A, _) => (step + 16.5) * 2f64.powi(segment - 1),
        };
        let negative = (bits & 0x80 == 0) == (law == Law::A);
        (scale * if negative { -magnitude } else { magnitude }) as i16
    }

    fn every_code() -> Vec<u8> {
        (0..=255).collect()
    }

    #[test]
    fn every_sample_is_encoded_as_the_decision_values_say() {
        let samples: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        for law in [Law::Mu, Law::A] {
            let mut codes = vec![0; samples.len()];
            encode(law, &samples, &mut codes);
            for (sample, code) in samples.iter().zip(codes) {
                assert_eq!(code, by_decision_values(law, *sample), "{law:?} {sample}");
            }
        }
    }

    #[test]
    fn every_code_is_decoded_as_the_formula_says() {
        for law in [Law::Mu, Law::A] {
            let mut samples = [0; 256];
            decode(law, &every_code(), &mut samples);
            for code in 0..=255 {
                assert_eq!(samples[usize::from(code)], by_formula(law, code), "{law:?} {code}");
            }
        }
    }

    #[test]
    fn the_ends_of_the_scale_are_those_of_the_recommendation() {
        let mut samples = [0; 4];
        decode(Law::Mu, &[0x80, 0x00, 0xFF, 0x7F], &mut samples);
        assert_eq!(samples, [32_124, -32_124, 0, 0]);
        decode(Law::A, &[0xAA, 0x2A, 0xD5, 0x55], &mut samples);
        assert_eq!(samples, [32_256, -32_256, 8, -8]);
    }

    #[test]
    fn every_code_survives_a_second_encoding_but_negative_zero() {
        for law in [Law::Mu, Law::A] {
            let (mut samples, mut codes) = ([0; 256], [0; 256]);
            decode(law, &every_code(), &mut samples);
            encode(law, &samples, &mut codes);
            let changed: Vec<u8> = every_code()
                .into_iter()
                .filter(|code| codes[usize::from(*code)] != *code)
                .collect();
            assert_eq!(changed, if law == Law::Mu { vec![0x7F] } else { vec![] });
        }
    }

    #[test]
    fn transcoding_equals_decoding_and_encoding() {
        for (from, to) in [(Law::Mu, Law::A), (Law::A, Law::Mu), (Law::Mu, Law::Mu)] {
            let (mut samples, mut expected, mut codes) = ([0; 256], [0; 256], [0; 256]);
            decode(from, &every_code(), &mut samples);
            encode(to, &samples, &mut expected);
            transcode(from, to, &every_code(), &mut codes);
            expected[0x7F] = if from == to { 0x7F } else { expected[0x7F] }; // untouched
            assert_eq!(codes, expected, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn silence_is_the_code_of_zero() {
        for law in [Law::Mu, Law::A] {
            let mut code = [0];
            encode(law, &[0], &mut code);
            assert_eq!(code[0], silence(law));
        }
    }

    #[test]
    fn the_shorter_slice_decides() {
        let mut samples = [1; 4];
        decode(Law::Mu, &[0xFF; 2], &mut samples);
        assert_eq!(samples, [0, 0, 1, 1]);
        let mut codes = [7; 2];
        encode(Law::A, &[0; 4], &mut codes);
        assert_eq!(codes, [0xD5; 2]);
        let mut codes = [7; 4];
        transcode(Law::A, Law::A, &[1, 2], &mut codes);
        assert_eq!(codes, [1, 2, 7, 7]);
    }
}
