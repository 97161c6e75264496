//! A leg's connection: where its packets come and go, whose they are, how they are protected.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::learning::Learning;
use super::security::{Retired, SecurityContext};
use crate::control::message::{ControlError, IceCredentials, Security};
use crate::media::kind::Kind;
use crate::os::route::{Destination, SocketIndex};
use crate::wire::rtp::Ssrc;

/// Consent expires this long after the last authenticated check (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(30);
/// A leg's strangers are told of this often at most, those of RTP and those of RTCP.
const STRANGER_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Where a leg's packets come and go.
#[derive(Debug)]
pub enum Transport {
    /// The thread's shared port; the remote is the nominated address.
    Ice {
        /// The shared socket.
        socket: SocketIndex,
        /// What authenticates checks.
        credentials: IceCredentials,
        /// Where to send, once nominated.
        remote: Option<Remote>,
        /// When the browser's consent ends, once there was one; cleared when that was told.
        consent_until: Option<Instant>,
    },
    /// A pair of its own.
    Plain {
        /// The sockets of RTP and RTCP.
        sockets: [SocketIndex; 2],
        /// The far end's RTP and RTCP addresses, once they are known.
        remotes: Option<[Remote; 2]>,
        /// How they may be found to be others.
        learning: Box<Learning>,
    },
}

/// An address of a far end, as it is compared and as it is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The address.
    pub address: SocketAddr,
    destination: Destination,
}

impl From<SocketAddr> for Remote {
    fn from(address: SocketAddr) -> Self {
        Self { address, destination: address.into() }
    }
}

/// The transport of a leg and its protection.
#[derive(Debug)]
pub struct Connection {
    /// Where packets come and go.
    pub transport: Transport,
    /// How they are protected.
    pub security: SecurityContext,
    /// Whether the far end was heard since its address was last named.
    heard: bool,
    /// When its strangers were last told of, by [`Kind`].
    strangers_told: [Option<Instant>; 2],
    /// Keys that are out of use.
    retired: Retired,
}

impl Connection {
    /// A connection on which nothing came yet.
    pub fn new(transport: Transport, security: SecurityContext) -> Self {
        let retired = Retired::default();
        Self { transport, security, heard: false, strangers_told: [None; 2], retired }
    }

    /// Whether [`Self::secure`] can follow.
    pub fn check_security(&self, security: &Security) -> Result<(), ControlError> {
        self.retired.check(&self.security, security)
    }

    /// Protects what comes and goes otherwise from now on; `ssrc` is the leg's own source. Says whether
    /// what is sent has another key.
    pub fn secure(&mut self, security: Security, ssrc: Ssrc) -> bool {
        self.security.replace(security, ssrc, &mut self.retired)
    }

    /// The far end's address.
    #[inline]
    pub fn remote(&self, kind: Kind) -> Option<SocketAddr> {
        match &self.transport {
            Transport::Ice { remote, .. } => remote.map(|remote| remote.address),
            Transport::Plain { remotes, .. } => remotes.map(|both| both[kind as usize].address),
        }
    }

    /// Whether a datagram comes from the far end.
    #[inline]
    pub fn is_far_end(&self, kind: Kind, from: SocketAddr) -> bool {
        match &self.transport {
            Transport::Ice { remote: Some(remote), .. } => remote.address == from,
            Transport::Plain { remotes: Some(both), .. } => both[kind as usize].address == from,
            _ => false,
        }
    }

    /// Something authentic came from the far end.
    #[inline]
    pub fn note_heard(&mut self) {
        self.heard = true;
    }

    /// The far end may be elsewhere than was named, and was not heard there: how that may be learnt.
    pub fn learning(&mut self) -> Option<&mut Learning> {
        match &mut self.transport {
            Transport::Plain { learning, remotes: Some(_), .. } if !self.heard => Some(learning),
            _ => None,
        }
    }

    /// The far end is at `from`: RTCP is then expected and sent a port above.
    pub fn learn(&mut self, from: SocketAddr) {
        self.heard = true;
        if let Transport::Plain { remotes, .. } = &mut self.transport {
            *remotes = Some([from.into(), rtcp_beside(from).into()]);
        }
    }

    /// Whether RTCP may come from there: from the address of RTP where its port may be learnt.
    pub fn may_be_rtcp(&self, from: SocketAddr) -> bool {
        match &self.transport {
            Transport::Plain { remotes: Some([rtp, _]), learning, .. } => {
                learning.is_allowed() && rtp.address.ip() == from.ip()
            }
            _ => false,
        }
    }

