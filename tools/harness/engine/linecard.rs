//! The real `linecard media`: started on a configuration of its own, or found running, and driven
//! over its control socket as signaling drives it. What it starts ends when dropped.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::ops::RangeInclusive;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use linecard::audio::ladder::Rung;
use linecard::wire::stun::{self, BindingRequest, Role, TransactionId};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{CallPlace, CallRequest, Counted, Engine, Heard, NoCall};
use crate::machine::Priority;
use crate::machine::process::{Process, engine_program};

/// Versions of the control protocol in which what is done here means the same.
const PROTOCOLS: RangeInclusive<u64> = 1..=2;
/// For the answer to a request.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// For the process to serve its socket, and to end.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(1);
/// Below the ports that the kernel hands out by itself (net.ipv4.ip_local_port_range), which the
/// load generator's sockets take. Pairs that another program holds are passed over.
const TRUNK_PORTS: &str = "20000-31999";
/// What protects leg a: the profile that Chromium picks most of the time.
const PROFILE: &str = "AES_CM_128_HMAC_SHA1_80";
const PASSWORD: &str = "the password of every browser here";
/// Codes of refusals for want of room.
const REFUSALS: [&str; 4] = ["overloaded", "no_capacity", "no_ports", NO_ANSWER];
/// Not a code of the protocol: an engine that is too busy to answer has no room.
const NO_ANSWER: &str = "no answer";

/// Whether the process that is started refuses calls for its core's sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// As configured by default.
    Default,
    /// It takes every call: a search finds what the core carries, not what is let in.
    Lifted,
}

impl Admission {
    /// `[media].load_max_percent`, when it is not the default.
    fn configuration(self) -> &'static str {
        match self {
            Admission::Default => "",
            Admission::Lifted => "load_max_percent = 1000\n",
        }
    }

    /// For the report.
    fn title(self) -> &'static str {
        match self {
            Admission::Default => "by its measure of the core, as configured by default",
            Admission::Lifted => "lifted: load_max_percent = 1000",
        }
    }
}

/// How our engine is to run.
#[derive(Clone, Debug)]
pub struct LinecardSettings {
    /// Of a running one; `None`: one is started.
    pub control: Option<PathBuf>,
    /// What is started; `None`: the one beside this program.
    pub program: Option<PathBuf>,
    /// The core of its media thread.
    pub core: usize,
    /// Of the process that is started.
    pub priority: Priority,
    /// The most calls it is to accept: each takes four descriptors.
    pub calls: u16,
    /// Whether it turns calls down by its own measure of the core.
    pub admission: Admission,
    /// How it encodes toward the browser; `None` leaves the choice to the engine.
    pub rung: Option<Rung>,
    /// What its memory is made of.
    pub pages: Pages,
}

/// What a process's memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// As the allocator chooses: 2 MiB where the kernel has them. A process's size then says how many of
    /// them it has begun.
    Usual,
    /// 4 KiB: its size says what it uses.
    Small,
}

/// A running media process with one thread.
pub struct Linecard {
    settings: LinecardSettings,
    socket: PathBuf,
    /// Ends with this.
    started: Option<Started>,
    process: Process,
    control: BufReader<UnixStream>,
    greeting: Greeting,
    /// A request had no answer in time: what comes later would be taken for the answer to another.
    mute: bool,
    /// By the calls that ended.
    counted: [Counted; 2],
    /// Of the calls, taken last.
    snapshots: Vec<Value>,
}

/// How another process came in the place of one that was killed: milliseconds since then.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Succession {
    /// The kernel had ended the killed one.
    pub ended_ms: f64,
    /// The other one greeted its controller: it has its ports.
    pub served_ms: f64,
    /// It had taken up every call.
    pub resumed_ms: f64,
}

/// What this needs to know of a media process, of any version that it can drive.
struct Greeting {
    version: String,
    protocol: u64,
}

