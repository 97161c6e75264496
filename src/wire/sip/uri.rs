//! URIs (RFC 3261 §19.1; RFC 3966 for `tel`): read once into their parts, escapes resolved, and
//! written with whatever must be escaped again.

use super::host::{Host, parse_host_port};
use super::token::{escape, is_unreserved, unescape};
use super::{Parameters, URI_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A URI as SIP carries them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Uri {
    /// `sip:` or `sips:`.
    Sip(SipUri),
    /// `tel:`.
    Tel(TelUri),
    /// Any other scheme: its text. A request to one is answered 416 (RFC 3261 §8.2.2.1).
    Other(OtherUri),
}

/// `sip` or `sips`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SipScheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
}

/// A `sip:` or `sips:` URI.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SipUri {
    /// Which of the two.
    pub scheme: SipScheme,
    /// The user part, escapes resolved.
    pub user: Option<String>,
    /// The password RFC 3261 advises against; kept so that an address is not changed.
    pub password: Option<String>,
    /// Where.
    pub host: Host,
    /// `None` if not written.
    pub port: Option<u16>,
    /// `;transport=ws;lr` and the like.
    pub parameters: Parameters,
    /// `?Subject=x` and the like, escapes resolved.
    pub headers: Vec<(String, String)>,
}

/// A `tel:` URI.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TelUri {
    /// The number without visual separators: `+` and digits, or a local number.
    pub number: String,
    /// `;phone-context=…` and the like.
    pub parameters: Parameters,
}

/// A URI of another scheme: its text, free of blanks, quotes and angle brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OtherUri(String);

/// Text that is no URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUri;

impl fmt::Display for BadUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("not a URI")
    }
}

impl std::error::Error for BadUri {}

impl Uri {
    /// A `sip:` URI.
    pub fn sip(user: Option<&str>, host: Host, port: Option<u16>) -> Self {
        Uri::Sip(SipUri {
            scheme: SipScheme::Sip,
            user: user.map(str::to_owned),
            password: None,
            host,
            port,
            parameters: Parameters::default(),
            headers: Vec::new(),
        })
    }

    /// The user part of a `sip:` URI, or the number of a `tel:` URI.
    pub fn user(&self) -> Option<&str> {
        match self {
            Uri::Sip(uri) => uri.user.as_deref(),
            Uri::Tel(uri) => Some(&uri.number),
            Uri::Other(_) => None,
        }
    }

    /// Who is meant: the user part up to the parameters that a number in it may have
    /// (RFC 3261 §19.1.6, RFC 4694, RFC 4904), which are not for people.
    pub fn subscriber(&self) -> Option<&str> {
        self.user().map(|user| user.split_once(';').map_or(user, |(subscriber, _)| subscriber))
    }

    /// The host of a `sip:` URI.
    pub fn host(&self) -> Option<&Host> {
        self.as_sip().map(|uri| &uri.host)
    }

    /// The parts of a `sip:` or `sips:` URI.
    pub fn as_sip(&self) -> Option<&SipUri> {
        match self {
            Uri::Sip(uri) => Some(uri),
            _ => None,
        }
    }

    /// As [`Uri::as_sip`], to change it.
    pub fn as_sip_mut(&mut self) -> Option<&mut SipUri> {
        match self {
            Uri::Sip(uri) => Some(uri),
            _ => None,
        }
    }

    /// A parameter's value, for every scheme that has parameters.
    pub fn parameters(&self) -> Option<&Parameters> {
        match self {
            Uri::Sip(uri) => Some(&uri.parameters),
            Uri::Tel(uri) => Some(&uri.parameters),
            Uri::Other(_) => None,
        }
    }
}

impl FromStr for Uri {
    type Err = BadUri;

    fn from_str(text: &str) -> Result<Self, BadUri> {
        if text.len() > URI_BYTES_MAX {
            return Err(BadUri);
        }
        let (scheme, rest) = text.split_once(':').ok_or(BadUri)?;
        if scheme.eq_ignore_ascii_case("sip") {
            parse_sip(SipScheme::Sip, rest).map(Uri::Sip).ok_or(BadUri)
        } else if scheme.eq_ignore_ascii_case("sips") {
            parse_sip(SipScheme::Sips, rest).map(Uri::Sip).ok_or(BadUri)
        } else if scheme.eq_ignore_ascii_case("tel") {
            parse_tel(rest).map(Uri::Tel).ok_or(BadUri)
        } else {
            parse_other(scheme, rest, text).map(Uri::Other).ok_or(BadUri)
        }
    }
}

