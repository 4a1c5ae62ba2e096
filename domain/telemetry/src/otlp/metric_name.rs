//! Names of metrics and labels, from OpenTelemetry's to Prometheus' by the rules of the
//! OpenTelemetry specification ("Prometheus and OpenMetrics Compatibility").

/// A label's name: every character outside `[a-zA-Z0-9_]` becomes `_`; one that would begin with a
/// digit gets `key_` before it.
pub fn label_name(name: &str) -> String {
    let mut out = replaced(name, |c| c.is_ascii_alphanumeric() || c == '_');
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert_str(0, "key_");
    }
    out
}

/// A metric's name with its unit, and with `_total` if it is a counter.
///
/// `counter` is a monotonic sum; `gauge` a gauge, the only kind whose unit `1` becomes `_ratio`.
pub fn metric_name(name: &str, unit: &str, counter: bool, gauge: bool) -> String {
    let mut out = collapsed(&replaced(name, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
    }));
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    if counter {
        // Put back at the very end, behind the unit.
        if let Some(bare) = out.strip_suffix("_total") {
            out = bare.to_owned();
        }
    }
    for word in unit_words(unit, gauge) {
        if !out.split('_').any(|own| own == word) {
            out.push('_');
            out.push_str(&word);
        }
    }
    if counter {
        out.push_str("_total");
    }
    out
}

fn replaced(name: &str, good: impl Fn(char) -> bool) -> String {
    name.chars().map(|c| if good(c) { c } else { '_' }).collect()
}

fn collapsed(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c != '_' || !out.ends_with('_') {
            out.push(c);
        }
    }
    out.trim_end_matches('_').to_owned()
}

/// The words that a unit adds to a name: `By/s` gives `bytes`, `per_second`.
fn unit_words(unit: &str, gauge: bool) -> Vec<String> {
    let unit = without_annotations(unit);
    if unit == "1" {
        return if gauge { vec!["ratio".to_owned()] } else { vec![] };
    }
    let (main, per) = unit.split_once('/').unwrap_or((&unit, ""));
    let mut words = vec![];
    let main = word(main);
    if !main.is_empty() {
        words.push(main);
    }
    let per = word(singular(per));
    if !per.is_empty() {
        words.push(format!("per_{}", per.strip_suffix('s').unwrap_or(&per)));
    }
    words
}

/// `{packet}` and the like are remarks, not units.
fn without_annotations(unit: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in unit.chars() {
        match c {
            '{' => inside = true,
            '}' => inside = false,
            _ if !inside => out.push(c),
            _ => {}
        }
    }
    out.trim().to_owned()
}

fn singular(per: &str) -> &str {
    match per {
        "m" => "min",
        other => other,
    }
}

fn word(unit: &str) -> String {
    const WORDS: [(&str, &str); 32] = [
        ("d", "days"),
        ("h", "hours"),
        ("min", "minutes"),
        ("s", "seconds"),
        ("ms", "milliseconds"),
        ("us", "microseconds"),
        ("ns", "nanoseconds"),
        ("By", "bytes"),
        ("KiBy", "kibibytes"),
        ("MiBy", "mebibytes"),
        ("GiBy", "gibibytes"),
        ("TiBy", "tebibytes"),
        ("KBy", "kilobytes"),
        ("kBy", "kilobytes"),
        ("MBy", "megabytes"),
        ("GBy", "gigabytes"),
        ("TBy", "terabytes"),
        ("bit", "bits"),
        ("m", "meters"),
        ("V", "volts"),
        ("A", "amperes"),
        ("J", "joules"),
        ("W", "watts"),
        ("g", "grams"),
        ("Cel", "celsius"),
        ("Hz", "hertz"),
        ("%", "percent"),
        ("wk", "weeks"),
        ("mo", "months"),
        ("y", "years"),
        ("K", "kelvin"),
        ("1", ""),
    ];
    let known = WORDS
        .iter()
        .find(|(short, _)| *short == unit)
        .map(|(_, word)| *word);
    known.map_or_else(
        || {
            collapsed(&replaced(unit, |c| c.is_ascii_alphanumeric()))
                .trim_matches('_')
                .to_owned()
        },
        str::to_owned,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_get_their_unit_and_kind() {
        for (name, unit, counter, gauge, expected) in [
            (
                "http.server.request.duration",
                "s",
                false,
                false,
                "http_server_request_duration_seconds",
            ),
            ("blocks.created", "{block}", true, false, "blocks_created_total"),
            ("blocks_created_total", "1", true, false, "blocks_created_total"),
            ("cache.hit", "1", false, true, "cache_hit_ratio"),
            ("cache.hit.ratio", "1", false, true, "cache_hit_ratio"),
            ("io.total", "By", true, false, "io_bytes_total"),
            ("net.speed", "By/s", false, true, "net_speed_bytes_per_second"),
            ("lookups", "{lookup}/min", false, true, "lookups_per_minute"),
            (
                "process.cpu.seconds",
                "s",
                true,
                false,
                "process_cpu_seconds_total",
            ),
            ("2xx..answers", "", false, true, "_2xx_answers"),
            ("größe", "", false, true, "gr_e"),
            ("odd", "foo bar", false, true, "odd_foo_bar"),
        ] {
            assert_eq!(metric_name(name, unit, counter, gauge), expected, "{name} {unit}");
        }
    }

    #[test]
    fn labels_are_plain() {
        assert_eq!(label_name("http.request.method"), "http_request_method");
        assert_eq!(label_name("0day"), "key_0day");
    }
}
