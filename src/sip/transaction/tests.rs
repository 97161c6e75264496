//! Two engines, or one and a hand-written peer, under a virtual clock.

use super::*;
use crate::base::random::from_seed;
use crate::wire::sip::{Host, Uri};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const UDP: Flow = Flow::Udp(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5060));
const WEB: Flow = Flow::Web(7);

struct Bench {
    engine: Transactions,
    random: Random,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let sent_by = |name: &str| SentBy { host: Host::parse(name).unwrap(), port: None };
        let (mut random, now) = (from_seed(1), Instant::now());
        let engine = Transactions::new(sent_by("198.51.100.9"), sent_by("gw.example"), &mut random);
        Self { engine, random, start: now, now }
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.engine.poll_output()).collect()
    }

    /// What is sent, parsed.
    fn sent(&mut self) -> Vec<Message> {
        sent(&self.outputs())
    }

    /// Runs to `elapsed` after the start, and returns each output with its time in milliseconds.
    fn run_to(&mut self, elapsed: Duration) -> Vec<(u128, Output)> {
        let mut all = Vec::new();
        while let Some(due) = self.engine.next_timeout().filter(|due| *due <= self.start + elapsed)
        {
            self.now = due;
            self.engine.handle_timeout(due);
            let at = (due - self.start).as_millis();
            all.extend(self.outputs().into_iter().map(|output| (at, output)));
        }
        self.now = self.start + elapsed;
        all
    }

    fn request(&mut self, method: Method, flow: Flow) -> ClientTransactionId {
        let request = request(method, "");
        self.engine.request(request, flow, self.now, &mut self.random).unwrap()
    }

    /// Receives a request and returns its transaction.
    fn receive(&mut self, request: Request, flow: Flow) -> ServerTransactionId {
        self.engine.receive(Message::Request(request), flow, self.now);
        let mut found = None;
        while let Some(output) = self.engine.poll_output() {
            if let Output::Request { transaction, .. } = output {
                found = Some(transaction);
            }
        }
        found.unwrap()
    }

    fn answer(&mut self, request: &Request, status: Status, flow: Flow) {
        let mut response = Response::to(request, status);
        response.set_to_tag("peer").unwrap();
        self.engine.receive(Message::Response(response), flow, self.now);
    }
}

fn request(method: Method, via: &str) -> Request {
    let mut request = Request::new(method.clone(), "sip:bob@example.com".parse::<Uri>().unwrap());
    let headers = &mut request.headers;
    if !via.is_empty() {
        headers.push(HeaderName::Via, via);
    }
    headers.push(HeaderName::From, "<sip:alice@example.com>;tag=a1");
    headers.push(HeaderName::To, "<sip:bob@example.com>");
    headers.push(HeaderName::CallId, "c1");
    headers.push(HeaderName::CSeq, format!("1 {method}"));
    request
}

