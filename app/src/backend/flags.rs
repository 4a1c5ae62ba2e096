//! Feature flags, answered from the book and the record of who was served.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use trimtab_api as api;
use trimtab_api::{Done, Fault, FaultCode, Principal};
use trimtab_control::clock;
use trimtab_control::exposures::Asking;
use trimtab_control::flag_book::{FlagError, FlagPlace, Kept, Past, Touched, Wish};
use trimtab_detection::verdict::{Metric, Verdict};
use trimtab_flags::{Answer, ErrorCode, Failure, FlagState, Ramp, Usage, stale};
use trimtab_model::{Identity, Timestamp, Weight};
use trimtab_web::{FlagAnswers, FlagAsking, FlagBackend};

use super::{AppBackend, actor, moment, unavailable};

const DAY: Duration = Duration::from_secs(86_400);
/// Changes that a history shows, newest first.
const PAST_MAX: usize = 200;

fn place(service: &str, environment: &str) -> Result<FlagPlace, Fault> {
    let wrong =
        |error: trimtab_model::NameError| Fault::invalid(error.to_string(), "use the service's own name");
    Ok(FlagPlace {
        service: service.parse().map_err(wrong)?,
        environment: environment.parse().map_err(wrong)?,
    })
}

fn fault(error: FlagError) -> Fault {
    let text = error.to_string();
    match error {
        FlagError::Journal(_) | FlagError::Unreadable { .. } => unavailable(text),
        FlagError::Invalid(_) => Fault::invalid(text, "try it with `trimtab flags validate FILE`"),
        FlagError::Refused(_) => Fault::invalid(text, ""),
        FlagError::Moved { .. } => Fault::conflict(text, "get the flags again and repeat the change"),
        FlagError::NoVersion { .. } => Fault::new(
            FaultCode::NotFound,
            text,
            "see the versions with `trimtab flags history`",
        ),
        FlagError::ChangedSince { .. } => Fault::conflict(text, "undo the later changes first"),
    }
}

fn by(touched: Option<&Touched>) -> Option<String> {
    touched.map(|touched| touched.by.0.clone())
}

fn summary(kept: &Kept) -> api::FlagSetSummary {
    api::FlagSetSummary {
        service: kept.place.service.to_string(),
        environment: kept.place.environment.to_string(),
        version: kept.version,
        flags: kept.set.flags.len(),
        changed_at: kept.last.as_ref().map(|touched| moment(touched.at)),
        changed_by: by(kept.last.as_ref()),
    }
}

impl AppBackend {
    fn kept(&self, service: &str, environment: &str) -> Result<std::sync::Arc<Kept>, Fault> {
        let place = place(service, environment)?;
        let found = self.world.flags.get(&place);
        found.ok_or_else(|| {
            Fault::new(
                FaultCode::NotFound,
                format!("failed to find flags of {place}"),
                "add some with `trimtab flags set`, or see what there is with `trimtab flags list`",
            )
        })
    }

    fn flag_detail(&self, kept: &Kept, key: &str, flag: &trimtab_flags::Flag) -> api::FlagDetail {
        let seen = self.world.exposures.seen(&kept.place, key);
        let written = kept.document.pointer("/flags").and_then(|flags| flags.get(key));
        let ramp = written
            .and_then(|flag| flag.get("targeting"))
            .and_then(Ramp::read);
        let touched = kept.touched.get(key);
        api::FlagDetail {
            key: key.to_owned(),
            kind: match flag.state {
                FlagState::Disabled => api::FlagKind::Disabled,
                FlagState::Enabled if flag.is_static() => api::FlagKind::Static,
                FlagState::Enabled if flag.splits() => api::FlagKind::Split,
                FlagState::Enabled => api::FlagKind::Targeting,
            },
            variants: flag.variants.clone(),
            default_variant: flag.default_variant.clone(),
            share: ramp.map(|ramp| api::FlagShare {
                on: ramp.on,
                off: ramp.off,
                percent: ramp.share.percent(),
                by: ramp.by,
            }),
            changed_at: touched.map(|touched| moment(touched.at)),
            changed_by: by(touched),
            asked_at: seen.asked_at.map(moment),
            evaluations: seen.evaluations,
            users: api::FlagUsers {
                exposed: seen.exposed,
                control: seen.control,
                outside: seen.outside,
                uncounted: seen.uncounted,
            },
            verdict: self.world.exposures.trials.verdict(&kept.place, key).map(verdict),
        }
    }
}

