//! Messages as browsers and trunks send them, what must not get through, and properties.

use super::*;
use proptest::prelude::*;

/// JsSIP 3.10 over WSS.
const JSSIP_REGISTER: &str = "REGISTER sip:example.com SIP/2.0\r\n\
    Via: SIP/2.0/WSS 9d2a7h5k1l0p.invalid;branch=z9hG4bK4721943\r\n\
    Max-Forwards: 69\r\n\
    To: <sip:1001@example.com>\r\n\
    From: <sip:1001@example.com>;tag=t7l6p1qfm2\r\n\
    Call-ID: 0o3e5uqe2h1k3fpvkpv5c5\r\n\
    CSeq: 1 REGISTER\r\n\
    Contact: <sip:qhfpa3r6@9d2a7h5k1l0p.invalid;transport=ws>;+sip.ice;reg-id=1;\
    +sip.instance=\"<urn:uuid:a7bdb3f5-6d62-4a01-8bb4-4c5c3eb3d2f5>\";expires=600\r\n\
    Expires: 600\r\n\
    Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\n\
    Supported: path,gruu,outbound\r\n\
    User-Agent: JsSIP 3.10.1\r\n\
    Content-Length: 0\r\n\
    \r\n";

/// SIP.js 0.21 over WSS; the display name is quoted, the tag comes after blanks of none.
const SIPJS_INVITE: &str = "INVITE sip:+442079460018@example.com SIP/2.0\r\n\
    Via: SIP/2.0/WSS 5v1g3nl0sdqk.invalid;branch=z9hG4bK8263911\r\n\
    Max-Forwards: 70\r\n\
    To: <sip:+442079460018@example.com>\r\n\
    From: \"1001\" <sip:1001@example.com>;tag=3mq2d5s9u0\r\n\
    Call-ID: 1d7k2l9vqps3e6m1tn0c\r\n\
    CSeq: 1 INVITE\r\n\
    Contact: <sip:x8u2m1ka@5v1g3nl0sdqk.invalid;transport=ws;ob>\r\n\
    Allow: ACK,BYE,CANCEL,INFO,INVITE,MESSAGE,NOTIFY,OPTIONS,PRACK,REFER,REGISTER,SUBSCRIBE\r\n\
    Supported: outbound\r\n\
    User-Agent: SIP.js/0.21.1\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 5\r\n\
    \r\n\
    v=0\r\n";

