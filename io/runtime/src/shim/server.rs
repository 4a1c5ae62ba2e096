//! The shim's ear.

use std::fs;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::protocol::{Reply, Request, receive, send};
use crate::folder::Folder;

/// A request with the way to answer it.
pub(super) struct Command {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// Requests that may wait for the supervisor.
const QUEUE_MAX: usize = 32;

/// Listens on the folder's socket from now on.
pub(super) fn listen(folder: &Folder) -> std::io::Result<mpsc::Receiver<Command>> {
    let (open, path) = folder.socket()?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    drop(open);
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, sender.clone()));
        }
    });
    Ok(receiver)
}

async fn answer(mut stream: UnixStream, supervisor: mpsc::Sender<Command>) {
    let reply = match receive::<Request>(&mut stream).await {
        Ok(request) => {
            let (reply, answered) = oneshot::channel();
            if supervisor.send(Command { request, reply }).await.is_err() {
                return;
            }
            match answered.await {
                Ok(reply) => reply,
                Err(_) => return,
            }
        }
        Err(error) => Reply::Refused {
            reason: format!("the request cannot be read: {error}"),
        },
    };
    let _ = send(&mut stream, &reply).await;
}
