//! Incidents: group, escalate, act, verify, resolve, write up, learn.
//!
//! [`start`], [`step`] and [`pending`] are the machine of one incident (mission E); [`group`] makes
//! incidents of problems, [`GuardRails`] say whether Trimtab may act by itself, [`Silence`] keeps
//! notices quiet, [`notice_text`] words them, [`proposals`] recommend and [`postmortem()`] writes up.

mod act;
mod budget;
mod effect;
mod event;
mod group;
mod guard_rails;
mod machine;
mod notice_text;
mod plan;
mod postmortem;
mod proposals;
mod silence;
mod state;
#[cfg(test)]
mod tests;

pub use budget::budget_burnt;
pub use effect::{Channel, Effect, Notice, TimerName};
pub use event::{Event, Outcome};
pub use group::{GROUP_WINDOW, Group, GroupKey, OpenIncident, Problem, group, joins};
pub use guard_rails::{GuardRails, PastAction};
pub use machine::{EVENT_VERSION, pending, start, step};
pub use notice_text::{NoticeText, notice_text};
pub use plan::{Class, Guard, Plan};
pub use postmortem::{CauseLine, Impact, Moments, Record, TimelineEntry, postmortem};
pub use proposals::{Proposal, proposals};
pub use silence::{Silence, silenced};
pub use state::{Closing, End, Phase, State, Way};
