//! Calls that last: session timers, trunks that died without a word, the longest call.

use super::steps::*;
use super::world::*;
use crate::control::message::Side;
use crate::signal::records::Party;
use crate::wire::sip::{HeaderName, Method, Request, Response, Status};

/// A browser's call whose trunk agrees on a session timer.
fn timed_call(world: &mut World, session_expires: &str, allow: &str) -> Established {
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.dial(browser, "4711");
    let (transaction, invite) = world.request_at(trunk, Method::Invite);
    assert!(invite.headers.lists(&HeaderName::Supported, "timer"));
    assert_eq!(invite.headers.first(&HeaderName::SessionExpires), Some("1800"));
    let mut ok =
        response(&invite, Status::OK, "gw", TRUNK_CONTACT).with_body("application/sdp", TRUNK_SDP);
    ok.headers.push(HeaderName::SessionExpires, session_expires);
    ok.headers.push(HeaderName::Allow, allow);
    world.respond(trunk, transaction, ok);
    world.ack_at(trunk);
    let trunk_sdp = body(&invite.body).to_owned();
    let callee_dialog = callee_dialog(&invite, "gw", TRUNK_CONTACT);
    let ok = world.response_at(browser, Status::OK);
    assert_eq!(ok.headers.first(&HeaderName::SessionExpires), None, "a browser has its connection");
    let caller_dialog = world.confirm(browser, &sent, &ok, "");
    let browser_sdp = body(&ok.body).to_owned();
    world.connect_media(browser, &browser_sdp);
    let (caller, callee) = (browser, trunk);
    Established { caller, callee, caller_dialog, callee_dialog, trunk_sdp, browser_sdp }
}

fn refresh_ok(request: &Request) -> Response {
    let mut ok = Response::to(request, Status::OK);
    ok.headers.push(HeaderName::SessionExpires, "90;refresher=uac");
    ok.headers.push(HeaderName::Contact, format!("<{TRUNK_CONTACT}>"));
    ok
}

fn hang_up(mut world: World, mut call: Established) {
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.take_bye(call.callee);
    world.assert_nothing_left();
}

#[test]
fn we_refresh_by_update_where_the_trunk_knows_it() {
    let mut world = World::default();
    let call = timed_call(&mut world, "90;refresher=uac", "INVITE, ACK, BYE, UPDATE");
    for _ in 0..3 {
        world.seconds(44);
        assert!(!world.heard_request(call.callee, Method::Update));
        world.seconds(1);
        let (transaction, update) = world.request_at(call.callee, Method::Update);
        assert!(update.body.is_empty());
        let expires = update.headers.first(&HeaderName::SessionExpires);
        assert_eq!(expires, Some("90;refresher=uac"));
        world.respond(call.callee, transaction, refresh_ok(&update));
        if world.heard_request(call.callee, Method::Options) {
            // It sends no audio, and is asked about that as well.
            let (transaction, options) = world.request_at(call.callee, Method::Options);
            world.respond(call.callee, transaction, Response::to(&options, Status::OK));
        }
    }
    assert!(!world.heard_request(call.caller, Method::Update), "the browser is left alone");
    hang_up(world, call);
}

#[test]
fn we_refresh_by_an_unchanged_re_invite_where_it_does_not() {
    let mut world = World::default();
    let call = timed_call(&mut world, "90;refresher=uac", "INVITE, ACK, BYE");
    let before = (world.media.remote(Side::B), world.media.format(Side::B));
    world.seconds(45);
    let (transaction, invite) = world.request_at(call.callee, Method::Invite);
    assert_eq!(body(&invite.body), call.trunk_sdp, "version and all");
    let ok = refresh_ok(&invite).with_body("application/sdp", TRUNK_SDP);
    world.respond(call.callee, transaction, ok);
    let ack = world.ack_at(call.callee);
    assert_eq!(ack.headers.cseq().unwrap().number, invite.headers.cseq().unwrap().number);
    assert_eq!((world.media.remote(Side::B), world.media.format(Side::B)), before);
    hang_up(world, call);
}

#[test]
fn a_refused_update_becomes_a_re_invite() {
    let mut world = World::default();
    let call = timed_call(&mut world, "90;refresher=uac", "INVITE, UPDATE");
    world.seconds(45);
    let (transaction, update) = world.request_at(call.callee, Method::Update);
    world.respond(call.callee, transaction, Response::to(&update, Status::METHOD_NOT_ALLOWED));
    world.seconds(1);
    let (transaction, invite) = world.request_at(call.callee, Method::Invite);
    let ok = refresh_ok(&invite).with_body("application/sdp", TRUNK_SDP);
    world.respond(call.callee, transaction, ok);
    hang_up(world, call);
}

