//! The whole media process over its control protocol: who is told what, and what each command does to
//! the calls of others.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::super::registry::Client;
use super::super::rig::{self, Process};
use super::*;

/// A media process of two cores with its control connections.
struct Controlled {
    process: Process,
    lines: BTreeMap<Client, Vec<Value>>,
    next_id: u64,
    speakers: OpusArenaOfSpeakers,
}

/// Codec states of the far ends.
type OpusArenaOfSpeakers = Rc<OpusArena>;

impl Controlled {
    fn new() -> Self {
        let process = Process::new(2, 4, "this one", Instant::now()).unwrap();
        let speakers = OpusArena::new(4).unwrap();
        Self { process, lines: BTreeMap::new(), next_id: 1, speakers }
    }

    fn connect(&mut self) -> Client {
        let client = self.process.connect();
        self.collect();
        let greeting = self.lines.get_mut(&client).unwrap().remove(0);
        assert_eq!(greeting["generation"], "this one");
        client
    }

    /// A connection that has taken control.
    fn controller(&mut self) -> Client {
        let client = self.connect();
        self.done(client, "take_control", json!({}));
        client
    }

    fn collect(&mut self) {
        while let Some((client, line)) = self.process.poll_line() {
            self.lines.entry(client).or_default().push(serde_json::from_str(&line).unwrap());
        }
    }

    /// The result of a command, or the code of its refusal.
    fn ask(&mut self, client: Client, command: &str, arguments: Value) -> Result<Value, String> {
        let id = self.next_id;
        self.next_id += 1;
        let line = json!({"id": id, "command": command, "arguments": arguments}).to_string();
        self.process.line(client, &line);
        // Questions about calls wait for a millisecond at most.
        self.pass(Duration::from_millis(1));
        let lines = self.lines.get_mut(&client).unwrap();
        let at = lines.iter().position(|line| line["id"] == id).expect("an answer");
        let mut reply = lines.remove(at);
        match reply.get("error") {
            Some(error) => Err(error["code"].as_str().unwrap().to_owned()),
            None => Ok(reply["result"].take()),
        }
    }

    fn done(&mut self, client: Client, command: &str, arguments: Value) -> Value {
        self.ask(client, command, arguments).unwrap()
    }

    fn refused(&mut self, client: Client, command: &str, arguments: Value) -> String {
        self.ask(client, command, arguments).unwrap_err()
    }

    fn pass(&mut self, time: Duration) {
        let until = self.process.now + time;
        while let Some(at) = self.process.next_timeout().filter(|at| *at <= until) {
            self.process.handle_timeout(at);
            self.collect();
        }
        self.process.handle_timeout(until);
        self.collect();
    }

    /// The events that a connection was told since the last time, by name.
    fn told(&mut self, client: Client) -> Vec<Value> {
        let lines = self.lines.get_mut(&client).map(std::mem::take).unwrap_or_default();
        lines.into_iter().filter(|line| line.get("event").is_some()).collect()
    }

    fn names(&mut self, client: Client) -> Vec<String> {
        let told = self.told(client);
        told.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
    }

    fn create(&mut self, client: Client, call: &str) -> Value {
        self.done(client, "create_call", call_of(call))
    }

    /// Audio of one packet arrives at `to` from `from`: where what left of it went.
    fn speak(&mut self, speaker: &mut Speaker, from: SocketAddr, to: &Value) -> Vec<SocketAddr> {
        let to = to.as_str().unwrap().parse().unwrap();
        self.process.sent();
        self.process.receive(Flying { from, to, bytes: speaker.packet(160) });
        self.collect();
        self.process.sent().iter().map(|sent| sent.to).collect()
    }
}

fn far_end(number: u16) -> SocketAddr {
    ([198, 51, 100, 7], 20_000 + number).into()
}

fn leg(format: &str, remote: SocketAddr) -> Value {
    let format: Value = serde_json::from_str(format).unwrap();
    json!({"transport": {"kind": "plain", "remote": remote}, "format": format})
}

fn browser(format: &str) -> Value {
    let format: Value = serde_json::from_str(format).unwrap();
    json!({"transport": {"kind": "ice", "local_ufrag": "here",
           "local_password": "secretsecretsecretsecret"}, "format": format})
}

fn call_of(call: &str) -> Value {
    json!({"call": call, "blob": "as it was", "a": leg(OPUS, far_end(0)), "b": leg(PCMU, far_end(2))})
}

