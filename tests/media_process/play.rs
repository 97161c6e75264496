//! What media plays by itself, as a trunk hears it.

use super::*;

/// A WAV file of one channel at 8 kHz.
fn wav(pcm: &[i16]) -> Vec<u8> {
    let samples: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut file = b"RIFF".to_vec();
    file.extend((36 + samples.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    file.extend((samples.len() as u32).to_le_bytes());
    file.extend(samples);
    file
}

#[test]
fn a_file_is_loaded_and_heard_before_there_is_another_leg_to_speak_of() {
    let media = Media::start();
    let mut control = media.controller();
    let path = media.directory.join("welcome.wav");
    let pcm: Vec<i16> = (0..25).flat_map(tone).collect();
    std::fs::write(&path, wav(&pcm)).unwrap();
    let load = json!({"name": "welcome", "path": path});
    let loaded = control.request("load_audio", load.clone()).unwrap();
    assert_eq!(loaded, json!({"duration_ms": 500}));
    // What cannot be read leaves it as it is.
    for (path, code) in [
        (media.directory.join("none.wav"), "system_refused"),
        (media.directory.clone(), "system_refused"),
        (media.directory.join("linecard.toml"), "unsupported"),
    ] {
        let refused = control.request("load_audio", json!({"name": "welcome", "path": path}));
        assert_eq!(refused, Err(code.to_owned()));
    }

    let mut a = Peer::new(0);
    let ice = json!({"transport": {"kind": "ice", "local_ufrag": UFRAG, "local_password": PASSWORD},
                     "security": {"kind": "pending"}});
    let create = json!({"call": "c", "a": plain(&a, "pcmu", 0), "b": ice});
    control.request("create_call", create).unwrap();
    let play =
        json!({"call": "c", "leg": "a", "what": {"kind": "file", "name": "welcome"}, "repeat": 2});
    let began = Instant::now();
    control.request("play", play.clone()).unwrap();
    let mut before: Option<RtpHeader> = None;
    for n in 0..50 {
        let (header, payload) = a.receive();
        assert_eq!(payload, ulaw(&tone(n % 25)), "packet {n}");
        assert_eq!(header.marker, n == 0);
        if let Some(before) = before {
            assert_eq!(header.sequence_number, before.sequence_number.next());
            assert_eq!(header.timestamp.distance(before.timestamp), 160);
        }
        before = Some(header);
    }
    let ended = control.event("play_ended");
    assert_eq!(
        (&ended["call"], &ended["leg"], &ended["why"]),
        (&json!("c"), &json!("a"), &json!("finished"))
    );
    assert!(began.elapsed() >= Duration::from_millis(1_000), "{:?}", began.elapsed());

    control.request("play", play.clone()).unwrap();
    a.receive();
    control.request("unload_audio", json!({"name": "welcome"})).unwrap();
    assert_eq!(control.request("play", play), Err("unknown_audio".to_owned()));
    assert_eq!(a.receive().1, ulaw(&tone(1)), "what plays goes on");
    control.request("stop_playing", json!({"call": "c", "leg": "a"})).unwrap();
    assert_eq!(control.event("play_ended")["why"], "stopped");
}
