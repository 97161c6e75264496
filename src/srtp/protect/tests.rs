use proptest::prelude::*;

use super::*;
use crate::base::hex::bytes;
use crate::srtp::snapshot::*;
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
            unprotected(&mut receiver, &packet[..length]).unwrap_err();
        }
        for length in 0..report.len() {
            unprotected_rtcp(&mut receiver, &report[..length]).unwrap_err();
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
            unprotected(&mut receiver, &forged).unwrap_err();
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
    unprotected(&mut receiver, &packets[0]).unwrap();
    unprotected(&mut receiver, &packets[2]).unwrap();
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
fn a_sender_that_is_told_the_index_seals_as_one_that_estimates_it() {
    for profile in Profile::ALL {
        let (mut told, mut receiver) = pair(profile);
        let mut estimating = Sender::new(&master(profile), SSRC);
        for value in [0x7fff_u64, 0x8000, 0xffff, 0x1_0000, 0x1_0009] {
            let index = PacketIndex::from_value(value);
            let packet = rtp(SSRC, index.sequence_number().0);
            let mut buffer = [&packet[..], &[0; RTP_GROWTH_BYTES_MAX]].concat();
            let length = told.protect_at(index, &mut buffer, packet.len()).unwrap();
            assert_eq!(buffer[..length], protected(&mut estimating, &packet));
            assert_eq!(unprotected(&mut receiver, &buffer[..length]), Ok(packet.clone()));
            // Neither a second time, nor under an index that is not the packet's.
            for (index, refused) in [(index, Discard::Replayed), (index.later(1), Discard::BadRtp)]
            {
                let mut buffer = [&packet[..], &[0; RTP_GROWTH_BYTES_MAX]].concat();
                assert_eq!(told.protect_at(index, &mut buffer, packet.len()), Err(refused));
            }
        }
        // A jump that no estimate follows.
        let index = PacketIndex::new(7, SequenceNumber(3));
        let mut buffer = [&rtp(SSRC, 3)[..], &[0; RTP_GROWTH_BYTES_MAX]].concat();
        let length = buffer.len() - RTP_GROWTH_BYTES_MAX;
        told.protect_at(index, &mut buffer, length).unwrap();
        assert_eq!(told.position(), Some(index));
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
        unprotected(&mut receiver, &packet).unwrap();
        unprotected_rtcp(&mut receiver, &report).unwrap();
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
        unprotected(&mut receiver, &packet).unwrap();
        unprotected_rtcp(&mut receiver, &report).unwrap();
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
        unprotected(&mut receiver, &packet).unwrap();
        let ssrc = Ssrc(u32::from(other));
        let packet = protected(&mut Sender::new(&key, ssrc), &rtp(ssrc, 1));
        unprotected(&mut receiver, &packet).unwrap();
        assert!(unprotected(&mut receiver, &late).is_ok(), "late, but not replayed");
    }
}

#[test]
fn keys_are_not_in_debug_output() {
    let (sender, receiver) = pair(Profile::AES_CM_128_HMAC_SHA1_80);
    assert_eq!(format!("{sender:?}"), "Sender(AES_CM_128_HMAC_SHA1_80, Ssrc(3405691582), None)");
    assert_eq!(format!("{receiver:?}"), "Receiver(AES_CM_128_HMAC_SHA1_80, [])");
}

/// A sender's packets, `step` sequence numbers apart; only those from number `first` on are given.
fn packets_from(
    sender: &mut Sender,
    start: u64,
    step: u64,
    first: u64,
    count: u64,
) -> Vec<Vec<u8>> {
    let mut packets: Vec<_> = (0..first + count)
        .map(|number| protected(sender, &rtp(sender.ssrc(), (start + number * step) as u16)))
        .collect();
    packets.split_off(first as usize)
}

#[test]
fn a_source_whose_first_packets_before_the_wrap_were_lost_is_heard_at_once() {
    for profile in Profile::ALL {
        for (start, lost) in
            [(65_530, 10), (65_500, 50), (65_535, 1), (65_535, 3), (40_000, 30_000)]
        {
            let (mut sender, mut receiver) = pair(profile);
            for packet in packets_from(&mut sender, start, 1, lost, 3) {
                assert_eq!(unprotected(&mut receiver, &packet).map(|plain| plain.len()), Ok(20));
                assert_eq!(unprotected(&mut receiver, &packet), Err(Discard::Replayed));
            }
            assert_eq!(receiver.position(SSRC), sender.position());
            assert_eq!(sender.position().unwrap().roll_over_counter(), 1);
        }
    }
}

#[test]
fn a_late_packet_of_round_0_is_accepted_after_round_1_was_found() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let packets = packets_from(&mut sender, 0xfffe, 1, 0, 4);
        for place in [2, 1, 3, 0] {
            assert!(unprotected(&mut receiver, &packets[place]).is_ok(), "{place}");
        }
        assert_eq!(receiver.position(SSRC), Some(PacketIndex::new(1, SequenceNumber(1))));
    }
}

