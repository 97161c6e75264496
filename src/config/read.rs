//! Reading one TOML table key by key: what is wrong is noted with the key, the value, what was
//! expected and an example, and reading goes on, so that an operator sees every mistake at once. A
//! key that was never asked for is unknown, and the nearest one that was is named.

use std::fmt;

use toml::{Table, Value};

/// Longest value repeated in a mistake, in characters: enough to recognise it, one line of a
/// terminal.
const SHOWN_CHARACTERS_MAX: usize = 60;
/// Least Jaro-Winkler similarity for “did you mean”: below this the nearest key is no help.
const SIMILARITY_MIN: f64 = 0.7;

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key, as in `[media].trunk_ports`.
    pub place: String,
    /// What is wrong with it and how it is put right.
    pub problem: String,
}

impl Mistake {
    /// A mistake at `place`.
    pub(super) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.problem)
    }
}

/// Whether a key's value may be repeated in a mistake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Value,
    Nothing,
}

/// A table being read.
pub(super) struct Section<'a> {
    title: String,
    table: Table,
    known: Vec<&'static str>,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Section<'a> {
    /// `title` as it stands in the file, `[media]` for example, or empty for the top level.
    pub(super) fn new(
        title: impl Into<String>,
        table: Table,
        mistakes: &'a mut Vec<Mistake>,
    ) -> Self {
        Self { title: title.into(), table, known: Vec::new(), mistakes }
    }

    /// The value of `key` as `read` understands it; `None` when it is absent, and also, with a
    /// mistake noted, when it is not what is `expected`.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        self.read(key, expected, Shown::Value, read)
    }

    /// The same for text that may not be repeated anywhere.
    pub(super) fn secret<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.read(key, expected, Shown::Nothing, |value| value.as_str().and_then(read))
    }

    /// The same for values that are written as text.
    pub(super) fn text<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.value(key, expected, |value| value.as_str().and_then(read))
    }

    /// The same for a whole number in `range`.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        expected: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        self.value(key, expected, |value| value.as_integer().filter(|n| range.contains(n)))
    }

    /// The same for a list; one element `read` does not understand makes the whole list a mistake.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.value(key, expected, |value| value.as_array()?.iter().map(read).collect())
    }

    /// Whether the file has `key` at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes that a key the section cannot do without is absent.
    pub(super) fn missing(&mut self, key: &str, expected: &str) {
        self.mistake(key, format!(" is missing: expected {expected}"));
    }

    /// Notes a mistake that concerns `key` together with something else.
    pub(super) fn mistake(&mut self, key: &str, problem: impl Into<String>) {
        let place = self.place(key);
        self.mistakes.push(Mistake::new(place, problem));
    }

    /// Removes a sub-table or an array of tables.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// Notes every key that was never asked for.
    pub(super) fn finish(self) {
        for key in self.table.keys().filter(|key| !self.known.contains(&key.as_str())) {
            let nearest = self
                .known
                .iter()
                .map(|known| (strsim::jaro_winkler(key, known), known))
                .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let advice = match nearest {
                Some((_, known)) => format!("did you mean `{known}`?"),
                None => format!("the keys here are {}", self.known.join(", ")),
            };
            let place = self.place(key);
            self.mistakes.push(Mistake::new(place, format!(": unknown key; {advice}")));
        }
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        shown: Shown,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.table.get(key)?;
        let read = read(value);
        if read.is_none() {
            let repeated = match shown {
                Shown::Value => format!(" = {}", shortened(&value.to_string())),
                Shown::Nothing => String::new(),
            };
            self.mistake(key, format!("{repeated}: expected {expected}"));
        }
        read
    }

    fn place(&self, key: &str) -> String {
        if self.title.is_empty() { format!("[{key}]") } else { format!("{}.{key}", self.title) }
    }
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
