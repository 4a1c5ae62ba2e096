//! Search: blocks that have every word, those first that have them most often.

use std::io;

use crate::block::Block;
use crate::store::{Entry, Store, words};
use crate::telemetry::Span;

/// Results of one search.
const RESULTS_MAX: usize = 20;

pub async fn run(store: &Store, query: &str, span: &Span) -> io::Result<Vec<Block>> {
    let span = span.child("blocks.search");
    let wanted: Vec<String> = words(query).collect();
    span.set("words", wanted.len());
    span.telemetry().count("search_queries_total", 1);
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let found = store.find(|entry| wanted.iter().all(|word| entry.words.contains(word)))?;
    span.set("found", found.len());
    let ids = by_hits(found, &wanted);
    store.read_many(&ids, &span)
}

fn by_hits(mut found: Vec<(String, Entry)>, wanted: &[String]) -> Vec<String> {
    found.sort_by_cached_key(|(_, entry)| std::cmp::Reverse(hits(entry, wanted)));
    found.into_iter().take(RESULTS_MAX).map(|(id, _)| id).collect()
}

fn hits(entry: &Entry, wanted: &[String]) -> usize {
    entry.words.iter().filter(|word| wanted.contains(word)).count()
}
