//! Calls that end before or after they came about: the right status and cause on the other leg, and
//! nothing left behind.

use super::steps::*;
use super::world::*;
use crate::control::message::Side;
use crate::signal::output::Output;
use crate::signal::records::Party;
use crate::sip::transaction::TRYING_DELAY;
use crate::wire::sip::{HeaderName, Method, Response, Status};

/// A browser dials and the first trunk has been asked.
fn dialled(world: &mut World) -> (usize, usize, Sent) {
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.dial(browser, "4711");
    (browser, trunk, sent)
}

fn cause_of(response: &Response) -> Option<u8> {
    q850(&response.headers)
}

#[test]
fn a_busy_callee_is_busy() {
    let mut world = World::default();
    let (browser, trunk, _) = dialled(&mut world);
    let asked = world.request_at(trunk, Method::Invite);
    world.refuse(trunk, asked, Status::BUSY_HERE);
    let busy = world.response_at(browser, Status::BUSY_HERE);
    assert_eq!(cause_of(&busy), Some(17));
    let record = world.assert_nothing_left();
    assert_eq!((record.sip_status, record.q850_cause), (486, 17));
    assert_eq!(record.ended_by, Some(Party::Callee));
    assert_eq!(record.answered, None);
}

#[test]
fn a_number_the_trunk_does_not_know_is_not_found() {
    let mut world = World::default();
    let (browser, trunk, _) = dialled(&mut world);
    let asked = world.request_at(trunk, Method::Invite);
    world.refuse(trunk, asked, Status::NOT_FOUND);
    assert_eq!(cause_of(&world.response_at(browser, Status::NOT_FOUND)), Some(1));
    assert_eq!(world.assert_nothing_left().q850_cause, 1);
}

#[test]
fn a_number_of_nobody_is_not_found() {
    let mut world = World::default();
    let trunk = world.trunk(TRUNK_A);
    world.trunk_dials(trunk, "+449999", TRUNK_SDP);
    assert_eq!(cause_of(&world.response_at(trunk, Status::NOT_FOUND)), Some(1));
    assert_eq!(world.assert_nothing_left().sip_status, 404);
}

#[test]
fn a_user_without_a_browser_is_unavailable() {
    let mut world = World::default();
    let trunk = world.trunk(TRUNK_A);
    world.trunk_dials(trunk, "1001", TRUNK_SDP);
    world.response_at(trunk, Status::TEMPORARILY_UNAVAILABLE);
    assert_eq!(world.assert_nothing_left().sip_status, 480);
}

#[test]
fn a_caller_who_cancels_stops_the_ringing() {
    let mut world = World::default();
    let (browser, trunk, sent) = dialled(&mut world);
    let asked = world.request_at(trunk, Method::Invite);
    world.ring(trunk, &asked);
    world.cancel(browser, sent.transaction);
    world.response_at(browser, Status::REQUEST_TERMINATED);
    let reasons = world.terminate(trunk, &asked);
    assert_eq!(reasons[0].cause, Some(16));
    let record = world.assert_nothing_left();
    assert_eq!((record.sip_status, record.ended_by), (487, Some(Party::Caller)));
}

#[test]
fn a_cancel_that_crosses_the_answer_is_acknowledged_and_hung_up() {
    let mut world = World::default();
    let (browser, trunk, sent) = dialled(&mut world);
    let asked = world.request_at(trunk, Method::Invite);
    // The caller has our 100 and we have none from the trunk: its CANCEL waits, the 200 is faster.
    world.cancel(browser, sent.transaction);
    world.peers[trunk].is_dead = true;
    world.advance(TRYING_DELAY);
    world.peers[trunk].is_dead = false;
    world.response_at(browser, Status::REQUEST_TERMINATED);
    world.answer(trunk, asked, "gw", TRUNK_SDP);
    world.ack_at(trunk);
    world.take_bye(trunk);
    assert_eq!(world.assert_nothing_left().sip_status, 487);
}

#[test]
fn nobody_rings_for_ever() {
    let mut world = World::default();
    let (browser, trunk, _) = dialled(&mut world);
    let asked = world.request_at(trunk, Method::Invite);
    world.ring(trunk, &asked);
    world.seconds(119);
    assert_eq!(world.engine.calls(), 1);
    world.seconds(2);
    assert_eq!(cause_of(&world.response_at(browser, Status::TEMPORARILY_UNAVAILABLE)), Some(19));
    world.terminate(trunk, &asked);
    assert_eq!(world.assert_nothing_left().q850_cause, 19);
}

