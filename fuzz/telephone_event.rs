//! Any telephone-event payload: it parses or not, and comes out again as it went in.

use linecard::wire::telephone_event::{EVENT_BYTES, TelephoneEvent, digit_of, event_of};

/// One input.
pub fn run(payload: &[u8]) {
    let Ok(event) = TelephoneEvent::parse(payload) else {
        assert!(payload.len() < EVENT_BYTES);
        return;
    };
    let mut written = [0; EVENT_BYTES];
    event.write(&mut written);
    assert_eq!(TelephoneEvent::parse(&written), Ok(event));
    if let Some(digit) = digit_of(event.event) {
        assert_eq!(event_of(digit), Some(event.event));
    }
}
