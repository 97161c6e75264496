//! Somebody who speaks SIP to the engine: what it heard, and how it words what it says.

use std::collections::VecDeque;

use crate::base::random::Random;
use crate::media::rig::Flying;
use crate::sip::cause::Cause;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::{self, Flow, ServerTransactionId, Transactions};
use crate::wire::rtp::{RtpHeader, RtpPacket};
use crate::wire::sip::{
    CSeq, HeaderName, Headers, Host, Method, NameAddr, Reason, Request, Response, SentBy, Status,
    Uri,
};

use super::webrtc::WebRtc;

pub struct Peer {
    pub flow: Flow,
    pub heard: VecDeque<Heard>,
    /// Hears nothing and says nothing.
    pub is_dead: bool,
    pub transactions: Transactions,
    /// A browser's other half.
    pub web: Option<WebRtc>,
    /// RTP and RTCP that came to a trunk's address.
    pub media: Vec<Flying>,
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

impl Heard {
    /// What the peer's own SIP engine has for it; `None`: it is not told.
    pub fn of(output: transaction::Output) -> Option<Self> {
        use transaction::Output as Sip;
        Some(match output {
            Sip::Request { transaction, request, .. } => Heard::Request(transaction, request),
            Sip::Ack { request, .. } => Heard::Ack(request),
            Sip::Cancelled { transaction, reasons } => Heard::Cancelled(transaction, reasons),
            Sip::Response { response, .. } => Heard::Response(response),
            Sip::Failed { .. } => Heard::Failed,
            Sip::Send { .. } | Sip::Unacknowledged { .. } => return None,
        })
    }
}

impl Peer {
    /// The `number`th peer, at the far end of `flow`.
    pub fn new(number: usize, flow: Flow, web: Option<WebRtc>, random: &mut Random) -> Self {
        let sent_by = |host, port| SentBy { host, port };
        let udp = match flow {
            Flow::Udp(address) => sent_by(address.ip().into(), Some(address.port())),
            Flow::Web(_) => sent_by(Host::Name("unused.invalid".to_owned()), None),
        };
        let web_host = sent_by(Host::Name(format!("p{number}.invalid")), None);
        Self {
            flow,
            heard: VecDeque::new(),
            is_dead: false,
            transactions: Transactions::new(udp, web_host, random),
            web,
            media: Vec::new(),
        }
    }

    /// The first of what it heard that `is_it`.
    fn take(&mut self, what: &str, is_it: impl Fn(&Heard) -> bool) -> Heard {
        let place = self.heard.iter().position(is_it);
        match place.and_then(|place| self.heard.remove(place)) {
            Some(heard) => heard,
            None => panic!("the peer at {:?} heard no {what} but {:#?}", self.flow, self.heard),
        }
    }

    /// The next request of this method, other than ACK.
    pub fn take_request(&mut self, method: &Method) -> (ServerTransactionId, Request) {
        let is_it = |heard: &Heard| matches!(heard, Heard::Request(_, request) if request.method == *method);
        match self.take(&method.to_string(), is_it) {
            Heard::Request(transaction, request) => (transaction, request),
            _ => unreachable!(),
        }
    }

    pub fn has_heard(&self, method: &Method) -> bool {
        let is_it = |heard: &Heard| matches!(heard, Heard::Request(_, request) if request.method == *method);
        self.heard.iter().any(is_it)
    }

    /// The next response with this status; what it heard before is forgotten.
    pub fn take_response(&mut self, status: Status) -> Response {
        let mut others = Vec::new();
        while let Some(heard) = self.heard.pop_front() {
            match heard {
                Heard::Response(response) if response.status == status => return response,
                other => others.push(other),
            }
        }
        panic!("the peer at {:?} heard no {status} but {others:#?}", self.flow);
    }

    pub fn take_ack(&mut self) -> Request {
        match self.take("ACK", |heard| matches!(heard, Heard::Ack(_))) {
            Heard::Ack(ack) => ack,
            _ => unreachable!(),
        }
    }

    pub fn take_cancel(&mut self) -> (ServerTransactionId, Vec<Reason>) {
        match self.take("CANCEL", |heard| matches!(heard, Heard::Cancelled(..))) {
            Heard::Cancelled(transaction, reasons) => (transaction, reasons),
            _ => unreachable!(),
        }
    }

    /// The RTP packets that came to its media port, with where they came from.
    pub fn take_rtp(&mut self) -> Vec<(Flying, RtpHeader, Vec<u8>)> {
        let all = std::mem::take(&mut self.media).into_iter();
        // RTCP has the odd port (RFC 3550 §11).
        let rtp = all.filter(|datagram| datagram.to.port() % 2 == 0);
        let parsed = rtp.map(|datagram| {
            let packet = RtpPacket::parse(&datagram.bytes).unwrap();
            let (header, payload) = (packet.header, packet.payload.to_vec());
            (datagram, header, payload)
        });
        parsed.collect()
    }
}

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

pub fn q850(headers: &Headers) -> Option<u8> {
    Cause::of_headers(headers).map(|cause| cause.0)
}

pub fn body(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
