//! The client's half of the control protocol, sans-IO: take control of the media process, list the
//! calls it holds, then give commands and tell whose reply has come.
//!
//! ```text
//! connected → greeting → take_control → list_calls (page by page) → ready → … → lost
//! ```
//!
//! In: lines and the loss of the connection. Out: lines to send, [`Report`]s. Connecting, and doing
//! so again with back-off, is the shell's; what a reply means is the call's.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::{debug, error, info, warn};

use crate::control::codec::{FromMedia, read_from_media, write_request};
use crate::control::message::{
    CallCreated, CallList, CallName, CallStatistics, Command, ControlError, CreateCall, DeleteCall,
    ErrorCode, Event, ExchangeLegs, Greeting, LegChange, LegsExchanged, ListCalls, ListedCall,
    LoadAudio, PROTOCOL, SendDigit, Side, TakeControl,
};
use crate::sip::transaction::ServerTransactionId;
use crate::wire::sip::Response;

/// Requests waiting for their replies. Media answers at once and in order; this many unanswered
/// mean that it has stopped, so the connection is given up.
const WAITING_MAX: usize = 16 * 1024;
/// Between two attempts to take control while our predecessor's connection lingers.
const TAKE_CONTROL_AGAIN: Duration = Duration::from_millis(50);

/// What has come of a command, or of media itself.
#[derive(Debug)]
pub enum Report {
    /// We are in control of a media process of this generation. Its calls follow in
    /// [`Report::Listed`], then [`Report::Ready`].
    Controlling {
        /// Random, new with every start of the media process.
        generation: String,
    },
    /// Calls that media holds.
    Listed(Vec<ListedCall>),
    /// What `load_audio` was asked for is there, or why it is not.
    Loaded(Result<(), ControlError>),
    /// Every call has been listed; commands are taken from now on.
    Ready,
    /// The connection is gone; its unanswered requests were reported as refused before.
    Lost,
    /// The outcome of `create_call`.
    Created {
        /// The call.
        call: CallName,
        /// Where its legs are reached, or why there is no call.
        result: Result<CallCreated, ControlError>,
    },
    /// An `update_leg` had no reply before the connection was lost: media may not have heard it.
    Untold {
        /// The call.
        call: CallName,
        /// The leg that was to change.
        leg: Side,
        /// How.
        change: Box<LegChange>,
    },
    /// An `update_leg` was refused.
    Refused {
        /// The call.
        call: CallName,
        /// The leg that the command named.
        leg: Side,
        /// Why.
        error: ControlError,
    },
    /// A digit was sent out of a leg, or was not.
    Pressed {
        /// The request that asked for it.
        transaction: ServerTransactionId,
        /// The response to it if the digit was sent.
        ok: Box<Response>,
        /// Whether it was.
        is_sent: bool,
    },
    /// Two calls have changed legs with one another, or have not.
    Exchanged {
        /// What was asked.
        exchange: Box<ExchangeLegs>,
        /// What they were until then, or why it was refused; `None`: the connection was lost before the
        /// reply, and it may have been done.
        result: Option<Result<Box<LegsExchanged>, ControlError>>,
    },
    /// The call is gone from media.
    Deleted {
        /// The call.
        call: CallName,
        /// Its final statistics, unless media did not know it.
        statistics: Option<Box<CallStatistics>>,
    },
    /// Media speaks of itself.
    Event(Event),
}

/// Why a line ended the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Not a line of the protocol.
    Garbage(String),
    /// Another product, or another version of the protocol.
    Protocol(String),
    /// Too many requests are unanswered.
    Unanswered,
}

/// Media is not there: not connected, or its calls are still being listed.
#[derive(Debug, PartialEq, Eq)]
pub struct Away;

#[derive(Debug)]
enum State {
    /// No connection.
    Away,
    /// Connected; the first line must be the greeting.
    AwaitingGreeting,
    /// `take_control` was asked, or waits until `again`.
    TakingControl { generation: String, again: Option<Instant> },
    /// `list_calls` was asked.
    Listing,
    /// Commands are taken.
    Ready,
}

