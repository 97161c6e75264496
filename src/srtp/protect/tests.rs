use proptest::prelude::*;

use super::*;
use crate::base::hex::bytes;
use crate::wire::rtp::{PayloadType, RtpTimestamp};

const SSRC: Ssrc = Ssrc(0xcafe_babe);

fn master(profile: Profile) -> MasterKey {
    let bytes: Vec<u8> = (0..profile.key_bytes() + profile.salt_bytes()).map(|n| n as u8).collect();
    MasterKey::from_bytes(profile, &bytes).unwrap()
}

/// A sender and the receiver of the same key.
fn pair(profile: Profile) -> (Sender, Receiver) {
    (Sender::new(&master(profile), SSRC), Receiver::new(&master(profile)))
}

fn rtp(ssrc: Ssrc, sequence_number: u16) -> Vec<u8> {
    let mut packet = vec![0; 12];
    let header = RtpHeader {
        marker: false,
        payload_type: PayloadType::new(111).unwrap(),
        sequence_number: SequenceNumber(sequence_number),
        timestamp: RtpTimestamp(960),
        ssrc,
    };
    header.write((&mut packet[..]).try_into().unwrap());
    packet.extend_from_slice(&sequence_number.to_be_bytes());
    packet.extend_from_slice(b"speech");
    packet
}

fn rtcp(ssrc: Ssrc) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend_from_slice(&ssrc.0.to_be_bytes());
    packet
}

fn protected(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut buffer = [packet, &[0xee; RTP_GROWTH_BYTES_MAX]].concat();
    let length = sender.protect(&mut buffer, packet.len()).unwrap();
    buffer.truncate(length);
    buffer
}

fn protected_rtcp(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut buffer = [packet, &[0xee; RTCP_GROWTH_BYTES_MAX]].concat();
    let length = sender.protect_rtcp(&mut buffer, packet.len()).unwrap();
    buffer.truncate(length);
    buffer
}

fn unprotected(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, Discard> {
    let mut buffer = packet.to_vec();
    let length = receiver.unprotect(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn unprotected_rtcp(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, Discard> {
    let mut buffer = packet.to_vec();
    let length = receiver.unprotect_rtcp(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

#[test]
fn the_reference_packet_of_libsrtp_is_reproduced() {
    // srtp_validate() in cisco/libsrtp test/srtp_driver.c, keyed as in RFC 3711 appendix B.3.
    let key = bytes("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
    let key = MasterKey::from_bytes(Profile::AES_CM_128_HMAC_SHA1_80, &key).unwrap();
    let plain = bytes("800f1234decafbadcafebabeabababababababababababababababab");
    let sealed = "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb";
    assert_eq!(protected(&mut Sender::new(&key, SSRC), &plain), bytes(sealed));
    assert_eq!(unprotected(&mut Receiver::new(&key), &bytes(sealed)), Ok(plain));
}

#[test]
fn a_replayed_packet_is_discarded() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let packet = protected(&mut sender, &rtp(SSRC, 1));
        let report = protected_rtcp(&mut sender, &rtcp(SSRC));
        assert_eq!(unprotected(&mut receiver, &packet), Ok(rtp(SSRC, 1)));
        assert_eq!(unprotected(&mut receiver, &packet), Err(Discard::Replayed));
        assert_eq!(unprotected_rtcp(&mut receiver, &report), Ok(rtcp(SSRC)));
        assert_eq!(unprotected_rtcp(&mut receiver, &report), Err(Discard::Replayed));
    }
}

#[test]
fn no_flipped_bit_is_accepted_and_none_changes_anything() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let first = protected(&mut sender, &rtp(SSRC, 1));
        unprotected(&mut receiver, &first).unwrap();
        let position = receiver.position(SSRC);

        let packet = protected(&mut sender, &rtp(SSRC, 2));
        let report = protected_rtcp(&mut sender, &rtcp(SSRC));
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotected(&mut receiver, &flipped).is_err(), "{profile:?} bit {bit}");
        }
        for bit in 0..report.len() * 8 {
            let mut flipped = report.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotected_rtcp(&mut receiver, &flipped).is_err(), "{profile:?} bit {bit}");
        }
        assert_eq!(receiver.position(SSRC), position);
        assert_eq!(receiver.active.iter().flatten().count(), 1);
        assert_eq!(unprotected(&mut receiver, &packet), Ok(rtp(SSRC, 2)));
        assert_eq!(unprotected_rtcp(&mut receiver, &report), Ok(rtcp(SSRC)));
    }
}

#[test]
fn every_truncation_is_discarded() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let packet = protected(&mut sender, &rtp(SSRC, 1));
        let report = protected_rtcp(&mut sender, &rtcp(SSRC));
        for length in 0..packet.len() {
            assert!(unprotected(&mut receiver, &packet[..length]).is_err());
        }
        for length in 0..report.len() {
            assert!(unprotected_rtcp(&mut receiver, &report[..length]).is_err());
        }
        assert!(receiver.active.iter().all(Option::is_none));
    }
}

