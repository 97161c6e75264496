//! Sounds and files through the whole media process, by the lines of the control protocol.

use serde_json::{Value, json};

use super::*;
use crate::audio::g711::{self, Law};
use crate::audio::sound;
use crate::control::message::TakeControl;
use crate::media::registry::{Client, Limits};
use crate::media::rig::{Flying, Process};
use crate::wire::rtp::RtpPacket;

/// A media process and its controller.
struct Media {
    process: Process,
    client: Client,
    events: Vec<Value>,
    /// Where a trunk has to send to.
    ours: std::net::SocketAddr,
}

const THEIRS: &str = "198.51.100.7:20000";

impl Media {
    /// One call, whose leg b is a trunk without a format.
    fn new() -> Self {
        let mut process = Process::new(1, 4, "generation", Instant::now()).unwrap();
        let client = process.connect();
        let ours = THEIRS.parse().unwrap();
        let mut this = Self { process, client, events: Vec::new(), ours };
        this.request("take_control", json!({})).unwrap();
        let coding = json!({"codec": "pcmu", "payload_type": 0});
        let created = this.request(
            "create_call",
            json!({"call": "c",
                "a": {"transport": {"kind": "plain", "remote": THEIRS},
                      "format": {"send": coding, "receive": [coding]}},
                "b": {"transport": {"kind": "plain"}}}),
        );
        this.ours = created.unwrap()["a"]["rtp"].as_str().unwrap().parse().unwrap();
        this
    }

    fn request(&mut self, command: &str, arguments: Value) -> std::result::Result<Value, String> {
        let line = json!({"id": 1, "command": command, "arguments": arguments}).to_string();
        self.process.line(self.client, &line);
        self.reply().unwrap_or_else(|| panic!("no reply to {command}"))
    }

    fn reply(&mut self) -> Option<std::result::Result<Value, String>> {
        let mut reply = None;
        while let Some((_, line)) = self.process.poll_line() {
            let line: Value = serde_json::from_str(&line).unwrap();
            match line.get("id") {
                None if line.get("event").is_some() => self.events.push(line),
                None => {}
                Some(_) => {
                    assert!(reply.is_none());
                    assert!(self.events.is_empty(), "events come after the reply to their cause");
                    reply = Some(match line.get("result") {
                        Some(result) => Ok(result.clone()),
                        None => {
                            let error = &line["error"];
                            Err(format!(
                                "{} {}",
                                error["code"].as_str().unwrap(),
                                error["message"].as_str().unwrap()
                            ))
                        }
                    });
                }
            }
        }
        reply
    }

    fn pass(&mut self, time: Duration) -> Vec<i16> {
        let until = self.process.now + time;
        while let Some(at) = self.process.next_timeout().filter(|at| *at <= until) {
            self.process.handle_timeout(at);
        }
        self.process.handle_timeout(until);
        assert!(self.reply().is_none());
        self.heard()
    }

    /// What the trunk of leg a hears.
    fn heard(&mut self) -> Vec<i16> {
        let theirs = THEIRS.parse().unwrap();
        let mut heard = Vec::new();
        for Flying { to, bytes, from } in self.process.sent() {
            if to == theirs && from == self.ours {
                let payload = RtpPacket::parse(&bytes).unwrap().payload;
                let mut pcm = vec![0; payload.len()];
                g711::decode(Law::Mu, payload, &mut pcm);
                heard.extend(pcm);
            }
        }
        heard
    }

    fn ends(&mut self) -> Vec<Value> {
        let events = std::mem::take(&mut self.events);
        let ends = events.into_iter().filter(|event| event["event"] == "play_ended");
        ends.map(|event| {
            assert_eq!((&event["call"], &event["leg"]), (&json!("c"), &json!("a")));
            event["why"].clone()
        })
        .collect()
    }

    fn play(&mut self, what: Value) -> std::result::Result<Value, String> {
        self.request("play", json!({"call": "c", "leg": "a", "what": what}))
    }

    fn refused(&mut self, command: &str, arguments: Value) -> String {
        self.request(command, arguments).unwrap_err()
    }
}

/// µ-law of these codes.
fn wav(codes: &[u8]) -> Vec<u8> {
    let mut file =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x07\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data"
            .to_vec();
    file.extend((codes.len() as u32).to_le_bytes());
    file.extend(codes);
    file
}

fn level(pcm: &[i16]) -> f64 {
    let energy: f64 = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (energy / pcm.len().max(1) as f64).sqrt()
}

