//! Two calls change legs with one another. Whoever is at a far end hears another voice, on the same source,
//! with the same keys, at the same address, and nothing is lost of it.

use std::collections::HashSet;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::snapshot::{FarEnd, Kind, TICK};
use super::*;
use crate::media::registry::Client;
use crate::media::rig::Process;
use crate::srtp::keys::Profile;
use crate::wire::demux::{Protocol, classify};

/// A process with two calls, `c` and `d`, and whoever talks in them: 0 and 1, 2 and 3.
struct Two {
    process: Process,
    client: Client,
    ends: [FarEnd; 4],
    /// Where each sends to.
    locals: [[SocketAddr; 2]; 4],
    requests: u64,
    ticks: u32,
    events: Vec<Value>,
}

impl Two {
    fn new(kinds: [Kind; 4]) -> Self {
        let ends = std::array::from_fn(|n| FarEnd::new(n as u8, kinds[n]));
        let process = Process::new(2, 4, "one", Instant::now()).unwrap();
        let locals = [[theirs(99); 2]; 4];
        let (requests, ticks, events) = (0, 0, Vec::new());
        let mut two = Self { process, client: 0, ends, locals, requests, ticks, events };
        two.client = two.process.connect();
        two.ask("take_control", json!({})).unwrap();
        for (call, thread, [a, b]) in [("c", 1, [0, 1]), ("d", 1, [2, 3])] {
            let legs = [two.ends[a].leg(), two.ends[b].leg()];
            let create = json!({"call": call, "thread": thread, "a": legs[0], "b": legs[1]});
            let created = two.ask("create_call", create).unwrap();
            for (end, side) in [(a, "a"), (b, "b")] {
                let at = |kind: &str| created[side][kind].as_str().unwrap().parse().unwrap();
                two.locals[end] = [at("rtp"), at("rtcp")];
                if let Kind::Ice(_) = kinds[end] {
                    let remote = two.ends[end].addresses[0];
                    let update = json!({"call": call, "leg": side, "remote": remote});
                    two.ask("update_leg", update).unwrap();
                }
            }
        }
        two
    }

    /// A request and its reply, `Err` if it was refused.
    fn ask(&mut self, command: &str, arguments: Value) -> Result<Value, Value> {
        self.requests += 1;
        let request = json!({"id": self.requests, "command": command, "arguments": arguments});
        self.process.line(self.client, &request.to_string());
        let mut reply = self.lines();
        // Questions of observers wait a moment.
        while reply.is_empty() {
            let next = self.process.next_timeout().expect("a reply");
            self.process.handle_timeout(next);
            reply = self.lines();
        }
        let reply = &reply[0];
        match reply.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(reply["result"].clone()),
        }
    }

    fn lines(&mut self) -> Vec<Value> {
        let lines = std::iter::from_fn(|| self.process.poll_line());
        let lines = lines.map(|(_, line)| serde_json::from_str::<Value>(&line).unwrap());
        let (events, rest): (Vec<_>, Vec<_>) = lines.partition(|it| it.get("event").is_some());
        self.events.extend(events);
        rest.into_iter().filter(|it| it.get("id").is_some()).collect()
    }

    fn exchange(&mut self, [leg, with_leg]: [&str; 2]) -> Result<Value, Value> {
        let exchange = json!({"call": "c", "leg": leg, "with": "d", "with_leg": with_leg});
        self.ask("exchange_legs", exchange)
    }

    fn send(&mut self, end: usize, port: usize, bytes: Vec<u8>) {
        let (from, to) = (self.ends[end].addresses[port], self.locals[end][port]);
        self.process.receive(Flying { from, to, bytes });
        self.deliver();
    }

    fn deliver(&mut self) {
        let now = self.process.now;
        for Flying { to, bytes, .. } in self.process.sent() {
            let end = self.ends.iter_mut().find(|end| end.addresses.contains(&to)).unwrap();
            end.hear(bytes, now);
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.process.now + time;
        while let Some(next) = self.process.next_timeout().filter(|next| *next < until) {
            self.process.handle_timeout(next);
            self.deliver();
        }
        self.process.handle_timeout(until);
        self.deliver();
    }

    /// Those who are there speak for so long.
    fn talk(&mut self, ticks: u32, there: &[usize]) {
        for _ in 0..ticks {
            for &end in there {
                let packet = self.ends[end].speak();
                self.send(end, 0, packet);
                if self.ticks % 50 == 7 {
                    let report = self.ends[end].report();
                    self.send(end, 1, report);
                }
                if self.ticks % 125 == 9 && self.ends[end].is_ice() {
                    let check = self.ends[end].check(self.ticks as u8);
                    self.send(end, 0, check);
                }
            }
            self.pass(TICK);
            self.ticks += 1;
        }
    }

    /// Whom each of them heard in the last so many packets.
    fn heard(&self, end: usize, last: usize) -> HashSet<u8> {
        let heard = &self.ends[end].heard;
        heard[heard.len() - last..].iter().map(|it| it.voice).collect()
    }

    fn statistics(&mut self, call: &str) -> Value {
        self.ask("query_call", json!({"call": call})).unwrap()
    }
}

