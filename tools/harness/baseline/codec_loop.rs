//! The bare codec loop: the codec work of N calls and nothing else, on the engine's core, while the
//! generator loads the other core against itself. What the media process takes beyond this is SRTP,
//! sockets, order, time and counters.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use linecard::audio::g711::{self, Law};
use linecard::audio::noise_packets::NoisePackets;
use linecard::audio::opus::{
    EncoderSettings, OpusArena, OpusDecoder, OpusEncoder, PACKET_SAMPLES_MAX,
};
use linecard::audio::silence::{SilenceGate, Verdict};

use crate::ends::material::Material;
use crate::ends::material::speech::FRAME;
use crate::machine::Priority;
use crate::machine::process::raise_as_engine;

/// Rounds of 20 ms before the clock counts.
const WARM_UP_ROUNDS: usize = 25;
const ROUNDS_PER_SECOND: f64 = 50.0;
/// Bytes of the largest Opus frame (RFC 6716 §3.2.1).
const PAYLOAD_BYTES_MAX: usize = 1_275;

/// The codec work of so many calls, round robin, over as many states as the media process has, each
/// at another place in the speech.
pub struct CodecLoop<'a> {
    /// The engine's.
    pub core: usize,
    /// As the engine has it.
    pub priority: Priority,
    /// How many.
    pub calls: u16,
    /// Of the encoder toward the browser.
    pub settings: EncoderSettings,
    /// What is decoded and encoded.
    pub material: &'a Material,
}

/// Of one call.
type States = (OpusDecoder, OpusEncoder, SilenceGate);

impl CodecLoop<'_> {
    /// CPU milliseconds for one second of one call, both directions; goes on until told to stop.
    pub fn cost_ms(&self, stop: &AtomicBool) -> Result<f64, String> {
        let core = self.core;
        if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
            return Err(format!("core {core}, the engine's, is not ours to use"));
        }
        raise_as_engine(self.priority)?;
        NoisePackets::shared().make(|| {});
        let calls = usize::from(self.calls);
        let arena = OpusArena::new(calls).map_err(|error| error.to_string())?;
        let full = |_| "the arena has too few states".to_owned();
        let states = (0..calls).map(|_| {
            let encoder = arena.encoder(self.settings).map_err(full)?;
            Ok((arena.decoder().map_err(full)?, encoder, SilenceGate::default()))
        });
        let mut states = states.collect::<Result<Vec<_>, String>>()?;
        let (mut began, mut round) = (Duration::ZERO, 0);
        while !stop.load(Ordering::Relaxed) || round <= WARM_UP_ROUNDS {
            if round == WARM_UP_ROUNDS {
                began = thread_cpu();
            }
            self.round(&mut states, round)?;
            round += 1;
        }
        let cpu_ms = (thread_cpu() - began).as_secs_f64() * 1e3;
        let seconds = (round - WARM_UP_ROUNDS) as f64 / ROUNDS_PER_SECOND;
        Ok(cpu_ms / (calls as f64 * seconds))
    }

    /// 20 ms of every call.
    fn round(&self, states: &mut [States], round: usize) -> Result<(), String> {
        let Material { browser, trunk } = self.material;
        let mut pcm = [0; PACKET_SAMPLES_MAX];
        let (mut codes, mut payload) = ([0; FRAME], [0; PAYLOAD_BYTES_MAX]);
        for (call, (decoder, encoder, gate)) in states.iter_mut().enumerate() {
            // Calls say different things at the same time.
            let place = round + call * 37;
            let heard = &browser[place % browser.len()];
            let samples = decoder.decode(heard, &mut pcm).map_err(|_| "not Opus")?;
            g711::encode(Law::Mu, &pcm[..samples], &mut codes);
            black_box(&codes);
            let spoken = &trunk[place % trunk.len()];
            g711::decode(Law::Mu, spoken, &mut pcm[..FRAME]);
            if gate.judge(&pcm[..FRAME]) == Verdict::Encode {
                let length = encoder.encode(&pcm[..FRAME], &mut payload);
                let length = length.map_err(|_| "not encoded")?;
                gate.encoded(&payload[..length]);
                black_box(&payload[..length]);
            }
        }
        Ok(())
    }
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
