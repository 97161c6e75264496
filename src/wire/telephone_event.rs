//! Telephone events, the payload that carries DTMF digits beside audio (RFC 4733 §2.3, §3.2).
//!
//! One event block ⇄ one value. Repetition, timestamps and the end of an event belong to whoever
//! keeps the stream.

use crate::base::discard::Discard;
use crate::base::narrow::Narrow;

/// Bytes of an event block.
pub const EVENT_BYTES: usize = 4;

/// The power level that ordinary senders write: −10 dBm0.
pub const VOLUME_DEFAULT: u8 = 10;

/// An event block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// Event code: 0–15 are the digits, others are tones and line states.
    pub event: u8,
    /// Whether this packet ends the event.
    pub end: bool,
    /// Power below 0 dBm0, in dB, 0..=63.
    pub volume: u8,
    /// Since the event's start, in units of the negotiated RTP clock.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads a payload's first block. The reserved bit is ignored as §2.3.3 asks, and so is what
    /// follows the block: some senders pad, and nobody packs two events into one packet.
    pub fn parse(payload: &[u8]) -> Result<Self, Discard> {
        let block = payload.first_chunk::<EVENT_BYTES>().ok_or(Discard::BadTelephoneEvent)?;
        Ok(Self {
            event: block[0],
            end: block[1] & 0x80 != 0,
            volume: block[1] & 0x3f,
            duration: u16::from_be_bytes([block[2], block[3]]),
        })
    }

    /// Writes the block. A volume above 63 is written as 63, the quietest there is.
    pub fn write(&self, out: &mut [u8; EVENT_BYTES]) {
        let end = if self.end { 0x80 } else { 0 };
        let [high, low] = self.duration.to_be_bytes();
        *out = [self.event, end | self.volume.min(0x3f), high, low];
    }

    /// The digit, when the event is one.
    pub fn digit(&self) -> Option<char> {
        digit_of(self.event)
    }
}

const DIGITS: [char; 16] =
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

/// The digit of a DTMF event code (RFC 4733 §3.2, table 3).
pub fn digit_of(event: u8) -> Option<char> {
    DIGITS.get(usize::from(event)).copied()
}

/// The event code of a digit; `A`–`D` in either case.
pub fn event_of(digit: char) -> Option<u8> {
    let digit = digit.to_ascii_uppercase();
    DIGITS.iter().position(|known| *known == digit).map(Narrow::narrow)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_4733_parses() {
        // RFC 4733 §5, third packet of digit 9: volume 7, duration 1200.
        let event = TelephoneEvent::parse(&[9, 0x07, 0x04, 0xb0]).unwrap();
        assert_eq!(event, TelephoneEvent { event: 9, end: false, volume: 7, duration: 1200 });
        assert_eq!(event.digit(), Some('9'));
    }

    #[test]
    fn reserved_bit_and_padding_are_ignored() {
        let event = TelephoneEvent::parse(&[11, 0xc0 | 10, 0x03, 0x20, 0, 0]).unwrap();
        assert_eq!(event, TelephoneEvent { event: 11, end: true, volume: 10, duration: 800 });
    }

    #[test]
    fn a_short_payload_is_discarded() {
        for length in 0..EVENT_BYTES {
            let payload = [0; EVENT_BYTES];
            let parsed = TelephoneEvent::parse(&payload[..length]);
            assert_eq!(parsed, Err(Discard::BadTelephoneEvent));
        }
    }

    #[test]
    fn every_digit_has_one_code() {
        for (event, digit) in "0123456789*#ABCD".chars().enumerate() {
            let event = event.narrow();
            assert_eq!(event_of(digit), Some(event));
            assert_eq!(digit_of(event), Some(digit));
        }
        assert_eq!(event_of('d'), Some(15));
        assert!(['E', ' ', '٣', '\0'].into_iter().all(|other| event_of(other).is_none()));
        assert!((16..=255).all(|event| digit_of(event).is_none()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(event: u8, end: bool, volume in 0u8..64, duration: u16) {
            let value = TelephoneEvent { event, end, volume, duration };
            let mut block = [0xff; EVENT_BYTES];
            value.write(&mut block);
            prop_assert_eq!(TelephoneEvent::parse(&block), Ok(value));
        }
    }
}
