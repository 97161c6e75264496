//! THE CALL LINE, continued: 6. the browsers' checks and handshakes, punted by media.
//!
//! In: STUN and DTLS of a leg's browser, what its answer sets free. Out: datagrams, changes of the
//! media leg, and a call that talks or has no keys.

use std::net::SocketAddr;

use tracing::{debug, info, warn};

use crate::control::message::Side;
use crate::signal::browser::{BrowserMedia, Outcome};
use crate::signal::call::Call;
use crate::signal::directory::{Key, Part};
use crate::signal::exchange::Exchange;
use crate::signal::records::Party;
use crate::signal::stage::Stage;

impl Call {
    /// A check whose USERNAME names a leg, or an answer from an address of its browser.
    pub fn checked(
        &mut self,
        side: Side,
        datagram: &[u8],
        from: SocketAddr,
        exchange: &mut Exchange,
    ) {
        let leg = self.leg_mut(side);
        let Some(media) = leg.media.browser_mut() else { return };
        match media.handle_stun(datagram, from, exchange.now, &mut exchange.random) {
            Ok(outcomes) => self.carry_out(side, outcomes, exchange),
            Err(reason) => debug!(call = &*self.name, reason = reason.name(), "STUN is discarded"),
        }
    }

    /// A DTLS datagram from an address that passed a check of this leg.
    pub fn handshaken(
        &mut self,
        side: Side,
        datagram: &[u8],
        from: SocketAddr,
        exchange: &mut Exchange,
    ) {
        let leg = self.leg_mut(side);
        let Some(media) = leg.media.browser_mut() else { return };
        let outcomes = media.handle_dtls(datagram, from, exchange.now);
        self.carry_out(side, outcomes, exchange);
    }

    /// The browser's answer is there: what waited for it goes on.
    pub(super) fn go_on_with_handshake(&mut self, side: Side, exchange: &mut Exchange) {
        if let Some(media) = self.leg_mut(side).media.browser_mut() {
            let outcomes = media.go_on(exchange.now);
            self.carry_out(side, outcomes, exchange);
        }
    }

    pub(super) fn carry_out(
        &mut self,
        side: Side,
        outcomes: Vec<Outcome>,
        exchange: &mut Exchange,
    ) {
        let Some(thread) = self.leg(side).media.browser().and_then(BrowserMedia::thread) else {
            return;
        };
        let since_started = exchange.wall_time().since(self.record.started);
        for outcome in outcomes {
            match outcome {
                Outcome::Send { to, datagram } => exchange.send_datagram(thread, to, &datagram),
                Outcome::Validated(address) => {
                    let address = Key::Address(thread, address);
                    exchange.directory.enter(address, &self.name, Part::Leg(side));
                }
                Outcome::Nominated(change) => {
                    self.change_leg(side, change, exchange);
                    if self.stage == Stage::Talking {
                        info!(call = &*self.name, leg = ?side, "the browser moved");
                        self.park(exchange);
                    } else {
                        self.record.set_up.nominated_ms = Some(since_started);
                    }
                }
                Outcome::Secured(change) => {
                    info!(call = &*self.name, leg = ?side, "secured");
                    self.change_leg(side, change, exchange);
                    self.record.set_up.secured_ms = Some(since_started);
                    self.ring_if_open(exchange);
                    self.talk_if_open(exchange);
                }
                Outcome::FailedElsewhere(failure) => {
                    warn!(call = &*self.name, leg = ?side, %failure, "a handshake is forgotten");
                }
                Outcome::Failed(failure) => {
                    warn!(call = &*self.name, leg = ?side, %failure, "no keys");
                    self.end(Party::Linecard, failure.into(), None, exchange);
                }
            }
        }
    }
}
