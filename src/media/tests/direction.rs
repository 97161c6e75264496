//! Which way audio goes (RFC 3264 §5.1): what is not wanted is not heard and not sent, and what follows
//! goes on where it would be.

use super::order::speak;
use super::sources::{assert_one_line, paced};
use super::*;
use crate::control::message::{ErrorCode, MediaTimeout};

fn minutes_of_rtcp(line: &mut Line, socket: usize) -> usize {
    line.rtcp.clear();
    line.pass(Duration::from_secs(60));
    line.rtcp.iter().filter(|(from, _)| *from == socket).count()
}

#[test]
fn each_direction_lets_through_what_it_says() {
    for (direction, heard, sent) in [
        (Direction::SendRecv, true, true),
        (Direction::SendOnly, false, true),
        (Direction::RecvOnly, true, false),
        (Direction::Inactive, false, false),
    ] {
        let mut b = new_leg(Side::B, PCMU);
        b.parameters.direction = direction;
        let created = Line::of_legs([new_leg(Side::A, OPUS), b]);
        let mut updated = Line::new(OPUS, PCMU);
        updated.set_direction(Side::B, direction);
        for mut line in [created, updated] {
            let [mut browser, mut trunk] = [111, 0].map(|it| Speaker::new(&line.arena, it));
            for _ in 0..100 {
                let from_trunk = line.hear(Side::B, &trunk.packet(160));
                match heard {
                    true => assert_eq!(from_trunk.unwrap()[0].socket, 0),
                    false => assert_eq!(from_trunk.unwrap_err(), Discard::NotReceiving),
                }
                let from_browser = line.hear(Side::A, &browser.packet(160)).unwrap();
                assert_eq!(from_browser.len(), usize::from(sent));
                assert!(line.pass(MS_20).is_empty());
            }
            let [a, b] = Side::BOTH.map(|side| line.statistics(side));
            assert_eq!(b.direction, direction);
            let not_sent = if sent { 0 } else { 100 };
            assert_eq!(a.discards.of(Discard::NotSending), not_sent);
            assert_eq!((a.packets_received, a.packets_lost), (100, 0));
            // What is not heard is received all the same, and so reported.
            assert_eq!((b.packets_received, b.packets_lost), (100, 0));
            assert_eq!(b.packets_sent, 100 - not_sent);
            assert!(minutes_of_rtcp(&mut line, 3) >= 8, "RTCP goes on");
        }
    }
}

