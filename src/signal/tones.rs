//! THE CALL LINE, continued: 7. what a leg hears that the other one does not say. Digits as tones where
//! a far end takes no telephone events, ring-back tone while a trunk rings without any, silence while
//! the other side holds.
//!
//! In: digits, hold, ringing, time. Out: what media is to play, one thing at a time.

use std::time::Duration;

use tracing::debug;

use crate::control::message::{Frequency, Level, Off, On, Side, Sound, Tone};
use crate::signal::call::Call;
use crate::signal::exchange::Exchange;
use crate::signal::peer::Peer;
use crate::signal::played::Ringing;
use crate::signal::stage::Stage;
use crate::wire::telephone_event::{Digit, DigitTime};

/// Digits that wait for their tones: more than anybody's number and code together.
const WAITING_MAX: usize = 64;
/// The shortest tone: half as long again as every receiver accepts (ITU-T Q.24: 40 ms).
const TONE_MS_MIN: u32 = 70;
/// Between two tones: every receiver accepts 40 ms (ITU-T Q.24).
const GAP_MS: u16 = 70;
/// Both frequencies together: in the middle of what receivers accept (ITU-T Q.24, -3 to -24 dBm a
/// frequency) and below what networks clip.
const LEVEL_DBOV: i8 = -12;

/// A digit's two frequencies in Hz (ITU-T Q.23).
fn frequencies(digit: Digit) -> [u16; 2] {
    const ROWS: [u16; 4] = [697, 770, 852, 941];
    const COLUMNS: [u16; 4] = [1_209, 1_336, 1_477, 1_633];
    const KEYPAD: [&str; 4] = ["123A", "456B", "789C", "*0#D"];
    let at = |row: &str| row.find(digit.to_char());
    let place = KEYPAD.iter().enumerate().find_map(|(row, keys)| Some((row, at(keys)?)));
    let (row, column) = place.unwrap_or_default();
    [ROWS[row], COLUMNS[column]]
}

fn tone(digit: Digit, on_ms: u16) -> Option<Sound> {
    let hz = frequencies(digit).into_iter().map(Frequency::new).collect::<Option<Vec<_>>>()?;
    let (on_ms, off_ms) = (On::new(on_ms)?, Off::new(GAP_MS)?);
    Some(Sound::Tone(Tone { hz, on_ms, off_ms, level_dbov: Level::new(LEVEL_DBOV)? }))
}

impl Call {
    /// Media heard a digit as events. It carries them across by itself; a far end that takes none
    /// hears tones.
    pub fn digit_heard(
        &mut self,
        from: Side,
        digit: Digit,
        time: DigitTime,
        exchange: &mut Exchange,
    ) {
        let toward = from.other();
        if self.stage == Stage::Talking && !self.leg(toward).media.takes_events() {
            self.sound(toward, digit, time, exchange);
        }
    }

    /// Sounds a digit toward a leg, after those before it. `false`: too many wait.
    pub(super) fn sound(
        &mut self,
        toward: Side,
        digit: Digit,
        time: DigitTime,
        exchange: &mut Exchange,
    ) -> bool {
        if self.leg(toward).tones.waiting.len() >= WAITING_MAX {
            self.complain(toward, "a digit is refused", "too many wait to be sounded");
            return false;
        }
        let tones = &mut self.leg_mut(toward).tones;
        tones.waiting.push_back((digit, time));
        if tones.until.is_none() {
            self.sound_next(toward, exchange);
        }
        true
    }

    /// A digit's tone and its gap may be over.
    pub(super) fn tones_due(&mut self, toward: Side, exchange: &mut Exchange) {
        if self.leg_mut(toward).tones.until.take_if(|at| *at <= exchange.now).is_some() {
            self.sound_next(toward, exchange);
        }
    }

    fn sound_next(&mut self, toward: Side, exchange: &mut Exchange) {
        let is_up = self.stage == Stage::Talking;
        let background = self.background(toward, exchange);
        let tones = &mut self.leg_mut(toward).tones;
        match tones.waiting.pop_front().filter(|_| is_up) {
            Some((digit, time)) => {
                let on_ms = u16::try_from(time.ms().max(TONE_MS_MIN)).unwrap_or(u16::MAX);
                let sounds = Duration::from_millis(u64::from(on_ms) + u64::from(GAP_MS));
                tones.until = Some(exchange.now + sounds);
                if let Some(tone) = tone(digit, on_ms) {
                    exchange.play_once(&self.name, toward, tone);
                }
            }
            // What the digits were heard in place of.
            None => {
                if let Some(sound) = background.filter(|_| is_up) {
                    exchange.play(&self.name, toward, sound);
                }
            }
        }
    }

    /// A browser that holds leaves the other leg in silence that is sent; one that resumes is heard
    /// again.
    pub(super) fn hold_or_resume(&mut self, side: Side, exchange: &mut Exchange) {
        let is_holding = self.leg(side).media.is_holding();
        if std::mem::replace(&mut self.leg_mut(side).is_holding, is_holding) == is_holding {
            return;
        }
        debug!(call = &*self.name, leg = ?side, is_holding, "hold");
        self.play_background(side.other(), exchange);
        self.tell_hold(side.other(), exchange);
    }

    /// The trunk that is asked rings and lets us hear nothing: by its terms the caller's browser is
    /// played what its country's callers hear. `true`: the browser needs our SDP for it.
    pub(super) fn ring_back(&mut self, trunk: &Peer, exchange: &mut Exchange) -> bool {
        let Some(ringback) = exchange.routes.ringback(trunk) else { return false };
        if self.caller.media.browser().is_none() {
            return false;
        }
        if self.caller.tones.ringing == Ringing::Off {
            self.caller.tones.ringing = Ringing::Wanted(ringback);
            self.ring_if_open(exchange);
        }
        true
    }

    /// The caller's keys may be there by now.
    pub(super) fn ring_if_open(&mut self, exchange: &mut Exchange) {
        if let Ringing::Wanted(ringback) = self.caller.tones.ringing
            && self.caller.media.is_open()
        {
            self.caller.tones.ringing = Ringing::On;
            exchange.play(&self.name, Side::A, Sound::Ringback(ringback));
        }
    }

    /// The trunk is heard itself from now on, or has answered.
    pub(super) fn stop_ringing(&mut self, exchange: &mut Exchange) {
        if std::mem::take(&mut self.caller.tones.ringing) == Ringing::On {
            exchange.stop_playing(&self.name, Side::A);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_digit_has_its_two_frequencies() {
        let of = |character| frequencies(Digit::from_char(character).unwrap());
        assert_eq!(of('1'), [697, 1_209]);
        assert_eq!(of('5'), [770, 1_336]);
        assert_eq!(of('0'), [941, 1_336]);
        assert_eq!(of('#'), [941, 1_477]);
        assert_eq!(of('D'), [941, 1_633]);
        let mut all: Vec<_> = Digit::all().map(frequencies).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 16);
        assert!(Digit::all().all(|digit| tone(digit, 70).is_some()));
    }
}
