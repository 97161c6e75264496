//! Where incoming audio belongs on the outgoing time line.
//!
//! A position counts 8 kHz samples since the stream began and only ever grows. The sender's RTP
//! clock decides it, so that a silence stays as long as it was; where that clock jumps wildly or
//! restarts (a new source, a switch that re-invents its timestamps), the time that really passed
//! decides instead. What goes out is therefore one time line, whatever comes in.

use std::time::{Duration, Instant};

use crate::base::narrow::Narrow;
use crate::wire::rtp::RtpTimestamp;

/// A jump of the sender's clock beyond this is not a pause but a new clock.
const JUMP_MAX: i64 = 10 * SAMPLES_PER_SECOND.cast_signed();
const SAMPLES_PER_SECOND: u64 = 8_000;
/// Audio of our own that outlasts a pause is no new clock of the sender's: up to the longest packet
/// sent, it is taken out of the next pause, so that the line never runs ahead for good.
const OVERLAP_MAX: i64 = 480;

/// The sender's clock tied to our positions.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    timestamp: RtpTimestamp,
    position: u64,
}

/// The time line of one stream; it begins with the first packet.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    anchor: Option<Anchor>,
    end: u64,
    /// When audio was last added, and how much of it.
    last: Option<(Instant, u64)>,
    /// How far the line is ahead of the sender, or of time where the sender changed: it is taken out of
    /// the next pause.
    owed: u64,
}

impl Timeline {
    /// Position after the last audio so far.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Where the end would be had audio gone on until `now`.
    pub fn end_by(&self, now: Instant) -> u64 {
        self.end + self.passed_beyond_end(now)
    }

    /// Samples between the last audio and a packet with this timestamp: 0 when it follows directly.
    /// `clock_hz` is the clock of the packet's codec, a multiple of 8 kHz.
    #[inline]
    pub fn gap_before(&mut self, timestamp: RtpTimestamp, clock_hz: u32, now: Instant) -> u64 {
        let per_sample = i64::from(clock_hz) / SAMPLES_PER_SECOND.cast_signed();
        let by_clock = self.anchor.map(|anchor| {
            let passed = i64::from(timestamp.distance(anchor.timestamp)) / per_sample.max(1);
            anchor.position.cast_signed() + passed - self.end.cast_signed()
        });
        // What nearly every packet does.
        if by_clock == Some(0) && self.owed == 0 {
            self.anchor = Some(Anchor { timestamp, position: self.end });
            return 0;
        }
        self.gap_by(by_clock, timestamp, now)
    }

    #[cold]
    fn gap_by(&mut self, by_clock: Option<i64>, timestamp: RtpTimestamp, now: Instant) -> u64 {
        let owed = self.owed.cast_signed();
        let overlap_max = OVERLAP_MAX + owed;
        let gap = match by_clock {
            Some(gap) if (-overlap_max..=JUMP_MAX).contains(&gap) => gap,
            // A clock that steps back: a position is never given twice.
            Some(gap) if (-JUMP_MAX..0).contains(&gap) => -owed,
            // What comes now was spoken since, as what came last was before it came.
            _ => self.passed_beyond_end(now).cast_signed() - self.last_packet() - owed,
        };
        // Overlapping audio follows directly.
        self.owed = (-gap).max(0).cast_unsigned();
        let position = self.end.saturating_add_signed(gap);
        self.anchor = Some(Anchor { timestamp, position });
        gap.max(0).cast_unsigned()
    }

    /// Adds audio that was played: sent, or about to be.
    pub fn advance(&mut self, samples: u64, now: Instant) {
        self.end += samples;
        self.last = Some((now, samples));
    }

    /// Takes back audio that was added and is not played after all.
    pub fn retract(&mut self, samples: u64) {
        debug_assert!(samples <= self.end, "no more is taken back than was added");
        self.end = self.end.saturating_sub(samples);
    }

    /// The source changed: its timestamps start anywhere.
    pub fn restart(&mut self) {
        self.anchor = None;
    }

    /// Moves the end to where it would be had audio gone on until `now`, and returns by how much.
    pub fn catch_up(&mut self, now: Instant) -> u64 {
        let passed = self.passed_beyond_end(now);
        let skipped = passed.saturating_sub(self.owed);
        self.owed = self.owed.saturating_sub(passed);
        let last_samples = self.last.map_or(0, |(_, samples)| samples);
        self.end += skipped;
        self.last = Some((now, last_samples));
        skipped
    }

