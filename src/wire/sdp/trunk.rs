//! A trunk's SDP: plain RTP and G.711 (RFC 3551, RFC 3264).

use std::net::{IpAddr, SocketAddr};

use super::formats::{Agreement, AudioFormats, ComfortNoise, RtcpPort, trunk_formats};
use super::lines::{Description, MediaLine, Section};
use super::{Direction, Refusal};
use crate::wire::coding::Codec;

/// A trunk's offer with its first acceptable audio line taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkOffer {
    /// Every `m=` line in order: the answer has as many.
    pub lines: Vec<MediaLine>,
    /// Which of them is the audio line.
    pub audio_index: usize,
    /// The audio line.
    pub audio: TrunkAudio,
}

/// A trunk's answer to our offer, which has one `m=` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkAnswer {
    /// The audio line.
    pub audio: TrunkAudio,
}

/// A trunk's audio line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkAudio {
    /// The transport protocol, to be repeated in the answer.
    pub protocol: TrunkProtocol,
    /// Where its RTP goes. `None` for `c=0.0.0.0`, the old way to hold (RFC 3264 §8.4), which
    /// `direction` shows too.
    pub remote: Option<SocketAddr>,
    /// Where its RTCP goes, when `a=rtcp` says so (RFC 3605); else one port above RTP.
    pub remote_rtcp: Option<SocketAddr>,
    /// Which way audio flows.
    pub direction: Direction,
    /// The formats.
    pub formats: AudioFormats,
}

/// Transport protocols of a trunk's audio line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkProtocol {
    /// `RTP/AVP`.
    RtpAvp,
    /// `RTP/AVPF` (RFC 4585); we send no feedback.
    RtpAvpf,
}

impl TrunkProtocol {
    const ALL: [TrunkProtocol; 2] = [TrunkProtocol::RtpAvp, TrunkProtocol::RtpAvpf];

    /// As written in `m=`.
    pub const fn name(self) -> &'static str {
        match self {
            TrunkProtocol::RtpAvp => "RTP/AVP",
            TrunkProtocol::RtpAvpf => "RTP/AVPF",
        }
    }
}

impl TrunkOffer {
    /// Reads an offer to media at any address.
    pub fn parse(sdp: &str) -> Result<Self, Refusal> {
        Self::parse_for(None, sdp)
    }

    /// Reads an offer to media at `ours`, which reaches addresses of its own family only. Of
    /// alternatives (RFC 4091) the first that it reaches is taken.
    pub fn parse_for(ours: Option<IpAddr>, sdp: &str) -> Result<Self, Refusal> {
        let description = Description::parse(sdp)?;
        let (audio_index, audio) =
            description.first_audio(|section| TrunkAudio::read(section, ours))?;
        Ok(Self { lines: description.lines(), audio_index, audio })
    }

    /// Chooses from the offer: the first codec of the trunk's order (RFC 3264 §6.1) that is among
    /// `codecs`.
    pub fn agree(&self, codecs: &[Codec]) -> Result<Agreement, Refusal> {
        let offered = &self.audio.formats.codings;
        let chosen = offered.iter().find(|coding| codecs.contains(&coding.codec));
        Ok(self.audio.formats.accept(*chosen.ok_or(Refusal::NoCommonCodec)?))
    }
}

impl TrunkAnswer {
    /// Reads an answer to an offer of [`super::author_trunk_offer`].
    pub fn parse(sdp: &str) -> Result<Self, Refusal> {
        Self::parse_for(None, sdp)
    }

    /// The same for media at `ours`.
    pub fn parse_for(ours: Option<IpAddr>, sdp: &str) -> Result<Self, Refusal> {
        let description = Description::parse(sdp)?;
        let (_, audio) = description.first_audio(|section| TrunkAudio::read(section, ours))?;
        Ok(Self { audio })
    }

    /// Takes the answer's choice among what we offered: `codecs`, and `noise`.
    pub fn agree(&self, codecs: &[Codec], noise: ComfortNoise) -> Result<Agreement, Refusal> {
        self.audio.formats.conclude(&trunk_formats(codecs, noise))
    }
}

