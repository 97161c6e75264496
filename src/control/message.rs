//! Control protocol, version 1: the messages.
//!
//! A connection opens with the media process's [`Greeting`]. After that each line from the client is
//! a request `{"id":1,"command":"create_call","arguments":{…}}`, answered in order by
//! `{"id":1,"result":{…}}` or `{"id":1,"error":{"code":"…","message":"…"}}`, and the media process
//! sends events `{"event":"…","sequence":n,…}` in between. Unknown fields are ignored, unknown
//! commands are refused by name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::audio::opus::EncoderSettings;
use crate::base::discard::DiscardCounters;
use crate::srtp::keys::Profile;
pub use crate::wire::coding::{Codec, Coding, EventFormat};
use crate::wire::rtp::{PayloadType, RtpTimestamp, SequenceNumber, Ssrc};

/// The protocol's version; it changes when an old client could misread a new media process.
pub const PROTOCOL: u32 = 1;
/// The longest line either side may send, newline included. A `create_call` with a full blob is
/// 24 KiB; a punted datagram in base64 3 KiB.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// The longest blob that can be parked with a call.
pub const BLOB_BYTES_MAX: usize = 16 * 1024;
/// The longest call name.
pub const CALL_NAME_BYTES_MAX: usize = 128;
/// The most calls in one `list_calls` reply; fewer when their blobs would overrun the line.
pub const LIST_CALLS_MAX: usize = 64;

/// What the media process says first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Greeting {
    /// Always `linecard`.
    pub product: String,
    /// The product's version.
    pub version: String,
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Random, new with every start of the media process: calls of another generation are gone.
    pub generation: String,
    /// The media threads.
    pub threads: Vec<ThreadDescription>,
    /// Names of optional abilities; a client ignores the ones it does not know.
    pub capabilities: Vec<String>,
}

/// One media thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadDescription {
    /// Its number, from 0.
    pub thread: usize,
    /// The core it is pinned to.
    pub core: usize,
    /// The address of its shared port for ICE legs.
    pub browser: SocketAddr,
}

/// A call's name: chosen by the controller, unique in the media process, printable ASCII.
pub type CallName = String;

/// One of the two legs of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The first leg.
    A,
    /// The second leg.
    B,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Side; 2] = [Side::A, Side::B];

    /// The leg at the other end of the call.
    pub const fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// Position in a two-element array.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Every request.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Become the controller. Refused with `controlled_elsewhere` while another connection is.
    TakeControl,
    /// Answers with an empty result.
    Ping,
    /// Make a call with both its legs.
    CreateCall(Box<CreateCall>),
    /// Change what is named in one leg; what is absent stays.
    UpdateLeg(Box<UpdateLeg>),
    /// Replace the call's blob.
    Park(Park),
    /// End a call; its final statistics are the result.
    DeleteCall(CallArgument),
    /// A page of calls with their blobs, ordered by name.
    ListCalls(ListCalls),
    /// One call's statistics.
    QueryCall(CallArgument),
    /// Counters of the whole process.
    QueryProcess,
    /// Send a datagram from a thread's browser port (answers to punted STUN and DTLS).
    SendDatagram(SendDatagram),
    /// Send a digit as an RFC 4733 event out of one leg.
    SendDigit(SendDigit),
    /// Statistics events at an interval, for this connection.
    Subscribe(Subscribe),
}

impl Command {
    /// The command's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Command::TakeControl => "take_control",
            Command::Ping => "ping",
            Command::CreateCall(_) => "create_call",
            Command::UpdateLeg(_) => "update_leg",
            Command::Park(_) => "park",
            Command::DeleteCall(_) => "delete_call",
            Command::ListCalls(_) => "list_calls",
            Command::QueryCall(_) => "query_call",
            Command::QueryProcess => "query_process",
            Command::SendDatagram(_) => "send_datagram",
            Command::SendDigit(_) => "send_digit",
            Command::Subscribe(_) => "subscribe",
        }
    }

    /// Whether only the controller may give it.
    pub fn needs_control(&self) -> bool {
        matches!(
            self,
            Command::CreateCall(_)
                | Command::UpdateLeg(_)
                | Command::Park(_)
                | Command::DeleteCall(_)
                | Command::SendDatagram(_)
                | Command::SendDigit(_)
        )
    }
}

