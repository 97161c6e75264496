//! Calls that come about, both ways.

use super::steps::*;
use super::world::*;
use crate::control::message::{Codec, PacedDelay, Side, Spacing};
use crate::signal::records::{Direction, Party};
use crate::wire::rtp::PayloadType;
use crate::wire::sip::{HeaderName, Method, Status};

#[test]
fn a_browser_calls_through_a_trunk_and_hangs_up() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.dial(browser, "4711");

    let asked = world.request_at(trunk, Method::Invite);
    assert_eq!(asked.1.uri.to_string(), "sip:4711@198.51.100.7:5060");
    // The user's own number, whatever it claims.
    let from = asked.1.headers.from().unwrap();
    assert_eq!(from.uri.to_string(), "sip:+442079460018@example.com");
    assert_eq!(asked.1.headers.max_forwards(), Ok(Some(69)));
    assert!(asked.1.to_bytes().len() < 1_300, "{} bytes", asked.1.to_bytes().len());

    world.ring(trunk, &asked);
    let ringing = world.response_at(browser, Status::RINGING);
    assert!(ringing.body.is_empty());
    let tag = ringing.headers.to().unwrap().tag().unwrap().to_owned();
    ringing.headers.contact().unwrap();

    world.seconds(3);
    let mut callee = world.answer(trunk, asked, "gw", TRUNK_SDP);
    world.ack_at(trunk);
    let ok = world.response_at(browser, Status::OK);
    assert_eq!(ok.headers.to().unwrap().tag(), Some(tag.as_str()));
    let mut caller = world.confirm(browser, &sent, &ok, "");
    world.connect_media(browser, body(&ok.body));
    assert_eq!(callee.id.local_tag, "gw");
    assert!(world.media.connection(Side::A).security.is_protected());
    assert_eq!(world.media.remote(Side::A), Some(world.web(browser).address));
    assert_eq!(world.media.remote(Side::B), Some("198.51.100.7:20000".parse().unwrap()));
    assert_eq!(world.media.format(Side::B).unwrap().send.coding.codec, Codec::Pcmu);

    world.seconds(10);
    world.hang_up(browser, &mut caller);
    assert_eq!(world.take_bye(trunk), Some(16));
    let _ = &mut callee;
    let record = world.assert_nothing_left();
    assert_eq!(record.direction, Direction::ToTrunk);
    assert_eq!((record.from.as_str(), record.to.as_str()), ("1001", "4711"));
    assert_eq!(record.shown_as, "+442079460018");
    assert_eq!(record.trunk.as_deref(), Some("carrier-a"));
    assert_eq!(record.ended_by, Some(Party::Caller));
    assert_eq!((record.sip_status, record.q850_cause), (200, 16));
    assert_eq!((record.caller_codec, record.callee_codec), (Some(Codec::Opus), Some(Codec::Pcmu)));
    assert_eq!(record.set_up.answered_ms, Some(3_000));
    assert_eq!(record.ended.unwrap().since(record.answered.unwrap()), 10_000);
    assert!(record.statistics.is_some());
}

#[test]
fn a_trunk_calls_a_browser_by_its_number_and_the_browser_hangs_up() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.trunk_dials(trunk, "+442079460018", TRUNK_SDP);
    let asked = world.request_at(browser, Method::Invite);
    // The contact's own user, or the browser's library answers 404.
    assert_eq!(asked.1.uri.to_string(), CONTACT);
    assert_eq!(asked.1.headers.from().unwrap().uri.user(), Some("+15550100"));
    assert_ne!(asked.1.headers.call_id(), sent.invite.headers.call_id());
    let offer = body(&asked.1.body).to_owned();
    let sdp = world.web(browser).sdp("active");
    let mut callee = world.answer(browser, asked, "browser", &sdp);
    world.ack_at(browser);
    let ok = world.response_at(trunk, Status::OK);
    world.confirm(trunk, &sent, &ok, "");
    world.connect_media(browser, &offer);
    world.seconds(5);
    callee.remote_cseq = None;
    world.hang_up(browser, &mut callee);
    assert_eq!(world.take_bye(trunk), Some(16));
    let record = world.assert_nothing_left();
    assert_eq!(record.direction, Direction::FromTrunk);
    assert_eq!(record.ended_by, Some(Party::Callee));
    assert_eq!(record.sip_status, 200);
}

