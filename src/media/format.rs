//! A leg's format, checked once when it is set and then looked up by payload type.

use crate::audio::SAMPLES_PER_MS;
use crate::audio::opus::EncoderSettings;
use crate::audio::playout::{DelayRange, MOST_MS_MAX};
use crate::control::message::{
    Codec, ControlError, ErrorCode, EventFormat, Format, PacedDelay, Spacing,
};
use crate::wire::rtp::PayloadType;

/// The codings and event formats a leg may accept at once.
const RECEIVE_MAX: usize = 8;

/// The clock of telephone events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventClock {
    /// That of G.711.
    Hz8000,
    /// That of Opus.
    Hz48000,
}

impl EventClock {
    /// `None` for another clock.
    fn from_hz(hz: u32) -> Option<Self> {
        match hz {
            8_000 => Some(Self::Hz8000),
            48_000 => Some(Self::Hz48000),
            _ => None,
        }
    }

    /// In Hz.
    pub const fn hz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz48000 => 48_000,
        }
    }
}

/// What a payload type means on a leg. Every leg has 128 of them, two bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nobody negotiated it.
    Unknown,
    /// Audio.
    Audio(Codec),
    /// Telephone events with this clock.
    Events(EventClock),
    /// The level of a silence that is left out (RFC 3389).
    ComfortNoise,
    /// Audio with copies of what came before it (RFC 2198).
    Redundant,
}

impl Meaning {
    /// The RTP clock of audio, whose timestamp tells when it was spoken.
    #[inline]
    pub fn spoken_hz(self) -> Option<u32> {
        match self {
            Self::Audio(codec) => Some(codec.clock_hz()),
            // Only Opus is sent so.
            Self::Redundant => Some(Codec::Opus.clock_hz()),
            Self::Events(_) | Self::ComfortNoise | Self::Unknown => None,
        }
    }
}

/// What the far end of a leg makes use of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// RED (RFC 2198) was negotiated.
    pub red: bool,
    /// In-band FEC (`useinbandfec`, RFC 7587 §6.1) was.
    pub in_band_fec: bool,
}

/// What a leg accepts: the meaning of each payload type.
#[derive(Clone, Debug, PartialEq)]
pub struct Meanings {
    by_payload_type: [Meaning; 128],
    /// Whether digits are listened for in the audio.
    pub hears_tones: bool,
}

/// What a leg sends.
#[derive(Clone, Debug, PartialEq)]
pub struct SendFormat {
    /// The codec.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: PayloadType,
    /// Samples of 8 kHz audio in a packet.
    pub packet_samples: usize,
    /// Fixed settings should Opus have to be encoded; without them [`super::leg::encoding`] chooses.
    pub encoder: Option<EncoderSettings>,
    /// Whether the far end makes use of in-band FEC.
    pub in_band_fec: bool,
    /// The event format.
    pub events: Option<EventFormat>,
    /// The payload type of comfort noise, where it may be sent.
    pub comfort_noise: Option<PayloadType>,
    /// The bounds of the delay, where what is sent is paced.
    pub paced: Option<DelayRange>,
    /// The payload type of RED, where it may be sent.
    pub redundancy: Option<PayloadType>,
}

/// A leg's format, both ways.
#[derive(Clone, Debug, PartialEq)]
pub struct LegFormat {
    /// What it accepts.
    pub accepted: Meanings,
    /// What it sends.
    pub sent: SendFormat,
}

impl LegFormat {
    /// Checks `format`; a refusal names the field.
    pub fn new(format: &Format) -> Result<Self, ControlError> {
        Ok(Self { accepted: Meanings::new(format)?, sent: SendFormat::new(format)? })
    }
}

