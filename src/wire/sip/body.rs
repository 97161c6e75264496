//! Bodies of several parts (RFC 2046 §5.1, RFC 5621): where in them is the SDP? In: a body and its
//! Content-Type. Out: the SDP, or why there is none for us.

use super::value::ContentType;

/// SDP's content type (RFC 8866 §8.2.1).
pub const SDP: &str = "application/sdp";

/// Why a message's body is no SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSdp {
    /// Content-Type names another type, or none.
    OtherType,
    /// Content-Encoding names something that we do not undo.
    Encoded,
    /// Not UTF-8.
    NotText,
}

/// Parts of one body that are read; more are as if they were not there.
const PARTS_MAX: usize = 16;
/// How deep parts of parts are read.
const DEPTH_MAX: usize = 3;

/// The SDP of a body of this type: the body itself, or the first such part. Of alternatives the last
/// one that we understand counts (RFC 2046 §5.1.4). Parts of other types are passed over, unless one
/// says itself that the message is not understood without it (RFC 5621 §3.2).
pub(super) fn sdp_of<'a>(kind: &ContentType, body: &'a [u8]) -> Result<Option<&'a str>, NoSdp> {
    search(kind, body, 0)
}

fn search<'a>(kind: &ContentType, body: &'a [u8], depth: usize) -> Result<Option<&'a str>, NoSdp> {
    if kind.media_type == SDP {
        return std::str::from_utf8(body).map(Some).map_err(|_| NoSdp::NotText);
    }
    let boundary = kind.parameters.value("boundary");
    let Some(boundary) = boundary.filter(|_| kind.media_type.starts_with("multipart/")) else {
        return Err(NoSdp::OtherType);
    };
    let alternatives = kind.media_type == "multipart/alternative";
    let mut found = None;
    for part in parts(boundary, body).take(PARTS_MAX).filter(|_| depth < DEPTH_MAX) {
        match search(&part.kind, part.body, depth + 1) {
            Ok(sdp) if alternatives => found = sdp.or(found),
            Ok(sdp) => found = found.or(sdp),
            Err(_) if alternatives || !part.is_required => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(found)
}

/// One part.
struct Part<'a> {
    kind: ContentType,
    /// Whether it says that it must be understood.
    is_required: bool,
    body: &'a [u8],
}

/// The parts between `--boundary` lines. What stands before the first and behind the last is nothing.
fn parts<'a>(boundary: &str, body: &'a [u8]) -> impl Iterator<Item = Part<'a>> {
    let delimiter = format!("--{boundary}").into_bytes();
    let mut begins = Vec::new();
    let mut at = 0;
    while let Some(line) = body.get(at..).filter(|rest| !rest.is_empty()) {
        let end = line.iter().position(|byte| *byte == b'\n').map_or(line.len(), |end| end + 1);
        if begins.len() <= PARTS_MAX && line.starts_with(&delimiter) {
            begins.push((at, at + end));
        }
        at += end;
    }
    let ends: Vec<usize> = begins.iter().skip(1).map(|(at, _)| *at).chain([body.len()]).collect();
    let is_last = move |at: usize| body[at + delimiter.len()..].starts_with(b"--");
    let open = begins.into_iter().zip(ends).take_while(move |((at, _), _)| !is_last(*at));
    open.map(|((_, begins), ends)| part(without_line_end(&body[begins..ends])))
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

fn part(mut rest: &[u8]) -> Part<'_> {
    // Without a type of its own a part is text (RFC 2046 §5.1).
    let mut kind = ContentType::parse("text/plain");
    let mut is_required = false;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        let (line, after) = rest.split_at(end);
        rest = after;
        let line = std::str::from_utf8(without_line_end(line)).unwrap_or_default();
        let Some((name, value)) = line.split_once(':') else { break };
        match name.trim().to_ascii_lowercase().as_str() {
            "content-type" | "c" => kind = ContentType::parse(value.trim()),
            "content-disposition" => is_required = says_required(value),
            _ => {}
        }
    }
    let parameters = Default::default();
    let unknown = || ContentType { media_type: "application/octet-stream".to_owned(), parameters };
    Part { kind: kind.unwrap_or_else(unknown), is_required, body: rest }
}

