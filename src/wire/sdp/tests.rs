//! What we write, line by line, and read back.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::formats::browser_formats;
use super::*;
use crate::base::random;
use crate::wire::coding::Codec;

const CODECS: [Codec; 3] = [Codec::Opus, Codec::Pcmu, Codec::Pcma];
const G711: [Codec; 2] = [Codec::Pcmu, Codec::Pcma];
const SESSION: Session = Session { id: 4_611_686_018_427_387_903, version: 1 };

const FINGERPRINT: &str = "sha-256 A6:E3:B4:8A:98:FD:BD:ED:55:92:BF:C2:4F:FC:C3:20:\
    FA:4D:8B:1D:A4:3A:E2:C0:92:B6:28:8B:8F:5D:39:8C";

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../../tests/samples/", $name, ".sdp"))
    };
}

fn ice() -> IceParameters {
    IceParameters {
        ufrag: "abcdefgh".to_owned(),
        password: "0123456789abcdefghijklmn".to_owned(),
        mode: IceMode::Lite,
    }
}

fn answer(offer: &BrowserOffer, wish: OpusWish) -> String {
    let (ice, fingerprint) = (ice(), FINGERPRINT.parse().unwrap());
    let address = SocketAddr::from(([192, 0, 2, 10], 40_000));
    let side = BrowserSide { session: SESSION, address, ice: &ice, fingerprint: &fingerprint };
    let agreement = offer.agree(&CODECS).unwrap();
    author_browser_answer(offer, &side, DtlsRole::Passive, &agreement, wish)
}

fn trunk_side() -> TrunkSide {
    let port = |port| SocketAddr::from(([192, 0, 2, 10], port));
    let wanted = Direction::SendReceive;
    TrunkSide { session: SESSION, rtp: port(30_000), rtcp: port(30_001), wanted }
}

fn lines(sdp: &str) -> Vec<&str> {
    assert!(sdp.ends_with("\r\n"));
    sdp.split_terminator("\r\n").collect()
}

#[test]
fn the_answer_to_chromium_asks_for_narrowband() {
    let offer = BrowserOffer::parse(sample!("chromium-jssip-out_quality-browser-offer")).unwrap();
    assert_eq!(
        lines(&answer(&offer, OpusWish::Narrowband)),
        [
            "v=0",
            "o=- 4611686018427387903 1 IN IP4 192.0.2.10",
            "s=-",
            "c=IN IP4 192.0.2.10",
            "t=0 0",
            "a=ice-lite",
            "a=group:BUNDLE 0",
            "m=audio 40000 UDP/TLS/RTP/SAVPF 111 63 110",
            "a=sendrecv",
            "a=mid:0",
            "a=rtcp-mux",
            "a=ice-ufrag:abcdefgh",
            "a=ice-pwd:0123456789abcdefghijklmn",
            "a=candidate:1 1 udp 2130706431 192.0.2.10 40000 typ host",
            "a=end-of-candidates",
            "a=fingerprint:sha-256 A6:E3:B4:8A:98:FD:BD:ED:55:92:BF:C2:4F:FC:C3:20:\
             FA:4D:8B:1D:A4:3A:E2:C0:92:B6:28:8B:8F:5D:39:8C",
            "a=setup:passive",
            "a=rtpmap:111 opus/48000/2",
            "a=fmtp:111 minptime=10;maxplaybackrate=8000;maxaveragebitrate=32000;stereo=0;\
             useinbandfec=1",
            "a=rtpmap:63 red/48000/2",
            "a=fmtp:63 111/111",
            "a=rtpmap:110 telephone-event/48000",
            "a=fmtp:110 0-15",
            "a=ptime:20",
        ]
    );
    let fullband = answer(&offer, OpusWish::Fullband);
    assert!(fullband.contains("a=fmtp:111 minptime=10;stereo=0;useinbandfec=1\r\n"));
}

#[test]
fn the_answer_to_a_browser_that_prefers_red_puts_it_first() {
    let offer = sample!("chromium-jssip-offer-preferring-red");
    let preferred = answer(&BrowserOffer::parse(offer).unwrap(), OpusWish::Narrowband);
    assert!(preferred.contains("m=audio 40000 UDP/TLS/RTP/SAVPF 63 111 110\r\n"), "{preferred}");

    let unknown = offer.replace("a=fmtp:63 111/111", "a=x");
    let without = answer(&BrowserOffer::parse(&unknown).unwrap(), OpusWish::Narrowband);
    assert!(without.contains("m=audio 40000 UDP/TLS/RTP/SAVPF 111 110\r\n"), "{without}");
    assert!(!without.contains("red/"));
}

