//! Reception statistics of one incoming stream (RFC 3550 §6.4.1, A.1, A.3, A.8): what a receiver
//! reports. In: every packet that authenticated, played or not. Out: the figures of a report block.

use std::time::{Duration, Instant};

use super::sequence::Sequence;
use crate::base::discard::Discard;
use crate::base::narrow::{LowHalf, Narrow};
use crate::wire::rtp::{RtpHeader, RtpTimestamp};

/// A transit time that differs by more from the one before is a new clock, not jitter.
const TRANSIT_JUMP_SECONDS_MAX: u32 = 10;

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
#[derive(Clone, Debug, Default)]
pub struct Reception {
    /// The clock of the newest packet of audio; 0 before the first.
    clock_hz: u32,
    sequence: Sequence,
    received: u64,
    reported_expected: u64,
    reported_received: u64,
    transit: Option<Transit>,
    /// 16 times the jitter, as A.8 keeps it.
    jitter_16: u32,
}

#[derive(Clone, Copy, Debug)]
struct Transit {
    /// Arrivals are measured from here.
    origin: Instant,
    /// Arrival less timestamp, in clock units, modulo 2^32.
    relative: u32,
}

impl Reception {
    /// Goes on after a packet that was counted elsewhere: the highest sequence number there, with its
    /// wraps in the upper half. Neither loss nor jitter before it is known.
    pub fn resume(extended_highest_sequence: u32) -> Self {
        Self {
            sequence: Sequence::resume(extended_highest_sequence),
            received: 1,
            reported_expected: 1,
            reported_received: 1,
            ..Self::default()
        }
    }

    /// Counts an authentic packet, whatever becomes of it, and says whether it is the foremost now.
    /// `clock_hz` is its RTP clock, `None` if its timestamp does not tell when it was spoken, as of a
    /// telephone event, or of a payload type that nobody knows.
    #[inline]
    pub fn received(&mut self, header: &RtpHeader, clock_hz: Option<u32>, now: Instant) -> bool {
        let placed = self.sequence.place(header, clock_hz);
        match placed {
            Ok(_) | Err(Discard::Duplicate) => self.received += 1,
            // A.1: neither received nor expected until another one confirms it.
            Err(_) => {}
        }
        if let Some(clock_hz) = clock_hz {
            self.set_clock(clock_hz);
            self.time(header.timestamp, now);
        }
        placed.is_ok_and(|place| place.index == self.sequence.newest())
    }

    /// What a report says now (A.3); `None` before the first packet. The next report's fraction
    /// counts from here.
    pub fn report(&mut self) -> Option<ReceptionReport> {
        let extended_highest_sequence = self.sequence.extended_highest()?;
        let expected = self.expected() - self.reported_expected;
        let received = self.received - self.reported_received;
        self.reported_expected += expected;
        self.reported_received += received;
        let lost = expected.saturating_sub(received);
        let fraction = (lost << 8).checked_div(expected).unwrap_or(0);
        Some(ReceptionReport {
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: self.lost().clamp(-0x80_0000, 0x7F_FFFF).narrow(),
            extended_highest_sequence,
            jitter: self.jitter(),
        })
    }

    /// Packets expected but never received; negative by duplicates.
    pub fn lost(&self) -> i64 {
        self.expected().cast_signed() - self.received.cast_signed()
    }

    /// The highest sequence number with its wraps in the upper half; `None` before the first packet.
    pub fn extended_highest_sequence(&self) -> Option<u32> {
        self.sequence.extended_highest()
    }

    /// Interarrival jitter in units of the RTP clock.
    pub fn jitter(&self) -> u32 {
        self.jitter_16 >> 4
    }

    /// Interarrival jitter in milliseconds.
    pub fn jitter_ms(&self) -> f64 {
        f64::from(self.jitter_16) / 16.0 * 1_000.0 / f64::from(self.clock_hz.max(1))
    }

    /// A.3, without the probation of A.1: the source is known before media is accepted from it.
    fn expected(&self) -> u64 {
        (self.sequence.newest() + 1).cast_unsigned()
    }

    /// Another RTP clock from here on; the jitter so far is kept in time.
    #[inline]
    fn set_clock(&mut self, clock_hz: u32) {
        if clock_hz != self.clock_hz {
            let jitter_16 = u64::from(self.jitter_16) * u64::from(clock_hz);
            let jitter_16 = jitter_16.checked_div(u64::from(self.clock_hz)).unwrap_or(0);
            self.jitter_16 = u32::try_from(jitter_16).unwrap_or(u32::MAX);
            self.clock_hz = clock_hz;
            self.transit = None;
        }
    }

