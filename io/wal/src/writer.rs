//! The one thread that writes: it gathers what many appenders handed in, writes it as one frame,
//! syncs once, applies it to memory in order and only then wakes them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::frame;
use crate::segment::{Active, Closed};
use crate::{Figures, WalError};

/// Bytes of entries gathered into one group commit.
const FRAME_BYTES_MAX: usize = 8 << 20;

pub(crate) struct Entry<T, R> {
    pub(crate) payload: Vec<u8>,
    pub(crate) value: T,
    pub(crate) done: oneshot::Sender<Result<R, WalError>>,
    pub(crate) permit: OwnedSemaphorePermit,
}

pub(crate) enum Request<T, R> {
    Append(Entry<T, R>),
    Rotate {
        at_boundary: Box<dyn FnOnce(u64) + Send>,
        done: oneshot::Sender<Result<u64, WalError>>,
    },
    DiscardBefore {
        sequence: u64,
        done: oneshot::Sender<Result<(), WalError>>,
    },
}

pub(crate) struct Writer<T, R, A> {
    pub(crate) dir: PathBuf,
    pub(crate) segment_bytes_max: u64,
    pub(crate) closed: Vec<Closed>,
    pub(crate) active: Active,
    pub(crate) next_sequence: u64,
    pub(crate) apply: A,
    pub(crate) requests: Receiver<Request<T, R>>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) buffer: Vec<u8>,
}

impl<T, R, A: FnMut(T) -> R> Writer<T, R, A> {
    /// Serves until every handle is gone.
    pub(crate) fn run(mut self) {
        let mut held_over = None;
        loop {
            let request = match held_over.take() {
                Some(request) => request,
                None => match self.requests.recv() {
                    Ok(request) => request,
                    Err(_) => return,
                },
            };
            match request {
                Request::Append(first) => held_over = self.commit_group(first),
                Request::Rotate { at_boundary, done } => {
                    let rotated = self.rotate();
                    if let Ok(checkpoint) = &rotated {
                        at_boundary(*checkpoint);
                    }
                    self.publish_figures();
                    let _ = done.send(rotated);
                }
                Request::DiscardBefore { sequence, done } => {
                    let discarded = self.discard_before(sequence);
                    self.publish_figures();
                    let _ = done.send(discarded);
                }
            }
        }
    }

    /// Commits `first` with whatever else waits; returns the request that ended the group.
    fn commit_group(&mut self, first: Entry<T, R>) -> Option<Request<T, R>> {
        let mut buffer = std::mem::take(&mut self.buffer);
        frame::begin(&mut buffer);
        let mut group = Vec::new();
        let mut next = Some(Request::Append(first));
        while let Some(Request::Append(entry)) = next {
            frame::push_entry(&mut buffer, &entry.payload);
            group.push(entry);
            if buffer.len() >= FRAME_BYTES_MAX {
                next = None;
                break;
            }
            next = self.requests.try_recv().ok();
        }
        frame::seal(&mut buffer, self.next_sequence);
        let written = self.write(&buffer);
        self.buffer = buffer;
        self.figures.groups.fetch_add(1, Ordering::Relaxed);
        self.publish_figures();
        for entry in group {
            let result = match &written {
                Ok(()) => Ok((self.apply)(entry.value)),
                Err(error) => Err(error.clone()),
            };
            drop(entry.permit);
            // Whoever appended may have gone; the entry stays.
            let _ = entry.done.send(result);
        }
        next
    }

    fn write(&mut self, frame: &[u8]) -> Result<(), WalError> {
        if self.active.bytes >= self.segment_bytes_max {
            self.rotate()?;
        }
        let written = self.active.append(frame);
        match &written {
            Ok(()) => {
                self.next_sequence += 1;
                self.figures.failing.store(false, Ordering::Relaxed);
            }
            Err(error) => {
                self.figures.failed_groups.fetch_add(1, Ordering::Relaxed);
                if !self.figures.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "appends fail");
                }
            }
        }
        written
    }

    /// Makes everything appended so far lie in closed segments; returns the next sequence.
    fn rotate(&mut self) -> Result<u64, WalError> {
        if !self.active.is_empty() {
            let next = Active::create(&self.dir, self.next_sequence)?;
            let full = std::mem::replace(&mut self.active, next);
            self.closed.push(full.into_closed());
        }
        Ok(self.next_sequence)
    }

    fn discard_before(&mut self, sequence: u64) -> Result<(), WalError> {
        while let Some(oldest) = self.closed.first() {
            let covered = self
                .closed
                .get(1)
                .and_then(|next| first_sequence(&next.path))
                .unwrap_or(self.active.first_sequence);
            if covered > sequence {
                break;
            }
            match fs::remove_file(&oldest.path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(WalError::io("remove", &oldest.path, error)),
            }
            self.closed.remove(0);
        }
        Ok(())
    }

    pub(crate) fn publish_figures(&self) {
        let closed: u64 = self.closed.iter().map(|segment| segment.bytes).sum();
        self.figures
            .bytes
            .store(closed + self.active.bytes, Ordering::Relaxed);
        self.figures
            .segments
            .store(self.closed.len() as u64 + 1, Ordering::Relaxed);
    }
}

fn first_sequence(path: &std::path::Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}
