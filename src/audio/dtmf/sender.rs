//! Sends digits as telephone events (RFC 4733 §2.5.1): a packet every packet time while the digit
//! lasts, three that end it, and a pause before the next.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::{END_PACKETS, EventPacket, OutgoingEvent, PAUSE, Phase};
use crate::wire::telephone_event::{Digit, DigitTime, VOLUME_DEFAULT};

/// Digits that can wait: the longest telephone number with pauses for thought (E.164: 15 digits).
pub const DIGITS_QUEUED_MAX: usize = 32;

/// A digit is not sent: [`DIGITS_QUEUED_MAX`] are waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigitQueueFull;

impl fmt::Display for DigitQueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DIGITS_QUEUED_MAX} digits are waiting already")
    }
}

impl std::error::Error for DigitQueueFull {}

/// Sends the digits of one leg, one after the other.
#[derive(Debug)]
pub struct DigitSender {
    clock_hz: u32,
    packet_interval: Duration,
    queue: VecDeque<Queued>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
struct Queued {
    event: u8,
    duration: Duration,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next digit may begin at the time.
    Idle { from: Option<Instant> },
    /// A digit lasts.
    Lasting { digit: Queued, out: OutgoingEvent, onset: Instant, next: Instant },
    /// A digit ended, with packets still to be repeated.
    Ending { digit: Queued, out: OutgoingEvent, onset: Instant, repeats: u8, next: Instant },
}

impl DigitSender {
    /// Nothing to send yet; `clock_hz` is that of the event format.
    pub fn new(clock_hz: u32, packet_ms: u8) -> Self {
        Self {
            clock_hz,
            packet_interval: Duration::from_millis(u64::from(packet_ms.max(1))),
            queue: VecDeque::with_capacity(DIGITS_QUEUED_MAX),
            state: State::Idle { from: None },
        }
    }

    /// Queues a digit.
    pub fn push(
        &mut self,
        digit: Digit,
        time: DigitTime,
        now: Instant,
    ) -> Result<(), DigitQueueFull> {
        self.push_event(digit.event(), time, now)
    }

    /// Queues any event, as [`super::RelayOutput::Owed`] gives them.
    pub fn push_event(
        &mut self,
        event: u8,
        time: DigitTime,
        now: Instant,
    ) -> Result<(), DigitQueueFull> {
        if self.queue.len() == DIGITS_QUEUED_MAX {
            return Err(DigitQueueFull);
        }
        debug_assert!(self.queue.len() < DIGITS_QUEUED_MAX, "digits that wait are bounded");
        let duration = Duration::from_millis(time.ms().into());
        self.queue.push_back(Queued { event, duration });
        if let State::Idle { from } = &mut self.state {
            from.get_or_insert(now);
        }
        Ok(())
    }

    /// The next digit does not begin before `time`: something else leaves by the leg.
    pub fn wait_until(&mut self, time: Instant) {
        if let State::Idle { from } = &mut self.state {
            *from = Some(from.map_or(time, |from| from.max(time)));
        }
    }

    /// Whether a digit is being sent, its repeated ends included, or waits for its turn.
    pub fn is_busy(&self) -> bool {
        !self.queue.is_empty() || !matches!(self.state, State::Idle { .. })
    }

