//! The SDP that we write. Every line is ours; a line that is not implemented is not written: no
//! header extensions, no RTCP feedback, no `a=ssrc` (Chromium plays silence when the signalled SSRC
//! is not the one that comes), no `a=msid` (without one a browser puts the track into a stream of
//! its own, which is what pages expect).

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::browser::{BrowserOffer, BrowserProtocol};
use super::formats::{
    Agreement, AudioFormats, ComfortNoise, OfferedEvents, OfferedRed, PACKET_MS_DEFAULT, RedPlace,
    browser_formats, ranges_of, trunk_formats,
};
use super::lines::MediaLine;
use super::trunk::{TrunkOffer, TrunkProtocol};
use super::{Direction, DtlsRole, Fingerprint, IceMode, IceParameters, Session, Setup};
use crate::wire::coding::{Codec, Coding};

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
    /// Which way we want audio to go.
    pub wanted: Direction,
}

/// What we ask of the browser's Opus encoder (RFC 7587 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpusWish {
    /// What a G.711 trunk can carry: narrowband, some three times cheaper to decode than fullband and
    /// better after G.711 (PESQ). At 32 kb/s the worst of many frame alignments stays within 0.2 MOS
    /// of G.711 alone; at 24 kb/s, a ninth cheaper to decode, it falls 0.33 below.
    ///
    /// Chromium 156 and Firefox ESR 153 obey: SILK narrowband, mono, 20 ms, 24 to 27 kb/s, and
    /// in-band FEC as soon as RTCP reports loss, which is why RED is answered behind Opus. `usedtx`
    /// is not asked for: Firefox would not obey, and what Chromium sends of silence is 7 bytes a
    /// packet. Captured in November 2026, see tests/samples/README.md.
    Narrowband,
    /// Whatever the browser likes, for a far end that has Opus too.
    Fullband,
}

impl OpusWish {
    const fn parameters(self) -> &'static str {
        match self {
            OpusWish::Narrowband => {
                "minptime=10;maxplaybackrate=8000;maxaveragebitrate=32000;stereo=0;useinbandfec=1"
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

/// Offers a trunk one audio line with `codecs` in this order, telephone events and perhaps comfort
/// noise. Some 250 bytes: the INVITE around it must stay below 1,300 to travel over UDP
/// (RFC 3261 §18.1.1).
pub fn author_trunk_offer(side: &TrunkSide, codecs: &[Codec], noise: ComfortNoise) -> String {
    let audio = Audio {
        protocol: TrunkProtocol::RtpAvp.name(),
        mid: None,
        formats: &trunk_formats(codecs, noise),
        packet_ms: PACKET_MS_DEFAULT,
        direction: side.wanted,
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
        direction: offer.audio.direction.reversed().within(side.wanted),
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

/// The offer's formats without those that were not agreed on.
fn answered_formats(offered: &AudioFormats, agreement: &Agreement) -> AudioFormats {
    let mut formats = offered.clone();
    formats.codings.retain(|coding| agreement.receive.contains(coding));
    formats.events.retain(|events| agreement.receive_events.contains(&events.format));
    formats.comfort_noise = agreement.comfort_noise;
    formats.red =
        formats.red.filter(|red| agreement.receive_redundancy.contains(&red.payload_type));
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
    let red = |place| {
        audio.formats.red.filter(|red| red.place == place).map(|red| red.payload_type).into_iter()
    };
    let (before, after) = (red(RedPlace::BeforeCodec), red(RedPlace::AfterCodec));
    let mut formats = String::new();
    let noise = audio.formats.comfort_noise.into_iter();
    for payload_type in before.chain(codings).chain(after).chain(noise).chain(events) {
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
    if let Some(OfferedRed { payload_type, around, .. }) = audio.formats.red {
        let (number, around) = (payload_type.value(), around.value());
        sdp.line(format_args!("a=rtpmap:{number} red/48000/2"));
        sdp.line(format_args!("a=fmtp:{number} {around}/{around}"));
    }
    if let Some(payload_type) = audio.formats.comfort_noise {
        sdp.line(format_args!("a=rtpmap:{} CN/8000", payload_type.value()));
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
