//! From the parser's tree to a plan that holds only what can be evaluated.

use promql_parser::label::MatchOp as ParsedOp;
use promql_parser::parser::{
    AggregateExpr, AtModifier, BinModifier, BinaryExpr, Call, Expr, LabelModifier, Offset,
    VectorMatchCardinality, VectorSelector,
};
use std::time::{Duration, UNIX_EPOCH};

use super::instant::{self, Function};
use super::over_time::OverTime;
use super::{DEPTH_MAX, LOOKBACK_MS, QueryError};
use crate::{METRIC_NAME, MatchOp, Matcher, Selector};

/// What can be evaluated.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    Number(f64),
    /// The last point of each series of the selector with this place.
    Select(usize),
    OverTime {
        function: OverTime,
        /// The scalar before the range, of `quantile_over_time`.
        parameter: Option<Box<Plan>>,
        selector: usize,
    },
    Call {
        function: Function,
        arguments: Vec<Plan>,
    },
    Negate(Box<Plan>),
    Binary {
        op: Operator,
        sides: Box<(Plan, Plan)>,
        /// Comparisons give 0 or 1 instead of filtering.
        as_bool: bool,
        matching: Matching,
    },
    Aggregate {
        op: Aggregation,
        parameter: Option<Box<Plan>>,
        inner: Box<Plan>,
        grouping: Grouping,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregation {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Quantile,
    TopK,
    BottomK,
}

/// Labels kept (`by`, `on`) or dropped (`without`, `ignoring`).
#[derive(Debug, Clone, Default)]
pub(super) struct Grouping {
    pub(super) keep: bool,
    pub(super) labels: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Matching {
    pub(super) on: Grouping,
    pub(super) cardinality: Cardinality,
}

#[derive(Debug, Clone, Default)]
pub(super) enum Cardinality {
    #[default]
    OneToOne,
    /// `group_left`, with labels taken over from the one side.
    ManyToOne(Vec<String>),
    /// `group_right`.
    OneToMany(Vec<String>),
}

/// A plan, what it selects, and the longest range in it.
pub(super) type Compiled = (Plan, Vec<Selector>, i64);

pub(super) fn compile(text: &str, tree: &Expr) -> Result<Compiled, QueryError> {
    let mut compiler = Compiler {
        text,
        selectors: vec![],
        range_ms_max: 0,
    };
    let plan = compiler.plan(tree, 0)?;
    Ok((plan, compiler.selectors, compiler.range_ms_max))
}

struct Compiler<'a> {
    text: &'a str,
    selectors: Vec<Selector>,
    range_ms_max: i64,
}

impl Compiler<'_> {
    /// The parser keeps no positions: the construct's first word is looked for in the text.
    fn unsupported<T>(&self, construct: &str, word: &str) -> Result<T, QueryError> {
        let byte = self
            .text
            .to_ascii_lowercase()
            .find(&word.to_ascii_lowercase())
            .unwrap_or(0);
        let before = self.text.get(..byte).unwrap_or_default();
        Err(QueryError::Unsupported {
            construct: construct.to_owned(),
            position: before.chars().count() + 1,
        })
    }

    fn plan(&mut self, expr: &Expr, depth: usize) -> Result<Plan, QueryError> {
        if depth > DEPTH_MAX {
            return Err(QueryError::Limit(format!("it nests deeper than {DEPTH_MAX}")));
        }
        let depth = depth + 1;
        match expr {
            Expr::NumberLiteral(number) => Ok(Plan::Number(number.val)),
            Expr::Paren(paren) => self.plan(&paren.expr, depth),
            Expr::Unary(unary) => Ok(Plan::Negate(Box::new(self.plan(&unary.expr, depth)?))),
            Expr::VectorSelector(selector) => Ok(Plan::Select(self.select(selector, LOOKBACK_MS)?)),
            Expr::Call(call) => self.call(call, depth),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, depth),
            Expr::Binary(binary) => self.binary(binary, depth),
            Expr::MatrixSelector(_) => {
                self.unsupported("a range on its own (wrap it in a function such as rate)", "[")
            }
            Expr::Subquery(_) => self.unsupported("a subquery", "["),
            Expr::StringLiteral(_) => self.unsupported("a text on its own", "\""),
            Expr::Extension(_) => self.unsupported("an extension", ""),
        }
    }

    fn select(&mut self, selector: &VectorSelector, lookback_ms: i64) -> Result<usize, QueryError> {
        if !selector.matchers.or_matchers.is_empty() {
            return self.unsupported("`or` between matchers", " or ");
        }
        let mut matchers = vec![];
        matchers.extend(
            selector
                .name
                .as_ref()
                .map(|name| Matcher::equal(METRIC_NAME, name)),
        );
        for parsed in &selector.matchers.matchers {
            let op = match parsed.op {
                ParsedOp::Equal => MatchOp::Equal,
                ParsedOp::NotEqual => MatchOp::NotEqual,
                ParsedOp::Re(_) => MatchOp::Regex,
                ParsedOp::NotRe(_) => MatchOp::NotRegex,
            };
            let matcher = Matcher::new(&parsed.name, op, &parsed.value)
                .map_err(|error| QueryError::Syntax(error.to_string()))?;
            // The parser gives the name both as name and as matcher in some versions.
            if !matchers.contains(&matcher) {
                matchers.push(matcher);
            }
        }
        let offset_ms = match &selector.offset {
            None => 0,
            Some(Offset::Pos(duration)) => millis(*duration),
            Some(Offset::Neg(duration)) => -millis(*duration),
        };
        let at_ms = match &selector.at {
            None => None,
            Some(AtModifier::At(at)) => Some(match at.duration_since(UNIX_EPOCH) {
                Ok(after) => millis(after),
                Err(before) => -millis(before.duration()),
            }),
            Some(AtModifier::Start | AtModifier::End) => {
                return self.unsupported("`@ start()` or `@ end()`", "@");
            }
        };
        self.selectors.push(Selector {
            matchers,
            lookback_ms,
            offset_ms,
            at_ms,
        });
        Ok(self.selectors.len() - 1)
    }

    fn call(&mut self, call: &Call, depth: usize) -> Result<Plan, QueryError> {
        let name = call.func.name;
        let arguments = &call.args.args;
        if let Some(function) = OverTime::named(name) {
            let Some(Expr::MatrixSelector(range)) = arguments.last().map(AsRef::as_ref) else {
                return self.unsupported(&format!("{name} over anything but a selector with a range"), name);
            };
            let parameter = match arguments.as_slice() {
                [first, _] => Some(Box::new(self.plan(first, depth)?)),
                _ => None,
            };
            self.range_ms_max = self.range_ms_max.max(millis(range.range));
            let selector = self.select(&range.vs, millis(range.range))?;
            return Ok(Plan::OverTime {
                function,
                parameter,
                selector,
            });
        }
        let Some(function) = instant::named(name) else {
            return self.unsupported(&format!("the function {name}"), name);
        };
        let arguments = arguments.iter().map(|argument| self.plan(argument, depth));
        Ok(Plan::Call {
            function,
            arguments: arguments.collect::<Result<_, _>>()?,
        })
    }

    fn aggregate(&mut self, aggregate: &AggregateExpr, depth: usize) -> Result<Plan, QueryError> {
        let name = aggregate.op.to_string();
        let op = match name.as_str() {
            "sum" => Aggregation::Sum,
            "avg" => Aggregation::Avg,
            "min" => Aggregation::Min,
            "max" => Aggregation::Max,
            "count" => Aggregation::Count,
            "group" => Aggregation::Group,
            "stddev" => Aggregation::Stddev,
            "stdvar" => Aggregation::Stdvar,
            "quantile" => Aggregation::Quantile,
            "topk" => Aggregation::TopK,
            "bottomk" => Aggregation::BottomK,
            other => return self.unsupported(&format!("the aggregation {other}"), other),
        };
        let parameter = aggregate
            .param
            .as_ref()
            .map(|parameter| self.plan(parameter, depth));
        let parameter = parameter.transpose()?.map(Box::new);
        Ok(Plan::Aggregate {
            op,
            parameter,
            inner: Box::new(self.plan(&aggregate.expr, depth)?),
            grouping: match &aggregate.modifier {
                // Without `by` or `without` all is one group: keep no label.
                None => Grouping {
                    keep: true,
                    labels: vec![],
                },
                Some(modifier) => grouping(modifier),
            },
        })
    }

    fn binary(&mut self, binary: &BinaryExpr, depth: usize) -> Result<Plan, QueryError> {
        let name = binary.op.to_string();
        let op = match name.as_str() {
            "+" => Operator::Add,
            "-" => Operator::Subtract,
            "*" => Operator::Multiply,
            "/" => Operator::Divide,
            "%" => Operator::Modulo,
            "^" => Operator::Power,
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            "<" => Operator::Less,
            ">=" => Operator::GreaterOrEqual,
            "<=" => Operator::LessOrEqual,
            "and" => Operator::And,
            "or" => Operator::Or,
            "unless" => Operator::Unless,
            other => return self.unsupported(&format!("the operator {other}"), other),
        };
        let sides = (self.plan(&binary.lhs, depth)?, self.plan(&binary.rhs, depth)?);
        let modifier = binary.modifier.as_ref();
        Ok(Plan::Binary {
            op,
            sides: Box::new(sides),
            as_bool: modifier.is_some_and(|modifier| modifier.return_bool),
            matching: modifier
                .map(|modifier| self.matching(modifier))
                .transpose()?
                .unwrap_or_default(),
        })
    }

    fn matching(&self, modifier: &BinModifier) -> Result<Matching, QueryError> {
        if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
            return self.unsupported("filling in for missing matches", "fill");
        }
        Ok(Matching {
            on: modifier.matching.as_ref().map(grouping).unwrap_or_default(),
            cardinality: match &modifier.card {
                VectorMatchCardinality::ManyToOne(include) => Cardinality::ManyToOne(include.labels.clone()),
                VectorMatchCardinality::OneToMany(include) => Cardinality::OneToMany(include.labels.clone()),
                VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {
                    Cardinality::OneToOne
                }
            },
        })
    }
}

fn grouping(modifier: &LabelModifier) -> Grouping {
    Grouping {
        keep: modifier.is_include(),
        labels: modifier.labels().labels.clone(),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