#[test]
fn a_trunk_is_never_asked_for_red() {
    assert!(!author_trunk_offer(&trunk_side(), &G711, ComfortNoise::NotOffered).contains("red"));
    let offer = "v=0\r\nc=IN IP4 198.51.100.7\r\nm=audio 14120 RTP/AVP 111 63 0\r\n\
        a=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n";
    let offer = TrunkOffer::parse(offer).unwrap();
    let agreement = offer.agree(&G711).unwrap();
    assert_eq!((agreement.send_redundancy, agreement.receive_redundancy.len()), (None, 0));
    assert!(!author_trunk_answer(&offer, &trunk_side(), &agreement).contains("red"));
}

#[test]
fn chromiums_video_and_data_are_refused_in_their_place_outside_the_bundle() {
    let offer = BrowserOffer::parse(sample!("chromium-audio-video-data-offer")).unwrap();
    let answer = answer(&offer, OpusWish::Narrowband);
    let lines = lines(&answer);
    assert!(lines.contains(&"a=group:BUNDLE 0"));
    let of_interest: Vec<_> = lines
        .into_iter()
        .filter(|line| line.starts_with("m=") || line.starts_with("a=mid") || *line == "a=inactive")
        .collect();
    assert_eq!(
        of_interest,
        [
            "m=audio 40000 UDP/TLS/RTP/SAVPF 111 63 110",
            "a=mid:0",
            "m=video 0 UDP/TLS/RTP/SAVPF 96",
            "a=mid:1",
            "a=inactive",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
            "a=mid:2",
            "a=inactive",
        ]
    );
}

#[test]
fn the_audio_line_may_come_later() {
    let offer = sample!("chromium-jssip-out_quality-browser-offer")
        .replace("a=mid:0", "a=mid:speech")
        .replace("BUNDLE 0", "BUNDLE picture speech")
        .replace("m=audio", "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:picture\r\nm=audio");
    let answer = answer(&BrowserOffer::parse(&offer).unwrap(), OpusWish::Narrowband);
    let lines = lines(&answer);
    assert!(lines.contains(&"a=group:BUNDLE speech"));
    let media: Vec<_> = lines.into_iter().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        media,
        ["m=video 0 UDP/TLS/RTP/SAVPF 96", "m=audio 40000 UDP/TLS/RTP/SAVPF 111 63 110"]
    );
}

#[test]
fn the_answer_repeats_protocol_events_and_packet_time_and_turns_the_direction() {
    let offer = sample!("firefox-jssip-out_quality-browser-offer")
        .replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF")
        .replace("a=group:BUNDLE 0", "a=x")
        .replace("a=fmtp:101 0-15", "a=fmtp:101 0-11\r\na=ptime:40")
        .replace("a=sendrecv\r\na=end", "a=sendonly\r\na=end");
    let answer = answer(&BrowserOffer::parse(&offer).unwrap(), OpusWish::Narrowband);
    for line in [
        "m=audio 40000 RTP/SAVPF 109 101",
        "a=fmtp:101 0-11",
        "a=ptime:40",
        "a=mid:0",
        "a=recvonly",
    ] {
        assert!(lines(&answer).contains(&line), "{line} in {answer}");
    }
    assert!(!answer.contains("BUNDLE"));
}

/// An SDP whose only direction is `a=sendrecv` in its audio line, with another one in every place that
/// it may stand in; the line's own goes before the session's (RFC 8866 §6.7).
fn directed(sdp: &str, direction: Direction) -> [String; 3] {
    let line = format!("a={}", direction.name());
    let in_line = sdp.replace("a=sendrecv", &line);
    let in_session = |audio: &str, session: &str| {
        let (start, end) = sdp.replace("a=sendrecv", audio).split_once("t=0 0").map_or_else(
            || panic!("no time in {sdp}"),
            |(start, end)| (start.to_owned(), end.to_owned()),
        );
        format!("{start}t=0 0\r\n{session}{end}")
    };
    let other = format!("a={}", direction.reversed().name());
    [in_line, in_session("a=x", &line), in_session(&line, &other)]
}

