//! Messages as some carriers and browsers really write them, and what is refused with what would do.

use super::steps::*;
use super::world::*;
use crate::signal::records::Party;
use crate::wire::sip::{HeaderName, Method, Request, Status};

fn multipart(sdp: &str, second: &str) -> String {
    format!(
        "--p1\r\nContent-Type: application/sdp\r\nContent-Disposition: session;handling=required\r\n\r\n\
         {sdp}\r\n--p1\r\n{second}\r\n--p1--\r\n"
    )
}

const ISUP: &str = "Content-Type: application/isup;version=itu-t92+\r\n\
    Content-Disposition: signal;handling=optional\r\n\r\n";
const MIXED: &str = "multipart/mixed;boundary=p1";

/// An INVITE of the trunk to a user.
fn invite(tag: &str, change: impl FnOnce(&mut Request)) -> Request {
    let from = "sip:+15550100@198.51.100.7";
    let mut invite = request(Method::Invite, "sip:1001@192.0.2.10", from, TRUNK_CONTACT, tag)
        .with_body("application/sdp", TRUNK_SDP);
    change(&mut invite);
    invite
}

/// What a browser rings with, and the call given up again.
fn rung_with(change: impl FnOnce(&mut Request)) -> Request {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.send(trunk, invite("one", change));
    let asked = world.request_at(browser, Method::Invite);
    world.respond(browser, asked.0, response(&asked.1, Status::RINGING, "b", CONTACT));
    world.cancel(trunk, sent);
    let (transaction, _) = world.cancelled_at(browser);
    let terminated = response(&asked.1, Status::REQUEST_TERMINATED, "b", CONTACT);
    world.respond(browser, transaction, terminated);
    world.assert_nothing_left();
    asked.1
}

