//! Transfers: who asks for them, what they lead to, who is left with whom.

use std::net::SocketAddr;
use std::time::Duration;

use super::steps::{CONTACT, TRUNK_CONTACT};
use super::world::*;
use crate::control::message::{CallName, Side};
use crate::signal::records::{CallRecord, Party};
use crate::sip::dialog::Dialog;
use crate::wire::sip::{HeaderName, Method, Request, Response, Status};

/// Whom a trunk reaches: its media is elsewhere than that of the first one.
fn sdp_at(port: u16) -> String {
    TRUNK_SDP.replace("m=audio 20000", &format!("m=audio {port}"))
}

const TARGET: u16 = 20_010;
const WAITING: u16 = 20_000;

/// A transfer that was asked for.
struct Asked {
    /// Its REFER's CSeq.
    id: u32,
}

impl World {
    /// A browser of user 1002.
    fn registered_other(&mut self) -> usize {
        let other = self.browser();
        self.register(other, "1002", "sip:two@y.invalid;transport=ws");
        other
    }

    fn refer(&mut self, peer: usize, dialog: &mut Dialog, to: &str) -> Asked {
        self.refer_with(peer, dialog, to, |_| {})
    }

    fn refer_with(
        &mut self,
        peer: usize,
        dialog: &mut Dialog,
        to: &str,
        more: impl FnOnce(&mut Request),
    ) -> Asked {
        let mut refer = dialog.request(Method::Refer);
        refer.headers.push(HeaderName::ReferTo, to);
        more(&mut refer);
        let id = refer.headers.cseq().unwrap().number;
        self.send(peer, refer);
        let accepted = self.response_at(peer, Status::ACCEPTED);
        assert!(accepted.headers.first(&HeaderName::Contact).is_some());
        Asked { id }
    }

    /// The next news that a peer gets of its transfer; `true`: the last.
    fn news(&mut self, peer: usize, asked: &Asked) -> (String, bool) {
        let (transaction, notify) = self.request_at(peer, Method::Notify);
        self.respond(peer, transaction, Response::to(&notify, Status::OK));
        let header = |name| notify.headers.first(&name).unwrap_or_default().to_owned();
        assert_eq!(header(HeaderName::Event), format!("refer;id={}", asked.id));
        assert_eq!(header(HeaderName::ContentType), "message/sipfrag;version=2.0");
        assert!(notify.headers.first(&HeaderName::Contact).is_some());
        let state = header(HeaderName::SubscriptionState);
        let is_last = state == "terminated;reason=noresource";
        assert!(is_last || state == "active;expires=180", "{state}");
        let line = body(&notify.body).strip_prefix("SIP/2.0 ").unwrap();
        (line.strip_suffix("\r\n").unwrap().to_owned(), is_last)
    }

    fn assert_news(&mut self, peer: usize, asked: &Asked, expected: &[(&str, bool)]) {
        for (status, is_last) in expected {
            assert_eq!(self.news(peer, asked), ((*status).to_owned(), *is_last));
        }
        assert!(!self.heard_request(peer, Method::Notify), "more news");
    }

    /// A call's leg in media: where its far end sends to, and where it is sent.
    fn leg(&mut self, call: &CallName, side: Side) -> (SocketAddr, Option<SocketAddr>) {
        let listed = self.media.listed().into_iter().find(|it| it.call == *call).unwrap();
        let local = [listed.created.a, listed.created.b][side.index()].rtp;
        let there = self.media.process.call(call).unwrap();
        let connection = &there.legs[side.index()].connection;
        (local, connection.remote(crate::media::kind::Kind::Rtp))
    }

    /// Whoever is at a port of the trunk says something into a leg for a while.
    fn say(&mut self, from: u16, into: SocketAddr, number: &mut u16) {
        for _ in 0..10 {
            let mut packet = vec![0x80, 0];
            packet.extend(number.to_be_bytes());
            packet.extend((u32::from(*number) * 160).to_be_bytes());
            packet.extend([0, 0, 0, 7]);
            packet.extend([from as u8; 160]);
            *number += 1;
            self.media.receive(SocketAddr::from(([198, 51, 100, 7], from)), into, &packet);
            self.advance(Duration::from_millis(20));
        }
    }

