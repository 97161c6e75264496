//! Relays telephone events between legs whose event clocks may differ (RFC 4733).
//!
//! Start: any packet with a new timestamp, for the one with the marker may be lost. Lasting: one
//! packet out for each in. End: three packets out for the first in, or when nothing came for three
//! packet intervals, or when the next event begins.

use std::time::{Duration, Instant};

use super::{END_PACKETS, EventPacket, OutgoingEvent, Phase, SEGMENT_UNITS};
use crate::wire::rtp::RtpTimestamp;
use crate::wire::telephone_event::TelephoneEvent;

/// The most that one call of the relay gives: three ends and the digit before, the start with the end
/// of a segment, an end and the digit.
pub const RELAY_OUTPUTS_MAX: usize = 8;

/// The packet interval to assume until two packets tell, the one that RFC 4733 §2.5.1.2 recommends.
const INTERVAL_ASSUMED: Duration = Duration::from_millis(50);
/// Packet intervals without a packet that end an event (RFC 4733 §2.5.2.2).
const INTERVALS_LOST_MAX: u32 = 3;
/// Bounds of the time after which an event without packets ends.
const LOST_END: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(60)..=Duration::from_millis(300);
/// A digit whose end was lost is made as long: receivers want 40 ms (ITU-T Q.24).
const SHORTEST_MS: u32 = 40;
/// The next segment begins within a tenth of a second.
const SEGMENT_LATE_PER_S: u32 = 10;
/// A timestamp that is behind by less is of an event gone by; by more, of a new timeline.
const STALE_S: i32 = 5;

/// A digit that was received whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedDigit {
    /// `0`–`9`, `*`, `#`, `A`–`D`.
    pub digit: char,
    /// How long it was held.
    pub duration_ms: u32,
}

/// What the relay gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayOutput {
    /// A packet for the other leg.
    Send(EventPacket),
    /// A digit ended; told once.
    Completed(CompletedDigit),
}

/// Relays the events of one direction.
#[derive(Debug)]
pub struct EventRelay {
    in_clock_hz: u32,
    out_clock_hz: u32,
    packet_interval: Duration,
    /// The event that lasts, or the last one, so that its retransmissions are known.
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    out: OutgoingEvent,
    /// Timestamp of the incoming segment.
    segment: RtpTimestamp,
    /// Duration of the segments before, and of this one so far, in the incoming clock.
    before: u32,
    duration: u16,
    /// The incoming packet interval.
    interval: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Lasts; given up at the time.
    Lasting { until: Instant },
    /// Ended, with packets still to be repeated.
    Ending { repeats: u8, next: Instant },
    /// Ended.
    Ended,
}

impl EventRelay {
    /// A relay from one event clock to another; `packet_ms` spaces the packets that end an event.
    pub fn new(in_clock_hz: u32, out_clock_hz: u32, packet_ms: u8) -> Self {
        Self {
            in_clock_hz: in_clock_hz.max(1),
            out_clock_hz: out_clock_hz.max(1),
            packet_interval: Duration::from_millis(u64::from(packet_ms)),
            current: None,
        }
    }

    /// Whether an event lasts: audio waits. Once it ended, its repeated ends go out beside the audio.
    pub fn is_active(&self) -> bool {
        matches!(&self.current, Some(Current { state: State::Lasting { .. }, .. }))
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.current.as_ref()?.state {
            State::Lasting { until } => Some(until),
            State::Ending { next, .. } => Some(next),
            State::Ended => None,
        }
    }

    /// Takes an event packet in, with its RTP timestamp.
    pub fn handle_event(
        &mut self,
        timestamp: RtpTimestamp,
        event: TelephoneEvent,
        now: Instant,
        mut output: impl FnMut(RelayOutput),
    ) {
        let stale = STALE_S.saturating_mul(self.in_clock_hz as i32);
        if let Some(current) = &mut self.current {
            let ahead = timestamp.distance(current.segment);
            if (-stale..0).contains(&ahead) {
                return;
            }
            let lasts = matches!(current.state, State::Lasting { .. });
            if lasts
                && current.out.event == event.event
                && current.continues_at(ahead, self.in_clock_hz)
            {
                current.before = current.before.saturating_add(ahead.unsigned_abs());
                current.segment = timestamp;
                current.duration = 0;
            }
            if timestamp == current.segment {
                return self.update(event, now, &mut output);
            }
        }
        self.give_up(now, &mut output);
        self.repeat_end(Repeat::All, now, &mut output);
        self.current = Some(Current {
            out: OutgoingEvent::new(event.event, event.volume),
            segment: timestamp,
            before: 0,
            duration: event.duration,
            interval: INTERVAL_ASSUMED,
            state: State::Lasting { until: now },
        });
        self.update(TelephoneEvent { end: false, ..event }, now, &mut output);
        if event.end {
            self.finish(now, &mut output);
        }
    }

