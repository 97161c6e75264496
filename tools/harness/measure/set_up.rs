//! The far ends on a thread of their own, and the calls between them and an engine.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::mpsc::{Sender as OrderSender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use linecard::base::random::{self, Random};
use linecard::srtp::keys::{MasterKey, Profile};
use linecard::srtp::protect::{Receiver, Sender};
use linecard::wire::rtp::{PayloadType, Ssrc};
use rand::RngExt;

use crate::ends::end::EndSettings;
use crate::ends::generator::{Generator, Order, Seen, Sockets, address_of};
use crate::ends::impairment::Impairments;
use crate::ends::material::{BrowserKind, Material};
use crate::ends::rtcp::Rtcp;
use crate::engine::{CallRequest, Engine, Heard, NoCall};
use crate::machine::check_interrupted;
use crate::machine::process::raise_generator;
use crate::measure::load::{Load, Surroundings};
use crate::measure::progress::Progress;

/// RTP clock in 20 ms of G.711.
const PCMU_TIMESTAMP_STEP: u32 = 160;

/// The generator's thread.
pub struct Ends {
    /// Of browsers and trunks.
    ports: [u16; 2],
    orders: OrderSender<Order>,
    thread: JoinHandle<Result<Seen, String>>,
}

impl Ends {
    /// Starts it; `samples` is how many delays are expected in each direction.
    pub fn start(
        around: Surroundings,
        impairments: Impairments,
        samples: usize,
    ) -> Result<Self, String> {
        let sockets = Sockets::bind().map_err(|error| format!("sockets of the load: {error}"))?;
        let ports = sockets.ports();
        let (orders, received) = channel();
        let generator = Generator::new(sockets, received, impairments, samples);
        let (core, priority) = (around.cores.generator, around.priority);
        let thread = std::thread::Builder::new().name("generator".to_owned()).spawn(move || {
            if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
                return Err(format!("core {core}, the load generator's, is not ours to use"));
            }
            raise_generator(priority)?;
            generator.run().map_err(|error| format!("load generator: {error}"))
        });
        let thread = thread.map_err(|error| format!("load generator: {error}"))?;
        Ok(Self { ports, orders, thread })
    }

    /// Tells it something. One that has ended says why when [`Self::end`] asks.
    pub fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Ends it, and gives what it saw.
    pub fn end(self) -> Result<Seen, String> {
        self.order(Order::End);
        self.thread.join().map_err(|_| "the load generator failed".to_owned())?
    }
}

/// Calls that are set up.
pub struct SetUp<'a> {
    /// Where.
    pub engine: &'a mut dyn Engine,
    /// How many, and what they are like.
    pub load: &'a Load,
    /// What they say.
    pub material: &'a Material,
    /// Between whom.
    pub ends: &'a Ends,
    /// Those that the engine took.
    pub accepted: u16,
}

impl SetUp<'_> {
    /// Offers every call; how long refusals took, and the last one's words.
    pub fn all_calls(
        &mut self,
        progress: &mut Progress,
    ) -> Result<(Vec<Duration>, Option<String>), String> {
        let (mut refused_after, mut refusal) = (Vec::new(), None);
        let mut random = random::from_seed(2_026);
        let began = Instant::now();
        for offered in 0..self.load.calls {
            if let Some(rate) = self.load.calls_per_second {
                let due = Duration::from_secs_f64(f64::from(offered) / f64::from(rate));
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
            if offered % 50 == 0 {
                check_interrupted()?;
                let share = f64::from(offered) / f64::from(self.load.calls);
                progress.say(&format!("setting {} calls up", self.load.calls), Some(share));
            }
            match self.one_call(&mut random) {
                Ok(()) => self.accepted += 1,
                Err(NoCall::Refused { reason, after }) => {
                    refusal = Some(reason);
                    refused_after.push(after);
                    if !self.load.refusals_allowed {
                        break;
                    }
                }
                Err(NoCall::Failed(problem)) => {
                    return Err(format!("call {offered} of {}: {problem}", self.load.calls));
                }
            }
        }
        Ok((refused_after, refusal))
    }

    fn one_call(&mut self, random: &mut Random) -> Result<(), NoCall> {
        let number = self.accepted;
        let addresses = [0, 1].map(|side| address_of(number, side));
        let request = CallRequest {
            number,
            browser: self.load.browser,
            red: self.load.red,
            addresses: [0, 1].map(|side| SocketAddrV4::new(addresses[side], self.ends.ports[side])),
            keys: [random.random(), random.random()],
        };
        let place = self.engine.create_call(&request)?;
        let ssrcs = [Ssrc(random.random()), Ssrc(random.random())];
        let master = |key: &[u8; 30]| {
            MasterKey::from_bytes(Profile::AES_CM_128_HMAC_SHA1_80, key)
                .map_err(|_| NoCall::Failed("30 bytes are no master key".to_owned()))
        };
        let protect = Sender::new(&master(&request.keys[0])?, ssrcs[0]);
        let receives = master(&place.browser_receives.unwrap_or(request.keys[1]))?;
        let steps = [self.load.browser.timestamp_step(), PCMU_TIMESTAMP_STEP];
        let (unprotect, heard_steps) = match place.heard {
            Heard::Engine => (Some(Receiver::new(&receives)), steps),
            Heard::OtherEnd => (None, [steps[1], steps[0]]),
        };
        // RED is around Opus only.
        let opus = Some(()).filter(|()| self.load.browser != BrowserKind::Pcmu);
        let browser = EndSettings {
            address: addresses[0],
            to: place.to[0],
            ssrc: ssrcs[0],
            payload_type: self.load.browser.payload_type(),
            timestamp_step: steps[0],
            heard_timestamp_step: heard_steps[0],
            payloads: Arc::clone(&self.material.browser),
            place: random.random_range(0..self.material.browser.len()),
            protect: Some(protect),
            unprotect,
            consent_check: place.consent_check,
            rtcp: Some(Rtcp::new(ssrcs[0])),
            red_sent: opus.and(self.load.red.sent()),
            red_heard: opus.and(self.load.red.heard()),
        };
        let trunk = EndSettings {
            address: addresses[1],
            to: place.to[1],
            ssrc: ssrcs[1],
            payload_type: PayloadType::PCMU,
            timestamp_step: steps[1],
            heard_timestamp_step: heard_steps[1],
            payloads: Arc::clone(&self.material.trunk),
            place: random.random_range(0..self.material.trunk.len()),
            protect: None,
            unprotect: None,
            consent_check: None,
            rtcp: None,
            red_sent: None,
            red_heard: None,
        };
        self.ends
            .orders
            .send(Order::Add(Box::new([browser, trunk])))
            .map_err(|_| NoCall::Failed("the load generator ended".to_owned()))
    }
}
