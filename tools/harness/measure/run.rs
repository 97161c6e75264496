//! One run: its figures, their settings, and what makes them doubtful. Written as JSON by the field
//! names here.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::ends::generator::{DirectionSeen, Sample};
use crate::ends::impairment::{Impairments, OnPurpose};
use crate::ends::matching::Anomalies;
use crate::ends::material::BrowserKind;
use crate::engine::Counted;
use crate::measure::load::Load;
use crate::measure::outcome::{Outcome, Queries};
use crate::measure::percentiles::{Percentiles, Refusals, quantile_ms};

/// Steps of the delay over time.
const SERIES_STEP_MS: u32 = 100;
/// The end of the measured time, in which a delay that stayed is looked for.
const AT_LAST_US: u32 = 1_000_000;

/// A moment of the delay over time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Moment {
    /// Since the measurement began.
    pub second: f64,
    /// Of the inputs that were sent then.
    pub p50_ms: f64,
    /// The longest of them.
    pub max_ms: f64,
}

/// Whether a stall of the senders left a delay behind: medians in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AroundStall {
    /// Before the first sender stalled.
    pub before_ms: Option<f64>,
    /// In the last second that was measured...
    pub after_ms: Option<f64>,
    /// ...which began so long after the last sender had gone on.
    pub after_s: f64,
    /// How much longer it is than before.
    pub grew_ms: Option<f64>,
}

impl AroundStall {
    fn of(samples: &[Sample], [from_us, to_us]: [u32; 2]) -> Self {
        let end_us = samples.iter().map(|sample| sample.sent_us).max().unwrap_or(0);
        let last_us = end_us.saturating_sub(AT_LAST_US);
        let median = |within: std::ops::Range<u32>| {
            let within = samples.iter().filter(|sample| within.contains(&sample.sent_us));
            Percentiles::of(&mut within.map(|sample| sample.delay_us).collect::<Vec<_>>()).p50
        };
        let (before_ms, after_ms) = (median(0..from_us), median(last_us.max(to_us)..u32::MAX));
        let after_s = f64::from(last_us.saturating_sub(to_us)) / 1e6;
        let grew_ms = before_ms.zip(after_ms).map(|(before, after)| after - before);
        Self { before_ms, after_ms, after_s, grew_ms }
    }
}

/// One direction of all calls.
#[derive(Clone, Debug, Serialize)]
pub struct Direction {
    /// Inputs sent.
    pub sent: u64,
    /// Of those, without an output.
    pub loss_percent: f64,
    /// What the network did, over the whole run.
    pub on_purpose: OnPurpose,
    /// Inputs that the network held back until the engine had filled their place.
    pub overtaken: u64,
    /// Inputs lost on purpose.
    pub lost_on_purpose: u64,
    /// Of those, without an output in their place.
    pub holes: u64,
    /// Outputs that came twice.
    pub duplicates: u64,
    /// Outputs that carried the one before along (RFC 2198); absent where none was looked at.
    pub redundant_percent: Option<f64>,
    /// Order and timestamps of the outputs, over the whole run.
    #[serde(flatten)]
    pub anomalies: Anomalies,
    /// From sending an input to the arrival of its output.
    pub added_ms: Percentiles,
    /// The same before and after the senders stalled, if they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub around_stall: Option<AroundStall>,
    /// Delay in steps of a hundredth of all packets, for the distribution.
    pub added_ms_distribution: Vec<f64>,
    /// Delay over time.
    pub added_over_time: Vec<Moment>,
}

