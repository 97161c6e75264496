//! What one datagram costs in the packet line, without a socket: everything from the received bytes
//! to the datagram in its send slot. `cargo bench --bench line`; `--bench codec` has the share of the
//! codecs, `tools/load` the whole process.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use linecard::audio::opus::OpusArena;
use linecard::control::message::Side;

#[path = "material/call.rs"]
mod call;
#[path = "material/speech.rs"]
mod speech;

use call::{FarEnd, HOLD_MAX, LegKind, Line, REPORT_INTERVAL_MAX};

fn bench_packets(criterion: &mut Criterion) {
    use LegKind::{Browser, Trunk};
    let arena = OpusArena::new(4).expect("memory for four calls");
    let mut group = criterion.benchmark_group("line");
    for (name, a, b) in [
        ("SRTP Opus to PCMU", Browser, Trunk),
        ("PCMU to SRTP Opus", Trunk, Browser),
        ("SRTP Opus relayed to SRTP Opus", Browser, Browser),
        ("PCMU to PCMU", Trunk, Trunk),
    ] {
        let (mut line, mut far_end) = (Line::new(&arena, a, b), FarEnd::new(&arena, a));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || far_end.packet(),
                |packet| line.hear(packet),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn bench_loss(criterion: &mut Criterion) {
    use LegKind::{Browser, Trunk};
    let arena = OpusArena::new(4).expect("memory for four calls");
    let mut group = criterion.benchmark_group("line, a lost packet and the one after it");
    for (name, a, b) in [
        ("SRTP Opus to PCMU, rebuilt from FEC", Browser, Trunk),
        ("PCMU to SRTP Opus, concealed", Trunk, Browser),
    ] {
        let (mut line, mut far_end) = (Line::new(&arena, a, b), FarEnd::new(&arena, a));
        line.hear(&mut far_end.packet());
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || far_end.packet_after_a_lost_one(),
                |packet| {
                    line.hear(packet);
                    line.pass(HOLD_MAX);
                },
                BatchSize::SmallInput,
            );
        });
        let heard = line.statistics().a;
        let filled = if a == Browser { heard.frames_recovered } else { heard.frames_concealed };
        assert!(filled > 0, "{name}: nothing was");
    }
    group.finish();
}

fn bench_rtcp(criterion: &mut Criterion) {
    use LegKind::{Browser, Trunk};
    let arena = OpusArena::new(4).expect("memory for four calls");
    let mut group = criterion.benchmark_group("line, RTCP");
    let (mut line, mut far_end) = (Line::new(&arena, Browser, Trunk), FarEnd::new(&arena, Browser));
    line.hear(&mut far_end.packet());
    group.bench_function("SRTCP report received", |bencher| {
        bencher.iter_batched_ref(
            || far_end.report(),
            |datagram| line.hear_rtcp(Side::A, datagram),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("reports of both legs sent", |bencher| {
        bencher.iter(|| line.pass(REPORT_INTERVAL_MAX));
    });
    group.finish();
}

criterion_group!(benches, bench_packets, bench_loss, bench_rtcp);
criterion_main!(benches);
