//! A request of every command that says all that can be said, and a result of each kind.

use serde_json::{Value, json};

use super::message::*;
use crate::base::discard::{Discard, DiscardCounters};
use crate::wire::rtp::{RtpTimestamp, SequenceNumber, Ssrc};

/// Base64 of 30 and of 44 bytes: `AES_CM_128_HMAC_SHA1_80` and `AEAD_AES_256_GCM`.
pub const KEY_30: &str = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
pub const KEY_44: &str = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTI=";
pub const PASSWORD: &str = "secretsecretsecretsecret";

fn format() -> Value {
    json!({
        "send": {
            "codec": "opus", "payload_type": 111, "packet_ms": 40,
            "encoder": {"mode": "celt", "bit_rate": 64_000, "complexity": 5, "fec": false,
                        "expected_loss_percent": 20},
            "in_band_fec": false,
            "redundancy": {"payload_type": 63},
            "playout": {"kind": "paced", "least_ms": 20, "most_ms": 120},
        },
        "receive": [{"codec": "pcma", "payload_type": 8}, {"codec": "pcmu", "payload_type": 0}],
        "send_events": {"payload_type": 101, "clock_hz": 8_000},
        "receive_events": [{"payload_type": 102, "clock_hz": 48_000}],
        "receive_redundancy": [64],
        "send_comfort_noise": 13,
        "receive_comfort_noise": [13, 19],
        "receive_tones": true,
    })
}

fn resume() -> Value {
    json!({
        "taken_ms": 1_700_000_000_000_u64,
        "sent": {"ssrc": 1, "cname": "a", "rtp_index_next": 281_474_976_710_655_u64,
                 "rtcp_index_next": 7, "clock_hz": 48_000, "timestamp": 4_294_967_295_u32,
                 "position": 9_007_199_254_740_993_u64, "packets": 5, "bytes": 800},
        "received": [{"ssrc": 2, "rtp_index": 65_536, "rtcp_index": 3}],
        "nominated": {"remote": "[2001:db8::1]:4000", "consent_age_ms": 1_200},
    })
}

fn ice_leg() -> Value {
    json!({
        "transport": {"kind": "ice", "local_ufrag": "ours", "local_password": PASSWORD,
                      "remote_ufrag": "theirs"},
        "security": {"kind": "srtp", "profile": "AES_CM_128_HMAC_SHA1_80", "send": KEY_30,
                     "receive": KEY_30},
        "format": format(), "direction": "sendonly", "dscp": 46, "media_timeout_ms": 30_000,
        "resume": resume(),
    })
}

fn plain_leg() -> Value {
    json!({
        "transport": {"kind": "plain", "remote": "192.0.2.1:4000", "remote_rtcp": "192.0.2.1:4009",
                      "local": "192.0.2.10:40000",
                      "source": {"kind": "within",
                                 "prefixes": ["198.51.100.0/24", "2001:db8::/32"]}},
        "security": {"kind": "srtp", "profile": "AEAD_AES_256_GCM", "send": KEY_44,
                     "receive": KEY_44},
        "format": format(), "direction": "inactive", "dscp": 0, "media_timeout_ms": 0,
        "resume": resume(),
    })
}

