//! Every mistake names its key, the problem and the fix; the shipped example parses.

use std::net::Ipv4Addr;

use super::*;
use crate::control::message::{PREFIXES_MAX, SourcePrefixes};

fn machine() -> Machine {
    Machine { runtime_directory: PathBuf::from("/run/user/7/linecard"), cores: vec![0, 1, 2, 3] }
}

fn parse(text: &str) -> Result<Config, Vec<Mistake>> {
    Config::parse(text, &machine())
}

fn mistakes(text: &str) -> Vec<String> {
    parse(text).expect_err("a mistake").iter().map(Mistake::to_string).collect()
}

#[test]
fn an_empty_text_is_the_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.media.control, Path::new("/run/user/7/linecard/media.sock"));
    assert_eq!(config.media.cores, [1, 2, 3]);
    assert_eq!(config.media.address, IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_eq!(config.media.browser_port, 40_000);
    assert_eq!(config.media.trunk_ports, PortRange { first: 30_000, last: 39_999 });
    assert_eq!(config.media.trunk_ports.pairs(), 5_000);
    assert_eq!(config.media.calls_per_core, 1_000);
    assert_eq!(config.media.load_max_percent, 90);
    assert_eq!(config.signal.wss, "127.0.0.1:8443".parse().unwrap());
    assert_eq!(config.signal.sip, "127.0.0.1:5060".parse().unwrap());
    assert_eq!(config.signal.domain, "127.0.0.1");
    assert_eq!(
        config.signal.certificate,
        Certificate::SelfSigned {
            certificate: "/run/user/7/linecard/certificate.pem".into(),
            key: "/run/user/7/linecard/key.pem".into(),
        }
    );
    assert_eq!(config.signal.records, Path::new("/run/user/7/linecard/calls.jsonl"));
    assert!(config.signal.allowed_origins.is_empty());
    assert!(config.users.is_empty() && config.trunks.is_empty());
}

#[test]
fn a_machine_with_one_core_uses_it() {
    let machine = Machine { cores: vec![5], ..machine() };
    assert_eq!(Config::parse("", &machine).unwrap().media.cores, [5]);
}

#[test]
fn the_address_is_the_default_of_what_listens() {
    let config = parse("[media]\naddress = \"2001:db8::1\"").unwrap();
    assert_eq!(config.signal.wss, "[2001:db8::1]:8443".parse().unwrap());
    assert_eq!(config.signal.domain, "[2001:db8::1]");
}

#[test]
fn the_shipped_example_shows_every_key() {
    let config = parse(include_str!("../../tools/linecard.example.toml")).unwrap();
    assert_eq!(config.media.control, Path::new("/run/linecard/media.sock"));
    assert_eq!(config.media.cores, [1]);
    assert_eq!(config.media.address, "192.0.2.10".parse::<IpAddr>().unwrap());
    assert_eq!(config.signal.domain, "example.com");
    assert!(matches!(config.signal.certificate, Certificate::Files { .. }));
    assert_eq!(config.signal.allowed_origins[0].as_str(), "https://phone.example.com");
    assert_eq!(config.signal.records, Path::new("/var/log/linecard/calls.jsonl"));
    assert_eq!(config.signal.hold_music.as_deref(), Some(Path::new("/etc/linecard/hold.wav")));
    assert_eq!(config.users.len(), 2);
    assert_eq!(config.users[0].numbers, ["+442079460018"]);
    assert!(matches!(config.users[0].credential, Credential::Password(_)));
    assert!(matches!(config.users[1].credential, Credential::Ha1(_)));
    assert_eq!(config.trunks[0].name, "carrier-a");
    assert_eq!(config.trunks[0].address, "198.51.100.7:5060".parse().unwrap());
    assert_eq!(config.trunks[0].terms.codecs, [Codec::Pcmu, Codec::Pcma]);
    let playout =
        Spacing::Paced(crate::control::message::PacedDelay { least_ms: 20, most_ms: 200 });
    assert_eq!(config.trunks[0].terms.playout, playout);
    assert_eq!(config.trunks[0].terms.comfort_noise, ComfortNoise::Offered);
    assert_eq!(config.trunks[0].ringback, Some(Country::Gb));
    assert!(!config.trunks[0].passes_hold);
    assert!(!config.trunks[0].takes_refer);
    assert_eq!(config.trunks[0].call_max.as_secs(), 14_400);
    let prefixes = vec!["198.51.100.0/24".parse().unwrap()];
    assert_eq!(config.trunks[0].terms.source, Source::Within(SourcePrefixes { prefixes }));
}

