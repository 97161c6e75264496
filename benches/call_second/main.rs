//! CPU time of the media process for one second of one transcoded call, next to the bare codec loop
//! with the same settings in the same run.
//!
//! ```text
//! cargo bench --bench call_second -- [--calls N] [--seconds S]
//! ```
//!
//! It starts the real `linecard media` on one core and, on another, sends N calls' speech in both
//! directions over real sockets: Opus under SRTP through the shared browser port on one leg, PCMU on
//! the other, a packet each 20 ms at random phases. It counts what comes back, how late, and how late
//! it was itself; the CPU time is the kernel's. This measures what a call costs. It looks for no
//! capacity, injects no loss and compares with no peer.
//!
//! Two things make media look dearer here than on a full core behind a network card. With few calls
//! it wakes for one packet at a time: of 100 calls each takes 1 ms a second more beside the codecs
//! than of 200. And over loopback the sender's thread also carries a datagram to the receiver's
//! socket and wakes the receiver: in a profile of 200 calls that was 12 % of the media thread.

mod codec_loop;
mod fullband;
mod load;
mod material;
mod media_process;
mod report;
mod stamped;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::load::Load;
use crate::material::{Browser, Material};
use crate::media_process::MediaProcess;
use crate::report::{Column, Progress};

/// Caches, branch predictors and repair windows settle within this.
const WARM_UP: Duration = Duration::from_secs(2);
/// What was sent last has come back after this, or never does.
const DRAIN: Duration = Duration::from_millis(300);

/// Measures the CPU time of the media process per transcoded call-second.
#[derive(Parser)]
struct Arguments {
    /// Two-legged calls; few enough that the core is not full.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    calls: u16,
    /// Seconds measured, after warm-up, for each kind of browser.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Which core does what.
#[derive(Clone, Copy)]
pub struct Cores {
    /// The media thread's and the codec loop's.
    pub media: usize,
    /// The load generator's.
    pub load: usize,
}

impl Cores {
    /// The last core for media and the first for the load; the same when there is only one.
    fn here() -> Result<Self, String> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        match (cores.first(), cores.last()) {
            (Some(first), Some(last)) => Ok(Self { media: last.id, load: first.id }),
            _ => Err("the kernel does not tell which cores there are".to_owned()),
        }
    }
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("call_second: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<(), String> {
    let (calls, seconds) = (usize::from(arguments.calls), u32::from(arguments.seconds));
    let cores = Cores::here()?;
    let material = Material::new();
    let mut progress = Progress::new();
    let mut media = MediaProcess::start(cores.media, calls)?;
    let mut columns = Vec::new();
    for browser in &material.browsers {
        columns.push(column(&mut media, cores, calls, seconds, &material, browser, &mut progress)?);
    }
    drop(media);
    progress.clear();
    report::print(cores, calls, seconds, &columns);
    Ok(())
}

/// Codec loop, media process, codec loop again: what the machine's mood changes shows in the two.
fn column(
    media: &mut MediaProcess,
    cores: Cores,
    calls: usize,
    seconds: u32,
    material: &Material,
    browser: &Browser,
    progress: &mut Progress,
) -> Result<Column, String> {
    let bare = |progress: &mut Progress| {
        progress.say(&format!("{}: bare codec loop", browser.name));
        codec_loop::run(cores.media, calls, seconds.div_ceil(2), material, browser)
    };
    let codec_before = bare(progress)?;

    progress.say(&format!("{}: setting {calls} calls up", browser.name));
    let load = Load::start(cores.load, media, calls, material, browser)?;
    std::thread::sleep(WARM_UP);
    let before = media.cpu()?;
    load.measure(true);
    for second in 0..seconds {
        progress.say(&format!("{}: {calls} calls, second {second} of {seconds}", browser.name));
        std::thread::sleep(Duration::from_secs(1));
    }
    load.measure(false);
    let cpu = media.cpu()?.since(&before);
    load.stop_sending();
    std::thread::sleep(DRAIN);
    let outcome = load.finish(media)?;

    let codec_after = bare(progress)?;
    Ok(Column {
        browser: browser.name,
        payload_kbps: browser.kbps(),
        modes: browser.modes(),
        calls,
        cpu,
        codec: [codec_before, codec_after],
        outcome,
    })
}
