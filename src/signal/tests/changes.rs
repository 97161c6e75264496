//! Calls that change: re-INVITE and UPDATE of either side, in early dialogs too.

use super::steps::*;
use super::world::*;
use crate::audio::g711::{self, Law};
use crate::control::message::{Codec, Direction, Side};
use crate::wire::sip::{HeaderName, Method, Response, Status};

/// What a trunk says after it moved, in whatever respect.
const CHANGES: [(&str, &str); 6] = [
    ("20000 RTP/AVP 0 101", "30000 RTP/AVP 0 101"),
    ("c=IN IP4 198.51.100.7", "c=IN IP4 198.51.100.77"),
    ("RTP/AVP 0 101\r\na=rtpmap:0 PCMU", "RTP/AVP 8 101\r\na=rtpmap:8 PCMA"),
    (
        "0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101",
        "0 96\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:96",
    ),
    ("a=sendrecv", "a=ptime:30"),
    ("a=sendrecv", "a=rtcp:20009"),
];

fn hang_up(mut world: World, mut call: Established) {
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.take_bye(call.callee);
    world.assert_nothing_left();
}

#[test]
fn a_refresh_of_either_side_gets_our_sdp_byte_for_byte_and_touches_no_media() {
    for establish in [World::outgoing_call, World::incoming_call] {
        let mut world = World::default();
        let mut call = establish(&mut world);
        for side in Side::BOTH {
            // Where we made the first offer our answer is another SDP than that.
            let first = world.change(&mut call, side, |sdp| sdp);
            let (remote, format) = (world.media.remote(side), world.media.format(side));
            for version in ["1 2", "1 99"] {
                let again = world.change(&mut call, side, |sdp| {
                    sdp.replace("o=- 1 1", &format!("o=- {version}"))
                });
                assert_eq!(again, first, "{side}");
            }
            assert_eq!((world.media.remote(side), world.media.format(side)), (remote, format));
        }
        hang_up(world, call);
    }
}

#[test]
fn a_sign_of_life_without_sdp_is_answered_without_sdp() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    for (peer, dialog) in
        [(call.caller, &mut call.caller_dialog), (call.callee, &mut call.callee_dialog)]
    {
        let update = dialog.request(Method::Update);
        world.send(peer, update);
        let ok = world.response_at(peer, Status::OK);
        assert!(ok.headers.contact().is_ok() && ok.body.is_empty());
    }
    hang_up(world, call);
}

#[test]
fn whatever_a_trunk_changes_in_mid_call_is_followed() {
    for (before, after) in CHANGES {
        let mut world = World::default();
        let mut call = world.incoming_call();
        let first = (world.media.remote(Side::A), world.media.format(Side::A));
        let told = world.change(&mut call, Side::A, |sdp| {
            assert!(sdp.contains(before), "{before}");
            sdp.replace(before, after)
        });
        let now = (world.media.remote(Side::A), world.media.format(Side::A));
        if after != "a=rtcp:20009" {
            assert_ne!(now, first, "{after}");
        }
        assert!(told.contains("m=audio"));
        let back = world.change(&mut call, Side::A, |sdp| sdp);
        assert_eq!((world.media.remote(Side::A), world.media.format(Side::A)), first);
        assert!(back.contains("m=audio"));
        hang_up(world, call);
    }
}

#[test]
fn however_often_a_call_changes_its_last_change_is_as_good_as_its_first() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let keys = world.engine.exchange.directory.len();
    for round in 0..300 {
        let way = if round % 2 == 0 { "sendonly" } else { "sendrecv" };
        for side in Side::BOTH {
            world.change(&mut call, side, |sdp| sdp.replace("a=sendrecv", &format!("a={way}")));
        }
        world.web(call.caller).ufrag = format!("again{round}");
    }
    assert!(world.engine.exchange.directory.len() <= keys + 6);
    // Each was acknowledged: nobody waits for an ACK any more.
    world.seconds(40);
    assert_eq!(world.engine.calls(), 1);
    hang_up(world, call);
}

