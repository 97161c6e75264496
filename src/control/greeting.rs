//! What the media process says first.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::command::Command;
use super::event::Event;

/// The protocol's version; it changes when an old client could misread a new media process.
pub const PROTOCOL: u32 = 2;
/// The versions whose documented requests are understood.
pub const COMPATIBLE: [u32; 2] = [1, PROTOCOL];

/// What the media process says first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Greeting {
    /// Always `linecard`.
    pub product: String,
    /// The product's version.
    pub version: String,
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// [`COMPATIBLE`].
    #[serde(default)]
    pub compatible: Vec<u32>,
    /// Random, new with every start of the media process: calls of another generation are gone.
    pub generation: String,
    /// The media threads.
    pub threads: Vec<ThreadDescription>,
    /// Names of [`Capability`] that this build has; a client ignores the ones it does not know.
    pub capabilities: Vec<String>,
    /// The commands that are understood.
    #[serde(default)]
    pub commands: Vec<String>,
    /// The events that may come.
    #[serde(default)]
    pub events: Vec<String>,
}

impl Greeting {
    /// What every media process of this version of the protocol says; the rest is the process's own.
    pub fn of_this_version() -> Self {
        let names =
            |names: &mut dyn Iterator<Item = &'static str>| names.map(str::to_owned).collect();
        Self {
            product: "linecard".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            compatible: COMPATIBLE.to_vec(),
            commands: names(&mut Command::ALL.iter().map(|command| command.name)),
            events: names(&mut Event::ALL.iter().map(|event| event.name)),
            ..Self::default()
        }
    }
}

/// One media thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadDescription {
    /// Its number, from 0.
    pub thread: usize,
    /// The core it is pinned to.
    pub core: usize,
    /// The address of its shared port for ICE legs.
    pub browser: SocketAddr,
}

macro_rules! capabilities {
    ($($name:literal => $variant:ident, $meaning:literal;)+) => {
        /// What a media process may be able to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Capability { $(#[doc = $meaning] $variant,)+ }

        impl Capability {
            /// Every one, in the page's order.
            pub const ALL: &'static [Capability] = &[$(Capability::$variant,)+];

            /// The name in the greeting.
            pub const fn name(self) -> &'static str {
                match self { $(Capability::$variant => $name,)+ }
            }

            /// What it says, in the page's words.
            pub const fn meaning(self) -> &'static str {
                match self { $(Capability::$variant => $meaning,)+ }
            }
        }
    };
}

capabilities! {
    "opus" => Opus, "the codec";
    "pcmu" => Pcmu, "the codec";
    "pcma" => Pcma, "the codec";
    "ice" => Ice, "transport `ice`";
    "srtp" => Srtp, "security `srtp`";
    "telephone_event" => TelephoneEvent, "RFC 4733 digits, `send_digit`";
    "red" => Red, "`redundancy`, RFC 2198";
    "comfort_noise" => ComfortNoise, "RFC 3389, beside G.711";
    "receive_tones" => ReceiveTones, "`receive_tones`";
    "paced" => Paced, "`playout` `paced`";
    "force" => Force, "`take_control` with `force`, `controller_replaced`";
    "call_events" => CallEvents, "`call_created`, `call_deleted`, `call_parked`";
    "orphan" => Orphan, "`orphan_ms`";
    "placement" => Placement, "`thread` in `create_call`";
    "local" => Local, "`local` in a plain transport";
    "source" => Source, "`source` in a plain transport, `unknown_source`, `source_learnt`";
    "direction" => Direction, "`direction`";
    "dscp" => Dscp, "`dscp`";
    "media_timeout" => MediaTimeout, "`media_timeout_ms`, `media_timeout`";
    "ice_restart" => IceRestart, "`ice` in `update_leg`";
    "replace_leg" => ReplaceLeg, "`replace_leg`";
    "exchange_legs" => ExchangeLegs, "`exchange_legs`";
    "snapshot" => Snapshot, "`snapshot`, its subscription, `resume`";
    "play" => Play, "`play` of tones, ringback and silence, `stop_playing`, `play_ended`";
    "audio" => Audio, "`load_audio`, `unload_audio`, `play` of a file";
}