#[test]
fn a_round_that_is_found_by_a_first_packet_is_only_kept_when_its_tag_is_good() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let packets = packets_from(&mut sender, 65_530, 1, 10, 2);
        for bit in 0..packets[0].len() * 8 {
            let mut flipped = packets[0].clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotected(&mut receiver, &flipped).is_err(), "{profile:?} bit {bit}");
        }
        assert_eq!(receiver.snapshot(), ReceiverSnapshot::default());
        assert!(packets.iter().all(|packet| unprotected(&mut receiver, packet).is_ok()));
    }
}

#[test]
fn a_report_heard_first_leaves_the_round_of_rtp_open() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let packets = packets_from(&mut sender, 65_530, 1, 10, 1);
        sender.rtcp_index_next = 77;
        let report = protected_rtcp(&mut sender, &rtcp(SSRC));
        unprotected_rtcp(&mut receiver, &report).unwrap();
        assert_eq!(receiver.position(SSRC), None);
        unprotected(&mut receiver, &packets[0]).unwrap();
        assert_eq!(receiver.position(SSRC), sender.position());
    }
}

#[test]
fn a_source_of_any_round_within_reach_is_found_in_96_packets() {
    for profile in Profile::ALL {
        for round in 0..=ROUNDS_TRIED_MAX + 1 {
            let (mut sender, mut receiver) = pair(profile);
            // Steps that a receiver of all of them follows.
            let target = u64::from(round) << 16;
            packets_from(&mut sender, 0, 0x4000, (target >> 14) + 1, 0);
            let heard = packets_from(&mut sender, target + 1, 1, 0, 96)
                .iter()
                .filter(|packet| unprotected(&mut receiver, packet).is_ok())
                .count();
            match round {
                0..=1 => assert_eq!(heard, 96),
                2..=ROUNDS_TRIED_MAX => assert!(heard > 0, "{round}"),
                _ => assert_eq!(heard, 0, "{round}"),
            }
            assert!(heard == 0 || receiver.position(SSRC) == sender.position());
        }
    }
}

#[test]
fn a_receiver_that_missed_more_than_half_a_round_goes_on() {
    for profile in Profile::ALL {
        for missed in [0x7ffe, 0x7fff, 0x8000, 0x8001, 0xc000, 0xffff - 200, 0x1_0100, 0x1_7ff0] {
            for start in [0u64, 0x100, 0x7fff, 0x8000, 0xffff] {
                let (mut sender, mut receiver) = pair(profile);
                let first = protected(&mut sender, &rtp(SSRC, start as u16));
                unprotected(&mut receiver, &first).unwrap();
                let next = start + missed + 1;
                // The sender's own way there.
                for index in (start + 0x1000..next).step_by(0x1000) {
                    protected(&mut sender, &rtp(SSRC, index as u16));
                }
                let heard = packets_from(&mut sender, next, 1, 0, 3)
                    .iter()
                    .filter(|packet| unprotected(&mut receiver, packet).is_ok())
                    .count();
                assert!(heard >= 2, "{profile:?} {missed:#x} from {start:#x}: {heard}");
                assert_eq!(receiver.position(SSRC), sender.position());
            }
        }
    }
}

