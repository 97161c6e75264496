//! Prefixes of addresses: `198.51.100.0/24`, or an address alone for just that one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

/// Why a text is not a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPrefix {
    /// Not `ADDRESS` or `ADDRESS/BITS`, or more bits than the address has.
    Syntax,
    /// The address has bits beyond the prefix: a typing error more often than not.
    BitsBeyond,
}

impl fmt::Display for BadPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadPrefix::Syntax => "must be a prefix like \"198.51.100.0/24\"",
            BadPrefix::BitsBeyond => "has bits set beyond the prefix's length",
        })
    }
}

impl std::error::Error for BadPrefix {}

impl Prefix {
    /// Whether `address` is one of them. An IPv4 address that came in an IPv6 one counts as itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        leading(address.to_canonical(), self.bits) == Some(self.address)
    }
}

/// The address with only its first bits; `None` when it has fewer.
fn leading(address: IpAddr, bits: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let shift = 32_u32.checked_sub(bits.into())?;
            let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
            Some(Ipv4Addr::from_bits(address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let shift = 128_u32.checked_sub(bits.into())?;
            let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
            Some(Ipv6Addr::from_bits(address.to_bits() & mask).into())
        }
    }
}

impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadPrefix::Syntax)?;
        // What comes from such an address counts as IPv4, so nothing would ever match.
        if address != address.to_canonical() {
            return Err(BadPrefix::Syntax);
        }
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            // `parse` would take a sign.
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| BadPrefix::Syntax)?
            }
            Some(_) => return Err(BadPrefix::Syntax),
            None => most,
        };
        match leading(address, bits).ok_or(BadPrefix::Syntax)? {
            whole if whole == address => Ok(Self { address, bits }),
            _ => Err(BadPrefix::BitsBeyond),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl TryFrom<String> for Prefix {
    type Error = BadPrefix;

    fn try_from(text: String) -> Result<Self, BadPrefix> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> String {
        prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_contains_what_begins_with_its_bits() {
        for (prefix, inside, outside) in [
            ("198.51.100.0/24", "198.51.100.255", "198.51.101.0"),
            ("198.51.100.7", "198.51.100.7", "198.51.100.6"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("198.51.100.0/24", "::ffff:198.51.100.1", "::198.51.100.1"),
            ("::/0", "2001:db8::1", "203.0.113.1"),
        ] {
            let prefix: Prefix = prefix.parse().unwrap();
            assert!(prefix.contains(inside.parse().unwrap()), "{inside} in {prefix}");
            assert!(!prefix.contains(outside.parse().unwrap()), "{outside} in {prefix}");
            assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for text in [
            "",
            "/8",
            "198.51.100.0/",
            "198.51.100.0/33",
            "198.51.100.0/+8",
            "host/8",
            "::/129",
            "::ffff:198.51.100.0/120",
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(BadPrefix::Syntax), "{text}");
        }
        assert_eq!("198.51.100.7/24".parse::<Prefix>(), Err(BadPrefix::BitsBeyond));
    }
}