    /// A.8.
    #[inline]
    fn time(&mut self, timestamp: RtpTimestamp, now: Instant) {
        let origin = self.transit.map_or(now, |transit| transit.origin);
        let arrival = in_clock(now.saturating_duration_since(origin), self.clock_hz);
        let relative = arrival.wrapping_sub(timestamp.0);
        if let Some(before) = self.transit {
            let difference = relative.wrapping_sub(before.relative).cast_signed().unsigned_abs();
            if difference < TRANSIT_JUMP_SECONDS_MAX.saturating_mul(self.clock_hz) {
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
    units.low_half()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::rtp::{PayloadType, SequenceNumber, Ssrc};

    fn header(number: u16, timestamp: u32) -> RtpHeader {
        RtpHeader {
            marker: false,
            payload_type: PayloadType::PCMU,
            sequence_number: SequenceNumber(number),
            timestamp: RtpTimestamp(timestamp),
            ssrc: Ssrc(1),
        }
    }

    /// Packets whose timestamps tell nothing.
    fn receive(reception: &mut Reception, numbers: impl IntoIterator<Item = u16>) {
        let now = Instant::now();
        for number in numbers {
            reception.received(&header(number, 0), None, now);
        }
    }

    #[test]
    fn nothing_received_is_nothing_to_report() {
        let mut reception = Reception::default();
        assert_eq!(reception.report(), None);
        assert_eq!((reception.lost(), reception.extended_highest_sequence()), (0, None));
    }

    #[test]
    fn loss_is_reported_by_interval_and_in_all() {
        let mut reception = Reception::default();
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
    fn what_was_counted_elsewhere_is_gone_on_from() {
        let mut reception = Reception::resume(0x2_fff0);
        assert_eq!((reception.lost(), reception.extended_highest_sequence()), (0, Some(0x2_fff0)));
        receive(&mut reception, (0xfff3..=0xffff).chain(0..=4));
        let report = reception.report().unwrap();
        assert_eq!(report.extended_highest_sequence, 0x3_0004);
        assert_eq!((report.fraction_lost, report.cumulative_lost), (25, 2));
    }

    #[test]
    fn packets_out_of_order_are_not_lost() {
        let mut reception = Reception::default();
        receive(&mut reception, [5, 7, 6, 10, 9, 8]);
        assert_eq!(reception.lost(), 0);
        assert_eq!(reception.report().unwrap().fraction_lost, 0);
    }

    #[test]
    fn duplicates_make_the_loss_negative_and_the_fraction_zero() {
        let mut reception = Reception::default();
        receive(&mut reception, [5, 6, 6, 6]);
        let report = reception.report().unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, -2));
    }

    #[test]
    fn wraps_are_counted() {
        let mut reception = Reception::default();
        receive(&mut reception, (0..200_000u32).map(|number| (65_000 + number) as u16));
        assert_eq!(reception.extended_highest_sequence(), Some(65_000 + 199_999));
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn a_stream_that_begins_anew_keeps_the_loss_so_far() {
        let mut reception = Reception::default();
        receive(&mut reception, [1, 2, 5]); // 3 and 4 lost
        receive(&mut reception, [40_000]); // one packet astray says nothing
        assert_eq!(reception.extended_highest_sequence(), Some(5));
        receive(&mut reception, [40_001, 40_003]);
        assert_eq!(reception.extended_highest_sequence(), Some(40_003));
        let report = reception.report().unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (96, 3));
    }

    #[test]
    fn all_that_can_be_lost_fits_the_report() {
        let mut reception = Reception::default();
        receive(&mut reception, (0..20_000u32).map(|number| (number * 1_000) as u16));
        assert!(reception.lost() > 0x7F_FFFF);
        let report = reception.report().unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (255, 0x7F_FFFF));
    }

    /// Packets 20 ms apart whose arrival is late by so many milliseconds.
    fn jitter_of(clock_hz: u32, late_ms: impl Iterator<Item = u64>) -> Reception {
        let mut reception = Reception::default();
        let start = Instant::now();
        for (number, late_ms) in late_ms.enumerate() {
            let timestamp = (number as u32 * clock_hz / 50).wrapping_add(u32::MAX - 4_000);
            let arrival = start + Duration::from_millis(20 * number as u64 + late_ms);
            reception.received(&header(number as u16, timestamp), Some(clock_hz), arrival);
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
        reception.received(&header(100, 0x7000_0000), Some(8_000), now);
        assert_eq!(reception.jitter(), 0);
    }

    #[test]
    fn another_clock_keeps_the_jitter_in_time() {
        let mut reception = jitter_of(48_000, (0..1_000).map(|number| number % 2 * 6));
        let before_ms = reception.jitter_ms();
        reception.set_clock(8_000);
        assert!((reception.jitter_ms() - before_ms).abs() < 0.1);
    }

    #[test]
    fn a_packet_of_a_payload_type_that_nobody_knows_is_not_lost() {
        let mut reception = Reception::default();
        let now = Instant::now();
        for n in 0..100 {
            let clock_hz = (n % 10 != 5).then_some(8_000);
            reception.received(&header(n, u32::from(n) * 160), clock_hz, now);
        }
        assert_eq!((reception.lost(), reception.report().unwrap().fraction_lost), (0, 0));
    }

    proptest! {
        #[test]
        fn without_duplicates_loss_is_what_is_missing(
            first: u16,
            present in prop::collection::vec(any::<bool>(), 1..2_000),
        ) {
            let mut reception = Reception::default();
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
        fn the_clock_decides_where_the_numbers_do_not_go_on(
            step in prop_oneof![-100i16..=-1, 9i16..=1_000, Just(i16::MIN)],
            first: u16,
        ) {
            let mut reception = Reception::default();
            let now = Instant::now();
            for n in 0..200u16 {
                let number = first.wrapping_add(n).wrapping_add_signed(if n < 100 { 0 } else { step });
                reception.received(&header(number, u32::from(n) * 160), Some(8_000), now);
            }
            let report = reception.report().unwrap();
            prop_assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 0));
            let highest = first.wrapping_add(199).wrapping_add_signed(step);
            prop_assert_eq!(report.extended_highest_sequence as u16, highest);
        }

        #[test]
        fn anything_can_be_counted(
            packets in prop::collection::vec((any::<u16>(), any::<u32>(), 0u64..u64::MAX / 4), 0..50),
        ) {
            let mut reception = Reception::default();
            let start = Instant::now();
            for (number, timestamp, ns) in packets {
                let now = start + Duration::from_nanos(ns);
                reception.received(&header(number, timestamp), Some(48_000), now);
                let report = reception.report().unwrap();
                prop_assert!(report.jitter <= TRANSIT_JUMP_SECONDS_MAX * 48_000);
            }
        }
    }
}
