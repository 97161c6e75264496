//! A script: what happens to a media process, step by step. Any bytes are one, so that a fuzzer, or
//! proptest, can make them up; [`super::world`] carries them out.

use std::net::SocketAddr;

use crate::audio::opus::{EncoderMode, EncoderSettings};
use crate::control::message::{
    Codec, Coding, Direction, Dscp, EventFormat, Format, IceCredentials, LegChange, LegParameters,
    MediaTimeout, OrphanTime, PacedDelay, PlainTransport, Security, SendFormat, SendRedundancy,
    Side, Source, SourcePrefixes, Spacing, SrtpKeys, Transport,
};
use crate::srtp::keys::Profile;
use crate::wire::rtp::PayloadType;
use crate::wire::telephone_event::{Digit, DigitTime};

/// Steps of a script; what comes after them is not read. An input of the fuzzer ends long before.
pub const STEPS_MAX: usize = 600;
/// Names that calls may have: one more than the core of the world has room for.
pub const CALLS: u8 = 4;
/// Control connections at once.
pub const CLIENTS: u8 = 3;
/// Addresses that far ends and strangers send from.
const PEERS: u8 = 8;
/// How long time may pass at once, in milliseconds; the last ones outlast consent and orphans.
const PASS_MS: [u16; 16] =
    [1, 5, 10, 19, 20, 21, 40, 60, 61, 100, 250, 500, 1_000, 2_500, 11_000, 31_000];

/// One of the legs that a script speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegName {
    /// The call, less than [`CALLS`].
    pub call: u8,
    /// The side.
    pub side: Side,
}

/// One of the control connections, less than [`CLIENTS`].
pub type ClientName = u8;

/// What happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// A far end sends RTP.
    Rtp(LegName, Packet),
    /// A far end speaks for so many packets of 20 ms.
    Speech(LegName, u8),
    /// A far end, or somebody else, sends RTCP.
    Rtcp(LegName, Report),
    /// A STUN check.
    Stun(LegName, Check),
    /// These bytes from somebody to one of the leg's sockets.
    Raw(LegName, From, Port, Vec<u8>),
    /// Time passes.
    Pass(u16),
    /// The media thread does not run for so long.
    Pause(u16),
    /// The core does not take commands, or takes them again.
    Stall(bool),
    /// The core says that it is so busy, in percent.
    Load(u8),
    /// A control connection comes.
    Connect(ClientName),
    /// One goes.
    Leave(ClientName),
    /// A control connection says something that no command is.
    Garbage(ClientName, Vec<u8>),
    /// A control connection gives a command.
    Command(ClientName, Command),
}

/// A command of the control protocol.
#[derive(Clone, Debug)]
pub enum Command {
    /// `take_control`, by force or not.
    TakeControl(bool),
    /// `create_call`.
    Create(u8, Box<[LegParameters; 2]>, Option<OrphanTime>),
    /// `update_leg`.
    Update(LegName, Box<LegChange>),
    /// `replace_leg`.
    Replace(LegName, Box<LegParameters>),
    /// `exchange_legs`.
    Exchange(LegName, LegName),
    /// `delete_call`.
    Delete(u8),
    /// `send_digit`.
    Digit(LegName, Digit, DigitTime),
    /// `send_datagram`.
    Datagram(SocketAddr, Vec<u8>),
    /// `park`.
    Park(u8),
    /// `query_call`.
    QueryCall(u8),
    /// `query_process`.
    QueryProcess,
    /// `list_calls`.
    List,
    /// `subscribe`.
    Subscribe(Option<u8>, u32),
}

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub enum From {
    /// The far end, from where the leg was told that it is.
    FarEnd,
    /// Somebody.
    Peer(SocketAddr),
}

/// Which of a leg's two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// RTP's, or the browsers'.
    Rtp,
    /// RTCP's, or the browsers'.
    Rtcp,
}

/// An RTP packet of a far end.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Who sends it.
    pub from: From,
    /// Which of the far end's sources it is of.
    pub source: u8,
    /// How far its number is after the one before.
    pub step: i16,
    /// How far its clock has gone on, beside a packet's 20 ms, in milliseconds.
    pub clock_ms: i32,
    /// What it carries.
    pub content: Content,
    /// Which of the payload types that stand for such a content.
    pub choice: u8,
    /// Its marker.
    pub marker: bool,
    /// How it is protected.
    pub seal: Seal,
    /// What else is wrong with it.
    pub damage: Damage,
}