const EVERYBODY: [usize; 4] = [0, 1, 2, 3];

fn kinds() -> Vec<[Kind; 4]> {
    let (cm, gcm) = (Profile::AES_CM_128_HMAC_SHA1_80, Profile::AEAD_AES_128_GCM);
    vec![
        [Kind::Ice(gcm), Kind::Plain, Kind::Ice(cm), Kind::Plain],
        [Kind::Plain, Kind::Ice(cm), Kind::Plain, Kind::Ice(gcm)],
        [Kind::Own(cm), Kind::Own(gcm), Kind::Plain, Kind::Plain],
        [Kind::Ice(cm), Kind::Ice(gcm), Kind::Ice(gcm), Kind::Ice(cm)],
    ]
}

#[test]
fn each_goes_on_with_the_other_calls_leg_and_nothing_is_lost() {
    for kinds in kinds() {
        // Who stays in `c` and in `d`, by the legs that go.
        for (legs, pairs) in [
            (["b", "a"], [[0, 2], [1, 3]]),
            (["a", "a"], [[1, 2], [0, 3]]),
            (["b", "b"], [[0, 3], [1, 2]]),
            (["a", "b"], [[1, 3], [0, 2]]),
        ] {
            let mut two = Two::new(kinds);
            two.talk(50, &EVERYBODY);
            let until_then = two.exchange(legs).unwrap();
            for call in ["call", "with"] {
                for side in ["a", "b"] {
                    assert_eq!(until_then[call][side]["packets_received"], 50, "{kinds:?}");
                }
            }
            assert_eq!([&until_then["call"]["call"], &until_then["with"]["call"]], ["c", "d"]);
            two.talk(250, &EVERYBODY);
            for [one, other] in pairs {
                for (end, voice) in [(one, other), (other, one)] {
                    assert_eq!(two.heard(end, 250), HashSet::from([voice as u8]), "{kinds:?}");
                    assert_eq!(two.ends[end].heard.len(), 300, "every packet got through");
                    two.ends[end].judge();
                }
            }
            for call in ["c", "d"] {
                let statistics = two.statistics(call);
                for side in ["a", "b"] {
                    assert_eq!(statistics[side]["discards"], json!({}), "{kinds:?}");
                    assert_eq!(statistics[side]["packets_received"], 300);
                }
            }

            // The one call ends with the legs it has now, the other one goes on with its.
            two.ask("delete_call", json!({"call": "d"})).unwrap();
            two.deliver();
            two.talk(50, &pairs[0]);
            for end in pairs[0] {
                assert_eq!(two.ends[end].heard.len(), 350);
                two.ends[end].judge();
            }
            two.ask("delete_call", json!({"call": "c"})).unwrap();
            let left: usize = two.process.cores.iter().map(|it| it.network.open_sockets()).sum();
            assert_eq!(left, 2, "the browsers' sockets only");
        }
    }
}

