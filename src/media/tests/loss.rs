//! What a bad network does to a call: loss, bursts of it, stalls, packets out of order, twice or too
//! late. Minutes of speech through the whole line, both ways.

use rand::RngExt;

use super::*;

const PACKET: usize = 160;
/// What a packet may wait for one that is missing, and the timer that ends the wait.
const HELD_MAX: Duration = crate::audio::repair::HOLD_MAX;

/// The ways a transcoded call has, with the payload type that is heard there.
pub(super) const WAYS: [(Side, u8); 2] = [(Side::A, 111), (Side::B, 0)];

/// One way of a call over a network that does what the test says.
pub(super) struct Journey {
    pub(super) line: Line,
    pub(super) from: Side,
    pub(super) start: Instant,
    packets: Vec<Vec<u8>>,
    /// When each datagram arrives, and which packet it is.
    arrivals: Vec<(Duration, usize)>,
    pub(super) sent: Vec<Sent>,
}

impl Journey {
    /// So many packets of 20 ms of speech.
    pub(super) fn new(way: (Side, u8), packets: usize) -> Self {
        Self::between(OPUS, PCMU, way, packets)
    }

    /// Between legs of these formats.
    pub(super) fn between(
        a: &str,
        b: &str,
        (from, payload_type): (Side, u8),
        packets: usize,
    ) -> Self {
        let line = Line::new(a, b);
        let mut speaker = Speaker::new(&line.arena, payload_type);
        speaker.speech = Some(crate::audio::synthetic::speech(80_000));
        let packets = (0..packets).map(|_| speaker.packet(PACKET)).collect();
        let (start, arrivals, sent) = (line.now, Vec::new(), Vec::new());
        Self { line, from, start, packets, arrivals, sent }
    }

    /// The network: for each packet when it arrives after it was spoken, never, or several times.
    pub(super) fn over<Delays: IntoIterator<Item = Duration>>(
        mut self,
        mut network: impl FnMut(usize) -> Delays,
    ) -> Self {
        for n in 0..self.packets.len() {
            let spoken = MS_20 * n as u32;
            self.arrivals.extend(network(n).into_iter().map(|delay| (spoken + delay, n)));
        }
        self.arrivals.sort_by_key(|(at, _)| *at);
        for (at, n) in std::mem::take(&mut self.arrivals) {
            let passed = self.line.now - self.start;
            self.sent.extend(self.line.pass(at.saturating_sub(passed)));
            // What is refused is counted on the leg.
            if let Ok(sent) = self.line.hear(self.from, &self.packets[n]) {
                self.sent.extend(sent);
            }
        }
        self.sent.extend(self.line.pass(MS_20 * 5));
        self
    }

    /// No hole in the sequence, no slip of the timestamps, nothing but packets of 20 ms, and as many
    /// as were spoken.
    pub(super) fn assert_whole(&self) {
        assert_eq!(self.sent.len(), self.packets.len(), "every frame is there");
        let mut listener = Listener::new(&self.line.arena);
        listener.listen(&self.sent);
        assert_eq!(listener.pcm.len(), self.packets.len() * PACKET);
    }

    /// How long after it was spoken each packet left.
    pub(super) fn delays(&self) -> Vec<Duration> {
        let spoken = (0..).map(|n| self.start + MS_20 * n);
        self.sent.iter().zip(spoken).map(|(sent, spoken)| sent.at - spoken).collect()
    }

    pub(super) fn statistics(&self) -> LegStatistics {
        self.line.statistics(self.from)
    }

    pub(super) fn discarded(&self, reason: Discard) -> u64 {
        self.statistics().discards.of(reason)
    }
}

#[test]
fn loss_leaves_no_hole_and_time_does_not_slip() {
    const PACKETS: usize = 9_000; // three minutes
    for way in WAYS {
        for lost_percent in [1, 5, 10] {
            let mut losses = random::from_seed(lost_percent);
            let mut lost = 0;
            let journey = Journey::new(way, PACKETS).over(|n| {
                let arrives =
                    n == 0 || n > PACKETS - 9 || losses.random_range(0..100) >= lost_percent;
                lost += i64::from(!arrives);
                arrives.then_some(Duration::ZERO)
            });
            journey.assert_whole();
            let statistics = journey.statistics();
            assert_eq!(statistics.packets_lost, lost);
            let filled = statistics.frames_concealed + statistics.frames_recovered;
            assert_eq!(filled, lost as u64);
            if way.1 == 111 {
                // In-band FEC brings back what was lost alone or last in a row.
                assert!(statistics.frames_recovered * 2 > filled, "{statistics:?}");
            }
            // A loss alone delays what follows for the time it is held open, not a packet longer.
            let delays = journey.delays();
            let late = delays.iter().filter(|delay| !delay.is_zero()).count();
            assert!(delays.iter().all(|delay| *delay <= HELD_MAX + MS_20 * 6));
            assert!(late <= 3 * lost as usize, "{late} of {PACKETS} were late for {lost} losses");
        }
    }
}