    /// Packets that came to a port of the trunk, of that voice.
    fn heard_at(&mut self, trunk: usize, port: u16, voice: u16) -> usize {
        let all = self.peers[trunk].take_rtp().into_iter();
        let theirs = all.filter(|(datagram, ..)| datagram.to.port() == port);
        theirs.filter(|(.., payload)| payload.iter().all(|byte| *byte == voice as u8)).count()
    }

    /// The two on the trunk talk with one another.
    fn assert_they_talk(&mut self, trunk: usize) {
        self.assert_they_talk_on(trunk, 1);
    }

    /// The same from this packet of each on.
    fn assert_they_talk_on(&mut self, trunk: usize, first: u16) {
        let call = self.media.only().call;
        let legs = Side::BOTH.map(|side| self.leg(&call, side));
        let of = |port: u16| *legs.iter().find(|(_, to)| to.unwrap().port() == port).unwrap();
        let (mut theirs, mut others) = (first, first);
        self.peers[trunk].take_rtp();
        self.say(TARGET, of(TARGET).0, &mut theirs);
        assert!(self.heard_at(trunk, WAITING, TARGET) >= 9, "who waited hears the target");
        self.say(WAITING, of(WAITING).0, &mut others);
        assert!(self.heard_at(trunk, TARGET, WAITING) >= 9, "the target hears who waited");
    }

    /// What was heard lately at a port of the trunk that is no silence.
    fn hears_something(&mut self, trunk: usize, port: u16) -> bool {
        self.peers[trunk].take_rtp();
        self.advance(Duration::from_millis(500));
        let heard = self.peers[trunk].take_rtp();
        heard.iter().any(|(datagram, _, payload)| {
            datagram.to.port() == port && payload.windows(2).any(|pair| pair[0] != pair[1])
        })
    }

    fn records_by_number(&mut self, numbers: [&str; 2]) -> [CallRecord; 2] {
        self.assert_nothing_left_but_records();
        assert_eq!(self.records.len(), 2, "{:#?}", self.records);
        numbers.map(|number| {
            let at = self.records.iter().position(|record| record.to == number);
            self.records.remove(at.unwrap())
        })
    }
}

#[test]
fn who_is_called_is_transferred_to_another_number_and_both_calls_are_the_transferors() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    let name = world.media.only().call;
    let (into, _) = world.leg(&name, Side::B);
    world.say(WAITING, into, &mut 1);
    let transfer = world.refer(browser, &mut call.caller_dialog, "<sip:4712@example.com>");
    world.assert_news(browser, &transfer, &[("100 Trying", false)]);
    assert!(world.hears_something(trunk, WAITING), "ring-back tone");
    let asked = world.request_at(trunk, Method::Invite);
    let from = asked.1.headers.from().unwrap();
    assert_eq!(from.uri.user(), Some("+442079460018"), "the number that the trunk knows");
    assert_eq!(asked.1.uri.user(), Some("4712"));
    world.ring(trunk, &asked);
    world.assert_news(browser, &transfer, &[("180 Ringing", false)]);
    world.advance(Duration::from_secs(3));
    let mut target = world.answer(trunk, asked, "target", &sdp_at(TARGET));
    world.ack_at(trunk);
    world.assert_news(browser, &transfer, &[("200 OK", true)]);
    assert_eq!(world.take_bye(browser), Some(16));
    world.assert_they_talk_on(trunk, 180);
    world.advance(Duration::from_secs(5));
    world.assert_they_talk_on(trunk, 450);
    assert_eq!(world.records, [], "both go on");

    world.hang_up(trunk, &mut target);
    world.take_bye(trunk);
    let [first, second] = world.records_by_number(["4711", "4712"]);
    assert_eq!([&first.from, &second.from], ["1001", "1001"], "who transferred is charged");
    assert_eq!([first.answered.is_some(), second.answered.is_some()], [true, true]);
    assert_eq!(first.ended, second.ended);
    // In the first one's words: whoever has the caller's place, in the second's who was called.
    assert_eq!(first.ended_by, Some(Party::Caller));
    assert_eq!(second.ended_by, Some(Party::Callee));
    assert_eq!([first.caller_leg, second.caller_leg], [Side::A, Side::B]);
    let [one, other] = [&first, &second].map(|record| &record.transfers[0]);
    assert_eq!([&one.by, &other.by], ["1001", "1001"]);
    assert_eq!([&one.joined, &other.joined], [&second.call, &first.call]);
    assert!(one.leg.as_ref().unwrap().packets_sent > 0 && other.leg.is_none());
    let [heard_first, heard_second] = [&first, &second].map(|it| it.statistics.as_ref().unwrap());
    assert_eq!(heard_first, heard_second);
    assert!(heard_first.a.packets_received > 0 && heard_first.b.packets_received > 0);
}

