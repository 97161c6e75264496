//! A far end that sends from elsewhere than it said: never silent without a word, and heard where the
//! controller allows it.

use std::net::SocketAddr;

use super::*;
use crate::control::message::{Source, SourcePrefixes};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A call whose leg b may learn its far end's address within these prefixes.
fn line_within(prefixes: &[&str]) -> Line {
    let mut b = new_leg(Side::B, PCMU);
    let Transport::Plain(plain) = &mut b.parameters.transport else { panic!("not plain") };
    let prefixes: Vec<_> = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    plain.source = Source::Within(SourcePrefixes { prefixes });
    Line::of_legs([new_leg(Side::A, OPUS), b])
}

fn strangers(line: &Line) -> Vec<&Event> {
    line.events.iter().filter(|event| matches!(event, Event::UnknownSource { .. })).collect()
}

fn learnt(line: &Line) -> Vec<SocketAddr> {
    let remotes = line.events.iter().filter_map(|event| match event {
        Event::SourceLearnt { remote, .. } => Some(*remote),
        _ => None,
    });
    remotes.collect()
}

/// The far end of leg b speaks from there; how many of its packets left by leg a.
fn speak_from(line: &mut Line, from: SocketAddr, speaker: &mut Speaker, packets: usize) -> usize {
    let mut heard = 0;
    for _ in 0..packets {
        let sent = line.hear_from(from, Side::B, &speaker.packet(160)).unwrap_or_default();
        heard += sent.iter().filter(|sent| sent.socket == 0).count();
        heard += line.pass(MS_20).iter().filter(|sent| sent.socket == 0).count();
    }
    heard
}

/// Where leg b's far end is sent to.
fn sent_to(line: &mut Line) -> SocketAddr {
    let mut browser = Speaker::new(&line.arena, 111);
    browser.header.ssrc = Ssrc(0xB000 + line.statistics(Side::A).packets_received as u32);
    let sent = line.hear(Side::A, &browser.packet(160)).unwrap();
    line.pass(MS_20);
    sent.iter().find(|sent| sent.socket == 2).unwrap().to
}

#[test]
fn by_default_another_address_is_refused_counted_and_told_with_what_was_expected() {
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&line.arena, 0);
    for elsewhere in ["198.51.100.7:20004", "198.51.100.8:20002", "203.0.113.1:20002"] {
        assert_eq!(speak_from(&mut line, at(elsewhere), &mut speaker, 600), 0);
    }
    assert_eq!(line.statistics(Side::B).discards.of(Discard::UnknownSource), 3 * 600);
    // Once in ten seconds of 36.
    let told = strangers(&line);
    assert_eq!(told.len(), 4);
    let expected = Some(theirs(2));
    let from = at("198.51.100.7:20004");
    let event = Event::UnknownSource { call: "call".into(), leg: Side::B, from, expected };
    assert_eq!(*told[0], event);
    assert!(learnt(&line).is_empty());
    assert_eq!(sent_to(&mut line), theirs(2));
    // Who was named is heard all the same.
    assert_eq!(speak_from(&mut line, theirs(2), &mut speaker, 10), 10);
}

#[test]
fn an_address_within_the_prefix_is_learnt_after_five_packets_in_sequence() {
    let mut line = line_within(&["198.51.100.0/24"]);
    let mut speaker = Speaker::new(&line.arena, 0);
    let elsewhere = at("198.51.100.99:31000");
    assert_eq!(sent_to(&mut line), theirs(2));
    assert_eq!(speak_from(&mut line, elsewhere, &mut speaker, 4), 0);
    assert_eq!(line.statistics(Side::B).discards.of(Discard::UnknownSource), 4);
    assert_eq!(speak_from(&mut line, elsewhere, &mut speaker, 96), 96);
    assert_eq!(learnt(&line), [elsewhere]);
    assert_eq!(sent_to(&mut line), elsewhere, "both directions");
    assert_eq!(line.statistics(Side::B).remote, Some(elsewhere));
    assert!(line.has_told(&Event::MediaStarted { call: "call".into(), leg: Side::B }));
}

