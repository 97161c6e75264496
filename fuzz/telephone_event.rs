//! Any telephone-event payload: it parses or not, and comes out again as it went in.

use linecard::wire::telephone_event::{Digit, EVENT_BYTES, TelephoneEvent};

/// One input.
pub fn run(payload: &[u8]) {
    let Ok(event) = TelephoneEvent::parse(payload) else {
        assert!(payload.len() < EVENT_BYTES);
        return;
    };
    let mut written = [0; EVENT_BYTES];
    event.write(&mut written);
    assert_eq!(TelephoneEvent::parse(&written), Ok(event));
    if let Some(digit) = event.digit() {
        assert_eq!(digit.event(), event.event);
        assert_eq!(Digit::from_char(digit.to_char()), Some(digit));
    }
}
