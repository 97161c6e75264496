//! The clock and the system's randomness are read in named files only; everyone else is handed `now`
//! and a generator, so that a test is the engine and a clock of its own.

use crate::allowance::{Breach, hold};
use crate::source::begins;
use crate::tree::Tree;

/// What reads a clock.
const CLOCK: &[&[&str]] = &[
    &["Instant", "::", "now"],
    &["SystemTime", "::", "now"],
    &["UNIX_EPOCH", ".", "elapsed"],
    &[".", "elapsed", "(", ")"],
];
/// What draws from the operating system.
const RANDOM: &[&[&str]] = &[
    &["rand", "::", "rng"],
    &["rand", "::", "random"],
    &["thread_rng"],
    &["make_rng"],
    &["from_system"],
    &["from_os_rng"],
    &["OsRng"],
    &["SysRng"],
    &["getrandom"],
    &["SystemRandom"],
];

/// Files that may read a clock, and why.
pub const CLOCK_FILES: &[(&str, &str)] = &[
    ("src/base/clock.rs", "ties the monotonic clock to the wall clock, once"),
    ("src/media/front/socket.rs", "the loop of the media process's control thread"),
    ("src/media/mod.rs", "starts the media process"),
    ("src/media/thread.rs", "the loop of a media thread"),
    ("src/os/ring.rs", "the time left until a wait ends"),
    ("src/signal/process.rs", "the loop of the signaling process"),
    ("src/signal/web/mod.rs", "when a refused page was last named in the log"),
    ("src/signal/web/socket.rs", "how long a stranger may stay, on a socket's own task"),
    ("src/up/child.rs", "how long a child ran before it ended"),
    ("src/up/mod.rs", "how long a process takes to be ready"),
    ("src/up/trunk/mod.rs", "the loop of the test trunk"),
];
/// Files that may draw from the system, and why.
pub const RANDOM_FILES: &[(&str, &str)] = &[
    ("src/base/random.rs", "makes the generator that everyone is handed"),
    ("src/media/mod.rs", "the generation of a media process that starts"),
    ("src/media/thread.rs", "a media thread that starts"),
    ("src/signal/process.rs", "a signaling process that starts"),
    ("src/up/plan.rs", "the password of a first start"),
    ("src/up/trunk/mod.rs", "a test trunk that starts"),
];

pub fn broken(tree: &Tree) -> Vec<String> {
    let clock = found(tree, CLOCK, "reads the clock: take `now: Instant` as an argument");
    let random =
        found(tree, RANDOM, "draws from the system: take `random: &mut Random` as an argument");
    let mut wrong = hold(clock, "tests/tidy/clock.rs CLOCK_FILES", CLOCK_FILES);
    wrong.extend(hold(random, "tests/tidy/clock.rs RANDOM_FILES", RANDOM_FILES));
    wrong
}

/// The product's files in which one of these stands, outside tests.
fn found(tree: &Tree, what: &[&[&str]], instead: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in tree.product() {
        let code = source.code();
        let here = |at: &usize| what.iter().any(|texts| begins(&code[*at..], texts));
        if let Some(at) = (0..code.len()).find(here) {
            let message = format!("line {} {instead}", code[at].line);
            breaches.push(Breach { name: source.path.clone(), message });
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_of_the_clock_or_of_randomness_is_found() {
        let names = |text: &str, what| found(&Tree::of([("src/a.rs", text)]), what, "").len();
        for text in [
            "fn f() { let now = Instant::now(); }",
            "fn f() { std::time::SystemTime::now() }",
            "fn f() { tokio::time::Instant::now() }",
            "fn f(at: Instant) { at.elapsed() }",
        ] {
            assert_eq!(names(text, CLOCK), 1, "{text}");
        }
        for text in ["fn f() { rand::rng() }", "fn f() { random::from_system() }"] {
            assert_eq!(names(text, RANDOM), 1, "{text}");
        }
        for text in [
            "// Instant::now()",
            "fn f() { g(\"Instant::now()\") }",
            "fn f() { WallAnchor::now() }",
            "#[cfg(test)]\nmod tests {\n    fn f() { Instant::now() }\n}",
        ] {
            assert_eq!(names(text, CLOCK) + names(text, RANDOM), 0, "{text}");
        }
    }
}
