//! The page against the tables: what README.md beside this file lists is generated here and compared.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::message::*;
use super::samples;

const PAGE: &str = include_str!("README.md");

/// The members of an object in the order in which they are written.
struct Members(Vec<String>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Members(names))
            }
        }

        from.deserialize_map(InOrder)
    }
}

fn members(value: &impl Serialize) -> Vec<String> {
    let written = serde_json::to_string(value).unwrap();
    serde_json::from_str::<Members>(&written).unwrap().0
}

/// Asserts that the page has this table, and nothing after its last row.
#[track_caller]
fn assert_on_page(heading: &str, rows: Vec<String>) {
    let table = format!("{heading}\n{}\n\n", rows.join("\n"));
    assert!(PAGE.contains(&table), "the page should say:\n\n{table}");
}

/// A command's arguments, `?` behind those that may be absent.
fn arguments_of(name: &str) -> String {
    let (_, arguments) = samples::requests().into_iter().find(|(of, _)| *of == name).unwrap();
    let command = Command::read(name, &arguments).unwrap().unwrap();
    let one = |argument: &String| {
        let mut without: Value = arguments.clone();
        without.as_object_mut().unwrap().remove(argument);
        // A snapshot is of one call, statistics need none.
        without.as_object_mut().unwrap().remove("of");
        let optional = Command::read(name, &without).unwrap().is_ok();
        format!("`{argument}`{}", if optional { "?" } else { "" })
    };
    members(&command).iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_page_lists_the_commands() {
    let row = |command: &CommandDescription| {
        let marked = if command.role == Role::Controller { " C" } else { "" };
        let arguments = arguments_of(command.name);
        format!("| `{}`{marked} | {arguments} | {} |", command.name, command.result)
    };
    let heading = "| command | arguments | result |\n|---|---|---|";
    assert_on_page(heading, Command::ALL.iter().map(row).collect());
}

#[test]
fn the_page_lists_the_events() {
    let row = |event: &EventDescription| {
        let fields = match event.as_result {
            Some(command) => format!("as `{command}`"),
            None => {
                let fields: Vec<_> =
                    event.fields.iter().map(|field| format!("`{field}`")).collect();
                fields.join(", ")
            }
        };
        format!("| `{}` | {fields} | {} |", event.name, event.meaning)
    };
    let heading = "| event | fields | meaning |\n|---|---|---|";
    assert_on_page(heading, Event::ALL.iter().map(row).collect());
}

#[test]
fn the_page_lists_the_error_codes() {
    let row = |code: &ErrorCode| format!("| `{}` | {} |", code.name(), code.meaning());
    let heading = "| code | meaning |\n|---|---|";
    assert_on_page(heading, ErrorCode::ALL.iter().map(row).collect());
}

#[test]
fn the_page_lists_the_capabilities() {
    let row =
        |capability: &Capability| format!("| `{}` | {} |", capability.name(), capability.meaning());
    let heading = "| capability | what it stands for |\n|---|---|";
    assert_on_page(heading, Capability::ALL.iter().map(row).collect());
}

#[test]
fn the_page_lists_the_ringing_tones() {
    let row = |country: Option<Country>| {
        let Cadence { hz, on_off_ms } = Ringback { country }.cadence();
        let code = serde_json::to_value(country).unwrap();
        let code = code.as_str().map_or("absent".to_owned(), |code| format!("`{code}`"));
        let hz: Vec<_> = hz.iter().map(u16::to_string).collect();
        let cadence: Vec<_> =
            on_off_ms.iter().map(|(on, off)| format!("{on} on, {off} off")).collect();
        format!("| {code} | {} | {} |", hz.join(" + "), cadence.join(", "))
    };
    use Country::*;
    let countries = [Ca, De, Es, Fr, Gb, It, Us].map(Some);
    let rows = [None].into_iter().chain(countries).map(row).collect();
    assert_on_page("| country | Hz | ms |\n|---|---|---|", rows);
}

/// The names in the first column of the table that follows `title`.
fn listed(title: &str) -> BTreeSet<String> {
    let (_, after) = PAGE.split_once(title).unwrap_or_else(|| panic!("no {title} on the page"));
    let rows = after.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let first =
        rows.take_while(|line| line.starts_with('|')).map(|row| row.split('|').nth(1).unwrap());
    first.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn the_page_lists_every_field_of_statistics_and_no_other() {
    let fields = |value: Vec<String>| value.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(listed("**Of a leg:**"), fields(members(&samples::leg_statistics())));
    assert_eq!(listed("**Of a call:**"), fields(members(&samples::call_statistics())));
    assert_eq!(listed("**Of the process:**"), fields(members(&samples::process_statistics())));
    assert_eq!(listed("**Of a thread:**"), fields(members(&ThreadStatistics::default())));
    for field in members(&PlayoutStatistics::default()) {
        assert!(PAGE.contains(&format!("`{field}`")), "{field}");
    }
}

#[test]
fn the_page_names_every_member_and_every_kind_of_a_request() {
    fn check(value: &Value) {
        match value {
            Value::Object(object) => object.iter().for_each(|(name, value)| {
                let named = [format!("`{name}`"), format!(".{name}`"), format!("\"{name}\"")];
                assert!(named.iter().any(|name| PAGE.contains(name)), "{name}");
                if let (true, Some(kind)) = (name == "kind", value.as_str()) {
                    let named = [format!("\"kind\":\"{kind}\""), format!("`{kind}`")];
                    assert!(named.iter().any(|name| PAGE.contains(name)), "{kind}");
                }
                check(value);
            }),
            Value::Array(items) => items.iter().for_each(check),
            _ => {}
        }
    }
    samples::requests().iter().for_each(|(_, arguments)| check(arguments));
}

#[test]
fn the_page_names_every_reason_to_discard_that_it_says_it_names() {
    let reasons = crate::base::discard::Discard::ALL;
    let (_, list) = PAGE.split_once("**Reasons of `discards`**").unwrap();
    let list = list.split_once("\n\n").unwrap().0;
    for name in list.split('`').skip(1).step_by(2).filter(|name| !name.contains('/')) {
        assert!(reasons.iter().any(|reason| reason.name() == name), "{name}");
    }
}