/// What a packet carries.
#[derive(Clone, Debug)]
pub enum Content {
    /// Audio of so many milliseconds, made of this byte.
    Audio(u8, u8),
    /// A telephone event.
    Event {
        /// Its code.
        event: u8,
        /// Whether it ends.
        end: bool,
        /// In milliseconds.
        duration_ms: u16,
        /// Whether it begins: otherwise it keeps the timestamp of the one before.
        begins: bool,
    },
    /// Comfort noise.
    Noise(u8),
    /// RED with so many copies.
    Redundant(u8),
    /// These bytes under any payload type.
    Anything(PayloadType, Vec<u8>),
}

/// How a packet is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// As the leg wants it.
    Good,
    /// Not at all.
    None,
    /// By other keys.
    Forged,
    /// As it should, and then the same datagram again.
    Repeated,
}

/// What is wrong with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    None,
    /// So many bytes of its end are missing.
    Cut(u8),
    /// A byte is another.
    Flipped(u8),
    /// It did not fit the receive buffer.
    Truncated,
}

/// An RTCP compound of a far end.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who sends it.
    pub from: From,
    /// Loss that it reports, in 256ths.
    pub fraction_lost: u8,
    /// Whether the source leaves.
    pub leaves: bool,
    /// How it is protected.
    pub seal: Seal,
    /// What else is wrong with it.
    pub damage: Damage,
}

/// A STUN check.
#[derive(Clone, Debug)]
pub struct Check {
    /// Who sends it.
    pub from: From,
    /// Whether it knows the leg's password.
    pub is_authentic: bool,
    /// Whether it claims the role that is ours.
    pub is_controlled: bool,
    /// What else is wrong with it.
    pub damage: Damage,
}

/// Bytes as choices. Where they end, every choice is the first.
struct Choices<'a>(&'a [u8]);

/// Reads a script.
pub fn read(bytes: &[u8]) -> Vec<Step> {
    let mut choices = Choices(bytes);
    let more = |choices: &mut Choices<'_>| (!choices.0.is_empty()).then(|| choices.step());
    std::iter::from_fn(|| more(&mut choices)).take(STEPS_MAX).collect()
}

