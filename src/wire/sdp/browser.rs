//! A browser's SDP (RFC 8829): ICE, DTLS and BUNDLE around one audio line.

use std::ops::RangeInclusive;

use super::formats::{Agreement, AudioFormats, RtcpPort, browser_formats};
use super::lines::{Description, MediaLine, Section, is_word};
use super::{Direction, DtlsRole, Fingerprint, IceMode, IceParameters, Refusal, Setup};
use crate::wire::coding::Codec;

/// A browser's offer with its first acceptable audio line taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserOffer {
    /// Every `m=` line in order: the answer has as many.
    pub lines: Vec<MediaLine>,
    /// Which of them is the audio line.
    pub audio_index: usize,
    /// The audio line.
    pub audio: BrowserAudio,
}

/// A browser's answer to our offer, which has one `m=` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserAnswer {
    /// The audio line.
    pub audio: BrowserAudio,
}

/// A browser's audio line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserAudio {
    /// The transport protocol, to be repeated in the answer.
    pub protocol: BrowserProtocol,
    /// `a=mid`, an opaque token.
    pub mid: Option<String>,
    /// Whether the line is in a BUNDLE group (RFC 9143), which the answer then repeats.
    pub bundled: bool,
    /// Who starts the DTLS handshake.
    pub setup: Setup,
    /// What the browser's certificate must match: see [`crate::dtls`].
    pub fingerprints: Vec<Fingerprint>,
    /// ICE credentials.
    pub ice: IceParameters,
    /// Which way audio flows. `c=0.0.0.0` and port 9 only mean that no candidate is known yet.
    pub direction: Direction,
    /// The formats.
    pub formats: AudioFormats,
}

/// Transport protocols of a browser's audio line, which all mean RTP over DTLS-SRTP (RFC 8829
/// §5.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowserProtocol {
    /// `UDP/TLS/RTP/SAVPF`, what browsers write.
    UdpTlsRtpSavpf,
    /// `UDP/TLS/RTP/SAVP`.
    UdpTlsRtpSavp,
    /// `TCP/DTLS/RTP/SAVPF`, when the default candidate is over TCP.
    TcpDtlsRtpSavpf,
    /// `RTP/SAVPF`, from old libraries.
    RtpSavpf,
}

impl BrowserProtocol {
    const ALL: [BrowserProtocol; 4] = [
        BrowserProtocol::UdpTlsRtpSavpf,
        BrowserProtocol::UdpTlsRtpSavp,
        BrowserProtocol::TcpDtlsRtpSavpf,
        BrowserProtocol::RtpSavpf,
    ];

    /// As written in `m=`.
    pub const fn name(self) -> &'static str {
        match self {
            BrowserProtocol::UdpTlsRtpSavpf => "UDP/TLS/RTP/SAVPF",
            BrowserProtocol::UdpTlsRtpSavp => "UDP/TLS/RTP/SAVP",
            BrowserProtocol::TcpDtlsRtpSavpf => "TCP/DTLS/RTP/SAVPF",
            BrowserProtocol::RtpSavpf => "RTP/SAVPF",
        }
    }
}

impl BrowserOffer {
    /// Reads an offer.
    pub fn parse(sdp: &str) -> Result<Self, Refusal> {
        let description = Description::parse(sdp)?;
        let (audio_index, audio) =
            description.first_audio(|section| BrowserAudio::read(section, Setup::Active))?;
        Ok(Self { lines: description.lines(), audio_index, audio })
    }

    /// Chooses from the offer: the first of `codecs`, our order of preference, that the browser
    /// offers, so that Opus wins although the browser has G.711 too.
    pub fn agree(&self, codecs: &[Codec]) -> Result<Agreement, Refusal> {
        self.audio.check_ice()?;
        let offered = &self.audio.formats.codings;
        let of = |codec: &Codec| offered.iter().find(|coding| coding.codec == *codec);
        let chosen = codecs.iter().find_map(of).ok_or(Refusal::NoCommonCodec)?;
        Ok(self.audio.formats.accept(*chosen))
    }

