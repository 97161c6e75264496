//! Any line on the control socket, from either side: it is read or refused by name, and a request
//! comes out as it went in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linecard::control::codec::{read_from_media, read_request, write_request};

fuzz_target!(|line: &str| {
    let _ = read_from_media(line);
    let Ok(request) = read_request(line) else { return };
    let written = write_request(request.id, &request.command);
    assert_eq!(read_request(&written), Ok(request));
});
