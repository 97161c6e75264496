//! What a pause of the whole process leaves behind (a stopped process, a virtual machine that moved):
//! nothing. Every call goes on with what is said from then on.
//!
//! What is said before, during and after the pause are tones of different pitch, so that old audio is
//! known wherever it turns up. How soon the process came back is the scheduler's matter, and printed;
//! that it lost nothing from then on, and sent no more than its calls make, is ours.

use linecard::wire::demux::{Protocol, classify};

use super::*;

const PACKET_TIME: Duration = Duration::from_millis(20);
/// Packets of each direction: half a second, seven seconds, a second.
const BEFORE: usize = 25;
const DURING: usize = 350;
const AFTER: usize = 50;
/// Tones of whole periods in a packet: one leaves nothing at another's frequency.
const TONES_HZ: [f64; 3] = [400.0, 1_000.0, 2_000.0];
/// What a direction may send beyond what its far end said: what is filled, completed or played late.
const SLACK: usize = 6;

fn tone_of(phase: usize, n: usize) -> Vec<i16> {
    let radians = TONES_HZ[phase] * std::f64::consts::TAU / 8e3;
    (n * 160..(n + 1) * 160).map(|n| (8_000.0 * (n as f64 * radians).sin()) as i16).collect()
}

/// Which of the tones it is, if it is one (Goertzel's sums, against the power of the whole).
fn phase_of(pcm: &[i16]) -> Option<usize> {
    TONES_HZ.iter().position(|hz| {
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (n, sample) in pcm.iter().enumerate() {
            let angle = n as f64 * hz * std::f64::consts::TAU / 8e3;
            sine += f64::from(*sample) * angle.sin();
            cosine += f64::from(*sample) * angle.cos();
        }
        let of_tone = (sine.powi(2) + cosine.powi(2)) * 2.0 / (pcm.len() as f64).powi(2);
        power(pcm) > 1e5 && of_tone > power(pcm) / 2.0
    })
}

/// Something heard, and when.
type Arrival = (Instant, Vec<u8>);

/// What is said into a direction, as packets of each tone.
fn speech(opus: bool) -> Vec<Vec<u8>> {
    let arena = OpusArena::new(1).unwrap();
    let mut encoder = arena.encoder(EncoderSettings::default()).unwrap();
    let encode = |(phase, n)| {
        let pcm = tone_of(phase, n);
        if !opus {
            return ulaw(&pcm);
        }
        let mut payload = [0; 500];
        let length = encoder.encode(&pcm, &mut payload).unwrap();
        payload[..length].to_vec()
    };
    let phases = [BEFORE, DURING, AFTER].into_iter().enumerate();
    phases.flat_map(|(phase, packets)| (0..packets).map(move |n| (phase, n))).map(encode).collect()
}

/// A far end that speaks and listens.
struct Voice {
    call: &'static str,
    leg: &'static str,
    peer: Peer,
    opus: bool,
    said: usize,
}

impl Voice {
    fn say(&mut self, speech: &[Vec<u8>]) {
        self.peer.send(&speech[self.said], if self.opus { 960 } else { 160 });
        self.said += 1;
    }

    /// Every datagram until [`END`].
    fn listen(&self) -> impl FnOnce() -> Vec<Arrival> + Send + use<> {
        let socket = self.peer.socket.try_clone().unwrap();
        socket.set_read_timeout(Some(6 * PATIENCE)).unwrap();
        move || {
            let (mut heard, mut buffer) = (Vec::new(), [0; 2048]);
            while let Ok(length) = socket.recv(&mut buffer) {
                if length == END.len() {
                    break;
                }
                heard.push((Instant::now(), buffer[..length].to_vec()));
            }
            heard
        }
    }

    /// The tones heard, each with its arrival; how many packets there were after `since`, audio and
    /// RTCP; and the time that they came within.
    fn understand(&mut self, arrivals: Vec<Arrival>, since: Instant) -> Heard {
        let arena = OpusArena::new(1).unwrap();
        let mut decoder = arena.decoder().unwrap();
        let mut heard = Heard::default();
        for (at, mut datagram) in arrivals {
            let after = at.checked_duration_since(since);
            match classify(&datagram) {
                Ok(Protocol::Rtp) => {}
                Ok(Protocol::Rtcp) => {
                    heard.reports += usize::from(after.is_some());
                    continue;
                }
                _ => continue,
            }
            let mut length = datagram.len();
            if let Some((_, receiver)) = &mut self.peer.srtp {
                length = receiver.unprotect(&mut datagram).expect("an authentic packet");
            }
            let packet = RtpPacket::parse(&datagram[..length]).unwrap();
            let mut pcm = [0; 960];
            let samples = if self.opus {
                decoder.decode(packet.payload, &mut pcm).unwrap()
            } else {
                g711::decode(Law::Mu, packet.payload, &mut pcm[..packet.payload.len()]);
                packet.payload.len()
            };
            if let Some(after) = after {
                heard.packets_after += 1;
                heard.until = heard.until.max(after);
            }
            if let Some(phase) = phase_of(&pcm[..samples]) {
                heard.tones[phase] += 1;
                if phase == 2 {
                    heard.first.get_or_insert(after.expect("nobody said it before the pause"));
                }
            }
        }
        heard
    }
}

