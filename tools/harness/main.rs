//! The load generator behind `tools/load` and `tools/compare`: N two-legged calls with real speech
//! over real sockets against our media process or a peer, measured from outside.
//!
//! ```text
//!  load ─► drive ─┬─► engine: sets calls up, is the process that is measured
//!                 └─► generator: one thread, every far end ─► sockets
//!             run ◄─ outcome: what the generator saw, what the kernel accounted
//! ```
//!
//! The rooms, each using only those above it:
//!
//! ```text
//!  machine    cores, clocks, processes, what is set for the time of a run
//!  ends       browsers and trunks, and the network between them and the engine
//!  baseline   what codecs and sockets cost by themselves
//!  engine     what is measured: ours, a peer, a forwarder, nothing
//!  measure    a load that is driven, the run that comes of it, and the search for the most calls
//!  page       what was found out, as JSON and as a page with plots
//!  task       the commands
//! ```
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "system calls want their own integers, and nothing but figures is made of the rest"
)]

mod arguments;
mod baseline;
mod ends;
mod engine;
mod machine;
mod measure;
mod page;
mod task;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Task};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = machine::watch_for_interrupts().and_then(|()| match &arguments.task {
        Task::Load(arguments) => task::load::load(arguments),
        Task::Compare(arguments) => task::compare::compare(arguments),
        Task::Forward(arguments) => {
            baseline::forward::forward(arguments).map(|never| match never {})
        }
    });
    match outcome {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("\n{problem}");
            ExitCode::FAILURE
        }
    }
}
