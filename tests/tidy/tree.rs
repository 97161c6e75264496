//! The repository's files, read once: Rust by tokens, everything else as text.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::source::{Kind, Source, Token};

/// Where the tree's own files are; everything else (target, .venv) is not ours.
const FOLDERS: &[&str] = &["src", "tests", "tools", "benches", "fuzz"];
/// Folders inside those that are made by tools.
const MADE: &[&str] = &["node_modules", "dist", "__pycache__", "seeds", "corpus"];
/// The crates that have modules of their own, by the folder of their root.
const CRATES: &[&str] = &["src", "tools/harness", "tools/speech_quality"];

/// A text that is not Rust: a script, the example of a configuration.
pub struct Text {
    pub path: String,
    pub text: String,
}

/// All files.
pub struct Tree {
    pub sources: Vec<Source>,
    pub texts: Vec<Text>,
}

impl Tree {
    /// The repository itself.
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = vec!["Cargo.toml".to_owned()];
        for folder in FOLDERS {
            list(root, folder, &mut files);
        }
        files.sort_unstable();
        let read = files.into_iter().map(|path| {
            let text = fs::read(root.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            (path, String::from_utf8_lossy(&text).into_owned())
        });
        Self::of(read)
    }

    /// These files, each a path and its text.
    pub fn of(files: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        let mut tree = Self { sources: Vec::new(), texts: Vec::new() };
        for (path, text) in files {
            let (path, text) = (path.into(), text.into());
            if path.ends_with(".rs") {
                tree.sources.push(Source::new(&path, &text));
            } else {
                tree.texts.push(Text { path, text });
            }
        }
        tree.mark_test_files();
        tree
    }

    /// The text of a file that is not Rust; empty when there is none.
    pub fn text(&self, path: &str) -> &str {
        self.texts.iter().find(|text| text.path == path).map_or("", |text| &text.text)
    }

    /// A Rust file.
    pub fn source(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }

    /// The product's files.
    pub fn product(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.path.starts_with("src/"))
    }

    /// A file that is a module under `#[cfg(test)]` is a test as a whole, and so are its children;
    /// so is everything in tests/.
    fn mark_test_files(&mut self) {
        let mut tests = BTreeSet::new();
        for source in &self.sources {
            let Some(module) = Module::of(&source.path) else { continue };
            for name in declared(&source.tests()) {
                tests.insert(module.child(name));
            }
        }
        for source in &mut self.sources {
            let module = Module::of(&source.path);
            let below = |test: &Module| module.as_ref().is_some_and(|module| module.is_in(test));
            if source.path.starts_with("tests/") || tests.iter().any(below) {
                source.becomes_a_test();
            }
        }
    }
}

/// The names in `mod name;`.
fn declared<'a>(tokens: &[&'a Token]) -> Vec<&'a str> {
    let each = tokens
        .windows(3)
        .filter(|three| three[0].is("mod") && three[1].kind == Kind::Word && three[2].is(";"));
    each.map(|three| three[1].text.as_str()).collect()
}

fn list(root: &Path, folder: &str, files: &mut Vec<String>) {
    let entries =
        fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{folder}: {error}"));
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        if entry.path().is_dir() {
            if !MADE.contains(&name.as_str()) {
                list(root, &path, files);
            }
        } else if [".rs", ".py", ".toml", ".md"].iter().any(|kind| name.ends_with(kind)) {
            files.push(path);
        }
    }
}

/// A module: its crate, and the way to it from the crate's root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Module {
    pub krate: &'static str,
    pub path: Vec<String>,
}

impl Module {
    /// The module that a file is; `None` for roots that have no modules of their own.
    pub fn of(file: &str) -> Option<Self> {
        let krate = CRATES
            .iter()
            .find(|krate| file.strip_prefix(**krate).is_some_and(|rest| rest.starts_with('/')))?;
        if file == "src/main.rs" {
            return None;
        }
        let inside = file.strip_prefix(krate)?.strip_prefix('/')?.strip_suffix(".rs")?;
        let mut path: Vec<String> = inside.split('/').map(str::to_owned).collect();
        let root = path.len() == 1 && matches!(path[0].as_str(), "lib" | "main");
        if root || path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        Some(Self { krate, path })
    }

    pub fn child(&self, name: &str) -> Self {
        let mut path = self.path.clone();
        path.push(name.to_owned());
        Self { krate: self.krate, path }
    }

    pub fn parent(&self) -> Option<Self> {
        let (_, parents) = self.path.split_last()?;
        Some(Self { krate: self.krate, path: parents.to_vec() })
    }

    /// Whether it is `other` or below it.
    pub fn is_in(&self, other: &Self) -> bool {
        self.krate == other.krate && self.path.starts_with(&other.path)
    }
}

impl std::fmt::Display for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.krate)?;
        self.path.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_knows_its_module() {
        let path = |file| Module::of(file).map(|module| module.to_string());
        assert_eq!(path("src/lib.rs").as_deref(), Some("src"));
        assert_eq!(path("src/media/mod.rs").as_deref(), Some("src/media"));
        assert_eq!(
            path("src/media/thread/commands.rs").as_deref(),
            Some("src/media/thread/commands")
        );
        assert_eq!(path("tools/harness/main.rs").as_deref(), Some("tools/harness"));
        assert_eq!(path("tools/harness/engine/mod.rs").as_deref(), Some("tools/harness/engine"));
        assert_eq!(path("src/main.rs"), None);
        assert_eq!(path("benches/line.rs"), None);
    }

    #[test]
    fn a_file_that_only_tests_declare_is_a_test_with_all_below_it() {
        let tree = Tree::of([
            ("src/a/mod.rs", "pub mod b;\n#[cfg(test)]\nmod tests;"),
            ("src/a/b.rs", "fn ships() {}"),
            ("src/a/tests.rs", "mod deep;"),
            ("src/a/tests/deep.rs", "fn helps() {}"),
            ("tests/up.rs", "fn helps() {}"),
        ]);
        let ships = |path| tree.source(path).is_some_and(|source| !source.code().is_empty());
        assert!(ships("src/a/mod.rs") && ships("src/a/b.rs"));
        assert!(!ships("src/a/tests.rs") && !ships("src/a/tests/deep.rs") && !ships("tests/up.rs"));
    }
}
