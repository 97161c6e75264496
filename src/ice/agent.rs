//! One ICE-lite agent: the credentials of a leg, the addresses that passed a check, and the one that
//! is nominated.
//!
//! In protocol order: [`Agent::new`] → [`Agent::handle`] (checks may come before the other side's
//! SDP) → [`Agent::set_remote`] → nomination → [`Agent::restart`] → a check on the new credentials
//! replaces the old ones.

use std::net::SocketAddr;
use std::time::Instant;

use super::check::{self, Expected, Verdict};
use super::credentials::{Credentials, split_username};
use crate::base::discard::Discard;
use crate::wire::stun::Message;

/// Addresses that are remembered as validated, the last ones. A browser checks from each of its
/// interfaces and TURN servers, IPv4 and IPv6.
pub const VALIDATED_ADDRESSES_MAX: usize = 16;

/// The signaling side's view of one browser leg.
#[derive(Debug)]
pub struct Agent {
    current: Generation,
    /// The generation before a restart, while no check has succeeded on the new one.
    previous: Option<Generation>,
    nominated: Option<SocketAddr>,
    /// Most recently checked first.
    validated: Vec<SocketAddr>,
    last_check: Option<Instant>,
}

/// One set of credentials (RFC 8445 §9: a restart makes a new one).
#[derive(Debug)]
struct Generation {
    local: Credentials,
    remote_ufrag: Option<String>,
    /// Whether a check succeeded.
    checked: bool,
    /// A nomination that came before the other side's fragment was known, with the fragment that it
    /// was made under.
    early: Option<(SocketAddr, Vec<u8>)>,
}

impl Generation {
    fn new(local: Credentials) -> Self {
        Self { local, remote_ufrag: None, checked: false, early: None }
    }
}

/// What a check led to. Send the first `length` bytes of the buffer back to where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes of the response.
    pub length: usize,
    /// What changed.
    pub event: Option<Event>,
}

/// What a check changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// This address passed its first check: DTLS may be answered there.
    Validated(SocketAddr),
    /// Media goes to this address from now on. It has been validated, too.
    Nominated(SocketAddr),
}

impl Agent {
    /// An agent that waits for checks with these credentials.
    pub fn new(local: Credentials) -> Self {
        Self {
            current: Generation::new(local),
            previous: None,
            nominated: None,
            validated: Vec::new(),
            last_check: None,
        }
    }

    /// An agent whose call goes on after the signaling process was restarted: it knows what the
    /// record of the call says, and asks for no new nomination.
    pub fn resume(
        local: Credentials,
        remote_ufrag: Option<&str>,
        nominated: Option<SocketAddr>,
    ) -> Self {
        let mut agent = Self::new(local);
        agent.current.remote_ufrag = remote_ufrag.map(str::to_owned);
        agent.current.checked = nominated.is_some();
        agent.nominated = nominated;
        agent.validated.extend(nominated);
        agent
    }

    /// The credentials to put into SDP.
    pub fn local(&self) -> &Credentials {
        &self.current.local
    }

    /// The old credentials, while they are still answered: a punted check may name their fragment.
    pub fn local_before_restart(&self) -> Option<&Credentials> {
        self.previous.as_ref().map(|generation| &generation.local)
    }

    /// Takes the other side's user fragment from its SDP. Returns the address to use from now on if
    /// a nomination came before. The password is not needed: a lite agent sends no checks.
    pub fn set_remote(&mut self, ufrag: &str) -> Option<SocketAddr> {
        self.current.remote_ufrag = Some(ufrag.to_owned());
        let (address, by) = self.current.early.take()?;
        if by != ufrag.as_bytes() {
            return None;
        }
        self.nominated = Some(address);
        Some(address)
    }

    /// Starts over with new credentials (RFC 8445 §9). The nominated address stays in use, and the
    /// last credentials that worked stay valid, until a check succeeds on the new ones.
    pub fn restart(&mut self, local: Credentials) {
        let replaced = std::mem::replace(&mut self.current, Generation::new(local));
        if replaced.checked {
            self.previous = Some(replaced);
        }
    }

    /// Handles a STUN datagram. `out` receives the response and needs
    /// [`crate::wire::stun::RESPONSE_BYTES_MAX`] bytes. Nothing changes unless the check is
    /// authentic and the response a success.
    pub fn handle(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
        out: &mut [u8],
    ) -> Result<Outcome, Discard> {
        let message = Message::parse(datagram)?;
        let (local, remote) =
            message.username.and_then(split_username).ok_or(Discard::BadIntegrity)?;
        let is_current = local == self.current.local.ufrag.as_bytes();
        let generation = match &self.previous {
            Some(previous) if !is_current => previous,
            _ => &self.current,
        };
        let expected = Expected {
            local_ufrag: &generation.local.ufrag,
            local_password: generation.local.password.expose(),
            remote_ufrag: generation.remote_ufrag.as_deref(),
        };
        let answer = check::answer(&message, &expected, from, out)?;
        let event = match answer.verdict {
            Verdict::Refused(_) => None,
            Verdict::Success => {
                self.last_check = Some(now);
                let newly_validated = self.validate(from);
                let nominated = message.use_candidate && self.nominate(is_current, from, remote);
                if is_current {
                    self.current.checked = true;
                    self.previous = None;
                }
                if nominated {
                    Some(Event::Nominated(from))
                } else {
                    newly_validated.then_some(Event::Validated(from))
                }
            }
        };
        Ok(Outcome { length: answer.length, event })
    }

