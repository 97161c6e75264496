//! Any RED payload: it parses or not, and comes out again as it went in.

use linecard::wire::red::{REDUNDANT_BLOCKS_MAX, RedPayload, write};

/// One input.
pub fn run(payload: &[u8]) {
    let Ok(red) = RedPayload::parse(payload) else { return };
    let blocks: Vec<_> = red.redundant().collect();
    assert!(blocks.len() <= REDUNDANT_BLOCKS_MAX);
    let mut written = vec![0; payload.len()];
    let begin = write(&mut written, &blocks, red.payload_type).expect("it was read from as much");
    written[begin..].copy_from_slice(red.payload);
    assert_eq!(written, payload);
}