/// How an INVITE of the trunk is refused; a record tells of it.
fn refused_with(status: Status, change: impl FnOnce(&mut Request)) -> crate::wire::sip::Response {
    let mut world = World::default();
    let (_, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    world.send(trunk, invite("one", change));
    let refusal = world.response_at(trunk, status);
    let record = world.assert_nothing_left();
    assert_eq!((record.sip_status, record.ended_by), (status.code(), Some(Party::Linecard)));
    refusal
}

#[test]
fn sdp_in_a_part_is_an_offer_and_an_answer_like_any_other() {
    for second in [ISUP, "Content-Type: application/pidf+xml\r\n\r\n<presence/>"] {
        let body = multipart(TRUNK_SDP, second);
        rung_with(|invite| *invite = invite.clone().with_body(MIXED, body));
        let mut world = World::default();
        let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
        let sent = world.dial(browser, "4711");
        let asked = world.request_at(trunk, Method::Invite);
        let progress = response(&asked.1, Status::SESSION_PROGRESS, "gw", TRUNK_CONTACT)
            .with_body(MIXED, multipart(TRUNK_SDP, second));
        world.respond(trunk, asked.0, progress);
        world.response_at(browser, Status::SESSION_PROGRESS);
        let ok = response(&asked.1, Status::OK, "gw", TRUNK_CONTACT)
            .with_body(MIXED, multipart(TRUNK_SDP, second));
        world.respond(trunk, asked.0, ok);
        let ok = world.response_at(browser, Status::OK);
        let mut dialog = world.confirm(browser, &sent, &ok, "");
        world.connect_media(browser, body_of(&ok));
        world.hang_up(browser, &mut dialog);
        world.take_bye(trunk);
        world.assert_nothing_left();
    }
}

fn body_of(response: &crate::wire::sip::Response) -> &str {
    body(&response.body)
}

#[test]
fn a_body_that_is_not_read_is_refused_with_those_that_are() {
    let text = |invite: &mut Request| *invite = invite.clone().with_body("text/plain", "hello");
    let refusal = refused_with(Status::UNSUPPORTED_MEDIA_TYPE, text);
    assert!(refusal.headers.lists(&HeaderName::Accept, "application/sdp"));
    let required = ISUP.replace("optional", "required");
    let body = multipart(TRUNK_SDP, &required);
    let isup = |invite: &mut Request| *invite = invite.clone().with_body(MIXED, body);
    let refusal = refused_with(Status::UNSUPPORTED_MEDIA_TYPE, isup);
    assert!(refusal.headers.lists(&HeaderName::Accept, "multipart/mixed"));
    let packed = |invite: &mut Request| invite.headers.push(HeaderName::ContentEncoding, "gzip");
    let refusal = refused_with(Status::UNSUPPORTED_MEDIA_TYPE, packed);
    assert!(refusal.headers.lists(&HeaderName::AcceptEncoding, "identity"));
}

#[test]
fn refusals_say_what_would_do() {
    let require = |invite: &mut Request| invite.headers.push(HeaderName::Require, "timer, foo");
    let refusal = refused_with(Status::BAD_EXTENSION, require);
    assert_eq!(refusal.headers.first(&HeaderName::Unsupported), Some("foo"));
    for (what, with, code) in [
        ("IP4 198.51.100.7", "IP6 2001:db8::7", "300"),
        ("c=IN IP4 198.51.100.7", "c=IN IP4 gw.example.com", "301"),
        ("RTP/AVP 0 101", "RTP/AVP 18", "305"),
        ("m=audio", "m=video", "304"),
    ] {
        let sdp = TRUNK_SDP.replace(what, with);
        let offer =
            |invite: &mut Request| *invite = invite.clone().with_body("application/sdp", sdp);
        let refusal = refused_with(Status::NOT_ACCEPTABLE_HERE, offer);
        let warning = refusal.headers.first(&HeaderName::Warning).unwrap();
        assert!(warning.starts_with(&format!("{code} linecard \"")), "{warning}");
    }
    let hops = |invite: &mut Request| invite.headers.push(HeaderName::MaxForwards, 0);
    refused_with(Status::TOO_MANY_HOPS, hops);
    let scheme = |invite: &mut Request| invite.uri = "urn:service:sos".parse().unwrap();
    refused_with(Status::UNSUPPORTED_URI_SCHEME, scheme);
    let nobody = |invite: &mut Request| invite.uri = "sip:9999@192.0.2.10".parse().unwrap();
    refused_with(Status::NOT_FOUND, nobody);

    let mut world = World::default();
    let trunk = world.trunk(TRUNK_A);
    for (method, status) in
        [("FROBNICATE", Status::NOT_IMPLEMENTED), ("MESSAGE", Status::METHOD_NOT_ALLOWED)]
    {
        let method = Method::parse(method).unwrap();
        world.send(trunk, request(method, "sip:1001@192.0.2.10", "sip:1@x.y", "", "m"));
        assert!(world.response_at(trunk, status).headers.lists(&HeaderName::Allow, "INVITE"));
    }
}

#[test]
fn an_answer_of_the_wrong_address_family_is_acknowledged_and_ended() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    world.dial(browser, "4711");
    let asked = world.request_at(trunk, Method::Invite);
    world.answer(trunk, asked, "gw", &TRUNK_SDP.replace("IP4 198.51.100.7", "IP6 2001:db8::7"));
    world.ack_at(trunk);
    world.take_bye(trunk);
    let refused = world.response_at(browser, Status::NOT_ACCEPTABLE_HERE);
    assert!(refused.headers.first(&HeaderName::Warning).unwrap().starts_with("300 "));
    world.assert_nothing_left();
}

