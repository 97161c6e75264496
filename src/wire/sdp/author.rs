//! The SDP that we write. Every line is ours; a line that is not implemented is not written: no
//! header extensions, no RTCP feedback, no `a=ssrc` (Chromium plays silence when the signalled SSRC
//! is not the one that comes), no `a=msid` (without one a browser puts the track into a stream of
//! its own, which is what pages expect).

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use super::browser::{BrowserOffer, BrowserProtocol};
use super::formats::{Agreement, AudioFormats, OfferedEvents, PACKET_MS_DEFAULT, ranges_of};
use super::lines::MediaLine;
use super::trunk::{TrunkOffer, TrunkProtocol};
use super::{Direction, DtlsRole, Fingerprint, IceMode, IceParameters, Session, Setup};
use crate::wire::coding::{Codec, Coding, EventFormat};
use crate::wire::rtp::PayloadType;

/// Our side of a browser leg.
#[derive(Clone, Copy, Debug)]
pub struct BrowserSide<'a> {
    /// Identity and version of the SDP.
    pub session: Session,
    /// Where the browser sends everything: our one candidate.
    pub address: SocketAddr,
    /// Our credentials. With [`super::IceMode::Lite`] `a=ice-lite` is written.
    pub ice: &'a IceParameters,
    /// Our certificate's.
    pub fingerprint: &'a Fingerprint,
}

/// Our side of a trunk leg.
#[derive(Clone, Copy, Debug)]
pub struct TrunkSide {
    /// Identity and version of the SDP.
    pub session: Session,
    /// Where the trunk sends RTP.
    pub rtp: SocketAddr,
    /// Where it sends RTCP; written only when it is not one port above RTP (RFC 3605).
    pub rtcp: SocketAddr,
}

/// What we ask of the browser's Opus encoder (RFC 7587 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpusWish {
    /// What a G.711 trunk can carry: narrowband at 24 kb/s, 3.4 times cheaper to decode than
    /// fullband and 0.06 MOS better after G.711. A browser may ignore it.
    Narrowband,
    /// Whatever the browser likes, for a far end that has Opus too.
    Fullband,
}

impl OpusWish {
    const fn parameters(self) -> &'static str {
        match self {
            OpusWish::Narrowband => {
                "minptime=10;maxplaybackrate=8000;maxaveragebitrate=24000;stereo=0;useinbandfec=1"
            }
            OpusWish::Fullband => "minptime=10;stereo=0;useinbandfec=1",
        }
    }
}

/// Answers a browser's offer: its audio line accepted in the words of `agreement`, all other lines
/// refused with port 0, in the offer's order.
pub fn author_browser_answer(
    offer: &BrowserOffer,
    side: &BrowserSide<'_>,
    role: DtlsRole,
    agreement: &Agreement,
    wish: OpusWish,
) -> String {
    let bundled = offer.audio.mid.as_deref().filter(|_| offer.audio.bundled);
    let audio = Audio {
        protocol: offer.audio.protocol.name(),
        mid: offer.audio.mid.as_deref(),
        formats: &answered_formats(&offer.audio.formats, agreement),
        packet_ms: agreement.packet_ms,
        direction: offer.audio.direction.reversed(),
    };
    let mut sdp = browser_session(side, bundled);
    for (index, line) in offer.lines.iter().enumerate() {
        if index == offer.audio_index {
            browser_audio(&mut sdp, side, role.setup(), &audio, wish);
        } else {
            refused(&mut sdp, line);
        }
    }
    sdp.0
}

/// Offers a browser one audio line with `codecs` in this order and both telephone-event clocks.
pub fn author_browser_offer(side: &BrowserSide<'_>, codecs: &[Codec], wish: OpusWish) -> String {
    const MID: &str = "0";
    let audio = Audio {
        protocol: BrowserProtocol::UdpTlsRtpSavpf.name(),
        mid: Some(MID),
        formats: &browser_formats(codecs),
        packet_ms: PACKET_MS_DEFAULT,
        direction: Direction::SendReceive,
    };
    let mut sdp = browser_session(side, Some(MID));
    browser_audio(&mut sdp, side, Setup::ActPass, &audio, wish);
    sdp.0
}

