//! What `linecard up` runs with: the operator's file as it is, or a text of its own where something
//! had to be invented. The invented text goes to a file beside the control socket that only this
//! user can read, so that both children read the same.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use super::trunk::Number;
use crate::base::fault::Fault;
use crate::base::narrow::Narrow;
use crate::base::random;
use crate::base::secret::Secret;
use crate::config::{self, Certificate, Config, Machine};
use crate::os::directory;

/// The invented user.
const USER: &str = "1001";
/// Characters of its password: 71 bits.
const PASSWORD_CHARACTERS: usize = 12;
/// How many ports are tried, from the usual one on.
const PORTS_TRIED_MAX: u16 = 50;
/// Usual ports.
const WSS_PORT: u16 = 8443;
const SIP_PORT: u16 = 5060;
const BROWSER_PORT: u16 = 40_000;

/// The file an invented text is written to.
const FILE_NAME: &str = "up.toml";

/// A configuration, as a text for the children and as values for us.
pub(super) struct Plan {
    text: String,
    config: Config,
    /// The operator's file, while `text` is its text.
    file: Option<PathBuf>,
    /// The invented user's password.
    password: Option<Secret>,
    /// Whether the test trunk was added.
    trunk: TrunkChoice,
}

/// Which trunks calls go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrunkChoice {
    /// Those of the configuration.
    Configured,
    /// The built-in one.
    Test,
}

impl Plan {
    /// Reads `file`, or invents a user and free ports on the loopback interface.
    pub(super) fn read(file: Option<&Path>, machine: &Machine) -> Result<Self, Fault> {
        let (text, password) = match file {
            Some(file) => (config::text_of(file)?, None),
            None => {
                let password = random::token(&mut random::from_system(), PASSWORD_CHARACTERS);
                let is_free = |address: SocketAddr| UdpSocket::bind(address).is_ok();
                let wss = free_port(WSS_PORT, |address| TcpListener::bind(address).is_ok())?;
                let sip = free_port(SIP_PORT, is_free)?;
                // Each media thread has a port of its own.
                let threads: u16 = machine.media_cores().len().narrow();
                let browser = free_port(BROWSER_PORT, |address| {
                    let ports = address.port()..address.port() + threads;
                    ports.into_iter().all(|port| is_free((address.ip(), port).into()))
                })?;
                (invented(wss, sip, browser.port(), &password), Some(Secret::new(password)))
            }
        };
        let place = file.unwrap_or_else(|| Path::new("the invented configuration"));
        let config = Config::read(&text, place, machine)?;
        let file = file.map(std::path::absolute).transpose().map_err(|error| {
            Fault::new(error, place.display(), "give an absolute path with --config")
        })?;
        Ok(Self { text, config, file, password, trunk: TrunkChoice::Configured })
    }

    /// The values.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Adds the test trunk, which is at `address`.
    pub(super) fn add_test_trunk(
        &mut self,
        address: SocketAddr,
        machine: &Machine,
    ) -> Result<(), Fault> {
        self.text.push_str(&format!("\n[[trunk]]\nname = \"test\"\naddress = \"{address}\"\n"));
        let place = self.file.take().unwrap_or_else(|| "the invented configuration".into());
        self.config = Config::read(&self.text, &place, machine)?;
        self.trunk = TrunkChoice::Test;
        Ok(())
    }

