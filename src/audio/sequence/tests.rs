use proptest::prelude::*;

use super::*;
use crate::wire::rtp::{PayloadType, Ssrc};

const HZ: u32 = 8_000;
const PACKET: u32 = 160;

fn header(number: u16, timestamp: u32) -> RtpHeader {
    RtpHeader {
        marker: false,
        payload_type: PayloadType::PCMU,
        sequence_number: SequenceNumber(number),
        timestamp: RtpTimestamp(timestamp),
        ssrc: Ssrc(1),
    }
}

/// A sequence after a hundred packets from `first` on, at the timestamps 0, 160, ... 15,840.
fn after_a_hundred(first: u16) -> Sequence {
    let mut sequence = Sequence::default();
    for n in 0..100u16 {
        let header = header(first.wrapping_add(n), u32::from(n) * PACKET);
        assert_eq!(sequence.place(&header, Some(HZ)), follows(i64::from(n)));
    }
    sequence
}

fn follows(index: i64) -> Result<Place, Discard> {
    Ok(Place { index, continuity: Continuity::Follows })
}

fn begins_anew(index: i64) -> Result<Place, Discard> {
    Ok(Place { index, continuity: Continuity::BeginsAnew })
}

#[test]
fn packets_have_their_index_across_the_wrap_and_out_of_order() {
    let mut sequence = after_a_hundred(65_500);
    let mut place = |n: u32| {
        let header = header(65_500u16.wrapping_add(n as u16), n * PACKET);
        sequence.place(&header, Some(HZ))
    };
    assert_eq!(place(103), follows(103));
    assert_eq!(place(101), follows(101));
    assert_eq!(place(101), Err(Discard::Duplicate));
    assert_eq!(place(99), Err(Discard::Duplicate));
    assert_eq!(place(102), follows(102));
    assert_eq!(place(1_104), follows(1_104));
    assert_eq!(place(1_020), follows(1_020));
    assert_eq!(sequence.newest(), 1_104);
    assert_eq!(sequence.extended_highest(), Some(65_500 + 1_104));
}

#[test]
fn what_was_sent_before_the_first_has_a_negative_index() {
    let mut sequence = Sequence::default();
    assert_eq!(sequence.newest(), -1);
    assert_eq!(sequence.place(&header(0, 1_600), Some(HZ)), follows(0));
    assert_eq!(sequence.place(&header(65_533, 1_120), Some(HZ)), follows(-3));
    assert_eq!(sequence.place(&header(65_533, 1_120), Some(HZ)), Err(Discard::Duplicate));
    assert_eq!(sequence.extended_highest(), Some(0));
}

#[test]
fn a_number_that_the_clock_contradicts_is_the_next() {
    // Steps back, forward, to 0, past the wrap, or stands still.
    for first in [0u16, 40, 65_436, 65_500] {
        for number in [0, 49, 50, 60, 98, 99, 115, 600, 1_000, 30_000, 65_000, 65_535] {
            let number = first.wrapping_add(number);
            let mut sequence = after_a_hundred(first);
            assert_eq!(sequence.place(&header(number, 16_000), Some(HZ)), follows(100), "{number}");
            let next = header(number.wrapping_add(1), 16_160);
            assert_eq!(sequence.place(&next, Some(HZ)), follows(101));
            // The last of the old numbers has the timestamp of its time.
            let late = sequence.place(&header(first.wrapping_add(99), 15_840), Some(HZ));
            assert!(late.is_err(), "{number}: {late:?}");
        }
    }
}

#[test]
fn numbers_that_stand_still_or_come_in_pairs_are_those_of_packets_nevertheless() {
    for packets_a_number in [2, 3, 1_000] {
        let mut sequence = Sequence::default();
        for n in 0..500u32 {
            let header = header((n / packets_a_number) as u16, n * PACKET);
            assert_eq!(sequence.place(&header, Some(HZ)), follows(i64::from(n)));
        }
    }
}

