use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::wire::rtp::{PayloadType, RtpTimestamp, SequenceNumber, Ssrc};

const HZ: Option<u32> = Some(8_000);

/// What the line was told, as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Play(u16),
    Gap(u16, u16),
    Restart,
}
use Told::{Gap, Play, Restart};

/// A window under a clock in milliseconds, and everything it told.
struct Bench {
    window: RepairWindow,
    start: Instant,
    told: Vec<Told>,
}

/// Every packet's payload is made from its number, so that a mix-up shows.
fn payload_of(number: u16) -> Vec<u8> {
    number.to_be_bytes().repeat(1 + usize::from(number) % 80)
}

fn header_of(number: u16) -> RtpHeader {
    RtpHeader {
        marker: false,
        payload_type: PayloadType::PCMU,
        sequence_number: SequenceNumber(number),
        // Without a jump where the numbers wrap.
        timestamp: RtpTimestamp((i32::from(number as i16) * 160) as u32),
        ssrc: Ssrc(1),
    }
}

/// Notes what a turn tells; a packet that was made here is whole.
fn note(told: &mut Vec<Told>, turn: Turn<'_>) {
    let Packet { header, payload } = turn.packet;
    let number = header.sequence_number.0;
    if (1..=160).contains(&payload.len()) {
        assert_eq!(payload, payload_of(number));
    }
    if turn.continuity == Continuity::BeginsAnew {
        told.push(Restart);
    }
    if turn.missing_packets > 0 {
        told.push(Gap(turn.missing_packets, number));
    }
    told.push(Play(number));
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        Self { window: RepairWindow::new(start), start, told: Vec::new() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Runs the timeouts up to `ms`, then takes the packet in.
    fn arrive(&mut self, number: u16, ms: u64) -> Result<(), Discard> {
        self.arrive_with(number, &payload_of(number), ms)
    }

    fn arrive_with(&mut self, number: u16, payload: &[u8], ms: u64) -> Result<(), Discard> {
        self.arrive_as(header_of(number), payload, ms)
    }

    fn arrive_as(&mut self, header: RtpHeader, payload: &[u8], ms: u64) -> Result<(), Discard> {
        self.pass(ms);
        let now = self.at(ms);
        if let Put::Turn(turn) = self.window.put(Packet { header, payload }, HZ, now)? {
            note(&mut self.told, turn);
        }
        self.take_turns(now);
        Ok(())
    }

    /// A packet with nothing to play.
    fn arrive_empty(&mut self, number: u16, ms: u64) {
        self.pass(ms);
        let now = self.at(ms);
        self.window.pass_over(&header_of(number), now);
        self.take_turns(now);
    }

    fn pass(&mut self, ms: u64) {
        while let Some(due) = self.window.next_timeout().filter(|due| *due <= self.at(ms)) {
            self.take_turns(due);
        }
    }

    fn take_turns(&mut self, now: Instant) {
        while let Some(turn) = self.window.next(now) {
            note(&mut self.told, turn);
        }
    }

    /// A copy of a packet comes with the one that is about to arrive.
    fn copy(&mut self, number: u16, ms: u64) -> bool {
        self.pass(ms);
        let (now, payload) = (self.at(ms), payload_of(number));
        let copy = Packet { header: header_of(number), payload: &payload };
        let missed = self.window.recover(copy, HZ, now);
        self.take_turns(now);
        missed
    }

    fn hold_ms(&self, ms: u64) -> u128 {
        self.window.hold(self.at(ms)).as_millis()
    }

    fn take(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }
}

#[test]
fn packets_in_order_pass_at_once() {
    let mut bench = Bench::new();
    for number in [65_534, 65_535, 0, 1] {
        bench.arrive(number, 0).unwrap();
        assert_eq!(bench.take(), [Play(number)]);
        assert_eq!(bench.window.next_timeout(), None);
    }
    assert_eq!(bench.window.packets_reordered(), 0);
}

#[test]
fn a_packet_in_order_is_not_copied() {
    let mut bench = Bench::new();
    let payload = payload_of(5);
    let packet = Packet { header: header_of(5), payload: &payload };
    let put = bench.window.put(packet, HZ, bench.at(0)).unwrap();
    let Put::Turn(turn) = put else { panic!("{put:?}") };
    assert_eq!(turn.packet.payload.as_ptr(), payload.as_ptr());
    // Nor is the one that fills a gap.
    bench.arrive(7, 0).unwrap();
    let packet = Packet { header: header_of(6), payload: &payload };
    let put = bench.window.put(packet, HZ, bench.at(0)).unwrap();
    let Put::Turn(turn) = put else { panic!("{put:?}") };
    assert_eq!(turn.packet.payload.as_ptr(), payload.as_ptr());
}

#[test]
fn two_packets_swapped_are_put_back() {
    let mut bench = Bench::new();
    bench.arrive(65_535, 0).unwrap();
    bench.arrive(1, 20).unwrap();
    assert_eq!(bench.take(), [Play(65_535)]);
    bench.arrive(0, 30).unwrap();
    assert_eq!(bench.take(), [Play(0), Play(1)]);
    assert_eq!(bench.window.next_timeout(), None);
    assert_eq!(bench.window.packets_reordered(), 1);
}

#[test]
fn a_gap_is_reported_after_the_hold() {
    let mut bench = Bench::new();
    bench.arrive(10, 0).unwrap();
    bench.arrive(13, 60).unwrap();
    assert_eq!(bench.window.next_timeout(), Some(bench.at(80)));
    bench.pass(79);
    assert_eq!(bench.take(), [Play(10)]);
    bench.pass(80);
    assert_eq!(bench.take(), [Gap(2, 13), Play(13)]);
    assert_eq!(bench.window.next_timeout(), None);
}

#[test]
fn the_hold_counts_from_the_first_packet_after_each_gap() {
    let mut bench = Bench::new();
    bench.arrive(10, 0).unwrap();
    bench.arrive(14, 40).unwrap();
    bench.arrive(12, 50).unwrap(); // waits no longer than 14
    bench.pass(60);
    assert_eq!(bench.take(), [Play(10), Gap(1, 12), Play(12), Gap(1, 14), Play(14)]);
}

#[test]
fn a_gap_behind_a_gap_has_its_own_time() {
    let mut bench = Bench::new();
    bench.arrive(10, 0).unwrap();
    bench.arrive(12, 40).unwrap();
    bench.arrive(14, 55).unwrap();
    bench.pass(60);
    assert_eq!(bench.take(), [Play(10), Gap(1, 12), Play(12)]);
    bench.pass(75);
    assert_eq!(bench.take(), [Gap(1, 14), Play(14)]);
}

#[test]
fn a_packet_that_comes_as_its_gap_is_due_is_still_played() {
    let mut bench = Bench::new();
    bench.arrive(10, 0).unwrap();
    bench.arrive(12, 40).unwrap();
    let (now, payload) = (bench.at(70), payload_of(11)); // the timeout of 60 ms was not handled
    let packet = Packet { header: header_of(11), payload: &payload };
    let put = bench.window.put(packet, HZ, now).unwrap();
    let Put::Turn(turn) = put else { panic!("{put:?}") };
    note(&mut bench.told, turn);
    bench.take_turns(now);
    assert_eq!(bench.take(), [Play(10), Play(11), Play(12)]);
}

#[test]
fn a_late_packet_and_a_duplicate_are_told_apart() {
    let mut bench = Bench::new();
    for number in [10, 11, 13] {
        bench.arrive(number, 0).unwrap();
    }
    assert_eq!(bench.arrive(13, 5), Err(Discard::Duplicate)); // held
    bench.pass(30);
    assert_eq!(bench.arrive(12, 90), Err(Discard::Late));
    assert_eq!(bench.arrive(12, 91), Err(Discard::Duplicate));
    assert_eq!(bench.arrive(13, 92), Err(Discard::Duplicate));
    assert_eq!(bench.arrive(11, 93), Err(Discard::Duplicate));
    assert_eq!(bench.arrive(9, 94), Err(Discard::Late)); // from before the first
    assert_eq!(bench.take(), [Play(10), Play(11), Gap(1, 13), Play(13)]);
}

#[test]
fn a_full_window_gives_up_its_first_gap_at_once() {
    let mut bench = Bench::new();
    bench.arrive(0, 0).unwrap();
    for number in 2..10 {
        bench.arrive(number, 1).unwrap();
    }
    assert_eq!(bench.take(), [Play(0)]);
    bench.arrive(11, 2).unwrap();
    let mut expected = vec![Gap(1, 2)];
    expected.extend((2..10).map(Play));
    assert_eq!(bench.take(), expected);
    bench.arrive(10, 3).unwrap();
    assert_eq!(bench.take(), [Play(10), Play(11)]);
}

#[test]
fn a_full_window_plays_a_packet_before_all_others_at_once() {
    let mut bench = Bench::new();
    bench.arrive(0, 0).unwrap();
    for number in 3..11 {
        bench.arrive(number, 1).unwrap();
    }
    bench.arrive(2, 2).unwrap();
    let mut expected = vec![Play(0), Gap(1, 2)];
    expected.extend((2..11).map(Play));
    assert_eq!(bench.take(), expected);
}

#[test]
fn a_payload_of_any_size_is_held() {
    // All of a datagram of 1,500 bytes, the largest 20 ms of Opus, 60 ms at 96 kb/s, and small ones.
    for (bytes, held) in [(1_460, 1), (1_275, 1), (720, 2), (480, 3), (161, 8)] {
        let mut bench = Bench::new();
        bench.arrive(0, 0).unwrap();
        let payload = vec![7; bytes];
        for number in 2..2 + held {
            bench.arrive_with(number, &payload, 1).unwrap();
        }
        assert_eq!(bench.take(), [Play(0)], "{bytes}");
        bench.arrive(1, 2).unwrap();
        let played: Vec<_> = (1..2 + held).map(Play).collect();
        assert_eq!(bench.take(), played, "{bytes}");
    }
}

#[test]
fn where_payloads_have_no_room_the_gap_is_given_up_at_once() {
    let mut bench = Bench::new();
    bench.arrive(0, 0).unwrap();
    for number in 2..20 {
        bench.arrive_with(number, &[7; PAYLOAD_BYTES_MAX], 1).unwrap();
    }
    let mut played = vec![Play(0), Gap(1, 2)];
    played.extend((2..20).map(Play));
    assert_eq!(bench.take(), played);
}

#[test]
fn what_brings_nothing_to_play_is_not_missing_and_nothing_waits_for_it() {
    let mut bench = Bench::new();
    bench.arrive(10, 0).unwrap();
    bench.arrive_empty(11, 20);
    bench.arrive(12, 40).unwrap();
    // Out of order.
    bench.arrive(15, 60).unwrap();
    bench.arrive_empty(14, 61);
    assert_eq!(bench.take(), [Play(10), Play(12)]);
    bench.arrive_empty(13, 62);
    assert_eq!(bench.take(), [Play(15)]);
    assert_eq!(bench.window.next_timeout(), None);
    assert_eq!(bench.arrive(13, 63), Err(Discard::Duplicate));
}

#[test]
fn a_loss_before_what_brings_nothing_to_play_is_told_with_the_next_turn() {
    let mut bench = Bench::new();
    bench.arrive(0, 0).unwrap();
    // Ten losses, an empty packet after each.
    for n in 0..10u16 {
        let ms = u64::from(n) * 60;
        bench.arrive_empty(3 * n + 2, ms + 40);
        bench.arrive(3 * n + 3, ms + 60).unwrap();
    }
    let told: Vec<_> = (1..11u16).flat_map(|n| [Gap(1, 3 * n), Play(3 * n)]).collect();
    assert_eq!(bench.take(), [vec![Play(0)], told].concat());
    assert_eq!(bench.window.next_timeout(), None);
    // Nothing else comes before the gap is given up, nor until long after.
    bench.arrive_empty(33, 700);
    bench.pass(900);
    bench.arrive_empty(35, 1_000);
    bench.pass(1_100);
    bench.arrive(36, 1_200).unwrap();
    assert_eq!(bench.take(), [Gap(3, 36), Play(36)]);
}

#[test]
fn a_late_packet_lengthens_the_hold_and_time_shortens_it() {
    let mut bench = Bench::new();
    bench.arrive(0, 0).unwrap();
    bench.arrive(2, 10).unwrap();
    assert_eq!(bench.arrive(1, 45), Err(Discard::Late)); // 35 ms after 2
    assert_eq!(bench.hold_ms(45), 40);

    // So the next one that is as late is put back.
    bench.arrive(4, 100).unwrap();
    bench.arrive(3, 138).unwrap();
    assert_eq!(bench.take(), [Play(0), Gap(1, 2), Play(2), Play(3), Play(4)]);

    assert_eq!(bench.hold_ms(138), 43);
    assert_eq!(bench.hold_ms(5_137), 43);
    assert_eq!(bench.hold_ms(5_138), 33);
    assert_eq!(bench.hold_ms(60_000), 20);
}

#[test]
fn the_hold_never_exceeds_its_bound() {
    let mut bench = Bench::new();
    bench.arrive(0, 0).unwrap();
    bench.arrive(2, 0).unwrap();
    assert_eq!(bench.arrive(1, 60), Err(Discard::Late));
    assert_eq!(bench.hold_ms(60), 60);
}

#[test]
fn a_packet_too_late_for_any_hold_does_not_lengthen_it() {
    let mut bench = Bench::new();
    bench.arrive(0, 0).unwrap();
    bench.arrive(2, 0).unwrap();
    assert_eq!(bench.arrive(1, 61), Err(Discard::Late));
    assert_eq!(bench.hold_ms(61), 20);
}

#[test]
fn loss_alone_does_not_lengthen_the_hold() {
    let mut bench = Bench::new();
    let mut ms = 0;
    for number in (0..400).filter(|number| number % 10 != 9) {
        ms = u64::from(number) * 20;
        bench.arrive(number, ms).unwrap();
    }
    assert_eq!(bench.hold_ms(ms), 20);
}

#[test]
fn a_stream_that_begins_anew_is_followed_after_two_packets() {
    for second in [1_104, 40_000, 65_000] {
        let mut bench = Bench::new();
        bench.arrive(100, 0).unwrap();
        bench.arrive(102, 1).unwrap();
        assert_eq!(bench.arrive(second, 2), Err(Discard::SequenceJump));
        bench.arrive(second + 1, 3).unwrap();
        bench.arrive(second + 2, 4).unwrap();
        bench.pass(24);
        let before = [Play(100), Gap(1, 102), Play(102)];
        let after = [Restart, Play(second + 1), Play(second + 2)];
        assert_eq!(bench.take(), [before, after].concat(), "{second}");
        assert_eq!(bench.window.next_timeout(), None);
        bench.arrive(second + 3, 25).unwrap();
        assert_eq!(bench.take(), [Play(second + 3)]);
    }
}

#[test]
fn numbers_that_the_clock_contradicts_are_followed_at_once_and_nothing_is_missing() {
    for step in [-100i16, -50, -1, 8, 20, 500, 1_000, 20_000] {
        for gap in [0, 1] {
            let mut bench = Bench::new();
            let mut told = Vec::new();
            for n in 0..40u16 {
                let number = 65_520u16.wrapping_add(n);
                let number = if n < 20 { number } else { number.wrapping_add_signed(step) };
                let timestamp = RtpTimestamp(u32::from(n) * 160);
                if n == 18 && gap > 0 {
                    continue;
                }
                let header = RtpHeader { timestamp, ..header_of(number) };
                bench.arrive_as(header, &payload_of(number), u64::from(n) * 20).unwrap();
                told.extend((n == 19 && gap > 0).then_some(Gap(1, number)));
                told.push(Play(number));
            }
            bench.pass(1_000);
            assert_eq!(bench.take(), told, "{step}");
        }
    }
}

#[test]
fn packets_astray_do_not_disturb_the_stream() {
    let mut bench = Bench::new();
    bench.arrive(100, 0).unwrap();
    for (number, astray) in [(101, 30_000), (102, 20_000), (103, 30_001), (104, 20_001)] {
        assert_eq!(bench.arrive(astray, 1), Err(Discard::SequenceJump));
        bench.arrive(number, 1).unwrap();
    }
    let played: Vec<_> = (100..105).map(Play).collect();
    assert_eq!(bench.take(), played);
}

#[test]
fn a_gap_of_a_thousand_packets_is_a_gap_and_one_more_a_jump() {
    let mut bench = Bench::new();
    bench.arrive(0, 0).unwrap();
    bench.arrive(1_001, 0).unwrap();
    bench.pass(100);
    assert_eq!(bench.take(), [Play(0), Gap(1_000, 1_001), Play(1_001)]);
    assert_eq!(bench.arrive(2_003, 100), Err(Discard::SequenceJump));
}

#[test]
fn after_a_reset_anything_may_come() {
    let mut bench = Bench::new();
    bench.arrive(100, 0).unwrap();
    bench.arrive(102, 0).unwrap();
    bench.window.reset();
    assert_eq!(bench.window.next_timeout(), None);
    bench.arrive(99, 1).unwrap();
    assert_eq!(bench.take(), [Play(100), Play(99)]);
}

/// What the sender's path does to a packet.
#[derive(Clone, Copy, Debug)]
struct Fate {
    delay_ms: u64,
    copies: u8,
    large: bool,
}

/// Mostly in time, some late within the shortest hold, some far too late.
fn fate() -> impl Strategy<Value = Fate> {
    let delay_ms = prop_oneof![6 => 0u64..5, 2 => 0u64..60, 1 => 0u64..400];
    let copies = prop_oneof![1 => Just(0u8), 8 => Just(1), 1 => Just(2)];
    (delay_ms, copies, prop::bool::weighted(0.05)).prop_map(|(delay_ms, copies, large)| Fate {
        delay_ms,
        copies,
        large,
    })
}

/// Arrivals as (ms, number from the first, large), in the order of time.
fn arrivals(fates: &[Fate]) -> Vec<(u64, u16, bool)> {
    let mut arrivals = Vec::new();
    for (number, fate) in fates.iter().enumerate() {
        for copy in 0..u64::from(fate.copies) {
            let ms = number as u64 * 20 + fate.delay_ms + copy * 7;
            arrivals.push((ms, number as u16, fate.large));
        }
    }
    arrivals.sort_by_key(|(ms, number, _)| (*ms, *number));
    arrivals
}

#[test]
fn a_copy_of_a_missed_packet_closes_the_gap_at_once() {
    let mut bench = Bench::new();
    bench.arrive(1, 0).unwrap();
    assert!(bench.copy(2, 40));
    bench.arrive(3, 40).unwrap();
    assert_eq!(bench.take(), [Play(1), Play(2), Play(3)]);
    assert_eq!(bench.window.next_timeout(), None);
    // The packet was only late.
    assert_eq!(bench.arrive(2, 45), Err(Discard::Duplicate));
}

#[test]
fn a_copy_behind_a_gap_waits_with_what_follows_it() {
    let mut bench = Bench::new();
    bench.arrive(1, 0).unwrap();
    assert!(bench.copy(4, 80));
    bench.arrive(5, 80).unwrap();
    assert_eq!(bench.take(), [Play(1)]);
    bench.pass(100);
    assert_eq!(bench.take(), [Gap(2, 4), Play(4), Play(5)]);
    assert_eq!(bench.window.packets_reordered(), 0);
}

#[test]
fn an_older_copy_completes_what_was_held() {
    let mut bench = Bench::new();
    bench.arrive(1, 0).unwrap();
    bench.arrive(3, 40).unwrap();
    assert!(bench.copy(2, 55), "4 brings copies of 2 and of 3");
    assert!(!bench.copy(3, 55));
    bench.arrive(4, 55).unwrap();
    assert_eq!(bench.take(), [Play(1), Play(2), Play(3), Play(4)]);
    // A copy says nothing about how late packets are.
    assert_eq!((bench.window.packets_reordered(), bench.hold_ms(55)), (0, 20));
}

#[test]
fn a_copy_that_nobody_misses_changes_nothing() {
    let mut bench = Bench::new();
    assert!(!bench.copy(6, 0), "nothing was heard yet");
    bench.arrive(7, 0).unwrap();
    assert!(!bench.copy(7, 20), "played");
    assert!(!bench.copy(6, 20), "from before the stream");
    bench.arrive(9, 20).unwrap();
    assert!(!bench.copy(9, 20), "held");
    assert!(!bench.copy(7 + 101, 20), "so far ahead that the sender may have begun anew");
    assert_eq!(bench.take(), [Play(7)]);
    assert_eq!(bench.arrive(7, 21), Err(Discard::Duplicate));
}

#[test]
fn a_copy_older_than_what_was_played_is_not_the_packet_that_it_seems_to_be() {
    let mut bench = Bench::new();
    bench.arrive(7, 0).unwrap();
    let header = RtpHeader { timestamp: header_of(7).timestamp, ..header_of(8) };
    let copy = Packet { header, payload: &[1] };
    let now = bench.at(20);
    assert!(!bench.window.recover(copy, HZ, now));
    assert_eq!(bench.window.next(now), None);
}

proptest! {
    /// Against the naive model: a set of numbers, and the rule that everything is accounted for.
    #[test]
    fn each_packet_is_played_once_in_order_and_in_time(
        first in prop_oneof![0u16..30_000, 40_000u16..=65_535],
        fates in prop::collection::vec(fate(), 1..120),
    ) {
        let mut bench = Bench::new();
        let mut arrived = BTreeMap::new();
        let mut discarded = BTreeSet::new();
        let mut played: Vec<u16> = Vec::new();
        let mut gap = None;
        for (ms, offset, large) in arrivals(&fates) {
            let number = first.wrapping_add(offset);
            let payload = if large { vec![0; 600] } else { payload_of(number) };
            // Nothing waits longer than the bound, by what is played up to just before this.
            bench.pass(ms);
            let told = bench.take();
            collect(&told, &mut played, &mut gap);
            for (held, since) in &arrived {
                let waiting = !played.contains(held) && !discarded.contains(held);
                prop_assert!(!waiting || ms - since < 60, "{} waits since {}", held, since);
            }
            match bench.arrive_with(number, &payload, ms) {
                Ok(()) => prop_assert!(arrived.insert(number, ms).is_none()),
                Err(Discard::Late | Discard::Duplicate) => {
                    if let Entry::Vacant(place) = arrived.entry(number) {
                        place.insert(ms);
                        discarded.insert(number);
                    }
                }
                Err(other) => prop_assert!(false, "{:?}", other),
            }
            let told = bench.take();
            collect(&told, &mut played, &mut gap);
        }
        bench.pass(u64::MAX / 2_000_000);
        let told = bench.take();
        collect(&told, &mut played, &mut gap);
        for number in arrived.keys() {
            let count = played.iter().filter(|one| *one == number).count();
            prop_assert_eq!(count, usize::from(!discarded.contains(number)));
        }
        prop_assert_eq!(bench.window.next_timeout(), None);
    }

    /// Each packet brings copies of those before it: a loss that they bridge leaves no gap.
    #[test]
    fn what_the_copies_bridge_is_played_in_order(
        lost in prop::collection::vec(any::<bool>(), 1..200),
        copies in 1u16..4,
    ) {
        let mut bench = Bench::new();
        bench.arrive(1_000, 0).unwrap();
        let mut last = 1_000;
        for (place, lost) in lost.iter().enumerate() {
            let number = 1_001 + place as u16;
            if *lost && number - last <= copies {
                continue;
            }
            let ms = 20 * u64::from(number - 1_000);
            for copy in number.saturating_sub(copies).max(1_000)..number {
                prop_assert_eq!(bench.copy(copy, ms), copy > last);
            }
            bench.arrive(number, ms).unwrap();
            last = number;
        }
        let expected: Vec<_> = (1_000..=last).map(Play).collect();
        prop_assert_eq!(bench.take(), expected);
    }

    /// Delays below the shortest hold, with nothing lost: no gap, no discard.
    #[test]
    fn no_loss_is_invented_when_everything_arrives_within_the_hold(
        first in prop_oneof![0u16..30_000, 40_000u16..=65_535],
        delays_ms in prop::collection::vec(0u64..20, 1..100),
        packet_ms in prop::sample::select(vec![5u64, 10, 20]),
    ) {
        let mut bench = Bench::new();
        let mut arrivals: Vec<(u64, u16)> = delays_ms
            .iter()
            .enumerate()
            // The first is in time, for the stream starts with whatever comes first.
            .map(|(number, delay)| {
                let delay = if number == 0 { 0 } else { *delay };
                (number as u64 * packet_ms + delay, number as u16)
            })
            .collect();
        arrivals.sort_unstable();
        for (ms, offset) in arrivals {
            prop_assert_eq!(bench.arrive(first.wrapping_add(offset), ms), Ok(()));
        }
        let all: Vec<_> =
            (0..delays_ms.len()).map(|offset| Play(first.wrapping_add(offset as u16))).collect();
        prop_assert_eq!(bench.take(), all);
    }

    #[test]
    fn any_numbers_at_any_time_keep_the_bounds(
        packets in prop::collection::vec((any::<u16>(), 0u64..100, 0usize..2_000), 0..200),
    ) {
        let mut now = Instant::now();
        let mut window = RepairWindow::new(now);
        for (number, step_ms, length) in packets {
            now += Duration::from_millis(step_ms);
            while window.next(now).is_some() {}
            let header = header_of(number % 4_000);
            match length {
                0..50 => window.pass_over(&header, now),
                50..100 => _ = window.recover(Packet { header, payload: &vec![0; length] }, HZ, now),
                _ => _ = window.put(Packet { header, payload: &vec![0; length] }, HZ, now),
            }
            while window.next(now).is_some() {}
            let due = window.next_timeout();
            prop_assert!(due.is_none_or(|due| due > now && due <= now + HOLD_MAX));
        }
    }
}

/// Checks the steps: numbers go up by one, or by what a gap says before.
fn collect(told: &[Told], played: &mut Vec<u16>, gap: &mut Option<(u16, u16)>) {
    for one in told {
        match *one {
            Gap(missing, next) => {
                assert!(missing > 0 && gap.is_none());
                *gap = Some((missing, next));
            }
            Play(number) => {
                let missing = gap.take().map_or(0, |(missing, next)| {
                    assert_eq!(next, number);
                    missing
                });
                if let Some(last) = played.last() {
                    assert_eq!(number, last.wrapping_add(missing).wrapping_add(1));
                }
                played.push(number);
            }
            Restart => panic!("nothing jumped"),
        }
    }
}