#[test]
fn lines_that_are_added_are_refused_in_place() {
    let mut world = World::default();
    let mut call = world.incoming_call();
    let told = world.change(&mut call, Side::A, |sdp| {
        sdp + "m=image 20010 udptl t38\r\nm=video 20012 RTP/AVP 99\r\n"
    });
    let lines: Vec<_> = told.lines().filter(|line| line.starts_with("m=")).collect();
    assert!(lines[0].starts_with("m=audio ") && !lines[0].starts_with("m=audio 0 "), "{told}");
    assert_eq!(lines[1..], ["m=image 0 udptl t38", "m=video 0 RTP/AVP 99"]);
    hang_up(world, call);
}

#[test]
fn hold_is_answered_with_the_complement_and_obeyed() {
    for (theirs, ours, media) in [
        ("sendonly", "recvonly", Direction::RecvOnly),
        ("recvonly", "sendonly", Direction::SendOnly),
        ("inactive", "inactive", Direction::Inactive),
    ] {
        let mut world = World::default();
        let mut call = world.outgoing_call();
        for side in Side::BOTH {
            let told = world
                .change(&mut call, side, |sdp| sdp.replace("a=sendrecv", &format!("a={theirs}")));
            assert!(told.contains(&format!("a={ours}\r\n")), "{told}");
            assert_eq!(world.media.direction(side), media);
            let told = world.change(&mut call, side, |sdp| sdp);
            assert!(told.contains("a=sendrecv\r\n"), "{told}");
            assert_eq!(world.media.direction(side), Direction::SendRecv);
        }
        hang_up(world, call);
    }
}

#[test]
fn a_hold_is_passed_on_where_the_trunks_terms_say_so() {
    let config = CONFIG.replace("name = \"carrier-a\"", "name = \"carrier-a\"\nhold = \"pass\"");
    let mut world = World::new(&config);
    let mut call = world.outgoing_call();
    let told = |world: &mut World, call: &Established, theirs: &str| {
        let (transaction, invite) = world.request_at(call.callee, Method::Invite);
        let sdp = TRUNK_SDP.replace("sendrecv", theirs);
        let ok =
            response(&invite, Status::OK, "gw", TRUNK_CONTACT).with_body("application/sdp", sdp);
        world.respond(call.callee, transaction, ok);
        world.ack_at(call.callee);
        body(&invite.body).to_owned()
    };
    world.change(&mut call, Side::A, |sdp| sdp.replace("sendrecv", "inactive"));
    assert!(told(&mut world, &call, "recvonly").contains("a=sendonly\r\n"));
    assert_eq!(world.media.direction(Side::B), Direction::SendOnly);
    // What the trunk refreshes meanwhile is answered as a held side answers.
    let answer = world.change(&mut call, Side::B, |sdp| sdp);
    assert!(answer.contains("a=sendonly\r\n"), "{answer}");
    world.change(&mut call, Side::A, |sdp| sdp);
    assert!(told(&mut world, &call, "sendrecv").contains("a=sendrecv\r\n"));
    assert_eq!(world.media.direction(Side::B), Direction::SendRecv);

    // A glare is waited out; a refusal leaves the call as it was.
    world.change(&mut call, Side::A, |sdp| sdp.replace("sendrecv", "sendonly"));
    for (status, again) in [(Status::REQUEST_PENDING, true), (Status::NOT_ACCEPTABLE_HERE, false)] {
        let (transaction, invite) = world.request_at(call.callee, Method::Invite);
        assert!(body(&invite.body).contains("a=sendonly\r\n"));
        world.respond(call.callee, transaction, Response::to(&invite, status));
        world.seconds(5);
        assert_eq!(world.heard_request(call.callee, Method::Invite), again);
    }
    world.change(&mut call, Side::A, |sdp| sdp);
    assert!(!world.heard_request(call.callee, Method::Invite), "it knows of no hold");
    hang_up(world, call);
}

