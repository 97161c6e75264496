//! By what messages find their transaction (RFC 3261 §17.1.3, §17.2.3), and where the responses of a
//! server transaction go (§18.2, RFC 3581).

use super::Flow;
use crate::wire::sip::{Headers, Method, Request, ResponsePort, Via};
use std::net::{IpAddr, SocketAddr};

/// What a branch of RFC 3261 begins with (§8.1.1.7).
pub(super) const BRANCH_COOKIE: &str = "z9hG4bK";
/// A port that is not written (RFC 3261 §18.2.2).
const UDP_PORT: u16 = 5060;

/// Whom a flow leads to. A UDP peer may change its port between a request and its CANCEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    Udp(IpAddr),
    Web(u64),
}

impl From<Flow> for Peer {
    fn from(flow: Flow) -> Self {
        match flow {
            Flow::Udp(address) => Peer::Udp(address.ip()),
            Flow::Web(flow) => Peer::Web(flow),
        }
    }
}

/// What retransmissions, ACKs and CANCELs of a request have in common (RFC 3261 §17.2.3). The peer
/// is part of it, so that nobody can end or answer for another's transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerKey {
    pub(super) peer: Peer,
    pub(super) name: String,
}

/// Branch and CSeq method (RFC 3261 §17.1.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientKey {
    pub(super) branch: String,
    pub(super) method: String,
}

/// What an ACK to a 2xx shares with its INVITE and our response: Call-ID, CSeq number, both tags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AckKey(String);

impl ServerKey {
    pub(super) fn of(request: &Request, via: &Via, flow: Flow) -> Option<Self> {
        let headers = &request.headers;
        // ACK and CANCEL look for their INVITE.
        let method = match request.method {
            Method::Ack | Method::Cancel => "INVITE",
            ref method => method.as_str(),
        };
        let branch = via.branch().unwrap_or_default();
        let unique = branch.len() > BRANCH_COOKIE.len() && branch.starts_with(BRANCH_COOKIE);
        let name = if unique {
            format!("{branch} {} {method}", via.sent_by)
        } else {
            // RFC 2543, or a branch that is the cookie alone (RFC 4475 §3.2.1).
            let from = headers.from().ok()?;
            let tag = from.tag().unwrap_or_default();
            let (call_id, cseq) = (headers.call_id().ok()?, headers.cseq().ok()?);
            format!("{via} {} {call_id} {tag} {} {method}", request.uri, cseq.number)
        };
        Some(Self { peer: flow.into(), name })
    }
}

impl ClientKey {
    pub(super) fn of_response(headers: &Headers) -> Option<Self> {
        let via = headers.top_via().ok()?;
        let cseq = headers.cseq().ok()?;
        Some(Self { branch: via.branch()?.to_owned(), method: cseq.method.as_str().to_owned() })
    }
}

impl AckKey {
    pub(super) fn of(headers: &Headers) -> Option<Self> {
        let (from, to) = (headers.from().ok()?, headers.to().ok()?);
        let (theirs, ours) = (from.tag().unwrap_or_default(), to.tag()?);
        let number = headers.cseq().ok()?.number;
        Some(Self(format!("{} {number} {theirs} {ours}", headers.call_id().ok()?)))
    }
}

/// Fills in `received` and `rport` (RFC 3261 §18.2.1, RFC 3581 §4).
pub(super) fn note_source(via: &mut Via, source: SocketAddr) {
    let wants_port = via.rport().is_some();
    if wants_port {
        via.parameters.set("rport", Some(&source.port().to_string()));
    }
    if wants_port || via.sent_by.host.address() != Some(source.ip()) {
        via.parameters.set("received", Some(&source.ip().to_string()));
    }
}

/// Where the response goes: with `rport` back to the very source, without it to the port the sender
/// says it listens on (RFC 3261 §18.2.2, RFC 3581 §4). Never to another host than the source.
pub(super) fn response_address(via: &Via, source: SocketAddr) -> SocketAddr {
    match via.rport() {
        Some(ResponsePort::Requested | ResponsePort::Port(_)) => source,
        None => SocketAddr::new(source.ip(), via.sent_by.port.unwrap_or(UDP_PORT)),
    }
}
