//! The processes are told to end, in either order.

use super::world::*;
use crate::signal::records::Party;
use crate::wire::sip::{Method, Status};

#[test]
fn a_stop_says_bye_on_both_sides_and_writes_the_record() {
    let mut world = World::default();
    let call = world.outgoing_call();
    world.stop_signaling();
    assert_eq!(world.records.len(), 1, "before anybody has answered");
    for peer in [call.caller, call.callee] {
        assert_eq!(world.take_bye(peer), Some(41));
    }
    assert_eq!(world.engine.calls(), 0);
    let record = world.assert_nothing_left();
    assert!(record.statistics.is_some());
    assert_eq!((record.ended_by, record.q850_cause), (Some(Party::Linecard), 41));
}

#[test]
fn a_stop_gives_up_what_rings_and_refuses_what_comes() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    world.dial(browser, "4711");
    let asked = world.request_at(trunk, Method::Invite);
    world.ring(trunk, &asked);
    world.stop_signaling();
    let refused = world.response_at(browser, Status::SERVICE_UNAVAILABLE);
    assert_eq!(q850(&refused.headers), Some(41));
    world.terminate(trunk, &asked);
    assert_eq!(world.engine.calls(), 0);
    world.trunk_dials(trunk, "1001", TRUNK_SDP);
    let refused = world.response_at(trunk, Status::SERVICE_UNAVAILABLE);
    assert!(refused.headers.retry_after_s().is_some());
    assert_eq!(world.records.pop().unwrap().sip_status, 503);
    world.assert_nothing_left();
}

#[test]
fn a_browser_that_is_away_does_not_hold_a_stop_up() {
    let mut world = World::default();
    let call = world.outgoing_call();
    world.disconnect(call.caller);
    world.stop_signaling();
    world.take_bye(call.callee);
    assert_eq!(world.engine.calls(), 0);
    world.assert_nothing_left();
}

#[test]
fn a_trunk_that_never_answers_its_bye_costs_no_record() {
    let mut world = World::default();
    let call = world.outgoing_call();
    world.peers[call.callee].is_dead = true;
    world.stop_signaling();
    world.take_bye(call.caller);
    assert_eq!((world.engine.calls(), world.records.len()), (1, 1));
    world.engine.give_up(world.now);
    world.deliver();
    assert_eq!(world.records.len(), 1, "once");
}

#[test]
fn when_media_is_told_to_end_both_sides_hear_it_and_the_record_has_its_statistics() {
    let mut world = World::default();
    let call = world.outgoing_call();
    world.media.process.end_all();
    world.deliver();
    for peer in [call.caller, call.callee] {
        assert_eq!(world.take_bye(peer), Some(41));
    }
    let record = world.assert_nothing_left();
    assert!(record.statistics.is_some());
    assert_eq!((record.ended_by, record.q850_cause), (Some(Party::Linecard), 41));
}
