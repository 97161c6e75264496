//! What reading and writing signaling costs: a browser's INVITE as it comes over WSS, and the
//! answer that goes back. `cargo bench --bench parse`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use linecard::wire::sip::{Message, Request, Response, Status, parse_websocket};
use std::hint::black_box;

/// JsSIP's header fields around Chromium's offer.
fn browser_invite() -> Vec<u8> {
    let body = include_str!("../tests/samples/chromium-jssip-out_quality-browser-offer.sdp");
    let head = format!(
        "INVITE sip:+442079460018@example.com SIP/2.0\r\n\
         Via: SIP/2.0/WSS 9d2a7h5k1l0p.invalid;branch=z9hG4bK8263911\r\n\
         Max-Forwards: 69\r\n\
         To: <sip:+442079460018@example.com>\r\n\
         From: \"1001\" <sip:1001@example.com>;tag=3mq2d5s9u0\r\n\
         Call-ID: 1d7k2l9vqps3e6m1tn0c\r\n\
         CSeq: 2 INVITE\r\n\
         Proxy-Authorization: Digest algorithm=MD5, username=\"1001\", realm=\"example.com\", \
         nonce=\"00000000000186a0d2f1a3b4c5d6e7f80123456789abcdef0123456789abcdef\", \
         uri=\"sip:+442079460018@example.com\", response=\"6629fae49393a05397450978507c4ef1\", \
         qop=auth, cnonce=\"k2v9q0s1m3n4\", nc=00000001\r\n\
         Contact: <sip:x8u2m1ka@9d2a7h5k1l0p.invalid;transport=ws;ob>\r\n\
         Content-Type: application/sdp\r\n\
         Session-Expires: 90\r\n\
         Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\n\
         Supported: timer,ice,replaces,outbound\r\n\
         User-Agent: JsSIP 3.10.1\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

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
