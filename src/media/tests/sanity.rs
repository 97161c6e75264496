//! Whatever came before: when the input becomes sane, audio is heard again soon, and what leaves is one
//! stream.

use proptest::prelude::*;

use super::sources::lines;
use super::*;
use crate::base::random::Random;
use rand::RngExt;

/// A sane sender is heard after so long: five packets of proof would be 100 ms, ten doubted ones 200.
const HEARD_AFTER: Duration = Duration::from_millis(400);

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Packets of 20 ms with nothing wrong: so many.
    Sane(u8),
    /// Packets that are lost.
    Lost(u16),
    /// Nothing is sent, and the clock goes on, or stands still.
    Pause {
        ms: u16,
        clock_goes_on: bool,
    },
    /// Everything is late by so much, then comes at once.
    Stall(u8),
    /// The numbers, the clock, or both are others from here on.
    Numbers(u16),
    Clock(u32),
    /// Another source, with numbers and a clock of its own; it may be one that was there before.
    Source(u8),
    /// A stray packet of another source.
    Stray(u8),
    /// The last packets again.
    Repeated(u8),
    /// A packet with these numbers, whatever they are.
    Forged {
        number: u16,
        timestamp: u32,
    },
    /// Payload types that nobody negotiated, empty packets, and garbage.
    Unknown(u8),
    Empty(u8),
    Garbage(u8),
    /// A key that is pressed; its end may not come.
    Digit {
        ends: bool,
    },
    /// On hold for so many packets.
    Held(u8),
    /// The process did not run.
    Stopped(u8),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        any::<u8>().prop_map(Trouble::Sane),
        prop_oneof![0..30_u16, any::<u16>()].prop_map(Trouble::Lost),
        (any::<u16>(), any::<bool>())
            .prop_map(|(ms, clock_goes_on)| Trouble::Pause { ms, clock_goes_on }),
        (0..60_u8).prop_map(Trouble::Stall),
        any::<u16>().prop_map(Trouble::Numbers),
        any::<u32>().prop_map(Trouble::Clock),
        (0..6_u8).prop_map(Trouble::Source),
        (0..6_u8).prop_map(Trouble::Stray),
        (0..20_u8).prop_map(Trouble::Repeated),
        (any::<u16>(), any::<u32>())
            .prop_map(|(number, timestamp)| Trouble::Forged { number, timestamp }),
        (0..20_u8).prop_map(Trouble::Unknown),
        (0..20_u8).prop_map(Trouble::Empty),
        (0..20_u8).prop_map(Trouble::Garbage),
        any::<bool>().prop_map(|ends| Trouble::Digit { ends }),
        (0..100_u8).prop_map(Trouble::Held),
        (0..50_u8).prop_map(Trouble::Stopped),
    ]
}

/// A call that troubles befall.
struct Victim {
    line: Line,
    from: Side,
    speaker: Speaker,
    random: Random,
    last: Vec<Vec<u8>>,
    sent: Vec<Sent>,
}

impl Victim {
    fn hear(&mut self, packet: &[u8]) {
        let socket = 2 * self.from.index();
        let datagram = Flying { from: theirs(socket), to: ours(socket), bytes: packet.to_vec() };
        self.line.rig.borrow_mut().receive(datagram);
        self.sent.extend(self.line.sent());
    }

    fn pass(&mut self, time: Duration) {
        self.sent.extend(self.line.pass(time));
    }

    fn speak(&mut self, packets: usize) {
        for _ in 0..packets {
            let packet = self.speaker.packet(160);
            self.hear(&packet);
            self.last.push(packet);
            self.pass(MS_20);
        }
    }