#[test]
fn what_is_no_stream_proves_no_address() {
    let mut line = line_within(&["198.51.100.0/24"]);
    let mut speaker = Speaker::new(&line.arena, 0);
    let elsewhere = at("198.51.100.99:31000");
    for n in 0..100_u16 {
        let header = &mut speaker.header;
        match n % 4 {
            // Numbers with holes, sources that change, a type that nobody negotiated.
            0 => header.sequence_number = SequenceNumber(n * 300),
            1 => header.ssrc = Ssrc(n.into()),
            2 => header.payload_type = PayloadType::new(96).unwrap(),
            _ => header.payload_type = PayloadType::PCMU,
        }
        let packet = speaker.raw(&[0x55; 160]);
        line.hear_from(elsewhere, Side::B, &packet).unwrap_err();
        speaker.pass(160);
    }
    assert!(learnt(&line).is_empty());
    assert_eq!(sent_to(&mut line), theirs(2));
}

#[test]
fn an_address_outside_the_prefixes_is_never_learnt() {
    let mut line = line_within(&["198.51.100.0/25", "2001:db8::/32"]);
    let mut speaker = Speaker::new(&line.arena, 0);
    assert_eq!(speak_from(&mut line, at("198.51.100.200:20002"), &mut speaker, 100), 0);
    assert!(learnt(&line).is_empty() && !strangers(&line).is_empty());
}

#[test]
fn what_was_learnt_stays_and_the_named_one_takes_nothing_back() {
    let mut line = line_within(&["198.51.100.0/24"]);
    let mut speaker = Speaker::new(&line.arena, 0);
    let (found, other) = (at("198.51.100.99:31000"), at("198.51.100.98:31000"));
    speak_from(&mut line, found, &mut speaker, 20);
    let mut attacker = Speaker::new(&line.arena, 0);
    attacker.header.ssrc = Ssrc(0xBAD);
    assert_eq!(speak_from(&mut line, other, &mut attacker, 50), 0);
    assert_eq!(speak_from(&mut line, theirs(2), &mut attacker, 50), 0);
    assert_eq!((learnt(&line), sent_to(&mut line)), (vec![found], found));
    // Until the far end is named anew.
    let change = LegChange { remote: Some(theirs(2)), ..LegChange::default() };
    line.update(Side::B, change).unwrap();
    assert_eq!(sent_to(&mut line), found);
    let received = line.statistics(Side::B).packets_received;
    speak_from(&mut line, other, &mut speaker, 5);
    assert_eq!(line.statistics(Side::B).packets_received, received + 1);
    assert_eq!(learnt(&line), [found, other]);
}

#[test]
fn nothing_is_learnt_once_the_named_one_was_heard() {
    let mut line = line_within(&["198.51.100.0/24"]);
    let mut speaker = Speaker::new(&line.arena, 0);
    assert_eq!(speak_from(&mut line, theirs(2), &mut speaker, 1), 1);
    let mut attacker = Speaker::new(&line.arena, 0);
    attacker.header.ssrc = Ssrc(0xBAD);
    assert_eq!(speak_from(&mut line, at("198.51.100.99:31000"), &mut attacker, 100), 0);
    assert!(learnt(&line).is_empty());
    assert_eq!(sent_to(&mut line), theirs(2));
}

#[test]
fn reports_follow_to_where_the_far_end_was_found() {
    let mut line = line_within(&["198.51.100.0/24"]);
    let mut speaker = Speaker::new(&line.arena, 0);
    let elsewhere = at("198.51.100.99:31000");
    speak_from(&mut line, elsewhere, &mut speaker, 10);
    let reported_to = |line: &mut Line| {
        line.rtcp_to.clear();
        line.pass(Duration::from_secs(8));
        line.rtcp_to.iter().rev().find(|(socket, _)| *socket == 3).unwrap().1
    };
    assert_eq!(reported_to(&mut line), at("198.51.100.99:31001"), "one port up");
    // Its RTCP comes from a port of its own.
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    let rtcp = at("198.51.100.99:40000");
    assert_eq!(line.hear_rtcp_from(rtcp, Side::B, &report), None);
    assert_eq!(reported_to(&mut line), rtcp);
    // Another host's does not count.
    let other = at("198.51.100.98:40000");
    assert_eq!(line.hear_rtcp_from(other, Side::B, &report), Some(Discard::UnknownSource));
    assert_eq!(reported_to(&mut line), rtcp);
}

