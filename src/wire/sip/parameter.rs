//! The `;name=value` lists after URIs and header values (RFC 3261 §7.3.1, §19.1.1). The two have
//! the same shape and different spelling: URIs escape with `%`, header values quote.

use super::PARAMETERS_MAX;
use super::token::{escape, is_token, is_token_byte, is_unreserved, quote, take_quoted, unescape};
use std::fmt;

/// One parameter: its name, and its value unescaped and unquoted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parameter {
    /// The name as it came; compared without case.
    pub name: String,
    /// `None` for a bare name such as `lr`.
    pub value: Option<String>,
}

/// Parameters in order. No name occurs twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Parameters(Vec<Parameter>);

impl Parameters {
    /// Every parameter in order.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `name` is there, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The value of `name`; `None` if it is absent or bare.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.find(name)?.value.as_deref()
    }

    /// Sets `name` to `value`, in its old place if it had one.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(str::to_owned);
        match self.0.iter_mut().find(|held| held.name.eq_ignore_ascii_case(name)) {
            Some(held) => held.value = value,
            None => self.0.push(Parameter { name: name.to_owned(), value }),
        }
    }

    /// Removes `name`.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|held| !held.name.eq_ignore_ascii_case(name));
    }

    fn find(&self, name: &str) -> Option<&Parameter> {
        self.0.iter().find(|held| held.name.eq_ignore_ascii_case(name))
    }

    /// Adds one that was read. `None` if it is a repeat (RFC 3261 §7.3.1) or one too many.
    fn add(&mut self, name: String, value: Option<String>) -> Option<()> {
        if self.has(&name) || self.0.len() == PARAMETERS_MAX {
            return None;
        }
        self.0.push(Parameter { name, value });
        Some(())
    }

    /// Reads what follows the first `;` of a URI, up to its `?`.
    pub(super) fn parse_uri(text: &str) -> Option<Self> {
        let mut parameters = Self::default();
        for part in text.split(';') {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name, Some(unescape(value, is_uri_parameter_byte)?)),
                None => (part, None),
            };
            let name = unescape(name, is_uri_parameter_byte)?;
            if name.is_empty() {
                return None;
            }
            parameters.add(name, value)?;
        }
        Some(parameters)
    }

    /// Reads what follows a header value: nothing, or `;name[=value]` any number of times with
    /// blanks anywhere around the separators.
    pub(super) fn parse_header(text: &str) -> Option<Self> {
        let mut parameters = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            rest = rest.strip_prefix(';')?.trim_start();
            let end = rest.bytes().position(|b| !is_token_byte(b)).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if name.is_empty() {
                return None;
            }
            let after = after.trim_start();
            let value;
            (value, rest) = match after.strip_prefix('=').map(str::trim_start) {
                None => (None, after),
                Some(after) if after.starts_with('"') => {
                    let (quoted, rest) = take_quoted(after)?;
                    (Some(quoted), rest.trim_start())
                }
                Some(after) => {
                    let end = after.bytes().position(|b| !is_bare_byte(b)).unwrap_or(after.len());
                    let (bare, rest) = after.split_at(end);
                    if bare.is_empty() {
                        return None;
                    }
                    (Some(bare.to_owned()), rest.trim_start())
                }
            };
            parameters.add(name.to_owned(), value)?;
        }
        Some(parameters)
    }

    /// Writes them after a URI.
    pub(super) fn write_uri(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Parameter { name, value } in &self.0 {
            write!(formatter, ";{}", escape(name, is_uri_parameter_byte))?;
            if let Some(value) = value {
                write!(formatter, "={}", escape(value, is_uri_parameter_byte))?;
            }
        }
        Ok(())
    }

    /// Writes them after a header value. A name that is no token is left out.
    pub(super) fn write_header(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Parameter { name, value } in self.0.iter().filter(|held| is_token(&held.name)) {
            write!(formatter, ";{name}")?;
            match value {
                None => {}
                Some(value) if !value.is_empty() && value.bytes().all(is_bare_byte) => {
                    write!(formatter, "={value}")?;
                }
                Some(value) => write!(formatter, "={}", quote(value))?,
            }
        }
        Ok(())
    }
}

/// `paramchar` of RFC 3261 §25.1 without `%`.
fn is_uri_parameter_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

/// What a header parameter's value may hold without quotes: a token or a host, IPv6 included;
/// `/` stands in values such as `a=b/c` that carriers write.
fn is_bare_byte(byte: u8) -> bool {
    is_token_byte(byte) || matches!(byte, b'[' | b']' | b':' | b'/' | b'@')
}