#[test]
fn numbers_that_go_elsewhere_in_a_pause_are_followed_from_the_second_packet_on() {
    for number in [0, 50, 90, 30_000] {
        let mut sequence = after_a_hundred(0);
        let at = |n: u16| header(number + n, 15_840 + 24_000 + u32::from(n) * PACKET);
        assert_eq!(sequence.place(&at(0), Some(HZ)), Err(Discard::SequenceJump));
        // The second one is lost.
        assert_eq!(sequence.place(&at(2), Some(HZ)), follows(100));
        assert_eq!(sequence.place(&at(3), Some(HZ)), follows(101));
    }
}

#[test]
fn a_sender_whose_numbers_and_clock_are_new_begins_anew() {
    for number in [50, 600, 30_000] {
        for timestamp in [0x7000_0000, 0x9000_0000] {
            let mut sequence = after_a_hundred(0);
            let at = |n: u16| header(number + n, timestamp + u32::from(n) * PACKET);
            assert_eq!(sequence.place(&at(0), Some(HZ)), Err(Discard::SequenceJump));
            assert_eq!(sequence.place(&at(1), Some(HZ)), begins_anew(100));
            assert_eq!(sequence.place(&at(2), Some(HZ)), follows(101));
            // What comes now of the old ones is not believed.
            let late = sequence.place(&header(98, 98 * PACKET), Some(HZ));
            assert!(late.is_err(), "{late:?}");
        }
    }
}

#[test]
fn a_clock_of_its_own_says_nothing_about_the_number() {
    // Events, and packets on another clock.
    for clock_hz in [None, Some(48_000)] {
        let mut sequence = after_a_hundred(0);
        assert_eq!(sequence.place(&header(149, 16_000), clock_hz), follows(149));
        assert_eq!(sequence.place(&header(149, 16_000), clock_hz), Err(Discard::Duplicate));
        assert_eq!(sequence.place(&header(120, 10_000), clock_hz), follows(120));
    }
    // Nor do events make the audio's clock stand still: a second of them.
    let mut sequence = after_a_hundred(0);
    for n in 100..150 {
        assert_eq!(sequence.place(&header(n, 16_000), None), follows(i64::from(n)));
    }
    assert_eq!(sequence.place(&header(160, 160 * PACKET), Some(HZ)), follows(160));
    // And while they come, numbers that step back are those of packets that come late...
    let mut sequence = after_a_hundred(0);
    sequence.place(&header(100, 16_000), None).unwrap();
    assert_eq!(sequence.place(&header(51, 16_000), None), Err(Discard::Duplicate));
    // ...until there is audio again.
    assert_eq!(sequence.place(&header(52, 16_160), Some(HZ)), follows(101));
}

#[test]
fn an_old_number_with_an_old_timestamp_is_late_or_a_duplicate() {
    for behind in 1..=100u16 {
        let mut sequence = after_a_hundred(0);
        sequence.place(&header(200, 200 * PACKET), Some(HZ)).unwrap();
        let number = 201 - behind;
        let place = sequence.place(&header(number, u32::from(number) * PACKET), Some(HZ));
        let came = number == 200 || number < 100;
        let expected = if came { Err(Discard::Duplicate) } else { follows(i64::from(number)) };
        assert_eq!(place, expected, "{behind}");
    }
}

#[test]
fn the_very_next_number_confirms_a_jump_whatever_the_clock_says() {
    for timestamps in [[0x7000_0000, 0x7000_0000], [0x7000_0000, 0], [5, 0x9000_0000]] {
        let mut sequence = after_a_hundred(0);
        let [first, second] = timestamps;
        assert_eq!(sequence.place(&header(40_000, first), Some(HZ)), Err(Discard::SequenceJump));
        assert_eq!(sequence.place(&header(40_001, second), Some(HZ)), begins_anew(100));
    }
}

#[test]
fn no_sender_is_refused_for_good_however_its_numbers_and_clock_behave() {
    for number_step in [-300i32, -100, -7, 1, 2, 9, 10, 100, 999, 1_001, 30_000] {
        for timestamp_step in [-160_000i32, -160, 0, 1, 160, 8_000, 8_000_000] {
            let mut sequence = Sequence::default();
            let (mut refused, mut refused_max) = (0, 0);
            for n in 0..2_000i32 {
                let number = (n.wrapping_mul(number_step)) as u16;
                let timestamp = n.wrapping_mul(timestamp_step) as u32;
                let placed = sequence.place(&header(number, timestamp), Some(HZ));
                let newest = placed.is_ok_and(|place| place.index == sequence.newest());
                refused = if newest { 0 } else { refused + 1 };
                refused_max = refused_max.max(refused);
            }
            // All that a late packet may be behind, and what is refused before it is believed.
            assert!(refused_max <= 110, "{number_step}, {timestamp_step}: {refused_max}");
        }
    }
}

