//! Freezes: times in which no traffic goes forward. All times are UTC.

use schemars::JsonSchema;
use serde::Serialize;
use trimtab_model::Timestamp;

use crate::Period;
use crate::fields::Fields;
use crate::read::Value;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
const WEEK_MS: i64 = 7 * DAY_MS;
/// 1970-01-01 was a Thursday: so long before was the first Monday.
const MONDAY_BEFORE_EPOCH_MS: i64 = 3 * DAY_MS;
const MOMENT: &str = "write a day or a minute of UTC: 2026-12-24 or 2026-12-24T18:00Z";

/// A time in which no traffic goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Freeze {
    /// Once.
    Once {
        /// Its first moment, UTC.
        #[schemars(with = "String")]
        from: Timestamp,
        /// The first moment after it, UTC.
        #[schemars(with = "String")]
        until: Timestamp,
    },
    /// Every week.
    Weekly {
        /// The day on which it begins.
        day: Weekday,
        /// Minutes after that day's midnight, UTC; written `16:00`.
        #[schemars(with = "String")]
        at: u16,
        /// How long it lasts, up to six days.
        lasts: Period,
    },
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they are the days of the week")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

impl Freeze {
    /// Its stretches that touch the time from `from` to `until`.
    pub fn stretches(&self, from: Timestamp, until: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        match *self {
            Freeze::Once {
                from: begin,
                until: end,
            } => [(begin, end)]
                .into_iter()
                .filter(|(begin, end)| *begin < until && from < *end)
                .collect(),
            Freeze::Weekly { day, at, lasts } => {
                let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX).min(WEEK_MS);
                let monday =
                    (from.0 + MONDAY_BEFORE_EPOCH_MS).div_euclid(WEEK_MS) * WEEK_MS - MONDAY_BEFORE_EPOCH_MS;
                let offset = day as i64 * DAY_MS + i64::from(at) * MINUTE_MS;
                // From the week before: it may reach into this one.
                (-1..)
                    .map(|week| monday + week * WEEK_MS + offset)
                    .take_while(|begin| *begin < until.0)
                    .filter(|begin| from.0 < begin + lasts)
                    .map(|begin| (Timestamp(begin), Timestamp(begin + lasts)))
                    .collect()
            }
        }
    }
}

/// One entry of `production.freezes:`.
pub(super) fn freeze(value: Value<'_>) -> Option<Freeze> {
    let fields = value.fields(&["from", "until", "day", "at", "lasts"])?;
    if fields.value("day").is_some() {
        weekly(&fields)
    } else {
        once(&fields)
    }
}

fn once(fields: &Fields<'_>) -> Option<Freeze> {
    for name in ["at", "lasts"] {
        if fields.value(name).is_some() {
            fields.clash(
                name,
                "this belongs to a weekly freeze",
                "add its day: 'day: friday'",
            );
        }
    }
    let from = fields.need("from", "its beginning: 'from: 2026-12-24'", |v| {
        v.parsed::<Moment>(MOMENT)
    });
    let until = fields.need("until", "its end: 'until: 2027-01-02'", |v| {
        v.parsed::<Moment>(MOMENT)
    });
    let (from, until) = (from?.0, until?.0);
    if until <= from {
        fields.clash("until", "it ends before it begins", "write a later moment");
        return None;
    }
    Some(Freeze::Once { from, until })
}

fn weekly(fields: &Fields<'_>) -> Option<Freeze> {
    for name in ["from", "until"] {
        if fields.value(name).is_some() {
            fields.clash(
                name,
                "a weekly freeze has no date",
                "leave out either 'day', or 'from' and 'until'",
            );
        }
    }
    let day = fields.need("day", "its day: 'day: friday'", |v| v.one_of(&WEEKDAYS));
    let at = fields.or(
        "at",
        |v| v.parsed::<TimeOfDay>("write hours and minutes of UTC in quotes: '16:00'"),
        TimeOfDay(0),
    );
    let lasts = fields.need("lasts", "its length: 'lasts: 64h'", Value::positive_period);
    let (day, lasts) = (day?, lasts?);
    if lasts.as_millis() > 6 * DAY_MS.unsigned_abs() {
        fields.clash("lasts", "it would leave less than a day", "write at most 6d");
        return None;
    }
    Some(Freeze::Weekly { day, at: at.0, lasts })
}

struct TimeOfDay(u16);

impl std::str::FromStr for TimeOfDay {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (hours, minutes) = text.split_once(':').ok_or(())?;
        let number = |text: &str, most: u16| {
            let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse::<u16>().ok().filter(|number| *number <= most);
            number.filter(|_| digits).ok_or(())
        };
        Ok(TimeOfDay(number(hours, 23)? * 60 + number(minutes, 59)?))
    }
}

struct Moment(Timestamp);

impl std::str::FromStr for Moment {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, time.strip_suffix('Z').ok_or(())?.parse::<TimeOfDay>()?),
            None => (text, TimeOfDay(0)),
        };
        let mut parts = date.split('-');
        let mut number = |digits: usize, least: i64, most: i64| {
            let part = parts.next().filter(|part| part.len() == digits).ok_or(())?;
            let digits = part.bytes().all(|b| b.is_ascii_digit());
            let number = part
                .parse::<i64>()
                .ok()
                .filter(|number| (least..=most).contains(number));
            number.filter(|_| digits).ok_or(())
        };
        let (year, month, day) = (number(4, 1970, 9999)?, number(2, 1, 12)?, number(2, 1, 31)?);
        if parts.next().is_some() || day > days_of(year, month) {
            return Err(());
        }
        let ms = days_since_epoch(year, month, day) * DAY_MS + i64::from(time.0) * MINUTE_MS;
        Ok(Moment(Timestamp(ms)))
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Whole years and their leap days before this one, from year 1 on.
    let leap = |year: i64| year / 4 - year / 100 + year / 400;
    let years = (year - 1) * 365 + leap(year - 1) - (1969 * 365 + leap(1969));
    let months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    years + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Option<i64> {
        text.parse::<Moment>().ok().map(|moment| moment.0.0 / 1000)
    }

    #[test]
    fn moments_are_read_as_utc() {
        assert_eq!(moment("1970-01-01"), Some(0));
        assert_eq!(moment("2026-11-24T23:50Z"), Some(1_795_564_200));
        assert_eq!(moment("2000-02-29"), Some(951_782_400));
        for bad in [
            "2026-02-29",
            "2026-13-01",
            "26-01-01",
            "2026-1-1",
            "2026-01-01T1:00Z",
            "2026-01-01T10:00",
            "x",
        ] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }

    #[test]
    fn weekly_freezes_come_every_week() {
        let friday = Freeze::Weekly {
            day: Weekday::Friday,
            at: 16 * 60,
            lasts: Period::seconds(64 * 3600),
        };
        // 2026-11-24 is a Tuesday.
        let now = Timestamp::from_seconds(1_795_564_200);
        let stretches = friday.stretches(now, Timestamp(now.0 + 2 * WEEK_MS));
        let begins: Vec<i64> = stretches.iter().map(|(begin, _)| begin.0).collect();
        let first = moment("2026-11-27T16:00Z").map_or(0, |seconds| seconds * 1000);
        assert_eq!(begins, [first, first + WEEK_MS]);
        // Sunday is within the one that began on Friday.
        let sunday = Timestamp(first + 40 * 3_600_000);
        assert_eq!(friday.stretches(sunday, Timestamp(sunday.0 + 1))[0].0.0, first);
    }
}
