//! Small requests over HTTP/1.1.

use std::sync::Arc;
use std::time::Duration;

use super::wire::{Head, Wire};
use super::{IDLE_CLOSED, Square, in_time};

const PATH: &str = "/work";
/// How many users take turns.
const USERS: u32 = 300;
const PAUSE: Duration = Duration::from_millis(80);

/// One connection for as long as the server keeps it.
pub(crate) async fn keep_alive(square: Arc<Square>, number: u32) {
    let mut connection: Option<Wire> = None;
    tokio::time::sleep(PAUSE * number / 4).await;
    while !square.is_over() {
        let in_flight = square.enter();
        // Every client looks before it asks; what meets its end later is a failure.
        if connection.as_ref().is_some_and(Wire::is_closed) {
            connection = None;
            square.note(IDLE_CLOSED, 1);
        }
        let kind = if connection.is_some() {
            "kept connection"
        } else {
            "first on a connection"
        };
        let asked = async {
            let wire = match &mut connection {
                Some(wire) => wire,
                None => connection.insert(in_time("connecting", Wire::connect(square.to)).await?),
            };
            in_time("asking", whole(wire, "")).await
        };
        match asked.await.and_then(|head| head.expect_good().map(|()| head)) {
            Ok(head) => {
                square.good(kind, head.release());
                if head.closes() {
                    connection = None;
                    square.note("kept connections closed in order", 1);
                }
            }
            Err(what) => {
                connection = None;
                in_flight.failed(kind, what);
            }
        }
        drop(in_flight);
        tokio::time::sleep(PAUSE).await;
    }
}

/// A connection for each request, of many users who say who they are.
pub(crate) async fn new_connections(square: Arc<Square>, number: u32) {
    tokio::time::sleep(PAUSE * number / 3).await;
    let mut user = number;
    while !square.is_over() {
        let in_flight = square.enter();
        let asked = async {
            let mut wire = in_time("connecting", Wire::connect(square.to)).await?;
            let more = format!("connection: close\r\nx-user: user-{user}\r\n");
            let head = in_time("asking", whole(&mut wire, &more)).await?;
            head.expect_good().map(|()| head)
        };
        match asked.await {
            Ok(head) => square.good("new connection", head.release()),
            Err(what) => in_flight.failed("new connection", what),
        }
        user = (user + 3) % USERS;
        drop(in_flight);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn whole(wire: &mut Wire, more: &str) -> std::io::Result<Head> {
    wire.ask("GET", PATH, more).await?;
    let head = wire.head().await?;
    wire.body(&head).await?;
    Ok(head)
}
