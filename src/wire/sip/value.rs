//! Typed header values (RFC 3261 §20, §25.1): each reads from one value's text and writes itself.

use super::host::parse_host_port;
use super::token::{is_token, number, quote, scalar, split_values, take_quoted};
use super::{Host, Method, Parameters, Uri, VALUES_MAX};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Via (RFC 3261 §20.42).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Over what the message was sent.
    pub transport: Transport,
    /// By whom.
    pub sent_by: SentBy,
    /// `branch`, `received`, `rport` and others.
    pub parameters: Parameters,
}

/// The `sent-by` of a Via: where its writer says it listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SentBy {
    /// A browser's is `<random>.invalid` (RFC 7118 §5.1).
    pub host: Host,
    /// `None` stands for the transport's usual port.
    pub port: Option<u16>,
}

/// The transport named in a Via.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// Another token, in upper case.
    Other(super::Token),
}

/// `rport` (RFC 3581 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponsePort {
    /// Bare: the sender wants the response at its source port.
    Requested,
    /// The source port as its receiver saw it.
    Port(u16),
}

impl Via {
    /// Reads one Via value.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        if !name.trim().eq_ignore_ascii_case("SIP") || !is_token(version.trim()) {
            return None;
        }
        let rest = rest.trim_start();
        let end = rest.find([' ', '\t'])?;
        let (transport, rest) = rest.split_at(end);
        let (sent_by, parameters) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let (host, port) = parse_host_port(sent_by.trim())?;
        Some(Self {
            transport: Transport::parse(transport)?,
            sent_by: SentBy { host, port },
            parameters: Parameters::parse_header(parameters)?,
        })
    }

    /// The transaction's name (RFC 3261 §8.1.1.7).
    pub fn branch(&self) -> Option<&str> {
        self.parameters.value("branch")
    }

    /// The address its receiver saw (RFC 3261 §18.2.1).
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.parameters.value("received")?;
        text.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// `rport`, if there is one that reads.
    pub fn rport(&self) -> Option<ResponsePort> {
        match self.parameters.value("rport") {
            Some(port) => number(port).map(ResponsePort::Port),
            None => self.parameters.has("rport").then_some(ResponsePort::Requested),
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SIP/2.0/{} {}", self.transport, self.sent_by)?;
        self.parameters.write_header(formatter)
    }
}

impl fmt::Display for SentBy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.host)?;
        match self.port {
            Some(port) => write!(formatter, ":{port}"),
            None => Ok(()),
        }
    }
}

impl Transport {
    fn parse(text: &str) -> Option<Self> {
        let upper = text.to_ascii_uppercase();
        Some(match upper.as_str() {
            "UDP" => Transport::Udp,
            "TCP" => Transport::Tcp,
            "TLS" => Transport::Tls,
            "WS" => Transport::Ws,
            "WSS" => Transport::Wss,
            _ => Transport::Other(super::Token::new(&upper)?),
        })
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
            Transport::Other(token) => token.as_str(),
        })
    }
}

/// A `name-addr` or `addr-spec` with its header parameters: From, To, Contact, Route and their
/// like.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameAddr {
    /// The display name, unquoted.
    pub display_name: Option<String>,
    /// The address.
    pub uri: Uri,
    /// Parameters of the header value, not of the URI.
    pub parameters: Parameters,
}

impl NameAddr {
    /// An address without name or parameters.
    pub fn new(uri: Uri) -> Self {
        Self { display_name: None, uri, parameters: Parameters::default() }
    }

    /// The same address with a tag.
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.set_tag(tag);
        self
    }

    /// Reads one value, in angle brackets or without. Without them every parameter belongs to the
    /// header, and the URI may hold neither `,` nor `?` (RFC 3261 §20.10).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with('"') || text.contains('<') {
            return Self::parse_bracketed(text);
        }
        let (uri, parameters) = text.split_at(text.find(';').unwrap_or(text.len()));
        let uri = uri.trim_end();
        if uri.contains([',', '?']) {
            return None;
        }
        let parameters = Parameters::parse_header(parameters)?;
        Some(Self { display_name: None, uri: uri.parse().ok()?, parameters })
    }

    /// Reads one value that must be in angle brackets, as Route must.
    pub fn parse_bracketed(text: &str) -> Option<Self> {
        let text = text.trim();
        let (display_name, rest) = match text.starts_with('"') {
            true => {
                let (name, rest) = take_quoted(text)?;
                (Some(name), rest.trim_start())
            }
            false => {
                let (name, rest) = text.split_at(text.find('<')?);
                let name = name.trim();
                // RFC 3261 wants tokens here. Names with commas, brackets or letters beyond ASCII
                // are everyday, and only shown. A quote in the middle makes it nobody's name.
                let is_shown = !name.is_empty() && !name.contains(['"', '\\']);
                (is_shown.then(|| name.to_owned()), rest)
            }
        };
        let (uri, parameters) = rest.strip_prefix('<')?.split_once('>')?;
        let parameters = Parameters::parse_header(parameters)?;
        Some(Self { display_name, uri: uri.parse().ok()?, parameters })
    }

    /// The tag (RFC 3261 §19.3).
    pub fn tag(&self) -> Option<&str> {
        self.parameters.value("tag")
    }

    /// Sets the tag.
    pub fn set_tag(&mut self, tag: &str) {
        self.parameters.set("tag", Some(tag));
    }

    /// A Contact's `expires` in seconds; one that does not read counts as absent
    /// (RFC 3261 §10.2.1.1).
    pub fn expires_s(&self) -> Option<u32> {
        scalar(self.parameters.value("expires")?)
    }

    /// A Contact's `+sip.instance`, as `<urn:uuid:…>` (RFC 5626 §4.1).
    pub fn instance(&self) -> Option<&str> {
        self.parameters.value("+sip.instance")
    }

    /// A Contact's `reg-id` (RFC 5626 §4.2).
    pub fn reg_id(&self) -> Option<u32> {
        number(self.parameters.value("reg-id")?)
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.display_name {
            write!(formatter, "{} ", quote(name))?;
        }
        write!(formatter, "<{}>", self.uri)?;
        self.parameters.write_header(formatter)
    }
}