#[test]
fn the_parameters_of_a_number_are_not_part_of_it() {
    for number in [
        "sip:+442079460018;npdi;rn=+442079460999;phone-context=x.example@192.0.2.10;user=phone",
        "sip:+442079460018;tgrp=tg1;trunk-context=carrier.example@192.0.2.10;user=phone",
        "sip:+44-20-7946-0018@192.0.2.10",
        "tel:+44-20-7946-0018;tgrp=tg1",
    ] {
        rung_with(|invite| invite.uri = number.parse().unwrap());
    }
    let from = "<sip:+15550100;cpc=ordinary@198.51.100.7>;tag=one";
    let asked = rung_with(|invite| invite.headers.set(HeaderName::From, from));
    assert_eq!(asked.headers.from().unwrap().uri.user(), Some("+15550100"));
}

#[test]
fn what_is_only_shown_costs_no_call() {
    for (from, number, name) in [
        ("\"ACME CORP\" <sip:+15550100@198.51.100.7>;tag=one", "+15550100", Some("ACME CORP")),
        (
            "Bell, Alexander <sip:+15550100@198.51.100.7>;tag=one",
            "+15550100",
            Some("Bell, Alexander"),
        ),
        ("a\"b <sip:+15550100@198.51.100.7>;tag=one", "+15550100", None),
        ("\"WIRELESS CALLER\" <sip:@198.51.100.7>;tag=one", "anonymous", None),
        ("<sip:198.51.100.7>;tag=one", "anonymous", None),
    ] {
        let asked = rung_with(|invite| invite.headers.set(HeaderName::From, from));
        let shown = asked.headers.from().unwrap();
        assert_eq!(
            (shown.uri.user(), shown.display_name.as_deref()),
            (Some(number), name),
            "{from}"
        );
    }
}

#[test]
fn who_wants_to_be_nobody_is_nobody_both_ways() {
    let asked = rung_with(|invite| {
        invite.headers.push(HeaderName::Privacy, "id");
        invite.headers.push(HeaderName::PAssertedIdentity, "<sip:+15550100@198.51.100.7>");
    });
    let text = String::from_utf8(asked.to_bytes()).unwrap();
    assert!(!text.contains("15550100"), "{text}");
    assert_eq!(asked.headers.from().unwrap().uri.to_string(), "sip:anonymous@anonymous.invalid");

    for (from, privacy) in [
        ("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=caller", "id;critical"),
        ("<sip:1001@example.com>;tag=caller", "id"),
    ] {
        let mut world = World::default();
        let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
        let offer = world.web(browser).sdp("actpass");
        let mut dialled = request(
            Method::Invite,
            "sip:4711@example.com",
            "sip:1001@example.com",
            CONTACT,
            "caller",
        )
        .with_body("application/sdp", offer);
        dialled.headers.set(HeaderName::From, from);
        dialled.headers.push(HeaderName::Privacy, privacy);
        world.send_with_credentials(browser, dialled, "1001", "one");
        let asked = world.request_at(trunk, Method::Invite);
        let text = String::from_utf8(asked.1.to_bytes()).unwrap();
        assert!(!text.contains("442079460018") && !text.contains("1001"), "{text}");
        assert_eq!(asked.1.headers.first(&HeaderName::Privacy), Some("id"));
        world.refuse(trunk, asked, Status::BUSY_HERE);
        let record = world.assert_nothing_left();
        assert_eq!((&*record.from, &*record.shown_as), ("1001", "anonymous"));
    }
    let unknown =
        |invite: &mut Request| invite.headers.push(HeaderName::Privacy, "history;critical");
    let refusal = refused_with(Status::SERVER_INTERNAL_ERROR, unknown);
    assert!(refusal.headers.first(&HeaderName::Warning).is_some());
}

#[test]
fn the_same_invite_on_another_way_makes_no_second_call() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.send(trunk, invite("one", |_| {}));
    let asked = world.request_at(browser, Method::Invite);
    let other = world.trunk(TRUNK_B);
    for way in [trunk, other] {
        // The bench gives it another branch.
        world.send(way, invite("one", |_| {}));
        world.response_at(way, Status::LOOP_DETECTED);
        assert!(!world.heard_request(browser, Method::Invite));
    }
    world.records.clear();
    world.respond(browser, asked.0, response(&asked.1, Status::RINGING, "b", CONTACT));
    world.cancel(trunk, sent);
    let (transaction, _) = world.cancelled_at(browser);
    let terminated = response(&asked.1, Status::REQUEST_TERMINATED, "b", CONTACT);
    world.respond(browser, transaction, terminated);
    world.assert_nothing_left();
}