/// Arguments of `create_call`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateCall {
    /// The new call's name.
    pub call: CallName,
    /// Opaque to media, returned by `list_calls`: what the controller needs to pick the call up
    /// again after it was restarted. At most [`BLOB_BYTES_MAX`].
    #[serde(default)]
    pub blob: String,
    /// The first leg.
    pub a: LegParameters,
    /// The second leg.
    pub b: LegParameters,
}

/// How a leg is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegParameters {
    /// Where its packets come and go.
    pub transport: Transport,
    /// How they are protected.
    #[serde(default)]
    pub security: Security,
    /// What they carry. A leg without one neither sends nor accepts audio.
    #[serde(default)]
    pub format: Option<Format>,
}

/// Where a leg's packets come and go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Transport {
    /// The thread's shared browser port, RTP and RTCP together (RFC 5761). The remote address is
    /// the one that the controller nominated after an authenticated check, given by `update_leg`;
    /// media itself answers consent checks from there (RFC 7675).
    Ice(IceCredentials),
    /// A port pair of its own; packets are accepted from exactly the remote address.
    Plain {
        /// The far end's RTP address, when known.
        #[serde(default)]
        remote: Option<SocketAddr>,
        /// The far end's RTCP address; default: RTP port + 1.
        #[serde(default)]
        remote_rtcp: Option<SocketAddr>,
    },
}

/// What authenticates checks on an ICE leg (RFC 8445 §7.2.2: USERNAME is `local:remote`, keyed by
/// the local password).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCredentials {
    /// Our fragment.
    pub local_ufrag: String,
    /// Our password: keys the integrity of checks that the browser sends and of our answers.
    pub local_password: String,
    /// The browser's fragment, when known.
    #[serde(default)]
    pub remote_ufrag: Option<String>,
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceCredentials({}:{:?})", self.local_ufrag, self.remote_ufrag)
    }
}

/// How a leg's packets are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Security {
    /// Plain RTP.
    #[default]
    None,
    /// SRTP whose keys a handshake will bring: until then nothing is sent or accepted.
    Pending,
    /// SRTP with these keys.
    Srtp(SrtpKeys),
}

/// SRTP master keys of both directions, each key followed by its salt, in base64
/// ([`Profile::key_bytes`] + [`Profile::salt_bytes`]).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SrtpKeys {
    /// Protection profile.
    pub profile: Profile,
    /// Keys what media sends.
    pub send: String,
    /// Keys what media receives.
    pub receive: String,
}

impl std::fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SrtpKeys({:?}, …)", self.profile)
    }
}

/// What a leg carries. Payload types are those on the wire of that direction, so an answerer that
/// numbered its own differently is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// What media sends.
    pub send: SendFormat,
    /// What media accepts; more than one when the far end may choose per packet.
    pub receive: Vec<Coding>,
    /// The RFC 4733 event format that media sends; absent: digits are not sent out of this leg.
    #[serde(default)]
    pub send_events: Option<EventFormat>,
    /// The RFC 4733 event formats that media accepts.
    #[serde(default)]
    pub receive_events: Vec<EventFormat>,
    /// The payload types under which media accepts RED (RFC 2198) around a coding of `receive`.
    #[serde(default)]
    pub receive_redundancy: Vec<PayloadType>,
    /// The payload type of comfort noise (RFC 3389) that media sends in place of silence that the
    /// other leg leaves out; absent: silence is sent as audio, or is a pause.
    #[serde(default)]
    pub send_comfort_noise: Option<PayloadType>,
    /// The payload types of comfort noise that media accepts.
    #[serde(default)]
    pub receive_comfort_noise: Vec<PayloadType>,
}

