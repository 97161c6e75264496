//! Numbers, clocks and gaps that a network or a sender gets wrong: what is said is heard.

use super::sources::{assert_one_line, lines, paced};
use super::*;

/// Packets of 20 ms, every 20 ms, before each of which `change` may do something to the header.
pub(super) fn speak(
    line: &mut Line,
    from: Side,
    speaker: &mut Speaker,
    packets: usize,
    mut change: impl FnMut(usize, &mut RtpHeader),
) -> Vec<Sent> {
    let mut sent = Vec::new();
    for n in 0..packets {
        change(n, &mut speaker.header);
        sent.extend(line.hear(from, &speaker.packet(160)).unwrap_or_default());
        sent.extend(line.pass(MS_20));
    }
    sent
}

#[test]
fn a_sequence_that_steps_while_the_clock_goes_on_is_heard_at_once() {
    for step in [-1_i32, -2, -20, -50, -99, -100, -101, -1_000, -30_000, 1_500, 20_000, 32_768] {
        for (mut line, from, payload_type) in lines() {
            let mut speaker = Speaker::new(&line.arena, payload_type);
            let sent = speak(&mut line, from, &mut speaker, 300, |n, header| {
                if n == 100 {
                    let number = i32::from(header.sequence_number.0) + step;
                    header.sequence_number = SequenceNumber(number as u16);
                }
            });
            assert_one_line(&sent, 160);
            assert!((294..=302).contains(&sent.len()), "{step}: {}", sent.len());
            let discards = line.statistics(from).discards;
            assert!(discards.total() <= 2, "{step}: {discards:?}");
        }
    }
}

#[test]
fn a_clock_that_steps_while_the_sequence_goes_on_is_heard_at_once() {
    for step in [-48_000_i64, -480_000, -2_000_000_000, 2_000_000_000, 4_800_000] {
        for (mut line, from, payload_type) in lines() {
            let mut speaker = Speaker::new(&line.arena, payload_type);
            let sent = speak(&mut line, from, &mut speaker, 300, |n, header| {
                if n == 100 {
                    header.timestamp = header.timestamp + step as u32;
                }
            });
            assert_one_line(&sent, 160);
            assert!((294..=302).contains(&sent.len()), "{step}: {}", sent.len());
        }
    }
}

#[test]
fn numbers_and_clock_that_both_begin_anew_are_heard_after_two_packets() {
    for (mut line, from, payload_type) in lines() {
        let mut speaker = Speaker::new(&line.arena, payload_type);
        let sent = speak(&mut line, from, &mut speaker, 300, |n, header| {
            if n % 100 == 50 {
                header.sequence_number = SequenceNumber(n as u16 * 7);
                header.timestamp = RtpTimestamp(n as u32 * 1_000_003);
            }
        });
        assert_one_line(&sent, 160);
        assert!((288..=302).contains(&sent.len()), "{}", sent.len());
        let discards = line.statistics(from).discards;
        assert!(discards.of(Discard::SequenceJump) <= 3, "{discards:?}");
        assert_eq!(discards.total(), discards.of(Discard::SequenceJump));
    }
}

#[test]
fn a_payload_type_that_nobody_negotiated_is_neither_a_loss_nor_a_delay() {
    for number in [13, 19, 96] {
        for (side, payload_type) in [(Side::A, 111), (Side::B, 0)] {
            let mut line = Line::new(OPUS, PCMU);
            let mut speaker = Speaker::new(&line.arena, payload_type);
            let known = speaker.header.payload_type;
            for n in 0..300 {
                if n % 10 == 5 {
                    speaker.header.payload_type = PayloadType::new(number).unwrap();
                    let refused = line.hear(side, &speaker.raw(&[60])).unwrap_err();
                    assert_eq!(refused, Discard::UnknownPayloadType);
                    speaker.header.payload_type = known;
                    speaker.pass(0);
                }
                let sent = line.hear(side, &speaker.packet(160)).unwrap();
                assert_eq!(sent.len(), 1, "it leaves at once");
                assert!(line.pass(MS_20).is_empty());
            }
            let statistics = line.statistics(side);
            assert_eq!(statistics.packets_lost, 0);
            assert_eq!(statistics.frames_concealed + statistics.frames_recovered, 0);
            let reports = reports_of(&line, side, speaker.header.ssrc);
            assert!(!reports.is_empty() && reports.iter().all(|report| *report == (0, 0)));
        }
    }
}

