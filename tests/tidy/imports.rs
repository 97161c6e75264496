//! Which module names which: `use` declarations and paths that begin with `crate`, `super`, `self`, a
//! child's name or an imported module, outside tests. A name that a module only hands on (`pub use`)
//! is followed to where it comes from.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Kind, Token, closing};
use crate::tree::{Module, Tree};

/// How often a name may be handed on: more is a mistake of this reading, or a circle.
const HANDED_ON_MAX: usize = 8;

/// One module names another, or something in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub from: Module,
    pub to: Module,
    /// `file:line`.
    pub place: String,
}

/// All imports of the tree's crates, and their modules.
pub struct Imports {
    pub modules: BTreeSet<Module>,
    pub imports: Vec<Import>,
}

/// A path as it stands, from the module it stands in.
struct Named {
    from: Module,
    path: Vec<String>,
    /// The name it is given here, when it is a `use`.
    alias: Option<String>,
    /// Whether others may use that name.
    public: bool,
    place: String,
}

/// What a name in a module stands for, and whether modules that are not below it may use it.
type Aliases = BTreeMap<(Module, String), (Vec<String>, bool)>;

impl Imports {
    pub fn of(tree: &Tree) -> Self {
        let mut modules = BTreeSet::new();
        let mut named = Vec::new();
        for source in &tree.sources {
            let Some(module) = Module::of(&source.path) else { continue };
            let code = source.code();
            if !code.is_empty() || module.path.is_empty() {
                modules.insert(module.clone());
                Reader { path: &source.path, tokens: &code, named: &mut named, public: false }
                    .read(&module);
            }
        }
        let mut aliases = Aliases::new();
        for one in &named {
            if let Some(alias) = &one.alias {
                let whole = absolute(one, &modules, &Aliases::new());
                let here = (one.from.clone(), alias.clone());
                aliases.extend(whole.map(|path| (here, (path, one.public))));
            }
        }
        let mut imports: Vec<Import> = named
            .iter()
            .filter_map(|one| {
                let path = absolute(one, &modules, &aliases)?;
                let from = file_of(&one.from, &modules)?;
                let to = target(&from, path, &modules, &aliases)?;
                (from != to).then(|| Import { from, to, place: one.place.clone() })
            })
            .collect();
        imports.sort();
        imports.dedup();
        Self { modules, imports }
    }
}

/// The module whose file holds `module`, which may be written inline.
fn file_of(module: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let mut module = module.clone();
    while !modules.contains(&module) {
        module = module.parent()?;
    }
    Some(module)
}

/// The path from its crate's root; `None` for another crate's.
fn absolute(one: &Named, modules: &BTreeSet<Module>, aliases: &Aliases) -> Option<Vec<String>> {
    let (first, rest) = one.path.split_first()?;
    let mut path = match first.as_str() {
        "crate" => Vec::new(),
        "self" => one.from.path.clone(),
        "super" => {
            let ups = one.path.iter().take_while(|name| *name == "super").count();
            let mut path = one.from.path.clone();
            path.truncate(path.len().checked_sub(ups)?);
            path.extend(one.path[ups..].iter().cloned());
            return Some(path);
        }
        name => {
            let here = file_of(&one.from, modules)?;
            if modules.contains(&one.from.child(name)) {
                one.from.child(name).path
            } else if one.alias.is_none() {
                aliases.get(&(here, name.to_owned()))?.0.clone()
            } else {
                return None;
            }
        }
    };
    path.extend(rest.iter().cloned());
    Some(path)
}

/// The module that `path` ends in for `from`, with names that are only handed on followed.
fn target(
    from: &Module,
    mut path: Vec<String>,
    modules: &BTreeSet<Module>,
    aliases: &Aliases,
) -> Option<Module> {
    for _ in 0..HANDED_ON_MAX {
        let mut here = Module { krate: from.krate, path: Vec::new() };
        let mut rest = path.iter();
        let mut next = rest.next();
        while let Some(name) = next
            && modules.contains(&here.child(name))
        {
            here = here.child(name);
            next = rest.next();
        }
        let handed = next.and_then(|name| aliases.get(&(here.clone(), name.clone())));
        let handed = handed.filter(|(_, public)| *public || from.is_in(&here));
        let Some((handed, _)) = handed else { return file_of(&here, modules) };
        path = handed.iter().chain(rest).cloned().collect();
    }
    None
}

struct Reader<'a> {
    path: &'a str,
    tokens: &'a [&'a Token],
    named: &'a mut Vec<Named>,
    /// Whether the `use` that is read is.
    public: bool,
}

