//! The registry without a core: what it asks, whom it answers, what it does about a core that does not.

use serde_json::{Value, json};

use super::*;
use crate::config::PortRange;
use crate::control::message::{
    CallStatistics, CreateCall, DeleteCall, ExchangeLegs, Format, ListCalls, Outcome, QueryCall,
    QueryProcess, ReplaceLeg, Side, Snapshot, UpdateLeg,
};
use crate::control::samples;
use crate::media::channel::{CallKey, withdrawn};
use crate::media::front::json::{self, Front};

const KEY: CallKey = CallKey { place: 0, generation: 1 };
const CONTROLLER: Client = 1;
const OTHER: Client = 2;

/// A registry of one core that is played by the test.
struct Alone {
    registry: Registry,
    now: Instant,
    next_ticket: u64,
}

impl Alone {
    fn new() -> Self {
        let now = Instant::now();
        let browser = ([192, 0, 2, 10], 40_000).into();
        let description = ThreadDescription { thread: 0, core: 0, browser };
        let bind = |address, _| Ok(BoundSocket::made_up(address));
        let range = PortRange { first: 30_000, last: 30_199 };
        let ports = PortPool::new(browser.ip(), range, (0, 1), bind, now);
        let socket = BoundSocket::made_up(browser);
        let core = Core::new(description, Arc::default(), ports, socket);
        let limits = Limits { calls: 100, load: 0.9 };
        let registry = Registry::new(vec![core], limits, "this one".to_owned(), now);
        let mut alone = Self { registry, now, next_ticket: 1 };
        alone.ask(CONTROLLER, TakeControl { force: false });
        alone.outputs();
        alone
    }

    fn ask(&mut self, client: Client, command: impl Into<Command>) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.registry.handle_command(ticket, client, command.into(), self.now);
        ticket
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.registry.poll_output()).collect()
    }

    /// What the core was asked since the last time; nothing else happened.
    fn asked(&mut self) -> Vec<(Token, CoreCommand)> {
        let asked = self.outputs().into_iter().map(|output| match output {
            Output::Ask { thread: 0, token, command, .. } => (token, command),
            other => panic!("{other:?}"),
        });
        asked.collect()
    }

    fn reply(&mut self, token: Token, reply: Reply) {
        self.registry.handle_report(Report::Reply(token, Ok(reply)), self.now);
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.registry.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.registry.handle_timeout(self.now);
        }
        self.now = until;
    }

    /// Makes a call, which the core agrees to.
    fn create(&mut self, call: &str, key: CallKey) {
        self.ask(CONTROLLER, create(call));
        let (token, _) = self.asked().remove(0);
        self.reply(token, Reply::Created(key));
        assert!(matches!(self.outputs()[..], [Output::Event(..), Output::Answer(_, Ok(_))]));
    }

    fn locals(&self, call: &str) -> Value {
        let Outcome::ListCalls(list) = self.registry.list_calls(&ListCalls::default()) else {
            unreachable!("a list")
        };
        let call = list.calls.into_iter().find(|it| &*it.call == call).unwrap();
        json!([call.created.a, call.created.b])
    }

    fn free_ports(&self) -> usize {
        self.registry.cores[0].ports.free()
    }
}

fn create(call: &str) -> CreateCall {
    let leg = json!({"transport": {"kind": "plain"}});
    serde_json::from_value(json!({"call": call, "a": leg, "b": leg})).unwrap()
}

fn exchange(call: &str, with: &str) -> ExchangeLegs {
    ExchangeLegs { call: call.into(), leg: Side::B, with: with.into(), with_leg: Side::A }
}

fn delete(call: &str) -> DeleteCall {
    DeleteCall { call: call.into() }
}

fn ended(call: &str) -> Reply {
    let statistics = samples::call_statistics();
    Reply::Ended(Box::new(CallStatistics { call: call.into(), ..statistics }))
}