#[test]
fn every_direction_of_a_browser_is_read_at_either_level_and_an_offers_is_answered_reversed() {
    let offer = sample!("chromium-sipjs-out_quality-browser-offer");
    let answered = sample!("chromium-jssip-in_quality-browser-answer");
    for direction in Direction::ALL {
        for sdp in directed(offer, direction) {
            let offer = BrowserOffer::parse(&sdp).unwrap();
            assert_eq!(offer.audio.direction, direction, "{sdp}");
            let answer = answer(&offer, OpusWish::Narrowband);
            let read = BrowserAnswer::parse(&answer).unwrap();
            assert_eq!(read.audio.direction, direction.reversed(), "{answer}");
        }
        for sdp in directed(answered, direction) {
            assert_eq!(BrowserAnswer::parse(&sdp).unwrap().audio.direction, direction, "{sdp}");
        }
    }
}

#[test]
fn every_direction_of_a_trunk_is_read_at_either_level_and_an_offers_is_answered_reversed() {
    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\n\
        t=0 0\r\nm=audio 20000 RTP/AVP 0\r\na=sendrecv\r\n";
    for direction in Direction::ALL {
        for sdp in directed(SDP, direction) {
            let offer = TrunkOffer::parse(&sdp).unwrap();
            assert_eq!(offer.audio.direction, direction, "{sdp}");
            let agreement = offer.agree(&G711).unwrap();
            let answer = author_trunk_answer(&offer, &trunk_side(), &agreement);
            let read = TrunkAnswer::parse(&answer).unwrap();
            assert_eq!(read.audio.direction, direction.reversed(), "{answer}");
            assert_eq!(TrunkAnswer::parse(&sdp).unwrap().audio.direction, direction, "{sdp}");
        }
    }
}

#[test]
fn our_answer_reads_as_an_answer() {
    for sdp in [
        sample!("chromium-jssip-out_quality-browser-offer"),
        sample!("chromium-sipjs-out_quality-browser-offer"),
        sample!("firefox-jssip-out_quality-browser-offer"),
    ] {
        let offer = BrowserOffer::parse(sdp).unwrap();
        let read = BrowserAnswer::parse(&answer(&offer, OpusWish::Narrowband)).unwrap();
        assert_eq!(read.audio.protocol, offer.audio.protocol);
        assert_eq!(read.audio.mid, offer.audio.mid);
        assert_eq!(read.audio.setup, Setup::Passive);
        assert_eq!(read.audio.ice, ice());
        assert_eq!(read.audio.fingerprints, [FINGERPRINT.parse().unwrap()]);
        assert_eq!(read.audio.formats.codings, offer.audio.formats.codings[..1]);
        assert_eq!(read.audio.formats.red, offer.audio.formats.red);
        assert_eq!(read.audio.formats.events, offer.audio.formats.events[..1]);
    }
}

#[test]
fn our_offer_to_a_browser_reads_as_an_offer() {
    let (ice, fingerprint) = (ice(), FINGERPRINT.parse().unwrap());
    let address = "[2001:db8::10]:40000".parse().unwrap();
    let side = BrowserSide { session: SESSION, address, ice: &ice, fingerprint: &fingerprint };
    let sdp = author_browser_offer(&side, &[Codec::Opus], OpusWish::Narrowband);
    assert!(sdp.contains("c=IN IP6 2001:db8::10\r\n"));
    assert!(sdp.contains("a=candidate:1 1 udp 2130706431 2001:db8::10 40000 typ host\r\n"));
    assert!(sdp.contains("m=audio 40000 UDP/TLS/RTP/SAVPF 111 63 110 126\r\n"));
    let read = BrowserOffer::parse(&sdp).unwrap();
    assert_eq!(read.audio.mid.as_deref(), Some("0"));
    assert!(read.audio.bundled);
    assert_eq!(read.audio.setup, Setup::ActPass);
    let ours = browser_formats(&[Codec::Opus]);
    assert_eq!(read.audio.formats.codings, ours.codings);
    assert_eq!(read.audio.formats.red, ours.red);
    assert_eq!(read.audio.formats.events, ours.events);
}

#[test]
fn the_trunk_offer_is_small_and_keeps_the_configured_order() {
    let sdp = author_trunk_offer(&trunk_side(), &G711, ComfortNoise::NotOffered);
    assert_eq!(
        lines(&sdp),
        [
            "v=0",
            "o=- 4611686018427387903 1 IN IP4 192.0.2.10",
            "s=-",
            "c=IN IP4 192.0.2.10",
            "t=0 0",
            "m=audio 30000 RTP/AVP 0 8 101",
            "a=sendrecv",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15",
            "a=ptime:20",
        ]
    );
    assert!(sdp.len() < 300);
    let swapped =
        author_trunk_offer(&trunk_side(), &[Codec::Pcma, Codec::Pcmu], ComfortNoise::NotOffered);
    assert!(swapped.contains("RTP/AVP 8 0 101\r\n"));
}

