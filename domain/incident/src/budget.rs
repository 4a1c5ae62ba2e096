//! What an incident cost of the error budget.

use std::time::Duration;

/// The share of the error budget of `window` that `failed` requests burnt, in words: the budget is
/// `allowed` (a share of requests) of as many requests as the window gets at the rate at which
/// `requests` came in `elapsed`. None when too little is known to say.
pub fn budget_burnt(
    failed: u64,
    requests: u64,
    elapsed: Duration,
    allowed: f64,
    window: Duration,
) -> Option<String> {
    let seconds = elapsed.as_secs_f64();
    if requests == 0 || seconds <= 0.0 || allowed <= 0.0 {
        return None;
    }
    let budget = requests as f64 / seconds * window.as_secs_f64() * allowed;
    let percent = 100.0 * failed as f64 / budget;
    let digits = match percent {
        percent if percent >= 10.0 => 0,
        percent if percent >= 0.1 => 1,
        _ => 3,
    };
    let days = window.as_secs_f64() / 86_400.0;
    Some(format!(
        "{percent:.digits$} % of {days:.0} days' at the rate of requests then"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_that_of_the_whole_window() {
        let month = Duration::from_secs(30 * 86_400);
        let burnt = |failed, requests| budget_burnt(failed, requests, Duration::from_secs(60), 0.005, month);
        // 60 requests/s for 30 days may fail 777,600 times.
        assert_eq!(
            burnt(7_776, 3_600).as_deref(),
            Some("1.0 % of 30 days' at the rate of requests then")
        );
        assert_eq!(
            burnt(28, 3_600).as_deref(),
            Some("0.004 % of 30 days' at the rate of requests then")
        );
        assert_eq!(burnt(0, 0), None);
    }
}
