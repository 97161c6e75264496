//! What every floor may use and what knows no protocol: clock, randomness, discard reasons, faults,
//! secrets, numbers in fewer bits.
#![warn(
    clippy::assertions_on_result_states,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    missing_debug_implementations
)]

pub mod clock;
pub mod discard;
pub mod fault;
#[cfg(test)]
pub(crate) mod hex;
pub mod narrow;
pub mod prefix;
pub mod random;
pub mod secret;
pub mod timers;
