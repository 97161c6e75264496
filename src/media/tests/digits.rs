//! Digits of senders that treat sources, timestamps and numbers in ways of their own: each press is one
//! digit, told once and sent once.

use super::*;
use crate::base::random;
use rand::RngExt;

/// A trunk that dials beside its audio.
struct Dialler {
    line: Line,
    from: Side,
    speaker: Speaker,
    sent: Vec<Sent>,
}

impl Dialler {
    fn new(from: Side) -> Self {
        let line = Line::new(OPUS, PCMU);
        let speaker = Speaker::new(&line.arena, if from == Side::A { 111 } else { 0 });
        Self { line, from, speaker, sent: Vec::new() }
    }

    fn speak(&mut self, packets: usize) {
        self.speak_through(packets, || false);
    }

    fn speak_through(&mut self, packets: usize, mut is_lost: impl FnMut() -> bool) {
        for _ in 0..packets {
            let packet = self.speaker.packet(160);
            if !is_lost() {
                // Audio beside an event that lasts because its end was lost is discarded.
                self.sent.extend(self.line.hear(self.from, &packet).unwrap_or_default());
            }
            self.sent.extend(self.line.pass(MS_20));
        }
    }

    /// A press of 120 ms in six packets of 20 ms, then two ends more; `timestamp` is that of the nth.
    fn press(&mut self, digit: char, timestamp: impl Fn(u32) -> u32) {
        self.press_through(digit, timestamp, || false);
    }

    /// The same through a network that loses packets.
    fn press_through(
        &mut self,
        digit: char,
        timestamp: impl Fn(u32) -> u32,
        mut is_lost: impl FnMut() -> bool,
    ) {
        let audio = self.speaker.header;
        let events = if self.from == Side::A { 110 } else { 101 };
        self.speaker.header.payload_type = PayloadType::new(events).unwrap();
        for n in 0..8_u32 {
            let duration = ((n + 1).min(6) * self.speaker.clock_hz / 50) as u16;
            self.speaker.header.timestamp = RtpTimestamp(timestamp(n));
            self.speaker.header.marker = n == 0;
            let packet = self.speaker.raw(&event(digit, n >= 5, duration));
            if !is_lost() {
                self.sent.extend(self.line.hear(self.from, &packet).unwrap());
            }
            self.speaker.pass(0);
            if n < 6 {
                self.sent.extend(self.line.pass(MS_20));
            }
        }
        let sequence_number = self.speaker.header.sequence_number;
        self.speaker.header = RtpHeader { sequence_number, ..audio };
        self.speaker.silence(6 * 160);
    }

    /// What was told, and what left: a digit for each event, by its timestamp.
    fn dialled(mut self) -> (String, String) {
        self.speak(20);
        let to = if self.from == Side::A { 101 } else { 110 };
        let mut sent = String::new();
        let mut last = None;
        for (digit, _, _, _, timestamp) in events(&self.sent, to) {
            if last.replace(timestamp) != Some(timestamp) {
                sent.push(digit);
            }
        }
        let told = self.line.events.iter().filter_map(|told| match told {
            Event::TelephoneEvent { digit, .. } => Some(*digit),
            _ => None,
        });
        (told.collect(), sent)
    }
}

fn both(digits: &str) -> (String, String) {
    (digits.to_owned(), digits.to_owned())
}

#[test]
fn a_digit_of_a_new_source_whose_clock_is_earlier_is_another_digit() {
    for from in Side::BOTH {
        for digits in ["12", "11"] {
            for back in [1_000_u32, 100_000, 2_000_000_000] {
                let mut dialler = Dialler::new(from);
                for (n, digit) in digits.chars().enumerate() {
                    let ssrc = Ssrc(0xC000 + n as u32);
                    let header = &mut dialler.speaker.header;
                    header.ssrc = ssrc;
                    header.timestamp = RtpTimestamp(3_000_000_000 - back * n as u32);
                    header.sequence_number = SequenceNumber(40_000 - 9_000 * n as u16);
                    dialler.speak(20);
                    let onset = dialler.speaker.header.timestamp.0;
                    dialler.press(digit, |_| onset);
                }
                assert_eq!(dialler.dialled(), both(digits));
            }
        }
    }
}

