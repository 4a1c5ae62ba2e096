//! UTC days, for the names of folders.

use trimtab_model::civil_from_days;

const DAY_NANOS: u64 = 86_400 * 1_000_000_000;

/// Whole days since the epoch.
pub(crate) fn days(nanos: u64) -> u64 {
    nanos / DAY_NANOS
}

/// The UTC day as `YYYY-MM-DD`.
pub(crate) fn text(nanos: u64) -> String {
    // A u64 of nanoseconds is less than 600 years.
    let (year, month, day) = civil_from_days(days(nanos).cast_signed());
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
