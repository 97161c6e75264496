use super::*;
use crate::control::message::*;
use crate::control::samples::{self, KEY_30, KEY_44, PASSWORD};
use proptest::prelude::*;

fn line(name: &str, arguments: &Value) -> String {
    json!({ "id": 9, "command": name, "arguments": arguments }).to_string()
}

/// The refusal of these arguments.
#[track_caller]
fn refused(name: &str, arguments: &Value) -> String {
    let bad = read_request(&line(name, arguments)).expect_err(&arguments.to_string());
    assert_eq!((bad.id, bad.error.code), (Some(9), ErrorCode::BadArguments), "{:?}", bad.error);
    bad.error.message
}

/// A place in a value, as the steps to it and as a refusal writes it.
#[derive(Clone, Default)]
struct Place(Vec<String>);

impl Place {
    fn step(&self, step: String) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    fn written(&self) -> String {
        let mut written = String::new();
        for step in &self.0 {
            match step.parse::<usize>() {
                Ok(index) => written.push_str(&format!("[{index}]")),
                Err(_) => written.push_str(&format!(".{step}")),
            }
        }
        written.trim_start_matches('.').to_owned()
    }

    fn pointer(&self) -> String {
        self.0.iter().map(|step| format!("/{step}")).collect()
    }

    fn find<'a>(&self, value: &'a mut Value) -> &'a mut Value {
        value.pointer_mut(&self.pointer()).unwrap()
    }
}

/// Every value inside `value`, itself included, with its place.
fn places(value: &Value, place: &Place, all: &mut Vec<(Place, Value)>) {
    all.push((place.clone(), value.clone()));
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| places(value, &place.step(name.clone()), all));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, item)| places(item, &place.step(index.to_string()), all));
        }
        _ => {}
    }
}

fn all_places() -> Vec<(&'static str, Value, Place, Value)> {
    let mut all = Vec::new();
    for (name, arguments) in samples::requests() {
        let mut of_sample = Vec::new();
        places(&arguments, &Place::default(), &mut of_sample);
        all.extend(of_sample.into_iter().map(|(place, at)| (name, arguments.clone(), place, at)));
    }
    all
}

#[test]
fn the_samples_say_all_that_can_be_said() {
    for described in Command::ALL {
        assert!(samples::requests().iter().any(|(name, _)| *name == described.name));
    }
    for command in samples::commands() {
        let mut all = Vec::new();
        places(&command.arguments(), &Place::default(), &mut all);
        for (place, value) in all {
            assert!(!value.is_null(), "{}.{} is in no sample", command.name(), place.written());
        }
    }
    let kinds: Vec<_> =
        [Transport::KINDS, Security::KINDS, Spacing::KINDS, Source::KINDS, Sound::KINDS].concat();
    for kind in kinds {
        assert!(all_places().iter().any(|(.., value)| value["kind"] == kind), "{kind}");
    }
    assert_eq!(samples::events().len(), Event::ALL.len());
    for (event, described) in samples::events().iter().zip(Event::ALL) {
        assert_eq!(event.name(), described.name);
    }
}

#[test]
fn every_command_survives_the_wire() {
    for ((name, arguments), command) in samples::requests().into_iter().zip(samples::commands()) {
        let written = write_request(9, &command);
        assert!(!written.contains('\n'));
        assert_eq!(written, line(name, &arguments));
        assert_eq!(read_request(&written), Ok(RequestLine { id: 9, command }));
    }
}

#[test]
fn what_is_absent_is_not_written() {
    let change = LegChange { dscp: Dscp::new(46), ..LegChange::default() };
    let command = change.of(CallName::from("c"), Side::A).into();
    assert_eq!(
        write_request(9, &command),
        line("update_leg", &json!({"call": "c", "leg": "a", "dscp": 46}))
    );
}

#[test]
fn an_unknown_member_is_refused_by_name_at_every_depth() {
    let mut objects = 0;
    for (name, arguments, place, at) in all_places() {
        if !at.is_object() {
            continue;
        }
        objects += 1;
        for value in [json!(1), json!(null), json!({}), json!(true)] {
            let mut changed = arguments.clone();
            place.find(&mut changed)["zzz"] = value;
            let message = refused(name, &changed);
            let expected = format!("{}: unknown; ", place.step("zzz".to_owned()).written());
            assert!(message.starts_with(&expected), "{message} is not {expected}");
        }
    }
    assert!(objects > 50, "{objects}");
}

