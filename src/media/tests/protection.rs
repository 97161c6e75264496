//! SRTP legs whose first packets nobody heard: what is authentic is heard.

use serde_json::json;

use super::*;
use crate::control::message::{Security, Source, SourcePrefixes, SrtpKeys};
use crate::srtp::keys::{MasterKey, Profile};
use crate::srtp::protect::{Receiver, Sender};

const PROFILE: Profile = Profile::AEAD_AES_128_GCM;

fn key(seed: u8) -> MasterKey {
    let bytes = PROFILE.key_bytes() + PROFILE.salt_bytes();
    MasterKey::from_bytes(PROFILE, &vec![seed; bytes]).unwrap()
}

/// What leg b is protected by.
fn keys() -> SrtpKeys {
    SrtpKeys { send: key(1), receive: key(2) }
}

/// A call whose leg b is protected so.
fn line_with(security: Security) -> Line {
    let mut b = new_leg(Side::B, PCMU);
    b.parameters.security = security;
    Line::of_legs([new_leg(Side::A, OPUS), b])
}

/// A far end that speaks under SRTP.
struct Protected {
    speaker: Speaker,
    sender: Sender,
}

impl Protected {
    fn new(line: &Line, first: u16) -> Self {
        let mut speaker = Speaker::new(&line.arena, 0);
        speaker.header.sequence_number = SequenceNumber(first);
        let sender = Sender::new(&key(2), speaker.header.ssrc);
        Self { speaker, sender }
    }

    fn packet(&mut self) -> Vec<u8> {
        let mut packet = self.speaker.packet(160);
        let length = packet.len();
        packet.resize(length + 32, 0);
        let protected = self.sender.protect(&mut packet, length).unwrap();
        packet.truncate(protected);
        packet
    }
}

#[test]
fn a_first_packet_after_the_numbers_wrapped_is_heard_whatever_was_lost_before_it() {
    for first in [65_530, 65_535, 60_000] {
        for lost in [0, 1, 6, 10, 100, 7_000] {
            let mut line = line_with(Security::Srtp(keys()));
            let mut far_end = Protected::new(&line, first);
            (0..lost).for_each(|_| drop(far_end.packet()));
            let mut heard = 0;
            for _ in 0..100 {
                heard += line.hear(Side::B, &far_end.packet()).unwrap_or_default().len();
                heard += line.pass(MS_20).len();
            }
            assert!(heard >= 99, "{first}, {lost} lost: {heard} of 100");
            let round = line.statistics(Side::B).received.unwrap().roll_over_counter;
            let index = u32::from(first) + lost + 99;
            assert_eq!(round, index >> 16);
        }
    }
}

#[test]
fn keys_that_come_late_let_the_stream_in_from_then_on() {
    for first in [65_500, 65_530, 100, 40_000] {
        let mut line = line_with(Security::Pending);
        let mut far_end = Protected::new(&line, first);
        let browser = &mut Speaker::new(&line.arena, 111);
        for _ in 0..50 {
            let refused = line.hear(Side::B, &far_end.packet()).unwrap_err();
            assert_eq!(refused, Discard::NotReady);
            line.hear(Side::A, &browser.packet(160)).unwrap();
            line.pass(MS_20);
        }
        assert_eq!(line.statistics(Side::A).discards.of(Discard::NoDestination), 50);
        let security = Some(Security::Srtp(keys()));
        line.update(Side::B, LegChange { security, ..LegChange::default() }).unwrap();
        let mut receiver = Receiver::new(&key(1));
        for _ in 0..50 {
            let heard = line.hear(Side::B, &far_end.packet()).unwrap();
            assert!(heard.iter().any(|sent| sent.socket == 0));
            for mut sent in line.hear(Side::A, &browser.packet(160)).unwrap() {
                if sent.socket == 2 {
                    let mut packet = vec![0; 12];
                    sent.header.write(packet.first_chunk_mut().unwrap());
                    packet.append(&mut sent.payload);
                    receiver.unprotect(&mut packet).unwrap();
                }
            }
            line.pass(MS_20);
        }
        let statistics = line.statistics(Side::B);
        assert_eq!((statistics.packets_received, statistics.packets_lost), (50, 0));
    }
}

