//! A world for the engine: trunks and browsers with the real SIP, ICE, DTLS and SRTP engines on their
//! side, and the real media process on a made-up network. Virtual clock, no sockets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::base::clock::WallAnchor;
use crate::base::random::{self, Random};
use crate::config::{Config, Machine};
use crate::media::rig::Flying;
use crate::signal::engine::Engine;
use crate::signal::flow::FlowId;
use crate::signal::output::Output;
use crate::signal::records::CallRecord;
use crate::sip::transaction::{self, ClientTransactionId, Flow, ServerTransactionId};
use crate::wire::sip::{Method, Reason, Request, Response, Status};

pub use super::media::Media;
pub use super::peer::{Heard, Peer, body, callee_dialog, q850, request, response};
pub use super::webrtc::{WebRtc, certificate_of};

/// Two trunks, two users, two media threads.
pub const CONFIG: &str = r#"
    [media]
    address = "192.0.2.10"
    cores = [0, 1]
    calls_per_core = 8
    [signal]
    domain = "example.com"
    [[user]]
    name = "1001"
    password = "one"
    numbers = ["+442079460018"]
    [[user]]
    name = "1002"
    password = "two"
    [[trunk]]
    name = "carrier-a"
    address = "198.51.100.7:5060"
    [[trunk]]
    name = "carrier-b"
    address = "198.51.100.8:5060"
    codecs = ["PCMA"]
    playout = "paced"
    playout_most_ms = 120
    comfort_noise = true
"#;

/// The trunks of [`CONFIG`], and somebody who is none of them.
pub const TRUNK_A: &str = "198.51.100.7:5060";
pub const TRUNK_B: &str = "198.51.100.8:5060";
pub const STRANGER: &str = "203.0.113.9:5060";

/// What a trunk says of its media.
pub const TRUNK_SDP: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\n\
    c=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0 101\r\n\
    a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

pub struct World {
    pub engine: Engine,
    pub config: Config,
    pub now: Instant,
    pub media: Media,
    pub peers: Vec<Peer>,
    pub records: Vec<CallRecord>,
    pub random: Random,
    /// CSeq of the next REGISTER.
    pub registrations: u32,
    /// Every SIP message and record, in order.
    pub transcript: Vec<String>,
    flows: u64,
    wall: WallAnchor,
}

impl Default for World {
    fn default() -> Self {
        Self::new(CONFIG)
    }
}

impl World {
    pub fn new(config: &str) -> Self {
        Self::seeded(config, 1)
    }

    pub fn seeded(config: &str, seed: u64) -> Self {
        let machine = Machine { runtime_directory: "/run/linecard".into(), cores: vec![0, 1] };
        let config = Config::parse(config, &machine).unwrap();
        let now = Instant::now();
        let wall = WallAnchor::at(now, Duration::from_secs(1_795_356_000));
        let mut world = Self {
            engine: Self::start(&config, wall, seed, now),
            media: Media::new(&config.media, "first", now),
            config,
            now,
            peers: Vec::new(),
            records: Vec::new(),
            random: random::from_seed(98 + seed),
            registrations: 1,
            transcript: Vec::new(),
            flows: 0,
            wall,
        };
        world.connect_control();
        world
    }

    fn start(config: &Config, wall: WallAnchor, seed: u64, now: Instant) -> Engine {
        let certificate = certificate_of(&format!("signaling {seed}"));
        Engine::new(config, certificate, random::from_seed(seed), wall, now)
    }

    // The processes.

    /// The signaling process dies, connections and all, and a new one takes its place.
    pub fn restart_signaling(&mut self) {
        self.media.disconnect();
        self.engine = Self::start(&self.config, self.wall, 2, self.now);
        self.connect_control();
    }

    /// The signaling process is told to end.
    pub fn stop_signaling(&mut self) {
        self.engine.stop(self.now);
        self.deliver();
    }

    pub fn connect_control(&mut self) {
        self.engine.control_connected();
        self.media.connect();
        self.deliver();
    }

    /// The connection between the processes breaks.
    pub fn lose_control(&mut self) {
        self.media.disconnect();
        self.engine.control_lost(self.now);
        self.deliver();
    }

    /// The media process dies with its calls. Another one takes its place, which signaling does not
    /// reach yet.
    pub fn restart_media(&mut self) {
        self.media = Media::new(&self.config.media, "second", self.now);
        self.engine.control_lost(self.now);
        self.deliver();
    }

