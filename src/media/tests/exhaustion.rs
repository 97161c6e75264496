//! A thread whose send slots are all taken: what cannot leave is counted, and the streams go on.

use super::*;

#[test]
fn without_a_send_slot_packets_are_counted_and_the_streams_go_on_afterwards() {
    let mut exchange = Exchange::new(OPUS, PCMU);
    let mut speakers = [(Side::A, 111), (Side::B, 0)]
        .map(|(side, number)| (side, Speaker::new(&exchange.arena, number)));
    let mut round = |exchange: &mut Exchange| {
        let mut sent = Vec::new();
        for (side, speaker) in &mut speakers {
            // Audio that cannot leave is no fault of the packet that brought it.
            sent.extend(exchange.hear(*side, &speaker.packet(160)).unwrap());
        }
        sent.extend(exchange.pass(MS_20));
        sent
    };
    let before: Vec<Sent> = (0..20).flat_map(|_| round(&mut exchange)).collect();
    let slots = std::mem::replace(&mut exchange.outbox, Outbox::new(0));
    let during: Vec<Sent> = (0..20).flat_map(|_| round(&mut exchange)).collect();
    exchange.outbox = slots;
    let after: Vec<Sent> = (0..20).flat_map(|_| round(&mut exchange)).collect();

    assert_eq!((before.len(), during.len(), after.len()), (40, 0, 40));
    for side in Side::BOTH {
        let discards = exchange.statistics(side).discards;
        assert!(discards.of(Discard::SendSlotsExhausted) >= 20, "{discards:?}");
        // The far end sees the time that passed.
        let of_leg = |sent: &[Sent]| {
            let mut headers =
                sent.iter().filter(|sent| sent.socket == 2 * side.index()).map(|sent| sent.header);
            (headers.next().unwrap(), headers.next_back().unwrap())
        };
        let ((_, last), (first, _)) = (of_leg(&before), of_leg(&after));
        let clock = if side == Side::A { 960 } else { 160 };
        assert_eq!(first.timestamp.distance(last.timestamp), 21 * clock);
    }
}