impl Meanings {
    fn new(format: &Format) -> Result<Self, ControlError> {
        let lists = [
            ("receive", format.receive.len()),
            ("receive_events", format.receive_events.len()),
            ("receive_redundancy", format.receive_redundancy.len()),
            ("receive_comfort_noise", format.receive_comfort_noise.len()),
        ];
        if let Some((list, _)) = lists.iter().find(|(_, length)| *length > RECEIVE_MAX) {
            return refuse(format!("format.{list}: must list at most {RECEIVE_MAX}"));
        }
        if format.receive.is_empty() {
            return refuse(format!("format.receive: must list 1 to {RECEIVE_MAX} codings"));
        }
        // RFC 3389 noise has the clock of the audio beside it, and Opus has a pause of its own.
        let hears_opus = format.receive.iter().any(|coding| coding.codec == Codec::Opus);
        if hears_opus && !format.receive_comfort_noise.is_empty() {
            return refuse("format.receive_comfort_noise: beside pcmu and pcma only".to_owned());
        }
        if hears_opus && format.receive_tones {
            return refuse("format.receive_tones: in pcmu and pcma only".to_owned());
        }
        let mut meanings = [Meaning::Unknown; 128];
        let mut set = |payload_type: PayloadType, meaning| {
            let place = &mut meanings[usize::from(payload_type.value())];
            if *place != Meaning::Unknown {
                let number = payload_type.value();
                return refuse(format!("format: payload type {number} is received as two things"));
            }
            *place = meaning;
            Ok(())
        };
        for coding in &format.receive {
            set(coding.payload_type, Meaning::Audio(coding.codec))?;
        }
        for (place, events) in format.receive_events.iter().enumerate() {
            let clock = EventClock::from_hz(events.clock_hz);
            let Some(clock) = clock else {
                return bad_clock(&format!("receive_events[{place}]"));
            };
            set(events.payload_type, Meaning::Events(clock))?;
        }
        for payload_type in &format.receive_redundancy {
            set(*payload_type, Meaning::Redundant)?;
        }
        for payload_type in &format.receive_comfort_noise {
            set(*payload_type, Meaning::ComfortNoise)?;
        }
        Ok(Self { by_payload_type: meanings, hears_tones: format.receive_tones })
    }

    /// What `payload_type` means when it is received.
    #[inline]
    pub fn of(&self, payload_type: PayloadType) -> Meaning {
        self.by_payload_type[usize::from(payload_type.value())]
    }

    /// Whether any payload type is received as audio that `test` accepts.
    pub fn any_audio(&self, test: impl Fn(Codec) -> bool) -> bool {
        let mut all = self.by_payload_type.iter();
        all.any(|meaning| matches!(meaning, Meaning::Audio(codec) if test(*codec)))
    }
}

impl SendFormat {
    fn new(format: &Format) -> Result<Self, ControlError> {
        let send = &format.send;
        let (codec, packet_ms) = (send.coding.codec, send.packet_ms);
        let possible: &[u8] = match codec {
            Codec::Opus => &[10, 20, 40, 60],
            Codec::Pcmu | Codec::Pcma => &[10, 20, 30, 40, 60],
        };
        if !possible.contains(&packet_ms) {
            return refuse(format!(
                "format.send.packet_ms: {packet_ms} is not one of {possible:?} for {codec:?}"
            ));
        }
        send.encoder.map_or(Ok(()), check_encoder)?;
        if let Some(redundancy) = send.redundancy
            && (codec != Codec::Opus || redundancy.payload_type == send.coding.payload_type)
        {
            return refuse(
                "format.send.redundancy: needs a payload_type of its own, around opus".to_owned(),
            );
        }
        if codec == Codec::Opus && format.send_comfort_noise.is_some() {
            return refuse("format.send_comfort_noise: beside pcmu and pcma only".to_owned());
        }
        if format.send_events.is_some_and(|it| EventClock::from_hz(it.clock_hz).is_none()) {
            return bad_clock("send_events");
        }
        Ok(Self {
            codec,
            payload_type: send.coding.payload_type,
            packet_samples: usize::from(packet_ms) * SAMPLES_PER_MS,
            encoder: send.encoder,
            in_band_fec: send.in_band_fec,
            events: format.send_events,
            comfort_noise: format.send_comfort_noise,
            paced: delay_range(send.playout)?,
            redundancy: send.redundancy.map(|redundancy| redundancy.payload_type),
        })
    }

    /// What the far end makes use of when we send Opus.
    pub fn abilities(&self) -> Abilities {
        Abilities { red: self.redundancy.is_some(), in_band_fec: self.in_band_fec }
    }
}

fn delay_range(spacing: Spacing) -> Result<Option<DelayRange>, ControlError> {
    match spacing {
        Spacing::OnArrival => Ok(None),
        Spacing::Paced(PacedDelay { least_ms, most_ms })
            if least_ms <= most_ms && most_ms <= MOST_MS_MAX =>
        {
            Ok(Some(DelayRange { least_ms, most_ms }))
        }
        Spacing::Paced(_) => refuse(format!(
            "format.send.playout: least_ms must not exceed most_ms, nor that {MOST_MS_MAX}"
        )),
    }
}