#[test]
fn an_offer_without_a_codec_of_ours_is_not_acceptable() {
    let mut world = World::default();
    let (trunk, browser) = (world.trunk(TRUNK_A), world.registered_browser());
    let g729 = TRUNK_SDP.replace("RTP/AVP 0", "RTP/AVP 18").replace("0 PCMU", "18 G729");
    world.trunk_dials(trunk, "1001", &g729);
    let refused = world.response_at(trunk, Status::NOT_ACCEPTABLE_HERE);
    assert_eq!(cause_of(&refused), Some(88));
    assert!(!world.heard_request(browser, Method::Invite));
    assert_eq!(world.assert_nothing_left().q850_cause, 88);
}

#[test]
fn an_offer_that_is_no_sdp_is_a_bad_request() {
    let mut world = World::default();
    world.registered_browser();
    let trunk = world.trunk(TRUNK_A);
    world.trunk_dials(trunk, "1001", "this is not SDP\r\n");
    world.response_at(trunk, Status::BAD_REQUEST);
    assert_eq!(world.assert_nothing_left().sip_status, 400);
}

#[test]
fn an_answer_without_a_codec_of_ours_ends_the_call_on_both_sides() {
    let mut world = World::default();
    let (browser, trunk, _) = dialled(&mut world);
    let asked = world.request_at(trunk, Method::Invite);
    let g729 = TRUNK_SDP.replace("RTP/AVP 0", "RTP/AVP 18").replace("0 PCMU", "18 G729");
    world.answer(trunk, asked, "gw", &g729);
    world.ack_at(trunk);
    assert_eq!(world.take_bye(trunk), Some(88));
    assert_eq!(cause_of(&world.response_at(browser, Status::NOT_ACCEPTABLE_HERE)), Some(88));
    assert_eq!(world.assert_nothing_left().sip_status, 488);
}

#[test]
fn a_silent_trunk_is_given_up_for_the_next_after_four_seconds() {
    let mut world = World::default();
    // Nobody is at the first trunk's address.
    let browser = world.registered_browser();
    let sent = world.dial(browser, "4711");
    let next = world.trunk(TRUNK_B);
    world.seconds(3);
    assert!(!world.heard_request(next, Method::Invite));
    world.seconds(2);
    let asked = world.request_at(next, Method::Invite);
    assert!(body(&asked.1.body).contains("RTP/AVP 8 "), "its own codecs: {}", body(&asked.1.body));
    let answer = TRUNK_SDP.replace("RTP/AVP 0", "RTP/AVP 8").replace("0 PCMU", "8 PCMA");
    world.answer(next, asked, "gw", &answer);
    let ok = world.response_at(browser, Status::OK);
    let mut dialog = world.confirm(browser, &sent, &ok, "");
    world.connect_media(browser, body(&ok.body));
    world.hang_up(browser, &mut dialog);
    world.take_bye(next);
    assert_eq!(world.assert_nothing_left().trunk.as_deref(), Some("carrier-b"));
}

#[test]
fn a_trunk_that_wakes_up_too_late_is_cancelled() {
    let mut world = World::default();
    let browser = world.registered_browser();
    world.dial(browser, "4711");
    let next = world.trunk(TRUNK_B);
    world.seconds(5);
    // It hears a retransmission.
    let late = world.trunk(TRUNK_A);
    world.seconds(4);
    let asked = world.request_at(late, Method::Invite);
    world.ring(late, &asked);
    world.terminate(late, &asked);
    let asked = world.request_at(next, Method::Invite);
    world.refuse(next, asked, Status::BUSY_HERE);
    world.response_at(browser, Status::BUSY_HERE);
    world.assert_nothing_left();
}

#[test]
fn when_every_trunk_is_silent_the_caller_gets_504() {
    let mut world = World::default();
    let browser = world.registered_browser();
    world.dial(browser, "4711");
    world.seconds(9);
    let timeout = world.response_at(browser, Status::SERVER_TIMEOUT);
    assert_eq!(cause_of(&timeout), Some(102));
    assert_eq!(world.assert_nothing_left().q850_cause, 102);
}

