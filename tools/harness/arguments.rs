//! The command line. A mistake in it is answered with what to write instead.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use linecard::audio::ladder::Rung;

use crate::baseline::forward::{ForwardArguments, Layout, Strategy};
use crate::ends::impairment::Impairments;
use crate::ends::material::{BrowserKind, Red};
use crate::machine::{Delivery, Priority};

/// The most calls: each has an address of its own, and our engine a port pair.
const CALLS_MAX: i64 = 6_000;

/// The most questions a second: an engine has sixty-four connections, of 500 each.
const QUERIES_MAX: i64 = 30_000;

const LOAD_EXAMPLES: &str = "\
Examples:
  tools/load --calls 300                            300 calls for ten seconds
  tools/load --search --page load.html              what a core carries, and a page with plots
  tools/load --calls 500 --offered 100              more than are taken: what is refused, and how soon
  tools/load --calls 20 --loss 5 --burst 2          what is left of holes
  tools/load --calls 250 --queries 10000            what it costs to be watched
  tools/load --calls 20 --kill                      the hole that a killed media process leaves
  tools/load --calls 4 --stall 200 --seconds 15     whether the stall leaves a delay behind
  tools/load --engine rtpengine --calls 30          the same load on Debian's rtpengine
A run in which the harness was late itself is told, and is no result.";
const COMPARE_EXAMPLES: &str = "\
Examples:
  tools/compare --quick --json FILE                 narrowband, fullband, relay and a rung, shortened
  tools/compare                                     everything
  tools/compare --part overload --part stall        two parts
  tools/compare --against OLD/linecard              this build beside an older one: what a change cost
A ratio is a result only when no run was starved, and only beyond what the turns differ by themselves.";

/// Load for media engines.
#[derive(Debug, Parser)]
#[command(name = "linecard-harness")]
pub struct Arguments {
    /// What is to be done.
    #[command(subcommand)]
    pub task: Task,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Loads one engine with calls and says what it cost and how late and complete the audio came
    #[command(name = "load", override_usage = "tools/load [OPTIONS]", after_help = LOAD_EXAMPLES)]
    Load(LoadArguments),
    /// Runs linecard and Debian's rtpengine under the same load, in turns, and writes them side by side:
    /// under thirty minutes, or five for each part at most, eight for queries
    #[command(
        name = "compare",
        override_usage = "tools/compare [OPTIONS]",
        after_help = COMPARE_EXAMPLES
    )]
    Compare(CompareArguments),
    /// Passes datagrams on: a child process of the other two
    #[command(name = "forward", hide = true)]
    Forward(ForwardArguments),
}

/// Of `compare`.
#[derive(Clone, Debug, Args)]
pub struct CompareArguments {
    /// A short version, in under five minutes: capacity, cost and delay only
    #[arg(long)]
    pub quick: bool,
    /// Writes the figures there as one object
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the page goes
    #[arg(long, value_name = "FILE", default_value = "target/compare.html")]
    pub page: PathBuf,
    /// Compares another linecard program with this one, in place of rtpengine: narrowband, fullband and
    /// relay, in under ten minutes
    #[arg(long, value_name = "PROGRAM")]
    pub against: Option<PathBuf>,
    /// Turns of each of two programs, or with and without queries; the figures are medians of five unless
    /// given
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=15))]
    pub turns: Option<u8>,
    /// Seconds measured in such a turn; 8 of a program, 5 of queries unless given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=60))]
    pub seconds: Option<u16>,
    /// Calls in every such turn; four fifths of what the other program is likely to carry, or of what is
    /// found to be carried without queries, unless given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=CALLS_MAX))]
    pub calls: Option<u16>,
    /// Only this part; say it again for more
    #[arg(long, value_enum, value_name = "PART")]
    pub part: Vec<Part>,
    #[command(flatten)]
    pub machine: MachineArguments,
}

