//! What one 20 ms frame costs in each codec and in concealment: the ceiling that the packet line is
//! measured against. `cargo bench --bench codec`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use linecard::audio::conceal::Concealer;
use linecard::audio::g711::{self, Law};
use linecard::audio::opus::{EncoderSettings, OpusArena, OpusDecoder, OpusEncoder};

#[path = "../src/audio/synthetic.rs"]
mod synthetic;

const FRAME: usize = 160;
/// Ten seconds: longer than any cache, with every syllable of the synthetic speech.
const SAMPLES: usize = 80_000;

fn encode(encoder: &mut OpusEncoder, speech: &[i16]) -> Vec<Vec<u8>> {
    let mut packet = [0; 1_500];
    let mut one = |pcm| {
        let length = encoder.encode(pcm, &mut packet).expect("a frame of 20 ms is encoded");
        packet[..length].to_vec()
    };
    speech.chunks_exact(FRAME).map(&mut one).collect()
}

fn bench_g711(criterion: &mut Criterion) {
    let speech = synthetic::speech(SAMPLES);
    let mut group = criterion.benchmark_group("g711");
    group.throughput(Throughput::Elements(FRAME as u64));
    for (name, law) in [("mu", Law::Mu), ("a", Law::A)] {
        let mut codes = [0; FRAME];
        let mut frames = speech.chunks_exact(FRAME).cycle();
        group.bench_function(format!("encode {name}"), |bencher| {
            bencher.iter(|| {
                let pcm = frames.next().unwrap_or(&[]);
                g711::encode(black_box(law), black_box(pcm), &mut codes);
                black_box(&codes);
            });
        });
        let mut pcm = [0; FRAME];
        group.bench_function(format!("decode {name}"), |bencher| {
            bencher.iter(|| {
                g711::decode(black_box(law), black_box(&codes), &mut pcm);
                black_box(&pcm);
            });
        });
    }
    let (codes, mut other) = ([0x55; FRAME], [0; FRAME]);
    group.bench_function("transcode", |bencher| {
        bencher.iter(|| {
            g711::transcode(black_box(Law::Mu), Law::A, black_box(&codes), &mut other);
            black_box(&other);
        });
    });
    group.finish();
}

fn bench_opus(criterion: &mut Criterion) {
    let speech = synthetic::speech(SAMPLES);
    let arena = OpusArena::new(1).expect("memory for one call");
    let settings = EncoderSettings::default();
    let mut encoder = arena.encoder(settings).expect("a free encoder");
    let packets = encode(&mut encoder, &speech);
    let mut decoder = arena.decoder().expect("a free decoder");

    let mut group = criterion.benchmark_group("opus");
    let mut frames = speech.chunks_exact(FRAME).cycle();
    let mut packet = [0; 1_500];
    group.bench_function("encode, default settings", |bencher| {
        bencher.iter(|| encoder.encode(frames.next().unwrap_or(&[]), &mut packet));
    });
    let mut next = packets.iter().cycle();
    let mut pcm = [0; FRAME];
    let mut decode = |decoder: &mut OpusDecoder| {
        next.next().map(|packet| decoder.decode(black_box(packet), &mut pcm))
    };
    group.bench_function("decode, default settings", |bencher| {
        bencher.iter(|| decode(&mut decoder));
    });
    // Every tenth packet lost: nine decoded, one recovered from the packet after it.
    let mut place = 0;
    group.bench_function("ten packets, one recovered by FEC", |bencher| {
        bencher.iter(|| {
            for step in 0..10 {
                let packet = &packets[place % packets.len()];
                let next = &packets[(place + 1) % packets.len()];
                if step == 9 {
                    decoder.recover(next, &mut pcm);
                } else {
                    let _ = black_box(decoder.decode(packet, &mut pcm));
                }
                place += 1;
            }
        });
    });
    group.finish();
}

fn bench_concealment(criterion: &mut Criterion) {
    let mut frames: Vec<[i16; FRAME]> = synthetic::speech(SAMPLES)
        .chunks_exact(FRAME)
        .filter_map(|frame| frame.try_into().ok())
        .collect();
    let count = frames.len();
    let mut concealer = Concealer::new();
    let mut group = criterion.benchmark_group("concealment");
    let mut place = 0;
    group.bench_function("received, nothing lost", |bencher| {
        bencher.iter(|| {
            place = (place + 1) % count;
            concealer.received(&mut frames[place]);
        });
    });
    group.bench_function("a lost frame and the one after it", |bencher| {
        bencher.iter(|| {
            place = (place + 1) % count;
            let mut lost = [0; FRAME];
            concealer.conceal(&mut lost);
            black_box(&lost);
            let mut after = frames[place];
            concealer.received(&mut after);
            black_box(&after);
        });
    });
    group.finish();
}

criterion_group!(benches, bench_g711, bench_opus, bench_concealment);
criterion_main!(benches);