#[test]
fn a_hold_outlives_the_signaling_process() {
    let mut world = World::default();
    let mut call = world.incoming_call();
    world.change(&mut call, Side::B, |sdp| sdp.replace("a=sendrecv", "a=sendonly"));
    world.restart_signaling();
    let browser = call.callee;
    world.reconnect(browser);
    world.register(browser, "1001", CONTACT);
    let told = world.change(&mut call, Side::B, |sdp| sdp);
    assert!(told.contains("a=sendrecv\r\n"), "{told}");
    // The association is our predecessor's: its certificate is named, and nothing begins anew.
    let fingerprint =
        |sdp: &str| sdp.lines().find(|line| line.starts_with("a=fingerprint")).unwrap().to_owned();
    assert_eq!(fingerprint(&told), fingerprint(&call.browser_sdp));
    assert!(world.media.connection(Side::B).security.is_protected());
    assert_eq!(world.media.direction(Side::B), Direction::SendRecv);
    hang_up(world, call);
}

#[test]
fn a_hold_and_its_end_reach_a_media_process_that_was_away() {
    let mut world = World::default();
    let mut call = world.outgoing_call();
    let trunk = call.callee;
    let flows = |world: &mut World| {
        world.peers[trunk].media.clear();
        world.advance(std::time::Duration::from_millis(500));
        world.peers[trunk].take_rtp().len()
    };
    assert_eq!(flows(&mut world), 0, "the browser says nothing");
    for (direction, is_sent) in [("sendonly", true), ("sendrecv", false)] {
        world.lose_control();
        world.change(&mut call, Side::A, |sdp| sdp.replace("sendrecv", direction));
        world.connect_control();
        let packets = flows(&mut world);
        assert_eq!(packets > 20, is_sent, "{direction}: {packets} packets");
    }
    hang_up(world, call);
}

/// A WAV file of a second of A-law whose every sample is the same.
fn wav(code: u8) -> Vec<u8> {
    let chunk =
        |name: &[u8], bytes: &[u8]| [name, &(bytes.len() as u32).to_le_bytes(), bytes].concat();
    let format = [6, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, 1, 0, 8, 0];
    let chunks = [chunk(b"fmt ", &format), chunk(b"data", &[code; 8_000])].concat();
    [b"RIFF", &(chunks.len() as u32 + 4).to_le_bytes()[..], b"WAVE", &chunks].concat()
}

#[test]
fn who_is_held_hears_the_operators_music_and_silence_where_it_cannot_be_read() {
    const QUIET: u8 = 0xff;
    const LOUD: u8 = 0x2a;
    let config = CONFIG.replace("[signal]", "[signal]\n    hold_music = \"/hold.wav\"");
    let mut music = [0];
    g711::transcode(Law::A, Law::Mu, &[LOUD], &mut music);
    for (file, heard) in [(Some(wav(LOUD)), music[0]), (None, QUIET), (Some(vec![1; 100]), QUIET)] {
        let mut world = World::new(&config);
        let mut call = world.outgoing_call();
        // The file is there when media is in signaling's hands anew.
        world.lose_control();
        world.media.process.files.extend(file.map(|file| ("/hold.wav".to_owned(), file)));
        world.media.refused.clear();
        world.connect_control();
        let is_refused = !std::mem::take(&mut world.media.refused).is_empty();
        assert_eq!(is_refused, heard == QUIET);
        let trunk = call.callee;
        let hears = |world: &mut World| -> Vec<u8> {
            world.peers[trunk].media.clear();
            world.advance(std::time::Duration::from_millis(500));
            world.peers[trunk].take_rtp().into_iter().flat_map(|(.., payload)| payload).collect()
        };
        assert_eq!(hears(&mut world).len(), 0, "the browser says nothing");
        world.change(&mut call, Side::A, |sdp| sdp.replace("sendrecv", "sendonly"));
        let held = hears(&mut world);
        assert!(held.len() >= 20 * 160, "{} samples", held.len());
        assert!(held.iter().all(|code| *code == heard), "{heard}: {:?}", &held[..160]);
        world.change(&mut call, Side::A, |sdp| sdp);
        assert!(hears(&mut world).len() <= 160);
        hang_up(world, call);
    }
}

