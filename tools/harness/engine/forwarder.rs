//! The bare forwarder as an engine: a child process of this program, see [`crate::baseline::forward`].

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Stdio};

use super::{CallPlace, CallRequest, Engine, Heard, NoCall};
use crate::baseline::forward::{Layout, Ports, Strategy};
use crate::machine::Priority;
use crate::machine::process::{Process, engine_program};

/// How the forwarder is to run.
#[derive(Clone, Copy, Debug)]
pub struct ForwarderSettings {
    /// How it receives.
    pub strategy: Strategy,
    /// On which sockets.
    pub layout: Layout,
    /// The most calls.
    pub calls: u16,
    /// Its core.
    pub core: usize,
    /// Its priority.
    pub priority: Priority,
}

/// The forwarder. It is started with the first call, which tells where the far ends are.
pub struct Forwarder {
    settings: ForwarderSettings,
    started: Option<(Child, Process, Ports)>,
}

impl Forwarder {
    /// One that is not started yet.
    pub fn new(settings: ForwarderSettings) -> Self {
        Self { settings, started: None }
    }

    fn start(&self, far_ends: [SocketAddrV4; 2]) -> Result<(Child, Process, Ports), String> {
        let ForwarderSettings { strategy, layout, calls, core, priority } = self.settings;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let value = |name: Option<clap::builder::PossibleValue>| {
            name.map(|name| name.get_name().to_owned()).unwrap_or_default()
        };
        let mut child = engine_program(&program, Some(core), priority)
            .args(["forward", "--calls", &calls.to_string()])
            .args(["--browsers", &far_ends[0].port().to_string()])
            .args(["--trunks", &far_ends[1].port().to_string()])
            .args(["--strategy", &value(clap::ValueEnum::to_possible_value(&strategy))])
            .args(["--layout", &value(clap::ValueEnum::to_possible_value(&layout))])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the forwarder: {error}"))?;
        let mut line = String::new();
        let said = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        match (said, serde_json::from_str(&line)) {
            (Some(Ok(_)), Ok(ports)) => {
                let process = Process::new(child.id());
                Ok((child, process, ports))
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                Err("the forwarder did not start".to_owned())
            }
        }
    }
}

impl Engine for Forwarder {
    fn create_call(&mut self, call: &CallRequest) -> Result<CallPlace, NoCall> {
        if self.started.is_none() {
            self.started = Some(self.start(call.addresses)?);
        }
        let ports = self.started.as_ref().map(|(_, _, ports)| ports);
        let trunk = ports.and_then(|ports| match self.settings.layout {
            Layout::Each => ports.trunks.get(usize::from(call.number)),
            Layout::Shared => ports.trunks.first(),
        });
        let (Some(ports), Some(trunk)) = (ports, trunk) else {
            return Err(NoCall::Failed("the forwarder has no port for this call".to_owned()));
        };
        let to = [ports.browsers, *trunk].map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        Ok(CallPlace { to, consent_check: None, browser_receives: None, heard: Heard::OtherEnd })
    }

    fn delete_call(&mut self, _: u16) -> Result<(), String> {
        Ok(())
    }

    fn process(&self) -> Option<&Process> {
        self.started.as_ref().map(|(_, process, _)| process)
    }

    fn settings(&self) -> serde_json::Map<String, serde_json::Value> {
        let ForwarderSettings { strategy, layout, .. } = self.settings;
        let settings = serde_json::json!({
            "engine": "bare forwarder",
            "receives": strategy,
            "trunk_sockets": layout,
        });
        settings.as_object().cloned().unwrap_or_default()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        if let Some((mut child, _, _)) = self.started.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
