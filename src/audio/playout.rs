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
use self::shrinker::Shrinker;
use super::SAMPLES_PER_MS;
use super::sequence::{CLOCK_JUMP_SECONDS_MAX, Continuity, Sequence};
use super::shelf::{Held, Packet, Shelf};
use crate::base::discard::Discard;
use crate::base::narrow::Narrow;
use crate::base::opaque::opaque;
use crate::wire::rtp::{RtpHeader, RtpTimestamp};

mod jitter;
mod shrinker;

/// The longest delay that can be asked for: what [`Jitter`] can tell apart.
pub const MOST_MS_MAX: u16 = 300;

const MS: i64 = SAMPLES_PER_MS.cast_signed() as i64;
/// The longest gap that is concealed as a loss; a longer one is a pause. The codecs have faded by then.
pub const FILL_SAMPLES_MAX: i64 = 120 * MS;
/// A jump of the sender's clock beyond this is not a pause but a new clock.
const CLOCK_JUMP_MAX: i64 = CLOCK_JUMP_SECONDS_MAX * 1_000 * MS;
/// Ticks that are late by more are left out, as after a pause of the process: nobody wants them all
/// at once.
const BEHIND_MAX: Duration = Duration::from_millis(60);
/// Room for so much more than the longest delay: what a stall of 160 ms piles up.
const STALL_MS: usize = 160;
/// Room for packets of 5 ms...
const PACKET_MS_MIN: usize = 5;
/// ...and for payloads of 384 kb/s; at the highest rate of Opus (510 kb/s) that is still more than the
/// longest delay and a tick.
const PAYLOAD_BYTES_PER_MS: usize = 48;

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
    sequence: Sequence,
    shelf: Shelf<Note>,
    /// Position after the newest audio that came.
    heard: i64,
    /// The index whose turn it is; `None` before the first packet was played.
    next: Option<i64>,
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

opaque!(PlayoutBuffer);

/// The sender's clock tied to our positions.
#[derive(Clone, Copy)]
struct Clock {
    hz: u32,
    timestamp: RtpTimestamp,
    position: i64,
}

/// What is known of a packet that waits.
#[derive(Clone, Copy)]
struct Note {
    arrival: i64,
    position: i64,
    content: Content,
}

#[derive(Clone, Copy)]
enum Content {
    /// So many samples.
    Audio(usize),
    /// A packet without audio of its own.
    Event,
    /// Nothing to play: the packet's number is not missing, that is all.
    Nothing,
}

impl Note {
    fn samples(&self) -> i64 {
        match self.content {
            Content::Audio(samples) => samples.narrow(),
            Content::Event | Content::Nothing => 0,
        }
    }

    fn end(&self) -> i64 {
        self.position + self.samples()
    }
}

/// What has its turn next.
#[derive(Clone, Copy)]
struct Head {
    held: Held<Note>,
    /// Packets before it that did not come.
    missing: i64,
}

