//! The Unix socket of the control protocol: connections, bounded queues, the cores' queues. One task owns
//! the [`Front`]; what a connection reads reaches it a line at a time, and what goes out is never waited
//! for: a client that does not read is cut off.

use std::collections::HashMap;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, spawn_blocking, spawn_local};
use tracing::warn;

use super::json::{Front, Output};
use crate::audio::sound::Recording;
use crate::audio::wav;
use crate::base::opaque::opaque;
use crate::control::message::LINE_BYTES_MAX;
use crate::media::channel::{CoreHandle, Reports, Token};
use crate::media::registry::audio::{READING_MAX, recording_of, unreadable};
use crate::media::registry::{Client, Result};
use crate::os::file;

/// Lines that wait for a client to read them; then it is cut off.
const OUTGOING_MAX: usize = 4096;
/// Connections at once: a controller, its successor, and a crowd of observers.
const CONNECTIONS_MAX: usize = 64;
/// How long the last line of a connection that is closed may take to leave.
const LAST_LINE_MAX: Duration = Duration::from_millis(100);
/// For the calls of a process that was told to end.
const ENDING_MAX: Duration = Duration::from_secs(1);
/// Reports taken in one turn before connections are served.
const REPORTS_A_TURN: usize = 1024;

/// A file that was read, or was not.
type FileRead = (Token, Result<Recording>);

/// What a connection's reader says.
enum FromClient {
    /// A line; the sender is told when the next may come.
    Line(Client, Vec<u8>, oneshot::Sender<()>),
    /// A line that is too long.
    TooLong(Client),
    /// It ended.
    Ended(Client),
}

/// A connection.
struct Connection {
    outgoing: mpsc::Sender<String>,
    reader: AbortHandle,
    writer: AbortHandle,
    /// Told when the request that is carried out is answered.
    answered: Option<oneshot::Sender<()>>,
}

/// The control thread's state.
pub struct Control {
    front: Front,
    cores: Vec<CoreHandle>,
    reports: Reports,
    connections: HashMap<Client, Connection>,
    lines: mpsc::Sender<FromClient>,
    files: mpsc::Sender<FileRead>,
}

opaque!(Control);

