//! The rules of the house, as tests: floors, circles, sizes, `unsafe`, the clock, counters, options and
//! dependencies. In: the repository's own files. What is put up with stands in [`allowed`], and can
//! only become less. Every rule has tests that show that it can fail.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a wrong number fails its test"
)]

mod allowance;
mod allowed;
mod circles;
mod clock;
mod counters;
mod dependencies;
mod floors;
mod imports;
mod options;
mod size;
mod source;
mod tree;
mod unsafe_code;

use std::sync::LazyLock;

use imports::Imports;
use tree::Tree;

/// The repository, read once for all rules.
static TREE: LazyLock<Tree> = LazyLock::new(Tree::read);

#[track_caller]
fn obeyed(broken: &[String]) {
    assert!(broken.is_empty(), "{} against the rules:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn imports_go_downward() {
    obeyed(&floors::broken(&TREE, &Imports::of(&TREE)));
}

#[test]
fn modules_form_no_circles() {
    obeyed(&circles::broken(&Imports::of(&TREE), allowed::CIRCLES));
}

#[test]
fn files_functions_and_parameters_are_few_enough_to_read() {
    obeyed(&size::broken(&TREE, &allowed::SIZES));
}

#[test]
fn unsafe_code_stands_in_named_files_and_is_explained() {
    obeyed(&unsafe_code::broken(&TREE, unsafe_code::FILES));
}

#[test]
fn the_clock_and_randomness_are_read_in_named_files() {
    obeyed(&clock::broken(&TREE));
}

#[test]
fn every_counter_is_used_tested_and_exported() {
    obeyed(&counters::broken(&TREE, &allowed::UNCOUNTED));
}

#[test]
fn every_option_is_shown_and_driven() {
    obeyed(&options::broken(&TREE, allowed::UNDRIVEN));
}

#[test]
fn dependencies_are_licensed_single_and_reasoned() {
    obeyed(&dependencies::broken(&TREE, &dependencies::packages(), allowed::DOUBLED));
}