#[test]
fn an_offer_that_cannot_be_met_changes_nothing() {
    let mut world = World::default();
    let mut call = world.incoming_call();
    let before = (world.media.remote(Side::A), world.media.format(Side::A));
    let sdp = TRUNK_SDP.replace("RTP/AVP 0", "RTP/AVP 18").replace("20000", "30000");
    let again = call.caller_dialog.request(Method::Invite).with_body("application/sdp", sdp);
    world.send(call.caller, again);
    world.response_at(call.caller, Status::NOT_ACCEPTABLE_HERE);
    assert_eq!((world.media.remote(Side::A), world.media.format(Side::A)), before);
    hang_up(world, call);
}

#[test]
fn the_answer_in_the_ack_of_a_late_offer_is_applied() {
    let (moved, pcma) = (("20000", "30000"), ("RTP/AVP 0", "RTP/AVP 8"));
    let held = ("a=sendrecv", "a=sendonly");
    for (before, after) in [moved, pcma, held] {
        let mut world = World::default();
        let mut call = world.incoming_call();
        let again = call.caller_dialog.request(Method::Invite);
        let ack = call.caller_dialog.ack(call.caller_dialog.local_cseq);
        world.send(call.caller, again);
        let ok = world.response_at(call.caller, Status::OK);
        assert!(body(&ok.body).contains("RTP/AVP 0 8 101"), "everything is offered again");
        // Nothing else may begin before that (RFC 6337 §2.1).
        let early = call.caller_dialog.request(Method::Update);
        world.send(call.caller, early.with_body("application/sdp", TRUNK_SDP));
        world.response_at(call.caller, Status::REQUEST_PENDING);
        let answer = TRUNK_SDP.replace(before, after);
        world.acknowledge(call.caller, ack.with_body("application/sdp", answer));
        let port = world.media.remote(Side::A).unwrap().port();
        let codec = world.media.format(Side::A).unwrap().send.coding.codec;
        let direction = world.media.direction(Side::A);
        assert_eq!(
            (port == 30_000, codec == Codec::Pcma, direction == Direction::RecvOnly),
            (after == moved.1, after == pcma.1, after == held.1)
        );
        hang_up(world, call);
    }
}

#[test]
fn a_second_invite_before_the_first_ones_ack_comes_back_later() {
    let mut world = World::default();
    let mut call = world.incoming_call();
    let first = call.caller_dialog.request(Method::Invite).with_body("application/sdp", TRUNK_SDP);
    let ack = call.caller_dialog.ack(call.caller_dialog.local_cseq);
    world.send(call.caller, first);
    world.response_at(call.caller, Status::OK);
    let second = call.caller_dialog.request(Method::Invite).with_body("application/sdp", TRUNK_SDP);
    world.send(call.caller, second.clone());
    let refused = world.response_at(call.caller, Status::SERVER_INTERNAL_ERROR);
    assert!(refused.headers.retry_after_s().unwrap() <= 10);
    world.acknowledge(call.caller, ack);
    world.change(&mut call, Side::A, |sdp| sdp);
    hang_up(world, call);
}

#[test]
fn a_change_that_is_never_acknowledged_ends_the_call() {
    let mut world = World::default();
    let mut call = world.incoming_call();
    let again = call.caller_dialog.request(Method::Invite).with_body("application/sdp", TRUNK_SDP);
    world.send(call.caller, again);
    world.response_at(call.caller, Status::OK);
    world.seconds(33);
    assert_eq!(world.take_bye(call.callee), Some(102));
    world.take_bye(call.caller);
    world.assert_nothing_left();
}

