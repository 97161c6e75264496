//! The 49 messages of RFC 4475, each with the verdict its section asks of a parser. What is refused
//! above the parser (an unknown scheme, extension, body type) is accepted here.

use super::*;

macro_rules! torture {
    ($($name:ident: $verdict:expr,)*) => {
        [$((stringify!($name), &include_bytes!(concat!("torture/", stringify!($name), ".sip"))[..],
            $verdict),)*]
    };
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Accept,
    Refuse(u16, Malformed),
    Silence(Malformed),
}
use Malformed as M;
use Verdict::{Accept, Refuse, Silence};

fn messages() -> [(&'static str, &'static [u8], Verdict); 49] {
    torture! {
        // §3.1.1: valid.
        wsinv: Accept,
        intmeth: Accept,
        esc01: Accept,
        escnull: Accept,
        esc02: Accept,
        lwsdisp: Accept,
        longreq: Accept,
        dblreq: Accept,
        semiuri: Accept,
        transports: Accept,
        mpart01: Accept,
        unreason: Accept,
        noreason: Accept,
        // §3.1.2: invalid.
        badinv01: Refuse(400, M::Via),
        clerr: Refuse(400, M::ContentLength),
        ncl: Refuse(400, M::ContentLength),
        scalar02: Refuse(400, M::CSeq),
        scalarlg: Silence(M::CSeq),
        quotbal: Refuse(400, M::To),
        ltgtruri: Refuse(400, M::RequestUri),
        lwsruri: Refuse(400, M::StartLine),
        lwsstart: Refuse(400, M::StartLine),
        trws: Refuse(400, M::StartLine),
        escruri: Refuse(400, M::RequestUri),
        // "If the receiver does not need the Date, it may ignore it": we do not.
        baddate: Accept,
        regbadct: Refuse(400, M::Contact),
        badaspec: Refuse(400, M::To),
        // Liberal, as §3.1.2.15 allows: the quotes around the names are inferred, and written.
        baddn: Accept,
        badvers: Refuse(505, M::Version),
        mismatch01: Refuse(400, M::CSeq),
        mismatch02: Refuse(400, M::CSeq),
        bigcode: Silence(M::StartLine),
        // §3.2: the transaction layer falls back on RFC 2543's matching.
        badbranch: Accept,
        // §3.3: for the application, but for missing, repeated and framing fields.
        insuf: Refuse(400, M::From),
        unkscm: Accept,
        novelsc: Accept,
        unksm2: Accept,
        bext01: Accept,
        invut: Accept,
        regaut01: Accept,
        multi01: Refuse(400, M::From),
        mcl01: Refuse(400, M::ContentLength),
        bcast: Accept,
        zeromf: Accept,
        cparam01: Accept,
        cparam02: Accept,
        regescrt: Accept,
        sdp01: Accept,
        // §3.4: backward compatible.
        inv2543: Accept,
    }
}

fn verdict(bytes: &[u8]) -> Verdict {
    match parse_datagram(bytes) {
        Ok(_) => Accept,
        Err(Unparsable::Silence(problem)) => Silence(problem),
        Err(unparsable) => {
            let response = unparsable.response().unwrap();
            Refuse(response.status.code(), unparsable.problem())
        }
    }
}

fn accepted(name: &str) -> Message {
    let (_, bytes, _) = messages().into_iter().find(|(held, ..)| *held == name).unwrap();
    parse_datagram(bytes).unwrap()
}

fn request(name: &str) -> Request {
    match accepted(name) {
        Message::Request(request) => request,
        Message::Response(_) => panic!("{name} is a response"),
    }
}

#[test]
fn each_message_gets_the_verdict_its_section_asks_for() {
    for (name, bytes, expected) in messages() {
        assert_eq!(verdict(bytes), expected, "{name}");
    }
}

#[test]
fn accepted_messages_read_the_same_after_writing() {
    for (name, bytes, _) in messages() {
        if let Ok(message) = parse_datagram(bytes) {
            assert_eq!(
                parse_datagram(&message.to_bytes()).map(without_length),
                Ok(without_length(message)),
                "{name}"
            );
        }
    }
}

