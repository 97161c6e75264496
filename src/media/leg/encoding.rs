//! Which rung of the encoder ladder a leg is sent: the policy.
//!
//! In: what the leg negotiated, what its far end reports as lost (RFC 3550 §6.4), how loaded the core
//! is. Out: a [`Rung`]. The rungs, their costs and their scores are in [`crate::audio::ladder`].
//!
//! | the path is … | with RED | with in-band FEC | with neither |
//! |---|---|---|---|
//! | unproven: a call begins | CELT + RED | SILK + FEC; on a busy core CELT | CELT |
//! | clean for [`HOLD`] | CELT | SILK + FEC; on a busy core CELT | CELT |
//! | lossy: [`LOSSY`] and more | CELT + RED | SILK + FEC | CELT |
//! | congested: [`CONGESTED`] and more | SILK + RED | SILK + FEC | CELT |
//!
//! Protection comes with the first report that asks for it, and goes a step at a time, once [`HOLD`]
//! has passed without one. A path that falls back soon after is trusted twice as late, so that a call
//! does not flap between two rungs. What a core's load changes is the rung of new calls; a call that
//! is up changes only when its path does, and to a dearer rung only while the core is not full.

use std::time::{Duration, Instant};

use crate::audio::ladder::Rung;
use crate::audio::opus::EncoderSettings;
use crate::control::message::Codec;
use crate::media::format::{Abilities, SendFormat};
use crate::media::load::Load;

/// Loss from which a path is lossy, in 256ths as reports have it: 0.8 %. At 1 % CELT alone has lost
/// 0.4 of PESQ; a single packet of a browser's usual 5 s is below it.
const LOSSY: u8 = 2;
/// Loss from which our own bits may be the cause: 10 %. RED then goes on at half the bit rate.
const CONGESTED: u8 = 26;
/// How long a path has to be better before it is believed.
const HOLD: Duration = Duration::from_secs(20);
/// The longest that [`HOLD`] grows, for paths that keep falling back.
const HOLD_MAX: Duration = Duration::from_secs(320);
/// Falling back within this doubles the hold.
const RELAPSE: Duration = Duration::from_secs(120);

/// What is known about loss on the way to a far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LossState {
    /// Proven clean.
    Clean,
    /// Nothing is known.
    Unproven,
    /// Loses packets.
    Lossy,
    /// Loses so many that it may be too narrow for us.
    Congested,
}

/// The rung for a path. Never one that was not negotiated.
pub fn choose(abilities: Abilities, path: LossState, load: Load) -> Rung {
    let proven_lossy = path >= LossState::Lossy;
    match path {
        LossState::Clean if abilities.red => Rung::Celt,
        LossState::Congested if abilities.red => Rung::SilkRed,
        _ if abilities.red => Rung::CeltRed,
        _ if abilities.in_band_fec && (proven_lossy || load < Load::BUSY) => Rung::SilkFec,
        _ => Rung::Celt,
    }
}

/// How a leg's audio is encoded, and what its far end said about the path.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    choice: Choice,
    watch: Watch,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Choice {
    /// Nothing is encoded as Opus.
    None,
    /// As the controller said.
    Fixed(EncoderSettings),
    /// By this policy.
    Ladder(Abilities, Rung),
}

impl Default for Encoding {
    /// Nothing to encode, nothing known.
    fn default() -> Self {
        Self { choice: Choice::None, watch: Watch::default() }
    }
}

impl Encoding {
    /// The same with another format; without one nothing is encoded as Opus. What is known about the
    /// path stays, and so does the rung unless other abilities were negotiated.
    #[must_use]
    pub fn with_format(&self, format: Option<&SendFormat>, load: Load) -> Self {
        let choice = format.filter(|format| format.codec == Codec::Opus).map(|format| {
            let abilities = format.abilities();
            match (format.encoder, self.choice) {
                (Some(settings), _) => Choice::Fixed(settings),
                (None, Choice::Ladder(before, rung)) if before == abilities => {
                    Choice::Ladder(abilities, rung)
                }
                _ => Choice::Ladder(abilities, choose(abilities, self.watch.path, load)),
            }
        });
        Self { choice: choice.unwrap_or(Choice::None), watch: self.watch.clone() }
    }

    /// What the encoder is told.
    pub fn settings(&self) -> EncoderSettings {
        match self.choice {
            Choice::None => EncoderSettings::default(),
            Choice::Fixed(settings) => settings,
            Choice::Ladder(_, rung) => rung.settings(),
        }
    }

    /// Whether packets are sent as RED, where it was negotiated: with fixed settings, and of what
    /// passes unchanged, all of them.
    pub fn redundancy(&self) -> bool {
        match self.choice {
            Choice::None | Choice::Fixed(_) => true,
            Choice::Ladder(_, rung) => rung.redundancy(),
        }
    }

    /// The name of the rung, or `fixed`; `None` when no Opus is sent.
    pub fn name(&self) -> Option<&'static str> {
        match self.choice {
            Choice::None => None,
            Choice::Fixed(_) => Some("fixed"),
            Choice::Ladder(_, rung) => Some(rung.name()),
        }
    }

    /// The far end reported a loss since its report before, in 256ths. Gives the encoder's new
    /// settings if they change.
    pub fn report(
        &mut self,
        fraction_lost: u8,
        load: Load,
        now: Instant,
    ) -> Option<EncoderSettings> {
        let before = self.watch.path;
        self.watch.report(fraction_lost, now);
        let path = self.watch.path;
        let Choice::Ladder(abilities, rung) = &mut self.choice else { return None };
        // Nothing happened to the path; but a lossy one may still wait for room on the core.
        if path == before && path < LossState::Lossy {
            return None;
        }
        let wanted = choose(*abilities, path, load);
        let has_room = load < Load::FULL || wanted.cost_ns() <= rung.cost_ns();
        if wanted == *rung || !has_room {
            return None;
        }
        *rung = wanted;
        Some(wanted.settings())
    }
}

/// Believes the worst at once and the better late.
#[derive(Clone, Debug, PartialEq)]
struct Watch {
    path: LossState,
    /// How long the better has to last.
    hold: Duration,
    /// The last report that was as bad as the path is held to be; the first one, before.
    since: Option<Instant>,
    /// When the path last became better.
    improved: Option<Instant>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { path: LossState::Unproven, hold: HOLD, since: None, improved: None }
    }
}

impl Watch {
    fn report(&mut self, fraction_lost: u8, now: Instant) {
        let reported = match fraction_lost {
            CONGESTED.. => LossState::Congested,
            LOSSY.. => LossState::Lossy,
            _ => LossState::Clean,
        };
        let since = *self.since.get_or_insert(now);
        if reported >= self.path {
            let relapsed = self.improved.is_some_and(|at| now.duration_since(at) < RELAPSE);
            if reported > self.path {
                self.hold = if relapsed { (self.hold * 2).min(HOLD_MAX) } else { HOLD };
            }
            self.path = reported;
            self.since = Some(now);
        } else if now.duration_since(since) >= self.hold {
            self.path =
                if self.path == LossState::Congested { LossState::Lossy } else { LossState::Clean };
            self.since = Some(now);
            self.improved = Some(now);
        }
    }
}

#[cfg(test)]
mod tests;