#[test]
fn a_hold_of_any_length_ends_without_a_trace() {
    for held in [Direction::Inactive, Direction::SendOnly, Direction::RecvOnly] {
        for is_paced in [false, true] {
            for packets in [1, 10, 100, 1_000] {
                let format = |it: &str| {
                    if is_paced { paced(it, 120) } else { it.to_owned() }
                };
                let mut line = Line::new(&format(OPUS), &format(PCMU));
                let [mut browser, mut trunk] = [111, 0].map(|it| Speaker::new(&line.arena, it));
                let mut sent = Vec::new();
                for n in 0..packets + 400 {
                    if n == 200 {
                        line.set_direction(Side::B, held);
                    }
                    if n == 200 + packets {
                        line.set_direction(Side::B, Direction::SendRecv);
                    }
                    for (side, speaker) in [(Side::A, &mut browser), (Side::B, &mut trunk)] {
                        sent.extend(line.hear(side, &speaker.packet(160)).unwrap_or_default());
                    }
                    sent.extend(line.pass(MS_20));
                }
                for side in Side::BOTH {
                    let of_it: Vec<Sent> =
                        sent.iter().filter(|it| it.socket == 2 * side.index()).cloned().collect();
                    assert_one_line(&of_it, 160);
                    // The clock is where it would be without the hold.
                    let (first, last) = (of_it.first().unwrap(), of_it.last().unwrap());
                    let clock = if side == Side::A { 6 } else { 1 };
                    let line_ms =
                        last.header.timestamp.distance(first.header.timestamp) / clock / 8;
                    let passed_ms = (last.at - first.at).as_millis() as i32;
                    assert!((line_ms - passed_ms).abs() <= 40, "{held:?} {line_ms} {passed_ms}");
                    let statistics = line.statistics(side);
                    let filled = statistics.frames_concealed + statistics.frames_recovered;
                    assert_eq!((filled, statistics.packets_lost), (0, 0), "{held:?} {packets}");
                    // The first packet after a pause begins a talkspurt.
                    let is_stopped = match side {
                        Side::B => !held.sends(),
                        Side::A => !held.receives(),
                    };
                    if is_stopped && packets > 10 && !is_paced {
                        let pause = of_it
                            .windows(2)
                            .find(|pair| pair[1].at - pair[0].at >= MS_20 * packets as u32);
                        assert!(pause.unwrap()[1].header.marker, "{held:?} {side:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_telephone_event_is_told_but_not_sent_to_who_is_not_sent_to() {
    let mut line = Line::new(OPUS, PCMU);
    line.set_direction(Side::B, Direction::RecvOnly);
    let mut speaker = Speaker::new(&line.arena, 111);
    line.hear(Side::A, &speaker.packet(160)).unwrap();
    speaker.header.payload_type = PayloadType::new(126).unwrap();
    let mut sent = Vec::new();
    for n in 1..=8_u16 {
        let packet = speaker.raw(&event('4', n >= 6, n.min(6) * 160));
        sent.extend(line.hear(Side::A, &packet).unwrap());
        speaker.pass(0);
        sent.extend(line.pass(MS_20));
    }
    sent.extend(line.pass(Duration::from_secs(1)));
    assert!(sent.is_empty());
    assert!(line.has_told(&digit_ended(Side::A, '4', 120)));
    assert!(line.statistics(Side::A).discards.of(Discard::NotSending) >= 6);
}

#[test]
fn a_digit_that_cannot_be_delivered_is_refused() {
    for direction in [Direction::RecvOnly, Direction::Inactive] {
        let mut line = Line::new(OPUS, PCMU);
        line.set_direction(Side::B, direction);
        let (digit, time) = (digit('5'), DigitTime::from_ms(100).unwrap());
        let command = || Command::SendDigit(line.key, Side::B, digit, time);
        let refused = line.rig.borrow_mut().command(command()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unsupported);
        line.set_direction(Side::B, Direction::SendOnly);
        line.dial(Side::B, '5', 100);
        let sent = line.pass(Duration::from_secs(1));
        assert_eq!(events(&sent, 101).iter().filter(|event| event.1).count(), 3);
    }
}

#[test]
fn a_digit_toward_a_far_end_that_is_not_known_yet_is_refused() {
    let mut b = new_leg(Side::B, PCMU);
    let Transport::Plain(plain) = &mut b.parameters.transport else { panic!("not plain") };
    plain.remote = None;
    let line = Line::of_legs([new_leg(Side::A, OPUS), b]);
    let (digit, time) = (digit('5'), DigitTime::from_ms(100).unwrap());
    let command = Command::SendDigit(line.key, Side::B, digit, time);
    let refused = line.rig.borrow_mut().command(command).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unsupported);
}

/// What was told of silence: how long it was.
fn silences(line: &Line) -> Vec<u64> {
    let told = line.events.iter().filter_map(|event| match event {
        Event::MediaTimeout { leg: Side::B, silent_ms, .. } => Some(*silent_ms),
        _ => None,
    });
    told.collect()
}

fn line_with_timeout(ms: u32) -> (Line, Speaker) {
    let mut line = Line::new(OPUS, PCMU);
    let limit: MediaTimeout = serde_json::from_value(ms.into()).unwrap();
    let change = LegChange { media_timeout_ms: Some(limit), ..LegChange::default() };
    line.update(Side::B, change).unwrap();
    let speaker = Speaker::new(&line.arena, 0);
    (line, speaker)
}

#[test]
fn a_silence_is_told_once_and_another_after_the_next_packet() {
    let (mut line, mut speaker) = line_with_timeout(2_000);
    line.pass(Duration::from_secs(30));
    assert_eq!(silences(&line), [2_000], "nothing ever came");
    for told in 2..=3 {
        speak(&mut line, Side::B, &mut speaker, 100, |_, _| {});
        line.pass(Duration::from_millis(1_970));
        assert_eq!(silences(&line).len(), told - 1);
        line.pass(Duration::from_secs(30));
        assert_eq!(silences(&line).len(), told);
        assert_eq!(silences(&line)[told - 1], 2_000);
    }
}

#[test]
fn a_leg_that_does_not_receive_is_not_silent_and_one_that_does_again_begins_anew() {
    let (mut line, mut speaker) = line_with_timeout(2_000);
    speak(&mut line, Side::B, &mut speaker, 50, |_, _| {});
    line.set_direction(Side::B, Direction::SendOnly);
    line.pass(Duration::from_secs(60));
    assert!(silences(&line).is_empty());
    line.set_direction(Side::B, Direction::SendRecv);
    line.pass(Duration::from_millis(1_990));
    assert!(silences(&line).is_empty());
    line.pass(Duration::from_millis(20));
    assert_eq!(silences(&line), [2_000]);
}

#[test]
fn a_pause_of_the_process_is_no_silence_and_tells_none_again() {
    let (mut line, mut speaker) = line_with_timeout(2_000);
    speak(&mut line, Side::B, &mut speaker, 50, |_, _| {});
    line.rig.borrow_mut().pause(Duration::from_secs(5));
    line.now = line.rig.borrow().now;
    line.pass(Duration::from_millis(1_900));
    assert!(silences(&line).is_empty());
    line.pass(Duration::from_millis(200));
    assert_eq!(silences(&line).len(), 1);
    line.rig.borrow_mut().pause(Duration::from_secs(5));
    line.now = line.rig.borrow().now;
    line.pass(Duration::from_secs(30));
    assert_eq!(silences(&line).len(), 1, "it is the same silence");
}

#[test]
fn what_waited_while_the_process_did_not_run_is_counted() {
    let mut line = Line::new(OPUS, PCMU);
    let mut speaker = Speaker::new(&line.arena, 0);
    speak(&mut line, Side::B, &mut speaker, 50, |_, _| {});
    let (from, to) = (theirs(2), ours(2));
    for _ in 0..10 {
        let bytes = speaker.packet(160);
        line.rig.borrow_mut().network.arrive(Flying { from, to, bytes });
    }
    line.rig.borrow_mut().pause(Duration::from_millis(200));
    line.now = line.rig.borrow().now;
    let Ok(Reply::Thread(thread)) = line.rig.borrow_mut().command(Command::QueryThread) else {
        panic!("no statistics")
    };
    assert_eq!(thread.discards.of(Discard::AfterPause), 10);
    // The stream goes on with what comes, and nothing of the pause is filled.
    let sent = line.hear(Side::B, &speaker.packet(160)).unwrap();
    assert_eq!(sent.len(), 1);
    let statistics = line.statistics(Side::B);
    assert_eq!(statistics.frames_concealed + statistics.frames_recovered, 0);
}
