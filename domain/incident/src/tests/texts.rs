//! Grouping, guard-rails, silences and what people read.

use std::collections::BTreeSet;
use std::time::Duration;

use insta::assert_snapshot;
use trimtab_model::{IncidentId, ReleaseId};

use super::*;

fn problem(service: &str, suspect: Option<&str>, at_s: i64) -> Problem {
    Problem {
        key: GroupKey {
            service: service.parse().unwrap(),
            environment: "production".parse().unwrap(),
            suspect: suspect.map(|suspect| suspect.parse().unwrap()),
        },
        class: Class::BadRelease,
        severity: Severity::High,
        title: "errors".to_owned(),
        at: Timestamp::from_seconds(at_s),
    }
}

#[test]
fn problems_group_by_service_suspect_and_time() {
    let problems = [
        problem("blocks", None, 0),
        problem("blocks", Some("blocks-r2"), 60),
        problem("blocks", Some("blocks-r3"), 61),
        problem("search", None, 62),
        problem("blocks", Some("blocks-r2"), 300),
        problem("blocks", Some("blocks-r2"), 900),
    ];
    let groups: Vec<String> = group(&problems, GROUP_WINDOW)
        .iter()
        .map(|group| {
            let times: Vec<i64> = group.problems.iter().map(|p| p.at.0 / 1000).collect();
            format!(
                "{} {:?} {times:?}",
                group.key.service,
                group.key.suspect.as_ref().map(ReleaseId::as_str)
            )
        })
        .collect();
    assert_snapshot!(groups.join("\n"), @r#"
    blocks Some("blocks-r2") [0, 60, 300]
    blocks Some("blocks-r3") [61]
    search None [62]
    blocks Some("blocks-r2") [900]
    "#);
}

#[test]
fn a_problem_joins_the_open_incident_that_it_meets() {
    let open = |id: &str, suspect: Option<&str>, healed| OpenIncident {
        incident: id.parse().unwrap(),
        key: problem("blocks", suspect, 0).key,
        seen_at: Timestamp(0),
        healed,
    };
    let incidents = [
        open("incident-1", Some("blocks-r1"), false),
        open("incident-2", Some("blocks-r2"), true),
        open("incident-3", None, false),
    ];
    let joined =
        |suspect| joins(&incidents, &problem("blocks", suspect, 9)).map(|open| open.incident.as_str());
    assert_eq!(joined(Some("blocks-r1")), Some("incident-1"));
    assert_eq!(joined(Some("blocks-r2")), Some("incident-3"));
    assert_eq!(
        joins(&incidents[..2], &problem("blocks", Some("blocks-r2"), 9)),
        None
    );
    assert_eq!(joins(&incidents, &problem("search", None, 9)), None);
}

#[test]
fn guard_rails_refuse_in_words() {
    let rails = GuardRails {
        automatic: true,
        dry_run: false,
        per_hour_max: 2,
        cooldown_ms: 30_000,
    };
    let service = "blocks".parse().unwrap();
    let at = Timestamp::from_seconds(10_000);
    let bad: BTreeSet<ReleaseId> = ["blocks-r1".parse().unwrap()].into();
    let none = BTreeSet::new();
    let action = |service: &str, seconds: u64| PastAction {
        at: at.minus(Duration::from_secs(seconds)),
        service: service.parse().unwrap(),
    };
    let target: ReleaseId = "blocks-r1".parse().unwrap();
    let decide = |rails: &GuardRails, past: &[PastAction], bad: &BTreeSet<ReleaseId>| match rails.decide(
        past,
        bad,
        &service,
        Some(&target),
        at,
    ) {
        Guard::Allowed => "allowed".to_owned(),
        Guard::DryRun => "dry run".to_owned(),
        Guard::Refused { reason } => reason,
    };
    let lines = [
        decide(&rails, &[], &none),
        decide(&rails, &[], &bad),
        decide(&rails, &[action("blocks", 29)], &none),
        decide(&rails, &[action("blocks", 31)], &none),
        decide(&rails, &[action("other", 1)], &none),
        decide(&rails, &[action("a", 40), action("b", 3599)], &none),
        decide(&rails, &[action("a", 40), action("b", 3600)], &none),
        decide(
            &GuardRails {
                dry_run: true,
                ..rails.clone()
            },
            &[],
            &none,
        ),
        decide(
            &GuardRails {
                automatic: false,
                ..rails.clone()
            },
            &[],
            &none,
        ),
    ];
    assert_snapshot!(lines.join("\n"), @"
    allowed
    blocks-r1, the release to return to, is itself quarantined
    the last action on blocks is less than 30 s ago (actions.cooldown)
    allowed
    allowed
    2 actions within the hour are the budget (actions.per_hour_max)
    allowed
    dry run
    automatic actions are off (actions.automatic)
    ");
}

#[test]
fn silences_cover_what_they_name_until_their_end() {
    let silence = Silence {
        author: anna(),
        reason: "load test".to_owned(),
        from: Timestamp(0),
        until: Timestamp(100),
        incident: None,
        service: Some("blocks".parse().unwrap()),
        environment: None,
        class: None,
        severity_max: Severity::High,
    };
    let of_another = Silence {
        incident: Some("incident-77".parse().unwrap()),
        ..silence.clone()
    };
    let silences = [of_another, silence];
    let plan = at_rollout();
    assert!(silenced(&silences, &plan, Severity::High, Timestamp(99)).is_some());
    assert!(silenced(&silences[..1], &plan, Severity::High, Timestamp(99)).is_none());
    assert!(silenced(&silences, &plan, Severity::High, Timestamp(100)).is_none());
    assert!(silenced(&silences, &plan, Severity::Critical, Timestamp(50)).is_none());
    let other = Plan {
        service: "search".parse().unwrap(),
        ..plan
    };
    assert!(silenced(&silences, &other, Severity::Low, Timestamp(50)).is_none());
}

#[test]
fn notices_say_what_where_and_what_next() {
    let plan = at_rollout();
    let state = start(&plan);
    let link = "http://127.0.0.1:7700/incidents/incident-1";
    let all: Vec<String> = [
        Notice::Raised,
        Notice::Warning,
        Notice::RolledBack,
        Notice::Restarted,
        Notice::PeopleNeeded,
        Notice::Reminder,
        Notice::ProblemSolved,
    ]
    .map(|what| {
        let text = notice_text(&plan, &state, what, link);
        format!("{}\n{}\n{}", text.sms, text.subject, text.body)
    })
    .into();
    assert_snapshot!("notices", all.join("---\n"));
}

#[test]
fn a_notice_is_short_and_cannot_forge_lines() {
    let plan = Plan {
        title: format!("x\r\nBcc: all@example.org\n{}", "y".repeat(5000)),
        ..at_rollout()
    };
    let text = notice_text(&plan, &start(&plan), Notice::Raised, "http://t/1");
    assert!(text.sms.chars().count() <= 306, "{}", text.sms.chars().count());
    assert!(!text.sms.contains('\n') && !text.subject.contains(['\r', '\n']));
    assert!(!text.body.contains("\nBcc"));
}

#[test]
fn proposals_fit_the_class() {
    let all: Vec<String> = Class::ALL
        .map(|class| {
            let lines: Vec<String> = proposals(class, &long_after())
                .iter()
                .map(|p| format!("- {} ({}) {}", p.title, p.why, p.command.as_deref().unwrap_or("")))
                .collect();
            format!("{class}:\n{}", lines.join("\n"))
        })
        .into();
    assert_snapshot!("proposals", all.join("\n"));
}

fn record() -> Record {
    let start = 1_764_000_000_000;
    let entry = |ms: i64, actor: &str, text: &str, is_action| TimelineEntry {
        at: Timestamp(start + ms),
        actor: Actor(actor.to_owned()),
        text: text.to_owned(),
        is_action,
    };
    let plan = at_rollout();
    Record {
        incident: IncidentId::new("incident-1").unwrap(),
        title: plan.title.clone(),
        service: plan.service.clone(),
        environment: plan.environment.clone(),
        severity: Severity::Critical,
        class: Class::BadRelease,
        suspect: plan.suspect.clone(),
        previous: plan.previous.clone(),
        way: Way::Rollback,
        moments: Moments {
            began_at: Some(Timestamp(start)),
            detected_at: Timestamp(start + 1_840),
            traffic_off_at: Some(Timestamp(start + 2_100)),
            rolled_back_at: Some(Timestamp(start + 9_000)),
            healed_at: None,
        },
        impact: Impact {
            requests_failed: Some(23),
            requests: Some(412),
            users: None,
            users_max: Some(23),
            budget_burnt: Some("1.5 %".to_owned()),
        },
        timeline: vec![
            entry(0, "trimtab", "rollout-4 shifted 95 % to blocks-r2", false),
            entry(1_840, "trimtab", "incident opened: critical", false),
            entry(2_100, "trimtab", "traffic off blocks-r2", true),
            entry(5_000, "trimtab", "restarted blocks-r2: still unhealthy", true),
            entry(9_000, "trimtab", "rolled back to blocks-r1", true),
            entry(12_000, "anna", "acknowledged <script>alert(1)</script>", false),
        ],
        causes: vec![CauseLine {
            title: "POST /blocks in blocks-r2".to_owned(),
            evidence: "errors 0.1 % -> 12 %, new log line `index * out of range`".to_owned(),
        }],
        follow_ups: proposals(Class::BadRelease, &plan),
        lessons: vec!["log template 17 is now known bad".to_owned()],
    }
}

#[test]
fn a_postmortem_tells_the_whole_story() {
    assert_snapshot!("postmortem", postmortem(&record()));
}

#[test]
fn an_empty_postmortem_says_no_data() {
    let empty = Record {
        suspect: None,
        previous: None,
        way: Way::Itself,
        moments: Moments::default(),
        impact: Impact::default(),
        timeline: Vec::new(),
        causes: Vec::new(),
        follow_ups: Vec::new(),
        lessons: Vec::new(),
        ..record()
    };
    let page = postmortem(&empty);
    assert!(
        page.contains("| requests failed | no data of no data |"),
        "{page}"
    );
    assert!(page.contains("No cause was found.") && page.contains("None: it went by itself."));
}
