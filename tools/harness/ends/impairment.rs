//! What a network would do to the packets on their way to the engine: loss (random and in bursts),
//! duplicates, reordering, jitter, and a sender that stalls. Sans-IO: a packet's fate is drawn from
//! the given randomness.

use std::time::Duration;

use linecard::base::random::Random;
use rand::RngExt;
use serde::Serialize;

/// What is done to every stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Impairments {
    /// Packets lost, in percent.
    pub loss_percent: f64,
    /// Packets lost in a row, on average; 1 or less: each by itself.
    pub burst_packets: f64,
    /// Packets sent twice, in percent.
    pub duplicate_percent: f64,
    /// Packets held back by [`Self::reorder_ms`], in percent.
    pub reorder_percent: f64,
    /// How long those are held back.
    pub reorder_ms: u32,
    /// Each packet is held back by up to this, evenly distributed, in order.
    pub jitter_ms: u32,
    /// Every stream is held back once for so long, then all of it leaves in one burst.
    pub stall_ms: u32,
}

impl Impairments {
    /// Whether nothing is done to anything.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How many packets something was done to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OnPurpose {
    /// Lost.
    pub lost: u64,
    /// Held back behind their successors.
    pub held_back: u64,
    /// Sent twice.
    pub duplicated: u64,
}

impl OnPurpose {
    /// Adds another stream's.
    pub fn add(&mut self, other: OnPurpose) {
        self.lost += other.lost;
        self.held_back += other.held_back;
        self.duplicated += other.duplicated;
    }
}

/// One stream's way through the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path {
    /// What was done so far.
    pub on_purpose: OnPurpose,
    /// Whether the last packet was lost: bursts have a memory of one packet (Gilbert's model).
    losing: bool,
    /// No packet leaves before the one before it left.
    last_ns: i64,
    /// Since when, until when the sender is stalled.
    stall_ns: Option<[i64; 2]>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost.
    Lost,
    /// It leaves at this time, and a second time when told.
    Leaves {
        /// When.
        at_ns: i64,
        /// How often.
        copies: u8,
    },
}

impl Path {
    /// Stalls this stream once, from `at_ns` on.
    pub fn stall(&mut self, at_ns: i64, stalled: Duration) {
        self.stall_ns = Some([at_ns, at_ns + stalled.as_nanos() as i64]);
    }

    /// The fate of the packet that is due at `due_ns`.
    pub fn fate(&mut self, due_ns: i64, done: &Impairments, random: &mut Random) -> Fate {
        if self.loses(done, random) {
            self.on_purpose.lost += 1;
            return Fate::Lost;
        }
        let mut at_ns = due_ns;
        if done.jitter_ms > 0 {
            at_ns += random.random_range(0..=i64::from(done.jitter_ms) * 1_000_000);
        }
        if let Some([from_ns, to_ns]) = self.stall_ns
            && (from_ns..to_ns).contains(&due_ns)
        {
            at_ns = at_ns.max(to_ns);
        }
        at_ns = at_ns.max(self.last_ns);
        self.last_ns = at_ns;
        if happens(done.reorder_percent, random) {
            self.on_purpose.held_back += 1;
            at_ns += i64::from(done.reorder_ms) * 1_000_000;
        }
        let copies = 1 + u8::from(happens(done.duplicate_percent, random));
        self.on_purpose.duplicated += u64::from(copies - 1);
        Fate::Leaves { at_ns, copies }
    }

    fn loses(&mut self, done: &Impairments, random: &mut Random) -> bool {
        if done.loss_percent <= 0.0 {
            return false;
        }
        let burst = done.burst_packets.max(1.0);
        let loss = done.loss_percent / 100.0;
        // Gilbert: leaves the losing state with 1/burst, enters it so that `loss` is the share.
        let percent = if self.losing && burst > 1.0 {
            100.0 * (1.0 - 1.0 / burst)
        } else if burst > 1.0 {
            100.0 * loss / (burst * (1.0 - loss))
        } else {
            done.loss_percent
        };
        self.losing = happens(percent, random);
        self.losing
    }
}

fn happens(percent: f64, random: &mut Random) -> bool {
    percent > 0.0 && random.random_range(0.0..100.0) < percent
}

#[cfg(test)]
mod tests {
    use linecard::base::random;

    use super::*;

    const PACKET_NS: i64 = 20_000_000;

    fn fates(done: Impairments, packets: i64) -> Vec<Fate> {
        let (mut path, mut random) = (Path::default(), random::from_seed(1));
        (0..packets).map(|n| path.fate(n * PACKET_NS, &done, &mut random)).collect()
    }

    fn lost(fates: &[Fate]) -> f64 {
        fates.iter().filter(|fate| **fate == Fate::Lost).count() as f64
    }

    #[test]
    fn without_impairments_every_packet_leaves_once_when_it_is_due() {
        for (n, fate) in fates(Impairments::default(), 100).into_iter().enumerate() {
            assert_eq!(fate, Fate::Leaves { at_ns: n as i64 * PACKET_NS, copies: 1 });
        }
    }

    #[test]
    fn loss_has_its_share_and_bursts_their_length() {
        let fates_random =
            fates(Impairments { loss_percent: 5.0, ..Impairments::default() }, 100_000);
        assert!((lost(&fates_random) / 1_000.0 - 5.0).abs() < 0.5);

        let done = Impairments { loss_percent: 5.0, burst_packets: 4.0, ..Impairments::default() };
        let fates = fates(done, 100_000);
        assert!((lost(&fates) / 1_000.0 - 5.0).abs() < 0.7, "{}", lost(&fates));
        let bursts = fates.windows(2).filter(|two| two[0] != Fate::Lost && two[1] == Fate::Lost);
        let burst = lost(&fates) / bursts.count() as f64;
        assert!((burst - 4.0).abs() < 0.5, "{burst}");
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let done = Impairments { jitter_ms: 60, ..Impairments::default() };
        let times: Vec<_> = fates(done, 1_000)
            .into_iter()
            .map(|fate| match fate {
                Fate::Leaves { at_ns, .. } => at_ns,
                Fate::Lost => panic!("nothing is lost"),
            })
            .collect();
        assert!(times.is_sorted());
        let done = Impairments { reorder_percent: 10.0, reorder_ms: 45, ..Impairments::default() };
        let late = fates(done, 1_000).into_iter().enumerate().filter(|(n, fate)| {
            *fate == Fate::Leaves { at_ns: *n as i64 * PACKET_NS + 45_000_000, copies: 1 }
        });
        assert!((50..150).contains(&late.count()));
    }

    #[test]
    fn a_stalled_stream_leaves_in_one_burst() {
        let (mut path, mut random) = (Path::default(), random::from_seed(1));
        path.stall(5 * PACKET_NS, Duration::from_millis(200));
        let done = Impairments { stall_ms: 200, ..Impairments::default() };
        let times: Vec<_> = (0..30).map(|n| path.fate(n * PACKET_NS, &done, &mut random)).collect();
        let burst = Fate::Leaves { at_ns: 15 * PACKET_NS, copies: 1 };
        assert_eq!(times.iter().filter(|fate| **fate == burst).count(), 11);
    }

    #[test]
    fn duplicates_leave_twice() {
        let done = Impairments { duplicate_percent: 100.0, ..Impairments::default() };
        assert!(fates(done, 10).iter().all(|fate| matches!(fate, Fate::Leaves { copies: 2, .. })));
    }
}