#[test]
fn a_caller_from_a_trunk_is_transferred_to_another_user_who_sees_who_it_is() {
    let mut world = World::default();
    let mut call = world.incoming_call();
    let (trunk, browser) = (call.caller, call.callee);
    let other = world.registered_other();
    let transfer = world.refer(browser, &mut call.callee_dialog, "<sip:1002@example.com>");
    world.assert_news(browser, &transfer, &[("100 Trying", false)]);
    // Clients hang up as soon as it is accepted.
    world.hang_up(browser, &mut call.callee_dialog);
    assert!(!world.heard_request(trunk, Method::Bye), "who waits is not left");
    assert!(world.hears_something(trunk, WAITING), "ring-back tone");
    let asked = world.request_at(other, Method::Invite);
    assert_eq!(asked.1.headers.from().unwrap().uri.user(), Some("+15550100"));
    let our_sdp = body(&asked.1.body).to_owned();
    let sdp = world.web(other).sdp("active");
    let mut dialog = world.answer(other, asked, "two", &sdp);
    world.ack_at(other);
    assert!(world.hears_something(trunk, WAITING), "until there is somebody to be heard");
    world.connect_media(other, &our_sdp);
    assert!(!world.hears_something(trunk, WAITING), "the browser says nothing");
    let call_name = world.media.only().call;
    let (into, _) = world.leg(&call_name, Side::A);
    world.web(other).heard.clear();
    world.say(WAITING, into, &mut 1);
    assert!(world.web(other).heard.len() >= 9);

    world.hang_up(other, &mut dialog);
    world.take_bye(trunk);
    let [first, second] = world.records_by_number(["+442079460018", "1002"]);
    assert_eq!([&first.from, &second.from], ["+15550100", "1001"]);
    assert_eq!([first.ended_by, second.ended_by], [Some(Party::Callee); 2]);
    assert!(!world.heard_request(browser, Method::Bye), "it has left by itself");
}

#[test]
fn who_cannot_be_transferred_stays_with_whoever_tried() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    for (status, news) in [
        (Status::BUSY_HERE, "486 Busy Here"),
        (Status::NOT_FOUND, "404 Not Found"),
        (Status::DECLINE, "603 Decline"),
    ] {
        let transfer = world.refer(browser, &mut call.caller_dialog, "<tel:+4930123>");
        let asked = world.request_at(trunk, Method::Invite);
        assert_eq!(asked.1.uri.user(), Some("+4930123"));
        world.refuse(trunk, asked, status);
        world.assert_news(browser, &transfer, &[("100 Trying", false), (news, true)]);
        assert!(!world.hears_something(trunk, WAITING), "no tone any more");
        assert!(
            !world.heard_request(browser, Method::Bye) && !world.heard_request(trunk, Method::Bye)
        );
    }
    let name = world.media.only().call;
    let (into, _) = world.leg(&name, Side::B);
    world.web(browser).heard.clear();
    world.say(WAITING, into, &mut 1);
    assert!(world.web(browser).heard.len() >= 9, "they hear one another again");
    world.hang_up(browser, &mut call.caller_dialog);
    world.take_bye(trunk);
    world.assert_nothing_left_but_records();
    let statuses: Vec<_> = world.records.iter().map(|it| (&*it.to, it.sip_status)).collect();
    let tried = |status| ("+4930123", status);
    assert_eq!(statuses, [tried(486), tried(404), tried(603), ("4711", 200)]);
}

