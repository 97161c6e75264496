//! Trunk to browser: the product's encoder, packets lost, and a receiver that waits for one packet
//! more, as a browser's jitter buffer does: a lost packet is rebuilt from what the next one carries of
//! it, by RED or in-band FEC, else concealed. libopus conceals here; a browser's own concealment
//! differs, so scores of recipes are to be compared with each other.

use linecard::audio::opus::{Filled, OpusArena, carries_fec};
use linecard::audio::silence::{SilenceGate, Verdict};
use serde_json::{Value, json};

use crate::Run;
use crate::material::{self, FRAME};
use crate::recipe::Recipe;

/// Recipes that take turns do so every second.
const TURN_FRAMES: usize = 50;

/// What was sent.
#[derive(Default)]
struct Tally {
    frames: usize,
    bytes: usize,
    with_fec: usize,
}

/// Encodes, loses and decodes each segment under each condition.
pub fn run(recipe: &Recipe, run: &Run) -> Result<Value, String> {
    let arena = OpusArena::new(1).map_err(|error| error.to_string())?;
    let mut tally = Tally::default();
    let heard = material::each(run, |samples, condition, seed| {
        let packets = encode(&arena, recipe, samples)?;
        if condition.percent == 0 {
            tally.frames += packets.len();
            tally.bytes += packets.iter().map(Vec::len).sum::<usize>();
            tally.with_fec += packets.iter().filter(|packet| carries_fec(packet)).count();
        }
        let lost = condition.lost(packets.len(), seed);
        receive(&arena, recipe.redundancy, &packets, &lost)
    })?;
    let copies = if recipe.redundancy { 2 } else { 1 };
    Ok(json!({
        "heard": heard,
        "kbit_s": (copies * tally.bytes * 8 * 50) as f64 / tally.frames.max(1) as f64 / 1e3,
        "fec_share": tally.with_fec as f64 / tally.frames.max(1) as f64,
    }))
}

fn encode(
    arena: &std::rc::Rc<OpusArena>,
    recipe: &Recipe,
    samples: &[i16],
) -> Result<Vec<Vec<u8>>, String> {
    let mut encoder = arena.encoder(recipe.settings).map_err(|full| full.to_string())?;
    let mut gate = SilenceGate::default();
    let mut packet = [0; 1_500];
    let mut packets = Vec::with_capacity(samples.len() / FRAME);
    for (number, pcm) in samples.chunks_exact(FRAME).enumerate() {
        if let Some(alternative) = recipe.alternative
            && number % TURN_FRAMES == 0
        {
            let first = (number / TURN_FRAMES).is_multiple_of(2);
            encoder.configure(if first { recipe.settings } else { alternative });
        }
        let verdict = if recipe.gate { gate.judge(pcm) } else { Verdict::Encode };
        packets.push(match verdict {
            Verdict::Encode => {
                let length = encoder.encode(pcm, &mut packet).map_err(|_| "the encoder failed")?;
                gate.encoded(&packet[..length]);
                packet[..length].to_vec()
            }
            Verdict::Leave(byte) => vec![byte],
            Verdict::Noise(noise) => {
                encoder.interrupt();
                noise.to_vec()
            }
        });
    }
    Ok(packets)
}

fn receive(
    arena: &std::rc::Rc<OpusArena>,
    redundancy: bool,
    packets: &[Vec<u8>],
    lost: &[bool],
) -> Result<Vec<i16>, String> {
    let mut decoder = arena.decoder().map_err(|full| full.to_string())?;
    let mut heard = vec![0; packets.len() * FRAME];
    for (number, out) in heard.chunks_exact_mut(FRAME).enumerate() {
        let next = packets.get(number + 1).filter(|_| !lost[number + 1]);
        let own = Some(&packets[number]).filter(|_| !lost[number] || redundancy && next.is_some());
        match (own, next) {
            (Some(packet), _) => {
                decoder.decode(packet, out).map_err(|_| "the decoder failed")?;
            }
            (None, Some(next)) => {
                let _: Filled = decoder.recover(next, out);
            }
            (None, None) => decoder.conceal(out),
        }
    }
    Ok(heard)
}