/// What media sends out of a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendFormat {
    /// Codec and payload type.
    #[serde(flatten)]
    pub coding: Coding,
    /// Audio per packet in milliseconds: 10, 20, 30, 40 or 60 (Opus: not 30).
    #[serde(default = "default_packet_ms")]
    pub packet_ms: u8,
    /// Fixed encoder settings, used when `codec` is `opus` and the other leg's codec is not; absent:
    /// media chooses from its ladder, by abilities, loss and load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<EncoderSettings>,
    /// Whether the far end makes use of in-band FEC (`useinbandfec`, RFC 7587 §6.1).
    #[serde(default = "default_in_band_fec")]
    pub in_band_fec: bool,
    /// Redundancy that media may send around Opus; absent: the far end does not understand it.
    #[serde(default)]
    pub redundancy: Option<SendRedundancy>,
    /// How the packets are spaced.
    #[serde(default)]
    pub playout: Playout,
}

/// How the packets that leave a leg are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Playout {
    /// Each leaves when what is in it has come: no delay, and the spacing of the network.
    #[default]
    OnArrival,
    /// Evenly, after a delay that follows the network's jitter. Only what is decoded can be paced:
    /// not Opus toward a leg that sends Opus.
    Paced {
        /// The least delay in milliseconds.
        least_ms: u16,
        /// The most, 300 at most: what comes later is lost.
        most_ms: u16,
    },
}

/// How media may repeat what it sends (RED, RFC 2198).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendRedundancy {
    /// RED's payload type.
    pub payload_type: PayloadType,
}

impl From<PayloadType> for SendRedundancy {
    fn from(payload_type: PayloadType) -> Self {
        Self { payload_type }
    }
}

fn default_in_band_fec() -> bool {
    true
}

fn default_packet_ms() -> u8 {
    20
}

/// Arguments of `update_leg`: what is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateLeg {
    /// The call.
    pub call: CallName,
    /// The leg.
    pub leg: Side,
    /// The far end's RTP address (ICE: the nominated one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    /// The far end's RTCP address, plain legs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_rtcp: Option<SocketAddr>,
    /// The browser's ICE fragment, ICE legs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ufrag: Option<String>,
    /// New protection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// New format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
}

/// Arguments of `park`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Park {
    /// The call.
    pub call: CallName,
    /// The new blob.
    pub blob: String,
}

/// Arguments of commands that name a call only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallArgument {
    /// The call.
    pub call: CallName,
}

/// Arguments of `list_calls`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListCalls {
    /// Calls whose names sort after this one; absent: from the first.
    #[serde(default)]
    pub after: Option<CallName>,
}

/// Arguments of `send_datagram`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SendDatagram {
    /// The thread whose browser port sends.
    pub thread: usize,
    /// Where to.
    pub to: SocketAddr,
    /// Base64, at most 1,500 bytes decoded.
    pub payload: String,
}

/// Arguments of `send_digit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SendDigit {
    /// The call.
    pub call: CallName,
    /// The leg that the digit leaves by.
    pub leg: Side,
    /// `0`–`9`, `*`, `#`, `A`–`D`.
    pub digit: char,
    /// 40..=5,000; default 100.
    #[serde(default = "default_digit_ms")]
    pub duration_ms: u32,
}

fn default_digit_ms() -> u32 {
    100
}

/// Arguments of `subscribe`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscribe {
    /// 100..=60,000; 0 ends the subscription.
    pub interval_ms: u32,
    /// One call only; absent: the process's counters.
    #[serde(default)]
    pub call: Option<CallName>,
}

/// Result of `create_call`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallCreated {
    /// The thread that owns the call.
    pub thread: usize,
    /// Where the first leg's far end sends to.
    pub a: LocalAddresses,
    /// Where the second leg's far end sends to.
    pub b: LocalAddresses,
}

/// Where a leg's far end sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAddresses {
    /// RTP (ICE: everything).
    pub rtp: SocketAddr,
    /// RTCP; equal to `rtp` on an ICE leg.
    pub rtcp: SocketAddr,
}

/// Result of `list_calls`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallList {
    /// At most [`LIST_CALLS_MAX`], by name.
    pub calls: Vec<ListedCall>,
    /// Whether more sort after the last one.
    pub more: bool,
}

/// One call in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedCall {
    /// Its name.
    pub call: CallName,
    /// What the controller parked.
    pub blob: String,
    /// Where it lives and is reached.
    #[serde(flatten)]
    pub created: CallCreated,
}

