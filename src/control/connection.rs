//! What is asked about the connection and the process rather than a call.

use std::fmt;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::reading::{Misfit, ranged};
use super::terms::{CallName, Side};
use crate::wire::telephone_event::{Digit, DigitTime};

/// The longest datagram of `send_datagram`: an Ethernet payload.
pub const DATAGRAM_BYTES_MAX: usize = 1500;

/// Arguments of `take_control`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TakeControl {
    /// Close the connection of whoever is the controller, should there be another.
    pub force: bool,
}

/// Arguments of `ping`: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {}

/// Arguments of `query_process`: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryProcess {}

/// The result of what has nothing to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// Arguments of `send_datagram`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SendDatagram {
    /// The thread whose browser port sends.
    pub thread: usize,
    /// Where to.
    pub to: SocketAddr,
    /// 1 to [`DATAGRAM_BYTES_MAX`] bytes.
    #[serde(deserialize_with = "datagram_to_send")]
    pub payload: Datagram,
}

fn datagram_to_send<'de, D: Deserializer<'de>>(from: D) -> Result<Datagram, D::Error> {
    let datagram = Datagram::deserialize(from)?;
    if datagram.0.is_empty() || datagram.0.len() > DATAGRAM_BYTES_MAX {
        let message = format_args!("must hold 1 to {DATAGRAM_BYTES_MAX} bytes");
        return Err(de::Error::custom(message));
    }
    Ok(datagram)
}

/// A datagram, base64 on the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct Datagram(pub Vec<u8>);

impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Datagram({} bytes)", self.0.len())
    }
}

impl Serialize for Datagram {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Datagram {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = BASE64.decode(String::deserialize(from)?);
        bytes.map(Self).map_err(|error| de::Error::custom(format_args!("not base64: {error}")))
    }
}

/// Arguments of `send_digit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SendDigit {
    /// The call.
    pub call: CallName,
    /// The leg that the digit leaves by.
    pub leg: Side,
    /// `0`–`9`, `*`, `#`, `A`–`D`; letters may be small.
    pub digit: Digit,
    /// 40..=5,000; default 100.
    #[serde(default)]
    pub duration_ms: DigitTime,
}

/// Arguments of `subscribe`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "AnySubscribe")]
pub struct Subscribe {
    /// How often; 0 ends the subscription.
    pub interval_ms: Interval,
    /// One call only; absent: the process's counters.
    pub call: Option<CallName>,
    /// What of it.
    pub of: Subject,
}

/// [`Subscribe`] before it is known to make sense.
#[derive(Deserialize)]
struct AnySubscribe {
    interval_ms: Interval,
    #[serde(default)]
    call: Option<CallName>,
    #[serde(default)]
    of: Subject,
}

impl TryFrom<AnySubscribe> for Subscribe {
    type Error = Misfit;

    fn try_from(any: AnySubscribe) -> Result<Self, Misfit> {
        let AnySubscribe { interval_ms, call, of } = any;
        if of == Subject::Snapshot && call.is_none() {
            return Err(Misfit::at(".call", "missing: a snapshot is of one call"));
        }
        Ok(Self { interval_ms, call, of })
    }
}

ranged! {
    /// Milliseconds between two events; 0: no more.
    pub struct Interval(u32): |ms: u64| ms == 0 || (100..=60_000).contains(&ms),
        "must be 0, or 100 to 60000";
}

/// What a subscription is of.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Counters.
    #[default]
    Statistics,
    /// What is needed to go on with the call elsewhere; for the controller only, because it carries
    /// keys.
    Snapshot,
}