#[test]
fn a_retired_source_that_sent_half_a_round_meanwhile_goes_on() {
    let key = master(Profile::AEAD_AES_128_GCM);
    let mut receiver = Receiver::new(&key);
    let mut returning = Sender::new(&key, SSRC);
    let first = protected(&mut returning, &rtp(SSRC, 5));
    unprotected(&mut receiver, &first).unwrap();
    for ssrc in (0..ACTIVE_SOURCES_MAX as u32).map(Ssrc) {
        let packet = protected(&mut Sender::new(&key, ssrc), &rtp(ssrc, 1));
        unprotected(&mut receiver, &packet).unwrap();
    }
    assert_eq!(receiver.position(SSRC).map(PacketIndex::value), Some(5), "known, though retired");
    for index in (0x1000..0xa000).step_by(0x1000) {
        protected(&mut returning, &rtp(SSRC, index));
    }
    let packet = protected(&mut returning, &rtp(SSRC, 0xa001));
    assert_eq!(unprotected(&mut receiver, &first), Err(Discard::Replayed));
    assert_eq!(unprotected(&mut receiver, &packet), Ok(rtp(SSRC, 0xa001)));
}

#[test]
fn a_packet_whose_tag_is_bad_stays_as_it_was() {
    for profile in Profile::ALL {
        for payload_bytes in [0, 1, 200, 256, 257, 1_400] {
            let (mut sender, mut receiver) = pair(profile);
            let plain = [&rtp(SSRC, 9)[..], &vec![7; payload_bytes]].concat();
            let sealed = protected(&mut sender, &plain);
            let mut forged = sealed.clone();
            forged[12] ^= 1;
            let before = forged.clone();
            assert_eq!(receiver.unprotect(&mut forged), Err(Discard::BadTag));
            assert_eq!(forged, before);
            assert_eq!(unprotected(&mut receiver, &sealed), Ok(plain));
        }
    }
}

#[test]
fn a_packet_is_given_with_the_header_that_was_read() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let mut plain = rtp(SSRC, 9);
        let mut sealed = protected(&mut sender, &plain);
        assert_eq!(receiver.unprotect_and_parse(&mut sealed), RtpPacket::parse(&plain));

        // One contributing source and two bytes of padding.
        plain = rtp(SSRC, 10);
        plain[0] |= 0x21;
        plain.splice(12..12, [0, 0, 0, 1]);
        plain.extend([0, 2]);
        let mut sealed = protected(&mut sender, &plain);
        let opened = receiver.unprotect_and_parse(&mut sealed);
        assert_eq!(opened, RtpPacket::parse(&plain));
        *plain.last_mut().unwrap() = 200;
        plain[3] = 11;
        let mut sealed = protected(&mut sender, &plain);
        let again = sealed.clone();
        assert_eq!(receiver.unprotect_and_parse(&mut sealed), Err(Discard::BadRtp));
        assert_eq!(unprotected(&mut receiver, &again), Err(Discard::Replayed));
    }
}

const MARGIN: Margin = Margin { packets: 500, reports: 3 };

#[test]
fn a_resumed_sender_uses_no_index_that_was_used() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        for packet in packets_from(&mut sender, 0xff00, 1, 0, 200) {
            unprotected(&mut receiver, &packet).unwrap();
        }
        protected_rtcp(&mut sender, &rtcp(SSRC));
        let snapshot = sender.snapshot(SequenceNumber(0xffc8));
        let expected = SenderSnapshot { ssrc: SSRC, rtp_next: 0xffc8, rtcp_next: 1 };
        assert_eq!(snapshot, expected);

        // It goes on after the snapshot, before it ends.
        for packet in packets_from(&mut sender, 0xffc8, 1, 0, 500) {
            unprotected(&mut receiver, &packet).unwrap();
        }
        let report = protected_rtcp(&mut sender, &rtcp(SSRC));
        unprotected_rtcp(&mut receiver, &report).unwrap();

        let mut resumed = Sender::resume(&master(profile), &snapshot, MARGIN).unwrap();
        let highest = resumed.position().unwrap();
        assert_eq!((highest.value(), resumed.ssrc()), (0xffc8 + 499, SSRC));
        for used in 0xff00..=highest.value() {
            let mut buffer = [&rtp(SSRC, used as u16)[..], &[0; 16]].concat();
            assert_eq!(resumed.protect(&mut buffer, 20), Err(Discard::Replayed));
        }
        let next = highest.sequence_number().next();
        let packet = protected(&mut resumed, &rtp(SSRC, next.0));
        assert_eq!(unprotected(&mut receiver, &packet), Ok(rtp(SSRC, next.0)));
        assert_eq!(receiver.position(SSRC), Some(PacketIndex::from_value(0xffc8 + 500)));
        let report = protected_rtcp(&mut resumed, &rtcp(SSRC));
        assert_eq!(unprotected_rtcp(&mut receiver, &report), Ok(rtcp(SSRC)));
        assert_eq!(resumed.snapshot(next).rtcp_next, 1 + 3 + 1);
    }
}

