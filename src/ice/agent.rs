//! One ICE-lite agent: the credentials of a leg, the addresses that passed a check, and the one that
//! is nominated.
//!
//! In protocol order: [`Agent::new`] → [`Agent::handle`] (checks may come before the other side's
//! SDP) → [`Agent::set_remote`] → nomination → [`Agent::restart`] → a check on the new credentials
//! replaces the old ones.
//!
//! # Where media goes when the browser moves
//!
//! The first nomination is followed at once. Later a check from another address is either a browser
//! whose address has changed (a NAT's mapping, another network), a second path that it keeps warm, or
//! somebody who sends an old check again; authentic it is each time. So whoever is there must answer a
//! [probe](super::probe) of ours, with the password that no eavesdropper has:
//!
//! | check from elsewhere | is the nominated path silent? | then |
//! |---|---|---|
//! | USE-CANDIDATE | does not matter: it is the other side's to choose | elsewhere is probed; if it answers, it is nominated |
//! | a plain check | told by media ([`Path::Silent`]) | the same |
//! | a plain check | told by media ([`Path::Alive`]) | nothing |
//! | a plain check | not told ([`Path::Unknown`]) | the nominated address is probed; if it does not answer, elsewhere is |

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::check::{self, Expected, Verdict};
use super::credentials::{Credentials, split_username};
use super::probe::{Asked, Probe};
use crate::base::discard::Discard;
use crate::base::random::Random;
use crate::base::secret::Secret;
use crate::wire::stun::{Class, Message, TransactionId};

/// Addresses that are remembered as validated, the last ones. A browser checks from each of its
/// interfaces and TURN servers, IPv4 and IPv6.
pub const VALIDATED_ADDRESSES_MAX: usize = 16;
/// Questions that are open at once: a browser nominates from each of its interfaces in turn.
const QUESTIONS_MAX: usize = 4;
/// How often the nominated address is asked: all four are lost in one case of a hundred on a path that
/// loses a sixth each way.
const ASKED_NOMINATED: u8 = 4;
/// How often another one is: who sends us checks of others, in the name of a third, gets no more out of
/// us than that.
const ASKED_ELSEWHERE: u8 = 2;
/// After the nominated path has proved to be alive, or elsewhere not to be: until then plain checks
/// set off nothing. A browser checks a path that it keeps warm every 2.5 to 25 s.
const REST: Duration = Duration::from_secs(5);

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
    path: Path,
    questions: Vec<Question>,
    /// Until when plain checks set off nothing.
    rests_until: Option<Instant>,
    /// Datagrams of ours that wait to be sent.
    outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
}

/// What is known, besides checks, about the path to the nominated address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// Nothing.
    #[default]
    Unknown,
    /// Authentic packets come from there.
    Alive,
    /// None have come for so long that they would have.
    Silent,
}

/// A probe, and what hangs on its answer.
#[derive(Debug)]
struct Question {
    probe: Probe,
    about: About,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// Whether the other side has left the nominated address, because of a plain check from
    /// `elsewhere`: then that is asked, under `id_next`.
    Nominated { elsewhere: SocketAddr, id_next: TransactionId },
    /// Whether the other side is at another address: then media goes there.
    Elsewhere,
}

/// The other side's credentials.
#[derive(Debug)]
struct Remote {
    ufrag: String,
    /// Unknown in a call that an older version of us has recorded.
    password: Option<Secret>,
}

/// One set of credentials (RFC 8445 §9: a restart makes a new one).
#[derive(Debug)]
struct Generation {
    local: Credentials,
    remote: Option<Remote>,
    /// Whether a check succeeded.
    checked: bool,
    /// A nomination that came before the other side's fragment was known, with the fragment that it
    /// was made under.
    early: Option<(SocketAddr, Vec<u8>)>,
}

impl Generation {
    fn new(local: Credentials) -> Self {
        Self { local, remote: None, checked: false, early: None }
    }
}

