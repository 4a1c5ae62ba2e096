//! Whether a running program must be started anew.

use std::net::SocketAddr;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::folder::SpecFile;
use crate::{Ask, HealthCheck, ProbeResult, ask_command, probe};

/// Asks a program until it is dropped; says once that it must be restarted, and why.
pub(super) struct Watch {
    told: mpsc::Receiver<String>,
    task: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to ask, if the spec says so.
    pub(super) fn begin(file: &SpecFile, address: SocketAddr) -> Watch {
        let (teller, told) = mpsc::channel(1);
        let task = file.spec.liveness.clone().map(|liveness| {
            let file = file.clone();
            tokio::spawn(async move {
                tokio::time::sleep(liveness.delay).await;
                let reason = until_dead(&file, address, &liveness.check).await;
                let _ = teller.send(reason).await;
            })
        });
        Watch { told, task }
    }

    /// Why it must be restarted; never when it is not asked.
    pub(super) async fn dead(&mut self) -> String {
        match self.told.recv().await {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn until_dead(file: &SpecFile, address: SocketAddr, check: &HealthCheck) -> String {
    let mut bad = 0;
    loop {
        let seen = ask(file, address, check).await;
        bad = if seen.healthy { 0 } else { bad + 1 };
        if bad >= check.unhealthy_after.max(1) {
            return format!("{bad} liveness probes failed in a row, the last with {seen}");
        }
        tokio::time::sleep(check.interval).await;
    }
}

/// Asks the instance of `file` once; what it says is kept without its secrets.
pub(crate) async fn ask(file: &SpecFile, address: SocketAddr, check: &HealthCheck) -> ProbeResult {
    let seen = match &check.ask {
        Ask::Command(words) => ask_command::ask(file, address.port(), words, check.timeout).await,
        Ask::Http | Ask::Tcp | Ask::Grpc(_) | Ask::Running => probe(address, check).await,
    };
    seen.masked(&file.spec.masker())
}