    /// Ends an event whose end was lost, and repeats the packets that end one.
    pub fn handle_timeout(&mut self, now: Instant, mut output: impl FnMut(RelayOutput)) {
        match self.current.as_ref().map(|current| current.state) {
            Some(State::Lasting { until }) if until <= now => self.give_up(now, &mut output),
            Some(State::Ending { next, .. }) if next <= now => {
                self.repeat_end(Repeat::Once, now, &mut output);
            }
            _ => (),
        }
    }

    fn update(
        &mut self,
        event: TelephoneEvent,
        now: Instant,
        output: &mut impl FnMut(RelayOutput),
    ) {
        let (in_clock_hz, out_clock_hz) = (self.in_clock_hz, self.out_clock_hz);
        let Some(current) = &mut self.current else { return };
        if !matches!(current.state, State::Lasting { .. }) || event.event != current.out.event {
            return;
        }
        if event.duration > current.duration {
            let step = event.duration - current.duration;
            if current.duration > 0 {
                current.interval = Duration::from_secs(step.into()) / in_clock_hz;
            }
            current.duration = event.duration;
        }
        let silence =
            (current.interval * INTERVALS_LOST_MAX).clamp(*LOST_END.start(), *LOST_END.end());
        current.state = State::Lasting { until: now + silence };
        if event.end {
            return self.finish(now, output);
        }
        let total = scale(current.total(), in_clock_hz, out_clock_hz);
        current.out.update(total, Phase::Lasting, &mut |packet| output(RelayOutput::Send(packet)));
    }

    /// Ends the event if it lasts though its end was not received. It lasted longer than is known;
    /// below the shortest duration the other side might not take it for a digit at all.
    fn give_up(&mut self, now: Instant, output: &mut impl FnMut(RelayOutput)) {
        if let Some(current) = &mut self.current
            && matches!(current.state, State::Lasting { .. })
        {
            let shortest = scale(SHORTEST_MS, 1_000, self.in_clock_hz);
            let missing = shortest.saturating_sub(current.total());
            current.before = current.before.saturating_add(missing);
            self.finish(now, output);
        }
    }

    /// Ends the event if it lasts: the first of the end packets goes out, and the digit is told.
    fn finish(&mut self, now: Instant, output: &mut impl FnMut(RelayOutput)) {
        let Some(current) = &mut self.current else { return };
        if !matches!(current.state, State::Lasting { .. }) {
            return;
        }
        current.state = State::Ending { repeats: END_PACKETS, next: now };
        let duration_ms = scale(current.total(), self.in_clock_hz, 1_000);
        let event = TelephoneEvent { event: current.out.event, end: true, volume: 0, duration: 0 };
        self.repeat_end(Repeat::Once, now, output);
        if let Some(digit) = event.digit() {
            output(RelayOutput::Completed(CompletedDigit { digit, duration_ms }));
        }
    }

    fn repeat_end(&mut self, repeat: Repeat, now: Instant, output: &mut impl FnMut(RelayOutput)) {
        let Some(current) = &mut self.current else { return };
        let State::Ending { repeats, .. } = current.state else { return };
        let sent = if repeat == Repeat::All { repeats } else { 1 };
        let total = scale(current.total(), self.in_clock_hz, self.out_clock_hz);
        for _ in 0..sent {
            current
                .out
                .update(total, Phase::Ended, &mut |packet| output(RelayOutput::Send(packet)));
        }
        current.state = match repeats - sent {
            0 => State::Ended,
            repeats => State::Ending { repeats, next: now + self.packet_interval },
        };
    }
}

/// How many of the outstanding end packets go out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Once,
    All,
}

impl Current {
    fn total(&self) -> u32 {
        self.before.saturating_add(u32::from(self.duration))
    }

    /// Whether a segment that begins so many units after this one continues the event (RFC 4733
    /// §2.5.1.3): where this one was last said to end, where a full one ends, or a little later,
    /// since libwebrtc begins it with the packet after.
    fn continues_at(&self, ahead: i32, in_clock_hz: u32) -> bool {
        let full = SEGMENT_UNITS..=SEGMENT_UNITS + in_clock_hz / SEGMENT_LATE_PER_S;
        let ended_at = u32::from(self.duration);
        u32::try_from(ahead)
            .is_ok_and(|ahead| full.contains(&ahead) || (ahead > 0 && ahead == ended_at))
    }
}

