//! The SDP's lines under our limits (RFC 8866 §5), before anything is made of them.

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