#[derive(Default)]
struct Heard {
    /// Packets of each tone.
    tones: [usize; 3],
    packets_after: usize,
    reports: usize,
    /// When the new tone was first heard, and when the last packet came.
    first: Option<Duration>,
    until: Duration,
}

/// What ends a listener; nothing else is so short.
const END: [u8; 1] = [0];

/// A transcoded call and a relayed one as a browser's (SRTP, ICE), one with paced playout, one of
/// G.711 on both legs.
fn make_calls(control: &mut Control) -> Vec<Voice> {
    let key = MasterKey::from_bytes(Profile::AES_CM_128_HMAC_SHA1_80, &[7; 30]).unwrap();
    let base64 = BASE64.encode([7; 30]);
    let mut voices = Vec::new();
    for (call, a_is_opus, b_is_opus, b_is_paced) in [
        ("transcoded", true, false, false),
        ("paced", true, false, true),
        ("relayed", true, true, false),
        ("G.711", false, false, false),
    ] {
        let voice = |leg, opus| {
            let peer = Peer::new(if opus { 111 } else { 0 });
            Voice { call, leg, peer, opus, said: 0 }
        };
        let (mut a, mut b) = (voice("a", a_is_opus), voice("b", b_is_opus));
        let legs = [&a, &b].map(|voice| {
            let (codec, payload_type) = if voice.opus { ("opus", 111) } else { ("pcmu", 0) };
            plain(&voice.peer, codec, payload_type)
        });
        let [mut leg_a, mut leg_b] = legs;
        if a_is_opus {
            leg_a["transport"] =
                json!({"kind": "ice", "local_ufrag": UFRAG, "local_password": PASSWORD});
            leg_a["security"] = json!({"kind": "srtp", "profile": "AES_CM_128_HMAC_SHA1_80",
                                       "send": base64, "receive": base64});
            a.peer.srtp = Some((Sender::new(&key, a.peer.header.ssrc), Receiver::new(&key)));
        }
        if b_is_paced {
            leg_b["format"]["send"]["playout"] =
                json!({"kind": "paced", "least_ms": 20, "most_ms": 100});
        }
        let arguments = json!({"call": call, "a": leg_a, "b": leg_b});
        let created = control.request("create_call", arguments).unwrap();
        if a_is_opus {
            let nominated = json!({"call": call, "leg": "a", "remote": a.peer.address(),
                                   "remote_ufrag": "peer"});
            control.request("update_leg", nominated).unwrap();
        }
        a.peer.to = address(&created["a"]["rtp"]);
        b.peer.to = address(&created["b"]["rtp"]);
        voices.extend([a, b]);
    }
    voices
}

