//! What all calls of a core share, as the common equipment of a switch: where datagrams and notices are
//! put, codec states, the wall clock, randomness, and how busy the core is.

use std::net::SocketAddr;
use std::rc::Rc;

use super::load::Load;
use crate::audio::opus::OpusArena;
use crate::base::clock::WallAnchor;
use crate::base::opaque::opaque;
use crate::base::random::Random;
use crate::control::message::{PlayEnd, Side};
use crate::media::kind::Kind;
use crate::os::outbox::Outbox;
use crate::wire::telephone_event::Digit;

/// One a core.
pub struct Common {
    /// Where datagrams are put.
    pub outbox: Outbox,
    /// Where notices are put; the core empties it after each packet.
    pub notices: Vec<Notice>,
    /// Codec frames.
    pub frames: FrameCounters,
    /// Ties `now` to the wall clock, for RTCP.
    pub wall: WallAnchor,
    /// Spreads the reports, and makes sources.
    pub random: Random,
    /// Codec states.
    pub codecs: Rc<OpusArena>,
    /// How busy the core is.
    pub load: Load,
}

opaque!(Common);

/// What the packet line tells besides what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A leg's first packet was accepted.
    MediaStarted(Side),
    /// A digit ended; how long it was held, in milliseconds.
    DigitEnded(Side, Digit, u32),
    /// An ICE leg's consent ended.
    ConsentExpired(Side),
    /// Nothing was heard on a leg for so many milliseconds.
    MediaTimeout(Side, u64),
    /// Somebody else than the far end sent to a leg's own ports.
    UnknownSource(Side, Kind, SocketAddr),
    /// A leg's far end was found at another address than was named.
    SourceLearnt(Side, SocketAddr),
    /// What was played toward a leg came to its end.
    PlayEnded(Side, PlayEnd),
}

/// Codec frames of a core.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameCounters {
    /// Packets decoded.
    pub decoded: u64,
    /// Packets encoded.
    pub encoded: u64,
    /// Packets of silence that were sent without encoding them.
    pub silent: u64,
}
