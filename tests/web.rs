//! The web front against a real TLS and WebSocket client: who gets in, what is said, and how long
//! anybody may take. Time is tokio's own and jumps when both ends wait, so nothing here sleeps.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a wrong number fails its test"
)]
#![allow(clippy::unwrap_used)] // helpers of tests may fail as tests do

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use linecard::config::{Config, Machine};
use linecard::signal::flow::{FlowEvent, FlowId, MESSAGE_BYTES_MAX, Outgoing};
use linecard::signal::web::Web;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A running front and the engine's end of it.
struct Bench {
    address: SocketAddr,
    directory: PathBuf,
    tls: TlsConnector,
    events: mpsc::Receiver<FlowEvent>,
}

impl Bench {
    async fn start(name: &str, signal: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("linecard-web-{name}-{}", std::process::id()));
        let machine = Machine { runtime_directory: directory.clone(), cores: vec![0] };
        let text = format!("[signal]\nwss = \"127.0.0.1:0\"\n{signal}");
        let config = Config::parse(&text, &machine).unwrap();
        let web = Web::bind(&config.signal).await.unwrap();
        let address = web.local_address().unwrap();
        let (sender, events) = mpsc::channel(64);
        tokio::spawn(web.serve(sender));

        // The client trusts this very certificate, and checks the address in it.
        let mut roots = RootCertStore::empty();
        let certificate = directory.join("certificate.pem");
        roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { address, directory, tls: TlsConnector::from(Arc::new(config)), events }
    }

    async fn tls(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        self.tls.connect(ServerName::from(self.address.ip()), stream).await
    }

    /// One HTTP request as it is written, and everything that comes back.
    async fn http(&self, request: &str) -> String {
        let mut stream = self.tls().await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The server may leave without a TLS good-bye.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn open(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Socket, Error> {
        let stream = self.tls().await.map_err(Error::Io)?;
        let mut request = format!("wss://{}{path}", self.address).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        Ok(client_async(request, stream).await?.0)
    }

    /// A WebSocket and what the engine learns of it.
    async fn flow(&mut self) -> (Socket, FlowId, mpsc::Sender<Outgoing>) {
        let socket = self.open("/sip", &[SIP]).await.unwrap();
        match self.events.recv().await.unwrap() {
            FlowEvent::Opened { flow, to_browser, .. } => (socket, flow, to_browser),
            other => panic!("{other:?}"),
        }
    }

    async fn message(&mut self) -> Vec<u8> {
        match self.events.recv().await.unwrap() {
            FlowEvent::Message { bytes, .. } => bytes,
            other => panic!("{other:?}"),
        }
    }

    async fn closed(&mut self, expected: FlowId) {
        match self.events.recv().await.unwrap() {
            FlowEvent::Closed { flow } => assert_eq!(flow, expected),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

const SIP: (&str, &str) = ("sec-websocket-protocol", "sip");

fn status(outcome: Result<Socket, Error>) -> u16 {
    match outcome {
        Ok(_) => 101,
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

async fn close_code(socket: &mut Socket) -> CloseCode {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Close(Some(frame)) => return frame.code,
            Message::Ping(_) => {}
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn the_page_runs_our_own_script_only() {
    let bench = Bench::start("page", "domain = \"example.com\"").await;
    let get = |path: String| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let page = bench.http(&get("/".to_owned())).await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    let lower = page.to_ascii_lowercase();
    for line in [
        "content-security-policy: default-src 'none'; script-src 'self';",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
    ] {
        assert!(lower.contains(line), "{line}");
    }
    assert!(page.contains("content=\"example.com\"") && !page.contains("{{"));

    // Every file that the page and its modules name is there.
    let mut wanted = vec!["phone.css".to_owned(), "phone.js".to_owned()];
    let mut seen = 0;
    while let Some(name) = wanted.get(seen).cloned() {
        let file = bench.http(&get(format!("/{name}"))).await;
        assert!(file.starts_with("HTTP/1.1 200 OK\r\n"), "{name}");
        for import in file.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
            if !wanted.iter().any(|known| known == import) {
                wanted.push(import.to_owned());
            }
        }
        seen += 1;
    }
    assert!(seen > 4);
    assert!(bench.http(&get("/nothing".to_owned())).await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn the_self_signed_certificate_survives_a_restart() {
    let first = Bench::start("restart", "").await;
    let pem = std::fs::read(first.directory.join("certificate.pem")).unwrap();
    let second = Bench::start("restart", "").await;
    assert_eq!(std::fs::read(second.directory.join("certificate.pem")).unwrap(), pem);
    // And it is the one that is served: the client trusts no other.
    second.tls().await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_is_none_is_a_fault_with_its_name() {
    let machine = Machine { runtime_directory: PathBuf::from("/nonexistent"), cores: vec![0] };
    let text = "[signal]\ncertificate = \"/dev/null\"\nkey = \"/dev/null\"\n";
    let config = Config::parse(text, &machine).unwrap();
    let fault = Web::bind(&config.signal).await.err().unwrap().to_string();
    assert!(fault.contains("/dev/null") && fault.contains("[signal].certificate"), "{fault}");
}

#[tokio::test]
async fn messages_pass_both_ways_at_either_path() {
    let mut bench = Bench::start("messages", "").await;
    for (path, number) in [("/sip", 1), ("/", 2)] {
        let mut socket = bench.open(path, &[SIP]).await.unwrap();
        let FlowEvent::Opened { flow, peer, to_browser } = bench.events.recv().await.unwrap()
        else {
            panic!("not opened");
        };
        assert_eq!(flow, FlowId(number));
        assert_eq!(peer.ip(), bench.address.ip());

        socket.send(Message::text("OPTIONS")).await.unwrap();
        assert_eq!(bench.message().await, b"OPTIONS");
        socket.send(Message::binary(b"\xffbinary".to_vec())).await.unwrap();
        assert_eq!(bench.message().await, b"\xffbinary");

        to_browser.send(Outgoing::Message(b"SIP/2.0 200 OK".to_vec())).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("SIP/2.0 200 OK"));
        to_browser.send(Outgoing::Message(vec![0xff])).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary(vec![0xff]));

        drop(to_browser);
        assert_eq!(close_code(&mut socket).await, CloseCode::Normal);
        bench.closed(flow).await;
    }
}

#[tokio::test]
async fn only_the_subprotocol_sip_is_spoken_and_echoed() {
    let bench = Bench::start("subprotocol", "").await;
    assert_eq!(status(bench.open("/sip", &[]).await), 400);
    assert_eq!(status(bench.open("/", &[]).await), 400);
    for other in ["sips", "SIP", "msrp"] {
        let outcome = bench.open("/sip", &[("sec-websocket-protocol", other)]).await;
        assert_eq!(status(outcome), 400, "{other}");
    }
    // The client checks that what is echoed is what it asked for.
    let several = ("sec-websocket-protocol", "msrp, sip");
    assert_eq!(status(bench.open("/sip", &[several]).await), 101);
}

#[tokio::test]
async fn a_foreign_page_is_refused() {
    let bench = Bench::start("origin", "").await;
    let own = format!("https://{}", bench.address);
    for path in ["/sip", "/"] {
        assert_eq!(status(bench.open(path, &[SIP, ("origin", &own)]).await), 101);
        assert_eq!(status(bench.open(path, &[SIP]).await), 101);
        for foreign in ["https://evil.example", "https://127.0.0.1", "null"] {
            let outcome = bench.open(path, &[SIP, ("origin", foreign)]).await;
            assert_eq!(status(outcome), 403, "{foreign}");
        }
    }
    let bench = Bench::start("origins", "allowed_origins = [\"https://phone.example.com\"]").await;
    let listed = ("origin", "https://phone.example.com");
    assert_eq!(status(bench.open("/sip", &[SIP, listed]).await), 101);
    let own = format!("https://{}", bench.address);
    assert_eq!(status(bench.open("/sip", &[SIP, ("origin", &own)]).await), 403);
}

#[tokio::test]
async fn compression_is_never_agreed_to() {
    let bench = Bench::start("compression", "").await;
    let request = format!(
        "GET /sip HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        bench.address
    );
    let mut stream = bench.tls().await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert!(!answer.contains("sec-websocket-extensions"), "{answer}");
}

#[tokio::test]
async fn a_message_is_at_most_64_kib() {
    let mut bench = Bench::start("size", "").await;
    let (mut socket, flow, _to_browser) = bench.flow().await;
    socket.send(Message::text("x".repeat(MESSAGE_BYTES_MAX))).await.unwrap();
    assert_eq!(bench.message().await.len(), MESSAGE_BYTES_MAX);
    socket.send(Message::text("x".repeat(MESSAGE_BYTES_MAX + 1))).await.unwrap();
    bench.closed(flow).await;
    assert_eq!(close_code(&mut socket).await, CloseCode::Size);
}

#[tokio::test]
async fn what_is_not_websocket_ends_the_flow_with_a_code() {
    let mut bench = Bench::start("framing", "").await;
    let (mut socket, flow, _to_browser) = bench.flow().await;
    // A text frame of one byte that is no UTF-8, masked with zeros (RFC 6455 §5.2, §8.1).
    let frame = [0x81, 0x81, 0, 0, 0, 0, 0xff];
    socket.get_mut().write_all(&frame).await.unwrap();
    bench.closed(flow).await;
    assert_eq!(close_code(&mut socket).await, CloseCode::Invalid);

    let (mut socket, flow, _to_browser) = bench.flow().await;
    // The same unmasked, which a client must not send (§5.1).
    socket.get_mut().write_all(&[0x81, 0x01, b'x']).await.unwrap();
    bench.closed(flow).await;
    assert_eq!(close_code(&mut socket).await, CloseCode::Protocol);
}

#[tokio::test]
async fn a_keep_alive_is_answered_and_goes_no_further() {
    let mut bench = Bench::start("keep-alive", "").await;
    let (mut socket, _, _to_browser) = bench.flow().await;
    socket.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("\r\n"));
    socket.send(Message::text("\r\n")).await.unwrap();
    socket.send(Message::text("")).await.unwrap();
    socket.send(Message::text("REGISTER")).await.unwrap();
    assert_eq!(bench.message().await, b"REGISTER");
}

#[tokio::test]
async fn headers_are_bounded() {
    let bench = Bench::start("headers", "").await;
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(9000));
    assert!(bench.http(&long).await.starts_with("HTTP/1.1 431 "));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(70));
    assert!(bench.http(&many).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn an_engine_that_drops_the_flow_closes_it() {
    let mut bench = Bench::start("dropped", "").await;
    let (mut socket, flow, to_browser) = bench.flow().await;
    drop(to_browser);
    bench.closed(flow).await;
    assert_eq!(close_code(&mut socket).await, CloseCode::Normal);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_after_five_seconds() {
    let bench = Bench::start("slow", "").await;
    let started = Instant::now();
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    assert!((5..6).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());

    // The same for one that shakes hands and then takes its time with the header.
    let started = Instant::now();
    let mut stream = bench.tls().await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert!((5..6).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stranger_has_thirty_seconds_and_a_user_has_time() {
    let mut bench = Bench::start("stranger", "").await;
    let started = Instant::now();
    let (mut stranger, flow, _to_browser) = bench.flow().await;
    assert_eq!(close_code(&mut stranger).await, CloseCode::Policy);
    bench.closed(flow).await;
    assert!((30..31).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());

    let (mut user, _, to_browser) = bench.flow().await;
    to_browser.send(Outgoing::Authenticated).await.unwrap();
    // It answers pings, being read, and stays for an hour.
    let hour = tokio::time::timeout(Duration::from_secs(3600), async {
        while let Some(Ok(Message::Ping(_))) = user.next().await {}
    });
    assert!(hour.await.is_err(), "the connection ended");
}

#[tokio::test(start_paused = true)]
async fn a_user_who_answers_no_ping_is_gone_after_two_misses() {
    let mut bench = Bench::start("ping", "").await;
    let started = Instant::now();
    let (_unread, flow, to_browser) = bench.flow().await;
    to_browser.send(Outgoing::Authenticated).await.unwrap();
    bench.closed(flow).await;
    assert!((75..76).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn one_source_holds_a_bounded_number_of_unauthenticated_connections() {
    const STRANGERS_MAX: usize = 128;
    let mut bench = Bench::start("strangers", "").await;
    let (_user, _, to_browser) = bench.flow().await;
    let mut idle = Vec::new();
    for _ in 1..STRANGERS_MAX {
        idle.push(TcpStream::connect(bench.address).await.unwrap());
    }
    let mut one_more = TcpStream::connect(bench.address).await.unwrap();
    let refused = one_more.read(&mut [0; 1]).await;
    assert!(matches!(refused, Ok(0) | Err(_)), "{refused:?}");

    // The place of one who has authenticated is free again.
    to_browser.send(Outgoing::Authenticated).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(10), async {
        while bench.open("/sip", &[SIP]).await.is_err() {}
    });
    next.await.expect("a place");
}
