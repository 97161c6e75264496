use proptest::prelude::*;

use super::*;
use crate::audio::dtmf::DigitSender;
use crate::wire::rtp::{RtpTimestamp, SequenceNumber};
use crate::wire::telephone_event::TelephoneEvent;

const ONSET: RtpTimestamp = RtpTimestamp(u32::MAX - 100);

/// A relay under a clock in milliseconds, and what it gave: (ms, packet), and the digits.
struct Bench {
    relay: EventRelay,
    next: SequenceNumber,
    outlet: Outlet,
    start: Instant,
    sent: Vec<(u64, EventPacket)>,
    digits: Vec<CompletedDigit>,
    owed: Vec<(u8, u32)>,
}

impl Bench {
    fn new(in_clock_hz: u32, out_clock_hz: u32) -> Self {
        Self {
            relay: EventRelay::new(in_clock_hz, out_clock_hz, 20),
            next: SequenceNumber(0xfffe),
            outlet: Outlet::Free,
            start: Instant::now(),
            sent: Vec::new(),
            digits: Vec::new(),
            owed: Vec::new(),
        }
    }

    /// The next packet in sequence.
    fn receive(&mut self, timestamp: RtpTimestamp, event: TelephoneEvent, ms: u64) {
        self.receive_as(self.next, timestamp, event, ms);
        self.next = self.next.next();
    }

    /// Packets that are lost, or are audio.
    fn skip(&mut self, packets: i16) {
        self.next = self.next + packets;
    }

    fn receive_as(
        &mut self,
        sequence_number: SequenceNumber,
        timestamp: RtpTimestamp,
        event: TelephoneEvent,
        ms: u64,
    ) {
        self.pass(ms);
        let heard = HeardEvent { sequence_number, timestamp, event };
        let (outlet, now) = (self.outlet, self.start + Duration::from_millis(ms));
        let mut outputs = Vec::new();
        self.relay.handle_event(heard, outlet, now, |output| outputs.push(output));
        self.note(ms, outputs);
    }

    fn pass(&mut self, ms: u64) {
        let now = self.start + Duration::from_millis(ms);
        while let Some(due) = self.relay.next_timeout().filter(|due| *due <= now) {
            let at = (due - self.start).as_millis() as u64;
            let mut outputs = Vec::new();
            self.relay.handle_timeout(due, |output| outputs.push(output));
            self.note(at, outputs);
        }
    }

    fn new_source(&mut self, ms: u64) {
        self.pass(ms);
        let mut outputs = Vec::new();
        let now = self.start + Duration::from_millis(ms);
        self.relay.new_source(now, |output| outputs.push(output));
        self.note(ms, outputs);
    }

    fn note(&mut self, ms: u64, outputs: Vec<RelayOutput>) {
        assert!(outputs.len() <= RELAY_OUTPUTS_MAX, "{outputs:?}");
        for output in outputs {
            match output {
                RelayOutput::Send(packet) => self.sent.push((ms, packet)),
                RelayOutput::Completed(digit) => self.digits.push(digit),
                RelayOutput::Owed { event, time } => self.owed.push((event, time.ms())),
            }
        }
    }

