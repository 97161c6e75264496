//! What the rules still put up with, by name. These lists only shrink: an entry that is not needed any
//! more fails the test as well.

use crate::circles::Circle;
use crate::counters::Uncounted;
use crate::size::Sizes;

/// Modules of a folder that import each other, in alphabetical order.
pub const CIRCLES: &[Circle] = &[];

/// What is larger than the rules say, with its size.
pub const SIZES: Sizes = Sizes {
    files: &[("src/signal/call.rs", 805)],
    functions: &[],
    parameters: &[("src/audio/dtmf/sender.rs ending", 6)],
};

/// Counters that nothing gives, asserts or shows.
pub const UNCOUNTED: Uncounted =
    Uncounted { never_given: &[], not_asserted: &[], not_exported: &[], not_on_the_page: &[] };

/// Options that no test gives a value.
pub const UNDRIVEN: &[(&str, &str)] = &[];

/// Packages in more than one version, each with who holds the older one.
pub const DOUBLED: &[(&str, &str)] = &[
    ("base64", "axum"),
    ("block-buffer", "axum and tungstenite, by sha1"),
    ("cpufeatures", "axum and tungstenite, by sha1"),
    ("crypto-common", "axum and tungstenite, by sha1"),
    ("digest", "axum and tungstenite, by sha1"),
    ("getrandom", "tungstenite, by rand"),
    ("rand", "tungstenite"),
    ("rand_core", "tungstenite, by rand"),
    ("sha1", "axum and tungstenite"),
    ("syn", "macros of zeroize and tracing, when it is built"),
];
