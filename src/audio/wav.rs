//! WAV files (RIFF, Multimedia Programming Interface and Data Specifications 1.0, §3): one channel of
//! 16-bit PCM, A-law or µ-law at 8 kHz.
//!
//! In: the bytes of a file. Out: its samples, or why it has none that are understood. Chunks that say
//! nothing about the audio are passed over; a last chunk that a writer did not finish counts as far as it
//! goes.

use std::fmt;

use super::SAMPLE_RATE_HZ;
use super::g711::{self, Law};

/// The longest recording: 600 s, 9.6 MB of samples.
pub const SAMPLES_MAX: usize = 600 * SAMPLE_RATE_HZ as usize;
/// The largest file that is looked at: the longest recording, and 64 KiB of chunks that say who made it.
pub const FILE_BYTES_MAX: usize = 2 * SAMPLES_MAX + 64 * 1024;

/// Format tags (RFC 2361).
const PCM: u16 = 0x0001;
const A_LAW: u16 = 0x0006;
const MU_LAW: u16 = 0x0007;
/// The tag proper is the first field of the sub-format.
const EXTENSIBLE: u16 = 0xFFFE;
const SUB_FORMAT_OFFSET: usize = 24;

/// Why a file is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadWav {
    /// It does not begin as a WAV file does.
    NotWav,
    /// It ends within what describes the audio.
    Truncated,
    /// No chunk says what the audio is, before it begins.
    NoFormat,
    /// There is no audio in it.
    NoAudio,
    /// A coding of this format tag and so many bits a sample.
    Coding(u16, u16),
    /// So many channels.
    Channels(u16),
    /// So many samples a second.
    Rate(u32),
    /// It lasts longer than [`SAMPLES_MAX`].
    TooLong,
}

impl fmt::Display for BadWav {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWav => f.write_str("is no WAV file"),
            Self::Truncated => f.write_str("ends too early"),
            Self::NoFormat => f.write_str("does not say what its audio is before that begins"),
            Self::NoAudio => f.write_str("has no audio in it"),
            Self::Coding(tag, bits) => write!(
                f,
                "has a coding (format tag {tag:#06x}, {bits} bits) other than 16-bit PCM, A-law and µ-law"
            ),
            Self::Channels(channels) => write!(f, "has {channels} channels, not one"),
            Self::Rate(hz) => write!(f, "has {hz} samples a second, not {SAMPLE_RATE_HZ}"),
            Self::TooLong => {
                write!(f, "lasts longer than {} s", SAMPLES_MAX / SAMPLE_RATE_HZ as usize)
            }
        }
    }
}

impl std::error::Error for BadWav {}

#[derive(Clone, Copy)]
enum Coding {
    Pcm,
    G711(Law),
}

/// The samples of a file.
pub fn read(file: &[u8]) -> Result<Vec<i16>, BadWav> {
    let mut reader = Reader(file);
    let head = reader.take(12).ok_or(BadWav::NotWav)?;
    if &head[..4] != b"RIFF" || &head[8..] != b"WAVE" {
        return Err(BadWav::NotWav);
    }
    let mut coding = None;
    while let Some((name, chunk, is_whole)) = reader.chunk() {
        match name {
            b"fmt " if is_whole => coding = Some(coding_of(chunk)?),
            b"fmt " => return Err(BadWav::Truncated),
            b"data" => return decode(coding.ok_or(BadWav::NoFormat)?, chunk),
            _ => {}
        }
    }
    Err(if coding.is_some() { BadWav::NoAudio } else { BadWav::NoFormat })
}

fn coding_of(chunk: &[u8]) -> Result<Coding, BadWav> {
    let number = |offset: usize| {
        let bytes = chunk.get(offset..).and_then(|rest| rest.first_chunk());
        bytes.copied().map(u16::from_le_bytes).ok_or(BadWav::Truncated)
    };
    let (channels, bits) = (number(2)?, number(14)?);
    let rate = u32::from(number(4)?) | u32::from(number(6)?) << 16;
    let tag = match number(0)? {
        EXTENSIBLE => number(SUB_FORMAT_OFFSET)?,
        tag => tag,
    };
    let coding = match (tag, bits) {
        (PCM, 16) => Coding::Pcm,
        (A_LAW, 8) => Coding::G711(Law::A),
        (MU_LAW, 8) => Coding::G711(Law::Mu),
        _ => return Err(BadWav::Coding(tag, bits)),
    };
    if channels != 1 {
        return Err(BadWav::Channels(channels));
    }
    if rate != SAMPLE_RATE_HZ {
        return Err(BadWav::Rate(rate));
    }
    Ok(coding)
}

/// Half a sample at the end of an unfinished file is left out.
fn decode(coding: Coding, audio: &[u8]) -> Result<Vec<i16>, BadWav> {
    let samples = match coding {
        Coding::Pcm => audio.len() / 2,
        Coding::G711(_) => audio.len(),
    };
    if samples == 0 {
        return Err(BadWav::NoAudio);
    }
    if samples > SAMPLES_MAX {
        return Err(BadWav::TooLong);
    }
    Ok(match coding {
        Coding::Pcm => {
            let (pairs, _) = audio.as_chunks();
            pairs.iter().copied().map(i16::from_le_bytes).collect()
        }
        Coding::G711(law) => {
            let mut pcm = vec![0; samples];
            g711::decode(law, audio, &mut pcm);
            pcm
        }
    })
}

/// What is left of a file.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next chunk's name, what there is of it, and whether that is all. Chunks begin at even places.
    fn chunk(&mut self) -> Option<(&'a [u8; 4], &'a [u8], bool)> {
        let (name, rest) = self.0.split_first_chunk::<4>()?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size) as usize;
        let there = size.min(rest.len());
        self.0 = rest.get(there + there % 2..).unwrap_or_default();
        Some((name, &rest[..there], there == size))
    }
}

#[cfg(test)]
mod tests;
