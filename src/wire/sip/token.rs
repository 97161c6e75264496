//! The lexical elements of RFC 3261 §25.1 that everything else is read from and written with: tokens,
//! numbers, quoted strings, lists and `%` escapes.

use std::fmt;
use std::str::FromStr;

use crate::base::narrow::Narrow;

/// Whether `byte` may stand in a token.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

/// Whether `text` is a non-empty token.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// A non-empty token: can be written anywhere in a message without changing its shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token(Box<str>);

impl Token {
    /// `None` unless `text` is a token.
    pub fn new(text: &str) -> Option<Self> {
        is_token(text).then(|| Self(text.into()))
    }

    /// The token's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Digits only; `str::parse` alone would take a sign.
pub(super) fn number<T: FromStr>(text: &str) -> Option<T> {
    let text = text.trim();
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Digits as a number; one too large is the largest, which is what it means (RFC 4475 §3.1.2.4).
pub(crate) fn scalar(text: &str) -> Option<u32> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}

/// `text` as a quoted-string.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') || (character.is_ascii_control() && character != '\t') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// Reads the quoted-string at the front: its text without escapes, and what follows it.
pub(super) fn take_quoted(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut characters = inside.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &inside[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// Splits a header's text at the commas outside quotes and angle brackets. Blank text has no value.
pub(super) fn split_values(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = (!text.trim().is_empty()).then_some(text);
    std::iter::from_fn(move || {
        let current = rest?;
        let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
        let comma = current.bytes().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' if !bracketed => quoted = !quoted,
                b'<' if !quoted => bracketed = true,
                b'>' if !quoted => bracketed = false,
                b',' => return !quoted && !bracketed,
                _ => {}
            }
            false
        });
        let value = match comma {
            Some(at) => {
                rest = Some(&current[at + 1..]);
                &current[..at]
            }
            None => {
                rest = None;
                current
            }
        };
        Some(value.trim())
    })
}

/// `unreserved` of RFC 3261 §25.1.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

/// Resolves `%HH`. `None` if a byte is neither escaped nor allowed, an escape is cut, or the result
/// is not UTF-8.
pub(super) fn unescape(text: &str, allowed: fn(u8) -> bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let [high, low, after @ ..] = after else { return None };
            let digit = |b: &u8| char::from(*b).to_digit(16).map(Narrow::<u8>::narrow);
            bytes.push(digit(high)? << 4 | digit(low)?);
            rest = after;
        } else {
            if !allowed(*first) {
                return None;
            }
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Writes `%HH` for every byte that is not allowed.
pub(super) fn escape(text: &str, allowed: fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if allowed(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