#[test]
fn a_trunks_media_is_where_its_sdp_says_unless_prefixes_are_named() {
    let source = |keys: &str| {
        let text = format!("[[trunk]]\nname = \"a\"\naddress = \"192.0.2.1:5060\"\n{keys}");
        parse(&text).unwrap().trunks[0].terms.source.clone()
    };
    assert_eq!(source(""), Source::Exact);
    assert_eq!(source("media_within = []"), Source::Exact);
    let prefixes =
        ["203.0.113.9", "198.51.100.0/24", "2001:db8::/32"].map(|text| text.parse().unwrap());
    assert_eq!(
        source("media_within = [\"203.0.113.9\", \"198.51.100.0/24\", \"2001:db8::/32\"]"),
        Source::Within(SourcePrefixes { prefixes: prefixes.to_vec() })
    );
}

#[test]
fn the_bounds_of_paced_playout_are_those_written_or_the_default_ones() {
    let playout = |keys: &str| {
        let text = format!("[[trunk]]\nname = \"a\"\naddress = \"192.0.2.1:5060\"\n{keys}");
        parse(&text).unwrap().trunks[0].terms.playout
    };
    assert_eq!(playout(""), Spacing::OnArrival);
    let paced = |least_ms, most_ms| {
        Spacing::Paced(crate::control::message::PacedDelay { least_ms, most_ms })
    };
    assert_eq!(playout("playout = \"paced\""), paced(20, 200));
    assert_eq!(playout("playout = \"paced\"\nplayout_least_ms = 40"), paced(40, 200));
    let both = "playout = \"paced\"\nplayout_least_ms = 0\nplayout_most_ms = 60";
    assert_eq!(playout(both), paced(0, 60));
}

