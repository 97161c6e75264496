//! A call's blob: its record as it is parked in the media process, for a signaling process that has
//! to pick the call up again. One shape, written of a call's own parts and read into parts of a new
//! one.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::base::opaque::opaque;
use crate::control::message::BLOB_BYTES_MAX;
use crate::signal::attempts::Attempts;
use crate::signal::invite::Invite;
use crate::signal::leg::Leg;
use crate::signal::records::CallRecord;
use crate::signal::stage::Stage;
use crate::signal::transferring::Joined;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::Flow;

/// Changes when an old blob could be misread.
const VERSION: u32 = 1;
/// The longest INVITE of a trunk that is kept: 1,300 bytes fit a datagram, some carriers write more.
const INVITE_BYTES_MAX: usize = 4 * 1024;

/// What is written down of a call; `R`, `L` and `D` are its record, legs and dialogs, borrowed to
/// write and owned when read.
#[derive(Serialize, Deserialize)]
pub struct Blob<R, L, D> {
    version: u32,
    /// How far the call was.
    pub stage: Stage,
    /// Its record.
    pub record: R,
    /// Leg A.
    pub caller: L,
    /// Leg B.
    pub callee: L,
    /// The trunks' early dialogs in a call that nobody has answered: a successor ends them.
    pub early: Vec<(SocketAddr, D)>,
    /// The record that came with a leg in a transfer.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub joined: Option<Joined<R>>,
    /// Whether one of the two waits for somebody whom it is transferred to.
    #[serde(default)]
    pub is_transferring: bool,
    /// The INVITE of a trunk that waits for its final response, with where it came from.
    pub invite: Option<(SocketAddr, String)>,
}

/// The blob of a call that lives.
pub type Written<'a> = Blob<&'a CallRecord, &'a Leg, &'a Dialog>;

opaque!(Written<'_>);

/// The blob of a call that our predecessor had.
pub type Read = Blob<CallRecord, Leg, Dialog>;

opaque!(Read);

impl<'a> Written<'a> {
    /// Of the parts of a call as it is now.
    pub fn of(
        stage: Stage,
        (record, joined): (&'a CallRecord, Option<&'a Joined>),
        [caller, callee]: [&'a Leg; 2],
        attempts: &'a Attempts,
        invite: Option<&Invite>,
    ) -> Self {
        let is_being_set_up = callee.dialog.is_none();
        let early = attempts.early_dialogs().filter(|_| is_being_set_up);
        let early = early.filter_map(|(flow, dialog)| Some((trunk_address(flow)?, dialog)));
        let invite = invite.filter(|invite| invite.is_open()).and_then(waiting_invite);
        let joined = joined.map(|Joined { record, leg }| Joined { record, leg: *leg });
        let (version, early, is_transferring) = (VERSION, early.collect(), false);
        Self { version, stage, record, caller, callee, early, joined, is_transferring, invite }
    }

    /// As text; empty, which means that the call cannot be picked up again, when a peer's names and
    /// routes make it too long.
    pub fn to_text(&self) -> String {
        // Strings, numbers and maps with string keys: serialising cannot fail.
        let text = serde_json::to_string(self).unwrap_or_default();
        if text.len() > BLOB_BYTES_MAX {
            warn!(call = self.record.call, bytes = text.len(), "this call could not be recovered");
            return String::new();
        }
        text
    }
}

fn waiting_invite(invite: &Invite) -> Option<(SocketAddr, String)> {
    let address = trunk_address(invite.flow)?;
    let bytes = invite.request.to_bytes();
    let text = String::from_utf8(bytes).ok()?;
    (text.len() <= INVITE_BYTES_MAX).then_some((address, text))
}

fn trunk_address(flow: Flow) -> Option<SocketAddr> {
    match flow {
        Flow::Udp(address) => Some(address),
        Flow::Web(_) => None,
    }
}

impl Read {
    /// From text.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let read: Self =
            serde_json::from_str(text).map_err(|error| Unreadable::Text(error.to_string()))?;
        match read.version {
            VERSION => Ok(read),
            other => Err(Unreadable::Version(other)),
        }
    }
}

/// Why a blob is of no use.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not the text of a blob.
    Text(String),
    /// Of another version.
    Version(u32),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Text(error) => f.write_str(error),
            Unreadable::Version(version) => write!(f, "it is of version {version}, not {VERSION}"),
        }
    }
}

impl std::error::Error for Unreadable {}