/// An address that far ends and strangers send from.
pub fn peer(number: u8) -> SocketAddr {
    let number = number % PEERS;
    ([198, 51, 100, 1 + number % 3], 20_000 + 2 * u16::from(number)).into()
}

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()].clone()
    }

    /// One in so many is `false`: what is usual is the first choice.
    fn mostly(&mut self, one_in: u8) -> bool {
        self.byte() % one_in != one_in - 1
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let is_there = self.byte() & 1 == 1;
        is_there.then(|| make(self))
    }

    fn bytes(&mut self, most: u8) -> Vec<u8> {
        let length = usize::from(self.byte() % most).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken.to_vec()
    }

    fn leg(&mut self) -> LegName {
        let byte = self.byte();
        LegName { call: (byte >> 1) % CALLS, side: Side::BOTH[usize::from(byte & 1)] }
    }

    fn client(&mut self) -> ClientName {
        self.byte() % CLIENTS
    }

    fn from(&mut self) -> From {
        if self.mostly(4) { From::FarEnd } else { From::Peer(peer(self.byte())) }
    }

    fn step(&mut self) -> Step {
        match self.byte() % 32 {
            0..=5 => Step::Rtp(self.leg(), self.packet()),
            6..=9 => Step::Speech(self.leg(), 1 + self.byte() % 24),
            10..=11 => Step::Rtcp(self.leg(), self.report()),
            12 => Step::Stun(self.leg(), self.check()),
            13 => {
                let (leg, from, port) =
                    (self.leg(), self.from(), self.of(&[Port::Rtp, Port::Rtcp]));
                Step::Raw(leg, from, port, self.bytes(200))
            }
            14..=17 => Step::Pass(self.of(&PASS_MS)),
            18 => Step::Pause(self.of(&PASS_MS)),
            19 => Step::Stall(self.byte() & 1 == 0),
            20 => Step::Load(self.byte() % 120),
            21 => Step::Connect(self.client()),
            22 => Step::Leave(self.client()),
            23 => Step::Garbage(self.client(), self.bytes(60)),
            _ => Step::Command(self.client(), self.command()),
        }
    }

    fn command(&mut self) -> Command {
        match self.byte() % 24 {
            0..=4 => {
                let legs = Box::new([self.parameters(), self.parameters()]);
                let orphan_ms = [0, 1_000, 20_000];
                let orphan = self.maybe(|it| OrphanTime::new(it.of(&orphan_ms)));
                Command::Create(self.byte() % CALLS, legs, orphan.flatten())
            }
            5..=9 => Command::Update(self.leg(), Box::new(self.change())),
            10..=11 => Command::Replace(self.leg(), Box::new(self.parameters())),
            12 => Command::Delete(self.byte() % CALLS),
            13..=15 => {
                let digit = Digit::all().nth(usize::from(self.byte() % 16));
                let time = DigitTime::clamped_ms(u32::from(self.word() % 2_000));
                Command::Digit(self.leg(), digit.unwrap_or_else(|| unreachable!("16 digits")), time)
            }
            16 => Command::Datagram(peer(self.byte()), [vec![20], self.bytes(200)].concat()),
            17 => Command::Park(self.byte() % CALLS),
            18 => Command::QueryCall(self.byte() % CALLS),
            19 => Command::QueryProcess,
            20 => Command::List,
            21 => {
                let call = self.maybe(|it| it.byte() % CALLS);
                Command::Subscribe(call, self.of(&[0, 100, 1_000]))
            }
            22 => Command::Exchange(self.leg(), self.leg()),
            _ => Command::TakeControl(self.byte() & 1 == 1),
        }
    }

    fn parameters(&mut self) -> LegParameters {
        let transport = if self.mostly(3) {
            Transport::Plain(PlainTransport {
                remote: self.mostly(6).then(|| peer(self.byte())),
                remote_rtcp: self.maybe(|it| peer(it.byte())),
                local: if self.mostly(6) { None } else { Some(self.local()) },
                source: self.source(),
            })
        } else {
            Transport::Ice(self.credentials())
        };
        let mut parameters = LegParameters::new(transport);
        parameters.security = self.security();
        parameters.format = self.mostly(8).then(|| self.format());
        if !self.mostly(6) {
            parameters.direction = self.direction();
            parameters.media_timeout_ms = self.timeout();
        }
        parameters
    }

    fn change(&mut self) -> LegChange {
        let mut change = LegChange::default();
        let members = self.byte();
        if members & 1 != 0 {
            change.format = Some(self.format());
        }
        if members & 2 != 0 {
            change.remote = Some(peer(self.byte()));
        }
        if members & 4 != 0 {
            change.security = Some(self.security());
        }
        if members & 8 != 0 {
            change.direction = Some(self.direction());
        }
        if members & 16 != 0 {
            change.media_timeout_ms = Some(self.timeout());
        }
        match members >> 5 {
            1 => change.remote_rtcp = Some(peer(self.byte())),
            2 => change.source = Some(self.source()),
            3 => change.ice = Some(self.credentials()),
            4 => change.remote_ufrag = Some(format!("them{}", self.byte() % 3)),
            5 => change.dscp = Dscp::new(self.byte() & 63),
            _ => {}
        }
        change
    }

    fn local(&mut self) -> SocketAddr {
        ([192, 0, 2, 10], 30_000 + 2 * u16::from(self.byte() % 8)).into()
    }

    fn source(&mut self) -> Source {
        if self.mostly(3) {
            return Source::Exact;
        }
        let prefixes = ["198.51.100.0/30", "198.51.100.1", "203.0.113.0/24"];
        let prefix = self.of(&prefixes).parse();
        Source::Within(SourcePrefixes { prefixes: prefix.into_iter().collect() })
    }

    fn credentials(&mut self) -> IceCredentials {
        let number = self.byte() % 3;
        IceCredentials {
            local_ufrag: format!("ours{number}"),
            local_password: format!("a password of media's {number}"),
            remote_ufrag: self.maybe(|it| format!("them{}", it.byte() % 3)),
        }
    }

    fn security(&mut self) -> Security {
        match self.byte() % 5 {
            0 | 1 => Security::None,
            2 => Security::Pending,
            _ => {
                let profile = self.of(&Profile::ALL);
                let bytes = profile.key_bytes() + profile.salt_bytes();
                let (send, receive) = (self.byte() % 3, 100 + self.byte() % 3);
                let keys = SrtpKeys::from_bytes(profile, &vec![send; bytes], &vec![receive; bytes]);
                keys.map_or(Security::Pending, Security::Srtp)
            }
        }
    }

    fn direction(&mut self) -> Direction {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        self.of(&[SendRecv, SendOnly, RecvOnly, Inactive])
    }

    fn timeout(&mut self) -> MediaTimeout {
        MediaTimeout::new(self.of(&[0, 1_000, 5_000])).unwrap_or_default()
    }

    fn format(&mut self) -> Format {
        use Codec::{Opus, Pcma, Pcmu};
        let flags = self.word();
        let is = |bit: u16| flags & 1 << bit != 0;
        let codec = self.of(&[Opus, Pcmu, Opus, Pcma]);
        let received = match self.byte() % 8 {
            0..=3 => vec![codec],
            4 => vec![Opus],
            5 => vec![Pcmu, Pcma],
            6 => vec![Opus, Pcmu],
            _ => vec![Pcmu],
        };
        let coding = |codec| Coding { codec, payload_type: number_of(codec) };
        let clock_hz = if is(0) { 8_000 } else { 48_000 };
        let events = EventFormat { payload_type: number(101), clock_hz };
        let noise = |is_wanted: bool, wire| (is_wanted && wire).then(|| number(13));
        let paced = is(1).then(|| {
            let least_ms = self.of(&[0, 20, 60, 200]);
            Spacing::Paced(PacedDelay { least_ms, most_ms: self.of(&[60, 200, 300]) })
        });
        let send = SendFormat {
            coding: coding(codec),
            packet_ms: self.of(&[20, 20, 10, 40, 60, 30]),
            encoder: is(2).then(|| self.encoder()),
            in_band_fec: is(3),
            redundancy: (is(4) && codec == Opus).then(|| SendRedundancy::from(number(63))),
            playout: paced.unwrap_or_default(),
        };
        let hears_opus = received.contains(&Opus);
        Format {
            send,
            receive: received.into_iter().map(coding).collect(),
            send_events: (!is(5)).then_some(events),
            receive_events: if is(6) { Vec::new() } else { vec![events] },
            receive_redundancy: if is(7) && hears_opus { vec![number(63)] } else { Vec::new() },
            send_comfort_noise: noise(is(8), codec != Opus),
            receive_comfort_noise: noise(!is(9), !hears_opus).into_iter().collect(),
            receive_tones: is(10) && !hears_opus,
        }
    }

    fn encoder(&mut self) -> EncoderSettings {
        EncoderSettings {
            mode: self.of(&[EncoderMode::Silk, EncoderMode::Celt]),
            bit_rate: self.of(&[48_000, 6_000, 24_000, 128_000]),
            complexity: self.byte() % 3,
            fec: self.byte() & 1 == 0,
            expected_loss_percent: self.byte() % 101,
        }
    }

    fn packet(&mut self) -> Packet {
        Packet {
            content: self.content(),
            from: self.from(),
            step: self.of(&[
                1,
                1,
                1,
                1,
                2,
                3,
                5,
                20,
                0,
                -1,
                -2,
                9,
                1_000,
                -100,
                i16::MAX,
                i16::MIN,
            ]),
            clock_ms: self.of(&[
                0,
                0,
                0,
                20,
                40,
                -20,
                100,
                1_000,
                9_000,
                40_000,
                -1_000,
                i32::MAX / 50,
            ]),
            source: if self.mostly(6) { 0 } else { self.byte() % 4 },
            choice: self.byte(),
            marker: self.byte() & 7 == 7,
            seal: self.seal(),
            damage: self.damage(),
        }
    }

    fn content(&mut self) -> Content {
        match self.byte() % 10 {
            0..=4 => Content::Audio(self.of(&[20, 20, 10, 60, 40, 120, 0]), self.byte()),
            5 | 6 => Content::Event {
                event: self.of(&[1, 5, 11, 16, 255]),
                end: self.byte() & 3 == 3,
                duration_ms: self.of(&[20, 40, 60, 100, 5_000, 0]),
                begins: self.byte() & 3 == 0,
            },
            7 => Content::Noise(self.byte()),
            8 => Content::Redundant(self.byte() % 11),
            _ => Content::Anything(number(self.byte() & 127), self.bytes(180)),
        }
    }

    fn seal(&mut self) -> Seal {
        self.of(&[Seal::Good; 12]
            .iter()
            .chain(&[Seal::None, Seal::Forged, Seal::Repeated, Seal::Good])
            .copied()
            .collect::<Vec<_>>())
    }

    fn damage(&mut self) -> Damage {
        match self.byte() % 32 {
            31 => Damage::Truncated,
            30 => Damage::Flipped(self.byte()),
            29 => Damage::Cut(self.byte()),
            _ => Damage::None,
        }
    }

    fn report(&mut self) -> Report {
        Report {
            from: self.from(),
            fraction_lost: self.of(&[0, 1, 5, 30, 255]),
            leaves: self.byte() & 7 == 7,
            seal: self.seal(),
            damage: self.damage(),
        }
    }

    fn check(&mut self) -> Check {
        Check {
            from: self.from(),
            is_authentic: self.mostly(3),
            is_controlled: self.byte() & 7 == 7,
            damage: self.damage(),
        }
    }
}

fn number(value: u8) -> PayloadType {
    PayloadType::new(value & 127).unwrap_or(PayloadType::PCMU)
}

/// The payload type of a codec in every format of a script.
fn number_of(codec: Codec) -> PayloadType {
    match codec {
        Codec::Opus => number(111),
        Codec::Pcmu => PayloadType::PCMU,
        Codec::Pcma => PayloadType::PCMA,
    }
}
