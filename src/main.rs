//! linecard: the command line. Each subcommand is one process; `up` runs the other two.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use linecard::base::fault::Fault;
use linecard::config::Config;
use linecard::os::process::{self, Parent};
use linecard::up::child::FAULT_EXIT_CODE;
use linecard::{media, signal, up};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is logged unless RUST_LOG says otherwise.
const LOG_DEFAULT: &str = "info";

/// The board between browsers and the telephone network.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration, in TOML; tools/linecard.example.toml shows every key.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The process whose end ends this one.
    #[arg(long, global = true, hide = true, value_name = "PID")]
    supervisor: Option<u32>,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Run both processes, and a test trunk when no trunk is configured (the default).
    Up,
    /// Run the media process alone.
    Media,
    /// Run the signaling process alone.
    Signal,
}

fn main() -> ExitCode {
    process::end_on_panic();
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| LOG_DEFAULT.into());
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .init();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("\nlinecard cannot run.\n{fault}");
            ExitCode::from(FAULT_EXIT_CODE)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Fault> {
    let system = |error| Fault::new(error, "start of the process", "this is Linux's prctl(2)");
    process::forbid_core_dumps().map_err(system)?;
    if let Some(supervisor) = arguments.supervisor
        && process::end_with_parent(supervisor).map_err(system)? == Parent::Gone
    {
        return Ok(());
    }
    let config = || match &arguments.config {
        Some(file) => Config::load(file),
        None => Err(Fault::new(
            "no configuration",
            "the command line",
            "add --config FILE, or run `linecard up`, which needs none",
        )),
    };
    match arguments.command.unwrap_or(Command::Up) {
        Command::Up => up::run(arguments.config.as_deref()),
        Command::Media => media::run(&config()?.media),
        Command::Signal => signal::run(&config()?),
    }
}