#[test]
fn a_member_given_twice_is_refused_by_name_at_every_depth() {
    for (name, arguments, place, _) in all_places() {
        let Some((member, object)) = place.0.split_last() else { continue };
        let mut changed = arguments.clone();
        let object = Place(object.to_vec()).find(&mut changed);
        if object.is_array() {
            continue;
        }
        let twice = object[member].clone();
        object["AGAIN"] = twice;
        let text = line(name, &changed).replace("\"AGAIN\"", &format!("\"{member}\""));
        let error = read_request(&text).unwrap_err().error;
        assert_eq!(error.code, ErrorCode::BadArguments);
        assert_eq!(error.message, format!("{}: given twice", place.written()));
    }
}

#[test]
fn a_value_of_another_type_is_refused_by_name_at_every_depth() {
    let others = [
        json!(null),
        json!(true),
        json!(5),
        json!(-1),
        json!(1.5),
        json!("\u{7f}"),
        json!([]),
        json!({}),
    ];
    for (name, arguments, place, at) in all_places() {
        if place.0.is_empty() {
            continue;
        }
        // A natural number may be another one, but not become negative or a fraction.
        let same = |other: &Value| match at.is_u64() {
            true => other.is_u64(),
            false => std::mem::discriminant(other) == std::mem::discriminant(&at),
        };
        for other in others.iter().filter(|other| !same(other)) {
            let mut changed = arguments.clone();
            *place.find(&mut changed) = other.clone();
            let read = read_request(&line(name, &changed));
            // Absent and null are the same, where a member may be absent.
            if other.is_null() && read.is_ok() {
                continue;
            }
            let message = read.expect_err(&format!("{} = {other}", place.written())).error.message;
            // An empty object lacks what it must have.
            let place = place.written();
            let named =
                message.strip_prefix(&place).is_some_and(|rest| rest.starts_with([':', '.']));
            assert!(named, "{place} = {other}: {message}");
            assert!(!message.contains(" line ") && !message.contains(" column "), "{message}");
        }
    }
}

#[test]
fn a_list_of_values_does_not_pass_for_a_struct() {
    for (name, arguments, place, at) in all_places() {
        let Value::Object(members) = &at else { continue };
        let mut changed = arguments.clone();
        *place.find(&mut changed) = members.values().cloned().collect();
        let bad = read_request(&line(name, &changed)).unwrap_err();
        assert!(bad.error.message.starts_with(&place.written()), "{}", bad.error.message);
    }
}

#[test]
fn a_member_is_optional_or_missed_by_name() {
    for (name, arguments, place, _) in all_places() {
        let Some((member, object)) = place.0.split_last() else { continue };
        let mut changed = arguments.clone();
        let Value::Object(object) = Place(object.to_vec()).find(&mut changed) else { continue };
        object.remove(member);
        if let Err(bad) = read_request(&line(name, &changed)) {
            let missing = format!("{}: missing", place.written());
            assert!(bad.error.message.starts_with(&missing), "{}", bad.error.message);
        }
    }
}

