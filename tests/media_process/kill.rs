//! The media process is killed in mid-call, again and again, and another one goes on with its calls from
//! the last snapshots that the controller was sent. The far ends know nothing of it: they talk on to the
//! same address, and one receiver of their key takes all that they ever hear.
//!
//! Two packets under one index and key would show what both say (RFC 3711 §9.1), so every index that a
//! far end hears is noted, through all the deaths. How long nothing is heard is the machine's matter, and
//! printed (`tools/load --kill` measures it); it is bounded at five times what was measured.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use linecard::wire::demux::{Protocol, classify};

use super::*;

const PACKET_TIME: Duration = Duration::from_millis(20);
/// How often the controller is sent a call's snapshot: five times while a process lives.
const SNAPSHOT_MS: u64 = 200;
const LIFE: Duration = Duration::from_secs(1);
/// Time for some packets.
const SHORT_LIFE: Duration = Duration::from_millis(150);
/// Packets on their way when everything ends, and when a process begins to hear.
const SLACK: usize = 12;
/// The longest hole was 240 ms on two cores that had four other things to do.
const HOLE_MAX: Duration = Duration::from_millis(5 * 240);
/// What a resumed leg under SRTP leaves out, at least.
const INDEXES_LEFT_OUT: u64 = 8_192;
const REPORTS_LEFT_OUT: u64 = 256;
/// The indexes at which the leg near its wrap begins: it wraps within a second.
const NEAR_WRAP: u64 = 0xffff - 25 - INDEXES_LEFT_OUT;

/// Processes that are snapshotted and killed; the third part of them has a successor that lives shortly.
fn lives() -> usize {
    match std::env::var("LINECARD_DEPTH").as_deref() {
        Ok("quick") => 2,
        Ok("night") => 40,
        _ => 6,
    }
}

/// What a leg is like.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Shared port, its address nominated.
    Ice(Profile),
    /// A port pair of its own, SRTP all the same.
    Own(Profile),
    Plain,
}

