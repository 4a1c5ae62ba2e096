//! Which arm serves a request: the coin of the request, or the ticket of its user.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use trimtab_model::Weight;

use super::pool::PoolState;
use super::routes::RouteState;
use super::tally::{Side, Unit};
use crate::http1::{RequestHead, cookie};
use crate::table::{TICKETS, Ticket, TicketOffice};
use crate::{Sticky, StickyBy, TesterBy};

/// Users known again by a header on one lane; those who come later are no evidence.
const USERS_MAX: usize = 200_000;
/// How long a browser keeps its ticket: longer than any rollout.
const COOKIE_SECONDS: u32 = 30 * 24 * 3600;

/// What was drawn for a request.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) side: Side,
    pub(super) pool: Rc<PoolState>,
    pub(super) unit: Unit,
    /// What the answer must tell the client.
    pub(super) cookie: Option<CookieOrder>,
}

/// What becomes of the client's ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CookieOrder {
    Issue(Ticket),
    Remove,
}

/// A lane's place among all lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct LanePlace {
    pub(super) number: usize,
    pub(super) count: usize,
}

/// The weight under which users by header were last looked at; outlives tables, not the rollout.
pub(super) type SeenUsers = Rc<RefCell<HashMap<u64, Weight>>>;

/// How a route with sticky arms knows its users.
#[derive(Debug)]
pub(super) struct Register {
    office: TicketOffice,
    by: StickyBy,
    seen: SeenUsers,
}

impl Register {
    pub(super) fn new(office: TicketOffice, sticky: &Sticky, seen: SeenUsers) -> Self {
        Register {
            office,
            by: sticky.by.clone(),
            seen,
        }
    }
}

/// Draws the arm of a request that is no tester's.
pub(super) fn draw(
    route: &RouteState,
    head: &RequestHead,
    place: LanePlace,
    rng: &mut fastrand::Rng,
) -> Drawn {
    let weight = route.route.split.candidate_weight;
    let mut drawn = match route.register() {
        None => Drawn::by(route, rng.u16(..TICKETS) < weight.basis_points(), Unit::default()),
        Some(register) => match &register.by {
            StickyBy::Cookie => by_cookie(route, register, head, weight, rng),
            StickyBy::Header(name) => match head.header(name.as_bytes()) {
                Some(value) => by_header(route, register, value, weight, place),
                None => Drawn::by(route, rng.u16(..TICKETS) < weight.basis_points(), Unit::default()),
            },
        },
    };
    let by_cookie = route
        .register()
        .is_some_and(|register| register.by == StickyBy::Cookie);
    if head.has_arm_cookie && !by_cookie && cookie(head, route.cookie_name()).is_some() {
        drawn.cookie = Some(CookieOrder::Remove);
    }
    drawn
}

impl Drawn {
    fn by(route: &RouteState, is_candidate: bool, unit: Unit) -> Self {
        let candidate = route.pool(Side::Candidate).filter(|_| is_candidate);
        let (side, pool) = match candidate {
            Some(pool) => (Side::Candidate, pool),
            None => (Side::Baseline, route.baseline()),
        };
        Drawn {
            side,
            pool: Rc::clone(pool),
            unit,
            cookie: None,
        }
    }
}

fn by_cookie(
    route: &RouteState,
    register: &Register,
    head: &RequestHead,
    weight: Weight,
    rng: &mut fastrand::Rng,
) -> Drawn {
    let known = if head.has_arm_cookie {
        cookie(head, route.cookie_name()).and_then(|value| register.office.read(value))
    } else {
        None
    };
    let (number, unit) = match known {
        Some(ticket) => (ticket.number, unit_of(ticket, weight)),
        None => (rng.u16(..TICKETS), Unit::default()),
    };
    let mut drawn = Drawn::by(route, number < weight.basis_points(), unit);
    if !unit.returning {
        drawn.cookie = Some(CookieOrder::Issue(Ticket { number, seen: weight }));
    }
    drawn
}

fn by_header(
    route: &RouteState,
    register: &Register,
    value: &[u8],
    weight: Weight,
    place: LanePlace,
) -> Drawn {
    let (number, user) = register.office.hash(value);
    let seen = &mut *register.seen.borrow_mut();
    // Lanes share nothing, so each user has a home, the only lane on which its first request is
    // evidence: two lanes would count it twice.
    let is_home = (user >> 32) as usize % place.count == place.number;
    let returning = Unit {
        returning: true,
        seen: Weight::ZERO,
    };
    let is_full = seen.len() >= USERS_MAX;
    let unit = match seen.get_mut(&user) {
        _ if !is_home => returning,
        Some(before) => {
            let unit = unit_of(
                Ticket {
                    number,
                    seen: *before,
                },
                weight,
            );
            *before = weight.max(*before);
            unit
        }
        None if is_full => returning,
        None => {
            seen.insert(user, weight);
            Unit::default()
        }
    };
    Drawn::by(route, number < weight.basis_points(), unit)
}

/// Whether the coin is tossed once more for a known user: only for one who was in the baseline
/// under a lower weight.
fn unit_of(ticket: Ticket, weight: Weight) -> Unit {
    let was_candidate = ticket.number < ticket.seen.basis_points();
    if was_candidate || weight <= ticket.seen {
        Unit {
            returning: true,
            seen: Weight::ZERO,
        }
    } else {
        Unit {
            returning: false,
            seen: ticket.seen,
        }
    }
}

/// The `Set-Cookie` value that carries out an order.
pub(super) fn set_cookie(route: &RouteState, order: CookieOrder, is_tls: bool) -> Option<String> {
    let name = route.cookie_name();
    let secure = if is_tls { "; Secure" } else { "" };
    let (value, age) = match order {
        CookieOrder::Issue(ticket) => (route.register()?.office.write(ticket), COOKIE_SECONDS),
        CookieOrder::Remove => (String::new(), 0),
    };
    Some(format!(
        "{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"
    ))
}

/// The release of the first tester rule that a request fits.
pub(super) fn tester(route: &RouteState, head: &RequestHead) -> Option<Rc<PoolState>> {
    let rules = &route.route.policy.testers;
    let rule = rules.iter().find(|rule| {
        let found = match &rule.by {
            TesterBy::Header(name) => head.header(name.as_bytes()),
            TesterBy::Cookie(name) => cookie(head, name),
        };
        found == Some(rule.value.as_bytes())
    })?;
    route.pool_of(&rule.release)
}
