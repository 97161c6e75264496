//! Somebody who watches our media process: a connection of the control protocol, or as many as it takes,
//! that asks for statistics so many times a second and reads the answers. It costs as little as it can:
//! lines are made once, answers are counted and not understood, and it is not woken by them.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::engine::linecard::name_of;
use crate::machine::Priority;
use crate::machine::clock::{monotonic_ns, sleep_until};
use crate::machine::process::raise_observer;

/// Questions about calls are answered a thousand times a second to each connection at most, the next one
/// being begun after an answer; one in so many is kept to.
const PER_CONNECTION_MAX: u32 = 500;
/// How often questions leave and answers are read.
const TICK_NS: i64 = 4_000_000;
/// Of a connection, without an answer: what is due beyond that is not asked.
const OUTSTANDING_MAX: u64 = 32;
/// One question in so many is about the process, the others about a call each.
const PROCESS_ONE_IN: u64 = 16;
/// How the line of an answer begins, and that of a refusal.
const ANSWER: &[u8] = b"{\"id\":1,\"result\"";
const REFUSAL: &[u8] = b"{\"id\":1,\"error\"";

/// How it is to ask.
pub struct ObserverSettings {
    /// Of the control protocol.
    pub socket: PathBuf,
    /// Questions a second; 0: it is connected and asks nothing.
    pub per_second: u32,
    /// Calls that there are.
    pub calls: u16,
    /// Where it runs.
    pub core: usize,
    /// How the engine and the generator are scheduled: it comes after both.
    pub priority: Priority,
}

/// Who asks; ends when told to.
pub struct Observer {
    ended: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), String>>,
}

impl Observer {
    /// Begins to ask.
    pub fn start(settings: ObserverSettings) -> Result<Self, String> {
        let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let seen = (Arc::clone(&ended), Arc::clone(&answered));
        let asks = move || {
            let core = settings.core;
            if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
                return Err(format!("core {core}, the observer's, is not ours to use"));
            }
            raise_observer(settings.priority)?;
            ask(&settings, &seen.0, &seen.1).map_err(|error| format!("observer: {error}"))
        };
        let thread = std::thread::Builder::new().name("observer".to_owned()).spawn(asks);
        let thread = thread.map_err(|error| format!("observer: {error}"))?;
        Ok(Self { ended, answered, thread })
    }

    /// Answers so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it. An error when it could not ask, or was refused.
    pub fn end(self) -> Result<(), String> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the observer failed".to_owned())?
    }
}

/// A connection, and what is known of it.
struct Asking {
    stream: UnixStream,
    asked: u64,
    answered: u64,
    /// How the line begins that is being read.
    head: Vec<u8>,
}

fn ask(
    settings: &ObserverSettings,
    ended: &AtomicBool,
    answered: &AtomicU64,
) -> std::io::Result<()> {
    let connections = settings.per_second.div_ceil(PER_CONNECTION_MAX).max(1);
    let of_call = |number| {
        let call = name_of(number);
        format!("{{\"id\":1,\"command\":\"query_call\",\"arguments\":{{\"call\":\"{call}\"}}}}\n")
    };
    let lines: Vec<String> = (0..settings.calls).map(of_call).collect();
    let connect = |_| {
        let stream = UnixStream::connect(&settings.socket)?;
        stream.set_nonblocking(true)?;
        Ok(Asking { stream, asked: 0, answered: 0, head: Vec::new() })
    };
    let mut asking = (0..connections).map(connect).collect::<std::io::Result<Vec<_>>>()?;
    let (began_ns, mut next_ns) = (monotonic_ns(), monotonic_ns());
    let (mut questions, mut skipped) = (Vec::new(), vec![0; asking.len()]);
    let mut buffer = vec![0; 256 << 10];
    while !ended.load(Ordering::Relaxed) {
        let passed_s = (monotonic_ns() - began_ns) as f64 / 1e9;
        let due_each = (passed_s * f64::from(settings.per_second) / f64::from(connections)) as u64;
        for (place, one) in asking.iter_mut().enumerate() {
            questions.clear();
            while one.asked + skipped[place] < due_each {
                if one.asked - one.answered >= OUTSTANDING_MAX {
                    skipped[place] = due_each - one.asked;
                    break;
                }
                // Connections begin at different calls.
                let number = one.asked + 7 * place as u64;
                let line = match lines.get(number as usize % lines.len().max(1)) {
                    Some(line) if !number.is_multiple_of(PROCESS_ONE_IN) => line,
                    _ => "{\"id\":1,\"command\":\"query_process\"}\n",
                };
                questions.extend_from_slice(line.as_bytes());
                one.asked += 1;
            }
            one.stream.write_all(&questions)?;
            let before = one.answered;
            one.read(&mut buffer)?;
            answered.fetch_add(one.answered - before, Ordering::Relaxed);
        }
        next_ns = (next_ns + TICK_NS).max(monotonic_ns());
        sleep_until(next_ns);
    }
    Ok(())
}

impl Asking {
    /// Reads what is there.
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<()> {
        match self.stream.read(buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.take(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Counts answers; greeting and events are passed over.
    fn take(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let missing = ANSWER.len().saturating_sub(self.head.len());
            self.head.extend_from_slice(&part[..missing.min(part.len())]);
            if part.ends_with(b"\n") {
                self.answered += u64::from(self.head.starts_with(ANSWER));
                if self.head.starts_with(REFUSAL) {
                    let line = String::from_utf8_lossy(part).into_owned();
                    return Err(std::io::Error::other(format!("refused: {line}")));
                }
                self.head.clear();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking() -> Asking {
        let (stream, _) = UnixStream::pair().unwrap();
        Asking { stream, asked: 0, answered: 0, head: Vec::new() }
    }

    #[test]
    fn answers_are_counted_wherever_they_are_cut_and_events_are_not() {
        let text = b"{\"product\":\"linecard\"}\n{\"id\":1,\"result\":{}}\n{\"event\":\"x\"}\n{\"id\":1,\"result\":{\"a\":1}}\n";
        for cut in 0..text.len() {
            let mut asking = asking();
            asking.take(&text[..cut]).unwrap();
            asking.take(&text[cut..]).unwrap();
            assert_eq!(asking.answered, 2, "cut at {cut}");
        }
    }

    #[test]
    fn a_refusal_is_an_error() {
        let refused = asking().take(b"{\"id\":1,\"error\":{\"code\":\"unknown_call\"}}\n");
        assert!(refused.unwrap_err().to_string().contains("unknown_call"));
    }
}
