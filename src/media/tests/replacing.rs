//! A leg replaced, a format changed: what stays is not touched.

use super::*;
use crate::control::message::{ErrorCode, IceCredentials, ThreadStatistics};
use crate::wire::stun::{BindingRequest, Role, TransactionId, write_binding_request};

fn ice(local_ufrag: &str) -> Transport {
    Transport::Ice(IceCredentials {
        local_ufrag: local_ufrag.to_owned(),
        local_password: "secretsecretsecretsecret".to_owned(),
        remote_ufrag: None,
    })
}

/// A leg on a browser's port.
fn browser_leg(format: &str) -> NewLeg {
    let mut parameters = LegParameters::new(ice("here"));
    parameters.format = Some(serde_json::from_str(format).unwrap());
    NewLeg { parameters, sockets: None }
}

/// A leg on ports of its own that no other leg of these tests has.
fn third_leg(format: &str) -> NewLeg {
    let mut leg = new_leg(Side::B, format);
    leg.sockets = Some([6, 7].map(|socket| BoundSocket::made_up(ours(socket))));
    let Transport::Plain(plain) = &mut leg.parameters.transport else { panic!("not plain") };
    plain.remote = Some(theirs(6));
    leg
}

fn replace(line: &mut Line, side: Side, leg: NewLeg) -> Result<LegStatistics, ControlError> {
    let command = Command::Replace(line.key, side, Box::new(leg));
    match line.rig.borrow_mut().command(command)? {
        Reply::Replaced(statistics) => Ok(*statistics),
        other => panic!("{other:?}"),
    }
}

fn thread(line: &Line) -> ThreadStatistics {
    match line.rig.borrow_mut().command(Command::QueryThread) {
        Ok(Reply::Thread(statistics)) => *statistics,
        other => panic!("{other:?}"),
    }
}

/// A packet from a far end elsewhere, on a leg's third sockets.
fn hear_third(line: &mut Line, packet: &[u8]) -> Vec<Sent> {
    let (from, to) = (theirs(6), ours(6));
    line.rig.borrow_mut().receive(Flying { from, to, bytes: packet.to_vec() });
    line.sent()
}

/// By which socket sources said that they are no more.
fn byes(line: &Line) -> Vec<(usize, Ssrc)> {
    let mut found = Vec::new();
    for (socket, compound) in &line.rtcp {
        for packet in rtcp::parse(compound).unwrap() {
            if let RtcpPacket::Bye(sources) = packet {
                found.extend(sources.map(|ssrc| (*socket, ssrc)));
            }
        }
    }
    found
}

#[test]
fn the_other_leg_of_one_that_is_replaced_notices_another_voice_and_nothing_else() {
    for new in [PCMU.to_owned(), with_packet_ms(PCMU, 30)] {
        let mut line = Line::new(OPUS, PCMU);
        let [mut browser, mut trunk] = [111, 0].map(|it| Speaker::new(&line.arena, it));
        let mut transferred = Speaker::new(&line.arena, 0);
        transferred.header.ssrc = Ssrc(0x7777);
        transferred.header.timestamp = RtpTimestamp(12);
        let mut sent = Vec::new();
        let mut old = None;
        for n in 0..200 {
            if n == 100 {
                old = Some(replace(&mut line, Side::B, third_leg(&new)).unwrap());
            }
            sent.extend(line.hear(Side::A, &browser.packet(160)).unwrap());
            if n < 100 {
                sent.extend(line.hear(Side::B, &trunk.packet(160)).unwrap());
            } else {
                sent.extend(hear_third(&mut line, &transferred.packet(160)));
            }
            sent.extend(line.pass(MS_20));
        }
        let to = |socket: usize| -> Vec<Sent> {
            sent.iter().filter(|sent| sent.socket == socket).cloned().collect()
        };
        // One source, one sequence, one time line, every packet.
        let heard = to(0);
        assert_eq!(heard.len(), 200);
        let mut listener = Listener::new(&line.arena);
        listener.listen(&heard);
        assert!(heard.iter().all(|sent| sent.header.ssrc == heard[0].header.ssrc));
        // The old leg's far end is told and then left alone; the new one is a source of its own.
        assert_eq!(byes(&line), [(3, to(2)[0].header.ssrc)]);
        let (before, after) = (to(2), to(6));
        assert_eq!(before.len(), 100);
        assert!(after.len() >= 65, "{}", after.len());
        assert_eq!(after[0].to, theirs(6));
        assert_ne!(after[0].header.ssrc, before[0].header.ssrc);
        assert!(after[0].header.marker);
        let old = old.unwrap();
        assert_eq!((old.packets_received, old.packets_sent), (100, 100));
        let statistics = line.statistics(Side::B);
        assert_eq!(statistics.packets_received, 100);
        let filled = line.statistics(Side::A);
        assert_eq!(filled.frames_concealed + filled.frames_recovered, 0);
    }
}