fn parse_sip(scheme: SipScheme, text: &str) -> Option<SipUri> {
    // `@` may not stand unescaped anywhere but after the user part (RFC 3261 §25.1).
    let (user, password, rest) = match text.split_once('@') {
        None => (None, None, text),
        Some((userinfo, rest)) => {
            let (user, password) = match userinfo.split_once(':') {
                None => (userinfo, None),
                Some((user, password)) => (user, Some(unescape(password, is_read_user_byte)?)),
            };
            // Nobody's name may be empty (RFC 3261 §25.1), but some callers' is.
            let user = unescape(user, is_read_user_byte)?;
            (Some(user), password, rest)
        }
    };
    let (rest, headers) = match rest.split_once('?') {
        None => (rest, Vec::new()),
        Some((rest, headers)) => (rest, parse_uri_headers(headers)?),
    };
    let (host_port, parameters) = match rest.split_once(';') {
        None => (rest, Parameters::default()),
        Some((host_port, parameters)) => (host_port, Parameters::parse_uri(parameters)?),
    };
    let (host, port) = parse_host_port(host_port)?;
    Some(SipUri { scheme, user, password, host, port, parameters, headers })
}

fn parse_uri_headers(text: &str) -> Option<Vec<(String, String)>> {
    let headers: Option<Vec<_>> = text
        .split('&')
        .take(super::PARAMETERS_MAX + 1)
        .map(|part| {
            let (name, value) = part.split_once('=')?;
            let name = unescape(name, is_uri_header_byte)?;
            (!name.is_empty()).then_some((name, unescape(value, is_uri_header_byte)?))
        })
        .collect();
    headers.filter(|headers| headers.len() <= super::PARAMETERS_MAX)
}

fn parse_tel(text: &str) -> Option<TelUri> {
    let (number, parameters) = match text.split_once(';') {
        None => (text, Parameters::default()),
        Some((number, parameters)) => (number, Parameters::parse_uri(parameters)?),
    };
    let number: String = number.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    let is_local = |c: char| c.is_ascii_hexdigit() || matches!(c, '*' | '#');
    let valid = match number.starts_with('+') {
        true => digits.chars().all(|c| c.is_ascii_digit()),
        false => digits.chars().all(is_local),
    };
    (valid && !digits.is_empty()).then_some(TelUri { number, parameters })
}

fn parse_other(scheme: &str, rest: &str, text: &str) -> Option<OtherUri> {
    let is_scheme_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(is_scheme_byte)
        && !rest.is_empty()
        && rest.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"'));
    valid.then(|| OtherUri(text.to_owned()))
}

impl fmt::Display for Uri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Uri::Sip(uri) => write!(formatter, "{uri}"),
            Uri::Tel(uri) => {
                write!(formatter, "tel:{}", uri.number)?;
                uri.parameters.write_uri(formatter)
            }
            Uri::Other(OtherUri(text)) => formatter.write_str(text),
        }
    }
}

impl fmt::Display for SipUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.scheme {
            SipScheme::Sip => "sip:",
            SipScheme::Sips => "sips:",
        })?;
        if let Some(user) = &self.user {
            formatter.write_str(&escape(user, is_user_byte))?;
            if let Some(password) = &self.password {
                write!(formatter, ":{}", escape(password, is_password_byte))?;
            }
            formatter.write_str("@")?;
        }
        write!(formatter, "{}", self.host)?;
        if let Some(port) = self.port {
            write!(formatter, ":{port}")?;
        }
        self.parameters.write_uri(formatter)?;
        for (index, (name, value)) in self.headers.iter().enumerate() {
            let mark = if index == 0 { '?' } else { '&' };
            let name = escape(name, is_uri_header_byte);
            write!(formatter, "{mark}{name}={}", escape(value, is_uri_header_byte))?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Uri {
    type Error = BadUri;

    fn try_from(text: String) -> Result<Self, BadUri> {
        text.parse()
    }
}

impl From<Uri> for String {
    fn from(uri: Uri) -> String {
        uri.to_string()
    }
}

/// `user` of RFC 3261 §25.1: what is written unescaped.
fn is_user_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/')
}

/// What is read unescaped: also `#`, which phones send in dialled strings, and the `:` that a
/// password may hold.
fn is_read_user_byte(byte: u8) -> bool {
    is_user_byte(byte) || matches!(byte, b'#' | b':')
}

fn is_password_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',')
}

