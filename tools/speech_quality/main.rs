//! The part of `tools/quality` that must be the product itself: speech through the encoder and a
//! lossy path to a browser, speech from a browser through the packet line to the trunk, and the cost
//! of a rung. Scores and tables are made of what it writes by `quality.py` beside it.
//!
//! Audio files are 16-bit little-endian samples at 8 kHz, no header. Everything but `cost` repeats to
//! the bit.
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "a wrong number fails its test"
    )
)]

mod browser;
mod cost;
mod live;
mod loss;
mod material;
mod recipe;
mod shortened;
mod toward_browser;
mod toward_trunk;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::browser::Protection;
use self::loss::Condition;
use self::recipe::Recipe;

/// Makes the audio that tools/quality scores, and measures what encoding costs.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Names the rungs of the product's ladder.
    Ladder,
    /// Encodes speech with a recipe, loses packets, decodes as a browser would.
    Browser {
        /// The name of a rung, or `silk,36k,cx0,fec10` or `celt,40k,cx0,red`; two with / between
        /// them take turns, a second each.
        recipe: Recipe,
        #[command(flatten)]
        run: Run,
    },
    /// Sends a browser's speech under SRTP through the packet line, losing packets on the way.
    Trunk {
        /// What the browser does against loss.
        protection: Protection,
        #[command(flatten)]
        run: Run,
    },
    /// Sends a browser's speech through somebody else's engine, in real time.
    Live {
        /// What the browser does against loss.
        protection: Protection,
        #[command(flatten)]
        call: live::Call,
    },
    /// Leaves audio out of speech as paced playout does when its delay shrinks.
    Shorten {
        /// `period` as the product does, `cut` for comparison.
        method: shortened::Method,
        #[command(flatten)]
        shortening: shortened::Shortening,
    },
    /// Measures the time a frame takes with each recipe, in turns, in microseconds.
    Cost {
        /// Recipes, the first of which the others are compared with.
        #[arg(required = true)]
        recipes: Vec<Recipe>,
        /// Speech to encode.
        #[arg(long, required = true)]
        segments: Vec<PathBuf>,
    },
    /// Encodes a number of frames and nothing else, for a profiler to count.
    Frames {
        /// The recipe.
        recipe: Recipe,
        /// How many frames.
        #[arg(long)]
        frames: usize,
        /// Speech to encode.
        #[arg(long, required = true)]
        segments: Vec<PathBuf>,
    },
}

/// Speech and what happens to it.
#[derive(Args)]
struct Run {
    /// Speech.
    #[arg(long, required = true)]
    segments: Vec<PathBuf>,
    /// Losses: percent, or `burst` and percent.
    #[arg(long, required = true)]
    loss: Vec<Condition>,
    /// Runs of each lossy condition, each with losses of its own.
    #[arg(long, default_value_t = 1)]
    repeats: u32,
    /// Directory for what was heard.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Ladder => Ok(recipe::ladder()),
        Command::Browser { recipe, run } => toward_browser::run(&recipe, &run),
        Command::Trunk { protection, run } => toward_trunk::run(protection, &run),
        Command::Live { protection, call } => {
            browser::master_key().and_then(|key| live::run(protection, &call, key))
        }
        Command::Shorten { method, shortening } => shortened::run(method, &shortening),
        Command::Cost { recipes, segments } => cost::measure(&recipes, &segments),
        Command::Frames { recipe, frames, segments } => cost::encode(&recipe, &segments, frames),
    };
    match outcome {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("linecard-quality: {problem}");
            ExitCode::FAILURE
        }
    }
}
