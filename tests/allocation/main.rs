//! Nothing is allocated for a packet: reading, protecting and answering work in place, whatever the
//! profile, and so does the packet line ([`line`]). The allocator of this test counts what its own
//! thread asks for.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a wrong number fails its test"
)]
#![allow(unsafe_code, reason = "a counting allocator has to be one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use linecard::ice::check::{Expected, answer};
use linecard::srtp::keys::{MasterKey, Profile};
use linecard::srtp::protect::{RTCP_GROWTH_BYTES_MAX, Receiver, Sender};
use linecard::wire::demux::classify;
use linecard::wire::rtcp::{self, COMPOUND_BYTES_MAX, Compound, Presence, ReportBlock, RtcpPacket};
use linecard::wire::rtp::{PayloadType, RtpHeader, RtpPacket, RtpTimestamp, SequenceNumber, Ssrc};
use linecard::wire::stun::{
    BindingRequest, Message, RESPONSE_BYTES_MAX, Role, TransactionId, write_binding_request,
};

#[path = "../../benches/material/call.rs"]
mod call;
mod line;
#[path = "../../benches/material/speech.rs"]
mod speech;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations during `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

const SSRC: Ssrc = Ssrc(7);
const PAYLOAD_BYTES: usize = 160;

fn write_rtp(buffer: &mut [u8], sequence_number: u16) -> usize {
    let header = RtpHeader {
        marker: false,
        payload_type: PayloadType::PCMU,
        sequence_number: SequenceNumber(sequence_number),
        timestamp: RtpTimestamp(160),
        ssrc: SSRC,
    };
    header.write(buffer.first_chunk_mut().expect("room for a header"));
    12 + PAYLOAD_BYTES
}

fn write_reports(buffer: &mut [u8]) -> usize {
    let block = ReportBlock {
        ssrc: SSRC,
        fraction_lost: 1,
        cumulative_lost: 2,
        extended_highest_sequence: 3,
        jitter: 4,
        last_sr: 5,
        delay_since_last_sr: 6,
    };
    let compound = Compound {
        ssrc: SSRC,
        sender: None,
        reports: &[block; 3],
        cname: "name",
        presence: Presence::Leaves,
    };
    rtcp::write_compound(buffer, &compound).expect("room for a compound")
}

#[test]
fn the_allocator_counts() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1]))) > 0);
}

#[test]
fn nothing_is_allocated_to_protect_or_unprotect_a_packet() {
    for profile in Profile::ALL {
        let key = vec![1; profile.key_bytes() + profile.salt_bytes()];
        let master = MasterKey::from_bytes(profile, &key).expect("the profile's length");
        let (mut sender, mut receiver) = (Sender::new(&master, SSRC), Receiver::new(&master));
        let mut buffer = [0; COMPOUND_BYTES_MAX + RTCP_GROWTH_BYTES_MAX];
        for sequence_number in 0..100 {
            let made = allocations(|| {
                let length = write_rtp(&mut buffer, sequence_number);
                let length = sender.protect(&mut buffer, length).expect("fresh");
                let length = receiver.unprotect(&mut buffer[..length]).expect("authentic");
                let packet = RtpPacket::parse(&buffer[..length]).expect("RTP");
                assert_eq!(packet.payload.len(), PAYLOAD_BYTES);

                let length = write_reports(&mut buffer);
                let length = sender.protect_rtcp(&mut buffer, length).expect("fresh");
                classify(&buffer[..length]).expect("RTCP");
                let length = receiver.unprotect_rtcp(&mut buffer[..length]).expect("authentic");
                let mut blocks = 0;
                for packet in rtcp::parse(&buffer[..length]).expect("RTCP") {
                    if let RtcpPacket::ReceiverReport { reports, .. } = packet {
                        blocks += reports.count();
                    }
                }
                assert_eq!(blocks, 3);
            });
            assert_eq!(made, 0, "{profile:?}, packet {sequence_number}");
        }
    }
}

#[test]
fn nothing_is_allocated_to_answer_a_check() {
    let request = BindingRequest {
        transaction_id: TransactionId([1; 12]),
        username: "ours:theirs",
        priority: 1,
        role: Role::Controlling(1),
        use_candidate: true,
    };
    let expected = Expected {
        local_ufrag: "ours",
        local_password: "a password of some length",
        remote_ufrag: Some("theirs"),
    };
    let from = ([192, 0, 2, 1], 4000).into();
    let made = allocations(|| {
        let mut check = [0; 256];
        let key = expected.local_password.as_bytes();
        let length = write_binding_request(&mut check, &request, key).expect("room");
        let message = Message::parse(&check[..length]).expect("STUN");
        let mut out = [0; RESPONSE_BYTES_MAX];
        answer(&message, &expected, from, &mut out).expect("authentic");
    });
    assert_eq!(made, 0);
}