impl Greeting {
    fn read(line: &str) -> Result<Self, String> {
        let greeting: Value = serde_json::from_str(line).unwrap_or_default();
        let (product, version) = (&greeting["product"], &greeting["version"]);
        let (Some("linecard"), Some(version), Some(protocol)) =
            (product.as_str(), version.as_str(), greeting["protocol"].as_u64())
        else {
            return Err("not a media process".to_owned());
        };
        let compatible = greeting["compatible"].as_array().into_iter().flatten();
        let spoken = compatible.filter_map(Value::as_u64).chain([protocol]);
        if !spoken.into_iter().any(|version| PROTOCOLS.contains(&version)) {
            let (first, last) = PROTOCOLS.into_inner();
            return Err(format!(
                "linecard {version} speaks version {protocol} of the control protocol; this program \
                 knows {first} to {last}"
            ));
        }
        Ok(Self { version: version.to_owned(), protocol })
    }
}

struct Started {
    child: Child,
    directory: PathBuf,
}

impl Linecard {
    /// Starts one, or connects to the one that runs.
    pub fn start(settings: &LinecardSettings) -> Result<Self, String> {
        let started = match &settings.control {
            Some(_) => None,
            None => Some(Started::spawn(settings)?),
        };
        let socket = match (&settings.control, &started) {
            (Some(socket), _) => socket.clone(),
            (None, Some(started)) => started.directory.join("media.sock"),
            (None, None) => return Err("no media process".to_owned()),
        };
        let mut started = started;
        let (process, control, greeting) = controlled(&socket, started.as_mut())?;
        let settings = settings.clone();
        let mut engine = Self {
            settings,
            socket,
            started,
            process,
            control,
            greeting,
            mute: false,
            counted: Default::default(),
            snapshots: Vec::new(),
        };
        engine.request("take_control", &json!({})).map_err(|refusal| refusal.message)?;
        Ok(engine)
    }

    /// Takes a snapshot of each of so many calls.
    pub fn take_snapshots(&mut self, calls: u16) -> Result<(), String> {
        self.snapshots.clear();
        for number in 0..calls {
            let snapshot = self.request("snapshot", &json!({"call": name_of(number)}));
            self.snapshots.push(snapshot.map_err(|refusal| refusal.message)?);
        }
        Ok(())
    }

    /// Kills the process that was started (SIGKILL), starts another at once and gives it the calls.
    pub fn die_and_succeed(&mut self) -> Result<Succession, String> {
        let started = self.started.as_mut().ok_or("the process is not ours to kill")?;
        let killed = Instant::now();
        let passed_ms = || killed.elapsed().as_secs_f64() * 1e3;
        started
            .child
            .kill()
            .and_then(|()| started.child.wait())
            .map_err(|error| error.to_string())?;
        let ended_ms = passed_ms();
        started.child = Started::run(&started.directory, &self.settings)?;
        (self.process, self.control, self.greeting) = controlled(&self.socket, Some(started))?;
        let served_ms = passed_ms();
        self.request("take_control", &json!({})).map_err(|refusal| refusal.message)?;
        // They are asked for one behind the other, not each when the one before is answered.
        let line = |snapshot| json!({"id": 1, "command": "create_call", "arguments": snapshot});
        let lines: Vec<String> = std::mem::take(&mut self.snapshots)
            .into_iter()
            .map(|it| line(it).to_string())
            .collect();
        let text = lines.join("\n") + "\n";
        self.control.get_mut().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
        for _ in lines {
            self.answer("create_call").map_err(|refusal| refusal.message)?;
        }
        Ok(Succession { ended_ms, served_ms, resumed_ms: passed_ms() })
    }

    /// One request and its result; events in between are passed over.
    fn request(&mut self, command: &str, arguments: &Value) -> Result<Value, Refusal> {
        if self.mute {
            return Err(no_answer());
        }
        let line = json!({"id": 1, "command": command, "arguments": arguments}).to_string() + "\n";
        let written = self.control.get_mut().write_all(line.as_bytes());
        written.map_err(|error| about(command, &error))?;
        self.answer(command)
    }

