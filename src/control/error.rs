//! Refusals of the control protocol.

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
        let retry_after_ms = Some(retry_after.as_millis() as u64);
        Self { retry_after_ms, ..Self::new(ErrorCode::Overloaded, message) }
    }

    /// The same refusal with its place: what was wrong in `format` is wrong in `a.format`.
    #[must_use]
    pub fn within(self, place: impl std::fmt::Display) -> Self {
        let Self { code, message, retry_after_ms } = self;
        Self { retry_after_ms, ..Self::new(code, format!("{place}.{message}")) }
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:literal => $variant:ident;)+) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
            /// One that this client does not know.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl ErrorCode {
            /// Every code that media uses.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)+];

            /// The code on the wire.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $name,)+
                    ErrorCode::Unknown => "unknown",
                }
            }
        }
    };
}

error_codes! {
    /// The line is not a JSON object; the connection is closed after this reply.
    "bad_json" => BadJson;
    /// The line is longer than [`LINE_BYTES_MAX`](super::message::LINE_BYTES_MAX); the connection is
    /// closed after this reply.
    "line_too_long" => LineTooLong;
    /// `id`, `command` or `arguments` is missing, of the wrong type or there twice, or something is
    /// beside them.
    "bad_request" => BadRequest;
    /// No such command.
    "unknown_command" => UnknownCommand;
    /// The arguments are missing, unknown, of the wrong type, or out of range.
    "bad_arguments" => BadArguments;
    /// The command needs `take_control` first.
    "not_controller" => NotController;
    /// Another connection is the controller.
    "controlled_elsewhere" => ControlledElsewhere;
    /// No call has this name.
    "unknown_call" => UnknownCall;
    /// A call has this name already.
    "call_exists" => CallExists;
    /// No such thread.
    "unknown_thread" => UnknownThread;
    /// No audio was loaded under this name.
    "unknown_audio" => UnknownAudio;
    /// Every core has the calls it is allowed, or a queue is full.
    "no_capacity" => NoCapacity;
    /// One more call could load every core above its limit; try again after `retry_after_ms`.
    "overloaded" => Overloaded;
    /// The port range is used up, or the port that was asked for is taken.
    "no_ports" => NoPorts;
    /// The operating system refused (descriptors, memory, files).
    "system_refused" => SystemRefused;
    /// The call, or this build, cannot do this: no event format, no such combination of codecs.
    "unsupported" => Unsupported;
}
