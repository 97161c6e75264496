//! A world for the engine: trunks and browsers with the real SIP engine on their side, and a media
//! process that keeps the control protocol's rules but moves no audio. Virtual clock, no sockets.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::base::clock::WallAnchor;
use crate::base::random::{self, Random};
use crate::config::{Config, Machine};
use crate::control::codec::{read_request, write_event, write_reply};
use crate::control::message::{
    CallCreated, CallList, CallName, CallStatistics, Command, ControlError, CreateCall, Datagram,
    ErrorCode, Event, Greeting, LegChange, ListedCall, LocalAddresses, Security, SendDigit, Side,
    Transport, UpdateLeg,
};
use crate::dtls::{self, Certificate, Handshake};
use crate::signal::engine::Engine;
use crate::signal::flow::FlowId;
use crate::signal::output::Output;
use crate::signal::records::CallRecord;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::{self, ClientTransactionId, Flow, ServerTransactionId, Transactions};
use crate::wire::sdp::{BrowserAudio, BrowserOffer, DtlsRole};
use crate::wire::sip::{
    CSeq, HeaderName, Host, Method, NameAddr, Reason, Request, Response, SentBy, Status, Uri,
};
use crate::wire::stun::{
    BindingRequest, Message, Role, TransactionId, write_binding_request, write_binding_success,
};

/// Two trunks, three users.
pub const CONFIG: &str = r#"
    [media]
    address = "192.0.2.10"
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
    flows: u64,
    wall: WallAnchor,
}

/// Somebody who speaks SIP to the engine.
pub struct Peer {
    pub flow: Flow,
    pub heard: VecDeque<Heard>,
    /// Hears nothing and says nothing.
    pub is_dead: bool,
    transactions: Transactions,
    pub web: Option<WebRtc>,
}

/// What a peer heard.
#[derive(Debug)]
pub enum Heard {
    Request(ServerTransactionId, Request),
    Ack(Request),
    Cancelled(ServerTransactionId, Vec<Reason>),
    Response(Response),
    Failed,
}

impl World {
    pub fn new(config: &str) -> Self {
        let machine = Machine { runtime_directory: "/run/linecard".into(), cores: vec![0, 1] };
        let config = Config::parse(config, &machine).unwrap();
        let now = Instant::now();
        let wall = WallAnchor::at(now, Duration::from_secs(1_795_356_000));
        let engine = Self::start(&config, wall, 1, now);
        let mut world = Self {
            engine,
            config,
            now,
            media: Media::new("first"),
            peers: Vec::new(),
            records: Vec::new(),
            random: random::from_seed(99),
            registrations: 1,
            flows: 0,
            wall,
        };
        world.connect_control();
        world
    }

    fn start(config: &Config, wall: WallAnchor, seed: u64, now: Instant) -> Engine {
        let certificate = Certificate::generate().unwrap();
        Engine::new(config, certificate, random::from_seed(seed), wall, now)
    }

    /// The signaling process dies, connections and all, and a new one takes its place.
    pub fn restart_signaling(&mut self) {
        self.engine = Self::start(&self.config, self.wall, 2, self.now);
        self.connect_control();
    }

