//! Every reason to discard is used and tested by name; every counter reaches a statistics message, and
//! every field of those messages stands on the control protocol's page.

use crate::allowance::{Breach, hold};
use crate::source::{Kind, Source, Token, begins, closing};
use crate::tree::Tree;

/// Where the reasons are defined.
const REASONS: &str = "src/base/discard.rs";
/// The control protocol's page.
const PAGE: &str = "src/control/README.md";

/// What is put up with: names, each with why.
pub struct Uncounted {
    /// Reasons that nothing gives.
    pub never_given: &'static [(&'static str, &'static str)],
    /// Reasons that no test asserts.
    pub not_asserted: &'static [(&'static str, &'static str)],
    /// `Struct.field` of counters that no message carries.
    pub not_exported: &'static [(&'static str, &'static str)],
    /// `Struct.field` of messages that the page does not name.
    pub not_on_the_page: &'static [(&'static str, &'static str)],
}

pub fn broken(tree: &Tree, allowed: &Uncounted) -> Vec<String> {
    let reasons = reasons(tree);
    if reasons.is_empty() {
        return vec![format!(
            "{REASONS}: found no `Variant = \"name\"`: the rule has to follow it"
        )];
    }
    let never =
        reasons.iter().filter(|(variant, _)| !is_given(tree, variant)).map(|(variant, _)| {
            breach(variant, "no code gives this reason: count it, or take it out of the table")
        });
    let not_asserted = reasons.iter().filter(|(variant, name)| !is_asserted(tree, variant, name));
    let not_asserted = not_asserted.map(|(variant, _)| {
        breach(variant, "no test asserts this reason by name: write the fact that makes it count")
    });
    let list = |part: &str| format!("tests/tidy/allowed.rs UNCOUNTED.{part}");
    let mut wrong = hold(never.collect(), &list("never_given"), allowed.never_given);
    wrong.extend(hold(not_asserted.collect(), &list("not_asserted"), allowed.not_asserted));
    wrong.extend(hold(not_exported(tree), &list("not_exported"), allowed.not_exported));
    wrong.extend(hold(not_on_the_page(tree), &list("not_on_the_page"), allowed.not_on_the_page));
    wrong
}

fn breach(name: &str, message: &str) -> Breach {
    Breach { name: name.to_owned(), message: message.to_owned() }
}

/// The reasons: variant and name.
fn reasons(tree: &Tree) -> Vec<(String, String)> {
    let code = tree.source(REASONS).map(Source::code).unwrap_or_default();
    let each = code.windows(3).filter(|three| {
        three[0].kind == Kind::Word && three[1].is("=") && three[2].kind == Kind::Text
    });
    each.map(|three| (three[0].text.clone(), three[2].text.clone())).collect()
}

fn is_given(tree: &Tree, variant: &str) -> bool {
    let elsewhere = tree.product().filter(|source| source.path != REASONS);
    elsewhere
        .map(Source::code)
        .any(|code| (0..code.len()).any(|at| begins(&code[at..], &["Discard", "::", variant])))
}

/// Whether an assertion of a Rust test, or of the call suite, names the reason.
fn is_asserted(tree: &Tree, variant: &str, name: &str) -> bool {
    let quoted = format!("\"{name}\"");
    let in_python = tree.texts.iter().any(|text| {
        let lines = text.text.lines();
        text.path.ends_with(".py")
            && lines.filter(|line| line.contains("assert")).any(|line| line.contains(&quoted))
    });
    let in_rust = |source: &Source| {
        let tests = source.tests();
        assertions(&tests).iter().any(|asserted| {
            let variants =
                (0..asserted.len()).any(|at| begins(&asserted[at..], &["Discard", "::", variant]));
            variants || asserted.iter().any(|token| token.kind == Kind::Text && token.text == name)
        }) || is_compared(&tests, name)
    };
    in_python || tree.sources.iter().any(in_rust)
}

/// Whether a test waits until `…["name"] == ` something.
fn is_compared(tests: &[&Token], name: &str) -> bool {
    tests.windows(4).any(|four| {
        four[0].kind == Kind::Text && four[0].text == name && begins(&four[1..], &["]", "=", "="])
    })
}

/// What stands between the brackets of `assert…!(…)`.
fn assertions<'a, 't>(tokens: &'t [&'a Token]) -> Vec<&'t [&'a Token]> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let asserts = token.text.contains("assert") && token.kind == Kind::Word;
        if asserts && begins(&tokens[at + 1..], &["!", "("]) {
            found.push(&tokens[at + 2..closing(tokens, at + 2)]);
        }
    }
    found
}

/// Structs whose name ends so, with their fields.
fn structs(tree: &Tree, ending: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for source in tree.product() {
        let code = source.code();
        for at in 0..code.len() {
            let named = code
                .get(at + 1)
                .filter(|name| code[at].is("struct") && name.text.ends_with(ending));
            let Some(name) = named else { continue };
            if begins(&code[at + 2..], &["{"]) {
                let close = closing(&code, at + 2);
                found.push((name.text.clone(), fields(&code[at + 3..close])));
            }
        }
    }
    found
}

