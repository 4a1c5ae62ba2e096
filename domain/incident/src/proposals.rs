//! What may help, by kind of problem (E.22, E.23).

use serde::{Deserialize, Serialize};

use crate::{Class, Plan};

/// One recommendation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// What to do.
    pub title: String,
    /// Why it may help.
    pub why: String,
    /// The command that does it, where Trimtab can.
    pub command: Option<String>,
}

/// What may help against a problem of `class`, best first.
pub fn proposals(class: Class, plan: &Plan) -> Vec<Proposal> {
    match class {
        Class::BadRelease => roll_back(plan).into_iter().chain([explain(plan)]).collect(),
        Class::ConfigurationChange => {
            let undo = propose(
                "Undo the last change of configuration",
                "The problem began right after it; the timeline shows who changed what.",
                None,
            );
            [undo].into_iter().chain(roll_back(plan)).collect()
        }
        Class::ResourceExhaustion => {
            let raise = propose(
                &format!("Raise the limit or add an instance of {}", plan.service),
                "A resource ran out; more of it buys time until the leak is found.",
                None,
            );
            let rest = roll_back(plan).into_iter().chain([explain(plan)]);
            [raise].into_iter().chain(rest).collect()
        }
        Class::DependencyFailure | Class::TrafficSurge | Class::DataOrInfrastructure => {
            from_outside(class, plan)
        }
    }
}

/// What may help when the release is not at fault.
fn from_outside(class: Class, plan: &Plan) -> Vec<Proposal> {
    let service = &plan.service;
    match class {
        Class::DependencyFailure => vec![
            propose(
                "Look at what the service calls",
                "Its own code did not change; the slow or failing span names the dependency.",
                Some(format!("trimtab explain {}", plan.incident)),
            ),
            propose(
                "Shorten time-outs and serve without the dependency",
                "Waiting for it spreads the failure.",
                None,
            ),
        ],
        Class::TrafficSurge => vec![
            propose(
                &format!("Add instances of {service}"),
                "It serves more than usual, and each request got slower.",
                None,
            ),
            propose(
                "Find where the traffic comes from",
                "A client gone wild is better limited than served.",
                Some(format!("trimtab logs {service}")),
            ),
        ],
        Class::BadRelease
        | Class::ConfigurationChange
        | Class::ResourceExhaustion
        | Class::DataOrInfrastructure => vec![
            propose(
                "Look at disk, memory and network of the host",
                "Several services or none of the releases changed.",
                Some("trimtab doctor".to_owned()),
            ),
            explain(plan),
        ],
    }
}

fn explain(plan: &Plan) -> Proposal {
    propose(
        "Read the ranked causes",
        "They name the endpoint, log line and span that changed, each with its number.",
        Some(format!("trimtab explain {}", plan.incident)),
    )
}

fn roll_back(plan: &Plan) -> Option<Proposal> {
    let (previous, suspect) = (plan.previous.as_ref()?, plan.suspect.as_ref()?);
    let command = format!(
        "trimtab rollback {} --environment {} --to {previous}",
        plan.service, plan.environment
    );
    Some(propose(
        &format!("Return from {suspect} to {previous}"),
        "It served without this problem.",
        Some(command),
    ))
}

fn propose(title: &str, why: &str, command: Option<String>) -> Proposal {
    Proposal {
        title: title.to_owned(),
        why: why.to_owned(),
        command,
    }
}
