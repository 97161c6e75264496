//! A call goes on in another process: what was snapshotted is given back as it is, and the far ends, who
//! know nothing of it, talk on. Under SRTP they are senders and receivers of their own keys that live
//! through it all.

use std::collections::HashSet;
use std::net::SocketAddr;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::media::registry::Client;
use crate::media::rig::{Process, browser_address};
use crate::srtp::keys::{MasterKey, Profile};
use crate::srtp::protect::{RTCP_GROWTH_BYTES_MAX, RTP_GROWTH_BYTES_MAX, Receiver, Sender};
use crate::wire::demux::{Protocol, classify};
use crate::wire::rtcp::{Compound, Presence};
use crate::wire::stun::{self, BindingRequest, Class, Role, TransactionId, write_binding_request};

pub(super) const TICK: Duration = MS_20;
const PASSWORD: &str = "ours-ours-ours-ours-ours";
const FORMAT: &str = r#"{"send": {"codec": "pcmu", "payload_type": 0, "packet_ms": 20},
    "receive": [{"codec": "pcmu", "payload_type": 0}]}"#;

/// What a leg is like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Ice(Profile),
    Own(Profile),
    Plain,
}

/// How a far end's packets are protected.
struct Protection {
    sender: Sender,
    receiver: Receiver,
    profile: Profile,
}

/// A packet that came.
#[derive(Clone, Copy)]
pub(super) struct Heard {
    index: u64,
    /// Which far end says this.
    pub(super) voice: u8,
    timestamp: RtpTimestamp,
    at: Instant,
    /// The far end's `takeovers` then.
    takeovers: i32,
}

/// A far end that speaks every 20 ms and never learns that anything happened.
pub(super) struct FarEnd {
    number: u8,
    kind: Kind,
    /// Its RTP and RTCP addresses; one of ICE has one.
    pub(super) addresses: [SocketAddr; 2],
    protection: Option<Protection>,
    header: RtpHeader,
    /// All that it sent.
    said: Vec<Vec<u8>>,
    pub(super) heard: Vec<Heard>,
    /// Processes that took its leg over from another one.
    takeovers: i32,
    sources: HashSet<Ssrc>,
    names: HashSet<Vec<u8>>,
    /// Indexes of SRTCP, or reports counted.
    reports: Vec<u32>,
    /// Checks answered with success.
    answers: usize,
}

fn key(profile: Profile, seed: u8) -> MasterKey {
    let bytes = vec![seed; profile.key_bytes() + profile.salt_bytes()];
    MasterKey::from_bytes(profile, &bytes).unwrap()
}

impl FarEnd {
    pub(super) fn new(number: u8, kind: Kind) -> Self {
        let socket = 2 * usize::from(number);
        let seed = 16 * (1 + number);
        let (addresses, profile) = match kind {
            Kind::Ice(profile) => ([theirs(socket); 2], Some(profile)),
            Kind::Own(profile) => ([theirs(socket), theirs(socket + 1)], Some(profile)),
            Kind::Plain => ([theirs(socket), theirs(socket + 1)], None),
        };
        let ssrc = Ssrc(0x1000 + u32::from(seed));
        let protection = profile.map(|profile| Protection {
            sender: Sender::new(&key(profile, seed + 1), ssrc),
            receiver: Receiver::new(&key(profile, seed)),
            profile,
        });
        let header = RtpHeader {
            marker: false,
            payload_type: PayloadType::PCMU,
            sequence_number: SequenceNumber(0x7fd0),
            timestamp: RtpTimestamp(u32::MAX - 8_000),
            ssrc,
        };
        Self {
            number,
            kind,
            addresses,
            protection,
            header,
            said: Vec::new(),
            heard: Vec::new(),
            takeovers: 0,
            sources: HashSet::new(),
            names: HashSet::new(),
            reports: Vec::new(),
            answers: 0,
        }
    }

    pub(super) fn is_ice(&self) -> bool {
        matches!(self.kind, Kind::Ice(_))
    }

