//! Audio formats of one `m=` line, and the choice between two sides (RFC 3264 §6, §7).

use serde::{Deserialize, Serialize};

use super::Refusal;
use super::lines::Section;
use crate::wire::coding::{Codec, Coding, EventFormat};
use crate::wire::comfort_noise;
use crate::wire::rtp::PayloadType;

/// Audio per packet when nobody asks for something else (RFC 3551 §4.2).
pub const PACKET_MS_DEFAULT: u8 = 20;
/// What we send in one packet at most; receivers must take up to 200 ms (RFC 3551 §4.2).
const PACKET_MS: [u8; 5] = [10, 20, 30, 40, 60];
/// Opus packs 2.5, 5, 10, 20, 40 or 60 ms in a frame (RFC 6716 §2.1.4).
const OPUS_PACKET_MS: [u8; 4] = [10, 20, 40, 60];

/// Every digit event: 0–9, `*`, `#`, A–D (RFC 4733 §3.2).
const ALL_DIGITS: u16 = u16::MAX;

/// The formats of one audio line that we know, in the order they were written; others are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AudioFormats {
    /// Audio codecs.
    pub codings: Vec<Coding>,
    /// RFC 4733 telephone events.
    pub events: Vec<OfferedEvents>,
    /// RFC 2198 redundancy around one of the codings, Opus.
    pub red: Option<OfferedRed>,
    /// RFC 3389 comfort noise at 8 kHz.
    pub comfort_noise: Option<PayloadType>,
    /// `useinbandfec`: its writer makes use of FEC in the Opus that it receives (RFC 7587 §6.1).
    pub in_band_fec: bool,
    /// `a=ptime`: audio per packet that the writer wants to receive, in milliseconds.
    pub packet_ms: Option<u32>,
    /// `a=maxptime`: the most it accepts.
    pub packet_ms_max: Option<u32>,
}

/// A telephone-event format with the events that its writer can receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferedEvents {
    /// Payload type and clock.
    pub format: EventFormat,
    /// Bit n: event n, for the events 0–15 that are digits. Without `a=fmtp` all of them
    /// (RFC 4733 §2.4.1).
    pub digits: u16,
}

/// Redundancy (RFC 2198) that its writer can receive. Its `a=fmtp` lists one payload type a block;
/// one that is absent, or lists anything but Opus and Opus again, is of a use that we do not know,
/// and the format is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferedRed {
    /// RED's own number.
    pub payload_type: PayloadType,
    /// The number of the blocks in it.
    pub around: PayloadType,
    /// Where it stands in the `m=` line.
    pub place: RedPlace,
}

/// A browser sends what it was answered first, and so says what it prefers: RED all the time, or
/// plain packets, with RED accepted. An answer repeats the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedPlace {
    /// Preferred.
    BeforeCodec,
    /// Accepted. Browsers write it so unless a page asked for the other.
    AfterCodec,
}

/// What both sides agreed on, as the media process wants to hear it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// What we send.
    pub send: Coding,
    /// Whether the far end makes use of in-band FEC in Opus.
    pub in_band_fec: bool,
    /// Audio per packet that we send, in milliseconds: 10, 20, 30, 40 or 60 (Opus: not 30).
    pub packet_ms: u8,
    /// What we accept.
    pub receive: Vec<Coding>,
    /// The telephone-event format that we send: the one with the audio's clock when there is a
    /// choice (RFC 4733 §2.1; Firefox has only the 8 kHz one).
    pub send_events: Option<EventFormat>,
    /// The telephone-event formats that we accept.
    pub receive_events: Vec<EventFormat>,
    /// The payload type of RED around what we send, where the other side accepts it.
    pub send_redundancy: Option<PayloadType>,
    /// The payload type of comfort noise that both sides may send beside G.711: accepted where it is
    /// offered, and offered where [`ComfortNoise`] says so.
    pub comfort_noise: Option<PayloadType>,
    /// The payload types under which we accept RED around what we receive.
    pub receive_redundancy: Vec<PayloadType>,
}

/// Whether our offer to a trunk has comfort noise (RFC 3389) in it, which lets the trunk leave silence
/// out. By default not: its voice detection clips the first sounds after a pause, and what it saves is
/// bandwidth that G.711 trunks have. Where there is none, it halves what a call takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComfortNoise {
    /// It has not.
    #[default]
    NotOffered,
    /// It has.
    Offered,
}

/// Whether RTCP shares the port, which takes payload types away from RTP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RtcpPort {
    Own,
    Shared,
}

