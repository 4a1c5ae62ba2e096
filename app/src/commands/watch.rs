//! Follows a rollout: a live view with keys on a terminal, lines elsewhere.

mod keys;
mod screen;
mod terminal;

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Result, bail};
use trimtab_api as api;
use trimtab_api::routes::fill;

use super::client::{Client, read, with_query};
use super::print::{Printer, Tone, clean, colours_wanted, figure, now, word};
use keys::Press;
use screen::{Screen, Seen};

/// How often a watched rollout is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Looks between two lines about a rollout of which nothing but figures changes.
const LOOKS_QUIET: u32 = 10;

/// Follows until the rollout ends; says whether its candidate serves.
pub(super) async fn watch(client: &Client, out: &Printer, target: Option<String>) -> Result<bool> {
    let id = rollout_of(client, target).await?;
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if on_terminal && !out.json_wanted() {
        return live(client, out, &id).await;
    }
    lines(client, out, &id).await
}

/// The rollout meant by a rollout's id, a run's id, or nothing: the newest under way, else the newest.
async fn rollout_of(client: &Client, target: Option<String>) -> Result<String> {
    let Some(target) = target else {
        let newest = |active| {
            let query = api::RolloutQuery {
                active,
                limit: Some(1),
                ..api::RolloutQuery::default()
            };
            async move {
                let answer = client.get(&with_query("/api/v1/rollouts", &query)).await?;
                let found: Vec<api::RolloutSummary> = read(&answer)?;
                anyhow::Ok(found.into_iter().next().map(|rollout| rollout.id))
            }
        };
        return match newest(Some(true)).await? {
            Some(id) => Ok(id),
            None => match newest(None).await? {
                Some(id) => Ok(id),
                None => bail!(
                    "failed to find a rollout: there has been none yet\n  trimtab deploy SERVICE starts a run"
                ),
            },
        };
    };
    if !target.starts_with("run-") {
        return Ok(target);
    }
    let answer = client.get(&fill("/api/v1/runs/{id}", &[&target])).await?;
    let run: api::Run = read(&answer)?;
    let number = |id: &String| id.rsplit('-').next().and_then(|text| text.parse::<u64>().ok());
    match run.rollouts.into_iter().max_by_key(number) {
        Some(id) => Ok(id),
        None => bail!(
            "failed to find a rollout of {target}: {}\n  trimtab status shows when it has one",
            clean(&run.summary.state_text)
        ),
    }
}

async fn look(client: &Client, id: &str) -> Result<(serde_json::Value, api::Rollout)> {
    let answer = client.get(&fill("/api/v1/rollouts/{id}", &[id])).await?;
    let rollout = read(&answer)?;
    Ok((answer, rollout))
}

