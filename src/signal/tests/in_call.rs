//! Requests inside a call.

use std::time::Duration;

use super::world::*;
use crate::audio::g711::{self, Law};
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
fn a_digit_that_nobody_can_press_is_refused() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    world.lose_control();
    let info = call.caller_dialog.request(Method::Info);
    world.send(call.caller, info.with_body("application/dtmf", "5"));
    world.response_at(call.caller, Status::TEMPORARILY_UNAVAILABLE);
    world.connect_control();
    let flash = call.caller_dialog.request(Method::Info);
    world.send(call.caller, flash.with_body("application/dtmf-relay", "Signal=R\r\nDuration=100"));
    world.response_at(call.caller, Status::TEMPORARILY_UNAVAILABLE);
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.take_bye(call.callee);
    world.assert_nothing_left();
}

/// How much of 20 ms of G.711 lies at a frequency.
fn share_of(payload: &[u8], hz: f64) -> f64 {
    let mut pcm = [0; 160];
    g711::decode(Law::Mu, payload, &mut pcm);
    let (mut i, mut q, mut all) = (0.0, 0.0, 1.0);
    for (n, sample) in pcm.iter().enumerate() {
        let (angle, sample) = (n as f64 * hz * std::f64::consts::TAU / 8_000.0, f64::from(*sample));
        (i, q) = (i + sample * angle.cos(), q + sample * angle.sin());
        all += sample * sample;
    }
    2.0 * (i * i + q * q) / (160.0 * all)
}

#[test]
fn a_trunk_that_takes_no_events_hears_tones_one_after_the_other() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    world.change(&mut call, Side::B, |sdp| sdp.replace(" 101\r\n", "\r\n"));
    // As SIP.js does: all at once.
    for digit in ["5", "#"] {
        let info = call.caller_dialog.request(Method::Info);
        let body = format!("Signal={digit}\r\nDuration=160");
        world.send(call.caller, info.with_body("application/dtmf-relay", body));
        world.response_at(call.caller, Status::OK);
    }
    world.peers[call.callee].media.clear();
    world.advance(Duration::from_millis(700));
    let payloads: Vec<_> =
        world.peers[call.callee].take_rtp().into_iter().map(|(_, _, payload)| payload).collect();
    let sounding = |hz: [f64; 2]| {
        payloads.iter().filter(|payload| hz.iter().all(|hz| share_of(payload, *hz) > 0.3)).count()
    };
    // 160 ms each, whole packets of 20 ms; the first and the last may be cut.
    for hz in [[770.0, 1_336.0], [941.0, 1_477.0]] {
        assert!((7..=8).contains(&sounding(hz)), "{hz:?}: {} packets", sounding(hz));
    }
    assert_eq!(sounding([697.0, 1_209.0]), 0);
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.take_bye(call.callee);
    world.assert_nothing_left();
}

#[test]
fn a_trunk_that_rings_without_a_sound_is_given_one_where_its_terms_say_so() {
    let config = CONFIG.replace("name = \"carrier-a\"", "name = \"carrier-a\"\nringback = \"DE\"");
    let mut world = World::new(&config);
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.dial(browser, "4711");
    let asked = world.request_at(trunk, Method::Invite);
    world.ring(trunk, &asked);
    let ringing = world.response_at(browser, Status::RINGING);
    world.connect_media(browser, body(&ringing.body));
    world.advance(Duration::from_millis(500));
    assert!(world.web(browser).heard.len() >= 20, "{} packets", world.web(browser).heard.len());
    world.answer(trunk, asked, "gw", TRUNK_SDP);
    let ok = world.response_at(browser, Status::OK);
    assert_eq!(ok.body, ringing.body, "byte for byte");
    world.advance(Duration::from_millis(100));
    world.web(browser).heard.clear();
    world.advance(Duration::from_millis(500));
    assert_eq!(world.web(browser).heard.len(), 0, "the trunk says nothing");
    let mut dialog = world.confirm(browser, &sent, &ok, "");
    world.hang_up(browser, &mut dialog);
    world.take_bye(trunk);
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

#[test]
fn digits_in_a_trunks_audio_are_listened_for_where_its_terms_say_so_and_it_has_no_events() {
    let terms = "address = \"198.51.100.7:5060\"\n    in_band_digits = true";
    let without_events = TRUNK_SDP
        .replace("RTP/AVP 0 101", "RTP/AVP 0")
        .replace("a=rtpmap:101 telephone-event/8000\r\n", "");
    for (config, sdp, listens) in [
        (CONFIG.replace("address = \"198.51.100.7:5060\"", terms), &*without_events, true),
        (CONFIG.replace("address = \"198.51.100.7:5060\"", terms), TRUNK_SDP, false),
        (CONFIG.to_owned(), &*without_events, false),
    ] {
        let mut world = World::new(&config);
        let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
        let sent = world.dial(browser, "4711");
        let asked = world.request_at(trunk, Method::Invite);
        let mut dialog = world.answer(trunk, asked, "gw", sdp);
        world.ack_at(trunk);
        let ok = world.response_at(browser, Status::OK);
        world.confirm(browser, &sent, &ok, "");
        world.connect_media(browser, body(&ok.body));
        assert_eq!(world.media.format(Side::B).unwrap().receive_tones, listens);
        assert!(!world.media.format(Side::A).unwrap().receive_tones, "a browser has events");
        world.hang_up(trunk, &mut dialog);
        world.take_bye(browser);
        world.assert_nothing_left();
    }
}