#[test]
fn rtcp_is_written_when_it_is_not_the_next_port() {
    let mut side = trunk_side();
    side.rtcp.set_port(30_003);
    assert!(
        author_trunk_offer(&side, &G711, ComfortNoise::NotOffered).contains("a=rtcp:30003\r\n")
    );
    side.rtcp.set_ip([192, 0, 2, 11].into());
    let sdp = author_trunk_offer(&side, &G711, ComfortNoise::NotOffered);
    assert!(sdp.contains("a=rtcp:30003 IN IP4 192.0.2.11\r\n"));
    assert_eq!(TrunkOffer::parse(&sdp).unwrap().audio.remote_rtcp, Some(side.rtcp));
}

#[test]
fn the_trunk_answer_takes_one_codec_and_refuses_the_rest() {
    let offer = "v=0\r\nc=IN IP4 198.51.100.7\r\nm=image 14124 udptl t38\r\n\
        m=audio 14120 RTP/AVPF 8 0 97\r\na=rtpmap:97 telephone-event/8000\r\na=ptime:30\r\n\
        a=sendonly\r\n";
    let offer = TrunkOffer::parse(offer).unwrap();
    let agreement = offer.agree(&G711).unwrap();
    let sdp = author_trunk_answer(&offer, &trunk_side(), &agreement);
    assert_eq!(
        lines(&sdp)[5..],
        [
            "m=image 0 udptl t38",
            "a=inactive",
            "m=audio 30000 RTP/AVPF 8 97",
            "a=recvonly",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:97 telephone-event/8000",
            "a=fmtp:97 0-15",
            "a=ptime:30",
        ]
    );
    // What the trunk makes of it matches what we made of its offer.
    let read = TrunkAnswer::parse(&sdp).unwrap();
    assert_eq!(read.audio.formats.codings, [agreement.send]);
}

#[test]
fn a_new_session_starts_at_version_one() {
    let session = Session::new(&mut random::from_seed(1));
    assert!(session.id < 1 << 62);
    assert_eq!(session.version, 1);
}

/// Lines that are nearly SDP, so that the readers are reached.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("v=0".to_owned()),
        Just("a=rtcp-mux".to_owned()),
        Just("a=ice-ufrag:abcd".to_owned()),
        Just("a=ice-pwd:0123456789012345678901".to_owned()),
        Just(format!("a=fingerprint:{FINGERPRINT}")),
        Just("m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8 101".to_owned()),
        Just("m=audio 4000 RTP/AVP 0 8 101".to_owned()),
        "a=(rtpmap|fmtp):[0-9]{1,3} (opus|PCMA|telephone-event|red)?/?[0-9,-]{0,8}(/2)?",
        "a=(ptime|maxptime|rtcp|mid|setup|group|candidate|fingerprint):[ -~]{0,24}",
        "[cm]=[ -~]{0,32}",
        "[a-z]=\\PC{0,24}",
    ]
}

proptest! {
    #[test]
    fn no_input_panics(sdp in "\\PC{0,400}") {
        let _ = BrowserOffer::parse(&sdp);
        let _ = TrunkOffer::parse(&sdp);
    }

    #[test]
    fn whatever_is_agreed_on_can_be_answered_and_read(
        head in Just("v=0\r\nc=IN IP4 198.51.100.7\r\n".to_owned()),
        lines in prop::collection::vec(line(), 0..24),
    ) {
        let sdp = head + &lines.join("\r\n");
        if let Ok(offer) = BrowserOffer::parse(&sdp)
            && offer.agree(&CODECS).is_ok()
        {
            let answer = answer(&offer, OpusWish::Narrowband);
            let read = BrowserOffer::parse(&answer).unwrap();
            prop_assert_eq!(read.lines.len(), offer.lines.len());
            prop_assert_eq!(read.audio_index, offer.audio_index);
        }
        if let Ok(offer) = TrunkOffer::parse(&sdp)
            && let Ok(agreement) = offer.agree(&G711)
        {
            let answer = author_trunk_answer(&offer, &trunk_side(), &agreement);
            let read = TrunkOffer::parse(&answer).unwrap();
            prop_assert_eq!(read.lines.len(), offer.lines.len());
            prop_assert_eq!(read.audio_index, offer.audio_index);
        }
    }
}