/// What can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Capacity, cost and delay with narrowband Opus from the browser.
    Narrowband,
    /// The same with fullband Opus.
    Fullband,
    /// The same with G.711 on both legs.
    Relay,
    /// Delay after the senders stalled for 200 ms.
    Stall,
    /// Holes and slips at 1, 5 and 10 % loss.
    Loss,
    /// Each offered half as many calls again as it carries.
    Overload,
    /// Ours on each rung of its encoder ladder, beside the codecs alone.
    Rungs,
    /// No engine at all: datagrams passed on, with each way of receiving them.
    Sockets,
    /// Ours with 10,000 questions of observers a second, beside none.
    Queries,
}

impl Part {
    /// In the order they are done.
    pub const ALL: [Part; 9] = [
        Part::Narrowband,
        Part::Fullband,
        Part::Relay,
        Part::Stall,
        Part::Loss,
        Part::Overload,
        Part::Rungs,
        Part::Sockets,
        Part::Queries,
    ];
    /// Of the short version.
    pub const QUICK: [Part; 4] = [Part::Narrowband, Part::Fullband, Part::Relay, Part::Rungs];
}

/// Of `load`.
#[derive(Clone, Debug, Args)]
pub struct LoadArguments {
    /// Two-legged calls, from 1 to 6000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=CALLS_MAX))]
    pub calls: u16,
    /// Seconds measured, from 1 to 3600, after a warm-up of two
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub seconds: u16,
    /// What the browsers send
    #[arg(long, value_enum, default_value = "narrowband")]
    pub browser: BrowserKind,
    /// Writes the figures there
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Searches for the most calls the engine carries, beginning with --calls, then measures at four
    /// fifths of that
    #[arg(long, conflicts_with = "offered")]
    pub search: bool,
    /// Writes a page with plots there
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Offers the calls at this many a second and measures those that are accepted
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub offered: Option<u32>,
    /// Kills linecard (SIGKILL) five times in mid-call, starts another at once that goes on with the calls
    /// from snapshots a second old, and says for how long nobody heard anything
    #[arg(long, conflicts_with_all = ["search", "offered", "queries", "page", "control", "seconds"])]
    pub kill: bool,
    /// Asks linecard for statistics so many times a second meanwhile, as observers of its control socket
    /// do, from the generator's core; the cost is then the media thread's alone. 0: they are connected
    /// and ask nothing
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(0..=QUERIES_MAX))]
    pub queries: Option<u32>,
    /// linecard, rtpengine (Debian's, started here), ng://HOST:PORT (a running rtpengine), none
    /// (browsers and trunks send to each other), or forward (datagrams are passed on and nothing else:
    /// the price of the sockets; forward:STRATEGY:SOCKETS says how, e.g. forward:one-shot:shared)
    #[arg(long, default_value = "linecard")]
    pub engine: EngineChoice,
    /// The control socket of a running `linecard media`; without it one is started
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
    /// How our engine encodes toward the browser: silk_48k_fec, silk_24k_red, celt_48k_red or celt_48k;
    /// its own choice unless given
    #[arg(long, value_name = "RUNG", value_parser = rung)]
    pub rung: Option<Rung>,
    /// What the browsers do with redundant audio (RFC 2198)
    #[arg(long, value_enum, default_value = "accept")]
    pub red: Red,
    #[command(flatten)]
    pub machine: MachineArguments,
    #[command(flatten)]
    pub impairments: ImpairmentArguments,
}

/// What is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// Our media process.
    Linecard,
    /// rtpengine: Debian's, started here, or a running one at this NG address.
    Rtpengine(Option<SocketAddr>),
    /// Nothing: what the generator costs by itself.
    None,
    /// Datagrams are passed on, received so, on such sockets.
    Forward(Strategy, Layout),
}

impl std::str::FromStr for EngineChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("ng://").map(str::parse)) {
            ("linecard", _) => Ok(EngineChoice::Linecard),
            ("rtpengine", _) => Ok(EngineChoice::Rtpengine(None)),
            ("none", _) => Ok(EngineChoice::None),
            (_, Some(Ok(address))) => Ok(EngineChoice::Rtpengine(Some(address))),
            _ => forwarder(text).ok_or_else(|| {
                "write linecard, rtpengine, none, forward, forward:one-shot:shared, or the address of \
                 a running rtpengine, e.g. ng://127.0.0.1:2223"
                    .to_owned()
            }),
        }
    }
}

