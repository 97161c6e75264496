//! Any line on the control socket, from either side, and any arguments of every command: they are read
//! or refused by name, and a request comes out as it went in.

use linecard::control::codec::{read_from_media, read_request, write_request};
use linecard::control::message::{Command, LINE_BYTES_MAX};

use crate::text_of;

/// One input.
pub fn run(bytes: &[u8]) {
    let text = text_of(bytes);
    let _ = read_from_media(text);
    request(text);
    for command in Command::ALL {
        let name = command.name;
        request(&format!(r#"{{"id":1,"command":"{name}","arguments":{text}}}"#));
    }
}

fn request(line: &str) {
    match read_request(line) {
        Ok(request) => {
            let written = write_request(request.id, &request.command);
            assert_eq!(read_request(&written), Ok(request));
        }
        Err(bad) => {
            let reply = serde_json::to_string(&bad.error).expect("a refusal is written");
            assert!(reply.len() < LINE_BYTES_MAX);
        }
    }
}