    /// The role we take in the DTLS handshake: `wanted` when the browser leaves the choice to us.
    pub fn our_role(&self, wanted: DtlsRole) -> DtlsRole {
        self.audio.setup.role_of_the_other(wanted)
    }
}

impl BrowserAnswer {
    /// Reads an answer to an offer of [`super::author_browser_offer`].
    pub fn parse(sdp: &str) -> Result<Self, Refusal> {
        let description = Description::parse(sdp)?;
        let (_, audio) =
            description.first_audio(|section| BrowserAudio::read(section, Setup::Passive))?;
        Ok(Self { audio })
    }

    /// Takes the answer's choice among `codecs`, the ones that we offered.
    pub fn agree(&self, codecs: &[Codec]) -> Result<Agreement, Refusal> {
        self.audio.check_ice()?;
        self.audio.formats.conclude(&browser_formats(codecs))
    }

    /// The role we take in the DTLS handshake.
    pub fn our_role(&self) -> DtlsRole {
        self.audio.setup.role_of_the_other(DtlsRole::Passive)
    }
}

impl BrowserAudio {
    /// `unsaid` is the setup that a missing `a=setup` means: active in an offer, passive in an
    /// answer (RFC 4145 §4.1).
    fn read(section: Section<'_>, unsaid: Setup) -> Result<Self, Refusal> {
        let protocol = BrowserProtocol::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(section.protocol()))
            .ok_or(Refusal::NoAudio)?;
        if section.port() == 0 && section.own("bundle-only").next().is_none() {
            return Err(Refusal::NoAudio);
        }
        section.check_limits()?;
        let formats = AudioFormats::read(section, RtcpPort::Shared);
        if formats.codings.is_empty() {
            return Err(Refusal::NoCommonCodec);
        }
        if section.transport("rtcp-mux").is_empty() && section.own("rtcp-mux-only").next().is_none()
        {
            return Err(Refusal::NoRtcpMux);
        }
        let fingerprints: Vec<Fingerprint> = section
            .transport("fingerprint")
            .into_iter()
            .filter_map(|value| value.parse().ok())
            .collect();
        if fingerprints.is_empty() {
            return Err(Refusal::NoFingerprint);
        }
        let setup = match section.transport("setup").first() {
            Some(value) => Setup::ALL
                .into_iter()
                .find(|known| known.name().eq_ignore_ascii_case(value))
                .ok_or(Refusal::NoSetup)?,
            None => unsaid,
        };
        Ok(Self {
            protocol,
            mid: section.mid().map(str::to_owned),
            bundled: section.is_bundled(),
            setup,
            fingerprints,
            ice: read_ice(section)?,
            direction: section.direction(),
            formats,
        })
    }

    fn check_ice(&self) -> Result<(), Refusal> {
        match self.ice.mode {
            IceMode::Full => Ok(()),
            IceMode::Lite => Err(Refusal::BothIceLite),
        }
    }
}

