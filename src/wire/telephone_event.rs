//! Telephone events, the payload that carries DTMF digits beside audio (RFC 4733 §2.3, §3.2).
//!
//! One event block ⇄ one value. Repetition, timestamps and the end of an event belong to whoever
//! keeps the stream.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    pub fn digit(&self) -> Option<Digit> {
        Digit::from_event(self.event)
    }
}

/// A DTMF digit: `0`–`9`, `*`, `#`, `A`–`D` (RFC 4733 §3.2, table 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "char", into = "char")]
pub struct Digit(u8);

impl Digit {
    /// In the order of their event codes.
    const CHARACTERS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

    /// Every digit.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).take(Self::CHARACTERS.len()).map(Self)
    }

    /// `None` when it is no digit; `A`–`D` may come in either case.
    pub fn from_char(character: char) -> Option<Self> {
        let character = character.to_ascii_uppercase();
        let event = Self::CHARACTERS.iter().position(|known| *known == character)?;
        Some(Self(event.narrow()))
    }

    /// `None` for the codes of tones and line states, 16 and above.
    pub const fn from_event(event: u8) -> Option<Self> {
        if (event as usize) < Self::CHARACTERS.len() { Some(Self(event)) } else { None }
    }

    /// Its event code, 0..=15.
    pub const fn event(self) -> u8 {
        self.0
    }

    /// As it stands on a keypad.
    pub const fn to_char(self) -> char {
        Self::CHARACTERS[self.0 as usize]
    }
}

impl fmt::Display for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Write::write_char(f, self.to_char())
    }
}

/// Refuses other characters, saying which there are.
impl TryFrom<char> for Digit {
    type Error = &'static str;

    fn try_from(character: char) -> Result<Self, Self::Error> {
        Self::from_char(character).ok_or("must be one of 0-9 * # A-D")
    }
}

impl From<Digit> for char {
    fn from(digit: Digit) -> char {
        digit.to_char()
    }
}

/// How long a digit that we send is held: receivers want 40 ms (ITU-T Q.24), nobody wants more than
/// 5 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct DigitTime(u16);

impl DigitTime {
    /// 40 ms.
    pub const SHORTEST: Self = Self(40);
    /// 5 s.
    pub const LONGEST: Self = Self(5_000);
    /// What is held where nobody says how long: 100 ms, as telephones do.
    pub const DEFAULT: Self = Self(100);

    /// `None` outside of the bounds.
    pub fn from_ms(ms: u32) -> Option<Self> {
        let time = Self(u16::try_from(ms).ok()?);
        (Self::SHORTEST..=Self::LONGEST).contains(&time).then_some(time)
    }

    /// Brought within the bounds.
    pub fn clamped_ms(ms: u32) -> Self {
        let ms = u16::try_from(ms).unwrap_or(u16::MAX);
        Self(ms).clamp(Self::SHORTEST, Self::LONGEST)
    }

    /// In milliseconds, 40..=5,000.
    pub const fn ms(self) -> u32 {
        self.0 as u32
    }
}

impl Default for DigitTime {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Refuses what is outside of the bounds, saying which they are.
impl TryFrom<u32> for DigitTime {
    type Error = &'static str;

    fn try_from(ms: u32) -> Result<Self, Self::Error> {
        Self::from_ms(ms).ok_or("must be 40 to 5000")
    }
}

impl From<DigitTime> for u32 {
    fn from(time: DigitTime) -> u32 {
        time.ms()
    }
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
        assert_eq!(event.digit().map(Digit::to_char), Some('9'));
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
        for (event, character) in "0123456789*#ABCD".chars().enumerate() {
            let digit = Digit::from_char(character).unwrap();
            assert_eq!((usize::from(digit.event()), digit.to_char()), (event, character));
            assert_eq!(Digit::from_event(event.narrow()), Some(digit));
            assert_eq!(digit.to_string(), character.to_string());
        }
        assert_eq!(Digit::all().map(Digit::to_char).collect::<String>(), "0123456789*#ABCD");
        assert_eq!(Digit::from_char('d').map(Digit::event), Some(15));
        assert!(['E', ' ', '٣', '\0'].into_iter().all(|other| Digit::from_char(other).is_none()));
        assert!((16..=255).all(|event| Digit::from_event(event).is_none()));
    }

    #[test]
    fn a_digit_is_held_for_40_ms_to_5_s() {
        for (ms, within) in [(0, 40), (39, 40), (40, 40), (5_000, 5_000), (5_001, 5_000)] {
            assert_eq!(DigitTime::clamped_ms(ms).ms(), within);
            assert_eq!(DigitTime::from_ms(ms).is_some(), ms == within, "{ms}");
        }
        assert_eq!(DigitTime::clamped_ms(u32::MAX), DigitTime::LONGEST);
        assert_eq!(DigitTime::from_ms(65_536 + 40), None);
        assert_eq!(DigitTime::default().ms(), 100);
    }

    #[test]
    fn digits_and_their_times_are_read_from_json_by_their_rules() {
        assert_eq!(serde_json::from_str::<Digit>("\"#\"").unwrap().event(), 11);
        assert_eq!(serde_json::to_string(&Digit(15)).unwrap(), "\"D\"");
        let refused = serde_json::from_str::<Digit>("\"E\"").unwrap_err().to_string();
        assert!(refused.contains("must be one of 0-9 * # A-D"), "{refused}");
        assert_eq!(serde_json::from_str::<DigitTime>("40").unwrap(), DigitTime::SHORTEST);
        let refused = serde_json::from_str::<DigitTime>("39").unwrap_err().to_string();
        assert!(refused.contains("must be 40 to 5000"), "{refused}");
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