fn from_trunk(method: Method) -> Request {
    request(method, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx;rport")
}

fn sent(outputs: &[Output]) -> Vec<Message> {
    let bytes = outputs.iter().filter_map(|output| match output {
        Output::Send { bytes, .. } => Some(bytes),
        _ => None,
    });
    bytes.map(|bytes| parse_datagram(bytes).unwrap()).collect()
}

fn requests(messages: Vec<Message>) -> Vec<Request> {
    let requests = messages.into_iter().filter_map(|message| match message {
        Message::Request(request) => Some(request),
        Message::Response(_) => None,
    });
    requests.collect()
}

fn statuses(messages: &[Message]) -> Vec<u16> {
    let codes = messages.iter().filter_map(|message| match message {
        Message::Request(_) => None,
        Message::Response(response) => Some(response.status.code()),
    });
    codes.collect()
}

fn send_times(outputs: &[(u128, Output)]) -> Vec<u128> {
    let sends = outputs.iter().filter(|(_, output)| matches!(output, Output::Send { .. }));
    sends.map(|(at, _)| *at).collect()
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn an_unanswered_invite_is_repeated_at_doubling_intervals_and_fails_after_32_s() {
    let mut bench = Bench::new();
    let transaction = bench.request(Method::Invite, UDP);
    assert_eq!(bench.sent().len(), 1);
    let all = bench.run_to(LONG);
    assert_eq!(send_times(&all), [500, 1500, 3500, 7500, 15_500, 31_500]);
    let failed = Output::Failed { transaction, failure: Failure::Timeout };
    assert_eq!(all.last(), Some(&(32_000, failed)));
    assert!(bench.engine.is_empty());
}

#[test]
fn an_unanswered_bye_is_repeated_at_most_every_4_s_and_fails_after_32_s() {
    let mut bench = Bench::new();
    bench.request(Method::Bye, UDP);
    bench.outputs();
    let all = bench.run_to(LONG);
    let expected = [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    assert_eq!(send_times(&all), expected);
    assert!(matches!(all.last(), Some((32_000, Output::Failed { .. }))));
}

#[test]
fn on_a_reliable_flow_nothing_is_repeated_but_it_still_fails() {
    for method in [Method::Invite, Method::Bye] {
        let mut bench = Bench::new();
        bench.request(method, WEB);
        assert_eq!(bench.sent().len(), 1);
        let all = bench.run_to(LONG);
        assert!(matches!(all.as_slice(), [(32_000, Output::Failed { .. })]), "{all:?}");
    }
}

#[test]
fn a_request_gets_our_via_and_a_branch_of_its_own() {
    let mut bench = Bench::new();
    bench.request(Method::Invite, UDP);
    bench.request(Method::Options, WEB);
    let sent = requests(bench.sent());
    let [udp, web] = [&sent[0], &sent[1]].map(|request| request.headers.top_via().unwrap());
    assert_eq!((udp.transport, web.transport), (Transport::Udp, Transport::Wss));
    assert_eq!(udp.sent_by.to_string(), "198.51.100.9");
    assert!(udp.parameters.has("rport") && !web.parameters.has("rport"));
    let branch = udp.parameters.value("branch").unwrap();
    assert!(branch.starts_with(BRANCH_COOKIE) && branch.len() == 31, "{branch}");
    assert_ne!(Some(branch), web.parameters.value("branch"));
    assert_eq!(sent[0].headers.max_forwards(), Ok(Some(MAX_FORWARDS)));
}

#[test]
fn a_provisional_response_stops_the_repeats_and_a_phone_may_ring_for_three_minutes() {
    let mut bench = Bench::new();
    let transaction = bench.request(Method::Invite, UDP);
    let invite = requests(bench.sent()).remove(0);
    bench.answer(&invite, Status::RINGING, UDP);
    assert!(matches!(bench.outputs()[..], [Output::Response { .. }]));
    let all = bench.run_to(RINGING_MAX);
    let cancel = requests(sent(&[all[0].1.clone()])).remove(0);
    assert_eq!((all.len(), all[0].0), (1, RINGING_MAX.as_millis()));
    assert_eq!(cancel.method, Method::Cancel);
    let all = bench.run_to(LONG);
    let failed = Output::Failed { transaction, failure: Failure::Timeout };
    assert_eq!(all.iter().filter(|(_, output)| *output == failed).count(), 1);
    assert!(bench.engine.is_empty());
}

#[test]
fn a_refusal_is_acknowledged_each_time_and_reported_once() {
    let mut bench = Bench::new();
    bench.request(Method::Invite, UDP);
    let invite = requests(bench.sent()).remove(0);
    bench.answer(&invite, Status::BUSY_HERE, UDP);
    let first = bench.outputs();
    assert!(matches!(first[1], Output::Response { .. }));
    bench.answer(&invite, Status::BUSY_HERE, UDP);
    let second = bench.outputs();
    assert_eq!(second, first[..1]);
    let ack = requests(sent(&second)).remove(0);
    assert_eq!(ack.method, Method::Ack);
    assert_eq!(ack.uri, invite.uri);
    assert_eq!(ack.headers.top_via(), invite.headers.top_via());
    assert_eq!(ack.headers.to().unwrap().tag(), Some("peer"));
    assert_eq!(ack.headers.cseq().unwrap().to_string(), "1 ACK");
    assert!(bench.run_to(LONG).is_empty());
    assert!(bench.engine.is_empty());
}

#[test]
fn every_2xx_to_an_invite_is_reported_so_that_it_can_be_acknowledged_again() {
    let mut bench = Bench::new();
    bench.request(Method::Invite, UDP);
    let invite = requests(bench.sent()).remove(0);
    for _ in 0..3 {
        bench.answer(&invite, Status::OK, UDP);
        assert!(matches!(bench.outputs()[..], [Output::Response { .. }]));
    }
    assert!(bench.run_to(LONG).is_empty());
    bench.answer(&invite, Status::OK, UDP);
    assert!(bench.outputs().is_empty() && bench.engine.is_empty());
}

#[test]
fn a_cancel_waits_for_a_provisional_response_and_shares_the_branch() {
    let mut bench = Bench::new();
    let transaction = bench.request(Method::Invite, UDP);
    let invite = requests(bench.sent()).remove(0);
    let reason = Reason::parse("Q.850;cause=16").unwrap();
    bench.engine.cancel(transaction, std::slice::from_ref(&reason), bench.now);
    assert!(bench.outputs().is_empty());
    bench.answer(&invite, Status::TRYING, UDP);
    let cancel = requests(bench.sent()).remove(0);
    assert_eq!(cancel.method, Method::Cancel);
    assert_eq!(cancel.headers.top_via(), invite.headers.top_via());
    assert_eq!(cancel.headers.reasons(), [reason]);
    bench.engine.cancel(transaction, &[], bench.now);
    assert!(bench.outputs().is_empty());
    bench.answer(&cancel, Status::OK, UDP);
    assert!(bench.outputs().is_empty());
    bench.answer(&invite, Status::REQUEST_TERMINATED, UDP);
    let outputs = bench.outputs();
    assert_eq!(requests(sent(&outputs))[0].method, Method::Ack);
    assert!(matches!(outputs[1], Output::Response { .. }));
    assert!(bench.run_to(LONG).is_empty());
}

#[test]
fn a_2xx_that_crosses_the_cancel_is_reported() {
    let mut bench = Bench::new();
    let transaction = bench.request(Method::Invite, UDP);
    let invite = requests(bench.sent()).remove(0);
    bench.answer(&invite, Status::RINGING, UDP);
    bench.engine.cancel(transaction, &[], bench.now);
    bench.outputs();
    bench.answer(&invite, Status::OK, UDP);
    assert!(matches!(bench.outputs()[..], [Output::Response { .. }]));
}

#[test]
fn a_response_that_is_not_to_our_request_is_dropped() {
    let mut bench = Bench::new();
    bench.request(Method::Invite, WEB);
    let invite = requests(bench.sent()).remove(0);
    bench.answer(&invite, Status::OK, Flow::Web(8));
    bench.answer(&invite, Status::OK, UDP);
    let mut other = invite.clone();
    other.headers.set(HeaderName::CSeq, "1 BYE");
    bench.answer(&other, Status::OK, WEB);
    other = invite.clone();
    other.headers.set(HeaderName::Via, "SIP/2.0/WSS gw.example;branch=z9hG4bKguess");
    bench.answer(&other, Status::OK, WEB);
    assert!(bench.outputs().is_empty());
    bench.answer(&invite, Status::OK, WEB);
    assert!(matches!(bench.outputs()[..], [Output::Response { .. }]));
}

#[test]
fn an_invite_is_reported_once_and_its_repeats_get_the_last_provisional() {
    let mut bench = Bench::new();
    let invite = from_trunk(Method::Invite);
    bench.engine.receive(Message::Request(invite.clone()), UDP, bench.now);
    let outputs = bench.outputs();
    let [Output::Request { transaction, .. }] = outputs[..] else { panic!("{outputs:?}") };
    bench.engine.receive(Message::Request(invite.clone()), UDP, bench.now);
    assert!(bench.outputs().is_empty());
    let all = bench.run_to(Duration::from_secs(1));
    assert_eq!(send_times(&all), [200]);
    bench.engine.receive(Message::Request(invite.clone()), UDP, bench.now);
    assert_eq!(statuses(&bench.sent()), [100]);
    bench.engine.respond(transaction, Response::to(&invite, Status::RINGING), bench.now);
    let ringing = bench.outputs();
    bench.engine.receive(Message::Request(invite), UDP, bench.now);
    assert_eq!(bench.outputs(), ringing);
    assert_eq!(statuses(&sent(&ringing)), [180]);
}

#[test]
fn a_prompt_answer_needs_no_100() {
    let mut bench = Bench::new();
    let invite = from_trunk(Method::Invite);
    let transaction = bench.receive(invite.clone(), WEB);
    bench.engine.respond(transaction, Response::to(&invite, Status::RINGING), bench.now);
    assert_eq!(statuses(&bench.sent()), [180]);
    assert!(bench.run_to(Duration::from_secs(60)).is_empty());
}

#[test]
fn an_invite_nobody_answers_is_called_off_and_forgotten() {
    let mut bench = Bench::new();
    let invite = from_trunk(Method::Invite);
    let transaction = bench.receive(invite.clone(), UDP);
    bench.run_to(Duration::from_secs(100));
    bench.engine.respond(transaction, Response::to(&invite, Status::RINGING), bench.now);
    bench.outputs();
    let all = bench.run_to(LONG);
    let called_off = Output::Cancelled { transaction, reasons: Vec::new() };
    assert_eq!(all, [(290_000, called_off)]);
    assert!(bench.engine.is_empty());
}

#[test]
fn a_refused_invite_is_repeated_until_its_ack_which_is_absorbed() {
    let mut bench = Bench::new();
    let invite = from_trunk(Method::Invite);
    let transaction = bench.receive(invite.clone(), UDP);
    let response = Response::to(&invite, Status::BUSY_HERE);
    bench.engine.respond(transaction, response, bench.now);
    let first = bench.outputs();
    let all = bench.run_to(Duration::from_secs(8));
    assert_eq!(send_times(&all), [500, 1500, 3500, 7500]);
    assert!(all.iter().all(|(_, output)| *output == first[0]));
    let Message::Response(response) = sent(&first).remove(0) else { panic!() };
    let mut ack = from_trunk(Method::Ack);
    ack.headers.set(HeaderName::To, response.headers.to().unwrap());
    bench.engine.receive(Message::Request(ack), UDP, bench.now);
    assert!(bench.run_to(LONG).is_empty());
    assert!(bench.engine.is_empty());
}

#[test]
fn a_refused_invite_without_ack_is_given_up() {
    let mut bench = Bench::new();
    let invite = from_trunk(Method::Invite);
    let transaction = bench.receive(invite.clone(), UDP);
    bench.engine.respond(transaction, Response::to(&invite, Status::BUSY_HERE), bench.now);
    let all = bench.run_to(LONG);
    assert_eq!(all.last().map(|(at, _)| *at), Some(31_500));
    assert!(bench.engine.is_empty());
}

#[test]
fn a_2xx_is_repeated_on_every_flow_until_its_ack_comes() {
    for flow in [UDP, WEB] {
        let mut bench = Bench::new();
        let invite = from_trunk(Method::Invite);
        let transaction = bench.receive(invite.clone(), flow);
        bench.engine.respond(transaction, Response::to(&invite, Status::OK), bench.now);
        let Message::Response(response) = bench.sent().remove(0) else { panic!() };
        assert_eq!(send_times(&bench.run_to(Duration::from_secs(4))), [500, 1500, 3500]);
        let mut ack = request(Method::Ack, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKother");
        ack.headers.set(HeaderName::To, response.headers.to().unwrap());
        bench.engine.receive(Message::Request(ack.clone()), flow, bench.now);
        let outputs = bench.outputs();
        assert!(
            matches!(&outputs[..], [Output::Ack { transaction: Some(id), .. }] if *id == transaction)
        );
        bench.engine.receive(Message::Request(ack), flow, bench.now);
        assert!(bench.outputs().is_empty());
        assert!(bench.run_to(LONG).is_empty());
        assert!(bench.engine.is_empty());
    }
}

#[test]
fn an_ack_to_a_2xx_may_keep_the_branch_of_its_invite() {
    let mut bench = Bench::new();
    let invite = from_trunk(Method::Invite);
    let transaction = bench.receive(invite.clone(), UDP);
    bench.engine.respond(transaction, Response::to(&invite, Status::OK), bench.now);
    bench.outputs();
    bench.engine.receive(Message::Request(from_trunk(Method::Ack)), UDP, bench.now);
    assert!(matches!(bench.outputs()[..], [Output::Ack { transaction: Some(_), .. }]));
}

#[test]
fn a_2xx_without_ack_is_reported_after_32_s() {
    let mut bench = Bench::new();
    let invite = from_trunk(Method::Invite);
    let transaction = bench.receive(invite.clone(), UDP);
    bench.engine.respond(transaction, Response::to(&invite, Status::OK), bench.now);
    let all = bench.run_to(LONG);
    assert_eq!(all.last(), Some(&(32_000, Output::Unacknowledged { transaction })));
    assert!(bench.engine.is_empty());
}

#[test]
fn an_ack_to_nothing_we_know_is_passed_on_for_its_dialog() {
    let mut bench = Bench::new();
    let mut ack = from_trunk(Method::Ack);
    ack.headers.set(HeaderName::To, "<sip:bob@example.com>;tag=ours-before-the-restart");
    bench.engine.receive(Message::Request(ack), UDP, bench.now);
    assert!(matches!(bench.outputs()[..], [Output::Ack { transaction: None, .. }]));
    assert!(bench.engine.is_empty());
}

#[test]
fn a_cancel_is_answered_and_reported_once() {
    let mut bench = Bench::new();
    let invite = from_trunk(Method::Invite);
    let transaction = bench.receive(invite.clone(), UDP);
    let mut cancel = from_trunk(Method::Cancel);
    cancel.headers.push(HeaderName::Reason, "Q.850;cause=31");
    bench.engine.receive(Message::Request(cancel.clone()), UDP, bench.now);
    let outputs = bench.outputs();
    let reasons = vec![Reason::parse("Q.850;cause=31").unwrap()];
    assert_eq!(outputs[1], Output::Cancelled { transaction, reasons });
    assert_eq!(statuses(&sent(&outputs)), [200]);
    bench.engine.receive(Message::Request(cancel), UDP, bench.now);
    assert_eq!(statuses(&bench.sent()), [200]);
    let response = Response::to(&invite, Status::REQUEST_TERMINATED);
    bench.engine.respond(transaction, response, bench.now);
    let Message::Response(terminated) = bench.sent().remove(0) else { panic!() };
    assert_eq!(terminated.status, Status::REQUEST_TERMINATED);
    let Message::Response(answer) = sent(&outputs).remove(0) else { panic!() };
    assert_eq!(answer.headers.to(), terminated.headers.to());
}

#[test]
fn nobody_cancels_anothers_invite() {
    let mut bench = Bench::new();
    bench.receive(from_trunk(Method::Invite), UDP);
    let elsewhere = Flow::Udp("192.0.2.66:5060".parse().unwrap());
    for flow in [elsewhere, WEB] {
        bench.engine.receive(Message::Request(from_trunk(Method::Cancel)), flow, bench.now);
        let outputs = bench.outputs();
        assert_eq!(statuses(&sent(&outputs)), [481]);
        assert_eq!(outputs.len(), 1);
    }
}

#[test]
fn a_final_response_to_another_request_answers_its_repeats_for_32_s() {
    let mut bench = Bench::new();
    let options = from_trunk(Method::Options);
    let transaction = bench.receive(options.clone(), UDP);
    bench.engine.respond(transaction, Response::to(&options, Status::OK), bench.now);
    let first = bench.outputs();
    bench.engine.respond(transaction, Response::to(&options, Status::FORBIDDEN), bench.now);
    assert!(bench.outputs().is_empty());
    bench.engine.receive(Message::Request(options), UDP, bench.now);
    assert_eq!(bench.outputs(), first);
    assert!(bench.run_to(Duration::from_secs(31)).is_empty() && bench.engine.len() == 1);
    assert!(bench.run_to(LONG).is_empty() && bench.engine.is_empty());
}

#[test]
fn a_request_nobody_answers_is_forgotten() {
    let mut bench = Bench::new();
    bench.receive(from_trunk(Method::Options), UDP);
    assert!(bench.run_to(LONG).is_empty());
    assert!(bench.engine.is_empty());
}

#[test]
fn a_refusal_that_is_forgotten_leaves_nothing_and_its_ack_is_absorbed() {
    let mut bench = Bench::new();
    let invite = from_trunk(Method::Invite);
    let transaction = bench.receive(invite.clone(), UDP);
    let response = Response::to(&invite, Status::UNAUTHORIZED);
    bench.engine.respond_and_forget(transaction, response);
    assert!(bench.engine.is_empty() && bench.engine.next_timeout().is_none());
    let Message::Response(response) = bench.sent().remove(0) else { panic!() };
    assert_eq!(response.headers.to().unwrap().tag(), Some(bench.engine.to_tag(&invite).as_str()));
    let mut ack = from_trunk(Method::Ack);
    ack.headers.set(HeaderName::To, response.headers.to().unwrap());
    bench.engine.receive(Message::Request(ack), UDP, bench.now);
    assert!(bench.outputs().is_empty());
}

#[test]
fn responses_over_udp_go_to_the_source_and_say_what_it_was() {
    let mut bench = Bench::new();
    let natted = Flow::Udp("203.0.113.5:32768".parse().unwrap());
    let options =
        request(Method::Options, "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx;rport, SIP/2.0/TCP b");
    let transaction = bench.receive(options, natted);
    let mut response = Response::to(&from_trunk(Method::Options), Status::OK);
    response.headers.remove(&HeaderName::Via);
    bench.engine.respond(transaction, response, bench.now);
    assert!(matches!(bench.outputs()[..], [Output::Send { flow, .. }] if flow == natted));

    let plain = request(Method::Options, "SIP/2.0/UDP pbx.example:5070;branch=z9hG4bKy");
    bench.engine.receive(Message::Request(plain), natted, bench.now);
    let Output::Request { transaction, request, .. } = bench.outputs().remove(0) else { panic!() };
    let via = request.headers.first(&HeaderName::Via).unwrap();
    assert_eq!(via, "SIP/2.0/UDP pbx.example:5070;branch=z9hG4bKy;received=203.0.113.5");
    bench.engine.respond(transaction, Response::to(&request, Status::OK), bench.now);
    let to_listener = Flow::Udp("203.0.113.5:5070".parse().unwrap());
    assert!(matches!(bench.outputs()[..], [Output::Send { flow, .. }] if flow == to_listener));
}

#[test]
fn received_and_rport_are_filled_in_on_the_top_via_alone() {
    let mut bench = Bench::new();
    let natted = Flow::Udp("203.0.113.5:32768".parse().unwrap());
    let options =
        request(Method::Options, "SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bKx, SIP/2.0/TCP b");
    bench.engine.receive(Message::Request(options), natted, bench.now);
    let Output::Request { request, .. } = bench.outputs().remove(0) else { panic!() };
    let vias: Vec<_> = request.headers.values(&HeaderName::Via).collect();
    let top = "SIP/2.0/UDP 10.0.0.1;rport=32768;branch=z9hG4bKx;received=203.0.113.5";
    assert_eq!(vias, [top, "SIP/2.0/TCP b"]);
}

#[test]
fn a_browsers_via_is_echoed_untouched() {
    let mut bench = Bench::new();
    let via = "SIP/2.0/WSS  df7jal23ls0d.invalid;branch=z9hG4bK56sdasks;Rport";
    let register = request(Method::Register, via);
    let transaction = bench.receive(register.clone(), WEB);
    bench.engine.respond(transaction, Response::to(&register, Status::OK), bench.now);
    let Message::Response(response) = bench.sent().remove(0) else { panic!() };
    assert_eq!(response.headers.first(&HeaderName::Via), Some(via));
    assert!(bench.engine.is_empty());
}

#[test]
fn requests_of_rfc_2543_are_told_apart_without_a_branch() {
    let mut bench = Bench::new();
    let invite = request(Method::Invite, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK");
    bench.receive(invite.clone(), UDP);
    bench.engine.receive(Message::Request(invite.clone()), UDP, bench.now);
    assert!(bench.outputs().is_empty());
    let mut other = invite;
    other.headers.set(HeaderName::CallId, "c2");
    bench.receive(other, UDP);
    assert_eq!(bench.engine.len(), 2);
}

#[test]
fn malformed_requests_are_answered_and_counted_and_other_garbage_is_counted() {
    let mut bench = Bench::new();
    let mut bytes = from_trunk(Method::Options).to_bytes();
    bench.engine.receive_bytes(&[&bytes[..], b"x"].concat(), WEB, bench.now);
    assert_eq!(statuses(&bench.sent()), [400]);
    bytes.truncate(bytes.len() - 2);
    bench.engine.receive_bytes(&bytes, UDP, bench.now);
    let Message::Response(response) = bench.sent().remove(0) else { panic!() };
    assert_eq!(response.reason, "Bad Request (head_unfinished)");
    assert!(response.headers.to().unwrap().tag().is_some());
    bench.engine.receive_bytes(b"SIP/2.0 200 OK\r\n\r\n", UDP, bench.now);
    bench.engine.receive_bytes(b"\x16\xfe\xfd garbage", UDP, bench.now);
    assert!(bench.outputs().is_empty() && bench.engine.is_empty());
    let counted: Vec<_> = bench.engine.malformed().filter(|(_, count)| *count > 0).collect();
    let expected = [
        (Malformed::StartLine, 1),
        (Malformed::HeadUnfinished, 1),
        (Malformed::ContentLength, 1),
        (Malformed::Via, 1),
    ];
    assert_eq!(counted, expected);
}

#[test]
fn a_browsers_keep_alive_is_answered() {
    let mut bench = Bench::new();
    bench.engine.receive_bytes(b"\r\n\r\n", WEB, bench.now);
    assert_eq!(bench.outputs(), [Output::Send { flow: WEB, bytes: b"\r\n".to_vec() }]);
    for (bytes, flow) in [(&b"\r\n"[..], WEB), (b"\r\n\r\n", UDP), (b"\0\0\0\0", UDP), (b"", UDP)] {
        bench.engine.receive_bytes(bytes, flow, bench.now);
        assert!(bench.outputs().is_empty());
    }
    assert!(bench.engine.malformed().all(|(_, count)| count == 0));
}

#[test]
fn a_closed_flow_fails_our_requests_and_forgets_theirs() {
    let mut bench = Bench::new();
    let transaction = bench.request(Method::Invite, WEB);
    bench.receive(from_trunk(Method::Invite), WEB);
    let kept = bench.request(Method::Invite, Flow::Web(8));
    bench.outputs();
    bench.engine.flow_closed(WEB);
    let failed = Output::Failed { transaction, failure: Failure::Transport };
    assert_eq!(bench.outputs(), [failed]);
    assert_eq!(bench.engine.len(), 1);
    bench.engine.flow_closed(Flow::Web(8));
    let failed = Output::Failed { transaction: kept, failure: Failure::Transport };
    assert_eq!(bench.outputs(), [failed]);
}

#[test]
fn a_full_table_refuses_newcomers_and_recovers() {
    let mut bench = Bench::new();
    for count in 0..TRANSACTIONS_MAX {
        let via = format!("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{count}");
        bench.engine.receive(Message::Request(request(Method::Options, &via)), UDP, bench.now);
        bench.engine.poll_output();
    }
    bench.engine.receive(Message::Request(from_trunk(Method::Invite)), UDP, bench.now);
    let Message::Response(response) = bench.sent().remove(0) else { panic!() };
    assert_eq!(response.status, Status::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers.retry_after_s(), Some(RETRY_AFTER_S));
    let refused = bench.engine.request(request(Method::Bye, ""), UDP, bench.now, &mut bench.random);
    assert_eq!(refused, Err(TooManyTransactions));
    bench.run_to(LONG);
    bench.receive(from_trunk(Method::Invite), UDP);
}

/// Two engines with a lossy, doubling, reordering path between them.
fn converse(seed: u64, loss_percent: u32, flows: (Flow, Flow), plan: &[(Method, u16, bool)]) {
    let mut random = from_seed(seed);
    let (mut caller, mut callee) = (Bench::new(), Bench::new());
    callee.random = from_seed(seed ^ 1);
    caller.start = callee.start;
    let mut now = callee.start;
    let mut planned = plan.iter();
    let mut wire: Vec<(bool, Vec<u8>)> = Vec::new();
    let end = now + Duration::from_secs(1200);
    while now < end {
        if let Some((method, _, cancelled)) = planned.next() {
            let mut request = request(method.clone(), "");
            request.headers.set(HeaderName::CallId, format!("c{}", planned.len()));
            let id = caller.engine.request(request, flows.0, now, &mut caller.random).unwrap();
            if *cancelled {
                caller.engine.cancel(id, &[], now);
            }
        }
        for (bench, to_callee) in [(&mut caller, true), (&mut callee, false)] {
            bench.engine.handle_timeout(now);
            for output in bench.outputs() {
                match output {
                    Output::Send { .. } if random.random_range(0..100) < loss_percent => {}
                    Output::Send { bytes, .. } => wire.push((to_callee, bytes)),
                    Output::Request { transaction, request, .. } => {
                        let status = plan[seed as usize % plan.len()].1;
                        let response = Response::to(&request, Status::new(status).unwrap());
                        bench.engine.respond(transaction, response, now);
                    }
                    _ => {}
                }
            }
        }
        if !wire.is_empty() {
            let (to_callee, bytes) = wire.swap_remove(random.random_range(0..wire.len()));
            let (bench, flow) =
                if to_callee { (&mut callee, flows.1) } else { (&mut caller, flows.0) };
            bench.engine.receive_bytes(&bytes, flow, now);
            if random.random_range(0..10) == 0 {
                bench.engine.receive_bytes(&bytes, flow, now);
            }
        } else {
            let next = [caller.engine.next_timeout(), callee.engine.next_timeout()];
            match next.into_iter().flatten().min() {
                Some(due) => now = due.max(now),
                None if planned.len() == 0 => break,
                None => {}
            }
        }
    }
    assert!(wire.is_empty() && caller.engine.is_empty() && callee.engine.is_empty(), "seed {seed}");
    assert!(caller.engine.flows.is_empty() && caller.engine.client_keys.is_empty());
    assert!(callee.engine.ack_keys.is_empty() && callee.engine.server_keys.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_lost_doubled_or_reordered_nothing_stays_behind(
        seed in any::<u64>(),
        loss_percent in 0..100_u32,
        reliable in any::<bool>(),
        plan in prop::collection::vec(
            (
                prop_oneof![Just(Method::Invite), Just(Method::Bye), Just(Method::Options)],
                prop_oneof![Just(200_u16), Just(486), Just(302)],
                any::<bool>(),
            ),
            1..6,
        ),
    ) {
        let flows = if reliable { (WEB, Flow::Web(9)) } else { (UDP, UDP) };
        converse(seed, loss_percent, flows, &plan);
    }
}