#[test]
fn two_that_send_as_one_do_not_disturb_each_other() {
    // A packet astray between any two.
    let mut sequence = after_a_hundred(0);
    for n in 100..200u16 {
        let astray = header(30_000 + n, 0x7000_0000 + u32::from(n) * PACKET);
        assert_eq!(sequence.place(&astray, Some(HZ)), Err(Discard::SequenceJump));
        let own = header(n, u32::from(n) * PACKET);
        assert_eq!(sequence.place(&own, Some(HZ)), follows(i64::from(n)));
    }
}

#[test]
fn a_copy_is_placed_where_its_packet_is_missed() {
    let mut sequence = after_a_hundred(0);
    sequence.place(&header(104, 104 * PACKET), Some(HZ)).unwrap();
    let mut recover = |number: u16, from: i64| {
        sequence.recover(&header(number, u32::from(number) * PACKET), Some(HZ), from)
    };
    assert_eq!(recover(104, 100), None, "it came");
    assert_eq!(recover(101, 102), None, "it is late");
    assert_eq!(recover(103, 100), Some(103));
    assert_eq!(recover(103, 100), None, "its copy came");
    assert_eq!(recover(106, 100), Some(106));
    assert_eq!(recover(200, 100), None, "too far ahead");
    assert_eq!(sequence.newest(), 106);
    assert_eq!(sequence.place(&header(106, 106 * PACKET), Some(HZ)), Err(Discard::Duplicate));
    assert_eq!(sequence.place(&header(105, 105 * PACKET), Some(HZ)), follows(105));
    // Its timestamp is that of another packet.
    assert_eq!(sequence.recover(&header(107, 106 * PACKET), Some(HZ), 100), None);
    assert_eq!(sequence.recover(&header(102, 110 * PACKET), Some(HZ), 100), None);
}

proptest! {
    /// Against the naive model: the numbers without their wraps.
    #[test]
    fn jitter_and_reordering_within_a_hundred_packets_are_followed(
        first: u16,
        delays in prop::collection::vec(prop_oneof![3 => 0usize..3, 1 => 0usize..98], 1..400),
        packet in prop::sample::select(vec![20u32, 80, 160, 480]),
        copies in prop::collection::vec(any::<bool>(), 400),
    ) {
        let mut arrivals: Vec<(usize, usize)> = delays
            .iter()
            .enumerate()
            .map(|(n, delay)| (n + if n == 0 { 0 } else { *delay }, n))
            .flat_map(|arrival| std::iter::repeat_n(arrival, 1 + usize::from(copies[arrival.1])))
            .collect();
        arrivals.sort_unstable();
        let mut sequence = Sequence::default();
        let mut came = std::collections::BTreeSet::new();
        for (_, n) in arrivals {
            let header = header(first.wrapping_add(n as u16), n as u32 * packet);
            let expected =
                if came.insert(n) { follows(n as i64) } else { Err(Discard::Duplicate) };
            prop_assert_eq!(sequence.place(&header, Some(HZ)), expected);
        }
    }

    #[test]
    fn indexes_are_given_once(
        packets in prop::collection::vec((any::<u16>(), any::<u32>(), any::<bool>(), any::<bool>()), 1..300),
    ) {
        let mut sequence = Sequence::default();
        let mut given = std::collections::BTreeSet::new();
        for (number, timestamp, near, timed) in packets {
            let (number, timestamp) =
                if near { (number % 200, timestamp % 3_200 / 160 * 160) } else { (number, timestamp) };
            if let Ok(place) = sequence.place(&header(number, timestamp), timed.then_some(HZ)) {
                prop_assert!(given.insert(place.index));
                prop_assert!(place.index <= sequence.newest());
            }
        }
    }
}
