//! Reading JSON so that nothing is overlooked and every complaint names its place.
//!
//! serde forgets where it is inside a tagged or a flattened type, takes an array for a struct and
//! passes over members it does not know. What is here puts that right once for every message: an
//! error carries its place outward through such types, and [`overlooked`] holds what was said
//! against what was understood.

use std::cell::RefCell;
use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};
use serde_path_to_error::Segment;

/// What does not fit, and where: `.send.packet_ms` and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Begins with `.` or `[`; empty for the whole.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl Misfit {
    /// A complaint about one member.
    pub fn at(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

/// A message that begins with its place is taken up again by [`located`] further out.
impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.message),
            place => write!(f, "{place}: {}", self.message),
        }
    }
}

/// Reads a value; the error names the place inside it. What reads, which is nearly everything, is not
/// asked for its places.
pub(super) fn located<T: DeserializeOwned>(value: &Value) -> Result<T, Misfit> {
    T::deserialize(value).or_else(|_| read_by_place(value))
}

#[cold]
fn read_by_place<T: DeserializeOwned>(value: &Value) -> Result<T, Misfit> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut place = String::new();
        for segment in error.path() {
            match segment {
                Segment::Map { key } => place.extend([".", key]),
                Segment::Seq { index } => place.push_str(&format!("[{index}]")),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        let text = error.inner().to_string();
        if let Some((within, message)) = text.split_once(": ").filter(|_| text.starts_with('.')) {
            return Misfit::at(place + within, message);
        }
        let missing = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        match missing {
            Some(field) => Misfit::at(format!("{place}.{field}"), "missing"),
            None => Misfit::at(place, text),
        }
    })
}

/// Reads an object that holds two nouns' members: those that `names` lists, and the rest.
pub(super) fn split<'de, D, A, B>(from: D, names: &[&str]) -> Result<(A, B), D::Error>
where
    D: Deserializer<'de>,
    A: DeserializeOwned,
    B: DeserializeOwned,
{
    let mut rest: Map<String, Value> = de::Deserialize::deserialize(from)?;
    let own: Map<_, _> = names.iter().filter_map(|name| rest.remove_entry(*name)).collect();
    let read = || Ok((located(&Value::Object(own))?, located(&Value::Object(rest))?));
    read().map_err(|misfit: Misfit| de::Error::custom(misfit))
}

/// Takes `kind` out of an object: what it says, and the other members.
pub(super) fn kind_of<'de, D: Deserializer<'de>>(from: D) -> Result<(String, Value), D::Error> {
    let mut rest: Map<String, Value> = de::Deserialize::deserialize(from)?;
    match rest.remove("kind") {
        Some(Value::String(kind)) => Ok((kind, Value::Object(rest))),
        Some(_) => Err(de::Error::custom(Misfit::at(".kind", "must be a string"))),
        None => Err(de::Error::custom(Misfit::at(".kind", "missing"))),
    }
}

/// An enum whose `kind` says which variant it is, the variant's own members beside it.
macro_rules! kinds {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($(#[$doc:meta])* $kind:literal => $variant:ident $(($members:ty))?,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(serde::Serialize)]
        #[serde(tag = "kind")]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $kind)] $variant $(($members))?,)+
        }

        impl $name {
            /// What `kind` may say.
            pub const KINDS: &'static [&'static str] = &[$($kind,)+];
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let (kind, members) = $crate::control::reading::kind_of(from)?;
                let read = match kind.as_str() {
                    $($kind => kinds!(@read members $name $variant $(($members))?),)+
                    _ => Err($crate::control::reading::Misfit::at(
                        ".kind",
                        format!("`{kind}` is none of `{}`", $name::KINDS.join("`, `")),
                    )),
                };
                read.map_err(serde::de::Error::custom)
            }
        }
    };
    (@read $from:ident $name:ident $variant:ident ($members:ty)) => {
        $crate::control::reading::located::<$members>(&$from).map($name::$variant)
    };
    (@read $from:ident $name:ident $variant:ident) => {{
        let _ = $from;
        Ok($name::$variant)
    }};
}
pub(super) use kinds;

/// A number that is within bounds once it was read.
macro_rules! ranged {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($number:ty): $range:expr, $must:literal;
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name($number);

        impl $name {
            /// `None` out of range.
            pub fn new(value: $number) -> Option<Self> {
                let allowed = $range;
                allowed(u64::from(value)).then_some(Self(value))
            }

            /// The number.
            pub const fn value(self) -> $number {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = &'static str;

            fn try_from(value: u64) -> Result<Self, Self::Error> {
                <$number>::try_from(value).ok().and_then(Self::new).ok_or($must)
            }
        }

        impl From<$name> for u64 {
            fn from(ranged: $name) -> u64 {
                u64::from(ranged.0)
            }
        }
    };
}
pub(super) use ranged;

/// The first thing in `said` that `understood` does not show: a member nobody asked for, or one of
/// another shape. `understood` must write every member it knows, absent ones as null.
pub(super) fn overlooked(said: &Value, understood: &Value) -> Option<Misfit> {
    match (said, understood) {
        (Value::Object(said), Value::Object(known)) => said.iter().find_map(|(name, value)| {
            let misfit = match known.get(name) {
                Some(known) => overlooked(value, known)?,
                None => Misfit::at("", unknown_member(known)),
            };
            Some(Misfit::at(format!(".{name}{}", misfit.place), misfit.message))
        }),
        (Value::Array(said), Value::Array(known)) => {
            said.iter().zip(known).enumerate().find_map(|(index, (said, known))| {
                let misfit = overlooked(said, known)?;
                Some(Misfit::at(format!("[{index}]{}", misfit.place), misfit.message))
            })
        }
        (Value::Null, Value::Null)
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_)) => None,
        (_, Value::Object(_)) => Some(Misfit::at("", "must be an object")),
        (_, Value::String(_)) => Some(Misfit::at("", "must be a string")),
        _ => Some(Misfit::at("", "has the wrong type")),
    }
}

fn unknown_member(known: &Map<String, Value>) -> String {
    if known.is_empty() {
        return "unknown; no member is known here".to_owned();
    }
    let names: Vec<_> = known.keys().map(|name| format!("`{name}`")).collect();
    format!("unknown; known here: {}", names.join(", "))
}

/// Parses JSON of which no object has a member twice: a reader that takes the first and one that
/// takes the last would understand different things.
///
/// With the value comes the place of what was said twice, if anything was.
pub(super) fn parse(text: &str) -> Result<(Value, Option<Misfit>), serde_json::Error> {
    let twice = RefCell::new(None);
    let mut from = serde_json::Deserializer::from_str(text);
    let value = Tree { place: &Place::Root, twice: &twice }.deserialize(&mut from)?;
    from.end()?;
    Ok((value, twice.into_inner().map(|place| Misfit::at(place, "given twice"))))
}

/// A place in JSON, as the way back to its root.
enum Place<'a> {
    Root,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => Ok(()),
            Place::Member(object, name) => write!(f, "{object}.{name}"),
            Place::Item(list, index) => write!(f, "{list}[{index}]"),
        }
    }
}

/// Builds a [`Value`] and notes the first member that is there twice.
struct Tree<'a> {
    place: &'a Place<'a>,
    twice: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let place = Place::Item(self.place, list.len());
            match items.next_element_seed(Tree { place: &place, twice: self.twice })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let place = Place::Member(self.place, &name);
            if object.contains_key(&name) {
                self.twice.borrow_mut().get_or_insert_with(|| place.to_string());
            }
            let value = members.next_value_seed(Tree { place: &place, twice: self.twice })?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