#[test]
fn a_trunk_is_offered_comfort_noise_where_its_terms_say_so() {
    // The first is never there, so that the second is asked.
    for (trunk_named, config, offered) in [
        (TRUNK_A, CONFIG.to_owned(), false),
        (TRUNK_B, CONFIG.replace("198.51.100.7:5060", "203.0.113.77:5060"), true),
    ] {
        let mut world = World::new(&config);
        let (browser, trunk) = (world.registered_browser(), world.trunk(trunk_named));
        world.dial(browser, "4711");
        if offered {
            world.seconds(40);
        }
        let asked = world.request_at(trunk, Method::Invite);
        let offer = body(&asked.1.body).to_owned();
        assert_eq!(offer.contains("a=rtpmap:13 CN/8000"), offered, "{offer}");
        let sdp = TRUNK_SDP.replace(" 0 101", " 8 13 101").replace("0 PCMU", "8 PCMA");
        let sdp = if offered { sdp } else { TRUNK_SDP.to_owned() };
        world.answer(trunk, asked, "gw", &sdp);
        let format = world.media.format(Side::B).unwrap();
        assert_eq!(format.send_comfort_noise, PayloadType::new(13).filter(|_| offered));
        assert_eq!(format.receive_comfort_noise, [PayloadType::new(13).unwrap()]);
    }
}

#[test]
fn a_trunk_that_wants_an_even_stream_gets_it_whoever_calls() {
    let paced = Spacing::Paced(PacedDelay { least_ms: 20, most_ms: 120 });
    let sdp = TRUNK_SDP.replace("198.51.100.7", "198.51.100.8").replace(" 0 101", " 8 101");
    let sdp = sdp.replace("0 PCMU", "8 PCMA");
    let mut world = World::default();
    let (_, trunk) = (world.registered_browser(), world.trunk(TRUNK_B));
    world.trunk_dials(trunk, "1001", &sdp);
    assert_eq!(world.media.format(Side::A).unwrap().send.playout, paced);

    // And when it is the one that is asked.
    let config =
        CONFIG.replace("carrier-a", "other").replace("198.51.100.7:5060", "203.0.113.77:5060");
    let (first, second) = config.split_once("[[trunk]]\n    name = \"other\"").unwrap();
    let second = second.split_once("[[trunk]]").unwrap().1;
    let mut world = World::new(&format!("{first}[[trunk]]{second}"));
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_B));
    let sent = world.dial(browser, "4711");
    let asked = world.request_at(trunk, Method::Invite);
    world.answer(trunk, asked, "gw", &sdp);
    let ok = world.response_at(browser, Status::OK);
    world.confirm(browser, &sent, &ok, "");
    assert_eq!(world.media.format(Side::B).unwrap().send.playout, paced);
    assert_eq!(world.media.format(Side::A).unwrap().send.playout, Spacing::OnArrival);
}

#[test]
fn a_handshake_that_is_faster_than_the_answer_secures_the_call() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.trunk_dials(trunk, "1001", TRUNK_SDP);
    let asked = world.request_at(browser, Method::Invite);
    let offer = body(&asked.1.body).to_owned();

    world.connect_media(browser, &offer);
    assert!(!world.media.connection(Side::B).security.is_ready());
    let sdp = world.web(browser).sdp("active");
    world.answer(browser, asked, "browser", &sdp);
    world.ack_at(browser);
    let ok = world.response_at(trunk, Status::OK);
    let mut caller = world.confirm(trunk, &sent, &ok, "");

    assert!(world.media.connection(Side::B).security.is_protected());
    world.seconds(60);
    world.hang_up(trunk, &mut caller);
    assert_eq!(world.take_bye(browser), Some(16));
    world.assert_nothing_left();
}