/// Content-Length is written last, whatever its place was.
fn without_length(mut message: Message) -> Message {
    let (Message::Request(Request { headers, .. }) | Message::Response(Response { headers, .. })) =
        &mut message;
    headers.remove(&HeaderName::ContentLength);
    message
}

#[test]
fn a_refusal_echoes_what_could_be_read() {
    for (name, bytes, verdict) in messages() {
        if matches!(verdict, Refuse(..)) {
            let response = parse_datagram(bytes).unwrap_err().response().unwrap();
            let read = parse_datagram(&response.to_bytes());
            let whole = !matches!(verdict, Refuse(_, M::Via | M::From | M::To | M::CSeq));
            assert!(read.is_ok() || !whole, "{name}: {read:?}");
        }
    }
}

/// §3.1.1.1.
#[test]
fn wsinv_reads_through_folds_blanks_and_case() {
    let invite = request("wsinv");
    let headers = &invite.headers;
    assert_eq!(headers.to().unwrap().tag(), Some("1918181833n"));
    let from = headers.from().unwrap();
    assert_eq!(from.display_name.as_deref(), Some("J Rosenberg \\\""));
    assert_eq!(from.tag(), Some("98asjd8"));
    assert_eq!(headers.max_forwards(), Ok(Some(68)));
    assert_eq!(headers.cseq().unwrap().number, 9);
    let branches: Vec<_> = headers
        .values(&HeaderName::Via)
        .map(|via| Via::parse(via).unwrap().branch().unwrap().to_owned())
        .collect();
    assert_eq!(branches, ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]);
    let contact = headers.contact().unwrap();
    assert_eq!(contact.display_name.as_deref(), Some("Quoted string \"\""));
    assert_eq!(contact.parameters.value("newparam"), Some("newvalue"));
    assert!(contact.parameters.has("secondparam"));
    assert_eq!(contact.parameters.value("q"), Some("0.33"));
    assert_eq!(headers.first(&HeaderName::Subject), Some(""));
    let fangled = headers.first(&HeaderName::parse("newfangledheader").unwrap());
    assert_eq!(fangled, Some("newfangled value continued newfangled value"));
    assert!(headers.route().unwrap()[0].uri.parameters().unwrap().has("unknown-no-value"));
    assert_eq!(invite.body.len(), 150);
}

