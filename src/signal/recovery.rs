//! Recovery: each call's record is parked in the media process as a blob, and a restarted signaling
//! process finds its calls again through `list_calls`.
//!
//! A call that was talking goes on: its dialogs, ICE credentials and record are all in the blob. One
//! that was still being set up is ended on both sides, because its transactions went with our
//! predecessor: early dialogs get a BYE (RFC 3261 §15), a trunk that waits for the answer to its
//! INVITE gets a 503. A browser's connection does not outlive us; what is to be said to a browser
//! waits until it is back.

use tracing::{debug, warn};

use crate::control::message::ListedCall;
use crate::signal::blob;
use crate::signal::call::Call;
use crate::signal::exchange::Exchange;
use crate::signal::leg::next_hop;
use crate::signal::records::{CallRecord, Party};
use crate::signal::release::Release;
use crate::signal::stage::Stage;
use crate::sip::cause::Cause;
use crate::sip::transaction::Flow;
use crate::wire::sip::{HeaderName, Method, Status, parse_datagram};

/// Picks a listed call up again. `None`: it is no use any more, and media is to drop it.
pub fn recover(listed: ListedCall, exchange: &mut Exchange) -> Option<Call> {
    let name = listed.call;
    let read = match blob::Read::parse(&listed.blob) {
        Ok(read) => read,
        Err(unreadable) => {
            warn!(call = &*name, %unreadable, "a call's blob does not read");
            return None;
        }
    };
    let (stage, early, invite) = (read.stage, read.early, read.invite);
    let is_left = stage == Stage::Talking
        && [&read.caller, &read.callee].into_iter().any(|leg| leg.dialog.is_none());
    let record = CallRecord { recovered: true, ..read.record };
    let mut call = Call::resumed(name, record, read.caller, read.callee);
    call.thread = Some(listed.created.thread);
    call.joined = read.joined.map(|mut joined| {
        joined.record.recovered = true;
        Box::new(joined)
    });
    call.enter_keys(exchange);
    if is_left {
        // Who was to come instead was being asked by the same process.
        let text = "signaling was restarted while the call was being transferred";
        let release = Release::new(Status::SERVICE_UNAVAILABLE, Cause::TEMPORARY_FAILURE, text);
        call.end(Party::Linecard, release, None, exchange);
        return Some(call);
    }
    if stage == Stage::Talking {
        debug!(call = &*call.name, "picked up again");
        call.go_on(exchange);
        if read.is_transferring {
            call.media_back(exchange);
        }
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
