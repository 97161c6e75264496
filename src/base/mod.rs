//! What every floor may use and what knows no protocol: clock, randomness, discard reasons, faults,
//! secrets, numbers in fewer bits.

pub mod clock;
pub mod discard;
pub mod fault;
#[cfg(test)]
pub(crate) mod hex;
pub mod narrow;
pub mod opaque;
pub mod prefix;
pub mod random;
pub mod secret;
pub mod timers;