impl Kind {
    fn profile(self) -> Option<Profile> {
        match self {
            Kind::Ice(profile) | Kind::Own(profile) => Some(profile),
            Kind::Plain => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Codec {
    Opus,
    Pcmu,
}

/// A call's name, and what its legs are.
type Made = (&'static str, [(Kind, Codec); 2]);

const CALLS: [Made; 5] = {
    use Codec::{Opus, Pcmu};
    use Kind::{Ice, Own, Plain};
    const AES_CM: Profile = Profile::AES_CM_128_HMAC_SHA1_80;
    [
        ("browser-to-trunk", [(Ice(AES_CM), Opus), (Plain, Pcmu)]),
        (NEAR_ITS_WRAP, [(Ice(Profile::AEAD_AES_128_GCM), Opus), (Plain, Pcmu)]),
        ("relayed", [(Own(Profile::AEAD_AES_256_GCM), Opus), (Ice(AES_CM), Opus)]),
        ("protected-trunk", [(Plain, Opus), (Own(AES_CM), Pcmu)]),
        ("G.711", [(Plain, Pcmu), (Plain, Pcmu)]),
    ]
};
const NEAR_ITS_WRAP: &str = "near-its-wrap";

/// A far end that speaks all the time.
struct FarEnd {
    name: String,
    peer: Peer,
    kind: Kind,
    codec: Codec,
    said: usize,
}

/// Something heard: when, from where, what.
type Arrival = (Instant, SocketAddr, Vec<u8>);

impl FarEnd {
    fn new(call: &'static str, leg: &'static str, (kind, codec): (Kind, Codec)) -> Self {
        let peer = Peer::new(if matches!(codec, Codec::Opus) { 111 } else { 0 });
        Self { name: format!("{call}, leg {leg}"), peer, kind, codec, said: 0 }
    }

    /// The leg that it talks to, with keys that nothing else has.
    fn leg(&mut self) -> Value {
        let mut leg = match self.codec {
            Codec::Opus => plain(&self.peer, "opus", 111),
            Codec::Pcmu => plain(&self.peer, "pcmu", 0),
        };
        if let Kind::Ice(_) = self.kind {
            leg["transport"] = json!({"kind": "ice", "local_ufrag": UFRAG,
                                      "local_password": PASSWORD, "remote_ufrag": "peer"});
        }
        if let Some(profile) = self.kind.profile() {
            let bytes = profile.key_bytes() + profile.salt_bytes();
            let [send, receive] = [(); 2].map(|()| {
                let key: Vec<u8> = (0..bytes).map(|_| rand::rng().random()).collect();
                MasterKey::from_bytes(profile, &key).unwrap()
            });
            leg["security"] = json!({"kind": "srtp", "profile": profile,
                                     "send": send.to_base64(), "receive": receive.to_base64()});
            let sender = Sender::new(&receive, self.peer.header.ssrc);
            self.peer.srtp = Some((sender, Receiver::new(&send)));
        }
        leg
    }

    fn listen(&self, ended: &'static AtomicBool) -> JoinHandle<Vec<Arrival>> {
        let socket = self.peer.socket.try_clone().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        std::thread::spawn(move || {
            let (mut heard, mut buffer) = (Vec::new(), [0; 2048]);
            while !ended.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    heard.push((Instant::now(), from, buffer[..length].to_vec()));
                }
            }
            heard
        })
    }

    /// Everything that it heard is of one source at one address, is authentic, and is on time's line.
    fn judge(&mut self, arrivals: Vec<Arrival>) -> Heard {
        let name = self.name.clone();
        let mut heard = Heard::default();
        let mut last: Option<(Instant, RtpHeader)> = None;
        let clock_khz = if matches!(self.codec, Codec::Opus) { 48 } else { 8 };
        for (at, from, mut bytes) in arrivals {
            heard.sources.insert((from, self.ssrc_of(&mut bytes, &mut heard.reports)));
            let Some((index, header)) = self.open(&mut bytes) else { continue };
            assert!(heard.indexes.insert(index), "{name}: index {index} came twice");
            if let Some((before, last)) = last {
                let hole = at - before;
                heard.longest = heard.longest.max(hole);
                if header.sequence_number != last.sequence_number.next() {
                    heard.holes.push(hole);
                }
                let passed = header.timestamp.distance(last.timestamp);
                assert!(passed > 0, "{name}: time went back by {passed} in {hole:?}");
                // 200 ms ahead, and a resumption may follow another.
                let most = (hole.as_millis() as i32 + 600) * clock_khz;
                assert!(passed <= most, "{name}: time went {passed} ahead in {hole:?}");
            }
            last = Some((at, header));
        }
        assert_eq!(heard.sources.len(), 1, "{name}: {:?}", heard.sources);
        heard
    }

    /// The source; of RTCP, its index is noted.
    fn ssrc_of(&self, bytes: &mut [u8], reports: &mut HashSet<u32>) -> u32 {
        match classify(bytes).unwrap() {
            Protocol::Rtp => RtpPacket::parse(bytes).unwrap().header.ssrc.0,
            Protocol::Rtcp => {
                if let Some(profile) = self.kind.profile() {
                    // The tag of AES-CM comes behind it.
                    let behind = if profile == Profile::AES_CM_128_HMAC_SHA1_80 { 10 } else { 0 };
                    let word = bytes[..bytes.len() - behind].last_chunk().unwrap();
                    let index = u32::from_be_bytes(*word) & 0x7fff_ffff;
                    assert!(reports.insert(index), "{}: SRTCP index {index} twice", self.name);
                }
                u32::from_be_bytes(bytes[4..8].try_into().unwrap())
            }
            other => panic!("{}: {other:?}", self.name),
        }
    }

    /// An RTP packet's index and header.
    fn open(&mut self, bytes: &mut [u8]) -> Option<(u64, RtpHeader)> {
        let is_rtp = classify(bytes) == Ok(Protocol::Rtp);
        let Some((_, receiver)) = &mut self.peer.srtp else {
            let header = RtpPacket::parse(bytes).ok()?.header;
            return is_rtp.then_some((header.sequence_number.0.into(), header));
        };
        if !is_rtp {
            receiver.unprotect_rtcp(bytes).expect("an authentic report");
            return None;
        }
        let length = receiver.unprotect(bytes).expect("an authentic packet");
        let header = RtpPacket::parse(&bytes[..length]).unwrap().header;
        let position = receiver.position(header.ssrc).unwrap();
        Some((position.estimate(header.sequence_number).unwrap().value(), header))
    }
}

#[derive(Default)]
struct Heard {
    sources: HashSet<(SocketAddr, u32)>,
    indexes: HashSet<u64>,
    reports: HashSet<u32>,
    /// Where the numbers do not go on: one is left of each death.
    holes: Vec<Duration>,
    longest: Duration,
}

/// The far ends of all calls, and their calls made in the process.
struct World {
    media: Media,
    control: Control,
    /// The last of each call that the controller was sent, as it may be given.
    snapshots: BTreeMap<String, Value>,
}

impl World {
    fn new() -> (Self, Vec<FarEnd>) {
        let media = Media::start();
        let control = media.controller();
        let mut world = Self { media, control, snapshots: BTreeMap::new() };
        let mut far_ends = Vec::new();
        for (call, [a, b]) in CALLS {
            let mut ends = [FarEnd::new(call, "a", a), FarEnd::new(call, "b", b)];
            let [a, b] = ends.each_mut().map(FarEnd::leg);
            let create = json!({"call": call, "blob": call, "a": a, "b": b});
            let created = world.control.request("create_call", create).unwrap();
            for (end, leg) in ends.iter_mut().zip(["a", "b"]) {
                end.peer.to = address(&created[leg]["rtp"]);
                if let Kind::Ice(_) = end.kind {
                    let remote = json!({"call": call, "leg": leg, "remote": end.peer.address()});
                    world.control.request("update_leg", remote).unwrap();
                }
            }
            if call == NEAR_ITS_WRAP {
                world.begin_elsewhere(call, NEAR_WRAP);
            }
            far_ends.extend(ends);
        }
        world.subscribe();
        (world, far_ends)
    }

    /// Makes a call again, in which leg a has sent so much.
    fn begin_elsewhere(&mut self, call: &str, rtp_index_next: u64) {
        let mut snapshot = self.control.request("snapshot", json!({"call": call})).unwrap();
        snapshot["a"]["resume"]["sent"]["rtp_index_next"] = json!(rtp_index_next);
        self.control.request("delete_call", json!({"call": call})).unwrap();
        self.control.request("create_call", snapshot).unwrap();
    }

    fn subscribe(&mut self) {
        for (call, _) in CALLS {
            let subscribe = json!({"call": call, "of": "snapshot", "interval_ms": SNAPSHOT_MS});
            self.control.request("subscribe", subscribe).unwrap();
        }
    }

    /// Lives for so long, and keeps what it is sent.
    fn live(&mut self, time: Duration) {
        let until = Instant::now() + time;
        let short = Duration::from_millis(5);
        self.control.stream.set_read_timeout(Some(short)).unwrap();
        let (mut lines, mut buffer) = (Vec::new(), [0; 4096]);
        while Instant::now() < until {
            // A line that is read in part would be lost with a line reader.
            if let Ok(length) = std::io::Read::read(&mut self.control.lines, &mut buffer) {
                lines.extend_from_slice(&buffer[..length]);
            }
        }
        // What is cut off at the end is as if it had never come: so it is when a process dies.
        let whole = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let events = std::mem::take(&mut self.control.events);
        let events = events.into_iter().chain(
            lines[..whole]
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .map(|line| serde_json::from_slice::<Value>(line).unwrap()),
        );
        for mut event in events.filter(|event| event["event"] == "call_snapshot") {
            let name = event["call"].as_str().unwrap().to_owned();
            let members = event.as_object_mut().unwrap();
            members.retain(|member, _| member != "event" && member != "sequence");
            self.snapshots.insert(name, event);
        }
    }

    /// Kills the process, starts another and gives it the last snapshots.
    fn kill(&mut self) {
        self.media.succeed();
        self.control = self.media.controller();
        for snapshot in self.snapshots.values_mut() {
            let resumed = self.control.request("create_call", snapshot.clone());
            resumed.unwrap_or_else(|code| panic!("{}: {code}", snapshot["call"]));
            count_use(snapshot);
        }
    }
}

/// A snapshot was given: the indexes that it is to be gone on from are used now, should it be given
/// again because no newer one came.
fn count_use(snapshot: &mut Value) {
    for leg in ["a", "b"] {
        let sent = &mut snapshot[leg]["resume"]["sent"];
        // Only under SRTP there is one of RTCP.
        let Some(reports) = sent["rtcp_index_next"].as_u64() else { continue };
        let packets = sent["rtp_index_next"].as_u64().unwrap();
        sent["rtp_index_next"] = json!(packets + INDEXES_LEFT_OUT);
        sent["rtcp_index_next"] = json!(reports + REPORTS_LEFT_OUT);
    }
}

#[test]
fn killed_again_and_again_every_call_talks_on_and_no_index_is_used_twice() {
    static ENDED: AtomicBool = AtomicBool::new(false);
    let (mut world, mut far_ends) = World::new();
    let listeners: Vec<_> = far_ends.iter().map(|end| end.listen(&ENDED)).collect();
    let talker = std::thread::spawn(move || {
        let arena = OpusArena::new(1).unwrap();
        let mut encoder = arena.encoder(EncoderSettings::default()).unwrap();
        let (mut at, mut payload) = (Instant::now(), [0; 500]);
        for n in 0.. {
            let length = encoder.encode(&tone(n), &mut payload).unwrap();
            for end in &mut far_ends {
                match end.codec {
                    Codec::Opus => end.peer.send(&payload[..length], 960),
                    Codec::Pcmu => end.peer.send(&ulaw(&tone(n)), 160),
                }
                end.said += 1;
            }
            at += PACKET_TIME;
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if ENDED.load(Ordering::Relaxed) {
                break;
            }
        }
        far_ends
    });
    let mut deaths = 0;
    for n in 0..lives() {
        // At another moment between two snapshots each time.
        world.live(LIFE + Duration::from_millis(37 * n as u64 % SNAPSHOT_MS));
        assert_eq!(world.snapshots.len(), CALLS.len());
        world.kill();
        deaths += 1;
        if n % 3 == 1 {
            // The next one dies before its first snapshot.
            std::thread::sleep(SHORT_LIFE);
            world.kill();
            deaths += 1;
        }
        world.subscribe();
    }
    world.live(LIFE);
    let mut observer = world.media.connect();
    for (call, _) in CALLS {
        let statistics = observer.request("query_call", json!({"call": call})).unwrap();
        for leg in ["a", "b"] {
            assert_eq!(statistics[leg]["discards"], json!({}), "{call}, leg {leg}");
        }
    }
    ENDED.store(true, Ordering::Relaxed);

    let mut far_ends = talker.join().unwrap();
    for (end, listener) in far_ends.iter_mut().zip(listeners) {
        let heard = end.judge(listener.join().unwrap());
        println!(
            "{}: {} of {} packets, longest hole {:?}",
            end.name,
            heard.indexes.len(),
            end.said,
            heard.longest
        );
        assert!(heard.longest <= HOLE_MAX, "{}: {:?}", end.name, heard.longest);
        // What was said while somebody was there was heard.
        assert!(heard.holes.len() <= deaths, "{}: {:?}", end.name, heard.holes);
        let packets = |hole: &Duration| hole.as_millis().div_ceil(PACKET_TIME.as_millis()) as usize;
        let missing_max: usize = heard.holes.iter().map(packets).sum::<usize>() + SLACK;
        let missing = end.said - heard.indexes.len();
        assert!(missing <= missing_max, "{}: {missing} in {:?}", end.name, heard.holes);
        if end.kind.profile().is_some() {
            let highest = heard.indexes.iter().max().unwrap();
            assert!(*highest >= deaths as u64 * INDEXES_LEFT_OUT, "{}: {highest}", end.name);
            if end.name.starts_with(NEAR_ITS_WRAP) {
                assert!(*heard.indexes.iter().min().unwrap() < 0x1_0000 && *highest > 0x1_0000);
            }
        }
    }
}