pub(super) fn verdict(verdict: Verdict) -> api::FlagVerdict {
    let failed = verdict.metrics.iter().find(|one| one.metric == Metric::Errors);
    let (exposed, control) = failed
        .map(|one| (one.candidate, one.baseline))
        .unwrap_or_default();
    api::FlagVerdict {
        decision: verdict.decision.as_str().to_owned(),
        reason: verdict.reason,
        e_value: verdict.e_value,
        exposed: exposed.units,
        exposed_failed: exposed.bad,
        control: control.units,
        control_failed: control.bad,
    }
}

fn past(past: Past) -> api::FlagsPast {
    let entries = past.change.entries.into_iter().map(|entry| api::FlagsEntry {
        section: entry.section.as_str().to_owned(),
        key: entry.key,
        before: entry.before,
        after: entry.after,
    });
    api::FlagsPast {
        version: past.version,
        at: moment(past.at),
        by: past.by.0,
        reason: past.change.reason,
        undoes: past.change.undoes,
        rollout: past.change.rollout,
        entries: entries.collect(),
    }
}

/// The document with what was wished for; an error says what makes no sense.
fn edited(document: &Value, change: &api::FlagsChange) -> Result<Value, String> {
    if let Some(whole) = &change.document {
        return Ok(whole.clone());
    }
    let Some(one) = &change.flag else {
        return Err("failed to tell what to change: give a document or a flag".to_owned());
    };
    let mut document = document.clone();
    let flags = document.get_mut("flags").and_then(Value::as_object_mut);
    let Some(flags) = flags else {
        return Err("failed to find the flags in the document".to_owned());
    };
    if one.delete {
        if flags.remove(&one.key).is_none() {
            return Err(format!("failed to delete the flag {:?}: there is none", one.key));
        }
        return Ok(document);
    }
    let mut flag = match (&one.definition, flags.get(&one.key)) {
        (Some(definition), _) => definition.clone(),
        (None, Some(standing)) => standing.clone(),
        (None, None) => new_flag(),
    };
    if let (Some(name), Some(fields)) = (&one.default_variant, flag.as_object_mut()) {
        fields.insert("defaultVariant".to_owned(), json!(name));
    }
    flags.insert(one.key.clone(), flag);
    if let Some(share) = &one.share {
        let ramp = Ramp {
            on: share.on.clone(),
            off: share.off.clone(),
            share: Weight::from_percent(share.percent).map_err(|error| error.to_string())?,
            by: share.by.clone(),
        };
        let ramped = ramp
            .apply(&document, &one.key)
            .map_err(|error| error.to_string())?;
        document["flags"][&one.key] = ramped;
    }
    if let Some(enabled) = one.enabled {
        document["flags"][&one.key]["state"] = json!(if enabled { "ENABLED" } else { "DISABLED" });
    }
    Ok(document)
}

/// A flag of which nothing was said: on or off, and off.
fn new_flag() -> Value {
    json!({
        "state": "ENABLED",
        "variants": { "on": true, "off": false },
        "defaultVariant": "off",
    })
}

#[async_trait]
impl FlagBackend for AppBackend {
    async fn flag_sets(&self) -> Result<Vec<api::FlagSetSummary>, Fault> {
        Ok(self.world.flags.list().iter().map(|kept| summary(kept)).collect())
    }

    async fn flag_set(&self, service: &str, environment: &str) -> Result<api::FlagSetDetail, Fault> {
        let kept = self.kept(service, environment)?;
        let by_key = kept
            .set
            .flags
            .iter()
            .map(|(key, flag)| self.flag_detail(&kept, key, flag))
            .collect();
        Ok(api::FlagSetDetail {
            summary: summary(&kept),
            document: kept.document.clone(),
            by_key,
        })
    }

