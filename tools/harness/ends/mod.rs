//! The far ends: what browsers and trunks send, what the network does to it, and what comes back.

pub mod end;
pub mod fullband;
pub mod generator;
pub mod impairment;
pub mod matching;
pub mod material;
pub mod rtcp;
pub mod sockets;