impl PlayoutBuffer {
    /// An empty buffer whose ticks are `tick_samples` apart. It allocates once, here.
    pub fn new(range: DelayRange, tick_samples: usize) -> Self {
        let (least, most) = (i64::from(range.least_ms), i64::from(range.most_ms.min(MOST_MS_MAX)));
        let held_ms = Narrow::<usize>::narrow(most) + STALL_MS;
        Self {
            least: least.min(most) * MS,
            most: most * MS,
            tick: tick_samples.max(1),
            origin: None,
            due: None,
            time: 0,
            jitter: Jitter::new(most * MS),
            clock: None,
            sequence: Sequence::default(),
            shelf: Shelf::new(held_ms / PACKET_MS_MIN, held_ms * PAYLOAD_BYTES_PER_MS),
            next: None,
            heard: 0,
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
        self.jitter = Jitter::new(self.most);
        self.clock = None;
        self.sequence = Sequence::default();
        self.shelf.clear();
        self.next = None;
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
        if packet.payload.len() > self.shelf.payload_bytes_max() {
            return Err(Discard::TooLarge);
        }
        let arrival = self.since_origin(now);
        let place = self.sequence.place(&packet.header, audio.map(|(hz, _)| hz))?;
        let index = place.index;
        if place.continuity == Continuity::BeginsAnew {
            self.clock = None;
        }
        let is_newest = index == self.sequence.newest();
        let (position, content) = match audio {
            Some((hz, samples)) => {
                let position = self.position(packet.header.timestamp, hz, arrival, is_newest);
                self.heard = self.heard.max(position + Narrow::<i64>::narrow(samples));
                self.jitter.observe(arrival - position, arrival);
                (position, Content::Audio(samples))
            }
            None => (arrival - self.jitter.base(), Content::Event),
        };
        if self.next.is_some_and(|next| index < next) {
            self.late = true;
            return Err(Discard::Late);
        }
        self.reordered += u64::from(!is_newest);
        self.keep(index, packet, Note { arrival, position, content });
        if self.due.is_none() {
            self.due = Some(now + Duration::from_micros(Narrow::<u64>::narrow(self.least) * 125));
        }
        Ok(())
    }

    /// Takes a copy of a packet, brought along by a later one, if it is missed; says so.
    pub fn recover(&mut self, copy: Packet<'_>, audio: Option<(u32, usize)>, now: Instant) -> bool {
        let Some((hz, samples)) = audio else { return false };
        let Some(clock) = self.clock.filter(|clock| clock.hz == hz) else { return false };
        let first = self.shelf.first().map(|first| first.index);
        let (Some(from), true) = (self.next.or(first), self.shelf.has_room(copy.payload.len()))
        else {
            return false;
        };
        let Some(index) = self.sequence.recover(&copy.header, Some(hz), from) else { return false };
        let arrival = self.since_origin(now);
        // It says nothing of the network's speed.
        let position = clock.position_of(copy.header.timestamp, hz);
        self.keep(index, copy, Note { arrival, position, content: Content::Audio(samples) });
        true
    }

    /// A packet came that brings nothing to play, such as one whose payload type nobody negotiated: its
    /// number is not missing.
    pub fn pass_over(&mut self, header: &RtpHeader, now: Instant) {
        let Ok(place) = self.sequence.place(header, None) else { return };
        if self.next.is_some_and(|next| place.index < next) {
            return;
        }
        let arrival = self.since_origin(now);
        let position = arrival - self.jitter.base();
        let nothing = Packet { header: *header, payload: &[] };
        self.keep(place.index, nothing, Note { arrival, position, content: Content::Nothing });
        self.drop_passed_over();
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
            *stood += i64::from(skipped) * Narrow::<i64>::narrow(self.tick);
        }
        Some(skipped)
    }

