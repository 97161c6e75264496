//! What is logged of the audio of trunks, as media tells of it.

use super::steps::*;
use super::world::*;
use crate::control::codec::write_event;
use crate::control::message::{CallName, Event, Side};
use crate::signal::media_log::Subject;

/// The address that [`TRUNK_SDP`] names, and others.
const NAMED: &str = "198.51.100.7:20000";
const NEAR: &str = "198.51.100.200:4000";
const FAR: &str = "203.0.113.9:4000";

fn tell(world: &mut World, event: &Event) {
    world.engine.control_line(&write_event(0, event), world.now);
    world.deliver();
}

fn name(world: &World) -> CallName {
    world.engine.calls.iter().next().unwrap().name.clone()
}

fn stranger(world: &mut World, leg: Side, from: &str, expected: Option<&str>) {
    let expected = expected.map(|address| address.parse().unwrap());
    let event =
        Event::UnknownSource { call: name(world), leg, from: from.parse().unwrap(), expected };
    tell(world, &event);
}

fn said(world: &World) -> Vec<Subject> {
    world.engine.media_log.said.iter().map(|(_, subject)| *subject).collect()
}

fn end(world: &mut World, mut call: Established) {
    assert_eq!(world.engine.calls(), 1, "nothing of this ends a call");
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.take_bye(call.callee);
    world.assert_nothing_left();
    assert_eq!(said(world), [], "what was said of a call is forgotten with it");
}

#[test]
fn a_trunk_that_falls_silent_is_logged_and_its_call_stays_up() {
    let mut world = World::new(CONFIG);
    let call = world.outgoing_call();
    let silent =
        |world: &World, leg| Event::MediaTimeout { call: name(world), leg, silent_ms: 60_000 };
    let of_browser = silent(&world, Side::A);
    tell(&mut world, &of_browser);
    assert_eq!(said(&world), [], "a browser is watched by its consent");
    let of_trunk = silent(&world, Side::B);
    for _ in 0..2 {
        tell(&mut world, &of_trunk);
        assert_eq!(said(&world), [Subject::Silence]);
    }
    end(&mut world, call);
}

#[test]
fn a_stranger_is_logged_once_an_address_was_named() {
    let mut world = World::new(CONFIG);
    let call = world.outgoing_call();
    stranger(&mut world, Side::B, FAR, None);
    assert_eq!(said(&world), [], "audio may overtake the answer");
    stranger(&mut world, Side::B, FAR, Some(NAMED));
    assert_eq!(said(&world), [Subject::Stranger]);
    end(&mut world, call);
}

#[test]
fn a_trunk_that_is_being_learnt_is_no_stranger_and_a_second_one_is() {
    let within = "name = \"carrier-a\"\n    media_within = [\"198.51.100.0/24\"]";
    let mut world = World::new(&CONFIG.replace("name = \"carrier-a\"", within));
    let call = world.incoming_call();
    stranger(&mut world, Side::A, NEAR, Some(NAMED));
    assert_eq!(said(&world), []);
    let started = Event::MediaStarted { call: name(&world), leg: Side::A };
    tell(&mut world, &started);
    let remote = NEAR.parse().unwrap();
    let learnt = Event::SourceLearnt { call: name(&world), leg: Side::A, remote };
    tell(&mut world, &learnt);
    assert_eq!(said(&world), [Subject::Learnt]);
    stranger(&mut world, Side::A, "198.51.100.201:4000", Some(NEAR));
    assert_eq!(said(&world), [Subject::Stranger, Subject::Learnt]);
    end(&mut world, call);
}
