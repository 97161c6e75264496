//! The exchange: what every call uses and none owns. Routes, bindings, transactions, the media
//! process, the directory, randomness, and what waits to leave the engine.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use tracing::warn;

use crate::base::clock::WallAnchor;
use crate::base::opaque::opaque;
use crate::base::random::{Random, token};
use crate::config::Config;
use crate::control::message::{
    CallName, Datagram, LegChange, Park, Play, Repeat, SendDatagram, Side, Sound, StopPlaying,
};
use crate::dtls::Certificate;
use crate::signal::control_client::ControlClient;
use crate::signal::directory::{Directory, Key, Part};
use crate::signal::errand::Errand;
use crate::signal::music::Music;
use crate::signal::output::Output;
use crate::signal::records::WallTime;
use crate::signal::registrar::Registrar;
use crate::signal::release::{Hint, Release};
use crate::signal::routing::Routes;
use crate::signal::trunk_health::TrunkHealth;
use crate::sip::transaction::{Flow, Transactions};
use crate::wire::sip::{
    HeaderName, Host, Method, NameAddr, Request, Response, SDP, SentBy, Status, Uri,
};

/// What we name ourselves in User-Agent and Server.
pub const PRODUCT: &str = concat!("linecard/", env!("CARGO_PKG_VERSION"));
/// The methods we know (RFC 3261 §20.5). Whatever is not here is answered 405.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REGISTER";
/// The same for whoever may transfer calls.
const ALLOW_WITH_REFER: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REGISTER, REFER";
/// The extensions that a request may require.
const SUPPORTED: [&str; 2] = ["timer", "100rel"];
/// Characters of our tags and Call-IDs: 119 bits, so that knowing a dialog's is proof of being in it.
const TAG_CHARACTERS: usize = 20;

/// How we are addressed.
#[derive(Clone, Debug)]
pub struct Address {
    /// The domain of our users.
    pub domain: Host,
    /// Where trunks reach us.
    pub sip: SocketAddr,
    /// Where browsers reach us.
    pub wss: SocketAddr,
}

impl Address {
    /// A user of our domain.
    pub fn user(&self, user: &str) -> Uri {
        Uri::sip(Some(user), self.domain.clone(), None)
    }

    /// Our Contact on a leg over `flow`.
    pub fn contact(&self, flow: Flow) -> NameAddr {
        let address = match flow {
            Flow::Udp(_) => self.sip,
            Flow::Web(_) => self.wss,
        };
        let mut uri = Uri::sip(Some("linecard"), address.ip().into(), Some(address.port()));
        if let (Flow::Web(_), Some(uri)) = (flow, uri.as_sip_mut()) {
            uri.parameters.set("transport", Some("ws"));
        }
        NameAddr::new(uri)
    }
}

/// What every call uses and none owns.
pub struct Exchange {
    /// How we are addressed.
    pub address: Address,
    /// Users and trunks.
    pub routes: Routes,
    /// Which trunks are asked last.
    pub trunk_health: TrunkHealth,
    /// Who is reached where.
    pub registrar: Registrar,
    /// SIP transactions.
    pub transactions: Transactions,
    /// The media process.
    pub media: ControlClient,
    /// Whose call something belongs to.
    pub directory: Directory,
    /// Our certificate for every DTLS handshake.
    pub certificate: Certificate,
    /// Tags, credentials, names.
    pub random: Random,
    /// When the input that is being handled came. The engine sets it, so that whatever one input
    /// sets off happens at one moment.
    pub now: Instant,
    /// What is heard on hold, if the operator wants something to be.
    pub hold_music: Music,
    /// For wall times in records.
    pub wall: WallAnchor,
    /// INVITEs whose call was lost in a restart, by Call-ID, with the tag and the reason of the
    /// final response that they still wait for.
    pub interrupted: HashMap<String, (String, Release)>,
    /// What calls want done with one another.
    pub errands: VecDeque<Errand>,
    /// What waits to leave.
    pub outputs: VecDeque<Output>,
}

opaque!(Exchange);

