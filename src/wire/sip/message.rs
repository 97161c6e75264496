//! Requests and responses (RFC 3261 §7), how an answer is begun (§8.2.6) and how both are written.

use super::body::{self, NoSdp, SDP};
use super::value::ContentType;
use super::{BadHeader, HeaderName, Headers, Method, Status, Uri};

/// A SIP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// A request. One that came out of the parser has readable Via, From, To, Call-ID and CSeq, each
/// once (Via at least once), and the CSeq names its method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// The Request-URI.
    pub uri: Uri,
    /// Header fields; Content-Length is written from `body` and need not be here.
    pub headers: Headers,
    /// The body, empty if none.
    pub body: Vec<u8>,
}

/// A response. One that came out of the parser has the same mandatory fields as a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: Status,
    /// The reason phrase.
    pub reason: String,
    /// Header fields; Content-Length is written from `body` and need not be here.
    pub headers: Headers,
    /// The body, empty if none.
    pub body: Vec<u8>,
}

impl Message {
    /// The header fields of either kind.
    pub fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }

    /// The message as it goes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Message::Request(request) => request.to_bytes(),
            Message::Response(response) => response.to_bytes(),
        }
    }
}

impl Request {
    /// A request with no header fields and no body.
    pub fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, headers: Headers::new(), body: Vec::new() }
    }

    /// Puts `body` in the request with its type.
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.set(HeaderName::ContentType, content_type);
        self.body = body.into();
        self
    }

    /// The SDP in it; `None` without a body, or with one of which SDP is no part.
    pub fn sdp(&self) -> Result<Option<&str>, NoSdp> {
        sdp_of(&self.headers, &self.body)
    }

    /// Whether it makes an offer or an answer, of whatever worth.
    pub fn is_describing(&self) -> bool {
        self.sdp() != Ok(None)
    }

    /// The request as it goes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        write(&format!("{} {} SIP/2.0", self.method, self.uri), &self.headers, &self.body)
    }
}

impl Response {
    /// The response to `request` with the fields RFC 3261 §8.2.6.2 copies: Via, From, To, Call-ID,
    /// CSeq, and for 100 the Timestamp. The To tag is added with [`Response::set_to_tag`].
    pub fn to(request: &Request, status: Status) -> Self {
        Self::answering(&request.headers, status)
    }

    /// As [`Response::to`], from header fields alone.
    pub fn answering(request: &Headers, status: Status) -> Self {
        let mut headers = Headers::new();
        for name in [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            headers.copy(&name, request);
        }
        if status == Status::TRYING {
            headers.copy(&HeaderName::Timestamp, request);
        }
        Self { status, reason: status.phrase().to_owned(), headers, body: Vec::new() }
    }

    /// Says something else, in the words usual for it.
    pub fn set_status(&mut self, status: Status) {
        self.status = status;
        status.phrase().clone_into(&mut self.reason);
    }

    /// Puts `body` in the response with its type.
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.set(HeaderName::ContentType, content_type);
        self.body = body.into();
        self
    }

    /// The SDP in it; `None` without a body.
    pub fn sdp(&self) -> Result<Option<&str>, NoSdp> {
        sdp_of(&self.headers, &self.body)
    }

    /// Adds `tag` to To unless it has one.
    pub fn set_to_tag(&mut self, tag: &str) -> Result<(), BadHeader> {
        let mut to = self.headers.to()?;
        if to.tag().is_none() {
            to.set_tag(tag);
            self.headers.set(HeaderName::To, to);
        }
        Ok(())
    }

    /// The response as it goes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let start = format!("SIP/2.0 {} {}", self.status, self.reason);
        write(&start, &self.headers, &self.body)
    }
}

fn sdp_of<'a>(headers: &Headers, body: &'a [u8]) -> Result<Option<&'a str>, NoSdp> {
    if body.is_empty() {
        return Ok(None);
    }
    let kind = match headers.first(&HeaderName::ContentType) {
        // What is SDP by its first line needs no name.
        None if body.starts_with(b"v=0") => ContentType::parse(SDP),
        None => None,
        Some(_) => headers.content_type().ok().flatten(),
    };
    let kind = kind.ok_or(NoSdp::OtherType)?;
    let is_undone = |encoding: &str| encoding.eq_ignore_ascii_case("identity");
    if !headers.values(&HeaderName::ContentEncoding).all(is_undone) {
        return Err(NoSdp::Encoded);
    }
    body::sdp_of(&kind, body)
}

/// Writes a message. Nothing a value holds can end its line: CR and LF become blanks. The
/// Content-Length is ours, whatever the fields say.
fn write(start: &str, headers: &Headers, body: &[u8]) -> Vec<u8> {
    let size: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let mut bytes = Vec::with_capacity(start.len() + size + body.len() + 32);
    let mut line = |text: &[&str]| {
        for part in text {
            bytes.extend(part.bytes().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }));
        }
        bytes.extend_from_slice(b"\r\n");
    };
    line(&[start]);
    for (name, value) in headers.iter().filter(|(name, _)| **name != HeaderName::ContentLength) {
        line(&[name.as_str(), ": ", value]);
    }
    line(&["Content-Length: ", &body.len().to_string()]);
    line(&[]);
    bytes.extend_from_slice(body);
    bytes
}