    /// The file the children read: the operator's, or one written now.
    pub(super) fn path(&self) -> Result<PathBuf, Fault> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let path = self.config.media.control.with_file_name(FILE_NAME);
        path.parent().map_or(Ok(()), directory::make_private)?;
        directory::write_private(&path, self.text.as_bytes()).map_err(|error| {
            let remedy = "make its directory writable, or choose another with [media].control";
            Fault::new(format!("cannot write: {error}"), path.display(), remedy)
        })?;
        Ok(path)
    }

    /// Where the page answers, as seen from this machine.
    pub(super) fn page_address(&self) -> SocketAddr {
        let mut address = self.config.signal.wss;
        if address.ip().is_unspecified() {
            address.set_ip(self.config.media.address);
        }
        address
    }

    /// What a person reads at the start. Only a password that was invented here is shown.
    pub(super) fn welcome(&self) -> String {
        let address = self.page_address();
        let mut fragment = Vec::new();
        if let Some(password) = &self.password {
            fragment.push(format!("user={USER}&password={}", password.expose()));
        }
        if self.trunk == TrunkChoice::Test {
            let quick =
                Number::ALL.map(|(number, _, word)| format!("{number}:{}", word.replace(' ', "+")));
            fragment.push(format!("quick={}", quick.join(",")));
        }
        let sign = if fragment.is_empty() { "" } else { "#" };
        let fragment = fragment.join("&");
        let mut text =
            format!("linecard is up.\n\n  phone    https://{address}/{sign}{fragment}\n");
        if matches!(self.config.signal.certificate, Certificate::SelfSigned { .. }) {
            text.push_str("           The certificate is self-signed: the browser asks once.\n");
        }
        if self.trunk == TrunkChoice::Test {
            let numbers = Number::ALL.map(|(number, _, word)| format!("{number} {word}"));
            text.push_str(&format!("  numbers  {}\n", numbers.join(" · ")));
        }
        text.push_str(&format!("  control  {}\n", self.config.media.control.display()));
        text.push_str(&format!("  records  {}\n", self.config.signal.records.display()));
        text.push_str("\nCtrl-C ends it.");
        text
    }
}

fn invented(wss: SocketAddr, sip: SocketAddr, browser_port: u16, password: &str) -> String {
    format!(
        "# Written by `linecard up`, because no file was given.\n\
         [media]\nbrowser_port = {browser_port}\n\n\
         [signal]\nwss = \"{wss}\"\nsip = \"{sip}\"\n\n\
         [[user]]\nname = \"{USER}\"\npassword = \"{password}\"\n"
    )
}

/// The usual port, or the next one that is free.
fn free_port(usual: u16, is_free: impl Fn(SocketAddr) -> bool) -> Result<SocketAddr, Fault> {
    (usual..usual + PORTS_TRIED_MAX)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| is_free(*address))
        .ok_or_else(|| {
            Fault::new(
                format!("{PORTS_TRIED_MAX} ports are taken"),
                format!("127.0.0.1, from {usual} on"),
                "stop what holds them, or choose ports in a file given with --config",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Credential;

    fn machine(name: &str) -> Machine {
        let directory =
            std::env::temp_dir().join(format!("linecard-{name}-{}", std::process::id()));
        Machine { runtime_directory: directory, cores: vec![0, 1] }
    }

    #[test]
    fn an_invented_text_is_written_for_the_children_and_parses() {
        let machine = machine("invented");
        let mut plan = Plan::read(None, &machine).unwrap();
        plan.add_test_trunk("127.0.0.1:5999".parse().unwrap(), &machine).unwrap();
        let path = plan.path().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_dir_all(&machine.runtime_directory).unwrap();

        let config = Config::parse(&text, &machine).unwrap();
        assert_eq!(config.users[0].name, USER);
        assert_eq!(config.trunks[0].address, "127.0.0.1:5999".parse().unwrap());
        assert_eq!(&config, plan.config());
        let Credential::Password(password) = &config.users[0].credential else { panic!() };
        assert_eq!(password.expose().len(), PASSWORD_CHARACTERS);
        assert!(plan.welcome().contains(&format!("/#user=1001&password={}", password.expose())));
    }

    #[test]
    fn an_operators_file_is_used_as_it_is_and_its_passwords_are_not_shown() {
        let machine = machine("operator");
        std::fs::create_dir_all(&machine.runtime_directory).unwrap();
        let file = machine.runtime_directory.join("own.toml");
        let text = "[[user]]\nname = \"7\"\npassword = \"s3cret\"\n\
                    [[trunk]]\nname = \"a\"\naddress = \"192.0.2.1:5060\"\n";
        std::fs::write(&file, text).unwrap();
        let plan = Plan::read(Some(&file), &machine).unwrap();
        assert_eq!(plan.path().unwrap(), file);
        std::fs::remove_dir_all(&machine.runtime_directory).unwrap();
        assert!(!plan.welcome().contains("s3cret"));
        assert!(plan.welcome().contains("https://127.0.0.1:8443/\n"));
    }

    #[test]
    fn the_next_free_port_is_taken() {
        let taken = |address: SocketAddr| address.port() >= 5063;
        assert_eq!(free_port(5060, taken).unwrap(), "127.0.0.1:5063".parse().unwrap());
        free_port(5060, |_| false).unwrap_err();
    }
}
