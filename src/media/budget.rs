//! What a core can carry: measured, so that a call too many is refused before any call suffers.
//!
//! A core's thread looks at the scheduler's account of itself a few times a second, see
//! [`Budget::observe`], and publishes what one call takes of the core: [`Gauge`]. The control thread
//! admits a call where, at that price, one more still fits below the limit. Calls that were admitted
//! and do not talk yet are counted at the full price, so a burst of new calls cannot overrun a core
//! whose load has yet to rise. A call that is only relayed counts as a part of one, see [`Weight`].
//!
//! In: what the kernel says the thread ran and wanted to run. Out: a price. Which core a call goes
//! to, and what is said to a call that is refused, is [`super::registry`]'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::load::Load;
use crate::base::narrow::{TowardZero, single};
use crate::base::opaque::opaque;
use crate::control::message::{Codec, Format};
use crate::os::account::Account;

/// How often a core takes its measure.
pub const WINDOW: Duration = Duration::from_millis(250);
/// Weight of one window in the moving price: it follows within two seconds.
const WINDOW_WEIGHT: f64 = 1.0 / 8.0;
/// Calls that the first guess weighs as much as. A few calls cost more each than many do, since the
/// thread wakes for every packet: the price falls as calls come.
const GUESS_WEIGHT_CALLS: f64 = 10.0;
/// What a call takes besides its codecs, at most: the way of its packets through the kernel and the
/// line.
const PACKETS_SHARE: f64 = 1.5;
/// When a refused caller may try again: calls last minutes, so that with some hundreds of them a
/// few end within this.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What a call takes of a core, in transcoded calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Weight(f64);

impl Weight {
    /// A call in which Opus is decoded and encoded.
    pub const TRANSCODED: Self = Self(1.0);
    /// A call without: 1,240 of them took 0.75 ms a second each, against 3 ms.
    pub const RELAYED: Self = Self(1.0 / 4.0);

    /// Of a call that joins these, or will be told what; then it is counted as the dearest.
    pub fn of(a: Option<Codecs>, b: Option<Codecs>) -> Self {
        match (a, b) {
            (Some(Codecs::Opus), Some(Codecs::Opus)) | (Some(Codecs::G711), Some(Codecs::G711)) => {
                Self::RELAYED
            }
            _ => Self::TRANSCODED,
        }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// What is left without the other.
    pub fn minus(self, other: Self) -> Self {
        Self((self.0 - other.0).max(0.0))
    }
}

/// The kinds of codecs that a leg has, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codecs {
    /// Opus alone.
    Opus,
    /// G.711 alone.
    G711,
    /// Both.
    Mixed,
}

impl Codecs {
    /// Those of a format.
    pub fn of(format: &Format) -> Self {
        let codings = || format.receive.iter().chain([&format.send.coding]);
        let opus = codings().filter(|coding| coding.codec == Codec::Opus).count();
        match codings().count() - opus {
            0 => Self::Opus,
            _ if opus == 0 => Self::G711,
            _ => Self::Mixed,
        }
    }
}

/// One core's measure of itself.
pub struct Budget {
    guess: f64,
    cost_per_call: f64,
    load: f64,
    window: Option<(Instant, Account)>,
    gauge: Arc<Gauge>,
}

opaque!(Budget);

impl Budget {
    /// A budget with a first guess: `codec` is the time that coding one second of one call took just
    /// now, both directions.
    pub fn new(codec: Duration, gauge: Arc<Gauge>) -> Self {
        let guess = codec.as_secs_f64() * PACKETS_SHARE;
        gauge.publish(guess, 0.0);
        Self { guess, cost_per_call: guess, load: 0.0, window: None, gauge }
    }

    /// When [`Self::observe`] is due.
    pub fn next_window(&self, now: Instant) -> Instant {
        self.window.map_or(now, |(began, _)| began + WINDOW)
    }

    /// A window ends: calls of the weight `talking` sent something in it.
    pub fn observe(&mut self, account: Account, talking: Weight, now: Instant) {
        let Some((began, before)) = self.window.replace((now, account)) else { return };
        let passed = now.saturating_duration_since(began).as_secs_f64();
        let busy = account.busy().saturating_sub(before.busy()).as_secs_f64();
        let load = if passed > 0.0 { busy / passed } else { return };
        let guessed = self.guess * GUESS_WEIGHT_CALLS;
        let measured = (load + guessed) / (talking.0 + GUESS_WEIGHT_CALLS);
        self.cost_per_call += (measured - self.cost_per_call) * WINDOW_WEIGHT;
        self.load += (load - self.load) * WINDOW_WEIGHT;
        self.gauge.publish(self.cost_per_call, load);
    }

    /// How busy the core has been in the last seconds: by this, calls get cheaper encoders.
    pub fn load(&self) -> Load {
        Load::new(single(self.load))
    }

    /// Time passed that was nobody's: the next window begins now.
    pub fn skip(&mut self) {
        self.window = None;
    }
}

/// What a core tells the control thread about itself. Shares of a core, in millionths.
#[derive(Debug, Default)]
pub struct Gauge {
    cost_per_call: AtomicU32,
    load: AtomicU32,
}

const MILLION: f64 = 1e6;

impl Gauge {
    fn publish(&self, cost_per_call: f64, load: f64) {
        self.cost_per_call.store((cost_per_call * MILLION).toward_zero(), Ordering::Relaxed);
        self.load.store((load * MILLION).toward_zero(), Ordering::Relaxed);
    }