#[test]
fn who_waits_for_nobody_any_more_is_told() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    world.refer(browser, &mut call.caller_dialog, "<sip:4712@example.com>");
    world.hang_up(browser, &mut call.caller_dialog);
    let asked = world.request_at(trunk, Method::Invite);
    world.refuse(trunk, asked, Status::BUSY_HERE);
    assert_eq!(world.take_bye(trunk), Some(17), "busy");
    let [first, second] = world.records_by_number(["4711", "4712"]);
    assert_eq!((first.sip_status, second.sip_status), (200, 486));
    assert!(first.reason.contains("the transfer failed"), "{}", first.reason);
}

#[test]
fn a_browser_that_is_gone_while_it_transfers_leaves_nobody_behind() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    world.refer(browser, &mut call.caller_dialog, "<sip:4712@example.com>");
    let asked = world.request_at(trunk, Method::Invite);
    world.ring(trunk, &asked);
    world.web(browser).is_gone = true;
    // Without consent for 30 s.
    world.advance(Duration::from_secs(40));
    assert!(!world.heard_request(trunk, Method::Bye), "who waits waits");
    let mut target = world.answer(trunk, asked, "target", &sdp_at(TARGET));
    world.ack_at(trunk);
    world.take_bye(browser);
    world.assert_they_talk(trunk);
    world.hang_up(trunk, &mut target);
    world.take_bye(trunk);
    world.records_by_number(["4711", "4712"]);
}

#[test]
fn nobody_waits_for_ever_for_one_who_is_gone_and_transferred_in_vain() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    world.refer(browser, &mut call.caller_dialog, "<sip:4712@example.com>");
    let asked = world.request_at(trunk, Method::Invite);
    world.ring(trunk, &asked);
    world.web(browser).is_gone = true;
    world.advance(Duration::from_secs(40));
    assert!(!world.heard_request(trunk, Method::Bye) && !world.heard_request(browser, Method::Bye));
    world.refuse(trunk, asked, Status::BUSY_HERE);
    world.take_bye(trunk);
    world.take_bye(browser);
    world.records_by_number(["4711", "4712"]);
}

#[test]
fn a_transfer_does_not_outlast_who_is_charged_for_it() {
    for restarts in [false, true] {
        let limit = "password = \"one\"\n    call_max_s = 60";
        let mut world = World::new(&CONFIG.replace("password = \"one\"", limit));
        let mut call = world.outgoing_call();
        let (browser, trunk) = (call.caller, call.callee);
        world.advance(Duration::from_secs(10));
        world.refer(browser, &mut call.caller_dialog, "<sip:4712@example.com>");
        let asked = world.request_at(trunk, Method::Invite);
        world.answer(trunk, asked, "target", &sdp_at(TARGET));
        world.ack_at(trunk);
        world.take_bye(browser);
        if restarts {
            world.restart_signaling();
        }
        world.advance(Duration::from_secs(45));
        assert!(!world.heard_request(trunk, Method::Bye), "not yet");
        world.advance(Duration::from_secs(6));
        world.take_bye(trunk);
        world.take_bye(trunk);
        let [first, second] = world.records_by_number(["4711", "4712"]);
        assert!(first.reason.contains("call_max_s") && second.reason.contains("call_max_s"));
    }
}

#[test]
fn a_process_that_is_told_to_end_tells_all_three() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    let transfer = world.refer(browser, &mut call.caller_dialog, "<sip:4712@example.com>");
    let asked = world.request_at(trunk, Method::Invite);
    world.ring(trunk, &asked);
    world.stop_signaling();
    let news = [("100 Trying", false), ("180 Ringing", false), ("487 Request Terminated", true)];
    world.assert_news(browser, &transfer, &news);
    world.terminate(trunk, &asked);
    world.take_bye(browser);
    world.take_bye(trunk);
    let [first, second] = world.records_by_number(["4711", "4712"]);
    assert_eq!([first.q850_cause, second.q850_cause], [41, 41]);
}

