//! Mines templates from lines, one at a time.
//!
//! After Drain (He, Zhu, Zheng and Lyu, "Drain: an online log parsing approach with fixed depth tree", ICWS
//! 2017): lines of the same length and beginning are compared with the templates found so far. Unlike Drain,
//! plain words that differ keep templates apart, however alike the rest is ("VM started", "VM stopped"), until
//! so many different words were seen in one place that they must be values (as in IPLoM, Makanju et al., KDD
//! 2009): then the templates become one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::mask::{WILDCARD, words};

/// Templates that are told apart; lines of further ones count as "other" and as rejected.
const TEMPLATES_MAX: usize = 2_000;
/// Templates that share a length and a beginning; a new one beyond that goes to the most similar.
const SIBLINGS_MAX: usize = 60;
/// Share of words that must agree for a line to belong to a template.
const SIMILARITY_MIN: f64 = 0.5;
/// So many different plain words in one place are values.
const VALUES_MIN: usize = 6;
/// The id of lines that found no place.
pub const OTHER: &str = "other";

/// A template's stable id: hash of its text as first seen, 16 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TemplateId(pub String);

impl TemplateId {
    /// The id that a template with this text gets when it is new (FNV-1a, 64 bits).
    pub fn of(text: &str) -> Self {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in text.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        TemplateId(format!("{hash:016x}"))
    }
}

/// What lines of one kind have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Its id; stays while the text grows more general.
    pub id: TemplateId,
    /// Its words, `<*>` where values differ.
    pub words: Vec<String>,
    /// Lines that belonged to it.
    pub lines: u64,
    /// The number of the more general template that took its place.
    pub merged_into: Option<usize>,
}

impl Template {
    /// Its words with spaces between.
    pub fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// Mines templates. Keeps at most 2,000; what finds no place is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miner {
    templates: Vec<Template>,
    /// Numbers of templates by length and first word.
    leaves: BTreeMap<String, Vec<usize>>,
    rejected: u64,
}

impl Miner {
    /// Puts a line where it belongs; a number for [`Miner::template`], none when the miner is full.
    pub fn observe(&mut self, line: &str) -> Option<usize> {
        let words = words(line);
        let leaf = leaf(&words);
        let siblings = self.leaves.get(&leaf).map_or(&[][..], Vec::as_slice);
        let crowded = siblings.len() >= SIBLINGS_MAX;
        let best = siblings
            .iter()
            .map(|&number| (number, likeness(&self.templates[number].words, &words)))
            .filter(|(_, likeness)| crowded || (likeness.plain == 0 && likeness.same >= SIMILARITY_MIN))
            .max_by(|x, y| x.1.same.total_cmp(&y.1.same).then(y.0.cmp(&x.0)));
        if let Some((number, _)) = best {
            let template = &mut self.templates[number];
            generalise(&mut template.words, &words);
            template.lines += 1;
            return Some(number);
        }
        if self.templates.len() >= TEMPLATES_MAX {
            self.rejected += 1;
            return None;
        }
        let number = self.templates.len();
        self.templates.push(Template {
            id: TemplateId::of(&words.join(" ")),
            words,
            lines: 1,
            merged_into: None,
        });
        self.leaves.entry(leaf.clone()).or_default().push(number);
        Some(self.merge_values(&leaf, number))
    }

    /// When the new template `number` is one of many that differ in one and the same plain word, they
    /// become one: the oldest.
    fn merge_values(&mut self, leaf: &str, number: usize) -> usize {
        let Some(siblings) = self.leaves.get(leaf) else {
            return number;
        };
        let new = &self.templates[number].words;
        let mut places: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &other in siblings.iter().filter(|&&other| other != number) {
            let likeness = likeness(&self.templates[other].words, new);
            if let (1, Some(place)) = (likeness.plain, likeness.place) {
                places.entry(place).or_default().push(other);
            }
        }
        let Some(same) = places.into_values().find(|others| others.len() + 1 >= VALUES_MIN) else {
            return number;
        };
        let Some((&kept, others)) = same.split_first() else {
            return number;
        };
        for &other in others.iter().chain([&number]) {
            let (words, lines) = (self.templates[other].words.clone(), self.templates[other].lines);
            generalise(&mut self.templates[kept].words, &words);
            self.templates[kept].lines += lines;
            self.templates[other].lines = 0;
            self.templates[other].merged_into = Some(kept);
        }
        let templates = &self.templates;
        if let Some(siblings) = self.leaves.get_mut(leaf) {
            siblings.retain(|&other| templates[other].merged_into.is_none());
        }
        kept
    }

