//! Paced playout through the whole line: whatever the network does, what leaves is even.

use rand::RngExt;

use super::loss::{Journey, WAYS};
use super::redundancy::Repeater;
use super::*;
use crate::control::message::PlayoutStatistics;
use crate::wire::red::RedPayload;

fn paced(format: &str) -> String {
    let playout = r#", "playout": {"kind": "paced", "least_ms": 20, "most_ms": 200}},"#;
    format.replacen("},", playout, 1)
}

fn journey(way: (Side, u8), packets: usize) -> Journey {
    Journey::between(&paced(OPUS), &paced(PCMU), way, packets)
}

/// One packet of 20 ms every 20 ms, without a hole or a slip, from the first to the last.
fn assert_even(journey: &Journey) {
    let mut listener = Listener::new(&journey.line.arena);
    listener.listen(&journey.sent);
    assert_eq!(listener.pcm.len(), journey.sent.len() * 160);
    assert!(journey.sent.windows(2).all(|pair| pair[1].at - pair[0].at == MS_20));
}

fn playout(journey: &Journey) -> PlayoutStatistics {
    journey.line.statistics(journey.from.other()).playout.unwrap()
}

#[test]
fn jitter_loss_and_reordering_leave_an_even_stream() {
    for way in WAYS {
        for lost_percent in [0, 1, 5, 10] {
            let mut network = random::from_seed(lost_percent);
            let journey = journey(way, 3_000).over(|n| {
                let arrives = n == 0 || network.random_range(0..100) >= lost_percent;
                arrives.then(|| Duration::from_millis(network.random_range(0..=60)))
            });
            assert_even(&journey);
            // A minute is a minute: the clocks agree, so nothing is corrected once the jitter is known.
            assert!(journey.sent.len().abs_diff(3_005) <= 6, "{}", journey.sent.len());
            let statistics = journey.statistics();
            let filled = statistics.frames_concealed + statistics.frames_recovered;
            let lost = statistics.packets_lost.max(0) as u64;
            assert!(filled <= lost + 3_000 / 20, "{filled} filled for {lost} lost");
            assert!(filled + 40 >= lost, "{filled} filled for {lost} lost");
            if way.1 == 111 && lost_percent > 0 {
                assert!(statistics.frames_recovered * 2 > lost);
            }
            assert!((60..=85).contains(&playout(&journey).target_ms), "{:?}", playout(&journey));
        }
    }
}

#[test]
fn the_delay_is_back_ten_seconds_after_a_stall() {
    for way in WAYS {
        for stalled_ms in [80, 200] {
            let (begins, ends) =
                (Duration::from_secs(5), Duration::from_millis(5_000 + stalled_ms));
            let journey = journey(way, 3_000).over(|n| {
                let spoken = MS_20 * n as u32;
                let held = (begins..ends).contains(&spoken);
                Some(if held { ends - spoken } else { Duration::ZERO })
            });
            assert_even(&journey);
            let report = playout(&journey);
            assert!(report.inserted_ms + 40 >= stalled_ms, "{report:?}");
            assert!(report.delay_ms <= 40, "{report:?}");
            assert!(report.inserted_ms.abs_diff(report.dropped_ms) <= 20, "{report:?}");
            assert_eq!(journey.statistics().frames_concealed, 0, "nothing was lost");
        }
    }
}

#[test]
fn a_pause_of_the_sender_is_filled() {
    for way in WAYS {
        let mut line = Line::new(&paced(OPUS), &paced(PCMU));
        let mut speaker = Speaker::new(&line.arena, way.1);
        let mut listener = Listener::new(&line.arena);
        let mut sent = Vec::new();
        for n in 0..200 {
            if n == 100 {
                sent.extend(line.pass(Duration::from_millis(1_000)));
                speaker.silence(8_000);
            }
            sent.extend(line.hear(way.0, &speaker.packet(160)).unwrap());
            sent.extend(line.pass(MS_20));
        }
        listener.listen(&sent);
        assert!((247..=250).contains(&sent.len()), "{}", sent.len());
        // The codec has faded in the middle of the pause, and the tone is back at its end.
        let level = |at: usize| {
            listener.pcm[at * 160..(at + 10) * 160].iter().map(|s| s.unsigned_abs()).max().unwrap()
        };
        assert!(level(50) > 5_000 && level(120) < 2_500 && level(180) > 5_000);
        assert_eq!(line.statistics(way.0).frames_concealed, 0, "a pause is no loss");
    }
}

#[test]
fn packets_of_other_lengths_leave_evenly_too() {
    for (received, sent_ms) in [(480, 20), (80, 20), (160, 30), (320, 10), (240, 20)] {
        let b = with_packet_ms(PCMU, sent_ms);
        let mut line = Line::new(PCMU, &paced(&b));
        let mut speaker = Speaker::new(&line.arena, 0);
        let mut sent = Vec::new();
        for _ in 0..16_000 * 5 / received {
            sent.extend(line.hear(Side::A, &speaker.packet(received)).unwrap());
            sent.extend(line.pass(Duration::from_micros(received as u64 * 125)));
        }
        let interval = Duration::from_millis(u64::from(sent_ms));
        assert!(sent.windows(2).all(|pair| pair[1].at - pair[0].at == interval));
        let mut listener = Listener::new(&line.arena);
        listener.listen(&sent);
        // Ten seconds, but for what waits and what it grew by at the start.
        assert!(listener.pcm.len().abs_diff(80_000) <= 1_600, "{received}: {}", listener.pcm.len());
    }
}

