//! Whole scripts against the core and the registry: what [`crate::media::rig::world`] holds is true
//! whatever happens.

use std::path::Path;

use proptest::prelude::*;

use std::time::Instant;

use crate::media::rig::world;

/// A plain leg between a port pair of its own and a peer, as a script says it. The codec: 0 is Opus,
/// 1 PCMU.
fn leg(peer: u8, codec: u8) -> [u8; 14] {
    [0, 0, peer, 0, 0, 0, 0, 0, 0, 0, codec, 0, 0, 0]
}

/// `create_call`, as a script says it.
fn create(call: u8, codecs: [u8; 2]) -> Vec<u8> {
    let legs = [leg(2 * call, codecs[0]), leg(2 * call + 1, codecs[1])];
    [&[24, 0, 0], &legs.concat()[..], &[0, call]].concat()
}

#[test]
fn scripts_that_once_found_a_fault_find_none() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/media");
    let seeds = std::fs::read_dir(seeds).unwrap().map(|entry| entry.unwrap().path());
    let carried_out =
        seeds.map(|seed| world::run(&std::fs::read(seed).unwrap(), Instant::now())).count();
    assert!(carried_out > 3);
}

proptest! {
    // A script is a hundred steps: an eighth of the usual number does.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.div_ceil(8),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_datagrams_are_accounted_for_and_nothing_is_kept(
        codecs: [bool; 2],
        script in prop::collection::vec(any::<u8>(), 0..1_000),
    ) {
        let begin = [create(0, [0, 1]), create(1, codecs.map(u8::from))].concat();
        world::run(&[begin, script].concat(), Instant::now());
    }
}
