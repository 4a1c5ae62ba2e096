//! How a batch lies in the write-ahead log: a version byte, then zstd of JSON.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trimtab_model::Identity;
use trimtab_telemetry::{Attributes, Batch};

const VERSION: u8 = 1;
/// Fast rather than small: the log lives for minutes.
const ZSTD_LEVEL: i32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    key: &'a str,
    batch: &'a Batch,
}

#[derive(Deserialize)]
struct Read {
    key: String,
    batch: Batch,
}

pub(crate) fn encode(key: &str, batch: &Batch) -> Result<Vec<u8>, String> {
    let plain = serde_json::to_vec(&Written { key, batch }).map_err(|error| error.to_string())?;
    let mut entry = vec![VERSION];
    entry.extend_from_slice(&zstd::bulk::compress(&plain, ZSTD_LEVEL).map_err(|error| error.to_string())?);
    Ok(entry)
}

/// The key and the batch of an entry, or what is wrong with it.
pub(crate) fn decode(entry: &[u8]) -> Result<(String, Batch), String> {
    let (version, body) = entry.split_first().ok_or("an empty entry")?;
    if *version != VERSION {
        return Err(format!(
            "an entry of version {version}; this program knows {VERSION}"
        ));
    }
    let plain =
        zstd::stream::decode_all(body).map_err(|error| format!("an entry that zstd cannot read: {error}"))?;
    let mut read: Read =
        serde_json::from_slice(&plain).map_err(|error| format!("an entry that is no batch: {error}"))?;
    share(&mut read.batch);
    Ok((read.key, read.batch))
}

/// Neighbours with the same sender share its identity and attributes again.
pub(crate) fn share(batch: &mut Batch) {
    let mut sender = Sender::default();
    for log in &mut batch.logs {
        sender.share(&mut log.identity, Some(&mut log.resource));
    }
    for span in &mut batch.spans {
        sender.share(&mut span.identity, Some(&mut span.resource));
    }
    for event in &mut batch.events {
        sender.share(&mut event.identity, None);
    }
}

#[derive(Default)]
struct Sender {
    identity: Arc<Identity>,
    resource: Arc<Attributes>,
}

impl Sender {
    fn share(&mut self, identity: &mut Arc<Identity>, resource: Option<&mut Arc<Attributes>>) {
        share_one(&mut self.identity, identity);
        if let Some(resource) = resource {
            share_one(&mut self.resource, resource);
        }
    }
}

fn share_one<T: PartialEq>(known: &mut Arc<T>, own: &mut Arc<T>) {
    if **known == **own {
        *own = known.clone();
    } else {
        *known = own.clone();
    }
}
