//! Exact counts of one route, on one lane.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use http::Method;
use trimtab_model::{Arm, LatencyHistogram, Weight};

use super::operation;
use super::routes::RouteState;
use crate::{Cell, UserRequest, UserRequests};

/// Operations told apart per route; later ones are counted as `other`.
const OPERATIONS_MAX: usize = 100;
/// Requests of known users kept per route, lane and report; later ones are only counted.
const USER_REQUESTS_MAX: usize = 2_000;

/// Which of a route's pools a request went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Baseline,
    Candidate,
    /// A copy, off traffic.
    Mirror,
}

impl Side {
    /// The arm its cells and records name; copies are the candidate's.
    pub(super) fn arm(self) -> Arm {
        match self {
            Side::Baseline => Arm::Baseline,
            Side::Candidate | Side::Mirror => Arm::Candidate,
        }
    }
}

/// What a request is to the comparison of arms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Unit {
    /// No coin was tossed for it: its user's arm was known.
    pub(super) returning: bool,
    /// The weight under which its user was in the baseline before.
    pub(super) seen: Weight,
}

/// What became of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) failed: bool,
    pub(super) retries: u32,
    pub(super) latency: Duration,
}

impl Outcome {
    /// The service failed.
    pub(super) fn is_error(&self) -> bool {
        self.failed || self.status >= 500
    }

    /// The client did, or left.
    pub(super) fn is_client_error(&self) -> bool {
        !self.failed && (400..500).contains(&self.status)
    }
}

#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    errors: u64,
    client_errors: u64,
    retries: u64,
    latency: LatencyHistogram,
}

#[derive(Debug, Default)]
struct Operations {
    numbers: HashMap<Box<str>, usize>,
    names: Vec<Box<str>>,
    counts: Vec<[Counts; 3]>,
    /// Counts of sticky users who were seen before; they come under few weights.
    known: HashMap<(usize, Side, Unit), Counts>,
    scratch: String,
    folded: u64,
    fresh: bool,
}

/// The counts since they were last taken.
#[derive(Debug, Default)]
pub(super) struct Tally {
    operations: RefCell<Operations>,
    users: RefCell<(Vec<UserRequest>, u64)>,
}

impl Tally {
    /// The number of a request's operation.
    pub(super) fn operation(&self, method: &Method, path: &[u8]) -> usize {
        let operations = &mut *self.operations.borrow_mut();
        operation::normalise(method.as_str(), path, &mut operations.scratch);
        if let Some(number) = operations.numbers.get(operations.scratch.as_str()) {
            return *number;
        }
        if operations.names.len() >= OPERATIONS_MAX {
            operations.folded += 1;
            return operations.add("other");
        }
        let name = std::mem::take(&mut operations.scratch);
        operations.add(&name)
    }

    /// The operation's name.
    pub(super) fn name(&self, operation: usize) -> String {
        self.operations
            .borrow()
            .names
            .get(operation)
            .map_or_else(String::new, |name| name.to_string())
    }

    /// Counts one request that ended.
    pub(super) fn record(&self, operation: usize, side: Side, unit: Unit, outcome: &Outcome) {
        let operations = &mut *self.operations.borrow_mut();
        let counts = if unit == Unit::default() {
            operations
                .counts
                .get_mut(operation)
                .map(|sides| &mut sides[side as usize])
        } else {
            Some(operations.known.entry((operation, side, unit)).or_default())
        };
        let Some(counts) = counts else {
            return;
        };
        counts.requests += 1;
        counts.errors += u64::from(outcome.is_error());
        counts.client_errors += u64::from(outcome.is_client_error());
        counts.retries += u64::from(outcome.retries);
        counts
            .latency
            .record(u64::try_from(outcome.latency.as_micros()).unwrap_or(u64::MAX));
        operations.fresh = true;
    }

    /// Keeps what became of a known user's request.
    pub(super) fn record_user(&self, user: u64, outcome: &Outcome, ended_nanos: u64) {
        let (requests, uncounted) = &mut *self.users.borrow_mut();
        if requests.len() >= USER_REQUESTS_MAX {
            *uncounted += 1;
            return;
        }
        requests.push(UserRequest {
            user,
            ended_nanos,
            micros: u64::try_from(outcome.latency.as_micros()).unwrap_or(u64::MAX),
            failed: outcome.is_error(),
            client_error: outcome.is_client_error(),
        });
    }

    /// Takes the requests of known users.
    pub(super) fn take_users(&self, route: &RouteState) -> Option<UserRequests> {
        let (requests, uncounted) = std::mem::take(&mut *self.users.borrow_mut());
        (!requests.is_empty()).then(|| UserRequests {
            service: route.route.service.clone(),
            environment: route.route.environment.clone(),
            requests,
            uncounted,
        })
    }

    /// Takes the counts, as cells of `route`.
    pub(super) fn take(&self, route: &RouteState, cells: &mut Vec<Cell>) {
        let operations = &mut *self.operations.borrow_mut();
        if !std::mem::take(&mut operations.fresh) {
            return;
        }
        for (name, sides) in operations.names.iter().zip(&mut operations.counts) {
            for (side, counts) in [Side::Baseline, Side::Candidate, Side::Mirror]
                .into_iter()
                .zip(sides)
            {
                if counts.requests > 0 {
                    cells.extend(cell(route, name, side, Unit::default(), std::mem::take(counts)));
                }
            }
        }
        for ((operation, side, unit), counts) in operations.known.drain() {
            if let Some(name) = operations.names.get(operation) {
                cells.extend(cell(route, name, side, unit, counts));
            }
        }
    }

    /// How many requests were folded into `other` since this was last asked.
    pub(super) fn take_folded(&self) -> u64 {
        std::mem::take(&mut self.operations.borrow_mut().folded)
    }
}

fn cell(route: &RouteState, operation: &str, side: Side, unit: Unit, counts: Counts) -> Option<Cell> {
    Some(Cell {
        service: route.route.service.clone(),
        environment: route.route.environment.clone(),
        release: route.pool(side)?.release.clone(),
        arm: side.arm(),
        rollout: route.route.split.rollout.clone(),
        weight: route.route.split.candidate_weight,
        operation: operation.to_owned(),
        requests: counts.requests,
        errors: counts.errors,
        client_errors: counts.client_errors,
        retries: counts.retries,
        latency: counts.latency,
        mirrored: side == Side::Mirror,
        returning: unit.returning,
        seen_weight: unit.seen,
    })
}

impl Operations {
    fn add(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len();
        self.numbers.insert(name.into(), number);
        self.names.push(name.into());
        self.counts.push(Default::default());
        number
    }
}