impl Direction {
    fn of(seen: &DirectionSeen, stalled_us: Option<[u32; 2]>) -> Self {
        let mut delays_us: Vec<u32> = seen.samples.iter().map(|sample| sample.delay_us).collect();
        let added_ms = Percentiles::of(&mut delays_us);
        let steps = (0..=100).map(|percent| f64::from(percent) / 100.0);
        Self {
            sent: seen.sent,
            loss_percent: percent(seen.sent.saturating_sub(seen.answered), seen.sent),
            on_purpose: seen.on_purpose,
            overtaken: seen.overtaken,
            lost_on_purpose: seen.lost_on_purpose,
            holes: seen.lost_on_purpose.saturating_sub(seen.filled),
            duplicates: seen.duplicates,
            redundant_percent: (seen.opened.packets > 0)
                .then(|| percent(seen.opened.redundant, seen.opened.packets)),
            anomalies: seen.anomalies,
            added_ms,
            around_stall: stalled_us.map(|stalled_us| AroundStall::of(&seen.samples, stalled_us)),
            added_ms_distribution: steps
                .filter_map(|share| quantile_ms(&delays_us, share))
                .collect(),
            added_over_time: over_time(&seen.samples),
        }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

fn over_time(samples: &[Sample]) -> Vec<Moment> {
    let mut steps: Vec<Vec<u32>> = Vec::new();
    for sample in samples {
        let step = (sample.sent_us / (SERIES_STEP_MS * 1_000)) as usize;
        if step >= steps.len() {
            steps.resize(step + 1, Vec::new());
        }
        steps[step].push(sample.delay_us);
    }
    let moment = |(step, delays_us): (usize, &mut Vec<u32>)| {
        let percentiles = Percentiles::of(delays_us);
        Some(Moment {
            second: step as f64 * f64::from(SERIES_STEP_MS) / 1e3,
            p50_ms: percentiles.p50?,
            max_ms: percentiles.max?,
        })
    };
    steps.iter_mut().enumerate().filter_map(moment).collect()
}

/// One run's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Of the engine.
    pub settings: Map<String, Value>,
    /// What the browsers sent.
    pub browser: BrowserKind,
    /// What the network did.
    pub impairments: Impairments,
    /// Calls that were accepted and loaded.
    pub calls: u16,
    /// The measured time.
    pub seconds: f64,
    /// Calls that were turned down.
    pub refused: Option<Refusals>,
    /// CPU time of the whole engine for one second of one call, by the scheduler's accounting.
    pub cpu_ms_per_call_second: Option<f64>,
    /// The engine's share of one core.
    pub core_percent: Option<f64>,
    /// Calls that would take a whole core at this cost.
    pub calls_at_this_cost: Option<f64>,
    /// What one call takes of the core by the engine's own measure; asked where an observer asks.
    pub call_load_percent: Option<f64>,
    /// What an observer asked and was answered; absent where there was none. With it CPU time is that
    /// of the media thread: who answers has another core.
    pub queries: Option<Queries>,
    /// Datagrams in, toward the engine.
    pub packets_in_per_second: f64,
    /// Of the engine, with all calls.
    pub resident_bytes: u64,
    /// Growth since before the first call.
    pub resident_bytes_per_call: Option<u64>,
    /// From browsers to trunks, and back.
    pub browser_to_trunk: Direction,
    /// From trunks to browsers.
    pub trunk_to_browser: Direction,
    /// What the engine counted on the browsers' legs and on the trunks', over the whole run; absent
    /// when it tells nothing.
    pub counted: Option<[Counted; 2]>,
    /// How late the generator itself sent.
    pub generator_late_ms: Percentiles,
    /// Most datagrams that waited for the generator at once.
    pub generator_backlog_max: u64,
    /// Why these figures are none: the harness or the engine was starved. They are not to be used.
    pub starved: Option<String>,
    /// What else is remarkable.
    pub remarks: Vec<String>,
}

impl Run {
    /// Sums a run up.
    pub fn of(load: &Load, settings: Map<String, Value>, outcome: Outcome) -> Self {
        let Outcome { accepted, seen, accounts, elapsed, resident_bytes, .. } = &outcome;
        let (calls, seconds) = (f64::from(*accepted), elapsed.as_secs_f64());
        let ran_ms = match outcome.queries {
            Some(_) => accounts.busiest_ms,
            None => accounts.ran_ms,
        };
        let measured = ran_ms > 0.0 && *accepted > 0;
        let cpu_ms = ran_ms / (calls * seconds);
        let [browser_to_trunk, trunk_to_browser] = [0, 1].map(|at| &seen.directions[at]);
        let sent = browser_to_trunk.sent + trunk_to_browser.sent;
        let mut late_us = seen.late_us.clone();
        let late = Percentiles::of(&mut late_us);
        let [before, after] = *resident_bytes;
        Self {
            settings,
            browser: load.browser,
            impairments: load.impairments,
            calls: *accepted,
            seconds,
            refused: outcome.refusals(),
            cpu_ms_per_call_second: measured.then_some(cpu_ms),
            core_percent: measured.then_some(ran_ms / 10.0 / seconds),
            calls_at_this_cost: measured.then_some(1_000.0 / cpu_ms),
            call_load_percent: outcome.call_load_percent,
            queries: outcome.queries,
            packets_in_per_second: sent as f64 / seconds,
            resident_bytes: after,
            resident_bytes_per_call: measured
                .then(|| after.saturating_sub(before) / u64::from(*accepted)),
            browser_to_trunk: Direction::of(browser_to_trunk, seen.stalled_us),
            trunk_to_browser: Direction::of(trunk_to_browser, seen.stalled_us),
            counted: outcome.counted.clone(),
            generator_late_ms: late,
            generator_backlog_max: seen.backlog_max,
            starved: outcome.starved(late),
            remarks: outcome.remarks(),
        }
    }

