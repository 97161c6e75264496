//! The SDP's lines under our limits (RFC 8866 §5), before anything is made of them.
//!
//! Only `v=`, `c=`, `m=` and `a=` lines go to the parser: the rest means nothing to a telephone call,
//! so a carrier's malformed `t=` or `b=` line must not cost one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sdp_types::{Attribute, Connection, Media, ParserError};

use super::{ATTRIBUTES_MAX, Direction, MEDIA_LINES_MAX, Refusal, SDP_BYTES_MAX};

/// One `m=` line, with what an answer must repeat to refuse it (RFC 3264 §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaLine {
    /// `audio`, `video`, `application`, `image`, …
    pub media: String,
    /// The transport protocol as written.
    pub protocol: String,
    /// The first format.
    pub format: String,
    /// `a=mid`, when there is one.
    pub mid: Option<String>,
}

/// Whether an attribute is read. All others, candidates foremost, are as if they were not there: what
/// nobody reads can neither be wrong nor too much.
fn is_read_attribute(name: &str) -> bool {
    matches!(
        name,
        "bundle-only"
            | "fingerprint"
            | "fmtp"
            | "group"
            | "ice-lite"
            | "ice-pwd"
            | "ice-ufrag"
            | "inactive"
            | "maxptime"
            | "mid"
            | "ptime"
            | "recvonly"
            | "rtcp"
            | "rtcp-mux"
            | "rtcp-mux-only"
            | "rtpmap"
            | "sendonly"
            | "sendrecv"
            | "setup"
    )
}

/// Adds a line for the parser. In an `m=` or `c=` line one blank is as good as several. A media line
/// that is switched off may leave its formats out, and one whose port is none is switched off.
fn keep(line: &str, kept: &mut String) {
    let is_media = line.starts_with("m=");
    let has_no_port = || line.split(' ').nth(1).is_some_and(is_too_large);
    let is_odd_media = || line.matches(' ').count() < 3 || has_no_port();
    if (is_media || line.starts_with("c=")) && (line.contains("  ") || (is_media && is_odd_media()))
    {
        let mut words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        if is_media && words.get(1).is_some_and(|port| is_too_large(port)) {
            words[1] = "0";
        }
        if is_media && words.len() == 3 {
            words.push("0");
        }
        kept.push_str(&words.join(" "));
    } else {
        kept.push_str(line);
    }
    kept.push('\n');
}

fn is_too_large(port: &str) -> bool {
    let port = port.split('/').next().unwrap_or_default();
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_number && port.parse::<u16>().is_err()
}

/// A whole SDP.
pub(super) struct Description(sdp_types::Session);

impl Description {
    /// Reads the lines.
    pub(super) fn parse(sdp: &str) -> Result<Self, Refusal> {
        if sdp.len() > SDP_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let mut kept = String::with_capacity(sdp.len());
        let mut numbers = Vec::new();
        for (index, line) in sdp.lines().enumerate() {
            let line = line.trim_end();
            let is_read = match line.as_bytes() {
                [b'a', b'=', ..] => is_read_attribute(line[2..].split(':').next().unwrap_or("")),
                // The other types say nothing that is read, and what has no type is no line of SDP.
                [kind, b'=', ..] => matches!(kind, b'v' | b'c' | b'm'),
                _ => false,
            };
            if is_read {
                keep(line, &mut kept);
                numbers.push(index + 1);
            }
        }
        let session = sdp_types::Session::parse(kept.as_bytes()).map_err(|error| {
            let first = numbers.first().copied().unwrap_or(0);
            let number = |line: usize| numbers.get(line.wrapping_sub(1)).copied().unwrap_or(first);
            Refusal::Malformed(number(line_of(&error)))
        })?;
        if session.medias.len() > MEDIA_LINES_MAX {
            return Err(Refusal::TooManyMediaLines);
        }
        if session.attributes.len() > ATTRIBUTES_MAX {
            return Err(Refusal::TooManyAttributes);
        }
        // Whatever an answer repeats is checked here once.
        for (media, line) in session.medias.iter().zip(media_line_numbers(&kept, &numbers)) {
            let words =
                [Some(media.media.as_str()), Some(&media.proto), media.fmt.split(' ').next()];
            if !words.into_iter().all(|word| word.is_some_and(is_word)) {
                return Err(Refusal::Malformed(line));
            }
        }
        Ok(Self(session))
    }