impl TrunkAudio {
    fn read(section: Section<'_>, ours: Option<IpAddr>) -> Result<Self, Refusal> {
        let protocol = TrunkProtocol::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(section.protocol()))
            .ok_or(Refusal::NoAudio)?;
        if section.port() == 0 {
            return Err(Refusal::NoAudio);
        }
        section.check_limits()?;
        let formats = AudioFormats::read(section, RtcpPort::Own);
        if formats.codings.is_empty() {
            return Err(Refusal::NoCommonCodec);
        }
        let address = section.address()?;
        let direction = section.direction();
        let held = address.is_unspecified();
        if !held && ours.is_some_and(|ours| ours.is_ipv4() != address.is_ipv4()) {
            return Err(Refusal::AddressFamily);
        }
        Ok(Self {
            protocol,
            remote: (!held).then(|| SocketAddr::new(address, section.port())),
            remote_rtcp: section.rtcp(address).filter(|rtcp| !rtcp.ip().is_unspecified()),
            direction: if held { direction.without_receiving() } else { direction },
            formats,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::coding::{Coding, EventFormat};
    use crate::wire::rtp::PayloadType;
    use crate::wire::sdp::{Session, TrunkSide, author_trunk_answer, author_trunk_offer};

    const G711: [Codec; 2] = [Codec::Pcmu, Codec::Pcma];

    const OFFER: &str = "v=0\r\no=root 1821 1821 IN IP4 198.51.100.7\r\ns=call\r\n\
        c=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 14120 RTP/AVP 8 0 18 101\r\n\
        a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

    fn coding(codec: Codec, payload_type: u8) -> Coding {
        Coding { codec, payload_type: PayloadType::new(payload_type).unwrap() }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_carriers_offer_is_read_and_its_order_kept() {
        let offer = TrunkOffer::parse(OFFER).unwrap();
        assert_eq!(offer.audio.protocol, TrunkProtocol::RtpAvp);
        assert_eq!(offer.audio.remote, Some(address("198.51.100.7:14120")));
        assert_eq!(offer.audio.remote_rtcp, None);
        assert_eq!(offer.audio.direction, Direction::SendReceive);
        assert_eq!(offer.audio.formats.packet_ms, Some(20));
        let agreement = offer.agree(&G711).unwrap();
        assert_eq!(agreement.send, coding(Codec::Pcma, 8));
        assert_eq!(agreement.receive, [coding(Codec::Pcma, 8)]);
        let events = EventFormat { payload_type: PayloadType::new(101).unwrap(), clock_hz: 8_000 };
        assert_eq!(agreement.send_events, Some(events));
        assert_eq!(agreement.receive_events, [events]);
        assert_eq!(offer.agree(&[Codec::Pcmu]).unwrap().send, coding(Codec::Pcmu, 0));
        assert_eq!(offer.agree(&[Codec::Opus]), Err(Refusal::NoCommonCodec));
    }

    #[test]
    fn careless_line_ends_and_missing_or_broken_lines_are_read() {
        let variants = [
            OFFER.replace("\r\n", "\n"),
            OFFER.trim_end().to_owned(),
            OFFER.replace("s=call\r\n", "s=\r\n"),
            OFFER.replace("s=call\r\n", ""),
            OFFER.replace("t=0 0\r\n", ""),
            OFFER.replace("t=0 0\r\n", "t=now\r\n"),
            OFFER.replace("t=0 0\r\n", "b=CT:many\r\nt=0 0\r\n"),
            OFFER.replace("1821 1821", "1821 99999999999999999999999"),
            OFFER.replace("o=root 1821 1821 IN IP4 198.51.100.7\r\n", ""),
            OFFER.replace("14120 RTP/AVP 8 0 18 101\r\n", "14120 RTP/AVP 8 0 18 101 \r\n"),
            OFFER.replace("PCMA/8000", "pcma/8000/1"),
            OFFER.replace("a=rtpmap:8 PCMA/8000\r\n", ""),
            OFFER.replace("RTP/AVP", "rtp/avp"),
        ];
        let expected = TrunkOffer::parse(OFFER).unwrap().agree(&G711);
        for variant in variants {
            let offer = TrunkOffer::parse(&variant).unwrap_or_else(|e| panic!("{e}: {variant}"));
            assert_eq!(offer.agree(&G711), expected, "{variant}");
        }
    }

    #[test]
    fn the_lines_own_address_wins_over_the_sessions() {
        let own = OFFER.replace("a=ptime:20", "c=IN IP4 203.0.113.9\r\na=ptime:20");
        let offer = TrunkOffer::parse(&own).unwrap();
        assert_eq!(offer.audio.remote, Some(address("203.0.113.9:14120")));
        let ipv6 = OFFER.replace("c=IN IP4 198.51.100.7", "c=IN IP6 2001:db8::7");
        let offer = TrunkOffer::parse(&ipv6).unwrap();
        assert_eq!(offer.audio.remote, Some(address("[2001:db8::7]:14120")));
    }

    #[test]
    fn what_our_media_cannot_reach_is_refused_and_of_alternatives_the_reachable_one_taken() {
        let (v4, v6) = ("192.0.2.10".parse().ok(), "2001:db8::10".parse().ok());
        let ipv6 = OFFER.replace("c=IN IP4 198.51.100.7", "c=IN IP6 2001:db8::7");
        assert_eq!(TrunkOffer::parse_for(v4, &ipv6), Err(Refusal::AddressFamily));
        assert_eq!(TrunkAnswer::parse_for(v6, OFFER), Err(Refusal::AddressFamily));
        assert!(
            TrunkOffer::parse_for(v6, &ipv6).is_ok() && TrunkAnswer::parse_for(v4, OFFER).is_ok()
        );
        let held = OFFER.replace("c=IN IP4 198.51.100.7", "c=IN IP4 0.0.0.0");
        TrunkOffer::parse_for(v6, &held).unwrap();
        let both = OFFER.replace("t=0 0", "t=0 0\r\na=group:ANAT 1 2")
            + "a=mid:1\r\nm=audio 14122 RTP/AVP 8\r\nc=IN IP6 2001:db8::7\r\na=mid:2\r\n";
        for (ours, index, remote) in [(v4, 0, "198.51.100.7:14120"), (v6, 1, "[2001:db8::7]:14122")]
        {
            let offer = TrunkOffer::parse_for(ours, &both).unwrap();
            assert_eq!((offer.audio_index, offer.audio.remote), (index, Some(address(remote))));
        }
    }

    #[test]
    fn media_lines_blanks_and_attributes_that_nobody_uses_cost_nothing() {
        let expected = TrunkOffer::parse(OFFER).unwrap().agree(&G711);
        let many: String = (0..300).map(|n| format!("a=x-{n}:\u{7}\r\n")).collect();
        for variant in [
            format!("{OFFER}m=video 0 RTP/AVP\r\n"),
            format!("{OFFER}m=image  0   udptl t38\r\n"),
            OFFER.replace("m=audio 14120 RTP/AVP 8 0", "m=audio  14120 RTP/AVP  8 0"),
            OFFER.replace("c=IN IP4 ", "c=IN  IP4  "),
            OFFER.replace("a=ptime:20\r\n", &format!("a=ptime:20\r\n{many}")),
        ] {
            let offer = TrunkOffer::parse(&variant).unwrap_or_else(|e| panic!("{e}: {variant}"));
            assert_eq!(offer.agree(&G711), expected, "{variant}");
        }
    }

    #[test]
    fn an_address_that_is_missing_a_name_or_a_group_is_refused() {
        for line in [
            "",
            "c=IN IP4 media.example.com\r\n",
            "c=IN IP4 224.2.1.1/127\r\n",
            "c=IN IP4 255.255.255.255\r\n",
        ] {
            let sdp = OFFER.replace("c=IN IP4 198.51.100.7\r\n", line);
            assert_eq!(TrunkOffer::parse(&sdp), Err(Refusal::NoAddress), "{line}");
        }
    }

    #[test]
    fn rtcp_elsewhere_is_read() {
        for (attribute, rtcp) in [
            ("a=rtcp:14200", Some(address("198.51.100.7:14200"))),
            ("a=rtcp:14200 IN IP4 203.0.113.9", Some(address("203.0.113.9:14200"))),
            ("a=rtcp:9 IN IP4 0.0.0.0", None),
            ("a=rtcp:14200 IN IP4 224.2.1.1", None),
            ("a=rtcp:14200 IN IP4 media.example.com", None),
            ("a=rtcp:0", None),
            ("a=rtcp:x", None),
        ] {
            let sdp = OFFER.replace("a=ptime:20", attribute);
            assert_eq!(TrunkOffer::parse(&sdp).unwrap().audio.remote_rtcp, rtcp, "{attribute}");
        }
    }

    #[test]
    fn every_form_of_hold_is_seen() {
        for (line, replacement, direction, remote) in [
            ("sendrecv", "sendonly", Direction::SendOnly, true),
            ("sendrecv", "inactive", Direction::Inactive, true),
            ("c=IN IP4 198.51.100.7", "c=IN IP4 0.0.0.0", Direction::SendOnly, false),
        ] {
            let offer = TrunkOffer::parse(&OFFER.replace(line, replacement)).unwrap();
            assert_eq!(offer.audio.direction, direction, "{replacement}");
            assert_eq!(offer.audio.remote.is_some(), remote, "{replacement}");
        }
        let both =
            OFFER.replace("sendrecv", "recvonly").replace("198.51.100.7\r\nt", "0.0.0.0\r\nt");
        let offer = TrunkOffer::parse(&both).unwrap();
        assert_eq!(offer.audio.direction, Direction::Inactive);
    }

    #[test]
    fn plain_rtp_is_chosen_among_several_lines() {
        let sdp = OFFER.replace("m=audio 14120", "m=audio 14118 RTP/SAVP 8\r\nm=audio 14120")
            + "m=image 14124 udptl t38\r\nm=video 14126 RTP/AVP 99\r\n";
        let offer = TrunkOffer::parse(&sdp).unwrap();
        assert_eq!(offer.audio_index, 1);
        assert_eq!(offer.audio.remote, Some(address("198.51.100.7:14120")));
        let media: Vec<_> = offer.lines.iter().map(|line| line.media.as_str()).collect();
        assert_eq!(media, ["audio", "audio", "image", "video"]);

        let usable_second =
            OFFER.replace("m=audio 14120", "m=audio 14118 RTP/AVP 18\r\nm=audio 14120");
        assert_eq!(TrunkOffer::parse(&usable_second).unwrap().audio_index, 1);
    }

    #[test]
    fn an_answer_may_choose_several_codecs_and_other_numbers() {
        let answer = OFFER
            .replace("101", "97")
            .replace("8 0 18 97", "8 96 97")
            .replace("a=rtpmap:0 PCMU/8000", "a=rtpmap:96 PCMU/8000");
        let agreement =
            TrunkAnswer::parse(&answer).unwrap().agree(&G711, ComfortNoise::NotOffered).unwrap();
        assert_eq!(agreement.send, coding(Codec::Pcma, 8));
        assert_eq!(
            agreement.receive,
            [coding(Codec::Pcma, 8), coding(Codec::Pcmu, 0), coding(Codec::Pcmu, 96)]
        );
        let numbers = |format: EventFormat| format.payload_type.value();
        assert_eq!(agreement.send_events.map(numbers), Some(97));
        let received: Vec<_> = agreement.receive_events.into_iter().map(numbers).collect();
        assert_eq!(received, [101, 97]);
    }

    #[test]
    fn comfort_noise_is_accepted_where_it_is_offered() {
        for (format, mapping, number) in [
            ("13", "", 13),
            ("13", "a=rtpmap:13 CN/8000\r\n", 13),
            ("97", "a=rtpmap:97 cn/8000\r\n", 97),
        ] {
            let sdp = OFFER.replace("8 0 18 101", &format!("8 0 {format} 101"));
            let sdp = sdp.replace("a=ptime", &format!("{mapping}a=ptime"));
            let offer = TrunkOffer::parse(&sdp).unwrap();
            let agreement = offer.agree(&G711).unwrap();
            assert_eq!(agreement.comfort_noise, PayloadType::new(number), "{format}");
            let side = TrunkSide {
                session: Session { id: 1, version: 1 },
                rtp: address("192.0.2.10:30000"),
                rtcp: address("192.0.2.10:30001"),
                wanted: Direction::SendReceive,
            };
            let answer = author_trunk_answer(&offer, &side, &agreement);
            assert!(answer.contains(&format!(" RTP/AVP 8 {number} 101\r\n")), "{answer}");
            assert!(answer.contains(&format!("a=rtpmap:{number} CN/8000\r\n")), "{answer}");
        }
        assert_eq!(TrunkOffer::parse(OFFER).unwrap().agree(&G711).unwrap().comfort_noise, None);
    }

    #[test]
    fn comfort_noise_is_offered_where_it_is_wanted_and_agreed_on_where_it_is_answered() {
        let side = TrunkSide {
            session: Session { id: 1, version: 1 },
            rtp: address("192.0.2.10:30000"),
            rtcp: address("192.0.2.10:30001"),
            wanted: Direction::SendReceive,
        };
        let sdp = author_trunk_offer(&side, &G711, ComfortNoise::Offered);
        assert!(sdp.contains(" RTP/AVP 0 8 13 101\r\n"), "{sdp}");
        assert!(sdp.contains("a=rtpmap:13 CN/8000\r\n"));
        assert!(!author_trunk_offer(&side, &G711, ComfortNoise::NotOffered).contains("CN"));

        let with_noise = OFFER.replace("8 0 18 101", "8 13 101");
        for (answer, noise, number) in [
            (OFFER, ComfortNoise::Offered, None),
            (&with_noise, ComfortNoise::Offered, PayloadType::new(13)),
            // What was not offered cannot be agreed on (RFC 3264 §6.1).
            (&with_noise, ComfortNoise::NotOffered, None),
        ] {
            let agreement = TrunkAnswer::parse(answer).unwrap().agree(&G711, noise).unwrap();
            assert_eq!(agreement.comfort_noise, number, "{noise:?}");
        }
    }

    #[test]
    fn an_answer_without_events_or_common_codec_says_so() {
        let silent = OFFER.replace(" 101\r\n", "\r\n");
        let agreement =
            TrunkAnswer::parse(&silent).unwrap().agree(&G711, ComfortNoise::NotOffered).unwrap();
        assert_eq!(agreement.send_events, None);
        assert!(agreement.receive_events.is_empty());

        let rejected = OFFER.replace("14120", "0");
        assert_eq!(TrunkAnswer::parse(&rejected), Err(Refusal::NoAudio));
        let foreign = OFFER.replace("AVP 8 0 18 101", "AVP 18 101");
        assert_eq!(TrunkAnswer::parse(&foreign), Err(Refusal::NoCommonCodec));
        let answer = TrunkAnswer::parse(OFFER).unwrap();
        assert_eq!(
            answer.agree(&[Codec::Opus], ComfortNoise::NotOffered),
            Err(Refusal::NoCommonCodec)
        );
    }

    #[test]
    fn the_packet_time_asked_for_is_sent() {
        for (attribute, packet_ms) in
            [("a=ptime:30", 30), ("a=ptime:10", 10), ("a=maxptime:10", 10), ("a=ptime:0", 20)]
        {
            let offer = TrunkOffer::parse(&OFFER.replace("a=ptime:20", attribute)).unwrap();
            assert_eq!(offer.agree(&G711).unwrap().packet_ms, packet_ms, "{attribute}");
        }
    }
}