impl Reader<'_> {
    fn read(&mut self, module: &Module) {
        let mut inline: Vec<(usize, Module)> = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            inline.retain(|(end, _)| at < *end);
            let here = inline.last().map_or(module, |(_, inside)| inside).clone();
            let token = self.tokens[at];
            let follows = |offset: usize, text| {
                self.tokens.get(at + offset).is_some_and(|token| token.is(text))
            };
            if token.is("mod") && follows(2, "{") {
                let inside = here.child(&self.tokens[at + 1].text);
                inline.push((closing(self.tokens, at + 2), inside));
                at += 3;
            } else if token.is("use") && !follows(1, "<") {
                // `pub use`, `pub(super) use`
                self.public =
                    at > 0 && (self.tokens[at - 1].is("pub") || self.tokens[at - 1].is(")"));
                at = self.tree(at + 1, &[], &here);
            } else if token.kind == Kind::Word && follows(1, "::") && !self.continues(at) {
                at = self.expression(at, &here);
            } else {
                at += 1;
            }
        }
    }

    /// Whether the token at `at` is the later part of a path.
    fn continues(&self, at: usize) -> bool {
        at > 0 && self.tokens[at - 1].is("::")
    }

    /// A path in an expression or a type; gives where it ends.
    fn expression(&mut self, at: usize, here: &Module) -> usize {
        let (path, end) = self.segments(at);
        self.name(at, path, None, here);
        end
    }

    /// The words from `at` joined by `::`, and where they end.
    fn segments(&self, mut at: usize) -> (Vec<String>, usize) {
        let mut path = Vec::new();
        while let Some(token) = self.tokens.get(at).filter(|token| token.kind == Kind::Word) {
            path.push(token.text.clone());
            at += 1;
            if !self.tokens.get(at).is_some_and(|token| token.is("::")) {
                break;
            }
            at += 1;
        }
        (path, at)
    }

    /// One tree of a `use`; gives where it ends.
    fn tree(&mut self, at: usize, before: &[String], here: &Module) -> usize {
        let (own, mut end) = self.segments(at);
        let path = [before, &own].concat();
        match self.tokens.get(end) {
            Some(token) if token.is("{") => {
                let close = closing(self.tokens, end);
                end += 1;
                while end < close {
                    end = self.tree(end, &path, here);
                    end += usize::from(end < close && self.tokens[end].is(","));
                }
                return close + 1;
            }
            Some(token) if token.is("*") => self.name(at, path, None, here),
            Some(token) if token.is("as") => {
                let alias = self.tokens.get(end + 1).map(|token| token.text.clone());
                self.name(at, path, alias, here);
                return end + 2;
            }
            _ if own.is_empty() => {}
            _ => {
                let itself = path.len() > 1 && own.last().is_some_and(|last| last == "self");
                let path = if itself { path[..path.len() - 1].to_vec() } else { path };
                let alias = path.last().cloned();
                self.name(at, path, alias, here);
                return end;
            }
        }
        end + 1
    }

    fn name(&mut self, at: usize, path: Vec<String>, alias: Option<String>, here: &Module) {
        let place = format!("{}:{}", self.path, self.tokens[at].line);
        self.named.push(Named { from: here.clone(), path, alias, public: self.public, place });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `from → to` of each import of these files.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let imports = Imports::of(&Tree::of(files.iter().copied())).imports;
        imports.iter().map(|import| format!("{} → {}", import.from, import.to)).collect()
    }

    #[test]
    fn every_way_to_name_another_module_is_seen() {
        let files = |text| {
            [
                ("src/lib.rs", ""),
                ("src/a/mod.rs", "mod b; mod c;"),
                ("src/a/b.rs", text),
                ("src/a/c.rs", "fn f() {}"),
            ]
        };
        for text in [
            "use crate::a::c;",
            "use super::c::f;",
            "use super::{self, c::{f, g}};",
            "use super::c as other;",
            "use super::c::*;",
            "fn g() { crate::a::c::f() }",
            "fn g() { super::c::f::<u8>() }",
            "mod inside { use super::super::c; }",
            "impl X for crate::a::c::Y {}",
            "use crate::{a::{c}};",
        ] {
            assert!(found(&files(text)).contains(&"src/a/b → src/a/c".to_owned()), "{text}");
        }
        for text in [
            "// use super::c;",
            "#[cfg(test)] mod tests { use crate::a::c; }",
            "fn g() { std::c::f() }",
            "fn g() -> impl Trait + use<'static> {}",
            "use std::{c, d};",
        ] {
            assert_eq!(found(&files(text)), [] as [&str; 0], "{text}");
        }
    }

    #[test]
    fn an_imported_module_that_names_on_is_followed() {
        let imports = found(&[
            ("src/a/mod.rs", "pub mod b; pub mod c;"),
            ("src/a/b.rs", "fn f() {}"),
            ("src/a/c.rs", "use crate::a; fn g() { a::b::f() }"),
        ]);
        assert_eq!(imports, ["src/a/c → src/a", "src/a/c → src/a/b"]);
    }

    #[test]
    fn a_name_that_is_handed_on_leads_to_its_home() {
        let imports = found(&[
            ("src/a/mod.rs", "pub mod b; pub use b::Noun;"),
            ("src/a/b.rs", "pub struct Noun;"),
            ("src/d.rs", "use crate::a::Noun;"),
        ]);
        assert!(imports.contains(&"src/d → src/a/b".to_owned()), "{imports:?}");
        let kept = found(&[
            ("src/a.rs", "use crate::b::Noun;"),
            ("src/b.rs", "pub struct Noun;"),
            ("src/d.rs", "use crate::a::Noun;"),
        ]);
        assert!(kept.contains(&"src/d → src/a".to_owned()), "{kept:?}");
    }

    #[test]
    fn a_child_is_named_by_its_parent_without_a_prefix() {
        let imports = found(&[("src/a/mod.rs", "mod b; use b::f;"), ("src/a/b.rs", "fn f() {}")]);
        assert_eq!(imports, ["src/a → src/a/b"]);
    }
}
