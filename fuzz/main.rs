//! Every fuzz target in one program, run by libFuzzer: `tools/fuzz` builds and runs it, and tells it by
//! [`VARIABLE`] which target the inputs are for. Without that it prints the names of all.
//!
//! A new target is a file here with a `run(&[u8])`, a line in [`TARGETS`] and, where it helps, some
//! inputs to begin with in fuzz/seeds/NAME. An input fails when `run` panics, takes too long or too
//! much memory.
#![no_main]

mod control;
mod dtls;
mod media;
mod red;
mod rtcp;
mod rtp;
mod sdp;
mod sip;
mod sip_transaction;
mod srtp;
mod stun;
mod telephone_event;
mod wav;

use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

/// Takes any bytes.
type Run = fn(&[u8]);

/// By name: what reads from the network and from files first, then what keeps a state.
const TARGETS: [(&str, Run); 13] = [
    ("rtp", rtp::run),
    ("rtcp", rtcp::run),
    ("red", red::run),
    ("telephone_event", telephone_event::run),
    ("stun", stun::run),
    ("srtp", srtp::run),
    ("sip", sip::run),
    ("sdp", sdp::run),
    ("control", control::run),
    ("wav", wav::run),
    ("sip_transaction", sip_transaction::run),
    ("dtls", dtls::run),
    ("media", media::run),
];

/// Names the target in the environment.
const VARIABLE: &str = "LINECARD_FUZZ_TARGET";

static CHOSEN: OnceLock<Run> = OnceLock::new();

fuzz_target!(init: choose(), |bytes: &[u8]| {
    let run = CHOSEN.get().expect("chosen before the first input");
    run(bytes);
});

#[expect(clippy::exit, reason = "libFuzzer has the main function: this is the way out of it")]
fn choose() {
    let names = TARGETS.map(|(name, _)| name).join("\n");
    let Some(asked) = std::env::var_os(VARIABLE) else {
        println!("{names}");
        exit(0);
    };
    let Some((_, run)) = TARGETS.iter().find(|(name, _)| asked.as_os_str() == *name) else {
        eprintln!("{VARIABLE}: there is no target {asked:?}; write one of\n{names}");
        exit(2);
    };
    CHOSEN.get_or_init(|| *run);
}

/// The input as far as it is text.
fn text_of(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}
