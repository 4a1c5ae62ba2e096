//! After an upgrade (WebSocket and its like): bytes both ways until one side ends.

use tokio::net::TcpStream;

use super::front_h1::ClientIo;
use crate::http1::Wire;

/// Carries bytes until both sides have ended or one has failed.
pub(super) async fn run<S: ClientIo>(client: &mut Wire<S>, mut instance: Wire<TcpStream>) {
    // What was read beyond the heads belongs to the new protocol.
    client.output.extend_from_slice(&instance.input);
    instance.output.extend_from_slice(&client.input);
    client.input.clear();
    if client.flush().await.is_err() || instance.flush().await.is_err() {
        return;
    }
    // Either side may end a tunnel as it likes; there is nobody to tell.
    let _ended = tokio::io::copy_bidirectional(&mut client.io, &mut instance.io).await;
}
