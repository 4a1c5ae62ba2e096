//! UTC days, for the names of folders.

const DAY_NANOS: u64 = 86_400 * 1_000_000_000;

/// Whole days since the epoch.
pub(crate) fn days(nanos: u64) -> u64 {
    nanos / DAY_NANOS
}

/// The UTC day as `YYYY-MM-DD`, by Howard Hinnant's `civil_from_days` (eras of 400 years that begin
/// in March, so that the leap day comes last).
pub(crate) fn text(nanos: u64) -> String {
    let shifted = days(nanos) + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_names() {
        for (seconds, name) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (1_709_164_800, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(text(seconds * 1_000_000_000), name);
        }
        assert_eq!(text(u64::MAX), "2554-07-21");
    }
}
