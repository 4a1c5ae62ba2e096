//! Narrows every selector of a query to certain labels, so that one query can be asked of each release.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, VectorSelector};

/// Adds `labels` to each selector that does not speak of them itself.
pub(super) fn narrow(expr: &mut Expr, labels: &[(&str, &str)]) {
    match expr {
        Expr::Aggregate(aggregate) => {
            narrow(&mut aggregate.expr, labels);
            if let Some(parameter) = &mut aggregate.param {
                narrow(parameter, labels);
            }
        }
        Expr::Unary(unary) => narrow(&mut unary.expr, labels),
        Expr::Binary(binary) => {
            narrow(&mut binary.lhs, labels);
            narrow(&mut binary.rhs, labels);
        }
        Expr::Paren(paren) => narrow(&mut paren.expr, labels),
        Expr::Subquery(subquery) => narrow(&mut subquery.expr, labels),
        Expr::VectorSelector(selector) => select(selector, labels),
        Expr::MatrixSelector(range) => select(&mut range.vs, labels),
        Expr::Call(call) => call
            .args
            .args
            .iter_mut()
            .for_each(|argument| narrow(argument, labels)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

fn select(selector: &mut VectorSelector, labels: &[(&str, &str)]) {
    let matchers = &mut selector.matchers.matchers;
    for (name, value) in labels {
        if matchers.iter().all(|matcher| matcher.name != *name) {
            matchers.push(Matcher::new(MatchOp::Equal, name, value));
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use crate::promql::parse_narrowed;

    fn narrowed(text: &str) -> String {
        let query = parse_narrowed(text, &[("service", "notes"), ("release", "notes-r2")]).unwrap();
        query.text().to_owned()
    }

    #[test]
    fn every_selector_is_narrowed_unless_it_says_so_itself() {
        assert_eq!(
            narrowed("queue_lag"),
            r#"queue_lag{release="notes-r2",service="notes"}"#
        );
        assert_eq!(
            narrowed("sum(rate(bad_total[1m])) / sum(rate(all_total{release=~\".*\"}[1m]))"),
            "sum(rate(bad_total{release=\"notes-r2\",service=\"notes\"}[1m])) / \
             sum(rate(all_total{release=~\".*\",service=\"notes\"}[1m]))"
        );
        assert_eq!(
            narrowed("-clamp_max(histogram_quantile(0.9, sum by (le) (rate(x_bucket[30s]))), (2 + 1))"),
            "-clamp_max(histogram_quantile(0.9, sum by (le) (rate(x_bucket{release=\"notes-r2\",service=\"notes\"}[30s]))), (2 + 1))"
        );
    }

    #[test]
    fn the_longest_range_is_known() {
        let longest = |text: &str| parse_narrowed(text, &[]).unwrap().range_ms_max();
        assert_eq!(longest("queue_lag"), 0);
        assert_eq!(longest("rate(a_total[30s]) / rate(b_total[2m])"), 120_000);
    }

    #[test]
    fn what_is_no_query_is_refused() {
        assert!(parse_narrowed("sum(", &[]).is_err());
        assert!(parse_narrowed("rate(a[1m])[5m:1m]", &[]).is_err());
    }
}