    async fn flag_history(&self, service: &str, environment: &str) -> Result<Vec<api::FlagsPast>, Fault> {
        let kept = self.kept(service, environment)?;
        let all = self.world.flags.history(&kept.place).await.map_err(fault)?;
        Ok(all.into_iter().rev().take(PAST_MAX).map(past).collect())
    }

    async fn stale_flags(
        &self,
        service: &str,
        environment: &str,
        days: u32,
    ) -> Result<Vec<api::StaleFlag>, Fault> {
        let kept = self.kept(service, environment)?;
        let exposures = &self.world.exposures;
        let usage: BTreeMap<String, Usage> = kept
            .set
            .flags
            .keys()
            .map(|key| {
                let usage = Usage {
                    changed_at: kept.touched.get(key).map_or(Timestamp(0), |touched| touched.at),
                    asked_at: exposures.seen(&kept.place, key).asked_at,
                    counted_since: exposures.since(),
                };
                (key.clone(), usage)
            })
            .collect();
        let found = stale(&kept.set, &usage, clock::now(), DAY * days);
        Ok(found
            .into_iter()
            .map(|one| api::StaleFlag {
                key: one.flag,
                why: one.why,
                mend: one.mend,
                days: one.days,
            })
            .collect())
    }

    async fn change_flags(
        &self,
        by: &Principal,
        service: &str,
        environment: &str,
        change: api::FlagsChange,
    ) -> Result<Done, Fault> {
        let place = place(service, environment)?;
        let wish = Wish {
            by: actor(by),
            reason: change.reason.clone(),
            expected: change.version,
            rollout: None,
        };
        let kept = self
            .world
            .flags
            .change(&place, wish, |document| edited(document, &change))
            .await
            .map_err(fault)?;
        Ok(done(&kept))
    }

    async fn undo_flags(
        &self,
        by: &Principal,
        service: &str,
        environment: &str,
        undo: api::FlagsUndo,
    ) -> Result<Done, Fault> {
        let wish = Wish {
            by: actor(by),
            reason: undo.reason,
            expected: None,
            rollout: None,
        };
        let place = place(service, environment)?;
        let undone = self.world.flags.undo(&place, wish, undo.version).await;
        let kept = undone.map_err(fault)?;
        Ok(done(&kept))
    }

    fn instance_of(&self, token: &str) -> Option<Identity> {
        self.world.fleet.owner_of(token)
    }

    fn evaluate_flags(&self, asking: &FlagAsking<'_>) -> Result<FlagAnswers, Fault> {
        let place = place(asking.service, asking.environment)?;
        let now = clock::now();
        let Some(kept) = self.world.flags.get(&place) else {
            let missing = |key: &str| Answer {
                key: key.to_owned(),
                outcome: Err(Failure::new(
                    ErrorCode::FlagNotFound,
                    format!("{place} has no flags"),
                )),
                metadata: Map::new(),
            };
            return Ok(FlagAnswers {
                version: 0,
                answers: asking.key.map(missing).into_iter().collect(),
            });
        };
        let answers = match asking.key {
            Some(key) => vec![kept.set.evaluate(key, asking.context, now)],
            None => kept.set.evaluate_all(asking.context, now),
        };
        let asked = Asking {
            place: &place,
            version: kept.version,
            identity: asking.identity.clone(),
            // Whoever fetches all flags has not been served any of them yet: he tells of each himself.
            user: asking
                .key
                .and(asking.context.get("targetingKey"))
                .and_then(Value::as_str),
            at: now,
            share: None,
        };
        for answer in &answers {
            let asked = Asking {
                share: kept.shares.get(&answer.key).copied(),
                ..asked.clone()
            };
            self.world.exposures.served(&asked, answer);
        }
        Ok(FlagAnswers {
            version: kept.version,
            answers,
        })
    }
}

fn done(kept: &Kept) -> Done {
    Done {
        message: format!("The flags of {} are at version {}.", kept.place, kept.version),
        id: Some(kept.version.to_string()),
        link: None,
    }
}