    pub fn connect_control(&mut self) {
        self.media.lines.clear();
        self.engine.control_connected();
        let greeting = self.media.greeting();
        self.engine.control_line(&greeting, self.now);
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

    /// A browser's connection breaks; the browser itself lives on.
    pub fn disconnect(&mut self, peer: usize) {
        let Flow::Web(flow) = self.peers[peer].flow else { panic!("not a browser") };
        self.engine.flow_closed(FlowId(flow), self.now);
        self.deliver();
    }

    pub fn reconnect(&mut self, peer: usize) {
        self.flows += 1;
        let flow = FlowId(self.flows);
        let address = self.peers[peer].web.as_ref().unwrap().address;
        self.engine.flow_opened(flow, address);
        self.peers[peer].flow = Flow::Web(flow.0);
    }

    fn add(&mut self, flow: Flow, web: Option<WebRtc>) -> usize {
        let udp = match flow {
            Flow::Udp(address) => sent_by(address.ip().into(), Some(address.port())),
            Flow::Web(_) => sent_by(Host::Name("unused.invalid".to_owned()), None),
        };
        let name = format!("p{}.invalid", self.peers.len());
        let web_host = sent_by(Host::Name(name), None);
        let transactions = Transactions::new(udp, web_host, &mut self.random);
        let heard = VecDeque::new();
        self.peers.push(Peer { flow, heard, is_dead: false, transactions, web });
        self.peers.len() - 1
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
        self.peers[peer].transactions.cancel(transaction, None, self.now);
        self.deliver();
    }

    /// The next request that the peer heard, other than ACK.
    pub fn request_at(&mut self, peer: usize, method: Method) -> (ServerTransactionId, Request) {
        let heard = &mut self.peers[peer].heard;
        let place = heard.iter().position(
            |heard| matches!(heard, Heard::Request(_, request) if request.method == method),
        );
        match place.and_then(|place| heard.remove(place)) {
            Some(Heard::Request(transaction, request)) => (transaction, request),
            _ => panic!("peer {peer} heard no {method} but {heard:#?}"),
        }
    }

    pub fn heard_request(&self, peer: usize, method: Method) -> bool {
        let is_it =
            |heard: &Heard| matches!(heard, Heard::Request(_, request) if request.method == method);
        self.peers[peer].heard.iter().any(is_it)
    }

    /// The next response with this status; those before it are forgotten.
    pub fn response_at(&mut self, peer: usize, status: Status) -> Response {
        let mut others = Vec::new();
        while let Some(heard) = self.peers[peer].heard.pop_front() {
            match heard {
                Heard::Response(response) if response.status == status => return response,
                other => others.push(other),
            }
        }
        panic!("peer {peer} heard no {status} but {others:#?}");
    }

    pub fn ack_at(&mut self, peer: usize) -> Request {
        let heard = &mut self.peers[peer].heard;
        let place = heard.iter().position(|heard| matches!(heard, Heard::Ack(_)));
        match place.and_then(|place| heard.remove(place)) {
            Some(Heard::Ack(ack)) => ack,
            _ => panic!("peer {peer} heard no ACK but {heard:#?}"),
        }
    }

    pub fn cancelled_at(&mut self, peer: usize) -> (ServerTransactionId, Vec<Reason>) {
        let heard = &mut self.peers[peer].heard;
        let place = heard.iter().position(|heard| matches!(heard, Heard::Cancelled(..)));
        match place.and_then(|place| heard.remove(place)) {
            Some(Heard::Cancelled(transaction, reasons)) => (transaction, reasons),
            _ => panic!("peer {peer} heard no CANCEL but {heard:#?}"),
        }
    }

    /// A media event, as the media process would tell it.
    pub fn media_event(&mut self, event: &Event) {
        self.media.say(event);
        self.deliver();
    }

    // Time and delivery.

    /// Lets time pass, timer by timer.
    pub fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.deliver();
            let peers = self.peers.iter().filter(|peer| !peer.is_dead);
            let sip = peers.clone().filter_map(|peer| peer.transactions.next_timeout());
            let dtls = peers.filter_map(|peer| peer.web.as_ref()?.next_timeout());
            let next = sip.chain(dtls).chain(self.engine.next_timeout()).min();
            match next {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => break,
            }
            self.engine.handle_timeout(self.now);
            for peer in self.peers.iter_mut().filter(|peer| !peer.is_dead) {
                peer.transactions.handle_timeout(self.now);
                if let Some(web) = &mut peer.web {
                    web.handle_timeout(self.now);
                }
            }
        }
        self.now = end;
        self.deliver();
    }

    /// Carries everything to where it is addressed until nothing is under way.
    pub fn deliver(&mut self) {
        let mut rounds = 0;
        while self.deliver_once() {
            rounds += 1;
            assert!(rounds < 10_000, "messages go round and round");
        }
    }

    fn deliver_once(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.engine.poll_output() {
            moved = true;
            match output {
                Output::Datagram { to, bytes } => self.deliver_to_peer(Flow::Udp(to), &bytes),
                Output::Message { flow, bytes } => self.deliver_to_peer(Flow::Web(flow.0), &bytes),
                Output::Control(line) => self.media.handle(&line),
                Output::Record(record) => self.records.push(*record),
                Output::Authenticated(_) => {}
                Output::CloseControl => panic!("the engine closed the control connection"),
            }
        }
        for peer in self.peers.iter_mut() {
            while let Some(output) = peer.transactions.poll_output() {
                moved = true;
                use transaction::Output as Sip;
                let heard = match output {
                    Sip::Send { .. } if peer.is_dead => continue,
                    Sip::Send { flow: Flow::Udp(_), bytes } => {
                        let Flow::Udp(from) = peer.flow else { panic!("a browser sends UDP") };
                        self.engine.handle_datagram(&bytes, from, self.now);
                        continue;
                    }
                    Sip::Send { flow: Flow::Web(flow), bytes } => {
                        self.engine.flow_message(FlowId(flow), &bytes, self.now);
                        continue;
                    }
                    Sip::Request { transaction, request, .. } => {
                        Heard::Request(transaction, request)
                    }
                    Sip::Ack { request, .. } => Heard::Ack(request),
                    Sip::Cancelled { transaction, reasons } => {
                        Heard::Cancelled(transaction, reasons)
                    }
                    Sip::Response { response, .. } => Heard::Response(response),
                    Sip::Failed { .. } => Heard::Failed,
                    Sip::Unacknowledged { .. } => continue,
                };
                peer.heard.push_back(heard);
            }
            if let Some(web) = &mut peer.web {
                for datagram in web.poll_outputs() {
                    moved = true;
                    self.media.punt(web.address, &datagram);
                }
            }
        }
        for (to, datagram) in std::mem::take(&mut self.media.datagrams) {
            moved = true;
            let web = self.peers.iter_mut().filter_map(|peer| peer.web.as_mut());
            for web in web.filter(|web| web.address == to) {
                web.receive(&datagram, self.now);
            }
        }
        while let Some(line) = self.media.lines.pop_front() {
            moved = true;
            self.engine.control_line(&line, self.now);
        }
        moved
    }

    fn deliver_to_peer(&mut self, flow: Flow, bytes: &[u8]) {
        let now = self.now;
        for peer in self.peers.iter_mut().filter(|peer| peer.flow == flow && !peer.is_dead) {
            peer.transactions.receive_bytes(bytes, peer.flow, now);
        }
    }

    // The end.

    /// Nothing is left behind: no call, no key, no transaction, no call in media, one record.
    pub fn assert_nothing_left(&mut self) -> CallRecord {
        self.advance(Duration::from_secs(75));
        assert_eq!(self.engine.calls(), 0, "calls");
        assert_eq!(self.engine.exchange.directory.len(), 0, "directory");
        assert_eq!(self.engine.exchange.transactions.len(), 0, "transactions");
        assert!(self.media.calls.is_empty(), "media holds {:?}", self.media.calls.keys());
        assert_eq!(self.records.len(), 1, "{:#?}", self.records);
        self.records.remove(0)
    }
}

