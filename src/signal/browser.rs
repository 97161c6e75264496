//! The media of a leg toward a browser: SDP, ICE-lite and the DTLS handshake.
//!
//! ```text
//! our SDP out → authenticated check → nomination → DTLS flights → keys
//! ```
//!
//! In: the browser's SDP, STUN and DTLS that the media process punted, time. Out: our SDP,
//! datagrams to send, changes of the media leg. The address comes only from authenticated checks
//! (RFC 8445 §7.3), and DTLS is taken only from an address that has passed one. The dialog around
//! it belongs to the call.

use std::net::SocketAddr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::base::discard::Discard;
use crate::base::opaque::opaque;
use crate::base::random::Random;
use crate::base::secret::Secret;
use crate::control::message::{
    Codec, Direction, Format, IceCredentials, LegChange, LegParameters, Security, Spacing,
    SrtpKeys, Transport,
};
use crate::dtls::{self, Certificate, Failure, Handshake};
use crate::ice::agent::{Agent, Event, Path};
use crate::ice::credentials::Credentials;
use crate::signal::media_leg::{direction_of, format_of};
use crate::wire::sdp::{
    BrowserAnswer, BrowserOffer, BrowserSide, DtlsRole, Fingerprint, IceMode, IceParameters,
    OpusWish, Refusal, Session, author_browser_answer, author_browser_offer,
};
use crate::wire::stun::RESPONSE_BYTES_MAX;

/// Failed handshakes of a leg that are forgotten: they take a validated address and some 100 us of a
/// core each.
const FORGOTTEN_MAX: u8 = 16;

/// The media of a leg toward a browser. It serialises: that is its part of the call's blob.
#[derive(Serialize, Deserialize)]
pub struct BrowserMedia {
    session: Session,
    ice: IceCredentials,
    wish: OpusWish,
    /// The media thread and its port.
    local: Option<(usize, SocketAddr)>,
    format: Option<Format>,
    #[serde(default)]
    direction: Direction,
    description: Option<String>,
    nominated: Option<SocketAddr>,
    /// The browser's ICE password, by which it proves where it is when it moves.
    #[serde(default)]
    remote_password: Option<String>,
    secured: bool,
    /// Made anew from the credentials when the call is picked up again.
    #[serde(skip)]
    agent: Option<Agent>,
    /// The browser's offer, until it is answered.
    #[serde(skip)]
    offer: Option<Box<BrowserOffer>>,
    /// Our end of the handshake; passive until the browser's SDP says otherwise.
    #[serde(default)]
    role: DtlsRole,
    /// The browser's.
    #[serde(default)]
    fingerprints: Vec<Fingerprint>,
    /// What our SDP says of our certificate, which may be our predecessor's.
    #[serde(default)]
    our_fingerprint: Option<Fingerprint>,
    /// Ours, once the leg is made. A call that was picked up again is secured without one: the
    /// association went with our predecessor, its keys live in media.
    #[serde(skip)]
    certificate: Option<Certificate>,
    #[serde(skip)]
    handshake: Option<Handshake>,
    /// Where the last DTLS datagram came from.
    #[serde(skip)]
    dtls_from: Option<SocketAddr>,
    /// Where the handshake began, and with which client's random.
    #[serde(skip)]
    begun: Option<(SocketAddr, [u8; 32])>,
    /// Why handshakes failed that were forgotten: the last reason, and how many there were.
    #[serde(skip)]
    forgotten: Option<(Failure, u8)>,
}

opaque!(BrowserMedia);

/// Codecs toward the browser in our order. Opus for its repair of loss, and G.711 for who has nothing
/// else. Between browsers, which all have it (RFC 7874 §3), Opus goes through untouched and nothing
/// else can.
fn codecs(wish: OpusWish) -> &'static [Codec] {
    match wish {
        OpusWish::Narrowband => &[Codec::Opus, Codec::Pcmu, Codec::Pcma],
        OpusWish::Fullband => &[Codec::Opus],
    }
}

/// What a datagram or a timer brought about.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// Send this from the leg's thread.
    Send {
        /// Where to.
        to: SocketAddr,
        /// The datagram.
        datagram: Vec<u8>,
    },
    /// The browser nominated an address, its first or another one.
    Nominated(LegChange),
    /// This address passed its first check: DTLS may come from there.
    Validated(SocketAddr),
    /// The handshake is done.
    Secured(LegChange),
    /// The handshake failed with whoever is where media goes: no keys ever come.
    Failed(Failure),
    /// A handshake failed with whoever is somewhere else, and another one may come.
    FailedElsewhere(Failure),
}

