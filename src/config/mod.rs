//! Configuration: a TOML text becomes a [`Config`] whose every field is already the type the rest of
//! the program works with. Every key has a default, an unknown key is an error, and all mistakes are
//! reported together. `tools/linecard.example.toml` shows every key. Opening sockets and reading
//! certificates is left to those who use them.

mod read;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::base::fault::Fault;
use crate::base::secret::Secret;
use crate::control::message::Codec;
pub use read::Mistake;
use read::Section;

/// Largest configuration file: 10,000 users of 100 bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Longest path of a Unix socket (`sun_path` less its final zero, unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Longest user or trunk name and number: well above E.164's 15 digits, short enough for one SIP
/// header line.
const NAME_BYTES_MAX: usize = 64;
/// Longest domain (RFC 1035 §2.3.4).
const DOMAIN_BYTES_MAX: usize = 253;
/// Longest password.
const PASSWORD_BYTES_MAX: usize = 256;
/// Most calls one core may be allowed: three times the relay figure of one core, and within the
/// trunk ports one address has.
const CALLS_PER_CORE_MAX: i64 = 10_000;
/// Highest core number accepted (Linux `CPU_SETSIZE`).
const CORE_MAX: i64 = 1023;

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
    /// `cores`: which cores run a media thread each. Default: all but the first.
    pub cores: Vec<usize>,
    /// `address`: bound for media and put in SDP. Default 127.0.0.1.
    pub address: IpAddr,
    /// `browser_port`: thread k receives browsers' packets on this port + k. Default 40000.
    pub browser_port: u16,
    /// `trunk_ports`: RTP and RTCP pairs toward trunks. Default 30000-39999.
    pub trunk_ports: PortRange,
    /// `calls_per_core`: calls beyond this are refused. Default 1000.
    pub calls_per_core: usize,
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
    /// `codecs`: G.711 variants in the order they are offered. Default PCMU, PCMA.
    pub codecs: Vec<Codec>,
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
        let trunks = tables_of("[[trunk]]", trunks, &mut mistakes)
            .into_iter()
            .filter_map(|(title, table)| trunk_section(title, table, &mut mistakes))
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

fn media_section(table: Table, machine: &Machine, mistakes: &mut Vec<Mistake>) -> Media {
    let mut section = Section::new("[media]", table, mistakes);
    let media = Media {
        control: section
            .text(
                "control",
                "the absolute path of a Unix socket, at most 107 bytes, e.g. \"/run/linecard/media.sock\"",
                |text| absolute(text).filter(|_| text.len() <= SOCKET_PATH_BYTES_MAX),
            )
            .unwrap_or_else(|| machine.runtime_directory.join("media.sock")),
        cores: section
            .value("cores", "a list of different core numbers, at least one, e.g. [1, 2]", cores)
            .unwrap_or_else(|| machine.media_cores()),
        address: section
            .text("address", "one IP address of this machine, e.g. \"192.0.2.10\"", |text| {
                let address: IpAddr = text.parse().ok()?;
                (!address.is_unspecified() && !address.is_multicast()).then_some(address)
            })
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        browser_port: section
            .number("browser_port", "a UDP port from 1024 to 65535, e.g. 40000", 1024..=65535)
            .map_or(40_000, |port| port as u16),
        trunk_ports: section
            .text(
                "trunk_ports",
                "FIRST-LAST with FIRST even, LAST odd and both within 1024-65535, e.g. \"30000-39999\"",
                PortRange::parse,
            )
            .unwrap_or(PortRange { first: 30_000, last: 39_999 }),
        calls_per_core: section
            .number("calls_per_core", "a number of calls from 1 to 10000, e.g. 1000", 1..=CALLS_PER_CORE_MAX)
            .map_or(1000, |calls| calls as usize),
    };
    section.finish();
    media
}

fn signal_section(table: Table, media: &Media, mistakes: &mut Vec<Mistake>) -> Signal {
    const PEM: &str = "the absolute path of a PEM file, e.g. \"/etc/linecard/certificate.pem\"";
    let mut section = Section::new("[signal]", table, mistakes);
    let wss = section
        .text("wss", "ADDRESS:PORT to listen on, e.g. \"192.0.2.10:8443\"", |text| {
            text.parse().ok()
        })
        .unwrap_or_else(|| SocketAddr::new(media.address, 8443));
    // The address is written into Via and Contact, so it must be one that trunks can reach.
    let sip = section
        .text("sip", "ADDRESS:PORT as trunks reach it, e.g. \"192.0.2.10:5060\"", |text| {
            text.parse()
                .ok()
                .filter(|sip: &SocketAddr| !sip.ip().is_unspecified() && sip.port() != 0)
        })
        .unwrap_or_else(|| SocketAddr::new(media.address, 5060));
    let domain = section
        .text("domain", "a domain name or an IP address, e.g. \"example.com\"", |text| {
            domain(text).then(|| text.to_ascii_lowercase())
        })
        .unwrap_or_else(|| match media.address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        });
    let certificate = section.text("certificate", PEM, absolute);
    let key = section.text("key", PEM, absolute);
    let certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Certificate::Files { certificate, key },
        (None, None) => Certificate::SelfSigned {
            certificate: media.control.with_file_name("certificate.pem"),
            key: media.control.with_file_name("key.pem"),
        },
        (certificate, key) => {
            let absent = if certificate.is_none() { "certificate" } else { "key" };
            section.missing(absent, &format!("{PEM}; certificate and key are given together"));
            let either = certificate.or(key).unwrap_or_default();
            Certificate::Files { certificate: either.clone(), key: either }
        }
    };
    let signal = Signal {
        wss,
        sip,
        domain,
        certificate,
        allowed_origins: section
            .list(
                "allowed_origins",
                "a list of SCHEME://HOST[:PORT] without a path, e.g. [\"https://phone.example.com\"]",
                |value| value.as_str().and_then(Origin::parse),
            )
            .unwrap_or_default(),
        records: section
            .text("records", "the absolute path of a file, e.g. \"/var/log/linecard/calls.jsonl\"", absolute)
            .unwrap_or_else(|| media.control.with_file_name("calls.jsonl")),
    };
    section.finish();
    signal
}

