//! Dialogs (RFC 3261 §12): who talks to whom, in which order, by which route. A [`Dialog`] is a
//! plain record: it serialises, and what is read back goes on where it was.

use super::transaction::MAX_FORWARDS;
use crate::wire::sip::{
    BadHeader, CSeq, Contacts, HeaderName, Headers, Method, NameAddr, Request, Response, SipScheme,
    Status, Uri,
};
use serde::{Deserialize, Serialize};

/// What names a dialog (RFC 3261 §12).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DialogId {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// Theirs; empty if they sent none (RFC 2543).
    pub remote_tag: String,
}

impl DialogId {
    /// The dialog a received request belongs to: To is ours. `None` without a To tag.
    pub fn of_request(headers: &Headers) -> Option<Self> {
        Self::new(headers.call_id().ok()?, headers.to().ok()?.tag()?, headers.from().ok()?.tag())
    }

    /// The dialog a received response belongs to: From is ours. `None` while To has no tag.
    pub fn of_response(headers: &Headers) -> Option<Self> {
        let to = headers.to().ok()?;
        Self::new(headers.call_id().ok()?, headers.from().ok()?.tag()?, Some(to.tag()?))
    }

    /// The same where To has no tag, as before RFC 3261 (§12.1.2).
    fn of_untagged(headers: &Headers) -> Option<Self> {
        Self::new(headers.call_id().ok()?, headers.from().ok()?.tag()?, None)
    }

    fn new(call_id: &str, local_tag: &str, remote_tag: Option<&str>) -> Option<Self> {
        Some(Self {
            call_id: call_id.to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: remote_tag.unwrap_or_default().to_owned(),
        })
    }
}

/// Whether a 2xx is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Made by a provisional response to our INVITE; its 2xx sets the route anew.
    Early,
    /// The route is fixed. A dialog made by their INVITE is so from the start.
    Confirmed,
}

/// A dialog made by an INVITE, early or confirmed, seen from our end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    /// Its name.
    pub id: DialogId,
    /// Early or confirmed.
    pub stage: Stage,
    /// What goes in From of our requests, tag included.
    pub local: NameAddr,
    /// What goes in To of our requests, tag included.
    pub remote: NameAddr,
    /// What goes in Contact.
    pub contact: NameAddr,
    /// Where our requests are addressed: the peer's latest Contact.
    pub remote_target: Uri,
    /// Route of our requests, topmost first.
    pub route_set: Vec<NameAddr>,
    /// The CSeq number of our last request; 0 before the first.
    pub local_cseq: u32,
    /// The CSeq number of their last request, if they have sent one.
    pub remote_cseq: Option<u32>,
    /// Whether the INVITE was addressed to `sips:` (RFC 3261 §12.1).
    pub secure: bool,
}

/// Why a request inside a dialog is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialogRefusal {
    /// Lower CSeq than seen before (RFC 3261 §12.2.2).
    OutOfOrder,
    /// A field that does not read.
    BadHeader(BadHeader),
}

impl DialogRefusal {
    /// What the request is answered with.
    pub fn status(&self) -> Status {
        match self {
            DialogRefusal::OutOfOrder => Status::SERVER_INTERNAL_ERROR,
            DialogRefusal::BadHeader(_) => Status::BAD_REQUEST,
        }
    }
}

impl From<BadHeader> for DialogRefusal {
    fn from(bad: BadHeader) -> Self {
        DialogRefusal::BadHeader(bad)
    }
}