    /// The leg that it talks to, as `create_call` takes it.
    pub(super) fn leg(&self) -> Value {
        let seed = 16 * (1 + self.number);
        let security = match &self.protection {
            None => json!({"kind": "none"}),
            Some(Protection { profile, .. }) => json!({
                "kind": "srtp", "profile": profile,
                "send": key(*profile, seed).to_base64(),
                "receive": key(*profile, seed + 1).to_base64(),
            }),
        };
        let transport = match self.kind {
            Kind::Ice(_) => json!({"kind": "ice", "local_ufrag": format!("ours{}", self.number),
                "local_password": PASSWORD, "remote_ufrag": "them"}),
            _ => json!({"kind": "plain", "remote": self.addresses[0]}),
        };
        let format: Value = serde_json::from_str(FORMAT).unwrap();
        json!({"transport": transport, "security": security, "format": format})
    }

    pub(super) fn speak(&mut self) -> Vec<u8> {
        let mut packet = vec![self.number; 12 + 160];
        self.header.write(packet.first_chunk_mut().unwrap());
        self.header.sequence_number = self.header.sequence_number.next();
        self.header.timestamp = self.header.timestamp + 160;
        if let Some(protection) = &mut self.protection {
            let length = packet.len();
            packet.resize(length + RTP_GROWTH_BYTES_MAX, 0);
            let length = protection.sender.protect(&mut packet, length).unwrap();
            packet.truncate(length);
        }
        self.said.push(packet.clone());
        packet
    }

    pub(super) fn report(&mut self) -> Vec<u8> {
        let ssrc = self.header.ssrc;
        let presence = Presence::Stays;
        let compound = Compound { ssrc, sender: None, reports: &[], cname: "them", presence };
        let mut packet = vec![0; 200 + RTCP_GROWTH_BYTES_MAX];
        let mut length = rtcp::write_compound(&mut packet, &compound).unwrap();
        if let Some(protection) = &mut self.protection {
            length = protection.sender.protect_rtcp(&mut packet, length).unwrap();
        }
        packet.truncate(length);
        packet
    }

    pub(super) fn check(&self, number: u8) -> Vec<u8> {
        let request = BindingRequest {
            transaction_id: TransactionId([number; 12]),
            username: &format!("ours{}:them", self.number),
            priority: 1,
            role: Role::Controlling(7),
            use_candidate: false,
        };
        let mut packet = vec![0; 500];
        let length = write_binding_request(&mut packet, &request, PASSWORD.as_bytes()).unwrap();
        packet.truncate(length);
        packet
    }

    /// Everything that comes has to be understood.
    pub(super) fn hear(&mut self, mut bytes: Vec<u8>, now: Instant) {
        match classify(&bytes).unwrap() {
            Protocol::Rtp => self.hear_rtp(bytes, now),
            Protocol::Rtcp => self.hear_rtcp(&mut bytes),
            Protocol::Stun => {
                let message = stun::Message::parse(&bytes).unwrap();
                assert_eq!(message.class, Class::Success);
                self.answers += 1;
            }
            Protocol::Dtls => panic!("DTLS"),
        }
    }

    fn hear_rtp(&mut self, mut bytes: Vec<u8>, now: Instant) {
        let number = RtpPacket::parse(&bytes).unwrap().header.sequence_number;
        let index = match &mut self.protection {
            Some(protection) => {
                let length = protection.receiver.unprotect(&mut bytes).unwrap();
                bytes.truncate(length);
                let header = RtpPacket::parse(&bytes).unwrap().header;
                let highest = protection.receiver.position(header.ssrc).unwrap();
                highest.estimate(number).unwrap().value()
            }
            None => u64::from(number.0),
        };
        let packet = RtpPacket::parse(&bytes).unwrap();
        let header = packet.header;
        self.sources.insert(header.ssrc);
        let (timestamp, takeovers) = (header.timestamp, self.takeovers);
        let voice = packet.payload.last().copied().unwrap_or_default();
        self.heard.push(Heard { index, voice, timestamp, at: now, takeovers });
    }

    fn hear_rtcp(&mut self, bytes: &mut [u8]) {
        let mut length = bytes.len();
        match &mut self.protection {
            Some(protection) => {
                let after = match protection.profile {
                    Profile::AES_CM_128_HMAC_SHA1_80 => 10,
                    _ => 0,
                };
                let word = bytes[..length - after].last_chunk().unwrap();
                self.reports.push(u32::from_be_bytes(*word) & 0x7fff_ffff);
                length = protection.receiver.unprotect_rtcp(bytes).unwrap();
            }
            None => self.reports.push(self.reports.len() as u32),
        }
        for packet in rtcp::parse(&bytes[..length]).unwrap() {
            if let RtcpPacket::Sdes { cname, .. } = packet {
                self.names.insert(cname.to_owned());
            }
        }
    }