    /// Every `m=` line.
    pub(super) fn lines(&self) -> Vec<MediaLine> {
        let line = |media: &Media| MediaLine {
            media: media.media.clone(),
            protocol: media.proto.clone(),
            format: media.fmt.split(' ').next().unwrap_or_default().to_owned(),
            mid: mid(media).map(str::to_owned),
        };
        self.0.medias.iter().map(line).collect()
    }

    /// The first audio line of which `read` makes something, with its index. When there is none,
    /// what was wrong with the first one that came near.
    pub(super) fn first_audio<T>(
        &self,
        read: impl Fn(Section<'_>) -> Result<T, Refusal>,
    ) -> Result<(usize, T), Refusal> {
        let mut refusal = None;
        for (index, media) in self.0.medias.iter().enumerate() {
            if !media.media.eq_ignore_ascii_case("audio") {
                continue;
            }
            match read(Section { description: self, media }) {
                Ok(audio) => return Ok((index, audio)),
                // A line that is switched off, or of another protocol, says nothing about the call.
                Err(Refusal::NoAudio) => {}
                Err(reason) => refusal = refusal.or(Some(reason)),
            }
        }
        Err(refusal.unwrap_or(Refusal::NoAudio))
    }

    /// The identification tags of the BUNDLE group that `mid` is in (RFC 9143 §7).
    fn bundle_of(&self, mid: &str) -> Option<Vec<&str>> {
        all_of(&self.0.attributes, "group")
            .map(|group| group.split_ascii_whitespace())
            .filter_map(|mut words| (words.next() == Some("BUNDLE")).then(|| words.collect()))
            .find(|tags: &Vec<&str>| tags.contains(&mid))
    }
}

/// One audio line within its SDP.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    description: &'a Description,
    media: &'a Media,
}

impl<'a> Section<'a> {
    /// Refuses a line with more attributes than are read.
    pub(super) fn check_limits(self) -> Result<(), Refusal> {
        if self.media.attributes.len() > ATTRIBUTES_MAX {
            return Err(Refusal::TooManyAttributes);
        }
        Ok(())
    }