fn sent_by(host: Host, port: Option<u16>) -> SentBy {
    SentBy { host, port }
}

// Requests and responses of peers.

/// A request outside any dialog.
pub fn request(method: Method, to: &str, from: &str, contact: &str, tag: &str) -> Request {
    let uri: Uri = to.parse().unwrap();
    let mut request = Request::new(method.clone(), uri.clone());
    request.headers.push(HeaderName::From, NameAddr::new(from.parse().unwrap()).with_tag(tag));
    request.headers.push(HeaderName::To, NameAddr::new(uri));
    request.headers.push(HeaderName::CallId, format!("call-{tag}"));
    request.headers.push(HeaderName::CSeq, CSeq { number: 1, method });
    if !contact.is_empty() {
        request.headers.push(HeaderName::Contact, format!("<{contact}>"));
    }
    request
}

/// A response of a peer, in a dialog under `tag`.
pub fn response(request: &Request, status: Status, tag: &str, contact: &str) -> Response {
    let mut response = Response::to(request, status);
    response.set_to_tag(tag).unwrap();
    response.headers.push(HeaderName::Contact, format!("<{contact}>"));
    response
}

/// The dialog of a peer that took our INVITE with `response`'s tag.
pub fn callee_dialog(invite: &Request, tag: &str, contact: &str) -> Dialog {
    Dialog::from_invite(invite, tag, NameAddr::new(contact.parse().unwrap())).unwrap()
}