pub(super) fn signal(media: &Media, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(&media.child);
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Stops the process, and waits until all of it stands.
pub(super) fn stop(media: &Media) {
    signal(media, rustix::process::Signal::STOP);
    let tasks = format!("/proc/{}/task", media.child.id());
    let stands = |task: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        status.contains("State:\tT")
    };
    while !std::fs::read_dir(&tasks).unwrap().all(stands) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn packets_received(control: &mut Control, voice: &Voice) -> usize {
    let statistics = control.request("query_call", json!({"call": voice.call})).unwrap();
    statistics[voice.leg]["packets_received"].as_u64().unwrap() as usize
}

#[test]
fn after_seven_seconds_of_pause_every_call_talks_again_without_a_burst_of_old_audio() {
    let media = Media::start();
    let mut control = media.controller();
    let mut voices = make_calls(&mut control);
    control.request("subscribe", json!({"interval_ms": 100})).unwrap();
    let (of_opus, of_g711) = (speech(true), speech(false));
    let listeners: Vec<_> = voices.iter().map(|voice| std::thread::spawn(voice.listen())).collect();
    let speak = |voices: &mut [Voice], packets: usize| {
        let mut at = Instant::now();
        for _ in 0..packets {
            for voice in &mut *voices {
                voice.say(if voice.opus { &of_opus } else { &of_g711 });
            }
            at += PACKET_TIME;
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
        }
    };

    speak(&mut voices, BEFORE);
    let before: Vec<_> = voices.iter().map(|voice| packets_received(&mut control, voice)).collect();
    stop(&media);
    // What is asked meanwhile is answered later, a check of the browser's is forgotten.
    control.send(r#"{"id": 99, "command": "ping"}"#);
    let browser = &voices[0].peer;
    browser.socket.send_to(&check("gate:peer", PASSWORD), browser.to).unwrap();
    speak(&mut voices, DURING);
    let events = control.events.len();
    let since = Instant::now();
    signal(&media, rustix::process::Signal::CONT);
    speak(&mut voices, AFTER);
    assert_eq!(control.reply()["id"], 99);
    let passed = since.elapsed();
    let accepted: Vec<_> = std::iter::zip(&voices, before)
        .map(|(voice, before)| packets_received(&mut control, voice) - before)
        .collect();
    let browser = &voices[0].peer;
    browser.socket.send_to(&check("gate:peer", PASSWORD), browser.to).unwrap();
    // What is held or paced leaves within this.
    std::thread::sleep(Duration::from_millis(300));
    for voice in &voices {
        voice.peer.socket.send_to(&END, voice.peer.address()).unwrap();
    }

    let mut checks_answered = 0;
    let mut heard = Vec::new();
    for (voice, listener) in std::iter::zip(&mut voices, listeners) {
        let arrivals = listener.join().unwrap();
        let stun = |(_, datagram): &&Arrival| matches!(classify(datagram), Ok(Protocol::Stun));
        checks_answered += arrivals.iter().filter(stun).count();
        heard.push(voice.understand(arrivals, since));
    }
    for (n, (voice, heard)) in std::iter::zip(&voices, &heard).enumerate() {
        // Legs come in pairs: what one hears, the other's far end said.
        let (name, accepted) = (format!("{}, leg {}", voice.call, voice.leg), accepted[n ^ 1]);
        let first = heard.first.unwrap_or_else(|| panic!("{name} was dead"));
        println!(
            "{name}: again after {first:?}, {} packets of {accepted} accepted in {:?}",
            heard.packets_after, heard.until
        );
        assert!(heard.tones[0] > BEFORE / 2, "{name}: {:?}", heard.tones);
        assert_eq!(heard.tones[1], 0, "{name}: old audio came after the pause");
        // Of what was let in nothing is missing, and it is new.
        assert!(heard.tones[2] + SLACK >= accepted, "{name}: {:?} of {accepted}", heard.tones);
        let nominal = (heard.until.as_millis() / PACKET_TIME.as_millis()) as usize;
        assert!(heard.packets_after <= nominal + SLACK, "{name}: a burst");
        let reports_max = 2 + heard.until.as_secs() as usize;
        assert!(heard.reports <= reports_max, "{name}: {} reports", heard.reports);
    }
    assert_eq!(checks_answered, 1, "the check after the pause, no old one");
    let events = &control.events[events..];
    assert!(events.iter().all(|event| event["event"] != "consent_expired"), "{events:?}");
    let of_process = events.iter().filter(|event| event["event"] == "process_statistics").count();
    assert!(of_process <= passed.as_millis() as usize / 100 + SLACK, "{of_process} events");
    let thread = &control.request("query_process", json!({})).unwrap()["threads"][0];
    assert!(thread["pauses"].as_u64().unwrap() >= 1);
    assert!(thread["discards"]["after_pause"].as_u64().unwrap() > DURING as u64);
}

/// Far more is said to a thread than it can encode, so that it is stopped in the middle of its work.
#[test]
fn a_pause_in_the_middle_of_work_is_noticed() {
    const PAUSES: u64 = 4;
    let media = Media::start();
    let mut control = media.controller();
    let (a, mut b) = (Peer::new(111), Peer::new(0));
    let legs = (plain(&a, "opus", 111), plain(&b, "pcmu", 0));
    let call = json!({"call": "c", "a": legs.0, "b": legs.1});
    let created = control.request("create_call", call).unwrap();
    b.to = address(&created["b"]["rtp"]);
    let payload = ulaw(&tone(0));
    for _ in 0..PAUSES {
        std::thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let until = Instant::now() + Duration::from_millis(200);
                while Instant::now() < until {
                    b.send(&payload, 160);
                }
            });
            std::thread::sleep(Duration::from_millis(100));
            stop(&media);
            flood.join().unwrap();
        });
        std::thread::sleep(Duration::from_millis(1_100));
        signal(&media, rustix::process::Signal::CONT);
        control.request("ping", json!({})).unwrap();
    }
    let thread = &control.request("query_process", json!({})).unwrap()["threads"][0];
    assert!(thread["pauses"].as_u64().unwrap() >= PAUSES, "{}", thread["pauses"]);
}