fn refuse<T>(what: String) -> Result<T, ControlError> {
    Err(ControlError::new(ErrorCode::BadArguments, what))
}

fn bad_clock<T>(field: &str) -> Result<T, ControlError> {
    refuse(format!("format.{field}.clock_hz: must be 8000 or 48000"))
}

fn check_encoder(settings: EncoderSettings) -> Result<(), ControlError> {
    let wrong = if !EncoderSettings::BIT_RATE.contains(&settings.bit_rate) {
        "bit_rate: must be 6000 to 128000"
    } else if settings.complexity > EncoderSettings::COMPLEXITY_MAX {
        "complexity: must be 0 to 10"
    } else if settings.expected_loss_percent > 100 {
        "expected_loss_percent: must be 0 to 100"
    } else {
        return Ok(());
    };
    Err(ControlError::new(ErrorCode::BadArguments, format!("format.send.encoder.{wrong}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(json: serde_json::Value) -> Result<LegFormat, ControlError> {
        LegFormat::new(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn payload_types_mean_what_was_negotiated() {
        let format = format(serde_json::json!({
            "send": {"codec": "opus", "payload_type": 111},
            "receive": [{"codec": "opus", "payload_type": 111}, {"codec": "pcmu", "payload_type": 0}],
            "receive_events": [{"payload_type": 126, "clock_hz": 8000}],
            "receive_redundancy": [63],
        }))
        .unwrap();
        let meaning = |number| format.accepted.of(PayloadType::new(number).unwrap());
        assert_eq!(meaning(111), Meaning::Audio(Codec::Opus));
        assert_eq!(meaning(0), Meaning::Audio(Codec::Pcmu));
        assert_eq!(meaning(126), Meaning::Events(EventClock::Hz8000));
        assert_eq!(size_of::<Meaning>(), 2);
        assert_eq!(meaning(63), Meaning::Redundant);
        assert_eq!(meaning(8), Meaning::Unknown);
        assert_eq!(format.sent.packet_samples, 160);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_name() {
        for (field, json) in [
            (
                "packet_ms",
                serde_json::json!({"codec": "opus", "payload_type": 111, "packet_ms": 30}),
            ),
            ("packet_ms", serde_json::json!({"codec": "pcmu", "payload_type": 0, "packet_ms": 25})),
            (
                "bit_rate",
                serde_json::json!({"codec": "opus", "payload_type": 1, "encoder": {"bit_rate": 1}}),
            ),
            (
                "complexity",
                serde_json::json!({"codec": "opus", "payload_type": 1, "encoder": {"complexity": 11}}),
            ),
            (
                "playout",
                serde_json::json!({"codec": "pcmu", "payload_type": 0,
                    "playout": {"kind": "paced", "least_ms": 20, "most_ms": 301}}),
            ),
            (
                "playout",
                serde_json::json!({"codec": "pcmu", "payload_type": 0,
                    "playout": {"kind": "paced", "least_ms": 60, "most_ms": 40}}),
            ),
            (
                "redundancy",
                serde_json::json!({"codec": "opus", "payload_type": 1, "redundancy": {"payload_type": 1}}),
            ),
            (
                "redundancy",
                serde_json::json!({"codec": "pcmu", "payload_type": 0, "redundancy": {"payload_type": 1}}),
            ),
        ] {
            let receive = serde_json::json!([{"codec": "pcmu", "payload_type": 0}]);
            let error = format(serde_json::json!({"send": json, "receive": receive})).unwrap_err();
            assert!(error.message.contains(field), "{}", error.message);
        }
    }

    #[test]
    fn a_payload_type_cannot_mean_two_things() {
        for second in [
            serde_json::json!({"receive_events": [{"payload_type": 0, "clock_hz": 8000}]}),
            serde_json::json!({"receive_redundancy": [0]}),
            serde_json::json!({"receive_redundancy": [63, 63]}),
        ] {
            let mut json = second;
            json["send"] = serde_json::json!({"codec": "pcmu", "payload_type": 0});
            json["receive"] = serde_json::json!([{"codec": "pcmu", "payload_type": 0}]);
            assert_eq!(format(json).unwrap_err().code, ErrorCode::BadArguments);
        }
    }
}
