//! The SDP that we write. Every line is ours; a line that is not implemented is not written: no
//! header extensions, no RTCP feedback, no `a=ssrc` (Chromium plays silence when the signalled SSRC
//! is not the one that comes).

use std::net::SocketAddr;

use super::browser::BrowserOffer;
use super::formats::Agreement;
use super::trunk::TrunkOffer;
use super::{DtlsRole, Fingerprint, IceParameters, Session};
use crate::wire::coding::Codec;

/// Our side of a browser leg.
#[derive(Clone, Copy, Debug)]
pub struct BrowserSide<'a> {
    /// Identity and version of the SDP.
    pub session: Session,
    /// Where the browser sends everything: our one candidate.
    pub address: SocketAddr,
    /// Our credentials. With [`super::IceMode::Lite`] `a=ice-lite` is written.
    pub ice: &'a IceParameters,
    /// Our certificate's.
    pub fingerprint: &'a Fingerprint,
}

/// Our side of a trunk leg.
#[derive(Clone, Copy, Debug)]
pub struct TrunkSide {
    /// Identity and version of the SDP.
    pub session: Session,
    /// Where the trunk sends RTP.
    pub rtp: SocketAddr,
    /// Where it sends RTCP; written only when it is not one port above RTP (RFC 3605).
    pub rtcp: SocketAddr,
}

/// What we ask of the browser's Opus encoder (RFC 7587 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpusWish {
    /// What a G.711 trunk can carry: narrowband at 24 kb/s, 3.4 times cheaper to decode than
    /// fullband and 0.06 MOS better after G.711. A browser may ignore it.
    Narrowband,
    /// Whatever the browser likes, for a far end that has Opus too.
    Fullband,
}

/// Answers a browser's offer: its audio line accepted in the words of `agreement`, all other lines
/// refused with port 0, in the offer's order.
pub fn author_browser_answer(
    _offer: &BrowserOffer,
    _side: &BrowserSide<'_>,
    _role: DtlsRole,
    _agreement: &Agreement,
    _wish: OpusWish,
) -> String {
    unimplemented!()
}

/// Offers a browser one audio line with `codecs` in this order and both telephone-event clocks.
pub fn author_browser_offer(_side: &BrowserSide<'_>, _codecs: &[Codec], _wish: OpusWish) -> String {
    unimplemented!()
}

/// Offers a trunk one audio line with `codecs` in this order and telephone events. Some 250 bytes:
/// the INVITE around it must stay below 1,300 to travel over UDP (RFC 3261 §18.1.1).
pub fn author_trunk_offer(_side: &TrunkSide, _codecs: &[Codec]) -> String {
    unimplemented!()
}

/// Answers a trunk's offer: its audio line accepted in the words of `agreement`, all other lines
/// refused with port 0, in the offer's order.
pub fn author_trunk_answer(
    _offer: &TrunkOffer,
    _side: &TrunkSide,
    _agreement: &Agreement,
) -> String {
    unimplemented!()
}