/// `hnv-unreserved` and `unreserved`.
fn is_uri_header_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b'?' | b':' | b'+' | b'$')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn the_parts_of_a_browsers_contact() {
        let parsed = uri("sip:k3l9x0aa@7f0qmb1c9z2d.invalid;transport=ws;ob");
        assert_eq!(parsed.user(), Some("k3l9x0aa"));
        assert_eq!(parsed.host(), Some(&Host::Name("7f0qmb1c9z2d.invalid".into())));
        let parameters = parsed.parameters().unwrap();
        assert_eq!(parameters.value("Transport"), Some("ws"));
        assert!(parameters.has("ob"));
        assert_eq!(parsed.to_string(), "sip:k3l9x0aa@7f0qmb1c9z2d.invalid;transport=ws;ob");
    }

    #[test]
    fn escapes_are_resolved_once_and_written_again() {
        let parsed = uri("sip:sips%3Auser%40example.com@example.net;n%61me=v%61lue%25%34%31");
        assert_eq!(parsed.user(), Some("sips:user@example.com"));
        assert_eq!(parsed.parameters().unwrap().value("name"), Some("value%41"));
        assert_eq!(parsed.to_string(), "sip:sips%3Auser%40example.com@example.net;name=value%2541");
        assert_eq!(uri("sip:%00@example.com").user(), Some("\0"));
        assert_eq!(uri("sip:%00@example.com").to_string(), "sip:%00@example.com");
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        assert_eq!(
            uri("sip:[2001:db8::1]:5070").host().unwrap().address().unwrap().to_string(),
            "2001:db8::1"
        );
        assert_eq!(uri("sip:[2001:db8::1]:5070").as_sip().unwrap().port, Some(5070));
        assert_eq!(uri("sips:192.0.2.1").to_string(), "sips:192.0.2.1");
        assert_eq!(uri("SIP:A@EXAMPLE.com").to_string(), "sip:A@example.com");
    }

    /// RFC 5118 §4.1 to §4.4, §4.9.
    #[test]
    fn ipv6_needs_brackets_and_the_port_stands_outside() {
        let parts = |text: &str| {
            let Uri::Sip(SipUri { host, port, .. }) = uri(text) else { panic!("{text}") };
            (host.to_string(), port)
        };
        assert_eq!(parts("sip:[2001:db8::10]"), ("[2001:db8::10]".to_owned(), None));
        assert_eq!(parts("sip:[2001:db8::10:5070]"), ("[2001:db8::10:5070]".to_owned(), None));
        assert_eq!(parts("sip:[2001:db8::10]:5070"), ("[2001:db8::10]".to_owned(), Some(5070)));
        assert_eq!(parts("sip:u@[::ffff:192.0.2.10]").0, "[::ffff:192.0.2.10]");
        for text in
            ["sip:2001:db8::10", "sip:[2001:db8::10", "sip:2001:db8::10]", "sip:[192.0.2.1]"]
        {
            assert_eq!(text.parse::<Uri>(), Err(BadUri), "{text}");
        }
    }

    #[test]
    fn a_telephone_number_loses_its_separators() {
        let parsed = uri("tel:+1-(201)-555.0123;phone-context=example.com");
        assert_eq!(parsed.user(), Some("+12015550123"));
        assert_eq!(parsed.to_string(), "tel:+12015550123;phone-context=example.com");
        assert_eq!(uri("tel:*72#").user(), Some("*72#"));
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for text in [
            "",
            "sip",
            "sip:",
            ":",
            "<sip:a@b>",
            "sip:a b@c",
            "sip:a@",
            "sip:a@b@c",
            "sip:a@b:port",
            "sip:a@b:65536",
            "sip:a@b:+1",
            "sip:a@[::1",
            "sip:a%4@b",
            "sip:a%zz@b",
            "sip:a%ff@b",
            "sip:a@b;",
            "sip:a@b;;c",
            "sip:a@b;c;C=1",
            "sip:a@b?x",
            "tel:",
            "tel:+",
            "tel:+12a",
            "tel:hello",
            "1x:y",
            "x:<y>",
            "sip:a\r\nVia: x@b",
            "sip:a@b;x=\r\n",
        ] {
            assert_eq!(text.parse::<Uri>(), Err(BadUri), "{text:?}");
        }
        format!("sip:{}@b", "a".repeat(URI_BYTES_MAX)).parse::<Uri>().unwrap_err();
    }

    #[test]
    fn other_schemes_are_kept_whole() {
        assert_eq!(uri("isbn:2983792873").to_string(), "isbn:2983792873");
        assert!(uri("soap.beep://192.0.2.103:3002").user().is_none());
    }
}