    /// Whether a digit lasts: audio waits. Once it ended, its repeated ends go out beside the audio.
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Lasting { .. })
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Idle { from } => from.filter(|_| !self.queue.is_empty()),
            State::Lasting { next, .. } | State::Ending { next, .. } => Some(next),
        }
    }

    /// Sends what is due: at most one packet, and one a segment of a long digit. Being called late
    /// makes a digit's packets fewer, never a burst.
    pub fn handle_timeout(&mut self, now: Instant, mut send: impl FnMut(EventPacket)) {
        if self.next_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.state = match self.state {
            State::Idle { .. } => match self.queue.pop_front() {
                Some(digit) => {
                    let out = OutgoingEvent::new(digit.event, VOLUME_DEFAULT);
                    self.lasting(digit, out, now, now, &mut send)
                }
                None => State::Idle { from: None },
            },
            State::Lasting { digit, out, onset, .. } => {
                self.lasting(digit, out, onset, now, &mut send)
            }
            State::Ending { digit, out, onset, repeats, .. } => {
                self.ending(digit, out, onset, repeats, now, &mut send)
            }
        };
    }

    fn lasting(
        &self,
        digit: Queued,
        mut out: OutgoingEvent,
        onset: Instant,
        now: Instant,
        send: &mut impl FnMut(EventPacket),
    ) -> State {
        // A packet covers the packet time that begins with it. The first one never ends the digit:
        // some receivers take no notice of an event that they did not see begin.
        let packets = now.duration_since(onset).as_millis() / self.packet_interval.as_millis() + 1;
        let covered = self.packet_interval * u32::try_from(packets).unwrap_or(u32::MAX);
        if covered >= digit.duration && out.started {
            return self.ending(digit, out, onset, END_PACKETS, now, send);
        }
        let covered = covered.min(digit.duration);
        out.update(self.in_clock(covered), Phase::Lasting, send);
        State::Lasting { digit, out, onset, next: onset + covered }
    }

    fn ending(
        &self,
        digit: Queued,
        mut out: OutgoingEvent,
        onset: Instant,
        repeats: u8,
        now: Instant,
        send: &mut impl FnMut(EventPacket),
    ) -> State {
        out.update(self.in_clock(digit.duration), Phase::Ended, send);
        let next = now + self.packet_interval;
        match repeats - 1 {
            0 => State::Idle { from: Some(next.max(onset + digit.duration + PAUSE)) },
            repeats => State::Ending { digit, out, onset, repeats, next },
        }
    }

    fn in_clock(&self, time: Duration) -> u32 {
        let units = time.as_millis() * u128::from(self.clock_hz) / 1_000;
        u32::try_from(units).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (ms, marker, event, offset, duration, end)
    type Sent = (u64, bool, u8, u32, u16, bool);

    fn digit(character: char) -> Digit {
        Digit::from_char(character).unwrap()
    }

    fn time(ms: u32) -> DigitTime {
        DigitTime::from_ms(ms).unwrap()
    }

    /// Handles every timeout when it is due.
    fn run(sender: &mut DigitSender, start: Instant, until_ms: u64) -> Vec<Sent> {
        let until = start + Duration::from_millis(until_ms);
        let mut sent = Vec::new();
        while let Some(due) = sender.next_timeout().filter(|due| *due <= until) {
            let ms = (due - start).as_millis() as u64;
            sender.handle_timeout(due, |packet| sent.push(flat(ms, packet)));
        }
        sent
    }

    fn flat(ms: u64, packet: EventPacket) -> Sent {
        let event = packet.event;
        let (offset, duration) = (packet.timestamp_offset, event.duration);
        (ms, packet.marker, event.event, offset, duration, event.end)
    }

    #[test]
    fn a_digit_is_a_packet_every_packet_time_and_three_that_end_it() {
        let start = Instant::now();
        let mut sender = DigitSender::new(8_000, 20);
        assert_eq!(sender.next_timeout(), None);
        sender.push(digit('#'), time(100), start).unwrap();
        assert!(!sender.is_active());
        let expected = [
            (0, true, 11, 0, 160, false),
            (20, false, 11, 0, 320, false),
            (40, false, 11, 0, 480, false),
            (60, false, 11, 0, 640, false),
            (80, false, 11, 0, 800, true),
            (100, false, 11, 0, 800, true),
            (120, false, 11, 0, 800, true),
        ];
        assert_eq!(run(&mut sender, start, 70), expected[..4]);
        assert!(sender.is_active());
        assert_eq!(run(&mut sender, start, 1_000), expected[4..]);
        assert!(!sender.is_active());
        assert_eq!(sender.next_timeout(), None);
    }

    #[test]
    fn a_digit_is_sent_in_the_clock_of_its_format() {
        let start = Instant::now();
        let mut sender = DigitSender::new(48_000, 20);
        sender.push(digit('1'), time(100), start).unwrap();
        let sent = run(&mut sender, start, 1_000);
        assert_eq!(sent[0], (0, true, 1, 0, 960, false));
        assert_eq!(sent[4], (80, false, 1, 0, 4_800, true));
    }

    #[test]
    fn digits_are_50_ms_apart() {
        let start = Instant::now();
        let mut sender = DigitSender::new(8_000, 20);
        for character in ['1', '1', '2'] {
            sender.push(digit(character), time(100), start).unwrap();
        }
        let onsets: Vec<(u64, u8)> = run(&mut sender, start, 1_000)
            .into_iter()
            .filter(|sent| sent.1)
            .map(|sent| (sent.0, sent.2))
            .collect();
        assert_eq!(onsets, [(0, 1), (150, 1), (300, 2)]);
    }

    #[test]
    fn a_digit_pushed_just_after_another_still_waits_for_the_pause() {
        let start = Instant::now();
        let mut sender = DigitSender::new(8_000, 20);
        sender.push(digit('1'), time(100), start).unwrap();
        run(&mut sender, start, 125);
        sender.push(digit('2'), time(100), start + Duration::from_millis(125)).unwrap();
        assert_eq!(run(&mut sender, start, 1_000)[0], (150, true, 2, 0, 160, false));
    }

    #[test]
    fn a_digit_long_after_another_begins_at_once() {
        let start = Instant::now();
        let mut sender = DigitSender::new(8_000, 20);
        sender.push(digit('1'), time(100), start).unwrap();
        run(&mut sender, start, 1_000);
        let now = start + Duration::from_secs(2);
        sender.push(digit('2'), time(100), now).unwrap();
        let mut sent = Vec::new();
        sender.handle_timeout(now, |packet| sent.push(flat(2_000, packet)));
        assert_eq!(sent, [(2_000, true, 2, 0, 160, false)]);
    }

    #[test]
    fn a_digit_shorter_than_a_packet_still_begins_and_ends() {
        let start = Instant::now();
        let mut sender = DigitSender::new(8_000, 60);
        sender.push(digit('1'), DigitTime::SHORTEST, start).unwrap();
        let sent = run(&mut sender, start, 1_000);
        assert_eq!(sent[..2], [(0, true, 1, 0, 320, false), (40, false, 1, 0, 320, true)]);
        assert_eq!(sent.len(), 4);
    }

    #[test]
    fn a_long_digit_is_cut_into_segments() {
        let start = Instant::now();
        let mut sender = DigitSender::new(48_000, 20);
        sender.push(digit('9'), DigitTime::LONGEST, start).unwrap();
        let sent = run(&mut sender, start, 10_000);
        assert_eq!(sent.iter().filter(|sent| sent.4 == u16::MAX).count(), 3);
        assert_eq!(sent.last(), Some(&(5_020, false, 9, 196_605, 43_395, true)));
    }

    #[test]
    fn a_thread_that_was_away_sends_no_burst() {
        let start = Instant::now();
        let mut sender = DigitSender::new(8_000, 20);
        sender.push(digit('1'), time(200), start).unwrap();
        let mut sent = Vec::new();
        for ms in [0, 90, 5_000, 5_020, 5_040] {
            let now = start + Duration::from_millis(ms);
            sender.handle_timeout(now, |packet| sent.push(flat(ms, packet)));
            sender.handle_timeout(now, |packet| sent.push(flat(ms, packet)));
        }
        let expected = [
            (0, true, 1, 0, 160, false),
            (90, false, 1, 0, 800, false),
            (5_000, false, 1, 0, 1_600, true),
            (5_020, false, 1, 0, 1_600, true),
            (5_040, false, 1, 0, 1_600, true),
        ];
        assert_eq!(sent, expected);
    }

    #[test]
    fn the_queue_is_bounded() {
        let start = Instant::now();
        let mut sender = DigitSender::new(8_000, 20);
        for _ in 0..DIGITS_QUEUED_MAX {
            sender.push(digit('1'), time(100), start).unwrap();
        }
        assert_eq!(sender.push(digit('1'), time(100), start), Err(DigitQueueFull));
        let sent = run(&mut sender, start, 60_000);
        assert_eq!(sent.iter().filter(|sent| sent.1).count(), DIGITS_QUEUED_MAX);
    }

    #[test]
    fn a_digit_waits_while_something_else_leaves_by_the_leg() {
        let start = Instant::now();
        let mut sender = DigitSender::new(8_000, 20);
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!sender.is_busy());
        sender.push(digit('1'), time(100), start).unwrap();
        assert!(sender.is_busy(), "it waits for its turn");
        sender.wait_until(at(300));
        sender.wait_until(at(200));
        assert_eq!(run(&mut sender, start, 1_000)[0], (300, true, 1, 0, 160, false));
        assert!(!sender.is_busy());

        // A digit that has begun goes on; the one after it waits.
        sender.push(digit('2'), time(100), at(1_000)).unwrap();
        sender.handle_timeout(at(1_000), |_| ());
        sender.wait_until(at(5_000));
        assert_eq!(sender.next_timeout(), Some(at(1_020)));
    }

    #[test]
    fn an_event_that_is_no_digit_is_sent_as_well() {
        let start = Instant::now();
        let mut sender = DigitSender::new(8_000, 20);
        sender.push_event(16, time(100), start).unwrap(); // hook flash
        let sent = run(&mut sender, start, 1_000);
        assert!(sent.len() == 7 && sent.iter().all(|sent| sent.2 == 16), "{sent:?}");
    }
}