#[test]
fn forged_sequence_numbers_do_not_move_the_roll_over_counter() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let first = protected(&mut sender, &rtp(SSRC, 0xfff0));
        unprotected(&mut receiver, &first).unwrap();
        for sequence_number in [0x0000, 0x7fef, 0x7ff0, 0x7ff1, 0xffff] {
            let mut forged = protected(&mut pair(profile).0, &rtp(SSRC, sequence_number));
            *forged.last_mut().unwrap() ^= 1;
            assert!(unprotected(&mut receiver, &forged).is_err());
            assert_eq!(receiver.position(SSRC), sender.position());
        }
        let next = protected(&mut sender, &rtp(SSRC, 0xfff1));
        assert_eq!(unprotected(&mut receiver, &next), Ok(rtp(SSRC, 0xfff1)));
    }
}

#[test]
fn the_index_is_found_again_after_loss_around_the_wrap() {
    for profile in Profile::ALL {
        for lost in [0u16, 1, 100, 0x4000, 0x7ffe] {
            let (mut sender, mut receiver) = pair(profile);
            let before = 0xfffe;
            let first = protected(&mut sender, &rtp(SSRC, before));
            unprotected(&mut receiver, &first).unwrap();
            for sequence_number in (0..=lost).map(|n| before.wrapping_add(n + 1)) {
                let packet = protected(&mut sender, &rtp(SSRC, sequence_number));
                if sequence_number == before.wrapping_add(lost + 1) {
                    let received = unprotected(&mut receiver, &packet);
                    assert_eq!(received, Ok(rtp(SSRC, sequence_number)), "{lost} lost");
                }
            }
            let wrapped = u32::from(lost > 0);
            assert_eq!(receiver.position(SSRC).unwrap().roll_over_counter(), wrapped);
            assert_eq!(receiver.position(SSRC), sender.position());
        }
    }
}

#[test]
fn a_late_packet_of_the_round_before_is_accepted_once() {
    let (mut sender, mut receiver) = pair(Profile::AES_CM_128_HMAC_SHA1_80);
    let packets: Vec<_> = [0xfffe, 0xffff, 0x0000]
        .into_iter()
        .map(|sequence_number| protected(&mut sender, &rtp(SSRC, sequence_number)))
        .collect();
    assert!(unprotected(&mut receiver, &packets[0]).is_ok());
    assert!(unprotected(&mut receiver, &packets[2]).is_ok());
    assert_eq!(unprotected(&mut receiver, &packets[1]), Ok(rtp(SSRC, 0xffff)));
    assert_eq!(unprotected(&mut receiver, &packets[1]), Err(Discard::Replayed));
    assert_eq!(receiver.position(SSRC), Some(PacketIndex::new(1, SequenceNumber(0))));
}

#[test]
fn a_sender_uses_no_index_twice() {
    for profile in Profile::ALL {
        let (mut sender, _) = pair(profile);
        protected(&mut sender, &rtp(SSRC, 10));
        protected(&mut sender, &rtp(SSRC, 9));
        for used in [9, 10] {
            let mut buffer = [0; 64];
            buffer[..20].copy_from_slice(&rtp(SSRC, used));
            assert_eq!(sender.protect(&mut buffer, 20), Err(Discard::Replayed));
            assert_eq!(buffer[..20], rtp(SSRC, used), "nothing is encrypted twice");
        }
        sender.rtcp_index_next = RTCP_INDEX_MAX;
        protected_rtcp(&mut sender, &rtcp(SSRC));
        assert_eq!(sender.protect_rtcp(&mut [0x80; 64], 8), Err(Discard::BadRtcp));
        let mut buffer = [&rtcp(SSRC)[..], &[0; 32]].concat();
        assert_eq!(sender.protect_rtcp(&mut buffer, 8), Err(Discard::Replayed));
    }
}

#[test]
fn a_sender_refuses_what_is_not_its_own_or_does_not_fit() {
    for profile in Profile::ALL {
        let (mut sender, _) = pair(profile);
        let mut buffer = [&rtp(Ssrc(1), 10)[..], &[0; 32]].concat();
        assert_eq!(sender.protect(&mut buffer, 20), Err(Discard::BadRtp));
        let mut buffer = [&rtp(SSRC, 10)[..], &vec![0; profile.tag_bytes() - 1]].concat();
        assert_eq!(sender.protect(&mut buffer, 20), Err(Discard::TooLarge));
        assert_eq!(sender.protect(&mut buffer, 100), Err(Discard::TooLarge));
        assert_eq!(sender.protect(&mut buffer, 11), Err(Discard::Truncated));
        assert_eq!(sender.position(), None);
        let mut report = [&rtcp(SSRC)[..], &vec![0; profile.tag_bytes() + 3]].concat();
        assert_eq!(sender.protect_rtcp(&mut report, 8), Err(Discard::TooLarge));
        assert_eq!(sender.protect_rtcp(&mut report, 100), Err(Discard::TooLarge));
    }
}