#[test]
fn a_sender_that_sent_nothing_is_resumed_beyond_what_it_would_have_sent() {
    let key = master(Profile::AEAD_AES_256_GCM);
    let snapshot = Sender::new(&key, SSRC).snapshot(SequenceNumber(1_000));
    let resumed = Sender::resume(&key, &snapshot, MARGIN).unwrap();
    assert_eq!(resumed.position().map(PacketIndex::value), Some(1_499));
    let none = Margin { packets: 0, reports: 0 };
    let snapshot = Sender::new(&key, SSRC).snapshot(SequenceNumber(0));
    assert_eq!(Sender::resume(&key, &snapshot, none).unwrap().position(), None);
}

#[test]
fn a_senders_snapshot_is_above_its_highest_index_whatever_comes_next() {
    let (mut sender, _) = pair(Profile::AEAD_AES_128_GCM);
    protected(&mut sender, &rtp(SSRC, 0xfffe));
    let next = |number| sender.snapshot(SequenceNumber(number)).rtp_next;
    assert_eq!(
        [next(0xffff), next(0), next(0xfff0), next(0xfffe)],
        [0xffff, 0x1_0000, 0xffff, 0xffff]
    );
}

#[test]
fn a_snapshot_that_leaves_no_index_is_refused() {
    let key = master(Profile::AEAD_AES_128_GCM);
    let at = |rtp_next| SenderSnapshot { ssrc: SSRC, rtp_next, rtcp_next: RTCP_INDEX_MAX };
    let resumed = |rtp_next| Sender::resume(&key, &at(rtp_next), MARGIN).map(|_| ());
    assert_eq!(resumed((1 << 48) - 500), Err(ResumeRefused::KeysUsedUp));
    assert_eq!(resumed(u64::MAX), Err(ResumeRefused::KeysUsedUp));
    assert_eq!(resumed((1 << 48) - 501), Ok(()));
    let wide = Margin { packets: Margin::PACKETS_MAX + 1, reports: 0 };
    let refused = Sender::resume(&key, &at(0), wide).map(|_| ());
    assert_eq!(refused, Err(ResumeRefused::MarginTooWide));
    // RTP goes on although no index is left for RTCP.
    let mut sender = Sender::resume(&key, &at(0), MARGIN).unwrap();
    let mut buffer = [&rtcp(SSRC)[..], &[0; 32]].concat();
    assert_eq!(sender.protect_rtcp(&mut buffer, 8), Err(Discard::Replayed));
    protected(&mut sender, &rtp(SSRC, 500));
}

