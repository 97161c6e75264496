//! The parser: start line, header fields with folding (RFC 3261 §7.3.1), body by Content-Length, and
//! the fields without which nothing can be answered or matched (§8.1.1). What fails is sorted into
//! requests that are refused and everything else, which is met with silence.
//!
//! Strict where two readers could disagree about where a message or a value ends: bare CR or LF,
//! control characters outside quoted pairs, repeated single fields, a Content-Length that lies.
//! Generous with text nobody parses: display names and reason phrases may be any characters, and
//! bytes that are not UTF-8 become U+FFFD.

use super::{
    BadHeader, HEADER_BYTES_MAX, HEADERS_MAX, HeaderName, Headers, MESSAGE_BYTES_MAX, Message,
    Method, Request, Response, Status, URI_BYTES_MAX, Uri, Via,
};
use std::borrow::Cow;

macro_rules! malformed {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What is wrong with a datagram that gives no SIP message. One counter each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Malformed { $($(#[$doc])* $variant,)* }

        impl Malformed {
            /// Every kind, in counter order.
            pub const ALL: &'static [Malformed] = &[$(Malformed::$variant,)*];

            /// The name in counters and in the reason phrase of the refusal.
            pub const fn name(self) -> &'static str {
                match self { $(Malformed::$variant => $name,)* }
            }
        }
    };
}

malformed! {
    /// Larger than [`MESSAGE_BYTES_MAX`].
    MessageTooLarge = "message_too_large",
    /// Neither a request line nor a status line.
    StartLine = "start_line",
    /// A version other than SIP/2.0.
    Version = "version",
    /// A Request-URI that does not read, or one with header fields in it (RFC 3261 §19.1.1).
    RequestUri = "request_uri",
    /// A Request-URI above [`URI_BYTES_MAX`].
    RequestUriTooLong = "request_uri_too_long",
    /// No blank line after the header fields.
    HeadUnfinished = "head_unfinished",
    /// A header line without a name that is a token, or a continuation of nothing.
    HeaderLine = "header_line",
    /// More than [`HEADERS_MAX`] fields.
    TooManyHeaders = "too_many_headers",
    /// A field above [`HEADER_BYTES_MAX`].
    HeaderTooLong = "header_too_long",
    /// A control character that no quoted pair excuses; a bare CR or LF is one.
    ControlCharacter = "control_character",
    /// Content-Length repeated, no number, or not what the body is.
    ContentLength = "content_length",
    /// Via missing or unreadable.
    Via = "via",
    /// From missing, repeated or unreadable.
    From = "from",
    /// To missing, repeated or unreadable.
    To = "to",
    /// Call-ID missing, repeated or unreadable.
    CallId = "call_id",
    /// CSeq missing, repeated, unreadable, 2^31 or more, or of another method than the request.
    CSeq = "cseq",
    /// Max-Forwards above 255, repeated or unreadable.
    MaxForwards = "max_forwards",
    /// A Contact that does not read.
    Contact = "contact",
}

impl Malformed {
    fn status(self) -> Status {
        match self {
            Malformed::MessageTooLarge => Status::MESSAGE_TOO_LARGE,
            Malformed::Version => Status::VERSION_NOT_SUPPORTED,
            Malformed::RequestUriTooLong => Status::REQUEST_URI_TOO_LONG,
            _ => Status::BAD_REQUEST,
        }
    }
}

/// Why bytes gave no message, and what RFC 3261 wants done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unparsable {
    /// A request, and at least its Via can be echoed: answer with [`Unparsable::response`].
    Refuse {
        /// What is wrong.
        problem: Malformed,
        /// Via, and of From, To, Call-ID and CSeq those that are there.
        headers: Headers,
    },
    /// A response, an ACK, or nothing that could be answered: say nothing.
    Silence(Malformed),
}

impl Unparsable {
    /// What is wrong.
    pub fn problem(&self) -> Malformed {
        match self {
            Unparsable::Refuse { problem, .. } | Unparsable::Silence(problem) => *problem,
        }
    }

    /// The answer, without a To tag; `None` for silence.
    pub fn response(&self) -> Option<Response> {
        match self {
            Unparsable::Refuse { problem, headers } => {
                let mut response = Response::answering(headers, problem.status());
                response.reason = format!("{} ({})", response.reason, problem.name());
                Some(response)
            }
            Unparsable::Silence(_) => None,
        }
    }
}

/// How the end of the body is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Datagram,
    WebSocket,
}

