//! `groups:` of `trimtab-server.yaml`: services that are released together.

use schemars::JsonSchema;
use serde::Serialize;
use trimtab_model::ServiceName;

use crate::Period;
use crate::read::Value;

const GROUPS_MAX: usize = 100;
const SERVICES_MAX: usize = 16;
const WEIGHT_MAX: u64 = 1000;
const WAIT: Period = Period::seconds(600);

/// Services that are released together: a barrier per step, one alpha, and all go back if one does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Group {
    /// The services; what others need comes first, so that it goes back last.
    #[schemars(with = "Vec<String>")]
    pub services: Vec<ServiceName>,
    /// How much each one's evidence counts, in the same order; the same when left out.
    pub weights: Vec<u64>,
    /// How long a run that is ready for production waits for runs of the others. Those that are ready by then
    /// go together; alone, it goes alone.
    pub wait: Period,
}

/// Reads the list.
pub(super) fn groups(value: Value<'_>) -> Option<Vec<Group>> {
    let mut seen = std::collections::BTreeSet::new();
    value.list(GROUPS_MAX, "- {services: [blocks, search]}", |v| {
        let fields = v.fields(&["services", "weights", "wait"])?;
        let services = fields.need("services", "the services: 'services: [blocks, search]'", |v| {
            v.list(SERVICES_MAX, "[blocks, search]", |v| {
                v.parsed::<ServiceName>(super::reading::NAME_MEND)
            })
        });
        let weights = fields.or(
            "weights",
            |v| v.list(SERVICES_MAX, "[1, 1]", |v| v.integer(1, WEIGHT_MAX)),
            Vec::new(),
        );
        let wait = fields.or("wait", Value::period, WAIT);
        let services = services?;
        if services.len() < 2 {
            fields.clash(
                "services",
                "a group of fewer than two",
                "name at least two services",
            );
        }
        if !services.iter().all(|service| seen.insert(service.clone())) {
            fields.clash(
                "services",
                "a service is in two groups, or twice in one",
                "keep it in one place",
            );
        }
        if !weights.is_empty() && weights.len() != services.len() {
            fields.clash(
                "weights",
                "not as many weights as services",
                "give one for each, or none",
            );
        }
        Some(Group {
            services,
            weights,
            wait,
        })
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use crate::parse_server;

    #[test]
    fn services_that_belong_together_are_read_and_checked() {
        let server = parse_server(
            "s.yaml",
            "groups:\n  - {services: [blocks, search], weights: [3, 1], wait: 2m}\n  - {services: [a, b]}\n",
        );
        let groups = server.unwrap().groups;
        assert_eq!(
            (groups[0].weights.as_slice(), groups[0].wait.as_millis()),
            (&[3, 1][..], 120_000)
        );
        assert_eq!(
            (groups[1].weights.len(), groups[1].wait.as_millis()),
            (0, 600_000)
        );
        for wrong in [
            "[{services: [blocks]}]",
            "[{services: [a, b]}, {services: [b, c]}]",
            "[{services: [a, b], weights: [1]}]",
            "[{services: [a, b], weights: [0, 1]}]",
        ] {
            let read = parse_server("s.yaml", &format!("groups: {wrong}\n"));
            assert!(read.is_err(), "{wrong}");
        }
    }
}
