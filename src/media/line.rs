//! THE PACKET LINE: from a datagram that one leg received to the datagrams that the other sends.
//!
//! ```text
//!  [rtp]   admit ─► authenticate ─► parse ─► recognise ─► unwrap ─► order ─┐
//!   ┌──────────────────────────────────────────────────────────────────────┘
//!   └─► turn ─► audio ─► place ─► decode ─► assemble ─► gate ─► encode ─► speak
//!            └► event ─► re-clock ─► send                       see [`super::stream`]
//!  [rtcp]  admit ─► authenticate ─► parse ─► statistics ─► loss may change the encoder
//!  [wake]  gaps held long enough, ticks, digits, reports, consent, long silences
//! ```
//!
//! By default nothing waits: a packet leaves as soon as it can. Only a gap holds up what is behind
//! it, for 20 to 60 ms; then it is filled and everything leaves at once, so that delay never stays.
//! What leaves has one sequence and one time line, see [`super::stream::timeline`].
//!
//! In: a leg's datagram, `now`. Out: datagrams in the outbox and [`Notice`]s, both in [`Common`].
//! Which leg a datagram belongs to was decided by [`super::core`]; nothing here reads a clock or a
//! socket.

use std::net::SocketAddr;
use std::time::Instant;

use super::call::Call;
use super::common::{Common, Notice};
use super::format::Meaning;
use super::leg::Leg;
use super::leg::hearing::Continuity;
use crate::audio::repair::Packet;
use crate::base::discard::Discard;
use crate::base::narrow::Narrow;
use crate::control::message::Side;
use crate::media::kind::Kind;
use crate::wire::rtp::RtpPacket;

/// A datagram of a leg, and where it came from.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Its source.
    pub from: SocketAddr,
    /// What it holds.
    pub datagram: &'a mut [u8],
}

/// An RTP datagram that `side` received.
pub fn rtp(
    call: &mut Call,
    side: Side,
    Incoming { from, datagram }: Incoming<'_>,
    now: Instant,
    common: &mut Common,
) -> Result<(), Discard> {
    let (leg, to, stream) = call.direction(side);

    // Admit: from the far end, or from where it may turn out to be.
    let is_far_end = leg.connection.is_far_end(Kind::Rtp, from);
    if !is_far_end {
        admit(leg, from, datagram)?;
    }
    // Authenticate and parse: nothing changes before the tag is good (RFC 3711 §3.3).
    let RtpPacket { header, payload, .. } = leg.connection.security.open(datagram)?;
    // Recognise: what it is, and whose.
    let meaning = leg.hearing.meaning(header.payload_type);
    match leg.hearing.hear(header, payload, meaning, now)? {
        Continuity::Same => {}
        Continuity::First => common.notices.push(Notice::MediaStarted(side)),
        Continuity::NewSource => stream.change_source(&mut to.outlet(common, now)),
    }
    if !is_far_end {
        leg.connection.learn(from);
        common.notices.push(Notice::SourceLearnt(side, from));
    }
    leg.connection.note_heard();
    if !leg.direction.receives() {
        return Err(Discard::NotReceiving);
    }

    let meanings = leg.hearing.meanings.as_ref();
    let out = &mut to.outlet(common, now);
    match meaning {
        Meaning::Unknown => {
            stream.pass_over(header, meanings, out);
            Err(Discard::UnknownPayloadType)
        }
        // Unwrap: RED brings earlier packets along.
        Meaning::Redundant => stream.hear_redundant(header, payload, meanings, out),
        // Some trunks keep NAT bindings alive so.
        _ if payload.is_empty() => {
            stream.pass_over(header, meanings, out);
            Ok(())
        }
        // Order, then whatever has its turn.
        _ => stream.hear(Packet { header, payload }, meaning, meanings, out),
    }
}

/// A datagram from elsewhere than the far end is a stranger's, unless the controller said how the far
/// end may be found there, and this proves it; SRTP is proven by its tag.
#[cold]
fn admit(leg: &mut Leg, from: SocketAddr, datagram: &[u8]) -> Result<(), Discard> {
    let is_protected = leg.connection.security.is_protected();
    let hearing = &leg.hearing;
    let learning = leg.connection.learning().filter(|learning| learning.may_be(from));
    let learning = learning.ok_or(Discard::UnknownSource)?;
    if is_protected {
        return Ok(());
    }
    let header = RtpPacket::parse(datagram)?.header;
    let is_known = hearing.meaning(header.payload_type) != Meaning::Unknown;
    let is_proven = is_known && learning.is_proven_by(from, &header);
    if is_proven { Ok(()) } else { Err(Discard::UnknownSource) }
}

/// An RTCP datagram that `side` received.
pub fn rtcp(
    call: &mut Call,
    side: Side,
    Incoming { from, datagram }: Incoming<'_>,
    now: Instant,
    common: &mut Common,
) -> Result<(), Discard> {
    let (_, leg, stream) = call.direction(side.other());
    let is_far_end = leg.connection.is_far_end(Kind::Rtcp, from);
    if !is_far_end && !leg.connection.may_be_rtcp(from) {
        return Err(Discard::UnknownSource);
    }
    let change = leg.hear_rtcp(datagram, common, now)?;
    if !is_far_end {
        leg.connection.learn_rtcp(from);
    }
    if let Some(settings) = change {
        stream.track.configure(settings);
    }
    Ok(())
}

/// A call's time has come: see [`Call::next_timeout`].
pub fn wake(call: &mut Call, now: Instant, common: &mut Common) {
    for side in Side::BOTH {
        let (from, to, stream) = call.direction(side);
        stream.wake(from.hearing.meanings.as_ref(), &mut to.outlet(common, now));
        if to.connection.take_consent_expiry(now) {
            common.notices.push(Notice::ConsentExpired(side.other()));
        }
        if let Some(silent) = to.take_silence(now) {
            let silent_ms = silent.as_millis().narrow();
            common.notices.push(Notice::MediaTimeout(side.other(), silent_ms));
        }
        if let Err(reason) = to.send_due_report(common, now) {
            to.discards.count(reason);
        }
    }
}