#[test]
fn what_is_out_of_range_is_refused_by_name() {
    let samples = samples::requests();
    let long = |length: usize| "x".repeat(length);
    for (name, place, values) in [
        (
            "create_call",
            "call",
            vec![json!(""), json!(long(129)), json!("a b"), json!("é"), json!("a\n")],
        ),
        ("create_call", "blob", vec![json!(long(BLOB_BYTES_MAX + 1))]),
        ("create_call", "orphan_ms", vec![json!(86_400_001)]),
        ("create_call", "a.transport.kind", vec![json!("Ice"), json!("plain ")]),
        ("create_call", "a.transport.local_ufrag", vec![json!("abc"), json!(long(257))]),
        ("create_call", "a.transport.local_password", vec![json!(long(21)), json!(long(257))]),
        ("create_call", "a.transport.remote_ufrag", vec![json!(""), json!(long(257))]),
        (
            "create_call",
            "b.transport.local",
            vec![json!("192.0.2.1:0"), json!("192.0.2.1:40001"), json!("192.0.2.1")],
        ),
        ("create_call", "b.transport.remote", vec![json!("host:1"), json!("192.0.2.1:65536")]),
        (
            "create_call",
            "b.transport.source.prefixes",
            vec![json!([]), json!(vec!["192.0.2.1"; 33])],
        ),
        (
            "create_call",
            "b.transport.source.prefixes[1]",
            vec![json!("192.0.2.1/24"), json!("192.0.2.0/33"), json!("")],
        ),
        ("create_call", "a.security.profile", vec![json!("NULL_HMAC_SHA1_80")]),
        ("create_call", "a.security.send", vec![json!("AAAA"), json!(KEY_44), json!("not base64")]),
        ("create_call", "b.security.receive", vec![json!(""), json!(KEY_30)]),
        ("create_call", "a.format.send.codec", vec![json!("OPUS"), json!("g722")]),
        ("create_call", "a.format.send.payload_type", vec![json!(128), json!(256)]),
        ("create_call", "a.format.receive[1].payload_type", vec![json!(128)]),
        ("create_call", "a.format.receive_comfort_noise[1]", vec![json!(128)]),
        ("create_call", "a.format.send.encoder.mode", vec![json!("hybrid")]),
        ("create_call", "a.format.send.playout.most_ms", vec![json!(65_536)]),
        ("create_call", "a.direction", vec![json!("sendrec"), json!("SENDRECV")]),
        ("create_call", "a.dscp", vec![json!(64), json!(256)]),
        ("create_call", "a.media_timeout_ms", vec![json!(1), json!(999), json!(3_600_001)]),
        ("create_call", "a.resume.sent.rtp_index_next", vec![json!(1_u64 << 48)]),
        ("create_call", "a.resume.sent.rtcp_index_next", vec![json!(1_u64 << 31)]),
        ("create_call", "a.resume.sent.clock_hz", vec![json!(16_000)]),
        ("create_call", "a.resume.sent.cname", vec![json!(""), json!(long(256))]),
        ("create_call", "a.resume.received", vec![json!(vec![json!({"ssrc": 1}); 33])]),
        ("update_leg", "leg", vec![json!("c"), json!("A"), json!("")]),
        ("update_leg", "ice.local_password", vec![json!(long(21))]),
        ("update_leg", "dscp", vec![json!(64)]),
        ("park", "blob", vec![json!(long(BLOB_BYTES_MAX + 1))]),
        ("list_calls", "after", vec![json!("")]),
        ("subscribe", "interval_ms", vec![json!(1), json!(99), json!(60_001)]),
        ("subscribe", "of", vec![json!("keys")]),
        ("send_datagram", "payload", vec![json!(""), json!("?"), json!("A".repeat(2_004))]),
        ("send_digit", "digit", vec![json!("x"), json!("12"), json!("")]),
        ("send_digit", "duration_ms", vec![json!(39), json!(5_001)]),
        ("play", "what.hz", vec![json!([]), json!([440, 440, 440, 440, 440])]),
        ("play", "what.hz[0]", vec![json!(49), json!(3_801)]),
        ("play", "what.on_ms", vec![json!(19), json!(60_001)]),
        ("play", "what.off_ms", vec![json!(60_001)]),
        ("play", "what.level_dbov", vec![json!(1), json!(-61)]),
        ("play", "repeat", vec![json!(0), json!(10_001)]),
        ("load_audio", "name", vec![json!(""), json!(long(65)), json!("a b")]),
        (
            "load_audio",
            "path",
            vec![
                json!("welcome.wav"),
                json!(""),
                json!("/a\0"),
                json!(format!("/{}", long(4_096))),
            ],
        ),
    ] {
        let (_, sample) = samples.iter().find(|(sample, _)| *sample == name).unwrap();
        let pointer = format!("/{place}").replace(['.', '['], "/").replace(']', "");
        for value in values {
            let mut changed = sample.clone();
            *changed.pointer_mut(&pointer).expect(place) = value;
            let message = refused(name, &changed);
            assert!(message.starts_with(&format!("{place}: ")), "{place}: {message}");
        }
    }
}

#[test]
fn a_refusal_does_not_repeat_a_key() {
    let (name, mut arguments) = samples::requests().swap_remove(2);
    arguments["a"]["security"]["send"] = json!("c2VjcmV0");
    assert!(!refused(name, &arguments).contains("c2VjcmV0"));
}