#[test]
fn whoever_is_asked_is_answered_in_its_early_dialog() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.dial(browser, "4711");
    let asked = world.request_at(trunk, Method::Invite);
    let progress = response(&asked.1, Status::SESSION_PROGRESS, "gw", TRUNK_CONTACT)
        .with_body("application/sdp", TRUNK_SDP);
    world.respond(trunk, asked.0, progress);
    let mut early = callee_dialog(&asked.1, "gw", TRUNK_CONTACT);
    let plain = [Method::Update, Method::Options];
    for request in plain.map(|method| early.request(method)) {
        world.send(trunk, request);
        world.response_at(trunk, Status::OK);
    }
    // The browser's keys are not there, so the digit is not pressed.
    let info = early.request(Method::Info).with_body("application/dtmf", "5");
    world.send(trunk, info);
    world.response_at(trunk, Status::TEMPORARILY_UNAVAILABLE);
    assert_eq!(world.media.refused.drain(..).count(), 1);
    let moved = TRUNK_SDP.replace("20000", "30000");
    let update = early.request(Method::Update).with_body("application/sdp", moved);
    world.send(trunk, update);
    let ok = world.response_at(trunk, Status::OK);
    assert!(body(&ok.body).contains("m=audio"));
    assert_eq!(world.media.remote(Side::B).unwrap().port(), 30_000);
    // Of nothing that we have sent.
    let prack = early.request(Method::Prack);
    world.send(trunk, prack);
    world.response_at(trunk, Status::CALL_DOES_NOT_EXIST);
    let bye = early.request(Method::Bye);
    world.send(trunk, bye);
    world.response_at(trunk, Status::OK);
    // Its INVITE is still to be answered, and is: by what it said before it moved, once more.
    let dialog = world.answer(trunk, asked, "gw", TRUNK_SDP);
    assert_eq!(dialog.id, early.id);
    assert_eq!(world.media.remote(Side::B).unwrap().port(), 30_000);
    let ok = world.response_at(browser, Status::OK);
    let mut dialog = world.confirm(browser, &sent, &ok, "");
    world.connect_media(browser, body(&ok.body));
    world.hang_up(browser, &mut dialog);
    world.take_bye(trunk);
    world.assert_nothing_left();
}

#[test]
fn a_browser_that_is_asked_is_answered_in_its_early_dialog() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    world.trunk_dials(trunk, "1001", TRUNK_SDP);
    let asked = world.request_at(browser, Method::Invite);
    let ringing = response(&asked.1, Status::RINGING, "b", CONTACT);
    world.respond(browser, asked.0, ringing);
    let mut early = callee_dialog(&asked.1, "b", CONTACT);
    for method in [Method::Options, Method::Update] {
        let request = early.request(method);
        world.send(browser, request);
        world.response_at(browser, Status::OK);
    }
    // Our offer is not answered yet.
    let sdp = world.web(browser).sdp("actpass");
    let update = early.request(Method::Update).with_body("application/sdp", sdp);
    world.send(browser, update);
    world.response_at(browser, Status::REQUEST_PENDING);
    world.refuse(browser, asked, Status::BUSY_HERE);
    world.response_at(trunk, Status::BUSY_HERE);
    world.assert_nothing_left();
}

#[test]
fn a_bye_before_the_answer_gets_200_and_its_invite_487() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.trunk_dials(trunk, "1001", TRUNK_SDP);
    let asked = world.request_at(browser, Method::Invite);
    let ringing = response(&asked.1, Status::RINGING, "b", CONTACT);
    world.respond(browser, asked.0, ringing);
    let ringing = world.response_at(trunk, Status::RINGING);
    let mut early = crate::sip::dialog::Dialog::from_response(&sent.invite, &ringing).unwrap();
    let bye = early.request(Method::Bye);
    world.send(trunk, bye);
    world.response_at(trunk, Status::OK);
    world.response_at(trunk, Status::REQUEST_TERMINATED);
    let (transaction, _) = world.cancelled_at(browser);
    let terminated = response(&asked.1, Status::REQUEST_TERMINATED, "b", CONTACT);
    world.respond(browser, transaction, terminated);
    let record = world.assert_nothing_left();
    assert_eq!((record.sip_status, record.q850_cause), (487, 16));
}

