//! `kill -9` of the signaling process, as its successor sees it.

use super::steps::*;
use super::world::*;
use crate::control::message::{BLOB_BYTES_MAX, LIST_CALLS_MAX, Side};
use crate::signal::records::Party;
use crate::wire::sip::{Method, Status};

#[test]
fn a_talking_call_goes_on_and_the_trunk_hangs_up() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    assert!(world.media.blob().len() < BLOB_BYTES_MAX / 2, "{}", world.media.blob().len());
    world.restart_signaling();
    assert_eq!(world.engine.calls(), 1);
    assert!(!world.heard_request(call.callee, Method::Bye));
    world.seconds(5);
    world.hang_up(call.callee, &mut call.callee_dialog);
    // The browser is not back yet: its BYE waits for it.
    assert_eq!(world.media.listed(), []);
    assert!(!world.heard_request(call.caller, Method::Bye));
    world.seconds(5);
    world.reconnect(call.caller);
    world.register(call.caller, "1001", CONTACT);
    world.take_bye(call.caller);
    let record = world.assert_nothing_left();
    assert!(record.recovered && record.answered.is_some() && record.statistics.is_some());
    assert_eq!((record.sip_status, record.ended_by), (200, Some(Party::Callee)));
}

#[test]
fn a_talking_call_goes_on_and_the_browser_hangs_up() {
    let mut world = World::default();
    let mut call = world.incoming_call();
    world.restart_signaling();
    world.reconnect(call.callee);
    // Before it has registered again.
    call.callee_dialog.remote_cseq = None;
    world.hang_up(call.callee, &mut call.callee_dialog);
    assert_eq!(world.take_bye(call.caller), Some(16));
    assert!(world.assert_nothing_left().recovered);
}

#[test]
fn a_browser_that_never_comes_back_is_not_waited_for_for_ever() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    world.restart_signaling();
    world.hang_up(call.callee, &mut call.callee_dialog);
    world.assert_nothing_left();
}

#[test]
fn a_browser_that_moves_after_the_restart_is_followed() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    world.restart_signaling();
    let moved = "203.0.113.50:6000".parse().unwrap();
    let web = world.web(call.caller);
    web.address = moved;
    web.check();
    world.deliver();
    assert_eq!(world.media.remote(Side::A), Some(moved));
    world.hang_up(call.callee, &mut call.callee_dialog);
    world.assert_nothing_left();
}

#[test]
fn a_ringing_call_of_a_browser_is_hung_up_on_the_trunk() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    world.dial(browser, "4711");
    let asked = world.request_at(trunk, Method::Invite);
    world.ring(trunk, &asked);
    world.restart_signaling();
    // A BYE may end an early dialog (RFC 3261 §15); the INVITE then fails.
    assert_eq!(world.take_bye(trunk), Some(41));
    world.respond(
        trunk,
        asked.0,
        response(&asked.1, Status::REQUEST_TERMINATED, "gw", TRUNK_CONTACT),
    );
    assert_eq!(world.assert_nothing_left().sip_status, 503);
}

#[test]
fn a_trunks_call_that_was_being_set_up_gets_its_final_response() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    world.trunk_dials(trunk, "1001", TRUNK_SDP);
    let asked = world.request_at(browser, Method::Invite);
    let ringing = response(&asked.1, Status::RINGING, "b", CONTACT);
    world.respond(browser, asked.0, ringing);
    let tag = world.response_at(trunk, Status::RINGING).headers.to().unwrap();
    world.restart_signaling();
    let refused = world.response_at(trunk, Status::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers.to().unwrap().tag(), tag.tag());
    assert_eq!(q850(&refused.headers), Some(41));
    world.assert_nothing_left();
}

#[test]
fn a_call_that_was_answered_but_not_open_is_hung_up_on_both_sides() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.dial(browser, "4711");
    let asked = world.request_at(trunk, Method::Invite);
    world.answer(trunk, asked, "gw", TRUNK_SDP);
    let ok = world.response_at(browser, Status::OK);
    world.confirm(browser, &sent, &ok, "");
    world.restart_signaling();
    assert_eq!(world.take_bye(trunk), Some(41));
    world.reconnect(browser);
    world.register(browser, "1001", CONTACT);
    assert_eq!(world.take_bye(browser), Some(41));
    world.assert_nothing_left();
}

#[test]
fn a_blob_that_does_not_read_is_dropped_from_media() {
    for blob in ["", "{}", "{\"version\":9}", "[1,2", "null"] {
        let mut world = World::default();
        world.outgoing_call();
        world.media.park_by_another_controller(blob);
        world.restart_signaling();
        assert_eq!(world.engine.calls(), 0);
        assert_eq!(world.media.listed(), []);
    }
}

#[test]
fn many_calls_are_found_again_page_by_page() {
    let mut world = World::new(&CONFIG.replace("calls_per_core = 8", "calls_per_core = 40"));
    let trunk = world.trunk(TRUNK_A);
    let browser = world.registered_browser();
    let calls = LIST_CALLS_MAX + 2;
    for number in 0..calls {
        let offer = world.web(browser).sdp("actpass");
        let tag = format!("caller-{number}");
        let to = "sip:4711@example.com";
        let invite = request(Method::Invite, to, "sip:1001@example.com", CONTACT, &tag)
            .with_body("application/sdp", offer);
        let sent = world.send_with_credentials(browser, invite, "1001", "one");
        let asked = world.request_at(trunk, Method::Invite);
        world.answer(trunk, asked, &tag, TRUNK_SDP);
        let ok = world.response_at(browser, Status::OK);
        world.confirm(browser, &sent, &ok, "");
        // Each call has a port of the browser's.
        let web = world.web(browser);
        web.start_over();
        web.address.set_port(51_000 + number as u16);
        world.connect_media(browser, body(&ok.body));
    }
    world.restart_signaling();
    assert_eq!(world.engine.calls(), calls);
}
