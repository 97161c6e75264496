//! What a leg is played, as far as signaling has to remember it. What is done about it is in `tones`.

use std::collections::VecDeque;
use std::time::Instant;

use crate::control::message::Ringback;
use crate::wire::telephone_event::{Digit, DigitTime};

/// What a leg is played.
#[derive(Debug, Default)]
pub struct Tones {
    /// Digits whose tones are still to come.
    pub waiting: VecDeque<(Digit, DigitTime)>,
    /// Until when a digit sounds, its gap included.
    pub until: Option<Instant>,
    /// How far the ring-back tone is.
    pub ringing: Ringing,
}

/// How far a ring-back tone is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ringing {
    /// None is wanted.
    #[default]
    Off,
    /// The browser's keys are not there yet.
    Wanted(Ringback),
    /// It sounds.
    On,
}

impl Tones {
    /// When the next digit's turn has come.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.until
    }
}