/// What our reports say of a source: the fraction lost, and how many in all.
fn reports_of(line: &Line, side: Side, ssrc: Ssrc) -> Vec<(u8, i32)> {
    let mut found = Vec::new();
    for (_, compound) in line.rtcp.iter().filter(|(socket, _)| *socket == 2 * side.index() + 1) {
        for packet in rtcp::parse(compound).unwrap() {
            let (RtcpPacket::SenderReport { reports, .. }
            | RtcpPacket::ReceiverReport { reports, .. }) = packet
            else {
                continue;
            };
            let of_it = reports.filter(|block| block.ssrc == ssrc);
            found.extend(of_it.map(|block| (block.fraction_lost, block.cumulative_lost)));
        }
    }
    found
}

#[test]
fn a_payload_type_that_nobody_negotiated_leaves_a_paced_stream_even() {
    for (side, payload_type) in [(Side::A, 111), (Side::B, 0)] {
        let mut line = Line::new(&paced(OPUS, 200), &paced(PCMU, 200));
        let mut speaker = Speaker::new(&line.arena, payload_type);
        let known = speaker.header.payload_type;
        let mut sent = Vec::new();
        for n in 0..300 {
            if n % 10 == 5 {
                speaker.header.payload_type = PayloadType::new(96).unwrap();
                line.hear(side, &speaker.raw(&[60])).unwrap_err();
                speaker.header.payload_type = known;
                speaker.pass(0);
            }
            sent.extend(line.hear(side, &speaker.packet(160)).unwrap());
            sent.extend(line.pass(MS_20));
        }
        let statistics = line.statistics(side);
        assert_eq!(statistics.packets_lost, 0);
        assert_eq!(statistics.frames_concealed + statistics.frames_recovered, 0);
        assert!(sent.windows(2).all(|pair| pair[1].at - pair[0].at == MS_20));
    }
}

#[test]
fn a_loss_with_an_empty_packet_after_it_is_concealed() {
    for (mut line, from, payload_type) in lines() {
        let mut speaker = Speaker::new(&line.arena, payload_type);
        let mut sent = Vec::new();
        for n in 0..300 {
            let packet = speaker.packet(160);
            if n % 25 == 20 && n < 270 {
                // Lost; then what keeps a NAT binding alive: a header.
                let empty = speaker.raw(&[]);
                sent.extend(line.hear(from, &empty).unwrap());
                speaker.pass(0);
            } else {
                sent.extend(line.hear(from, &packet).unwrap());
            }
            sent.extend(line.pass(MS_20));
        }
        let statistics = line.statistics(from);
        assert_eq!(statistics.packets_lost, 10, "the empty ones came");
        assert_eq!(statistics.frames_concealed + statistics.frames_recovered, 10);
        assert_one_line(&sent, 160);
        assert!((299..=302).contains(&sent.len()), "{}", sent.len());
        let mut listener = Listener::new(&line.arena);
        listener.listen(&sent);
        // What is rebuilt is not a hole.
        let quiet = listener.pcm[80 * 160..].chunks(80).filter(|part| is_quiet(part)).count();
        assert_eq!(quiet, 0);
    }
}

fn is_quiet(pcm: &[i16]) -> bool {
    pcm.iter().all(|sample| sample.unsigned_abs() < 600)
}

#[test]
fn opus_of_any_length_is_heard_through_paced_playout() {
    for padding in [0_usize, 400, 480, 700, 1_100] {
        let mut line = Line::new(OPUS, &paced(PCMU, 120));
        let mut speaker = Speaker::new(&line.arena, 111);
        let mut listener = Listener::new(&line.arena);
        for _ in 0..200 {
            let packet = speaker.packet(160);
            let RtpPacket { header, payload, .. } = RtpPacket::parse(&packet).unwrap();
            speaker.header.sequence_number = header.sequence_number;
            let next = std::mem::replace(&mut speaker.header.timestamp, header.timestamp);
            // One frame and padding: code 3 (RFC 6716 §3.2.5).
            let mut padded = vec![payload[0] | 3, 0x41];
            padded.extend(std::iter::repeat_n(255, padding / 254));
            padded.push((padding % 254) as u8);
            padded.extend_from_slice(&payload[1..]);
            padded.extend(std::iter::repeat_n(0, padding));
            listener.listen(&line.hear(Side::A, &speaker.raw(&padded)).unwrap());
            speaker.header.sequence_number = header.sequence_number.next();
            speaker.header.timestamp = next;
            listener.listen(&line.pass(MS_20));
        }
        assert!(listener.tone_share() > 0.9, "{padding}: {}", listener.tone_share());
        assert_eq!(line.statistics(Side::A).discards.total(), 0);
    }
}

