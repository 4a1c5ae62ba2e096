//! Trimtab: ships services and keeps them steady.

mod backend;
mod cli;
mod commands;
mod demo;
mod serve;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command, Output};
use commands::client::CallError;
use tracing_subscriber::EnvFilter;
use trimtab_api::{Fault, FaultCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Shim and proxy are programs of their own, which live on when the control process ends; they
    // are told apart before any runtime or thread starts.
    match words[..] {
        ["shim", ..] => return trimtab_runtime::shim::main(arguments.into_iter().skip(1).collect()),
        ["proxy", part, dir] => {
            keep_log();
            return match part {
                "holder" => ended(trimtab_proxy::holder::main(Path::new(dir))),
                "worker" => ended(trimtab_proxy::worker::main(Path::new(dir))),
                _ => ended(Err(format!("begin: there is no {part} of the proxy"))),
            };
        }
        _ => {}
    }
    let cli = Cli::parse();
    let json = cli.output == Output::Json;
    if matches!(cli.command, Command::Serve { .. }) {
        keep_log();
    }
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("trimtab: a TLS provider was installed already");
    }
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(dispatch(cli)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", failure(&error, json));
            ExitCode::from(error.downcast_ref().map_or(1, CallError::status))
        }
    }
}

/// What went wrong, for people or as the API would say it.
fn failure(error: &anyhow::Error, json: bool) -> String {
    if !json {
        return format!("trimtab: {}", commands::print::clean(&format!("{error:#}")));
    }
    let fault = match error.downcast_ref() {
        Some(CallError::Refused(fault)) => fault.clone(),
        Some(other) => Fault::new(FaultCode::Unavailable, other.to_string(), ""),
        None => Fault::new(FaultCode::Invalid, format!("{error:#}"), ""),
    };
    serde_json::json!({ "error": fault }).to_string()
}

/// Warnings and errors go to standard error; `TRIMTAB_LOG` asks for more, or for less.
fn keep_log() {
    let filter = EnvFilter::try_from_env("TRIMTAB_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter);
    if let Err(error) = log.try_init() {
        eprintln!("trimtab: no log is kept: {error}");
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<bool> {
    match cli.command {
        Command::Demo { exit, strategy, dir } => {
            demo::run(exit, strategy, dir, cli.output == Output::Json).await
        }
        Command::Serve { data, config } => serve::run(&data, config.as_deref()).await.map(|()| true),
        _ => commands::run(cli).await,
    }
}

fn ended<E: std::fmt::Display>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trimtab proxy: failed to {error}");
            ExitCode::FAILURE
        }
    }
}
