//! Which packets are lost: at random, or in bursts with the same mean.

use std::str::FromStr;

use linecard::base::random;
use rand::RngExt;

/// Mean length of a burst in packets: 60 ms, as of a fading radio link.
const BURST_PACKETS: f64 = 3.0;
/// Losses that make sense to score.
const PERCENT_MAX: u8 = 50;

/// A kind of loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Mean loss in percent.
    pub percent: u8,
    /// How it comes.
    pub kind: Kind,
}

/// How losses come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Each packet for itself.
    Random,
    /// Two states (Gilbert's model): all is lost in the one, nothing in the other.
    Bursts,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, number) = match text.strip_prefix("burst") {
            Some(number) => (Kind::Bursts, number),
            None => (Kind::Random, text),
        };
        let percent = number.parse().ok().filter(|percent| *percent <= PERCENT_MAX);
        let percent = percent.ok_or_else(|| {
            format!("write a loss as 0 to {PERCENT_MAX}, or burst5, not `{text}`")
        })?;
        Ok(Self { percent, kind })
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.kind == Kind::Bursts { "burst" } else { "" };
        write!(f, "{kind}{}", self.percent)
    }
}

impl Condition {
    /// Which of `packets` are lost; the same `seed` loses the same ones for every recipe.
    pub fn lost(self, packets: usize, seed: u64) -> Vec<bool> {
        let mut random = random::from_seed(seed);
        let mean = f64::from(self.percent) / 100.0;
        let mut losing = false;
        let mut next = |losing: &mut bool| {
            let draw: f64 = random.random();
            *losing = match self.kind {
                Kind::Random => draw < mean,
                Kind::Bursts if *losing => draw >= 1.0 / BURST_PACKETS,
                Kind::Bursts => draw < mean / (1.0 - mean) / BURST_PACKETS,
            };
            *losing
        };
        (0..packets).map(|_| next(&mut losing)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_lose_what_they_say_and_bursts_are_longer() {
        for (text, run_least, run_most) in [("10", 1.0, 1.3), ("burst10", 2.7, 3.3)] {
            let lost = text.parse::<Condition>().unwrap().lost(200_000, 1);
            let count = lost.iter().filter(|lost| **lost).count() as f64;
            let runs = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
            assert!((0.095..0.105).contains(&(count / lost.len() as f64)), "{text}: {count}");
            assert!((run_least..run_most).contains(&(count / runs)), "{text}: {}", count / runs);
        }
    }

    #[test]
    fn a_loss_that_is_none_is_answered_with_what_to_write() {
        for text in ["", "5%", "burst", "99", "-1"] {
            assert!(text.parse::<Condition>().unwrap_err().contains("burst5"), "{text}");
        }
    }
}