    /// Nothing was used twice, nothing went back, and it was one source all the time.
    pub(super) fn judge(&self) {
        assert_eq!(self.sources.len(), 1, "one source");
        assert_eq!(self.names.len(), 1, "one name");
        if self.protection.is_some() {
            let all: HashSet<u64> = self.heard.iter().map(|it| it.index).collect();
            assert_eq!(all.len(), self.heard.len(), "an index was used twice");
            let reports: HashSet<u32> = self.reports.iter().copied().collect();
            assert_eq!(reports.len(), self.reports.len(), "an SRTCP index was used twice");
        }
        for pair in self.heard.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            let passed = after.timestamp.distance(before.timestamp);
            assert!(passed > 0, "time went back by {passed}");
            let real = (after.at - before.at).as_millis() as i32 * 8;
            // Each takeover puts the clock 200 ms ahead, also those of which nothing was heard.
            let ahead = 200 * (after.takeovers - before.takeovers);
            let within = real - 8 * 60..=real + 8 * (60 + ahead);
            assert!(within.contains(&passed), "{passed} in {real}, {ahead} ms ahead");
        }
    }
}

/// A media process with one call, its controller, and the far ends.
struct World {
    process: Process,
    client: Client,
    ends: [FarEnd; 2],
    /// Where the far ends send to: RTP and RTCP of each leg.
    locals: [[SocketAddr; 2]; 2],
    ticks: u32,
    requests: u64,
    events: Vec<Value>,
    /// Time by which a packet is late, one after the other.
    late_ms: Vec<u64>,
}

impl World {
    fn new(kinds: [Kind; 2]) -> Self {
        let [a, b] = kinds;
        let ends = [FarEnd::new(0, a), FarEnd::new(1, b)];
        let process = Process::new(2, 2, "first", Instant::now()).unwrap();
        let nowhere = [theirs(99); 2];
        let mut world = Self {
            process,
            client: 0,
            ends,
            locals: [nowhere; 2],
            ticks: 0,
            requests: 0,
            events: Vec::new(),
            late_ms: vec![0],
        };
        world.connect();
        let [a, b] = [world.ends[0].leg(), world.ends[1].leg()];
        world.create(json!({"call": "c", "blob": "parked", "thread": 1, "a": a, "b": b})).unwrap();
        for side in Side::BOTH {
            if let Kind::Ice(_) = world.ends[side.index()].kind {
                let remote = world.ends[side.index()].addresses[0];
                let update = json!({"call": "c", "leg": side, "remote": remote});
                world.ask("update_leg", update).unwrap();
            }
        }
        world
    }

    fn connect(&mut self) {
        self.client = self.process.connect();
        self.ask("take_control", json!({})).unwrap();
    }

    fn create(&mut self, arguments: Value) -> Result<Value, Value> {
        let created = self.ask("create_call", arguments)?;
        for side in Side::BOTH {
            let local = &created[side.to_string()];
            self.locals[side.index()] =
                ["rtp", "rtcp"].map(|kind| local[kind].as_str().unwrap().parse().unwrap());
        }
        Ok(created)
    }

