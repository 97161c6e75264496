//! The playout buffer: evenly spaced audio from packets that come as they like. It takes the place of
//! the repair window where the far end wants an even stream.
//!
//! In: packets as they arrive, and the time of each tick. Out: what to play at the tick
//! ([`Pull`]): a packet, the place of a lost one, or nothing. Packets are kept encoded until they are
//! due. Whoever plays them says what became of them ([`PlayoutBuffer::played`]).
//!
//! The delay is what all but 3 % of the packets need, as [`Jitter`] has seen it lately. It grows when
//! a packet is not there in time, for then something is put into its place and nothing is left out; or
//! in silence, before that happens. It shrinks one quiet packet at a time, and by a pitch period in
//! speech if nobody pauses ([`super::shorten`]). A sender's pause is left at the right delay at once.
//! A clock that runs fast or slow shows as a delay that drifts, and is corrected in the same way.
//!
//! All times are counted in samples of 8 kHz since the first packet.

use std::time::{Duration, Instant};

use self::jitter::Jitter;
use self::shelf::{Entry, Shelf};
use self::shrinker::Shrinker;
use super::SAMPLES_PER_MS;
use super::repair::{AHEAD_PACKETS_MAX, BEHIND_PACKETS_MAX, HELD_PAYLOAD_BYTES_MAX, Packet};
use crate::base::discard::Discard;
use crate::wire::rtp::{RtpTimestamp, SequenceNumber};

mod jitter;
mod shelf;
mod shrinker;

/// The longest delay that can be asked for: what [`Jitter`] can tell apart.
pub const MOST_MS_MAX: u16 = 300;

const MS: i64 = SAMPLES_PER_MS as i64;
/// The longest gap that is concealed as a loss; a longer one is a pause. The codecs have faded by then.
const FILL_MAX: i64 = 120 * MS;
/// A jump of the sender's clock beyond this is not a pause but a new clock.
const CLOCK_JUMP_MAX: i64 = 10_000 * MS;
/// Ticks that are late by more are left out, as after a pause of the process: nobody wants them all
/// at once.
const BEHIND_MAX: Duration = Duration::from_millis(60);

/// Between what bounds the delay is kept, in milliseconds. It is the time that the fastest packets
/// wait, so 0 is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayRange {
    /// At least.
    pub least_ms: u16,
    /// At most, up to [`MOST_MS_MAX`].
    pub most_ms: u16,
}

/// What fills a tick, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull<'a> {
    /// This packet.
    Play {
        /// The packet.
        packet: Packet<'a>,
        /// What may be left out.
        shorten: Shorten,
        /// Packets right before it that were lost while there was nothing to play.
        missing_packets: u16,
    },
    /// A packet without audio of its own, such as a telephone event.
    Event(Packet<'a>),
    /// A packet was lost.
    Lost {
        /// Its samples.
        samples: usize,
        /// The payload right after it, which may bring FEC.
        next: Option<&'a [u8]>,
    },
    /// There is nothing to play: the sender pauses, or is late, or the delay grows.
    Nothing {
        /// How much to fill.
        samples: usize,
    },
}

/// What may be left out of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shorten {
    /// Nothing.
    No,
    /// All of it if it is quiet.
    IfQuiet,
    /// All of it if it is quiet, else a pitch period.
    Anyway,
}

/// What the buffer did to the delay, for statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutReport {
    /// What the fastest packets wait, now.
    pub delay_ms: u32,
    /// What they should.
    pub target_ms: u32,
    /// Audio put in, in all.
    pub inserted_ms: u64,
    /// Audio left out, in all.
    pub dropped_ms: u64,
}

/// The playout buffer of one stream (one SSRC). Nothing is allocated after it was made.
pub struct PlayoutBuffer {
    least: i64,
    most: i64,
    /// Samples of a tick.
    tick: usize,
    origin: Option<Instant>,
    /// The next tick.
    due: Option<Instant>,
    /// The tick being filled.
    time: i64,
    jitter: Jitter,
    clock: Option<Clock>,
    shelf: Shelf,
    /// The sequence number whose turn it is; `None` before the first packet was played.
    next: Option<SequenceNumber>,
    /// Which of the 64 packets before `next` are accounted for, bit 0 the last.
    seen: u64,
    /// What would confirm a jump: the number after a packet that was too far away.
    jump: Option<SequenceNumber>,
    /// Position after what was played last.
    end: i64,
    /// What was played in the place of packets since then, while there were none; `None` while there
    /// are.
    stood: Option<i64>,
    /// The last packet played was quiet.
    quiet: bool,
    /// A packet came too late since the delay last grew.
    late: bool,
    shrinker: Shrinker,
    delay: i64,
    inserted: u64,
    dropped: u64,
    reordered: u64,
}

