//! No engine: browsers and trunks send straight to each other. What the generator costs by itself,
//! and the company that the bare codec loop has on the other core.

use super::{CallPlace, CallRequest, Engine, Heard, NoCall};
use crate::machine::process::Process;

/// The wire.
pub struct Loopback;

impl Engine for Loopback {
    fn create_call(&mut self, call: &CallRequest) -> Result<CallPlace, NoCall> {
        let [browser, trunk] = call.addresses;
        Ok(CallPlace {
            to: [trunk, browser],
            consent_check: None,
            browser_receives: None,
            heard: Heard::OtherEnd,
        })
    }

    fn delete_call(&mut self, _: u16) -> Result<(), String> {
        Ok(())
    }

    fn process(&self) -> Option<&Process> {
        None
    }

    fn settings(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::from_iter([("engine".to_owned(), "none".into())])
    }
}
