//! Of many delays the few that people look at.

use serde::Serialize;

/// Of a set of delays, in milliseconds; absent when there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: Option<f64>,
    /// One in a hundred is longer.
    pub p99: Option<f64>,
    /// One in a thousand is longer.
    pub p999: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
}

impl Percentiles {
    /// Of microseconds, which it sorts.
    pub fn of(samples_us: &mut [u32]) -> Self {
        samples_us.sort_unstable();
        Self {
            p50: quantile_ms(samples_us, 0.5),
            p99: quantile_ms(samples_us, 0.99),
            p999: quantile_ms(samples_us, 0.999),
            max: quantile_ms(samples_us, 1.0),
        }
    }

    /// The longer of each.
    pub fn worst(self, other: Self) -> Self {
        let longer = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        Self {
            p50: longer(self.p50, other.p50),
            p99: longer(self.p99, other.p99),
            p999: longer(self.p999, other.p999),
            max: longer(self.max, other.max),
        }
    }
}

pub fn quantile_ms(sorted_us: &[u32], share: f64) -> Option<f64> {
    let place = (sorted_us.len() as f64 * share) as usize;
    let us = sorted_us.get(place.min(sorted_us.len().checked_sub(1)?))?;
    Some(f64::from(*us) / 1e3)
}

/// Of an even number it lies between the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len();
    let (low, high) = (values.get(count.checked_sub(1)? / 2)?, values.get(count / 2)?);
    Some((low + high) / 2.0)
}

/// Refusals of calls.
#[derive(Clone, Debug, Serialize)]
pub struct Refusals {
    /// How many.
    pub calls: usize,
    /// In the engine's words.
    pub reason: String,
    /// From the request to the refusal.
    pub after_ms: Percentiles,
}