/// Names and arguments. Together they have every member of every message and every kind.
pub fn requests() -> Vec<(&'static str, Value)> {
    let mut unit_kinds = plain_leg();
    unit_kinds["transport"]["source"] = json!({"kind": "exact"});
    unit_kinds["security"] = json!({"kind": "none"});
    unit_kinds["format"]["send"]["playout"] = json!({"kind": "on_arrival"});
    let play = |what: Value| json!({"call": "c", "leg": "b", "what": what, "repeat": 3});
    vec![
        ("take_control", json!({"force": true})),
        ("ping", json!({})),
        (
            "create_call",
            json!({"call": "c", "blob": "{\"quoted\":\"\\n\"}", "a": ice_leg(), "b": plain_leg(),
                   "thread": 1, "orphan_ms": 60_000}),
        ),
        (
            "update_leg",
            json!({"call": "c", "leg": "a", "remote": "[2001:db8::1]:4000",
                   "remote_rtcp": "[2001:db8::1]:4001", "source": {"kind": "exact"},
                   "remote_ufrag": "theirs",
                   "ice": {"local_ufrag": "ours", "local_password": PASSWORD,
                           "remote_ufrag": "theirs"},
                   "security": {"kind": "pending"}, "format": format(), "direction": "recvonly",
                   "dscp": 63, "media_timeout_ms": 1_000}),
        ),
        ("exchange_legs", json!({"call": "c", "leg": "b", "with": "d", "with_leg": "a"})),
        ("replace_leg", json!({"call": "c", "leg": "b", "with": unit_kinds})),
        ("park", json!({"call": "c", "blob": "b"})),
        ("delete_call", json!({"call": "c"})),
        ("list_calls", json!({"after": "c"})),
        ("query_call", json!({"call": "c"})),
        ("query_process", json!({})),
        ("snapshot", json!({"call": "c"})),
        ("subscribe", json!({"interval_ms": 1_000, "call": "c", "of": "snapshot"})),
        ("send_datagram", json!({"thread": 3, "to": "192.0.2.1:9", "payload": "AAEC"})),
        ("send_digit", json!({"call": "c", "leg": "a", "digit": "#", "duration_ms": 80})),
        (
            "play",
            play(json!({"kind": "tone", "hz": [440, 480], "on_ms": 2_000, "off_ms": 4_000,
                        "level_dbov": -13})),
        ),
        ("play", play(json!({"kind": "ringback", "country": "GB"}))),
        ("play", play(json!({"kind": "file", "name": "welcome"}))),
        ("play", play(json!({"kind": "silence"}))),
        ("stop_playing", json!({"call": "c", "leg": "a"})),
        ("load_audio", json!({"name": "welcome", "path": "/srv/welcome.wav"})),
        ("unload_audio", json!({"name": "welcome"})),
    ]
}

/// The samples as commands.
pub fn commands() -> Vec<Command> {
    let read = |(name, arguments): (&str, Value)| Command::read(name, &arguments).unwrap().unwrap();
    requests().into_iter().map(read).collect()
}

pub fn leg_statistics() -> LegStatistics {
    let position = Position {
        ssrc: Ssrc(1),
        sequence_number: SequenceNumber(2),
        roll_over_counter: 3,
        timestamp: RtpTimestamp(4),
    };
    let mut discards = DiscardCounters::default();
    discards.count(Discard::BadTag);
    LegStatistics {
        remote: "192.0.2.1:4".parse().ok(),
        playout: Some(PlayoutStatistics::default()),
        received: Some(position),
        sent: Some(position),
        discards,
        ..LegStatistics::default()
    }
}

pub fn call_statistics() -> CallStatistics {
    let (a, b) = (leg_statistics(), LegStatistics::default());
    CallStatistics { call: "c".into(), thread: 0, age_ms: 1, a, b }
}

pub fn process_statistics() -> ProcessStatistics {
    ProcessStatistics {
        age_ms: 1,
        calls_refused: 2,
        refusals: [(ErrorCode::NoPorts, 3)].into(),
        threads: vec![ThreadStatistics::default()],
    }
}

pub fn call_snapshot() -> CallSnapshot {
    let leg = |leg: Value| serde_json::from_value(leg).unwrap();
    CallSnapshot {
        call: "c".into(),
        thread: 0,
        blob: "b".to_owned(),
        a: leg(ice_leg()),
        b: leg(plain_leg()),
    }
}

/// An event of every kind.
pub fn events() -> Vec<Event> {
    let call = || CallName::from("c");
    let address = "192.0.2.1:9".parse().unwrap();
    let local = LocalAddresses { rtp: address, rtcp: address };
    let leg = Side::B;
    vec![
        Event::Datagram { thread: 0, from: address, payload: Datagram(vec![1; 2_000]) },
        Event::MediaStarted { call: call(), leg },
        Event::MediaTimeout { call: call(), leg, silent_ms: 30_000 },
        Event::TelephoneEvent { call: call(), leg, digit: '*', duration_ms: 9 },
        Event::ConsentExpired { call: call(), leg },
        Event::UnknownSource { call: call(), leg, from: address, expected: None },
        Event::SourceLearnt { call: call(), leg, remote: address },
        Event::PlayEnded { call: call(), leg, why: PlayEnd::LegReplaced },
        Event::CallCreated { call: call(), thread: 0, a: local, b: local },
        Event::CallParked { call: call() },
        Event::CallDeleted {
            call: call(),
            why: CallEnd::Orphaned,
            statistics: Some(Box::new(call_statistics())),
        },
        Event::ControllerReplaced {},
        Event::CallStatistics(Box::new(call_statistics())),
        Event::ProcessStatistics(Box::new(process_statistics())),
        Event::CallSnapshot(Box::new(call_snapshot())),
    ]
}
