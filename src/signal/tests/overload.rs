//! Media that has no room for another call: who asked hears 503 with a time to come back, at once, on
//! either side, and nothing is left behind.

use std::time::Duration;

use super::world::*;
use crate::control::message::{ControlError, ErrorCode};
use crate::signal::records::Party;
use crate::wire::sip::{Method, Status};

/// Ways of media to be full, with the cause and the seconds that a caller is told.
fn full_media() -> [(ControlError, u8, u32); 6] {
    let overloaded = |ms| ControlError::overloaded("too busy", Duration::from_millis(ms));
    let full = |code| ControlError::new(code, "full");
    [
        (overloaded(5_000), 42, 5),
        // Rounded up: whoever comes back too early is refused again.
        (overloaded(5_001), 42, 6),
        (overloaded(0), 42, 1),
        (full(ErrorCode::NoCapacity), 34, 5),
        (full(ErrorCode::NoPorts), 34, 5),
        (full(ErrorCode::SystemRefused), 47, 5),
    ]
}

#[test]
fn media_that_is_full_refuses_a_browser_at_once_with_a_time_to_come_back() {
    for (refusal, cause, seconds) in full_media() {
        let mut world = World::new(CONFIG);
        let browser = world.registered_browser();
        let trunk = world.trunk(TRUNK_A);
        let words = refusal.message.clone();
        world.media.refuse = Some(refusal);
        world.dial(browser, "4711");
        let full = world.response_at(browser, Status::SERVICE_UNAVAILABLE);
        assert_eq!(full.headers.retry_after_s(), Some(seconds));
        assert_eq!(q850(&full.headers), Some(cause));
        assert!(!world.heard_request(trunk, Method::Invite), "nobody was asked");
        let record = world.assert_nothing_left();
        assert_eq!((record.sip_status, record.q850_cause), (503, cause));
        assert_eq!(record.ended_by, Some(Party::Linecard));
        assert!(record.reason.contains(&words), "{}", record.reason);
    }
}

#[test]
fn media_that_is_full_refuses_a_trunk_at_once_with_a_time_to_come_back() {
    for (refusal, cause, seconds) in full_media() {
        let mut world = World::new(CONFIG);
        let browser = world.registered_browser();
        let trunk = world.trunk(TRUNK_A);
        world.media.refuse = Some(refusal);
        let asked = world.now;
        world.trunk_dials(trunk, "1001", TRUNK_SDP);
        let full = world.response_at(trunk, Status::SERVICE_UNAVAILABLE);
        assert_eq!(world.now, asked, "nothing was waited for");
        assert_eq!(full.headers.retry_after_s(), Some(seconds));
        assert_eq!(q850(&full.headers), Some(cause));
        assert!(!world.heard_request(browser, Method::Invite), "the browser does not ring");
        let record = world.assert_nothing_left();
        assert_eq!((record.sip_status, record.q850_cause), (503, cause));
    }
}

#[test]
fn a_call_is_taken_again_when_media_has_room_again() {
    let mut world = World::new(CONFIG);
    let browser = world.registered_browser();
    let refusal = ControlError::overloaded("too busy", Duration::from_secs(5));
    world.media.refuse = Some(refusal);
    world.dial(browser, "4711");
    world.response_at(browser, Status::SERVICE_UNAVAILABLE);
    assert_eq!(world.assert_nothing_left().sip_status, 503);
    world.media.refuse = None;
    let trunk = world.trunk(TRUNK_A);
    world.dial(browser, "4711");
    assert!(world.heard_request(trunk, Method::Invite));
}