impl AudioFormats {
    /// Reads an audio line's formats.
    pub(super) fn read(section: Section<'_>, rtcp: RtcpPort) -> Self {
        let number = |name| section.own(name).next().and_then(|value| value.parse().ok());
        let mut formats = AudioFormats {
            packet_ms: number("ptime").filter(|ms| *ms > 0),
            packet_ms_max: number("maxptime").filter(|ms| *ms > 0),
            ..AudioFormats::default()
        };
        let mut seen = [false; 128];
        for payload_type in section.formats().filter_map(|format| format.parse::<u8>().ok()) {
            let Some(payload_type) = PayloadType::new(payload_type) else { continue };
            let seen = &mut seen[usize::from(payload_type.value())];
            // 64–95 would read as RTCP on a shared port (RFC 5761 §4).
            let hidden = rtcp == RtcpPort::Shared && (64..96).contains(&payload_type.value());
            if !std::mem::replace(seen, true) && !hidden {
                formats.add(section, payload_type);
            }
        }
        let codings = &formats.codings;
        let is_opus = |number| {
            codings.iter().any(|one| one.payload_type == number && one.codec == Codec::Opus)
        };
        formats.red = formats.red.filter(|red| is_opus(red.around));
        formats
    }

    fn add(&mut self, section: Section<'_>, payload_type: PayloadType) {
        let mapped = parameter_of(section, "rtpmap", payload_type);
        let mapped = mapped.and_then(|mapping| mapping.split_once('/'));
        let Some((name, rate)) = mapped.or(match payload_type {
            // The static types need no a=rtpmap (RFC 3551 §6).
            PayloadType::PCMU => Some(("PCMU", "8000")),
            PayloadType::PCMA => Some(("PCMA", "8000")),
            other if other.value() == comfort_noise::STATIC => Some(("CN", "8000")),
            _ => None,
        }) else {
            return;
        };
        // The channel count after the rate: always 2 for Opus (RFC 7587 §7), else 1.
        let rate = rate.split('/').next().and_then(|rate| rate.trim().parse::<u32>().ok());
        let codec = match (name.to_ascii_lowercase().as_str(), rate) {
            ("opus", Some(48_000)) => Codec::Opus,
            ("pcmu", Some(8_000)) => Codec::Pcmu,
            ("pcma", Some(8_000)) => Codec::Pcma,
            ("cn", Some(8_000)) => {
                self.comfort_noise = self.comfort_noise.or(Some(payload_type));
                return;
            }
            ("red", Some(48_000)) => {
                let blocks = parameter_of(section, "fmtp", payload_type).and_then(blocks_of);
                if let Some(around) = blocks {
                    let known = self.codings.iter().any(|one| one.payload_type == around);
                    let place = if known { RedPlace::AfterCodec } else { RedPlace::BeforeCodec };
                    self.red = self.red.or(Some(OfferedRed { payload_type, around, place }));
                }
                return;
            }
            ("telephone-event", Some(clock_hz @ (8_000 | 48_000))) => {
                let ranges = parameter_of(section, "fmtp", payload_type);
                let digits = ranges.map_or(ALL_DIGITS, digits_of);
                let format = EventFormat { payload_type, clock_hz };
                if digits != 0 {
                    self.events.push(OfferedEvents { format, digits });
                }
                return;
            }
            _ => return,
        };
        if codec == Codec::Opus {
            let parameters = parameter_of(section, "fmtp", payload_type).unwrap_or_default();
            self.in_band_fec = parameters.split(';').any(|one| one.trim() == "useinbandfec=1");
        }
        self.codings.push(Coding { codec, payload_type });
    }

    /// What an answer with `chosen`, one of these codings, comes to. It has one event clock, for of
    /// two Chromium takes the slower, by which its events last a sixth of what was asked.
    pub(super) fn accept(&self, chosen: Coding) -> Agreement {
        let events = self.events_beside(chosen.codec);
        let redundancy = self.red_around(chosen);
        Agreement {
            send: chosen,
            in_band_fec: self.in_band_fec,
            packet_ms: self.packet_ms_for(chosen.codec),
            receive: vec![chosen],
            send_events: events,
            receive_events: events.into_iter().collect(),
            comfort_noise: self.comfort_noise.filter(|_| chosen.codec != Codec::Opus),
            send_redundancy: redundancy,
            receive_redundancy: redundancy.into_iter().collect(),
        }
    }

