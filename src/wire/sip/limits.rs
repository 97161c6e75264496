//! Bounds on what a SIP message may be. A browser's INVITE with its SDP is 3–8 KiB in some 20
//! header lines; a trunk's is under 2 KiB.

/// Largest message accepted: what one UDP datagram can carry.
pub const MESSAGE_BYTES_MAX: usize = 65_535;
/// Most header fields in a message, each comma-separated line counted once.
pub const HEADERS_MAX: usize = 128;
/// Longest header field, folded lines joined.
pub const HEADER_BYTES_MAX: usize = 8 * 1024;
/// Longest URI.
pub const URI_BYTES_MAX: usize = 1024;
/// Most parameters after one URI or one header value.
pub const PARAMETERS_MAX: usize = 64;
/// Most values in a header that is a list (Via, Contact, Route, Supported, …) over all its lines.
pub const VALUES_MAX: usize = 64;