    /// Both directions.
    pub fn directions(&self) -> [&Direction; 2] {
        [&self.browser_to_trunk, &self.trunk_to_browser]
    }

    /// The worse direction's loss.
    pub fn loss_percent(&self) -> f64 {
        self.directions().map(|direction| direction.loss_percent).into_iter().fold(0.0, f64::max)
    }

    /// The worse direction's delays.
    pub fn added_ms(&self) -> Percentiles {
        self.browser_to_trunk.added_ms.worst(self.trunk_to_browser.added_ms)
    }

    /// The figures without what is there to be drawn.
    pub fn without_plots(&self) -> Value {
        let mut object = json!(self);
        for direction in ["browser_to_trunk", "trunk_to_browser"] {
            if let Some(direction) = object[direction].as_object_mut() {
                direction.remove("added_ms_distribution");
                direction.remove("added_over_time");
            }
        }
        object
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn direction() -> Direction {
        let sample = |(sent_us, delay_us)| Sample { sent_us, delay_us };
        // Before the stall, in it, and from a second on long after it.
        let samples =
            [(0, 100), (1, 200), (2_000_000, 9_000), (14_900_000, 300), (15_000_000, 300)];
        Direction::of(
            &DirectionSeen {
                sent: 1_000,
                lost_on_purpose: 12,
                filled: 9,
                answered: 995,
                anomalies: Anomalies { timestamp_slips: 2, ..Anomalies::default() },
                samples: samples.map(sample).to_vec(),
                ..DirectionSeen::default()
            },
            Some([1_900_000, 2_200_000]),
        )
    }

    /// A made-up run.
    pub fn run() -> Run {
        let percentiles =
            |p50, p99| Percentiles { p50: Some(p50), p99: Some(p99), ..Percentiles::default() };
        let direction = Direction { added_ms: percentiles(0.3, 0.9), ..direction() };
        Run {
            settings: Map::new(),
            browser: BrowserKind::Narrowband,
            impairments: Impairments::default(),
            calls: 20,
            seconds: 15.0,
            refused: Some(Refusals {
                calls: 10,
                reason: "overloaded".to_owned(),
                after_ms: Percentiles { max: Some(5.0), ..percentiles(1.0, 4.0) },
            }),
            cpu_ms_per_call_second: Some(2.0),
            core_percent: Some(4.0),
            calls_at_this_cost: Some(500.0),
            call_load_percent: Some(0.25),
            queries: None,
            packets_in_per_second: 2_000.0,
            resident_bytes: 30_000_000,
            resident_bytes_per_call: Some(70_000),
            browser_to_trunk: direction.clone(),
            trunk_to_browser: direction,
            counted: None,
            generator_late_ms: percentiles(0.0, 0.1),
            generator_backlog_max: 1,
            starved: None,
            remarks: Vec::new(),
        }
    }

    #[test]
    fn the_delay_before_a_stall_is_held_against_that_of_the_last_second() {
        let around = direction().around_stall.unwrap();
        assert_eq!(around.before_ms, Some(0.2));
        assert_eq!(around.after_ms, Some(0.3));
        assert_eq!(around.after_s, 11.8);
        assert!((around.grew_ms.unwrap() - 0.1).abs() < 1e-9);
    }

    #[test]
    fn what_is_lost_beyond_what_was_lost_on_purpose_is_the_engines() {
        let direction = direction();
        assert_eq!(direction.loss_percent, 0.5);
        assert_eq!((direction.lost_on_purpose, direction.holes), (12, 3));
    }
}
