//! What the media process says without being asked: one table.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::call::CallSnapshot;
use super::connection::Datagram;
use super::play::PlayEnd;
use super::statistics::{CallStatistics, ProcessStatistics};
use super::terms::{CallName, LocalAddresses, Side};

/// An event as the page shows it.
#[derive(Clone, Copy, Debug)]
pub struct EventDescription {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its fields; of an event that has the members of a result, that command's name in `as_result`.
    pub fields: &'static [&'static str],
    /// The command whose result the event looks like.
    pub as_result: Option<&'static str>,
    /// What it says, in the page's words.
    pub meaning: &'static str,
}

macro_rules! events {
    ($(
        $name:literal => $variant:ident
            $({ $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })?
            $((Box<$body:ty>) as $as_result:literal)?,
        $meaning:literal;
    )+) => {
        /// What the media process says without being asked.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "event")]
        pub enum Event {
            $(
                #[doc = $meaning]
                #[serde(rename = $name)]
                $variant $({ $($(#[$field_doc])* $field: $type,)* })? $((Box<$body>))?,
            )+
        }

        impl Event {
            /// Every event, in the page's order.
            pub const ALL: &'static [EventDescription] = &[$(
                EventDescription {
                    name: $name,
                    fields: &[$($(stringify!($field),)*)?],
                    as_result: events!(@as_result $($as_result)?),
                    meaning: $meaning,
                },
            )+];

            /// Its name on the wire.
            pub const fn name(&self) -> &'static str {
                match self { $(Event::$variant { .. } => $name,)+ }
            }
        }
    };
    (@as_result) => { None };
    (@as_result $as_result:literal) => { Some($as_result) };
}

events! {
    "datagram" => Datagram {
        /// The thread whose browser port received it.
        thread: usize,
        /// Its source.
        from: SocketAddr,
        /// What came.
        payload: Datagram,
    },
    "STUN or DTLS that media does not answer; to the controller only";

    "media_started" => MediaStarted {
        /// The call.
        call: CallName,
        /// The leg.
        leg: Side,
    },
    "the leg's first RTP packet was accepted";

    "media_timeout" => MediaTimeout {
        /// The call.
        call: CallName,
        /// The leg.
        leg: Side,
        /// For how long.
        silent_ms: u64,
    },
    "the leg has accepted no RTP packet for its `media_timeout_ms`. Told once, and again after the next packet";

    "telephone_event" => TelephoneEvent {
        /// The call.
        call: CallName,
        /// The leg it came from.
        leg: Side,
        /// The digit.
        digit: char,
        /// How long it was held.
        duration_ms: u32,
    },
    "a digit that the leg received has ended";

    "consent_expired" => ConsentExpired {
        /// The call.
        call: CallName,
        /// The leg.
        leg: Side,
    },
    "an ICE leg had no authentic check for 30 s: its browser is gone. Told once; the call stays until you delete it";

    "unknown_source" => UnknownSource {
        /// The call.
        call: CallName,
        /// The leg.
        leg: Side,
        /// Where it came from.
        from: SocketAddr,
        /// Where the leg's packets should come from, once that is known.
        expected: Option<SocketAddr>,
    },
    "a stranger sent to the port of a plain leg, and was not heard; at most once in ten seconds for RTP and for RTCP";

    "source_learnt" => SourceLearnt {
        /// The call.
        call: CallName,
        /// The leg.
        leg: Side,
        /// The far end's address from now on.
        remote: SocketAddr,
    },
    "a plain leg's far end sends from another address of its `source`, and is sent to there from now on";

    "play_ended" => PlayEnded {
        /// The call.
        call: CallName,
        /// The leg.
        leg: Side,
        /// Why.
        why: PlayEnd,
    },
    "what the leg was played is over: `finished`, `stopped`, `replaced` by another, `leg_replaced`";

    "call_created" => CallCreated {
        /// The call.
        call: CallName,
        /// The thread that owns it.
        thread: usize,
        /// Where the first leg is reached.
        a: LocalAddresses,
        /// Where the second leg is reached.
        b: LocalAddresses,
    },
    "to every connection but the one that asked";

    "call_parked" => CallParked {
        /// The call.
        call: CallName,
    },
    "its blob was replaced; to every connection but the one that asked";

    "call_deleted" => CallDeleted {
        /// The call.
        call: CallName,
        /// Why.
        why: CallEnd,
        /// Its final statistics, unless its thread is gone.
        statistics: Option<Box<CallStatistics>>,
    },
    "`why`: `deleted` (to every connection but the one that asked), `orphaned` (its `orphan_ms` is over), `stopped` (this process was told to end, SIGTERM or SIGINT)";

    "controller_replaced" => ControllerReplaced {},
    "another connection took control by force. The one that had it hears this last and is closed";

    "call_statistics" => CallStatistics(Box<CallStatistics>) as "query_call",
    "by subscription";

    "process_statistics" => ProcessStatistics(Box<ProcessStatistics>) as "query_process",
    "by subscription";

    "call_snapshot" => CallSnapshot(Box<CallSnapshot>) as "snapshot",
    "by subscription, to the controller only";
}

/// Why a call is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    /// `delete_call`.
    Deleted,
    /// Its controller's connection was gone for `orphan_ms`.
    Orphaned,
    /// The process was told to end.
    Stopped,
    /// A reason that this client does not know.
    #[serde(other)]
    Unknown,
}
