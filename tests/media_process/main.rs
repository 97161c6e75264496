//! The media process as its users meet it: the real binary, its control socket, real UDP.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a wrong number fails its test"
)]
#![allow(clippy::unwrap_used)] // helpers of tests may fail as tests do

mod exhaustion;
mod kill;
mod memory;
mod pause;
mod play;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use linecard::audio::g711::{self, Law};
use linecard::audio::opus::{EncoderSettings, OpusArena};
use linecard::ice::check::{self, Expected};
use linecard::srtp::keys::{MasterKey, Profile};
use linecard::srtp::protect::{Receiver, Sender};
use linecard::wire::rtp::{PayloadType, RtpHeader, RtpPacket, RtpTimestamp, SequenceNumber, Ssrc};
use linecard::wire::stun::{self, BindingRequest, Class, Message, Role, TransactionId};
use linecard::wire::telephone_event::{Digit, TelephoneEvent};
use rand::RngExt;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(10);

/// A running media process; it ends with the test.
struct Media {
    child: Child,
    directory: PathBuf,
}

impl Media {
    fn start() -> Self {
        Self::start_with("")
    }

    fn start_with(more: &str) -> Self {
        Self::start_under("", 40, more)
    }

    /// Starts it with so many port pairs from a shell that did `limits` before.
    fn start_under(limits: &str, pairs: u16, more: &str) -> Self {
        for _ in 0..20 {
            let port = rand::rng().random_range(10_000..30_000_u16) & !1;
            let directory = std::env::temp_dir().join(format!("linecard-test-{port}"));
            if UdpSocket::bind(("127.0.0.1", port)).is_err() || directory.exists() {
                continue;
            }
            std::fs::create_dir(&directory).unwrap();
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).unwrap();
            let config = directory.join("linecard.toml");
            let text = format!(
                "[media]\ncontrol = \"{}/media.sock\"\ncores = [0]\nbrowser_port = {port}\n\
                 trunk_ports = \"{}-{}\"\n{more}",
                directory.display(),
                port + 2,
                port + 1 + 2 * pairs,
            );
            std::fs::write(&config, text).unwrap();
            let media = Self { child: Self::spawn(limits, &config), directory };
            if media.is_served() {
                return media;
            }
        }
        panic!("the media process did not start");
    }

    fn spawn(limits: &str, config: &Path) -> Child {
        Command::new("sh")
            .args(["-c", &format!("{limits}\nexec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_linecard"))
            .arg("media")
            .arg("--config")
            .arg(config)
            .stderr(Stdio::null())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Kills it (SIGKILL) and starts another at once in its place: same configuration, same ports.
    fn succeed(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::spawn("", &self.directory.join("linecard.toml"));
        assert!(self.is_served(), "no other media process started");
    }

    /// Waits until somebody serves the control socket.
    fn is_served(&self) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if UnixStream::connect(self.socket()).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("media.sock")
    }

    fn connect(&self) -> Control {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut control = Control {
            lines: BufReader::new(stream.try_clone().unwrap()),
            stream,
            events: Vec::new(),
            greeting: Value::Null,
        };
        control.greeting = control.line().unwrap();
        control
    }

    fn controller(&self) -> Control {
        let mut control = self.connect();
        control.request("take_control", json!({})).unwrap();
        control
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A control connection.
struct Control {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
    events: Vec<Value>,
    greeting: Value,
}

impl Control {
    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    fn send(&mut self, line: &str) {
        self.stream.write_all(line.as_bytes()).unwrap();
        self.stream.write_all(b"\n").unwrap();
    }

    fn reply(&mut self) -> Value {
        loop {
            let line = self.line().expect("a reply");
            if line.get("event").is_none() {
                return line;
            }
            self.events.push(line);
        }
    }

    fn request(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        self.send(&json!({"id": 7, "command": command, "arguments": arguments}).to_string());
        let reply = self.reply();
        assert_eq!(reply["id"], 7);
        match reply.get("result") {
            Some(result) => Ok(result.clone()),
            None => Err(reply["error"]["code"].as_str().unwrap().to_owned()),
        }
    }

    /// The next event of this kind.
    fn event(&mut self, kind: &str) -> Value {
        loop {
            if let Some(place) = self.events.iter().position(|event| event["event"] == kind) {
                return self.events.remove(place);
            }
            let line = self.line().expect("an event");
            self.events.push(line);
        }
    }
}

/// A far end: a socket, and SRTP if it has keys.
struct Peer {
    socket: UdpSocket,
    to: SocketAddr,
    srtp: Option<(Sender, Receiver)>,
    header: RtpHeader,
}

impl Peer {
    fn new(payload_type: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let to = socket.local_addr().unwrap();
        let header = RtpHeader {
            marker: false,
            payload_type: PayloadType::new(payload_type).unwrap(),
            sequence_number: SequenceNumber(100),
            timestamp: RtpTimestamp(5000),
            ssrc: Ssrc(77),
        };
        Self { socket, to, srtp: None, header }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn send(&mut self, payload: &[u8], units: u32) {
        let mut packet = vec![0; 12 + payload.len() + 32];
        self.header.write(packet.first_chunk_mut().unwrap());
        packet[12..12 + payload.len()].copy_from_slice(payload);
        let mut length = 12 + payload.len();
        if let Some((sender, _)) = &mut self.srtp {
            length = sender.protect(&mut packet, length).unwrap();
        }
        self.socket.send_to(&packet[..length], self.to).unwrap();
        self.header.sequence_number = self.header.sequence_number.next();
        self.header.timestamp = self.header.timestamp + units;
    }

    /// The next RTP packet: header and payload.
    fn receive(&mut self) -> (RtpHeader, Vec<u8>) {
        let mut buffer = [0; 2048];
        let (mut length, _) = self.socket.recv_from(&mut buffer).expect("a packet");
        if let Some((_, receiver)) = &mut self.srtp {
            length = receiver.unprotect(&mut buffer[..length]).expect("an authentic packet");
        }
        let packet = RtpPacket::parse(&buffer[..length]).unwrap();
        (packet.header, packet.payload.to_vec())
    }
}

fn tone(n: usize) -> Vec<i16> {
    let sample =
        |n: usize| (8_000.0 * (n as f64 * 440.0 * std::f64::consts::TAU / 8e3).sin()) as i16;
    (n * 160..(n + 1) * 160).map(sample).collect()
}

fn power(pcm: &[i16]) -> f64 {
    pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / pcm.len() as f64
}

fn ulaw(pcm: &[i16]) -> Vec<u8> {
    let mut payload = vec![0; pcm.len()];
    g711::encode(Law::Mu, pcm, &mut payload);
    payload
}

fn address(value: &Value) -> SocketAddr {
    value.as_str().unwrap().parse().unwrap()
}

/// Sends a tone both ways between an SRTP/Opus peer and a PCMU peer and asserts that it is heard.
fn talk(a: &mut Peer, b: &mut Peer) {
    let arena = OpusArena::new(1).unwrap();
    let mut encoder = arena.encoder(EncoderSettings::default()).unwrap();
    let mut decoder = arena.decoder().unwrap();
    let mut heard: Option<(RtpHeader, RtpHeader)> = None;
    for n in 0..25 {
        let mut payload = [0; 500];
        let length = encoder.encode(&tone(n), &mut payload).unwrap();
        a.send(&payload[..length], 960);
        b.send(&ulaw(&tone(n)), 160);
        let (at_b, payload) = b.receive();
        let mut pcm = [0; 160];
        g711::decode(Law::Mu, &payload, &mut pcm);
        let (at_a, payload) = a.receive();
        let mut pcm_a = [0; 960];
        let samples = decoder.decode(&payload, &mut pcm_a).unwrap();
        assert_eq!((payload.len() < 300, samples), (true, 160));
        if n > 5 {
            assert!(power(&pcm) > 1e6 && power(&pcm_a[..samples]) > 1e6, "packet {n} is silent");
        }
        if let Some((last_a, last_b)) = heard {
            assert_eq!(at_a.timestamp.distance(last_a.timestamp), 960);
            assert_eq!(at_b.timestamp.distance(last_b.timestamp), 160);
            assert_eq!(at_a.sequence_number, last_a.sequence_number.next());
            assert_eq!(at_b.sequence_number, last_b.sequence_number.next());
        }
        heard = Some((at_a, at_b));
    }
}

#[test]
fn the_example_client_sets_up_a_transcoded_call() {
    let media = Media::start();
    let (mut a, mut b) = (Peer::new(111), Peer::new(0));
    let mut client = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/transcode_call.py"))
        .arg(media.socket())
        .args([a.address().to_string(), b.address().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(client.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let created: Value = serde_json::from_str(&line).unwrap();
    a.to = address(&created["a"]["rtp"]);
    b.to = address(&created["b"]["rtp"]);
    let key = |field: &str| {
        let text = created["keys"][field].as_str().unwrap();
        MasterKey::from_base64(Profile::AES_CM_128_HMAC_SHA1_80, text).unwrap()
    };
    // What media sends, the peer receives.
    a.srtp = Some((Sender::new(&key("receive"), a.header.ssrc), Receiver::new(&key("send"))));
    talk(&mut a, &mut b);

    client.stdin.take().unwrap().write_all(b"\n").unwrap();
    line.clear();
    output.read_line(&mut line).unwrap();
    let statistics: Value = serde_json::from_str(&line).unwrap();
    assert!(client.wait().unwrap().success());
    for leg in ["a", "b"] {
        assert_eq!(statistics[leg]["packets_received"], 25, "{statistics}");
        assert_eq!(statistics[leg]["packets_sent"], 25);
        assert_eq!(statistics[leg]["packets_lost"], 0);
        assert_eq!(statistics[leg]["discards"], json!({}));
    }
}

/// The arguments of a plain leg.
fn plain(peer: &Peer, codec: &str, payload_type: u8) -> Value {
    let coding = json!({"codec": codec, "payload_type": payload_type});
    let events =
        json!({"payload_type": 101, "clock_hz": if codec == "opus" { 48_000 } else { 8_000 }});
    json!({
        "transport": {"kind": "plain", "remote": peer.address()},
        "format": {"send": coding, "receive": [coding],
                   "send_events": events, "receive_events": [events]},
    })
}

#[test]
fn every_protection_profile_talks() {
    let media = Media::start();
    let mut control = media.controller();
    for (profile, name, bytes) in [
        (Profile::AES_CM_128_HMAC_SHA1_80, "AES_CM_128_HMAC_SHA1_80", 30),
        (Profile::AEAD_AES_128_GCM, "AEAD_AES_128_GCM", 28),
        (Profile::AEAD_AES_256_GCM, "AEAD_AES_256_GCM", 44),
    ] {
        let (mut a, mut b) = (Peer::new(111), Peer::new(0));
        let key = || (0..bytes).map(|_| rand::rng().random()).collect::<Vec<u8>>();
        let (send, receive) = (key(), key());
        let mut leg = plain(&a, "opus", 111);
        leg["security"] = json!({"kind": "srtp", "profile": name,
            "send": BASE64.encode(&send), "receive": BASE64.encode(&receive)});
        let created = control
            .request("create_call", json!({"call": name, "a": leg, "b": plain(&b, "pcmu", 0)}))
            .unwrap();
        a.to = address(&created["a"]["rtp"]);
        b.to = address(&created["b"]["rtp"]);
        let master = |bytes: &[u8]| MasterKey::from_bytes(profile, bytes).unwrap();
        a.srtp = Some((Sender::new(&master(&receive), Ssrc(77)), Receiver::new(&master(&send))));
        talk(&mut a, &mut b);
        // The same keys again change nothing; the talk goes on.
        let security = leg["security"].clone();
        control
            .request("update_leg", json!({"call": name, "leg": "a", "security": security}))
            .unwrap();
        b.send(&ulaw(&tone(0)), 160);
        a.receive();
        let statistics = control.request("delete_call", json!({"call": name})).unwrap();
        assert_eq!(statistics["a"]["discards"], json!({}));
    }
}

#[test]
fn strangers_are_not_heard_and_garbage_is_counted() {
    let media = Media::start();
    let mut control = media.controller();
    let (mut a, mut b, mut stranger) = (Peer::new(0), Peer::new(0), Peer::new(0));
    let created = control
        .request(
            "create_call",
            json!({"call": "c", "a": plain(&a, "pcmu", 0), "b": plain(&b, "pcmu", 0)}),
        )
        .unwrap();
    a.to = address(&created["a"]["rtp"]);
    b.to = address(&created["b"]["rtp"]);
    stranger.to = a.to;
    (0..20).for_each(|_| stranger.send(&[1; 160], 160));
    a.socket.send_to(&[0x80; 7], a.to).unwrap();
    a.socket.send_to(&[0xFF; 300], a.to).unwrap();
    let browser = address(&control.greeting["threads"][0]["browser"]);
    stranger.socket.send_to(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], browser).unwrap();
    stranger.socket.send_to(&[0x50; 40], browser).unwrap();

    a.send(&ulaw(&tone(3)), 160);
    let (_, payload) = b.receive();
    assert_eq!(payload, ulaw(&tone(3)), "the first that b hears is a");
    let statistics = control.request("query_call", json!({"call": "c"})).unwrap();
    assert_eq!(statistics["a"]["packets_received"], 1);
    let discards = &statistics["a"]["discards"];
    assert_eq!(discards["truncated"], 1, "{discards}");
    assert_eq!(discards["bad_rtp"], 1, "{discards}");
    let process = control.request("query_process", json!({})).unwrap();
    let discards = &process["threads"][0]["discards"];
    assert_eq!(discards["unknown_source"], 20 + 1, "those of the call are among them: {discards}");
    assert_eq!(discards["unknown_protocol"], 1, "{discards}");
}

const UFRAG: &str = "gate";
const PASSWORD: &str = "0123456789abcdefghijkl";

fn check(username: &str, password: &str) -> Vec<u8> {
    let mut datagram = [0; 512];
    let request = BindingRequest {
        transaction_id: TransactionId([9; 12]),
        username,
        priority: 1,
        role: Role::Controlling(1),
        use_candidate: true,
    };
    let length = stun::write_binding_request(&mut datagram, &request, password.as_bytes()).unwrap();
    datagram[..length].to_vec()
}

#[test]
fn consent_is_answered_in_media_and_everything_else_is_punted() {
    let media = Media::start();
    let mut control = media.controller();
    let (peer, stranger, b) = (Peer::new(111), Peer::new(111), Peer::new(0));
    let ice = json!({"transport": {"kind": "ice", "local_ufrag": UFRAG, "local_password": PASSWORD},
                     "security": {"kind": "pending"}});
    let created = control
        .request("create_call", json!({"call": "c", "a": ice, "b": plain(&b, "pcmu", 0)}))
        .unwrap();
    let browser = address(&created["a"]["rtp"]);
    assert_eq!(created["a"]["rtp"], control.greeting["threads"][0]["browser"]);
    let good = check("gate:peer", PASSWORD);

    // Before nomination everything is signaling's.
    peer.socket.send_to(&good, browser).unwrap();
    let punted = control.event("datagram");
    assert_eq!(address(&punted["from"]), peer.address());
    assert_eq!(BASE64.decode(punted["payload"].as_str().unwrap()).unwrap(), good);
    let answer = json!({"thread": 0, "to": peer.address(), "payload": BASE64.encode(b"answer")});
    control.request("send_datagram", answer).unwrap();
    let mut buffer = [0; 512];
    assert_eq!(peer.socket.recv(&mut buffer).unwrap(), 6);

    let nominated =
        json!({"call": "c", "leg": "a", "remote": peer.address(), "remote_ufrag": "peer"});
    control.request("update_leg", nominated).unwrap();
    peer.socket.send_to(&good, browser).unwrap();
    let length = peer.socket.recv(&mut buffer).unwrap();
    let answered = Message::parse(&buffer[..length]).unwrap();
    assert_eq!(answered.class, Class::Success);
    answered.verify_integrity(PASSWORD.as_bytes()).unwrap();

    for (from, datagram) in [
        (&stranger, good.clone()),                                // another address
        (&peer, check("gate:peer", "wrong-password-wrong-pass")), // another password
        (&peer, check("other:peer", PASSWORD)),                   // another fragment
        (&peer, vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]), // DTLS
    ] {
        from.socket.send_to(&datagram, browser).unwrap();
        let punted = control.event("datagram");
        assert_eq!(BASE64.decode(punted["payload"].as_str().unwrap()).unwrap(), datagram);
    }
    // The library's own answer to the same check is what media sent.
    let expected =
        Expected { local_ufrag: UFRAG, local_password: PASSWORD, remote_ufrag: Some("peer") };
    let mut ours = [0; 512];
    let message = Message::parse(&good).unwrap();
    let answer = check::answer(&message, &expected, peer.address(), &mut ours).unwrap();
    assert_eq!(ours[..answer.length], buffer[..length]);
}

#[test]
fn a_call_outlives_its_controller_and_is_found_again() {
    let media = Media::start();
    let (mut a, mut b) = (Peer::new(0), Peer::new(8));
    let mut control = media.controller();
    let legs = json!({"a": plain(&a, "pcmu", 0), "b": plain(&b, "pcma", 8)});
    let arguments = json!({"call": "c1", "blob": "first", "a": legs["a"], "b": legs["b"]});
    let created = control.request("create_call", arguments).unwrap();
    control.request("park", json!({"call": "c1", "blob": "remember me"})).unwrap();
    a.to = address(&created["a"]["rtp"]);
    b.to = address(&created["b"]["rtp"]);
    let mut other = media.connect();
    assert_eq!(other.request("take_control", json!({})).unwrap_err(), "controlled_elsewhere");
    assert_eq!(other.request("delete_call", json!({"call": "c1"})).unwrap_err(), "not_controller");
    drop(control);

    a.send(&ulaw(&tone(1)), 160);
    assert_eq!(b.receive().1.len(), 160);
    let until = Instant::now() + PATIENCE;
    while other.request("take_control", json!({})).is_err() {
        assert!(Instant::now() < until);
    }
    let list = other.request("list_calls", json!({})).unwrap();
    assert_eq!(list["more"], false);
    assert_eq!(list["calls"][0]["call"], "c1");
    assert_eq!(list["calls"][0]["blob"], "remember me");
    assert_eq!(list["calls"][0]["a"], created["a"]);
    b.send(&[0xD5; 160], 160);
    assert_eq!(a.receive().1.len(), 160);
    other.request("delete_call", json!({"call": "c1"})).unwrap();
    assert_eq!(other.request("list_calls", json!({})).unwrap()["calls"], json!([]));
}

#[test]
fn a_long_list_of_calls_comes_in_pages_that_fit_a_line() {
    let media = Media::start();
    let mut control = media.controller();
    let peer = Peer::new(0);
    let ice =
        json!({"transport": {"kind": "ice", "local_ufrag": UFRAG, "local_password": PASSWORD}});
    for n in 0..10 {
        let arguments = json!({"call": format!("c{n}"), "blob": "\"".repeat(16 * 1024),
                               "a": ice, "b": plain(&peer, "pcmu", 0)});
        control.request("create_call", arguments).unwrap();
    }
    let (mut names, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = control.request("list_calls", json!({"after": after})).unwrap();
        assert!(page.to_string().len() < 64 * 1024);
        let calls = page["calls"].as_array().unwrap();
        names.extend(calls.iter().map(|call| call["call"].as_str().unwrap().to_owned()));
        after = calls.last().unwrap()["call"].clone();
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(names, (0..10).map(|n| format!("c{n}")).collect::<Vec<_>>());
}

#[test]
fn digits_cross_the_control_socket_both_ways() {
    let media = Media::start();
    let mut control = media.controller();
    let (mut a, mut b) = (Peer::new(0), Peer::new(0));
    let created = control
        .request(
            "create_call",
            json!({"call": "c", "a": plain(&a, "pcmu", 0), "b": plain(&b, "pcmu", 0)}),
        )
        .unwrap();
    a.to = address(&created["a"]["rtp"]);
    b.to = address(&created["b"]["rtp"]);
    let digit = json!({"call": "c", "leg": "b", "digit": "7", "duration_ms": 100});
    control.request("send_digit", digit).unwrap();
    let mut ends = 0;
    while ends < 3 {
        let (header, payload) = b.receive();
        assert_eq!(header.payload_type.value(), 101);
        let event = TelephoneEvent::parse(&payload).unwrap();
        assert_eq!(event.digit(), Digit::from_char('7'));
        ends += i32::from(event.end);
    }

    a.header.payload_type = PayloadType::new(101).unwrap();
    for (end, duration) in [(false, 160), (false, 800), (true, 960)] {
        let mut payload = [0; 4];
        TelephoneEvent { event: 11, end, volume: 10, duration }.write(&mut payload);
        a.send(&payload, 0);
    }
    let event = control.event("telephone_event");
    assert_eq!((&event["digit"], &event["duration_ms"]), (&json!("#"), &json!(120)));
    assert_eq!((&event["call"], &event["leg"]), (&json!("c"), &json!("a")));
}

#[test]
fn subscribed_statistics_come_until_the_call_ends() {
    let media = Media::start();
    let mut control = media.controller();
    let (a, b) = (Peer::new(0), Peer::new(0));
    let legs = json!({"call": "c", "a": plain(&a, "pcmu", 0), "b": plain(&b, "pcmu", 0)});
    control.request("create_call", legs).unwrap();
    let mut observer = media.connect();
    observer.request("subscribe", json!({"interval_ms": 100, "call": "c"})).unwrap();
    observer.request("subscribe", json!({"interval_ms": 100})).unwrap();
    let first = observer.event("call_statistics");
    let second = observer.event("call_statistics");
    assert!(second["sequence"].as_u64() > first["sequence"].as_u64());
    assert_eq!(first["call"], "c");
    let process = observer.event("process_statistics");
    assert_eq!(process["threads"][0]["calls"], 1);
    control.request("delete_call", json!({"call": "c"})).unwrap();
    let gone = |process: &Value| process["threads"][0]["calls"] == 0;
    let until = Instant::now() + PATIENCE;
    while !gone(&observer.event("process_statistics")) {
        assert!(Instant::now() < until);
    }
    observer.request("subscribe", json!({"interval_ms": 0})).unwrap();
}

#[test]
fn every_refusal_has_its_name() {
    let media = Media::start_with("calls_per_core = 1\n");
    let mut control = media.connect();
    let peer = Peer::new(0);
    let leg = plain(&peer, "pcmu", 0);
    let call = |name: &str| json!({"call": name, "a": leg, "b": leg});
    assert_eq!(control.request("create_call", call("x")).unwrap_err(), "not_controller");
    control.request("take_control", json!({})).unwrap();
    control.request("take_control", json!({})).unwrap();
    control.request("create_call", call("x")).unwrap();

    let mut opus_and_g711 = plain(&peer, "opus", 111);
    opus_and_g711["format"]["receive"] =
        json!([{"codec": "opus", "payload_type": 111}, {"codec": "pcmu", "payload_type": 0}]);
    let long = "b".repeat(16 * 1024 + 1);
    for (code, command, arguments) in [
        ("call_exists", "create_call", call("x")),
        ("no_capacity", "create_call", call("y")),
        ("bad_arguments", "create_call", call("")),
        ("bad_arguments", "create_call", json!({"call": "z"})),
        ("bad_arguments", "create_call", json!({"call": "z", "a": 1, "b": leg})),
        ("bad_arguments", "park", json!({"call": "x", "blob": long})),
        ("unknown_call", "delete_call", json!({"call": "nobody"})),
        ("unknown_call", "query_call", json!({"call": "nobody"})),
        ("unknown_call", "park", json!({"call": "nobody", "blob": ""})),
        ("unknown_call", "update_leg", json!({"call": "nobody", "leg": "a"})),
        ("bad_arguments", "update_leg", json!({"call": "x", "leg": "c"})),
        (
            "bad_arguments",
            "update_leg",
            json!({"call": "x", "leg": "a", "security": {"kind": "srtp",
                "profile": "AEAD_AES_128_GCM", "send": "AAAA", "receive": "AAAA"}}),
        ),
        ("bad_arguments", "send_digit", json!({"call": "x", "leg": "a", "digit": "x"})),
        (
            "unknown_thread",
            "send_datagram",
            json!({"thread": 9, "to": "127.0.0.1:9", "payload": "AA=="}),
        ),
        (
            "bad_arguments",
            "send_datagram",
            json!({"thread": 0, "to": "127.0.0.1:9", "payload": "?"}),
        ),
        ("bad_arguments", "subscribe", json!({"interval_ms": 1})),
        ("unknown_command", "open_the_pod_bay_doors", json!({})),
    ] {
        assert_eq!(control.request(command, arguments).unwrap_err(), code, "{command}");
    }
    control.request("delete_call", json!({"call": "x"})).unwrap();
    let mixed = json!({"call": "m", "a": opus_and_g711, "b": plain(&peer, "opus", 111)});
    assert_eq!(control.request("create_call", mixed).unwrap_err(), "unsupported");
    control.request("create_call", call("y")).unwrap();
}

#[test]
fn what_is_not_understood_is_refused_by_name_and_changes_nothing() {
    let media = Media::start();
    let mut control = media.controller();
    let peer = Peer::new(0);
    let leg = plain(&peer, "pcmu", 0);
    let mut refusal = |command: &str, arguments: Value| {
        control.send(&json!({"id": 7, "command": command, "arguments": arguments}).to_string());
        let reply = control.reply();
        let error = &reply["error"];
        let code = error["code"].as_str().unwrap_or_else(|| panic!("not refused: {reply}"));
        (code.to_owned(), error["message"].as_str().unwrap().to_owned())
    };
    let with = |member: &str, value: Value| {
        let mut changed = leg.clone();
        changed[member] = value;
        json!({"call": "c", "a": leg, "b": changed})
    };
    // A leg whose misspelt keys were passed over would talk in the clear.
    for (member, value, place) in [
        ("securty", json!({"kind": "pending"}), "b.securty: unknown"),
        ("security", json!({"kind": "pending", "profile": 1}), "b.security.profile: unknown"),
        ("security", json!({"kind": "srtp"}), "b.security.profile: missing"),
        ("transport", json!({"kind": "plain", "remot": null}), "b.transport.remot: unknown"),
        ("format", json!({"send": {"codec": "opus"}}), "b.format.send.payload_type: missing"),
    ] {
        let (code, message) = refusal("create_call", with(member, value));
        assert_eq!(code, "bad_arguments");
        assert!(message.starts_with(place), "{message}");
    }
    // What the media process checks beyond types names the leg as well.
    let mut format = leg["format"].clone();
    format["send"]["packet_ms"] = json!(25);
    let (code, message) = refusal("create_call", with("format", format));
    assert_eq!(code, "bad_arguments");
    assert!(message.starts_with("b.format.send.packet_ms: "), "{message}");
    let (code, message) = refusal("ping", json!({"colour": "red"}));
    assert_eq!((code.as_str(), message.starts_with("colour: ")), ("bad_arguments", true));
    assert_eq!(control.request("list_calls", json!({})).unwrap()["calls"], json!([]));
    assert_eq!(control.greeting["compatible"], json!([1, 2]));
}

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    let media = Media::start();
    let mut control = media.controller();
    for (garbage, code) in [
        ("this is not JSON".to_owned(), "bad_json"),
        ("[1, 2".to_owned(), "bad_json"),
        ("x".repeat(70_000), "line_too_long"),
    ] {
        let mut other = media.connect();
        // It may have heard enough before it was told everything.
        let _ = writeln!(other.stream, "{garbage}");
        assert_eq!(other.reply()["error"]["code"], code);
        assert!(other.line().is_none(), "the connection ends");
    }
    for (request, code) in
        [(r#"{"command": "ping"}"#, "bad_request"), (r#"{"id": 1}"#, "bad_request")]
    {
        control.send(request);
        assert_eq!(control.reply()["error"]["code"], code);
    }
    control.request("ping", json!({})).unwrap();
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let media = Media::start();
    let mut deaf = media.connect();
    let mut control = media.controller();
    deaf.stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let line = "{\"id\":1,\"command\":\"query_process\"}\n".repeat(100);
    let until = Instant::now() + PATIENCE;
    while deaf.stream.write_all(line.as_bytes()).is_ok() {
        assert!(Instant::now() < until, "it was never cut off");
    }
    control.request("ping", json!({})).unwrap();
}

#[test]
fn a_second_media_process_on_the_same_socket_is_refused_with_what_to_do() {
    let media = Media::start();
    let output = Command::new(env!("CARGO_BIN_EXE_linecard"))
        .args(["media", "--config"])
        .arg(media.directory.join("linecard.toml"))
        .stdin(Stdio::piped())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("another media process") && message.contains("what to do"),
        "{message}"
    );
    media.connect();
}

#[test]
fn a_call_too_many_for_the_core_is_refused_with_a_time_to_try_again() {
    let media = Media::start_with("load_max_percent = 10\n");
    let mut control = media.controller();
    let leg = |codec: &str, payload_type: u8| {
        let coding = json!({"codec": codec, "payload_type": payload_type});
        json!({
            "transport": {"kind": "ice", "local_ufrag": "fragment",
                          "local_password": "a password of many characters"},
            "security": {"kind": "pending"},
            "format": {"send": coding, "receive": [coding]},
        })
    };
    let call = |name: usize| json!({"call": format!("c{name}"), "a": leg("opus", 111), "b": leg("pcmu", 0)});
    let room = control.request("query_process", json!({})).unwrap()["threads"][0]["calls_max"]
        .as_u64()
        .unwrap() as usize;
    let mut made = 0;
    let refusal = loop {
        control.send(
            &json!({"id": made, "command": "create_call", "arguments": call(made)}).to_string(),
        );
        let reply = control.reply();
        if let Some(error) = reply.get("error") {
            break error.clone();
        }
        made += 1;
        assert!(made < 1_000, "nothing is refused");
    };
    assert_eq!(refusal["code"], "overloaded");
    assert!(refusal["retry_after_ms"].as_u64().unwrap() >= 1_000);
    // The price of a call moves a little while calls are made.
    assert!((room / 2..=room * 2).contains(&made), "{made} calls, room for {room}");
    let process = control.request("query_process", json!({})).unwrap();
    assert_eq!(process["calls_refused"], 1);
    for gone in 0..made / 2 {
        control.request("delete_call", json!({"call": format!("c{gone}")})).unwrap();
    }
    control.request("create_call", call(made)).unwrap();
}