async fn lines(client: &Client, out: &Printer, id: &str) -> Result<bool> {
    let (mut shown, mut quiet) = (None, 0);
    loop {
        let (answer, rollout) = look(client, id).await?;
        let summary = &rollout.summary;
        let decision = rollout.verdict.as_ref().map(|verdict| verdict.decision);
        let state = (
            summary.state_text.clone(),
            summary.candidate_percent.to_bits(),
            decision,
            summary.flag.as_ref().map(|flag| flag.percent.to_bits()),
        );
        let over = summary.state.is_over();
        quiet += 1;
        if shown.as_ref() != Some(&state) || quiet >= LOOKS_QUIET || over {
            quiet = 0;
            shown = Some(state);
            if !out.json_line(&answer) {
                for line in said(&rollout) {
                    out.line(&line);
                }
            }
        }
        if over {
            let well = summary.state == api::RolloutState::Deployed;
            if !out.json_wanted() {
                ended(out, &rollout);
            }
            return Ok(well);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// One look as lines.
fn said(rollout: &api::Rollout) -> Vec<String> {
    let summary = &rollout.summary;
    let at = now().to_string();
    let at = at.get(11..19).unwrap_or(&at).to_owned();
    let mut lines = vec![format!(
        "{at}  {}  {:5.1} % to {}  {}",
        clean(&summary.id),
        summary.candidate_percent,
        clean(&summary.candidate),
        clean(&summary.state_text)
    )];
    for (name, arm) in [
        ("baseline ", &rollout.baseline_figures),
        ("candidate", &rollout.candidate_figures),
    ] {
        if let Some(arm) = arm {
            lines.push(format!(
                "          {name}  {}  {} requests, {} errors ({}), p95 {}",
                clean(&arm.release),
                arm.requests,
                arm.errors,
                figure(arm.error_percent, " %"),
                figure(arm.p95_ms, " ms")
            ));
        }
    }
    if let Some(flag) = &summary.flag {
        lines.push(format!("          flag       {}", clean(&flag.words())));
    }
    if let Some(verdict) = &rollout.verdict {
        lines.push(format!(
            "          verdict    {}: {}",
            word(&verdict.decision),
            clean(&verdict.reason)
        ));
    }
    lines
}

fn ended(out: &Printer, rollout: &api::Rollout) {
    let summary = &rollout.summary;
    let tone = match summary.state {
        api::RolloutState::Deployed => Tone::Good,
        _ => Tone::Bad,
    };
    out.line(&out.paint(tone, &format!("{}: {}", summary.id, summary.state_text)));
    match (&summary.incident, summary.state) {
        (Some(incident), _) => out.next(&format!("trimtab explain {incident}")),
        (None, api::RolloutState::Deployed) => out.next("trimtab status"),
        (None, _) => out.next(&format!(
            "trimtab logs --release {} --level warn",
            summary.candidate
        )),
    }
}

async fn live(client: &Client, out: &Printer, id: &str) -> Result<bool> {
    let mut seen = Seen::default();
    let outcome = {
        let terminal = terminal::Terminal::take()?;
        let mut presses = keys::listen();
        let mut clock = tokio::time::interval(LOOK);
        let mut resized = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())?;
        let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let mut size = terminal.size();
        loop {
            let press = tokio::select! {
                _ = clock.tick() => None,
                _ = resized.recv() => { size = terminal.size(); None }
                _ = ended.recv() => break None,
                press = presses.recv() => press,
            };
            match press.and_then(|press| seen.press(press)) {
                Some(Press::Quit) => break None,
                Some(Press::Act(verb)) => act(client, id, verb, &mut seen).await,
                None => {}
            }
            // A server that restarts is waited for; what it said last stays on the screen.
            match look(client, id).await {
                Ok((_, rollout)) => seen.take(rollout),
                Err(error) if seen.rollout.is_none() => break Some(Err(error)),
                Err(error) => seen.notice = Some((Tone::Bad, format!("{error:#}").replace('\n', " "))),
            }
            if let Some(rollout) = &seen.rollout {
                let screen = Screen {
                    size,
                    colour: colours_wanted(),
                    now: now(),
                };
                terminal.draw(&screen.lines(rollout, &seen));
                if rollout.summary.state.is_over() {
                    break Some(Ok(()));
                }
            }
        }
    };
    match (outcome, &seen.rollout) {
        (Some(Err(error)), _) => Err(error),
        (None, Some(rollout)) => {
            out.line(&format!(
                "{} goes on: {}",
                rollout.summary.id,
                clean(&rollout.summary.state_text)
            ));
            out.next(&format!("trimtab watch {}", rollout.summary.id));
            Ok(true)
        }
        (_, Some(rollout)) => {
            for line in said(rollout) {
                out.line(&line);
            }
            ended(out, rollout);
            Ok(rollout.summary.state == api::RolloutState::Deployed)
        }
        (_, None) => Ok(true),
    }
}

async fn act(client: &Client, id: &str, verb: keys::Verb, seen: &mut Seen) {
    let comment = "from trimtab watch".to_owned();
    let answer = if verb == keys::Verb::RollBack {
        let body = api::RollBackRequest {
            rollout: Some(id.to_owned()),
            comment,
            ..api::RollBackRequest::default()
        };
        client.post("/api/v1/rollback", &body).await
    } else {
        let path = fill("/api/v1/rollouts/{id}/{verb}", &[id, verb.path()]);
        client.post(&path, &api::Comment { comment }).await
    };
    seen.notice = Some(match answer.and_then(|answer| read::<api::Done>(&answer)) {
        Ok(done) => (Tone::Good, done.message),
        Err(error) => (Tone::Bad, format!("{error:#}").replace('\n', " ")),
    });
}