#[test]
fn every_kind_of_sound_is_played_and_its_end_is_told_after_the_reply() {
    let mut media = Media::new();
    media.play(json!({"kind": "ringback", "country": "GB"})).unwrap();
    let heard = media.pass(Duration::from_secs(3));
    for (from_ms, to_ms, sounds) in
        [(20, 380, true), (420, 580, false), (620, 980, true), (1_020, 2_980, false)]
    {
        let level = level(&heard[from_ms * 8..to_ms * 8]);
        assert_eq!(level > 2_000.0, sounds, "{from_ms} to {to_ms} ms: {level}");
        assert!(sounds || level == 0.0);
    }
    media.play(json!({"kind": "silence"})).unwrap();
    assert_eq!(media.ends(), ["replaced"]);
    assert!(media.pass(Duration::from_secs(1)).iter().all(|sample| *sample == 0));
    let tone = json!({"kind": "tone", "hz": [425], "on_ms": 100, "off_ms": 100, "level_dbov": -30});
    let play = json!({"call": "c", "leg": "a", "what": tone, "repeat": 5});
    media.request("play", play).unwrap();
    let heard = media.pass(Duration::from_secs(2));
    assert_eq!(heard.len(), 8_000);
    assert!((level(&heard[80..720]) / 1_036.0 - 1.0).abs() < 0.1, "-30 dBov");
    assert_eq!(media.ends(), ["replaced", "finished"]);
    media.play(json!({"kind": "silence"})).unwrap();
    media.request("stop_playing", json!({"call": "c", "leg": "a"})).unwrap();
    assert_eq!(media.ends(), ["stopped"]);
    media.request("stop_playing", json!({"call": "c", "leg": "a"})).unwrap();
    assert!(media.ends().is_empty() && media.pass(Duration::from_secs(1)).is_empty());
    media.play(json!({"kind": "silence"})).unwrap();
    media
        .request(
            "replace_leg",
            json!({"call": "c", "leg": "a", "with":
        {"transport": {"kind": "plain"}}}),
        )
        .unwrap();
    assert_eq!(media.ends(), ["leg_replaced"]);
}

#[test]
fn audio_is_loaded_played_replaced_and_unloaded() {
    let mut media = Media::new();
    media.process.files.insert("/one.wav".to_owned(), wav(&[0x20; 1_600]));
    media.process.files.insert("/two.wav".to_owned(), wav(&[0xA0; 800]));
    let load = |path: &str| json!({"name": "n", "path": path});
    assert_eq!(media.request("load_audio", load("/one.wav")), Ok(json!({"duration_ms": 200})));
    let file = json!({"kind": "file", "name": "n"});
    media.play(file.clone()).unwrap();
    let mut heard = media.pass(Duration::from_millis(50));
    // Another one under its name, then none: what plays goes on.
    assert_eq!(media.request("load_audio", load("/two.wav")), Ok(json!({"duration_ms": 100})));
    heard.extend(media.pass(Duration::from_millis(50)));
    media.request("unload_audio", json!({"name": "n"})).unwrap();
    heard.extend(media.pass(Duration::from_millis(500)));
    assert_eq!(heard.len(), 1_600);
    assert!(heard.iter().all(|sample| *sample == heard[0] && *sample < -1_000));
    assert_eq!(media.ends(), ["finished"]);
    assert!(media.play(file.clone()).unwrap_err().starts_with("unknown_audio what.name: "));
    assert!(
        media.refused("unload_audio", json!({"name": "n"})).starts_with("unknown_audio name: ")
    );

    media.request("load_audio", load("/two.wav")).unwrap();
    media.play(file).unwrap();
    let heard = media.pass(Duration::from_millis(500));
    assert!(heard.len() == 800 && heard.iter().all(|sample| *sample > 1_000));
}

#[test]
fn what_cannot_be_loaded_or_played_is_refused_with_its_place() {
    let mut media = Media::new();
    media.process.files.insert("/mp3".to_owned(), b"ID3, and so on".to_vec());
    media.process.files.insert("/empty.wav".to_owned(), wav(&[]));
    let load = |path: &str| json!({"name": "n", "path": path});
    for (path, refusal) in [
        ("/none", "system_refused path: "),
        ("/mp3", "unsupported path: the file is no WAV file"),
        ("/empty.wav", "unsupported path: the file has no audio"),
        ("relative.wav", "bad_arguments path: "),
    ] {
        let refused = media.refused("load_audio", load(path));
        assert!(refused.starts_with(refusal), "{path}: {refused}");
    }
    assert!(
        media.play(json!({"kind": "file", "name": "n"})).unwrap_err().starts_with("unknown_audio")
    );
    let silence = json!({"call": "c", "leg": "a", "what": {"kind": "silence"}, "repeat": 2});
    assert!(media.refused("play", silence).starts_with("bad_arguments repeat: "));
    let elsewhere = json!({"call": "d", "leg": "a", "what": {"kind": "silence"}});
    assert!(media.refused("play", elsewhere).starts_with("unknown_call"));
    let stop = json!({"call": "d", "leg": "a"});
    assert!(media.refused("stop_playing", stop).starts_with("unknown_call"));
    assert!(media.pass(Duration::from_secs(1)).is_empty());

    let observer = media.process.connect();
    while media.process.poll_line().is_some() {}
    media.client = observer;
    for (command, arguments) in [
        ("play", json!({"call": "c", "leg": "a", "what": {"kind": "silence"}})),
        ("stop_playing", json!({"call": "c", "leg": "a"})),
        ("load_audio", load("/one.wav")),
        ("unload_audio", json!({"name": "n"})),
    ] {
        assert!(media.refused(command, arguments).starts_with("not_controller"));
    }
}

