//! linecard: the board between browsers and the telephone network.
//!
//! (The map of the house: filled in as the floors land.)

pub mod audio;
pub mod base;
pub mod config;
pub mod control;
pub mod dtls;
pub mod ice;
pub mod media;
pub mod os;
pub mod signal;
pub mod sip;
pub mod srtp;
pub mod up;
pub mod wire;
