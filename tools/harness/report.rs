//! What a run tells: figures, their settings, and what makes them doubtful. Written as JSON by the
//! field names here, and as text.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::generator::{DirectionSeen, Sample};
use crate::impairment::Impairments;
use crate::matching::Anomalies;
use crate::material::BrowserKind;
use crate::run::{Load, Outcome};

/// A generator that sends later than this, a tenth of a packet, measures its own bursts.
const LATE_MS_MAX: f64 = 2.0;
/// The share of time that the engine may have waited for its own core: more is somebody else's delay.
const WAITED_PERCENT_MAX: f64 = 5.0;
/// Steps of the delay over time.
const SERIES_STEP_MS: u32 = 100;

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

fn quantile_ms(sorted_us: &[u32], share: f64) -> Option<f64> {
    let place = (sorted_us.len() as f64 * share) as usize;
    let us = sorted_us.get(place.min(sorted_us.len().checked_sub(1)?))?;
    Some(f64::from(*us) / 1e3)
}

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

/// One direction of all calls.
#[derive(Clone, Debug, Serialize)]
pub struct Direction {
    /// Inputs sent.
    pub sent: u64,
    /// Of those, without an output.
    pub loss_percent: f64,
    /// Inputs lost on purpose.
    pub lost_on_purpose: u64,
    /// Of those, without an output in their place.
    pub holes: u64,
    /// Outputs that came twice.
    pub duplicates: u64,
    /// Order and timestamps of the outputs, over the whole run.
    #[serde(flatten)]
    pub anomalies: Anomalies,
    /// From sending an input to the arrival of its output.
    pub added_ms: Percentiles,
    /// Delay in steps of a hundredth of all packets, for the distribution.
    pub added_ms_distribution: Vec<f64>,
    /// Delay over time.
    pub added_over_time: Vec<Moment>,
}