    /// What these formats, an answer, come to against `offered`, our offer. We send with the
    /// answer's payload types. We receive with ours (RFC 3264 §6.1), and with the answer's as well
    /// when they differ and mean nothing else to us, because some answerers use their own.
    pub(super) fn conclude(&self, offered: &AudioFormats) -> Result<Agreement, Refusal> {
        let free = |theirs: PayloadType| {
            !offered.codings.iter().any(|ours| ours.payload_type == theirs)
                && !offered.events.iter().any(|ours| ours.format.payload_type == theirs)
                && offered.red.is_none_or(|ours| ours.payload_type != theirs)
                && offered.comfort_noise != Some(theirs)
        };
        let mut send = None;
        let mut receive = Vec::new();
        for theirs in &self.codings {
            let Some(ours) = offered.codings.iter().find(|ours| ours.codec == theirs.codec) else {
                continue;
            };
            send = send.or(Some(*theirs));
            push_new(&mut receive, *ours);
            if free(theirs.payload_type) {
                push_new(&mut receive, *theirs);
            }
        }
        let send = send.ok_or(Refusal::NoCommonCodec)?;
        let mut common = AudioFormats::default();
        let mut receive_events = Vec::new();
        for theirs in &self.events {
            let clock_hz = theirs.format.clock_hz;
            let Some(ours) = offered.events.iter().find(|ours| ours.format.clock_hz == clock_hz)
            else {
                continue;
            };
            common.events.push(*theirs);
            push_new(&mut receive_events, ours.format);
            if free(theirs.format.payload_type) {
                push_new(&mut receive_events, theirs.format);
            }
        }
        let mut receive_redundancy = Vec::new();
        let send_redundancy = self.red_around(send).filter(|_| offered.red.is_some());
        if let (Some(theirs), Some(ours)) = (send_redundancy, offered.red) {
            receive_redundancy.push(ours.payload_type);
            if free(theirs) {
                push_new(&mut receive_redundancy, theirs);
            }
        }
        Ok(Agreement {
            send,
            in_band_fec: self.in_band_fec,
            packet_ms: self.packet_ms_for(send.codec),
            receive,
            send_events: common.events_beside(send.codec),
            receive_events,
            comfort_noise: self.comfort_noise.filter(|_| offered.comfort_noise.is_some()),
            send_redundancy,
            receive_redundancy,
        })
    }

    /// The event format to send beside a codec: on its clock, else on any.
    fn events_beside(&self, codec: Codec) -> Option<EventFormat> {
        let same_clock = |events: &&OfferedEvents| events.format.clock_hz == codec.clock_hz();
        self.events.iter().find(same_clock).or(self.events.first()).map(|events| events.format)
    }

    /// RED around a coding.
    fn red_around(&self, coding: Coding) -> Option<PayloadType> {
        self.red.filter(|red| red.around == coding.payload_type).map(|red| red.payload_type)
    }

    /// The packet time to send: the one asked for, or the next shorter one that the codec has.
    fn packet_ms_for(&self, codec: Codec) -> u8 {
        let wanted = self.packet_ms.unwrap_or(u32::from(PACKET_MS_DEFAULT));
        let most = wanted.min(self.packet_ms_max.unwrap_or(u32::MAX));
        let possible: &[u8] = if codec == Codec::Opus { &OPUS_PACKET_MS } else { &PACKET_MS };
        let fitting = possible.iter().rev().find(|ms| u32::from(**ms) <= most);
        fitting.or(possible.first()).copied().unwrap_or(PACKET_MS_DEFAULT)
    }
}

/// What we offer a browser, in the numbers that Chromium uses itself. RED stands behind Opus: we
/// want to send it, and the browser to send plain packets, whose in-band FEC costs us nothing.
pub(super) fn browser_formats(codecs: &[Codec]) -> AudioFormats {
    let mut formats = offered_formats(codecs, &[(110, 48_000), (126, 8_000)]);
    let opus = formats.codings.iter().find(|coding| coding.codec == Codec::Opus);
    formats.red = opus.and_then(|opus| {
        let (payload_type, around) = (PayloadType::new(63)?, opus.payload_type);
        Some(OfferedRed { payload_type, around, place: RedPlace::AfterCodec })
    });
    formats
}

/// What we offer a trunk; 101 is what most of them expect for telephone events.
pub(super) fn trunk_formats(codecs: &[Codec], noise: ComfortNoise) -> AudioFormats {
    let comfort_noise = match noise {
        ComfortNoise::NotOffered => None,
        ComfortNoise::Offered => comfort_noise::static_payload_type(),
    };
    AudioFormats { comfort_noise, ..offered_formats(codecs, &[(101, 8_000)]) }
}