/// What an unanswered request was for.
#[derive(Debug)]
enum Purpose {
    TakeControl,
    ListCalls,
    Create(CallName),
    Change(CallName, Side, Box<LegChange>),
    Exchange(Box<ExchangeLegs>),
    Load,
    Delete(CallName),
    Digit(ServerTransactionId, Box<Response>),
    /// Nobody waits for the outcome; a refusal is logged.
    Unattended(&'static str),
}

/// The client.
#[derive(Debug)]
pub struct ControlClient {
    state: State,
    next_id: u64,
    waiting: BTreeMap<u64, Purpose>,
    lines: VecDeque<String>,
    reports: VecDeque<Report>,
    last_event: u64,
}

impl Default for ControlClient {
    fn default() -> Self {
        Self {
            state: State::Away,
            next_id: 1,
            waiting: BTreeMap::new(),
            lines: VecDeque::new(),
            reports: VecDeque::new(),
            last_event: 0,
        }
    }
}

impl ControlClient {
    /// Whether commands are taken.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// The socket is connected.
    pub fn connected(&mut self) {
        self.state = State::AwaitingGreeting;
        self.last_event = 0;
    }

    /// The socket is gone: whoever waits for a reply hears that there is none.
    pub fn lost(&mut self) {
        if matches!(self.state, State::Away) {
            return;
        }
        self.state = State::Away;
        self.lines.clear();
        for (_, purpose) in std::mem::take(&mut self.waiting) {
            match purpose {
                Purpose::Create(call) => {
                    self.reports.push_back(Report::Created { call, result: Err(away()) });
                }
                Purpose::Exchange(exchange) => {
                    self.reports.push_back(Report::Exchanged { exchange, result: None });
                }
                Purpose::Delete(call) => {
                    self.reports.push_back(Report::Deleted { call, statistics: None });
                }
                Purpose::Change(call, leg, change) => {
                    self.reports.push_back(Report::Untold { call, leg, change });
                }
                Purpose::Digit(transaction, ok) => {
                    self.reports.push_back(Report::Pressed { transaction, ok, is_sent: false });
                }
                // The next connection asks for it again.
                Purpose::Load => {}
                Purpose::TakeControl | Purpose::ListCalls | Purpose::Unattended(_) => {}
            }
        }
        self.reports.push_back(Report::Lost);
    }

    /// Takes one line. An error means that the connection is of no use and must be closed.
    pub fn handle_line(&mut self, line: &str, now: Instant) -> Result<(), Unusable> {
        if matches!(self.state, State::AwaitingGreeting) {
            return self.greeted(line);
        }
        let garbage = |error: serde_json::Error| Unusable::Garbage(error.to_string());
        match read_from_media(line).map_err(garbage)? {
            FromMedia::Reply { id, result } => {
                let purpose = id.and_then(|id| self.waiting.remove(&id)).ok_or_else(|| {
                    Unusable::Garbage(format!("a reply to a request never made: {id:?}"))
                })?;
                self.replied(purpose, result, now)
            }
            FromMedia::Event { sequence, event } => {
                if sequence > self.last_event + 1 {
                    warn!(missing = sequence - self.last_event - 1, "media events were lost");
                }
                self.last_event = sequence;
                self.reports.push_back(Report::Event(event));
                Ok(())
            }
            FromMedia::UnknownEvent => Ok(()),
        }
    }

    fn greeted(&mut self, line: &str) -> Result<(), Unusable> {
        let greeting: Greeting = serde_json::from_str(line)
            .map_err(|error| Unusable::Garbage(format!("no greeting: {error}")))?;
        if greeting.product != "linecard" || greeting.protocol != PROTOCOL {
            return Err(Unusable::Protocol(format!(
                "{} speaks protocol {}, we speak linecard's {PROTOCOL}: start media and signal \
                 from the same version",
                greeting.product, greeting.protocol
            )));
        }
        self.state = State::TakingControl { generation: greeting.generation, again: None };
        self.send(&TakeControl::default().into(), Purpose::TakeControl)
    }