#[test]
fn who_hangs_up_while_it_waits_ends_what_was_asked_for_it() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    let transfer = world.refer(browser, &mut call.caller_dialog, "<sip:4712@example.com>");
    let asked = world.request_at(trunk, Method::Invite);
    world.ring(trunk, &asked);
    world.hang_up(trunk, &mut call.callee_dialog);
    world.terminate(trunk, &asked);
    let news = [("100 Trying", false), ("180 Ringing", false), ("487 Request Terminated", true)];
    world.assert_news(browser, &transfer, &news);
    world.take_bye(browser);
    let [first, second] = world.records_by_number(["4711", "4712"]);
    assert_eq!((first.sip_status, second.sip_status), (200, 487));
    assert_eq!(second.answered, None);
}

#[test]
fn an_answer_that_is_repeated_after_the_transfer_is_acknowledged_and_hangs_nobody_up() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    world.refer(browser, &mut call.caller_dialog, "<sip:4712@example.com>");
    let (transaction, invite) = world.request_at(trunk, Method::Invite);
    let contact = format!("sip:gw@{TRUNK_A}");
    let ok = response(&invite, Status::OK, "target", &contact)
        .with_body("application/sdp", sdp_at(TARGET).as_str());
    world.respond(trunk, transaction, ok.clone());
    world.ack_at(trunk);
    world.take_bye(browser);
    world.advance(Duration::from_secs(2));
    world.transcript.clear();
    world.engine.handle_datagram(&ok.to_bytes(), TRUNK_A.parse().unwrap(), world.now);
    world.deliver();
    assert!(
        world.transcript.iter().any(|line| line.contains("ACK sip:gw@")),
        "{:#?}",
        world.transcript
    );
    assert!(!world.heard_request(trunk, Method::Bye));
    world.assert_they_talk(trunk);
    world.hang_up(trunk, &mut call.callee_dialog);
    world.take_bye(trunk);
    world.records_by_number(["4711", "4712"]);
}

#[test]
fn a_transfer_is_refused_where_it_cannot_be_and_the_call_goes_on() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    for (to, status) in [
        (None, Status::BAD_REQUEST),
        (Some("<http://x/>"), Status::UNSUPPORTED_URI_SCHEME),
        (Some("<sip:1@x;method=SUBSCRIBE>"), Status::FORBIDDEN),
        // A user without a browser, and a number that is none.
        (Some("<sip:1002@example.com>"), Status::TEMPORARILY_UNAVAILABLE),
        (Some(&*format!("<sip:{}@x>", "1".repeat(65))), Status::NOT_FOUND),
    ] {
        let mut refer = call.caller_dialog.request(Method::Refer);
        if let Some(to) = to {
            refer.headers.push(HeaderName::ReferTo, to);
        }
        world.send(browser, refer);
        world.response_at(browser, status);
    }
    // One at a time.
    let transfer = world.refer(browser, &mut call.caller_dialog, "<sip:4712@example.com>");
    world.assert_news(browser, &transfer, &[("100 Trying", false)]);
    let mut again = call.caller_dialog.request(Method::Refer);
    again.headers.push(HeaderName::ReferTo, "<sip:4713@example.com>");
    world.send(browser, again);
    world.response_at(browser, Status::REQUEST_PENDING);
    let asked = world.request_at(trunk, Method::Invite);
    world.refuse(trunk, asked, Status::BUSY_HERE);
    world.assert_news(browser, &transfer, &[("486 Busy Here", true)]);

    // A trunk may not, and is not told that one could.
    let mut refer = call.callee_dialog.request(Method::Refer);
    refer.headers.push(HeaderName::ReferTo, "<sip:1002@example.com>");
    world.send(trunk, refer);
    let refused = world.response_at(trunk, Status::METHOD_NOT_ALLOWED);
    assert!(!refused.headers.lists(&HeaderName::Allow, "REFER"));
    // Outside a call there is nobody to be transferred.
    let refer = request(Method::Refer, "sip:1@example.com", "sip:1001@example.com", CONTACT, "x");
    world.send(browser, refer);
    world.response_at(browser, Status::FORBIDDEN);
    assert!(!world.heard_request(trunk, Method::Invite));
    world.hang_up(browser, &mut call.caller_dialog);
    world.take_bye(trunk);
    world.assert_nothing_left_but_records();
}