/// `forward`, `forward:STRATEGY` or `forward:STRATEGY:SOCKETS`.
fn forwarder(text: &str) -> Option<EngineChoice> {
    let mut words = text.split(':');
    words.next().filter(|word| *word == "forward")?;
    let strategy =
        words.next().map_or(Ok(Strategy::Multishot), |word| Strategy::from_str(word, false));
    let layout = words.next().map_or(Ok(Layout::Each), |word| Layout::from_str(word, false));
    let choice = EngineChoice::Forward(strategy.ok()?, layout.ok()?);
    words.next().is_none().then_some(choice)
}

/// How the machine is used.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The machine")]
pub struct MachineArguments {
    /// The engine's core; the last one by default
    #[arg(long, value_name = "CORE")]
    pub engine_core: Option<usize>,
    /// The generator's core; the first one by default
    #[arg(long, value_name = "CORE")]
    pub generator_core: Option<usize>,
    /// Scheduling of engine and generator; fifo when that is allowed
    #[arg(long, value_enum)]
    pub priority: Option<Priority>,
    /// Who carries datagrams over the loopback device
    #[arg(long, value_enum, default_value = "sender")]
    pub delivery: Delivery,
}

/// What the network does to what the generator sends.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "The network, toward the engine in both directions")]
pub struct ImpairmentArguments {
    /// Percent of packets lost
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub loss: f64,
    /// Packets lost in a row, on average; linecard leaves a pause of what is missing beyond 120 ms
    #[arg(long, value_name = "PACKETS", default_value_t = 1.0, value_parser = burst, requires = "loss")]
    pub burst: f64,
    /// Percent of packets sent twice
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub duplicate: f64,
    /// Percent of packets that come later than their successors
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub reorder: f64,
    /// How much later those come, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 45, value_parser = clap::value_parser!(u32).range(1..=60), requires = "reorder")]
    pub reorder_by: u32,
    /// Each packet comes up to this many milliseconds later, in order
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=500))]
    pub jitter: u32,
    /// Every stream stops once for this many milliseconds, then all of it comes at once
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=5000))]
    pub stall: u32,
}

impl ImpairmentArguments {
    /// As the generator takes them.
    pub fn impairments(&self) -> Impairments {
        Impairments {
            loss_percent: self.loss,
            burst_packets: if self.loss > 0.0 { self.burst } else { 0.0 },
            duplicate_percent: self.duplicate,
            reorder_percent: self.reorder,
            reorder_ms: if self.reorder > 0.0 { self.reorder_by } else { 0 },
            jitter_ms: self.jitter,
            stall_ms: self.stall,
        }
    }
}

fn percent(text: &str) -> Result<f64, String> {
    number(text, 0.0..=50.0).ok_or_else(|| "write a number from 0 to 50, e.g. 5".to_owned())
}

fn burst(text: &str) -> Result<f64, String> {
    number(text, 1.0..=20.0).ok_or_else(|| "write a number from 1 to 20, e.g. 3".to_owned())
}

fn number(text: &str, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
    text.parse().ok().filter(|number| range.contains(number))
}

fn rung(text: &str) -> Result<Rung, String> {
    let known = Rung::ALL.into_iter().find(|rung| rung.name() == text);
    known.ok_or_else(|| format!("write one of {}", Rung::ALL.map(Rung::name).join(", ")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_help_names_every_rung() {
        let mut command = Arguments::command();
        let load = command.find_subcommand_mut("load").expect("a subcommand");
        let help = load.render_long_help().to_string();
        for rung in Rung::ALL {
            assert!(help.contains(rung.name()), "{} in {help}", rung.name());
        }
    }

    #[test]
    fn the_short_version_is_made_of_parts_of_the_whole() {
        assert!(Part::QUICK.iter().all(|part| Part::ALL.contains(part)));
        Arguments::command().debug_assert();
    }
}
