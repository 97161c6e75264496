//! Bytes ⇄ values, one RFC a file, no state. Everything here is total: any input gives a value or a
//! named refusal, never a panic, and nothing is allocated from a length that a peer wrote.

pub mod coding;
pub mod comfort_noise;
pub mod demux;
pub mod red;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod sip;
pub mod stun;
pub mod telephone_event;
mod writer;
