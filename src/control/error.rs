//! Refusals of the control protocol.

use crate::base::narrow::Narrow;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest message of a refusal, in characters: it may repeat what the client wrote, which may be
/// a line long, and a reply must fit a line too.
const MESSAGE_CHARACTERS_MAX: usize = 500;

/// A refusal: `{"code":…,"message":…}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlError {
    /// Stable, for programs.
    pub code: ErrorCode,
    /// For people; names the leg and the field, and says what to do instead.
    pub message: String,
    /// With `overloaded`: when a new attempt is worth making, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ControlError {
    /// A refusal with its explanation.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARACTERS_MAX) {
            message.truncate(end);
            message.push('…');
        }
        Self { code, message, retry_after_ms: None }
    }

    /// The refusal of a call that would load the cores too much.
    pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> Self {
        let retry_after_ms = Some(retry_after.as_millis().narrow());
        Self { retry_after_ms, ..Self::new(ErrorCode::Overloaded, message) }
    }

    /// The refusal of an argument that cannot be taken, by its place.
    pub fn bad_argument(place: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::new(ErrorCode::BadArguments, format!("{place}: {why}"))
    }

    /// The same refusal with its place: what was wrong in `format` is wrong in `a.format`, and what
    /// names no place is wrong in `a`.
    #[must_use]
    pub fn within(self, place: impl fmt::Display) -> Self {
        let Self { code, message, retry_after_ms } = self;
        let is_place = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let join = match message.split_once(": ") {
            Some((begins, _)) if is_place(begins) => ".",
            _ => ": ",
        };
        Self { retry_after_ms, ..Self::new(code, format!("{place}{join}{message}")) }
    }
}

macro_rules! error_codes {
    ($($name:literal => $variant:ident, $meaning:literal;)+) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $(#[doc = $meaning] #[serde(rename = $name)] $variant,)+
            /// One that this client does not know.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl ErrorCode {
            /// Every code that media uses, in the page's order.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)+];

            /// The code on the wire.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $name,)+
                    ErrorCode::Unknown => "unknown",
                }
            }

            /// What it says, in the page's words.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $meaning,)+
                    ErrorCode::Unknown => "not known to this client",
                }
            }
        }
    };
}

error_codes! {
    "bad_json" => BadJson, "the line is not a JSON object; the connection is closed";
    "line_too_long" => LineTooLong, "the line is too long; the connection is closed";
    "bad_request" => BadRequest,
        "`id`, `command` or `arguments` is missing, of the wrong type or given twice, or something else is beside them";
    "unknown_command" => UnknownCommand, "no such command; the message names it";
    "bad_arguments" => BadArguments,
        "an argument is missing, unknown, given twice, of the wrong type or out of range; the message begins with its place, as in `a.security.send: …`";
    "not_controller" => NotController, "`take_control` first";
    "controlled_elsewhere" => ControlledElsewhere, "another connection is the controller";
    "unknown_call" => UnknownCall, "no call has this name";
    "call_exists" => CallExists, "a call has this name already";
    "unknown_thread" => UnknownThread, "no such thread";
    "unknown_audio" => UnknownAudio, "no audio was loaded under this name";
    "no_capacity" => NoCapacity,
        "every core, or the `thread` asked for, has its calls (`[media].calls_per_core`), or a queue, the codec states or the room for audio are full";
    "overloaded" => Overloaded,
        "one more call could load every core above `[media].load_max_percent`; `retry_after_ms`, beside `message`, says when to try again";
    "no_ports" => NoPorts,
        "the trunk port range is used up, or `local` is taken; a port pair rests 30 s after its call";
    "system_refused" => SystemRefused,
        "the operating system refused: descriptors, memory, an address that cannot be reached, a file that cannot be read";
    "unsupported" => Unsupported,
        "the call, or this build, cannot do this: no event format, no such combination of codecs, no such WAV";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_repeats_a_long_line_still_fits_one() {
        let error = ControlError::new(ErrorCode::BadArguments, "\u{1}".repeat(60_000));
        assert!(serde_json::to_string(&error).unwrap().len() < 4_000);
        assert!(error.message.ends_with('…'));
        let short = ControlError::new(ErrorCode::BadArguments, "é".repeat(MESSAGE_CHARACTERS_MAX));
        assert!(!short.message.ends_with('…'));
    }

    #[test]
    fn a_refusal_is_placed_in_what_holds_it() {
        let within =
            |message: &str| ControlError::new(ErrorCode::BadArguments, message).within("a").message;
        assert_eq!(within("format.send: no"), "a.format.send: no");
        assert_eq!(within("no port is free"), "a: no port is free");
        assert_eq!(within("no port could be bound: denied"), "a: no port could be bound: denied");
    }

    #[test]
    fn a_code_of_another_version_is_read_as_unknown() {
        let read: ErrorCode = serde_json::from_str("\"of_another_version\"").unwrap();
        assert_eq!(read, ErrorCode::Unknown);
        for code in ErrorCode::ALL {
            let written = serde_json::to_string(code).unwrap();
            assert_eq!(written, format!("\"{}\"", code.name()));
            assert_eq!(serde_json::from_str::<ErrorCode>(&written).unwrap(), *code);
        }
    }
}
