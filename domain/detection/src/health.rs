//! The one health of a system, with its reasons. What is not known is never taken for healthy.

use serde::{Deserialize, Serialize};
use trimtab_model::Severity;

use crate::words::{figure, millis, percent};

/// Telemetry older than this says nothing about now.
const AGE_MS_MAX: i64 = 30_000;
/// CPU use from which it degrades the system.
const CPU_DEGRADED: f64 = 0.95;
/// Memory use from which it degrades the system.
const MEMORY_DEGRADED: f64 = 0.95;
/// Disk use from which it degrades the system, and from which it is critical.
const DISK_DEGRADED: f64 = 0.9;
const DISK_CRITICAL: f64 = 0.97;
/// Burn rates of the error budget, see [`crate::severity`].
const BURN_CRITICAL: f64 = 14.4;
const BURN_DEGRADED: f64 = 1.0;
/// Apdex below this degrades ("fair" begins at 0.85, Apdex Technical Specification 1.1).
const APDEX_DEGRADED: f64 = 0.85;
/// Feedback below this of 5 degrades.
const SATISFACTION_DEGRADED: f64 = 3.0;

/// Healthy, degraded, critical; or not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All that is known is well, and enough is known. Green.
    Healthy,
    /// Too little is known to say. Grey.
    Unknown,
    /// Something is amiss. Yellow.
    Degraded,
    /// Users suffer. Red.
    Critical,
}

impl Status {
    /// The status in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Healthy => "healthy",
            Status::Unknown => "unknown",
            Status::Degraded => "degraded",
            Status::Critical => "critical",
        }
    }
}

/// What the health is judged from; none where nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// Severities of the incidents that are open.
    pub incidents: Vec<Severity>,
    /// Instances that serve, and that should.
    pub instances: Option<(u64, u64)>,
    /// Share of requests that fail, over the last minute.
    pub error_rate: Option<f64>,
    /// Burn rate of the error budget.
    pub burn_rate: Option<f64>,
    /// p95 of the response time in ms, and its objective.
    pub latency_ms: Option<(f64, f64)>,
    /// Apdex, 0 to 1.
    pub apdex: Option<f64>,
    /// CPU in use, as a share.
    pub cpu: Option<f64>,
    /// Memory in use, as a share.
    pub memory: Option<f64>,
    /// Disk in use, as a share.
    pub disk: Option<f64>,
    /// Mean score of users' feedback, out of 5.
    pub satisfaction: Option<f64>,
    /// Business figures that are far below what is usual, by their titles.
    pub business_low: Vec<String>,
    /// Age of the newest telemetry in milliseconds.
    pub telemetry_age_ms: Option<i64>,
    /// A rollout under way was judged regressed.
    pub regressed: bool,
}

/// The health with its reasons, weightiest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overall {
    /// The status.
    pub status: Status,
    /// Why; for a healthy system, what is well.
    pub reasons: Vec<String>,
    /// What each reason alone would make of the status, in the same order.
    #[serde(default)]
    pub alone: Vec<Status>,
}

/// Judges the health of a system.
pub fn overall(inputs: &Inputs) -> Overall {
    let mut signs: Vec<(Status, String)> = Vec::new();
    alerts(inputs, &mut signs);
    application(inputs, &mut signs);
    system(inputs, &mut signs);
    quality(inputs, &mut signs);
    match inputs.telemetry_age_ms {
        None => signs.push((Status::Unknown, "no telemetry has come in yet".to_owned())),
        Some(age) if age > AGE_MS_MAX => {
            signs.push((
                Status::Unknown,
                format!("the newest telemetry is {} s old", age / 1000),
            ));
        }
        Some(_) if inputs.error_rate.is_none() => {
            signs.push((Status::Unknown, "no requests in the last minute".to_owned()));
        }
        Some(_) => {}
    }
    signs.sort_by_key(|sign| std::cmp::Reverse(sign.0));
    let status = signs.first().map_or(Status::Healthy, |sign| sign.0);
    if status == Status::Healthy {
        let failing = percent(inputs.error_rate.unwrap_or(0.0));
        let well = format!("no open incidents, {failing} of requests fail");
        signs.push((Status::Healthy, well));
    }
    let (alone, reasons) = signs.into_iter().unzip();
    Overall {
        status,
        reasons,
        alone,
    }
}

