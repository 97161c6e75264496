//! What paced playout does to speech when its delay shrinks and nobody pauses: a pitch period is left
//! out of a packet every 200 ms, or for comparison as many samples are just cut.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use linecard::audio::SAMPLES_PER_MS;
use linecard::audio::shorten::{Loudness, leave_out_period};
use serde_json::{Value, json};

use crate::material::{self, FRAME};

/// As often as [`linecard::audio::playout`] does it.
const INTERVAL: usize = 200 * SAMPLES_PER_MS;

/// How samples are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As the product does.
    Period,
    /// The end of the packet.
    Cut,
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "period" => Ok(Self::Period),
            "cut" => Ok(Self::Cut),
            _ => Err(format!("write period or cut, not `{text}`")),
        }
    }
}

/// Speech to shorten.
#[derive(Args)]
pub struct Shortening {
    /// Speech.
    #[arg(long, required = true)]
    segments: Vec<PathBuf>,
    /// How much is left out of each segment, in milliseconds.
    #[arg(long, default_value_t = 200)]
    milliseconds: usize,
    /// Directory for what was heard.
    #[arg(long)]
    out: PathBuf,
}

/// Shortens each segment from its first loud packet on. What is written has the original's length, for
/// PESQ hears little but the change of tempo otherwise: a packet that was shortened is followed by as
/// much of the next one as it lost, then the next comes whole, at its old place.
pub fn run(method: Method, shortening: &Shortening) -> Result<Value, String> {
    let most = shortening.milliseconds * SAMPLES_PER_MS;
    let mut heard = Vec::new();
    for (number, segment) in shortening.segments.iter().enumerate() {
        let samples = material::read(segment)?;
        let (aligned, left_out) = shorten(method, &samples, most);
        let file = shortening.out.join(format!("{number}-{method:?}.raw"));
        material::write(&file, &aligned)?;
        heard.push(json!({
            "segment": segment, "loss": "0", "file": file, "left_out_ms": left_out / SAMPLES_PER_MS,
        }));
    }
    Ok(json!({"heard": heard}))
}

fn shorten(method: Method, samples: &[i16], most: usize) -> (Vec<i16>, usize) {
    let mut loudness = Loudness::default();
    let mut aligned = Vec::with_capacity(samples.len());
    let (mut left_out, mut since) = (0, INTERVAL);
    for (number, frame) in samples.chunks_exact(FRAME).enumerate() {
        let mut pcm = frame.to_vec();
        let may = !loudness.is_quiet(&pcm) && since >= INTERVAL && left_out < most;
        let kept = if may { leave_out_period(&mut pcm) } else { FRAME };
        since = if may { 0 } else { since + FRAME };
        left_out += FRAME - kept;
        aligned.extend_from_slice(match method {
            Method::Period => &pcm[..kept],
            Method::Cut => &frame[..kept],
        });
        let next = &samples[(number + 1) * FRAME..];
        aligned.extend(next.iter().copied().chain(std::iter::repeat(0)).take(FRAME - kept));
    }
    (aligned, left_out)
}

#[cfg(test)]
mod tests {
    use linecard::base::narrow::Rounded;

    use super::*;

    #[test]
    fn so_much_is_left_out_either_way_and_the_rest_stays_where_it_was() {
        let voice: Vec<_> =
            (0..40_000).map(|n| (8_000.0 * (n as f64 * 0.1).sin()).rounded()).collect();
        for method in [Method::Period, Method::Cut] {
            let (aligned, left_out) = shorten(method, &voice, 1_000);
            assert!((1_000..1_120).contains(&left_out), "{method:?}: {left_out}");
            assert_eq!(aligned.len(), voice.len());
            let changed = aligned.chunks(FRAME).zip(voice.chunks(FRAME)).filter(|(a, b)| a != b);
            assert!((10..=40).contains(&changed.count()));
        }
    }
}