impl Dialog {
    /// The dialog our INVITE got into with a 101–299 response (RFC 3261 §12.1.2). A provisional one
    /// needs a To tag; a 2xx makes a dialog whatever it lacks, because it must be acknowledged and
    /// can only be ended in its dialog (§13.2.2.4). Without a Contact that can be asked the
    /// Request-URI stays the target.
    pub fn from_response(invite: &Request, response: &Response) -> Result<Self, BadHeader> {
        let id = match DialogId::of_response(&response.headers) {
            None if response.status.is_success() => DialogId::of_untagged(&response.headers),
            id => id,
        };
        let id = id.ok_or(BadHeader(HeaderName::To))?;
        let mut dialog = Self {
            id,
            stage: Stage::Early,
            local: invite.headers.from()?,
            remote: response.headers.to()?,
            contact: invite.headers.contact()?,
            remote_target: invite.uri.clone(),
            route_set: Vec::new(),
            local_cseq: invite.headers.cseq()?.number,
            remote_cseq: None,
            secure: is_secure(&invite.uri),
        };
        if response.status.is_provisional() {
            dialog.route_set = route_of_response(response)?;
        }
        dialog.absorb_response(response);
        Ok(dialog)
    }

    /// The dialog their INVITE gets into with our responses (RFC 3261 §12.1.1), which
    /// [`Dialog::complete`] makes fit. `local_tag` is ours, `contact` where we take requests.
    pub fn from_invite(
        invite: &Request,
        local_tag: &str,
        contact: NameAddr,
    ) -> Result<Self, BadHeader> {
        let remote = invite.headers.from()?;
        Ok(Self {
            id: DialogId {
                call_id: invite.headers.call_id()?.to_owned(),
                local_tag: local_tag.to_owned(),
                remote_tag: remote.tag().unwrap_or_default().to_owned(),
            },
            stage: Stage::Confirmed,
            local: invite.headers.to()?.with_tag(local_tag),
            remote,
            contact,
            remote_target: target(invite.headers.contact()?.uri),
            route_set: invite.headers.record_route()?,
            local_cseq: 0,
            remote_cseq: Some(invite.headers.cseq()?.number),
            secure: is_secure(&invite.uri),
        })
    }

    /// Makes a response to `invite` one that keeps the dialog: To tag, Contact, and the INVITE's
    /// Record-Route (RFC 3261 §12.1.1).
    pub fn complete(&self, invite: &Request, response: &mut Response) -> Result<(), BadHeader> {
        response.set_to_tag(&self.id.local_tag)?;
        response.headers.copy(&HeaderName::RecordRoute, &invite.headers);
        response.headers.set(HeaderName::Contact, &self.contact);
        Ok(())
    }

    /// Takes a further response to an INVITE or UPDATE of ours: the newest Contact and, with the 2xx
    /// that ends an early dialog, the route set anew (RFC 3261 §12.2.1.2, §13.2.2.4). A field that
    /// does not read changes nothing: the 2xx is owed its ACK all the same.
    pub fn absorb_response(&mut self, response: &Response) {
        if let Some(contact) = contact_of(&response.headers) {
            self.remote_target = contact;
        }
        if response.status.is_success() && self.stage == Stage::Early {
            self.route_set = route_of_response(response).unwrap_or_default();
            self.stage = Stage::Confirmed;
        }
    }

    /// Checks a request of theirs and takes its CSeq; a re-INVITE or UPDATE also moves the remote
    /// target (RFC 3261 §12.2.2). Not for ACK and CANCEL, whose CSeq is the INVITE's. A refused
    /// request changes nothing.
    pub fn absorb_request(&mut self, request: &Request) -> Result<(), DialogRefusal> {
        let number = request.headers.cseq()?.number;
        if self.remote_cseq.is_some_and(|last| number < last) {
            return Err(DialogRefusal::OutOfOrder);
        }
        if refreshes_target(&request.method)
            && request.headers.first(&HeaderName::Contact).is_some()
        {
            self.remote_target = target(request.headers.contact()?.uri);
        }
        self.remote_cseq = Some(number);
        Ok(())
    }