/// The sender's clock tied to our positions.
#[derive(Clone, Copy)]
struct Clock {
    hz: u32,
    timestamp: RtpTimestamp,
    position: i64,
}

impl PlayoutBuffer {
    /// An empty buffer whose ticks are `tick_samples` apart. It allocates once, here.
    pub fn new(range: DelayRange, tick_samples: usize) -> Self {
        let (least, most) = (i64::from(range.least_ms), i64::from(range.most_ms.min(MOST_MS_MAX)));
        Self {
            least: least.min(most) * MS,
            most: most * MS,
            tick: tick_samples.max(1),
            origin: None,
            due: None,
            time: 0,
            jitter: Jitter::default(),
            clock: None,
            // Packets of 10 ms for the longest delay, and as many as a stall of 160 ms piles up.
            shelf: Shelf::new(most as usize / 10 + 16),
            next: None,
            seen: 0,
            jump: None,
            end: 0,
            stood: Some(0),
            quiet: false,
            late: false,
            shrinker: Shrinker::default(),
            delay: 0,
            inserted: 0,
            dropped: 0,
            reordered: 0,
        }
    }

    /// Begins anew with whatever comes next, as when the SSRC changed. The ticks go on.
    pub fn restart(&mut self) {
        self.jitter = Jitter::default();
        self.clock = None;
        self.shelf.clear();
        self.next = None;
        self.seen = 0;
        self.jump = None;
        self.stood = Some(0);
        self.shrinker.restart();
    }

    /// Takes a packet in. `audio` is its RTP clock in Hz and how many samples of 8 kHz it holds;
    /// `None` when its timestamp does not tell when it was spoken, as of a telephone event.
    ///
    /// # Errors
    /// Why the packet is discarded.
    pub fn accept(
        &mut self,
        packet: Packet<'_>,
        audio: Option<(u32, usize)>,
        now: Instant,
    ) -> Result<(), Discard> {
        if packet.payload.len() > HELD_PAYLOAD_BYTES_MAX {
            return Err(Discard::TooLarge);
        }
        let arrival = self.since_origin(now);
        let number = packet.header.sequence_number;
        let is_newest = self.shelf.last().map_or_else(
            || self.next.is_none_or(|next| number.distance(next) >= 0),
            |last| number.distance(last.header.sequence_number) > 0,
        );
        self.place(number)?;
        let (position, samples) = match audio {
            Some((hz, samples)) => {
                (self.position(packet.header.timestamp, hz, arrival, is_newest), samples)
            }
            None => (arrival, 0),
        };
        if audio.is_some() {
            self.jitter.observe(arrival - position, arrival);
        }
        if self.next.is_some_and(|next| number.distance(next) < 0) {
            self.late = true;
            return Err(Discard::Late);
        }
        self.reordered += u64::from(!is_newest);
        self.keep(packet, Entry { header: packet.header, arrival, position, samples });
        if self.due.is_none() {
            self.due = Some(now + Duration::from_micros(self.least as u64 * 125));
        }
        Ok(())
    }

    /// Takes a copy of a packet, brought along by a later one, if it is missed; says so.
    pub fn recover(&mut self, copy: Packet<'_>, audio: Option<(u32, usize)>, now: Instant) -> bool {
        let number = copy.header.sequence_number;
        let ahead = self.next.map(|next| number.distance(next));
        let wanted = ahead.is_some_and(|ahead| (0..AHEAD_PACKETS_MAX).contains(&ahead))
            && !self.shelf.holds(number)
            && copy.payload.len() <= HELD_PAYLOAD_BYTES_MAX;
        let (Some(clock), Some((hz, samples)), true) = (self.clock, audio, wanted) else {
            return false;
        };
        let arrival = self.since_origin(now);
        // It says nothing of the network's speed.
        let position = clock.position_of(copy.header.timestamp, hz);
        self.keep(copy, Entry { header: copy.header, arrival, position, samples });
        true
    }

