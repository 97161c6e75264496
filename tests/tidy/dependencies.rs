//! What is built in: under licences that fit ours, from the default registry, in one version each, and
//! each for a reason that Cargo.toml gives.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::allowance::{Breach, hold};
use crate::tree::Tree;

/// Licences that a product under MIT or Apache-2.0 may contain (SPDX names): they ask for no more than
/// their text and a notice.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
/// How Cargo names the default registry, whatever stands in for it on this machine.
const REGISTRY: &str = "registry+";

/// What cargo says of the packages.
pub struct Packages {
    /// `cargo metadata`: licence and source of each, also of some that no feature asks for.
    pub metadata: Value,
    /// `cargo tree`: those that are built, as `name v1.2.3`.
    pub built: BTreeSet<String>,
}

pub fn broken(tree: &Tree, packages: &Packages, doubled: &[(&str, &str)]) -> Vec<String> {
    let Packages { metadata, built } = packages;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    if packages.is_empty() {
        return vec![
            "cargo metadata names no package: the rule has to follow its format".to_owned(),
        ];
    }
    let mut wrong = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        let (name, version) = (text(package, "name"), text(package, "version"));
        if built.contains(&format!("{name} v{version}")) {
            versions.entry(name).or_default().insert(version);
        }
        let licence = text(package, "license");
        if !is_allowed(licence) {
            wrong.push(format!(
                "{name} {version}: its licence {licence:?} is not among those of tests/tidy/dependencies.rs: \
                 read it, then list it there or take another package"
            ));
        }
        let source = text(package, "source");
        let ours = package["source"].is_null() && name == env!("CARGO_PKG_NAME");
        if !ours && !source.starts_with(REGISTRY) {
            wrong.push(format!(
                "{name} {version}: comes from {source:?}; take it from the default registry"
            ));
        }
    }
    let doubles = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    let doubles = doubles.map(|(name, versions)| {
        let versions: Vec<&str> = versions.into_iter().collect();
        let message =
            format!("in versions {}: `cargo tree -d` says who asks for each", versions.join(", "));
        Breach { name: name.to_owned(), message }
    });
    wrong.extend(hold(doubles.collect(), "tests/tidy/allowed.rs DOUBLED", doubled));
    wrong.extend(without_a_reason(tree.text("Cargo.toml")));
    wrong
}

/// Asks cargo, for this machine's target.
pub fn packages() -> Packages {
    let host = host();
    let metadata =
        cargo(&["metadata", "--format-version", "1", "--locked", "--filter-platform", &host]);
    let built = cargo(&["tree", "--locked", "--prefix", "none", "--format", "{p}"]);
    let name_and_version = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        words.join(" ")
    };
    Packages {
        metadata: serde_json::from_str(&metadata).expect("cargo metadata writes JSON"),
        built: built.lines().map(name_and_version).collect(),
    }
}

fn host() -> String {
    let version = cargo(&["--version", "--verbose"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("cargo names its host").to_owned()
}

/// What this cargo command writes.
fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    let output = command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {}: {errors}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Whether an SPDX expression can be met with the licences above: one of each OR, all of each AND. AND
/// binds closer. `/` is how OR was written once.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let allowed = one_of(&words, &mut at);
    allowed && at == words.len()
}

fn one_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = all_of(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= all_of(words, at);
    }
    allowed
}

fn all_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = licence(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= licence(words, at);
    }
    allowed
}

fn licence(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let allowed = one_of(words, at);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return allowed && closed;
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return LICENCES.contains(&format!("{word} WITH {exception}").as_str());
    }
    LICENCES.contains(word)
}

/// Dependencies whose line in Cargo.toml ends without a comment.
fn without_a_reason(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut wrong = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim_end().ends_with("dependencies]");
        } else if inside
            && let Some((name, value)) = line.split_once(" = ")
            && !line.starts_with('#')
        {
            // Neither a version nor a feature has a number sign in it.
            if value.split_once('#').is_none_or(|(_, reason)| reason.trim().is_empty()) {
                wrong.push(format!("Cargo.toml: {name}: say behind it, after a #, what it is for"));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(packages: &[(&str, &str, &str, &str)], manifest: &str) -> Vec<String> {
        let built = packages.iter().map(|(name, version, ..)| format!("{name} v{version}"));
        let built = built.collect();
        let each = packages.iter().map(|(name, version, licence, source)| {
            json!({"name": name, "version": version, "license": licence, "source": source})
        });
        let metadata = json!({"packages": each.collect::<Vec<Value>>()});
        broken(&Tree::of([("Cargo.toml", manifest)]), &Packages { metadata, built }, &[])
    }

    #[test]
    fn a_foreign_licence_source_or_second_version_is_found() {
        let good = ("a", "1.0.0", "MIT", "registry+somewhere");
        assert_eq!(wrong(&[good], ""), [] as [&str; 0]);
        assert_eq!(
            wrong(&[good, ("b", "1.0.0", "AGPL-3.0-only", "registry+somewhere")], "").len(),
            1
        );
        assert_eq!(wrong(&[good, ("b", "1.0.0", "MIT", "git+somewhere")], "").len(), 1);
        assert_eq!(wrong(&[good, ("a", "2.0.0", "MIT", "registry+somewhere")], "").len(), 1);
        assert_eq!(wrong(&[], "").len(), 1);
    }

    #[test]
    fn a_licence_is_an_expression() {
        for allowed in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0-only OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
        ] {
            assert!(is_allowed(allowed), "{allowed}");
        }
        for refused in
            ["", "GPL-2.0-only", "MIT AND GPL-2.0-only", "(MIT", "MIT MIT", "Apache-2.0 WITH other"]
        {
            assert!(!is_allowed(refused), "{refused}");
        }
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let good = ("a", "1.0.0", "MIT", "registry+somewhere");
        let manifest = "[dependencies]\n# The media path.\na = \"1\" # why\nb = { version = \"1\" }\n[features]\nc = []\n[dev-dependencies]\nd = \"1\" #\n";
        assert_eq!(wrong(&[good], manifest).len(), 2);
    }
}