fn alerts(inputs: &Inputs, signs: &mut Vec<(Status, String)>) {
    for severity in [Severity::Critical, Severity::High, Severity::Medium] {
        let open = inputs.incidents.iter().filter(|s| **s == severity).count();
        if open > 0 {
            let status = if severity == Severity::Critical {
                Status::Critical
            } else {
                Status::Degraded
            };
            let plural = if open == 1 { "" } else { "s" };
            signs.push((status, format!("{open} {severity} incident{plural} open")));
        }
    }
    if inputs.regressed {
        signs.push((Status::Degraded, "a release under rollout regressed".to_owned()));
    }
    if let Some((serving, wanted)) = inputs.instances.filter(|(serving, wanted)| serving < wanted) {
        let status = if serving == 0 {
            Status::Critical
        } else {
            Status::Degraded
        };
        signs.push((status, format!("{serving} of {wanted} instances serve")));
    }
}

fn application(inputs: &Inputs, signs: &mut Vec<(Status, String)>) {
    if let Some(burn) = inputs.burn_rate.filter(|burn| *burn >= BURN_DEGRADED) {
        let status = if burn >= BURN_CRITICAL {
            Status::Critical
        } else {
            Status::Degraded
        };
        signs.push((
            status,
            format!(
                "the error budget burns {} times as fast as it lasts",
                figure(burn)
            ),
        ));
    } else if let Some(rate) = inputs.error_rate.filter(|rate| *rate >= 0.05) {
        signs.push((Status::Critical, format!("{} of requests fail", percent(rate))));
    }
    if let Some((p95, objective)) = inputs.latency_ms.filter(|(p95, objective)| p95 > objective) {
        let text = format!("p95 is {}, the objective {}", millis(p95), millis(objective));
        signs.push((Status::Degraded, text));
    }
    if !inputs.business_low.is_empty() {
        let text = format!("far below what is usual: {}", inputs.business_low.join(", "));
        signs.push((Status::Degraded, text));
    }
}

fn system(inputs: &Inputs, signs: &mut Vec<(Status, String)>) {
    let mut over = |name: &str, share: Option<f64>, degraded: f64, critical: f64| {
        if let Some(share) = share.filter(|share| *share >= degraded) {
            let status = if share >= critical {
                Status::Critical
            } else {
                Status::Degraded
            };
            signs.push((status, format!("{} of {name} in use", percent(share))));
        }
    };
    over("CPU", inputs.cpu, CPU_DEGRADED, f64::INFINITY);
    over("memory", inputs.memory, MEMORY_DEGRADED, f64::INFINITY);
    over("disk", inputs.disk, DISK_DEGRADED, DISK_CRITICAL);
}

fn quality(inputs: &Inputs, signs: &mut Vec<(Status, String)>) {
    if let Some(apdex) = inputs.apdex.filter(|apdex| *apdex < APDEX_DEGRADED) {
        signs.push((Status::Degraded, format!("Apdex is {apdex:.2}")));
    }
    if let Some(score) = inputs.satisfaction.filter(|score| *score < SATISFACTION_DEGRADED) {
        signs.push((Status::Degraded, format!("users score {score:.1} of 5")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Inputs {
        Inputs {
            error_rate: Some(0.001),
            telemetry_age_ms: Some(900),
            ..Inputs::default()
        }
    }

    fn with(change: impl FnOnce(&mut Inputs)) -> Status {
        let mut inputs = well();
        change(&mut inputs);
        let overall = overall(&inputs);
        assert!(!overall.reasons.is_empty());
        overall.status
    }

    #[test]
    fn each_status_states_its_reason() {
        let healthy = overall(&well());
        assert_eq!(healthy.status, Status::Healthy);
        assert_eq!(healthy.reasons, ["no open incidents, 0.10 % of requests fail"]);
        assert_eq!(with(|i| i.incidents = vec![Severity::Low]), Status::Healthy);
        assert_eq!(with(|i| i.instances = Some((1, 2))), Status::Degraded);
        assert_eq!(with(|i| i.instances = Some((0, 2))), Status::Critical);
        assert_eq!(with(|i| i.disk = Some(0.98)), Status::Critical);
        assert_eq!(with(|i| i.apdex = Some(0.6)), Status::Degraded);
        assert_eq!(with(|i| i.latency_ms = Some((400.0, 300.0))), Status::Degraded);
        let incidents = vec![Severity::Critical, Severity::Medium];
        let critical = overall(&Inputs { incidents, ..well() });
        assert_eq!(critical.status, Status::Critical);
        assert_eq!(critical.reasons[0], "1 critical incident open");
    }

    #[test]
    fn what_is_not_known_is_not_healthy() {
        assert_eq!(overall(&Inputs::default()).status, Status::Unknown);
        assert_eq!(with(|i| i.telemetry_age_ms = Some(60_000)), Status::Unknown);
        assert_eq!(with(|i| i.error_rate = None), Status::Unknown);
        // A known fault outweighs missing knowledge.
        let blind = |i: &mut Inputs| (i.telemetry_age_ms, i.incidents) = (None, vec![Severity::High]);
        assert_eq!(with(blind), Status::Degraded);
    }
}
