//! A leg's format, checked once when it is set and then looked up by payload type.

use std::time::Duration;

use super::encoding::Abilities;
use crate::audio::opus::EncoderSettings;
use crate::audio::playout::{DelayRange, MOST_MS_MAX};
use crate::control::message::{Codec, ControlError, ErrorCode, EventFormat, Format, Playout};
use crate::wire::rtp::PayloadType;

/// The codings and event formats a leg may accept at once.
const RECEIVE_MAX: usize = 8;

/// What a payload type means on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nobody negotiated it.
    Unknown,
    /// Audio.
    Audio(Codec),
    /// Telephone events with this clock.
    Events {
        /// 8,000 or 48,000.
        clock_hz: u32,
    },
    /// The level of a silence that is left out (RFC 3389).
    ComfortNoise,
    /// Audio with copies of what came before it (RFC 2198).
    Redundant,
}

impl Meaning {
    /// The RTP clock of audio, whose timestamp tells when it was spoken.
    #[inline]
    pub fn clock_hz(self) -> Option<u32> {
        match self {
            Self::Audio(codec) => Some(codec.clock_hz()),
            // Only Opus is sent so.
            Self::Redundant => Some(Codec::Opus.clock_hz()),
            Self::Events { .. } | Self::ComfortNoise | Self::Unknown => None,
        }
    }
}

/// A leg's format.
#[derive(Clone, Debug, PartialEq)]
pub struct LegFormat {
    meanings: [Meaning; 128],
    /// The codec sent.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: PayloadType,
    /// Samples of 8 kHz audio in a packet sent.
    pub packet_samples: usize,
    /// Fixed settings should Opus have to be encoded; without them [`super::encoding`] chooses.
    pub encoder: Option<EncoderSettings>,
    /// Whether the far end makes use of in-band FEC.
    pub in_band_fec: bool,
    /// The event format sent.
    pub send_events: Option<EventFormat>,
    /// The payload type of comfort noise, where it may be sent.
    pub send_comfort_noise: Option<PayloadType>,
    /// The bounds of the delay, where what is sent is paced.
    pub paced: Option<DelayRange>,
    /// The payload type of RED, where it may be sent.
    pub redundancy: Option<PayloadType>,
}

impl LegFormat {
    /// Checks `format`; a refusal names the field.
    pub fn new(format: &Format) -> Result<Self, ControlError> {
        let refuse = |what: String| Err(ControlError::new(ErrorCode::BadArguments, what));
        let send = &format.send;
        let packet_ms = send.packet_ms;
        let possible: &[u8] = match send.coding.codec {
            Codec::Opus => &[10, 20, 40, 60],
            Codec::Pcmu | Codec::Pcma => &[10, 20, 30, 40, 60],
        };
        if !possible.contains(&packet_ms) {
            let codec = send.coding.codec;
            return refuse(format!(
                "format.send.packet_ms: {packet_ms} is not one of {possible:?} for {codec:?}"
            ));
        }
        if let Some(encoder) = send.encoder {
            check_encoder(encoder)?;
        }
        if format.receive.is_empty()
            || format.receive.len() > RECEIVE_MAX
            || format.receive_events.len() > RECEIVE_MAX
            || format.receive_redundancy.len() > RECEIVE_MAX
            || format.receive_comfort_noise.len() > RECEIVE_MAX
        {
            return refuse(format!("format.receive: must list 1 to {RECEIVE_MAX} codings"));
        }

        let mut meanings = [Meaning::Unknown; 128];
        let audio = format.receive.iter().map(|c| (c.payload_type, Meaning::Audio(c.codec)));
        let events = format
            .receive_events
            .iter()
            .map(|e| (e.payload_type, Meaning::Events { clock_hz: e.clock_hz }));
        let redundant = format.receive_redundancy.iter().map(|red| (*red, Meaning::Redundant));
        let noise = format.receive_comfort_noise.iter().map(|cn| (*cn, Meaning::ComfortNoise));
        for (payload_type, meaning) in audio.chain(events).chain(redundant).chain(noise) {
            let place = &mut meanings[usize::from(payload_type.value())];
            if *place != Meaning::Unknown {
                let number = payload_type.value();
                return refuse(format!("format: payload type {number} is received as two things"));
            }
            *place = meaning;
        }
        if let Some(redundancy) = send.redundancy
            && (send.coding.codec != Codec::Opus
                || redundancy.payload_type == send.coding.payload_type)
        {
            return refuse(
                "format.send.redundancy: needs a payload_type of its own, around opus".to_owned(),
            );
        }
        // RFC 3389 noise has the clock of the audio beside it, and Opus has a pause of its own.
        let hears_opus = format.receive.iter().any(|coding| coding.codec == Codec::Opus);
        if hears_opus && !format.receive_comfort_noise.is_empty()
            || send.coding.codec == Codec::Opus && format.send_comfort_noise.is_some()
        {
            return refuse(
                "format: comfort noise is sent and received beside pcmu and pcma only".to_owned(),
            );
        }
        let paced = match send.playout {
            Playout::OnArrival => None,
            Playout::Paced { least_ms, most_ms }
                if least_ms <= most_ms && most_ms <= MOST_MS_MAX =>
            {
                Some(DelayRange { least_ms, most_ms })
            }
            Playout::Paced { .. } => {
                return refuse(format!(
                    "format.send.playout: least_ms must not exceed most_ms, nor that {MOST_MS_MAX}"
                ));
            }
        };
        let clocks = format.receive_events.iter().chain(&format.send_events);
        if clocks.into_iter().any(|event| ![8_000, 48_000].contains(&event.clock_hz)) {
            return refuse("format: an event clock_hz must be 8000 or 48000".to_owned());
        }
        Ok(Self {
            meanings,
            codec: send.coding.codec,
            payload_type: send.coding.payload_type,
            packet_samples: usize::from(packet_ms) * 8,
            encoder: send.encoder,
            in_band_fec: send.in_band_fec,
            send_events: format.send_events,
            send_comfort_noise: format.send_comfort_noise,
            paced,
            redundancy: send.redundancy.map(|redundancy| redundancy.payload_type),
        })
    }

    /// What `payload_type` means when it is received.
    #[inline]
    pub fn meaning(&self, payload_type: PayloadType) -> Meaning {
        self.meanings[usize::from(payload_type.value())]
    }

    /// Whether any payload type is received as audio that `test` accepts.
    pub fn receives(&self, test: impl Fn(Codec) -> bool) -> bool {
        self.meanings.iter().any(|meaning| matches!(meaning, Meaning::Audio(codec) if test(*codec)))
    }

    /// What the far end makes use of when we send Opus.
    pub fn abilities(&self) -> Abilities {
        Abilities { red: self.redundancy.is_some(), in_band_fec: self.in_band_fec }
    }

    /// Audio in a packet sent.
    pub fn packet_duration(&self) -> Duration {
        Duration::from_micros(self.packet_samples as u64 * 125)
    }
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
        let meaning = |number| format.meaning(PayloadType::new(number).unwrap());
        assert_eq!(meaning(111), Meaning::Audio(Codec::Opus));
        assert_eq!(meaning(0), Meaning::Audio(Codec::Pcmu));
        assert_eq!(meaning(126), Meaning::Events { clock_hz: 8_000 });
        assert_eq!(meaning(63), Meaning::Redundant);
        assert_eq!(meaning(8), Meaning::Unknown);
        assert_eq!(format.packet_samples, 160);
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