/// Offers a trunk one audio line with `codecs` in this order and telephone events. Some 250 bytes:
/// the INVITE around it must stay below 1,300 to travel over UDP (RFC 3261 §18.1.1).
pub fn author_trunk_offer(side: &TrunkSide, codecs: &[Codec]) -> String {
    let audio = Audio {
        protocol: TrunkProtocol::RtpAvp.name(),
        mid: None,
        formats: &trunk_formats(codecs),
        packet_ms: PACKET_MS_DEFAULT,
        direction: Direction::SendReceive,
    };
    let mut sdp = Text::begin(side.session, side.rtp.ip());
    trunk_audio(&mut sdp, side, &audio);
    sdp.0
}

/// Answers a trunk's offer: its audio line accepted in the words of `agreement`, all other lines
/// refused with port 0, in the offer's order.
pub fn author_trunk_answer(offer: &TrunkOffer, side: &TrunkSide, agreement: &Agreement) -> String {
    let audio = Audio {
        protocol: offer.audio.protocol.name(),
        mid: None,
        formats: &answered_formats(&offer.audio.formats, agreement),
        packet_ms: agreement.packet_ms,
        direction: offer.audio.direction.reversed(),
    };
    let mut sdp = Text::begin(side.session, side.rtp.ip());
    for (index, line) in offer.lines.iter().enumerate() {
        if index == offer.audio_index {
            trunk_audio(&mut sdp, side, &audio);
        } else {
            refused(&mut sdp, line);
        }
    }
    sdp.0
}

/// What we offer a browser, in the numbers that Chromium uses itself.
pub(super) fn browser_formats(codecs: &[Codec]) -> AudioFormats {
    offered_formats(codecs, &[(110, 48_000), (126, 8_000)])
}

/// What we offer a trunk; 101 is what most of them expect for telephone events.
pub(super) fn trunk_formats(codecs: &[Codec]) -> AudioFormats {
    offered_formats(codecs, &[(101, 8_000)])
}

fn offered_formats(codecs: &[Codec], events: &[(u8, u32)]) -> AudioFormats {
    let coding = |codec: &Codec| {
        let payload_type = match codec {
            Codec::Opus => PayloadType::new(111)?,
            Codec::Pcmu => PayloadType::PCMU,
            Codec::Pcma => PayloadType::PCMA,
        };
        Some(Coding { codec: *codec, payload_type })
    };
    let event = |&(payload_type, clock_hz): &(u8, u32)| {
        let payload_type = PayloadType::new(payload_type)?;
        Some(OfferedEvents { format: EventFormat { payload_type, clock_hz }, digits: u16::MAX })
    };
    AudioFormats {
        codings: codecs.iter().filter_map(coding).collect(),
        events: events.iter().filter_map(event).collect(),
        ..AudioFormats::default()
    }
}

/// The offer's formats without those that were not agreed on.
fn answered_formats(offered: &AudioFormats, agreement: &Agreement) -> AudioFormats {
    let mut formats = offered.clone();
    formats.codings.retain(|coding| agreement.receive.contains(coding));
    formats.events.retain(|events| agreement.receive_events.contains(&events.format));
    formats
}

/// One accepted audio line.
struct Audio<'a> {
    protocol: &'static str,
    mid: Option<&'a str>,
    formats: &'a AudioFormats,
    packet_ms: u8,
    direction: Direction,
}

/// SDP in the making.
struct Text(String);

impl Text {
    /// Session lines in the order of RFC 8866 §5. The address stands here for all media.
    fn begin(session: Session, address: IpAddr) -> Self {
        let Session { id, version } = session;
        let kind = if address.is_ipv4() { "IP4" } else { "IP6" };
        let mut text = Self(String::with_capacity(1024));
        text.line(format_args!("v=0"));
        text.line(format_args!("o=- {id} {version} IN {kind} {address}"));
        text.line(format_args!("s=-"));
        text.line(format_args!("c=IN {kind} {address}"));
        text.line(format_args!("t=0 0"));
        text
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{line}\r\n");
    }
}

