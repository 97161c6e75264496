//! Several sources on one leg, as mixers, transfers and forks leave them behind: one of them is heard,
//! and what leaves is one stream on one time line.

use super::*;

/// The ways of a transcoded call, on arrival and paced.
pub(super) fn lines() -> impl Iterator<Item = (Line, Side, u8)> {
    let ways = [(Side::A, 111), (Side::B, 0)];
    ways.into_iter().flat_map(|(side, payload_type)| {
        [
            (Line::new(OPUS, PCMU), side, payload_type),
            (Line::new(&paced(OPUS, 200), &paced(PCMU, 200)), side, payload_type),
        ]
    })
}

/// A format whose packets leave evenly, after 20 ms to `most_ms`.
pub(super) fn paced(format: &str, most_ms: u16) -> String {
    let mut format: serde_json::Value = serde_json::from_str(format).unwrap();
    format["send"]["playout"] =
        serde_json::json!({"kind": "paced", "least_ms": 20, "most_ms": most_ms});
    format.to_string()
}

/// Speakers of this payload type with sources, numbers and clocks of their own.
fn speakers<const N: usize>(line: &Line, payload_type: u8) -> [Speaker; N] {
    std::array::from_fn(|n| {
        let mut speaker = Speaker::new(&line.arena, payload_type);
        speaker.header.ssrc = Ssrc(0xA000 + n as u32);
        speaker.header.sequence_number = SequenceNumber(9_000 * n as u16 + 100);
        speaker.header.timestamp = RtpTimestamp(1_000_000_007 * n as u32);
        speaker
    })
}

/// Every 20 ms, all of the speakers speak that `heard(n)` names, one after the other, and their packets
/// come. What left.
fn converse<const N: usize>(
    line: &mut Line,
    from: Side,
    speakers: &mut [Speaker; N],
    packets: usize,
    heard: impl Fn(usize) -> [bool; N],
) -> Vec<Sent> {
    let mut sent = Vec::new();
    for n in 0..packets {
        for (speaker, speaks) in speakers.iter_mut().zip(heard(n)) {
            let packet = speaker.packet(160);
            if speaks {
                sent.extend(line.hear(from, &packet).unwrap_or_default());
            }
        }
        sent.extend(line.pass(MS_20));
    }
    sent
}

/// One stream: its sequence has no hole, its clock never goes back and is never ahead of the time that
/// passed by more than `ahead` of 8 kHz.
pub(super) fn assert_one_line(sent: &[Sent], ahead: i64) {
    let first = sent.first().expect("something left");
    for pair in sent.windows(2) {
        assert_eq!(pair[1].header.sequence_number, pair[0].header.sequence_number.next());
        assert!(pair[1].header.timestamp.distance(pair[0].header.timestamp) >= 0);
    }
    for packet in sent {
        let clock = if first.socket == 0 { 6 } else { 1 };
        let line = i64::from(packet.header.timestamp.distance(first.header.timestamp)) / clock;
        let passed = (packet.at - first.at).as_micros() as i64 / 125;
        assert!(line <= passed + ahead, "{line} is said after {passed}");
    }
}

#[test]
fn a_new_source_is_heard_and_the_old_one_beside_it_is_not() {
    for beside in [1, 10, 50, 450] {
        for (mut line, from, payload_type) in lines() {
            let mut speakers = speakers::<2>(&line, payload_type);
            let old_until = 50 + beside;
            let sent = converse(&mut line, from, &mut speakers, 500, |n| [n < old_until, n >= 50]);
            assert_one_line(&sent, 160);
            assert!((495..=502).contains(&sent.len()), "{} for 500", sent.len());
            let statistics = line.statistics(from);
            // Within one turn the old one speaks first, and so once more before the new one begins.
            assert_eq!(statistics.discards.of(Discard::OtherSource), beside as u64 - 1);
            assert_eq!(statistics.received.unwrap().ssrc, speakers[1].header.ssrc);
            assert_eq!(statistics.frames_concealed + statistics.frames_recovered, 0);
            assert_eq!(statistics.packets_lost, 0);
        }
    }
}

#[test]
fn an_old_source_is_heard_again_when_the_new_one_has_stopped() {
    for (mut line, from, payload_type) in lines() {
        let mut speakers = speakers::<2>(&line, payload_type);
        let sent =
            converse(&mut line, from, &mut speakers, 300, |n| [true, (50..150).contains(&n)]);
        assert_one_line(&sent, 160);
        assert!((285..=302).contains(&sent.len()), "{}", sent.len());
        let statistics = line.statistics(from);
        assert_eq!(statistics.received.unwrap().ssrc, speakers[0].header.ssrc);
        let passed_over = statistics.discards.of(Discard::OtherSource);
        assert!((99..=104).contains(&passed_over), "{passed_over}");
    }
}