    fn replied(
        &mut self,
        purpose: Purpose,
        result: Result<Value, ControlError>,
        now: Instant,
    ) -> Result<(), Unusable> {
        match purpose {
            Purpose::TakeControl => {
                let State::TakingControl { generation, again } = &mut self.state else {
                    return Ok(());
                };
                match result {
                    Ok(_) => {
                        let generation = std::mem::take(generation);
                        info!(generation, "in control of the media process");
                        self.reports.push_back(Report::Controlling { generation });
                        self.state = State::Listing;
                        let from_the_first = ListCalls::default().into();
                        self.send(&from_the_first, Purpose::ListCalls)?;
                    }
                    Err(error) if error.code == ErrorCode::ControlledElsewhere => {
                        debug!("another connection still controls the media process");
                        *again = Some(now + TAKE_CONTROL_AGAIN);
                    }
                    Err(error) => return Err(Unusable::Protocol(error.message)),
                }
            }
            Purpose::ListCalls => {
                let list: CallList = result_of(result, "list_calls")?;
                let after = list.calls.last().map(|listed| listed.call.clone());
                self.reports.push_back(Report::Listed(list.calls));
                match (list.more, after) {
                    (true, Some(after)) => {
                        let next_page = ListCalls { after: Some(after) }.into();
                        self.send(&next_page, Purpose::ListCalls)?;
                    }
                    _ => {
                        self.state = State::Ready;
                        self.reports.push_back(Report::Ready);
                    }
                }
            }
            Purpose::Create(call) => {
                let result = answer_of(result, "create_call")?;
                self.reports.push_back(Report::Created { call, result });
            }
            Purpose::Change(call, leg, _) => {
                if let Err(error) = result {
                    self.reports.push_back(Report::Refused { call, leg, error });
                }
            }
            Purpose::Exchange(exchange) => {
                let result = answer_of(result, "exchange_legs")?;
                self.reports.push_back(Report::Exchanged { exchange, result: Some(result) });
            }
            Purpose::Digit(transaction, ok) => {
                let is_sent = result.is_ok();
                self.reports.push_back(Report::Pressed { transaction, ok, is_sent });
            }
            Purpose::Load => self.reports.push_back(Report::Loaded(result.map(|_| ()))),
            Purpose::Delete(call) => {
                let statistics = result.ok().and_then(|value| serde_json::from_value(value).ok());
                self.reports.push_back(Report::Deleted { call, statistics });
            }
            Purpose::Unattended(command) => {
                if let Err(error) = result {
                    debug!(command, code = ?error.code, message = error.message, "refused");
                }
            }
        }
        Ok(())
    }

    /// Asks for a call; [`Report::Created`] follows unless this fails.
    pub fn create_call(&mut self, arguments: CreateCall) -> Result<(), Away> {
        let purpose = Purpose::Create(arguments.call.clone());
        self.command(&arguments.into(), purpose)
    }

    /// Changes a leg. Only a refusal is reported, and the change itself when it may not have been heard;
    /// one that cannot be told now is given back.
    pub fn change_leg(
        &mut self,
        call: &CallName,
        leg: Side,
        change: LegChange,
    ) -> Result<(), Box<LegChange>> {
        let command = change.clone().of(call.clone(), leg).into();
        let change = Box::new(change);
        let purpose = Purpose::Change(call.clone(), leg, change.clone());
        self.command(&command, purpose).map_err(|Away| change)
    }

    /// Lets two calls change legs; [`Report::Exchanged`] follows unless this fails.
    pub fn exchange_legs(&mut self, exchange: ExchangeLegs) -> Result<(), Away> {
        let command = exchange.clone().into();
        self.command(&command, Purpose::Exchange(Box::new(exchange)))
    }