#[test]
fn what_is_misspelt_beside_the_arguments_is_refused() {
    for (line, id, code, message) in [
        (r#"{"command":"ping"}"#, None, ErrorCode::BadRequest, "id: "),
        (r#"{"id":-1,"command":"ping"}"#, None, ErrorCode::BadRequest, "id: "),
        (r#"{"id":1,"id":2,"command":"ping"}"#, None, ErrorCode::BadRequest, "id: given twice"),
        (r#"{"id":1}"#, Some(1), ErrorCode::BadRequest, "command: "),
        (r#"{"id":1,"command":5}"#, Some(1), ErrorCode::BadRequest, "command: "),
        (
            r#"{"id":1,"command":"ping","command":"ping"}"#,
            Some(1),
            ErrorCode::BadRequest,
            "command: given twice",
        ),
        (
            r#"{"id":1,"command":"ping","arguments":{},"arguments":{}}"#,
            Some(1),
            ErrorCode::BadRequest,
            "arguments: given twice",
        ),
        (
            r#"{"id":1,"command":"ping","argument":{}}"#,
            Some(1),
            ErrorCode::BadRequest,
            "argument: unknown",
        ),
        (
            r#"{"id":1,"command":"ping","arguments":[]}"#,
            Some(1),
            ErrorCode::BadRequest,
            "arguments: must be an object",
        ),
        (
            r#"{"id":1,"command":"ping","arguments":null}"#,
            Some(1),
            ErrorCode::BadRequest,
            "arguments: must be an object",
        ),
        (
            r#"{"id":1,"command":"pong"}"#,
            Some(1),
            ErrorCode::UnknownCommand,
            "no command is called `pong`",
        ),
        (r#"[1,"ping"]"#, None, ErrorCode::BadJson, "not a JSON object"),
        (r#"{"id":1,"command":"ping"} {}"#, None, ErrorCode::BadJson, "not JSON"),
        ("", None, ErrorCode::BadJson, "not JSON"),
    ] {
        let bad = read_request(line).expect_err(line);
        assert_eq!((bad.id, bad.error.code), (id, code), "{line}");
        assert!(bad.error.message.starts_with(message), "{line}: {}", bad.error.message);
    }
}

#[test]
fn replies_and_events_survive_the_wire() {
    let refused = Err(ControlError::new(ErrorCode::NoPorts, "none"));
    let line = write_reply(Some(4), &refused);
    assert_eq!(read_from_media(&line).unwrap(), FromMedia::Reply { id: Some(4), result: refused });
    for event in samples::events() {
        let line = write_event(3, &event);
        assert!(line.len() < LINE_BYTES_MAX);
        assert_eq!(read_from_media(&line).unwrap(), FromMedia::Event { sequence: 3, event });
    }
}

/// Adds a member to every object, but for the map of refusals, in which it would be a code.
fn with_more(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| match name.as_str() {
                "refusals" => (name, value),
                _ => (name, with_more(value)),
            })
            .chain([("zzz".to_owned(), json!(1))])
            .collect(),
        Value::Array(items) => items.into_iter().map(with_more).collect(),
        other => other,
    }
}

#[test]
fn a_client_ignores_what_it_does_not_know() {
    for event in samples::events() {
        let line = with_more(serde_json::from_str(&write_event(3, &event)).unwrap()).to_string();
        assert_eq!(read_from_media(&line).unwrap(), FromMedia::Event { sequence: 3, event });
    }
    let unknown = r#"{"event":"from_the_future","sequence":1}"#;
    assert_eq!(read_from_media(unknown).unwrap(), FromMedia::UnknownEvent);
    let greeting = Greeting::of_this_version();
    let more = with_more(serde_json::to_value(&greeting).unwrap());
    assert_eq!(serde_json::from_value::<Greeting>(more).unwrap(), greeting);
    let of_version_1 = r#"{"product":"linecard","version":"0","protocol":1,"generation":"g",
        "threads":[],"capabilities":[]}"#;
    assert_eq!(serde_json::from_str::<Greeting>(of_version_1).unwrap().protocol, 1);
}

#[test]
fn a_snapshot_given_back_makes_the_same_leg() {
    let snapshot = samples::call_snapshot();
    let read = serde_json::to_value(&snapshot).unwrap();
    let arguments = json!({"call": "c", "blob": read["blob"], "a": read["a"], "b": read["b"]});
    let request = read_request(&line("create_call", &arguments)).unwrap();
    let Command::CreateCall(create) = request.command else { panic!() };
    assert_eq!((create.a, create.b), (snapshot.a, snapshot.b));
}

#[test]
fn every_command_has_the_result_that_is_its_own() {
    fn result_of<R: Request>(_: &R, result: R::Result) -> Value {
        R::outcome(result).to_value()
    }
    assert_eq!(result_of(&Ping {}, Done {}), json!({}));
    let loaded = AudioLoaded { duration_ms: 1_500 };
    let load = LoadAudio { name: "n".to_owned(), path: "/n".to_owned() };
    assert_eq!(result_of(&load, loaded), json!({"duration_ms": 1_500}));
    let statistics = samples::call_statistics();
    let value = result_of(&QueryCall { call: "c".into() }, statistics.clone());
    assert_eq!(serde_json::from_value::<CallStatistics>(value).unwrap(), statistics);
    assert_eq!(Command::from(load).name(), LoadAudio::NAME);
}

#[test]
fn snapshots_are_for_the_controller_only() {
    let subscribe = |of| {
        let (interval_ms, call) = (Interval::new(100).unwrap(), Some(CallName::from("c")));
        Command::from(Subscribe { interval_ms, call, of })
    };
    assert!(!subscribe(Subject::Statistics).needs_control());
    assert!(subscribe(Subject::Snapshot).needs_control());
    let of_the_process = json!({"interval_ms": 100, "of": "snapshot"});
    assert!(refused("subscribe", &of_the_process).starts_with("call: missing"));
}

#[test]
fn keys_and_passwords_are_not_printed() {
    let printed = format!("{:?} {:?}", samples::commands(), samples::events());
    for secret in [KEY_30, KEY_44, PASSWORD, "secret", "c2Vj"] {
        assert!(!printed.contains(secret), "{secret}");
    }
}

/// Every member and every example of the page of version 1.
#[test]
fn what_version_1_documented_is_understood() {
    let pages_leg = json!({
        "transport": {"kind": "ice", "local_ufrag": "ours", "local_password": PASSWORD, "remote_ufrag": "it"},
        "security": {"kind": "pending"},
        "format": {"send": {"codec": "opus", "payload_type": 111, "packet_ms": 20},
                   "receive": [{"codec": "opus", "payload_type": 111}],
                   "send_events": {"payload_type": 110, "clock_hz": 48_000},
                   "receive_events": [{"payload_type": 110, "clock_hz": 48_000}]},
    });
    let trunk = json!({
        "transport": {"kind": "plain", "remote": "192.0.2.1:4000", "remote_rtcp": "192.0.2.1:4001"},
        "security": {"kind": "srtp", "profile": "AES_CM_128_HMAC_SHA1_80", "send": KEY_30, "receive": KEY_30},
        "format": {
            "send": {"codec": "pcmu", "payload_type": 0, "packet_ms": 30, "in_band_fec": true,
                     "encoder": {"mode": "silk", "bit_rate": 48_000, "complexity": 0, "fec": true,
                                 "expected_loss_percent": 5},
                     "playout": {"kind": "paced", "least_ms": 0, "most_ms": 300},
                     "redundancy": {"payload_type": 63}},
            "receive": [{"codec": "pcmu", "payload_type": 0}],
            "receive_redundancy": [63], "send_comfort_noise": 13, "receive_comfort_noise": [13],
        },
    });
    let bare = json!({"transport": {"kind": "plain"}});
    let mut plain_security = bare.clone();
    plain_security["security"] = json!({"kind": "none"});
    let mut on_arrival = trunk.clone();
    on_arrival["format"]["send"]["playout"] = json!({"kind": "on_arrival"});
    let change = json!({"call": "c1", "leg": "b", "remote": "192.0.2.1:4000",
        "remote_rtcp": "192.0.2.1:4001", "remote_ufrag": "it", "security": trunk["security"],
        "format": trunk["format"]});
    for (name, arguments) in [
        ("take_control", json!({})),
        ("ping", json!({})),
        ("create_call", json!({"call": "c1", "a": pages_leg, "b": trunk})),
        ("create_call", json!({"call": "c1", "blob": "b", "a": bare, "b": plain_security})),
        ("create_call", json!({"call": "c1", "blob": "b", "a": on_arrival, "b": bare})),
        ("update_leg", change),
        ("update_leg", json!({"call": "c1", "leg": "a"})),
        ("park", json!({"call": "c1", "blob": "b"})),
        ("delete_call", json!({"call": "c1"})),
        ("list_calls", json!({})),
        ("list_calls", json!({"after": "c1"})),
        ("query_call", json!({"call": "c1"})),
        ("query_process", json!({})),
        ("send_datagram", json!({"thread": 0, "to": "192.0.2.1:9", "payload": "AA=="})),
        ("send_digit", json!({"call": "c1", "leg": "a", "digit": "5"})),
        ("send_digit", json!({"call": "c1", "leg": "a", "digit": "d", "duration_ms": 40})),
        ("subscribe", json!({"interval_ms": 0})),
        ("subscribe", json!({"interval_ms": 100, "call": "c1"})),
    ] {
        let read = read_request(&line(name, &arguments));
        assert_eq!(read.as_ref().map(|read| read.command.name()), Ok(name), "{read:?}");
    }
    read_request(r#"{"id":1,"command":"take_control"}"#).unwrap();
    assert_eq!(Greeting::of_this_version().compatible, [1, 2]);
}

proptest! {
    #[test]
    fn any_line_is_read_or_refused(line in ".{0,200}") {
        let _ = read_request(&line);
        let _ = read_from_media(&line);
    }
}
