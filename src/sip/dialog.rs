//! Dialogs (RFC 3261 §12): who talks to whom, in which order, by which route. A [`Dialog`] is a
//! plain record: it serialises, and what is read back goes on where it was.

use crate::wire::sip::{BadHeader, Headers, Method, NameAddr, Request, Response, Uri};
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

    fn new(call_id: &str, local_tag: &str, remote_tag: Option<&str>) -> Option<Self> {
        Some(Self {
            call_id: call_id.to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: remote_tag.unwrap_or_default().to_owned(),
        })
    }
}

/// A dialog made by an INVITE, early or confirmed, seen from our end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    /// Its name.
    pub id: DialogId,
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
    /// The CSeq number of our last request.
    pub local_cseq: u32,
    /// The CSeq number of their last request, if they have sent one.
    pub remote_cseq: Option<u32>,
    /// Whether the Request-URI was `sips:` (RFC 3261 §12.1).
    pub secure: bool,
}

/// Why a request inside a dialog is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialogRefusal {
    /// Lower CSeq than seen before: answer 500 (RFC 3261 §12.2.2).
    OutOfOrder,
    /// A field that does not read: answer 400.
    BadHeader(BadHeader),
}

impl Dialog {
    /// The dialog our INVITE got into with a 101–299 response that has a To tag and a Contact.
    pub fn from_response(_invite: &Request, _response: &Response) -> Result<Self, BadHeader> {
        unimplemented!()
    }

    /// The dialog their INVITE gets into with our responses, which carry `local_tag` in To and
    /// `contact` in Contact, and copy Record-Route ([`Dialog::complete`]).
    pub fn from_invite(
        _invite: &Request,
        _local_tag: &str,
        _contact: NameAddr,
    ) -> Result<Self, BadHeader> {
        unimplemented!()
    }

    /// Makes `response` one that keeps the dialog: To tag, Contact, and the INVITE's Record-Route
    /// (RFC 3261 §12.1.1).
    pub fn complete(&self, _invite: &Request, _response: &mut Response) -> Result<(), BadHeader> {
        unimplemented!()
    }

    /// Takes a further response to our INVITE, early or 2xx: the newest Contact and, for a 2xx that
    /// ends an early dialog, the route set anew (RFC 3261 §13.2.2.4).
    pub fn absorb_response(&mut self, _response: &Response) -> Result<(), BadHeader> {
        unimplemented!()
    }

    /// Checks a request of theirs and takes its CSeq; a re-INVITE or UPDATE also moves the remote
    /// target (RFC 3261 §12.2.2). Not for ACK and CANCEL, whose CSeq is the INVITE's.
    pub fn absorb_request(&mut self, _request: &Request) -> Result<(), DialogRefusal> {
        unimplemented!()
    }

    /// The next request of ours: BYE, re-INVITE, INFO, … with everything but Via and a body.
    pub fn request(&mut self, _method: Method) -> Request {
        unimplemented!()
    }

    /// The ACK to the 2xx of our INVITE with this CSeq number; the same each time it is asked. If
    /// that INVITE carried credentials, the ACK must carry the same (RFC 3261 §22.1): push them.
    pub fn ack(&self, _invite_cseq: u32) -> Request {
        unimplemented!()
    }
}