fn user_section(title: String, table: Table, mistakes: &mut Vec<Mistake>) -> Option<User> {
    const NAME: &str = "1 to 64 letters, digits and . _ + -, e.g. \"1001\"";
    const NUMBERS: &str = "a list of numbers like names, e.g. [\"+442079460018\"]";
    let mut section = Section::new(title, table, mistakes);
    let given = section.has("name");
    let name = section.text("name", NAME, name);
    if !given {
        section.missing("name", NAME);
    }
    let both = section.has("password") && section.has("ha1");
    let neither = !section.has("password") && !section.has("ha1");
    let password = section.secret("password", "1 to 256 bytes of text", |text| {
        (1..=PASSWORD_BYTES_MAX)
            .contains(&text.len())
            .then(|| Credential::Password(Secret::new(text.to_owned())))
    });
    let ha1 =
        section.secret("ha1", "32 hexadecimal digits, the MD5 of name:domain:password", |text| {
            let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            digits.then(|| Credential::Ha1(Secret::new(text.to_ascii_lowercase())))
        });
    if both {
        section.mistake("ha1", ": given beside password; keep one of them");
    } else if neither {
        section.missing("password", "1 to 256 bytes of text, or ha1 in its place");
    }
    let numbers = section
        .list("numbers", NUMBERS, |value| value.as_str().and_then(self::name))
        .unwrap_or_default();
    section.finish();
    Some(User { name: name?, credential: password.or(ha1)?, numbers })
}

fn trunk_section(title: String, table: Table, mistakes: &mut Vec<Mistake>) -> Option<Trunk> {
    const NAME: &str = "1 to 64 letters, digits and . _ + -, e.g. \"carrier-a\"";
    const ADDRESS: &str = "IP:PORT of its SIP, e.g. \"198.51.100.7:5060\"";
    const CODECS: &str =
        "a list of \"PCMU\" and \"PCMA\" in the order offered, e.g. [\"PCMA\", \"PCMU\"]";
    let mut section = Section::new(title, table, mistakes);
    let (named, addressed) = (section.has("name"), section.has("address"));
    let name = section.text("name", NAME, name);
    if !named {
        section.missing("name", NAME);
    }
    let address = section.text("address", ADDRESS, |text| {
        let address: SocketAddr = text.parse().ok()?;
        (!address.ip().is_unspecified() && !address.ip().is_multicast() && address.port() != 0)
            .then_some(address)
    });
    if !addressed {
        section.missing("address", ADDRESS);
    }
    let codecs =
        section.value("codecs", CODECS, codecs).unwrap_or_else(|| vec![Codec::Pcmu, Codec::Pcma]);
    section.finish();
    Some(Trunk { name: name?, address: address?, codecs })
}

/// The table at `title`, empty when it is absent.
fn table_of(title: &str, value: Option<Value>, mistakes: &mut Vec<Mistake>) -> Table {
    match value {
        None => Table::new(),
        Some(Value::Table(table)) => table,
        Some(_) => {
            mistakes.push(Mistake::new(title, ": expected a table of keys"));
            Table::new()
        }
    }
}

/// The tables of an array, each with a title that tells it from the others.
fn tables_of(
    title: &str,
    value: Option<Value>,
    mistakes: &mut Vec<Mistake>,
) -> Vec<(String, Table)> {
    let tables = match value {
        None => return Vec::new(),
        Some(Value::Array(tables)) => tables,
        Some(_) => {
            mistakes.push(Mistake::new(title, format!(": expected one {title} heading for each")));
            return Vec::new();
        }
    };
    let mut read = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let name = table.get("name").and_then(Value::as_str).and_then(name);
        let title = format!("{title} {}", name.unwrap_or_else(|| format!("number {}", index + 1)));
        let table = table_of(&title, Some(table), mistakes);
        read.push((title, table));
    }
    read
}

fn absolute(text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    (path.is_absolute() && path.file_name().is_some() && !text.contains('\0')).then_some(path)
}

/// Characters that stand unescaped in a SIP user part and in a digest user name.
fn name(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    ((1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed))
        .then(|| text.to_owned())
}

fn domain(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            (1..=DOMAIN_BYTES_MAX).contains(&text.len())
                && text.bytes().all(allowed)
                && text.split('.').all(|label| !label.is_empty() && label.len() <= 63)
        }
    }
}

fn cores(value: &Value) -> Option<Vec<usize>> {
    let mut read = Vec::new();
    for core in value.as_array()? {
        let core = core.as_integer().filter(|core| (0..=CORE_MAX).contains(core))? as usize;
        if read.contains(&core) {
            return None;
        }
        read.push(core);
    }
    (!read.is_empty()).then_some(read)
}

fn codecs(value: &Value) -> Option<Vec<Codec>> {
    let mut read = Vec::new();
    for codec in value.as_array()? {
        let codec = match codec.as_str()? {
            "PCMU" => Codec::Pcmu,
            "PCMA" => Codec::Pcma,
            _ => return None,
        };
        if read.contains(&codec) {
            return None;
        }
        read.push(codec);
    }
    (!read.is_empty()).then_some(read)
}

#[cfg(test)]
mod tests;
