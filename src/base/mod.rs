//! What every floor may use and what knows no protocol: clock, randomness, discard reasons, timers.

pub mod clock;
pub mod discard;
pub mod random;
