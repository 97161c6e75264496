//! What the parts of an engine's work cost by themselves: the codecs, and the sockets.

pub mod codec_loop;
pub mod forward;