    /// The next request of ours: BYE, re-INVITE, INFO, … with everything but Via and a body.
    pub fn request(&mut self, method: Method) -> Request {
        // 2^31 requests in one call do not happen; a forged record must not panic either.
        self.local_cseq = self.local_cseq.saturating_add(1);
        let mut request = self.bare_request(method.clone(), self.local_cseq);
        if refreshes_target(&method) {
            request.headers.push(HeaderName::Contact, &self.contact);
        }
        request
    }

    /// The ACK to the 2xx of our INVITE with this CSeq number; the same each time it is asked. If
    /// that INVITE carried credentials, the ACK must carry them too (RFC 3261 §22.1), which is the
    /// caller's to do.
    pub fn ack(&self, invite_cseq: u32) -> Request {
        self.bare_request(Method::Ack, invite_cseq)
    }

    fn bare_request(&self, method: Method, number: u32) -> Request {
        let (uri, route) = self.route();
        let mut request = Request::new(method.clone(), uri);
        let headers = &mut request.headers;
        for hop in route {
            headers.push(HeaderName::Route, hop);
        }
        headers.push(HeaderName::MaxForwards, MAX_FORWARDS);
        headers.push(HeaderName::From, &self.local);
        headers.push(HeaderName::To, &self.remote);
        headers.push(HeaderName::CallId, &self.id.call_id);
        headers.push(HeaderName::CSeq, CSeq { number, method });
        request
    }

    /// Request-URI and Route (RFC 3261 §12.2.1.1). A first hop without `lr` is a strict router: it
    /// wants to be the Request-URI, with the target at the end of the route.
    fn route(&self) -> (Uri, Vec<NameAddr>) {
        match self.route_set.split_first() {
            Some((first, rest)) if !first.uri.parameters().is_some_and(|all| all.has("lr")) => {
                let last = NameAddr::new(self.remote_target.clone());
                (target(first.uri.clone()), rest.iter().cloned().chain([last]).collect())
            }
            _ => (self.remote_target.clone(), self.route_set.clone()),
        }
    }
}

/// Where a response says its sender is: of several Contacts the first that SIP reaches.
fn contact_of(headers: &Headers) -> Option<Uri> {
    let Ok(Contacts::List(contacts)) = headers.contacts() else { return None };
    contacts.into_iter().map(|contact| contact.uri).find(|uri| uri.as_sip().is_some()).map(target)
}

/// Record-Route of a response, first hop first.
fn route_of_response(response: &Response) -> Result<Vec<NameAddr>, BadHeader> {
    let mut route = response.headers.record_route()?;
    route.reverse();
    Ok(route)
}

/// Methods that carry a Contact which replaces the remote target (RFC 3261 §12.2, RFC 3311 §5.1).
fn refreshes_target(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Update | Method::Refer | Method::Notify)
}

/// An address as a Request-URI, where header fields may not stand (RFC 3261 §19.1.1).
fn target(mut uri: Uri) -> Uri {
    if let Some(sip) = uri.as_sip_mut() {
        sip.headers.clear();
        sip.parameters.remove("method");
    }
    uri
}

