//! The media process of a world: the real one, under the world's clock, on a made-up network.
//!
//! In: signaling's lines, datagrams. Out: lines for signaling, datagrams. What tests want to know of a
//! call is what its core has, or what an observer's connection is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;

use crate::config;
use crate::control::codec::{FromMedia, read_from_media, read_request, write_reply, write_request};
use crate::control::message::{
    CallList, CallName, Command, ControlError, Direction, Format, ListCalls, ListedCall, Park,
    Side, TakeControl,
};
use crate::media::call::Call;
use crate::media::kind::Kind;
use crate::media::leg::connection::Connection;
use crate::media::registry::Client;
use crate::media::rig::{Flying, Process};

pub struct Media {
    pub process: Process,
    /// Refusals that signaling heard.
    pub refused: Vec<ControlError>,
    /// Signaling's connection.
    signaling: Option<Client>,
    observer: Client,
    /// Lines toward signaling.
    lines: VecDeque<String>,
    /// Lines toward everybody else.
    observed: VecDeque<(Client, String)>,
    /// Every `create_call` is refused so, without asking the process.
    refusal: Option<ControlError>,
    asked: u64,
}

impl Media {
    pub fn new(config: &config::Media, generation: &str, now: Instant) -> Self {
        let mut process = Process::configured(config, generation, now).unwrap();
        let observer = process.connect();
        Self {
            process,
            refused: Vec::new(),
            signaling: None,
            observer,
            lines: VecDeque::new(),
            observed: VecDeque::new(),
            refusal: None,
            asked: 0,
        }
    }

    // The connection of signaling.

    pub fn connect(&mut self) {
        assert_eq!(self.signaling, None, "signaling has a connection already");
        self.signaling = Some(self.process.connect());
    }

    pub fn disconnect(&mut self) {
        self.lines.clear();
        if let Some(client) = self.signaling.take() {
            self.process.disconnect(client);
        }
        self.sort();
        self.lines.clear();
    }

    /// A line of signaling's.
    pub fn handle_line(&mut self, line: &str) {
        let Some(client) = self.signaling else { return };
        if let Some(refusal) = &self.refusal {
            let request = read_request(line).unwrap();
            if matches!(request.command, Command::CreateCall(_)) {
                self.refused.push(refusal.clone());
                self.lines.push_back(write_reply(Some(request.id), &Err(refusal.clone())));
                return;
            }
        }
        self.process.line(client, line);
    }

    /// The next line for signaling.
    pub fn poll_line(&mut self) -> Option<String> {
        self.sort();
        self.lines.pop_front()
    }

    /// Whether the process has closed signaling's connection.
    pub fn take_closed(&mut self) -> bool {
        let closed = self.process.closed();
        self.signaling.take_if(|client| closed.contains(client)).is_some()
    }

    fn sort(&mut self) {
        while let Some((client, line)) = self.process.poll_line() {
            if self.signaling != Some(client) {
                self.observed.push_back((client, line));
                continue;
            }
            if let Ok(FromMedia::Reply { result: Err(refusal), .. }) = read_from_media(&line) {
                self.refused.push(refusal);
            }
            self.lines.push_back(line);
        }
    }

    /// Refuses every `create_call` in these words from now on, in the process's place: for refusals
    /// that it has no way to be brought to.
    pub fn refuse_in_its_place(&mut self, refusal: ControlError) {
        self.refusal = Some(refusal);
    }

    // Datagrams.

    pub fn receive(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        self.process.receive(Flying { from, to, bytes: datagram.to_vec() });
    }

    // Looking.

    /// What another connection than signaling's is answered.
    fn ask(&mut self, client: Client, command: &Command) -> Value {
        self.sort();
        self.observed.clear();
        self.asked += 1;
        self.process.line(client, &write_request(self.asked, command));
        self.sort();
        let asked = Some(self.asked);
        let mut told = self.observed.drain(..).filter(|(to, _)| *to == client);
        let reply = told.find_map(|(_, line)| match read_from_media(&line).unwrap() {
            FromMedia::Reply { id, result } if id == asked => Some(result),
            _ => None,
        });
        reply.expect("no reply").unwrap()
    }

    /// The calls that it lists.
    pub fn listed(&mut self) -> Vec<ListedCall> {
        let mut listed: Vec<ListedCall> = Vec::new();
        loop {
            let after = listed.last().map(|last| last.call.clone());
            let page = self.ask(self.observer, &ListCalls { after }.into());
            let page: CallList = serde_json::from_value(page).unwrap();
            listed.extend(page.calls);
            if !page.more {
                return listed;
            }
        }
    }

    /// The only call.
    pub fn only(&mut self) -> ListedCall {
        let mut listed = self.listed();
        assert_eq!(listed.len(), 1);
        listed.remove(0)
    }

    /// What signaling parked with the only call.
    pub fn blob(&mut self) -> String {
        self.only().blob
    }

    fn call(&mut self) -> &Call {
        let name = self.only().call;
        self.process.call(&name).unwrap()
    }

    /// A connection of the only call.
    pub fn connection(&mut self, side: Side) -> &Connection {
        &self.call().legs[side.index()].connection
    }

    /// Where a leg of the only call sends audio.
    pub fn remote(&mut self, side: Side) -> Option<SocketAddr> {
        self.connection(side).remote(Kind::Rtp)
    }

    /// Which way the audio of a leg of the only call goes.
    pub fn direction(&mut self, side: Side) -> Direction {
        let now = self.process.now;
        self.call().leg_statistics(side, now).direction
    }

    /// What a leg of the only call carries.
    pub fn format(&mut self, side: Side) -> Option<Format> {
        let name = self.only().call;
        self.process.format(&name, side).cloned()
    }

    /// How many datagrams of a leg of the only call went no further.
    pub fn discards(&mut self, side: Side) -> u64 {
        let now = self.process.now;
        self.call().leg_statistics(side, now).discards.total()
    }

    // What other programs do to it.

    /// While signaling is away, another controller parks something else with the only call.
    pub fn park_by_another_controller(&mut self, blob: &str) {
        self.disconnect();
        let call: CallName = self.only().call;
        let other = self.process.connect();
        self.ask(other, &TakeControl::default().into());
        self.ask(other, &Park { call, blob: blob.to_owned() }.into());
        self.process.disconnect(other);
    }

    /// Nothing is held, and nothing is open but the browsers' ports.
    pub fn assert_nothing_left(&mut self) {
        assert_eq!(self.listed(), [], "calls in media");
        for rig in &self.process.cores {
            assert_eq!(rig.network.open_sockets(), 1, "sockets");
        }
    }
}
