//! RED (RFC 2198) through the packet line, both ways.

use super::*;
use crate::wire::red::{self, RedPayload, RedundantBlock};
use crate::wire::telephone_event::DigitTime;

const OPUS_RED: &str = r#"{"send": {"codec": "opus", "payload_type": 111, "redundancy": {"payload_type": 63}},
    "receive": [{"codec": "opus", "payload_type": 111}], "receive_redundancy": [63],
    "send_events": {"payload_type": 110, "clock_hz": 48000},
    "receive_events": [{"payload_type": 110, "clock_hz": 48000}]}"#;

fn number(value: u8) -> PayloadType {
    PayloadType::new(value).unwrap()
}

/// A far end that repeats the last packets of a speaker's in each one it sends.
pub(super) struct Repeater {
    speaker: Speaker,
    before: Vec<(RtpHeader, Vec<u8>)>,
    copies: usize,
}

impl Repeater {
    pub(super) fn new(exchange: &Exchange, copies: usize) -> Self {
        Self { speaker: Speaker::new(&exchange.arena, 111), before: Vec::new(), copies }
    }

    pub(super) fn packet(&mut self) -> Vec<u8> {
        let plain = self.speaker.packet(160);
        let packet = RtpPacket::parse(&plain).unwrap();
        let header = packet.header;
        let oldest = self.before.len().saturating_sub(self.copies);
        let blocks: Vec<_> = self.before[oldest..]
            .iter()
            .map(|(before, payload)| RedundantBlock {
                payload_type: header.payload_type,
                timestamp_offset: header.timestamp.distance(before.timestamp) as u32,
                payload,
            })
            .collect();
        let mut payload = vec![0; 1_400];
        let begin = red::write(&mut payload, &blocks, header.payload_type).unwrap();
        payload.truncate(begin);
        payload.extend_from_slice(packet.payload);
        self.before.push((header, packet.payload.to_vec()));
        datagram(RtpHeader { payload_type: number(63), ..header }, &payload)
    }
}

fn datagram(header: RtpHeader, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 12];
    header.write(packet.first_chunk_mut().unwrap());
    packet.extend_from_slice(payload);
    packet
}

/// Lets a leg hear `packets` packets of RED, all but those that `lost` names, 20 ms apart.
fn hear_with_loss(
    exchange: &mut Exchange,
    repeater: &mut Repeater,
    packets: usize,
    lost: impl Fn(usize) -> bool,
) -> Vec<Sent> {
    let mut sent = Vec::new();
    for place in 0..packets {
        let packet = repeater.packet();
        if !lost(place) {
            sent.extend(exchange.hear(Side::A, &packet).unwrap());
        }
        sent.extend(exchange.pass(MS_20));
    }
    sent
}

#[test]
fn a_lost_packet_comes_with_the_next_and_nothing_is_concealed() {
    for (copies, run) in [(1, 1), (2, 2), (4, 3)] {
        let mut exchange = Exchange::new(OPUS_RED, PCMU);
        let mut repeater = Repeater::new(&exchange, copies);
        let mut listener = Listener::new(&exchange.arena);
        let lost = |place: usize| place % 10 > 9 - run;
        let sent = hear_with_loss(&mut exchange, &mut repeater, 201, lost);
        assert_eq!(sent.len(), 201);
        listener.listen(&sent);
        assert!(listener.tone_share() > 0.98, "{}", listener.tone_share());
        let heard = exchange.statistics(Side::A);
        assert_eq!(heard.packets_recovered, 20 * run as u64);
        assert_eq!((heard.frames_recovered, heard.frames_concealed), (0, 0));
        // The network lost them all the same, and copies of what came are no duplicates.
        assert_eq!(heard.packets_lost, 20 * run as i64);
        assert!(heard.discards.is_empty(), "{:?}", heard.discards);
    }
}

#[test]
fn a_loss_longer_than_the_copies_is_filled_up_to_them() {
    let mut exchange = Exchange::new(OPUS_RED, PCMU);
    let mut repeater = Repeater::new(&exchange, 1);
    let mut listener = Listener::new(&exchange.arena);
    let sent = hear_with_loss(&mut exchange, &mut repeater, 101, |place| place % 10 > 6);
    listener.listen(&sent);
    let heard = exchange.statistics(Side::A);
    assert_eq!(heard.packets_recovered, 10);
    assert_eq!(heard.frames_recovered + heard.frames_concealed, 20);
}

#[test]
fn a_browser_may_change_between_red_and_plain_at_any_time() {
    let mut exchange = Exchange::new(OPUS_RED, PCMU);
    let mut repeater = Repeater::new(&exchange, 1);
    let mut listener = Listener::new(&exchange.arena);
    for place in 0..60 {
        let red = repeater.packet();
        let packet = if place % 3 == 0 {
            let (header, payload) = repeater.before.last().unwrap();
            datagram(*header, payload)
        } else {
            red
        };
        listener.listen(&exchange.hear(Side::A, &packet).unwrap());
        listener.listen(&exchange.pass(MS_20));
    }
    assert_eq!(listener.pcm.len(), 60 * 160);
    assert_eq!(exchange.statistics(Side::A).packets_recovered, 0);
}