fn says_required(disposition: &str) -> bool {
    let mut parameters = disposition.split(';').skip(1).filter_map(|one| one.split_once('='));
    parameters.any(|(name, value)| {
        name.trim().eq_ignore_ascii_case("handling")
            && value.trim().eq_ignore_ascii_case("required")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISUP: &str = "--p1\r\nContent-Type: application/isup;version=itu-t92+\r\n\
        Content-Disposition: signal;handling=optional\r\n\r\n\x01\x02\r\n";
    const SDP_PART: &str = "--p1\r\nContent-Type: application/sdp\r\n\
        Content-Disposition: session;handling=required\r\n\r\nv=0\r\ns=-\r\n\r\n";

    fn found(kind: &str, body: &str) -> Result<Option<String>, NoSdp> {
        let kind = ContentType::parse(kind).unwrap();
        Ok(sdp_of(&kind, body.as_bytes())?.map(str::to_owned))
    }

    #[test]
    fn sdp_is_found_wherever_it_stands() {
        let sdp = Ok(Some("v=0\r\ns=-\r\n".to_owned()));
        let mixed = "multipart/mixed;boundary=p1";
        for body in [
            format!("{SDP_PART}{ISUP}--p1--\r\n"),
            format!("preamble\r\n{ISUP}{SDP_PART}--p1--\r\nepilogue\r\n--p1\r\n\r\nnothing"),
            format!("{SDP_PART}{ISUP}"),
            format!("{SDP_PART}{SDP_PART}--p1--").replacen("s=-", "s=-", 1),
            format!(
                "{SDP_PART}--p1\r\nContent-Type: application/pidf+xml\r\n\r\n<presence/>\r\n--p1--"
            ),
        ] {
            assert_eq!(found(mixed, &body), sdp, "{body}");
            assert_eq!(found("Multipart/Mixed; Boundary=\"p1\"", &body), sdp, "{body}");
        }
        let inner = format!("{SDP_PART}--p1--\r\n");
        let outer = format!("--o\r\nc: multipart/related;boundary=p1\r\n\r\n{inner}\r\n--o--\r\n");
        assert_eq!(found("multipart/mixed;boundary=o", &outer), sdp);
        assert_eq!(found("application/sdp", "v=0\r\ns=-\r\n"), sdp);
        let bare = SDP_PART.replace("\r\n", "\n") + "--p1--";
        assert_eq!(found(mixed, &bare), Ok(Some("v=0\ns=-\n".to_owned())));
    }

    #[test]
    fn of_alternatives_the_last_that_we_understand_counts() {
        let one = SDP_PART.replace("s=-", "s=1");
        let two = SDP_PART.replace("s=-", "s=2");
        let other = "--p1\r\nContent-Type: application/x\r\nContent-Disposition: session;handling=required\r\n\r\n?\r\n";
        let sdp = found("multipart/alternative;boundary=p1", &format!("{one}{two}{other}--p1--"));
        assert_eq!(sdp, Ok(Some("v=0\r\ns=2\r\n".to_owned())));
    }

    #[test]
    fn without_sdp_there_is_none_and_what_must_be_understood_is_not_passed_over() {
        let mixed = "multipart/mixed;boundary=p1";
        assert_eq!(found(mixed, &format!("{ISUP}--p1--")), Ok(None));
        let required = ISUP.replace("optional", "Required");
        assert_eq!(found(mixed, &format!("{SDP_PART}{required}--p1--")), Err(NoSdp::OtherType));
        for (kind, body) in
            [("text/plain", "v=0"), ("multipart/mixed", SDP_PART), ("application/isup", "")]
        {
            assert_eq!(found(kind, body), Err(NoSdp::OtherType), "{kind}");
        }
        let mut nested = SDP_PART.to_owned();
        for _ in 0..10 {
            nested = format!("--p1\r\nContent-Type: multipart/mixed;boundary=p1\r\n\r\n{nested}");
        }
        assert_eq!(found(mixed, &nested), Ok(Some("v=0\r\ns=-\r\n".to_owned())));
    }

    proptest::proptest! {
        #[test]
        fn no_body_breaks_the_reader(body in "(--p1(--)?\r?\n|[a-z:;/ =-]{0,9}\r?\n){0,40}", kind in "multipart/[a-z]{1,3};boundary=[p1-]{0,3}") {
            if let Some(kind) = ContentType::parse(&kind) {
                let _ = sdp_of(&kind, body.as_bytes());
            }
        }
    }
}