#[test]
fn a_200_without_a_tag_or_with_two_contacts_is_a_call_like_any_other() {
    for contact in ["<sip:gw@198.51.100.7:5060>", "<tel:+15550123>, <sip:gw@198.51.100.7:5060>"] {
        let mut world = World::default();
        let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
        let sent = world.dial(browser, "4711");
        let (transaction, invite) = world.request_at(trunk, Method::Invite);
        let mut ok = Response::to(&invite, Status::OK).with_body("application/sdp", TRUNK_SDP);
        if contact.starts_with("<tel") {
            ok.set_to_tag("gw").unwrap();
        }
        ok.headers.push(HeaderName::Contact, contact);
        world.respond(trunk, transaction, ok);
        world.ack_at(trunk);
        let ok = world.response_at(browser, Status::OK);
        let mut dialog = world.confirm(browser, &sent, &ok, "");
        world.connect_media(browser, body(&ok.body));
        world.hang_up(browser, &mut dialog);
        world.take_bye(trunk);
        world.assert_nothing_left();
    }
}

#[test]
fn a_reliable_provisional_response_is_acknowledged_once_and_in_order() {
    let mut world = World::default();
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let sent = world.dial(browser, "4711");
    let asked = world.request_at(trunk, Method::Invite);
    assert!(asked.1.headers.lists(&HeaderName::Supported, "100rel"));
    let reliable = |status, rseq: u32| {
        let mut response = response(&asked.1, status, "gw", TRUNK_CONTACT);
        response.headers.push(HeaderName::Require, "100rel");
        response.headers.push(HeaderName::RSeq, rseq);
        response
    };
    world.respond(trunk, asked.0, reliable(Status::RINGING, 7));
    let (transaction, prack) = world.request_at(trunk, Method::Prack);
    let cseq = asked.1.headers.cseq().unwrap().number;
    assert_eq!(prack.headers.first(&HeaderName::RAck), Some(&*format!("7 {cseq} INVITE")));
    world.respond(trunk, transaction, Response::to(&prack, Status::OK));
    world.response_at(browser, Status::RINGING);
    for (repeated_or_early, rseq) in [(Status::RINGING, 7), (Status::SESSION_PROGRESS, 9)] {
        world.respond(trunk, asked.0, reliable(repeated_or_early, rseq));
        assert!(!world.heard_request(trunk, Method::Prack), "{rseq}");
    }
    world.respond(
        trunk,
        asked.0,
        reliable(Status::SESSION_PROGRESS, 8).with_body("application/sdp", TRUNK_SDP),
    );
    let (transaction, prack) = world.request_at(trunk, Method::Prack);
    world.respond(trunk, transaction, Response::to(&prack, Status::OK));
    let progress = world.response_at(browser, Status::SESSION_PROGRESS);
    assert!(!progress.headers.lists(&HeaderName::Require, "100rel"), "JsSIP knows none of it");
    world.answer(trunk, asked, "gw", TRUNK_SDP);
    let ok = world.response_at(browser, Status::OK);
    let mut dialog = world.confirm(browser, &sent, &ok, "");
    world.connect_media(browser, body(&ok.body));
    world.hang_up(browser, &mut dialog);
    // After INVITE and two PRACKs in the same dialog.
    let (transaction, bye) = world.request_at(trunk, Method::Bye);
    assert_eq!(bye.headers.cseq().unwrap().number, prack.headers.cseq().unwrap().number + 1);
    world.respond(trunk, transaction, Response::to(&bye, Status::OK));
    world.assert_nothing_left();
}

/// A trunk that requires reliable provisional responses calls a browser, which rings.
fn reliably_called(world: &mut World) -> (usize, usize, Sent, Asked, Response) {
    let (browser, trunk) = (world.registered_browser(), world.trunk(TRUNK_A));
    let from = "sip:+15550100@198.51.100.7";
    let mut invite = request(Method::Invite, "sip:1001@192.0.2.10", from, TRUNK_CONTACT, "carrier")
        .with_body("application/sdp", TRUNK_SDP);
    invite.headers.push(HeaderName::Require, "100rel");
    let sent = Sent { transaction: world.send(trunk, invite.clone()), invite };
    let asked = world.request_at(browser, Method::Invite);
    assert!(!asked.1.headers.lists(&HeaderName::Require, "100rel"), "no library knows it");
    world.respond(browser, asked.0, response(&asked.1, Status::RINGING, "b", CONTACT));
    let ringing = world.response_at(trunk, Status::RINGING);
    assert!(ringing.headers.lists(&HeaderName::Require, "100rel"));
    (browser, trunk, sent, asked, ringing)
}

