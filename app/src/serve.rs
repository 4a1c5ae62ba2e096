//! `trimtab serve`: the control process.

pub(crate) mod settings;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use trimtab_control::control::{Control, ControlError, Options};
use trimtab_control::identity::key_file;
use trimtab_model::Role;
use trimtab_web::{OneTimeCodes, TokenHash, WebConfig};

use crate::backend::AppBackend;

/// Set to stop instances and the proxy too when `serve` is told to end; to `stdin`, to end when standard input does.
const EPHEMERAL_VARIABLE: &str = "TRIMTAB_EPHEMERAL";

/// Serves until SIGTERM or Ctrl-C. Instances and the proxy live on, unless `TRIMTAB_EPHEMERAL` is set.
pub(crate) async fn run(data: &Path, config: Option<&Path>) -> Result<()> {
    // Heard from the first moment: what was started by then has to be stopped in order.
    let told = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    std::fs::create_dir_all(data)
        .with_context(|| format!("failed to make the data folder {}", data.display()))?;
    let data = std::path::absolute(data)?;
    let default = data.join("trimtab-server.yaml");
    let server = settings::read(config.unwrap_or(&default), config.is_some())?;
    let listener = tokio::net::TcpListener::bind(server.listen)
        .await
        .with_context(|| {
            format!(
                "failed to listen on {}: stop what uses it, or set `listen` in trimtab-server.yaml",
                server.listen
            )
        })?;
    let address = listener.local_addr()?;
    let options = Options {
        dir: data.clone(),
        program: std::env::current_exe().context("failed to find this program's file")?,
        link: format!("http://{address}"),
        otlp_grpc: server.otlp_grpc,
        otlp_http: server.otlp_http,
        traffic: server.traffic,
        traffic_tls: settings::tls(&server),
        acme: settings::acme(&server),
        repositories: settings::repositories(&server, &data),
        groups: settings::groups(&server),
        receivers: settings::receivers(&server)?,
        grants: settings::grants(&server),
        retention: server.retention.clone(),
    };
    // Its words hold those of its cause already; the chain would say them twice.
    let control = Control::start(options).await.map_err(|error| match error {
        ControlError::Proxy(_) => anyhow::anyhow!("{error} (`traffic` in trimtab-server.yaml)"),
        _ => anyhow::anyhow!("{error}"),
    })?;
    let backend = AppBackend::open(Arc::clone(&control.world)).await?;
    admin_token(&backend, &data).await?;
    let codes = Arc::new(OneTimeCodes::new());
    let code = codes.issue(trimtab_control::clock::now())?;
    println!(
        "Trimtab serves http://{address}  (users' traffic: {})",
        server.traffic
    );
    println!("Sign in once, within 15 minutes: http://{address}/login?code={code}");
    let web = WebConfig::new(key_file(&data.join("keys").join("session.key"))?, codes);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(trimtab_web::serve(listener, backend, web, async {
        // A dropped sender means the same as a word from it.
        let _ = stopped.await;
    }));
    let ephemeral = std::env::var_os(EPHEMERAL_VARIABLE);
    wait_for_end(told, ephemeral.as_deref() == Some("stdin".as_ref())).await;
    // The server may have ended by itself; there is nobody to tell then.
    let _ = stop.send(());
    if let Err(error) = served.await? {
        bail!(error);
    }
    if ephemeral.is_some() {
        control.stop_everything().await;
    } else {
        control.stop().await;
    }
    Ok(())
}

/// Makes sure of the token by which commands on this machine speak to the server.
async fn admin_token(backend: &AppBackend, data: &Path) -> Result<()> {
    let path = data.join("keys").join("admin.token");
    let secret = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().to_owned(),
        Err(_) => {
            let secret = format!("tt_{}", trimtab_web::random_text()?);
            settings::write_secret(&path, &secret)?;
            secret
        }
    };
    backend
        .ensure_token("local-admin", Role::Admin, TokenHash::of(&secret))
        .await?;
    Ok(())
}

/// Until SIGTERM or Ctrl-C, or, where asked, until whoever started it is gone: standard input ends then.
async fn wait_for_end(mut told: [Signal; 2], until_orphaned: bool) {
    let (orphan, orphaned) = tokio::sync::oneshot::channel::<()>();
    let mut orphan = Some(orphan);
    if until_orphaned {
        let orphan = orphan.take();
        // A thread of its own: the runtime would wait at its end for a read that it had begun.
        std::thread::spawn(move || {
            let _held = orphan;
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink())
        });
    }
    let [terminate, interrupt] = &mut told;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = orphaned => {}
    }
    drop(orphan);
}
