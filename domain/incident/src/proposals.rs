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
    let service = &plan.service;
    let propose = |title: String, why: &str, command: Option<String>| Proposal {
        title,
        why: why.to_owned(),
        command,
    };
    let explain = || {
        let command = format!("trimtab explain {}", plan.incident);
        propose(
            "Read the ranked causes".to_owned(),
            "They name the endpoint, log line and span that changed, each with its number.",
            Some(command),
        )
    };
    let roll_back = || match (&plan.previous, &plan.suspect) {
        (Some(previous), Some(suspect)) => Some(propose(
            format!("Return from {suspect} to {previous}"),
            "It served without this problem.",
            Some(format!(
                "trimtab rollback {service} --environment {} --to {previous}",
                plan.environment
            )),
        )),
        (_, _) => None,
    };
    let mut list = Vec::new();
    match class {
        Class::BadRelease => {
            list.extend(roll_back());
            list.push(explain());
        }
        Class::ConfigurationChange => {
            list.push(propose(
                "Undo the last change of configuration".to_owned(),
                "The problem began right after it; the timeline shows who changed what.",
                None,
            ));
            list.extend(roll_back());
        }
        Class::ResourceExhaustion => {
            list.push(propose(
                format!("Raise the limit or add an instance of {service}"),
                "A resource ran out; more of it buys time until the leak is found.",
                None,
            ));
            list.extend(roll_back());
            list.push(explain());
        }
        Class::DependencyFailure => {
            list.push(propose(
                "Look at what the service calls".to_owned(),
                "Its own code did not change; the slow or failing span names the dependency.",
                Some(format!("trimtab explain {}", plan.incident)),
            ));
            list.push(propose(
                "Shorten time-outs and serve without the dependency".to_owned(),
                "Waiting for it spreads the failure.",
                None,
            ));
        }
        Class::TrafficSurge => {
            list.push(propose(
                format!("Add instances of {service}"),
                "It serves more than usual, and each request got slower.",
                None,
            ));
            list.push(propose(
                "Find where the traffic comes from".to_owned(),
                "A client gone wild is better limited than served.",
                Some(format!("trimtab logs {service}")),
            ));
        }
        Class::DataOrInfrastructure => {
            list.push(propose(
                "Look at disk, memory and network of the host".to_owned(),
                "Several services or none of the releases changed.",
                Some("trimtab doctor".to_owned()),
            ));
            list.push(explain());
        }
    }
    list
}