/// Reads one UDP datagram. A Content-Length shorter than the body trims it, a longer one is refused
/// (RFC 3261 §18.3).
pub fn parse_datagram(bytes: &[u8]) -> Result<Message, Unparsable> {
    parse(bytes, Framing::Datagram)
}

/// Reads one WebSocket message, text or binary. Content-Length may be absent; if present it must be
/// the body's length (RFC 7118 §4.2: one SIP message a WebSocket message).
pub fn parse_websocket(bytes: &[u8]) -> Result<Message, Unparsable> {
    parse(bytes, Framing::WebSocket)
}

fn parse(bytes: &[u8], framing: Framing) -> Result<Message, Unparsable> {
    // RFC 3261 §7.5: CRLFs before the start line are ignored.
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = &bytes[blank..];
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(refuse(&bytes[..MESSAGE_BYTES_MAX], Malformed::MessageTooLarge));
    }
    parse_whole(bytes, framing).map_err(|problem| refuse(bytes, problem))
}

fn parse_whole(bytes: &[u8], framing: Framing) -> Result<Message, Malformed> {
    let (line, rest) = take_line(bytes).ok_or(Malformed::StartLine)?;
    let start = parse_start(line)?;
    let (headers, body) = parse_headers(rest)?;
    let body = parse_body(&headers, body, framing)?;
    check_mandatory(&headers)?;
    match start {
        Start::Request(method, uri) => {
            check_request(&headers, &method)?;
            Ok(Message::Request(Request { method, uri, headers, body }))
        }
        Start::Response(status, reason) => {
            Ok(Message::Response(Response { status, reason, headers, body }))
        }
    }
}

enum Start {
    Request(Method, Uri),
    Response(Status, String),
}

fn parse_start(line: &[u8]) -> Result<Start, Malformed> {
    if line.iter().any(|byte| is_control(*byte)) {
        return Err(Malformed::ControlCharacter);
    }
    if is_status_line(line) {
        let text = String::from_utf8_lossy(line);
        let mut parts = text.splitn(3, ' ');
        if !parts.next().is_some_and(|version| version.eq_ignore_ascii_case("SIP/2.0")) {
            return Err(Malformed::Version);
        }
        let code = parts.next().filter(|code| code.len() == 3).and_then(super::token::number);
        let status = code.and_then(Status::new).ok_or(Malformed::StartLine)?;
        return Ok(Start::Response(status, parts.next().unwrap_or_default().to_owned()));
    }
    let text = std::str::from_utf8(line).map_err(|_| Malformed::StartLine)?;
    // Exactly one blank between the three parts (RFC 3261 §7.1).
    let mut parts = text.split(' ');
    let (method, uri, version) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(method), Some(uri), Some(version), None) => (method, uri, version),
        _ => return Err(Malformed::StartLine),
    };
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(match is_version(version) {
            true => Malformed::Version,
            false => Malformed::StartLine,
        });
    }
    let method = Method::parse(method).ok_or(Malformed::StartLine)?;
    if uri.len() > URI_BYTES_MAX {
        return Err(Malformed::RequestUriTooLong);
    }
    let uri: Uri = uri.parse().map_err(|_| Malformed::RequestUri)?;
    if uri.as_sip().is_some_and(|uri| !uri.headers.is_empty()) {
        return Err(Malformed::RequestUri);
    }
    Ok(Start::Request(method, uri))
}

/// Reads the fields up to the blank line; what follows it is the body.
fn parse_headers(mut rest: &[u8]) -> Result<(Headers, &[u8]), Malformed> {
    let mut headers = Headers::new();
    loop {
        let (field, after) = take_field(rest).ok_or(Malformed::HeadUnfinished)?;
        rest = after;
        if field.is_empty() {
            return Ok((headers, rest));
        }
        if headers.len() == HEADERS_MAX {
            return Err(Malformed::TooManyHeaders);
        }
        if field.len() > HEADER_BYTES_MAX {
            return Err(Malformed::HeaderTooLong);
        }
        let (name, value) = parse_field(&field)?;
        headers.push(name, value);
    }
}

fn parse_field(field: &[u8]) -> Result<(HeaderName, String), Malformed> {
    let colon = field.iter().position(|byte| *byte == b':').ok_or(Malformed::HeaderLine)?;
    // HCOLON lets blanks stand before the colon (RFC 3261 §25.1); inside a name they may not.
    let name = std::str::from_utf8(field[..colon].trim_ascii_end()).ok();
    let name = name.and_then(HeaderName::parse).ok_or(Malformed::HeaderLine)?;
    let value = field[colon + 1..].trim_ascii();
    if !controls_are_escaped(value) {
        return Err(Malformed::ControlCharacter);
    }
    Ok((name, String::from_utf8_lossy(value).into_owned()))
}

