//! Steps that many scenarios share: registering, calling, answering.

use std::net::SocketAddr;
use std::time::Duration;

use super::world::*;
use crate::control::message::Side;
use crate::sip::dialog::Dialog;
use crate::sip::digest::Answerer;
use crate::sip::transaction::{ClientTransactionId, Flow, ServerTransactionId};
use crate::wire::sip::{CSeq, HeaderName, Method, Reason, Request, Response, Status};
use crate::wire::telephone_event::TelephoneEvent;

pub const CONTACT: &str = "sip:k3j4h5g6@p9x8.invalid;transport=ws";
pub const TRUNK_CONTACT: &str = "sip:gw@198.51.100.7:5060";

/// An INVITE that a peer was asked with.
pub type Asked = (ServerTransactionId, Request);

/// An INVITE that a peer sent, with what is needed to go on.
pub struct Sent {
    pub transaction: ClientTransactionId,
    pub invite: Request,
}

/// An established call, from both far ends.
pub struct Established {
    pub caller: usize,
    pub callee: usize,
    pub caller_dialog: Dialog,
    pub callee_dialog: Dialog,
    /// Our SDP toward the trunk.
    pub trunk_sdp: String,
    /// Our SDP toward the browser.
    pub browser_sdp: String,
}

impl World {
    /// Sends a request and, challenged, sends it again with credentials. `password` empty: gives up.
    pub fn send_with_credentials(
        &mut self,
        peer: usize,
        mut request: Request,
        user: &str,
        password: &str,
    ) -> Sent {
        self.send(peer, request.clone());
        let status = match request.method {
            Method::Register => Status::UNAUTHORIZED,
            _ => Status::PROXY_AUTHENTICATION_REQUIRED,
        };
        let challenge = self.response_at(peer, status);
        let mut answerer = Answerer::new(user, password, "example.com");
        answerer.answer(&challenge, &mut request, &mut self.random).unwrap();
        let number = request.headers.cseq().unwrap().number + 1;
        let method = request.method.clone();
        request.headers.set(HeaderName::CSeq, CSeq { number, method });
        Sent { transaction: self.send(peer, request.clone()), invite: request }
    }

    pub fn register_request(&self, user: &str, contact: &str, number: u32) -> Request {
        let address = format!("sip:{user}@example.com");
        let tag = format!("reg-{user}-{contact}");
        let tag: String = tag.chars().filter(char::is_ascii_alphanumeric).collect();
        let mut register = request(Method::Register, &address, &address, contact, &tag);
        register.uri = "sip:example.com".parse().unwrap();
        let cseq = CSeq { number, method: Method::Register };
        register.headers.set(HeaderName::CSeq, cseq);
        register
    }

    pub fn register(&mut self, peer: usize, user: &str, contact: &str) -> Response {
        let password = if user == "1001" { "one" } else { "two" };
        self.registrations += 2;
        let register = self.register_request(user, contact, self.registrations);
        self.send_with_credentials(peer, register, user, password);
        self.response_at(peer, Status::OK)
    }

    /// A browser of user 1001, registered.
    pub fn registered_browser(&mut self) -> usize {
        let browser = self.browser();
        self.register(browser, "1001", CONTACT);
        browser
    }

    /// Browser 1001 dials.
    pub fn dial(&mut self, browser: usize, number: &str) -> Sent {
        let to = format!("sip:{number}@example.com");
        let offer = self.web(browser).sdp("actpass");
        // What it claims to be is not what it is.
        let invite = request(Method::Invite, &to, "sip:+1900@example.com", CONTACT, "caller")
            .with_body("application/sdp", offer);
        self.send_with_credentials(browser, invite, "1001", "one")
    }

    /// A trunk sends an INVITE; `sdp` empty: without an offer.
    pub fn trunk_dials(&mut self, trunk: usize, number: &str, sdp: &str) -> Sent {
        let to = format!("sip:{number}@192.0.2.10");
        let from = "sip:+15550100@198.51.100.7";
        let mut invite = request(Method::Invite, &to, from, TRUNK_CONTACT, "carrier");
        if !sdp.is_empty() {
            invite = invite.with_body("application/sdp", sdp);
        }
        Sent { transaction: self.send(trunk, invite.clone()), invite }
    }

    /// The caller acknowledges a 200 and has its dialog.
    pub fn confirm(&mut self, peer: usize, sent: &Sent, ok: &Response, answer: &str) -> Dialog {
        let dialog = Dialog::from_response(&sent.invite, ok).unwrap();
        let number = sent.invite.headers.cseq().unwrap().number;
        let mut ack = dialog.ack(number);
        if !answer.is_empty() {
            ack = ack.with_body("application/sdp", answer);
        }
        self.acknowledge(peer, ack);
        dialog
    }

    pub fn answer(
        &mut self,
        peer: usize,
        (transaction, invite): Asked,
        tag: &str,
        sdp: &str,
    ) -> Dialog {
        let contact = match self.peers[peer].flow {
            Flow::Web(_) => CONTACT.to_owned(),
            Flow::Udp(address) => format!("sip:gw@{address}"),
        };
        let ok = response(&invite, Status::OK, tag, &contact).with_body("application/sdp", sdp);
        self.respond(peer, transaction, ok);
        callee_dialog(&invite, tag, &contact)
    }