/// What a check led to. Send the first `length` bytes of the buffer back to where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes of the response; 0 for what is not answered.
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
            path: Path::default(),
            questions: Vec::new(),
            rests_until: None,
            outgoing: VecDeque::new(),
        }
    }

    /// An agent whose call goes on after the signaling process was restarted: it knows what the
    /// record of the call says, and asks for no new nomination.
    pub fn resume(
        local: Credentials,
        remote_ufrag: Option<&str>,
        remote_password: Option<&str>,
        nominated: Option<SocketAddr>,
    ) -> Self {
        let mut agent = Self::new(local);
        agent.current.remote = remote_ufrag.map(|ufrag| Remote {
            ufrag: ufrag.to_owned(),
            password: remote_password.map(|password| Secret::new(password.to_owned())),
        });
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

    /// Takes the other side's credentials from its SDP. Returns the address to use from now on if a
    /// nomination came before.
    pub fn set_remote(&mut self, ufrag: &str, password: &str) -> Option<SocketAddr> {
        let password = Some(Secret::new(password.to_owned()));
        self.current.remote = Some(Remote { ufrag: ufrag.to_owned(), password });
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

    /// Says what media knows about the path to the nominated address.
    pub fn set_path(&mut self, path: Path) {
        self.path = path;
        if path == Path::Alive {
            self.questions.retain(|question| question.about == About::Elsewhere);
        }
    }

    /// Handles a STUN datagram: a check, or an answer to a probe. `out` receives the response and
    /// needs [`crate::wire::stun::RESPONSE_BYTES_MAX`] bytes. Nothing changes unless the message is
    /// authentic and the response a success. [`Agent::poll_probe`] is due afterwards.
    pub fn handle(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
        random: &mut Random,
        out: &mut [u8],
    ) -> Result<Outcome, Discard> {
        let message = Message::parse(datagram)?;
        if matches!(message.class, Class::Success | Class::Error) {
            return self.handle_answer(&message, from, now);
        }
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
            remote_ufrag: generation.remote.as_ref().map(|remote| remote.ufrag.as_str()),
        };
        let answer = check::answer(&message, &expected, from, out)?;
        let event = match answer.verdict {
            Verdict::Refused(_) => None,
            Verdict::Success => {
                self.last_check = Some(now);
                let newly_validated = self.validate(from);
                let nominated = message.use_candidate && self.nominate(is_current, from, remote);
                if !nominated {
                    self.wonder(&message, from, now, random);
                }
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

    /// Whether media must now go elsewhere: at once only to the first address, or where the other
    /// side cannot be asked.
    fn nominate(&mut self, is_current: bool, address: SocketAddr, remote: &[u8]) -> bool {
        if is_current && self.current.remote.is_none() {
            self.current.early = Some((address, remote.to_vec()));
            return false;
        }
        if self.nominated.is_some() && self.asked().is_some() {
            return false;
        }
        self.nominated.replace(address) != Some(address)
    }

    /// What an authentic check says about where the other side is, once there is a nomination.
    fn wonder(&mut self, check: &Message<'_>, from: SocketAddr, now: Instant, random: &mut Random) {
        let Some(nominated) = self.nominated.filter(|_| self.asked().is_some()) else { return };
        if from == nominated {
            let is_chosen = check.use_candidate;
            self.questions.retain(|question| question.about == About::Elsewhere && !is_chosen);
            return;
        }
        if self.questions.iter().any(|question| question.probe.to == from) {
            return;
        }
        if check.use_candidate || self.path == Path::Silent {
            let id = TransactionId(random.random());
            let probe = Probe::new(from, ASKED_ELSEWHERE, id, now);
            return self.ask(Question { probe, about: About::Elsewhere }, now);
        }
        for question in &mut self.questions {
            if let About::Nominated { elsewhere, .. } = &mut question.about {
                *elsewhere = from;
                return;
            }
        }
        let rests = self.rests_until.is_some_and(|until| now < until);
        if !rests && self.path == Path::Unknown {
            let (id, id_next) = (random.random(), TransactionId(random.random()));
            let probe = Probe::new(nominated, ASKED_NOMINATED, TransactionId(id), now);
            let about = About::Nominated { elsewhere: from, id_next };
            self.ask(Question { probe, about }, now);
        }
    }

    fn handle_answer(
        &mut self,
        answer: &Message<'_>,
        from: SocketAddr,
        now: Instant,
    ) -> Result<Outcome, Discard> {
        let password = self.current.remote.as_ref().and_then(|remote| remote.password.as_ref());
        let answered = self.questions.iter().position(|question| {
            password.is_some_and(|password| question.probe.is_answered_by(answer, from, password))
        });
        let question = self.questions.remove(answered.ok_or(Discard::BadStun)?);
        let event = match question.about {
            About::Nominated { .. } => {
                self.rests_until = Some(now + REST);
                None
            }
            About::Elsewhere => {
                self.path = Path::Unknown;
                (self.nominated.replace(from) != Some(from)).then_some(Event::Nominated(from))
            }
        };
        Ok(Outcome { length: 0, event })
    }

    /// How probes are addressed; `None` while the other side's credentials are not known.
    fn asked(&self) -> Option<Asked> {
        let remote = self.current.remote.as_ref()?;
        let username = format!("{}:{}", remote.ufrag, self.current.local.ufrag);
        Some(Asked { username, password: remote.password.clone()? })
    }

    /// Asks, and gives up the oldest question where there are too many.
    fn ask(&mut self, question: Question, now: Instant) {
        if self.questions.len() == QUESTIONS_MAX {
            self.questions.remove(0);
        }
        self.questions.push(question);
        self.handle_timeout(now);
    }

    /// The next probe to send; to be called until `None` after every other call.
    pub fn poll_probe(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    /// When [`Agent::handle_timeout`] has work.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.questions.iter().map(|question| question.probe.due()).min()
    }

    /// Asks again, or draws the conclusion of having had no answer.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(asked) = self.asked() else { return };
        let mut questions = std::mem::take(&mut self.questions);
        for question in &mut questions {
            if question.probe.is_over(now)
                && let About::Nominated { elsewhere, id_next } = question.about
            {
                let probe = Probe::new(elsewhere, ASKED_ELSEWHERE, id_next, now);
                *question = Question { probe, about: About::Elsewhere };
            }
            let datagram = question.probe.send(&asked, now);
            self.outgoing.extend(datagram.map(|datagram| (question.probe.to, datagram)));
        }
        let asked_before = questions.len();
        questions.retain(|question| !question.probe.is_over(now));
        if questions.len() < asked_before {
            self.rests_until = Some(now + REST);
        }
        self.questions = questions;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;
    use crate::wire::stun::{
        BindingRequest, RESPONSE_BYTES_MAX, Role, write_binding_request, write_binding_success,
    };

    const THEIR_PASSWORD: &str = "ZM3aZzdTZpOBwdZ07yujJMlz";

    /// A browser that checks an agent.
    struct Browser {
        agent: Agent,
        now: Instant,
        random: Random,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Use {
        Check,
        Nominate,
    }

    impl Browser {
        fn new() -> Self {
            let local = Credentials::generate(&mut random::from_seed(5));
            Self { agent: Agent::new(local), now: Instant::now(), random: random::from_seed(1) }
        }

        /// One whose leg knows its credentials and is nominated at home.
        fn nominated_at(address: &str) -> (Self, Credentials) {
            let mut browser = Self::new();
            let local = browser.agent.local().clone();
            browser.agent.set_remote("them", THEIR_PASSWORD);
            assert_eq!(browser.send(&local, "them", address, Use::Nominate), nominated(address));
            (browser, local)
        }

        /// Answers the probes that were sent to these addresses, with this password. What came of
        /// it, and where probes went.
        fn answer(&mut self, at: &[&str], password: &str) -> (Option<Event>, Vec<String>) {
            let (mut event, mut probed) = (None, Vec::new());
            while let Some((to, probe)) = self.agent.poll_probe() {
                probed.push(to.to_string());
                if !at.contains(&to.to_string().as_str()) {
                    continue;
                }
                let request = Message::parse(&probe).unwrap();
                assert_eq!(request.verify_integrity(THEIR_PASSWORD.as_bytes()), Ok(()));
                assert!(!request.use_candidate);
                let mut answer = [0; RESPONSE_BYTES_MAX];
                let key = password.as_bytes();
                let length = write_binding_success(&mut answer, &request, to, key).unwrap();
                let answer = &answer[..length];
                let (agent, random) = (&mut self.agent, &mut self.random);
                let handled = agent.handle(answer, to, self.now, random, &mut []);
                event = event.or(handled.ok().and_then(|outcome| outcome.event));
            }
            (event, probed)
        }

        /// Lets time pass while somebody at these addresses answers. What came of it, and how many
        /// probes went where.
        fn pass(&mut self, seconds: u64, at: &[&str]) -> (Option<Event>, Vec<String>) {
            let end = self.now + Duration::from_secs(seconds);
            let (mut event, mut probed) = self.answer(at, THEIR_PASSWORD);
            while let Some(due) = self.agent.next_timeout().filter(|due| *due <= end) {
                self.now = due;
                self.agent.handle_timeout(due);
                let (came, went) = self.answer(at, THEIR_PASSWORD);
                event = event.or(came);
                probed.extend(went);
            }
            self.now = end;
            (event, probed)
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
            let (agent, random) = (&mut self.agent, &mut self.random);
            let outcome = agent.handle(&check[..length], from, self.now, random, &mut out)?;
            let response = Message::parse(&out[..outcome.length]).unwrap();
            assert_eq!(response.class, Class::Success);
            assert_eq!(response.verify_integrity(key), Ok(()));
            Ok(outcome.event)
        }
    }

    const WIFI: &str = "192.0.2.1:1000";
    const MOBILE: &str = "198.51.100.1:2000";
    const RELAY: &str = "198.51.100.2:3000";
    const WIFI_AGAIN: &str = "192.0.2.1:1001";
    const STRANGER: &str = "203.0.113.66:6666";

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
        assert_eq!(browser.agent.set_remote("them", THEIR_PASSWORD), None);
        assert_eq!(browser.send(&local, "them", WIFI, Use::Check), validated(WIFI));
        assert_eq!(browser.agent.nominated(), None);
        assert_eq!(browser.send(&local, "them", WIFI, Use::Nominate), nominated(WIFI));
        assert_eq!(browser.send(&local, "them", WIFI, Use::Nominate), Ok(None));
        assert_eq!(browser.send(&local, "them", MOBILE, Use::Check), validated(MOBILE));
        assert_eq!(browser.send(&local, "them", MOBILE, Use::Nominate), Ok(None));
        // The Wi-Fi is still there: that is no reason to stay.
        assert_eq!(Ok(browser.pass(1, &[WIFI, MOBILE]).0), nominated(MOBILE));
        assert_eq!(browser.agent.nominated(), Some(MOBILE.parse().unwrap()));
        assert_eq!(browser.agent.last_check(), Some(browser.now - Duration::from_secs(1)));
    }

    #[test]
    fn of_two_nominations_in_a_row_the_last_is_followed() {
        let (mut browser, local) = Browser::nominated_at(WIFI);
        for address in [MOBILE, RELAY] {
            browser.send(&local, "them", address, Use::Nominate).unwrap();
        }
        browser.pass(1, &[WIFI, MOBILE, RELAY]);
        assert_eq!(browser.agent.nominated(), Some(RELAY.parse().unwrap()));
    }

    #[test]
    fn plain_checks_from_elsewhere_are_followed_when_nobody_is_left_at_the_nominated_address() {
        let (mut browser, local) = Browser::nominated_at(WIFI);
        // A NAT's new mapping: consent checks as before, from another port.
        assert_eq!(browser.send(&local, "them", WIFI_AGAIN, Use::Check), validated(WIFI_AGAIN));
        let (event, probed) = browser.pass(2, &[WIFI_AGAIN]);
        assert_eq!(Ok(event), nominated(WIFI_AGAIN));
        assert_eq!(probed, [WIFI, WIFI, WIFI, WIFI, WIFI_AGAIN]);
        assert_eq!(browser.agent.next_timeout(), None);
    }

    #[test]
    fn a_path_that_is_kept_warm_moves_nothing_while_the_nominated_one_lives() {
        let (mut browser, local) = Browser::nominated_at(WIFI);
        let mut probes = 0;
        for _ in 0..100 {
            browser.send(&local, "them", MOBILE, Use::Check).unwrap();
            let (event, probed) = browser.pass(1, &[WIFI, MOBILE]);
            assert_eq!(event, None);
            assert!(probed.iter().all(|to| to == WIFI), "{probed:?}");
            probes += probed.len();
        }
        assert!(probes <= 20, "{probes} probes in 100 s");
        assert_eq!(browser.agent.nominated(), Some(WIFI.parse().unwrap()));
    }

    #[test]
    fn one_lost_probe_is_no_silence() {
        let (mut browser, local) = Browser::nominated_at(WIFI);
        browser.send(&local, "them", MOBILE, Use::Check).unwrap();
        // The first two are lost.
        browser.answer(&[], THEIR_PASSWORD);
        browser.now = browser.agent.next_timeout().unwrap();
        browser.agent.handle_timeout(browser.now);
        browser.answer(&[], THEIR_PASSWORD);
        assert_eq!(browser.pass(3, &[WIFI, MOBILE]).0, None);
        assert_eq!(browser.agent.nominated(), Some(WIFI.parse().unwrap()));
    }

    #[test]
    fn an_old_check_sent_again_by_a_stranger_moves_nothing() {
        for how in [Use::Check, Use::Nominate] {
            let (mut browser, local) = Browser::nominated_at(WIFI);
            for _ in 0..30 {
                browser.send(&local, "them", STRANGER, how).unwrap();
                // The stranger hears the probes and cannot answer them, nor can anybody else.
                let (event, _) = browser.answer(&[STRANGER], "a guess at the password");
                assert_eq!(event, None);
                assert_eq!(browser.pass(1, &[WIFI]).0, None);
            }
            assert_eq!(browser.agent.nominated(), Some(WIFI.parse().unwrap()));
            // Nor when the browser is gone.
            browser.send(&local, "them", STRANGER, how).unwrap();
            assert_eq!(browser.pass(10, &[]).0, None);
            assert_eq!(browser.agent.nominated(), Some(WIFI.parse().unwrap()));
        }
    }

    #[test]
    fn an_answer_from_another_address_than_was_asked_is_none() {
        let (mut browser, local) = Browser::nominated_at(WIFI);
        browser.send(&local, "them", STRANGER, Use::Nominate).unwrap();
        let (_, probe) = browser.agent.poll_probe().unwrap();
        let request = Message::parse(&probe).unwrap();
        let (mobile, mut answer) = (MOBILE.parse().unwrap(), [0; RESPONSE_BYTES_MAX]);
        let key = THEIR_PASSWORD.as_bytes();
        let length = write_binding_success(&mut answer, &request, mobile, key).unwrap();
        let (agent, random) = (&mut browser.agent, &mut browser.random);
        let handled = agent.handle(&answer[..length], mobile, browser.now, random, &mut []);
        assert_eq!(handled, Err(Discard::BadStun));
        assert_eq!(agent.nominated(), Some(WIFI.parse().unwrap()));
    }

    #[test]
    fn what_media_knows_of_the_path_spares_the_question() {
        let (mut browser, local) = Browser::nominated_at(WIFI);
        browser.agent.set_path(Path::Alive);
        browser.send(&local, "them", MOBILE, Use::Check).unwrap();
        assert_eq!(browser.pass(3, &[MOBILE]), (None, vec![]));
        browser.agent.set_path(Path::Silent);
        browser.send(&local, "them", MOBILE, Use::Check).unwrap();
        let (event, probed) = browser.pass(3, &[WIFI, MOBILE]);
        assert_eq!((Ok(event), probed), (nominated(MOBILE), vec![MOBILE.to_owned()]));
    }

    #[test]
    fn questions_are_bounded() {
        let (mut browser, local) = Browser::nominated_at(WIFI);
        for port in 1..100 {
            let from = format!("203.0.113.1:{port}");
            browser.send(&local, "them", &from, Use::Nominate).unwrap();
        }
        assert_eq!(browser.agent.questions.len(), QUESTIONS_MAX);
        browser.pass(5, &[]);
        assert_eq!(browser.agent.next_timeout(), None);
    }

    #[test]
    fn a_check_that_is_not_authentic_changes_nothing() {
        let mut browser = Browser::new();
        let local = browser.agent.local().clone();
        browser.agent.set_remote("them", THEIR_PASSWORD);
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
        assert_eq!(browser.agent.set_remote("them", THEIR_PASSWORD), Some(WIFI.parse().unwrap()));
        assert_eq!(browser.agent.nominated(), Some(WIFI.parse().unwrap()));
        assert_eq!(browser.send(&local, "other", WIFI, Use::Check), Err(Discard::BadIntegrity));
    }

    #[test]
    fn an_early_nomination_by_somebody_else_is_dropped() {
        let mut browser = Browser::new();
        let local = browser.agent.local().clone();
        assert_eq!(browser.send(&local, "other", WIFI, Use::Nominate), validated(WIFI));
        assert_eq!(browser.agent.set_remote("them", THEIR_PASSWORD), None);
        assert_eq!(browser.agent.nominated(), None);
    }

    #[test]
    fn old_credentials_work_until_a_check_succeeds_on_new_ones() {
        let mut browser = Browser::new();
        let old = browser.agent.local().clone();
        browser.agent.set_remote("them", THEIR_PASSWORD);
        assert_eq!(browser.send(&old, "them", WIFI, Use::Nominate), nominated(WIFI));

        let new = Credentials::generate(&mut random::from_seed(7));
        browser.agent.restart(new.clone());
        assert_eq!(browser.agent.local(), &new);
        assert_eq!(browser.agent.local_before_restart(), Some(&old));
        assert_eq!(browser.agent.nominated(), Some(WIFI.parse().unwrap()));
        assert_eq!(browser.send(&old, "them", WIFI, Use::Check), Ok(None));

        assert_eq!(browser.agent.set_remote("again", THEIR_PASSWORD), None);
        assert_eq!(browser.send(&new, "again", MOBILE, Use::Nominate), validated(MOBILE));
        assert_eq!(Ok(browser.answer(&[MOBILE], THEIR_PASSWORD).0), nominated(MOBILE));
        assert_eq!(browser.agent.local_before_restart(), None);
        assert_eq!(browser.send(&old, "them", WIFI, Use::Nominate), Err(Discard::BadIntegrity));
        assert_eq!(browser.agent.nominated(), Some(MOBILE.parse().unwrap()));
    }

    #[test]
    fn a_second_restart_keeps_the_credentials_that_worked() {
        let mut browser = Browser::new();
        let old = browser.agent.local().clone();
        browser.agent.set_remote("them", THEIR_PASSWORD);
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
        for password in [Some(THEIR_PASSWORD), None] {
            browser.agent = Agent::resume(local.clone(), Some("them"), password, Some(wifi));
            assert!(browser.agent.is_validated(wifi));
            let other = browser.send(&local, "other", WIFI, Use::Check);
            assert_eq!(other, Err(Discard::BadIntegrity));
            assert_eq!(browser.send(&local, "them", WIFI, Use::Nominate), Ok(None));
            let moved = browser.send(&local, "them", MOBILE, Use::Nominate);
            if password.is_some() {
                assert_eq!(moved, validated(MOBILE));
                assert_eq!(Ok(browser.answer(&[MOBILE], THEIR_PASSWORD).0), nominated(MOBILE));
            } else {
                // Nobody can be asked.
                assert_eq!(moved, nominated(MOBILE));
            }
        }
    }

    #[test]
    fn only_the_last_addresses_stay_validated() {
        let mut browser = Browser::new();
        let local = browser.agent.local().clone();
        browser.agent.set_remote("them", THEIR_PASSWORD);
        assert_eq!(browser.send(&local, "them", WIFI, Use::Check), validated(WIFI));
        for port in 1..=VALIDATED_ADDRESSES_MAX {
            let from = format!("203.0.113.1:{port}");
            assert_eq!(browser.send(&local, "them", &from, Use::Check), validated(&from));
        }
        assert!(!browser.agent.is_validated(WIFI.parse().unwrap()));
        assert!(browser.agent.is_validated("203.0.113.1:1".parse().unwrap()));
    }
}