    /// What comes next in the present tick, of which `needed` samples are still to be filled.
    pub fn pull(&mut self, needed: usize) -> Pull<'_> {
        while let Some(head) = self.head() {
            let Head { held: Held { note, .. }, missing } = head;
            if let Content::Event = note.content {
                if self.time - note.arrival < self.wanted() {
                    return self.nothing(needed);
                }
                return Pull::Event(self.take(&head));
            }
            if self.is_too_old(&note) {
                self.drop_first();
                continue;
            }
            let (gap, spare) = (note.position - self.end, self.spare(note.position));
            match self.stood {
                None if missing > 0 && (missing..=FILL_SAMPLES_MAX).contains(&gap) => {
                    return self.lost(&head, gap);
                }
                None if gap > 0 => self.stood = Some(0), // a pause
                None if spare < 0 && (self.quiet || self.late) => {
                    self.late = false;
                    self.quiet = false;
                    self.inserted += needed as u64;
                    return Pull::Nothing { samples: needed };
                }
                None => return self.play(&head),
                Some(stood) => {
                    let started = self.next.is_some();
                    // What follows directly was only late; what follows a loss that has been filled
                    // has its turn. After a pause the delay is chosen anew.
                    let at_once = started && (gap <= 0 || missing > 0 && gap <= stood);
                    if !at_once && spare < 0 {
                        return self.nothing(needed);
                    }
                    if started {
                        self.inserted += (stood - gap).max(0).cast_unsigned();
                        self.dropped += (gap - stood).max(0).cast_unsigned();
                    }
                    return self.play(&head);
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
            delay_ms: (self.delay.max(0) / MS).narrow(),
            target_ms: (self.wanted() / MS).narrow(),
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
        Narrow::<i64>::narrow(passed.as_micros()) * MS / 1_000
    }

    /// Where a packet belongs. A clock that steps back or jumps wildly goes on where it was.
    fn position(&mut self, timestamp: RtpTimestamp, hz: u32, arrival: i64, is_newest: bool) -> i64 {
        let position = match self.clock {
            Some(clock) if clock.hz == hz => {
                let position = clock.position_of(timestamp, hz);
                let passed = position - clock.position;
                match is_newest {
                    true if passed.abs() > CLOCK_JUMP_MAX => {
                        self.heard.max(arrival - self.jitter.base())
                    }
                    true => position.max(self.heard),
                    false => position,
                }
            }
            _ => self.heard.max(arrival - self.jitter.base()),
        };
        if is_newest {
            self.clock = Some(Clock { hz, timestamp, position });
        }
        position
    }

    /// The oldest make room.
    fn keep(&mut self, index: i64, packet: Packet<'_>, note: Note) {
        while !self.shelf.is_empty() && !self.shelf.has_room(packet.payload.len()) {
            self.drop_first();
        }
        self.shelf.put(index, packet, note);
    }

    /// What has its turn next, and how much is missing before it.
    fn head(&mut self) -> Option<Head> {
        self.drop_passed_over();
        let is_nothing = |held: &&Held<Note>| matches!(held.note.content, Content::Nothing);
        let passed_over = self.shelf.iter().take_while(is_nothing).count();
        let held = *self.shelf.iter().nth(passed_over)?;
        let missing =
            self.next.map_or(0, |next| held.index - next - Narrow::<i64>::narrow(passed_over));
        Some(Head { held, missing })
    }

    /// Moves on over what brings nothing to play, up to a packet that is missing or to be played.
    fn drop_passed_over(&mut self) {
        while let Some(first) = self.shelf.first()
            && matches!(first.note.content, Content::Nothing)
            && self.next.is_none_or(|next| first.index <= next)
        {
            self.next = self.next.map(|next| next.max(first.index + 1));
            self.shelf.take_first();
        }
    }

    /// Whether audio waited for longer than it may, and there is some that did not. Where all of it
    /// is late the path or the sender's clock has changed, and [`Jitter`] will follow.
    fn is_too_old(&self, note: &Note) -> bool {
        let oldest = self.time - self.jitter.base() - self.most - Narrow::<i64>::narrow(self.tick);
        let is_younger = |held: &Held<Note>| {
            matches!(held.note.content, Content::Audio(_)) && held.note.position >= oldest
        };
        note.position < oldest && self.shelf.iter().any(is_younger)
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.shelf.take_first() {
            self.dropped += first.note.samples().cast_unsigned();
            self.end = first.note.end();
            self.next = Some(first.index + 1);
        }
    }

    /// Takes the head off; those before it that did not come are lost.
    fn take(&mut self, head: &Head) -> Packet<'_> {
        while self.shelf.first().is_some_and(|first| first.index <= head.held.index) {
            self.shelf.take_first();
        }
        self.next = Some(head.held.index + 1);
        self.shelf.packet(&head.held)
    }

    fn play(&mut self, head: &Head) -> Pull<'_> {
        let note = head.held.note;
        let spare = self.spare(note.position);
        self.delay = self.time - note.position - self.jitter.base();
        self.end = note.end();
        self.stood = None;
        let shorten = self.shrinker.allows(self.time, spare, note.samples());
        let missing_packets = u16::try_from(head.missing).unwrap_or(0);
        Pull::Play { packet: self.take(head), shorten, missing_packets }
    }

    /// The next packet is missing, and others before the head; together they last `gap` samples. They
    /// are given up one by one, for those after it may still come.
    fn lost(&mut self, head: &Head, gap: i64) -> Pull<'_> {
        let samples = gap / head.missing;
        self.next = self.next.map(|next| next + 1);
        self.end += samples;
        let next = (head.missing == 1).then(|| self.shelf.packet(&head.held).payload);
        Pull::Lost { samples: samples.narrow(), next }
    }

    fn nothing(&mut self, needed: usize) -> Pull<'_> {
        self.stood = Some(self.stood.unwrap_or(0) + Narrow::<i64>::narrow(needed));
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
