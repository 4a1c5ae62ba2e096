//! The operations of targeting, by their names.

/// An operation: JsonLogic's, and flagd's own at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Var,
    Missing,
    MissingSome,
    If,
    Alike,
    Same,
    NotAlike,
    NotSame,
    Less,
    LessOrAlike,
    Greater,
    GreaterOrAlike,
    Not,
    Truthy,
    Or,
    And,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Min,
    Max,
    Map,
    Filter,
    Reduce,
    All,
    None,
    Some,
    Merge,
    In,
    Cat,
    Substr,
    Lower,
    Upper,
    StartsWith,
    EndsWith,
    SemVer,
    Fractional,
}

const MANY: usize = usize::MAX;

/// Name, operation, fewest and most arguments.
const ALL: [(&str, Operation, usize, usize); 40] = [
    ("var", Operation::Var, 0, 2),
    ("missing", Operation::Missing, 0, MANY),
    ("missing_some", Operation::MissingSome, 2, 2),
    ("if", Operation::If, 2, MANY),
    ("?:", Operation::If, 3, 3),
    ("==", Operation::Alike, 2, 2),
    ("===", Operation::Same, 2, 2),
    ("!=", Operation::NotAlike, 2, 2),
    ("!==", Operation::NotSame, 2, 2),
    ("<", Operation::Less, 2, 3),
    ("<=", Operation::LessOrAlike, 2, 3),
    (">", Operation::Greater, 2, 2),
    (">=", Operation::GreaterOrAlike, 2, 2),
    ("!", Operation::Not, 1, 1),
    ("!!", Operation::Truthy, 1, 1),
    ("or", Operation::Or, 1, MANY),
    ("and", Operation::And, 1, MANY),
    ("+", Operation::Add, 1, MANY),
    ("-", Operation::Subtract, 1, 2),
    ("*", Operation::Multiply, 1, MANY),
    ("/", Operation::Divide, 2, 2),
    ("%", Operation::Modulo, 2, 2),
    ("min", Operation::Min, 1, MANY),
    ("max", Operation::Max, 1, MANY),
    ("map", Operation::Map, 2, 2),
    ("filter", Operation::Filter, 2, 2),
    ("reduce", Operation::Reduce, 3, 3),
    ("all", Operation::All, 2, 2),
    ("none", Operation::None, 2, 2),
    ("some", Operation::Some, 2, 2),
    ("merge", Operation::Merge, 0, MANY),
    ("in", Operation::In, 2, 2),
    ("cat", Operation::Cat, 1, MANY),
    ("substr", Operation::Substr, 2, 3),
    ("lower", Operation::Lower, 1, 1),
    ("upper", Operation::Upper, 1, 1),
    ("starts_with", Operation::StartsWith, 2, 2),
    ("ends_with", Operation::EndsWith, 2, 2),
    ("sem_ver", Operation::SemVer, 3, 3),
    ("fractional", Operation::Fractional, 1, MANY),
];

impl Operation {
    /// The operation of a name, with how many arguments it takes.
    pub(crate) fn find(name: &str) -> Option<(Operation, usize, usize)> {
        ALL.iter()
            .find(|(known, ..)| *known == name)
            .map(|(_, operation, least, most)| (*operation, *least, *most))
    }

    /// Every name.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
        ALL.iter().map(|(name, ..)| *name)
    }
}