#[test]
fn a_resumed_receiver_accepts_nothing_old_and_goes_on() {
    for profile in Profile::ALL {
        let key = master(profile);
        let mut receiver = Receiver::new(&key);
        let mut senders: Vec<_> =
            (0..SOURCES_MAX as u32).map(|ssrc| Sender::new(&key, Ssrc(ssrc))).collect();
        let mut old = Vec::new();
        for sender in &mut senders {
            let ssrc = sender.ssrc();
            let late = protected(sender, &rtp(ssrc, 0xffff));
            let packet = protected(sender, &rtp(ssrc, 0));
            let report = protected_rtcp(sender, &rtcp(ssrc));
            unprotected(&mut receiver, &packet).unwrap();
            unprotected_rtcp(&mut receiver, &report).unwrap();
            old.push((late, packet, report));
        }
        let snapshot = receiver.snapshot();
        assert_eq!(snapshot.sources.len(), SOURCES_MAX);
        let mut resumed = Receiver::resume(&key, &snapshot).unwrap();
        assert_eq!(resumed.snapshot(), snapshot);
        for (late, packet, report) in &old {
            // Even the one that never came might have, after the snapshot.
            assert_eq!(unprotected(&mut resumed, late), Err(Discard::Replayed));
            assert_eq!(unprotected(&mut resumed, packet), Err(Discard::Replayed));
            assert_eq!(unprotected_rtcp(&mut resumed, report), Err(Discard::Replayed));
        }
        for sender in &mut senders {
            let ssrc = sender.ssrc();
            let packet = protected(sender, &rtp(ssrc, 1));
            let report = protected_rtcp(sender, &rtcp(ssrc));
            assert_eq!(unprotected(&mut resumed, &packet), Ok(rtp(ssrc, 1)));
            assert_eq!(unprotected_rtcp(&mut resumed, &report), Ok(rtcp(ssrc)));
            assert_eq!(resumed.position(ssrc), sender.position());
        }
        let another = protected(&mut Sender::new(&key, Ssrc(99)), &rtp(Ssrc(99), 1));
        assert_eq!(unprotected(&mut resumed, &another), Err(Discard::UnknownSource));
    }
}

#[test]
fn a_receiver_resumed_from_an_old_snapshot_finds_the_round() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let first = protected(&mut sender, &rtp(SSRC, 0xf000));
        unprotected(&mut receiver, &first).unwrap();
        let snapshot = receiver.snapshot();
        let packets = packets_from(&mut sender, 0xf000 + 0x4000, 0x3c00, 3, 1);
        let mut resumed = Receiver::resume(&master(profile), &snapshot).unwrap();
        unprotected(&mut resumed, &packets[0]).unwrap();
        assert_eq!(resumed.position(SSRC), sender.position());
    }
}

#[test]
fn a_snapshot_that_no_receiver_gives_is_refused() {
    let key = master(Profile::AEAD_AES_128_GCM);
    let source =
        |ssrc| SourceSnapshot { ssrc: Ssrc(ssrc), rtp_highest: None, rtcp_highest: Some(1) };
    let resumed = |sources: Vec<SourceSnapshot>| {
        Receiver::resume(&key, &ReceiverSnapshot { sources }).map(|_| ())
    };
    let most = SOURCES_MAX as u32;
    assert_eq!(resumed((0..most).map(source).collect()), Ok(()));
    let refused = resumed((0..=most).map(source).collect());
    assert_eq!(refused, Err(ResumeRefused::TooManySources));
    let refused = resumed([1, 2, 1].map(source).to_vec());
    assert_eq!(refused, Err(ResumeRefused::RepeatedSource(Ssrc(1))));
}

#[test]
fn snapshots_are_plain_and_show_no_keys() {
    let (mut sender, mut receiver) = pair(Profile::AEAD_AES_128_GCM);
    let packet = protected(&mut sender, &rtp(Ssrc(SSRC.0), 7));
    unprotected(&mut receiver, &packet).unwrap();
    let sent = sender.snapshot(SequenceNumber(8));
    assert_eq!(
        format!("{sent:?}"),
        "SenderSnapshot { ssrc: Ssrc(3405691582), rtp_next: 8, rtcp_next: 0 }"
    );
    let text = serde_json::to_string(&sent).unwrap();
    assert_eq!(serde_json::from_str::<SenderSnapshot>(&text).unwrap(), sent);
    let received = receiver.snapshot();
    let text = serde_json::to_string(&received).unwrap();
    assert_eq!(text, r#"{"sources":[{"ssrc":3405691582,"rtp_highest":7,"rtcp_highest":null}]}"#);
    assert_eq!(serde_json::from_str::<ReceiverSnapshot>(&text).unwrap(), received);
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
