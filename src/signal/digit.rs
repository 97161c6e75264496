//! Digits in INFO: `application/dtmf-relay`, JsSIP's and SIP.js's default (`Signal=5`,
//! `Duration=160`, each on a line of its own), and `application/dtmf`, a digit alone. In: a body.
//! Out: what to press. Nothing standardises them; what is read here is what clients send.

/// What INFO may carry.
pub const CONTENT_TYPES: &str = "application/dtmf-relay, application/dtmf";
/// Held when the sender names no time.
pub const DURATION_MS_DEFAULT: u32 = 100;
/// Held at least (ITU-T Q.24) and at most, whatever the sender asks for.
const DURATION_MS: std::ops::RangeInclusive<u32> = 40..=5_000;

/// What an INFO asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// This digit, for so many milliseconds.
    Digit(char, u32),
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
        return pressed(value("signal")?, duration_ms.unwrap_or(DURATION_MS_DEFAULT));
    }
    if media_type.eq_ignore_ascii_case("application/dtmf") {
        return pressed(text.trim(), DURATION_MS_DEFAULT);
    }
    None
}

fn pressed(signal: &str, duration_ms: u32) -> Option<Pressed> {
    let mut characters = signal.chars();
    match (characters.next()?.to_ascii_uppercase(), characters.next()) {
        (digit @ ('0'..='9' | '*' | '#' | 'A'..='D'), None) => {
            let (least, most) = DURATION_MS.into_inner();
            Some(Pressed::Digit(digit, duration_ms.clamp(least, most)))
        }
        ('R' | '!' | ',', None) => Some(Pressed::Unsupported),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_libraries_send_is_read() {
        let relay = |body: &str| read("application/dtmf-relay", body.as_bytes());
        assert_eq!(relay("Signal=5\r\nDuration=100"), Some(Pressed::Digit('5', 100)));
        assert_eq!(relay("Signal= #\r\nDuration=2000\r\n"), Some(Pressed::Digit('#', 2_000)));
        assert_eq!(relay("signal=d"), Some(Pressed::Digit('D', DURATION_MS_DEFAULT)));
        assert_eq!(relay("Signal=1\nDuration=99999"), Some(Pressed::Digit('1', 5_000)));
        assert_eq!(relay("Signal=R\r\nDuration=100"), Some(Pressed::Unsupported));
        assert_eq!(read("application/dtmf", b"7"), Some(Pressed::Digit('7', DURATION_MS_DEFAULT)));
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