    /// A browser's call to a trunk, talking.
    pub fn outgoing_call(&mut self) -> Established {
        let (browser, trunk) = (self.registered_browser(), self.trunk(TRUNK_A));
        let sent = self.dial(browser, "4711");
        let asked = self.request_at(trunk, Method::Invite);
        let trunk_sdp = body(&asked.1.body).to_owned();
        let callee_dialog = self.answer(trunk, asked, "gw", TRUNK_SDP);
        self.ack_at(trunk);
        let ok = self.response_at(browser, Status::OK);
        let caller_dialog = self.confirm(browser, &sent, &ok, "");
        let browser_sdp = body(&ok.body).to_owned();
        self.connect_media(browser, &browser_sdp);
        let (caller, callee) = (browser, trunk);
        Established { caller, callee, caller_dialog, callee_dialog, trunk_sdp, browser_sdp }
    }

    /// A trunk's call to a browser, talking.
    pub fn incoming_call(&mut self) -> Established {
        let (browser, trunk) = (self.registered_browser(), self.trunk(TRUNK_A));
        let sent = self.trunk_dials(trunk, "+442079460018", TRUNK_SDP);
        let asked = self.request_at(browser, Method::Invite);
        let browser_sdp = body(&asked.1.body).to_owned();
        let sdp = self.web(browser).sdp("active");
        let callee_dialog = self.answer(browser, asked, "browser", &sdp);
        self.ack_at(browser);
        self.connect_media(browser, &browser_sdp);
        let ok = self.response_at(trunk, Status::OK);
        let caller_dialog = self.confirm(trunk, &sent, &ok, "");
        let (caller, callee, trunk_sdp) = (trunk, browser, body(&ok.body).to_owned());
        Established { caller, callee, caller_dialog, callee_dialog, trunk_sdp, browser_sdp }
    }

    /// The far end of a leg makes another offer inside the call; what it is answered. `how` makes the
    /// offer of its first one.
    pub fn change(
        &mut self,
        call: &mut Established,
        side: Side,
        how: impl FnOnce(String) -> String,
    ) -> String {
        let (peer, dialog) = match side {
            Side::A => (call.caller, &mut call.caller_dialog),
            Side::B => (call.callee, &mut call.callee_dialog),
        };
        let sdp = match &self.peers[peer].web {
            Some(web) => web.sdp("actpass"),
            None => TRUNK_SDP.to_owned(),
        };
        let again = dialog.request(Method::Invite).with_body("application/sdp", how(sdp));
        let ack = dialog.ack(dialog.local_cseq);
        self.send(peer, again);
        let ok = self.response_at(peer, Status::OK);
        self.acknowledge(peer, ack);
        body(&ok.body).to_owned()
    }

    /// ICE and DTLS, to the end.
    pub fn connect_media(&mut self, browser: usize, our_sdp: &str) {
        self.web(browser).take(our_sdp);
        self.deliver();
        assert!(self.web(browser).is_connected, "DTLS");
    }

    /// A peer hangs up; the BYE is answered.
    pub fn hang_up(&mut self, peer: usize, dialog: &mut Dialog) {
        let bye = dialog.request(Method::Bye);
        self.send(peer, bye);
        self.response_at(peer, Status::OK);
    }

    /// The peer heard a BYE and answers it; its Q.850 cause.
    pub fn take_bye(&mut self, peer: usize) -> Option<u8> {
        let (transaction, bye) = self.request_at(peer, Method::Bye);
        let cause = q850(&bye.headers);
        self.respond(peer, transaction, Response::to(&bye, Status::OK));
        cause
    }

    /// A trunk rings.
    pub fn ring(&mut self, trunk: usize, (transaction, invite): &Asked) {
        let ringing = response(invite, Status::RINGING, "gw", TRUNK_CONTACT);
        self.respond(trunk, *transaction, ringing);
    }

    /// A trunk heard a CANCEL and says that its INVITE is over; the CANCEL's reasons.
    pub fn terminate(&mut self, trunk: usize, (asked, invite): &Asked) -> Vec<Reason> {
        let (transaction, reasons) = self.cancelled_at(trunk);
        assert_eq!(transaction, *asked, "another INVITE was cancelled");
        let terminated = response(invite, Status::REQUEST_TERMINATED, "gw", TRUNK_CONTACT);
        self.respond(trunk, transaction, terminated);
        reasons
    }

    /// The events that came to a trunk's media port in half a second, with where they came from.
    pub fn events_at(&mut self, trunk: usize) -> Vec<(SocketAddr, TelephoneEvent)> {
        self.advance(Duration::from_millis(500));
        let packets = self.peers[trunk].take_rtp().into_iter();
        // Its SDP's payload type.
        let events = packets.filter(|(_, header, _)| header.payload_type.value() == 101);
        let parsed = events.map(|(datagram, _, payload)| {
            (datagram.from, TelephoneEvent::parse(&payload).unwrap())
        });
        parsed.collect()
    }

    /// The peer refuses what it was asked.
    pub fn refuse(&mut self, peer: usize, (transaction, invite): Asked, status: Status) {
        let refusal = response(&invite, status, "no", TRUNK_CONTACT);
        self.respond(peer, transaction, refusal);
    }

    pub fn seconds(&mut self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }
}
