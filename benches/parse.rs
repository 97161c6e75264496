//! What reading and writing signaling costs: a browser's INVITE as it comes over WSS, and the
//! answer that goes back. `cargo bench --bench parse`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use linecard::wire::sip::{Message, Request, Response, Status, parse_websocket};
use std::hint::black_box;

#[path = "material/invite.rs"]
mod invite;

use invite::browser_invite;

fn request(bytes: &[u8]) -> Request {
    match parse_websocket(bytes) {
        Ok(Message::Request(request)) => request,
        other => panic!("the INVITE reads: {other:?}"),
    }
}

fn bench_sip(criterion: &mut Criterion) {
    let bytes = browser_invite();
    let invite = request(&bytes);
    let mut group = criterion.benchmark_group("sip");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("parse invite", |bencher| {
        bencher.iter(|| parse_websocket(black_box(&bytes)));
    });
    group.bench_function("write invite", |bencher| bencher.iter(|| black_box(&invite).to_bytes()));
    group.bench_function("answer invite", |bencher| {
        bencher.iter(|| {
            let mut response = Response::to(black_box(&invite), Status::OK);
            let tagged = response.set_to_tag("k2v9q0s1m3n4");
            (tagged, response.to_bytes())
        });
    });
    group.finish();
}

criterion_group!(benches, bench_sip);
criterion_main!(benches);
