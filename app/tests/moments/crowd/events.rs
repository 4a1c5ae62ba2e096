//! Event streams whose numbers must have no gap, over however many connections.

use std::sync::Arc;
use std::time::Duration;

use super::wire::Wire;
use super::{Square, in_time};

const PAUSE: Duration = Duration::from_millis(50);

/// Listens to one stream after another, as `EventSource` does; each is good when it ends with its last chunk.
pub(crate) async fn event_stream(square: Arc<Square>) {
    let mut last = 0_u64;
    while !square.is_over() {
        let in_flight = square.enter();
        match listen(&square, &mut last).await {
            Ok(release) => square.good("event stream", &release),
            Err(what) => in_flight.failed("event stream", what),
        }
        drop(in_flight);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(square: &Square, last: &mut u64) -> Result<String, String> {
    let mut wire = in_time("connecting", Wire::connect(square.to)).await?;
    let more = format!("accept: text/event-stream\r\nlast-event-id: {last}\r\n");
    in_time("asking", wire.ask("GET", "/events", &more)).await?;
    let head = in_time("the answer", wire.head()).await?;
    head.expect_good()?;
    let mut text = String::new();
    while let Some(chunk) = in_time("the next event", wire.chunk()).await? {
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let id = event.lines().find_map(|line| line.strip_prefix("id: "));
            let id = id.and_then(|id| id.parse().ok());
            if id != Some(*last + 1) {
                return Err(format!("event {id:?} after {last}"));
            }
            *last += 1;
            text = rest.to_owned();
        }
        if square.is_over() {
            return Ok(head.release().to_owned());
        }
    }
    if !text.is_empty() {
        return Err(format!("ended within an event: {text:?}"));
    }
    square.note("event streams ended in order", 1);
    Ok(head.release().to_owned())
}