    /// Where media goes: the pair of the last authentic USE-CANDIDATE. Browsers nominate
    /// aggressively and change their minds when a network goes away; the last word counts.
    pub fn nominated(&self) -> Option<SocketAddr> {
        self.nominated
    }

    /// Whether an authentic check came from `address`.
    pub fn is_validated(&self, address: SocketAddr) -> bool {
        self.validated.contains(&address)
    }

    /// When the last authentic check came.
    pub fn last_check(&self) -> Option<Instant> {
        self.last_check
    }

    /// Whether the address is new.
    fn validate(&mut self, address: SocketAddr) -> bool {
        let known = self.validated.iter().position(|known| *known == address);
        if let Some(at) = known {
            self.validated[..=at].rotate_right(1);
            return false;
        }
        self.validated.truncate(VALIDATED_ADDRESSES_MAX - 1);
        self.validated.insert(0, address);
        true
    }

    /// Whether media must now go elsewhere.
    fn nominate(&mut self, is_current: bool, address: SocketAddr, remote: &[u8]) -> bool {
        if is_current && self.current.remote_ufrag.is_none() {
            self.current.early = Some((address, remote.to_vec()));
            return false;
        }
        self.nominated.replace(address) != Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;
    use crate::wire::stun::{
        BindingRequest, Class, RESPONSE_BYTES_MAX, Role, TransactionId, write_binding_request,
    };

    /// A browser that checks an agent.
    struct Browser {
        agent: Agent,
        now: Instant,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Use {
        Check,
        Nominate,
    }

    impl Browser {
        fn new() -> Self {
            let local = Credentials::generate(&mut random::from_seed(5));
            Self { agent: Agent::new(local), now: Instant::now() }
        }

        fn send(
            &mut self,
            local: &Credentials,
            remote: &str,
            from: &str,
            how: Use,
        ) -> Result<Option<Event>, Discard> {
            let username = format!("{}:{remote}", local.ufrag);
            let request = BindingRequest {
                transaction_id: TransactionId([9; 12]),
                username: &username,
                priority: 1,
                role: Role::Controlling(1),
                use_candidate: how == Use::Nominate,
            };
            let mut check = [0; 256];
            let key = local.password.expose().as_bytes();
            let length = write_binding_request(&mut check, &request, key).unwrap();
            let mut out = [0; RESPONSE_BYTES_MAX];
            let from = from.parse().unwrap();
            let outcome = self.agent.handle(&check[..length], from, self.now, &mut out)?;
            let response = Message::parse(&out[..outcome.length]).unwrap();
            assert_eq!(response.class, Class::Success);
            assert_eq!(response.verify_integrity(key), Ok(()));
            Ok(outcome.event)
        }
    }

    const WIFI: &str = "192.0.2.1:1000";
    const MOBILE: &str = "198.51.100.1:2000";

    fn validated(address: &str) -> Result<Option<Event>, Discard> {
        Ok(Some(Event::Validated(address.parse().unwrap())))
    }

    fn nominated(address: &str) -> Result<Option<Event>, Discard> {
        Ok(Some(Event::Nominated(address.parse().unwrap())))
    }

    #[test]
    fn the_last_nomination_is_followed() {
        let mut browser = Browser::new();
        let local = browser.agent.local().clone();
        assert_eq!(browser.agent.set_remote("them"), None);
        assert_eq!(browser.send(&local, "them", WIFI, Use::Check), validated(WIFI));
        assert_eq!(browser.agent.nominated(), None);
        assert_eq!(browser.send(&local, "them", WIFI, Use::Nominate), nominated(WIFI));
        assert_eq!(browser.send(&local, "them", WIFI, Use::Nominate), Ok(None));
        assert_eq!(browser.send(&local, "them", MOBILE, Use::Check), validated(MOBILE));
        assert_eq!(browser.send(&local, "them", MOBILE, Use::Nominate), nominated(MOBILE));
        assert_eq!(browser.send(&local, "them", WIFI, Use::Check), Ok(None));
        assert_eq!(browser.agent.nominated(), Some(MOBILE.parse().unwrap()));
        assert_eq!(browser.agent.last_check(), Some(browser.now));
    }

    #[test]
    fn a_check_that_is_not_authentic_changes_nothing() {
        let mut browser = Browser::new();
        let local = browser.agent.local().clone();
        browser.agent.set_remote("them");
        let mut forged = local.clone();
        forged.password = Credentials::generate(&mut random::from_seed(6)).password;
        let sent = browser.send(&forged, "them", MOBILE, Use::Nominate);
        assert_eq!(sent, Err(Discard::BadIntegrity));
        assert!(!browser.agent.is_validated(MOBILE.parse().unwrap()));
        assert_eq!((browser.agent.nominated(), browser.agent.last_check()), (None, None));
    }

    #[test]
    fn a_nomination_before_the_sdp_is_answered_and_remembered() {
        let mut browser = Browser::new();
        let local = browser.agent.local().clone();
        assert_eq!(browser.send(&local, "them", MOBILE, Use::Nominate), validated(MOBILE));
        assert_eq!(browser.send(&local, "them", WIFI, Use::Nominate), validated(WIFI));
        assert_eq!(browser.agent.nominated(), None);
        assert_eq!(browser.agent.set_remote("them"), Some(WIFI.parse().unwrap()));
        assert_eq!(browser.agent.nominated(), Some(WIFI.parse().unwrap()));
        assert_eq!(browser.send(&local, "other", WIFI, Use::Check), Err(Discard::BadIntegrity));
    }

    #[test]
    fn an_early_nomination_by_somebody_else_is_dropped() {
        let mut browser = Browser::new();
        let local = browser.agent.local().clone();
        assert_eq!(browser.send(&local, "other", WIFI, Use::Nominate), validated(WIFI));
        assert_eq!(browser.agent.set_remote("them"), None);
        assert_eq!(browser.agent.nominated(), None);
    }

    #[test]
    fn old_credentials_work_until_a_check_succeeds_on_new_ones() {
        let mut browser = Browser::new();
        let old = browser.agent.local().clone();
        browser.agent.set_remote("them");
        assert_eq!(browser.send(&old, "them", WIFI, Use::Nominate), nominated(WIFI));

        let new = Credentials::generate(&mut random::from_seed(7));
        browser.agent.restart(new.clone());
        assert_eq!(browser.agent.local(), &new);
        assert_eq!(browser.agent.local_before_restart(), Some(&old));
        assert_eq!(browser.agent.nominated(), Some(WIFI.parse().unwrap()));
        assert_eq!(browser.send(&old, "them", WIFI, Use::Check), Ok(None));

        assert_eq!(browser.agent.set_remote("again"), None);
        assert_eq!(browser.send(&new, "again", MOBILE, Use::Nominate), nominated(MOBILE));
        assert_eq!(browser.agent.local_before_restart(), None);
        assert_eq!(browser.send(&old, "them", WIFI, Use::Nominate), Err(Discard::BadIntegrity));
        assert_eq!(browser.agent.nominated(), Some(MOBILE.parse().unwrap()));
    }

    #[test]
    fn a_second_restart_keeps_the_credentials_that_worked() {
        let mut browser = Browser::new();
        let old = browser.agent.local().clone();
        browser.agent.set_remote("them");
        assert_eq!(browser.send(&old, "them", WIFI, Use::Nominate), nominated(WIFI));
        browser.agent.restart(Credentials::generate(&mut random::from_seed(7)));
        browser.agent.restart(Credentials::generate(&mut random::from_seed(8)));
        assert_eq!(browser.send(&old, "them", WIFI, Use::Check), Ok(None));
    }

    #[test]
    fn a_resumed_agent_knows_its_nominated_address() {
        let mut browser = Browser::new();
        let local = browser.agent.local().clone();
        let wifi = WIFI.parse().unwrap();
        browser.agent = Agent::resume(local.clone(), Some("them"), Some(wifi));
        assert!(browser.agent.is_validated(wifi));
        assert_eq!(browser.send(&local, "other", WIFI, Use::Check), Err(Discard::BadIntegrity));
        assert_eq!(browser.send(&local, "them", WIFI, Use::Nominate), Ok(None));
        assert_eq!(browser.send(&local, "them", MOBILE, Use::Nominate), nominated(MOBILE));
    }

    #[test]
    fn only_the_last_addresses_stay_validated() {
        let mut browser = Browser::new();
        let local = browser.agent.local().clone();
        browser.agent.set_remote("them");
        assert_eq!(browser.send(&local, "them", WIFI, Use::Check), validated(WIFI));
        for port in 1..=VALIDATED_ADDRESSES_MAX {
            let from = format!("203.0.113.1:{port}");
            assert_eq!(browser.send(&local, "them", &from, Use::Check), validated(&from));
        }
        assert!(!browser.agent.is_validated(WIFI.parse().unwrap()));
        assert!(browser.agent.is_validated("203.0.113.1:1".parse().unwrap()));
    }
}