    /// Has audio read, to be played later; [`Report::Loaded`] follows unless this fails.
    pub fn load_audio(&mut self, audio: LoadAudio) -> Result<(), Away> {
        self.command(&audio.into(), Purpose::Load)
    }

    /// Ends a call; [`Report::Deleted`] follows unless this fails.
    pub fn delete_call(&mut self, call: &CallName) -> Result<(), Away> {
        let command = DeleteCall { call: call.clone() };
        self.command(&command.into(), Purpose::Delete(call.clone()))
    }

    /// Sends a digit for a request, which [`Report::Pressed`] answers.
    pub fn send_digit(
        &mut self,
        digit: SendDigit,
        transaction: ServerTransactionId,
        ok: Response,
    ) -> Result<(), Away> {
        self.command(&digit.into(), Purpose::Digit(transaction, Box::new(ok)))
    }

    /// Gives a command whose outcome changes nothing.
    pub fn unattended(&mut self, command: &Command) -> Result<(), Away> {
        self.command(command, Purpose::Unattended(command.name()))
    }

    fn command(&mut self, command: &Command, purpose: Purpose) -> Result<(), Away> {
        if !self.is_ready() {
            return Err(Away);
        }
        self.send(command, purpose).map_err(|_| {
            error!("the media process stopped answering");
            self.lost();
            Away
        })
    }

    fn send(&mut self, command: &Command, purpose: Purpose) -> Result<(), Unusable> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(Unusable::Unanswered);
        }
        let before = self.waiting.insert(self.next_id, purpose);
        debug_assert!(before.is_none(), "an id is given once");
        self.lines.push_back(write_request(self.next_id, command));
        self.next_id += 1;
        Ok(())
    }

    /// The next line to send, without its line end.
    pub fn poll_line(&mut self) -> Option<String> {
        self.lines.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::TakingControl { again, .. } => *again,
            _ => None,
        }
    }

    /// Asks for control again.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let State::TakingControl { again, .. } = &mut self.state
            && again.is_some_and(|at| at <= now)
        {
            *again = None;
            // Nothing else is waiting in this state, so the bound cannot be met.
            let _ = self.send(&TakeControl::default().into(), Purpose::TakeControl);
        }
    }
}

fn away() -> ControlError {
    ControlError::new(ErrorCode::SystemRefused, "the media process is not there")
}