    /// A request and its reply, `Err` if it was refused.
    fn ask(&mut self, command: &str, arguments: Value) -> Result<Value, Value> {
        self.requests += 1;
        let request = json!({"id": self.requests, "command": command, "arguments": arguments});
        self.process.line(self.client, &request.to_string());
        for _ in 0..10 {
            if let Some(reply) = self.lines() {
                assert_eq!(reply["id"], self.requests);
                return match reply.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(reply["result"].clone()),
                };
            }
            // Questions of observers wait a moment.
            let next = self.process.next_timeout().unwrap();
            self.process.handle_timeout(next);
        }
        panic!("no reply to {command}");
    }

    /// Takes events; gives the reply, if one came.
    fn lines(&mut self) -> Option<Value> {
        let mut reply = None;
        while let Some((_, line)) = self.process.poll_line() {
            let line: Value = serde_json::from_str(&line).unwrap();
            if line.get("event").is_some() {
                self.events.push(line);
            } else if line.get("id").is_some() {
                reply = Some(line);
            }
        }
        reply
    }

    fn send(&mut self, side: Side, kind: usize, bytes: Vec<u8>) {
        let from = self.ends[side.index()].addresses[kind];
        let to = self.locals[side.index()][kind];
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
        assert!(self.lines().is_none());
    }

    /// Both far ends speak for so long, each packet a little late.
    fn talk(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / TICK.as_millis() {
            let late = self.late_ms[self.ticks as usize % self.late_ms.len()];
            self.pass(Duration::from_millis(late));
            for side in Side::BOTH {
                let packet = self.ends[side.index()].speak();
                self.send(side, 0, packet);
                if self.ticks % 50 == 7 {
                    let report = self.ends[side.index()].report();
                    self.send(side, 1, report);
                }
                if self.ticks % 125 == 9 && matches!(self.ends[side.index()].kind, Kind::Ice(_)) {
                    let check = self.ends[side.index()].check(self.ticks as u8);
                    self.send(side, 0, check);
                }
            }
            self.pass(TICK - Duration::from_millis(late));
            self.ticks += 1;
        }
    }

    fn snapshot(&mut self) -> Value {
        self.ask("snapshot", json!({"call": "c"})).unwrap()
    }

    /// The process is killed; another one is there a while later, and has not been told of the call. The
    /// far ends talk meanwhile.
    fn kill(&mut self, down: Duration) {
        self.process.now += down;
        for _ in 0..down.as_millis() / TICK.as_millis() {
            self.ends.iter_mut().for_each(|end| drop(end.speak()));
        }
        self.process = self.process.successor(2, "second").unwrap();
        self.connect();
    }

    /// Gives a snapshot back as it is.
    fn resume(&mut self, snapshot: &Value) -> Result<Value, Value> {
        let created = self.create(snapshot.clone())?;
        self.ends.iter_mut().for_each(|end| end.takeovers += 1);
        Ok(created)
    }

    fn statistics(&mut self) -> Value {
        self.ask("query_call", json!({"call": "c"})).unwrap()
    }
}

