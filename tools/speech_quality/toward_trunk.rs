//! Browser to trunk: speech encoded as Chromium does when asked for narrowband, sent under SRTP,
//! packets lost, and then the product's own packet line under a virtual clock: repair window, in-band
//! FEC or RED, concealment, µ-law. What leaves is put where its timestamps say.

use std::rc::Rc;
use std::time::{Duration, Instant};

use linecard::audio::g711::{self, Law};
use linecard::audio::opus::OpusArena;
use linecard::base::clock::WallAnchor;
use linecard::base::random::{self, Random};
use linecard::control::message::{Format, Security, Side};
use linecard::media::call::Call;
use linecard::media::encoding::Load;
use linecard::media::format::LegFormat;
use linecard::media::leg::{Leg, LegTransport};
use linecard::media::line::{self, FrameCounters, Surroundings};
use linecard::media::outgoing::Outgoing;
use linecard::media::security::{Keys, SecurityContext};
use linecard::os::outbox::Outbox;
use linecard::os::ring::SocketIndex;
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
        let mut line = Line::new(&arena, seed)?;
        let frames = samples.chunks_exact(FRAME);
        for (pcm, lost) in frames.zip(condition.lost(samples.len() / FRAME, seed)) {
            let mut packet = browser.packet(pcm)?;
            line.pass(PACKET_TIME);
            if !lost {
                line.hear(&mut packet);
            }
        }
        line.pass(DRAIN);
        let counters = &line.call.legs[Side::A.index()].counters;
        recovered += counters.packets_recovered + counters.frames_recovered;
        concealed += counters.frames_concealed;
        Ok(line.heard(samples.len()))
    })?;
    Ok(json!({"heard": heard, "recovered": recovered, "concealed": concealed}))
}

/// A call, its surroundings and what it sent to the trunk.
struct Line {
    call: Call,
    outbox: Outbox,
    frames: FrameCounters,
    wall: WallAnchor,
    random: Random,
    now: Instant,
    notices: Vec<line::Notice>,
    sent: Vec<(RtpTimestamp, Vec<u8>)>,
}

impl Line {
    fn new(arena: &Rc<OpusArena>, seed: u64) -> Result<Self, String> {
        let now = Instant::now();
        let mut random = random::from_seed(seed);
        let opus = json!({"codec": "opus", "payload_type": 111});
        let pcmu = json!({"codec": "pcmu", "payload_type": 0});
        let keys = Keys::Srtp { send: master_key()?, receive: master_key()? };
        let browser = json!({"send": opus, "receive": [opus], "receive_redundancy": [63]});
        let trunk = json!({"send": pcmu, "receive": [pcmu]});
        let plain = Keys::new(Security::None);
        let legs = [
            make_leg(browser, keys, 0, &mut random, now)?,
            make_leg(trunk, plain, 2, &mut random, now)?,
        ];
        let call = Call::new("quality".into(), legs, arena, Load::NONE, now)
            .map_err(|refused| refused.error.message)?;
        Ok(Self {
            call,
            outbox: Outbox::new(64),
            frames: FrameCounters::default(),
            wall: WallAnchor::at(now, Duration::from_secs(1_700_000_000)),
            random,
            now,
            notices: Vec::new(),
            sent: Vec::new(),
        })
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Call, Instant, &mut Surroundings<'_>) -> T) -> T {
        let mut around = Surroundings {
            outbox: &mut self.outbox,
            notices: &mut self.notices,
            frames: &mut self.frames,
            wall: &self.wall,
            random: &mut self.random,
            load: Load::NONE,
        };
        work(&mut self.call, self.now, &mut around)
    }

    fn hear(&mut self, packet: &mut [u8]) {
        // What is discarded is missing in what the trunk hears, and scored so.
        let _ = self.with(|call, now, around| line::rtp(call, Side::A, packet, now, around));
        self.collect();
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.call.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.with(line::wake);
            self.collect();
        }
        self.now = until;
    }

    fn collect(&mut self) {
        self.notices.clear();
        for queued in self.outbox.queued() {
            if queued.socket == SocketIndex::detached(2)
                && let Ok(packet) = RtpPacket::parse(queued.bytes())
            {
                self.sent.push((packet.header.timestamp, packet.payload.to_vec()));
            }
        }
        self.outbox.clear();
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

fn make_leg(
    format: Value,
    keys: Keys,
    socket: u32,
    random: &mut Random,
    now: Instant,
) -> Result<Leg, String> {
    let format: Format = serde_json::from_value(format).map_err(|error| error.to_string())?;
    let format = LegFormat::new(&format).map_err(|error| error.message)?;
    let transport = LegTransport::Plain {
        rtp: SocketIndex::detached(socket),
        rtcp: SocketIndex::detached(socket + 1),
        remote: Some([([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()]),
    };
    let outgoing = Outgoing::new(random);
    let security = SecurityContext::new(keys, outgoing.ssrc());
    Ok(Leg::new(transport, security, Some(format), outgoing, "cname".into(), now))
}
