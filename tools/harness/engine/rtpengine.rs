//! rtpengine, driven over its NG protocol (bencode over UDP) as Kamailio drives it: Debian's, started
//! on the engine's core, or one that runs. The browser's leg is keyed by SDES, so that no handshake is
//! measured; what recurs during a call is the same.

use std::fs;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::bencode::Bencode;
use super::{CallPlace, CallRequest, Engine, Heard, NoCall};
use crate::ends::material::BrowserKind;
use crate::machine::Priority;
use crate::machine::process::{Process, engine_program};

const PROGRAM: &str = "rtpengine";
const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";
/// Four ports a call; below the ports that the kernel hands out by itself.
const PORTS: [u16; 2] = [20_000, 31_999];
/// For the process to answer its first ping.
const PATIENCE: Duration = Duration::from_secs(10);
/// For one answer; a request is repeated under the same cookie as often as this.
const ANSWER_TIME: Duration = Duration::from_millis(1_000);
const TRIES: usize = 4;
/// The largest answer: an SDP of two codecs is under 1 KB.
const ANSWER_BYTES_MAX: usize = 16_384;
/// What it says when it has no room.
const REFUSALS: [&str; 2] = ["Parallel session limit reached", "Ran out of ports"];

/// How the peer is to run.
#[derive(Clone, Debug)]
pub struct RtpengineSettings {
    /// The NG address of a running one; `None`: Debian's is started.
    pub address: Option<SocketAddr>,
    /// Its core.
    pub core: usize,
    /// Of the process that is started.
    pub priority: Priority,
}

/// A running rtpengine with one media thread.
pub struct Rtpengine {
    started: Option<Child>,
    process: Option<Process>,
    socket: UdpSocket,
    requests: u64,
    version: String,
    arguments: Vec<String>,
    /// Distinguishes this run's calls from another's on a running one.
    run: u32,
}

impl Rtpengine {
    /// Starts one, or goes to the one that runs.
    pub fn start(settings: &RtpengineSettings) -> Result<Self, String> {
        let socket =
            UdpSocket::bind("127.0.0.1:0").map_err(|error| format!("no UDP port: {error}"))?;
        let mut engine = Self {
            started: None,
            process: None,
            socket,
            requests: 0,
            version: "as found running".to_owned(),
            arguments: Vec::new(),
            run: std::process::id(),
        };
        let address = match settings.address {
            Some(address) => address,
            None => engine.spawn(settings)?,
        };
        let about = |error: std::io::Error| format!("ng://{address}: {error}");
        engine.socket.connect(address).map_err(about)?;
        engine.await_pong().map_err(|problem| {
            let hint = "is rtpengine running, with that --listen-ng?";
            format!("ng://{address}: {problem}; {hint}")
        })?;
        Ok(engine)
    }

    fn spawn(&mut self, settings: &RtpengineSettings) -> Result<SocketAddr, String> {
        self.version = version()?;
        let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.map_err(|error| format!("no UDP port: {error}"))?;
        self.arguments = vec![
            "--config-file=none".to_owned(),
            "--foreground".to_owned(),
            "--log-stderr".to_owned(),
            "--log-level=4".to_owned(),
            // No kernel module: it never forwards transcoded streams.
            "--table=-1".to_owned(),
            "--num-threads=1".to_owned(),
            "--interface=127.0.0.1".to_owned(),
            format!("--listen-ng={address}"),
            format!("--port-min={}", PORTS[0]),
            format!("--port-max={}", PORTS[1]),
        ];
        let child = engine_program(PROGRAM, Some(settings.core), settings.priority)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{PROGRAM}: {error}"))?;
        self.process = Some(Process::new(child.id()));
        self.started = Some(child);
        Ok(address)
    }