#[test]
fn an_info_without_a_body_is_a_sign_of_life_and_require_is_looked_at_inside_a_call() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    for (peer, dialog) in
        [(call.caller, &mut call.caller_dialog), (call.callee, &mut call.callee_dialog)]
    {
        let info = dialog.request(Method::Info);
        world.send(peer, info);
        world.response_at(peer, Status::OK);
        for method in [Method::Invite, Method::Update, Method::Info, Method::Options] {
            let mut requires = dialog.request(method);
            requires.headers.push(HeaderName::Require, "precondition");
            world.send(peer, requires);
            let refused = world.response_at(peer, Status::BAD_EXTENSION);
            assert!(refused.headers.lists(&HeaderName::Unsupported, "precondition"));
        }
        let strange = dialog.request(Method::parse("FROBNICATE").unwrap());
        world.send(peer, strange);
        world.response_at(peer, Status::NOT_IMPLEMENTED);
    }
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.take_bye(call.callee);
    world.assert_nothing_left();
}

#[test]
fn why_a_call_was_cancelled_is_told_to_who_rings_in_its_own_words() {
    for (theirs, cause) in
        [("", 16), ("Q.850;cause=0", 16), ("Q.850;cause=200", 16), ("Q.850;cause=31", 31)]
    {
        let mut world = World::default();
        let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
        let sent = world.send(trunk, invite("one", |_| {}));
        let asked = world.request_at(browser, Method::Invite);
        world.respond(browser, asked.0, response(&asked.1, Status::RINGING, "b", CONTACT));
        let elsewhere = "SIP;cause=200;text=\"Call completed elsewhere\"";
        let reasons: Vec<_> =
            [elsewhere, theirs].into_iter().filter_map(crate::wire::sip::Reason::parse).collect();
        let now = world.now;
        world.peers[trunk].transactions.cancel(sent, &reasons, now);
        world.deliver();
        let (transaction, told) = world.cancelled_at(browser);
        assert_eq!(told[0].text.as_deref(), Some("Call completed elsewhere"));
        let told: Vec<_> = told.iter().map(|one| (one.protocol.as_str(), one.cause)).collect();
        assert_eq!(told, [("SIP", Some(200)), ("Q.850", Some(cause))], "{theirs}");
        let terminated = response(&asked.1, Status::REQUEST_TERMINATED, "b", CONTACT);
        world.respond(browser, transaction, terminated);
        world.response_at(trunk, Status::REQUEST_TERMINATED);
        let record = world.assert_nothing_left();
        assert_eq!((record.sip_status, u16::from(record.q850_cause)), (487, cause), "{theirs}");
    }
}

#[test]
fn why_a_call_ended_is_told_to_the_other_side_in_its_own_words() {
    let mut world = World::default();
    let mut call = world.incoming_call();
    let mut bye = call.caller_dialog.request(Method::Bye);
    bye.headers.push(HeaderName::Reason, "SIP;cause=200;text=\"Call completed elsewhere\"");
    bye.headers.push(HeaderName::Reason, "Q.850;cause=0");
    world.send(call.caller, bye);
    let (transaction, bye) = world.request_at(call.callee, Method::Bye);
    let reasons = bye.headers.reasons();
    assert_eq!((reasons[0].protocol.as_str(), reasons[0].cause), ("SIP", Some(200)));
    assert_eq!(q850(&bye.headers), Some(16), "a cause of 0 is none");
    world.respond(call.callee, transaction, crate::wire::sip::Response::to(&bye, Status::OK));
    world.assert_nothing_left();
}

