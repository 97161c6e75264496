//! The replay window (RFC 3711 §3.3.2): which of the last indexes were seen.

use crate::base::discard::Discard;

/// Indexes that may arrive late. At least 64 (RFC 3711 §3.3.2); 128 packets of 20 ms are 2.5 s.
pub const WINDOW_PACKETS: u64 = 128;

/// The highest index seen, and which of the [`WINDOW_PACKETS`] up to it were.
#[derive(Clone, Copy, Debug)]
pub struct ReplayWindow {
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u128,
}

impl ReplayWindow {
    /// A window after its first packet.
    pub const fn opened_by(index: u64) -> Self {
        Self { highest: index, seen: 1 }
    }

    /// A window in which everything up to `index` counts as seen.
    pub const fn closed_up_to(index: u64) -> Self {
        Self { highest: index, seen: u128::MAX }
    }

    /// The highest index seen.
    #[inline]
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether the window knows of this index whether it was seen: it is neither above nor too old.
    pub const fn covers(&self, index: u64) -> bool {
        index <= self.highest && self.highest - index < WINDOW_PACKETS
    }

    /// Whether a packet may still be accepted. Changes nothing: the tag comes first.
    #[inline]
    pub fn check(&self, index: u64) -> Result<(), Discard> {
        if index > self.highest {
            return Ok(());
        }
        let age = self.highest - index;
        if age >= WINDOW_PACKETS || self.seen >> age & 1 == 1 {
            Err(Discard::Replayed)
        } else {
            Ok(())
        }
    }

    /// Records a packet whose tag was good.
    #[inline]
    pub fn accept(&mut self, index: u64) {
        debug_assert!(self.check(index).is_ok(), "an index is accepted once");
        if index > self.highest {
            let step = index - self.highest;
            self.seen = if step >= WINDOW_PACKETS { 0 } else { self.seen << step };
            self.seen |= 1;
            self.highest = index;
        } else if self.highest - index < WINDOW_PACKETS {
            self.seen |= 1 << (self.highest - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_window_is_exactly_128_wide() {
        let window = ReplayWindow::opened_by(1000);
        assert_eq!(window.check(1000), Err(Discard::Replayed));
        assert_eq!(window.check(1001), Ok(()));
        assert_eq!(window.check(1000 - 127), Ok(()));
        assert_eq!(window.check(1000 - 128), Err(Discard::Replayed));
        let covered: Vec<u64> = (0..2000).filter(|index| window.covers(*index)).collect();
        assert_eq!(covered, (1000 - 127..=1000).collect::<Vec<_>>());
        assert_eq!(ReplayWindow::closed_up_to(1000).check(999), Err(Discard::Replayed));
        assert_eq!(ReplayWindow::closed_up_to(1000).check(1001), Ok(()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_window_agrees_with_a_naive_set(
            start in 0u64..1 << 47,
            // Mostly small steps in both directions, sometimes past the window, sometimes far.
            steps in prop::collection::vec(
                prop_oneof![8 => -8i64..=8, 3 => -140i64..=140, 1 => 0i64..=70_000],
                0..300,
            ),
        ) {
            let mut window = ReplayWindow::opened_by(start);
            let mut seen = HashSet::from([start]);
            let mut highest = start;
            for step in steps {
                let Some(index) = highest.checked_add_signed(step) else { continue };
                let fresh = !seen.contains(&index) && index + WINDOW_PACKETS > highest;
                prop_assert_eq!(window.check(index).is_ok(), fresh);
                if fresh {
                    window.accept(index);
                    seen.insert(index);
                    highest = highest.max(index);
                }
                prop_assert_eq!(window.highest(), highest);
            }
        }
    }
}
