//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use linecard::base::fault::Fault;
use linecard::config::{Config, Machine};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// WebRTC to telephone network gateway.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the media process.
    Media {
        /// Configuration file (TOML).
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let outcome = match Arguments::parse().command {
        Command::Media { config } => {
            configuration(config).and_then(|config| linecard::media::run(&config.media))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn configuration(file: Option<PathBuf>) -> Result<Config, Fault> {
    match file {
        Some(file) => Config::load(&file),
        None => Ok(Config::parse("", &Machine::here()).unwrap_or_else(|_| unreachable!())),
    }
}