#[test]
fn after_a_glare_we_wait_and_ask_again() {
    let mut world = World::default();
    let mut call = timed_call(&mut world, "90;refresher=uac", "INVITE");
    world.seconds(45);
    let (transaction, invite) = world.request_at(call.callee, Method::Invite);
    // Theirs at the same time.
    let theirs = call.callee_dialog.request(Method::Invite).with_body("application/sdp", TRUNK_SDP);
    world.send(call.callee, theirs);
    world.response_at(call.callee, Status::REQUEST_PENDING);
    world.respond(call.callee, transaction, Response::to(&invite, Status::REQUEST_PENDING));
    world.seconds(2);
    assert!(!world.heard_request(call.callee, Method::Invite), "we made the Call-ID");
    world.seconds(3);
    let (transaction, invite) = world.request_at(call.callee, Method::Invite);
    let ok = refresh_ok(&invite).with_body("application/sdp", TRUNK_SDP);
    world.respond(call.callee, transaction, ok);
    hang_up(world, call);
}

#[test]
fn a_trunk_that_does_not_know_the_call_any_more_ends_it() {
    for status in [Status::CALL_DOES_NOT_EXIST, Status::REQUEST_TIMEOUT] {
        let mut world = World::default();
        let call = timed_call(&mut world, "90;refresher=uac", "UPDATE");
        world.seconds(45);
        let (transaction, update) = world.request_at(call.callee, Method::Update);
        world.respond(call.callee, transaction, Response::to(&update, status));
        assert_eq!(world.take_bye(call.caller), Some(27));
        world.take_bye(call.callee);
        assert_eq!(world.assert_nothing_left().ended_by, Some(Party::Callee));
    }
}

#[test]
fn a_refresh_that_is_refused_for_another_reason_ends_nothing_before_its_time() {
    let mut world = World::default();
    let call = timed_call(&mut world, "90;refresher=uac", "UPDATE");
    world.seconds(45);
    let (transaction, update) = world.request_at(call.callee, Method::Update);
    world.respond(call.callee, transaction, Response::to(&update, Status::SERVICE_UNAVAILABLE));
    world.seconds(10);
    let (transaction, update) = world.request_at(call.callee, Method::Update);
    world.respond(call.callee, transaction, refresh_ok(&update));
    world.seconds(20);
    assert_eq!(world.engine.calls(), 1);
    hang_up(world, call);
}

#[test]
fn a_trunk_that_was_to_refresh_and_does_not_is_hung_up_on() {
    let mut world = World::default();
    let mut call = timed_call(&mut world, "90;refresher=uas", "UPDATE");
    world.seconds(50);
    // Once it does.
    let mut update = call.callee_dialog.request(Method::Update);
    update.headers.push(HeaderName::Supported, "timer");
    update.headers.push(HeaderName::SessionExpires, "90;refresher=uac");
    world.send(call.callee, update);
    let ok = world.response_at(call.callee, Status::OK);
    assert_eq!(ok.headers.first(&HeaderName::SessionExpires), Some("90;refresher=uac"));
    assert!(ok.headers.lists(&HeaderName::Require, "timer"));
    world.seconds(59);
    assert_eq!(world.engine.calls(), 1);
    world.seconds(1);
    assert_eq!(world.take_bye(call.caller), Some(27));
    world.take_bye(call.callee);
    world.assert_nothing_left();
}

#[test]
fn a_trunk_that_calls_is_refused_too_short_an_interval_and_answered_a_good_one() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let invite = |tag: &str, interval: &str| {
        let to = "sip:1001@192.0.2.10";
        let mut invite = request(Method::Invite, to, "sip:1@198.51.100.7", TRUNK_CONTACT, tag)
            .with_body("application/sdp", TRUNK_SDP);
        invite.headers.push(HeaderName::Supported, "timer");
        invite.headers.push(HeaderName::SessionExpires, interval);
        invite
    };
    world.send(trunk, invite("brief", "60"));
    let refused = world.response_at(trunk, Status::SESSION_INTERVAL_TOO_SMALL);
    assert_eq!(refused.headers.first(&HeaderName::MinSe), Some("90"));
    world.records.clear();
    let sent = invite("long", "120;refresher=uas");
    world.send(trunk, sent.clone());
    let asked = world.request_at(browser, Method::Invite);
    assert_eq!(asked.1.headers.first(&HeaderName::SessionExpires), None);
    let (browser_sdp, sdp) = (body(&asked.1.body).to_owned(), world.web(browser).sdp("active"));
    world.answer(browser, asked, "b", &sdp);
    world.connect_media(browser, &browser_sdp);
    let ok = world.response_at(trunk, Status::OK);
    assert_eq!(ok.headers.first(&HeaderName::SessionExpires), Some("120;refresher=uas"));
    let mut dialog = crate::sip::dialog::Dialog::from_response(&sent, &ok).unwrap();
    let ack = dialog.ack(1);
    world.acknowledge(trunk, ack);
    world.seconds(60);
    let (transaction, again) = world.request_at(trunk, Method::Invite);
    let expires = again.headers.first(&HeaderName::SessionExpires);
    assert_eq!(expires, Some("120;refresher=uac"), "we are the client now");
    let ok = refresh_ok(&again).with_body("application/sdp", TRUNK_SDP);
    world.respond(trunk, transaction, ok);
    world.hang_up(trunk, &mut dialog);
    world.take_bye(browser);
    world.assert_nothing_left();
}

