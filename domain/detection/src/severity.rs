//! How much a problem matters: by its impact, never by how odd it looks.
//!
//! Burn rates are multiples of the speed at which the error budget would just last its window; the limits are
//! those of Google's Site Reliability Workbook, chapter 5: 14.4 burns 2 % of a 30 day budget in an hour, 6 burns
//! 5 % in six hours.

use serde::{Deserialize, Serialize};
use trimtab_model::Severity;

use crate::anomaly::Class;
use crate::verdict::{Decision, Verdict};
use crate::words::{count, figure, percent};

/// Burning the budget this fast is critical.
const BURN_CRITICAL: f64 = 14.4;
/// Burning the budget this fast is high.
const BURN_HIGH: f64 = 6.0;
/// This share of all requests failing is critical whatever the objective.
const FAILING_CRITICAL: f64 = 0.05;
/// Users' requests that must have failed before impact alone is critical: not on one unlucky request.
const FAILED_MIN: u64 = 5;
/// Below this confidence nothing is acted on by itself.
const CONFIDENCE_ACT: f64 = 0.6;

/// What a problem does to users, as far as is known. What is not known is none, and never taken for zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Impact {
    /// Whether real users are served there.
    pub production: bool,
    /// Multiple of the speed at which the error budget would just last.
    pub burn_rate: Option<f64>,
    /// Share of all the service's requests that fail now.
    pub failing: Option<f64>,
    /// Requests of users that failed since the onset.
    pub failed: Option<u64>,
    /// Share of the service's traffic that goes to what is in trouble (a candidate's weight, say).
    pub breadth: Option<f64>,
    /// How sure it is that there is a problem, 0 to 1.
    pub confidence: f64,
}

/// A severity with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The severity.
    pub severity: Severity,
    /// Why, in words and numbers.
    pub reasons: Vec<String>,
}

/// Reasons gathered, and the highest severity among them.
struct Gathered {
    severity: Severity,
    reasons: Vec<String>,
}

impl Gathered {
    fn raise(&mut self, to: Severity, reason: String) {
        self.severity = self.severity.max(to);
        self.reasons.push(reason);
    }

    fn lower(&mut self, to: Severity, reason: String) {
        self.severity = to;
        self.reasons.push(reason);
    }
}

/// Judges how much a problem matters.
pub fn judge(class: Class, impact: &Impact, verdict: Option<&Verdict>) -> Judged {
    let mut gathered = Gathered {
        severity: Severity::Low,
        reasons: Vec::new(),
    };
    let regressed = verdict.filter(|verdict| verdict.decision == Decision::Regressed);
    if let Some(verdict) = regressed.filter(|_| class == Class::BadRelease) {
        // Users get the candidate, so waiting costs them requests; going back is cheap.
        let broad = impact.breadth.is_none_or(|breadth| breadth >= FAILING_CRITICAL);
        let to = if broad { Severity::Critical } else { Severity::High };
        let share = impact
            .breadth
            .map_or_else(|| "an unknown share".to_owned(), percent);
        gathered.raise(
            to,
            format!(
                "a regressed release serves {share} of the traffic: {}",
                verdict.reason
            ),
        );
    }
    users(&mut gathered, impact);
    if impact.confidence >= 0.8 {
        gathered.raise(
            Severity::Medium,
            format!("the signs are clear ({})", percent(impact.confidence)),
        );
    }
    let sure = impact.confidence >= CONFIDENCE_ACT || regressed.is_some();
    if gathered.severity == Severity::Critical && !sure {
        let weak = percent(impact.confidence);
        gathered.lower(
            Severity::High,
            format!("not critical: the signs are too weak ({weak})"),
        );
    }
    if !impact.production && gathered.severity > Severity::Medium {
        gathered.lower(
            Severity::Medium,
            "no more than medium: no users are served there".to_owned(),
        );
    }
    if gathered.reasons.is_empty() {
        gathered.reasons.push("no impact on users is known".to_owned());
    }
    Judged {
        severity: gathered.severity,
        reasons: gathered.reasons,
    }
}

/// What users notice.
fn users(gathered: &mut Gathered, impact: &Impact) {
    let enough = impact.failed.unwrap_or(0) >= FAILED_MIN;
    if let Some(burn) = impact.burn_rate.filter(|burn| *burn >= 1.0) {
        let to = match burn {
            burn if burn >= BURN_CRITICAL && enough => Severity::Critical,
            burn if burn >= BURN_HIGH => Severity::High,
            _ => Severity::Medium,
        };
        gathered.raise(
            to,
            format!(
                "the error budget burns {} times as fast as it lasts",
                figure(burn)
            ),
        );
    }
    if let Some(failing) = impact.failing.filter(|failing| *failing >= 0.01) {
        let critical = failing >= FAILING_CRITICAL && enough;
        let to = if critical {
            Severity::Critical
        } else {
            Severity::High
        };
        gathered.raise(to, format!("{} of all requests fail", percent(failing)));
    }
    if let Some(failed) = impact.failed.filter(|failed| *failed > 0) {
        gathered.raise(
            Severity::Low,
            format!("{} requests of users failed", count(failed)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impact_decides() {
        let base = Impact {
            production: true,
            confidence: 0.9,
            ..Impact::default()
        };
        let severity = |impact: Impact| judge(Class::DependencyFailure, &impact, None).severity;
        assert_eq!(
            severity(Impact {
                confidence: 0.4,
                ..base
            }),
            Severity::Low
        );
        assert_eq!(severity(base), Severity::Medium);
        assert_eq!(
            severity(Impact {
                burn_rate: Some(7.0),
                ..base
            }),
            Severity::High
        );
        let burning = Impact {
            burn_rate: Some(60.0),
            failed: Some(40),
            failing: Some(0.3),
            ..base
        };
        assert_eq!(severity(burning), Severity::Critical);
        assert_eq!(
            severity(Impact {
                failed: Some(1),
                ..burning
            }),
            Severity::High
        );
        assert_eq!(
            severity(Impact {
                confidence: 0.3,
                ..burning
            }),
            Severity::High
        );
        assert_eq!(
            severity(Impact {
                production: false,
                ..burning
            }),
            Severity::Medium
        );
        let nothing = judge(Class::TrafficSurge, &Impact::default(), None);
        assert_eq!(nothing.reasons, ["no impact on users is known"]);
    }
}