fn browser_session(side: &BrowserSide<'_>, bundled: Option<&str>) -> Text {
    let mut sdp = Text::begin(side.session, side.address.ip());
    if side.ice.mode == IceMode::Lite {
        sdp.line(format_args!("a=ice-lite"));
    }
    if let Some(mid) = bundled {
        sdp.line(format_args!("a=group:BUNDLE {mid}"));
    }
    sdp
}

fn browser_audio(
    sdp: &mut Text,
    side: &BrowserSide<'_>,
    setup: Setup,
    audio: &Audio<'_>,
    wish: OpusWish,
) {
    let (ip, port) = (side.address.ip(), side.address.port());
    audio_line(sdp, port, audio);
    if let Some(mid) = audio.mid {
        sdp.line(format_args!("a=mid:{mid}"));
    }
    sdp.line(format_args!("a=rtcp-mux"));
    sdp.line(format_args!("a=ice-ufrag:{}", side.ice.ufrag));
    sdp.line(format_args!("a=ice-pwd:{}", side.ice.password));
    // Host, component 1, the highest local preference (RFC 8445 §5.1.2.1).
    const PRIORITY: u32 = (126 << 24) | (65_535 << 8) | (256 - 1);
    sdp.line(format_args!("a=candidate:1 1 udp {PRIORITY} {ip} {port} typ host"));
    sdp.line(format_args!("a=end-of-candidates"));
    sdp.line(format_args!("a=fingerprint:{}", side.fingerprint));
    sdp.line(format_args!("a=setup:{}", setup.name()));
    format_lines(sdp, audio, wish);
}

fn trunk_audio(sdp: &mut Text, side: &TrunkSide, audio: &Audio<'_>) {
    audio_line(sdp, side.rtp.port(), audio);
    if side.rtcp.ip() != side.rtp.ip() {
        let kind = if side.rtcp.is_ipv4() { "IP4" } else { "IP6" };
        sdp.line(format_args!("a=rtcp:{} IN {kind} {}", side.rtcp.port(), side.rtcp.ip()));
    } else if Some(side.rtcp.port()) != side.rtp.port().checked_add(1) {
        sdp.line(format_args!("a=rtcp:{}", side.rtcp.port()));
    }
    format_lines(sdp, audio, OpusWish::Fullband);
}

fn audio_line(sdp: &mut Text, port: u16, audio: &Audio<'_>) {
    let codings = audio.formats.codings.iter().map(|coding| coding.payload_type);
    let events = audio.formats.events.iter().map(|events| events.format.payload_type);
    let mut formats = String::new();
    for payload_type in codings.chain(events) {
        let _ = write!(formats, " {}", payload_type.value());
    }
    sdp.line(format_args!("m=audio {port} {}{formats}", audio.protocol));
    sdp.line(format_args!("a={}", audio.direction.name()));
}

fn format_lines(sdp: &mut Text, audio: &Audio<'_>, wish: OpusWish) {
    for Coding { codec, payload_type } in &audio.formats.codings {
        let number = payload_type.value();
        match codec {
            Codec::Opus => {
                sdp.line(format_args!("a=rtpmap:{number} opus/48000/2"));
                sdp.line(format_args!("a=fmtp:{number} {}", wish.parameters()));
            }
            Codec::Pcmu => sdp.line(format_args!("a=rtpmap:{number} PCMU/8000")),
            Codec::Pcma => sdp.line(format_args!("a=rtpmap:{number} PCMA/8000")),
        }
    }
    for OfferedEvents { format, digits } in &audio.formats.events {
        let number = format.payload_type.value();
        sdp.line(format_args!("a=rtpmap:{number} telephone-event/{}", format.clock_hz));
        sdp.line(format_args!("a=fmtp:{number} {}", ranges_of(*digits)));
    }
    sdp.line(format_args!("a=ptime:{}", audio.packet_ms));
}

