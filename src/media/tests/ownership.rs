//! Who owns what, when commands cross each other: addresses, port pairs, keys.

use super::*;
use crate::config::PortRange;
use crate::control::message::{
    CallName, CallStatistics, Command as Wanted, CreateCall, DeleteCall, IceCredentials,
    OrphanTime, ReplaceLeg, Security, SrtpKeys, TakeControl, ThreadDescription,
};
use crate::media::budget::Gauge;
use crate::media::channel::{Report, Token};
use crate::media::ports::PortPool;
use crate::media::registry::{Core, Limits, Output, Registry, Ticket};
use crate::media::rig::browser_address;
use crate::srtp::keys::Profile;
use crate::srtp::protect::Receiver;

const PORTS: PortRange = PortRange { first: 30_000, last: 30_015 };
const CLIENT: u64 = 1;

fn registry(now: Instant) -> Registry {
    let browser = browser_address(0);
    let bind = |address, _| Ok(BoundSocket::made_up(address));
    let ports = PortPool::new(browser.ip(), PORTS, (0, 1), bind, now);
    let description = ThreadDescription { thread: 0, core: 0, browser };
    let gauge = std::sync::Arc::new(Gauge::default());
    let core = Core::new(description, gauge, ports, BoundSocket::made_up(browser));
    let limits = Limits { calls: 4, load: 0.9 };
    let mut registry = Registry::new(vec![core], limits, "generation".to_owned(), now);
    give(&mut registry, TakeControl::default(), now);
    registry
}

/// Gives a command; the token of what the core is asked, if it is.
fn give(registry: &mut Registry, command: impl Into<Wanted>, now: Instant) -> Option<Token> {
    registry.handle_command(Ticket(1), CLIENT, command.into(), now);
    std::iter::from_fn(|| registry.poll_output()).find_map(|output| match output {
        Output::Ask { token, .. } => Some(token),
        _ => None,
    })
}

fn plain() -> LegParameters {
    LegParameters::new(Transport::Plain(PlainTransport::default()))
}

fn create(orphan_ms: Option<u32>) -> CreateCall {
    let orphan_ms = orphan_ms.and_then(OrphanTime::new);
    let (call, blob) = (CallName::from("call"), String::new());
    CreateCall { call, blob, a: plain(), b: plain(), thread: None, orphan_ms }
}

#[test]
fn a_leg_whose_call_ended_before_it_was_there_gives_its_ports_back() {
    let now = Instant::now();
    let mut registry = registry(now);
    let key = CallKey { place: 0, generation: 0 };
    let created = give(&mut registry, create(None), now).unwrap();
    registry.handle_report(Report::Reply(created, Ok(Reply::Created(key))), now);
    let replace = ReplaceLeg { call: "call".into(), leg: Side::A, with: plain() };
    let replaced = give(&mut registry, replace, now).unwrap();
    let deleted = give(&mut registry, DeleteCall { call: "call".into() }, now).unwrap();

    let statistics = Box::new(LegStatistics::default());
    registry.handle_report(Report::Reply(replaced, Ok(Reply::Replaced(statistics))), now);
    let (a, b) = (LegStatistics::default(), LegStatistics::default());
    let statistics = CallStatistics { call: "call".into(), thread: 0, age_ms: 0, a, b };
    registry.handle_report(Report::Reply(deleted, Ok(Reply::Ended(Box::new(statistics)))), now);
    let holding = registry.holding(0).unwrap();
    assert_eq!((holding.calls, holding.port_pairs_free), (0, PORTS.pairs()));
}

#[test]
fn a_call_that_is_still_being_made_is_ended_as_an_orphan_only_then() {
    let now = Instant::now();
    let mut registry = registry(now);
    let created = give(&mut registry, create(Some(0)), now).unwrap();
    registry.client_gone(CLIENT, now);
    registry.handle_timeout(now);
    assert!(registry.next_timeout().unwrap() > now, "nothing can be done yet");
    let key = CallKey { place: 0, generation: 0 };
    registry.handle_report(Report::Reply(created, Ok(Reply::Created(key))), now);
    assert_eq!(registry.next_timeout(), Some(now));
    registry.handle_timeout(now);
    let ends = |output| matches!(output, Output::Ask { command: Command::Delete(ended), .. } if ended == key);
    assert!(std::iter::from_fn(|| registry.poll_output()).any(ends));
}

fn browsers_leg(name: &str) -> NewLeg {
    let credentials = IceCredentials {
        local_ufrag: name.to_owned(),
        local_password: "a password of 22 signs".to_owned(),
        remote_ufrag: None,
    };
    let mut parameters = LegParameters::new(Transport::Ice(credentials));
    parameters.format = Some(serde_json::from_str(OPUS).unwrap());
    NewLeg { parameters, sockets: None }
}

