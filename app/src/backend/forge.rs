//! What the forge and users tell: pushes, merge requests, reviews, scores.

use std::collections::BTreeMap;

use trimtab_api::{
    Done, Fault, FaultCode, GitHook, GitHookKind, MergeRequest, MergeRequestState, NewFeedback, Principal,
    Review, ReviewVerdict,
};
use trimtab_control::clock;
use trimtab_control::world::PRODUCTION;
use trimtab_model::{Actor, Role};
use trimtab_telemetry::{Labels, METRIC_NAME, Sample};

use super::commands::service_name;
use super::{AppBackend, actor, moment, unavailable};

/// The series of users' scores.
pub(super) const SCORE: &str = "trimtab_feedback_score";

/// What the forge told.
#[derive(Default)]
pub(super) struct Told {
    requests: Vec<MergeRequest>,
    /// Who pushed, by commit.
    pushes: BTreeMap<String, String>,
}

impl Told {
    /// The merge request that brought a commit.
    pub(super) fn request(&self, commit: &str) -> Option<&MergeRequest> {
        self.requests.iter().find(|request| request.commit == commit)
    }

    /// Who wrote a commit, as far as the forge told: the merge request's author, or who pushed it.
    pub(super) fn author(&self, commit: &str) -> Option<String> {
        let request = self.request(commit).map(|request| request.author.clone());
        request.or_else(|| self.pushes.get(commit).cloned())
    }

    /// Whether the forge told of a push of this commit.
    pub(super) fn pushed(&self, commit: &str) -> bool {
        self.pushes.contains_key(commit)
    }
}

impl AppBackend {
    pub(super) async fn take_hook(&self, by: &Principal, hook: GitHook) -> Result<Done, Fault> {
        let service = service_name(&hook.service)?;
        let repository = self.world.repository(&service);
        let repository = repository.ok_or_else(|| Fault::not_found("service", &hook.service))?;
        let hook = GitHook {
            actor: speaker(by, &hook.actor)?,
            ..hook
        };
        let who = Actor(hook.actor.clone());
        if let GitHookKind::Review {
            merge_request,
            verdict: ReviewVerdict::Approved,
            ..
        } = &hook.what
        {
            self.refuse_own_work(&hook.service, merge_request, &who).await?;
        }
        let kind = match &hook.what {
            GitHookKind::Push { .. } => "forge.push",
            GitHookKind::MergeRequest { .. } => "forge.merge_request",
            GitHookKind::Review { .. } => "forge.review",
        };
        let body = serde_json::to_value(&hook).map_err(unavailable)?;
        self.write(&format!("forge/{service}"), kind, who.clone(), body)
            .await?;
        if let GitHookKind::Push {
            reference, commit, ..
        } = &hook.what
        {
            let branch = reference.strip_prefix("refs/heads/").unwrap_or(reference);
            if branch == repository.branch {
                return self.start_run(&who, &service, commit).await;
            }
        }
        Ok(Done {
            message: "noted".to_owned(),
            id: None,
            link: None,
        })
    }

    /// Nobody approves what they wrote: a review is by another identity (A.D4).
    async fn refuse_own_work(&self, service: &str, id: &str, who: &Actor) -> Result<(), Fault> {
        let all = self.merge_request_list().await?;
        let own = all
            .iter()
            .any(|request| request.id == id && request.service == service && request.author == who.0);
        if own {
            return Err(Fault::new(
                FaultCode::Forbidden,
                format!("{who} opened merge request {id} and cannot approve it"),
                "ask somebody else for a review",
            ));
        }
        Ok(())
    }

    pub(super) async fn merge_request_list(&self) -> Result<Vec<MergeRequest>, Fault> {
        Ok(self.told_by_forge().await?.requests)
    }

    /// What the forge told so far, newest merge requests first.
    pub(super) async fn told_by_forge(&self) -> Result<Told, Fault> {
        let mut told = Told::default();
        for stream in self.world.journal.streams("forge/").await.map_err(unavailable)? {
            for event in self.stream(&stream.name).await? {
                let Ok(hook) = serde_json::from_value::<GitHook>(event.body) else {
                    continue;
                };
                if let GitHookKind::Push { commit, .. } = &hook.what {
                    told.pushes.insert(commit.clone(), event.actor.0.clone());
                }
                note(&mut told.requests, hook, event.at);
            }
        }
        told.requests
            .sort_by_key(|request| std::cmp::Reverse(request.opened_at.millis()));
        Ok(told)
    }

    pub(super) async fn take_feedback(&self, by: &Principal, feedback: NewFeedback) -> Result<Done, Fault> {
        let service = service_name(&feedback.service)?;
        if !self.services_known().contains(&service) {
            return Err(Fault::not_found("service", &feedback.service));
        }
        let now = clock::now();
        let environment = feedback.environment.as_deref().unwrap_or(PRODUCTION);
        let labels = Labels::from_pairs([
            (METRIC_NAME, SCORE),
            ("service", service.as_str()),
            ("environment", environment),
        ]);
        let sample = Sample {
            labels,
            at_ms: now.0,
            value: feedback.score,
        };
        self.world
            .series
            .append(vec![sample])
            .await
            .map_err(unavailable)?;
        let body = serde_json::to_value(&feedback).map_err(unavailable)?;
        self.write(&format!("feedback/{service}"), "feedback.given", actor(by), body)
            .await?;
        Ok(Done {
            message: "thank you: the score is kept".to_owned(),
            id: None,
            link: None,
        })
    }
}

/// Whom a hook speaks for. A forge's own token, which needs the role operator, is believed about its users; any
/// other speaks for its holder alone.
fn speaker(by: &Principal, claimed: &str) -> Result<String, Fault> {
    if claimed.is_empty() || claimed == by.name {
        return Ok(by.name.clone());
    }
    if by.role < Role::Operator {
        return Err(Fault::new(
            FaultCode::Forbidden,
            format!("the token of {} does not speak for {claimed}", by.name),
            "leave `actor` empty, or give the forge a token with the role operator",
        ));
    }
    Ok(claimed.to_owned())
}

fn note(all: &mut Vec<MergeRequest>, hook: GitHook, at: trimtab_model::Timestamp) {
    match hook.what {
        GitHookKind::Push { .. } => {}
        GitHookKind::MergeRequest {
            id,
            title,
            source,
            target,
            commit,
            state,
        } => {
            let merged_at = (state == MergeRequestState::Merged).then_some(moment(at));
            let known = all.iter_mut().find(|r| r.id == id && r.service == hook.service);
            if let Some(known) = known {
                known.title = title;
                known.commit = commit;
                known.state = state;
                known.merged_at = known.merged_at.or(merged_at);
            } else {
                all.push(MergeRequest {
                    id,
                    service: hook.service,
                    title,
                    author: hook.actor,
                    source,
                    target,
                    commit,
                    state,
                    reviews: Vec::new(),
                    opened_at: moment(at),
                    merged_at,
                });
            }
        }
        GitHookKind::Review {
            merge_request,
            verdict,
            comment,
        } => {
            let known = all
                .iter_mut()
                .find(|r| r.id == merge_request && r.service == hook.service);
            if let Some(known) = known {
                known.reviews.push(Review {
                    author: hook.actor,
                    verdict,
                    comment,
                    at: moment(at),
                });
            }
        }
    }
}