    /// The share of the core that one transcoded call takes.
    pub fn cost_per_call(&self) -> f64 {
        f64::from(self.cost_per_call.load(Ordering::Relaxed)) / MILLION
    }

    /// The share of the core that was wanted in the last window; above 1 when something else had it.
    pub fn load(&self) -> f64 {
        f64::from(self.load.load(Ordering::Relaxed)) / MILLION
    }

    /// The share of the core that calls of this weight take.
    pub fn load_of(&self, weight: Weight) -> f64 {
        weight.0 * self.cost_per_call()
    }

    /// How many transcoded calls fit below `limit`, a share of the core.
    pub fn calls_within(&self, limit: f64) -> f64 {
        limit / self.cost_per_call().max(1.0 / MILLION)
    }

    /// What is left below `limit` beside calls of the weight `taken`.
    pub fn room_beside(&self, taken: Weight, limit: f64) -> Weight {
        Weight(self.calls_within(limit)).minus(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: f64 = 0.9;
    const MS: Duration = Duration::from_millis(1);

    struct Core {
        budget: Budget,
        gauge: Arc<Gauge>,
        account: Account,
        now: Instant,
    }

    impl Core {
        fn new(codec: Duration) -> Self {
            let gauge = Arc::new(Gauge::default());
            let budget = Budget::new(codec, Arc::clone(&gauge));
            Self { budget, gauge, account: Account::default(), now: Instant::now() }
        }

        /// Seconds in which `calls` calls take `each` of the core a second.
        fn pass(&mut self, seconds: u32, calls: u32, each: Duration) {
            for _ in 0..seconds * 4 {
                self.now += WINDOW;
                self.account.ran += each * calls / 4;
                self.budget.observe(self.account, Weight(f64::from(calls)), self.now);
            }
        }

        fn room(&self) -> usize {
            self.gauge.calls_within(LIMIT).round() as usize
        }
    }

    #[test]
    fn a_core_that_never_carried_a_call_knows_its_room_from_the_codec() {
        assert_eq!(Core::new(2 * MS).room(), 300);
    }

    #[test]
    fn the_price_of_a_call_is_what_calls_take() {
        let mut core = Core::new(2 * MS);
        core.pass(10, 200, 4 * MS);
        let room = core.room();
        assert!((225..=231).contains(&room), "{room}");
        core.pass(10, 200, 2 * MS);
        let room = core.room();
        assert!((425..=450).contains(&room), "{room}");
    }

    #[test]
    fn a_core_that_something_else_uses_has_less_room() {
        let mut core = Core::new(2 * MS);
        for _ in 0..40 {
            core.now += WINDOW;
            core.account.ran += WINDOW / 2;
            core.account.waited += WINDOW / 2;
            core.budget.observe(core.account, Weight(200.0), core.now);
        }
        let room = core.room();
        assert!((175..200).contains(&room), "{room}");
        assert!((0.99..=1.01).contains(&core.gauge.load()));
    }

    #[test]
    fn the_load_that_encoders_are_chosen_by_follows_within_seconds_and_not_a_single_window() {
        let mut core = Core::new(2 * MS);
        assert_eq!(core.budget.load(), Load::NONE);
        core.pass(10, 200, 2 * MS);
        let steady = core.budget.load();
        assert!(Load::new(0.38) < steady && steady < Load::new(0.42), "{steady:?}");
        core.now += WINDOW;
        core.account.ran += WINDOW;
        core.budget.observe(core.account, Weight(200.0), core.now);
        assert!(core.budget.load() < Load::new(0.5));
    }

    #[test]
    fn silence_brings_the_first_guess_back() {
        let mut core = Core::new(2 * MS);
        core.pass(10, 200, 4 * MS);
        core.pass(20, 0, MS);
        assert!((299..=300).contains(&core.room()));
    }

    #[test]
    fn a_relayed_call_takes_a_part_of_the_room_of_a_transcoded_one() {
        let core = Core::new(2 * MS);
        let format = |codec: &str| {
            let coding = serde_json::json!({"codec": codec, "payload_type": 96});
            let format = serde_json::json!({"send": coding, "receive": [coding]});
            serde_json::from_value::<Format>(format).unwrap()
        };
        let (opus, pcmu, pcma) = (format("opus"), format("pcmu"), format("pcma"));
        let weight = |a: Option<&Format>, b: Option<&Format>| {
            Weight::of(a.map(Codecs::of), b.map(Codecs::of))
        };
        assert_eq!(weight(Some(&opus), Some(&pcmu)), Weight::TRANSCODED);
        assert_eq!(weight(None, Some(&pcmu)), Weight::TRANSCODED);
        assert_eq!(weight(Some(&opus), Some(&opus)), Weight::RELAYED);
        assert_eq!(weight(Some(&pcma), Some(&pcmu)), Weight::RELAYED);
        let (mut taken, mut calls) = (Weight::default(), 0);
        while core.gauge.room_beside(taken, LIMIT) >= Weight::RELAYED {
            taken = taken.plus(Weight::RELAYED);
            calls += 1;
        }
        assert!((1_199..=1_200).contains(&calls), "{calls}");
    }

    #[test]
    fn a_skipped_window_counts_for_nothing() {
        let mut core = Core::new(2 * MS);
        core.pass(10, 200, 4 * MS);
        let before = core.room();
        core.now += Duration::from_secs(7);
        core.budget.skip();
        core.budget.observe(core.account, Weight(200.0), core.now);
        assert_eq!(core.room(), before);
    }
}
