//! What is measured: our media process, a peer, or nothing at all. Each is told of a call what its
//! signaling would have found out, and tells where the far ends have to send to.

pub mod bencode;
pub mod forwarder;
pub mod linecard;
pub mod loopback;
pub mod observer;
pub mod rtpengine;

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::ends::material::{BrowserKind, Red};
use crate::machine::process::Process;

/// A call that is to be set up.
pub struct CallRequest {
    /// From 0.
    pub number: u16,
    /// What the browser sends and wants.
    pub browser: BrowserKind,
    /// What the browser does with RED.
    pub red: Red,
    /// Where browser and trunk send from.
    pub addresses: [SocketAddrV4; 2],
    /// SRTP master key and salt of what the browser sends, and of what it receives.
    pub keys: [[u8; 30]; 2],
}

/// A call that was set up.
pub struct CallPlace {
    /// Where browser and trunk have to send to.
    pub to: [SocketAddrV4; 2],
    /// An ICE consent check that keeps the browser's leg alive, when the engine wants one.
    pub consent_check: Option<Vec<u8>>,
    /// SRTP master key and salt of what the browser receives, when the engine chose others than it
    /// was asked for (SDES).
    pub browser_receives: Option<[u8; 30]>,
    /// Whose packets each end hears.
    pub heard: Heard,
}

/// Whose packets an end hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The engine's, in the end's own format.
    Engine,
    /// The other end's, as they are.
    OtherEnd,
}

/// Why a call was not set up.
#[derive(Debug)]
pub enum NoCall {
    /// The engine has no room for it now.
    Refused {
        /// In the engine's words.
        reason: String,
        /// From the request to the refusal.
        after: Duration,
    },
    /// Anything else.
    Failed(String),
}

impl From<String> for NoCall {
    fn from(problem: String) -> Self {
        NoCall::Failed(problem)
    }
}

/// What an engine counted on one side of all its calls, of what it received.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counted {
    /// RTP packets accepted.
    pub packets_received: u64,
    /// Expected but never received; duplicates count against it.
    pub packets_lost: i64,
    /// Came out of order and were put back.
    pub packets_reordered: u64,
    /// Missing when a later packet brought a copy (RFC 2198).
    pub packets_recovered: u64,
    /// Rebuilt from in-band FEC.
    pub frames_recovered: u64,
    /// Concealed.
    pub frames_concealed: u64,
    /// Came after their place was filled.
    pub late: u64,
    /// Came twice; under SRTP, replayed.
    pub duplicates: u64,
    /// Calls whose far end reported by RTCP how what it is sent arrives.
    pub reports: u64,
    /// The longest round trip that those reports told.
    pub round_trip_ms_max: Option<f64>,
}

/// A running engine with one core.
pub trait Engine {
    /// Sets a call up.
    fn create_call(&mut self, call: &CallRequest) -> Result<CallPlace, NoCall>;

    /// Ends it.
    fn delete_call(&mut self, number: u16) -> Result<(), String>;

    /// Its process, to read accounts from; the loopback has none.
    fn process(&self) -> Option<&Process>;

    /// What it counted on the browsers' side and on the trunks', of the calls that were ended; `None`
    /// when it tells nothing.
    fn counted(&self) -> Option<[Counted; 2]> {
        None
    }

    /// Where an observer can ask it for statistics; `None` when nobody can.
    fn control(&self) -> Option<&Path> {
        None
    }

    /// What one of its calls takes of its core by its own measure, in percent; `None` when it does not
    /// tell.
    fn call_load_percent(&mut self) -> Option<f64> {
        None
    }

    /// Name, version and settings, for the report.
    fn settings(&self) -> serde_json::Map<String, serde_json::Value>;
}
