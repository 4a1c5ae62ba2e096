//! Numbers as people read them.

/// A share as per cent with as many digits as it deserves.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent.abs() >= 9.995 {
        format!("{percent:.0} %")
    } else if percent.abs() >= 0.995 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.2} %")
    }
}

/// A count with thousands set apart.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Evidence as odds against chance; `log_e` is a natural logarithm.
pub(crate) fn odds(log_e: f64) -> String {
    let e = log_e.exp();
    if e >= 1e6 {
        format!("over 10^{} : 1", (log_e / 10f64.ln()).min(300.0) as u32)
    } else if e >= 10.0 {
        format!("{} : 1", count(e as u64))
    } else {
        format!("{e:.1} : 1")
    }
}

/// Milliseconds with as many digits as they deserve.
pub(crate) fn millis(ms: f64) -> String {
    if ms >= 10.0 {
        format!("{ms:.0} ms")
    } else if ms >= 1.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.2} ms")
    }
}

/// A rough number with three significant digits.
pub(crate) fn figure(value: f64) -> String {
    let size = value.abs();
    if size >= 1e15 || !value.is_finite() {
        format!("{value:.2e}")
    } else if size >= 100.0 {
        let whole = count(size.round() as u64);
        if value < 0.0 { format!("-{whole}") } else { whole }
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.01 || size == 0.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.2e}")
    }
}

/// `text` cut to `max` characters, with an ellipsis when something is missing.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        text.to_owned()
    } else {
        let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
        short.push('…');
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(percent(0.3), "30 %");
        assert_eq!(percent(0.0512), "5.1 %");
        assert_eq!(percent(0.0012), "0.12 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(odds(5.0), "148 : 1");
        assert_eq!(odds(f64::INFINITY), "over 10^300 : 1");
        assert_eq!(millis(1.25), "1.2 ms");
        assert_eq!(figure(12_345.6), "12,346");
        assert_eq!(cut("abcdef", 4), "abc…");
    }
}