    /// The result of a request that was written.
    fn answer(&mut self, command: &str) -> Result<Value, Refusal> {
        let about = |problem: &dyn std::fmt::Display| about(command, problem);
        loop {
            let mut line = String::new();
            match self.control.read_line(&mut line) {
                Ok(0) => return Err(about(&"the media process ended")),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.mute = true;
                    return Err(no_answer());
                }
                Err(error) => return Err(about(&error)),
            }
            let mut reply: Value = serde_json::from_str(&line).map_err(|error| about(&error))?;
            if reply.get("event").is_some() {
                continue;
            }
            if let Some(result) = reply.get_mut("result") {
                return Ok(result.take());
            }
            let text = |field: &str| reply["error"][field].as_str().unwrap_or_default().to_owned();
            return Err(Refusal { code: text("code"), message: about(&text("message")).message });
        }
    }

    fn leg_a(&self, call: &CallRequest) -> Value {
        let [receive, send] = call.keys.map(|key| BASE64_STANDARD.encode(key));
        json!({
            "transport": {"kind": "ice", "local_ufrag": local_ufrag(call.number),
                          "local_password": PASSWORD, "remote_ufrag": "browser"},
            "security": {"kind": "srtp", "profile": PROFILE, "send": send, "receive": receive},
            "format": self.format(call),
        })
    }

    fn format(&self, call: &CallRequest) -> Value {
        let (codec, payload_type) =
            (call.browser.codec_name(), call.browser.payload_type().value());
        let mut send = json!({"codec": codec, "payload_type": payload_type, "packet_ms": 20});
        let receive = json!([{"codec": codec, "payload_type": payload_type}]);
        if codec != "opus" {
            return json!({"send": send, "receive": receive});
        }
        if let Some(encoder) = self.settings.rung {
            send["encoder"] = json!(encoder.settings());
        }
        // With settings of its own a leg repeats whenever it may.
        let repeats = self.settings.rung.is_none_or(Rung::redundancy);
        if let Some(red) = call.red.heard().filter(|_| repeats) {
            send["redundancy"] = json!({"payload_type": red.value()});
        }
        let redundant: Vec<u8> = call.red.sent().iter().map(|red| red.value()).collect();
        json!({"send": send, "receive": receive, "receive_redundancy": redundant})
    }

    fn set_up(&mut self, call: &CallRequest) -> Result<CallPlace, Refusal> {
        let [browser, trunk] = call.addresses;
        let created = self.request(
            "create_call",
            &json!({
                "call": name_of(call.number),
                "a": self.leg_a(call),
                "b": {"transport": {"kind": "plain", "remote": trunk.to_string()},
                      "format": {"send": {"codec": "pcmu", "payload_type": 0, "packet_ms": 20},
                                 "receive": [{"codec": "pcmu", "payload_type": 0}]}},
            }),
        )?;
        self.request(
            "update_leg",
            &json!({"call": name_of(call.number), "leg": "a", "remote": browser.to_string()}),
        )?;
        let to = ["a", "b"].map(|leg| {
            let address = created[leg]["rtp"].as_str().unwrap_or_default().parse();
            match address {
                Ok(SocketAddr::V4(address)) => Ok(address),
                _ => Err(Refusal {
                    code: String::new(),
                    message: format!("create_call: no IPv4 address for leg {leg}"),
                }),
            }
        });
        let [browser_to, trunk_to] = to;
        let to: [SocketAddrV4; 2] = [browser_to?, trunk_to?];
        let consent_check = consent_check(call.number);
        Ok(CallPlace { to, consent_check, browser_receives: None, heard: Heard::Engine })
    }
}

struct Refusal {
    code: String,
    message: String,
}

fn about(command: &str, problem: &dyn std::fmt::Display) -> Refusal {
    Refusal { code: String::new(), message: format!("{command}: {problem}") }
}

fn no_answer() -> Refusal {
    let message = format!("no answer within {} s", ANSWER_TIME.as_secs());
    Refusal { code: NO_ANSWER.to_owned(), message }
}

impl Engine for Linecard {
    fn create_call(&mut self, call: &CallRequest) -> Result<CallPlace, NoCall> {
        let asked = Instant::now();
        self.set_up(call).map_err(|Refusal { code, message }| {
            if REFUSALS.contains(&code.as_str()) {
                NoCall::Refused { reason: code, after: asked.elapsed() }
            } else {
                NoCall::Failed(message)
            }
        })
    }

    fn delete_call(&mut self, number: u16) -> Result<(), String> {
        match self.request("delete_call", &json!({"call": name_of(number)})) {
            Ok(statistics) => {
                for (counted, leg) in self.counted.iter_mut().zip(["a", "b"]) {
                    counted.add(&statistics[leg]);
                }
                Ok(())
            }
            // Its calls end with the process.
            Err(_) if self.mute && self.started.is_some() => Ok(()),
            Err(refusal) => Err(refusal.message),
        }
    }

