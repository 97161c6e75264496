//! A light load, from which the heavy ones are guessed.

use std::time::Duration;

use crate::ends::impairment::Impairments;
use crate::ends::material::{BrowserKind, Red};
use crate::engine::linecard::Admission;
use crate::measure::capacity;
use crate::measure::load::Load;

/// Of a load that says no number.
pub const CALLS: u16 = 20;

/// What a core carries at full load is more than its cost at light load says.
pub fn guess_factor(browser: BrowserKind) -> f64 {
    if browser == BrowserKind::Pcmu { 2.5 } else { 1.4 }
}

/// A few seconds of a few calls, on a perfect network.
pub fn light(browser: BrowserKind) -> Load {
    Load {
        calls: CALLS,
        browser,
        red: Red::Accept,
        warm_up: Duration::from_millis(1_500),
        measured: Duration::from_secs(3),
        impairments: Impairments::default(),
        calls_per_second: Some(capacity::calls_per_second(browser)),
        refusals_allowed: true,
        queries: None,
        admission: Admission::Lifted,
    }
}