fn all_kinds() -> Vec<[Kind; 2]> {
    let mut all: Vec<_> = Profile::ALL.iter().map(|it| [Kind::Ice(*it), Kind::Own(*it)]).collect();
    all.push([Kind::Ice(Profile::AEAD_AES_128_GCM), Kind::Plain]);
    all.push([Kind::Plain, Kind::Plain]);
    all
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_killed_call_goes_on_in_another_process_and_nobody_at_its_ends_notices() {
    for kinds in all_kinds() {
        let mut world = World::new(kinds);
        world.talk(3 * SECOND);
        let snapshot = world.snapshot();
        let parked = (&snapshot["call"], &snapshot["blob"], &snapshot["thread"]);
        assert_eq!(parked, (&json!("c"), &json!("parked"), &json!(1)));
        let locals = world.locals;
        world.talk(2 * SECOND);
        world.kill(SECOND);
        let before: Vec<_> =
            world.ends.iter().map(|end| (end.heard.len(), end.reports.len())).collect();
        world.resume(&snapshot).unwrap();
        assert_eq!(world.locals, locals, "the same addresses on the same thread");
        world.talk(5 * SECOND);
        for (end, (heard, reports)) in world.ends.iter().zip(before) {
            assert_eq!(end.heard.len(), heard + 250, "{kinds:?}: every packet got through");
            assert!(end.reports.len() > reports + 1, "RTCP goes on");
            end.judge();
        }
        let statistics = world.statistics();
        for side in Side::BOTH {
            let leg = &statistics[side.to_string()];
            assert_eq!(leg["discards"], json!({}), "{kinds:?} {leg}");
            assert_eq!(leg["packets_received"], 250);
            // Sender reports go on counting.
            assert_eq!(leg["packets_sent"], 150 + 250);
        }
    }
}

#[test]
fn what_the_old_process_heard_is_not_heard_again() {
    for kinds in all_kinds() {
        let mut world = World::new(kinds);
        world.talk(3 * SECOND);
        let snapshot = world.snapshot();
        let said: Vec<_> = world.ends.iter().map(|end| end.said.clone()).collect();
        world.kill(SECOND);
        world.resume(&snapshot).unwrap();
        let heard = world.ends.iter().map(|end| end.heard.len()).sum::<usize>();
        for side in Side::BOTH {
            for packet in &said[side.index()] {
                world.send(side, 0, packet.clone());
            }
        }
        let statistics = world.statistics();
        for side in Side::BOTH {
            if matches!(world.ends[side.index()].kind, Kind::Plain) {
                continue; // without authentication there is no replay
            }
            let leg = &statistics[side.to_string()];
            assert_eq!(leg["discards"], json!({"replayed": 150}));
            assert_eq!(world.ends[side.other().index()].heard.len() * 2, heard);
        }
        assert!(
            statistics["a"]["received"].is_null()
                || kinds.iter().any(|it| matches!(it, Kind::Plain))
        );
    }
}

#[test]
fn an_ice_leg_keeps_its_nomination_and_the_age_of_its_consent() {
    let mut world = World::new([Kind::Ice(Profile::AEAD_AES_128_GCM), Kind::Plain]);
    world.talk(3 * SECOND);
    let answers = world.ends[0].answers;
    assert!(answers > 0);
    world.talk(5 * SECOND);
    world.pass(10 * SECOND);
    let snapshot = world.snapshot();
    let nominated = &snapshot["a"]["resume"]["nominated"];
    assert_eq!(nominated["remote"], world.ends[0].addresses[0].to_string());
    let age_ms = nominated["consent_age_ms"].as_u64().unwrap();
    assert!((10_000..15_000).contains(&age_ms), "{age_ms}");
    world.kill(5 * SECOND);
    world.resume(&snapshot).unwrap();
    // A check is answered where the audio is, and not told.
    world.events.clear();
    let answers = world.ends[0].answers;
    let check = world.ends[0].check(200);
    world.send(Side::A, 0, check);
    assert_eq!(world.ends[0].answers, answers + 1);
    assert_eq!(world.events, [] as [Value; 0]);

    // Without one, consent ends when it would have ended.
    world.kill(SECOND);
    world.resume(&snapshot).unwrap();
    let left = Duration::from_millis(30_000 - age_ms - 6_000);
    world.pass(left - SECOND);
    let expired = |world: &World| world.events.iter().any(|it| it["event"] == "consent_expired");
    assert!(!expired(&world));
    world.pass(2 * SECOND);
    assert!(expired(&world));
}

#[test]
fn a_snapshot_says_what_was_changed_since_the_call_was_made() {
    let mut world = World::new([Kind::Ice(Profile::AEAD_AES_256_GCM), Kind::Plain]);
    let changes = [
        (
            "a",
            json!({"ice": {"local_ufrag": "renewed", "local_password": PASSWORD,
                             "remote_ufrag": "other"}, "media_timeout_ms": 5_000}),
        ),
        (
            "b",
            json!({"direction": "sendonly", "dscp": 12, "media_timeout_ms": 0,
                     "remote": "198.51.100.9:7000", "remote_rtcp": "198.51.100.9:7009",
                     "source": {"kind": "within", "prefixes": ["198.51.100.0/24"]}}),
        ),
    ];
    for (leg, mut change) in changes {
        change["call"] = json!("c");
        change["leg"] = json!(leg);
        world.ask("update_leg", change).unwrap();
    }
    let snapshot = world.snapshot();
    let (a, b) = (&snapshot["a"], &snapshot["b"]);
    assert_eq!(a["transport"]["local_ufrag"], "renewed");
    assert_eq!(a["media_timeout_ms"], 5_000);
    assert_eq!(a["security"], world.ends[0].leg()["security"]);
    assert_eq!((&b["direction"], &b["dscp"]), (&json!("sendonly"), &json!(12)));
    let transport = json!({"kind": "plain", "remote": "198.51.100.9:7000",
        "remote_rtcp": "198.51.100.9:7009", "local": world.locals[1][0],
        "source": {"kind": "within", "prefixes": ["198.51.100.0/24"]}});
    assert_eq!(b["transport"], transport);
    assert_eq!(b["format"]["send"]["codec"], "pcmu");
    // Made from it, a call is as it was.
    world.kill(SECOND);
    world.resume(&snapshot).unwrap();
    let again = world.snapshot();
    for leg in ["a", "b"] {
        for member in ["transport", "security", "format", "direction", "dscp", "media_timeout_ms"] {
            assert_eq!(again[leg][member], snapshot[leg][member], "{leg}.{member}");
        }
    }
}

#[test]
fn new_keys_are_snapshotted_with_rounds_counted_from_0() {
    let profile = Profile::AEAD_AES_128_GCM;
    let mut world = World::new([Kind::Own(profile), Kind::Plain]);
    world.talk(SECOND);
    // Far enough that the round is not the first one.
    for _ in 0..8 {
        let snapshot = world.snapshot();
        world.kill(Duration::ZERO);
        world.resume(&snapshot).unwrap();
    }
    let next = |world: &mut World| {
        world.snapshot()["a"]["resume"]["sent"]["rtp_index_next"].as_u64().unwrap()
    };
    let before = next(&mut world);
    assert!(before > 0xffff, "{before}");
    let keys = json!({"kind": "srtp", "profile": profile, "send": key(profile, 99).to_base64(),
                      "receive": key(profile, 98).to_base64()});
    let update = json!({"call": "c", "leg": "a", "security": keys});
    world.ask("update_leg", update.clone()).unwrap();
    assert_eq!(next(&mut world), before & 0xffff);
    // The same keys again change nothing.
    let protection = world.ends[0].protection.as_mut().unwrap();
    protection.receiver = Receiver::new(&key(profile, 99));
    protection.sender = Sender::new(&key(profile, 98), world.ends[0].header.ssrc);
    world.talk(SECOND);
    let before = next(&mut world);
    world.ask("update_leg", update.clone()).unwrap();
    assert_eq!(next(&mut world), before);
    // Neither does a new key of the far end's for what we send under ours.
    let mut update = update;
    update["security"]["receive"] = json!(key(profile, 97).to_base64());
    world.ask("update_leg", update).unwrap();
    assert_eq!(next(&mut world), before);
    let protection = world.ends[0].protection.as_mut().unwrap();
    protection.sender = Sender::new(&key(profile, 97), world.ends[0].header.ssrc);
    let heard = world.ends.iter().map(|end| end.heard.len()).sum::<usize>();
    world.talk(SECOND);
    assert_eq!(world.ends.iter().map(|end| end.heard.len()).sum::<usize>(), heard + 100);
}

#[test]
fn a_snapshot_that_does_not_fit_is_refused_by_place_and_nothing_is_left_of_the_call() {
    let profile = Profile::AES_CM_128_HMAC_SHA1_80;
    let mut world = World::new([Kind::Own(profile), Kind::Plain]);
    world.talk(SECOND);
    let snapshot = world.snapshot();
    world.kill(SECOND);
    let ours = snapshot["a"]["resume"]["sent"]["ssrc"].clone();
    let theirs = snapshot["a"]["resume"]["received"][0].clone();
    let nominated = json!({"remote": "192.0.2.1:9", "consent_age_ms": 0});
    let used_up = json!((1_u64 << 48) - 8_193 + 1);
    let cases = [
        ("a", "sent/rtp_index_next", used_up, "a.resume.sent.rtp_index_next"),
        ("a", "sent/rtcp_index_next", json!((1_u64 << 31) - 256), "a.resume.sent.rtcp_index_next"),
        ("a", "sent/rtcp_index_next", Value::Null, "a.resume.sent.rtcp_index_next"),
        ("b", "sent/rtcp_index_next", json!(7), "b.resume.sent.rtcp_index_next"),
        ("a", "received/0/ssrc", ours, "a.resume.received[0].ssrc"),
        ("a", "received", json!([theirs, theirs]), "a.resume.received[0].ssrc"),
        ("b", "nominated", nominated, "b.resume.nominated"),
    ];
    for (leg, member, value, place) in cases {
        let mut create = snapshot.clone();
        *create.pointer_mut(&format!("/{leg}/resume/{member}")).unwrap() = value;
        let refused = world.create(create).unwrap_err();
        assert_eq!(refused["code"], "bad_arguments", "{refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{place}: ")), "{place}: {message}");
    }
    for (leg, security, place) in [
        ("a", json!({"kind": "none"}), "a.resume.sent.rtcp_index_next"),
        ("a", json!({"kind": "pending"}), "a.resume.sent.rtcp_index_next"),
        ("b", snapshot["a"]["security"].clone(), "b.resume.sent.rtcp_index_next"),
    ] {
        let mut create = snapshot.clone();
        create[leg]["security"] = security;
        let message = world.create(create).unwrap_err()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("{place}: ")), "{place}: {message}");
    }
    // Both legs cannot be the same source under the same key.
    let mut create = snapshot.clone();
    create["b"] = create["a"].clone();
    create["b"]["transport"]["local"] = snapshot["b"]["transport"]["local"].clone();
    let message = world.create(create).unwrap_err()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("b.resume.sent.ssrc: "), "{message}");

    let sockets: usize = world.process.cores.iter().map(|core| core.network.open_sockets()).sum();
    assert_eq!(sockets, 2, "the browsers' sockets only");
    world.resume(&snapshot).unwrap();
    world.talk(SECOND);
    world.ends[0].judge();
}

