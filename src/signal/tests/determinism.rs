//! A world repeats: what a test saw once, it sees again.

use super::world::*;
use crate::signal::records::CallRecord;

/// A call each way, a restart of signaling in the second, and every message of it.
fn transcript(seed: u64) -> Vec<String> {
    let mut world = World::seeded(CONFIG, seed);
    let mut call = world.outgoing_call();
    world.seconds(20);
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.take_bye(call.callee);
    let _: CallRecord = world.assert_nothing_left();
    let mut call = world.incoming_call();
    world.restart_signaling();
    world.seconds(20);
    world.hang_up(call.caller, &mut call.caller_dialog);
    world.transcript
}

#[test]
fn the_same_seed_gives_the_same_messages() {
    let once = transcript(1);
    assert!(once.len() > 30, "{} messages", once.len());
    assert_eq!(once, transcript(1));
    assert_ne!(once, transcript(3));
}
