//! Speech files, and what is known about a run.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Run;
use crate::loss::Condition;

/// Samples of a packet of 20 ms.
pub const FRAME: usize = 160;

/// Reads a file's samples, whole frames of them.
pub fn read(path: &Path) -> Result<Vec<i16>, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut samples: Vec<i16> =
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    samples.truncate(samples.len() / FRAME * FRAME);
    if samples.is_empty() {
        return Err(format!("{} holds no frame of 16-bit samples at 8 kHz", path.display()));
    }
    Ok(samples)
}

/// Writes a file of samples.
pub fn write(path: &Path, samples: &[i16]) -> Result<(), String> {
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// Puts every segment through `path` under every condition, writes what was heard and lists it.
pub fn each(
    run: &Run,
    mut path: impl FnMut(&[i16], Condition, u64) -> Result<Vec<i16>, String>,
) -> Result<Vec<Value>, String> {
    let mut heard = Vec::new();
    for (number, segment) in run.segments.iter().enumerate() {
        let samples = read(segment)?;
        for condition in &run.loss {
            let repeats = if condition.percent == 0 { 1 } else { run.repeats };
            for repeat in 0..repeats {
                let seed = number as u64 * 1_000 + u64::from(repeat);
                let file = run.out.join(format!("{number}-{condition}-{repeat}.raw"));
                write(&file, &path(&samples, *condition, seed)?)?;
                heard.push(json!({
                    "segment": segment, "loss": condition.to_string(), "file": file,
                }));
            }
        }
    }
    Ok(heard)
}
