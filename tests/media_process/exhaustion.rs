//! What the media process does when something that it has a bounded number of runs out: it refuses or
//! discards, it counts, and whoever was talking goes on talking. The ring's receive buffers, queues and
//! send space run out in the tests of `src/os/ring.rs`, send slots in those of the packet line.

use rustix::process::Signal;

use super::pause::{signal, stop};
use super::*;

fn process(control: &mut Control) -> Value {
    control.request("query_process", json!({})).unwrap()
}

/// Waits until the first thread has counted this, in these of its statistics.
fn wait_for(control: &mut Control, what: &str, counted: impl Fn(&Value) -> bool) {
    let until = Instant::now() + PATIENCE;
    loop {
        let thread = &process(control)["threads"][0];
        if counted(thread) {
            return;
        }
        assert!(Instant::now() < until, "no {what}: {thread}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A call that talks, to be listened to again later.
struct Talk {
    a: Peer,
    b: Peer,
}

impl Talk {
    fn begin(control: &mut Control, name: &str) -> Self {
        let (mut a, mut b) = (Peer::new(111), Peer::new(0));
        let legs = (plain(&a, "opus", 111), plain(&b, "pcmu", 0));
        let call = json!({"call": name, "a": legs.0, "b": legs.1});
        let created = control.request("create_call", call).unwrap();
        (a.to, b.to) = (address(&created["a"]["rtp"]), address(&created["b"]["rtp"]));
        let mut this = Self { a, b };
        this.go_on();
        this
    }

    fn go_on(&mut self) {
        talk(&mut self.a, &mut self.b);
    }
}

/// Makes calls until one is refused: how many were made, and the code of the refusal.
fn fill(control: &mut Control) -> (usize, String) {
    let peer = Peer::new(0);
    for made in 0..1_000 {
        let leg = plain(&peer, "pcmu", 0);
        let call = json!({"call": format!("fill-{made}"), "a": leg, "b": leg});
        if let Err(code) = control.request("create_call", call) {
            return (made, code);
        }
    }
    panic!("nothing is refused");
}

#[test]
fn used_up_ports_are_refused_and_counted_and_calls_go_on() {
    let media = Media::start_with("load_max_percent = 1000\n");
    let mut control = media.controller();
    let mut call = Talk::begin(&mut control, "first");
    let pairs = process(&mut control)["threads"][0]["port_pairs_free"].as_u64().unwrap() as usize;
    let (made, code) = fill(&mut control);
    assert_eq!(code, "no_ports");
    // Another program may hold a few of them.
    assert!((pairs / 2 - 5..=pairs / 2).contains(&made), "{made} calls of {pairs} pairs");
    let after = process(&mut control);
    assert_eq!(after["refusals"], json!({"no_ports": 1}));
    // What the refused call had bound already came back.
    assert_eq!(after["threads"][0]["calls"], made + 1);
    call.go_on();
}

#[test]
fn used_up_descriptors_are_refused_and_counted_and_calls_go_on() {
    // Registered files are held against the same limit: some and 4 for each call.
    let media =
        Media::start_under("ulimit -n 56", 40, "load_max_percent = 1000\ncalls_per_core = 11\n");
    let mut control = media.controller();
    let mut call = Talk::begin(&mut control, "first");
    let (made, code) = fill(&mut control);
    assert_eq!(code, "system_refused");
    assert!(made >= 1);
    assert_eq!(process(&mut control)["refusals"], json!({"system_refused": 1}));
    call.go_on();
    // A descriptor given back serves again.
    control.request("delete_call", json!({"call": "fill-0"})).unwrap();
    Talk::begin(&mut control, "another");
    call.go_on();
}

#[test]
fn a_core_without_a_free_codec_state_refuses_calls_and_lets_the_one_it_has_change_its_format() {
    let media = Media::start_with("calls_per_core = 1\n");
    let mut control = media.controller();
    let mut call = Talk::begin(&mut control, "only");
    let (made, code) = fill(&mut control);
    assert_eq!((made, &*code), (0, "no_capacity"));
    assert_eq!(process(&mut control)["refusals"], json!({"no_capacity": 1}));
    // What another payload type needs is there: the present states go on.
    for payload_type in [96, 111] {
        let coding = json!({"codec": "opus", "payload_type": payload_type});
        let format = json!({"send": coding, "receive": [coding]});
        let update = json!({"call": "only", "leg": "a", "format": format});
        assert_eq!(control.request("update_leg", update).unwrap(), json!({}));
    }
    call.go_on();
    control.request("delete_call", json!({"call": "only"})).unwrap();
    Talk::begin(&mut control, "next");
}

/// More comes in than a socket holds while the process does not run.
#[test]
fn used_up_receive_space_of_the_kernel_is_counted_and_the_call_goes_on() {
    let media = Media::start();
    let mut control = media.controller();
    let mut call = Talk::begin(&mut control, "only");
    stop(&media);
    for _ in 0..1_000 {
        call.b.socket.send_to(&[0xFF; 200], call.b.to).unwrap();
    }
    signal(&media, Signal::CONT);
    wait_for(&mut control, "dropped datagrams", |thread| {
        thread["receive_space_exhausted"].as_u64() > Some(500)
    });
    call.go_on();
    let before = process(&mut control)["threads"][0]["receive_space_exhausted"].clone();
    control.request("delete_call", json!({"call": "only"})).unwrap();
    let after = &process(&mut control)["threads"][0]["receive_space_exhausted"];
    assert_eq!(*after, before, "what a call's socket dropped stays counted");
}

#[test]
fn more_punts_than_signaling_takes_are_counted_and_calls_go_on() {
    let media = Media::start();
    let mut observer = media.connect();
    let browser = address(&observer.greeting["threads"][0]["browser"]);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let record = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    for _ in 0..10 {
        stranger.send_to(&record, browser).unwrap();
    }
    wait_for(&mut observer, "punts without a controller", |thread| {
        thread["discards"]["no_controller"] == 10
    });

    // A controller that does not read what it is punted.
    let mut deaf = media.controller();
    let mut call = Talk::begin(&mut deaf, "only");
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        scope.spawn(|| {
            let is_done = is_done;
            while is_done.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                for _ in 0..100 {
                    stranger.send_to(&record, browser).unwrap();
                }
            }
        });
        wait_for(&mut observer, "punts too many", |thread| {
            let discards = &thread["discards"];
            let of = |reason: &str| discards[reason].as_u64().unwrap_or_default();
            of("punt_queue_full") + of("punt_rate_exceeded") > 0
        });
        drop(done);
    });
    call.go_on();
    drop(deaf);
    let until = Instant::now() + PATIENCE;
    let mut another = media.connect();
    while another.request("take_control", json!({})).is_err() {
        assert!(Instant::now() < until, "nobody can take control any more");
    }
    Talk::begin(&mut another, "next");
}