fn is_secure(uri: &Uri) -> bool {
    uri.as_sip().is_some_and(|uri| uri.scheme == SipScheme::Sips)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Request {
        let mut invite = Request::new(Method::Invite, "sip:bob@example.com".parse().unwrap());
        let headers = &mut invite.headers;
        headers.push(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa");
        headers.push(HeaderName::From, "\"Alice\" <sip:alice@example.com>;tag=a1");
        headers.push(HeaderName::To, "<sip:bob@example.com>");
        headers.push(HeaderName::CallId, "c1");
        headers.push(HeaderName::CSeq, "7 INVITE");
        headers.push(HeaderName::Contact, "<sip:alice@192.0.2.1>");
        invite
    }

    fn response(status: Status) -> Response {
        let mut response = Response::to(&invite(), status);
        response.set_to_tag("b1").unwrap();
        response.headers.push(HeaderName::Contact, "<sip:bob@192.0.2.2?x=y>;expires=3");
        response
    }

    fn fields(request: &Request, name: HeaderName) -> Vec<&str> {
        request.headers.all(&name).collect()
    }

    #[test]
    fn our_invite_and_its_answer_make_a_dialog() {
        let mut answer = response(Status::OK);
        answer.headers.push(HeaderName::RecordRoute, "<sip:p2;lr>, <sip:p1;lr>");
        let mut dialog = Dialog::from_response(&invite(), &answer).unwrap();
        assert_eq!(DialogId::of_response(&answer.headers), Some(dialog.id.clone()));
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri.to_string(), "sip:bob@192.0.2.2");
        assert_eq!(fields(&bye, HeaderName::Route), ["<sip:p1;lr>", "<sip:p2;lr>"]);
        assert_eq!(fields(&bye, HeaderName::From), ["\"Alice\" <sip:alice@example.com>;tag=a1"]);
        assert_eq!(fields(&bye, HeaderName::To), ["<sip:bob@example.com>;tag=b1"]);
        assert_eq!(fields(&bye, HeaderName::CSeq), ["8 BYE"]);
        assert!(fields(&bye, HeaderName::Contact).is_empty());
        let again = dialog.request(Method::Invite);
        assert_eq!(fields(&again, HeaderName::CSeq), ["9 INVITE"]);
        assert_eq!(fields(&again, HeaderName::Contact), ["<sip:alice@192.0.2.1>"]);
    }

    #[test]
    fn their_invite_makes_a_dialog_that_mirrors_theirs() {
        let contact: NameAddr = "<sip:gateway@192.0.2.9>".parse().unwrap();
        let mut offer = invite();
        offer.headers.push(HeaderName::RecordRoute, "<sip:p1;lr>, <sip:p2;lr>");
        let mut dialog = Dialog::from_invite(&offer, "g1", contact).unwrap();
        let mut answer = Response::to(&offer, Status::OK);
        dialog.complete(&offer, &mut answer).unwrap();
        let theirs = Dialog::from_response(&offer, &answer).unwrap();
        assert_eq!(theirs.id.remote_tag, dialog.id.local_tag);
        assert_eq!(theirs.remote_target.to_string(), "sip:gateway@192.0.2.9");
        assert_eq!(theirs.route_set.len(), 2);

        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri.to_string(), "sip:alice@192.0.2.1");
        assert_eq!(fields(&bye, HeaderName::CSeq), ["1 BYE"]);
        assert_eq!(fields(&bye, HeaderName::Route), ["<sip:p1;lr>", "<sip:p2;lr>"]);
        assert_eq!(DialogId::of_request(&bye.headers).unwrap().local_tag, "a1");
        assert_eq!(DialogId::of_request(&bye.headers).unwrap().remote_tag, "g1");
    }

    #[test]
    fn an_early_dialog_takes_the_route_of_its_2xx_and_keeps_it() {
        let mut ringing = response(Status::RINGING);
        ringing.headers.push(HeaderName::RecordRoute, "<sip:p1;lr>");
        let mut dialog = Dialog::from_response(&invite(), &ringing).unwrap();
        assert_eq!(dialog.stage, Stage::Early);
        let mut answer = response(Status::OK);
        answer.headers.push(HeaderName::RecordRoute, "<sip:p2;lr>");
        dialog.absorb_response(&answer);
        assert_eq!(dialog.route_set, ["<sip:p2;lr>".parse().unwrap()]);
        dialog.absorb_response(&response(Status::OK));
        assert_eq!(dialog.route_set.len(), 1);
    }

    #[test]
    fn a_response_without_contact_leaves_the_request_uri() {
        let mut ringing = response(Status::RINGING);
        ringing.headers.remove(&HeaderName::Contact);
        let dialog = Dialog::from_response(&invite(), &ringing).unwrap();
        assert_eq!(dialog.remote_target, invite().uri);
    }

    #[test]
    fn a_provisional_response_without_a_tag_makes_no_dialog() {
        let trying = Response::to(&invite(), Status::TRYING);
        Dialog::from_response(&invite(), &trying).unwrap_err();
        let ringing = Response::to(&invite(), Status::RINGING);
        Dialog::from_response(&invite(), &ringing).unwrap_err();
    }

    #[test]
    fn a_2xx_makes_a_dialog_whatever_it_lacks() {
        let untagged = Response::to(&invite(), Status::OK);
        let mut dialog = Dialog::from_response(&invite(), &untagged).unwrap();
        assert_eq!(dialog.id.remote_tag, "");
        assert_eq!(dialog.request(Method::Bye).uri, invite().uri);
        assert_eq!(fields(&dialog.ack(7), HeaderName::To), ["<sip:bob@example.com>"]);

        let mut two = response(Status::OK);
        two.headers.set(HeaderName::Contact, "<tel:+15550123>, <sip:gw@192.0.2.7>");
        let dialog = Dialog::from_response(&invite(), &two).unwrap();
        assert_eq!(dialog.remote_target.to_string(), "sip:gw@192.0.2.7");

        let mut garbled = response(Status::OK);
        garbled.headers.set(HeaderName::Contact, "<<");
        garbled.headers.push(HeaderName::RecordRoute, "nowhere");
        let dialog = Dialog::from_response(&invite(), &garbled).unwrap();
        assert_eq!((dialog.remote_target, dialog.route_set), (invite().uri, Vec::new()));
    }

    #[test]
    fn a_strict_router_becomes_the_request_uri() {
        let mut answer = response(Status::OK);
        answer.headers.push(HeaderName::RecordRoute, "<sip:p2;lr>, <sip:strict>");
        let dialog = Dialog::from_response(&invite(), &answer).unwrap();
        let ack = dialog.ack(7);
        assert_eq!(ack.uri.to_string(), "sip:strict");
        assert_eq!(fields(&ack, HeaderName::Route), ["<sip:p2;lr>", "<sip:bob@192.0.2.2>"]);
    }

    #[test]
    fn the_ack_is_the_same_each_time() {
        let dialog = Dialog::from_response(&invite(), &response(Status::OK)).unwrap();
        let ack = dialog.ack(7);
        assert_eq!(fields(&ack, HeaderName::CSeq), ["7 ACK"]);
        assert_eq!(ack, dialog.ack(7));
    }

    #[test]
    fn a_lower_cseq_is_out_of_order_and_changes_nothing() {
        let contact: NameAddr = "<sip:gateway@192.0.2.9>".parse().unwrap();
        let mut dialog = Dialog::from_invite(&invite(), "g1", contact).unwrap();
        let mut again = invite();
        again.headers.set(HeaderName::CSeq, "6 INVITE");
        again.headers.set(HeaderName::Contact, "<sip:elsewhere@192.0.2.7>");
        let before = dialog.clone();
        assert_eq!(dialog.absorb_request(&again), Err(DialogRefusal::OutOfOrder));
        assert_eq!(dialog, before);
        again.headers.set(HeaderName::CSeq, "8 INVITE");
        assert_eq!(dialog.absorb_request(&again), Ok(()));
        assert_eq!(dialog.remote_target.to_string(), "sip:elsewhere@192.0.2.7");
        assert_eq!(dialog.remote_cseq, Some(8));
    }

    #[test]
    fn a_dialog_goes_on_from_its_record() {
        let mut answer = response(Status::OK);
        answer.headers.push(HeaderName::RecordRoute, "\"p, 1\" <sip:p1;lr>;x=\"y z\"");
        let mut dialog = Dialog::from_response(&invite(), &answer).unwrap();
        let record = serde_json::to_string(&dialog).unwrap();
        let mut restored: Dialog = serde_json::from_str(&record).unwrap();
        assert_eq!(restored, dialog);
        assert_eq!(restored.request(Method::Bye), dialog.request(Method::Bye));
    }
}
