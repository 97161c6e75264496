//! How long packets take: what the playout delay is chosen by.
//!
//! A packet's transit is its arrival less its position on the sender's clock. The fastest of the last
//! seconds is the base; how much slower each packet is than that goes into a histogram that forgets.
//! A histogram follows jitter of any shape, as a mean and a deviation do not, and one stall of the
//! sender, ten packets of five hundred, hardly moves it: that is for the buffer to grow over and
//! shrink back from. (NetEq, the jitter buffer of browsers, decides in the same way.)
//!
//! The base follows what is faster at once. What is slower for good (a longer path; a sender's clock
//! that stood still) becomes the base when the faster packets are forgotten. That is too late where it
//! is slower than the longest delay, for then nothing comes in time meanwhile: so the base follows at
//! once when nothing came in time for as long as a packet may wait. Nothing is left then that was
//! placed by the old one. If it was a stall, the packets that follow at once bring the old base back, and
//! until that is known the histogram is of the old one.

use crate::base::narrow::Narrow;

use super::MS;

/// The base is the fastest packet of the present and the past interval of this length: short enough
/// for 200 ppm of drift to move it by 2 ms only.
const BASE_INTERVAL: i64 = 4_000 * MS;
const BIN: i64 = 5 * MS;
const BINS: usize = super::MOST_MS_MAX as usize / 5;
/// What comes after a stall, comes within this; five packets that are none hardly move the histogram.
const STALL_ENDS: i64 = 100 * MS;
/// What a packet weighs; in 500 packets, ten seconds, its weight falls to a third.
const WEIGHT: f32 = 0.002;
/// The share of packets that may be too late.
const TOO_LATE: f32 = 0.03;

/// The fastest transit of the present interval and of the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Fastest([Option<i64>; 2]);

impl Fastest {
    fn base(&self) -> i64 {
        self.0.iter().flatten().copied().min().unwrap_or(0)
    }
}

/// The transit times of one stream.
#[derive(Clone, Debug)]
pub(super) struct Jitter {
    /// The longest delay.
    most: i64,
    fastest: Fastest,
    /// What was the fastest before the base moved up, until a time at which that was no stall.
    before: Option<(Fastest, i64)>,
    interval_end: i64,
    /// When a packet last came that the longest delay could wait for.
    in_time: i64,
    bins: [f32; BINS],
    total: f32,
    needed: i64,
}

impl Jitter {
    /// Nothing came yet; packets wait for `most` at most.
    pub(super) fn new(most: i64) -> Self {
        Self {
            most,
            fastest: Fastest::default(),
            before: None,
            interval_end: 0,
            in_time: 0,
            bins: [0.0; BINS],
            total: 0.0,
            needed: 0,
        }
    }

    /// Takes a packet's transit time in.
    pub(super) fn observe(&mut self, transit: i64, arrival: i64) {
        if arrival >= self.interval_end {
            self.forget(arrival);
        }
        self.move_base(transit, arrival);
        let reference = self.before.map_or(self.fastest, |(before, _)| before);
        let slower = transit - reference.base();
        let bin = usize::try_from(slower / BIN).unwrap_or(0).min(BINS - 1);
        self.bins.iter_mut().for_each(|weight| *weight *= 1.0 - WEIGHT);
        self.bins[bin] += WEIGHT;
        self.total = self.total * (1.0 - WEIGHT) + WEIGHT;
        let mut later = 0.0;
        let most = self.bins.iter().rposition(|weight| {
            later += weight;
            later > TOO_LATE * self.total
        });
        self.needed = (Narrow::<i64>::narrow(most.unwrap_or(0)) + 1) * BIN;
    }

    /// The transit of the fastest packet lately.
    pub(super) fn base(&self) -> i64 {
        self.fastest.base()
    }

    /// How much slower all but the slowest packets are.
    pub(super) fn needed(&self) -> i64 {
        self.needed
    }

    fn move_base(&mut self, transit: i64, arrival: i64) {
        if let Some((before, until)) = self.before {
            if transit - before.base() <= self.most {
                (self.fastest, self.before) = (before, None);
            } else if arrival >= until {
                self.before = None;
            }
        }
        let [present, _] = &mut self.fastest.0;
        *present = Some(present.map_or(transit, |fastest| fastest.min(transit)));
        if transit - self.base() <= self.most {
            self.in_time = arrival;
        } else if arrival - self.in_time > self.most {
            self.before.get_or_insert((self.fastest, arrival + STALL_ENDS));
            self.fastest = Fastest([Some(transit), None]);
            self.in_time = arrival;
        }
    }

    /// Begins another interval. If the path is slower without what is forgotten, what was slow on it
    /// is so no more.
    fn forget(&mut self, arrival: i64) {
        let before = self.base();
        self.fastest = Fastest([None, self.fastest.0[0]]);
        self.interval_end = arrival + BASE_INTERVAL;
        let slower = if self.fastest.0[1].is_some() { self.base() - before } else { 0 };
        let moved = usize::try_from(slower / BIN).unwrap_or(0).min(BINS);
        if moved > 0 {
            let fast: f32 = self.bins[..moved].iter().sum();
            self.bins.copy_within(moved.., 0);
            self.bins[BINS - moved..].fill(0.0);
            self.bins[0] += fast;
        }
    }
}
