//! The sections of the file, key by key: what each key must be, in the words an operator reads when
//! it is not, and what it is when it is absent.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use super::read::{Mistake, Section};
use super::{
    Certificate, Credential, DOMAIN_BYTES_MAX, Machine, Media, Origin, PortRange, Signal, Trunk,
    TrunkTerms, User,
};
use crate::audio::playout::MOST_MS_MAX;
use crate::base::narrow::Narrow;
use crate::base::secret::Secret;
use crate::control::message::{Codec, PREFIXES_MAX, PacedDelay, Source, SourcePrefixes, Spacing};
use crate::wire::sdp::ComfortNoise;

/// Longest path of a Unix socket (`sun_path` less its final zero, unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Longest user or trunk name and number: well above E.164's 15 digits, short enough for one SIP
/// header line.
const NAME_BYTES_MAX: usize = 64;
/// Longest password.
const PASSWORD_BYTES_MAX: usize = 256;
/// Most calls one core may be allowed: three times the relay figure of one core, and within the
/// trunk ports one address has.
const CALLS_PER_CORE_MAX: i64 = 10_000;
/// Highest load limit: ten times what a core has, for nodes whose calls are mostly on hold.
const LOAD_PERCENT_MAX: i64 = 1_000;
/// Highest core number accepted (Linux `CPU_SETSIZE`).
const CORE_MAX: i64 = 1023;

pub(super) fn media_section(table: Table, machine: &Machine, mistakes: &mut Vec<Mistake>) -> Media {
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
            .map_or(40_000, Narrow::narrow),
        trunk_ports: section
            .text(
                "trunk_ports",
                "FIRST-LAST with FIRST even, LAST odd and both within 1024-65535, e.g. \"30000-39999\"",
                PortRange::parse,
            )
            .unwrap_or(PortRange { first: 30_000, last: 39_999 }),
        calls_per_core: section
            .number("calls_per_core", "a number of calls from 1 to 10000, e.g. 1000", 1..=CALLS_PER_CORE_MAX)
            .map_or(1000, Narrow::narrow),
        load_max_percent: section
            .number("load_max_percent", "a share of a core from 10 to 1000, e.g. 90", 10..=LOAD_PERCENT_MAX)
            .map_or(90, Narrow::narrow),
    };
    section.finish();
    media
}

pub(super) fn signal_section(table: Table, media: &Media, mistakes: &mut Vec<Mistake>) -> Signal {
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
        hold_music: section.text("hold_music", "the absolute path of a WAV file, e.g. \"/etc/linecard/hold.wav\"", absolute),
    };
    section.finish();
    signal
}

pub(super) fn user_section(
    title: String,
    table: Table,
    mistakes: &mut Vec<Mistake>,
) -> Option<User> {
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
    let call_max = call_max(&mut section);
    section.finish();
    Some(User { name: name?, credential: password.or(ha1)?, numbers, call_max })
}

pub(super) fn trunk_section(
    title: String,
    table: Table,
    ours: IpAddr,
    mistakes: &mut Vec<Mistake>,
) -> Option<Trunk> {
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
        section.value("codecs", CODECS, codecs).unwrap_or_else(|| TrunkTerms::default().codecs);
    let playout = playout(&mut section);
    let offers_noise = section.value("comfort_noise", "true or false", Value::as_bool);
    let comfort_noise = match offers_noise {
        Some(true) => ComfortNoise::Offered,
        Some(false) | None => ComfortNoise::NotOffered,
    };
    let tones = section.value("in_band_digits", "true or false", Value::as_bool);
    let hears_tones = tones.unwrap_or(false);
    let source = media_within(&mut section);
    let call_max = call_max(&mut section);
    const COUNTRY: &str = "one of \"CA\", \"DE\", \"ES\", \"FR\", \"GB\", \"IT\", \"US\"";
    let hold = section.text("hold", "\"local\" or \"pass\"", |text| match text {
        "local" => Some(false),
        "pass" => Some(true),
        _ => None,
    });
    let refer = section.text("refer", "\"refuse\" or \"take\"", |text| match text {
        "refuse" => Some(false),
        "take" => Some(true),
        _ => None,
    });
    let ringback = section.text("ringback", COUNTRY, |text| {
        serde_json::from_value(serde_json::Value::from(text)).ok()
    });
    section.finish();
    let terms =
        TrunkTerms { codecs, playout, comfort_noise, hears_tones, ours: Some(ours), source };
    let (name, address) = (name?, address?);
    let (passes_hold, takes_refer) = (hold.unwrap_or(false), refer.unwrap_or(false));
    Some(Trunk { name, address, call_max, passes_hold, takes_refer, ringback, terms })
}

/// The longest that a call lasts: one that nobody ends is somebody's bill.
fn call_max(section: &mut Section<'_>) -> Duration {
    const SECONDS: &str = "seconds from 1 to 86400, e.g. 14400";
    let seconds = section.number("call_max_s", SECONDS, 1..=86_400).map_or(14_400, Narrow::narrow);
    Duration::from_secs(seconds)
}

/// No prefix at all is as if the key were absent.
fn media_within(section: &mut Section<'_>) -> Source {
    const PREFIXES: &str = "a list of at most 32 prefixes without bits beyond their length, \
        e.g. [\"198.51.100.0/24\"]";
    let prefixes = section.value("media_within", PREFIXES, |value| {
        let prefixes = value.as_array().filter(|prefixes| prefixes.len() <= PREFIXES_MAX)?;
        prefixes.iter().map(|prefix| prefix.as_str()?.parse().ok()).collect::<Option<Vec<_>>>()
    });
    match prefixes {
        Some(prefixes) if !prefixes.is_empty() => Source::Within(SourcePrefixes { prefixes }),
        Some(_) | None => Source::Exact,
    }
}

fn playout(section: &mut Section<'_>) -> Spacing {
    const LEAST: &str = "playout_least_ms";
    const MOST: &str = "playout_most_ms";
    const DELAY: &str = "milliseconds from 0 to 300, e.g. 20";
    let bounded = section.has(LEAST) || section.has(MOST);
    let paced = section
        .text("playout", "\"on_arrival\" or \"paced\"", |text| match text {
            "on_arrival" => Some(false),
            "paced" => Some(true),
            _ => None,
        })
        .unwrap_or(false);
    let delays = 0..=i64::from(MOST_MS_MAX);
    let least_ms = section.number(LEAST, DELAY, delays.clone()).map_or(20, Narrow::narrow);
    let most_ms = section.number(MOST, DELAY, delays).map_or(200, Narrow::narrow);
    if bounded && !paced {
        section.mistake("playout", ": bounds of its delay need playout = \"paced\"");
    } else if least_ms > most_ms {
        section
            .mistake(LEAST, format!(" = {least_ms}: expected at most {MOST}, which is {most_ms}"));
    }
    if paced { Spacing::Paced(PacedDelay { least_ms, most_ms }) } else { Spacing::OnArrival }
}

/// The table at `title`, empty when it is absent.
pub(super) fn table_of(title: &str, value: Option<Value>, mistakes: &mut Vec<Mistake>) -> Table {
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
pub(super) fn tables_of(
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
        let core = core.as_integer().filter(|core| (0..=CORE_MAX).contains(core))?.narrow();
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
