//! The operating system's floor: the ring, sockets, wake-ups, the scheduler's account. Above it the loops of
//! the processes use tokio's sockets and timers; the engines use none.
#![warn(
    clippy::assertions_on_result_states,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    missing_debug_implementations
)]

pub mod account;
pub mod cores;
pub mod directory;
pub mod file;
pub mod network;
pub mod outbox;
pub mod process;
pub mod ring;
pub mod route;
pub mod sockets;
pub mod wake;