#[test]
fn a_trunk_that_is_full_is_passed_over_and_the_last_ones_word_counts() {
    let mut world = World::default();
    let (browser, first, _) = dialled(&mut world);
    let second = world.trunk(TRUNK_B);
    let asked = world.request_at(first, Method::Invite);
    world.refuse(first, asked, Status::SERVICE_UNAVAILABLE);
    let (transaction, invite) = world.request_at(second, Method::Invite);
    let mut full = response(&invite, Status::SERVICE_UNAVAILABLE, "no", TRUNK_CONTACT);
    full.headers.push(HeaderName::RetryAfter, 30);
    world.respond(second, transaction, full);
    let refused = world.response_at(browser, Status::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers.retry_after_s(), Some(30));
    let record = world.assert_nothing_left();
    assert_eq!((record.sip_status, record.trunk.as_deref()), (503, Some("carrier-b")));
}

#[test]
fn a_decision_about_the_callee_is_not_put_to_another_trunk() {
    let mut world = World::default();
    let (browser, first, _) = dialled(&mut world);
    let second = world.trunk(TRUNK_B);
    let asked = world.request_at(first, Method::Invite);
    world.refuse(first, asked, Status::DECLINE);
    assert_eq!(cause_of(&world.response_at(browser, Status::DECLINE)), Some(21));
    assert!(!world.heard_request(second, Method::Invite));
    world.assert_nothing_left();
}

#[test]
fn when_all_browsers_refuse_the_best_refusal_counts() {
    let mut world = World::default();
    let trunk = world.trunk(TRUNK_A);
    let (one, two) = (world.browser(), world.browser());
    world.register(one, "1001", "sip:one@x.invalid;transport=ws");
    world.register(two, "1001", "sip:two@y.invalid;transport=ws");
    world.trunk_dials(trunk, "1001", TRUNK_SDP);
    let asked = world.request_at(one, Method::Invite);
    world.refuse(one, asked, Status::BUSY_HERE);
    assert_eq!(world.engine.calls(), 1);
    let asked = world.request_at(two, Method::Invite);
    world.refuse(two, asked, Status::TEMPORARILY_UNAVAILABLE);
    assert_eq!(cause_of(&world.response_at(trunk, Status::BUSY_HERE)), Some(17));
    world.assert_nothing_left();
}

#[test]
fn a_handshake_that_is_not_done_in_time_ends_the_call_on_both_sides() {
    let mut world = World::default();
    let (browser, trunk, sent) = dialled(&mut world);
    let asked = world.request_at(trunk, Method::Invite);
    world.answer(trunk, asked, "gw", TRUNK_SDP);
    let ok = world.response_at(browser, Status::OK);
    world.confirm(browser, &sent, &ok, "");
    world.seconds(14);
    assert!(!world.heard_request(browser, Method::Bye));
    world.seconds(2);
    assert_eq!(world.take_bye(browser), Some(102));
    assert_eq!(world.take_bye(trunk), Some(102));
    let record = world.assert_nothing_left();
    assert_eq!((record.sip_status, record.ended_by), (200, Some(Party::Linecard)));
}

#[test]
fn a_browser_whose_consent_expired_ends_the_call_on_both_sides() {
    let mut world = World::default();
    let call = world.outgoing_call();
    // It vanishes: its checks cease (RFC 7675 §5.1).
    world.web(call.caller).is_gone = true;
    world.seconds(29);
    assert!(!world.heard_request(call.callee, Method::Bye));
    world.seconds(2);
    assert_eq!(world.take_bye(call.callee), Some(27));
    world.take_bye(call.caller);
    assert_eq!(world.assert_nothing_left().ended_by, Some(Party::Caller));
}

#[test]
fn the_callee_hangs_up_and_its_cause_crosses() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let mut bye = call.callee_dialog.request(Method::Bye);
    bye.headers.push(HeaderName::Reason, "Q.850;cause=38;text=\"Network out of order\"");
    world.send(call.callee, bye);
    world.response_at(call.callee, Status::OK);
    assert_eq!(world.take_bye(call.caller), Some(38));
    let record = world.assert_nothing_left();
    assert_eq!((record.q850_cause, record.ended_by), (38, Some(Party::Callee)));
}

