//! What observers cost: the same calls with and without so many questions a second, in turns.

use std::time::Duration;

use super::{Laboratory, Searched, light};
use crate::ends::material::{BrowserKind, Material};
use crate::measure::capacity::{self, USUAL_LOAD};
use crate::measure::load::Load;
use crate::measure::search::Search;
use crate::page::queries::{Questioned, Turn};
use crate::page::results::Who;

/// Questions a second in every second run.
pub const QUERIES: u32 = 10_000;
const TURNS: u8 = 5;
/// Measured in a turn, and in each run of a search.
const SECONDS: u16 = 5;
const SEARCH_SECONDS: u64 = 3;

impl Laboratory<'_> {
    /// How many calls the core carries, found each turn without questions and with them, and what they
    /// cost at the usual load. With a number of calls nothing is searched for.
    pub(super) fn queries(&mut self) -> Result<(), String> {
        let browser = BrowserKind::Narrowband;
        let material = Material::new(browser);
        let turns = self.arguments.turns.unwrap_or(TURNS);
        let mut questioned = Questioned { asked_per_second: QUERIES, turns, ..Default::default() };
        let part = self.progress.part.clone();
        let calls = match self.arguments.calls {
            Some(calls) => calls,
            None => {
                let mut guess = self.guess(&material)?;
                for turn in 0..turns {
                    let mut found = [None; 2];
                    for at in in_turns(turn) {
                        self.progress.part = format!("{part}search {} of {turns}: ", turn + 1);
                        found[at] = self.near(guess, asked(at), &material)?;
                        guess = found[at].unwrap_or(guess);
                    }
                    questioned.carried.push(found);
                }
                let carried = questioned.carried_without().unwrap_or(f64::from(guess));
                (carried * USUAL_LOAD) as u16
            }
        };
        let seconds = self.arguments.seconds.unwrap_or(SECONDS);
        for turn in 0..turns {
            self.progress.part = format!("{part}turn {} of {turns}: ", turn + 1);
            let mut runs: Turn = [None, None];
            for at in in_turns(turn) {
                let measured = Duration::from_secs(seconds.into());
                let load = Load { calls, measured, queries: Some(asked(at)), ..light(browser) };
                runs[at] = self.measure(Who::Linecard, &load, &material)?;
            }
            questioned.runs.push(runs);
        }
        self.progress.part = part;
        questioned.calls = calls;
        self.results.queries = Some(questioned);
        Ok(())
    }

    /// What the core is likely to carry.
    fn guess(&mut self, material: &Material) -> Result<u16, String> {
        let (who, browser) = (Who::Linecard, BrowserKind::Narrowband);
        let (probe, _) = self.probe(who, browser, material, Searched::Not)?;
        let cost = probe.and_then(|run| run.calls_at_this_cost);
        Ok((cost.unwrap_or(100.0) * super::guess_factor(browser)) as u16)
    }

    /// What it carries, which is likely to be close.
    fn near(
        &mut self,
        guess: u16,
        queries: u32,
        material: &Material,
    ) -> Result<Option<u16>, String> {
        let browser = BrowserKind::Narrowband;
        let search = Search::near(guess, capacity::calls_max(browser));
        let found = capacity::find_by(search, |calls| {
            let measured = Duration::from_secs(SEARCH_SECONDS);
            let load = Load { calls, measured, queries: Some(queries), ..light(browser) };
            self.measure(Who::Linecard, &load, material)
        })?;
        Ok(found.calls)
    }
}

/// Who has the first word changes: what the machine does meanwhile falls on both alike.
fn in_turns(turn: u8) -> [usize; 2] {
    if turn.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

/// Without questions, and with them.
fn asked(at: usize) -> u32 {
    if at == 0 { 0 } else { QUERIES }
}
