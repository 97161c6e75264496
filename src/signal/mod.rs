//! The signaling process.

mod admission;
pub mod attempt;
pub mod attempts;
pub mod browser;
pub mod call;
pub mod control_client;
pub mod control_connection;
pub mod digit;
pub mod directory;
pub mod engine;
pub mod exchange;
pub mod flow;
mod in_call;
pub mod invite;
pub mod leg;
mod process;
pub mod records;
pub mod recovery;
pub mod registrar;
pub mod release;
pub mod routing;
#[cfg(test)]
mod tests;
pub mod trunk;
pub mod web;

pub use process::run;