    // Peers.

    pub fn trunk(&mut self, address: &str) -> usize {
        self.add(Flow::Udp(address.parse().unwrap()), None)
    }

    pub fn browser(&mut self) -> usize {
        self.flows += 1;
        let flow = FlowId(self.flows);
        let address = SocketAddr::from(([192, 0, 2, 77], 50_000 + self.flows as u16));
        self.engine.flow_opened(flow, address);
        let web = WebRtc::new(address, self.flows);
        self.add(Flow::Web(flow.0), Some(web))
    }

    fn add(&mut self, flow: Flow, web: Option<WebRtc>) -> usize {
        self.peers.push(Peer::new(self.peers.len(), flow, web, &mut self.random));
        self.peers.len() - 1
    }

    /// A browser's connection breaks; the browser itself lives on.
    pub fn disconnect(&mut self, peer: usize) {
        let Flow::Web(flow) = self.peers[peer].flow else { panic!("not a browser") };
        self.engine.flow_closed(FlowId(flow), self.now);
        self.deliver();
    }

    pub fn reconnect(&mut self, peer: usize) {
        self.flows += 1;
        let flow = FlowId(self.flows);
        let address = self.web(peer).address;
        self.engine.flow_opened(flow, address);
        self.peers[peer].flow = Flow::Web(flow.0);
    }

    /// A browser's other half.
    pub fn web(&mut self, browser: usize) -> &mut WebRtc {
        self.peers[browser].web.as_mut().expect("not a browser")
    }

    // Messages.

    pub fn send(&mut self, peer: usize, request: Request) -> ClientTransactionId {
        let flow = self.peers[peer].flow;
        let sender = &mut self.peers[peer].transactions;
        let id = sender.request(request, flow, self.now, &mut self.random).unwrap();
        self.deliver();
        id
    }

    pub fn acknowledge(&mut self, peer: usize, ack: Request) {
        let flow = self.peers[peer].flow;
        self.peers[peer].transactions.send_stateless(ack, flow, &mut self.random);
        self.deliver();
    }

    pub fn respond(&mut self, peer: usize, transaction: ServerTransactionId, response: Response) {
        self.peers[peer].transactions.respond(transaction, response, self.now);
        self.deliver();
    }

    pub fn cancel(&mut self, peer: usize, transaction: ClientTransactionId) {
        self.peers[peer].transactions.cancel(transaction, &[], self.now);
        self.deliver();
    }

    /// The next request that the peer heard, other than ACK.
    pub fn request_at(&mut self, peer: usize, method: Method) -> (ServerTransactionId, Request) {
        self.peers[peer].take_request(&method)
    }

    pub fn heard_request(&self, peer: usize, method: Method) -> bool {
        self.peers[peer].has_heard(&method)
    }

    /// The next response with this status; those before it are forgotten.
    pub fn response_at(&mut self, peer: usize, status: Status) -> Response {
        self.peers[peer].take_response(status)
    }

    pub fn ack_at(&mut self, peer: usize) -> Request {
        self.peers[peer].take_ack()
    }

    pub fn cancelled_at(&mut self, peer: usize) -> (ServerTransactionId, Vec<Reason>) {
        self.peers[peer].take_cancel()
    }

    // Time and delivery.