    fn await_pong(&mut self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let pinged = self.request(Bencode::dictionary([("command", Bencode::text("ping"))]));
            match pinged {
                Ok(answer) if answer.text_of("result") == Some("pong") => return Ok(()),
                Ok(_) => return Err("it does not answer a ping".to_owned()),
                Err(problem) if Instant::now() > until => return Err(problem),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
            if let Some(child) = &mut self.started
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(format!("{PROGRAM} ended as it began, {status}"));
            }
        }
    }

    /// One request and its answer.
    fn request(&mut self, request: Bencode) -> Result<Bencode, String> {
        self.requests += 1;
        let cookie = format!("{}_{}", self.run, self.requests);
        let mut text = format!("{cookie} ");
        request.write(&mut text);
        let mut answer = vec![0; ANSWER_BYTES_MAX];
        for _ in 0..TRIES {
            self.socket.send(text.as_bytes()).map_err(|error| error.to_string())?;
            let until = Instant::now() + ANSWER_TIME;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                let wait = left.max(Duration::from_millis(1));
                self.socket.set_read_timeout(Some(wait)).map_err(|error| error.to_string())?;
                let Ok(length) = self.socket.recv(&mut answer) else { break };
                let mut parts = answer[..length].splitn(2, |byte| *byte == b' ');
                // Answers to what was sent twice come twice.
                if parts.next() == Some(cookie.as_bytes()) {
                    let body = parts.next().and_then(Bencode::read);
                    return body.ok_or_else(|| "an answer that is no bencode".to_owned());
                }
            }
        }
        Err("no answer".to_owned())
    }

    /// A request about a call; its SDP answer.
    fn sdp(&mut self, request: Bencode) -> Result<String, NoCall> {
        let asked = Instant::now();
        let answer = self.request(request)?;
        if answer.text_of("result") == Some("ok") {
            let sdp = answer.text_of("sdp").map(str::to_owned);
            return sdp.ok_or_else(|| NoCall::Failed("an answer without SDP".to_owned()));
        }
        let reason = answer.text_of("error-reason").unwrap_or("no reason given").to_owned();
        let refused = answer.text_of("result") == Some("load limit")
            || REFUSALS.iter().any(|known| reason.contains(known));
        if refused {
            Err(NoCall::Refused { reason, after: asked.elapsed() })
        } else {
            Err(NoCall::Failed(reason))
        }
    }

    fn call_id(&self, number: u16) -> Bencode {
        Bencode::text(format!("load-{}-{number}", self.run))
    }
}

impl Engine for Rtpengine {
    fn create_call(&mut self, call: &CallRequest) -> Result<CallPlace, NoCall> {
        let mut offer = match Bencode::dictionary([
            ("command", Bencode::text("offer")),
            ("call-id", self.call_id(call.number)),
            ("from-tag", Bencode::text("browser")),
            ("ICE", Bencode::text("remove")),
            ("DTLS", Bencode::text("off")),
            ("replace", Bencode::texts(&["origin"])),
            ("rtcp-mux", Bencode::texts(&["demux"])),
            ("transport-protocol", Bencode::text("RTP/AVP")),
            ("sdp", Bencode::text(browser_sdp(call))),
        ]) {
            Bencode::Dictionary(entries) => entries,
            _ => return Err(NoCall::Failed("no offer".to_owned())),
        };
        if call.browser != BrowserKind::Pcmu {
            let codec = Bencode::dictionary([
                ("mask", Bencode::texts(&["opus"])),
                ("transcode", Bencode::texts(&["PCMU"])),
            ]);
            offer.insert("codec".to_owned(), codec);
        }
        let toward_trunk = self.sdp(Bencode::Dictionary(offer))?;
        let toward_browser = self.sdp(Bencode::dictionary([
            ("command", Bencode::text("answer")),
            ("call-id", self.call_id(call.number)),
            ("from-tag", Bencode::text("browser")),
            ("to-tag", Bencode::text("trunk")),
            ("replace", Bencode::texts(&["origin"])),
            ("sdp", Bencode::text(trunk_sdp(call.addresses[1]))),
        ]))?;
        let unusable = |sdp: &str| NoCall::Failed(format!("an SDP that is of no use:\n{sdp}"));
        let trunk = media_address(&toward_trunk).ok_or_else(|| unusable(&toward_trunk))?;
        let browser = media_address(&toward_browser).ok_or_else(|| unusable(&toward_browser))?;
        let key = sdes_key(&toward_browser).ok_or_else(|| unusable(&toward_browser))?;
        Ok(CallPlace {
            to: [browser, trunk],
            consent_check: None,
            browser_receives: Some(key),
            heard: Heard::Engine,
        })
    }

    fn delete_call(&mut self, number: u16) -> Result<(), String> {
        let call_id = self.call_id(number);
        self.request(Bencode::dictionary([
            ("command", Bencode::text("delete")),
            ("call-id", call_id),
            ("from-tag", Bencode::text("browser")),
            ("delete-delay", Bencode::Integer(0)),
        ]))
        .map(|_| ())
    }

    fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn settings(&self) -> Map<String, Value> {
        let settings = json!({
            "engine": "rtpengine",
            "version": self.version,
            "arguments": self.arguments.join(" "),
            "media_threads": 1,
            "codec_library": codec_library(),
            "encoder_toward_browser":
                "its default: 8 kHz or 48 kHz by version, complexity 10, FEC offered but not produced",
            "browser_leg": format!("SDES {SUITE}, rtcp-mux"),
            "trunk_leg": "a port pair a call, RTP, PCMU",
            "offer": "ICE=remove DTLS=off replace=[origin] rtcp-mux=[demux] \
                      transport-protocol=RTP/AVP codec={mask=[opus] transcode=[PCMU]}",
        });
        match settings {
            Value::Object(settings) => settings,
            _ => Map::new(),
        }
    }
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.started {
            // It holds nothing that would have to be saved.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What the installed one calls itself.
fn version() -> Result<String, String> {
    let missing = "install it with: apt-get install rtpengine-daemon";
    let output = Command::new(PROGRAM)
        .arg("--version")
        .output()
        .map_err(|error| format!("{PROGRAM}: {error}; {missing}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find_map(|line| line.strip_prefix("Version:"));
    Ok(line.unwrap_or("unknown").trim().to_owned())
}

/// The codec library that it is linked with, as the package system calls it.
fn codec_library() -> String {
    let status = fs::read_to_string("/var/lib/dpkg/status").unwrap_or_default();
    let package = status.split("\n\n").find(|entry| entry.starts_with("Package: libopus0\n"));
    let version = package.and_then(|entry| {
        entry.lines().find_map(|line| line.strip_prefix("Version: ")).map(str::to_owned)
    });
    version.map_or("unknown".to_owned(), |version| format!("libopus {version}"))
}

fn session(address: SocketAddrV4) -> String {
    let ip = address.ip();
    format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n")
}

fn browser_sdp(call: &CallRequest) -> String {
    let address = call.addresses[0];
    let (session, port) = (session(address), address.port());
    let key = BASE64_STANDARD.encode(call.keys[0]);
    let payload_type = call.browser.payload_type().value();
    let coding = match call.browser {
        BrowserKind::Pcmu => "a=rtpmap:0 PCMU/8000\r\n",
        BrowserKind::Narrowband | BrowserKind::Fullband => {
            "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n"
        }
    };
    format!(
        "{session}m=audio {port} RTP/SAVP {payload_type}\r\n{coding}a=ptime:20\r\na=rtcp-mux\r\n\
         a=crypto:1 {SUITE} inline:{key}\r\na=sendrecv\r\n"
    )
}

fn trunk_sdp(address: SocketAddrV4) -> String {
    let (session, port) = (session(address), address.port());
    format!(
        "{session}m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}

/// Where an SDP wants its audio.
fn media_address(sdp: &str) -> Option<SocketAddrV4> {
    let line = |prefix| sdp.lines().filter_map(move |line| line.strip_prefix(prefix));
    let ip = line("c=IN IP4 ").next_back()?.split(['/', ' ']).next()?.parse().ok()?;
    let port =
        line("m=audio ").next()?.split(' ').next()?.parse().ok().filter(|port| *port != 0)?;
    Some(SocketAddrV4::new(ip, port))
}

/// The SDES key of the suite that was offered (RFC 4568 §9.1).
fn sdes_key(sdp: &str) -> Option<[u8; 30]> {
    let parameters = sdp.lines().find_map(|line| line.strip_prefix("a=crypto:"));
    let mut words = parameters?.split(' ').skip(1);
    let key = words.next().filter(|suite| *suite == SUITE).and(words.next())?;
    let key = key.strip_prefix("inline:")?.split('|').next()?;
    BASE64_STANDARD.decode(key).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ends::material::Red;

    const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
        m=audio 20004 RTP/SAVP 111\r\na=rtpmap:111 opus/48000/2\r\na=sendrecv\r\na=rtcp-mux\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd|2^31\r\n";

    #[test]
    fn an_answer_tells_address_and_key() {
        assert_eq!(media_address(ANSWER), Some("127.0.0.1:20004".parse().unwrap()));
        assert_eq!(sdes_key(ANSWER), Some(std::array::from_fn(|at| at as u8)));
    }

    #[test]
    fn an_answer_that_turns_the_audio_or_the_suite_down_is_of_no_use() {
        assert_eq!(media_address(&ANSWER.replace("20004", "0")), None);
        assert_eq!(sdes_key(&ANSWER.replace("SHA1_80", "SHA1_32")), None);
    }

    #[test]
    fn an_offer_carries_the_browsers_address_and_key() {
        let call = CallRequest {
            number: 7,
            browser: BrowserKind::Fullband,
            red: Red::None,
            addresses: ["127.1.0.7:5000".parse().unwrap(), "127.2.0.7:6000".parse().unwrap()],
            keys: [[1; 30], [2; 30]],
        };
        let sdp = browser_sdp(&call);
        assert_eq!(media_address(&sdp), Some(call.addresses[0]));
        assert_eq!(sdes_key(&sdp), Some([1; 30]));
        assert_eq!(media_address(&trunk_sdp(call.addresses[1])), Some(call.addresses[1]));
    }
}
