//! The commands that talk to a server.

mod access;
pub(crate) mod client;
pub(crate) mod hook;
mod incidents;
mod init;
mod print;
mod rollouts;
mod signals;

use anyhow::Result;

use crate::cli::{Cli, Command, HookCommand, Output};
use client::Client;
use print::Printer;

/// Carries out every command but `serve`, `proxy`, `shim` and `demo`. Returns whether all is well.
///
/// # Errors
/// When the server does not answer, or answers with a fault.
pub(crate) async fn run(cli: Cli) -> Result<bool> {
    if let Command::Init { service, dir } = &cli.command {
        return init::init(service, dir);
    }
    if let Command::Hook(HookCommand::Install { repository, service }) = &cli.command {
        let hook = hook::install(repository, service, &cli.url, cli.token.as_deref())?;
        println!("wrote {}\nnext: push to it", hook.display());
        return Ok(true);
    }
    let client = Client::new(&cli.url, cli.token)?;
    let out = Printer::new(cli.output == Output::Json);
    match cli.command {
        Command::Deploy { service, commit } => rollouts::deploy(&client, &out, service, commit).await,
        Command::Status => rollouts::status(&client, &out).await,
        Command::Watch { rollout } => rollouts::watch(&client, &out, &rollout).await,
        Command::Approve(about) => rollouts::answer(&client, &out, "runs", "approve", about).await,
        Command::Reject(about) => rollouts::answer(&client, &out, "runs", "reject", about).await,
        Command::Promote(about) => rollouts::answer(&client, &out, "rollouts", "promote", about).await,
        Command::Abort(about) => rollouts::answer(&client, &out, "rollouts", "abort", about).await,
        Command::Pause(about) => rollouts::answer(&client, &out, "rollouts", "pause", about).await,
        Command::Resume(about) => rollouts::answer(&client, &out, "rollouts", "resume", about).await,
        Command::Rollback {
            target,
            release,
            environment,
            comment,
        } => rollouts::roll_back(&client, &out, target, release, environment, comment).await,
        Command::Logs(query) => signals::logs(&client, &out, query).await,
        Command::Query { query, time } => signals::query(&client, &out, query, time).await,
        Command::Incidents { open } => incidents::list(&client, &out, open).await,
        Command::Explain { incident } => incidents::explain(&client, &out, &incident).await,
        Command::Postmortem { incident } => incidents::postmortem(&client, &out, &incident).await,
        Command::Token(command) => access::token(&client, &out, command).await,
        Command::Hook(HookCommand::PostReceive { service }) => hook::post_receive(&client, &service).await,
        Command::Doctor => access::doctor(&client, &out).await,
        Command::Serve { .. }
        | Command::Proxy(_)
        | Command::Shim(_)
        | Command::Demo { .. }
        | Command::Hook(HookCommand::Install { .. })
        | Command::Init { .. } => anyhow::bail!("failed to dispatch: this command needs no server"),
    }
}
