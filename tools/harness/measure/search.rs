//! The search for an engine's capacity: the largest number of calls that it carries within the bounds.
//! Sans-IO: asks for runs and is told how they went. Doubles until a run fails, then halves the rest; near
//! a good guess it goes by eighths until it has both, a run that is carried and one that is not.

/// A run that is within these bounds is carried.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Bounds {
    /// Packets lost, in either direction.
    pub loss_percent: f64,
    /// Added delay that one packet in a hundred may exceed, in either direction.
    pub added_ms_p99: f64,
}

impl Bounds {
    /// A tenth of a percent is not heard. Fifty milliseconds leave an engine that holds a packet or two
    /// its habit: what fails here is a queue that grows.
    pub const DEFAULT: Self = Self { loss_percent: 0.1, added_ms_p99: 50.0 };
}

/// How close the search comes: calls between a run that is carried and one that is not, as a share of
/// the first.
#[derive(Clone, Copy, Debug)]
pub struct Precision(pub f64);

impl Precision {
    /// As close as two runs of one engine are to each other.
    pub const FINE: Self = Self(0.03);
    /// For a first look.
    pub const COARSE: Self = Self(0.08);
}

/// How far it goes in a step before both sides are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strides {
    Doubling,
    Eighths,
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    precision: Precision,
    strides: Strides,
    next: u16,
    most: u16,
    carried: u16,
    failed: Option<u16>,
}

impl Search {
    /// Begins with a guess; asks for `most` calls at most.
    pub fn new(guess: u16, most: u16, precision: Precision) -> Self {
        let strides = Strides::Doubling;
        Self { precision, strides, next: guess.clamp(1, most), most, carried: 0, failed: None }
    }

    /// Begins with a guess that is likely to be close, and comes as close as it can.
    pub fn near(guess: u16, most: u16) -> Self {
        Self { strides: Strides::Eighths, ..Self::new(guess, most, Precision::FINE) }
    }

    /// The run that is needed next; `None`: the search is over.
    pub fn next(&self) -> Option<u16> {
        let worth_it = |failed: u16| {
            let precision = (f64::from(self.carried) * self.precision.0).max(1.0);
            f64::from(failed - self.carried) > precision
        };
        let over = self.failed.map_or(self.carried == self.most, |failed| !worth_it(failed));
        (!over).then_some(self.next)
    }

    /// How the run went that was asked for: how many of its calls the engine accepted, and whether
    /// those came through within the bounds.
    pub fn record(&mut self, accepted: u16, within: bool) {
        let asked = self.next;
        if within {
            self.carried = self.carried.max(accepted.min(asked));
        }
        if within && accepted < asked {
            // Turned down at the door while the others were served well: that is its capacity.
            self.failed = Some(self.carried + 1);
        } else if !within {
            self.failed = Some(self.failed.map_or(asked, |failed| failed.min(asked)));
        }
        self.next = match (self.strides, self.failed) {
            (Strides::Eighths, Some(failed)) if self.carried == 0 => failed - (failed / 8).max(1),
            (_, Some(failed)) => self.carried + (failed - self.carried) / 2,
            (Strides::Eighths, None) => self.carried + (self.carried / 8).max(1),
            (Strides::Doubling, None) => self.carried.saturating_mul(2),
        };
        self.next = self.next.min(self.most);
    }

    /// The most calls that were carried.
    pub fn capacity(&self) -> u16 {
        self.carried
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capacity_found(guess: u16, most: u16, capacity: u16) -> (u16, usize) {
        let (mut search, mut runs) = (Search::new(guess, most, Precision::FINE), 0);
        while let Some(calls) = search.next() {
            search.record(calls, calls <= capacity);
            runs += 1;
        }
        (search.capacity(), runs)
    }

    #[test]
    fn a_good_guess_needs_few_runs() {
        let (found, runs) = capacity_found(300, 6_000, 317);
        assert!((308..=317).contains(&found), "{found}");
        assert!(runs <= 7, "{runs}");
    }

    #[test]
    fn an_engine_that_carries_nothing_has_no_capacity() {
        assert_eq!(capacity_found(50, 6_000, 0).0, 0);
    }

    #[test]
    fn a_machine_that_is_never_full_ends_at_the_most() {
        assert_eq!(capacity_found(50, 1_000, 9_999).0, 1_000);
    }

    #[test]
    fn an_engine_that_refuses_what_it_cannot_carry_is_found_at_once() {
        let mut search = Search::new(200, 6_000, Precision::FINE);
        search.record(200, true);
        assert_eq!(search.next(), Some(400));
        search.record(310, true);
        assert_eq!(search.next(), None);
        assert_eq!(search.capacity(), 310);
    }

    #[test]
    fn near_a_guess_it_never_goes_far_beyond() {
        for capacity in [250, 300, 320, 400] {
            let (mut search, mut asked) = (Search::near(300, 2_000), Vec::new());
            while let Some(calls) = search.next() {
                asked.push(calls);
                search.record(calls, calls <= capacity);
            }
            let found = search.capacity();
            assert!(found <= capacity && f64::from(capacity - found) <= f64::from(found) * 0.03);
            assert!(asked.len() <= 7, "{asked:?}");
            let most = (capacity * 9 / 8).max(300);
            assert!(asked.iter().all(|calls| *calls <= most), "{asked:?}");
        }
        let mut search = Search::near(3, 2_000);
        while let Some(calls) = search.next() {
            search.record(calls, false);
        }
        assert_eq!(search.capacity(), 0);
    }

    proptest! {
        #[test]
        fn what_is_found_is_carried_and_close(guess in 1_u16..6_000, capacity in 1_u16..6_000) {
            let (found, runs) = capacity_found(guess, 6_000, capacity);
            prop_assert!(found <= capacity);
            prop_assert!(f64::from(capacity - found) <= (f64::from(found) * 0.03).max(1.0));
            prop_assert!(runs <= 30);
        }
    }
}
