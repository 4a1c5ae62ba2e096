//! What a project says of its route, as the proxy takes it.

use std::time::Duration;

use trimtab_model::{EnvironmentName, ReleaseId, ServiceName};
use trimtab_project::{Ask, Project, Protocol as Spoken};
use trimtab_proxy::{
    Ejection, LimitBy, Policy, Probe, Protocol, RateLimit, Sticky, StickyBy, Tester, TesterBy,
};

/// Where a service in an environment is reached, and by which rules.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// The service.
    pub service: ServiceName,
    /// The environment.
    pub environment: EnvironmentName,
    /// Host name, or `*`.
    pub host: String,
    /// Path prefix.
    pub path_prefix: String,
    /// Longest that a request may take.
    pub timeout: Duration,
    /// How its instances are probed.
    pub probe: Probe,
    /// What its instances speak.
    pub protocol: Protocol,
    /// How users are kept on their arm.
    pub sticky: Option<StickyBy>,
    /// How testers are known, and by which value.
    pub testers: Vec<(TesterBy, String)>,
    /// What else the proxy does with its requests.
    pub policy: Policy,
}

impl Entrance {
    /// The entrance that `project` has at `host` and `path_prefix`.
    pub fn of(project: &Project, environment: &EnvironmentName, host: String, path_prefix: String) -> Self {
        let (route, health) = (&project.production.route, &project.run.health);
        Entrance {
            service: project.service.clone(),
            environment: environment.clone(),
            host,
            path_prefix,
            timeout: route.timeout.0,
            probe: Probe {
                // What is asked otherwise is asked by the runtime; the proxy sees whether it takes connections.
                connect_only: !matches!(project.run.asked(), Ask::Path(_)),
                path: health.path.clone().unwrap_or_else(|| Probe::default().path),
                interval_ms: health.interval.as_millis().max(1),
                timeout_ms: health.timeout.as_millis().max(1),
                healthy_after: health.healthy_after.max(1),
                unhealthy_after: health.unhealthy_after.max(1),
            },
            protocol: match route.protocol {
                Spoken::Http1 => Protocol::Http1,
                Spoken::Http2 => Protocol::Http2,
                Spoken::Grpc => Protocol::Grpc,
            },
            sticky: route.sticky.as_deref().map(|by| match by {
                "cookie" => StickyBy::Cookie,
                header => StickyBy::Header(header.to_owned()),
            }),
            testers: route
                .testers
                .iter()
                .filter_map(|tester| {
                    let header = tester.header.clone().map(TesterBy::Header);
                    let by = header.or_else(|| tester.cookie.clone().map(TesterBy::Cookie))?;
                    Some((by, tester.value.clone()))
                })
                .collect(),
            policy: policy(project),
        }
    }

    /// How users are kept on their arm during a rollout.
    pub(crate) fn sticky(&self, secret: &str) -> Option<Sticky> {
        let by = self.sticky.clone()?;
        Some(Sticky {
            by,
            secret: secret.to_owned(),
        })
    }

    /// The policy while `candidate` is on trial, or nobody is. What people have closed or paused stays so.
    pub(crate) fn policy(&self, candidate: Option<&ReleaseId>, before: Option<&Policy>) -> Policy {
        let testers = candidate.map_or_else(Vec::new, |release| {
            let rules = self.testers.iter().cloned();
            rules
                .map(|(by, value)| Tester {
                    by,
                    value,
                    release: release.clone(),
                })
                .collect()
        });
        Policy {
            testers,
            maintenance: before.and_then(|policy| policy.maintenance.clone()),
            paused: before.is_some_and(|policy| policy.paused),
            hold_ms: match before {
                Some(policy) if policy.paused => policy.hold_ms,
                _ => self.policy.hold_ms,
            },
            ..self.policy.clone()
        }
    }
}