fn parse_body(headers: &Headers, rest: &[u8], framing: Framing) -> Result<Vec<u8>, Malformed> {
    let stated = headers.content_length_bytes().map_err(|_| Malformed::ContentLength)?;
    let length = match (stated.map(|length| length as usize), framing) {
        (None, _) => rest.len(),
        (Some(length), Framing::Datagram) if length <= rest.len() => length,
        (Some(length), Framing::WebSocket) if length == rest.len() => length,
        _ => return Err(Malformed::ContentLength),
    };
    Ok(rest[..length].to_vec())
}

fn check_mandatory(headers: &Headers) -> Result<(), Malformed> {
    let mut vias = headers.values(&HeaderName::Via).peekable();
    if vias.peek().is_none() || !vias.all(|via| Via::parse(via).is_some()) {
        return Err(Malformed::Via);
    }
    headers.from().map_err(|_| Malformed::From)?;
    headers.to().map_err(|_| Malformed::To)?;
    headers.call_id().map_err(|_| Malformed::CallId)?;
    headers.cseq().map_err(|_| Malformed::CSeq)?;
    Ok(())
}

fn check_request(headers: &Headers, method: &Method) -> Result<(), Malformed> {
    if !headers.cseq().is_ok_and(|cseq| cseq.method == *method) {
        return Err(Malformed::CSeq);
    }
    headers.max_forwards().map_err(|BadHeader(_)| Malformed::MaxForwards)?;
    headers.contacts().map_err(|BadHeader(_)| Malformed::Contact)?;
    Ok(())
}

/// Decides between refusal and silence, and keeps what the refusal must echo.
fn refuse(bytes: &[u8], problem: Malformed) -> Unparsable {
    let silence = Unparsable::Silence(problem);
    let Some((line, mut rest)) = take_line(bytes) else { return silence };
    let version = line.trim_ascii_end().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let is_request = !is_status_line(line) && version.to_ascii_uppercase().starts_with(b"SIP/");
    if !is_request || line.starts_with(b"ACK ") {
        return silence;
    }
    let mut headers = Headers::new();
    while let Some((field, after)) = take_field(rest)
        && !field.is_empty()
        && headers.len() < HEADERS_MAX
    {
        rest = after;
        let echoed = field.len() <= HEADER_BYTES_MAX;
        if let Some((name, value)) = parse_field(&field).ok().filter(|_| echoed) {
            let wanted = match name {
                HeaderName::Via => !value.is_empty(),
                HeaderName::From | HeaderName::To | HeaderName::CallId | HeaderName::CSeq => {
                    headers.first(&name).is_none()
                }
                _ => false,
            };
            if wanted {
                headers.push(name, value);
            }
        }
    }
    match headers.first(&HeaderName::Via) {
        Some(_) => Unparsable::Refuse { problem, headers },
        None => silence,
    }
}

fn is_status_line(line: &[u8]) -> bool {
    line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/")
}

fn is_version(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.split_once('/').and_then(|(_, number)| number.split_once('.'));
    number.is_some_and(|(major, minor)| digits(major) && digits(minor))
}

/// The bytes before the next CRLF, and those after it.
fn take_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

/// The next header field with its continuation lines joined by one blank each, or an empty one for
/// the blank line that ends the head.
fn take_field(bytes: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let (line, mut rest) = take_line(bytes)?;
    let mut field = Cow::Borrowed(line);
    while !line.is_empty() && matches!(rest.first(), Some(b' ' | b'\t')) {
        let (line, after) = take_line(rest)?;
        let field = field.to_mut();
        field.truncate(field.trim_ascii_end().len());
        field.push(b' ');
        field.extend_from_slice(line.trim_ascii_start());
        rest = after;
    }
    Some((field, rest))
}

fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

/// Whether each control character stands in a quoted pair of a quoted string, where RFC 3261 §25.1
/// allows all but CR and LF.
fn controls_are_escaped(value: &[u8]) -> bool {
    if !value.iter().any(|byte| is_control(*byte)) {
        return true;
    }
    let (mut quoted, mut escaped) = (false, false);
    for byte in value {
        match byte {
            b'\r' | b'\n' => return false,
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if is_control(*byte) => return false,
            _ => {}
        }
    }
    true
}
