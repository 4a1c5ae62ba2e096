//! WebSockets whose messages must come back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{Square, in_time};

const PAUSE: Duration = Duration::from_millis(100);

/// Talks on one WebSocket after another; each is good when it ends as it should.
pub(crate) async fn web_socket(square: Arc<Square>) {
    while !square.is_over() {
        let in_flight = square.enter();
        match talk(&square).await {
            Ok(release) => square.good("websocket", &release),
            Err(what) => in_flight.failed("websocket", what),
        }
        drop(in_flight);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn talk(square: &Square) -> Result<String, String> {
    let stream = in_time("connecting", TcpStream::connect(square.to)).await?;
    let opened = tokio_tungstenite::client_async("ws://notes.example/echo", stream);
    let (mut socket, answer) = in_time("opening", opened).await?;
    let release = answer.headers().get("x-release");
    let release = release.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (mut said, mut heard) = (0_u64, 0_u64);
    let mut tick = tokio::time::interval(PAUSE);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                if square.is_over() {
                    in_time("closing", leave(&mut socket)).await?;
                    return Ok(release.to_owned());
                }
                if said - heard > 100 {
                    return Err(format!("{} of {said} messages did not come back", said - heard));
                }
                said += 1;
                // One that ended meanwhile says so to the reader.
                let _ = socket.send(Message::text(said.to_string())).await;
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    heard += 1;
                    if text.as_str() != heard.to_string() {
                        return Err(format!("{text:?} instead of {heard}"));
                    }
                    square.note("websocket messages that came back", 1);
                }
                Some(Ok(Message::Close(Some(frame)))) if frame.code == CloseCode::Away => {
                    in_time("being closed", rest(&mut socket)).await?;
                    square.note("websockets closed with 1001", 1);
                    square.note("websocket messages unanswered at a close with 1001", said - heard);
                    return Ok(release.to_owned());
                }
                Some(Ok(Message::Close(frame))) => return Err(format!("closed with {frame:?}")),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(format!("after {heard} of {said} messages: {error}")),
                None => return Err(format!("ended after {heard} of {said} messages without a close")),
            }
        }
    }
}

async fn leave(socket: &mut WebSocketStream<TcpStream>) -> Result<(), String> {
    socket.close(None).await.map_err(|error| error.to_string())?;
    rest(socket).await
}

/// Reads to the end, which answers the other side's close.
async fn rest(socket: &mut WebSocketStream<TcpStream>) -> Result<(), String> {
    while let Some(message) = socket.next().await {
        message.map_err(|error| error.to_string())?;
    }
    Ok(())
}