#[test]
fn a_leg_that_is_replaced_gives_its_sockets_back_and_is_no_longer_heard() {
    let mut line = Line::new(OPUS, PCMU);
    let open = line.rig.borrow().network.open_sockets();
    let mut trunk = Speaker::new(&line.arena, 0);
    line.hear(Side::B, &trunk.packet(160)).unwrap();
    replace(&mut line, Side::B, third_leg(PCMU)).unwrap();
    assert_eq!(line.rig.borrow().network.open_sockets(), open);
    assert!(line.rig.borrow().network.socket_at(ours(2)).is_none());
    assert!(line.hear(Side::B, &trunk.packet(160)).unwrap().is_empty());
    assert_eq!(line.statistics(Side::B).packets_received, 0);
}

#[test]
fn a_replacement_that_does_not_fit_is_refused_and_changes_nothing() {
    let both = OPUS.replacen(
        "\"receive\": [",
        "\"receive\": [{\"codec\": \"pcmu\", \"payload_type\": 0}, ",
        1,
    );
    let mut line = Line::new(OPUS, PCMU);
    let open = line.rig.borrow().network.open_sockets();
    let refused = replace(&mut line, Side::B, third_leg(&both)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unsupported);
    assert_eq!(line.rig.borrow().network.open_sockets(), open);
    let mut trunk = Speaker::new(&line.arena, 0);
    assert_eq!(line.hear(Side::B, &trunk.packet(160)).unwrap().len(), 1);
}

#[test]
fn a_digit_that_lasts_when_its_leg_is_replaced_is_told_of_its_own_call() {
    let mut line = Line::new(OPUS, PCMU);
    let mut trunk = Speaker::new(&line.arena, 0);
    line.hear(Side::B, &trunk.packet(160)).unwrap();
    trunk.header.payload_type = PayloadType::new(101).unwrap();
    line.hear(Side::B, &trunk.raw(&event('9', false, 480))).unwrap();
    let old = replace(&mut line, Side::B, third_leg(PCMU)).unwrap();
    line.sent();
    let told = line.events.iter().filter(|it| matches!(it, Event::TelephoneEvent { .. }));
    assert_eq!(told.collect::<Vec<_>>(), [&digit_ended(Side::B, '9', 60)]);
    assert_eq!(old.events_received, 1);
}

#[test]
fn a_browsers_address_goes_with_its_leg_and_with_who_proved_to_be_there_last() {
    let browser: std::net::SocketAddr = "203.0.113.5:50000".parse().unwrap();
    let elsewhere: std::net::SocketAddr = "203.0.113.5:50001".parse().unwrap();
    let port = super::super::rig::browser_address(0);
    let mut rig = rig_for(3);
    let create = |rig: &mut Rig, name: &str, first: usize| {
        let mut b = new_leg(Side::B, PCMU);
        b.sockets = Some([first, first + 1].map(|it| BoundSocket::made_up(ours(it))));
        let legs = Box::new([browser_leg(OPUS), b]);
        match rig.command(Command::Create { name: name.into(), legs }) {
            Ok(Reply::Created(key)) => key,
            other => panic!("{other:?}"),
        }
    };
    let nominate = |rig: &mut Rig, key, remote| {
        let change = LegChange { remote: Some(remote), ..LegChange::default() };
        rig.command(Command::Update(key, Side::A, Box::new(change))).unwrap();
    };
    let arena = OpusArena::new(2).unwrap();
    let mut speaker = Speaker::new(&arena, 111);
    let mut speak = |rig: &mut Rig, from| {
        rig.sent();
        rig.receive(Flying { from, to: port, bytes: speaker.packet(160) });
        rig.pass(Duration::from_millis(100));
        let toward_trunks =
            |from: &std::net::SocketAddr| from.port() < 40_000 && from.port().is_multiple_of(2);
        let sent = rig.sent().into_iter().map(|sent| sent.from);
        let mut sockets: Vec<_> = sent.filter(toward_trunks).collect();
        sockets.dedup();
        sockets
    };
    let [first, second] =
        [("first", 2), ("second", 12)].map(|(name, at)| create(&mut rig, name, at));
    nominate(&mut rig, first, browser);
    assert_eq!(speak(&mut rig, browser), [ours(2)]);
    // The second call's browser proves to be where the first one's was.
    nominate(&mut rig, second, browser);
    assert_eq!(speak(&mut rig, browser), [ours(12)]);
    // The first one's is found elsewhere: that takes nothing away from the second.
    nominate(&mut rig, first, elsewhere);
    assert_eq!(speak(&mut rig, browser), [ours(12)]);
    assert_eq!(speak(&mut rig, elsewhere), [ours(2)]);
    // A leg that is replaced is no longer found.
    rig.command(Command::Replace(first, Side::A, Box::new(browser_leg(OPUS)))).unwrap();
    assert!(speak(&mut rig, elsewhere).is_empty());
    assert_eq!(speak(&mut rig, browser), [ours(12)]);
    rig.command(Command::Delete(second)).unwrap();
    assert!(speak(&mut rig, browser).is_empty());
    let Ok(Reply::Thread(thread)) = rig.command(Command::QueryThread) else { panic!("nothing") };
    assert_eq!(thread.discards.of(Discard::UnknownSource), 2);
}