#[test]
fn every_mistake_names_the_key_the_problem_and_the_fix() {
    const USER: &str = "[[user]]\nname = \"1001\"\npassword = \"x\"\n";
    let user = |text: &str| format!("{USER}{text}");
    let trunk =
        |keys: &str| format!("[[trunk]]\nname = \"a\"\naddress = \"192.0.2.1:5060\"\n{keys}");
    let prefixes: Vec<_> = (0..=PREFIXES_MAX).map(|last| format!("\"192.0.2.{last}\"")).collect();
    let too_many = format!("media_within = [{}]", prefixes.join(", "));
    let cases: &[(&str, &str)] = &[
        ("[media", "line 1: "),
        ("[media]\nadress = \"::1\"", "[media].adress: unknown key; did you mean `address`?"),
        ("[medai]", "[medai]: unknown key; did you mean `media`?"),
        (
            "[media]\nqqq = 1",
            "[media].qqq: unknown key; the keys here are control, cores, address, ",
        ),
        ("media = 3", "[media]: expected a table of keys"),
        ("[user]\nname = \"1\"", "[[user]]: expected one [[user]] heading for each"),
        (
            "[media]\ncontrol = \"media.sock\"",
            "[media].control = \"media.sock\": expected the absolute path",
        ),
        ("[media]\ncores = []", "[media].cores = []: expected a list of different core numbers"),
        ("[media]\ncores = [1, 1]", "[media].cores = [1, 1]: expected"),
        ("[media]\ncores = [-1]", "[media].cores = [-1]: expected"),
        (
            "[media]\naddress = \"0.0.0.0\"",
            "[media].address = \"0.0.0.0\": expected one IP address",
        ),
        ("[media]\nbrowser_port = 80", "[media].browser_port = 80: expected a UDP port"),
        ("[media]\nbrowser_port = 65534", "[media].browser_port = 65534: with 3 cores"),
        (
            "[media]\nbrowser_port = 39000",
            "[media].trunk_ports: overlaps the browser ports 39000-39002",
        ),
        (
            "[media]\ntrunk_ports = \"3000\"",
            "[media].trunk_ports = \"3000\": expected FIRST-LAST with FIRST even, LAST odd and both within 1024-65535, e.g. \"30000-39999\"",
        ),
        ("[media]\ntrunk_ports = \"3001-3999\"", "[media].trunk_ports = \"3001-3999\": expected"),
        ("[media]\ntrunk_ports = \"3000-3001\"", "[media].trunk_ports: 1 port pairs for 3 cores"),
        ("[media]\ncalls_per_core = 0", "[media].calls_per_core = 0: expected a number of calls"),
        (
            "[media]\nload_max_percent = 5",
            "[media].load_max_percent = 5: expected a share of a core",
        ),
        ("[signal]\nwss = \"8443\"", "[signal].wss = \"8443\": expected ADDRESS:PORT"),
        (
            "[signal]\nsip = \"0.0.0.0:5060\"",
            "[signal].sip = \"0.0.0.0:5060\": expected ADDRESS:PORT",
        ),
        (
            "[signal]\nsip = \"127.0.0.1:30000\"",
            "[signal].sip = \"127.0.0.1:30000\": this port is one of [media]'s",
        ),
        ("[signal]\ndomain = \"a b\"", "[signal].domain = \"a b\": expected a domain name"),
        (
            "[signal]\nkey = \"/k.pem\"",
            "[signal].certificate is missing: expected the absolute path",
        ),
        (
            "[signal]\nallowed_origins = [\"phone.example.com\"]",
            "[signal].allowed_origins = [\"phone.example.com\"]: expected a list",
        ),
        (
            "[signal]\nallowed_origins = [\"https://a/b\"]",
            "[signal].allowed_origins = [\"https://a/b\"]: expected a list",
        ),
        ("[signal]\nrecords = 1", "[signal].records = 1: expected the absolute path"),
        ("[[user]]\npassword = \"x\"", "[[user]] number 1.name is missing: expected 1 to 64"),
        (
            "[[user]]\nname = \"a b\"\npassword = \"x\"",
            "[[user]] number 1.name = \"a b\": expected 1 to 64",
        ),
        (
            "[[user]]\nname = \"1001\"",
            "[[user]] 1001.password is missing: expected 1 to 256 bytes of text, or ha1",
        ),
        (
            "[[user]]\nname = \"1001\"\nha1 = \"ab\"",
            "[[user]] 1001.ha1: expected 32 hexadecimal digits",
        ),
        (
            "[[user]]\nname = \"1001\"\npassword = \"x\"\nha1 = \"d41d8cd98f00b204e9800998ecf8427e\"",
            "[[user]] 1001.ha1: given beside password; keep one of them",
        ),
        (
            "[[user]]\nname = \"1001\"\npassword = \"x\"\nnumbers = [5]",
            "[[user]] 1001.numbers = [5]: expected a list",
        ),
        (&user(USER), "[[user]] 1001: \"1001\" belongs to user 1001 already"),
        (
            &user("[[user]]\nname = \"2\"\npassword = \"x\"\nnumbers = [\"1001\"]"),
            "[[user]] 2: \"1001\" belongs to user 1001 already",
        ),
        ("[[trunk]]\nname = \"a\"", "[[trunk]] a.address is missing: expected IP:PORT"),
        (
            "[[trunk]]\nname = \"a\"\naddress = \"sip.example.com\"",
            "[[trunk]] a.address = \"sip.example.com\": expected IP:PORT",
        ),
        (
            "[[trunk]]\naddress = \"192.0.2.1:5060\"",
            "[[trunk]] number 1.name is missing: expected 1 to 64",
        ),
        (
            "[[trunk]]\nname = \"a\"\naddress = \"192.0.2.1:5060\"\ncodecs = [\"G722\"]",
            "[[trunk]] a.codecs = [\"G722\"]: expected a list of \"PCMU\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\naddress = \"192.0.2.1:5060\"\ncomfort_noise = 13",
            "[[trunk]] a.comfort_noise = 13: expected true or false",
        ),
        (
            &trunk("media_within = \"198.51.100.0/24\""),
            "[[trunk]] a.media_within = \"198.51.100.0/24\": expected a list of at most 32 prefixes",
        ),
        (
            &trunk("media_within = [\"198.51.100.7/24\"]"),
            "[[trunk]] a.media_within = [\"198.51.100.7/24\"]: expected a list of at most 32 prefixes",
        ),
        (
            &trunk("media_within = [\"carrier.example\"]"),
            "[[trunk]] a.media_within = [\"carrier.example\"]: expected",
        ),
        (&trunk("media_within = [4]"), "[[trunk]] a.media_within = [4]: expected"),
        (&trunk(&too_many), "[[trunk]] a.media_within = [\"192.0.2.0\""),
        (
            "[[trunk]]\nname = \"a\"\naddress = \"192.0.2.1:5060\"\nplayout = \"smooth\"",
            "[[trunk]] a.playout = \"smooth\": expected \"on_arrival\" or \"paced\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\naddress = \"192.0.2.1:5060\"\nplayout_most_ms = 100",
            "[[trunk]] a.playout: bounds of its delay need playout = \"paced\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\naddress = \"192.0.2.1:5060\"\nplayout = \"paced\"\nplayout_most_ms = 10",
            "[[trunk]] a.playout_least_ms = 20: expected at most playout_most_ms, which is 10",
        ),
        (
            "[[trunk]]\nname = \"a\"\naddress = \"192.0.2.1:5060\"\nplayout = \"paced\"\nplayout_most_ms = 301",
            "[[trunk]] a.playout_most_ms = 301: expected milliseconds from 0 to 300",
        ),
        (
            "[[trunk]]\nname = \"a\"\naddress = \"192.0.2.1:5060\"\n[[trunk]]\nname = \"a\"\naddress = \"192.0.2.2:5060\"",
            "[[trunk]] a: a second trunk of this name",
        ),
    ];
    for (text, expected) in cases {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{text}: {}", found[0]);
    }
}