#[test]
fn opus_of_60_ms_at_its_highest_rate_is_heard_through_paced_playout() {
    let mut line = Line::new(OPUS, &paced(PCMU, 120));
    let mut speaker = Speaker::new(&line.arena, 111);
    let settings = EncoderSettings { bit_rate: 128_000, ..EncoderSettings::default() };
    speaker.encoder = Some(line.arena.encoder(settings).unwrap());
    // What has most to say: noise.
    let mut noise = random::from_seed(5);
    let noise = std::iter::repeat_with(|| rand::RngExt::random_range(&mut noise, -9_000..9_000));
    speaker.speech = Some(noise.take(80_000).collect());
    let (mut longest, mut sent) = (0, Vec::new());
    for _ in 0..100 {
        let packet = speaker.packet(480);
        longest = longest.max(packet.len() - 12);
        sent.extend(line.hear(Side::A, &packet).unwrap());
        sent.extend(line.pass(MS_20 * 3));
    }
    assert!(longest > 480, "{longest}");
    let mut listener = Listener::new(&line.arena);
    listener.listen(&sent);
    let quiet = listener.pcm[8_000..].chunks(160).filter(|part| is_quiet(part)).count();
    assert_eq!(quiet, 0);
}

/// For how long nothing is heard from the `n`th packet sent on, in packets.
fn quiet_packets(line: &Line, sent: &[Sent], from: usize) -> usize {
    let mut listener = Listener::new(&line.arena);
    listener.listen(sent);
    listener.pcm[from * 160..].chunks(160).filter(|part| is_quiet(part)).count()
}

#[test]
fn a_path_that_is_longer_for_good_costs_a_paced_stream_one_gap() {
    for (side, payload_type) in [(Side::A, 111), (Side::B, 0)] {
        for most_ms in [60, 120, 200] {
            for later_ms in [100, 150, 250, 400] {
                let mut line = Line::new(&paced(OPUS, most_ms), &paced(PCMU, most_ms));
                let mut speaker = Speaker::new(&line.arena, payload_type);
                let mut sent = speak(&mut line, side, &mut speaker, 100, |_, _| {});
                let heard = sent.len();
                sent.extend(line.pass(Duration::from_millis(later_ms)));
                sent.extend(speak(&mut line, side, &mut speaker, 400, |_, _| {}));
                assert_one_line(&sent, 160);
                let quiet = quiet_packets(&line, &sent, heard) as u64 * 20;
                let bound = later_ms + u64::from(most_ms) + 100;
                assert!(quiet <= bound, "{most_ms} {later_ms}: {quiet} ms of silence");
                let playout = line.statistics(side.other()).playout.unwrap();
                assert!(playout.delay_ms <= u32::from(most_ms) + 20, "{playout:?}");
                // Nothing is left out for good.
                assert!(playout.dropped_ms <= later_ms + 100, "{playout:?}");
            }
        }
    }
}

#[test]
fn a_clock_that_stood_still_in_a_pause_costs_a_paced_stream_that_pause_only() {
    for (side, payload_type) in [(Side::A, 111), (Side::B, 0)] {
        for most_ms in [120, 200] {
            for pause_ms in [150_u64, 400, 1_000, 5_000] {
                let mut line = Line::new(&paced(OPUS, most_ms), &paced(PCMU, most_ms));
                let mut speaker = Speaker::new(&line.arena, payload_type);
                let mut sent = Vec::new();
                for _ in 0..3 {
                    sent.extend(speak(&mut line, side, &mut speaker, 100, |_, _| {}));
                    sent.extend(line.pass(Duration::from_millis(pause_ms)));
                }
                let heard = sent.len();
                sent.extend(speak(&mut line, side, &mut speaker, 200, |_, _| {}));
                let quiet = quiet_packets(&line, &sent, heard) as u64 * 20;
                assert!(quiet <= u64::from(most_ms) + 100, "{most_ms} {pause_ms}: {quiet} ms");
                assert_one_line(&sent, 160);
            }
        }
    }
}