/// The words before each colon outside brackets.
fn fields(tokens: &[&Token]) -> Vec<String> {
    let mut fields = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].is("(") || tokens[at].is("[") || tokens[at].is("{") {
            at = closing(tokens, at);
        } else if tokens[at].is(":") && at > 0 {
            fields.push(tokens[at - 1].text.clone());
        }
        at += 1;
    }
    fields
}

/// Counters whose value no field of a message is made of.
fn not_exported(tree: &Tree) -> Vec<Breach> {
    let shown: Vec<String> =
        structs(tree, "Statistics").into_iter().flat_map(|(_, fields)| fields).collect();
    let codes: Vec<Vec<&Token>> = tree.product().map(Source::code).collect();
    let mut breaches = Vec::new();
    for (name, fields) in structs(tree, "Counters") {
        for field in fields {
            if !codes.iter().any(|code| is_exported(code, &field, &shown)) {
                let message =
                    "no field of a statistics message is made of this counter: give it one";
                breaches.push(breach(&format!("{name}.{field}"), message));
            }
        }
    }
    breaches
}

/// Whether one of the message's fields is set from an expression that reads `.counter`.
fn is_exported(code: &[&Token], counter: &str, shown: &[String]) -> bool {
    (0..code.len()).any(|at| {
        let sets = code.get(at + 1).is_some_and(|next| next.is(":") || next.is("="));
        if !sets || !shown.contains(&code[at].text) {
            return false;
        }
        let mut end = at + 2;
        while end < code.len() && ![",", ";", "}", ")"].iter().any(|mark| code[end].is(mark)) {
            let opens = ["(", "[", "{"].iter().any(|mark| code[end].is(mark));
            end = if opens { closing(code, end) + 1 } else { end + 1 };
        }
        code[at + 2..end.min(code.len())].windows(2).any(|two| two[0].is(".") && two[1].is(counter))
    })
}

fn not_on_the_page(tree: &Tree) -> Vec<Breach> {
    let page = tree.text(PAGE);
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let is_named = |field: &String| {
        named.iter().any(|text| {
            text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == field)
        })
    };
    let mut breaches = Vec::new();
    for (name, fields) in structs(tree, "Statistics") {
        for field in fields.iter().filter(|field| !is_named(field)) {
            let message =
                format!("{PAGE} does not name this field: write what it counts, and its unit");
            breaches.push(breach(&format!("{name}.{field}"), &message));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Uncounted =
        Uncounted { never_given: &[], not_asserted: &[], not_exported: &[], not_on_the_page: &[] };
    const TABLE: (&str, &str) = (REASONS, "discards! { Late = \"late\", }");
    const GIVEN: (&str, &str) = ("src/a.rs", "fn f() { Err(Discard::Late) }");
    const ASSERTED: (&str, &str) =
        ("src/b.rs", "#[cfg(test)] mod tests { fn t() { assert_eq!(c.of(Discard::Late), 1); } }");

    fn wrong(files: &[(&str, &str)]) -> Vec<String> {
        broken(&Tree::of(files.iter().copied()), &NONE)
    }

    #[test]
    fn a_reason_that_nothing_gives_or_no_test_asserts_is_found() {
        assert_eq!(wrong(&[TABLE, GIVEN, ASSERTED]), [] as [&str; 0]);
        assert_eq!(wrong(&[TABLE, ASSERTED]).len(), 1);
        assert_eq!(wrong(&[TABLE, GIVEN]).len(), 1);
        let mentioned = ("src/b.rs", "#[cfg(test)] mod tests { fn t() { f(Discard::Late); } }");
        assert_eq!(wrong(&[TABLE, GIVEN, mentioned]).len(), 1);
        let awaited =
            ("src/b.rs", "#[cfg(test)] mod tests { fn t() { until(|| counters[\"late\"] == 3) } }");
        assert_eq!(wrong(&[TABLE, GIVEN, awaited]), [] as [&str; 0]);
        let by_the_suite = ("tests/calls/test_a.py", "    assert counters[\"late\"] == 1\n");
        assert_eq!(wrong(&[TABLE, GIVEN, by_the_suite]), [] as [&str; 0]);
        assert_eq!(wrong(&[(REASONS, "")]).len(), 1);
    }

    #[test]
    fn a_counter_that_reaches_no_message_is_found() {
        let with = |code: &'static str| wrong(&[TABLE, GIVEN, ASSERTED, ("src/c.rs", code)]);
        let counted = "struct RingCounters { pub sent: u64 }";
        assert_eq!(with(counted).len(), 1);
        let other = "struct RingCounters { pub sent: u64 } struct S { x: u64 } fn f() -> S { S { x: ring.sent } }";
        assert_eq!(with(other).len(), 1);
    }

    #[test]
    fn a_field_that_the_page_does_not_name_is_found() {
        let code = (
            "src/c.rs",
            "struct RingCounters { sent: u64 } struct ThreadStatistics { datagrams_sent: u64 } \
                     fn f() -> ThreadStatistics { ThreadStatistics { datagrams_sent: g(ring.sent), } }",
        );
        assert_eq!(wrong(&[TABLE, GIVEN, ASSERTED, code]).len(), 1);
        let page = (PAGE, "| `calls`, `datagrams_sent` | what left |");
        assert_eq!(wrong(&[TABLE, GIVEN, ASSERTED, code, page]), [] as [&str; 0]);
    }
}
