//! Numbers in fewer bits. A cast says neither whether its value fits nor what happens when it does not;
//! here each has a name. None costs more than the cast: that a value fits is looked at in builds with
//! debug assertions only.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the one place where numbers are made narrower"
)]

/// A number that is known to fit into fewer bits: bounded when it was read, or a length with a limit.
pub trait Narrow<To> {
    /// The same number.
    fn narrow(self) -> To;
}

macro_rules! narrow {
    ($($from:ty => $($to:ty)+;)+) => {
        $($(
            impl Narrow<$to> for $from {
                #[inline]
                fn narrow(self) -> $to {
                    debug_assert!(<$to>::try_from(self).is_ok(), "{self} is not in {}", stringify!($to));
                    self as $to
                }
            }
        )+)+
    };
}

narrow! {
    usize => u8 u16 u32 i16 i32 i64;
    u64 => u8 u16 u32 usize i64;
    u32 => u8 u16 i16 i32 usize;
    i64 => u16 u32 u64 usize i32;
    i32 => u8 u16 u32 usize i16;
    u128 => u32 u64 i64;
}

/// The low half of a number of twice the bits, whatever is above it.
pub trait LowHalf {
    /// A number of half the bits.
    type Half;
    /// The low half.
    fn low_half(self) -> Self::Half;
}

macro_rules! low_half {
    ($($whole:ty => $half:ty;)+) => {
        $(
            impl LowHalf for $whole {
                type Half = $half;
                #[inline]
                fn low_half(self) -> $half {
                    self as $half
                }
            }
        )+
    };
}

low_half! {
    u16 => u8;
    u32 => u16;
    u64 => u32;
}

/// A measured number as the nearest whole one: halves away from zero, what lies outside at the nearest
/// end, and no number at all as zero.
pub trait Rounded<To> {
    /// The nearest.
    fn rounded(self) -> To;
}

macro_rules! rounded {
    ($($from:ty => $($to:ty)+;)+) => {
        $($(
            impl Rounded<$to> for $from {
                #[inline]
                fn rounded(self) -> $to {
                    self.round() as $to
                }
            }
        )+)+
    };
}

rounded! {
    f32 => u8 i16 u32 i32;
    f64 => u8 u16 i16 u32 i32 u64 usize;
}

/// A measured number without its fraction; what lies outside at the nearest end, and no number at all as
/// zero.
pub trait TowardZero<To> {
    /// The whole part.
    fn toward_zero(self) -> To;
}

macro_rules! toward_zero {
    ($($from:ty => $($to:ty)+;)+) => {
        $($(
            impl TowardZero<$to> for $from {
                #[inline]
                fn toward_zero(self) -> $to {
                    self as $to
                }
            }
        )+)+
    };
}

toward_zero! {
    f32 => i16;
    f64 => u16 i16 u32 u64 usize;
}

/// In single precision.
#[inline]
pub const fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_fits_stays_the_same() {
        let (byte, port): (u8, u16) = (255_usize.narrow(), 65_535_i64.narrow());
        assert_eq!((byte, port), (255, 65_535));
        let sample: i16 = (-32_768_i32).narrow();
        assert_eq!(sample, -32_768);
    }

    #[test]
    fn a_fraction_is_left_out_and_what_lies_outside_is_the_nearest_end() {
        for (value, whole) in [(-0.9, 0), (1.9, 1), (-1.9, -1), (4e4, i16::MAX), (-4e4, i16::MIN)] {
            assert_eq!(TowardZero::<i16>::toward_zero(value), whole);
        }
        assert_eq!(TowardZero::<i16>::toward_zero(f32::NAN), 0);
        assert_eq!(TowardZero::<u32>::toward_zero(-1.0), 0);
    }

    #[test]
    #[should_panic(expected = "256 is not in u8")]
    fn a_number_that_does_not_fit_is_a_mistake_of_ours() {
        let _: u8 = 256_usize.narrow();
    }

    #[test]
    fn the_low_half_leaves_the_rest_out() {
        assert_eq!(0x1234_u16.low_half(), 0x34);
        assert_eq!(0x1_0000_0007_u64.low_half(), 7);
    }

    #[test]
    fn a_measured_number_goes_to_the_nearest_that_there_is() {
        let rounded = |value: f64| -> i16 { value.rounded() };
        assert_eq!(rounded(-0.5), -1);
        assert_eq!(rounded(1e9), i16::MAX);
        assert_eq!(rounded(f64::NAN), 0);
        let level: u8 = (-3.0_f32).rounded();
        assert_eq!(level, 0);
    }
}
