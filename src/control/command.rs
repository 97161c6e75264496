//! The commands: one table, from which their names, roles, arguments, results and the page's list come.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::call::{
    CallCreated, CallList, CallSnapshot, CreateCall, DeleteCall, ListCalls, Park, QueryCall,
    Snapshot,
};
use super::connection::{
    Done, Ping, QueryProcess, SendDatagram, SendDigit, Subject, Subscribe, TakeControl,
};
use super::leg::{ExchangeLegs, LegReplaced, LegsExchanged, ReplaceLeg, UpdateLeg};
use super::play::{AudioLoaded, LoadAudio, Play, StopPlaying, UnloadAudio};
use super::reading::{Misfit, located};
use super::statistics::{CallStatistics, ProcessStatistics};

/// Who may give a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Every connection.
    Observer,
    /// The one that took control.
    Controller,
}

/// The arguments of a command, which say what its result is.
pub trait Request: Serialize + DeserializeOwned + Into<Command> {
    /// What answers it.
    type Result: Serialize + DeserializeOwned;
    /// The command's name on the wire.
    const NAME: &'static str;
    /// Who may give it.
    const ROLE: Role;

    /// Its result among those of all commands.
    fn outcome(result: Self::Result) -> Outcome;
}

/// A command as the page shows it.
#[derive(Clone, Copy, Debug)]
pub struct CommandDescription {
    /// Its name on the wire.
    pub name: &'static str,
    /// Who may give it.
    pub role: Role,
    /// Its result, in the page's words.
    pub result: &'static str,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:literal => $arguments:ident -> $result:ident, $role:ident, $shown:literal;)+) => {
        /// Every request. It serialises as its arguments, with every member.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Command { $($(#[$doc])* $arguments(Box<$arguments>),)+ }

        /// The result of every request.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Outcome { $(#[doc = concat!("Of `", $name, "`.")] $arguments(Box<$result>),)+ }

        impl Command {
            /// Every command, in the page's order.
            pub const ALL: &'static [CommandDescription] =
                &[$(CommandDescription { name: $name, role: Role::$role, result: $shown },)+];

            /// The command's name on the wire.
            pub const fn name(&self) -> &'static str {
                match self { $(Command::$arguments(_) => $name,)+ }
            }

            /// Who may give it.
            pub fn role(&self) -> Role {
                match self {
                    Command::Subscribe(subscribe) if subscribe.of == Subject::Snapshot => {
                        Role::Controller
                    }
                    $(Command::$arguments(_) => Role::$role,)+
                }
            }

            /// The command of this name with these arguments; `None` when no command is called so.
            pub(super) fn read(name: &str, arguments: &Value) -> Option<Result<Self, Misfit>> {
                match name {
                    $($name => Some(located::<$arguments>(arguments).map(Command::from)),)+
                    _ => None,
                }
            }
        }

        $(
            impl From<$arguments> for Command {
                fn from(arguments: $arguments) -> Self {
                    Command::$arguments(Box::new(arguments))
                }
            }

            impl Request for $arguments {
                type Result = $result;
                const NAME: &'static str = $name;
                const ROLE: Role = Role::$role;

                fn outcome(result: $result) -> Outcome {
                    Outcome::$arguments(Box::new(result))
                }
            }
        )+
    };
}

commands! {
    /// Become the controller.
    "take_control" => TakeControl -> Done, Observer, "`{}`";
    /// Nothing: the connection lives.
    "ping" => Ping -> Done, Observer, "`{}`";
    /// Make a call with both its legs.
    "create_call" => CreateCall -> CallCreated, Controller,
        "`thread`, `a` and `b`: each `rtp`, `rtcp`";
    /// Change what is named in one leg; what is absent stays.
    "update_leg" => UpdateLeg -> Done, Controller, "`{}`";
    /// Put another leg in the place of one; the other leg is not touched.
    "replace_leg" => ReplaceLeg -> LegReplaced, Controller,
        "`local`: `rtp`, `rtcp` of the new leg; `statistics`: the old leg's final ones";
    /// Let two calls change legs with one another: each goes on with the leg that the other had.
    "exchange_legs" => ExchangeLegs -> LegsExchanged, Controller,
        "`call`, `with`: each call's statistics until then";
    /// Replace the call's blob.
    "park" => Park -> Done, Controller, "`{}`";
    /// End a call.
    "delete_call" => DeleteCall -> CallStatistics, Controller, "the call's final statistics";
    /// A page of calls with their blobs, ordered by name.
    "list_calls" => ListCalls -> CallList, Observer,
        "`calls`: each `call`, `blob`, `thread`, `a`, `b`; `more`";
    /// One call's statistics.
    "query_call" => QueryCall -> CallStatistics, Observer, "the call's statistics";
    /// Counters of the whole process.
    "query_process" => QueryProcess -> ProcessStatistics, Observer, "the process's statistics";
    /// What is needed to go on with a call elsewhere.
    "snapshot" => Snapshot -> CallSnapshot, Controller, "`call`, `thread`, `blob`, `a`, `b`";
    /// Statistics or snapshots as events at an interval, for this connection.
    "subscribe" => Subscribe -> Done, Observer, "`{}`";
    /// Send a datagram from a thread's browser port (answers to punted STUN and DTLS).
    "send_datagram" => SendDatagram -> Done, Controller, "`{}`";
    /// Send a digit as an RFC 4733 event out of one leg.
    "send_digit" => SendDigit -> Done, Controller, "`{}`";
    /// Play something out of one leg, in place of what the other leg says.
    "play" => Play -> Done, Controller, "`{}`";
    /// Let the other leg be heard again.
    "stop_playing" => StopPlaying -> Done, Controller, "`{}`";
    /// Read a WAV file to be played later.
    "load_audio" => LoadAudio -> AudioLoaded, Controller, "`duration_ms`";
    /// Forget loaded audio.
    "unload_audio" => UnloadAudio -> Done, Controller, "`{}`";
}

impl Command {
    /// Whether only the controller may give it.
    pub fn needs_control(&self) -> bool {
        self.role() == Role::Controller
    }

    /// Its arguments as JSON, with every member.
    pub(super) fn arguments(&self) -> Value {
        // Only strings, numbers and maps with string keys: serialising cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Outcome {
    /// As the `result` of a reply.
    pub fn to_value(&self) -> Value {
        // Only strings, numbers and maps with string keys: serialising cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }
}