#[test]
fn the_far_ends_rtcp_is_named_anew_without_its_rtp() {
    let mut line = Line::new(OPUS, PCMU);
    let rtcp = at("198.51.100.200:9");
    let change = LegChange { remote_rtcp: Some(rtcp), ..LegChange::default() };
    line.update(Side::B, change).unwrap();
    assert_eq!(sent_to(&mut line), theirs(2));
    line.rtcp_to.clear();
    line.pass(Duration::from_secs(8));
    let to: Vec<_> = line.rtcp_to.iter().filter(|(socket, _)| *socket == 3).collect();
    assert!(!to.is_empty() && to.iter().all(|(_, to)| *to == rtcp), "{to:?}");
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    assert_eq!(line.hear_rtcp_from(rtcp, Side::B, &report), None);
    assert_eq!(line.hear_rtcp_from(theirs(3), Side::B, &report), Some(Discard::UnknownSource));
}

#[test]
fn rtcp_from_elsewhere_is_told_with_the_rtcp_address_that_was_expected() {
    let mut line = Line::new(OPUS, PCMU);
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    let from = at("198.51.100.7:20002");
    assert_eq!(line.hear_rtcp_from(from, Side::B, &report), Some(Discard::UnknownSource));
    line.sent();
    let expected = Some(theirs(3));
    let event = Event::UnknownSource { call: "call".into(), leg: Side::B, from, expected };
    assert_eq!(strangers(&line), [&event]);
    // It does not keep the word of RTP from elsewhere back.
    let mut speaker = Speaker::new(&line.arena, 0);
    speak_from(&mut line, at("198.51.100.7:20004"), &mut speaker, 1);
    assert_eq!(strangers(&line).len(), 2);
}

#[test]
fn nobody_is_heard_before_the_far_end_was_named() {
    let mut b = new_leg(Side::B, PCMU);
    let Transport::Plain(plain) = &mut b.parameters.transport else { panic!("not plain") };
    plain.remote = None;
    plain.source = Source::Within(SourcePrefixes { prefixes: vec!["0.0.0.0/0".parse().unwrap()] });
    let mut line = Line::of_legs([new_leg(Side::A, OPUS), b]);
    let mut speaker = Speaker::new(&line.arena, 0);
    assert_eq!(speak_from(&mut line, theirs(2), &mut speaker, 50), 0);
    assert_eq!(line.statistics(Side::B).discards.of(Discard::UnknownSource), 50);
    let change = LegChange { remote: Some(theirs(2)), ..LegChange::default() };
    line.update(Side::B, change).unwrap();
    assert_eq!(speak_from(&mut line, theirs(2), &mut speaker, 50), 50);
}

#[test]
fn a_far_end_named_as_before_is_sent_to_where_it_was_learnt_until_it_is_elsewhere() {
    let mut line = line_within(&["198.51.100.0/24"]);
    let mut speaker = Speaker::new(&line.arena, 0);
    let [first, second] = ["198.51.100.99:31000", "198.51.100.98:32000"].map(at);
    speak_from(&mut line, first, &mut speaker, 20);
    // A refresh names it as the offer did.
    let change = LegChange { remote: Some(theirs(2)), ..LegChange::default() };
    line.update(Side::B, change.clone()).unwrap();
    assert_eq!(sent_to(&mut line), first);
    assert_eq!(speak_from(&mut line, first, &mut speaker, 20), 20, "not one packet is lost");
    // By the next one it has moved.
    line.update(Side::B, change.clone()).unwrap();
    speak_from(&mut line, second, &mut speaker, 20);
    assert_eq!(sent_to(&mut line), second);
    assert_eq!(learnt(&line), [first, second]);
    // Named otherwise, it is there; and so it is where it may no longer be learnt.
    let moved = LegChange { remote: Some(at("198.51.100.7:20004")), ..LegChange::default() };
    line.update(Side::B, moved).unwrap();
    assert_eq!(sent_to(&mut line), at("198.51.100.7:20004"));
    line.update(Side::B, change.clone()).unwrap();
    speak_from(&mut line, second, &mut speaker, 20);
    assert_eq!(sent_to(&mut line), second);
    line.update(Side::B, LegChange { source: Some(Source::Exact), ..change }).unwrap();
    assert_eq!(sent_to(&mut line), theirs(2));
}