#[test]
fn new_ice_credentials_answer_new_checks_only() {
    let mut rig = rig_for(1);
    let legs = Box::new([browser_leg(OPUS), new_leg(Side::B, PCMU)]);
    let Ok(Reply::Created(key)) = rig.command(Command::Create { name: "call".into(), legs }) else {
        panic!("no call")
    };
    let browser: std::net::SocketAddr = "203.0.113.5:50000".parse().unwrap();
    let change = LegChange { remote: Some(browser), ..LegChange::default() };
    rig.command(Command::Update(key, Side::A, Box::new(change))).unwrap();
    let answered = |rig: &mut Rig, ufrag: &str| {
        let request = BindingRequest {
            transaction_id: TransactionId([3; 12]),
            username: &format!("{ufrag}:browser"),
            priority: 1,
            role: Role::Controlling(1),
            use_candidate: false,
        };
        let mut out = [0; 256];
        let password = b"secretsecretsecretsecret";
        let length = write_binding_request(&mut out, &request, password).unwrap();
        let check = out[..length].to_vec();
        let to = super::super::rig::browser_address(0);
        rig.receive(Flying { from: browser, to, bytes: check });
        !rig.sent().is_empty()
    };
    assert!(answered(&mut rig, "here") && !answered(&mut rig, "anew"));
    let Transport::Ice(credentials) = ice("anew") else { panic!("not ICE") };
    let change = LegChange { ice: Some(credentials), ..LegChange::default() };
    rig.command(Command::Update(key, Side::A, Box::new(change))).unwrap();
    assert!(answered(&mut rig, "anew") && !answered(&mut rig, "here"));
}

/// What the far ends hear of two seconds of both, with `change` before the packet in the middle.
fn converse(line: &mut Line, change: impl FnOnce(&mut Line)) -> Vec<Sent> {
    let speakers = [111, 0].map(|it| Speaker::new(&line.arena, it));
    let mut states = (Vec::new(), Vec::new());
    // The core is full: no codec state is left.
    states.0.extend(std::iter::from_fn(|| line.arena.decoder().ok()));
    let encoder = || line.arena.encoder(EncoderSettings::default()).ok();
    states.1.extend(std::iter::from_fn(encoder));
    let ([mut browser, mut trunk], mut change) = (speakers, Some(change));
    let mut sent = Vec::new();
    for n in 0..100 {
        if n == 51
            && let Some(change) = change.take()
        {
            change(line);
        }
        for (side, speaker) in [(Side::A, &mut browser), (Side::B, &mut trunk)] {
            sent.extend(line.hear(side, &speaker.packet(160)).unwrap());
        }
        sent.extend(line.pass(MS_20));
    }
    sent
}