#[test]
fn a_trunk_that_may_transfers_to_users_only() {
    let terms = "address = \"198.51.100.7:5060\"\n    refer = \"take\"";
    let mut world = World::new(&CONFIG.replace("address = \"198.51.100.7:5060\"", terms));
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    let other = world.registered_other();
    let mut refer = call.callee_dialog.request(Method::Refer);
    refer.headers.push(HeaderName::ReferTo, "<sip:+4930123@192.0.2.10>");
    world.send(trunk, refer);
    world.response_at(trunk, Status::NOT_FOUND);

    let transfer = world.refer(trunk, &mut call.callee_dialog, "<sip:1002@192.0.2.10>");
    let asked = world.request_at(other, Method::Invite);
    assert_eq!(asked.1.headers.from().unwrap().uri.user(), Some("1001"), "who waits");
    let our_sdp = body(&asked.1.body).to_owned();
    let sdp = world.web(other).sdp("active");
    let mut dialog = world.answer(other, asked, "two", &sdp);
    world.ack_at(other);
    world.connect_media(other, &our_sdp);
    world.assert_news(trunk, &transfer, &[("100 Trying", false), ("200 OK", true)]);
    world.take_bye(trunk);
    assert!(!world.heard_request(browser, Method::Bye));
    world.hang_up(other, &mut dialog);
    world.take_bye(browser);
    let [first, second] = world.records_by_number(["4711", "1002"]);
    assert_eq!(first.transfers[0].by, "carrier-a");
    assert_eq!(second.trunk.as_deref(), Some("carrier-a"));
}

#[test]
fn who_wants_no_news_gets_none() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    let unwanted = |refer: &mut Request| refer.headers.push(HeaderName::ReferSub, "false");
    world.refer_with(browser, &mut call.caller_dialog, "<sip:4712@example.com>", unwanted);
    let asked = world.request_at(trunk, Method::Invite);
    let mut target = world.answer(trunk, asked, "target", &sdp_at(TARGET));
    world.ack_at(trunk);
    world.take_bye(browser);
    assert!(!world.heard_request(browser, Method::Notify));
    world.hang_up(trunk, &mut target);
    world.take_bye(trunk);
    world.records_by_number(["4711", "4712"]);
}

/// A user's call to the trunk's other number, from a tab of its own.
fn consultation(
    world: &mut World,
    trunk: usize,
    user: &str,
    password: &str,
) -> (usize, Dialog, Dialog) {
    let contact = "sip:tab@z.invalid;transport=ws";
    let tab = world.browser();
    world.register(tab, user, contact);
    let offer = world.web(tab).sdp("actpass");
    let from = format!("sip:{user}@example.com");
    let invite = request(Method::Invite, "sip:4712@example.com", &from, contact, "tab")
        .with_body("application/sdp", offer);
    let sent = world.send_with_credentials(tab, invite, user, password);
    let asked = world.request_at(trunk, Method::Invite);
    let target = world.answer(trunk, asked, "target", &sdp_at(TARGET));
    world.ack_at(trunk);
    let ok = world.response_at(tab, Status::OK);
    let dialog = world.confirm(tab, &sent, &ok, "");
    world.connect_media(tab, body(&ok.body));
    (tab, dialog, target)
}

fn replacing(dialog: &Dialog, is_turned: bool) -> String {
    let (to, from) = (&dialog.id.remote_tag, &dialog.id.local_tag);
    let (to, from) = if is_turned { (from, to) } else { (to, from) };
    let call_id = dialog.id.call_id.replace('@', "%40");
    format!("<sip:4712@example.com?Replaces={call_id}%3Bto-tag%3D{to}%3Bfrom-tag%3D{from}>")
}

