//! Routing: what a dialled name or number leads to, and who may send us calls. Built once from the
//! configuration; every lookup is a hash of an exact text.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{self, TrunkTerms};
use crate::control::message::Ringback;
use crate::signal::peer::Peer;

/// The longest user part that is routed; E.164 numbers have 15 digits, names at most 64 bytes.
pub const DIALLED_BYTES_MAX: usize = 64;

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// To the browsers that this user registered.
    User(&'a config::User),
    /// To the trunks, in this order.
    Trunks(&'a [config::Trunk]),
}

/// The users and the trunks.
#[derive(Debug)]
pub struct Routes {
    users: Vec<config::User>,
    trunks: Vec<config::Trunk>,
    user_by_name: HashMap<String, usize>,
    user_by_dialled: HashMap<String, usize>,
    trunk_by_name: HashMap<String, usize>,
    trunk_by_address: HashMap<SocketAddr, usize>,
}

impl Routes {
    /// From the configuration, which has checked that names and numbers are unique.
    pub fn new(users: &[config::User], trunks: &[config::Trunk]) -> Self {
        let mut user_by_dialled = HashMap::new();
        for (index, user) in users.iter().enumerate() {
            for number in &user.numbers {
                user_by_dialled.insert(canonical(number), index);
            }
        }
        // A name wins over a number that looks like it.
        let names = users.iter().enumerate();
        user_by_dialled.extend(names.clone().map(|(index, user)| (user.name.clone(), index)));
        Self {
            users: users.to_vec(),
            trunks: trunks.to_vec(),
            trunk_by_name: trunks
                .iter()
                .enumerate()
                .map(|(index, trunk)| (trunk.name.clone(), index))
                .collect(),
            user_by_name: names.map(|(index, user)| (user.name.clone(), index)).collect(),
            user_by_dialled,
            trunk_by_address: trunks
                .iter()
                .enumerate()
                .map(|(index, trunk)| (unmapped(trunk.address), index))
                .collect(),
        }
    }

    /// The user of this name, for authentication.
    pub fn user(&self, name: &str) -> Option<&config::User> {
        Some(&self.users[*self.user_by_name.get(name)?])
    }

    /// The user whose name or number was dialled.
    pub fn user_dialled(&self, dialled: &str) -> Option<&config::User> {
        let index = self.user_by_dialled.get(dialled);
        let index = index.or_else(|| self.user_by_dialled.get(&canonical(dialled)))?;
        Some(&self.users[*index])
    }

    /// Where a browser's call to `dialled` goes; `None`: nowhere (404).
    pub fn of_browser_call(&self, dialled: &str) -> Option<Destination<'_>> {
        if dialled.is_empty() || dialled.len() > DIALLED_BYTES_MAX {
            return None;
        }
        match self.user_dialled(dialled) {
            Some(user) => Some(Destination::User(user)),
            None if self.trunks.is_empty() => None,
            None => Some(Destination::Trunks(&self.trunks)),
        }
    }

    /// The trunk at this address.
    pub fn trunk_at(&self, address: SocketAddr) -> Option<&config::Trunk> {
        Some(&self.trunks[*self.trunk_by_address.get(&unmapped(address))?])
    }

    /// What is asked of the media of the trunk of this name, and done for it.
    pub fn terms_of(&self, trunk: &str) -> TrunkTerms {
        let trunk = self.trunk_by_name.get(trunk).map(|index| &self.trunks[*index]);
        trunk.map(|trunk| trunk.terms.clone()).unwrap_or_default()
    }

    /// The longest that a call with this peer may last.
    pub fn longest(&self, peer: &Peer) -> Option<Duration> {
        match peer {
            Peer::User(name) => self.user(name).map(|user| user.call_max),
            Peer::Trunk(name) => {
                let index = self.trunk_by_name.get(name)?;
                self.trunks.get(*index).map(|trunk| trunk.call_max)
            }
        }
    }

    /// The longest that a call of who has this name may last, be it a user or a trunk.
    pub fn longest_of(&self, name: &str) -> Option<Duration> {
        let both = [Peer::User(name.to_owned()), Peer::Trunk(name.to_owned())];
        both.iter().filter_map(|peer| self.longest(peer)).min()
    }

    /// Whether a browser's hold is passed on to this peer.
    pub fn passes_hold(&self, peer: &Peer) -> bool {
        let Peer::Trunk(name) = peer else { return false };
        let trunk = self.trunk_by_name.get(name).and_then(|index| self.trunks.get(*index));
        trunk.is_some_and(|trunk| trunk.passes_hold)
    }

    /// How a user appears to a trunk: by its first number if it has one.
    pub fn number_of<'a>(&'a self, user: &'a str) -> &'a str {
        let number = self.user(user).and_then(|user| user.numbers.first());
        number.map_or(user, String::as_str)
    }

    /// Whether this peer may transfer its calls.
    pub fn takes_refer(&self, peer: &Peer) -> bool {
        match peer {
            Peer::User(_) => true,
            Peer::Trunk(name) => {
                let trunk = self.trunk_by_name.get(name).and_then(|at| self.trunks.get(*at));
                trunk.is_some_and(|trunk| trunk.takes_refer)
            }
        }
    }

    /// What callers hear while this trunk rings without any sound of its own.
    pub fn ringback(&self, peer: &Peer) -> Option<Ringback> {
        let Peer::Trunk(name) = peer else { return None };
        let trunk = self.trunks.get(*self.trunk_by_name.get(name)?)?;
        trunk.ringback.map(|country| Ringback { country: Some(country) })
    }

    /// All trunks, in configuration order.
    pub fn trunks(&self) -> &[config::Trunk] {
        &self.trunks
    }
}

