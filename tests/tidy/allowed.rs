//! What the rules still put up with, by name. These lists only shrink: an entry that is not needed any
//! more fails the test as well.

use crate::circles::Circle;
use crate::counters::Uncounted;
use crate::size::Sizes;

/// Modules of a folder that import each other, in alphabetical order.
pub const CIRCLES: &[Circle] = &[
    Circle {
        folder: "src/audio",
        modules: &["ladder", "opus"],
        why: "`Default` of the encoder's settings is a rung of the ladder",
    },
    Circle {
        folder: "src/media",
        modules: &["call", "leg", "line", "noise", "paced", "stream"],
        why: "the stages of a stream call back into the line",
    },
    Circle {
        folder: "src/media",
        modules: &["encoding", "format"],
        why: "what a far end is able to decode stands in encoding",
    },
    Circle { folder: "src/os", modules: &["outbox", "ring"], why: "`SocketIndex` stands in ring" },
    Circle {
        folder: "src/signal",
        modules: &["browser", "exchange", "leg", "records", "release", "trunk"],
        why: "a leg sends its own BYE through the exchange; the rest stands in the wrong file",
    },
    Circle {
        folder: "src/signal",
        modules: &["call", "recovery"],
        why: "the blob of a call is written by one and read by the other",
    },
    Circle {
        folder: "src/sip/transaction",
        modules: &["key", "output"],
        why: "a flow knows its peer, which is half of a transaction's key",
    },
    Circle {
        folder: "src/wire/sdp",
        modules: &["author", "browser", "trunk"],
        why: "the formats that are offered stand with those who read offers",
    },
    Circle {
        folder: "src/wire/sip",
        modules: &["parameter", "uri", "value"],
        why: "numbers, hosts and quoted texts are read in each",
    },
    Circle {
        folder: "tools/harness",
        modules: &["report", "run"],
        why: "the report keeps the run's own words",
    },
];

/// What is larger than the rules say, with its size.
pub const SIZES: Sizes = Sizes {
    files: &[
        ("src/control/message.rs", 743),
        ("src/media/line.rs", 606),
        ("src/signal/call.rs", 913),
    ],
    functions: &[
        ("src/media/format.rs new", 89),
        ("tools/harness/load.rs load", 80),
        ("tools/harness/plot.rs svg", 80),
        ("tools/harness/report.rs text", 102),
    ],
    parameters: &[
        ("src/audio/dtmf/sender.rs ending", 6),
        ("src/media/leg.rs new", 6),
        ("src/media/leg.rs send", 6),
        ("tools/harness/codec_loop.rs run", 6),
        ("tools/harness/generator.rs take", 6),
    ],
};

/// Counters that nothing gives, asserts or shows.
pub const UNCOUNTED: Uncounted = Uncounted {
    never_given: &[],
    not_asserted: &[("EncoderFailed", "no input is known that makes the encoder fail")],
    not_exported: &[],
    not_on_the_page: &[],
};

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
