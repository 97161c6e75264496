//! Digits in INFO: `application/dtmf-relay`, JsSIP's and SIP.js's default (`Signal=5`,
//! `Duration=160`, each on a line of its own), and `application/dtmf`, a digit alone. In: a body.
//! Out: what to press. Nothing standardises them; what is read here is what clients send.

use crate::wire::telephone_event::{Digit, DigitTime};

/// What INFO may carry.
pub const CONTENT_TYPES: &str = "application/dtmf-relay, application/dtmf";
/// What an INFO asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// This digit, for so long.
    Digit(Digit, DigitTime),
    /// A hook flash or another signal that RTP events of a call do not carry.
    Unsupported,
}

/// Reads an INFO's body. `None`: another content type, or nothing that could be pressed.
pub fn read(media_type: &str, body: &[u8]) -> Option<Pressed> {
    let text = std::str::from_utf8(body).ok()?;
    if media_type.eq_ignore_ascii_case("application/dtmf-relay") {
        let value = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let duration_ms = value("duration").and_then(|value| value.parse().ok());
        let time = duration_ms.map_or(DigitTime::DEFAULT, DigitTime::clamped_ms);
        return pressed(value("signal")?, time);
    }
    if media_type.eq_ignore_ascii_case("application/dtmf") {
        return pressed(text.trim(), DigitTime::DEFAULT);
    }
    None
}

fn pressed(signal: &str, time: DigitTime) -> Option<Pressed> {
    let mut characters = signal.chars();
    let (character, None) = (characters.next()?, characters.next()) else { return None };
    match Digit::from_char(character) {
        Some(digit) => Some(Pressed::Digit(digit, time)),
        None => matches!(character, 'R' | 'r' | '!' | ',').then_some(Pressed::Unsupported),
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
        let relay = |body: &str| read("application/dtmf-relay", body.as_bytes());
        assert_eq!(relay("Signal=5\r\nDuration=100"), digit('5', 100));
        assert_eq!(relay("Signal= #\r\nDuration=2000\r\n"), digit('#', 2_000));
        assert_eq!(relay("signal=d"), digit('D', 100));
        assert_eq!(relay("Signal=1\nDuration=99999"), digit('1', 5_000));
        assert_eq!(relay("Signal=R\r\nDuration=100"), Some(Pressed::Unsupported));
        assert_eq!(read("application/dtmf", b"7"), digit('7', 100));
    }

    #[test]
    fn anything_else_presses_nothing() {
        for body in ["", "Signal=", "Signal=12", "Signal=E", "Duration=100", "\u{e9}"] {
            assert_eq!(read("application/dtmf-relay", body.as_bytes()), None, "{body}");
        }
        assert_eq!(read("application/dtmf-relay", b"\xff"), None);
        assert_eq!(read("text/plain", b"5"), None);
    }
}