/// What was answered, or why it was refused.
fn answer_of<T: serde::de::DeserializeOwned>(
    result: Result<Value, ControlError>,
    command: &str,
) -> Result<Result<T, ControlError>, Unusable> {
    match result {
        Ok(_) => result_of(result, command).map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

fn result_of<T: serde::de::DeserializeOwned>(
    result: Result<Value, ControlError>,
    command: &str,
) -> Result<T, Unusable> {
    let value =
        result.map_err(|error| Unusable::Garbage(format!("{command}: {}", error.message)))?;
    serde_json::from_value(value).map_err(|error| Unusable::Garbage(format!("{command}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::codec::{read_request, write_event, write_reply};

    fn greeting(protocol: u32) -> String {
        let generation = "first".to_owned();
        let greeting = Greeting { protocol, generation, ..Greeting::of_this_version() };
        serde_json::to_string(&greeting).unwrap()
    }

    /// Takes the next request and answers it.
    fn answer(
        client: &mut ControlClient,
        result: Result<Value, ControlError>,
        now: Instant,
    ) -> Command {
        let request = read_request(&client.poll_line().unwrap()).unwrap();
        client.handle_line(&write_reply(Some(request.id), &result), now).unwrap();
        request.command
    }

    fn list(more: bool) -> Value {
        let listed = serde_json::json!({
            "call": "one", "blob": "", "thread": 0,
            "a": { "rtp": "127.0.0.1:1", "rtcp": "127.0.0.1:2" },
            "b": { "rtp": "127.0.0.1:3", "rtcp": "127.0.0.1:4" },
        });
        serde_json::json!({ "calls": [listed], "more": more })
    }

    fn ready(now: Instant) -> ControlClient {
        let mut client = ControlClient::default();
        client.connected();
        client.handle_line(&greeting(PROTOCOL), now).unwrap();
        answer(&mut client, Ok(Value::Null), now);
        answer(&mut client, Ok(serde_json::to_value(CallList::default()).unwrap()), now);
        while client.poll_report().is_some() {}
        assert!(client.is_ready());
        client
    }

    #[test]
    fn control_is_asked_for_until_the_predecessor_lets_go_and_every_page_is_listed() {
        let mut now = Instant::now();
        let mut client = ControlClient::default();
        client.connected();
        client.handle_line(&greeting(PROTOCOL), now).unwrap();
        let elsewhere = ControlError::new(ErrorCode::ControlledElsewhere, "not yet");
        let take_control = Command::from(TakeControl::default());
        assert_eq!(answer(&mut client, Err(elsewhere), now), take_control);
        assert!(client.poll_line().is_none());
        now = client.next_timeout().unwrap();
        client.handle_timeout(now);
        answer(&mut client, Ok(Value::Null), now);
        assert!(matches!(client.poll_report(), Some(Report::Controlling { .. })));
        answer(&mut client, Ok(list(true)), now);
        let next_page = Command::from(ListCalls { after: Some(CallName::from("one")) });
        assert!(!client.is_ready());
        assert_eq!(answer(&mut client, Ok(list(false)), now), next_page);
        assert!(matches!(client.poll_report(), Some(Report::Listed(_))));
        assert!(matches!(client.poll_report(), Some(Report::Listed(_))));
        assert!(matches!(client.poll_report(), Some(Report::Ready)));
    }

    #[test]
    fn another_protocol_is_refused_by_name() {
        let mut client = ControlClient::default();
        for protocol in [PROTOCOL - 1, PROTOCOL + 1] {
            client.connected();
            let refused = client.handle_line(&greeting(protocol), Instant::now());
            let Err(Unusable::Protocol(message)) = refused else { panic!("{refused:?}") };
            assert!(message.contains(&format!("speaks protocol {protocol}")), "{message}");
        }
    }

    #[test]
    fn who_waits_for_a_reply_hears_that_the_connection_is_gone() {
        let mut client = ready(Instant::now());
        client.delete_call(&CallName::from("one")).unwrap();
        let change =
            || LegChange { remote_ufrag: Some("theirs".to_owned()), ..LegChange::default() };
        client.change_leg(&CallName::from("two"), Side::B, change()).unwrap();
        client.lost();
        let report = client.poll_report();
        assert!(matches!(report, Some(Report::Deleted { statistics: None, .. })), "{report:?}");
        let Some(Report::Untold { leg: Side::B, change: untold, .. }) = client.poll_report() else {
            panic!("it may not have been heard")
        };
        assert_eq!(*untold, change());
        assert!(matches!(client.poll_report(), Some(Report::Lost)));
        let again = client.change_leg(&CallName::from("two"), Side::B, change());
        assert_eq!(again, Err(Box::new(change())), "given back");
        assert_eq!(client.delete_call(&CallName::from("one")), Err(Away));
    }

    #[test]
    fn garbage_and_replies_to_nothing_end_the_connection() {
        let now = Instant::now();
        for line in ["", "[", "{\"id\":7,\"result\":{}}"] {
            assert!(ready(now).handle_line(line, now).is_err(), "{line}");
        }
    }

    #[test]
    fn an_event_of_an_unknown_kind_is_ignored() {
        let now = Instant::now();
        let mut client = ready(now);
        client.handle_line("{\"event\":\"new_in_version_9\",\"sequence\":1}", now).unwrap();
        assert!(client.poll_report().is_none());
        let event = Event::MediaStarted { call: CallName::from("one"), leg: Side::A };
        client.handle_line(&write_event(2, &event), now).unwrap();
        assert!(matches!(client.poll_report(), Some(Report::Event(_))));
    }
}
