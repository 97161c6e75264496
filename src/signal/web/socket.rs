//! One WebSocket for its whole life: frames in become [`FlowEvent`]s, [`Outgoing`]s become frames
//! (RFC 6455, RFC 7118 §5). It pings, and it ends connections that are silent, slow, strange for too
//! long, or send what is no message. What the messages say is left to the engine.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_tungstenite::tungstenite;

use super::admission::Admission;
use crate::signal::flow::{FlowEvent, FlowId, OUTGOING_MAX, Outgoing};

/// Between pings: proxies and NATs drop what is idle for 60 s.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// Pings that may stay unanswered: a laptop's lid is noticed within 75 s.
const PINGS_MISSED_MAX: u32 = 2;
/// From the upgrade to good credentials. A browser needs two round trips; its user types the
/// password before it connects.
const STRANGER_TIME_MAX: Duration = Duration::from_secs(30);
/// For one frame to leave: TCP's own retransmissions bridge a short loss of the path.
const SEND_TIME_MAX: Duration = Duration::from_secs(10);

/// Keep-alive and its answer (RFC 5626 §4.4.1).
const KEEP_ALIVE: &[u8] = b"\r\n\r\n";
const KEEP_ALIVE_ANSWER: &str = "\r\n";

/// Why the loop ended.
enum End {
    /// The browser closed, or the path is gone.
    Gone,
    /// We close, with a code of RFC 6455 §7.4.1.
    Close(u16, &'static str),
}

/// Serves one flow to its end.
pub(super) async fn serve(
    mut socket: WebSocket,
    flow: FlowId,
    peer: SocketAddr,
    admission: Admission,
    events: mpsc::Sender<FlowEvent>,
) {
    let (to_browser, outgoing) = mpsc::channel(OUTGOING_MAX);
    if events.send(FlowEvent::Opened { flow, peer, to_browser }).await.is_err() {
        return;
    }
    let end = exchange(&mut socket, flow, admission, &events, outgoing).await;
    // The engine's queue outlives the flow unless the process is ending.
    let _ = events.send(FlowEvent::Closed { flow }).await;
    if let End::Close(code, reason) = end {
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = timeout(SEND_TIME_MAX, socket.send(Message::Close(Some(frame)))).await;
    }
}

async fn exchange(
    socket: &mut WebSocket,
    flow: FlowId,
    admission: Admission,
    events: &mpsc::Sender<FlowEvent>,
    mut outgoing: mpsc::Receiver<Outgoing>,
) -> End {
    let mut stranger = Some(admission);
    let stranger_until = Instant::now() + STRANGER_TIME_MAX;
    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    let mut pings_unanswered = 0;

    loop {
        let to_send = tokio::select! {
            frame = socket.recv() => {
                pings_unanswered = 0;
                match frame {
                    None | Some(Ok(Message::Close(_))) => return End::Gone,
                    Some(Err(error)) => return end_of(error),
                    // Pings are answered below us.
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(message)) => {
                        let bytes = message.into_data();
                        if bytes.as_ref() == KEEP_ALIVE {
                            Message::text(KEEP_ALIVE_ANSWER)
                        } else if bytes.iter().all(|byte| b"\r\n".contains(byte)) {
                            continue;
                        } else {
                            let message = FlowEvent::Message { flow, bytes: bytes.into() };
                            if events.send(message).await.is_err() {
                                return End::Close(close_code::RESTART, "restarting");
                            }
                            continue;
                        }
                    }
                }
            },
            next = outgoing.recv() => match next {
                Some(Outgoing::Message(bytes)) => match String::from_utf8(bytes) {
                    Ok(text) => Message::text(text),
                    // A SIP body may be any octets; a text frame may not (RFC 7118 §4.2).
                    Err(error) => Message::binary(error.into_bytes()),
                },
                Some(Outgoing::Authenticated) => {
                    stranger = None;
                    continue;
                }
                None => return End::Close(close_code::NORMAL, ""),
            },
            _ = pings.tick() => {
                if pings_unanswered >= PINGS_MISSED_MAX {
                    return End::Gone;
                }
                pings_unanswered += 1;
                Message::Ping(Default::default())
            },
            () = sleep_until(stranger_until), if stranger.is_some() => {
                return End::Close(close_code::POLICY, "not authenticated in time");
            },
        };
        match timeout(SEND_TIME_MAX, socket.send(to_send)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return End::Gone,
        }
    }
}

/// The close code for what the WebSocket layer refused.
fn end_of(error: axum::Error) -> End {
    match error.into_inner().downcast::<tungstenite::Error>().map(|error| *error) {
        Ok(tungstenite::Error::Capacity(_)) => {
            End::Close(close_code::SIZE, "a message is at most 65536 bytes")
        }
        Ok(tungstenite::Error::Utf8(_)) => End::Close(close_code::INVALID, "not UTF-8"),
        Ok(tungstenite::Error::Protocol(_)) => End::Close(close_code::PROTOCOL, "not WebSocket"),
        _ => End::Gone,
    }
}
