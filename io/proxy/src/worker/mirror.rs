//! Copies of safe live requests for a release off traffic.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::accept::Peer;
use super::exchange::Exchange;
use super::forward::{Answer, Failure, NoClient, reach};
use super::lane::Lane;
use crate::http1::{Deadline, Decoded, Decoder, RequestHead};

/// Copies under way at once on a lane; more are dropped and counted.
const COPIES_MAX: usize = 64;

/// Sends a copy if the mirror's coin says so; the live request does not wait for it.
pub(super) fn copy(lane: &Rc<Lane>, peer: &Peer, live: &Exchange, head: &RequestHead) {
    let Some(exchange) = Exchange::begin_mirrored(lane, live, head) else {
        return;
    };
    if lane.mirroring.get() >= COPIES_MAX {
        lane.counters.borrow_mut().mirror_dropped += 1;
        exchange.forget();
        return;
    }
    lane.mirroring.set(lane.mirroring.get() + 1);
    let copied = head.copy();
    let (lane, peer) = (Rc::clone(lane), peer.clone());
    tokio::task::spawn_local(async move {
        send(&lane, &peer, &copied, exchange).await;
        lane.mirroring.set(lane.mirroring.get() - 1);
    });
}

async fn send(lane: &Rc<Lane>, peer: &Peer, head: &RequestHead, mut exchange: Exchange) {
    let until = Instant::now() + exchange.route.timeout;
    let mut deadline = Deadline::new(until);
    match reach(lane, peer, head, &mut exchange, &mut NoClient, &mut deadline).await {
        Ok(answer) => {
            exchange.set_status(answer.head.status);
            if !answer.head.is_event_stream {
                let left = until
                    .saturating_duration_since(Instant::now())
                    .max(Duration::from_millis(1));
                if !matches!(tokio::time::timeout(left, swallow(answer)).await, Ok(true)) {
                    exchange.fail("aborted");
                }
            }
        }
        Err(Failure::Status(status, failure)) => {
            exchange.set_status(status);
            exchange.fail(failure);
        }
        Err(Failure::ClientGone) => {}
    }
}

/// Reads the body away; whether it was complete.
async fn swallow(mut answer: Answer) -> bool {
    let mut decoder = Decoder::new(answer.head.body);
    loop {
        match decoder.decode(&mut answer.upstream.wire.input) {
            Decoded::Piece(_) => continue,
            Decoded::End => break,
            Decoded::Malformed(_) => return false,
            Decoded::More => {}
        }
        match std::future::poll_fn(|cx| answer.upstream.wire.poll_fill(cx)).await {
            Ok(0) | Err(_) => return decoder.ends_with_connection(),
            Ok(_) => {}
        }
    }
    if answer.head.keep_alive {
        answer.upstream.release();
    }
    true
}