impl Direction {
    fn of(seen: &DirectionSeen) -> Self {
        let mut delays_us: Vec<u32> = seen.samples.iter().map(|sample| sample.delay_us).collect();
        let added_ms = Percentiles::of(&mut delays_us);
        let steps = (0..=100).map(|percent| f64::from(percent) / 100.0);
        Self {
            sent: seen.sent,
            loss_percent: percent(seen.sent.saturating_sub(seen.answered), seen.sent),
            lost_on_purpose: seen.lost_on_purpose,
            holes: seen.lost_on_purpose.saturating_sub(seen.filled),
            duplicates: seen.duplicates,
            anomalies: seen.anomalies,
            added_ms,
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
        let measured = accounts.ran_ms > 0.0 && *accepted > 0;
        let cpu_ms = accounts.ran_ms / (calls * seconds);
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
            core_percent: measured.then_some(accounts.ran_ms / 10.0 / seconds),
            calls_at_this_cost: measured.then_some(1_000.0 / cpu_ms),
            packets_in_per_second: sent as f64 / seconds,
            resident_bytes: after,
            resident_bytes_per_call: measured
                .then(|| after.saturating_sub(before) / u64::from(*accepted)),
            browser_to_trunk: Direction::of(browser_to_trunk),
            trunk_to_browser: Direction::of(trunk_to_browser),
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

    /// As lines for people.
    pub fn text(&self) -> String {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let delays = |delays: Percentiles| {
            let Percentiles { p50, p99, p999, max } = delays;
            [p50, p99, p999, max].map(|value| number(value, 2)).join(" / ")
        };
        let mut lines = vec![
            row("browser sends", self.browser.title()),
            row("calls", &format!("{} for {:.1} s", self.calls, self.seconds)),
            row("CPU, ms per call-second", &number(self.cpu_ms_per_call_second, 3)),
            row("share of the core, %", &number(self.core_percent, 1)),
            row("calls a core at this cost", &number(self.calls_at_this_cost, 0)),
            row("packets/s toward the engine", &format!("{:.0}", self.packets_in_per_second)),
            row(
                "resident, MB; KB a call",
                &format!(
                    "{:.1}; {}",
                    self.resident_bytes as f64 / 1e6,
                    number(self.resident_bytes_per_call.map(|bytes| bytes as f64 / 1e3), 1)
                ),
            ),
        ];
        if let Some(Refusals { calls, reason, after_ms }) = &self.refused {
            let after = delays(*after_ms);
            lines.push(row("refused", &format!("{calls} ({reason}) after ms {after}")));
        }
        if !self.impairments.are_none() {
            lines.push(row("network", &format!("{:?}", self.impairments)));
        }
        lines.push(row("lost, %, worse direction", &format!("{:.3}", self.loss_percent())));
        lines.push(row("added ms, worse direction", &delays(self.added_ms())));
        for (name, direction) in [
            ("browser to trunk", &self.browser_to_trunk),
            ("trunk to browser", &self.trunk_to_browser),
        ] {
            let Direction { anomalies, .. } = direction;
            lines.push(name.to_owned());
            lines.push(row("  lost, %", &format!("{:.3}", direction.loss_percent)));
            lines.push(row("  added ms, p50 / p99 / p99.9 / max", &delays(direction.added_ms)));
            lines.push(row(
                "  duplicates, reordered, jumps, slips",
                &format!(
                    "{}, {}, {}, {}",
                    direction.duplicates,
                    anomalies.reordered,
                    anomalies.jumps_back,
                    anomalies.timestamp_slips
                ),
            ));
            if direction.lost_on_purpose > 0 {
                let (holes, lost) = (direction.holes, direction.lost_on_purpose);
                lines.push(row("  holes left of packets lost", &format!("{holes} of {lost}")));
            }
        }
        let late = delays(self.generator_late_ms);
        lines.push(row("generator late, ms, p50 / p99 / p99.9 / max", &late));
        lines.push(row("generator's longest backlog", &self.generator_backlog_max.to_string()));
        lines.extend(self.remarks.iter().cloned());
        lines.extend(self.starved.iter().map(|why| format!("STARVED, no result: {why}")));
        lines.join("\n")
    }
}

fn row(name: &str, value: &str) -> String {
    format!("{name:<46}{value}")
}

impl Outcome {
    fn refusals(&self) -> Option<Refusals> {
        let reason = self.refusal.clone()?;
        let us = |after: &Duration| after.as_micros().min(u128::from(u32::MAX)) as u32;
        let mut after_us: Vec<u32> = self.refused_after.iter().map(us).collect();
        let after_ms = Percentiles::of(&mut after_us);
        Some(Refusals { calls: after_us.len(), reason, after_ms })
    }

    fn starved(&self, late: Percentiles) -> Option<String> {
        let late_ms = late.p99.unwrap_or(0.0);
        let waited_percent = self.accounts.waited_ms / 10.0 / self.elapsed.as_secs_f64();
        if late_ms > LATE_MS_MAX {
            Some(format!("one in a hundred packets was sent {late_ms:.1} ms late or later"))
        } else if self.seen.dropped + self.seen.refused_sends > 0 {
            let (dropped, refused) = (self.seen.dropped, self.seen.refused_sends);
            Some(format!(
                "the generator's sockets dropped {dropped} and did not take {refused} datagrams"
            ))
        } else if waited_percent > WAITED_PERCENT_MAX {
            Some(format!(
                "the engine waited {waited_percent:.0} % of the time for its core, which other \
                 programs used"
            ))
        } else {
            None
        }
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.seen.bad > 0 {
            let bad = self.seen.bad;
            remarks.push(format!("{bad} packets from the engine could not be read"));
        }
        if self.seen.silent_streams > 0 {
            let (silent, all) = (self.seen.silent_streams, 2 * u64::from(self.accepted));
            remarks.push(format!("nothing ever came back on {silent} of {all} streams"));
        }
        if cfg!(debug_assertions) {
            remarks.push("not an optimised build: no figure means anything".to_owned());
        }
        remarks
    }
}
