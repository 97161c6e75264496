//! Reception statistics of one incoming stream (RFC 3550 §6.4.1, A.1, A.3, A.8): what a receiver
//! reports. In: every packet that authenticated, played or not. Out: the figures of a report block.

use std::time::{Duration, Instant};

use super::repair::{AHEAD_PACKETS_MAX, BEHIND_PACKETS_MAX};
use crate::wire::rtp::{RtpTimestamp, SequenceNumber};

/// A transit time that differs by more from the one before is a new timeline, not jitter.
const TIMELINE_JUMP_S: u32 = 10;

/// What a report block says about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceptionReport {
    /// Loss since the report before, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost in all, within 24 bits and a sign; duplicates count against it.
    pub cumulative_lost: i32,
    /// The highest sequence number, with its wraps in the upper half.
    pub extended_highest_sequence: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
}

/// Counts one stream (one SSRC).
#[derive(Clone, Debug)]
pub struct Reception {
    clock_hz: u32,
    sequence: Option<Sequence>,
    /// Lost before the sender last began anew.
    lost_before: i64,
    transit: Option<Transit>,
    /// 16 times the jitter, as A.8 keeps it.
    jitter_16: u32,
}

#[derive(Clone, Debug)]
struct Sequence {
    base: u32,
    highest: u32,
    received: u64,
    /// What would confirm a jump (A.1: bad_seq).
    jump: Option<SequenceNumber>,
    reported_expected: u64,
    reported_received: u64,
}

#[derive(Clone, Copy, Debug)]
struct Transit {
    /// Arrivals are measured from here.
    origin: Instant,
    /// Arrival less timestamp, in clock units, modulo 2^32.
    relative: u32,
}

impl Sequence {
    fn new(first: SequenceNumber) -> Self {
        let first = u32::from(first.0);
        Self {
            base: first,
            highest: first,
            received: 1,
            jump: None,
            reported_expected: 0,
            reported_received: 0,
        }
    }

    fn expected(&self) -> u64 {
        u64::from(self.highest.wrapping_sub(self.base)) + 1
    }

    fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }
}

impl Reception {
    /// Nothing received yet; `clock_hz` is the RTP clock.
    pub fn new(clock_hz: u32) -> Self {
        Self { clock_hz, sequence: None, lost_before: 0, transit: None, jitter_16: 0 }
    }

    /// Counts a packet of audio.
    #[inline]
    pub fn received(
        &mut self,
        sequence_number: SequenceNumber,
        timestamp: RtpTimestamp,
        now: Instant,
    ) {
        self.count(sequence_number);
        self.time(timestamp, now);
    }

    /// Counts a packet whose timestamp does not tell when it was sent, such as a telephone event.
    #[inline]
    pub fn received_event(&mut self, sequence_number: SequenceNumber) {
        self.count(sequence_number);
    }

    /// Forgets the stream, as when its SSRC changed.
    pub fn reset(&mut self, clock_hz: u32) {
        *self = Self::new(clock_hz);
    }

    /// Another RTP clock from here on; the jitter so far is kept in time.
    pub fn set_clock(&mut self, clock_hz: u32) {
        if clock_hz != self.clock_hz && self.clock_hz > 0 {
            let jitter_16 = u64::from(self.jitter_16) * u64::from(clock_hz);
            self.jitter_16 = (jitter_16 / u64::from(self.clock_hz)) as u32;
            self.clock_hz = clock_hz;
            self.transit = None;
        }
    }

    /// What a report says now (A.3); `None` before the first packet. The next report's fraction
    /// counts from here.
    pub fn report(&mut self) -> Option<ReceptionReport> {
        let (jitter, cumulative) = (self.jitter(), self.lost());
        let sequence = self.sequence.as_mut()?;
        let expected = sequence.expected() - sequence.reported_expected;
        let received = sequence.received - sequence.reported_received;
        sequence.reported_expected += expected;
        sequence.reported_received += received;
        let lost = expected.saturating_sub(received);
        let fraction = (lost << 8).checked_div(expected).unwrap_or(0);
        Some(ReceptionReport {
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: cumulative.clamp(-0x80_0000, 0x7F_FFFF) as i32,
            extended_highest_sequence: sequence.highest,
            jitter,
        })
    }

    /// Packets expected but never received; negative by duplicates.
    pub fn lost(&self) -> i64 {
        self.lost_before + self.sequence.as_ref().map_or(0, Sequence::lost)
    }

    /// The highest sequence number with its wraps in the upper half; `None` before the first packet.
    pub fn extended_highest_sequence(&self) -> Option<u32> {
        self.sequence.as_ref().map(|sequence| sequence.highest)
    }

