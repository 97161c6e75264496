//! Audio: codecs, loss concealment, reordering, digits, tones and recordings. Everything here is mono `i16` at 8 kHz,
//! so one millisecond is [`SAMPLES_PER_MS`] samples, whatever the RTP clock on the wire says.

pub mod conceal;
pub mod dtmf;
pub mod g711;
pub mod ladder;
pub mod noise;
pub mod noise_packets;
pub mod opus;
pub mod playout;
pub mod reception;
pub mod repair;
pub mod sequence;
pub mod shelf;
pub mod shorten;
pub mod silence;
pub mod sound;
pub mod wav;

/// The sampling rate of all audio inside.
pub const SAMPLE_RATE_HZ: u32 = 8_000;
/// Samples in a millisecond.
pub const SAMPLES_PER_MS: usize = 8;

pub(crate) mod synthetic;
