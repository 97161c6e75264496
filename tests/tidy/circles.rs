//! No two modules of a folder, and no two folders, import each other, directly or around a corner. A
//! parent and its children are one noun and may.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::{Import, Imports};
use crate::tree::Module;

/// A circle that is put up with: its folder, the modules in it in order, and why.
pub struct Circle {
    pub folder: &'static str,
    pub modules: &'static [&'static str],
    pub why: &'static str,
}

/// Circles that are not allowed, and allowed ones that are no more or became smaller.
pub fn broken(imports: &Imports, allowed: &[Circle]) -> Vec<String> {
    let found = circles(imports);
    let mut wrong = Vec::new();
    for (folder, members, edges) in &found {
        let here = || allowed.iter().filter(|circle| circle.folder == folder.to_string());
        let listed = here().any(|circle| circle.modules == *members);
        let smaller =
            here().any(|circle| members.iter().all(|name| circle.modules.contains(&name.as_str())));
        if listed {
            continue;
        }
        let what = if smaller {
            "the circle became smaller: write it so in tests/tidy/allowed.rs"
        } else {
            "a new circle: move the definition that both need into a module of its own, below both"
        };
        wrong.push(format!(
            "{folder}: {}: {what}\n    {}",
            members.join(" ⇄ "),
            edges.join("\n    ")
        ));
    }
    for circle in allowed {
        let stands = |(folder, members, _): &(Module, Vec<String>, Vec<String>)| {
            let kept = members.iter().filter(|name| circle.modules.contains(&name.as_str()));
            circle.folder == folder.to_string() && kept.count() > 1
        };
        if !found.iter().any(stands) {
            wrong.push(format!(
                "{}: {} is no circle any more ({}): take it out of tests/tidy/allowed.rs",
                circle.folder,
                circle.modules.join(" ⇄ "),
                circle.why
            ));
        }
    }
    wrong
}

/// Every circle: its folder, its modules in order, and the imports that make it.
fn circles(imports: &Imports) -> Vec<(Module, Vec<String>, Vec<String>)> {
    let mut folders: BTreeMap<Module, Vec<(String, String, &Import)>> = BTreeMap::new();
    for import in &imports.imports {
        let (from, to) = (&import.from, &import.to);
        let shared = from.path.iter().zip(&to.path).take_while(|(one, other)| one == other).count();
        if let (Some(one), Some(other)) = (from.path.get(shared), to.path.get(shared)) {
            let folder = Module { krate: from.krate, path: from.path[..shared].to_vec() };
            folders.entry(folder).or_default().push((one.clone(), other.clone(), import));
        }
    }
    let mut found = Vec::new();
    for (folder, edges) in folders {
        let names: BTreeSet<&String> =
            edges.iter().flat_map(|(one, other, _)| [one, other]).collect();
        let reached: BTreeMap<&String, BTreeSet<&String>> =
            names.iter().map(|name| (*name, reached_from(name, &edges))).collect();
        let mut done = BTreeSet::new();
        for name in names {
            let members: Vec<String> = reached[name]
                .iter()
                .filter(|other| reached[**other].contains(name))
                .map(|other| (*other).clone())
                .collect();
            if members.len() < 2 || !done.insert(members.clone()) {
                continue;
            }
            let inside = edges
                .iter()
                .filter(|(one, other, _)| members.contains(one) && members.contains(other));
            let edges: BTreeMap<String, &str> = inside
                .map(|(one, other, import)| (format!("{one} → {other}"), import.place.as_str()))
                .collect();
            let edges =
                edges.into_iter().map(|(edge, place)| format!("{edge} ({place})")).collect();
            found.push((folder.clone(), members, edges));
        }
    }
    found
}

fn reached_from<'a>(
    start: &'a String,
    edges: &'a [(String, String, &Import)],
) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(name) = open.pop() {
        for (one, other, _) in edges {
            if one == name && reached.insert(other) {
                open.push(other);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    const CORNER: &[(&str, &str)] = &[
        ("src/a/mod.rs", "mod b; mod c; mod d;"),
        ("src/a/b.rs", "use super::c::x;"),
        ("src/a/c.rs", "use super::d::x;"),
        ("src/a/d/mod.rs", "mod deep;"),
        ("src/a/d/deep.rs", "use super::super::b::x;"),
    ];
    const ALLOWED: Circle = Circle { folder: "src/a", modules: &["b", "c", "d"], why: "it is old" };

    fn wrong(files: &[(&str, &str)], allowed: &[Circle]) -> Vec<String> {
        broken(&Imports::of(&Tree::of(files.iter().copied())), allowed)
    }

    #[test]
    fn a_circle_around_a_corner_is_found() {
        assert_eq!(wrong(CORNER, &[]).len(), 1);
        assert_eq!(wrong(CORNER, &[ALLOWED]), [] as [&str; 0]);
    }

    #[test]
    fn a_circle_of_folders_is_found() {
        let files = [
            ("src/a/mod.rs", "mod b;"),
            ("src/a/b.rs", "use crate::c::x;"),
            ("src/c.rs", "use crate::a::b::y;"),
        ];
        assert_eq!(wrong(&files, &[]).len(), 1);
    }

    #[test]
    fn a_parent_and_its_child_are_none() {
        let files = [("src/a/mod.rs", "mod b; use b::x;"), ("src/a/b.rs", "use super::y;")];
        assert_eq!(wrong(&files, &[]), [] as [&str; 0]);
    }

    #[test]
    fn a_circle_that_ended_or_shrank_leaves_the_list() {
        let opened = [
            ("src/a/mod.rs", "mod b; mod c;"),
            ("src/a/b.rs", "use super::c::x;"),
            ("src/a/c.rs", "fn x() {}"),
        ];
        assert_eq!(wrong(&opened, &[ALLOWED]).len(), 1);
        let smaller = [
            ("src/a/mod.rs", "mod b; mod c;"),
            ("src/a/b.rs", "use super::c::x;"),
            ("src/a/c.rs", "use super::b::y;"),
        ];
        let wrong = wrong(&smaller, &[ALLOWED]);
        assert!(wrong.len() == 1 && wrong[0].contains("smaller"), "{wrong:?}");
    }
}
