//! G.711 that becomes G.711 packet by packet is not encoded again: it leaves as it came, or code by code in
//! the other law.

use super::*;

const PCMA: &str = r#"{"send": {"codec": "pcma", "payload_type": 8},
    "receive": [{"codec": "pcma", "payload_type": 8}]}"#;

/// Every code there is.
fn all_codes() -> Vec<u8> {
    (0..=u8::MAX).collect()
}

fn payloads(sent: &[Sent]) -> Vec<Vec<u8>> {
    sent.iter().map(|sent| sent.payload.clone()).collect()
}

#[test]
fn a_packet_of_the_law_and_length_that_is_sent_passes_bit_by_bit() {
    let format = with_packet_ms(PCMU, 30);
    for (format, samples) in [(PCMU, 160), (&format, 240)] {
        let mut line = Line::new(PCMU, format);
        let mut speaker = Speaker::new(&line.arena, 0);
        // Among them both zeros of µ-law, of which encoding knows one.
        let codes: Vec<u8> = all_codes().into_iter().cycle().take(samples).collect();
        for _ in 0..10 {
            let sent = line.hear(Side::A, &speaker.raw(&codes)).unwrap();
            assert_eq!(payloads(&sent), [&codes[..]]);
            speaker.pass(samples);
        }
    }
}

#[test]
fn a_packet_of_the_other_law_becomes_what_decoding_and_encoding_makes_of_it() {
    let mut line = Line::new(PCMU, PCMA);
    let mut speaker = Speaker::new(&line.arena, 0);
    for codes in all_codes().chunks(160) {
        let codes: Vec<u8> = codes.iter().copied().cycle().take(160).collect();
        let (mut pcm, mut expected) = ([0; 160], [0; 160]);
        g711::decode(Law::Mu, &codes, &mut pcm);
        g711::encode(Law::A, &pcm, &mut expected);
        let sent = line.hear(Side::A, &speaker.raw(&codes)).unwrap();
        assert_eq!(payloads(&sent), [expected]);
        speaker.pass(160);
    }
}

#[test]
fn what_follows_a_loss_is_joined_to_what_filled_it_and_then_packets_pass_again() {
    let mut line = Line::new(PCMU, PCMU);
    let mut speaker = Speaker::new(&line.arena, 0);
    let mut passed = Vec::new();
    for n in 0..10 {
        let packet = speaker.packet(160);
        if n == 5 {
            continue;
        }
        let came = RtpPacket::parse(&packet).unwrap().payload.to_vec();
        let mut sent = line.hear(Side::A, &packet).unwrap();
        if n == 6 {
            // The gap is held open, then filled: two packets leave.
            sent.extend(line.pass(Duration::from_millis(100)));
            assert_eq!(sent.len(), 2);
        }
        let left = sent.last().expect("every packet leaves");
        passed.push(left.payload == came);
    }
    let joined = [true, true, true, true, true, false, true, true, true];
    assert_eq!(passed, joined, "only the one behind the gap was touched");
    assert_eq!(line.statistics(Side::A).frames_concealed, 1);
}

#[test]
fn packets_of_another_length_are_assembled_anew() {
    let mut line = Line::new(PCMU, &with_packet_ms(PCMU, 40));
    let mut speaker = Speaker::new(&line.arena, 0);
    let (mut came, mut left) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let packet = speaker.packet(160);
        came.extend_from_slice(RtpPacket::parse(&packet).unwrap().payload);
        for sent in line.hear(Side::A, &packet).unwrap() {
            assert_eq!(sent.payload.len(), 320);
            left.extend(sent.payload);
        }
    }
    let decoded = |codes: &[u8]| {
        let mut pcm = vec![0; codes.len()];
        g711::decode(Law::Mu, codes, &mut pcm);
        pcm
    };
    assert_eq!(decoded(&left), decoded(&came));
}
