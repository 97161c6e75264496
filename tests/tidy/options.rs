//! Every key of the configuration is in the example, and a test gives it a value: an option that no
//! test drives does not exist.

use std::collections::BTreeSet;

use crate::allowance::{Breach, hold};
use crate::source::{Kind, Source, Token, closing};
use crate::tree::Tree;

const FOLDER: &str = "src/config/";
const READER: &str = "src/config/read.rs";
const EXAMPLE: &str = "tools/linecard.example.toml";

pub fn broken(tree: &Tree, undriven: &[(&str, &str)]) -> Vec<String> {
    let options = options(tree);
    if options.is_empty() {
        return vec![format!(
            "{FOLDER}: found no option: the rule has to follow how keys are read"
        )];
    }
    let shown = keys_of(tree.text(EXAMPLE));
    let mut wrong = Vec::new();
    let mut not_driven = Vec::new();
    for option in &options {
        if !shown.contains(option) {
            wrong.push(format!("{option}: show it in {EXAMPLE} with its default and a comment"));
        }
        if !is_driven(tree, option) {
            let message =
                "no test gives this option a value: write one that sees what it does".to_owned();
            not_driven.push(Breach { name: option.clone(), message });
        }
    }
    wrong.extend(hold(not_driven, "tests/tidy/allowed.rs UNDRIVEN", undriven));
    wrong
}

/// The keys that the sections ask for, by the reader's own methods.
fn options(tree: &Tree) -> BTreeSet<String> {
    let methods = tree.source(READER).map(|reader| methods(&reader.code())).unwrap_or_default();
    let mut options = BTreeSet::new();
    let sections = |source: &&Source| source.path.starts_with(FOLDER) && source.path != READER;
    for source in tree.product().filter(sections) {
        let code = source.code();
        for (at, token) in code.iter().enumerate().skip(1) {
            let asks = code[at - 1].is(".") && methods.contains(&token.text);
            let Some(key) = code.get(at + 2).filter(|_| asks && code[at + 1].is("(")) else {
                continue;
            };
            // A constant that is not found stands for itself, and is then missed in the example.
            options.insert(match key.kind {
                Kind::Text => key.text.clone(),
                _ => constant(&code, &key.text).unwrap_or_else(|| key.text.clone()),
            });
        }
    }
    options
}

/// The reader's methods that take a `key: &'static str` first.
fn methods(code: &[&Token]) -> BTreeSet<String> {
    let mut methods = BTreeSet::new();
    for (at, token) in code.iter().enumerate() {
        let Some(name) = code.get(at + 1).filter(|_| token.is("fn")) else { continue };
        let Some(open) = (at..code.len()).find(|index| code[*index].is("(")) else { continue };
        let arguments = &code[open..closing(code, open)];
        let takes_key = arguments.windows(4).any(|four| {
            four[0].is("key") && four[1].is(":") && four[2].is("&") && four[3].text == "'static"
        });
        if takes_key {
            methods.insert(name.text.clone());
        }
    }
    methods
}

/// The text of `const NAME: &str = "text"`.
fn constant(code: &[&Token], name: &str) -> Option<String> {
    let at = (1..code.len()).find(|at| code[at - 1].is("const") && code[*at].is(name))?;
    let text = code[at..]
        .iter()
        .take_while(|token| !token.is(";"))
        .find(|token| token.kind == Kind::Text)?;
    Some(text.text.clone())
}

/// The keys in the tables of a TOML text.
fn keys_of(text: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut open: Vec<toml::Value> =
        text.parse::<toml::Table>().map(toml::Value::Table).into_iter().collect();
    while let Some(value) = open.pop() {
        match value {
            toml::Value::Table(table) => {
                keys.extend(table.keys().cloned());
                open.extend(table.into_iter().map(|(_, value)| value));
            }
            toml::Value::Array(values) => open.extend(values),
            _ => {}
        }
    }
    keys
}

/// Whether a test's text sets the option: a line that begins with `key =` or `[[key]]`.
fn is_driven(tree: &Tree, option: &str) -> bool {
    let sets = |text: &str| {
        text.split("\\n").flat_map(str::lines).any(|line| {
            let line = line.trim_start().trim_start_matches('[');
            let rest = line.strip_prefix(option).map(str::trim_start);
            rest.is_some_and(|rest| rest.starts_with(['=', ']']))
        })
    };
    let in_rust = |source: &Source| {
        source.tests().iter().any(|token| token.kind == Kind::Text && sets(&token.text))
    };
    let in_python = tree.texts.iter().any(|text| {
        text.path.starts_with("tests/")
            && text.path.ends_with(".py")
            && sets(&text.text.replace('"', "\n"))
    });
    in_python || tree.sources.iter().any(in_rust)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: (&str, &str) = (
        READER,
        "fn text(&mut self, key: &'static str, expected: &str) {} fn has(&self, key: &str) {}",
    );
    const SECTION: (&str, &str) = (
        "src/config/sections.rs",
        "const MOST: &str = \"most_ms\"; fn f() { s.text(\"cores\", \"a list\"); s.text(MOST, \"ms\"); s.has(\"other\"); }",
    );
    const TEST: (&str, &str) =
        ("src/config/tests.rs", "fn t() { parse(\"[media]\\ncores = [1]\\nmost_ms=3\"); }");
    const SHOWN: (&str, &str) = (EXAMPLE, "[media]\ncores = [1]\n[[trunk]]\nmost_ms = 2\n");
    const DECLARED: (&str, &str) = ("src/config/mod.rs", "#[cfg(test)]\nmod tests;");

    fn wrong(files: &[(&str, &str)]) -> Vec<String> {
        broken(&Tree::of(files.iter().copied()), &[])
    }

    #[test]
    fn an_option_that_is_not_shown_or_not_driven_is_found() {
        assert_eq!(wrong(&[READ, SECTION, TEST, SHOWN, DECLARED]), [] as [&str; 0]);
        assert_eq!(wrong(&[READ, SECTION, TEST, DECLARED]).len(), 2);
        assert_eq!(wrong(&[READ, SECTION, SHOWN, DECLARED]).len(), 2);
        assert_eq!(wrong(&[SECTION, TEST, SHOWN]).len(), 1);
    }
}