fn read_ice(section: Section<'_>) -> Result<IceParameters, Refusal> {
    let word = |name, characters: RangeInclusive<usize>| {
        let value = section.transport(name).first().copied().unwrap_or_default();
        (characters.contains(&value.len()) && is_word(value))
            .then(|| value.to_owned())
            .ok_or(Refusal::NoIceCredentials)
    };
    Ok(IceParameters {
        ufrag: word("ice-ufrag", 4..=256)?,
        password: word("ice-pwd", 22..=256)?,
        mode: match section.transport("ice-lite").first() {
            Some(_) => IceMode::Lite,
            None => IceMode::Full,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::{ATTRIBUTES_MAX, FingerprintHash, OfferedRed, RedPlace, RefusalKind};
    use super::*;
    use crate::wire::coding::{Coding, EventFormat};
    use crate::wire::rtp::PayloadType;

    const CODECS: [Codec; 3] = [Codec::Opus, Codec::Pcmu, Codec::Pcma];

    macro_rules! sample {
        ($name:literal) => {
            include_str!(concat!("../../../tests/samples/", $name, ".sdp"))
        };
    }

    fn coding(codec: Codec, payload_type: u8) -> Coding {
        Coding { codec, payload_type: PayloadType::new(payload_type).unwrap() }
    }

    fn events(payload_type: u8, clock_hz: u32) -> EventFormat {
        EventFormat { payload_type: PayloadType::new(payload_type).unwrap(), clock_hz }
    }

    fn red(payload_type: u8, around: u8, place: RedPlace) -> OfferedRed {
        let number = |value| PayloadType::new(value).unwrap();
        OfferedRed { payload_type: number(payload_type), around: number(around), place }
    }

    fn payload_types(numbers: &[u8]) -> Vec<PayloadType> {
        numbers.iter().filter_map(|number| PayloadType::new(*number)).collect()
    }

    /// Chromium's offer with one line replaced.
    fn chromium_with(line: &str, replacement: &str) -> String {
        let offer = sample!("chromium-jssip-out_quality-browser-offer");
        assert!(offer.contains(line), "{line}");
        offer.replacen(line, replacement, 1)
    }

    const CHROMIUM_FINGERPRINT: &str = "a=fingerprint:sha-256 69:D9:FC:A6:AA:1C:BA:F5:F0:FC:4F:\
        D8:FB:9D:B0:D9:5C:9A:0F:D1:8C:66:B7:F1:8A:E1:13:FD:E1:AF:F5:7F";

    #[test]
    fn chromiums_offers_are_read() {
        for (sdp, ufrag, password, digest_start) in [
            (
                sample!("chromium-jssip-out_quality-browser-offer"),
                "6njp",
                "ZM3aZzdTZpOBwdZ07yujJMlz",
                [0x69, 0xd9],
            ),
            (
                sample!("chromium-sipjs-out_quality-browser-offer"),
                "4MBq",
                "kc54js9LIqsc9CBtdfB6kKvF",
                [0x31, 0x26],
            ),
        ] {
            let offer = BrowserOffer::parse(sdp).unwrap();
            assert_eq!(offer.lines.len(), 1);
            assert_eq!(offer.audio_index, 0);
            let audio = &offer.audio;
            assert_eq!(audio.protocol, BrowserProtocol::UdpTlsRtpSavpf);
            assert_eq!(audio.mid.as_deref(), Some("0"));
            assert!(audio.bundled);
            assert_eq!(audio.setup, Setup::ActPass);
            assert_eq!(audio.fingerprints.len(), 1);
            assert_eq!(audio.fingerprints[0].hash(), FingerprintHash::Sha256);
            assert_eq!(audio.fingerprints[0].digest()[..2], digest_start);
            assert_eq!(audio.ice.ufrag, ufrag);
            assert_eq!(audio.ice.password, password);
            assert_eq!(audio.ice.mode, IceMode::Full);
            assert_eq!(audio.direction, Direction::SendReceive);
            assert_eq!(
                audio.formats.codings,
                [coding(Codec::Opus, 111), coding(Codec::Pcmu, 0), coding(Codec::Pcma, 8)]
            );
            assert_eq!(audio.formats.red, Some(red(63, 111, RedPlace::AfterCodec)));
            assert_eq!(audio.formats.packet_ms, None);

            let agreement = offer.agree(&CODECS).unwrap();
            assert_eq!(
                agreement,
                Agreement {
                    send: coding(Codec::Opus, 111),
                    in_band_fec: true,
                    packet_ms: 20,
                    receive: vec![coding(Codec::Opus, 111)],
                    send_events: Some(events(110, 48_000)),
                    receive_events: vec![events(110, 48_000)],
                    send_redundancy: PayloadType::new(63),
                    comfort_noise: None,
                    receive_redundancy: payload_types(&[63]),
                }
            );
        }
    }

    #[test]
    fn firefoxs_offer_is_read_and_keeps_its_only_event_clock() {
        let offer =
            BrowserOffer::parse(sample!("firefox-jssip-out_quality-browser-offer")).unwrap();
        let audio = &offer.audio;
        // The fingerprint is the session's.
        assert_eq!(audio.fingerprints[0].digest()[..2], [0x27, 0xce]);
        assert_eq!(audio.ice.ufrag, "82c7ceed");
        assert_eq!(audio.setup, Setup::ActPass);
        let agreement = offer.agree(&CODECS).unwrap();
        assert_eq!(agreement.send, coding(Codec::Opus, 109));
        assert_eq!(agreement.send_events, Some(events(101, 8_000)));
        assert_eq!(agreement.receive_events, [events(101, 8_000)]);
    }

    #[test]
    fn in_band_fec_is_what_the_browser_says_of_itself() {
        let in_band_fec = |parameters: &str| {
            let offer = chromium_with(
                "a=fmtp:111 minptime=10;useinbandfec=1\r\n",
                &format!("a=fmtp:111 {parameters}\r\n"),
            );
            BrowserOffer::parse(&offer).unwrap().agree(&CODECS).unwrap().in_band_fec
        };
        assert!(in_band_fec("useinbandfec=1"));
        assert!(in_band_fec("maxplaybackrate=48000; useinbandfec=1"));
        assert!(!in_band_fec("minptime=10;useinbandfec=0"));
        assert!(!in_band_fec("minptime=10"));
    }

    #[test]
    fn the_captured_answers_are_read() {
        for (sdp, mid, digest_start, event_clocks) in [
            (
                sample!("chromium-jssip-in_quality-browser-answer"),
                "1",
                [0xa6, 0xe3],
                vec![events(97, 48_000)],
            ),
            (
                sample!("chromium-sipjs-in_quality-browser-answer"),
                "1",
                [0x85, 0x00],
                vec![events(97, 48_000)],
            ),
            (sample!("firefox-jssip-in_quality-browser-answer"), "1", [0x1b, 0x4c], vec![]),
        ] {
            let answer = BrowserAnswer::parse(sdp).unwrap();
            assert_eq!(answer.audio.mid.as_deref(), Some(mid));
            assert_eq!(answer.audio.setup, Setup::Active);
            assert_eq!(answer.our_role(), DtlsRole::Passive);
            assert!(answer.audio.formats.in_band_fec);
            assert_eq!(answer.audio.fingerprints[0].digest()[..2], digest_start);
            assert_eq!(answer.audio.formats.codings, [coding(Codec::Opus, 96)]);
            let clocks: Vec<_> =
                answer.audio.formats.events.iter().map(|events| events.format).collect();
            assert_eq!(clocks, event_clocks);
        }
    }

    #[test]
    fn an_answer_with_its_own_numbers_is_served_both_ways() {
        // Captured against an offer of 96 and 97; ours has 111 and 110.
        let answer =
            BrowserAnswer::parse(sample!("chromium-jssip-in_quality-browser-answer")).unwrap();
        let agreement = answer.agree(&[Codec::Opus]).unwrap();
        assert_eq!(agreement.send, coding(Codec::Opus, 96));
        assert_eq!(agreement.receive, [coding(Codec::Opus, 111), coding(Codec::Opus, 96)]);
        assert_eq!(agreement.send_events, Some(events(97, 48_000)));
        assert_eq!(agreement.receive_events, [events(110, 48_000), events(97, 48_000)]);
    }

    #[test]
    fn a_number_that_means_something_else_to_us_is_not_received() {
        let answer = sample!("chromium-jssip-in_quality-browser-answer")
            .replace("SAVPF 96 97", "SAVPF 110 111")
            .replace("map:96", "map:110")
            .replace("map:97", "map:111");
        let agreement = BrowserAnswer::parse(&answer).unwrap().agree(&[Codec::Opus]).unwrap();
        assert_eq!(agreement.send, coding(Codec::Opus, 110));
        assert_eq!(agreement.receive, [coding(Codec::Opus, 111)]);
        assert_eq!(agreement.send_events, Some(events(111, 48_000)));
        assert_eq!(agreement.receive_events, [events(110, 48_000)]);
    }

    #[test]
    fn g711_is_accepted_where_opus_is_absent_and_opus_wins_where_it_is_not_first() {
        let without = chromium_with("opus/48000/2", "speex/48000/2");
        let agreement = BrowserOffer::parse(&without).unwrap().agree(&CODECS).unwrap();
        assert_eq!(agreement.send, coding(Codec::Pcmu, 0));
        assert_eq!(agreement.send_events, Some(events(126, 8_000)));

        let last = chromium_with("111 63 9 0 8 13 110 126", "8 0 110 126 111");
        let agreement = BrowserOffer::parse(&last).unwrap().agree(&CODECS).unwrap();
        assert_eq!(agreement.send, coding(Codec::Opus, 111));

        let offer = BrowserOffer::parse(&without).unwrap();
        assert_eq!(offer.agree(&[Codec::Opus]), Err(Refusal::NoCommonCodec));
    }

    #[test]
    fn the_2026_numbering_below_96_is_read() {
        let offer = chromium_with("SAVPF 111 63 9 0 8 13 110 126", "SAVPF 96 35 9 0 8 13 97 126")
            .replace("rtpmap:111", "rtpmap:96")
            .replace("rtpmap:63", "rtpmap:35")
            .replace("fmtp:63 111/111", "fmtp:35 96/96")
            .replace("rtpmap:110", "rtpmap:97");
        let offer = BrowserOffer::parse(&offer).unwrap();
        assert_eq!(offer.audio.formats.red, Some(red(35, 96, RedPlace::AfterCodec)));
        assert_eq!(offer.agree(&CODECS).unwrap().send, coding(Codec::Opus, 96));
    }

    #[test]
    fn a_browser_that_prefers_red_is_read() {
        let offer = BrowserOffer::parse(sample!("chromium-jssip-offer-preferring-red")).unwrap();
        assert_eq!(offer.audio.formats.red, Some(red(63, 111, RedPlace::BeforeCodec)));
        assert_eq!(offer.agree(&CODECS).unwrap().receive_redundancy, payload_types(&[63]));
    }

    #[test]
    fn red_of_a_use_that_is_not_known_is_left_out() {
        for (line, replacement) in [
            ("a=fmtp:63 111/111", "a=x"),
            ("a=fmtp:63 111/111", "a=fmtp:63 111/0"),
            ("a=fmtp:63 111/111", "a=fmtp:63 0/0"), // around G.711
            ("a=fmtp:63 111/111", "a=fmtp:63 112/112"), // around nothing
            ("a=fmtp:63 111/111", "a=fmtp:63 63/63"), // around itself
            ("red/48000/2", "red/8000"),
            ("SAVPF 111 63 ", "SAVPF 111 "),
            ("SAVPF 111 63 ", "SAVPF 111 72 "), // reads as RTCP
        ] {
            let offer = BrowserOffer::parse(&chromium_with(line, replacement)).unwrap();
            assert_eq!(offer.audio.formats.red, None, "{replacement}");
            let agreement = offer.agree(&CODECS).unwrap();
            assert_eq!(agreement.send_redundancy, None);
            assert_eq!(agreement.receive_redundancy, []);
        }
        // Whoever is answered with G.711 gets none.
        let offer = BrowserOffer::parse(&chromium_with("a=mid:0", "a=mid:0")).unwrap();
        assert_eq!(offer.agree(&[Codec::Pcmu]).unwrap().send_redundancy, None);
    }

    #[test]
    fn chromium_takes_red_from_our_offer_and_firefox_leaves_it_out() {
        let agree = |answer: &str| BrowserAnswer::parse(answer).unwrap().agree(&CODECS).unwrap();
        let chromium = agree(sample!("chromium-jssip-answer-with-red"));
        assert_eq!(chromium.send, coding(Codec::Opus, 111));
        assert_eq!(chromium.send_redundancy, PayloadType::new(63));
        assert_eq!(chromium.receive_redundancy, payload_types(&[63]));
        let firefox = agree(sample!("firefox-jssip-answer-without-red"));
        assert_eq!(firefox.send, coding(Codec::Opus, 111));
        assert_eq!((firefox.send_redundancy, firefox.receive_redundancy), (None, vec![]));
        assert_eq!(firefox.send_events, Some(events(126, 8_000)));
    }

    #[test]
    fn an_answer_decides_about_red() {
        let with = |red: &str| {
            let answer = sample!("chromium-jssip-in_quality-browser-answer")
                .replace("SAVPF 96 97", "SAVPF 96 64 35 111 97")
                .replace("a=rtpmap:97", red)
                + "a=rtpmap:97 telephone-event/48000\r\n";
            let agreement = BrowserAnswer::parse(&answer).unwrap().agree(&[Codec::Opus]).unwrap();
            (agreement.send_redundancy, agreement.receive_redundancy)
        };
        // Ours is 63.
        let its_own = with("a=rtpmap:35 red/48000/2\r\na=fmtp:35 96/96\r\na=x");
        assert_eq!(its_own, (PayloadType::new(35), payload_types(&[63, 35])));
        let taken = with("a=rtpmap:111 red/48000/2\r\na=fmtp:111 96/96\r\na=x");
        assert_eq!(taken, (PayloadType::new(111), payload_types(&[63])));
        assert_eq!(with("a=x"), (None, vec![]));
        assert_eq!(with("a=rtpmap:35 red/48000/2\r\na=x"), (None, vec![]));
    }

    #[test]
    fn payload_types_that_read_as_rtcp_are_left_out() {
        let offer = chromium_with("SAVPF 111 ", "SAVPF 72 ").replace("rtpmap:111", "rtpmap:72");
        let offer = BrowserOffer::parse(&offer).unwrap();
        assert_eq!(offer.agree(&CODECS).unwrap().send, coding(Codec::Pcmu, 0));
    }

    const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\n\
        a=mid:0\r\na=rtpmap:96 VP8/90000\r\n";
    const CHANNEL: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n\
        a=sctp-port:5000\r\n";

    #[test]
    fn audio_is_found_among_video_and_data() {
        let audio = chromium_with("a=mid:0", "a=mid:1")
            .replace("a=group:BUNDLE 0", "a=group:BUNDLE 0 1 2")
            .replace("m=audio", &format!("{VIDEO}m=audio"));
        let offer = BrowserOffer::parse(&format!("{audio}{CHANNEL}")).unwrap();
        assert_eq!(offer.audio_index, 1);
        assert!(offer.audio.bundled);
        let line = |media: &str, protocol: &str, format: &str, mid: &str| MediaLine {
            media: media.to_owned(),
            protocol: protocol.to_owned(),
            format: format.to_owned(),
            mid: Some(mid.to_owned()),
        };
        assert_eq!(
            offer.lines,
            [
                line("video", "UDP/TLS/RTP/SAVPF", "96", "0"),
                line("audio", "UDP/TLS/RTP/SAVPF", "111", "1"),
                line("application", "UDP/DTLS/SCTP", "webrtc-datachannel", "2"),
            ]
        );
    }

    #[test]
    fn a_bundle_only_line_takes_its_transport_from_the_line_that_stands_for_the_group() {
        let sdp = "v=0\r\na=group:BUNDLE a b\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:a\r\na=ice-ufrag:abcd\r\n\
            a=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\na=rtcp-mux\r\n"
            .to_owned()
            + CHROMIUM_FINGERPRINT
            + "\r\nm=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=mid:b\r\na=bundle-only\r\n\
            a=rtpmap:111 opus/48000/2\r\n";
        let offer = BrowserOffer::parse(&sdp).unwrap();
        assert_eq!(offer.audio_index, 1);
        assert_eq!(offer.audio.ice.ufrag, "abcd");
        assert_eq!(offer.audio.setup, Setup::ActPass);

        let off = sdp.replace("a=bundle-only\r\n", "");
        assert_eq!(BrowserOffer::parse(&off), Err(Refusal::NoAudio));
    }

    #[test]
    fn an_offer_without_candidates_or_with_mdns_ones_is_not_a_hold() {
        let name = "a=candidate:1 1 udp 2113937151 \
            0d1f3f2e-ab2c-4a3e-8a3b-6d9f7c1f5a11.local 54321 typ host generation 0";
        for candidate in ["a=x", name, "a=candidate:garbage", "a=candidate"] {
            let offer: String = sample!("chromium-jssip-out_quality-browser-offer")
                .lines()
                .map(|line| match line {
                    _ if line.starts_with("a=candidate") => candidate,
                    _ if line.starts_with("c=") => "c=IN IP4 0.0.0.0",
                    _ => line,
                })
                .flat_map(|line| [line, "\r\n"])
                .collect::<String>()
                .replace("m=audio 38539", "m=audio 9");
            let offer = BrowserOffer::parse(&offer).unwrap();
            assert_eq!(offer.audio.direction, Direction::SendReceive);
        }
    }

    #[test]
    fn fingerprints_are_read_in_any_case_and_number() {
        let lower = CHROMIUM_FINGERPRINT.to_lowercase().replace("sha-256", "SHA-256");
        let several = format!(
            "a=fingerprint:sha-1 {}00\r\n{lower}\r\na=fingerprint:sha-512 {}FF\r\n\
             a=fingerprint:sha-384 00",
            "00:".repeat(19),
            "FF:".repeat(63),
        );
        let offer = BrowserOffer::parse(&chromium_with(CHROMIUM_FINGERPRINT, &several)).unwrap();
        let fingerprints = &offer.audio.fingerprints;
        assert_eq!(fingerprints.len(), 2);
        assert_eq!(format!("a=fingerprint:{}", fingerprints[0]), CHROMIUM_FINGERPRINT);
        assert_eq!(fingerprints[1].digest(), [0xff; 64]);
    }

    #[test]
    fn what_a_browser_leg_cannot_do_without_is_refused_by_name() {
        for (line, replacement, refusal) in [
            (CHROMIUM_FINGERPRINT, "a=x", Refusal::NoFingerprint),
            (CHROMIUM_FINGERPRINT, "a=fingerprint:sha-256 00:11", Refusal::NoFingerprint),
            (CHROMIUM_FINGERPRINT, "a=fingerprint:sha-256 +1:-2", Refusal::NoFingerprint),
            ("a=ice-ufrag:6njp", "a=ice-ufrag:6nj", Refusal::NoIceCredentials),
            ("a=ice-pwd:ZM3", "a=x:", Refusal::NoIceCredentials),
            ("a=rtcp-mux", "a=x", Refusal::NoRtcpMux),
            ("a=setup:actpass", "a=setup:holdconn", Refusal::NoSetup),
            ("UDP/TLS/RTP/SAVPF", "RTP/AVP", Refusal::NoAudio),
            ("m=audio 38539", "m=audio 0", Refusal::NoAudio),
            ("m=audio 38539", "m=text 38539", Refusal::NoAudio),
            ("111 63 9 0 8 13 110 126", "9 13", Refusal::NoCommonCodec),
        ] {
            let refused = BrowserOffer::parse(&chromium_with(line, replacement));
            assert_eq!(refused, Err(refusal), "{replacement}");
            assert_eq!(refusal.kind(), RefusalKind::NotAcceptable);
        }
    }

    #[test]
    fn a_lite_agent_is_refused_because_nobody_would_check() {
        let offer = chromium_with("a=group:BUNDLE 0", "a=group:BUNDLE 0\r\na=ice-lite");
        let offer = BrowserOffer::parse(&offer).unwrap();
        assert_eq!(offer.audio.ice.mode, IceMode::Lite);
        assert_eq!(offer.agree(&CODECS), Err(Refusal::BothIceLite));
    }

    #[test]
    fn the_dtls_role_follows_the_browsers_setup() {
        let role = |setup: &str, wanted| {
            let offer = chromium_with("a=setup:actpass", setup);
            BrowserOffer::parse(&offer).unwrap().our_role(wanted)
        };
        use DtlsRole::{Active, Passive};
        assert_eq!(role("a=setup:actpass", Passive), Passive);
        assert_eq!(role("a=setup:actpass", Active), Active);
        assert_eq!(role("a=setup:active", Active), Passive);
        assert_eq!(role("a=setup:passive", Passive), Active);
        assert_eq!(role("a=x", Active), Passive);
    }

    #[test]
    fn legacy_protocols_are_read() {
        for (name, protocol) in [
            ("RTP/SAVPF", BrowserProtocol::RtpSavpf),
            ("TCP/DTLS/RTP/SAVPF", BrowserProtocol::TcpDtlsRtpSavpf),
            ("UDP/TLS/RTP/SAVP", BrowserProtocol::UdpTlsRtpSavp),
        ] {
            let offer = chromium_with("UDP/TLS/RTP/SAVPF", name);
            assert_eq!(BrowserOffer::parse(&offer).unwrap().audio.protocol, protocol);
        }
    }

    #[test]
    fn directions_are_the_lines_or_the_sessions() {
        let direction =
            |sdp: String| BrowserOffer::parse(&sdp).map(|offer| offer.audio.direction).unwrap();
        assert_eq!(direction(chromium_with("sendrecv", "sendonly")), Direction::SendOnly);
        assert_eq!(direction(chromium_with("sendrecv", "inactive")), Direction::Inactive);
        let session = chromium_with("a=sendrecv", "a=x").replace("t=0 0", "t=0 0\r\na=recvonly");
        assert_eq!(direction(session), Direction::ReceiveOnly);
    }

    #[test]
    fn limits_are_refused_by_name() {
        let offer = sample!("chromium-jssip-out_quality-browser-offer").to_owned();
        let padded = format!("{offer}a=x:{}\r\n", "x".repeat(super::super::SDP_BYTES_MAX));
        let many_lines = offer.clone() + &CHANNEL.repeat(8);
        let many_attributes = offer.clone() + &"a=fmtp:111 x\r\n".repeat(ATTRIBUTES_MAX);
        for (sdp, refusal) in [
            (padded, Refusal::TooLarge),
            (many_lines, Refusal::TooManyMediaLines),
            (many_attributes, Refusal::TooManyAttributes),
        ] {
            assert_eq!(BrowserOffer::parse(&sdp), Err(refusal));
            assert_eq!(refusal.kind(), RefusalKind::BadRequest);
        }
        // What nobody reads is not counted: a browser with many interfaces has many candidates.
        let candidate = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
        BrowserOffer::parse(&(offer.clone() + &candidate.repeat(ATTRIBUTES_MAX + 2))).unwrap();
        // Lines that are refused anyway may be as long as they like.
        let video = VIDEO.to_owned() + &"a=rtcp-fb:96 nack\r\n".repeat(4 * ATTRIBUTES_MAX);
        BrowserOffer::parse(&(offer + &video)).unwrap();
    }

    #[test]
    fn what_is_not_sdp_is_refused_with_its_line() {
        for (sdp, line) in [
            ("", 0),
            ("\r\n\r\n", 0),
            ("hello", 0),
            ("v=1\r\n", 1),
            ("v=0\r\nt=0 0\r\nm=audio\r\n", 3),
            ("v=0\r\ns=-\r\n\r\nm=audio nine RTP/AVP 0\r\n", 4),
            ("v=0\r\nm=vi\u{e9}o 9 RTP/AVP 0\r\n", 2),
            ("v=0\r\nm=audio 9 RTP\t/AVP 0\r\n", 2),
        ] {
            assert_eq!(BrowserOffer::parse(sdp), Err(Refusal::Malformed(line)), "{sdp:?}");
        }
        assert_eq!(BrowserOffer::parse("v=0\r\n"), Err(Refusal::NoAudio));
    }

    #[test]
    fn the_password_is_not_in_debug_output() {
        let offer = BrowserOffer::parse(sample!("chromium-jssip-out_quality-browser-offer"));
        assert!(!format!("{offer:?}").contains("ZM3aZzdT"));
    }
}
