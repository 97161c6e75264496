//! The trunk as a caller meets it, under a clock of the test's own.

use super::*;
use crate::base::narrow::Narrow;
use crate::base::random;
use crate::wire::sip::{Message, parse_datagram};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 30000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n";

struct Caller {
    calls: Calls,
    random: Random,
    now: Instant,
    address: SocketAddr,
    /// What the trunk did, SIP apart.
    done: Vec<Output>,
    responses: Vec<Response>,
    requests: Vec<Request>,
}

impl Caller {
    fn new() -> Self {
        let mut random = random::from_seed(7);
        Self {
            calls: Calls::new("192.0.2.9:5060".parse().unwrap(), &mut random),
            random,
            now: Instant::now(),
            address: "192.0.2.1:5060".parse().unwrap(),
            done: Vec::new(),
            responses: Vec::new(),
            requests: Vec::new(),
        }
    }

    fn send(&mut self, method: &str, number: &str, to_tag: &str, cseq: u32, body: &str) {
        let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let branch = if matches!(method, "CANCEL") { "INVITE" } else { method };
        let text = format!(
            "{method} sip:{number}@192.0.2.9 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{branch}{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:a@192.0.2.1>;tag=x\r\nTo: <sip:{number}@192.0.2.9>{to_tag}\r\n\
             Call-ID: {number}-{cseq}-call\r\nCSeq: {cseq} {method}\r\nContact: <sip:a@192.0.2.1:5060>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.calls.receive(text.as_bytes(), self.address, self.now);
        self.take();
    }

    fn invite(&mut self, number: &str) {
        self.send("INVITE", number, "", 1, OFFER);
    }

    fn take(&mut self) {
        while let Some(output) = self.calls.poll_output(self.now) {
            match output {
                Output::Send { to, bytes } => {
                    assert_eq!(to, self.address);
                    match parse_datagram(&bytes).unwrap() {
                        Message::Request(request) => self.requests.push(request),
                        Message::Response(response) => self.responses.push(response),
                    }
                }
                other => self.done.push(other),
            }
        }
    }

    fn open_ports(&mut self) -> CallId {
        let Some(Output::OpenPorts { call }) = self.done.pop() else { panic!("{:?}", self.done) };
        self.calls.ports_opened(call, Some("192.0.2.9:20000".parse().unwrap()), self.now);
        self.take();
        call
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.calls.next_timeout().filter(|next| *next <= until) {
            self.now = next.max(self.now);
            self.calls.handle_timeout(self.now, &mut self.random);
            self.take();
        }
        self.now = until;
    }

    fn statuses(&self) -> Vec<u16> {
        self.responses.iter().map(|response| response.status.code()).collect()
    }

    fn tag(&self) -> String {
        self.responses.last().unwrap().headers.to().unwrap().tag().unwrap().to_owned()
    }

    /// Up to the ACK.
    fn talk(&mut self, number: &str) -> CallId {
        self.invite(number);
        let call = self.open_ports();
        self.pass(RINGING_TIME);
        let tag = self.tag();
        self.send("ACK", number, &tag, 1, "");
        call
    }
}

#[test]
fn a_call_rings_a_second_and_is_answered_in_the_callers_codec() {
    let mut caller = Caller::new();
    caller.invite("101");
    let call = caller.open_ports();
    assert_eq!(caller.statuses(), [180]);
    let early_tag = caller.tag();
    caller.pass(RINGING_TIME - Duration::from_millis(1));
    assert_eq!(caller.statuses(), [180]);
    caller.pass(Duration::from_millis(1));
    assert_eq!(caller.statuses(), [180, 200]);
    assert_eq!(caller.tag(), early_tag);

    let answer = caller.responses.last().unwrap();
    answer.headers.contact().unwrap();
    let sdp = String::from_utf8(answer.body.clone()).unwrap();
    assert!(sdp.contains("m=audio 20000 RTP/AVP 8 101\r\n"), "{sdp}");
    let Some(Output::Start { call: started, number, agreement, remote }) = caller.done.pop() else {
        panic!("not started");
    };
    assert_eq!((started, number), (call, Number::Speech));
    assert_eq!(agreement.send.codec, Codec::Pcma);
    assert_eq!(remote, "192.0.2.1:30000".parse().unwrap());
}

#[test]
fn a_bye_ends_the_call_and_a_second_one_finds_none() {
    let mut caller = Caller::new();
    let call = caller.talk("100");
    caller.done.clear();
    let tag = caller.tag();
    // The same dialog, whose Call-ID the helper makes of number and CSeq.
    caller.send("BYE", "100", &tag, 1, "");
    assert_eq!(caller.statuses().last(), Some(&200));
    assert_eq!(caller.done, [Output::Stop { call }]);
    caller.send("BYE", "100", &tag, 2, "");
    assert_eq!(caller.statuses().last(), Some(&481));
}

#[test]
fn each_number_that_is_not_answered_says_why() {
    let offer_without_g711 =
        OFFER.replace("8 0 101", "18").replace("101 telephone-event", "18 G729");
    for (number, body, status) in [
        ("486", OFFER, 486),
        ("999", OFFER, 404),
        ("100", "", 488),
        ("100", "garbage", 488),
        ("100", &offer_without_g711, 488),
    ] {
        let mut caller = Caller::new();
        caller.send("INVITE", number, "", 1, body);
        assert_eq!(caller.statuses().last(), Some(&status), "{number} {body}");
        assert!(caller.done.is_empty() && caller.calls.calls.is_empty());
    }
}

#[test]
fn a_cancel_ends_the_ringing() {
    let mut caller = Caller::new();
    caller.invite("408");
    let call = caller.open_ports();
    caller.pass(Duration::from_secs(30));
    assert_eq!(caller.statuses(), [180]);
    caller.send("CANCEL", "408", "", 1, "");
    let mut after = caller.statuses().split_off(1);
    after.sort_unstable();
    assert_eq!(after, [200, 487]);
    assert_eq!(caller.done, [Output::Stop { call }]);
}

#[test]
fn a_call_nobody_ends_is_ended_with_bye() {
    let mut caller = Caller::new();
    let call = caller.talk("100");
    caller.done.clear();
    caller.pass(CALL_TIME_MAX);
    assert_eq!(caller.requests[0].method, Method::Bye);
    assert_eq!(caller.requests[0].headers.from().unwrap().tag(), Some(caller.tag().as_str()));
    assert_eq!(caller.done, [Output::Stop { call }]);
}

#[test]
fn an_answer_that_is_never_acknowledged_frees_the_ports() {
    let mut caller = Caller::new();
    caller.invite("100");
    let call = caller.open_ports();
    caller.pass(RINGING_TIME + Duration::from_secs(33));
    assert!(caller.done.contains(&Output::Stop { call }));
}

#[test]
fn more_calls_than_fit_are_refused() {
    let mut caller = Caller::new();
    for cseq in 1..=CALLS_MAX.narrow() {
        caller.send("INVITE", "100", "", cseq, OFFER);
    }
    assert_eq!(caller.calls.calls.len(), CALLS_MAX);
    caller.send("INVITE", "100", "", 1000, OFFER);
    assert_eq!(caller.statuses().last(), Some(&503));
}

#[test]
fn without_a_port_the_call_is_refused() {
    let mut caller = Caller::new();
    caller.invite("100");
    let Some(Output::OpenPorts { call }) = caller.done.pop() else { panic!("no ports asked for") };
    caller.calls.ports_opened(call, None, caller.now);
    caller.take();
    assert_eq!(caller.statuses(), [503]);
    assert!(caller.calls.calls.is_empty());
}

#[test]
fn other_methods_are_told_which_there_are() {
    let mut caller = Caller::new();
    caller.send("OPTIONS", "100", "", 1, "");
    caller.send("MESSAGE", "100", "", 2, "");
    assert_eq!(caller.statuses(), [200, 405]);
    for response in &caller.responses {
        assert!(response.headers.lists(&HeaderName::Allow, "INVITE"));
    }
}