#[test]
fn payload_types_change_at_a_full_core_without_a_click_and_nothing_that_waited_is_lost() {
    // Half packets wait on both ways when the types change.
    let (a, b) = (with_packet_ms(OPUS, 40), with_packet_ms(PCMU, 30));
    let unchanged = converse(&mut Line::new(&a, &b), |_| {});
    let changed = converse(&mut Line::new(&a, &b), |line| {
        let number = |format: &str, from: &str, to: &str| format.replacen(from, to, 1);
        let other = number(&a, "111, \"packet_ms\"", "96, \"packet_ms\"");
        line.set_format(Side::A, &number(&other, "110", "112")).unwrap();
        let other = number(&b, "0, \"packet_ms\"", "97, \"packet_ms\"");
        line.set_format(Side::B, &number(&other, "101", "102")).unwrap();
    });
    let payloads = |sent: &[Sent]| sent.iter().map(|it| it.payload.clone()).collect::<Vec<_>>();
    assert_eq!(payloads(&unchanged), payloads(&changed));
    let numbers = |sent: &[Sent]| {
        let types = sent.iter().map(|sent| sent.header.payload_type.value());
        types.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(numbers(&unchanged), [0, 111].into());
    assert_eq!(numbers(&changed), [0, 96, 97, 111].into());
    for (one, other) in unchanged.windows(2).zip(changed.windows(2)) {
        let passed = |pair: &[Sent]| pair[1].header.timestamp.distance(pair[0].header.timestamp);
        if one[0].socket == one[1].socket {
            assert_eq!(passed(one), passed(other));
        }
    }
}

#[test]
fn a_law_or_a_packet_time_changes_at_a_full_core() {
    for other in [PCMU.replacen("pcmu", "pcma", 1), with_packet_ms(PCMU, 40)] {
        let sent = converse(&mut Line::new(OPUS, PCMU), |line| {
            line.set_format(Side::B, &other).unwrap();
        });
        let toward_trunk = sent.iter().filter(|sent| sent.socket == 2);
        let samples: usize = toward_trunk.map(|sent| sent.payload.len()).sum();
        assert!(samples >= 98 * 160, "{samples}");
    }
}

#[test]
fn what_the_process_counts_never_falls_while_calls_come_and_go() {
    use rand::RngExt;

    let mut line = Line::new(OPUS, PCMU);
    let mut random = random::from_seed(11);
    let mut before = thread(&line);
    let mut speakers = [111, 0].map(|it| Speaker::new(&line.arena, it));
    let mut at_third = false;
    for _ in 0..2_000 {
        let side = Side::BOTH[random.random_range(0..2)];
        let speaker = &mut speakers[side.index()];
        match random.random_range(0..20) {
            0 => {
                let direction = [Direction::SendRecv, Direction::Inactive, Direction::RecvOnly];
                line.set_direction(side, direction[random.random_range(0..3)]);
            }
            1 => {
                let next = if at_third { new_leg(Side::B, PCMU) } else { third_leg(PCMU) };
                replace(&mut line, Side::B, next).unwrap();
                at_third = !at_third;
            }
            2 => {
                let deleted = Command::Delete(line.key);
                line.rig.borrow_mut().command(deleted).unwrap();
                let legs = Box::new([new_leg(Side::A, OPUS), new_leg(Side::B, PCMU)]);
                let create = Command::Create { name: "call".into(), legs };
                let Ok(Reply::Created(key)) = line.rig.borrow_mut().command(create) else {
                    panic!("no call")
                };
                (line.key, at_third) = (key, false);
            }
            3 => drop(line.hear(side, &[0xFF; 30])),
            4 => speaker.header.sequence_number = SequenceNumber(random.random()),
            5 => speaker.header.ssrc = Ssrc(random.random_range(0..3)),
            _ => drop(line.hear(side, &speaker.packet(160))),
        }
        line.pass(Duration::from_millis(random.random_range(0..30)));
        let after = thread(&line);
        let counters = |it: &ThreadStatistics| {
            let value = serde_json::to_value(it).unwrap();
            let mut counters: Vec<(String, u64)> = value["discards"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, count)| (name.clone(), count.as_u64().unwrap()))
                .collect();
            for name in ["calls_created", "datagrams_received", "datagrams_sent"] {
                counters.push((name.to_owned(), value[name].as_u64().unwrap()));
            }
            counters
        };
        let now: std::collections::BTreeMap<_, _> = counters(&after).into_iter().collect();
        for (name, count) in counters(&before) {
            assert!(now.get(&name).is_some_and(|now| *now >= count), "{name} fell from {count}");
        }
        before = after;
    }
    assert!(before.discards.total() > 100, "{:?}", before.discards);
}

#[test]
fn a_call_that_ends_tells_both_far_ends_that_have_heard_it() {
    for spoke in [true, false] {
        let mut line = Line::new(OPUS, PCMU);
        let mut speakers = [111, 0].map(|it| Speaker::new(&line.arena, it));
        if spoke {
            for side in Side::BOTH {
                line.hear(side, &speakers[side.index()].packet(160)).unwrap();
            }
            line.pass(MS_20);
        }
        let ssrcs = Side::BOTH.map(|side| line.leg(side, |leg| leg.sending.outgoing.ssrc()));
        let delete = Command::Delete(line.key);
        assert!(matches!(line.rig.borrow_mut().command(delete), Ok(Reply::Ended(_))));
        line.sent();
        let expected = if spoke { vec![(1, ssrcs[0]), (3, ssrcs[1])] } else { Vec::new() };
        assert_eq!(byes(&line), expected);
    }
}