#[test]
fn a_digit_that_a_new_source_begins_while_another_lasts_is_another_digit() {
    let mut dialler = Dialler::new(Side::B);
    dialler.speak(10);
    // Its end is never said.
    let held = event('1', false, 480);
    dialler.speaker.header.payload_type = PayloadType::new(101).unwrap();
    dialler.sent.extend(dialler.line.hear(Side::B, &dialler.speaker.raw(&held)).unwrap());
    dialler.speaker.header.payload_type = PayloadType::PCMU;
    dialler.speaker.header.ssrc = Ssrc(0xC001);
    dialler.speaker.header.timestamp = RtpTimestamp(5);
    dialler.press('2', |_| 5);
    assert_eq!(dialler.dialled(), both("12"));
}

#[test]
fn digits_of_one_timestamp_with_audio_between_them_are_as_many_as_were_pressed() {
    for from in Side::BOTH {
        for digits in ["123", "1123", "111"] {
            for between in [3, 10, 50] {
                let mut dialler = Dialler::new(from);
                dialler.speak(10);
                for digit in digits.chars() {
                    dialler.press(digit, |_| 77);
                    dialler.speak(between);
                }
                assert_eq!(dialler.dialled(), both(digits), "{between}");
            }
        }
    }
}

#[test]
fn a_press_whose_packets_each_have_a_timestamp_of_their_own_is_one_digit() {
    for from in Side::BOTH {
        for digits in ["5", "55", "5675"] {
            let mut dialler = Dialler::new(from);
            dialler.speak(10);
            for digit in digits.chars() {
                let begins = dialler.speaker.header.timestamp.0;
                let step = dialler.speaker.clock_hz / 50;
                dialler.press(digit, |n| begins.wrapping_add(n.min(5) * step));
                dialler.speak(10);
            }
            assert_eq!(dialler.dialled(), both(digits));
        }
    }
}

#[test]
fn an_event_that_cannot_be_read_is_counted_and_no_digit() {
    let mut dialler = Dialler::new(Side::B);
    dialler.speak(5);
    dialler.speaker.header.payload_type = PayloadType::new(101).unwrap();
    let short = dialler.speaker.raw(&[1, 2]);
    dialler.line.hear(Side::B, &short).unwrap();
    dialler.speaker.header.payload_type = PayloadType::PCMU;
    dialler.speaker.pass(0);
    dialler.speak(5);
    let discards = dialler.line.statistics(Side::B).discards;
    assert_eq!(discards.of(Discard::BadTelephoneEvent), 1);
    assert_eq!(dialler.dialled(), both(""));
}

#[test]
fn one_packet_lost_of_five_loses_doubles_and_stretches_no_digit() {
    let mut random = random::from_seed(20);
    for from in Side::BOTH {
        for _ in 0..40 {
            let mut is_lost = || random.random_range(0..5) == 0;
            let mut dialler = Dialler::new(from);
            let digits = "1123A456B789C*0#D0055";
            dialler.speak(10);
            for digit in digits.chars() {
                let onset = dialler.speaker.header.timestamp.0;
                dialler.press_through(digit, |_| onset, &mut is_lost);
                dialler.speak_through(8, &mut is_lost);
            }
            let told: Vec<u32> = dialler
                .line
                .events
                .iter()
                .filter_map(|told| match told {
                    Event::TelephoneEvent { duration_ms, .. } => Some(*duration_ms),
                    _ => None,
                })
                .collect();
            assert!(told.iter().all(|ms| (40..=120).contains(ms)), "{told:?}");
            let out_hz = if from == Side::A { 8_000 } else { 48_000 };
            let to = if from == Side::A { 101 } else { 110 };
            let sent = events(&dialler.sent, to);
            let longest = sent.iter().map(|(_, _, duration, ..)| *duration).max().unwrap();
            assert!(u32::from(longest) * 1_000 / out_hz <= 120, "{longest} of {out_hz} Hz");
            assert_eq!(dialler.dialled(), both(digits));
        }
    }
}

#[test]
fn whichever_packets_of_a_press_are_lost_it_is_one_digit() {
    for from in Side::BOTH {
        for lost in 0..255_u32 {
            let mut dialler = Dialler::new(from);
            dialler.speak(10);
            for digit in ['5', '5', '6'] {
                let onset = dialler.speaker.header.timestamp.0;
                let mut packets = (0..).map(|n| lost & 1 << n != 0);
                dialler.press_through(digit, |_| onset, || packets.next().unwrap());
                dialler.speak(4);
            }
            assert_eq!(dialler.dialled(), both("556"), "{from} {lost:08b}");
        }
    }
}