#[test]
fn a_trunk_that_requires_it_acknowledges_that_a_browser_rings() {
    let mut world = World::default();
    let (browser, trunk, sent, asked, ringing) = reliably_called(&mut world);
    // It is said again until then: after half a second, and a whole one.
    world.advance(std::time::Duration::from_millis(1_600));
    for _ in 0..2 {
        let again = world.response_at(trunk, Status::RINGING);
        assert_eq!(
            again.headers.first(&HeaderName::RSeq),
            ringing.headers.first(&HeaderName::RSeq)
        );
    }
    let mut early = crate::sip::dialog::Dialog::from_response(&sent.invite, &ringing).unwrap();
    let rseq = ringing.headers.first(&HeaderName::RSeq).unwrap();
    for (rack, status) in [
        ("1 1 INVITE".to_owned(), Status::CALL_DOES_NOT_EXIST),
        (format!("{rseq} 1 INVITE"), Status::OK),
        (format!("{rseq} 1 INVITE"), Status::CALL_DOES_NOT_EXIST),
    ] {
        let mut prack = early.request(Method::Prack);
        prack.headers.push(HeaderName::RAck, rack);
        // What stands beside it is no offer.
        world.send(trunk, prack.with_body("application/isup", "x"));
        world.response_at(trunk, status);
    }
    world.seconds(40);
    let (browser_sdp, sdp) = (body(&asked.1.body).to_owned(), world.web(browser).sdp("active"));
    world.answer(browser, asked, "b", &sdp);
    world.connect_media(browser, &browser_sdp);
    let ok = world.response_at(trunk, Status::OK);
    let ack = early.ack(1);
    world.acknowledge(trunk, ack);
    assert!(!ok.headers.lists(&HeaderName::Require, "100rel"));
    world.hang_up(trunk, &mut early);
    world.take_bye(browser);
    world.assert_nothing_left();
}

#[test]
fn an_offer_that_comes_with_the_acknowledgement_is_not_taken_for_agreed_on() {
    let mut world = World::default();
    let (browser, trunk, sent, asked, ringing) = reliably_called(&mut world);
    let mut early = crate::sip::dialog::Dialog::from_response(&sent.invite, &ringing).unwrap();
    let rseq = ringing.headers.first(&HeaderName::RSeq).unwrap();
    let mut prack = early.request(Method::Prack);
    prack.headers.push(HeaderName::RAck, format!("{rseq} 1 INVITE"));
    let elsewhere = TRUNK_SDP.replace("20000", "30000");
    world.send(trunk, prack.with_body("application/sdp", elsewhere));
    world.response_at(trunk, Status::NOT_ACCEPTABLE_HERE);
    // It is acknowledged all the same: nothing is said again, and the call goes on.
    world.seconds(40);
    assert_eq!(world.media.remote(Side::A), Some("198.51.100.7:20000".parse().unwrap()));
    let (browser_sdp, sdp) = (body(&asked.1.body).to_owned(), world.web(browser).sdp("active"));
    world.answer(browser, asked, "b", &sdp);
    world.connect_media(browser, &browser_sdp);
    world.response_at(trunk, Status::OK);
    let ack = early.ack(1);
    world.acknowledge(trunk, ack);
    world.hang_up(trunk, &mut early);
    world.take_bye(browser);
    world.assert_nothing_left();
}

#[test]
fn a_trunk_that_never_acknowledges_that_a_browser_rings_is_refused() {
    let mut world = World::default();
    let (browser, trunk, _, asked, _) = reliably_called(&mut world);
    world.seconds(33);
    world.response_at(trunk, Status::SERVER_TIMEOUT);
    let (transaction, _) = world.cancelled_at(browser);
    let terminated = response(&asked.1, Status::REQUEST_TERMINATED, "b", CONTACT);
    world.respond(browser, transaction, terminated);
    assert_eq!(world.assert_nothing_left().q850_cause, 102);
}
