//! What protecting and unprotecting one packet costs in each profile: 172 bytes of payload, a G.711
//! packet and then some. `cargo bench --bench srtp`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use linecard::srtp::keys::{MasterKey, Profile};
use linecard::srtp::protect::{RTP_GROWTH_BYTES_MAX, Receiver, Sender};
use linecard::wire::rtp::{
    HEADER_BYTES, PayloadType, RtpHeader, RtpTimestamp, SequenceNumber, Ssrc,
};

const PAYLOAD_BYTES: usize = 172;
const PACKET_BYTES: usize = HEADER_BYTES + PAYLOAD_BYTES;
const SSRC: Ssrc = Ssrc(0xABCD);

/// Protects packet after packet; what is encrypted does not matter to the time.
struct Stream {
    sender: Sender,
    header: RtpHeader,
    buffer: [u8; PACKET_BYTES + RTP_GROWTH_BYTES_MAX],
}

impl Stream {
    fn new(master: &MasterKey) -> Self {
        let header = RtpHeader {
            marker: false,
            payload_type: PayloadType::PCMU,
            sequence_number: SequenceNumber(0),
            timestamp: RtpTimestamp(0),
            ssrc: SSRC,
        };
        let buffer = [0x5A; PACKET_BYTES + RTP_GROWTH_BYTES_MAX];
        Self { sender: Sender::new(master, SSRC), header, buffer }
    }

    fn next(&mut self) -> usize {
        self.header.sequence_number = self.header.sequence_number.next();
        if let Some(fixed) = self.buffer.first_chunk_mut() {
            self.header.write(fixed);
        }
        self.sender.protect(black_box(&mut self.buffer), PACKET_BYTES).expect("a new index")
    }

    fn next_packet(&mut self) -> Vec<u8> {
        let length = self.next();
        self.buffer[..length].to_vec()
    }
}

fn bench_profiles(criterion: &mut Criterion) {
    for profile in Profile::ALL {
        let key = vec![7; profile.key_bytes() + profile.salt_bytes()];
        let master = MasterKey::from_bytes(profile, &key).expect("a key of its length");
        let mut group = criterion.benchmark_group(format!("{profile:?}"));
        let mut stream = Stream::new(&master);
        group.bench_function("protect", |bencher| bencher.iter(|| stream.next()));
        let mut stream = Stream::new(&master);
        let mut receiver = Receiver::new(&master);
        group.bench_function("unprotect", |bencher| {
            bencher.iter_batched_ref(
                || stream.next_packet(),
                |packet| receiver.unprotect(packet).expect("a good packet"),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, bench_profiles);
criterion_main!(benches);