#[test]
fn calls_that_are_made_parked_and_ended_are_told_to_everybody_but_who_asked() {
    let mut all = Controlled::new();
    let (controller, observer) = (all.controller(), all.connect());
    let created = all.create(controller, "one");
    let told = all.told(observer);
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["event"], &told[0]["call"]), (&json!("call_created"), &json!("one")));
    for field in ["thread", "a", "b"] {
        assert_eq!(told[0][field], created[field]);
    }
    all.done(controller, "park", json!({"call": "one", "blob": "else"}));
    assert_eq!(all.names(observer), ["call_parked"]);
    let listed = all.done(observer, "list_calls", json!({}));
    assert_eq!(listed["calls"][0]["blob"], "else");
    let ended = all.done(controller, "delete_call", json!({"call": "one"}));
    let told = all.told(observer);
    assert_eq!((&told[0]["event"], &told[0]["why"]), (&json!("call_deleted"), &json!("deleted")));
    assert_eq!(told[0]["statistics"], ended);
    assert!(all.names(controller).is_empty());
    assert_eq!(all.refused(observer, "delete_call", json!({"call": "one"})), "not_controller");
}

#[test]
fn control_is_taken_by_force_only_and_who_had_it_is_told_and_closed() {
    let mut all = Controlled::new();
    let (first, second) = (all.controller(), all.connect());
    all.create(first, "one");
    assert_eq!(all.refused(second, "take_control", json!({})), "controlled_elsewhere");
    assert!(all.process.closed().is_empty());
    all.told(second);
    all.done(second, "take_control", json!({"force": true}));
    assert_eq!(all.process.closed(), [first]);
    assert_eq!(all.names(first), ["controller_replaced"]);
    assert_eq!(all.names(second), ["controller_replaced"]);
    // Its calls are the second one's.
    all.done(second, "delete_call", json!({"call": "one"}));
    all.done(second, "take_control", json!({"force": true}));
    assert!(all.process.closed().is_empty(), "who has it already keeps it");
}

#[test]
fn a_call_outlives_its_controller_by_what_it_said() {
    for again in [false, true] {
        let mut all = Controlled::new();
        let (controller, observer) = (all.controller(), all.connect());
        for (call, orphan_ms) in
            [("at-once", json!(0)), ("soon", json!(5_000)), ("never", Value::Null)]
        {
            let mut arguments = call_of(call);
            match orphan_ms {
                Value::Null => {}
                ms => arguments["orphan_ms"] = ms,
            }
            all.done(controller, "create_call", arguments);
        }
        all.pass(Duration::from_secs(60));
        all.told(observer);
        all.process.disconnect(controller);
        all.pass(Duration::from_millis(4_900));
        let told = all.told(observer);
        let ended: Vec<_> = told.iter().filter(|told| told["event"] == "call_deleted").collect();
        assert_eq!(ended.len(), 1);
        assert_eq!((&ended[0]["call"], &ended[0]["why"]), (&json!("at-once"), &json!("orphaned")));
        if again {
            all.controller();
        }
        all.pass(Duration::from_secs(60));
        let listed = all.done(observer, "list_calls", json!({}));
        let names: Vec<_> =
            listed["calls"].as_array().unwrap().iter().map(|it| &it["call"]).collect();
        assert_eq!(names, if again { vec!["never", "soon"] } else { vec!["never"] });
        assert_eq!(all.names(observer).contains(&"call_deleted".to_owned()), !again);
    }
}

#[test]
fn a_call_lands_on_the_thread_and_the_ports_that_were_asked_for() {
    let mut all = Controlled::new();
    let controller = all.controller();
    for thread in [1, 0, 1] {
        let mut arguments = call_of(&format!("of-{thread}-{}", all.next_id));
        arguments["thread"] = json!(thread);
        assert_eq!(all.done(controller, "create_call", arguments)["thread"], thread);
    }
    let mut arguments = call_of("elsewhere");
    arguments["thread"] = json!(2);
    assert_eq!(all.refused(controller, "create_call", arguments), "unknown_thread");

    // Ports are of one thread each: it has the call whose leg is to be there.
    for (local, thread) in [("192.0.2.10:30500", 0), ("192.0.2.10:39000", 1)] {
        let mut arguments = call_of(local);
        arguments["b"]["transport"]["local"] = json!(local);
        let created = all.done(controller, "create_call", arguments.clone());
        assert_eq!((&created["thread"], &created["b"]["rtp"]), (&json!(thread), &json!(local)));
        arguments["call"] = json!("another");
        assert_eq!(all.refused(controller, "create_call", arguments.clone()), "no_ports");
        // Whoever asks for it by name may have it although it rests.
        all.done(controller, "delete_call", json!({"call": local}));
        arguments["thread"] = json!(1 - thread);
        assert_eq!(all.refused(controller, "create_call", arguments.clone()), "no_ports");
        arguments["thread"] = json!(thread);
        all.done(controller, "create_call", arguments);
        all.done(controller, "delete_call", json!({"call": "another"}));
    }
    let mut arguments = call_of("odd");
    arguments["b"]["transport"]["local"] = json!("192.0.2.10:30501");
    assert_eq!(all.refused(controller, "create_call", arguments), "bad_arguments");
    let mut arguments = call_of("not-ours");
    arguments["b"]["transport"]["local"] = json!("192.0.2.11:30600");
    assert_eq!(all.refused(controller, "create_call", arguments), "no_ports");
}