#[test]
fn every_browser_of_a_user_rings_and_the_first_to_answer_wins() {
    let mut world = World::default();
    let trunk = world.trunk(TRUNK_A);
    let (one, two) = (world.browser(), world.browser());
    world.register(one, "1001", "sip:one@x.invalid;transport=ws");
    world.register(two, "1001", "sip:two@y.invalid;transport=ws");
    let sent = world.trunk_dials(trunk, "1001", TRUNK_SDP);
    let (first, second) =
        (world.request_at(one, Method::Invite), world.request_at(two, Method::Invite));
    assert_eq!(first.1.body, second.1.body, "the same offer to all");
    let ringing = response(&first.1, Status::RINGING, "one", CONTACT);
    world.respond(one, first.0, ringing);
    let ringing = response(&second.1, Status::RINGING, "two", CONTACT);
    world.respond(two, second.0, ringing);
    let offer = body(&second.1.body).to_owned();
    let sdp = world.web(two).sdp("active");
    world.answer(two, second, "two", &sdp);
    let (cancelled, reasons) = world.cancelled_at(one);
    assert_eq!(reasons[0].text.as_deref(), Some("Call completed elsewhere"));
    world.respond(one, cancelled, response(&first.1, Status::REQUEST_TERMINATED, "one", CONTACT));
    let ok = world.response_at(trunk, Status::OK);
    let mut dialog = world.confirm(trunk, &sent, &ok, "");
    world.connect_media(two, &offer);
    world.hang_up(trunk, &mut dialog);
    world.take_bye(two);
    world.assert_nothing_left();
}

#[test]
fn a_user_calls_a_user() {
    let mut world = World::default();
    let (caller, callee) = (world.registered_browser(), world.browser());
    world.register(callee, "1002", "sip:two@y.invalid;transport=ws");
    let sent = world.dial(caller, "1002");
    let asked = world.request_at(callee, Method::Invite);
    assert_eq!(asked.1.headers.from().unwrap().uri.user(), Some("1001"));
    let offer = body(&asked.1.body).to_owned();
    let sdp = world.web(callee).sdp("active");
    world.answer(callee, asked, "two", &sdp);
    let ok = world.response_at(caller, Status::OK);
    let mut dialog = world.confirm(caller, &sent, &ok, "");
    world.connect_media(callee, &offer);
    world.connect_media(caller, body(&ok.body));
    world.hang_up(caller, &mut dialog);
    world.take_bye(callee);
    assert_eq!(world.assert_nothing_left().direction, Direction::Internal);
}

#[test]
fn early_media_opens_the_leg_and_the_sdp_stays_the_same() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.dial(browser, "4711");
    let asked = world.request_at(trunk, Method::Invite);
    let progress = response(&asked.1, Status::SESSION_PROGRESS, "gw", TRUNK_CONTACT)
        .with_body("application/sdp", TRUNK_SDP);
    world.respond(trunk, asked.0, progress);
    let progress = world.response_at(browser, Status::SESSION_PROGRESS);
    world.connect_media(browser, body(&progress.body));
    assert!(world.media.connection(Side::A).security.is_protected());
    assert!(world.media.remote(Side::B).is_some());
    // Nothing is repeated: a browser fails on a second answer.
    let ringing = response(&asked.1, Status::RINGING, "gw", TRUNK_CONTACT)
        .with_body("application/sdp", TRUNK_SDP);
    world.respond(trunk, asked.0, ringing);
    assert!(world.response_at(browser, Status::RINGING).body.is_empty());
    world.answer(trunk, asked, "gw", TRUNK_SDP);
    let ok = world.response_at(browser, Status::OK);
    assert_eq!(ok.body, progress.body, "byte for byte");
    let mut dialog = world.confirm(browser, &sent, &ok, "");
    world.seconds(20);
    assert_eq!(world.engine.calls(), 1);
    world.hang_up(browser, &mut dialog);
    world.take_bye(trunk);
    world.assert_nothing_left();
}

