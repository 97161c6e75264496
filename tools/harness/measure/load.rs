//! What is asked of a run.

use std::time::Duration;

use crate::ends::impairment::Impairments;
use crate::ends::material::{BrowserKind, Red};
use crate::engine::linecard::Admission;
use crate::machine::{Cores, Priority};

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Load {
    /// Calls offered.
    pub calls: u16,
    /// What the browsers send.
    pub browser: BrowserKind,
    /// What the browsers do with RED.
    pub red: Red,
    /// Before the measured time: caches, branch predictors and repair windows settle.
    pub warm_up: Duration,
    /// The measured time.
    pub measured: Duration,
    /// What the network does.
    pub impairments: Impairments,
    /// Calls set up in a second; `None`: as fast as the engine answers.
    pub calls_per_second: Option<u32>,
    /// Goes on when a call is refused: the load of those that were accepted is measured.
    pub refusals_allowed: bool,
    /// Questions an observer asks the engine each second; with none of them it is connected all the
    /// same, and figures are the media thread's alone. `None`: nobody observes.
    pub queries: Option<u32>,
    /// Whether our engine may refuse calls for its core's sake.
    pub admission: Admission,
}

/// Where and how.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Which core does what.
    pub cores: Cores,
    /// Of the generator.
    pub priority: Priority,
}