pub fn q850(headers: &crate::wire::sip::Headers) -> Option<u8> {
    crate::sip::cause::Cause::of_headers(headers).map(|cause| cause.0)
}

pub fn body(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The ICE password of every browser.
const PASSWORD: &str = "ZM3aZzdTZpOBwdZ07yujJMlz";

/// The browser's half of ICE and DTLS.
pub struct WebRtc {
    pub address: SocketAddr,
    pub ufrag: String,
    pub is_connected: bool,
    /// Gives its handshake up with this fatal alert (RFC 5246 §7.2) once it has heard ours.
    pub gives_up: Option<u8>,
    /// Whether it leaves DTLS unanswered.
    pub is_deaf: bool,
    /// Whether it begins a handshake when its check has succeeded.
    pub shakes_hands: bool,
    /// Whether its checks nominate.
    pub nominates: bool,
    certificate: Certificate,
    remote: Option<BrowserAudio>,
    handshake: Option<Handshake>,
    outputs: Vec<Vec<u8>>,
}

impl WebRtc {
    fn new(address: SocketAddr, number: u64) -> Self {
        Self {
            address,
            ufrag: format!("br{number:02}"),
            is_connected: false,
            gives_up: None,
            is_deaf: false,
            shakes_hands: true,
            nominates: true,
            certificate: Certificate::generate().unwrap(),
            remote: None,
            handshake: None,
            outputs: Vec::new(),
        }
    }

    /// A browser's SDP as far as it matters here, `setup` being `actpass` or `active`.
    pub fn sdp(&self, setup: &str) -> String {
        format!(
            "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8 110 126\r\nc=IN IP4 0.0.0.0\r\n\
             a=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{PASSWORD}\r\n\
             a=fingerprint:{}\r\na=setup:{setup}\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
             a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n",
            self.ufrag,
            self.certificate.fingerprint()
        )
    }

    /// Takes our SDP and starts a nominating check.
    pub fn take(&mut self, sdp: &str) {
        // An offer and an answer have the same form.
        self.remote = Some(BrowserOffer::parse(sdp).unwrap().audio);
        self.check();
    }

    /// What it knows of us.
    pub fn remote(&self) -> BrowserAudio {
        self.remote.clone().unwrap()
    }

    /// Sends a check with what another of the browser's interfaces knows of us.
    pub fn check_with(&mut self, remote: BrowserAudio) {
        self.remote = Some(remote);
        self.check();
    }

    /// Another call, another association.
    pub fn start_over(&mut self) {
        self.handshake = None;
        self.is_connected = false;
    }

    /// Shows another certificate than the one in its SDP.
    pub fn show_another_certificate(&mut self) {
        self.certificate = Certificate::generate().unwrap();
    }

    /// Sends a check, a nominating one if it nominates, from wherever the browser is now.
    pub fn check(&mut self) {
        let remote = self.remote.as_ref().unwrap();
        let username = format!("{}:{}", remote.ice.ufrag, self.ufrag);
        let check = BindingRequest {
            transaction_id: TransactionId([7; 12]),
            username: &username,
            priority: 1,
            role: Role::Controlling(1),
            use_candidate: self.nominates,
        };
        let mut datagram = [0; 256];
        let key = remote.ice.password.as_bytes();
        let length = write_binding_request(&mut datagram, &check, key).unwrap();
        self.outputs.push(datagram[..length].to_vec());
    }

    fn receive(&mut self, datagram: &[u8], now: Instant) {
        if datagram[..2] == [0, 1] {
            // A check of ours: a full agent answers (RFC 8445 §7.3).
            let (request, mut answer) = (Message::parse(datagram).unwrap(), [0; 128]);
            let key = PASSWORD.as_bytes();
            let length = write_binding_success(&mut answer, &request, self.address, key);
            self.outputs.push(answer[..length.unwrap()].to_vec());
        } else if datagram[0] < 4 && !self.shakes_hands {
            // It stays at that.
        } else if datagram[0] < 4 {
            // The check succeeded: the handshake begins.
            let remote = self.remote.as_ref().unwrap();
            self.handshake.get_or_insert_with(|| {
                let mut handshake = match self.gives_up {
                    // In 1.3 the alert would have to be encrypted.
                    Some(_) => Handshake::active_in_dtls_12(&self.certificate, now),
                    None => Handshake::new(DtlsRole::Active, &self.certificate, now),
                };
                handshake.expect(&remote.fingerprints);
                handshake
            });
        } else if self.is_deaf {
            // Nor does it hear the end of it.
        } else if let Some(alert) = self.gives_up {
            self.handshake = None;
            self.outputs.push(vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, alert]);
        } else if let Some(handshake) = &mut self.handshake {
            handshake.handle_datagram(datagram, now);
        }
    }

    fn poll_outputs(&mut self) -> Vec<Vec<u8>> {
        while let Some(output) = self.handshake.as_mut().and_then(Handshake::poll_output) {
            match output {
                dtls::Output::Send(datagram) => self.outputs.push(datagram),
                dtls::Output::Connected(_) => self.is_connected = true,
                dtls::Output::Failed(failure) => panic!("{failure:?}"),
            }
        }
        std::mem::take(&mut self.outputs)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.handshake.as_ref().and_then(Handshake::next_timeout)
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(handshake) = &mut self.handshake {
            handshake.handle_timeout(now);
        }
    }
}

