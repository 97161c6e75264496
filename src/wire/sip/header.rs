//! Header fields (RFC 3261 §7.3): an ordered list of name and text, names compared without case,
//! compact forms (§7.3.3) understood. Typed values are read from the text on demand.

use super::token::{number, scalar, split_values};
use super::value::{AuthParameters, CSeq, Contacts, ContentType, NameAddr, Reason, Via};
use super::{Token, VALUES_MAX};
use std::fmt;

macro_rules! header_names {
    ($($variant:ident = $name:literal $($compact:literal)?,)*) => {
        /// A header field's name.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            /// A name we do not know, in lower case.
            Other(Token),
        }

        impl HeaderName {
            const KNOWN: &'static [(HeaderName, &'static str)] =
                &[$((HeaderName::$variant, $name),)*];

            /// Reads a name in any case, long or compact. `None` unless it is a token.
            pub fn parse(text: &str) -> Option<Self> {
                if let [letter] = text.as_bytes() {
                    $($(if letter.eq_ignore_ascii_case(&$compact) {
                        return Some(HeaderName::$variant);
                    })?)*
                }
                match Self::KNOWN.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)) {
                    Some((known, _)) => Some(known.clone()),
                    None => Token::new(&text.to_ascii_lowercase()).map(HeaderName::Other),
                }
            }

            /// The name as we write it: the long form.
            pub fn as_str(&self) -> &str {
                match self {
                    $(HeaderName::$variant => $name,)*
                    HeaderName::Other(token) => token.as_str(),
                }
            }
        }
    };
}

header_names! {
    Via = "Via" b'v',
    From = "From" b'f',
    To = "To" b't',
    CallId = "Call-ID" b'i',
    CSeq = "CSeq",
    Contact = "Contact" b'm',
    MaxForwards = "Max-Forwards",
    Route = "Route",
    RecordRoute = "Record-Route",
    ContentType = "Content-Type" b'c',
    ContentLength = "Content-Length" b'l',
    ContentEncoding = "Content-Encoding" b'e',
    ContentDisposition = "Content-Disposition",
    Expires = "Expires",
    MinExpires = "Min-Expires",
    Allow = "Allow",
    Supported = "Supported" b'k',
    Require = "Require",
    ProxyRequire = "Proxy-Require",
    Unsupported = "Unsupported",
    Accept = "Accept",
    AcceptEncoding = "Accept-Encoding",
    Authorization = "Authorization",
    ProxyAuthorization = "Proxy-Authorization",
    WwwAuthenticate = "WWW-Authenticate",
    ProxyAuthenticate = "Proxy-Authenticate",
    Reason = "Reason",
    RetryAfter = "Retry-After",
    Warning = "Warning",
    UserAgent = "User-Agent",
    Server = "Server",
    Date = "Date",
    Timestamp = "Timestamp",
    Subject = "Subject" b's',
    Path = "Path",
    SessionExpires = "Session-Expires" b'x',
    MinSe = "Min-SE",
    RSeq = "RSeq",
    RAck = "RAck",
    Event = "Event" b'o',
    SubscriptionState = "Subscription-State",
    ReferTo = "Refer-To" b'r',
    ReferSub = "Refer-Sub",
    ReferredBy = "Referred-By" b'b',
    Replaces = "Replaces",
    PAssertedIdentity = "P-Asserted-Identity",
    Privacy = "Privacy",
    Diversion = "Diversion",
}

impl fmt::Display for HeaderName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A header field that is missing, repeated where it may not be, or does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHeader(pub HeaderName);

impl fmt::Display for BadHeader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bad or missing {}", self.0)
    }
}

impl std::error::Error for BadHeader {}

/// The header fields of a message, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, String)>);

impl Headers {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every field in order.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &str)> {
        self.0.iter().map(|(name, value)| (name, value.as_str()))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of the first field called `name`.
    pub fn first(&self, name: &HeaderName) -> Option<&str> {
        self.all(name).next()
    }

