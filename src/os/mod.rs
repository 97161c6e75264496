//! The operating system's floor: the ring, sockets, wake-ups, the scheduler's account. Above it the loops of
//! the processes use tokio's sockets and timers; the engines use none.

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
