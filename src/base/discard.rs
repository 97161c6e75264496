//! Why a datagram ended unsent. One byte, one counter, no allocation; every reason has a name that
//! is the same in code, statistics, metrics and the control protocol.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

macro_rules! discards {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The reason a datagram was discarded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Discard { $($(#[$doc])* $variant,)* }

        impl Discard {
            /// Every reason, in counter order.
            pub const ALL: &'static [Discard] = &[$(Discard::$variant,)*];

            /// The reason's name in statistics and in the control protocol.
            pub const fn name(self) -> &'static str {
                match self { $(Discard::$variant => $name,)* }
            }
        }
    };
}

discards! {
    /// First byte outside every range of RFC 7983.
    UnknownProtocol = "unknown_protocol",
    /// Shorter than its protocol's smallest packet, or a length field that overruns it.
    Truncated = "truncated",
    /// The datagram filled the receive buffer, so its end may be missing.
    TooLarge = "too_large",
    /// RTP version other than 2, or a padding count that does not fit.
    BadRtp = "bad_rtp",
    /// A RED payload that does not parse (RFC 2198 §3).
    BadRed = "bad_red",
    /// RTCP that does not parse (RFC 3550 §6.4, appendix A.2).
    BadRtcp = "bad_rtcp",
    /// STUN that does not parse (RFC 8489 §5).
    BadStun = "bad_stun",
    /// A DTLS record header that makes no sense (RFC 6347 §4.1).
    BadDtls = "bad_dtls",
    /// From an address that belongs to no leg.
    UnknownSource = "unknown_source",
    /// RTP of a source that another one has taken the place of, on the same leg.
    OtherSource = "other_source",
    /// For a leg that does not receive at present, see its direction.
    NotReceiving = "not_receiving",
    /// The other leg is not sent to at present, see its direction.
    NotSending = "not_sending",
    /// Something is played toward the other leg instead.
    DuringPlay = "during_play",
    /// For a leg whose keys or format are not there yet.
    NotReady = "not_ready",
    /// SRTP or SRTCP whose tag does not verify.
    BadTag = "bad_tag",
    /// SRTP or SRTCP index already seen, or older than the replay window.
    Replayed = "replayed",
    /// SRTP shorter than its tag, or SRTCP without its index.
    BadSrtp = "bad_srtp",
    /// A payload type nobody negotiated.
    UnknownPayloadType = "unknown_payload_type",
    /// The codec refused the payload.
    BadPayload = "bad_payload",
    /// The codec could not encode a frame: our fault, never seen.
    EncoderFailed = "encoder_failed",
    /// A telephone-event payload that does not parse (RFC 4733 §2.3).
    BadTelephoneEvent = "bad_telephone_event",
    /// RTP that arrived after its place had been filled.
    Late = "late",
    /// RTP with a sequence number already played.
    Duplicate = "duplicate",
    /// RTP whose sequence number is far from the stream's, until a second packet confirms that the
    /// sender began anew (RFC 3550 A.1).
    SequenceJump = "sequence_jump",
    /// Audio that ran beside a telephone event, which replaces it.
    DuringTelephoneEvent = "during_telephone_event",
    /// The other leg cannot send yet: no address, keys or format.
    NoDestination = "no_destination",
    /// Every send slot of the core was in flight.
    SendSlotsExhausted = "send_slots_exhausted",
    /// The queue to the control thread was full.
    PuntQueueFull = "punt_queue_full",
    /// No controller is connected, so a punted datagram had no reader.
    NoController = "no_controller",
    /// STUN whose message integrity does not verify.
    BadIntegrity = "bad_integrity",
    /// More unauthenticated STUN or DTLS than a core may punt in a second.
    PuntRateExceeded = "punt_rate_exceeded",
    /// It waited while the process did not run.
    AfterPause = "after_pause",
}

/// One counter a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscardCounters([u64; Discard::ALL.len()]);

impl Default for DiscardCounters {
    fn default() -> Self {
        Self([0; Discard::ALL.len()])
    }
}

impl DiscardCounters {
    /// Counts one datagram.
    #[inline]
    pub fn count(&mut self, reason: Discard) {
        self.0[reason as usize] += 1;
    }

    /// Counts several at once.
    pub fn count_many(&mut self, reason: Discard, datagrams: u64) {
        self.0[reason as usize] += datagrams;
    }

    /// Adds another set, reason by reason.
    pub fn add(&mut self, other: &DiscardCounters) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// How many datagrams ended for `reason`.
    pub fn of(&self, reason: Discard) -> u64 {
        self.0[reason as usize]
    }

    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// A map from name to count that leaves out the zeros.
impl Serialize for DiscardCounters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for reason in Discard::ALL.iter().filter(|reason| self.of(**reason) > 0) {
            map.serialize_entry(reason.name(), &self.of(*reason))?;
        }
        map.end()
    }
}

/// From such a map; a reason of another version is left out.
impl<'de> Deserialize<'de> for DiscardCounters {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Counters;

        impl<'de> Visitor<'de> for Counters {
            type Value = DiscardCounters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("counters by reason")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut counters = DiscardCounters::default();
                while let Some((name, count)) = map.next_entry::<String, u64>()? {
                    let known = Discard::ALL.iter().find(|reason| reason.name() == name);
                    known.into_iter().for_each(|reason| counters.0[*reason as usize] = count);
                }
                Ok(counters)
            }
        }

        from.deserialize_map(Counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name_and_counter() {
        let mut names: Vec<_> = Discard::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Discard::ALL.len());

        let mut counters = DiscardCounters::default();
        for reason in Discard::ALL {
            counters.count(*reason);
        }
        assert!(Discard::ALL.iter().all(|reason| counters.of(*reason) == 1));
    }

    #[test]
    fn counters_serialise_without_zeros() {
        let mut counters = DiscardCounters::default();
        counters.count(Discard::BadTag);
        counters.count(Discard::BadTag);
        assert_eq!(serde_json::to_string(&counters).unwrap(), r#"{"bad_tag":2}"#);
        let read = r#"{"bad_tag":2,"of_another_version":1}"#;
        assert_eq!(serde_json::from_str::<DiscardCounters>(read).unwrap(), counters);
    }
}
