//! Operations that can be merged in any order, any number of times, with the same result.

use serde_json::Value;

use crate::block::{Block, Register, Stamp};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Title(Register),
    Text(Register),
    /// Adds a tag; the addition has a name of its own.
    Tag {
        tag: String,
        addition: String,
    },
    /// Removes those additions of a tag that the writer had seen.
    Untag {
        tag: String,
        additions: Vec<String>,
    },
}

/// A change to one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub block: String,
    pub change: Change,
}

/// Operations in one request.
pub const OPERATIONS_MAX: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeError(pub String);

/// Reads `{"operations": [{"block", "kind": "title"|"text"|"tag"|"untag", …}]}`.
pub fn parse(body: &Value) -> Result<Vec<Operation>, String> {
    let operations = body["operations"]
        .as_array()
        .ok_or("`operations` must be a list")?;
    if operations.len() > OPERATIONS_MAX {
        return Err(format!("at most {OPERATIONS_MAX} operations at a time"));
    }
    operations
        .iter()
        .enumerate()
        .map(|(n, one)| operation(one).map_err(|e| format!("operation {n}: {e}")))
        .collect()
}

fn operation(one: &Value) -> Result<Operation, String> {
    let text = |field: &str| {
        one[field]
            .as_str()
            .map(str::to_owned)
            .ok_or(format!("`{field}` must be a text"))
    };
    let register = || {
        let clock = one["clock"].as_u64().ok_or("`clock` must be a number")?;
        Ok::<_, String>(Register {
            value: text("value")?,
            stamp: Stamp {
                clock,
                actor: text("actor")?,
            },
        })
    };
    let block = text("block")?;
    if block.is_empty() || block.len() > 64 {
        return Err("`block` must have 1 to 64 characters".to_owned());
    }
    let change = match text("kind")?.as_str() {
        "title" => Change::Title(register()?),
        "text" => Change::Text(register()?),
        "tag" => Change::Tag {
            tag: text("tag")?,
            addition: text("addition")?,
        },
        "untag" => {
            let additions = one["additions"].as_array().ok_or("`additions` must be a list")?;
            let additions = additions
                .iter()
                .filter_map(|a| a.as_str().map(str::to_owned))
                .collect();
            Change::Untag {
                tag: text("tag")?,
                additions,
            }
        }
        other => return Err(format!("`{other}` is no kind of operation")),
    };
    Ok(Operation { block, change })
}

/// Merges one change. True: the block is another one now.
pub fn merge(block: &mut Block, change: &Change) -> Result<bool, MergeError> {
    Ok(match change {
        Change::Title(register) => write(&mut block.title, register)?,
        Change::Text(register) => write(&mut block.text, register)?,
        Change::Tag { tag, addition } => {
            !block.removed.contains(addition)
                && block
                    .tags
                    .entry(tag.clone())
                    .or_default()
                    .insert(addition.clone())
        }
        Change::Untag { tag, additions } => {
            let mut changed = false;
            for addition in additions {
                changed |= block.removed.insert(addition.clone());
                if let Some(there) = block.tags.get_mut(tag) {
                    there.remove(addition);
                }
            }
            changed
        }
    })
}

/// The later stamp wins; of one stamp with two values (a client's fault) the greater value does.
fn write(register: &mut Register, new: &Register) -> Result<bool, MergeError> {
    let wins = (&new.stamp, &new.value) > (&register.stamp, &register.value);
    if wins {
        *register = new.clone();
    }
    Ok(wins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str, clock: u64, actor: &str) -> Change {
        let stamp = Stamp {
            clock,
            actor: actor.to_owned(),
        };
        Change::Text(Register {
            value: value.to_owned(),
            stamp,
        })
    }

    fn tag(tag: &str, addition: &str) -> Change {
        Change::Tag {
            tag: tag.to_owned(),
            addition: addition.to_owned(),
        }
    }

    fn untag(tag: &str, additions: &[&str]) -> Change {
        let additions = additions.iter().map(|a| (*a).to_owned()).collect();
        Change::Untag {
            tag: tag.to_owned(),
            additions,
        }
    }

    fn merged(changes: &[&Change]) -> Block {
        let mut block = Block::new("b");
        for change in changes {
            merge(&mut block, change).unwrap();
        }
        block.tags.retain(|_, additions| !additions.is_empty());
        block
    }

    #[test]
    fn the_later_write_wins() {
        let block = merged(&[
            &text("first", 1, "ann"),
            &text("second", 2, "bob"),
            &text("late", 1, "zoe"),
        ]);
        assert_eq!(block.text.value, "second");
    }

    #[test]
    fn an_added_tag_survives_the_removal_of_an_older_addition() {
        let block = merged(&[
            &tag("todo", "ann-1"),
            &untag("todo", &["ann-1"]),
            &tag("todo", "bob-1"),
        ]);
        assert_eq!(block.tag_names(), ["todo"]);
    }

    #[test]
    fn merging_is_the_same_in_every_order_and_twice() {
        let changes = [
            text("one", 1, "ann"),
            text("two", 2, "bob"),
            tag("todo", "ann-1"),
            untag("todo", &["ann-1"]),
            tag("todo", "bob-1"),
        ];
        let expected = merged(&changes.iter().collect::<Vec<_>>());
        // All 120 orders, each with the first change once more.
        for order in 0..120usize {
            let mut left: Vec<&Change> = changes.iter().collect();
            let mut shuffled = Vec::new();
            let mut rest = order;
            for radix in (1..=left.len()).rev() {
                shuffled.push(left.remove(rest % radix));
                rest /= radix;
            }
            shuffled.push(shuffled[0]);
            assert_eq!(merged(&shuffled), expected, "{order}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        let parse = |text: &str| parse(&serde_json::from_str(text).unwrap());
        assert!(parse("{}").unwrap_err().contains("operations"));
        let error = parse(r#"{"operations": [{"block": "b", "kind": "colour"}]}"#).unwrap_err();
        assert_eq!(error, "operation 0: `colour` is no kind of operation");
    }
}