impl BrowserMedia {
    /// A leg whose browser made an offer.
    pub fn offered(sdp: &str, wish: OpusWish, random: &mut Random) -> Result<Self, Refusal> {
        let offer = BrowserOffer::parse(sdp)?;
        let agreement = offer.agree(codecs(wish))?;
        let mut media = Self::offering(wish, random);
        media.format = Some(format_of(&agreement, Spacing::OnArrival));
        media.direction = direction_of(offer.audio.direction);
        media.set_remote(&offer.audio.ice);
        media.role = offer.our_role(DtlsRole::Passive);
        media.fingerprints = offer.audio.fingerprints.clone();
        media.offer = Some(Box::new(offer));
        Ok(media)
    }

    /// A leg on which we make the offer.
    pub fn offering(wish: OpusWish, random: &mut Random) -> Self {
        let credentials = Credentials::generate(random);
        Self {
            session: Session::new(random),
            ice: IceCredentials {
                local_ufrag: credentials.ufrag.clone(),
                local_password: credentials.password.expose().to_owned(),
                remote_ufrag: None,
            },
            wish,
            local: None,
            format: None,
            direction: Direction::default(),
            description: None,
            nominated: None,
            remote_password: None,
            secured: false,
            agent: Some(Agent::new(credentials)),
            offer: None,
            role: DtlsRole::Passive,
            fingerprints: Vec::new(),
            our_fingerprint: None,
            certificate: None,
            handshake: None,
            dtls_from: None,
            begun: None,
            forgotten: None,
        }
    }

    /// The leg as the media process is to make it.
    pub fn leg_parameters(&self) -> LegParameters {
        LegParameters {
            security: Security::Pending,
            format: self.format.clone(),
            direction: self.direction,
            ..LegParameters::new(Transport::Ice(self.ice.clone()))
        }
    }

    /// The media process gave the leg its thread and address: our SDP can be written, once.
    pub fn reserved(&mut self, thread: usize, address: SocketAddr, certificate: &Certificate) {
        self.local = Some((thread, address));
        self.certificate = Some(certificate.clone());
        self.our_fingerprint = Some(certificate.fingerprint().clone());
        let offer = self.offer.take();
        self.description = self.description_of(offer.as_deref());
    }

    /// Our answer to its offer, or our offer, in the words of this version of the session.
    fn description_of(&self, offer: Option<&BrowserOffer>) -> Option<String> {
        let (_, address) = self.local?;
        let ice = IceParameters {
            ufrag: self.ice.local_ufrag.clone(),
            password: self.ice.local_password.clone(),
            mode: IceMode::Lite,
        };
        let fingerprint = self.our_fingerprint.as_ref()?;
        let side = BrowserSide { session: self.session, address, ice: &ice, fingerprint };
        let (codecs, wish) = (codecs(self.wish), self.wish);
        Some(match offer {
            Some(offer) => {
                // It agreed when it came and has not changed since.
                let agreement = offer.agree(codecs).ok()?;
                author_browser_answer(offer, &side, self.role, &agreement, wish)
            }
            None => author_browser_offer(&side, codecs, wish),
        })
    }

    /// The browser makes an offer inside the call: it holds or resumes, its network changed (an ICE
    /// restart, RFC 8839 §4.4.1.1.1), or it began anew with another certificate (RFC 8842 §4). What
    /// changes in the media leg is told; an offer that says nothing new leaves our SDP as it was,
    /// version and all. A refused offer changes nothing.
    pub fn offered_anew(
        &mut self,
        sdp: &str,
        certificate: &Certificate,
        random: &mut Random,
    ) -> Result<LegChange, Refusal> {
        let offer = BrowserOffer::parse(sdp)?;
        let format = Some(format_of(&offer.agree(codecs(self.wish))?, Spacing::OnArrival));
        let direction = direction_of(offer.audio.direction);
        let mut change = LegChange {
            format: format.clone().filter(|_| format != self.format),
            direction: (direction != self.direction).then_some(direction),
            ..LegChange::default()
        };
        (self.format, self.direction) = (format, direction);
        if self.is_restarted_by(&offer.audio.ice) {
            change.ice = Some(self.restart_ice(&offer.audio.ice, random));
        }
        if self.is_another_association(&offer) {
            self.begin_association(&offer, certificate);
            change.security = Some(Security::Pending);
        }
        if self.description_of(Some(&offer)) != self.description {
            self.session.version += 1;
            self.description = self.description_of(Some(&offer));
        }
        Ok(change)
    }

