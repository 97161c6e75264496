use super::*;
use crate::control::message::*;
use crate::srtp::keys::Profile;
use proptest::prelude::*;

const PAGE: &str = include_str!("../README.md");

fn commands() -> Vec<Command> {
    let call = || "c".to_owned();
    let format: Format = serde_json::from_value(json!({
        "send": {"codec": "opus", "payload_type": 111, "packet_ms": 40},
        "receive": [{"codec": "pcma", "payload_type": 8}],
        "receive_events": [{"payload_type": 101, "clock_hz": 8000}],
    }))
    .unwrap();
    let keys = SrtpKeys {
        profile: Profile::AEAD_AES_256_GCM,
        send: "c2VuZA==".to_owned(),
        receive: "cmVjZWl2ZQ==".to_owned(),
    };
    let leg = LegParameters {
        transport: Transport::Plain { remote: "127.0.0.1:4".parse().ok(), remote_rtcp: None },
        security: Security::Srtp(keys.clone()),
        format: Some(format.clone()),
    };
    let ice = IceCredentials {
        local_ufrag: "ufrag".to_owned(),
        local_password: "password".to_owned(),
        remote_ufrag: None,
    };
    let browser =
        LegParameters { transport: Transport::Ice(ice), security: Security::Pending, format: None };
    let update = UpdateLeg {
        call: call(),
        leg: Side::B,
        remote: "[::1]:4".parse().ok(),
        remote_rtcp: None,
        remote_ufrag: Some("r".to_owned()),
        security: Some(Security::Srtp(keys)),
        format: Some(format),
    };
    vec![
        Command::TakeControl,
        Command::Ping,
        Command::CreateCall(Box::new(CreateCall {
            call: call(),
            blob: "{\"quoted\":\"\\n\"}".to_owned(),
            a: browser,
            b: leg,
        })),
        Command::UpdateLeg(Box::new(update)),
        Command::Park(Park { call: call(), blob: "b".to_owned() }),
        Command::DeleteCall(CallArgument { call: call() }),
        Command::ListCalls(ListCalls { after: Some(call()) }),
        Command::QueryCall(CallArgument { call: call() }),
        Command::QueryProcess,
        Command::SendDatagram(SendDatagram {
            thread: 3,
            to: "192.0.2.1:9".parse().unwrap(),
            payload: "AA==".to_owned(),
        }),
        Command::SendDigit(SendDigit { call: call(), leg: Side::A, digit: '#', duration_ms: 80 }),
        Command::Subscribe(Subscribe { interval_ms: 1000, call: None }),
    ]
}

#[test]
fn every_command_survives_the_wire() {
    for command in commands() {
        let line = write_request(9, &command);
        assert!(!line.contains('\n'));
        assert_eq!(read_request(&line), Ok(Request { id: 9, command }));
    }
}

#[test]
fn the_page_names_every_command_event_and_error() {
    for command in commands() {
        assert!(PAGE.contains(&format!("| `{}`", command.name())), "{}", command.name());
        let marked = PAGE.contains(&format!("| `{}` C |", command.name()));
        assert_eq!(marked, command.needs_control(), "{}", command.name());
    }
    use ErrorCode::*;
    for code in [
        BadJson,
        LineTooLong,
        BadRequest,
        UnknownCommand,
        BadArguments,
        NotController,
        ControlledElsewhere,
        UnknownCall,
        CallExists,
        UnknownThread,
        NoCapacity,
        NoPorts,
        SystemRefused,
        Unsupported,
    ] {
        let name = serde_json::to_value(code).unwrap();
        assert!(PAGE.contains(&format!("`{}`", name.as_str().unwrap())), "{name}");
    }
    let statistics = [
        serde_json::to_value(LegStatistics::default()).unwrap(),
        serde_json::to_value(PlayoutStatistics::default()).unwrap(),
        serde_json::to_value(ThreadStatistics::default()).unwrap(),
    ];
    for field in statistics.iter().flat_map(|value| value.as_object().unwrap().keys()) {
        assert!(PAGE.contains(&format!("`{field}`")), "{field}");
    }
}

#[test]
fn replies_and_events_survive_the_wire() {
    let refused = Err(ControlError::new(ErrorCode::NoPorts, "none"));
    let line = write_reply(Some(4), &refused);
    assert_eq!(read_from_media(&line).unwrap(), FromMedia::Reply { id: Some(4), result: refused });
    for event in [
        Event::MediaStarted { call: "c".to_owned(), leg: Side::A },
        Event::ConsentExpired { call: "c".to_owned(), leg: Side::B },
        Event::TelephoneEvent { call: "c".to_owned(), leg: Side::A, digit: '*', duration_ms: 9 },
        Event::Datagram { thread: 0, from: "192.0.2.1:9".parse().unwrap(), payload: String::new() },
    ] {
        let line = write_event(3, &event);
        assert_eq!(read_from_media(&line).unwrap(), FromMedia::Event { sequence: 3, event });
    }
    let unknown = r#"{"event":"from_the_future","sequence":1}"#;
    assert_eq!(read_from_media(unknown).unwrap(), FromMedia::UnknownEvent);
}

#[test]
fn keys_and_passwords_are_not_printed() {
    let printed = format!("{:?}", commands());
    for secret in ["c2VuZA", "cmVjZWl2ZQ", "password"] {
        assert!(!printed.contains(secret), "{secret}");
    }
}

proptest! {
    #[test]
    fn any_line_is_read_or_refused(line in ".{0,200}") {
        let _ = read_request(&line);
        let _ = read_from_media(&line);
    }
}
