//! Digits in INFO: `application/dtmf-relay`, JsSIP's and SIP.js's default (`Signal=5`,
//! `Duration=160`, each on a line of its own), and `application/dtmf`, a digit alone. In: a body.
//! Out: what to press. Nothing standardises them; what is read here is what clients send.

use crate::wire::sip::scalar;
use crate::wire::telephone_event::{Digit, DigitTime};

/// What INFO may carry.
pub const CONTENT_TYPES: &str = "application/dtmf-relay, application/dtmf";
/// What an INFO asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// This digit, for so long.
    Digit(Digit, DigitTime),
    /// Nothing: a sign of life, or a pause between digits.
    Nothing,
    /// A hook flash, which nobody behind us would hear.
    Unsupported,
}

/// Reads an INFO's body. `None`: another content type, or nothing that could be pressed. Without a body
/// an INFO is a sign of life (RFC 6086 §3).
pub fn read(media_type: Option<&str>, body: &[u8]) -> Option<Pressed> {
    if body.is_empty() {
        return Some(Pressed::Nothing);
    }
    let media_type = media_type?;
    let text = std::str::from_utf8(body).ok()?;
    if media_type.eq_ignore_ascii_case("application/dtmf-relay") {
        let value = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let time =
            value("duration").and_then(scalar).map_or(DigitTime::DEFAULT, DigitTime::clamped_ms);
        return pressed(value("signal")?, time);
    }
    if media_type.eq_ignore_ascii_case("application/dtmf") {
        return pressed(text.trim(), DigitTime::DEFAULT);
    }
    None
}

fn pressed(signal: &str, time: DigitTime) -> Option<Pressed> {
    // Some say the event's number (RFC 4733 §3.2).
    let signal = match signal {
        "10" => "*",
        "11" => "#",
        "12" => "A",
        "13" => "B",
        "14" => "C",
        "15" => "D",
        "16" => "!",
        signal => signal,
    };
    let mut characters = signal.chars();
    let (character, None) = (characters.next()?, characters.next()) else { return None };
    match Digit::from_char(character) {
        Some(digit) => Some(Pressed::Digit(digit, time)),
        None if character == ',' => Some(Pressed::Nothing),
        None => matches!(character, 'R' | 'r' | '!').then_some(Pressed::Unsupported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_libraries_send_is_read() {
        let digit = |character, ms| {
            let (digit, time) = (Digit::from_char(character), DigitTime::from_ms(ms));
            Some(Pressed::Digit(digit.unwrap(), time.unwrap()))
        };
        let relay = |body: &str| read(Some("application/dtmf-relay"), body.as_bytes());
        assert_eq!(relay("Signal=5\r\nDuration=100"), digit('5', 100));
        assert_eq!(relay("Signal= #\r\nDuration=2000\r\n"), digit('#', 2_000));
        assert_eq!(relay("signal=d"), digit('D', 100));
        assert_eq!(relay("Signal=1\nDuration=99999"), digit('1', 5_000));
        assert_eq!(relay("Signal=10\r\nDuration=160"), digit('*', 160));
        assert_eq!(relay("Signal=11\r\nDuration=160\r\n"), digit('#', 160));
        assert_eq!(relay(""), Some(Pressed::Nothing));
        assert_eq!(read(None, b""), Some(Pressed::Nothing));
        assert_eq!(relay("Signal=1\nDuration=4294967296"), digit('1', 5_000));
        for flash in ["R", "!", "16"] {
            assert_eq!(relay(&format!("Signal={flash}")), Some(Pressed::Unsupported));
        }
        assert_eq!(relay("Signal=,"), Some(Pressed::Nothing));
        assert_eq!(read(Some("application/dtmf"), b"7"), digit('7', 100));
    }

    #[test]
    fn anything_else_presses_nothing() {
        for body in ["Signal=", "Signal=17", "Signal=E", "Duration=100", "\u{e9}"] {
            assert_eq!(read(Some("application/dtmf-relay"), body.as_bytes()), None, "{body}");
        }
        assert_eq!(read(Some("application/dtmf-relay"), b"\xff"), None);
        assert_eq!(read(Some("text/plain"), b"5"), None);
    }
}