/// A registry whose files are read by the test.
fn registry() -> (Registry, Instant) {
    let now = Instant::now();
    let limits = Limits { calls: 1, load: 0.9 };
    let mut registry = Registry::new(Vec::new(), limits, "generation".to_owned(), now);
    let control = TakeControl { force: false };
    registry.handle_command(Ticket(0), 1, control.into(), now);
    while registry.poll_output().is_some() {}
    (registry, now)
}

fn load(registry: &mut Registry, ticket: u64, name: &str, now: Instant) -> Output {
    let load = LoadAudio { name: name.to_owned(), path: "/a.wav".to_owned() };
    registry.handle_command(Ticket(ticket), 1, load.into(), now);
    registry.poll_output().unwrap()
}

fn refusal(output: Option<Output>) -> (Ticket, ErrorCode) {
    match output {
        Some(Output::Answer(ticket, Err(error))) => (ticket, error.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_room_for_recordings_is_bounded_and_what_replaces_its_own_counts_once() {
    let (mut registry, now) = registry();
    let recording = Recording::new(vec![1; wav::SAMPLES_MAX]).unwrap();
    let most = BYTES_MAX / recording.size_bytes();
    for n in 0..=most {
        let Output::Read { token, .. } = load(&mut registry, 1, &n.to_string(), now) else {
            panic!("not read")
        };
        registry.handle_recording(token, Ok(recording.clone()));
        match registry.poll_output() {
            Some(Output::Answer(_, Ok(_))) if n < most => {}
            output => assert_eq!(refusal(output), (Ticket(1), ErrorCode::NoCapacity)),
        }
    }
    let Output::Read { token, .. } = load(&mut registry, 2, "0", now) else { panic!("not read") };
    registry.handle_recording(token, Ok(recording));
    assert!(matches!(registry.poll_output(), Some(Output::Answer(Ticket(2), Ok(_)))));

    let short = Recording::new([1_i16]).unwrap();
    let mut kept = most;
    loop {
        let name = format!("short-{kept}");
        let Output::Read { token, .. } = load(&mut registry, 3, &name, now) else { panic!() };
        registry.handle_recording(token, Ok(short.clone()));
        match registry.poll_output() {
            Some(Output::Answer(_, Ok(_))) => kept += 1,
            output => {
                assert_eq!(refusal(output).1, ErrorCode::NoCapacity);
                break;
            }
        }
    }
    assert_eq!(kept, RECORDINGS_MAX);
}

#[test]
fn a_file_that_takes_too_long_is_refused_once_and_changes_nothing_later() {
    let (mut registry, now) = registry();
    let Output::Read { token, .. } = load(&mut registry, 1, "n", now) else { panic!("not read") };
    assert_eq!(registry.next_timeout(), Some(now + READING_TIME_MAX));
    registry.handle_timeout(now + READING_TIME_MAX);
    assert_eq!(refusal(registry.poll_output()), (Ticket(1), ErrorCode::SystemRefused));
    assert_ne!(registry.audio.next_timeout(), Some(now + READING_TIME_MAX));
    registry.handle_recording(token, Ok(Recording::new([1_i16]).unwrap()));
    assert!(registry.poll_output().is_none() && registry.audio.recordings.is_empty());

    // Disks that hang take a few threads at most.
    for ticket in 0..READING_MAX as u64 {
        assert!(matches!(load(&mut registry, ticket, "n", now), Output::Read { .. }));
    }
    registry.handle_timeout(now + READING_TIME_MAX);
    while registry.poll_output().is_some() {}
    let output = load(&mut registry, 9, "n", now);
    assert_eq!(refusal(Some(output)), (Ticket(9), ErrorCode::NoCapacity));
}

#[test]
fn every_ringing_tone_fits_what_can_be_played() {
    use crate::control::message::{Country, Ringback};
    let countries = ["CA", "DE", "ES", "FR", "GB", "IT", "US"];
    let read = |code: &str| serde_json::from_value::<Country>(json!(code)).unwrap();
    for country in countries.map(|code| Some(read(code))).into_iter().chain([None]) {
        let Cadence { hz, on_off_ms } = Ringback { country }.cadence();
        assert!((1..=sound::FREQUENCIES_MAX).contains(&hz.len()), "{country:?}");
        assert!((1..=sound::BEATS_MAX).contains(&on_off_ms.len()), "{country:?}");
    }
}
