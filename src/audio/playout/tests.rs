use std::time::Duration;

use proptest::prelude::*;
use rand::RngExt;

use super::*;
use crate::base::random;
use crate::wire::rtp::{PayloadType, SequenceNumber, Ssrc};

const PACKET: usize = 160;
const TICK: Duration = Duration::from_millis(20);
const RANGE: DelayRange = DelayRange { least_ms: 20, most_ms: 200 };

/// What came out at one tick.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Out {
    Played(u16),
    Lost,
    Nothing,
}

/// A buffer, a virtual clock, and a listener who finds nothing quiet or everything.
struct Player {
    buffer: PlayoutBuffer,
    start: Instant,
    quiet: bool,
    ticks: usize,
    out: Vec<Out>,
    /// When each packet was played, so long after the start, and its timestamp.
    heard: Vec<(Duration, RtpTimestamp)>,
    /// When each played packet arrived and was played.
    waited: Vec<Duration>,
    arrived: std::collections::HashMap<u16, Instant>,
    pending: usize,
    delay_ms_max: u32,
}

impl Player {
    fn new(range: DelayRange) -> Self {
        Self {
            buffer: PlayoutBuffer::new(range, PACKET),
            start: Instant::now(),
            quiet: false,
            ticks: 0,
            out: Vec::new(),
            heard: Vec::new(),
            waited: Vec::new(),
            arrived: std::collections::HashMap::new(),
            pending: 0,
            delay_ms_max: 0,
        }
    }

    /// A packet that arrives so long after the start.
    fn arrive(&mut self, number: u16, timestamp: u32, at: Duration) -> Result<(), Discard> {
        self.arrive_with(number, timestamp, &[number as u8; PACKET], at)
    }

    fn arrive_with(
        &mut self,
        number: u16,
        timestamp: u32,
        payload: &[u8],
        at: Duration,
    ) -> Result<(), Discard> {
        self.play_until(at);
        let packet = Packet { header: header(number, timestamp), payload };
        self.arrived.insert(number, self.start + at);
        self.buffer.accept(packet, Some((8_000, PACKET)), self.start + at)
    }

    /// A packet with nothing to play.
    fn arrive_empty(&mut self, number: u16, timestamp: u32, at: Duration) {
        self.play_until(at);
        self.buffer.pass_over(&header(number, timestamp), self.start + at);
    }

    fn play_until(&mut self, at: Duration) {
        while let Some(due) = self.buffer.next_timeout().filter(|due| *due < self.start + at) {
            assert_eq!(self.buffer.begin_tick(due), Some(0));
            self.ticks += 1;
            while self.pending < PACKET {
                match self.buffer.pull(PACKET - self.pending) {
                    Pull::Play { packet, shorten, .. } => {
                        let number = packet.header.sequence_number.0;
                        let kept = match shorten {
                            Shorten::No => PACKET,
                            Shorten::IfQuiet | Shorten::Anyway if self.quiet => 0,
                            Shorten::IfQuiet => PACKET,
                            Shorten::Anyway => PACKET - 64,
                        };
                        self.heard.push((due - self.start, packet.header.timestamp));
                        self.buffer.played(PACKET - kept, self.quiet);
                        self.pending += kept;
                        self.out.push(Out::Played(number));
                        self.waited.push(due - self.arrived[&number]);
                    }
                    Pull::Event(_) => {}
                    Pull::Lost { samples, .. } => {
                        self.pending += samples;
                        self.out.push(Out::Lost);
                    }
                    Pull::Nothing { samples } => {
                        self.pending += samples;
                        self.out.push(Out::Nothing);
                    }
                }
            }
            self.pending -= PACKET;
            self.delay_ms_max = self.delay_ms_max.max(self.buffer.report().delay_ms);
        }
    }

    fn count(&self, out: &Out) -> usize {
        self.out.iter().filter(|other| *other == out).count()
    }
}