    /// Lets time pass, timer by timer.
    pub fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.deliver();
            match self.next_timeout() {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => break,
            }
            self.handle_timeout();
        }
        self.now = end;
        self.deliver();
    }

    fn next_timeout(&self) -> Option<Instant> {
        let peers = self.peers.iter().filter(|peer| !peer.is_dead);
        let sip = peers.clone().filter_map(|peer| peer.transactions.next_timeout());
        let web = peers.filter_map(|peer| peer.web.as_ref()?.next_timeout());
        let processes = [self.engine.next_timeout(), self.media.process.next_timeout()];
        sip.chain(web).chain(processes.into_iter().flatten()).min()
    }

    fn handle_timeout(&mut self) {
        let now = self.now;
        if self.media.process.next_timeout().is_some_and(|at| at <= now) {
            self.media.process.handle_timeout(now);
        }
        if self.engine.next_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now);
        }
        for peer in self.peers.iter_mut().filter(|peer| !peer.is_dead) {
            peer.transactions.handle_timeout(now);
            if let Some(web) = &mut peer.web {
                web.handle_timeout(now);
            }
        }
    }

    /// Carries everything to where it is addressed until nothing is under way.
    pub fn deliver(&mut self) {
        self.media.process.now = self.now;
        let mut rounds = 0;
        while self.deliver_once() {
            rounds += 1;
            assert!(rounds < 10_000, "messages go round and round");
        }
    }

    fn deliver_once(&mut self) -> bool {
        // All of them, one after the other.
        [self.deliver_from_engine(), self.deliver_from_peers(), self.deliver_from_media()]
            .contains(&true)
    }

    fn deliver_from_engine(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.engine.poll_output() {
            moved = true;
            match output {
                Output::Datagram { to, bytes } => self.deliver_to_peer(Flow::Udp(to), &bytes),
                Output::Message { flow, bytes } => self.deliver_to_peer(Flow::Web(flow.0), &bytes),
                Output::Control(line) => self.media.handle_line(&line),
                Output::Record(record) => {
                    self.transcript.push(format!("{record:?}"));
                    self.records.push(*record);
                }
                Output::Authenticated(_) => {}
                Output::CloseControl => panic!("the engine closed the control connection"),
            }
        }
        moved
    }

    fn deliver_to_peer(&mut self, flow: Flow, bytes: &[u8]) {
        let now = self.now;
        self.transcript.push(format!("to {flow:?}: {}", body(bytes)));
        for peer in self.peers.iter_mut().filter(|peer| peer.flow == flow && !peer.is_dead) {
            peer.transactions.receive_bytes(bytes, peer.flow, now);
        }
    }

    fn deliver_from_peers(&mut self) -> bool {
        let mut moved = false;
        for peer in &mut self.peers {
            while let Some(output) = peer.transactions.poll_output() {
                moved = true;
                let transaction::Output::Send { flow, bytes } = output else {
                    peer.heard.extend(Heard::of(output));
                    continue;
                };
                if peer.is_dead {
                    continue;
                }
                self.transcript.push(format!("from {:?}: {}", peer.flow, body(&bytes)));
                match (flow, peer.flow) {
                    // It may be another connection than the browser's present one.
                    (Flow::Web(flow), _) => {
                        self.engine.flow_message(FlowId(flow), &bytes, self.now);
                    }
                    (_, Flow::Udp(from)) => self.engine.handle_datagram(&bytes, from, self.now),
                    (Flow::Udp(_), Flow::Web(_)) => panic!("a browser sends UDP"),
                }
            }
            if let Some(web) = &mut peer.web {
                for datagram in web.poll_outputs() {
                    moved = true;
                    self.media.receive(web.address, web.remote().address, &datagram);
                }
            }
        }
        moved
    }

    fn deliver_from_media(&mut self) -> bool {
        let mut moved = false;
        for datagram in self.media.process.sent() {
            moved = true;
            self.deliver_to_media_of_peers(&datagram);
        }
        while let Some(line) = self.media.poll_line() {
            moved = true;
            self.engine.control_line(&line, self.now);
        }
        if self.media.take_closed() {
            moved = true;
            self.engine.control_lost(self.now);
        }
        moved
    }

    fn deliver_to_media_of_peers(&mut self, datagram: &Flying) {
        for peer in &mut self.peers {
            match (&mut peer.web, peer.flow) {
                (Some(web), _) if web.address == datagram.to => {
                    web.receive(&datagram.bytes, self.now);
                }
                (None, Flow::Udp(address)) if address.ip() == datagram.to.ip() => {
                    peer.media.push(datagram.clone());
                }
                _ => {}
            }
        }
    }

    // The end.

    /// Nothing is left behind: no call, no key, no transaction, no call in media, one record. Nor did
    /// media refuse anything on the way.
    pub fn assert_nothing_left(&mut self) -> CallRecord {
        assert_eq!(self.media.refused, [], "media refused something");
        self.assert_nothing_left_but_refusals()
    }

    pub fn assert_nothing_left_but_refusals(&mut self) -> CallRecord {
        self.assert_nothing_left_but_records();
        assert_eq!(self.records.len(), 1, "{:#?}", self.records);
        self.records.remove(0)
    }

    pub fn assert_nothing_left_but_records(&mut self) {
        self.advance(Duration::from_secs(75));
        assert_eq!(self.engine.calls(), 0, "calls");
        assert_eq!(self.engine.exchange.directory.len(), 0, "directory");
        assert_eq!(self.engine.exchange.transactions.len(), 0, "transactions");
        self.media.assert_nothing_left();
    }
}