#[test]
fn all_mistakes_are_reported_together() {
    let found = mistakes("[media]\ncores = 1\nadress = \"::1\"\n[signal]\nwss = 1\n[[user]]\n[x]");
    assert_eq!(found.len(), 6, "{found:?}");
}

#[test]
fn a_password_is_never_repeated() {
    let long = "s3cret".repeat(100);
    for text in [
        format!("[[user]]\nname = \"1\"\npassword = \"{long}\""),
        format!("[[user]]\nname = \"1\"\nha1 = \"{long}\""),
        format!("[[user]]\nname = \"1\"\npassword = \"{long}\n"),
    ] {
        let found = mistakes(&text).join("\n");
        assert!(!found.contains("s3cret"), "{found}");
    }
    let config = parse("[[user]]\nname = \"1\"\npassword = \"s3cret\"").unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn origins_compare_as_browsers_send_them() {
    assert_eq!(Origin::parse("https://A.example:443").unwrap().as_str(), "https://a.example");
    assert_eq!(Origin::parse("https://[::1]:8443").unwrap().as_str(), "https://[::1]:8443");
    for wrong in ["", "null", "ftp://a", "https://", "https://a/", "https://a?b", "https://u@a"] {
        assert_eq!(Origin::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_file_that_is_not_there_is_a_fault_with_its_name() {
    let fault = Config::load(Path::new("/nonexistent/linecard.toml")).unwrap_err().to_string();
    assert!(fault.contains("/nonexistent/linecard.toml") && fault.contains("--config"), "{fault}");
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(\\[[a-z.\\[\\]]{0,9}\n|[a-z_]{1,8} = [\"\\[0-9a-z,.:-]{0,12}\n){0,6}") {
        let _ = parse(&text);
    }
}