#[test]
fn a_burst_of_losses_is_filled_and_leaves_no_delay() {
    for way in WAYS {
        for missing in 1..=6 {
            let journey = Journey::new(way, 3_000)
                .over(|n| (!(100..100 + missing).contains(&n)).then_some(Duration::ZERO));
            journey.assert_whole();
            assert!(journey.delays()[100 + missing + 2..].iter().all(Duration::is_zero));
        }
    }
}

#[test]
fn of_a_long_burst_only_what_is_filled_counts_as_concealed() {
    for way in WAYS {
        let journey =
            Journey::new(way, 300).over(|n| (!(100..120).contains(&n)).then_some(Duration::ZERO));
        let statistics = journey.statistics();
        assert_eq!(statistics.packets_lost, 20);
        assert_eq!((statistics.frames_concealed, statistics.frames_recovered), (6, 0));
    }
}

#[test]
fn a_stall_leaves_no_delay_behind() {
    for way in WAYS {
        for stalled_ms in [80, 200, 1_000] {
            // The network holds everything back, then delivers it at once.
            let (begins, ends) =
                (Duration::from_secs(2), Duration::from_millis(2_000 + stalled_ms));
            let journey = Journey::new(way, 3_250).over(|n| {
                let spoken = MS_20 * n as u32;
                let held = (begins..ends).contains(&spoken);
                Some(if held { ends - spoken } else { Duration::ZERO })
            });
            journey.assert_whole();
            let delays = journey.delays();
            let stalled = stalled_ms as usize / 20;
            assert!(delays[100] >= Duration::from_millis(stalled_ms));
            // As before from the first packet after it, for the 60 s that follow.
            assert!(delays[..100].iter().chain(&delays[100 + stalled..]).all(Duration::is_zero));
            assert_eq!(journey.statistics().frames_concealed, 0);
        }
    }
}

#[test]
fn packets_out_of_order_by_up_to_60_ms_are_put_right() {
    for way in WAYS {
        let mut detours = random::from_seed(7);
        let journey = Journey::new(way, 3_000).over(|n| {
            let detour = n > 0 && n < 2_990 && detours.random_range(0..10) == 0;
            Some(Duration::from_millis(if detour { detours.random_range(0..=60) } else { 0 }))
        });
        journey.assert_whole();
        let statistics = journey.statistics();
        assert_eq!(statistics.packets_lost, 0);
        assert!(statistics.packets_reordered > 100);
        // Only until the window knows how late packets come here.
        let late = journey.discarded(Discard::Late);
        assert!(late <= 3, "{late}");
        assert_eq!(statistics.frames_concealed + statistics.frames_recovered, late);
        assert!(journey.delays().iter().all(|delay| *delay <= HELD_MAX + MS_20));
    }
}

#[test]
fn jitter_without_reordering_changes_nothing() {
    for way in WAYS {
        let mut jitter = random::from_seed(9);
        let mut last = Duration::ZERO;
        let journey = Journey::new(way, 1_000).over(|n| {
            let spoken = MS_20 * n as u32;
            last = last.max(spoken + Duration::from_millis(jitter.random_range(0..=60)));
            Some(last - spoken)
        });
        journey.assert_whole();
        let statistics = journey.statistics();
        assert_eq!(statistics.frames_concealed + statistics.frames_recovered, 0);
        assert_eq!(statistics.packets_reordered, 0);
        assert!(statistics.jitter_ms > 5.0);
    }
}

#[test]
fn packets_that_come_twice_or_too_late_are_counted_and_not_played() {
    for way in WAYS {
        let journey = Journey::new(way, 1_000).over(|n| match n % 50 {
            10 => vec![Duration::ZERO; 3],
            20 => vec![Duration::ZERO, Duration::from_millis(130)],
            30 => vec![Duration::from_millis(300)],
            _ => vec![Duration::ZERO],
        });
        journey.assert_whole();
        assert_eq!(journey.discarded(Discard::Duplicate), 20 * 2 + 20);
        assert_eq!(journey.discarded(Discard::Late), 20);
        let statistics = journey.statistics();
        assert_eq!(statistics.frames_concealed + statistics.frames_recovered, 20);
    }
}