    fn process(&self) -> Option<&Process> {
        Some(&self.process)
    }

    fn counted(&self) -> Option<[Counted; 2]> {
        Some(self.counted.clone())
    }

    fn control(&self) -> Option<&Path> {
        Some(&self.socket)
    }

    fn call_load_percent(&mut self) -> Option<f64> {
        let process = self.request("query_process", &json!({})).ok()?;
        process["threads"][0]["call_load_percent"].as_f64()
    }

    fn settings(&self) -> Map<String, Value> {
        let choice = "its own choice for what the browser offers, in-band FEC among it";
        let encoder = self.settings.rung.map_or(choice, Rung::name);
        let settings = json!({
            "engine": "linecard media",
            "version": self.greeting.version,
            "protocol": self.greeting.protocol,
            "build": match &self.settings.program {
                Some(program) => program.to_string_lossy().into_owned(),
                None if cfg!(debug_assertions) => "not optimised".to_owned(),
                None => "release".to_owned(),
            },
            "media_threads": 1,
            "admission": self.settings.admission.title(),
            "codec_library": linecard::audio::opus::version(),
            "encoder_toward_browser": encoder,
            "browser_leg": format!("shared port, {PROFILE}"),
            "trunk_leg": "a port pair a call, RTP, PCMU",
        });
        match settings {
            Value::Object(settings) => settings,
            _ => Map::new(),
        }
    }
}

impl Counted {
    /// Adds a leg's final statistics (`delete_call` of the control protocol).
    fn add(&mut self, leg: &Value) {
        let number = |field: &str| leg[field].as_u64().unwrap_or(0);
        let discarded = |reason: &str| leg["discards"][reason].as_u64().unwrap_or(0);
        self.packets_received += number("packets_received");
        self.packets_lost += leg["packets_lost"].as_i64().unwrap_or(0);
        self.packets_reordered += number("packets_reordered");
        self.packets_recovered += number("packets_recovered");
        self.frames_recovered += number("frames_recovered");
        self.frames_concealed += number("frames_concealed");
        self.late += discarded("late");
        self.duplicates += discarded("duplicate") + discarded("replayed");
        self.reports += u64::from(leg["remote_packets_lost"].is_i64());
        let longest = [self.round_trip_ms_max, leg["round_trip_ms"].as_f64()];
        self.round_trip_ms_max = longest.into_iter().flatten().reduce(f64::max);
    }
}

impl Started {
    fn spawn(settings: &LinecardSettings) -> Result<Self, String> {
        let LinecardSettings { core, calls, .. } = settings;
        let name = format!("linecard-load-{}-{}", std::process::id(), free_port()?);
        let directory = std::env::temp_dir().join(name);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| at(&directory, error))?;
        let (socket, config) = (directory.join("media.sock"), directory.join("linecard.toml"));
        let browser_port = free_port()?;
        let text = format!(
            "[media]\ncontrol = {socket:?}\ncores = [{core}]\naddress = \"127.0.0.1\"\n\
             browser_port = {browser_port}\ntrunk_ports = \"{TRUNK_PORTS}\"\n\
             calls_per_core = {calls}\n{}",
            settings.admission.configuration()
        );
        fs::write(&config, text).map_err(|error| at(&config, error))?;
        let child = Self::run(&directory, settings)?;
        Ok(Self { child, directory })
    }

    /// Runs it with what its directory holds.
    fn run(directory: &Path, settings: &LinecardSettings) -> Result<Child, String> {
        let program = settings.program.clone().map_or_else(program_beside, Ok)?;
        let log = directory.join("log");
        let log_file = fs::File::create(&log).map_err(|error| at(&log, error))?;
        let mut command = engine_program(&program, None, settings.priority);
        if settings.pages == Pages::Small {
            command.env("MIMALLOC_ALLOW_THP", "0");
        }
        command
            .args(["media", "--config"])
            .arg(directory.join("linecard.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()
            .map_err(|error| at(&program, error))
    }
}

/// `linecard` lies beside this program.
pub fn program_beside() -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = here.with_file_name("linecard");
    if program.exists() {
        Ok(program)
    } else {
        let place = program.display();
        Err(format!("{place} is not there; build it with: cargo build --release --bin linecard"))
    }
}

