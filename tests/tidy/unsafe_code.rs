//! `unsafe` stands in named files only, and each has the invariant that it relies on above it.

use crate::allowance::{Breach, hold};
use crate::source::{Kind, Source, Token};
use crate::tree::Tree;

/// Files that may, and why.
pub const FILES: &[(&str, &str)] = &[
    ("src/audio/opus.rs", "the codec library's C interface, and its states in our arena"),
    ("src/audio/opus/tests.rs", "asks the kernel which pages of the arena are in memory"),
    ("src/os/ring.rs", "buffers are shared with the kernel"),
    ("src/os/sockets.rs", "one socket option that no typed library knows"),
    ("src/os/wake.rs", "one promise to the runtime: the descriptor stays ours"),
    ("tests/allocation/main.rs", "a counting allocator"),
    ("tests/srtp_oracle.rs", "libsrtp's C interface"),
    (
        "tools/harness/baseline/forward.rs",
        "buffers are shared with the kernel, as in the product's ring",
    ),
    ("tools/harness/ends/fullband.rs", "the codec library's C interface"),
    ("tools/harness/ends/sockets.rs", "system calls that no typed library has"),
];

pub fn broken(tree: &Tree, files: &[(&str, &str)]) -> Vec<String> {
    let mut elsewhere = Vec::new();
    let mut wrong = Vec::new();
    for source in &tree.sources {
        let Some(first) = source.tokens.iter().find(|token| token.is("unsafe")) else { continue };
        let message = format!(
            "`unsafe` at line {}: use a safe way, or name the file with its reason in tests/tidy/unsafe_code.rs",
            first.line
        );
        elsewhere.push(Breach { name: source.path.clone(), message });
        for line in unexplained(source) {
            wrong.push(format!(
                "{}:{line}: `unsafe` without a `// SAFETY:` of its own above it: write the invariant",
                source.path
            ));
        }
    }
    wrong.extend(hold(elsewhere, "tests/tidy/unsafe_code.rs FILES", files));
    wrong
}

/// The lines of blocks and implementations that no `SAFETY:` comment explains. One comment explains one.
fn unexplained(source: &Source) -> Vec<usize> {
    let mut used = Vec::new();
    let mut lines = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        let next = source.tokens[at + 1..].iter().find(|token| token.kind != Kind::Comment);
        let needs = next.is_some_and(|next| next.is("{") || next.is("impl"));
        if !token.is("unsafe") || !needs {
            continue;
        }
        match explanation(&source.tokens, at).filter(|at| !used.contains(at)) {
            Some(at) => used.push(at),
            None => lines.push(token.line),
        }
    }
    lines
}

/// The index of the nearest `SAFETY:` comment before `at` in the same statement.
fn explanation(tokens: &[Token], at: usize) -> Option<usize> {
    for (index, token) in tokens[..at].iter().enumerate().rev() {
        if token.kind == Kind::Comment && token.text.contains("SAFETY:") {
            return Some(index);
        }
        if token.is(";") || token.is("{") || token.is("}") {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str, files: &[(&str, &str)]) -> Vec<String> {
        broken(&Tree::of([("src/a.rs", text)]), files)
    }

    #[test]
    fn unsafe_code_in_another_file_is_found() {
        let text = "fn f() {\n    // SAFETY: it is.\n    unsafe { g() }\n}";
        assert_eq!(wrong(text, &[]).len(), 1);
        assert_eq!(wrong(text, &[("src/a.rs", "why")]), [] as [&str; 0]);
        assert_eq!(wrong("fn f() {}", &[("src/a.rs", "why")]).len(), 1);
    }

    #[test]
    fn a_block_without_its_own_explanation_is_found() {
        let files = &[("src/a.rs", "why")];
        for text in [
            "fn f() { unsafe { g() } }",
            "unsafe impl Send for A {}",
            "fn f() {\n// SAFETY: one\nlet a = unsafe { g() };\nlet b = unsafe { g() };\n}",
            "fn f() {\n// SAFETY: one\nh(unsafe { g() }, unsafe { g() });\n}",
        ] {
            assert_eq!(wrong(text, files).len(), 1, "{text}");
        }
        for text in [
            "// SAFETY: x\nunsafe impl Send for A {}",
            "fn f() {\n// SAFETY: x\n// and on\nlet a = h(unsafe { g() });\n}",
            "// SAFETY: x\nstatic A: B = unsafe { g() };\nunsafe extern \"C\" {}",
        ] {
            assert_eq!(wrong(text, files), [] as [&str; 0], "{text}");
        }
    }
}