#[test]
fn a_mark_is_set_on_ports_of_ones_own_only() {
    let mut all = Controlled::new();
    let controller = all.controller();
    let mut arguments = call_of("one");
    arguments["b"]["dscp"] = json!(46);
    all.done(controller, "create_call", arguments.clone());
    all.done(controller, "update_leg", json!({"call": "one", "leg": "b", "dscp": 0}));
    arguments["call"] = json!("two");
    arguments["a"] = browser(OPUS);
    arguments["a"]["dscp"] = json!(46);
    assert_eq!(all.refused(controller, "create_call", arguments.clone()), "unsupported");
    arguments["a"].as_object_mut().unwrap().remove("dscp");
    all.done(controller, "create_call", arguments);
    let change = json!({"call": "two", "leg": "a", "dscp": 46});
    assert_eq!(all.refused(controller, "update_leg", change), "unsupported");
    for (leg, change) in [
        ("a", json!({"remote_rtcp": "198.51.100.7:9"})),
        ("a", json!({"source": {"kind": "exact"}})),
        ("b", json!({"remote_ufrag": "theirs"})),
        (
            "b",
            json!({"ice": {"local_ufrag": "ours", "local_password": "secretsecretsecretsecret"}}),
        ),
    ] {
        let mut arguments = change;
        arguments["call"] = json!("two");
        arguments["leg"] = json!(leg);
        assert_eq!(all.refused(controller, "update_leg", arguments), "unsupported");
    }
}

#[test]
fn a_replaced_legs_ports_rest_and_the_other_far_end_hears_who_came() {
    let mut all = Controlled::new();
    let controller = all.controller();
    let created = all.create(controller, "one");
    let free = |all: &mut Controlled| {
        all.pass(Duration::from_millis(100));
        let process = all.done(controller, "query_process", json!({}));
        let thread = created["thread"].as_u64().unwrap() as usize;
        process["threads"][thread]["port_pairs_free"].as_u64().unwrap()
    };
    let before = free(&mut all);
    let with = leg(PCMU, far_end(6));
    let arguments = json!({"call": "one", "leg": "b", "with": with});
    let replaced = all.done(controller, "replace_leg", arguments);
    assert_eq!(free(&mut all), before);
    let (old, new) = (&created["b"]["rtp"], &replaced["local"]["rtp"]);
    assert_ne!(old, new);
    assert_eq!(replaced["statistics"]["packets_received"], 0);
    let mut speaker = Speaker::new(&all.speakers, 0);
    assert!(all.speak(&mut speaker, far_end(2), old).is_empty());
    assert_eq!(all.speak(&mut speaker, far_end(6), new), [far_end(0)]);
    let listed = all.done(controller, "list_calls", json!({}));
    assert_eq!(listed["calls"][0]["b"], replaced["local"]);
    // Nobody is given the old ports for 30 s, unless by name.
    let mut others = Vec::new();
    for n in 0..3 {
        let created = all.create(controller, &format!("other-{n}"));
        others.extend([created["a"]["rtp"].clone(), created["b"]["rtp"].clone()]);
    }
    assert!(!others.contains(old));
}

#[test]
fn a_stranger_is_told_to_everybody() {
    let mut all = Controlled::new();
    let (controller, observer) = (all.controller(), all.connect());
    let created = all.create(controller, "one");
    all.told(observer);
    let mut speaker = Speaker::new(&all.speakers, 0);
    assert!(all.speak(&mut speaker, far_end(4), &created["b"]["rtp"]).is_empty());
    for client in [controller, observer] {
        let told = all.told(client);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0]["event"], "unknown_source");
        assert_eq!(told[0]["from"], json!(far_end(4)));
        assert_eq!(told[0]["expected"], json!(far_end(2)));
    }
}

#[test]
fn what_signaling_is_to_answer_goes_to_the_controller_and_is_counted_without_one() {
    let mut all = Controlled::new();
    let observer = all.connect();
    let check = |all: &mut Controlled| {
        let mut bytes = vec![0; 20];
        bytes[1] = 1;
        bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
        all.process.receive(Flying { from: far_end(9), to: rig::browser_address(1), bytes });
        all.collect();
    };
    check(&mut all);
    let controller = all.controller();
    check(&mut all);
    assert_eq!(all.names(controller), ["datagram"]);
    assert!(all.names(observer).is_empty());
    let process = all.done(observer, "query_process", json!({}));
    assert_eq!(process["threads"][1]["discards"]["no_controller"], 1);
    assert_eq!(process["threads"][1]["datagrams_punted"], 2);
}