#[test]
fn a_stray_packet_of_another_source_costs_three_packets_at_most() {
    for (mut line, from, payload_type) in lines() {
        let mut speakers = speakers::<2>(&line, payload_type);
        let sent = converse(&mut line, from, &mut speakers, 500, |n| [true, n % 100 == 50]);
        assert_one_line(&sent, 160);
        let statistics = line.statistics(from);
        assert_eq!(statistics.received.unwrap().ssrc, speakers[0].header.ssrc);
        // Once a source is known, a packet of it beside another one's is a stray.
        let passed_over = statistics.discards.of(Discard::OtherSource);
        assert!((6..=7).contains(&passed_over), "{passed_over}");
        assert!(statistics.packets_received >= 493, "{}", statistics.packets_received);
    }
}

#[test]
fn sources_that_alternate_are_one_stream_of_no_more_than_the_time_that_passes() {
    for (mut line, from, payload_type) in lines() {
        let mut speakers = speakers::<3>(&line, payload_type);
        let sent = converse(&mut line, from, &mut speakers, 600, |n| {
            std::array::from_fn(|speaker| n % 3 == speaker)
        });
        assert_one_line(&sent, 160);
        let statistics = line.statistics(from);
        assert!(statistics.packets_received + 3 >= 600 / 3, "{}", statistics.packets_received);
        // Then one of them goes on alone.
        let sent = converse(&mut line, from, &mut speakers, 100, |_| [true, false, false]);
        assert!(sent.len() >= 95, "{}", sent.len());
        assert_one_line(&sent, 160);
    }
}

#[test]
fn sources_that_take_turns_are_all_heard() {
    for (mut line, from, payload_type) in lines() {
        let mut speakers = speakers::<3>(&line, payload_type);
        let sent = converse(&mut line, from, &mut speakers, 600, |n| {
            std::array::from_fn(|speaker| n / 50 % 3 == speaker)
        });
        assert_one_line(&sent, 160);
        // Three packets at each of the turns that bring a known source back.
        let passed_over = line.statistics(from).discards.of(Discard::OtherSource);
        assert!(passed_over <= 3 * 9, "{passed_over}");
        assert!(sent.len() >= 570, "{}", sent.len());
    }
}

#[test]
fn strays_of_ever_new_sources_leave_the_stream_audible() {
    for (mut line, from, payload_type) in lines() {
        let mut speakers = speakers::<2>(&line, payload_type);
        let mut sent = Vec::new();
        for n in 0..500 {
            sent.extend(line.hear(from, &speakers[0].packet(160)).unwrap_or_default());
            if n % 4 == 3 {
                speakers[1].header.ssrc = Ssrc(0xB000 + n);
                sent.extend(line.hear(from, &speakers[1].packet(160)).unwrap_or_default());
            }
            sent.extend(line.pass(MS_20));
        }
        assert_one_line(&sent, 160);
        let heard = line.statistics(from).packets_received;
        assert!(heard >= 500 / 3, "{heard} of 500");
    }
}

#[test]
fn a_source_that_said_that_it_pauses_keeps_its_place() {
    let with_noise =
        PCMU.replacen("\"send_events\"", "\"receive_comfort_noise\": [13], \"send_events\"", 1);
    let mut line = Line::new(OPUS, &with_noise);
    let mut speakers = speakers::<2>(&line, 0);
    for n in 0..300 {
        let old = speakers[0].packet(160);
        line.hear(Side::B, &old).unwrap_or_default();
        let new = speakers[1].packet(160);
        // From 50 on it speaks for a second and is silent for one, of which it says 200 ms apart.
        match (n, n % 100) {
            (0..50, _) => {}
            (_, 50..) => drop(line.hear(Side::B, &new).unwrap()),
            (_, pauses) if pauses % 10 == 0 => {
                let mut noise = RtpPacket::parse(&new).unwrap().header;
                noise.payload_type = PayloadType::new(13).unwrap();
                let mut packet = vec![0; 12];
                noise.write(packet.first_chunk_mut().unwrap());
                packet.push(60);
                line.hear(Side::B, &packet).unwrap();
            }
            // Nothing is sent, and no number is used.
            _ => {
                let number = &mut speakers[1].header.sequence_number;
                *number = SequenceNumber(number.0.wrapping_sub(1));
            }
        }
        line.pass(MS_20);
    }
    let statistics = line.statistics(Side::B);
    assert_eq!(statistics.received.unwrap().ssrc, speakers[1].header.ssrc);
    assert_eq!(statistics.discards.of(Discard::OtherSource), 249);
}
