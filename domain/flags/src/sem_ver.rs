//! Versions as semver.org orders them, compared as flagd's `sem_ver` does.

use std::cmp::Ordering;

/// A version without its build part, which does not take part in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    pre_release: Vec<String>,
}

/// How two versions may be compared, as spelled in a definition.
pub(crate) const COMPARISONS: [&str; 8] = ["=", "!=", "<", "<=", ">", ">=", "^", "~"];

/// Whether `left` compares so with `right`; none when a text is no version or no comparison. A leading
/// `v` and missing minor and patch numbers are forgiven.
pub(crate) fn compare(left: &str, comparison: &str, right: &str) -> Option<bool> {
    let (left, right) = (parse(left)?, parse(right)?);
    let order = order(&left, &right);
    Some(match comparison {
        "=" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "^" => left.numbers[0] == right.numbers[0],
        "~" => left.numbers[..2] == right.numbers[..2],
        _ => return None,
    })
}

/// Whether a text is a version.
pub(crate) fn is_version(text: &str) -> bool {
    parse(text).is_some()
}

fn parse(text: &str) -> Option<Version> {
    if text.len() > 256 {
        return None;
    }
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let (text, build) = text.split_once('+').map_or((text, None), |(a, b)| (a, Some(b)));
    let (numbers, pre) = text.split_once('-').map_or((text, None), |(a, b)| (a, Some(b)));
    let identifiers = |part: &str| {
        let fine = |one: &str| !one.is_empty() && one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        part.split('.').all(fine)
    };
    if build.is_some_and(|build| !identifiers(build)) || pre.is_some_and(|pre| !identifiers(pre)) {
        return None;
    }
    let mut parsed = [0; 3];
    let mut places = parsed.iter_mut();
    for part in numbers.split('.') {
        let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !plain || (part.len() > 1 && part.starts_with('0')) {
            return None;
        }
        *places.next()? = part.parse().ok()?;
    }
    Some(Version {
        numbers: parsed,
        pre_release: pre.map_or_else(Vec::new, |pre| pre.split('.').map(str::to_owned).collect()),
    })
}

fn order(left: &Version, right: &Version) -> Ordering {
    let by_release = || match (left.pre_release.is_empty(), right.pre_release.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => pre_order(&left.pre_release, &right.pre_release),
    };
    left.numbers.cmp(&right.numbers).then_with(by_release)
}

fn pre_order(left: &[String], right: &[String]) -> Ordering {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    for (a, b) in left.iter().zip(right) {
        let order = match (number(a), number(b)) {
            // Without leading zeros the longer number is the larger, however long both are.
            (true, true) => {
                let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
                a.len().cmp(&b.len()).then_with(|| a.cmp(b))
            }
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => a.cmp(b),
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_the_standard_says() {
        let ascending = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "2.0.0",
            "2.1.0",
            "2.1.1",
            "10.0.0",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], "<", pair[1]), Some(true), "{pair:?}");
            assert_eq!(compare(pair[1], ">=", pair[0]), Some(true), "{pair:?}");
            assert_eq!(compare(pair[0], "=", pair[1]), Some(false), "{pair:?}");
        }
    }

    #[test]
    fn ranges_and_what_is_no_version() {
        assert_eq!(compare("1.9.0", "^", "1.2.3"), Some(true));
        assert_eq!(compare("2.0.0", "^", "1.2.3"), Some(false));
        assert_eq!(compare("1.2.9", "~", "1.2.3"), Some(true));
        assert_eq!(compare("1.3.0", "~", "1.2.3"), Some(false));
        assert_eq!(compare("v1.2", "=", "1.2.0+build.7"), Some(true));
        for bad in [
            "",
            "1.2.3.4",
            "01.0.0",
            "1.a.0",
            "1.0.0-",
            "1.0.0-a..b",
            "1.0.0+",
            "99999999999999999999.0.0",
        ] {
            assert_eq!(compare(bad, "=", "1.0.0"), None, "{bad}");
        }
        assert_eq!(compare("1.0.0", "=>", "1.0.0"), None);
    }
}
