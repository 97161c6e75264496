//! Media that has no room for another call: who asked hears 503 with a time to come back, at once, on
//! either side, and nothing is left behind.

use std::net::SocketAddr;
use std::time::Duration;

use super::steps::*;
use super::world::*;
use crate::control::message::{ControlError, ErrorCode};
use crate::media::budget::WINDOW;
use crate::os::account::Account;
use crate::os::network::Network;
use crate::os::route::SocketIndex;
use crate::os::sockets::BoundSocket;
use crate::signal::records::Party;
use crate::wire::sip::{Method, Status};

/// Ways of media to be full.
#[derive(Clone, Debug)]
enum Full {
    /// Every core has its calls.
    Calls,
    /// The ports of calls that have ended rest.
    Ports,
    /// Something else has the cores.
    Load,
    /// Other programs hold the ports.
    Sockets,
    /// Words that the process does not use itself, though the protocol allows them.
    Said(ControlError),
}

/// A refusal, with the cause and the seconds that a caller is told.
struct Refused {
    code: ErrorCode,
    words: &'static str,
    cause: u8,
    seconds: u32,
}

const fn refused(code: ErrorCode, words: &'static str, cause: u8, seconds: u32) -> Refused {
    Refused { code, words, cause, seconds }
}

fn full_media() -> [(Full, Refused); 6] {
    use ErrorCode::{NoCapacity, NoPorts, Overloaded, SystemRefused};
    let said = |ms| Full::Said(ControlError::overloaded("busy", Duration::from_millis(ms)));
    [
        (Full::Load, refused(Overloaded, "above 10 %", 42, 5)),
        // Rounded up: whoever comes back too early is refused again.
        (said(5_001), refused(Overloaded, "busy", 42, 6)),
        (said(0), refused(Overloaded, "busy", 42, 1)),
        (Full::Calls, refused(NoCapacity, "every core has its 1 calls", 34, 5)),
        (Full::Ports, refused(NoPorts, "no trunk port pair is free", 34, 5)),
        (Full::Sockets, refused(SystemRefused, "in use", 47, 5)),
    ]
}

/// What has come of [`Full::happens`], to be undone.
#[derive(Default)]
struct Happened {
    others: Vec<(Sent, Asked)>,
    sockets: Vec<SocketIndex>,
}

impl Full {
    fn config(&self) -> String {
        let limit = match self {
            Full::Calls => "calls_per_core = 1",
            Full::Ports | Full::Sockets => "trunk_ports = \"30000-30003\"",
            Full::Load => "load_max_percent = 10",
            Full::Said(_) => "calls_per_core = 8",
        };
        CONFIG.replace("calls_per_core = 8", limit)
    }

    /// Two cores, so two calls or ports of others fill them.
    fn happens(&self, world: &mut World, trunk: usize) -> Happened {
        let mut happened = Happened::default();
        match self {
            Full::Calls => happened.others = others_ring(world, trunk),
            Full::Ports => {
                happened.others = others_ring(world, trunk);
                happened.undo(world, trunk);
            }
            Full::Load => cores_are_wanted(world, Duration::from_secs(1)),
            Full::Sockets => {
                for (rig, port) in world.media.process.cores.iter_mut().zip([30_000, 30_002]) {
                    let taken = BoundSocket::made_up(SocketAddr::from(([192, 0, 2, 10], port)));
                    happened.sockets.push(rig.network.add(taken).unwrap());
                }
            }
            Full::Said(words) => world.media.refuse_in_its_place(words.clone()),
        }
        // The others' second call found no room beside their first one.
        world.media.refused.clear();
        happened
    }
}

impl Happened {
    fn undo(&mut self, world: &mut World, trunk: usize) {
        for (sent, asked) in self.others.drain(..) {
            let caller = world.peers.len() - 1;
            world.cancel(caller, sent.transaction);
            world.terminate(trunk, &asked);
        }
        world.records.retain(|record| record.from != "1002");
        for (rig, socket) in world.media.process.cores.iter_mut().zip(self.sockets.drain(..)) {
            rig.network.remove(socket);
        }
    }
}