/// A media process as far as its control socket shows.
pub struct Media {
    pub calls: BTreeMap<CallName, Held>,
    pub digits: Vec<SendDigit>,
    /// Refuse every `create_call` so.
    pub refuse: Option<ControlError>,
    generation: String,
    lines: VecDeque<String>,
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    events: u64,
    port: u16,
}

/// A call that media holds.
pub struct Held {
    pub blob: String,
    pub created: CallCreated,
    pub legs: [Leg; 2],
}

/// A leg as commands made it.
#[derive(Clone, Debug)]
pub struct Leg {
    pub remote: Option<SocketAddr>,
    pub security: Security,
    pub format: Option<crate::control::message::Format>,
}

impl Media {
    pub fn new(generation: &str) -> Self {
        Self {
            calls: BTreeMap::new(),
            digits: Vec::new(),
            refuse: None,
            generation: generation.to_owned(),
            lines: VecDeque::new(),
            datagrams: Vec::new(),
            events: 0,
            port: 30_000,
        }
    }

    /// The only call.
    pub fn call(&self) -> &Held {
        assert_eq!(self.calls.len(), 1);
        self.calls.values().next().unwrap()
    }

    fn greeting(&mut self) -> String {
        self.events = 0;
        let generation = self.generation.clone();
        let greeting = Greeting { generation, ..Greeting::of_this_version() };
        serde_json::to_string(&greeting).unwrap()
    }