    /// When [`Self::begin_tick`] has something to do.
    #[inline]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Begins the tick that is due, if one is. Says how many ticks before it were left out.
    pub fn begin_tick(&mut self, now: Instant) -> Option<u32> {
        let due = self.due.filter(|due| *due <= now)?;
        let interval = Duration::from_micros(self.tick as u64 * 125);
        let behind = now - due;
        let skipped = if behind > BEHIND_MAX {
            u32::try_from(behind.as_micros() / interval.as_micros()).unwrap_or(u32::MAX)
        } else {
            0
        };
        let due = due + interval * skipped;
        self.due = Some(due + interval);
        self.time = self.since_origin(due);
        if let Some(stood) = &mut self.stood {
            *stood += i64::from(skipped) * self.tick as i64;
        }
        Some(skipped)
    }

    /// What comes next in the present tick, of which `needed` samples are still to be filled.
    pub fn pull(&mut self, needed: usize) -> Pull<'_> {
        while let Some(head) = self.shelf.first() {
            let number = head.header.sequence_number;
            if head.samples == 0 {
                if self.time - head.arrival < self.wanted() {
                    return self.nothing(needed);
                }
                self.pass(number);
                return Pull::Event(self.shelf.take_first());
            }
            if self.time - head.position - self.jitter.base() > self.most + self.tick as i64 {
                self.dropped += head.samples as u64;
                self.end = head.position + head.samples as i64;
                self.pass(number);
                self.shelf.take_first();
                continue;
            }
            let missing = self.next.map_or(0, |next| number.distance(next));
            let (gap, spare) = (head.position - self.end, self.spare(head.position));
            match self.stood {
                None if missing > 0 && (i64::from(missing)..=FILL_MAX).contains(&gap) => {
                    return self.lost(missing, gap);
                }
                None if gap > 0 => self.stood = Some(0), // a pause
                None if spare < 0 && (self.quiet || self.late) => {
                    self.late = false;
                    self.quiet = false;
                    self.inserted += needed as u64;
                    return Pull::Nothing { samples: needed };
                }
                None => return self.play(),
                Some(stood) => {
                    let started = self.next.is_some();
                    // What follows directly was only late; what follows a loss that has been filled
                    // has its turn. After a pause the delay is chosen anew.
                    let at_once = started && (gap <= 0 || missing > 0 && gap <= stood);
                    if !at_once && spare < 0 {
                        return self.nothing(needed);
                    }
                    if started {
                        self.inserted += (stood - gap).max(0) as u64;
                        self.dropped += (gap - stood).max(0) as u64;
                    }
                    return self.play();
                }
            }
        }
        self.nothing(needed)
    }

    /// What became of the packet that was to be played: how many samples were left out, and whether
    /// it was quiet.
    pub fn played(&mut self, left_out: usize, quiet: bool) {
        self.quiet = quiet;
        if left_out > 0 {
            self.dropped += left_out as u64;
            self.shrinker.left_out(self.time);
        }
    }

    /// Packets that came out of order and were put back.
    pub fn packets_reordered(&self) -> u64 {
        self.reordered
    }

    /// What happened to the delay.
    pub fn report(&self) -> PlayoutReport {
        PlayoutReport {
            delay_ms: (self.delay.max(0) / MS) as u32,
            target_ms: (self.wanted() / MS) as u32,
            inserted_ms: self.inserted / MS as u64,
            dropped_ms: self.dropped / MS as u64,
        }
    }

    /// The delay to keep: how long the fastest packets should wait.
    fn wanted(&self) -> i64 {
        self.jitter.needed().clamp(self.least, self.most)
    }

    /// How long ago the slowest packet that counts would have been here, for what stands at
    /// `position`, in the present tick.
    fn spare(&self, position: i64) -> i64 {
        self.time - position - self.jitter.base() - self.wanted()
    }

    fn since_origin(&mut self, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(*self.origin.get_or_insert(now));
        passed.as_micros() as i64 * MS / 1_000
    }

    /// RFC 3550 A.1 and duplicates: a packet far away is either astray or the first of a stream that
    /// began anew; the next one tells.
    fn place(&mut self, number: SequenceNumber) -> Result<(), Discard> {
        if self.shelf.holds(number) {
            return Err(Discard::Duplicate);
        }
        let first = self.shelf.first().map(|first| first.header.sequence_number);
        let Some(expected) = self.next.or(first) else { return Ok(()) };
        let ahead = number.distance(expected);
        if !(-BEHIND_PACKETS_MAX..=AHEAD_PACKETS_MAX).contains(&ahead) {
            if self.jump != Some(number) {
                self.jump = Some(number.next());
                return Err(Discard::SequenceJump);
            }
            self.restart();
        }
        self.jump = None;
        if ahead < 0 && self.next.is_some() {
            let behind = u32::from(ahead.unsigned_abs());
            let bit = 1u64.checked_shl(behind - 1).unwrap_or(0);
            if self.seen & bit != 0 {
                return Err(Discard::Duplicate);
            }
            self.seen |= bit;
        }
        Ok(())
    }

    /// Where a packet belongs. A clock that steps back or jumps wildly goes on where it was.
    fn position(&mut self, timestamp: RtpTimestamp, hz: u32, arrival: i64, is_newest: bool) -> i64 {
        let end = self.shelf.last().map_or(self.end, |last| last.position + last.samples as i64);
        let position = match self.clock {
            Some(clock) if clock.hz == hz => {
                let position = clock.position_of(timestamp, hz);
                let passed = position - clock.position;
                match is_newest {
                    true if passed.abs() > CLOCK_JUMP_MAX => end.max(arrival - self.jitter.base()),
                    true => position.max(end),
                    false => position,
                }
            }
            Some(_) => end.max(arrival - self.jitter.base()),
            None => arrival,
        };
        if is_newest {
            self.clock = Some(Clock { hz, timestamp, position });
        }
        position
    }

    fn keep(&mut self, packet: Packet<'_>, entry: Entry) {
        if self.shelf.is_full()
            && let Some(first) = self.shelf.first()
        {
            self.dropped += first.samples as u64;
            self.end = first.position + first.samples as i64;
            self.pass(first.header.sequence_number);
            self.shelf.take_first();
        }
        self.shelf.put(packet, entry);
    }

    /// Moves on to the packet after `number`; those before it that did not come are lost.
    fn pass(&mut self, number: SequenceNumber) {
        let moved =
            self.next.map_or(1, |next| u32::from((number.distance(next) + 1).unsigned_abs()));
        self.seen = self.seen.checked_shl(moved).unwrap_or(0) | 1;
        self.next = Some(number.next());
    }

    fn play(&mut self) -> Pull<'_> {
        let Some(head) = self.shelf.first() else { return Pull::Nothing { samples: self.tick } };
        let number = head.header.sequence_number;
        let missing = self.next.map_or(0, |next| number.distance(next)).max(0).unsigned_abs();
        let samples = head.samples as i64;
        let spare = self.spare(head.position);
        self.delay = self.time - head.position - self.jitter.base();
        self.end = head.position + samples;
        self.stood = None;
        self.pass(number);
        let shorten = self.shrinker.allows(self.time, spare, samples);
        Pull::Play { packet: self.shelf.take_first(), shorten, missing_packets: missing }
    }

    /// The next packet is missing, and `missing - 1` after it; together they last `gap` samples. They
    /// are given up one by one, for those after it may still come.
    fn lost(&mut self, missing: i16, gap: i64) -> Pull<'_> {
        let samples = gap / i64::from(missing);
        if let Some(next) = self.next {
            self.next = Some(next.next());
            self.seen <<= 1;
        }
        self.end += samples;
        let next = (missing == 1).then(|| self.shelf.first_payload()).flatten();
        Pull::Lost { samples: samples as usize, next }
    }

    fn nothing(&mut self, needed: usize) -> Pull<'_> {
        self.stood = Some(self.stood.unwrap_or(0) + needed as i64);
        Pull::Nothing { samples: needed }
    }
}

impl Clock {
    fn position_of(&self, timestamp: RtpTimestamp, hz: u32) -> i64 {
        let per_sample = (i64::from(hz) / (1_000 * MS)).max(1);
        self.position + i64::from(timestamp.distance(self.timestamp)) / per_sample
    }
}

#[cfg(test)]
mod tests;