    /// Interarrival jitter in units of the RTP clock.
    pub fn jitter(&self) -> u32 {
        self.jitter_16 >> 4
    }

    /// Interarrival jitter in milliseconds.
    pub fn jitter_ms(&self) -> f64 {
        f64::from(self.jitter_16) / 16.0 * 1_000.0 / f64::from(self.clock_hz.max(1))
    }

    /// A.1, without its probation: the source is known before media is accepted from it.
    #[inline]
    fn count(&mut self, number: SequenceNumber) {
        let Some(sequence) = &mut self.sequence else {
            self.sequence = Some(Sequence::new(number));
            return;
        };
        let ahead = number.distance(SequenceNumber(sequence.highest as u16));
        if (1..=AHEAD_PACKETS_MAX).contains(&ahead) {
            sequence.highest = sequence.highest.wrapping_add(u32::from(ahead.unsigned_abs()));
        } else if !(-BEHIND_PACKETS_MAX..=0).contains(&ahead) {
            if sequence.jump == Some(number) {
                self.lost_before += sequence.lost();
                *sequence = Sequence::new(number);
            } else {
                sequence.jump = Some(number.next());
            }
            return;
        }
        sequence.jump = None;
        sequence.received += 1;
    }

    /// A.8.
    #[inline]
    fn time(&mut self, timestamp: RtpTimestamp, now: Instant) {
        let origin = self.transit.map_or(now, |transit| transit.origin);
        let arrival = in_clock(now.saturating_duration_since(origin), self.clock_hz);
        let relative = arrival.wrapping_sub(timestamp.0);
        if let Some(before) = self.transit {
            let difference = (relative.wrapping_sub(before.relative) as i32).unsigned_abs();
            if difference < TIMELINE_JUMP_S.saturating_mul(self.clock_hz) {
                self.jitter_16 =
                    (self.jitter_16 + difference).saturating_sub((self.jitter_16 + 8) >> 4);
            }
        }
        self.transit = Some(Transit { origin, relative });
    }
}

