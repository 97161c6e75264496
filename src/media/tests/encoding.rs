//! The encoder ladder through the whole line: reports come in, another way of encoding goes out.

use super::*;
use crate::audio::opus::{carries_fec, packet_samples};
use crate::wire::rtcp::{Compound, Presence, ReportBlock};

const OPUS_WITH_RED: &str = r#"{
    "send": {"codec": "opus", "payload_type": 111, "redundancy": {"payload_type": 63}},
    "receive": [{"codec": "opus", "payload_type": 111}], "receive_redundancy": [63]}"#;

/// A leg's far end reports that it lost `fraction_lost` 256ths of what came to it.
fn report(line: &mut Line, ssrc: Ssrc, heard: u32, fraction_lost: u8) {
    let block = ReportBlock {
        ssrc,
        fraction_lost,
        cumulative_lost: 0,
        extended_highest_sequence: heard,
        jitter: 0,
        last_sr: 0,
        delay_since_last_sr: 0,
    };
    let compound = Compound {
        ssrc: Ssrc(7),
        sender: None,
        reports: &[block],
        cname: "far end",
        presence: Presence::Stays,
    };
    let mut datagram = vec![0; 500];
    let length = rtcp::write_compound(&mut datagram, &compound).unwrap();
    line.hear_rtcp(Side::A, &datagram[..length]);
}

/// Speech from the trunk for some seconds, each of which ends with the browser's report.
fn speak(line: &mut Line, speaker: &mut Speaker, seconds: u32, fraction_lost: u8) -> Vec<Sent> {
    let mut sent = Vec::new();
    for _ in 0..seconds {
        for _ in 0..50 {
            sent.extend(line.hear(Side::B, &speaker.packet(160)).unwrap());
            sent.extend(line.pass(MS_20));
        }
        let last: &Sent = sent.last().unwrap();
        let (ssrc, heard) = (last.header.ssrc, u32::from(last.header.sequence_number.0));
        report(line, ssrc, heard, fraction_lost);
    }
    sent
}

fn speaker(line: &Line) -> Speaker {
    let mut speaker = Speaker::new(&line.arena, 0);
    speaker.speech = Some(crate::audio::synthetic::speech(3 * 8_000));
    speaker
}

fn rung(line: &Line) -> Option<String> {
    line.statistics(Side::A).encoder
}

#[test]
fn without_red_a_call_has_fec_that_the_far_end_can_use() {
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = speaker(&line);
    let sent = speak(&mut line, &mut speaker, 3, 0);
    assert_eq!(rung(&line).as_deref(), Some("silk_48k_fec"));
    assert!(sent.iter().filter(|packet| carries_fec(&packet.payload)).count() > sent.len() / 2);
}

#[test]
fn red_is_sent_until_the_path_is_proven_clean_and_again_when_it_loses() {
    let mut line = Line::new(OPUS_WITH_RED, PCMU);
    let mut speaker = speaker(&line);
    let share_of_red = |sent: &[Sent]| {
        let red = sent.iter().filter(|packet| packet.header.payload_type.value() == 63).count();
        red as f64 / sent.len() as f64
    };
    let begin = speak(&mut line, &mut speaker, 5, 0);
    assert_eq!(rung(&line).as_deref(), Some("celt_48k_red"));
    assert!(share_of_red(&begin) > 0.98);

    speak(&mut line, &mut speaker, 20, 0);
    assert_eq!(rung(&line).as_deref(), Some("celt_48k"));
    assert_eq!(share_of_red(&speak(&mut line, &mut speaker, 5, 0)), 0.0);

    speak(&mut line, &mut speaker, 1, 5);
    assert!(share_of_red(&speak(&mut line, &mut speaker, 5, 5)) > 0.98);
    assert_eq!(rung(&line).as_deref(), Some("celt_48k_red"));
}

#[test]
fn a_change_of_rung_leaves_the_sequence_and_the_time_line_whole() {
    let mut line = Line::new(OPUS_WITH_RED, PCMU);
    let mut speaker = speaker(&line);
    let mut sent = speak(&mut line, &mut speaker, 2, 0);
    for fraction_lost in [0, 40, 3, 200] {
        sent.extend(speak(&mut line, &mut speaker, 25, fraction_lost));
    }
    let configurations: std::collections::HashSet<u8> = sent
        .iter()
        .filter(|packet| packet.header.payload_type.value() == 111)
        .map(|packet| packet.payload[0] >> 3)
        .collect();
    assert!(!configurations.is_empty());
    for pair in sent.windows(2) {
        assert_eq!(pair[1].header.sequence_number, pair[0].header.sequence_number.next());
        assert_eq!(pair[1].header.timestamp.distance(pair[0].header.timestamp), 960);
    }
}

#[test]
fn settings_that_the_controller_fixed_stay() {
    let format = OPUS.replacen(
        r#""payload_type": 111}"#,
        r#""payload_type": 111, "encoder": {"mode": "celt", "bit_rate": 32000}}"#,
        1,
    );
    let mut line = Line::new(&format, PCMU);
    let mut speaker = speaker(&line);
    let sent = speak(&mut line, &mut speaker, 3, 50);
    assert_eq!(rung(&line).as_deref(), Some("fixed"));
    let bytes: usize = sent.iter().map(|packet| packet.payload.len()).sum();
    assert!((8 * bytes / 3).abs_diff(32_000) < 8_000, "{bytes}");
    assert!(sent.iter().all(|packet| packet_samples(&packet.payload) == Ok(160)));
    assert!(sent.iter().all(|packet| packet.payload[0] >> 3 >= 16));
}

#[test]
fn a_leg_that_is_sent_g711_or_what_passes_unchanged_has_no_rung() {
    let line = Line::new(OPUS, PCMU);
    assert_eq!(line.statistics(Side::B).encoder, None);
    assert_eq!(rung(&Line::new(OPUS, OPUS)), None);
}
