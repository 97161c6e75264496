//! The bare codec loop: the codec work of N calls and nothing else, on the media thread's core. What
//! the media process takes beyond this is SRTP, sockets, order, time and counters.

use std::hint::black_box;
use std::time::Duration;

use linecard::audio::g711::{self, Law};
use linecard::audio::opus::{EncoderSettings, OpusArena, PACKET_SAMPLES_MAX};

use crate::material::speech::FRAME;
use crate::material::{Browser, Material};

/// Packets of each call before the clock counts.
const WARM_UP_PACKETS: u32 = 25;
const PACKETS_PER_SECOND: u32 = 50;

/// What the codecs cost.
#[derive(Clone, Copy)]
pub struct CodecCost {
    /// CPU milliseconds for one second of one call, both directions.
    pub cpu_ms_per_call_second: f64,
}

/// `seconds` of `calls` calls, round robin over as many states as the media process has, each call
/// at another place in the speech.
pub fn run(
    core: usize,
    calls: usize,
    seconds: u32,
    material: &Material,
    browser: &Browser,
) -> Result<CodecCost, String> {
    let work = || {
        core_affinity::set_for_current(core_affinity::CoreId { id: core });
        let arena = OpusArena::new(calls).map_err(|error| error.to_string())?;
        let full = |_| "the arena has too few states".to_owned();
        let states = (0..calls).map(|_| {
            let encoder = arena.encoder(EncoderSettings::default()).map_err(full)?;
            Ok((arena.decoder().map_err(full)?, encoder))
        });
        let mut states = states.collect::<Result<Vec<_>, String>>()?;
        let mut pcm = [0; PACKET_SAMPLES_MAX];
        let (mut codes, mut payload) = ([0; FRAME], [0; 1_275]);
        let mut began = Duration::ZERO;
        let packets = seconds * PACKETS_PER_SECOND;
        for packet in 0..WARM_UP_PACKETS + packets {
            if packet == WARM_UP_PACKETS {
                began = thread_cpu();
            }
            for (call, (decoder, encoder)) in states.iter_mut().enumerate() {
                let place = packet as usize + offset(call, material);
                let heard = &browser.packets[place % browser.packets.len()];
                let samples = decoder.decode(heard, &mut pcm).map_err(|_| "not Opus")?;
                g711::encode(Law::Mu, &pcm[..samples], &mut codes);
                black_box(&codes);
                let spoken = &material.pcmu[place % material.pcmu.len()];
                g711::decode(Law::Mu, spoken, &mut pcm[..FRAME]);
                let length = encoder.encode(&pcm[..FRAME], &mut payload);
                black_box(&payload[..length.map_err(|_| "not encoded")?]);
            }
        }
        let cpu_ms = (thread_cpu() - began).as_secs_f64() * 1e3;
        Ok(CodecCost { cpu_ms_per_call_second: cpu_ms / (calls as f64 * f64::from(seconds)) })
    };
    // A thread of its own, so that this one keeps its cores.
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|_| Err("the codec loop failed".to_owned()))
    })
}

/// Where in the speech a call begins: calls say different things at the same time.
pub fn offset(call: usize, material: &Material) -> usize {
    call * 37 % material.pcmu.len()
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