fn policy(project: &Project) -> Policy {
    let route = &project.production.route;
    Policy {
        hold_ms: route.hold.as_millis(),
        rate_limit: route.rate_limit.as_ref().map(|limit| RateLimit {
            per_second: limit.per_second,
            burst: limit.burst,
            by: match limit.by.as_str() {
                "route" => LimitBy::Route,
                "address" => LimitBy::Address,
                header => LimitBy::Header(header.to_owned()),
            },
        }),
        ejection: route.ejection.as_ref().map(|ejection| Ejection {
            failures: ejection.failures,
            for_ms: ejection.lasts.as_millis(),
        }),
        slow_start_ms: route.slow_start.as_millis(),
        connect_timeout_ms: route.connect_timeout.map(trimtab_project::Period::as_millis),
        stall_timeout_ms: route.stall_timeout.map(trimtab_project::Period::as_millis),
        body_bytes_max: route.body_max,
        asset_fallback: route.asset_fallback,
        forwarded: route.forwarded,
        users_by: users_by(project),
        ..Policy::default()
    }
}

/// The header that names a flag's users.
pub(crate) fn users_by(project: &Project) -> Option<String> {
    project.production.flag.as_ref()?.user_header.clone()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use trimtab_proxy::Maintenance;

    use super::*;

    fn entrance(route: &str) -> Entrance {
        let text = format!(
            "service: blocks\npipeline: {{build: make, artifact: {{paths: [blocks]}}}}\nrun: {{command: ./blocks, health: {{path: /health}}}}\nproduction:\n  route: {{{route}}}\n"
        );
        let project = trimtab_project::parse("trimtab.yaml", &text).unwrap();
        let production = EnvironmentName::new("production").unwrap();
        Entrance::of(&project, &production, "*".to_owned(), "/".to_owned())
    }

    #[test]
    fn a_route_says_how_its_requests_are_treated() {
        let release = ReleaseId::new("blocks-r2").unwrap();
        let plain = entrance("");
        let held = Policy {
            hold_ms: 3_000,
            ..Policy::default()
        };
        assert_eq!(plain.policy(Some(&release), None), held);
        assert_eq!((plain.sticky("s"), plain.protocol), (None, Protocol::Http1));
        let full = entrance(
            "protocol: grpc, sticky: X-User, testers: [{cookie: Beta, value: a1}], hold: 5s, \
             rate_limit: {per_second: 9}, ejection: {failures: 2}, body_max: 1MB, asset_fallback: true",
        );
        assert_eq!(full.protocol, Protocol::Grpc);
        assert_eq!(
            full.sticky("s").unwrap().by,
            StickyBy::Header("x-user".to_owned())
        );
        let policy = full.policy(Some(&release), None);
        assert_eq!(policy.testers[0].by, TesterBy::Cookie("Beta".to_owned()));
        assert_eq!(
            (policy.testers[0].release.as_str(), policy.hold_ms),
            ("blocks-r2", 5_000)
        );
        assert_eq!(
            policy.rate_limit.unwrap(),
            RateLimit {
                per_second: 9,
                burst: 9,
                by: LimitBy::Address
            }
        );
        assert_eq!(
            policy.ejection,
            Some(Ejection {
                failures: 2,
                for_ms: 10_000
            })
        );
        assert_eq!(
            (policy.body_bytes_max, policy.asset_fallback),
            (Some(1_000_000), true)
        );
        assert_eq!(full.policy(None, None).testers, [], "nobody is on trial");
        assert_eq!(
            entrance("sticky: cookie").sticky("s").unwrap().by,
            StickyBy::Cookie
        );
    }

    #[test]
    fn what_people_closed_stays_closed() {
        let maintenance = Some(Maintenance {
            page: "closed".to_owned(),
            retry_after_s: 1,
        });
        let before = Policy {
            maintenance: maintenance.clone(),
            paused: true,
            hold_ms: 9,
            forwarded: true,
            ..Policy::default()
        };
        let after = entrance("hold: 5s").policy(None, Some(&before));
        assert_eq!(
            (after.maintenance, after.paused, after.hold_ms),
            (maintenance, true, 9)
        );
        assert!(!after.forwarded, "the project says the rest");
    }
}