#[test]
fn a_leg_is_taken_over_by_replace_leg_and_the_other_one_goes_on() {
    let profile = Profile::AEAD_AES_256_GCM;
    let mut world = World::new([Kind::Own(profile), Kind::Plain]);
    world.talk(2 * SECOND);
    let snapshot = world.snapshot();
    world.kill(SECOND);
    // The call there has another first leg at first.
    let mut other = snapshot.clone();
    let elsewhere = json!({"kind": "plain", "local": "192.0.2.10:35100"});
    other["a"] = json!({"transport": elsewhere, "format": snapshot["a"]["format"]});
    world.resume(&other).unwrap();
    let replace = json!({"call": "c", "leg": "a", "with": snapshot["a"]});
    let replaced = world.ask("replace_leg", replace.clone()).unwrap();
    assert_eq!(replaced["local"]["rtp"], snapshot["a"]["transport"]["local"]);
    world.locals[0] =
        ["rtp", "rtcp"].map(|kind| replaced["local"][kind].as_str().unwrap().parse().unwrap());
    let heard = world.ends[0].heard.len();
    world.talk(3 * SECOND);
    assert_eq!(world.ends[0].heard.len(), heard + 150);
    world.ends.iter().for_each(FarEnd::judge);

    // From the same snapshot it would use the same indexes again: the leg that is there knows.
    let mut again = replace;
    again["with"]["transport"].as_object_mut().unwrap().remove("local");
    let refused = world.ask("replace_leg", again.clone()).unwrap_err();
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("with.resume.sent.rtp_index_next: "), "{message}");
    world.talk(SECOND);
    // From a new one it goes on.
    let mut with = world.snapshot()["a"].clone();
    with["transport"].as_object_mut().unwrap().remove("local");
    again["with"] = with;
    let replaced = world.ask("replace_leg", again).unwrap();
    world.ends[0].takeovers += 1;
    world.locals[0] =
        ["rtp", "rtcp"].map(|kind| replaced["local"][kind].as_str().unwrap().parse().unwrap());
    world.talk(SECOND);
    world.ends.iter().for_each(FarEnd::judge);
    assert!(world.ends.iter().all(|end| end.heard.len() == heard + 250));
}