#[test]
fn a_caller_gone_while_it_rings_cancels_the_callee() {
    let mut world = World::default();
    let (browser, trunk, _) = dialled(&mut world);
    let asked = world.request_at(trunk, Method::Invite);
    world.ring(trunk, &asked);
    world.disconnect(browser);
    world.terminate(trunk, &asked);
    assert_eq!(world.assert_nothing_left().ended_by, Some(Party::Caller));
}

#[test]
fn a_callee_gone_while_it_rings_is_unavailable() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    world.trunk_dials(trunk, "1001", TRUNK_SDP);
    world.disconnect(browser);
    world.response_at(trunk, Status::TEMPORARILY_UNAVAILABLE);
    world.assert_nothing_left();
}

#[test]
fn a_caller_who_never_acknowledges_is_hung_up() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    world.trunk_dials(trunk, "1001", TRUNK_SDP);
    let asked = world.request_at(browser, Method::Invite);
    let offer = body(&asked.1.body).to_owned();
    let sdp = world.web(browser).sdp("active");
    world.answer(browser, asked, "browser", &sdp);
    world.connect_media(browser, &offer);
    world.seconds(33);
    assert_eq!(world.take_bye(browser), Some(102));
    assert_eq!(world.take_bye(trunk), Some(102));
    world.assert_nothing_left();
}

#[test]
fn a_bye_waits_for_the_callers_acknowledgement() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.trunk_dials(trunk, "1001", TRUNK_SDP);
    let asked = world.request_at(browser, Method::Invite);
    let sdp = world.web(browser).sdp("active");
    let mut callee = world.answer(browser, asked, "browser", &sdp);
    callee.remote_cseq = None;
    world.hang_up(browser, &mut callee);
    let ok = world.response_at(trunk, Status::OK);
    assert!(!world.heard_request(trunk, Method::Bye), "RFC 3261 §15");
    world.confirm(trunk, &sent, &ok, "");
    world.take_bye(trunk);
    world.assert_nothing_left();
}

#[test]
fn a_media_process_that_was_restarted_ends_its_calls_with_cause_41() {
    let mut world = World::default();
    let call = world.outgoing_call();
    world.restart_media();
    world.seconds(1);
    assert!(!world.heard_request(call.callee, Method::Bye), "it may come back");
    world.connect_control();
    assert_eq!(world.take_bye(call.callee), Some(41));
    assert_eq!(world.take_bye(call.caller), Some(41));
    let record = world.assert_nothing_left();
    assert_eq!((record.q850_cause, record.statistics), (41, None));
}

#[test]
fn a_media_process_that_stays_away_ends_its_calls_with_cause_41() {
    let mut world = World::default();
    let call = world.outgoing_call();
    world.restart_media();
    world.seconds(6);
    assert_eq!(world.take_bye(call.callee), Some(41));
    assert_eq!(world.take_bye(call.caller), Some(41));
    world.assert_nothing_left();
}

#[test]
fn a_connection_to_media_that_broke_for_a_moment_harms_no_call() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    world.lose_control();
    world.seconds(1);
    world.connect_control();
    world.seconds(30);
    assert_eq!(world.engine.calls(), 1);
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.take_bye(call.callee);
    world.assert_nothing_left();
}

#[test]
fn what_an_answer_says_while_media_is_away_is_told_when_it_is_back() {
    let mut world = World::default();
    let (browser, trunk, sent) = dialled(&mut world);
    let asked = world.request_at(trunk, Method::Invite);
    world.lose_control();
    let mut callee = world.answer(trunk, asked, "gw", TRUNK_SDP);
    world.ack_at(trunk);
    let ok = world.response_at(browser, Status::OK);
    world.confirm(browser, &sent, &ok, "");
    assert_eq!(world.media.remote(Side::B), None);
    world.connect_control();
    assert_eq!(world.media.remote(Side::B), Some("198.51.100.7:20000".parse().unwrap()));
    assert!(world.media.format(Side::B).is_some());
    world.connect_media(browser, body(&ok.body));
    world.hang_up(trunk, &mut callee);
    world.take_bye(browser);
    world.assert_nothing_left();
}

