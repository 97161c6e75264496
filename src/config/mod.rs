//! Configuration: a TOML text becomes a [`Config`] whose every field is already the type the rest of
//! the program works with. Every key has a default, an unknown key is an error, and all mistakes are
//! reported together. `tools/linecard.example.toml` shows every key. Opening sockets and reading
//! certificates is left to those who use them.

mod read;
mod sections;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Table;

use crate::base::fault::Fault;
use crate::base::secret::Secret;
use crate::control::message::{Codec, Country, Source, Spacing};
use crate::wire::sdp::ComfortNoise;
pub use read::Mistake;
use read::Section;
use sections::{media_section, signal_section, table_of, tables_of, trunk_section, user_section};

/// Largest configuration file: 10,000 users of 100 bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Longest domain (RFC 1035 §2.3.4).
const DOMAIN_BYTES_MAX: usize = 253;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The media process.
    pub media: Media,
    /// The signaling process.
    pub signal: Signal,
    /// Who may register.
    pub users: Vec<User>,
    /// Where calls to other numbers go, tried in this order.
    pub trunks: Vec<Trunk>,
}

/// `[media]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// `control`: the Unix socket between the processes. Default: `linecard/media.sock` below
    /// `$XDG_RUNTIME_DIR`, else `/tmp/linecard-UID/media.sock`.
    pub control: PathBuf,
    /// `cores`: which cores run a media thread each; signaling stays on the others. Default: all but
    /// the first.
    pub cores: Vec<usize>,
    /// `address`: bound for media and put in SDP. Default 127.0.0.1.
    pub address: IpAddr,
    /// `browser_port`: thread k receives browsers' packets on this port + k. Default 40000.
    pub browser_port: u16,
    /// `trunk_ports`: RTP and RTCP pairs toward trunks. Default 30000-39999.
    pub trunk_ports: PortRange,
    /// `calls_per_core`: calls beyond this are refused. Default 1000.
    pub calls_per_core: usize,
    /// `load_max_percent`: calls that could load a core beyond this are refused. Default 90.
    pub load_max_percent: u16,
}

/// `[signal]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// `wss`: HTTPS and WSS. Default: port 8443 of `[media].address`.
    pub wss: SocketAddr,
    /// `sip`: SIP toward trunks. Default: port 5060 of `[media].address`.
    pub sip: SocketAddr,
    /// `domain`: the host part of users' addresses, and the digest realm. Default: the text of
    /// `[media].address`.
    pub domain: String,
    /// `certificate` and `key`. Default: self-signed, made at the first start.
    pub certificate: Certificate,
    /// `allowed_origins`: pages that may open the WebSocket. Default (empty): pages of this host
    /// itself, that is, whose Origin is `https://` and the request's Host.
    pub allowed_origins: Vec<Origin>,
    /// `records`: call records, one JSON object a line. Default: `calls.jsonl` beside the control
    /// socket.
    pub records: PathBuf,
    /// `hold_music`: what is heard on hold, a WAV file as the media process reads them. Default: silence.
    pub hold_music: Option<PathBuf>,
}

/// Where the HTTPS certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Made at the first start and kept in these files, so that a browser's exception survives a
    /// restart.
    SelfSigned {
        /// PEM certificate.
        certificate: PathBuf,
        /// PEM key, mode 0600.
        key: PathBuf,
    },
    /// Given by the operator.
    Files {
        /// PEM chain, leaf first.
        certificate: PathBuf,
        /// PEM key.
        key: PathBuf,
    },
}

/// A web origin (RFC 6454 §6.1), lower-case: `https://phone.example.com`, with a port unless it is
/// the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Reads `scheme://host[:port]`; `None` for anything else, a path included.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let own_port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return None,
        };
        let authority = rest.strip_suffix(own_port).unwrap_or(rest);
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        (!authority.is_empty()
            && authority.len() <= DOMAIN_BYTES_MAX
            && authority.chars().all(allowed))
        .then(|| Self(format!("{scheme}://{}", authority.to_ascii_lowercase())))
    }

    /// The serialised origin, as browsers send it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A range of UDP ports, first even and last odd, so that it divides into RTP and RTCP pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port, even.
    pub first: u16,
    /// The highest port, odd.
    pub last: u16,
}

