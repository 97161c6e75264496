//! Imports go downward only, and media and signal never import each other.

use std::collections::BTreeMap;

use crate::imports::Imports;
use crate::tree::Tree;

/// A floor's folders, and why they stand where they do.
struct Floor {
    folders: &'static [&'static str],
    why: &'static str,
}

/// From the top to the ground; the page of src/lib.rs shows the same rows. Folders of one floor do
/// not import each other, unless `SAME_FLOOR` says so.
const FLOORS: &[Floor] = &[
    Floor {
        folders: &["media", "signal"],
        why: "the two processes: each must live without the other",
    },
    Floor {
        folders: &["config", "up"],
        why: "what the operator wrote is read before a process begins",
    },
    Floor { folders: &["os"], why: "the kernel, for whoever runs a loop" },
    Floor { folders: &["control"], why: "the contract is made of the engines' words" },
    Floor {
        folders: &["ice", "dtls", "sip"],
        why: "engines take time and bytes, and know no process",
    },
    Floor { folders: &["audio"], why: "samples and their repair know no call" },
    Floor { folders: &["srtp"], why: "protection of what the wire brings" },
    Floor { folders: &["wire"], why: "bytes and values without state" },
    Floor { folders: &["base"], why: "knows no protocol" },
];

/// Imports within a floor: who, whom, why.
const SAME_FLOOR: &[(&str, &str, &str)] =
    &[("up", "config", "up starts both processes by the same file")];

/// Everything that goes against the floors.
pub fn broken(tree: &Tree, imports: &Imports) -> Vec<String> {
    let mut wrong = against(imports);
    wrong.extend(unlike_the_page(tree));
    wrong
}

fn against(imports: &Imports) -> Vec<String> {
    let mut ranks = BTreeMap::new();
    for (rank, floor) in FLOORS.iter().enumerate() {
        ranks.extend(floor.folders.iter().map(|folder| (*folder, (rank, floor.why))));
    }
    let mut wrong = Vec::new();
    for module in imports.modules.iter().filter(|module| module.krate == "src") {
        if let [folder] = module.path.as_slice()
            && !ranks.contains_key(folder.as_str())
        {
            wrong.push(format!(
                "src/{folder} stands on no floor: give it one in tests/tidy/floors.rs and in src/lib.rs"
            ));
        }
    }
    for import in imports.imports.iter().filter(|import| import.from.krate == "src") {
        let (Some(from), Some(to)) = (import.from.path.first(), import.to.path.first()) else {
            if !import.from.path.is_empty() {
                wrong.push(format!("{}: imports the crate's root; name the folder", import.place));
            }
            continue;
        };
        let (Some((above, _)), Some((below, why))) =
            (ranks.get(from.as_str()), ranks.get(to.as_str()))
        else {
            continue;
        };
        let same = SAME_FLOOR.iter().any(|(one, other, _)| one == from && other == to);
        if from != to && above >= below && !same {
            wrong.push(format!(
                "{}: {from} imports {to}, which is not below it ({to}: {why}). Move what is needed to a \
                 floor that both stand on, or hand it over as an argument",
                import.place
            ));
        }
    }
    wrong
}

/// The rows of the page in src/lib.rs, which has to show the same floors.
fn unlike_the_page(tree: &Tree) -> Vec<String> {
    let comments = tree.source("src/lib.rs").map(|source| source.tokens.as_slice());
    let rows = comments.unwrap_or_default().iter().filter_map(|token| {
        let row = token.text.strip_prefix("//! | [")?;
        let (names, _) = row.split_once(" | ")?;
        let mut names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
        names.sort_unstable();
        Some(names)
    });
    let shown: Vec<Vec<&str>> = rows.collect();
    let meant: Vec<Vec<&str>> = FLOORS
        .iter()
        .map(|floor| {
            let mut names = floor.folders.to_vec();
            names.sort_unstable();
            names
        })
        .collect();
    if shown == meant {
        return Vec::new();
    }
    vec![format!(
        "the floors on src/lib.rs's page are not those of tests/tidy/floors.rs: make them the same\n  \
         page: {shown:?}\n  test: {meant:?}"
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(files: &[(&str, &str)]) -> Vec<String> {
        against(&Imports::of(&Tree::of(files.iter().copied())))
    }

    #[test]
    fn an_import_upward_or_aside_is_found() {
        let upward =
            [("src/base/mod.rs", "use crate::wire::rtp;"), ("src/wire/mod.rs", "pub fn rtp() {}")];
        let aside = [
            ("src/media/mod.rs", "fn f() { crate::signal::g() }"),
            ("src/signal/mod.rs", "fn g() {}"),
        ];
        for files in [upward, aside] {
            assert_eq!(wrong(&files).len(), 1, "{files:?}");
        }
        let downward =
            [("src/wire/mod.rs", "use crate::base::x;"), ("src/base/mod.rs", "pub fn x() {}")];
        assert_eq!(wrong(&downward), [] as [&str; 0]);
    }

    #[test]
    fn a_folder_without_a_floor_is_found() {
        assert_eq!(wrong(&[("src/attic/mod.rs", "fn f() {}")]).len(), 1);
    }

    #[test]
    fn a_page_that_shows_other_floors_is_found() {
        let tree = Tree::of([("src/lib.rs", "//! | [`media`] · [`signal`] | the two |\n")]);
        assert_eq!(unlike_the_page(&tree).len(), 1);
    }
}
