//! Requests inside a call.

use super::world::*;
use crate::control::message::Side;
use crate::wire::sip::{HeaderName, Method, Status};
use crate::wire::telephone_event::Digit;

#[test]
fn a_digit_in_info_leaves_by_the_other_leg() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let info = call.caller_dialog.request(Method::Info);
    world.send(call.caller, info.with_body("application/dtmf-relay", "Signal=5\r\nDuration=160"));
    world.response_at(call.caller, Status::OK);
    let events = world.events_at(call.callee);
    let leg = world.media.only().created.b.rtp;
    assert!(
        events.iter().all(|(from, event)| *from == leg && event.digit() == Digit::from_char('5'))
    );
    let (_, last) = events.last().unwrap();
    // 160 ms of 8 kHz.
    assert_eq!((last.end, last.duration), (true, 1_280));

    let info = call.caller_dialog.request(Method::Info);
    world.send(call.caller, info.with_body("text/plain", "5"));
    world.response_at(call.caller, Status::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(world.events_at(call.callee), []);
}

#[test]
fn a_digit_that_the_other_side_cannot_be_told_is_refused() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    world.change(&mut call, Side::B, |sdp| sdp.replace(" 101\r\n", "\r\n"));
    let info = call.caller_dialog.request(Method::Info);
    world.send(call.caller, info.with_body("application/dtmf-relay", "Signal=5\r\nDuration=160"));
    world.response_at(call.caller, Status::TEMPORARILY_UNAVAILABLE);
    assert_eq!(world.media.refused.drain(..).count(), 1);
    // While media is away nobody presses it either.
    world.lose_control();
    let info = call.caller_dialog.request(Method::Info);
    world.send(call.caller, info.with_body("application/dtmf", "5"));
    world.response_at(call.caller, Status::TEMPORARILY_UNAVAILABLE);
    world.connect_control();
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.take_bye(call.callee);
    world.assert_nothing_left();
}

#[test]
fn methods_we_do_not_know_are_refused_by_name() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    for method in [Method::Message, Method::Refer, Method::Notify] {
        let unknown = call.callee_dialog.request(method);
        world.send(call.callee, unknown);
        let refused = world.response_at(call.callee, Status::METHOD_NOT_ALLOWED);
        assert!(refused.headers.lists(&HeaderName::Allow, "BYE"));
    }
    let options = call.callee_dialog.request(Method::Options);
    world.send(call.callee, options);
    world.response_at(call.callee, Status::OK);
}

#[test]
fn whoever_does_not_know_both_tags_is_in_no_dialog() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let mut guess = call.callee_dialog.clone();
    guess.local.set_tag("guessed");
    let bye = guess.request(Method::Bye);
    world.send(call.callee, bye);
    world.response_at(call.callee, Status::CALL_DOES_NOT_EXIST);
    assert_eq!(world.engine.calls(), 1);
    world.hang_up(call.callee, &mut call.callee_dialog);
    world.take_bye(call.caller);
    world.assert_nothing_left();
}
