//! ICE and DTLS that come to nothing: the call ends as soon as that is sure, and its record says why.

use super::world::*;
use crate::control::message::Side;
use crate::signal::records::Party;
use crate::wire::sip::Method;

/// A browser's call that a trunk has answered; the browser knows our SDP and has done nothing with
/// it.
struct Answered {
    browser: usize,
    trunk: usize,
    our_sdp: String,
}

fn answered(world: &mut World) -> Answered {
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.dial(browser, "4711");
    let asked = world.request_at(trunk, Method::Invite);
    world.answer(trunk, asked, "gw", TRUNK_SDP);
    let ok = world.response_at(browser, crate::wire::sip::Status::OK);
    world.confirm(browser, &sent, &ok, "");
    Answered { browser, trunk, our_sdp: body(&ok.body).to_owned() }
}

impl Answered {
    fn web<'a>(&self, world: &'a mut World) -> &'a mut WebRtc {
        world.web(self.browser)
    }

    /// The call is over on both sides with this cause, and no time has passed. The record's reason.
    fn assert_ended_at_once(&self, world: &mut World, cause: u8) -> String {
        assert_eq!(world.take_bye(self.trunk), Some(cause));
        assert_eq!(world.take_bye(self.browser), Some(cause));
        let record = world.assert_nothing_left();
        assert_eq!((record.ended_by, record.q850_cause), (Some(Party::Linecard), cause));
        record.reason
    }
}

#[test]
fn a_browser_that_gives_its_handshake_up_ends_the_call_at_once() {
    let mut world = World::default();
    let call = answered(&mut world);
    let our_sdp = call.our_sdp.clone();
    let web = call.web(&mut world);
    web.gives_up = Some(40);
    web.take(&our_sdp);
    world.deliver();
    let reason = call.assert_ended_at_once(&mut world, 88);
    assert!(reason.contains("alert 40, handshake_failure"), "{reason}");
}

#[test]
fn a_certificate_that_is_not_the_sdps_ends_the_call_at_once() {
    let mut world = World::default();
    let call = answered(&mut world);
    let our_sdp = call.our_sdp.clone();
    let web = call.web(&mut world);
    web.show_another_certificate();
    web.take(&our_sdp);
    world.deliver();
    let reason = call.assert_ended_at_once(&mut world, 88);
    assert!(reason.contains("fingerprint"), "{reason}");
}

#[test]
fn a_handshake_with_somebody_who_is_not_nominated_ends_nothing() {
    let mut world = World::default();
    let call = answered(&mut world);
    // Somebody who sends the browser's checks again from elsewhere, and has a certificate too.
    let stranger = world.browser();
    let ufrag = call.web(&mut world).ufrag.clone();
    for alert in [None, Some(40)] {
        let web = world.web(stranger);
        web.ufrag.clone_from(&ufrag);
        (web.nominates, web.gives_up) = (false, alert);
        web.start_over();
        web.take(&call.our_sdp);
        world.deliver();
        assert!(!world.heard_request(call.trunk, Method::Bye));
    }
    // Nor does one that it begins and leaves at that.
    let web = world.web(stranger);
    (web.gives_up, web.is_deaf) = (None, true);
    web.start_over();
    web.take(&call.our_sdp);
    world.deliver();
    world.web(stranger).start_over();
    world.connect_media(call.browser, &call.our_sdp);
    world.seconds(60);
    assert_eq!(world.engine.calls(), 1, "the call goes on");
}

#[test]
fn a_browser_behind_a_new_nat_mapping_is_followed_without_a_nomination() {
    for is_restarted in [false, true] {
        let mut world = World::default();
        let call = world.outgoing_call();
        if is_restarted {
            world.restart_signaling();
        }
        let moved = "203.0.113.50:6000".parse().unwrap();
        let web = world.web(call.caller);
        (web.address, web.nominates) = (moved, false);
        web.check();
        world.deliver();
        assert_ne!(world.media.remote(Side::A), Some(moved), "not on one check alone");
        world.seconds(3);
        assert_eq!(world.media.remote(Side::A), Some(moved));
        assert!(world.media.blob().contains("203.0.113.50:6000"), "a successor knows it");
    }
}

#[test]
fn a_second_path_that_the_browser_checks_moves_nothing_while_the_first_one_lives() {
    let mut world = World::default();
    let call = world.outgoing_call();
    let home = world.media.remote(Side::A);
    // The browser's other interface: the same credentials, and it answers as well.
    let second = world.browser();
    let (ufrag, remote) = {
        let web = world.web(call.caller);
        (web.ufrag.clone(), web.remote())
    };
    for _ in 0..20 {
        let web = world.web(second);
        web.ufrag.clone_from(&ufrag);
        (web.nominates, web.shakes_hands) = (false, false);
        web.check_with(remote.clone());
        world.seconds(2);
        assert_eq!(world.media.remote(Side::A), home);
    }
}

#[test]
fn the_record_of_a_call_that_never_connected_says_what_it_waited_for() {
    let waited_for = |prepare: &mut dyn FnMut(&mut WebRtc, &str)| {
        let mut world = World::default();
        let call = answered(&mut world);
        let our_sdp = call.our_sdp.clone();
        prepare(call.web(&mut world), &our_sdp);
        world.deliver();
        world.seconds(16);
        assert_eq!(world.take_bye(call.trunk), Some(102));
        world.take_bye(call.browser);
        world.assert_nothing_left().reason
    };
    let reason = waited_for(&mut |_, _| {});
    assert!(reason.ends_with("caller: no ICE check came"), "{reason}");
    let reason = waited_for(&mut |web, our_sdp| {
        web.nominates = false;
        web.gives_up = Some(40);
        web.take(our_sdp);
    });
    assert!(reason.ends_with("caller: ICE checks came, but no nomination"), "{reason}");
    let reason = waited_for(&mut |web, our_sdp| {
        web.take(our_sdp);
        web.shakes_hands = false;
    });
    assert!(reason.ends_with("caller: DTLS: no ClientHello came"), "{reason}");
}