#[test]
fn two_calls_of_one_user_are_joined_whichever_is_transferred_into_which() {
    for (from_the_first, is_turned) in [(true, false), (true, true), (false, false)] {
        let mut world = World::default();
        let mut call = world.outgoing_call();
        let (browser, trunk) = (call.caller, call.callee);
        let (tab, mut consulting, mut target) = consultation(&mut world, trunk, "1001", "one");
        let (peer, transfer) = if from_the_first {
            let to = replacing(&consulting, is_turned);
            (browser, world.refer(browser, &mut call.caller_dialog, &to))
        } else {
            let to = replacing(&call.caller_dialog, is_turned);
            (tab, world.refer(tab, &mut consulting, &to))
        };
        world.assert_news(peer, &transfer, &[("100 Trying", false), ("200 OK", true)]);
        world.take_bye(browser);
        world.take_bye(tab);
        world.assert_they_talk(trunk);
        world.hang_up(trunk, &mut target);
        world.take_bye(trunk);
        let [first, second] = world.records_by_number(["4711", "4712"]);
        assert_eq!(first.ended, second.ended);
        assert!(first.transfers[0].leg.is_some() && second.transfers[0].leg.is_some());
        assert_eq!([&first.from, &second.from], ["1001", "1001"]);
    }
}

#[test]
fn a_call_of_somebody_else_is_not_taken() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    let (other, theirs, mut target) = consultation(&mut world, trunk, "1002", "two");
    // Also its far end's dialog, one of nobody, and its own.
    for to in [
        replacing(&theirs, false),
        replacing(&target, false),
        replacing(&call.caller_dialog, false),
        "<sip:1@x?Replaces=no%3Bto-tag%3Da%3Bfrom-tag%3Db>".to_owned(),
    ] {
        let transfer = world.refer(browser, &mut call.caller_dialog, &to);
        let gone = ("481 Call/Transaction Does Not Exist", true);
        world.assert_news(browser, &transfer, &[("100 Trying", false), gone]);
    }
    for peer in [browser, other, trunk] {
        assert!(!world.heard_request(peer, Method::Bye));
    }
    world.hang_up(trunk, &mut target);
    world.take_bye(other);
    world.hang_up(browser, &mut call.caller_dialog);
    world.take_bye(trunk);
    world.records_by_number(["4711", "4712"]);
}

#[test]
fn one_who_was_transferred_is_transferred_again_and_each_record_ends_with_its_leg() {
    let mut world = World::default();
    let mut call = world.incoming_call();
    let (trunk, browser) = (call.caller, call.callee);
    let other = world.registered_other();
    world.refer(browser, &mut call.callee_dialog, "<sip:1002@example.com>");
    let asked = world.request_at(other, Method::Invite);
    let our_sdp = body(&asked.1.body).to_owned();
    let sdp = world.web(other).sdp("active");
    let mut dialog = world.answer(other, asked, "two", &sdp);
    world.ack_at(other);
    world.connect_media(other, &our_sdp);
    world.take_bye(browser);
    assert_eq!(world.records, []);

    let transfer = world.refer(other, &mut dialog, "<sip:4712@example.com>");
    let asked = world.request_at(trunk, Method::Invite);
    // It has no number of its own.
    assert_eq!(asked.1.headers.from().unwrap().uri.user(), Some("1002"));
    let mut target = world.answer(trunk, asked, "target", &sdp_at(TARGET));
    world.ack_at(trunk);
    world.assert_news(other, &transfer, &[("100 Trying", false), ("200 OK", true)]);
    world.take_bye(other);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.records.iter().map(|it| &*it.to).collect::<Vec<_>>(), ["1002"]);
    let left = world.records.remove(0);
    assert_eq!((&*left.from, left.transfers.len()), ("1001", 1));
    world.assert_they_talk(trunk);
    world.hang_up(trunk, &mut target);
    world.take_bye(trunk);
    let [first, second] = world.records_by_number(["+442079460018", "4712"]);
    assert_eq!([&first.from, &second.from], ["+15550100", "1002"]);
    assert_eq!(first.transfers.iter().map(|it| &*it.by).collect::<Vec<_>>(), ["1001", "1002"]);
}

