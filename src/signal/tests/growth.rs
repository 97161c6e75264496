//! That what an input costs does not grow with what else there is: calls are counted as they are
//! looked at.

use std::time::Duration;

use super::steps::*;
use super::world::*;
use crate::wire::sip::{Method, Status};

/// Calls looked at for each kind of input, beside so many calls of somebody else.
fn visited_beside(calls: usize) -> Vec<(&'static str, usize)> {
    let mut world = World::new(&CONFIG.replace("calls_per_core = 8", "calls_per_core = 100"));
    let trunk = world.trunk(TRUNK_A);
    let other = world.browser();
    world.register(other, "1002", "sip:other@p1.invalid;transport=ws");
    for number in 0..calls {
        let offer = world.web(other).sdp("actpass");
        let (to, from) = ("sip:4711@example.com", "sip:1002@example.com");
        let contact = "sip:other@p1.invalid;transport=ws";
        let invite = request(Method::Invite, to, from, contact, &format!("other-{number}"))
            .with_body("application/sdp", offer);
        world.send_with_credentials(other, invite, "1002", "two");
        let asked = world.request_at(trunk, Method::Invite);
        world.respond(
            trunk,
            asked.0,
            response(&asked.1, Status::RINGING, &format!("gw-{number}"), TRUNK_CONTACT),
        );
    }
    assert_eq!(world.engine.calls(), calls);

    let mut visited = Vec::new();
    let mut measure = |world: &mut World, what, input: &mut dyn FnMut(&mut World)| {
        world.engine.calls.visited.set(0);
        input(world);
        visited.push((what, world.engine.calls.visited.get()));
    };
    let browser = world.browser();
    measure(&mut world, "REGISTER", &mut |world| {
        world.register(browser, "1001", CONTACT);
    });
    measure(&mut world, "INVITE", &mut |world| {
        world.dial(browser, "4711");
    });
    measure(&mut world, "next_timeout", &mut |world| {
        assert!(world.engine.next_timeout().is_some());
    });
    measure(&mut world, "handle_timeout", &mut |world| world.advance(Duration::from_millis(1)));
    measure(&mut world, "OPTIONS", &mut |world| {
        let options =
            request(Method::Options, "sip:192.0.2.10", "sip:ping@198.51.100.7", "", "ping");
        world.send(trunk, options);
        world.response_at(trunk, Status::OK);
    });
    measure(&mut world, "REGISTER again", &mut |world| {
        world.register(browser, "1001", CONTACT);
    });
    measure(&mut world, "a closed flow", &mut |world| world.disconnect(browser));
    visited
}

#[test]
fn the_work_for_an_input_does_not_grow_with_the_calls() {
    let few = visited_beside(2);
    assert_eq!(few, visited_beside(150));
    assert!(few.iter().all(|(_, visited)| *visited <= 12), "{few:?}");
}

#[test]
fn a_caller_whose_invite_was_on_a_closed_connection_is_gone() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    world.dial(browser, "4711");
    let asked = world.request_at(trunk, Method::Invite);
    world.ring(trunk, &asked);
    // The page has another connection already when its first one closes; the INVITE's response could
    // only have come on that.
    let first = world.peers[browser].flow;
    world.reconnect(browser);
    world.register(browser, "1001", CONTACT);
    let second = std::mem::replace(&mut world.peers[browser].flow, first);
    world.disconnect(browser);
    world.peers[browser].flow = second;
    world.terminate(trunk, &asked);
    assert_eq!(world.assert_nothing_left().reason, "the caller's connection is gone");
}
