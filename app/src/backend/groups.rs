//! Several services released together.

use trimtab_api as api;
use trimtab_api::{Done, Fault, GroupRequest};
use trimtab_control::clock;
use trimtab_control::groups::{Wanted, start};
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Groups;
use trimtab_control::world::{PRODUCTION, STAGING, environment};
use trimtab_model::Actor;
use trimtab_rollout::group::Event;

use super::commands::{done, moved, refused, release_id};
use super::{AppBackend, moment};

impl AppBackend {
    pub(super) async fn release_together(&self, by: Actor, request: GroupRequest) -> Result<Done, Fault> {
        let place = environment(match request.environment.as_deref() {
            None | Some(PRODUCTION) => PRODUCTION,
            Some(STAGING) => STAGING,
            Some(other) => return Err(Fault::not_found("environment", other)),
        });
        let mut wanted = Vec::new();
        for wish in &request.members {
            let release = release_id(&wish.release)?;
            let known = self.world.releases.get(&release);
            let known = known.filter(|recorded| recorded.release.service.as_str() == wish.service);
            if known.is_none() {
                return Err(Fault::not_found("release", &wish.release));
            }
            let weight = wish.weight.unwrap_or(1);
            if weight == 0 {
                return Err(Fault::invalid(
                    format!("the weight of {} is 0", wish.service),
                    "give 1 or more: what counts nothing could not be judged",
                ));
            }
            wanted.push(Wanted {
                release,
                weight,
                run: None,
            });
        }
        let started = start(&self.world, &place, &wanted, &by, &request.comment).await;
        let group = started.map_err(|reason| Fault::conflict(reason, "name one release of each service"))?;
        let message = format!("{}: {}", group.id, group.state.describe());
        Ok(done(message, &group.id, &format!("/groups/{}", group.id)))
    }

    pub(super) async fn abort_group(&self, by: Actor, id: &str, reason: String) -> Result<Done, Fault> {
        let before = self.group_snapshot(id)?;
        let at = clock::now();
        let sent = self
            .world
            .machines()
            .groups
            .send(id, Event::Aborted { at, by, reason })
            .await;
        let after = sent.map_err(|error| refused("group", id, error))?;
        moved(before.sequence, after.sequence, &after.state.describe())?;
        let message = format!("{id}: {}", after.state.describe());
        Ok(done(message, id, &format!("/groups/{id}")))
    }

    pub(super) fn group_list(&self) -> Vec<api::Group> {
        let mut all = self.world.machines().groups.list();
        all.reverse();
        all.truncate(super::ROWS_DEFAULT);
        all.iter().map(|group| self.group_view(group)).collect()
    }

    pub(super) fn one_group(&self, id: &str) -> Result<api::Group, Fault> {
        Ok(self.group_view(&self.group_snapshot(id)?))
    }

    fn group_snapshot(&self, id: &str) -> Result<Snapshot<Groups>, Fault> {
        let found = self.world.machines().groups.get(id);
        found.ok_or_else(|| Fault::not_found("group", id))
    }

    fn group_view(&self, group: &Snapshot<Groups>) -> api::Group {
        let (plan, state) = (&group.plan, &group.state);
        let members = plan.members.iter().zip(&state.members).enumerate();
        let mut e_value = None;
        let members = members
            .map(|(place, (member, progress))| {
                let rollout = progress.rollout.as_ref().map(ToString::to_string);
                let snapshot = rollout
                    .as_deref()
                    .and_then(|id| self.world.machines().rollouts.get(id));
                let verdict = progress
                    .rollout
                    .as_ref()
                    .and_then(|rollout| self.world.evidence.verdict(rollout));
                let share = plan.share(place);
                if let Some(verdict) = verdict {
                    // No evidence yet is an e-value of one.
                    *e_value.get_or_insert(1.0) += share * (verdict.e_value.min(1e12) - 1.0);
                }
                api::GroupMember {
                    service: member.service.to_string(),
                    release: member.release.to_string(),
                    state_text: snapshot.map_or_else(
                        || "not started yet".to_owned(),
                        |rollout| rollout.state.describe(),
                    ),
                    rollout,
                    barrier: progress.reached.map(|barrier| barrier + 1),
                    share,
                }
            })
            .collect();
        api::Group {
            id: group.id.clone(),
            environment: plan.environment.to_string(),
            state_text: state.describe(),
            over: state.end().is_some(),
            deployed: state.end() == Some(&trimtab_rollout::group::End::Deployed),
            alpha: plan.alpha(),
            e_value,
            members,
            by: plan.by.0.clone(),
            created_at: moment(group.created_at),
        }
    }
}