#[test]
fn an_address_that_another_leg_took_stays_that_legs() {
    let (first, second) = (theirs(0), theirs(2));
    let name = |line: &mut Line, side, to| {
        line.update(side, LegChange { remote: Some(to), ..LegChange::default() }).unwrap();
    };
    let hears = |line: &mut Line, from, side| {
        let packet = Speaker::new(&line.arena, 111).raw(&[8, 1, 2, 3]);
        let before = line.statistics(side).packets_received;
        let to = browser_address(0);
        line.rig.borrow_mut().receive(Flying { from, to, bytes: packet });
        line.statistics(side).packets_received == before + 1
    };
    // It moves on.
    let mut line = Line::of_legs([browsers_leg("aaaa"), browsers_leg("bbbb")]);
    name(&mut line, Side::A, first);
    name(&mut line, Side::B, first);
    name(&mut line, Side::A, second);
    assert!(hears(&mut line, first, Side::B) && hears(&mut line, second, Side::A));
    // It ends.
    name(&mut line, Side::B, second);
    let key = line.key;
    let replace = Command::Replace(key, Side::A, Box::new(browsers_leg("cccc")));
    line.rig.borrow_mut().command(replace).unwrap();
    assert!(hears(&mut line, second, Side::B));
}

#[test]
fn a_digit_that_a_replacement_ended_is_told_at_once_as_its_own_calls() {
    let mut line = Line::new(OPUS, PCMU);
    let speaker = Speaker::new(&line.arena, 101);
    let event = TelephoneEvent { event: 5, end: false, volume: 10, duration: 800 };
    let mut payload = [0; 4];
    event.write(&mut payload);
    line.hear(Side::B, &speaker.raw(&payload)).unwrap();
    let mut leg = new_leg(Side::B, PCMU);
    leg.sockets = Some([4, 5].map(|socket| BoundSocket::made_up(ours(socket))));
    let replace = Command::Replace(line.key, Side::B, Box::new(leg));
    line.rig.borrow_mut().command(replace).unwrap();
    line.sent();
    assert!(line.has_told(&digit_ended(Side::B, '5', 100)), "{:?}", line.events);
}

fn keys(send: u8, receive: u8) -> Security {
    let profile = Profile::AEAD_AES_128_GCM;
    let bytes = profile.key_bytes() + profile.salt_bytes();
    Security::Srtp(
        SrtpKeys::from_bytes(profile, &vec![send; bytes], &vec![receive; bytes]).unwrap(),
    )
}

/// A far end that knows what leg b sends under its first key, and never forgets it.
fn index_is_never_used_twice(detour: &[Security]) {
    let mut line = Line::new(OPUS, PCMU);
    let first = keys(1, 2);
    let Security::Srtp(known) = &first else { panic!("keys") };
    let mut receiver = Receiver::new(&known.send);
    let mut speaker = Speaker::new(&line.arena, 111);
    let secure = |line: &mut Line, security: &Security| {
        let security = Some(security.clone());
        line.update(Side::B, LegChange { security, ..LegChange::default() }).unwrap();
    };
    let (mut audio, mut reports) = (0, 0);
    for turn in [std::slice::from_ref(&first), detour] {
        turn.iter().for_each(|security| secure(&mut line, security));
        for _ in 0..150 {
            let packet = speaker.packet(160);
            let to = ours(0);
            line.rig.borrow_mut().receive(Flying { from: theirs(0), to, bytes: packet });
            line.rig.borrow_mut().pass(MS_20);
            for Flying { from, mut bytes, .. } in line.rig.borrow_mut().sent() {
                if from == ours(2) {
                    receiver.unprotect(&mut bytes).unwrap();
                    audio += 1;
                } else if from == ours(3) {
                    receiver.unprotect_rtcp(&mut bytes).unwrap();
                    reports += 1;
                }
            }
        }
    }
    assert!(audio > 290 && reports > 2, "{audio}, {reports}");
}

#[test]
fn a_far_end_that_changes_its_key_leaves_ours_where_it_was() {
    index_is_never_used_twice(&[keys(1, 3)]);
}

#[test]
fn a_key_that_comes_back_goes_on_where_it_was_left() {
    index_is_never_used_twice(&[keys(4, 2), keys(1, 2)]);
    index_is_never_used_twice(&[Security::Pending, keys(1, 2)]);
    index_is_never_used_twice(&[Security::None, keys(1, 5)]);
}

#[test]
fn a_leg_that_had_too_many_keys_is_refused_another_and_goes_on() {
    let mut line = Line::new(OPUS, PCMU);
    let secure = |line: &mut Line, number: u8| {
        let security = Some(keys(number, number));
        line.update(Side::B, LegChange { security, ..LegChange::default() })
    };
    let taken = (0..=200).take_while(|number| secure(&mut line, *number).is_ok()).count();
    assert_eq!(taken, 65, "64 out of use, and one in use");
    assert!(secure(&mut line, 64).is_ok(), "the one in use is no other");
}