    /// The text of each field called `name`; one field may hold several comma-separated values.
    pub fn all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = name.clone();
        self.0.iter().filter(move |(held, _)| *held == name).map(|(_, value)| value.as_str())
    }

    /// Each value of every field called `name`, split at the commas that stand outside quotes and
    /// angle brackets. At most [`VALUES_MAX`].
    pub fn values<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
        let all = self.all(name).flat_map(split_values).take(VALUES_MAX);
        all.filter(|value| !value.is_empty())
    }

    /// Adds a field at the end. CR and LF in `value` become blanks when it is written.
    pub fn push(&mut self, name: HeaderName, value: impl ToString) {
        self.0.push((name, value.to_string()));
    }

    /// Adds a field before all others, as Via and Route are added.
    pub fn push_front(&mut self, name: HeaderName, value: impl ToString) {
        self.0.insert(0, (name, value.to_string()));
    }

    /// Puts one field in the place of all those called `name`.
    pub fn set(&mut self, name: HeaderName, value: impl ToString) {
        let place = self.0.iter().position(|(held, _)| *held == name).unwrap_or(self.0.len());
        self.remove(&name);
        self.0.insert(place, (name, value.to_string()));
    }

    /// Removes every field called `name`.
    pub fn remove(&mut self, name: &HeaderName) {
        self.0.retain(|(held, _)| held != name);
    }

    /// Copies every field called `name` from `other` to the end, unchanged and in order.
    pub fn copy(&mut self, name: &HeaderName, other: &Headers) {
        self.0.extend(other.0.iter().filter(|(held, _)| held == name).cloned());
    }

    /// Replaces the topmost Via value, keeping those below it.
    pub fn replace_top_via(&mut self, via: &Via) {
        let Some((_, text)) = self.0.iter_mut().find(|(name, _)| *name == HeaderName::Via) else {
            return;
        };
        let below: Vec<&str> = split_values(text).skip(1).collect();
        *text = std::iter::once(via.to_string())
            .chain(below.into_iter().map(str::to_owned))
            .collect::<Vec<_>>()
            .join(", ");
    }

    /// The topmost Via (RFC 3261 §20.42).
    pub fn top_via(&self) -> Result<Via, BadHeader> {
        let text = self.values(&HeaderName::Via).next().ok_or(BadHeader(HeaderName::Via))?;
        Via::parse(text).ok_or(BadHeader(HeaderName::Via))
    }

    /// From (RFC 3261 §20.20).
    pub fn from(&self) -> Result<NameAddr, BadHeader> {
        self.single(HeaderName::From, NameAddr::parse)
    }

    /// To (RFC 3261 §20.39).
    pub fn to(&self) -> Result<NameAddr, BadHeader> {
        self.single(HeaderName::To, NameAddr::parse)
    }

    /// Call-ID (RFC 3261 §20.8): compared byte for byte.
    pub fn call_id(&self) -> Result<&str, BadHeader> {
        let bad = || BadHeader(HeaderName::CallId);
        let mut all = self.all(&HeaderName::CallId);
        let first = all.next().ok_or_else(bad)?;
        if all.next().is_some() || !super::value::is_call_id(first) {
            return Err(bad());
        }
        Ok(first)
    }

    /// CSeq (RFC 3261 §20.16).
    pub fn cseq(&self) -> Result<CSeq, BadHeader> {
        self.single(HeaderName::CSeq, CSeq::parse)
    }

    /// Contact (RFC 3261 §20.10). No field at all is [`Contacts::List`] of nothing.
    pub fn contacts(&self) -> Result<Contacts, BadHeader> {
        Contacts::parse(self.all(&HeaderName::Contact)).ok_or(BadHeader(HeaderName::Contact))
    }

    /// The one Contact that makes a dialog (RFC 3261 §12.1).
    pub fn contact(&self) -> Result<NameAddr, BadHeader> {
        match self.contacts()? {
            Contacts::List(list) if list.len() == 1 => {
                list.into_iter().next().ok_or(BadHeader(HeaderName::Contact))
            }
            _ => Err(BadHeader(HeaderName::Contact)),
        }
    }

    /// Route (RFC 3261 §20.34), topmost first.
    pub fn route(&self) -> Result<Vec<NameAddr>, BadHeader> {
        self.addresses(HeaderName::Route)
    }

    /// Record-Route (RFC 3261 §20.30), topmost first.
    pub fn record_route(&self) -> Result<Vec<NameAddr>, BadHeader> {
        self.addresses(HeaderName::RecordRoute)
    }

    /// Max-Forwards (RFC 3261 §20.22); absent in requests of RFC 2543. More than the most is the most.
    pub fn max_forwards(&self) -> Result<Option<u8>, BadHeader> {
        let hops = self.scalar(HeaderName::MaxForwards)?;
        Ok(hops.map(|hops| u8::try_from(hops).unwrap_or(u8::MAX)))
    }

    /// Expires in seconds (RFC 3261 §20.19).
    pub fn expires_s(&self) -> Result<Option<u32>, BadHeader> {
        self.scalar(HeaderName::Expires)
    }

    /// Content-Length in bytes (RFC 3261 §20.14).
    pub fn content_length_bytes(&self) -> Result<Option<u32>, BadHeader> {
        self.number(HeaderName::ContentLength)
    }

    /// Retry-After in seconds, without its comment and parameters (RFC 3261 §20.33).
    pub fn retry_after_s(&self) -> Option<u32> {
        let text = self.first(&HeaderName::RetryAfter)?;
        scalar(text.split(['(', ';', ' ']).next()?)
    }

    /// Content-Type (RFC 3261 §20.15).
    pub fn content_type(&self) -> Result<Option<ContentType>, BadHeader> {
        match self.first(&HeaderName::ContentType) {
            None => Ok(None),
            Some(_) => self.single(HeaderName::ContentType, ContentType::parse).map(Some),
        }
    }

    /// Reason values that read (RFC 3326).
    pub fn reasons(&self) -> Vec<Reason> {
        self.values(&HeaderName::Reason).filter_map(Reason::parse).collect()
    }

    /// Whether a list of tokens (Supported, Require, Allow, …) holds `token`, without case.
    pub fn lists(&self, name: &HeaderName, token: &str) -> bool {
        self.values(name).any(|value| value.eq_ignore_ascii_case(token))
    }

    /// Challenges or credentials of Authorization, Proxy-Authorization, WWW-Authenticate or
    /// Proxy-Authenticate (RFC 3261 §20.7). These are not comma lists: a field is one value. Those
    /// that do not read are left out.
    pub fn auth(&self, name: &HeaderName) -> Vec<AuthParameters> {
        self.all(name).take(VALUES_MAX).filter_map(AuthParameters::parse).collect()
    }

    fn single<T>(
        &self,
        name: HeaderName,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, BadHeader> {
        let mut all = self.all(&name);
        let value = all.next().and_then(parse).filter(|_| all.next().is_none());
        value.ok_or(BadHeader(name))
    }

    fn addresses(&self, name: HeaderName) -> Result<Vec<NameAddr>, BadHeader> {
        self.values(&name)
            .map(|text| NameAddr::parse_bracketed(text).ok_or_else(|| BadHeader(name.clone())))
            .collect()
    }

    fn scalar(&self, name: HeaderName) -> Result<Option<u32>, BadHeader> {
        match self.first(&name) {
            None => Ok(None),
            Some(_) => self.single(name, scalar).map(Some),
        }
    }

    /// Digits only: `str::parse` alone would take a sign.
    fn number<T: std::str::FromStr>(&self, name: HeaderName) -> Result<Option<T>, BadHeader> {
        match self.first(&name) {
            None => Ok(None),
            Some(_) => self.single(name, number).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_in_compact_form() {
        for (name, text) in HeaderName::KNOWN {
            assert_eq!(HeaderName::parse(text).as_ref(), Some(name));
            assert_eq!(HeaderName::parse(&text.to_uppercase()).as_ref(), Some(name));
        }
        for (compact, name) in [
            ("v", HeaderName::Via),
            ("F", HeaderName::From),
            ("t", HeaderName::To),
            ("i", HeaderName::CallId),
            ("m", HeaderName::Contact),
            ("l", HeaderName::ContentLength),
            ("c", HeaderName::ContentType),
            ("k", HeaderName::Supported),
            ("x", HeaderName::SessionExpires),
        ] {
            assert_eq!(HeaderName::parse(compact), Some(name));
        }
        assert_eq!(HeaderName::parse("X-Thing"), HeaderName::parse("x-tHING"));
        assert_eq!(HeaderName::parse("X Thing"), None);
        assert_eq!(HeaderName::parse("X-Thing\r\nVia"), None);
    }

    #[test]
    fn set_keeps_the_place_of_the_first_and_removes_the_rest() {
        let mut headers = Headers::new();
        headers.push(HeaderName::Via, "a");
        headers.push(HeaderName::Subject, "one");
        headers.push(HeaderName::Date, "b");
        headers.push(HeaderName::Subject, "two");
        headers.set(HeaderName::Subject, "three");
        let fields: Vec<_> = headers.iter().map(|(_, value)| value).collect();
        assert_eq!(fields, ["a", "three", "b"]);
    }

    #[test]
    fn a_number_with_a_sign_or_a_repeat_is_bad() {
        let mut headers = Headers::new();
        headers.push(HeaderName::Expires, "+60");
        headers.expires_s().unwrap_err();
        headers.set(HeaderName::Expires, "60");
        assert_eq!(headers.expires_s(), Ok(Some(60)));
        headers.push(HeaderName::Expires, "61");
        headers.expires_s().unwrap_err();
    }
}