#[test]
fn keys_that_an_answer_sets_free_while_media_is_away_are_told_when_it_is_back() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.trunk_dials(trunk, "1001", TRUNK_SDP);
    let asked = world.request_at(browser, Method::Invite);
    // The handshake is faster than the answer.
    world.connect_media(browser, body(&asked.1.body));
    world.lose_control();
    let sdp = world.web(browser).sdp("active");
    world.answer(browser, asked, "browser", &sdp);
    let ok = world.response_at(trunk, Status::OK);
    let mut dialog = world.confirm(trunk, &sent, &ok, "");
    assert!(!world.media.connection(Side::B).security.is_ready());
    world.connect_control();
    assert!(world.media.connection(Side::B).security.is_protected());
    assert_eq!(world.media.remote(Side::B), Some(world.web(browser).address));
    world.seconds(60);
    world.hang_up(trunk, &mut dialog);
    world.take_bye(browser);
    world.assert_nothing_left();
}

#[test]
fn a_call_that_ended_while_media_was_away_is_not_picked_up_again() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    world.lose_control();
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.take_bye(call.callee);
    assert_eq!((world.engine.calls(), world.media.listed().len()), (0, 1));
    world.connect_control();
    assert_eq!((world.engine.calls(), world.media.listed().len()), (0, 0));
    assert!(!world.assert_nothing_left().recovered);
}

#[test]
fn without_media_a_call_is_refused_with_a_time_to_come_back() {
    let mut world = World::default();
    let browser = world.registered_browser();
    world.lose_control();
    world.dial(browser, "4711");
    let refused = world.response_at(browser, Status::SERVICE_UNAVAILABLE);
    assert!(refused.headers.retry_after_s().is_some());
    assert_eq!(world.assert_nothing_left().sip_status, 503);
}

#[test]
fn a_bye_that_nobody_answers_leaves_nothing_behind() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    world.peers[call.callee].is_dead = true;
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.assert_nothing_left();
}

#[test]
fn a_second_answer_of_a_forking_trunk_is_acknowledged_and_hung_up() {
    let mut world = World::default();
    let (browser, trunk, sent) = dialled(&mut world);
    let asked = world.request_at(trunk, Method::Invite);
    let fork = response(&asked.1, Status::OK, "fork", TRUNK_CONTACT)
        .with_body("application/sdp", TRUNK_SDP.replace("20000", "22000"));
    world.answer(trunk, asked, "gw", TRUNK_SDP);
    world.ack_at(trunk);
    // Another branch of the trunk's fork answers the same INVITE.
    world.engine.handle_datagram(&fork.to_bytes(), TRUNK_A.parse().unwrap(), world.now);
    world.deliver();
    let ack = world.ack_at(trunk);
    assert_eq!(ack.headers.to().unwrap().tag(), Some("fork"));
    let (transaction, bye) = world.request_at(trunk, Method::Bye);
    assert_eq!(bye.headers.to().unwrap().tag(), Some("fork"));
    world.respond(trunk, transaction, Response::to(&bye, Status::OK));
    assert_eq!(world.media.remote(Side::B).unwrap().port(), 20_000, "media stays");

    let ok = world.response_at(browser, Status::OK);
    let mut dialog = world.confirm(browser, &sent, &ok, "");
    world.connect_media(browser, body(&ok.body));
    world.hang_up(browser, &mut dialog);
    world.take_bye(trunk);
    world.assert_nothing_left();
}

#[test]
fn an_answer_that_comes_again_is_acknowledged_again() {
    let mut world = World::default();
    let (browser, trunk, sent) = dialled(&mut world);
    let asked = world.request_at(trunk, Method::Invite);
    let again =
        response(&asked.1, Status::OK, "gw", TRUNK_CONTACT).with_body("application/sdp", TRUNK_SDP);
    world.answer(trunk, asked, "gw", TRUNK_SDP);
    world.ack_at(trunk);
    world.engine.handle_datagram(&again.to_bytes(), TRUNK_A.parse().unwrap(), world.now);
    let sent_again = world.engine.poll_output();
    let Some(Output::Datagram { bytes, .. }) = sent_again else { panic!("{sent_again:?}") };
    assert!(bytes.starts_with(b"ACK "));
    assert_eq!(world.engine.poll_output(), None, "and nothing else");
    let ok = world.response_at(browser, Status::OK);
    let mut dialog = world.confirm(browser, &sent, &ok, "");
    world.connect_media(browser, body(&ok.body));
    world.hang_up(browser, &mut dialog);
    world.take_bye(trunk);
    world.assert_nothing_left();
}