/// §3.1.1.2.
#[test]
fn intmeth_reads_every_character_a_token_may_have() {
    let strange = request("intmeth");
    assert_eq!(strange.method.as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    assert_eq!(strange.uri.user(), Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    let to = strange.headers.to().unwrap();
    assert_eq!(to.display_name.as_deref(), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
    let from = strange.headers.from().unwrap();
    assert_eq!(from.display_name.as_deref(), Some("token1~` token2'+_ token3*%!.-"));
    assert_eq!(from.parameters.value("fromParam''~+*_!.-%"), Some("работающий"));
    assert_eq!(from.tag(), Some("_token~1'+`*%!-."));
}

/// §3.1.1.3 to §3.1.1.5.
#[test]
fn escapes_are_resolved_in_uris_and_nowhere_else() {
    let esc01 = request("esc01");
    assert_eq!(esc01.uri.user(), Some("sips:user@example.com"));
    assert_eq!(esc01.headers.to().unwrap().uri.user(), Some("user"));
    assert_eq!(esc01.headers.from().unwrap().uri.user(), Some("I have spaces"));
    let contact = esc01.headers.contact().unwrap().uri;
    assert!(contact.parameters().unwrap().has("lr"));
    assert_eq!(contact.parameters().unwrap().value("name"), Some("value%41"));

    let Contacts::List(contacts) = request("escnull").headers.contacts().unwrap() else { panic!() };
    let users: Vec<_> = contacts.iter().map(|contact| contact.uri.user()).collect();
    assert_eq!(users, [Some("\0"), Some("\0\0")]);

    let esc02 = request("esc02");
    assert_ne!(esc02.method, Method::Register);
    assert_eq!(esc02.headers.to().unwrap().display_name.as_deref(), Some("%Z%45"));
    assert_eq!(esc02.headers.all(&HeaderName::Contact).count(), 2);
}

/// §3.1.1.7, §3.1.1.8, §3.1.1.11 to §3.1.1.13.
#[test]
fn long_doubled_binary_and_oddly_phrased_messages_are_read_whole() {
    let longreq = request("longreq");
    assert_eq!(longreq.headers.values(&HeaderName::Via).count(), 34);
    assert!(request("dblreq").body.is_empty());
    assert_eq!(request("mpart01").body.len(), 553);
    let Message::Response(unreason) = accepted("unreason") else { panic!() };
    assert_eq!(unreason.reason, "= 2**3 * 5**2 но сто девяносто девять - простое");
    let Message::Response(noreason) = accepted("noreason") else { panic!() };
    assert_eq!((noreason.status, noreason.reason.as_str()), (Status::TRYING, ""));
}

/// §3.3.14: the escaped Route stays inside the Contact.
#[test]
fn an_escaped_header_in_a_contact_stays_there() {
    let register = request("regescrt");
    let contact = register.headers.contact().unwrap();
    let headers = &contact.uri.as_sip().unwrap().headers;
    assert_eq!(headers[..], [("Route".to_owned(), "<sip:sip.example.com>".to_owned())]);
    assert!(register.headers.route().unwrap().is_empty());
}

/// A REGISTER or INVITE around what RFC 5118 varies.
fn ipv6(uri: &str, via: &str, call_id: &str, contact: &str) -> String {
    format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nMax-Forwards: 70\r\n\
         From: <sip:user@example.com>;tag=81x2\r\nTo: <sip:user@[2001:db8::10]>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContact: <{contact}>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// RFC 5118 §4: what carries an IPv6 reference reads, what lacks its brackets does not.
#[test]
fn the_ipv6_messages_of_rfc_5118_get_their_verdicts() {
    const VIA: &str = "[2001:db8::9:1];branch=z9hG4bKas3";
    const CONTACT: &str = "sip:user@[2001:db8::1]";
    let read = |text: String| match parse_datagram(text.as_bytes()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    };
    // §4.1, §4.3, §4.4: a reference in brackets, without a port, with one that could be taken for a
    // part of it, and with one outside.
    for (uri, host, port) in [
        ("sip:[2001:db8::10]", "2001:db8::10", None),
        ("sip:[2001:db8::10:5070]", "2001:db8::10:5070", None),
        ("sip:[2001:db8::10]:5070", "2001:db8::10", Some(5_070)),
    ] {
        let request = read(ipv6(uri, VIA, "SSG95523997077@example", CONTACT));
        let sip = request.uri.as_sip().unwrap();
        assert_eq!((sip.host.address(), sip.port), (host.parse().ok(), port), "{uri}");
    }
    // §4.2: without brackets nobody knows where the address ends.
    let bare = ipv6("sip:2001:db8::10", VIA, "a@b", CONTACT);
    assert!(matches!(parse_datagram(bare.as_bytes()), Err(Unparsable::Refuse { .. })));
    // §4.5: in a Call-ID brackets mean nothing, and none are needed.
    for call_id in ["SSG9559905523997077@[2001:db8::10]", "SSG9559905523997077@2001:db8::10"] {
        assert_eq!(read(ipv6("sip:1@x", VIA, call_id, CONTACT)).headers.call_id(), Ok(call_id));
    }
    // §4.5 and §4.6: `received` with brackets and without.
    for received in ["[2001:db8::9:255]", "2001:db8::9:255"] {
        let via = format!("[2001:db8::9:1]:5061;received={received};branch=z9hG4bKas3");
        let via = read(ipv6("sip:1@x", &via, "a@b", CONTACT)).headers.top_via().unwrap();
        assert_eq!(via.received(), "2001:db8::9:255".parse().ok(), "{received}");
        assert_eq!(via.sent_by.port, Some(5_061));
    }
    // §4.8, §4.10: both families in one message, and IPv4 as IPv6 writes it.
    let via = "192.0.2.1:5061;received=[2001:db8::9:255];branch=z9hG4bKas3";
    let request = read(ipv6("sip:1@192.0.2.7", via, "a@b", "sip:user@[::ffff:192.0.2.10]:19823"));
    let contact = request.headers.contact().unwrap().uri;
    assert_eq!(contact.host().unwrap().address(), "::ffff:192.0.2.10".parse().ok());
}