fn header(number: u16, timestamp: u32) -> RtpHeader {
    RtpHeader {
        marker: false,
        payload_type: PayloadType::PCMU,
        sequence_number: SequenceNumber(number),
        timestamp: RtpTimestamp(timestamp),
        ssrc: Ssrc(1),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_steady_stream_is_played_after_the_least_delay() {
    let mut player = Player::new(RANGE);
    for n in 0..500_u16 {
        player.arrive(n, u32::from(n) * 160, TICK * u32::from(n)).unwrap();
    }
    player.play_until(TICK * 500);
    assert!(player.out.iter().eq(&(0..499).map(Out::Played).collect::<Vec<_>>()));
    assert!(player.waited.iter().all(|waited| *waited == ms(20)));
    let report = player.buffer.report();
    assert_eq!((report.delay_ms, report.target_ms), (20, 20));
    assert_eq!((report.inserted_ms, report.dropped_ms), (0, 0));
}

#[test]
fn the_delay_follows_the_jitter_up_and_down() {
    let mut player = Player::new(RANGE);
    let mut random = random::from_seed(3);
    let mut nothing_late = 0;
    for n in 0..9_000_u32 {
        // A minute of jitter up to 80 ms, then two of none.
        let jitter = if n < 3_000 { random.random_range(0..80) } else { 0 };
        player.quiet = n % 50 < 10;
        let _ = player.arrive(n as u16, n * 160, TICK * n + ms(jitter));
        if n == 3_000 {
            let report = player.buffer.report();
            assert!((70..=95).contains(&report.target_ms), "{report:?}");
            assert!((65..=110).contains(&report.delay_ms), "{report:?}");
            nothing_late = player.count(&Out::Nothing) + player.count(&Out::Lost);
        }
    }
    assert!(nothing_late < 3_000 * 5 / 100, "{nothing_late} frames had to be made up");
    let report = player.buffer.report();
    assert_eq!(report.target_ms, 20);
    assert!(report.delay_ms <= 50, "{report:?}");
}

#[test]
fn a_stall_is_grown_over_and_shrunk_back_from() {
    for (stalled_ms, quiet) in [(80, true), (80, false), (200, true), (200, false)] {
        let mut player = Player::new(RANGE);
        let end = ms(10_000 + stalled_ms);
        let mut settled = Duration::ZERO;
        for n in 0..4_000_u32 {
            player.quiet = quiet && n % 50 < 10;
            let spoken = TICK * n;
            let arrival = if spoken >= ms(10_000) && spoken < end { end } else { spoken };
            player.arrive(n as u16, n * 160, arrival).unwrap();
            if player.buffer.report().delay_ms > 40 {
                settled = arrival;
            }
        }
        player.play_until(TICK * 4_000);
        // Nothing that came was lost, and the delay is within 20 ms of before after 10 s, for good.
        assert_eq!(player.count(&Out::Lost), 0);
        assert!(settled < end + ms(10_000), "{stalled_ms} ms: {settled:?}");
        let report = player.buffer.report();
        assert!(report.inserted_ms >= stalled_ms - 20, "{report:?}");
        assert!(report.dropped_ms <= report.inserted_ms + 20, "{report:?}");
    }
}

#[test]
fn a_clock_that_is_200_ppm_off_is_followed_for_four_hours() {
    for (ppm, quiet) in [(200, true), (200, false), (-200, true), (-200, false)] {
        let mut player = Player::new(RANGE);
        let mut random = random::from_seed(5);
        let packets = 4 * 3_600 * 50_u32;
        let mut arrival = Duration::ZERO;
        for n in 0..packets {
            // One in five packets is of a pause, if there are any.
            player.quiet = quiet && n % 100 < 20;
            let spoken_us = u64::from(n) * 20_000;
            let drift_us = spoken_us as i64 * ppm / 1_000_000;
            let sent = Duration::from_micros(spoken_us.saturating_add_signed(drift_us));
            arrival = arrival.max(sent + Duration::from_micros(random.random_range(0..5_000)));
            player.arrive(n as u16, n.wrapping_mul(160), arrival).unwrap();
            if n > 1_000 {
                let delay_ms = player.buffer.report().delay_ms;
                assert!(delay_ms <= 60, "{delay_ms} ms after packet {n}");
            }
        }
        player.play_until(arrival);
        assert_eq!(player.count(&Out::Lost), 0);
        let report = player.buffer.report();
        // 200 ppm of four hours are 2,880 ms.
        let corrected = if ppm > 0 { report.inserted_ms } else { report.dropped_ms };
        assert!((2_800..=3_300).contains(&corrected), "{ppm} ppm: {report:?}");
        let wrong = if ppm > 0 { report.dropped_ms } else { report.inserted_ms };
        assert!(wrong <= 400, "{ppm} ppm: {report:?}");
        // One packet a tick, by our clock, for four hours.
        let elapsed = arrival.as_millis() as usize;
        assert!(player.ticks.abs_diff(elapsed / 20) <= 2);
    }
}

#[test]
fn a_pause_is_played_as_long_as_it_was() {
    let mut player = Player::new(RANGE);
    for n in 0..100_u32 {
        let pause = if n < 50 { 0 } else { 25 }; // packets of nothing
        player.arrive(n as u16, (n + pause) * 160, TICK * (n + pause)).unwrap();
    }
    player.play_until(TICK * 130);
    assert_eq!(player.out[49], Out::Played(49));
    assert!(player.out[50..75].iter().all(|out| *out == Out::Nothing));
    assert_eq!(player.out[75], Out::Played(50));
    let report = player.buffer.report();
    assert_eq!((report.inserted_ms, report.dropped_ms), (0, 0));
}

#[test]
fn a_lost_packet_is_given_up_when_its_time_has_come_and_no_delay_is_added() {
    let mut player = Player::new(DelayRange { least_ms: 60, most_ms: 200 });
    for n in (0..200_u16).filter(|n| ![20, 40, 41, 42].contains(n)) {
        player.arrive(n, u32::from(n) * 160, TICK * u32::from(n)).unwrap();
    }
    player.play_until(TICK * 190);
    let lost: Vec<_> = (0..).zip(&player.out).filter(|(_, out)| **out == Out::Lost).collect();
    assert_eq!(lost.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [20, 40, 41, 42]);
    assert_eq!(player.count(&Out::Nothing), 0);
    assert!(player.waited.iter().all(|waited| *waited == ms(60)));
}

#[test]
fn packets_out_of_order_within_the_delay_are_put_right() {
    let mut player = Player::new(DelayRange { least_ms: 60, most_ms: 200 });
    for n in 0..200_u32 {
        let number = if n % 2 == 0 { n + 1 } else { n - 1 };
        player.arrive(number as u16, number * 160, TICK * n).unwrap();
    }
    player.play_until(TICK * 190);
    let played: Vec<_> = player.out.iter().filter(|out| **out != Out::Nothing).collect();
    assert!(
        played.iter().copied().eq(&(0..played.len() as u16).map(Out::Played).collect::<Vec<_>>())
    );
    assert_eq!(player.buffer.packets_reordered(), 100);
    assert_eq!(player.count(&Out::Lost), 0);
}

#[test]
fn late_packets_and_duplicates_are_told_apart() {
    let mut player = Player::new(RANGE);
    for n in (0..50_u16).filter(|n| *n != 30) {
        player.arrive(n, u32::from(n) * 160, TICK * u32::from(n)).unwrap();
    }
    let now = TICK * 50;
    assert_eq!(player.arrive(30, 30 * 160, now), Err(Discard::Late));
    assert_eq!(player.arrive(30, 30 * 160, now), Err(Discard::Duplicate));
    assert_eq!(player.arrive(29, 29 * 160, now), Err(Discard::Duplicate));
    assert_eq!(player.arrive(49, 49 * 160, now), Err(Discard::Duplicate));
}

#[test]
fn what_is_older_than_the_most_delay_is_dropped() {
    let mut player = Player::new(RANGE);
    for n in 0..100_u32 {
        let spoken = TICK * n;
        let stalled = (ms(400)..ms(1_400)).contains(&spoken);
        let arrival = if stalled { ms(1_400) } else { spoken };
        let _ = player.arrive(n as u16, n * 160, arrival);
    }
    player.play_until(TICK * 100);
    assert!(player.delay_ms_max <= 220, "{} ms", player.delay_ms_max);
    assert!(player.buffer.report().dropped_ms >= 700);
}

#[test]
fn ticks_missed_in_a_pause_of_the_process_are_not_made_up_for() {
    let mut player = Player::new(RANGE);
    for n in 0..50_u16 {
        player.arrive(n, u32::from(n) * 160, TICK * u32::from(n)).unwrap();
    }
    let due = player.buffer.next_timeout().unwrap();
    assert_eq!(player.buffer.begin_tick(due + ms(7_000)), Some(350));
    assert_eq!(player.buffer.next_timeout(), Some(due + ms(7_020)));
    assert_eq!(player.buffer.begin_tick(due + ms(7_000)), None);
}

#[test]
fn a_sender_that_begins_anew_is_followed() {
    let mut player = Player::new(RANGE);
    for n in 0..100_u32 {
        let (number, timestamp) =
            if n < 50 { (n, n * 160) } else { (n + 20_000, n * 160 + 77_777_777) };
        let accepted = player.arrive(number as u16, timestamp, TICK * n);
        assert_eq!(accepted.is_err(), n == 50, "packet {n}: {accepted:?}");
    }
    player.play_until(TICK * 100);
    assert_eq!(player.out.last(), Some(&Out::Played(20_098)));
    assert!(player.count(&Out::Nothing) <= 3);
}

#[test]
fn a_timestamp_that_steps_stops_nothing() {
    for step in [5_000_000_u32, 40_000, 0_u32.wrapping_sub(40_000), 0_u32.wrapping_sub(5_000_000)] {
        let mut player = Player::new(RANGE);
        for n in 0..1_000_u32 {
            let timestamp = (n * 160).wrapping_add(if n < 500 { 0 } else { step });
            player.arrive(n as u16, timestamp, TICK * n).unwrap();
        }
        player.play_until(TICK * 1_000);
        let played = player.out.iter().filter(|out| matches!(out, Out::Played(_))).count();
        assert!(played >= 980, "{played} played after a step of {step}");
        assert!(player.buffer.report().delay_ms <= 60, "{:?}", player.buffer.report());
    }
}

/// A sender and the path to us, both of which change.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The path is so much longer or shorter, in milliseconds.
    Path(i64),
    /// The sender pauses for so long, and its clock goes on.
    Pause(u64),
    /// The sender pauses, and its clock stands still.
    Stand(u64),
    /// The sender's clock jumps by so many milliseconds.
    Clock(i64),
    /// Its clock runs fast or slow, in parts per million.
    Speed(i64),
    /// Its numbers jump.
    Numbers(i16),
}

/// Plays a sender that changes every so many seconds; says the longest time without voice that ended
/// after the begin, and after each change.
fn silences(
    player: &mut Player,
    changes: &[Change],
    seconds: u64,
    jitter_ms: u64,
) -> Vec<Duration> {
    let mut random = random::from_seed(11);
    let (mut sent_us, mut path_us, mut ppm) = (0u64, 300_000u64, 0i64);
    let (mut number, mut timestamp) = (65_000u16, 4_000_000_000u32);
    let mut arrivals = Vec::new();
    let mut begins = Vec::new();
    for change in [None].into_iter().chain(changes.iter().copied().map(Some)) {
        match change {
            Some(Change::Path(ms)) => path_us = path_us.saturating_add_signed(ms * 1_000),
            Some(Change::Pause(ms)) => {
                sent_us += ms * 1_000;
                timestamp = timestamp.wrapping_add(ms as u32 * 8);
            }
            Some(Change::Stand(ms)) => sent_us += ms * 1_000,
            Some(Change::Clock(ms)) => timestamp = timestamp.wrapping_add_signed(ms as i32 * 8),
            Some(Change::Speed(to)) => ppm = to,
            Some(Change::Numbers(step)) => number = number.wrapping_add_signed(step),
            None => {}
        }
        begins.push(Duration::from_micros(sent_us + path_us));
        for _ in 0..seconds * 50 {
            let jitter_us = random.random_range(0..=jitter_ms * 1_000);
            arrivals.push((sent_us + path_us + jitter_us, number, timestamp));
            number = number.wrapping_add(1);
            timestamp = timestamp.wrapping_add(PACKET as u32);
            sent_us += 20_000u64.saturating_add_signed(-20_000 * ppm / 1_000_000);
        }
    }
    arrivals.sort_by_key(|(at, ..)| *at);
    let end = Duration::from_micros(arrivals.last().unwrap().0);
    for (at_us, number, timestamp) in arrivals {
        let _ = player.arrive(number, timestamp, Duration::from_micros(at_us));
    }
    player.play_until(end);
    begins.push(end + ms(1));
    let silences = player.heard.windows(2).map(|two| (two[1].0, two[1].0 - two[0].0));
    let silences: Vec<_> = silences.collect();
    begins
        .windows(2)
        .map(|part| {
            let ended = silences.iter().filter(|(end, _)| (part[0]..part[1]).contains(end));
            ended.map(|(_, silence)| *silence).max().unwrap_or(Duration::MAX)
        })
        .collect()
}

/// What a change may cost at most: what it lasts, the delay, and four packets.
fn silence_max(change: Change, range: DelayRange) -> Duration {
    let lasts_ms = match change {
        Change::Path(ms) => ms.max(0) as u64,
        Change::Pause(ms) | Change::Stand(ms) => ms,
        Change::Clock(_) | Change::Speed(_) | Change::Numbers(_) => 0,
    };
    ms(lasts_ms + u64::from(range.most_ms) + 80)
}

const RANGES: [DelayRange; 4] = [
    DelayRange { least_ms: 0, most_ms: 40 },
    DelayRange { least_ms: 20, most_ms: 120 },
    DelayRange { least_ms: 20, most_ms: 200 },
    DelayRange { least_ms: 60, most_ms: 300 },
];

#[test]
fn what_is_late_for_good_is_heard_after_one_gap() {
    let changes = [
        Change::Path(150),
        Change::Path(500),
        Change::Path(5_000),
        Change::Path(-150),
        Change::Pause(2_000),
        Change::Stand(150),
        Change::Stand(500),
        Change::Stand(2_000),
        Change::Stand(60_000),
        Change::Clock(150),
        Change::Clock(5_000),
        Change::Clock(60_000),
        Change::Clock(-150),
        Change::Clock(-5_000),
        Change::Clock(-60_000),
        Change::Speed(20_000),
        Change::Speed(-20_000),
        Change::Numbers(-50),
        Change::Numbers(500),
        Change::Numbers(30_000),
    ];
    for range in RANGES {
        for change in changes {
            for (jitter_ms, quiet) in [(0, false), (10, false), (10, true)] {
                let mut player = Player::new(range);
                player.quiet = quiet;
                let silence = silences(&mut player, &[change], 10, jitter_ms);
                let most = silence_max(change, range);
                assert!(silence[1] <= most, "{range:?}, {change:?}: {silence:?}");
                let bound_ms = u32::from(range.most_ms) + 40;
                let report = player.buffer.report();
                assert!(report.delay_ms <= bound_ms, "{range:?}, {change:?}: {report:?}");
                // All but what the change cost and what the drift takes is played.
                let heard = player.waited.len() * 20;
                assert!(
                    heard >= 19_400 - usize::from(range.most_ms),
                    "{change:?}: {heard} ms heard"
                );
            }
        }
    }
}

#[test]
fn a_stall_costs_what_is_beyond_the_delay_and_no_more() {
    for range in RANGES {
        for stalled_ms in [100, 200, 400, 1_000, 3_000] {
            let mut player = Player::new(range);
            let end = ms(10_000 + stalled_ms);
            for n in 0..1_000_u32 {
                let spoken = TICK * n;
                let arrival = if spoken >= ms(10_000) && spoken < end { end } else { spoken };
                player.arrive(n as u16, n * 160, arrival).unwrap();
            }
            player.play_until(TICK * 1_020);
            let report = player.buffer.report();
            assert!(report.delay_ms <= u32::from(range.most_ms) + 20, "{range:?}: {report:?}");
            let lost = 1_000 - player.waited.len() as u64;
            let beyond = (stalled_ms.saturating_sub(u64::from(range.most_ms))) / 20;
            assert!(lost <= beyond + 3, "{range:?}, {stalled_ms} ms: {lost} lost");
        }
    }
}

#[test]
fn stalls_that_recur_are_waited_for() {
    // One in two seconds, of 100 to 400 ms: longer than the delay may be. It is as long as it may then,
    // and what is beyond it is made up for, no more.
    let mut player = Player::new(RANGE);
    let mut random = random::from_seed(9);
    let (mut until, mut beyond) = (Duration::ZERO, Duration::ZERO);
    for n in 0..20_000_u32 {
        let spoken = TICK * n;
        if random.random_range(0..100) == 0 {
            let stalled = ms(random.random_range(100..400));
            until = spoken + stalled;
            beyond += stalled.saturating_sub(ms(200)) + TICK;
        }
        player.quiet = n % 50 < 20;
        let _ = player.arrive(n as u16, n * 160, spoken.max(until));
    }
    let report = player.buffer.report();
    assert_eq!(report.target_ms, 200);
    let made_up = TICK * player.count(&Out::Nothing) as u32;
    assert!(made_up <= beyond, "{made_up:?} for {beyond:?}");
}

#[test]
fn a_payload_of_any_size_is_heard() {
    for range in RANGES {
        for bytes in [0, 480, 481, 640, 1_275, 1_500, 2_036] {
            let mut player = Player::new(range);
            for n in 0..200_u16 {
                let at = TICK * u32::from(n);
                player.arrive_with(n, u32::from(n) * 160, &vec![7; bytes], at).unwrap();
            }
            player.play_until(TICK * 200);
            assert!(player.waited.len() >= 196, "{bytes} bytes");
            assert_eq!(player.buffer.report().dropped_ms, 0);
        }
    }
}

#[test]
fn what_brings_nothing_to_play_is_no_loss_and_nothing_waits_for_it() {
    let mut player = Player::new(DelayRange { least_ms: 60, most_ms: 200 });
    let mut number = 0;
    for n in 0..200_u32 {
        player.arrive(number, n * 160, TICK * n).unwrap();
        // Two of three in order, the third before what it follows.
        for m in 1..=n % 3 {
            player.arrive_empty(number + (n % 3 + 1 - m) as u16, n * 160, TICK * n);
        }
        number += (n % 3) as u16 + 1;
    }
    player.play_until(TICK * 190);
    assert_eq!((player.count(&Out::Lost), player.count(&Out::Nothing)), (0, 0));
    assert!(player.waited.iter().all(|waited| *waited == ms(60)));
}

#[test]
fn a_loss_before_what_brings_nothing_to_play_is_concealed() {
    let mut player = Player::new(DelayRange { least_ms: 60, most_ms: 200 });
    for n in 0..200_u16 {
        let (timestamp, at) = (u32::from(n) * 160, TICK * u32::from(n));
        let lost = n % 15 == 7;
        if !lost {
            player.arrive(2 * n, timestamp, at).unwrap();
        }
        player.arrive_empty(2 * n + 1, timestamp, at);
    }
    player.play_until(TICK * 190);
    let lost: Vec<_> = (0..).zip(&player.out).filter(|(_, out)| **out == Out::Lost).collect();
    assert!(lost.iter().all(|(n, _)| n % 15 == 7) && lost.len() == 13, "{lost:?}");
    assert_eq!(player.count(&Out::Nothing), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn voice_returns_after_any_changes(
        changes in prop::collection::vec(prop_oneof![
            (-200i64..600).prop_map(Change::Path),
            (20u64..3_000).prop_map(Change::Pause),
            (20u64..3_000).prop_map(Change::Stand),
            (-12_000i64..12_000).prop_map(Change::Clock),
            (-20_000i64..20_000).prop_map(Change::Speed),
            any::<i16>().prop_map(Change::Numbers),
        ], 1..12),
        range in prop::sample::select(RANGES.to_vec()),
        seconds in 1u64..6,
        jitter_ms in 0u64..30,
        quiet in any::<bool>(),
    ) {
        let mut player = Player::new(range);
        player.quiet = quiet;
        let silences = silences(&mut player, &changes, seconds, jitter_ms);
        for (change, silence) in changes.iter().zip(&silences[1..]) {
            let most = silence_max(*change, range) + ms(2 * jitter_ms);
            prop_assert!(*silence <= most, "{change:?}: {silence:?}");
        }
        prop_assert!(player.buffer.report().delay_ms <= u32::from(range.most_ms) + 40);
    }
}

proptest! {
    #[test]
    fn anything_at_any_time_keeps_the_bounds(
        packets in prop::collection::vec((any::<u16>(), any::<u32>(), 0_u64..200, any::<bool>()), 1..300),
        near in any::<bool>(),
    ) {
        let mut player = Player::new(RANGE);
        let mut at = Duration::ZERO;
        for (n, (number, timestamp, passed, quiet)) in (0_u32..).zip(packets) {
            at += ms(passed);
            player.quiet = quiet;
            let (number, timestamp) = if near {
                ((n as u16).wrapping_add(number % 8), (n * 160).wrapping_add(timestamp % 1_600))
            } else {
                (number, timestamp)
            };
            let _ = player.arrive(number, timestamp, at);
        }
        player.play_until(at + ms(1_000));
        // Every tick was filled, and no packet was played twice in a row.
        prop_assert!(player.ticks >= 40);
        let played = player.out.iter().filter(|out| matches!(out, Out::Played(_)));
        let played: Vec<_> = played.zip(&player.heard).map(|(out, (_, at))| (out, at)).collect();
        prop_assert!(played.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