#[test]
fn red_around_anything_but_audio_is_discarded() {
    let mut exchange = Exchange::new(OPUS_RED, PCMU);
    let mut repeater = Repeater::new(&exchange, 1);
    exchange.hear(Side::A, &repeater.packet()).unwrap();
    let header = RtpHeader { payload_type: number(63), ..repeater.speaker.header };
    for (payload, reason) in [
        (&[][..], Discard::BadRed),
        (&[0x80 | 111, 0, 0, 9, 111, 1, 2], Discard::BadRed),
        (&[63, 111, 1, 2], Discard::UnknownPayloadType), // RED in RED
        (&[110, 5, 10, 0, 160], Discard::UnknownPayloadType), // an event
        (&[77, 1], Discard::UnknownPayloadType),
    ] {
        assert_eq!(exchange.hear(Side::A, &datagram(header, payload)).unwrap_err(), reason);
    }
    // Nobody negotiated it.
    let mut exchange = Exchange::new(OPUS, PCMU);
    let refused = exchange.hear(Side::A, &repeater.packet()).unwrap_err();
    assert_eq!(refused, Discard::UnknownPayloadType);
}

/// Checks that each packet repeats the one before it, and returns them all without their copies.
fn without_copies(sent: Vec<Sent>) -> Vec<Sent> {
    let mut plain: Vec<Sent> = Vec::new();
    for (place, mut packet) in sent.into_iter().enumerate() {
        if place == 0 {
            assert_eq!(packet.header.payload_type, number(111), "there is nothing to repeat");
        } else {
            assert_eq!(packet.header.payload_type, number(63));
            let payload = packet.payload.clone();
            let red = RedPayload::parse(&payload).unwrap();
            let before = &plain[place - 1];
            let expected = RedundantBlock {
                payload_type: number(111),
                timestamp_offset: packet.header.timestamp.distance(before.header.timestamp) as u32,
                payload: &before.payload,
            };
            assert_eq!(red.redundant().collect::<Vec<_>>(), [expected]);
            packet.header.payload_type = red.payload_type;
            packet.payload = red.payload.to_vec();
        }
        plain.push(packet);
    }
    plain
}

#[test]
fn each_packet_to_a_browser_repeats_the_one_before() {
    let mut exchange = Exchange::new(OPUS_RED, PCMU);
    let mut speaker = Speaker::new(&exchange.arena, 0);
    let mut listener = Listener::new(&exchange.arena);
    let mut sent = Vec::new();
    for _ in 0..100 {
        sent.extend(exchange.hear(Side::B, &speaker.packet(160)).unwrap());
        sent.extend(exchange.pass(MS_20));
    }
    listener.listen(&without_copies(sent));
    assert_eq!(listener.pcm.len(), 100 * 160);
    assert!(listener.tone_share() > 0.95);

    // Switched off, packets are plain again.
    exchange.call.legs[0].redundancy.as_mut().unwrap().active = false;
    let sent = exchange.hear(Side::B, &speaker.packet(160)).unwrap();
    assert_eq!(sent[0].header.payload_type, number(111));
}

#[test]
fn redundancy_is_never_put_around_telephone_events() {
    let mut exchange = Exchange::new(OPUS_RED, PCMU);
    let mut speaker = Speaker::new(&exchange.arena, 0);
    let mut sent = exchange.hear(Side::B, &speaker.packet(160)).unwrap();
    let now = exchange.now;
    exchange.call.legs[0].digits.push(digit('5'), DigitTime::clamped_ms(60), now).unwrap();
    for _ in 0..20 {
        sent.extend(exchange.pass(MS_20));
        sent.extend(exchange.hear(Side::B, &speaker.packet(160)).unwrap_or_default());
    }
    let numbers: Vec<_> = sent.iter().map(|packet| packet.header.payload_type.value()).collect();
    let events = numbers.iter().filter(|number| **number == 110).count();
    assert!(events >= 4, "{numbers:?}");
    let after = numbers.iter().rposition(|number| *number == 110).unwrap() + 1;
    assert_eq!(numbers[after..after + 2], [111, 63], "the first after an event has none before it");
}

#[test]
fn between_browsers_each_leg_has_its_own_redundancy() {
    // From a browser that repeats to one that understands it, and to one that does not.
    for (to, repeats) in [(OPUS_RED, true), (OPUS, false)] {
        let mut exchange = Exchange::new(OPUS_RED, to);
        let mut repeater = Repeater::new(&exchange, 1);
        let lost = |place: usize| place % 10 == 9;
        let sent = hear_with_loss(&mut exchange, &mut repeater, 51, lost);
        let plain = if repeats { without_copies(sent) } else { sent };
        let payloads: Vec<_> = plain.iter().map(|packet| packet.payload.clone()).collect();
        let spoken: Vec<_> = repeater.before.iter().map(|(_, payload)| payload.clone()).collect();
        assert_eq!(payloads, spoken, "the gap was closed before the relay");
        Listener::new(&exchange.arena).listen(&plain);
    }
}

#[test]
fn another_format_for_the_other_leg_goes_on_repeating() {
    let mut exchange = Exchange::new(OPUS_RED, PCMU);
    let mut speaker = Speaker::new(&exchange.arena, 0);
    let mut sent = exchange.hear(Side::B, &speaker.packet(160)).unwrap();
    let other = LegFormat::new(&serde_json::from_str(&with_packet_ms(PCMU, 40)).unwrap()).unwrap();
    let arena = exchange.arena.clone();
    exchange.call.set_format(Side::B, other, &arena, Load::NONE).unwrap();
    exchange.pass(MS_20);
    sent.extend(exchange.hear(Side::B, &speaker.packet(160)).unwrap());
    without_copies(sent);

    // A format without it ends it.
    let plain = LegFormat::new(&serde_json::from_str(OPUS).unwrap()).unwrap();
    exchange.call.set_format(Side::A, plain, &arena, Load::NONE).unwrap();
    let sent = exchange.hear(Side::B, &speaker.packet(160)).unwrap();
    assert_eq!(sent[0].header.payload_type, number(111));
}