impl Exchange {
    /// An exchange in which nothing has happened.
    pub fn new(
        config: &Config,
        certificate: Certificate,
        mut random: Random,
        wall: WallAnchor,
        now: Instant,
    ) -> Self {
        let (sip, wss) = (config.signal.sip, config.signal.wss);
        let sent_by =
            |address: SocketAddr| SentBy { host: address.ip().into(), port: Some(address.port()) };
        Self {
            address: Address {
                domain: Host::parse(&config.signal.domain).unwrap_or(sip.ip().into()),
                sip,
                wss,
            },
            routes: Routes::new(&config.users, &config.trunks),
            trunk_health: TrunkHealth::default(),
            registrar: Registrar::default(),
            transactions: Transactions::new(sent_by(sip), sent_by(wss), &mut random),
            media: ControlClient::default(),
            directory: Directory::default(),
            certificate,
            random,
            hold_music: Music::of(config.signal.hold_music.as_deref()),
            now,
            wall,
            interrupted: HashMap::new(),
            errands: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// A tag, a Call-ID or a call's name that nobody can guess.
    pub fn new_token(&mut self) -> String {
        token(&mut self.random, TAG_CHARACTERS)
    }

    /// Wall time.
    pub fn wall_time(&self) -> WallTime {
        WallTime::of(&self.wall, self.now)
    }

    /// Sends a request of ours inside a call and enters whose it is. `false`: there is no room for
    /// another transaction, which is as if nobody had answered it.
    pub fn request(
        &mut self,
        mut request: Request,
        flow: Flow,
        call: &CallName,
        part: Part,
    ) -> Option<crate::sip::transaction::ClientTransactionId> {
        request.headers.push(HeaderName::UserAgent, PRODUCT);
        match self.transactions.request(request, flow, self.now, &mut self.random) {
            Ok(transaction) => {
                self.directory.enter(Key::Client(transaction), call, part);
                Some(transaction)
            }
            Err(_) => {
                warn!(call = &**call, "no room for another SIP transaction");
                None
            }
        }
    }

    /// Tells media to change a leg. While media is away the change is given back.
    pub fn change_leg(
        &mut self,
        call: &CallName,
        leg: Side,
        change: LegChange,
    ) -> Result<(), Box<LegChange>> {
        if change == LegChange::default() {
            return Ok(());
        }
        self.media.change_leg(call, leg, change)
    }

    /// Parks a call's blob.
    pub fn park(&mut self, call: &CallName, blob: String) {
        let _ = self.media.unattended(&Park { call: call.clone(), blob }.into());
    }

    /// Sends a datagram from a media thread's browser port.
    pub fn send_datagram(&mut self, thread: usize, to: SocketAddr, datagram: &[u8]) {
        let payload = Datagram(datagram.to_vec());
        let _ = self.media.unattended(&SendDatagram { thread, to, payload }.into());
    }

    /// Lets a leg's far end hear something in place of the other leg.
    pub fn play(&mut self, call: &CallName, leg: Side, what: Sound) {
        let play = Play { call: call.clone(), leg, what, repeat: None };
        let _ = self.media.unattended(&play.into());
    }

    /// The same once; then the other leg is heard again.
    pub fn play_once(&mut self, call: &CallName, leg: Side, what: Sound) {
        let play = Play { call: call.clone(), leg, what, repeat: Repeat::new(1) };
        let _ = self.media.unattended(&play.into());
    }

    /// Lets it hear the other leg again.
    pub fn stop_playing(&mut self, call: &CallName, leg: Side) {
        let _ = self.media.unattended(&StopPlaying { call: call.clone(), leg }.into());
    }
}

/// The 420 to a request that requires an extension which we do not have (RFC 3261 §8.2.2.3).
pub fn unsupported(request: &Request) -> Option<Release> {
    let required = request.headers.values(&HeaderName::Require);
    let unsupported =
        required.filter(|tag| !SUPPORTED.iter().any(|one| one.eq_ignore_ascii_case(tag)));
    let unsupported: Vec<&str> = unsupported.collect();
    if unsupported.is_empty() {
        return None;
    }
    let hint = Hint::Unsupported(unsupported.join(", "));
    let text = format!("required and not supported: {}", unsupported.join(", "));
    Some(Release::of_status(Status::BAD_EXTENSION, text).with_hint(hint))
}

impl Exchange {
    /// The methods that whoever is there may use.
    pub fn allow(&self, flow: Flow) -> &'static str {
        let takes_refer = match flow {
            Flow::Web(_) => true,
            Flow::Udp(from) => self.routes.trunk_at(from).is_some_and(|trunk| trunk.takes_refer),
        };
        if takes_refer { ALLOW_WITH_REFER } else { ALLOW }
    }

    /// A 405 that names what we know, or a 501 to a method of which nobody knows anything
    /// (RFC 3261 §8.2.1, §21.5.2).
    pub fn not_allowed(&self, request: &Request, flow: Flow) -> Response {
        let status = match request.method {
            Method::Other(_) => Status::NOT_IMPLEMENTED,
            _ => Status::METHOD_NOT_ALLOWED,
        };
        let mut response = Response::to(request, status);
        response.headers.push(HeaderName::Allow, self.allow(flow));
        response
    }

    /// The answer to OPTIONS (RFC 3261 §11.2).
    pub fn capabilities(&self, request: &Request, flow: Flow) -> Response {
        let mut response = Response::to(request, Status::OK);
        response.headers.push(HeaderName::Allow, self.allow(flow));
        response.headers.push(HeaderName::Accept, SDP);
        response.headers.push(HeaderName::Supported, SUPPORTED.join(", "));
        response
    }
}
