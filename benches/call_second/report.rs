//! What the bench says: a line while it runs and a table at the end, with its settings and with what
//! makes it doubtful.

use std::io::{IsTerminal, Write, stderr};

use linecard::audio::opus::{self, EncoderSettings};

use crate::Cores;
use crate::codec_loop::CodecCost;
use crate::load::{Outcome, PROFILE};
use crate::media_process::Cpu;

/// A generator that sends later than this, a tenth of a packet, measures itself.
const LATE_MS_MAX: f64 = 2.0;
/// The share of time that media may have waited for its own core: more is somebody else's delay.
const WAITED_PERCENT_MAX: f64 = 5.0;
/// Packets decoded and encoded in a second of a call: two of each every 20 ms.
const FRAMES_PER_CALL_SECOND: f64 = 200.0;
/// Media that did less than this share of its work is overloaded, or got too little of the load.
const WORK_DONE_PERCENT_MIN: f64 = 98.0;
/// How far apart the two runs of the codec loop may be.
const CODEC_SPREAD_PERCENT_MAX: f64 = 10.0;

/// Of a set of delays, in milliseconds.
#[derive(Clone, Copy, Default)]
pub struct Percentiles {
    /// Median.
    pub p50_ms: f64,
    /// One in a hundred is longer.
    pub p99_ms: f64,
}

impl Percentiles {
    /// Of microseconds in any order.
    pub fn of(mut samples_us: Vec<u32>) -> Self {
        samples_us.sort_unstable();
        let at = |share: f64| {
            let place = (samples_us.len() as f64 * share) as usize;
            samples_us.get(place).map_or(f64::NAN, |us| f64::from(*us) / 1e3)
        };
        Self { p50_ms: at(0.5), p99_ms: at(0.99) }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.p50_ms.is_nan() {
            return f.write_str("none came in time");
        }
        write!(f, "{:.2} / {:.2}", self.p50_ms, self.p99_ms)
    }
}

/// What was measured with one kind of browser.
pub struct Column {
    /// Of the browser.
    pub browser: &'static str,
    /// Mean bit rate of its payload.
    pub payload_kbps: f64,
    /// Opus modes of its packets.
    pub modes: String,
    /// Calls at once.
    pub calls: usize,
    /// While measured.
    pub cpu: Cpu,
    /// Before and after.
    pub codec: [CodecCost; 2],
    /// What the load generator saw.
    pub outcome: Outcome,
}

impl Column {
    fn per_call_second(&self, milliseconds: f64) -> f64 {
        milliseconds / (self.calls as f64 * self.cpu.elapsed.as_secs_f64())
    }

    fn media_ms(&self) -> f64 {
        self.per_call_second(self.cpu.thread_ms)
    }

    fn codec_ms(&self) -> f64 {
        let [before, after] = self.codec.map(|cost| cost.cpu_ms_per_call_second);
        (before + after) / 2.0
    }

    fn codec_spread_percent(&self) -> f64 {
        let [before, after] = self.codec.map(|cost| cost.cpu_ms_per_call_second);
        (before - after).abs() * 100.0 / self.codec_ms()
    }

    fn waited_percent(&self) -> f64 {
        self.cpu.waited_ms / 10.0 / self.cpu.elapsed.as_secs_f64()
    }

    fn work_done_percent(&self) -> f64 {
        self.per_call_second(self.cpu.frames as f64) * 100.0 / FRAMES_PER_CALL_SECOND
    }

    /// What makes the figures doubtful.
    fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let done = self.work_done_percent();
        if done < WORK_DONE_PERCENT_MIN {
            doubts.push(format!(
                "starved: do not trust any figure; media had or did only {done:.0} % of the work"
            ));
        }
        let late = self.outcome.late.p99_ms;
        if late > LATE_MS_MAX {
            doubts.push(format!(
                "starved: do not trust delay and loss; the load generator itself was {late:.1} ms late"
            ));
        }
        let waited = self.waited_percent();
        if waited > WAITED_PERCENT_MAX {
            doubts.push(format!(
                "starved: do not trust delay and loss; media waited {waited:.0} % of the time for \
                 its core, which other programs used"
            ));
        }
        let spread = self.codec_spread_percent();
        if spread > CODEC_SPREAD_PERCENT_MAX {
            doubts.push(format!(
                "do not trust the share; the codec loop cost {spread:.0} % more in one run than in \
                 the other"
            ));
        }
        if self.outcome.bad > 0 {
            doubts.push(format!("{} packets from media could not be read", self.outcome.bad));
        }
        if cfg!(debug_assertions) {
            doubts.push("do not trust anything; this is not an optimised build".to_owned());
        }
        doubts
    }
}