impl PortRange {
    /// Reads `FIRST-LAST`.
    pub fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first >= 1024 && first % 2 == 0 && last % 2 == 1 && first < last)
            .then_some(Self { first, last })
    }

    /// How many RTP and RTCP pairs it holds.
    pub fn pairs(self) -> usize {
        usize::from((self.last - self.first) / 2) + 1
    }

    /// Whether a port lies in it.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// `[[user]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `name`: the user part of its address, and the digest user name.
    pub name: String,
    /// `password` or `ha1`.
    pub credential: Credential,
    /// `numbers`: calls from trunks to these ring this user, beside its name. Default none.
    pub numbers: Vec<String>,
    /// `call_max_s`: the longest that a call of this user lasts. Default four hours.
    pub call_max: Duration,
}

/// How a user proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The password.
    Password(Secret),
    /// MD5 of `name:domain:password` in lower-case hexadecimal (RFC 7616 §3.4.2).
    Ha1(Secret),
}

/// `[[trunk]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// `name`: for logs and records.
    pub name: String,
    /// `address`: where its SIP is sent, and the only address it is accepted from.
    pub address: SocketAddr,
    /// `call_max_s`: the longest that a call over this trunk lasts. Default four hours.
    pub call_max: Duration,
    /// `hold`: whether a browser's hold is passed on to this trunk. Default `"local"`: it is sent
    /// silence and asked nothing.
    pub passes_hold: bool,
    /// `refer`: whether this trunk may transfer its calls to users of ours. Default `"refuse"`.
    pub takes_refer: bool,
    /// `ringback`: the country whose ring-back tone callers hear while this trunk rings without a
    /// sound of its own. Default none: pages play their own.
    pub ringback: Option<Country>,
    /// What is asked of its media, and done for it.
    pub terms: TrunkTerms,
}

/// The media of a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkTerms {
    /// `codecs`: G.711 variants in the order they are offered. Default PCMU, PCMA.
    pub codecs: Vec<Codec>,
    /// `playout`, `playout_least_ms`, `playout_most_ms`: how what it is sent is spaced. Default on
    /// arrival.
    pub playout: Spacing,
    /// `comfort_noise`: whether it may leave silence out when we make the offer. Default `false`.
    pub comfort_noise: ComfortNoise,
    /// `in_band_digits`: whether digits are listened for in its audio where it has not agreed to telephone
    /// events, and made events of. Default `false`.
    pub hears_tones: bool,
    /// Where our media is, which reaches its own address family only: `[media].address`.
    pub ours: Option<IpAddr>,
    /// `media_within`: where its media may turn out to come from. Default: exactly where its SDP says.
    pub source: Source,
}

impl Default for TrunkTerms {
    fn default() -> Self {
        Self {
            codecs: vec![Codec::Pcmu, Codec::Pcma],
            playout: Spacing::OnArrival,
            comfort_noise: ComfortNoise::NotOffered,
            hears_tones: false,
            ours: None,
            source: Source::Exact,
        }
    }
}

/// What defaults depend on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Directory of the control socket, mode 0700.
    pub runtime_directory: PathBuf,
    /// Cores this process may run on, ascending.
    pub cores: Vec<usize>,
}

impl Machine {
    /// This machine, for the user this process runs as.
    pub fn here() -> Self {
        let runtime_directory = match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
            Some(directory) if directory.is_absolute() => directory.join("linecard"),
            _ => {
                let user = rustix::process::getuid().as_raw();
                PathBuf::from(format!("/tmp/linecard-{user}"))
            }
        };
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        Self { runtime_directory, cores: cores.into_iter().map(|core| core.id).collect() }
    }

    /// All cores but the first, which is left to signaling and the system; the only one if there is
    /// one.
    pub fn media_cores(&self) -> Vec<usize> {
        match self.cores.as_slice() {
            [] => vec![0],
            [only] => vec![*only],
            [_, rest @ ..] => rest.to_vec(),
        }
    }
}

impl Config {
    /// Reads a configuration file.
    pub fn load(path: &Path) -> Result<Self, Fault> {
        Self::read(&text_of(path)?, path, &Machine::here())
    }

    /// Reads the text of `path`, which is only named.
    pub fn read(text: &str, path: &Path, machine: &Machine) -> Result<Self, Fault> {
        Self::parse(text, machine).map_err(|mistakes| fault(path, &mistakes))
    }