#[test]
fn snapshots_by_subscription_go_to_the_controller_and_end_with_its_control() {
    let mut world = World::new([Kind::Own(Profile::AEAD_AES_128_GCM), Kind::Plain]);
    let subscribe = json!({"interval_ms": 1_000, "call": "c", "of": "snapshot"});
    world.ask("subscribe", subscribe.clone()).unwrap();
    let observer = world.process.connect();
    let request = json!({"id": 9, "command": "subscribe", "arguments": subscribe});
    world.process.line(observer, &request.to_string());
    let refused = std::iter::from_fn(|| world.process.poll_line())
        .any(|(client, line)| client == observer && line.contains("not_controller"));
    assert!(refused);
    let request = json!({"id": 10, "command": "snapshot", "arguments": {"call": "c"}});
    world.process.line(observer, &request.to_string());
    let (client, line) = world.process.poll_line().unwrap();
    assert!(client == observer && line.contains("not_controller"), "{line}");

    let snapshots = |world: &mut World, time: Duration| {
        let until = world.process.now + time;
        let mut to = Vec::new();
        while let Some(next) = world.process.next_timeout().filter(|next| *next <= until) {
            world.process.handle_timeout(next);
            let lines = std::iter::from_fn(|| world.process.poll_line());
            to.extend(lines.filter(|(_, line)| line.contains("call_snapshot")).map(|(to, _)| to));
        }
        world.process.handle_timeout(until);
        to
    };
    let controller = world.client;
    let told = snapshots(&mut world, 3 * SECOND);
    assert!(told.len() >= 3 && told.iter().all(|to| *to == controller), "{told:?}");

    let force = json!({"id": 11, "command": "take_control", "arguments": {"force": true}});
    world.process.line(observer, &force.to_string());
    assert_eq!(world.process.closed(), [controller]);
    assert_eq!(snapshots(&mut world, 3 * SECOND), [] as [Client; 0]);
}

