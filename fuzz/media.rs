//! Any script to a whole media process under a virtual clock: calls of every kind made, changed and ended,
//! RTP, RTCP, STUN, DTLS and garbage from far ends, which know their keys, and from strangers, time,
//! pauses, control connections that come and go. What must be true is in the world's own page,
//! [`linecard::media::rig::world`].

/// One input.
pub fn run(script: &[u8]) {
    linecard::media::rig::world::run(script, std::time::Instant::now());
}