fn offered_formats(codecs: &[Codec], events: &[(u8, u32)]) -> AudioFormats {
    let coding = |codec: &Codec| {
        let payload_type = match codec {
            Codec::Opus => PayloadType::new(111)?,
            Codec::Pcmu => PayloadType::PCMU,
            Codec::Pcma => PayloadType::PCMA,
        };
        Some(Coding { codec: *codec, payload_type })
    };
    let event = |&(payload_type, clock_hz): &(u8, u32)| {
        let payload_type = PayloadType::new(payload_type)?;
        Some(OfferedEvents { format: EventFormat { payload_type, clock_hz }, digits: u16::MAX })
    };
    AudioFormats {
        codings: codecs.iter().filter_map(coding).collect(),
        events: events.iter().filter_map(event).collect(),
        ..AudioFormats::default()
    }
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}

/// The rest of `a=name:payload_type rest`.
fn parameter_of<'a>(section: Section<'a>, name: &'a str, of: PayloadType) -> Option<&'a str> {
    section.own(name).find_map(|value| {
        let (payload_type, rest) = value.split_once(' ')?;
        (payload_type.parse() == Ok(of.value())).then(|| rest.trim())
    })
}

/// What the blocks of RED are, in a list such as `111/111`, when they are all the same.
fn blocks_of(list: &str) -> Option<PayloadType> {
    let (primary, copies) = list.split_once('/')?;
    let number = primary.trim().parse().ok().and_then(PayloadType::new)?;
    let same = |copy: &str| copy.trim().parse() == Ok(number.value());
    copies.split('/').all(same).then_some(number)
}

/// The digits in a list of event ranges such as `0-11,16` (RFC 4733 §2.4.1).
fn digits_of(ranges: &str) -> u16 {
    let mut digits = 0;
    // Old writers put `events=` before the list (RFC 2833 errata).
    let ranges = ranges.strip_prefix("events=").unwrap_or(ranges);
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.trim().parse::<u8>(), last.trim().parse::<u8>()) else {
            continue;
        };
        for event in first..=last.min(15) {
            digits |= 1 << event;
        }
    }
    digits
}

/// Digits as a list of event ranges.
pub(super) fn ranges_of(digits: u16) -> String {
    let has = |event: u32| event < 16 && digits & (1 << event) != 0;
    let mut ranges = Vec::new();
    let mut event = 0;
    while event < 16 {
        let first = event;
        while has(event) {
            event += 1;
        }
        match event - first {
            0 => event += 1,
            1 => ranges.push(format!("{first}")),
            _ => ranges.push(format!("{first}-{}", event - 1)),
        }
    }
    ranges.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(packet_ms: Option<u32>, packet_ms_max: Option<u32>) -> AudioFormats {
        AudioFormats { packet_ms, packet_ms_max, ..AudioFormats::default() }
    }

    #[test]
    fn the_packet_time_is_the_one_asked_for_or_the_next_shorter_one() {
        for (ptime, maxptime, g711, opus) in [
            (None, None, 20, 20),
            (Some(10), None, 10, 10),
            (Some(30), None, 30, 20),
            (Some(40), Some(60), 40, 40),
            (Some(50), None, 40, 40),
            (Some(60), None, 60, 60),
            (Some(120), None, 60, 60),
            (Some(60), Some(30), 30, 20),
            (None, Some(10), 10, 10),
            (Some(5), None, 10, 10),
        ] {
            let formats = formats(ptime, maxptime);
            assert_eq!(formats.packet_ms_for(Codec::Pcmu), g711, "{ptime:?} {maxptime:?}");
            assert_eq!(formats.packet_ms_for(Codec::Opus), opus, "{ptime:?} {maxptime:?}");
        }
    }

    #[test]
    fn red_is_known_by_what_its_blocks_are() {
        for (list, around) in [
            ("111/111", Some(111)),
            ("111/111/111", Some(111)),
            (" 96 / 96 ", Some(96)),
            ("111", None),
            ("111/0", None),
            ("111/", None),
            ("200/200", None),
            ("111/111/111/0", None),
            ("", None),
            ("nonsense/nonsense", None),
        ] {
            assert_eq!(blocks_of(list).map(PayloadType::value), around, "{list}");
        }
    }

    #[test]
    fn event_ranges_are_read_and_written() {
        for (read, digits, written) in [
            ("0-15", 0xffff, "0-15"),
            ("0-16", 0xffff, "0-15"),
            ("0-11,16,32-49", 0x0fff, "0-11"),
            ("events=0-15", 0xffff, "0-15"),
            ("1,3, 5-6", 0b110_1010, "1,3,5-6"),
            ("15", 0x8000, "15"),
            ("16", 0, ""),
            ("9-2", 0, ""),
            ("0-300", 0, ""),
            ("nonsense", 0, ""),
        ] {
            assert_eq!(digits_of(read), digits, "{read}");
            assert_eq!(ranges_of(digits), written, "{read}");
        }
    }
}
