//! A leg's RTCP (RFC 3550 §6): when reports leave, what they say, what the far end's reports mean.

use std::time::{Duration, Instant};

use rand::RngExt;

use crate::base::narrow::{LowHalf, Narrow};
use crate::base::random::Random;
use crate::wire::rtcp::{ReportBlock, ReportBlocks};
use crate::wire::rtp::Ssrc;

/// Mean time between reports. RFC 3550 §6.2 lets two parties go far below its 5 s; browsers steer
/// their bit rate and FEC by what they read here.
const INTERVAL: Duration = Duration::from_secs(2);
/// The first report leaves early, so that a far end knows its round trip and its loss soon.
const FIRST: Duration = Duration::from_millis(500);

/// What the far end last reported about what we send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RemoteReport {
    /// Share lost since its report before, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost in all.
    pub cumulative_lost: i32,
    /// Interarrival jitter in units of our RTP clock.
    pub jitter: u32,
}

/// The RTCP state of a leg.
#[derive(Clone, Debug)]
pub(super) struct Reports {
    next: Instant,
    /// Middle 32 bits of the far end's last sender report, and its arrival.
    last_sender_report: Option<(u32, Instant)>,
    remote: Option<RemoteReport>,
    /// How far the report before reached.
    remote_highest: Option<u32>,
    round_trip: Option<Duration>,
}

impl Reports {
    /// Begins the schedule.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: now + FIRST,
            last_sender_report: None,
            remote: None,
            remote_highest: None,
            round_trip: None,
        }
    }

    /// When a report is due.
    pub(super) const fn next_timeout(&self) -> Instant {
        self.next
    }

    /// Sets the next report, at half to one and a half times the interval (RFC 3550 §6.3.1), so
    /// that the reports of many calls never fall together.
    pub(super) fn schedule(&mut self, now: Instant, random: &mut Random) {
        self.next = now + INTERVAL.mul_f64(random.random_range(0.5..1.5));
    }

    /// Takes the far end's sender report in.
    pub(super) fn sender_report(&mut self, ntp: u64, now: Instant) {
        self.last_sender_report = Some(((ntp >> 16).low_half(), now));
    }

    /// Takes the far end's report blocks in; those about other sources are passed over. `ntp` is the
    /// wall clock of `now`. Gives the report about ours if it covers packets that the one before did
    /// not: one about nothing says nothing about the path.
    pub(super) fn report_blocks(
        &mut self,
        blocks: ReportBlocks<'_>,
        ours: Ssrc,
        ntp: u64,
    ) -> Option<RemoteReport> {
        let mut news = None;
        for block in blocks.filter(|block| block.ssrc == ours) {
            self.remote = Some(RemoteReport {
                fraction_lost: block.fraction_lost,
                cumulative_lost: block.cumulative_lost,
                jitter: block.jitter,
            });
            let highest = Some(block.extended_highest_sequence);
            if std::mem::replace(&mut self.remote_highest, highest) != highest {
                news = self.remote;
            }
            if block.last_sr != 0 {
                // RFC 3550 §6.4.1: A - LSR - DLSR, in 1/65536 s. A negative one is clock noise.
                let now = (ntp >> 16).low_half();
                let trip = now.wrapping_sub(block.last_sr).wrapping_sub(block.delay_since_last_sr);
                let trip = u64::from(trip.cast_signed().max(0).cast_unsigned());
                self.round_trip = Some(Duration::from_micros(trip * 1_000_000 / 65_536));
            }
        }
        news
    }

    /// The block's two fields about the far end's last sender report.
    pub(super) fn echo(&self, now: Instant) -> (u32, u32) {
        self.last_sender_report.map_or((0, 0), |(middle, arrival)| {
            let delay = now.saturating_duration_since(arrival);
            (middle, (Narrow::<u64>::narrow(delay.as_micros()) * 65_536 / 1_000_000).low_half())
        })
    }

    /// What the far end last reported.
    pub(super) const fn remote(&self) -> Option<RemoteReport> {
        self.remote
    }

    /// Round trip by the far end's last report.
    pub(super) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}

/// A report block from its parts.
pub(super) fn block(
    ssrc: Ssrc,
    reception: crate::audio::reception::ReceptionReport,
    (last_sr, delay_since_last_sr): (u32, u32),
) -> ReportBlock {
    ReportBlock {
        ssrc,
        fraction_lost: reception.fraction_lost,
        cumulative_lost: reception.cumulative_lost,
        extended_highest_sequence: reception.extended_highest_sequence,
        jitter: reception.jitter,
        last_sr,
        delay_since_last_sr,
    }
}
