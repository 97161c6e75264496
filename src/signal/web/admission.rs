//! Bounds for strangers: how many connections one source address may hold before one of its
//! requests carried good credentials. A connection takes an [`Admission`] when it is accepted and
//! gives it back when it is authenticated or gone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections a source may hold unauthenticated. An office behind one address brings all its
/// phones back at once after a restart; each is authenticated within two round trips.
pub(super) const STRANGERS_PER_SOURCE_MAX: usize = 128;

/// Unauthenticated connections by source.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Strangers {
    /// A place for one more connection from `address`, or `None` when its source has enough.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Admission> {
        let source = source(address);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(source).or_default();
        if *count >= STRANGERS_PER_SOURCE_MAX {
            return None;
        }
        *count += 1;
        Some(Admission { strangers: self.clone(), source })
    }
}

/// A stranger's place; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Admission {
    strangers: Strangers,
    source: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut held = self.strangers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.source);
            }
        }
    }
}

/// Whom an address stands for: an IPv6 subscriber owns a /64 (RFC 6177 §2), and IPv4 stays IPv4 on
/// a dual-stack socket.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_holds_no_more_than_its_share() {
        let strangers = Strangers::default();
        let address = "192.0.2.1".parse().unwrap();
        let mut admissions: Vec<_> =
            (0..STRANGERS_PER_SOURCE_MAX).map(|_| strangers.admit(address).unwrap()).collect();
        assert!(strangers.admit(address).is_none());
        assert!(strangers.admit("::ffff:192.0.2.1".parse().unwrap()).is_none());
        assert!(strangers.admit("192.0.2.2".parse().unwrap()).is_some());
        admissions.pop();
        assert!(strangers.admit(address).is_some());
        admissions.clear();
        assert!(strangers.0.lock().unwrap().is_empty());
    }

    #[test]
    fn an_ipv6_source_is_its_64_bit_prefix() {
        assert_eq!(
            source("2001:db8::1:2:3:4".parse().unwrap()),
            source("2001:db8::5".parse().unwrap())
        );
        assert_ne!(
            source("2001:db8::1".parse().unwrap()),
            source("2001:db8:0:1::1".parse().unwrap())
        );
    }
}
