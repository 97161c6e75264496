//! The operating system's floor: the ring, sockets, wake-ups. Above it nothing makes a system call.

pub mod account;
pub mod cores;
pub mod directory;
pub mod outbox;
pub mod process;
pub mod ring;
pub mod sockets;
pub mod wake;
