//! A leg as a script's world knows it: what was agreed on with the core, and who watches what is sent.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use super::browser_address;
use super::far_end::FarEnd;
use super::script::Port;
use super::witness::Witness;
use crate::base::narrow::Narrow;
use crate::control::message::{Format, IceCredentials, LegChange, Security, Source, Transport};
use crate::media::channel::NewLeg;
use crate::media::leg::connection::rtcp_beside;
use crate::wire::rtp::Ssrc;

/// A leg as it was agreed on with the core.
pub(super) struct Leg {
    /// Where its far end sends to: RTP and RTCP.
    pub(super) local: [SocketAddr; 2],
    pub(super) is_plain: bool,
    pub(super) credentials: Option<IceCredentials>,
    pub(super) format: Option<Format>,
    pub(super) security: Security,
    pub(super) source: Source,
    /// Where the far end was said to be: RTP and RTCP.
    pub(super) named: Option<[SocketAddr; 2]>,
    /// Where it may have been found to be.
    pub(super) learnt: BTreeSet<SocketAddr>,
    pub(super) far_end: FarEnd,
    pub(super) witness: Witness,
    /// What it may be sent in all, in packets.
    pub(super) allowance: u64,
}

impl Leg {
    /// As a new leg is agreed on.
    pub(super) fn new(leg: &NewLeg, far_end: FarEnd) -> Self {
        let NewLeg { parameters, sockets } = leg;
        let (credentials, source, named) = match &parameters.transport {
            Transport::Ice(credentials) => (Some(credentials.clone()), Source::Exact, None),
            Transport::Plain(plain) => {
                let rtcp = |rtp| plain.remote_rtcp.unwrap_or_else(|| rtcp_beside(rtp));
                let named = plain.remote.map(|rtp| [rtp, rtcp(rtp)]);
                (None, plain.source.clone(), named)
            }
        };
        let bound = sockets.as_ref().map(|both| [both[0].address(), both[1].address()]);
        Self {
            local: bound.unwrap_or([browser_address(0); 2]),
            is_plain: bound.is_some(),
            credentials,
            format: parameters.format.clone(),
            security: parameters.security.clone(),
            source,
            named,
            learnt: BTreeSet::new(),
            far_end,
            witness: Witness::new(Ssrc(0)),
            allowance: 50,
        }
    }

    pub(super) fn change(&mut self, change: LegChange) {
        if let Some(format) = change.format {
            self.format = Some(format);
            self.witness.format_changed();
        }
        if let Some(security) = change.security {
            self.security = security;
        }
        self.credentials = change.ice.or(self.credentials.take());
        if let (Some(ufrag), Some(credentials)) = (change.remote_ufrag, &mut self.credentials) {
            credentials.remote_ufrag = Some(ufrag);
        }
        self.source = change.source.unwrap_or_else(|| self.source.clone());
        match (change.remote, change.remote_rtcp) {
            (Some(rtp), rtcp) => {
                self.named = Some([rtp, rtcp.unwrap_or_else(|| rtcp_beside(rtp))]);
                self.learnt.clear();
            }
            (None, Some(rtcp)) => self.learnt.extend([rtcp]),
            (None, None) => {}
        }
    }

    pub(super) fn judge(&mut self, port: Port, bytes: &[u8], now: Instant) {
        let format = self.format.as_ref().expect("a leg without a format sends nothing");
        match port {
            Port::Rtp => self.witness.rtp(bytes, format, &self.security, now),
            Port::Rtcp => self.witness.rtcp(bytes, &self.security),
        }
    }

    /// Noise, digits and ticks leave without anything coming: one packet each 10 ms.
    pub(super) fn time_passes(&mut self, until: Instant, now: Instant) {
        let passed = until.saturating_duration_since(now);
        self.allowance += Narrow::<u64>::narrow(passed.as_millis()) / 5 + 1;
    }
}