    /// Reads a configuration text; on failure every mistake in it.
    pub fn parse(text: &str, machine: &Machine) -> Result<Self, Vec<Mistake>> {
        // The parser's own rendering repeats the line, which may hold a password.
        let table = text.parse::<Table>().map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            vec![Mistake::new(format!("line {line}"), format!(": {}", error.message()))]
        })?;

        let mut mistakes = Vec::new();
        let mut top = Section::new("", table, &mut mistakes);
        let media = top.take("media");
        let signal = top.take("signal");
        let users = top.take("user");
        let trunks = top.take("trunk");
        top.finish();

        let media =
            media_section(table_of("[media]", media, &mut mistakes), machine, &mut mistakes);
        let signal =
            signal_section(table_of("[signal]", signal, &mut mistakes), &media, &mut mistakes);
        let users = tables_of("[[user]]", users, &mut mistakes)
            .into_iter()
            .filter_map(|(title, table)| user_section(title, table, &mut mistakes))
            .collect();
        let trunks = tables_of("[[trunk]]", trunks, &mut mistakes).into_iter();
        let trunks = trunks
            .filter_map(|(title, table)| trunk_section(title, table, media.address, &mut mistakes))
            .collect();

        let config = Self { media, signal, users, trunks };
        config.check_ports(&mut mistakes);
        config.check_names(&mut mistakes);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// Ports of one address may not serve two purposes.
    fn check_ports(&self, mistakes: &mut Vec<Mistake>) {
        let media = &self.media;
        let threads = u16::try_from(media.cores.len()).unwrap_or(u16::MAX);
        let Some(browser_last) = media.browser_port.checked_add(threads.saturating_sub(1)) else {
            mistakes.push(Mistake::new(
                "[media].browser_port",
                format!(
                    " = {}: with {threads} cores the last port is above 65535; choose a lower one",
                    media.browser_port
                ),
            ));
            return;
        };
        if media.browser_port <= media.trunk_ports.last && browser_last >= media.trunk_ports.first {
            mistakes.push(Mistake::new(
                "[media].trunk_ports",
                format!(
                    ": overlaps the browser ports {}-{browser_last}; move [media].browser_port or this range",
                    media.browser_port
                ),
            ));
        }
        if media.trunk_ports.pairs() < media.cores.len() {
            mistakes.push(Mistake::new(
                "[media].trunk_ports",
                format!(
                    ": {} port pairs for {threads} cores; every core needs one at least",
                    media.trunk_ports.pairs()
                ),
            ));
        }
        let sip = self.signal.sip;
        let taken = media.trunk_ports.contains(sip.port())
            || (media.browser_port..=browser_last).contains(&sip.port());
        if sip.ip() == media.address && taken {
            mistakes.push(Mistake::new(
                "[signal].sip",
                format!(" = \"{sip}\": this port is one of [media]'s; choose another, e.g. 5060"),
            ));
        }
    }

    /// A number rings one user, and a trunk's name names one trunk.
    fn check_names(&self, mistakes: &mut Vec<Mistake>) {
        let numbers = self.users.iter().flat_map(|user| {
            std::iter::once(&user.name).chain(&user.numbers).map(|number| (number, &user.name))
        });
        let mut owners = std::collections::HashMap::new();
        for (number, owner) in numbers {
            if let Some(first) = owners.insert(number, owner) {
                mistakes.push(Mistake::new(
                    format!("[[user]] {owner}"),
                    format!(": \"{number}\" belongs to user {first} already; a name or number is given once"),
                ));
            }
        }
        let mut names = std::collections::HashSet::new();
        for trunk in self.trunks.iter().filter(|trunk| !names.insert(&trunk.name)) {
            mistakes.push(Mistake::new(
                format!("[[trunk]] {}", trunk.name),
                ": a second trunk of this name; give each its own",
            ));
        }
    }
}

/// The mistakes in one file as the fault that ends the process.
fn fault(path: &Path, mistakes: &[Mistake]) -> Fault {
    let lines: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
    Fault::new(
        format!("the configuration is wrong\n{}", lines.join("\n")),
        path.display(),
        "correct the file; tools/linecard.example.toml shows every key with its default",
    )
}

/// The text of a configuration file.
pub fn text_of(path: &Path) -> Result<String, Fault> {
    let remedy = "give a readable TOML file with --config";
    let unreadable = |error: std::io::Error| {
        Fault::new(format!("cannot read the configuration: {error}"), path.display(), remedy)
    };
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(Fault::new("the configuration is larger than 1 MiB", path.display(), remedy));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

#[cfg(test)]
mod tests;