    /// RTCP comes from there.
    pub fn learn_rtcp(&mut self, from: SocketAddr) {
        if let Transport::Plain { remotes: Some([_, rtcp]), .. } = &mut self.transport {
            *rtcp = from.into();
        }
    }

    /// Names the far end of a leg on its own ports, as an offer or an answer does. It may be elsewhere from
    /// then on, and is looked for anew; one that was named before and learnt to be elsewhere is sent to there
    /// until it is.
    pub fn name(&mut self, rtp: SocketAddr, rtcp: Option<SocketAddr>) {
        let rtcp = rtcp.unwrap_or_else(|| rtcp_beside(rtp));
        if let Transport::Plain { remotes, learning, .. } = &mut self.transport {
            let is_another = learning.is_another(rtp, rtcp);
            let may_stay = |[at, _]: [Remote; 2]| at.address == rtp || learning.may_be(at.address);
            if is_another || !remotes.is_some_and(may_stay) {
                *remotes = Some([rtp.into(), rtcp.into()]);
            }
            self.heard = false;
        }
    }

    /// Names where the far end's RTCP is, and leaves its RTP as it is. Without a far end there is none.
    pub fn name_rtcp(&mut self, rtcp: SocketAddr) {
        if let Transport::Plain { remotes: Some([_, remote]), learning, .. } = &mut self.transport
            && learning.is_other_rtcp(rtcp)
        {
            *remote = rtcp.into();
        }
    }

    /// Whether the leg's strangers are to be told of now; they are counted in any case.
    pub fn take_stranger_notice(&mut self, kind: Kind, now: Instant) -> bool {
        let told = self.strangers_told[kind as usize];
        let due = told.is_none_or(|told| now.duration_since(told) >= STRANGER_TOLD_EVERY);
        if due && self.remote(kind).is_some() {
            self.strangers_told[kind as usize] = Some(now);
            return true;
        }
        false
    }

    /// The socket to send by and where to.
    #[inline]
    pub fn route(&self, kind: Kind) -> Option<(SocketIndex, Destination)> {
        match &self.transport {
            Transport::Ice { socket, remote, .. } => {
                remote.as_ref().map(|remote| (*socket, remote.destination))
            }
            Transport::Plain { sockets, remotes, .. } => {
                let place = kind as usize;
                remotes.as_ref().map(|both| (sockets[place], both[place].destination))
            }
        }
    }

    /// Whether something can be sent: address and keys are there.
    #[inline]
    pub fn can_send(&self) -> bool {
        let is_addressed = match &self.transport {
            Transport::Ice { remote, .. } => remote.is_some(),
            Transport::Plain { remotes, .. } => remotes.is_some(),
        };
        is_addressed && self.security.is_ready()
    }

    /// An authenticated check came: consent goes on.
    pub fn renew_consent(&mut self, now: Instant) {
        if let Transport::Ice { consent_until, .. } = &mut self.transport {
            *consent_until = Some(now + CONSENT);
        }
    }

    /// Where an ICE leg's browser is, once it was nominated, and since when its checks are missing.
    pub fn nominated(&self, now: Instant) -> Option<(SocketAddr, Duration)> {
        let Transport::Ice { remote, consent_until, .. } = &self.transport else { return None };
        let left = consent_until.map_or(Duration::ZERO, |end| end.saturating_duration_since(now));
        remote.map(|remote| (remote.address, CONSENT.saturating_sub(left)))
    }

    /// An ICE leg's browser was nominated elsewhere, and its last check came so long ago.
    pub fn resume_nominated(&mut self, address: SocketAddr, consent_age: Duration, now: Instant) {
        if let Transport::Ice { remote, consent_until, .. } = &mut self.transport {
            *remote = Some(address.into());
            *consent_until = Some(now + CONSENT.saturating_sub(consent_age));
        }
    }

    /// Checks could not be heard for `pause`.
    pub fn extend_consent(&mut self, pause: Duration) {
        if let Transport::Ice { consent_until: Some(until), .. } = &mut self.transport {
            *until += pause;
        }
    }

    /// When consent ends.
    pub fn consent_until(&self) -> Option<Instant> {
        match &self.transport {
            Transport::Ice { consent_until, .. } => *consent_until,
            Transport::Plain { .. } => None,
        }
    }

    /// Whether consent has just ended; told once.
    pub fn take_consent_expiry(&mut self, now: Instant) -> bool {
        match &mut self.transport {
            Transport::Ice { consent_until, .. } => {
                consent_until.take_if(|until| *until <= now).is_some()
            }
            Transport::Plain { .. } => false,
        }
    }
}

/// The RTCP address beside an RTP address (RFC 3550 §11).
pub fn rtcp_beside(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1))
}
