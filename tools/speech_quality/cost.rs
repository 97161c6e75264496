//! What encoding costs.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use linecard::audio::opus::{OpusArena, OpusEncoder};
use linecard::base::narrow::Narrow;
use serde_json::{Value, json};

use crate::material::{self, FRAME};
use crate::recipe::Recipe;

/// Encoders of one recipe, used in turns, so that none finds its state in the first-level cache: a
/// core with hundreds of calls has it no better.
const STATES: usize = 64;
/// Frames that each encoder makes before the next recipe has its turn.
const FRAMES_A_TURN: usize = 4;
/// Turns of each recipe: with 64 states 15,360 frames.
const TURNS: usize = 60;

/// Times every recipe in the same run, turn and turn about, so that a slow spell of the machine meets
/// them all.
pub fn measure(recipes: &[Recipe], segments: &[PathBuf]) -> Result<Value, String> {
    let samples = speech(segments)?;
    let frames: Vec<&[i16]> = samples.chunks_exact(FRAME).collect();
    let arena = OpusArena::new(STATES * recipes.len()).map_err(|error| error.to_string())?;
    let mut contenders = recipes
        .iter()
        .map(|recipe| {
            let encoders = (0..STATES).map(|_| arena.encoder(recipe.settings));
            let encoders = encoders.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
            Ok((encoders, Vec::with_capacity(STATES * FRAMES_A_TURN * TURNS)))
        })
        .collect::<Result<Vec<(Vec<OpusEncoder>, Vec<u64>)>, String>>()?;
    let mut packet = [0; 1_500];
    for turn in 0..TURNS {
        for (encoders, times_ns) in &mut contenders {
            for frame in turn * FRAMES_A_TURN..(turn + 1) * FRAMES_A_TURN {
                for (state, encoder) in encoders.iter_mut().enumerate() {
                    // Each speaks from another place of the material.
                    let pcm = frames[(frame + state * frames.len() / STATES) % frames.len()];
                    let begin = Instant::now();
                    encoder.encode(pcm, &mut packet).map_err(|_| "the encoder failed")?;
                    times_ns.push(begin.elapsed().as_nanos().narrow());
                }
            }
        }
    }
    let costs: Vec<Value> = recipes
        .iter()
        .zip(&mut contenders)
        .map(|(recipe, (_, times_ns))| {
            times_ns.sort_unstable();
            let at = |share: usize| times_ns[times_ns.len() * share / 100] as f64 / 1e3;
            json!({"recipe": recipe.name, "us": at(50), "us_least_tenth": at(10)})
        })
        .collect();
    Ok(json!({"costs": costs}))
}

/// Encodes `frames` frames with one encoder.
pub fn encode(recipe: &Recipe, segments: &[PathBuf], frames: usize) -> Result<Value, String> {
    let samples = speech(segments)?;
    let arena: Rc<OpusArena> = OpusArena::new(1).map_err(|error| error.to_string())?;
    let mut encoder = arena.encoder(recipe.settings).map_err(|full| full.to_string())?;
    let mut packet = [0; 1_500];
    let mut bytes = 0;
    for pcm in samples.chunks_exact(FRAME).cycle().take(frames) {
        bytes += encoder.encode(pcm, &mut packet).map_err(|_| "the encoder failed")?;
    }
    Ok(json!({"bytes": bytes}))
}

fn speech(segments: &[PathBuf]) -> Result<Vec<i16>, String> {
    let all = segments.iter().map(|path| material::read(path)).collect::<Result<Vec<_>, _>>()?;
    Ok(all.concat())
}
