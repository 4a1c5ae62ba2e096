//! Functions over the values of one instant.

/// A function over values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Time,
    Vector,
    Scalar,
    HistogramQuantile,
    Sort { descending: bool },
    Map(Map),
}

/// A function of each value on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Map {
    Abs,
    Ceil,
    Floor,
    Round,
    Sqrt,
    Exp,
    Ln,
    Log2,
    Log10,
    Sgn,
    Clamp,
    ClampMin,
    ClampMax,
}

impl Map {
    /// Whether these numbers leave nothing: `clamp` with its ends crossed.
    pub(super) fn empties(self, numbers: &[f64]) -> bool {
        matches!((self, numbers), (Map::Clamp, [low, high]) if high < low)
    }
}

pub(super) fn named(name: &str) -> Option<Function> {
    Some(match name {
        "time" => Function::Time,
        "vector" => Function::Vector,
        "scalar" => Function::Scalar,
        "histogram_quantile" => Function::HistogramQuantile,
        "sort" => Function::Sort { descending: false },
        "sort_desc" => Function::Sort { descending: true },
        "abs" => Function::Map(Map::Abs),
        "ceil" => Function::Map(Map::Ceil),
        "floor" => Function::Map(Map::Floor),
        "round" => Function::Map(Map::Round),
        "sqrt" => Function::Map(Map::Sqrt),
        "exp" => Function::Map(Map::Exp),
        "ln" => Function::Map(Map::Ln),
        "log2" => Function::Map(Map::Log2),
        "log10" => Function::Map(Map::Log10),
        "sgn" => Function::Map(Map::Sgn),
        "clamp" => Function::Map(Map::Clamp),
        "clamp_min" => Function::Map(Map::ClampMin),
        "clamp_max" => Function::Map(Map::ClampMax),
        _ => return None,
    })
}

pub(super) fn map(kind: Map, value: f64, numbers: &[f64]) -> f64 {
    let number = |at: usize| numbers.get(at).copied();
    match kind {
        Map::Abs => value.abs(),
        Map::Ceil => value.ceil(),
        Map::Floor => value.floor(),
        // To the nearest multiple, halves upwards; dividing by the inverse keeps 0.1 exact.
        Map::Round => {
            let inverse = 1.0 / number(0).unwrap_or(1.0);
            (value * inverse + 0.5).floor() / inverse
        }
        Map::Sqrt => value.sqrt(),
        Map::Exp => value.exp(),
        Map::Ln => value.ln(),
        Map::Log2 => value.log2(),
        Map::Log10 => value.log10(),
        Map::Sgn if value > 0.0 => 1.0,
        Map::Sgn if value < 0.0 => -1.0,
        Map::Sgn => value,
        Map::Clamp => at_most(at_least(value, number(0)), number(1)),
        Map::ClampMin => at_least(value, number(0)),
        Map::ClampMax => at_most(value, number(0)),
    }
}

fn at_least(value: f64, low: Option<f64>) -> f64 {
    match low {
        Some(low) if low.is_nan() => f64::NAN,
        Some(low) if value < low => low,
        _ => value,
    }
}

fn at_most(value: f64, high: Option<f64>) -> f64 {
    match high {
        Some(high) if high.is_nan() => f64::NAN,
        Some(high) if value > high => high,
        _ => value,
    }
}