#[test]
fn a_trunk_that_wants_a_longer_interval_is_asked_with_it() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.dial(browser, "4711");
    let (transaction, invite) = world.request_at(trunk, Method::Invite);
    let mut refusal = response(&invite, Status::SESSION_INTERVAL_TOO_SMALL, "no", TRUNK_CONTACT);
    refusal.headers.push(HeaderName::MinSe, 3_600);
    world.respond(trunk, transaction, refusal.clone());
    let asked = world.request_at(trunk, Method::Invite);
    assert_eq!(asked.1.headers.first(&HeaderName::SessionExpires), Some("3600"));
    assert_eq!(asked.1.headers.call_id(), invite.headers.call_id());
    assert_eq!(asked.1.headers.cseq().unwrap().number, 2);
    world.answer(trunk, asked, "gw", TRUNK_SDP);
    assert_eq!(world.ack_at(trunk).headers.cseq().unwrap().number, 2);
    let ok = world.response_at(browser, Status::OK);
    let mut dialog = world.confirm(browser, &sent, &ok, "");
    world.connect_media(browser, body(&ok.body));
    world.hang_up(browser, &mut dialog);
    let (transaction, bye) = world.request_at(trunk, Method::Bye);
    assert_eq!(bye.headers.cseq().unwrap().number, 3);
    world.respond(trunk, transaction, Response::to(&bye, Status::OK));
    world.assert_nothing_left();
}

#[test]
fn a_silent_trunk_is_asked_and_one_that_does_not_answer_is_gone() {
    let mut world = World::default();
    let call = world.outgoing_call();
    // Whatever it says, it is there; and it is asked again after the next minute of silence.
    for status in [Status::OK, Status::METHOD_NOT_ALLOWED, Status::TOO_MANY_HOPS] {
        world.seconds(61);
        let (transaction, options) = world.request_at(call.callee, Method::Options);
        world.respond(call.callee, transaction, Response::to(&options, status));
    }
    world.peers[call.callee].is_dead = true;
    world.seconds(61 + 33);
    assert_eq!(world.take_bye(call.caller), Some(27));
    let record = world.assert_nothing_left();
    assert_eq!((record.ended_by, record.q850_cause), (Some(Party::Callee), 27));
}

#[test]
fn a_silent_trunk_that_does_not_know_the_call_ends_it() {
    let mut world = World::default();
    let call = world.incoming_call();
    world.seconds(61);
    let (transaction, options) = world.request_at(call.caller, Method::Options);
    let unknown = Response::to(&options, Status::CALL_DOES_NOT_EXIST);
    world.respond(call.caller, transaction, unknown);
    assert_eq!(world.take_bye(call.callee), Some(27));
    world.take_bye(call.caller);
    assert_eq!(world.assert_nothing_left().ended_by, Some(Party::Caller));
}

#[test]
fn a_call_lasts_no_longer_than_its_user_and_its_trunk_may() {
    let of_user = CONFIG.replace("password = \"one\"", "password = \"one\"\ncall_max_s = 50");
    let of_trunk = CONFIG
        .replace("name = \"carrier-a\"", "name = \"carrier-a\"\ncall_max_s = 50")
        .replace("password = \"one\"", "password = \"one\"\ncall_max_s = 80");
    for config in [of_user, of_trunk] {
        let mut world = World::new(&config);
        let call = world.outgoing_call();
        world.seconds(30);
        // Whoever carries it meanwhile.
        world.restart_signaling();
        world.reconnect(call.caller);
        world.register(call.caller, "1001", CONTACT);
        world.seconds(19);
        assert_eq!(world.engine.calls(), 1);
        world.seconds(2);
        assert_eq!(world.take_bye(call.caller), Some(31));
        assert_eq!(world.take_bye(call.callee), Some(31));
        assert_eq!(world.assert_nothing_left().ended_by, Some(Party::Linecard));
    }
}
