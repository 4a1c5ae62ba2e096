//! Hooks that are requests: what they say, and until when they are asked again.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trimtab_child::Masker;
use trimtab_model::{Generation, ReleaseId, Timestamp};
use trimtab_project::{HOOK_PAUSE_MAX, HttpHook, Method};
use trimtab_rollout::hook_answer::{Decision, Heard, Patience, decide};
use trimtab_rollout::{Hook, Plan, Strategy};

use crate::clock;
use crate::hook_keys::Carried;
use crate::releases::Recorded;
use crate::rollout_hands::Work;
use crate::rollout_jobs::name;

/// Version of the body's shape.
const VERSION: u32 = 1;
/// No more of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// As much of it is shown to people.
const ANSWER_CHARS_MAX: usize = 300;
const PAUSE_MIN: Duration = Duration::from_secs(1);

impl Work {
    /// Asks a program of the team; what it answered.
    pub(crate) async fn request(
        &self,
        hook: Hook,
        generation: Generation,
        http: &HttpHook,
    ) -> Result<String, String> {
        let carried = self.world.grants.carried(&self.plan.service, http)?;
        let about = |release: &ReleaseId| self.world.release(release).map(|(recorded, _)| recorded);
        let candidate = about(&self.plan.candidate).map_err(|error| error.to_string())?;
        // One that is no longer kept is told by its name alone.
        let baseline = self
            .plan
            .baseline
            .as_ref()
            .map(|release| described(release, about(release).ok().as_ref()));
        let said = json!({
            "version": VERSION,
            "key": key(&self.plan, hook, generation),
            "service": self.plan.service,
            "environment": self.plan.environment,
            "rollout": self.plan.rollout,
            "run": self.plan.run,
            "strategy": strategy(&self.plan.strategy),
            "hook": place(&self.plan, hook),
            "release": described(&self.plan.candidate, Some(&candidate)),
            "baseline": baseline,
        });
        let patience = Patience {
            attempts_max: http.attempts,
            pause_ms_min: u64::try_from(PAUSE_MIN.as_millis()).unwrap_or(u64::MAX),
            pause_ms_max: HOOK_PAUSE_MAX.as_millis(),
        };
        ask(http, &carried, &said, patience).await
    }
}

/// The same for every attempt, and for those after a restart: the generation is in the journal. Another rollout,
/// another hook and a new trial of the same one have others, on other servers as well.
fn key(plan: &Plan, hook: Hook, generation: Generation) -> String {
    let whole = json!([
        plan.service,
        plan.environment,
        plan.rollout,
        plan.candidate_digest,
        plan.started_at,
        hook,
        generation
    ]);
    let hash = hex::encode(Sha256::digest(whole.to_string().as_bytes()));
    format!("{}-{}-{}", plan.rollout, name(hook), &hash[..32])
}

fn strategy(strategy: &Strategy) -> &'static str {
    match strategy {
        Strategy::Direct(_) => "direct",
        Strategy::BlueGreen(_) => "blue-green",
        Strategy::Canary(_) => "canary",
        Strategy::Rolling(_) => "rolling",
        Strategy::Flag(_) => "flag",
    }
}

/// Where on the way: the hook, and of a gate its step (from 1) and the share of users in it, in per cent.
fn place(plan: &Plan, hook: Hook) -> Value {
    match hook {
        Hook::Gate { step } | Hook::Barrier { step } => {
            let weight = plan
                .steps()
                .get(step)
                .map(|step| step.flag.unwrap_or(step.weight));
            json!({
                "name": name(hook),
                "step": step + 1,
                "weight": weight.map(trimtab_model::Weight::percent),
            })
        }
        Hook::Before | Hook::Expand | Hook::Contract | Hook::After => json!({ "name": name(hook) }),
    }
}

fn described(id: &ReleaseId, recorded: Option<&Recorded>) -> Value {
    let release = recorded.map(|recorded| &recorded.release);
    json!({
        "id": id,
        "commit": release.map(|release| &release.commit),
        "title": release.map(|release| &release.title),
        "digest": release.map(|release| &release.artifact),
    })
}

/// Sends until an answer decides, or the attempts are used up.
async fn ask(http: &HttpHook, carried: &Carried, said: &Value, patience: Patience) -> Result<String, String> {
    let client = trimtab_outgoing::client(http.timeout.0)?;
    let mut attempt = 1;
    loop {
        let request = request(&client, http, carried, (said, attempt), clock::now())?;
        let (heard, told) = match trimtab_outgoing::answer(request, ANSWER_BYTES_MAX).await {
            Ok(answer) => {
                let heard = Heard::Answered {
                    status: answer.code,
                    expected: http.expect.holds(answer.code),
                    retry_after_ms: answer
                        .retry_after
                        .map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
                };
                let moved = match answer.code {
                    300..=399 => " (nothing is followed to elsewhere)",
                    _ => "",
                };
                let words = words(&answer.text, carried);
                (heard, format!("answered {}{moved}{words}", answer.status))
            }
            Err(reason) => (Heard::Nothing, masked(&reason, carried)),
        };
        match decide(heard, attempt, patience) {
            Decision::Passed => return Ok(told),
            Decision::Failed if attempt == 1 => return Err(format!("{}: {told}", http.host)),
            Decision::Failed => return Err(format!("{}: {told} (attempt {attempt})", http.host)),
            Decision::Again { after_ms } => {
                tracing::info!(host = http.host, attempt, told, "a hook is sent again");
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
            }
        }
        attempt += 1;
    }
}

/// One attempt. The body says which one it is; the key does not.
fn request(
    client: &reqwest::Client,
    http: &HttpHook,
    carried: &Carried,
    (said, attempt): (&Value, u32),
    now: Timestamp,
) -> Result<reqwest::RequestBuilder, String> {
    let mut said = said.clone();
    said["attempt"] = attempt.into();
    said["sent_at_ms"] = now.0.into();
    let key = said["key"].as_str().unwrap_or_default().to_owned();
    let (method, body) = match http.method {
        Method::Post => (reqwest::Method::POST, said.to_string().into_bytes()),
        Method::Put => (reqwest::Method::PUT, said.to_string().into_bytes()),
        Method::Get => (reqwest::Method::GET, Vec::new()),
    };
    let mut request = client.request(method, &http.http).header("Idempotency-Key", key);
    if let Some(secret) = &carried.signing {
        let signature = trimtab_outgoing::signature(secret.expose(), now, &body);
        request = request.header("X-Trimtab-Signature", signature);
    }
    if let Some(token) = &carried.bearer {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
        let mut value = value.map_err(|_| "the token holds characters that no header may hold")?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json").body(body);
    }
    Ok(request)
}

/// The first words of an answer, without what was sent to it.
fn words(text: &str, carried: &Carried) -> String {
    // Masked before it is cut: half a secret is one too.
    let text = masked(text, carried);
    let mut words: String = text.chars().take(ANSWER_CHARS_MAX).collect();
    if words.len() < text.len() {
        words.push('…');
    }
    match words.is_empty() {
        true => words,
        false => format!(": {words}"),
    }
}

fn masked(text: &str, carried: &Carried) -> String {
    let secrets = [&carried.signing, &carried.bearer].into_iter().flatten();
    let plain = secrets
        .clone()
        .fold(text.to_owned(), |text, secret| secret.mask(&text));
    let secrets: Vec<String> = secrets.map(|secret| secret.expose().to_owned()).collect();
    // Also as it may have been encoded.
    Masker::new(&secrets).mask(plain.as_bytes(), text.len() >= ANSWER_BYTES_MAX)
}

#[cfg(test)]
mod tests;
