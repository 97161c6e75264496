//! Any line on the control socket, from either side: it is read or refused by name, and a request
//! comes out as it went in.

use linecard::control::codec::{read_from_media, read_request, write_request};

use crate::text_of;

/// One input.
pub fn run(bytes: &[u8]) {
    let line = text_of(bytes);
    let _ = read_from_media(line);
    let Ok(request) = read_request(line) else { return };
    let written = write_request(request.id, &request.command);
    assert_eq!(read_request(&written), Ok(request));
}