#[test]
fn what_was_played_to_a_leg_that_goes_ends_under_its_calls_name_and_the_others_goes_on() {
    let mut two = Two::new([Kind::Plain; 4]);
    for (call, leg) in [("c", "a"), ("c", "b"), ("d", "a")] {
        let ringing = json!({"kind": "ringback", "country": "US"});
        two.ask("play", json!({"call": call, "leg": leg, "what": ringing})).unwrap();
    }
    two.talk(10, &EVERYBODY);
    two.exchange(["b", "b"]).unwrap();
    let ended = |two: &mut Two| -> Vec<Value> {
        let lines = two.lines();
        assert!(lines.is_empty());
        two.events.drain(..).filter(|it| it["event"] == "play_ended").collect()
    };
    let told = ended(&mut two);
    let [only] = &told[..] else { panic!("{told:?}") };
    assert_eq!([&only["call"], &only["leg"], &only["why"]], ["c", "b", "leg_replaced"]);
    two.talk(10, &EVERYBODY);
    // 1 hears 2, who is played something yet; 3 hears 0, who is too.
    assert_eq!([two.heard(1, 5), two.heard(3, 5)], [HashSet::from([2]), HashSet::from([0])]);
    assert!(!two.heard(0, 5).contains(&3) && !two.heard(2, 5).contains(&1));
    two.ask("stop_playing", json!({"call": "c", "leg": "a"})).unwrap();
    two.talk(10, &EVERYBODY);
    assert_eq!(two.heard(0, 5), HashSet::from([3]));
}

#[test]
fn what_cannot_be_exchanged_is_refused_and_nothing_is_changed() {
    let mut two = Two::new([Kind::Plain; 4]);
    let elsewhere =
        json!({"call": "e", "thread": 0, "a": two.ends[0].leg(), "b": two.ends[1].leg()});
    two.ask("create_call", elsewhere).unwrap();
    for (call, with, code, about) in [
        ("c", "c", "unsupported", "same call"),
        ("c", "e", "unsupported", "different threads, 1 and 0"),
        ("c", "x", "unknown_call", "`x`"),
        ("x", "c", "unknown_call", "`x`"),
    ] {
        let exchange = json!({"call": call, "leg": "a", "with": with, "with_leg": "b"});
        let refused = two.ask("exchange_legs", exchange).unwrap_err();
        assert_eq!(refused["code"], code, "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(about), "{refused}");
    }
    two.talk(10, &EVERYBODY);
    for (end, voice) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
        assert_eq!(two.heard(end, 10), HashSet::from([voice]));
    }
}

#[test]
fn two_legs_of_one_source_and_key_do_not_come_together() {
    let profile = Profile::AES_CM_128_HMAC_SHA1_80;
    let mut two = Two::new([Kind::Own(profile), Kind::Plain, Kind::Plain, Kind::Plain]);
    two.talk(10, &EVERYBODY);
    let snapshot = two.ask("snapshot", json!({"call": "c"})).unwrap();
    two.ask("delete_call", json!({"call": "d"})).unwrap();
    let mut again = snapshot["a"].clone();
    again["transport"].as_object_mut().unwrap().remove("local");
    let create = json!({"call": "d", "thread": 1, "a": again, "b": two.ends[3].leg()});
    two.ask("create_call", create).unwrap();
    let refused = two.exchange(["b", "a"]).unwrap_err();
    assert_eq!(refused["code"], "bad_arguments", "{refused}");
    two.exchange(["a", "a"]).unwrap();
}

#[test]
fn no_far_end_is_told_that_a_source_left() {
    let mut two = Two::new([Kind::Plain; 4]);
    two.talk(50, &EVERYBODY);
    two.exchange(["b", "a"]).unwrap();
    let sent = two.process.sent();
    assert!(sent.iter().all(|it| classify(&it.bytes).unwrap() != Protocol::Rtcp), "no BYE");
}