fn request(text: &str) -> Request {
    match parse_websocket(text.as_bytes()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn problem(text: &str) -> Malformed {
    parse_datagram(text.as_bytes()).unwrap_err().problem()
}

#[test]
fn a_browsers_registration_is_read() {
    let register = request(JSSIP_REGISTER);
    let contact = register.headers.contact().unwrap();
    assert_eq!(contact.instance(), Some("<urn:uuid:a7bdb3f5-6d62-4a01-8bb4-4c5c3eb3d2f5>"));
    assert_eq!((contact.reg_id(), contact.expires_s()), (Some(1), Some(600)));
    assert!(contact.parameters.has("+sip.ice"));
    assert_eq!(contact.uri.user(), Some("qhfpa3r6"));
    let via = register.headers.top_via().unwrap();
    assert_eq!(via.transport, Transport::Wss);
    assert_eq!(via.sent_by.to_string(), "9d2a7h5k1l0p.invalid");
    assert!(register.headers.lists(&HeaderName::Supported, "OutBound"));
    assert!(!register.headers.lists(&HeaderName::Supported, "100rel"));
}

#[test]
fn a_browsers_call_is_read() {
    let invite = request(SIPJS_INVITE);
    assert_eq!(invite.uri.user(), Some("+442079460018"));
    let from = invite.headers.from().unwrap();
    assert_eq!((from.display_name.as_deref(), from.tag()), (Some("1001"), Some("3mq2d5s9u0")));
    assert_eq!(invite.headers.content_type().unwrap().unwrap().media_type, "application/sdp");
    assert_eq!(invite.body, b"v=0\r\n");
}

#[test]
fn a_websocket_message_needs_no_content_length_and_may_not_have_a_wrong_one() {
    let without = SIPJS_INVITE.replace("Content-Length: 5\r\n", "");
    assert_eq!(request(&without).body, b"v=0\r\n");
    for length in ["4", "6", "0"] {
        let wrong = SIPJS_INVITE.replace("Length: 5", &format!("Length: {length}"));
        let refused = parse_websocket(wrong.as_bytes()).unwrap_err();
        assert_eq!(refused.response().unwrap().status, Status::BAD_REQUEST);
        assert_eq!(refused.problem(), Malformed::ContentLength);
    }
}

#[test]
fn a_datagram_is_trimmed_to_its_content_length() {
    let Ok(Message::Request(trimmed)) =
        parse_datagram(SIPJS_INVITE.replace("Length: 5", "Length: 3").as_bytes())
    else {
        panic!()
    };
    assert_eq!(trimmed.body, b"v=0");
    assert_eq!(problem(&SIPJS_INVITE.replace("Length: 5", "Length: 6")), Malformed::ContentLength);
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    for (from, to, expected) in [
        ("CSeq: 1 INVITE", "CSeq: 1 INVITE\r\nCSeq: 1 INVITE", Malformed::CSeq),
        ("Call-ID: 1", "Call-ID: 2\r\ni: 1", Malformed::CallId),
        ("To: <", "To: <sip:a@b>\r\nt: <", Malformed::To),
        ("From: \"", "From: <sip:a@b>;tag=1\r\nf: \"", Malformed::From),
        ("Content-Length: 5", "Content-Length: 5\r\nl: 5", Malformed::ContentLength),
        ("Content-Length: 5", "Content-Length: +5", Malformed::ContentLength),
        ("Content-Length: 5", "Content-Length: 5, 5", Malformed::ContentLength),
        ("Content-Length: 5", "Content-Length:", Malformed::ContentLength),
        ("Max-Forwards: 70", "Max-Forwards: 70\nX: y", Malformed::ControlCharacter),
        ("Max-Forwards: 70", "Max-Forwards: 70\rX: y", Malformed::ControlCharacter),
        ("Max-Forwards: 70", "Subject: a\0b", Malformed::ControlCharacter),
        ("Max-Forwards: 70", "Subject: \"a\\\rb\"", Malformed::ControlCharacter),
        ("Max-Forwards: 70", "Subject : \"\0\"", Malformed::ControlCharacter),
        ("Max-Forwards: 70", "Max Forwards: 70", Malformed::HeaderLine),
        ("Max-Forwards: 70", ": 70", Malformed::HeaderLine),
        ("Max-Forwards: 70", "no colon", Malformed::HeaderLine),
        ("Max-Forwards: 70", "Max-Forwards: +70", Malformed::MaxForwards),
        ("SIP/2.0\r\nVia", "SIP/2.0\r\n folded: x\r\nVia", Malformed::HeaderLine),
        ("INVITE sip", "INVITE\tsip", Malformed::StartLine),
        ("INVITE sip", "INV\0ITE sip", Malformed::ControlCharacter),
        ("SIP/2.0/WSS 5v", "SIP/2.0/WSS  ;5v", Malformed::Via),
        ("branch=z9hG4bK8263911", "branch=z9hG4bK8263911;branch=b", Malformed::Via),
        ("tag=3mq2d5s9u0", "tag=3mq2d5s9u0;TAG=x", Malformed::From),
        ("transport=ws;ob>", "transport=ws;ob>, *", Malformed::Contact),
        (";ob>\r\n", ";ob>;expires=\r\n", Malformed::Contact),
    ] {
        let text = SIPJS_INVITE.replacen(from, to, 1);
        assert_ne!(text, SIPJS_INVITE, "{from}");
        assert_eq!(problem(&text), expected, "{to}");
    }
}

#[test]
fn a_blank_before_the_colon_is_part_of_no_name() {
    let text = SIPJS_INVITE.replace("Max-Forwards: 70", "Max-Forwards \t: 70\r\nX-Secret : 1");
    let invite = request(&text);
    assert_eq!(invite.headers.max_forwards(), Ok(Some(70)));
    assert_eq!(invite.headers.first(&HeaderName::parse("x-secret").unwrap()), Some("1"));
}

#[test]
fn limits_are_kept() {
    let with = |line: &str| SIPJS_INVITE.replacen("Max-Forwards: 70\r\n", line, 1);
    assert_eq!(problem(&with(&"X: y\r\n".repeat(HEADERS_MAX))), Malformed::TooManyHeaders);
    let long = format!("X: {}\r\n", "y".repeat(HEADER_BYTES_MAX));
    assert_eq!(problem(&with(&long)), Malformed::HeaderTooLong);
    let folded = format!("X: y\r\n{}", " z\r\n".repeat(HEADER_BYTES_MAX));
    assert_eq!(problem(&with(&folded)), Malformed::HeaderTooLong);
    let uri = SIPJS_INVITE.replacen("sip:+44", &format!("sip:{}", "1".repeat(URI_BYTES_MAX)), 1);
    let refused = parse_datagram(uri.as_bytes()).unwrap_err().response().unwrap();
    assert_eq!(refused.status, Status::REQUEST_URI_TOO_LONG);
    let large = SIPJS_INVITE.to_owned() + &"x".repeat(MESSAGE_BYTES_MAX);
    let refused = parse_datagram(large.as_bytes()).unwrap_err().response().unwrap();
    assert_eq!(refused.status, Status::MESSAGE_TOO_LARGE);
    let many = format!("<sip:a>{}", ";p".repeat(PARAMETERS_MAX + 1));
    assert_eq!(NameAddr::parse(&many), None);
}

#[test]
fn nothing_is_said_to_an_ack_a_response_or_noise() {
    let broken = SIPJS_INVITE.replace("From: ", "Form: ");
    let ack = broken.replace("INVITE", "ACK");
    let response =
        broken.replacen("INVITE sip:+442079460018@example.com SIP/2.0", "SIP/2.0 200 OK", 1);
    let no_via = broken.replace("Via: ", "Vai: ");
    assert!(parse_datagram(broken.as_bytes()).unwrap_err().response().is_some());
    for silent in [&ack, &response, &no_via, "GET / HTTP/1.1\r\n\r\n", "SIP/2.0", "x", ""] {
        assert!(parse_datagram(silent.as_bytes()).unwrap_err().response().is_none(), "{silent}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced_in_words_for_people() {
    let mut bytes = SIPJS_INVITE.as_bytes().to_vec();
    let at = SIPJS_INVITE.find("\"1001\"").unwrap() + 1;
    bytes[at] = 0xe9;
    let Ok(Message::Request(invite)) = parse_datagram(&bytes) else { panic!() };
    assert_eq!(invite.headers.from().unwrap().display_name.as_deref(), Some("\u{fffd}001"));
    assert_eq!(invite.headers.from().unwrap().tag(), Some("3mq2d5s9u0"));
}

#[test]
fn no_value_can_start_a_new_line() {
    let evil = "x\r\nEvil: 1\r\n\r\nbody\n\r";
    let mut invite = request(SIPJS_INVITE);
    let mut address: NameAddr = "<sip:a@b>".parse().unwrap();
    address.display_name = Some(evil.to_owned());
    address.set_tag(evil);
    address.parameters.set(evil, Some(evil));
    if let Some(uri) = address.uri.as_sip_mut() {
        uri.user = Some(evil.to_owned());
        uri.parameters.set(evil, Some(evil));
        uri.headers.push((evil.to_owned(), evil.to_owned()));
    }
    invite.headers.set(HeaderName::From, &address);
    invite.headers.push(HeaderName::Subject, evil);
    invite.headers.push(HeaderName::UserAgent, evil);
    let reason = Reason { protocol: "SIP".into(), cause: Some(200), text: Some(evil.into()) };
    invite.headers.push(HeaderName::Reason, reason);
    let bytes = invite.to_bytes();
    let lines = String::from_utf8(bytes.clone()).unwrap();
    assert!(!lines.contains("\nEvil") && !lines.contains("\rEvil"), "{lines}");
    let Ok(Message::Request(read)) = parse_datagram(&bytes) else { panic!("{lines}") };
    assert_eq!(read.body, invite.body);
    assert_eq!(read.headers.len(), invite.headers.len());
    assert_eq!(read.headers.from().unwrap().uri.user(), Some(evil));

    let mut response = Response::to(&invite, Status::OK);
    response.reason = evil.to_owned();
    let Ok(Message::Response(read)) = parse_datagram(&response.to_bytes()) else { panic!() };
    assert_eq!(read.reason, "x  Evil: 1    body  ");
}

#[test]
fn the_content_length_written_is_the_bodys() {
    let mut invite = request(SIPJS_INVITE);
    invite.headers.set(HeaderName::ContentLength, 999);
    invite.body = b"four".to_vec();
    let text = String::from_utf8(invite.to_bytes()).unwrap();
    assert!(text.contains("\r\nContent-Length: 4\r\n\r\nfour") && !text.contains("999"));
}

#[test]
fn vias_are_read_in_all_their_shapes() {
    let via = |text: &str| Via::parse(text).unwrap();
    let v6 = via("SIP/2.0/UDP [2001:db8::9:1]:5061;received=2001:db8::9:255;branch=b;rport=9");
    assert_eq!(v6.sent_by.port, Some(5061));
    assert_eq!(v6.received(), Some("2001:db8::9:255".parse().unwrap()));
    assert_eq!(v6.rport(), Some(ResponsePort::Port(9)));
    assert_eq!(via(&v6.to_string()), v6);
    // RFC 5118 §4.5: brackets in received are wrong and harmless.
    assert_eq!(
        via("SIP/2.0/UDP a;received=[2001:db8::1]").received(),
        Some("2001:db8::1".parse().unwrap())
    );
    assert_eq!(via("SIP/2.0/UDP host : 5060 ; rport").rport(), Some(ResponsePort::Requested));
    assert_eq!(via("sip/2.0/udp a").transport, Transport::Udp);
    for text in [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "HTTP/1.1/UDP a",
        "SIP/2.0 UDP a",
        "SIP/2.0/UDP a:x",
        "SIP/2.0/UDP [::1",
        "SIP/2.0/UDP 2001:db8::1:5060;a",
        "SIP/2.0/UDP a;;b",
        "SIP/2.0/UDP a b",
    ] {
        assert_eq!(Via::parse(text), None, "{text}");
    }
}

#[test]
fn contacts_are_a_list_or_everything() {
    let contacts = |fields: &[&str]| Contacts::parse(fields.iter().copied());
    assert_eq!(contacts(&["*"]), Some(Contacts::Any));
    assert_eq!(contacts(&[]), Some(Contacts::List(Vec::new())));
    assert_eq!(contacts(&["*", "<sip:a>"]), None);
    let Some(Contacts::List(list)) =
        contacts(&["\"a, <b>\" <sip:a@b>;q=0.5,sip:c@d;expires=x", "<sip:e,f@g>"])
    else {
        panic!()
    };
    assert_eq!(list.len(), 3);
    assert_eq!(list[0].display_name.as_deref(), Some("a, <b>"));
    assert_eq!(list[1].expires_s(), None);
    assert!(list[1].uri.parameters().unwrap().is_empty());
}

#[test]
fn challenges_and_credentials_are_read_and_never_twice() {
    let read =
        AuthParameters::parse("Digest realm=\"a, \\\"b\\\"\" ,nonce= n , qop=\"auth,auth-int\"")
            .unwrap();
    assert_eq!(read.value("Realm"), Some("a, \"b\""));
    assert_eq!(read.value("nonce"), Some("n"));
    assert_eq!(read.value("qop"), Some("auth,auth-int"));
    assert_eq!(format!("{read:?}"), "Digest [\"realm\", \"nonce\", \"qop\"]");
    for text in [
        "Digest",
        "Digest realm=\"a\", Realm=\"b\"",
        "Digest realm",
        "Digest realm=\"a",
        "Digest realm=\"a\"x",
    ] {
        assert!(AuthParameters::parse(text).is_none(), "{text}");
    }
}

#[test]
fn reasons_and_content_types_are_read() {
    let mut headers = Headers::new();
    headers.push(HeaderName::Reason, "SIP;cause=480 ;text=\"a, b\", Q.850 ; cause=16");
    let reasons = headers.reasons();
    assert_eq!((reasons[0].cause, reasons[0].text.as_deref()), (Some(480), Some("a, b")));
    assert_eq!((reasons[1].protocol.as_str(), reasons[1].cause), ("Q.850", Some(16)));
    let kind = ContentType::parse("Application / SDP ; charset=\"utf-8\"").unwrap();
    assert_eq!(
        (kind.media_type.as_str(), kind.parameters.value("charset")),
        ("application/sdp", Some("utf-8"))
    );
    headers.push(HeaderName::RetryAfter, "120 (in a meeting);duration=60");
    assert_eq!(headers.retry_after_s(), Some(120));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "\\PC{0,8}", "[\\x00-\\x7f]{0,8}"]
}

fn parameter_name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9.!%*_+`'~-]{1,8}"
}

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        "[a-z]{1,8}(\\.[a-z0-9-]{1,8}){0,2}".prop_map(Host::Name),
        any::<std::net::Ipv4Addr>().prop_map(Host::V4),
        any::<std::net::Ipv6Addr>().prop_map(Host::V6),
    ]
}

fn parameters() -> impl Strategy<Value = Parameters> {
    prop::collection::vec((parameter_name(), prop::option::of(text())), 0..4).prop_map(|all| {
        let mut parameters = Parameters::default();
        for (name, value) in all {
            parameters.set(&name, value.as_deref());
        }
        parameters
    })
}

prop_compose! {
    fn sip_uri()(
        secure in any::<bool>(),
        user in prop::option::of(("\\PC{1,12}", prop::option::of(text()))),
        host in host(),
        port in any::<Option<u16>>(),
        parameters in parameters(),
        headers in prop::collection::vec(("[A-Za-z-]{1,8}", text()), 0..3),
    ) -> Uri {
        let scheme = if secure { SipScheme::Sips } else { SipScheme::Sip };
        let (user, password) = user.unzip();
        let password = password.flatten();
        Uri::Sip(SipUri { scheme, user, password, host, port, parameters, headers })
    }
}

prop_compose! {
    fn name_addr()(
        display_name in prop::option::of("[ -~]{1,12}"),
        uri in sip_uri(),
        parameters in parameters(),
    ) -> NameAddr {
        NameAddr { display_name, uri, parameters }
    }
}

proptest! {
    #[test]
    fn uris_read_as_they_were_written(uri in sip_uri()) {
        let text = uri.to_string();
        prop_assume!(text.len() <= URI_BYTES_MAX);
        prop_assert_eq!(text.parse(), Ok(uri), "{}", text);
    }

    #[test]
    fn addresses_read_as_they_were_written(address in name_addr()) {
        let text = address.to_string();
        prop_assert_eq!(NameAddr::parse(&text), Some(address), "{}", text);
    }

    #[test]
    fn messages_read_as_they_were_written(
        method in "[A-Z]{1,10}",
        uri in sip_uri(),
        others in prop::collection::vec(("[A-Z][a-z]{2,8}x", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..8),
        body in prop::collection::vec(any::<u8>(), 0..100),
        status in prop::option::of((100..=699_u16, "[ -~]{0,12}")),
    ) {
        let mut headers = request(JSSIP_REGISTER).headers;
        headers.remove(&HeaderName::ContentLength);
        let method = Method::parse(&method).unwrap();
        headers.set(HeaderName::CSeq, CSeq { number: 5, method: method.clone() });
        for (name, value) in others {
            headers.push(HeaderName::parse(&name).unwrap(), value);
        }
        let mut uri = uri;
        uri.as_sip_mut().unwrap().headers.clear();
        let message = match status {
            Some((code, reason)) => {
                Message::Response(Response { status: Status::new(code).unwrap(), reason, headers, body })
            }
            None => Message::Request(Request { method, uri, headers, body }),
        };
        for parse in [parse_datagram, parse_websocket] {
            let mut read = parse(&message.to_bytes()).unwrap();
            let (Message::Request(Request { headers, .. }) | Message::Response(Response { headers, .. })) =
                &mut read;
            prop_assert_eq!(headers.content_length_bytes().unwrap().is_some(), true);
            headers.remove(&HeaderName::ContentLength);
            prop_assert_eq!(&read, &message);
        }
    }

    #[test]
    fn no_bytes_panic_and_what_is_read_is_read_again(
        start in 0..3_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..12),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = [JSSIP_REGISTER.as_bytes(), SIPJS_INVITE.as_bytes(), &noise][start].to_vec();
        for (at, byte, edit) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        for parse in [parse_datagram, parse_websocket] {
            match parse(&bytes) {
                Ok(message) => {
                    exercise(message.headers());
                    prop_assert!(parse(&message.to_bytes()).is_ok());
                }
                Err(unparsable) => drop(unparsable.response().map(|response| response.to_bytes())),
            }
        }
    }

    #[test]
    fn no_text_panics_a_value(text in "\\PC{0,60}") {
        for read in [Via::parse(&text).map(|v| v.to_string()), NameAddr::parse(&text).map(|v| v.to_string())] {
            drop(read);
        }
        let _ = (text.parse::<Uri>(), CSeq::parse(&text), ContentType::parse(&text));
        let _ = (Reason::parse(&text), AuthParameters::parse(&text), Host::parse(&text));
    }
}

/// Reads every typed field.
fn exercise(headers: &Headers) {
    let _ = (headers.top_via(), headers.from(), headers.to(), headers.contacts(), headers.route());
    let _ =
        (headers.record_route(), headers.expires_s(), headers.content_type(), headers.reasons());
    let _ = (headers.retry_after_s(), headers.auth(&HeaderName::Authorization));
}