impl FromStr for NameAddr {
    type Err = super::BadUri;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or(super::BadUri)
    }
}

impl TryFrom<String> for NameAddr {
    type Error = super::BadUri;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<NameAddr> for String {
    fn from(address: NameAddr) -> String {
        address.to_string()
    }
}

/// The Contact fields of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contacts {
    /// `*`, alone: every binding (RFC 3261 §10.2.2).
    Any,
    /// The addresses in order; none if there was no field.
    List(Vec<NameAddr>),
}

impl Contacts {
    /// Reads all Contact fields together.
    pub(super) fn parse<'a>(fields: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut list = Vec::new();
        let mut any = false;
        for text in fields.flat_map(split_values) {
            match text {
                "*" => any = true,
                text => list.push(NameAddr::parse(text)?),
            }
            if list.len() > VALUES_MAX {
                return None;
            }
        }
        match (any, list.is_empty()) {
            (true, true) => Some(Contacts::Any),
            (true, false) => None,
            (false, _) => Some(Contacts::List(list)),
        }
    }
}

/// CSeq (RFC 3261 §20.16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2^31 (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The request's method.
    pub method: Method,
}

impl CSeq {
    /// Reads the value.
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, method) = text.trim().split_once([' ', '\t'])?;
        let number = number(digits).filter(|number| *number < 1 << 31)?;
        Some(Self { number, method: Method::parse(method.trim_start())? })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.number, self.method)
    }
}

/// Content-Type (RFC 3261 §20.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    /// `type/subtype` in lower case.
    pub media_type: String,
    /// `boundary` and others.
    pub parameters: Parameters,
}

impl ContentType {
    /// Reads the value.
    pub fn parse(text: &str) -> Option<Self> {
        let (media_type, parameters) = text.split_at(text.find(';').unwrap_or(text.len()));
        let (main, sub) = media_type.split_once('/')?;
        let (main, sub) = (main.trim(), sub.trim());
        if !is_token(main) || !is_token(sub) {
            return None;
        }
        Some(Self {
            media_type: format!("{main}/{sub}").to_ascii_lowercase(),
            // Some write a separator with nothing behind it.
            parameters: Parameters::parse_header(parameters.trim_end_matches([';', ' ']))?,
        })
    }
}

/// One value of Reason (RFC 3326): `Q.850;cause=16;text="Normal call clearing"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// `SIP`, `Q.850`, …
    pub protocol: String,
    /// The code in that protocol.
    pub cause: Option<u16>,
    /// Words for people.
    pub text: Option<String>,
}

impl Reason {
    /// Reads one value.
    pub fn parse(value: &str) -> Option<Self> {
        let (protocol, parameters) = value.split_at(value.find(';').unwrap_or(value.len()));
        let parameters = Parameters::parse_header(parameters)?;
        let protocol = protocol.trim();
        is_token(protocol).then(|| Self {
            protocol: protocol.to_owned(),
            cause: parameters.value("cause").and_then(number),
            text: parameters.value("text").map(str::to_owned),
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.protocol)?;
        if let Some(cause) = self.cause {
            write!(formatter, ";cause={cause}")?;
        }
        match &self.text {
            Some(text) => write!(formatter, ";text={}", quote(text)),
            None => Ok(()),
        }
    }
}

/// A challenge or credentials: a scheme and its parameters (RFC 3261 §20.7, §20.44).
#[derive(Clone, PartialEq, Eq)]
pub struct AuthParameters {
    /// `Digest`, as it came; compared without case.
    pub scheme: String,
    parameters: Vec<(String, String)>,
}

impl AuthParameters {
    /// Reads one field. `None` if a parameter is there twice: two readers could take different
    /// ones.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, mut rest) = text.split_at(text.find([' ', '\t'])?);
        if !is_token(scheme) {
            return None;
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        loop {
            let (name, after) = rest.split_once('=')?;
            let name = name.trim().to_ascii_lowercase();
            let after = after.trim_start();
            let (value, after) = if after.starts_with('"') {
                take_quoted(after)?
            } else {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim_end().to_owned(), &after[end..])
            };
            let repeated = parameters.iter().any(|(held, _)| *held == name);
            if !is_token(&name) || repeated || parameters.len() == super::PARAMETERS_MAX {
                return None;
            }
            parameters.push((name, value));
            match after.trim_start() {
                "" => break,
                after => rest = after.strip_prefix(',')?,
            }
        }
        Some(Self { scheme: scheme.to_owned(), parameters })
    }

    /// A parameter's value, unquoted.
    pub fn value(&self, name: &str) -> Option<&str> {
        let held = self.parameters.iter().find(|(held, _)| held.eq_ignore_ascii_case(name));
        held.map(|(_, value)| value.as_str())
    }
}

/// Digest responses are secrets of a kind: only the names are shown.
impl fmt::Debug for AuthParameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.parameters.iter().map(|(name, _)| name);
        write!(formatter, "{} ", self.scheme)?;
        formatter.debug_list().entries(names).finish()
    }
}

/// Whether `text` can be a Call-ID: `word ["@" word]`, read generously as printable ASCII.
pub(super) fn is_call_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}
