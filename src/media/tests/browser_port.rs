//! What comes to a thread's browser port and belongs to no leg.

use super::super::rig::browser_address;
use super::*;
use crate::base::discard::DiscardCounters;
use crate::os::network::{Datagram, Network};

fn discards(rig: &mut Rig) -> DiscardCounters {
    match rig.command(Command::QueryThread) {
        Ok(Reply::Thread(statistics)) => statistics.discards,
        other => panic!("{other:?}"),
    }
}

fn check(number: u32) -> Vec<u8> {
    let mut bytes = vec![0; 20];
    bytes[1] = 1;
    bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
    bytes[8..12].copy_from_slice(&number.to_be_bytes());
    bytes
}

#[test]
fn what_is_none_of_the_protocols_or_of_no_leg_is_counted_by_what_it_is() {
    let mut rig = rig_for(1);
    let from = theirs(0);
    for bytes in [
        vec![200; 40],
        vec![10; 40],
        check(0)[..19].to_vec(),
        vec![22; 40],
        [&[0x80, 0][..], &[0; 40]].concat(),
        [&[0x80, 200][..], &[0; 40]].concat(),
    ] {
        rig.receive(Flying { from, to: browser_address(0), bytes });
    }
    let discards = discards(&mut rig);
    assert_eq!(discards.of(Discard::UnknownProtocol), 2);
    assert_eq!(discards.of(Discard::BadStun) + discards.of(Discard::Truncated), 1, "{discards:?}");
    assert_eq!(discards.of(Discard::BadDtls), 1);
    assert_eq!(discards.of(Discard::UnknownSource), 2);
    assert!(rig.events().is_empty() && rig.sent().is_empty());
}

#[test]
fn a_flood_of_checks_is_handed_on_up_to_a_bound_and_counted_beyond_it() {
    let mut rig = rig_for(1);
    let to = browser_address(0);
    for number in 0..20_100 {
        rig.receive(Flying { from: theirs(0), to, bytes: check(number) });
    }
    assert_eq!(rig.events().len(), 20_000);
    assert_eq!(discards(&mut rig).of(Discard::PuntRateExceeded), 100);
    rig.pass(Duration::from_secs(1));
    rig.receive(Flying { from: theirs(0), to, bytes: check(0) });
    assert_eq!(rig.events().len(), 1);
}

#[test]
fn checks_that_nobody_takes_are_counted() {
    let mut rig = rig_for(1);
    let socket = rig.network.socket_at(browser_address(0)).unwrap();
    let now = rig.now;
    for number in 0..5_000 {
        let (from, bytes) = (theirs(0), &mut check(number)[..]);
        rig.core.handle_datagram(Datagram { socket, from, truncated: false, bytes }, now);
    }
    assert_eq!(discards(&mut rig).of(Discard::PuntQueueFull), 5_000 - 2_048);
    assert_eq!(rig.network.counters().received, 0);
}