fn refusal(output: &Output) -> (Ticket, ErrorCode) {
    match output {
        Output::Answer(ticket, Err(error)) => (*ticket, error.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_command_that_a_core_never_answers_is_refused_after_its_bound() {
    let mut alone = Alone::new();
    alone.create("one", KEY);
    alone.create("zero", CallKey { place: 8, generation: 0 });
    let change = json!({"call": "one", "leg": "a", "direction": "inactive"});
    let digit = json!({"call": "one", "leg": "a", "digit": "1"});
    let datagram = json!({"thread": 0, "to": "192.0.2.1:9", "payload": "AAEC"});
    let leg = json!({"transport": {"kind": "plain"}});
    let commands: Vec<Command> = vec![
        create("two").into(),
        serde_json::from_value::<UpdateLeg>(change).unwrap().into(),
        serde_json::from_value::<ReplaceLeg>(json!({"call": "one", "leg": "a", "with": leg}))
            .unwrap()
            .into(),
        exchange("one", "zero").into(),
        serde_json::from_value::<SendDigit>(digit).unwrap().into(),
        serde_json::from_value::<SendDatagram>(datagram).unwrap().into(),
        QueryCall { call: "one".into() }.into(),
        QueryProcess {}.into(),
        delete("one").into(),
    ];
    let tickets: Vec<_> = commands.into_iter().map(|it| alone.ask(CONTROLLER, it)).collect();
    assert_eq!(alone.asked().len(), tickets.len());
    // A fifth more, for the process itself may have been stopped.
    alone.pass(ANSWER_MAX + ANSWER_MAX / 5 - Duration::from_millis(1));
    assert!(alone.outputs().is_empty());
    alone.pass(Duration::from_millis(2));
    let mut refused: Vec<_> = alone.outputs().iter().map(refusal).collect();
    refused.sort();
    let expected: Vec<_> = tickets.into_iter().map(|it| (it, ErrorCode::SystemRefused)).collect();
    assert_eq!(refused, expected);
    alone.pass(Duration::from_secs(3_600));
    assert!(alone.outputs().is_empty(), "each is answered once");
}

#[test]
fn what_was_refused_for_lateness_is_not_done_after_all_unless_it_was_begun_or_ends_a_call() {
    let mut alone = Alone::new();
    let free = alone.free_ports();
    alone.create("one", KEY);
    let leg = json!({"transport": {"kind": "plain"}});
    let change = json!({"call": "one", "leg": "a", "direction": "inactive"});
    let replace = json!({"call": "one", "leg": "a", "with": leg});
    let commands: [Command; 4] = [
        serde_json::from_value::<UpdateLeg>(change.clone()).unwrap().into(),
        serde_json::from_value::<ReplaceLeg>(replace).unwrap().into(),
        // The core begins with this one, and hangs.
        serde_json::from_value::<UpdateLeg>(change).unwrap().into(),
        delete("one").into(),
    ];
    for command in commands {
        alone.ask(CONTROLLER, command);
    }
    let mut given = Vec::new();
    for output in alone.outputs() {
        let Output::Ask { token, claim, .. } = output else { panic!("{output:?}") };
        given.push((token, claim));
    }
    assert!(given[2].1.take());
    alone.pass(ANSWER_MAX * 2);
    let refusals = alone.outputs();
    let told = refusals.iter().map(|output| match output {
        Output::Answer(_, Err(error)) => error.message.clone(),
        other => panic!("{other:?}"),
    });
    let is_unchanged: Vec<_> = told.map(|told| told.contains("nothing is changed")).collect();
    assert_eq!(is_unchanged, [true, true, false, false]);
    // The core wakes: it refuses what was withdrawn, and ends the call.
    let left: Vec<_> = given.iter().map(|(_, claim)| claim.take()).collect();
    assert_eq!(left, [false, false, false, true]);
    for (token, _) in &given[..2] {
        alone.registry.handle_report(Report::Reply(*token, Err(withdrawn())), alone.now);
    }
    alone.reply(given[2].0, Reply::Done);
    alone.reply(given[3].0, ended("one"));
    alone.pass(Duration::from_secs(3_600));
    assert!(matches!(
        alone.outputs()[..],
        [Output::Event(Audience::All, Event::CallDeleted { .. })]
    ));
    assert_eq!(alone.free_ports(), free, "the new leg's ports too");
}

#[test]
fn an_answer_about_a_call_is_not_taken_for_one_about_another_that_has_its_name_since() {
    let format: Format = serde_json::from_value(json!({
        "send": {"codec": "pcmu", "payload_type": 0},
        "receive": [{"codec": "pcmu", "payload_type": 0}]
    }))
    .unwrap();
    let change = json!({"call": "one", "leg": "a", "format": format});
    let leg = json!({"transport": {"kind": "plain"}, "format": format});
    let late: [Command; 3] = [
        serde_json::from_value::<UpdateLeg>(change).unwrap().into(),
        serde_json::from_value::<ReplaceLeg>(json!({"call": "one", "leg": "a", "with": leg}))
            .unwrap()
            .into(),
        Snapshot { call: "one".into() }.into(),
    ];
    let replies = [
        Reply::Done,
        Reply::Replaced(Box::default()),
        Reply::Snapshot(Box::new(std::array::from_fn(|_| {
            serde_json::from_value(json!({"transport": {"kind": "plain"}})).unwrap()
        }))),
    ];
    for (command, reply) in late.into_iter().zip(replies) {
        let mut alone = Alone::new();
        let free = alone.free_ports();
        alone.create("one", KEY);
        let is_update = matches!(command, Command::UpdateLeg(_));
        alone.ask(CONTROLLER, command);
        let (token, _) = alone.asked().remove(0);
        alone.ask(OTHER, TakeControl { force: true });
        alone.outputs();
        alone.ask(OTHER, delete("one"));
        let (deleted, _) = alone.asked().remove(0);
        alone.reply(deleted, ended("one"));
        alone.ask(OTHER, create("one"));
        alone.outputs().into_iter().for_each(|output| {
            if let Output::Ask { token, .. } = output {
                alone.reply(token, Reply::Created(CallKey { generation: 9, ..KEY }));
            }
        });
        alone.outputs();
        alone.reply(token, reply);
        assert!(alone.registry.format(&"one".into(), Side::A).is_none(), "it was not asked for");
        let holding = alone.registry.holding(0).unwrap();
        assert_eq!((holding.calls, alone.free_ports()), (1, free - 2));
        // The leg of the call that is gone was changed; what it was replaced with is gone as well.
        let answers = alone.outputs();
        assert!(matches!(&answers[..], [Output::Answer(_, answer)] if answer.is_ok() == is_update));
    }
}

#[test]
fn a_call_that_comes_too_late_is_ended_again_and_nobody_hears_of_it() {
    let mut alone = Alone::new();
    let free = alone.free_ports();
    alone.ask(CONTROLLER, create("one"));
    let (token, _) = alone.asked().remove(0);
    alone.pass(ANSWER_MAX * 2);
    assert_eq!(alone.outputs().len(), 1);
    alone.ask(CONTROLLER, create("one"));
    assert_eq!(refusal(&alone.outputs()[0]).1, ErrorCode::CallExists, "it may still come");
    alone.reply(token, Reply::Created(KEY));
    let asked = alone.asked();
    assert!(matches!(asked[..], [(_, CoreCommand::Delete(KEY))]), "{asked:?}");
    // Its name is free; what is made under it now is not what ends.
    alone.create("one", CallKey { place: 1, generation: 1 });
    alone.reply(asked[0].0, ended("one"));
    assert!(alone.outputs().is_empty());
    assert_eq!(alone.free_ports(), free - 2, "the ports of the late one are back");
    alone.registry.check_call(&"one".into()).unwrap();
}

#[test]
fn a_call_that_ends_late_is_told_to_who_was_refused() {
    let mut alone = Alone::new();
    alone.create("one", KEY);
    alone.ask(CONTROLLER, delete("one"));
    let (token, _) = alone.asked().remove(0);
    alone.pass(ANSWER_MAX * 2);
    alone.outputs();
    alone.reply(token, ended("one"));
    let outputs = alone.outputs();
    let [Output::Event(Audience::All, Event::CallDeleted { .. })] = &outputs[..] else {
        panic!("{outputs:?}")
    };
}

#[test]
fn a_call_is_told_to_the_controller_that_took_over_while_another_made_or_ended_it() {
    let mut alone = Alone::new();
    alone.create("one", KEY);
    alone.ask(CONTROLLER, create("two"));
    alone.ask(CONTROLLER, delete("one"));
    let asked = alone.asked();
    alone.ask(2, TakeControl { force: true });
    alone.registry.client_gone(CONTROLLER, alone.now);
    alone.outputs();
    alone.reply(asked[0].0, Reply::Created(CallKey { place: 1, generation: 1 }));
    alone.reply(asked[1].0, ended("one"));
    let audiences: Vec<_> = alone
        .outputs()
        .into_iter()
        .filter_map(|output| match output {
            Output::Event(audience, event) => Some((audience, event.name())),
            _ => None,
        })
        .collect();
    let but_who_asked = Audience::AllBut(CONTROLLER);
    assert_eq!(audiences, [(but_who_asked, "call_created"), (but_who_asked, "call_deleted")]);
}

#[test]
fn a_call_that_is_still_being_made_is_not_due_to_end_over_and_over() {
    let mut alone = Alone::new();
    let mut arguments = create("one");
    arguments.orphan_ms = Some(serde_json::from_value(json!(1_000)).unwrap());
    alone.ask(CONTROLLER, arguments);
    let (token, _) = alone.asked().remove(0);
    alone.registry.client_gone(CONTROLLER, alone.now);
    alone.now += Duration::from_secs(2);
    alone.registry.handle_timeout(alone.now);
    assert!(alone.registry.next_timeout().is_some_and(|at| at > alone.now), "nothing is due");
    alone.reply(token, Reply::Created(KEY));
    alone.outputs();
    alone.pass(Duration::ZERO);
    assert!(matches!(alone.asked()[..], [(_, CoreCommand::Delete(KEY))]));
}

#[test]
fn questions_reach_a_core_a_thousand_times_a_second_at_most_and_all_are_answered() {
    let mut alone = Alone::new();
    alone.create("one", KEY);
    let began = alone.now;
    let (mut asked, mut answered) = (0, 0);
    for n in 0..17_600_u32 {
        alone.pass((began + Duration::from_secs(1) * n / 17_600) - alone.now);
        alone.ask(u64::from(n % 64), QueryCall { call: "one".into() });
        let mut queries = Vec::new();
        for output in alone.outputs() {
            match output {
                Output::Ask { token, command: CoreCommand::Query(keys), .. } => {
                    queries.push((token, keys.len()));
                }
                Output::Answer(_, Ok(_)) => answered += 1,
                other => panic!("{other:?}"),
            }
        }
        asked += queries.len();
        for (token, calls) in queries {
            let statistics = Box::new(samples::call_statistics());
            alone.reply(token, Reply::Calls(vec![Some(statistics); calls]));
        }
    }
    alone.pass(Duration::from_millis(2));
    for output in alone.outputs() {
        match output {
            Output::Ask { token, command: CoreCommand::Query(keys), .. } => {
                asked += 1;
                let statistics = Box::new(samples::call_statistics());
                alone.reply(token, Reply::Calls(vec![Some(statistics); keys.len()]));
            }
            Output::Answer(_, Ok(_)) => answered += 1,
            other => panic!("{other:?}"),
        }
    }
    answered += alone.outputs().len();
    assert_eq!(answered, 17_600);
    assert!((900..=1_001).contains(&asked), "{asked}");
}

#[test]
fn what_the_process_counts_is_asked_for_ten_times_a_second_at_most() {
    let mut alone = Alone::new();
    let began = alone.now;
    let mut asked = 0;
    for n in 0..5_000_u32 {
        alone.pass((began + Duration::from_secs(1) * n / 5_000) - alone.now);
        alone.ask(u64::from(n % 64), QueryProcess {});
        for output in alone.outputs() {
            if let Output::Ask { token, command: CoreCommand::QueryThread, .. } = output {
                asked += 1;
                alone.reply(token, Reply::Thread(Box::default()));
            }
        }
    }
    assert!((9..=11).contains(&asked), "{asked}");
}

#[test]
fn a_subscription_goes_on_after_an_answer_that_a_core_could_not_give() {
    let Alone { registry, mut now, .. } = Alone::new();
    let mut front = Front::new(registry);
    let client = front.opened();
    let subscribe = json!({"id": 1, "command": "subscribe", "arguments": {"interval_ms": 100}});
    front.handle_line(client, subscribe.to_string().as_bytes(), now);
    for _ in 0..3 {
        now += Duration::from_millis(100);
        front.handle_timeout(now);
        let asked: Vec<Token> = std::iter::from_fn(|| front.poll_output())
            .filter_map(|output| match output {
                json::Output::Ask { token, .. } => Some(token),
                _ => None,
            })
            .collect();
        assert_eq!(asked.len(), 1);
        front.not_taken(asked[0], now);
    }
}

/// Each of two calls is ended while its core has yet to exchange their legs, or after: every port comes back
/// once, whoever had it last.
#[test]
fn legs_that_are_exchanged_while_their_call_ends_are_given_back_once() {
    let other = CallKey { place: 1, generation: 0 };
    for ends in [["one", "two"], ["two", "one"]] {
        for is_late in [false, true] {
            let mut alone = Alone::new();
            let free = alone.free_ports();
            alone.create("one", KEY);
            alone.create("two", other);
            let [one, two] = ["one", "two"].map(|call| alone.locals(call));
            let (one_after, two_after) = (json!([one[0], two[0]]), json!([one[1], two[1]]));
            let after = |call| if call == "one" { &one_after } else { &two_after };
            alone.ask(CONTROLLER, exchange("one", "two"));
            let (token, command) = alone.asked().remove(0);
            let expected = [(KEY, Side::B), (other, Side::A)];
            assert!(matches!(command, CoreCommand::Exchange(places) if places == expected));
            let both = ["one", "two"].map(|call| match ended(call) {
                Reply::Ended(statistics) => *statistics,
                _ => unreachable!("a call ended"),
            });
            let exchanged = Reply::Exchanged(Box::new(both));
            if is_late {
                alone.ask(CONTROLLER, delete(ends[0]));
                let (deleted, _) = alone.asked().remove(0);
                alone.reply(token, exchanged);
                alone.reply(deleted, ended(ends[0]));
            } else {
                alone.reply(token, exchanged);
                alone.outputs();
                alone.ask(CONTROLLER, delete(ends[0]));
                let (deleted, _) = alone.asked().remove(0);
                alone.reply(deleted, ended(ends[0]));
            }
            let is_answered = |it: &Output| matches!(it, Output::Answer(_, Ok(_)));
            assert!(alone.outputs().iter().any(is_answered));
            assert_eq!(alone.free_ports(), free - 2, "one call's legs, each with a pair");
            assert_eq!(alone.locals(ends[1]), *after(ends[1]));
            alone.ask(CONTROLLER, delete(ends[1]));
            let (deleted, _) = alone.asked().remove(0);
            alone.reply(deleted, ended(ends[1]));
            assert_eq!(alone.free_ports(), free);
        }
    }
}