/// One line that says what is being done; on a terminal it replaces the one before.
pub struct Progress {
    terminal: bool,
}

impl Progress {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self { terminal: stderr().is_terminal() }
    }

    /// Says it.
    pub fn say(&mut self, what: &str) {
        if self.terminal {
            eprint!("\r\x1b[K{what}");
            let _ = stderr().flush();
        } else {
            eprintln!("{what}");
        }
    }

    /// Leaves an empty line on a terminal.
    pub fn clear(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

/// Settings, then a column for each kind of browser, then doubts.
pub fn print(cores: Cores, calls: usize, seconds: u32, columns: &[Column]) {
    print_settings(cores, calls, seconds);
    let row = |name: &str, cell: &dyn Fn(&Column) -> String| {
        print!("{name:<44}");
        columns.iter().for_each(|column| print!("{:>28}", cell(column)));
        println!();
    };
    let fixed = |value: f64, digits: usize| format!("{value:.digits$}");
    row("browser sends", &|c| c.browser.to_owned());
    row("  its payload, kb/s", &|c| fixed(c.payload_kbps, 1));
    row("  its Opus modes", &|c| c.modes.clone());
    println!("CPU, ms per call-second");
    row("  media thread", &|c| fixed(c.media_ms(), 3));
    row("    the same by the scheduler's accounting", &|c| {
        fixed(c.per_call_second(c.cpu.scheduled_ms), 3)
    });
    row("  bare codec loop", &|c| fixed(c.codec_ms(), 3));
    row("    in its two runs", &|c| {
        c.codec.map(|cost| fixed(cost.cpu_ms_per_call_second, 3)).join(" and ")
    });
    row("  everything but the codecs", &|c| fixed(c.media_ms() - c.codec_ms(), 3));
    row("  control thread", &|c| fixed(c.per_call_second(c.cpu.others_ms), 3));
    row("codec share of the media thread, %", &|c| fixed(c.codec_ms() * 100.0 / c.media_ms(), 1));
    row("calls that a full core would be", &|c| fixed(1_000.0 / c.media_ms(), 0));
    row("load of the core by media, %", &|c| {
        fixed(c.cpu.thread_ms / 10.0 / c.cpu.elapsed.as_secs_f64(), 1)
    });
    row("frames decoded and encoded, % of those due", &|c| fixed(c.work_done_percent(), 1));
    for (direction, name) in ["browser to trunk", "trunk to browser"].into_iter().enumerate() {
        println!("{name}");
        let of = |c: &Column| c.outcome.directions[direction].delay;
        row("  lost, %", &|c| fixed(c.outcome.directions[direction].lost_percent(), 3));
        row("  added delay, ms, p50 / p99", &|c| of(c).to_string());
    }
    row("load generator late, ms, p50 / p99", &|c| c.outcome.late.to_string());
    row("media waited for its core, % of the time", &|c| fixed(c.waited_percent(), 1));
    for column in columns {
        for doubt in column.doubts() {
            println!("{}: {doubt}", column.browser);
        }
    }
}

fn print_settings(cores: Cores, calls: usize, seconds: u32) {
    let EncoderSettings { mode, bit_rate, complexity, fec, expected_loss_percent } =
        EncoderSettings::default();
    let fec =
        if fec { format!("FEC for {expected_loss_percent} % loss") } else { "no FEC".to_owned() };
    println!("CPU time of the media process for one second of one transcoded call");
    println!("machine   {}; media on core {}, load on core {}", machine(), cores.media, cores.load);
    println!(
        "calls     {calls}, both directions, a packet each 20 ms at random phases, speech; \
         {seconds} s measured after {} s",
        crate::WARM_UP.as_secs()
    );
    println!(
        "leg a     browser: shared port, SRTP {PROFILE:?}, Opus at 8 kHz; media encodes with {mode:?} at {} kb/s, \
         complexity {complexity}, {fec}",
        bit_rate / 1_000
    );
    println!("leg b     trunk: a port pair a call, RTP, PCMU");
    println!(
        "codecs    {}; bare loop: as many states, round robin, same packets, speech and settings, \
         same core",
        opus::version()
    );
    println!();
}

fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let models = cpu.lines().filter_map(|line| line.strip_prefix("model name"));
    let model = models.map(|model| model.trim_start_matches([' ', '\t', ':'])).next();
    let kernel = read("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{}, {cores} cores, Linux {}", model.unwrap_or("unknown CPU"), kernel.trim())
}