#[test]
fn rtcp_in_the_clear_is_refused() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let mut report = protected_rtcp(&mut sender, &rtcp(SSRC));
        let index_at = match profile {
            Profile::AES_CM_128_HMAC_SHA1_80 => report.len() - 14,
            _ => report.len() - 4,
        };
        report[index_at] &= 0x7f;
        assert_eq!(unprotected_rtcp(&mut receiver, &report), Err(Discard::BadSrtp));
    }
}

#[test]
fn no_source_can_be_replayed_after_others_took_its_place() {
    let key = master(Profile::AES_CM_128_HMAC_SHA1_80);
    let mut receiver = Receiver::new(&key);
    let mut senders: Vec<_> =
        (0..SOURCES_MAX as u32).map(|ssrc| Sender::new(&key, Ssrc(ssrc))).collect();
    let mut sent = Vec::new();
    for sender in &mut senders {
        let ssrc = sender.ssrc();
        let packet = protected(sender, &rtp(ssrc, 7));
        let report = protected_rtcp(sender, &rtcp(ssrc));
        assert!(unprotected(&mut receiver, &packet).is_ok());
        assert!(unprotected_rtcp(&mut receiver, &report).is_ok());
        sent.push((packet, report));
    }
    // Twice, so that a source that came back by a replay would show.
    for (packet, report) in sent.iter().chain(&sent) {
        assert_eq!(unprotected(&mut receiver, packet), Err(Discard::Replayed));
        assert_eq!(unprotected_rtcp(&mut receiver, report), Err(Discard::Replayed));
    }
    // Each goes on where it was, and one too many is refused.
    for sender in &mut senders {
        let ssrc = sender.ssrc();
        let packet = protected(sender, &rtp(ssrc, 8));
        let report = protected_rtcp(sender, &rtcp(ssrc));
        assert!(unprotected(&mut receiver, &packet).is_ok());
        assert!(unprotected_rtcp(&mut receiver, &report).is_ok());
    }
    let mut another = Sender::new(&key, Ssrc(99));
    let packet = protected(&mut another, &rtp(Ssrc(99), 1));
    assert_eq!(unprotected(&mut receiver, &packet), Err(Discard::UnknownSource));
}

#[test]
fn the_sources_in_use_keep_their_windows() {
    let key = master(Profile::AES_CM_128_HMAC_SHA1_80);
    let mut receiver = Receiver::new(&key);
    let mut live = Sender::new(&key, SSRC);
    for other in 0..10 {
        let late = protected(&mut live, &rtp(SSRC, 2 * other));
        let packet = protected(&mut live, &rtp(SSRC, 2 * other + 1));
        assert!(unprotected(&mut receiver, &packet).is_ok());
        let ssrc = Ssrc(u32::from(other));
        let packet = protected(&mut Sender::new(&key, ssrc), &rtp(ssrc, 1));
        assert!(unprotected(&mut receiver, &packet).is_ok());
        assert!(unprotected(&mut receiver, &late).is_ok(), "late, but not replayed");
    }
}

#[test]
fn keys_are_not_in_debug_output() {
    let (sender, receiver) = pair(Profile::AES_CM_128_HMAC_SHA1_80);
    assert_eq!(format!("{sender:?}"), "Sender(AES_CM_128_HMAC_SHA1_80, Ssrc(3405691582), None)");
    assert_eq!(format!("{receiver:?}"), "Receiver(AES_CM_128_HMAC_SHA1_80, [])");
}

fn any_profile() -> impl Strategy<Value = Profile> {
    prop::sample::select(&Profile::ALL)
}

proptest! {
    #[test]
    fn what_is_protected_is_unprotected(
        profile in any_profile(), start: u16, payload: Vec<u8>,
        // Losses and reordering well inside the window.
        steps in prop::collection::vec((1u16..600, any::<bool>()), 1..40),
    ) {
        let (mut sender, mut receiver) = pair(profile);
        let mut sequence_number = start;
        let mut held: Option<(Vec<u8>, Vec<u8>)> = None;
        for (step, hold) in steps {
            sequence_number = sequence_number.wrapping_add(step);
            let plain = [&rtp(SSRC, sequence_number)[..], &payload].concat();
            let sealed = protected(&mut sender, &plain);
            prop_assert_eq!(sealed.len(), plain.len() + profile.tag_bytes());
            if hold && held.is_none() && receiver.position(SSRC).is_some() && step < 60 {
                held = Some((plain, sealed));
                continue;
            }
            prop_assert_eq!(unprotected(&mut receiver, &sealed), Ok(plain));
            if let Some((plain, sealed)) = held.take() {
                let expected = if step < 128 { Ok(plain) } else { Err(Discard::Replayed) };
                prop_assert_eq!(unprotected(&mut receiver, &sealed), expected);
            }
        }
    }

    #[test]
    fn any_bytes_are_discarded(profile in any_profile(), first in 0x80u8..=0xbf, rest: Vec<u8>) {
        let (_, mut receiver) = pair(profile);
        let packet = [&[first][..], &rest].concat();
        prop_assert!(unprotected(&mut receiver, &packet).is_err());
        prop_assert!(unprotected_rtcp(&mut receiver, &packet).is_err());
        prop_assert!(receiver.active.iter().all(Option::is_none));
    }
}
