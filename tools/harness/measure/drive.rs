//! One run: calls set up, speech in both directions for some seconds, accounts read at both ends of
//! the measured time, everything summed up.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::mpsc::{Sender as OrderSender, channel};
use std::time::{Duration, Instant};

use linecard::base::random::{self, Random};
use linecard::srtp::keys::{MasterKey, Profile};
use linecard::srtp::protect::{Receiver, Sender};
use linecard::wire::rtp::{PayloadType, Ssrc};
use rand::RngExt;

use crate::ends::end::EndSettings;
use crate::ends::generator::{Generator, Order, Sockets, address_of};
use crate::ends::material::{BrowserKind, Material};
use crate::ends::rtcp::Rtcp;
use crate::engine::{CallRequest, Engine, Heard, NoCall};
use crate::machine::check_interrupted;
use crate::machine::clock::{ns, wall_ns};
use crate::machine::process::{Accounts, raise_generator};
use crate::measure::capacity::overloaded;
use crate::measure::load::{Load, Surroundings};
use crate::measure::outcome::Outcome;
use crate::measure::progress::Progress;
use crate::measure::run::Run;

/// What was sent last has come back after this, or is lost.
const DRAIN: Duration = Duration::from_millis(500);
/// What an impaired network still holds back has left after this, and the engine has given up what it
/// waits for.
const SETTLE: Duration = Duration::from_millis(200);
/// The measured time begins a moment after it is announced to the generator.
const ANNOUNCED: Duration = Duration::from_millis(20);
/// Between looks at the clock and at Ctrl-C.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// RTP clock in 20 ms of G.711.
const PCMU_TIMESTAMP_STEP: u32 = 160;
/// Room for delays of this many packets more than are due.
const SAMPLES_SPARE: usize = 10_000;

/// A starved run is repeated so often, then given up.
const TRIES: usize = 3;

/// Drives `load` against a fresh engine each time, for what one run did to it is not the next one's,
/// until a run is not starved. An engine that had its whole core and failed is believed at once. After
/// [`TRIES`] the run is given as it is.
pub fn drive_unstarved(
    start: impl Fn() -> Result<Box<dyn Engine>, String>,
    load: &Load,
    material: &Material,
    around: Surroundings,
    progress: &mut Progress,
) -> Result<Run, String> {
    let mut tries = TRIES;
    loop {
        let mut engine = start()?;
        let run = drive(engine.as_mut(), load, material, around, progress)?;
        tries -= 1;
        if run.starved.is_none() || tries == 0 || overloaded(&run) {
            return Ok(run);
        }
    }
}

/// Runs `load` against `engine`.
pub fn drive(
    engine: &mut dyn Engine,
    load: &Load,
    material: &Material,
    around: Surroundings,
    progress: &mut Progress,
) -> Result<Run, String> {
    let sockets = Sockets::bind().map_err(|error| format!("sockets of the load: {error}"))?;
    let ports = sockets.ports();
    let resident_before = resident(engine)?;
    let packets = usize::from(load.calls) * load.measured.as_secs_f64().ceil() as usize * 50;
    let (orders, received) = channel();
    let generator = Generator::new(sockets, received, load.impairments, packets + SAMPLES_SPARE);
    let (core, priority) = (around.cores.generator, around.priority);
    let thread = std::thread::Builder::new().name("generator".to_owned()).spawn(move || {
        if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
            return Err(format!("core {core}, the load generator's, is not ours to use"));
        }
        raise_generator(priority)?;
        generator.run().map_err(|error| format!("load generator: {error}"))
    });
    let thread = thread.map_err(|error| format!("load generator: {error}"))?;

    let mut set_up = SetUp { engine, load, material, ports, orders: &orders, accepted: 0 };
    let outcome = set_up.all_calls(progress).and_then(|(refused_after, refusal)| {
        let accepted = set_up.accepted;
        let measured = measure(set_up.engine, load, accepted, &orders, progress)?;
        Ok((refused_after, refusal, measured))
    });
    let accepted = set_up.accepted;
    let _ = orders.send(Order::End);
    let seen = thread.join().map_err(|_| "the load generator failed".to_owned())?;
    let (refused_after, refusal, (accounts, elapsed, resident_after)) = outcome?;
    let seen = seen?;
    for number in 0..accepted {
        engine.delete_call(number)?;
    }
    let resident_bytes = [resident_before, resident_after];
    let outcome = Outcome {
        accepted,
        refused_after,
        refusal,
        seen,
        counted: engine.counted(),
        accounts,
        elapsed,
        resident_bytes,
    };
    Ok(Run::of(load, engine.settings(), outcome))
}

fn resident(engine: &dyn Engine) -> Result<u64, String> {
    engine.process().map_or(Ok(0), |process| process.resident_bytes())
}

fn accounts(engine: &dyn Engine) -> Result<Accounts, String> {
    engine.process().map_or(Ok(Accounts::default()), |process| process.accounts())
}

/// Waits through warm-up and measured time, and reads the accounts at both ends of the latter.
fn measure(
    engine: &dyn Engine,
    load: &Load,
    accepted: u16,
    orders: &OrderSender<Order>,
    progress: &mut Progress,
) -> Result<(Accounts, Duration, u64), String> {
    let browser = load.browser.title();
    let what = format!("{browser}: {accepted} calls");
    wait(load.warm_up, |_| progress.say(&format!("{what}, warming up"), None))?;
    let from_ns = wall_ns() + ns(ANNOUNCED);
    let to_ns = from_ns + ns(load.measured);
    // Before the generator has ended nobody else drops the receiver.
    let _ = orders.send(Order::Measure([from_ns, to_ns]));
    wait(ANNOUNCED, |_| {})?;
    let (began, before) = (Instant::now(), accounts(engine)?);
    wait(load.measured, |share| progress.say(&format!("{what}, measuring"), Some(share)))?;
    let (after, elapsed) = (accounts(engine)?, began.elapsed());
    let resident_after = resident(engine)?;
    wait(DRAIN, |_| {})?;
    let _ = orders.send(Order::StopSending);
    if !load.impairments.are_none() {
        wait(SETTLE, |_| {})?;
    }
    Ok((after.since(&before), elapsed, resident_after))
}

fn wait(time: Duration, mut say: impl FnMut(f64)) -> Result<(), String> {
    let began = Instant::now();
    loop {
        check_interrupted()?;
        let passed = began.elapsed();
        if passed >= time {
            return Ok(());
        }
        say(passed.as_secs_f64() / time.as_secs_f64());
        std::thread::sleep(LOOK_EVERY.min(time - passed));
    }
}

struct SetUp<'a> {
    engine: &'a mut dyn Engine,
    load: &'a Load,
    material: &'a Material,
    ports: [u16; 2],
    orders: &'a OrderSender<Order>,
    accepted: u16,
}

impl SetUp<'_> {
    /// Offers every call; how long refusals took, and the last one's words.
    fn all_calls(
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
            addresses: [0, 1].map(|side| SocketAddrV4::new(addresses[side], self.ports[side])),
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
        self.orders
            .send(Order::Add(Box::new([browser, trunk])))
            .map_err(|_| NoCall::Failed("the load generator ended".to_owned()))
    }
}