/// Another call of the browser, in a dialog of this tag.
fn dial_again(world: &mut World, browser: usize, tag: &str) {
    let offer = world.web(browser).sdp("actpass");
    let (to, from) = ("sip:4711@example.com", "sip:1001@example.com");
    let invite = request(Method::Invite, to, from, CONTACT, tag);
    let invite = invite.with_body("application/sdp", offer);
    world.send_with_credentials(browser, invite, "1001", "one");
}

/// The trunk is asked, and whom it was to reach is busy.
fn busy_at(world: &mut World, trunk: usize, browser: usize) {
    let asked = world.request_at(trunk, Method::Invite);
    world.refuse(trunk, asked, Status::BUSY_HERE);
    world.response_at(browser, Status::BUSY_HERE);
}

#[test]
fn a_callee_who_is_busy_for_a_while_puts_no_trunk_to_rest() {
    let mut world = World::default();
    let browser = world.registered_browser();
    let (first, second) = (world.trunk(TRUNK_A), world.trunk(TRUNK_B));
    dial_again(&mut world, browser, "one");
    let (transaction, invite) = world.request_at(first, Method::Invite);
    let mut busy = response(&invite, Status::BUSY_HERE, "no", TRUNK_CONTACT);
    busy.headers.push(HeaderName::RetryAfter, 300);
    world.respond(first, transaction, busy);
    let refusal = world.response_at(browser, Status::BUSY_HERE);
    assert_eq!(refusal.headers.retry_after_s(), Some(300));
    dial_again(&mut world, browser, "two");
    assert!(!world.heard_request(second, Method::Invite));
    busy_at(&mut world, first, browser);
}

#[test]
fn a_trunk_that_wakes_up_too_late_is_silent_all_the_same() {
    let mut world = World::default();
    let browser = world.registered_browser();
    let (first, second) = (world.trunk(TRUNK_A), world.trunk(TRUNK_B));
    dial_again(&mut world, browser, "one");
    let late = world.request_at(first, Method::Invite);
    world.peers[first].is_dead = true;
    world.seconds(5);
    world.peers[first].is_dead = false;
    world.ring(first, &late);
    world.terminate(first, &late);
    busy_at(&mut world, second, browser);
    // It would cost this call four seconds as well.
    dial_again(&mut world, browser, "two");
    assert!(!world.heard_request(first, Method::Invite));
    busy_at(&mut world, second, browser);
}

#[test]
fn a_trunk_that_asked_for_a_rest_or_was_silent_is_asked_last() {
    let mut world = World::default();
    let browser = world.registered_browser();
    let (first, second) = (world.trunk(TRUNK_A), world.trunk(TRUNK_B));
    let dial = |world: &mut World, tag: &str| dial_again(world, browser, tag);
    let take = |world: &mut World, trunk: usize| busy_at(world, trunk, browser);
    dial(&mut world, "one");
    let (transaction, invite) = world.request_at(first, Method::Invite);
    let mut full = response(&invite, Status::SERVICE_UNAVAILABLE, "no", TRUNK_CONTACT);
    full.headers.push(HeaderName::RetryAfter, "120 (soon)");
    world.respond(first, transaction, full);
    take(&mut world, second);
    dial(&mut world, "two");
    take(&mut world, second);
    assert!(!world.heard_request(first, Method::Invite));
    world.seconds(120);
    dial(&mut world, "three");
    take(&mut world, first);

    world.peers[first].is_dead = true;
    dial(&mut world, "four");
    world.seconds(5);
    take(&mut world, second);
    // At once, not after the silence of the other one.
    dial(&mut world, "five");
    take(&mut world, second);
}

#[test]
fn a_number_too_large_is_the_largest() {
    let mut world = World::default();
    let browser = world.browser();
    let mut register = world.register_request("1001", CONTACT, 1);
    register.headers.push(HeaderName::Expires, "4294967296");
    world.send_with_credentials(browser, register, "1001", "one");
    world.response_at(browser, Status::OK);
    rung_with(|invite| invite.headers.push(HeaderName::MaxForwards, 300));
}

