//! The engine against scripted peers and the real media process: every way a call goes, and that nothing
//! is left behind.

mod audio;
mod calls;
mod changes;
mod determinism;
mod endings;
mod growth;
mod handshake;
mod in_call;
mod inputs;
mod lasting;
mod media;
mod media_log;
mod overload;
mod peer;
mod recovery;
mod registration;
mod steps;
mod stopping;
mod transfer;
mod webrtc;
mod world;