/// A connection to it, greeted.
fn controlled(
    socket: &Path,
    started: Option<&mut Started>,
) -> Result<(Process, BufReader<UnixStream>, Greeting), String> {
    let connection = connect(socket, started)?;
    let peer = rustix::net::sockopt::socket_peercred(&connection)
        .map_err(|error| at(socket, error.into()))?;
    let process = Process::new(peer.pid.as_raw_nonzero().get().unsigned_abs());
    let mut control = BufReader::new(connection);
    let mut line = String::new();
    control.read_line(&mut line).map_err(|error| at(socket, error))?;
    let greeting =
        Greeting::read(&line).map_err(|problem| format!("{}: {problem}", socket.display()))?;
    Ok((process, control, greeting))
}

fn connect(socket: &Path, mut started: Option<&mut Started>) -> Result<UnixStream, String> {
    let until = Instant::now() + PATIENCE;
    let connection = loop {
        match UnixStream::connect(socket) {
            Ok(connection) => break connection,
            Err(error) => {
                let Some(started) = started.as_deref_mut() else {
                    let place = socket.display();
                    return Err(format!("--control {place}: {error}; is linecard media running?"));
                };
                if matches!(started.child.try_wait(), Ok(Some(_))) || Instant::now() > until {
                    let log = fs::read_to_string(started.directory.join("log")).unwrap_or_default();
                    return Err(format!("linecard media did not start: {error}\n{log}"));
                }
                std::thread::sleep(POLL);
            }
        }
    };
    connection.set_read_timeout(Some(ANSWER_TIME)).map_err(|error| at(socket, error))?;
    Ok(connection)
}

impl Drop for Started {
    fn drop(&mut self) {
        linecard::os::process::ask_to_end(self.child.id());
        let until = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What a browser asks every few seconds whether it may go on sending (RFC 7675).
fn consent_check(number: u16) -> Option<Vec<u8>> {
    let mut datagram = [0; 512];
    let request = BindingRequest {
        transaction_id: TransactionId([number.to_be_bytes()[1]; 12]),
        username: &format!("{}:browser", local_ufrag(number)),
        priority: 1,
        role: Role::Controlling(1),
        use_candidate: false,
    };
    let length = stun::write_binding_request(&mut datagram, &request, PASSWORD.as_bytes());
    length.map(|length| datagram[..length].to_vec())
}

fn local_ufrag(number: u16) -> String {
    format!("call{number}")
}

/// The name of a call in the control protocol.
pub fn name_of(number: u16) -> String {
    format!("load-{number}")
}

fn free_port() -> Result<u16, String> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
    socket.map(|address| address.port()).map_err(|error| format!("no UDP port: {error}"))
}

fn at(path: &Path, error: std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol_of(line: &str) -> Result<u64, String> {
        Greeting::read(line).map(|greeting| greeting.protocol)
    }

    fn greeting(protocol: u64, compatible: &[u64]) -> String {
        let product = json!({"product": "linecard", "version": "0.1.0", "protocol": protocol,
                             "compatible": compatible, "what_comes_later": {}});
        product.to_string()
    }

    #[test]
    fn both_versions_of_the_protocol_are_driven_and_what_still_understands_them() {
        let first = r#"{"product":"linecard","version":"0.1.0","protocol":1}"#;
        assert_eq!(protocol_of(first), Ok(1));
        assert_eq!(protocol_of(&greeting(2, &[1, 2])), Ok(2));
        assert_eq!(protocol_of(&greeting(3, &[2, 3])), Ok(3));
        assert!(protocol_of(&greeting(3, &[3])).unwrap_err().contains("knows 1 to 2"));
    }

    #[test]
    fn what_greets_as_another_product_or_not_at_all_is_no_media_process() {
        for line in [r#"{"product":"asterisk","version":"1","protocol":1}"#, "{}", "220 ready", ""]
        {
            assert_eq!(protocol_of(line), Err("not a media process".to_owned()), "{line}");
        }
    }
}
