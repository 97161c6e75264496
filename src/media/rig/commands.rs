//! A script's commands in the words of the control protocol.

use super::script;
use crate::control::message::{
    CallName, Command, CreateCall, Datagram as Payload, DeleteCall, ExchangeLegs, Interval,
    ListCalls, Park, QueryCall, QueryProcess, ReplaceLeg, SendDatagram, SendDigit, Subject,
    Subscribe, TakeControl,
};

/// A call's name.
pub(super) fn name_of(call: u8) -> CallName {
    CallName::from(format!("call{call}"))
}

/// A script's command as the control protocol has it.
pub(super) fn command_of(command: script::Command) -> Option<Command> {
    use script::Command as Wanted;
    Some(match command {
        Wanted::TakeControl(force) => TakeControl { force }.into(),
        Wanted::Create(call, legs, orphan_ms) => {
            let [a, b] = *legs;
            let (call, blob) = (name_of(call), String::new());
            CreateCall { call, blob, a, b, thread: None, orphan_ms }.into()
        }
        Wanted::Update(leg, change) => change.of(name_of(leg.call), leg.side).into(),
        Wanted::Replace(leg, with) => {
            ReplaceLeg { call: name_of(leg.call), leg: leg.side, with: *with }.into()
        }
        Wanted::Exchange(one, other) => ExchangeLegs {
            call: name_of(one.call),
            leg: one.side,
            with: name_of(other.call),
            with_leg: other.side,
        }
        .into(),
        Wanted::Delete(call) => DeleteCall { call: name_of(call) }.into(),
        Wanted::Digit(leg, digit, duration_ms) => {
            SendDigit { call: name_of(leg.call), leg: leg.side, digit, duration_ms }.into()
        }
        Wanted::Datagram(to, bytes) => {
            SendDatagram { thread: 0, to, payload: Payload(bytes) }.into()
        }
        Wanted::Park(call) => Park { call: name_of(call), blob: "parked".to_owned() }.into(),
        Wanted::QueryCall(call) => QueryCall { call: name_of(call) }.into(),
        Wanted::QueryProcess => QueryProcess {}.into(),
        Wanted::List => ListCalls::default().into(),
        Wanted::Subscribe(call, interval_ms) => {
            let (interval_ms, of) = (Interval::new(interval_ms)?, Subject::Statistics);
            Subscribe { interval_ms, call: call.map(name_of), of }.into()
        }
    })
}