    fn suffer(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Sane(packets) => self.speak(packets.into()),
            Trouble::Lost(packets) => {
                let number = &mut self.speaker.header.sequence_number;
                *number = SequenceNumber(number.0.wrapping_add(packets));
                self.speaker.silence(160 * usize::from(packets));
                self.pass(MS_20 * u32::from(packets.min(3_000)));
            }
            Trouble::Pause { ms, clock_goes_on } => {
                if clock_goes_on {
                    self.speaker.silence(8 * usize::from(ms));
                }
                self.pass(Duration::from_millis(ms.into()));
            }
            Trouble::Stall(packets) => {
                self.pass(MS_20 * packets.into());
                for _ in 0..packets {
                    let packet = self.speaker.packet(160);
                    self.hear(&packet);
                }
            }
            Trouble::Numbers(number) => {
                self.speaker.header.sequence_number = SequenceNumber(number);
            }
            Trouble::Clock(timestamp) => self.speaker.header.timestamp = RtpTimestamp(timestamp),
            Trouble::Source(source) => {
                self.speaker.header.ssrc = Ssrc(source.into());
                self.speaker.header.sequence_number = SequenceNumber(self.random.random());
                self.speaker.header.timestamp = RtpTimestamp(self.random.random());
            }
            Trouble::Stray(source) => {
                let ours = std::mem::replace(&mut self.speaker.header.ssrc, Ssrc(source.into()));
                let packet = self.speaker.packet(160);
                self.speaker.header.ssrc = ours;
                self.hear(&packet);
            }
            Trouble::Repeated(packets) => {
                let from = self.last.len().saturating_sub(packets.into());
                for packet in self.last.split_off(from) {
                    self.hear(&packet);
                }
            }
            Trouble::Forged { number, timestamp } => {
                let ours = self.speaker.header;
                let header = &mut self.speaker.header;
                header.sequence_number = SequenceNumber(number);
                header.timestamp = RtpTimestamp(timestamp);
                let packet = self.speaker.packet(160);
                self.speaker.header = ours;
                self.hear(&packet);
            }
            Trouble::Unknown(packets) => self.others(packets, 96, &[1, 2, 3]),
            Trouble::Empty(packets) => {
                let audio = self.speaker.header.payload_type.value();
                self.others(packets, audio, &[]);
            }
            Trouble::Garbage(packets) => {
                for _ in 0..packets {
                    let mut bytes = vec![0; self.random.random_range(0..200)];
                    bytes.iter_mut().for_each(|byte| *byte = self.random.random());
                    self.hear(&bytes);
                }
            }
            Trouble::Digit { ends } => self.press(ends),
            Trouble::Held(packets) => {
                self.line.set_direction(self.from, Direction::SendOnly);
                self.speak(packets.into());
                self.line.set_direction(self.from, Direction::SendRecv);
            }
            Trouble::Stopped(ms_20) => {
                self.line.rig.borrow_mut().pause(MS_20 * ms_20.into());
                self.line.now = self.line.rig.borrow().now;
            }
        }
    }

    fn others(&mut self, packets: u8, payload_type: u8, payload: &[u8]) {
        let audio = self.speaker.header.payload_type;
        for _ in 0..packets {
            self.speaker.header.payload_type = PayloadType::new(payload_type).unwrap();
            let packet = self.speaker.raw(payload);
            self.hear(&packet);
            self.speaker.header.payload_type = audio;
            self.speaker.pass(0);
            self.speak(1);
        }
    }

    fn press(&mut self, ends: bool) {
        let audio = self.speaker.header;
        let number = if self.from == Side::A { 110 } else { 101 };
        self.speaker.header.payload_type = PayloadType::new(number).unwrap();
        for n in 1..=8_u32 {
            if n >= 6 && !ends {
                break;
            }
            let duration = (n.min(6) * self.speaker.clock_hz / 50) as u16;
            let packet = self.speaker.raw(&event('3', n >= 6, duration));
            self.hear(&packet);
            self.speaker.pass(0);
            self.pass(if n < 6 { MS_20 } else { Duration::ZERO });
        }
        let sequence_number = self.speaker.header.sequence_number;
        self.speaker.header = RtpHeader { sequence_number, ..audio };
        self.speaker.silence(6 * 160);
    }

    /// From here on nothing goes wrong: a second of it.
    fn assert_heard(&mut self) {
        self.speak(HEARD_AFTER.as_millis() as usize / 20);
        let begins = self.sent.len();
        let received = self.line.statistics(self.from).packets_received;
        self.speak(50);
        let sent = &self.sent[begins..];
        let audio = sent.iter().filter(|it| it.payload.len() > 4).count();
        prop_assert_now(audio >= 48, &format!("{audio} of 50 packets left"));
        let heard = self.line.statistics(self.from).packets_received - received;
        prop_assert_now(heard == 50, &format!("{heard} of 50 packets were accepted"));
        // It is the tone that is heard, not the silence of a stream that stands.
        let mut listener = Listener::new(&self.line.arena);
        for packet in sent.iter().filter(|it| it.payload.len() > 4).skip(10) {
            listener.last = None;
            listener.listen(std::slice::from_ref(packet));
        }
        let quiet = |part: &&[i16]| part.iter().all(|sample| sample.unsigned_abs() < 600);
        let quiet = listener.pcm[800..].chunks(160).filter(quiet).count();
        prop_assert_now(quiet <= 1, &format!("{quiet} of 35 packets are silent"));
    }
}

fn prop_assert_now(holds: bool, what: &str) {
    assert!(holds, "{what}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_came_before_a_sane_stream_is_heard_within_400_ms(
        troubles in prop::collection::vec(trouble(), 1..24), seed in any::<u64>(),
    ) {
        for (line, from, payload_type) in lines() {
            let speaker = Speaker::new(&line.arena, payload_type);
            let random = random::from_seed(seed);
            let (last, sent) = (Vec::new(), Vec::new());
            let mut victim = Victim { line, from, speaker, random, last, sent };
            victim.speak(10);
            for trouble in &troubles {
                victim.suffer(*trouble);
            }
            victim.assert_heard();
            let numbers: Vec<_> = victim.sent.iter().map(|it| it.header.sequence_number).collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].next()));
        }
    }
}
