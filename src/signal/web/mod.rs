//! The web front: one port for the phone page (HTTPS) and for SIP over WebSocket (RFC 7118), at
//! `/sip` and `/`. In: TLS connections. Out: [`FlowEvent`]s into the engine's queue. It decides who
//! may open a WebSocket (RFC 6455 §10.2) and how long anybody may take over anything; what a SIP
//! message means is left to the engine.

mod admission;
mod certificate;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use self::admission::{Admission, Strangers};
use crate::base::fault::Fault;
use crate::base::narrow::Narrow;
use crate::base::opaque::opaque;
use crate::config::{Origin, Signal};
use crate::signal::flow::{FlowEvent, FlowId, MESSAGE_BYTES_MAX};
use crate::signal::turned_away::TurnedAway;

/// Connections at once; beyond it the kernel's queue holds the next one.
const CONNECTIONS_MAX: usize = 20_000;
/// The kernel's queue of connections not yet accepted: a restart brings every browser back.
const BACKLOG: u32 = 4096;
/// For the TLS handshake, and again for each request's header.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// For all of a connection's HTTP requests; the page is fetched well within it, and the WebSocket
/// does not count.
const HTTP_TIME_MAX: Duration = Duration::from_secs(30);
/// Of a request's header, in bytes (the least hyper can be given) and lines.
const HEADER_BYTES_MAX: usize = 8 * 1024;
const HEADER_LINES_MAX: usize = 64;
/// Of each direction of a WebSocket: SIP messages are a few KB, and a browser sends few.
const WEBSOCKET_BUFFER_BYTES: usize = 4096;
/// Unacknowledged bytes end a connection after this: longer than a pause of a mobile network.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// After accept failed, for want of file descriptors for example: one line of log a second.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The phone page's files.
const PAGE: &str = include_str!("phone/phone.html");
const FILES: [(&str, &str, &str); 8] = [
    ("/phone.css", CSS, include_str!("phone/phone.css")),
    ("/phone.js", JAVASCRIPT, include_str!("phone/phone.js")),
    ("/user_agent.js", JAVASCRIPT, include_str!("phone/user_agent.js")),
    ("/call.js", JAVASCRIPT, include_str!("phone/call.js")),
    ("/sip_message.js", JAVASCRIPT, include_str!("phone/sip_message.js")),
    ("/md5.js", JAVASCRIPT, include_str!("phone/md5.js")),
    ("/line_view.js", JAVASCRIPT, include_str!("phone/line_view.js")),
    ("/sound.js", JAVASCRIPT, include_str!("phone/sound.js")),
];
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
/// Where the page has the SIP domain filled in.
const DOMAIN_MARK: &str = "{{domain}}";

