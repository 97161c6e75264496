//! The load generator behind `tools/load` and `tools/compare`: N two-legged calls with real speech
//! over real sockets against our media process or a peer, measured from outside.
//!
//! ```text
//!  load ─► run ─┬─► engine: sets calls up, is the process that is measured
//!               └─► generator: one thread, every far end ─► sockets
//!          report ◄─ what the generator saw, what the kernel accounted
//! ```

mod arguments;
mod capacity;
mod clock;
mod codec_loop;
mod compare;
mod end;
mod engine;
mod forward;
mod fullband;
mod generator;
mod impairment;
mod load;
mod machine;
mod matching;
mod material;
mod page;
mod plot;
mod process;
mod progress;
mod report;
mod reports;
mod results;
mod run;
mod search;
mod sockets;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Task};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = machine::watch_for_interrupts().and_then(|()| match &arguments.task {
        Task::Load(arguments) => load::load(arguments),
        Task::Compare(arguments) => compare::compare(arguments),
        Task::Forward(arguments) => forward::forward(arguments).map(|never| match never {}),
    });
    match outcome {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("\n{problem}");
            ExitCode::FAILURE
        }
    }
}
