//! Any file that is said to be WAV: it is understood or not, and brings no more samples than it has bytes.

use linecard::audio::wav::{SAMPLES_MAX, read};

/// One input.
pub fn run(file: &[u8]) {
    let Ok(pcm) = read(file) else { return };
    assert!(!pcm.is_empty() && pcm.len() < file.len() && pcm.len() <= SAMPLES_MAX);
}