/// Units of one clock in another's.
fn scale(units: u32, from_hz: u32, to_hz: u32) -> u32 {
    let scaled = u64::from(units) * u64::from(to_hz) / u64::from(from_hz);
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONSET: RtpTimestamp = RtpTimestamp(u32::MAX - 100);

    /// A relay under a clock in milliseconds, and what it gave: (ms, packet), and the digits.
    struct Bench {
        relay: EventRelay,
        start: Instant,
        sent: Vec<(u64, EventPacket)>,
        digits: Vec<CompletedDigit>,
    }

    impl Bench {
        fn new(in_clock_hz: u32, out_clock_hz: u32) -> Self {
            let relay = EventRelay::new(in_clock_hz, out_clock_hz, 20);
            Self { relay, start: Instant::now(), sent: Vec::new(), digits: Vec::new() }
        }

        fn receive(&mut self, timestamp: RtpTimestamp, event: TelephoneEvent, ms: u64) {
            self.pass(ms);
            let now = self.start + Duration::from_millis(ms);
            let (sent, digits) = (&mut self.sent, &mut self.digits);
            let mut outputs = 0;
            self.relay.handle_event(timestamp, event, now, |output| {
                outputs += 1;
                match output {
                    RelayOutput::Send(packet) => sent.push((ms, packet)),
                    RelayOutput::Completed(digit) => digits.push(digit),
                }
            });
            assert!(outputs <= RELAY_OUTPUTS_MAX, "{outputs}");
        }

        fn pass(&mut self, ms: u64) {
            let now = self.start + Duration::from_millis(ms);
            while let Some(due) = self.relay.next_timeout().filter(|due| *due <= now) {
                let at = (due - self.start).as_millis() as u64;
                let (sent, digits) = (&mut self.sent, &mut self.digits);
                self.relay.handle_timeout(due, |output| match output {
                    RelayOutput::Send(packet) => sent.push((at, packet)),
                    RelayOutput::Completed(digit) => digits.push(digit),
                });
            }
        }

        /// (ms, marker, offset, duration, end) of what was sent.
        fn shape(&self) -> Vec<(u64, bool, u32, u16, bool)> {
            let shape = |(ms, packet): &(u64, EventPacket)| {
                let event = packet.event;
                (*ms, packet.marker, packet.timestamp_offset, event.duration, event.end)
            };
            self.sent.iter().map(shape).collect()
        }
    }

    fn lasting(duration: u16) -> TelephoneEvent {
        TelephoneEvent { event: 5, end: false, volume: 7, duration }
    }

    fn ended(duration: u16) -> TelephoneEvent {
        TelephoneEvent { end: true, ..lasting(duration) }
    }

    #[test]
    fn a_digit_crosses_from_48_khz_to_8_khz() {
        let mut bench = Bench::new(48_000, 8_000);
        for packet in 1..=4u16 {
            bench.receive(ONSET, lasting(packet * 960), u64::from(packet) * 20);
        }
        assert!(bench.relay.is_active());
        for repeat in 0..3 {
            bench.receive(ONSET, ended(4_800), 100 + repeat * 20);
        }
        bench.pass(10_000);
        let expected = [
            (20, true, 0, 160, false),
            (40, false, 0, 320, false),
            (60, false, 0, 480, false),
            (80, false, 0, 640, false),
            (100, false, 0, 800, true),
            (120, false, 0, 800, true),
            (140, false, 0, 800, true),
        ];
        assert_eq!(bench.shape(), expected);
        assert!(bench.sent.iter().all(|(_, packet)| packet.event.event == 5));
        assert!(bench.sent.iter().all(|(_, packet)| packet.event.volume == 7));
        assert_eq!(bench.digits, [CompletedDigit { digit: '5', duration_ms: 100 }]);
        assert!(!bench.relay.is_active());
        assert_eq!(bench.relay.next_timeout(), None);
    }

    #[test]
    fn one_end_packet_of_three_is_enough() {
        let mut bench = Bench::new(8_000, 8_000);
        bench.receive(ONSET, lasting(160), 0);
        bench.receive(ONSET, ended(800), 80);
        bench.pass(1_000);
        let ends: Vec<u64> =
            bench.sent.iter().filter(|(_, packet)| packet.event.end).map(|(ms, _)| *ms).collect();
        assert_eq!(ends, [80, 100, 120]);
        assert_eq!(bench.digits.len(), 1);
    }

    #[test]
    fn a_lost_start_does_not_lose_the_digit() {
        let mut bench = Bench::new(8_000, 8_000);
        bench.receive(ONSET, ended(800), 0); // everything but an end packet was lost
        bench.receive(ONSET, ended(800), 20);
        bench.pass(1_000);
        let expected = [
            (0, true, 0, 800, false),
            (0, false, 0, 800, true),
            (20, false, 0, 800, true),
            (40, false, 0, 800, true),
        ];
        assert_eq!(bench.shape(), expected);
        assert_eq!(bench.digits, [CompletedDigit { digit: '5', duration_ms: 100 }]);
    }

    #[test]
    fn a_lost_end_ends_the_digit_after_three_packet_times() {
        let mut bench = Bench::new(8_000, 8_000);
        for packet in 0..4u16 {
            bench.receive(ONSET, lasting((packet + 1) * 160), u64::from(packet) * 20);
        }
        bench.pass(119);
        assert!(bench.digits.is_empty());
        bench.pass(120);
        assert_eq!(bench.digits, [CompletedDigit { digit: '5', duration_ms: 80 }]);
        bench.pass(1_000);
        assert_eq!(bench.sent.iter().filter(|(_, packet)| packet.event.end).count(), 3);

        // The end packets come after all: nothing more happens.
        bench.receive(ONSET, ended(800), 1_000);
        assert_eq!(bench.sent.len(), 7);
        assert_eq!(bench.digits.len(), 1);
    }

    #[test]
    fn one_lost_packet_of_a_50_ms_sender_does_not_end_the_digit() {
        let mut bench = Bench::new(8_000, 8_000);
        bench.receive(ONSET, lasting(400), 50);
        bench.receive(ONSET, lasting(1_200), 150);
        bench.receive(ONSET, ended(1_600), 200);
        assert_eq!(bench.digits, [CompletedDigit { digit: '5', duration_ms: 200 }]);
    }

    #[test]
    fn the_next_digit_ends_the_one_before() {
        let mut bench = Bench::new(8_000, 8_000);
        bench.receive(ONSET, lasting(160), 0);
        let next = TelephoneEvent { event: 11, ..lasting(160) };
        bench.receive(ONSET + 800, next, 20);
        let expected = [
            (0, true, 0, 160, false),
            (20, false, 0, 320, true),
            (20, false, 0, 320, true),
            (20, false, 0, 320, true),
            (20, true, 0, 160, false),
        ];
        assert_eq!(bench.shape(), expected);
        assert_eq!(bench.digits, [CompletedDigit { digit: '5', duration_ms: 40 }]);
        bench.receive(ONSET + 800, TelephoneEvent { end: true, ..next }, 40);
        assert_eq!(bench.digits[1].digit, '#');
    }

    #[test]
    fn the_same_digit_twice_is_told_twice() {
        let mut bench = Bench::new(8_000, 8_000);
        for (timestamp, ms) in [(ONSET, 0), (ONSET + 1_600, 200)] {
            bench.receive(timestamp, lasting(160), ms);
            bench.receive(timestamp, ended(800), ms + 80);
        }
        assert_eq!(bench.digits.len(), 2);
        assert_eq!(bench.sent.iter().filter(|(_, packet)| packet.marker).count(), 2);
    }

    #[test]
    fn a_stray_packet_of_the_digit_before_starts_nothing() {
        let mut bench = Bench::new(8_000, 8_000);
        bench.receive(ONSET, ended(800), 0);
        bench.receive(ONSET + 1_600, lasting(160), 200);
        let sent = bench.sent.len();
        bench.receive(ONSET, ended(800), 205);
        assert_eq!((bench.sent.len(), bench.digits.len()), (sent, 1));
    }

    #[test]
    fn a_duration_never_shrinks() {
        let mut bench = Bench::new(8_000, 8_000);
        for duration in [160, 480, 320, 640] {
            bench.receive(ONSET, lasting(duration), 0);
        }
        let durations: Vec<u16> =
            bench.sent.iter().map(|(_, packet)| packet.event.duration).collect();
        assert_eq!(durations, [160, 480, 480, 640]);
    }

    #[test]
    fn a_long_event_is_cut_into_segments_of_the_faster_clock() {
        let mut bench = Bench::new(8_000, 48_000);
        // 3 s: 144,000 units of 48 kHz are two whole segments and 12,930 more.
        for packet in 1..=150u16 {
            bench.receive(ONSET, lasting(packet * 160), u64::from(packet) * 20);
        }
        bench.receive(ONSET, ended(24_000), 3_000);
        bench.pass(10_000);
        let closing: Vec<_> = bench
            .sent
            .iter()
            .filter(|(_, packet)| packet.event.duration == u16::MAX)
            .map(|(_, packet)| (packet.timestamp_offset, packet.event.end))
            .collect();
        assert_eq!(closing, [(0, false), (65_535, false)]);
        assert_eq!(bench.shape().last(), Some(&(3_040, false, 131_070, 12_930, true)));
        assert_eq!(bench.sent.iter().filter(|(_, packet)| packet.marker).count(), 1);
        assert_eq!(bench.digits, [CompletedDigit { digit: '5', duration_ms: 3_000 }]);
    }

    #[test]
    fn segments_that_come_in_are_one_digit() {
        for last_of_first in [u16::MAX, 64_320] {
            // In the second case the packet that closed the first segment was lost.
            let mut bench = Bench::new(48_000, 8_000);
            bench.receive(ONSET, lasting(64_320 - 960), 0);
            bench.receive(ONSET, lasting(last_of_first), 20);
            bench.receive(ONSET + 65_535, lasting(465), 40);
            bench.receive(ONSET + 65_535, ended(6_465), 60);
            bench.pass(1_000);
            assert_eq!(bench.digits, [CompletedDigit { digit: '5', duration_ms: 1_500 }]);
            assert_eq!(bench.shape().last(), Some(&(100, false, 0, 12_000, true)));
        }
    }

    /// It closes a segment when it is over-full, and begins the next with the time of that packet.
    #[test]
    fn segments_in_the_manner_of_libwebrtc_are_one_digit() {
        let mut bench = Bench::new(48_000, 48_000);
        for packet in 1..=68u16 {
            bench.receive(ONSET, lasting(packet * 960), u64::from(packet) * 20);
        }
        bench.receive(ONSET, lasting(u16::MAX), 1_380);
        let next = ONSET + 69 * 960;
        bench.receive(next, lasting(705), 1_380);
        bench.receive(next, lasting(960), 1_400);
        bench.receive(next, ended(5_760), 1_420);
        bench.pass(3_000);
        assert_eq!(bench.digits, [CompletedDigit { digit: '5', duration_ms: 1_500 }]);
        assert_eq!(bench.sent.iter().filter(|(_, packet)| packet.marker).count(), 1);
    }

    #[test]
    fn an_event_that_is_no_digit_is_relayed_and_not_told() {
        let mut bench = Bench::new(8_000, 8_000);
        bench.receive(ONSET, TelephoneEvent { event: 16, ..ended(800) }, 0); // hook flash
        assert_eq!((bench.sent.len(), bench.digits.len()), (2, 0));
    }

    #[test]
    fn a_new_timeline_is_followed() {
        let mut bench = Bench::new(8_000, 8_000);
        bench.receive(RtpTimestamp(1_000_000), ended(800), 0);
        bench.receive(RtpTimestamp(1_000), ended(800), 1_000);
        assert_eq!(bench.digits.len(), 2);
    }

    proptest! {
        /// Whatever comes, each event out has one marker and at most three ends, its duration never
        /// shrinks, and the relay falls silent.
        #[test]
        fn any_packets_give_well_formed_events(
            packets in prop::collection::vec(
                (0u32..6, any::<u8>(), any::<bool>(), any::<u16>(), 0u64..400),
                0..60,
            ),
            clocks in prop::sample::select(vec![(8_000, 48_000), (48_000, 8_000), (8_000, 8_000)]),
        ) {
            let mut bench = Bench::new(clocks.0, clocks.1);
            let mut ms = 0;
            for (step, event, end, duration, step_ms) in packets {
                ms += step_ms;
                let event = TelephoneEvent { event: event % 20, end, volume: 10, duration };
                bench.receive(ONSET + step * 13_107, event, ms);
            }
            bench.pass(ms + 1_000);
            prop_assert!(!bench.relay.is_active());
            let (mut ends, mut total) = (3, 0);
            for (_, packet) in &bench.sent {
                if packet.marker {
                    prop_assert_eq!(ends, 3);
                    (ends, total) = (0, 0);
                }
                ends += u32::from(packet.event.end);
                prop_assert!(ends == 0 || packet.event.end);
                let now = packet.timestamp_offset + u32::from(packet.event.duration);
                prop_assert!(now >= total);
                total = now;
            }
            prop_assert_eq!(ends, 3);
        }
    }
}