/// A refused line: port 0, out of the BUNDLE group (RFC 3264 §6, RFC 9143 §7.3.3).
fn refused(sdp: &mut Text, line: &MediaLine) {
    let MediaLine { media, protocol, format, mid } = line;
    sdp.line(format_args!("m={media} 0 {protocol} {format}"));
    if let Some(mid) = mid {
        sdp.line(format_args!("a=mid:{mid}"));
    }
    sdp.line(format_args!("a=inactive"));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{BrowserAnswer, TrunkAnswer};
    use super::*;
    use crate::base::random;

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
        TrunkSide { session: SESSION, rtp: port(30_000), rtcp: port(30_001) }
    }

    fn lines(sdp: &str) -> Vec<&str> {
        assert!(sdp.ends_with("\r\n"));
        sdp.split_terminator("\r\n").collect()
    }

    #[test]
    fn the_answer_to_chromium_asks_for_narrowband() {
        let offer =
            BrowserOffer::parse(sample!("chromium-jssip-out_quality-browser-offer")).unwrap();
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
                "m=audio 40000 UDP/TLS/RTP/SAVPF 111 110 126",
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
                "a=fmtp:111 minptime=10;maxplaybackrate=8000;maxaveragebitrate=24000;stereo=0;\
                 useinbandfec=1",
                "a=rtpmap:110 telephone-event/48000",
                "a=fmtp:110 0-15",
                "a=rtpmap:126 telephone-event/8000",
                "a=fmtp:126 0-15",
                "a=ptime:20",
            ]
        );
        let fullband = answer(&offer, OpusWish::Fullband);
        assert!(fullband.contains("a=fmtp:111 minptime=10;stereo=0;useinbandfec=1\r\n"));
    }

    #[test]
    fn chromiums_video_and_data_are_refused_in_their_place_outside_the_bundle() {
        let offer = BrowserOffer::parse(sample!("chromium-audio-video-data-offer")).unwrap();
        let answer = answer(&offer, OpusWish::Narrowband);
        let lines = lines(&answer);
        assert!(lines.contains(&"a=group:BUNDLE 0"));
        let of_interest: Vec<_> = lines
            .into_iter()
            .filter(|line| {
                line.starts_with("m=") || line.starts_with("a=mid") || *line == "a=inactive"
            })
            .collect();
        assert_eq!(
            of_interest,
            [
                "m=audio 40000 UDP/TLS/RTP/SAVPF 111 110 126",
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
            ["m=video 0 UDP/TLS/RTP/SAVPF 96", "m=audio 40000 UDP/TLS/RTP/SAVPF 111 110 126"]
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
            assert_eq!(read.audio.formats.events, offer.audio.formats.events);
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
        assert!(sdp.contains("m=audio 40000 UDP/TLS/RTP/SAVPF 111 110 126\r\n"));
        let read = BrowserOffer::parse(&sdp).unwrap();
        assert_eq!(read.audio.mid.as_deref(), Some("0"));
        assert!(read.audio.bundled);
        assert_eq!(read.audio.setup, Setup::ActPass);
        let ours = browser_formats(&[Codec::Opus]);
        assert_eq!(read.audio.formats.codings, ours.codings);
        assert_eq!(read.audio.formats.events, ours.events);
    }

    #[test]
    fn the_trunk_offer_is_small_and_keeps_the_configured_order() {
        let sdp = author_trunk_offer(&trunk_side(), &G711);
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
        let swapped = author_trunk_offer(&trunk_side(), &[Codec::Pcma, Codec::Pcmu]);
        assert!(swapped.contains("RTP/AVP 8 0 101\r\n"));
    }

    #[test]
    fn rtcp_is_written_when_it_is_not_the_next_port() {
        let mut side = trunk_side();
        side.rtcp.set_port(30_003);
        assert!(author_trunk_offer(&side, &G711).contains("a=rtcp:30003\r\n"));
        side.rtcp.set_ip([192, 0, 2, 11].into());
        let sdp = author_trunk_offer(&side, &G711);
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
    fn a_new_session_starts_at_version_one_and_counts_changes() {
        let session = Session::new(&mut random::from_seed(1));
        assert!(session.id < 1 << 62);
        assert_eq!(session.version, 1);
        assert_eq!(session.changed(), Session { id: session.id, version: 2 });
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
}
