//! REGISTER, and who is let in at all.

use super::steps::CONTACT;
use super::world::*;
use crate::wire::sip::{Contacts, HeaderName, Method, Status};

#[test]
fn a_browser_registers_with_one_challenge_and_finds_its_contact() {
    let mut world = World::default();
    let browser = world.browser();
    let mut register = world.register_request("1001", "", 1);
    let instance = "\"<urn:uuid:8f5a7c1e-0000-4000-8000-000000000001>\"";
    let contact = format!("<{CONTACT}>;+sip.ice;reg-id=1;+sip.instance={instance};expires=600");
    register.headers.push(HeaderName::Contact, contact);
    world.send_with_credentials(browser, register, "1001", "one");
    let ok = world.response_at(browser, Status::OK);
    let Ok(Contacts::List(contacts)) = ok.headers.contacts() else { panic!("{ok:?}") };
    assert_eq!(contacts.len(), 1);
    assert_eq!(contacts[0].uri.to_string(), CONTACT);
    assert_eq!(contacts[0].instance(), Some("<urn:uuid:8f5a7c1e-0000-4000-8000-000000000001>"));
    assert_eq!(contacts[0].reg_id(), Some(1));
    assert_eq!(contacts[0].expires_s(), Some(600));
}

#[test]
fn a_wrong_password_is_challenged_again_and_binds_nothing() {
    let mut world = World::default();
    let browser = world.browser();
    let register = world.register_request("1001", CONTACT, 1);
    world.send_with_credentials(browser, register, "1001", "guess");
    world.response_at(browser, Status::UNAUTHORIZED);
    assert!(world.engine.exchange.registrar.is_empty());
    assert_eq!(world.engine.exchange.transactions.len(), 0);
}

#[test]
fn nobody_registers_for_somebody_else() {
    let mut world = World::default();
    let browser = world.browser();
    let register = world.register_request("1002", CONTACT, 1);
    world.send_with_credentials(browser, register, "1001", "one");
    world.response_at(browser, Status::FORBIDDEN);
    assert!(world.engine.exchange.registrar.is_empty());
}

#[test]
fn a_time_too_brief_is_answered_with_the_least() {
    let mut world = World::default();
    let browser = world.browser();
    let mut register = world.register_request("1001", CONTACT, 1);
    register.headers.push(HeaderName::Expires, 5);
    world.send_with_credentials(browser, register, "1001", "one");
    let brief = world.response_at(browser, Status::INTERVAL_TOO_BRIEF);
    assert_eq!(brief.headers.first(&HeaderName::MinExpires), Some("30"));
}

#[test]
fn a_strangers_requests_are_turned_away_and_leave_nothing() {
    let mut world = World::default();
    let stranger = world.trunk(STRANGER);
    world.trunk_dials(stranger, "1001", TRUNK_SDP);
    world.response_at(stranger, Status::FORBIDDEN);
    let register = world.register_request("1001", CONTACT, 1);
    world.send(stranger, register);
    world.response_at(stranger, Status::FORBIDDEN);
    assert_eq!(world.engine.exchange.transactions.len(), 0);
    assert_eq!(world.engine.calls(), 0);
}

#[test]
fn a_browsers_invite_without_credentials_leaves_nothing() {
    let mut world = World::default();
    let browser = world.registered_browser();
    world.seconds(40);
    let invite =
        request(Method::Invite, "sip:4711@example.com", "sip:1001@example.com", CONTACT, "x");
    world.send(browser, invite);
    world.response_at(browser, Status::PROXY_AUTHENTICATION_REQUIRED);
    assert_eq!(world.engine.exchange.transactions.len(), 0);
    assert_eq!(world.engine.calls(), 0);
}

#[test]
fn trunks_may_ask_for_options_and_nothing_else_outside_a_call() {
    let mut world = World::default();
    let trunk = world.trunk(TRUNK_A);
    let ask = |method: Method, tag: &str| {
        request(method, "sip:192.0.2.10", "sip:ping@198.51.100.7", "", tag)
    };
    world.send(trunk, ask(Method::Options, "one"));
    let ok = world.response_at(trunk, Status::OK);
    assert!(ok.headers.lists(&HeaderName::Allow, "INVITE"));
    for (method, tag) in [(Method::Message, "two"), (Method::Subscribe, "three")] {
        world.send(trunk, ask(method, tag));
        let refused = world.response_at(trunk, Status::METHOD_NOT_ALLOWED);
        assert!(refused.headers.lists(&HeaderName::Allow, "INVITE"));
    }
    world.send(trunk, ask(Method::Bye, "four"));
    world.response_at(trunk, Status::CALL_DOES_NOT_EXIST);
}