    fn is_restarted_by(&self, ice: &IceParameters) -> bool {
        self.ice.remote_ufrag.as_deref() != Some(ice.ufrag.as_str())
            || self.remote_password.as_deref() != Some(ice.password.as_str())
    }

    /// New credentials on both sides. The old ones and the nominated address stay in use until a
    /// check succeeds on the new ones.
    fn restart_ice(&mut self, theirs: &IceParameters, random: &mut Random) -> IceCredentials {
        let credentials = Credentials::generate(random);
        // The agent that a successor makes must still have the old ones.
        self.agent().restart(credentials.clone());
        self.ice.local_ufrag = credentials.ufrag;
        credentials.password.expose().clone_into(&mut self.ice.local_password);
        let nominated = self.set_remote(theirs);
        debug_assert_eq!(nominated, None, "a check on new credentials precedes their SDP");
        self.ice.clone()
    }

    /// Another certificate, or the other end of the handshake, is another association.
    fn is_another_association(&self, offer: &BrowserOffer) -> bool {
        let is_known = self.fingerprints.is_empty()
            || offer.audio.fingerprints.iter().any(|one| self.fingerprints.contains(one));
        !is_known || offer.our_role(self.role) != self.role
    }

    fn begin_association(&mut self, offer: &BrowserOffer, certificate: &Certificate) {
        self.role = offer.our_role(DtlsRole::Passive);
        self.fingerprints.clone_from(&offer.audio.fingerprints);
        self.certificate = Some(certificate.clone());
        self.our_fingerprint = Some(certificate.fingerprint().clone());
        self.secured = false;
        (self.handshake, self.begun, self.dtls_from, self.forgotten) = (None, None, None, None);
    }

    /// Whether the browser does not want to hear: it holds the call.
    pub fn is_holding(&self) -> bool {
        !self.direction.sends()
    }

    /// Our SDP: the same bytes in every message of this leg, because a browser takes the SDP of the
    /// 200 after that of the 183 and must find nothing new in it.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The browser answered our offer. Its checks and its handshake may have come before: then
    /// [`Self::go_on`] is due.
    pub fn answered(&mut self, sdp: &str) -> Result<LegChange, Refusal> {
        let answer = BrowserAnswer::parse(sdp)?;
        self.format = Some(format_of(&answer.agree(codecs(self.wish))?, Spacing::OnArrival));
        self.direction = direction_of(answer.audio.direction);
        let remote = self.set_remote(&answer.audio.ice);
        if answer.our_role() != self.role {
            // A ClientHello that beat the answer was meant for nobody.
            self.handshake = None;
        }
        self.role = answer.our_role();
        self.fingerprints = answer.audio.fingerprints;
        if let Some(handshake) = &mut self.handshake {
            handshake.expect(&self.fingerprints);
        }
        Ok(LegChange {
            remote,
            remote_ufrag: self.ice.remote_ufrag.clone(),
            format: self.format.clone(),
            direction: Some(self.direction),
            ..LegChange::default()
        })
    }

    fn set_remote(&mut self, remote: &IceParameters) -> Option<SocketAddr> {
        self.ice.remote_ufrag = Some(remote.ufrag.clone());
        self.remote_password = Some(remote.password.clone());
        let nominated = self.agent().set_remote(&remote.ufrag, &remote.password)?;
        self.nominated = Some(nominated);
        self.nominated
    }

    fn agent(&mut self) -> &mut Agent {
        let (ice, nominated) = (&self.ice, self.nominated);
        let remote_password = self.remote_password.as_deref();
        self.agent.get_or_insert_with(|| {
            let credentials = Credentials {
                ufrag: ice.local_ufrag.clone(),
                password: Secret::new(ice.local_password.clone()),
            };
            Agent::resume(credentials, ice.remote_ufrag.as_deref(), remote_password, nominated)
        })
    }

