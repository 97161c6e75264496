//! What calls cost in memory, and that they give it back.

use linecard::wire::demux::{Protocol, classify};

use super::*;

const CALLS: usize = 1_000;
/// What a transcoded call may keep resident.
const CALL_BYTES_MAX: u64 = 80 * 1024;

/// A figure of `/proc/PID/status`, given there in kB.
fn resident_bytes(media: &Media) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", media.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn descriptors(media: &Media) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", media.child.id())).unwrap().count()
}

/// Both far ends of every call, one call after the other.
struct FarEnds {
    browser: Peer,
    trunk: Peer,
    /// Opus of a tone, each packet with FEC of the one before.
    opus: Vec<Vec<u8>>,
}

impl FarEnds {
    fn new() -> Self {
        let arena = OpusArena::new(1).unwrap();
        let mut encoder = arena.encoder(EncoderSettings::default()).unwrap();
        let encode = |n: usize| {
            let mut payload = vec![0; 500];
            let length = encoder.encode(&tone(n), &mut payload).unwrap();
            payload.truncate(length);
            payload
        };
        let opus = (0..8).map(encode).collect();
        Self { browser: Peer::new(111), trunk: Peer::new(0), opus }
    }

    /// Makes a call and has it use every state that a call has: both codecs, SRTP both ways, a
    /// packet lost and one too late on either side.
    fn call(&mut self, control: &mut Control, name: &str) {
        let (browser, trunk) = (&mut self.browser, &mut self.trunk);
        let key = MasterKey::from_bytes(Profile::AES_CM_128_HMAC_SHA1_80, &[7; 30]).unwrap();
        let base64 = BASE64.encode([7; 30]);
        let coding = json!({"codec": "opus", "payload_type": 111});
        let a = json!({
            "transport": {"kind": "ice", "local_ufrag": "fragment",
                          "local_password": "a password of many characters"},
            "security": {"kind": "srtp", "profile": "AES_CM_128_HMAC_SHA1_80",
                         "send": base64, "receive": base64},
            "format": {"send": coding, "receive": [coding], "receive_redundancy": [63]},
        });
        let call = json!({"call": name, "a": a, "b": plain(trunk, "pcmu", 0)});
        let created = loop {
            // What a call is found to cost rises while other tests keep the machine busy.
            match control.request("create_call", call.clone()) {
                Err(code) if code == "overloaded" => std::thread::sleep(Duration::from_millis(100)),
                created => break created.unwrap(),
            }
        };
        let nominated = json!({"call": name, "leg": "a", "remote": browser.address()});
        control.request("update_leg", nominated).unwrap();
        (browser.to, trunk.to) = (address(&created["a"]["rtp"]), address(&created["b"]["rtp"]));
        browser.srtp = Some((Sender::new(&key, browser.header.ssrc), Receiver::new(&key)));
        for (n, opus) in self.opus.iter().enumerate() {
            if n == 3 {
                for peer in [&mut *browser, &mut *trunk] {
                    peer.header.sequence_number = peer.header.sequence_number.next();
                }
                browser.header.timestamp = browser.header.timestamp + 960;
                trunk.header.timestamp = trunk.header.timestamp + 160;
            }
            browser.send(opus, 960);
            trunk.send(&ulaw(&tone(n)), 160);
        }
        // As many arrive, the lost one filled, and what was held behind it once that is given up.
        for peer in [&*browser, &*trunk] {
            let mut heard = 0;
            let mut buffer = [0; 2048];
            while heard < self.opus.len() {
                let (length, from) = peer.socket.recv_from(&mut buffer).expect("a packet");
                let is_rtp = matches!(classify(&buffer[..length]), Ok(Protocol::Rtp));
                heard += usize::from(is_rtp && from == peer.to);
            }
        }
    }
}

#[test]
fn a_transcoded_call_among_a_thousand_keeps_80_kilobytes_at_most_and_gives_them_back() {
    let more = "load_max_percent = 1000\ncalls_per_core = 1001\n";
    // Some pairs are somebody else's.
    let media = Media::start_under("", 2_100, more);
    let mut control = media.controller();
    let mut far_ends = FarEnds::new();
    // Every receive buffer of the thread has been used, and so has whatever the first call touches.
    far_ends.call(&mut control, "first");
    for _ in 0..30 {
        for _ in 0..70 {
            far_ends.trunk.socket.send_to(&[0; 1_400], far_ends.trunk.to).unwrap();
        }
        control.request("ping", json!({})).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    let (empty, empty_descriptors) = (resident_bytes(&media), descriptors(&media));
    let mut full = Vec::new();
    for round in 0..2 {
        for number in 0..CALLS {
            far_ends.call(&mut control, &format!("{round}-{number}"));
        }
        full.push(resident_bytes(&media));
        for number in 0..CALLS {
            let call = json!({"call": format!("{round}-{number}")});
            control.request("delete_call", call).unwrap();
        }
        assert_eq!(descriptors(&media), empty_descriptors);
    }
    let per_call = (full[0] - empty) / CALLS as u64;
    println!("{per_call} bytes a call; {} kB without calls", empty / 1024);
    assert!(per_call <= CALL_BYTES_MAX, "{per_call} bytes a call");
    // The second thousand lives in what the first gave back.
    let grown = full[1].saturating_sub(full[0]) / CALLS as u64;
    assert!(grown < CALL_BYTES_MAX / 20, "{grown} bytes a call were not given back");
}