    pub(super) fn protocol(self) -> &'a str {
        &self.media.proto
    }

    /// The port; 0 switches the line off, but for `a=bundle-only` (RFC 9143 §6).
    pub(super) fn port(self) -> u16 {
        self.media.port
    }

    /// The payload formats, in order.
    pub(super) fn formats(self) -> impl Iterator<Item = &'a str> {
        self.media.fmt.split_ascii_whitespace()
    }

    pub(super) fn mid(self) -> Option<&'a str> {
        mid(self.media)
    }

    /// Whether the line is in a BUNDLE group.
    pub(super) fn is_bundled(self) -> bool {
        self.mid().is_some_and(|mid| self.description.bundle_of(mid).is_some())
    }

    /// Every value of an attribute of the line itself.
    pub(super) fn own(self, name: &'a str) -> impl Iterator<Item = &'a str> {
        all_of(&self.media.attributes, name)
    }

    /// Every value of an attribute that describes the transport: from the line itself, else from
    /// the line that stands for its BUNDLE group (RFC 9143 §7.1.3), else from the session.
    pub(super) fn transport(self, name: &str) -> Vec<&'a str> {
        let own = || all_of(&self.media.attributes, name).collect::<Vec<_>>();
        let bundle = || {
            let tags = self.description.bundle_of(self.mid()?)?;
            let tagged = self
                .description
                .0
                .medias
                .iter()
                .find(|media| mid(media) == tags.first().copied())?;
            Some(all_of(&tagged.attributes, name).collect::<Vec<_>>())
        };
        let session = || all_of(&self.description.0.attributes, name).collect::<Vec<_>>();
        let mut found = own();
        if found.is_empty() {
            found = bundle().unwrap_or_default();
        }
        if found.is_empty() {
            found = session();
        }
        found
    }

    /// The direction attribute: the line's, else the session's, else both ways (RFC 8866 §6.7).
    pub(super) fn direction(self) -> Direction {
        let of = |attributes: &[Attribute]| {
            attributes.iter().rev().find_map(|attribute| {
                Direction::ALL.into_iter().find(|known| known.name() == attribute.attribute)
            })
        };
        of(&self.media.attributes)
            .or_else(|| of(&self.description.0.attributes))
            .unwrap_or_default()
    }

    /// The connection address: the line's, else the session's (RFC 8866 §5.7). Names are not
    /// resolved and groups are nobody's telephone.
    pub(super) fn address(self) -> Result<IpAddr, Refusal> {
        self.media
            .connections
            .first()
            .or(self.description.0.connection.as_ref())
            .and_then(unicast)
            .ok_or(Refusal::NoAddress)
    }

    /// Where RTCP goes, by `a=rtcp:port [nettype addrtype address]` (RFC 3605 §2.1).
    pub(super) fn rtcp(self, rtp: IpAddr) -> Option<SocketAddr> {
        let mut words = self.own("rtcp").next()?.split_ascii_whitespace();
        let port = words.next()?.parse().ok().filter(|port| *port != 0)?;
        let address = match words.nth(2) {
            Some(address) => address.parse().ok().filter(is_unicast)?,
            None => rtp,
        };
        Some(SocketAddr::new(address, port))
    }
}

fn unicast(connection: &Connection) -> Option<IpAddr> {
    Some(connection.try_address().ok()?.ip).filter(is_unicast)
}

fn is_unicast(address: &IpAddr) -> bool {
    !address.is_multicast() && *address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn all_of<'a>(attributes: &'a [Attribute], name: &str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |attribute| attribute.attribute == name)
        .map(|attribute| attribute.value.as_deref().unwrap_or_default().trim())
}

fn mid(media: &Media) -> Option<&str> {
    all_of(&media.attributes, "mid").next().filter(|mid| is_word(mid))
}

/// Printable ASCII without spaces: safe to repeat inside a line of ours.
pub(super) fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic())
}

fn media_line_numbers<'a>(kept: &'a str, numbers: &'a [usize]) -> impl Iterator<Item = usize> {
    kept.lines().zip(numbers).filter(|(line, _)| line.starts_with("m=")).map(|(_, number)| *number)
}

/// The parser's line number, from 1.
fn line_of(error: &ParserError) -> usize {
    #[allow(deprecated, reason = "the match names every variant, the retired ones too")]
    match error {
        ParserError::UnexpectedLine(line, _)
        | ParserError::InvalidLineFormat(line, _)
        | ParserError::InvalidFieldEncoding(line, _)
        | ParserError::InvalidFieldFormat(line, _)
        | ParserError::MissingField(line, _)
        | ParserError::FieldTrailingData(line, _)
        | ParserError::InvalidVersion(line, _)
        | ParserError::MultipleVersions(line)
        | ParserError::MultipleOrigins(line)
        | ParserError::MultipleSessionNames(line)
        | ParserError::MultipleSessionDescription(line)
        | ParserError::MultipleUris(line)
        | ParserError::MultipleConnections(line)
        | ParserError::MultipleTimeZones(line)
        | ParserError::MultipleMediaTitles(line)
        | ParserError::MultipleKeys(line)
        | ParserError::RepeatWithoutTime(line) => *line,
        ParserError::NoVersion | ParserError::NoOrigin | ParserError::NoSessionName => 1,
    }
}