    /// A STUN datagram: a check whose USERNAME names this leg, or the answer to a probe of ours.
    pub fn handle_stun(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
        random: &mut Random,
    ) -> Result<Vec<Outcome>, Discard> {
        let mut response = [0; RESPONSE_BYTES_MAX];
        let handled = self.agent().handle(datagram, from, now, random, &mut response)?;
        let mut outcomes = Vec::new();
        if handled.length > 0 {
            let datagram = response[..handled.length].to_vec();
            outcomes.push(Outcome::Send { to: from, datagram });
        }
        match handled.event {
            Some(Event::Validated(address)) => outcomes.push(Outcome::Validated(address)),
            Some(Event::Nominated(address)) => {
                self.nominated = Some(address);
                outcomes.push(Outcome::Validated(address));
                outcomes.push(Outcome::Nominated(LegChange {
                    remote: Some(address),
                    ..LegChange::default()
                }));
                if self.role == DtlsRole::Active && !self.secured {
                    // The path is there: our ClientHello goes out.
                    self.handshake(now);
                    outcomes.extend(self.carry_out());
                }
            }
            None => {}
        }
        outcomes.extend(self.probes());
        Ok(outcomes)
    }

    fn probes(&mut self) -> Vec<Outcome> {
        let Some(agent) = &mut self.agent else { return Vec::new() };
        let probes = std::iter::from_fn(|| agent.poll_probe());
        probes.map(|(to, datagram)| Outcome::Send { to, datagram }).collect()
    }

    /// What media knows about the path to the nominated address.
    pub fn set_path(&mut self, path: Path) {
        self.agent().set_path(path);
    }

    /// A DTLS datagram. Nothing is answered toward an address that has not passed a check.
    pub fn handle_dtls(&mut self, datagram: &[u8], from: SocketAddr, now: Instant) -> Vec<Outcome> {
        if !self.agent().is_validated(from) {
            return Vec::new();
        }
        if !self.admits(datagram, from) {
            return Vec::new();
        }
        self.dtls_from = Some(from);
        if let Some(handshake) = self.handshake(now) {
            handshake.handle_datagram(datagram, now);
        }
        self.carry_out()
    }

    /// Whether a datagram is of the one handshake that matters: its beginning decides. A stranger who
    /// sends old checks again gets an address validated, and must not come between with a ClientHello.
    /// So once there is a nomination a handshake begins there only, and takes the place of one that
    /// began elsewhere. A browser that moves meanwhile repeats its own ClientHello.
    fn admits(&mut self, datagram: &[u8], from: SocketAddr) -> bool {
        let Some(random) = dtls::client_random_of(datagram) else { return true };
        let is_nominated = self.nominated == Some(from);
        match self.begun {
            _ if self.role == DtlsRole::Active || self.secured => true,
            Some((_, begun)) if begun == random => true,
            Some((at, _)) if at == from => true,
            Some(_) if is_nominated => {
                self.handshake = None;
                self.begun = Some((from, random));
                true
            }
            None if is_nominated || self.nominated.is_none() => {
                self.begun = Some((from, random));
                true
            }
            Some(_) | None => false,
        }
    }

    /// What the browser's answer sets free: the keys of a handshake that was faster than it, or our
    /// ClientHello when it made us active after the nomination.
    pub fn go_on(&mut self, now: Instant) -> Vec<Outcome> {
        if self.role == DtlsRole::Active && self.nominated.is_some() && !self.secured {
            self.handshake(now);
        }
        self.carry_out()
    }

    fn handshake(&mut self, now: Instant) -> Option<&mut Handshake> {
        let certificate = self.certificate.as_ref()?;
        Some(self.handshake.get_or_insert_with(|| {
            let mut handshake = Handshake::new(self.role, certificate, now);
            if !self.fingerprints.is_empty() {
                handshake.expect(&self.fingerprints);
            }
            handshake
        }))
    }

    /// Carries out what the handshake wants. Its flights go where media goes, or before nomination
    /// to where the last one came from.
    fn carry_out(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let (Some(handshake), Some(to)) = (&mut self.handshake, self.nominated.or(self.dtls_from))
        else {
            return outcomes;
        };
        let mut failure = None;
        while let Some(output) = handshake.poll_output() {
            outcomes.push(match output {
                dtls::Output::Send(datagram) => Outcome::Send { to, datagram },
                dtls::Output::Connected(keys) => {
                    match SrtpKeys::from_bytes(keys.profile, &keys.send, &keys.receive) {
                        Ok(keys) => {
                            self.secured = true;
                            let security = Some(Security::Srtp(keys));
                            Outcome::Secured(LegChange { security, ..LegChange::default() })
                        }
                        Err(problem) => {
                            failure = Some(Failure::Protocol(problem.to_string()));
                            break;
                        }
                    }
                }
                dtls::Output::Failed(reason) => {
                    failure = Some(reason);
                    break;
                }
            });
        }
        outcomes.extend(failure.map(|failure| self.failed(failure)));
        outcomes
    }