/// Result of `query_call` and `delete_call`, and the body of a call's `statistics` event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallStatistics {
    /// The call.
    pub call: CallName,
    /// Its thread.
    pub thread: usize,
    /// Since `create_call`.
    pub age_ms: u64,
    /// The first leg.
    pub a: LegStatistics,
    /// The second leg.
    pub b: LegStatistics,
}

/// One leg's statistics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LegStatistics {
    /// The far end's address.
    pub remote: Option<SocketAddr>,
    /// RTP packets accepted.
    pub packets_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// Their payload bytes.
    pub bytes_sent: u64,
    /// Packets expected but never received (RFC 3550 §6.4.1), may be negative by duplicates.
    pub packets_lost: i64,
    /// Packets put back in order.
    pub packets_reordered: u64,
    /// Packets that were missing when a later one brought a copy (RFC 2198): lost, or only late.
    pub packets_recovered: u64,
    /// Frames rebuilt from in-band FEC.
    pub frames_recovered: u64,
    /// Frames concealed.
    pub frames_concealed: u64,
    /// Frames of silence sent without encoding them.
    pub frames_silent: u64,
    /// Packets received that stand for silence: comfort noise, and Opus without audio.
    pub packets_of_silence: u64,
    /// What paced playout does to what this leg is sent; null on a leg that sends on arrival.
    pub playout: Option<PlayoutStatistics>,
    /// Interarrival jitter of what was received, in milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: f64,
    /// Round trip by RTCP, when a report came.
    pub round_trip_ms: Option<f64>,
    /// How the Opus that this leg is sent is encoded: the name of a rung of the ladder, `fixed`, or null
    /// when none is.
    pub encoder: Option<String>,
    /// Loss that the far end last reported, in percent of the last interval.
    pub remote_loss_percent: Option<f64>,
    /// All it ever reported as lost.
    pub remote_packets_lost: Option<i64>,
    /// Jitter that the far end last reported, in milliseconds.
    pub remote_jitter_ms: Option<f64>,
    /// Telephone events received.
    pub events_received: u64,
    /// Telephone events sent.
    pub events_sent: u64,
    /// Position of the last packet accepted, then of the last packet sent.
    pub received: Option<Position>,
    /// Position of the last packet sent.
    pub sent: Option<Position>,
    /// Datagrams discarded, by reason.
    pub discards: serde_json::Map<String, Value>,
}

/// The delay of paced playout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayoutStatistics {
    /// How long the fastest packets wait now.
    pub delay_ms: u32,
    /// How long they should.
    pub target_ms: u32,
    /// Audio put in because nothing had come, or to follow a slow clock; pauses not counted.
    pub inserted_ms: u64,
    /// Audio left out to shorten the delay, or to follow a fast clock.
    pub dropped_ms: u64,
}

/// A place in an RTP stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Synchronisation source.
    pub ssrc: Ssrc,
    /// Sequence number.
    pub sequence_number: SequenceNumber,
    /// Times the sequence number wrapped (the SRTP roll-over counter).
    pub roll_over_counter: u32,
    /// RTP timestamp.
    pub timestamp: RtpTimestamp,
}

/// Result of `query_process`, and the body of the process's `statistics` event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatistics {
    /// Since the start of the media process.
    pub age_ms: u64,
    /// Calls refused because no core had room for them.
    #[serde(default)]
    pub calls_refused: u64,
    /// Requests refused, by error code; zeros are left out.
    #[serde(default)]
    pub refusals: BTreeMap<ErrorCode, u64>,
    /// One entry a thread.
    pub threads: Vec<ThreadStatistics>,
}

