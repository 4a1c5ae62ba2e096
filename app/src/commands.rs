//! The commands that talk to a server.

mod access;
pub(crate) mod client;
pub(crate) mod doctor;
pub(crate) mod flags;
pub(crate) mod hook;
mod incidents;
mod init;
pub(crate) mod print;
mod rollouts;
mod signals;
mod status;
mod together;
mod watch;

use anyhow::Result;
use clap::CommandFactory as _;

use crate::cli::{Cli, Command, HookCommand, Output};
use client::Client;
use print::Printer;

/// Carries out every command but `serve`, `proxy`, `shim` and `demo`. Returns whether all is well.
///
/// # Errors
/// When the server does not answer, or answers with a fault.
pub(crate) async fn run(cli: Cli) -> Result<bool> {
    let out = Printer::new(cli.output == Output::Json);
    match &cli.command {
        Command::Init { service, dir } => return init::init(&out, service.as_deref(), dir),
        Command::Hook(HookCommand::Install { repository, service }) => {
            let hook = hook::install(repository, service, &cli.url, cli.token.as_deref())?;
            if !out.json(&serde_json::json!({ "wrote": hook }))? {
                out.line(&format!("wrote {}", hook.display()));
                out.next("push to the repository: what is pushed is told, and its branch starts a run");
            }
            return Ok(true);
        }
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "trimtab", &mut std::io::stdout());
            return Ok(true);
        }
        _ => {}
    }
    if let Command::Flags(flags::FlagCommand::Validate { file }) = &cli.command {
        return flags::validate(&out, file);
    }
    let client = Client::new(&cli.url, cli.token)?;
    match cli.command {
        Command::Deploy { service, commit } => rollouts::deploy(&client, &out, service, commit).await,
        Command::Status => status::status(&client, &out).await,
        Command::History { service, limit } => status::history(&client, &out, service, limit).await,
        Command::Watch { target } => watch::watch(&client, &out, target).await,
        command @ (Command::Approve(_)
        | Command::Promote(_)
        | Command::Abort(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Retry(_)
        | Command::Restart(_)
        | Command::Rollback { .. }
        | Command::Release(_)
        | Command::Forecast { .. }
        | Command::Entrance(_)) => steer(&client, &out, command).await,
        Command::Reject(about) => rollouts::answer(&client, &out, "runs", "reject", about).await,
        Command::Cancel(about) => rollouts::answer(&client, &out, "runs", "cancel", about).await,
        Command::LiftQuarantine(about) => {
            rollouts::answer(&client, &out, "releases", "lift-quarantine", about).await
        }
        Command::Scale(wanted) => rollouts::scale(&client, &out, wanted).await,
        Command::UpgradeProxy { comment } => rollouts::upgrade_proxy(&client, &out, comment).await,
        Command::Logs(query) => signals::logs(&client, &out, query).await,
        Command::Query { query, time } => signals::query(&client, &out, query, time).await,
        Command::Incidents { open, command } => match command {
            None => incidents::list(&client, &out, open).await,
            Some(command) => incidents::act(&client, &out, command).await,
        },
        Command::Explain { incident } => incidents::explain(&client, &out, &incident).await,
        Command::Postmortem { incident } => incidents::postmortem(&client, &out, &incident).await,
        Command::Token(command) => access::token(&client, &out, command).await,
        Command::Hook(HookCommand::PostReceive { service }) => hook::post_receive(&client, &service).await,
        Command::Doctor(arguments) => doctor::doctor(&client, &out, arguments).await,
        Command::Flags(command) => flags::run(&client, &out, command).await,
        Command::Serve { .. }
        | Command::Proxy(_)
        | Command::Shim(_)
        | Command::Demo { .. }
        | Command::Completions { .. }
        | Command::Hook(HookCommand::Install { .. })
        | Command::Init { .. } => anyhow::bail!("failed to dispatch: this command needs no server"),
    }
}

/// What people tell rollouts and entrances.
async fn steer(client: &Client, out: &Printer, command: Command) -> Result<bool> {
    match command {
        Command::Approve(about) => {
            let of = if about.id.starts_with("rollout-") {
                "rollouts"
            } else {
                "runs"
            };
            rollouts::answer(client, out, of, "approve", about).await
        }
        Command::Retry(about) => rollouts::answer(client, out, "rollouts", "retry", about).await,
        Command::Restart(about) => rollouts::answer(client, out, "rollouts", "restart", about).await,
        Command::Release(command) => together::run(client, out, command).await,
        Command::Entrance(command) => rollouts::entrance(client, out, command).await,
        Command::Promote(about) => rollouts::answer(client, out, "rollouts", "promote", about).await,
        Command::Abort(about) => rollouts::answer(client, out, "rollouts", "abort", about).await,
        Command::Pause(about) => rollouts::answer(client, out, "rollouts", "pause", about).await,
        Command::Resume(about) => rollouts::answer(client, out, "rollouts", "resume", about).await,
        Command::Rollback {
            target,
            release,
            dry_run,
            environment,
            comment,
        } => {
            let request = rollouts::way_back(target, release, environment, comment);
            rollouts::roll_back(client, out, request, dry_run).await
        }
        Command::Forecast { service } => rollouts::forecast(client, out, service).await,
        _ => anyhow::bail!("failed to dispatch: this command steers nothing"),
    }
}