    /// A handshake failed. With one that did not come from where media goes (before the browser's
    /// answer that is nowhere, and one of several who are asked may have been first) it is as if it
    /// had never been.
    fn failed(&mut self, failure: Failure) -> Outcome {
        if self.dtls_from.is_none_or(|from| self.nominated == Some(from)) {
            return Outcome::Failed(failure);
        }
        let count = self.forgotten.take().map_or(0, |(_, count)| count);
        self.forgotten = Some((failure.clone(), count.saturating_add(1)));
        if count < FORGOTTEN_MAX {
            self.handshake = None;
            self.begun = None;
        }
        Outcome::FailedElsewhere(failure)
    }

    /// What the leg still waits for before packets can flow; for the record of a call that waited in
    /// vain.
    pub fn awaits(&self) -> Option<String> {
        let has_checked = self.agent.as_ref().is_some_and(|agent| agent.last_check().is_some());
        let trouble = self.handshake.as_ref().and_then(Handshake::trouble);
        let trouble = trouble.or(self.forgotten.as_ref().map(|(failure, _)| failure));
        if self.secured {
            return None;
        }
        Some(match (has_checked, self.nominated, trouble, &self.handshake) {
            (false, ..) => "no ICE check came".to_owned(),
            (_, None, ..) => "ICE checks came, but no nomination".to_owned(),
            (.., Some(trouble), _) => trouble.to_string(),
            (.., None, None) => "DTLS: no ClientHello came".to_owned(),
            (.., None, Some(_)) => "DTLS: the handshake was not finished".to_owned(),
        })
    }

    /// The media thread that owns the leg.
    pub fn thread(&self) -> Option<usize> {
        self.local.map(|(thread, _)| thread)
    }

    /// Where media goes.
    pub fn nominated(&self) -> Option<SocketAddr> {
        self.nominated
    }

    /// Our ICE fragment, by which checks find this leg.
    pub fn local_ufrag(&self) -> &str {
        &self.ice.local_ufrag
    }

    /// Whether it takes telephone events.
    pub fn takes_events(&self) -> bool {
        self.format.as_ref().is_some_and(|format| format.send_events.is_some())
    }

    /// The codec, once agreed.
    pub fn codec(&self) -> Option<Codec> {
        self.format.as_ref().map(|format| format.send.coding.codec)
    }

    /// Whether the keys are there.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn next_timeout(&self) -> Option<Instant> {
        let handshake = self.handshake.as_ref().and_then(Handshake::next_timeout);
        let agent = self.agent.as_ref().and_then(Agent::next_timeout);
        handshake.into_iter().chain(agent).min()
    }

    /// Repeats lost flights and probes.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Outcome> {
        if let Some(handshake) = &mut self.handshake {
            handshake.handle_timeout(now);
        }
        if let Some(agent) = &mut self.agent {
            agent.handle_timeout(now);
        }
        let mut outcomes = self.carry_out();
        outcomes.extend(self.probes());
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;

    const OFFER: &str =
        include_str!("../../tests/samples/chromium-sipjs-out_quality-browser-offer.sdp");
    const ANSWER: &str =
        include_str!("../../tests/samples/chromium-jssip-in_quality-browser-answer.sdp");

    #[test]
    fn media_obeys_the_direction_of_an_offer_and_of_an_answer() {
        let mut random = random::from_seed(1);
        for (theirs, wanted) in [
            ("a=sendrecv", Direction::SendRecv),
            ("a=sendonly", Direction::RecvOnly),
            ("a=recvonly", Direction::SendOnly),
            ("a=inactive", Direction::Inactive),
        ] {
            let wish = OpusWish::Narrowband;
            let offer = OFFER.replace("a=sendrecv", theirs);
            let offered = BrowserMedia::offered(&offer, wish, &mut random).unwrap();
            assert_eq!(offered.leg_parameters().direction, wanted, "{theirs}");
            let mut offering = BrowserMedia::offering(wish, &mut random);
            assert_eq!(offering.leg_parameters().direction, Direction::SendRecv);
            let answer = ANSWER.replace("a=sendrecv", theirs);
            assert_eq!(offering.answered(&answer).unwrap().direction, Some(wanted), "{theirs}");
        }
    }
}
