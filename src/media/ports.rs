//! Port pairs for plain legs: each media thread owns a slice of the configured range. A pair rests
//! before it serves again, so that late packets of an old call never reach a new one.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::base::narrow::Narrow;
use crate::config::PortRange;
use crate::os::sockets::{BoundSocket, Purpose};

/// How long a pair rests after its call ended: longer than any far end goes on sending after BYE.
const REST: Duration = Duration::from_secs(30);

/// An RTP port and the RTCP port above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPair {
    /// Even (RFC 3550 §11).
    pub rtp: u16,
}

impl PortPair {
    /// The odd port above.
    pub const fn rtcp(self) -> u16 {
        self.rtp + 1
    }
}

/// Why no pair could be had.
#[derive(Debug)]
pub enum NoPair {
    /// Every pair is in use or rests.
    Exhausted,
    /// The operating system refused to bind any of them.
    Refused(io::Error),
}

/// Binds an address; what is bound is closed when it is dropped.
pub type Bind = fn(SocketAddr, Purpose) -> io::Result<BoundSocket>;

/// One thread's pairs.
#[derive(Debug)]
pub struct PortPool {
    address: IpAddr,
    bind: Bind,
    /// Free pairs with the time from which they may serve, soonest first.
    free: VecDeque<(Instant, PortPair)>,
    /// How many pairs were found taken by another program.
    taken_elsewhere: u64,
}

impl PortPool {
    /// The `part`th of `parts` equal slices of `range`, all free.
    pub fn new(
        address: IpAddr,
        range: PortRange,
        (part, parts): (usize, usize),
        bind: Bind,
        now: Instant,
    ) -> Self {
        let each = range.pairs() / parts;
        let free = (part * each..(part + 1) * each)
            .map(|pair| (now, PortPair { rtp: range.first + 2 * Narrow::<u16>::narrow(pair) }))
            .collect();
        Self { address, bind, free, taken_elsewhere: 0 }
    }

    /// Binds the pair that rested longest. A pair that another program holds goes to the end of the
    /// queue and the next is tried, once round.
    pub fn bind(&mut self, now: Instant) -> Result<(PortPair, [BoundSocket; 2]), NoPair> {
        let mut refusal = None;
        for _ in 0..self.free.len() {
            let Some((_, pair)) = self.free.pop_front_if(|(from, _)| *from <= now) else { break };
            match self.bind_pair(pair, Purpose::Leg) {
                Ok(sockets) => return Ok((pair, sockets)),
                Err(error) => {
                    let taken = error.kind() == io::ErrorKind::AddrInUse;
                    self.taken_elsewhere += u64::from(taken);
                    self.free.push_back((now + REST, pair));
                    refusal = Some(error);
                    if !taken {
                        break;
                    }
                }
            }
        }
        Err(refusal.map_or(NoPair::Exhausted, NoPair::Refused))
    }

    /// Binds the pair that was asked for; whether it rests is for who asks to judge. `None`: it is not
    /// among the free ones of this thread.
    pub fn bind_at(
        &mut self,
        local: SocketAddr,
    ) -> Option<io::Result<(PortPair, [BoundSocket; 2])>> {
        let pair = PortPair { rtp: local.port() };
        let is_it = |(_, free): &(Instant, PortPair)| *free == pair;
        let place = self.free.iter().position(is_it).filter(|_| local.ip() == self.address)?;
        let bound = self.bind_pair(pair, Purpose::NamedLeg);
        match &bound {
            Ok(_) => drop(self.free.remove(place)),
            Err(error) => {
                self.taken_elsewhere += u64::from(error.kind() == io::ErrorKind::AddrInUse);
            }
        }
        Some(bound.map(|sockets| (pair, sockets)))
    }

    /// Whether the pair is among the free ones of this thread.
    pub fn has(&self, local: SocketAddr) -> bool {
        local.ip() == self.address && self.free.iter().any(|(_, free)| free.rtp == local.port())
    }

    fn bind_pair(&self, pair: PortPair, purpose: Purpose) -> io::Result<[BoundSocket; 2]> {
        let bind = |port| (self.bind)(SocketAddr::new(self.address, port), purpose);
        let rtp = bind(pair.rtp)?;
        Ok([rtp, bind(pair.rtcp())?])
    }

    /// Takes a pair back; it rests first.
    pub fn release(&mut self, pair: PortPair, now: Instant) {
        debug_assert!(self.free.iter().all(|(_, free)| *free != pair), "a pair is given back once");
        self.free.push_back((now + REST, pair));
    }

    /// Pairs that rest or are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Times a pair was found to be held by another program.
    pub fn taken_elsewhere(&self) -> u64 {
        self.taken_elsewhere
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A range that nothing else on this machine uses at the moment.
    fn free_range(pairs: u16) -> PortRange {
        let first = (20_000..29_000)
            .step_by(2)
            .find(|first| {
                (*first..first + 2 * pairs).all(|port| UdpSocket::bind((HOST, port)).is_ok())
            })
            .unwrap();
        PortRange { first, last: first + 2 * pairs - 1 }
    }

    #[test]
    fn a_released_pair_rests_before_it_serves_again() {
        let now = Instant::now();
        let mut pool = PortPool::new(HOST, free_range(1), (0, 1), BoundSocket::bind, now);
        let (pair, sockets) = pool.bind(now).unwrap();
        assert!(matches!(pool.bind(now), Err(NoPair::Exhausted)));
        drop(sockets);
        pool.release(pair, now);
        assert!(matches!(pool.bind(now + REST / 2), Err(NoPair::Exhausted)));
        assert_eq!(pool.bind(now + REST).unwrap().0, pair);
    }

    #[test]
    fn a_port_that_another_program_holds_is_passed_over() {
        let now = Instant::now();
        let range = free_range(2);
        let _other = UdpSocket::bind((HOST, range.first + 1)).unwrap();
        let mut pool = PortPool::new(HOST, range, (0, 1), BoundSocket::bind, now);
        assert_eq!(pool.bind(now).unwrap().0.rtp, range.first + 2);
        assert_eq!(pool.taken_elsewhere(), 1);
    }

    #[test]
    fn a_pair_is_bound_by_number_where_it_is_free_and_this_threads() {
        let now = Instant::now();
        let range = free_range(2);
        let mut pool = PortPool::new(HOST, range, (0, 1), BoundSocket::bind, now);
        let wanted = SocketAddr::new(HOST, range.first + 2);
        let (pair, sockets) = pool.bind_at(wanted).unwrap().unwrap();
        assert_eq!((pair.rtp, pool.free()), (wanted.port(), 1));
        assert!(pool.bind_at(wanted).is_none(), "it is in use");
        drop(sockets);
        pool.release(pair, now);
        assert!(pool.bind_at(wanted).unwrap().is_ok(), "though it rests");
        for elsewhere in [SocketAddr::new(HOST, 9), "192.0.2.1:9".parse().unwrap()] {
            assert!(pool.bind_at(elsewhere).is_none());
        }
    }

    #[test]
    fn threads_get_slices_that_do_not_overlap() {
        let range = PortRange { first: 30_000, last: 30_009 };
        let now = Instant::now();
        let rtp = |part| {
            let pool = PortPool::new(HOST, range, (part, 2), BoundSocket::bind, now);
            pool.free.iter().map(|(_, pair)| pair.rtp).collect::<Vec<_>>()
        };
        assert_eq!(rtp(0), [30_000, 30_002]);
        assert_eq!(rtp(1), [30_004, 30_006]);
    }
}