/// One media thread's statistics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThreadStatistics {
    /// Calls alive.
    pub calls: u64,
    /// Calls ever made.
    pub calls_created: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams punted to the controller.
    pub datagrams_punted: u64,
    /// Frames decoded.
    pub frames_decoded: u64,
    /// Frames encoded.
    pub frames_encoded: u64,
    /// Frames of silence sent without encoding them.
    pub frames_silent: u64,
    /// CPU time of the thread, in milliseconds.
    pub cpu_ms: f64,
    /// How much of its core the thread wanted in the last quarter of a second.
    pub load_percent: f64,
    /// How much of it one call is found to take.
    pub call_load_percent: f64,
    /// Calls that fit at that price.
    pub calls_max: u64,
    /// Times the thread found that it had not run for a second or more.
    pub pauses: u64,
    /// Times the ring had no receive buffer left.
    pub receive_buffers_exhausted: u64,
    /// Datagrams that the kernel dropped because a socket's receive buffer was full.
    pub receive_space_exhausted: u64,
    /// Receives that ended with another error (ICMP refusals, mostly).
    pub receive_errors: u64,
    /// Sends for which the socket or the device had no room.
    pub send_space_exhausted: u64,
    /// Sends that the kernel refused for another reason.
    pub send_errors: u64,
    /// Times the ring's submission queue was full in the middle of a batch.
    pub submissions_full: u64,
    /// Times the ring's completion queue was too small.
    pub completions_overflowed: u64,
    /// Port pairs that rest or are free.
    pub port_pairs_free: u64,
    /// Times a port pair was found to be held by another program.
    pub port_pairs_taken_elsewhere: u64,
    /// Datagrams discarded, by reason.
    pub discards: serde_json::Map<String, Value>,
}

/// Makes the `discards` map of a statistics message.
pub fn discard_map(counters: &DiscardCounters) -> serde_json::Map<String, Value> {
    match serde_json::to_value(counters) {
        Ok(Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    }
}

/// A refusal: `{"code":…,"message":…}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlError {
    /// Stable, for programs.
    pub code: ErrorCode,
    /// For people; says what to do instead.
    pub message: String,
    /// With `overloaded`: when a new attempt is worth making, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ControlError {
    /// A refusal with its explanation.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    /// The refusal of a call that would load the cores too much.
    pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> Self {
        let retry_after_ms = Some(retry_after.as_millis() as u64);
        Self { retry_after_ms, ..Self::new(ErrorCode::Overloaded, message) }
    }
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The line is not a JSON object; the connection is closed after this reply.
    BadJson,
    /// The line is longer than [`LINE_BYTES_MAX`]; the connection is closed after this reply.
    LineTooLong,
    /// `id` or `command` is missing or of the wrong type.
    BadRequest,
    /// No such command.
    UnknownCommand,
    /// The arguments are missing, of the wrong type, or out of range.
    BadArguments,
    /// The command needs `take_control` first.
    NotController,
    /// Another connection is the controller.
    ControlledElsewhere,
    /// No call has this name.
    UnknownCall,
    /// A call has this name already.
    CallExists,
    /// No such thread.
    UnknownThread,
    /// Every core has the calls it is allowed, or a queue is full.
    NoCapacity,
    /// One more call could load every core above its limit; try again after `retry_after_ms`.
    Overloaded,
    /// The port range is used up.
    NoPorts,
    /// The operating system refused (descriptors, memory).
    SystemRefused,
    /// The call cannot do this: no event format, no such combination of codecs.
    Unsupported,
}

/// What the media process says without being asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// STUN or DTLS that media does not answer itself; to the controller only.
    Datagram {
        /// The thread whose browser port received it.
        thread: usize,
        /// Its source.
        from: SocketAddr,
        /// Base64.
        payload: String,
    },
    /// A leg's first RTP packet was accepted.
    MediaStarted {
        /// The call.
        call: CallName,
        /// The leg.
        leg: Side,
    },
    /// A telephone event ended.
    TelephoneEvent {
        /// The call.
        call: CallName,
        /// The leg it came from.
        leg: Side,
        /// The digit.
        digit: char,
        /// How long it was held.
        duration_ms: u32,
    },
    /// An ICE leg had no authenticated check for 30 s (RFC 7675 §5.1): its browser is gone. Sent
    /// once; the call stays until it is deleted.
    ConsentExpired {
        /// The call.
        call: CallName,
        /// The leg.
        leg: Side,
    },
    /// Subscribed statistics of one call.
    CallStatistics(Box<CallStatistics>),
    /// Subscribed statistics of the process.
    ProcessStatistics(Box<ProcessStatistics>),
}