/// A time in units of an RTP clock, modulo 2^32.
fn in_clock(time: Duration, clock_hz: u32) -> u32 {
    let clock = u64::from(clock_hz);
    let units = time.as_secs() * clock + u64::from(time.subsec_nanos()) * clock / 1_000_000_000;
    units as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLOCK_HZ: u32 = 8_000;

    fn receive(reception: &mut Reception, numbers: impl IntoIterator<Item = u16>) {
        numbers.into_iter().for_each(|number| reception.received_event(SequenceNumber(number)));
    }

    #[test]
    fn nothing_received_is_nothing_to_report() {
        let mut reception = Reception::new(CLOCK_HZ);
        assert_eq!(reception.report(), None);
        assert_eq!((reception.lost(), reception.extended_highest_sequence()), (0, None));
    }

    #[test]
    fn loss_is_reported_by_interval_and_in_all() {
        let mut reception = Reception::new(CLOCK_HZ);
        receive(&mut reception, (0..100).filter(|number| number % 4 != 1));
        let report = reception.report().unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (64, 25));
        assert_eq!(report.extended_highest_sequence, 99);

        receive(&mut reception, 100..200);
        let report = reception.report().unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 25));
        // Nothing in the interval.
        assert_eq!(reception.report().unwrap().fraction_lost, 0);
    }

    #[test]
    fn packets_out_of_order_are_not_lost() {
        let mut reception = Reception::new(CLOCK_HZ);
        receive(&mut reception, [5, 7, 6, 10, 9, 8]);
        assert_eq!(reception.lost(), 0);
        assert_eq!(reception.report().unwrap().fraction_lost, 0);
    }

    #[test]
    fn duplicates_make_the_loss_negative_and_the_fraction_zero() {
        let mut reception = Reception::new(CLOCK_HZ);
        receive(&mut reception, [5, 6, 6, 6]);
        let report = reception.report().unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, -2));
    }

    #[test]
    fn wraps_are_counted() {
        let mut reception = Reception::new(CLOCK_HZ);
        receive(&mut reception, (0..200_000u32).map(|number| (65_000 + number) as u16));
        assert_eq!(reception.extended_highest_sequence(), Some(65_000 + 199_999));
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn a_stream_that_begins_anew_keeps_the_loss_so_far() {
        let mut reception = Reception::new(CLOCK_HZ);
        receive(&mut reception, [1, 2, 5]); // 3 and 4 lost
        receive(&mut reception, [40_000]); // one packet astray says nothing
        assert_eq!(reception.extended_highest_sequence(), Some(5));
        receive(&mut reception, [40_001, 40_003]);
        assert_eq!(reception.extended_highest_sequence(), Some(40_003));
        let report = reception.report().unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (85, 3));
    }

    #[test]
    fn all_that_can_be_lost_fits_the_report() {
        let mut reception = Reception::new(CLOCK_HZ);
        receive(&mut reception, (0..20_000u32).map(|number| (number * 1_000) as u16));
        assert!(reception.lost() > 0x7F_FFFF);
        let report = reception.report().unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (255, 0x7F_FFFF));
    }

    /// Packets 20 ms apart whose arrival is late by so many milliseconds.
    fn jitter_of(clock_hz: u32, late_ms: impl Iterator<Item = u64>) -> Reception {
        let mut reception = Reception::new(clock_hz);
        let start = Instant::now();
        for (number, late_ms) in late_ms.enumerate() {
            let timestamp = (number as u32 * clock_hz / 50).wrapping_add(u32::MAX - 4_000);
            let arrival = start + Duration::from_millis(20 * number as u64 + late_ms);
            reception.received(SequenceNumber(number as u16), RtpTimestamp(timestamp), arrival);
        }
        reception
    }

    #[test]
    fn an_even_stream_has_no_jitter() {
        assert_eq!(jitter_of(48_000, std::iter::repeat_n(0, 1_000)).jitter(), 0);
    }

    #[test]
    fn jitter_settles_at_the_mean_difference() {
        for clock_hz in [8_000, 48_000] {
            let reception = jitter_of(clock_hz, (0..1_000).map(|number| number % 2 * 6));
            let jitter_ms = reception.jitter_ms();
            assert!((jitter_ms - 6.0).abs() < 0.1, "{jitter_ms} at {clock_hz} Hz");
            let units = reception.jitter();
            assert!(units.abs_diff(clock_hz * 6 / 1_000) <= 1, "{units} at {clock_hz} Hz");
        }
    }

    /// The formula of RFC 3550 §6.4.1 in floating point.
    #[test]
    fn jitter_follows_the_formula() {
        let late_ms = [0u64, 3, 1, 12, 0, 40, 2, 2, 9, 0, 5];
        let mut expected = 0.0f64;
        for two in late_ms.windows(2) {
            expected += ((two[1] as f64 - two[0] as f64).abs() * 8.0 - expected) / 16.0;
        }
        let jitter = jitter_of(8_000, late_ms.into_iter()).jitter();
        assert!((f64::from(jitter) - expected).abs() <= 1.0, "{jitter}, formula {expected}");
    }

    #[test]
    fn a_timeline_that_jumps_is_not_jitter() {
        let mut reception = jitter_of(8_000, std::iter::repeat_n(0, 100));
        let now = Instant::now() + Duration::from_secs(3);
        reception.received(SequenceNumber(100), RtpTimestamp(0x7000_0000), now);
        assert_eq!(reception.jitter(), 0);
    }

    #[test]
    fn another_clock_keeps_the_jitter_in_time() {
        let mut reception = jitter_of(48_000, (0..1_000).map(|number| number % 2 * 6));
        let before_ms = reception.jitter_ms();
        reception.set_clock(8_000);
        assert!((reception.jitter_ms() - before_ms).abs() < 0.1);
    }

    proptest! {
        #[test]
        fn without_duplicates_loss_is_what_is_missing(
            first: u16,
            present in prop::collection::vec(any::<bool>(), 1..2_000),
        ) {
            let mut reception = Reception::new(CLOCK_HZ);
            let numbers: Vec<u16> = (0..present.len())
                .filter(|place| present[*place])
                .map(|place| first.wrapping_add(place as u16))
                .collect();
            receive(&mut reception, numbers.iter().copied());
            if let (Some(low), Some(high)) = (numbers.first(), numbers.last()) {
                let expected = i64::from(high.wrapping_sub(*low)) + 1;
                prop_assert_eq!(reception.lost(), expected - numbers.len() as i64);
            }
        }

        #[test]
        fn anything_can_be_counted(
            packets in prop::collection::vec((any::<u16>(), any::<u32>(), 0u64..u64::MAX / 4), 0..50),
        ) {
            let mut reception = Reception::new(48_000);
            let start = Instant::now();
            for (number, timestamp, ns) in packets {
                let now = start + Duration::from_nanos(ns);
                reception.received(SequenceNumber(number), RtpTimestamp(timestamp), now);
                let report = reception.report().unwrap();
                prop_assert!(report.jitter <= TIMELINE_JUMP_S * 48_000);
            }
        }
    }
}