impl Control {
    /// Serves `listener` and the cores' reports in a local task set, until `told_to_end`: then every
    /// call ends, and whoever is connected hears its final statistics.
    pub async fn serve(
        front: Front,
        cores: Vec<CoreHandle>,
        reports: Reports,
        listener: UnixListener,
        told_to_end: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        // Each connection has one line here at most.
        let (lines, mut from_clients) = mpsc::channel(CONNECTIONS_MAX);
        let wake = reports.wake.waiter()?;
        let (files, mut files_read) = mpsc::channel(READING_MAX);
        let mut this = Self { front, cores, reports, connections: HashMap::new(), lines, files };
        let mut told_to_end = pin!(told_to_end);
        let mut given_up: Option<Instant> = None;
        loop {
            let timeout = this.front.next_timeout().into_iter().chain(given_up).min();
            tokio::select! {
                () = &mut told_to_end, if given_up.is_none() => {
                    given_up = Some(Instant::now() + ENDING_MAX);
                }
                ready = wake.readable() => match ready {
                    Ok(mut ready) => {
                        ready.clear_ready();
                        this.take_reports();
                    }
                    Err(error) => return Err(error),
                },
                Some(said) = from_clients.recv() => this.take(said),
                Some((token, recording)) = files_read.recv() => {
                    this.front.handle_recording(token, recording, Instant::now());
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => this.open(stream),
                    Err(error) => {
                        // Out of descriptors, as a rule: calls go on, so does the next try.
                        warn!(%error, "control connection not accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                () = sleep_until(timeout) => this.front.handle_timeout(Instant::now()),
            }
            let now = Instant::now();
            let is_over = given_up.is_some_and(|at| this.front.end_all(now) || at <= now);
            this.deliver();
            if is_over {
                this.leave().await;
                return Ok(());
            }
        }
    }

    /// Closes every connection, after what it was sent.
    async fn leave(self) {
        drop(self.lines);
        let writers = self.connections.into_values().map(|connection| connection.writer);
        let writers: Vec<AbortHandle> = writers.collect();
        let until = tokio::time::Instant::now() + LAST_LINE_MAX;
        // A writer ends by itself once it has written what it had.
        while writers.iter().any(|writer| !writer.is_finished()) {
            if tokio::time::Instant::now() >= until {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn take_reports(&mut self) {
        self.reports.wake.clear();
        let now = Instant::now();
        for _ in 0..REPORTS_A_TURN {
            let Some(report) = self.reports.next() else { return };
            self.front.handle_report(report, now);
        }
        // The rest has its turn soon.
        self.reports.wake.ring();
    }

    fn take(&mut self, said: FromClient) {
        let now = Instant::now();
        match said {
            FromClient::Line(client, line, answered) => {
                if let Some(connection) = self.connections.get_mut(&client) {
                    connection.answered = Some(answered);
                    self.front.handle_line(client, &line, now);
                }
            }
            FromClient::TooLong(client) => self.front.line_too_long(client),
            FromClient::Ended(client) => self.close(client),
        }
    }

    fn open(&mut self, stream: UnixStream) {
        let uid = rustix::process::geteuid().as_raw();
        let peer = stream.peer_cred().map(|peer| peer.uid());
        if !peer.is_ok_and(|peer| peer == uid || peer == 0) {
            warn!("control connection of another user refused");
            return;
        }
        if self.front.connections() >= CONNECTIONS_MAX {
            warn!(limit = CONNECTIONS_MAX, "control connection over the limit refused");
            return;
        }
        let client = self.front.opened();
        let (reader, writer) = stream.into_split();
        let (outgoing, lines) = mpsc::channel::<String>(OUTGOING_MAX);
        let writer = spawn_local(write(writer, lines)).abort_handle();
        let to_front = self.lines.clone();
        let reading = spawn_local(async move {
            let last = read(client, reader, &to_front).await;
            let _ = to_front.send(last).await;
        });
        let reader = reading.abort_handle();
        let connection = Connection { outgoing, reader, writer, answered: None };
        self.connections.insert(client, connection);
    }

    /// Forgets a connection; what it was sent still leaves, for a moment.
    fn close(&mut self, client: Client) {
        if let Some(connection) = self.connections.remove(&client) {
            connection.reader.abort();
            let writer = connection.writer;
            spawn_local(async move {
                tokio::time::sleep(LAST_LINE_MAX).await;
                writer.abort();
            });
            self.front.closed(client, Instant::now());
        }
    }

    /// Does what the front wants done.
    fn deliver(&mut self) {
        while let Some(output) = self.front.poll_output() {
            match output {
                Output::Line(client, line) => self.say(client, line),
                Output::Close(client) => self.close(client),
                Output::Read { token, path } => self.read_file(token, path),
                Output::Ask { thread, token, command, claim } => {
                    let core = self.cores.get(thread);
                    if !core.is_some_and(|core| core.give(token, command, claim)) {
                        self.front.not_taken(token, Instant::now());
                    }
                }
            }
        }
        for (client, connection) in &mut self.connections {
            if !self.front.is_busy(*client)
                && let Some(answered) = connection.answered.take()
            {
                let _ = answered.send(());
            }
        }
    }

    /// Reads a file on a thread of its own.
    fn read_file(&self, token: Token, path: String) {
        let files = self.files.clone();
        spawn_blocking(move || {
            let read = file::read(Path::new(&path), wav::FILE_BYTES_MAX);
            let recording = read.map_err(unreadable).and_then(|file| recording_of(&file));
            let _ = files.blocking_send((token, recording));
        });
    }

    /// Queues a line; a connection whose queue is full is cut off.
    fn say(&mut self, client: Client, line: String) {
        let Some(connection) = self.connections.get(&client) else { return };
        if connection.outgoing.try_send(line).is_err() {
            warn!(connection = client, "slow control connection cut off");
            self.close(client);
        }
    }
}

/// Writes lines until there are no more, or the client is gone.
async fn write(mut writer: OwnedWriteHalf, mut lines: mpsc::Receiver<String>) {
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        if writer.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads lines until the connection ends or breaks the rules.
async fn read(
    client: Client,
    mut reader: OwnedReadHalf,
    to_front: &mpsc::Sender<FromClient>,
) -> FromClient {
    let mut buffer: Vec<u8> = Vec::with_capacity(4096);
    let mut searched = 0;
    loop {
        while let Some(end) = buffer[searched..].iter().position(|byte| *byte == b'\n') {
            let mut line: Vec<u8> = buffer.drain(..=searched + end).collect();
            line.pop();
            searched = 0;
            let (answered, next) = oneshot::channel();
            let said = FromClient::Line(client, line, answered);
            if to_front.send(said).await.is_err() || next.await.is_err() {
                return FromClient::Ended(client);
            }
        }
        searched = buffer.len();
        if buffer.len() >= LINE_BYTES_MAX {
            return FromClient::TooLong(client);
        }
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return FromClient::Ended(client),
            Ok(_) => {}
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