#[test]
fn statuses_between_two_hops_do_not_cross() {
    for (theirs, ours) in [
        (Status::EXTENSION_REQUIRED, Status::SERVER_INTERNAL_ERROR),
        (Status::BAD_EXTENSION, Status::SERVER_INTERNAL_ERROR),
        (Status::CALL_DOES_NOT_EXIST, Status::SERVER_INTERNAL_ERROR),
        (Status::REQUEST_PENDING, Status::SERVER_INTERNAL_ERROR),
        (Status::LOOP_DETECTED, Status::SERVER_INTERNAL_ERROR),
        (Status::METHOD_NOT_ALLOWED, Status::SERVER_INTERNAL_ERROR),
        (Status::UNSUPPORTED_MEDIA_TYPE, Status::SERVER_INTERNAL_ERROR),
        (Status::UNAUTHORIZED, Status::FORBIDDEN),
        (Status::MOVED_TEMPORARILY, Status::TEMPORARILY_UNAVAILABLE),
        (Status::BUSY_HERE, Status::BUSY_HERE),
        (Status::NOT_FOUND, Status::NOT_FOUND),
        (Status::DECLINE, Status::DECLINE),
        (Status::GONE, Status::GONE),
    ] {
        let mut world = World::default();
        let (browser, first) = (world.registered_browser(), world.trunk(TRUNK_A));
        let second = world.trunk(TRUNK_B);
        world.dial(browser, "4711");
        let asked = world.request_at(first, Method::Invite);
        world.refuse(first, asked, theirs);
        // What speaks of the trunk, or of our request, is put to the next one.
        let is_put_to_the_next = ours == Status::SERVER_INTERNAL_ERROR;
        assert_eq!(world.heard_request(second, Method::Invite), is_put_to_the_next, "{theirs}");
        if is_put_to_the_next {
            let asked = world.request_at(second, Method::Invite);
            world.refuse(second, asked, theirs);
        }
        world.response_at(browser, ours);
        world.assert_nothing_left();
    }
}

#[test]
fn a_browser_that_cannot_does_not_take_us_out_of_a_trunks_rotation() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    world.send(trunk, invite("one", |_| {}));
    let asked = world.request_at(browser, Method::Invite);
    world.refuse(browser, asked, Status::SERVICE_UNAVAILABLE);
    world.response_at(trunk, Status::TEMPORARILY_UNAVAILABLE);
    world.assert_nothing_left();
}

