//! What was agreed on in SDP, in the words of the control protocol.

use crate::control::message::{
    Codec, Direction, Format, LegChange, SendFormat, SendRedundancy, Spacing,
};
use crate::wire::comfort_noise;
use crate::wire::rtp::PayloadType;
use crate::wire::sdp::{self, Agreement};

/// An agreement as the media process wants to hear it, and how what it sends is spaced.
pub fn format_of(agreement: &Agreement, playout: Spacing) -> Format {
    Format {
        send: SendFormat {
            coding: agreement.send,
            packet_ms: agreement.packet_ms,
            encoder: None,
            in_band_fec: agreement.in_band_fec,
            redundancy: agreement.send_redundancy.map(SendRedundancy::from),
            playout,
        },
        receive: agreement.receive.clone(),
        send_events: agreement.send_events,
        receive_events: agreement.receive_events.clone(),
        receive_redundancy: agreement.receive_redundancy.clone(),
        send_comfort_noise: agreement.comfort_noise,
        receive_comfort_noise: comfort_noise_of(agreement),
        receive_tones: false,
    }
}

/// Which way media's audio goes after an offer or an answer in which the far end wrote `theirs`
/// (RFC 3264 §6.1): what it only sends we only hear.
pub fn direction_of(theirs: sdp::Direction) -> Direction {
    match theirs.reversed() {
        sdp::Direction::SendReceive => Direction::SendRecv,
        sdp::Direction::SendOnly => Direction::SendOnly,
        sdp::Direction::ReceiveOnly => Direction::RecvOnly,
        sdp::Direction::Inactive => Direction::Inactive,
    }
}

/// The payload types of comfort noise that a G.711 leg accepts: the one agreed on, and the static one
/// where it means nothing else, because we may have offered it and some trunks send it without having
/// said so.
fn comfort_noise_of(agreement: &Agreement) -> Vec<PayloadType> {
    let taken = |number: PayloadType| {
        agreement.receive.iter().any(|coding| coding.payload_type == number)
            || agreement.receive_events.iter().any(|events| events.payload_type == number)
    };
    let opus = agreement.receive.iter().any(|coding| coding.codec == Codec::Opus);
    let known = comfort_noise::static_payload_type().filter(|number| !taken(*number));
    let mut numbers = Vec::from_iter(agreement.comfort_noise);
    numbers.extend(known.filter(|known| agreement.comfort_noise != Some(*known)));
    if opus { Vec::new() } else { numbers }
}

/// One change after another, as one.
pub fn both(earlier: LegChange, later: LegChange) -> LegChange {
    LegChange {
        remote: later.remote.or(earlier.remote),
        // It goes with the address of RTP: without one of its own it is beside that.
        remote_rtcp: match later.remote {
            Some(_) => later.remote_rtcp,
            None => later.remote_rtcp.or(earlier.remote_rtcp),
        },
        source: later.source.or(earlier.source),
        remote_ufrag: later.remote_ufrag.or(earlier.remote_ufrag),
        ice: later.ice.or(earlier.ice),
        security: later.security.or(earlier.security),
        format: later.format.or(earlier.format),
        direction: later.direction.or(earlier.direction),
        dscp: later.dscp.or(earlier.dscp),
        media_timeout_ms: later.media_timeout_ms.or(earlier.media_timeout_ms),
    }
}
