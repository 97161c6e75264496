//! Browser to trunk: speech encoded as Chromium does when asked for narrowband, sent under SRTP,
//! packets lost, and then the product's own packet line under a virtual clock: repair window, in-band
//! FEC or RED, concealment, µ-law. What leaves is put where its timestamps say.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use linecard::audio::g711::{self, Law};
use linecard::audio::opus::OpusArena;
use linecard::control::message::{
    Format, LegParameters, LegStatistics, PlainTransport, Security, SrtpKeys, Transport,
};
use linecard::media::channel::{CallKey, Command, NewLeg, Reply};
use linecard::media::rig::{Flying, Rig};
use linecard::os::sockets::BoundSocket;
use linecard::wire::rtp::{RtpPacket, RtpTimestamp};
use serde_json::{Value, json};

use crate::Run;
use crate::browser::{Browser, Protection, master_key};
use crate::material::{self, FRAME};

const PACKET_TIME: Duration = Duration::from_millis(20);
/// Everything that is held back has left after this.
const DRAIN: Duration = Duration::from_millis(300);

/// Sends every segment through a call of its own.
pub fn run(protection: Protection, run: &Run) -> Result<Value, String> {
    let arena = OpusArena::new(4).map_err(|error| error.to_string())?;
    let mut recovered = 0;
    let mut concealed = 0;
    let heard = material::each(run, |samples, condition, seed| {
        let mut browser = Browser::new(&arena, protection, condition, master_key()?)?;
        let mut line = Line::new(&arena)?;
        let frames = samples.chunks_exact(FRAME);
        for (pcm, lost) in frames.zip(condition.lost(samples.len() / FRAME, seed)) {
            let packet = browser.packet(pcm)?;
            line.pass(PACKET_TIME);
            if !lost {
                line.hear(&packet);
            }
        }
        line.pass(DRAIN);
        let counters = line.statistics()?;
        recovered += counters.packets_recovered + counters.frames_recovered;
        concealed += counters.frames_concealed;
        Ok(line.heard(samples.len()))
    })?;
    Ok(json!({"heard": heard, "recovered": recovered, "concealed": concealed}))
}

/// Where the trunk's leg has its socket, and the browser's.
const OURS: [u16; 2] = [30_000, 30_002];

fn ours(leg: usize) -> SocketAddr {
    ([192, 0, 2, 10], OURS[leg]).into()
}

fn theirs(leg: usize) -> SocketAddr {
    ([198, 51, 100, 7], OURS[leg]).into()
}

/// A call from a browser's leg to a trunk's, on the product's own core.
struct Line {
    rig: Rig,
    key: CallKey,
    sent: Vec<(RtpTimestamp, Vec<u8>)>,
}

impl Line {
    fn new(arena: &Rc<OpusArena>) -> Result<Self, String> {
        let opus = json!({"codec": "opus", "payload_type": 111});
        let pcmu = json!({"codec": "pcmu", "payload_type": 0});
        let keys = SrtpKeys { send: master_key()?, receive: master_key()? };
        let browser = json!({"send": opus, "receive": [opus], "receive_redundancy": [63]});
        let trunk = json!({"send": pcmu, "receive": [pcmu]});
        let legs = Box::new([
            new_leg(browser, Security::Srtp(keys), 0)?,
            new_leg(trunk, Security::None, 1)?,
        ]);
        let rig = Rig::with_codecs(1, Rc::clone(arena), Instant::now());
        let mut rig = rig.map_err(|error| error.to_string())?;
        match rig.command(Command::Create { name: "quality".into(), legs }) {
            Ok(Reply::Created(key)) => Ok(Self { rig, key, sent: Vec::new() }),
            Ok(other) => Err(format!("the core did something else: {other:?}")),
            Err(refused) => Err(refused.message),
        }
    }

    /// What is discarded is missing in what the trunk hears, and scored so.
    fn hear(&mut self, packet: &[u8]) {
        self.rig.receive(Flying { from: theirs(0), to: ours(0), bytes: packet.to_vec() });
        self.collect();
    }

    fn pass(&mut self, time: Duration) {
        self.rig.pass(time);
        self.collect();
    }

    /// Of the browser's leg.
    fn statistics(&mut self) -> Result<LegStatistics, String> {
        match self.rig.command(Command::Query(vec![self.key])) {
            Ok(Reply::Calls(calls)) => {
                let call = calls.into_iter().flatten().next();
                call.map(|call| call.a).ok_or_else(|| "the call is gone".to_owned())
            }
            Ok(other) => Err(format!("the core did something else: {other:?}")),
            Err(refused) => Err(refused.message),
        }
    }

    fn collect(&mut self) {
        for Flying { from, bytes, .. } in self.rig.sent() {
            if from == ours(1)
                && let Ok(packet) = RtpPacket::parse(&bytes)
            {
                self.sent.push((packet.header.timestamp, packet.payload.to_vec()));
            }
        }
    }

    /// What the trunk heard; silence where nothing came.
    fn heard(&self, samples: usize) -> Vec<i16> {
        let mut heard = vec![0; samples];
        let Some((first, _)) = self.sent.first() else { return heard };
        for (timestamp, payload) in &self.sent {
            let place = usize::try_from(timestamp.distance(*first)).unwrap_or(usize::MAX);
            if let Some(out) = heard.get_mut(place..place.saturating_add(payload.len())) {
                g711::decode(Law::Mu, payload, out);
            }
        }
        heard
    }
}

fn new_leg(format: Value, security: Security, leg: usize) -> Result<NewLeg, String> {
    let transport = PlainTransport { remote: Some(theirs(leg)), ..PlainTransport::default() };
    let mut parameters = LegParameters::new(Transport::Plain(transport));
    let format: Format = serde_json::from_value(format).map_err(|error| error.to_string())?;
    (parameters.security, parameters.format) = (security, Some(format));
    let rtcp = SocketAddr::new(ours(leg).ip(), ours(leg).port() + 1);
    Ok(NewLeg { parameters, sockets: Some([ours(leg), rtcp].map(BoundSocket::made_up)) })
}