#[test]
fn no_key_is_shown_by_what_carries_a_snapshot() {
    let mut world = World::new([Kind::Ice(Profile::AEAD_AES_128_GCM), Kind::Plain]);
    let snapshot = world.snapshot();
    let send = snapshot["a"]["security"]["send"].as_str().unwrap();
    let typed: crate::control::message::CallSnapshot =
        serde_json::from_value(snapshot.clone()).unwrap();
    let legs = Box::new([typed.a.clone(), typed.b.clone()]);
    let event = Event::CallSnapshot(Box::new(typed));
    for shown in [format!("{event:?}"), format!("{:?}", Reply::Snapshot(legs))] {
        assert!(!shown.contains(send) && !shown.contains(PASSWORD) && !shown.contains("17, 17"));
        assert!(!shown.contains("[16, 16"), "{shown}");
    }
}

/// A process's life: how long the call talks before the snapshot, after it, and then nobody is there.
#[derive(Clone, Debug)]
struct Life {
    before_ms: u64,
    after_ms: u64,
    down_ms: u64,
}

fn life() -> impl Strategy<Value = Life> {
    (0..1_500_u64, prop_oneof![4 => 0..500_u64, 1 => 5_000..20_000_u64], 0..1_500_u64)
        .prop_map(|(before_ms, after_ms, down_ms)| Life { before_ms, after_ms, down_ms })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn at_whatever_moments_a_call_is_snapshotted_and_killed_it_goes_on(
        kinds in prop::sample::select(all_kinds()),
        lives in prop::collection::vec(life(), 1..12),
        late_ms in prop::collection::vec(0..19_u64, 1..7),
    ) {
        let mut world = World::new(kinds);
        world.late_ms = late_ms;
        world.talk(SECOND);
        for Life { before_ms, after_ms, down_ms } in lives {
            world.talk(Duration::from_millis(before_ms));
            let snapshot = world.snapshot();
            world.talk(Duration::from_millis(after_ms));
            world.kill(Duration::from_millis(down_ms));
            world.resume(&snapshot).unwrap();
        }
        let before: Vec<_> = world.ends.iter().map(|end| end.heard.len()).collect();
        world.talk(3 * SECOND);
        for (end, before) in world.ends.iter().zip(before) {
            prop_assert_eq!(end.heard.len(), before + 150);
            end.judge();
        }
    }
}

#[test]
fn a_call_goes_on_that_two_processes_took_over_and_said_nothing_of() {
    let mut world = World::new([Kind::Plain, Kind::Own(Profile::AEAD_AES_128_GCM)]);
    world.talk(SECOND);
    for _ in 0..2 {
        let snapshot = world.snapshot();
        world.kill(3 * MS_20);
        world.resume(&snapshot).unwrap();
    }
    world.talk(3 * SECOND);
    for end in &world.ends {
        assert_eq!(end.heard.len(), 200);
        end.judge();
    }
}

#[test]
fn a_leg_of_its_own_port_is_found_again_only_on_the_thread_that_has_it() {
    let mut world = World::new([Kind::Plain, Kind::Ice(Profile::AEAD_AES_128_GCM)]);
    assert_eq!(world.locals[1][0], browser_address(1));
    let snapshot = world.snapshot();
    world.kill(SECOND);
    let mut elsewhere = snapshot.clone();
    elsewhere["thread"] = json!(0);
    assert_eq!(world.create(elsewhere.clone()).unwrap_err()["code"], "no_ports");
    // Without its address it goes on on any thread, and is at another one.
    elsewhere["a"]["transport"].as_object_mut().unwrap().remove("local");
    world.create(elsewhere).unwrap();
    assert_eq!(world.locals[1][0], browser_address(0));
    world.talk(SECOND);
    assert!(world.ends.iter().all(|end| end.heard.len() == 50));
}