#[test]
fn media_follows_the_newest_of_several_early_dialogs_under_one_tag() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.dial(browser, "4711");
    let asked = world.request_at(trunk, Method::Invite);
    for (tag, port) in [("one", "20000"), ("two", "22000")] {
        let progress = response(&asked.1, Status::SESSION_PROGRESS, tag, TRUNK_CONTACT)
            .with_body("application/sdp", TRUNK_SDP.replace("20000", port));
        world.respond(trunk, asked.0, progress);
        assert_eq!(world.media.remote(Side::B).unwrap().port().to_string(), port);
    }
    let progress = world.response_at(browser, Status::SESSION_PROGRESS);
    world.answer(trunk, asked, "three", &TRUNK_SDP.replace("20000", "24000"));
    let ok = world.response_at(browser, Status::OK);
    assert_eq!(ok.headers.to().unwrap().tag(), progress.headers.to().unwrap().tag());
    assert_eq!(world.media.remote(Side::B).unwrap().port(), 24_000);
    let mut dialog = world.confirm(browser, &sent, &ok, "");
    world.connect_media(browser, body(&ok.body));
    world.hang_up(browser, &mut dialog);
    world.take_bye(trunk);
    world.assert_nothing_left();
}

#[test]
fn an_invite_without_an_offer_gets_ours_and_its_ack_brings_the_answer() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.trunk_dials(trunk, "1001", "");
    let asked = world.request_at(browser, Method::Invite);
    let offer = body(&asked.1.body).to_owned();
    let sdp = world.web(browser).sdp("active");
    world.answer(browser, asked, "browser", &sdp);
    world.connect_media(browser, &offer);
    let ok = world.response_at(trunk, Status::OK);
    assert!(body(&ok.body).contains("m=audio"), "{}", body(&ok.body));
    assert_eq!(world.media.remote(Side::A), None);
    let mut dialog = world.confirm(trunk, &sent, &ok, TRUNK_SDP);
    assert_eq!(world.media.remote(Side::A), Some("198.51.100.7:20000".parse().unwrap()));
    assert!(world.media.format(Side::A).is_some());
    world.hang_up(trunk, &mut dialog);
    world.take_bye(browser);
    world.assert_nothing_left();
}

#[test]
fn a_renomination_is_followed() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let moved = "203.0.113.50:6000".parse().unwrap();
    let web = world.web(call.caller);
    web.address = moved;
    web.check();
    world.deliver();
    assert_eq!(world.media.remote(Side::A), Some(moved));
    world.hang_up(call.callee, &mut call.callee_dialog);
    world.take_bye(call.caller);
    world.assert_nothing_left();
}

#[test]
fn a_browser_is_answered_by_its_own_profile_only() {
    // A header that we do not know never crosses.
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let offer = world.web(browser).sdp("actpass");
    let mut invite =
        request(Method::Invite, "sip:4711@example.com", "sip:x@example.com", CONTACT, "c")
            .with_body("application/sdp", offer);
    let claimed = HeaderName::parse("P-Asserted-Identity").unwrap();
    invite.headers.push(claimed.clone(), "<sip:+1900@example.com>");
    invite.headers.push(HeaderName::parse("X-Anything").unwrap(), "smuggled");
    world.send_with_credentials(browser, invite, "1001", "one");
    let (transaction, asked) = world.request_at(trunk, Method::Invite);
    let text = String::from_utf8(asked.to_bytes()).unwrap();
    assert!(!text.contains("+1900") && !text.contains("smuggled"), "{text}");
    world.refuse(trunk, (transaction, asked), Status::DECLINE);
    world.assert_nothing_left();
}
