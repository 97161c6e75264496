//! The engine against scripted peers: every way a call goes, and that nothing is left behind.

mod calls;
mod endings;
mod growth;
mod handshake;
mod in_call;
mod media_log;
mod overload;
mod recovery;
mod registration;
mod steps;
mod world;
