//! The Unix socket to the media process: connects, hands its lines to the engine, and connects again
//! when it is gone. What the lines mean is [`super::control_client`]'s.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::control::message::LINE_BYTES_MAX;

/// Lines queued toward media; a call needs about ten. Media that leaves this many unread has
/// stopped, and the connection is given up.
const LINES_MAX: usize = 8 * 1024;
/// Lines queued from media to the engine: punted datagrams and replies of one busy moment. When it
/// is full the socket is not read, and media drops what it cannot punt.
const EVENTS_MAX: usize = 4 * 1024;
/// The first wait before connecting again; doubled up to the longest.
const RECONNECT_FIRST: Duration = Duration::from_millis(20);
/// The longest wait before connecting again.
const RECONNECT_LONGEST: Duration = Duration::from_millis(500);

/// What the connection tells the engine.
#[derive(Debug)]
pub enum ControlEvent {
    /// Connected. Lines for media go here, without their line end; dropping it ends the connection.
    Connected(mpsc::Sender<String>),
    /// A line from media, without its line end.
    Line(String),
    /// The connection is gone.
    Lost,
}

/// Keeps a connection to the socket at `path` for as long as the receiver lives.
pub fn keep_connected(path: PathBuf) -> mpsc::Receiver<ControlEvent> {
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    tokio::spawn(async move {
        let mut wait = RECONNECT_FIRST;
        while !events.is_closed() {
            match UnixStream::connect(&path).await {
                Ok(stream) => {
                    wait = RECONNECT_FIRST;
                    if converse(stream, &events).await.is_err() {
                        return;
                    }
                }
                // Nothing is said of the moment in which both processes start, and then only once.
                Err(error) if wait < RECONNECT_LONGEST && wait * 2 >= RECONNECT_LONGEST => {
                    let socket = path.display();
                    warn!(%error, %socket, "the media process cannot be reached; trying on");
                }
                Err(_) => {}
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RECONNECT_LONGEST);
        }
    });
    receiver
}

/// The engine is gone.
struct Deserted;

/// One connection, until either side ends it.
async fn converse(stream: UnixStream, events: &mpsc::Sender<ControlEvent>) -> Result<(), Deserted> {
    let (reader, writer) = stream.into_split();
    let (lines, mut outgoing) = mpsc::channel::<String>(LINES_MAX);
    let tell = async |event| events.send(event).await.map_err(|_| Deserted);
    tell(ControlEvent::Connected(lines)).await?;

    let write = async {
        let mut writer = BufWriter::new(writer);
        while let Some(mut line) = outgoing.recv().await {
            line.push('\n');
            writer.write_all(line.as_bytes()).await?;
            if outgoing.is_empty() {
                writer.flush().await?;
            }
        }
        Ok::<(), std::io::Error>(())
    };
    let read = async {
        let mut reader = BufReader::with_capacity(LINE_BYTES_MAX, reader);
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = LINE_BYTES_MAX as u64;
            if (&mut reader).take(limit).read_until(b'\n', &mut line).await.is_err() {
                return Ok(());
            }
            if line.pop() != Some(b'\n') {
                debug!(bytes = line.len(), "the media process ended, or overran, its line");
                return Ok(());
            }
            let Ok(text) = String::from_utf8(std::mem::take(&mut line)) else { return Ok(()) };
            tell(ControlEvent::Line(text)).await?;
        }
    };
    tokio::select! {
        written = write => {
            if let Err(error) = written {
                debug!(%error, "the media process stopped reading");
            }
        }
        read = read => read?,
    }
    tell(ControlEvent::Lost).await
}