#[test]
fn processes_that_go_during_a_transfer_leave_nobody_in_silence() {
    // Signaling, while somebody is asked.
    for has_left in [false, true] {
        let mut world = World::default();
        let mut call = world.outgoing_call();
        let (browser, trunk) = (call.caller, call.callee);
        world.refer(browser, &mut call.caller_dialog, "<sip:4712@example.com>");
        let asked = world.request_at(trunk, Method::Invite);
        world.ring(trunk, &asked);
        if has_left {
            world.hang_up(browser, &mut call.caller_dialog);
        }
        world.restart_signaling();
        // The early dialog of who was asked.
        world.take_bye(trunk);
        if has_left {
            world.take_bye(trunk);
        } else {
            assert!(!world.hears_something(trunk, WAITING), "no tone for ever");
            world.hang_up(trunk, &mut call.callee_dialog);
        }
    }
    // Both go on after it is done.
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    world.refer(browser, &mut call.caller_dialog, "<sip:4712@example.com>");
    let asked = world.request_at(trunk, Method::Invite);
    let mut target = world.answer(trunk, asked, "target", &sdp_at(TARGET));
    world.ack_at(trunk);
    world.take_bye(browser);
    world.restart_signaling();
    world.assert_they_talk(trunk);
    world.hang_up(trunk, &mut target);
    world.take_bye(trunk);
    let [first, second] = world.records_by_number(["4711", "4712"]);
    assert!(first.recovered && first.transfers.len() == 1);
    assert!(second.recovered && second.transfers.len() == 1);
}

#[test]
fn a_connection_to_media_that_breaks_at_the_exchange_joins_no_strangers() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let (browser, trunk) = (call.caller, call.callee);
    world.refer(browser, &mut call.caller_dialog, "<sip:4712@example.com>");
    let asked = world.request_at(trunk, Method::Invite);
    world.lose_control();
    world.answer(trunk, asked, "target", &sdp_at(TARGET));
    world.ack_at(trunk);
    world.connect_control();
    world.advance(Duration::from_secs(1));
    // What could not be asked for is not done: who was asked is told, the others go on.
    world.take_bye(trunk);
    assert!(!world.heard_request(browser, Method::Bye));
    world.hang_up(browser, &mut call.caller_dialog);
    world.take_bye(trunk);
    world.records_by_number(["4711", "4712"]);
}

#[test]
fn a_users_calls_are_beside_one_another_whoever_calls_and_one_with_many_is_spread() {
    let mut world = World::default();
    let mut call = world.incoming_call();
    let (trunk, browser) = (call.caller, call.callee);
    let (tab, mut consulting, _target) = consultation(&mut world, trunk, "1001", "one");
    let threads = |world: &mut World| -> Vec<usize> {
        world.media.listed().iter().map(|listed| listed.created.thread).collect()
    };
    let both = threads(&mut world);
    assert_eq!(both.len(), 2);
    assert_eq!(both[0], both[1], "the caller's");
    // Another trunk's call to the same user.
    let more: Vec<_> = (0..4)
        .map(|number| {
            let (to, from) = ("sip:1001@192.0.2.10", "sip:+15550100@198.51.100.7");
            let invite = request(Method::Invite, to, from, TRUNK_CONTACT, &format!("m{number}"))
                .with_body("application/sdp", TRUNK_SDP);
            world.send(trunk, invite)
        })
        .collect();
    let all = threads(&mut world);
    let beside = all.iter().filter(|thread| **thread == both[0]).count();
    assert_eq!((all.len(), beside), (6, 4), "four of six, the others where there is most room");
    for transaction in more {
        world.cancel(trunk, transaction);
    }
    world.hang_up(browser, &mut call.callee_dialog);
    world.hang_up(tab, &mut consulting);
}