    /// The digits told, with the milliseconds they were held.
    fn told(&self) -> Vec<(char, u32)> {
        self.digits.iter().map(|digit| (digit.digit.to_char(), digit.duration_ms)).collect()
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
    assert_eq!(bench.told(), [('5', 100)]);
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
    assert_eq!(bench.told(), [('5', 100)]);
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
    assert_eq!(bench.told(), [('5', 80)]);
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
    bench.skip(1);
    bench.receive(ONSET, lasting(1_200), 150);
    bench.receive(ONSET, ended(1_600), 200);
    assert_eq!(bench.told(), [('5', 200)]);
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
    assert_eq!(bench.told(), [('5', 40)]);
    bench.receive(ONSET + 800, TelephoneEvent { end: true, ..next }, 40);
    assert_eq!(bench.told()[1].0, '#');
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
    // Reordered, or sent so.
    for sequence_number in [bench_first().next(), bench_first() + 20] {
        let mut bench = Bench::new(8_000, 8_000);
        bench.receive(ONSET, ended(800), 0);
        bench.skip(10);
        bench.receive(ONSET + 1_600, lasting(160), 200);
        let sent = bench.sent.len();
        bench.receive_as(sequence_number, ONSET, ended(800), 205);
        assert_eq!((bench.sent.len(), bench.digits.len()), (sent, 1));
    }
}

fn bench_first() -> SequenceNumber {
    Bench::new(8_000, 8_000).next
}

#[test]
fn a_reordered_update_is_left_out() {
    let mut bench = Bench::new(8_000, 8_000);
    for (place, duration) in [(0, 160), (2, 480), (1, 320), (3, 640)] {
        bench.receive_as(bench_first() + place, ONSET, lasting(duration), 0);
    }
    let durations: Vec<u16> = bench.sent.iter().map(|(_, packet)| packet.event.duration).collect();
    assert_eq!(durations, [160, 480, 640]);
}

#[test]
fn a_duration_never_shrinks() {
    let mut bench = Bench::new(8_000, 8_000);
    // A last packet that takes back a part of what the one before said.
    bench.receive(ONSET, lasting(160), 0);
    bench.receive(ONSET, lasting(640), 20);
    bench.receive(ONSET, ended(600), 40);
    let durations: Vec<u16> = bench.sent.iter().map(|(_, packet)| packet.event.duration).collect();
    assert_eq!(durations, [160, 640, 640]);
    assert_eq!(bench.told(), [('5', 80)]);
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
    assert_eq!(bench.told(), [('5', 3_000)]);
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
        assert_eq!(bench.told(), [('5', 1_500)]);
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
    assert_eq!(bench.told(), [('5', 1_500)]);
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
            (0u32..6, any::<u8>(), any::<bool>(), any::<u16>(), (0u64..400, -3i16..20)),
            0..60,
        ),
        clocks in prop::sample::select(vec![(8_000, 48_000), (48_000, 8_000), (8_000, 8_000)]),
    ) {
        let mut bench = Bench::new(clocks.0, clocks.1);
        let mut ms = 0;
        for (step, event, end, duration, (step_ms, packets)) in packets {
            ms += step_ms;
            let event = TelephoneEvent { event: event % 20, end, volume: 10, duration };
            bench.skip(packets);
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

/// A packet of a digit.
fn of(digit: char, duration: u16, end: bool) -> TelephoneEvent {
    let event = Digit::from_char(digit).unwrap().event();
    TelephoneEvent { event, end, volume: 10, duration }
}

/// Four updates and three ends, 20 ms apart, all under one timestamp.
fn press(bench: &mut Bench, digit: char, timestamp: RtpTimestamp, ms: u64) {
    for packet in 1..=7u16 {
        let (duration, end) = (packet.min(5) * 160, packet >= 5);
        bench.receive(timestamp, of(digit, duration, end), ms + u64::from(packet) * 20);
    }
}

fn digits(bench: &Bench) -> String {
    bench.digits.iter().map(|digit| digit.digit.to_char()).collect()
}

fn markers(bench: &Bench) -> usize {
    bench.sent.iter().filter(|(_, packet)| packet.marker).count()
}

#[test]
fn a_digit_of_a_new_source_whose_clock_is_earlier_is_told() {
    let mut bench = Bench::new(8_000, 8_000);
    press(&mut bench, '1', RtpTimestamp(1_000_000), 0);
    bench.new_source(200);
    bench.next = SequenceNumber(7);
    press(&mut bench, '2', RtpTimestamp(999_000), 220);
    bench.pass(2_000);
    assert_eq!(bench.told(), [('1', 100), ('2', 100)]);
    assert_eq!(bench.sent.iter().filter(|(_, packet)| packet.event.end).count(), 6);
}

#[test]
fn a_new_source_ends_what_lasts_and_its_end_packets_still_leave() {
    let mut bench = Bench::new(8_000, 8_000);
    bench.receive(ONSET, of('1', 160, false), 0);
    bench.receive(ONSET, of('1', 320, false), 20);
    bench.new_source(30);
    assert_eq!(bench.told(), [('1', 40)]);
    assert!(!bench.relay.is_active());
    bench.pass(1_000);
    let ends: Vec<u64> =
        bench.sent.iter().filter(|(_, packet)| packet.event.end).map(|(ms, _)| *ms).collect();
    assert_eq!(ends, [30, 50, 70]);
    // Even the same numbers are another press when another source says them.
    bench.next = bench_first();
    bench.receive(ONSET, of('1', 160, false), 1_000);
    bench.receive(ONSET, of('1', 320, true), 1_020);
    bench.new_source(1_030);
    assert_eq!(bench.told(), [('1', 40), ('1', 40)]);
}

#[test]
fn digits_that_all_have_one_timestamp_are_told_each() {
    for pressed in ["123", "111", "1223", "1121"] {
        let mut bench = Bench::new(8_000, 8_000);
        for (place, digit) in pressed.chars().enumerate() {
            press(&mut bench, digit, ONSET, place as u64 * 300);
            bench.skip(8);
        }
        bench.pass(5_000);
        assert_eq!(digits(&bench), pressed);
        assert_eq!(markers(&bench), pressed.len());
    }
}

#[test]
fn digits_under_one_timestamp_are_told_though_their_ends_are_lost() {
    for pressed in ["123", "111"] {
        let mut bench = Bench::new(8_000, 8_000);
        for (place, digit) in pressed.chars().enumerate() {
            for packet in 1..=4u16 {
                let ms = place as u64 * 180 + u64::from(packet) * 20;
                bench.receive(ONSET, of(digit, packet * 160, false), ms);
            }
            bench.skip(5);
        }
        bench.pass(5_000);
        assert_eq!(digits(&bench), pressed);
    }
}

#[test]
fn digits_under_one_timestamp_are_told_though_only_ends_arrive() {
    for pressed in ["123", "111"] {
        let mut bench = Bench::new(8_000, 8_000);
        for (place, digit) in pressed.chars().enumerate() {
            bench.receive(ONSET, of(digit, 800, true), place as u64 * 500);
            bench.receive(ONSET, of(digit, 800, true), place as u64 * 500 + 20);
            bench.skip(20);
        }
        assert_eq!(digits(&bench), pressed);
    }
}

/// What a packet of a press says of the duration, by its number from 1.
type DurationOf = fn(u16) -> u16;

#[test]
fn a_press_whose_packets_each_have_their_own_timestamp_is_one_digit() {
    let styles: [(&str, DurationOf); 4] = [
        ("growing", |packet| packet * 160),
        ("constant", |_| 160),
        ("nothing", |_| 0),
        ("restarting", |packet| (packet - 1) % 3 * 160 + 160),
    ];
    for (style, duration) in styles {
        for ends_move in [false, true] {
            let mut bench = Bench::new(8_000, 8_000);
            for (place, digit) in ['7', '7', '9'].into_iter().enumerate() {
                let onset = ONSET + place as u32 * 2_400;
                for packet in 1..=8u16 {
                    let moved = if ends_move { packet } else { packet.min(6) };
                    let timestamp = onset + u32::from(moved - 1) * 160;
                    let ms = place as u64 * 300 + u64::from(packet) * 20;
                    let event = of(digit, duration(packet.min(6)), packet >= 6);
                    bench.receive(timestamp, event, ms);
                }
                bench.skip(7);
            }
            bench.pass(5_000);
            let held = if style == "nothing" { 100 } else { 120 };
            assert_eq!(bench.told(), [('7', held), ('7', held), ('9', held)], "{style}");
            assert_eq!(markers(&bench), 3, "{style}");
        }
    }
}

#[test]
fn a_press_of_moving_timestamps_survives_the_loss_of_two_packets() {
    for duration in [|packet: u16| packet * 160, |_| 160] {
        let mut bench = Bench::new(8_000, 8_000);
        for packet in [1u16, 2, 5, 8, 9, 12] {
            bench.next = bench_first() + packet as i16;
            let timestamp = ONSET + u32::from(packet) * 160;
            let event = of('4', duration(packet), packet == 12);
            bench.receive(timestamp, event, u64::from(packet) * 20);
        }
        bench.pass(2_000);
        assert_eq!(digits(&bench), "4");
    }
}

#[test]
fn audio_that_goes_on_during_a_press_does_not_cut_it() {
    for moving in [false, true] {
        let mut bench = Bench::new(8_000, 8_000);
        // An update every 50 ms, of which one is lost, with audio of 20 ms in between.
        for packet in (1..=10u16).filter(|packet| *packet != 6) {
            bench.next = bench_first() + packet as i16 * if moving { 2 } else { 4 };
            let timestamp = if moving { ONSET + u32::from(packet) * 400 } else { ONSET };
            let event = of('4', packet * 400, packet == 10);
            bench.receive(timestamp, event, u64::from(packet) * 50);
        }
        bench.pass(2_000);
        assert_eq!(bench.told(), [('4', 500)]);
    }
}

#[test]
fn ends_that_each_have_their_own_timestamp_are_one_end() {
    let mut bench = Bench::new(8_000, 8_000);
    for packet in 1..=4u16 {
        bench.receive(ONSET, of('3', packet * 160, false), u64::from(packet) * 20);
    }
    for end in 0..3u32 {
        bench.receive(ONSET + 640 + end * 160, of('3', 800, true), 100 + u64::from(end) * 20);
    }
    bench.pass(2_000);
    assert_eq!(bench.told(), [('3', 100)]);
}

#[test]
fn an_end_of_its_own_timestamp_that_comes_late_is_no_other_digit() {
    for between in [0, 1] {
        let mut bench = Bench::new(8_000, 8_000);
        for packet in 1..=4u32 {
            let event = of('3', 160, packet == 4);
            bench.receive(ONSET + packet * 160, event, u64::from(packet) * 20);
        }
        bench.skip(between);
        bench.receive(ONSET + 960, of('3', 160, true), 170);
        bench.pass(2_000);
        assert_eq!(bench.told(), [('3', 80)]);
    }
}

#[test]
fn the_same_digit_pressed_again_at_once_is_another_though_the_first_ones_ends_are_lost() {
    let mut bench = Bench::new(8_000, 8_000);
    for packet in 1..=3u16 {
        bench.receive(ONSET, of('5', packet * 160, false), u64::from(packet) * 20);
    }
    bench.skip(5); // three ends, 40 ms of audio
    let ended = bench.next + -5;
    press(&mut bench, '5', ONSET + 960, 160);
    // The ends come after all, when the next press has long begun.
    bench.receive_as(ended, ONSET, of('5', 640, true), 320);
    bench.pass(2_000);
    assert_eq!(digits(&bench), "55");
}

#[test]
fn ends_that_come_after_the_next_digit_began_are_not_told_again() {
    for timestamp in [ONSET, ONSET + 1_600] {
        let mut bench = Bench::new(8_000, 8_000);
        bench.receive(ONSET, of('1', 160, false), 0);
        bench.receive(ONSET, of('1', 320, true), 20);
        let late = bench.next;
        bench.skip(6);
        bench.receive(timestamp, of('2', 160, false), 140);
        bench.receive_as(late, ONSET, of('1', 320, true), 145);
        // A sender that still repeats them, in sequence.
        bench.receive(ONSET, of('1', 320, true), 150);
        bench.receive(timestamp, of('2', 480, false), 160);
        bench.receive(timestamp, of('2', 640, true), 180);
        bench.pass(2_000);
        assert_eq!(digits(&bench), "12");
        assert_eq!(markers(&bench), 2);
    }
}

#[test]
fn another_event_code_is_another_digit_whatever_its_timestamp() {
    let mut bench = Bench::new(8_000, 8_000);
    for packet in 1..=3u16 {
        bench.receive(ONSET, of('1', packet * 160, false), u64::from(packet) * 20);
    }
    bench.receive(ONSET, of('2', 640, true), 80);
    bench.receive(ONSET, of('2', 640, true), 100);
    bench.pass(2_000);
    assert_eq!(digits(&bench), "12");
}

#[test]
fn a_source_that_steps_back_in_its_sequence_is_heard() {
    let mut bench = Bench::new(8_000, 8_000);
    press(&mut bench, '1', ONSET, 0);
    bench.skip(10 - 50);
    press(&mut bench, '2', ONSET + 4_000, 500);
    bench.skip(-20_000);
    press(&mut bench, '2', ONSET + 8_000, 1_000);
    bench.pass(5_000);
    assert_eq!(digits(&bench), "122");
}

#[test]
fn a_digit_of_an_earlier_clock_is_told_when_its_sequence_goes_on() {
    let mut bench = Bench::new(8_000, 8_000);
    press(&mut bench, '1', ONSET, 0);
    bench.skip(5);
    press(&mut bench, '2', ONSET + (u32::MAX - 1_000), 300);
    bench.skip(5);
    press(&mut bench, '2', ONSET + (u32::MAX - 3_000), 600);
    bench.pass(5_000);
    assert_eq!(digits(&bench), "122");
}

#[test]
fn a_press_that_the_network_held_up_is_told_once() {
    for (later, told) in [(640u16, 60), (800, 60)] {
        let mut bench = Bench::new(8_000, 8_000);
        for packet in 1..=3u16 {
            bench.receive(ONSET, of('6', packet * 160, false), u64::from(packet) * 20);
        }
        bench.receive(ONSET, of('6', later, false), 900);
        bench.receive(ONSET, of('6', 960, true), 900);
        bench.receive(ONSET, of('6', 960, true), 900);
        bench.pass(2_000);
        assert_eq!(bench.told(), [('6', told)]);
    }
}

#[test]
fn a_press_that_lasts_through_a_hole_is_told_once() {
    let mut bench = Bench::new(8_000, 8_000);
    for packet in (1..=60u16).filter(|packet| !(20..40).contains(packet)) {
        bench.next = bench_first() + packet as i16;
        bench.receive(ONSET, of('6', packet * 160, packet == 60), u64::from(packet) * 20);
    }
    bench.pass(5_000);
    assert_eq!(digits(&bench), "6");
}

#[test]
fn a_volume_that_changes_makes_no_other_digit() {
    let mut bench = Bench::new(8_000, 8_000);
    for packet in 1..=5u16 {
        let event = TelephoneEvent { volume: packet as u8, ..of('8', packet * 160, packet == 5) };
        bench.receive(ONSET, event, u64::from(packet) * 20);
    }
    bench.pass(1_000);
    assert_eq!(bench.told(), [('8', 100)]);
}

#[test]
fn a_digit_that_says_no_duration_lasts_as_long_as_a_receiver_needs() {
    let mut bench = Bench::new(8_000, 8_000);
    bench.receive(ONSET, of('8', 0, false), 0);
    bench.receive(ONSET, of('8', 0, true), 20);
    bench.pass(1_000);
    assert_eq!(bench.told(), [('8', 40)]);
    assert_eq!(bench.shape().last(), Some(&(60, false, 0, 320, true)));
}

#[test]
fn a_duration_that_wraps_or_stays_at_its_most_is_one_digit() {
    for wraps in [false, true] {
        let mut bench = Bench::new(8_000, 8_000);
        for packet in 1..=500u32 {
            let units = packet * 160;
            let duration = if wraps { units as u16 } else { units.min(0xffff) as u16 };
            bench.receive(ONSET, of('0', duration, packet == 500), u64::from(packet) * 20);
        }
        bench.pass(20_000);
        let held = if wraps { 10_000 } else { 8_191 };
        assert_eq!(bench.told(), [('0', held)]);
        assert_eq!(markers(&bench), 1);
    }
}

#[test]
fn an_event_that_is_no_digit_ends_the_digit_before_it() {
    let mut bench = Bench::new(8_000, 8_000);
    bench.receive(ONSET, of('1', 160, false), 0);
    let flash = TelephoneEvent { event: 16, end: true, volume: 0, duration: 800 };
    bench.receive(ONSET, flash, 20);
    bench.pass(1_000);
    assert_eq!((digits(&bench).as_str(), markers(&bench)), ("1", 2));
}

#[test]
fn what_finds_the_outlet_taken_is_owed_and_takes_its_turn() {
    let mut bench = Bench::new(8_000, 8_000);
    let mut sender = DigitSender::new(8_000, 20);
    let at = |ms| bench.start + Duration::from_millis(ms);
    let (start, later, much_later) = (at(0), at(200), at(1_000));
    sender.push(Digit::from_char('9').unwrap(), DigitTime::DEFAULT, start).unwrap();
    sender.handle_timeout(start, |_| ());
    bench.outlet = if sender.is_busy() { Outlet::Taken } else { Outlet::Free };
    press(&mut bench, '1', ONSET, 0);
    assert!(bench.sent.is_empty(), "one event at a time leaves by a leg");
    assert!(!bench.relay.is_active() && bench.relay.busy_until().is_none());
    assert_eq!((bench.told(), &bench.owed[..]), (vec![('1', 100)], &[(1, 100)][..]));
    for (event, ms) in bench.owed.drain(..) {
        sender.push_event(event, DigitTime::from_ms(ms).unwrap(), later).unwrap();
    }
    let mut sent = Vec::new();
    while let Some(due) = sender.next_timeout().filter(|due| *due < much_later) {
        sender.handle_timeout(due, |packet| sent.push(packet));
    }
    let markers: Vec<u8> =
        sent.iter().filter(|packet| packet.marker).map(|packet| packet.event.event).collect();
    assert_eq!(markers, [1]);
}

#[test]
fn the_outlet_is_in_use_until_a_pause_after_the_last_end() {
    let mut bench = Bench::new(8_000, 8_000);
    bench.receive(ONSET, of('1', 160, false), 0);
    let until = bench.start + Duration::from_millis(150 + 40 + 50);
    assert_eq!(bench.relay.busy_until(), Some(until));
    bench.receive(ONSET, of('1', 320, true), 20);
    let until = bench.start + Duration::from_millis(20 + 40 + 50);
    assert_eq!(bench.relay.busy_until(), Some(until));
    bench.pass(1_000);
    assert_eq!(bench.relay.busy_until(), None);
}

/// How a sender numbers what it dials.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Style {
    /// A timestamp a press.
    Proper,
    /// One timestamp for all presses.
    OneTimestamp,
    /// A timestamp a packet, and what the duration does.
    Moving(Durations),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Durations {
    Growing,
    Constant,
    Restarting,
}

/// One press: the digit, its updates, and packet times of pause after its three ends.
type Pressed = (u8, u16, u16);

/// Every packet of the presses, with its place in the sequence, which is also its time in packet
/// times: audio, which the relay does not see, goes on between them.
fn dialled(style: Style, pressed: &[Pressed]) -> Vec<(u16, u32, TelephoneEvent)> {
    let (mut packets, mut place) = (Vec::new(), 0);
    for &(event, updates, pause) in pressed {
        // Of a press that shares its timestamp with an equal one, an update has to be heard.
        let updates = if style == Style::OneTimestamp { updates.max(3) } else { updates };
        let onset = place;
        for packet in 0..updates + 3 {
            let counted = packet.min(updates) + 1;
            let duration = match style {
                Style::Moving(Durations::Constant) => 160,
                Style::Moving(Durations::Restarting) => (counted - 1) % 3 * 160 + 160,
                _ => counted * 160,
            };
            let timestamp = match style {
                Style::Proper => u32::from(onset) * 160,
                Style::OneTimestamp => 0,
                Style::Moving(_) => u32::from(place) * 160,
            };
            let end = packet >= updates;
            let event = TelephoneEvent { event, end, volume: 10, duration };
            packets.push((place, timestamp, event));
            place += 1;
        }
        place += pause;
    }
    packets
}

fn any_style() -> impl Strategy<Value = Style> {
    prop::sample::select(vec![
        Style::Proper,
        Style::OneTimestamp,
        Style::Moving(Durations::Growing),
        Style::Moving(Durations::Constant),
        Style::Moving(Durations::Restarting),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever the style, and with packets lost or late by up to two places (never three in a row), and
    /// repeated, exactly the digits that were pressed are told, in their order.
    #[test]
    fn exactly_the_pressed_digits_are_told(
        style in any_style(),
        pressed in prop::collection::vec((0u8..3, 2u16..20, 3u16..30), 1..6),
        fates in prop::collection::vec((0u8..100, 0u8..100, 0u8..100), 160),
        first_timestamp: u32, first_place: u16,
    ) {
        let mut bench = Bench::new(8_000, 8_000);
        let mut arrivals = Vec::new();
        let mut away_in_a_row = 0;
        for (number, (place, timestamp, event)) in dialled(style, &pressed).into_iter().enumerate() {
            let (loss, lateness, copies) = fates[number % fates.len()];
            let away = (loss < 20 || lateness < 20) && away_in_a_row < 2;
            away_in_a_row = if away { away_in_a_row + 1 } else { 0 };
            if away && loss < 20 {
                continue;
            }
            let ms = u64::from(place) * 20;
            let late = match lateness { _ if !away => 0, 0..10 => 25, _ => 45 };
            arrivals.push((ms + late, place, timestamp, event));
            if copies < 10 {
                arrivals.push((ms + late + u64::from(copies) * 7, place, timestamp, event));
            }
        }
        arrivals.sort_by_key(|(ms, place, ..)| (*ms, *place));
        for (ms, place, timestamp, event) in arrivals {
            let sequence_number = SequenceNumber(first_place.wrapping_add(place));
            let timestamp = RtpTimestamp(first_timestamp) + timestamp;
            bench.receive_as(sequence_number, timestamp, event, ms);
        }
        bench.pass(100_000);
        let expected: String = pressed
            .iter()
            .map(|(event, ..)| Digit::from_event(*event).unwrap().to_char())
            .collect();
        prop_assert_eq!(digits(&bench), expected);
        prop_assert_eq!(markers(&bench), pressed.len());
    }

    /// A sender that keeps to the RFC may lose anything but one packet of each press.
    #[test]
    fn of_a_proper_press_any_packet_tells(
        pressed in prop::collection::vec((0u8..3, 2u16..12, 6u16..30, any::<prop::sample::Index>()), 1..8),
    ) {
        let mut bench = Bench::new(8_000, 8_000);
        let presses: Vec<Pressed> =
            pressed.iter().map(|(event, updates, pause, _)| (*event, *updates, *pause)).collect();
        let packets = dialled(Style::Proper, &presses);
        let mut at = 0;
        for (_, updates, _, survivor) in &pressed {
            let count = usize::from(*updates) + 3;
            let (place, timestamp, event) = packets[at + survivor.index(count)];
            bench.next = SequenceNumber(place);
            bench.receive(RtpTimestamp(timestamp), event, u64::from(place) * 20);
            at += count;
        }
        bench.pass(100_000);
        prop_assert_eq!(bench.digits.len(), pressed.len());
    }
}
