//! Recovery: each call's record is parked in the media process as a blob, and a restarted signaling
//! process finds its calls again through `list_calls`.
//!
//! A call that was talking goes on: its dialogs, ICE credentials and record are all in the blob. One
//! that was still being set up is ended on both sides, because its transactions went with our
//! predecessor: early dialogs get a BYE (RFC 3261 §15), a trunk that waits for the answer to its
//! INVITE gets a 503. A browser's connection does not outlive us; what is to be said to a browser
//! waits until it is back.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::control::message::{BLOB_BYTES_MAX, ListedCall};
use crate::signal::call::{Call, Stage};
use crate::signal::exchange::Exchange;
use crate::signal::leg::{Leg, next_hop};
use crate::signal::records::{CallRecord, Party};
use crate::signal::release::Release;
use crate::sip::cause::Cause;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::Flow;
use crate::wire::sip::{HeaderName, Method, Status, parse_datagram};

/// Changes when an old blob could be misread.
const VERSION: u32 = 1;
/// The longest INVITE of a trunk that is kept: 1,300 bytes fit a datagram, some carriers write more.
const INVITE_BYTES_MAX: usize = 4 * 1024;

/// A blob as it is written.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    stage: Stage,
    record: &'a CallRecord,
    caller: &'a Leg,
    callee: &'a Leg,
    early: Vec<(SocketAddr, &'a Dialog)>,
    invite: Option<(SocketAddr, String)>,
}

/// A blob as it is read.
#[derive(Deserialize)]
struct Read {
    version: u32,
    stage: Stage,
    record: CallRecord,
    caller: Leg,
    callee: Leg,
    early: Vec<(SocketAddr, Dialog)>,
    invite: Option<(SocketAddr, String)>,
}

/// The blob of a call as it is now; empty, which means that the call cannot be picked up again, when
/// a peer's names and routes make it too long.
pub fn blob_of(call: &Call) -> String {
    // What our successor has to end of a call that nobody has answered: the trunks' early dialogs,
    // and the INVITE of a trunk that waits for its final response.
    let is_being_set_up = call.callee.dialog.is_none();
    let early = call.attempts.early_dialogs().filter(|_| is_being_set_up);
    let early = early.filter_map(|(flow, dialog)| Some((trunk_address(flow)?, dialog)));
    let invite = call.invite.as_ref().filter(|invite| invite.is_open());
    let invite =
        invite.and_then(|invite| Some((trunk_address(invite.flow)?, invite.request.to_bytes())));
    let invite = invite.filter(|(_, bytes)| bytes.len() <= INVITE_BYTES_MAX);
    let invite =
        invite.and_then(|(address, bytes)| Some((address, String::from_utf8(bytes).ok()?)));
    let written = Written {
        version: VERSION,
        stage: call.stage,
        record: &call.record,
        caller: &call.caller,
        callee: &call.callee,
        early: early.collect(),
        invite,
    };
    // Strings, numbers and maps with string keys: serialising cannot fail.
    let blob = serde_json::to_string(&written).unwrap_or_default();
    if blob.len() > BLOB_BYTES_MAX {
        warn!(call = &*call.name, bytes = blob.len(), "this call could not be recovered");
        return String::new();
    }
    blob
}

fn trunk_address(flow: Flow) -> Option<SocketAddr> {
    match flow {
        Flow::Udp(address) => Some(address),
        Flow::Web(_) => None,
    }
}

/// Picks a listed call up again. `None`: it is no use any more, and media is to drop it.
pub fn recover(listed: ListedCall, exchange: &mut Exchange) -> Option<Call> {
    let name = listed.call;
    let read = match serde_json::from_str::<Read>(&listed.blob) {
        Ok(read) if read.version == VERSION => read,
        Ok(read) => {
            warn!(call = &*name, version = read.version, "a call's blob is of another version");
            return None;
        }
        Err(error) => {
            warn!(call = &*name, %error, "a call's blob does not read");
            return None;
        }
    };
    let (stage, early, invite) = (read.stage, read.early, read.invite);
    let record = CallRecord { recovered: true, ..read.record };
    let mut call = Call::resumed(name, record, read.caller, read.callee);
    call.enter_keys(exchange);
    if stage == Stage::Talking {
        debug!(call = &*call.name, "picked up again");
        return Some(call);
    }

    for (address, mut dialog) in early {
        let mut bye = dialog.request(Method::Bye);
        bye.headers.push(HeaderName::Reason, Cause::TEMPORARY_FAILURE.reason());
        let flow = next_hop(&dialog, Flow::Udp(address));
        // Its outcome changes nothing: the transaction ends by itself.
        let _ = exchange.transactions.request(bye, flow, exchange.now, &mut exchange.random);
    }
    let text = "signaling was restarted while the call was being set up";
    let release = Release::new(Status::SERVICE_UNAVAILABLE, Cause::TEMPORARY_FAILURE, text);
    if call.callee.dialog.is_none() {
        // The caller was not answered: a final response is what it waits for, under the tag that it
        // knows. A browser has given up with its connection.
        let dialog = call.caller.dialog.take();
        if let (Some(dialog), Some((address, invite))) = (dialog, invite)
            && let Ok(message) = parse_datagram(invite.as_bytes())
        {
            exchange.interrupted.insert(dialog.id.call_id, (dialog.id.local_tag, release.clone()));
            exchange.transactions.receive(message, Flow::Udp(address), exchange.now);
        }
    }
    call.end(Party::Linecard, release, None, exchange);
    Some(call)
}