    /// The number that lines of template `number` go by now.
    pub fn current(&self, number: usize) -> usize {
        let mut at = number;
        while let Some(next) = self.templates.get(at).and_then(|t| t.merged_into) {
            at = next;
        }
        at
    }

    /// A template by its number.
    pub fn template(&self, number: usize) -> Option<&Template> {
        self.templates.get(number)
    }

    /// All templates, in the order in which they were first seen.
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// Lines that found no place because the miner was full.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }
}

/// The place in the tree: length and first word (any, when it is a value).
fn leaf(words: &[String]) -> String {
    let first = words.first().map_or("", String::as_str);
    let first = if first.contains(WILDCARD) { WILDCARD } else { first };
    format!("{} {first}", words.len())
}

/// How two equally long lines compare.
struct Likeness {
    /// Share of words that are the same.
    same: f64,
    /// Plain words that differ: both without a value in them.
    plain: usize,
    /// Where the last of these is.
    place: Option<usize>,
}

fn likeness(template: &[String], words: &[String]) -> Likeness {
    let (mut same, mut plain, mut place) = (0, 0, None);
    for (at, (old, new)) in template.iter().zip(words).enumerate() {
        if old == new {
            same += 1;
        } else if !old.contains(WILDCARD) && !new.contains(WILDCARD) {
            plain += 1;
            place = Some(at);
        }
    }
    Likeness {
        same: if words.is_empty() {
            1.0
        } else {
            f64::from(same) / words.len() as f64
        },
        plain,
        place,
    }
}

/// Puts a wildcard wherever `words` differ from the template.
fn generalise(template: &mut [String], words: &[String]) {
    for (old, new) in template.iter_mut().zip(words) {
        if old != new {
            WILDCARD.clone_into(old);
        }
    }
}

/// Share of words in which two texts of templates agree, a wildcard agreeing with anything; zero when
/// their lengths differ.
pub fn similarity(one: &str, other: &str) -> f64 {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split(' ').collect(), other.split(' ').collect());
    if one.len() != other.len() {
        return 0.0;
    }
    let agree = |(x, y): &(&&str, &&str)| x == y || x.contains(WILDCARD) || y.contains(WILDCARD);
    one.iter().zip(&other).filter(agree).count() as f64 / one.len() as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_find_their_template() {
        let mut miner = Miner::default();
        let users = ["alice", "bob", "eve", "carol", "dave", "mallory", "zoe"];
        let numbers: Vec<usize> = users
            .iter()
            .enumerate()
            .filter_map(|(n, user)| miner.observe(&format!("sync failed for user {user} after {n} retries")))
            .collect();
        let current: Vec<usize> = numbers.iter().map(|n| miner.current(*n)).collect();
        assert_eq!(current, vec![0; 7]);
        assert_eq!(
            miner.templates()[0].text(),
            "sync failed for user <*> after <*> retries"
        );
        assert_eq!(miner.templates()[0].lines, 7);
        let started = miner.observe("[instance: 7] VM started (Lifecycle Event)");
        assert_ne!(
            started,
            miner.observe("[instance: 9] VM stopped (Lifecycle Event)")
        );
    }

    #[test]
    fn ids_depend_on_the_text_alone() {
        let (mut one, mut two) = (Miner::default(), Miner::default());
        two.observe("something else");
        let a = one
            .observe("merge 1 took 5 ms")
            .and_then(|n| one.template(n))
            .map(|t| t.id.clone());
        let b = two
            .observe("merge 9 took 7 ms")
            .and_then(|n| two.template(n))
            .map(|t| t.id.clone());
        assert_eq!(a, b);
        assert_eq!(TemplateId::of("").0, "cbf29ce484222325");
    }

    #[test]
    fn the_number_of_templates_is_bounded() {
        let mut miner = Miner::default();
        let letters = |mut n: usize| {
            let mut text = String::new();
            for _ in 0..4 {
                text.push((b'a' + (n % 26) as u8) as char);
                n /= 26;
            }
            text
        };
        for n in 0..3_000 {
            miner.observe(&letters(n));
        }
        assert_eq!(miner.templates().len(), TEMPLATES_MAX);
        assert_eq!(miner.rejected(), 1_000);
    }

    proptest! {
        #[test]
        fn any_line_goes(lines in proptest::collection::vec("[a-c<*>1 ]{0,12}", 0..40)) {
            let mut miner = Miner::default();
            for line in &lines {
                prop_assert!(miner.observe(line).is_some());
            }
            prop_assert_eq!(miner.templates().iter().map(|t| t.lines).sum::<u64>(), lines.len() as u64);
        }
    }
}
