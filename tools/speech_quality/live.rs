//! A call through somebody else's engine in real time: a browser's packets are sent to it, and what it
//! sends to the trunk is recorded.
//!
//! A telephone conceals what does not come, so gaps are concealed here as well (G.711 Appendix I). An
//! engine whose timestamps do not go on over a loss would be played too fast by one, with gaps by
//! another that looks at sequence numbers: both are written, and the better one is scored.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use linecard::audio::conceal::Concealer;
use linecard::audio::g711::{self, Law};
use linecard::audio::opus::OpusArena;
use linecard::base::narrow::Narrow;
use linecard::srtp::keys::MasterKey;
use linecard::wire::rtp::{RtpPacket, RtpTimestamp, SequenceNumber};
use serde_json::{Value, json};

use crate::browser::{Browser, Protection};
use crate::loss::Condition;
use crate::material::{self, FRAME};

const PACKET_TIME: Duration = Duration::from_millis(20);
/// What is still on its way arrives within this.
const DRAIN: Duration = Duration::from_millis(500);
/// How often the recorder looks whether the call is over.
const PATIENCE: Duration = Duration::from_millis(100);
/// Packets of a call of ten minutes; nothing beyond is kept.
const PACKETS_MAX: usize = 30_000;

/// One call.
#[derive(Args)]
pub struct Call {
    /// Speech.
    #[arg(long)]
    segment: PathBuf,
    /// Loss between the browser and the engine.
    #[arg(long)]
    loss: Condition,
    /// Which packets are lost.
    #[arg(long)]
    seed: u64,
    /// Our address as the browser.
    #[arg(long)]
    browser: SocketAddr,
    /// Where the browser sends to.
    #[arg(long)]
    to: SocketAddr,
    /// Our address as the trunk.
    #[arg(long)]
    trunk: SocketAddr,
    /// What was heard is written to `OUT.time.raw` and `OUT.sequence.raw`.
    #[arg(long)]
    out: String,
}

struct Heard {
    sequence_number: SequenceNumber,
    timestamp: RtpTimestamp,
    payload: Vec<u8>,
}

/// Makes the call.
pub fn run(protection: Protection, call: &Call, key: MasterKey) -> Result<Value, String> {
    let arena = OpusArena::new(1).map_err(|error| error.to_string())?;
    let samples = material::read(&call.segment)?;
    let lost = call.loss.lost(samples.len() / FRAME, call.seed);
    let mut browser = Browser::new(&arena, protection, call.loss, key)?;
    let packets = samples
        .chunks_exact(FRAME)
        .map(|pcm| browser.packet(pcm))
        .collect::<Result<Vec<_>, _>>()?;
    let bind = |address: SocketAddr| {
        UdpSocket::bind(address).map_err(|error| format!("UDP {address}: {error}"))
    };
    let (sender, trunk) = (bind(call.browser)?, bind(call.trunk)?);
    trunk.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;

    let over = AtomicBool::new(false);
    let (heard, late_ms_max) = thread::scope(|scope| {
        let recorder = scope.spawn(|| record(&trunk, &over));
        let late = send(&sender, call.to, &packets, &lost);
        thread::sleep(DRAIN);
        over.store(true, Ordering::Relaxed);
        (recorder.join().unwrap_or_default(), late)
    });
    let first = heard.first().ok_or("nothing came to the trunk")?;
    let (base_time, base_number) = (first.timestamp, first.sequence_number);
    let by_time = play(&heard, samples.len(), |packet| packet.timestamp.distance(base_time).into());
    let by_sequence = play(&heard, samples.len(), |packet| {
        i64::from(packet.sequence_number.distance(base_number)) * Narrow::<i64>::narrow(FRAME)
    });
    let mut files = Vec::new();
    for (name, audio) in [("time", by_time), ("sequence", by_sequence)] {
        let file = PathBuf::from(format!("{}.{name}.raw", call.out));
        material::write(&file, &audio)?;
        files.push(file);
    }
    Ok(json!({"files": files, "late_ms_max": late_ms_max}))
}

/// Sends what is not lost, each packet at its time; tells how late one was at most.
fn send(socket: &UdpSocket, to: SocketAddr, packets: &[Vec<u8>], lost: &[bool]) -> u64 {
    let begin = Instant::now();
    let mut late = Duration::ZERO;
    for (number, (packet, lost)) in packets.iter().zip(lost).enumerate() {
        let due = begin + PACKET_TIME * number.narrow();
        thread::sleep(due.saturating_duration_since(Instant::now()));
        late = late.max(due.elapsed());
        if !lost {
            // An engine that does not listen is noticed by what the trunk does not hear.
            let _ = socket.send_to(packet, to);
        }
    }
    late.as_millis().narrow()
}

fn record(socket: &UdpSocket, over: &AtomicBool) -> Vec<Heard> {
    let mut heard = Vec::new();
    let mut datagram = [0; 2_000];
    while !over.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut datagram) else { continue };
        if let Ok(RtpPacket { header, payload, .. }) = RtpPacket::parse(&datagram[..length])
            && heard.len() < PACKETS_MAX
        {
            let (sequence_number, timestamp) = (header.sequence_number, header.timestamp);
            heard.push(Heard { sequence_number, timestamp, payload: payload.to_vec() });
        }
    }
    heard
}

/// Plays packets at their places, in samples from the first, and conceals what lies between.
fn play(heard: &[Heard], samples: usize, place_of: impl Fn(&Heard) -> i64) -> Vec<i16> {
    let places: BTreeMap<i64, &Heard> =
        heard.iter().map(|packet| (place_of(packet), packet)).collect();
    let mut audio = Vec::with_capacity(samples);
    let mut concealer = Concealer::new();
    for (place, packet) in places {
        let Ok(place) = usize::try_from(place) else { continue };
        let length = packet.payload.len();
        if place < audio.len() || place + length > samples {
            continue;
        }
        if place > audio.len() {
            let begin = audio.len();
            audio.resize(place, 0);
            concealer.conceal(&mut audio[begin..]);
        }
        audio.resize(place + length, 0);
        g711::decode(Law::Mu, &packet.payload, &mut audio[place..]);
        concealer.received(&mut audio[place..]);
    }
    audio.resize(samples, 0);
    audio
}