/// A number without the marks that people and carriers write differently: the visual separators of
/// RFC 3966 §5.1.1 and the leading plus. A name stays as it is.
fn canonical(dialled: &str) -> String {
    let number: String = dialled.chars().filter(|c| !"-.()".contains(*c)).collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.to_owned() } else { dialled.to_owned() }
}

/// An IPv4 address that came through an IPv6 socket is still that IPv4 address.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn routes(text: &str) -> Routes {
        let machine =
            config::Machine { runtime_directory: "/run/linecard".into(), cores: vec![0, 1] };
        let config = Config::parse(text, &machine).unwrap();
        Routes::new(&config.users, &config.trunks)
    }

    const USERS: &str = "
        [[user]]
        name = \"1001\"
        password = \"one\"
        numbers = [\"+442079460018\"]
        [[user]]
        name = \"anna\"
        password = \"two\"
    ";
    const TRUNK: &str = "
        [[trunk]]
        name = \"carrier-a\"
        address = \"198.51.100.7:5060\"
    ";

    #[test]
    fn a_number_rings_its_user_however_it_is_written() {
        let routes = routes(USERS);
        for dialled in ["1001", "+442079460018", "442079460018", "+44-(20)-7946.0018"] {
            assert_eq!(routes.user_dialled(dialled).unwrap().name, "1001", "{dialled}");
        }
        assert_eq!(routes.user_dialled("anna").unwrap().name, "anna");
        assert!(routes.user_dialled("Anna").is_none());
        assert!(routes.user("+442079460018").is_none());
    }

    #[test]
    fn other_numbers_go_to_the_trunks_when_there_are_any() {
        assert_eq!(routes(USERS).of_browser_call("4711"), None);
        let routes = routes(&format!("{USERS}{TRUNK}"));
        assert!(matches!(routes.of_browser_call("4711"), Some(Destination::Trunks([_]))));
        assert!(matches!(routes.of_browser_call("anna"), Some(Destination::User(_))));
        assert_eq!(routes.of_browser_call(""), None);
        assert_eq!(routes.of_browser_call(&"1".repeat(DIALLED_BYTES_MAX + 1)), None);
    }

    #[test]
    fn a_trunk_is_known_by_address_and_port() {
        let routes = routes(&format!("{USERS}{TRUNK}"));
        let mapped = "[::ffff:198.51.100.7]:5060".parse().unwrap();
        assert_eq!(routes.trunk_at(mapped).unwrap().name, "carrier-a");
        assert!(routes.trunk_at("198.51.100.7:5061".parse().unwrap()).is_none());
    }
}