/// Another user, whose browser is the last peer, has two calls ringing at the trunk.
fn others_ring(world: &mut World, trunk: usize) -> Vec<(Sent, Asked)> {
    let contact = "sip:two@y.invalid;transport=ws";
    let other = world.browser();
    world.register(other, "1002", contact);
    let ring = |tag| {
        let offer = world.web(other).sdp("actpass");
        let (to, from) = ("sip:4712@example.com", "sip:1002@example.com");
        let invite = request(Method::Invite, to, from, contact, tag);
        let invite = invite.with_body("application/sdp", offer);
        let sent = world.send_with_credentials(other, invite, "1002", "two");
        let asked = world.request_at(trunk, Method::Invite);
        world.ring(trunk, &asked);
        (sent, asked)
    };
    ["first", "second"].map(ring).into()
}

/// The cores are wanted for `each` of every second, for so long that media has noticed.
fn cores_are_wanted(world: &mut World, each: Duration) {
    let mut account = Account::default();
    for _ in 0..100 {
        world.advance(WINDOW);
        account.waited += each.mul_f64(WINDOW.as_secs_f64());
        for rig in &mut world.media.process.cores {
            rig.core.observe(account, world.now);
        }
    }
}

fn codes(world: &World) -> Vec<ErrorCode> {
    world.media.refused.iter().map(|refused| refused.code).collect()
}

#[test]
fn media_that_is_full_refuses_a_browser_at_once_with_a_time_to_come_back() {
    for (full, refused) in full_media() {
        let mut world = World::new(&full.config());
        let browser = world.registered_browser();
        let trunk = world.trunk(TRUNK_A);
        let mut happened = full.happens(&mut world, trunk);
        world.dial(browser, "4711");
        let response = world.response_at(browser, Status::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers.retry_after_s(), Some(refused.seconds), "{full:?}");
        assert_eq!(q850(&response.headers), Some(refused.cause), "{full:?}");
        assert_eq!(codes(&world), [refused.code]);
        assert!(!world.heard_request(trunk, Method::Invite), "nobody was asked");
        happened.undo(&mut world, trunk);
        let record = world.assert_nothing_left_but_refusals();
        assert_eq!((record.sip_status, record.q850_cause), (503, refused.cause));
        assert_eq!(record.ended_by, Some(Party::Linecard));
        assert!(record.reason.contains(refused.words), "{}", record.reason);
    }
}

#[test]
fn media_that_is_full_refuses_a_trunk_at_once_with_a_time_to_come_back() {
    for (full, refused) in full_media() {
        let mut world = World::new(&full.config());
        let browser = world.registered_browser();
        let trunk = world.trunk(TRUNK_A);
        let mut happened = full.happens(&mut world, trunk);
        let asked = world.now;
        world.trunk_dials(trunk, "1001", TRUNK_SDP);
        let response = world.response_at(trunk, Status::SERVICE_UNAVAILABLE);
        assert_eq!(world.now, asked, "nothing was waited for");
        assert_eq!(response.headers.retry_after_s(), Some(refused.seconds), "{full:?}");
        assert_eq!(q850(&response.headers), Some(refused.cause), "{full:?}");
        assert_eq!(codes(&world), [refused.code]);
        assert!(!world.heard_request(browser, Method::Invite), "the browser does not ring");
        happened.undo(&mut world, trunk);
        let record = world.assert_nothing_left_but_refusals();
        assert_eq!((record.sip_status, record.q850_cause), (503, refused.cause));
    }
}

#[test]
fn a_call_is_taken_again_when_media_has_room_again() {
    let mut world = World::new(&Full::Load.config());
    let browser = world.registered_browser();
    cores_are_wanted(&mut world, Duration::from_secs(1));
    world.dial(browser, "4711");
    world.response_at(browser, Status::SERVICE_UNAVAILABLE);
    assert_eq!(world.assert_nothing_left_but_refusals().sip_status, 503);
    cores_are_wanted(&mut world, Duration::ZERO);
    let trunk = world.trunk(TRUNK_A);
    world.dial(browser, "4711");
    assert!(world.heard_request(trunk, Method::Invite));
}