/// What stands in an SDP, and what stands there instead in somebody's: nothing of it is read.
const UNREAD: [(&str, &str); 30] = [
    ("s=-\r\n", ""),
    ("s=-", "s="),
    ("t=0 0\r\n", ""),
    ("t=0 0", "t=4294967296 99999999999999999999"),
    ("t=0 0", "b=AS:4294967296\r\nk=clear:x\r\nt=0 0\r\nr=7d 1h 0 25h"),
    ("o=- 1 1 IN IP4 198.51.100.7", "o=my user -1 x IN IP6 gw.example.com"),
    ("o=- 1 1", "o=- 99999999999999999999 99999999999999999999"),
    ("a=sendrecv", "x=foo\r\nfoo\r\n\r\na=sendrecv"),
    ("a=sendrecv\r\n", "a=sendrecv\r\n\r\n\0"),
    ("a=sendrecv\r\n", "a=sendrecv"),
    ("a=sendrecv", "a=\r\na=ptime:\r\na=maxptime:4294967296\r\na=sendrecv"),
    ("a=sendrecv", "a=ptime:99999999999\r\na=sendrecv"),
    ("a=sendrecv", "a=ssrc:4294967296 cname:x\r\na=crypto:1 X inline:y\r\na=sendrecv"),
    ("a=sendrecv", "a=candidate:1 1 UDP 99999999999 198.51.100.7 1 typ host\r\na=sendrecv"),
    ("a=sendrecv", "a=rtcp:\r\na=rtcp:99999\r\na=sendrecv"),
    ("a=sendrecv", "a=fmtp:101\r\na=sendrecv"),
    ("a=sendrecv", "a=fmtp:101 0-4294967296\r\na=sendrecv"),
    ("a=sendrecv", "a=rtpmap:999 foo/8000\r\na=rtpmap:96 foo/99999999999\r\na=sendrecv"),
    ("a=rtpmap:0 PCMU/8000", "a=rtpmap:0 PCMU"),
    ("a=rtpmap:0 PCMU/8000", "a=rtpmap: 0  pcmu/8000/1 "),
    ("c=IN IP4 198.51.100.7", "c=IN IP4  198.51.100.7 "),
    ("m=audio 20000 RTP/AVP 0 101", "m=audio 20000/1 RTP/AVP 0 0 101 4294967296 "),
    ("a=sendrecv\r\n", "a=sendrecv\r\nm=video 4294967296 RTP/AVP 99\r\n"),
    ("a=sendrecv\r\n", "a=sendrecv\r\nm=video 65536/2 RTP/AVP\r\n"),
    ("a=sendrecv\r\n", "a=sendrecv\r\nm=audio 0 RTP/AVP\r\n"),
    ("a=sendrecv\r\n", "a=sendrecv\r\nm=image 0 udptl t38\r\nc=IN IP6 ::\r\n"),
    ("a=sendrecv\r\n", "a=sendrecv\r\nm=message 2855 TCP/MSRP *\r\n"),
    ("v=0", "\r\nv=0"),
    ("\r\n", "\n"),
    ("s=-", "s=\u{e9}t\u{e9}"),
];

#[test]
fn what_nobody_reads_costs_no_call_and_no_answer() {
    for (theirs, instead) in UNREAD {
        assert!(TRUNK_SDP.contains(theirs), "{theirs}");
        let sdp = TRUNK_SDP.replace(theirs, instead);
        rung_with(|invite| *invite = invite.clone().with_body("application/sdp", sdp.clone()));
        answered_with(|ok| *ok = ok.clone().with_body("application/sdp", sdp));
    }
    for (name, value) in [
        (HeaderName::Require, ", timer,"),
        (HeaderName::ContentEncoding, ""),
        (HeaderName::ContentType, "Application/SDP; charset=utf-8;"),
        (HeaderName::SessionExpires, "99999999999"),
        (HeaderName::SessionExpires, "soon;refresher=somebody"),
        (HeaderName::MinSe, "often"),
        (HeaderName::RetryAfter, "99999999999"),
        (HeaderName::Reason, "none"),
        (HeaderName::PAssertedIdentity, "<<"),
        (HeaderName::Allow, ""),
    ] {
        rung_with(|invite| invite.headers.set(name.clone(), value));
        answered_with(|ok| ok.headers.set(name, value));
    }
}

/// A call of a browser that a trunk answers so; the browser hangs up.
fn answered_with(change: impl FnOnce(&mut crate::wire::sip::Response)) {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.dial(browser, "4711");
    let (transaction, invite) = world.request_at(trunk, Method::Invite);
    let ok = response(&invite, Status::OK, "gw", TRUNK_CONTACT);
    let mut ok = ok.with_body("application/sdp", TRUNK_SDP);
    change(&mut ok);
    world.respond(trunk, transaction, ok);
    world.ack_at(trunk);
    let ok = world.response_at(browser, Status::OK);
    let mut dialog = world.confirm(browser, &sent, &ok, "");
    world.connect_media(browser, body_of(&ok));
    world.hang_up(browser, &mut dialog);
    world.take_bye(trunk);
    world.assert_nothing_left();
}