#[test]
fn a_digit_takes_its_place_in_the_even_stream() {
    let mut line = Line::new(&paced(OPUS), &paced(PCMU));
    let mut speaker = Speaker::new(&line.arena, 111);
    let mut all = Vec::new();
    for _ in 0..50 {
        all.extend(line.hear(Side::A, &speaker.packet(160)).unwrap());
        all.extend(line.pass(MS_20));
    }
    speaker.header.payload_type = PayloadType::new(110).unwrap();
    for n in 1..=8_u32 {
        let packet = event('7', n >= 6, (n.min(6) * 960) as u16);
        all.extend(line.hear(Side::A, &speaker.raw(&packet)).unwrap());
        speaker.header.sequence_number = speaker.header.sequence_number.next();
        all.extend(line.pass(if n < 6 { MS_20 } else { Duration::ZERO }));
    }
    speaker.header.payload_type = PayloadType::new(111).unwrap();
    all.extend(line.pass(MS_20));
    speaker.silence(6 * 160);
    for _ in 0..50 {
        all.extend(line.hear(Side::A, &speaker.packet(160)).unwrap());
        all.extend(line.pass(MS_20));
    }
    let digits = events(&all, 101);
    assert_eq!(digits.iter().filter(|event| event.1).count(), 3);
    assert!(digits.iter().all(|event| event.0 == '7'));
    assert_eq!(digits.last().unwrap().2, 960);
    assert!(
        all.windows(2).all(|pair| {
            pair[1].header.sequence_number == pair[0].header.sequence_number.next()
        })
    );
    // Audio leaves at the ticks, and its timestamps are the ticks'.
    let audio: Vec<_> = all.iter().filter(|p| p.header.payload_type == PayloadType::PCMU).collect();
    for pair in audio.windows(2) {
        let passed = (pair[1].at - pair[0].at).as_micros() as i32 / 125;
        assert_eq!(pair[1].header.timestamp.distance(pair[0].header.timestamp), passed);
    }
    assert!(audio.len() >= 95);
    assert!(line.has_told(&digit_ended(Side::A, '7', 120)));
}

#[test]
fn a_leg_can_be_paced_and_released_in_mid_call() {
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&line.arena, 111);
    let mut listener = Listener::new(&line.arena);
    for n in 0..300 {
        if n % 100 == 99 {
            let json = if n == 99 { paced(PCMU) } else { PCMU.to_owned() };
            line.set_format(Side::B, &json).unwrap();
            listener.last = None;
        }
        let sent = line.hear(Side::A, &speaker.packet(160)).unwrap();
        assert_eq!(sent.is_empty(), (99..199).contains(&n));
        listener.listen(&sent);
        listener.listen(&line.pass(MS_20));
        assert_eq!(line.statistics(Side::B).playout.is_some(), (99..199).contains(&n));
    }
    assert!(listener.pcm.len() >= 296 * 160);
}

#[test]
fn opus_that_is_not_decoded_cannot_be_paced() {
    let mut line = Line::new(OPUS, OPUS);
    let refused = line.set_format(Side::B, &paced(OPUS)).unwrap_err();
    assert_eq!(refused.code, crate::control::message::ErrorCode::Unsupported);
}

#[test]
fn copies_in_red_save_an_even_stream_from_loss_and_go_to_an_evenly_spaced_browser() {
    // Heard: leg a's browser repeats each packet in the next, and every tenth is lost.
    let with_red =
        OPUS.replacen("\"send_events\"", "\"receive_redundancy\": [63], \"send_events\"", 1);
    let mut line =
        Line::new(&with_red, &paced(PCMU).replace("\"least_ms\": 20", "\"least_ms\": 40"));
    let mut repeater = Repeater::new(&line, 1);
    let mut sent = Vec::new();
    for n in 0..1_000 {
        let packet = repeater.packet();
        if n % 10 != 5 {
            sent.extend(line.hear(Side::A, &packet).unwrap());
        }
        sent.extend(line.pass(MS_20));
    }
    assert!(sent.windows(2).all(|pair| pair[1].at - pair[0].at == MS_20));
    let statistics = line.statistics(Side::A);
    assert_eq!(statistics.packets_recovered, 100);
    let filled = statistics.frames_recovered + statistics.frames_concealed;
    assert!(filled <= 5, "{filled}");

    // Sent: at every tick, with the packet before in it.
    let red = OPUS.replacen("111}", "111, \"redundancy\": {\"payload_type\": 63}}", 1);
    let mut line = Line::new(&paced_red(&red), PCMU);
    let mut speaker = Speaker::new(&line.arena, 0);
    let mut network = random::from_seed(3);
    let mut sent = Vec::new();
    for _ in 0..500 {
        let late = Duration::from_millis(network.random_range(0..15));
        sent.extend(line.pass(late));
        sent.extend(line.hear(Side::B, &speaker.packet(160)).unwrap());
        sent.extend(line.pass(MS_20 - late));
    }
    assert!(sent.windows(2).all(|pair| pair[1].at - pair[0].at == MS_20));
    let mut before: Option<Vec<u8>> = None;
    for packet in sent.iter().skip_while(|packet| packet.header.payload_type.value() != 63) {
        let red = RedPayload::parse(&packet.payload).unwrap();
        let copy = red.redundant().next().unwrap();
        assert_eq!(copy.timestamp_offset, 960);
        assert!(before.as_deref().is_none_or(|before| before == copy.payload));
        before = Some(red.payload.to_vec());
    }
    assert!(before.is_some());
}

/// A format whose first object is no flat one.
fn paced_red(format: &str) -> String {
    let mut format: serde_json::Value = serde_json::from_str(format).unwrap();
    format["send"]["playout"] =
        serde_json::json!({"kind": "paced", "least_ms": 20, "most_ms": 200});
    format.to_string()
}
