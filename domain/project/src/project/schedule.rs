//! When a cron job runs: five fields, UTC.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use trimtab_model::{Timestamp, civil_from_days};

const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: i64 = 24 * 60;
/// Days looked at before a schedule is held to be without an end: 29 February comes at least every eight years.
const DAYS_MAX: i64 = 8 * 366 + 1;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Minute, hour, day of the month, month and day of the week, each as a set of bits. As in every cron, a day fits
/// when either of its two fields does, if both are restricted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether the day of the month, and of the week, is `*`.
    any_day: (bool, bool),
}

impl Schedule {
    pub(crate) const MEND: &str =
        "write minute, hour, day, month and weekday (UTC): '*/5 * * * *', '30 4 * * mon-fri', or @daily";

    /// The first run after `now`; none when there is none, as on 30 February.
    pub fn after(&self, now: Timestamp) -> Option<Timestamp> {
        let first = now.0.div_euclid(MINUTE_MS) + 1;
        let today = first.div_euclid(DAY_MINUTES);
        (today..today + DAYS_MAX)
            .filter(|day| self.fits(*day))
            .find_map(|day| {
                let from = if day == today {
                    first.rem_euclid(DAY_MINUTES)
                } else {
                    0
                };
                let minute = (from..DAY_MINUTES)
                    .find(|minute| has(self.hours, minute / 60) && has(self.minutes, minute % 60))?;
                Some(Timestamp((day * DAY_MINUTES + minute) * MINUTE_MS))
            })
    }

    /// How many runs were due after `from` and up to `until`, counted to at most `most`.
    pub fn due(&self, from: Timestamp, until: Timestamp, most: u32) -> u32 {
        let mut count = 0;
        let mut at = from;
        while count < most {
            match self.after(at) {
                Some(next) if next <= until => (at, count) = (next, count + 1),
                Some(_) | None => break,
            }
        }
        count
    }

    fn fits(&self, day: i64) -> bool {
        let (_, month, of_month) = civil_from_days(day);
        // 1970-01-01 was a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        let (in_month, in_week) = (has(self.days, of_month), has(self.weekdays, weekday));
        has(self.months, month)
            && match self.any_day {
                (false, false) => in_month || in_week,
                _ => in_month && in_week,
            }
    }
}

fn has(set: u64, bit: i64) -> bool {
    set >> bit & 1 == 1
}

/// Numbers from `low` to `high` that a field names; none when it is not a field.
fn set(field: &str, low: u64, high: u64, names: &[&str]) -> Option<u64> {
    let number = |text: &str| {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let number = named.map_or_else(|| text.parse().ok(), |at| Some(at as u64 + low));
        number.filter(|number| (low..=high).contains(number))
    };
    field.split(',').try_fold(0, |all, part| {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((first, last)) => (number(first)?, number(last)?),
            // `5/10` is from 5 on.
            None if part.contains('/') => (number(range)?, high),
            None => (number(range)?, number(range)?),
        };
        (first <= last).then(|| (first..=last).step_by(step).fold(all, |set, bit| set | 1 << bit))
    })
}

impl FromStr for Schedule {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim();
        let spelled = match text {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = spelled.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(());
        };
        let weekdays = set(weekday, 0, 7, &DAYS).ok_or(())?;
        let schedule = Schedule {
            text: text.to_owned(),
            minutes: set(minute, 0, 59, &[]).ok_or(())?,
            hours: set(hour, 0, 23, &[]).ok_or(())?,
            days: set(day, 1, 31, &[]).ok_or(())?,
            months: set(month, 1, 12, &MONTHS).ok_or(())?,
            // 7 is Sunday as well.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            any_day: (day.starts_with('*'), weekday.starts_with('*')),
        };
        // A day that never comes, as 30 February, would be a job that silently never runs.
        schedule.after(Timestamp(0)).map(|_| schedule).ok_or(())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    /// Minutes since 1970 as `YYYY-MM-DD HH:MM`.
    fn spell(at: Timestamp) -> String {
        let minutes = at.0 / MINUTE_MS;
        let (year, month, day) = civil_from_days(minutes.div_euclid(DAY_MINUTES));
        let (hour, minute) = (minutes.rem_euclid(DAY_MINUTES) / 60, minutes % 60);
        format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}")
    }

    fn next(text: &str, from: i64, count: usize) -> Vec<String> {
        let schedule: Schedule = text.parse().unwrap();
        let mut at = Timestamp(from);
        std::iter::repeat_with(|| {
            at = schedule.after(at).unwrap();
            spell(at)
        })
        .take(count)
        .collect()
    }

    /// 2026-11-25 03:00:30, a Wednesday.
    const NOW: i64 = 1_795_575_630_000;

    #[test]
    fn schedules_come_when_cron_says() {
        for (text, wanted) in [
            ("* * * * *", vec!["2026-11-25 03:01", "2026-11-25 03:02"]),
            (
                "*/20 * * * *",
                vec!["2026-11-25 03:20", "2026-11-25 03:40", "2026-11-25 04:00"],
            ),
            (
                "5/25 3 * * *",
                vec![
                    "2026-11-25 03:05",
                    "2026-11-25 03:30",
                    "2026-11-25 03:55",
                    "2026-11-26 03:05",
                ],
            ),
            ("0 0 * * *", vec!["2026-11-26 00:00"]),
            ("@weekly", vec!["2026-11-29 00:00", "2026-12-06 00:00"]),
            (
                "30 4 * * mon-fri",
                vec![
                    "2026-11-25 04:30",
                    "2026-11-26 04:30",
                    "2026-11-27 04:30",
                    "2026-11-30 04:30",
                ],
            ),
            ("0 12 * * 7", vec!["2026-11-29 12:00"]),
            ("0 0 29 feb *", vec!["2028-02-29 00:00", "2032-02-29 00:00"]),
            // Either day fits when both are restricted.
            (
                "0 0 1 * fri",
                vec!["2026-11-27 00:00", "2026-12-01 00:00", "2026-12-04 00:00"],
            ),
            (
                "0 22,23 31 12 *",
                vec!["2026-12-31 22:00", "2026-12-31 23:00", "2027-12-31 22:00"],
            ),
        ] {
            assert_eq!(next(text, NOW, wanted.len()), wanted, "{text}");
        }
    }

    #[test]
    fn a_run_on_the_minute_is_not_due_twice() {
        let schedule: Schedule = "0 * * * *".parse().unwrap();
        let hour = schedule.after(Timestamp(NOW)).unwrap();
        assert_eq!(schedule.after(hour).unwrap().0 - hour.0, 3_600_000);
        let later = Timestamp(hour.0 + 3 * 3_600_000);
        assert_eq!(schedule.due(Timestamp(NOW), later, 100), 4);
        assert_eq!(schedule.due(hour, later, 2), 2, "counted no further");
        assert_eq!(schedule.due(hour, hour, 9), 0);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "@often",
            "0 0 30 feb *",
            "-1 * * * *",
            "1, * * * *",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text:?}");
        }
    }
}