    /// When audio of our own may begin: once what was sent last has lasted, and what the line is ahead has
    /// passed. Were that left out, each beginning would put the line ahead for good.
    pub fn next_due(&self, now: Instant) -> Instant {
        let due = self.last.map(|(at, _)| at + Duration::from_micros(self.lasts() * 125));
        due.map_or(now, |due| due.max(now))
    }

    /// Moves the end to where audio of our own belongs that begins now.
    pub fn follow(&mut self, now: Instant) {
        self.end += self.passed_beyond_end(now).saturating_sub(self.lasts());
        self.owed = 0;
    }

    fn lasts(&self) -> u64 {
        self.last_packet().cast_unsigned() + self.owed
    }

    /// How long the last packet was, as far as is known: a pause is none.
    fn last_packet(&self) -> i64 {
        self.last.map_or(0, |(_, samples)| samples.cast_signed().min(OVERLAP_MAX))
    }

    fn passed_beyond_end(&self, now: Instant) -> u64 {
        let passed = match self.last {
            Some((last, _)) => now.saturating_duration_since(last),
            None => Duration::ZERO,
        };
        Narrow::<u64>::narrow(passed.as_micros()) * SAMPLES_PER_SECOND / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u64 = 160;

    fn play(timeline: &mut Timeline, timestamp: u32, now: Instant) -> u64 {
        let gap = timeline.gap_before(RtpTimestamp(timestamp), 48_000, now);
        timeline.advance(gap, now);
        timeline.advance(PACKET, now);
        gap
    }

    #[test]
    fn packets_that_follow_leave_no_gap_even_across_the_wrap() {
        let (mut timeline, now) = (Timeline::default(), Instant::now());
        let first = u32::MAX - 1000;
        for packet in 0..100_u32 {
            assert_eq!(play(&mut timeline, first.wrapping_add(packet * 960), now), 0);
        }
        assert_eq!(timeline.end(), 100 * PACKET);
    }

    #[test]
    fn a_pause_stays_as_long_as_the_sender_made_it() {
        let (mut timeline, now) = (Timeline::default(), Instant::now());
        play(&mut timeline, 0, now);
        assert_eq!(play(&mut timeline, 960 + 48_000, now), 8_000);
    }

    #[test]
    fn audio_of_our_own_that_outlasts_a_pause_is_taken_out_of_the_next() {
        let (mut timeline, now) = (Timeline::default(), Instant::now());
        play(&mut timeline, 0, now);
        // A pause of two packets, filled with three.
        timeline.advance(3 * PACKET, now);
        assert_eq!(play(&mut timeline, 3 * 960, now), 0);
        assert_eq!(play(&mut timeline, 4 * 960, now), 0);
        assert_eq!(timeline.end(), 6 * PACKET);
        assert_eq!(play(&mut timeline, 10 * 960, now), 4 * PACKET);
        assert_eq!(timeline.end(), 11 * PACKET);
    }

    #[test]
    fn a_clock_that_jumps_wildly_or_restarts_costs_the_time_that_passed() {
        let (mut timeline, now) = (Timeline::default(), Instant::now());
        play(&mut timeline, 0, now);
        let later = now + Duration::from_millis(20);
        assert_eq!(play(&mut timeline, 2_000_000_000, later), 0);
        timeline.restart();
        assert_eq!(play(&mut timeline, 5, later + Duration::from_millis(60)), 320);
    }

    #[test]
    fn sources_that_overlap_leave_the_line_no_further_ahead_than_one_packet() {
        let (mut timeline, began) = (Timeline::default(), Instant::now());
        for n in 0..100_u32 {
            // Two of them every 60 ms, at the same instant.
            let now = began + Duration::from_millis(60) * n;
            for source in [7, 1_000_000] {
                timeline.restart();
                play(&mut timeline, source, now);
            }
            let passed = u64::from(n) * 3 * PACKET;
            assert!(timeline.end() <= passed + 2 * PACKET, "{} after {passed}", timeline.end());
        }
        assert!(timeline.end() >= 99 * 3 * PACKET);
    }

    #[test]
    fn a_clock_that_steps_back_never_gives_a_position_twice() {
        let (mut timeline, now) = (Timeline::default(), Instant::now());
        play(&mut timeline, 96_000, now);
        assert_eq!(play(&mut timeline, 95_000, now), 0);
        assert_eq!(play(&mut timeline, 95_960, now), 0);
        assert_eq!(timeline.end(), 3 * PACKET);
    }
}
