//! What the test trunk says: G.711 µ-law at 8 kHz, made by `tools/make-speech`.

/// Nine seconds of speech.
pub(super) const GREETING: &[u8] = include_bytes!("speech/greeting.ulaw");
/// “Please press some keys.”
pub(super) const PROMPT: &[u8] = include_bytes!("speech/prompt.ulaw");
/// “You pressed”.
pub(super) const HEARD: &[u8] = include_bytes!("speech/heard.ulaw");
/// Half a second of nothing.
pub(super) const PAUSE: &[u8] = &[0xFF; 4000];

const DIGITS: [&[u8]; 12] = [
    include_bytes!("speech/digit_0.ulaw"),
    include_bytes!("speech/digit_1.ulaw"),
    include_bytes!("speech/digit_2.ulaw"),
    include_bytes!("speech/digit_3.ulaw"),
    include_bytes!("speech/digit_4.ulaw"),
    include_bytes!("speech/digit_5.ulaw"),
    include_bytes!("speech/digit_6.ulaw"),
    include_bytes!("speech/digit_7.ulaw"),
    include_bytes!("speech/digit_8.ulaw"),
    include_bytes!("speech/digit_9.ulaw"),
    include_bytes!("speech/digit_10.ulaw"),
    include_bytes!("speech/digit_11.ulaw"),
];

/// The name of the telephone event `code` (RFC 4733 §3.2), for the twelve that a keypad has.
pub(super) fn of_digit(code: u8) -> Option<&'static [u8]> {
    DIGITS.get(usize::from(code)).copied()
}
