//! Numbers, sizes, durations and times as people read them.

use trimtab_api::Moment;

use super::{Language, say};

/// A figure as shown: the number and its unit apart, so that they can be set apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) value: String,
    pub(crate) unit: String,
}

/// Digits after the point that keep three significant ones.
fn decimals(value: f64) -> usize {
    match value.abs() {
        v if v == 0.0 || v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 => 2,
        _ => 3,
    }
}

/// A number with three significant digits, thousands apart by narrow spaces.
pub(crate) fn number(value: f64, language: Language) -> String {
    if !value.is_finite() {
        return "∞".to_owned();
    }
    let text = format!("{:.*}", decimals(value), value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        out.push('−');
    }
    out.push_str(&grouped(whole));
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        out.push(if language == Language::Russian { ',' } else { '.' });
        out.push_str(fraction);
    }
    out
}

fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + 4);
    for (index, digit) in digits.chars().enumerate() {
        // Four digits read well without a gap.
        if index > 0 && digits.len() > 4 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A count.
pub(crate) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A share of a hundred, in digits alone. What is short of 100 never reads 100, and what is above 0
/// never reads 0: both would hide what matters.
fn percent_digits(value: f64, language: Language) -> String {
    if (99.0..100.0).contains(&value) {
        let digits = if value < 99.9 { 1.0e2 } else { 1.0e3 };
        let text = format!("{:.3}", (value * digits).floor() / digits);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        return if language == Language::Russian {
            text.replace('.', ",")
        } else {
            text.to_owned()
        };
    }
    if value > 0.0 && value < 0.001 {
        return format!("<{}", number(0.001, language));
    }
    number(value, language)
}

/// A share of a hundred.
pub(crate) fn percent(value: f64, language: Language) -> String {
    format!("{}\u{202f}%", percent_digits(value, language))
}

/// A size with a binary prefix.
pub(crate) fn bytes(value: f64, language: Language) -> Shown {
    let units = match language {
        Language::English => ["B", "KiB", "MiB", "GiB", "TiB", "PiB"],
        Language::Russian => ["Б", "КиБ", "МиБ", "ГиБ", "ТиБ", "ПиБ"],
    };
    let mut scaled = value;
    let mut at = 0;
    while scaled.abs() >= 1024.0 && at + 1 < units.len() {
        scaled /= 1024.0;
        at += 1;
    }
    Shown {
        value: number(scaled, language),
        unit: units[at].to_owned(),
    }
}

/// A duration given in milliseconds.
pub(crate) fn duration_ms(ms: f64, language: Language) -> Shown {
    let (value, unit) = match ms.abs() {
        v if v < 1_000.0 => (ms, say::MILLISECONDS),
        v if v < 120_000.0 => (ms / 1_000.0, say::SECONDS),
        v if v < 7_200_000.0 => (ms / 60_000.0, say::MINUTES),
        v if v < 172_800_000.0 => (ms / 3_600_000.0, say::HOURS),
        _ => (ms / 86_400_000.0, say::DAYS),
    };
    // Beyond seconds a tenth is as much as people use.
    let value = if ms.abs() < 120_000.0 {
        value
    } else {
        (value * 10.0).round() / 10.0
    };
    Shown {
        value: number(value, language),
        unit: language.say(unit).to_owned(),
    }
}

/// A figure's value in its unit.
pub(crate) fn figure(value: f64, unit: &str, language: Language) -> Shown {
    match unit {
        "bytes" => bytes(value, language),
        "bytes/s" => {
            let shown = bytes(value, language);
            Shown {
                unit: format!("{}/{}", shown.unit, language.say(say::SECONDS)),
                ..shown
            }
        }
        "%" => Shown {
            value: percent_digits(value, language),
            unit: "%".to_owned(),
        },
        "ms" => duration_ms(value, language),
        "s" => duration_ms(value * 1_000.0, language),
        other => {
            let unit = match (other, language) {
                ("/s", Language::Russian) => "/с",
                ("/min", Language::Russian) => "/мин",
                ("/h", Language::Russian) => "/ч",
                ("/5", _) => "/ 5",
                (other, _) => other,
            };
            Shown {
                value: number(value, language),
                unit: unit.to_owned(),
            }
        }
    }
}

/// `14:03:22`, in UTC; the page's script shows local time.
pub(crate) fn clock(at: Moment) -> String {
    at.to_string().get(11..19).unwrap_or_default().to_owned()
}

/// `2026-01-31 14:03`, in UTC.
pub(crate) fn day_and_clock(at: Moment) -> String {
    at.to_string().get(..16).unwrap_or_default().replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let said = |value| number(value, Language::English);
        assert_eq!(said(0.0), "0");
        assert_eq!(said(0.0412), "0.041");
        assert_eq!(said(1.5), "1.5");
        assert_eq!(said(-12.34), "−12.3");
        assert_eq!(said(-0.0001), "0");
        assert_eq!(said(1234.0), "1234");
        assert_eq!(said(1_234_567.0), "1\u{202f}234\u{202f}567");
        assert_eq!(number(1.5, Language::Russian), "1,5");
        assert_eq!(said(f64::NAN), "∞");
    }

    #[test]
    fn units_fit_their_sizes() {
        let said = |value, unit| {
            let shown = figure(value, unit, Language::English);
            format!("{} {}", shown.value, shown.unit)
        };
        assert_eq!(said(1536.0, "bytes"), "1.5 KiB");
        assert_eq!(said(1_048_576.0, "bytes/s"), "1 MiB/s");
        assert_eq!(said(250.0, "ms"), "250 ms");
        assert_eq!(said(90.0, "s"), "90 s");
        assert_eq!(said(7200.0, "s"), "2 h");
        assert_eq!(said(4.25, "/5"), "4.25 / 5");
        assert_eq!(figure(3.0, "/h", Language::Russian).unit, "/ч");
    }

    #[test]
    fn shares_do_not_round_into_certainty() {
        let said = |value| percent_digits(value, Language::English);
        assert_eq!(
            (
                said(99.98).as_str(),
                said(99.999_99).as_str(),
                said(99.5).as_str()
            ),
            ("99.98", "99.999", "99.5")
        );
        assert_eq!(
            (said(100.0).as_str(), said(0.0).as_str(), said(0.000_04).as_str()),
            ("100", "0", "<0.001")
        );
        assert_eq!(said(98.76), "98.8");
    }

    #[test]
    fn times_are_cut_from_their_text() {
        let at = Moment::from_millis(1_769_860_800_123);
        assert_eq!(
            (clock(at).as_str(), day_and_clock(at).as_str()),
            ("12:00:00", "2026-01-31 12:00")
        );
        assert!(!clock(Moment::from_millis(i64::MIN)).is_empty());
    }
}
