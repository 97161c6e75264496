//! Any SIP message, as a datagram and as a WebSocket message: it parses or is refused, and what
//! was parsed can be written and parsed again.

use linecard::wire::sip::{Message, parse_datagram, parse_websocket};

/// One input.
pub fn run(bytes: &[u8]) {
    for parsed in [parse_datagram(bytes), parse_websocket(bytes)] {
        let message = match parsed {
            Ok(message) => message,
            Err(unparsable) => {
                if let Some(response) = unparsable.response() {
                    response.to_bytes();
                }
                continue;
            }
        };
        let written = message.to_bytes();
        let again: Message = parse_datagram(&written).expect("what is written parses");
        assert_eq!(again.to_bytes(), written);
    }
}
