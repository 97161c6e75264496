//! What every floor may use and what knows no protocol: clock, randomness, discard reasons, faults,
//! secrets.

pub mod clock;
pub mod discard;
pub mod fault;
#[cfg(test)]
pub(crate) mod hex;
pub mod prefix;
pub mod random;
pub mod secret;
pub mod timers;