/// Said with every answer: the page runs our own script and nothing else, is framed by nobody, and
/// may use the microphone.
const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (HeaderName::from_static("permissions-policy"), "microphone=(self), camera=(), geolocation=()"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// The listening web front.
pub struct Web {
    listener: TcpListener,
    tls: TlsAcceptor,
    domain: String,
    allowed_origins: Vec<Origin>,
}

opaque!(Web);

impl Web {
    /// Reads or makes the certificate and listens.
    pub async fn bind(signal: &Signal) -> Result<Self, Fault> {
        let tls = TlsAcceptor::from(certificate::server_config(signal)?);
        let listener = listen(signal.wss).map_err(|error| {
            Fault::new(
                format!("cannot listen for HTTPS and WSS: {error}"),
                format!("{}, [signal].wss", signal.wss),
                "stop what holds the port, or choose another address or port",
            )
        })?;
        let (domain, allowed_origins) = (signal.domain.clone(), signal.allowed_origins.clone());
        Ok(Self { listener, tls, domain, allowed_origins })
    }

    /// The address it listens on.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the engine's end of `events` is dropped.
    pub async fn serve(self, events: mpsc::Sender<FlowEvent>) {
        let front = Front {
            tls: self.tls,
            router: router(&self.domain, self.allowed_origins, events.clone()),
            strangers: Strangers::default(),
        };
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = events.closed() => return,
            };
            match accepted {
                Ok((stream, peer)) => match front.strangers.admit(peer.ip()) {
                    Some(admission) => {
                        tokio::spawn(front.clone().connection(stream, peer, admission, permit));
                    }
                    None => debug!(%peer, "too many unauthenticated connections from this address"),
                },
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What every connection uses.
#[derive(Clone)]
struct Front {
    tls: TlsAcceptor,
    router: Router,
    strangers: Strangers,
}

impl Front {
    /// One connection: TLS, then HTTP until it ends or becomes a WebSocket.
    async fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        admission: Admission,
        permit: OwnedSemaphorePermit,
    ) {
        if let Err(error) = set_options(&stream) {
            debug!(%peer, %error, "cannot set TCP options");
        }
        let stream = match timeout(HANDSHAKE_TIME_MAX, self.tls.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => return debug!(%peer, "TLS handshake timed out"),
        };
        let place = Arc::new(Mutex::new(Some(Place { admission, permit })));
        let caller = Caller { peer, place };
        let router = self.router.layer(Extension(caller));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HANDSHAKE_TIME_MAX)
            .max_buf_size(HEADER_BYTES_MAX)
            .max_headers(HEADER_LINES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
            .with_upgrades();
        if let Ok(Err(error)) = timeout(HTTP_TIME_MAX, connection).await {
            debug!(%peer, %error, "HTTP ended");
        }
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let milliseconds: u32 = TCP_USER_TIMEOUT.as_millis().narrow();
    rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds)?;
    Ok(rustix::net::sockopt::set_socket_keepalive(stream, true)?)
}

/// Who sends a request.
#[derive(Clone)]
struct Caller {
    peer: SocketAddr,
    /// Held by the connection until a WebSocket takes it over.
    place: Arc<Mutex<Option<Place>>>,
}

/// A connection's share of the bounds.
struct Place {
    admission: Admission,
    permit: OwnedSemaphorePermit,
}

/// What the SIP routes use.
#[derive(Clone)]
struct SipRoute {
    allowed_origins: Arc<[Origin]>,
    turned_away: Arc<Mutex<TurnedAway>>,
    events: mpsc::Sender<FlowEvent>,
    flows: Arc<AtomicU64>,
}

fn router(domain: &str, allowed_origins: Vec<Origin>, events: mpsc::Sender<FlowEvent>) -> Router {
    let sip = SipRoute {
        allowed_origins: allowed_origins.into(),
        turned_away: Arc::default(),
        events,
        flows: Arc::default(),
    };
    let page: Arc<str> = PAGE.replace(DOMAIN_MARK, domain).into();
    let files = FILES.into_iter().fold(Router::new(), |router, (path, media_type, text)| {
        router.route(path, get(move || async move { file(media_type, text.to_owned()) }))
    });
    let root = move |route: State<SipRoute>,
                     caller: Extension<Caller>,
                     headers: HeaderMap,
                     upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>| async move {
        if headers.contains_key(header::UPGRADE) {
            open(route, caller, headers, upgrade).await
        } else {
            file(HTML, page.to_string())
        }
    };
    files.route("/", get(root)).route("/sip", any(open)).with_state(sip)
}

fn file(media_type: &'static str, text: String) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Opens a WebSocket for SIP, or says why not.
async fn open(
    State(route): State<SipRoute>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if !origin_is_allowed(&headers, &route.allowed_origins) {
        let why = "a WebSocket of a page of another Origin is refused (403); if it is yours, write it \
                   to `allowed_origins`";
        let mut turned_away = route.turned_away.lock().unwrap_or_else(PoisonError::into_inner);
        turned_away.note(caller.peer.ip(), why, Instant::now());
        return (StatusCode::FORBIDDEN, "this Origin may not connect").into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade.protocols(["sip"]),
        Err(rejection) => return rejection.into_response(),
    };
    if upgrade.selected_protocol().is_none() {
        // RFC 7118 §4.1.
        let text = "the WebSocket subprotocol must be sip";
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let Some(Place { admission, permit }) =
        caller.place.lock().unwrap_or_else(PoisonError::into_inner).take()
    else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let flow = FlowId(route.flows.fetch_add(1, Ordering::Relaxed) + 1);
    upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .read_buffer_size(WEBSOCKET_BUFFER_BYTES)
        .write_buffer_size(WEBSOCKET_BUFFER_BYTES)
        .max_write_buffer_size(2 * MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| async move {
            socket::serve(socket, flow, caller.peer, admission, route.events).await;
            drop(permit);
        })
}

/// Browsers always send Origin and pages cannot forge it, so a foreign page is stopped here, before
/// its user's password manager helps it along. A client that sends none is no browser; it is
/// admitted, for it could as well send any Origin it likes.
fn origin_is_allowed(headers: &HeaderMap, allowed: &[Origin]) -> bool {
    let mut given = headers.get_all(header::ORIGIN).iter();
    let Some(first) = given.next() else { return true };
    let Some(origin) = first.to_str().ok().and_then(Origin::parse) else { return false };
    if given.next().is_some() {
        return false;
    }
    if !allowed.is_empty() {
        return allowed.contains(&origin);
    }
    headers
        .get(header::HOST)
        .and_then(|host| Origin::parse(&format!("https://{}", host.to_str().ok()?)))
        .is_some_and(|own| own == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(lines: &[(&'static str, &'static str)], origins: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let origins: Vec<_> = origins.iter().filter_map(|text| Origin::parse(text)).collect();
        origin_is_allowed(&headers, &origins)
    }

    #[test]
    fn without_a_list_only_the_page_of_this_host_may_connect() {
        let host = ("host", "phone.example:8443");
        assert!(allowed(&[host, ("origin", "https://phone.example:8443")], &[]));
        assert!(allowed(&[("host", "a:443"), ("origin", "https://A")], &[]));
        for foreign in [
            "https://evil.example",
            "https://phone.example",
            "http://phone.example:8443",
            "null",
            "",
        ] {
            assert!(!allowed(&[host, ("origin", foreign)], &[]), "{foreign}");
        }
        assert!(!allowed(&[("origin", "https://a")], &[]));
    }

    #[test]
    fn with_a_list_only_its_pages_may_connect() {
        let host = ("host", "phone.example:8443");
        let list = ["https://app.example"];
        assert!(allowed(&[host, ("origin", "https://app.example")], &list));
        assert!(!allowed(&[host, ("origin", "https://phone.example:8443")], &list));
        let both = [host, ("origin", "https://app.example"), ("origin", "https://evil.example")];
        assert!(!allowed(&both, &list));
    }

    #[test]
    fn a_client_without_origin_is_no_browser_and_may_connect() {
        assert!(allowed(&[("host", "phone.example:8443")], &[]));
        assert!(allowed(&[("host", "phone.example:8443")], &["https://app.example"]));
    }
}