    fn say(&mut self, event: &Event) {
        self.events += 1;
        self.lines.push_back(write_event(self.events, event));
    }

    fn punt(&mut self, from: SocketAddr, datagram: &[u8]) {
        let payload = Datagram(datagram.to_vec());
        self.say(&Event::Datagram { thread: 0, from, payload });
    }

    fn handle(&mut self, line: &str) {
        let request = read_request(line).unwrap();
        let result = self.obey(request.command);
        self.lines.push_back(write_reply(Some(request.id), &result));
    }

    fn obey(&mut self, command: Command) -> Result<Value, ControlError> {
        let unknown = || ControlError::new(ErrorCode::UnknownCall, "no such call");
        match command {
            Command::TakeControl(_) | Command::Ping(_) => Ok(json!({})),
            Command::ListCalls(page) => {
                let after = page.after.unwrap_or(CallName::from(""));
                let listed =
                    self.calls.iter().filter(|(name, _)| **name > after).map(|(name, held)| {
                        ListedCall {
                            call: name.clone(),
                            blob: held.blob.clone(),
                            created: held.created.clone(),
                        }
                    });
                // One a page, so that paging is always driven.
                let mut calls: Vec<_> = listed.collect();
                let more = calls.len() > 1;
                calls.truncate(1);
                Ok(serde_json::to_value(CallList { calls, more }).unwrap())
            }
            Command::CreateCall(create) => {
                if let Some(refusal) = &self.refuse {
                    return Err(refusal.clone());
                }
                let CreateCall { call, blob, a, b, .. } = *create;
                let legs = [a, b].map(|leg| Leg {
                    remote: match leg.transport {
                        Transport::Plain(plain) => plain.remote,
                        Transport::Ice(_) => None,
                    },
                    security: leg.security,
                    format: leg.format,
                });
                let [a, b] = [0, 1].map(|_| {
                    self.port += 2;
                    LocalAddresses {
                        rtp: SocketAddr::from(([192, 0, 2, 10], self.port)),
                        rtcp: SocketAddr::from(([192, 0, 2, 10], self.port + 1)),
                    }
                });
                let created = CallCreated { thread: 0, a, b };
                self.calls.insert(call, Held { blob, created: created.clone(), legs });
                Ok(serde_json::to_value(created).unwrap())
            }
            Command::UpdateLeg(update) => {
                let UpdateLeg { call, leg, change } = *update;
                let LegChange { remote, security, format, .. } = change;
                let held = self.calls.get_mut(&call).ok_or_else(unknown)?;
                let leg = &mut held.legs[leg.index()];
                leg.remote = remote.or(leg.remote);
                leg.format = format.or(leg.format.take());
                if let Some(security) = security {
                    leg.security = security;
                }
                Ok(json!({}))
            }
            Command::Park(park) => {
                self.calls.get_mut(&park.call).ok_or_else(unknown)?.blob = park.blob;
                Ok(json!({}))
            }
            Command::DeleteCall(delete) => {
                self.calls.remove(&delete.call).ok_or_else(unknown)?;
                let statistics = CallStatistics {
                    call: delete.call,
                    thread: 0,
                    age_ms: 1,
                    a: Default::default(),
                    b: Default::default(),
                };
                Ok(serde_json::to_value(statistics).unwrap())
            }
            Command::SendDatagram(send) => {
                self.datagrams.push((send.to, send.payload.0));
                Ok(json!({}))
            }
            Command::SendDigit(digit) => {
                assert!(self.calls.contains_key(&digit.call));
                self.digits.push(*digit);
                Ok(json!({}))
            }
            other => panic!("the engine does not use {}", other.name()),
        }
    }

    pub fn leg(&self, side: Side) -> Leg {
        self.call().legs[side.index()].clone()
    }
}
