//! What is counted: of a leg, a call, a thread and the process.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::error::ErrorCode;
use super::terms::{CallName, Direction};
use crate::base::discard::DiscardCounters;
use crate::wire::rtp::{RtpTimestamp, SequenceNumber, Ssrc};

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
    /// Which way audio goes.
    pub direction: Direction,
    /// Since the last RTP packet was accepted, in milliseconds; null before the first.
    pub silent_ms: Option<u64>,
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
    /// Position of the last packet accepted.
    pub received: Option<Position>,
    /// Position of the last packet sent.
    pub sent: Option<Position>,
    /// Datagrams discarded, by reason.
    pub discards: DiscardCounters,
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
    pub discards: DiscardCounters,
}
