//! Bencode, as far as rtpengine's NG protocol goes: byte strings, integers, lists, dictionaries.

use std::collections::BTreeMap;

/// Nesting that is followed; NG replies have three levels.
const DEPTH_MAX: usize = 16;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bencode {
    /// A byte string.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A list.
    List(Vec<Bencode>),
    /// A dictionary; its keys are written in order.
    Dictionary(BTreeMap<String, Bencode>),
}

impl Bencode {
    /// A string.
    pub fn text(text: impl Into<String>) -> Self {
        Bencode::Text(text.into())
    }

    /// A list of strings.
    pub fn texts(texts: &[&str]) -> Self {
        Bencode::List(texts.iter().map(|text| Self::text(*text)).collect())
    }

    /// A dictionary.
    pub fn dictionary<const N: usize>(entries: [(&str, Bencode); N]) -> Self {
        Bencode::Dictionary(entries.map(|(key, value)| (key.to_owned(), value)).into())
    }

    /// The string under `key` of a dictionary.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        match self {
            Bencode::Dictionary(entries) => match entries.get(key)? {
                Bencode::Text(text) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// Writes it.
    pub fn write(&self, out: &mut String) {
        match self {
            Bencode::Text(text) => {
                out.push_str(&text.len().to_string());
                out.push(':');
                out.push_str(text);
            }
            Bencode::Integer(number) => {
                out.push('i');
                out.push_str(&number.to_string());
                out.push('e');
            }
            Bencode::List(items) => {
                out.push('l');
                items.iter().for_each(|item| item.write(out));
                out.push('e');
            }
            Bencode::Dictionary(entries) => {
                out.push('d');
                for (key, value) in entries {
                    Self::text(key).write(out);
                    value.write(out);
                }
                out.push('e');
            }
        }
    }

    /// Reads a whole message; `None` when it is not one.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut left = bytes;
        let value = read(&mut left, 0)?;
        left.is_empty().then_some(value)
    }
}

fn read(left: &mut &[u8], depth: usize) -> Option<Bencode> {
    if depth > DEPTH_MAX {
        return None;
    }
    match *left.first()? {
        b'i' => {
            *left = &left[1..];
            Some(Bencode::Integer(until(left, b'e')?.parse().ok()?))
        }
        b'l' => {
            *left = &left[1..];
            let mut items = Vec::new();
            while *left.first()? != b'e' {
                items.push(read(left, depth + 1)?);
            }
            *left = &left[1..];
            Some(Bencode::List(items))
        }
        b'd' => {
            *left = &left[1..];
            let mut entries = BTreeMap::new();
            while *left.first()? != b'e' {
                let key = string(left)?;
                entries.insert(key, read(left, depth + 1)?);
            }
            *left = &left[1..];
            Some(Bencode::Dictionary(entries))
        }
        b'0'..=b'9' => string(left).map(Bencode::Text),
        _ => None,
    }
}

/// A byte string; what is not UTF-8 in it does not matter to anybody here.
fn string(left: &mut &[u8]) -> Option<String> {
    let length: usize = until(left, b':')?.parse().ok()?;
    let bytes = left.get(..length)?;
    *left = &left[length..];
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// The text before `end`, which is taken too.
fn until<'a>(left: &mut &'a [u8], end: u8) -> Option<&'a str> {
    let at = left.iter().position(|byte| *byte == end)?;
    let text = std::str::from_utf8(&left[..at]).ok()?;
    *left = &left[at + 1..];
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &Bencode) -> String {
        let mut out = String::new();
        value.write(&mut out);
        out
    }

    #[test]
    fn an_offer_is_written_as_rtpengine_reads_it() {
        let codec = Bencode::dictionary([("transcode", Bencode::texts(&["PCMU"]))]);
        let offer = Bencode::dictionary([
            ("command", Bencode::text("offer")),
            ("codec", codec),
            ("ttl", Bencode::Integer(-7)),
        ]);
        let text = "d5:codecd9:transcodel4:PCMUee7:command5:offer3:ttli-7ee";
        assert_eq!(written(&offer), text);
        assert_eq!(Bencode::read(text.as_bytes()), Some(offer));
    }

    #[test]
    fn broken_messages_are_none() {
        for text in ["", "d", "i5", "5:abc", "l5:helloe1:x", "d1:ae", "x", "i--5e", "99999:a"] {
            assert_eq!(Bencode::read(text.as_bytes()), None, "{text}");
        }
        let deep = "l".repeat(100_000);
        assert_eq!(Bencode::read(deep.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(value) = Bencode::read(&bytes) {
                prop_assert_eq!(Bencode::read(written(&value).as_bytes()), Some(value));
            }
        }
    }
}