#[test]
fn what_is_not_authentic_is_counted_and_changes_nothing() {
    let mut line = line_with(Security::Srtp(keys()));
    let mut far_end = Protected::new(&line, 100);
    for n in 0..100 {
        let packet = far_end.packet();
        let mut forged = packet.clone();
        *forged.last_mut().unwrap() ^= 1;
        forged[2] ^= 0x40;
        assert_eq!(line.hear(Side::B, &forged).unwrap_err(), Discard::BadTag);
        assert!(!line.hear(Side::B, &packet).unwrap().is_empty(), "{n}");
        assert_eq!(line.hear(Side::B, &packet).unwrap_err(), Discard::Replayed);
        line.pass(MS_20);
    }
    let statistics = line.statistics(Side::B);
    assert_eq!(statistics.packets_received, 100);
}

#[test]
fn one_good_tag_proves_an_address_within_the_prefix_and_a_forged_one_does_not() {
    let mut b = new_leg(Side::B, PCMU);
    b.parameters.security = Security::Srtp(keys());
    let Transport::Plain(plain) = &mut b.parameters.transport else { panic!("not plain") };
    let prefixes = vec!["198.51.100.0/24".parse().unwrap()];
    plain.source = Source::Within(SourcePrefixes { prefixes });
    let mut line = Line::of_legs([new_leg(Side::A, OPUS), b]);
    let elsewhere: std::net::SocketAddr = "198.51.100.99:31000".parse().unwrap();
    let mut forger = Speaker::new(&line.arena, 0);
    for _ in 0..20 {
        let refused = line.hear_from(elsewhere, Side::B, &forger.packet(160)).unwrap_err();
        assert_eq!(refused, Discard::BadTag);
    }
    assert_eq!(line.statistics(Side::B).remote, Some(theirs(2)));
    let mut far_end = Protected::new(&line, 500);
    assert_eq!(line.hear_from(elsewhere, Side::B, &far_end.packet()).unwrap().len(), 1);
    let (call, leg) = ("call".into(), Side::B);
    assert!(line.has_told(&Event::SourceLearnt { call, leg, remote: elsewhere }));
    assert_eq!(line.statistics(Side::B).remote, Some(elsewhere));
}

#[test]
fn what_is_printed_of_a_call_and_of_what_made_it_holds_no_key_and_no_password() {
    let key: Vec<u8> = (100..130).collect();
    let base64 = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(&key)
    };
    let password = "thepasswordthatnobodysees";
    let keys = json!({"kind": "srtp", "profile": "AES_CM_128_HMAC_SHA1_80", "send": base64, "receive": base64});
    let leg = json!({
        "transport": {"kind": "ice", "local_ufrag": "here", "local_password": password},
        "security": keys
    });
    let parameters: LegParameters = serde_json::from_value(leg).unwrap();
    let change: LegChange = serde_json::from_value(json!({
        "security": keys, "ice": {"local_ufrag": "here", "local_password": password}
    }))
    .unwrap();
    let new = || NewLeg { parameters: parameters.clone(), sockets: None };
    let mut line = Line::of_legs([new(), new()]);
    let update = Command::Update(line.key, Side::A, Box::new(change.clone()));
    let create = Command::Create { name: "call".into(), legs: Box::new([new(), new()]) };
    line.update(Side::A, change).unwrap();
    let Ok(Reply::Snapshot(snapshot)) = line.rig.borrow_mut().command(Command::Snapshot(line.key))
    else {
        panic!("no snapshot")
    };
    let mut printed = vec![format!("{update:?} {create:?} {snapshot:?}")];
    let mut rig = line.rig.borrow_mut();
    let (call, common) = rig.core.line(line.key).unwrap();
    let leg = &call.legs[0];
    printed.push(format!("{call:?} {common:?} {leg:?} {:?} {:?}", leg.connection, leg.sending));
    for printed in printed {
        assert!(printed.len() > 50, "{printed}");
        for secret in [password, &base64, "100, 101, 102", "[100, 101", "6465666768", "\\x65\\x66"]
        {
            assert!(
                !printed.to_lowercase().contains(&secret.to_lowercase()),
                "{secret}: {printed}"
            );
        }
    }
}
